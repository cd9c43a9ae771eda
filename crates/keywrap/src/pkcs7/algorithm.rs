//! Object identifiers, and what they stand for.

use aws_lc_rs::aead;
use der::{Decode, asn1::ObjectIdentifier};
use pkcs1::RsaOaepParamsOwned;
use spki::AlgorithmIdentifierRef;

use super::der::{OBJECT_IDENTIFIER, Reader};
use crate::{UnwrapError, jwe::OaepHash};

/// `id-data`.
pub(super) const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
/// `id-envelopedData`.
pub(super) const ENVELOPED_DATA: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.3");
/// `id-ct-authEnvelopedData`.
pub(super) const AUTH_ENVELOPED_DATA: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.23");

const RSAES_OAEP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.7");
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
const P_SPECIFIED: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.9");
const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");

/// Names of what is recognised and refused.
const KNOWN: [(&str, &str); 17] = [
    ("1.2.840.113549.1.1.1", "rsaEncryption"),
    ("1.2.840.113549.1.1.7", "RSAES-OAEP"),
    ("1.2.840.113549.1.7.2", "signedData"),
    ("1.2.840.113549.1.7.6", "encryptedData"),
    ("1.2.840.113549.1.9.16.1.9", "compressedData"),
    ("1.2.840.113549.3.2", "rc2-cbc"),
    ("1.2.840.113549.3.4", "rc4"),
    ("1.2.840.113549.3.7", "des-ede3-cbc"),
    ("1.2.840.113549.1.9.16.3.18", "ChaCha20-Poly1305"),
    ("1.3.14.3.2.7", "des-cbc"),
    ("2.16.840.1.101.3.4.1.2", "aes128-CBC"),
    ("2.16.840.1.101.3.4.1.22", "aes192-CBC"),
    ("2.16.840.1.101.3.4.1.42", "aes256-CBC"),
    ("2.16.840.1.101.3.4.1.7", "aes128-CCM"),
    ("2.16.840.1.101.3.4.1.27", "aes192-CCM"),
    ("2.16.840.1.101.3.4.1.47", "aes256-CCM"),
    ("1.2.840.113549.1.9.16.1.2", "authData"),
];

/// Returns a name for people: the standard's where we know it, else the dotted numbers.
pub(super) fn name(oid: &ObjectIdentifier) -> Box<str> {
    let dotted = oid.to_string();
    let known = KNOWN.iter().find(|(numbers, _)| *numbers == dotted);
    known.map_or(dotted.into(), |(_, name)| (*name).into())
}

/// Reads an OBJECT IDENTIFIER.
pub(super) fn oid(
    reader: &mut Reader<'_>,
    what: &'static str,
) -> Result<ObjectIdentifier, UnwrapError> {
    let contents = reader.read(OBJECT_IDENTIFIER, what)?.contents;
    ObjectIdentifier::from_bytes(contents).map_err(|_| UnwrapError::malformed(what))
}

/// How the content-encryption key reaches its recipient (RFC 3370, section 4.2.1; RFC 3560).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyTransport {
    /// RSAES-PKCS1-v1_5: what ocicrypt writes.
    RsaPkcs1,
    /// RSAES-OAEP with empty label, and the same hash in mask generation.
    RsaOaep(OaepHash),
}

impl KeyTransport {
    /// Recognises an `AlgorithmIdentifier`, else returns the name of what it is.
    pub(super) fn recognise(encoding: &[u8]) -> Result<Result<Self, Box<str>>, UnwrapError> {
        const WHAT: &str = "key encryption algorithm";
        let identifier =
            AlgorithmIdentifierRef::from_der(encoding).map_err(|_| UnwrapError::malformed(WHAT))?;
        if identifier.oid == pkcs1::ALGORITHM_OID {
            // Absent in ocicrypt, NULL in RFC 3370.
            let empty = identifier.parameters.is_none_or(|found| found.is_null());
            return Ok(if empty {
                Ok(Self::RsaPkcs1)
            } else {
                Err("rsaEncryption with parameters".into())
            });
        }
        if identifier.oid != RSAES_OAEP {
            return Ok(Err(name(&identifier.oid)));
        }
        Ok(oaep_hash(&identifier)
            .map(Self::RsaOaep)
            .ok_or_else(|| "RSAES-OAEP with these parameters".into()))
    }

    /// Returns the name of the algorithm.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RsaPkcs1 => "rsaEncryption",
            Self::RsaOaep(OaepHash::Sha1) => "RSAES-OAEP",
            Self::RsaOaep(OaepHash::Sha256) => "RSAES-OAEP-SHA256",
        }
    }
}

/// Returns the one hash of `RSAES-OAEP-params` (RFC 8017, appendix A.2.1).
fn oaep_hash(identifier: &AlgorithmIdentifierRef<'_>) -> Option<OaepHash> {
    let parameters = identifier.parameters?;
    let parameters = parameters.decode_as::<RsaOaepParamsOwned>().ok()?;
    let mask = &parameters.mask_gen;
    let label = parameters.p_source.parameters?;
    if mask.oid != MGF1
        || mask.parameters.as_ref()?.oid != parameters.hash.oid
        || parameters.p_source.oid != P_SPECIFIED
        || !label.value().is_empty()
    {
        return None;
    }
    match parameters.hash.oid {
        SHA1 => Some(OaepHash::Sha1),
        SHA256 => Some(OaepHash::Sha256),
        _ => None,
    }
}

/// AES-GCM by the length of its key (RFC 5084).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ContentEncryption {
    A128,
    A192,
    A256,
}

impl ContentEncryption {
    pub(super) fn from_oid(oid: &ObjectIdentifier) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.oid() == *oid)
    }

    pub(super) const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::A128 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.6"),
            Self::A192 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.26"),
            Self::A256 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.46"),
        }
    }

    pub(super) const fn key_len(self) -> usize {
        match self {
            Self::A128 => 16,
            Self::A192 => 24,
            Self::A256 => 32,
        }
    }

    pub(super) const fn algorithm(self) -> &'static aead::Algorithm {
        match self {
            Self::A128 => &aead::AES_128_GCM,
            Self::A192 => &aead::AES_192_GCM,
            Self::A256 => &aead::AES_256_GCM,
        }
    }

    const ALL: [Self; 3] = [Self::A128, Self::A192, Self::A256];
}
