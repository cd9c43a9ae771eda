//! `scripts/bench registry` in small: it fails where a program does not do what it measures.
#![cfg(target_os = "linux")]

use sealift_peers::Lab;

#[test]
fn every_case_is_measured() {
    let programs = ["root", "docker-registry", "skopeo", "time", "unshare"];
    let Some(lab) = Lab::needing(&programs) else {
        return;
    };
    let only = ["registry", "--only", "loopback"];
    let result = lab.measured(
        "bench",
        &[&only[..], &["--size", "1", "--rounds", "1"]].concat(),
    );
    let rows = result["rows"].as_array().unwrap().iter();
    let measured: Vec<String> = rows
        .map(|row| {
            assert!(row["peak_rss"].as_u64().unwrap() > 0, "{row}");
            let case = ["image", "operation", "program"].map(|name| row[name].as_str().unwrap());
            case.join(" ")
        })
        .collect();
    let mut expected = Vec::new();
    for image in ["one", "twenty", "small"] {
        let cases = [
            "push sealift",
            "push skopeo",
            "seal sealift",
            "pull sealift",
            "pull skopeo",
        ];
        expected.extend(cases.map(|case| format!("{image} {case}")));
    }
    assert_eq!(measured, expected);
}
