//! Public keys and subkeys of version 4 (RFC 9580, sections 5.5.2 and 5.5.5).

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use super::{
    algorithm::{
        Cipher, DSA, ECDH, ECDSA, ED25519, EDDSA_LEGACY, ELGAMAL, Hash, RSA, RSA_SIGN_ONLY,
        public_key_name,
    },
    packet::{Malformed, Octets},
};
use crate::{Curve, KeyError};

/// A public key or subkey, with the octets that signatures are made over.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) created: u64,
    pub(super) algorithm: u8,
    pub(super) material: Material,
    pub(super) fingerprint: Fingerprint,
    body: Vec<u8>,
}

#[derive(Debug)]
pub(super) enum Material {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    Ecdh(EcdhKey),
    Ecdsa {
        curve: Curve,
        point: Vec<u8>,
    },
    Ed25519(Vec<u8>),
    /// Of an algorithm, or on a curve, that is not implemented.
    Other(Box<str>),
}

/// A public key for ECDH and how keys are derived from what is agreed (section 11.5).
#[derive(Clone, Debug)]
pub(super) struct EcdhKey {
    pub(super) curve: EcdhCurve,
    pub(super) point: Vec<u8>,
    pub(super) hash: Hash,
    pub(super) cipher: Cipher,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum EcdhCurve {
    Curve25519,
    Nist(Curve),
}

impl EcdhCurve {
    /// Returns the object identifier as it stands in keys and in the derivation.
    pub(super) const fn oid(self) -> &'static [u8] {
        match self {
            Self::Curve25519 => CURVE25519,
            Self::Nist(curve) => nist_oid(curve),
        }
    }

    fn from_oid(oid: &[u8]) -> Option<Self> {
        if oid == CURVE25519 {
            return Some(Self::Curve25519);
        }
        nist_from_oid(oid).map(Self::Nist)
    }
}

/// The SHA-1 of a key of version 4 (section 5.5.4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Fingerprint(pub(super) [u8; 20]);

/// The last octets of a fingerprint.
pub(super) type KeyId = [u8; 8];

impl Fingerprint {
    pub(super) fn key_id(&self) -> KeyId {
        let [.., a, b, c, d, e, f, g, h] = self.0;
        [a, b, c, d, e, f, g, h]
    }
}

impl Key {
    /// Reads the public part of a key packet; what is left are secrets, if any.
    pub(super) fn read<'a>(packet: &'a [u8]) -> Result<(Self, Octets<'a>), KeyError> {
        let mut rest = Octets(packet);
        match rest.octet()? {
            4 => {}
            version => {
                return Err(KeyError::unsupported_type(&format!(
                    "OpenPGP version {version}"
                )));
            }
        }
        let created = rest.number(4)? as u64;
        let algorithm = rest.octet()?;
        let material = material(algorithm, &mut rest)?;
        let length = packet.len() - rest.0.len();
        let body = packet.get(..length).unwrap_or_default().to_vec();
        let mut key = Self {
            created,
            algorithm,
            material,
            fingerprint: Fingerprint([0; 20]),
            body,
        };
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &key.signed());
        if let Ok(octets) = hash.as_ref().try_into() {
            key.fingerprint = Fingerprint(octets);
        }
        Ok((key, rest))
    }

    /// Returns what fingerprints and signatures are computed over.
    pub(super) fn signed(&self) -> Vec<u8> {
        let [.., high, low] = self.body.len().to_be_bytes();
        [&[0x99, high, low], &self.body[..]].concat()
    }

    /// Returns whether something can be encrypted for keys of this algorithm.
    pub(super) fn can_encrypt(&self) -> bool {
        match self.material {
            Material::Rsa { .. } => self.algorithm != RSA_SIGN_ONLY,
            Material::Ecdh(_) => true,
            _ => false,
        }
    }
}

fn material(algorithm: u8, rest: &mut Octets<'_>) -> Result<Material, KeyError> {
    let skip = |rest: &mut Octets<'_>, integers| {
        for _ in 0..integers {
            rest.integer()?;
        }
        Ok::<_, Malformed>(Material::Other(public_key_name(algorithm)))
    };
    Ok(match algorithm {
        _ if RSA.contains(&algorithm) => Material::Rsa {
            modulus: rest.integer()?.to_vec(),
            exponent: rest.integer()?.to_vec(),
        },
        DSA => skip(rest, 4)?,
        ELGAMAL => skip(rest, 3)?,
        ECDH => {
            let curve = EcdhCurve::from_oid(oid(rest)?);
            let point = rest.integer()?.to_vec();
            let length = rest.octet()?.into();
            let parameters = rest.take(length)?;
            let [1, hash, cipher] = *parameters else {
                return Err(KeyError::malformed("parameters of an ECDH key"));
            };
            match (curve, Hash::from_number(hash), Cipher::from_number(cipher)) {
                (Some(curve), Some(hash), Some(cipher)) => Material::Ecdh(EcdhKey {
                    curve,
                    point,
                    hash,
                    cipher,
                }),
                (None, ..) => Material::Other("ECDH on another curve".into()),
                _ => Material::Other("ECDH with another derivation".into()),
            }
        }
        ECDSA => {
            let curve = nist_from_oid(oid(rest)?);
            let point = rest.integer()?.to_vec();
            curve.map_or_else(
                || Material::Other("ECDSA on another curve".into()),
                |curve| Material::Ecdsa { curve, point },
            )
        }
        EDDSA_LEGACY => {
            let is_known = oid(rest)? == ED25519_LEGACY;
            let point = rest.integer()?;
            match point.split_first() {
                Some((&NATIVE_POINT, point)) if is_known => Material::Ed25519(point.to_vec()),
                _ => Material::Other("EdDSALegacy on another curve".into()),
            }
        }
        ED25519 => Material::Ed25519(rest.array::<32>()?.to_vec()),
        // Where its public part ends is unknown, so a secret part cannot be read.
        other => {
            rest.take(rest.0.len())?;
            Material::Other(public_key_name(other))
        }
    })
}

fn oid<'a>(rest: &mut Octets<'a>) -> Result<&'a [u8], Malformed> {
    let length = rest.octet()?.into();
    rest.take(length)
}

const fn nist_oid(curve: Curve) -> &'static [u8] {
    match curve {
        Curve::P256 => &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
        Curve::P384 => &[0x2b, 0x81, 0x04, 0x00, 0x22],
        Curve::P521 => &[0x2b, 0x81, 0x04, 0x00, 0x23],
    }
}

fn nist_from_oid(oid: &[u8]) -> Option<Curve> {
    [Curve::P256, Curve::P384, Curve::P521]
        .into_iter()
        .find(|curve| nist_oid(*curve) == oid)
}

const CURVE25519: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x97, 0x55, 0x01, 0x05, 0x01];
const ED25519_LEGACY: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01];
/// In front of a point in the curve's own form (section 11.2.2).
pub(super) const NATIVE_POINT: u8 = 0x40;
