//! How keys in PKCS #11 tokens unwrap layer keys.
//!
//! A module is a shared library of somebody else. It is loaded only if a list says so ([`Surroundings::policy`]), and
//! only into a process of its own ([`work`]): there it has the environment that its key file names, and if it crashes or
//! hangs, the caller gets an error. [`Tokens`] starts these processes, [`TokenIdentity`] is one private key,
//! [`Tokens::public_key`] reads a public one. What an element is, and how a key is named, is `sealift-keywrap`'s.

mod error;
mod identity;
mod module;
mod modules;
mod process;
mod protocol;
mod wire;
mod worker;

pub use error::TokenError;
pub use identity::{TokenIdentity, Tokens};
pub use modules::Surroundings;
pub use process::WorkerCommand;
pub use protocol::Caution;
pub use worker::work;
