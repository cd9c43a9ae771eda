//! X.509 certificates: regional authorities, services, nodes and self-signed operators; requests for them.
//!
//! All keys are P-256. Times are Unix seconds and always arguments.

use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ParsedPublicKey};
use pem::{EncodeConfig, LineEnding, Pem};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyUsagePurpose, PublicKeyData, SanType, SignatureAlgorithm, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use thiserror::Error;
use x509_parser::certificate::X509Certificate;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::keys::{PublicKey, SigningKey};
use crate::names::{Name, NodeName};

/// From when to when, Unix seconds, both included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    /// First second.
    pub not_before: u64,
    /// Last second.
    pub not_after: u64,
}

impl Validity {
    /// Starts [`BACK_DATED`] before `now`, for clocks that run late, and ends `lifetime` seconds after it.
    pub const fn from(now: u64, lifetime: u64) -> Self {
        Self {
            not_before: now.saturating_sub(BACK_DATED),
            not_after: now.saturating_add(lifetime),
        }
    }

    /// Returns the instant at which a certificate is to be checked when it is `now`.
    ///
    /// That is `now`, but one that begins within [`TOLERANCE`] is looked at as if it had begun; its end is strict.
    pub(crate) const fn instant(&self, now: u64) -> u64 {
        if now < self.not_before && self.not_before - now <= TOLERANCE {
            self.not_before
        } else {
            now
        }
    }

    /// Returns whether `now` lies in it; its beginning may be [`TOLERANCE`] away.
    pub const fn contains(&self, now: u64) -> bool {
        let at = self.instant(now);
        self.not_before <= at && at <= self.not_after
    }
}

/// A holder's own authority.
#[derive(Debug)]
pub struct Authority<'a> {
    issuer: Issuer<'static, Signer<'a>>,
}

impl<'a> Authority<'a> {
    /// Takes up the authority of the holder `name`, whose key is `key`.
    ///
    /// # Errors
    /// [`CertificateError::Name`] when this is no name.
    pub fn new(name: &str, key: &'a SigningKey) -> Result<Self, CertificateError> {
        Ok(Self {
            issuer: Issuer::new(authority_params(name)?, Signer(key)),
        })
    }

    /// Makes the authority's own certificate.
    ///
    /// # Errors
    /// [`CertificateError::Name`] and [`CertificateError::Encoding`].
    pub fn certificate(
        name: &str,
        key: &SigningKey,
        validity: Validity,
    ) -> Result<String, CertificateError> {
        let mut params = authority_params(name)?;
        set_validity(&mut params, validity);
        Ok(params.self_signed(&Signer(key))?.pem())
    }

    /// Signs a holder's service certificate for the hosts of its addresses; it serves both ends of a connection.
    ///
    /// # Errors
    /// [`CertificateError::Name`] and [`CertificateError::Encoding`].
    pub fn service(
        &self,
        name: &str,
        hosts: &[&str],
        subject: &PublicKey,
        validity: Validity,
    ) -> Result<String, CertificateError> {
        let mut params = leaf_params(&Name::holder(name)?, validity)?;
        for host in hosts {
            params
                .subject_alt_names
                .push(match host.trim_matches(['[', ']']).parse::<IpAddr>() {
                    Ok(address) => SanType::IpAddress(address),
                    Err(_) => SanType::DnsName((*host).try_into()?),
                });
        }
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        self.sign(&params, subject)
    }

    /// Signs a node's certificate. Nothing but the key is ever taken from the node's request.
    ///
    /// # Errors
    /// [`CertificateError::Encoding`].
    pub fn node(
        &self,
        node: &NodeName,
        subject: &PublicKey,
        validity: Validity,
    ) -> Result<String, CertificateError> {
        let params = leaf_params(&Name::Node(node.clone()), validity)?;
        self.sign(&params, subject)
    }

    fn sign(
        &self,
        params: &CertificateParams,
        subject: &PublicKey,
    ) -> Result<String, CertificateError> {
        Ok(params.signed_by(&Subject(subject), &self.issuer)?.pem())
    }
}

/// Makes an operator's self-signed certificate; it is believed because its key is registered.
///
/// # Errors
/// [`CertificateError::Name`] and [`CertificateError::Encoding`].
pub fn operator(
    name: &str,
    key: &SigningKey,
    validity: Validity,
) -> Result<String, CertificateError> {
    let params = leaf_params(&Name::operator(name)?, validity)?;
    Ok(params.self_signed(&Signer(key))?.pem())
}

/// Makes a PKCS #10 request that shows possession of `key` and asks for nothing else.
///
/// # Errors
/// [`CertificateError::Encoding`].
pub fn request(key: &SigningKey) -> Result<Vec<u8>, CertificateError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name("sealift");
    Ok(params.serialize_request(&Signer(key))?.der().to_vec())
}

/// Reads a PKCS #10 request and returns its key, whose possession its signature shows.
///
/// # Errors
/// [`CertificateError::Malformed`], [`CertificateError::Key`], or [`CertificateError::Signature`].
pub fn read_request(der: &[u8]) -> Result<PublicKey, CertificateError> {
    if der.len() > MAX_CERTIFICATE_LEN {
        return Err(CertificateError::Malformed);
    }
    let (rest, request) =
        X509CertificationRequest::from_der(der).map_err(|_| CertificateError::Malformed)?;
    let info = &request.certification_request_info;
    let signature = &request.signature_value.data;
    // What the signature does not cover has one spelling.
    let spelling = u8::try_from(signature.len() + 1)
        .map(|len| [&ECDSA_WITH_SHA256[..], &[0x03, len, 0], signature].concat())
        .map_err(|_| CertificateError::Malformed)?;
    if !rest.is_empty() || !der.ends_with(&spelling) {
        return Err(CertificateError::Malformed);
    }
    let key = PublicKey::from_spki(info.subject_pki.raw).map_err(|_| CertificateError::Key)?;
    ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.point())
        .ok()
        .and_then(|parsed| parsed.verify_sig(info.raw, signature).ok())
        .ok_or(CertificateError::Signature)?;
    Ok(key)
}

/// What a certificate says; reading it proves nothing about who signed it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Certificate {
    /// The one SPIFFE ID in it.
    pub name: Name,
    /// Its key.
    pub key: PublicKey,
    /// When it holds.
    pub validity: Validity,
}

impl Certificate {
    /// Reads a leaf certificate: one SPIFFE ID of ours, a P-256 key, not an authority.
    ///
    /// # Errors
    /// [`CertificateError::Malformed`], [`CertificateError::Name`] or [`CertificateError::Key`].
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let certificate = parse(der)?;
        if certificate.is_ca() {
            return Err(CertificateError::Malformed);
        }
        let names = certificate
            .subject_alternative_name()
            .map_err(|_| CertificateError::Malformed)?;
        let mut uris = names
            .iter()
            .flat_map(|names| &names.value.general_names)
            .filter_map(|name| match name {
                GeneralName::URI(uri) => Some(*uri),
                _ => None,
            });
        // A SPIFFE certificate has exactly one URI (X509-SVID, section 2).
        let (Some(uri), None) = (uris.next(), uris.next()) else {
            return Err(CertificateError::Name);
        };
        Ok(Self {
            name: uri.parse()?,
            key: PublicKey::from_spki(certificate.public_key().raw)
                .map_err(|_| CertificateError::Key)?,
            validity: validity(&certificate)?,
        })
    }

    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// As [`from_der`](Self::from_der).
    pub fn from_pem(text: &str) -> Result<Self, CertificateError> {
        Self::from_der(
            chain_from_pem(text)?
                .first()
                .ok_or(CertificateError::Malformed)?,
        )
    }
}

/// Reads all certificates of a PEM text: at least one, at most [`MAX_CHAIN`].
///
/// # Errors
/// [`CertificateError::Malformed`].
pub fn chain_from_pem(text: &str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let blocks = pem::parse_many(text).map_err(|_| CertificateError::Malformed)?;
    if blocks.is_empty()
        || blocks.len() > MAX_CHAIN
        || blocks.iter().any(|block| block.tag() != CERTIFICATE)
    {
        return Err(CertificateError::Malformed);
    }
    Ok(blocks
        .into_iter()
        .map(|block| block.into_contents().into())
        .collect())
}

/// Writes one certificate as PEM.
pub fn to_pem(der: &[u8]) -> String {
    pem::encode_config(
        &Pem::new(CERTIFICATE, der),
        EncodeConfig::new().set_line_ending(LineEnding::LF),
    )
}

/// Why a certificate was not made or not understood.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Not DER or PEM of what was expected.
    #[error("malformed certificate or certificate request")]
    Malformed,
    /// Not exactly one SPIFFE ID of ours.
    #[error("certificate does not name one holder, node or operator")]
    Name,
    /// Not a P-256 key.
    #[error("certificate key is not a P-256 key")]
    Key,
    /// A request whose sender does not have the key.
    #[error("certificate request is not signed by its own key")]
    Signature,
    /// The certificate could not be written.
    #[error("certificate could not be made")]
    Encoding {
        /// Why.
        #[from]
        source: rcgen::Error,
    },
}

impl From<crate::names::NameError> for CertificateError {
    fn from(_: crate::names::NameError) -> Self {
        Self::Name
    }
}

/// How far certificates are dated back.
pub const BACK_DATED: u64 = 5 * 60;
/// Life of a node's certificate in seconds.
pub const NODE_LIFETIME: u64 = 60 * 60;
/// Life of a service certificate in seconds.
pub const SERVICE_LIFETIME: u64 = 24 * 60 * 60;
/// Life of a regional authority and of an operator's certificate in seconds.
pub const AUTHORITY_LIFETIME: u64 = 3650 * 24 * 60 * 60;
/// How much too early a certificate is believed, in seconds.
pub const TOLERANCE: u64 = 2;
/// Most certificates of a PEM text.
pub const MAX_CHAIN: usize = 256;
/// Most octets of a certificate or request.
pub const MAX_CERTIFICATE_LEN: usize = 16 * 1024;

const CERTIFICATE: &str = "CERTIFICATE";

/// `AlgorithmIdentifier` of ECDSA with SHA-256 (RFC 5758, section 3.2).
const ECDSA_WITH_SHA256: [u8; 12] = [
    0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02,
];

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    if der.len() > MAX_CERTIFICATE_LEN {
        return Err(CertificateError::Malformed);
    }
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(CertificateError::Malformed),
    }
}

fn validity(certificate: &X509Certificate<'_>) -> Result<Validity, CertificateError> {
    let seconds = |time: i64| u64::try_from(time).map_err(|_| CertificateError::Malformed);
    Ok(Validity {
        not_before: seconds(certificate.validity().not_before.timestamp())?,
        not_after: seconds(certificate.validity().not_after.timestamp())?,
    })
}

fn authority_params(name: &str) -> Result<CertificateParams, CertificateError> {
    // Only for its rules: the name stands in no SPIFFE ID of the authority itself.
    Name::holder(name)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(&format!("sealift authority {name}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    Ok(params)
}

fn leaf_params(name: &Name, validity: Validity) -> Result<CertificateParams, CertificateError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name.short());
    params.subject_alt_names = vec![SanType::URI(name.to_string().try_into()?)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, validity);
    Ok(params)
}

fn set_validity(params: &mut CertificateParams, validity: Validity) {
    let at = |seconds: u64| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds.min(MAX_TIME));
    params.not_before = at(validity.not_before);
    params.not_after = at(validity.not_after);
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// 9999-12-31T23:59:59Z, the last instant X.509 can write.
const MAX_TIME: u64 = 253_402_300_799;

#[derive(Debug)]
struct Signer<'a>(&'a SigningKey);

impl PublicKeyData for Signer<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.public().point()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for Signer<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0
            .sign_der(message)
            .map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

struct Subject<'a>(&'a PublicKey);

impl PublicKeyData for Subject<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.point()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn key() -> SigningKey {
        SigningKey::generate().unwrap()
    }

    #[test]
    fn certificates_say_what_was_ordered() {
        let (ca, node) = (key(), key());
        let name = NodeName::new("tokyo-7", "ap-northeast-1", "prod", "JP").unwrap();
        let authority = Authority::new("nrt", &ca).unwrap();
        let pem = authority
            .node(&name, node.public(), Validity::from(NOW, NODE_LIFETIME))
            .unwrap();
        assert_eq!(
            Certificate::from_pem(&pem).unwrap(),
            Certificate {
                name: Name::Node(name),
                key: node.public().clone(),
                validity: Validity {
                    not_before: NOW - 300,
                    not_after: NOW + 3600
                },
            }
        );
        let pem = operator("alice", &node, Validity::from(NOW, 60)).unwrap();
        assert_eq!(
            Certificate::from_pem(&pem).unwrap().name,
            Name::Operator("alice".into())
        );
        let pem = authority
            .service(
                "nrt",
                &["127.0.0.1", "[::1]", "nrt.example"],
                node.public(),
                Validity::from(NOW, 60),
            )
            .unwrap();
        assert_eq!(
            Certificate::from_pem(&pem).unwrap().name,
            Name::Holder("nrt".into())
        );
    }

    #[test]
    fn an_authority_is_no_leaf() {
        let pem = Authority::certificate("nrt", &key(), Validity::from(NOW, 60)).unwrap();
        assert!(matches!(
            Certificate::from_pem(&pem),
            Err(CertificateError::Malformed)
        ));
    }

    #[test]
    fn a_request_shows_possession_of_its_key() {
        let node = key();
        let der = request(&node).unwrap();
        assert_eq!(read_request(&der).unwrap(), *node.public());
        let mut other = der.clone();
        let at = other
            .windows(65)
            .position(|w| w == node.public().point())
            .unwrap();
        other[at..at + 65].copy_from_slice(key().public().point());
        assert!(matches!(
            read_request(&other),
            Err(CertificateError::Signature)
        ));
        for i in 0..der.len() {
            let mut flipped = der.clone();
            flipped[i] ^= 1;
            assert!(read_request(&flipped).is_err(), "octet {i}");
        }
        assert!(matches!(
            read_request(&[&der[..], &[0]].concat()),
            Err(CertificateError::Malformed)
        ));
    }

    #[test]
    fn the_beginning_is_tolerant_and_the_end_is_strict() {
        let validity = Validity {
            not_before: 100,
            not_after: 200,
        };
        let held: Vec<u64> = [97, 98, 100, 200, 201]
            .into_iter()
            .filter(|at| validity.contains(*at))
            .collect();
        assert_eq!(held, [98, 100, 200]);
    }
}
