//! "Content Management": what is deleted is gone at once, and nothing else with it.

use serde_json::json;

use super::repository::LAYER;
use super::{Departure, Subject};
use crate::{noise, sha256};

/// "Deleting tags": the manifest stays.
pub fn deletes_a_tag(subject: &Subject) {
    let repository = subject.repository();
    let image = repository.image(1, &json!({}));
    repository.put_manifest("v1", &image);
    repository.put_manifest("v2", &image);
    let answer = subject.delete(&repository.manifest("v1"));
    if subject.departs(Departure::NoTagDeletion) {
        answer.is(&[400, 405]);
        repository.is_served(&repository.manifest("v1"), &image);
        return;
    }
    answer.is(&[202]);
    repository
        .ask_for_manifest("HEAD", &repository.manifest("v1"))
        .is(&[404]);
    for reference in ["v2", &image.digest] {
        repository.is_served(&repository.manifest(reference), &image);
    }
    assert_eq!(
        subject.get(&repository.tags()).json()["tags"],
        json!(["v2"])
    );
}

/// "Deleting Manifests": its tags go with it, its blobs stay.
pub fn deletes_a_manifest(subject: &Subject) {
    let repository = subject.repository();
    let image = repository.image(1, &json!({}));
    repository.put_manifest("v1", &image);
    subject
        .delete(&repository.manifest(&image.digest))
        .is(&[202]);
    for reference in ["v1", &image.digest] {
        let target = repository.manifest(reference);
        repository.ask_for_manifest("HEAD", &target).is(&[404]);
        repository.ask_for_manifest("GET", &target).is(&[404]);
    }
    subject
        .head(&repository.blob(&sha256(&noise(0, 512))))
        .is(&[200]);
    subject
        .delete(&repository.manifest(&image.digest))
        .is(&[404]);
}

/// "Deleting Blobs": from one repository only.
pub fn deletes_a_blob(subject: &Subject) {
    let (one, two) = (subject.repository(), subject.other_repository());
    let octets = noise(1, 512);
    let digest = sha256(&octets);
    for repository in [one, two] {
        repository.put_blob(LAYER, &octets);
    }
    subject.delete(&one.blob(&digest)).is(&[202]);
    subject.get(&one.blob(&digest)).is(&[404]);
    subject.head(&one.blob(&digest)).is(&[404]);
    two.has_blob(&two.blob(&digest), &digest, &octets);
    subject.delete(&one.blob(&digest)).is(&[404]);
}
