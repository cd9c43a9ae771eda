//! The registry speaks TLS, and asks for a certificate where it should.
#![expect(clippy::unwrap_used, reason = "a test's own client")]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sealift_testkit::registry::{Effect, Fault, Options, Registry, RunningRegistry, Tls, tls};

fn serve(mode: Tls) -> RunningRegistry {
    Registry::start(Options {
        tls: mode,
        ..Options::default()
    })
}

fn connect(
    registry: &RunningRegistry,
    name: &'static str,
    with_certificate: bool,
) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(tls::CA.as_bytes()).unwrap())
        .unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = if with_certificate {
        let chain = vec![CertificateDer::from_pem_slice(tls::CLIENT.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(tls::CLIENT_KEY.as_bytes()).unwrap();
        builder.with_client_auth_cert(chain, key).unwrap()
    } else {
        builder.with_no_client_auth()
    };
    let name = ServerName::try_from(name).unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(session, TcpStream::connect(registry.addr()).unwrap())
}

/// Asks for `/v2/` under the name `name`; `None` when there was no answer.
fn ask(mode: Tls, name: &'static str, with_certificate: bool) -> Option<String> {
    let registry = serve(mode);
    let mut stream = connect(&registry, name, with_certificate);
    stream
        .write_all(b"GET /v2/ HTTP/1.1\r\nConnection: close\r\n\r\n")
        .ok()?;
    let mut first = [0; 15];
    stream.read_exact(&mut first).ok()?;
    Some(String::from_utf8(first.to_vec()).unwrap())
}

#[test]
fn answers_over_tls_under_each_name_of_loopback() {
    for name in ["localhost", "127.0.0.1", "::1"] {
        assert_eq!(
            ask(Tls::On, name, false).as_deref(),
            Some("HTTP/1.1 200 OK"),
            "{name}"
        );
    }
}

#[test]
fn is_reset_within_a_record_when_scripted() {
    let registry = serve(Tls::On);
    let digest = registry.put_blob("a", &[b'x'; 10_000]);
    registry.set_fault(Fault::new(Effect::ResetAfter(100)));
    let mut stream = connect(&registry, "localhost", false);
    let head = format!("GET /v2/a/blobs/{digest} HTTP/1.1\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let error = stream.read_to_end(&mut answer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    // The head was a record of its own; of the body's nothing can be read.
    assert!(answer.ends_with(b"\r\n\r\n"), "{answer:?}");
}

#[test]
fn has_no_certificate_for_another_name() {
    assert_eq!(ask(Tls::On, "example.com", false), None);
}

#[test]
fn asks_for_a_client_certificate() {
    assert_eq!(ask(Tls::Mutual, "localhost", false), None);
    assert_eq!(
        ask(Tls::Mutual, "localhost", true).as_deref(),
        Some("HTTP/1.1 200 OK")
    );
}
