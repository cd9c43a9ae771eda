//! Blobs that are known beforehand, on their way to a registry.

use std::path::Path;

use sealift_registry::{Credential, Error, Mismatch, Options, Secret, Transport};
use sealift_testkit::noise;
use sealift_testkit::registry::{
    Auth, Bearer, Chunks, Effect, Fault, Operation, Options as Serving, Registry, RunningRegistry,
};

use crate::lab::{descriptor, options, sink, source, write};

/// Copies a blob that is in a layout, after something was done to its file.
fn copied(
    registry: &RunningRegistry,
    options: Options,
    octets: &[u8],
    change: impl FnOnce(&Path),
) -> Result<(), Error> {
    let folder = tempfile::tempdir().unwrap();
    let transport = Transport::new(options).unwrap();
    let local = format!("oci:{}:v1", folder.path().display());
    let from = sink(&transport, &local);
    write(&*from, octets).unwrap();
    let blob = descriptor(octets);
    change(&folder.path().join("blobs/sha256").join(blob.digest().hex()));
    let to = format!("docker://{}/demo/app:v1", registry.host());
    let is_moved = sink(&transport, &to).copy_blob(&blob, &*source(&transport, &local))?;
    assert!(is_moved);
    Ok(())
}

/// Copies a blob that is in a layout; returns how long the chunks were.
fn chunks_of(registry: &RunningRegistry, options: Options, octets: &[u8]) -> Vec<u64> {
    copied(registry, options, octets, |_| ()).unwrap();
    let blob = descriptor(octets);
    let held = registry.blob("demo/app", &blob.digest().to_string());
    assert!(held.unwrap() == octets);
    assert_eq!(registry.open_uploads(), 0);
    let log = registry.log();
    let chunks = log
        .iter()
        .filter(|entry| entry.operation == Operation::PatchUpload);
    chunks.map(|entry| entry.received).collect()
}

#[test]
fn requests_of_a_known_blob_grow_and_it_is_sent_once() {
    let registry = Registry::start(Serving::default());
    let chunk: usize = 64 * 1024;
    let sizes = |factors: &[usize], rest: usize| {
        let whole = factors.iter().map(|factor| factor * chunk);
        let all = whole.chain([rest]).map(|len| len as u64);
        all.collect::<Vec<_>>()
    };
    let octets = noise(1, 50 * chunk + 7);
    let expected = sizes(&[1, 2, 4, 8, 16, 16], 3 * chunk + 7);
    assert_eq!(chunks_of(&registry, options(), &octets), expected);
    // What fits one request takes one, and what is short goes with the closing one.
    registry.clear_log();
    let octets = noise(2, chunk + 1);
    assert_eq!(chunks_of(&registry, options(), &octets), sizes(&[1], 1));
    registry.clear_log();
    let octets = noise(3, chunk);
    assert_eq!(chunks_of(&registry, options(), &octets), [0; 0]);
}

#[test]
fn requests_of_a_known_blob_stay_under_the_registrys_limit() {
    let registry = Registry::start(Serving {
        max_chunk: Some(4 << 20),
        ..Serving::default()
    });
    let mut options = options();
    options.chunk_size = 6 << 20;
    let octets = noise(1, 9 << 20);
    let taken = chunks_of(&registry, options, &octets);
    // The first is refused before it has arrived.
    let (_, taken) = taken.split_first().unwrap();
    assert_eq!(taken, [4 << 20, 4 << 20, 1 << 20]);
}

#[test]
fn requests_of_a_known_blob_are_as_long_as_the_registry_wants_them() {
    let registry = Registry::start(Serving {
        min_chunk: Some(200_000),
        ..Serving::default()
    });
    let taken = chunks_of(&registry, options(), &noise(1, 500_000));
    assert_eq!(taken, [200_000, 200_000, 100_000]);
}

#[test]
fn requests_of_a_known_blob_get_shorter_after_a_break() {
    let registry = Registry::start(Serving::default());
    registry.set_fault(Fault::on(Operation::PatchUpload, Effect::HangUp));
    let mut options = options();
    options.chunk_size = 16 << 20;
    let taken = chunks_of(&registry, options, &noise(1, 9 << 20));
    let (_, taken) = taken.split_first().unwrap();
    assert_eq!(taken, [4 << 20, 5 << 20]);
}

/// A registry that wants a login, and the options of somebody who has it.
fn with_login() -> (RunningRegistry, Options) {
    let registry = Registry::start(Serving {
        auth: Auth::Bearer(Bearer {
            credentials: Some(("me".into(), "pw".into())),
            ..Bearer::default()
        }),
        ..Serving::default()
    });
    let mut options = options();
    options.credentials.explicit = Some(Credential::new("me".into(), Secret::new("pw".into())));
    (registry, options)
}

#[test]
fn requests_of_a_known_blob_stay_short_where_logins_die() {
    let (registry, options) = with_login();
    registry.set_fault(Fault::on(Operation::PatchUpload, Effect::ExpireToken).after(2));
    let chunk = 64 * 1024;
    let taken = chunks_of(&registry, options, &noise(1, 6 * 64 * 1024));
    let (refused, rest) = taken.get(2..).unwrap().split_first().unwrap();
    assert!(*refused <= 3 * chunk, "{refused}");
    assert_eq!(rest, [chunk; 3]);
}

#[test]
fn a_login_that_dies_before_octets_are_given_again_is_renewed_some_times_only() {
    for (times, is_sent) in [(3, true), (4, false)] {
        let (registry, options) = with_login();
        let dies = Fault::on(Operation::PatchUpload, Effect::ExpireToken);
        registry.set_fault(dies.after(2).times(times));
        let sent = copied(&registry, options, &noise(1, 400_000), |_| ());
        match sent {
            Ok(()) => assert!(is_sent),
            Err(error) => {
                assert!(
                    !is_sent && matches!(error, Error::Unauthorized { .. }),
                    "{error}"
                );
            }
        }
        assert_eq!(registry.pending_faults(), 0);
    }
}

#[test]
fn a_damaged_blob_is_found_out_though_its_beginning_is_not_read_twice() {
    for effect in [Effect::ExpireToken, Effect::HangUpAfter(10_000)] {
        let (registry, options) = with_login();
        registry.set_fault(Fault::on(Operation::PatchUpload, effect).after(2));
        // So long that the break comes before the source has read, and so compared, all of it.
        let octets = noise(1, 1_500_000);
        let damaged = copied(&registry, options, &octets, |blob| {
            let mut octets = octets.clone();
            octets[7] ^= 1;
            std::fs::write(blob, octets).unwrap();
        });
        let Err(Error::Mismatch {
            place,
            mismatch: Mismatch::Digest { .. },
            ..
        }) = &damaged
        else {
            panic!("{damaged:?}");
        };
        assert!(!place.contains(&registry.host()), "{place}");
        assert_eq!(registry.pending_faults(), 0);
    }
}

#[test]
fn a_break_after_which_more_had_arrived_does_not_count() {
    // More breaks than a request has attempts, and each leaves some octets there.
    let registry = Registry::start(Serving::default());
    let breaks = Effect::HangUpAfter(20_000);
    registry.set_fault(Fault::on(Operation::PatchUpload, breaks).times(8));
    chunks_of(&registry, options(), &noise(1, 300_000));
    assert_eq!(registry.pending_faults(), 0);
}

#[test]
fn a_wrong_offset_after_a_break_never_becomes_a_wrong_blob() {
    for chunks in [Chunks::Appended, Chunks::InOrder] {
        let registry = Registry::start(Serving {
            chunks,
            ..Serving::default()
        });
        registry.set_fault(Fault::on(Operation::PatchUpload, Effect::HangUpAfter(10_000)).after(1));
        // It says that it has less than it has.
        registry.set_fault(Fault::on(
            Operation::UploadStatus,
            Effect::SetHeader("Range".into(), "0-49999".into()),
        ));
        chunks_of(&registry, options(), &noise(1, 300_000));
        assert_eq!(registry.pending_faults(), 0, "{chunks:?}");
    }
}
