//! Whole images through the tool: what goes in comes out.

use std::fs;

use crate::tool::{Lab, fixture_key, fixtures, image, layers};
use sealift_testkit::image::{ArchiveKind, Format, Image, ImageBuilder, IndexBuilder, Packing};
use sealift_testkit::registry::{Options, Registry};
use serde_json::Value;

fn index(format: Format) -> Image {
    let child = |platform: &str| {
        ImageBuilder::new(format)
            .layers(layers(Packing::Gzip, platform))
            .platform(platform)
            .build()
    };
    IndexBuilder::new(format)
        .child(child("linux/amd64"))
        .child(child("linux/arm64/v8"))
        .build()
}

#[test]
fn decrypt_after_encrypt_gives_the_original_digest() {
    let lab = Lab::new();
    lab.key("key");
    let images = [
        ("oci", image(Format::Oci, Packing::Gzip)),
        ("docker", image(Format::Docker, Packing::Gzip)),
        ("zstd", image(Format::Oci, Packing::Zstd)),
        ("plain-tar", image(Format::Oci, Packing::Plain)),
        ("index", index(Format::Oci)),
        ("docker-list", index(Format::Docker)),
    ];
    for (name, image) in images {
        image.write_layout(&lab.path("plain"), name);
        for (cipher, full_name) in [
            ("chunked", "C2SP_CHUNKED_AES_256_GCM"),
            ("ocicrypt", "AES_256_CTR_HMAC_SHA256"),
        ] {
            let source = format!("oci:plain:{name}");
            let sealed = format!("oci:sealed:{name}-{cipher}");
            let opened = format!("oci:opened:{name}-{cipher}");
            let digest = lab
                .sealift(&[
                    "encrypt",
                    &source,
                    &sealed,
                    "-r",
                    "key.pub.pem",
                    "--cipher",
                    cipher,
                ])
                .succeeds();
            assert_eq!(
                digest,
                lab.digest_in_layout("sealed", &format!("{name}-{cipher}"))
            );
            assert_ne!(digest, image.digest());
            let inspected = lab.sealift(&["inspect", &sealed, "--json"]).json();
            for manifest in inspected["manifests"].as_array().unwrap() {
                for layer in manifest["layers"].as_array().unwrap() {
                    assert_eq!(
                        (&layer["sealed"], &layer["cipher"]),
                        (&true.into(), &full_name.into()),
                        "{name}"
                    );
                    let media_type = layer["mediaType"].as_str().unwrap();
                    assert!(
                        media_type.starts_with("application/vnd.oci.")
                            && media_type.ends_with("+encrypted")
                    );
                }
            }
            let digest = lab
                .sealift(&["decrypt", &sealed, &opened, "-k", "key.pem"])
                .succeeds();
            assert_eq!(digest, image.digest(), "{name} {cipher}");
            assert_eq!(
                digest,
                lab.digest_in_layout("opened", &format!("{name}-{cipher}"))
            );
        }
    }
    for folder in ["sealed", "opened"] {
        assert_eq!(
            lab.files(folder)
                .iter()
                .filter(|file| file.contains("/."))
                .count(),
            0,
            "{folder} holds temporary files"
        );
    }
}

#[test]
fn images_go_through_registries_and_archives() {
    let lab = Lab::new();
    lab.key("key");
    let image = image(Format::Oci, Packing::Gzip);
    image.write_layout(&lab.path("plain"), "v1");
    let registry = Registry::start(Options::default());
    let remote = format!("{}/team/app:sealed", registry.host());
    let sealed = lab
        .sealift(&[
            "encrypt",
            "oci:plain:v1",
            &format!("docker://{remote}"),
            "-r",
            "jwe:key.pub.pem",
        ])
        .succeeds();
    assert_eq!(registry.tags("team/app"), ["sealed"]);
    assert_eq!(registry.open_uploads(), 0);

    let copied = lab
        .sealift(&["copy", &remote, "oci-archive:sealed.tar"])
        .succeeds();
    assert_eq!(copied, sealed);
    let mirror = format!("docker://{}/mirror/app:1", registry.host());
    assert_eq!(
        lab.sealift(&["copy", "oci-archive:sealed.tar", &mirror])
            .succeeds(),
        sealed
    );
    assert_eq!(
        lab.sealift(&[
            "decrypt",
            &mirror,
            "oci-archive:opened.tar",
            "-k",
            "key.pem"
        ])
        .succeeds(),
        image.digest()
    );
    lab.sealift(&["verify", "oci-archive:opened.tar"])
        .succeeds();

    fs::write(
        lab.path("saved.tar"),
        image.docker_archive(ArchiveKind::Classic, "app:1"),
    )
    .unwrap();
    lab.sealift(&[
        "encrypt",
        "docker-archive:saved.tar",
        "oci:from-docker:1",
        "-r",
        "key.pub.pem",
    ])
    .succeeds();
    lab.sealift(&["verify", "oci:from-docker:1", "-k", "key.pem"])
        .succeeds();
}

#[test]
fn either_of_two_recipients_opens() {
    let lab = Lab::new();
    lab.key("one");
    lab.key("two");
    let image = image(Format::Oci, Packing::Gzip);
    image.write_layout(&lab.path("plain"), "v1");
    // The same key twice is one recipient.
    let recipients = [
        "-r",
        "one.pub.pem",
        "-r",
        "two.pub.pem",
        "-r",
        "jwe:one.pub.pem",
    ];
    let arguments: Vec<&str> = ["encrypt", "oci:plain:v1", "oci:sealed:v1"]
        .into_iter()
        .chain(recipients)
        .collect();
    lab.sealift(&arguments).succeeds();
    let inspected = lab.sealift(&["inspect", "oci:sealed:v1", "--json"]).json();
    assert_eq!(
        inspected["manifests"][0]["layers"][0]["recipients"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    for key in ["one", "two"] {
        let opened = format!("oci:opened:{key}");
        let digest = lab
            .sealift(&[
                "decrypt",
                "oci:sealed:v1",
                &opened,
                "-k",
                &format!("{key}.pem"),
            ])
            .succeeds();
        assert_eq!(digest, image.digest());
    }
}

#[test]
fn only_chosen_layers_are_sealed() {
    let lab = Lab::new();
    lab.key("key");
    let image = image(Format::Oci, Packing::Gzip);
    image.write_layout(&lab.path("plain"), "v1");
    for (number, (choice, expected)) in [
        ("0", [true, false, false]),
        ("-1", [false, false, true]),
        ("0,-1", [true, false, true]),
        ("-2", [false, true, false]),
    ]
    .into_iter()
    .enumerate()
    {
        let sealed = format!("oci:sealed:{number}");
        let spelling = ["--layer", "--encrypt-layer"][number % 2];
        lab.sealift(&[
            "encrypt",
            "oci:plain:v1",
            &sealed,
            "--encryption-key",
            "key.pub.pem",
            spelling,
            choice,
        ])
        .succeeds();
        let inspected = lab.sealift(&["inspect", &sealed, "--json"]).json();
        let layers = inspected["manifests"][0]["layers"].as_array().unwrap();
        assert_eq!(
            layers
                .iter()
                .map(|layer| layer["sealed"] == true)
                .collect::<Vec<_>>(),
            expected,
            "{choice}"
        );
        let opened = format!("oci:opened:{number}");
        let digest = lab
            .sealift(&["decrypt", &sealed, &opened, "--decryption-key", "key.pem"])
            .succeeds();
        assert_eq!(digest, image.digest());
    }
}

#[test]
fn one_platform_of_an_index_gives_its_manifest() {
    let lab = Lab::new();
    lab.key("key");
    let index = index(Format::Oci);
    index.write_layout(&lab.path("plain"), "v1");
    let arm = index.json()["manifests"][1]["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    lab.sealift(&[
        "encrypt",
        "oci:plain:v1",
        "oci:sealed:arm",
        "-r",
        "key.pub.pem",
        "--platform",
        "linux/arm64",
    ])
    .succeeds();
    assert_eq!(
        lab.sealift(&[
            "decrypt",
            "oci:sealed:arm",
            "oci:opened:arm",
            "-k",
            "key.pem"
        ])
        .succeeds(),
        arm
    );
    let inspected = lab
        .sealift(&[
            "inspect",
            "oci:plain:v1",
            "--platform",
            "linux/arm64",
            "--json",
        ])
        .json();
    assert_eq!(inspected["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(inspected["manifests"][0]["digest"], arm);
    lab.sealift(&[
        "copy",
        "oci:plain:v1",
        "oci:x:1",
        "--platform",
        "windows/amd64",
    ])
    .fails(7, "windows/amd64");
}

#[test]
fn opens_what_skopeo_sealed_to_the_digests_it_started_from() {
    let lab = Lab::new();
    let expected: Value =
        serde_json::from_slice(&fs::read(fixtures().join("expected.json")).unwrap()).unwrap();
    for (layout, key) in [
        ("jwe-rsa2048", "rsa.pem"),
        ("jwe-ec384", "ec384.pem"),
        ("jwe-rsa2048-zstd", "rsa.pem"),
    ] {
        fixture_key(&lab, key);
        let source = format!("oci:{}:tiny", fixtures().join(layout).display());
        lab.sealift(&["verify", &source, "-k", key]).succeeds();
        let opened = format!("oci:opened:{layout}");
        lab.sealift(&["decrypt", &source, &opened, "-k", key])
            .succeeds();
        let inspected = lab.sealift(&["inspect", &opened, "--json"]).json();
        let found: Vec<&Value> = inspected["manifests"][0]["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|layer| &layer["digest"])
            .collect();
        let promised: Vec<&Value> = expected[layout]["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|layer| &layer["plain_digest"])
            .collect();
        assert_eq!(found, promised, "{layout}");
        lab.sealift(&["verify", &opened]).succeeds();
    }
}
