//! gRPC services as key providers, and ours: every way in which the other side fails. Foreign implementations: `crates/peers`.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use sealift_keywrap::customer_key::CustomerKey;
use sealift_keywrap::{
    Identity, Keyring, LayerSecret, Recipient, Scheme, UnwrapError, WrapContext, WrappedKey,
};
use sealift_provider::{CallOptions, Config, KeyServer, Listener, Providers, ServerTls, serve};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// Serves every connection with `talk`, on a loopback address.
fn service<T, F>(runtime: &Runtime, talk: T) -> SocketAddr
where
    T: Fn(TcpStream) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(talk(stream));
        }
    });
    address
}

fn unwrap(entry: &Value) -> Result<LayerSecret, UnwrapError> {
    unwrap_within(entry, Duration::from_secs(10))
}

fn unwrap_within(entry: &Value, timeout: Duration) -> Result<LayerSecret, UnwrapError> {
    let config = json!({"key-providers": {"demo": entry}});
    let config = Config::parse(config.to_string().as_bytes()).unwrap();
    let options = CallOptions {
        timeout,
        ..CallOptions::default()
    };
    let providers = Providers::new(config, options);
    let identity = providers.identity("demo", None).unwrap();
    let wrapped = WrappedKey {
        scheme: Scheme::Provider("demo".into()),
        element: b"blob".to_vec(),
    };
    identity.unwrap_key(&wrapped, &WrapContext::default())
}

#[track_caller]
fn assert_unavailable(entry: &Value, text: &str) {
    match unwrap_within(entry, Duration::from_secs(3)) {
        Err(UnwrapError::ProviderUnavailable { reason, .. }) => {
            assert!(reason.contains(text), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_failed(entry: &Value, text: &str) {
    match unwrap(entry) {
        Err(UnwrapError::ProviderFailed { reason, .. }) => {
            assert!(reason.contains(text), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

/// What a service answers, and how.
#[derive(Clone)]
struct Script {
    status: u16,
    kind: &'static str,
    /// Pieces of the body.
    body: Vec<Vec<u8>>,
    trailers: Option<Vec<(&'static str, &'static str)>>,
}

impl Script {
    fn new(body: &[u8]) -> Self {
        Self {
            status: 200,
            kind: "application/grpc+proto",
            body: vec![body.to_vec()],
            trailers: Some(vec![("grpc-status", "0")]),
        }
    }

    /// Answers one call after another.
    async fn talk(self, stream: TcpStream) {
        let Ok(mut connection) = h2::server::handshake(stream).await else {
            return;
        };
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let script = self.clone();
            tokio::spawn(async move {
                let mut body = request.into_body();
                while let Some(Ok(piece)) = body.data().await {
                    let _ = body.flow_control().release_capacity(piece.len());
                }
                let head = Response::builder()
                    .status(script.status)
                    .header("content-type", script.kind)
                    .body(())
                    .unwrap();
                let mut stream = respond.send_response(head, false).unwrap();
                for piece in script.body {
                    let _ = stream.send_data(Bytes::from(piece), false);
                }
                let Some(trailers) = script.trailers else {
                    let _ = stream.send_data(Bytes::new(), true);
                    return;
                };
                let mut map = HeaderMap::new();
                for (name, value) in trailers {
                    map.insert(name, value.parse().unwrap());
                }
                let _ = stream.send_trailers(map);
            });
        }
    }

    fn start(self, runtime: &Runtime) -> Value {
        let address = service(runtime, move |stream| self.clone().talk(stream));
        json!({"grpc": address.to_string()})
    }
}

/// A frame with the answer `key`.
fn answer() -> Vec<u8> {
    let json = br#"{"keyunwrapresults":{"optsdata":"a2V5"}}"#;
    let len = u8::try_from(json.len()).unwrap();
    [&[0, 0, 0, 0, len + 2, 0x0a, len][..], json].concat()
}

#[test]
fn an_answer_may_come_in_pieces() {
    let runtime = runtime();
    let mut script = Script::new(&[]);
    script.body = answer().chunks(1).map(<[u8]>::to_vec).collect();
    assert_eq!(unwrap(&script.start(&runtime)).unwrap().expose(), b"key");
}

#[test]
fn what_is_no_answer_of_grpc_is_told() {
    let runtime = runtime();
    let with = |change: &dyn Fn(&mut Script)| {
        let mut script = Script::new(&answer());
        change(&mut script);
        script.start(&runtime)
    };
    assert_unavailable(&with(&|script| script.status = 404), "HTTP status 404");
    assert_failed(
        &with(&|script| script.kind = "text/html"),
        "it does not speak gRPC",
    );
    assert_failed(
        &with(&|script| script.body = Vec::new()),
        "no whole message",
    );
    assert_failed(
        &with(&|script| script.body.push(b"x".to_vec())),
        "not exactly one message",
    );
    assert_failed(
        &with(&|script| script.body[0][0] = 1),
        "a compressed message",
    );
    assert_failed(&with(&|script| script.body[0][5] = 0x0b), "not protobuf");
    assert_failed(&with(&|script| script.trailers = None), "no gRPC status");
    assert_failed(
        &with(&|script| script.trailers = Some(vec![("grpc-status", "zero")])),
        "no gRPC status",
    );
    assert_failed(
        &with(&|script| {
            script.trailers = Some(vec![("grpc-status", "7"), ("grpc-message", "no%0Aking")]);
        }),
        "gRPC status PERMISSION_DENIED; it says: no king",
    );
    assert_unavailable(
        &with(&|script| script.trailers = Some(vec![("grpc-status", "14")])),
        "gRPC status UNAVAILABLE",
    );
    assert_failed(
        &with(&|script| script.trailers = Some(vec![("grpc-status", "99")])),
        "gRPC status 99",
    );
}

#[test]
fn an_answer_without_end_is_not_read() {
    let runtime = runtime();
    let mut script = Script::new(&[]);
    script.body = vec![vec![0; 16_384]; 4000];
    assert_failed(&script.start(&runtime), "answer longer than 262144 octets");
}

#[test]
fn a_service_that_never_answers_costs_no_more_than_the_time_out() {
    let runtime = runtime();
    // One that says nothing, and one that takes the call and then says nothing.
    let silent = service(&runtime, |stream| async move {
        tokio::time::sleep(Duration::from_secs(100)).await;
        drop(stream);
    });
    let pondering = service(&runtime, |stream| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let mut calls = Vec::new();
        while let Some(Ok(call)) = connection.accept().await {
            calls.push(call);
        }
    });
    for address in [silent, pondering] {
        let entry = json!({"grpc": address.to_string()});
        let error = unwrap_within(&entry, Duration::from_millis(500)).err();
        let reason = "no answer within 0.5 s".into();
        let name = "demo".into();
        let expected = UnwrapError::ProviderUnavailable { name, reason };
        assert_eq!(error, Some(expected));
    }
}

#[test]
fn a_service_that_goes_away_is_unavailable() {
    let runtime = runtime();
    let closes = service(&runtime, |stream| async move { drop(stream) });
    let resets = service(&runtime, |mut stream| async move {
        let _ = stream.read(&mut [0; 16]).await;
        let _ = stream.set_zero_linger();
    });
    let chats = service(&runtime, |mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    });
    let refuses_stream = service(&runtime, |stream| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
        }
    });
    for address in [closes, resets, chats, refuses_stream] {
        assert_unavailable(
            &json!({"grpc": address.to_string()}),
            "cannot reach `127.0.0.1:",
        );
    }
    let nobody = {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        listener.local_addr().unwrap()
    };
    assert_unavailable(&json!({"grpc": nobody.to_string()}), "refused");
    #[cfg(unix)]
    assert_unavailable(&json!({"grpc": "unix:///does/not/exist"}), "No such file");
}

/// Certificates in files.
struct Pki {
    folder: tempfile::TempDir,
}

impl Pki {
    fn new() -> Self {
        let pki = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        for authority in ["ca", "other"] {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
                .distinguished_name
                .push(rcgen::DnType::CommonName, authority);
            pki.write(authority, &params.self_signed(&key).unwrap().pem(), &key);
            let issuer = Issuer::new(params, key);
            for (name, host, year) in [
                ("server", "server.test", 4000),
                ("expired", "server.test", 2001),
            ] {
                let key = KeyPair::generate().unwrap();
                let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
                params.not_before = date_time_ymd(2000, 1, 1);
                params.not_after = date_time_ymd(year, 1, 1);
                let certificate = params.signed_by(&key, &issuer).unwrap();
                pki.write(&format!("{authority}-{name}"), &certificate.pem(), &key);
            }
        }
        pki
    }

    fn write(&self, name: &str, pem: &str, key: &KeyPair) {
        std::fs::write(self.path(name, "crt"), pem).unwrap();
        std::fs::write(self.path(name, "key"), key.serialize_pem()).unwrap();
    }

    fn path(&self, name: &str, ending: &str) -> std::path::PathBuf {
        self.folder.path().join(format!("{name}.{ending}"))
    }

    fn read(&self, name: &str, ending: &str) -> Vec<u8> {
        std::fs::read(self.path(name, ending)).unwrap()
    }

    /// Our service with the certificate `own`, for clients of the authority `ca`.
    fn serve(&self, runtime: &Runtime, own: &str) -> SocketAddr {
        let tls = ServerTls::new(
            &self.read(own, "crt"),
            &self.read(own, "key"),
            &self.read("ca", "crt"),
        );
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Listener::Tls(listener, tls.unwrap());
        let keys = Arc::new(key_server());
        runtime.spawn(serve(
            listener,
            keys,
            Arc::new(|_: &str| ()),
            std::future::pending(),
        ));
        address
    }

    fn entry(&self, address: SocketAddr, authority: &str, own: Option<&str>, name: &str) -> Value {
        let mut tls = json!({"root-ca-file": self.path(authority, "crt"), "server-name": name});
        if let Some(own) = own {
            tls["cert-file"] = json!(self.path(own, "crt"));
            tls["key-file"] = json!(self.path(own, "key"));
        }
        json!({"grpc": address.to_string(), "grpc-tls": tls})
    }
}

fn key_server() -> KeyServer {
    let key = || Box::new(CustomerKey::new(Zeroizing::new([7; 32])));
    let mut keyring = Keyring::new();
    keyring.push(key()).unwrap();
    KeyServer::new(vec![key()], keyring)
}

const OPTIONS: &[u8] =
    br#"{"symkey":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","digest":"","cipheroptions":{}}"#;

#[test]
fn client_and_service_know_each_other_by_certificates() {
    let (runtime, pki) = (runtime(), Pki::new());
    let address = pki.serve(&runtime, "ca-server");
    let good = pki.entry(address, "ca", Some("ca-server"), "server.test");
    let config = json!({"key-providers": {"demo": good}});
    let config = Config::parse(config.to_string().as_bytes()).unwrap();
    let providers = Providers::new(config, CallOptions::default());
    let secret = LayerSecret::new(Zeroizing::new(OPTIONS.to_vec()));
    let context = WrapContext::default();
    let recipient = providers.recipient("demo", None).unwrap();
    let wrapped = recipient.wrap_key(&secret, &context).unwrap();
    let identity = providers.identity("demo", None).unwrap();
    let opened = identity.unwrap_key(&wrapped, &context).unwrap();
    assert_eq!(opened.expose(), OPTIONS);

    for (entry, text) in [
        (
            pki.entry(address, "other", Some("ca-server"), "server.test"),
            "UnknownIssuer",
        ),
        (
            pki.entry(address, "ca", Some("ca-server"), "other.test"),
            "not valid for name",
        ),
        (
            pki.entry(address, "ca", Some("other-server"), "server.test"),
            "cannot reach",
        ),
        (
            pki.entry(address, "ca", Some("ca-expired"), "server.test"),
            "cannot reach",
        ),
        (
            pki.entry(address, "ca", None, "server.test"),
            "cannot reach",
        ),
        (json!({"grpc": address.to_string()}), "cannot reach"),
    ] {
        assert_unavailable(&entry, text);
    }
    let expired = pki.serve(&runtime, "ca-expired");
    let entry = pki.entry(expired, "ca", Some("ca-server"), "server.test");
    assert_unavailable(&entry, "expired");
}

#[test]
fn tls_settings_that_cannot_be_used_are_told() {
    let (runtime, pki) = (runtime(), Pki::new());
    let address = pki.serve(&runtime, "ca-server");
    let mut entry = pki.entry(address, "missing", None, "server.test");
    assert_failed(&entry, "cannot read");
    std::fs::write(pki.path("empty", "crt"), "").unwrap();
    entry = pki.entry(address, "empty", None, "server.test");
    assert_failed(&entry, "holds no certificate in PEM");
    entry = pki.entry(address, "ca", Some("ca-server"), "server.test");
    entry["grpc-tls"]["key-file"] = json!(pki.path("ca", "crt"));
    assert_failed(&entry, "holds no private key in PEM");
    entry["grpc-tls"]["key-file"] = json!("");
    assert_failed(&entry, "`cert-file` and `key-file` go together");
    entry = pki.entry(address, "ca", None, "no name");
    assert_failed(&entry, "neither a host's name nor an IP address");
}

/// Sends one request of any shape; returns the status of HTTP and of gRPC.
async fn send(address: SocketAddr, request: Request<()>, body: Vec<u8>) -> (u16, String) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let (response, mut stream) = client.send_request(request, false).unwrap();
    let _ = stream.send_data(Bytes::from(body), true);
    let (head, mut body) = response.await.unwrap().into_parts();
    while let Some(Ok(piece)) = body.data().await {
        let _ = body.flow_control().release_capacity(piece.len());
    }
    let trailers = body.trailers().await.unwrap_or_default();
    let trailers = trailers.unwrap_or_default();
    let status = head
        .headers
        .get("grpc-status")
        .or_else(|| trailers.get("grpc-status"));
    let status = status.map(|status| status.to_str().unwrap().to_owned());
    (head.status.as_u16(), status.unwrap_or_default())
}

#[test]
fn our_service_refuses_what_is_no_call() {
    let runtime = runtime();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let listener = Listener::loopback(listener).unwrap();
    runtime.spawn(serve(
        listener,
        Arc::new(key_server()),
        Arc::new(|_: &str| ()),
        std::future::pending(),
    ));
    let request = |method: &str, path: &str, kind: &str| {
        Request::builder()
            .method(method)
            .uri(format!("http://{address}{path}"))
            .header("content-type", kind)
            .body(())
            .unwrap()
    };
    const WRAP: &str = "/keyprovider.KeyProviderService/WrapKey";
    const GRPC: &str = "application/grpc";
    let frame = |json: &[u8]| {
        let len = u8::try_from(json.len()).unwrap();
        [&[0, 0, 0, 0, len + 2, 0x0a, len][..], json].concat()
    };
    for (request, body, status) in [
        (request("POST", WRAP, GRPC), frame(b"{}"), "3"),
        (request("POST", WRAP, GRPC), Vec::new(), "3"),
        (request("POST", WRAP, GRPC), b"\x01\0\0\0\0".to_vec(), "3"),
        (request("POST", WRAP, GRPC), vec![0; 5 << 20], "8"),
        (
            request("POST", WRAP, "application/json"),
            frame(b"{}"),
            "12",
        ),
        (request("GET", WRAP, GRPC), frame(b"{}"), "12"),
        (
            request("POST", "/keyprovider.KeyProviderService/wrapkey", GRPC),
            frame(b"{}"),
            "12",
        ),
        (
            request("POST", "/grpc.health.v1.Health/Check", GRPC),
            frame(b"{}"),
            "12",
        ),
    ] {
        let line = format!("{request:?}");
        let answer = runtime.block_on(send(address, request, body));
        assert_eq!(answer, (200, status.to_owned()), "{line}");
    }
}

#[test]
fn our_service_listens_in_clear_on_loopback_only() {
    let runtime = runtime();
    let listener = runtime.block_on(TcpListener::bind("0.0.0.0:0")).unwrap();
    let error = Listener::loopback(listener).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
}
