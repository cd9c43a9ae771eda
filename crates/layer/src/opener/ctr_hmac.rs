use std::collections::VecDeque;
use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use sealift_keywrap::{LayerSecret, WrapContext};
use sealift_sha256::Sha256;

use crate::annotations::{Recipients, Wraps};
use crate::claims::Claims;
use crate::ctr_hmac::{CipherFault, Keystream, Tagger};
use crate::error::{Fact, FirstOctets, FormatError, OpenError, Place};
use crate::frame::MAGIC;
use crate::key::LayerKey;
use crate::layer_id::LayerId;
use crate::options::{CounterBlock, PrivateOptions, PublicOptions};
use crate::original::OriginalKey;
use crate::room::Room;
use crate::unlock::{SecretSource, Trial, unlock};

/// A layer of ocicrypt's format before a key has been found for it.
///
/// The blob tells nothing about itself: everything comes from descriptors. The caller keeps the ciphertext in a
/// spool, for it is needed twice.
#[derive(Debug)]
pub struct CtrHmacLayer {
    wraps: Wraps,
    recipients: Recipients,
    sought: Vec<Sought>,
    search: Search,
    waiting: VecDeque<Candidate>,
    tried: Vec<(LayerKey, CounterBlock)>,
}

impl CtrHmacLayer {
    /// Takes what the descriptor claims; `first` are the first octets of the blob, as far as read.
    ///
    /// # Errors
    /// [`OpenError::MissingOptions`] without public options; [`OpenError::NotSealed`] when they name the default cipher,
    /// since the blob lacks its magic; [`OpenError::Truncated`] when the blob ends within it.
    pub fn new(claims: &Claims, first: &[u8]) -> Result<Self, OpenError> {
        match &claims.public {
            None => Err(OpenError::MissingOptions),
            Some(PublicOptions::Chunked { .. }) if MAGIC.starts_with(first) => {
                Err(OpenError::Truncated { after: None })
            }
            Some(PublicOptions::Chunked { .. }) => Err(OpenError::NotSealed {
                first: FirstOctets::of(first),
            }),
            Some(PublicOptions::CtrHmac { tag, nonce }) => Ok(Self {
                wraps: claims.wraps.clone(),
                recipients: claims.recipients.clone(),
                sought: vec![Sought {
                    tag: *tag,
                    nonce: *nonce,
                }],
                search: Search::First,
                waiting: VecDeque::new(),
                tried: Vec::new(),
            }),
        }
    }

    /// Adds what another descriptor claims about the same ciphertext, before the first key is looked for.
    ///
    /// The limits are those of one layer: wrapped keys beyond those of [`Wraps`] and claims beyond
    /// [`MAX_CLAIMS`](Self::MAX_CLAIMS) are left out.
    pub fn join(&mut self, other: &Self) {
        self.wraps.append_what_fits(&other.wraps);
        self.recipients.append_what_fits(&other.recipients);
        for sought in &other.sought {
            if self.sought.len() < Self::MAX_CLAIMS && !self.sought.contains(sought) {
                self.sought.push(*sought);
            }
        }
    }

    /// Finds the next key worth trying: called again after an [`Unchecked`] failed, it goes on with other wrapped keys.
    ///
    /// `context` should have the ciphertext's digest as subject, if that is known. The source is asked twice at most: for
    /// one key, which mostly is the right one, and for all others.
    ///
    /// # Errors
    /// [`OpenError::NoKey`] with a report; [`OpenError::Authentication`] when keys were unwrapped but all of them have
    /// been tried, or [`MAX_ATTEMPTS`](Self::MAX_ATTEMPTS) of them; [`OpenError::Disagreement`] between public and
    /// private nonce when no key comes with another one; [`OpenError::Malformed`] for private options that ocicrypt's
    /// cipher cannot work with.
    pub fn unlock(
        &mut self,
        source: &(impl SecretSource + ?Sized),
        context: &WrapContext<'_>,
    ) -> Result<Unchecked, OpenError> {
        if self.waiting.is_empty() {
            self.search = match self.search {
                Search::First => {
                    self.collect(source, context, 1)?;
                    Search::Others
                }
                Search::Others => {
                    self.collect(source, context, Self::MAX_ATTEMPTS - 1)?;
                    Search::Over
                }
                Search::Over => return Err(OpenError::Authentication),
            };
        }
        let candidate = self.waiting.pop_front().ok_or(OpenError::Authentication)?;
        let key = candidate.private.key;
        let copy = LayerKey::from_octets(key.expose()).ok_or(OpenError::Authentication)?;
        self.tried.push((copy, candidate.nonce));
        Ok(Unchecked {
            tagger: Tagger::new(&key),
            tags: tags(&self.sought, &candidate.nonce).collect(),
            key,
            digest: candidate.private.digest,
            nonce: candidate.nonce,
            secret: candidate.secret,
        })
    }

    /// Gathers keys that have not been tried, one at least and `most` at most.
    fn collect(
        &mut self,
        source: &(impl SecretSource + ?Sized),
        context: &WrapContext<'_>,
        most: usize,
    ) -> Result<(), OpenError> {
        let (sought, tried, waiting) = (&self.sought, &self.tried, &mut self.waiting);
        let mut other_nonce = false;
        let outcome = unlock(
            source,
            &self.wraps,
            &self.recipients,
            None,
            context,
            |secret| {
                let private = PrivateOptions::from_secret(&secret).map_err(Trial::Malformed)?;
                let nonce = private
                    .nonce
                    .ok_or(Trial::Malformed(FormatError::Missing { member: "nonce" }))?;
                if tags(sought, &nonce).next().is_none() {
                    other_nonce = true;
                    return Err(Trial::Foreign);
                }
                // The texts may differ where the keys do not.
                let known = waiting
                    .iter()
                    .map(|other: &Candidate| (&other.private.key, &other.nonce))
                    .chain(tried.iter().map(|(key, nonce)| (key, nonce)))
                    .any(|(key, other)| same(key, &private.key) && *other == nonce);
                if known {
                    return Err(Trial::Foreign);
                }
                waiting.push_back(Candidate {
                    secret,
                    private,
                    nonce,
                });
                if waiting.len() < most {
                    return Err(Trial::Foreign);
                }
                Ok(())
            },
        );
        match outcome {
            Err(_) if !self.waiting.is_empty() => Ok(()),
            Err(_) if other_nonce && self.tried.is_empty() => Err(OpenError::Disagreement {
                what: Fact::Nonce,
                one: Place::PublicOptions,
                other: Place::PrivateOptions,
            }),
            other => other,
        }
    }

    /// Most keys that are tried on one layer; each costs a pass over the ciphertext.
    pub const MAX_ATTEMPTS: usize = 16;
    /// Most different claims about one ciphertext that are heeded.
    pub const MAX_CLAIMS: usize = 64;
}

/// A tag that some descriptor claims, and the nonce it claims with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Sought {
    tag: [u8; PublicOptions::TAG_LEN],
    nonce: Option<CounterBlock>,
}

/// Lists the tags that are claimed together with `nonce`, or without any.
fn tags<'a>(
    sought: &'a [Sought],
    nonce: &'a CounterBlock,
) -> impl Iterator<Item = [u8; PublicOptions::TAG_LEN]> + 'a {
    sought
        .iter()
        .filter(|sought| sought.nonce.is_none_or(|claimed| claimed == *nonce))
        .map(|sought| sought.tag)
}

fn same(one: &LayerKey, other: &LayerKey) -> bool {
    verify_slices_are_equal(one.expose(), other.expose()).is_ok()
}

/// How often the source has been asked for keys.
#[derive(Clone, Copy, Debug)]
enum Search {
    First,
    Others,
    Over,
}

/// What one wrapped key yielded.
#[derive(Debug)]
struct Candidate {
    secret: LayerSecret,
    private: PrivateOptions,
    nonce: CounterBlock,
}

/// A key that may be the layer's, and the ciphertext's tag in the making.
pub struct Unchecked {
    tagger: Tagger,
    tags: Vec<[u8; PublicOptions::TAG_LEN]>,
    key: LayerKey,
    digest: Box<str>,
    nonce: CounterBlock,
    secret: LayerSecret,
}

impl Unchecked {
    /// Takes the ciphertext in pieces of any size.
    pub fn update(&mut self, ciphertext: &[u8]) {
        self.sha256().update(ciphertext);
    }

    /// Borrows what [`update`](Self::update) feeds, to feed it together with another SHA-256.
    pub fn sha256(&mut self) -> &mut Sha256 {
        self.tagger.inner()
    }

    /// Ends the ciphertext and compares its tag.
    ///
    /// # Errors
    /// [`OpenError::Authentication`]; another key may still fit.
    pub fn finish(self) -> Result<Checked, OpenError> {
        let len = self.tagger.len();
        self.tagger
            .verify(&self.tags)
            .ok_or(OpenError::Authentication)?;
        Ok(Checked {
            key: self.key,
            nonce: self.nonce,
            digest: self.digest,
            len,
            secret: self.secret,
        })
    }
}

impl fmt::Debug for Unchecked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unchecked")
            .field("len", &self.tagger.len())
            .finish_non_exhaustive()
    }
}

/// The proof that a ciphertext is authentic; the only thing that decrypts it.
#[derive(Debug)]
pub struct Checked {
    key: LayerKey,
    nonce: CounterBlock,
    digest: Box<str>,
    len: u64,
    secret: LayerSecret,
}

impl Checked {
    /// Returns the layer's length, sealed and plain.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether the layer has no octets at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the digest that the writer noted for the plain layer: advisory, since writers in the wild note the digest
    /// of something else.
    pub fn noted_digest(&self) -> &str {
        &self.digest
    }

    /// Borrows the private options that were unwrapped, to wrap them for somebody else.
    pub fn secret(&self) -> &LayerSecret {
        &self.secret
    }

    /// Returns the key that opens original documents sealed under this layer's; `id` is the ciphertext's digest.
    pub fn original(&self, ciphertext: &sealift_oci::Digest) -> Result<OriginalKey, OpenError> {
        let key = LayerKey::from_octets(self.key.expose()).ok_or(OpenError::Authentication)?;
        Ok(OriginalKey::new(
            key,
            &LayerId::Ciphertext(ciphertext.clone()),
        ))
    }

    /// Starts decrypting at octet `offset` of the very ciphertext that was checked.
    ///
    /// # Errors
    /// [`OpenError::Authentication`] beyond the end.
    pub fn decrypt_from(&self, offset: u64) -> Result<Decryptor, OpenError> {
        let left = self
            .len
            .checked_sub(offset)
            .ok_or(OpenError::Authentication)?;
        let keystream = Keystream::new(&self.key, &self.nonce, offset)?;
        Ok(Decryptor {
            keystream,
            left: Some(left),
        })
    }
}

/// Decrypts a checked ciphertext from some offset on.
pub struct Decryptor {
    keystream: Keystream,
    /// Nothing after an error.
    left: Option<u64>,
}

impl Decryptor {
    /// Takes ciphertext in pieces of any size and appends plaintext.
    ///
    /// # Errors
    /// [`OpenError::Authentication`] for more octets than were checked; nothing is appended then, and every later call
    /// fails alike.
    pub fn update(&mut self, ciphertext: &[u8], out: &mut impl Room) -> Result<(), OpenError> {
        let left = self
            .left
            .take()
            .and_then(|left| left.checked_sub(ciphertext.len() as u64))
            .ok_or(OpenError::Authentication)?;
        self.keystream.apply(ciphertext, out)?;
        self.left = Some(left);
        Ok(())
    }

    /// Ends the layer.
    ///
    /// # Errors
    /// [`OpenError::Truncated`] for fewer octets than were checked; [`OpenError::Authentication`] after an error.
    pub fn finish(self) -> Result<(), OpenError> {
        match self.left {
            Some(0) => Ok(()),
            Some(_) => Err(OpenError::Truncated { after: None }),
            None => Err(OpenError::Authentication),
        }
    }
}

impl fmt::Debug for Decryptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decryptor")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl From<CipherFault> for OpenError {
    fn from(CipherFault: CipherFault) -> Self {
        Self::Authentication
    }
}
