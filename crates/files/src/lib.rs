//! Which files a layer holds, where they lie in it, and what the layers of an image show together.
//!
//! [`tar::walk`] lists a tar by its headers; [`estargz`] and [`zstd_chunked`] read the tables of layers that are packed file
//! by file, into the same [`Member`]s. [`LayerFiles`] is one layer as a tree, [`Merged`] a stack of them. `SPEC.md` beside
//! this crate restates the formats.

mod error;
pub mod estargz;
mod layer_files;
mod member;
mod merged;
mod path;
pub mod tar;
#[cfg(test)]
mod tests;
mod timestamp;
mod toc;
pub mod zstd_chunked;

pub use error::ListError;
pub use layer_files::{Folder, LayerFiles, Says};
pub use member::{Chunk, Content, Device, File, Kind, Member, Packed, Piece};
pub use merged::{Follow, Found, Layers, Listed, Merged, ResolveError};
pub use path::FilePath;
pub use timestamp::Timestamp;
pub use toc::Toc;

/// Most entries of one layer's list of files, pieces of large files included.
pub const MAX_ENTRIES: usize = 1_000_000;
/// Most octets of an unpacked table of contents. containers/storage has the same limit.
pub const MAX_TOC_LEN: u64 = 150 * 1024 * 1024;
/// Most octets that the names of one layer take together, folders that are only implied included.
pub const MAX_NAMES_LEN: usize = 256 * 1024 * 1024;
