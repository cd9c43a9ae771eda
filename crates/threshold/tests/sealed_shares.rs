//! Laws of the suites with sealed shares (`SPEC.md`, sections 16 and 17).
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::rand::SystemRandom;
use sealift_threshold::{
    Culprit, DescriptorParts, ErrorId, GroupKey, HolderEntry, HolderId, HpkePrivateKey,
    HybridAnswer, Label, Part, ProofKind, ReplyKem, Residency, Share, Subject, SubjectKind, Suite,
    ThresholdError, Wrap, WrapShare, deal, public_share,
    sss::{SssHolder, SssKey, SssParts},
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
            let checked = key.check(&wrap).unwrap();
            for subset in subsets(keys.keys()) {
                let shares: Vec<_> = subset
                    .iter()
                    .map(|holder| checked.open_share(*holder, &keys[holder]).unwrap())
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
    let checked = key.check(&wrap).unwrap();
    let share = |index| {
        checked
            .open_share(holder(index), &keys[&holder(index)])
            .unwrap()
    };
    let lie = |index| {
        let mut reply = checked.write_reply(&share(index)).to_vec();
        reply[38] ^= 1;
        checked.read_reply(&reply).unwrap()
    };
    let combined = checked.combine(&[lie(1), share(2), share(3)]).unwrap();
    assert_eq!(combined.secret.expose(), SECRET);
    assert_eq!(combined.culprits, [holder(1)]);

    let fails = |shares: &[WrapShare], id, culprit: &[u8]| {
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
    let checked = key.check(&wrap).unwrap();
    let share = checked.open_share(holder(1), &keys[&holder(1)]).unwrap();
    let reply = checked.write_reply(&share);
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
        (
            &changed(6),
            error(
                ErrorId::GenerationMismatch,
                Culprit::Holder(Some(holder(1))),
            ),
        ),
    ] {
        assert_eq!(checked.read_reply(wrong).unwrap_err(), expected);
    }
}

#[test]
fn a_wrap_under_another_label_or_key_opens_for_no_holder() {
    let (key, keys) = sss_key(2, 2);
    let wrap = key.wrap(&label(Suite::SssXwing), SECRET, &rng()).unwrap();
    let at = find(wrap.as_bytes(), b"registry.example/app");
    let mut octets = wrap.as_bytes().to_vec();
    octets[at] = b's';
    let relabelled = Wrap::parse(&octets).unwrap();
    let checked = key.check(&relabelled).unwrap();
    for (holder, key) in &keys {
        assert_eq!(
            checked.open_share(*holder, key).unwrap_err(),
            error(ErrorId::ShareOpenFailed, Culprit::Presenter)
        );
    }
    // The entry of one holder, opened by another, or by one that has none.
    let checked = key.check(&wrap).unwrap();
    for (who, with) in [(1, 2), (2, 1), (3, 1)] {
        assert_eq!(
            checked
                .open_share(holder(who), &keys[&holder(with)])
                .unwrap_err()
                .id,
            ErrorId::ShareOpenFailed
        );
    }
    let other = SssKey::from_parts(SssParts {
        epoch: 2,
        ..key.parts().clone()
    })
    .unwrap();
    assert_eq!(
        other.check(&wrap).unwrap_err(),
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
        let checked = key.check(&altered).unwrap();
        let share = checked.open_share(holder(1), &keys[&holder(1)]).unwrap();
        assert_eq!(
            checked.combine(&[share]).unwrap_err().error,
            error(id, Culprit::Encryptor)
        );
    }
}

#[test]
fn descriptors_that_contradict_themselves_are_refused() {
    let (key, _) = sss_key(2, 3);
    let good = key.parts();
    let invalid = error(ErrorId::DescriptorInvalid, Culprit::Dealer);
    let mut swapped = good.holders.clone();
    swapped.swap(0, 1);
    let mut twice = good.holders.clone();
    twice[1].index = holder(1);
    let mut short = good.holders.clone();
    short[0].kem_public_key = short[0].kem_public_key[1..].into();
    for holders in [swapped, twice, short, Vec::new()] {
        let parts = SssParts {
            holders,
            ..good.clone()
        };
        assert_eq!(SssKey::from_parts(parts), Err(invalid.clone()));
    }
    for (t, epoch, generation) in [(0, 1, 1), (4, 1, 1), (2, 0, 1), (2, 1, 0)] {
        let parts = SssParts {
            t,
            epoch,
            generation,
            ..good.clone()
        };
        assert_eq!(SssKey::from_parts(parts), Err(invalid.clone()));
    }
    let json = String::from_utf8(key.to_json()).unwrap();
    assert_eq!(SssKey::from_json(json.as_bytes()), Ok(key));
    for (from, to) in [
        ("\"v\":1", "\"v\":2"),
        ("SSS-HPKE-XWING", "P256-TDH2+SSS-HPKE-XWING"),
        ("\"X-Wing\"", "\"X-Wind\""),
        ("[1,2,3]", "[1,2]"),
        ("\"v\":1", "\"v\":1,\"w\":1"),
        ("\"v\":1", "\"v\":1,\"v\":1"),
    ] {
        let wrong = json.replacen(from, to, 1);
        assert_ne!(wrong, json);
        assert_eq!(SssKey::from_json(wrong.as_bytes()), Err(invalid.clone()));
    }
}

#[test]
fn a_hybrid_wrap_opens_with_both_halves_of_t_holders_and_with_no_fewer() {
    let (group, shares, keys) = hybrid_key(2, 3);
    let wrap = group
        .wrap_hybrid(&label(Suite::Hybrid), SECRET, &rng())
        .unwrap();
    let checked = group.check_hybrid(&wrap).unwrap();
    for subset in subsets(keys.keys()) {
        let answers: Vec<_> = subset
            .iter()
            .map(|holder| {
                let answer = checked
                    .answer(&group, &shares[holder], &keys[holder], &REQUEST, &rng())
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
    let wrap = group
        .wrap_hybrid(&label(Suite::Hybrid), SECRET, &rng())
        .unwrap();
    let checked = group.check_hybrid(&wrap).unwrap();
    let answer = |index: u8, with: u8| {
        let share = Share::from_octets(holder(index), 1, (*shares[&holder(with)].expose()).into());
        let key = &keys[&holder(index)];
        checked
            .answer(&group, &share.unwrap(), key, &REQUEST, &rng())
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

#[test]
fn any_change_of_a_hybrid_wrap_is_noticed() {
    let (group, ..) = hybrid_key(1, 1);
    let wrap = group
        .wrap_hybrid(&label(Suite::Hybrid), SECRET, &rng())
        .unwrap();
    let mut unnoticed = Vec::new();
    for octet in (0..wrap.as_bytes().len()).step_by(5) {
        let mut octets = wrap.as_bytes().to_vec();
        octets[octet] ^= 1 << (octet % 8);
        if let Ok(altered) = Wrap::parse(&octets)
            && group.check_hybrid(&altered).is_ok()
        {
            unnoticed.push(octet);
        }
    }
    assert_eq!(unnoticed, Vec::<usize>::new());
    assert_eq!(wrap.check(&group).unwrap_err().culprit, Culprit::Presenter);
}

#[test]
fn a_key_whose_holders_lack_x_wing_keys_makes_no_hybrid_wrap() {
    let dealt = deal(1, &range(1), &rng()).unwrap();
    let group = group_key(1, &dealt.commitments, &Keys::new(), 1);
    assert_eq!(
        group
            .wrap_hybrid(&label(Suite::Hybrid), SECRET, &rng())
            .unwrap_err(),
        error(ErrorId::DescriptorInvalid, Culprit::Dealer)
    );
}

fn sss_key(t: u8, n: u8) -> (SssKey, Keys) {
    let keys = x_wing_keys(n);
    let holders = keys.iter().map(|(&index, key)| SssHolder {
        index,
        id: "holder".into(),
        jurisdiction: "EU".into(),
        kem_public_key: key.public().into(),
    });
    let parts = SssParts {
        key_id: "k-test".into(),
        epoch: 1,
        generation: 1,
        t,
        holders: holders.collect(),
    };
    (SssKey::from_parts(parts).unwrap(), keys)
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
        public_share: public_share(commitments, index).unwrap(),
        proof: ProofKind::Dleq,
        kem_public_key: keys.get(&index).map(|key| key.public().into()),
    });
    GroupKey::from_parts(DescriptorParts {
        key_id: "k-test".into(),
        epoch: 1,
        generation: 1,
        public_key: commitments[0],
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
