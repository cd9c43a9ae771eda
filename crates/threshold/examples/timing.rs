//! Prints the median time of each operation: `cargo run --release -p sealift-threshold --example timing`.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a measuring program prints, and stops at the first surprise"
)]

use std::{hint::black_box, time::Instant};

use aws_lc_rs::rand::SystemRandom;
use sealift_threshold::{
    Combiner, DescriptorParts, GroupKey, HolderEntry, HolderId, HpkePrivateKey, KeyShare, Label,
    PartialDecryption, ReplyContext, ReplyKem, ReplyKey, Residency, Share, Subject, SubjectKind,
    seal_reply,
};
use serde_json::Value;

fn main() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../fuzz/seeds/descriptor/k23.json")).unwrap();
    let descriptor = serde_json::to_vec(&vectors).unwrap();
    let group = GroupKey::from_json(&descriptor).unwrap();
    let keys: Value =
        serde_json::from_str(include_str!("../../../testdata/threshold/keys.json")).unwrap();
    let dealt = &keys["cases"][0]["out"]["shares"];
    let share = |index: u8| {
        let octets = hex::decode(dealt[index.to_string()].as_str().unwrap()).unwrap();
        Share::decode(HolderId::new(index).unwrap(), 1, &octets).unwrap()
    };
    let rng = SystemRandom::new();
    let label = Label {
        suite: group.suite(),
        key_id: group.key_id().into(),
        epoch: 1,
        repo: "registry.example/payments/api".into(),
        subject: Subject {
            kind: SubjectKind::Commitment,
            value: [1; 32],
        },
        platform: "linux/amd64".into(),
        residency: Residency::Any,
        policy: "default".into(),
        created_at: 0,
    };
    let request = [2; 32];
    let plaintext = [3; 159];
    let wrap = group.wrap(&label, &plaintext, &rng).unwrap();
    let checked = wrap.check(&group).unwrap();
    let partials: Vec<PartialDecryption> = [1, 2]
        .map(|index| {
            share(index)
                .partial(&group, &checked, &request, &rng)
                .unwrap()
        })
        .into();
    let one = share(1);
    let context = ReplyContext {
        request_hash: request,
        wrap_digest: wrap.digest(),
        holder: one.index(),
        epoch: 1,
    };

    measure("descriptor, checked, with Gamma", || {
        GroupKey::from_json(&descriptor).unwrap()
    });
    measure("wrap", || group.wrap(&label, &plaintext, &rng).unwrap());
    measure("check of a wrap", || wrap.check(&group).unwrap());
    measure("partial with proof", || {
        one.partial(&group, &checked, &request, &rng).unwrap()
    });
    measure("check of one proof", || {
        partials[0]
            .verify(&group, &checked.r1(), &request, &wrap.digest())
            .unwrap();
    });
    measure("combine two", || {
        Combiner::new(&group, checked.clone(), request)
            .combine(&partials)
            .unwrap()
    });
    for kem in [ReplyKem::P256, ReplyKem::XWing] {
        let key = ReplyKey::generate(kem, &rng).unwrap();
        let public = key.public();
        measure(&format!("seal a reply, {kem:?}"), || {
            seal_reply(kem, &public, &context, partials[0].as_bytes(), &rng).unwrap()
        });
    }
    for is_hybrid in [true, false] {
        let mut keys: Vec<HpkePrivateKey> = group
            .holders()
            .iter()
            .map(|_| HpkePrivateKey::generate(ReplyKem::XWing, &rng).unwrap())
            .collect();
        let with_keys = sealed(&group, &keys, is_hybrid);
        let suite = with_keys.suite();
        let label = Label {
            suite,
            ..label.clone()
        };
        let key = keys.remove(0);
        let kept = if is_hybrid {
            KeyShare::Hybrid(share(1), key)
        } else {
            KeyShare::SssXwing {
                index: one.index(),
                generation: 1,
                key,
            }
        };
        let wrap = with_keys.wrap(&label, &plaintext, &rng).unwrap();
        println!(
            "{suite}: {} octets for {} holders",
            wrap.as_bytes().len(),
            keys.len() + 1
        );
        measure("  wrap", || {
            with_keys.wrap(&label, &plaintext, &rng).unwrap()
        });
        measure("  check of a wrap", || with_keys.check(&wrap).unwrap());
        measure("  check, entry and answer of a holder", || {
            let opened = kept.open_entry(with_keys.check(&wrap).unwrap()).unwrap();
            kept.answer(&with_keys, opened, &request, &rng).unwrap()
        });
    }
}

/// Gives the holders of a key X-Wing keys, and takes the shared scalar away unless it is to be a hybrid key.
fn sealed(group: &GroupKey, keys: &[HpkePrivateKey], is_hybrid: bool) -> GroupKey {
    let holders = group
        .holders()
        .iter()
        .zip(keys)
        .map(|(holder, key)| HolderEntry {
            public_share: holder.public_share.filter(|_| is_hybrid),
            kem_public_key: Some(key.public().into()),
            ..holder.clone()
        });
    let mut parts = group.parts().to_vec();
    if !is_hybrid {
        parts[0].commitments.clear();
    }
    GroupKey::from_parts(DescriptorParts {
        key_id: group.key_id().into(),
        epoch: group.epoch(),
        generation: group.generation(),
        public_key: group.public_key().filter(|_| is_hybrid),
        unbound: false,
        parts,
        holders: holders.collect(),
    })
    .unwrap()
}

fn measure<T>(name: &str, operation: impl Fn() -> T) {
    let mut micros: Vec<u128> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            black_box(operation());
            start.elapsed().as_micros()
        })
        .collect();
    micros.sort_unstable();
    println!("{name}: {} us", micros[RUNS / 2]);
}

const RUNS: usize = 400;
