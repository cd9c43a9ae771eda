//! A real disk that is really full, under a holder and under what people make.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "test support: a panic is how a test fails"
)]

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use sealift_peers::disk::SmallDisk;
use sealift_peers::holders::KeyHolders;
use sealift_peers::{Lab, Layout, Outcome};

#[test]
fn a_holder_on_a_full_disk_releases_nothing_and_goes_on_when_there_is_room() {
    let Some(lab) = Lab::needing(&["root", "mount", "umount", "umoci", "skopeo", "gcc"]) else {
        return;
    };
    let Some(disk) = SmallDisk::mount(&lab, "disk", "4m") else {
        return;
    };
    let image = lab.tiny_image();
    let mut holders = KeyHolders::start(&lab, &[]);
    let sealed = lab.layout("sealed");
    let encrypt = [
        "encrypt",
        &image.reference("tiny"),
        &sealed.reference("x"),
        "-r",
        "holders:default",
        "--label-repo",
        "registry.example/app",
    ];
    holders.as_node("kh/holders.toml", &encrypt).succeeded();
    holders.end();
    let fra = disk.path().join("fra");
    copy(&holders.path("fra"), &fra);
    holders.serve_from(&fra);
    // Two of three open, and the third is not there: nothing opens without the one with the small disk.
    holders.serve_again("gru");

    let mut opened = 0;
    for _ in 0..3 {
        open(&lab, &holders, &sealed).succeeded();
        opened += 1;
    }
    disk.fill();
    // What the store has set aside may still take some.
    let refused = loop {
        let outcome = open(&lab, &holders, &sealed);
        if outcome.code != Some(0) {
            break outcome;
        }
        opened += 1;
    };
    refused
        .exited(5)
        .complained(&["1 of 2 key holders answered", "fra: AuditUnavailable"]);
    assert!(!lab.path("opened/index.json").exists());
    // Full is full: the next is refused as well, and so is a revocation.
    open(&lab, &holders, &sealed).exited(5);
    let revoke = ["node", "revoke", "other", "--reason", "full"];
    let revoked = holders.as_admin(&revoke);
    assert_ne!(revoked.code, Some(0), "{revoked}");

    disk.free();
    open(&lab, &holders, &sealed).succeeded();
    opened += 1;
    // Every layer of every image that was opened is on record there, once, and nothing else.
    let at_fra = ["--holder", "fra", "--json"];
    let show = ["audit", "show", "--event", "release", "--last", "100000"];
    let record = holders.as_auditor(&[&show[..], &at_fra].concat());
    let record: serde_json::Value = serde_json::from_str(&record.succeeded().stdout).unwrap();
    let rows = record["rows"].as_array().unwrap();
    assert_eq!(rows.len(), opened * LAYERS);
    let verify = ["audit", "verify", "--holder", "fra"];
    let head = holders.as_auditor(&verify).succeeded();
    // And after a restart it is all there.
    holders.end();
    holders.serve_from(&fra);
    holders.serve_again("gru");
    let contains = [&verify[..], &["--contains", head.answer()]].concat();
    holders.as_auditor(&contains).succeeded();
    open(&lab, &holders, &sealed).succeeded();

    // A key that one of its holders cannot keep is not made; later it is, under the same name.
    holders.serve_again("nrt");
    disk.fill();
    let create = [
        "key",
        "create",
        "second",
        "--threshold",
        "2",
        "--holders",
        "fra,gru,nrt",
        "--reason",
        "test",
    ];
    let refused = holders.as_admin(&create);
    assert_ne!(refused.code, Some(0), "{refused}");
    refused.complained(&["`fra`"]);
    disk.free();
    holders.as_admin(&create).succeeded();
    open(&lab, &holders, &sealed).succeeded();
}

#[test]
fn nothing_half_made_is_left_on_a_full_disk() {
    let Some(lab) = Lab::needing(&["root", "mount", "umount"]) else {
        return;
    };
    let Some(disk) = SmallDisk::mount(&lab, "disk", "256k") else {
        return;
    };
    for name in ["alice", "bob"] {
        lab.sealift(&["operator", "new", name]).succeeded();
    }
    fs::write(lab.path("pass"), "correct horse battery staple\n").unwrap();
    restrict(&lab.path("pass"));
    let init = [
        "holder",
        "init",
        "--dir",
        "disk/fra",
        "--name",
        "fra",
        "--index",
        "1",
        "--jurisdiction",
        "DE",
        "--listen",
        "127.0.0.1:7101",
        "--passphrase-file",
        "pass",
        "--administrator",
        "alice.pub.pem",
        "--administrator",
        "bob.pub.pem",
    ];
    let attempts: [(&[&str], &str); 3] = [
        (&init, "no space for the store"),
        (&["keygen", "-o", "disk/key"], "No space left on device"),
        (
            &["operator", "new", "carol", "-o", "disk"],
            "No space left on device",
        ),
    ];
    disk.fill();
    for (attempt, why) in attempts {
        let refused = lab.sealift(attempt);
        assert_eq!(refused.code, Some(1), "{refused}");
        refused.complained(&[why]);
        assert_eq!(names(disk.path()), ["ballast"], "{attempt:?}");
    }
    disk.free();
    // Half of what a holder needs: its store begins, and does not fit.
    let Some(tight) = SmallDisk::mount(&lab, "tight", "40k") else {
        return;
    };
    let tight_init: Vec<&str> = init
        .iter()
        .map(|word| {
            if *word == "disk/fra" {
                "tight/fra"
            } else {
                *word
            }
        })
        .collect();
    let refused = lab.sealift(&tight_init);
    assert_eq!(refused.code, Some(1), "{refused}");
    assert_eq!(names(tight.path()), [""; 0]);
    // With room the same commands do it.
    for (attempt, _) in &attempts[1..] {
        lab.sealift(attempt).succeeded();
    }
    let elsewhere: Vec<&str> = init
        .iter()
        .map(|word| if *word == "disk/fra" { "fra" } else { *word })
        .collect();
    lab.sealift(&elsewhere).succeeded();
}

/// Opens the image as the node, in a layout that is made anew.
#[track_caller]
fn open(lab: &Lab, holders: &KeyHolders<'_>, sealed: &Layout) -> Outcome {
    let opened = lab.path("opened");
    if opened.exists() {
        fs::remove_dir_all(&opened).unwrap();
    }
    let decrypt = [
        "decrypt",
        &sealed.reference("x"),
        &lab.layout("opened").reference("x"),
        "-k",
        "holders:default",
    ];
    holders.as_node("kh/holders.toml", &decrypt)
}

#[track_caller]
fn copy(from: &Path, to: &Path) {
    let arguments: [OsString; 3] = ["-a".into(), from.into(), to.into()];
    sealift_peers::command::call("cp", &arguments);
}

#[track_caller]
fn restrict(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// How many layers the image has.
const LAYERS: usize = 3;
