//! Reading single files out of an image, and of each layer no more than is needed.
//!
//! ```text
//! Blob (parts, or kept whole) ──► PlainLayer (authentic octets, anywhere) ──► LayerFiles (which files) ──► Merged (all layers)
//!                                                                       └──► a file's octets
//! ```

mod blob;
mod content;
mod listing;
mod plain;
mod reader;
mod unpacked;

use std::fmt;
use std::sync::Arc;

use sealift_files::{
    Device, FilePath, Follow, Found, Kind, LayerFiles, Layers, Listed, Merged, ResolveError,
    Timestamp,
};
use sealift_oci::{Descriptor, Digest, Platform};
use sealift_registry::{Error as RegistryError, Source};

use crate::error::ImageError;
use crate::opening::Identities;
use crate::progress::{Event, Progress};
use crate::tree::Tree;

use listing::Form;
use plain::PlainLayer;

/// The files of one image.
///
/// Layers are opened from the topmost down, each when it is first needed, and none below the one that decides.
///
/// Only authentic octets come out. Of a sealed layer of the default format single chunks are opened, which somebody else
/// who has the layer's key could have made: the digest of the whole is not compared then. A layer in clear is authentic by
/// the digest of its table of contents, where its descriptor names that, and else by its own, which takes all of it.
pub struct Files<'a> {
    digest: Digest,
    merged: Merged<Stack<'a>>,
}

impl fmt::Debug for Files<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Files({})", self.digest)
    }
}

/// Which image of an index is read.
#[derive(Clone, Copy, Debug)]
pub enum OnePlatform<'p> {
    /// The one that was asked for; an image that is not in an index must be of it too.
    Asked(&'p Platform),
    /// The one that suits this machine; an image that is not in an index suits.
    Machine(&'p Platform),
}

/// What there is at a path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileEntry {
    /// Where it is.
    pub path: FilePath,
    /// `file`, `directory`, `symlink`, `char`, `block` or `fifo`; `hardlink` only where it leads nowhere.
    pub kind: &'static str,
    /// Permissions, the lowest twelve bits of a mode; none for a folder that only what lies in it implies.
    pub mode: Option<u32>,
    /// The owner.
    pub uid: u64,
    /// The owning group.
    pub gid: u64,
    /// Length of a regular file in octets, else 0.
    pub size: u64,
    /// When it was changed last.
    pub modified: Timestamp,
    /// What stands in a symbolic link.
    pub target: Option<Box<[u8]>>,
    /// Numbers of a device.
    pub device: Option<Device>,
    /// The layer that has it, 0 being the base.
    pub layer: usize,
}

/// How a layer was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LayerUse {
    /// Place in the image, 0 is the base.
    pub index: usize,
    /// Digest of the blob as it is stored.
    pub digest: Digest,
    /// Its length in octets.
    pub size: u64,
    /// Octets of it that were fetched.
    pub fetched: u64,
    /// Why all of it was read, if it was.
    pub whole: Option<WholeReason>,
}

/// Why all of a layer is read although a part was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum WholeReason {
    /// It is packed as one stream, and nothing tells where its files lie.
    NoTable,
    /// Its cipher authenticates nothing before its end.
    TagAtEnd,
    /// It is in clear, and only its own digest tells whether it is authentic.
    Clear,
    /// The place where it is gives no parts.
    NoParts,
}

/// How deep a folder is listed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Depth {
    /// What lies in the folder.
    One,
    /// What lies in the folders below, too.
    All,
}

impl<'a> Files<'a> {
    /// Reads the manifest of an image, and nothing else yet.
    ///
    /// # Errors
    /// [`ImageError`]; [`ImageError::SeveralImages`] where more than one suits.
    pub fn open(
        source: &'a dyn Source,
        platform: OnePlatform<'_>,
        identities: Identities<'a>,
        progress: &'a dyn Progress,
    ) -> Result<Self, ImageError> {
        let image = Tree::one(source, platform)?;
        let layers = image.manifest.layers().iter();
        Ok(Self {
            digest: image.raw.digest.clone(),
            merged: Merged(Stack {
                source,
                identities,
                progress,
                layers: layers
                    .map(|layer| Slot {
                        descriptor: layer.clone(),
                        state: State::Unread,
                    })
                    .collect(),
            }),
        })
    }

    /// Returns the digest of the manifest.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Hands what lies in a folder to `each`, in the order of the octets of the names. Links to the folder are followed;
    /// something else than a folder is handed over itself.
    ///
    /// # Errors
    /// [`ImageError`]; [`ImageError::NoSuchFile`] where there is nothing.
    pub fn list(
        &mut self,
        path: &[u8],
        depth: Depth,
        each: &mut dyn FnMut(FileEntry) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        let found = match self.merged.resolve(path, Follow::Yes) {
            // A link that leads nowhere can still be looked at.
            Err(ResolveError::NotFound { .. } | ResolveError::TooManyLinks { .. }) => {
                self.merged.resolve(path, Follow::No)
            }
            other => other,
        };
        let found = found.map_err(|error| self.unresolved(error))?;
        if !found.is_folder() {
            let entry = self.entry(found)?;
            return each(entry);
        }
        let mut folders = vec![found.path];
        while let Some(folder) = folders.pop() {
            let listed = self.merged.list(&folder);
            let listed = listed.map_err(|error| self.unresolved(error))?;
            let mut below = Vec::new();
            for Listed { found, .. } in listed {
                if depth == Depth::All && found.is_folder() {
                    below.push(found.path.clone());
                }
                let entry = self.entry(found)?;
                each(entry)?;
            }
            folders.extend(below.into_iter().rev());
        }
        Ok(())
    }

    /// Hands the octets of a file to `out`, in order; links are followed. Returns what the file is.
    ///
    /// Whatever `out` got is authentic, but it may not be all of it when an error is returned.
    ///
    /// # Errors
    /// [`ImageError`]; [`ImageError::NoSuchFile`], and [`ImageError::NotAFile`] for anything but a regular file.
    pub fn read(
        &mut self,
        path: &[u8],
        out: &mut dyn FnMut(&[u8]) -> Result<(), ImageError>,
    ) -> Result<FileEntry, ImageError> {
        let found = self.merged.resolve(path, Follow::Yes);
        let found = found.and_then(|found| self.merged.behind_hard_links(found));
        let found = found.map_err(|error| self.unresolved(error))?;
        let file = match found.member().map(|member| &member.kind) {
            Some(Kind::File(file)) => file.clone(),
            _ => {
                return Err(ImageError::NotAFile {
                    path: found.path.clone(),
                    kind: found.kind(),
                });
            }
        };
        self.merged.0.read(found.layer, &found.path, &file, out)?;
        self.entry(found)
    }

    /// Tells how the layers were read that had to be.
    pub fn layers(&self) -> Vec<LayerUse> {
        let slots = self.merged.0.layers.iter().enumerate();
        slots
            .filter_map(|(index, slot)| match &slot.state {
                State::Open(layer) => Some(LayerUse {
                    index,
                    digest: slot.descriptor.digest().clone(),
                    size: slot.descriptor.size(),
                    fetched: layer.plain.fetched(),
                    whole: layer.plain.whole(),
                }),
                State::Unread | State::Absent => None,
            })
            .collect()
    }

    fn entry(&mut self, found: Found) -> Result<FileEntry, ImageError> {
        let (path, layer) = (found.path.clone(), found.layer);
        // Another name of a file shows what the file is.
        let found = match self.merged.behind_hard_links(found.clone()) {
            Err(ResolveError::Layer(error)) => return Err(error),
            Err(_) => found,
            Ok(file) => file,
        };
        let mut entry = FileEntry {
            path,
            kind: found.kind(),
            mode: None,
            uid: 0,
            gid: 0,
            size: 0,
            modified: Timestamp::default(),
            target: None,
            device: None,
            layer,
        };
        if let Some(member) = found.member() {
            entry.mode = Some(member.mode);
            entry.uid = member.uid;
            entry.gid = member.gid;
            entry.modified = member.modified;
            match &member.kind {
                Kind::File(file) => entry.size = file.size,
                Kind::Symlink(target) => entry.target = Some(target.clone()),
                Kind::CharDevice(device) | Kind::BlockDevice(device) => {
                    entry.device = Some(*device);
                }
                Kind::Folder | Kind::HardLink(_) | Kind::Fifo => {}
            }
        }
        Ok(entry)
    }

    fn unresolved(&self, error: ResolveError<ImageError>) -> ImageError {
        match error {
            ResolveError::Layer(error) => error,
            ResolveError::NotFound { path } => ImageError::NoSuchFile {
                path,
                manifest: self.digest.clone(),
            },
            ResolveError::TooManyLinks { path } => ImageError::TooManyLinks { path },
            ResolveError::TooLong => ImageError::PathTooLong {
                limit: FilePath::MAX_LEN,
            },
        }
    }
}

/// The layers of the image, as far as they were opened.
struct Stack<'a> {
    source: &'a dyn Source,
    identities: Identities<'a>,
    progress: &'a dyn Progress,
    layers: Vec<Slot<'a>>,
}

struct Slot<'a> {
    descriptor: Descriptor,
    state: State<'a>,
}

enum State<'a> {
    Unread,
    /// A layer that registries must not store, and that is not here.
    Absent,
    Open(Box<OpenLayer<'a>>),
}

struct OpenLayer<'a> {
    plain: PlainLayer<'a>,
    form: Form,
    files: Arc<LayerFiles>,
}

impl<'a> Stack<'a> {
    /// Opens a layer, unless it is one that may be missing, and is.
    fn open(&self, index: usize, layer: &Descriptor) -> Result<State<'a>, ImageError> {
        match self.listed(index, layer) {
            Err(ImageError::Registry(RegistryError::NotFound { .. }))
                if layer.media_type().is_nondistributable() =>
            {
                self.progress.event(Event::LayerAbsent {
                    index,
                    digest: layer.digest(),
                });
                Ok(State::Absent)
            }
            opened => Ok(State::Open(Box::new(opened?))),
        }
    }

    fn listed(&self, index: usize, layer: &Descriptor) -> Result<OpenLayer<'a>, ImageError> {
        let mut plain =
            PlainLayer::open(index, layer, self.source, self.identities, self.progress)?;
        let (files, form) = listing::list(&mut plain)?;
        Ok(OpenLayer {
            plain,
            form,
            files: Arc::new(files),
        })
    }

    fn read(
        &mut self,
        layer: usize,
        path: &FilePath,
        file: &sealift_files::File,
        out: &mut dyn FnMut(&[u8]) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        match self.layers.get_mut(layer).map(|slot| &mut slot.state) {
            Some(State::Open(open)) => content::read(&mut open.plain, open.form, path, file, out),
            // What was found lies in a layer that was opened.
            _ => Ok(()),
        }
    }
}

impl Layers for Stack<'_> {
    type Error = ImageError;

    fn count(&self) -> usize {
        self.layers.len()
    }

    fn files(&mut self, index: usize) -> Result<Arc<LayerFiles>, ImageError> {
        let layers = self.layers.len();
        let slot = self.layers.get(index).ok_or(ImageError::LayerOutOfRange {
            layer: i64::try_from(index).unwrap_or(i64::MAX),
            layers,
        })?;
        if let State::Unread = slot.state {
            let opened = self.open(index, &slot.descriptor.clone())?;
            if let Some(slot) = self.layers.get_mut(index) {
                slot.state = opened;
            }
        }
        Ok(match self.layers.get(index).map(|slot| &slot.state) {
            Some(State::Open(open)) => Arc::clone(&open.files),
            _ => Arc::default(),
        })
    }
}
