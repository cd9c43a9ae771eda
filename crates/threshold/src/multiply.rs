//! Multiplication by the P-256 arithmetic of `aws-lc`: constant-time, and a third of the time that `p256` takes.
//!
//! Its interface gives x-coordinates only. As with a share inside a token (`SPEC.md`, section 13.2), a second
//! multiplication decides between the two points with that x-coordinate: of `D` and `-D`, one alone satisfies
//! `x(D + s*G) = x(s*(P + G))`. Which of the two it is may show in the time taken: every point returned here is
//! published, or follows from what is. Where it is not, the x-coordinate is all that is needed.

use std::fmt;

use aws_lc_rs::agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey};
use p256::{
    NistP256,
    elliptic_curve::{
        BatchNormalize,
        sec1::{FromSec1Point, Sec1Point, ToSec1Point},
    },
};
use zeroize::Zeroizing;

use crate::group::{self, Point, Scalar};

/// A scalar, secret or not, ready to multiply points.
pub(crate) struct Multiplier {
    scalar: Zeroizing<Scalar>,
    // Absent for zero, which is no private key.
    key: Option<PrivateKey>,
    times_generator: Point,
}

impl Multiplier {
    pub(crate) fn new(scalar: &Scalar) -> Self {
        let octets = Zeroizing::new(group::encode_scalar(scalar));
        let ready = PrivateKey::from_private_key(&ECDH_P256, &octets[..])
            .ok()
            .and_then(|key| {
                let public = key.compute_public_key().ok()?;
                let public = Sec1Point::<NistP256>::from_bytes(public).ok()?;
                Some((key, Option::from(Point::from_sec1_point(&public))?))
            });
        let (key, times_generator) = match ready {
            Some((key, point)) => (Some(key), point),
            None => (None, group::multiply_generator(scalar)),
        };
        Self {
            scalar: Zeroizing::new(*scalar),
            key,
            times_generator,
        }
    }

    /// Returns `s*G`.
    pub(crate) const fn generator(&self) -> Point {
        self.times_generator
    }

    /// Returns `s*P`.
    pub(crate) fn multiply(&self, base: &Base) -> Point {
        // The other way serves the exceptions: a scalar of zero, and sums that are the identity.
        self.multiply_quickly(base)
            .unwrap_or_else(|| base.point * *self.scalar)
    }

    /// Returns the x-coordinate of `s*P`, which may be a secret; `None` for the identity.
    pub(crate) fn x_coordinate(&self, base: &Base) -> Option<Zeroizing<[u8; 32]>> {
        self.key
            .as_ref()
            .zip(base.encoded.as_ref())
            .and_then(|(key, (point, _))| x_coordinate(key, point))
            .or_else(|| group::x_coordinate(&(base.point * *self.scalar)))
    }

    fn multiply_quickly(&self, base: &Base) -> Option<Point> {
        let key = self.key.as_ref()?;
        let (point, plus_generator) = base.encoded.as_ref()?;
        let x = x_coordinate(key, point)?;
        let tau = x_coordinate(key, plus_generator)?;

        let mut even = [2; group::POINT_LEN];
        even.last_chunk_mut::<32>()?.copy_from_slice(&x[..]);
        let even = group::decode_point(&even)?;
        let sums = [self.times_generator + even, self.times_generator - even];
        let [with_even, with_odd] = group::encode_all(&sums)?.map(|sum| sum.ends_with(&tau[..]));
        match (with_even, with_odd) {
            (true, false) => Some(even),
            (false, true) => Some(-even),
            _ => None,
        }
    }
}

impl fmt::Debug for Multiplier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Multiplier(..)")
    }
}

/// A point, ready to be multiplied by several scalars.
pub(crate) struct Base {
    point: Point,
    // Itself and its sum with the generator; absent if one of them is the identity.
    encoded: Option<([u8; 65], [u8; 65])>,
}

impl Base {
    pub(crate) fn new(point: &Point) -> Self {
        let [own, sum] = Point::batch_normalize(&[*point, *point + Point::GENERATOR])
            .map(|point| point.to_sec1_point(false).as_bytes().try_into().ok());
        Self {
            point: *point,
            encoded: own.zip(sum),
        }
    }
}

fn x_coordinate(key: &PrivateKey, peer: &[u8; 65]) -> Option<Zeroizing<[u8; 32]>> {
    let peer = UnparsedPublicKey::new(&ECDH_P256, peer);
    agreement::agree(key, peer, (), |x| {
        x.try_into().map(Zeroizing::new).map_err(drop)
    })
    .ok()
}
