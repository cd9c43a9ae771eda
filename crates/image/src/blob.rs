use std::io::Write;

use aws_lc_rs::rand::SystemRandom;
use indexmap::IndexMap;
use sealift_layer::{Original, OriginalKey, OriginalKind, Plan, SealError, Sealer};
use sealift_oci::{Algorithm, Descriptor, Digest, Hasher, MediaType};
use sealift_registry::{BlobWriter, RawManifest, Sink, Source};

use crate::error::ImageError;
use crate::progress::{Action, Event, Progress};
use crate::seal::SourceCheck;
use crate::work::{PIECE_LEN, Stop, pump};

/// A sealed layer at the destination.
#[derive(Debug)]
pub(crate) struct SealedBlob {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) media_type: MediaType,
    pub(crate) annotations: IndexMap<String, String>,
    original: OriginalKey,
    plain: Digest,
}

impl SealedBlob {
    /// Seals a document under this layer's key.
    pub(crate) fn seal_original(
        &self,
        kind: OriginalKind,
        document: &RawManifest,
    ) -> Result<String, ImageError> {
        let original = Original {
            media_type: document.media_type.clone(),
            octets: document.bytes.to_vec(),
        };
        let sealed = self.original.seal(kind, &original, &SystemRandom::new());
        sealed.map_err(|source| ImageError::Seal {
            digest: self.plain.clone(),
            source,
        })
    }
}

/// Seals one layer on its way from the source to the sink.
///
/// The blob is committed only after all of the source has been read and its digest checked.
pub(crate) fn seal_blob(
    plan: Plan,
    layer: &Descriptor,
    source: &dyn Source,
    sink: &dyn Sink,
    check: SourceCheck,
    progress: &dyn Progress,
    stop: &Stop,
) -> Result<SealedBlob, ImageError> {
    let digest = layer.digest();
    let refused = |source: SealError| ImageError::Seal {
        digest: digest.clone(),
        source,
    };
    progress.event(Event::Started {
        digest,
        size: layer.size(),
        action: Action::Seal,
    });
    let mut reader = source.blob(layer)?;
    if check == SourceCheck::Trust {
        reader = reader.trusting();
    }
    let mut sealer = Sealer::new(plan, &SystemRandom::new()).map_err(refused)?;
    let mut out = Output::new(sink.blob(None)?);
    pump(&mut reader, |piece| {
        stop.check()?;
        sealer.update(piece, &mut out.buffer).map_err(refused)?;
        progress.event(Event::Advanced {
            digest,
            bytes: piece.len() as u64,
        });
        out.flush()
    })?;
    let finished = sealer.finish(&mut out.buffer).map_err(refused)?;
    let (ciphertext, size) = out.commit()?;
    let sealed = finished.describe(&ciphertext).map_err(refused)?;
    progress.event(Event::Finished { digest });
    Ok(SealedBlob {
        digest: ciphertext,
        size,
        media_type: sealed.media_type,
        annotations: sealed.annotations,
        original: sealed.original,
        plain: digest.clone(),
    })
}

/// Returns how many octets the annotations of a layer take in its manifest, by sealing nothing.
pub(crate) fn sealed_annotations_len(layer: &Descriptor, plan: Plan) -> Result<usize, ImageError> {
    let trial = Sealer::new(plan, &SystemRandom::new())
        .and_then(|sealer| sealer.finish(&mut Vec::new()))
        .and_then(|finished| finished.describe(layer.digest()))
        .map_err(|source| ImageError::Seal {
            digest: layer.digest().clone(),
            source,
        })?;
    // Quotes, colon and comma per annotation; the suffix of the media type.
    let members: usize = trial
        .annotations
        .iter()
        .map(|(key, value)| key.len() + value.len() + 6)
        .sum();
    Ok(members + MediaType::SEALED_SUFFIX.len())
}

/// Hashes and counts what is written to a blob.
pub(crate) struct Output {
    pub(crate) buffer: Vec<u8>,
    writer: BlobWriter,
    hasher: Hasher,
    size: u64,
}

impl Output {
    pub(crate) fn new(writer: BlobWriter) -> Self {
        Self {
            buffer: Vec::with_capacity(2 * PIECE_LEN),
            writer,
            hasher: Hasher::new(Algorithm::Sha256),
            size: 0,
        }
    }

    /// Writes what is in the buffer and empties it.
    pub(crate) fn flush(&mut self) -> Result<(), ImageError> {
        self.hasher.update(&self.buffer);
        self.writer
            .write_all(&self.buffer)
            .map_err(|error| ImageError::from_io("write a blob", error))?;
        self.size += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes the rest and makes the blob visible.
    pub(crate) fn commit(mut self) -> Result<(Digest, u64), ImageError> {
        self.flush()?;
        let digest = self.hasher.finish();
        self.writer.commit(&digest, self.size)?;
        Ok((digest, self.size))
    }
}
