//! Random octets and scalars from the one source that the caller gives.
//!
//! A source that fails ends the operation with the identifier `randomness`; nothing is ever made of zeros.

use std::convert::Infallible;

use aws_lc_rs::rand::SecureRandom;
use frost_p256::rand_core as rand_core_06;
use zeroize::Zeroizing;

use crate::{
    ThresholdError,
    group::{self, Scalar},
};

/// Draws `N` octets.
pub(crate) fn octets<const N: usize>(
    rng: &dyn SecureRandom,
) -> Result<Zeroizing<[u8; N]>, ThresholdError> {
    let mut drawn = Zeroizing::new([0; N]);
    rng.fill(&mut drawn[..])
        .map_err(|_| ThresholdError::randomness())?;
    Ok(drawn)
}

/// Draws a scalar from 1 to the order less 1 by rejection.
pub(crate) fn scalar(rng: &dyn SecureRandom) -> Result<Zeroizing<Scalar>, ThresholdError> {
    non_zero(|| {
        let drawn = octets::<{ group::SCALAR_LEN }>(rng)?;
        Ok(group::decode_scalar(&drawn[..]).unwrap_or(Scalar::ZERO))
    })
}

/// Calls `draw` until it gives another scalar than zero.
pub(crate) fn non_zero(
    mut draw: impl FnMut() -> Result<Scalar, ThresholdError>,
) -> Result<Zeroizing<Scalar>, ThresholdError> {
    for _ in 0..MAX_DRAWS {
        let drawn = Zeroizing::new(draw()?);
        if *drawn != Scalar::ZERO {
            return Ok(drawn);
        }
    }
    Err(ThresholdError::randomness())
}

/// Lends `rng` to a library that wants a generator which cannot fail.
///
/// If it did fail, what the library made of it is thrown away.
pub(crate) fn lend<T>(
    rng: &dyn SecureRandom,
    call: impl FnOnce(&mut Lent<'_>) -> T,
) -> Result<T, ThresholdError> {
    let mut lent = Lent { rng, failed: false };
    let result = call(&mut lent);
    if lent.failed {
        Err(ThresholdError::randomness())
    } else {
        Ok(result)
    }
}

/// A generator for [`lend`], of both generations of `rand_core`.
pub(crate) struct Lent<'a> {
    rng: &'a dyn SecureRandom,
    failed: bool,
}

impl Lent<'_> {
    fn fill(&mut self, octets: &mut [u8]) {
        if self.rng.fill(octets).is_err() {
            self.failed = true;
            // Not zeros, so that a library which draws until it likes the result comes to an end.
            octets.fill(1);
        }
    }

    fn word<const N: usize>(&mut self) -> [u8; N] {
        let mut word = [0; N];
        self.fill(&mut word);
        word
    }
}

impl rand_core::TryRng for Lent<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.word()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.word()))
    }

    fn try_fill_bytes(&mut self, octets: &mut [u8]) -> Result<(), Infallible> {
        self.fill(octets);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Lent<'_> {}

impl rand_core_06::RngCore for Lent<'_> {
    fn next_u32(&mut self) -> u32 {
        u32::from_le_bytes(self.word())
    }

    fn next_u64(&mut self) -> u64 {
        u64::from_le_bytes(self.word())
    }

    fn fill_bytes(&mut self, octets: &mut [u8]) {
        self.fill(octets);
    }

    fn try_fill_bytes(&mut self, octets: &mut [u8]) -> Result<(), rand_core_06::Error> {
        self.fill(octets);
        Ok(())
    }
}

impl rand_core_06::CryptoRng for Lent<'_> {}

/// A sound generator is rejected this often with a probability below 2^-2000.
const MAX_DRAWS: usize = 64;
