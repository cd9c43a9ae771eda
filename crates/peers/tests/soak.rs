//! A few of the transfers over bad links that `scripts/soak` makes by the thousand.
#![cfg(target_os = "linux")]

use std::fs;
use std::process::Command;

use sealift_peers::Lab;
use sealift_peers::lab::script;
use serde_json::Value;

#[test]
fn every_transfer_over_bad_links_succeeds() {
    let programs = [
        "root",
        "docker-registry",
        "ip",
        "iptables",
        "nsenter",
        "jq",
        "umoci",
        "gcc",
    ];
    let Some(lab) = Lab::needing(&programs) else {
        return;
    };
    let result = lab.path("soak.json");
    let binaries = lab.binary("sealift");
    let outcome = Command::new(script("../soak"))
        // With this seed the first registry is killed after less than a second.
        .args([
            "--transfers",
            "60",
            "--large",
            "0",
            "--restart-every",
            "5",
            "--seed",
            "1",
        ])
        .arg("--output")
        .arg(&result)
        .env("SEALIFT_BIN_DIR", binaries.parent().unwrap())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&outcome.stderr);
    assert!(outcome.status.success(), "{told}");
    let result: Value = serde_json::from_slice(&fs::read(&result).unwrap()).unwrap();
    assert_eq!(
        (&result["succeeded"], &result["failed"]),
        (&60.into(), &0.into())
    );
    // The links were bad, or it shows nothing.
    assert!(result["retries"].as_u64().unwrap() > 0, "{result}");
    assert!(result["registry_kills"].as_u64().unwrap() > 0, "{result}");
}
