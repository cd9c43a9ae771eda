use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SecureRandom;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::error::SealError;

/// The content-encryption key of one layer.
///
/// Wiped on drop. Not `Clone`, not `Serialize`, and silent under `Debug`, so every use of the octets is a call to
/// [`expose`](Self::expose) that a reviewer can grep.
#[derive(ZeroizeOnDrop)]
pub struct LayerKey([u8; Self::LEN]);

impl LayerKey {
    /// Draws a fresh key; a key must never seal two layers.
    ///
    /// # Errors
    /// [`SealError::Randomness`] when the generator fails; there is no key then.
    pub fn generate(rng: &dyn SecureRandom) -> Result<Self, SealError> {
        let mut key = Self([0; Self::LEN]);
        rng.fill(&mut key.0).map_err(|_| SealError::Randomness)?;
        Ok(key)
    }

    /// Takes existing octets; `None` unless there are exactly [`LEN`](Self::LEN).
    pub fn from_octets(octets: &[u8]) -> Option<Self> {
        octets.try_into().ok().map(Self)
    }

    /// Borrows the raw octets.
    pub fn expose(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Length in octets.
    pub const LEN: usize = 32;
}

impl fmt::Debug for LayerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LayerKey(..)")
    }
}

/// Fills `okm` with HKDF-Expand (RFC 5869, section 2.3) over HMAC-SHA-512.
///
/// `prk` is used as it is, although it may be shorter than the hash: it is uniformly random already. At most 255
/// blocks of 64 octets can be had; callers ask for two.
pub(crate) fn expand(prk: &[u8; LayerKey::LEN], info: &[&[u8]], okm: &mut [u8]) {
    let prk = hmac::Key::new(hmac::HMAC_SHA512, prk);
    let mut previous = [0; 64];
    for (counter, block) in (1_u8..=255).zip(okm.chunks_mut(previous.len())) {
        let mut context = hmac::Context::with_key(&prk);
        if counter > 1 {
            context.update(&previous);
        }
        for part in info {
            context.update(part);
        }
        context.update(&[counter]);
        previous.copy_from_slice(context.sign().as_ref());
        block.copy_from_slice(previous.split_at(block.len()).0);
    }
    previous.zeroize();
}
