//! What a process asks about itself and its peers.
#![cfg(all(test, target_os = "linux"))]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::process::Command;

use sealift_sys::{PeerCredentials, boottime, no_core_dumps, peer_credentials, raise_open_files};

#[test]
fn a_process_without_core_dumps_leaves_none() {
    // In a child, as the limit stays.
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "--ignored",
            "--nocapture",
            "forbids_itself_core_dumps",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

/// What the child of the test above runs.
#[test]
#[ignore = "changes its process for good"]
fn forbids_itself_core_dumps() {
    let dumpable = rustix::process::dumpable_behavior().unwrap();
    assert_eq!(dumpable, rustix::process::DumpableBehavior::Dumpable);
    no_core_dumps().unwrap();
    let dumpable = rustix::process::dumpable_behavior().unwrap();
    assert_eq!(dumpable, rustix::process::DumpableBehavior::NotDumpable);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Core);
    assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
    no_core_dumps().unwrap();
}

#[test]
fn as_many_files_as_are_permitted_may_be_open() {
    let limit = || rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let before = limit();
    assert_eq!(raise_open_files().unwrap(), before.maximum);
    assert_eq!(limit().current, before.maximum);
    assert_eq!(limit().maximum, before.maximum);
}

#[test]
fn the_peer_of_a_pair_is_this_process() {
    let (one, _other) = UnixStream::pair().unwrap();
    let me = fs::metadata("/proc/self").unwrap();
    let pid = i32::try_from(std::process::id()).unwrap();
    let expected = PeerCredentials {
        uid: me.uid(),
        gid: me.gid(),
        pid,
    };
    assert_eq!(peer_credentials(&one).unwrap(), expected);
}

#[test]
fn time_since_boot_goes_forward_and_is_that_of_the_kernel() {
    let uptime = || {
        let text = fs::read_to_string("/proc/uptime").unwrap();
        let seconds: f64 = text.split(' ').next().unwrap().parse().unwrap();
        std::time::Duration::from_secs_f64(seconds)
    };
    // The kernel writes hundredths.
    let (before, now, after) = (uptime(), boottime(), uptime());
    let hundredth = std::time::Duration::from_millis(10);
    assert!(
        before <= now && now <= after + hundredth,
        "{before:?} {now:?} {after:?}"
    );
    assert!(boottime() >= now);
}
