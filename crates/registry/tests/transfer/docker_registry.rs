//! The registry that Debian packages: open, with TLS and a password, with tokens.
#![cfg(target_os = "linux")]
#![expect(clippy::print_stderr, reason = "says aloud what it skips")]

use std::path::{Path, PathBuf};
use std::process::Command;

use sealift_registry::{Begun, Credential, Error, Options, Secret, Tls, Transport};
use sealift_testkit::image::{Format, Image, ImageBuilder, IndexBuilder, Layer, Packing, Tar};
use sealift_testkit::noise;

use crate::lab::{Unread, copy, options, sink, source, write};
use crate::referrers::referrer;

/// A docker-registry below a scratch folder; dropping it stops it.
struct Peer {
    folder: tempfile::TempDir,
    address: String,
}

impl Peer {
    /// Starts it, unless it is not installed here, which under `CI=true` is a failure.
    fn start(mode: &str) -> Option<Self> {
        let installed = [
            "/usr/bin/docker-registry",
            "/usr/bin/htpasswd",
            "/usr/bin/openssl",
        ];
        let missing: Vec<_> = installed
            .iter()
            .filter(|path| !Path::new(path).exists())
            .collect();
        if !missing.is_empty() {
            assert_ne!(
                std::env::var("CI").as_deref(),
                Ok("true"),
                "not installed: {missing:?}"
            );
            eprintln!("SKIPPED: not installed: {missing:?}");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new(script())
            .arg("start")
            .arg(folder.path())
            .arg(mode)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let address = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        Some(Self { folder, address })
    }

    fn reference(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.address)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let stopped = Command::new(script())
            .arg("stop")
            .arg(self.folder.path())
            .status();
        assert!(
            stopped.is_ok_and(|status| status.success()),
            "docker-registry was not stopped"
        );
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/peers/docker-registry")
}

fn image() -> Image {
    let layer = |seed, packing| Layer::new(Tar::new().file("a", &noise(seed, 200_000)), packing);
    let child = ImageBuilder::new(Format::Oci)
        .layer(layer(1, Packing::Plain))
        .layer(layer(2, Packing::Gzip))
        .layer(layer(3, Packing::Zstd))
        .build();
    IndexBuilder::new(Format::Oci).child(child).build()
}

/// Pushes an image out of a layout and pulls it into another; all blobs larger than a chunk go in chunks.
fn there_and_back(peer: &Peer, options: Options, name: &str) -> Result<(), Error> {
    let folder = tempfile::tempdir().unwrap();
    image().write_layout(&folder.path().join("in"), "v1");
    let transport = Transport::new(options).unwrap();
    let local = |name: &str| format!("oci:{}/{name}", folder.path().display());
    let remote = peer.reference(name);
    copy(
        &*source(&transport, &local("in")),
        &*sink(&transport, &remote),
    )?;
    let digest = copy(
        &*source(&transport, &remote),
        &*sink(&transport, &local("out")),
    )?;
    assert_eq!(digest.to_string(), image().digest());
    assert_eq!(
        source(&transport, &local("out")).root()?.bytes,
        image().bytes()
    );
    // Again: everything is there, and the tag may be moved to where it is.
    copy(
        &*source(&transport, &local("in")),
        &*sink(&transport, &remote),
    )?;
    Ok(())
}

fn with_login() -> Options {
    let mut options = options();
    options.credentials.explicit = Some(Credential::new(
        "alice".into(),
        Secret::new("s3cret".into()),
    ));
    options
}

#[test]
fn an_image_goes_to_an_open_registry_and_back() {
    let Some(peer) = Peer::start("none") else {
        return;
    };
    there_and_back(&peer, options(), "demo/app:v1").unwrap();
    let transport = Transport::new(options()).unwrap();
    // Blobs that are empty, or written without knowing their length.
    let sink = sink(&transport, &peer.reference("demo/app:v1"));
    for len in [0, 1, 64 * 1024, 64 * 1024 + 1, 1_000_000] {
        let octets = noise(9, len);
        let digest = write(&*sink, &octets).unwrap();
        assert!(sink.has_blob(&digest, len as u64).unwrap());
    }
    let error = source(&transport, &peer.reference("demo/app:v2"))
        .root()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("manifest `v2` was not found at {}/demo/app", peer.address)
    );
}

/// It has no list of referrers, so the one under a tag is kept.
#[test]
fn referrers_tags_and_deletion_work_without_its_help() {
    let Some(peer) = Peer::start("none") else {
        return;
    };
    there_and_back(&peer, options(), "demo/app:v1").unwrap();
    let transport = Transport::new(options()).unwrap();
    let name = peer.reference("demo/app:v1");
    let (from, to) = (source(&transport, &name), sink(&transport, &name));
    let root = from.root().unwrap();
    write(&*to, b"{}").unwrap();
    let listed = || -> Vec<String> {
        let listed = from.referrers(&root.digest).unwrap();
        listed.iter().map(|one| one.digest().to_string()).collect()
    };
    assert_eq!(listed(), [""; 0]);
    let both = [
        referrer(&root, "a/sbom", "1"),
        referrer(&root, "a/sig", "2"),
    ];
    for one in &both {
        to.attach(one, None).unwrap();
    }
    let expected: Vec<_> = both.iter().map(|one| one.digest.to_string()).collect();
    let mut found = listed();
    found.sort_by_key(|digest| expected.iter().position(|one| one == digest));
    assert_eq!(found, expected);
    to.attach(&both[0], Some("other")).unwrap();
    let list = root.digest.to_string().replace(':', "-");
    let client = transport.client();
    let reference = format!("{}/demo/app:v1", peer.address).parse().unwrap();
    let tags = || transport.runtime().block_on(client.tags(&reference));
    assert_eq!(tags().unwrap(), ["other", &list, "v1"]);
    let delete = client.delete_manifest(&reference, &both[0].digest);
    transport.runtime().block_on(delete).unwrap();
    let error = from.manifest(&both[0].descriptor()).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    assert_eq!(listed(), [both[1].digest.to_string()]);
}

#[test]
fn an_image_goes_through_tls_and_a_password() {
    let Some(peer) = Peer::start("basic") else {
        return;
    };
    let tls = |options: Options| Options {
        tls: Tls {
            authorities: vec![peer.folder.path().join("ca.crt")],
            client: None,
        },
        ..options
    };
    there_and_back(&peer, tls(with_login()), "demo/app:v1").unwrap();
    let error = there_and_back(&peer, tls(options()), "demo/app:v1").unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
}

#[test]
fn an_image_goes_through_tokens() {
    let Some(peer) = Peer::start("token") else {
        return;
    };
    there_and_back(&peer, with_login(), "priv/app:v1").unwrap();
    there_and_back(&peer, with_login(), "pub/app:v1").unwrap();
    // Between its repositories nothing moves.
    let transport = Transport::new(with_login()).unwrap();
    for (from, to) in [("priv/app", "pub/other"), ("pub/app", "priv/other")] {
        let from = Unread(source(&transport, &peer.reference(&format!("{from}:v1"))));
        let digest = copy(
            &from,
            &*sink(&transport, &peer.reference(&format!("{to}:v1"))),
        );
        assert_eq!(digest.unwrap().to_string(), image().digest());
    }
    // Everybody may pull what is public, and nobody what is not.
    let nobody = Transport::new(options()).unwrap();
    let root = source(&nobody, &peer.reference("pub/app:v1"))
        .root()
        .unwrap();
    assert_eq!(root.bytes, image().bytes());
    let error = source(&nobody, &peer.reference("priv/app:v1"))
        .root()
        .unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    let error = write(&*sink(&nobody, &peer.reference("pub/app:v1")), b"x").unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
}

/// Sends a chunk to an upload of an open registry, wherever it claims to belong.
fn append_blindly(location: &str, chunk: &[u8], content_range: &str) -> String {
    use std::io::{Read as _, Write as _};
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

#[test]
fn an_upload_is_continued_and_a_wrong_offset_never_becomes_a_wrong_blob() {
    use std::io::{Read as _, Write as _};
    let Some(peer) = Peer::start("none") else {
        return;
    };
    for is_disturbed in [false, true] {
        let journal = tempfile::tempdir().unwrap();
        let process = || {
            let mut options = options();
            options.journal = Some(journal.path().to_owned());
            Transport::new(options).unwrap()
        };
        let octets = noise(if is_disturbed { 4 } else { 5 }, 300_000);
        let blob = crate::lab::descriptor(&octets);
        let transport = process();
        let to = sink(&transport, &peer.reference("demo/app:v1"));
        let Begun::Missing(mut writer) = to.begin(&blob, None).unwrap() else {
            unreachable!("the blob is there");
        };
        writer.write_all(&octets[..200_000]).unwrap();
        drop(writer);
        if is_disturbed {
            let record = std::fs::read_dir(journal.path()).unwrap().next().unwrap();
            let record = std::fs::read(record.unwrap().path()).unwrap();
            let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
            let location = record["location"].as_str().unwrap();
            // It takes octets that claim another place, and counts them.
            let answer = append_blindly(location, b"disturbance", "5-15");
            assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
            assert!(answer.contains("\r\nRange: 0-196618\r\n"), "{answer}");
        }
        let transport = process();
        let to = sink(&transport, &peer.reference("demo/app:v1"));
        let mut starts = Vec::new();
        loop {
            let Begun::Missing(mut writer) = to.begin(&blob, None).unwrap() else {
                unreachable!("the blob is there");
            };
            let start = usize::try_from(writer.offset()).unwrap();
            starts.push(start);
            let written = writer.write_all(&octets[start..]);
            let outcome = match written {
                Ok(()) => writer.commit(blob.digest(), blob.size()),
                Err(error) => Err(Error::of_io(&error).unwrap().clone()),
            };
            match outcome {
                Err(error) if error.is_lost_upload() => assert!(starts.len() < 3, "{starts:?}"),
                outcome => break outcome.unwrap(),
            }
        }
        // Undisturbed it goes on; else the registry itself ends the session, at the latest by the digest.
        assert_eq!(
            starts.last(),
            Some(if is_disturbed { &0 } else { &196_608 })
        );
        let mut stored = Vec::new();
        let from = source(&transport, &peer.reference("demo/app:v1"));
        from.blob(&blob).unwrap().read_to_end(&mut stored).unwrap();
        assert!(stored == octets);
    }
}
