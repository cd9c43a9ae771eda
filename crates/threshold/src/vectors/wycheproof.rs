use std::{collections::BTreeMap, fs, path::PathBuf};

use serde_json::Value;

use super::{list, octets, text};
use crate::{
    UnlabelledWrap, group,
    multiply::{Base, Multiplier},
};

/// Points as strangers write them: only compressed ones on the curve are taken, and they multiply as they should.
#[test]
fn points_decode_as_wycheproof_says() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata/threshold/wycheproof_ecpoint.json");
    let file: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for test in list(&file["tests"]) {
        let id = &test["tcId"];
        let public = octets(&test["public"]);
        let result = text(&test["result"]);
        *seen.entry(result).or_default() += 1;
        if public.len() != 33 {
            // Longer and shorter ones are no encodings here, however good the point is.
            assert_eq!(group::decode_point(&public), None, "{id}");
        }
        let (Some(first), Some(x)) = (public.first(), public.get(1..33)) else {
            continue;
        };
        let compressed = match (first, public.last()) {
            (4, Some(last)) => [&[2 + (last & 1)], x].concat(),
            _ => public.clone(),
        };
        if result == "invalid" {
            // One whose y is wrong may have an x of the curve: as a compressed point it is another, sound one.
            if public.len() == 33 {
                assert_eq!(group::decode_point(&compressed), None, "{id}");
                UnlabelledWrap::from_epk(&public).unwrap_err();
            }
            continue;
        }
        let point = group::decode_point(&compressed).unwrap();
        assert_eq!(group::encode(&point).unwrap(), *compressed, "{id}");
        let private = octets(&test["private"]);
        // Some have a zero octet before the scalar.
        let scalar = group::decode_scalar(&private[private.len() - 32..]).unwrap();
        let product = Multiplier::new(&scalar).multiply(&Base::new(&point));
        assert_eq!(
            group::x_coordinate(&product).unwrap()[..],
            octets(&test["shared"]),
            "{id}"
        );
    }
    assert_eq!(
        seen,
        BTreeMap::from([("acceptable", 1), ("invalid", 24), ("valid", 42)])
    );
}
