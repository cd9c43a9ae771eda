//! What must be so at every registry: one test per registry and case.
//!
//! What a registry lacks is declared with it, and then the case says what the client makes of that: the same outcome by
//! another way, or a clear error. Everything goes through a relay that counts, so that "was not sent again" is a number.

use std::fs;
use std::io::Write as _;

use sealift_oci::{Descriptor, Digest, MediaType};
use sealift_registry::{Begun, Error, RawManifest, Transport};
use sealift_testkit::image::{Format, Image, ImageBuilder, IndexBuilder, Layer, Packing, Tar};
use sealift_testkit::noise;

use crate::lab::{Unread, copy, descriptor, is_broken_connection, read, sink, source, write};
use crate::places::{Lack, Login, Place};
use crate::referrers::referrer;
use crate::relay::Way;

fn image(seed: u64) -> Image {
    let layer = |seed, packing| Layer::new(Tar::new().file("a", &noise(seed, 40_000)), packing);
    ImageBuilder::new(Format::Oci)
        .layer(layer(seed, Packing::Plain))
        .layer(layer(seed + 1, Packing::Gzip))
        .layer(layer(seed + 2, Packing::Zstd))
        .build()
}

fn index() -> Image {
    IndexBuilder::new(Format::Oci).child(image(1)).build()
}

/// Octets that take many chunks, and more than one part of a parallel pull.
const LONG: usize = 5_000_000;

/// A folder that is a layout with one blob, or with what a killed process left of it.
fn layout_with(name: &str, octets: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("blobs/sha256")).unwrap();
    let marker = r#"{"imageLayoutVersion":"1.0.0"}"#;
    fs::write(folder.path().join("oci-layout"), marker).unwrap();
    fs::write(folder.path().join("blobs").join(name), octets).unwrap();
    folder
}

/// Copies one blob out of a layout to a registry.
fn push_blob(place: &Place, octets: &[u8], name: &str) -> Result<bool, Error> {
    let blob = descriptor(octets);
    let folder = layout_with(&format!("sha256/{}", blob.digest().hex()), octets);
    let transport = place.transport();
    let from = source(transport, &format!("oci:{}:v1", folder.path().display()));
    sink(transport, &place.name(name)).copy_blob(&blob, &*from)
}

fn an_image_is_pushed_and_pulled_as_it_is(place: &Place) {
    let image = image(1);
    place.push(&image, "demo/app:v1").unwrap();
    // Again: everything is there, and the tag is moved to where it is.
    place.push(&image, "demo/app:v1").unwrap();
    let from = place.source("demo/app:v1");
    let root = from.root().unwrap();
    assert_eq!(root.bytes, image.bytes());
    assert_eq!(from.manifest(&root.descriptor()).unwrap(), root);
    let folder = tempfile::tempdir().unwrap();
    let layout = format!("oci:{}:v1", folder.path().display());
    let transport = place.transport();
    let digest = copy(&*from, &*sink(transport, &layout)).unwrap();
    assert_eq!(digest.to_string(), image.digest());
    // The tag names another image from now on.
    place.push(&self::image(7), "demo/app:v1").unwrap();
    let root = place.source("demo/app:v1").root().unwrap();
    assert_eq!(root.bytes, self::image(7).bytes());
}

fn an_index_is_pushed_and_pulled_as_it_is(place: &Place) {
    let pushed = place.push(&index(), "demo/app:v1");
    if place.lacks(Lack::Indexes) {
        let error = pushed.unwrap_err();
        assert!(error.to_string().contains("PUT"), "{error}");
        return;
    }
    pushed.unwrap();
    let from = place.source("demo/app:v1");
    assert_eq!(from.root().unwrap().bytes, index().bytes());
    let folder = tempfile::tempdir().unwrap();
    let layout = format!("oci:{}:v1", folder.path().display());
    let transport = place.transport();
    let digest = copy(&*from, &*sink(transport, &layout)).unwrap();
    assert_eq!(digest.to_string(), index().digest());
}

/// A manifest with these members too, and the blob `{}`.
fn manifest(members: &str) -> RawManifest {
    let text = format!(
        r#"{{"schemaVersion":2,{members}"config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{}","size":2}},"layers":[]}}"#,
        Digest::sha256(b"{}")
    );
    RawManifest::new(text.into(), MediaType::OCI_MANIFEST.parse().unwrap())
}

fn a_manifest_without_media_type_keeps_its_octets(place: &Place) {
    let to = place.sink("demo/app:v1");
    write(&*to, b"{}").unwrap();
    let manifest = manifest("");
    let stored = to.finish(&manifest);
    if place.lacks(Lack::UntypedManifests) {
        let error = stored.unwrap_err();
        assert!(error.to_string().contains("PUT"), "{error}");
        return;
    }
    stored.unwrap();
    let root = place.source("demo/app:v1").root().unwrap();
    assert_eq!(root.bytes, manifest.bytes);
}

fn a_manifest_is_stored_by_its_digest_without_a_tag(place: &Place) {
    let to = place.sink("demo/app:v1");
    write(&*to, b"{}").unwrap();
    let manifest = manifest(&format!(r#""mediaType":"{}","#, MediaType::OCI_MANIFEST));
    let stored = to.put_manifest(&manifest);
    if place.lacks(Lack::ManifestsByDigest) {
        let error = stored.unwrap_err();
        assert!(error.to_string().contains("PUT"), "{error}");
    } else {
        stored.unwrap();
        let by_digest = place.source(&format!("demo/app@{}", manifest.digest));
        assert_eq!(by_digest.root().unwrap().bytes, manifest.bytes);
    }
    let error = place.source("demo/app:v1").root().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("manifest `v1` was not found at {}/demo/app", place.host)
    );
}

fn a_blob_goes_in_one_request_or_in_many(place: &Place) {
    let to = place.sink("demo/app:v1");
    let chunk = (place.options)().chunk_size;
    for len in [0, 1, chunk, chunk + 1, 10 * chunk + 1] {
        let octets = noise(9, len);
        let blob = descriptor(&octets);
        // First as if its digest were known at the end only, then under another content with it.
        match write(&*to, &octets) {
            Err(error) if place.lacks(Lack::Chunks) && len > chunk => {
                assert!(error.is_lost_upload(), "{error}");
                assert!(!to.has_blob(blob.digest(), len as u64).unwrap());
                continue;
            }
            written => assert_eq!(written.unwrap(), *blob.digest()),
        }
        assert!(to.has_blob(blob.digest(), len as u64).unwrap());
        assert!(read(&*place.source("demo/app:v1"), &blob).unwrap() == octets);
        let octets = noise(10, len + 1);
        let pushed = push_blob(place, &octets, "demo/app:v1");
        assert!(pushed.unwrap());
        assert!(read(&*place.source("demo/app:v1"), &descriptor(&octets)).unwrap() == octets);
    }
}

fn a_blob_that_is_there_is_not_sent_again(place: &Place) {
    let octets = noise(1, 60_000);
    assert!(push_blob(place, &octets, "demo/app:v1").unwrap());
    place.relay.take_counts();
    assert!(!push_blob(place, &octets, "demo/app:v1").unwrap());
    let (up, _) = place.relay.take_counts();
    assert!(up < 20_000, "{up}");
}

fn a_blob_under_another_digest_is_refused(place: &Place) {
    let to = place.sink("demo/app:v1");
    let other = Digest::sha256(b"other");
    let mut writer = to.blob(None).unwrap();
    writer.write_all(b"small").unwrap();
    let error = writer.commit(&other, 5).unwrap_err();
    assert!(
        matches!(error, Error::Mismatch { .. } | Error::Network { .. }),
        "{error}"
    );
    assert!(!to.has_blob(&other, 5).unwrap());
}

fn a_pull_that_breaks_off_is_continued(place: &Place) {
    let octets = noise(1, LONG);
    let blob = descriptor(&octets);
    put(place, &octets, "demo/app:v1");
    place.relay.take_counts();
    place.relay.cut(Way::Down, 2_000_000);
    assert!(read(&*place.source("demo/app:v1"), &blob).unwrap() == octets);
    let (_, down) = place.relay.take_counts();
    let twice = LONG as u64 + 2_000_000;
    assert_eq!(down < twice, !place.lacks(Lack::Ranges), "{down}");
}

fn a_pull_goes_on_behind_what_a_killed_process_left(place: &Place) {
    let octets = noise(1, LONG);
    let blob = descriptor(&octets);
    put(place, &octets, "demo/app:v1");
    let left = format!(".sealift-partial-sha256-{}-aB3x", blob.digest().hex());
    let folder = layout_with(&left, &octets[..4_000_000]);
    let transport = place.transport();
    let to = sink(transport, &format!("oci:{}:v1", folder.path().display()));
    place.relay.take_counts();
    assert!(to.copy_blob(&blob, &*place.source("demo/app:v1")).unwrap());
    let (_, down) = place.relay.take_counts();
    assert_eq!(down < 2_000_000, !place.lacks(Lack::Ranges), "{down}");
    let written = folder.path().join("blobs/sha256").join(blob.digest().hex());
    assert!(fs::read(written).unwrap() == octets);
}

fn parts_of_a_blob_are_pulled_at_the_same_time(place: &Place) {
    let octets = noise(1, LONG);
    put(place, &octets, "demo/app:v1");
    let mut options = (place.options)();
    options.parallel_ranges = std::num::NonZeroUsize::new(4).unwrap();
    let transport = Transport::new(options).unwrap();
    let from = source(&transport, &place.name("demo/app:v1"));
    assert!(read(&*from, &descriptor(&octets)).unwrap() == octets);
}

/// Stores a long blob, at a registry without chunks in one.
fn put(place: &Place, octets: &[u8], name: &str) {
    let mut options = (place.options)();
    if place.lacks(Lack::Chunks) {
        options.chunk_size = octets.len();
    }
    let transport = Transport::new(options).unwrap();
    write(&*sink(&transport, &place.name(name)), octets).unwrap();
}

fn an_upload_that_breaks_off_ends_well(place: &Place) {
    let octets = noise(1, LONG);
    let blob = descriptor(&octets);
    let folder = layout_with(&format!("sha256/{}", blob.digest().hex()), &octets);
    let mut options = (place.options)();
    if place.lacks(Lack::Chunks) {
        options.chunk_size = LONG;
    }
    let transport = Transport::new(options).unwrap();
    let from = source(&transport, &format!("oci:{}:v1", folder.path().display()));
    let to = sink(&transport, &place.name("demo/app:v1"));
    place.relay.take_counts();
    place.relay.cut(Way::Up, 2_000_000);
    assert!(to.copy_blob(&blob, &*from).unwrap());
    let (up, _) = place.relay.take_counts();
    assert!(read(&*place.source("demo/app:v1"), &blob).unwrap() == octets);
    if !place.lacks(Lack::BrokenChunks) {
        assert!(up < LONG as u64 + 1_500_000, "{up}");
    }
}

/// Begins to upload a blob, with these octets, and stops like a process that is killed.
fn begin_upload(transport: &Transport, place: &Place, blob: &Descriptor, octets: &[u8]) {
    let to = sink(transport, &place.name("demo/app:v1"));
    let Begun::Missing(mut writer) = to.begin(blob, None).unwrap() else {
        unreachable!("the blob is there");
    };
    // At a registry without chunks the second one is too many.
    let written = writer.write_all(octets);
    assert!(written.is_ok() || place.lacks(Lack::Chunks));
}

/// Uploads a blob as another process does; returns from where it went on, at each start.
fn end_upload(transport: &Transport, place: &Place, octets: &[u8]) -> Result<Vec<u64>, Error> {
    let blob = descriptor(octets);
    let to = sink(transport, &place.name("demo/app:v1"));
    let mut starts = Vec::new();
    loop {
        let Begun::Missing(mut writer) = to.begin(&blob, None)? else {
            unreachable!("the blob is there");
        };
        let mut first = None;
        let written = writer.fill(|writer, offset| {
            first.get_or_insert(offset);
            let start = usize::try_from(offset).unwrap();
            writer
                .write_all(&octets[start..])
                .map_err(|error| Error::of_io(&error).unwrap().clone())
        });
        starts.extend(first);
        let outcome = written.and_then(|()| writer.commit(blob.digest(), blob.size()));
        match outcome {
            Err(error) if error.is_lost_upload() && starts.len() < 3 => {}
            outcome => return outcome.map(|()| starts),
        }
    }
}

/// What an earlier process sent is taken, if it is the beginning of the blob, and else does no harm.
fn an_upload_is_continued_by_another_process_and_never_to_a_wrong_blob(place: &Place) {
    for is_right in [true, false] {
        let journal = tempfile::tempdir().unwrap();
        let process = || {
            let mut options = (place.options)();
            options.journal = Some(journal.path().to_owned());
            Transport::new(options).unwrap()
        };
        let octets = noise(if is_right { 4 } else { 5 }, 300_000);
        let blob = descriptor(&octets);
        let sent = if is_right {
            &octets
        } else {
            &noise(6, 300_000)
        };
        begin_upload(&process(), place, &blob, &sent[..200_000]);
        let outcome = end_upload(&process(), place, &octets);
        let starts = outcome.unwrap();
        let expected = match (is_right, place.lacks(Lack::Sessions)) {
            (_, true) => &[0][..],
            (true, false) => &[196_608],
            (false, false) => &[196_608, 0],
        };
        assert_eq!(starts, expected, "{is_right}");
        assert!(read(&*place.source("demo/app:v1"), &blob).unwrap() == octets);
    }
}

fn a_blob_of_another_repository_is_not_moved_where_it_can_be_shown(place: &Place) {
    let octets = noise(1, 60_000);
    let blob = descriptor(&octets);
    assert!(push_blob(place, &octets, "demo/base:v1").unwrap());
    place.relay.take_counts();
    let to = place.sink("demo/app:v1");
    let unread = Unread(place.source("demo/base:v1"));
    if place.lacks(Lack::Mounts) {
        let error = to.copy_blob(&blob, &unread).unwrap_err();
        assert!(error.to_string().ends_with(" was read"), "{error}");
        assert!(to.copy_blob(&blob, &*place.source("demo/base:v1")).unwrap());
    } else {
        assert!(!to.copy_blob(&blob, &unread).unwrap());
        let (up, down) = place.relay.take_counts();
        assert!(up + down < 40_000, "{up} {down}");
    }
    assert!(read(&*place.source("demo/app:v1"), &blob).unwrap() == octets);
    // In a third repository it is not yet.
    let elsewhere = place.sink("demo/third:v1");
    let held = elsewhere.has_blob(blob.digest(), blob.size()).unwrap();
    assert_eq!(held, place.lacks(Lack::RepositoriesOfTheirOwn));
}

fn tags_are_listed(place: &Place) {
    for tag in ["b", "a", "d", "e", "c"] {
        place.push(&image(1), &format!("demo/app:{tag}")).unwrap();
    }
    let listed = place.tags("demo/app");
    if place.lacks(Lack::TagList) {
        let error = listed.unwrap_err();
        let expected = format!(
            "list of tags of `{0}/demo/app` was not found at {0}/demo/app",
            place.host
        );
        assert_eq!(error.to_string(), expected);
        return;
    }
    assert_eq!(listed.unwrap(), ["a", "b", "c", "d", "e"]);
}

fn what_refers_to_an_image_is_listed(place: &Place) {
    place.push(&image(1), "demo/app:v1").unwrap();
    let (from, to) = (place.source("demo/app:v1"), place.sink("demo/app:v1"));
    let root = from.root().unwrap();
    write(&*to, b"{}").unwrap();
    let listed = || -> Vec<String> {
        let listed = from.referrers(&root.digest).unwrap();
        let mut digests: Vec<_> = listed.iter().map(|one| one.digest().to_string()).collect();
        digests.sort();
        digests
    };
    assert_eq!(listed(), [""; 0]);
    let both = [
        referrer(&root, "a/sbom", "1"),
        referrer(&root, "a/sig", "2"),
    ];
    if place.lacks(Lack::ManifestsByDigest) {
        let error = to.attach(&both[0], None).unwrap_err();
        assert!(error.to_string().contains("PUT"), "{error}");
        assert_eq!(listed(), [""; 0]);
        return;
    }
    for one in &both {
        to.attach(one, None).unwrap();
    }
    let mut expected: Vec<_> = both.iter().map(|one| one.digest.to_string()).collect();
    expected.sort();
    assert_eq!(listed(), expected);
    to.attach(&both[0], Some("other")).unwrap();
    assert_eq!(listed(), expected);
    // Where the registry keeps no list, there is one under a tag.
    let mut tags = vec!["other".to_owned(), "v1".to_owned()];
    if place.lacks(Lack::Referrers) {
        tags.insert(1, root.digest.to_string().replace(':', "-"));
    }
    assert_eq!(place.tags("demo/app").unwrap(), tags);
    let transport = place.transport();
    let reference = place.reference("demo/app:v1");
    let deleted = transport
        .client()
        .delete_manifest(&reference, &both[0].digest);
    transport.runtime().block_on(deleted).unwrap();
    assert_eq!(listed(), [both[1].digest.to_string()]);
}

fn a_manifest_is_deleted_or_the_registry_says_that_it_deletes_none(place: &Place) {
    place.push(&image(1), "demo/app:v1").unwrap();
    let transport = place.transport();
    let reference = place.reference("demo/app:v1");
    let client = transport.client();
    let digest = transport.runtime().block_on(client.digest(&reference));
    let digest = digest.unwrap();
    assert_eq!(digest.to_string(), image(1).digest());
    let deleted = client.delete_manifest(&reference, &digest);
    let deleted = transport.runtime().block_on(deleted);
    let root = place.source("demo/app:v1").root();
    if place.lacks(Lack::Deletion) {
        let error = deleted.unwrap_err().to_string();
        let begin = format!("{} does not let manifests be deleted (", place.host);
        assert!(error.starts_with(&begin), "{error}");
        assert_eq!(root.unwrap().digest, digest);
        return;
    }
    deleted.unwrap();
    assert!(matches!(root.unwrap_err(), Error::NotFound { .. }));
}

fn a_stranger_is_let_in_only_where_nobody_has_to_log_in(place: &Place) {
    place.push(&image(1), "demo/app:v1").unwrap();
    let stranger = place.stranger();
    let name = place.name("demo/app:v1");
    let pulled = source(&stranger, &name)
        .root()
        .map(|root| root.digest.to_string());
    let pushed = write(&*sink(&stranger, &name), b"x");
    if place.login == Login::NotNeeded {
        assert_eq!(pulled.unwrap(), image(1).digest());
        assert_eq!(pushed.unwrap(), Digest::sha256(b"x"));
        return;
    }
    for error in [pulled.unwrap_err(), pushed.unwrap_err()] {
        assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    }
}

fn a_registry_that_is_gone_is_a_network_error(place: &Place) {
    // Every connection that is tried is broken by the relay; the last one is not.
    let blob = descriptor(&noise(1, 60_000));
    assert!(push_blob(place, &noise(1, 60_000), "demo/app:v1").unwrap());
    let mut options = (place.options)();
    options.retry.attempts = 1;
    let transport = Transport::new(options).unwrap();
    let from = source(&transport, &place.name("demo/app:v1"));
    place.relay.take_counts();
    place.relay.cut(Way::Down, 30_000);
    let error = read(&*from, &blob).unwrap_err();
    assert!(is_broken_connection(&error), "{error}");
    assert!(error.may_retry());
    assert!(read(&*from, &blob).unwrap() == noise(1, 60_000));
}

/// Makes one test of each case at a registry.
macro_rules! at {
    ($(#[$condition:meta])? $registry:ident) => {
        $(#[$condition])?
        mod $registry {
            at! { @ $registry
                an_image_is_pushed_and_pulled_as_it_is
                an_index_is_pushed_and_pulled_as_it_is
                a_manifest_without_media_type_keeps_its_octets
                a_manifest_is_stored_by_its_digest_without_a_tag
                a_blob_goes_in_one_request_or_in_many
                a_blob_that_is_there_is_not_sent_again
                a_blob_under_another_digest_is_refused
                a_blob_of_another_repository_is_not_moved_where_it_can_be_shown
                a_pull_that_breaks_off_is_continued
                a_pull_goes_on_behind_what_a_killed_process_left
                parts_of_a_blob_are_pulled_at_the_same_time
                an_upload_that_breaks_off_ends_well
                an_upload_is_continued_by_another_process_and_never_to_a_wrong_blob
                tags_are_listed
                what_refers_to_an_image_is_listed
                a_manifest_is_deleted_or_the_registry_says_that_it_deletes_none
                a_stranger_is_let_in_only_where_nobody_has_to_log_in
                a_registry_that_is_gone_is_a_network_error
            }
        }
    };
    (@ $registry:ident $($case:ident)+) => {
        $(
            #[test]
            fn $case() {
                // Nothing where the registry is not installed, which was said by then.
                if let Some(place) = crate::places::$registry() {
                    super::$case(&place);
                }
            }
        )+
    };
}

at! { testkit }
at! { testkit_with_tls_and_tokens_that_die }
at! { testkit_with_little_more_than_it_must }
at! { #[cfg(target_os = "linux")] docker_registry }
at! { #[cfg(target_os = "linux")] docker_registry_with_tls_and_a_password }
at! { #[cfg(target_os = "linux")] docker_registry_with_tokens }
at! { #[cfg(target_os = "linux")] container_registry }
