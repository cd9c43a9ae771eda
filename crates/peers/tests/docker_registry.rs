//! Sealed images through Debian's docker-registry: accounts, TLS, tokens, and digests that come back.
#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use sealift_peers::command::call;
use sealift_peers::keys::{KeyPair, KeyType};
use sealift_peers::lab::{digest_of, workspace};
use sealift_peers::registry::{Access, Registry};
use sealift_peers::{Lab, Layout};
use serde_json::Value;

#[test]
fn an_image_of_the_default_cipher_comes_back_from_a_registry_with_its_digest() {
    comes_back("chunked");
}

#[test]
fn an_image_of_the_ocicrypt_cipher_comes_back_from_a_registry_with_its_digest() {
    comes_back("ocicrypt");
}

#[test]
fn an_index_of_two_platforms_comes_back_from_a_registry_with_its_digest() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let registry = Registry::start(&lab, Access::Open);
    let key = KeyPair::generate(&lab, "key", KeyType::P256);
    let source = lab.tiny_image();
    source.add_index("tiny-index", &[("tiny", "amd64"), ("pause", "arm64")]);
    let sealed = registry.reference("sealed/index:1");
    lab.sealift(&[
        "encrypt",
        &source.reference("tiny-index"),
        &sealed,
        "-r",
        &key.recipient(),
    ])
    .succeeded();
    let raw = lab.skopeo(&["inspect", "--raw", "--tls-verify=false", &sealed]);
    let index: Value = serde_json::from_str(&raw).unwrap();
    assert_eq!(
        index["manifests"][0]["platform"]["architecture"],
        Value::from("amd64")
    );
    assert_eq!(
        index["manifests"][1]["platform"]["architecture"],
        Value::from("arm64")
    );
    let opened = lab.layout("opened");
    lab.sealift(&[
        "decrypt",
        &sealed,
        &opened.reference("tiny-index"),
        "-k",
        &key.identity(),
    ])
    .succeeded();
    assert_eq!(
        opened.image("tiny-index").digest,
        source.image("tiny-index").digest
    );
    for name in ["tiny", "pause"] {
        let manifest = source.image(name).digest;
        assert_eq!(digest_of(&opened.blob(&manifest)), manifest);
        for layer in source.image(name).layers() {
            assert_eq!(digest_of(&opened.blob(&layer)), layer);
        }
    }
}

#[test]
fn a_sealed_image_goes_through_tls_and_basic_authentication() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let registry = Registry::start(&lab, Access::Basic);
    let authority = registry.certificate().display().to_string();
    let options = ["--tls-ca", &authority, "--creds", "alice:s3cret"];
    goes_there_and_back(&lab, &registry, "sealed/tiny:1", &options);
    // All of it by HTTP/2, as the registry's own record of requests says.
    let log = fs::read_to_string(registry.folder().join("registry.log")).unwrap();
    let requests = |version: &str| log.matches(&format!(" {version}\"")).count();
    assert!(requests("HTTP/2.0") > 10, "{log}");
    assert_eq!(requests("HTTP/1.1"), 0, "{log}");
}

#[test]
fn a_sealed_image_goes_through_token_authentication() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let registry = Registry::start(&lab, Access::Token);
    goes_there_and_back(&lab, &registry, "priv/tiny:1", &["--creds", "alice:s3cret"]);
}

/// An upload of many gigabytes in small: no token lives as long as the layer is on its way.
#[test]
fn an_image_is_copied_although_tokens_die_on_the_way() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    outlives_its_tokens(&lab, "copy", |reference, layout| {
        lab.sealift(&["copy", reference, layout, "--creds", "alice:s3cret"])
            .succeeded();
    });
}

/// The same for octets that are made while they are sent.
#[test]
fn an_image_is_sealed_although_tokens_die_on_the_way() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let key = KeyPair::generate(&lab, "key", KeyType::P256);
    outlives_its_tokens(
        &lab,
        &format!("encrypt -r {}", key.recipient()),
        |reference, layout| {
            let identity = key.identity();
            let arguments = ["decrypt", reference, layout, "-k", &identity];
            lab.sealift(&[&arguments[..], &["--creds", "alice:s3cret"]].concat())
                .succeeded();
        },
    );
}

#[test]
fn the_account_is_taken_from_a_file_as_docker_login_writes_it() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let registry = Registry::start(&lab, Access::Token);
    let file = lab.path("auth.json");
    // The base64 of alice:s3cret.
    let auth = format!(
        r#"{{"auths":{{"{}":{{"auth":"YWxpY2U6czNjcmV0"}}}}}}"#,
        registry.address()
    );
    fs::write(&file, auth).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let options = ["--authfile", &file.display().to_string()];
    goes_there_and_back(&lab, &registry, "priv/tiny:1", &options);
}

#[test]
fn what_everybody_may_pull_is_opened_without_an_account() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let registry = Registry::start(&lab, Access::Token);
    let key = KeyPair::generate(&lab, "key", KeyType::P256);
    let source = lab.tiny_image();
    let reference = registry.reference("pub/tiny:1");
    let account = ["--creds", "alice:s3cret"];
    encrypt(&lab, &source, &reference, &key, &account);
    let opened = lab.layout("opened");
    decrypt(&lab, &reference, &opened, &key, &[]);
    assert_eq!(opened.image("tiny").digest, source.image("tiny").digest);
}

#[test]
fn a_wrong_password_is_a_registry_error_and_leaves_nothing() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let registry = Registry::start(&lab, Access::Basic);
    let key = KeyPair::generate(&lab, "key", KeyType::P256);
    let source = lab.tiny_image();
    let authority = registry.certificate().display().to_string();
    let outcome = lab.sealift(&[
        "encrypt",
        &source.reference("tiny"),
        &registry.reference("sealed/tiny:1"),
        "-r",
        &key.recipient(),
        "--tls-ca",
        &authority,
        "--creds",
        "alice:secret-typo",
    ]);
    let outcome = outcome.exited(5).complained(&["error:", "`alice`"]);
    assert!(!outcome.stderr.contains("secret-typo"), "{outcome}");
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let registry = Registry::start(&lab, Access::Basic);
    let other = lab.text("other.crt");
    call(
        "openssl",
        &[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=localhost",
            "-keyout",
            &lab.text("other.key"),
            "-out",
            &other,
        ],
    );
    let outcome = lab.sealift(&[
        "inspect",
        &registry.reference("sealed/tiny:1"),
        "--tls-ca",
        &other,
        "--creds",
        "alice:s3cret",
    ]);
    outcome.exited(5).complained(&["error:", "certificate"]);
}

#[test]
fn an_image_that_is_not_there_is_not_found() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let registry = Registry::start(&lab, Access::Open);
    lab.sealift(&["inspect", &registry.reference("nothing/here:1")])
        .exited(7)
        .complained(&["error:"]);
}

#[test]
fn inspect_lists_what_is_sealed_how_and_for_whom() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let registry = Registry::start(&lab, Access::Open);
    let key = KeyPair::generate(&lab, "key", KeyType::P384);
    let source = lab.tiny_image();
    let reference = registry.reference("sealed/tiny:1");
    encrypt(&lab, &source, &reference, &key, &["--layer", "1"]);
    let printed = lab.sealift(&["inspect", "--json", &reference]).succeeded();
    let seen: Value = serde_json::from_str(&printed.stdout).unwrap();
    assert_eq!(seen["schemaVersion"], 1);
    assert_eq!(seen["digest"], raw_digest(&lab, &reference));
    let layers = &seen["manifests"][0]["layers"];
    assert_eq!(layers[0]["sealed"], false);
    assert_eq!(layers[1]["sealed"], true);
    assert_eq!(layers[2]["sealed"], false);
    assert_eq!(layers[1]["cipher"], "C2SP_CHUNKED_AES_256_GCM");
    assert_eq!(layers[1]["recipients"][0]["scheme"], "jwe");
    assert_eq!(layers[1]["recipients"][0]["algorithm"], "ECDH-ES+A256KW");
}

/// A registry that answers with other octets than it promised, for a layer: nothing of it may come through.
#[test]
fn a_blob_that_the_registry_changed_is_an_integrity_failure() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let registry = Registry::start(&lab, Access::Open);
    let key = KeyPair::generate(&lab, "key", KeyType::P256);
    let source = lab.tiny_image();
    let reference = registry.reference("sealed/tiny:1");
    encrypt(&lab, &source, &reference, &key, &[]);
    let raw = lab.skopeo(&["inspect", "--raw", "--tls-verify=false", &reference]);
    let manifest: Value = serde_json::from_str(&raw).unwrap();
    let digest = manifest["layers"][1]["digest"].as_str().unwrap();
    let blob = registry.blob(digest);
    let mut octets = fs::read(&blob).unwrap();
    *octets.last_mut().unwrap() ^= 1;
    fs::write(&blob, octets).unwrap();

    let opened = lab.layout("opened");
    lab.sealift(&[
        "decrypt",
        &reference,
        &opened.reference("tiny"),
        "-k",
        &key.identity(),
    ])
    .exited(4)
    .complained(&["error:", digest]);
    assert!(!opened.path().join("index.json").exists());
}

#[track_caller]
fn comes_back(cipher: &str) {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let registry = Registry::start(&lab, Access::Open);
    let cipher = format!("--cipher={cipher}");
    goes_there_and_back(&lab, &registry, "sealed/tiny:1", &[&cipher]);
}

/// Pushes a layer that takes ten seconds, with this command, and gets the image back with another.
#[track_caller]
fn outlives_its_tokens(lab: &Lab, push: &str, pull: impl Fn(&str, &str)) {
    let registry = Registry::start_with_dying_tokens(lab);
    let source = lab.layout("source");
    let random_image = workspace().join("scripts/lib/random_image.py");
    call(
        "/usr/bin/python3",
        &[
            random_image.as_os_str(),
            source.path().as_os_str(),
            "4194304".as_ref(),
        ],
    );
    let (from, to) = (source.reference("big"), registry.reference("priv/big:1"));
    let mut arguments: Vec<&str> = push.split(' ').collect();
    arguments.extend([
        &from,
        &to,
        "--creds",
        "alice:s3cret",
        "--limit-rate",
        "400K",
    ]);
    lab.sealift(&arguments).succeeded();
    // One before the layer, and one for what comes after it.
    assert!(registry.tokens() >= 2, "{}", registry.tokens());
    let opened = lab.layout("opened");
    pull(&to, &opened.reference("big"));
    assert_eq!(opened.image("big").digest, source.image("big").digest);
    opened.assert_intact("big");
}

/// Seals to the registry and opens from it. `--cipher` is for sealing only.
#[track_caller]
fn goes_there_and_back(lab: &Lab, registry: &Registry, name: &str, options: &[&str]) {
    let key = KeyPair::generate(lab, "key", KeyType::P256);
    let source = lab.tiny_image();
    let reference = registry.reference(name);
    encrypt(lab, &source, &reference, &key, options);
    let opened = lab.layout("opened");
    let options: Vec<&str> = options
        .iter()
        .copied()
        .filter(|option| !option.starts_with("--cipher"))
        .collect();
    decrypt(lab, &reference, &opened, &key, &options);
    assert_eq!(opened.image("tiny").digest, source.image("tiny").digest);
    opened.assert_intact("tiny");
}

#[track_caller]
fn encrypt(lab: &Lab, source: &Layout, reference: &str, key: &KeyPair, options: &[&str]) {
    let (source, recipient) = (source.reference("tiny"), key.recipient());
    let mut arguments = vec!["encrypt", &source, reference, "-r", &recipient];
    arguments.extend(options);
    lab.sealift(&arguments).succeeded();
}

#[track_caller]
fn decrypt(lab: &Lab, reference: &str, opened: &Layout, key: &KeyPair, options: &[&str]) {
    let (opened, identity) = (opened.reference("tiny"), key.identity());
    let mut arguments = vec!["decrypt", reference, &opened, "-k", &identity];
    arguments.extend(options);
    lab.sealift(&arguments).succeeded();
}

/// The digest of the manifest as the registry serves it, computed elsewhere.
#[track_caller]
fn raw_digest(lab: &Lab, reference: &str) -> String {
    let raw = lab.skopeo_raw(reference);
    digest_of(&raw)
}

const PEERS: &[&str] = &[
    "root",
    "docker-registry",
    "htpasswd",
    "skopeo",
    "umoci",
    "gcc",
    "openssl",
];
