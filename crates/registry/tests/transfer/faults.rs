//! Each fault that a registry, or the way to it, may have: what is released is right, or nothing is.

use std::time::Duration;

use sealift_registry::{Credential, Error, Options, Secret, Transport};
use sealift_testkit::noise;
use sealift_testkit::registry::{
    Auth, Bearer, Chunks, Effect, Fault, Operation, Options as Serving, Registry, RunningRegistry,
    Tls, UploadState, tls,
};

use crate::lab::{descriptor, options, read, sink, source};

const LONG: usize = 300_000;

fn reference(registry: &RunningRegistry) -> String {
    format!("docker://{}/demo/app:v1", registry.host())
}

/// Pulls a blob from a registry with a fault in it, and pushes it to another.
fn pull(serving: Serving, options: Options, faults: &[Fault]) -> Result<Vec<u8>, Error> {
    let registry = Registry::start(serving);
    registry.put_blob("demo/app", &noise(1, LONG));
    for fault in faults {
        registry.set_fault(fault.clone());
    }
    let transport = Transport::new(options).unwrap();
    let outcome = read(
        &*source(&transport, &reference(&registry)),
        &descriptor(&noise(1, LONG)),
    );
    assert_eq!(registry.pending_faults(), 0);
    outcome
}

/// Pushes a blob of a layout to a registry with faults in it.
fn push(serving: Serving, options: Options, faults: &[Fault]) -> Result<(), Error> {
    let octets = noise(1, LONG);
    let blob = descriptor(&octets);
    let (from, registry) = (
        Registry::start(Serving::default()),
        Registry::start(serving),
    );
    from.put_blob("demo/app", &octets);
    for fault in faults {
        registry.set_fault(fault.clone());
    }
    let transport = Transport::new(options).unwrap();
    let outcome = sink(&transport, &reference(&registry))
        .copy_blob(&blob, &*source(&transport, &reference(&from)));
    let held = registry.blob("demo/app", &blob.digest().to_string());
    assert_eq!(held.is_some(), outcome.is_ok());
    assert!(held.is_none_or(|held| held == octets));
    assert_eq!(registry.pending_faults(), 0);
    outcome.map(drop)
}

/// Options that trust the registry's certificate, and the folder in which its authority is.
fn trusting() -> (impl Fn() -> Options, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, tls::CA).unwrap();
    let trusting = move || {
        let mut options = options();
        options.tls.authorities.push(ca.clone());
        options
    };
    (trusting, folder)
}

fn get(effect: Effect) -> Fault {
    Fault::on(Operation::GetBlob, effect)
}

#[test]
fn what_breaks_on_the_way_is_continued() {
    let serving = || Serving {
        tls: Tls::On,
        ..Serving::default()
    };
    let (trusting, _folder) = trusting();
    // TLS ends without its farewell, before and within the answer, and by a reset in the middle of a record.
    for effect in [
        Effect::HangUp,
        Effect::CutHeader,
        Effect::CutBody(100_000),
        Effect::ResetAfter(0),
        Effect::ResetAfter(100_000),
    ] {
        let pulled = pull(serving(), trusting(), &[get(effect.clone())]);
        assert_eq!(pulled.unwrap(), noise(1, LONG), "{effect:?}");
    }
    let pause = Duration::from_millis(1);
    for faults in [
        vec![get(Effect::CutHeader)],
        vec![get(Effect::ResetAfter(100_000)).times(2)],
        vec![get(Effect::CutBody(100_000)), get(Effect::CutHeader)],
        // A storm of refusals, each asking for a pause that is over.
        vec![get(Effect::retry_after(429, "0")).times(3)],
        vec![
            get(Effect::CutBody(100_000)),
            get(Effect::retry_after(429, "0")).times(2),
        ],
        vec![get(Effect::Trickle {
            bytes: 5_000,
            pause,
        })],
        vec![
            get(Effect::Trickle {
                bytes: 5_000,
                pause,
            })
            .and(Effect::CutBody(200_000)),
        ],
    ] {
        let pulled = pull(Serving::default(), options(), &faults);
        assert_eq!(pulled.unwrap(), noise(1, LONG), "{faults:?}");
    }
}

#[test]
fn lies_about_content_are_found() {
    let cut = || get(Effect::CutBody(100_000));
    let range = |text: &str| Effect::SetHeader("Content-Range".into(), text.into());
    for (faults, expected) in [
        (
            vec![get(Effect::DeclareLength(LONG as u64 + 1))],
            "is announced with 300001 octets",
        ),
        (
            vec![get(Effect::DeclareLength(LONG as u64 - 1))],
            "is announced with 299999 octets",
        ),
        (vec![cut(), get(Effect::ShiftRange(1))], "has digest"),
        (vec![cut(), get(Effect::FlipBit(0))], "has digest"),
        (
            vec![cut(), get(range("bytes 0-299999/300000"))],
            "is malformed",
        ),
        (
            vec![cut(), get(range("bytes 100000-299998/300000"))],
            "is malformed",
        ),
        // It was there, and then it was not.
        (
            vec![get(Effect::CutBody(100_000)).and(Effect::Vanish)],
            "was not found",
        ),
    ] {
        let error = pull(Serving::default(), options(), &faults).unwrap_err();
        assert!(error.to_string().contains(expected), "{faults:?}: {error}");
    }
}

#[test]
fn an_upload_survives_what_the_way_does_to_it() {
    let patch = |effect| Fault::on(Operation::PatchUpload, effect).after(1);
    for chunks in [Chunks::InOrder, Chunks::Appended] {
        for upload_state in [UploadState::Lasting, UploadState::Rotating] {
            for fault in [
                patch(Effect::RepeatChunk),
                patch(Effect::StaleLocation),
                patch(Effect::retry_after(429, "0")).times(3),
                patch(Effect::CutHeader),
                patch(Effect::HangUpAfter(10_000)),
                patch(Effect::ResetAfter(10_000)),
                patch(Effect::LoseReply),
                patch(Effect::KeepOnly(1)),
                patch(Effect::ForgetUpload),
                Fault::on(Operation::StartUpload, Effect::StaleLocation),
                Fault::on(Operation::PutUpload, Effect::retry_after(429, "0")).times(3),
            ] {
                let serving = Serving {
                    chunks,
                    upload_state,
                    ..Serving::default()
                };
                let outcome = push(serving, options(), std::slice::from_ref(&fault));
                outcome.unwrap_or_else(|error| {
                    panic!("{chunks:?} {upload_state:?} {fault:?}: {error}")
                });
            }
        }
    }
}

#[test]
fn an_upload_through_tls_survives_a_reset() {
    let (trusting, _folder) = trusting();
    for operation in [Operation::PatchUpload, Operation::PutUpload] {
        let serving = Serving {
            tls: Tls::On,
            ..Serving::default()
        };
        let reset = Fault::on(operation, Effect::ResetAfter(0));
        push(serving, trusting(), &[reset]).unwrap();
    }
}

#[test]
fn a_token_that_dies_in_the_middle_is_renewed() {
    let serving = || Serving {
        auth: Auth::Bearer(Bearer {
            credentials: Some(("me".into(), "pw".into())),
            ..Bearer::default()
        }),
        ..Serving::default()
    };
    let with_login = || {
        let mut options = options();
        options.credentials.explicit = Some(Credential::new("me".into(), Secret::new("pw".into())));
        options
    };
    let dies = |operation, after| Fault::on(operation, Effect::ExpireToken).after(after);
    let pulled = pull(
        serving(),
        with_login(),
        // The first request is refused for want of a token.
        &[
            get(Effect::CutBody(100_000)).after(1),
            dies(Operation::GetBlob, 0),
        ],
    );
    assert_eq!(pulled.unwrap(), noise(1, LONG));
    // The source takes the same login and has no use for it.
    for fault in [
        dies(Operation::PatchUpload, 2),
        dies(Operation::PutUpload, 0),
    ] {
        push(serving(), with_login(), &[fault]).unwrap();
    }
}

#[test]
fn a_registry_without_chunks_gets_long_blobs_in_one_request() {
    for status in [405, 501] {
        let refused = Fault::on(Operation::PatchUpload, Effect::status(status));
        push(
            Serving::default(),
            options(),
            std::slice::from_ref(&refused),
        )
        .unwrap();
        // What breaks off then begins anew, without another try in chunks.
        for effect in [
            Effect::HangUpAfter(100_000),
            Effect::LoseReply,
            Effect::status(503),
        ] {
            let broken = Fault::on(Operation::PutUpload, effect);
            push(Serving::default(), options(), &[refused.clone(), broken]).unwrap();
        }
        let denied = Fault::on(Operation::PutUpload, Effect::status(403));
        let error = push(Serving::default(), options(), &[refused.clone(), denied]).unwrap_err();
        assert!(matches!(error, Error::Denied { .. }), "{error}");
    }
}

#[test]
fn parts_are_fetched_at_the_same_time_and_in_their_order() {
    // Longer than what is cut, because which part meets the fault depends on how fast they come.
    let long = 5 * 2 * 1024 * 1024 + 3007;
    let octets = noise(1, long);
    let run = |faults: &[Fault], serving: Serving| {
        let registry = Registry::start(serving);
        registry.put_blob("demo/app", &octets);
        for fault in faults {
            registry.set_fault(fault.clone());
        }
        let mut options = options();
        options.parallel_ranges = std::num::NonZeroUsize::new(4).unwrap();
        let transport = Transport::new(options).unwrap();
        let outcome = read(
            &*source(&transport, &reference(&registry)),
            &descriptor(&octets),
        );
        assert_eq!(registry.pending_faults(), 0);
        (outcome, registry.count(Operation::GetBlob))
    };
    let (outcome, requests) = run(&[], Serving::default());
    assert!(outcome.unwrap() == octets);
    assert_eq!(requests, 6);
    for (effect, after) in [
        (Effect::CutBody(1000), 0),
        (Effect::CutBody(1000), 3),
        (Effect::HangUp, 5),
        (Effect::status(503), 2),
    ] {
        let (outcome, requests) = run(&[get(effect).after(after)], Serving::default());
        assert!(outcome.unwrap() == octets);
        assert_eq!(requests, 7);
    }
    // Without ranges it comes as a whole.
    let (outcome, requests) = run(
        &[],
        Serving {
            ranges: sealift_testkit::registry::Support::No,
            ..Serving::default()
        },
    );
    assert!(outcome.unwrap() == octets);
    assert_eq!(requests, 2);
    let range = Effect::SetHeader("Content-Range".into(), "bytes 0-2097151/10485767".into());
    for (effect, expected) in [
        (range, "is malformed"),
        (Effect::WholeBody, "is malformed"),
        (Effect::ShiftRange(1), "has digest"),
        (Effect::FlipBit(5), "has digest"),
        (Effect::status(404), "was not found"),
    ] {
        let (outcome, _) = run(&[get(effect.clone()).after(2)], Serving::default());
        let error = outcome.unwrap_err();
        assert!(error.to_string().contains(expected), "{effect:?}: {error}");
    }
}

#[test]
fn a_rate_limit_changes_nothing_but_the_time() {
    let mut limited = options();
    limited.rate_limit = Some(sealift_registry::RateLimit::new(10 << 20));
    let shared = limited.rate_limit.clone();
    assert_eq!(
        pull(Serving::default(), limited, &[]).unwrap(),
        noise(1, LONG)
    );
    let mut limited = options();
    limited.rate_limit = shared;
    push(Serving::default(), limited, &[]).unwrap();
}
