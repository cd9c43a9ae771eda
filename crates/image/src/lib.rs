//! How a whole image is sealed, opened, copied, inspected and verified, and how single files are read out of it.
//!
//! Joins the pure crates below with a [`Source`](sealift_registry::Source) and a [`Sink`](sealift_registry::Sink).
//! Everything is synchronous and runs on threads of its own: never call it on an async worker. What happens is told to
//! a [`Progress`]; nothing here knows a terminal.

mod attached;
mod blob;
mod copy;
mod crew;
mod error;
mod files;
mod inspect;
mod open;
mod opening;
mod outcome;
mod output;
mod progress;
mod pump;
mod restore;
mod rewrap;
mod ring;
mod seal;
mod selection;
mod signed;
mod tree;
mod verify;
mod wanted;
mod work;

pub use attached::{Attached, Attachment, attachments};
pub use copy::Copy;
pub use error::{ImageError, Kind};
pub use files::{Depth, FileEntry, Files, LayerUse, OnePlatform, WholeReason};
pub use inspect::{
    InspectedCertificate, InspectedLayer, InspectedManifest, InspectedRecipient, Inspection,
    inspect,
};
pub use open::Open;
pub use opening::Identities;
pub use outcome::{Outcome, Plan, PlannedLayer};
pub use progress::{Action, Event, Progress, Silent};
pub use rewrap::{Change, Embedded, Place, Rewrap};
pub use seal::{
    Attestations, LazyPullAnnotations, Metadata, OriginalManifest, Seal, Signatures, SourceCheck,
};
pub use selection::Selection;
pub use signed::Signed;
pub use verify::Verify;
pub use wanted::{wrapped_keys, wrapped_keys_of};
