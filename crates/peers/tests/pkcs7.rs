//! PKCS #7 envelopes: skopeo seals for certificates and we open, and the other way round.
#![cfg(target_os = "linux")]

use sealift_peers::Lab;
use sealift_peers::keys::{Certificate, KeyPair, KeyType};

#[test]
fn sealift_opens_what_skopeo_sealed_for_a_certificate() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let source = lab.tiny_image();
    let (key, certificate) = certified(&lab, "node");
    let sealed = lab.layout("sealed");
    lab.skopeo_seals(&source, &sealed, &[certificate.recipient()]);
    let marked = format!("pkcs7:{}", certificate.0);
    for (number, arguments) in [
        ["-k", &key.identity(), "-k", &certificate.0],
        ["-k", &certificate.0, "-k", &key.identity()],
        ["-k", &key.identity(), "-k", &marked],
        [
            "--decryption-key",
            &key.identity(),
            "--decryption-key",
            &certificate.0,
        ],
    ]
    .into_iter()
    .enumerate()
    {
        let opened = lab.layout(&format!("opened-{number}"));
        lab.opens(&sealed, &opened, &arguments);
        opened.assert_same_content(&source);
    }
}

#[test]
fn skopeo_opens_what_sealift_sealed_for_a_certificate() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let source = lab.tiny_image();
    let (key, certificate) = certified(&lab, "node");
    let sealed = lab.layout("sealed");
    lab.seals(&source, &sealed, &[certificate.recipient()]);
    assert_eq!(sealed.image("tiny").sealed(), [true; 3]);
    let opened = lab.layout("opened");
    lab.skopeo_opens(&sealed, &opened, &[key.identity(), certificate.0.clone()]);
    opened.assert_same_content(&source);
    // And we open our own: the original manifest comes back byte for byte.
    let ours = lab.layout("ours");
    lab.opens(
        &sealed,
        &ours,
        &["-k", &key.identity(), "-k", &certificate.0],
    );
    assert_eq!(ours.image("tiny").digest, source.image("tiny").digest);
}

#[test]
fn of_several_recipients_of_skopeo_every_one_opens_the_image_alone() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let source = lab.tiny_image();
    let (first, first_certificate) = certified(&lab, "first");
    let (last, last_certificate) = certified(&lab, "last");
    let jwe = KeyPair::generate(&lab, "jwe", KeyType::P256);
    let sealed = lab.layout("sealed");
    let recipients = [
        first_certificate.recipient(),
        jwe.recipient(),
        last_certificate.recipient(),
    ];
    lab.skopeo_seals(&source, &sealed, &recipients);
    for (name, arguments) in [
        ("first", vec![first.identity(), first_certificate.0.clone()]),
        ("last", vec![last.identity(), last_certificate.0]),
        ("jwe", vec![jwe.identity()]),
        // The first key does not fit, and the second has no certificate.
        (
            "jwe-last",
            vec![last.identity(), first.identity(), jwe.identity()],
        ),
    ] {
        let opened = lab.layout(name);
        let arguments: Vec<&str> = arguments.iter().flat_map(|file| ["-k", file]).collect();
        lab.opens(&sealed, &opened, &arguments);
        opened.assert_same_content(&source);
    }
}

#[test]
fn of_several_recipients_of_sealift_every_one_opens_the_image_alone_with_skopeo() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let source = lab.tiny_image();
    let (first, first_certificate) = certified(&lab, "first");
    let (last, last_certificate) = certified(&lab, "last");
    let jwe = KeyPair::generate(&lab, "jwe", KeyType::Rsa2048);
    let sealed = lab.layout("sealed");
    let recipients = [
        first_certificate.recipient(),
        jwe.recipient(),
        last_certificate.recipient(),
    ];
    lab.seals(&source, &sealed, &recipients);
    for (name, files) in [
        ("first", vec![first.identity(), first_certificate.0.clone()]),
        ("last", vec![last.identity(), last_certificate.0]),
        ("jwe", vec![jwe.identity()]),
    ] {
        let opened = lab.layout(name);
        lab.skopeo_opens(&sealed, &opened, &files);
        opened.assert_same_content(&source);
    }
}

#[test]
fn a_certificate_that_skopeo_did_not_seal_for_opens_nothing() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let source = lab.tiny_image();
    let (key, certificate) = certified(&lab, "node");
    let (other, other_certificate) = certified(&lab, "other");
    let renewed = key.certify(&lab, "renewed");
    let sealed = lab.layout("sealed");
    lab.skopeo_seals(&source, &sealed, &[certificate.recipient()]);
    for (arguments, code, words) in [
        (
            vec!["-k", &other.identity(), "-k", &other_certificate.0],
            3,
            ["no key fits", "wrapped for another key"],
        ),
        (
            vec!["-k", &key.identity(), "-k", &renewed.0],
            3,
            ["no key fits", "wrapped for another key"],
        ),
        (
            vec!["-k", &key.identity()],
            3,
            [
                "no certificate was given with the key",
                "hint: give the certificate",
            ],
        ),
        (
            vec!["-k", &other.identity(), "-k", &certificate.0],
            2,
            ["belongs to no private key that was given", "hint:"],
        ),
        (
            vec!["-k", &certificate.0],
            2,
            ["belongs to no private key", "hint:"],
        ),
    ] {
        let opened = lab.layout("opened");
        let sources = [
            "decrypt".to_owned(),
            sealed.reference("tiny"),
            opened.reference("tiny"),
        ];
        let mut all: Vec<&str> = sources.iter().map(String::as_str).collect();
        all.extend(arguments);
        lab.sealift(&all).exited(code).complained(&words);
        assert!(!opened.path().join("index.json").exists());
    }
}

#[track_caller]
fn certified(lab: &Lab, name: &str) -> (KeyPair, Certificate) {
    let key = KeyPair::generate(lab, name, KeyType::Rsa2048);
    let certificate = key.certify(lab, name);
    (key, certificate)
}

const PEERS: &[&str] = &["skopeo", "umoci", "gcc", "openssl", "root"];
