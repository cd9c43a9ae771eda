//! Prints how long envelopes take that differ in their RSA padding alone: `cargo run --release --example padding`.
//!
//! All are refused alike. What remains of a difference is what a padding oracle would have to be built from.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a measuring program prints, and stops at the first surprise"
)]

use std::{fs, path::Path, time::Instant};

use aws_lc_rs::rand;
use base64::{Engine, engine::general_purpose::STANDARD};
use sealift_keywrap::{
    Identity, Scheme, UnwrapError, WrapContext, WrappedKey,
    keys::{parse_certificates, parse_private},
};
use serde_json::Value;

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/keywrap");
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    let mut key = parse_private(&read("skopeo/x509.key.pem"), None)
        .unwrap()
        .remove(0);
    assert!(key.add_certificate(&parse_certificates(&read("skopeo/x509.cert.pem")).unwrap()[0]));
    let envelopes: Vec<WrappedKey> = KINDS
        .iter()
        .map(|(name, _)| {
            let vector: Value =
                serde_json::from_slice(&read(&format!("pkcs7/padding_{name}.json"))).unwrap();
            WrappedKey {
                scheme: Scheme::Pkcs7,
                element: STANDARD
                    .decode(vector["element_base64"].as_str().unwrap())
                    .unwrap(),
            }
        })
        .collect();
    let mut times = vec![Vec::with_capacity(ROUNDS); envelopes.len()];
    for _ in 0..ROUNDS * envelopes.len() {
        // By lot: the library draws a new blinding factor every 32nd time, which would always meet the same one in turn.
        let mut lot = [0];
        rand::fill(&mut lot).unwrap();
        let kind = usize::from(lot[0]) % envelopes.len();
        let start = Instant::now();
        let result = key.unwrap_key(&envelopes[kind], &WrapContext::default());
        times[kind].push(start.elapsed().as_nanos());
        assert_eq!(result.err(), Some(UnwrapError::NotForThisKey));
    }
    for ((_, what), times) in KINDS.iter().zip(&mut times) {
        times.sort_unstable();
        let at = |share: usize| times[times.len() * share / 100];
        println!(
            "{what:<44} median {:>9} ns, quartiles {} to {}",
            at(50),
            at(25),
            at(75)
        );
    }
}

const KINDS: [(&str, &str); 4] = [
    ("cek_other", "right padding, a key of the right length"),
    ("cek_15", "right padding, a key of another length"),
    ("lead_01", "wrong padding, at its beginning"),
    ("no_separator", "wrong padding, at its end"),
];

const ROUNDS: usize = 10_000;
