use std::io::{Read, Seek, SeekFrom, Write};

use sealift_keywrap::WrapContext;
use sealift_layer::{
    Checked, Claims, CtrHmacLayer, Intake, LayerOpener, OpenError, OriginalKey, Release,
    SecretSource, Start, Unchecked,
};
use sealift_oci::{Algorithm, Descriptor, Digest, Hasher, MediaType};
use sealift_registry::Source;
use tempfile::SpooledTempFile;

use crate::crew::Crew;
use crate::error::ImageError;
use crate::progress::{Event, Progress};
use crate::pump::pump;
use crate::ring::PIECE_LEN;
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
/// returns `Ok`.
pub(crate) fn open_layer(
    layer: &Descriptor,
    source: &dyn Source,
    identities: Identities<'_>,
    progress: &dyn Progress,
    crew: &Crew,
    consume: &mut dyn FnMut(&[u8]) -> Result<(), ImageError>,
) -> Result<OpenedLayer, ImageError> {
    let digest = layer.digest();
    let refused = |source| refused(digest, source);
    let annotations = layer
        .annotations()
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()));
    let claims = Claims::new(layer.media_type(), annotations).map_err(refused)?;
    let subject = digest.to_string();
    let keys = Keys {
        digest,
        claims: &claims,
        identities,
        context: WrapContext {
            subject: Some(&subject),
            ..WrapContext::default()
        },
    };
    let mut plain = Plain::new(consume);
    let mut state = State::Unknown(Intake::default());
    pump(&mut source.blob(layer)?, |piece| {
        crew.stop().check()?;
        progress.event(Event::Advanced {
            digest,
            bytes: piece.len() as u64,
        });
        match &mut state {
            State::Unknown(intake) => {
                if let Some(start) = intake.update(piece).map_err(refused)? {
                    state = keys.begin(start, &mut plain)?;
                }
                Ok(())
            }
            State::Chunked(opener) => {
                opener.update(piece, &mut plain.buffer).map_err(refused)?;
                plain.flush()
            }
            State::CtrHmac(spool) => spool.write(piece),
        }
    })?;
    if let State::Unknown(intake) = state {
        state = keys.begin(intake.finish().map_err(refused)?, &mut plain)?;
    }
    let original = match state {
        State::Chunked(mut opener) => {
            opener.update(&[], &mut plain.buffer).map_err(refused)?;
            plain.flush()?;
            let hasher = plain.hasher.clone();
            opener
                .finish(Release::AfterDigest(hasher), &mut plain.buffer)
                .map_err(refused)?
        }
        State::CtrHmac(spool) => (*spool).open(&keys, &mut plain)?,
        // `begin` never leaves this state.
        State::Unknown(_) => return Err(refused(OpenError::Authentication)),
    };
    plain.flush()?;
    Ok(OpenedLayer {
        digest: plain.hasher.finish(),
        size: plain.size,
        media_type: claims.plain_type,
        original,
    })
}

/// What is needed to find a layer's key.
struct Keys<'a> {
    digest: &'a Digest,
    claims: &'a Claims,
    identities: Identities<'a>,
    context: WrapContext<'a>,
}

impl Keys<'_> {
    /// Unlocks a layer whose format has become known, and deals with the octets read so far.
    fn begin(&self, start: Start, plain: &mut Plain<'_>) -> Result<State, ImageError> {
        let refused = |source| refused(self.digest, source);
        match start {
            Start::Chunked(mut layer) => {
                let opener = layer
                    .unlock(self.claims, self.identities, &self.context)
                    .map_err(refused)?;
                plain.hash_with(
                    opener
                        .plain_digest()
                        .map_or(Algorithm::Sha256, Digest::algorithm),
                );
                Ok(State::Chunked(Box::new(opener)))
            }
            Start::CtrHmac(first) => {
                let mut layer = CtrHmacLayer::new(self.claims, &first).map_err(refused)?;
                let unchecked = layer
                    .unlock(self.identities, &self.context)
                    .map_err(refused)?;
                let mut spool = Box::new(Spool {
                    layer,
                    unchecked,
                    file: SpooledTempFile::new(SPOOL_IN_MEMORY),
                });
                spool.write(&first)?;
                Ok(State::CtrHmac(spool))
            }
        }
    }
}

enum State {
    Unknown(Intake),
    Chunked(Box<LayerOpener>),
    CtrHmac(Box<Spool>),
}

/// The ciphertext of an ocicrypt layer, kept until its tag has been compared.
///
/// Beyond [`SPOOL_IN_MEMORY`] it lies in a temporary file that has no name and goes with the process. The registry
/// client never reads more of a blob than its descriptor says, which bounds the file.
struct Spool {
    layer: CtrHmacLayer,
    unchecked: Unchecked,
    file: SpooledTempFile,
}

impl Spool {
    fn write(&mut self, ciphertext: &[u8]) -> Result<(), ImageError> {
        self.unchecked.update(ciphertext);
        self.file.write_all(ciphertext).map_err(spool_failed)
    }

    fn open(mut self, keys: &Keys<'_>, plain: &mut Plain<'_>) -> Result<OriginalKey, ImageError> {
        let refused = |source| refused(keys.digest, source);
        let mut attempt = self.unchecked.finish();
        // Another key may have been unwrapped first; the tag tells which is the layer's.
        let checked: Checked = loop {
            match attempt {
                Ok(checked) => break checked,
                Err(_) => {
                    let mut next = self
                        .layer
                        .unlock(keys.identities, &keys.context)
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
            plain.hash_with(noted.algorithm());
        }
        let mut decryptor = checked.decrypt_from(0).map_err(refused)?;
        each_piece(&mut self.file, |piece| {
            decryptor
                .update(piece, &mut plain.buffer)
                .map_err(refused)?;
            plain.flush()
        })?;
        decryptor.finish().map_err(refused)?;
        checked.original(keys.digest).map_err(refused)
    }
}

fn each_piece(
    file: &mut SpooledTempFile,
    mut take: impl FnMut(&[u8]) -> Result<(), ImageError>,
) -> Result<(), ImageError> {
    file.seek(SeekFrom::Start(0)).map_err(spool_failed)?;
    let mut piece = vec![0; PIECE_LEN];
    loop {
        match file.read(&mut piece).map_err(spool_failed)? {
            0 => return Ok(()),
            read => take(piece.get(..read).unwrap_or_default())?,
        }
    }
}

/// Hashes and counts plaintext on its way to the consumer.
struct Plain<'a> {
    buffer: Vec<u8>,
    hasher: Hasher,
    size: u64,
    consume: &'a mut dyn FnMut(&[u8]) -> Result<(), ImageError>,
}

impl<'a> Plain<'a> {
    fn new(consume: &'a mut dyn FnMut(&[u8]) -> Result<(), ImageError>) -> Self {
        Self {
            buffer: Vec::with_capacity(2 * PIECE_LEN),
            hasher: Hasher::new(Algorithm::Sha256),
            size: 0,
            consume,
        }
    }

    /// Chooses the algorithm of the digest, before any plaintext.
    fn hash_with(&mut self, algorithm: Algorithm) {
        self.hasher = Hasher::new(algorithm);
    }

    fn flush(&mut self) -> Result<(), ImageError> {
        self.hasher.update(&self.buffer);
        self.size += self.buffer.len() as u64;
        (self.consume)(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

fn refused(digest: &Digest, source: OpenError) -> ImageError {
    ImageError::Open {
        digest: digest.clone(),
        source,
    }
}

fn spool_failed(error: std::io::Error) -> ImageError {
    ImageError::from_io("keep the ciphertext in a temporary file", error)
}

/// Ciphertext up to this length never touches a disk.
const SPOOL_IN_MEMORY: usize = 8 * 1024 * 1024;
