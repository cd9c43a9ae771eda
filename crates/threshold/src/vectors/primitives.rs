use super::{Verdict, array, holder, list, octets, run_file, scalar, text};
use crate::{
    group::{self, domain},
    request_hash,
};
use serde_json::Value;

#[test]
fn every_primitive_gives_what_its_vector_says() {
    run_file("primitives.json", run);
}

fn run(_: &Value, case: &Value) -> Verdict {
    let (given, expected) = (&case["in"], &case["out"]);
    match text(&case["op"]) {
        "h2s" => {
            let parts: Vec<Vec<u8>> = list(&given["parts"]).iter().map(octets).collect();
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            assert_eq!(group::length_prefixed(&parts), octets(&expected["msg"]));
            let hashed = group::hash_to_scalar(text(&given["dst"]), &parts);
            assert_eq!(hashed, scalar(&expected["scalar"]));
        }
        "gamma" => {
            assert_eq!(text(&given["dst"]), domain::GAMMA);
            let gamma = group::gamma(
                text(&given["suite"]),
                &array(&given["public_key"]),
                text(&given["key_id"]),
            );
            assert_eq!(group::encode(&gamma), Some(array(&expected["gamma"])));
        }
        "hedged_wrap" => hedged(given, expected, &["rand", "plaintext", "label"]),
        "hedged_dleq" => {
            assert_eq!(text(&given["dst"]), domain::NONCE_DLEQ);
            let parts = ["rand", "share", "r1", "request_hash", "wrap_digest"];
            hedged(given, expected, &parts);
        }
        "lagrange" => {
            let set: Vec<_> = list(&given["set"]).iter().map(holder).collect();
            let at = given["at"].as_u64().unwrap().try_into().unwrap();
            let lambda: Vec<_> = set
                .iter()
                .map(|index| group::lagrange(&set, *index, at).unwrap())
                .collect();
            let expected: Vec<_> = list(&expected["lambda"]).iter().map(scalar).collect();
            assert_eq!(lambda, expected);
        }
        "request_hash" => assert_eq!(
            request_hash(&octets(&given["request"])),
            array(&expected["request_hash"])
        ),
        other => panic!("unknown operation {other}"),
    }
    Ok(())
}

fn hedged(given: &Value, expected: &Value, names: &[&str]) {
    let parts: Vec<Vec<u8>> = names.iter().map(|name| octets(&given[name])).collect();
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    let hashed = group::hash_to_scalar(text(&given["dst"]), &parts);
    assert_eq!(hashed, scalar(&expected["scalar"]));
}
