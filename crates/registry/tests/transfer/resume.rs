//! Transfers that an earlier process left unfinished.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use sealift_registry::{Begun, Sink, Transport};
use sealift_testkit::noise;
use sealift_testkit::registry::{
    Chunks, Effect, Fault, Operation, Options as Serving, Registry, RunningRegistry, UploadState,
};

use crate::lab::{descriptor, options, sink, source, transport};

const LONG: usize = 300_000;

/// A registry whose `demo/app` holds the blob, and a folder in which a process was killed while it pulled it.
fn killed_pull(left: &[u8]) -> (RunningRegistry, tempfile::TempDir, PathBuf) {
    let registry = Registry::start(Serving::default());
    let octets = noise(1, LONG);
    registry.put_blob("demo/app", &octets);
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("blobs")).unwrap();
    fs::write(
        folder.path().join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
    let hex = descriptor(&octets).digest().hex().to_owned();
    let left_in = folder
        .path()
        .join(format!("blobs/.sealift-partial-sha256-{hex}-aB3x"));
    fs::write(&left_in, left).unwrap();
    (registry, folder, left_in)
}

/// Pulls the blob into the layout; returns the ranges that were asked for.
fn pull(registry: &RunningRegistry, folder: &Path) -> Vec<Option<String>> {
    let transport = transport();
    let octets = noise(1, LONG);
    let blob = descriptor(&octets);
    let from = source(
        &transport,
        &format!("docker://{}/demo/app:v1", registry.host()),
    );
    let to = sink(&transport, &format!("oci:{}:v1", folder.display()));
    assert!(to.copy_blob(&blob, &*from).unwrap());
    let written = folder.join(format!("blobs/sha256/{}", blob.digest().hex()));
    assert_eq!(fs::read(written).unwrap(), octets);
    let log = registry.log();
    log.iter()
        .filter(|entry| entry.operation == Operation::GetBlob)
        .map(|entry| entry.header("range").map(str::to_owned))
        .collect()
}

fn hidden(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with('.')).collect()
}

#[test]
fn a_pull_goes_on_behind_what_a_killed_process_left() {
    for len in [1, 100_000, LONG - 1] {
        let (registry, folder, _) = killed_pull(&noise(1, LONG)[..len]);
        let asked = pull(&registry, folder.path());
        assert_eq!(asked, [Some(format!("bytes={len}-"))]);
        assert_eq!(hidden(&folder.path().join("blobs")), Vec::<String>::new());
    }
    // All of it was written, and only the name was missing.
    let (registry, folder, _) = killed_pull(&noise(1, LONG));
    assert_eq!(pull(&registry, folder.path()), []);
    assert_eq!(hidden(&folder.path().join("blobs")), Vec::<String>::new());
}

#[test]
fn what_was_left_damaged_is_pulled_anew() {
    let mut left = noise(1, LONG)[..100_000].to_vec();
    left[99_999] ^= 1;
    let (registry, folder, _) = killed_pull(&left);
    let asked = pull(&registry, folder.path());
    assert_eq!(asked, [Some("bytes=100000-".to_owned()), None]);
    assert_eq!(hidden(&folder.path().join("blobs")), Vec::<String>::new());
    for useless in [&b""[..], &[b'x'; LONG + 1]] {
        let (registry, folder, _) = killed_pull(useless);
        assert_eq!(pull(&registry, folder.path()), [None]);
    }
}

#[test]
fn what_another_process_is_writing_is_left_alone() {
    let (registry, folder, path) = killed_pull(&noise(1, LONG)[..100_000]);
    let held = fs::File::open(&path).unwrap();
    held.lock().unwrap();
    assert_eq!(pull(&registry, folder.path()), [None]);
    assert_eq!(fs::read(&path).unwrap(), &noise(1, LONG)[..100_000]);
}

#[test]
fn a_pull_that_failed_is_continued_and_one_of_wrong_content_is_not() {
    for (effect, expected) in [
        (Effect::CutBody(200_000), Some("bytes=200000-".to_owned())),
        (Effect::FlipBit(LONG - 1), None),
    ] {
        for place in ["oci:{}/layout:v1", "oci-archive:{}/archive.tar:v1"] {
            let registry = Registry::start(Serving::default());
            let octets = noise(1, LONG);
            registry.put_blob("demo/app", &octets);
            let folder = tempfile::tempdir().unwrap();
            let place = place.replace("{}", &folder.path().display().to_string());
            let copy = || {
                let mut options = options();
                options.retry.attempts = 1;
                let transport = Transport::new(options).unwrap();
                let from = format!("docker://{}/demo/app:v1", registry.host());
                let to = sink(&transport, &place);
                to.copy_blob(&descriptor(&octets), &*source(&transport, &from))
            };
            registry.set_fault(Fault::on(Operation::GetBlob, effect.clone()));
            copy().unwrap_err();
            registry.clear_log();
            assert!(copy().unwrap());
            let log = registry.log();
            let asked = log[0].header("range").map(str::to_owned);
            assert_eq!(asked, expected, "{effect:?} {place}");
        }
    }
}

/// A transport of a process that records its uploads in `folder`.
fn process(folder: &Path) -> Transport {
    let mut options = options();
    options.journal = Some(folder.to_owned());
    Transport::new(options).unwrap()
}

/// Begins to upload the blob and stops after `len` octets, like a process that is killed.
fn begin_push(registry: &RunningRegistry, journal: &Path, len: usize) {
    let transport = process(journal);
    let to = to(registry, &transport);
    let octets = noise(1, LONG);
    let Begun::Missing(mut writer) = to.begin(&descriptor(&octets), None).unwrap() else {
        unreachable!("the blob is there");
    };
    assert_eq!(writer.offset(), 0);
    writer.write_all(octets.get(..len).unwrap()).unwrap();
    drop(writer);
}

fn to(registry: &RunningRegistry, transport: &Transport) -> Box<dyn Sink> {
    sink(
        transport,
        &format!("docker://{}/demo/app:v1", registry.host()),
    )
}

/// Uploads the blob; returns how many octets of it were sent.
fn push(registry: &RunningRegistry, journal: &Path) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let octets = noise(1, LONG);
    let hex = descriptor(&octets).digest().hex().to_owned();
    fs::create_dir_all(folder.path().join("blobs/sha256")).unwrap();
    fs::write(
        folder.path().join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
    fs::write(folder.path().join("blobs/sha256").join(hex), &octets).unwrap();
    let transport = process(journal);
    let from = source(&transport, &format!("oci:{}:v1", folder.path().display()));
    registry.clear_log();
    let blob = descriptor(&octets);
    assert!(to(registry, &transport).copy_blob(&blob, &*from).unwrap());
    let digest = blob.digest().to_string();
    assert_eq!(registry.blob("demo/app", &digest), Some(octets));
    assert_eq!(registry.open_uploads(), 0);
    assert_eq!(fs::read_dir(journal).unwrap().count(), 0);
    registry.log().iter().map(|entry| entry.received).sum()
}

#[test]
fn an_upload_goes_on_where_the_registry_is() {
    for upload_state in [UploadState::Lasting, UploadState::Rotating] {
        for chunks in [Chunks::InOrder, Chunks::Appended] {
            let registry = Registry::start(Serving {
                upload_state,
                chunks,
                ..Serving::default()
            });
            let journal = tempfile::tempdir().unwrap();
            begin_push(&registry, journal.path(), 200_000);
            assert_eq!(registry.open_uploads(), 1);
            let rest = LONG as u64 - 3 * 64 * 1024;
            assert_eq!(
                push(&registry, journal.path()),
                rest,
                "{upload_state:?} {chunks:?}"
            );
        }
    }
}

#[test]
fn a_session_that_is_gone_or_of_no_use_is_not_waited_for() {
    for fault in [
        Fault::on(Operation::UploadStatus, Effect::ForgetUpload),
        Fault::on(
            Operation::UploadStatus,
            Effect::SetHeader("Range".into(), "0-0".into()),
        ),
        Fault::on(
            Operation::UploadStatus,
            Effect::SetHeader("Range".into(), "0-300000".into()),
        ),
        Fault::on(
            Operation::UploadStatus,
            Effect::SetHeader("Range".into(), "5-9".into()),
        ),
    ] {
        let registry = Registry::start(Serving::default());
        let journal = tempfile::tempdir().unwrap();
        begin_push(&registry, journal.path(), 200_000);
        registry.set_fault(fault.clone());
        assert_eq!(registry.open_uploads(), 1);
        assert_eq!(push(&registry, journal.path()), LONG as u64, "{fault:?}");
    }
}

#[test]
fn a_wrong_offset_never_becomes_a_wrong_blob() {
    // The registry says that it has less than it has, and appends what comes.
    for chunks in [Chunks::Appended, Chunks::InOrder] {
        let registry = Registry::start(Serving {
            chunks,
            ..Serving::default()
        });
        let journal = tempfile::tempdir().unwrap();
        begin_push(&registry, journal.path(), 200_000);
        registry.set_fault(Fault::on(
            Operation::UploadStatus,
            Effect::SetHeader("Range".into(), "0-99999".into()),
        ));
        // Refused at the latest by its digest, then sent from the start.
        assert!(push(&registry, journal.path()) >= 100_000);
        assert_eq!(registry.pending_faults(), 0);
    }
}

#[test]
fn two_processes_do_not_share_a_session() {
    let registry = Registry::start(Serving::default());
    let journal = tempfile::tempdir().unwrap();
    let transport = process(journal.path());
    let octets = noise(1, LONG);
    let first = to(&registry, &transport);
    let Begun::Missing(mut writer) = first.begin(&descriptor(&octets), None).unwrap() else {
        unreachable!("the blob is there");
    };
    writer.write_all(&octets[..200_000]).unwrap();
    let other = process(journal.path());
    let second = to(&registry, &other);
    let Begun::Missing(beside) = second.begin(&descriptor(&octets), None).unwrap() else {
        unreachable!("the blob is there");
    };
    assert_eq!(beside.offset(), 0);
    drop(beside);
    writer.write_all(&octets[200_000..]).unwrap();
    writer
        .commit(descriptor(&octets).digest(), LONG as u64)
        .unwrap();
    assert_eq!(registry.open_uploads(), 0);
}
