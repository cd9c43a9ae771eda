//! A few of the transfers over bad links that `scripts/soak` makes by the thousand.
#![cfg(target_os = "linux")]

use sealift_peers::Lab;

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
    // With this seed the first registry is killed after less than a second.
    let faults = ["--restart-every", "5", "--seed", "1"];
    let amount = ["--transfers", "60", "--large", "0"];
    let result = lab.measured("soak", &[amount, faults].concat());
    assert_eq!(
        (&result["succeeded"], &result["failed"]),
        (&60.into(), &0.into())
    );
    // The links were bad, or it shows nothing.
    assert!(result["retries"].as_u64().unwrap() > 0, "{result}");
    assert!(result["registry_kills"].as_u64().unwrap() > 0, "{result}");
}
