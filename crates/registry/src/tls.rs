//! Whom we trust over TLS, and how we show who we are.
//!
//! Trusted are the platform's authorities and those that were given. A given certificate is also trusted when the
//! server itself shows exactly it: registries are commonly set up with one self-signed certificate, which says of
//! itself that it is an authority and which a strict path builder would refuse as a server's.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_platform_verifier::Verifier;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use zeroize::Zeroizing;

use crate::error::Error;

/// How servers are trusted, and how we prove who we are to them.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Tls {
    /// Certificates in PEM, trusted beside the platform's authorities.
    pub authorities: Vec<PathBuf>,
    /// Our own certificate. Shown to the registry and the token service it names, never to the target of a redirect.
    pub client: Option<ClientCertificate>,
}

/// A client certificate on disk.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ClientCertificate {
    /// The chain, in PEM.
    pub chain: PathBuf,
    /// The private key, in PEM, not encrypted.
    pub key: PathBuf,
}

/// Whether a server must prove who it is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Verification {
    Full,
    /// A configuration file said that anybody will do.
    Skipped,
}

/// Whether the client certificate is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Identify {
    Yes,
    No,
}

impl Tls {
    /// Returns whether anything was asked for.
    pub(crate) fn is_given(&self) -> bool {
        !self.authorities.is_empty() || self.client.is_some()
    }

    pub(crate) fn config(
        &self,
        identify: Identify,
        verification: Verification,
    ) -> Result<ClientConfig, Error> {
        let mut given = Vec::new();
        for path in &self.authorities {
            given.extend(certificates(path)?);
        }
        let refuse =
            |error: rustls::Error| Error::malformed("TLS configuration", error.to_string());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let platform = Verifier::new_with_extra_roots(given.iter().cloned(), Arc::clone(&provider))
            .map_err(refuse)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(refuse)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(GivenOr {
                given,
                platform,
                verification,
            }));
        let mut config = match self.client.as_ref().filter(|_| identify == Identify::Yes) {
            None => builder.with_no_client_auth(),
            Some(client) => builder
                .with_client_auth_cert(certificates(&client.chain)?, private_key(&client.key)?)
                .map_err(|error| {
                    let what = format!("client certificate `{}`", client.chain.display());
                    Error::malformed(what, error.to_string())
                })?,
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// Trusts a server that shows a given certificate, and leaves every other to the platform's rules.
#[derive(Debug)]
struct GivenOr {
    given: Vec<CertificateDer<'static>>,
    platform: Verifier,
    verification: Verification,
}

impl ServerCertVerifier for GivenOr {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.verification == Verification::Skipped {
            return Ok(ServerCertVerified::assertion());
        }
        if self.given.iter().any(|given| given == end_entity) {
            check_validity(end_entity, now)?;
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        self.platform
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.platform
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.platform
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.platform.supported_verify_schemes()
    }
}

/// Checks the dates, which nobody else does for a certificate that needs no issuer.
fn check_validity(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), rustls::Error> {
    let parsed = Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let validity = parsed.tbs_certificate().validity();
    let now = now.as_secs();
    if now < validity.not_before.to_unix_duration().as_secs() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > validity.not_after.to_unix_duration().as_secs() {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = read(path)?;
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    parsed
        .ok()
        .filter(|certificates| !certificates.is_empty())
        .ok_or_else(|| {
            Error::malformed(
                format!("`{}`", path.display()),
                "it holds no certificate in PEM",
            )
        })
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|_| {
        Error::malformed(
            format!("`{}`", path.display()),
            "it holds no private key in PEM, or an encrypted one",
        )
    })
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let file = std::fs::File::open(path).map_err(Error::io("read", path))?;
    let mut pem = Zeroizing::new(Vec::new());
    file.take(MAX_PEM_LEN)
        .read_to_end(&mut pem)
        .map_err(Error::io("read", path))?;
    Ok(pem)
}

const MAX_PEM_LEN: u64 = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// What `openssl req -x509` makes; see `testdata/README.md`.
    const SELF_SIGNED: &str = include_str!("../testdata/self_signed.pem");

    fn verdict(
        certificate: &CertificateDer<'static>,
        name: &str,
        now: u64,
        trusted: bool,
    ) -> Result<(), rustls::Error> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, SELF_SIGNED.as_bytes()).unwrap();
        let given = if trusted {
            certificates(file.path()).unwrap()
        } else {
            Vec::new()
        };
        let other = sealift_testkit::registry::tls::CA.as_bytes();
        let other = CertificateDer::from_pem_slice(other).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let platform =
            Verifier::new_with_extra_roots(given.iter().cloned().chain([other]), provider).unwrap();
        let verifier = GivenOr {
            given,
            platform,
            verification: Verification::Full,
        };
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now));
        verifier
            .verify_server_cert(certificate, &[], &name, &[], now)
            .map(|_| ())
    }

    #[test]
    fn a_given_certificate_is_good_for_its_names_and_its_time_only() {
        let certificate = CertificateDer::from_pem_slice(SELF_SIGNED.as_bytes()).unwrap();
        let parsed = Certificate::from_der(&certificate).unwrap();
        let validity = parsed.tbs_certificate().validity();
        let first = validity.not_before.to_unix_duration().as_secs();
        let last = validity.not_after.to_unix_duration().as_secs();
        assert_eq!(verdict(&certificate, "localhost", first, true), Ok(()));
        assert_eq!(verdict(&certificate, "127.0.0.1", last, true), Ok(()));
        let refused = |error: CertificateError| Err(rustls::Error::InvalidCertificate(error));
        assert_eq!(
            verdict(&certificate, "localhost", first - 1, true),
            refused(CertificateError::NotValidYet)
        );
        assert_eq!(
            verdict(&certificate, "localhost", last + 1, true),
            refused(CertificateError::Expired)
        );
        for name in ["registry.example", "127.0.0.2"] {
            let refusal = verdict(&certificate, name, first, true).unwrap_err();
            assert!(
                matches!(
                    refusal,
                    rustls::Error::InvalidCertificate(
                        CertificateError::NotValidForName
                            | CertificateError::NotValidForNameContext { .. }
                    )
                ),
                "{refusal:?}"
            );
        }
        let refusal = verdict(&certificate, "localhost", first, false).unwrap_err();
        assert!(
            matches!(refusal, rustls::Error::InvalidCertificate(_)),
            "{refusal:?}"
        );
    }
}
