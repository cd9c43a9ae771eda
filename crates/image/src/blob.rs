use std::io::Write;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use indexmap::IndexMap;
use sealift_layer::{Original, OriginalKey, OriginalKind, Plan, SealError, Sealer};
use sealift_oci::{Algorithm, Descriptor, Digest, Hasher, MediaType};
use sealift_registry::{BlobWriter, RawManifest, Sink, Source};

use crate::crew::{Crew, Lane, Lanes};
use crate::error::ImageError;
use crate::progress::{Action, Event, Progress};
use crate::pump::{SourceDigest, pump_checked};
use crate::ring::{Piece, Ring};
use crate::seal::SourceCheck;

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
/// Both digests are computed beside it, on lanes. The blob is committed only after all of the source has been read and
/// its digest compared.
pub(crate) fn seal_blob(
    plan: Plan,
    layer: &Descriptor,
    source: &dyn Source,
    sink: &dyn Sink,
    check: SourceCheck,
    progress: &dyn Progress,
    crew: &Crew,
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
    let (mut reader, check) = reader.leaving_digest();
    let lanes = Lanes::of(crew);
    let source_digest = SourceDigest::new(&lanes, check);
    let mut sealer = Sealer::new(plan, &SystemRandom::new()).map_err(refused)?;
    let mut out = Output::new(sink.blob(None)?, &lanes);
    pump_checked(&lanes, &mut reader, &source_digest, |piece| {
        crew.stop().check()?;
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

/// Counts what is written to a blob, and has it hashed.
pub(crate) struct Output<'l> {
    pub(crate) buffer: Vec<u8>,
    ring: Arc<Ring>,
    writer: BlobWriter,
    digest: Lane<'l, Hasher>,
    size: u64,
    lanes: &'l Lanes<'l>,
}

impl<'l> Output<'l> {
    pub(crate) fn new(writer: BlobWriter, lanes: &'l Lanes<'l>) -> Self {
        let ring = Ring::new();
        Self {
            buffer: ring.try_take().unwrap_or_default(),
            ring,
            writer: writer.leaving_digest(),
            digest: lanes.begin(Hasher::new(Algorithm::Sha256)),
            size: 0,
            lanes,
        }
    }

    /// Writes what is in the buffer and replaces it by an empty one.
    pub(crate) fn flush(&mut self) -> Result<(), ImageError> {
        let piece = Piece::new(std::mem::take(&mut self.buffer), &self.ring);
        self.digest.push(&piece);
        self.size += piece.octets().len() as u64;
        self.writer
            .write_all(piece.octets())
            .map_err(|error| ImageError::from_io("write a blob", error))?;
        drop(piece);
        self.buffer = self.ring.next(self.lanes);
        Ok(())
    }

    /// Writes the rest and makes the blob visible.
    pub(crate) fn commit(mut self) -> Result<(Digest, u64), ImageError> {
        self.flush()?;
        let digest = self.digest.finish()?.finish();
        self.writer.commit(&digest, self.size)?;
        Ok((digest, self.size))
    }
}

/// Digests that are computed beside a layer: the source's and the sealed blob's.
pub(crate) const LANES: usize = 2;
