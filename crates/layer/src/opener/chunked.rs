use sealift_keywrap::{LayerSecret, WrapContext, WrappedKey};
use sealift_oci::{Digest, Hasher};

use crate::annotations::Wraps;
use crate::chunked::{
    AeadLibrary, AuthenticatedExtent, Commitment, Extent, MessageKey, MessageOpener, Salt,
};
use crate::claims::Claims;
use crate::error::{Fact, FormatError, OpenError, Place};
use crate::frame::Header;
use crate::layer_id::LayerId;
use crate::options::{PrivateOptions, PublicOptions};
use crate::original::OriginalKey;
use crate::room::Room;
use crate::sealer::context;
use crate::unlock::{SecretSource, Trial, unlock};

/// A layer of the default format before a key has been found for it.
#[derive(Debug)]
pub struct ChunkedLayer {
    header: Box<Header>,
    /// Whether the header's octets are those a sealer writes.
    canonical: bool,
    salt: Salt,
    commitment: Commitment,
    first_chunk: u64,
    backlog: Vec<u8>,
    tried: Vec<WrappedKey>,
    aead: AeadLibrary,
}

impl ChunkedLayer {
    pub(super) fn new(
        header_octets: &[u8],
        salt: Salt,
        commitment: Commitment,
        first_chunk: u64,
        backlog: Vec<u8>,
        aead: AeadLibrary,
    ) -> Result<Self, OpenError> {
        let header = Header::from_json(header_octets)?;
        if header.public != (PublicOptions::Chunked { commitment }) {
            return Err(differs(Fact::Commitment, Place::Header, Place::Message));
        }
        Ok(Self {
            canonical: header.to_json().as_bytes() == header_octets,
            header: Box::new(header),
            salt,
            commitment,
            first_chunk,
            backlog,
            tried: Vec::new(),
            aead,
        })
    }

    /// Borrows what the blob tells about itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns what names the layer, also in manifests that describe it.
    pub fn commitment(&self) -> &Commitment {
        &self.commitment
    }

    /// Returns whether nothing in front of the chunks is open once the claims and the blob's length are given: the claims
    /// name the commitment, and the header is written as a [`Sealer`](crate::Sealer) writes it, with the claims' wrapped
    /// keys or with none.
    ///
    /// Commitment and plaintext leave the chunks no choice either. So whoever opens such a blob to its end, finds the
    /// plain digest that the sealer named, and knows that the length is the promised one, has seen the blob that was sealed,
    /// octet for octet.
    pub fn follows_from(&self, claims: &Claims) -> bool {
        let Header {
            wraps,
            public,
            media_type,
        } = &*self.header;
        self.canonical
            && claims.public.as_ref() == Some(public)
            && claims.plain_type == *media_type
            && (*wraps == claims.wraps || *wraps == Wraps::default())
    }

    /// Computes where the chunks of the blob lie, if the blob is `blob_len` octets long.
    ///
    /// # Errors
    /// As [`Extent::new`].
    pub fn extent(&self, blob_len: u64) -> Result<Extent, OpenError> {
        Extent::new(self.first_chunk, blob_len)
    }

    /// Finds a key among the wrapped keys of `claims`, then of the header.
    ///
    /// A key that commits to something else is not an error as long as another one fits. May be called again with
    /// further claims, those of other manifests that name the same commitment; wrapped keys that have been tried in vain are
    /// not tried again.
    ///
    /// # Errors
    /// [`OpenError::Disagreement`] between claims, header and message; [`OpenError::NoKey`] with a report;
    /// [`OpenError::Authentication`] when keys were unwrapped but none of them is this layer's.
    pub fn unlock(
        &mut self,
        claims: &Claims,
        source: &(impl SecretSource + ?Sized),
        context: &WrapContext<'_>,
    ) -> Result<LayerOpener, OpenError> {
        let wraps = self.untried(claims)?;
        let unlocked = self
            .keys(claims, &wraps, source, context)
            .inspect_err(|_| self.tried.extend_from_slice(wraps.as_slice()))?;
        Ok(LayerOpener {
            message: MessageOpener::new(unlocked.message),
            backlog: std::mem::take(&mut self.backlog),
            digest: unlocked.digest,
            secret: unlocked.secret,
            original: unlocked.original,
        })
    }

    /// Finds a key as [`unlock`](Self::unlock) does, for reading ranges; `last_chunk` are the octets that
    /// [`Extent::last_chunk`] names.
    ///
    /// # Errors
    /// As [`unlock`](Self::unlock), and [`OpenError::Authentication`] when the last chunk does not open.
    pub fn unlock_ranges(
        &self,
        claims: &Claims,
        source: &(impl SecretSource + ?Sized),
        context: &WrapContext<'_>,
        extent: Extent,
        last_chunk: &[u8],
    ) -> Result<AuthenticatedExtent, OpenError> {
        let wraps = self.untried(claims)?;
        let unlocked = self.keys(claims, &wraps, source, context)?;
        extent.authenticate(unlocked.message, last_chunk)
    }

    /// Lists the wrapped keys of claims that agree with the blob, and then of the header.
    fn untried(&self, claims: &Claims) -> Result<Wraps, OpenError> {
        match claims.public {
            Some(PublicOptions::CtrHmac { .. }) => {
                return Err(differs(Fact::Cipher, Place::Descriptor, Place::Message));
            }
            Some(PublicOptions::Chunked { commitment }) if commitment != self.commitment => {
                return Err(differs(Fact::Commitment, Place::Descriptor, Place::Message));
            }
            _ => {}
        }
        if claims.plain_type != self.header.media_type {
            return Err(differs(Fact::MediaType, Place::Descriptor, Place::Header));
        }
        let mut wraps = claims.wraps.without(&self.tried);
        wraps.append_what_fits(&self.header.wraps.without(&self.tried));
        Ok(wraps)
    }

    fn keys(
        &self,
        claims: &Claims,
        wraps: &Wraps,
        source: &(impl SecretSource + ?Sized),
        context: &WrapContext<'_>,
    ) -> Result<Unlocked, OpenError> {
        let layer = self.commitment.to_string();
        unlock(
            source,
            wraps,
            &claims.recipients,
            Some(&layer),
            context,
            |secret| self.fit(claims, secret),
        )
    }

    fn fit(&self, claims: &Claims, secret: LayerSecret) -> Result<Unlocked, Trial> {
        let private = PrivateOptions::from_secret(&secret).map_err(Trial::Malformed)?;
        let digest = match &*private.digest {
            "" => None,
            text => Some(
                text.parse::<Digest>()
                    .map_err(|_| Trial::Malformed(FormatError::Digest))?,
            ),
        };
        let context = context(&claims.plain_type, &private.digest);
        let (message, commitment) =
            MessageKey::derive(self.aead, &private.key, &self.salt, context.as_bytes())
                .map_err(|_| Trial::Foreign)?;
        if commitment != self.commitment {
            return Err(Trial::Foreign);
        }
        Ok(Unlocked {
            message,
            digest,
            secret,
            original: OriginalKey::new(private.key, &LayerId::Commitment(commitment)),
        })
    }
}

struct Unlocked {
    message: MessageKey,
    digest: Option<Digest>,
    secret: LayerSecret,
    original: OriginalKey,
}

/// Opens a layer of the default format; only authenticated plaintext comes out.
///
/// Every chunk is held back until its successor has authenticated, so that a cut layer always ends short.
#[derive(Debug)]
pub struct LayerOpener {
    message: MessageOpener,
    backlog: Vec<u8>,
    digest: Option<Digest>,
    secret: LayerSecret,
    original: OriginalKey,
}

impl LayerOpener {
    /// Returns the plain blob's digest that the sealer named; `None` for a layer that was sealed from a stream.
    pub fn plain_digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Borrows the private options that were unwrapped, to wrap them for somebody else.
    pub fn secret(&self) -> &LayerSecret {
        &self.secret
    }

    /// Borrows the key that opens original documents sealed under this layer's.
    pub fn original(&self) -> &OriginalKey {
        &self.original
    }

    /// Takes sealed octets in pieces of any size and appends released plaintext.
    ///
    /// The first call also releases what was read together with the blob's beginning; it may bring no octets of its own.
    ///
    /// # Errors
    /// [`OpenError::Authentication`] or [`OpenError::TooLong`]; every later call then fails alike, and what was appended
    /// before is all that will ever be.
    pub fn update(&mut self, sealed: &[u8], out: &mut impl Room) -> Result<(), OpenError> {
        if !self.backlog.is_empty() {
            let backlog = std::mem::take(&mut self.backlog);
            self.message.update(&backlog, out)?;
        }
        Ok(self.message.update(sealed, out)?)
    }

    /// Ends the layer and appends what is left, if the end is authentic and `release` allows it.
    ///
    /// Returns the key that opens original documents sealed under this layer's: proof that the layer is whole.
    ///
    /// # Errors
    /// [`OpenError::Truncated`] for a length no layer has, [`OpenError::Authentication`] for everything else; nothing
    /// is appended then.
    pub fn finish(
        mut self,
        release: Release,
        out: &mut impl Room,
    ) -> Result<OriginalKey, OpenError> {
        let mut rest = Vec::new();
        self.update(&[], &mut rest)?;
        self.message.finish(&mut rest)?;
        if let (Release::AfterDigest(mut hasher), Some(expected)) = (release, &self.digest) {
            hasher.update(&rest);
            if hasher.finish() != *expected {
                return Err(OpenError::Authentication);
            }
        }
        out.append(&rest);
        Ok(self.original)
    }
}

/// What must hold before the end of a layer is released.
#[derive(Debug)]
pub enum Release {
    /// The plaintext must have the digest that the sealer named, if it named one: somebody else who can open the layer
    /// could have made chunks of it.
    ///
    /// Carries the digest in the making of everything the opener has appended so far, made with the algorithm of
    /// [`LayerOpener::plain_digest`].
    AfterDigest(Hasher),
    /// Every chunk must be authentic. For callers whose output is checked elsewhere: a runtime compares the diff ID.
    AfterLastChunk,
}

fn differs(what: Fact, one: Place, other: Place) -> OpenError {
    OpenError::Disagreement { what, one, other }
}
