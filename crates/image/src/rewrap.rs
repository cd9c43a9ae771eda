//! Changing who may open the layers of an image: wrapped keys in manifests change, layers stay as they are.

use std::collections::HashMap;
use std::io::Write;
use std::num::NonZeroUsize;

use sealift_keywrap::{Recipient, WrapContext, WrappedKey};
use sealift_layer::{Binding, Header, LayerRecipients, OpenError, RECIPIENTS, Wraps};
use sealift_oci::{Descriptor, Digest, Document, Hasher};
use sealift_registry::{RawManifest, Sink, Source};

use crate::attached::{Attached, Attachment, Attachments};
use crate::copy::{copy_blob, entry_of, put_below, put_small, with_references, without};
use crate::crew::Crew;
use crate::error::ImageError;
use crate::inspect::read_header;
use crate::opening::{Identities, claims_of, prepare, refused};
use crate::outcome::{Outcome, Plan};
use crate::progress::{Action, Event, Progress};
use crate::pump::pass;
use crate::selection::Selection;
use crate::tree::{Image, Node, Tree, checked, rendered};
use crate::work::{in_parallel, restarting};

/// Changes who may open the sealed layers of an image.
pub struct Rewrap<'a> {
    /// Where the image is.
    pub source: &'a dyn Source,
    /// Which one it is: what the source's reference named when it was decided to change it.
    pub image: &'a Digest,
    /// Where the changed image goes.
    pub sink: &'a dyn Sink,
    /// Whether the blobs are there already.
    pub place: Place,
    /// What is changed.
    pub change: Change<'a>,
    /// In which manifests and layers; unlike elsewhere, platforms that are not selected stay, unchanged.
    pub selection: Selection,
    /// What becomes of wrapped keys in front of the layers themselves.
    pub embedded: Embedded,
    /// Whether what refers to a manifest refers to the changed one afterwards.
    pub referrers: Attached,
    /// The repository that wrapped keys are bound to, where the envelope can.
    pub repository: Option<String>,
    /// Seconds since the Unix epoch, for envelopes that carry it.
    pub created_at: Option<u64>,
    /// Blobs in flight.
    pub jobs: NonZeroUsize,
    /// Receives what happens.
    pub progress: &'a dyn Progress,
}

/// Where a changed image goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// Where it is, under its name: only manifests are written, and blobs that are new.
    Same,
    /// Elsewhere: blobs go along.
    Other,
}

/// What is changed.
pub enum Change<'a> {
    /// Others may open the layers, too.
    Add {
        /// Who.
        recipients: &'a [Box<dyn Recipient>],
        /// Whose keys open the layers now.
        keys: Identities<'a>,
    },
    /// The elements that the keys open are replaced.
    Rotate {
        /// For whom.
        recipients: &'a [Box<dyn Recipient>],
        /// Whose elements go.
        keys: Identities<'a>,
    },
    /// Elements go.
    Remove {
        /// Whose: fingerprints, key IDs, certificates or elements, as [`LayerRecipients::is_named`] takes them.
        names: &'a [String],
        /// Also those that these keys open.
        keys: Option<Identities<'a>>,
    },
}

/// What becomes of wrapped keys that stand in front of the layers themselves.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Embedded {
    /// They stay; taking away a recipient whose key stands there fails.
    #[default]
    Refuse,
    /// They stay, whoever they are for.
    Leave,
    /// They become those of the manifest: layers get new headers and digests, their content is copied as it is.
    Rewrite,
}

impl Rewrap<'_> {
    /// Returns what [`run`](Self::run) would do.
    ///
    /// # Errors
    /// [`ImageError`] when it would fail for a reason that shows without writing.
    pub fn plan(&self) -> Result<Plan, ImageError> {
        let tree = self.tree()?;
        let changes = self.changes(&tree)?;
        let images = tree.images().into_iter().filter(|image| !image.attestation);
        let chosen: Vec<_> = images
            .map(|image| (image, self.actions(image, &changes)))
            .collect();
        Ok(Plan::new(&tree, &chosen))
    }

    /// Writes manifests with other wrapped keys, and with [`Embedded::Rewrite`] the layers before them; then the tag.
    ///
    /// # Errors
    /// [`ImageError`]; the tag is untouched then.
    pub fn run(&self) -> Result<Outcome, ImageError> {
        let tree = self.tree()?;
        let changes = self.changes(&tree)?;
        let attached = Attachments::find(self.source, &tree, self.referrers, Attached::Keep)?;
        let (headers, bytes) = self.write_blobs(&tree, &attached, &changes)?;
        let mut writer = Writer {
            rewrap: self,
            changes: &changes,
            headers: &headers,
            renewed: HashMap::new(),
        };
        let root = writer.put_below(&tree.root)?;
        let renewed = writer.renewed;
        if self.place == Place::Same {
            self.refuse_lost_update(&tree)?;
        }
        self.attach(&attached, renewed, &root)?;
        self.sink.finish(&root)?;
        let images = tree.images().into_iter();
        Ok(Outcome {
            digest: root.digest,
            source_digest: tree.digest.clone(),
            layers: images.map(|image| image.manifest.layers().len()).sum(),
            layers_changed: changes.len(),
            bytes,
        })
    }

    /// Decides what becomes of every selected layer; those that stay as they are, are not in it.
    fn changes(&self, tree: &Tree) -> Result<Changes, ImageError> {
        let chosen = self.chosen(tree)?;
        if chosen.is_empty() {
            return Err(ImageError::NothingToDo {
                reason: "no selected layer is sealed".into(),
            });
        }
        if let Some(keys) = self.change.keys() {
            prepare(keys, chosen.iter().map(|(_, layer)| *layer));
        }
        let mut changes = Changes::new();
        for (image, layer) in chosen {
            if let Some(change) = self.change_of(image, layer)? {
                changes.insert(place_of(image, layer), change);
            }
        }
        if changes.is_empty() {
            return Err(ImageError::NothingToDo {
                reason: match self.change {
                    Change::Add { .. } | Change::Rotate { .. } => {
                        "every selected layer is wrapped for these recipients already".into()
                    }
                    Change::Remove { .. } => "no selected layer is wrapped for them".into(),
                },
            });
        }
        Ok(changes)
    }

    /// Lists the sealed layers that were selected, with their images.
    fn chosen<'t>(&self, tree: &'t Tree) -> Result<Vec<(&'t Image, &'t Descriptor)>, ImageError> {
        let platforms = &self.selection.platforms;
        let mut chosen = Vec::new();
        let mut met = vec![false; platforms.len()];
        for image in tree.images().into_iter().filter(|image| !image.attestation) {
            let mut wanted = platforms.is_empty();
            for (met, asked) in met.iter_mut().zip(platforms) {
                let satisfies = |own: &sealift_oci::Platform| own.satisfies(asked);
                let fits = image.platform.as_ref().is_some_and(satisfies);
                *met |= fits;
                wanted |= fits;
            }
            if !wanted {
                continue;
            }
            let layers = image.manifest.layers();
            let selected = self.selection.layers_of(layers.len())?;
            let sealed = layers
                .iter()
                .zip(selected)
                .filter(|(layer, selected)| *selected && layer.media_type().is_sealed());
            chosen.extend(sealed.map(|(layer, _)| (image, layer)));
        }
        match met.iter().zip(platforms).find(|(met, _)| !**met) {
            Some((_, wanted)) => Err(ImageError::NoSuchPlatform {
                wanted: wanted.to_string().into(),
                available: available(tree).into(),
            }),
            None => Ok(chosen),
        }
    }

    fn change_of(
        &self,
        image: &Image,
        layer: &Descriptor,
    ) -> Result<Option<LayerChange>, ImageError> {
        let digest = layer.digest();
        let fails = |source| refused(digest, source);
        let claims = claims_of(layer)?;
        let before = LayerRecipients::new(&claims, digest).map_err(fails)?;
        refuse_faults(digest, before.wraps())?;
        let mut header = Headers::of(self.source, layer);
        let mut after = before.clone();
        let context = WrapContext::default();
        let binding = Binding {
            repo: self.repository.as_deref().map(Into::into),
            platform: image.platform.as_ref().map(|own| own.label().into()),
            created_at: self.created_at,
        };
        let add = |after: &mut LayerRecipients, recipients: &[Box<dyn Recipient>], secrets| {
            let mut added = false;
            for recipient in recipients {
                added |= after
                    .add(secrets, &**recipient, &binding)
                    .map_err(|source| ImageError::Seal {
                        digest: digest.clone(),
                        source,
                    })?;
            }
            Ok::<bool, ImageError>(added)
        };
        let mut unwrap = |keys: Identities<'_>| {
            let unwrapped = before.unwrap(keys, &Wraps::default(), &context);
            match unwrapped {
                Err(OpenError::NoKey { .. }) if !header.wraps()?.is_empty() => before
                    .unwrap(keys, header.wraps()?, &context)
                    .map_err(fails),
                unwrapped => unwrapped.map_err(fails),
            }
        };
        let gone = match &self.change {
            Change::Add { recipients, keys } => {
                let secrets = unwrap(*keys)?;
                if !add(&mut after, recipients, &secrets)? {
                    return Ok(None);
                }
                Vec::new()
            }
            Change::Rotate { recipients, keys } => {
                let secrets = unwrap(*keys)?;
                // First, so that a recipient that goes and comes is wrapped for anew.
                after.remove(&secrets.opened);
                add(&mut after, recipients, &secrets)?;
                secrets.opened
            }
            Change::Remove { names, keys } => {
                let mut all = before.wraps().clone();
                all.append_what_fits(header.wraps()?);
                let named =
                    |wrap: &&WrappedKey| names.iter().any(|name| before.is_named(wrap, name));
                let mut gone: Vec<WrappedKey> =
                    all.as_slice().iter().filter(named).cloned().collect();
                if let Some(keys) = keys {
                    match before.unwrap(*keys, header.wraps()?, &context) {
                        Ok(secrets) => gone.extend(secrets.opened),
                        Err(OpenError::NoKey { .. }) => {}
                        Err(source) => return Err(fails(source)),
                    }
                }
                if gone.is_empty() {
                    self.tell_unnamed(layer, &before);
                    return Ok(None);
                }
                after.remove(&gone);
                gone
            }
        };
        if let Some(wrap) = gone.iter().find(|wrap| {
            let by_itself = matches!(&self.change, Change::Remove { names, .. }
                if names.contains(&sealift_layer::element_id(wrap)));
            !by_itself && sealift_keywrap::describe(wrap).len() > 1
        }) {
            return Err(ImageError::SharedElement {
                digest: digest.clone(),
                recipients: sealift_keywrap::describe(wrap).len(),
                element: sealift_layer::element_id(wrap).into(),
            });
        }
        if after.wraps().is_empty() {
            return Err(ImageError::LastRecipient {
                digest: digest.clone(),
            });
        }
        let header = match self.embedded {
            Embedded::Rewrite => header.rewritten(&after)?,
            Embedded::Leave => None,
            // Rotation leaves what is embedded, as adding does: it touches manifests only.
            Embedded::Refuse if matches!(self.change, Change::Remove { .. }) => {
                let embedded = header.wraps()?.as_slice();
                if gone.iter().any(|wrap| embedded.contains(wrap)) {
                    return Err(ImageError::Embedded {
                        digest: digest.clone(),
                    });
                }
                None
            }
            Embedded::Refuse => None,
        };
        // What stands in front of the layer still can be listed and taken away by name.
        if self.embedded == Embedded::Rewrite || !after.may_be_embedded() {
            after.forget(&gone);
        }
        if after == before && header.is_none() {
            return Ok(None);
        }
        Ok(Some(LayerChange {
            recipients: after,
            header,
        }))
    }

    /// Tells of wrapped keys that name nobody: they may be of whoever was to go.
    fn tell_unnamed(&self, layer: &Descriptor, recipients: &LayerRecipients) {
        let unnamed = recipients.wraps().as_slice().iter();
        let count = unnamed
            .filter(|wrap| !recipients.names_somebody(wrap))
            .count();
        if count > 0 {
            self.progress.event(Event::Notice {
                text: &format!(
                    "layer {} stays as it is, with {count} wrapped keys that name nobody: they may be of that recipient (give its private key with -k, or the element with --id)",
                    layer.digest()
                ),
            });
        }
    }

    fn actions(&self, image: &Image, changes: &Changes) -> Vec<Action> {
        let layers = image.manifest.layers().iter();
        layers
            .map(|layer| match changes.get(&place_of(image, layer)) {
                Some(LayerChange {
                    header: Some(_), ..
                }) => Action::RewriteHeader,
                Some(_) => Action::Rewrap,
                None if layer.media_type().is_sealed() => Action::KeepSealed,
                None => Action::Copy,
            })
            .collect()
    }

    /// Writes layers with new headers, and whatever else goes along; returns how many octets of blobs were moved.
    fn write_blobs(
        &self,
        tree: &Tree,
        attached: &[(Attachment, Tree)],
        changes: &Changes,
    ) -> Result<(Rewritten, u64), ImageError> {
        let images = tree.images();
        let mut jobs: Vec<Job<'_>> = Vec::new();
        for image in &images {
            for layer in image.manifest.layers() {
                let header = changes
                    .get(&place_of(image, layer))
                    .and_then(|change| change.header.as_ref());
                jobs.push(Job { layer, header });
            }
        }
        if self.place == Place::Other {
            let statements = attached.iter().flat_map(|(_, tree)| tree.images());
            for image in statements {
                let blobs = image.manifest.layers().iter();
                jobs.extend(blobs.chain([image.manifest.config()]).map(Job::copy));
            }
        } else {
            jobs.retain(|job| job.header.is_some());
        }
        let mut seen: Vec<(&Digest, Option<&Header>)> = Vec::new();
        jobs.retain(|job| {
            let key = (job.layer.digest(), job.header);
            let is_new = !seen.contains(&key) && !is_elsewhere(job.layer);
            if is_new {
                seen.push(key);
            }
            is_new
        });
        let done = in_parallel(
            self.jobs,
            0,
            &jobs,
            |job| job.layer.size(),
            |job, crew| self.blob(job, crew),
        )?;
        if self.place == Place::Other {
            for image in &images {
                put_small(self.sink, image.manifest.config(), &image.config)?;
            }
        }
        let bytes = jobs.iter().map(|job| job.layer.size()).sum();
        let rewritten = jobs.iter().zip(done).filter_map(|(job, content)| {
            let header = job.header?.clone();
            Some((job.layer.digest().clone(), header, content?))
        });
        Ok((rewritten.collect(), bytes))
    }

    fn blob(&self, job: &Job<'_>, crew: &Crew) -> Result<Option<(Digest, u64)>, ImageError> {
        let Some(header) = job.header else {
            let action = if job.layer.media_type().is_sealed() {
                Action::KeepSealed
            } else {
                Action::Copy
            };
            copy_blob(
                self.source,
                self.sink,
                job.layer,
                action,
                self.progress,
                crew.stop(),
            )?;
            return Ok(None);
        };
        let digest = job.layer.digest();
        self.progress.event(Event::Started {
            digest,
            size: job.layer.size(),
            action: Action::RewriteHeader,
        });
        let content = restarting(|| self.with_header(job.layer, header, crew))?;
        self.progress.event(Event::Finished { digest });
        Ok(Some(content))
    }

    /// Writes a layer with another header in front of the same message.
    ///
    /// The old blob's digest is compared before the new one is committed.
    fn with_header(
        &self,
        layer: &Descriptor,
        header: &Header,
        crew: &Crew,
    ) -> Result<(Digest, u64), ImageError> {
        let frame = header.to_frame().map_err(|source| ImageError::Seal {
            digest: layer.digest().clone(),
            source,
        })?;
        let mut hasher = Hasher::new(layer.digest().algorithm());
        let mut size = 0;
        let mut writer = self.sink.blob(None)?;
        writer.leave_digest();
        let mut write = |octets: &[u8]| {
            hasher.update(octets);
            size += octets.len() as u64;
            writer
                .write_all(octets)
                .map_err(|error| ImageError::from_io("write a blob", error))
        };
        write(&frame)?;
        let mut reader = self.source.blob(layer)?;
        let mut old = OldFrame::default();
        pass(&mut reader, |piece| {
            crew.stop().check()?;
            self.progress.event(Event::Advanced {
                digest: layer.digest(),
                bytes: piece.len() as u64,
            });
            match old
                .past(piece)
                .map_err(|source| refused(layer.digest(), source))?
            {
                [] => Ok(()),
                message => write(message),
            }
        })?;
        let digest = hasher.finish();
        writer.commit(&digest, size)?;
        Ok((digest, size))
    }

    /// Reads the image, which must still be the one that was looked at.
    fn tree(&self) -> Result<Tree, ImageError> {
        let tree = Tree::load(self.source, &[])?;
        if tree.digest == *self.image {
            return Ok(tree);
        }
        Err(ImageError::Moved {
            expected: self.image.clone(),
            actual: tree.digest,
        })
    }

    /// Fails if somebody else has moved the tag in the meantime: their image would be lost.
    fn refuse_lost_update(&self, tree: &Tree) -> Result<(), ImageError> {
        let now = self.source.root()?.digest;
        if now == tree.digest {
            return Ok(());
        }
        Err(ImageError::Moved {
            expected: tree.digest.clone(),
            actual: now,
        })
    }

    /// Has what belongs to a manifest belong to the one that takes its place.
    ///
    /// Signatures are about the old digest and stay with it.
    fn attach(
        &self,
        attached: &[(Attachment, Tree)],
        mut renewed: HashMap<Digest, RawManifest>,
        root: &RawManifest,
    ) -> Result<(), ImageError> {
        let mut signatures = 0;
        let mut is_root_there = false;
        for (attachment, tree) in attached {
            let Some(subject) = renewed.get(&attachment.subject) else {
                if self.place == Place::Other {
                    put_below(self.sink, &tree.root)?;
                    self.sink
                        .attach(tree.root.raw(), attachment.tag.as_deref())?;
                }
                continue;
            };
            if attachment.tag.is_some() || attachment.is_signed() {
                signatures += 1;
                continue;
            }
            if !is_root_there {
                // Some registries want to have what is referred to.
                self.sink.put_manifest(root)?;
                is_root_there = true;
            }
            let old = tree.root.raw();
            let raw = referring_to(old, subject.descriptor())?;
            put_below(self.sink, &tree.root)?;
            self.sink.attach(&raw, None)?;
            renewed.insert(old.digest.clone(), raw);
        }
        if signatures > 0 {
            self.progress.event(Event::Notice {
                text: &format!(
                    "{signatures} signatures or signed statements are about the manifest as it was, and stay with it: sign the new one"
                ),
            });
        }
        Ok(())
    }
}

impl<'a> Change<'a> {
    fn keys(&self) -> Option<Identities<'a>> {
        match self {
            Self::Add { keys, .. } | Self::Rotate { keys, .. } => Some(*keys),
            Self::Remove { keys, .. } => *keys,
        }
    }
}

impl std::fmt::Debug for Rewrap<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rewrap")
            .field("source", &self.source)
            .field("sink", &self.sink)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Change<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Add { .. } => "Add",
            Self::Rotate { .. } => "Rotate",
            Self::Remove { .. } => "Remove",
        })
    }
}

/// Which layer of which manifest: wrapped keys may be bound to a platform.
type LayerPlace = (Digest, Digest);
type Changes = HashMap<LayerPlace, LayerChange>;
/// Layers with new headers, by what they were: old digest, new header, then new digest and size.
type Rewritten = Vec<(Digest, Header, (Digest, u64))>;

struct LayerChange {
    recipients: LayerRecipients,
    /// The header that the layer gets, if it gets another one.
    header: Option<Header>,
}

fn place_of(image: &Image, layer: &Descriptor) -> LayerPlace {
    (image.raw.digest.clone(), layer.digest().clone())
}

struct Job<'a> {
    layer: &'a Descriptor,
    header: Option<&'a Header>,
}

impl<'a> Job<'a> {
    fn copy(layer: &'a Descriptor) -> Self {
        Self {
            layer,
            header: None,
        }
    }
}

/// The header of a layer, read when it is first asked for.
struct Headers<'a> {
    source: &'a dyn Source,
    layer: &'a Descriptor,
    /// Nothing before it was read; then nothing if the format has no header.
    read: Option<Option<Header>>,
    none: Wraps,
}

impl<'a> Headers<'a> {
    fn of(source: &'a dyn Source, layer: &'a Descriptor) -> Self {
        Self {
            source,
            layer,
            read: None,
            none: Wraps::default(),
        }
    }

    fn header(&mut self) -> Result<Option<&Header>, ImageError> {
        if self.read.is_none() {
            let claims = claims_of(self.layer)?;
            let header = match claims.public.as_ref().map(|public| public.cipher()) {
                Some(sealift_layer::Cipher::CtrHmac) => None,
                _ => restarting(|| read_header(self.source, self.layer))?,
            };
            if let Some(header) = &header {
                let agrees = claims
                    .public
                    .as_ref()
                    .is_none_or(|own| *own == header.public);
                if !agrees || header.media_type != claims.plain_type {
                    return Err(refused(self.layer.digest(), OpenError::Authentication));
                }
            }
            self.read = Some(header);
        }
        Ok(self.read.as_ref().and_then(Option::as_ref))
    }

    fn wraps(&mut self) -> Result<&Wraps, ImageError> {
        self.header()?;
        let header = self.read.as_ref().and_then(Option::as_ref);
        Ok(header.map_or(&self.none, |header| &header.wraps))
    }

    /// Returns the header with the elements of a descriptor, unless it has none at all, or these.
    fn rewritten(&mut self, after: &LayerRecipients) -> Result<Option<Header>, ImageError> {
        let digest = self.layer.digest();
        let Some(header) = self.header()?.filter(|header| !header.wraps.is_empty()) else {
            return Ok(None);
        };
        refuse_faults(digest, &header.wraps)?;
        let rewritten = Header {
            wraps: after.wraps().clone(),
            ..header.clone()
        };
        Ok((rewritten.wraps != header.wraps).then_some(rewritten))
    }
}

/// Fails if there are elements that cannot be read, and could therefore not be written again.
fn refuse_faults(digest: &Digest, wraps: &Wraps) -> Result<(), ImageError> {
    match wraps.faults().first() {
        None => Ok(()),
        Some(fault) => Err(ImageError::UnreadableWraps {
            digest: digest.clone(),
            source: fault.clone(),
        }),
    }
}

/// Finds where a frame ends whose header was read before.
#[derive(Default)]
struct OldFrame {
    preamble: Vec<u8>,
    left: Option<u64>,
}

impl OldFrame {
    /// Returns what of the next octets is behind the frame.
    fn past<'p>(&mut self, mut piece: &'p [u8]) -> Result<&'p [u8], OpenError> {
        if self.left.is_none() {
            let wanted = sealift_layer::PREAMBLE_LEN - self.preamble.len();
            let (first, rest) = piece.split_at(wanted.min(piece.len()));
            self.preamble.extend_from_slice(first);
            piece = rest;
            let Ok(preamble) = self.preamble.as_slice().try_into() else {
                return Ok(&[]);
            };
            self.left = Some(Header::len_in(preamble)? as u64);
        }
        let left = self.left.get_or_insert(0);
        let skipped = usize::try_from(*left)
            .unwrap_or(usize::MAX)
            .min(piece.len());
        *left -= skipped as u64;
        Ok(piece.split_at(skipped).1)
    }
}

/// Writes manifests and indexes, children first.
struct Writer<'a> {
    rewrap: &'a Rewrap<'a>,
    changes: &'a Changes,
    headers: &'a Rewritten,
    /// What took the place of each manifest that changed.
    renewed: HashMap<Digest, RawManifest>,
}

impl Writer<'_> {
    fn put_below(&mut self, node: &Node) -> Result<RawManifest, ImageError> {
        let raw = match node {
            Node::Image(image) => self.image(image)?,
            Node::Index(branch) => {
                let mut entries = Vec::new();
                let mut changed = false;
                for (descriptor, child) in &branch.children {
                    let raw = self.put_below(child)?;
                    let is_new = raw.digest != *descriptor.digest();
                    if is_new || self.rewrap.place == Place::Other {
                        self.rewrap.sink.put_manifest(&raw)?;
                    }
                    changed |= is_new;
                    entries.push((descriptor.clone(), entry_of(descriptor, &raw)));
                }
                let entries = with_references(entries);
                if !changed {
                    return Ok(branch.raw.clone());
                }
                let annotations = branch.index.annotations().clone();
                let index = branch.index.rewritten(entries, annotations);
                checked("index", rendered(index.octets(), index.media_type()))?
            }
        };
        if raw.digest != node.raw().digest {
            self.renewed.insert(node.raw().digest.clone(), raw.clone());
        }
        Ok(raw)
    }

    fn image(&self, image: &Image) -> Result<RawManifest, ImageError> {
        let mut changed = false;
        let layers = image.manifest.layers().iter().map(|layer| {
            let Some(change) = self.changes.get(&place_of(image, layer)) else {
                return layer.clone();
            };
            changed = true;
            let mut annotations = without(layer.annotations(), |key| {
                key == RECIPIENTS || sealift_keywrap::Scheme::from_annotation_key(key).is_some()
            });
            annotations.extend(change.recipients.to_annotations());
            let layer = layer.clone().with_annotations(annotations);
            let new = change.header.as_ref().and_then(|header| {
                let known =
                    |(old, to, _): &&(Digest, Header, _)| old == layer.digest() && to == header;
                self.headers.iter().find(known)
            });
            match new {
                Some((_, _, (digest, size))) => {
                    let media_type = layer.media_type().clone();
                    layer.with_content(media_type, digest.clone(), *size)
                }
                None => layer,
            }
        });
        let layers: Vec<_> = layers.collect();
        if !changed {
            return Ok(image.raw.clone());
        }
        let annotations = image.manifest.annotations().clone();
        let manifest = image.manifest.rewritten(layers, annotations);
        checked(
            "manifest",
            rendered(manifest.octets(), manifest.media_type()),
        )
    }
}

/// Renders a manifest that refers to another subject.
fn referring_to(raw: &RawManifest, subject: Descriptor) -> Result<RawManifest, ImageError> {
    let document = Document::parse(&raw.bytes, Some(&raw.media_type)).map_err(|source| {
        ImageError::Document {
            digest: raw.digest.clone(),
            source,
        }
    })?;
    Ok(match document {
        Document::Manifest(manifest) => {
            rendered(manifest.with_subject(subject).octets(), &raw.media_type)
        }
        Document::Index(index) => rendered(index.with_subject(subject).octets(), &raw.media_type),
    })
}

/// Returns whether a layer is not in the source's registry: whoever pulls fetches it from its URLs.
fn is_elsewhere(layer: &Descriptor) -> bool {
    layer.media_type().is_nondistributable() && !layer.urls().is_empty()
}

fn available(tree: &Tree) -> String {
    let platforms = tree.images().into_iter().filter(|image| !image.attestation);
    let mut platforms: Vec<_> = platforms
        .filter_map(|image| image.platform.as_ref().map(ToString::to_string))
        .take(32)
        .collect();
    platforms.sort();
    platforms.dedup();
    match platforms.is_empty() {
        true => "none that name a platform".to_owned(),
        false => platforms.join(", "),
    }
}
