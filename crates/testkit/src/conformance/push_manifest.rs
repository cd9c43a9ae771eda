//! "Pushing Manifests", "Pushing Manifests with Subject".

use serde_json::{Value, json};

use super::repository::{EMPTY, IMAGE, LAYER, Manifest, Repository};
use super::{Departure, Subject};
use crate::{noise, sha256};

/// Images as they are: several layers, none, content in the descriptor, members that nobody knows.
pub fn takes_images(subject: &Subject) {
    let repository = subject.repository();
    for (tag, image) in [
        ("several", repository.image(3, &json!({}))),
        ("none", repository.image(0, &json!({}))),
        (
            "unknown",
            repository.image(1, &json!({"org.example.unknown": {"a": [1, null]}})),
        ),
        ("data", with_data(repository)),
    ] {
        repository.put_manifest(tag, &image);
        repository.put_manifest(&image.digest, &image);
    }
}

/// "manifest pushes of at least 4 megabytes".
pub fn takes_a_large_manifest(subject: &Subject) {
    let repository = subject.repository();
    let annotations: serde_json::Map<String, Value> = (0..390)
        .map(|number| {
            (
                format!("large-annotation-{number}"),
                "A".repeat(10_000).into(),
            )
        })
        .collect();
    let image = repository.image(1, &json!({"annotations": annotations}));
    repository.put_manifest("large", &image);
}

/// Indexes: of images, of indexes, of nothing.
pub fn takes_indexes(subject: &Subject) {
    let repository = subject.repository();
    let image = repository.image(1, &json!({}));
    let other = repository.image(2, &json!({}));
    for manifest in [&image, &other] {
        repository.put_manifest(&manifest.digest, manifest);
    }
    let index = repository.index(&[&image, &other], &json!({"org.example.unknown": true}));
    repository.put_manifest("index", &index);
    let nested = repository.index(&[&index, &image], &json!({}));
    repository.put_manifest("nested", &nested);
    repository.put_manifest("empty", &repository.index(&[], &json!({})));
}

/// Artifacts: with a layer of any type, with none to speak of, as an index.
pub fn takes_artifacts(subject: &Subject) {
    let repository = subject.repository();
    let artifact = repository.artifact("application/vnd.example.one", &json!({}));
    repository.put_manifest("artifact", &artifact);
    let empty = repository.put_blob(EMPTY, b"{}");
    let without = repository.artifact("application/vnd.example.one", &json!({"layers": [empty]}));
    repository.put_manifest("without-layers", &without);
    let index = repository.index(
        &[&artifact],
        &json!({"artifactType": "application/vnd.example.two"}),
    );
    repository.put_manifest("index", &index);
}

/// A subject may be there or not; whoever has the referrers API says that it took note (`OCI-Subject`).
pub fn takes_manifests_with_a_subject(subject: &Subject) {
    let repository = subject.repository();
    let image = repository.image(1, &json!({}));
    repository.put_manifest("v1", &image);
    let missing = json!({"mediaType": IMAGE, "digest": sha256(b"missing content"), "size": 123});
    for (tag, of) in [("present", image.descriptor()), ("missing", missing)] {
        let referrer = repository.artifact("application/vnd.example.one", &json!({"subject": of}));
        let index = repository.index(&[&image], &json!({"subject": of}));
        for (tag, manifest) in [(tag.to_owned(), referrer), (format!("{tag}-index"), index)] {
            let answer = repository.put_manifest(&tag, &manifest);
            let noted =
                (!subject.departs(Departure::NoReferrers)).then(|| of["digest"].as_str().unwrap());
            assert_eq!(answer.header("OCI-Subject"), noted, "{tag}");
        }
    }
}

/// Layers with `urls` need not be in the registry (image-spec, "Non-Distributable Layers").
pub fn takes_layers_that_others_serve(subject: &Subject) {
    let repository = subject.repository();
    let own = repository.put_blob(LAYER, &noise(1, 512));
    let foreign = |kind: &str, content: &[u8]| {
        let digest = sha256(content);
        json!({"mediaType": format!("application/vnd.oci.image.layer.nondistributable.v1.{kind}"), "digest": digest,
               "size": 123_456, "urls": [format!("https://store.example.com/blobs/{digest}")]})
    };
    let layers = json!([foreign("tar+gzip", b"one"), foreign("tar", b"two"), own]);
    let image = repository.image(0, &json!({"layers": layers}));
    if subject.departs(Departure::NoForeignLayers) {
        let refusal = repository.try_manifest("foreign", &image);
        assert!(refusal.status >= 400, "it takes foreign layers");
    } else {
        repository.put_manifest("foreign", &image);
    }
}

/// A manifest is named by a digest of its own, in any algorithm that the registry knows.
pub fn takes_manifests_named_by_sha512(subject: &Subject) {
    let repository = subject.repository();
    let image = repository.image(1, &json!({})).named_by_sha512();
    if subject.departs(Departure::Sha256Manifests) {
        repository.try_manifest(&image.digest, &image).is(&[400]);
        return;
    }
    repository.put_manifest(&image.digest, &image);
    let index = repository.index(&[&image], &json!({})).named_by_sha512();
    repository.put_manifest(&index.digest, &index);
}

/// The digest in the path must be the one of the manifest; what is no digest is refused too.
pub fn refuses_a_manifest_with_another_digest(subject: &Subject) {
    let repository = subject.repository();
    let mut image = repository.image(1, &json!({}));
    image.octets.extend(b"  ");
    repository.try_manifest(&image.digest, &image).is(&[400]);
    repository
        .ask_for_manifest("GET", &repository.manifest(&image.digest))
        .is(&[404]);
    let refusal = match subject.departs(Departure::NoDigestCheck) {
        true => 500,
        false => 400,
    };
    let malformed = repository.try_manifest("sha256:baddigeststring", &image);
    malformed.is(&[refusal]);
}

/// An image whose configuration stands in its descriptor too (image-spec, "Embedded Content").
fn with_data(repository: Repository<'_>) -> Manifest {
    let mut config = repository.put_blob(EMPTY, b"{}");
    // The base64 of the two octets.
    config["data"] = "e30=".into();
    repository.image(1, &json!({"config": config}))
}
