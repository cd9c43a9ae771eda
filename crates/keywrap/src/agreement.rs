//! Elliptic-curve Diffie-Hellman, wherever the private key lives (RFC 7518, section 4.6).

use std::fmt;

use aws_lc_rs::agreement::{self, ParsedPublicKey, UnparsedPublicKey};
use thiserror::Error;
use zeroize::Zeroizing;

/// A private key that agrees on a shared secret with an ephemeral public key.
///
/// Implemented by local keys here, and elsewhere by tokens, cloud services and threshold groups.
pub trait KeyAgreement: fmt::Debug + Send + Sync {
    /// Returns the curve of the key.
    fn curve(&self) -> Curve;

    /// Computes the x-coordinate of the shared point.
    ///
    /// # Errors
    /// [`AgreementError::WrongCurve`] if `peer` lies on another curve; [`AgreementError::Refused`] if the keeper
    /// of the key does not perform the operation.
    fn agree(&self, peer: &EcPoint) -> Result<SharedSecret, AgreementError>;
}

/// Why a key agreement did not take place.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum AgreementError {
    /// The two keys lie on different curves.
    #[error("public key lies on another curve")]
    WrongCurve,

    /// The keeper of the private key did not perform the operation.
    #[error("key agreement refused")]
    Refused,
}

/// A curve of NIST SP 800-186 that JWE uses.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Curve {
    /// secp256r1.
    P256,
    /// secp384r1.
    P384,
    /// secp521r1.
    P521,
}

impl Curve {
    /// Returns the name as JWK writes it (RFC 7518, section 6.2.1.1).
    pub const fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    /// Recognises a JWK curve name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|curve| curve.name() == name)
    }

    /// Returns the length of a coordinate and of a private scalar.
    pub const fn coordinate_len(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// Returns the object identifier of RFC 5480.
    pub const fn oid(self) -> spki::ObjectIdentifier {
        match self {
            Self::P256 => spki::ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"),
            Self::P384 => spki::ObjectIdentifier::new_unwrap("1.3.132.0.34"),
            Self::P521 => spki::ObjectIdentifier::new_unwrap("1.3.132.0.35"),
        }
    }

    /// Recognises an object identifier.
    pub fn from_oid(oid: &spki::ObjectIdentifier) -> Option<Self> {
        Self::ALL.into_iter().find(|curve| curve.oid() == *oid)
    }

    pub(crate) fn algorithm(self) -> &'static agreement::Algorithm {
        match self {
            Self::P256 => &agreement::ECDH_P256,
            Self::P384 => &agreement::ECDH_P384,
            Self::P521 => &agreement::ECDH_P521,
        }
    }

    const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];
}

/// A point that is known to lie on its curve and not to be the identity.
#[derive(Clone, Eq, PartialEq)]
pub struct EcPoint {
    curve: Curve,
    /// `04 ‖ x ‖ y`, SEC 1 section 2.3.3.
    octets: Vec<u8>,
}

impl EcPoint {
    /// Takes an uncompressed SEC 1 point; `None` unless it is a point of the curve.
    ///
    /// Compressed and hybrid forms and the identity are refused.
    pub fn from_uncompressed(curve: Curve, octets: &[u8]) -> Option<Self> {
        if octets.len() != 1 + 2 * curve.coordinate_len() || octets.first() != Some(&0x04) {
            return None;
        }
        // INVARIANT: the library checks the curve equation; the curves have cofactor one, so that is enough.
        ParsedPublicKey::try_from(UnparsedPublicKey::new(curve.algorithm(), octets)).ok()?;
        Some(Self {
            curve,
            octets: octets.to_vec(),
        })
    }

    /// Takes affine coordinates of full length (RFC 7518, section 6.2.1.2).
    pub fn from_coordinates(curve: Curve, x: &[u8], y: &[u8]) -> Option<Self> {
        if x.len() != curve.coordinate_len() {
            return None;
        }
        Self::from_uncompressed(curve, &[&[0x04], x, y].concat())
    }

    /// Returns the curve.
    pub const fn curve(&self) -> Curve {
        self.curve
    }

    /// Borrows `04 ‖ x ‖ y`.
    pub fn as_uncompressed(&self) -> &[u8] {
        &self.octets
    }

    /// Borrows the two coordinates.
    pub fn coordinates(&self) -> (&[u8], &[u8]) {
        self.octets
            .get(1..)
            .unwrap_or_default()
            .split_at(self.curve.coordinate_len())
    }
}

impl fmt::Debug for EcPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EcPoint({})", self.curve.name())
    }
}

/// The x-coordinate two keys agreed on. Wiped on drop, silent under `Debug`.
pub struct SharedSecret(Zeroizing<Vec<u8>>);

impl SharedSecret {
    /// Takes the octets of a coordinate.
    pub fn new(octets: Zeroizing<Vec<u8>>) -> Self {
        Self(octets)
    }

    /// Borrows the coordinate.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(..)")
    }
}

/// A key in this process.
pub(crate) struct LocalAgreement {
    curve: Curve,
    key: agreement::PrivateKey,
}

impl LocalAgreement {
    /// Takes a big-endian scalar, shorter ones padded; `None` unless it is in range.
    pub(crate) fn from_scalar(curve: Curve, scalar: &[u8]) -> Option<Self> {
        let significant = scalar.get(scalar.iter().position(|&octet| octet != 0)?..)?;
        let mut padded = Zeroizing::new(vec![0; curve.coordinate_len()]);
        let start = padded.len().checked_sub(significant.len())?;
        padded.get_mut(start..)?.copy_from_slice(significant);
        let key = agreement::PrivateKey::from_private_key(curve.algorithm(), &padded).ok()?;
        Some(Self { curve, key })
    }

    /// Draws a fresh key.
    pub(crate) fn generate(curve: Curve) -> Option<Self> {
        let key = agreement::PrivateKey::generate(curve.algorithm()).ok()?;
        Some(Self { curve, key })
    }

    pub(crate) fn public(&self) -> Option<EcPoint> {
        let public = self.key.compute_public_key().ok()?;
        EcPoint::from_uncompressed(self.curve, public.as_ref())
    }

    pub(crate) const fn key(&self) -> &agreement::PrivateKey {
        &self.key
    }
}

impl KeyAgreement for LocalAgreement {
    fn curve(&self) -> Curve {
        self.curve
    }

    fn agree(&self, peer: &EcPoint) -> Result<SharedSecret, AgreementError> {
        if peer.curve() != self.curve {
            return Err(AgreementError::WrongCurve);
        }
        agreement::agree(
            &self.key,
            UnparsedPublicKey::new(self.curve.algorithm(), peer.as_uncompressed()),
            AgreementError::Refused,
            |shared| Ok(SharedSecret::new(Zeroizing::new(shared.to_vec()))),
        )
    }
}

impl fmt::Debug for LocalAgreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalAgreement({})", self.curve.name())
    }
}
