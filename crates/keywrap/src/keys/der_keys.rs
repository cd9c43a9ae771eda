//! The binary encodings: `SubjectPublicKeyInfo`, certificates, PKCS#8, PKCS#1, SEC 1.

use aws_lc_rs::rsa::{PrivateDecryptingKey, PublicEncryptingKey};
use der::{Decode, Encode, asn1::UintRef};
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef};
use spki::{AlgorithmIdentifierRef, ObjectIdentifier, SubjectPublicKeyInfoRef};
use x509_cert::Certificate;
use zeroize::Zeroizing;

use super::{
    KeyError, MAX_RSA_BITS, MIN_RSA_BITS, Password, PrivateKey, PublicKey, after_decryption,
    encrypted,
};
use crate::{Curve, EcPoint, agreement::LocalAgreement};

/// Reads a bare DER file: `SubjectPublicKeyInfo`, certificate or PKCS#1.
pub(super) fn public(der: &[u8]) -> Result<PublicKey, KeyError> {
    if SubjectPublicKeyInfoRef::from_der(der).is_ok() {
        spki(der)
    } else if Certificate::from_der(der).is_ok() {
        certificate(der)
    } else if pkcs1::RsaPublicKeyRef::from_der(der).is_ok() {
        rsa_public(der)
    } else if is_private(der) {
        Err(KeyError::PublicExpected)
    } else {
        Err(KeyError::NotAKey)
    }
}

/// Reads a bare DER file: PKCS#8, encrypted PKCS#8, PKCS#1 or SEC 1.
pub(super) fn private(der: &[u8], password: Option<&Password>) -> Result<PrivateKey, KeyError> {
    if PrivateKeyInfoRef::from_der(der).is_ok() {
        pkcs8(der)
    } else if EncryptedPrivateKeyInfoRef::from_der(der).is_ok() {
        encrypted_pkcs8(der, password)
    } else if pkcs1::RsaPrivateKeyRef::from_der(der).is_ok() {
        rsa_private(der)
    } else if sec1::EcPrivateKey::from_der(der).is_ok() {
        sec1(der)
    } else if public(der).is_ok() {
        Err(KeyError::PrivateExpected)
    } else {
        Err(KeyError::NotAKey)
    }
}

pub(super) fn spki(der: &[u8]) -> Result<PublicKey, KeyError> {
    let info = SubjectPublicKeyInfoRef::from_der(der)
        .map_err(|_| KeyError::malformed("SubjectPublicKeyInfo"))?;
    let key = info
        .subject_public_key
        .as_bytes()
        .ok_or(KeyError::malformed("SubjectPublicKeyInfo"))?;
    match kind(&info.algorithm)? {
        Kind::Rsa => rsa_public(key),
        Kind::Ec(curve) => {
            let curve = curve.ok_or_else(|| KeyError::unsupported_curve("explicit parameters"))?;
            EcPoint::from_uncompressed(curve, key)
                .map(PublicKey::from_point)
                .ok_or(KeyError::malformed(
                    "not an uncompressed point of its curve",
                ))
        }
    }
}

/// Refuses a certificate beside the one that issued it: the issuer would become a recipient too.
pub(super) fn refuse_chain<'a>(files: impl Iterator<Item = &'a [u8]>) -> Result<(), KeyError> {
    let mut issuers = Vec::new();
    let mut subjects = Vec::new();
    for der in files {
        let certificate =
            Certificate::from_der(der).map_err(|_| KeyError::malformed("certificate"))?;
        let content = certificate.tbs_certificate();
        if content.issuer() != content.subject() {
            issuers.push(content.issuer().clone());
        }
        subjects.push(content.subject().clone());
    }
    if issuers.iter().any(|issuer| subjects.contains(issuer)) {
        return Err(KeyError::CertificateChain);
    }
    Ok(())
}

pub(super) fn certificate(der: &[u8]) -> Result<PublicKey, KeyError> {
    let malformed = |_| KeyError::malformed("certificate");
    let certificate = Certificate::from_der(der).map_err(malformed)?;
    let info = certificate
        .tbs_certificate()
        .subject_public_key_info()
        .to_der()
        .map_err(malformed)?;
    spki(&info)
}

/// Reads an `RSAPublicKey` (RFC 8017, appendix A.1.1).
pub(super) fn rsa_public(der: &[u8]) -> Result<PublicKey, KeyError> {
    PublicKey::from_rsa(rsa_encrypting_key(der)?).ok_or(KeyError::malformed("RSA public key"))
}

/// Reads an `RSAPublicKey` for whoever encrypts with it.
pub(crate) fn rsa_encrypting_key(der: &[u8]) -> Result<PublicEncryptingKey, KeyError> {
    let malformed = |_| KeyError::malformed("RSA public key");
    let key = pkcs1::RsaPublicKeyRef::from_der(der).map_err(malformed)?;
    check_rsa_size(&key.modulus)?;
    let info = SubjectPublicKeyInfoRef {
        algorithm: pkcs1::ALGORITHM_ID,
        subject_public_key: der::asn1::BitStringRef::from_bytes(der).map_err(malformed)?,
    };
    let info = info.to_der().map_err(malformed)?;
    PublicEncryptingKey::from_der(&info).map_err(|_| KeyError::malformed("RSA public key"))
}

pub(super) fn rsa_public_of_numbers(
    modulus: &[u8],
    exponent: &[u8],
) -> Result<PublicKey, KeyError> {
    let malformed = |_| KeyError::malformed("RSA public key");
    let key = pkcs1::RsaPublicKeyRef {
        modulus: UintRef::new(modulus).map_err(malformed)?,
        public_exponent: UintRef::new(exponent).map_err(malformed)?,
    };
    rsa_public(&key.to_der().map_err(malformed)?)
}

pub(super) fn pkcs8(der: &[u8]) -> Result<PrivateKey, KeyError> {
    let info = PrivateKeyInfoRef::from_der(der).map_err(|_| KeyError::malformed("PKCS#8"))?;
    match kind(&info.algorithm)? {
        Kind::Rsa => rsa_private(info.private_key.as_bytes()),
        Kind::Ec(curve) => ec_private(info.private_key.as_bytes(), curve),
    }
}

pub(super) fn encrypted_pkcs8(
    der: &[u8],
    password: Option<&Password>,
) -> Result<PrivateKey, KeyError> {
    let info = EncryptedPrivateKeyInfoRef::from_der(der)
        .map_err(|_| KeyError::unsupported_encryption("not PBES2 with AES"))?;
    let document = encrypted::decrypt(&info, password)?;
    pkcs8(document.as_bytes()).map_err(after_decryption)
}

/// Reads an `RSAPrivateKey` (RFC 8017, appendix A.1.2) with two primes.
pub(super) fn rsa_private(der: &[u8]) -> Result<PrivateKey, KeyError> {
    PrivateKey::from_rsa(rsa_decrypting_key(der)?).ok_or(KeyError::malformed("RSA private key"))
}

/// Reads an `RSAPrivateKey` for whoever decrypts with it.
pub(crate) fn rsa_decrypting_key(der: &[u8]) -> Result<PrivateDecryptingKey, KeyError> {
    let malformed = |_| KeyError::malformed("RSA private key");
    let key = pkcs1::RsaPrivateKeyRef::from_der(der).map_err(malformed)?;
    check_rsa_size(&key.modulus)?;
    if key.other_prime_infos.is_some() {
        return Err(KeyError::unsupported_type("RSA with more than two primes"));
    }
    let octets = der::asn1::OctetStringRef::new(der).map_err(malformed)?;
    let info = PrivateKeyInfoRef::new(pkcs1::ALGORITHM_ID, octets);
    let info = Zeroizing::new(info.to_der().map_err(malformed)?);
    PrivateDecryptingKey::from_pkcs8(&info).map_err(|_| KeyError::malformed("RSA private key"))
}

/// Reads an `ECPrivateKey` (RFC 5915) that names its curve.
pub(super) fn sec1(der: &[u8]) -> Result<PrivateKey, KeyError> {
    ec_private(der, None)
}

fn ec_private(der: &[u8], outer: Option<Curve>) -> Result<PrivateKey, KeyError> {
    let key = sec1::EcPrivateKey::from_der(der)
        .map_err(|_| KeyError::malformed("EC private key, or explicit curve parameters"))?;
    let inner = key
        .parameters
        .and_then(sec1::EcParameters::named_curve)
        .map(|oid| curve(&oid))
        .transpose()?;
    let curve = match (outer, inner) {
        (Some(outer), Some(inner)) if outer != inner => {
            return Err(KeyError::malformed("EC private key names two curves"));
        }
        (Some(curve), _) | (None, Some(curve)) => curve,
        (None, None) => return Err(KeyError::malformed("EC private key names no curve")),
    };
    ec_from_scalar(curve, key.private_key, key.public_key)
}

/// Builds a key from its scalar; a public key beside it must belong to it.
pub(super) fn ec_from_scalar(
    curve: Curve,
    scalar: &[u8],
    public: Option<&[u8]>,
) -> Result<PrivateKey, KeyError> {
    let agreement = LocalAgreement::from_scalar(curve, scalar)
        .ok_or(KeyError::malformed("EC private key out of range"))?;
    let point = agreement
        .public()
        .ok_or(KeyError::malformed("EC private key out of range"))?;
    if public.is_some_and(|public| !is_encoding_of(public, &point)) {
        return Err(KeyError::malformed("public key belongs to another key"));
    }
    Ok(PrivateKey::from_agreement(agreement, point))
}

/// Returns whether `octets` are the uncompressed or compressed form of `point`.
fn is_encoding_of(octets: &[u8], point: &EcPoint) -> bool {
    let (x, y) = point.coordinates();
    let sign = 0x02 | (y.last().copied().unwrap_or_default() & 1);
    match octets.split_first() {
        Some((0x02 | 0x03, rest)) => octets.first() == Some(&sign) && rest == x,
        _ => octets == point.as_uncompressed(),
    }
}

fn check_rsa_size(modulus: &UintRef<'_>) -> Result<(), KeyError> {
    let octets = modulus.as_bytes();
    let leading = octets.first().map_or(0, |first| first.leading_zeros());
    let bits = (octets.len() * 8).saturating_sub(leading as usize);
    if bits < MIN_RSA_BITS {
        Err(KeyError::TooWeak { bits })
    } else if bits > MAX_RSA_BITS {
        Err(KeyError::unsupported_type(&format!("RSA of {bits} bits")))
    } else {
        Ok(())
    }
}

enum Kind {
    Rsa,
    /// `None` if the algorithm identifier leaves the curve to the key.
    Ec(Option<Curve>),
}

fn kind(algorithm: &AlgorithmIdentifierRef<'_>) -> Result<Kind, KeyError> {
    if algorithm.oid == pkcs1::ALGORITHM_OID {
        return Ok(Kind::Rsa);
    }
    if algorithm.oid != sec1::ALGORITHM_OID {
        return Err(KeyError::unsupported_type(&type_name(&algorithm.oid)));
    }
    match algorithm.parameters {
        None => Ok(Kind::Ec(None)),
        Some(parameters) => {
            let oid = parameters
                .decode_as::<ObjectIdentifier>()
                .map_err(|_| KeyError::unsupported_curve("explicit parameters"))?;
            curve(&oid).map(Some).map(Kind::Ec)
        }
    }
}

fn curve(oid: &ObjectIdentifier) -> Result<Curve, KeyError> {
    Curve::from_oid(oid).ok_or_else(|| {
        KeyError::unsupported_curve(match oid.to_string().as_str() {
            "1.3.132.0.10" => "secp256k1",
            "1.3.132.0.33" => "P-224",
            "1.3.36.3.3.2.8.1.1.7" => "brainpoolP256r1",
            other => other,
        })
    })
}

fn type_name(oid: &ObjectIdentifier) -> String {
    match oid.to_string().as_str() {
        "1.3.101.110" => "X25519".into(),
        "1.3.101.111" => "X448".into(),
        "1.3.101.112" => "Ed25519".into(),
        "1.3.101.113" => "Ed448".into(),
        "1.2.840.10040.4.1" => "DSA".into(),
        "1.2.840.113549.1.1.7" => "RSAES-OAEP".into(),
        "1.2.840.113549.1.1.10" => "RSASSA-PSS".into(),
        other => other.into(),
    }
}

fn is_private(der: &[u8]) -> bool {
    PrivateKeyInfoRef::from_der(der).is_ok()
        || EncryptedPrivateKeyInfoRef::from_der(der).is_ok()
        || pkcs1::RsaPrivateKeyRef::from_der(der).is_ok()
        || sec1::EcPrivateKey::from_der(der).is_ok()
}
