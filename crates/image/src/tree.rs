use std::io::Read;

use sealift_oci::{
    Config, Descriptor, Digest, Document, Index, MAX_DOCUMENT_LEN, MAX_ENTRIES, MAX_INDEX_NESTING,
    Manifest, MediaType, Platform,
};
use sealift_registry::{RawManifest, Source};

use crate::error::ImageError;
use crate::files::OnePlatform;
use crate::work::restarting;

/// What a reference names, with everything below it down to the manifests.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) root: Node,
    /// Digest of what the reference names, before any platform was chosen.
    pub(crate) digest: Digest,
}

#[derive(Debug)]
pub(crate) enum Node {
    Index(Box<Branch>),
    Image(Box<Image>),
}

/// An index and those of its entries that were chosen.
#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) raw: RawManifest,
    pub(crate) index: Index,
    pub(crate) children: Vec<(Descriptor, Node)>,
}

/// A manifest.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) raw: RawManifest,
    pub(crate) manifest: Manifest,
    pub(crate) platform: Option<Platform>,
    /// The octets of the configuration.
    pub(crate) config: Vec<u8>,
    /// The configuration, when it is that of an image.
    pub(crate) parsed: Option<Config>,
    /// Whether this is a statement about another manifest rather than an image.
    pub(crate) attestation: bool,
}

impl Tree {
    /// Reads the documents of an image; with `platforms`, only of those.
    ///
    /// One platform of an index gives that manifest itself, several give a narrower index.
    pub(crate) fn load(source: &dyn Source, platforms: &[Platform]) -> Result<Self, ImageError> {
        let raw = source.root()?;
        let digest = raw.digest.clone();
        let mut loader = Loader::new(source, platforms);
        let root = loader.node(raw, None, 0)?;
        if let (true, Some(wanted)) = (root.images().is_empty(), platforms.first()) {
            return Err(loader.no_such(wanted));
        }
        if let Some((_, wanted)) = loader.met.iter().zip(platforms).find(|(met, _)| !**met) {
            return Err(loader.no_such(wanted));
        }
        let root = if platforms.is_empty() {
            root
        } else {
            only_image(root)
        };
        Ok(Self { root, digest })
    }

    /// Reads the documents of one image.
    pub(crate) fn one(source: &dyn Source, platform: OnePlatform<'_>) -> Result<Image, ImageError> {
        let raw = source.root()?;
        let wanted = match platform {
            OnePlatform::Asked(wanted) => Some(wanted),
            OnePlatform::Machine(machine) => Some(machine).filter(|_| raw.media_type.is_index()),
        };
        let mut loader = Loader::new(source, wanted.map_or(&[], std::slice::from_ref));
        let root = loader.node(raw, None, 0)?;
        let mut images = root.into_images();
        images.retain(|image| !image.attestation);
        match (images.pop(), wanted) {
            (Some(image), None) if images.is_empty() => Ok(image),
            (Some(image), Some(_)) if images.is_empty() && loader.met == [true] => Ok(image),
            (Some(_), Some(wanted)) if !images.is_empty() => Err(ImageError::SeveralImages {
                wanted: wanted.to_string().into(),
                count: images.len() + 1,
                available: loader.available().into(),
            }),
            (_, Some(wanted)) => Err(loader.no_such(wanted)),
            // An image that is in no index is one.
            (_, None) => Err(ImageError::Stopped),
        }
    }

    /// Reads the documents below a manifest that no reference names.
    pub(crate) fn of(source: &dyn Source, raw: RawManifest) -> Result<Self, ImageError> {
        let digest = raw.digest.clone();
        let root = Loader::new(source, &[]).node(raw, None, 0)?;
        Ok(Self { root, digest })
    }

    /// Returns every manifest in order.
    pub(crate) fn images(&self) -> Vec<&Image> {
        self.root.images()
    }
}

impl Node {
    /// Returns every manifest in order.
    fn images(&self) -> Vec<&Image> {
        match self {
            Self::Image(image) => vec![image],
            Self::Index(branch) => branch.images(),
        }
    }

    /// Returns every manifest in order, and lets go of the indexes.
    fn into_images(self) -> Vec<Image> {
        match self {
            Self::Image(image) => vec![*image],
            Self::Index(branch) => branch
                .children
                .into_iter()
                .flat_map(|(_, child)| child.into_images())
                .collect(),
        }
    }

    pub(crate) fn raw(&self) -> &RawManifest {
        match self {
            Self::Index(branch) => &branch.raw,
            Self::Image(image) => &image.raw,
        }
    }
}

impl Branch {
    /// Returns every manifest below, in order.
    pub(crate) fn images(&self) -> Vec<&Image> {
        self.children
            .iter()
            .flat_map(|(_, child)| child.images())
            .collect()
    }

    /// Returns whether every entry of the index was chosen.
    pub(crate) fn is_whole(&self) -> bool {
        self.children.len() == self.index.manifests().len()
    }
}

/// Makes a manifest or index that was just rendered ready to be written.
pub(crate) fn rendered(octets: &[u8], media_type: &MediaType) -> RawManifest {
    RawManifest {
        bytes: octets.to_vec().into(),
        media_type: media_type.clone(),
        digest: Digest::sha256(octets),
    }
}

/// Refuses what registries would refuse.
pub(crate) fn checked(kind: &'static str, raw: RawManifest) -> Result<RawManifest, ImageError> {
    let len = raw.bytes.len();
    if len > MAX_DOCUMENT_LEN {
        return Err(ImageError::TooLong {
            kind,
            len,
            limit: MAX_DOCUMENT_LEN,
        });
    }
    Ok(raw)
}

/// Reads a blob that must be small, such as a configuration.
pub(crate) fn read_small(
    source: &dyn Source,
    descriptor: &Descriptor,
) -> Result<Vec<u8>, ImageError> {
    let limit = MAX_DOCUMENT_LEN;
    if descriptor.size() > limit as u64 {
        return Err(ImageError::TooLong {
            kind: "configuration",
            len: usize::try_from(descriptor.size()).unwrap_or(usize::MAX),
            limit,
        });
    }
    restarting(|| {
        let mut octets = Vec::new();
        source
            .blob(descriptor)?
            .read_to_end(&mut octets)
            .map_err(ImageError::from_read)?;
        Ok(octets)
    })
}

struct Loader<'a> {
    source: &'a dyn Source,
    platforms: &'a [Platform],
    /// Which of the wanted platforms were found.
    met: Vec<bool>,
    /// What there was, for the message when nothing fits.
    seen: Vec<String>,
    manifests: usize,
    /// Octets of all documents read so far.
    octets: usize,
}

/// Most octets of all manifests, indexes and configurations of one image together.
const MAX_DOCUMENTS_LEN: usize = 128 * 1024 * 1024;

impl<'a> Loader<'a> {
    fn new(source: &'a dyn Source, platforms: &'a [Platform]) -> Self {
        Self {
            source,
            platforms,
            met: vec![false; platforms.len()],
            seen: Vec::new(),
            manifests: 0,
            octets: 0,
        }
    }

    fn node(
        &mut self,
        raw: RawManifest,
        entry: Option<&Descriptor>,
        depth: usize,
    ) -> Result<Node, ImageError> {
        self.manifests += 1;
        if self.manifests > MAX_ENTRIES {
            return Err(ImageError::TooManyManifests { limit: MAX_ENTRIES });
        }
        self.count(raw.bytes.len())?;
        let document = Document::parse(&raw.bytes, Some(&raw.media_type)).map_err(|source| {
            ImageError::Document {
                digest: raw.digest.clone(),
                source,
            }
        })?;
        match document {
            Document::Manifest(manifest) => {
                Ok(Node::Image(Box::new(self.image(raw, *manifest, entry)?)))
            }
            Document::Index(index) if depth < MAX_INDEX_NESTING => {
                let mut children = Vec::new();
                for descriptor in index.manifests() {
                    if let Some(child) = self.child(descriptor, depth)? {
                        children.push((descriptor.clone(), child));
                    }
                }
                self.keep_best_builds(&mut children);
                Ok(Node::Index(Box::new(Branch {
                    raw,
                    index: *index,
                    children,
                })))
            }
            Document::Index(_) => Err(ImageError::NestedTooDeeply {
                limit: MAX_INDEX_NESTING,
            }),
        }
    }

    /// Reads an entry of an index, unless it is of another platform than the wanted ones.
    fn child(&mut self, descriptor: &Descriptor, depth: usize) -> Result<Option<Node>, ImageError> {
        let kind = descriptor.media_type();
        if !kind.is_manifest() && !kind.is_index() {
            return Err(ImageError::NotAnImage {
                digest: descriptor.digest().clone(),
                media_type: kind.as_str().into(),
            });
        }
        if let Some(platform) = descriptor.platform().filter(|_| kind.is_manifest())
            && !self.wants(platform)
        {
            return Ok(None);
        }
        let raw = self.source.manifest(descriptor)?;
        let node = self.node(raw, Some(descriptor), depth + 1)?;
        let unwanted = match &node {
            // An entry may leave its platform out; the configuration knows.
            Node::Image(image) => {
                !self.platforms.is_empty()
                    && (image.attestation
                        || !image
                            .platform
                            .as_ref()
                            .is_some_and(|platform| self.wants(platform)))
            }
            Node::Index(branch) => !self.platforms.is_empty() && branch.children.is_empty(),
        };
        Ok((!unwanted).then_some(node))
    }

    fn image(
        &mut self,
        raw: RawManifest,
        manifest: Manifest,
        entry: Option<&Descriptor>,
    ) -> Result<Image, ImageError> {
        let config = read_small(self.source, manifest.config())?;
        self.count(config.len())?;
        let kind = manifest.config().media_type().to_oci();
        let parsed = if kind.as_str() == MediaType::OCI_CONFIG {
            let parsed = Config::parse(&config).map_err(|source| ImageError::Document {
                digest: manifest.config().digest().clone(),
                source,
            })?;
            Some(parsed)
        } else {
            None
        };
        let platform = entry
            .and_then(Descriptor::platform)
            .cloned()
            .or_else(|| parsed.as_ref().map(|config| config.platform.clone()));
        // All three signs together: an image must not pass for a statement, which nobody seals, verifies or runs.
        let attestation = entry.is_some_and(|entry| {
            entry.annotation("vnd.docker.reference.type") == Some("attestation-manifest")
                && entry.platform().is_some_and(Platform::is_unknown)
                && !manifest
                    .layers()
                    .iter()
                    .any(|layer| layer.media_type().is_layer())
        });
        if entry.is_none()
            && let Some(platform) = &platform
        {
            self.wants(platform);
        }
        Ok(Image {
            raw,
            manifest,
            platform,
            config,
            parsed,
            attestation,
        })
    }

    /// Leaves out the Windows builds that a host would run only if it had no better one.
    fn keep_best_builds(&self, children: &mut Vec<(Descriptor, Node)>) {
        let platform_of = |node: &Node| match node {
            Node::Image(image) => image.platform.clone(),
            Node::Index(_) => None,
        };
        let found: Vec<Platform> = children
            .iter()
            .filter_map(|(_, node)| platform_of(node))
            .collect();
        let is_best = |own: &Platform, wanted: &Platform| {
            let builds = found.iter().filter(|one| one.satisfies(wanted));
            let best = builds.filter_map(Platform::windows_build).max();
            own.satisfies(wanted)
                && (wanted.windows_build().is_none() || own.windows_build() == best)
        };
        children.retain(|(_, node)| match platform_of(node) {
            Some(own) if !self.platforms.is_empty() => {
                self.platforms.iter().any(|wanted| is_best(&own, wanted))
            }
            _ => true,
        });
    }

    /// Bounds the memory that all documents of an image take together.
    fn count(&mut self, octets: usize) -> Result<(), ImageError> {
        self.octets += octets;
        if self.octets > MAX_DOCUMENTS_LEN {
            return Err(ImageError::TooManyDocuments {
                limit: MAX_DOCUMENTS_LEN,
            });
        }
        Ok(())
    }

    /// Returns whether a platform is wanted, and remembers the answer.
    fn wants(&mut self, platform: &Platform) -> bool {
        if self.seen.len() < 32 && !platform.is_unknown() {
            self.seen.push(platform.to_string());
        }
        let mut wanted = self.platforms.is_empty();
        for (met, request) in self.met.iter_mut().zip(self.platforms) {
            if platform.satisfies(request) {
                *met = true;
                wanted = true;
            }
        }
        wanted
    }

    fn no_such(&self, wanted: &Platform) -> ImageError {
        ImageError::NoSuchPlatform {
            wanted: wanted.to_string().into(),
            available: self.available().into(),
        }
    }

    fn available(&self) -> String {
        let mut seen = self.seen.clone();
        seen.sort();
        seen.dedup();
        if seen.is_empty() {
            "none that name a platform".to_owned()
        } else {
            seen.join(", ")
        }
    }
}

/// Returns the image itself where an index was narrowed to a single one.
fn only_image(node: Node) -> Node {
    match node {
        Node::Index(mut branch) if branch.children.len() == 1 => match branch.children.pop() {
            Some((descriptor, child)) => match only_image(child) {
                image @ Node::Image(_) => image,
                index => {
                    branch.children.push((descriptor, index));
                    Node::Index(branch)
                }
            },
            None => Node::Index(branch),
        },
        other => other,
    }
}
