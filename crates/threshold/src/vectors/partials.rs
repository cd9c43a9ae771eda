use super::{Verdict, array, holder, key, octets, run_file, scalar, text, wrap};
use crate::{
    PartialDecryption, Share,
    group::{self, Scalar},
    partial::Question,
    request_hash,
};
use serde_json::Value;

#[test]
fn every_partial_is_made_or_refused_as_its_vector_says() {
    run_file("partials.json", run);
}

fn run(file: &Value, case: &Value) -> Verdict {
    let given = &case["in"];
    match text(&case["op"]) {
        "partial" => {
            let expected = &case["out"];
            let group = key(file, case);
            let wrap = wrap(case)?;
            let checked = wrap.check(&group)?;
            let request = request_hash(&octets(&given["request"]));
            assert_eq!(request, array(&given["request_hash"]));
            let share = Share::decode(
                holder(&given["holder"]),
                group.generation(),
                &octets(&given["share"]),
            )?;
            // An unproven holder has no nonce, and must do without.
            let k = given["k"]
                .as_str()
                .map_or(Scalar::ZERO, |_| scalar(&given["k"]));
            let question = Question::of_wrap(&checked, &request);
            let made = share.answer_with(&group, &question, &k)?;
            assert_eq!(made.as_bytes(), octets(&expected["compact"]));
            assert_eq!(serde_json::to_value(&made).unwrap(), expected["api_json"]);
            if let Some(a) = expected.get("a") {
                assert_eq!(
                    group::encode(&group::multiply_generator(&k)),
                    Some(array(a))
                );
                let b = *checked.r1_point() * k;
                assert_eq!(group::encode(&b), Some(array(&expected["b"])));
                let [d, e, f] = ["d", "e", "f"].map(|name| octets(&expected[name]));
                assert_eq!(made.as_bytes().get(7..40), Some(&d[..]));
                assert_eq!(made.as_bytes().get(41..), Some(&[e, f].concat()[..]));
            }
            assert_eq!(PartialDecryption::parse(made.as_bytes())?, made);
            made.verify(&group, &checked.r1(), &request, &wrap.digest())
        }
        "partial_verify" => {
            let group = key(file, case);
            let wrap = wrap(case)?;
            let checked = wrap.check(&group)?;
            PartialDecryption::parse(&octets(&given["partial"]))?.verify(
                &group,
                &checked.r1(),
                &array(&given["request_hash"]),
                &wrap.digest(),
            )
        }
        "partial_parse" => PartialDecryption::parse(&octets(&given["partial"])).map(drop),
        other => panic!("unknown operation {other}"),
    }
}
