//! `kill -9` of a copy, again and again: the destination is the old image or the new one, and the next run goes on.
//!
//! What was killed before its first octets were written may leave an empty file for a day.
//! `SEALIFT_KILLS` says how often for each kind of copy; 20 unless it is set.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use sealift_oci::Digest;
use sealift_testkit::image::{Format, Image, ImageBuilder, Layer, Packing, Tar};
use sealift_testkit::noise;
use sealift_testkit::registry::{Operation, Options, Registry, RunningRegistry, Support};

use crate::tool::Lab;

/// An image with a layer that goes in several chunks, and some small ones.
fn image(seed: u64, longest: usize) -> Image {
    let layer = |number, len| {
        let tar = Tar::new().file("data", &noise(10 * seed + number, len));
        Layer::new(tar, Packing::Plain)
    };
    ImageBuilder::new(Format::Oci)
        .layers([layer(0, longest), layer(1, longest / 10), layer(2, 10_000)])
        .build()
}

/// Where copies go to.
enum To<'a> {
    Layout,
    Archive,
    Registry(&'a RunningRegistry),
}

impl To<'_> {
    fn reference(&self) -> String {
        match self {
            Self::Layout => "oci:out:v1".to_owned(),
            Self::Archive => "oci-archive:out/image.tar:v1".to_owned(),
            Self::Registry(registry) => format!("docker://{}/app:v1", registry.host()),
        }
    }

    /// Puts the old image there, and nothing else.
    fn reset(&self, lab: &Lab, old: &Image, new: &Image) {
        match self {
            Self::Layout => {
                let _none_yet = fs::remove_dir_all(lab.path("out"));
                old.write_layout(&lab.path("out"), "v1");
            }
            Self::Archive => {
                let _none_yet = fs::remove_file(lab.path("out/image.tar"));
                fs::create_dir_all(lab.path("out")).unwrap();
                fs::write(lab.path("out/image.tar"), old.oci_archive("v1")).unwrap();
            }
            Self::Registry(registry) => {
                for digest in new.blobs().keys() {
                    registry.remove_blob("app", digest);
                }
                old.push(registry, "app", "v1");
            }
        }
    }

    fn digest(&self, lab: &Lab) -> String {
        match self {
            Self::Layout => lab.digest_in_layout("out", "v1"),
            // Reading it verifies it.
            Self::Archive => {
                let _none_yet = fs::remove_dir_all(lab.path("check"));
                lab.sealift(&["copy", "-q", &self.reference(), "oci:check:v1"])
                    .succeeds();
                lab.digest_in_layout("check", "v1")
            }
            Self::Registry(registry) => {
                let (_, octets) = registry.manifest("app", "v1").unwrap();
                Digest::sha256(&octets).to_string()
            }
        }
    }

    fn blob(&self, lab: &Lab, digest: &str) -> Option<Vec<u8>> {
        match self {
            Self::Layout | Self::Archive => {
                let (algorithm, hex) = digest.split_once(':').unwrap();
                let layout = match self {
                    Self::Archive => "check/blobs",
                    _ => "out/blobs",
                };
                fs::read(lab.path(layout).join(algorithm).join(hex)).ok()
            }
            Self::Registry(registry) => registry.blob("app", digest),
        }
    }
}

/// How many octets of blobs a copy moved over the wire.
fn moved(from: Option<&RunningRegistry>, to: &To<'_>, image: &Image) -> u64 {
    let received = |registry: &RunningRegistry| -> u64 {
        let log = registry.log();
        log.iter().map(|entry| entry.received).sum()
    };
    let served = |registry: &RunningRegistry| -> u64 {
        let log = registry.log();
        let pulls = log.iter().filter(|e| e.operation == Operation::GetBlob);
        let rest = pulls.filter_map(|entry| {
            let blob = image.blobs().get(entry.path.rsplit('/').next()?)?;
            let offset = entry.header("range").and_then(|range| {
                let offset = range.strip_prefix("bytes=")?.strip_suffix('-')?;
                offset.parse::<u64>().ok()
            });
            Some(blob.len() as u64 - offset.unwrap_or(0))
        });
        rest.sum()
    };
    match to {
        To::Registry(registry) => received(registry),
        To::Layout | To::Archive => from.map_or(0, served),
    }
}

fn kill_again_and_again(from: Option<&RunningRegistry>, to: &To<'_>) {
    let kills: u64 = std::env::var("SEALIFT_KILLS").map_or(20, |text| text.parse().unwrap());
    let lab = Lab::new();
    let (old, new) = (image(1, 10_000), image(2, 40 << 20));
    let source = match from {
        Some(registry) => {
            new.push(registry, "from", "v1");
            format!("docker://{}/from:v1", registry.host())
        }
        None => {
            new.write_layout(&lab.path("in"), "v1");
            "oci:in:v1".to_owned()
        }
    };
    let destination = to.reference();
    let copy = ["copy", "-q", source.as_str(), destination.as_str()];
    let clear = || {
        for registry in from.into_iter().chain(match to {
            To::Registry(registry) => Some(*registry),
            To::Layout | To::Archive => None,
        }) {
            registry.clear_log();
        }
    };
    to.reset(&lab, &old, &new);
    clear();
    let began = Instant::now();
    lab.sealift(&copy).succeeds();
    let whole = began.elapsed();
    let octets = moved(from, to, &new);
    let (mut killed, mut afterwards) = (0, 0);
    for trial in 0..kills {
        to.reset(&lab, &old, &new);
        let mut child = lab
            .command(&copy)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let part = u32::from(*noise(1000 + trial, 1).first().unwrap());
        std::thread::sleep(whole * part / 256 + Duration::from_millis(1));
        child.kill().unwrap();
        let is_killed = !child.wait().unwrap().success();
        let digest = to.digest(&lab);
        assert!([old.digest(), new.digest()].contains(&digest), "{digest}");
        // Whatever has its name has its content.
        for (digest, content) in old.blobs().iter().chain(new.blobs()) {
            let held = to.blob(&lab, digest);
            assert!(held.is_none_or(|held| held == *content), "{digest}");
        }
        clear();
        lab.sealift(&copy).succeeds();
        assert_eq!(to.digest(&lab), new.digest());
        for (digest, content) in new.blobs() {
            assert!(to.blob(&lab, digest).as_ref() == Some(content), "{digest}");
        }
        if is_killed {
            killed += 1;
            afterwards += moved(from, to, &new);
        }
    }
    eprintln!(
        "{killed} of {kills} copies of {octets} octets were killed; {afterwards} octets were moved after that"
    );
    assert!(killed > 0);
    // At least once it went on where it was.
    assert!(afterwards < killed * octets);
}

#[test]
fn a_killed_pull_goes_on() {
    let from = Registry::start(Options::default());
    kill_again_and_again(Some(&from), &To::Layout);
}

#[test]
fn a_killed_pull_into_an_archive_goes_on() {
    let from = Registry::start(Options::default());
    kill_again_and_again(Some(&from), &To::Archive);
}

#[test]
fn a_killed_push_goes_on() {
    let to = Registry::start(Options::default());
    kill_again_and_again(None, &To::Registry(&to));
    // Also where chunks are appended blindly, as docker-registry does.
    let to = Registry::start(Options {
        chunks: sealift_testkit::registry::Chunks::Appended,
        ..Options::default()
    });
    kill_again_and_again(None, &To::Registry(&to));
}

#[test]
fn a_killed_copy_between_registries_goes_on() {
    let (from, to) = (
        Registry::start(Options::default()),
        Registry::start(Options {
            mounts: Support::No,
            ..Options::default()
        }),
    );
    kill_again_and_again(Some(&from), &To::Registry(&to));
}
