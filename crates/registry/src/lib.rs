//! How blobs and manifests move: registries, OCI layouts, archives.
//!
//! [`Transport`] opens a [`Source`] or a [`Sink`] for an [`ImageRef`]; both are blocking and stream. Whatever is read is
//! verified against its descriptor, whatever is written becomes visible whole or not at all. The client follows the
//! OCI distribution specification v1.1, the layouts the image specification v1.1 (`image-layout.md`).

mod answer;
mod archive_sink;
mod auth_file;
mod challenge;
mod client;
mod credentials;
mod docker_archive;
mod download;
mod error;
mod flusher;
mod holding;
mod hosts_toml;
mod http;
mod image_ref;
mod journal;
mod layout;
mod layout_index;
mod layout_sink;
mod link;
mod login;
mod manifest;
mod mirrors;
mod mount;
mod pages;
mod ranges;
mod rate;
mod referrers;
mod registries_conf;
mod remote;
mod resume;
mod retry;
mod routes;
mod secret;
mod sink;
mod source;
mod spool;
mod stream_upload;
mod tags;
mod tar_index;
mod tls;
mod traffic;
mod transport;
mod upload;

pub use auth_file::{AuthFile, AuthFileError, Place};
pub use challenge::{Challenge, ChallengeError};
pub use client::{Client, Options};
pub use credentials::{Credential, Credentials, Environment, HelperName};
pub use error::{Error, Failure, Mismatch};
pub use hosts_toml::{HostEntry, HostsToml, HostsTomlError};
pub use http::Proxies;
pub use image_ref::{ImageRef, ImageRefError, LayoutName};
pub use link::next_link;
pub use manifest::RawManifest;
pub use rate::RateLimit;
pub use registries_conf::{Location, Locations, RegistriesConf, RegistriesConfError};
pub use retry::RetryPolicy;
pub use routes::{Mirrors, Routes};
pub use secret::Secret;
pub use sink::{Begun, BlobWriter, Sink};
pub use source::{BlobCheck, BlobReader, MAX_PART_LEN, Source};
pub use tls::{ClientCertificate, Tls};
pub use traffic::Traffic;
pub use transport::Transport;
