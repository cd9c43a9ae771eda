//! Distributed generation of a key (`SPEC.md`, section 14.1): nobody ever has the whole.
//!
//! Three steps of `frost-p256`, each leaving a secret that the next one consumes. Messages are octets, so that anybody
//! may carry them: packages of round 1 are public, those of round 2 are sealed to their receiver by the caller
//! ([`Purpose::Generation`](crate::Purpose)). Before the second step all holders compare the [`round1_digest`] of what they received.
//!
//! A round-1 package is `C_0 ‖ … ‖ C_{t-1} ‖ R ‖ mu`, points compressed; the last two prove knowledge of the constant
//! term. A round-2 package is one scalar. Neither has a second spelling.
//!
//! Never sign with these shares: a FROST signature and a partial decryption have no joint security proof.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use aws_lc_rs::rand::SecureRandom;
use frost_p256::{
    Identifier, Signature,
    keys::{SigningShare, VerifiableSecretSharingCommitment, dkg},
};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{
    HolderId, Share,
    error::{Culprit, ErrorId, ThresholdError},
    group::{self, POINT_LEN, Point, SCALAR_LEN},
    randomness,
};

/// What a holder keeps between its first and its second step. Wiped on drop.
pub struct Round1Secret {
    plan: Plan,
    secret: dkg::round1::SecretPackage,
    package: Vec<u8>,
}

/// What a holder keeps between its second and its third step. Wiped on drop.
pub struct Round2Secret {
    plan: Plan,
    secret: dkg::round2::SecretPackage,
    others: BTreeMap<Identifier, dkg::round1::Package>,
    commitments: Vec<Point>,
}

/// Secret scalars of the second round, each to or from one other holder.
pub type Scalars = BTreeMap<HolderId, Zeroizing<[u8; 32]>>;

/// What one holder has once the key exists.
#[derive(Debug)]
pub struct DkgOutcome {
    /// Its share, checked against the commitments; generation 1.
    pub share: Share,
    /// `enc(Y)`.
    pub public_key: [u8; 33],
    /// `enc(Y_i)` of every holder.
    pub public_shares: BTreeMap<HolderId, [u8; 33]>,
    /// `C_0 … C_{t-1}` of the key, as its descriptor lists them.
    pub commitments: Vec<[u8; 33]>,
}

/// Begins the generation of a `t`-of-`holders` key: returns what `me` keeps, and its package for everybody.
///
/// # Errors
/// `argument_invalid` unless `me` is a holder and `2 <= t <= holders` (with a threshold of one every holder would have
/// the whole key: such a key can only be dealt); `randomness`.
pub fn part1(
    me: HolderId,
    t: u8,
    holders: &BTreeSet<HolderId>,
    rng: &dyn SecureRandom,
) -> Result<(Round1Secret, Vec<u8>), ThresholdError> {
    if t < 2 || usize::from(t) > holders.len() || !holders.contains(&me) {
        return Err(impossible());
    }
    let n = u16::try_from(holders.len()).map_err(|_| impossible())?;
    let identifier = identifier(me)?;
    let (secret, package) = randomness::lend(rng, |rng| dkg::part1(identifier, n, t.into(), rng))?
        .map_err(|_| impossible())?;
    let package = write(&package).ok_or_else(impossible)?;
    let plan = Plan {
        me,
        t,
        holders: holders.clone(),
    };
    let secret = Round1Secret {
        plan,
        secret,
        package: package.clone(),
    };
    Ok((secret, package))
}

/// Hashes one view of round 1: `SHA256(LP(I2OSP(i, 2), package_i, …))` over ascending holders, one's own included.
///
/// A coordinator that shows two holders different packages makes them generate different keys, or learns a share.
/// Equal digests at all holders, compared over a channel that is not the coordinator's, exclude it.
pub fn round1_digest(packages: &BTreeMap<HolderId, Vec<u8>>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for (holder, package) in packages {
        hash.update(group::length_prefixed(&[&holder.octets(), package]));
    }
    hash.finalize().into()
}

/// Takes the packages of all holders, one's own included; returns the secret scalar for each other holder.
///
/// # Errors
/// `commitment_invalid`, naming the holder whose package is missing, malformed, of another threshold or without
/// knowledge of its constant term; naming nobody if one's own package was altered on its way or a stranger's is there.
pub fn part2(
    mine: Round1Secret,
    packages: &BTreeMap<HolderId, Vec<u8>>,
) -> Result<(Round2Secret, Scalars), ThresholdError> {
    let Round1Secret {
        plan,
        secret,
        package,
    } = mine;
    let expected = packages.get(&plan.me) == Some(&package)
        && packages.keys().all(|holder| plan.holders.contains(holder));
    if !expected {
        return Err(commitment_invalid(Culprit::None));
    }
    let mut others = BTreeMap::new();
    for holder in plan.others() {
        let package = packages
            .get(&holder)
            .and_then(|octets| read(octets, plan.t))
            .ok_or_else(|| commitment_invalid(Culprit::Holder(Some(holder))))?;
        others.insert(identifier(holder)?, package);
    }
    let (secret, scalars) =
        dkg::part2(secret, &others).map_err(|error| commitment_invalid(culprit(&error)))?;
    let mut messages = Scalars::new();
    for holder in plan.others() {
        let message = scalars.get(&identifier(holder)?).ok_or_else(impossible)?;
        messages.insert(holder, octets(message.signing_share())?);
    }
    let secret = Round2Secret {
        commitments: sum_of_commitments(packages.values(), plan.t)?,
        plan,
        secret,
        others,
    };
    Ok((secret, messages))
}

/// Takes the scalar that each other holder sent to this one.
///
/// # Errors
/// `share_invalid`, naming the holder whose scalar is missing, malformed or not on the polynomial that it committed
/// to; naming the dealer if all together make no key.
pub fn part3(mine: Round2Secret, received: &Scalars) -> Result<DkgOutcome, ThresholdError> {
    let plan = &mine.plan;
    let mut messages = BTreeMap::new();
    for holder in plan.others() {
        let scalar = received
            .get(&holder)
            .and_then(|octets| SigningShare::deserialize(&octets[..]).ok())
            .ok_or_else(|| share_invalid(Culprit::Holder(Some(holder))))?;
        messages.insert(identifier(holder)?, dkg::round2::Package::new(scalar));
    }
    let (key, public) = dkg::part3(&mine.secret, &mine.others, &messages)
        .map_err(|error| share_invalid(culprit(&error)))?;

    let no_key = || share_invalid(Culprit::Dealer);
    let encode = |point: &Point| group::encode(point).ok_or_else(no_key);
    let commitments = mine
        .commitments
        .iter()
        .map(encode)
        .collect::<Result<Vec<_>, _>>()?;
    let public_key = *commitments.first().ok_or_else(no_key)?;
    let public_shares = plan
        .holders
        .iter()
        .map(|&holder| {
            let point = group::evaluate_commitments(&mine.commitments, holder);
            Ok((holder, encode(&point)?))
        })
        .collect::<Result<BTreeMap<_, _>, _>>()?;

    // Two implementations of the group have to agree on the key before anything is encrypted to it.
    let scalar = octets(key.signing_share())?;
    let own = group::decode_scalar(&scalar[..])
        .map(Zeroizing::new)
        .and_then(|scalar| group::encode(&group::multiply_generator(&scalar)));
    let theirs = public.verifying_key().serialize();
    if own.as_ref() != public_shares.get(&plan.me) || theirs != Ok(public_key.to_vec()) {
        return Err(no_key());
    }
    Ok(DkgOutcome {
        share: Share::from_octets(plan.me, FIRST_GENERATION, scalar)?,
        public_key,
        public_shares,
        commitments,
    })
}

impl fmt::Debug for Round1Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Round1Secret(holder {}, ..)", self.plan.me)
    }
}

impl fmt::Debug for Round2Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Round2Secret(holder {}, ..)", self.plan.me)
    }
}

/// Who generates what.
struct Plan {
    me: HolderId,
    t: u8,
    holders: BTreeSet<HolderId>,
}

impl Plan {
    fn others(&self) -> impl Iterator<Item = HolderId> {
        self.holders
            .iter()
            .copied()
            .filter(|&holder| holder != self.me)
    }
}

/// Writes a round-1 package.
fn write(package: &dkg::round1::Package) -> Option<Vec<u8>> {
    let mut octets = package.commitment().serialize_whole().ok()?;
    octets.extend(package.proof_of_knowledge().serialize().ok()?);
    Some(octets)
}

/// Reads a round-1 package of a polynomial with `t` coefficients.
fn read(octets: &[u8], t: u8) -> Option<dkg::round1::Package> {
    let (commitment, proof) = octets.split_at_checked(usize::from(t) * POINT_LEN)?;
    let (nonce, _) = proof.split_at_checked(POINT_LEN)?;
    if proof.len() != PROOF_LEN {
        return None;
    }
    // The library also takes SEC1's compact form, tag 05, which section 2 refuses.
    for point in commitment.chunks(POINT_LEN).chain([nonce]) {
        group::decode_point(point)?;
    }
    Some(dkg::round1::Package::new(
        VerifiableSecretSharingCommitment::deserialize_whole(commitment).ok()?,
        Signature::deserialize(proof).ok()?,
    ))
}

/// Adds the commitments of all participants, coefficient by coefficient.
fn sum_of_commitments<'a>(
    packages: impl Iterator<Item = &'a Vec<u8>>,
    t: u8,
) -> Result<Vec<Point>, ThresholdError> {
    let mut sums = vec![Point::IDENTITY; t.into()];
    for package in packages {
        for (sum, octets) in sums.iter_mut().zip(package.chunks(POINT_LEN)) {
            *sum += group::decode_point(octets).ok_or_else(impossible)?;
        }
    }
    Ok(sums)
}

fn identifier(holder: HolderId) -> Result<Identifier, ThresholdError> {
    Identifier::try_from(u16::from(holder.get())).map_err(|_| impossible())
}

/// Translates whom the library names.
fn culprit(error: &frost_p256::Error) -> Culprit {
    let index = error
        .culprits()
        .first()
        .and_then(|identifier| identifier.serialize().last().copied());
    Culprit::Holder(index.and_then(HolderId::new))
}

fn octets(share: &SigningShare) -> Result<Zeroizing<[u8; SCALAR_LEN]>, ThresholdError> {
    let octets = Zeroizing::new(share.serialize());
    let octets = octets.as_slice().try_into().map_err(|_| impossible())?;
    Ok(Zeroizing::new(octets))
}

const fn commitment_invalid(culprit: Culprit) -> ThresholdError {
    ThresholdError::new(ErrorId::CommitmentInvalid, culprit)
}

const fn share_invalid(culprit: Culprit) -> ThresholdError {
    ThresholdError::new(ErrorId::ShareInvalid, culprit)
}

const fn impossible() -> ThresholdError {
    ThresholdError::new(ErrorId::ArgumentInvalid, Culprit::None)
}

/// Octets of a proof of knowledge: a point and a scalar.
const PROOF_LEN: usize = POINT_LEN + SCALAR_LEN;

const FIRST_GENERATION: u32 = 1;
