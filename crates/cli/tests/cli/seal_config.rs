//! `encrypt --seal-config`: what stays readable of an image besides its layers, and that all of it comes back.

use std::fs;

use sealift_testkit::image::{Format, Image, ImageBuilder, IndexBuilder, Layer, Packing, Tar};
use sealift_testkit::registry::{Options, Registry};
use serde_json::{Value, json};

use crate::tool::Lab;

/// What nobody may read in a registry.
const SECRETS: [&str; 7] = [
    "hush-env",
    "hush-label",
    "hush-history",
    "hush-author",
    "hush-manifest",
    "hush-layer",
    "hush-extension",
];

fn image(format: Format, platform: &str) -> Image {
    let layer = |name: &str| {
        Layer::new(Tar::new().file(name, platform.as_bytes()), Packing::Gzip)
            .annotation("org.example.layer", "hush-layer")
    };
    ImageBuilder::new(format)
        .platform(platform)
        .layer(layer("a"))
        .layer(layer("b"))
        .annotation("org.example.manifest", "hush-manifest")
        .config(json!({
            "Env": ["PATH=/bin", "DB_PASSWORD=hush-env"],
            "Cmd": ["/bin/run"],
            "Entrypoint": ["/entry"],
            "Labels": {"org.example.label": "hush-label"},
        }))
        .member("author", json!("hush-author"))
        .member(
            "history",
            json!([{"created_by": "RUN hush-history"}, {"created_by": "COPY"}]),
        )
        .member("org.example.extension", json!("hush-extension"))
        .build()
}

fn lab(image: &Image) -> Lab {
    let lab = Lab::new();
    lab.key("key");
    image.write_layout(&lab.path("plain"), "v1");
    lab
}

/// Everything that a layout holds in clear JSON.
fn readable(lab: &Lab, layout: &str) -> String {
    let mut text = String::new();
    for name in lab.files(&format!("{layout}/blobs")) {
        let path = lab
            .path(&format!("{layout}/blobs"))
            .join(name.trim_start_matches('/'));
        let octets = fs::read(path).unwrap();
        if octets.first() == Some(&b'{') {
            text.push_str(&String::from_utf8(octets).unwrap());
        }
    }
    text
}

#[test]
fn nothing_of_the_configuration_is_readable_and_all_of_it_comes_back() {
    for format in [Format::Oci, Format::Docker] {
        for cipher in ["chunked", "ocicrypt"] {
            let image = image(format, "linux/arm64/v8");
            let lab = lab(&image);
            let seal = [
                "encrypt",
                "oci:plain:v1",
                "oci:sealed:v1",
                "-r",
                "key.pub.pem",
            ];
            let options = ["--cipher", cipher, "--seal-config"];
            lab.sealift(&[&seal[..], &options].concat()).succeeds();
            let text = readable(&lab, "sealed");
            for secret in SECRETS {
                assert!(!text.contains(secret), "{secret}\n{text}");
            }
            let shown = lab.sealift(&["inspect", "oci:sealed:v1", "--json"]).json();
            assert_eq!(shown["manifests"][0]["configSealed"], true);
            assert_eq!(shown["manifests"][0]["platform"]["variant"], "v8");
            let verify = ["verify", "oci:sealed:v1", "-k", "key.pem"];
            let told = lab.sealift(&[&verify[..], &["--json"]].concat()).json();
            assert_eq!(told["openedDigest"], image.digest());
            let told = lab.sealift(&verify).succeeds();
            assert!(
                told.contains(&format!("opens as    {}\n", image.digest())),
                "{told}"
            );
            let open = [
                "decrypt",
                "-q",
                "oci:sealed:v1",
                "oci:opened:v1",
                "-k",
                "key.pem",
            ];
            assert_eq!(lab.sealift(&open).succeeds(), image.digest());
            let (before, after) = (readable(&lab, "plain"), readable(&lab, "opened"));
            for secret in SECRETS {
                assert_eq!(
                    before.matches(secret).count(),
                    after.matches(secret).count()
                );
            }
            lab.sealift(&["verify", "-q", "oci:opened:v1"]).succeeds();
        }
    }
}

#[test]
fn an_index_keeps_what_platforms_are_chosen_by() {
    let index = ["linux/amd64", "windows/amd64:10.0.20348.2340"]
        .into_iter()
        .fold(IndexBuilder::new(Format::Oci), |index, platform| {
            index.child(image(Format::Oci, platform))
        })
        .annotation("org.example.index", "hush-manifest")
        .build();
    let lab = lab(&index);
    let registry = Registry::start(Options::default());
    let far = format!("{}/team/app:v1", registry.host());
    let seal = [
        "encrypt",
        "-q",
        "oci:plain:v1",
        &far,
        "-r",
        "key.pub.pem",
        "--seal-config",
    ];
    lab.sealift(&[&seal[..], &["--keep-config", "Entrypoint,Cmd"]].concat())
        .succeeds();
    for digest in registry.blobs("team/app") {
        let blob = registry.blob("team/app", &digest).unwrap();
        let text = String::from_utf8_lossy(&blob);
        for secret in SECRETS {
            assert!(!text.contains(secret), "{secret}\n{text}");
        }
        if let Ok(config) = serde_json::from_slice::<Value>(&blob) {
            assert_eq!(
                config["config"],
                json!({"Cmd": ["/bin/run"], "Entrypoint": ["/entry"]})
            );
            assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 2);
        }
    }
    let (_, raw) = registry.manifest("team/app", "v1").unwrap();
    let sealed: Value = serde_json::from_slice(&raw).unwrap();
    assert_eq!(
        sealed["manifests"][1]["platform"]["os.version"],
        "10.0.20348.2340"
    );
    assert!(!String::from_utf8_lossy(&raw).contains("hush"));
    let open = ["decrypt", "-q", &far, "oci:opened:v1", "-k", "key.pem"];
    assert_eq!(lab.sealift(&open).succeeds(), index.digest());

    // The sealed configuration goes along with recipients and copies.
    lab.key("new");
    lab.sealift(&[
        "recipients",
        "add",
        "-q",
        &far,
        "-k",
        "key.pem",
        "-r",
        "new.pub.pem",
    ])
    .succeeds();
    let open = ["decrypt", "-q", &far, "oci:by-new:v1", "-k", "new.pem"];
    assert_eq!(lab.sealift(&open).succeeds(), index.digest());
}

#[test]
fn while_a_layer_is_sealed_so_is_the_configuration() {
    let image = image(Format::Oci, "linux/amd64");
    let lab = lab(&image);
    let seal = [
        "encrypt",
        "-q",
        "oci:plain:v1",
        "oci:sealed:v1",
        "-r",
        "key.pub.pem",
        "--seal-config",
    ];
    lab.sealift(&seal).succeeds();
    let open = [
        "decrypt",
        "-q",
        "oci:sealed:v1",
        "oci:half:v1",
        "-k",
        "key.pem",
        "--layer",
    ];
    lab.sealift(&[&open[..], &["0"]].concat())
        .fails(2, "opens with the key of layer");
    lab.sealift(&[&open[..], &["1"]].concat()).succeeds();
    let text = readable(&lab, "half");
    assert!(!text.contains("hush-env"), "{text}");
    let open = [
        "decrypt",
        "-q",
        "oci:half:v1",
        "oci:opened:v1",
        "-k",
        "key.pem",
    ];
    assert_eq!(lab.sealift(&open).succeeds(), image.digest());
}

#[test]
fn a_configuration_that_would_stay_readable_stops_everything() {
    let index = ["linux/amd64", "linux/arm64"]
        .into_iter()
        .fold(IndexBuilder::new(Format::Oci), |index, platform| {
            index.child(image(Format::Oci, platform))
        })
        .build();
    let lab = lab(&index);
    let seal = [
        "encrypt",
        "-q",
        "oci:plain:v1",
        "oci:one:v1",
        "-r",
        "key.pub.pem",
        "--layer",
        "0",
    ];
    lab.sealift(&seal).succeeds();
    let more = [
        "encrypt",
        "-q",
        "oci:one:v1",
        "oci:all:v1",
        "-r",
        "key.pub.pem",
        "--seal-config",
    ];
    lab.sealift(&more)
        .fails(2, "cannot be sealed: none of its layers is sealed now");
    assert!(!lab.path("all/index.json").exists());
    let without = ImageBuilder::new(Format::Oci)
        .platform("linux/s390x")
        .build();
    let index = IndexBuilder::new(Format::Oci)
        .child(image(Format::Oci, "linux/amd64"))
        .child(without)
        .build();
    index.write_layout(&lab.path("empty"), "v1");
    let seal = [
        "encrypt",
        "-q",
        "oci:empty:v1",
        "oci:all:v1",
        "-r",
        "key.pub.pem",
        "--seal-config",
    ];
    lab.sealift(&seal).fails(2, "cannot be sealed");
    assert!(!lab.path("all/index.json").exists());
}

#[test]
fn what_may_be_secret_and_stays_readable_is_told_by_name_alone() {
    let lab = lab(&image(Format::Oci, "linux/amd64"));
    let seal = [
        "encrypt",
        "oci:plain:v1",
        "oci:sealed:v1",
        "-r",
        "key.pub.pem",
    ];
    let run = lab.sealift(&seal);
    assert!(
        run.stderr.contains("environment variable `DB_PASSWORD`,"),
        "{run:?}"
    );
    assert!(!run.stderr.contains("hush"), "{run:?}");
    let seal = [&seal[..], &["--seal-config"]].concat();
    let run = lab.sealift(&seal);
    assert!(!run.stderr.contains("DB_PASSWORD"), "{run:?}");
    for (options, what) in [
        (
            &["--seal-config", "--original", "none"][..],
            "--seal-config needs the original manifest",
        ),
        (&["--keep-config", "Cmd"], "--seal-config"),
        (&["--seal-config", "--keep-config", "cmd"], "cmd"),
    ] {
        let run = lab.sealift(
            &[
                &["encrypt", "oci:plain:v1", "oci:x:v1", "-r", "key.pub.pem"],
                options,
            ]
            .concat(),
        );
        run.exits_with(2, what);
    }
}
