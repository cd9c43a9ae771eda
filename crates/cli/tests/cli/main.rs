//! The built binary, as its users meet it.
#![cfg(test)]

mod attached;
mod bad_input;
mod certificates;
#[cfg(target_os = "linux")]
mod deployment;
mod help;
mod holders;
mod image_files;
mod interrupt;
#[cfg(target_os = "linux")]
mod key_holders;
mod keygen;
#[cfg(target_os = "linux")]
mod killed;
mod killed_transfer;
#[cfg(target_os = "linux")]
mod master_key;
mod mirrors;
mod node;
mod openpgp;
mod output;
mod pipelines;
#[cfg(unix)]
mod prompt;
#[cfg(unix)]
mod providers;
#[cfg(target_os = "linux")]
mod quorum;
mod recipients;
mod registry;
mod seal_config;
mod tool;
mod transfer;
mod trust;
mod xwing;
