//! Asks whether the time of what holders do with secrets tells about them: `cargo run --release -p sealift-threshold --example leak`.
//!
//! As dudect does (Reparaz, Balasch, Verbauwhede, "Dude, is my code constant time?", 2017): two classes of secrets in random
//! order, Welch's t over the times, without their slowest tenth. |t| above 4.5 says that the classes differ. Less says only
//! that so many measurements on this machine show nothing.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a measuring program prints, and stops at the first surprise"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use sealift_threshold::{GroupKey, HolderId, Label, Residency, Share, Subject, SubjectKind, gf256};
use zeroize::Zeroizing;

fn main() {
    let measurements = std::env::args()
        .nth(1)
        .map_or(100_000, |text| text.parse().unwrap());
    let group = include_bytes!("../../fuzz/seeds/descriptor/k23.json");
    let group = GroupKey::from_json(group).unwrap();
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
    let rng = SystemRandom::new();
    let wrap = group.wrap(&label, &[3; 159], &rng).unwrap();
    let checked = wrap.check(&group).unwrap();

    // Short scalars have a long run of zero bits, which a leaky multiplication passes over.
    let share = |short: bool| {
        let mut octets = Zeroizing::new(random());
        let zeros = if short { 24 } else { 1 };
        octets[..zeros].fill(0);
        Share::from_octets(HolderId::new(1).unwrap(), group.generation(), octets).unwrap()
    };
    compare(
        "partial with proof, short and full shares",
        measurements / 10,
        share,
        |share| {
            share.partial(&group, &checked, &[2; 32], &rng).unwrap();
        },
    );
    let shares = |zero: bool| {
        let octets = |_| {
            // Drawn in both classes, so that they differ in nothing else.
            let mut octets = random();
            octets
                .iter_mut()
                .for_each(|octet| *octet &= u8::from(!zero) * 255);
            Zeroizing::new(octets)
        };
        (1..=2_u8)
            .map(|index| (HolderId::new(index).unwrap(), octets(index)))
            .collect::<BTreeMap<_, _>>()
    };
    compare(
        "GF(256) combination, zero and random shares",
        measurements,
        shares,
        |shares| {
            gf256::combine(shares);
        },
    );
    // The instrument itself: work that does depend on its class must be seen.
    let loops = |long: bool| if long { 1010_u32 } else { 1000 };
    compare(
        "control: one percent more work",
        measurements,
        loops,
        |loops| {
            (0..*loops).fold(1_u32, |sum, step| black_box(sum.wrapping_mul(step | 1)));
        },
    );
}

fn compare<S, R>(
    what: &str,
    measurements: usize,
    secret: impl Fn(bool) -> S,
    work: impl Fn(&S) -> R,
) {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..measurements {
        let class = usize::from(random()[0] & 1);
        let secret = secret(class == 0);
        let began = Instant::now();
        black_box(work(black_box(&secret)));
        times[class].push(began.elapsed().as_secs_f64() * 1e9);
    }
    let mut all: Vec<f64> = times.iter().flatten().copied().collect();
    all.sort_by(f64::total_cmp);
    let limit = all[all.len() * 9 / 10];
    let [a, b] = times.map(|times| moments(times.into_iter().filter(|time| *time <= limit)));
    let t = (a.mean - b.mean) / (a.variance / a.count + b.variance / b.count).sqrt();
    let verdict = if t.abs() > 4.5 {
        "the classes differ"
    } else {
        "nothing seen"
    };
    println!(
        "{what}: {measurements} measurements, median {:.0} ns, t = {t:.1}: {verdict}",
        all[all.len() / 2]
    );
}

struct Moments {
    count: f64,
    mean: f64,
    variance: f64,
}

fn moments(values: impl Iterator<Item = f64>) -> Moments {
    let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
    for value in values {
        count += 1.0;
        let delta = value - mean;
        mean += delta / count;
        squares += delta * (value - mean);
    }
    Moments {
        count,
        mean,
        variance: squares / (count - 1.0),
    }
}

fn random() -> [u8; 32] {
    let mut octets = [0; 32];
    SystemRandom::new().fill(&mut octets).unwrap();
    octets
}
