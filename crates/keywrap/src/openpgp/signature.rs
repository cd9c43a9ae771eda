//! Signatures of version 4 on keys (RFC 9580, sections 5.2.3 and 5.2.4).

use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1,
    ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, ECDSA_P521_SHA256_ASN1,
    ECDSA_P521_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use der::{Encode, Sequence, asn1::UintRef};

use super::{
    algorithm::{Hash, hash_name},
    key::{Key, KeyId, Material},
    packet::{Malformed, Octets},
};
use crate::Curve;

/// A signature whose structure has been checked, and nothing else.
#[derive(Debug)]
pub(super) struct Signature {
    pub(super) kind: u8,
    pub(super) claims: Claims,
    /// The number of its hash algorithm.
    hash: u8,
    /// From the version to the last hashed subpacket.
    hashed: Vec<u8>,
    values: Vec<u8>,
}

/// What the hashed subpackets say, and who made the signature by any of them.
#[derive(Debug, Default)]
pub(super) struct Claims {
    pub(super) created: Option<u64>,
    /// Seconds after which the signature ends.
    pub(super) expires: Option<u64>,
    /// Seconds after which the key ends.
    pub(super) key_expires: Option<u64>,
    pub(super) flags: Option<u8>,
    pub(super) ciphers: Option<Vec<u8>>,
    pub(super) is_primary_user: bool,
    /// Only a hint: it need not be hashed.
    pub(super) issuer: Option<KeyId>,
    has_unknown_critical: bool,
}

/// Why a signature does not count.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Unverified {
    /// It was not made by this key over these octets, or demands what is not understood.
    Wrong,
    /// Nobody here can tell.
    Unsupported(Box<str>),
}

pub(super) const CERTIFICATIONS: std::ops::RangeInclusive<u8> = 0x10..=0x13;
pub(super) const SUBKEY_BINDING: u8 = 0x18;
pub(super) const DIRECT_KEY: u8 = 0x1f;
pub(super) const KEY_REVOCATION: u8 = 0x20;
pub(super) const SUBKEY_REVOCATION: u8 = 0x28;
pub(super) const CERTIFICATION_REVOCATION: u8 = 0x30;

impl Signature {
    /// Reads a signature; `None` if it is of another version.
    pub(super) fn read(packet: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut rest = Octets(packet);
        if rest.octet()? != 4 {
            return Ok(None);
        }
        let kind = rest.octet()?;
        rest.octet()?;
        let hash = rest.octet()?;
        let mut claims = Claims::default();
        let length = rest.number(2)?;
        claims.read(rest.take(length)?, Area::Hashed)?;
        let hashed = packet.len() - rest.0.len();
        let length = rest.number(2)?;
        claims.read(rest.take(length)?, Area::Unhashed)?;
        // The left half of the hash, a quick check for whoever wants one.
        rest.take(2)?;
        Ok(Some(Self {
            kind,
            claims,
            hash,
            hashed: packet.get(..hashed).unwrap_or_default().to_vec(),
            values: rest.0.to_vec(),
        }))
    }

    /// Verifies that `signer` made the signature over `data`.
    pub(super) fn verify(&self, signer: &Key, data: &[&[u8]]) -> Result<(), Unverified> {
        let hash = Hash::from_number(self.hash)
            .ok_or_else(|| Unverified::Unsupported(hash_name(self.hash)))?;
        // Not wrong: a revocation that cannot be understood revokes all the same.
        if self.claims.has_unknown_critical {
            return Err(Unverified::Unsupported("critical subpacket".into()));
        }
        if self.claims.created.is_none() {
            return Err(Unverified::Unsupported("signature without time".into()));
        }
        let mut message = data.concat();
        message.extend_from_slice(&self.hashed);
        let [.., b3, b2, b1, b0] = self.hashed.len().to_be_bytes();
        message.extend([4, 0xff, b3, b2, b1, b0]);
        let mut values = Octets(&self.values);
        match &signer.material {
            Material::Rsa { modulus, exponent } => {
                let value = values.integer().map_err(|_| Unverified::Wrong)?;
                let value = padded(value, modulus.len()).ok_or(Unverified::Wrong)?;
                let parameters = match hash {
                    Hash::Sha256 => &RSA_PKCS1_2048_8192_SHA256,
                    Hash::Sha384 => &RSA_PKCS1_2048_8192_SHA384,
                    Hash::Sha512 => &RSA_PKCS1_2048_8192_SHA512,
                };
                let (n, e) = (modulus, exponent);
                RsaPublicKeyComponents { n, e }
                    .verify(parameters, &message, &value)
                    .map_err(|_| Unverified::Wrong)?;
            }
            Material::Ecdsa { curve, point } => {
                let (r, s) = pair(&mut values).ok_or(Unverified::Wrong)?;
                let value = EcdsaValue::new(r, s).ok_or(Unverified::Wrong)?;
                let algorithm = match (curve, hash) {
                    (Curve::P256, Hash::Sha256) => &ECDSA_P256_SHA256_ASN1,
                    (Curve::P256, Hash::Sha384) => &ECDSA_P256_SHA384_ASN1,
                    (Curve::P256, Hash::Sha512) => &ECDSA_P256_SHA512_ASN1,
                    (Curve::P384, Hash::Sha256) => &ECDSA_P384_SHA256_ASN1,
                    (Curve::P384, Hash::Sha384) => &ECDSA_P384_SHA384_ASN1,
                    (Curve::P384, Hash::Sha512) => &ECDSA_P384_SHA512_ASN1,
                    (Curve::P521, Hash::Sha256) => &ECDSA_P521_SHA256_ASN1,
                    (Curve::P521, Hash::Sha384) => &ECDSA_P521_SHA384_ASN1,
                    (Curve::P521, Hash::Sha512) => &ECDSA_P521_SHA512_ASN1,
                };
                UnparsedPublicKey::new(algorithm, point)
                    .verify(&message, &value)
                    .map_err(|_| Unverified::Wrong)?;
            }
            Material::Ed25519(point) => {
                // Two numbers in the old form, 64 octets in the new one.
                let value = if self.values.len() == 64 {
                    self.values.clone()
                } else {
                    let (r, s) = pair(&mut values).ok_or(Unverified::Wrong)?;
                    let halves = padded(r, 32).zip(padded(s, 32));
                    let (r, s) = halves.ok_or(Unverified::Wrong)?;
                    [r, s].concat()
                };
                let digest = aws_lc_rs::digest::digest(hash.algorithm(), &message);
                UnparsedPublicKey::new(&signature::ED25519, point)
                    .verify(digest.as_ref(), &value)
                    .map_err(|_| Unverified::Wrong)?;
            }
            Material::Ecdh(_) => return Err(Unverified::Wrong),
            Material::Other(name) => return Err(Unverified::Unsupported(name.clone())),
        }
        Ok(())
    }

    /// Returns whether the signature was made by `now` and has not ended.
    pub(super) fn is_in_force(&self, now: u64) -> bool {
        let created = self.claims.created.unwrap_or(u64::MAX);
        let ends = self.claims.expires.filter(|seconds| *seconds > 0);
        created <= now && ends.is_none_or(|seconds| created.saturating_add(seconds) > now)
    }
}

/// Which subpackets are looked at for what.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Area {
    Hashed,
    Unhashed,
}

impl Claims {
    fn read(&mut self, octets: &[u8], area: Area) -> Result<(), Malformed> {
        let mut rest = Octets(octets);
        while !rest.is_empty() {
            let length = match rest.octet()? {
                first @ 0..=191 => first.into(),
                first @ 192..=254 => {
                    (usize::from(first - 192) << 8) + usize::from(rest.octet()?) + 192
                }
                255 => rest.number(4)?,
            };
            let mut body = Octets(rest.take(length)?);
            let kind = body.octet()?;
            if area == Area::Hashed {
                self.note(kind, body)?;
            }
            match kind & 0x7f {
                16 => self.issuer = Some(body.array()?),
                33 if body.octet()? == 4 => {
                    body.take(12)?;
                    self.issuer = Some(body.array()?);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn note(&mut self, kind: u8, mut body: Octets<'_>) -> Result<(), Malformed> {
        match kind & 0x7f {
            2 => self.created = Some(body.number(4)? as u64),
            3 => self.expires = Some(body.number(4)? as u64),
            9 => self.key_expires = Some(body.number(4)? as u64),
            11 => self.ciphers = Some(body.0.to_vec()),
            25 => self.is_primary_user = body.octet()? != 0,
            // All flags but the first octet's are about other things than encryption.
            27 => self.flags = Some(body.octet().unwrap_or_default()),
            // Known, and of no matter here.
            4 | 5 | 7 | 12 | 16 | 21..=24 | 26 | 28..=35 | 39 => {}
            _ if kind & CRITICAL != 0 => self.has_unknown_critical = true,
            _ => {}
        }
        Ok(())
    }
}

/// What is not understood and bears this bit makes its signature void.
const CRITICAL: u8 = 0x80;

fn pair<'a>(values: &mut Octets<'a>) -> Option<(&'a [u8], &'a [u8])> {
    Some((values.integer().ok()?, values.integer().ok()?))
}

/// Returns `octets` with zeros in front; `None` if they are too long.
fn padded(octets: &[u8], length: usize) -> Option<Vec<u8>> {
    let zeros = length.checked_sub(octets.len())?;
    Some([&vec![0; zeros], octets].concat())
}

/// `ECDSA-Sig-Value` (RFC 3279, section 2.2.3).
#[derive(Sequence)]
struct EcdsaValue<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

impl EcdsaValue<'_> {
    #[expect(clippy::new_ret_no_self, reason = "only its encoding is wanted")]
    fn new(r: &[u8], s: &[u8]) -> Option<Vec<u8>> {
        let value = EcdsaValue {
            r: UintRef::new(r).ok()?,
            s: UintRef::new(s).ok()?,
        };
        value.to_der().ok()
    }
}
