//! "Listing Tags", "Listing Referrers".

use serde_json::{Value, json};

use super::repository::{INDEX, Manifest, Repository};
use super::{Departure, Subject};
use crate::sha256;

/// A repository in which nothing is has no tags: an empty list, or 404.
pub fn lists_no_tags_of_what_has_none(subject: &Subject) {
    let answer = subject.get(&subject.repository().tags()).is(&[200, 404]);
    if answer.status == 200 {
        let tags = answer.json()["tags"].clone();
        assert!(tags == json!([]) || tags == Value::Null, "{tags}");
    }
}

/// "The list of tags MUST be in lexical order".
pub fn lists_tags(subject: &Subject) {
    let repository = tagged(subject);
    let list = tags(repository, "");
    if subject.departs(Departure::WholeTagList) {
        assert_eq!(strings(&list), ["a", "b", "c", "d"]);
        return;
    }
    assert_eq!(list, json!(["a", "b", "c", "d"]));
}

/// `n` and `last`, one and both, and a `Link` to what follows.
pub fn lists_tags_after_another(subject: &Subject) {
    let repository = tagged(subject);
    if subject.departs(Departure::WholeTagList) {
        let list = tags(repository, "?n=1&last=b");
        assert_eq!(strings(&list), ["a", "b", "c", "d"]);
        return;
    }
    assert_eq!(tags(repository, "?n=2"), json!(["a", "b"]));
    assert_eq!(tags(repository, "?last=b"), json!(["c", "d"]));
    let part = subject.get(&format!("{}?n=1&last=b", repository.tags()));
    assert_eq!(part.json()["tags"], json!(["c"]));
    let link = part.header("Link").unwrap_or_default();
    let (next, relation) = link.split_once('>').unwrap_or_default();
    assert_eq!(relation.replace(' ', ""), ";rel=\"next\"", "{link}");
    let next = subject.get(next.trim_start_matches('<')).is(&[200]);
    assert_eq!(next.json()["tags"], json!(["d"]));
}

/// What nothing refers to has an empty list, whether it is there or not.
pub fn lists_no_referrers_of_what_has_none(subject: &Subject) {
    let repository = subject.repository();
    let image = repository.image(1, &json!({}));
    repository.put_manifest("v1", &image);
    for digest in [&image.digest, &sha256(b"pushed by nobody")] {
        if let Some(list) = referrers(repository, digest, "") {
            assert_eq!(list["manifests"], json!([]), "{digest}");
        }
    }
}

/// "a list of descriptors", with type and annotations, of all that name the digest as their subject.
pub fn lists_referrers(subject: &Subject) {
    let repository = subject.repository();
    let (image, expected) = referred_to(repository);
    if let Some(list) = referrers(repository, &image.digest, "") {
        assert_eq!(sorted(&list["manifests"]), sorted(&expected));
    }
}

/// `artifactType` asks for one type only, and the registry says that it heeded it.
pub fn lists_referrers_of_one_type(subject: &Subject) {
    let repository = subject.repository();
    let (image, expected) = referred_to(repository);
    let wanted = "application/vnd.example.two";
    let Some(list) = referrers(
        repository,
        &image.digest,
        &format!("?artifactType={wanted}"),
    ) else {
        return;
    };
    let expected = expected.as_array().unwrap().iter();
    let expected: Value = expected
        .filter(|referrer| referrer["artifactType"] == wanted)
        .cloned()
        .collect();
    assert_eq!(sorted(&list["manifests"]), sorted(&expected));
    let target = format!(
        "{}?artifactType={wanted}",
        repository.referrers(&image.digest)
    );
    subject
        .get(&target)
        .says("OCI-Filters-Applied", "artifactType");
}

/// A repository with four tags, not pushed in their order.
fn tagged(subject: &Subject) -> Repository<'_> {
    let repository = subject.repository();
    let image = repository.image(1, &json!({}));
    for tag in ["d", "b", "a", "c"] {
        repository.put_manifest(tag, &image);
    }
    repository
}

fn tags(repository: Repository<'_>, query: &str) -> Value {
    let target = format!("{}{query}", repository.tags());
    let list = repository.subject.get(&target).is(&[200]).json();
    assert_eq!(list["name"], repository.name);
    list["tags"].clone()
}

/// An image, and the descriptors of what refers to it: an image, two artifacts and an index.
fn referred_to(repository: Repository<'_>) -> (Manifest, Value) {
    let image = repository.image(1, &json!({}));
    repository.put_manifest("v1", &image);
    let annotations = json!({"org.opencontainers.conformance": "hello conformance test"});
    let members = json!({"subject": image.descriptor(), "annotations": annotations});
    let mut expected = Vec::new();
    for (tag, artifact_type, manifest) in [
        // Without a type of its own, that of its configuration counts.
        (
            "image",
            "application/vnd.oci.image.config.v1+json",
            repository.image(2, &members),
        ),
        (
            "one",
            "application/vnd.example.one",
            repository.artifact("application/vnd.example.one", &members),
        ),
        (
            "two",
            "application/vnd.example.two",
            repository.artifact("application/vnd.example.two", &members),
        ),
    ] {
        repository.put_manifest(tag, &manifest);
        let mut descriptor = manifest.descriptor();
        descriptor["artifactType"] = artifact_type.into();
        descriptor["annotations"] = annotations.clone();
        expected.push(descriptor);
    }
    let members =
        json!({"subject": image.descriptor(), "artifactType": "application/vnd.example.two"});
    let index = repository.index(&[&image], &members);
    repository.put_manifest("index", &index);
    let mut descriptor = index.descriptor();
    descriptor["artifactType"] = "application/vnd.example.two".into();
    expected.push(descriptor);
    (image, expected.into())
}

/// The referrers as an index, unless the registry has no such list, which is 404.
fn referrers(repository: Repository<'_>, digest: &str, query: &str) -> Option<Value> {
    let subject = repository.subject;
    let answer = subject.get(&format!("{}{query}", repository.referrers(digest)));
    if subject.departs(Departure::NoReferrers) {
        answer.is(&[404]);
        return None;
    }
    let answer = answer.is(&[200]).says("Content-Type", INDEX);
    let list = answer.json();
    assert_eq!(
        (&list["schemaVersion"], &list["mediaType"]),
        (&json!(2), &json!(INDEX))
    );
    Some(list)
}

/// In the order of their digests: the specification has none.
fn sorted(descriptors: &Value) -> Vec<Value> {
    let mut descriptors = descriptors.as_array().unwrap().clone();
    descriptors.sort_by_key(|descriptor| descriptor["digest"].to_string());
    descriptors
}

/// The strings of a list, in their own order.
fn strings(list: &Value) -> Vec<&str> {
    let list = list.as_array().unwrap().iter();
    let mut strings: Vec<&str> = list.map(|string| string.as_str().unwrap()).collect();
    strings.sort_unstable();
    strings
}
