//! The key-provider protocol over gRPC: one call with one message there and one back, each of one octet string.
//!
//! `keyprovider.KeyProviderService` has two unary methods, so this speaks gRPC itself, on HTTP/2 of the `h2` crate
//! (grpc.github.io, "gRPC over HTTP2"): every length has its limit, and neither a code generator nor a stack of services comes
//! along. Compression is never offered and not accepted. Each call has a connection of its own, as in ocicrypt.

mod client;
pub mod frame;
mod server;
mod target;
mod tls;

pub(crate) use client::call;
pub use server::{Listener, Note, ServerTls, serve};
pub use target::Target;

/// What is called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Method {
    Wrap,
    Unwrap,
}

impl Method {
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Wrap => "/keyprovider.KeyProviderService/WrapKey",
            Self::Unwrap => "/keyprovider.KeyProviderService/UnWrapKey",
        }
    }

    pub(crate) fn from_path(path: &str) -> Option<Self> {
        [Self::Wrap, Self::Unwrap]
            .into_iter()
            .find(|method| method.path() == path)
    }
}
