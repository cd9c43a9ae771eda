//! X-Wing keys: made, sealed for, opened with.

use sealift_testkit::image::{Format, Packing};

use crate::tool::{Lab, image};

#[test]
fn images_are_sealed_for_x_wing_keys_and_others_beside() {
    let lab = Lab::new();
    lab.key("classic");
    for name in ["hybrid", "stranger"] {
        let run = lab.sealift(&["keygen", "-t", "xwing", "-o", name]);
        assert!(run.stderr.contains("X-Wing is a draft"), "{run:?}");
        assert_eq!(run.succeeds().len(), 64);
    }
    let image = image(Format::Oci, Packing::Gzip);
    image.write_layout(&lab.path("plain"), "v1");
    for cipher in ["chunked", "ocicrypt"] {
        let sealed = format!("oci:{cipher}:v1");
        let seal = ["encrypt", "-q", "oci:plain:v1", &sealed, "--cipher", cipher];
        let recipients = ["-r", "classic.pub.pem", "-r", "hybrid.pub.pem"];
        lab.sealift(&[&seal[..], &recipients].concat()).succeeds();
        for key in ["hybrid.pem", "classic.pem"] {
            let opened = format!("oci:{cipher}-{key}:v1");
            let open = ["decrypt", "-q", &sealed, &opened, "-k", key];
            assert_eq!(lab.sealift(&open).succeeds(), image.digest());
        }
        lab.sealift(&[
            "decrypt",
            "-q",
            &sealed,
            "oci:none:v1",
            "-k",
            "stranger.pem",
        ])
        .fails(3, "no key fits layer");
        let shown = lab.sealift(&["inspect", &sealed, "--json"]).json();
        let recipients = &shown["manifests"][0]["layers"][0]["recipients"];
        let algorithms: Vec<_> = recipients
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["algorithm"].as_str().unwrap())
            .collect();
        assert_eq!(algorithms, ["ECDH-ES+A256KW", "xwing"]);
        assert!(recipients[1]["fingerprint"].is_string());
    }
}

#[test]
fn halves_of_a_key_are_not_taken_for_each_other() {
    let lab = Lab::new();
    image(Format::Oci, Packing::Gzip).write_layout(&lab.path("plain"), "v1");
    lab.sealift(&["keygen", "-q", "-t", "xwing", "-o", "key"])
        .succeeds();
    let encrypt = ["encrypt", "oci:plain:v1", "oci:sealed:v1", "-r"];
    lab.sealift(&[&encrypt[..], &["key.pem"]].concat())
        .fails(2, "give the public key");
    lab.sealift(&[&encrypt[..], &["key.pub.pem"]].concat())
        .succeeds();
    lab.sealift(&["verify", "oci:sealed:v1", "-k", "key.pub.pem"])
        .fails(2, "give the private key");
    lab.write("word", b"secret");
    let with_passphrase = [
        "keygen",
        "-t",
        "xwing",
        "-o",
        "other",
        "--passphrase-file",
        "word",
    ];
    lab.sealift(&with_passphrase)
        .fails(2, "does not work with --type xwing");
    lab.sealift(&["keygen", "-t", "xwing", "-o", "key"])
        .fails(1, "key.pem");
}

#[cfg(unix)]
#[test]
fn a_private_key_that_others_can_read_is_refused() {
    let lab = Lab::new();
    image(Format::Oci, Packing::Gzip).write_layout(&lab.path("plain"), "v1");
    lab.sealift(&["keygen", "-q", "-t", "xwing", "-o", "key"])
        .succeeds();
    let encrypt = [
        "encrypt",
        "-q",
        "oci:plain:v1",
        "oci:sealed:v1",
        "-r",
        "key.pub.pem",
    ];
    lab.sealift(&encrypt).succeeds();
    crate::tool::set_mode(&lab.path("key.pem"), 0o644);
    lab.sealift(&["verify", "oci:sealed:v1", "-k", "key.pem"])
        .fails(1, "can be read by other users");
}
