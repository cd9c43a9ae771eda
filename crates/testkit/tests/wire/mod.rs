//! A client that shows what a registry really sent, octet by octet.
#![expect(clippy::unwrap_used, reason = "a test's own client")]
#![expect(
    unreachable_pub,
    reason = "shared by several tests, each its own crate"
)]

use std::io::{Read, Write};
use std::net::TcpStream;

use sealift_testkit::registry::{Auth, Bearer, Options, Registry, RunningRegistry};

/// What came back on one connection.
#[derive(Debug)]
pub struct Answer {
    /// Status line and headers, as they came.
    pub head: String,
    /// The rest, as it came.
    pub body: Vec<u8>,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub fn header(&self, name: &str) -> Option<String> {
        self.head.lines().find_map(|line| {
            let (n, value) = line.split_once(": ")?;
            n.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    }
}

/// Sends one request on a connection of its own and reads until the registry closes it.
pub fn send(
    registry: &RunningRegistry,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut stream = TcpStream::connect(registry.addr()).unwrap();
    let target = target.strip_prefix(&registry.url()).unwrap_or(target);
    let mut request = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    stream.write_all(request.as_bytes()).unwrap();
    // A registry that hangs up early makes this fail; what it answered is looked at all the same.
    drop(stream.write_all(body));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n");
    let body = answer.split_off(end.map_or(answer.len(), |at| at + 4));
    Answer {
        head: String::from_utf8(answer).unwrap(),
        body,
    }
}

pub fn get(registry: &RunningRegistry, target: &str) -> Answer {
    send(registry, "GET", target, &[], b"")
}

pub fn start() -> RunningRegistry {
    Registry::start(Options::default())
}

/// A registry with one blob, and the path of the blob.
pub fn with_blob(bytes: &[u8]) -> (RunningRegistry, String) {
    let registry = start();
    let digest = registry.put_blob("a/b", bytes);
    (registry, format!("/v2/a/b/blobs/{digest}"))
}

/// Opens an upload and returns its URL.
pub fn open_upload(registry: &RunningRegistry) -> String {
    let opened = send(registry, "POST", "/v2/a/blobs/uploads/", &[], b"");
    assert_eq!(
        (opened.status(), opened.header("Range").as_deref()),
        (202, Some("0-0"))
    );
    opened.header("Location").unwrap()
}

pub fn bearer(bearer: Bearer) -> RunningRegistry {
    Registry::start(Options {
        auth: Auth::Bearer(bearer),
        ..Options::default()
    })
}

pub fn with_token(registry: &RunningRegistry, method: &str, target: &str, token: &str) -> Answer {
    let value = format!("Bearer {token}");
    send(registry, method, target, &[("Authorization", &value)], b"")
}
