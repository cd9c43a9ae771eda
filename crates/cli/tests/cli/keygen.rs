//! Key pairs on disk.

use std::fs;

#[cfg(unix)]
use crate::tool::set_mode;
use crate::tool::{Lab, Run, image};
use sealift_testkit::image::{Format, Packing};

#[test]
fn every_kind_of_key_seals_and_opens() {
    let lab = Lab::new();
    let image = image(Format::Oci, Packing::Gzip);
    image.write_layout(&lab.path("plain"), "v1");
    for kind in ["p256", "p384", "p521", "rsa3072"] {
        let fingerprint = lab
            .sealift(&["keygen", "--type", kind, "-o", kind])
            .succeeds();
        assert_eq!(
            (
                fingerprint.len(),
                fingerprint.trim_matches(|c: char| c.is_ascii_hexdigit())
            ),
            (64, "")
        );
        let sealed = format!("oci:sealed:{kind}");
        let opened = format!("oci:opened:{kind}");
        lab.sealift(&[
            "encrypt",
            "oci:plain:v1",
            &sealed,
            "-r",
            &format!("{kind}.pub.pem"),
        ])
        .succeeds();
        let digest = lab
            .sealift(&["decrypt", &sealed, &opened, "-k", &format!("{kind}.pem")])
            .succeeds();
        assert_eq!(digest, image.digest(), "{kind}");
    }
}

#[test]
fn an_aes256_key_serves_for_both_from_a_file_or_a_variable() {
    let lab = Lab::new();
    let image = image(Format::Oci, Packing::Gzip);
    image.write_layout(&lab.path("plain"), "v1");
    let fingerprint = lab
        .sealift(&["keygen", "--type", "aes256", "-o", "customer"])
        .succeeds();
    let line = fs::read_to_string(lab.path("customer.key")).unwrap();
    assert_eq!((line.len(), line.ends_with("=\n")), (45, true));
    lab.sealift(&[
        "encrypt",
        "oci:plain:v1",
        "oci:sealed:v1",
        "-r",
        "aes256:customer.key",
    ])
    .succeeds();
    let inspected = lab.sealift(&["inspect", "oci:sealed:v1", "--json"]).json();
    let recipient = &inspected["manifests"][0]["layers"][0]["recipients"][0];
    assert_eq!(
        (&recipient["algorithm"], &recipient["fingerprint"]),
        (&"aes256".into(), &fingerprint.into())
    );
    let digest = lab
        .sealift(&[
            "decrypt",
            "oci:sealed:v1",
            "oci:opened:a",
            "-k",
            "aes256:customer.key",
        ])
        .succeeds();
    assert_eq!(digest, image.digest());
    let mut command = lab.command(&[
        "decrypt",
        "oci:sealed:v1",
        "oci:opened:b",
        "-k",
        "aes256:env:LAYER_KEY",
    ]);
    let run = Run::of(command.env("LAYER_KEY", line.trim_end()));
    assert_eq!(run.succeeds(), image.digest());
}

#[cfg(unix)]
#[test]
fn private_keys_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;

    let lab = Lab::new();
    lab.key("pair");
    lab.sealift(&["keygen", "--type", "aes256", "-o", "secret"])
        .succeeds();
    for (file, mode) in [
        ("pair.pem", 0o600),
        ("pair.pub.pem", 0o644),
        ("secret.key", 0o600),
    ] {
        let found = fs::metadata(lab.path(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{file}: {found:o}");
    }
    assert_eq!(lab.files("").len(), 3);
}

#[test]
fn never_overwrites_and_leaves_nothing_behind() {
    let lab = Lab::new();
    for (taken, kind) in [
        ("a.pem", "p256"),
        ("a.pub.pem", "p256"),
        ("a.key", "aes256"),
    ] {
        let lab_files = lab.files("");
        lab.write(taken, b"precious");
        lab.sealift(&["keygen", "--type", kind, "-o", "a"])
            .fails(1, "is never overwritten");
        assert_eq!(fs::read(lab.path(taken)).unwrap(), b"precious");
        fs::remove_file(lab.path(taken)).unwrap();
        assert_eq!(lab.files(""), lab_files, "{taken}");
    }
    lab.sealift(&["keygen", "-o", "no/such/folder/a"])
        .fails(1, "cannot write `no/such/folder/a.pem`");
}

#[test]
fn a_passphrase_encrypts_the_private_key() {
    let lab = Lab::new();
    let image = image(Format::Oci, Packing::Gzip);
    image.write_layout(&lab.path("plain"), "v1");
    lab.write("passphrase", b"correct horse: battery\n");
    lab.sealift(&["keygen", "-o", "key", "--passphrase-file", "passphrase"])
        .succeeds();
    let pem = fs::read_to_string(lab.path("key.pem")).unwrap();
    assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
    lab.sealift(&[
        "encrypt",
        "oci:plain:v1",
        "oci:sealed:v1",
        "-r",
        "key.pub.pem",
    ])
    .succeeds();

    let open =
        |key: &str| lab.command(&["decrypt", "-q", "oci:sealed:v1", "oci:opened:v1", "-k", key]);
    assert_eq!(
        Run::of(&mut open("key.pem:file=passphrase")).succeeds(),
        image.digest()
    );
    let mut by_variable = open("key.pem:env=PW");
    assert_eq!(
        Run::of(by_variable.env("PW", "correct horse: battery")).succeeds(),
        image.digest()
    );
    let literal = Run::of(&mut open("key.pem:pass=correct horse: battery"));
    assert!(
        literal
            .stderr
            .contains("warning: the password in :pass= is visible"),
        "{}",
        literal.stderr
    );
    assert_eq!(literal.succeeds(), image.digest());

    Run::of(&mut open("key.pem")).fails(2, "key is encrypted and no password was given");
    let wrong = Run::of(&mut open("key.pem:pass=hunter2")).fails(1, "wrong password");
    assert!(!wrong.stderr.contains("hunter2"));
    Run::of(&mut open("key.pem:env=PW")).fails(2, "environment variable `PW` is not set");
    Run::of(&mut open("key.pem:file=absent")).fails(7, "key file `absent` does not exist");
    #[cfg(unix)]
    {
        set_mode(&lab.path("passphrase"), 0o644);
        Run::of(&mut open("key.pem:file=passphrase")).fails(1, "hint: chmod 600 passphrase");
    }
}

#[cfg(unix)]
#[test]
fn a_password_comes_through_a_descriptor_and_serves_several_keys() {
    let lab = Lab::new();
    let image = image(Format::Oci, Packing::Gzip);
    image.write_layout(&lab.path("plain"), "v1");
    lab.write("passphrase", b"secret\n");
    for key in ["one", "two"] {
        lab.sealift(&["keygen", "-o", key, "--passphrase-file", "passphrase"])
            .succeeds();
    }
    lab.sealift(&[
        "encrypt",
        "oci:plain:v1",
        "oci:sealed:v1",
        "-r",
        "two.pub.pem",
    ])
    .succeeds();
    // Standard input is descriptor 0, and a pipe can be read once only.
    let mut command = lab.command(&[
        "decrypt",
        "oci:sealed:v1",
        "oci:opened:v1",
        "-k",
        "one.pem:fd=0",
        "-k",
        "two.pem:fd=0",
    ]);
    let mut child = command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"secret\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap().trim_end(),
        image.digest()
    );
}

#[test]
fn json_names_the_files() {
    let lab = Lab::new();
    let made = lab.sealift(&["keygen", "--json", "-o", "k"]).json();
    assert_eq!(made["schemaVersion"], 1);
    assert_eq!(
        (&made["privateKey"], &made["publicKey"]),
        (&"k.pem".into(), &"k.pub.pem".into())
    );
    assert_eq!(made["fingerprint"].as_str().unwrap().len(), 64);
    let made = lab
        .sealift(&["keygen", "--json", "--type", "aes256", "-o", "k"])
        .json();
    assert_eq!(
        (&made["privateKey"], &made["publicKey"]),
        (&"k.key".into(), &serde_json::Value::Null)
    );
}
