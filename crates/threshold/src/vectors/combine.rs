use super::{Verdict, array, key, list, octets, run_file, text, wrap};
use crate::{Combiner, HolderId, PartialDecryption, group};
use serde_json::{Value, json};

#[test]
fn every_set_of_partials_opens_or_fails_as_its_vector_says() {
    run_file("combine.json", run);
}

fn run(file: &Value, case: &Value) -> Verdict {
    let (given, expected) = (&case["in"], &case["out"]);
    assert_eq!(text(&case["op"]), "combine");
    let group = key(file, case);
    let wrap = wrap(case)?;
    let combiner = Combiner::new(&group, wrap.check(&group)?, array(&given["request_hash"]));
    let partials = list(&given["partials"])
        .iter()
        .map(|partial| PartialDecryption::parse(&octets(partial)))
        .collect::<Result<Vec<_>, _>>()?;
    let ((z, plaintext), culprits) = combiner.open(&partials).map_err(|error| error.error)?;
    assert_eq!(group::encode(&z), Some(array(&expected["z"])));
    assert_eq!(*plaintext, octets(&expected["plaintext"]));
    let culprits: Vec<u8> = culprits.into_iter().map(HolderId::get).collect();
    assert_eq!(json!(culprits), expected["culprits"]);
    let combined = combiner.combine(&partials).unwrap();
    assert_eq!(combined.secret.expose(), *plaintext);
    Ok(())
}
