//! Sealed layers on standard input, plain layers on standard output.
//!
//! containerd starts one `sealift-decoder` per sealed layer and reads what it writes
//! ([stream processors](https://github.com/containerd/containerd/blob/main/docs/stream_processors.md)). It does not always
//! look at the exit status in time, so the program relies on more: only authenticated plaintext is written, and a layer
//! that fails is cut short, so that no runtime can take it for whole.
//!
//! The library holds what can be tested without a process: [`Payload`], key folders, the content store, and [`decode()`].

mod content_store;
mod decode;
mod error;
mod key_folder;
mod outlet;
mod payload;
mod spool;
mod wiped;

pub use content_store::{ContentStore, Descriptions};
pub use decode::{Horizon, Job, decode};
pub use error::DecodeError;
pub use key_folder::{Keys, MAX_CERTIFICATES, MAX_FOLDER_DEPTH, MAX_FOLDER_ENTRIES};
pub use payload::{LayerDescriptor, Payload, PayloadError};
pub use spool::{MAX_SPOOL_LEN, SPOOL_MEMORY};
pub use wiped::read_wiped;
