use super::{Verdict, api_form, array, holder, key, list, octets, run_file, scalar, text};
use crate::{
    GroupKey, Share,
    group::{self, Scalar},
};
use serde_json::Value;

#[test]
fn every_key_and_share_ends_as_its_vector_says() {
    run_file("keys.json", run);
}

fn run(file: &Value, case: &Value) -> Verdict {
    let (given, expected) = (&case["in"], &case["out"]);
    match text(&case["op"]) {
        "deal" => {
            let group = GroupKey::from_json(&api_form(&expected["descriptor"]))?;
            assert_eq!(group.curve()?.gamma_encoded, array(&expected["gamma"]));
            let mut secret = Scalar::ZERO;
            let mut dealt = 0;
            for (part, described) in list(&given["parts"]).iter().zip(group.parts()) {
                let coefficients: Vec<_> = list(&part["coefficients"]).iter().map(scalar).collect();
                secret += coefficients[0];
                for (coefficient, commitment) in coefficients.iter().zip(&described.commitments) {
                    let committed = group::encode(&group::multiply_generator(coefficient));
                    assert_eq!(committed, Some(*commitment));
                }
                for index in list(&part["holders"]).iter().map(holder) {
                    let share = group::evaluate(&coefficients, index);
                    assert_eq!(*share, scalar(&expected["shares"][index.to_string()]));
                    let octets = group::encode_scalar(&share);
                    Share::decode(index, group.generation(), &octets)?.verify(&group)?;
                    dealt += 1;
                }
            }
            assert_eq!(secret, scalar(&expected["secret"]));
            assert_eq!(dealt, group.holders().len());
            Ok(())
        }
        "descriptor_api" => {
            let written: Value = serde_json::from_slice(&key(file, case).to_json()).unwrap();
            assert_eq!(written, expected["descriptor"]);
            Ok(())
        }
        "descriptor" => GroupKey::from_json(&api_form(&given["descriptor"])).map(drop),
        "verify_share" => {
            let group = key(file, case);
            Share::decode(
                holder(&given["holder"]),
                group.generation(),
                &octets(&given["share"]),
            )?
            .verify(&group)?;
            assert_eq!(expected["valid"], true);
            Ok(())
        }
        other => panic!("unknown operation {other}"),
    }
}
