//! What `docker save` writes, as a source.
//!
//! The archive has no manifest of its own. One is made from `manifest.json`, always the same for the same archive; the
//! configuration stays as it is. Layers that are not compressed are named by the diff IDs in the configuration, and
//! verified like every blob when they are read.

use std::collections::HashMap;
use std::io::Read as _;
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use sealift_oci::{Algorithm, Descriptor, Digest, MAX_ENTRIES, MediaType};
use serde::Deserialize;

use crate::client::{blob_what, manifest_what};
use crate::error::Error;
use crate::manifest::RawManifest;
use crate::source::{BlobReader, Source, part_len, read_part};
use crate::spool;
use crate::tar_index::{Section, TarIndex};

/// One image of an archive.
#[derive(Debug)]
pub(crate) struct DockerArchive {
    archive: TarIndex,
    manifest: RawManifest,
    /// Where each blob lies.
    blobs: HashMap<Digest, String>,
}

impl DockerArchive {
    /// Opens an archive. `name` is a tag as Docker shows it, needless if there is one image.
    pub(crate) fn open(file: &Path, name: Option<&str>) -> Result<Self, Error> {
        let archive = TarIndex::open(file)?;
        let malformed =
            |reason: &str| Error::malformed(format!("docker archive `{}`", file.display()), reason);
        let list = archive.read("manifest.json", MAX_MANIFEST_LEN)?;
        let list = list.ok_or_else(|| malformed("it has no `manifest.json`"))?;
        let images: Vec<Image> = serde_json::from_slice(&list)
            .map_err(|_| malformed("its `manifest.json` is broken"))?;
        let image = choose(&images, name).map_err(|what| Error::NotFound {
            what: what.into(),
            place: file.to_string_lossy().into(),
        })?;
        let config = archive.read(&image.config, MAX_CONFIG_LEN)?;
        let config = config.ok_or_else(|| malformed("its configuration is missing"))?;
        let parsed: Config = serde_json::from_slice(&config)
            .map_err(|_| malformed("its configuration is broken"))?;
        let diff_ids = parsed.rootfs.diff_ids;
        if diff_ids.len() != image.layers.len() {
            return Err(malformed(
                "configuration and `manifest.json` differ in the number of layers",
            ));
        }
        if diff_ids.len() > MAX_ENTRIES {
            return Err(malformed("it has too many layers"));
        }
        let mut blobs = HashMap::new();
        let mut layers = Vec::new();
        for (path, diff_id) in image.layers.iter().zip(&diff_ids) {
            let diff_id = diff_id
                .parse()
                .map_err(|_| malformed("a diff ID is no digest"))?;
            let layer =
                layer(&archive, path, diff_id)?.ok_or_else(|| malformed("a layer is missing"))?;
            blobs.insert(layer.digest().clone(), path.clone());
            layers.push(layer);
        }
        let config_type = media_type(MediaType::DOCKER_CONFIG)?;
        let config = Descriptor::new(config_type, Digest::sha256(&config), config.len() as u64);
        blobs.insert(config.digest().clone(), image.config.clone());
        let manifest = render(&config, &layers)?;
        Ok(Self {
            archive,
            manifest,
            blobs,
        })
    }

    fn member(&self, digest: &Digest) -> Result<Section, Error> {
        let missing = || self.not_found(blob_what(digest));
        let path = self.blobs.get(digest).ok_or_else(missing)?;
        let (section, _) = self.archive.member(path)?.ok_or_else(missing)?;
        Ok(section)
    }

    fn not_found(&self, what: String) -> Error {
        Error::NotFound {
            what: what.into(),
            place: self.archive.path().to_string_lossy().into(),
        }
    }
}

impl Source for DockerArchive {
    fn root(&self) -> Result<RawManifest, Error> {
        Ok(self.manifest.clone())
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<RawManifest, Error> {
        if *descriptor.digest() == self.manifest.digest {
            return Ok(self.manifest.clone());
        }
        Err(self.not_found(manifest_what(&descriptor.digest().to_string())))
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<BlobReader, Error> {
        self.blob_from(descriptor, 0)
    }

    fn blob_part(
        &self,
        descriptor: &Descriptor,
        range: Range<u64>,
    ) -> Result<Option<Bytes>, Error> {
        let len = part_len(descriptor, &range)?;
        let section = self.member(descriptor.digest())?.behind(range.start);
        read_part(section, len, self.archive.path()).map(Some)
    }

    fn blob_from(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobReader, Error> {
        let section = self.member(descriptor.digest())?;
        let place = self.archive.path().to_string_lossy();
        let section = Box::new(section.behind(offset));
        Ok(BlobReader::at(section, descriptor, offset, place))
    }

    fn is_local(&self) -> bool {
        true
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

const MAX_MANIFEST_LEN: u64 = 4 * 1024 * 1024;
const MAX_CONFIG_LEN: u64 = 4 * 1024 * 1024;

/// Chooses the image with a tag, or the only one.
fn choose<'a>(images: &'a [Image], name: Option<&str>) -> Result<&'a Image, String> {
    let tags = || {
        let tags = images
            .iter()
            .flat_map(|image| image.repo_tags.iter().flatten());
        tags.take(10)
            .map(|tag| sealift_oci::json::excerpt(tag).into_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    match (images, name) {
        ([image], None) => Ok(image),
        ([], None) => Err("an image".into()),
        (_, None) => Err(format!("a single image (name one of: {})", tags())),
        (_, Some(name)) => {
            // Docker leaves the defaults out where it shows tags; both spellings name the same image.
            let canonical = |text: &str| -> Option<String> {
                let reference: sealift_oci::Reference = text.parse().ok()?;
                let tag = reference
                    .tag()
                    .unwrap_or(sealift_oci::Reference::DEFAULT_TAG);
                Some(format!(
                    "{}/{}:{tag}",
                    reference.registry(),
                    reference.repository()
                ))
            };
            let wanted = canonical(name);
            let has = |image: &&Image| {
                let mut tags = image.repo_tags.iter().flatten();
                wanted.is_some() && tags.any(|tag| canonical(tag) == wanted)
            };
            images.iter().find(has).ok_or_else(|| {
                format!(
                    "image `{}` (there are: {})",
                    sealift_oci::json::excerpt(name),
                    tags()
                )
            })
        }
    }
}

/// Describes a layer: by its diff ID if it is a plain tar, by its own digest otherwise.
fn layer(archive: &TarIndex, path: &str, diff_id: Digest) -> Result<Option<Descriptor>, Error> {
    let Some((section, len)) = archive.member(path)? else {
        return Ok(None);
    };
    let mut magic = Vec::new();
    section
        .take(4)
        .read_to_end(&mut magic)
        .map_err(Error::io("read", archive.path()))?;
    let suffix = match magic.as_slice() {
        [0x1f, 0x8b, ..] => ".gzip",
        [0x28, 0xb5, 0x2f, 0xfd] => ".zstd",
        _ => {
            return Ok(Some(Descriptor::new(
                media_type(DOCKER_LAYER)?,
                diff_id,
                len,
            )));
        }
    };
    let Some((mut section, _)) = archive.member(path)? else {
        return Ok(None);
    };
    let digest =
        spool::hash(&mut section, Algorithm::Sha256).map_err(Error::io("read", archive.path()))?;
    let media_type = media_type(&format!("{DOCKER_LAYER}{suffix}"))?;
    Ok(Some(Descriptor::new(media_type, digest, len)))
}

const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

fn render(config: &Descriptor, layers: &[Descriptor]) -> Result<RawManifest, Error> {
    let layers: Vec<_> = layers.iter().map(Descriptor::to_raw).collect();
    let layers: Vec<_> = layers.iter().map(|layer| layer.get()).collect();
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{}]}}"#,
        MediaType::DOCKER_MANIFEST,
        config.to_raw().get(),
        layers.join(",")
    );
    Ok(RawManifest::new(
        Bytes::from(text),
        media_type(MediaType::DOCKER_MANIFEST)?,
    ))
}

fn media_type(text: &str) -> Result<MediaType, Error> {
    text.parse()
        .map_err(|_| Error::malformed("media type", "it is none"))
}
