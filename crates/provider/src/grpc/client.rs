//! One call of a gRPC service.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use h2::client::SendRequest;
use http::{HeaderMap, Request, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::target::Place;
use super::{Method, Target, frame, tls};
use crate::error::Said;
use crate::message::MAX_ANSWER_LEN;
use crate::{Answer, GrpcCode, ProviderError};

/// Connects, asks and waits for the answer.
pub(crate) async fn call(
    target: &Target,
    method: Method,
    request: &[u8],
    limit: Duration,
) -> Result<Answer, ProviderError> {
    let exchange = async {
        let stream = connect(target).await?;
        exchange(target, stream, method, request, limit).await
    };
    match timeout(limit, exchange).await {
        // We told it our limit, and it keeps to that.
        Ok(Err(ProviderError::Refused { code, said })) if code == GrpcCode::DEADLINE_EXCEEDED => {
            Err(ProviderError::TimedOut { after: limit, said })
        }
        Ok(answer) => answer,
        Err(_) => Err(ProviderError::TimedOut {
            after: limit,
            said: Said::default(),
        }),
    }
}

/// What a connection is made of.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn connect(target: &Target) -> Result<Box<dyn Stream>, ProviderError> {
    let settings = match &target.tls {
        Some(settings) => Some((settings, tls::client_config(settings).await?)),
        None => None,
    };
    let failed = |error: io::Error| unreachable(target, &error);
    let (host, stream): (&str, Box<dyn Stream>) = match &target.place {
        Place::Unix(path) => ("", unix(path).await.map_err(failed)?),
        Place::Host { host, port } => {
            let local_only = settings.is_none();
            let stream = tcp(host, *port, local_only).await.map_err(failed)?;
            (host, Box::new(stream))
        }
    };
    let Some((settings, config)) = settings else {
        return Ok(stream);
    };
    let name = tls::server_name(settings, host)?;
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(failed)?;
    if stream.get_ref().1.alpn_protocol() != Some(tls::H2) {
        return Err(unreachable(target, "the server does not speak HTTP/2"));
    }
    Ok(Box::new(stream))
}

/// Connects to the first address that answers. Whatever a name resolves to, in clear only loopback addresses are used.
async fn tcp(host: &str, port: u16, local_only: bool) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no address to connect to");
    let addresses = tokio::net::lookup_host((host, port)).await?;
    let usable = |address: &SocketAddr| !local_only || address.ip().is_loopback();
    for address in addresses.filter(usable).take(MAX_ADDRESSES) {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(unix)]
async fn unix(path: &std::path::Path) -> io::Result<Box<dyn Stream>> {
    Ok(Box::new(tokio::net::UnixStream::connect(path).await?))
}

#[cfg(not(unix))]
async fn unix(_: &std::path::Path) -> io::Result<Box<dyn Stream>> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "Unix sockets are not supported on this system",
    ))
}

async fn exchange(
    target: &Target,
    stream: Box<dyn Stream>,
    method: Method,
    request: &[u8],
    limit: Duration,
) -> Result<Answer, ProviderError> {
    let broken = |error: h2::Error| unreachable(target, &error);
    let (client, connection) = h2::client::Builder::new()
        .max_header_list_size(MAX_HEADERS_LEN)
        .enable_push(false)
        .handshake::<_, Bytes>(stream)
        .await
        .map_err(broken)?;
    let mut conversation = pin!(converse(target, client, method, request, limit));
    tokio::select! {
        answer = &mut conversation => answer,
        // When the connection has ended, what arrived before is still there.
        _ = connection => conversation.await,
    }
}

async fn converse(
    target: &Target,
    client: SendRequest<Bytes>,
    method: Method,
    request: &[u8],
    limit: Duration,
) -> Result<Answer, ProviderError> {
    let broken = |error: h2::Error| unreachable(target, &error);
    let mut client = client.ready().await.map_err(broken)?;
    let head = Request::post(uri(target, method))
        .version(http::Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", grpc_timeout(limit))
        .header("user-agent", concat!("sealift/", env!("CARGO_PKG_VERSION")))
        .body(())
        .map_err(|_| unreachable(target, "its address cannot be written into a request"))?;
    let (response, mut body) = client.send_request(head, false).map_err(broken)?;
    body.send_data(Bytes::from_owner(frame::write(request)), true)
        .map_err(broken)?;
    let (head, body) = response.await.map_err(broken)?.into_parts();
    if head.status != StatusCode::OK {
        let reason = format!("HTTP status {}", head.status.as_u16());
        return Err(unreachable(target, &reason));
    }
    let kind = head.headers.get("content-type");
    if !kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        return Err(malformed("it does not speak gRPC"));
    }
    // Without a body the status stands in the only headers.
    if let Some(status) = status(&head.headers) {
        status?;
        return Err(malformed("no message"));
    }
    let (frame, trailers) = read(target, body).await?;
    status(&trailers.unwrap_or_default()).ok_or(malformed("no gRPC status"))??;
    let message = frame::read(&frame).map_err(|error| malformed(error.0))?;
    Ok(Answer {
        octets: Zeroizing::new(message.to_vec()),
        said: Said::default(),
    })
}

async fn read(
    target: &Target,
    mut body: RecvStream,
) -> Result<(Zeroizing<Vec<u8>>, Option<HeaderMap>), ProviderError> {
    let broken = |error: h2::Error| unreachable(target, &error);
    let limit = MAX_ANSWER_LEN + frame::OVERHEAD;
    let mut frame = Zeroizing::new(Vec::with_capacity(limit));
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(broken)?;
        if frame.len() + piece.len() > limit {
            return Err(ProviderError::TooLong {
                limit: MAX_ANSWER_LEN,
                said: Said::default(),
            });
        }
        frame.extend_from_slice(&piece);
        let _ = body.flow_control().release_capacity(piece.len());
        // The library's copy, if it is nobody else's by now.
        if let Ok(mut piece) = piece.try_into_mut() {
            wipe(&mut piece);
        }
    }
    let trailers = body.trailers().await.map_err(broken)?;
    Ok((frame, trailers))
}

fn wipe(octets: &mut BytesMut) {
    zeroize::Zeroize::zeroize(octets.as_mut());
}

/// Returns the status in headers or trailers, if there is one.
fn status(headers: &HeaderMap) -> Option<Result<(), ProviderError>> {
    let code = headers.get("grpc-status")?;
    let code = code.to_str().ok().and_then(|code| code.parse().ok());
    Some(match code.map(GrpcCode) {
        Some(GrpcCode::OK) => Ok(()),
        Some(code) => {
            let message = headers.get("grpc-message");
            let message = message.map_or(&[][..], |message| message.as_bytes());
            Err(ProviderError::Refused {
                code,
                said: Said::new(&percent_decoded(message)),
            })
        }
        None => Err(malformed("no gRPC status")),
    })
}

/// Undoes the percent-encoding of status messages; what is not encoded stays.
fn percent_decoded(mut text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    while let Some((first, rest)) = text.split_first() {
        text = rest;
        let digits = rest.first_chunk::<2>().filter(|_| *first == b'%');
        let octet = digits.and_then(|digits| {
            let mut octet = [0];
            hex::decode_to_slice(digits, &mut octet).ok()?;
            Some(octet)
        });
        match octet {
            Some([octet]) => {
                decoded.push(octet);
                text = rest.get(2..).unwrap_or_default();
            }
            None => decoded.push(*first),
        }
    }
    decoded
}

fn uri(target: &Target, method: Method) -> String {
    let scheme = match target.tls {
        Some(_) => "https",
        None => "http",
    };
    let authority = match &target.place {
        // What gRPC's libraries say where there is no name.
        Place::Unix(_) => "localhost".to_owned(),
        Place::Host { host, port } if host.contains(':') => format!("[{host}]:{port}"),
        Place::Host { host, port } => format!("{host}:{port}"),
    };
    format!("{scheme}://{authority}{}", method.path())
}

/// Renders how long we wait, at most eight digits.
fn grpc_timeout(limit: Duration) -> String {
    match limit.as_millis() {
        millis @ 0..=99_999_999 => format!("{millis}m"),
        _ => format!("{}S", limit.as_secs().min(99_999_999)),
    }
}

fn unreachable(target: &Target, reason: impl ToString) -> ProviderError {
    ProviderError::Connection {
        target: target.to_string().into(),
        reason: Said::new(reason.to_string().as_bytes()).text(),
    }
}

fn malformed(reason: &'static str) -> ProviderError {
    ProviderError::Malformed {
        reason: reason.into(),
        said: Said::default(),
    }
}

/// Most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;
/// Most octets of headers, and of trailers, in an answer.
const MAX_HEADERS_LEN: u32 = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_a_status_are_decoded_where_they_are_encoded() {
        for (text, expected) in [
            (&b"no key"[..], &b"no key"[..]),
            (b"a%0Ab%25", b"a\nb%"),
            (b"%zz%4", b"%zz%4"),
            (b"%", b"%"),
        ] {
            assert_eq!(percent_decoded(text), expected);
        }
    }

    #[test]
    fn a_timeout_has_at_most_eight_digits() {
        assert_eq!(grpc_timeout(Duration::from_secs(30)), "30000m");
        assert_eq!(grpc_timeout(Duration::from_secs(99_999)), "99999000m");
        assert_eq!(grpc_timeout(Duration::from_secs(100_000)), "100000S");
        assert_eq!(grpc_timeout(Duration::MAX), "99999999S");
    }
}
