//! What the tests of all crates share; never a dependency of anything but tests.
//!
//! * [`registry`]: a registry on loopback that follows the distribution specification until a test scripts a fault.
//! * [`conformance`]: what the distribution specification demands of any registry, that one and others.
//! * [`image`]: images made in memory, right or wrong, for registries, layouts and archives.
//! * [`noise`]: octets that look random and are the same on every run.
//!
//! Everything here fails by panicking, as a test does, and nothing here uses the code under test: the test kit
//! depends on none of our crates.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test kit reports by panicking, like the tests that call it"
)]

pub mod conformance;
mod digest;
pub mod image;
mod noise;
pub mod registry;

pub use digest::{sha256, sha512};
pub use noise::noise;
