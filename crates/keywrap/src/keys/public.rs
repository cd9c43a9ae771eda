use std::fmt;

use aws_lc_rs::{
    digest,
    encoding::{AsDer, PublicKeyX509Der},
    rsa::PublicEncryptingKey,
};
use der::{Encode, asn1::BitStringRef};
use spki::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use super::KeyError;
use crate::{
    Curve, EcPoint, LayerSecret, Recipient, Scheme, WrapContext, WrapError, WrappedKey,
    jwe::{self, KeyManagement, OaepHash, WrapWidth},
};

/// A public key that layer keys are wrapped for, as one flattened JWE each.
pub struct PublicKey {
    material: Material,
    spki: Vec<u8>,
    key_id: Option<Box<str>>,
}

enum Material {
    Rsa(PublicEncryptingKey, OaepHash),
    Ec(EcPoint, WrapWidth),
}

impl PublicKey {
    /// Borrows the DER `SubjectPublicKeyInfo`.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// Returns the `kid` of the JWK it came from.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// Returns the algorithm that wraps for this key.
    pub fn algorithm(&self) -> KeyManagement {
        match self.material {
            Material::Rsa(_, hash) => KeyManagement::RsaOaep(hash),
            Material::Ec(_, width) => KeyManagement::EcdhEs(width),
        }
    }

    /// Takes an RSA key; RSA-OAEP with SHA-1, as every reader of ocicrypt images expects.
    pub(super) fn from_rsa(key: PublicEncryptingKey) -> Option<Self> {
        let spki = rsa_spki(&key)?;
        Some(Self {
            material: Material::Rsa(key, OaepHash::Sha1),
            spki,
            key_id: None,
        })
    }

    pub(super) fn from_point(point: EcPoint) -> Self {
        Self {
            spki: ec_spki(&point),
            material: Material::Ec(point, WrapWidth::A256),
            key_id: None,
        }
    }

    /// Returns the length of an RSA modulus in octets; `None` for other kinds.
    pub fn modulus_len(&self) -> Option<usize> {
        self.rsa().map(PublicEncryptingKey::key_size_bytes)
    }

    /// Returns the curve of an elliptic-curve key; `None` for other kinds.
    pub const fn curve(&self) -> Option<Curve> {
        match &self.material {
            Material::Rsa(..) => None,
            Material::Ec(point, _) => Some(point.curve()),
        }
    }

    /// Returns the RSA key; `None` for other kinds.
    pub(crate) const fn rsa(&self) -> Option<&PublicEncryptingKey> {
        match &self.material {
            Material::Rsa(key, _) => Some(key),
            Material::Ec(..) => None,
        }
    }

    /// Applies what a JWK says about itself (RFC 7517, sections 4.4 and 4.5).
    pub(super) fn with_jwk_members(
        mut self,
        algorithm: Option<&str>,
        key_id: Option<&str>,
    ) -> Result<Self, KeyError> {
        if let Some(name) = algorithm {
            self.material = match (self.material, KeyManagement::from_name(name)) {
                (Material::Rsa(key, _), Some(KeyManagement::RsaOaep(hash))) => {
                    Material::Rsa(key, hash)
                }
                (Material::Ec(point, _), Some(KeyManagement::EcdhEs(width))) => {
                    Material::Ec(point, width)
                }
                _ => return Err(KeyError::unsupported_type(&format!("alg={name}"))),
            };
        }
        self.key_id = key_id.map(Into::into);
        Ok(self)
    }
}

impl Recipient for PublicKey {
    fn scheme(&self) -> Scheme {
        Scheme::Jwe
    }

    fn fingerprint(&self) -> String {
        fingerprint(&self.spki)
    }

    fn wrap_key(&self, secret: &LayerSecret, _: &WrapContext<'_>) -> Result<WrappedKey, WrapError> {
        let element = match &self.material {
            Material::Rsa(key, hash) => jwe::wrap_for_rsa(key, *hash, self.key_id(), secret)?,
            Material::Ec(point, width) => jwe::wrap_for_ec(point, *width, self.key_id(), secret)?,
        };
        Ok(WrappedKey {
            scheme: Scheme::Jwe,
            element,
        })
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "PublicKey({}, {})",
            self.algorithm().name(),
            self.fingerprint()
        )
    }
}

/// Returns the hex SHA-256 of a DER `SubjectPublicKeyInfo`.
pub(crate) fn fingerprint(spki: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, spki))
}

pub(super) fn rsa_spki(key: &PublicEncryptingKey) -> Option<Vec<u8>> {
    let der: PublicKeyX509Der<'_> = key.as_der().ok()?;
    Some(der.as_ref().to_vec())
}

pub(super) fn ec_spki(point: &EcPoint) -> Vec<u8> {
    let curve: Curve = point.curve();
    let info = BitStringRef::from_bytes(point.as_uncompressed()).and_then(|key| {
        SubjectPublicKeyInfo {
            algorithm: AlgorithmIdentifier {
                oid: sec1::ALGORITHM_OID,
                parameters: Some(curve.oid()),
            },
            subject_public_key: key,
        }
        .to_der()
    });
    // INVARIANT: at most 133 octets of point encode; the error of the encoder is for lengths beyond 2^28.
    info.unwrap_or_default()
}
