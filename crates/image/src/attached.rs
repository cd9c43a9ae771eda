//! What belongs to an image without being part of it: referrers (image-spec, `subject`), and the signatures that cosign
//! keeps under tags.

use std::collections::HashSet;

use sealift_oci::{Descriptor, Digest, Document, MAX_ENTRIES};
use sealift_registry::{Error as RegistryError, RawManifest, Source};

use crate::error::ImageError;
use crate::tree::{Node, Tree};

/// Whether something that belongs to an image goes along with it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Attached {
    /// It stays behind.
    #[default]
    Drop,
    /// It goes along.
    Keep,
}

/// Something that belongs to a manifest.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// What it belongs to.
    pub subject: Digest,
    /// What it is, with its artifact type where the source knows it.
    pub descriptor: Descriptor,
    /// The tag that it has, where it is found by that.
    pub tag: Option<String>,
    /// Its artifact type, as its own manifest says: lists are only somebody's word.
    kind: Option<String>,
}

impl Attachment {
    /// Returns whether it is a signature or a signed statement: nobody but its author can say the same of another digest.
    pub(crate) fn is_signed(&self) -> bool {
        if let Some(tag) = &self.tag {
            return !tag.ends_with(".sbom");
        }
        self.kind.as_deref().is_some_and(|kind| {
            kind.starts_with("application/vnd.dev.cosign.")
                || kind.starts_with("application/vnd.dev.sigstore.")
                || kind.starts_with("application/vnd.cncf.notary.")
        })
    }
}

/// Lists what belongs to a reference: of everything it names, and of what belongs to that.
///
/// # Errors
/// [`ImageError`] when a document cannot be read.
pub fn attachments(source: &dyn Source) -> Result<Vec<Attachment>, ImageError> {
    let tree = Tree::load(source, &[])?;
    let found = Attachments::find(source, &tree, Attached::Keep, Attached::Keep)?;
    Ok(found.into_iter().map(|(listed, _)| listed).collect())
}

/// The search for what belongs to an image.
pub(crate) struct Attachments<'a> {
    source: &'a dyn Source,
    signatures: Attached,
    seen: HashSet<Digest>,
    found: Vec<(Attachment, Tree)>,
}

impl<'a> Attachments<'a> {
    /// Finds what belongs to the manifests of a tree that are copied as they are; subjects come before their referrers.
    pub(crate) fn find(
        source: &'a dyn Source,
        tree: &Tree,
        referrers: Attached,
        signatures: Attached,
    ) -> Result<Vec<(Attachment, Tree)>, ImageError> {
        let mut subjects = Vec::new();
        kept(&tree.root, &mut subjects);
        let mut search = Self {
            source,
            signatures,
            seen: subjects.iter().cloned().collect(),
            found: Vec::new(),
        };
        // Level by level, so that the depth is bounded and a circle ends at what was seen.
        for _ in 0..=MAX_DEPTH {
            if subjects.is_empty() {
                return Ok(search.found);
            }
            let mut next = Vec::new();
            for subject in &subjects {
                if referrers == Attached::Keep {
                    search.referrers(subject, &mut next)?;
                }
                search.signatures(subject)?;
            }
            subjects = next;
        }
        Err(ImageError::NestedTooDeeply { limit: MAX_DEPTH })
    }

    /// Finds what belongs to single manifests, and nothing of what belongs to that.
    pub(crate) fn of(
        source: &'a dyn Source,
        subjects: &[&Digest],
    ) -> Result<Vec<(Attachment, Tree)>, ImageError> {
        let mut search = Self {
            source,
            signatures: Attached::Keep,
            seen: HashSet::new(),
            found: Vec::new(),
        };
        for subject in subjects {
            search.referrers(subject, &mut Vec::new())?;
            search.signatures(subject)?;
        }
        Ok(search.found)
    }

    fn referrers(&mut self, subject: &Digest, next: &mut Vec<Digest>) -> Result<(), ImageError> {
        for descriptor in self.source.referrers(subject)? {
            if self.seen.contains(descriptor.digest()) {
                continue;
            }
            let raw = match self.source.manifest(&descriptor) {
                Ok(raw) => raw,
                // Lists that clients keep name what was deleted since.
                Err(RegistryError::NotFound { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            // A list is only somebody's word.
            if subject_of(&raw)?.as_ref() != Some(subject) {
                continue;
            }
            next.push(descriptor.digest().clone());
            self.keep(subject, descriptor, None, raw)?;
        }
        Ok(())
    }

    fn signatures(&mut self, subject: &Digest) -> Result<(), ImageError> {
        if self.signatures == Attached::Drop {
            return Ok(());
        }
        for ending in COSIGN_ENDINGS {
            let tag = format!("{}-{}.{ending}", subject.algorithm(), subject.hex());
            if let Some(raw) = self.source.tagged(&tag)? {
                self.keep(subject, raw.descriptor(), Some(tag), raw)?;
            }
        }
        Ok(())
    }

    fn keep(
        &mut self,
        subject: &Digest,
        descriptor: Descriptor,
        tag: Option<String>,
        raw: RawManifest,
    ) -> Result<(), ImageError> {
        self.seen.insert(descriptor.digest().clone());
        if self.found.len() >= MAX_ENTRIES {
            return Err(ImageError::TooManyManifests { limit: MAX_ENTRIES });
        }
        let tree = Tree::of(self.source, raw)?;
        let kind = match &tree.root {
            Node::Image(image) => image
                .manifest
                .artifact_type()
                .or_else(|| Some(image.manifest.config().media_type().as_str().to_owned())),
            Node::Index(branch) => branch.index.artifact_type(),
        };
        let attachment = Attachment {
            subject: subject.clone(),
            descriptor,
            tag,
            kind,
        };
        self.found.push((attachment, tree));
        Ok(())
    }
}

/// Collects the digests below a node that stay what they are when it is copied.
fn kept(node: &Node, digests: &mut Vec<Digest>) -> bool {
    let is_kept = match node {
        Node::Image(_) => true,
        Node::Index(branch) => {
            let mut all = branch.is_whole();
            for (_, child) in &branch.children {
                all &= kept(child, digests);
            }
            all
        }
    };
    if is_kept {
        digests.push(node.raw().digest.clone());
    }
    is_kept
}

fn subject_of(raw: &RawManifest) -> Result<Option<Digest>, ImageError> {
    let document = Document::parse(&raw.bytes, Some(&raw.media_type)).map_err(|source| {
        ImageError::Document {
            digest: raw.digest.clone(),
            source,
        }
    })?;
    let subject = match &document {
        Document::Manifest(manifest) => manifest.subject(),
        Document::Index(index) => index.subject(),
    };
    Ok(subject.map(|subject| subject.digest().clone()))
}

/// How far referrers of referrers are followed.
const MAX_DEPTH: usize = 8;
/// What cosign's tags end with (sigstore/cosign, `specs/SIGNATURE_SPEC.md`).
const COSIGN_ENDINGS: [&str; 3] = ["sig", "att", "sbom"];
