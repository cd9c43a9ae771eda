//! Writing to a registry that misbehaves.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::lab::{descriptor, options, sink, source, told, transport, write};
use crate::pull::with_password;
use sealift_oci::{Digest, MediaType};
use sealift_registry::{Begun, Credential, Error, RawManifest, Secret, Transport};
use sealift_testkit::noise;
use sealift_testkit::registry::{
    Auth, Bearer, Chunks, Effect, Entry, Fault, Operation, Options as Serving, Registry,
    RunningRegistry, UploadState, UploadUrl,
};

const LONG: usize = 300_000;

fn reference(registry: &RunningRegistry) -> String {
    format!("docker://{}/demo/app:v1", registry.host())
}

/// Pushes a blob; returns what came of it. Nothing but the blob may be left.
fn push(registry: &RunningRegistry, octets: &[u8]) -> Result<(), String> {
    let transport = transport();
    let outcome = write(&*sink(&transport, &reference(registry)), octets);
    assert_eq!(registry.open_uploads(), 0);
    let digest = outcome.map_err(|error| told(&error, &registry.host()))?;
    assert_eq!(
        registry.blob("demo/app", &digest.to_string()).as_deref(),
        Some(octets)
    );
    Ok(())
}

fn with(fault: Fault) -> RunningRegistry {
    let registry = Registry::start(Serving::default());
    registry.set_fault(fault);
    registry
}

fn operations(registry: &RunningRegistry) -> Vec<Operation> {
    registry.log().iter().map(|entry| entry.operation).collect()
}

#[test]
fn a_small_blob_takes_two_requests_and_a_long_one_few() {
    use Operation::{PatchUpload, PutUpload, StartUpload};
    for small in [0, 1, 64 * 1024] {
        let registry = Registry::start(Serving::default());
        assert_eq!(push(&registry, &noise(1, small)), Ok(()), "{small}");
        assert_eq!(operations(&registry), [StartUpload, PutUpload], "{small}");
    }
    let registry = Registry::start(Serving::default());
    assert_eq!(push(&registry, &noise(1, 64 * 1024 + 1)), Ok(()));
    assert_eq!(
        operations(&registry),
        [StartUpload, PatchUpload, PatchUpload, PutUpload]
    );
}

#[test]
fn every_form_of_upload_location_is_followed() {
    for upload_url in [UploadUrl::Absolute, UploadUrl::Relative, UploadUrl::Bare] {
        for upload_state in [UploadState::Lasting, UploadState::Rotating] {
            if upload_url == UploadUrl::Bare && upload_state == UploadState::Rotating {
                continue;
            }
            let registry = Registry::start(Serving {
                upload_url,
                upload_state,
                ..Serving::default()
            });
            assert_eq!(
                push(&registry, &noise(1, LONG)),
                Ok(()),
                "{upload_url:?} {upload_state:?}"
            );
            assert_eq!(
                push(&registry, b"small"),
                Ok(()),
                "{upload_url:?} {upload_state:?}"
            );
        }
    }
}

#[test]
fn a_chunk_that_was_cut_is_continued_where_the_registry_is() {
    for effect in [
        Effect::HangUp,
        Effect::HangUpAfter(10_000),
        Effect::LoseReply,
        Effect::CutHeader,
        Effect::KeepOnly(20_000),
        Effect::status(503),
        Effect::status(429),
    ] {
        for after in [0, 2] {
            for upload_state in [UploadState::Lasting, UploadState::Rotating] {
                let registry = Registry::start(Serving {
                    upload_state,
                    ..Serving::default()
                });
                registry.set_fault(Fault::on(Operation::PatchUpload, effect.clone()).after(after));
                let outcome = push(&registry, &noise(1, LONG));
                let rotated = upload_state == UploadState::Rotating
                    && matches!(
                        effect,
                        Effect::LoseReply | Effect::CutHeader | Effect::HangUpAfter(_)
                    );
                match outcome {
                    // The new location got lost with the answer, and what was acknowledged before is not kept here.
                    Err(message) if rotated && after > 0 => {
                        assert!(
                            message.contains("the registry lost the upload after 131072 octets"),
                            "{message}"
                        );
                    }
                    outcome => {
                        assert_eq!(outcome, Ok(()), "{effect:?} after {after} {upload_state:?}")
                    }
                }
                assert_eq!(registry.pending_faults(), 0);
            }
        }
    }
}

#[test]
fn a_registry_that_appends_blindly_is_not_fooled() {
    for effect in [
        Effect::LoseReply,
        Effect::KeepOnly(20_000),
        Effect::HangUpAfter(10_000),
    ] {
        let registry = Registry::start(Serving {
            chunks: Chunks::Appended,
            ..Serving::default()
        });
        registry.set_fault(Fault::on(Operation::PatchUpload, effect.clone()));
        assert_eq!(push(&registry, &noise(1, LONG)), Ok(()), "{effect:?}");
    }
}

#[test]
fn a_lost_session_is_begun_anew_while_everything_is_held() {
    let registry = with(Fault::on(Operation::PatchUpload, Effect::ForgetUpload));
    assert_eq!(push(&registry, &noise(1, LONG)), Ok(()));
    let registry = with(Fault::on(Operation::PatchUpload, Effect::ForgetUpload).after(2));
    let message = push(&registry, &noise(1, LONG)).unwrap_err();
    assert!(
        message.ends_with("failed (attempt 1): the registry lost the upload after 131072 octets"),
        "{message}"
    );
    let registry = with(Fault::on(Operation::PutUpload, Effect::ForgetUpload));
    assert!(
        push(&registry, b"small")
            .unwrap_err()
            .contains("answered 404")
    );
}

#[test]
fn a_copy_begins_anew_when_its_upload_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let transport = transport();
    let octets = noise(1, LONG);
    let local = format!("oci:{}", folder.path().display());
    let from = sink(&transport, &local);
    write(&*from, &octets).unwrap();
    from.finish(&manifest(&Digest::sha256(b"{}"))).unwrap();
    let from = source(&transport, &local);
    let blob = descriptor(&octets);
    // As often as a request is tried without getting on, and what is lost was no progress.
    for (after, times, expected) in [
        (0, 1, true),
        (0, 3, true),
        (0, 4, false),
        (2, 1, true),
        (2, 3, true),
        (2, 4, false),
    ] {
        let registry = Registry::start(Serving::default());
        let forgets = Fault::on(Operation::PatchUpload, Effect::ForgetUpload);
        registry.set_fault(forgets.after(after).times(times));
        let sink = sink(&transport, &reference(&registry));
        let outcome = sink.copy_blob(&blob, &*from);
        assert_eq!(outcome.is_ok(), expected, "{after} {times}");
        assert_eq!(
            registry
                .blob("demo/app", &blob.digest().to_string())
                .is_some(),
            expected
        );
        assert_eq!(registry.open_uploads(), 0);
    }
}

#[test]
fn the_closing_request_survives_a_lost_answer() {
    for effect in [
        Effect::LoseReply,
        Effect::HangUp,
        Effect::CutHeader,
        Effect::status(503),
    ] {
        for octets in [noise(1, LONG), b"small".to_vec(), Vec::new()] {
            let registry = with(Fault::on(Operation::PutUpload, effect.clone()));
            assert_eq!(
                push(&registry, &octets),
                Ok(()),
                "{effect:?} {}",
                octets.len()
            );
        }
    }
}

#[test]
fn a_blob_that_is_not_taken_whole_goes_as_a_chunk() {
    use Operation::{CancelUpload, HeadBlob, PatchUpload, PutUpload, StartUpload};
    for (status, is_checked) in [(500, true), (405, false), (501, false)] {
        let registry = with(Fault::on(PutUpload, Effect::status(status)));
        assert_eq!(push(&registry, b"small"), Ok(()), "{status}");
        let mut expected = vec![StartUpload, PutUpload];
        // It may have been taken all the same.
        expected.extend(is_checked.then_some(HeadBlob));
        expected.extend([CancelUpload, StartUpload, PatchUpload, PutUpload]);
        assert_eq!(operations(&registry), expected, "{status}");
    }
    // Who takes neither is not asked for ever.
    let registry = with(Fault::on(PutUpload, Effect::status(500)).always());
    let message = push(&registry, b"small").unwrap_err();
    assert!(message.contains("answered 500"), "{message}");
}

#[test]
fn a_registry_may_count_octets_instead_of_naming_the_last() {
    let number = Effect::SetHeader("Range".into(), format!("0-{}", 64 * 1024));
    let registry = with(Fault::on(Operation::PatchUpload, number));
    assert_eq!(push(&registry, &noise(1, LONG)), Ok(()));
    assert_eq!(
        registry.count(Operation::PatchUpload),
        LONG.div_ceil(64 * 1024)
    );
}

#[test]
fn missing_headers_are_made_up_for() {
    let header =
        |operation, name: &str| Fault::on(operation, Effect::DropHeader(name.into())).always();
    for fault in [
        header(Operation::PutUpload, "Location"),
        header(Operation::PutUpload, "Docker-Content-Digest"),
        header(Operation::PatchUpload, "Location"),
        header(Operation::PatchUpload, "Range"),
    ] {
        let registry = with(fault.clone());
        assert_eq!(push(&registry, &noise(1, LONG)), Ok(()), "{fault:?}");
    }
    let registry = with(header(Operation::StartUpload, "Location"));
    let message = push_only(&registry, b"x").unwrap_err();
    assert_eq!(
        message,
        "answer to POST HOST/v2/demo/app/blobs/uploads/ is malformed: it has no `Location`"
    );
}

/// Like [`push`], for registries that leave a session open because nobody can know where it is.
fn push_only(registry: &RunningRegistry, octets: &[u8]) -> Result<(), String> {
    let transport = transport();
    let outcome = write(&*sink(&transport, &reference(registry)), octets);
    outcome
        .map(|_| ())
        .map_err(|error| told(&error, &registry.host()))
}

#[test]
fn limits_of_the_registry_are_kept() {
    let registry = Registry::start(Serving {
        min_chunk: Some(100_000),
        ..Serving::default()
    });
    assert_eq!(push(&registry, &noise(1, LONG)), Ok(()));
    let log = registry.log();
    let chunks: Vec<_> = log
        .iter()
        .filter(|entry| entry.operation == Operation::PatchUpload)
        .collect();
    let (_, all_but_last) = chunks.split_last().unwrap();
    assert!(all_but_last.iter().all(|entry| entry.received >= 100_000));
    let mut options = options();
    options.chunk_size = 6 << 20;
    let registry = Registry::start(Serving {
        max_chunk: Some(4 << 20),
        ..Serving::default()
    });
    let transport = Transport::new(options).unwrap();
    for len in [5 << 20, 7 << 20] {
        let octets = noise(1, len);
        let digest = write(&*sink(&transport, &reference(&registry)), &octets).unwrap();
        assert_eq!(registry.blob("demo/app", &digest.to_string()), Some(octets));
    }
    assert_eq!(registry.open_uploads(), 0);
}

#[test]
fn a_login_that_dies_again_and_again_during_one_upload_is_renewed_each_time() {
    let registry = Registry::start(Serving {
        auth: Auth::Bearer(Bearer {
            credentials: Some(("me".into(), "pw".into())),
            uses: 5,
            ..Bearer::default()
        }),
        ..Serving::default()
    });
    let mut options = options();
    options.credentials.explicit = Some(Credential::new("me".into(), Secret::new("pw".into())));
    let transport = Transport::new(options).unwrap();
    let chunks = 41;
    let octets = noise(1, chunks * 64 * 1024);
    let digest = write(&*sink(&transport, &reference(&registry)), &octets).unwrap();
    assert_eq!(registry.blob("demo/app", &digest.to_string()), Some(octets));
    let refused = |entry: &&Entry| entry.status == Some(401);
    let log = registry.log();
    let refusals = log.iter().filter(refused).count();
    // The first is that of a client without any; then each token is good for five of POST, the chunks, and PUT.
    assert_eq!(refusals, 1 + (chunks + 2 - 1) / 5);
    assert_eq!(registry.count(Operation::Token), refusals);
    assert_eq!(registry.open_uploads(), 0);
}

#[test]
fn chunks_are_shorter_where_many_uploads_hold_theirs() {
    const MIB: u64 = 1 << 20;
    let registry = Registry::start(Serving::default());
    let mut options = options();
    options.chunk_size = 9 << 20;
    let transport = Transport::new(options).unwrap();
    let sink = sink(&transport, &reference(&registry));
    let octets = noise(1, 9 << 20 | 1);
    let mut others = Vec::new();
    for expected in [9, 9, 6, 5, 5] {
        registry.clear_log();
        write(&*sink, &octets).unwrap();
        let log = registry.log();
        let chunks = log
            .iter()
            .filter(|entry| entry.operation == Operation::PatchUpload);
        let first = chunks.map(|entry| entry.received).next();
        assert_eq!(first, Some(expected * MIB), "{} others", others.len());
        others.push(sink.blob(None).unwrap());
    }
    // Those that are streamed hold nothing.
    others.clear();
    let blob = descriptor(&octets);
    for _ in 0..4 {
        others.push(
            match sink.begin(&descriptor(&noise(2, 10 << 20)), None).unwrap() {
                Begun::Missing(writer) => writer,
                Begun::Present => panic!("it is there"),
            },
        );
    }
    assert!(matches!(sink.begin(&blob, None).unwrap(), Begun::Present));
    registry.clear_log();
    let octets = noise(3, 9 << 20 | 1);
    write(&*sink, &octets).unwrap();
    let log = registry.log();
    let first = log
        .iter()
        .find(|entry| entry.operation == Operation::PatchUpload);
    assert_eq!(first.map(|entry| entry.received), Some(9 * MIB));
}

/// Opens a session as somebody else.
fn begin_upload(registry: &RunningRegistry) {
    let mut stream = TcpStream::connect(registry.addr()).unwrap();
    write!(
        stream,
        "POST /v2/demo/app/blobs/uploads/ HTTP/1.1\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn an_upload_that_is_redirected_to_another_host_gets_no_login_there() {
    for (operation, octets) in [
        (Operation::StartUpload, b"small".to_vec()),
        (Operation::PutUpload, b"small".to_vec()),
        (Operation::PatchUpload, noise(1, LONG)),
    ] {
        let elsewhere = Registry::start(Serving::default());
        let registry = Registry::start(with_password());
        // The session that a redirected chunk or blob finds there.
        begin_upload(&elsewhere);
        elsewhere.clear_log();
        let digest = Digest::sha256(&octets);
        let rest = match operation {
            Operation::StartUpload => "?sig=secret".to_owned(),
            _ => format!("upload-1?digest={digest}&sig=secret"),
        };
        let uploads = format!("{}/v2/demo/app/blobs/uploads/", elsewhere.url());
        let redirect = Effect::Redirect(format!("{uploads}{rest}"));
        // The first POST is refused, which is how the client learns of the login.
        let refused = u32::from(operation == Operation::StartUpload);
        registry.set_fault(Fault::on(operation, redirect).after(refused).always());
        let mut options = options();
        options.credentials.explicit = Some(Credential::new("me".into(), Secret::new("pw".into())));
        let transport = Transport::new(options).unwrap();
        write(&*sink(&transport, &reference(&registry)), &octets).unwrap();
        let log = elsewhere.log();
        assert!(!log.is_empty(), "{operation:?}");
        assert!(
            log.iter().all(|entry| !entry.is_authorized()),
            "{operation:?}"
        );
        let held = elsewhere.blob("demo/app", &digest.to_string());
        assert_eq!(held, Some(octets), "{operation:?}");
    }
}

#[test]
fn an_upload_at_another_host_gets_no_login() {
    let elsewhere = Registry::start(Serving::default());
    let registry = Registry::start(with_password());
    // After the refusal that asks for the login.
    registry.set_fault(
        Fault::on(
            Operation::StartUpload,
            Effect::SetHeader(
                "Location".into(),
                format!("{}/v2/demo/app/blobs/uploads/1?sig=secret", elsewhere.url()),
            ),
        )
        .after(1),
    );
    let mut options = options();
    options.credentials.explicit = Some(Credential::new("me".into(), Secret::new("pw".into())));
    let transport = Transport::new(options).unwrap();
    let error = write(&*sink(&transport, &reference(&registry)), b"x").unwrap_err();
    assert!(!told(&error, "").contains("secret"));
    assert!(!elsewhere.log().is_empty());
    assert!(elsewhere.log().iter().all(|entry| !entry.is_authorized()));
}

#[test]
fn a_blob_that_was_not_committed_leaves_nothing() {
    let registry = Registry::start(Serving::default());
    let transport = transport();
    let sink = sink(&transport, &reference(&registry));
    let mut writer = sink.blob(None).unwrap();
    writer.write_all(&noise(1, LONG)).unwrap();
    drop(writer);
    assert_eq!(registry.count(Operation::CancelUpload), 1);
    assert_eq!(registry.open_uploads(), 0);
    // Dropped before anything was sent.
    drop(sink.blob(None).unwrap());
    assert_eq!(registry.count(Operation::StartUpload), 1);
}

#[test]
fn a_wrong_digest_or_size_is_refused() {
    let registry = Registry::start(Serving::default());
    let transport = transport();
    let sink = sink(&transport, &reference(&registry));
    let other = Digest::sha256(b"other");
    for octets in [noise(1, LONG), b"small".to_vec()] {
        let mut writer = sink.blob(None).unwrap();
        writer.write_all(&octets).unwrap();
        let error = writer.commit(&other, octets.len() as u64).unwrap_err();
        assert_eq!(
            told(&error, &registry.host()),
            format!(
                "blob `{other}` at HOST/demo/app was refused by the registry as not matching {other}"
            )
        );
        let mut writer = sink.blob(None).unwrap();
        writer.write_all(&octets).unwrap();
        let error = writer.commit(&other, 1).unwrap_err();
        assert!(matches!(error, Error::Mismatch { .. }), "{error}");
        assert_eq!(registry.open_uploads(), 0);
    }
    assert_eq!(registry.blobs("demo/app"), Vec::<String>::new());
}

#[test]
fn an_error_during_writing_is_sticky_and_names_its_cause() {
    let registry = with(Fault::on(Operation::PatchUpload, Effect::status(403)).always());
    let transport = transport();
    let sink = sink(&transport, &reference(&registry));
    let mut writer = sink.blob(None).unwrap();
    let error = loop {
        if let Err(error) = writer.write_all(&noise(1, LONG)) {
            break Error::of_io(&error).unwrap().clone();
        }
    };
    assert!(matches!(error, Error::Denied { .. }), "{error}");
    let again = writer.write_all(b"x").unwrap_err();
    assert_eq!(Error::of_io(&again).unwrap().to_string(), error.to_string());
    let at_last = writer.commit(&Digest::sha256(b""), 0).unwrap_err();
    assert_eq!(at_last.to_string(), error.to_string());
    assert_eq!(registry.open_uploads(), 0);
}

#[test]
fn a_blob_that_is_there_is_not_sent() {
    let registry = Registry::start(Serving::default());
    registry.put_blob("demo/app", b"known");
    let transport = transport();
    let sink = sink(&transport, &reference(&registry));
    let known = descriptor(b"known");
    assert!(sink.has_blob(known.digest(), known.size()).unwrap());
    let from = source(&transport, &reference(&registry));
    assert!(!sink.copy_blob(&known, &*from).unwrap());
    assert_eq!(registry.count(Operation::GetBlob), 0);
    let unknown = descriptor(b"unknown");
    assert!(!sink.has_blob(unknown.digest(), unknown.size()).unwrap());
    let error = sink.has_blob(known.digest(), 4).unwrap_err();
    assert_eq!(
        told(&error, &registry.host()),
        format!(
            "blob `{}` at HOST/demo/app is announced with 5 octets, not 4",
            known.digest()
        )
    );
}

fn manifest(config: &Digest) -> RawManifest {
    let text = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{config}","size":2}},"layers":[]}}"#
    );
    RawManifest::new(text.into(), MediaType::OCI_MANIFEST.parse().unwrap())
}

#[test]
fn the_tag_moves_last_and_only_then() {
    let registry = Registry::start(Serving::default());
    let config = registry.put_blob("demo/app", b"{}").parse().unwrap();
    let transport = transport();
    let sink = sink(&transport, &reference(&registry));
    let manifest = manifest(&config);
    sink.put_manifest(&manifest).unwrap();
    assert_eq!(registry.tags("demo/app"), Vec::<String>::new());
    sink.finish(&manifest).unwrap();
    assert_eq!(registry.tags("demo/app"), ["v1"]);
    let (media_type, octets) = registry.manifest("demo/app", "v1").unwrap();
    assert_eq!(
        (media_type.as_str(), &octets[..]),
        (MediaType::OCI_MANIFEST, &manifest.bytes[..])
    );
}

#[test]
fn a_destination_by_digest_takes_only_that_image() {
    let registry = Registry::start(Serving::default());
    let config = registry.put_blob("demo/app", b"{}").parse().unwrap();
    let transport = transport();
    let manifest = manifest(&config);
    let by_digest = |digest: &Digest| {
        let reference = format!("docker://{}/demo/app@{digest}", registry.host());
        sink(&transport, &reference).finish(&manifest)
    };
    let other = Digest::sha256(b"other");
    let error = by_digest(&other).unwrap_err();
    assert_eq!(
        told(&error, &registry.host()),
        format!(
            "manifest `{other}` at HOST/demo/app has digest {}, not {other}",
            manifest.digest
        )
    );
    assert_eq!(registry.count(Operation::PutManifest), 0);
    by_digest(&manifest.digest).unwrap();
    assert_eq!(registry.tags("demo/app"), Vec::<String>::new());
}

#[test]
fn a_manifest_the_registry_refuses_is_an_error_with_its_reason() {
    let registry = Registry::start(Serving::default());
    let transport = transport();
    let manifest = manifest(&Digest::sha256(b"missing"));
    let error = sink(&transport, &reference(&registry))
        .put_manifest(&manifest)
        .unwrap_err();
    let message = told(&error, &registry.host());
    assert!(message.contains("MANIFEST_BLOB_UNKNOWN"), "{message}");
}

#[test]
fn a_registry_that_takes_nothing_is_given_up() {
    let nothing = Effect::SetHeader("Range".into(), "0-0".into());
    let registry = with(Fault::on(Operation::PatchUpload, nothing).always());
    // The registry appends all the same, so what it says of its state contradicts what it answered.
    push(&registry, &noise(3, LONG)).unwrap_err();
    assert!(registry.count(Operation::PatchUpload) < 20);
}
