use std::collections::HashMap;
use std::io::Write;
use std::num::NonZeroUsize;

use indexmap::IndexMap;
use sealift_layer::{
    AeadLibrary, ORIGINAL, ORIGINAL_CONFIG, OpenError, Original, OriginalKind, RECIPIENTS, elements,
};
use sealift_oci::{Algorithm, Config, Descriptor, Digest, Document, Hasher, Index, Manifest};
use sealift_registry::{RawManifest, Sink, Source};

use crate::copy::{copy_blob, entry_of, names_exactly, put_small, with_references, without};
use crate::crew::Crew;
use crate::error::ImageError;
use crate::opening::{
    Identities, LANES, Manner, OpenedLayer, SealedDigest, claims_of, open_layer, prepare,
};
use crate::outcome::{Outcome, Plan};
use crate::progress::{Action, Event, Progress};
use crate::selection::Selection;
use crate::tree::{Branch, Image, Node, Tree, rendered};
use crate::work::{in_parallel, restarting};

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
    /// What opens the chunks of layers.
    pub aead: AeadLibrary,
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
        Ok(Plan::new(&tree, &self.choose(&tree)?))
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
                    // A layer may be opened in one place and kept sealed in another.
                    let key = (layer.digest(), *action == Action::Open);
                    jobs.entry(key).or_insert((layer, *action));
                }
            }
        }
        let jobs: Vec<(&Descriptor, Action)> = jobs.into_values().collect();
        let opened = jobs.iter().filter(|(_, action)| *action == Action::Open);
        prepare(self.identities, opened.map(|(layer, _)| *layer));
        let done = in_parallel(
            self.jobs,
            LANES,
            &jobs,
            |(layer, _)| layer.size(),
            |(layer, action), crew| self.layer(layer, *action, crew),
        )?;
        let mut opened = HashMap::new();
        let mut bytes = 0;
        for ((layer, _), done) in jobs.iter().zip(done) {
            bytes += layer.size();
            if let Some(done) = done {
                opened.insert(layer.digest().clone(), done);
            }
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
        let writer = Writer {
            open: self,
            chosen: &chosen,
            opened: &opened,
        };
        let root = writer.put_below(&tree.root)?.raw;
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
            let actions: Vec<Action> = layers.iter().zip(selected).map(action).collect();
            refuse_to_strand_config(image, &actions)?;
            chosen.push((image, actions));
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
        crew: &Crew,
    ) -> Result<Option<OpenedLayer>, ImageError> {
        if action != Action::Open {
            copy_blob(
                self.source,
                self.sink,
                layer,
                action,
                self.progress,
                crew.stop(),
            )?;
            return Ok(None);
        }
        let digest = layer.digest();
        self.progress.event(Event::Started {
            digest,
            size: layer.size(),
            action,
        });
        let opened = restarting(|| {
            let mut writer = self.sink.blob(None)?;
            writer.leave_digest();
            let opened = open_layer(
                layer,
                self.source,
                Manner {
                    check: SealedDigest::CompareWhereNeeded,
                    aead: self.aead,
                },
                self.identities,
                self.progress,
                crew,
                &mut |plain| {
                    writer
                        .write_all(plain)
                        .map_err(|error| ImageError::from_io("write a blob", error))
                },
            )?;
            writer.commit(&opened.digest, opened.size)?;
            Ok(opened)
        })?;
        self.progress.event(Event::Finished { digest });
        Ok(Some(opened))
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

/// Writes manifests and indexes once the blobs are there.
struct Writer<'a> {
    open: &'a Open<'a>,
    chosen: &'a [(&'a Image, Vec<Action>)],
    opened: &'a Opened,
}

/// A document at the destination.
struct Written<'a> {
    raw: RawManifest,
    /// The layers whose keys may open the originals in its parents.
    keys: Vec<&'a OpenedLayer>,
    /// Whether some layer in it is still sealed.
    sealed: bool,
}

impl<'a> Writer<'a> {
    fn put(&self, node: &'a Node) -> Result<Written<'a>, ImageError> {
        let written = self.put_below(node)?;
        self.open.sink.put_manifest(&written.raw)?;
        Ok(written)
    }

    /// Leaves the node's own manifest to the caller: that of the root comes with its name.
    fn put_below(&self, node: &'a Node) -> Result<Written<'a>, ImageError> {
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
            put_small(self.open.sink, config, &image.config)?;
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
                put_small(self.open.sink, &descriptor, &octets)?;
                rebuilt = rebuilt.with_config(descriptor);
            }
            None => put_small(self.open.sink, config, &image.config)?,
        }
        let raw = original
            .map(|original| original.restore(&rebuilt, &image.raw.digest))
            .transpose()?;
        let raw = raw.unwrap_or_else(|| rendered(rebuilt.octets(), rebuilt.media_type()));
        Ok(Written { raw, keys, sealed })
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
            return Err(ImageError::Open {
                digest: digest.clone(),
                source: OpenError::Authentication,
            });
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
        self.open.progress.event(Event::Notice { text });
    }
}

/// Fails if the key of a sealed configuration would go while layers stay sealed: it would be lost, or readable too early.
fn refuse_to_strand_config(image: &Image, actions: &[Action]) -> Result<(), ImageError> {
    let Some(annotation) = image.manifest.annotations().get(ORIGINAL_CONFIG) else {
        return Ok(());
    };
    if !actions.contains(&Action::KeepSealed) {
        return Ok(());
    }
    let refused = |source| ImageError::Open {
        digest: image.raw.digest.clone(),
        source,
    };
    let keys = elements(annotation).map_err(refused)?;
    for (layer, action) in image.manifest.layers().iter().zip(actions) {
        let id = claims_of(layer)
            .ok()
            .and_then(|claims| claims.layer_id(layer.digest()));
        let id = id.map(|id| id.to_string());
        if *action == Action::Open && keys.iter().any(|(key, _)| Some(*key) == id.as_deref()) {
            return Err(ImageError::ConfigNeedsLayer {
                manifest: image.raw.digest.clone(),
                layer: layer.digest().clone(),
            });
        }
    }
    Ok(())
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
        match Document::parse(&original.octets, Some(&original.media_type)) {
            Ok(Document::Manifest(parsed)) => Ok(Self { original, parsed }),
            Ok(Document::Index(_)) => Err(ImageError::Open {
                digest: sealed.clone(),
                source: OpenError::Authentication,
            }),
            Err(source) => Err(ImageError::Document {
                digest: sealed.clone(),
                source,
            }),
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

/// What every annotation of ocicrypt's begins with.
const ENCRYPTION: &str = "org.opencontainers.image.enc.";
