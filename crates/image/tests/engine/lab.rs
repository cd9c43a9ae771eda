use std::fmt;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use sealift_image::{
    Attestations, ImageError, LazyPullAnnotations, Open, OriginalManifest, Outcome, Seal,
    Selection, Silent, SourceCheck, Verify,
};
use sealift_keywrap::{Keyring, Recipient, keys};
use sealift_layer::{AeadLibrary, Cipher, Embedding};
use sealift_oci::Descriptor;
use sealift_registry::{
    BlobReader, Error, ImageRef, Options, RawManifest, Sink, Source, Transport,
};

/// Length of the pieces in which a layer travels; the tests are about what happens around it.
pub(crate) const PIECE: usize = 256 * 1024;

/// A folder with layouts and a private key.
pub(crate) struct Lab {
    pub(crate) folder: PathBuf,
    transport: Transport,
}

impl Lab {
    /// Uses a folder, with the key that is in it or a new one.
    pub(crate) fn at(folder: &Path) -> Self {
        let key = folder.join(KEY);
        if !key.exists() {
            let pair = keys::generate(keys::KeyType::P256, None).unwrap();
            fs::write(&key, pair.private_pem.as_bytes()).unwrap();
            fs::write(folder.join(PUBLIC_KEY), pair.public_pem.as_bytes()).unwrap();
        }
        Self {
            folder: folder.to_owned(),
            transport: Transport::new(Options::default()).unwrap(),
        }
    }

    pub(crate) fn keyring(&self) -> Keyring {
        let mut keyring = Keyring::new();
        let private = fs::read(self.folder.join(KEY)).unwrap();
        for key in keys::parse_private(&private, None).unwrap() {
            keyring.push(Box::new(key)).unwrap();
        }
        keyring
    }

    pub(crate) fn recipients(&self) -> Vec<Box<dyn Recipient>> {
        let public = fs::read(self.folder.join(PUBLIC_KEY)).unwrap();
        let public = keys::parse_public(&public).unwrap();
        public
            .into_iter()
            .map(|key| Box::new(key) as Box<dyn Recipient>)
            .collect()
    }

    fn image(&self, layout: &str) -> ImageRef {
        let path = self.folder.join(layout);
        format!("oci:{}:t", path.display()).parse().unwrap()
    }

    pub(crate) fn source(&self, layout: &str) -> Box<dyn Source> {
        self.transport.source(&self.image(layout)).unwrap()
    }

    fn sink(&self, layout: &str) -> Box<dyn Sink> {
        self.transport.sink(&self.image(layout)).unwrap()
    }

    pub(crate) fn seal(
        &self,
        source: &dyn Source,
        layout: &str,
        cipher: Cipher,
        source_check: SourceCheck,
        jobs: usize,
    ) -> Result<Outcome, ImageError> {
        Seal {
            source,
            sink: &*self.sink(layout),
            recipients: self.recipients().into(),
            cipher,
            embedding: Embedding::default(),
            selection: Selection::default(),
            original: OriginalManifest::Keep,
            attestations: Attestations::Drop,
            signatures: sealift_image::Signatures::default(),
            metadata: sealift_image::Metadata::default(),
            lazy_pull: LazyPullAnnotations::Drop,
            source_check,
            repository: None,
            created_at: None,
            aead: AeadLibrary::default(),
            jobs: NonZeroUsize::new(jobs).unwrap(),
            progress: &Silent,
        }
        .run()
    }

    pub(crate) fn open(
        &self,
        source: &dyn Source,
        layout: &str,
        jobs: usize,
    ) -> Result<Outcome, ImageError> {
        Open {
            source,
            sink: &*self.sink(layout),
            identities: &self.keyring(),
            selection: Selection::default(),
            aead: AeadLibrary::default(),
            jobs: NonZeroUsize::new(jobs).unwrap(),
            progress: &Silent,
        }
        .run()
    }

    pub(crate) fn verify(&self, source: &dyn Source) -> Result<(), ImageError> {
        Verify {
            source,
            identities: Some(&self.keyring()),
            platforms: Vec::new(),
            aead: AeadLibrary::default(),
            jobs: NonZeroUsize::MIN,
            progress: &Silent,
        }
        .run()
        .map(drop)
    }

    /// Returns whether a layout holds no blob, no temporary file and no image.
    pub(crate) fn holds_nothing(&self, layout: &str) -> bool {
        let folder = self.folder.join(layout);
        let index = fs::read_to_string(folder.join("index.json")).unwrap_or_default();
        !index.contains("digest") && files_below(&folder).is_empty()
    }

    pub(crate) fn empty(&self, layout: &str) {
        let folder = self.folder.join(layout);
        if folder.exists() {
            fs::remove_dir_all(folder).unwrap();
        }
    }
}

/// Lists files other than those that every layout has.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| match path.is_dir() {
            true => files_below(&path),
            false => vec![path],
        })
        .filter(|path| !path.ends_with("oci-layout") && !path.ends_with("index.json"))
        .collect()
}

/// What a test does to the reader of a layer.
type Change = Box<dyn Fn(BlobReader, &Descriptor) -> BlobReader + Send + Sync>;

/// A source whose layers come in another way.
pub(crate) struct Changed {
    inner: Box<dyn Source>,
    is_local: bool,
    change: Change,
}

impl Changed {
    pub(crate) fn new(
        inner: Box<dyn Source>,
        is_local: bool,
        change: impl Fn(BlobReader, &Descriptor) -> BlobReader + Send + Sync + 'static,
    ) -> Self {
        Self {
            inner,
            is_local,
            change: Box::new(change),
        }
    }
}

impl Source for Changed {
    fn root(&self) -> Result<RawManifest, Error> {
        self.inner.root()
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<RawManifest, Error> {
        self.inner.manifest(descriptor)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<BlobReader, Error> {
        let reader = self.inner.blob(descriptor)?;
        if !descriptor.media_type().as_str().contains("layer") {
            return Ok(reader);
        }
        Ok((self.change)(reader, descriptor))
    }

    fn is_local(&self) -> bool {
        self.is_local
    }
}

impl fmt::Debug for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Changed({:?})", self.inner)
    }
}

const KEY: &str = "key.pem";
const PUBLIC_KEY: &str = "key.pub.pem";
