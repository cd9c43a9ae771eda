//! TLS between nodes, operators and holders: version 1.3 only, both sides known by certificate, no resumption.
//!
//! A session is never resumed, so that every connection is judged by the trust of its own day; 0-RTT is off.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError as TlsCertificateError, ClientConfig, DigitallySignedStruct,
    DistinguishedName, Error as TlsError, RootCertStore, ServerConfig, SignatureScheme,
};
use thiserror::Error;

use crate::Clock;
use crate::certificate::{self, Certificate, Validity};
use crate::keys::{PublicKey, SigningKey};
use crate::names::Name;

/// Who is on the other side of a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Peer {
    /// The name in its certificate.
    pub name: Name,
    /// Its key.
    pub key: PublicKey,
    /// When its certificate holds.
    pub validity: Validity,
}

/// Whom a holder believes: authorities, the homes of nodes, registered operators.
///
/// An authority is believed only for its own holder and for nodes whose home that holder is.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    authorities: Vec<(String, Arc<dyn ClientCertVerifier>)>,
    homes: BTreeMap<String, String>,
    operators: BTreeMap<PublicKey, String>,
}

impl Trust {
    /// Believes the authorities in `pem` (one, or two while it changes) for the holder `holder` and nodes at home there.
    ///
    /// # Errors
    /// [`TlsConfigError::Authority`] when the text is no certificate of an authority.
    pub fn add_authority(&mut self, holder: &str, pem: &str) -> Result<(), TlsConfigError> {
        let verifier = WebPkiClientVerifier::builder_with_provider(roots(holder, pem)?, provider())
            .build()
            .map_err(|_| TlsConfigError::Authority {
                holder: holder.into(),
            })?;
        self.authorities.push((holder.to_owned(), verifier));
        Ok(())
    }

    /// Says at which holder a node is at home.
    pub fn set_home(&mut self, node: &str, holder: &str) {
        self.homes.insert(node.to_owned(), holder.to_owned());
    }

    /// Registers an operator's key under the operator's name.
    pub fn add_operator(&mut self, key: PublicKey, name: &str) {
        self.operators.insert(key, name.to_owned());
    }

    /// Says who presents these certificates; `now` in Unix seconds.
    ///
    /// A server asks this in the handshake and again for each request: trust and time may have moved on.
    ///
    /// # Errors
    /// What rustls is to tell the other side.
    pub fn identify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: u64,
    ) -> Result<Peer, TlsError> {
        let Certificate {
            name,
            key,
            validity,
        } = read(end_entity)?;
        let at = UnixTime::since_unix_epoch(Duration::from_secs(validity.instant(now)));
        let authority = match &name {
            Name::Operator(operator) => {
                // Self-signed: whoever completes the handshake has the key, and the key is what is registered.
                if self.operators.get(&key) != Some(operator) {
                    return Err(TlsCertificateError::UnknownIssuer.into());
                }
                if now > validity.not_after {
                    return Err(TlsCertificateError::Expired.into());
                }
                if !validity.contains(now) {
                    return Err(TlsCertificateError::NotValidYet.into());
                }
                return Ok(Peer {
                    name,
                    key,
                    validity,
                });
            }
            Name::Holder(holder) => Some(holder),
            Name::Node(node) => self.homes.get(&node.name),
        };
        let mut result = Err(TlsCertificateError::UnknownIssuer.into());
        for (_, verifier) in self
            .authorities
            .iter()
            .filter(|(holder, _)| Some(holder) == authority)
        {
            result = verifier.verify_client_cert(end_entity, intermediates, at);
            if result.is_ok() {
                break;
            }
        }
        result.map(|_| Peer {
            name,
            key,
            validity,
        })
    }
}

/// The trust in force; replaced as a whole.
pub type SharedTrust = Arc<ArcSwap<Trust>>;

/// The certificate chain and key this side shows; replaced without a restart.
#[derive(Debug, Default)]
pub struct Credential(ArcSwapOption<CertifiedKey>);

impl Credential {
    /// Shows nothing: for enrolment only.
    pub fn none() -> Arc<Self> {
        Arc::default()
    }

    /// Takes a chain, leaf first, and its key.
    ///
    /// # Errors
    /// As [`replace`](Self::replace).
    pub fn new(chain_pem: &str, key: &SigningKey) -> Result<Arc<Self>, TlsConfigError> {
        let credential = Self::none();
        credential.replace(chain_pem, key)?;
        Ok(credential)
    }

    /// Reads a chain, leaf first, and its key from PEM.
    ///
    /// # Errors
    /// As [`replace`](Self::replace).
    pub fn from_pem(chain_pem: &str, key_pem: &str) -> Result<Arc<Self>, TlsConfigError> {
        let key = SigningKey::from_pem(key_pem).map_err(|_| TlsConfigError::Credential)?;
        Self::new(chain_pem, &key)
    }

    /// Shows another chain from the next handshake on.
    ///
    /// # Errors
    /// [`TlsConfigError::Credential`] when the leaf is unreadable or belongs to another key; then nothing changes.
    pub fn replace(&self, chain_pem: &str, key: &SigningKey) -> Result<(), TlsConfigError> {
        let chain =
            certificate::chain_from_pem(chain_pem).map_err(|_| TlsConfigError::Credential)?;
        let leaf = Certificate::from_pem(chain_pem).map_err(|_| TlsConfigError::Credential)?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.expose_pkcs8()));
        let signer =
            aws_lc_rs::sign::any_ecdsa_type(&der).map_err(|_| TlsConfigError::Credential)?;
        if leaf.key != *key.public() {
            return Err(TlsConfigError::Credential);
        }
        self.0
            .store(Some(Arc::new(CertifiedKey::new(chain, signer))));
        Ok(())
    }
}

impl ResolvesServerCert for Credential {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

impl ResolvesClientCert for Credential {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }

    fn has_certs(&self) -> bool {
        self.0.load().is_some()
    }
}

/// Configures the service of a holder. A client may show no certificate: then it may enrol and nothing else.
///
/// # Errors
/// [`TlsConfigError::Provider`] when the cryptographic library cannot do TLS 1.3.
pub fn server_config(
    credential: Arc<Credential>,
    trust: SharedTrust,
    clock: Clock,
) -> Result<ServerConfig, TlsConfigError> {
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(ClockTime(clock)))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|_| TlsConfigError::Provider)?
        .with_client_cert_verifier(Arc::new(Clients { trust }))
        .with_cert_resolver(credential);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// Configures connections to the holder `holder`, whose authorities are in `ca_pem`, and to nobody else.
///
/// # Errors
/// [`TlsConfigError::Authority`] when `ca_pem` is unreadable, [`TlsConfigError::Provider`].
pub fn client_config(
    holder: &str,
    ca_pem: &str,
    credential: Arc<Credential>,
    clock: Clock,
) -> Result<ClientConfig, TlsConfigError> {
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(holder, ca_pem)?, provider())
        .build()
        .map_err(|_| TlsConfigError::Authority {
            holder: holder.into(),
        })?;
    let server = Service {
        name: Name::Holder(holder.to_owned()),
        verifier,
    };
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(ClockTime(clock)))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|_| TlsConfigError::Provider)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(server))
        .with_client_cert_resolver(credential);
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}

/// Why TLS could not be set up.
#[derive(Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum TlsConfigError {
    /// Not certificates of an authority.
    #[error("authority of key holder `{holder}` is unreadable")]
    Authority {
        /// Whose.
        holder: Box<str>,
    },
    /// Chain and key do not belong together, or one is unreadable.
    #[error("certificate and key do not belong together")]
    Credential,
    /// The cryptographic library cannot do TLS 1.3.
    #[error("TLS 1.3 is not available")]
    Provider,
}

/// Verifies clients of a holder.
struct Clients {
    trust: SharedTrust,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clients")
    }
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        let trust = self.trust.load();
        trust
            .identify(end_entity, intermediates, now.as_secs())
            .map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(TlsCertificateError::BadSignature.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_handshake(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// Verifies that a server is one particular holder.
#[derive(Debug)]
struct Service {
    name: Name,
    verifier: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Service {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let leaf = read(end_entity)?;
        if leaf.name != self.name {
            return Err(TlsCertificateError::NotValidForName.into());
        }
        let at =
            UnixTime::since_unix_epoch(Duration::from_secs(leaf.validity.instant(now.as_secs())));
        self.verifier
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, at)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(TlsCertificateError::BadSignature.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_handshake(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

struct ClockTime(Clock);

impl fmt::Debug for ClockTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClockTime")
    }
}

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(
            Duration::from_millis((self.0)()),
        ))
    }
}

/// The library's primitives, the hybrid key agreement first whatever the library's own order is.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: vec![
            aws_lc_rs::kx_group::X25519MLKEM768,
            aws_lc_rs::kx_group::X25519,
            aws_lc_rs::kx_group::SECP256R1,
        ],
        ..aws_lc_rs::default_provider()
    })
}

fn roots(holder: &str, pem: &str) -> Result<Arc<RootCertStore>, TlsConfigError> {
    let unreadable = || TlsConfigError::Authority {
        holder: holder.into(),
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificate::chain_from_pem(pem).map_err(|_| unreadable())? {
        roots.add(certificate).map_err(|_| unreadable())?;
    }
    Ok(Arc::new(roots))
}

fn read(end_entity: &CertificateDer<'_>) -> Result<Certificate, TlsError> {
    Certificate::from_der(end_entity).map_err(|_| TlsCertificateError::BadEncoding.into())
}

fn verify_handshake(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, TlsError> {
    rustls::crypto::verify_tls13_signature(
        message,
        certificate,
        signature,
        &aws_lc_rs::default_provider().signature_verification_algorithms,
    )
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use rustls::{AlertDescription, ClientConnection, ServerConnection};

    use super::*;
    use crate::certificate::{Authority, NODE_LIFETIME, operator};
    use crate::names::NodeName;

    const NOW: u64 = 1_800_000_000;

    fn clock(seconds: u64) -> Clock {
        Arc::new(move || seconds * 1000)
    }

    /// A holder with its authority.
    struct Site {
        name: &'static str,
        ca: SigningKey,
        ca_pem: String,
        service: SigningKey,
    }

    impl Site {
        fn new(name: &'static str) -> Self {
            let (ca, service) = (
                SigningKey::generate().unwrap(),
                SigningKey::generate().unwrap(),
            );
            let ca_pem = Authority::certificate(name, &ca, Validity::from(NOW, 1_000_000)).unwrap();
            Self {
                name,
                ca,
                ca_pem,
                service,
            }
        }

        fn service_as(&self, name: &str) -> Arc<Credential> {
            let authority = Authority::new(self.name, &self.ca).unwrap();
            let pem = authority
                .service(
                    name,
                    &["127.0.0.1", "holder.example"],
                    self.service.public(),
                    Validity::from(NOW, 1000),
                )
                .unwrap();
            Credential::new(&pem, &self.service).unwrap()
        }

        fn node(&self, key: &SigningKey, validity: Validity) -> Arc<Credential> {
            let name = NodeName::new("tokyo-7", "r", "z", "JP").unwrap();
            let authority = Authority::new(self.name, &self.ca).unwrap();
            Credential::new(&authority.node(&name, key.public(), validity).unwrap(), key).unwrap()
        }
    }

    /// Lets both sides talk until nothing is left to say.
    fn handshake(
        client: ClientConfig,
        server: ServerConfig,
        host: &str,
    ) -> Result<(ClientConnection, ServerConnection), TlsError> {
        let host = ServerName::try_from(host.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::new(client), host).unwrap();
        let mut server = ServerConnection::new(Arc::new(server)).unwrap();
        while client.wants_write() || server.wants_write() {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            let mut octets = &wire[..];
            while !octets.is_empty() {
                server.read_tls(&mut octets).unwrap();
                server.process_new_packets()?;
            }
            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            let mut octets = &wire[..];
            while !octets.is_empty() {
                client.read_tls(&mut octets).unwrap();
                client.process_new_packets()?;
            }
        }
        assert!(!client.is_handshaking() && !server.is_handshaking());
        Ok((client, server))
    }

    /// Connects to `fra` with `credential`, `fra` having `trust`.
    fn connect(
        fra: &Site,
        credential: Arc<Credential>,
        trust: Trust,
        now: u64,
    ) -> Result<ServerConnection, TlsError> {
        let client = client_config("fra", &fra.ca_pem, credential, clock(now)).unwrap();
        let trust = Arc::new(ArcSwap::from_pointee(trust));
        let server = server_config(fra.service_as("fra"), trust, clock(now)).unwrap();
        handshake(client, server, "127.0.0.1").map(|(client, server)| {
            assert_eq!(client.alpn_protocol(), Some(&b"h2"[..]));
            assert_eq!(
                client.protocol_version(),
                Some(rustls::ProtocolVersion::TLSv1_3)
            );
            let group = client.negotiated_key_exchange_group().unwrap();
            assert_eq!(group.name(), rustls::NamedGroup::X25519MLKEM768);
            assert_eq!(client.tls13_tickets_received(), 0);
            server
        })
    }

    fn refusal(result: Result<ServerConnection, TlsError>) -> TlsCertificateError {
        match result.unwrap_err() {
            TlsError::InvalidCertificate(error) => error,
            error => panic!("{error:?}"),
        }
    }

    fn trusting(site: &Site, holder: &str) -> Trust {
        let mut trust = Trust::default();
        trust.add_authority(holder, &site.ca_pem).unwrap();
        trust.set_home("tokyo-7", holder);
        trust
    }

    #[test]
    fn who_has_no_certificate_may_connect() {
        let fra = Site::new("fra");
        let server = connect(&fra, Credential::none(), Trust::default(), NOW).unwrap();
        assert_eq!(server.peer_certificates(), None);
    }

    #[test]
    fn an_operator_is_believed_by_key_and_name() {
        let (fra, alice) = (Site::new("fra"), SigningKey::generate().unwrap());
        let own = |name: &str| {
            Credential::new(
                &operator(name, &alice, Validity::from(NOW, 60)).unwrap(),
                &alice,
            )
            .unwrap()
        };
        let mut trust = Trust::default();
        trust.add_operator(alice.public().clone(), "alice");
        let server = connect(&fra, own("alice"), trust.clone(), NOW).unwrap();
        let chain = server.peer_certificates().unwrap();
        let peer = trust.identify(&chain[0], &chain[1..], NOW).unwrap();
        assert_eq!(peer.name, Name::Operator("alice".into()));
        assert_eq!(peer.key, *alice.public());

        assert_eq!(
            refusal(connect(&fra, own("bob"), trust.clone(), NOW)),
            TlsCertificateError::UnknownIssuer
        );
        assert_eq!(
            refusal(connect(&fra, own("alice"), Trust::default(), NOW)),
            TlsCertificateError::UnknownIssuer
        );
        let at = |now| {
            trust
                .identify(&chain[0], &[], now)
                .map(|peer| peer.name.short().to_owned())
        };
        let beginning = NOW - certificate::BACK_DATED;
        assert_eq!(at(NOW + 60), Ok("alice".to_owned()));
        assert_eq!(at(NOW + 61), Err(TlsCertificateError::Expired.into()));
        assert_eq!(at(beginning - 2), Ok("alice".to_owned()));
        assert_eq!(
            at(beginning - 3),
            Err(TlsCertificateError::NotValidYet.into())
        );
    }

    #[test]
    fn a_node_is_believed_on_the_word_of_its_home_only() {
        let (fra, gru, node) = (
            Site::new("fra"),
            Site::new("gru"),
            SigningKey::generate().unwrap(),
        );
        let validity = Validity::from(NOW, NODE_LIFETIME);
        let trust = trusting(&fra, "fra");
        let server = connect(&fra, fra.node(&node, validity), trust.clone(), NOW).unwrap();
        let chain = server.peer_certificates().unwrap();
        assert_eq!(
            trust.identify(&chain[0], &[], NOW).unwrap().name.subject(),
            "node:tokyo-7"
        );

        // Its twin from another holder's authority.
        let mut both = trust.clone();
        both.add_authority("gru", &gru.ca_pem).unwrap();
        assert_eq!(
            refusal(connect(&fra, gru.node(&node, validity), both, NOW)),
            TlsCertificateError::UnknownIssuer
        );
        // A node that nobody admitted.
        let mut unknown = Trust::default();
        unknown.add_authority("fra", &fra.ca_pem).unwrap();
        assert_eq!(
            refusal(connect(&fra, fra.node(&node, validity), unknown, NOW)),
            TlsCertificateError::UnknownIssuer
        );
    }

    #[test]
    fn a_nodes_certificate_begins_tolerantly_and_ends_strictly() {
        let (fra, node) = (Site::new("fra"), SigningKey::generate().unwrap());
        let at = |not_before: u64, not_after: u64| {
            let credential = fra.node(
                &node,
                Validity {
                    not_before,
                    not_after,
                },
            );
            connect(&fra, credential, trusting(&fra, "fra"), NOW)
        };
        for (not_before, not_after) in [
            (NOW, NOW),
            (NOW - 1, NOW),
            (NOW + 1, NOW + 9),
            (NOW + 2, NOW + 9),
        ] {
            assert!(
                at(not_before, not_after).is_ok(),
                "{not_before} to {not_after}"
            );
        }
        assert!(matches!(
            refusal(at(NOW + 3, NOW + 9)),
            TlsCertificateError::NotValidYet | TlsCertificateError::NotValidYetContext { .. }
        ));
        assert!(matches!(
            refusal(at(NOW - 9, NOW - 1)),
            TlsCertificateError::Expired | TlsCertificateError::ExpiredContext { .. }
        ));
    }

    #[test]
    fn a_holder_cannot_be_another() {
        let (fra, gru) = (Site::new("fra"), Site::new("gru"));
        let trust = Arc::new(ArcSwap::from_pointee(Trust::default()));
        let dial = |ca: &Site, shows: Arc<Credential>, host: &str| {
            let client = client_config("fra", &ca.ca_pem, Credential::none(), clock(NOW)).unwrap();
            let server = server_config(shows, Arc::clone(&trust), clock(NOW)).unwrap();
            handshake(client, server, host).map(|_| ())
        };
        assert_eq!(dial(&fra, fra.service_as("fra"), "holder.example"), Ok(()));
        // Another holder's authority says it is fra.
        assert_eq!(
            dial(&fra, gru.service_as("fra"), "127.0.0.1"),
            Err(TlsCertificateError::UnknownIssuer.into())
        );
        // The right authority, another name.
        assert_eq!(
            dial(&fra, fra.service_as("gru"), "127.0.0.1"),
            Err(TlsCertificateError::NotValidForName.into())
        );
        // A node of fra's is no service.
        let node = SigningKey::generate().unwrap();
        assert_eq!(
            dial(&fra, fra.node(&node, Validity::from(NOW, 60)), "127.0.0.1"),
            Err(TlsCertificateError::NotValidForName.into())
        );
        assert!(matches!(
            dial(&fra, fra.service_as("fra"), "127.0.0.2"),
            Err(TlsError::InvalidCertificate(
                TlsCertificateError::NotValidForNameContext { .. }
            ))
        ));
        // As a client, a holder is believed on its own authority only.
        let peers = |holder: &str, site: &Site| {
            let mut trust = Trust::default();
            trust.add_authority(holder, &site.ca_pem).unwrap();
            trust
        };
        let own = connect(&fra, gru.service_as("gru"), peers("gru", &gru), NOW).unwrap();
        assert_eq!(own.peer_certificates().map(<[_]>::len), Some(1));
        assert_eq!(
            refusal(connect(
                &fra,
                gru.service_as("nrt"),
                peers("gru", &gru),
                NOW
            )),
            TlsCertificateError::UnknownIssuer
        );
    }

    #[test]
    fn only_version_1_3_is_spoken() {
        let fra = Site::new("fra");
        let trust = Arc::new(ArcSwap::from_pointee(Trust::default()));
        let server = server_config(fra.service_as("fra"), trust, clock(NOW)).unwrap();
        let old = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_root_certificates(roots("fra", &fra.ca_pem).unwrap())
            .with_no_client_auth();
        let error = handshake(old, server, "127.0.0.1").unwrap_err();
        assert!(
            matches!(
                error,
                TlsError::PeerIncompatible(_)
                    | TlsError::AlertReceived(AlertDescription::ProtocolVersion)
            ),
            "{error:?}"
        );
    }

    #[test]
    fn a_chain_goes_with_its_own_key() {
        let (one, other) = (
            SigningKey::generate().unwrap(),
            SigningKey::generate().unwrap(),
        );
        let pem = operator("alice", &one, Validity::from(NOW, 60)).unwrap();
        assert_eq!(
            Credential::new(&pem, &other).unwrap_err(),
            TlsConfigError::Credential
        );
        assert_eq!(
            Credential::new("", &one).unwrap_err(),
            TlsConfigError::Credential
        );
        assert_eq!(
            Trust::default().add_authority("fra", &pem.replace("CERTIFICATE", "KEY")),
            Err(TlsConfigError::Authority {
                holder: "fra".into()
            })
        );
    }
}
