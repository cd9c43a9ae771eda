//! Callers that do not read, and callers that only sit there: they hold neither the writer nor places, and nothing for long.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use hyper::body::{Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use sealift_holder::certificate::Validity;
use sealift_holder::server::{Running, Server, audit};
use sealift_holder::tls::Credential;
use sealift_holder::wire::PartialsAnswer;
use sealift_threshold::{GroupKey, Wrap};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::connections::{ended, handshake, handshake_as, opens, site};
use crate::rig::{NOW, Rig, rng};

/// A body that is there at once.
struct Whole(Option<Bytes>);

impl hyper::body::Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|octets| Ok(Frame::data(octets))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |octets| octets.len() as u64))
    }
}

/// A node's connection over HTTP/2, with as much room for each answer as `window` says.
async fn http2(
    rig: &Rig,
    window: u32,
) -> (
    http2::SendRequest<Whole>,
    tokio::task::JoinHandle<Result<(), hyper::Error>>,
) {
    let stream: TlsStream<TcpStream> = handshake(rig, b"h2").await;
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    (sender, tokio::spawn(connection))
}

fn wraps(rig: &Rig, group: &GroupKey, count: usize) -> Vec<Wrap> {
    let wrap = || group.wrap(&rig.label(group), b"key", &rng()).unwrap();
    (0..count).map(|_| wrap()).collect()
}

fn body(rig: &Rig, group: &GroupKey, wraps: &[Wrap]) -> Vec<u8> {
    let wraps: Vec<&Wrap> = wraps.iter().collect();
    serde_json::to_vec(&rig.ask(group, &wraps).0).unwrap()
}

fn request(rig: &Rig, body: Vec<u8>) -> hyper::Request<Whole> {
    hyper::Request::post(rig.url(0, "/v1/keys/default/partials"))
        .body(Whole(Some(body.into())))
        .unwrap()
}

fn releases(running: &Running) -> usize {
    let rows = audit::rows(&*running.service().store, 0, usize::MAX).unwrap();
    rows.iter().filter(|row| row.event == "release").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_gives_no_room_for_answers_holds_no_place_and_loses_his_connection() {
    let rig = Rig::new(1, 1);
    let group = rig.deal("default", false);
    let mut config = rig.config(0, rig.open_store(0));
    // Fewer places than answers that nobody takes.
    config.limits.waiting = 4;
    config.limits.workers = 2;
    config.limits.answer_time = Duration::from_secs(4);
    let running = Server::start(config).await.unwrap();
    rig.found(&running, &group).await;
    // Nothing of the body may come; a first piece, and never the rest.
    for (window, wraps_per_request) in [(0, 1), (1000, 64)] {
        let before = releases(&running);
        let (mut sender, connection) = http2(&rig, window).await;
        let mut answers: Vec<hyper::Response<Incoming>> = Vec::new();
        let wraps = wraps(&rig, &group, wraps_per_request);
        for _ in 0..6 {
            let answer = sender.send_request(request(&rig, body(&rig, &group, &wraps)));
            let answer = answer.await.unwrap();
            assert_eq!(answer.status(), 200);
            answers.push(answer);
        }
        assert_eq!(opens(&rig, &group, &rig.node_http(0)).await, 200);
        assert_eq!(running.service().writer.waiting(), 0);
        assert_eq!(releases(&running) - before, 6 * wraps_per_request + 1);
        // The holder ends it, with all that it kept for the caller.
        let _ended = connection.await.unwrap();
        for answer in answers {
            assert!(read(answer.into_body()).await.is_err(), "{window}");
        }
    }
    running.shutdown().await;
}

/// Reads a body to its end.
async fn read(mut body: Incoming) -> Result<Vec<u8>, hyper::Error> {
    let mut octets = Vec::new();
    while let Some(frame) =
        std::future::poll_fn(|context| hyper::body::Body::poll_frame(Pin::new(&mut body), context))
            .await
    {
        octets.extend_from_slice(&frame?.into_data().unwrap_or_default());
    }
    Ok(octets)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_many_pieces_arrives_whole_whatever_room_there_is() {
    let (rig, group, running) = site().await;
    let wraps = wraps(&rig, &group, 128);
    for window in [1000, 16 * 1024 - 1, 16 * 1024, 1 << 20] {
        let (mut sender, _connection) = http2(&rig, window).await;
        let answer = sender.send_request(request(&rig, body(&rig, &group, &wraps)));
        let answer = answer.await.unwrap();
        let length: usize = answer.headers()["content-length"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        let octets = read(answer.into_body()).await.unwrap();
        assert_eq!(octets.len(), length);
        assert!(length > 2 * 16 * 1024, "{length}");
        let answer: PartialsAnswer = serde_json::from_slice(&octets).unwrap();
        assert_eq!(answer.answers.len(), 128);
    }
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_read_from_his_socket_holds_up_nobody() {
    let rig = Rig::new(1, 1);
    let group = rig.deal("default", false);
    let mut config = rig.config(0, rig.open_store(0));
    config.limits.waiting = 4;
    config.limits.workers = 2;
    let running = Server::start(config).await.unwrap();
    rig.found(&running, &group).await;
    let wraps = wraps(&rig, &group, 32);
    let mut deaf = Vec::new();
    for number in 1..=12 {
        let mut stream = handshake(&rig, b"http/1.1").await;
        let body = body(&rig, &group, &wraps);
        let head = format!(
            "POST /v1/keys/default/partials HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream
            .write_all(&[head.as_bytes(), &body].concat())
            .await
            .unwrap();
        // Until it is on record; then its answer waits for a reader that does not come.
        while releases(&running) < number * wraps.len() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        deaf.push(stream);
    }
    assert_eq!(opens(&rig, &group, &rig.node_http(0)).await, 200);
    assert_eq!(running.service().writer.waiting(), 0);
    drop(deaf);
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_nodes_that_only_sit_there_do_not_stop_a_release() {
    let (rig, group, running) = site().await;
    let credential = Credential::new(&rig.node_chain(), &rig.node.key).unwrap();
    let idle: Vec<TlsStream<TcpStream>> = stream::iter(0..2000)
        .map(|_| handshake_as(&rig, Arc::clone(&credential), b"h2"))
        .buffer_unordered(16)
        .collect()
        .await;
    let client = rig.node_http(0);
    for _ in 0..3 {
        assert_eq!(opens(&rig, &group, &client).await, 200);
    }
    // None of them was cut to make room.
    assert_eq!(running.service().metrics.shed.get(), 0);
    assert!(running.service().metrics.connections.get() > 2000);
    drop(idle);
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_ends_with_its_certificate() {
    let (rig, _, running) = site().await;
    let validity = Validity {
        not_before: NOW / 1000 - 10,
        not_after: NOW / 1000,
    };
    let chain = rig.node_chain_of(&rig.node, 0, validity);
    let credential = Credential::new(&chain, &rig.node.key).unwrap();
    let mut idle = handshake_as(&rig, credential, b"h2").await;
    // What HTTP/2 says at the beginning and at the end, and then it is over, although nobody asked for anything.
    ended(&mut idle).await;
    running.shutdown().await;
}
