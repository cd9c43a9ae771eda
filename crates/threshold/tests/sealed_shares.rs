//! Laws of the suites with sealed shares (`SPEC.md`, sections 16 and 17).
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::rand::SystemRandom;
use sealift_threshold::{
    Answer, Culprit, DescriptorParts, ErrorId, GroupKey, HolderEntry, HolderId, HpkePrivateKey,
    HybridAnswer, KeyShare, Label, Part, ProofKind, ReplyKem, Residency, Share, Subject,
    SubjectKind, Suite, ThresholdError, Wrap, deal, public_share,
    sss::{CheckedSssWrap, SssAnswer},
};

const SECRET: &[u8] = b"{\"symkey\":\"\"}";
const REQUEST: [u8; 32] = [7; 32];

type Keys = BTreeMap<HolderId, HpkePrivateKey>;

#[test]
fn a_wrap_opens_with_t_shares_and_with_no_fewer() {
    for n in 1..=3 {
        for t in 1..=n {
            let (key, keys) = sss_key(t, n);
            let wrap = key.wrap(&label(Suite::SssXwing), SECRET, &rng()).unwrap();
            let checked = key.check_sss(&wrap).unwrap();
            for subset in subsets(keys.keys()) {
                let shares: Vec<_> = subset
                    .iter()
                    .map(|holder| answer(&checked, *holder, &keys))
                    .collect();
                match checked.combine(&shares) {
                    Ok(combined) => {
                        assert!(subset.len() >= usize::from(t));
                        assert_eq!(combined.secret.expose(), SECRET);
                        assert_eq!(combined.culprits, []);
                    }
                    Err(failed) => {
                        assert!(subset.len() < usize::from(t));
                        assert_eq!(
                            failed.error,
                            error(ErrorId::PartialsInsufficient, Culprit::None)
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_holder_that_answers_with_another_share_is_named() {
    let (key, keys) = sss_key(2, 3);
    let wrap = key.wrap(&label(Suite::SssXwing), SECRET, &rng()).unwrap();
    let checked = key.check_sss(&wrap).unwrap();
    let share = |index| answer(&checked, holder(index), &keys);
    let lie = |index| {
        let mut reply = share(index).write().to_vec();
        reply[38] ^= 1;
        SssAnswer::parse(&reply).unwrap()
    };
    let combined = checked.combine(&[lie(1), share(2), share(3)]).unwrap();
    assert_eq!(combined.secret.expose(), SECRET);
    assert_eq!(combined.culprits, [holder(1)]);

    let fails = |shares: &[SssAnswer], id, culprit: &[u8]| {
        let failed = checked.combine(shares).unwrap_err();
        let names: Vec<_> = culprit.iter().map(|index| holder(*index)).collect();
        let expected = match names[..] {
            [one] => Culprit::Holder(Some(one)),
            _ => Culprit::Many(
                names
                    .iter()
                    .map(|one| Culprit::Holder(Some(*one)))
                    .collect(),
            ),
        };
        assert_eq!(failed.error, error(id, expected));
    };
    let mismatch = ErrorId::ShareCommitmentMismatch;
    fails(&[lie(1), share(2)], mismatch, &[1]);
    fails(&[lie(3), lie(1), share(2)], mismatch, &[1, 3]);
    fails(&[share(2), share(2)], ErrorId::HolderDuplicate, &[2]);
    fails(&[lie(2), share(2)], ErrorId::HolderDuplicate, &[2]);
}

#[test]
fn a_reply_has_one_spelling() {
    let (key, keys) = sss_key(1, 1);
    let wrap = key.wrap(&label(Suite::SssXwing), SECRET, &rng()).unwrap();
    let checked = key.check_sss(&wrap).unwrap();
    let reply = answer(&checked, holder(1), &keys).write();
    assert_eq!(reply.len(), 39);
    let changed = |octet: usize| {
        let mut reply = reply.to_vec();
        reply[octet] ^= 2;
        reply
    };
    let longer = [&reply[..], &[0]].concat();
    let malformed = error(ErrorId::PartialMalformed, Culprit::Holder(None));
    for (wrong, expected) in [
        (&longer[..], malformed.clone()),
        (&reply[..38], malformed.clone()),
        (&[], malformed.clone()),
        (&changed(0), malformed),
        (
            &changed(1),
            error(ErrorId::HolderUnknown, Culprit::NotAHolder(0x0201)),
        ),
    ] {
        assert_eq!(SssAnswer::parse(wrong).unwrap_err(), expected);
    }
    let newer = SssAnswer::parse(&changed(6)).unwrap();
    assert_eq!(
        checked.combine(&[newer]).unwrap_err().error,
        error(
            ErrorId::GenerationMismatch,
            Culprit::Holder(Some(holder(1)))
        )
    );
}

#[test]
fn a_wrap_under_another_label_or_key_opens_for_no_holder() {
    let (key, keys) = sss_key(2, 2);
    let wrap = key.wrap(&label(Suite::SssXwing), SECRET, &rng()).unwrap();
    let at = find(wrap.as_bytes(), b"registry.example/app");
    let mut octets = wrap.as_bytes().to_vec();
    octets[at] = b's';
    let relabelled = Wrap::parse(&octets).unwrap();
    let checked = key.check_sss(&relabelled).unwrap();
    for (holder, key) in &keys {
        assert_eq!(
            checked.open_share(*holder, key).unwrap_err(),
            error(ErrorId::ShareOpenFailed, Culprit::Presenter)
        );
    }
    // The entry of one holder, opened by another, or by one that has none.
    let checked = key.check_sss(&wrap).unwrap();
    for (who, with) in [(1, 2), (2, 1), (3, 1)] {
        assert_eq!(
            checked
                .open_share(holder(who), &keys[&holder(with)])
                .unwrap_err()
                .id,
            ErrorId::ShareOpenFailed
        );
    }
    let other = GroupKey::from_parts(DescriptorParts {
        epoch: 2,
        ..sss_parts(2, &keys)
    })
    .unwrap();
    assert_eq!(
        other.check_sss(&wrap).unwrap_err(),
        error(ErrorId::KeyMismatch, Culprit::Presenter)
    );
    let (group, ..) = hybrid_key(1, 1);
    assert_eq!(
        group.check_hybrid(&wrap).unwrap_err().id,
        ErrorId::SuiteMismatch
    );
}

#[test]
fn an_altered_ciphertext_is_its_encryptors_doing() {
    let (key, keys) = sss_key(1, 1);
    let wrap = key.wrap(&label(Suite::SssXwing), SECRET, &rng()).unwrap();
    let c = wrap.as_bytes().len() - (32 + SECRET.len() + 16);
    for (octet, id) in [
        (c, ErrorId::CombineMismatch),
        (wrap.as_bytes().len() - 1, ErrorId::AeadFailed),
    ] {
        let mut octets = wrap.as_bytes().to_vec();
        octets[octet] ^= 1;
        let altered = Wrap::parse(&octets).unwrap();
        let checked = key.check_sss(&altered).unwrap();
        assert_eq!(
            checked
                .combine(&[answer(&checked, holder(1), &keys)])
                .unwrap_err()
                .error,
            error(id, Culprit::Encryptor)
        );
    }
}

#[test]
fn descriptors_that_contradict_themselves_are_refused() {
    let (key, keys) = sss_key(2, 3);
    let good = sss_parts(2, &keys);
    let invalid = error(ErrorId::DescriptorInvalid, Culprit::Dealer);
    let changes: [fn(&mut DescriptorParts); 11] = [
        |parts| parts.holders[1].index = holder(1),
        |parts| {
            let key = parts.holders[0].kem_public_key.as_mut().unwrap();
            *key = key[1..].into();
        },
        // Two holders with one key are one holder.
        |parts| parts.holders[0].kem_public_key = parts.holders[1].kem_public_key.clone(),
        |parts| parts.holders[0].kem_public_key = None,
        |parts| parts.holders.clear(),
        |parts| parts.holders[0].public_share = Some([2; 33]),
        |parts| parts.parts[0].commitments.push([2; 33]),
        |parts| parts.parts[0].t = 0,
        |parts| parts.parts[0].t = 4,
        |parts| parts.epoch = 0,
        |parts| parts.unbound = true,
    ];
    for change in changes {
        let mut parts = good.clone();
        change(&mut parts);
        assert_eq!(GroupKey::from_parts(parts).unwrap_err(), invalid);
    }
    let json = String::from_utf8(key.to_json()).unwrap();
    let read = GroupKey::from_json(json.as_bytes()).unwrap();
    assert_eq!(read.to_json(), key.to_json());
    assert!(read.is_same_key(&key));
    for (from, to) in [
        ("\"v\":1", "\"v\":2"),
        ("SSS-HPKE-XWING", "P256-TDH2+SSS-HPKE-XWING"),
        ("SSS-HPKE-XWING", "P256-TDH2-HKDF-SHA256-A256GCM"),
        ("\"X-Wing\"", "\"X-Wind\""),
        ("[1,2,3]", "[1,2]"),
        ("\"v\":1", "\"v\":1,\"w\":1"),
        ("\"v\":1", "\"v\":1,\"v\":1"),
    ] {
        let wrong = json.replacen(from, to, 1);
        assert_ne!(wrong, json);
        assert_eq!(GroupKey::from_json(wrong.as_bytes()).unwrap_err(), invalid);
    }
}

#[test]
fn a_hybrid_wrap_opens_with_both_halves_of_t_holders_and_with_no_fewer() {
    let (group, shares, keys) = hybrid_key(2, 3);
    let wrap = group.wrap(&label(Suite::Hybrid), SECRET, &rng()).unwrap();
    let checked = group.check_hybrid(&wrap).unwrap();
    for subset in subsets(keys.keys()) {
        let answers: Vec<_> = subset
            .iter()
            .map(|holder| {
                let opened = checked.open_share(*holder, &keys[holder]).unwrap();
                let answer = checked
                    .answer(&group, &shares[holder], opened, &REQUEST, &rng())
                    .unwrap();
                HybridAnswer::parse(&answer.write()).unwrap()
            })
            .collect();
        match checked.combine(&group, &REQUEST, &answers) {
            Ok(combined) => {
                assert!(subset.len() >= 2);
                assert_eq!(combined.secret.expose(), SECRET);
                assert_eq!(combined.culprits, []);
            }
            Err(failed) => {
                assert!(subset.len() < 2);
                assert_eq!(
                    failed.error,
                    error(ErrorId::PartialsInsufficient, Culprit::None)
                );
            }
        }
    }
}

#[test]
fn a_lie_in_either_half_of_a_hybrid_answer_is_named() {
    let (group, shares, keys) = hybrid_key(2, 3);
    let wrap = group.wrap(&label(Suite::Hybrid), SECRET, &rng()).unwrap();
    let checked = group.check_hybrid(&wrap).unwrap();
    let answer = |index: u8, with: u8| {
        let share = Share::from_octets(holder(index), 1, (*shares[&holder(with)].expose()).into());
        let opened = checked
            .open_share(holder(index), &keys[&holder(index)])
            .unwrap();
        checked
            .answer(&group, &share.unwrap(), opened, &REQUEST, &rng())
            .unwrap()
    };
    let other_share = |index| {
        let mut octets = answer(index, index).write().to_vec();
        *octets.last_mut().unwrap() ^= 1;
        HybridAnswer::parse(&octets).unwrap()
    };
    for liar in [answer(1, 2), other_share(1)] {
        let answers = [liar, answer(2, 2), answer(3, 3)];
        let combined = checked.combine(&group, &REQUEST, &answers).unwrap();
        assert_eq!(combined.secret.expose(), SECRET);
        assert_eq!(combined.culprits, [holder(1)]);
    }
    for (liar, id) in [
        (answer(1, 2), ErrorId::PartialProofInvalid),
        (other_share(1), ErrorId::ShareCommitmentMismatch),
    ] {
        let failed = checked
            .combine(&group, &REQUEST, &[liar, answer(2, 2)])
            .unwrap_err();
        assert_eq!(failed.error, error(id, Culprit::Holder(Some(holder(1)))));
    }
}

/// One bit of every octet, each in its turn.
#[test]
fn any_changed_bit_of_a_hybrid_wrap_is_refused_by_the_checks() {
    let (group, ..) = hybrid_key(1, 1);
    let wrap = group.wrap(&label(Suite::Hybrid), SECRET, &rng()).unwrap();
    let mut unnoticed = Vec::new();
    for octet in 0..wrap.as_bytes().len() {
        let mut octets = wrap.as_bytes().to_vec();
        octets[octet] ^= 1 << (octet % 8);
        if let Ok(altered) = Wrap::parse(&octets)
            && group.check(&altered).is_ok()
        {
            unnoticed.push(octet);
        }
    }
    assert_eq!(unnoticed, Vec::<usize>::new());
    assert_eq!(wrap.check(&group).unwrap_err().culprit, Culprit::Presenter);
}

#[test]
fn a_wrap_of_sealed_shares_with_any_changed_bit_opens_to_nothing() {
    let (key, keys) = sss_key(2, 2);
    let wrap = key.wrap(&label(Suite::SssXwing), SECRET, &rng()).unwrap();
    let opens = |octets: &[u8]| {
        let altered = Wrap::parse(octets)?;
        let checked = key.check_sss(&altered)?;
        let answers = keys
            .iter()
            .map(|(holder, key)| {
                Ok(SssAnswer {
                    generation: 1,
                    share: checked.open_share(*holder, key)?,
                })
            })
            .collect::<Result<Vec<_>, ThresholdError>>()?;
        checked.combine(&answers).map_err(|failed| failed.error)
    };
    assert_eq!(
        opens(wrap.as_bytes()).unwrap().secret.expose(),
        SECRET,
        "unaltered"
    );
    let mut unnoticed = Vec::new();
    for octet in 0..wrap.as_bytes().len() {
        let mut octets = wrap.as_bytes().to_vec();
        octets[octet] ^= 1 << (octet % 8);
        if opens(&octets).is_ok() {
            unnoticed.push(octet);
        }
    }
    assert_eq!(unnoticed, Vec::<usize>::new());
}

#[test]
fn a_key_makes_and_takes_wraps_of_its_own_suite_only() {
    let dealt = deal(1, &range(1), &rng()).unwrap();
    let tdh2 = group_key(1, &dealt.commitments, &Keys::new(), 1);
    let (hybrid, ..) = hybrid_key(1, 1);
    let (sss, _) = sss_key(1, 1);
    let keys = [&tdh2, &sss, &hybrid];
    for key in keys {
        let wrap = key.wrap(&label(key.suite()), SECRET, &rng()).unwrap();
        assert_eq!(wrap.suite(), key.suite());
        for other in keys {
            if other.suite() == key.suite() {
                other.check(&wrap).unwrap();
                continue;
            }
            assert_eq!(
                other.check(&wrap).unwrap_err(),
                error(ErrorId::KeyMismatch, Culprit::Presenter)
            );
            assert_eq!(
                other.wrap(&label(key.suite()), SECRET, &rng()).unwrap_err(),
                error(ErrorId::SuiteMismatch, Culprit::Encryptor)
            );
        }
    }
}

#[test]
fn what_a_holder_keeps_is_read_back_and_belongs_to_one_key() {
    let (hybrid, mut shares, mut keys) = hybrid_key(2, 2);
    let (sss, mut sss_keys) = sss_key(2, 2);
    let kept = |key| KeyShare::SssXwing {
        index: holder(1),
        generation: 1,
        key,
    };
    let both = KeyShare::Hybrid(
        shares.remove(&holder(1)).unwrap(),
        keys.remove(&holder(1)).unwrap(),
    );
    let single = kept(sss_keys.remove(&holder(1)).unwrap());
    for (group, other, share, len) in [(&hybrid, &sss, both, 65), (&sss, &hybrid, single, 33)] {
        let octets = share.to_octets();
        assert_eq!(octets.len(), len);
        let read = KeyShare::from_octets(holder(1), 1, &octets).unwrap();
        assert_eq!(read.to_octets(), octets);
        assert_eq!(read.verify(group), Ok(()));
        let foreign = error(ErrorId::ShareInvalid, Culprit::Dealer);
        assert_eq!(read.verify(other), Err(foreign.clone()));
        let mut wrong = octets.to_vec();
        *wrong.last_mut().unwrap() ^= 1;
        let wrong = KeyShare::from_octets(holder(1), 1, &wrong).unwrap();
        assert_eq!(wrong.verify(group), Err(foreign));
        // Cut off, it is nothing, or not what this key needs.
        KeyShare::from_octets(holder(1), 1, &octets[..len - 1])
            .and_then(|short| short.verify(group))
            .unwrap_err();
    }
}

/// Through the face that hides the suite.
#[test]
fn every_suite_opens_through_the_one_face() {
    let dealt = deal(2, &range(3), &rng()).unwrap();
    let tdh2 = group_key(2, &dealt.commitments, &Keys::new(), 3);
    let (hybrid, shares, keys) = hybrid_key(2, 3);
    let (sss, sss_keys) = sss_key(2, 3);
    let tdh2_shares = dealt.shares.into_values().map(KeyShare::from).collect();
    let hybrid_shares = shares.into_values().zip(keys.into_values());
    let hybrid_shares = hybrid_shares.map(|(share, key)| KeyShare::Hybrid(share, key));
    let sss_shares = sss_keys.into_iter().map(|(index, key)| KeyShare::SssXwing {
        index,
        generation: 1,
        key,
    });
    let all: [(GroupKey, Vec<KeyShare>); 3] = [
        (tdh2, tdh2_shares),
        (hybrid, hybrid_shares.collect()),
        (sss, sss_shares.collect()),
    ];
    for (group, shares) in &all {
        let wrap = group.wrap(&label(group.suite()), SECRET, &rng()).unwrap();
        let answers: Vec<Answer> = shares[1..]
            .iter()
            .map(|share| {
                let opened = share.open_entry(group.check(&wrap).unwrap()).unwrap();
                let answer = share.answer(group, opened, &REQUEST, &rng()).unwrap();
                assert_eq!(
                    (answer.holder(), answer.generation()),
                    (share.index(), group.generation())
                );
                Answer::parse(group.suite(), &answer.write()).unwrap()
            })
            .collect();
        let answers: Vec<&Answer> = answers.iter().collect();
        let checked = group.check(&wrap).unwrap();
        let combined = checked.combine(group, &REQUEST, &answers).unwrap();
        assert_eq!(combined.secret.expose(), SECRET);
        for (_, others) in all
            .iter()
            .filter(|(other, _)| other.suite() != group.suite())
        {
            let opened = others[0].open_entry(group.check(&wrap).unwrap());
            let id = match (group.suite(), others[0].key()) {
                (Suite::Tdh2, _) | (_, None) => ErrorId::SuiteMismatch,
                _ => ErrorId::ShareOpenFailed,
            };
            assert_eq!(opened.unwrap_err().id, id);
        }
    }
}

fn answer(checked: &CheckedSssWrap<'_>, holder: HolderId, keys: &Keys) -> SssAnswer {
    SssAnswer {
        generation: 1,
        share: checked.open_share(holder, &keys[&holder]).unwrap(),
    }
}

fn sss_key(t: u8, n: u8) -> (GroupKey, Keys) {
    let keys = x_wing_keys(n);
    (GroupKey::from_parts(sss_parts(t, &keys)).unwrap(), keys)
}

fn sss_parts(t: u8, keys: &Keys) -> DescriptorParts {
    let holders = keys.iter().map(|(&index, key)| HolderEntry {
        index,
        id: "holder".into(),
        jurisdiction: "EU".into(),
        public_share: None,
        proof: ProofKind::Dleq,
        kem_public_key: Some(key.public().into()),
    });
    DescriptorParts {
        key_id: "k-test".into(),
        epoch: 1,
        generation: 1,
        public_key: None,
        unbound: false,
        parts: vec![Part {
            t,
            holders: keys.keys().copied().collect(),
            commitments: Vec::new(),
        }],
        holders: holders.collect(),
    }
}

fn hybrid_key(t: u8, n: u8) -> (GroupKey, BTreeMap<HolderId, Share>, Keys) {
    let keys = x_wing_keys(n);
    let dealt = deal(t, &range(n), &rng()).unwrap();
    let group = group_key(t, &dealt.commitments, &keys, n);
    (group, dealt.shares, keys)
}

fn group_key(t: u8, commitments: &[[u8; 33]], keys: &Keys, n: u8) -> GroupKey {
    let holders = range(n).into_iter().map(|index| HolderEntry {
        index,
        id: "holder".into(),
        jurisdiction: "EU".into(),
        public_share: public_share(commitments, index).ok(),
        proof: ProofKind::Dleq,
        kem_public_key: keys.get(&index).map(|key| key.public().into()),
    });
    GroupKey::from_parts(DescriptorParts {
        key_id: "k-test".into(),
        epoch: 1,
        generation: 1,
        public_key: Some(commitments[0]),
        unbound: false,
        parts: vec![Part {
            t,
            holders: range(n).into_iter().collect(),
            commitments: commitments.to_vec(),
        }],
        holders: holders.collect(),
    })
    .unwrap()
}

fn x_wing_keys(n: u8) -> Keys {
    range(n)
        .into_iter()
        .map(|holder| {
            let key = HpkePrivateKey::generate(ReplyKem::XWing, &rng()).unwrap();
            (holder, key)
        })
        .collect()
}

fn label(suite: Suite) -> Label {
    Label {
        suite,
        key_id: "k-test".into(),
        epoch: 1,
        repo: "registry.example/app".into(),
        subject: Subject {
            kind: SubjectKind::Commitment,
            value: [1; 32],
        },
        platform: "linux/amd64".into(),
        residency: Residency::Any,
        policy: "default".into(),
        created_at: 1_763_750_000,
    }
}

fn find(octets: &[u8], part: &[u8]) -> usize {
    let mut windows = octets.windows(part.len());
    windows.position(|window| window == part).unwrap()
}

fn subsets<'a>(holders: impl Iterator<Item = &'a HolderId>) -> Vec<Vec<HolderId>> {
    let holders: Vec<_> = holders.copied().collect();
    (1_u32..1 << holders.len())
        .map(|mask| {
            let chosen = holders.iter().enumerate();
            let chosen = chosen.filter(|(position, _)| mask >> position & 1 == 1);
            chosen.map(|(_, holder)| *holder).collect()
        })
        .collect()
}

fn range(n: u8) -> BTreeSet<HolderId> {
    (1..=n).map(holder).collect()
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
