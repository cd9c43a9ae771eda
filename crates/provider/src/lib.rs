//! ocicrypt key providers: keys in other processes that wrap and unwrap layer keys.
//!
//! [`Providers`] knows the configured ones and makes a [`ProviderRecipient`] or a [`ProviderIdentity`] of each that somebody
//! names. A provider is a program that is started for each call, or a gRPC service. It is told what it needs and nothing else:
//! the layer key that it is to wrap or the element that it is to unwrap, and the parameters that were given for it.

pub mod config;
mod error;
mod exec;
mod grpc;
pub mod message;
mod name;
mod providers;
mod server;

use zeroize::Zeroizing;

pub use config::{Config, ConfigError, Transport};
pub use error::{GrpcCode, ProviderError, Said};
pub use grpc::frame;
pub use grpc::{Listener, Note, ServerTls, Target, serve};
pub use name::ProviderName;
pub use providers::{CallOptions, ProviderIdentity, ProviderRecipient, Providers};
pub use server::{KeyServer, ServeError};

/// What a provider answered, and what it said beside.
struct Answer {
    octets: Zeroizing<Vec<u8>>,
    said: Said,
}
