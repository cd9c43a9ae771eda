//! Just enough HTTP/1.1 to serve a registry, and to break off wherever a test wants.
//!
//! A library for HTTP would not do: it refuses to write what the faults need.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::line::Line;

/// Both directions of a connection, plain or TLS.
pub(super) trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// The head of a request.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
}

impl Head {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        form_values(&self.query, name).next()
    }
}

/// Returns the values of `name` in a query or a form, in their order.
pub(super) fn form_values<'a>(form: &'a str, name: &'a str) -> impl Iterator<Item = String> + 'a {
    form.split('&')
        .filter_map(|pair| pair.split_once('='))
        .filter(move |(key, _)| *key == name)
        .map(|(_, value)| percent_decoded(value))
}

/// Undoes percent-encoding and `+`.
pub(super) fn percent_decoded(text: &str) -> String {
    let mut decoded = Vec::new();
    let mut rest = text.as_bytes().iter().copied();
    while let Some(octet) = rest.next() {
        decoded.push(match octet {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().unwrap_or(b'0'), rest.next().unwrap_or(b'0')];
                hex::decode(digits).map_or(b'?', |d| d[0])
            }
            other => other,
        });
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// What is answered.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Body,
}

impl Reply {
    pub(super) fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Body::from(Vec::new()),
        }
    }

    /// Makes an error document as distribution specifies it.
    pub(super) fn error(status: u16, code: &str) -> Self {
        let document =
            serde_json::json!({"errors": [{"code": code, "message": code.to_lowercase()}]});
        Self::new(status)
            .with("Content-Type", "application/json")
            .body(document.to_string().into_bytes())
    }

    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.set(name, value);
        self
    }

    pub(super) fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.remove(name);
        self.headers.push((name.to_owned(), value.into()));
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
    }
}

/// The body of a reply.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// A part of something held.
    Part {
        /// The whole.
        whole: Arc<Vec<u8>>,
        /// First octet served.
        start: usize,
        /// Octets served.
        length: usize,
    },
    /// This many spaces.
    Blanks(u64),
}

impl Body {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Part { length, .. } => *length as u64,
            Self::Blanks(length) => *length,
        }
    }

    /// Returns at most `limit` octets from `position` on; empty at the end.
    fn piece(&self, position: u64, limit: usize) -> &[u8] {
        match self {
            Self::Part {
                whole,
                start,
                length,
            } => {
                let position = usize::try_from(position).unwrap().min(*length);
                let end = position.saturating_add(limit).min(*length);
                &whole[start + position..start + end]
            }
            Self::Blanks(length) => {
                let left = usize::try_from(length - position.min(*length)).unwrap();
                &BLANKS[..left.min(limit).min(BLANKS.len())]
            }
        }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from(Arc::new(bytes))
    }
}

impl From<Arc<Vec<u8>>> for Body {
    fn from(whole: Arc<Vec<u8>>) -> Self {
        let length = whole.len();
        Self::Part {
            whole,
            start: 0,
            length,
        }
    }
}

/// How a reply is written.
#[derive(Clone, Debug, Default)]
pub(super) struct Delivery {
    pub(super) cut_header: bool,
    pub(super) cut_body: Option<u64>,
    pub(super) declared_length: Option<u64>,
    pub(super) framing: Framing,
    pub(super) trickle: Option<(usize, Duration)>,
    pub(super) reset_after: Option<u64>,
    pub(super) no_body: bool,
}

/// How the end of a reply is told.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Framing {
    #[default]
    Length,
    Chunked,
    Close,
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Next {
    Keep,
    Close,
}

/// One client's connection.
pub(super) struct Connection {
    stream: BufReader<Box<dyn Stream>>,
    line: Arc<Line>,
    body: Pending,
    expects_continue: bool,
    /// The client will not ask again.
    is_last: bool,
}

/// What is still to be read of the request body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Pending {
    Octets(u64),
    Chunks { left: u64 },
}

impl Connection {
    /// Speaks over a stream, plain or TLS, which goes over `line`.
    pub(super) fn new(stream: Box<dyn Stream>, line: Arc<Line>) -> Self {
        Self {
            stream: BufReader::with_capacity(PIECE, stream),
            line,
            body: Pending::Octets(0),
            expects_continue: false,
            is_last: false,
        }
    }

    /// Reads the head of the next request; `None` when the client has hung up.
    pub(super) fn head(&mut self) -> io::Result<Option<Head>> {
        let first = self.line()?;
        if first.is_empty() {
            return Ok(None);
        }
        let mut words = first.split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let target = words.next().ok_or(io::ErrorKind::InvalidData)?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let head = Head {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers,
        };
        let is_chunked = head
            .header("transfer-encoding")
            .is_some_and(|v| v.eq_ignore_ascii_case("chunked"));
        self.body = if is_chunked {
            Pending::Chunks { left: 0 }
        } else {
            let length = head.header("content-length").unwrap_or("0");
            Pending::Octets(length.parse().map_err(|_| io::ErrorKind::InvalidData)?)
        };
        self.expects_continue = head
            .header("expect")
            .is_some_and(|v| v.eq_ignore_ascii_case("100-continue"));
        self.is_last = head
            .header("connection")
            .is_some_and(|v| v.eq_ignore_ascii_case("close"));
        Ok(Some(head))
    }

    /// Reads the next piece of the request body, at most `limit` octets; empty at its end.
    pub(super) fn piece(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        if self.expects_continue {
            self.expects_continue = false;
            let stream = self.stream.get_mut();
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            stream.flush()?;
        }
        if self.body == (Pending::Chunks { left: 0 }) {
            let size = self.line()?;
            let size = size.split(';').next().unwrap_or_default();
            let left = u64::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
            self.body = Pending::Chunks { left };
            if left == 0 {
                while !self.line()?.is_empty() {}
                self.body = Pending::Octets(0);
            }
        }
        let (Pending::Octets(left) | Pending::Chunks { left }) = self.body;
        let mut piece = vec![0; limit.min(PIECE).min(usize::try_from(left).unwrap())];
        if piece.is_empty() {
            return Ok(piece);
        }
        let read = self.stream.read(&mut piece)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        piece.truncate(read);
        let left = left - read as u64;
        match self.body {
            Pending::Octets(_) => self.body = Pending::Octets(left),
            Pending::Chunks { .. } => {
                self.body = Pending::Chunks { left };
                if left == 0 && !self.line()?.is_empty() {
                    return Err(io::ErrorKind::InvalidData.into());
                }
            }
        }
        Ok(piece)
    }

    /// Lets the connection end with a reset; returns the error that ends it.
    pub(super) fn reset(&self) -> io::Error {
        self.line.reset()
    }

    /// Writes a reply.
    pub(super) fn answer(&mut self, reply: &Reply, delivery: &Delivery) -> io::Result<Next> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", reply.status, reason(reply.status));
        for (name, value) in &reply.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match delivery.framing {
            // RFC 9110, section 8.6: no length with 204; a HEAD tells the length a GET would have.
            _ if reply.status == 204 => {}
            Framing::Length => {
                let length = delivery.declared_length.unwrap_or(reply.body.len());
                head.push_str(&format!("Content-Length: {length}\r\n"));
            }
            Framing::Chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
            Framing::Close => head.push_str("Connection: close\r\n"),
        }
        head.push_str("\r\n");
        if delivery.cut_header {
            head.truncate(head.len() / 2);
        }
        let stream = self.stream.get_mut();
        stream.write_all(head.as_bytes())?;
        if delivery.cut_header {
            stream.flush()?;
            return Ok(Next::Close);
        }
        if let Some(octets) = delivery.reset_after {
            // Counted on the line itself, where TLS has made records of the body.
            stream.flush()?;
            self.line.reset_after(octets);
        }
        if !delivery.no_body {
            self.write_body(&reply.body, delivery)?;
        }
        self.stream.get_mut().flush()?;
        if delivery.reset_after.is_some() {
            return Err(self.reset());
        }
        let lied = delivery
            .declared_length
            .is_some_and(|length| length != reply.body.len());
        let is_cut = delivery.cut_body.is_some() || delivery.framing == Framing::Close;
        let is_over = lied || is_cut || self.is_last;
        Ok(if is_over { Next::Close } else { Next::Keep })
    }

    fn write_body(&mut self, body: &Body, delivery: &Delivery) -> io::Result<()> {
        let stream = self.stream.get_mut();
        let (limit, pause) = delivery.trickle.unwrap_or((PIECE, Duration::ZERO));
        let end = delivery.cut_body.unwrap_or(u64::MAX).min(body.len());
        let mut position = 0;
        while position < end {
            let left = usize::try_from(end - position).unwrap();
            let piece = body.piece(position, limit.min(left));
            if delivery.framing == Framing::Chunked {
                write!(stream, "{:x}\r\n", piece.len())?;
            }
            stream.write_all(piece)?;
            if delivery.framing == Framing::Chunked {
                stream.write_all(b"\r\n")?;
            }
            position += piece.len() as u64;
            if !pause.is_zero() {
                stream.flush()?;
                thread::sleep(pause);
            }
        }
        if delivery.framing == Framing::Chunked && delivery.cut_body.is_none() {
            stream.write_all(b"0\r\n\r\n")?;
        }
        Ok(())
    }

    /// Reads one line without its end; empty at the end of the stream too.
    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        (&mut self.stream)
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)?;
        while line.last().is_some_and(|o| matches!(o, b'\r' | b'\n')) {
            line.pop();
        }
        String::from_utf8(line).map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        _ => "Status",
    }
}

/// Octets read or written at a time.
const PIECE: usize = 64 << 10;

/// Longest line of a head.
const MAX_LINE: u64 = 64 << 10;

static BLANKS: [u8; PIECE] = [b' '; PIECE];
