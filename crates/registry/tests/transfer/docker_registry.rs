//! What only docker-registry does; all that others do too is in `suite`.

use std::io::Write as _;

use sealift_registry::{Begun, Credential, Error, Options, RateLimit, Secret, Transport};
use sealift_testkit::noise;

use crate::lab::{copy, descriptor, options, read, sink, source, write};
use crate::peers::Peer;
use crate::pull::image;

fn with_login() -> Options {
    let mut options = options();
    let password = Secret::new("s3cret".into());
    options.credentials.explicit = Some(Credential::new("alice".into(), password));
    options
}

fn name(peer: &Peer, name: &str) -> String {
    format!("docker://{}/{name}", peer.address)
}

#[test]
fn everybody_may_pull_what_is_public_and_nobody_what_is_not() {
    let Some(peer) = Peer::start("docker-registry", Some("token")) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    image().write_layout(folder.path(), "v1");
    let layout = format!("oci:{}:v1", folder.path().display());
    let owner = Transport::new(with_login()).unwrap();
    for repository in ["pub/app:v1", "priv/app:v1"] {
        let from = source(&owner, &layout);
        copy(&*from, &*sink(&owner, &name(&peer, repository))).unwrap();
    }
    let nobody = Transport::new(options()).unwrap();
    let public = source(&nobody, &name(&peer, "pub/app:v1"));
    assert_eq!(public.root().unwrap().bytes, image().bytes());
    let private = source(&nobody, &name(&peer, "priv/app:v1"));
    let error = private.root().unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    let error = write(&*sink(&nobody, &name(&peer, "pub/app:v1")), b"x").unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
}

/// An upload of many gigabytes in small: its tokens live shorter than the client was told, and it lives longer than two.
#[test]
fn tokens_that_die_during_one_upload_are_renewed() {
    let shortly = [("TOKEN_TTL", "-56")];
    let Some(peer) = Peer::start_with("docker-registry", Some("token"), &shortly) else {
        return;
    };
    let mut options = with_login();
    // 41 chunks of 64 KiB, at least eight seconds: the registry takes each token for at most four.
    options.rate_limit = Some(RateLimit::new(300 * 1024));
    let transport = Transport::new(options).unwrap();
    let octets = noise(1, 41 * 64 * 1024);
    let to = sink(&transport, &name(&peer, "priv/app:v1"));
    let digest = write(&*to, &octets).unwrap();
    assert_eq!(digest, *descriptor(&octets).digest());
    let issued = std::fs::read_to_string(peer.folder.path().join("tokens.jsonl")).unwrap();
    let issued = issued.lines().count();
    assert!(issued >= 3, "{issued}");
    let reader = Transport::new(with_login()).unwrap();
    let from = source(&reader, &name(&peer, "priv/app:v1"));
    assert!(read(&*from, &descriptor(&octets)).unwrap() == octets);
}

/// Sends a chunk to an upload of an open registry, wherever it claims to belong.
fn append_blindly(location: &str, chunk: &[u8], content_range: &str) -> String {
    use std::io::Read as _;
    let rest = location.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    write!(
        stream,
        "PATCH /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\nContent-Range: {content_range}\r\n\r\n",
        chunk.len(),
    )
    .unwrap();
    stream.write_all(chunk).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// It takes octets that claim another place, and counts them.
#[test]
fn what_it_appended_blindly_never_becomes_a_part_of_a_blob() {
    let Some(peer) = Peer::start("docker-registry", Some("none")) else {
        return;
    };
    let journal = tempfile::tempdir().unwrap();
    let process = || {
        let mut options = options();
        options.journal = Some(journal.path().to_owned());
        Transport::new(options).unwrap()
    };
    let octets = noise(4, 300_000);
    let blob = descriptor(&octets);
    let transport = process();
    let to = sink(&transport, &name(&peer, "demo/app:v1"));
    let Begun::Missing(mut writer) = to.begin(&blob, None).unwrap() else {
        unreachable!("the blob is there");
    };
    writer.write_all(&octets[..200_000]).unwrap();
    drop(writer);
    let record = std::fs::read_dir(journal.path()).unwrap().next().unwrap();
    let record = std::fs::read(record.unwrap().path()).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    let answer = append_blindly(record["location"].as_str().unwrap(), b"disturbance", "5-15");
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    assert!(answer.contains("\r\nRange: 0-196618\r\n"), "{answer}");
    // The registry itself ends the session, at the latest by the digest.
    let folder = tempfile::tempdir().unwrap();
    let layout = format!("oci:{}:v1", folder.path().display());
    let transport = process();
    write(&*sink(&transport, &layout), &octets).unwrap();
    let to = sink(&transport, &name(&peer, "demo/app:v1"));
    assert!(to.copy_blob(&blob, &*source(&transport, &layout)).unwrap());
    let from = source(&transport, &name(&peer, "demo/app:v1"));
    assert!(read(&*from, &blob).unwrap() == octets);
}
