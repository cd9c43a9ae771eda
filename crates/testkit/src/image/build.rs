use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Document, Format, Image, Layer};
use crate::digest;

/// One image in the making.
#[derive(Clone, Debug)]
pub struct ImageBuilder {
    format: Format,
    platform: Value,
    layers: Vec<Layer>,
    annotations: Vec<(String, String)>,
    config: Value,
    members: Vec<(String, Value)>,
}

impl ImageBuilder {
    /// Begins a `linux/amd64` image without layers.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            platform: json!({"architecture": "amd64", "os": "linux"}),
            layers: Vec::new(),
            annotations: Vec::new(),
            config: json!({"Env": ["PATH=/bin"], "Cmd": ["/bin/hello"]}),
            members: Vec::new(),
        }
    }

    /// Adds a layer on top.
    #[must_use]
    pub fn layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// Adds layers on top.
    #[must_use]
    pub fn layers(mut self, layers: impl IntoIterator<Item = Layer>) -> Self {
        self.layers.extend(layers);
        self
    }

    /// Sets the platform: `os/arch[/variant][:osversion]`.
    #[must_use]
    pub fn platform(mut self, text: &str) -> Self {
        let (path, version) = text.split_once(':').unwrap_or((text, ""));
        let mut parts = path.split('/');
        let mut part = || parts.next().unwrap_or_default();
        self.platform = json!({"os": part(), "architecture": part()});
        for (name, value) in [("variant", part()), ("os.version", version)] {
            if !value.is_empty() {
                self.platform[name] = json!(value);
            }
        }
        self
    }

    /// Adds an annotation to the manifest (Docker manifests have none, but who writes JSON can).
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.push((key.into(), value.into()));
        self
    }

    /// Sets the `config` member of the image configuration.
    #[must_use]
    pub fn config(mut self, config: Value) -> Self {
        self.config = config;
        self
    }

    /// Adds a member beside `config` to the image configuration.
    #[must_use]
    pub fn member(mut self, name: &str, value: Value) -> Self {
        self.members.push((name.into(), value));
        self
    }

    /// Returns the image.
    pub fn build(self) -> Image {
        let diff_ids: Vec<_> = self.layers.iter().map(|l| l.diff_id.clone()).collect();
        let mut config = json!({"created": "1970-01-01T00:00:00Z"});
        for (name, value) in self.platform.as_object().unwrap() {
            config[name] = value.clone();
        }
        config["config"] = self.config.clone();
        config["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
        config["history"] = self
            .layers
            .iter()
            .map(|_| json!({"created": "1970-01-01T00:00:00Z", "created_by": "testkit"}))
            .collect();
        for (name, value) in &self.members {
            config[name] = value.clone();
        }
        let config = serde_json::to_vec(&config).unwrap();
        let descriptors: Vec<_> = self
            .layers
            .iter()
            .map(|layer| layer.descriptor(self.format))
            .collect();
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": self.format.manifest(),
            "config": {
                "mediaType": self.format.config(),
                "digest": digest::sha256(&config),
                "size": config.len(),
            },
            "layers": descriptors,
        });
        for (key, value) in &self.annotations {
            manifest["annotations"][key] = json!(value);
        }
        let mut blobs = BTreeMap::from([(digest::sha256(&config), config)]);
        let mut foreign = Vec::new();
        for layer in self.layers {
            if layer.is_foreign() {
                foreign.push(layer.digest());
            }
            blobs.insert(layer.digest(), layer.blob);
        }
        Image {
            documents: vec![Document {
                media_type: self.format.manifest().into(),
                bytes: self.format.render(&manifest),
                platform: Some(self.platform),
                annotations: Value::Null,
            }],
            blobs,
            foreign,
        }
    }
}

/// An index in the making.
#[derive(Clone, Debug)]
pub struct IndexBuilder {
    format: Format,
    children: Vec<Image>,
    annotations: Vec<(String, String)>,
}

impl IndexBuilder {
    /// Begins an empty index or manifest list.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            children: Vec::new(),
            annotations: Vec::new(),
        }
    }

    /// Adds an image, or another index.
    #[must_use]
    pub fn child(mut self, image: Image) -> Self {
        self.children.push(image);
        self
    }

    /// Adds an image and its attestation, as BuildKit writes it.
    #[must_use]
    pub fn attested(mut self, image: Image) -> Self {
        let attestation = attestation(&image);
        self.children.extend([image, attestation]);
        self
    }

    /// Adds an annotation to the index.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.push((key.into(), value.into()));
        self
    }

    /// Returns the index with all that it names.
    pub fn build(self) -> Image {
        let descriptors: Vec<_> = self.children.iter().map(Image::descriptor).collect();
        let mut index = json!({
            "schemaVersion": 2,
            "mediaType": self.format.index(),
            "manifests": descriptors,
        });
        for (key, value) in &self.annotations {
            index["annotations"][key] = json!(value);
        }
        let mut whole = Image {
            documents: Vec::new(),
            blobs: BTreeMap::new(),
            foreign: Vec::new(),
        };
        for child in self.children {
            whole.documents.extend(child.documents);
            whole.blobs.extend(child.blobs);
            whole.foreign.extend(child.foreign);
        }
        whole.documents.push(Document {
            media_type: self.format.index().into(),
            bytes: self.format.render(&index),
            platform: None,
            annotations: Value::Null,
        });
        whole
    }
}

/// Makes an attestation manifest as BuildKit attaches it to `image` in an index.
fn attestation(image: &Image) -> Image {
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v0.1",
        "predicateType": "https://slsa.dev/provenance/v0.2",
        "subject": [{"name": "demo", "digest": image.digest()}],
        "predicate": {"buildType": "testkit"},
    });
    let statement = serde_json::to_vec(&statement).unwrap();
    let layer = Layer::blob("application/vnd.in-toto+json", &statement).annotation(
        "in-toto.io/predicate-type",
        "https://slsa.dev/provenance/v0.2",
    );
    let mut attestation = ImageBuilder::new(Format::Oci)
        .platform("unknown/unknown")
        .layer(layer)
        .build();
    attestation.documents[0].annotations = json!({
        "vnd.docker.reference.digest": image.digest(),
        "vnd.docker.reference.type": "attestation-manifest",
    });
    attestation
}
