//! A repository of the registry that is looked at: its paths, and what checks need to have in it.

use serde_json::{Value, json};

use super::wire::{Answer, Body, with_parameter};
use super::{Departure, Subject};
use crate::{noise, sha256, sha512};

/// One repository. Every check has a registry of its own, so that names need not differ between checks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repository<'a> {
    pub(super) subject: &'a Subject,
    pub(super) name: &'static str,
}

impl Subject {
    pub(super) fn repository(&self) -> Repository<'_> {
        Repository {
            subject: self,
            name: "conformance/one",
        }
    }

    pub(super) fn other_repository(&self) -> Repository<'_> {
        Repository {
            subject: self,
            name: "conformance/two",
        }
    }
}

/// A manifest or an index, and the name it has by its digest.
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    pub(super) media_type: &'static str,
    pub(super) octets: Vec<u8>,
    pub(super) digest: String,
}

impl Manifest {
    fn new(media_type: &'static str, document: &Value) -> Self {
        let octets = document.to_string().into_bytes();
        Self {
            media_type,
            digest: sha256(&octets),
            octets,
        }
    }

    /// The same under its SHA-512 digest.
    pub(super) fn named_by_sha512(mut self) -> Self {
        self.digest = sha512(&self.octets);
        self
    }

    pub(super) fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest, "size": self.octets.len()})
    }
}

impl Repository<'_> {
    pub(super) fn uploads(&self) -> String {
        format!("/v2/{}/blobs/uploads/", self.name)
    }

    pub(super) fn blob(&self, digest: &str) -> String {
        format!("/v2/{}/blobs/{digest}", self.name)
    }

    pub(super) fn manifest(&self, reference: &str) -> String {
        format!("/v2/{}/manifests/{reference}", self.name)
    }

    pub(super) fn tags(&self) -> String {
        format!("/v2/{}/tags/list", self.name)
    }

    pub(super) fn referrers(&self, digest: &str) -> String {
        format!("/v2/{}/referrers/{digest}", self.name)
    }

    /// Asks for a manifest as a client does that knows what it can read.
    pub(super) fn ask_for_manifest(&self, method: &str, target: &str) -> Answer {
        let accept = [("Accept", INDEX), ("Accept", IMAGE)];
        self.subject.send(method, target, &accept, Body::Whole(b""))
    }

    /// Opens an upload and returns where it goes.
    pub(super) fn open_upload(&self) -> String {
        let opened = self.subject.post(&self.uploads()).is(&[202]);
        opened.location().to_owned()
    }

    /// Pushes a blob, whichever way, and returns its descriptor.
    pub(super) fn put_blob(&self, media_type: &str, octets: &[u8]) -> Value {
        let digest = sha256(octets);
        let target = with_parameter(&self.open_upload(), "digest", &digest);
        self.subject
            .send("PUT", &target, &OCTETS, Body::Whole(octets))
            .is(&[201]);
        json!({"mediaType": media_type, "digest": digest, "size": octets.len()})
    }

    /// Makes an image with this many layers, whose blobs are pushed, and with members beside or instead of its own.
    pub(super) fn image(&self, layers: u64, members: &Value) -> Manifest {
        let layers: Vec<Value> = (0..layers)
            .map(|seed| self.put_blob(LAYER, &noise(seed, 512)))
            .collect();
        let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}});
        let config = self.put_blob(CONFIG, config.to_string().as_bytes());
        let mut document =
            json!({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": layers});
        extend(&mut document, members);
        Manifest::new(IMAGE, &document)
    }

    /// Makes an artifact: an image without configuration, of a type of its own.
    pub(super) fn artifact(&self, artifact_type: &str, members: &Value) -> Manifest {
        let empty = self.put_blob(EMPTY, b"{}");
        let mut own = json!({"artifactType": artifact_type, "config": empty});
        extend(&mut own, members);
        self.image(1, &own)
    }

    /// Makes an index of these manifests, which must be pushed before it.
    pub(super) fn index(&self, of: &[&Manifest], members: &Value) -> Manifest {
        let manifests: Vec<Value> = of.iter().map(|manifest| manifest.descriptor()).collect();
        let mut document = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        extend(&mut document, members);
        Manifest::new(INDEX, &document)
    }

    pub(super) fn try_manifest(&self, reference: &str, manifest: &Manifest) -> Answer {
        let kind = [("Content-Type", manifest.media_type)];
        self.subject.send(
            "PUT",
            &self.manifest(reference),
            &kind,
            Body::Whole(&manifest.octets),
        )
    }

    /// Pushes a manifest under a tag or its digest, and sees that it is there.
    pub(super) fn put_manifest(&self, reference: &str, manifest: &Manifest) -> Answer {
        let answer = self.try_manifest(reference, manifest).is(&[201]);
        self.is_served(answer.location(), manifest);
        self.is_served(&self.manifest(reference), manifest);
        answer
    }

    /// The manifest is at this path with its type, its length and its digest, for those who want it and for those who only ask.
    pub(super) fn is_served(&self, target: &str, manifest: &Manifest) {
        for method in ["GET", "HEAD"] {
            let answer = self.ask_for_manifest(method, target).is(&[200]);
            let answer = answer.says("Content-Type", manifest.media_type);
            let answer = self.names(answer, &manifest.digest, &manifest.octets);
            answer.says("Content-Length", &manifest.octets.len().to_string());
        }
        let served = self.ask_for_manifest("GET", target);
        served.holds(&manifest.octets);
    }

    /// The blob is at this path with its length and its digest.
    pub(super) fn has_blob(&self, target: &str, digest: &str, octets: &[u8]) {
        let whole = self.subject.get(target).is(&[200]).holds(octets);
        self.names(whole, digest, octets);
        let asked = self.subject.head(target).is(&[200]);
        let asked = asked.says("Content-Length", &octets.len().to_string());
        self.names(asked, digest, octets);
    }

    /// The answer names what it is about by the digest that was asked for.
    fn names(&self, answer: Answer, digest: &str, octets: &[u8]) -> Answer {
        let is_renamed =
            self.subject.departs(Departure::Sha256Header) && digest.starts_with("sha512:");
        let named = if is_renamed {
            sha256(octets)
        } else {
            digest.to_owned()
        };
        answer.says("Docker-Content-Digest", &named)
    }
}

/// Adds members to a JSON object, or replaces them.
fn extend(document: &mut Value, members: &Value) {
    for (name, value) in members.as_object().unwrap() {
        document[name] = value.clone();
    }
}

pub(super) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(super) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(super) const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// What blobs are sent as.
pub(super) const OCTETS: [(&str, &str); 1] = [("Content-Type", "application/octet-stream")];
