//! The registry breaks the specification where a test scripted that, and only there.

mod wire;

use std::io::ErrorKind::{ConnectionReset, TimedOut, WouldBlock};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use sealift_testkit::registry::{Bearer, Effect, Fault, Operation};
use wire::{Answer, bearer, get, open_upload, send, start, with_blob, with_token};

/// Every fault of an answer to `GET`, and how the answer then differs from the right one.
#[test]
fn breaks_one_answer_as_scripted_and_the_next_not() {
    type Check = fn(&Answer) -> bool;
    let is_right: Check = |a| {
        a.status() == 200
            && a.body == b"0123456789"
            && a.header("Content-Length").as_deref() == Some("10")
            && a.header("Docker-Content-Digest").is_some()
    };
    let name = |n: &str| n.to_owned();
    let table: &[(Effect, Check)] = &[
        (Effect::status(500), |a| a.status() == 500),
        (Effect::retry_after(429, "7"), |a| {
            a.status() == 429 && a.header("Retry-After").as_deref() == Some("7")
        }),
        (Effect::HangUp, |a| a.head.is_empty()),
        (Effect::LoseReply, |a| a.head.is_empty()),
        (Effect::CutHeader, |a| {
            !a.head.is_empty() && !a.head.ends_with("\r\n\r\n")
        }),
        (Effect::CutBody(4), |a| {
            a.body == b"0123" && a.header("Content-Length").as_deref() == Some("10")
        }),
        (Effect::CutBody(0), |a| {
            a.status() == 200 && a.body.is_empty()
        }),
        (Effect::DeclareLength(11), |a| {
            a.body == b"0123456789" && a.header("Content-Length").as_deref() == Some("11")
        }),
        (Effect::DeclareLength(9), |a| {
            a.header("Content-Length").as_deref() == Some("9")
        }),
        (Effect::NoLength, |a| {
            a.header("Content-Length").is_none() && a.body == b"0123456789"
        }),
        (Effect::Chunked, |a| {
            a.header("Transfer-Encoding").as_deref() == Some("chunked")
                && a.body == b"a\r\n0123456789\r\n0\r\n\r\n"
        }),
        (Effect::FlipBit(3), |a| a.body == b"0122456789"),
        (Effect::Body(b"else".to_vec()), |a| a.body == b"else"),
        (Effect::Blanks(100_000), |a| a.body == [b' '; 100_000]),
        (
            Effect::SetHeader(name("docker-content-digest"), name("sha256:00")),
            |a| a.header("Docker-Content-Digest").as_deref() == Some("sha256:00"),
        ),
        (Effect::DropHeader(name("Docker-Content-Digest")), |a| {
            a.header("Docker-Content-Digest").is_none()
        }),
        (Effect::Redirect(name("http://localhost:1/x")), |a| {
            a.status() == 307 && a.header("Location").as_deref() == Some("http://localhost:1/x")
        }),
    ];
    for (effect, is_broken) in table {
        let (registry, path) = with_blob(b"0123456789");
        let before = get(&registry, &path);
        assert!(
            is_right(&before) && !is_broken(&before),
            "{effect:?} shows without being scripted"
        );
        registry.set_fault(Fault::on(Operation::GetBlob, effect.clone()));
        assert_eq!(registry.pending_faults(), 1);
        assert_eq!(
            get(&registry, "/v2/").status(),
            200,
            "{effect:?} meets another operation"
        );
        let broken = get(&registry, &path);
        assert!(is_broken(&broken), "{effect:?} gave {broken:?}");
        assert_eq!(registry.pending_faults(), 0);
        let after = get(&registry, &path);
        assert!(is_right(&after), "{effect:?} lasts: {after:?}");
    }
}

#[test]
fn meets_the_requests_a_fault_names_and_in_their_number() {
    let (registry, path) = with_blob(b"x");
    registry.set_fault(
        Fault::new(Effect::status(503))
            .path_contains("/tags/")
            .always(),
    );
    registry.set_fault(
        Fault::on(Operation::GetBlob, Effect::status(429))
            .after(1)
            .times(2),
    );
    registry.set_fault(Fault::on(Operation::GetBlob, Effect::status(500)));
    let statuses: Vec<_> = (0..5).map(|_| get(&registry, &path).status()).collect();
    assert_eq!(statuses, [200, 429, 429, 500, 200]);
    assert_eq!(get(&registry, "/v2/a/b/tags/list").status(), 503);
    assert_eq!(get(&registry, "/v2/a/b/tags/list").status(), 503);
    registry.clear_faults();
    assert_eq!(get(&registry, "/v2/a/b/tags/list").status(), 200);
}

#[test]
fn lies_about_ranges_when_scripted() {
    let (registry, path) = with_blob(b"0123456789");
    let ask = || send(&registry, "GET", &path, &[("Range", "bytes=4-6")], b"");
    registry.set_fault(Fault::new(Effect::WholeBody));
    registry.set_fault(Fault::new(Effect::ShiftRange(2)));
    registry.set_fault(Fault::new(Effect::SetHeader(
        "Content-Range".into(),
        "bytes 0-2/10".into(),
    )));
    let whole = ask();
    assert_eq!(
        (whole.status(), whole.body.as_slice()),
        (200, b"0123456789".as_slice())
    );
    let shifted = ask();
    assert_eq!(
        (shifted.status(), shifted.body.as_slice()),
        (206, b"678".as_slice())
    );
    assert_eq!(
        shifted.header("Content-Range").as_deref(),
        Some("bytes 4-6/10")
    );
    assert_eq!(
        ask().header("Content-Range").as_deref(),
        Some("bytes 0-2/10")
    );
    assert_eq!(ask().body, b"456");
}

#[test]
fn trickles_when_scripted() {
    let (registry, path) = with_blob(b"0123456789");
    let pause = Duration::from_millis(20);
    registry.set_fault(Fault::new(Effect::Trickle { bytes: 2, pause }));
    assert_eq!(get(&registry, &path).body, b"0123456789");
    // In HTTP chunks the pieces are seen; that there is a pause between them, clients find out who give up meanwhile.
    registry.set_fault(Fault::new(Effect::Trickle { bytes: 4, pause }).and(Effect::Chunked));
    assert_eq!(
        get(&registry, &path).body,
        b"4\r\n0123\r\n4\r\n4567\r\n2\r\n89\r\n0\r\n\r\n"
    );
}

#[test]
fn stalls_until_it_is_dropped() {
    let (registry, path) = with_blob(b"x");
    registry.set_fault(Fault::new(Effect::Stall));
    let mut stream = TcpStream::connect(registry.addr()).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\n\r\n").unwrap();
    registry.wait_for(Operation::GetBlob, 1);
    assert_eq!(registry.log()[0].status, None);
    stream
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let silence = stream.read(&mut [0]).map_err(|e| e.kind());
    // Unix says the one, Windows the other.
    assert!(matches!(silence, Err(WouldBlock | TimedOut)), "{silence:?}");
    drop(registry);
    stream.set_read_timeout(None).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
}

#[test]
fn stalls_within_a_body_when_scripted() {
    let (registry, path) = with_blob(b"0123456789");
    registry.set_fault(Fault::new(Effect::StallAfter(4)));
    let mut stream = TcpStream::connect(registry.addr()).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n0123") {
        let mut octet = [0];
        stream.read_exact(&mut octet).unwrap();
        answer.push(octet[0]);
    }
    let wait = Some(Duration::from_millis(50));
    stream.set_read_timeout(wait).unwrap();
    let silence = stream.read(&mut [0]).map_err(|e| e.kind());
    assert!(matches!(silence, Err(WouldBlock | TimedOut)), "{silence:?}");
}

#[test]
fn resets_a_connection_when_scripted() {
    let (registry, path) = with_blob(&[b'x'; 1000]);
    registry.set_fault(Fault::new(Effect::ResetAfter(10)));
    let mut stream = TcpStream::connect(registry.addr()).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let error = stream.read_to_end(&mut answer).unwrap_err();
    assert_eq!(error.kind(), ConnectionReset);
    assert!(answer.len() < 1000);
    let upload = open_upload(&registry);
    registry.set_fault(Fault::on(Operation::PatchUpload, Effect::ResetAfter(3)));
    let mut stream = TcpStream::connect(registry.addr()).unwrap();
    let target = upload.strip_prefix(&registry.url()).unwrap();
    let head = format!("PATCH {target} HTTP/1.1\r\nContent-Length: 6\r\n\r\n");
    write!(stream, "{head}layers").unwrap();
    let error = stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ConnectionReset);
    let held = get(&registry, &upload).header("Range");
    assert_eq!(held.as_deref(), Some("0-2"));
}

#[test]
fn lets_a_blob_vanish_when_scripted() {
    let (registry, path) = with_blob(b"x");
    registry.set_fault(Fault::on(Operation::HeadBlob, Effect::Vanish));
    assert_eq!(get(&registry, &path).status(), 200);
    assert_eq!(send(&registry, "HEAD", &path, &[], b"").status(), 200);
    assert_eq!(get(&registry, &path).status(), 404);
}

#[test]
fn keeps_what_a_broken_upload_brought() {
    let registry = start();
    let location = open_upload(&registry);
    registry.set_fault(Fault::on(Operation::PatchUpload, Effect::HangUpAfter(3)));
    registry.set_fault(Fault::on(Operation::PatchUpload, Effect::KeepOnly(2)));
    registry.set_fault(Fault::on(Operation::PatchUpload, Effect::LoseReply));
    assert_eq!(send(&registry, "PATCH", &location, &[], b"layers").head, "");
    assert_eq!(
        get(&registry, &location).header("Range").as_deref(),
        Some("0-2")
    );
    let short = send(&registry, "PATCH", &location, &[], b"ers!");
    assert_eq!(
        (short.status(), short.header("Range").as_deref()),
        (202, Some("0-4"))
    );
    assert_eq!(send(&registry, "PATCH", &location, &[], b"s!").head, "");
    assert_eq!(
        get(&registry, &location).header("Range").as_deref(),
        Some("0-6")
    );
    let received: Vec<_> = registry.log().iter().map(|e| e.received).collect();
    assert_eq!(received, [0, 3, 0, 4, 2, 0]);
}

#[test]
fn loses_an_upload_when_scripted() {
    let registry = start();
    let location = open_upload(&registry);
    registry.set_fault(Fault::on(Operation::PatchUpload, Effect::ForgetUpload));
    assert_eq!(send(&registry, "PATCH", &location, &[], b"x").status(), 404);
    assert_eq!(registry.open_uploads(), 0);
}

#[test]
fn refuses_one_mount_when_scripted() {
    let registry = start();
    let digest = registry.put_blob("a", b"x");
    registry.set_fault(Fault::on(Operation::Mount, Effect::RefuseMount));
    let target = format!("/v2/b/blobs/uploads/?mount={digest}&from=a");
    let mount = || send(&registry, "POST", &target, &[], b"").status();
    assert_eq!((mount(), mount()), (202, 201));
}

#[test]
fn lets_a_token_die_when_scripted() {
    let registry = bearer(Bearer::default());
    get(&registry, "/token?scope=repository:a:pull");
    registry.set_fault(Fault::on(Operation::ListTags, Effect::ExpireToken).after(1));
    let ask = || with_token(&registry, "GET", "/v2/a/tags/list", "token-1").status();
    assert_eq!((ask(), ask()), (200, 401));
}
