//! "Determining Support" and "Pull".

use serde_json::json;

use super::repository::LAYER;
use super::wire::Body;
use super::{Departure, Subject};
use crate::{noise, sha256};

/// "Determining Support": the version check needs no repository.
pub fn answers_the_version_check(subject: &Subject) {
    subject.get("/v2/").is(&[200]);
}

/// "Pulling manifests", "Checking if content exists": by tag and by digest, with GET and HEAD.
pub fn serves_a_manifest(subject: &Subject) {
    let repository = subject.repository();
    let image = repository.image(2, &json!({}));
    repository.try_manifest("v1", &image).is(&[201]);
    for reference in ["v1", &image.digest] {
        repository.is_served(&repository.manifest(reference), &image);
    }
}

/// "Pulling blobs", "Checking if content exists".
pub fn serves_a_blob(subject: &Subject) {
    let repository = subject.repository();
    let octets = noise(1, 2048);
    repository.put_blob(LAYER, &octets);
    let digest = sha256(&octets);
    repository.has_blob(&repository.blob(&digest), &digest, &octets);
}

/// "Pulling blobs": `Range` as in RFC 9110, section 14.2.
pub fn serves_parts_of_a_blob(subject: &Subject) {
    let repository = subject.repository();
    let octets = noise(1, 2048);
    repository.put_blob(LAYER, &octets);
    let target = repository.blob(&sha256(&octets));
    let ask = |range: &str| {
        let range = [("Range", range)];
        subject.send("GET", &target, &range, Body::Whole(b""))
    };
    let has_ranges = !subject.departs(Departure::NoRanges);
    for (range, first, end) in [
        ("bytes=500-1499", 500, 1500),
        ("bytes=500-", 500, 2048),
        ("bytes=-500", 1548, 2048),
        ("bytes=2000-5000", 2000, 2048),
    ] {
        let answer = ask(range);
        if has_ranges {
            let part = answer.is(&[206]).holds(&octets[first..end]);
            part.says("Content-Range", &format!("bytes {first}-{}/2048", end - 1));
        } else {
            answer.is(&[200]).holds(&octets);
        }
    }
    for range in ["bytes=500-0", "bytes=5000-10000"] {
        let answer = ask(range);
        if has_ranges {
            answer.is(&[416]);
        } else {
            answer.is(&[200]).holds(&octets);
        }
    }
}

/// "Pulling manifests", "Pulling blobs": what is not there is 404, and so is a repository that is not.
pub fn finds_nothing_where_nothing_is(subject: &Subject) {
    let digest = sha256(b"pushed by nobody");
    let (full, empty) = (subject.repository(), subject.other_repository());
    full.put_manifest("v1", &full.image(1, &json!({})));
    for repository in [full, empty] {
        for target in [
            repository.blob(&digest),
            repository.manifest(&digest),
            repository.manifest("missing"),
        ] {
            subject.get(&target).is(&[404]);
            subject.head(&target).is(&[404]);
        }
        // What is no digest has no code of its own: it is refused, or nothing is there.
        let expected: &[u16] = match subject.departs(Departure::NoDigestCheck) {
            true => &[500],
            false => &[400, 404],
        };
        let target = repository.manifest("sha256:baddigeststring");
        subject.get(&target).is(expected);
    }
}
