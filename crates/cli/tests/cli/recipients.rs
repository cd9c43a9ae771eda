//! `recipients`: who may open an image changes, and its layers do not.

use std::fs;

use sealift_testkit::image::{Format, Image, ImageBuilder, IndexBuilder, Packing};
use sealift_testkit::registry::{Operation, Options, Registry, RunningRegistry};
use serde_json::{Value, json};

use crate::tool::{Lab, fixtures, image, lab_with_sealed, layers};

/// An index of two platforms.
fn index() -> Image {
    ["linux/amd64", "linux/arm64"]
        .into_iter()
        .fold(IndexBuilder::new(Format::Oci), |index, platform| {
            let image = ImageBuilder::new(Format::Oci).platform(platform);
            index.child(
                image
                    .layers(layers(Packing::Gzip, platform))
                    .annotation("org.example.kept", "as it was")
                    .build(),
            )
        })
        .build()
}

/// A lab with the key pairs `key`, `new` and `other`, and an image sealed for `key` in a registry.
fn lab(image: &Image, cipher: &str) -> (Lab, RunningRegistry, String) {
    let lab = Lab::new();
    for name in ["key", "new", "other"] {
        lab.key(name);
    }
    let registry = Registry::start(Options::default());
    let reference = format!("{}/team/app:v1", registry.host());
    image.write_layout(&lab.path("plain"), "v1");
    let seal = ["encrypt", "-q", "oci:plain:v1", &reference];
    lab.sealift(&[&seal[..], &["-r", "key.pub.pem", "--cipher", cipher]].concat())
        .succeeds();
    (lab, registry, reference)
}

impl Lab {
    /// Changes recipients in place.
    fn change(&self, what: &str, reference: &str, arguments: &[&str]) -> crate::tool::Run {
        self.sealift(&[&["recipients", what, reference][..], arguments].concat())
    }

    /// Expects a key to bring the original back.
    #[track_caller]
    fn opens(&self, reference: &str, key: &str, original: &str) {
        let _ = fs::remove_dir_all(self.path("opened"));
        let open = ["decrypt", "-q", reference, "oci:opened:v1", "-k", key];
        assert_eq!(self.sealift(&open).succeeds(), original, "{key}");
    }

    #[track_caller]
    fn cannot_open(&self, reference: &str, key: &str) {
        let open = ["decrypt", "-q", reference, "oci:nothing:v1", "-k", key];
        self.sealift(&open).fails(3, "no key fits layer");
    }

    fn inspected(&self, reference: &str) -> Value {
        self.sealift(&["inspect", reference, "--json"]).json()
    }
}

/// Returns the digests of all layers of all images.
fn layer_digests(inspected: &Value) -> Vec<String> {
    let manifests = inspected["manifests"].as_array().unwrap().iter();
    manifests
        .flat_map(|manifest| manifest["layers"].as_array().unwrap())
        .map(|layer| layer["digest"].as_str().unwrap().to_owned())
        .collect()
}

/// Expects that no octet of a layer has moved since the log was cleared.
#[track_caller]
fn no_layer_has_moved(registry: &RunningRegistry, layers: &[String]) {
    for entry in registry.log() {
        let writes = [
            Operation::StartUpload,
            Operation::Mount,
            Operation::PatchUpload,
            Operation::PutUpload,
        ];
        assert!(!writes.contains(&entry.operation), "{entry:?}");
        let of_layer = layers.iter().any(|digest| entry.path.ends_with(digest));
        assert!(!of_layer, "{entry:?}");
    }
    assert!(registry.count(Operation::PutManifest) > 0);
}

#[test]
fn one_more_recipient_moves_no_layer() {
    for cipher in ["chunked", "ocicrypt"] {
        let index = index();
        let (lab, registry, reference) = lab(&index, cipher);
        let before = lab.inspected(&reference);
        let sealed = registry.manifest("team/app", "v1").unwrap();
        lab.cannot_open(&reference, "new.pem");
        registry.clear_log();
        let add = ["-q", "-k", "key.pem", "-r", "new.pub.pem"];
        let digest = lab.change("add", &reference, &add).succeeds();
        let layers = layer_digests(&before);
        assert_eq!(layers.len(), 6);
        no_layer_has_moved(&registry, &layers);

        let after = lab.inspected(&reference);
        assert_eq!(after["digest"], digest);
        assert_eq!(layer_digests(&after), layers);
        assert_ne!(digest, before["digest"]);
        lab.opens(&reference, "new.pem", &index.digest());
        lab.opens(&reference, "key.pem", &index.digest());
        lab.cannot_open(&reference, "other.pem");
        // The image as it was is still there.
        let old = before["digest"].as_str().unwrap();
        assert_eq!(registry.manifest("team/app", old), Some(sealed));

        // Once more: nothing to do, and nothing done.
        registry.clear_log();
        lab.change("add", &reference, &add)
            .fails(8, "wrapped for these recipients already");
        assert_eq!(registry.count(Operation::PutManifest), 0);
    }
}

#[test]
fn everything_else_in_a_manifest_stays() {
    let (lab, registry, reference) = lab(&index(), "chunked");
    let manifest = |reference: &str| -> Value {
        let (_, bytes) = registry.manifest("team/app", reference).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    let digest_of = |entry: &Value| entry["digest"].as_str().unwrap().to_owned();
    let old = manifest("v1");
    let add = [
        "-q",
        "-k",
        "key.pem",
        "-r",
        "new.pub.pem",
        "--platform",
        "linux/arm64",
    ];
    lab.change("add", &reference, &add).succeeds();
    let new = manifest("v1");
    assert_eq!(old["annotations"], new["annotations"]);
    assert_eq!(old["manifests"][0], new["manifests"][0]);
    let (mut before, mut after) = (
        manifest(&digest_of(&old["manifests"][1])),
        manifest(&digest_of(&new["manifests"][1])),
    );
    assert_eq!(after["annotations"]["org.example.kept"], "as it was");
    for image in [&mut before, &mut after] {
        for layer in image["layers"].as_array_mut().unwrap() {
            let annotations = layer["annotations"].as_object_mut().unwrap();
            let jwe = annotations
                .remove("org.opencontainers.image.enc.keys.jwe")
                .unwrap();
            let told = annotations.remove("dev.sealift.recipients").unwrap();
            let told: Value = serde_json::from_str(told.as_str().unwrap()).unwrap();
            let elements = jwe.as_str().unwrap().split(',').count();
            assert_eq!(told.as_object().unwrap().len(), elements);
        }
    }
    assert_eq!(before, after);
    let open = [
        "decrypt",
        "-q",
        &reference,
        "oci:one:v1",
        "-k",
        "new.pem",
        "--platform",
    ];
    lab.sealift(&[&open[..], &["linux/arm64"]].concat())
        .succeeds();
    lab.sealift(&[&open[..], &["linux/amd64"]].concat())
        .fails(3, "no key fits layer");
    let nobody = [
        "-k",
        "key.pem",
        "-r",
        "other.pub.pem",
        "--platform",
        "windows/amd64",
    ];
    lab.change("add", &reference, &nobody).fails(
        7,
        "no image for platform windows/amd64; there are linux/amd64, linux/arm64",
    );
}

#[test]
fn only_who_can_open_a_layer_can_add_to_it() {
    let (lab, registry, reference) = lab(&image(Format::Oci, Packing::Gzip), "chunked");
    registry.clear_log();
    let add = ["-q", "-k", "other.pem", "-r", "new.pub.pem"];
    lab.change("add", &reference, &add)
        .fails(3, "no key fits layer");
    let rotate = ["-q", "-k", "other.pem", "-r", "new.pub.pem"];
    lab.change("rotate", &reference, &rotate)
        .fails(3, "no key fits layer");
    assert_eq!(registry.count(Operation::PutManifest), 0);
    lab.sealift(&[
        "recipients",
        "add",
        "oci:plain:v1",
        "-k",
        "key.pem",
        "-r",
        "new.pub.pem",
    ])
    .fails(8, "no selected layer is sealed");
}

#[test]
fn rotation_replaces_what_the_old_key_opens() {
    let image = image(Format::Oci, Packing::Gzip);
    for cipher in ["chunked", "ocicrypt"] {
        let (lab, registry, reference) = lab(&image, cipher);
        let add = ["-q", "-k", "key.pem", "-r", "other.pub.pem"];
        lab.change("add", &reference, &add).succeeds();
        let layers = layer_digests(&lab.inspected(&reference));
        registry.clear_log();
        let rotate = ["-k", "key.pem", "-r", "new.pub.pem"];
        let run = lab.change("rotate", &reference, &rotate);
        assert!(
            run.stderr.contains("still open with the old key"),
            "{run:?}"
        );
        run.succeeds();
        no_layer_has_moved(&registry, &layers);
        for key in ["new.pem", "other.pem"] {
            lab.opens(&reference, key, &image.digest());
        }
        // What stands in front of a layer says nothing of manifests; only the default format has something there.
        match cipher {
            "chunked" => lab.opens(&reference, "key.pem", &image.digest()),
            _ => lab.cannot_open(&reference, "key.pem"),
        }
        if cipher == "chunked" {
            let remove = ["-q", "-k", "key.pem", "--rewrite-blobs"];
            lab.change("remove", &reference, &remove).succeeds();
            lab.cannot_open(&reference, "key.pem");
            for key in ["new.pem", "other.pem"] {
                lab.opens(&reference, key, &image.digest());
            }
        }
    }
}

#[test]
fn removal_takes_the_key_out_of_the_layer_only_when_told_so() {
    let image = image(Format::Oci, Packing::Gzip);
    let (lab, registry, reference) = lab(&image, "chunked");
    let add = [
        "-q",
        "-k",
        "key.pem",
        "-r",
        "new.pub.pem",
        "--rewrite-blobs",
    ];
    lab.change("add", &reference, &add).succeeds();
    let before = lab.inspected(&reference);
    let places = |inspected: &Value| inspected["manifests"][0]["layers"][0]["recipients"].clone();
    for recipient in places(&before).as_array().unwrap() {
        assert_eq!(recipient["where"], json!(["annotation", "header"]));
    }

    registry.clear_log();
    let gone = ["-q", "-r", "key.pub.pem"];
    let run = lab.change("remove", &reference, &gone);
    run.fails(2, "carries the wrapped key of that recipient itself");
    assert_eq!(registry.count(Operation::PutManifest), 0);

    let left = lab.change(
        "remove",
        &reference,
        &[&gone[..], &["--annotations-only"]].concat(),
    );
    left.succeeds();
    lab.opens(&reference, "key.pem", &image.digest());
    assert_eq!(
        layer_digests(&lab.inspected(&reference)),
        layer_digests(&before)
    );

    // The element is only in front of the layer now, and is found there, too.
    let run = lab.change(
        "remove",
        &reference,
        &["-r", "key.pub.pem", "--rewrite-blobs"],
    );
    assert!(run.stderr.contains("may have kept its content"), "{run:?}");
    run.succeeds();
    lab.cannot_open(&reference, "key.pem");
    lab.opens(&reference, "new.pem", &image.digest());
    let verify = ["verify", "-q", &reference, "-k", "new.pem"];
    lab.sealift(&verify).succeeds();

    lab.change(
        "remove",
        &reference,
        &["-q", "-r", "key.pub.pem", "--rewrite-blobs"],
    )
    .fails(8, "no selected layer is wrapped for them");
    for ending in [&["--rewrite-blobs"][..], &["--annotations-only"]] {
        let last = [&["-q", "-r", "new.pub.pem"][..], ending].concat();
        lab.change("remove", &reference, &last)
            .fails(2, "would have no recipient left");
    }
    lab.opens(&reference, "new.pem", &image.digest());
}

#[test]
fn recipients_are_named_as_they_are_listed() {
    let image = image(Format::Oci, Packing::Gzip);
    let (lab, _registry, reference) = lab(&image, "ocicrypt");
    for name in ["new", "other"] {
        let recipient = format!("{name}.pub.pem");
        let add = ["-q", "-k", "key.pem", "-r", &recipient, "-r", &recipient];
        lab.change("add", &reference, &add).succeeds();
    }
    let listed: Value = lab
        .sealift(&["recipients", "list", &reference, "--json"])
        .json();
    let first = &listed["manifests"][0]["layers"][0]["recipients"];
    assert_eq!(first.as_array().unwrap().len(), 3);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (of_new, of_other) = (text(&first[1]["fingerprint"]), text(&first[2]["element"]));
    let table = lab.sealift(&["recipients", "list", &reference]).succeeds();
    let row = format!("jwe:{}", &of_new[..16]);
    let row = table.lines().find(|line| line.contains(&row)).unwrap();
    assert!(row.ends_with("manifest  0-2"), "{table}");

    for short in ["1234567", ""] {
        lab.change("remove", &reference, &["-q", "--id", short])
            .exits_with(2, "at least 8 characters");
    }
    lab.change("remove", &reference, &["-q", "--id", "0123456789"])
        .fails(8, "no selected layer is wrapped for them");
    lab.change("remove", &reference, &["-q"])
        .exits_with(2, "--recipient");
    lab.change("remove", &reference, &["-q", "--id", &of_new[..8]])
        .succeeds();
    lab.cannot_open(&reference, "new.pem");
    lab.opens(&reference, "other.pem", &image.digest());
    // An element is that of one layer; the others keep theirs.
    lab.change("remove", &reference, &["-q", "--id", &of_other])
        .succeeds();
    let open = [
        "decrypt",
        "-q",
        &reference,
        "oci:part:v1",
        "-k",
        "other.pem",
        "--layer",
    ];
    lab.sealift(&[&open[..], &["1,2"]].concat()).succeeds();
    lab.sealift(&[&open[..], &["0"]].concat())
        .fails(3, "no key fits layer");
}

#[test]
fn recipients_of_several_schemes_come_and_go_together() {
    for cipher in ["chunked", "ocicrypt"] {
        let image = image(Format::Oci, Packing::Gzip);
        let (lab, _registry, reference) = lab(&image, cipher);
        lab.sealift(&["keygen", "-q", "-t", "aes256", "-o", "customer"])
            .succeeds();
        let testdata = fixtures().join("../keywrap/skopeo");
        for name in ["x509.key.pem", "x509.cert.pem"] {
            lab.write(name, &fs::read(testdata.join(name)).unwrap());
        }
        let schemes = [
            "-r",
            "aes256:customer.key",
            "-r",
            "pkcs7:x509.cert.pem",
            "-r",
            "new.pub.pem",
        ];
        let add = [&["-q", "-k", "key.pem"][..], &schemes].concat();
        lab.change("add", &reference, &add).succeeds();
        lab.change("add", &reference, &add)
            .fails(8, "wrapped for these recipients already");
        for keys in [
            &["-k", "aes256:customer.key"][..],
            &["-k", "x509.key.pem", "-k", "x509.cert.pem"],
            &["-k", "new.pem"],
        ] {
            let _ = fs::remove_dir_all(lab.path("opened"));
            let open = [&["decrypt", "-q", &reference, "oci:opened:v1"][..], keys].concat();
            assert_eq!(lab.sealift(&open).succeeds(), image.digest());
        }
        let remove = [&["-q", "--annotations-only"][..], &schemes].concat();
        lab.change("remove", &reference, &remove).succeeds();
        for key in ["aes256:customer.key", "new.pem"] {
            lab.cannot_open(&reference, key);
        }
        lab.opens(&reference, "key.pem", &image.digest());
    }
}

#[test]
fn a_changed_image_can_go_elsewhere_and_the_old_one_stays() {
    let (lab, image) = lab_with_sealed();
    lab.key("new");
    let registry = Registry::start(Options::default());
    let far = format!("{}/x/app:v1", registry.host());
    let before = fs::read(lab.path("sealed/index.json")).unwrap();
    let add = ["-q", "-k", "key.pem", "-r", "new.pub.pem"];
    let copy = [&[far.as_str()][..], &add].concat();
    let digest = lab.change("add", "oci:sealed:v1", &copy).succeeds();
    assert_eq!(fs::read(lab.path("sealed/index.json")).unwrap(), before);
    lab.opens(&far, "new.pem", &image.digest());

    // By digest there is no name to change; within a repository nothing is moved.
    let by_digest = format!("{}/x/app@{digest}", registry.host());
    lab.change("rotate", &by_digest, &add)
        .fails(2, "needs a name");
    registry.clear_log();
    let tag = format!("{}/x/app:v2", registry.host());
    let rotate = [&[tag.as_str()][..], &add].concat();
    lab.change("rotate", &by_digest, &rotate).succeeds();
    assert_eq!(registry.count(Operation::PatchUpload), 0);
    assert_eq!(registry.manifest("x/app", "v1").map(|_| ()), Some(()));
    lab.opens(&tag, "new.pem", &image.digest());
}

#[test]
fn layouts_and_archives_change_in_place() {
    let (lab, image) = lab_with_sealed();
    lab.key("new");
    let copies = [
        "oci-archive:named.tar:v1",
        "oci-archive:unnamed.tar",
        "oci:unnamed",
        "oci:several:v1",
    ];
    for copy in copies {
        lab.sealift(&["copy", "-q", "oci:sealed:v1", copy])
            .succeeds();
    }
    lab.sealift(&["copy", "-q", "oci:plain:v1", "oci:several:plain"])
        .succeeds();
    // Without a name, where it has one, it keeps it.
    for place in ["oci:sealed", "oci-archive:named.tar"]
        .iter()
        .chain(&copies)
    {
        let add = ["-q", "-k", "key.pem", "-r", "new.pub.pem"];
        lab.change("add", place, &add).succeeds();
        lab.opens(place, "new.pem", &image.digest());
        lab.change(
            "remove",
            place,
            &["-q", "-r", "key.pub.pem", "--rewrite-blobs"],
        )
        .succeeds();
        lab.cannot_open(place, "key.pem");
        if *place == "oci-archive:named.tar" {
            lab.change("add", place, &["-q", "-k", "new.pem", "-r", "key.pub.pem"])
                .succeeds();
            lab.change(
                "remove",
                place,
                &["-q", "-r", "new.pub.pem", "--rewrite-blobs"],
            )
            .succeeds();
        }
    }
    lab.opens("oci:sealed:v1", "new.pem", &image.digest());
    let other = lab.digest_in_layout("several", "plain");
    assert_eq!(other, image.digest());

    lab.sealift(&["copy", "-q", "oci:several:v1", "oci:several:v2"])
        .succeeds();
    lab.sealift(&["copy", "-q", "oci:several:v1", "oci:twins:a"])
        .succeeds();
    lab.sealift(&["copy", "-q", "oci:several:v1", "oci:twins:b"])
        .succeeds();
    lab.change(
        "add",
        "oci:twins",
        &["-q", "-k", "new.pem", "-r", "key.pub.pem"],
    )
    .fails(2, "the image has several names here: a, b");
}

#[test]
fn statements_follow_the_image_and_signatures_do_not() {
    let image = image(Format::Oci, Packing::Gzip);
    let (lab, registry, reference) = lab(&image, "chunked");
    let digest = lab.inspected(&reference)["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    let len = registry.manifest("team/app", "v1").unwrap().1.len();
    let put = |kind: &str, subject: (&str, usize)| {
        let kind_digest = registry.put_blob("team/app", kind.as_bytes());
        let empty = registry.put_blob("team/app", b"{}");
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": kind,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2},
            "layers": [{"mediaType": "text/plain", "digest": kind_digest, "size": kind.len()}],
            "subject": {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": subject.0, "size": subject.1},
            "annotations": {"org.example.unknown": "kept"},
        });
        let bytes = manifest.to_string().into_bytes();
        let digest = sealift_testkit::sha256(&bytes);
        registry.put_manifest(
            "team/app",
            &digest,
            "application/vnd.oci.image.manifest.v1+json",
            &bytes,
        );
        (digest, bytes.len())
    };
    let statement = put("application/x.sbom", (&digest, len));
    put("application/x.note", (&statement.0, statement.1));
    put(
        "application/vnd.dev.sigstore.bundle.v0.3+json",
        (&digest, len),
    );

    let add = ["-k", "key.pem", "-r", "new.pub.pem"];
    let run = lab.change("add", &reference, &add);
    assert!(
        run.stderr.contains("1 signatures or signed statements"),
        "{run:?}"
    );
    run.succeeds();
    let listed = lab
        .sealift(&["inspect", &reference, "--referrers", "--json"])
        .json();
    let listed = listed["referrers"].as_array().unwrap();
    let kinds: Vec<_> = listed
        .iter()
        .map(|one| one["artifactType"].clone())
        .collect();
    assert_eq!(kinds, ["application/x.sbom", "application/x.note"]);
    for one in listed {
        let digest = one["digest"].as_str().unwrap();
        let (_, bytes) = registry.manifest("team/app", digest).unwrap();
        let manifest: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(manifest["annotations"]["org.example.unknown"], "kept");
    }
    let old = format!("{}/team/app@{digest}", registry.host());
    let listed = lab
        .sealift(&["inspect", &old, "--referrers", "--json"])
        .json();
    assert_eq!(listed["referrers"].as_array().unwrap().len(), 3);

    let drop = [
        "-q",
        "-k",
        "key.pem",
        "-r",
        "other.pub.pem",
        "--referrers",
        "drop",
    ];
    lab.change("add", &reference, &drop).succeeds();
    let listed = lab
        .sealift(&["inspect", &reference, "--referrers", "--json"])
        .json();
    assert_eq!(listed["referrers"], json!([]));
}

#[test]
fn rewritten_layers_carry_the_keys_of_the_manifest_and_no_older_ones() {
    let image = image(Format::Oci, Packing::Gzip);
    let (lab, _registry, reference) = lab(&image, "chunked");
    let rotate = ["-q", "-k", "key.pem", "-r", "new.pub.pem"];
    lab.change("rotate", &reference, &rotate).succeeds();
    // The first key is in front of the layers still; the second rotation does not know it.
    lab.opens(&reference, "key.pem", &image.digest());
    let rotate = [
        "-q",
        "-k",
        "new.pem",
        "-r",
        "other.pub.pem",
        "--rewrite-blobs",
    ];
    lab.change("rotate", &reference, &rotate).succeeds();
    for gone in ["key.pem", "new.pem"] {
        lab.cannot_open(&reference, gone);
    }
    lab.opens(&reference, "other.pem", &image.digest());
}

#[test]
fn wrapped_keys_that_cannot_be_read_are_not_lost() {
    let (lab, registry, reference) = lab(&image(Format::Oci, Packing::Gzip), "chunked");
    let (media_type, bytes) = registry.manifest("team/app", "v1").unwrap();
    let mut manifest: Value = serde_json::from_slice(&bytes).unwrap();
    let annotations = &mut manifest["layers"][1]["annotations"];
    annotations["org.opencontainers.image.enc.keys.pgp"] = json!("no base64!");
    registry.put_manifest(
        "team/app",
        "v1",
        &media_type,
        manifest.to_string().as_bytes(),
    );
    let before = registry.manifest("team/app", "v1");
    let add = ["-q", "-k", "key.pem", "-r", "new.pub.pem"];
    lab.change("add", &reference, &add).fails(
        4,
        "has wrapped keys that cannot be read, and would get lost",
    );
    assert_eq!(registry.manifest("team/app", "v1"), before);
}

#[test]
fn an_attestation_is_about_the_changed_manifest_afterwards() {
    let child = ImageBuilder::new(Format::Oci)
        .layers(layers(Packing::Gzip, "amd64"))
        .build();
    let index = IndexBuilder::new(Format::Oci).attested(child).build();
    let lab = Lab::new();
    for name in ["key", "new"] {
        lab.key(name);
    }
    index.write_layout(&lab.path("plain"), "v1");
    let seal = [
        "encrypt",
        "-q",
        "oci:plain:v1",
        "oci:sealed:v1",
        "-r",
        "key.pub.pem",
    ];
    lab.sealift(&[&seal[..], &["--attestations", "keep"]].concat())
        .succeeds();
    let add = ["-q", "-k", "key.pem", "-r", "new.pub.pem"];
    lab.change("add", "oci:sealed:v1", &add).succeeds();
    let raw = lab
        .sealift(&["inspect", "--raw", "oci:sealed:v1"])
        .succeeds();
    let raw: Value = serde_json::from_str(&raw).unwrap();
    let (image, statement) = (&raw["manifests"][0], &raw["manifests"][1]);
    assert_eq!(
        statement["annotations"]["vnd.docker.reference.digest"],
        image["digest"]
    );
    lab.opens("oci:sealed:v1", "new.pem", &index.digest());
}

#[test]
fn an_archive_with_signatures_is_not_written_anew() {
    let image = image(Format::Oci, Packing::Gzip);
    let (lab, registry, reference) = lab(&image, "chunked");
    let digest = lab.inspected(&reference)["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    let tag = format!("{}.sig", digest.replace(':', "-"));
    let (media_type, bytes) = registry.manifest("team/app", "v1").unwrap();
    registry.put_manifest("team/app", &tag, &media_type, &bytes);
    let copy = [
        "copy",
        "-q",
        &reference,
        "oci-archive:app.tar:v1",
        "--signatures",
        "keep",
    ];
    lab.sealift(&copy).succeeds();
    let add = ["-q", "-k", "key.pem", "-r", "new.pub.pem"];
    let before = fs::read(lab.path("app.tar")).unwrap();
    lab.change("add", "oci-archive:app.tar:v1", &add).fails(
        2,
        "1 referrers or signatures are about the image in this archive",
    );
    assert_eq!(fs::read(lab.path("app.tar")).unwrap(), before);
    let elsewhere = [&["oci-archive:new.tar:v1"][..], &add].concat();
    lab.change("add", "oci-archive:app.tar:v1", &elsewhere)
        .succeeds();
    lab.opens("oci-archive:new.tar:v1", "new.pem", &image.digest());
}

#[test]
fn what_a_mirror_has_is_not_written_over_what_the_registry_has() {
    let (lab, registry, reference) = lab(&image(Format::Oci, Packing::Gzip), "chunked");
    // The mirror still has another image under the tag.
    let mirror = Registry::start(Options::default());
    image(Format::Oci, Packing::Zstd).push(&mirror, "team/app", "v1");
    let conf = format!(
        "[[registry]]\nlocation = '{}'\ninsecure = true\n[[registry.mirror]]\nlocation = '{}'\ninsecure = true\n",
        registry.host(),
        mirror.host()
    );
    lab.write("registries.conf", conf.as_bytes());
    let add = [
        "-q",
        "-k",
        "key.pem",
        "-r",
        "new.pub.pem",
        "--registries-conf",
        "registries.conf",
    ];
    lab.change("add", &reference, &add).succeeds();
    assert_eq!(mirror.log().len(), 0);
    let verify = ["verify", "-q", &reference, "-k", "new.pem"];
    lab.sealift(&verify).succeeds();
}

#[test]
fn who_cannot_be_found_in_a_layer_is_told() {
    let lab = Lab::new();
    let reference = format!("oci:{}", fixtures().join("jwe-rsa2048").display());
    crate::tool::fixture_key(&lab, "rsa.pem");
    lab.key("new");
    let add = ["oci:added:v1", "-q", "-k", "rsa.pem", "-r", "new.pub.pem"];
    lab.change("add", &reference, &add).succeeds();
    lab.key("other");
    let run = lab.change("remove", "oci:added:v1", &["-r", "other.pub.pem"]);
    assert!(
        run.stderr.contains("with 1 wrapped keys that name nobody"),
        "{run:?}"
    );
    run.exits_with(8, "no selected layer is wrapped for them");
}

#[test]
fn a_plan_changes_nothing() {
    let (lab, registry, reference) = lab(&image(Format::Oci, Packing::Gzip), "chunked");
    let before = registry.manifest("team/app", "v1");
    let add = [
        "-k",
        "key.pem",
        "-r",
        "new.pub.pem",
        "--layer",
        "0,-1",
        "--dry-run",
        "--json",
    ];
    let plan = lab.change("add", &reference, &add).json();
    let actions: Vec<_> = plan["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["action"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(actions, ["rewrap", "keep-sealed", "rewrap"]);
    assert_eq!(registry.manifest("team/app", "v1"), before);
}

#[test]
fn an_image_sealed_by_other_tools_gets_recipients_and_its_shared_elements_stay_whole() {
    let lab = Lab::new();
    let jwe = fixtures().join("jwe-rsa2048");
    let reference = format!("oci:{}", jwe.display());
    crate::tool::fixture_key(&lab, "rsa.pem");
    lab.key("new");
    let listed = lab.sealift(&["recipients", "list", &reference]).succeeds();
    assert!(listed.contains("jwe:RSA-OAEP"), "{listed}");
    let add = ["oci:added:v1", "-q", "-k", "rsa.pem", "-r", "new.pub.pem"];
    lab.change("add", &reference, &add).succeeds();
    for key in ["new.pem", "rsa.pem"] {
        let _ = fs::remove_dir_all(lab.path("opened"));
        let verify = ["verify", "-q", "oci:added:v1", "-k", key];
        lab.sealift(&verify).succeeds();
    }
    // No name, no fingerprint: only its key finds the old element.
    let rotate = ["-q", "-k", "rsa.pem", "-r", "new.pub.pem"];
    lab.change("rotate", "oci:added:v1", &rotate).succeeds();
    lab.cannot_open("oci:added:v1", "rsa.pem");
    lab.sealift(&["verify", "-q", "oci:added:v1", "-k", "new.pem"])
        .succeeds();
}
