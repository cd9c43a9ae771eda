//! Messages of a ceremony are refused in the name of their sender, or taken.
// libfuzzer: -max_len=500
#![no_main]

use std::{collections::BTreeSet, sync::LazyLock};

use aws_lc_rs::{rand::SystemRandom, test::rand::FixedByteRandom};
use libfuzzer_sys::fuzz_target;
use sealift_threshold::{
    Culprit, DescriptorParts, ErrorId, GroupKey, HolderEntry, HolderId, Part, ProofKind, Received,
    check_refresh, dkg, public_share,
};

/// The key whose commitments are the generator: every share is `1 + i`.
static KEY: LazyLock<GroupKey> = LazyLock::new(|| {
    let entries = holders().into_iter().map(|index| HolderEntry {
        index,
        id: "holder".into(),
        jurisdiction: "EU".into(),
        public_share: public_share(&[GENERATOR; 2], index).ok(),
        proof: ProofKind::Dleq,
        kem_public_key: None,
    });
    GroupKey::from_parts(DescriptorParts {
        key_id: "k".into(),
        epoch: 1,
        generation: 1,
        public_key: Some(GENERATOR),
        unbound: false,
        parts: vec![Part {
            t: 2,
            holders: holders().into_iter().collect(),
            commitments: vec![GENERATOR; 2],
        }],
        holders: entries.collect(),
    })
    .unwrap()
});

fuzz_target!(|message: &[u8]| {
    let rng = FixedByteRandom { byte: 1 };
    let (secret, package) = dkg::part1(holder(1), 2, &holders(), &rng).unwrap();
    let (_, other) = dkg::part1(holder(3), 2, &holders(), &SystemRandom::new()).unwrap();
    let packages = [(1, package), (2, message.to_vec()), (3, other)]
        .map(|(index, package)| (holder(index), package))
        .into();
    match dkg::part2(secret, &packages) {
        Ok((_, scalars)) => assert_eq!(scalars.len(), 2),
        Err(error) => {
            assert_eq!(error.id, ErrorId::CommitmentInvalid);
            assert_eq!(error.culprit, Culprit::Holder(Some(holder(2))));
        }
    }
    let Some((commitments, value)) = message.split_last_chunk::<32>() else {
        return;
    };
    let (commitments, []) = commitments.as_chunks::<33>() else {
        return;
    };
    let received = Received {
        from: holder(2),
        to: holder(1),
        commitments,
        value,
    };
    if let Err(error) = check_refresh(&KEY, &received) {
        assert!(matches!(
            error.id,
            ErrorId::CommitmentInvalid | ErrorId::ShareInvalid
        ));
        assert_eq!(error.culprit, Culprit::Holder(Some(holder(2))));
    }
});

fn holders() -> BTreeSet<HolderId> {
    (1..=3).map(holder).collect()
}

fn holder(index: u8) -> HolderId {
    HolderId::new(index).unwrap()
}

/// `enc(G)`.
const GENERATOR: [u8; 33] = [
    0x03, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40,
    0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2,
    0x96,
];
