//! A client for HTTP/1.1 that follows nothing, repeats nothing, and shows what came.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use super::Subject;

/// What a registry answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Where the answer says that something is; every answer that must say so is asked here.
    pub(super) fn location(&self) -> &str {
        let location = self.header("Location");
        location.unwrap_or_else(|| unreachable!("no Location: {}", self.shown()))
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Passes if the status is one of these.
    pub(super) fn is(self, statuses: &[u16]) -> Self {
        assert!(
            statuses.contains(&self.status),
            "expected {statuses:?}: {}",
            self.shown()
        );
        self
    }

    /// Passes if a header has this value.
    pub(super) fn says(self, name: &str, value: &str) -> Self {
        assert_eq!(self.header(name), Some(value), "{name} in {}", self.shown());
        self
    }

    /// Passes if the body is this, which the length must say too.
    pub(super) fn holds(self, octets: &[u8]) -> Self {
        // Not with `assert_eq`, which would print megabytes.
        assert!(self.body == octets, "another body: {}", self.shown());
        self.says("Content-Length", &octets.len().to_string())
    }

    fn shown(&self) -> String {
        let body = &self.body[..self.body.len().min(500)];
        format!(
            "{} {:?} {}",
            self.status,
            self.headers,
            String::from_utf8_lossy(body)
        )
    }
}

/// The body of a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body<'a> {
    /// With its length said before.
    Whole(&'a [u8]),
    /// In pieces of HTTP, of which the registry learns the length at the end.
    Stream(&'a [u8]),
}

impl Subject {
    pub(super) fn get(&self, target: &str) -> Answer {
        self.send("GET", target, &[], Body::Whole(b""))
    }

    pub(super) fn head(&self, target: &str) -> Answer {
        self.send("HEAD", target, &[], Body::Whole(b""))
    }

    pub(super) fn delete(&self, target: &str) -> Answer {
        self.send("DELETE", target, &[], Body::Whole(b""))
    }

    pub(super) fn post(&self, target: &str) -> Answer {
        self.send("POST", target, &[], Body::Whole(b""))
    }

    /// Sends one request on a connection of its own. The target is a path, or a URL of this registry as `Location` has it.
    pub(super) fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Body<'_>,
    ) -> Answer {
        let target = match target.strip_prefix("http://") {
            Some(url) => url.strip_prefix(self.address.as_str()).unwrap(),
            None => target,
        };
        let mut request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
            self.address
        );
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut request = request.into_bytes();
        match body {
            Body::Whole(octets) => {
                write!(request, "Content-Length: {}\r\n\r\n", octets.len()).unwrap();
                request.extend(octets);
            }
            Body::Stream(octets) => {
                request.extend(b"Transfer-Encoding: chunked\r\n\r\n");
                for piece in octets.chunks(500) {
                    write!(request, "{:x}\r\n", piece.len()).unwrap();
                    request.extend(piece);
                    request.extend(b"\r\n");
                }
                request.extend(b"0\r\n\r\n");
            }
        }
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(&request).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        parse(&answer)
    }
}

/// Adds a parameter to a target that may have some (distribution-spec: the location "MAY contain critical query parameters").
pub(super) fn with_parameter(target: &str, name: &str, value: &str) -> String {
    let separator = if target.contains('?') { '&' } else { '?' };
    format!("{target}{separator}{name}={value}")
}

fn parse(answer: &[u8]) -> Answer {
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap();
    let head = std::str::from_utf8(&answer[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let headers = lines.map(|line| line.split_once(": ").unwrap());
    let mut answer = Answer {
        status: status.parse().unwrap(),
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        body: answer[end + 4..].to_vec(),
    };
    if answer.header("Transfer-Encoding") == Some("chunked") {
        answer.body = joined(&answer.body);
    }
    answer
}

/// Undoes the chunks of HTTP (RFC 9112, section 7.1).
fn joined(mut rest: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    loop {
        let end = rest
            .windows(2)
            .position(|window| window == b"\r\n")
            .unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return octets;
        }
        let chunk = &rest[end + 2..];
        octets.extend(&chunk[..size]);
        rest = &chunk[size + 2..];
    }
}
