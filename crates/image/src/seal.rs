use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use indexmap::IndexMap;
use sealift_keywrap::Recipient;
use sealift_layer::{
    AeadLibrary, Binding, Cipher, Embedding, ORIGINAL, ORIGINAL_CONFIG, OriginalKind,
    Plan as SealPlan,
};
use sealift_oci::{
    Config, Descriptor, Digest, MAX_DOCUMENT_LEN, Manifest, MediaType, MediaTypeError, Platform,
};
use sealift_registry::{RawManifest, Sink, Source};

use crate::attached::{Attachment, Attachments};
use crate::blob::{LANES, SealedBlob, seal_blob, sealed_annotations_len};
use crate::copy::{copy_blob, entry_of, put_below, put_small, with_references, without};
use crate::crew::Crew;
use crate::error::ImageError;
use crate::outcome::{Outcome, Plan};
use crate::progress::{Action, Event, Progress};
use crate::selection::Selection;
use crate::tree::{Branch, Image, Node, Tree, checked, rendered};
use crate::work::{in_parallel, restarting};

/// Seals the layers of an image.
pub struct Seal<'a> {
    /// Where the image is.
    pub source: &'a dyn Source,
    /// Where the sealed image goes.
    pub sink: &'a dyn Sink,
    /// Who may open the layers; at least one.
    pub recipients: Arc<[Box<dyn Recipient>]>,
    /// How layers are sealed.
    pub cipher: Cipher,
    /// Whether wrapped keys also go into the blob (default cipher only).
    pub embedding: Embedding,
    /// What is sealed.
    pub selection: Selection,
    /// Whether the original manifests are kept, sealed, so that opening restores them exactly.
    pub original: OriginalManifest,
    /// What becomes of statements about the images, which stay in clear.
    pub attestations: Attestations,
    /// What becomes of signatures of the image, which are about its digest.
    pub signatures: Signatures,
    /// What of the configuration, and of other metadata, stays readable.
    pub metadata: Metadata,
    /// Whether annotations for lazy pulling stay, although they tell the files of a layer.
    pub lazy_pull: LazyPullAnnotations,
    /// Whether the digests of source blobs are checked while they are sealed.
    pub source_check: SourceCheck,
    /// The repository that wrapped keys are bound to, where the envelope can.
    pub repository: Option<String>,
    /// Seconds since the Unix epoch, for envelopes that carry it.
    pub created_at: Option<u64>,
    /// What seals the chunks of layers.
    pub aead: AeadLibrary,
    /// Layers in flight.
    pub jobs: NonZeroUsize,
    /// Receives what happens.
    pub progress: &'a dyn Progress,
}

/// Whether the original manifests are kept.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OriginalManifest {
    /// Sealed, in an annotation.
    #[default]
    Keep,
    /// Not at all; opening rebuilds them.
    Omit,
}

/// What stays readable of an image besides its layers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Metadata {
    /// All of it.
    #[default]
    Clear,
    /// Platform and diff IDs, by which runtimes unpack it. The whole configuration is sealed in an annotation of the manifest;
    /// annotations of manifests, of index entries and of sealed layers are those of the sealed originals alone.
    Sealed {
        /// Members of the configuration's `config` that stay, such as `Cmd`.
        keep: Vec<String>,
    },
}

/// What becomes of signatures of the image, whose digest changes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Signatures {
    /// A signed image is not sealed: whoever verifies it would miss them.
    #[default]
    Refuse,
    /// They stay behind.
    Drop,
    /// They go along, and say nothing before the image was opened again; they show its plain digest.
    Detach,
}

/// What becomes of attestation manifests in an index.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Attestations {
    /// They are left out, because they list packages and paths in clear.
    #[default]
    Drop,
    /// They go along as they are.
    Keep,
}

/// What becomes of annotations for lazy pulling.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LazyPullAnnotations {
    /// They are left out of sealed layers.
    #[default]
    Drop,
    /// They stay.
    Keep,
}

/// Whether the digests of source blobs are checked.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SourceCheck {
    /// Always, before anything is published.
    #[default]
    Verify,
    /// Not for blobs of a local source that were produced just now.
    Trust,
}

impl Seal<'_> {
    /// Returns what [`run`](Self::run) would do.
    ///
    /// # Errors
    /// [`ImageError`] when it would fail for a reason that shows without reading layers.
    pub fn plan(&self) -> Result<Plan, ImageError> {
        let tree = Tree::load(self.source, &self.selection.platforms)?;
        let images = self.choose(&tree)?;
        let attached = self.signatures_of(&tree)?;
        Ok(Plan {
            attached: attached.into_iter().map(|(one, _)| one).collect(),
            ..Plan::new(&tree, &images)
        })
    }

    /// Seals the selected layers, writes blobs, then manifests, then the tag.
    ///
    /// # Errors
    /// [`ImageError`]; the destination's tag is untouched then.
    pub fn run(&self) -> Result<Outcome, ImageError> {
        let tree = Tree::load(self.source, &self.selection.platforms)?;
        let images = self.choose(&tree)?;
        self.refuse_long_manifests(&images)?;
        self.warn_of_readable_secrets(&images);
        let signatures = self.signatures_of(&tree)?;

        let jobs = self.jobs_of(&images)?;
        let sealed = in_parallel(
            self.jobs,
            LANES,
            &jobs,
            |job| job.layer.size(),
            |job, crew| self.layer(job, crew),
        )?;
        let mut bytes = 0;
        let mut blobs = HashMap::new();
        for (job, done) in jobs.iter().zip(sealed) {
            bytes += job.layer.size();
            if let Some(blob) = done {
                blobs.insert(job.key(), blob);
            }
        }
        let layers_changed = images
            .iter()
            .flat_map(|(_, actions)| actions)
            .filter(|action| **action == Action::Seal)
            .count();
        let layers = images
            .iter()
            .map(|(image, _)| image.manifest.layers().len())
            .sum();
        let mut writer = Writer {
            seal: self,
            images: &images,
            blobs: &blobs,
        };
        let root = match writer.put_below(&tree.root)? {
            Some(written) => written.raw,
            None => {
                return Err(ImageError::NothingToDo {
                    reason: "the image holds nothing but attestations".into(),
                });
            }
        };
        self.detach(&signatures)?;
        self.sink.finish(&root)?;
        Ok(Outcome {
            digest: root.digest,
            source_digest: tree.digest.clone(),
            layers,
            layers_changed,
            bytes,
        })
    }

    /// Decides, for every image, what becomes of each layer.
    fn choose<'t>(&self, tree: &'t Tree) -> Result<Vec<(&'t Image, Vec<Action>)>, ImageError> {
        let mut chosen = Vec::new();
        for image in tree.images() {
            if image.attestation && self.attestations == Attestations::Drop {
                self.notice(&format!(
                    "attestation manifest {} is left out because it stays readable (keep it with --attestations keep)",
                    image.raw.digest
                ));
            } else if image.attestation {
                chosen.push((
                    image,
                    vec![Action::LeaveClear; image.manifest.layers().len()],
                ));
            } else {
                chosen.push((image, self.actions(&image.manifest)?));
            }
        }
        if self.metadata != Metadata::Clear {
            let stays_readable = |(image, actions): &&(&Image, Vec<Action>)| {
                !image.attestation
                    && (has_seals(&image.manifest) || !actions.contains(&Action::Seal))
            };
            if let Some((image, _)) = chosen.iter().find(stays_readable) {
                return Err(ImageError::ConfigNotSealable {
                    manifest: image.raw.digest.clone(),
                });
            }
        }
        let all = || chosen.iter().flat_map(|(_, actions)| actions);
        if all().any(|action| *action == Action::Seal) {
            return Ok(chosen);
        }
        let reason = if all().any(|action| *action == Action::KeepSealed) {
            "every selected layer is sealed already"
        } else if all().any(|action| *action == Action::SkipNondistributable) {
            "every selected layer is nondistributable (seal them with --include-nondistributable)"
        } else {
            "the image has no layers"
        };
        Err(ImageError::NothingToDo {
            reason: reason.into(),
        })
    }

    fn actions(&self, manifest: &Manifest) -> Result<Vec<Action>, ImageError> {
        let selected = self.selection.layers_of(manifest.layers().len())?;
        let chosen_by_number = !self.selection.layers.is_empty();
        let action = |(layer, selected): (&Descriptor, bool)| {
            let media_type = layer.media_type();
            let skip = media_type.is_nondistributable()
                && !media_type.is_sealed()
                && !self.selection.include_nondistributable;
            let clear = || ImageError::NotSealable {
                digest: layer.digest().clone(),
                media_type: media_type.as_str().into(),
            };
            match media_type.sealed() {
                _ if !selected && skip && !layer.urls().is_empty() => {
                    Ok(Action::SkipNondistributable)
                }
                _ if !selected => Ok(if media_type.is_sealed() {
                    Action::KeepSealed
                } else {
                    Action::LeaveClear
                }),
                // Without URLs its octets come from here and would be published in clear.
                _ if skip && (chosen_by_number || layer.urls().is_empty()) => Err(clear()),
                _ if skip => {
                    self.notice(&format!(
                        "layer {} is nondistributable and stays where its URLs point to (seal it with --include-nondistributable)",
                        layer.digest()
                    ));
                    Ok(Action::SkipNondistributable)
                }
                Ok(_) => Ok(Action::Seal),
                Err(MediaTypeError::AlreadySealed { .. }) => Ok(Action::KeepSealed),
                Err(_) => Err(clear()),
            }
        };
        manifest.layers().iter().zip(selected).map(action).collect()
    }

    /// Refuses, before anything is uploaded, an image whose manifest would grow past what registries store.
    fn refuse_long_manifests(&self, images: &[(&Image, Vec<Action>)]) -> Result<(), ImageError> {
        let mut per_layer = None;
        for (image, actions) in images {
            let count = actions
                .iter()
                .filter(|action| **action == Action::Seal)
                .count();
            let Some(first) = image
                .manifest
                .layers()
                .iter()
                .zip(actions)
                .find(|(_, action)| **action == Action::Seal)
            else {
                continue;
            };
            let per_layer = match per_layer {
                Some(len) => len,
                None => *per_layer.insert(sealed_annotations_len(
                    first.0,
                    self.sealing(first.0, plain_type(first.0)?, image),
                )?),
            };
            let original = match self.original {
                // The sealed copy is at worst as long as the manifest, in base64.
                OriginalManifest::Keep => image.raw.bytes.len() * 4 / 3,
                OriginalManifest::Omit => 0,
            };
            let config = match self.metadata {
                Metadata::Clear => 0,
                Metadata::Sealed { .. } => image.config.len() * 4 / 3,
            };
            let len = image.raw.bytes.len() + original + config + count * per_layer;
            if len > MAX_DOCUMENT_LEN {
                return Err(ImageError::TooLong {
                    kind: "manifest",
                    len,
                    limit: MAX_DOCUMENT_LEN,
                });
            }
        }
        Ok(())
    }

    /// Finds the signatures that go along; fails if there are any and nothing was said about them.
    ///
    /// Only what the reference names is looked at, and the image that was chosen of it: whoever signs, signs these.
    fn signatures_of(&self, tree: &Tree) -> Result<Vec<(Attachment, Tree)>, ImageError> {
        let mut subjects = vec![&tree.digest];
        if tree.root.raw().digest != tree.digest {
            subjects.push(&tree.root.raw().digest);
        }
        let (signed, readable): (Vec<_>, Vec<_>) = Attachments::of(self.source, &subjects)?
            .into_iter()
            .partition(|(attachment, _)| attachment.is_signed());
        if !readable.is_empty() {
            self.notice(&format!(
                "{} referrers of the image, such as SBOMs, are left out because they stay readable",
                readable.len()
            ));
        }
        match self.signatures {
            Signatures::Refuse if signed.is_empty() => Ok(Vec::new()),
            Signatures::Refuse => Err(ImageError::Signed {
                count: signed.len(),
            }),
            Signatures::Drop => Ok(Vec::new()),
            Signatures::Detach => Ok(signed),
        }
    }

    /// Copies signatures as they are.
    fn detach(&self, signatures: &[(Attachment, Tree)]) -> Result<(), ImageError> {
        for (attachment, tree) in signatures {
            for image in tree.images() {
                for blob in image.manifest.layers() {
                    self.sink.copy_blob(blob, self.source)?;
                }
                put_small(self.sink, image.manifest.config(), &image.config)?;
            }
            put_below(self.sink, &tree.root)?;
            self.sink
                .attach(tree.root.raw(), attachment.tag.as_deref())?;
        }
        Ok(())
    }

    /// Tells of environment variables that look as if they held secrets, and stay readable.
    fn warn_of_readable_secrets(&self, images: &[(&Image, Vec<Action>)]) {
        if self.metadata != Metadata::Clear {
            return;
        }
        let mut names: Vec<String> = images
            .iter()
            .filter(|(image, _)| !image.attestation)
            .flat_map(|(image, _)| Config::variables(&image.config))
            .filter(|name| looks_secret(name))
            .collect();
        names.sort();
        names.dedup();
        if let Some(first) = names.first() {
            let more = match names.len() - 1 {
                0 => String::new(),
                count => format!(" and {count} more"),
            };
            self.notice(&format!(
                "the configuration stays readable, with environment variable `{}`{more}, which may be secret (seal it with --seal-config)",
                sealift_oci::json::excerpt(first)
            ));
        }
    }

    /// Lists the blobs to read: each once, however often the images name it.
    fn jobs_of<'t>(&self, images: &[(&'t Image, Vec<Action>)]) -> Result<Vec<Job<'t>>, ImageError> {
        let mut jobs = IndexMap::new();
        for (image, actions) in images {
            for (layer, action) in image.manifest.layers().iter().zip(actions) {
                if *action != Action::SkipNondistributable {
                    let plain = if *action == Action::Seal {
                        plain_type(layer)?
                    } else {
                        layer.media_type().clone()
                    };
                    // The action is part of the key: the same blob may be sealed in one place and stay clear in another.
                    let sealed = *action == Action::Seal;
                    let key = (
                        layer.digest(),
                        plain.clone(),
                        image.platform.as_ref(),
                        sealed,
                    );
                    jobs.entry(key).or_insert(Job {
                        image,
                        layer,
                        plain,
                        action: *action,
                    });
                }
            }
        }
        Ok(jobs.into_values().collect())
    }

    fn layer(&self, job: &Job<'_>, crew: &Crew) -> Result<Option<SealedBlob>, ImageError> {
        if job.action != Action::Seal {
            copy_blob(
                self.source,
                self.sink,
                job.layer,
                job.action,
                self.progress,
                crew.stop(),
            )?;
            return Ok(None);
        }
        // Every start draws a new key: a sealer is used once.
        restarting(|| {
            let plan = self.sealing(job.layer, job.plain.clone(), job.image);
            seal_blob(
                plan,
                job.layer,
                self.source,
                self.sink,
                self.source_check,
                self.progress,
                crew,
            )
        })
        .map(Some)
    }

    fn sealing(&self, layer: &Descriptor, media_type: MediaType, image: &Image) -> SealPlan {
        SealPlan {
            cipher: self.cipher,
            aead: self.aead,
            media_type,
            plain_digest: Some(layer.digest().clone()),
            recipients: Arc::clone(&self.recipients),
            embedding: self.embedding,
            binding: Binding {
                repo: self.repository.as_deref().map(Into::into),
                platform: image
                    .platform
                    .as_ref()
                    .map(|platform| platform.label().into()),
                created_at: self.created_at,
            },
        }
    }

    fn notice(&self, text: &str) {
        self.progress.event(Event::Notice { text });
    }
}

impl std::fmt::Debug for Seal<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seal")
            .field("source", &self.source)
            .field("sink", &self.sink)
            .finish_non_exhaustive()
    }
}

/// One blob to seal or to copy.
struct Job<'t> {
    image: &'t Image,
    layer: &'t Descriptor,
    /// The type the layer has once opened.
    plain: MediaType,
    action: Action,
}

impl Job<'_> {
    fn key(&self) -> BlobKey {
        (
            self.layer.digest().clone(),
            self.plain.clone(),
            self.image.platform.clone(),
        )
    }
}

/// What makes two layers the same work: content, plain type, and the platform that wrapped keys are bound to.
type BlobKey = (Digest, MediaType, Option<Platform>);

/// Writes manifests and indexes once the blobs are there.
struct Writer<'a> {
    seal: &'a Seal<'a>,
    images: &'a [(&'a Image, Vec<Action>)],
    blobs: &'a HashMap<BlobKey, SealedBlob>,
}

/// A document at the destination.
struct Written<'a> {
    raw: RawManifest,
    /// For each sealed manifest in it, the layer whose key also seals the originals.
    keys: Vec<&'a SealedBlob>,
    /// Whether everything the source had is still there, so that opening can restore it.
    whole: bool,
}

impl<'a> Writer<'a> {
    fn put(&mut self, node: &'a Node) -> Result<Option<Written<'a>>, ImageError> {
        let written = self.put_below(node)?;
        if let Some(written) = &written {
            self.seal.sink.put_manifest(&written.raw)?;
        }
        Ok(written)
    }

    /// Leaves the node's own manifest to the caller: that of the root comes with its name.
    fn put_below(&mut self, node: &'a Node) -> Result<Option<Written<'a>>, ImageError> {
        match node {
            Node::Image(image) => self.image(image),
            Node::Index(branch) => self.index(branch),
        }
    }

    fn image(&self, image: &'a Image) -> Result<Option<Written<'a>>, ImageError> {
        let Some((_, actions)) = self
            .images
            .iter()
            .find(|(other, _)| std::ptr::eq(*other, image))
        else {
            return Ok(None);
        };
        let mut key = None;
        let mut layers = Vec::new();
        for (layer, action) in image.manifest.layers().iter().zip(actions) {
            if *action != Action::Seal {
                layers.push(layer.clone());
                continue;
            }
            let wanted = (
                layer.digest().clone(),
                plain_type(layer)?,
                image.platform.clone(),
            );
            // A layer that was to be sealed and is not must never be published as it was.
            let blob = self
                .blobs
                .get(&wanted)
                .ok_or_else(|| ImageError::NotSealable {
                    digest: layer.digest().clone(),
                    media_type: layer.media_type().as_str().into(),
                })?;
            key.get_or_insert(blob);
            layers.push(self.sealed_layer(layer, blob));
        }
        let Some(key) = key else {
            put_small(self.seal.sink, image.manifest.config(), &image.config)?;
            return Ok(Some(Written {
                raw: image.raw.clone(),
                keys: Vec::new(),
                whole: true,
            }));
        };
        let mut annotations = image.manifest.annotations().clone();
        let mut rewritten = image.manifest.clone();
        if has_seals(&image.manifest) {
            put_small(self.seal.sink, image.manifest.config(), &image.config)?;
        } else {
            rewritten = self.config(image, key, &mut annotations)?;
            // One that is there belongs to seals that are gone.
            annotations.shift_remove(ORIGINAL);
            if self.seal.original == OriginalManifest::Keep {
                let value = key.seal_original(OriginalKind::Manifest, &image.raw)?;
                annotations.insert(ORIGINAL.to_owned(), value);
            }
        }
        let manifest = rewritten.rewritten(layers, annotations);
        let raw = checked(
            "manifest",
            rendered(manifest.octets(), manifest.media_type()),
        )?;
        Ok(Some(Written {
            raw,
            keys: vec![key],
            whole: true,
        }))
    }

    /// Writes the configuration, whole or the least of it, and puts the sealed one into `annotations` then.
    fn config(
        &self,
        image: &Image,
        key: &SealedBlob,
        annotations: &mut IndexMap<String, String>,
    ) -> Result<Manifest, ImageError> {
        let descriptor = image.manifest.config();
        annotations.shift_remove(ORIGINAL_CONFIG);
        let Metadata::Sealed { keep } = &self.seal.metadata else {
            put_small(self.seal.sink, descriptor, &image.config)?;
            return Ok(image.manifest.clone());
        };
        let keep: Vec<&str> = keep.iter().map(String::as_str).collect();
        let minimal =
            Config::minimal(&image.config, &keep).map_err(|source| ImageError::Document {
                digest: descriptor.digest().clone(),
                source,
            })?;
        let whole = RawManifest {
            bytes: image.config.clone().into(),
            media_type: descriptor.media_type().clone(),
            digest: descriptor.digest().clone(),
        };
        annotations.clear();
        annotations.insert(
            ORIGINAL_CONFIG.to_owned(),
            key.seal_original(OriginalKind::Config, &whole)?,
        );
        let visible = Descriptor::new(
            descriptor.media_type().clone(),
            Digest::sha256(&minimal),
            minimal.len() as u64,
        );
        put_small(self.seal.sink, &visible, &minimal)?;
        Ok(image.manifest.with_config(visible))
    }

    fn sealed_layer(&self, layer: &Descriptor, blob: &SealedBlob) -> Descriptor {
        let keep_all = self.seal.lazy_pull == LazyPullAnnotations::Keep;
        let mut annotations = without(layer.annotations(), |key| !keep_all && is_lazy_pull(key));
        let is_hidden = self.seal.metadata != Metadata::Clear;
        if is_hidden {
            annotations.clear();
        } else if annotations.len() < layer.annotations().len() {
            self.seal.notice(&format!(
                "annotations for lazy pulling of layer {} are left out because they tell its files (keep them with --keep-annotations)",
                layer.digest()
            ));
        }
        annotations.extend(blob.annotations.clone());
        layer
            .clone()
            .with_content(blob.media_type.clone(), blob.digest.clone(), blob.size)
            .with_annotations(annotations)
            .without_urls()
    }

    /// Returns whether a manifest's entry in an index tells only what runtimes choose it by.
    fn hides(&self, node: &Node) -> bool {
        let is_whole = |image: &Image| !image.attestation && !has_seals(&image.manifest);
        let is_hidden = match node {
            Node::Image(image) => is_whole(image),
            Node::Index(branch) => branch.images().into_iter().all(is_whole),
        };
        is_hidden && self.seal.metadata != Metadata::Clear
    }

    fn index(&mut self, branch: &'a Branch) -> Result<Option<Written<'a>>, ImageError> {
        let mut entries = Vec::new();
        let mut keys = Vec::new();
        let mut whole = branch.is_whole();
        for (descriptor, child) in &branch.children {
            match self.put(child)? {
                Some(written) => {
                    let mut entry = entry_of(descriptor, &written.raw);
                    if self.hides(child) {
                        entry = entry.with_annotations(IndexMap::new());
                    }
                    entries.push((descriptor.clone(), entry));
                    whole &= written.whole;
                    keys.extend(written.keys);
                }
                None => whole = false,
            }
        }
        if entries.is_empty() {
            return Ok(None);
        }
        let mut annotations = branch.index.annotations().clone();
        let untouched = !branch
            .images()
            .iter()
            .any(|image| has_seals(&image.manifest));
        if untouched {
            annotations.shift_remove(ORIGINAL);
            if self.seal.metadata != Metadata::Clear {
                annotations.clear();
            }
        }
        if self.seal.original == OriginalManifest::Keep && whole && untouched {
            let values: Vec<_> = keys
                .iter()
                .map(|key| key.seal_original(OriginalKind::Index, &branch.raw))
                .collect::<Result<_, _>>()?;
            if !values.is_empty() {
                annotations.insert(ORIGINAL.to_owned(), values.join(","));
            }
        }
        let index = branch
            .index
            .rewritten(with_references(entries), annotations);
        let raw = checked("index", rendered(index.octets(), index.media_type()))?;
        Ok(Some(Written { raw, keys, whole }))
    }
}

/// Returns whether some layer is sealed already: then this manifest is nobody's original.
fn has_seals(manifest: &Manifest) -> bool {
    manifest
        .layers()
        .iter()
        .any(|layer| layer.media_type().is_sealed())
}

/// Returns whether the name of an environment variable promises a secret.
fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let parts = [
        "PASSWORD",
        "PASSWD",
        "PASSPHRASE",
        "SECRET",
        "TOKEN",
        "CREDENTIAL",
        "API_KEY",
        "APIKEY",
        "PRIVATE_KEY",
        "ACCESS_KEY",
    ];
    parts.iter().any(|part| name.contains(part))
}

/// Returns the type a layer will have once it is opened again.
fn plain_type(layer: &Descriptor) -> Result<MediaType, ImageError> {
    let sealed = layer
        .media_type()
        .to_distributable()
        .sealed()
        .and_then(|sealed| sealed.plain());
    sealed.map_err(|_| ImageError::NotSealable {
        digest: layer.digest().clone(),
        media_type: layer.media_type().as_str().into(),
    })
}

/// Returns whether an annotation serves lazy pulling: it names a table of contents in clear, and is void once sealed.
fn is_lazy_pull(key: &str) -> bool {
    key.starts_with("containerd.io/snapshot/stargz/")
        || key.starts_with("io.containers.estargz.")
        || key.starts_with("io.github.containers.zstd-chunked.")
        || key.starts_with("com.amazon.soci")
        || key.starts_with("containerd.io/snapshot/nydus-")
}
