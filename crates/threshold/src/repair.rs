//! A lost share, made again by the holders that are left (`SPEC.md`, section 14.5).
//!
//! Each of `t` survivors splits its contribution to the lost share into random summands, one per survivor; each
//! survivor adds what it received and sends the sum to the loser, who adds the sums. Nobody but the loser learns a
//! share. Every message is sealed to its receiver ([`Purpose::Contribution`](crate::Purpose)).
//!
//! A wrong result is noticed, and nobody can say whose fault it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use aws_lc_rs::rand::SecureRandom;
use zeroize::Zeroizing;

use crate::{
    Culprit, ErrorId, GroupKey, HolderId, Share, ThresholdError,
    group::{self, Scalar},
    randomness,
};

/// Which share is made again, and by whom.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Repair {
    lost: HolderId,
    set: BTreeSet<HolderId>,
}

/// One scalar of a repair, a summand or a sum. Wiped on drop.
pub struct RepairScalar(Zeroizing<[u8; 32]>);

impl Repair {
    /// Plans the repair of the share of `lost` by `set`.
    ///
    /// # Errors
    /// `argument_invalid` unless `set` is exactly the threshold of holders of the part of `lost`, without it.
    pub fn new(
        key: &GroupKey,
        lost: HolderId,
        set: BTreeSet<HolderId>,
    ) -> Result<Self, ThresholdError> {
        let part = key
            .parts()
            .iter()
            .find(|part| part.holders.contains(&lost))
            .ok_or_else(argument_invalid)?;
        let fits = set.iter().all(|holder| part.holders.contains(holder))
            && set.len() == usize::from(part.t)
            && !set.contains(&lost);
        if fits {
            Ok(Self { lost, set })
        } else {
            Err(argument_invalid())
        }
    }

    /// Splits what `share` contributes to the lost share: one summand for each survivor, its own included.
    ///
    /// # Errors
    /// `argument_invalid` unless the share is of the set; `randomness`.
    pub fn split(
        &self,
        share: &Share,
        rng: &dyn SecureRandom,
    ) -> Result<BTreeMap<HolderId, RepairScalar>, ThresholdError> {
        let mut summands = Zeroizing::new(Vec::with_capacity(self.set.len()));
        for _ in 1..self.set.len() {
            summands.push(*randomness::scalar(rng)?);
        }
        self.split_with(share, &summands)
    }

    /// Adds what one survivor received from all, itself included.
    ///
    /// # Errors
    /// `argument_invalid` unless there is one scalar of each survivor; `scalar_invalid` naming who sent a bad one.
    pub fn sum(
        &self,
        received: &BTreeMap<HolderId, RepairScalar>,
    ) -> Result<RepairScalar, ThresholdError> {
        Ok(RepairScalar::new(&*self.add(received)?))
    }

    /// Makes the lost share from the sums of all survivors.
    ///
    /// # Errors
    /// As [`sum`](Self::sum); `share_invalid`, naming the dealer, if the result is not the share of the descriptor.
    pub fn finish(
        &self,
        key: &GroupKey,
        sums: &BTreeMap<HolderId, RepairScalar>,
    ) -> Result<Share, ThresholdError> {
        let octets = Zeroizing::new(group::encode_scalar(&*self.add(sums)?));
        let share = Share::from_octets(self.lost, key.generation(), octets)?;
        share.verify(key)?;
        Ok(share)
    }

    /// Splits with given summands; the last survivor gets what is missing.
    pub(crate) fn split_with(
        &self,
        share: &Share,
        summands: &[Scalar],
    ) -> Result<BTreeMap<HolderId, RepairScalar>, ThresholdError> {
        if !self.set.contains(&share.index()) {
            return Err(argument_invalid());
        }
        let set: Vec<HolderId> = self.set.iter().copied().collect();
        let weight =
            group::lagrange(&set, share.index(), self.lost.get()).ok_or_else(argument_invalid)?;
        let mut rest = Zeroizing::new(weight * share.scalar());
        let mut split = BTreeMap::new();
        for (&holder, summand) in set.iter().zip(summands) {
            *rest -= summand;
            split.insert(holder, RepairScalar::new(summand));
        }
        let last = *set.last().ok_or_else(argument_invalid)?;
        split.insert(last, RepairScalar::new(&rest));
        Ok(split)
    }

    fn add(
        &self,
        scalars: &BTreeMap<HolderId, RepairScalar>,
    ) -> Result<Zeroizing<Scalar>, ThresholdError> {
        if !scalars.keys().eq(&self.set) {
            return Err(argument_invalid());
        }
        let mut sum = Zeroizing::new(Scalar::ZERO);
        for (&from, scalar) in scalars {
            *sum += *group::decode_scalar(&scalar.0[..])
                .map(Zeroizing::new)
                .ok_or(ThresholdError::holder(ErrorId::ScalarInvalid, from))?;
        }
        Ok(sum)
    }
}

impl RepairScalar {
    /// Takes the octets as they were received; they are checked when they are added.
    pub const fn from_octets(octets: Zeroizing<[u8; 32]>) -> Self {
        Self(octets)
    }

    /// Borrows the octets to be sealed.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    fn new(scalar: &Scalar) -> Self {
        Self(Zeroizing::new(group::encode_scalar(scalar)))
    }
}

impl fmt::Debug for RepairScalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RepairScalar(..)")
    }
}

const fn argument_invalid() -> ThresholdError {
    ThresholdError::new(ErrorId::ArgumentInvalid, Culprit::None)
}
