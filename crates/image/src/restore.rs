//! What becomes of manifests, indexes and configurations when layers are opened.

use std::collections::HashMap;

use sealift_layer::{
    ORIGINAL, ORIGINAL_CONFIG, OpenError, Original, OriginalKind, RECIPIENTS, elements,
};
use sealift_oci::{Algorithm, Config, Descriptor, Digest, Document, Hasher, Index, Manifest};
use sealift_registry::{RawManifest, Sink};

use crate::copy::{entry_of, names_exactly, put_small, with_references, without};
use crate::error::ImageError;
use crate::opening::OpenedLayer;
use crate::progress::{Action, Event, Progress};
use crate::tree::{Branch, Image, Node, rendered};

/// Opened layers, by the digest of the sealed blob.
pub(crate) type Opened = HashMap<Digest, OpenedLayer>;

/// Makes manifests and indexes once layers have been opened.
pub(crate) struct Restorer<'a> {
    /// Where they go; nowhere if they are only checked.
    pub(crate) sink: Option<&'a dyn Sink>,
    pub(crate) progress: &'a dyn Progress,
    /// Every image, and what was done with each of its layers.
    pub(crate) chosen: &'a [(&'a Image, Vec<Action>)],
    pub(crate) opened: &'a Opened,
}

/// A document at the destination.
pub(crate) struct Written<'a> {
    pub(crate) raw: RawManifest,
    /// The layers whose keys may open the originals in its parents.
    keys: Vec<&'a OpenedLayer>,
    /// Whether some layer in it is still sealed.
    sealed: bool,
}

impl<'a> Restorer<'a> {
    fn put(&self, node: &'a Node) -> Result<Written<'a>, ImageError> {
        let written = self.put_below(node)?;
        if let Some(sink) = self.sink {
            sink.put_manifest(&written.raw)?;
        }
        Ok(written)
    }

    /// Leaves the node's own manifest to the caller: that of the root comes with its name.
    pub(crate) fn put_below(&self, node: &'a Node) -> Result<Written<'a>, ImageError> {
        match node {
            Node::Image(image) => self.image(image),
            Node::Index(branch) => self.index(branch),
        }
    }

    fn image(&self, image: &'a Image) -> Result<Written<'a>, ImageError> {
        let actions = self
            .chosen
            .iter()
            .find(|(other, _)| std::ptr::eq(*other, image))
            .map(|(_, actions)| actions.as_slice());
        let layers = image
            .manifest
            .layers()
            .iter()
            .zip(actions.unwrap_or_default());
        let layers: Vec<(&Descriptor, Option<&OpenedLayer>)> = layers
            .map(|(layer, action)| {
                (
                    layer,
                    self.opened
                        .get(layer.digest())
                        .filter(|_| *action == Action::Open),
                )
            })
            .collect();
        let keys: Vec<&OpenedLayer> = layers.iter().filter_map(|(_, opened)| *opened).collect();
        let sealed = layers
            .iter()
            .any(|(layer, opened)| opened.is_none() && layer.media_type().is_sealed());
        let config = image.manifest.config();
        if keys.is_empty() {
            self.put_config(config, &image.config)?;
            return Ok(Written {
                raw: image.raw.clone(),
                keys,
                sealed,
            });
        }
        let original = match image.manifest.annotations().get(ORIGINAL) {
            Some(annotation) if !sealed => self.original(annotation, &keys, &image.raw.digest)?,
            _ => None,
        };
        let mut rebuilt = rebuild(&image.manifest, &layers, sealed);
        match self.config(image, &keys, original.as_ref(), sealed)? {
            Some((descriptor, octets)) => {
                self.put_config(&descriptor, &octets)?;
                rebuilt = rebuilt.with_config(descriptor);
            }
            None => self.put_config(config, &image.config)?,
        }
        let raw = original
            .map(|original| original.restore(&rebuilt, &image.raw.digest))
            .transpose()?;
        let raw = raw.unwrap_or_else(|| rendered(rebuilt.octets(), rebuilt.media_type()));
        Ok(Written { raw, keys, sealed })
    }

    fn put_config(&self, descriptor: &Descriptor, octets: &[u8]) -> Result<(), ImageError> {
        self.sink
            .map_or(Ok(()), |sink| put_small(sink, descriptor, octets))
    }

    /// Opens the original manifest, where the image carries one that can be.
    fn original(
        &self,
        annotation: &str,
        keys: &[&OpenedLayer],
        sealed: &Digest,
    ) -> Result<Option<OriginalManifest>, ImageError> {
        let Some(original) = unseal(OriginalKind::Manifest, annotation, keys, sealed)? else {
            self.notice(&format!(
                "the original of manifest {sealed} belongs to none of the opened layers; the manifest is rebuilt with another digest"
            ));
            return Ok(None);
        };
        OriginalManifest::parse(original, sealed).map(Some)
    }

    /// Opens the whole configuration, where the image shows only the least of it and everything was opened.
    fn config(
        &self,
        image: &Image,
        keys: &[&OpenedLayer],
        original: Option<&OriginalManifest>,
        sealed: bool,
    ) -> Result<Option<(Descriptor, Vec<u8>)>, ImageError> {
        let annotation = image.manifest.annotations().get(ORIGINAL_CONFIG);
        let Some(annotation) = annotation.filter(|_| !sealed) else {
            return Ok(None);
        };
        let digest = &image.raw.digest;
        let Some(whole) = unseal(OriginalKind::Config, annotation, keys, digest)? else {
            self.notice(&format!(
                "the whole configuration of {digest} belongs to none of the opened layers; the least of it stays in its place"
            ));
            return Ok(None);
        };
        let diff_ids = |octets: &[u8]| {
            let parsed = Config::parse(octets).map_err(|source| ImageError::Document {
                digest: digest.clone(),
                source,
            });
            parsed.map(|config| config.diff_ids)
        };
        if diff_ids(&whole.octets)? != diff_ids(&image.config)? {
            return Err(not_the_original(digest));
        }
        let algorithm = original.map_or(Algorithm::Sha256, |original| {
            original.parsed.config().digest().algorithm()
        });
        let mut hasher = Hasher::new(algorithm);
        hasher.update(&whole.octets);
        let descriptor = image.manifest.config().clone().with_content(
            whole.media_type,
            hasher.finish(),
            whole.octets.len() as u64,
        );
        Ok(Some((descriptor, whole.octets)))
    }

    fn index(&self, branch: &'a Branch) -> Result<Written<'a>, ImageError> {
        let mut children = Vec::new();
        let mut keys = Vec::new();
        let mut sealed = false;
        for (descriptor, child) in &branch.children {
            let written = self.put(child)?;
            keys.extend(written.keys);
            sealed |= written.sealed;
            children.push((descriptor, written.raw));
        }
        let digests = || children.iter().map(|(_, raw)| &raw.digest);
        if branch.is_whole() && names_exactly(&branch.index, digests()) {
            return Ok(Written {
                raw: branch.raw.clone(),
                keys,
                sealed,
            });
        }
        let annotation = branch.index.annotations().get(ORIGINAL);
        if let Some(annotation) = annotation.filter(|_| branch.is_whole() && !sealed)
            && let Some(original) =
                unseal(OriginalKind::Index, annotation, &keys, &branch.raw.digest)?
        {
            let restored = parse_index(&original, &branch.raw.digest)?;
            if names_exactly(&restored, digests()) {
                return Ok(Written {
                    raw: rendered(restored.octets(), &original.media_type),
                    keys,
                    sealed,
                });
            }
        }
        if annotation.is_some() {
            self.notice("the index is rebuilt with another digest because not everything in it was opened and restored");
        }
        let entries = children
            .iter()
            .map(|(descriptor, raw)| ((*descriptor).clone(), entry_of(descriptor, raw)))
            .collect();
        // While something is sealed, a later run may still restore the index.
        let annotations = without(branch.index.annotations(), |key| key == ORIGINAL && !sealed);
        let index = branch
            .index
            .rewritten(with_references(entries), annotations);
        Ok(Written {
            raw: rendered(index.octets(), index.media_type()),
            keys,
            sealed,
        })
    }

    fn notice(&self, text: &str) {
        self.progress.event(Event::Notice { text });
    }
}

/// Makes a manifest without seals: suffix and annotations removed, everything else untouched.
fn rebuild(
    manifest: &Manifest,
    layers: &[(&Descriptor, Option<&OpenedLayer>)],
    sealed: bool,
) -> Manifest {
    let layers = layers.iter().map(|(layer, opened)| match opened {
        None => (*layer).clone(),
        Some(plain) => {
            let annotations = without(layer.annotations(), |key| {
                key.starts_with(ENCRYPTION) || key == RECIPIENTS
            });
            (*layer)
                .clone()
                .with_content(plain.media_type.clone(), plain.digest.clone(), plain.size)
                .with_annotations(annotations)
        }
    });
    // While something is sealed, a later run may still restore the manifest.
    let annotations = without(manifest.annotations(), |key| {
        (key == ORIGINAL || key == ORIGINAL_CONFIG) && !sealed
    });
    manifest.rewritten(layers.collect(), annotations)
}

/// Opens the element of an annotation that belongs to one of the opened layers, if there is any.
fn unseal(
    kind: OriginalKind,
    annotation: &str,
    keys: &[&OpenedLayer],
    document: &Digest,
) -> Result<Option<Original>, ImageError> {
    let refused = |source: OpenError| ImageError::Open {
        digest: document.clone(),
        source,
    };
    for (id, element) in elements(annotation).map_err(refused)? {
        if let Some(key) = keys.iter().find(|key| key.original.id() == id) {
            return key.original.open(kind, element).map(Some).map_err(refused);
        }
    }
    Ok(None)
}

/// A manifest as it was before sealing.
struct OriginalManifest {
    original: Original,
    parsed: Box<Manifest>,
}

impl OriginalManifest {
    fn parse(original: Original, sealed: &Digest) -> Result<Self, ImageError> {
        match parse_document(&original, sealed)? {
            Document::Manifest(parsed) => Ok(Self { original, parsed }),
            Document::Index(_) => Err(not_the_original(sealed)),
        }
    }

    /// Accepts it only if it names exactly what was opened.
    fn restore(self, rebuilt: &Manifest, sealed: &Digest) -> Result<RawManifest, ImageError> {
        let Self { original, parsed } = self;
        let names = |manifest: &Manifest| -> Vec<Digest> {
            let blobs = manifest.layers().iter().chain([manifest.config()]);
            blobs.map(|blob| blob.digest().clone()).collect()
        };
        let (promised, found) = (names(&parsed), names(rebuilt));
        if promised.len() != found.len() {
            return Err(not_the_original(sealed));
        }
        for (promised, found) in promised.iter().zip(&found) {
            if promised != found {
                return Err(ImageError::Mismatch {
                    what: "plain digest",
                    digest: sealed.clone(),
                    expected: promised.to_string().into(),
                    actual: found.to_string().into(),
                });
            }
        }
        Ok(rendered(&original.octets, &original.media_type))
    }
}

fn parse_index(original: &Original, sealed: &Digest) -> Result<Index, ImageError> {
    match parse_document(original, sealed)? {
        Document::Index(index) => Ok(*index),
        Document::Manifest(_) => Err(not_the_original(sealed)),
    }
}

fn parse_document(original: &Original, sealed: &Digest) -> Result<Document, ImageError> {
    Document::parse(&original.octets, Some(&original.media_type)).map_err(|source| {
        ImageError::Document {
            digest: sealed.clone(),
            source,
        }
    })
}

/// Something was sealed as the original of this document that cannot be it.
fn not_the_original(sealed: &Digest) -> ImageError {
    ImageError::Open {
        digest: sealed.clone(),
        source: OpenError::Authentication,
    }
}

/// What every annotation of ocicrypt's begins with.
const ENCRYPTION: &str = "org.opencontainers.image.enc.";
