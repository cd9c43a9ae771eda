//! What must be asked of the operating system to keep secrets in memory and to know who calls, and how it likes to be asked.
//!
//! All of it goes through the safe calls of `memmap2` and `rustix`; what a system does not have is not there, except
//! [`LockedBytes`], which is everywhere and says what it could get.

mod buffer;
mod files;
mod locked_bytes;
#[cfg(unix)]
mod process;

pub use buffer::Buffer;
pub use files::will_read_in_order;
pub use locked_bytes::LockedBytes;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub use process::{PeerCredentials, peer_credentials};
#[cfg(unix)]
pub use process::{boottime, no_core_dumps, raise_open_files, take_standard_output};
