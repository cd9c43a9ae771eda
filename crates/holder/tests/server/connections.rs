//! The sockets: who is let in, what slow, idle and oversized callers get, and how it ends.

use std::sync::Arc;

use sealift_holder::certificate::{Validity, operator};
use sealift_holder::command::Order;
use sealift_holder::keys::SigningKey;
use sealift_holder::server::quota::Quota;
use sealift_holder::server::routes::{Options, start};
use sealift_holder::server::sealing::Cost;
use sealift_holder::server::{Limits, Running, Server};
use sealift_holder::setup::{self, Init, SealSource};
use sealift_holder::tls::{self, Credential};
use sealift_holder::wire::{AuditPage, Code, CommandsRequest, ErrorBody, MAX_BODY_LEN};
use sealift_threshold::{GroupKey, HolderId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::rig::{NOW, Rig, node, rng};

pub(crate) async fn site() -> (Rig, GroupKey, Running) {
    let rig = Rig::new(1, 1);
    let group = rig.deal("default", false);
    let running = rig.start(0, &group).await;
    (rig, group, running)
}

pub(crate) async fn opens(rig: &Rig, group: &GroupKey, client: &reqwest::Client) -> u16 {
    let wrap = group.wrap(&rig.label(group), b"key", &rng()).unwrap();
    let body = serde_json::to_vec(&rig.ask(group, &[&wrap]).0).unwrap();
    let sent = client
        .post(rig.url(0, "/v1/keys/default/partials"))
        .body(body)
        .send()
        .await
        .unwrap();
    sent.status().as_u16()
}

async fn code(answer: reqwest::Response) -> (u16, Code) {
    let status = answer.status().as_u16();
    let id = answer.headers()["request-id"].to_str().unwrap().to_owned();
    let body: ErrorBody = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(body.request_id, id);
    (status, body.code)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_no_certificate_is_not_served() {
    let (rig, _, running) = site().await;
    let client = rig.http_with(0, Credential::none());
    for path in [
        "/v1/keys/default",
        "/v1/commands",
        "/v1/events",
        "/v1/audit",
        "/v1/checkpoints",
    ] {
        let answer = client.get(rig.url(0, path)).send().await.unwrap();
        assert_eq!(code(answer).await, (401, Code::Unauthenticated), "{path}");
    }
    let answer = client.get(rig.url(0, "/healthz")).send().await.unwrap();
    assert_eq!(code(answer).await, (404, Code::NotFound));
    let answer = client.post(rig.url(0, "/v1/events")).send().await.unwrap();
    assert_eq!(code(answer).await, (404, Code::NotFound));
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_early_foreign_and_twin_certificates_are_refused() {
    let (rig, group, running) = site().await;
    assert_eq!(opens(&rig, &group, &rig.node_http(0)).await, 200);
    let now = NOW / 1000;
    let window = |not_before, not_after| Validity {
        not_before,
        not_after,
    };
    for (validity, accepted) in [
        (window(now - 10, now), true),
        (window(now - 10, now - 1), false),
        (window(now + 2, now + 10), true),
        (window(now + 3, now + 10), false),
    ] {
        let client = rig.http(0, &rig.node_chain_of(&rig.node, 0, validity), &rig.node.key);
        let answer = client.get(rig.url(0, "/v1/keys/default")).send().await;
        assert_eq!(
            answer.is_ok_and(|answer| answer.status() == 200),
            accepted,
            "{validity:?}"
        );
    }
    // A twin: the home's own authority signs another key under the node's name.
    let twin = node("tokyo-7");
    let client = rig.http(
        0,
        &rig.node_chain_of(&twin, 0, Validity::from(now, 3600)),
        &twin.key,
    );
    let answer = client
        .get(rig.url(0, "/v1/keys/default"))
        .send()
        .await
        .unwrap();
    assert_eq!(code(answer).await, (401, Code::Unauthenticated));
    // The right key with another place in the certificate than in the admission.
    let mut moved = node("tokyo-7");
    moved.name.jurisdiction = "DE".to_owned();
    moved.key = SigningKey::from_pkcs8(rig.node.key.expose_pkcs8()).unwrap();
    let client = rig.http(
        0,
        &rig.node_chain_of(&moved, 0, Validity::from(now, 3600)),
        &moved.key,
    );
    let answer = client
        .get(rig.url(0, "/v1/keys/default"))
        .send()
        .await
        .unwrap();
    assert_eq!(code(answer).await, (401, Code::Unauthenticated));
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_expires_on_an_open_connection_is_refused() {
    let (rig, group, running) = site().await;
    let client = rig.node_http(0);
    assert_eq!(opens(&rig, &group, &client).await, 200);
    rig.clock.set(NOW + 3_601_000);
    let answer = client
        .get(rig.url(0, "/v1/keys/default"))
        .send()
        .await
        .unwrap();
    assert_eq!(code(answer).await, (401, Code::Unauthenticated));
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_over_a_mebibyte_are_refused() {
    let (rig, group, running) = site().await;
    let client = rig.node_http(0);
    let url = rig.url(0, "/v1/keys/default/partials");
    let answer = client
        .post(&url)
        .body(vec![b' '; MAX_BODY_LEN + 1])
        .send()
        .await
        .unwrap();
    assert_eq!(code(answer).await, (413, Code::TooLarge));
    // Without a length in the header as well.
    let parts = (0..17).map(|_| Ok::<_, std::io::Error>(vec![b' '; 65536]));
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(parts));
    let answer = client.post(&url).body(body).send().await.unwrap();
    assert_eq!(code(answer).await, (413, Code::TooLarge));
    let answer = client
        .post(&url)
        .body(vec![b' '; MAX_BODY_LEN])
        .send()
        .await
        .unwrap();
    assert_eq!(code(answer).await, (400, Code::BadRequest));
    assert_eq!(opens(&rig, &group, &client).await, 200);
    running.shutdown().await;
}

/// Starts a holder that is quick to lose patience.
async fn impatient() -> (Rig, GroupKey, Running) {
    let rig = Rig::new(1, 1);
    let group = rig.deal("default", false);
    let mut config = rig.config(0, rig.open_store(0));
    config.limits.header_time = std::time::Duration::from_millis(200);
    config.limits.body_time = std::time::Duration::from_millis(200);
    let running = Server::start(config).await.unwrap();
    rig.found(&running, &group).await;
    (rig, group, running)
}

pub(crate) async fn handshake(
    rig: &Rig,
    http: &[u8],
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let credential = Credential::new(&rig.node_chain(), &rig.node.key).unwrap();
    handshake_as(rig, credential, http).await
}

pub(crate) async fn handshake_as(
    rig: &Rig,
    credential: Arc<Credential>,
    http: &[u8],
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let holder = &rig.holders[0];
    let mut config = tls::client_config(
        &holder.descriptor.name,
        &holder.descriptor.ca,
        credential,
        rig.clock.clock(),
    )
    .unwrap();
    config.alpn_protocols = vec![http.to_vec()];
    let stream = TcpStream::connect(holder.addr).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap()
}

/// Reads until the other side ends the connection, however it does.
pub(crate) async fn ended(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut octets = Vec::new();
    let _end_or_reset = stream.read_to_end(&mut octets).await;
    octets
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_callers_are_cut_at_every_stage() {
    let (rig, group, running) = impatient().await;
    // Nothing at all.
    let mut silent = TcpStream::connect(rig.holders[0].addr).await.unwrap();
    assert_eq!(ended(&mut silent).await, b"");
    // Half a hello.
    let mut half = TcpStream::connect(rig.holders[0].addr).await.unwrap();
    half.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
    assert_eq!(ended(&mut half).await, b"");
    // Headers that never end.
    let mut slow = handshake(&rig, b"http/1.1").await;
    slow.write_all(b"GET /v1/keys/default HTTP/1.1\r\nhost: a\r\nx-more")
        .await
        .unwrap();
    let answer = ended(&mut slow).await;
    assert!(
        !answer.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    // A body that never ends.
    let mut slow = handshake(&rig, b"http/1.1").await;
    let head =
        "POST /v1/keys/default/partials HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n{";
    slow.write_all(head.as_bytes()).await.unwrap();
    let answer = ended(&mut slow).await;
    assert!(
        answer.starts_with(b"HTTP/1.1 400"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    assert_eq!(opens(&rig, &group, &rig.node_http(0)).await, 200);
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_idle_connections_do_not_stop_a_release() {
    let (rig, group, running) = site().await;
    let mut idle = Vec::new();
    for _ in 0..2000 {
        idle.push(TcpStream::connect(rig.holders[0].addr).await.unwrap());
    }
    let text = running.service().metrics.encode().unwrap();
    assert!(text.contains("sealift_holder_connections"));
    assert_eq!(opens(&rig, &group, &rig.node_http(0)).await, 200);
    drop(idle);
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_over_the_limit_are_closed_at_once() {
    let rig = Rig::new(1, 1);
    let group = rig.deal("default", false);
    let mut config = rig.config(0, rig.open_store(0));
    config.limits.connections = 2;
    let running = Server::start(config).await.unwrap();
    rig.found(&running, &group).await;
    let first = handshake(&rig, b"h2").await;
    let second = handshake(&rig, b"h2").await;
    let mut third = TcpStream::connect(rig.holders[0].addr).await.unwrap();
    assert_eq!(ended(&mut third).await, b"");
    assert_eq!(running.service().metrics.shed.get(), 1);
    drop((first, second));
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_take_nobodys_place_and_do_not_stay() {
    let rig = Rig::new(1, 1);
    let group = rig.deal("default", false);
    let mut config = rig.config(0, rig.open_store(0));
    config.limits.connections = 8;
    config.limits.header_time = std::time::Duration::from_secs(1);
    config.limits.body_time = std::time::Duration::from_secs(1);
    let running = Server::start(config).await.unwrap();
    rig.found(&running, &group).await;
    // Idle over HTTP/2: nothing else would ever end it.
    let mut first = handshake_as(&rig, Credential::none(), b"h2").await;
    let mut second = handshake_as(&rig, Credential::none(), b"h2").await;
    ended(&mut second).await;
    assert_eq!(running.service().metrics.shed.get(), 1);
    assert_eq!(opens(&rig, &group, &rig.node_http(0)).await, 200);
    ended(&mut first).await;
    // Its place is free a moment later.
    let answer = loop {
        let client = rig.http_with(0, Credential::none());
        if let Ok(answer) = client.get(rig.url(0, "/v1/events")).send().await {
            break answer;
        }
    };
    assert_eq!(code(answer).await, (401, Code::Unauthenticated));
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_tries_to_enrol_only_so_often() {
    let rig = Rig::new(1, 1);
    let dir = tempfile::tempdir().unwrap();
    let (dir, addr) = (dir.path().join("fra"), rig.holders[0].addr);
    let init = Init {
        deployment: None,
        name: "fra",
        index: HolderId::new(1).unwrap(),
        jurisdiction: "DE",
        listen: &addr.to_string(),
        url: &format!("https://{addr}"),
        seal: &SealSource::Passphrase,
        administrators: &rig.deployment(0).administrators,
    };
    setup::init(&dir, &init, b"word", Cost::LOWEST, NOW, &rng()).unwrap();
    assert_eq!(setup::load(&dir).unwrap().quota, Quota::default());
    let mut file = std::fs::read_to_string(dir.join("holder.toml")).unwrap();
    file.push_str("\n[quota]\nburst = 7\nper_minute = 8\n");
    std::fs::write(dir.join("holder.toml"), file).unwrap();
    let opened = setup::open(&dir, b"word").unwrap();
    let quota = Quota {
        burst: 7,
        per_minute: 8,
    };
    assert_eq!(opened.config.quota, quota);
    let ca = opened.config.me.ca.clone();
    let options = Options {
        listen: addr,
        local: None,
        clock: rig.clock.clock(),
        rng: Arc::new(rng()),
        quota: Quota::default(),
        ntp: Vec::new(),
        limits: Limits::default(),
    };
    let launched = start(opened, options).await.unwrap();
    let tls = tls::client_config("fra", &ca, Credential::none(), rig.clock.clock()).unwrap();
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .build()
        .unwrap();
    let enrol = || client.post(rig.url(0, "/v1/enrol")).body("{}").send();
    for _ in 0..Quota::STRANGERS.burst {
        let answer = enrol().await.unwrap();
        assert_eq!(code(answer).await, (400, Code::BadRequest));
    }
    let answer = enrol().await.unwrap();
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(code(answer).await, (429, Code::QuotaExceeded));
    rig.clock.set(NOW + 60_000);
    let answer = enrol().await.unwrap();
    assert_eq!(code(answer).await, (400, Code::BadRequest));
    launched.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_releases_than_there_is_room_for_are_turned_away() {
    let rig = Rig::new(1, 1);
    let group = rig.deal("default", false);
    let mut config = rig.config(0, rig.open_store(0));
    config.limits.waiting = 0;
    let running = Server::start(config).await.unwrap();
    rig.found(&running, &group).await;
    assert_eq!(opens(&rig, &group, &rig.node_http(0)).await, 503);
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_closes_the_nodes_connection() {
    let (rig, group, running) = site().await;
    let mut stream = handshake(&rig, b"http/1.1").await;
    stream
        .write_all(b"GET /v1/keys/default HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    let envelope = rig.command("node:tokyo-7", 1, Order::RevokeNode {});
    rig.apply(&running.service().writer, &envelope, 0)
        .await
        .unwrap();
    let rest = String::from_utf8(ended(&mut stream).await).unwrap();
    assert!(rest.contains("\"state\":\"Enabled\""), "{rest}");
    // It may come again, and hears no more than anybody who is not permitted.
    let client = rig.node_http(0);
    let answer = client
        .get(rig.url(0, "/v1/keys/default"))
        .send()
        .await
        .unwrap();
    assert_eq!(code(answer).await, (403, Code::Forbidden));
    assert_eq!(opens(&rig, &group, &client).await, 403);
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_without_a_role_any_more_is_not_recognised() {
    let (rig, _, running) = site().await;
    let carol = SigningKey::generate().unwrap();
    let role = |role: Option<&str>| Order::Role {
        spki: carol.spki().into(),
        role: role.map(str::to_owned),
    };
    let writer = &running.service().writer;
    rig.apply(
        writer,
        &rig.command("operator:carol", 1, role(Some("Auditor"))),
        0,
    )
    .await
    .unwrap();
    let chain = operator("carol", &carol, Validity::from(NOW / 1000, 3600)).unwrap();
    // What TLS believes follows the state a moment later.
    let page = loop {
        let client = rig.http(0, &chain, &carol);
        if let Ok(answer) = client.get(rig.url(0, "/v1/audit?limit=3")).send().await {
            assert_eq!(answer.status(), 200);
            break serde_json::from_slice::<AuditPage>(&answer.bytes().await.unwrap()).unwrap();
        }
    };
    assert_eq!((page.next, page.rows.len()), (3, 3));
    assert_eq!(page.head, page.rows[2].hash);
    rig.apply(writer, &rig.command("operator:carol", 2, role(None)), 0)
        .await
        .unwrap();
    let client = rig.http(0, &chain, &carol);
    let refused = match client.get(rig.url(0, "/v1/audit")).send().await {
        Ok(answer) => answer.status() == 401,
        Err(_) => true,
    };
    assert!(refused);
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_resumes_and_tells_a_node_of_its_revocation() {
    let (rig, _, running) = site().await;
    let client = rig.node_http(0);
    let mut answer = client
        .get(rig.url(0, "/v1/events"))
        .header("last-event-id", "3")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let envelope = rig.command("node:tokyo-7", 1, Order::RevokeNode {});
    rig.apply(&running.service().writer, &envelope, 0)
        .await
        .unwrap();
    let mut text = String::new();
    while let Ok(Some(part)) = answer.chunk().await {
        text.push_str(std::str::from_utf8(&part).unwrap());
    }
    let ids: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("id: "))
        .collect();
    assert_eq!(ids, ["4", "5"]);
    assert!(text.contains(&format!("data: {}", envelope.to_text())));
    assert_eq!(text.matches("event: command").count(), 2);
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_order_nothing_and_read_no_record() {
    let (rig, _, running) = site().await;
    let client = rig.node_http(0);
    let envelope = rig.command("node:tokyo-7", 1, Order::RevokeNode {});
    let body = serde_json::to_vec(&CommandsRequest {
        commands: vec![envelope],
    })
    .unwrap();
    let answer = client
        .post(rig.url(0, "/v1/commands"))
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(code(answer).await, (403, Code::Forbidden));
    for path in [
        "/v1/commands",
        "/v1/audit",
        "/v1/checkpoints",
        "/v1/keys/nothing",
    ] {
        let answer = client.get(rig.url(0, path)).send().await.unwrap();
        assert_eq!(code(answer).await, (403, Code::Forbidden), "{path}");
    }
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_decisions_and_are_not_on_the_public_port() {
    let (rig, group, running) = site().await;
    assert_eq!(opens(&rig, &group, &rig.node_http(0)).await, 200);
    let url = format!("http://{}/metrics", running.local_addr().unwrap());
    let text = reqwest::get(url).await.unwrap().text().await.unwrap();
    assert!(
        text.contains("sealift_holder_release_decisions_total{reason=\"Released\"} 1"),
        "{text}"
    );
    assert!(text.contains("sealift_holder_audit_lag_seconds_count"));
    let answer = rig
        .node_http(0)
        .get(rig.url(0, "/metrics"))
        .send()
        .await
        .unwrap();
    assert_eq!(code(answer).await, (404, Code::NotFound));
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_ends_feeds_and_takes_no_more() {
    let (rig, _, running) = site().await;
    let client = rig.node_http(0);
    let mut feed = client
        .get(rig.url(0, "/v1/events"))
        .header("last-event-id", "4")
        .send()
        .await
        .unwrap();
    running.shutdown().await;
    while let Ok(Some(_)) = feed.chunk().await {}
    let refused = TcpStream::connect(rig.holders[0].addr).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}
