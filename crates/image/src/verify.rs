use std::collections::HashMap;
use std::io::{self, Write};
use std::num::NonZeroUsize;

use flate2::write::MultiGzDecoder;
use sealift_layer::AeadLibrary;
use sealift_oci::{Compression, Config, Descriptor, DiffId, Digest, Hasher, MediaType, Platform};
use sealift_registry::Source;

use crate::crew::Crew;
use crate::error::ImageError;
use crate::inspect::{Inspection, inspect_image};
use crate::open::choose;
use crate::opening::{Identities, LANES, Manner, OpenedLayer, SealedDigest, open_layer, prepare};
use crate::progress::{Action, Event, Progress};
use crate::pump::pump;
use crate::restore::{Opened, Restorer};
use crate::selection::Selection;
use crate::tree::Tree;
use crate::work::{in_parallel, restarting};

/// Checks everything that can be checked of an image, without writing anything.
pub struct Verify<'a> {
    /// Where the image is.
    pub source: &'a dyn Source,
    /// Whose keys open sealed layers; without them only their digests are checked.
    pub identities: Option<Identities<'a>>,
    /// Platforms to check; empty: all.
    pub platforms: Vec<Platform>,
    /// What opens the chunks of layers.
    pub aead: AeadLibrary,
    /// Layers in flight.
    pub jobs: NonZeroUsize,
    /// Receives what happens.
    pub progress: &'a dyn Progress,
}

impl Verify<'_> {
    /// Reads every blob: its digest, with keys its authenticity, and the digest of the tar in it. With keys it makes of the
    /// opened layers what [`Open`](crate::Open) would, and throws it away: original manifests and configurations are
    /// opened and compared.
    ///
    /// # Errors
    /// [`ImageError`], naming the first thing that is not as the image says.
    pub fn run(&self) -> Result<Inspection, ImageError> {
        let tree = Tree::load(self.source, &self.platforms)?;
        let (statements, images): (Vec<_>, Vec<_>) = tree
            .images()
            .into_iter()
            .partition(|image| image.attestation);
        let mut jobs = Vec::new();
        for statement in statements {
            let layers = statement.manifest.layers().iter();
            jobs.extend(layers.map(|layer| Job {
                place: None,
                layer,
                diff_id: None,
            }));
        }
        for (place, image) in images.iter().enumerate() {
            let diff_ids = image
                .parsed
                .as_ref()
                .map(|config: &Config| config.diff_ids.as_slice());
            if let Some(diff_ids) =
                diff_ids.filter(|diff_ids| diff_ids.len() != image.manifest.layers().len())
            {
                return Err(ImageError::Mismatch {
                    what: "number of diff IDs of the image",
                    digest: image.raw.digest.clone(),
                    expected: image.manifest.layers().len().to_string().into(),
                    actual: diff_ids.len().to_string().into(),
                });
            }
            for (index, layer) in image.manifest.layers().iter().enumerate() {
                if layer.urls().is_empty() || !layer.media_type().is_nondistributable() {
                    let diff_id = diff_ids.and_then(|diff_ids| diff_ids.get(index));
                    jobs.push(Job {
                        place: Some((place, index)),
                        layer,
                        diff_id,
                    });
                }
            }
        }
        if let Some(identities) = self.identities {
            let layers = jobs.iter().map(|job| job.layer);
            prepare(
                identities,
                layers.filter(|layer| layer.media_type().is_sealed()),
            );
        }
        let verdicts = in_parallel(
            self.jobs,
            LANES,
            &jobs,
            |job| job.layer.size(),
            |job, crew| self.layer(job, crew),
        )?;
        let mut manifests = images
            .iter()
            .map(|image| inspect_image(self.source, image))
            .collect::<Result<Vec<_>, _>>()?;
        let mut opened = HashMap::new();
        for (job, done) in jobs.iter().zip(verdicts) {
            let Some(done) = done else { continue };
            let layer = job
                .place
                .and_then(|(place, index)| manifests.get_mut(place)?.layers.get_mut(index));
            if let Some(layer) = layer {
                layer.authenticated = Some(true);
            }
            opened.insert(job.layer.digest().clone(), done);
        }
        let raw = tree.root.raw();
        Ok(Inspection {
            digest: raw.digest.clone(),
            media_type: raw.media_type.clone(),
            octets: raw.bytes.to_vec(),
            manifests,
            opened: self.restore(&tree, &opened)?,
        })
    }

    /// Checks what belongs to opened layers, and returns the digest of what they make.
    fn restore(&self, tree: &Tree, opened: &Opened) -> Result<Option<Digest>, ImageError> {
        if opened.is_empty() {
            return Ok(None);
        }
        let chosen = choose(tree, &Selection::default())?;
        let restorer = Restorer {
            sink: None,
            progress: self.progress,
            chosen: &chosen,
            opened,
        };
        Ok(Some(restorer.put_below(&tree.root)?.raw.digest))
    }

    fn layer(&self, job: &Job<'_>, crew: &Crew) -> Result<Option<OpenedLayer>, ImageError> {
        let layer = job.layer;
        let digest = layer.digest();
        self.progress.event(Event::Started {
            digest,
            size: layer.size(),
            action: Action::Verify,
        });
        let verdict = restarting(|| self.check(job, crew))?;
        self.progress.event(Event::Finished { digest });
        Ok(verdict)
    }

    fn check(&self, job: &Job<'_>, crew: &Crew) -> Result<Option<OpenedLayer>, ImageError> {
        let layer = job.layer;
        let digest = layer.digest();
        let sealed = layer.media_type().is_sealed();
        match self.identities {
            Some(identities) if sealed => {
                let plain = layer
                    .media_type()
                    .plain()
                    .unwrap_or_else(|_| layer.media_type().clone());
                let mut tar = TarHash::new(&plain, job.diff_id)?;
                let opened = open_layer(
                    layer,
                    self.source,
                    Manner {
                        check: SealedDigest::Compare,
                        aead: self.aead,
                    },
                    identities,
                    self.progress,
                    crew,
                    &mut |octets| tar.update(octets, digest),
                )?;
                tar.finish(digest)?;
                Ok(Some(opened))
            }
            _ => {
                let mut tar = TarHash::new(layer.media_type(), job.diff_id.filter(|_| !sealed))?;
                pump(&mut self.source.blob(layer)?, |piece| {
                    crew.stop().check()?;
                    self.progress.event(Event::Advanced {
                        digest,
                        bytes: piece.len() as u64,
                    });
                    tar.update(piece, digest)
                })?;
                tar.finish(digest)?;
                Ok(None)
            }
        }
    }
}

impl std::fmt::Debug for Verify<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verify")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

struct Job<'t> {
    /// Which image and which of its layers; none for what belongs to an attestation.
    place: Option<(usize, usize)>,
    layer: &'t Descriptor,
    diff_id: Option<&'t DiffId>,
}

/// Unpacks a layer as it comes and compares the digest of the tar with the configuration's diff ID.
struct TarHash<'t> {
    unpacker: Unpacker,
    expected: Option<&'t DiffId>,
}

enum Unpacker {
    Nothing,
    None(HashWriter),
    Gzip(Box<MultiGzDecoder<HashWriter>>),
    Zstd(Box<zstd::stream::write::Decoder<'static, HashWriter>>),
}

impl<'t> TarHash<'t> {
    fn new(media_type: &MediaType, expected: Option<&'t DiffId>) -> Result<Self, ImageError> {
        let unpacker = match (expected, media_type.compression()) {
            (Some(DiffId(diff_id)), Some(compression)) => {
                let hash = HashWriter(Hasher::new(diff_id.algorithm()));
                match compression {
                    Compression::None => Unpacker::None(hash),
                    Compression::Gzip => Unpacker::Gzip(Box::new(MultiGzDecoder::new(hash))),
                    Compression::Zstd => {
                        let decoder = zstd::stream::write::Decoder::new(hash);
                        Unpacker::Zstd(Box::new(
                            decoder
                                .map_err(|error| ImageError::from_io("start unpacking", error))?,
                        ))
                    }
                }
            }
            // Without a diff ID there is nothing to compare with.
            _ => Unpacker::Nothing,
        };
        Ok(Self { unpacker, expected })
    }

    fn update(&mut self, octets: &[u8], layer: &Digest) -> Result<(), ImageError> {
        let written = match &mut self.unpacker {
            Unpacker::Nothing => Ok(()),
            Unpacker::None(hash) => hash.write_all(octets),
            Unpacker::Gzip(decoder) => decoder.write_all(octets),
            Unpacker::Zstd(decoder) => decoder.write_all(octets),
        };
        written.map_err(|_| self.not_packed(layer))
    }

    fn finish(self, layer: &Digest) -> Result<(), ImageError> {
        let broken = self.not_packed(layer);
        let hash = match self.unpacker {
            Unpacker::Nothing => return Ok(()),
            Unpacker::None(hash) => hash,
            Unpacker::Gzip(decoder) => decoder.finish().map_err(|_| broken)?,
            Unpacker::Zstd(mut decoder) => {
                decoder.flush().map_err(|_| broken)?;
                decoder.into_inner()
            }
        };
        let actual = hash.0.finish();
        match self.expected {
            Some(DiffId(expected)) if *expected != actual => Err(ImageError::Mismatch {
                what: "diff ID",
                digest: layer.clone(),
                expected: expected.to_string().into(),
                actual: actual.to_string().into(),
            }),
            _ => Ok(()),
        }
    }

    fn not_packed(&self, layer: &Digest) -> ImageError {
        ImageError::Mismatch {
            what: "compression",
            digest: layer.clone(),
            expected: "the one its media type names".into(),
            actual: "another one, or broken".into(),
        }
    }
}

struct HashWriter(Hasher);

impl Write for HashWriter {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.update(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
