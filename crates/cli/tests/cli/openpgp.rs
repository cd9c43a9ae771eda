//! `pgp:`: images sealed for OpenPGP keys, and how the keys are named.

use std::fs;
use std::path::Path;

use sealift_testkit::image::{Format, Packing};

#[cfg(unix)]
use crate::tool::set_mode;
use crate::tool::{Lab, Run, image};

/// An image `plain` and the key files of `testdata/keywrap/openpgp`.
fn lab() -> Lab {
    let lab = Lab::new();
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/keywrap/openpgp");
    for entry in fs::read_dir(testdata).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.contains(".pub.") || name.contains(".sec.") {
            lab.write(name, &fs::read(&path).unwrap());
        }
    }
    lab.write("passphrase", b"correct\n");
    lab.write("wrong", b"incorrect\n");
    image(Format::Oci, Packing::Gzip).write_layout(&lab.path("plain"), "v1");
    lab
}

/// Runs without any gpg to be found.
fn without_gpg(lab: &Lab, arguments: &[&str]) -> Run {
    let mut command = lab.command(arguments);
    command.env("SEALIFT_GPG", lab.path("no-gpg"));
    Run::of(&mut command)
}

fn seal(lab: &Lab, sealed: &str, recipients: &[&str]) -> Run {
    let mut arguments = vec![
        "encrypt",
        "-q",
        "oci:plain:v1",
        sealed,
        "--pgp-keyring",
        "ring.pub.gpg",
    ];
    arguments.extend(recipients.iter().flat_map(|one| ["-r", one]));
    without_gpg(lab, &arguments)
}

fn opens(lab: &Lab, sealed: &str, keys: &[&str]) -> Run {
    let _ = fs::remove_dir_all(lab.path("opened"));
    let mut arguments = vec!["decrypt", "-q", sealed, "oci:opened:v1"];
    arguments.extend(keys.iter().flat_map(|one| ["-k", one]));
    lab.sealift(&arguments)
}

#[test]
fn what_was_sealed_for_an_openpgp_key_opens_with_it_and_with_no_other() {
    let lab = lab();
    for cipher in ["chunked", "ocicrypt"] {
        let sealed = format!("oci:sealed-{cipher}:v1");
        let seal = [
            "encrypt",
            "-q",
            "oci:plain:v1",
            &sealed,
            "--cipher",
            cipher,
            "-r",
            "pgp:rsa2048.pub.asc",
            "-r",
            "pgp:p384.pub.gpg",
            "-r",
            "pgp:cv25519.pub.gpg",
        ];
        without_gpg(&lab, &seal).succeeds();
        for key in [
            "rsa2048.sec.gpg:file=passphrase",
            "pgp:rsa2048.sec.gpg:pass=correct",
            "rsa2048.sec.asc:file=passphrase",
            "rsa2048-stub.sec.gpg:file=passphrase",
            "pgp:p384.sec.gpg",
            "cv25519.sec.asc",
            "ring.sec.gpg",
        ] {
            opens(&lab, &sealed, &[key]).succeeds();
            let plain = lab.digest_in_layout("plain", "v1");
            assert_eq!(lab.digest_in_layout("opened", "v1"), plain, "{key}");
        }
        opens(&lab, &sealed, &["p256.sec.gpg", "p384.sec.gpg"]).succeeds();
        let run = opens(&lab, &sealed, &["p256.sec.gpg", "two.sec.gpg"]);
        run.fails(3, "no key fits");
        assert!(!lab.path("opened").join("index.json").exists());
    }
}

#[test]
fn inspect_shows_algorithm_and_key_id_of_every_recipient() {
    let lab = lab();
    seal(
        &lab,
        "oci:sealed:v1",
        &["pgp:rsa2048.pub.gpg", "pgp:p521.pub.gpg"],
    )
    .succeeds();
    let shown = lab.sealift(&["inspect", "--json", "oci:sealed:v1"]).json();
    let text = shown.to_string();
    for (algorithm, file) in [("RSA", "rsa2048"), ("ECDH", "p521")] {
        let id = key_id(file);
        let expected = format!("\"algorithm\":\"{algorithm}\",\"keyId\":\"{id}\"");
        assert!(text.contains(&expected), "{expected} is not in {text}");
    }
}

/// Returns the id of the subkey for encryption.
fn key_id(name: &str) -> String {
    use sealift_keywrap::{Recipient, openpgp::parse_certificates};
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata/keywrap/openpgp")
        .join(format!("{name}.pub.gpg"));
    let certificate = parse_certificates(&fs::read(path).unwrap())
        .unwrap()
        .remove(0);
    let key = certificate.unwrap().encryption_key(LATER).unwrap();
    key.fingerprint()[24..].to_owned()
}

/// After all test keys were made.
const LATER: u64 = 1_800_000_000;

#[test]
fn a_recipient_is_found_by_address_name_fingerprint_and_long_key_id() {
    let lab = lab();
    let id = key_id("cv25519");
    for name in [
        "cv25519@example.test",
        "CV25519@EXAMPLE.TEST",
        "cv25519",
        "cv25519 <cv25519@example.test>",
        &id,
        &id.to_uppercase(),
        &format!("0x{id}"),
    ] {
        seal(&lab, "oci:sealed:v1", &[&format!("pgp:{name}")]).succeeds();
        opens(&lab, "oci:sealed:v1", &["cv25519.sec.gpg"]).succeeds();
        fs::remove_dir_all(lab.path("sealed")).unwrap();
    }
    seal(&lab, "oci:sealed:v1", &["pgp:Second Name"]).succeeds();
    opens(&lab, "oci:sealed:v1", &["two.sec.gpg"]).succeeds();
}

#[test]
fn a_recipient_that_cannot_be_used_stops_the_run() {
    let lab = lab();
    let id = key_id("cv25519");
    let short = format!("pgp:{}", &id[8..]);
    for (recipient, code, what) in [
        (
            "pgp:nobody@example.test",
            7,
            "no OpenPGP key for `nobody@example.test` in `ring.pub.gpg`",
        ),
        ("pgp:example.test", 7, "no OpenPGP key for `example.test`"),
        (
            "pgp:0123456789abcdef",
            7,
            "no OpenPGP key for `0123456789abcdef`",
        ),
        (&short, 2, "too short to name an OpenPGP key"),
        ("pgp:expired@example.test", 1, "it has expired"),
        ("pgp:expired.pub.gpg", 1, "it has expired"),
        ("pgp:revoked.pub.gpg", 1, "it is revoked"),
        ("pgp:subkey-revoked.pub.gpg", 1, "it is revoked"),
        ("pgp:sign-only.pub.gpg", 1, "it has no key for encryption"),
        ("pgp:weak.pub.gpg", 1, "unsupported algorithm `SHA-1`"),
        // Of several in one file, every one must do.
        ("pgp:ring.pub.gpg", 1, "it has expired"),
        ("pgp:cv25519.sec.gpg", 1, "this is a private key"),
        ("pgp:passphrase", 1, "not an OpenPGP packet"),
        ("pgp:./absent.gpg", 7, "does not exist"),
    ] {
        let run = seal(&lab, "oci:sealed:v1", &["pgp:cv25519.pub.gpg", recipient]);
        run.fails(code, what);
        assert!(!lab.path("sealed").exists(), "{recipient}");
    }
}

#[test]
fn a_name_of_two_keys_is_refused_and_both_are_told() {
    let lab = lab();
    let twin = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/keywrap/openpgp");
    let ring =
        ["cv25519.pub.gpg", "namesake.pub.gpg"].map(|name| fs::read(twin.join(name)).unwrap());
    lab.write("ring.pub.gpg", &ring.concat());
    let run = seal(&lab, "oci:sealed:v1", &["pgp:cv25519@example.test"]);
    let run = run.fails(2, "`cv25519@example.test` names 2 OpenPGP keys: ");
    assert!(
        run.stderr.contains("(cv25519 <cv25519@example.test>)"),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.contains("(namesake <cv25519@example.test>)"),
        "{}",
        run.stderr
    );
    assert!(!lab.path("sealed").exists());
    // One of the two by its name alone.
    seal(&lab, "oci:sealed:v1", &["pgp:namesake"]).succeeds();
}

#[test]
fn without_gpg_and_without_a_keyring_a_name_is_an_error_with_advice() {
    let lab = lab();
    let seal = [
        "encrypt",
        "oci:plain:v1",
        "oci:sealed:v1",
        "-r",
        "pgp:cv25519@example.test",
    ];
    let run = without_gpg(&lab, &seal).fails(7, "to look for OpenPGP keys");
    assert!(run.stderr.contains("hint: install GnuPG"), "{}", run.stderr);
    assert!(!lab.path("sealed").exists());
    // The variable stands for the option.
    let mut command = lab.command(&seal);
    command.env("SEALIFT_PGP_KEYRING", "ring.pub.gpg");
    Run::of(&mut command).succeeds();
    let mut command = lab.command(&seal);
    command.env("SEALIFT_PGP_KEYRING", "absent.gpg");
    Run::of(&mut command).fails(7, "cannot read keyring `absent.gpg`");
}

#[cfg(unix)]
#[test]
fn a_gpg_that_fails_or_knows_nobody_is_told() {
    let lab = lab();
    let seal = [
        "encrypt",
        "oci:plain:v1",
        "oci:sealed:v1",
        "-r",
        "pgp:cv25519@example.test",
    ];
    for (script, code, what) in [
        (
            "exit 2",
            7,
            "no OpenPGP key for `cv25519@example.test` in gpg's keyring",
        ),
        (
            "echo x; echo 'gpg: broken ring' >&2; exit 2",
            1,
            "--export` failed: gpg: broken ring",
        ),
        (
            "echo nonsense",
            1,
            "cannot read the OpenPGP keys in gpg's keyring",
        ),
    ] {
        lab.write("fake-gpg", format!("#!/bin/sh\n{script}\n").as_bytes());
        set_mode(&lab.path("fake-gpg"), 0o700);
        let mut command = lab.command(&seal);
        command.env("SEALIFT_GPG", lab.path("fake-gpg"));
        Run::of(&mut command).fails(code, what);
    }
    lab.write(
        "fake-gpg",
        b"#!/bin/sh\nenv >seen\n[ \"$*\" = '--batch --no-tty --export' ] && cat ring.pub.gpg\n",
    );
    set_mode(&lab.path("fake-gpg"), 0o700);
    let mut command = lab.command(&seal);
    command.env("SEALIFT_CREDS", "user:hush");
    command.env("SEALIFT_GPG", lab.path("fake-gpg"));
    Run::of(&mut command).succeeds();
    let seen = fs::read_to_string(lab.path("seen")).unwrap();
    assert!(!seen.contains("SEALIFT_"), "{seen}");
}

#[test]
fn a_secret_key_that_cannot_be_used_is_told_apart() {
    let lab = lab();
    seal(&lab, "oci:sealed:v1", &["pgp:rsa2048.pub.gpg"]).succeeds();
    for (key, code, what) in [
        (
            "rsa2048.sec.gpg",
            2,
            "key is encrypted and no password was given",
        ),
        (
            "pgp:rsa2048.sec.gpg",
            2,
            "key is encrypted and no password was given",
        ),
        (
            "rsa2048.sec.gpg:file=wrong",
            1,
            "wrong password for this key",
        ),
        (
            "rsa2048.sec.asc:pass=incorrect",
            1,
            "wrong password for this key",
        ),
        ("sign-only.sec.gpg", 2, "it holds no key for decryption"),
        ("rsa2048.pub.gpg", 2, "this is a public key"),
        ("pgp:rsa2048.pub.asc", 2, "this is a public key"),
        ("pgp:passphrase", 1, "not an OpenPGP packet"),
        ("pgp:absent", 7, "does not exist"),
    ] {
        let run = opens(&lab, "oci:sealed:v1", &[key]).fails(code, what);
        assert!(!run.stderr.contains("incorrect"), "{}", run.stderr);
    }
    #[cfg(unix)]
    for key in ["cv25519.sec.gpg", "pgp:cv25519.sec.gpg"] {
        set_mode(&lab.path("cv25519.sec.gpg"), 0o644);
        opens(&lab, "oci:sealed:v1", &[key]).fails(1, "can be read by other users");
    }
}
