//! Programs as key providers: what they are told, and every way in which they fail.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use sealift_keywrap::{
    Identity, LayerSecret, Recipient, Scheme, UnwrapError, WrapContext, WrapError, WrappedKey,
};
use sealift_provider::{CallOptions, Config, Providers};
use zeroize::Zeroizing;

/// Providers with one, `demo`, that is a shell script; `$0` is a folder for its traces.
fn providers(script: &str, folder: &Path, timeout: Duration) -> Providers {
    let config = serde_json::json!({"key-providers": {"demo": {"cmd": {
        "path": "/bin/sh",
        "args": ["-c", script, folder],
    }}}});
    let options = CallOptions {
        timeout,
        hidden: vec![OsString::from("CARGO_PKG_NAME")],
    };
    Providers::new(
        Config::parse(config.to_string().as_bytes()).unwrap(),
        options,
    )
}

fn secret(octets: &[u8]) -> LayerSecret {
    LayerSecret::new(Zeroizing::new(octets.to_vec()))
}

fn element(octets: &[u8]) -> WrappedKey {
    WrappedKey {
        scheme: Scheme::Provider("demo".into()),
        element: octets.to_vec(),
    }
}

/// Unwraps with a script, in at most ten seconds.
fn unwrap(script: &str) -> Result<LayerSecret, UnwrapError> {
    unwrap_within(script, Duration::from_secs(10), &element(b"blob"))
}

fn unwrap_within(
    script: &str,
    timeout: Duration,
    wrapped: &WrappedKey,
) -> Result<LayerSecret, UnwrapError> {
    let folder = tempfile::tempdir().unwrap();
    let providers = providers(script, folder.path(), timeout);
    let identity = providers.identity("demo", None).unwrap();
    identity.unwrap_key(wrapped, &WrapContext::default())
}

fn failed(reason: &str) -> Option<UnwrapError> {
    Some(UnwrapError::ProviderFailed {
        name: "demo".into(),
        reason: reason.into(),
    })
}

fn unavailable(reason: &str) -> Option<UnwrapError> {
    Some(UnwrapError::ProviderUnavailable {
        name: "demo".into(),
        reason: reason.into(),
    })
}

#[test]
fn a_program_reads_one_request_and_its_output_is_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"cat >"$0/request"; echo noise >&2
        echo '{"keywrapresults":{"annotation":"YmxvYg=="},"keyunwrapresults":{"optsdata":[107,101,121]}}'"#;
    let providers = providers(script, folder.path(), Duration::from_secs(10));
    let context = WrapContext::default();
    let recipient = providers.recipient("demo", Some("some:extra")).unwrap();
    assert_eq!(recipient.fingerprint(), "provider:demo");
    let wrapped = recipient.wrap_key(&secret(b"key"), &context).unwrap();
    assert_eq!(wrapped, element(b"blob"));
    let request = || std::fs::read_to_string(folder.path().join("request")).unwrap();
    assert_eq!(
        request(),
        r#"{"op":"keywrap","keywrapparams":{"ec":{"Parameters":{"demo":["c29tZTpleHRyYQ=="]},"DecryptConfig":{"Parameters":{}}},"optsdata":"a2V5"},"keyunwrapparams":{"dc":null,"annotation":null}}"#
    );
    let identity = providers.identity("demo", None).unwrap();
    let opened = identity.unwrap_key(&wrapped, &context).unwrap();
    assert_eq!(opened.expose(), b"key");
    assert_eq!(
        request(),
        r#"{"op":"keyunwrap","keywrapparams":{"ec":null,"optsdata":null},"keyunwrapparams":{"dc":{"Parameters":{"demo":["RW5hYmxlZA=="]}},"annotation":"YmxvYg=="}}"#
    );
}

#[test]
fn a_provider_is_asked_for_its_own_annotation_only() {
    for scheme in [
        Scheme::Jwe,
        Scheme::sealift(),
        Scheme::Provider("other".into()),
    ] {
        let wrapped = WrappedKey {
            scheme,
            element: b"blob".to_vec(),
        };
        let error = unwrap_within("exit 1", Duration::from_secs(10), &wrapped).err();
        assert_eq!(error, Some(UnwrapError::NotForThisKey));
    }
}

#[test]
fn an_error_tells_the_exit_status_and_what_the_program_says() {
    assert_eq!(unwrap("exit 1").err(), failed("exit status: 1"));
    assert_eq!(
        unwrap("printf 'no\\033[2J key\\n for you\\n' >&2; exit 3").err(),
        failed("exit status: 3; it says: no [2J key for you")
    );
    assert_eq!(unwrap("kill -9 $$").err(), failed("signal: 9 (SIGKILL)"));
}

#[test]
fn an_answer_that_is_none_is_told_with_what_the_program_says() {
    for (script, reason) in [
        ("true", "not JSON as the key-provider protocol has it"),
        ("echo hello", "not JSON as the key-provider protocol has it"),
        ("echo '{}'", "nothing in `keyunwrapresults.optsdata`"),
        (
            r#"echo '{"keywrapresults":{"annotation":"AAAA"},"keyunwrapresults":null}'"#,
            "nothing in `keyunwrapresults.optsdata`",
        ),
        (
            r#"echo '{"keyunwrapresults":{"optsdata":"A"}}'"#,
            "not JSON as the key-provider protocol has it",
        ),
    ] {
        assert_eq!(
            unwrap(script).err(),
            failed(&format!("malformed answer: {reason}")),
            "{script}"
        );
    }
    assert_eq!(
        unwrap("echo why >&2; echo x").err(),
        failed("malformed answer: not JSON as the key-provider protocol has it; it says: why")
    );
}

#[test]
fn a_program_that_hangs_is_ended_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    // The grandchild ignores the end of its parent and keeps the pipes open.
    let script =
        r#"echo thinking >&2; sleep 1000 & echo $! >"$0/grandchild"; echo $$ >"$0/child"; wait"#;
    let providers = providers(script, folder.path(), Duration::from_millis(700));
    let identity = providers.identity("demo", None).unwrap();
    let error = identity
        .unwrap_key(&element(b"blob"), &WrapContext::default())
        .err();
    assert_eq!(
        error,
        unavailable("no answer within 0.7 s; it says: thinking")
    );
    for name in ["child", "grandchild"] {
        let pid = std::fs::read_to_string(folder.path().join(name)).unwrap();
        let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        let gone = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            is_gone(pid, name)
        });
        assert!(gone, "{name} is still there");
    }
}

/// Returns whether a process has ended. Our own child must have been waited for; others are init's to reap.
fn is_gone(pid: rustix::process::Pid, name: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    match stat {
        Ok(stat) => name == "grandchild" && stat.contains(") Z "),
        Err(_) => true,
    }
}

#[test]
fn a_program_that_never_answers_is_not_asked_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"echo >>"$0/calls"; sleep 1000"#;
    let providers = providers(script, folder.path(), Duration::from_millis(300));
    let identity = providers.identity("demo", None).unwrap();
    let ask = || {
        identity
            .unwrap_key(&element(b"blob"), &WrapContext::default())
            .err()
    };
    for _ in 0..3 {
        assert_eq!(ask(), unavailable("no answer within 0.3 s"));
    }
    for _ in 0..3 {
        assert_eq!(
            ask(),
            unavailable("no answer 3 times in a row, not asked again")
        );
    }
    let calls = std::fs::read(folder.path().join("calls")).unwrap();
    assert_eq!(calls, b"\n\n\n");
}

#[test]
fn time_is_up_also_for_a_program_that_answered_and_did_not_end() {
    let script = r#"echo '{"keyunwrapresults":{"optsdata":"AAAA"}}'; exec >&- 2>&-; sleep 1000"#;
    let error = unwrap_within(script, Duration::from_millis(700), &element(b"blob")).err();
    assert_eq!(error, unavailable("no answer within 0.7 s"));
}

#[test]
fn a_program_need_not_read_its_request() {
    // More than a pipe holds.
    let long = element(&vec![7; 200_000]);
    for script in [
        r#"echo '{"keyunwrapresults":{"optsdata":"a2V5"}}'"#,
        r#"exec <&-; sleep 0.1; echo '{"keyunwrapresults":{"optsdata":"a2V5"}}'"#,
        r#"echo '{"keyunwrapresults":{"optsdata":"a2V5"}}'; sleep 0.1; cat >/dev/null"#,
    ] {
        let opened = unwrap_within(script, Duration::from_secs(10), &long).unwrap();
        assert_eq!(opened.expose(), b"key", "{script}");
    }
}

#[test]
fn a_program_may_say_more_than_anybody_wants_to_hear() {
    let script = r#"head -c 20000000 /dev/zero | tr '\0' x >&2; echo the end >&2
        cat >/dev/null; echo '{"keyunwrapresults":{"optsdata":"a2V5"}}'"#;
    assert_eq!(unwrap(script).unwrap().expose(), b"key");
    let Some(UnwrapError::ProviderFailed { reason, .. }) =
        unwrap(&format!("{script}; exit 1")).err()
    else {
        panic!("not a failure");
    };
    assert!(
        reason.starts_with("exit status: 1; it says: …x"),
        "{reason}"
    );
    assert!(
        reason.ends_with("x the end") || reason.ends_with("xthe end"),
        "{reason}"
    );
    assert!(reason.chars().count() < 600);
}

#[test]
fn a_gigabyte_of_answer_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"head -c 1000000000 /dev/zero && touch "$0/all""#;
    let providers = providers(script, folder.path(), Duration::from_secs(100));
    let identity = providers.identity("demo", None).unwrap();
    let error = identity
        .unwrap_key(&element(b"blob"), &WrapContext::default())
        .err();
    assert_eq!(error, failed("answer longer than 262144 octets"));
    // Nobody took the rest of it.
    assert!(!folder.path().join("all").exists());
}

#[test]
fn a_hostile_layer_does_not_start_a_program_for_every_element() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"echo x >>"$0/starts"; exit 1"#;
    let providers = providers(script, folder.path(), Duration::from_secs(100));
    let mut ring = sealift_keywrap::Keyring::new();
    ring.push(Box::new(providers.identity("demo", None).unwrap()))
        .unwrap();
    let elements: Vec<_> = (0..200u8).map(|octet| element(&[octet])).collect();
    let mut found = ring.unwrap_keys(&elements, WrapContext::default());
    assert!(found.next().is_none());
    let starts = std::fs::read_to_string(folder.path().join("starts")).unwrap();
    assert_eq!(starts.lines().count(), 64);
}

#[test]
fn a_program_that_cannot_be_started_is_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    std::fs::write(&plain, "#!/bin/sh\n").unwrap();
    for (path, reason) in [
        (
            "/does/not/exist".to_owned(),
            "cannot start `/does/not/exist`: No such file or directory (os error 2)".to_owned(),
        ),
        (
            plain.display().to_string(),
            format!(
                "cannot start `{}`: Permission denied (os error 13)",
                plain.display()
            ),
        ),
    ] {
        let config = serde_json::json!({"key-providers": {"demo": {"cmd": {"path": path}}}});
        let config = Config::parse(config.to_string().as_bytes()).unwrap();
        let providers = Providers::new(config, CallOptions::default());
        let identity = providers.identity("demo", None).unwrap();
        let error = identity
            .unwrap_key(&element(b"blob"), &WrapContext::default())
            .err();
        assert_eq!(error, unavailable(&reason));
    }
}

#[test]
fn a_program_inherits_the_environment_but_for_what_is_hidden() {
    // Cargo sets both for tests; the second is hidden.
    let script = r#"test -n "$CARGO_MANIFEST_DIR" && test -z "$CARGO_PKG_NAME" || exit 1
        echo '{"keyunwrapresults":{"optsdata":"a2V5"}}'"#;
    assert!(std::env::var_os("CARGO_PKG_NAME").is_some());
    assert_eq!(unwrap(script).unwrap().expose(), b"key");
}

#[test]
fn nothing_is_wrapped_partly() {
    let folder = tempfile::tempdir().unwrap();
    let wrap = |script: &str| {
        let providers = providers(script, folder.path(), Duration::from_secs(10));
        let recipient = providers.recipient("demo", None).unwrap();
        recipient
            .wrap_key(&secret(b"key"), &WrapContext::default())
            .err()
    };
    let refused = |reason: &str| {
        Some(WrapError::Provider {
            name: "demo".into(),
            reason: reason.into(),
        })
    };
    assert_eq!(
        wrap("echo no >&2; exit 1"),
        refused("exit status: 1; it says: no")
    );
    assert_eq!(
        wrap(r#"echo '{"keywrapresults":{"annotation":""}}'"#),
        refused("malformed answer: nothing in `keywrapresults.annotation`")
    );
    assert_eq!(
        wrap(r#"echo '{"keyunwrapresults":{"optsdata":"a2V5"}}'"#),
        refused("malformed answer: nothing in `keywrapresults.annotation`")
    );
}

#[test]
fn calls_are_made_at_the_same_time_and_from_threads_of_an_event_loop() {
    let folder = tempfile::tempdir().unwrap();
    // Each waits for seven others, and none answers before all are there.
    let script = r#"mkdir -p "$0/here"; touch "$0/here/$$"
        while [ "$(ls "$0/here" | wc -l)" -lt 8 ]; do sleep 0.05; done
        echo '{"keyunwrapresults":{"optsdata":"a2V5"}}'"#;
    let providers = providers(script, folder.path(), Duration::from_secs(20));
    let identity = providers.identity("demo", None).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let opened = identity.unwrap_key(&element(b"blob"), &WrapContext::default());
                assert_eq!(opened.unwrap().expose(), b"key");
            });
        }
    });

    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async move {
        let opened = identity.unwrap_key(&element(b"blob"), &WrapContext::default());
        assert_eq!(opened.unwrap().expose(), b"key");
        // Dropped here, too, where nothing may wait.
        drop(identity);
        drop(providers);
    });
}
