//! The socket, from both ends.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sealift_agent::protocol::{
    Answer, Ask, MAX_ANSWER_LEN, MAX_QUESTION_LEN, Question, Refusal, Reply, frame, read_frame,
};
use sealift_agent::server::{Access, Limits, bind, serve};
use sealift_agent::{AgentIdentity, AskError};
use sealift_keywrap::keys::{KeyType, generate, parse_private, parse_public};
use sealift_keywrap::{
    Identity, Keyring, LayerSecret, Outcome, PrivateKey, PublicKey, Recipient, Scheme, UnwrapError,
    WrapContext, WrappedKey,
};
use zeroize::Zeroizing;

use crate::support::{Clock, Holders, denied, resident, subject, wrap};

/// An agent on a socket of its own, on a thread that ends with it.
struct Served {
    folder: tempfile::TempDir,
    holders: Arc<Holders>,
    _runtime: tokio::runtime::Runtime,
}

impl Served {
    fn new() -> Self {
        Self::with(Holders::default(), everybody(), Limits::default())
    }

    fn with(holders: Holders, access: Access, limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let holders = Arc::new(holders);
        let agent = resident(&holders, &Clock::default(), 600);
        let listener = {
            let _entered = runtime.enter();
            bind(&folder.path().join("agent.sock"), None).unwrap()
        };
        runtime.spawn(serve(listener, access, limits, agent));
        Self {
            folder,
            holders,
            _runtime: runtime,
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("agent.sock")
    }

    fn identity(&self) -> AgentIdentity {
        AgentIdentity::new(self.socket())
    }
}

fn everybody() -> Access {
    let own = std::fs::metadata("/proc/self").unwrap();
    Access::usual(std::os::unix::fs::MetadataExt::uid(&own), None)
}

fn unwrap(
    identity: &AgentIdentity,
    wrapped: &WrappedKey,
    subject: &str,
) -> Result<String, UnwrapError> {
    let context = WrapContext {
        subject: Some(subject),
        ..WrapContext::default()
    };
    let secret = identity.unwrap_key(wrapped, &context)?;
    Ok(String::from_utf8(secret.expose().to_vec()).unwrap())
}

/// A key that no holder has.
fn key_pair() -> (PrivateKey, PublicKey) {
    let generated = generate(KeyType::P256, None).unwrap();
    let private = parse_private(generated.private_pem.as_bytes(), None)
        .unwrap()
        .remove(0);
    let public = parse_public(generated.public_pem.as_bytes())
        .unwrap()
        .remove(0);
    (private, public)
}

/// Sends octets as they are and returns the last answer before the agent closes.
fn raw(socket: &Path, octets: &[u8]) -> Option<Refusal> {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(octets).unwrap();
    let json = read_frame(&mut stream, MAX_ANSWER_LEN).ok()?;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
    match Answer::parse(&json).unwrap().reply {
        Reply::Refused(refusal) => Some(refusal),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_keyring_asks_the_agent_once_for_all_layers_of_an_image() {
    let served = Served::new();
    let mut ring = Keyring::new();
    ring.push(Box::new(served.identity())).unwrap();
    let image: Vec<_> = (1..=5).map(|layer| wrap("k", layer)).collect();
    ring.prepare(&image);
    assert_eq!(served.holders.asked(), [0; 0]);
    for layer in 1..=5_u8 {
        let subject = subject(layer);
        let context = WrapContext {
            subject: Some(&subject),
            ..WrapContext::default()
        };
        let elements = [wrap("k", layer)];
        let unwrapped = ring.unwrap_keys(&elements, context).next().unwrap();
        assert_eq!(
            unwrapped.secret.expose(),
            format!("secret {layer}").as_bytes()
        );
    }
    assert_eq!(served.holders.asked(), [5]);
}

#[test]
fn an_image_of_more_layers_than_holders_take_is_asked_for_in_parts() {
    let served = Served::new();
    let identity = served.identity();
    let image: Vec<_> = (0..200).map(|layer| wrap("k", layer)).collect();
    identity.prepare(&image);
    for layer in 0..200 {
        let expected = Ok(format!("secret {layer}"));
        assert_eq!(
            unwrap(&identity, &wrap("k", layer), &subject(layer)),
            expected
        );
    }
    assert_eq!(served.holders.asked(), [128, 72]);
}

#[test]
fn a_refusal_names_holder_code_and_node() {
    let served = Served::new();
    served.holders.refusals.lock().unwrap().push_back(denied());
    let identity = served.identity();
    // Asked again, nobody is asked again.
    for _ in 0..2 {
        let error = unwrap(&identity, &wrap("k", 1), &subject(1)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "denied by key holder `fra`: Forbidden (node tokyo-7)"
        );
    }
    assert_eq!(served.holders.asked(), [1]);
}

#[test]
fn every_refusal_has_its_own_error() {
    for (refusal, expected) in [
        (
            Refusal::Unavailable {
                reason: "two of three holders are silent\n".into(),
            },
            "key holders unavailable: two of three holders are silent\u{fffd}",
        ),
        (Refusal::NotForTheseKeys {}, "wrapped for another key"),
        (Refusal::Altered {}, "wrapped key failed authentication"),
        (
            Refusal::Malformed { reason: "x".into() },
            "malformed wrapped key: the agent refused its form",
        ),
    ] {
        let served = Served::new();
        served.holders.refusals.lock().unwrap().push_back(refusal);
        let error = unwrap(&served.identity(), &wrap("k", 1), &subject(1)).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn a_wrap_of_another_layer_is_not_taken_to_the_agent() {
    // Nobody listens there: asking would say so.
    let identity = AgentIdentity::new("/nonexistent/agent.sock");
    let error = unwrap(&identity, &wrap("k", 1), &subject(2)).unwrap_err();
    let reason = "its label names something else";
    assert_eq!(error, UnwrapError::Malformed { reason });
    let nameless = identity.unwrap_key(&wrap("k", 1), &WrapContext::default());
    let reason = "its label cannot be compared with a layer whose name is not known";
    assert_eq!(nameless.unwrap_err(), UnwrapError::Malformed { reason });
}

#[test]
fn elements_that_holders_cannot_open_are_not_taken_to_the_agent() {
    let identity = AgentIdentity::new("/nonexistent/agent.sock");
    let element = |scheme, element: &[u8]| WrappedKey {
        scheme,
        element: element.to_vec(),
    };
    for wrapped in [
        element(Scheme::sealift(), br#"{"v":1,"type":"aes256"}"#),
        element(Scheme::Jwe, b"garbage"),
        element(Scheme::Pgp, b""),
    ] {
        let error = unwrap(&identity, &wrapped, &subject(1)).unwrap_err();
        assert_eq!(error, UnwrapError::NotForThisKey);
    }
    // But a JWE for a key on P-256 may be one of theirs.
    let (_, key) = key_pair();
    let secret = LayerSecret::new(Zeroizing::new(b"secret".to_vec()));
    let wrapped = key.wrap_key(&secret, &WrapContext::default()).unwrap();
    let error = unwrap(&identity, &wrapped, &subject(1)).unwrap_err();
    assert!(error.to_string().contains("no agent at"), "{error}");
}

#[test]
fn an_absent_agent_is_named_and_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("none.sock");
    let error = unwrap(&AgentIdentity::new(&socket), &wrap("k", 1), &subject(1)).unwrap_err();
    let expected = format!(
        "key holders unavailable: no agent at {}: No such file or directory (os error 2)",
        socket.display()
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn an_agent_that_dies_or_babbles_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for (index, (answer, expected)) in [
        (b"".as_slice(), "connection ended within a message"),
        (b"\0\0\0\x40{\"v\":1,", "connection ended within a message"),
        (b"\0\0\0\x02{}", "malformed message"),
        (b"\0\0\0\x07{\"v\":3}", "messages of version 3, not 1"),
        (
            b"\xff\0\0\0",
            "message of 4278190080 octets, at most 65536 are allowed",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let socket = folder.path().join(index.to_string());
        let listener = UnixListener::bind(&socket).unwrap();
        let agent = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let question = read_frame(&mut stream, MAX_QUESTION_LEN).unwrap();
            stream.write_all(answer).unwrap();
            Question::parse(&question).unwrap();
        });
        let error = unwrap(&AgentIdentity::new(&socket), &wrap("k", 1), &subject(1)).unwrap_err();
        let expected = format!(
            "key holders unavailable: agent at {} gave no answer: {expected}",
            socket.display()
        );
        assert_eq!(error.to_string(), expected);
        agent.join().unwrap();
    }
}

#[test]
fn a_silent_agent_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let identity = AgentIdentity::new(&socket).with_timeout(Duration::from_millis(50));
    let error = unwrap(&identity, &wrap("k", 1), &subject(1)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("gave no answer: connection failed"),
        "{error}"
    );
}

#[test]
fn garbage_is_refused_and_ends_the_connection() {
    let served = Served::new();
    let socket = served.socket();
    let bad = |reason: &str| {
        let reason = reason.into();
        Some(Refusal::BadRequest { reason })
    };
    assert_eq!(raw(&socket, b"\0\0\0\x04quit"), bad("malformed message"));
    assert_eq!(
        raw(&socket, b"\0\0\0\x07{\"v\":9}"),
        bad("messages of version 9, not 1")
    );
    assert_eq!(
        raw(&socket, &[0xff; 4]),
        bad("message of 4294967295 octets, at most 1048576 are allowed")
    );
    // The agent is still there.
    assert_eq!(
        unwrap(&served.identity(), &wrap("k", 1), &subject(1)),
        Ok("secret 1".into())
    );
}

#[test]
fn one_connection_serves_many_questions_and_may_end_between_them() {
    let served = Served::new();
    let mut stream = UnixStream::connect(served.socket()).unwrap();
    let question = frame(&Question::new(Ask::Status), MAX_QUESTION_LEN).unwrap();
    for _ in 0..3 {
        stream.write_all(&question).unwrap();
        let answer = read_frame(&mut stream, MAX_ANSWER_LEN).unwrap();
        assert!(matches!(
            Answer::parse(&answer).unwrap().reply,
            Reply::Status(_)
        ));
    }
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn slow_callers_are_dropped_and_hold_up_nobody_for_long() {
    let limits = Limits {
        connections: 1,
        patience: Duration::from_millis(50),
    };
    let served = Served::with(Holders::default(), everybody(), limits);
    let mut idle = UnixStream::connect(served.socket()).unwrap();
    let mut slow = UnixStream::connect(served.socket()).unwrap();
    slow.write_all(b"\0\0\0\x40{").unwrap();
    // Both held the only place before.
    assert_eq!(
        unwrap(&served.identity(), &wrap("k", 1), &subject(1)),
        Ok("secret 1".into())
    );
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
    assert_eq!(slow.read(&mut [0]).unwrap_or(0), 0);
}

#[test]
fn strangers_are_turned_away() {
    let access = Access {
        users: vec![u32::MAX - 1],
        group: None,
    };
    let served = Served::with(Holders::default(), access, Limits::default());
    let error = unwrap(&served.identity(), &wrap("k", 1), &subject(1)).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("key holders unavailable: agent at"),
        "{error}"
    );
    assert_eq!(served.holders.asked(), [0; 0]);

    let usual = Access::usual(1000, Some(50));
    for (user, group, admitted) in [
        (0, 0, true),
        (1000, 1, true),
        (1001, 50, true),
        (1001, 51, false),
    ] {
        assert_eq!(usual.admits(user, group), admitted, "{user}:{group}");
    }
    assert!(!Access::usual(1000, None).admits(1001, 0));
}

#[test]
fn the_socket_is_private_and_replaced_only_when_nobody_serves_it() {
    let served = Served::new();
    let mode = std::fs::metadata(served.socket())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _entered = runtime.enter();
        let taken = bind(&served.socket(), None).unwrap_err();
        assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
        let file = served.folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let occupied = bind(&file, None).unwrap_err();
        assert_eq!(occupied.kind(), std::io::ErrorKind::AlreadyExists);
        // Left behind by one that died.
        let stale = served.folder.path().join("stale.sock");
        drop(UnixListener::bind(&stale).unwrap());
        bind(&stale, None).map(|_| ())
    };
    assert_eq!(again.map_err(|error| error.kind()), Ok(()));
}

#[test]
fn status_and_prefetch_go_through() {
    let served = Served::new();
    let identity = served.identity();
    let (node, status) = identity.status().unwrap();
    assert_eq!(&*node, "tokyo-7");
    assert_eq!((status.leases, status.lease_seconds), (0, 600));
    let names: Vec<_> = status.holders.iter().map(|holder| &*holder.name).collect();
    assert_eq!(names, ["fra", "gru", "nrt"]);

    let image: Vec<_> = (0..200).map(|layer| wrap("k", layer)).collect();
    assert_eq!(identity.prefetch(&image).unwrap(), 200);
    for layer in 0..200 {
        let expected = Ok(format!("secret {layer}"));
        assert_eq!(
            unwrap(&identity, &wrap("k", layer), &subject(layer)),
            expected
        );
    }
    assert_eq!(served.holders.asked(), [128, 72]);
    let absent = AgentIdentity::new("/nonexistent").status().unwrap_err();
    assert!(matches!(absent, AskError::Unreachable { .. }));
}

#[test]
fn a_refusal_says_more_than_a_key_that_does_not_fit() {
    let served = Served::new();
    served.holders.refusals.lock().unwrap().push_back(denied());
    let mut ring = Keyring::new();
    ring.push(Box::new(served.identity())).unwrap();
    ring.push(Box::new(key_pair().0)).unwrap();
    let elements = [wrap("k", 1)];
    let subject = subject(1);
    let context = WrapContext {
        subject: Some(&subject),
        ..WrapContext::default()
    };
    let mut candidates = ring.unwrap_keys(&elements, context);
    assert!(candidates.next().is_none());
    let report = candidates.into_report().remove(0);
    let Outcome::Failed(UnwrapError::Denied { by, .. }) = report.outcome else {
        panic!("{report}");
    };
    assert_eq!(&*by, "fra");
}
