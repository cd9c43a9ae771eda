//! Two decoders that share no code with us open what we seal in ocicrypt's format: Debian's packaged ocicrypt, in Go, and a
//! Python program written from the format's description.
#![cfg(target_os = "linux")]
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "test support: a panic is how a test fails"
)]

use std::fs::{self, File};
use std::process::Command;

use sealift_peers::command::{call, run};
use sealift_peers::keys::{KeyPair, KeyType};
use sealift_peers::lab::{digest_of, script};
use sealift_peers::{Lab, Layout, Outcome};

#[test]
fn packaged_ocicrypt_opens_what_sealift_sealed_for_rsa() {
    packaged_ocicrypt_opens(KeyType::Rsa2048);
}

#[test]
fn packaged_ocicrypt_opens_what_sealift_sealed_for_p256() {
    packaged_ocicrypt_opens(KeyType::P256);
}

#[test]
fn packaged_ocicrypt_opens_what_sealift_sealed_for_p384() {
    packaged_ocicrypt_opens(KeyType::P384);
}

#[test]
fn packaged_ocicrypt_refuses_a_key_that_sealift_did_not_seal_for() {
    let Some(lab) = Lab::needing(GO_PEERS) else {
        return;
    };
    let (_, sealed) = seal(&lab, &[KeyType::P256]);
    let other = KeyPair::generate(&lab, "other", KeyType::P256);
    packaged_ocicrypt(&lab, &sealed, 0, &other)
        .exited(1)
        .complained(&["DecryptLayer"]);
}

#[test]
fn python_opens_what_sealift_sealed_for_rsa() {
    python_opens(&[KeyType::Rsa2048]);
}

#[test]
fn python_opens_what_sealift_sealed_for_p256() {
    python_opens(&[KeyType::P256]);
}

#[test]
fn python_opens_what_sealift_sealed_for_p384() {
    python_opens(&[KeyType::P384]);
}

#[test]
fn python_opens_what_sealift_sealed_for_several_with_any_of_their_keys() {
    python_opens(&[KeyType::Rsa2048, KeyType::P256, KeyType::P384]);
}

/// Go's library reads the descriptor's annotations, so it is given the descriptor as the manifest has it.
#[track_caller]
fn packaged_ocicrypt_opens(key_type: KeyType) {
    let Some(lab) = Lab::needing(GO_PEERS) else {
        return;
    };
    let (keys, sealed) = seal(&lab, &[key_type]);
    let originals = lab.layout("source").image("tiny").layers();
    assert_eq!(originals.len(), 3);
    for (number, original) in originals.iter().enumerate() {
        packaged_ocicrypt(&lab, &sealed, number, &keys[0]).succeeded();
        assert_eq!(&digest_of(&lab.path("opened.blob")), original);
    }
}

#[track_caller]
fn packaged_ocicrypt(lab: &Lab, sealed: &Layout, number: usize, key: &KeyPair) -> Outcome {
    let decoder = call(script("build-ocicrypt-ref"), &[""; 0]);
    let image = sealed.image("tiny");
    let descriptor = lab.path("descriptor.json");
    fs::write(&descriptor, image.manifest["layers"][number].to_string()).unwrap();
    // The shell redirects, since `run` collects standard output as text.
    run(Command::new("sh")
        .arg("-c")
        .arg(r#""$0" --key "$1" --descriptor "$2" >"$3""#)
        .arg(decoder)
        .arg(&key.private)
        .arg(descriptor)
        .arg(lab.path("opened.blob"))
        .stdin(File::open(sealed.blob(&image.layers()[number])).unwrap()))
}

#[track_caller]
fn python_opens(key_types: &[KeyType]) {
    let Some(lab) = Lab::needing(PYTHON_PEERS) else {
        return;
    };
    let (keys, sealed) = seal(&lab, key_types);
    let originals = lab.layout("source").image("tiny").layers();
    for (number, key) in keys.iter().enumerate() {
        let opened = lab.path(format!("opened-{number}"));
        fs::create_dir(&opened).unwrap();
        run(Command::new(script("ocidec.py"))
            .arg(sealed.path())
            .args(["--ref", "tiny", "--key"])
            .arg(&key.private)
            .arg("--out")
            .arg(&opened))
        .succeeded();
        for (layer, original) in originals.iter().enumerate() {
            assert_eq!(&digest_of(&opened.join(format!("{layer}.layer"))), original);
        }
    }
}

#[track_caller]
fn seal(lab: &Lab, key_types: &[KeyType]) -> (Vec<KeyPair>, Layout) {
    let source = lab.tiny_image();
    let sealed = lab.layout("sealed");
    let keys: Vec<KeyPair> = key_types
        .iter()
        .map(|key_type| KeyPair::generate(lab, &format!("{key_type:?}"), *key_type))
        .collect();
    let mut arguments = vec![
        "encrypt".to_owned(),
        "--cipher=ocicrypt".to_owned(),
        source.reference("tiny"),
        sealed.reference("tiny"),
    ];
    for key in &keys {
        arguments.extend(["-r".to_owned(), key.recipient()]);
    }
    lab.sealift(&arguments).succeeded();
    (keys, sealed)
}

const GO_PEERS: &[&str] = &["go", "umoci", "gcc", "openssl", "root"];
const PYTHON_PEERS: &[&str] = &["python3", "umoci", "gcc", "openssl", "root"];
