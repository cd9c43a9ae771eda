//! Laws of key life (`SPEC.md`, section 14), for every small threshold and set.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::rand::SystemRandom;
use sealift_threshold::{
    Combiner, Contribution, Culprit, DescriptorParts, ErrorId, GroupKey, HolderEntry, HolderId,
    Label, Part, ProofKind, Received, Repair, RepairScalar, Reshare, Residency, Share, Subject,
    SubjectKind, Suite, ThresholdError, Wrap, apply_refresh, apply_reshare, check_refresh,
    check_reshare, dkg, public_share, refresh_contribution, refreshed_commitments,
    reshare_contribution, reshared_commitments,
};
use zeroize::Zeroizing;

const SECRET: &[u8] = b"{\"symkey\":\"\"}";
const REQUEST: [u8; 32] = [7; 32];
const MAX_N: u8 = 4;

type Shares = BTreeMap<HolderId, Share>;
type Packages = BTreeMap<HolderId, Vec<u8>>;
type Scalars = BTreeMap<HolderId, Zeroizing<[u8; 32]>>;

#[test]
fn a_generated_key_is_opened_by_t_holders_and_by_no_fewer() {
    for (t, n) in thresholds(2) {
        let (key, shares) = generate(t, &range(1, n));
        let wrap = wrap(&key);
        for subset in subsets(shares.keys()) {
            let opened = open(&key, &wrap, subset.iter().map(|holder| &shares[holder]));
            if subset.len() >= usize::from(t) {
                assert_eq!(opened, Ok(SECRET.to_vec()), "{t} of {n}: {subset:?}");
            } else {
                let error = opened.unwrap_err();
                assert_eq!(error.id, ErrorId::PartialsInsufficient);
            }
        }
    }
}

#[test]
fn a_refresh_keeps_the_key_and_ends_the_old_shares() {
    for (t, n) in thresholds(2) {
        let (key, shares) = generate(t, &range(1, n));
        let wrap = wrap(&key);
        // All deal, or all but one.
        for dealers in [range(1, n), range(2, n)] {
            let (new_key, new_shares) = refresh(&key, &shares, &dealers, &range(1, n));
            assert_eq!(new_key.public_key(), key.public_key());
            assert_eq!(new_key.generation(), 2);
            check_sharing(&new_key, &new_shares, &wrap);
            check_no_mixing(&key, &shares, &new_key, &new_shares, &wrap);
        }
    }
}

#[test]
fn a_refresh_can_leave_a_holder_out() {
    let (key, shares) = generate(2, &range(1, 3));
    let wrap = wrap(&key);
    let (new_key, new_shares) = refresh(&key, &shares, &range(1, 3), &range(2, 3));
    assert_eq!(new_shares.len(), 2);
    check_sharing(&new_key, &new_shares, &wrap);
    let left_out = as_generation(&shares[&holder(1)], 2);
    assert_eq!(
        left_out.verify(&new_key).unwrap_err().id,
        ErrorId::HolderUnknown
    );
}

#[test]
fn a_reshare_keeps_the_key_for_any_new_threshold_and_holders() {
    for (t, n) in [(2, 2), (2, 3), (3, 4)] {
        let (key, shares) = generate(t, &range(1, n));
        let wrap = wrap(&key);
        let set: BTreeSet<_> = shares.keys().rev().take(t.into()).copied().collect();
        for (new_t, new_n) in thresholds(1) {
            let plan = Reshare {
                set: set.clone(),
                t: new_t,
                // Some stay, some are new.
                receivers: range(2, new_n + 1),
            };
            let (new_key, new_shares) = reshare(&key, &shares, &plan);
            assert_eq!(new_key.public_key(), key.public_key());
            check_sharing(&new_key, &new_shares, &wrap);
            check_no_mixing(&key, &shares, &new_key, &new_shares, &wrap);
        }
    }
}

#[test]
fn a_lost_share_is_made_again_by_every_set_of_t() {
    for (t, n) in thresholds(2) {
        let (key, shares) = generate(t, &range(1, n));
        for lost in range(1, n) {
            for set in subsets(shares.keys()) {
                let plan = Repair::new(&key, lost, set.clone());
                if set.len() != usize::from(t) || set.contains(&lost) {
                    assert_eq!(plan.unwrap_err().id, ErrorId::ArgumentInvalid);
                    continue;
                }
                let plan = plan.unwrap();
                let mut sums = repair_sums(&plan, &shares, &set);
                let repaired = plan.finish(&key, &sums).unwrap();
                assert_eq!(repaired.expose(), shares[&lost].expose());

                let first = *set.first().unwrap();
                let mut octets = *sums[&first].expose();
                octets[31] ^= 1;
                sums.insert(first, RepairScalar::from_octets(Zeroizing::new(octets)));
                assert_eq!(
                    plan.finish(&key, &sums).unwrap_err(),
                    error(ErrorId::ShareInvalid, Culprit::Dealer)
                );
            }
        }
    }
}

#[test]
fn each_part_of_an_access_structure_is_refreshed_and_reshared_by_itself() {
    let (first, mut shares) = generate(2, &range(1, 2));
    let (second, more) = generate(2, &range(3, 5));
    shares.extend(more);
    // The sum of two keys is the key of both.
    let key = both(&first, &second);
    let wrap = wrap(&key);
    check_sharing(&key, &shares, &wrap);

    let (refreshed, new_shares) = refresh(&key, &shares, &range(1, 2), &range(1, 5));
    check_sharing(&refreshed, &new_shares, &wrap);

    let plan = Reshare {
        set: range(4, 5),
        t: 1,
        receivers: range(4, 6),
    };
    let (reshared, new_shares) = reshare(&key, &shares, &plan);
    assert_eq!(reshared.parts().len(), 2);
    check_sharing(&reshared, &new_shares, &wrap);
}

#[test]
fn a_bad_contribution_is_named() {
    let (key, shares) = generate(3, &range(1, 4));
    let dealt = refresh_contribution(&key, holder(2), &range(1, 4), &rng()).unwrap();
    let plan = Reshare {
        set: range(1, 3),
        t: 2,
        receivers: range(1, 3),
    };
    let reshared = reshare_contribution(&key, &shares[&holder(2)], &plan, &rng()).unwrap();
    let refresh = |commitments: &[[u8; 33]], value: &[u8; 32]| {
        check_refresh(&key, &received(commitments, value)).unwrap_err()
    };
    let reshare = |commitments: &[[u8; 33]], value: &[u8; 32]| {
        check_reshare(&key, &plan, &received(commitments, value)).unwrap_err()
    };
    let named = |id| error(id, Culprit::Holder(Some(holder(2))));

    for (one, check) in [
        (&dealt, &refresh as &dyn Fn(&[[u8; 33]], &[u8; 32]) -> _),
        (&reshared, &reshare),
    ] {
        let value = &one.values[&holder(1)];
        let commitments = &one.commitments;
        // The value of another receiver, and a changed one: this is what a hidden constant term looks like.
        let mut changed = **value;
        changed[31] ^= 1;
        for wrong in [&*one.values[&holder(3)], &changed, &[0xFF; 32], &[0; 32]] {
            assert_eq!(check(commitments, wrong), named(ErrorId::ShareInvalid));
        }
        let mut more = commitments.clone();
        more.push(key.public_key().unwrap());
        let fewer = &commitments[1..];
        let mut off_curve = commitments.clone();
        off_curve[0][0] = 4;
        for wrong in [&more[..], fewer, &off_curve] {
            assert_eq!(check(wrong, value), named(ErrorId::CommitmentInvalid));
        }
    }
    // A constant term that would move the public key.
    let mut moved = reshared.commitments.clone();
    moved[0] = key.public_key().unwrap();
    assert_eq!(
        reshare(&moved, &reshared.values[&holder(1)]),
        named(ErrorId::CommitmentInvalid)
    );
}

#[test]
fn contributions_that_do_not_fit_together_make_no_share() {
    let (key, shares) = generate(2, &range(1, 3));
    let dealt: Vec<_> = range(1, 3)
        .into_iter()
        .map(|from| refresh_contribution(&key, from, &range(1, 3), &rng()).unwrap())
        .collect();
    let checked = |from: usize, to| check_refresh(&key, &view(&dealt[from], holder(to))).unwrap();
    let refused = error(ErrorId::ArgumentInvalid, Culprit::None);
    let own = &shares[&holder(1)];
    for wrong in [
        [checked(0, 1), checked(0, 1)],
        [checked(0, 1), checked(1, 2)],
    ] {
        assert_eq!(apply_refresh(own, &wrong).unwrap_err(), refused);
    }
    let other_generation = as_generation(own, 2);
    let result = apply_refresh(&other_generation, &[checked(0, 1)]);
    assert_eq!(result.unwrap_err(), refused);

    let plan = Reshare {
        set: range(1, 2),
        t: 2,
        receivers: range(1, 3),
    };
    let dealt: Vec<_> = range(1, 2)
        .into_iter()
        .map(|from| reshare_contribution(&key, &shares[&from], &plan, &rng()).unwrap())
        .collect();
    let checked =
        |from: usize, to| check_reshare(&key, &plan, &view(&dealt[from], holder(to))).unwrap();
    for wrong in [
        vec![],
        vec![checked(0, 1)],
        vec![checked(0, 1), checked(0, 1)],
        vec![checked(0, 1), checked(1, 2)],
    ] {
        assert_eq!(apply_reshare(&wrong).unwrap_err(), refused);
    }
}

#[test]
fn plans_that_do_not_fit_the_key_are_refused() {
    let (key, shares) = generate(2, &range(1, 3));
    let plan = |set, t, receivers| Reshare { set, t, receivers };
    for wrong in [
        plan(range(1, 1), 2, range(1, 3)),
        plan(range(1, 3), 2, range(1, 3)),
        plan(range(3, 4), 2, range(1, 3)),
        plan(range(1, 2), 4, range(1, 3)),
        plan(range(1, 2), 0, range(1, 3)),
        plan(range(2, 3), 2, range(1, 3)),
    ] {
        let result = reshare_contribution(&key, &shares[&holder(1)], &wrong, &rng());
        assert_eq!(
            result.unwrap_err().id,
            ErrorId::ArgumentInvalid,
            "{wrong:?}"
        );
    }
    for (from, receivers) in [(4, range(1, 3)), (1, range(1, 1)), (1, range(1, 4))] {
        let result = refresh_contribution(&key, holder(from), &receivers, &rng());
        assert_eq!(result.unwrap_err().id, ErrorId::ArgumentInvalid);
    }
}

#[test]
fn a_generation_names_whoever_breaks_it() {
    let holders = range(1, 3);
    let others = [holder(2), holder(3)];
    let begin = || round1(2, &holders);
    let commitment = |culprit| error(ErrorId::CommitmentInvalid, culprit);
    let second = Culprit::Holder(Some(holder(2)));

    // Round 1: cut, extended, of another threshold, another's proof, missing.
    let (_, valid) = begin();
    let (_, larger) = round1(3, &holders);
    let package = &valid[&holder(2)];
    let mut wrong = vec![
        package[1..].to_vec(),
        [&package[..], &[0]].concat(),
        larger[&holder(2)].clone(),
        valid[&holder(3)].clone(),
        Vec::new(),
    ];
    for octet in [0, 33, 66, package.len() - 1] {
        let mut changed = package.clone();
        changed[octet] ^= 0x80;
        wrong.push(changed);
    }
    // A point in SEC1's compact form, which the library under us would take.
    let mut compact = package.clone();
    compact[33] = 5;
    wrong.push(compact);
    for wrong in wrong {
        let (mut secrets, mut packages) = begin();
        packages.insert(holder(2), wrong);
        let result = dkg::part2(secrets.remove(&holder(1)).unwrap(), &packages);
        assert_eq!(result.unwrap_err(), commitment(second.clone()));
    }
    let (mut secrets, mut packages) = begin();
    packages.remove(&holder(2));
    let result = dkg::part2(secrets.remove(&holder(1)).unwrap(), &packages);
    assert_eq!(result.unwrap_err(), commitment(second.clone()));

    // One's own package altered on its way, or a stranger's among them.
    let (mut secrets, packages) = begin();
    let mut altered = packages.clone();
    altered.insert(holder(1), packages[&holder(2)].clone());
    let result = dkg::part2(secrets.remove(&holder(1)).unwrap(), &altered);
    assert_eq!(result.unwrap_err(), commitment(Culprit::None));
    let mut stranger = packages.clone();
    stranger.insert(holder(4), packages[&holder(2)].clone());
    let result = dkg::part2(secrets.remove(&holder(2)).unwrap(), &stranger);
    assert_eq!(result.unwrap_err(), commitment(Culprit::None));

    // Round 2: a wrong scalar, one for another holder, none.
    for wrong in [None, Some([1; 32]), Some([0xFF; 32])] {
        let (secrets, packages) = begin();
        let (mut secrets, mut messages) = round2(secrets, &packages);
        let mine = messages.get_mut(&holder(1)).unwrap();
        match wrong {
            None => mine.remove(&holder(2)),
            Some(octets) => mine.insert(holder(2), Zeroizing::new(octets)),
        };
        let result = dkg::part3(secrets.remove(&holder(1)).unwrap(), mine);
        assert_eq!(
            result.unwrap_err(),
            error(ErrorId::ShareInvalid, second.clone())
        );
    }
    assert_eq!(others.len(), 2);
}

#[test]
fn the_digest_of_round_1_changes_with_every_package_and_holder() {
    let (_, packages) = round1(2, &range(1, 3));
    let digest = dkg::round1_digest(&packages);
    let mut seen = BTreeSet::from([digest]);
    let [first, second] = [1, 2].map(|index| packages[&holder(index)].clone());
    let mut swapped = packages.clone();
    swapped.insert(holder(1), second);
    swapped.insert(holder(2), first.clone());
    let mut fewer = packages.clone();
    fewer.remove(&holder(3));
    let mut moved = packages.clone();
    moved.remove(&holder(1));
    moved.insert(holder(4), first);
    for other in [swapped, fewer, moved] {
        assert!(seen.insert(dkg::round1_digest(&other)));
    }
}

#[test]
fn a_generation_for_which_frost_is_not_made_is_refused() {
    for (me, t, n) in [(1, 1, 3), (1, 0, 3), (1, 4, 3), (4, 2, 3), (1, 1, 1)] {
        let result = dkg::part1(holder(me), t, &range(1, n), &rng());
        assert_eq!(result.unwrap_err().id, ErrorId::ArgumentInvalid);
    }
}

/// Whatever `t` holders of a sharing do, it opens the wrap; every share is the one its descriptor commits to.
fn check_sharing(key: &GroupKey, shares: &Shares, wrap: &Wrap) {
    assert_eq!(key.holders().len(), shares.len());
    for share in shares.values() {
        share.verify(key).unwrap();
    }
    for subset in subsets(shares.keys()) {
        let enough = key.parts().iter().all(|part| {
            let present = part.holders.iter().filter(|one| subset.contains(one));
            present.count() >= usize::from(part.t)
        });
        let opened = open(key, wrap, subset.iter().map(|holder| &shares[holder]));
        match opened {
            Ok(secret) => assert!(enough && secret == SECRET),
            Err(error) => assert_eq!((enough, error.id), (false, ErrorId::PartialsInsufficient)),
        }
    }
}

/// A share of the old sharing is none of the new one, whatever generation it claims.
fn check_no_mixing(
    key: &GroupKey,
    shares: &Shares,
    new_key: &GroupKey,
    new_shares: &Shares,
    wrap: &Wrap,
) {
    for old in shares.values() {
        let new_holder = new_shares.contains_key(&old.index());
        assert_eq!(
            old.verify(new_key).unwrap_err().id,
            if new_holder {
                ErrorId::GenerationMismatch
            } else {
                ErrorId::HolderUnknown
            }
        );
        if !new_holder || new_key.parts()[0].t < 2 {
            continue;
        }
        let claimed = as_generation(old, new_key.generation());
        assert_eq!(
            claimed.verify(new_key).unwrap_err().id,
            ErrorId::ShareInvalid
        );
        let others = new_shares.values().filter(|new| new.index() != old.index());
        let needed = usize::from(new_key.parts()[0].t) - 1;
        let mixed = others.take(needed).chain([&claimed]);
        let result = open(new_key, wrap, mixed);
        assert_eq!(
            result.unwrap_err(),
            error(
                ErrorId::PartialProofInvalid,
                Culprit::Holder(Some(old.index()))
            )
        );
    }
    // The old shares alone still open: this is why they are destroyed.
    let opened = open(key, wrap, shares.values());
    assert_eq!(opened, Ok(SECRET.to_vec()));
}

fn generate(t: u8, holders: &BTreeSet<HolderId>) -> (GroupKey, Shares) {
    let (secrets, packages) = round1(t, holders);
    let (secrets, messages) = round2(secrets, &packages);
    let outcomes: Vec<_> = secrets
        .into_iter()
        .map(|(holder, secret)| dkg::part3(secret, &messages[&holder]).unwrap())
        .collect();
    let first = &outcomes[0];
    let key = GroupKey::from_parts(DescriptorParts {
        key_id: "k-test".into(),
        epoch: 1,
        generation: 1,
        public_key: Some(first.public_key),
        unbound: false,
        parts: vec![Part {
            t,
            holders: holders.iter().copied().collect(),
            commitments: first.commitments.clone(),
        }],
        holders: holders
            .iter()
            .map(|&index| entry(index, first.public_shares[&index]))
            .collect(),
    })
    .unwrap();
    let mut shares = Shares::new();
    for outcome in outcomes {
        assert_eq!(Some(outcome.public_key), key.public_key());
        assert_eq!(outcome.commitments, key.parts()[0].commitments);
        for entry in key.holders() {
            assert_eq!(
                Some(outcome.public_shares[&entry.index]),
                entry.public_share
            );
        }
        outcome.share.verify(&key).unwrap();
        shares.insert(outcome.share.index(), outcome.share);
    }
    (key, shares)
}

fn round1(
    t: u8,
    holders: &BTreeSet<HolderId>,
) -> (BTreeMap<HolderId, dkg::Round1Secret>, Packages) {
    let (mut secrets, mut packages) = (BTreeMap::new(), Packages::new());
    for &holder in holders {
        let (secret, package) = dkg::part1(holder, t, holders, &rng()).unwrap();
        secrets.insert(holder, secret);
        packages.insert(holder, package);
    }
    (secrets, packages)
}

/// Returns what each holder keeps, and what each receives.
fn round2(
    secrets: BTreeMap<HolderId, dkg::Round1Secret>,
    packages: &Packages,
) -> (
    BTreeMap<HolderId, dkg::Round2Secret>,
    BTreeMap<HolderId, Scalars>,
) {
    let mut kept = BTreeMap::new();
    let mut inboxes: BTreeMap<HolderId, Scalars> = BTreeMap::new();
    for (from, secret) in secrets {
        let (secret, messages) = dkg::part2(secret, packages).unwrap();
        kept.insert(from, secret);
        for (to, message) in messages {
            inboxes.entry(to).or_default().insert(from, message);
        }
    }
    (kept, inboxes)
}

/// Refreshes the part of `dealers`; holders of other parts carry their shares over.
fn refresh(
    key: &GroupKey,
    shares: &Shares,
    dealers: &BTreeSet<HolderId>,
    stay: &BTreeSet<HolderId>,
) -> (GroupKey, Shares) {
    let part = part_of(key, dealers);
    let receivers: BTreeSet<_> = key.parts()[part]
        .holders
        .iter()
        .filter(|holder| stay.contains(holder))
        .copied()
        .collect();
    let dealt: Vec<_> = dealers
        .iter()
        .map(|&from| refresh_contribution(key, from, &receivers, &rng()).unwrap())
        .collect();
    let mut new_shares = Shares::new();
    for (&to, old) in shares.iter().filter(|(to, _)| stay.contains(to)) {
        let checked: Vec<_> = dealt
            .iter()
            .filter(|one| one.values.contains_key(&to))
            .map(|one| check_refresh(key, &view(one, to)).unwrap())
            .collect();
        new_shares.insert(to, apply_refresh(old, &checked).unwrap());
    }
    let commitments = refreshed_commitments(key, &commitments(&dealt)).unwrap();
    let new_part = Part {
        t: key.parts()[part].t,
        holders: receivers.into_iter().collect(),
        commitments,
    };
    (next_key(key, part, new_part), new_shares)
}

fn reshare(key: &GroupKey, shares: &Shares, plan: &Reshare) -> (GroupKey, Shares) {
    let part = part_of(key, &plan.set);
    let dealt: Vec<_> = plan
        .set
        .iter()
        .map(|from| reshare_contribution(key, &shares[from], plan, &rng()).unwrap())
        .collect();
    let mut new_shares = Shares::new();
    for &to in &plan.receivers {
        let checked: Vec<_> = dealt
            .iter()
            .map(|one| check_reshare(key, plan, &view(one, to)).unwrap())
            .collect();
        new_shares.insert(to, apply_reshare(&checked).unwrap());
    }
    for (position, other) in key.parts().iter().enumerate() {
        for holder in other.holders.iter().filter(|_| position != part) {
            new_shares.insert(*holder, apply_refresh(&shares[holder], &[]).unwrap());
        }
    }
    let commitments = reshared_commitments(key, plan, &commitments(&dealt)).unwrap();
    let new_part = Part {
        t: plan.t,
        holders: plan.receivers.iter().copied().collect(),
        commitments,
    };
    (next_key(key, part, new_part), new_shares)
}

/// Returns what the survivors send to the loser.
fn repair_sums(
    plan: &Repair,
    shares: &Shares,
    set: &BTreeSet<HolderId>,
) -> BTreeMap<HolderId, RepairScalar> {
    let mut inboxes: BTreeMap<HolderId, BTreeMap<HolderId, RepairScalar>> = BTreeMap::new();
    for &from in set {
        for (to, summand) in plan.split(&shares[&from], &rng()).unwrap() {
            inboxes.entry(to).or_default().insert(from, summand);
        }
    }
    inboxes
        .into_iter()
        .map(|(from, inbox)| (from, plan.sum(&inbox).unwrap()))
        .collect()
}

fn part_of(key: &GroupKey, holders: &BTreeSet<HolderId>) -> usize {
    let first = holders.first().unwrap();
    let mut parts = key.parts().iter();
    parts.position(|part| part.holders.contains(first)).unwrap()
}

fn next_key(key: &GroupKey, position: usize, part: Part) -> GroupKey {
    let mut parts = key.parts().to_vec();
    parts[position] = part;
    let holders = parts.iter().flat_map(|part| {
        part.holders
            .iter()
            .map(|&index| entry(index, public_share(&part.commitments, index).unwrap()))
    });
    GroupKey::from_parts(DescriptorParts {
        key_id: key.key_id().into(),
        epoch: key.epoch(),
        generation: key.generation() + 1,
        public_key: key.public_key(),
        unbound: false,
        holders: holders.collect(),
        parts,
    })
    .unwrap()
}

fn both(first: &GroupKey, second: &GroupKey) -> GroupKey {
    use p256::elliptic_curve::sec1::{FromSec1Point, Sec1Point, ToSec1Point};
    let [one, two] = [first, second].map(|key| {
        let encoded = Sec1Point::<p256::NistP256>::from_bytes(key.public_key().unwrap()).unwrap();
        p256::ProjectivePoint::from_sec1_point(&encoded).unwrap()
    });
    let sum = (one + two).to_affine().to_sec1_point(true);
    GroupKey::from_parts(DescriptorParts {
        key_id: "k-both".into(),
        epoch: 1,
        generation: 1,
        public_key: Some(sum.as_bytes().try_into().unwrap()),
        unbound: false,
        parts: [first.parts(), second.parts()].concat(),
        holders: [first.holders(), second.holders()].concat(),
    })
    .unwrap()
}

fn open<'a>(
    key: &GroupKey,
    wrap: &Wrap,
    shares: impl Iterator<Item = &'a Share>,
) -> Result<Vec<u8>, ThresholdError> {
    let checked = wrap.check(key).unwrap();
    let partials: Vec<_> = shares
        .map(|share| share.partial(key, &checked, &REQUEST, &rng()).unwrap())
        .collect();
    Combiner::new(key, checked, REQUEST)
        .combine(&partials)
        .map(|combined| combined.secret.expose().to_vec())
        .map_err(|failed| failed.error)
}

fn wrap(key: &GroupKey) -> Wrap {
    let label = Label {
        suite: Suite::Tdh2,
        key_id: key.key_id().into(),
        epoch: key.epoch(),
        repo: "registry.example/app".into(),
        subject: Subject {
            kind: SubjectKind::Commitment,
            value: [1; 32],
        },
        platform: "linux/amd64".into(),
        residency: Residency::Any,
        policy: "default".into(),
        created_at: 1_763_750_000,
    };
    key.wrap(&label, SECRET, &rng()).unwrap()
}

fn entry(index: HolderId, public_share: [u8; 33]) -> HolderEntry {
    HolderEntry {
        index,
        id: format!("holder-{index}").into(),
        jurisdiction: "EU".into(),
        public_share: Some(public_share),
        proof: ProofKind::Dleq,
        kem_public_key: None,
    }
}

fn view(one: &Contribution, to: HolderId) -> Received<'_> {
    Received {
        from: one.from,
        to,
        commitments: &one.commitments,
        value: &one.values[&to],
    }
}

fn received<'a>(commitments: &'a [[u8; 33]], value: &'a [u8; 32]) -> Received<'a> {
    Received {
        from: holder(2),
        to: holder(1),
        commitments,
        value,
    }
}

fn commitments(dealt: &[Contribution]) -> BTreeMap<HolderId, Vec<[u8; 33]>> {
    dealt
        .iter()
        .map(|one| (one.from, one.commitments.clone()))
        .collect()
}

fn as_generation(share: &Share, generation: u32) -> Share {
    Share::from_octets(share.index(), generation, Zeroizing::new(*share.expose())).unwrap()
}

fn thresholds(least: u8) -> impl Iterator<Item = (u8, u8)> {
    (least..=MAX_N).flat_map(move |n| (least..=n).map(move |t| (t, n)))
}

fn subsets<'a>(holders: impl Iterator<Item = &'a HolderId>) -> Vec<BTreeSet<HolderId>> {
    let holders: Vec<_> = holders.copied().collect();
    (1_u32..1 << holders.len())
        .map(|mask| {
            let chosen = holders.iter().enumerate();
            let chosen = chosen.filter(|(position, _)| mask >> position & 1 == 1);
            chosen.map(|(_, holder)| *holder).collect()
        })
        .collect()
}

fn range(first: u8, last: u8) -> BTreeSet<HolderId> {
    (first..=last).map(holder).collect()
}

fn holder(index: u8) -> HolderId {
    HolderId::new(index).unwrap()
}

fn error(id: ErrorId, culprit: Culprit) -> ThresholdError {
    ThresholdError { id, culprit }
}

fn rng() -> SystemRandom {
    SystemRandom::new()
}
