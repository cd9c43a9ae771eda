use super::{Verdict, array, key, octets, run_file, scalar, text, wrap};
use crate::{
    Label, Wrap,
    dem::WrapKey,
    group::{self, Point},
    wrap::kek_info,
};
use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

#[test]
fn every_wrap_is_made_or_refused_as_its_vector_says() {
    run_file("wraps.json", run);
}

fn run(file: &Value, case: &Value) -> Verdict {
    let group = key(file, case);
    let given = &case["in"];
    match text(&case["op"]) {
        "wrap" => {
            let expected = &case["out"];
            let label: Label = serde_json::from_value(given["label"].clone()).unwrap();
            let label = label.encode()?;
            assert_eq!(label, octets(&expected["label_cbor"]));
            let plaintext = octets(&given["plaintext"]);
            let (r, s) = (scalar(&given["r"]), scalar(&given["s"]));
            let made = group.wrap_with(&label, &plaintext, &r, &s)?;
            assert_eq!(made, octets(&expected["compact"]));
            assert_eq!(STANDARD.encode(&made), text(&expected["annotation_base64"]));

            let made = Wrap::parse(&made)?;
            let json = made.to_json().unwrap();
            let view: Value = serde_json::from_slice(&json).unwrap();
            assert_eq!(view, expected["api_json"]);
            assert_eq!(Wrap::from_json(&json)?, made);
            assert_eq!(made.digest(), array(&expected["wrap_digest"]));
            assert_eq!(made.c(), octets(&expected["c"]));
            let elements = ["r1", "r2", "e", "f"].map(|name| octets(&expected[name]));
            assert_eq!(
                made.group_elements().unwrap(),
                elements.each_ref().map(Vec::as_slice)
            );

            let curve = group.curve()?;
            let z = curve.y * r;
            let encode = |point: &Point| group::encode(point).unwrap();
            assert_eq!(encode(&z), array(&expected["z"]));
            let z_x = group::x_coordinate(&z).unwrap();
            assert_eq!(*z_x, array(&expected["z_x"]));
            assert_eq!(
                encode(&group::multiply_generator(&s)),
                array(&expected["w1"])
            );
            assert_eq!(encode(&(curve.gamma * s)), array(&expected["w2"]));

            let info = kek_info(&array::<33>(&expected["r1"]), &label);
            assert_eq!(info, octets(&expected["hkdf_info"]));
            let salt = hmac::Key::new(hmac::HMAC_SHA256, &curve.public_key);
            assert_eq!(
                hmac::sign(&salt, &z_x[..]).as_ref(),
                octets(&expected["prk"])
            );
            let key = WrapKey::derive(&curve.public_key, &z_x[..], &info);
            let (kek, confirmation) = key.expose();
            assert_eq!(kek, octets(&expected["kek"]));
            assert_eq!(confirmation, octets(&expected["kc"]));

            let checked = made.check(&group)?;
            assert_eq!(checked.r1(), array(&expected["r1"]));
            let key = checked.key(&z).unwrap();
            assert_eq!(*key.open(&label, made.c()).unwrap(), plaintext);
            Ok(())
        }
        "wrap_verify" => wrap(case)?.check(&group).map(drop),
        "wrap_json" => Wrap::from_json(text(&given["text"]).as_bytes())?
            .check(&group)
            .map(drop),
        other => panic!("unknown operation {other}"),
    }
}
