//! `encrypt` in pipelines: signatures of the source, and statements for signing.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sealift_testkit::image::{Format, Packing};
use sealift_testkit::registry::{Options, Registry, RunningRegistry};
use serde_json::{Value, json};

use crate::tool::{Lab, image};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Puts a manifest with one small layer into a registry, as a referrer or under a tag.
fn put(
    registry: &RunningRegistry,
    kind: &str,
    tag: Option<&str>,
    subject: Option<(&str, usize)>,
) -> String {
    let blob = registry.put_blob("team/app", kind.as_bytes());
    let empty = registry.put_blob("team/app", b"{}");
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": kind,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2},
        "layers": [{"mediaType": "text/plain", "digest": blob, "size": kind.len()}],
    });
    if let Some((digest, size)) = subject {
        manifest["subject"] = json!({"mediaType": MANIFEST, "digest": digest, "size": size});
    }
    let bytes = manifest.to_string().into_bytes();
    let digest = sealift_testkit::sha256(&bytes);
    registry.put_manifest("team/app", tag.unwrap_or(&digest), MANIFEST, &bytes)
}

#[test]
fn a_signed_image_is_sealed_only_when_something_was_said_about_its_signatures() {
    let image = image(Format::Oci, Packing::Gzip);
    let lab = Lab::new();
    lab.key("key");
    let source = Registry::start(Options::default());
    image.push(&source, "team/app", "v1");
    let tag = format!("{}.sig", image.digest().replace(':', "-"));
    let subject = (image.digest(), image.bytes().len());
    let subject = Some((subject.0.as_str(), subject.1));
    let signature = put(&source, "application/vnd.dev.cosign.x", Some(&tag), None);
    let bundle = put(
        &source,
        "application/vnd.dev.sigstore.bundle.v0.3+json",
        None,
        subject,
    );
    put(&source, "application/x.sbom", None, subject);

    let destination = Registry::start(Options::default());
    let from = format!("{}/team/app:v1", source.host());
    let to = format!("{}/team/app:v1", destination.host());
    let seal = |options: &[&str]| {
        lab.sealift(&[&["encrypt", &from, &to, "-r", "key.pub.pem"][..], options].concat())
    };
    let run = seal(&[]).fails(2, "the image is signed (2 signatures or signed statements)");
    assert!(run.stderr.contains("hint: --signatures drop"), "{run:?}");
    seal(&["--dry-run"]).exits_with(2, "the image is signed");
    assert!(destination.tags("team/app").is_empty());

    for (choice, word) in [("drop", "SBOMs"), ("resign", "cosign sign [--key KEY]")] {
        let run = seal(&["--signatures", choice]);
        assert!(run.stderr.contains(word), "{run:?}");
        run.succeeds();
        assert_eq!(destination.tags("team/app"), ["v1"]);
    }

    let sealed = seal(&["-q", "--signatures", "detach"]).succeeds();
    assert_eq!(destination.tags("team/app"), [tag.clone(), "v1".to_owned()]);
    for digest in [&signature, &bundle] {
        let (there, here) = (
            destination.manifest("team/app", digest),
            source.manifest("team/app", digest),
        );
        assert!(here.is_some());
        assert_eq!(there, here);
    }
    // They are about the image as it will be again.
    let opened = format!("{}/team/app:opened", destination.host());
    let open = ["decrypt", "-q", &to, &opened, "-k", "key.pem"];
    assert_eq!(lab.sealift(&open).succeeds(), image.digest());
    let listed = lab
        .sealift(&["inspect", &opened, "--referrers", "--json"])
        .json();
    let listed = listed["referrers"].as_array().unwrap();
    assert_eq!(listed.len(), 2);
    // Of the sealed image nobody has said anything, so it can be sealed no further but for that.
    assert_ne!(sealed, image.digest());
}

#[test]
fn a_statement_binds_the_sealed_image_to_the_original() {
    let image = image(Format::Oci, Packing::Gzip);
    let lab = Lab::new();
    lab.key("key");
    image.write_layout(&lab.path("plain"), "v1");
    let registry = Registry::start(Options::default());
    let to = format!("{}/team/app:v1", registry.host());
    let seal = |options: &[&str]| {
        lab.sealift(
            &[
                &["encrypt", "-q", "oci:plain:v1", &to, "-r", "key.pub.pem"][..],
                options,
            ]
            .concat(),
        )
    };
    let read = |name: &str| -> Value {
        serde_json::from_slice(&fs::read(lab.path(name)).unwrap()).unwrap()
    };
    let sealed = seal(&["--statement-out", "s.json"]).succeeds();
    let statement = read("s.json");
    let (algorithm, hex) = sealed.split_once(':').unwrap();
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(
        statement["subject"],
        json!([{"name": format!("{}/team/app", registry.host()), "digest": {algorithm: hex}}])
    );
    let opening = read("s.json.opening");
    assert_eq!(opening["digest"], image.digest());
    let mut octets = STANDARD.decode(opening["salt"].as_str().unwrap()).unwrap();
    assert_eq!(octets.len(), 32);
    octets.extend(image.digest().as_bytes());
    let commitment = sealift_testkit::sha256(&octets).replace("sha256:", "");
    assert_eq!(
        statement["predicate"],
        json!({"original": {"commitment": {"sha256": commitment}}})
    );
    let text = fs::read_to_string(lab.path("s.json")).unwrap();
    let plain_hex = image.digest().replace("sha256:", "");
    assert!(!text.contains(&plain_hex), "{text}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |name: &str| fs::metadata(lab.path(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("s.json"), mode("s.json.opening")), (0o644, 0o600));
    }

    let clear = [
        "--statement-out",
        "clear.json",
        "--statement-digests",
        "clear",
    ];
    seal(&clear).succeeds();
    let original = &read("clear.json")["predicate"]["original"];
    assert_eq!(*original, json!({"digest": {"sha256": plain_hex}}));
    assert!(!lab.path("clear.json.opening").exists());

    // Nothing is overwritten, and nothing is sealed then.
    let before = registry.manifest("team/app", "v1");
    for file in ["s.json", "clear.json"] {
        seal(&["--statement-out", file]).fails(1, "never overwritten");
    }
    fs::remove_file(lab.path("s.json")).unwrap();
    seal(&["--statement-out", "s.json"]).fails(1, "s.json.opening");
    seal(&["--statement-out", "no/such/folder.json"]).exits_with(2, "folder.json");
    assert_eq!(registry.manifest("team/app", "v1"), before);
    seal(&["--statement-digests", "clear"]).exits_with(2, "--statement-out");
}
