use std::cell::RefCell;
use std::io::Write;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use indexmap::IndexMap;
use sealift_layer::{Original, OriginalKey, OriginalKind, Plan, SealError, Sealer, Tagging};
use sealift_oci::{Descriptor, Digest, MediaType};
use sealift_registry::{RawManifest, Sink, Source};
use sealift_sha256::Sha256;

use crate::crew::{Crew, Lanes, Task};
use crate::error::ImageError;
use crate::output::Output;
use crate::progress::{Action, Event, Progress};
use crate::pump::{SourceDigest, pump_checked};
use crate::ring::Piece;
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
/// Both digests and ocicrypt's tag are computed beside it, on lanes. The blob is committed only after all of the source
/// has been read and its digest compared.
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
    let sealer = Sealer::new(plan, &SystemRandom::new()).map_err(refused)?;
    let (mut sealer, tagging) = sealer.leaving_tag();
    let tag = RefCell::new(tagging.map(|tagging| lanes.begin(tagging)));
    let mut writer = sink.blob(None)?;
    writer.leave_digest();
    let mut write = |piece: &Arc<Piece>| {
        if let Some(tag) = &*tag.borrow() {
            tag.push(piece);
        }
        writer
            .write_all(piece.octets())
            .map_err(|error| ImageError::from_io("write a blob", error))
    };
    let mut out = Output::new(&lanes);
    let reading = crew.reading(source.is_local());
    pump_checked(&lanes, reading, &mut reader, &source_digest, |piece| {
        crew.stop().check()?;
        let octets = piece.octets();
        sealer.update(octets, &mut out.buffer).map_err(refused)?;
        progress.event(Event::Advanced {
            digest,
            bytes: octets.len() as u64,
        });
        out.flush(&mut write)
    })?;
    if let Some(tag) = tag.take() {
        sealer.take_back(tag.finish()?);
    }
    let finished = sealer.finish(&mut out.buffer).map_err(refused)?;
    out.flush(&mut write)?;
    let (ciphertext, size) = out.finish()?;
    writer.commit(&ciphertext, size)?;
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

/// What is computed beside a layer: the source's digest, the sealed blob's, and its tag.
pub(crate) const LANES: usize = 3;

impl Task for Tagging {
    fn take(&mut self, octets: &[u8]) {
        self.update(octets);
    }

    fn sha256(&mut self) -> Option<&mut Sha256> {
        Some(self.sha256())
    }
}
