//! The group P-256 and the functions into it (`SPEC.md`, sections 2 to 4).
//!
//! What ends in `_vartime` takes time that depends on its arguments, and is for public values only.

use hash2curve::ExpandMsgXmd;
use p256::{
    FieldBytes, NistP256,
    elliptic_curve::{
        BatchNormalize, Group, PrimeField,
        array::typenum::U48,
        ops::LinearCombination,
        scalar::IsHigh,
        sec1::{FromSec1Point, Sec1Point, ToSec1Point},
    },
};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::HolderId;

pub(crate) use p256::{ProjectivePoint as Point, Scalar};

/// A point as it travels: SEC 1, compressed.
pub(crate) type EncodedPoint = [u8; POINT_LEN];

/// Decodes a compressed point, which is never the identity.
pub(crate) fn decode_point(octets: &[u8]) -> Option<Point> {
    // SEC 1 also knows the identity (one octet) and the uncompressed, hybrid and compact forms.
    if octets.len() != POINT_LEN || !matches!(octets.first(), Some(2 | 3)) {
        return None;
    }
    let encoded = Sec1Point::<NistP256>::from_bytes(octets).ok()?;
    Option::from(Point::from_sec1_point(&encoded))
}

/// Encodes a point; the identity has no encoding.
pub(crate) fn encode(point: &Point) -> Option<EncodedPoint> {
    let [encoded] = encode_all(&[*point])?;
    Some(encoded)
}

/// Encodes points for the price of one inversion; `None` if any is the identity.
pub(crate) fn encode_all<const N: usize>(points: &[Point; N]) -> Option<[EncodedPoint; N]> {
    let mut encoded = [[0; POINT_LEN]; N];
    for (octets, point) in encoded.iter_mut().zip(Point::batch_normalize(points)) {
        *octets = point.to_sec1_point(true).as_bytes().try_into().ok()?;
    }
    Some(encoded)
}

/// Returns the x-coordinate, the output of ECC-CDH; `None` for the identity.
pub(crate) fn x_coordinate(point: &Point) -> Option<Zeroizing<[u8; 32]>> {
    let encoded = Zeroizing::new(encode(point)?);
    let (_, x) = encoded.split_first()?;
    Some(Zeroizing::new(x.try_into().ok()?))
}

/// Decodes a scalar: 32 octets, below the order. Zero passes.
pub(crate) fn decode_scalar(octets: &[u8]) -> Option<Scalar> {
    let octets: [u8; SCALAR_LEN] = octets.try_into().ok()?;
    Option::from(Scalar::from_repr(FieldBytes::from(octets)))
}

/// Encodes a scalar.
pub(crate) fn encode_scalar(scalar: &Scalar) -> [u8; SCALAR_LEN] {
    scalar.to_bytes().into()
}

/// Puts its length in front of each part.
pub(crate) fn length_prefixed(parts: &[&[u8]]) -> Vec<u8> {
    let len = parts.iter().map(|part| 4 + part.len()).sum();
    let mut octets = Vec::with_capacity(len);
    for part in parts {
        octets.extend(length_of(part));
        octets.extend_from_slice(part);
    }
    octets
}

/// Hashes length-prefixed parts to a scalar, as `hash_to_field` of RFC 9380 does modulo the order.
#[expect(
    clippy::expect_used,
    reason = "every domain string is a constant of `domain`, shorter than 256 octets and not empty"
)]
pub(crate) fn hash_to_scalar(domain: &str, parts: &[&[u8]]) -> Scalar {
    // The prefixes are hashed in place, so that secrets among the parts are not copied.
    let lengths: Vec<[u8; 4]> = parts.iter().map(|part| length_of(part)).collect();
    let message: Vec<&[u8]> = lengths
        .iter()
        .zip(parts)
        .flat_map(|(length, part)| [&length[..], part])
        .collect();
    hash2curve::hash_to_scalar::<NistP256, ExpandMsgXmd<Sha256>, U48>(
        &message,
        &[domain.as_bytes()],
    )
    .expect("a domain string of legal length")
}

/// Hashes to a point whose discrete logarithm nobody knows: `P256_XMD:SHA-256_SSWU_RO_` of RFC 9380.
#[expect(
    clippy::expect_used,
    reason = "every domain string is a constant of `domain`, shorter than 256 octets and not empty"
)]
pub(crate) fn hash_to_point(domain: &str, message: &[u8]) -> Point {
    hash2curve::hash_from_bytes::<NistP256, ExpandMsgXmd<Sha256>>(&[message], &[domain.as_bytes()])
        .expect("a domain string of legal length")
}

/// Returns the second generator of a key (section 4).
pub(crate) fn gamma(suite: &str, public_key: &EncodedPoint, key_id: &str) -> Point {
    let message = length_prefixed(&[suite.as_bytes(), public_key, key_id.as_bytes()]);
    hash_to_point(domain::GAMMA, &message)
}

/// Returns the Lagrange coefficient of `index` within `set` for the abscissa `at`.
///
/// `None` unless the indices of `set` are distinct.
pub(crate) fn lagrange(set: &[HolderId], index: HolderId, at: u8) -> Option<Scalar> {
    let scalar = |abscissa: u8| Scalar::from(u64::from(abscissa));
    let mut numerator = Scalar::ONE;
    let mut denominator = Scalar::ONE;
    for other in set.iter().filter(|other| **other != index) {
        numerator *= scalar(at) - scalar(other.get());
        denominator *= scalar(index.get()) - scalar(other.get());
    }
    let occurrences = set.iter().filter(|other| **other == index).count();
    let inverse: Option<Scalar> = denominator.invert_vartime().into();
    inverse
        .filter(|_| occurrences == 1)
        .map(|inverse| numerator * inverse)
}

/// Evaluates a polynomial, constant term first, at `abscissa`. The coefficients may be secret.
pub(crate) fn evaluate(coefficients: &[Scalar], abscissa: HolderId) -> Zeroizing<Scalar> {
    let abscissa = Scalar::from(u64::from(abscissa.get()));
    let mut value = Zeroizing::new(Scalar::ZERO);
    for coefficient in coefficients.iter().rev() {
        *value = *value * abscissa + coefficient;
    }
    value
}

/// Evaluates the committed polynomial, constant term first, at `abscissa`: the point of that share.
pub(crate) fn evaluate_commitments(commitments: &[Point], abscissa: HolderId) -> Point {
    let mut value = Point::IDENTITY;
    for commitment in commitments.iter().rev() {
        value = multiply_small_vartime(&value, abscissa.get()) + commitment;
    }
    value
}

/// Returns `scalar * G` in constant time.
pub(crate) fn multiply_generator(scalar: &Scalar) -> Point {
    Point::mul_by_generator(scalar)
}

/// Returns the sum of the products.
pub(crate) fn multi_multiply_vartime(terms: &[(Point, Scalar)]) -> Point {
    if terms.is_empty() {
        return Point::IDENTITY;
    }
    // Lagrange coefficients such as -1 are short once the sign is moved to the point.
    let terms: Vec<(Point, Scalar)> = terms
        .iter()
        .map(|(point, scalar)| {
            if bool::from(scalar.is_high()) {
                (-*point, -*scalar)
            } else {
                (*point, *scalar)
            }
        })
        .collect();
    Point::lincomb_vartime(terms.as_slice())
}

fn multiply_small_vartime(point: &Point, factor: u8) -> Point {
    let mut product = Point::IDENTITY;
    for bit in (0..u8::BITS).rev() {
        product += product;
        if factor >> bit & 1 == 1 {
            product += point;
        }
    }
    product
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "parts are bounded by their parsers, far below 2^32 octets"
)]
fn length_of(part: &[u8]) -> [u8; 4] {
    (part.len() as u32).to_be_bytes()
}

/// Octets of an encoded point.
pub(crate) const POINT_LEN: usize = 33;
/// Octets of an encoded scalar.
pub(crate) const SCALAR_LEN: usize = 32;

/// The domain-separation strings of version 1 (section 3).
pub(crate) mod domain {
    pub(crate) const GAMMA: &str = "sealift/v1/tdh2/gamma/P256_XMD:SHA-256_SSWU_RO_";
    pub(crate) const CHALLENGE: &str = "sealift/v1/tdh2/challenge";
    pub(crate) const KEK: &str = "sealift/v1/tdh2/kek";
    pub(crate) const DLEQ: &str = "sealift/v1/tdh2/dleq";
    pub(crate) const NONCE_R: &str = "sealift/v1/tdh2/nonce-r";
    pub(crate) const NONCE_S: &str = "sealift/v1/tdh2/nonce-s";
    pub(crate) const NONCE_DLEQ: &str = "sealift/v1/tdh2/nonce-dleq";
    pub(crate) const UNLABELLED: &str = "sealift/v1/unlabelled";
    pub(crate) const REPLY: &str = "sealift/v1/partial-reply";
    pub(crate) const IMPORT: &str = "sealift/v1/share-import";
    pub(crate) const RESHARE: &str = "sealift/v1/share-contribution";
    pub(crate) const ESCROW: &str = "sealift/v1/escrow";
    pub(crate) const SSS_SHARE: &str = "sealift/v1/sss/share";
    pub(crate) const SSS_COMMIT: &str = "sealift/v1/sss/commit";
    pub(crate) const SSS_KEK: &str = "sealift/v1/sss/kek";
    pub(crate) const HYBRID_CHALLENGE: &str = "sealift/v1/hybrid/challenge";
    pub(crate) const HYBRID_KEK: &str = "sealift/v1/hybrid/kek";
}
