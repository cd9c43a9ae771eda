//! The registry that Debian packages: open, with TLS and a password, with tokens.
#![cfg(target_os = "linux")]
#![expect(clippy::print_stderr, reason = "says aloud what it skips")]

use std::path::{Path, PathBuf};
use std::process::Command;

use sealift_registry::{Credential, Error, Options, Secret, Tls, Transport};
use sealift_testkit::image::{Format, Image, ImageBuilder, IndexBuilder, Layer, Packing, Tar};
use sealift_testkit::noise;

use crate::lab::{Unread, copy, options, sink, source, write};

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
