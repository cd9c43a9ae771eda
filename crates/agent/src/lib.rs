//! The node's resident: connections to holders, leased keys, revocation feed.
//!
//! Decoders and the command line ask it over a Unix socket ([`protocol`], [`AgentIdentity`]); it asks the key holders, for all
//! layers of an image at once, and keeps what they release in memory no longer than the lease. The resident itself is behind
//! the feature `server`; without it this crate is small, blocking, and has no network code.

mod client;
pub mod protocol;
#[cfg(all(unix, feature = "server"))]
pub mod server;

pub use client::{AgentIdentity, AskError, one_question};
