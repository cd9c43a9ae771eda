//! Images made in memory: small, the same on every run, and as wrong as a test wants them.
//!
//! ```
//! use sealift_testkit::image::{Format, ImageBuilder, Layer, Packing, Tar};
//! use sealift_testkit::registry::{Options, Registry};
//!
//! let image = ImageBuilder::new(Format::Oci)
//!     .layer(Layer::new(Tar::new().file("bin/hello", b"#!/bin/sh\n"), Packing::Gzip))
//!     .layer(Layer::new(Tar::new().whiteout("bin/old"), Packing::Zstd))
//!     .build();
//! let registry = Registry::start(Options::default());
//! image.push(&registry, "demo/app", "v1");
//! assert_eq!(registry.manifest("demo/app", "v1").unwrap().1, image.bytes());
//!
//! // A manifest that promises another length than its layer has:
//! let lying = image.clone().edited(|manifest| manifest["layers"][0]["size"] = 1.into());
//! assert_ne!(lying.digest(), image.digest());
//! ```

mod absurd;
mod build;
mod layer;
mod store;
mod table;

use std::collections::BTreeMap;

use serde_json::{Value, json};

pub use absurd::{bare, deep, many_layers};
pub use build::{ImageBuilder, IndexBuilder};
pub use layer::{Layer, Packing, Tar};
pub use store::ArchiveKind;

use crate::digest;

/// Whose media types a manifest has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// OCI image specification 1.1; JSON without white space.
    Oci,
    /// Docker schema 2; JSON with white space, as Docker writes it.
    Docker,
}

impl Format {
    /// Returns the type of a manifest.
    pub fn manifest(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.manifest.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.v2+json",
        }
    }

    /// Returns the type of an index or manifest list.
    pub fn index(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.index.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.list.v2+json",
        }
    }

    /// Returns the type of a configuration.
    pub fn config(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.config.v1+json",
            Self::Docker => "application/vnd.docker.container.image.v1+json",
        }
    }

    fn render(self, document: &Value) -> Vec<u8> {
        match self {
            Self::Oci => serde_json::to_vec(document).unwrap(),
            Self::Docker => serde_json::to_vec_pretty(document).unwrap(),
        }
    }
}

/// A manifest or an index with everything below it.
#[derive(Clone, Debug)]
pub struct Image {
    /// Children first, so that the last one is the root.
    documents: Vec<Document>,
    blobs: BTreeMap<String, Vec<u8>>,
    /// Digests of the layers that are not to be pushed.
    foreign: Vec<String>,
}

/// A manifest or an index, and what its parent says about it.
#[derive(Clone, Debug)]
struct Document {
    media_type: String,
    bytes: Vec<u8>,
    platform: Option<Value>,
    annotations: Value,
}

impl Document {
    fn digest(&self) -> String {
        digest::sha256(&self.bytes)
    }
}

impl Image {
    /// Returns the digest of the manifest or index.
    pub fn digest(&self) -> String {
        self.root().digest()
    }

    /// Returns the octets of the manifest or index.
    pub fn bytes(&self) -> &[u8] {
        &self.root().bytes
    }

    /// Returns the type of the manifest or index.
    pub fn media_type(&self) -> &str {
        &self.root().media_type
    }

    /// Returns the manifest or index.
    pub fn json(&self) -> Value {
        serde_json::from_slice(self.bytes()).unwrap()
    }

    /// Returns the digests of the manifests and indexes, children first.
    pub fn documents(&self) -> Vec<String> {
        self.documents.iter().map(Document::digest).collect()
    }

    /// Returns configurations and layers by digest.
    pub fn blobs(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.blobs
    }

    /// Returns the digest of a layer of the manifest, 0 being the base.
    pub fn layer_digest(&self, index: usize) -> String {
        let digest = &self.json()["layers"][index]["digest"];
        digest.as_str().unwrap().to_owned()
    }

    /// Returns the same image with an edited manifest or index; it has its own digest.
    #[must_use]
    pub fn edited(mut self, edit: impl FnOnce(&mut Value)) -> Self {
        let mut document = self.json();
        edit(&mut document);
        let root = self.documents.last_mut().unwrap();
        let is_spaced = root.bytes.get(1) == Some(&b'\n');
        let format = if is_spaced {
            Format::Docker
        } else {
            Format::Oci
        };
        root.bytes = format.render(&document);
        self
    }

    /// Returns the same image with other octets for its manifest or index, JSON or not; they have their own digest.
    #[must_use]
    pub fn replaced(mut self, bytes: &[u8]) -> Self {
        self.documents.last_mut().unwrap().bytes = bytes.to_vec();
        self
    }

    /// Returns the same image whose blob `digest` is something else under the same digest.
    #[must_use]
    pub fn with_blob(mut self, digest: &str, bytes: &[u8]) -> Self {
        let previous = self.blobs.insert(digest.to_owned(), bytes.to_vec());
        assert!(previous.is_some(), "the image has no blob {digest}");
        self
    }

    /// Returns the same image without one of its blobs.
    #[must_use]
    pub fn without_blob(mut self, digest: &str) -> Self {
        let previous = self.blobs.remove(digest);
        assert!(previous.is_some(), "the image has no blob {digest}");
        self
    }

    /// Returns what an index says about it.
    pub fn descriptor(&self) -> Value {
        let root = self.root();
        let mut descriptor = json!({
            "mediaType": root.media_type,
            "digest": root.digest(),
            "size": root.bytes.len(),
        });
        if let Some(platform) = &root.platform {
            descriptor["platform"] = platform.clone();
        }
        if !root.annotations.is_null() {
            descriptor["annotations"] = root.annotations.clone();
        }
        descriptor
    }

    fn root(&self) -> &Document {
        self.documents.last().unwrap()
    }
}
