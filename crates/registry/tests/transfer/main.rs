//! Images on the move: between registries that misbehave, layouts and archives.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[cfg(target_os = "linux")]
mod docker_registry;
mod faults;
mod lab;
mod local;
mod login;
mod mirrors;
mod mount;
mod parts;
#[cfg(target_os = "linux")]
mod peers;
mod places;
mod pull;
mod push;
mod referrers;
mod relay;
mod resume;
mod streamed;
mod suite;
