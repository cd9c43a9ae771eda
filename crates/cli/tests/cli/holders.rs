//! The verbs of key holders, as far as no holder is asked.

use std::fs;

use serde_json::{Value, json};

use crate::tool::{Lab, set_mode};

#[test]
fn any_two_of_three_shares_bring_a_file_back() {
    let lab = Lab::new();
    for len in [0, 1, 27, 28, 29, 32, 4000] {
        let content = sealift_testkit::noise(len as u64, len);
        lab.write("secret", &content);
        let shares = lab.sealift(&[
            "key", "split", "secret", "-n", "3", "-t", "2", "-o", "shares",
        ]);
        assert_eq!(
            shares.succeeds().lines().collect::<Vec<_>>(),
            [
                "shares/secret.1.share",
                "shares/secret.2.share",
                "shares/secret.3.share"
            ]
        );
        for (a, b) in [(1, 2), (1, 3), (3, 2)] {
            let share = |n| format!("shares/secret.{n}.share");
            lab.sealift(&["key", "combine", &share(a), &share(b), "-o", "back"])
                .succeeds();
            assert_eq!(fs::read(lab.path("back")).unwrap(), content);
            fs::remove_file(lab.path("back")).unwrap();
        }
        lab.sealift(&["key", "combine", "shares", "-o", "back"])
            .succeeds();
        assert_eq!(fs::read(lab.path("back")).unwrap(), content);
        fs::remove_file(lab.path("back")).unwrap();
        fs::remove_dir_all(lab.path("shares")).unwrap();
    }
}

#[test]
fn shares_that_do_not_fit_write_nothing() {
    let lab = Lab::new();
    lab.write("secret", b"twenty-four octets here!");
    lab.write("other", b"twenty-four octets there");
    for file in ["secret", "other"] {
        lab.sealift(&["key", "split", file, "-n", "3", "-t", "2", "-o", "shares"])
            .succeeds();
    }
    let combine = |shares: &[&str]| {
        let arguments = [&["key", "combine", "-o", "back"][..], shares].concat();
        lab.sealift(&arguments)
    };
    combine(&["shares/secret.1.share"]).fails(2, "1 different shares are here, and 2");
    combine(&["shares/secret.1.share", "shares/secret.1.share"]).fails(2, "1 different shares");
    combine(&["shares/secret.1.share", "shares/other.2.share"]).fails(2, "different files");
    combine(&["shares/none.1.share"]).fails(7, "none.1.share");
    combine(&["secret", "shares/secret.1.share"]).fails(1, "is not a share");

    let path = lab.path("shares/secret.1.share");
    let mut share: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let text = share["share"].as_str().unwrap();
    let flipped = if text.starts_with('A') { "B" } else { "A" };
    share["share"] = json!(format!("{flipped}{}", &text[1..]));
    lab.write("damaged", &serde_json::to_vec(&share).unwrap());
    combine(&["damaged", "shares/secret.2.share"]).fails(4, "do not fit together");
    combine(&["damaged", "shares/secret.1.share"]).fails(4, "two different shares number 1");
    assert!(!lab.path("back").exists());

    lab.write("back", b"precious");
    combine(&["shares/secret.1.share", "shares/secret.2.share"]).fails(1, "is never overwritten");
    assert_eq!(fs::read(lab.path("back")).unwrap(), b"precious");
}

#[test]
fn an_operator_gets_a_key_and_a_certificate_once() {
    let lab = Lab::new();
    let made = lab
        .sealift(&["operator", "new", "alice", "-o", "keys", "--json"])
        .json();
    assert_eq!(made["privateKey"], "keys/alice.pem");
    assert_eq!(made["certificate"], "keys/alice.crt");
    assert_eq!(made["fingerprint"].as_str().unwrap().len(), 64);
    assert_eq!(
        lab.files("keys"),
        ["/alice.crt", "/alice.pem", "/alice.pub.pem"]
    );
    lab.sealift(&["operator", "new", "alice", "-o", "keys"])
        .fails(1, "is never overwritten");
}

#[test]
fn a_posture_statement_says_what_it_was_told_and_is_signed_by_the_key() {
    let lab = Lab::new();
    lab.sealift(&["operator", "new", "watch"]).succeeds();
    let sign = [
        "posture", "sign", "--node", "n1", "--score", "42", "--zone", "prod", "--key",
    ];
    let envelope = lab.sealift(&[&sign[..], &["watch.pem"]].concat()).json();
    assert_eq!(
        envelope["payloadType"],
        "application/vnd.sealift.posture.v1+json"
    );
    let public = fs::read_to_string(lab.path("watch.pub.pem")).unwrap();
    let key = sealift_holder::keys::PublicKey::from_pem(&public).unwrap();
    let verified = sealift_holder::dsse::verify(
        &serde_json::to_vec(&envelope).unwrap(),
        sealift_holder::statement::POSTURE,
        [&key],
    );
    let mut payload: Value = serde_json::from_slice(&verified.unwrap().payload).unwrap();
    assert!(payload["observed_at"].as_u64().unwrap() > 1_700_000_000_000);
    payload["observed_at"] = json!(0);
    let expected = json!({
        "node": "n1", "score": 42, "zone": "prod", "disk_encrypted": null, "observed_at": 0, "source": "sealift",
    });
    assert_eq!(payload, expected);
}

#[test]
fn a_private_key_that_others_can_read_signs_nothing() {
    let lab = Lab::new();
    lab.sealift(&["operator", "new", "watch"]).succeeds();
    set_mode(&lab.path("watch.pem"), 0o644);
    if cfg!(unix) {
        lab.sealift(&[
            "posture",
            "sign",
            "--node",
            "n",
            "--score",
            "1",
            "--key",
            "watch.pem",
        ])
        .fails(1, "can be read by other users");
    }
}

#[test]
fn a_deployment_that_does_not_fit_is_explained() {
    let lab = Lab::new();
    lab.sealift(&["key", "list"])
        .fails(2, "no holders file was named");
    lab.sealift(&["key", "list", "--holders", "none.toml"])
        .fails(7, "none.toml");
    lab.write("empty.toml", b"version = 1\n");
    lab.sealift(&["key", "list", "--holders", "empty.toml"])
        .fails(2, "as whom");
    lab.sealift(&["key", "export", "k", "--holders", "empty.toml"])
        .fails(7, "no key `k`");
    lab.sealift(&[
        "encrypt",
        "oci:a",
        "oci:b",
        "-r",
        "holders:k",
        "--holders",
        "empty.toml",
    ])
    .fails(7, "no key `k`");
}

/// Whoever can write the holders file could otherwise name a key of his own.
#[test]
fn a_descriptor_that_administrators_did_not_sign_seals_nothing() {
    let lab = Lab::new();
    for name in ["alice", "bob", "mallory"] {
        lab.sealift(&["operator", "new", name]).succeeds();
    }
    let unsigned = br#"{"v":1,"key_id":"k"}"#;
    let rng = aws_lc_rs::rand::SystemRandom::new();
    let key = |name: &str| {
        let pem = fs::read_to_string(lab.path(&format!("{name}.pem"))).unwrap();
        sealift_holder::keys::SigningKey::from_pem(&pem).unwrap()
    };
    let sign = |names: &[&str]| {
        let keys: Vec<_> = names.iter().map(|name| key(name)).collect();
        let keys: Vec<_> = keys.iter().collect();
        let payload_type = sealift_holder::statement::KEY_DESCRIPTOR;
        sealift_holder::dsse::sign(payload_type, unsigned, &keys, &rng).unwrap()
    };
    let file = "version = 1\n\
        [[administrator]]\nname = \"alice\"\npublic_key = \"alice.pub.pem\"\n\
        [[administrator]]\nname = \"bob\"\npublic_key = \"bob.pub.pem\"\n\
        [[key]]\nid = \"k\"\ndescriptor = \"k.json\"\n";
    lab.write("holders.toml", file.as_bytes());
    for envelope in [
        unsigned.to_vec(),
        sign(&["alice"]),
        sign(&["mallory"]),
        sign(&["alice", "mallory"]),
        sign(&["alice", "alice"]),
    ] {
        lab.write("k.json", &envelope);
        let encrypt = [
            "encrypt",
            "oci:a",
            "oci:b",
            "-r",
            "holders:k",
            "--holders",
            "holders.toml",
        ];
        lab.sealift(&encrypt).fails(4, "k.json");
    }
    assert!(!lab.path("b").exists());
}

#[test]
fn a_policy_set_is_made_checked_and_compared() {
    let lab = Lab::new();
    let new = ["policy", "new", "--jurisdictions", "DE,JP"];
    let set = lab.sealift(&new).succeeds();
    lab.write("policy.json", set.as_bytes());
    let report = lab
        .sealift(&["policy", "validate", "policy.json", "--json"])
        .json();
    assert_eq!(
        (&report["valid"], &report["name"]),
        (&json!(true), &json!("default"))
    );
    let same = lab
        .sealift(&["policy", "diff", "policy.json", "policy.json", "--json"])
        .json();
    assert_eq!(
        (&same["added"], &same["settings_changed"]),
        (&json!([]), &json!(false))
    );

    let mut changed: Value = serde_json::from_str(&set).unwrap();
    let cedar = changed["cedar"].as_str().unwrap().to_owned();
    changed["cedar"] = json!(format!(
        "{cedar}\n@id(\"extra\") forbid(principal, action, resource);\n"
    ));
    lab.write("changed.json", &serde_json::to_vec(&changed).unwrap());
    let difference = lab
        .sealift(&["policy", "diff", "policy.json", "changed.json"])
        .succeeds();
    assert_eq!(difference, "+ extra");

    changed["cedar"] = json!(format!(
        "{cedar}\n@id(\"bad\") forbid(principal, action, resource) when {{ principal.nothing }};\n"
    ));
    lab.write("bad.json", &serde_json::to_vec(&changed).unwrap());
    let refused = lab
        .sealift(&["policy", "validate", "bad.json"])
        .fails(1, "not a policy set");
    assert!(
        refused.stderr.contains("policy `bad`"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_policy_set_is_tested_against_cases() {
    let lab = Lab::new();
    let set = lab
        .sealift(&["policy", "new", "--jurisdictions", "DE"])
        .succeeds();
    lab.write("policy.json", set.as_bytes());
    let case = |expect: &str| {
        json!({"v": 1, "cases": [{"name": "an auditor reads the record", "expect": expect, "request": {
            "action": "ReadAudit",
            "operator": {
                "operator": "auditor", "roles": ["Auditor"], "jurisdiction": "DE",
                "not_before_ms": 0, "not_after_ms": 2_000_000_000_000_i64,
            },
            "circumstances": {
                "now_ms": 1_000_000_000_000_i64, "src": "127.0.0.1", "holder_jurisdiction": "DE",
                "lease_fresh": true, "approvals": 1,
            },
        }}]})
    };
    lab.write("cases.json", &serde_json::to_vec(&case("allow")).unwrap());
    let report = lab
        .sealift(&["policy", "test", "policy.json", "cases.json", "--json"])
        .json();
    assert_eq!(
        (&report["failed"], &report["cases"][0]["passed"]),
        (&json!(0), &json!(true))
    );
    let why = lab
        .sealift(&["policy", "explain", "policy.json", "cases.json"])
        .succeeds();
    assert!(why.starts_with("an auditor reads the record: "), "{why}");
    lab.write("cases.json", &serde_json::to_vec(&case("deny")).unwrap());
    let run = lab.sealift(&["policy", "test", "policy.json", "cases.json"]);
    assert_eq!(run.code, 6, "{}", run.stderr);
    assert!(run.stdout.contains("FAILED"), "{}", run.stdout);
}

#[test]
fn a_holder_is_made_introduced_backed_up_and_made_again() {
    let lab = Lab::new();
    for name in ["alice", "bob"] {
        lab.sealift(&["operator", "new", name]).succeeds();
    }
    lab.write("pass", b"correct horse battery staple\n");
    let init = |name: &str, index: &str, more: &[&str]| {
        let listen = format!("127.0.0.1:710{index}");
        let mut arguments = vec![
            "holder", "init", "--dir", name, "--name", name, "--index", index,
        ];
        arguments.extend([
            "--jurisdiction",
            "DE",
            "--listen",
            &listen,
            "--passphrase-file",
            "pass",
        ]);
        arguments.extend(["--administrator", "alice.pub.pem"]);
        lab.sealift(&[&arguments[..], &["--administrator", "bob.pub.pem"], more].concat())
    };
    for (name, index, more) in [
        ("fra", "1", &[][..]),
        ("gru", "2", &["--joining", "fra.json"]),
        ("alien", "3", &[]),
    ] {
        let descriptor = init(name, index, more).succeeds();
        lab.write(&format!("{name}.json"), descriptor.as_bytes());
    }
    init("fra", "1", &[]).fails(2, "is there already");
    lab.sealift(&["holder", "join", "--dir", "fra", "gru.json", "alien.json"])
        .fails(4, "--joining FIRST.json");
    let peers = lab
        .sealift(&[
            "holder", "join", "--dir", "fra", "fra.json", "gru.json", "--json",
        ])
        .json();
    assert_eq!(peers["peers"][0]["name"], "gru");
    assert_eq!(peers["peers"].as_array().unwrap().len(), 1);

    lab.sealift(&["holder", "backup", "--dir", "fra", "fra.backup"])
        .succeeds();
    lab.sealift(&["holder", "backup", "--dir", "fra", "fra.backup"])
        .fails(2, "is there already");
    lab.sealift(&["holder", "restore", "--dir", "again", "fra.backup"])
        .succeeds();
    let restored = lab
        .sealift(&["holder", "join", "--dir", "again", "gru.json", "--json"])
        .json();
    assert_eq!(restored, peers);
    lab.write("wrong", b"wrong\n");
    lab.sealift(&[
        "holder",
        "serve",
        "--dir",
        "again",
        "--passphrase-file",
        "wrong",
    ])
    .fails(6, "passphrase");
    lab.sealift(&[
        "holder",
        "serve",
        "--dir",
        "nowhere",
        "--passphrase-file",
        "pass",
    ])
    .fails(7, "holder.toml");
}
