//! "Pushing blobs", "Cancel a blob upload", "Mounting a blob from another repository".

use super::repository::{LAYER, OCTETS, Repository};
use super::wire::{Answer, Body, with_parameter};
use super::{Departure, Subject};
use crate::{noise, sha256, sha512};

/// The ways to push a blob.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    PostAlone,
    PostAndPut,
    /// Every chunk by PATCH.
    Chunks,
    /// The last chunk by PUT.
    ChunksAndPut,
    Stream,
}

const WAYS: [Way; 5] = [
    Way::PostAlone,
    Way::PostAndPut,
    Way::Chunks,
    Way::ChunksAndPut,
    Way::Stream,
];

/// "POST then PUT".
pub fn takes_a_blob_by_post_and_put(subject: &Subject) {
    arrives(subject, Way::PostAndPut);
}

/// "Single POST".
pub fn takes_a_blob_by_post_alone(subject: &Subject) {
    arrives(subject, Way::PostAlone);
}

/// "Pushing a blob in chunks": one of them or several, the last one by PATCH or by PUT.
pub fn takes_a_blob_in_chunks(subject: &Subject) {
    arrives(subject, Way::Chunks);
    arrives(subject, Way::ChunksAndPut);
    let octets = noise(2, 512);
    let repository = subject.repository();
    let target = repository.open_upload();
    let sent = patch(repository, &target, &octets, Some(0)).is(&[202]);
    let whole = close(repository, sent.location(), &sha256(&octets), b"", None).is(&[201]);
    repository.has_blob(whole.location(), &sha256(&octets), &octets);
}

/// A PATCH without `Content-Range`, of which the length is not known before: nothing in the specification forbids it, all
/// clients of old do it, and the conformance tests want it.
pub fn takes_a_blob_as_a_stream(subject: &Subject) {
    arrives(subject, Way::Stream);
}

/// "Chunks MUST be uploaded in order", and a GET tells how to go on.
pub fn refuses_chunks_out_of_order(subject: &Subject) {
    let repository = subject.repository();
    let octets = noise(3, 3000);
    let digest = sha256(&octets);
    if subject.departs(Departure::BlindAppend) {
        let opened = repository.open_upload();
        let sent = patch(repository, &opened, &octets[1000..2000], Some(1000)).is(&[202]);
        sent.says("Range", "0-999");
        return;
    }
    let opened = repository.open_upload();
    patch(repository, &opened, &octets[1000..2000], Some(1000)).is(&[416]);
    let status = subject.get(&opened).is(&[204]);
    let first = patch(repository, status.location(), &octets[..1000], Some(0)).is(&[202]);
    let first = first.says("Range", "0-999");
    // Ahead, and once more from the beginning; by PATCH, and by the PUT that would be the last.
    patch(repository, first.location(), &octets[2000..], Some(2000)).is(&[416]);
    let status = subject
        .get(first.location())
        .is(&[204])
        .says("Range", "0-999");
    patch(repository, status.location(), &octets[..1000], Some(0)).is(&[416]);
    let status = subject
        .get(first.location())
        .is(&[204])
        .says("Range", "0-999");
    close(
        repository,
        status.location(),
        &digest,
        &octets[2000..],
        Some(2000),
    )
    .is(&[416]);
    let status = subject
        .get(first.location())
        .is(&[204])
        .says("Range", "0-999");
    let second = patch(
        repository,
        status.location(),
        &octets[1000..2000],
        Some(1000),
    )
    .is(&[202]);
    let second = second.says("Range", "0-1999");
    let whole = close(
        repository,
        second.location(),
        &digest,
        &octets[2000..],
        Some(2000),
    )
    .is(&[201]);
    repository.has_blob(whole.location(), &digest, &octets);
}

/// "Cancel a blob upload": 204, and the upload is gone.
pub fn cancels_an_upload(subject: &Subject) {
    let repository = subject.repository();
    let opened = repository.open_upload();
    subject.delete(&opened).is(&[204]);
    patch(repository, &opened, b"too late", Some(0)).is(&[404]);
}

/// "Mounting a blob from another repository".
pub fn mounts_a_blob(subject: &Subject) {
    let (one, two) = (subject.repository(), subject.other_repository());
    mounts(subject, Departure::NoMount, &format!("&from={}", two.name));
    // A mount is not a move.
    let digest = sha256(&noise(5, 512));
    two.has_blob(&two.blob(&digest), &digest, &noise(5, 512));
    one.has_blob(&one.blob(&digest), &digest, &noise(5, 512));
}

/// "The registry MAY treat the `from` parameter as optional".
pub fn mounts_a_blob_from_anywhere(subject: &Subject) {
    mounts(subject, Departure::NoAnonymousMount, "");
}

/// A mount of what is not there is an upload: 202, and where it goes.
pub fn mounts_nothing_that_is_missing(subject: &Subject) {
    let (one, two) = (subject.repository(), subject.other_repository());
    let octets = noise(6, 512);
    let digest = sha256(&octets);
    let target = format!("{}?mount={digest}&from={}", one.uploads(), two.name);
    let opened = subject.post(&target).is(&[202]);
    let whole = close(one, opened.location(), &digest, &octets, None).is(&[201]);
    one.has_blob(whole.location(), &digest, &octets);
}

/// Blobs of no octets, and of the two that the image specification names "empty".
pub fn takes_the_smallest_blobs(subject: &Subject) {
    for octets in [b"".as_slice(), b"{}"] {
        for way in [Way::PostAlone, Way::PostAndPut] {
            let repository = subject.repository();
            let whole = push(repository, octets, &sha256(octets), way).is(&[201]);
            repository.has_blob(whole.location(), &sha256(octets), octets);
        }
    }
}

/// "if the client provided digest is invalid … 400 Bad Request", whichever way the blob came; and nothing is left of it.
pub fn refuses_a_blob_with_another_digest(subject: &Subject) {
    let repository = subject.repository();
    for way in WAYS {
        let digest = sha256(format!("promised {way:?}").as_bytes());
        push(repository, &noise(7, 3000), &digest, way).is(&[400]);
        subject.head(&repository.blob(&digest)).is(&[404]);
    }
    let nonsense = "sha256:baddigeststring";
    close(
        repository,
        &repository.open_upload(),
        nonsense,
        b"octets",
        None,
    )
    .is(&[400]);
}

/// Digests of another algorithm, whichever way the blob came.
pub fn takes_blobs_named_by_sha512(subject: &Subject) {
    let repository = subject.repository();
    for (seed, way) in (10..).zip(WAYS) {
        let octets = noise(seed, 3000);
        let digest = sha512(&octets);
        let whole = push(repository, &octets, &digest, way).is(&[201]);
        repository.has_blob(whole.location(), &digest, &octets);
        repository.has_blob(&repository.blob(&digest), &digest, &octets);
    }
}

/// Pushes a blob this way; it is then where the registry says, and under its digest.
fn arrives(subject: &Subject, way: Way) {
    let repository = subject.repository();
    let octets = noise(way as u64, 3000);
    let digest = sha256(&octets);
    let whole = push(repository, &octets, &digest, way).is(&[201]);
    repository.has_blob(whole.location(), &digest, &octets);
    repository.has_blob(&repository.blob(&digest), &digest, &octets);
}

/// Mounts a blob of the other repository into the first, or sees it refused politely.
fn mounts(subject: &Subject, unless: Departure, from: &str) {
    let (one, two) = (subject.repository(), subject.other_repository());
    let octets = noise(5, 512);
    let digest = sha256(&octets);
    two.put_blob(LAYER, &octets);
    let asked = subject.post(&format!("{}?mount={digest}{from}", one.uploads()));
    let is_refused = subject.departs(unless) || subject.departs(Departure::NoMount);
    let mounted = if is_refused {
        close(one, asked.is(&[202]).location(), &digest, &octets, None)
    } else {
        asked
    };
    one.has_blob(mounted.is(&[201]).location(), &digest, &octets);
}

/// Pushes octets under a digest, theirs or not; returns the last answer.
fn push(repository: Repository<'_>, octets: &[u8], digest: &str, way: Way) -> Answer {
    let subject = repository.subject;
    match way {
        Way::PostAlone => {
            let target = with_parameter(&repository.uploads(), "digest", digest);
            let answer = subject.send("POST", &target, &OCTETS, Body::Whole(octets));
            if !subject.departs(Departure::NoSinglePost) {
                return answer;
            }
            close(
                repository,
                answer.is(&[202]).location(),
                digest,
                octets,
                None,
            )
        }
        Way::PostAndPut => close(repository, &repository.open_upload(), digest, octets, None),
        Way::Chunks | Way::ChunksAndPut => in_chunks(repository, octets, digest, way),
        Way::Stream => {
            let sent = subject.send(
                "PATCH",
                &repository.open_upload(),
                &OCTETS,
                Body::Stream(octets),
            );
            close(repository, sent.is(&[202]).location(), digest, b"", None)
        }
    }
}

/// Pushes octets in three chunks, longer ones if the registry wants that.
fn in_chunks(repository: Repository<'_>, octets: &[u8], digest: &str, way: Way) -> Answer {
    let opened = repository.subject.post(&repository.uploads()).is(&[202]);
    let least = opened
        .header("OCI-Chunk-Min-Length")
        .map_or(0, |least| least.parse().unwrap());
    let length = least.max(octets.len() / 3 + 1);
    let mut location = opened.location().to_owned();
    let mut sent = 0;
    while octets.len() - sent > length || way == Way::Chunks && sent < octets.len() {
        let end = octets.len().min(sent + length);
        let answer = patch(repository, &location, &octets[sent..end], Some(sent)).is(&[202]);
        let answer = answer.says("Range", &format!("0-{}", end - 1));
        answer.location().clone_into(&mut location);
        sent = end;
    }
    let rest = Some(sent).filter(|_| sent < octets.len());
    close(repository, &location, digest, &octets[sent..], rest)
}

fn patch(repository: Repository<'_>, target: &str, octets: &[u8], at: Option<usize>) -> Answer {
    send_chunk(repository, "PATCH", target, octets, at)
}

/// Ends an upload, with its last octets if there are some.
fn close(
    repository: Repository<'_>,
    location: &str,
    digest: &str,
    octets: &[u8],
    at: Option<usize>,
) -> Answer {
    let target = with_parameter(location, "digest", digest);
    send_chunk(repository, "PUT", &target, octets, at)
}

fn send_chunk(
    repository: Repository<'_>,
    method: &str,
    target: &str,
    octets: &[u8],
    at: Option<usize>,
) -> Answer {
    let range = at.map(|first| format!("{first}-{}", first + octets.len() - 1));
    let mut headers = OCTETS.to_vec();
    headers.extend(range.iter().map(|range| ("Content-Range", range.as_str())));
    repository
        .subject
        .send(method, target, &headers, Body::Whole(octets))
}
