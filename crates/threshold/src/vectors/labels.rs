use super::{Verdict, array, octets, run_file, text};
use crate::{Label, wrap::sha256};
use serde_json::Value;

#[test]
fn every_label_is_encoded_or_refused_as_its_vector_says() {
    run_file("labels.json", run);
}

fn run(_: &Value, case: &Value) -> Verdict {
    match text(&case["op"]) {
        "label" => {
            let label: Label = serde_json::from_value(case["in"].clone()).unwrap();
            let encoded = label.encode()?;
            assert_eq!(encoded, octets(&case["out"]["cbor"]));
            assert_eq!(sha256(&encoded), array(&case["out"]["sha256"]));
            assert_eq!(Label::parse(&encoded)?, label);
            assert_eq!(serde_json::to_value(&label).unwrap(), case["in"]);
            Ok(())
        }
        "label_parse" => Label::parse(&octets(&case["in"]["cbor"])).map(drop),
        other => panic!("unknown operation {other}"),
    }
}
