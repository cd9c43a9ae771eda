//! Docker-typed images in, correct OCI out, and the original back.
#![cfg(target_os = "linux")]
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "test support: a panic is how a test fails"
)]

use std::fs;

use sealift_peers::containerd::Containerd;
use sealift_peers::keys::{KeyPair, KeyType};
use sealift_peers::lab::digest_of;
use sealift_peers::registry::{Access, Registry};
use sealift_peers::{Lab, Layout};
use serde_json::Value;

#[test]
fn a_docker_manifest_is_sealed_as_oci_and_comes_back_as_it_was() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let registry = Registry::start(&lab, Access::Open);
    let key = KeyPair::generate(&lab, "key", KeyType::P256);
    let (plain, sealed) = seal_docker_image(&lab, &registry, &key, "chunked");
    let back = registry.reference("back:1");
    lab.sealift(&["decrypt", &sealed, &back, "-k", &key.identity()])
        .succeeded();
    assert_eq!(
        digest_of(&lab.skopeo_raw(&back)),
        digest_of(&lab.skopeo_raw(&plain))
    );
}

#[test]
fn skopeo_opens_what_was_a_docker_manifest() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let registry = Registry::start(&lab, Access::Open);
    let key = KeyPair::generate(&lab, "key", KeyType::Rsa2048);
    let (plain, sealed) = seal_docker_image(&lab, &registry, &key, "ocicrypt");
    let opened = lab.layout("opened");
    lab.skopeo(&[
        "copy",
        "-q",
        "--src-tls-verify=false",
        "--decryption-key",
        &key.identity(),
        &sealed,
        &opened.reference("tiny"),
    ]);
    opened.assert_intact("tiny");
    let before = manifest(&lab, &plain);
    let digests: Vec<&str> = before["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["digest"].as_str().unwrap())
        .collect();
    assert_eq!(opened.image("tiny").layers(), digests);
}

#[test]
fn containerd_runs_what_was_a_docker_manifest() {
    let Some(lab) = Lab::needing(CONTAINERD_PEERS) else {
        return;
    };
    let registry = Registry::start(&lab, Access::Open);
    let key = KeyPair::generate(&lab, "key", KeyType::P256);
    let (_, sealed) = seal_docker_image(&lab, &registry, &key, "chunked");
    let keys = lab.path("keys");
    fs::create_dir(&keys).unwrap();
    fs::copy(&key.private, keys.join("key.pem")).unwrap();
    let decoder = lab.binary("sealift-decoder");
    let containerd = Containerd::start(&lab, &decoder, &keys, &[]);
    let reference = sealed.strip_prefix("docker://").unwrap();
    containerd.pull("t", reference).succeeded();
    let printed = containerd.run("t", reference).succeeded().stdout;
    assert!(printed.contains("hello from decrypted layer"), "{printed}");
}

#[test]
fn a_docker_archive_is_sealed_as_oci() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let source = lab.tiny_image();
    let key = KeyPair::generate(&lab, "key", KeyType::P256);
    let archive = format!("docker-archive:{}", lab.text("image.tar"));
    lab.skopeo(&[
        "copy",
        "-q",
        &source.reference("tiny"),
        &format!("{archive}:example.test/tiny:1"),
    ]);
    let sealed = lab.layout("sealed");
    lab.sealift(&[
        "encrypt",
        "--cipher=ocicrypt",
        &archive,
        &sealed.reference("tiny"),
        "-r",
        &key.recipient(),
    ])
    .succeeded();
    assert_oci(&sealed.image("tiny").manifest);
    let opened = lab.layout("opened");
    lab.sealift(&[
        "decrypt",
        &sealed.reference("tiny"),
        &opened.reference("tiny"),
        "-k",
        &key.identity(),
    ])
    .succeeded();
    opened.assert_intact("tiny");
    assert_eq!(diff_ids(&opened), diff_ids(&source));
    let theirs = lab.layout("theirs");
    lab.skopeo(&[
        "copy",
        "-q",
        "--decryption-key",
        &key.identity(),
        &sealed.reference("tiny"),
        &theirs.reference("tiny"),
    ]);
    theirs.assert_intact("tiny");
}

/// Pushes the image with Docker's media types, seals it to the registry, checks that the result is OCI's, and returns both
/// references.
#[track_caller]
fn seal_docker_image(
    lab: &Lab,
    registry: &Registry,
    key: &KeyPair,
    cipher: &str,
) -> (String, String) {
    let source = lab.tiny_image();
    let plain = registry.reference("plain:1");
    lab.skopeo(&[
        "copy",
        "-q",
        "--format=v2s2",
        "--dest-tls-verify=false",
        &source.reference("tiny"),
        &plain,
    ]);
    let before = manifest(lab, &plain);
    assert_eq!(
        before["mediaType"],
        "application/vnd.docker.distribution.manifest.v2+json"
    );
    let sealed = registry.reference("sealed:1");
    let cipher = format!("--cipher={cipher}");
    let recipient = key.recipient();
    lab.sealift(&["encrypt", &cipher, &plain, &sealed, "-r", &recipient])
        .succeeded();
    assert_oci(&manifest(lab, &sealed));
    (plain, sealed)
}

#[track_caller]
fn assert_oci(manifest: &Value) {
    assert_eq!(
        manifest["mediaType"],
        "application/vnd.oci.image.manifest.v1+json"
    );
    assert_eq!(
        manifest["config"]["mediaType"],
        "application/vnd.oci.image.config.v1+json"
    );
    for layer in manifest["layers"].as_array().unwrap() {
        let media_type = layer["mediaType"].as_str().unwrap();
        assert!(
            [
                "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
                "application/vnd.oci.image.layer.v1.tar+encrypted"
            ]
            .contains(&media_type),
            "{media_type}"
        );
    }
}

#[track_caller]
fn manifest(lab: &Lab, reference: &str) -> Value {
    serde_json::from_slice(&fs::read(lab.skopeo_raw(reference)).unwrap()).unwrap()
}

#[track_caller]
fn diff_ids(layout: &Layout) -> Value {
    let config = layout.blob(&layout.image("tiny").config());
    let config: Value = serde_json::from_slice(&fs::read(config).unwrap()).unwrap();
    config["rootfs"]["diff_ids"].clone()
}

const PEERS: &[&str] = &[
    "root",
    "docker-registry",
    "skopeo",
    "umoci",
    "gcc",
    "openssl",
];
const CONTAINERD_PEERS: &[&str] = &[
    "root",
    "docker-registry",
    "skopeo",
    "umoci",
    "gcc",
    "openssl",
    "containerd",
    "ctr",
    "runc",
];
