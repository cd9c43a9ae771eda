//! skopeo seals and we open; we seal and skopeo opens.
#![cfg(target_os = "linux")]

use sealift_peers::keys::{KeyPair, KeyType};
use sealift_peers::{Lab, Layout};

#[test]
fn sealift_opens_what_skopeo_sealed_for_rsa() {
    opens_what_skopeo_sealed(KeyType::Rsa2048, "gzip");
}

#[test]
fn sealift_opens_what_skopeo_sealed_for_p256() {
    opens_what_skopeo_sealed(KeyType::P256, "gzip");
}

#[test]
fn sealift_opens_what_skopeo_sealed_for_p384() {
    opens_what_skopeo_sealed(KeyType::P384, "gzip");
}

#[test]
fn sealift_opens_zstd_layers_that_skopeo_sealed() {
    opens_what_skopeo_sealed(KeyType::P256, "zstd");
}

#[test]
fn each_of_several_recipients_of_skopeo_opens_the_image_alone() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let source = lab.tiny_image();
    let keys = [KeyType::Rsa2048, KeyType::P256, KeyType::P384]
        .map(|key_type| KeyPair::generate(&lab, &format!("{key_type:?}"), key_type));
    let sealed = lab.layout("sealed");
    let recipients: Vec<String> = keys.iter().map(KeyPair::recipient).collect();
    lab.skopeo_seals(&source, &sealed, &recipients);
    for (number, key) in keys.iter().enumerate() {
        let opened = lab.layout(&format!("opened-{number}"));
        lab.opens(&sealed, &opened, &["-k", &key.identity()]);
        opened.assert_same_content(&source);
    }
}

#[test]
fn recipients_of_what_skopeo_sealed_change_and_skopeo_opens_it_for_the_new_ones() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let source = lab.tiny_image();
    let [a, b, new] = [
        ("a", KeyType::Rsa2048),
        ("b", KeyType::P256),
        ("new", KeyType::P384),
    ]
    .map(|(name, key_type)| KeyPair::generate(&lab, name, key_type));
    let sealed = lab.layout("sealed");
    lab.skopeo_seals(&source, &sealed, &[a.recipient(), b.recipient()]);
    let reference = sealed.reference("tiny");
    let change = |what: &str, arguments: &[&str]| {
        lab.sealift(&[&["recipients", what, &reference][..], arguments].concat())
    };
    change("add", &["-k", &a.identity(), "-r", &new.recipient()]).succeeded();
    let opened = lab.layout("by-skopeo");
    lab.skopeo(&[
        "copy",
        "-q",
        "--decryption-key",
        &new.identity(),
        &reference,
        &opened.reference("tiny"),
    ]);
    opened.assert_same_content(&source);
    lab.opens(&sealed, &lab.layout("by-b"), &["-k", &b.identity()]);

    // Both stand in one JWE: neither goes without the other, and nobody loses a key by surprise.
    for (what, arguments) in [
        ("remove", &["-k", &a.identity()][..]),
        ("rotate", &["-k", &a.identity(), "-r", &new.recipient()]),
    ] {
        let outcome = change(what, arguments).exited(2);
        outcome.complained(&["is for 2 recipients at once", "recipients remove --id"]);
    }
    let listed = change("list", &["--json"]).succeeded().stdout;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let mut remove = vec!["--annotations-only".to_owned()];
    for layer in listed["manifests"][0]["layers"].as_array().unwrap() {
        let element = layer["recipients"][0]["element"].as_str().unwrap();
        assert_eq!(layer["recipients"][1]["element"], element);
        remove.extend(["--id".to_owned(), element.to_owned()]);
    }
    let remove: Vec<&str> = remove.iter().map(String::as_str).collect();
    change("remove", &remove).succeeded();
    for gone in [&a, &b] {
        lab.sealift(&["verify", &reference, "-k", &gone.identity()])
            .exited(3);
    }
    lab.opens(&sealed, &lab.layout("by-new"), &["-k", &new.identity()]);
}

#[test]
fn sealift_opens_an_image_of_which_skopeo_sealed_one_layer() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let source = lab.tiny_image();
    let key = KeyPair::generate(&lab, "key", KeyType::P256);
    for (choice, expected) in [
        ("0", [true, false, false]),
        ("1", [false, true, false]),
        ("-1", [false, false, true]),
    ] {
        let sealed = lab.layout(&format!("sealed{choice}"));
        let layer = format!("--encrypt-layer={choice}");
        lab.skopeo(&[
            "copy",
            "-q",
            "--encryption-key",
            &key.recipient(),
            &layer,
            &source.reference("tiny"),
            &sealed.reference("tiny"),
        ]);
        assert_eq!(sealed.image("tiny").sealed(), expected);
        let opened = lab.layout(&format!("opened{choice}"));
        lab.opens(&sealed, &opened, &["-k", &key.identity()]);
        opened.assert_same_content(&source);
    }
}

#[test]
fn a_key_that_skopeo_did_not_seal_for_is_refused_and_leaves_nothing() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let source = lab.tiny_image();
    let key = KeyPair::generate(&lab, "key", KeyType::P256);
    let other = KeyPair::generate(&lab, "other", KeyType::P256);
    let sealed = lab.layout("sealed");
    lab.skopeo_seals(&source, &sealed, &[key.recipient()]);
    let opened = lab.layout("opened");
    let outcome = lab.sealift(&[
        "decrypt",
        &sealed.reference("tiny"),
        &opened.reference("tiny"),
        "-k",
        &other.identity(),
    ]);
    let outcome = outcome.exited(3).complained(&["error:", "no key fits"]);
    // Layers are opened side by side; whichever comes first must be named.
    let layers = sealed.image("tiny").layers();
    assert!(
        layers.iter().any(|layer| outcome.stderr.contains(layer)),
        "{outcome}"
    );
    assert!(!opened.path().join("index.json").exists());
}

#[test]
fn a_bit_flipped_in_what_skopeo_sealed_fails_authentication() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let source = lab.tiny_image();
    let key = KeyPair::generate(&lab, "key", KeyType::Rsa2048);
    let sealed = lab.layout("sealed");
    lab.skopeo_seals(&source, &sealed, &[key.recipient()]);
    sealed.replace_layer("tiny", 1, |octets| octets[10_000] ^= 1);
    let opened = lab.layout("opened");
    lab.sealift(&[
        "decrypt",
        &sealed.reference("tiny"),
        &opened.reference("tiny"),
        "-k",
        &key.identity(),
    ])
    .exited(4)
    .complained(&["error:", "authentication"]);
    assert!(!opened.path().join("index.json").exists());
}

#[test]
fn skopeo_opens_what_sealift_sealed_for_rsa() {
    skopeo_opens(KeyType::Rsa2048, "gzip");
}

#[test]
fn skopeo_opens_what_sealift_sealed_for_p256() {
    skopeo_opens(KeyType::P256, "gzip");
}

#[test]
fn skopeo_opens_what_sealift_sealed_for_p384() {
    skopeo_opens(KeyType::P384, "gzip");
}

#[test]
fn skopeo_opens_zstd_layers_that_sealift_sealed() {
    skopeo_opens(KeyType::P256, "zstd");
}

#[test]
fn each_of_several_recipients_of_sealift_opens_the_image_with_skopeo() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let source = lab.tiny_image();
    let keys = [KeyType::Rsa2048, KeyType::P256, KeyType::P384]
        .map(|key_type| KeyPair::generate(&lab, &format!("{key_type:?}"), key_type));
    let sealed = lab.layout("sealed");
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
    for (number, key) in keys.iter().enumerate() {
        let opened = lab.layout(&format!("opened-{number}"));
        lab.skopeo_opens(&sealed, &opened, &[key.identity()]);
        opened.assert_same_content(&source);
    }
}

#[test]
fn skopeo_carries_the_default_cipher_untouched_though_it_cannot_open_it() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let source = lab.tiny_image();
    let key = KeyPair::generate(&lab, "key", KeyType::P256);
    let sealed = lab.layout("sealed");
    lab.sealift(&[
        "encrypt",
        &source.reference("tiny"),
        &sealed.reference("tiny"),
        "-r",
        &key.recipient(),
    ])
    .succeeded();
    let carried = lab.layout("carried");
    lab.skopeo(&[
        "copy",
        "-q",
        &sealed.reference("tiny"),
        &carried.reference("tiny"),
    ]);
    assert_eq!(carried.image("tiny").digest, sealed.image("tiny").digest);
    let opened = lab.layout("opened");
    lab.opens(&carried, &opened, &["-k", &key.identity()]);
    assert_eq!(opened.image("tiny").digest, source.image("tiny").digest);
}

#[track_caller]
fn opens_what_skopeo_sealed(key_type: KeyType, compression: &str) {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let source = source(&lab, compression);
    let key = KeyPair::generate(&lab, "key", key_type);
    let sealed = lab.layout("sealed");
    lab.skopeo_seals(&source, &sealed, &[key.recipient()]);
    assert_eq!(sealed.image("tiny").sealed(), [true; 3]);
    let opened = lab.layout("opened");
    lab.opens(&sealed, &opened, &["-k", &key.identity()]);
    opened.assert_same_content(&source);
}

#[track_caller]
fn skopeo_opens(key_type: KeyType, compression: &str) {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let source = source(&lab, compression);
    let key = KeyPair::generate(&lab, "key", key_type);
    let sealed = lab.layout("sealed");
    lab.seals(&source, &sealed, &[key.recipient()]);
    assert_eq!(sealed.image("tiny").sealed(), [true; 3]);
    let opened = lab.layout("opened");
    lab.skopeo_opens(&sealed, &opened, &[key.identity()]);
    opened.assert_same_content(&source);
    // And we open our own: the original manifest comes back byte for byte.
    let ours = lab.layout("ours");
    lab.opens(&sealed, &ours, &["-k", &key.identity()]);
    assert_eq!(ours.image("tiny").digest, source.image("tiny").digest);
}

fn source(lab: &Lab, compression: &str) -> Layout {
    match compression {
        "gzip" => lab.tiny_image(),
        other => lab.recompressed(&lab.tiny_image(), other),
    }
}

const PEERS: &[&str] = &["skopeo", "umoci", "gcc", "openssl", "root"];
