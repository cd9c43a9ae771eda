//! The master key exists nowhere: not in any holder's memory, not in that of who coordinates, at no time of its life.
//!
//! The test recovers the master key from backups of two holders, as nobody should, to know what it looks for. It searches
//! the whole memory of every process in all forms in which libraries keep a number of 256 bits. That it would find one is
//! shown by the holders' own shares, which the same search must find in their processes and in no others.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use p256::elliptic_curve::PrimeField;
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::{ProjectivePoint, Scalar};
use sealift_holder::server::shares::SealedShares;
use sealift_holder::server::store::{ShareId, Store};
use sealift_holder::server::vault::ShareVault;
use sealift_holder::setup;
use sealift_testkit::image::{Format, Packing};
use sealift_threshold::GroupKey;

use crate::deployment::Deployment;
use crate::tool::{Lab, image};

const NAMES: [&str; 3] = ["fra", "gru", "nrt"];

#[test]
fn the_master_key_is_in_no_memory_during_its_whole_life() {
    let lab = Lab::new();
    image(Format::Oci, Packing::Gzip).write_layout(&lab.path("plain"), "v1");
    let deployment = Deployment::start(&lab, &[]);
    if !is_readable(deployment.pid("fra")) {
        return;
    }
    let seal = [
        "encrypt",
        "oci:plain:v1",
        "oci:sealed:v1",
        "-r",
        "holders:default",
        "--label-repo",
        "r.example/a",
    ];
    deployment.as_node(&seal).succeeds();
    let master = master(&deployment, 1);

    // Right after it was generated, while what was freed has not been overwritten.
    search(&deployment, &master, 1);

    // While it works: all processes, over and over.
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) || rounds == 0 {
                for pid in processes(&deployment) {
                    assert_eq!(found(pid, &master), None, "in process {pid}");
                }
                rounds += 1;
            }
        });
        for round in 0..6 {
            let destination = format!("oci:opened:{round}");
            let decrypt = [
                "decrypt",
                "oci:sealed:v1",
                &destination,
                "-k",
                "holders:default",
            ];
            deployment.as_node(&decrypt).succeeds();
        }
        deployment
            .as_admin(&["key", "refresh", "default", "--reason", "test"])
            .succeeds();
        done.store(true, Ordering::Relaxed);
        watcher.join().unwrap();
    });

    // New shares of the same key.
    assert_eq!(self::master(&deployment, 2), master);
    search(&deployment, &master, 2);
    deployment.stop();
}

/// Whether the memory of a holder can be read: not even by its own user, only by root.
fn is_readable(pid: u32) -> bool {
    let memory = File::open(format!("/proc/{pid}/mem"));
    let readable = memory.is_ok();
    if !readable {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "CI must run this test as root"
        );
        eprintln!("!! SKIPPED, nothing was searched: only root reads the memory of a holder");
    }
    readable
}

/// Finds the master key in no process, and every holder's share in its own.
fn search(deployment: &Deployment<'_>, master: &Scalar, generation: u32) {
    let shares = shares(deployment, generation);
    for pid in processes(deployment) {
        assert_eq!(found(pid, master), None, "in process {pid}");
    }
    for (name, share) in &shares {
        assert!(
            found(deployment.pid(name), share).is_some(),
            "the search is blind in {name}"
        );
        for other in NAMES.iter().filter(|other| *other != name) {
            assert_eq!(
                found(deployment.pid(other), share),
                None,
                "share of {name} in {other}"
            );
        }
    }
}

/// All processes that took part: the holders, the node's agent, and who coordinated the ceremonies.
fn processes(deployment: &Deployment<'_>) -> Vec<u32> {
    let holders = NAMES.iter().map(|name| deployment.pid(name));
    holders
        .chain([deployment.pid("agent"), deployment.own_pid()])
        .collect()
}

/// Opens backups of all holders with their passphrases.
fn shares(deployment: &Deployment<'_>, generation: u32) -> BTreeMap<&'static str, Scalar> {
    let id = ShareId {
        key_id: "default".into(),
        epoch: 1,
        generation,
    };
    let share = |name: &'static str| {
        let folder = deployment.path(name);
        let copy = tempfile::tempdir().unwrap();
        let backup = copy.path().join("backup");
        setup::backup(&folder, &backup).unwrap();
        let restored = copy.path().join("holder");
        setup::restore(&restored, &backup).unwrap();
        let passphrase = fs::read(folder.join("passphrase")).unwrap();
        let opened = setup::open(&restored, &passphrase).unwrap();
        let store: Arc<dyn Store> = Arc::new(opened.store);
        let vault = SealedShares::new(Arc::new(opened.secrets), store);
        let share = vault.get(&id).unwrap().unwrap();
        (
            name,
            Scalar::from_repr((*share.share().unwrap().expose()).into()).unwrap(),
        )
    };
    NAMES.into_iter().map(share).collect()
}

/// Recovers the master key from two shares, and shows that it is the one.
fn master(deployment: &Deployment<'_>, generation: u32) -> Scalar {
    let shares = shares(deployment, generation);
    // Indices 1 and 2: x = 2 x_1 - x_2.
    let master = shares["fra"].double() - shares["gru"];
    let envelope = fs::read(deployment.path("key-default.dsse.json")).unwrap();
    let envelope = sealift_holder::dsse::Unverified::parse(&envelope).unwrap();
    let group = GroupKey::from_json(envelope.unverified_payload()).unwrap();
    let point = (ProjectivePoint::GENERATOR * master)
        .to_affine()
        .to_sec1_point(true);
    assert_eq!(point.as_bytes(), group.public_key().unwrap());
    master
}

/// Searches the memory of a process for a number in every form libraries keep it; returns the form that is there.
fn found(pid: u32, number: &Scalar) -> Option<&'static str> {
    let forms = forms(number);
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut buffer = vec![0; WINDOW + OVERLAP];
    for (start, end) in regions(pid) {
        let mut at = start;
        while at < end {
            let len = usize::try_from(end - at)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            // A region may have gone, or be of a device: what cannot be read holds nothing of ours.
            let Ok(read) = memory.read_at(&mut buffer[..len], at) else {
                break;
            };
            for (form, octets) in &forms {
                if contains(&buffer[..read], octets) {
                    return Some(form);
                }
            }
            if read < len || len < buffer.len() {
                break;
            }
            at += WINDOW as u64;
        }
    }
    None
}

/// Big-endian as on the wire; little-endian as 32- and 64-bit words lie in memory; words in reverse order; and the same
/// in Montgomery form.
fn forms(number: &Scalar) -> Vec<(&'static str, [u8; 32])> {
    // 2^256 mod q, by doubling.
    let montgomery = (0..256).fold(Scalar::ONE, |power, _| power.double()) * number;
    let mut forms = Vec::new();
    for (names, number) in [
        (
            [
                "big-endian",
                "little-endian",
                "words swapped",
                "half words swapped",
            ],
            *number,
        ),
        (
            [
                "Montgomery, big-endian",
                "Montgomery, little-endian",
                "Montgomery, words swapped",
                "Montgomery, half words swapped",
            ],
            montgomery,
        ),
    ] {
        let big: [u8; 32] = number.to_repr().into();
        let mut little = big;
        little.reverse();
        let mut words = big;
        words.chunks_mut(8).for_each(<[u8]>::reverse);
        let mut halves = big;
        halves.chunks_mut(4).for_each(<[u8]>::reverse);
        forms.extend(names.into_iter().zip([big, little, words, halves]));
    }
    forms
}

fn contains(haystack: &[u8], needle: &[u8; 32]) -> bool {
    // Compared by the first octets: memory is mostly zeros, and a number of 256 random bits is not.
    let head = u64::from_ne_bytes(needle[..8].try_into().unwrap());
    (0..8).any(|shift| {
        let words = haystack.get(shift..).unwrap_or_default().chunks_exact(8);
        words.enumerate().any(|(index, word)| {
            u64::from_ne_bytes(word.try_into().unwrap()) == head
                && haystack
                    .get(shift + index * 8..)
                    .is_some_and(|rest| rest.starts_with(needle))
        })
    })
}

/// What a process can read of its own memory.
fn regions(pid: u32) -> Vec<(u64, u64)> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let region = |line: &str| {
        let mut words = line.split_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let readable = words.next()?.starts_with('r');
        let number = |text| u64::from_str_radix(text, 16).ok();
        (readable && !line.contains("[v")).then_some((number(start)?, number(end)?))
    };
    maps.lines().filter_map(region).collect()
}

/// How much is looked at at once, and how much of it again.
const WINDOW: usize = 1 << 20;
const OVERLAP: usize = 32;
