//! The binaries against the world: real programs on both sides, driven the way people drive them.
//!
//! The library is the laboratory (scratch folders, keys, registries, containerd, a CRI client); the experiments are in
//! `tests/`. Programs are started through `scripts/peers/`, which the demonstration uses too. The binaries under test are looked
//! for in `$SEALIFT_BIN_DIR`, else in the workspace's `target/debug`.
//!
//! A test whose peer is missing fails under `CI=true`. Elsewhere it says so loudly and returns.
#![cfg(target_os = "linux")]
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "test support: a panic is how a test fails"
)]

pub mod command;
pub mod containerd;
pub mod cri;
pub mod disk;
pub mod gpg;
pub mod holders;
pub mod keys;
pub mod lab;
pub mod layout;
pub mod registry;
mod tiny;

pub use command::Outcome;
pub use lab::Lab;
pub use layout::{Image, Layout};
