//! The registry keeps the distribution specification.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod wire;

use std::io::{Read, Write};
use std::net::TcpStream;

use sealift_testkit::registry::{
    Auth, Bearer, Chunks, Operation, Options, Registry, Support, UploadState, UploadUrl,
};
use sealift_testkit::{sha256, sha512};
use wire::{Answer, bearer, get, open_upload, send, start, with_blob, with_token};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn json(answer: &Answer) -> serde_json::Value {
    serde_json::from_slice(&answer.body).unwrap()
}

#[test]
fn answers_the_version_check() {
    let answer = get(&start(), "/v2/");
    assert_eq!(
        (answer.status(), answer.body.as_slice()),
        (200, b"{}".as_slice())
    );
}

#[test]
fn serves_a_blob_whole_and_in_parts() {
    let (registry, path) = with_blob(b"0123456789");
    let whole = get(&registry, &path);
    assert_eq!(
        (whole.status(), whole.body.as_slice()),
        (200, b"0123456789".as_slice())
    );
    assert_eq!(
        whole.header("Docker-Content-Digest"),
        Some(sha256(b"0123456789"))
    );
    for (range, content_range, body) in [
        ("bytes=3-5", "bytes 3-5/10", "345"),
        ("bytes=8-", "bytes 8-9/10", "89"),
        ("bytes=-4", "bytes 6-9/10", "6789"),
        ("bytes=5-99", "bytes 5-9/10", "56789"),
    ] {
        let part = send(&registry, "GET", &path, &[("Range", range)], b"");
        assert_eq!(
            (part.status(), part.body.as_slice()),
            (206, body.as_bytes()),
            "{range}"
        );
        assert_eq!(part.header("Content-Range").as_deref(), Some(content_range));
    }
    // Invalid, hence ignored: RFC 9110, section 14.1.1.
    for range in ["bytes=x-", "octets=1-2", "bytes=1"] {
        let whole = send(&registry, "GET", &path, &[("Range", range)], b"");
        assert_eq!((whole.status(), whole.body.len()), (200, 10), "{range}");
    }
    for range in ["bytes=10-", "bytes=99-100", "bytes=5-3", "bytes=-0"] {
        let beyond = send(&registry, "GET", &path, &[("Range", range)], b"");
        assert_eq!(beyond.status(), 416, "{range}");
        let content_range = beyond.header("Content-Range");
        assert_eq!(content_range.as_deref(), Some("bytes */10"));
    }
}

#[test]
fn tells_the_length_of_a_blob_without_sending_it() {
    let (registry, path) = with_blob(b"0123456789");
    let answer = send(&registry, "HEAD", &path, &[], b"");
    assert_eq!((answer.status(), answer.body.len()), (200, 0));
    assert_eq!(answer.header("Content-Length").as_deref(), Some("10"));
}

#[test]
fn shows_a_blob_only_in_its_repository() {
    let (registry, path) = with_blob(b"x");
    assert_eq!(get(&registry, &path.replace("a/b", "a/c")).status(), 404);
    assert_eq!(send(&registry, "DELETE", &path, &[], b"").status(), 202);
    assert_eq!(get(&registry, &path).status(), 404);
}

#[test]
fn takes_a_blob_in_one_request() {
    let registry = start();
    let digest = sha512(b"layer");
    let target = format!("/v2/a/blobs/uploads/?digest={digest}");
    assert_eq!(
        send(&registry, "POST", &target, &[], b"layer").status(),
        201
    );
    assert_eq!(registry.blob("a", &digest), Some(b"layer".to_vec()));
    assert_eq!(registry.open_uploads(), 0);
}

#[test]
fn takes_a_blob_in_chunks() {
    let registry = start();
    let location = open_upload(&registry);
    let first = send(
        &registry,
        "PATCH",
        &location,
        &[("Content-Range", "0-2")],
        b"lay",
    );
    assert_eq!(
        (first.status(), first.header("Range").as_deref()),
        (202, Some("0-2"))
    );
    let gap = send(
        &registry,
        "PATCH",
        &location,
        &[("Content-Range", "4-4")],
        b"r",
    );
    assert_eq!(
        (gap.status(), gap.header("Range").as_deref()),
        (416, Some("0-2"))
    );
    let asked = send(&registry, "GET", &location, &[], b"");
    assert_eq!(
        (asked.status(), asked.header("Range").as_deref()),
        (204, Some("0-2"))
    );
    let target = format!("{location}&digest={}", sha256(b"layer"));
    let done = send(
        &registry,
        "PUT",
        &target,
        &[("Content-Range", "3-4")],
        b"er",
    );
    assert_eq!(done.status(), 201);
    assert_eq!(
        registry.blob("a", &sha256(b"layer")),
        Some(b"layer".to_vec())
    );
}

#[test]
fn takes_a_body_in_http_chunks() {
    let registry = start();
    let mut stream = TcpStream::connect(registry.addr()).unwrap();
    let digest = sha256(b"layer");
    let head =
        format!("POST /v2/a/blobs/uploads/?digest={digest} HTTP/1.1\r\nConnection: close\r\n");
    let body = "Transfer-Encoding: chunked\r\n\r\n3\r\nlay\r\n2\r\ner\r\n0\r\n\r\n";
    write!(stream, "{head}{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(&answer[..12], "HTTP/1.1 201");
    assert_eq!(registry.blob("a", &digest), Some(b"layer".to_vec()));
}

#[test]
fn tells_a_client_that_asks_to_go_on() {
    let registry = start();
    let mut stream = TcpStream::connect(registry.addr()).unwrap();
    let target = format!("/v2/a/blobs/uploads/?digest={}", sha256(b"layer"));
    write!(stream, "POST {target} HTTP/1.1\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        .unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"layer").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(&answer[..12], "HTTP/1.1 201");
}

#[test]
fn serves_many_requests_on_one_connection() {
    let (registry, path) = with_blob(b"0123456789");
    let mut stream = TcpStream::connect(registry.addr()).unwrap();
    for _ in 0..3 {
        write!(stream, "GET {path} HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n0123456789") {
            let mut octet = [0];
            stream.read_exact(&mut octet).unwrap();
            answer.push(octet[0]);
        }
    }
    assert_eq!(registry.count(Operation::GetBlob), 3);
}

#[test]
fn refuses_a_blob_with_another_digest() {
    let registry = start();
    let target = format!("/v2/a/blobs/uploads/?digest={}", sha256(b"other"));
    assert_eq!(
        send(&registry, "POST", &target, &[], b"layer").status(),
        400
    );
    assert_eq!(registry.blobs("a"), Vec::<String>::new());
}

#[test]
fn forgets_a_cancelled_upload() {
    let registry = start();
    let location = open_upload(&registry);
    assert_eq!(registry.open_uploads(), 1);
    assert_eq!(send(&registry, "DELETE", &location, &[], b"").status(), 204);
    assert_eq!(registry.open_uploads(), 0);
    assert_eq!(send(&registry, "PATCH", &location, &[], b"x").status(), 404);
}

#[test]
fn mounts_a_blob_of_another_repository() {
    let registry = start();
    let digest = registry.put_blob("from/here", b"x");
    let target = format!("/v2/to/there/blobs/uploads/?mount={digest}&from=from/here");
    assert_eq!(send(&registry, "POST", &target, &[], b"").status(), 201);
    assert_eq!(registry.blob("to/there", &digest), Some(b"x".to_vec()));
    let target = format!(
        "/v2/to/there/blobs/uploads/?mount={}&from=from/here",
        sha256(b"y")
    );
    let answer = send(&registry, "POST", &target, &[], b"");
    assert_eq!(
        (answer.status(), answer.header("Location").is_some()),
        (202, true)
    );
}

#[test]
fn takes_a_manifest_only_after_what_it_names() {
    let registry = start();
    let config = sha256(b"{}");
    let body = format!(r#"{{"schemaVersion":2,"config":{{"digest":"{config}"}},"layers":[]}}"#);
    let kind = [("Content-Type", MANIFEST)];
    let early = send(
        &registry,
        "PUT",
        "/v2/a/manifests/v1",
        &kind,
        body.as_bytes(),
    );
    assert_eq!((early.status(), registry.tags("a")), (404, vec![]));
    registry.put_blob("a", b"{}");
    let done = send(
        &registry,
        "PUT",
        "/v2/a/manifests/v1",
        &kind,
        body.as_bytes(),
    );
    assert_eq!(
        (done.status(), registry.tags("a")),
        (201, vec!["v1".to_owned()])
    );
    for reference in ["v1", &sha256(body.as_bytes())] {
        let answer = get(&registry, &format!("/v2/a/manifests/{reference}"));
        assert_eq!(answer.body, body.as_bytes());
        assert_eq!(answer.header("Content-Type").as_deref(), Some(MANIFEST));
        assert_eq!(
            answer.header("Docker-Content-Digest"),
            Some(sha256(body.as_bytes()))
        );
    }
}

#[test]
fn takes_an_index_only_after_its_manifests() {
    let registry = start();
    let child = registry.put_manifest("other", "v1", MANIFEST, b"{}");
    let body = format!(r#"{{"manifests":[{{"digest":"{child}"}}]}}"#);
    let kind = [("Content-Type", INDEX)];
    let put = || {
        send(
            &registry,
            "PUT",
            "/v2/a/manifests/v1",
            &kind,
            body.as_bytes(),
        )
        .status()
    };
    assert_eq!(put(), 404);
    registry.put_manifest("a", &child, MANIFEST, b"{}");
    assert_eq!(put(), 201);
}

#[test]
fn needs_no_foreign_layer_for_a_manifest() {
    let registry = start();
    let body = br#"{"layers":[{"digest":"sha256:00","urls":["https://example.com/layer"]}]}"#;
    let answer = send(
        &registry,
        "PUT",
        "/v2/a/manifests/v1",
        &[("Content-Type", MANIFEST)],
        body,
    );
    assert_eq!(answer.status(), 201);
}

#[test]
fn refuses_manifests_that_are_wrong_or_too_long() {
    let registry = Registry::start(Options {
        max_manifest: 20,
        ..Options::default()
    });
    let put = |reference: &str, kind: &str, body: &[u8]| {
        let target = format!("/v2/a/manifests/{reference}");
        send(&registry, "PUT", &target, &[("Content-Type", kind)], body).status()
    };
    assert_eq!(put("v1", MANIFEST, b"{"), 400);
    assert_eq!(put("v1", INDEX, br#"{"mediaType":"x"}"#), 400);
    assert_eq!(put(&sha256(b"other"), MANIFEST, b"{}"), 400);
    assert_eq!(put("v1", MANIFEST, br#"{"schemaVersion": 2 }"#), 413);
    assert_eq!(put(&sha256(b"{}"), MANIFEST, b"{}"), 201);
    assert_eq!(registry.tags("a"), Vec::<String>::new());
}

#[test]
fn lists_tags_page_by_page() {
    let registry = Registry::start(Options {
        page: 2,
        ..Options::default()
    });
    for tag in ["c", "a", "b"] {
        registry.put_manifest("r", tag, MANIFEST, b"{}");
    }
    let first = get(&registry, "/v2/r/tags/list");
    assert_eq!(
        json(&first),
        serde_json::json!({"name": "r", "tags": ["a", "b"]})
    );
    let link = first.header("Link").unwrap();
    assert_eq!(link, "</v2/r/tags/list?n=2&last=b>; rel=\"next\"");
    let second = get(&registry, "/v2/r/tags/list?n=2&last=b");
    assert_eq!(json(&second)["tags"], serde_json::json!(["c"]));
    assert_eq!(second.header("Link"), None);
}

#[test]
fn lists_referrers_page_by_page() {
    let registry = Registry::start(Options {
        page: 1,
        ..Options::default()
    });
    let subject = registry.put_manifest("r", "v1", MANIFEST, b"{}");
    let mut expected = Vec::new();
    for kind in ["one", "two"] {
        let body = format!(r#"{{"artifactType":"{kind}","subject":{{"digest":"{subject}"}}}}"#);
        let target = format!("/v2/r/manifests/{kind}");
        let put = send(
            &registry,
            "PUT",
            &target,
            &[("Content-Type", MANIFEST)],
            body.as_bytes(),
        );
        assert_eq!(put.header("OCI-Subject").as_deref(), Some(subject.as_str()));
        expected.push(sha256(body.as_bytes()));
    }
    let mut target = format!("/v2/r/referrers/{subject}");
    let mut found = Vec::new();
    for _ in 0..2 {
        let page = get(&registry, &target);
        found.push(
            json(&page)["manifests"][0]["digest"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
        let link = page.header("Link").unwrap_or_default();
        target = link
            .trim_start_matches('<')
            .split('>')
            .next()
            .unwrap()
            .to_owned();
    }
    expected.sort();
    assert_eq!((found, target.as_str()), (expected, ""));
    let filtered = get(
        &registry,
        &format!("/v2/r/referrers/{subject}?artifactType=two"),
    );
    assert_eq!(json(&filtered)["manifests"][0]["artifactType"], "two");
    assert_eq!(
        filtered.header("OCI-Filters-Applied").as_deref(),
        Some("artifactType")
    );
}

#[test]
fn lacks_what_the_options_take_away() {
    let registry = Registry::start(Options {
        upload_url: UploadUrl::Bare,
        chunks: Chunks::Appended,
        mounts: Support::No,
        ranges: Support::No,
        single_post: Support::No,
        referrers: Support::No,
        max_chunk: Some(4),
        min_chunk: Some(2),
        ..Options::default()
    });
    let digest = registry.put_blob("a", b"blob");
    let path = format!("/v2/a/blobs/{digest}");
    let ranged = send(&registry, "GET", &path, &[("Range", "bytes=1-")], b"");
    assert_eq!((ranged.status(), ranged.body.len()), (200, 4));
    let target = format!("/v2/b/blobs/uploads/?mount={digest}&from=a");
    let mounted = send(&registry, "POST", &target, &[], b"");
    assert_eq!(mounted.status(), 202);
    assert_eq!(
        mounted.header("Location").as_deref(),
        Some("/v2/b/blobs/uploads/upload-1")
    );
    assert_eq!(mounted.header("OCI-Chunk-Min-Length").as_deref(), Some("2"));
    let target = format!("/v2/b/blobs/uploads/?digest={digest}");
    assert_eq!(send(&registry, "POST", &target, &[], b"blob").status(), 202);
    assert_eq!(
        get(&registry, &format!("/v2/a/referrers/{digest}")).status(),
        404
    );
    let upload = "/v2/b/blobs/uploads/upload-1";
    assert_eq!(
        send(&registry, "PATCH", upload, &[], b"12345").status(),
        413
    );
    let blind = send(
        &registry,
        "PATCH",
        upload,
        &[("Content-Range", "7-9")],
        b"123",
    );
    assert_eq!(
        (blind.status(), blind.header("Range").as_deref()),
        (202, Some("0-2"))
    );
}

#[test]
fn refuses_a_stale_upload_url() {
    let registry = Registry::start(Options {
        upload_url: UploadUrl::Relative,
        upload_state: UploadState::Rotating,
        ..Options::default()
    });
    let old = open_upload(&registry);
    let new = send(&registry, "PATCH", &old, &[], b"ab")
        .header("Location")
        .unwrap();
    assert_ne!(old, new);
    assert_eq!(send(&registry, "PATCH", &old, &[], b"cd").status(), 404);
    assert_eq!(send(&registry, "PATCH", &new, &[], b"cd").status(), 202);
}

#[test]
fn asks_for_a_password() {
    let auth = Auth::Basic {
        user: "me".into(),
        password: "secret".into(),
    };
    let registry = Registry::start(Options {
        auth,
        ..Options::default()
    });
    let challenge = get(&registry, "/v2/").header("WWW-Authenticate");
    assert_eq!(challenge.as_deref(), Some("Basic realm=\"registry\""));
    let with =
        |value: &str| send(&registry, "GET", "/v2/", &[("Authorization", value)], b"").status();
    assert_eq!(with("Basic bWU6d3Jvbmc="), 401);
    assert_eq!(with("Basic bWU6c2VjcmV0"), 200);
    let seen: Vec<_> = registry
        .log()
        .iter()
        .map(|e| (e.is_authorized(), e.status))
        .collect();
    assert_eq!(
        seen,
        [(false, Some(401)), (true, Some(401)), (true, Some(200))]
    );
}

#[test]
fn hands_out_tokens_that_hold_for_their_scope() {
    let registry = bearer(Bearer {
        credentials: Some(("me".into(), "secret".into())),
        ..Bearer::default()
    });
    let challenge = get(&registry, "/v2/a/tags/list")
        .header("WWW-Authenticate")
        .unwrap();
    let realm = format!("{}/token", registry.url());
    assert_eq!(
        challenge,
        format!("Bearer realm=\"{realm}\",service=\"testkit\",scope=\"repository:a:pull\"")
    );
    let target = "/token?service=testkit&scope=repository%3Aa%3Apull&scope=repository:b:pull,push";
    assert_eq!(get(&registry, target).status(), 401);
    let granted = send(
        &registry,
        "GET",
        target,
        &[("Authorization", "Basic bWU6c2VjcmV0")],
        b"",
    );
    assert_eq!(
        json(&granted),
        serde_json::json!({"token": "token-1", "expires_in": 300})
    );
    let status = |method, target| with_token(&registry, method, target, "token-1").status();
    assert_eq!(status("GET", "/v2/"), 200);
    assert_eq!(status("GET", "/v2/a/tags/list"), 200);
    assert_eq!(status("POST", "/v2/b/blobs/uploads/"), 202);
    assert_eq!(status("GET", "/v2/c/tags/list"), 401);
    let refused = with_token(&registry, "POST", "/v2/a/blobs/uploads/", "token-1");
    assert_eq!(refused.status(), 401);
    let challenge = refused.header("WWW-Authenticate").unwrap();
    let (_, end) = challenge.split_once("scope=").unwrap();
    assert_eq!(
        end,
        "\"repository:a:pull,push\",error=\"insufficient_scope\""
    );
}

#[test]
fn trades_an_identity_token() {
    let registry = bearer(Bearer {
        refresh_token: Some("long".into()),
        ..Bearer::default()
    });
    let post = |form: &str| send(&registry, "POST", "/token", &[], form.as_bytes());
    assert_eq!(
        post("grant_type=refresh_token&refresh_token=wrong").status(),
        401
    );
    let granted = post("grant_type=refresh_token&refresh_token=long&scope=repository:a:pull");
    assert_eq!(json(&granted)["access_token"], "token-1");
    assert_eq!(
        with_token(&registry, "GET", "/v2/a/tags/list", "token-1").status(),
        200
    );
}

#[test]
fn lets_a_token_die_after_its_uses() {
    let registry = bearer(Bearer {
        uses: 2,
        ..Bearer::default()
    });
    assert_eq!(
        get(&registry, "/token?scope=repository:a:pull").status(),
        200
    );
    let ask = || with_token(&registry, "GET", "/v2/a/tags/list", "token-1");
    assert_eq!((ask().status(), ask().status()), (200, 200));
    let dead = ask();
    assert_eq!(dead.status(), 401);
    let challenge = dead.header("WWW-Authenticate").unwrap();
    assert_eq!(
        challenge.split(',').next_back(),
        Some("error=\"invalid_token\"")
    );
}

#[test]
fn mounts_only_what_the_token_may_read() {
    let registry = bearer(Bearer::default());
    let digest = registry.put_blob("from", b"x");
    get(&registry, "/token?scope=repository:to:pull,push");
    get(
        &registry,
        "/token?scope=repository:to:pull,push&scope=repository:from:pull",
    );
    let target = format!("/v2/to/blobs/uploads/?mount={digest}&from=from");
    assert_eq!(
        with_token(&registry, "POST", &target, "token-1").status(),
        202
    );
    assert_eq!(
        with_token(&registry, "POST", &target, "token-2").status(),
        201
    );
}

#[test]
fn serves_files_beside_the_api() {
    let registry = bearer(Bearer::default());
    let url = registry.put_file("/storage/layer", b"0123");
    assert_eq!(url, format!("{}/storage/layer", registry.url()));
    assert_eq!(get(&registry, &url).body, b"0123");
    let part = send(&registry, "GET", &url, &[("Range", "bytes=2-")], b"");
    assert_eq!(
        (part.status(), part.body.as_slice()),
        (206, b"23".as_slice())
    );
    assert_eq!(registry.count(Operation::File), 2);
}

#[test]
fn shows_blobs_under_digests_they_do_not_have() {
    let registry = start();
    let digest = sha256(b"promised");
    registry.put_blob_as("a", &digest, b"delivered");
    registry.put_manifest_as("a", &digest, MANIFEST, b"{}");
    assert_eq!(
        get(&registry, &format!("/v2/a/blobs/{digest}")).body,
        b"delivered"
    );
    assert_eq!(
        get(&registry, &format!("/v2/a/manifests/{digest}")).body,
        b"{}"
    );
}

#[test]
fn logs_what_was_asked() {
    let registry = start();
    send(
        &registry,
        "GET",
        "/v2/a/tags/list?n=1",
        &[("X-One", "two")],
        b"body",
    );
    let log = registry.log();
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].line(), "GET /v2/a/tags/list 200");
    assert_eq!((log[0].query.as_str(), log[0].received), ("n=1", 4));
    assert_eq!(
        (log[0].header("x-one"), log[0].is_authorized()),
        (Some("two"), false)
    );
    registry.clear_log();
    assert_eq!(registry.log().len(), 0);
}
