//! New shares of the same key: refresh and reshare (`SPEC.md`, sections 14.3 and 14.4).
//!
//! Every participant deals a polynomial: it publishes the commitments and sends one value to each receiver, sealed
//! ([`Purpose::Contribution`](crate::Purpose)). A receiver checks each contribution, which names a bad one, and adds
//! up. The public key stays, old wraps open, and shares of two generations do not mix.
//!
//! Three rules are the caller's: all receivers compare the commitments they saw; an old share is destroyed only after
//! every participant has verified its new one against the new descriptor; and it *is* destroyed, because protection
//! begins there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, iter,
};

use aws_lc_rs::rand::SecureRandom;
use zeroize::Zeroizing;

use crate::{
    Culprit, ErrorId, GroupKey, HolderId, Part, Share, ThresholdError,
    group::{self, EncodedPoint, Point, Scalar},
    randomness,
};

/// What one holder deals. The commitments are public; each value is for its receiver alone.
pub struct Contribution {
    /// Who deals.
    pub from: HolderId,
    /// `C_1 …` of a refresh, whose constant term is zero; `C_0 …` of a reshare.
    pub commitments: Vec<[u8; 33]>,
    /// The value of the polynomial for each receiver.
    pub values: BTreeMap<HolderId, Zeroizing<[u8; 32]>>,
}

/// What one receiver sees of a contribution.
#[derive(Clone, Copy)]
pub struct Received<'a> {
    /// Who dealt it.
    pub from: HolderId,
    /// Who received it.
    pub to: HolderId,
    /// The published commitments.
    pub commitments: &'a [[u8; 33]],
    /// The value that was sealed to the receiver.
    pub value: &'a [u8; 32],
}

/// How a key is to be shared anew.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reshare {
    /// The old holders that deal: exactly the old threshold of one part.
    pub set: BTreeSet<HolderId>,
    /// The new threshold.
    pub t: u8,
    /// The new holders.
    pub receivers: BTreeSet<HolderId>,
}

/// A contribution to a refresh that agrees with its commitments. Wiped on drop.
pub struct CheckedRefresh(Checked);

/// A contribution to a reshare that agrees with its commitments and with the old key. Wiped on drop.
pub struct CheckedReshare {
    checked: Checked,
    set: BTreeSet<HolderId>,
}

/// Deals a polynomial without constant term, for the holders that stay.
///
/// # Errors
/// `argument_invalid` unless `from` and all `receivers` are of one part and at least its threshold stay; `randomness`.
pub fn refresh_contribution(
    key: &GroupKey,
    from: HolderId,
    receivers: &BTreeSet<HolderId>,
    rng: &dyn SecureRandom,
) -> Result<Contribution, ThresholdError> {
    let part = part_of(key, from)?;
    let stay = receivers.iter().all(|holder| part.holders.contains(holder));
    if !stay || receivers.len() < usize::from(part.t) {
        return Err(argument_invalid());
    }
    let mut coefficients = draw(part.t, rng)?;
    coefficients.insert(0, Scalar::ZERO);
    contribution(from, &coefficients, receivers, 1)
}

/// Deals a polynomial whose constant term is `lambda_i(S) * x_i`, for the new holders.
///
/// # Errors
/// `argument_invalid` unless `plan` fits `key` and the share is of its set; `generation_mismatch`; `randomness`.
pub fn reshare_contribution(
    key: &GroupKey,
    share: &Share,
    plan: &Reshare,
    rng: &dyn SecureRandom,
) -> Result<Contribution, ThresholdError> {
    plan.check(key)?;
    reshare_with(key, share, plan, draw(plan.t, rng)?)
}

/// Checks a contribution to a refresh.
///
/// # Errors
/// Naming the holder that dealt it: `commitment_invalid` unless there is exactly one commitment less than the
/// threshold; `share_invalid` if the value is not on the committed polynomial, as with a hidden constant term.
pub fn check_refresh(
    key: &GroupKey,
    received: &Received<'_>,
) -> Result<CheckedRefresh, ThresholdError> {
    let part = part_of(key, received.from)?;
    if !part.holders.contains(&received.to) {
        return Err(argument_invalid());
    }
    let commitments = received.commitments(part.t.saturating_sub(1))?;
    let commitments: Vec<Point> = iter::once(Point::IDENTITY).chain(commitments).collect();
    received.check(key, &commitments).map(CheckedRefresh)
}

/// Checks a contribution to a reshare.
///
/// # Errors
/// Naming the holder that dealt it: `commitment_invalid` unless there are exactly as many commitments as the new
/// threshold and the first is `lambda_i(S) * Y_i`; `share_invalid` if the value is not on the committed polynomial.
pub fn check_reshare(
    key: &GroupKey,
    plan: &Reshare,
    received: &Received<'_>,
) -> Result<CheckedReshare, ThresholdError> {
    plan.check(key)?;
    if !plan.set.contains(&received.from) || !plan.receivers.contains(&received.to) {
        return Err(argument_invalid());
    }
    let commitments = plan.commitments(key, received.from, received.commitments)?;
    Ok(CheckedReshare {
        checked: received.check(key, &commitments)?,
        set: plan.set.clone(),
    })
}

/// Adds the contributions to a share; the generation grows by one.
///
/// An empty list carries over a share of a part that is not refreshed while another part is.
///
/// # Errors
/// `argument_invalid` unless all contributions are for this holder and generation, one of each dealer.
pub fn apply_refresh(
    old: &Share,
    contributions: &[CheckedRefresh],
) -> Result<Share, ThresholdError> {
    let dealers: BTreeSet<_> = contributions.iter().map(|one| one.0.from).collect();
    let fits = contributions
        .iter()
        .all(|one| one.0.to == old.index() && one.0.generation == old.generation());
    if !fits || dealers.len() != contributions.len() {
        return Err(argument_invalid());
    }
    let mut sum = Zeroizing::new(*old.scalar());
    for one in contributions {
        *sum += *one.0.value;
    }
    next_share(old.index(), old.generation(), &sum)
}

/// Adds the contributions of the whole set to a new share; the generation grows by one.
///
/// # Errors
/// `argument_invalid` unless all contributions are for one holder and generation, one of each dealer of the set.
pub fn apply_reshare(contributions: &[CheckedReshare]) -> Result<Share, ThresholdError> {
    let first = contributions.first().ok_or_else(argument_invalid)?;
    let (to, generation) = (first.checked.to, first.checked.generation);
    let dealers: BTreeSet<_> = contributions.iter().map(|one| one.checked.from).collect();
    let fits = contributions.iter().all(|one| {
        one.checked.to == to && one.checked.generation == generation && one.set == first.set
    });
    if !fits || dealers != first.set || dealers.len() != contributions.len() {
        return Err(argument_invalid());
    }
    let mut sum = Zeroizing::new(Scalar::ZERO);
    for one in contributions {
        *sum += *one.checked.value;
    }
    next_share(to, generation, &sum)
}

/// Returns the commitments of the part of `dealers` after a refresh.
///
/// # Errors
/// `commitment_invalid` naming a holder, `argument_invalid` unless all dealers are of one part.
pub fn refreshed_commitments(
    key: &GroupKey,
    dealt: &BTreeMap<HolderId, Vec<[u8; 33]>>,
) -> Result<Vec<[u8; 33]>, ThresholdError> {
    let first = dealt.keys().next().ok_or_else(argument_invalid)?;
    let part = part_of(key, *first)?;
    if !dealt.keys().all(|holder| part.holders.contains(holder)) {
        return Err(argument_invalid());
    }
    let mut sums =
        decode_all(&part.commitments).ok_or(ThresholdError::dealer(ErrorId::DescriptorInvalid))?;
    for (&from, commitments) in dealt {
        let points = exactly(from, commitments, part.t.saturating_sub(1))?;
        for (sum, point) in sums.iter_mut().skip(1).zip(points) {
            *sum += point;
        }
    }
    encode_all(&sums)
}

/// Returns the commitments of the new part after a reshare; the first is that of the old part.
///
/// # Errors
/// `commitment_invalid` naming a holder, `argument_invalid` unless the dealers are the set of `plan`.
pub fn reshared_commitments(
    key: &GroupKey,
    plan: &Reshare,
    dealt: &BTreeMap<HolderId, Vec<[u8; 33]>>,
) -> Result<Vec<[u8; 33]>, ThresholdError> {
    plan.check(key)?;
    if !dealt.keys().eq(&plan.set) {
        return Err(argument_invalid());
    }
    let mut sums = vec![Point::IDENTITY; plan.t.into()];
    for (&from, commitments) in dealt {
        for (sum, point) in sums
            .iter_mut()
            .zip(plan.commitments(key, from, commitments)?)
        {
            *sum += point;
        }
    }
    encode_all(&sums)
}

/// Returns `enc(Y_i)` of a holder under the commitments of its part.
///
/// # Errors
/// `point_invalid` (culprit: the dealer) if a commitment does not decode or the share would be zero.
pub fn public_share(
    commitments: &[[u8; 33]],
    holder: HolderId,
) -> Result<[u8; 33], ThresholdError> {
    decode_all(commitments)
        .and_then(|points| group::encode(&group::evaluate_commitments(&points, holder)))
        .ok_or(ThresholdError::dealer(ErrorId::PointInvalid))
}

impl Reshare {
    /// Refuses a plan that does not fit the key it is for; returns the part it is about.
    fn check<'a>(&self, key: &'a GroupKey) -> Result<&'a Part, ThresholdError> {
        let first = self.set.first().ok_or_else(argument_invalid)?;
        let part = part_of(key, *first)?;
        let fits = self.set.iter().all(|holder| part.holders.contains(holder))
            && self.set.len() == usize::from(part.t)
            && self.t >= 1
            && usize::from(self.t) <= self.receivers.len();
        if fits {
            Ok(part)
        } else {
            Err(argument_invalid())
        }
    }

    fn lagrange(&self, holder: HolderId) -> Result<Scalar, ThresholdError> {
        let set: Vec<HolderId> = self.set.iter().copied().collect();
        group::lagrange(&set, holder, 0).ok_or_else(argument_invalid)
    }

    /// Checks what is public about a contribution.
    fn commitments(
        &self,
        key: &GroupKey,
        from: HolderId,
        commitments: &[EncodedPoint],
    ) -> Result<Vec<Point>, ThresholdError> {
        let points = exactly(from, commitments, self.t)?;
        let public_share = key
            .holder(from)
            .and_then(|entry| group::decode_point(&entry.public_share?))
            .ok_or_else(argument_invalid)?;
        let expected = group::multi_multiply_vartime(&[(public_share, self.lagrange(from)?)]);
        if points.first() == Some(&expected) {
            Ok(points)
        } else {
            Err(ThresholdError::holder(ErrorId::CommitmentInvalid, from))
        }
    }
}

impl Received<'_> {
    fn commitments(&self, count: u8) -> Result<Vec<Point>, ThresholdError> {
        exactly(self.from, self.commitments, count)
    }

    /// Checks the value against the commitments, constant term first.
    fn check(&self, key: &GroupKey, commitments: &[Point]) -> Result<Checked, ThresholdError> {
        let invalid = || ThresholdError::holder(ErrorId::ShareInvalid, self.from);
        let value = group::decode_scalar(self.value)
            .map(Zeroizing::new)
            .ok_or_else(invalid)?;
        if group::multiply_generator(&value) != group::evaluate_commitments(commitments, self.to) {
            return Err(invalid());
        }
        Ok(Checked {
            from: self.from,
            to: self.to,
            generation: key.generation(),
            value,
        })
    }
}

impl fmt::Debug for Contribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Contribution(of holder {}, ..)", self.from)
    }
}

impl fmt::Debug for Received<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Received(holder {} of {}, ..)", self.to, self.from)
    }
}

impl fmt::Debug for CheckedRefresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "CheckedRefresh(holder {} of {}, ..)",
            self.0.to, self.0.from
        )
    }
}

impl fmt::Debug for CheckedReshare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Checked { from, to, .. } = &self.checked;
        write!(f, "CheckedReshare(holder {to} of {from}, ..)")
    }
}

struct Checked {
    from: HolderId,
    to: HolderId,
    /// The generation before the change.
    generation: u32,
    value: Zeroizing<Scalar>,
}

/// Deals with given coefficients after the constant term.
pub(crate) fn reshare_with(
    key: &GroupKey,
    share: &Share,
    plan: &Reshare,
    mut coefficients: Zeroizing<Vec<Scalar>>,
) -> Result<Contribution, ThresholdError> {
    let from = share.index();
    if !plan.set.contains(&from) {
        return Err(argument_invalid());
    }
    if share.generation() != key.generation() {
        return Err(ThresholdError::holder(ErrorId::GenerationMismatch, from));
    }
    let constant = Zeroizing::new(plan.lagrange(from)? * share.scalar());
    coefficients.insert(0, *constant);
    contribution(from, &coefficients, &plan.receivers, 0)
}

/// Evaluates a polynomial for its receivers and commits to all but its first `unsent` coefficients.
pub(crate) fn contribution(
    from: HolderId,
    coefficients: &[Scalar],
    receivers: &BTreeSet<HolderId>,
    unsent: usize,
) -> Result<Contribution, ThresholdError> {
    let commitments: Vec<Point> = coefficients
        .iter()
        .skip(unsent)
        .map(group::multiply_generator)
        .collect();
    let values = receivers.iter().map(|&receiver| {
        let value = group::evaluate(coefficients, receiver);
        (receiver, Zeroizing::new(group::encode_scalar(&value)))
    });
    Ok(Contribution {
        from,
        commitments: encode_all(&commitments)?,
        values: values.collect(),
    })
}

/// Draws the coefficients after the constant term, with room for it.
pub(crate) fn draw(
    t: u8,
    rng: &dyn SecureRandom,
) -> Result<Zeroizing<Vec<Scalar>>, ThresholdError> {
    // Reserved with room for the constant term: growing would leave a copy behind.
    let mut coefficients = Zeroizing::new(Vec::with_capacity(t.into()));
    for _ in 1..t {
        coefficients.push(*randomness::scalar(rng)?);
    }
    Ok(coefficients)
}

fn part_of(key: &GroupKey, holder: HolderId) -> Result<&Part, ThresholdError> {
    key.parts()
        .iter()
        .find(|part| part.holders.contains(&holder))
        .ok_or_else(argument_invalid)
}

/// Decodes exactly `count` commitments of one holder.
fn exactly(
    from: HolderId,
    commitments: &[EncodedPoint],
    count: u8,
) -> Result<Vec<Point>, ThresholdError> {
    decode_all(commitments)
        .filter(|points| points.len() == usize::from(count))
        .ok_or(ThresholdError::holder(ErrorId::CommitmentInvalid, from))
}

fn decode_all(points: &[EncodedPoint]) -> Option<Vec<Point>> {
    points
        .iter()
        .map(|point| group::decode_point(point))
        .collect()
}

fn encode_all(points: &[Point]) -> Result<Vec<EncodedPoint>, ThresholdError> {
    points
        .iter()
        .map(|point| group::encode(point).ok_or_else(argument_invalid))
        .collect()
}

fn next_share(holder: HolderId, generation: u32, scalar: &Scalar) -> Result<Share, ThresholdError> {
    let generation = generation.checked_add(1).ok_or_else(argument_invalid)?;
    let octets = Zeroizing::new(group::encode_scalar(scalar));
    Share::from_octets(holder, generation, octets)
}

const fn argument_invalid() -> ThresholdError {
    ThresholdError::new(ErrorId::ArgumentInvalid, Culprit::None)
}
