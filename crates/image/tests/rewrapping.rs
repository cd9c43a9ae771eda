//! Recipients that change while somebody else changes the image.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use sealift_image::{Attached, Change, Embedded, ImageError, Place, Rewrap, Selection, Silent};
use sealift_keywrap::keys::{KeyType, generate, parse_private, parse_public};
use sealift_keywrap::{Keyring, Recipient};
use sealift_layer::{Cipher, Embedding};
use sealift_oci::Descriptor;
use sealift_registry::{BlobReader, Error, ImageRef, Options, RawManifest, Source, Transport};
use sealift_testkit::image::{Format, ImageBuilder, Layer, Packing, Tar};

/// A layout whose tag somebody else moves once it was read.
#[derive(Debug)]
struct Moving {
    inner: Box<dyn Source>,
    index: PathBuf,
    others: Vec<u8>,
    reads: AtomicUsize,
}

impl Source for Moving {
    fn root(&self) -> Result<RawManifest, Error> {
        if self.reads.fetch_add(1, Ordering::Relaxed) == 1 {
            fs::write(&self.index, &self.others).unwrap();
        }
        self.inner.root()
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<RawManifest, Error> {
        self.inner.manifest(descriptor)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<BlobReader, Error> {
        self.inner.blob(descriptor)
    }

    fn is_local(&self) -> bool {
        true
    }
}

#[test]
fn an_image_that_somebody_replaced_in_the_meantime_is_left_to_them() {
    let folder = tempfile::tempdir().unwrap();
    let build = |content: &[u8]| {
        let layer = Layer::new(Tar::new().file("a", content), Packing::Gzip);
        ImageBuilder::new(Format::Oci).layer(layer).build()
    };
    let plain = folder.path().join("plain");
    let place = folder.path().join("place");
    build(b"ours").write_layout(&plain, "v1");
    let transport = Transport::new(Options::default()).unwrap();
    let reference =
        |path: &PathBuf| -> ImageRef { format!("oci:{}:v1", path.display()).parse().unwrap() };
    let (old, new) = (
        generate(KeyType::P256, None).unwrap(),
        generate(KeyType::P256, None).unwrap(),
    );
    let recipient = |pem: &str| -> Box<dyn Recipient> {
        Box::new(parse_public(pem.as_bytes()).unwrap().remove(0))
    };
    sealift_image::Seal {
        source: &*transport.source(&reference(&plain)).unwrap(),
        sink: &*transport.sink(&reference(&place)).unwrap(),
        recipients: vec![recipient(&old.public_pem)].into(),
        cipher: Cipher::Chunked,
        embedding: Embedding::default(),
        selection: Selection::default(),
        original: sealift_image::OriginalManifest::default(),
        attestations: sealift_image::Attestations::default(),
        signatures: sealift_image::Signatures::default(),
        metadata: sealift_image::Metadata::default(),
        lazy_pull: sealift_image::LazyPullAnnotations::default(),
        source_check: sealift_image::SourceCheck::default(),
        repository: None,
        created_at: None,
        aead: sealift_layer::AeadLibrary::default(),
        jobs: NonZeroUsize::MIN,
        progress: &Silent,
    }
    .run()
    .unwrap();
    // What the other puts under the tag.
    let index = place.join("index.json");
    let ours = fs::read(&index).unwrap();
    fs::remove_file(&index).unwrap();
    build(b"theirs").write_layout(&place, "v1");
    let others = fs::read(&index).unwrap();
    assert_ne!(ours, others);

    let mut keys = Keyring::new();
    let key = parse_private(old.private_pem.as_bytes(), None)
        .unwrap()
        .remove(0);
    keys.push(Box::new(key)).unwrap();
    let recipients = [recipient(&new.public_pem)];
    let change = |reads: usize| {
        fs::write(&index, &ours).unwrap();
        let image = transport.source(&reference(&place)).unwrap();
        let image = image.root().unwrap().digest;
        let source = Moving {
            inner: transport.source(&reference(&place)).unwrap(),
            index: index.clone(),
            others: others.clone(),
            reads: AtomicUsize::new(reads),
        };
        Rewrap {
            source: &source,
            image: &image,
            sink: &*transport.sink(&reference(&place)).unwrap(),
            place: Place::Same,
            change: Change::Add {
                recipients: &recipients,
                keys: &keys,
            },
            selection: Selection::default(),
            embedded: Embedded::Leave,
            referrers: Attached::Keep,
            repository: None,
            created_at: None,
            jobs: NonZeroUsize::MIN,
            progress: &Silent,
        }
        .run()
    };
    let refused = change(0).unwrap_err();
    assert!(matches!(refused, ImageError::Moved { .. }), "{refused}");
    assert_eq!(fs::read(&index).unwrap(), others);
    // When nobody interferes, the same change is made.
    change(2).unwrap();
    let changed = fs::read(&index).unwrap();
    assert!(changed != ours && changed != others);
}
