use std::ops::Range;

use sealift_oci::Digest;

use crate::path::FilePath;
use crate::timestamp::Timestamp;

/// One entry of a layer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Member {
    /// Where it lies.
    pub path: FilePath,
    /// What it is.
    pub kind: Kind,
    /// Permissions, the lowest twelve bits of a mode.
    pub mode: u32,
    /// The owner.
    pub uid: u64,
    /// The owning group.
    pub gid: u64,
    /// When it was changed last.
    pub modified: Timestamp,
}

/// What a member is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A regular file.
    File(File),
    /// A folder.
    Folder,
    /// A symbolic link, and what stands in it.
    Symlink(Box<[u8]>),
    /// Another name for a file of this layer or one below.
    HardLink(FilePath),
    /// A device that is read octet by octet.
    CharDevice(Device),
    /// A device that is read in blocks.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
}

impl Kind {
    /// Returns what it is, in one word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Folder => "directory",
            Self::Symlink(_) => "symlink",
            Self::HardLink(_) => "hardlink",
            Self::CharDevice(_) => "char",
            Self::BlockDevice(_) => "block",
            Self::Fifo => "fifo",
        }
    }
}

/// Numbers of a device.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Device {
    /// Which driver.
    pub major: u32,
    /// Which device of it.
    pub minor: u32,
}

/// A regular file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct File {
    /// Its length in octets.
    pub size: u64,
    /// Where its octets are.
    pub content: Content,
    /// Its digest, where a table of contents tells it.
    pub digest: Option<Digest>,
}

/// Where the octets of a file are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Content {
    /// In the unpacked layer, all of them from this octet on.
    Tar(u64),
    /// In the unpacked layer, in pieces; between them are zeros.
    Sparse(Box<[Piece]>),
    /// In the packed layer, chunk after chunk; together they are as long as the file.
    Chunks(Box<[Chunk]>),
    /// In a form that is not read here.
    Unsupported(&'static str),
}

/// A piece of a file with holes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Piece {
    /// Where it belongs in the file.
    pub offset: u64,
    /// Its length.
    pub len: u64,
    /// Where it is in the unpacked layer.
    pub at: u64,
}

/// A part of a file that is packed for itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Chunk {
    /// Where it belongs in the file.
    pub offset: u64,
    /// Its length, unpacked.
    pub len: u64,
    /// Where it is.
    pub packed: Packed,
    /// Its digest, unpacked.
    pub digest: Option<Digest>,
}

/// Where the octets of a chunk are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Packed {
    /// In the packed layer: these octets, unpacked, without the first `skip`, and no more than the chunk is long.
    Octets {
        /// Where in the packed layer. What follows the chunk may be among them.
        range: Range<u64>,
        /// Unpacked octets in front that belong to others.
        skip: u64,
    },
    /// Nowhere: they are zeros.
    Zeros,
}
