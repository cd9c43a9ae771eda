//! TLS for connections to key providers: who is trusted, and who we are.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use rustls_platform_verifier::Verifier;
use tokio::io::AsyncReadExt as _;
use zeroize::Zeroizing;

use crate::ProviderError;
use crate::config::TlsSettings;

/// Reads the files that the settings name.
pub(super) async fn client_config(settings: &TlsSettings) -> Result<ClientConfig, ProviderError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(refused)?;
    let builder = trusting(builder, provider, &settings.root_ca_file).await?;
    let is_given = |path: &Path| !path.as_os_str().is_empty();
    let mut config = match (is_given(&settings.cert_file), is_given(&settings.key_file)) {
        (false, false) => builder.with_no_client_auth(),
        (true, true) => {
            let chain = certificates(&settings.cert_file).await?;
            let key = read(&settings.key_file).await?;
            let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| ProviderError::Tls {
                reason: format!(
                    "`{}` holds no private key in PEM that is not encrypted",
                    settings.key_file.display()
                )
                .into(),
            })?;
            builder.with_client_auth_cert(chain, key).map_err(refused)?
        }
        _ => {
            return Err(ProviderError::Tls {
                reason: "`cert-file` and `key-file` go together".into(),
            });
        }
    };
    config.alpn_protocols = vec![H2.to_vec()];
    Ok(config)
}

/// The name that the server's certificate must have.
pub(super) fn server_name(
    settings: &TlsSettings,
    host: &str,
) -> Result<ServerName<'static>, ProviderError> {
    let name = match &*settings.server_name {
        "" => host,
        name => name,
    };
    ServerName::try_from(name.to_owned()).map_err(|_| ProviderError::Tls {
        reason: "the name of the server is neither a host's name nor an IP address".into(),
    })
}

/// The protocol that both sides must agree on (RFC 9113, section 3.3).
pub(super) const H2: &[u8] = b"h2";

/// Longest file of certificates or keys.
const MAX_FILE_LEN: u64 = 1024 * 1024;

type Verified = ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

async fn trusting(
    builder: ConfigBuilder<ClientConfig, rustls::WantsVerifier>,
    provider: Arc<CryptoProvider>,
    authorities: &Path,
) -> Result<Verified, ProviderError> {
    if authorities.as_os_str().is_empty() {
        let platform = Verifier::new(provider).map_err(refused)?;
        return Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(platform)));
    }
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authorities).await? {
        roots.add(certificate).map_err(refused)?;
    }
    Ok(builder.with_root_certificates(roots))
}

async fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ProviderError> {
    let octets = read(path).await?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&octets).collect();
    match found {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(ProviderError::Tls {
            reason: format!("`{}` holds no certificate in PEM", path.display()).into(),
        }),
    }
}

async fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, ProviderError> {
    let failed = |source| ProviderError::File {
        path: path.to_owned(),
        source,
    };
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut octets = Zeroizing::new(Vec::new());
    file.take(MAX_FILE_LEN)
        .read_to_end(&mut octets)
        .await
        .map_err(failed)?;
    Ok(octets)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "is handed to `map_err`, which gives values"
)]
fn refused(error: rustls::Error) -> ProviderError {
    ProviderError::Tls {
        reason: error.to_string().into(),
    }
}
