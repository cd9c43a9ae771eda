//! Reading from a registry that misbehaves.

use std::time::Duration;

use crate::lab::{descriptor, is_broken_connection, options, read, source, told, transport};
use sealift_oci::Digest;
use sealift_registry::{ClientCertificate, Credential, Options, Secret, Tls, Transport};
use sealift_testkit::image::{Format, Image, ImageBuilder, Layer, Packing, Tar};
use sealift_testkit::noise;
use sealift_testkit::registry::{
    Auth, Effect, Fault, Operation, Options as Serving, Registry, RunningRegistry, Support,
    Tls as ServedTls, tls,
};

pub(crate) fn image() -> Image {
    ImageBuilder::new(Format::Oci)
        .layer(Layer::new(Tar::new().file("a", b"content"), Packing::Gzip))
        .build()
}

pub(crate) fn serving(serving: Serving) -> RunningRegistry {
    let registry = Registry::start(serving);
    image().push(&registry, "demo/app", "v1");
    registry
}

pub(crate) fn reference(registry: &RunningRegistry) -> String {
    format!("docker://{}/demo/app:v1", registry.host())
}

/// Serves whoever logs in as `me` with the password `pw`.
pub(crate) fn with_password() -> Serving {
    Serving {
        auth: Auth::Basic {
            user: "me".into(),
            password: "pw".into(),
        },
        ..Serving::default()
    }
}

pub(crate) fn with_login(user: &str, password: &str) -> Options {
    let mut options = options();
    options.credentials.explicit = Some(Credential::new(user.into(), Secret::new(password.into())));
    options
}

/// Pulls a blob of 300 kB under a fault; returns the digest of what came, or the error, and the registry.
fn pull(fault: Fault) -> (Result<String, String>, RunningRegistry) {
    pull_from(Registry::start(Serving::default()), fault)
}

fn pull_from(registry: RunningRegistry, fault: Fault) -> (Result<String, String>, RunningRegistry) {
    let blob = noise(7, 300_000);
    registry.put_blob("demo/app", &blob);
    registry.set_fault(fault);
    let transport = transport();
    let outcome = read(
        &*source(&transport, &reference(&registry)),
        &descriptor(&blob),
    );
    let outcome = outcome
        .map(|octets| Digest::sha256(&octets).to_string())
        .map_err(|error| told(&error, &registry.host()));
    (outcome, registry)
}

fn whole() -> Result<String, String> {
    Ok(descriptor(&noise(7, 300_000)).digest().to_string())
}

fn blob_error(message: &str) -> Result<String, String> {
    let digest = descriptor(&noise(7, 300_000)).digest().to_string();
    Err(message.replace("DIGEST", &digest))
}

#[test]
fn a_manifest_comes_as_it_is_stored() {
    let registry = serving(Serving::default());
    let transport = transport();
    let source = source(&transport, &reference(&registry));
    let root = source.root().unwrap();
    assert_eq!(root.bytes, image().bytes());
    assert_eq!(root.media_type.as_str(), image().media_type());
    assert_eq!(root.digest.to_string(), image().digest());
    assert_eq!(source.manifest(&root.descriptor()).unwrap(), root);
}

#[test]
fn a_broken_connection_is_continued_where_it_broke() {
    for at in [0, 1, 100_000, 299_999] {
        let (outcome, registry) = pull(Fault::on(Operation::GetBlob, Effect::CutBody(at)));
        assert_eq!(outcome, whole(), "{at}");
        let log = registry.log();
        let ranges: Vec<_> = log.iter().map(|entry| entry.header("range")).collect();
        let range = format!("bytes={at}-");
        assert_eq!(ranges, [None, (at > 0).then_some(range.as_str())], "{at}");
    }
}

#[test]
fn a_server_without_ranges_sends_everything_again() {
    let registry = Registry::start(Serving {
        ranges: Support::No,
        ..Serving::default()
    });
    let (outcome, registry) = pull_from(
        registry,
        Fault::on(Operation::GetBlob, Effect::CutBody(100_000)).times(2),
    );
    assert_eq!(outcome, whole());
    assert_eq!(registry.count(Operation::GetBlob), 3);
}

#[test]
fn a_part_that_is_not_the_rest_is_refused() {
    let cut = || Fault::on(Operation::GetBlob, Effect::CutBody(100_000));
    let (outcome, _registry) = {
        let registry = Registry::start(Serving::default());
        registry.set_fault(cut());
        pull_from(
            registry,
            Fault::on(
                Operation::GetBlob,
                Effect::SetHeader("Content-Range".into(), "bytes 100001-299999/300000".into()),
            ),
        )
    };
    assert_eq!(
        outcome,
        blob_error(
            "`Content-Range` of GET HOST/v2/demo/app/blobs/DIGEST is malformed: it does not continue at 100000 of 300000"
        )
    );
}

#[test]
fn a_part_of_other_content_ends_in_a_digest_mismatch() {
    let registry = Registry::start(Serving::default());
    registry.set_fault(Fault::on(Operation::GetBlob, Effect::CutBody(100_000)));
    let (outcome, _registry) = pull_from(
        registry,
        Fault::on(Operation::GetBlob, Effect::ShiftRange(1)),
    );
    let outcome = outcome.unwrap_err();
    assert!(
        outcome.contains("has digest sha256:")
            || outcome.contains("ends after")
            || outcome.contains("failed"),
        "{outcome}"
    );
}

#[test]
fn wrong_content_is_never_released_whole() {
    let (outcome, registry) = pull(Fault::on(Operation::GetBlob, Effect::FlipBit(299_999)));
    let message = outcome.unwrap_err();
    let expected = descriptor(&noise(7, 300_000)).digest().to_string();
    assert!(
        message.starts_with(&format!(
            "blob `{expected}` at HOST/demo/app has digest sha256:"
        )),
        "{message}"
    );
    assert!(message.ends_with(&format!(", not {expected}")), "{message}");
    // A digest mismatch is no reason to try again.
    assert_eq!(registry.count(Operation::GetBlob), 1);
}

#[test]
fn a_wrong_length_is_refused_before_anything_is_read() {
    let (outcome, registry) = pull(Fault::on(
        Operation::GetBlob,
        Effect::Body(noise(7, 300_001)),
    ));
    assert_eq!(
        outcome,
        blob_error("blob `DIGEST` at HOST/demo/app is announced with 300001 octets, not 300000")
    );
    assert_eq!(registry.count(Operation::GetBlob), 1);
    let long = Fault::on(Operation::GetBlob, Effect::Body(noise(7, 300_001))).and(Effect::Chunked);
    let (outcome, _registry) = pull(long);
    assert_eq!(
        outcome,
        blob_error("blob `DIGEST` at HOST/demo/app is longer than 300000 octets")
    );
}

#[test]
fn a_body_without_length_that_ends_early_is_continued() {
    let short = Fault::on(
        Operation::GetBlob,
        Effect::Body(noise(7, 300_000)[..1000].to_vec()),
    )
    .and(Effect::NoLength);
    let (outcome, registry) = pull(short);
    assert_eq!(outcome, whole());
    assert_eq!(registry.count(Operation::GetBlob), 2);
}

#[test]
fn later_is_tried_again_and_no_is_not() {
    for status in [408, 429, 500, 502, 503, 504] {
        let (outcome, registry) =
            pull(Fault::on(Operation::GetBlob, Effect::status(status)).times(3));
        assert_eq!(outcome, whole(), "{status}");
        assert_eq!(registry.count(Operation::GetBlob), 4, "{status}");
    }
    for effect in [Effect::HangUp, Effect::CutHeader, Effect::LoseReply] {
        let (outcome, _registry) = pull(Fault::on(Operation::GetBlob, effect.clone()));
        assert_eq!(outcome, whole(), "{effect:?}");
    }
    for (status, message) in [
        (
            403,
            "GET HOST/v2/demo/app/blobs/DIGEST was denied: UNKNOWN: scripted",
        ),
        (404, "blob `DIGEST` was not found at HOST/demo/app"),
        (
            418,
            "GET HOST/v2/demo/app/blobs/DIGEST failed (attempt 1): the registry answered 418: UNKNOWN: scripted",
        ),
    ] {
        let (outcome, registry) =
            pull(Fault::on(Operation::GetBlob, Effect::status(status)).always());
        assert_eq!(outcome, blob_error(message), "{status}");
        assert_eq!(registry.count(Operation::GetBlob), 1, "{status}");
    }
}

#[test]
fn attempts_come_to_an_end() {
    let (outcome, registry) = pull(Fault::on(Operation::GetBlob, Effect::status(503)).always());
    assert_eq!(
        outcome,
        blob_error(
            "GET HOST/v2/demo/app/blobs/DIGEST failed (attempt 4): the registry answered 503: UNKNOWN: scripted"
        )
    );
    assert_eq!(registry.count(Operation::GetBlob), 4);
}

#[test]
fn a_pause_the_registry_asks_for_is_kept_or_refused_whole() {
    let (outcome, _registry) = pull(Fault::on(Operation::GetBlob, Effect::retry_after(429, "1")));
    assert_eq!(outcome, whole());
    // Once it was kept: of a second and a half nothing is left for another one.
    let registry = Registry::start(Serving::default());
    let blob = noise(7, 300_000);
    registry.put_blob("demo/app", &blob);
    registry.set_fault(Fault::on(Operation::GetBlob, Effect::retry_after(429, "1")).always());
    let mut options = options();
    options.retry.budget = Duration::from_millis(1500);
    let transport = Transport::new(options).unwrap();
    let outcome = read(
        &*source(&transport, &reference(&registry)),
        &descriptor(&blob),
    );
    assert_eq!(
        outcome
            .map(|_| String::new())
            .map_err(|error| told(&error, &registry.host())),
        blob_error(
            "GET HOST/v2/demo/app/blobs/DIGEST failed (attempt 2): the registry asks to wait 1 seconds"
        )
    );
    assert_eq!(registry.count(Operation::GetBlob), 2);
    let (outcome, registry) = pull(Fault::on(
        Operation::GetBlob,
        Effect::retry_after(429, "3600"),
    ));
    assert_eq!(
        outcome,
        blob_error(
            "GET HOST/v2/demo/app/blobs/DIGEST failed (attempt 1): the registry asks to wait 3600 seconds"
        )
    );
    assert_eq!(registry.count(Operation::GetBlob), 1);
}

#[test]
fn a_silent_registry_is_left_after_the_idle_time() {
    let blob = noise(7, 300_000);
    for effect in [
        Effect::Stall,
        Effect::Trickle {
            bytes: 10,
            pause: Duration::from_secs(3),
        },
    ] {
        let registry = Registry::start(Serving::default());
        registry.put_blob("demo/app", &blob);
        registry.set_fault(Fault::on(Operation::GetBlob, effect).always());
        let mut options = options();
        options.idle_timeout = Duration::from_secs(1);
        options.retry.attempts = 2;
        let transport = Transport::new(options).unwrap();
        let error = read(
            &*source(&transport, &reference(&registry)),
            &descriptor(&blob),
        )
        .unwrap_err();
        assert_eq!(
            Err(told(&error, &registry.host())),
            blob_error(
                "GET HOST/v2/demo/app/blobs/DIGEST failed (attempt 2): no data moved for 1 seconds"
            )
        );
    }
}

#[test]
fn a_slow_registry_is_not() {
    let blob = noise(7, 3000);
    let registry = Registry::start(Serving::default());
    registry.put_blob("demo/app", &blob);
    let pause = Duration::from_millis(400);
    registry.set_fault(Fault::on(
        Operation::GetBlob,
        Effect::Trickle { bytes: 500, pause },
    ));
    let mut options = options();
    options.idle_timeout = Duration::from_secs(1);
    let transport = Transport::new(options).unwrap();
    assert_eq!(
        read(
            &*source(&transport, &reference(&registry)),
            &descriptor(&blob)
        )
        .unwrap(),
        blob
    );
    assert_eq!(registry.count(Operation::GetBlob), 1);
}

#[test]
fn headers_without_end_are_refused() {
    let registry = serving(Serving::default());
    let transport = transport();
    let source = source(&transport, &reference(&registry));
    let one = Effect::SetHeader("X-Long".into(), "x".repeat(1_000_000));
    let mut many = Fault::on(Operation::GetManifest, Effect::status(200));
    for n in 0..200 {
        many = many.and(Effect::SetHeader(format!("X-{n}"), "x".into()));
    }
    for fault in [Fault::on(Operation::GetManifest, one), many] {
        registry.clear_faults();
        registry.set_fault(fault.always());
        let error = source.root().unwrap_err();
        assert!(is_broken_connection(&error), "{error}");
    }
}

#[test]
fn a_manifest_that_is_not_what_was_asked_for_is_refused() {
    let get = Operation::GetManifest;
    let header = |name: &str, value: &str| Effect::SetHeader(name.into(), value.into());
    let other = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    let manifest = "application/vnd.docker.distribution.manifest.v2+json";
    for (effect, message) in [
        (
            header("Docker-Content-Digest", other),
            format!(
                "manifest `v1` at HOST/demo/app has digest {}, not {other}",
                image().digest()
            ),
        ),
        (
            header("Content-Type", manifest),
            format!(
                "manifest `v1` is malformed: it says it is `{}`, but was announced as `{manifest}`",
                image().media_type()
            ),
        ),
        (
            Effect::Blanks(100 << 20),
            "manifest `v1` is malformed: it is longer than 4194304 octets".into(),
        ),
        (
            Effect::Blanks(2 << 30),
            "manifest `v1` is malformed: it is longer than 4194304 octets".into(),
        ),
        (
            Effect::status(404),
            "manifest `v1` was not found at HOST/demo/app".into(),
        ),
    ] {
        let registry = serving(Serving::default());
        registry.set_fault(Fault::on(get, effect.clone()).and(Effect::Chunked).always());
        let transport = transport();
        let error = source(&transport, &reference(&registry))
            .root()
            .unwrap_err();
        assert_eq!(told(&error, &registry.host()), message, "{effect:?}");
        assert_eq!(registry.count(get), 1, "{effect:?}");
    }
}

#[test]
fn a_child_manifest_is_verified_against_its_descriptor() {
    let registry = serving(Serving::default());
    let transport = transport();
    let source = source(&transport, &reference(&registry));
    let root = source.root().unwrap();
    registry.set_fault(
        Fault::on(Operation::GetManifest, Effect::FlipBit(3))
            .and(Effect::DropHeader("Docker-Content-Digest".into())),
    );
    let message = told(
        &source.manifest(&root.descriptor()).unwrap_err(),
        &registry.host(),
    );
    assert!(
        message.ends_with(&format!(", not {}", root.digest)),
        "{message}"
    );
    assert_eq!(source.manifest(&root.descriptor()).unwrap(), root);
}

#[test]
fn a_manifest_cut_on_its_way_is_asked_for_again() {
    let registry = serving(Serving::default());
    registry.set_fault(Fault::on(Operation::GetManifest, Effect::CutBody(10)));
    let transport = transport();
    assert_eq!(
        source(&transport, &reference(&registry))
            .root()
            .unwrap()
            .bytes,
        image().bytes()
    );
}

#[test]
fn a_redirect_is_followed_without_credentials() {
    let elsewhere = Registry::start(Serving::default());
    let blob = noise(7, 300_000);
    let url = elsewhere.put_file("/storage/blob", &blob);
    let registry = Registry::start(with_password());
    registry.put_blob("demo/app", &blob);
    // The first request is refused for want of a login and must not use the fault up.
    registry.set_fault(
        Fault::on(
            Operation::GetBlob,
            Effect::Redirect(format!("{url}?sig=secret")),
        )
        .after(1)
        .always(),
    );
    elsewhere.set_fault(Fault::on(Operation::File, Effect::CutBody(1000)));
    let transport = Transport::new(with_login("me", "pw")).unwrap();
    let got = read(
        &*source(&transport, &reference(&registry)),
        &descriptor(&blob),
    )
    .unwrap();
    assert_eq!(got, blob);
    assert_eq!(elsewhere.count(Operation::File), 2);
    assert!(elsewhere.log().iter().all(|entry| !entry.is_authorized()));
    assert!(
        registry
            .log()
            .iter()
            .skip(1)
            .all(|entry| entry.is_authorized())
    );
}

#[test]
fn redirects_come_to_an_end_and_keep_their_secrets() {
    let registry = Registry::start(Serving::default());
    let digest = registry.put_blob("demo/app", b"x");
    let own = format!("{}/v2/demo/app/blobs/{digest}?sig=secret", registry.url());
    registry.set_fault(Fault::on(Operation::GetBlob, Effect::Redirect(own)).always());
    let transport = transport();
    let error = read(
        &*source(&transport, &reference(&registry)),
        &descriptor(b"x"),
    )
    .unwrap_err();
    assert_eq!(
        told(&error, &registry.host()),
        format!(
            "chain of redirects from HOST/v2/demo/app/blobs/{digest} is malformed: there are more than 5"
        )
    );
    assert_eq!(registry.count(Operation::GetBlob), 6);
}

#[test]
fn a_redirect_leaves_neither_https_nor_shows_it_our_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let mut options = options();
    options.tls = Tls {
        authorities: vec![file("ca.pem", tls::CA)],
        client: Some(ClientCertificate {
            chain: file("client.pem", tls::CLIENT),
            key: file("client.key", tls::CLIENT_KEY),
        }),
    };
    let transport = Transport::new(options).unwrap();
    let blob = noise(7, 1000);
    let redirected = |storage: ServedTls| {
        let elsewhere = Registry::start(Serving {
            tls: storage,
            ..Serving::default()
        });
        let url = elsewhere.put_file("/storage/blob", &blob);
        let registry = Registry::start(Serving {
            tls: ServedTls::Mutual,
            ..Serving::default()
        });
        registry.put_blob("demo/app", &blob);
        registry.set_fault(Fault::on(Operation::GetBlob, Effect::Redirect(url)).always());
        let outcome = read(
            &*source(&transport, &reference(&registry)),
            &descriptor(&blob),
        );
        let outcome = outcome
            .map(|octets| octets == blob)
            .map_err(|error| told(&error, &registry.host()));
        (outcome, elsewhere.count(Operation::File))
    };
    assert_eq!(redirected(ServedTls::On), (Ok(true), 1));
    let digest = descriptor(&blob).digest().to_string();
    let left =
        format!("redirect from HOST/v2/demo/app/blobs/{digest} is malformed: it leaves https");
    assert_eq!(redirected(ServedTls::Off), (Err(left), 0));
    let (outcome, count) = redirected(ServedTls::Mutual);
    assert!(outcome.unwrap_err().contains(" failed (attempt "));
    assert_eq!(count, 0);
}

#[test]
fn tls_wants_a_known_authority_and_shows_a_certificate_if_asked() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let authority = file("ca.pem", tls::CA);
    let client = ClientCertificate {
        chain: file("client.pem", tls::CLIENT),
        key: file("client.key", tls::CLIENT_KEY),
    };
    let root = |served: ServedTls, tls: Tls| {
        let registry = serving(Serving {
            tls: served,
            ..Serving::default()
        });
        let transport = Transport::new(Options { tls, ..options() }).unwrap();
        let outcome = source(&transport, &reference(&registry)).root();
        outcome
            .map(|root| root.bytes)
            .map_err(|error| told(&error, &registry.host()))
    };
    let trusting = Tls {
        authorities: vec![authority.clone()],
        client: None,
    };
    let showing = Tls {
        authorities: vec![authority.clone()],
        client: Some(client.clone()),
    };
    assert_eq!(
        root(ServedTls::On, trusting.clone()).unwrap(),
        image().bytes()
    );
    assert_eq!(root(ServedTls::Mutual, showing).unwrap(), image().bytes());
    // The other registry of the command may be a plain one on this machine.
    assert_eq!(
        root(ServedTls::Off, trusting.clone()).unwrap(),
        image().bytes()
    );
    let unproven = root(ServedTls::Mutual, trusting).unwrap_err();
    assert!(
        unproven.starts_with("GET HOST/v2/demo/app/manifests/v1 failed (attempt "),
        "{unproven}"
    );
    let unknown = Tls {
        authorities: vec![file("other.pem", tls::CLIENT)],
        client: None,
    };
    let untrusted = root(ServedTls::On, unknown).unwrap_err();
    assert!(
        untrusted.starts_with(
            "GET HOST/v2/demo/app/manifests/v1 failed (attempt 1): the TLS connection was refused: "
        ),
        "{untrusted}"
    );
    assert!(
        untrusted.contains("invalid peer certificate"),
        "{untrusted}"
    );
    let nothing = Tls {
        authorities: vec![file("empty.pem", "nothing")],
        client: None,
    };
    let empty = root(ServedTls::On, nothing).unwrap_err();
    assert!(
        empty.ends_with("empty.pem` is malformed: it holds no certificate in PEM"),
        "{empty}"
    );
}

#[test]
fn a_proxy_is_used_but_not_for_this_machine() {
    let proxy = Registry::start(Serving::default());
    let registry = serving(Serving::default());
    let mut options = options();
    options.plain_http = true;
    options.proxies.http = Some(proxy.url().into());
    options.proxies.except = "direct.invalid".into();
    let transport = Transport::new(options).unwrap();
    assert_eq!(
        source(&transport, &reference(&registry))
            .root()
            .unwrap()
            .bytes,
        image().bytes()
    );
    assert_eq!(proxy.log().len(), 0);
    source(&transport, "docker://registry.invalid/demo/app")
        .root()
        .unwrap_err();
    let asked: Vec<_> = proxy.log().iter().map(|entry| entry.path.clone()).collect();
    assert_eq!(
        asked,
        ["http://registry.invalid/v2/demo/app/manifests/latest"]
    );
    source(&transport, "docker://direct.invalid/demo/app")
        .root()
        .unwrap_err();
    assert_eq!(proxy.log().len(), 1);
}

#[test]
fn a_registry_that_answers_in_clear_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    // Leads to this machine without saying so.
    let host = format!("0.0.0.0:{}", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request";
            drop(std::io::Write::write_all(&mut stream.unwrap(), answer));
        }
    });
    let transport = transport();
    let error = source(&transport, &format!("docker://{host}/demo/app:v1"))
        .root()
        .unwrap_err();
    let message = told(&error, &host);
    assert!(
        message.starts_with(
            "GET HOST/v2/demo/app/manifests/v1 failed (attempt 1): the server does not speak TLS: "
        ),
        "{message}"
    );
    assert!(!error.may_retry());
}

#[test]
fn a_closed_port_is_a_network_error() {
    let registry = serving(Serving::default());
    let (host, reference) = (registry.host(), reference(&registry));
    drop(registry);
    let transport = transport();
    let error = source(&transport, &reference).root().unwrap_err();
    let message = told(&error, &host);
    assert!(
        message.starts_with(
            "GET HOST/v2/demo/app/manifests/v1 failed (attempt 4): the connection failed: "
        ),
        "{message}"
    );
    assert!(error.may_retry());
}
