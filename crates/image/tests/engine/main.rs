//! Layers on their way through the engine: whatever their length, the number of threads, and whoever fails.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod faults;
mod lab;
mod lengths;
mod sealed_digest;
mod workshop;
