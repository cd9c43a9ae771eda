//! The nouns of OCI, and how a manifest is rewritten without losing a byte.
//!
//! Follows the OCI image specification v1.1 and the distribution specification v1.1. Everything here is pure: octets
//! in, values out. What is read from outside keeps its raw form, so that unknown members, their order and their
//! spelling survive an edit.

mod config;
mod descriptor;
mod digest;
mod document;
pub mod json;
mod media_type;
mod platform;
mod reference;

pub use config::Config;
pub use descriptor::Descriptor;
pub use digest::{Algorithm, DiffId, Digest, DigestError, Hasher};
pub use document::{
    Document, DocumentError, Index, MAX_DOCUMENT_LEN, MAX_ENTRIES, MAX_INDEX_NESTING, Manifest,
};
pub use media_type::{Compression, MediaType, MediaTypeError};
pub use platform::{Platform, PlatformError, WindowsBuild};
pub use reference::{Reference, ReferenceError};
