use std::collections::HashSet;
use std::io::Write;
use std::num::NonZeroUsize;

use indexmap::IndexMap;
use sealift_oci::{Descriptor, Digest, Index, Platform};
use sealift_registry::{Begun, BlobWriter, RawManifest, Sink, Source};

use crate::attached::{Attached, Attachments};
use crate::crew::Stop;
use crate::error::ImageError;
use crate::outcome::{Outcome, Plan};
use crate::progress::{Action, Event, Progress};
use crate::pump::{pass, pump};
use crate::tree::{Node, Tree, rendered};
use crate::work::{in_parallel, restarting};

/// Moves an image, sealed or not, without changing it.
#[derive(Clone)]
pub struct Copy<'a> {
    /// Where the image is.
    pub source: &'a dyn Source,
    /// Where it goes.
    pub sink: &'a dyn Sink,
    /// Platforms to take along; empty: all, and the digest stays the same.
    pub platforms: Vec<Platform>,
    /// Manifests that refer to the image, and those that refer to them.
    pub referrers: Attached,
    /// What cosign keeps under tags made of the image's digest.
    pub signatures: Attached,
    /// Blobs in flight.
    pub jobs: NonZeroUsize,
    /// Receives what happens.
    pub progress: &'a dyn Progress,
}

impl Copy<'_> {
    /// Returns what [`run`](Self::run) would move.
    ///
    /// # Errors
    /// [`ImageError`] when the image cannot be read.
    pub fn plan(&self) -> Result<Plan, ImageError> {
        let tree = Tree::load(self.source, &self.platforms)?;
        let images = tree.images().into_iter();
        let chosen: Vec<_> = images
            .map(|image| {
                (
                    image,
                    image.manifest.layers().iter().map(action_of).collect(),
                )
            })
            .collect();
        let attached = Attachments::find(self.source, &tree, self.referrers, self.signatures)?;
        Ok(Plan {
            attached: attached.into_iter().map(|(one, _)| one).collect(),
            ..Plan::new(&tree, &chosen)
        })
    }

    /// Moves blobs, then manifests, then what belongs to them, then the tag.
    ///
    /// # Errors
    /// [`ImageError`]; the destination's tag is untouched then.
    pub fn run(&self) -> Result<Outcome, ImageError> {
        let tree = Tree::load(self.source, &self.platforms)?;
        let attached = Attachments::find(self.source, &tree, self.referrers, self.signatures)?;
        let images = tree.images();
        let mut seen = HashSet::new();
        let blobs: Vec<(&Descriptor, Action)> = images
            .iter()
            .copied()
            .chain(attached.iter().flat_map(|(_, tree)| tree.images()))
            .flat_map(|image| {
                let layers = image
                    .manifest
                    .layers()
                    .iter()
                    .map(|layer| (layer, action_of(layer)));
                layers.chain([(image.manifest.config(), Action::Copy)])
            })
            .filter(|(blob, action)| *action == Action::Copy && seen.insert(blob.digest()))
            .collect();
        let moved = in_parallel(
            self.jobs,
            // A reader that checks what it reads has no lane.
            0,
            &blobs,
            |(blob, _)| blob.size(),
            |(blob, _), crew| {
                copy_blob(
                    self.source,
                    self.sink,
                    blob,
                    Action::Copy,
                    self.progress,
                    crew.stop(),
                )
            },
        )?;
        let layers = images
            .iter()
            .map(|image| image.manifest.layers().len())
            .sum();
        let root = self.put_below(&tree.root)?;
        if !attached.is_empty() {
            // Some registries want to have what is referred to; otherwise it comes with its name.
            self.sink.put_manifest(&root)?;
        }
        for (attachment, tree) in &attached {
            if let Node::Index(branch) = &tree.root {
                for (_, child) in &branch.children {
                    self.put(child)?;
                }
            }
            self.sink
                .attach(tree.root.raw(), attachment.tag.as_deref())?;
        }
        self.sink.finish(&root)?;
        Ok(Outcome {
            digest: root.digest,
            source_digest: tree.digest.clone(),
            layers,
            layers_changed: 0,
            bytes: moved.into_iter().sum(),
        })
    }

    /// Writes the manifests below a node, then its own.
    fn put(&self, node: &Node) -> Result<RawManifest, ImageError> {
        let raw = self.put_below(node)?;
        self.sink.put_manifest(&raw)?;
        Ok(raw)
    }

    /// Writes the manifests below a node; returns its own.
    fn put_below(&self, node: &Node) -> Result<RawManifest, ImageError> {
        Ok(match node {
            Node::Image(image) => image.raw.clone(),
            Node::Index(branch) => {
                let put = |(descriptor, child): &(Descriptor, Node)| {
                    Ok((descriptor.clone(), self.put(child)?))
                };
                let children = branch
                    .children
                    .iter()
                    .map(put)
                    .collect::<Result<Vec<_>, ImageError>>()?;
                if names_exactly(&branch.index, children.iter().map(|(_, raw)| &raw.digest)) {
                    branch.raw.clone()
                } else {
                    let entries = children
                        .iter()
                        .map(|(descriptor, raw)| entry_of(descriptor, raw))
                        .collect();
                    let index = branch
                        .index
                        .rewritten(entries, branch.index.annotations().clone());
                    rendered(index.octets(), index.media_type())
                }
            }
        })
    }
}

/// Writes the manifests below a node as they are, children first.
pub(crate) fn put_below(sink: &dyn Sink, node: &Node) -> Result<(), ImageError> {
    if let Node::Index(branch) = node {
        for (_, child) in &branch.children {
            put_below(sink, child)?;
            sink.put_manifest(child.raw())?;
        }
    }
    Ok(())
}

/// Returns whether the entries of an index are exactly these, in this order.
pub(crate) fn names_exactly<'a>(index: &Index, digests: impl Iterator<Item = &'a Digest>) -> bool {
    index.manifests().iter().map(Descriptor::digest).eq(digests)
}

impl std::fmt::Debug for Copy<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Copy")
            .field("source", &self.source)
            .field("sink", &self.sink)
            .finish_non_exhaustive()
    }
}

/// Returns an index entry that points to a rewritten manifest.
pub(crate) fn entry_of(entry: &Descriptor, manifest: &RawManifest) -> Descriptor {
    entry.clone().with_content(
        manifest.media_type.clone(),
        manifest.digest.clone(),
        manifest.bytes.len() as u64,
    )
}

/// Has the entries of attestations name the manifests that took the places of those they are about (BuildKit).
///
/// `entries` are pairs: what stood in the index, and what stands there now.
pub(crate) fn with_references(entries: Vec<(Descriptor, Descriptor)>) -> Vec<Descriptor> {
    let renamed: Vec<(String, String)> = entries
        .iter()
        .map(|(was, now)| (was.digest().to_string(), now.digest().to_string()))
        .collect();
    let renew = |(_, entry): (Descriptor, Descriptor)| {
        let old = entry.annotation(REFERENCE);
        let new = old.and_then(|old| renamed.iter().find(|(was, _)| was == old));
        let Some((_, new)) = new else {
            return entry;
        };
        let mut annotations = entry.annotations().clone();
        annotations.insert(REFERENCE.to_owned(), new.clone());
        entry.clone().with_annotations(annotations)
    };
    entries.into_iter().map(renew).collect()
}

/// Annotation of BuildKit's attestations in an index: the manifest that they are about.
const REFERENCE: &str = "vnd.docker.reference.digest";

/// Writes a small blob that is in memory.
pub(crate) fn put_small(
    sink: &dyn Sink,
    descriptor: &Descriptor,
    octets: &[u8],
) -> Result<(), ImageError> {
    if sink.has_blob(descriptor.digest(), descriptor.size())? {
        return Ok(());
    }
    let mut writer = sink.blob(Some(descriptor.size()))?;
    writer
        .write_all(octets)
        .map_err(|error| ImageError::from_io("write a blob", error))?;
    Ok(writer.commit(descriptor.digest(), descriptor.size())?)
}

/// Moves one blob unless it is there; returns how many octets were moved.
pub(crate) fn copy_blob(
    source: &dyn Source,
    sink: &dyn Sink,
    blob: &Descriptor,
    action: Action,
    progress: &dyn Progress,
    stop: &Stop,
) -> Result<u64, ImageError> {
    let digest = blob.digest();
    progress.event(Event::Started {
        digest,
        size: blob.size(),
        action,
    });
    let moved = restarting(|| match sink.begin(blob, source.repository())? {
        Begun::Present => Ok(0),
        Begun::Missing(writer) => write_rest(source, writer, blob, progress, stop),
    })?;
    progress.event(Event::Finished { digest });
    Ok(moved)
}

/// Writes what is missing of a blob; returns how many octets that was.
fn write_rest(
    source: &dyn Source,
    mut writer: BlobWriter,
    blob: &Descriptor,
    progress: &dyn Progress,
    stop: &Stop,
) -> Result<u64, ImageError> {
    let digest = blob.digest();
    let mut told = writer.offset();
    let moved = blob.size().saturating_sub(told);
    let advanced = |bytes| progress.event(Event::Advanced { digest, bytes });
    if told > 0 {
        advanced(told);
    }
    let written = writer.fill(|writer, offset| {
        let mut there = offset;
        let mut reader = source.blob_from(blob, offset)?;
        if reader.checks_digest() {
            writer.leave_digest();
        }
        let take = |piece: &[u8]| {
            stop.check()?;
            writer
                .write_all(piece)
                .map_err(|error| ImageError::from_io("write a blob", error))?;
            there += piece.len() as u64;
            // What is sent again was told already.
            if let Some(more @ 1..) = there.checked_sub(told) {
                advanced(more);
                told = there;
            }
            Ok(())
        };
        match source.is_local() {
            true => pump(&mut reader, take),
            // It is read ahead already, on the way.
            false => pass(&mut reader, take),
        }
    });
    if let Err(error) = written {
        if let ImageError::Registry(error) = &error {
            writer.give_up(error);
        }
        return Err(error);
    }
    writer.commit(digest, blob.size())?;
    Ok(moved)
}

fn action_of(layer: &Descriptor) -> Action {
    // A layer with URLs is not in the source's registry; whoever pulls fetches it from there.
    if layer.media_type().is_nondistributable() && !layer.urls().is_empty() {
        Action::SkipNondistributable
    } else {
        Action::Copy
    }
}

/// Annotations without the entries that `drop` names.
pub(crate) fn without(
    annotations: &IndexMap<String, String>,
    drop: impl Fn(&str) -> bool,
) -> IndexMap<String, String> {
    annotations
        .iter()
        .filter(|(key, _)| !drop(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}
