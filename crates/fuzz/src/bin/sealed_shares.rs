//! A wrap with sealed shares is refused, or opens to what its encryptor sealed; answers have one spelling.
// libfuzzer: -max_len=20000
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sealift_threshold::{
    DescriptorParts, ErrorId, GroupKey, HolderEntry, HolderId, HpkePrivateKey, HybridAnswer, Part,
    ProofKind, ReplyKem, Wrap, sss::SssAnswer,
};

/// The holders of the vector `sss-wrap`, which is a seed.
static HOLDERS: LazyLock<Vec<(HolderId, HpkePrivateKey)>> = LazyLock::new(|| {
    (1..)
        .filter_map(HolderId::new)
        .zip(SEEDS)
        .map(|(holder, seed)| {
            let key = HpkePrivateKey::from_octets(ReplyKem::XWing, seed.into());
            (holder, key.unwrap())
        })
        .collect()
});

static KEY: LazyLock<GroupKey> = LazyLock::new(|| {
    let holders = HOLDERS.iter().map(|(index, key)| HolderEntry {
        index: *index,
        id: "holder".into(),
        jurisdiction: "EU".into(),
        public_share: None,
        proof: ProofKind::Dleq,
        kem_public_key: Some(key.public().into()),
    });
    GroupKey::from_parts(DescriptorParts {
        key_id: "k-pq".into(),
        epoch: 1,
        generation: 1,
        public_key: None,
        unbound: false,
        parts: vec![Part {
            t: 2,
            holders: HOLDERS.iter().map(|(index, _)| *index).collect(),
            commitments: Vec::new(),
        }],
        holders: holders.collect(),
    })
    .unwrap()
});

fuzz_target!(|octets: &[u8]| {
    if let Ok(answer) = HybridAnswer::parse(octets) {
        assert_eq!(answer.write()[..], *octets);
    }
    if let Ok(answer) = SssAnswer::parse(octets) {
        assert_eq!(answer.write()[..], *octets);
    }
    let Ok(wrap) = Wrap::parse(octets) else {
        return;
    };
    assert_eq!(wrap.as_bytes(), octets);
    let Ok(checked) = KEY.check_sss(&wrap) else {
        return;
    };
    let mut answers = Vec::new();
    for (holder, key) in HOLDERS.iter() {
        match checked.open_share(*holder, key) {
            Ok(share) => answers.push(SssAnswer {
                generation: 1,
                share,
            }),
            Err(error) => assert!(matches!(
                error.id,
                ErrorId::ShareOpenFailed | ErrorId::ShareCommitmentMismatch
            )),
        }
    }
    if let Err(failed) = checked.combine(&answers) {
        // Shares that opened are those their encryptor committed to: no holder can be to blame.
        assert!(failed.culprits.is_empty());
    }
});

const SEEDS: [[u8; 32]; 3] = [
    [
        0x26, 0xf4, 0xb8, 0xb2, 0xaa, 0x1b, 0x5c, 0x70, 0xbe, 0xf0, 0xd2, 0xf4, 0x37, 0x00, 0x37,
        0x04, 0x74, 0x9c, 0x14, 0x01, 0xb2, 0xfc, 0x67, 0x4b, 0x87, 0xb5, 0xfb, 0xa4, 0x3b, 0x41,
        0x3d, 0xc6,
    ],
    [
        0x6b, 0x6a, 0x79, 0xa5, 0x83, 0x4b, 0x02, 0x11, 0x56, 0x5d, 0xd8, 0x5b, 0x93, 0x4a, 0x19,
        0xf4, 0x4a, 0xf9, 0x0f, 0xb2, 0x96, 0xe3, 0x5e, 0x0d, 0x18, 0xac, 0x9a, 0x7d, 0x94, 0x29,
        0x86, 0x31,
    ],
    [
        0xfc, 0x7d, 0x3a, 0xa0, 0x07, 0xe9, 0x65, 0xcb, 0xed, 0xa1, 0x53, 0x02, 0xd4, 0xaa, 0x30,
        0x70, 0x02, 0xf1, 0xe1, 0x95, 0x2c, 0x41, 0xfd, 0x28, 0x3a, 0x9c, 0x85, 0x77, 0xbb, 0xba,
        0xef, 0x9d,
    ],
];
