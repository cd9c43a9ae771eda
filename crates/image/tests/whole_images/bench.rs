//! Layouts in a folder, sealed and opened with one key pair.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex};

use sealift_image::{
    Attestations, Event, ImageError, Inspection, LazyPullAnnotations, Metadata, Open,
    OriginalManifest, Outcome, Progress, Seal, Selection, SourceCheck, Verify,
};
use sealift_keywrap::{Keyring, Recipient, keys};
use sealift_layer::{AeadLibrary, Cipher, Embedding};
use sealift_registry::{ImageRef, Options, Sink, Source, Transport};
use sealift_testkit::image::{Format, Image, ImageBuilder, Layer, Packing, Tar};
use tempfile::TempDir;

/// A folder with layouts, and a key pair.
pub(crate) struct Bench {
    pub(crate) folder: TempDir,
    pub(crate) transport: Transport,
    pub(crate) recipients: Arc<[Box<dyn Recipient>]>,
    pub(crate) keyring: Keyring,
    pub(crate) notices: Notices,
}

#[derive(Default)]
pub(crate) struct Notices(pub(crate) Mutex<Vec<String>>);

impl Progress for Notices {
    fn event(&self, event: Event<'_>) {
        if let Event::Notice { text } = event {
            self.0.lock().unwrap().push(text.to_owned());
        }
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        let pair = keys::generate(keys::KeyType::P256, None).unwrap();
        let mut keyring = Keyring::new();
        for key in keys::parse_private(pair.private_pem.as_bytes(), None).unwrap() {
            keyring.push(Box::new(key)).unwrap();
        }
        let public = keys::parse_public(pair.public_pem.as_bytes()).unwrap();
        Self {
            folder: tempfile::tempdir().unwrap(),
            transport: Transport::new(Options::default()).unwrap(),
            recipients: public
                .into_iter()
                .map(|key| Box::new(key) as Box<dyn Recipient>)
                .collect(),
            keyring,
            notices: Notices::default(),
        }
    }

    pub(crate) fn with(image: &Image) -> Self {
        let bench = Self::new();
        image.write_layout(&bench.folder.path().join("plain"), "t");
        bench
    }

    pub(crate) fn image(&self, layout: &str) -> ImageRef {
        format!("oci:{}:t", self.folder.path().join(layout).display())
            .parse()
            .unwrap()
    }

    pub(crate) fn source(&self, layout: &str) -> Box<dyn Source> {
        self.transport.source(&self.image(layout)).unwrap()
    }

    pub(crate) fn sink(&self, layout: &str) -> Box<dyn Sink> {
        self.transport.sink(&self.image(layout)).unwrap()
    }

    pub(crate) fn seal(&self, adjust: impl FnOnce(&mut Seal<'_>)) -> Result<Outcome, ImageError> {
        let source = self.source("plain");
        let sink = self.sink("sealed");
        let mut seal = Seal {
            source: &*source,
            sink: &*sink,
            recipients: Arc::clone(&self.recipients),
            cipher: Cipher::Chunked,
            embedding: Embedding::default(),
            selection: Selection::default(),
            original: OriginalManifest::Keep,
            attestations: Attestations::Drop,
            signatures: sealift_image::Signatures::default(),
            metadata: Metadata::default(),
            lazy_pull: LazyPullAnnotations::Drop,
            source_check: SourceCheck::Verify,
            repository: None,
            created_at: None,
            aead: AeadLibrary::default(),
            jobs: NonZeroUsize::new(2).unwrap(),
            progress: &self.notices,
        };
        adjust(&mut seal);
        seal.run()
    }

    pub(crate) fn open(&self, selection: Selection) -> Result<Outcome, ImageError> {
        Open {
            source: &*self.source("sealed"),
            sink: &*self.sink("opened"),
            identities: &self.keyring,
            selection,
            aead: AeadLibrary::default(),
            jobs: NonZeroUsize::new(2).unwrap(),
            progress: &self.notices,
        }
        .run()
    }

    pub(crate) fn verified(&self, layout: &str) -> Result<Inspection, ImageError> {
        Verify {
            source: &*self.source(layout),
            identities: Some(&self.keyring),
            platforms: Vec::new(),
            aead: AeadLibrary::default(),
            jobs: NonZeroUsize::MIN,
            progress: &self.notices,
        }
        .run()
    }

    pub(crate) fn verify(&self, layout: &str) -> Result<Vec<Option<bool>>, ImageError> {
        let manifests = self.verified(layout)?.manifests;
        Ok(manifests
            .iter()
            .flat_map(|manifest| &manifest.layers)
            .map(|layer| layer.authenticated)
            .collect())
    }

    pub(crate) fn opens_as(&self, layout: &str) -> Result<Option<String>, ImageError> {
        let opened = self.verified(layout)?.opened;
        Ok(opened.map(|digest| digest.to_string()))
    }

    pub(crate) fn root(&self, layout: &str) -> Vec<u8> {
        self.source(layout).root().unwrap().bytes.to_vec()
    }
}

pub(crate) fn layer(name: &str, packing: Packing) -> Layer {
    Layer::new(
        Tar::new()
            .file(name, name.repeat(9000).as_bytes())
            .whiteout("old"),
        packing,
    )
}

pub(crate) fn image(format: Format, packing: Packing) -> Image {
    ImageBuilder::new(format)
        .layers([layer("etc/a", packing), layer("etc/b", packing)])
        .build()
}

pub(crate) fn both_ciphers(check: impl Fn(Cipher)) {
    check(Cipher::Chunked);
    check(Cipher::CtrHmac);
}

/// Returns whether a layout names no image and holds no blob.
pub(crate) fn holds_nothing(layout: &Path) -> bool {
    let index = std::fs::read(layout.join("index.json")).unwrap_or_default();
    let blobs = std::fs::read_dir(layout.join("blobs/sha256"));
    !String::from_utf8_lossy(&index).contains("digest") && blobs.map_or(0, Iterator::count) == 0
}

/// Returns whether a layout names no image, whatever blobs an interrupted run left in it.
pub(crate) fn names_nothing(layout: &Path) -> bool {
    let index = std::fs::read(layout.join("index.json")).unwrap_or_default();
    !String::from_utf8_lossy(&index).contains("digest")
}

/// Lets the sealed layout name another manifest.
pub(crate) fn replace_sealed_manifest(bench: &Bench, manifest: &serde_json::Value) {
    let forged = serde_json::to_vec(manifest).unwrap();
    let folder = bench.folder.path().join("sealed");
    let digest = sealift_oci::Digest::sha256(&forged);
    std::fs::write(folder.join("blobs/sha256").join(digest.hex()), &forged).unwrap();
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":{},"annotations":{{"org.opencontainers.image.ref.name":"t"}}}}]}}"#,
        forged.len()
    );
    std::fs::write(folder.join("index.json"), index).unwrap();
}
