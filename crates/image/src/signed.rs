//! An image is read only after it is proven who made it.

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;

use bytes::Bytes;
use sealift_oci::{Descriptor, Digest, Document, Reference};
use sealift_registry::{BlobReader, Error as RegistryError, RawManifest, Source};
use sealift_signature::{Claim, Demand, Judge, Signer};

use crate::error::ImageError;
use crate::work::restarting;

/// A source of which it is proven who signed what its reference names.
///
/// Reads as the source does, but for the manifest or index itself, which is the one that was proven even if the tag has moved
/// since; everything below it is bound by its digests.
#[derive(Debug)]
pub struct Signed<'a> {
    source: &'a dyn Source,
    root: RawManifest,
    signers: Vec<Signer>,
}

impl<'a> Signed<'a> {
    /// Looks for signatures of what the reference names: among its referrers, and under cosign's tag.
    ///
    /// # Errors
    /// [`ImageError::Unproven`], when those found do not meet the demand; others when they cannot be looked for
    pub fn check(source: &'a dyn Source, demand: &Demand) -> Result<Self, ImageError> {
        let root = source.root()?;
        let signers = signers(source, &root.digest, &root.bytes, demand)?;
        Ok(Self {
            source,
            root,
            signers,
        })
    }

    /// Keeps what the reference names now, and asks for no signature.
    ///
    /// # Errors
    /// [`ImageError`], when it cannot be read
    pub fn unchecked(source: &'a dyn Source) -> Result<Self, ImageError> {
        Ok(Self {
            source,
            root: source.root()?,
            signers: Vec::new(),
        })
    }

    /// Asks for one thing more of the same image.
    ///
    /// # Errors
    /// As [`check`](Self::check)
    pub fn and(mut self, demand: &Demand) -> Result<Self, ImageError> {
        for signer in signers(self.source, &self.root.digest, &self.root.bytes, demand)? {
            if !self.signers.contains(&signer) {
                self.signers.push(signer);
            }
        }
        Ok(self)
    }

    /// Returns who signed, as far as it was looked at.
    pub fn signers(&self) -> &[Signer] {
        &self.signers
    }

    /// Returns the digest of what was proven.
    pub fn digest(&self) -> &Digest {
        &self.root.digest
    }
}

impl Source for Signed<'_> {
    fn root(&self) -> Result<RawManifest, RegistryError> {
        Ok(self.root.clone())
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<RawManifest, RegistryError> {
        self.source.manifest(descriptor)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<BlobReader, RegistryError> {
        self.source.blob(descriptor)
    }

    fn blob_from(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobReader, RegistryError> {
        self.source.blob_from(descriptor, offset)
    }

    fn blob_part(
        &self,
        descriptor: &Descriptor,
        range: Range<u64>,
    ) -> Result<Option<Bytes>, RegistryError> {
        self.source.blob_part(descriptor, range)
    }

    fn repository(&self) -> Option<&Reference> {
        self.source.repository()
    }

    fn names(&self) -> Result<Vec<String>, RegistryError> {
        self.source.names()
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, RegistryError> {
        self.source.referrers(subject)
    }

    fn tagged(&self, tag: &str) -> Result<Option<RawManifest>, RegistryError> {
        self.source.tagged(tag)
    }

    fn is_local(&self) -> bool {
        self.source.is_local()
    }
}

/// Finds who signed a manifest or index.
///
/// What lies there and cannot be read proves nothing, and does not hide what else there is. What cannot be fetched ends the
/// search: it might be what was looked for.
fn signers(
    source: &dyn Source,
    digest: &Digest,
    octets: &[u8],
    demand: &Demand,
) -> Result<Vec<Signer>, ImageError> {
    let mut judge = Judge::new(demand, digest, octets);
    bundles(source, digest, &mut judge)?;
    if !judge.is_satisfied() {
        let tag = format!("{}-{}.sig", digest.algorithm(), digest.hex());
        if let Some(raw) = source.tagged(&tag)? {
            claims_of(source, &tag, &raw, &mut judge)?;
        }
    }
    judge.verdict().map_err(|unproven| ImageError::Unproven {
        source: Box::new(unproven),
    })
}

/// Shows the judge the bundles among the referrers.
fn bundles(source: &dyn Source, digest: &Digest, judge: &mut Judge<'_>) -> Result<(), ImageError> {
    for descriptor in source.referrers(digest)? {
        if judge.is_satisfied() || judge.is_tired() {
            break;
        }
        // What is a signature says so in the list; nothing is lost by asking only for those.
        let is_claim = match descriptor.artifact_type() {
            Some(kind) => kind == Claim::BUNDLE || kind == COSIGN_SIGNATURE,
            None => true,
        };
        if !is_claim {
            continue;
        }
        let raw = match source.manifest(&descriptor) {
            Ok(raw) => raw,
            // Lists that clients keep name what was deleted since.
            Err(RegistryError::NotFound { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        let place = raw.digest.to_string();
        claims_of(source, &place, &raw, judge)?;
    }
    Ok(())
}

/// Shows the judge the layers of a manifest that are claims.
fn claims_of(
    source: &dyn Source,
    place: &str,
    raw: &RawManifest,
    judge: &mut Judge<'_>,
) -> Result<(), ImageError> {
    let manifest = match Document::parse(&raw.bytes, Some(&raw.media_type)) {
        Ok(Document::Manifest(manifest)) => manifest,
        Ok(Document::Index(_)) => {
            judge.refuse_unread(place, "it is an index");
            return Ok(());
        }
        Err(error) => {
            judge.refuse_unread(place, &error.to_string());
            return Ok(());
        }
    };
    let is_claim = |layer: &&Descriptor| {
        let kind = layer.media_type().as_str();
        kind == Claim::BUNDLE || kind == Claim::SIMPLE
    };
    if !manifest.layers().iter().any(|layer| is_claim(&layer)) {
        // It counts, so that nobody is kept busy by what only pretends to be a signature.
        judge.refuse_unread(place, "it holds no signature");
    }
    // Who signs again and again signs the same payload, which is fetched once.
    let mut last: Option<(Digest, Vec<u8>)> = None;
    for layer in manifest.layers().iter().filter(is_claim) {
        if judge.is_satisfied() || judge.is_tired() {
            break;
        }
        if layer.size() > Claim::MAX_LEN as u64 {
            judge.refuse_unread(place, "it is too long");
            continue;
        }
        let octets = match last.take() {
            Some((digest, octets)) if digest == *layer.digest() => octets,
            _ => match read(source, layer) {
                Ok(octets) => octets,
                Err(ImageError::Registry(
                    error @ (RegistryError::NotFound { .. } | RegistryError::Mismatch { .. }),
                )) => {
                    judge.refuse_unread(place, &error.to_string());
                    continue;
                }
                Err(error) => return Err(error),
            },
        };
        if layer.media_type().as_str() == Claim::BUNDLE {
            judge.hear(place, Claim::Bundle { json: &octets });
        } else {
            let annotations: BTreeMap<String, String> = layer
                .annotations()
                .iter()
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            judge.hear(
                place,
                Claim::Simple {
                    payload: &octets,
                    annotations: &annotations,
                },
            );
        }
        last = Some((layer.digest().clone(), octets));
    }
    Ok(())
}

fn read(source: &dyn Source, layer: &Descriptor) -> Result<Vec<u8>, ImageError> {
    restarting(|| {
        let mut octets = Vec::new();
        source
            .blob(layer)?
            .read_to_end(&mut octets)
            .map_err(ImageError::from_read)?;
        Ok(octets)
    })
}

/// Artifact type of a referrer that holds what cosign else keeps under a tag.
const COSIGN_SIGNATURE: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
