use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use sealift_keywrap::WrapContext;
use sealift_layer::{
    AeadLibrary, Checked, Claims, CtrHmacLayer, Intake, LayerOpener, OpenError, OriginalKey,
    Release, SecretSource, Start, Unchecked,
};
use sealift_oci::{Algorithm, Descriptor, Digest, MediaType};
use sealift_registry::Source;
use sealift_sha256::Sha256;
use sealift_sys::Buffer;
use tempfile::SpooledTempFile;

use crate::crew::{Crew, Lane, Lanes, Stop, Task};
use crate::error::{ImageError, Kind};
use crate::output::Output;
use crate::progress::{Event, Progress};
use crate::pump::{SourceDigest, pump, pump_checked};
use crate::ring::{PIECE_LEN, Piece};
use crate::wanted::of_layers;

/// Whoever may open layers, from several threads.
pub type Identities<'a> = &'a (dyn SecretSource + Sync);

/// A layer that was opened to its end.
#[derive(Debug)]
pub(crate) struct OpenedLayer {
    /// Digest of the plain blob, by the algorithm the writer used.
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) media_type: MediaType,
    /// Opens documents sealed under the layer's key.
    pub(crate) original: OriginalKey,
}

/// Whether the digest of a sealed blob is compared while the layer in it is opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SealedDigest {
    /// Always: the question is whether the blob is the one that the descriptor names.
    Compare,
    /// Unless the plaintext proves the blob, whose digest could then not be another.
    ///
    /// That is so where the descriptor names the commitment, which binds key, salt and plain digest; where the blob's
    /// header [follows from the descriptor](sealift_layer::ChunkedLayer::follows_from); and where the sealer named the
    /// plain digest, without which the opener does not release the end. Of what comes from elsewhere the digest is
    /// compared all the same, because it tells a false mirror from a broken image.
    CompareWhereNeeded,
}

/// How layers are opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) check: SealedDigest,
    /// What opens chunks.
    pub(crate) aead: AeadLibrary,
}

/// Tells whoever opens layers which wrapped keys will be wanted, once for all layers of an image.
pub(crate) fn prepare<'a>(
    identities: Identities<'_>,
    layers: impl Iterator<Item = &'a Descriptor>,
) {
    identities.prepare(&of_layers(layers));
}

/// Opens one layer.
///
/// `consume` gets authenticated plaintext, in order; it has got all of it, and the layer is whole, only when this
/// returns `Ok`. Digests are computed beside it, on lanes.
pub(crate) fn open_layer(
    layer: &Descriptor,
    source: &dyn Source,
    manner: Manner,
    identities: Identities<'_>,
    progress: &dyn Progress,
    crew: &Crew,
    consume: &mut dyn FnMut(&[u8]) -> Result<(), ImageError>,
) -> Result<OpenedLayer, ImageError> {
    let digest = layer.digest();
    let claims = claims_of(layer)?;
    let subject = digest.to_string();
    let (mut reader, blob_check) = source.blob(layer)?.leaving_digest();
    let lanes = Lanes::of(crew);
    let sealed_digest = SourceDigest::new(&lanes, blob_check);
    let opening = Opening {
        digest,
        claims: &claims,
        identities,
        context: WrapContext {
            subject: Some(&subject),
            ..WrapContext::default()
        },
        lanes: &lanes,
        may_waive: manner.check == SealedDigest::CompareWhereNeeded && source.is_local(),
    };
    let mut plain = Plain {
        output: Output::new(&lanes),
        consume,
    };
    let mut state = State::Unknown(Intake::opening_with(manner.aead));
    let reading = crew.reading(source.is_local());
    let pumped = pump_checked(&lanes, reading, &mut reader, &sealed_digest, |piece| {
        crew.stop().check()?;
        progress.event(Event::Advanced {
            digest,
            bytes: piece.octets().len() as u64,
        });
        opening.take(&mut state, piece, &mut plain)?;
        if state.is_proven_by_plaintext() {
            sealed_digest.waive();
        }
        Ok(())
    });
    let waived = state.is_proven_by_plaintext();
    match pumped.and_then(|()| opening.finish(state, plain)) {
        Err(error) if waived && error.kind() == Kind::Integrity => {
            Err(damage(layer, source, crew.stop()).unwrap_or(error))
        }
        outcome => outcome,
    }
}

/// Reads a blob whose digest was waived once more, to tell a damaged blob from one that was sealed wrong.
fn damage(layer: &Descriptor, source: &dyn Source, stop: &Stop) -> Option<ImageError> {
    let mut reader = source.blob(layer).ok()?;
    let compared = pump(&mut reader, |_| stop.check());
    compared
        .err()
        .filter(|error| error.kind() == Kind::Integrity)
}

/// What is needed to open a layer.
struct Opening<'a> {
    digest: &'a Digest,
    claims: &'a Claims,
    identities: Identities<'a>,
    context: WrapContext<'a>,
    lanes: &'a Lanes<'a>,
    may_waive: bool,
}

impl<'a> Opening<'a> {
    fn take(
        &self,
        state: &mut State<'a>,
        piece: &Arc<Piece>,
        plain: &mut Plain<'a>,
    ) -> Result<(), ImageError> {
        let refused = |source| refused(self.digest, source);
        match state {
            State::Unknown(intake) => {
                if let Some(start) = intake.update(piece.octets()).map_err(refused)? {
                    *state = self.begin(start, plain)?;
                }
                Ok(())
            }
            State::Chunked { opener, .. } => {
                opener
                    .update(piece.octets(), &mut plain.output.buffer)
                    .map_err(refused)?;
                plain.flush()
            }
            State::CtrHmac(spool) => spool.take(piece),
        }
    }

    /// Unlocks a layer whose format has become known, and deals with the octets read so far.
    fn begin(&self, start: Start, plain: &mut Plain<'a>) -> Result<State<'a>, ImageError> {
        let refused = |source| refused(self.digest, source);
        match start {
            Start::Chunked(mut layer) => {
                let mut opener = layer
                    .unlock(self.claims, self.identities, &self.context)
                    .map_err(refused)?;
                let named = opener.plain_digest().map(Digest::algorithm);
                plain.output.hash_with(named.unwrap_or(Algorithm::Sha256));
                // What came with the header, before more comes: together they would be too much for a buffer.
                opener
                    .update(&[], &mut plain.output.buffer)
                    .map_err(refused)?;
                plain.flush()?;
                Ok(State::Chunked {
                    proven: self.may_waive && named.is_some() && layer.follows_from(self.claims),
                    opener: Box::new(opener),
                })
            }
            Start::CtrHmac(first) => {
                let mut layer = CtrHmacLayer::new(self.claims, &first).map_err(refused)?;
                let unchecked = layer
                    .unlock(self.identities, &self.context)
                    .map_err(refused)?;
                let spool = Spool::new(layer, unchecked, &first, self.lanes)?;
                Ok(State::CtrHmac(Box::new(spool)))
            }
        }
    }

    /// Ends a layer whose octets have all been taken.
    fn finish(
        &self,
        mut state: State<'a>,
        mut plain: Plain<'a>,
    ) -> Result<OpenedLayer, ImageError> {
        let refused = |source| refused(self.digest, source);
        if let State::Unknown(intake) = state {
            state = self.begin(intake.finish().map_err(refused)?, &mut plain)?;
        }
        let original = match state {
            State::Chunked { mut opener, .. } => {
                let output = &mut plain.output;
                opener.update(&[], &mut output.buffer).map_err(refused)?;
                plain.flush()?;
                let release = Release::AfterDigest(plain.output.hashed()?);
                opener
                    .finish(release, &mut plain.output.buffer)
                    .map_err(refused)?
            }
            State::CtrHmac(spool) => (*spool).open(self, &mut plain)?,
            // `begin` never leaves this state.
            State::Unknown(_) => return Err(refused(OpenError::Authentication)),
        };
        plain.flush()?;
        let (digest, size) = plain.output.finish()?;
        Ok(OpenedLayer {
            digest,
            size,
            media_type: self.claims.plain_type.clone(),
            original,
        })
    }
}

enum State<'a> {
    Unknown(Intake),
    Chunked {
        opener: Box<LayerOpener>,
        proven: bool,
    },
    CtrHmac(Box<Spool<'a>>),
}

impl State<'_> {
    /// Returns whether the sealed digest can be waived, because the plaintext proves the blob when the layer is at its end.
    fn is_proven_by_plaintext(&self) -> bool {
        matches!(self, Self::Chunked { proven: true, .. })
    }
}

/// The ciphertext of an ocicrypt layer, kept until its tag has been compared.
///
/// Beyond [`SPOOL_IN_MEMORY`] it lies in a temporary file that has no name and goes with the process. The registry
/// client never reads more of a blob than its descriptor says, which bounds the file.
struct Spool<'a> {
    layer: CtrHmacLayer,
    tag: Lane<'a, Unchecked>,
    file: SpooledTempFile,
}

impl<'a> Spool<'a> {
    fn new(
        layer: CtrHmacLayer,
        mut unchecked: Unchecked,
        first: &[u8],
        lanes: &'a Lanes<'a>,
    ) -> Result<Self, ImageError> {
        let mut file = SpooledTempFile::new(SPOOL_IN_MEMORY);
        file.write_all(first).map_err(spool_failed)?;
        unchecked.update(first);
        Ok(Self {
            layer,
            tag: lanes.begin(unchecked),
            file,
        })
    }

    fn take(&mut self, ciphertext: &Arc<Piece>) -> Result<(), ImageError> {
        self.tag.push(ciphertext);
        self.file
            .write_all(ciphertext.octets())
            .map_err(spool_failed)
    }

    fn open(
        mut self,
        opening: &Opening<'_>,
        plain: &mut Plain<'_>,
    ) -> Result<OriginalKey, ImageError> {
        let refused = |source| refused(opening.digest, source);
        let mut attempt = self.tag.finish()?.finish();
        // Another key may have been unwrapped first; the tag tells which is the layer's.
        let checked: Checked = loop {
            match attempt {
                Ok(checked) => break checked,
                Err(_) => {
                    let mut next = self
                        .layer
                        .unlock(opening.identities, &opening.context)
                        .map_err(refused)?;
                    each_piece(&mut self.file, |piece| {
                        next.update(piece);
                        Ok(())
                    })?;
                    attempt = next.finish();
                }
            }
        };
        if let Ok(noted) = checked.noted_digest().parse::<Digest>() {
            plain.output.hash_with(noted.algorithm());
        }
        let mut decryptor = checked.decrypt_from(0).map_err(refused)?;
        each_piece(&mut self.file, |piece| {
            decryptor
                .update(piece, &mut plain.output.buffer)
                .map_err(refused)?;
            plain.flush()
        })?;
        decryptor.finish().map_err(refused)?;
        checked.original(opening.digest).map_err(refused)
    }
}

impl Task for Unchecked {
    fn take(&mut self, octets: &[u8]) {
        self.update(octets);
    }

    fn sha256(&mut self) -> Option<&mut Sha256> {
        Some(self.sha256())
    }
}

fn each_piece(
    file: &mut SpooledTempFile,
    mut take: impl FnMut(&[u8]) -> Result<(), ImageError>,
) -> Result<(), ImageError> {
    file.seek(SeekFrom::Start(0)).map_err(spool_failed)?;
    let mut piece = Buffer::zeroed(PIECE_LEN);
    loop {
        match file.read(&mut piece).map_err(spool_failed)? {
            0 => return Ok(()),
            read => take(piece.get(..read).unwrap_or_default())?,
        }
    }
}

/// Plaintext on its way to the consumer.
struct Plain<'a> {
    output: Output<'a>,
    consume: &'a mut dyn FnMut(&[u8]) -> Result<(), ImageError>,
}

impl Plain<'_> {
    fn flush(&mut self) -> Result<(), ImageError> {
        self.output.flush(|piece| (self.consume)(piece.octets()))
    }
}

/// Reads what a descriptor says about its sealed layer.
pub(crate) fn claims_of(layer: &Descriptor) -> Result<Claims, ImageError> {
    let annotations = layer.annotations().iter();
    let annotations = annotations.map(|(key, value)| (key.as_str(), value.as_str()));
    Claims::new(layer.media_type(), annotations).map_err(|source| refused(layer.digest(), source))
}

pub(crate) fn refused(digest: &Digest, source: OpenError) -> ImageError {
    ImageError::Open {
        digest: digest.clone(),
        source,
    }
}

fn spool_failed(error: std::io::Error) -> ImageError {
    ImageError::from_io("keep the ciphertext in a temporary file", error)
}

/// Ciphertext up to this length never touches a disk.
pub(crate) const SPOOL_IN_MEMORY: usize = 4 * 1024 * 1024;

/// What is computed beside a layer: the sealed blob's digest, its tag, and the plain blob's digest.
pub(crate) const LANES: usize = 3;
