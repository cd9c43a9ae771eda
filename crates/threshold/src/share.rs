use std::fmt;

use zeroize::Zeroizing;

use crate::{
    Culprit, ErrorId, GroupKey, HolderId, ThresholdError,
    group::{self, Scalar},
};

/// The share of one holder.
///
/// Wiped on drop. Not `Clone`, not `Serialize`, and silent under `Debug`.
pub struct Share {
    index: HolderId,
    generation: u32,
    octets: Zeroizing<[u8; 32]>,
    scalar: Zeroizing<Scalar>,
}

impl Share {
    /// Takes the octets of a share. Nothing says yet that it is the right one: see [`verify`](Self::verify).
    ///
    /// # Errors
    /// `scalar_invalid` for what is no scalar, `share_invalid` for zero.
    pub fn from_octets(
        index: HolderId,
        generation: u32,
        octets: Zeroizing<[u8; 32]>,
    ) -> Result<Self, ThresholdError> {
        let scalar = group::decode_scalar(&octets[..])
            .map(Zeroizing::new)
            .ok_or(ThresholdError::dealer(ErrorId::ScalarInvalid))?;
        if *scalar == Scalar::ZERO {
            return Err(ThresholdError::dealer(ErrorId::ShareInvalid));
        }
        Ok(Self {
            index,
            generation,
            octets,
            scalar,
        })
    }

    /// Decodes a share that was received (`SPEC.md`, section 7).
    ///
    /// # Errors
    /// As [`from_octets`](Self::from_octets); `scalar_invalid` for another length than 32.
    pub fn decode(index: HolderId, generation: u32, octets: &[u8]) -> Result<Self, ThresholdError> {
        let octets = octets
            .try_into()
            .map_err(|_| ThresholdError::dealer(ErrorId::ScalarInvalid))?;
        Self::from_octets(index, generation, Zeroizing::new(octets))
    }

    /// Checks that this is the share to which the descriptor commits.
    ///
    /// # Errors
    /// `holder_unknown`, `generation_mismatch`, `share_invalid`.
    pub fn verify(&self, group: &GroupKey) -> Result<(), ThresholdError> {
        let (_, public_share) = group
            .holder_point(self.index)
            .ok_or(self.error(ErrorId::HolderUnknown))?;
        if self.generation != group.generation() {
            return Err(self.error(ErrorId::GenerationMismatch));
        }
        if group::multiply_generator(&self.scalar) != *public_share {
            return Err(ThresholdError::dealer(ErrorId::ShareInvalid));
        }
        Ok(())
    }

    /// Returns the holder's index.
    pub const fn index(&self) -> HolderId {
        self.index
    }

    /// Returns the number of the sharing it belongs to.
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// Borrows the secret octets.
    pub fn expose(&self) -> &[u8; 32] {
        &self.octets
    }

    /// Borrows the secret scalar.
    pub(crate) fn scalar(&self) -> &Scalar {
        &self.scalar
    }

    pub(crate) fn error(&self, id: ErrorId) -> ThresholdError {
        ThresholdError::new(id, Culprit::Holder(Some(self.index)))
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Share(holder {}, generation {}, ..)",
            self.index, self.generation
        )
    }
}
