//! Certificates for a registry with TLS, as PEM. The private keys are public: they protect nothing.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

use super::options::Tls;

/// The authority that issued the others.
pub const CA: &str = include_str!("tls_files/ca.crt");
/// The registry's certificate.
pub const SERVER: &str = include_str!("tls_files/server.crt");
/// A certificate that [`Tls::Mutual`] accepts.
pub const CLIENT: &str = include_str!("tls_files/client.crt");
/// The private key of [`CLIENT`], PKCS #8.
pub const CLIENT_KEY: &str = include_str!("tls_files/client.key");

const SERVER_KEY: &str = include_str!("tls_files/server.key");

/// Returns how to serve, or `None` for plain HTTP.
pub(super) fn server_config(tls: Tls) -> Option<Arc<ServerConfig>> {
    if tls == Tls::Off {
        return None;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match tls {
        Tls::Mutual => {
            let mut roots = RootCertStore::empty();
            roots.add(certificate(CA)).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
        Tls::Off | Tls::On => builder.with_no_client_auth(),
    };
    let key = PrivateKeyDer::from_pem_slice(SERVER_KEY.as_bytes()).unwrap();
    let config = builder.with_single_cert(vec![certificate(SERVER)], key);
    Some(Arc::new(config.unwrap()))
}

fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}
