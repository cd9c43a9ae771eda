//! `scripts/bench registry` in small: it fails where a program does not do what it measures.
#![cfg(target_os = "linux")]

use std::fs;
use std::process::Command;

use sealift_peers::Lab;
use sealift_peers::lab::script;
use serde_json::Value;

#[test]
fn every_case_is_measured() {
    let programs = ["root", "docker-registry", "skopeo", "time", "unshare"];
    let Some(lab) = Lab::needing(&programs) else {
        return;
    };
    let result = lab.path("registry.json");
    let binaries = lab.binary("sealift");
    let outcome = Command::new(script("../bench"))
        .args(["registry", "--only", "loopback"])
        .args(["--size", "1", "--rounds", "1", "--output"])
        .arg(&result)
        .env("SEALIFT_BIN_DIR", binaries.parent().unwrap())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&outcome.stderr);
    assert!(outcome.status.success(), "{told}");
    let result: Value = serde_json::from_slice(&fs::read(&result).unwrap()).unwrap();
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
