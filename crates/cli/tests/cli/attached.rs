//! What belongs to an image: copied with it, listed, and the end of both.

use sealift_testkit::image::{Format, Image, Packing};
use sealift_testkit::registry::{Operation, Options, Registry, RunningRegistry, Support};
use serde_json::{Value, json};

use crate::tool::{Lab, image};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Puts a statement about a manifest into a registry; returns its digest.
fn attach(registry: &RunningRegistry, tag: &str, subject: Option<(&str, usize)>) -> String {
    let content = format!("statement {tag}");
    let blob = registry.put_blob("team/app", content.as_bytes());
    let empty = registry.put_blob("team/app", b"{}");
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": "application/x.statement",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2},
        "layers": [{"mediaType": "text/plain", "digest": blob, "size": content.len()}],
    });
    if let Some((digest, size)) = subject {
        manifest["subject"] = json!({"mediaType": MANIFEST, "digest": digest, "size": size});
    }
    let bytes = manifest.to_string().into_bytes();
    let digest = sealift_testkit::sha256(&bytes);
    let name = if subject.is_some() { &digest } else { tag };
    registry.put_manifest("team/app", name, MANIFEST, &bytes)
}

/// An image, a statement about it, one about that, and a signature as cosign keeps it.
fn serve() -> (RunningRegistry, Image, Vec<String>) {
    let registry = Registry::start(Options::default());
    let image = image(Format::Oci, Packing::Gzip);
    image.push(&registry, "team/app", "v1");
    let first = attach(&registry, "1", Some((&image.digest(), image.bytes().len())));
    let len = registry.manifest("team/app", &first).unwrap().1.len();
    let second = attach(&registry, "2", Some((&first, len)));
    let tag = format!("{}.sig", image.digest().replace(':', "-"));
    let signature = attach(&registry, &tag, None);
    (registry, image, vec![first, second, signature])
}

/// Returns the digests of everything that is listed, sorted.
fn listed(lab: &Lab, reference: &str) -> Vec<String> {
    let answer: Value = lab
        .sealift(&["inspect", reference, "--referrers", "--json"])
        .json();
    let mut digests: Vec<_> = answer["referrers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["digest"].as_str().unwrap().to_owned())
        .collect();
    digests.sort();
    digests
}

#[test]
fn what_belongs_to_an_image_goes_along_when_asked_to() {
    let (registry, image, all) = serve();
    let lab = Lab::new();
    let source = format!("{}/team/app:v1", registry.host());
    let mut sorted = all.clone();
    sorted.sort();
    assert_eq!(listed(&lab, &source), sorted);

    // Registry, archive, registry without a list of its own, layout, registry.
    let old = Registry::start(Options {
        referrers: Support::No,
        ..Options::default()
    });
    let new = Registry::start(Options::default());
    let places = [
        source,
        "oci-archive:app.tar:v1".to_owned(),
        format!("{}/x/app:v1", old.host()),
        "oci:layout:v1".to_owned(),
        format!("{}/y/app:v1", new.host()),
    ];
    for pair in places.windows(2) {
        let keep = ["--referrers", "keep", "--signatures", "keep"];
        let mut arguments = vec!["copy", "-q", &pair[0], &pair[1]];
        arguments.extend(keep);
        assert_eq!(lab.sealift(&arguments).succeeds(), image.digest());
        // Again: nothing is lost, nothing comes twice.
        assert_eq!(lab.sealift(&arguments).succeeds(), image.digest());
        assert_eq!(listed(&lab, &pair[1]), sorted, "{}", pair[1]);
    }
    for digest in &all {
        let (there, here) = (
            new.manifest("y/app", digest),
            registry.manifest("team/app", digest),
        );
        assert_eq!(there, here);
    }
    // First what is referred to, which some registries want to have, then what refers to it; the name comes last.
    let log = new.log();
    let stored = log
        .iter()
        .filter(|entry| entry.operation == Operation::PutManifest)
        .map(|entry| entry.path.as_str());
    let (name, digest) = ("/v2/y/app/manifests/v1", image.digest());
    let order: Vec<_> = stored.collect();
    assert!(order[0].ends_with(&digest), "{order:?}");
    assert_eq!(order.last(), Some(&name), "{order:?}");
    // What belongs to the image does not make the layout ambiguous.
    let root = lab.sealift(&["inspect", "--raw", "oci:layout"]).succeeds();
    assert_eq!(root.as_bytes(), image.bytes());
}

#[test]
fn a_dry_run_shows_what_would_go_along() {
    let (registry, image, all) = serve();
    let target = Registry::start(Options::default());
    let lab = Lab::new();
    let source = format!("{}/team/app:v1", registry.host());
    let destination = format!("{}/team/app:v1", target.host());
    let plan = |arguments: &[&str]| {
        let mut line = vec!["copy", "--dry-run", &source, &destination];
        line.extend(arguments);
        let text = lab.sealift(&line).succeeds();
        line.push("--json");
        let json = lab.sealift(&line).json();
        (text, json["referrers"].clone())
    };
    let (text, json) = plan(&[]);
    assert!(
        text.contains("; referrers taken along: 0, signatures: 0; nothing was written"),
        "{text}"
    );
    assert_eq!(json, json!([]));
    let (text, json) = plan(&["--referrers", "keep", "--signatures", "keep"]);
    assert!(
        text.contains("; referrers taken along: 2, signatures: 1; nothing was written"),
        "{text}"
    );
    let listed = json.as_array().unwrap().iter();
    let listed: Vec<_> = listed
        .map(|one| (&one["digest"], &one["subject"]))
        .collect();
    let (first, second, signature) = (json!(all[0]), json!(all[1]), json!(all[2]));
    let root = json!(image.digest());
    let expected = [(&first, &root), (&signature, &root), (&second, &first)];
    assert_eq!(listed, expected);
    for request in target.log() {
        assert!(matches!(request.method.as_str(), "GET" | "HEAD"));
    }
}

#[test]
fn what_belongs_to_an_image_stays_behind_unless_asked_for() {
    let (registry, _, all) = serve();
    let lab = Lab::new();
    let source = format!("{}/team/app:v1", registry.host());
    let mut referrers = all[..2].to_vec();
    referrers.sort();
    for (arguments, expected) in [
        (&[][..], vec![]),
        (&["--referrers", "keep"], referrers),
        (&["--signatures", "keep"], vec![all[2].clone()]),
    ] {
        let target = Registry::start(Options::default());
        let destination = format!("{}/team/app:v1", target.host());
        let mut line = vec!["copy", "-q", &source, &destination];
        line.extend(arguments);
        lab.sealift(&line).succeeds();
        assert_eq!(listed(&lab, &destination), expected, "{arguments:?}");
    }
    let text = lab.sealift(&["inspect", &source, "--referrers"]).succeeds();
    assert!(text.contains("application/x.statement"), "{text}");
}

#[test]
fn tags_are_listed_and_only_repositories_have_them() {
    let (registry, image, _) = serve();
    image.push(&registry, "team/app", "v0");
    let lab = Lab::new();
    let repository = format!("{}/team/app", registry.host());
    let signature = format!("{}.sig", image.digest().replace(':', "-"));
    assert_eq!(
        lab.sealift(&["tags", &repository]).succeeds(),
        format!("{signature}\nv0\nv1")
    );
    assert_eq!(
        lab.sealift(&["tags", &repository, "--json"]).json(),
        json!({"schemaVersion": 1, "repository": repository, "tags": [signature, "v0", "v1"]})
    );
    let named = format!("{repository}:v1");
    lab.sealift(&["tags", &named]).fails(2, "names an image");
    lab.sealift(&["tags", "oci:layout"])
        .fails(2, "is not in a registry");
    let absent = format!("{}/absent", registry.host());
    registry.set_fault(sealift_testkit::registry::Fault::on(
        Operation::ListTags,
        sealift_testkit::registry::Effect::status(404),
    ));
    lab.sealift(&["tags", &absent]).fails(7, "was not found");
}

#[test]
fn nothing_is_deleted_that_was_not_meant() {
    let (registry, image, all) = serve();
    image.push(&registry, "team/app", "stable");
    let lab = Lab::new();
    let repository = format!("{}/team/app", registry.host());
    let tag = format!("{repository}:v1");
    let digest = image.digest();
    lab.sealift(&["delete", &repository])
        .fails(2, "names a repository");
    lab.sealift(&["delete", &tag, "--yes"]).fails(
        2,
        &format!("{digest} has other tags, which would go too: stable"),
    );
    lab.sealift(&["delete", &tag, "--force"]).fails(
        2,
        &format!("deleting {repository}@{digest} must be confirmed"),
    );
    assert_eq!(registry.count(Operation::DeleteManifest), 0);
    let deleted = lab.sealift(&["delete", &tag, "--force", "--yes", "--json"]);
    assert_eq!(
        deleted.json(),
        json!({"schemaVersion": 1, "reference": tag, "digest": digest})
    );
    assert_eq!(registry.tags("team/app").len(), 1);
    lab.sealift(&["delete", &tag, "--yes"])
        .fails(7, "was not found");
    let by_digest = format!("{repository}@{}", all[1]);
    assert_eq!(
        lab.sealift(&["delete", &by_digest, "--yes"]).succeeds(),
        all[1]
    );
}
