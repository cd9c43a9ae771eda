//! A share inside a token that answers with x-coordinates only (`SPEC.md`, section 13.2).
//!
//! Two calls recover the point: the partial of `R1` up to its sign, and the partial of `R1 + G`, which is `Y_i` away
//! from it. No proof is possible, so the descriptor lists such a holder as unproven.

use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    Culprit, ErrorId, ThresholdError,
    group::{self, EncodedPoint, Point},
};

/// ECDH with a key that never leaves its keeper: PKCS#11 `CKM_ECDH1_DERIVE` with `CKD_NULL`, or a cloud's like.
pub trait EcdhXOnly {
    /// Why a call failed.
    type Error;

    /// Returns the x-coordinate of the product of `point` (compressed) and the share.
    ///
    /// # Errors
    /// Whatever the keeper of the key says.
    fn x(&self, point: &[u8; 33]) -> Result<Zeroizing<[u8; 32]>, Self::Error>;
}

/// Why no partial was recovered.
#[derive(Debug, Eq, Error, PartialEq)]
pub enum XOnlyError<E> {
    /// The token refused or failed.
    #[error("token did not compute the partial")]
    Token(#[source] E),

    /// A point is none, or the answers of the token contradict its public share (`token_inconsistent`).
    #[error(transparent)]
    Threshold(#[from] ThresholdError),
}

/// Recovers `D_i = x_i * R1` with at most two calls of the token.
///
/// # Errors
/// [`XOnlyError`]; above all `token_inconsistent` if the token used another key than that of `public_share`.
pub fn recover<T: EcdhXOnly>(
    r1: &[u8; 33],
    public_share: &[u8; 33],
    token: &T,
) -> Result<Zeroizing<[u8; 33]>, XOnlyError<T::Error>> {
    let point = group::decode_point(r1).ok_or(ThresholdError::presenter(ErrorId::PointInvalid))?;
    let share =
        group::decode_point(public_share).ok_or(ThresholdError::dealer(ErrorId::PointInvalid))?;
    // The token is not asked for multiples of G: the second call would be about 2G or about the identity.
    if point == Point::GENERATOR {
        return encode(&share);
    }
    if point == -Point::GENERATOR {
        return encode(&-share);
    }
    let shifted = group::encode(&(point + Point::GENERATOR)).ok_or_else(inconsistent)?;
    let d = token.x(r1).map_err(XOnlyError::Token)?;
    let tau = token.x(&shifted).map_err(XOnlyError::Token)?;

    let even = with_even_y(&d).ok_or_else(inconsistent)?;
    // INVARIANT: both candidates fit only if `2 * share` were the identity, and the order is odd.
    for candidate in [even, -even] {
        let x = group::x_coordinate(&(candidate + share));
        if x.is_some_and(|x| bool::from(x.ct_eq(&tau[..]))) {
            return encode(&candidate);
        }
    }
    Err(inconsistent().into())
}

fn with_even_y(x: &[u8; 32]) -> Option<Point> {
    let mut encoded: Zeroizing<EncodedPoint> = Zeroizing::new([EVEN_Y; 33]);
    let (_, coordinate) = encoded.split_first_mut()?;
    coordinate.copy_from_slice(x);
    group::decode_point(&encoded[..])
}

fn encode<E>(point: &Point) -> Result<Zeroizing<EncodedPoint>, XOnlyError<E>> {
    Ok(Zeroizing::new(
        group::encode(point).ok_or_else(inconsistent)?,
    ))
}

const fn inconsistent() -> ThresholdError {
    ThresholdError::new(ErrorId::TokenInconsistent, Culprit::Holder(None))
}

/// First octet of a compressed point with even y (SEC 1, section 2.3.3).
const EVEN_Y: u8 = 2;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::group::Scalar;

    /// Multiplies with its scalar, until it has no answers left.
    struct Token {
        scalar: Scalar,
        answers: Cell<usize>,
    }

    #[derive(Debug, Eq, PartialEq)]
    struct Refused;

    impl EcdhXOnly for Token {
        type Error = Refused;

        fn x(&self, point: &[u8; 33]) -> Result<Zeroizing<[u8; 32]>, Refused> {
            let left = self.answers.get().checked_sub(1).ok_or(Refused)?;
            self.answers.set(left);
            let point = group::decode_point(point).unwrap();
            Ok(group::x_coordinate(&(point * self.scalar)).unwrap())
        }
    }

    fn encoded(scalar: Scalar) -> EncodedPoint {
        group::encode(&group::multiply_generator(&scalar)).unwrap()
    }

    #[test]
    fn the_point_is_recovered_with_two_calls_and_without_them_there_is_none() {
        for (share, r) in [(5, 7), (7, 5), (1, 2), (2, 1)]
            .map(|(share, r)| [share, r].map(|small: u64| Scalar::from(small)).into())
        {
            // Both signs of both.
            for (share, r) in [(share, r), (-share, r), (share, -r), (-share, -r)] {
                let (share, r): (Scalar, Scalar) = (share, r);
                let unasked = [Scalar::ONE, -Scalar::ONE].contains(&r);
                for answers in 0..=2 {
                    let token = Token {
                        scalar: share,
                        answers: Cell::new(answers),
                    };
                    let result = recover(&encoded(r), &encoded(share), &token);
                    if unasked || answers == 2 {
                        assert_eq!(result.as_deref(), Ok(&encoded(share * r)));
                        assert_eq!(token.answers.get(), if unasked { answers } else { 0 });
                    } else {
                        assert_eq!(result, Err(XOnlyError::Token(Refused)));
                    }
                }
            }
        }
    }
}
