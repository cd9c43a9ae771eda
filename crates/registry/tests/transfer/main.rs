//! Images on the move: between registries that misbehave, layouts and archives.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod docker_registry;
mod faults;
mod lab;
mod local;
mod login;
mod mirrors;
mod mount;
mod pull;
mod push;
mod referrers;
mod resume;
