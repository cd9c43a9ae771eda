//! OpenPGP: skopeo seals and we open, and the other way round; gpg decrypts what we encrypted, and we what gpg did.
#![cfg(target_os = "linux")]
#![expect(
    clippy::indexing_slicing,
    reason = "test support: a panic is how a test fails"
)]

use std::process::Command;

use sealift_peers::command::run;
use sealift_peers::gpg::{Gpg, address};
use sealift_peers::keys::{KeyPair, KeyType};
use sealift_peers::lab::{digest_of, script};
use sealift_peers::{Lab, Layout};

#[test]
fn sealift_opens_what_skopeo_sealed_for_an_openpgp_key() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let (source, gpg) = (lab.tiny_image(), Gpg::new());
    gpg.generate("node", "rsa2048", "rsa2048", "");
    gpg.generate("guarded", "rsa3072", "rsa3072", "correct horse");
    let sealed = lab.layout("sealed");
    skopeo_seals(&lab, &gpg, &source, &sealed, &["node", "guarded"]);
    let binary = gpg.secret_key(&lab, "node", "");
    let armoured = gpg.armoured_secret_key(&lab, "node", "");
    let guarded = gpg.secret_key(&lab, "guarded", "correct horse");
    for (number, key) in [
        binary.clone(),
        format!("pgp:{binary}"),
        armoured,
        format!("{guarded}:pass=correct horse"),
    ]
    .iter()
    .enumerate()
    {
        let opened = lab.layout(&format!("opened-{number}"));
        lab.opens(&sealed, &opened, &["-k", key]);
        opened.assert_same_content(&source);
    }
}

#[test]
fn skopeo_opens_what_sealift_sealed_for_an_openpgp_key() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let (source, gpg) = (lab.tiny_image(), Gpg::new());
    gpg.generate("node", "rsa2048", "rsa2048", "");
    gpg.generate("large", "rsa4096", "rsa4096", "");
    let jwe = KeyPair::generate(&lab, "jwe", KeyType::P256);
    let sealed = lab.layout("sealed");
    // By address, out of gpg's keyring.
    let recipients = [
        format!("pgp:{}", address("node")),
        jwe.recipient(),
        format!("pgp:{}", address("large")),
    ];
    seals(&lab, &gpg, &source, &sealed, &recipients);
    assert_eq!(sealed.image("tiny").sealed(), [true; 3]);
    for (name, key) in [
        ("node", gpg.secret_key(&lab, "node", "")),
        ("large", gpg.secret_key(&lab, "large", "")),
        ("jwe", jwe.identity()),
    ] {
        let opened = lab.layout(name);
        lab.skopeo_opens(&sealed, &opened, std::slice::from_ref(&key));
        opened.assert_same_content(&source);
        // And we open our own: the original manifest comes back byte for byte.
        let ours = lab.layout(&format!("ours-{name}"));
        lab.opens(&sealed, &ours, &["-k", &key]);
        assert_eq!(ours.image("tiny").digest, source.image("tiny").digest);
    }
}

#[test]
fn gpg_decrypts_what_sealift_encrypted_for_every_kind_of_key() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let (source, gpg) = (lab.tiny_image(), Gpg::new());
    for (name, primary, subkey) in KINDS {
        gpg.generate(name, primary, subkey, "");
        let sealed = lab.layout(&format!("sealed-{name}"));
        let public = gpg.public_key(&lab, name);
        let recipient = format!("pgp:{public}");
        seals(&lab, &gpg, &source, &sealed, &[recipient]);
        let elements = sealed.image("tiny").annotations(ANNOTATION);
        assert_eq!(elements.len(), 3);
        for element in elements {
            let line =
                "printf %s \"$0\" | base64 -d | gpg --batch --no-tty --status-fd 2 --decrypt";
            let opened = gpg.bash(line, &element).succeeded();
            assert!(opened.stdout.starts_with("{\"symkey\":\""), "{opened}");
            let opened = opened.complained(&["GOODMDC", "DECRYPTION_OKAY"]);
            assert!(!opened.stderr.contains("WARNING"), "{opened}");
        }
    }
}

#[test]
fn sealift_opens_what_gpg_encrypted_for_every_kind_of_key() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let (source, gpg) = (lab.tiny_image(), Gpg::new());
    gpg.generate("first", "rsa2048", "rsa2048", "");
    let first = [format!("pgp:{}", address("first"))];
    for (name, primary, subkey) in KINDS {
        gpg.generate(name, primary, subkey, "");
        for how in ["-r", "-R", "-r first@peers.test -r"] {
            let sealed = lab.layout("sealed");
            let _ = std::fs::remove_dir_all(sealed.path());
            seals(&lab, &gpg, &source, &sealed, &first);
            // The same secret, encrypted again by gpg.
            sealed.replace_annotations("tiny", ANNOTATION, |element| {
                let line = format!(
                    "printf %s \"$0\" | base64 -d | gpg --batch --no-tty --quiet --decrypt \
                     | gpg --batch --no-tty --quiet --trust-model always --compress-algo none {how} {} --encrypt | base64 -w0",
                    address(name)
                );
                gpg.bash(&line, element).succeeded().answer().to_owned()
            });
            let opened = lab.layout("opened");
            let _ = std::fs::remove_dir_all(opened.path());
            let secret = gpg.secret_key(&lab, name, "");
            lab.opens(&sealed, &opened, &["-k", &secret]);
            opened.assert_same_content(&source);
        }
    }
}

#[test]
fn the_independent_decoder_opens_what_sealift_sealed_for_an_openpgp_key() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let (source, gpg) = (lab.tiny_image(), Gpg::new());
    gpg.generate("node", "ed25519", "cv25519", "");
    let sealed = lab.layout("sealed");
    seals(
        &lab,
        &gpg,
        &source,
        &sealed,
        &[format!("pgp:{}", address("node"))],
    );
    let secret = gpg.secret_key(&lab, "node", "");
    let mut decoder = Command::new(script("ocidec.py"));
    decoder
        .arg(sealed.path())
        .args(["--ref", "tiny", "--gpg", &secret, "--out"]);
    run(decoder.arg(lab.path("plain"))).succeeded();
    for (number, layer) in source.image("tiny").layers().iter().enumerate() {
        let file = lab.path(format!("plain/{number}.layer"));
        assert_eq!(&digest_of(&file), layer);
    }
}

#[test]
fn an_openpgp_key_that_skopeo_did_not_seal_for_opens_nothing() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let (source, gpg) = (lab.tiny_image(), Gpg::new());
    gpg.generate("node", "rsa2048", "rsa2048", "secret");
    gpg.generate("other", "rsa2048", "rsa2048", "");
    let sealed = lab.layout("sealed");
    skopeo_seals(&lab, &gpg, &source, &sealed, &["node"]);
    let (node, other) = (
        gpg.secret_key(&lab, "node", "secret"),
        gpg.secret_key(&lab, "other", ""),
    );
    for (key, code, words) in [
        (other, 3, ["no key fits", "wrapped for another key"]),
        (node.clone(), 2, ["no password was given", "hint:"]),
        (
            format!("{node}:pass=other"),
            1,
            ["wrong password", "cannot use key file"],
        ),
    ] {
        let opened = lab.layout("opened");
        let arguments = [
            "decrypt",
            &sealed.reference("tiny"),
            &opened.reference("tiny"),
            "-k",
            &key,
        ];
        lab.sealift(&arguments).exited(code).complained(&words);
        assert!(!opened.path().join("index.json").exists());
    }
}

/// Lets skopeo, which asks gpg, seal the tiny image.
#[track_caller]
fn skopeo_seals(lab: &Lab, gpg: &Gpg, source: &Layout, sealed: &Layout, names: &[&str]) {
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["--insecure-policy", "copy", "-q"]);
    for name in names {
        skopeo.args(["--encryption-key", &format!("pgp:{}", address(name))]);
    }
    skopeo.args([source.reference("tiny"), sealed.reference("tiny")]);
    run(gpg.serve(&mut skopeo)).succeeded();
    let annotations = sealed.image("tiny").annotations(ANNOTATION);
    assert!(annotations[0].len() > 100 && lab.path("source").exists());
}

/// Seals the tiny image in ocicrypt's format, with gpg's keyring at hand.
#[track_caller]
fn seals(lab: &Lab, gpg: &Gpg, source: &Layout, sealed: &Layout, recipients: &[String]) {
    let (from, to) = (source.reference("tiny"), sealed.reference("tiny"));
    let mut arguments = vec!["encrypt", "--cipher=ocicrypt", &from, &to];
    arguments.extend(recipients.iter().flat_map(|one| ["-r", one]));
    run(gpg.serve(&mut lab.sealift_command(&arguments))).succeeded();
}

/// Name, and the algorithms of the primary key and of the subkey.
const KINDS: [(&str, &str, &str); 5] = [
    ("rsa", "rsa2048", "rsa2048"),
    ("curve25519", "ed25519", "cv25519"),
    ("p256", "nistp256", "nistp256"),
    ("p384", "nistp384", "nistp384"),
    ("p521", "nistp521", "nistp521"),
];
const ANNOTATION: &str = "org.opencontainers.image.enc.keys.pgp";
const PEERS: &[&str] = &[
    "skopeo", "gpg", "gpgconf", "umoci", "gcc", "bash", "base64", "python3",
];
