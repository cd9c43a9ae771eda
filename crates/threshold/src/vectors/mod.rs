//! The vectors of `testdata/threshold`, made by two programs that share no code with us.
//!
//! They are unit tests because they fix what the public functions draw at random.

mod combine;
mod keys;
mod labels;
mod partials;
mod primitives;
mod wraps;
mod wycheproof;

use std::{fs, path::PathBuf};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::{GroupKey, HolderId, ThresholdError, Wrap, group::Scalar};

/// What a case asked for: `Ok` where an output was expected and every value of it was reproduced.
pub(crate) type Verdict = Result<(), ThresholdError>;

/// Runs every case of a file and holds the verdict against it. `run` must know every operation of the file.
pub(crate) fn run_file(name: &str, run: impl Fn(&Value, &Value) -> Verdict) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata/threshold")
        .join(name);
    let file: Value = serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON");
    let cases = file["cases"].as_array().expect("cases");
    let (mut positive, mut negative) = (0, 0);
    for case in cases {
        let expected = if case.get("out").is_some() {
            positive += 1;
            "passed".to_owned()
        } else {
            negative += 1;
            format!("{} by {}", text(&case["error"]), text(&case["culprit"]))
        };
        let verdict = match run(&file, case) {
            Ok(()) => "passed".to_owned(),
            Err(error) => format!("{} by {}", error.id, error.culprit),
        };
        assert_eq!(verdict, expected, "{name} {}: {}", case["id"], case["note"]);
    }
    assert_eq!(file["positive"], positive, "{name}");
    assert_eq!(file["negative"], negative, "{name}");
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

pub(crate) fn octets(value: &Value) -> Vec<u8> {
    hex::decode(text(value)).expect("hex")
}

pub(crate) fn array<const N: usize>(value: &Value) -> [u8; N] {
    octets(value).try_into().expect("a length")
}

pub(crate) fn scalar(value: &Value) -> Scalar {
    crate::group::decode_scalar(&octets(value)).expect("a scalar")
}

pub(crate) fn holder(value: &Value) -> HolderId {
    let index = value.as_u64().expect("a number");
    HolderId::new(index.try_into().expect("an index")).expect("an index")
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

/// Returns the key that a case names.
pub(crate) fn key(file: &Value, case: &Value) -> GroupKey {
    let descriptor = &file["keys"][text(&case["in"]["key"])];
    GroupKey::from_json(&api_form(descriptor)).expect("a descriptor")
}

pub(crate) fn wrap(case: &Value) -> Result<Wrap, ThresholdError> {
    Wrap::parse(&octets(&case["in"]["wrap"]))
}

/// Turns a descriptor with octets in hex into the one that travels.
pub(crate) fn api_form(descriptor: &Value) -> Vec<u8> {
    let mut descriptor = descriptor.clone();
    let to_base64 = |value: &mut Value| *value = json!(URL_SAFE_NO_PAD.encode(octets(value)));
    to_base64(&mut descriptor["public_key"]);
    for part in descriptor["access"]["parts"].as_array_mut().expect("parts") {
        part["commitments"]
            .as_array_mut()
            .expect("commitments")
            .iter_mut()
            .for_each(to_base64);
    }
    for holder in descriptor["holders"].as_array_mut().expect("holders") {
        to_base64(&mut holder["public_share"]);
    }
    serde_json::to_vec(&descriptor).expect("JSON")
}
