use std::collections::HashMap;
use std::io::Write;
use std::num::NonZeroUsize;

use indexmap::IndexMap;
use sealift_layer::{ORIGINAL, OpenError, Original, OriginalKind, RECIPIENTS, elements};
use sealift_oci::{Descriptor, Digest, Document, Index, Manifest};
use sealift_registry::{RawManifest, Sink, Source};

use crate::copy::{copy_blob, entry_of, put_small, without};
use crate::error::ImageError;
use crate::opening::{Identities, OpenedLayer, open_layer};
use crate::outcome::{Outcome, Plan, PlannedLayer};
use crate::progress::{Action, Event, Progress};
use crate::selection::Selection;
use crate::tree::{Branch, Image, Node, Tree, rendered};
use crate::work::{Stop, in_parallel};

/// Opens the sealed layers of an image.
pub struct Open<'a> {
    /// Where the sealed image is.
    pub source: &'a dyn Source,
    /// Where the opened image goes.
    pub sink: &'a dyn Sink,
    /// Whose keys are tried.
    pub identities: Identities<'a>,
    /// What is opened.
    pub selection: Selection,
    /// Layers in flight.
    pub jobs: NonZeroUsize,
    /// Receives what happens.
    pub progress: &'a dyn Progress,
}

impl Open<'_> {
    /// Returns what [`run`](Self::run) would do.
    ///
    /// # Errors
    /// [`ImageError`] when it would fail for a reason that shows without reading layers.
    pub fn plan(&self) -> Result<Plan, ImageError> {
        let tree = Tree::load(self.source, &self.selection.platforms)?;
        let chosen = self.choose(&tree)?;
        let layers = chosen.iter().flat_map(|(image, actions)| {
            image.manifest.layers().iter().zip(actions).enumerate().map(
                |(index, (layer, action))| PlannedLayer {
                    platform: image.platform.clone(),
                    index,
                    digest: layer.digest().clone(),
                    size: layer.size(),
                    media_type: layer.media_type().clone(),
                    action: *action,
                },
            )
        });
        Ok(Plan {
            digest: tree.digest.clone(),
            layers: layers.collect(),
        })
    }

    /// Opens the selected layers, writes blobs, then manifests, then the tag.
    ///
    /// Where the sealer kept the original manifests and everything they name was opened, they come back octet for octet.
    ///
    /// # Errors
    /// [`ImageError`]; the destination's tag is untouched then.
    pub fn run(&self) -> Result<Outcome, ImageError> {
        let tree = Tree::load(self.source, &self.selection.platforms)?;
        let chosen = self.choose(&tree)?;
        let mut jobs = IndexMap::new();
        for (image, actions) in &chosen {
            for (layer, action) in image.manifest.layers().iter().zip(actions) {
                if *action != Action::SkipNondistributable {
                    jobs.entry(layer.digest()).or_insert((layer, *action));
                }
            }
        }
        let jobs: Vec<(&Descriptor, Action)> = jobs.into_values().collect();
        let done = in_parallel(
            self.jobs,
            &jobs,
            |(layer, _)| layer.size(),
            |(layer, action), stop| self.layer(layer, *action, stop),
        )?;
        let mut opened = HashMap::new();
        let mut bytes = 0;
        for ((layer, _), done) in jobs.iter().zip(done) {
            bytes += layer.size();
            if let Some(done) = done {
                opened.insert(layer.digest().clone(), done);
            }
        }
        for (image, _) in &chosen {
            put_small(self.sink, image.manifest.config(), &image.config)?;
        }
        let layers_changed = chosen
            .iter()
            .flat_map(|(_, actions)| actions)
            .filter(|action| **action == Action::Open)
            .count();
        let layers = chosen
            .iter()
            .map(|(image, _)| image.manifest.layers().len())
            .sum();
        let root = self.put(&tree.root, &opened)?.raw;
        self.sink.finish(&root)?;
        Ok(Outcome {
            digest: root.digest,
            source_digest: tree.digest.clone(),
            layers,
            layers_changed,
            bytes,
        })
    }

    fn choose<'t>(&self, tree: &'t Tree) -> Result<Vec<(&'t Image, Vec<Action>)>, ImageError> {
        let mut chosen = Vec::new();
        for image in tree.images() {
            let layers = image.manifest.layers();
            // Attestations have layers of their own, which nobody counts.
            let selected = if image.attestation {
                vec![false; layers.len()]
            } else {
                self.selection.layers_of(layers.len())?
            };
            let action = |(layer, selected): (&Descriptor, bool)| match layer.media_type() {
                kind if kind.is_sealed() && selected => Action::Open,
                kind if kind.is_sealed() => Action::KeepSealed,
                kind if kind.is_nondistributable() && !layer.urls().is_empty() => {
                    Action::SkipNondistributable
                }
                _ => Action::Copy,
            };
            chosen.push((
                image,
                layers.iter().zip(selected).map(action).collect::<Vec<_>>(),
            ));
        }
        if chosen
            .iter()
            .flat_map(|(_, actions)| actions)
            .any(|action| *action == Action::Open)
        {
            Ok(chosen)
        } else {
            Err(ImageError::NothingToDo {
                reason: "no selected layer is sealed".into(),
            })
        }
    }

    fn layer(
        &self,
        layer: &Descriptor,
        action: Action,
        stop: &Stop,
    ) -> Result<Option<OpenedLayer>, ImageError> {
        if action != Action::Open {
            copy_blob(self.source, self.sink, layer, action, self.progress, stop)?;
            return Ok(None);
        }
        let digest = layer.digest();
        self.progress.event(Event::Started {
            digest,
            size: layer.size(),
            action,
        });
        let mut writer = self.sink.blob(None)?;
        let opened = open_layer(
            layer,
            self.source,
            self.identities,
            self.progress,
            stop,
            &mut |plain| {
                writer
                    .write_all(plain)
                    .map_err(|error| ImageError::from_io("write a blob", error))
            },
        )?;
        writer.commit(&opened.digest, opened.size)?;
        self.progress.event(Event::Finished { digest });
        Ok(Some(opened))
    }

    /// Writes the documents below a node, then its own.
    fn put<'t>(&self, node: &'t Node, opened: &'t Opened) -> Result<Written<'t>, ImageError> {
        let written = match node {
            Node::Image(image) => self.image(image, opened)?,
            Node::Index(branch) => self.index(branch, opened)?,
        };
        self.sink.put_manifest(&written.raw)?;
        Ok(written)
    }

    fn image<'t>(&self, image: &'t Image, opened: &'t Opened) -> Result<Written<'t>, ImageError> {
        let keys: Vec<&OpenedLayer> = image
            .manifest
            .layers()
            .iter()
            .filter_map(|layer| opened.get(layer.digest()))
            .collect();
        if keys.is_empty() {
            return Ok(Written {
                raw: image.raw.clone(),
                keys,
            });
        }
        let rebuilt = rebuild(image, opened);
        let all_open = rebuilt
            .layers()
            .iter()
            .all(|layer| !layer.media_type().is_sealed());
        let raw = match image.manifest.annotations().get(ORIGINAL) {
            Some(annotation) if all_open => {
                let original =
                    unseal(OriginalKind::Manifest, annotation, &keys, &image.raw.digest)?;
                match original {
                    Some(original) => restore_manifest(original, &rebuilt, &image.raw.digest)?,
                    None => rendered(rebuilt.octets(), rebuilt.media_type()),
                }
            }
            _ => rendered(rebuilt.octets(), rebuilt.media_type()),
        };
        Ok(Written { raw, keys })
    }

    fn index<'t>(&self, branch: &'t Branch, opened: &'t Opened) -> Result<Written<'t>, ImageError> {
        let mut children = Vec::new();
        let mut keys = Vec::new();
        for (descriptor, child) in &branch.children {
            let written = self.put(child, opened)?;
            keys.extend(written.keys);
            children.push((descriptor, written.raw));
        }
        let annotation = branch.index.annotations().get(ORIGINAL);
        if let Some(annotation) = annotation.filter(|_| branch.is_whole())
            && let Some(original) =
                unseal(OriginalKind::Index, annotation, &keys, &branch.raw.digest)?
        {
            let restored = parse_index(&original, &branch.raw.digest)?;
            if names_exactly(&restored, &children) {
                return Ok(Written {
                    raw: rendered(restored.octets(), &original.media_type),
                    keys,
                });
            }
        }
        if annotation.is_some() {
            self.progress.event(Event::Notice {
                text: "the index could not be restored to its original digest because not everything in it was opened",
            });
        }
        if keys.is_empty() && branch.is_whole() {
            return Ok(Written {
                raw: branch.raw.clone(),
                keys,
            });
        }
        let entries = children
            .iter()
            .map(|(descriptor, raw)| entry_of(descriptor, raw))
            .collect();
        let index = branch.index.rewritten(
            entries,
            without(branch.index.annotations(), |key| key == ORIGINAL),
        );
        Ok(Written {
            raw: rendered(index.octets(), index.media_type()),
            keys,
        })
    }
}

impl std::fmt::Debug for Open<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open")
            .field("source", &self.source)
            .field("sink", &self.sink)
            .finish_non_exhaustive()
    }
}

/// Opened layers, by the digest of the sealed blob.
type Opened = HashMap<Digest, OpenedLayer>;

/// A document at the destination, and the layers whose keys may open the originals in its parents.
struct Written<'t> {
    raw: RawManifest,
    keys: Vec<&'t OpenedLayer>,
}

/// Makes a manifest without seals: suffix and annotations removed, everything else untouched.
fn rebuild(image: &Image, opened: &Opened) -> Manifest {
    let layers = image
        .manifest
        .layers()
        .iter()
        .map(|layer| match opened.get(layer.digest()) {
            None => layer.clone(),
            Some(plain) => {
                let annotations = without(layer.annotations(), |key| {
                    key.starts_with(ENCRYPTION) || key == RECIPIENTS
                });
                layer
                    .clone()
                    .with_content(plain.media_type.clone(), plain.digest.clone(), plain.size)
                    .with_annotations(annotations)
            }
        });
    let layers: Vec<_> = layers.collect();
    let sealed_left = layers.iter().any(|layer| layer.media_type().is_sealed());
    let annotations = without(image.manifest.annotations(), |key| {
        key == ORIGINAL && !sealed_left
    });
    image.manifest.rewritten(layers, annotations)
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

/// Accepts an original manifest only if it names exactly what was opened.
fn restore_manifest(
    original: Original,
    rebuilt: &Manifest,
    sealed: &Digest,
) -> Result<RawManifest, ImageError> {
    let parsed =
        Document::parse(&original.octets, Some(&original.media_type)).map_err(|source| {
            ImageError::Document {
                digest: sealed.clone(),
                source,
            }
        })?;
    let Document::Manifest(parsed) = parsed else {
        return Err(ImageError::Open {
            digest: sealed.clone(),
            source: OpenError::Authentication,
        });
    };
    let names = |manifest: &Manifest| -> Vec<Digest> {
        let blobs = manifest.layers().iter().chain([manifest.config()]);
        blobs.map(|blob| blob.digest().clone()).collect()
    };
    let (promised, found) = (names(&parsed), names(rebuilt));
    if promised.len() != found.len() {
        return Err(ImageError::Open {
            digest: sealed.clone(),
            source: OpenError::Authentication,
        });
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

fn parse_index(original: &Original, sealed: &Digest) -> Result<Index, ImageError> {
    match Document::parse(&original.octets, Some(&original.media_type)) {
        Ok(Document::Index(index)) => Ok(*index),
        Ok(Document::Manifest(_)) => Err(ImageError::Open {
            digest: sealed.clone(),
            source: OpenError::Authentication,
        }),
        Err(source) => Err(ImageError::Document {
            digest: sealed.clone(),
            source,
        }),
    }
}

fn names_exactly(index: &Index, children: &[(&Descriptor, RawManifest)]) -> bool {
    let promised = index.manifests().iter().map(Descriptor::digest);
    promised.eq(children.iter().map(|(_, raw)| &raw.digest))
}

/// What every annotation of ocicrypt's begins with.
const ENCRYPTION: &str = "org.opencontainers.image.enc.";
