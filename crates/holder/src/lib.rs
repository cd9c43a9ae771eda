//! The regional key holder: wire types, client, and with feature `server` the service itself.

use std::sync::Arc;

pub mod audit_row;
pub mod certificate;
pub mod client;
pub mod command;
pub mod deployment;
pub mod descriptor;
pub mod dsse;
pub mod identity;
pub mod keys;
pub mod names;
mod octets;
pub mod request;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod setup;
pub mod statement;
pub mod tls;
pub mod wire;

pub use octets::Octets;

/// Unix milliseconds now. Only programs read a clock; everything here is handed one.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;
