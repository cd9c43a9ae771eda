//! Whatever is wrong with what the tool is given: one clear error, its exit code, and nothing half-written.

use std::fs;

use sealift_testkit::image::{
    Format, Image, ImageBuilder, Layer, Packing, bare, deep, many_layers,
};
use sealift_testkit::registry::{Effect, Fault, Operation, Options, Registry};
use sealift_testkit::sha256;
use serde_json::{Value, json};

#[cfg(unix)]
use crate::tool::set_mode;
use crate::tool::{Lab, image};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn lab() -> (Lab, Image) {
    let lab = Lab::new();
    lab.key("key");
    lab.key("other");
    let image = image(Format::Oci, Packing::Gzip);
    image.write_layout(&lab.path("plain"), "v1");
    (lab, image)
}

/// Expects that a failed run left no image, no name and no temporary file.
#[track_caller]
fn nothing_in(lab: &Lab, folder: &str) {
    let left = lab.files(folder);
    assert!(
        !left
            .iter()
            .any(|file| file == "/index.json" || file.contains("/.")),
        "{left:?}"
    );
}

#[test]
fn images_that_are_wrong_are_refused_from_layouts_and_registries() {
    let (lab, good) = lab();
    let text = String::from_utf8(good.bytes().to_vec()).unwrap();
    let layer = good.layer_digest(1);
    let blob = good.blobs()[&layer].clone();
    let mut flipped = blob.clone();
    flipped[100] ^= 1;
    let longer = [blob.as_slice(), b"x"].concat();
    let rows: Vec<(&str, Image, i32, &str)> = vec![
        ("not JSON", bare(MANIFEST, b"<html>"), 4, ""),
        (
            "not a manifest",
            bare(MANIFEST, b"{\"hello\":\"world\"}"),
            4,
            "",
        ),
        ("a list", bare(MANIFEST, b"[]"), 4, ""),
        (
            "manifest that is too long",
            bare(MANIFEST, &vec![b' '; 5 * 1024 * 1024]),
            4,
            "4194304",
        ),
        ("too many layers", many_layers(10_001), 4, ""),
        ("too deep", deep(10), 4, "nested"),
        (
            "duplicate members",
            good.clone()
                .replaced(text.replacen('{', "{\"layers\":[],", 1).as_bytes()),
            4,
            "layers",
        ),
        (
            "other content under the digest",
            good.clone().with_blob(&layer, &flipped),
            4,
            "has digest",
        ),
        (
            "short blob",
            good.clone().with_blob(&layer, &blob[..1000]),
            4,
            "1000",
        ),
        ("long blob", good.clone().with_blob(&layer, &longer), 4, ""),
        (
            "missing blob",
            good.clone().without_blob(&layer),
            7,
            "not found",
        ),
        (
            "size in the manifest too small",
            good.clone().edited(|m| m["layers"][1]["size"] = 5.into()),
            4,
            "",
        ),
        (
            "negative size",
            good.clone()
                .edited(|m| m["layers"][1]["size"] = (-1).into()),
            4,
            "size",
        ),
        (
            "digest that is none",
            good.clone()
                .edited(|m| m["layers"][1]["digest"] = "sha256:../../etc/passwd".into()),
            4,
            "digest",
        ),
        (
            "a layer that cannot be sealed",
            ImageBuilder::new(Format::Oci)
                .layer(Layer::blob("text/plain", b"secret"))
                .build(),
            1,
            "would stay in clear",
        ),
    ];
    for (number, (name, image, code, what)) in rows.iter().enumerate() {
        let tag = format!("t{number}");
        image.write_layout(&lab.path(&tag), "v1");
        let registry = Registry::start(Options::default());
        image.push(&registry, "bad", &tag);
        for source in [
            format!("oci:{tag}:v1"),
            format!("docker://{}/bad:{tag}", registry.host()),
        ] {
            println!("{name}: {source}");
            lab.sealift(&["encrypt", "-q", &source, "oci:out:v1", "-r", "key.pub.pem"])
                .fails(*code, what);
            nothing_in(&lab, "out");
            let remote = format!("{}/out:v1", registry.host());
            lab.sealift(&["encrypt", "-q", &source, &remote, "-r", "key.pub.pem"])
                .fails(*code, what);
            assert_eq!(registry.tags("out"), Vec::<String>::new());
        }
    }
}

#[test]
fn a_manifest_without_end_is_not_read_to_its_end() {
    let (lab, image) = lab();
    let registry = Registry::start(Options::default());
    image.push(&registry, "app", "v1");
    registry
        .set_fault(Fault::on(Operation::GetManifest, Effect::Blanks(100 * 1024 * 1024)).always());
    let source = format!("docker://{}/app:v1", registry.host());
    lab.sealift(&["inspect", &source]).fails(4, "4194304");
}

#[test]
fn registries_that_fail_give_5_and_what_is_absent_gives_7() {
    let (lab, image) = lab();
    let registry = Registry::start(Options::default());
    image.push(&registry, "app", "v1");
    let host = registry.host();
    lab.sealift(&["inspect", &format!("docker://{host}/app:v2")])
        .fails(7, "not found");
    lab.sealift(&["inspect", "oci:absent"])
        .fails(7, "not found");
    lab.sealift(&["inspect", "oci:plain:v2"]).fails(7, "v2");
    registry.set_fault(
        Fault::on(
            Operation::GetManifest,
            Effect::Answer {
                status: 500,
                headers: Vec::new(),
                body: Vec::new(),
            },
        )
        .always(),
    );
    lab.sealift(&[
        "inspect",
        "--retry",
        "0",
        &format!("docker://{host}/app:v1"),
    ])
    .fails(5, "500");
    drop(registry);
    lab.sealift(&[
        "inspect",
        "--retry",
        "0",
        &format!("docker://{host}/app:v1"),
    ])
    .fails(5, "connection");
}

#[test]
fn references_and_options_without_sense_exit_2() {
    let (lab, _) = lab();
    for (arguments, what) in [
        (
            &["copy", "oci:plain:v1", "docker-archive:x.tar"][..],
            "no place for sealed layers",
        ),
        (&["copy", "docker-daemon:app:1", "oci:out"], "docker save"),
        (
            &["copy", "containers-storage:app:1", "oci:out"],
            "skopeo copy",
        ),
        (&["copy", "s3://bucket/app", "oci:out"], "s3://"),
        (&["copy", "UPPER CASE", "oci:out"], ""),
        (&["copy", "oci:", "oci:out"], ""),
        (
            &["copy", "oci:plain:v1", "oci:out", "--creds", "hunter2"],
            "USER:PASSWORD",
        ),
        (
            &[
                "copy",
                "docker://a.example/x",
                "docker://b.example/x",
                "--creds",
                "robot:hunter2",
            ],
            "sent to two registries, a.example and b.example",
        ),
        (
            &[
                "encrypt",
                "oci:plain:v1",
                "oci:out",
                "-r",
                "key.pub.pem",
                "--layer",
                "3",
            ],
            "out of range",
        ),
        (
            &[
                "encrypt",
                "oci:plain:v1",
                "oci:out",
                "-r",
                "key.pub.pem",
                "--layer",
                "-4",
            ],
            "out of range",
        ),
        (
            &[
                "encrypt",
                "oci:plain:v1",
                "oci:out",
                "-r",
                "key.pub.pem",
                "--layer",
                "0",
                "--layer",
                "7",
            ],
            "out of range",
        ),
        (
            &[
                "encrypt",
                "app:1",
                "oci:out",
                "-r",
                "key.pub.pem",
                "--no-verify-source",
            ],
            "local",
        ),
        (
            &["encrypt", "oci:plain:v1", "oci:out", "-r", "pgp:01234567"],
            "too short to name an OpenPGP key",
        ),
        (
            &[
                "encrypt",
                "oci:plain:v1",
                "oci:out",
                "-r",
                "pkcs11:token=x;pin-value=hunter2",
            ],
            "attribute `pin-value` belongs behind the `?`",
        ),
        (
            &["encrypt", "oci:plain:v1", "oci:out", "-r", "provider:p"],
            "no key providers are configured",
        ),
        (
            &[
                "encrypt",
                "oci:plain:v1",
                "oci:out",
                "-r",
                "holders:default",
            ],
            "no holders file was named",
        ),
        (
            &[
                "encrypt",
                "oci:plain:v1",
                "oci:out",
                "-r",
                "kms:awskms:///x",
            ],
            "`kms:` is not supported by this version",
        ),
        (
            &["encrypt", "oci:plain:v1", "oci:out", "-r", "gpg:x"],
            "unknown kind of key `gpg`",
        ),
        (
            &["encrypt", "oci:plain:v1", "oci:out", "-r", "key.pem"],
            "this is a private key",
        ),
        (
            &["decrypt", "oci:plain:v1", "oci:out", "-k", "key.pub.pem"],
            "this is a public key",
        ),
        (
            &["decrypt", "oci:plain:v1", "oci:out", "-k", "pgp::pass=x"],
            "no file name given",
        ),
        (
            &["decrypt", "oci:plain:v1", "oci:out", "-k", "key.pem:fd=x"],
            "fd=",
        ),
        (
            &[
                "decrypt",
                "oci:plain:v1",
                "oci:out",
                "-k",
                "aes256:env:ABSENT",
            ],
            "`ABSENT` is not set",
        ),
    ] {
        let run = lab.sealift(arguments).fails(2, what);
        assert!(!run.stderr.contains("hunter2"), "{}", run.stderr);
        assert!(!lab.path("out").exists(), "{arguments:?}");
    }
}

#[test]
fn key_files_that_cannot_be_used() {
    let (lab, _) = lab();
    lab.write("nonsense", b"hello");
    lab.write("short.key", b"c2hvcnQ=\n");
    fs::create_dir(lab.path("folder")).unwrap();
    let seal =
        |recipient: &str| lab.sealift(&["encrypt", "oci:plain:v1", "oci:out", "-r", recipient]);
    let open = |key: &str| lab.sealift(&["decrypt", "oci:plain:v1", "oci:out", "-k", key]);
    seal("absent").fails(7, "key file `absent` does not exist");
    seal("nonsense").fails(1, "cannot use key file `nonsense`");
    seal("folder").fails(1, "cannot read key file `folder`");
    seal("aes256:short.key").fails(1, "32 octets");
    open("absent").fails(7, "key file `absent` does not exist");
    open("nonsense").fails(1, "cannot use key file `nonsense`");
    open("aes256:short.key").fails(1, "32 octets");
    #[cfg(unix)]
    for mode in [0o644, 0o604, 0o601, 0o660] {
        set_mode(&lab.path("key.pem"), mode);
        open("key.pem").fails(1, "hint: chmod 600 key.pem");
    }
    assert!(!lab.path("out").exists());
}

#[test]
fn a_hundred_and_one_keys_are_too_many() {
    let (lab, _) = lab();
    let mut arguments: Vec<String> = ["decrypt", "oci:plain:v1", "oci:out"]
        .map(str::to_owned)
        .to_vec();
    for number in 0_u8..101 {
        let name = format!("{number}.key");
        lab.write(&name, &[number; 32]);
        arguments.extend(["-k".to_owned(), format!("aes256:{name}")]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    lab.sealift(&arguments)
        .fails(2, "more than 100 private keys");
    // A hundred are read, and so is one of them twice: then it is the image that has nothing to open.
    let fewer: Vec<&str> = arguments[..arguments.len() - 2]
        .iter()
        .copied()
        .chain(["-k", "aes256:0.key"])
        .collect();
    lab.sealift(&fewer).fails(8, "nothing to do");
}

#[test]
fn the_wrong_key_exits_3_and_names_the_layer() {
    let (lab, _) = lab();
    for cipher in ["chunked", "ocicrypt"] {
        let sealed = format!("oci:sealed:{cipher}");
        lab.sealift(&[
            "encrypt",
            "oci:plain:v1",
            &sealed,
            "-r",
            "key.pub.pem",
            "--cipher",
            cipher,
        ])
        .succeeds();
        let inspected = lab.sealift(&["inspect", "--json", &sealed]).json();
        let digests: Vec<&str> = inspected["manifests"][0]["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|layer| layer["digest"].as_str().unwrap())
            .collect();
        for arguments in [
            &["decrypt", "-q", &sealed, "oci:out", "-k", "other.pem"][..],
            &["verify", "-q", &sealed, "-k", "other.pem"],
        ] {
            let run = lab.sealift(arguments).fails(3, "jwe");
            assert!(
                digests.iter().any(|digest| run.stderr.contains(digest)),
                "{}",
                run.stderr
            );
            assert!(run.stderr.contains("hint: "), "{}", run.stderr);
        }
        nothing_in(&lab, "out");
    }
}

#[test]
fn nothing_to_do_exits_8_and_says_what_else() {
    let (lab, _) = lab();
    lab.sealift(&[
        "encrypt",
        "oci:plain:v1",
        "oci:sealed:v1",
        "-r",
        "key.pub.pem",
    ])
    .succeeds();
    lab.sealift(&["encrypt", "oci:sealed:v1", "oci:out", "-r", "other.pub.pem"])
        .fails(8, "hint: `sealift recipients add` wraps the keys");
    lab.sealift(&[
        "encrypt",
        "oci:sealed:v1",
        "oci:out",
        "-r",
        "other.pub.pem",
        "--layer",
        "0",
        "--dry-run",
    ])
    .fails(8, "nothing to do");
    lab.sealift(&["decrypt", "oci:plain:v1", "oci:out", "-k", "key.pem"])
        .fails(8, "nothing to do");
    assert!(!lab.path("out").exists());
}

#[test]
fn destinations_that_are_something_else_are_left_alone() {
    let (lab, image) = lab();
    fs::create_dir(lab.path("home")).unwrap();
    lab.write("home/letter", b"dear");
    lab.write("file", b"dear");
    image.write_layout(&lab.path("other"), "x");
    fs::write(lab.path("other.tar"), image.oci_archive("x")).unwrap();
    for (destination, code, what) in [
        ("oci:home:v1", 1, "not an OCI layout"),
        ("oci:file:v1", 1, "cannot open `file`"),
        ("oci-archive:file", 4, ""),
        ("oci-archive:other.tar:v1", 1, "other images"),
    ] {
        lab.sealift(&["copy", "oci:plain:v1", destination])
            .fails(code, what);
    }
    assert_eq!(fs::read(lab.path("home/letter")).unwrap(), b"dear");
    assert_eq!(fs::read(lab.path("file")).unwrap(), b"dear");
    assert_eq!(
        fs::read(lab.path("other.tar")).unwrap(),
        image.oci_archive("x")
    );
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_nothing() {
    let (lab, _) = lab();
    // A limit on the size of files looks to the writer like the end of the disk, and needs no root.
    let sealift = env!("CARGO_BIN_EXE_sealift");
    let script = format!("trap '' XFSZ; ulimit -f 40; exec {sealift} \"$@\"");
    for command in [
        &["encrypt", "oci:plain:v1", "oci:out", "-r", "key.pub.pem"][..],
        &["copy", "oci:plain:v1", "oci-archive:out/x.tar"],
    ] {
        fs::create_dir_all(lab.path("out")).unwrap();
        let mut shell = std::process::Command::new("sh");
        shell
            .current_dir(lab.path(""))
            .args(["-c", &script, "sealift"])
            .args(command);
        crate::tool::Run::of(&mut shell).fails(1, "");
        nothing_in(&lab, "out");
        assert!(!lab.path("out/x.tar").exists());
    }
}

/// Edits the manifest of a sealed image in a layout; the layout names what comes out.
fn edit(lab: &Lab, layout: &str, name: &str, change: impl FnOnce(&mut Value)) {
    let digest = lab.digest_in_layout(layout, name);
    let blob = |digest: &str| {
        lab.path(layout)
            .join("blobs")
            .join(digest.replace(':', "/"))
    };
    let mut manifest: Value = serde_json::from_slice(&fs::read(blob(&digest)).unwrap()).unwrap();
    change(&mut manifest);
    let octets = manifest.to_string().into_bytes();
    let edited = sha256(&octets);
    fs::write(blob(&edited), &octets).unwrap();
    let index = lab.path(layout).join("index.json");
    let mut document: Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
    for entry in document["manifests"].as_array_mut().unwrap() {
        if entry["digest"] == digest.as_str() {
            entry["digest"] = edited.as_str().into();
            entry["size"] = octets.len().into();
        }
    }
    fs::write(index, document.to_string()).unwrap();
}

const KEYS: &str = "org.opencontainers.image.enc.keys.jwe";
const OPTIONS: &str = "org.opencontainers.image.enc.pubopts";

#[test]
fn sealed_layers_that_were_tampered_with() {
    // {"cipher":"ROT13","hmac":"","cipheroptions":{}}
    let rot13 = "eyJjaXBoZXIiOiJST1QxMyIsImhtYWMiOiIiLCJjaXBoZXJvcHRpb25zIjp7fX0=";
    // {"protected":"…{"alg":"X-NEW","enc":"A256GCM"}…", …}: an algorithm nobody has.
    let unknown = "eyJwcm90ZWN0ZWQiOiJleUpoYkdjaU9pSllMVTVGVnlJc0ltVnVZeUk2SWtFeU5UWkhRMDBpZlEiLCJlbmNyeXB0ZWRfa2V5IjoiQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBIiwiaXYiOiJBQUFBQUFBQUFBQUFBQUFBIiwiY2lwaGVydGV4dCI6IkFBQUEiLCJ0YWciOiJBQUFBQUFBQUFBQUFBQUFBQUFBQUFBIn0=";
    type Change = Box<dyn Fn(&mut Value)>;
    let annotate = |key: &'static str, value: &str| -> Change {
        let value = value.to_owned();
        Box::new(move |manifest| manifest["layers"][0]["annotations"][key] = value.as_str().into())
    };
    let rows: Vec<(&str, Change, i32, &str)> = vec![
        (
            "keys that are no base64",
            annotate(KEYS, "%%%"),
            3,
            "base64",
        ),
        (
            "options that are no base64",
            annotate(OPTIONS, "%%%"),
            4,
            "base64",
        ),
        ("unknown cipher", annotate(OPTIONS, rot13), 4, "ROT13"),
        (
            "an unknown algorithm alone",
            annotate(KEYS, unknown),
            3,
            "X-NEW",
        ),
        (
            "an empty blob",
            Box::new(|manifest| {
                manifest["layers"][0]["size"] = 0.into();
                manifest["layers"][0]["digest"] = sha256(b"").into();
            }),
            4,
            "",
        ),
        (
            "another layer's keys",
            Box::new(|manifest| {
                manifest["layers"][0]["annotations"][KEYS] =
                    manifest["layers"][1]["annotations"][KEYS].clone()
            }),
            4,
            "failed authentication",
        ),
    ];
    for cipher in ["chunked", "ocicrypt"] {
        for (number, (name, change, code, what)) in rows.iter().enumerate() {
            println!("{cipher}: {name}");
            let (lab, _) = lab();
            let tag = number.to_string();
            let sealed = format!("oci:sealed:{tag}");
            lab.sealift(&[
                "encrypt",
                "oci:plain:v1",
                &sealed,
                "-r",
                "key.pub.pem",
                "--cipher",
                cipher,
                "--no-embedded-keys",
            ])
            .succeeds();
            fs::write(
                lab.path("sealed/blobs").join(sha256(b"").replace(':', "/")),
                b"",
            )
            .unwrap();
            edit(&lab, "sealed", &tag, change);
            lab.sealift(&["decrypt", "-q", &sealed, "oci:out:v1", "-k", "key.pem"])
                .fails(*code, what);
            nothing_in(&lab, "out");
        }
    }
    // Beside a good recipient an unknown one is no obstacle.
    let (lab, image) = lab();
    lab.sealift(&[
        "encrypt",
        "oci:plain:v1",
        "oci:sealed:v1",
        "-r",
        "key.pub.pem",
        "--cipher",
        "ocicrypt",
    ])
    .succeeds();
    edit(&lab, "sealed", "v1", |manifest| {
        for layer in manifest["layers"].as_array_mut().unwrap() {
            let good = layer["annotations"][KEYS].as_str().unwrap();
            layer["annotations"][KEYS] = json!(format!("{unknown},{good}"));
        }
    });
    let digest = lab
        .sealift(&["decrypt", "oci:sealed:v1", "oci:opened:v1", "-k", "key.pem"])
        .succeeds();
    assert_eq!(digest, image.digest());
}

#[test]
fn sealed_blobs_with_a_wrong_octet_or_a_cut_fail_authentication() {
    for cipher in ["chunked", "ocicrypt"] {
        let (lab, _) = lab();
        lab.sealift(&[
            "encrypt",
            "oci:plain:v1",
            "oci:sealed:v1",
            "-r",
            "key.pub.pem",
            "--cipher",
            cipher,
        ])
        .succeeds();
        let digest = lab.digest_in_layout("sealed", "v1");
        let blob = |digest: &str| lab.path("sealed/blobs").join(digest.replace(':', "/"));
        let manifest: Value = serde_json::from_slice(&fs::read(blob(&digest)).unwrap()).unwrap();
        let sealed = fs::read(blob(manifest["layers"][1]["digest"].as_str().unwrap())).unwrap();
        let mut flipped = sealed.clone();
        flipped[40_000] ^= 1;
        for (name, octets) in [
            ("flipped", flipped),
            ("cut", sealed[..sealed.len() - 20].to_vec()),
            ("nothing", b"{}".to_vec()),
        ] {
            println!("{cipher}: {name}");
            fs::write(blob(&sha256(&octets)), &octets).unwrap();
            edit(&lab, "sealed", "v1", |manifest| {
                manifest["layers"][1]["size"] = octets.len().into();
                manifest["layers"][1]["digest"] = sha256(&octets).into();
            });
            lab.sealift(&[
                "decrypt",
                "-q",
                "oci:sealed:v1",
                "oci:out:v1",
                "-k",
                "key.pem",
            ])
            .fails(4, "cannot open layer");
            lab.sealift(&["verify", "-q", "oci:sealed:v1", "-k", "key.pem"])
                .fails(4, "cannot open layer");
            nothing_in(&lab, "out");
        }
    }
}

#[test]
fn an_empty_layer_comes_back_empty() {
    let (lab, _) = lab();
    let empty = ImageBuilder::new(Format::Oci)
        .layer(Layer::blob("application/vnd.oci.image.layer.v1.tar", b""))
        .build();
    empty.write_layout(&lab.path("empty"), "v1");
    for cipher in ["chunked", "ocicrypt"] {
        let sealed = format!("oci:sealed:{cipher}");
        lab.sealift(&[
            "encrypt",
            "oci:empty:v1",
            &sealed,
            "-r",
            "key.pub.pem",
            "--cipher",
            cipher,
        ])
        .succeeds();
        let digest = lab
            .sealift(&[
                "decrypt",
                &sealed,
                &format!("oci:opened:{cipher}"),
                "-k",
                "key.pem",
            ])
            .succeeds();
        assert_eq!(digest, empty.digest(), "{cipher}");
    }
}

#[test]
fn a_layer_that_stays_clear_is_compared_even_if_the_source_is_trusted() {
    let (lab, image) = lab();
    let clear = image.layer_digest(1);
    let blob = format!("plain/blobs/sha256/{}", clear.trim_start_matches("sha256:"));
    let mut octets = fs::read(lab.path(&blob)).unwrap();
    octets[0] ^= 1;
    lab.write(&blob, &octets);
    lab.sealift(&[
        "encrypt",
        "oci:plain:v1",
        "oci:out:v1",
        "-r",
        "key.pub.pem",
        "--layer",
        "0",
        "--no-verify-source",
    ])
    .fails(4, "has digest");
    assert!(
        !lab.files("out")
            .iter()
            .any(|name| name.contains(&clear[7..]))
    );
}
