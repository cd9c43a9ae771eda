//! What must hold for every key, label and set of holders.

use aws_lc_rs::{
    rand::{SecureRandom, SystemRandom},
    test::rand::FixedByteRandom,
};
use proptest::prelude::*;
use sealift_keywrap::{LayerSecret, Recipient, Scheme, WrapContext, WrapError};

use crate::{
    Combiner, DescriptorParts, ErrorId, GroupKey, GroupRecipient, HolderEntry, HolderId,
    HpkePrivateKey, Label, Part, PartialDecryption, ProofKind, ReplyContext, ReplyKem, ReplyKey,
    Residency, SealedReply, Share, Subject, SubjectKind, Suite, Wrap, group,
    group::{Point, Scalar},
    hpke_open, hpke_seal,
    multiply::{Base, Multiplier},
    randomness, seal_reply,
};

const REQUEST: [u8; 32] = [7; 32];

fn holder(index: u8) -> HolderId {
    HolderId::new(index).unwrap()
}

/// Deals a key `t` of `n`; `seed` stands for what a dealer draws.
fn deal(seed: u64, t: u8, n: u8, unbound: bool) -> (GroupKey, Vec<Share>) {
    let coefficients: Vec<Scalar> = (0..t)
        .map(|k| group::hash_to_scalar("test/dealer", &[&seed.to_be_bytes(), &[t, n, k]]))
        .collect();
    let commit = |scalar: &Scalar| group::encode(&group::multiply_generator(scalar)).unwrap();
    let commitments: Vec<_> = coefficients.iter().map(commit).collect();
    let indices: Vec<HolderId> = (1..=n).map(holder).collect();
    let scalars: Vec<_> = indices
        .iter()
        .map(|index| group::evaluate(&coefficients, *index))
        .collect();
    let key = GroupKey::from_parts(DescriptorParts {
        key_id: "k-law".into(),
        epoch: 3,
        generation: 2,
        public_key: Some(commitments[0]),
        unbound,
        parts: vec![Part {
            t,
            holders: indices.clone(),
            commitments,
        }],
        holders: indices
            .iter()
            .zip(&scalars)
            .map(|(index, scalar)| HolderEntry {
                index: *index,
                id: format!("h{index}").into(),
                jurisdiction: "EU".into(),
                public_share: Some(commit(scalar)),
                proof: ProofKind::Dleq,
                kem_public_key: None,
            })
            .collect(),
    })
    .unwrap();
    let shares = indices
        .iter()
        .zip(&scalars)
        .map(|(index, scalar)| Share::decode(*index, 2, &group::encode_scalar(scalar)).unwrap())
        .collect();
    (key, shares)
}

fn label() -> Label {
    Label {
        suite: Suite::Tdh2,
        key_id: "k-law".into(),
        epoch: 3,
        repo: "registry.example/law".into(),
        subject: Subject {
            kind: SubjectKind::Commitment,
            value: [9; 32],
        },
        platform: "linux/amd64".into(),
        residency: Residency::Codes(vec!["BR".into(), "EU".into()]),
        policy: "default".into(),
        created_at: 1_763_750_000,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn every_set_of_t_holders_opens_and_no_smaller_one(seed: u64, plaintext in prop::collection::vec(any::<u8>(), 1..64)) {
        let rng = SystemRandom::new();
        for (t, n) in (1..=4u8).flat_map(|n| (1..=n).map(move |t| (t, n))) {
            let (key, shares) = deal(seed, t, n, false);
            prop_assert_eq!(key.threshold_w(), usize::from(n - t + 1));
            let (r, s) = (Scalar::from(seed | 1), Scalar::from(5u64));
            let wrapped = key.wrap_with(&label().encode().unwrap(), &plaintext, &r, &s).unwrap();
            let wrap = Wrap::parse(&wrapped).unwrap();
            let checked = wrap.check(&key).unwrap();
            let partials: Vec<PartialDecryption> = shares
                .iter()
                .map(|share| {
                    share.verify(&key).unwrap();
                    share.partial(&key, &checked, &REQUEST, &rng).unwrap()
                })
                .collect();
            let combiner = Combiner::new(&key, checked.clone(), REQUEST);
            for set in 0u32..1 << n {
                let chosen: Vec<PartialDecryption> = partials
                    .iter()
                    .enumerate()
                    .filter(|(position, _)| set >> position & 1 == 1)
                    .map(|(_, partial)| partial.clone())
                    .collect();
                match combiner.open(&chosen) {
                    Ok(((z, opened), culprits)) => {
                        prop_assert!(chosen.len() >= usize::from(t));
                        prop_assert_eq!(z, key.curve().unwrap().y * r);
                        prop_assert_eq!(&*opened, &plaintext);
                        prop_assert_eq!(culprits, []);
                    }
                    Err(error) => {
                        prop_assert!(chosen.len() < usize::from(t));
                        prop_assert_eq!(error.error.id, ErrorId::PartialsInsufficient);
                    }
                }
            }
        }
    }

    #[test]
    fn every_way_to_multiply_agrees(a: u64, b: u64) {
        let scalar = |n: u64| group::hash_to_scalar("test/scalar", &[&n.to_be_bytes()]);
        let (g, p) = (Point::GENERATOR, group::multiply_generator(&scalar(a)));
        let scalars = [scalar(b), Scalar::from(b), -Scalar::from(b), Scalar::ZERO, Scalar::ONE, -Scalar::ONE];
        for x in scalars {
            for point in [p, -p, g, -g, g + g, -(g + g), Point::IDENTITY] {
                let expected = point * x;
                let multiplier = Multiplier::new(&x);
                prop_assert_eq!(multiplier.generator(), g * x);
                prop_assert_eq!(multiplier.multiply(&Base::new(&point)), expected);
                prop_assert_eq!(multiplier.x_coordinate(&Base::new(&point)), group::x_coordinate(&expected));
                let both = group::multi_multiply_vartime(&[(point, x), (p, scalar(!a))]);
                prop_assert_eq!(both, expected + p * scalar(!a));
            }
        }
    }
}

#[test]
fn every_single_bit_of_a_wrap_matters() {
    let (key, _) = deal(1, 2, 3, false);
    let wrap = key.wrap(&label(), b"x", &SystemRandom::new()).unwrap();
    assert_eq!(wrap.check(&key).unwrap().label(), &label());
    for bit in 0..8 * wrap.as_bytes().len() {
        let mut altered = wrap.as_bytes().to_vec();
        altered[bit / 8] ^= 1 << (bit % 8);
        let accepted = Wrap::parse(&altered).and_then(|wrap| wrap.check(&key).map(drop));
        assert!(accepted.is_err(), "bit {bit}");
    }
}

#[test]
fn every_single_bit_of_a_partial_matters() {
    let rng = SystemRandom::new();
    let (key, shares) = deal(2, 2, 3, false);
    let wrap = key.wrap(&label(), b"x", &rng).unwrap();
    let checked = wrap.check(&key).unwrap();
    let partial = shares[0].partial(&key, &checked, &REQUEST, &rng).unwrap();
    let verify = |octets: &[u8]| {
        PartialDecryption::parse(octets)?.verify(&key, &checked.r1(), &REQUEST, &wrap.digest())
    };
    assert_eq!(verify(partial.as_bytes()), Ok(()));
    for bit in 0..8 * partial.as_bytes().len() {
        let mut altered = partial.as_bytes().to_vec();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(verify(&altered).is_err(), "bit {bit}");
    }
}

#[test]
fn a_repeating_generator_repeats_no_nonce() {
    let stuck = FixedByteRandom { byte: 1 };
    let (key, shares) = deal(3, 1, 1, false);
    let wraps = [&b"one"[..], b"two"].map(|text| key.wrap(&label(), text, &stuck).unwrap());
    let [one, two] = wraps.each_ref().map(|wrap| wrap.check(&key).unwrap());
    assert_ne!(one.r1(), two.r1());

    // f - f' = k - k' + x(e - e'): with one k twice, the share would fall out of two answers.
    let answer = |request: [u8; 32]| {
        let partial = shares[0].partial(&key, &one, &request, &stuck).unwrap();
        let proof: Vec<Scalar> = partial.as_bytes()[41..]
            .chunks(32)
            .map(|octets| group::decode_scalar(octets).unwrap())
            .collect();
        proof[1] - *shares[0].scalar() * proof[0]
    };
    assert_ne!(answer([1; 32]), answer([2; 32]));
}

#[test]
fn a_generator_that_gives_no_scalar_is_an_error() {
    for byte in [0, 0xff] {
        let stuck = FixedByteRandom { byte };
        let error = randomness::scalar(&stuck).unwrap_err();
        assert_eq!(error.id, ErrorId::Randomness);
    }
}

#[test]
fn answers_of_another_key_or_generation_are_refused() {
    let rng = SystemRandom::new();
    let (key, shares) = deal(4, 2, 3, false);
    let (other, _) = deal(5, 2, 3, false);
    let wrap = key.wrap(&label(), b"x", &rng).unwrap();
    assert_eq!(
        wrap.check(&other).unwrap_err().id,
        ErrorId::WrapProofInvalid
    );
    let checked = wrap.check(&key).unwrap();
    let id = |share: &Share, key| share.partial(key, &checked, &REQUEST, &rng).unwrap_err().id;
    assert_eq!(id(&shares[0], &other), ErrorId::KeyMismatch);
    let old = Share::decode(holder(1), 1, shares[0].expose()).unwrap();
    assert_eq!(id(&old, &key), ErrorId::GenerationMismatch);
    assert_eq!(
        old.verify(&key).unwrap_err().id,
        ErrorId::GenerationMismatch
    );
    let stranger = Share::decode(holder(9), 2, shares[0].expose()).unwrap();
    assert_eq!(id(&stranger, &key), ErrorId::HolderUnknown);
    let error = Combiner::new(&other, checked, REQUEST)
        .combine(&[])
        .unwrap_err();
    assert_eq!(error.error.id, ErrorId::KeyMismatch);
}

#[test]
fn wrapping_refuses_what_the_key_is_not_for() {
    let rng = SystemRandom::new();
    let (key, _) = deal(6, 2, 3, false);
    let id =
        |key: &GroupKey, label: Label, text: &[u8]| key.wrap(&label, text, &rng).unwrap_err().id;
    let with = |change: fn(&mut Label)| {
        let mut label = label();
        change(&mut label);
        label
    };
    assert_eq!(
        id(&key, with(|label| label.epoch = 4), b"x"),
        ErrorId::KeyMismatch
    );
    assert_eq!(
        id(&key, with(|label| label.suite = Suite::Hybrid), b"x"),
        ErrorId::SuiteMismatch
    );
    assert_eq!(
        id(&key, with(|label| label.repo = "UP".into()), b"x"),
        ErrorId::LabelInvalid
    );
    assert_eq!(id(&key, label(), b""), ErrorId::ArgumentInvalid);
    assert_eq!(id(&key, label(), &[0; 4097]), ErrorId::ArgumentInvalid);
    assert_eq!(
        id(&deal(6, 2, 3, true).0, label(), b"x"),
        ErrorId::ModeMismatch
    );
}

#[test]
fn a_descriptor_is_read_as_it_was_written() {
    for unbound in [false, true] {
        let (key, _) = deal(7, 3, 4, unbound);
        let json = key.to_json();
        let again = GroupKey::from_json(&json).unwrap();
        assert_eq!(again.to_json(), json);
        assert_eq!(again.unbound(), unbound);
        assert_eq!(again.fingerprint(), key.fingerprint());
        let array = format!("[{}]", str::from_utf8(&json).unwrap());
        assert_eq!(
            GroupKey::from_json(array.as_bytes()).unwrap_err().id,
            ErrorId::DescriptorInvalid
        );
    }
}

#[test]
fn a_reply_opens_for_its_request_wrap_holder_and_epoch_alone() {
    let rng = SystemRandom::new();
    let context = ReplyContext {
        request_hash: [1; 32],
        wrap_digest: [2; 32],
        holder: holder(3),
        epoch: 4,
    };
    for (kem, public_len, enc_len) in [(ReplyKem::P256, 65, 65), (ReplyKem::XWing, 1216, 1120)] {
        let key = ReplyKey::generate(kem, &rng).unwrap();
        assert_eq!(key.public().len(), public_len);
        let sealed = seal_reply(kem, &key.public(), &context, b"answer", &rng).unwrap();
        assert_eq!((sealed.enc.len(), sealed.ct.len()), (enc_len, 6 + 16));
        assert_eq!(**key.open(&sealed, &context).unwrap(), *b"answer");

        let others = [
            ReplyContext {
                request_hash: [9; 32],
                ..context.clone()
            },
            ReplyContext {
                wrap_digest: [9; 32],
                ..context.clone()
            },
            ReplyContext {
                holder: holder(9),
                ..context.clone()
            },
            ReplyContext {
                epoch: 9,
                ..context.clone()
            },
        ];
        for other in others {
            let error = key.open(&sealed, &other).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("share_open_failed (culprit: holder:{})", other.holder)
            );
        }
        let mut ct = sealed.ct.clone();
        ct[0] ^= 1;
        let altered = SealedReply {
            enc: sealed.enc.clone(),
            ct,
        };
        assert_eq!(
            key.open(&altered, &context).unwrap_err().id,
            ErrorId::ShareOpenFailed
        );
        let error = seal_reply(kem, &[4; 65], &context, b"answer", &rng).unwrap_err();
        assert_eq!(error.id, ErrorId::PointInvalid);
    }
}

/// What we seal with our own DHKEM(P-256) is opened by the `hpke` crate, and messages of every length are.
#[test]
fn the_fast_way_to_seal_agrees_with_the_library_that_opens() {
    let rng = SystemRandom::new();
    let key = HpkePrivateKey::generate(ReplyKem::P256, &rng).unwrap();
    for len in [0, 1, 15, 16, 105, 4096] {
        let (info, message) = (vec![5; len / 2], vec![6; len]);
        let sealed = hpke_seal(ReplyKem::P256, key.public(), &info, &message, &rng).unwrap();
        assert_eq!(*hpke_open(&key, &info, &sealed).unwrap(), message);
    }
    let stuck = FixedByteRandom { byte: 0 };
    let error = hpke_seal(ReplyKem::P256, key.public(), b"", b"", &stuck).unwrap_err();
    assert_eq!(error.id, ErrorId::Randomness);
}

#[test]
fn a_kept_private_key_opens_what_was_sealed_to_it() {
    let rng: &dyn SecureRandom = &SystemRandom::new();
    for kem in [ReplyKem::P256, ReplyKem::XWing] {
        let key = HpkePrivateKey::generate(kem, rng).unwrap();
        let kept = HpkePrivateKey::from_octets(kem, (*key.expose()).into()).unwrap();
        assert_eq!(kept.public(), key.public());
        let sealed = hpke_seal(kem, key.public(), b"info", b"share", rng).unwrap();
        assert_eq!(**hpke_open(&kept, b"info", &sealed).unwrap(), *b"share");
        assert_eq!(
            hpke_open(&kept, b"other", &sealed).unwrap_err().id,
            ErrorId::ShareOpenFailed
        );
    }
    let error = HpkePrivateKey::from_octets(ReplyKem::P256, [0xff; 32].into()).unwrap_err();
    assert_eq!(error.id, ErrorId::ScalarInvalid);
}

#[test]
fn a_group_is_a_recipient_of_layer_keys() {
    let secret = LayerSecret::new(b"{}".to_vec().into());
    let commitment = hex::encode([9; 32]);
    let context = WrapContext {
        subject: Some(&commitment),
        repo: Some("registry.example/law"),
        platform: Some("linux/amd64"),
        created_at: Some(1_763_750_000),
    };
    let recipient = |unbound| GroupRecipient {
        group: deal(8, 1, 1, unbound).0,
        residency: label().residency,
        policy: "default".into(),
        repo: None,
    };
    let bound = recipient(false);
    let wrapped = bound.wrap_key(&secret, &context).unwrap();
    assert_eq!(wrapped.scheme, Scheme::sealift());
    let wrap = Wrap::parse(&wrapped.element).unwrap();
    assert_eq!(wrap.check(&bound.group).unwrap().label(), &label());

    let digest = format!("sha256:{commitment}");
    let ocicrypt = WrapContext {
        subject: Some(&digest),
        ..context
    };
    assert_eq!(
        bound.label(&ocicrypt).unwrap().subject.to_string(),
        format!("layer:{commitment}")
    );
    for lacking in [
        WrapContext {
            subject: None,
            ..context
        },
        WrapContext {
            subject: Some("layer"),
            ..context
        },
        WrapContext {
            repo: None,
            ..context
        },
    ] {
        assert_eq!(bound.wrap_key(&secret, &lacking), Err(WrapError::Refused));
    }

    let stock = recipient(true)
        .wrap_key(&secret, &WrapContext::default())
        .unwrap();
    assert_eq!(stock.scheme, Scheme::Jwe);
    let described = sealift_keywrap::describe(&stock);
    assert_eq!(described[0].algorithm.as_deref(), Some("ECDH-ES+A256KW"));
}

/// RFC 9380, appendix J.1.1.
#[test]
fn hashing_to_the_curve_follows_its_rfc() {
    let long = |start: &str, letter: &str, count| format!("{start}{}", letter.repeat(count));
    let vectors = [
        (
            String::new(),
            "032c15230b26dbc6fc9a37051158c95b79656e17a1a920b11394ca91c44247d3e4",
        ),
        (
            "abc".into(),
            "020bb8b87485551aa43ed54f009230450b492fead5f1cc91658775dac4a3388a0f",
        ),
        (
            "abcdef0123456789".into(),
            "0365038ac8f2b1def042a5df0b33b1f4eca6bff7cb0f9c6c1526811864e544ed80",
        ),
        (
            long("q128_", "q", 128),
            "024be61ee205094282ba8a2042bcb48d88dfbb609301c49aa8b078533dc65a0b5d",
        ),
        (
            long("a512_", "a", 512),
            "02457ae2981f70ca85d8e24c308b14db22f3e3862c5ea0f652ca38b5e49cd64bc5",
        ),
    ];
    for (message, expected) in vectors {
        let domain = "QUUX-V01-CS02-with-P256_XMD:SHA-256_SSWU_RO_";
        let point = group::hash_to_point(domain, message.as_bytes());
        assert_eq!(
            group::encode(&point).map(hex::encode).as_deref(),
            Some(expected)
        );
    }
}

#[test]
fn only_the_compressed_form_of_a_point_is_decoded() {
    use p256::elliptic_curve::sec1::ToSec1Point;
    let g = Point::GENERATOR;
    let compressed = group::encode(&g).unwrap();
    assert_eq!(group::decode_point(&compressed), Some(g));
    assert_eq!(group::encode(&Point::IDENTITY), None);
    assert_eq!(group::encode_all(&[g, Point::IDENTITY]), None);
    let uncompressed = g.to_affine().to_sec1_point(false);
    let mut compact = compressed;
    compact[0] = 5;
    for refused in [
        &[][..],
        &[0],
        &[0; 33],
        uncompressed.as_bytes(),
        &compact,
        &compressed[..32],
    ] {
        assert_eq!(group::decode_point(refused), None);
    }
}

#[test]
fn lagrange_refuses_an_index_that_is_not_there_once() {
    let set = [holder(1), holder(2), holder(2)];
    assert_eq!(group::lagrange(&set, holder(2), 0), None);
    assert_eq!(group::lagrange(&set, holder(3), 0), None);
}
