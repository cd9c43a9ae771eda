//! `pkcs7:`: images sealed for certificates, and certificates among private keys.

use std::fs;
use std::path::Path;

use serde_json::json;

use sealift_testkit::image::{Format, Packing};

use crate::tool::{Lab, image, set_mode};

/// An image sealed for `cert.pem` in `cipher`, the files that open it, and others.
fn lab(cipher: &str) -> Lab {
    let lab = Lab::new();
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/keywrap");
    for (name, file) in [
        ("key.pem", "skopeo/x509.key.pem"),
        ("cert.pem", "skopeo/x509.cert.pem"),
        ("other.pem", "skopeo/rsa.pem"),
        ("other.cert.pem", "certificates/rsa.cert.pem"),
        ("renewed.cert.pem", "certificates/renewed.cert.pem"),
        ("other.both.pem", "certificates/key-and-certificate.pem"),
        ("chain.pem", "certificates/bad.chain.pem"),
        ("ec.cert.pem", "certificates/bad.ec.cert.pem"),
        ("public.pem", "skopeo/rsa.pub.pem"),
    ] {
        lab.write(name, &fs::read(testdata.join(file)).unwrap());
    }
    // Nobody needs to be kept from a certificate.
    set_mode(&lab.path("cert.pem"), 0o644);
    image(Format::Oci, Packing::Gzip).write_layout(&lab.path("plain"), "v1");
    let mut seal = ENCRYPT.to_vec();
    seal.extend(["--cipher", cipher, "-r", "pkcs7:cert.pem"]);
    seal.extend(["-r", "pkcs7:other.cert.pem"]);
    lab.sealift(&seal).succeeds();
    lab
}

#[test]
fn what_was_sealed_for_a_certificate_opens_with_its_key() {
    for cipher in ["chunked", "ocicrypt"] {
        let lab = lab(cipher);
        for (number, keys) in [
            &["-k", "key.pem", "-k", "cert.pem"][..],
            &["-k", "cert.pem", "-k", "key.pem"],
            &["-k", "key.pem", "-k", "pkcs7:cert.pem"],
            &["-k", "other.both.pem"],
            &["-k", "other.pem", "-k", "other.both.pem"],
            &[
                "-k",
                "other.pem",
                "-k",
                "renewed.cert.pem",
                "-k",
                "other.cert.pem",
            ],
        ]
        .into_iter()
        .enumerate()
        {
            let opened = format!("oci:opened-{number}:v1");
            let mut open = vec!["decrypt", "-q", "oci:sealed:v1", &opened];
            open.extend(keys);
            lab.sealift(&open).succeeds();
            assert_eq!(
                lab.digest_in_layout(&format!("opened-{number}"), "v1"),
                lab.digest_in_layout("plain", "v1"),
                "{keys:?}"
            );
            let mut verify = vec!["verify", "-q", "oci:sealed:v1"];
            verify.extend(keys);
            lab.sealift(&verify).succeeds();
        }
    }
}

#[test]
fn what_is_missing_to_open_is_named() {
    let lab = lab("ocicrypt");
    for (keys, code, words) in [
        (
            &["-k", "key.pem"][..],
            3,
            &[
                "pkcs7 rsaEncryption",
                "no certificate was given with the key",
                "hint: give the certificate of the private key, too: -k key.pem -k cert.pem",
            ][..],
        ),
        (
            &["-k", "other.pem", "-k", "renewed.cert.pem"],
            3,
            &[
                "wrapped for another key",
                "hint: `sealift inspect` shows the recipients",
            ],
        ),
        (
            &["-k", "cert.pem"],
            2,
            &[
                "certificate `cert.pem` belongs to no private key",
                "hint: give its private key, too",
            ],
        ),
        (
            &["-k", "other.pem", "-k", "pkcs7:cert.pem"],
            2,
            &["certificate `cert.pem` belongs to no private key"],
        ),
        (
            &["-k", "key.pem", "-k", "public.pem"],
            2,
            &["this is a public key; a private key is needed here"],
        ),
        (
            &["-k", "pkcs7:key.pem"],
            2,
            &["this is no certificate", "hint:"],
        ),
        (
            &["-k", "key.pem", "-k", "ec.cert.pem"],
            2,
            &["the certificate is not for an RSA key"],
        ),
    ] {
        let mut open = vec!["decrypt", "oci:sealed:v1", "oci:opened:v1"];
        open.extend(keys);
        let run = lab.sealift(&open).exits_with(code, words[0]);
        for word in words {
            assert!(run.stderr.contains(word), "{word}\n{}", run.stderr);
        }
        assert!(!lab.path("opened/index.json").exists());
    }
}

#[test]
fn only_an_rsa_certificate_alone_can_be_a_recipient() {
    let lab = lab("chunked");
    for (file, code, words) in [
        (
            "ec.cert.pem",
            2,
            [
                "PKCS #7 envelopes are for RSA alone",
                "hint: give it as jwe:FILE",
            ],
        ),
        (
            "public.pem",
            2,
            [
                "this is no certificate",
                "hint: a public key without a certificate is given as jwe:FILE",
            ],
        ),
        ("key.pem", 2, ["this is no certificate", "hint:"]),
        (
            "chain.pem",
            1,
            ["a certificate and its issuer", "give the certificate alone"],
        ),
        ("missing.pem", 7, ["`missing.pem` does not exist", ""]),
    ] {
        let recipient = format!("pkcs7:{file}");
        let run = lab
            .sealift(&["encrypt", "oci:plain:v1", "oci:out:v1", "-r", &recipient])
            .exits_with(code, words[0]);
        assert!(run.stderr.contains(words[1]), "{}", run.stderr);
        assert!(!lab.path("out/index.json").exists());
    }
}

#[test]
fn two_certificates_of_one_key_are_two_recipients_and_one_given_twice_is_one() {
    let lab = lab("chunked");
    let seal = [
        "encrypt",
        "-q",
        "oci:plain:v1",
        "oci:twice:v1",
        "-r",
        "pkcs7:other.cert.pem",
        "-r",
        "pkcs7:renewed.cert.pem",
        "-r",
        "pkcs7:other.cert.pem",
        "-r",
        "jwe:other.cert.pem",
    ];
    lab.sealift(&seal).succeeds();
    let inspected = lab.sealift(&["inspect", "--json", "oci:twice:v1"]).json();
    let recipients = inspected["manifests"][0]["layers"][0]["recipients"].clone();
    let seen: Vec<_> = recipients
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (&one["scheme"], &one["algorithm"], &one["certificate"]))
        .collect();
    let certificate = |serial: &str| json!({"issuer": "CN=rsa", "serial": serial});
    let (first, second) = (certificate("1001"), certificate("1002"));
    let (jwe, pkcs7) = (json!("jwe"), json!("pkcs7"));
    let (oaep, rsa, none) = (json!("RSA-OAEP"), json!("rsaEncryption"), json!(null));
    let expected = [
        (&jwe, &oaep, &none),
        (&pkcs7, &rsa, &first),
        (&pkcs7, &rsa, &second),
    ];
    for one in expected {
        assert!(seen.contains(&one), "{one:?} in {seen:?}");
    }
    assert_eq!(seen.len(), 3);
    let table = lab.sealift(&["inspect", "oci:twice:v1"]).succeeds();
    assert!(table.contains("pkcs7:CN=rsa#1001"), "{table}");
}

const ENCRYPT: [&str; 4] = ["encrypt", "-q", "oci:plain:v1", "oci:sealed:v1"];
