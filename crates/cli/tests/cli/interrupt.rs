//! Ctrl-C in the middle of a transfer.
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sealift_testkit::image::{Format, Packing};
use sealift_testkit::registry::{Effect, Fault, Operation, Options, Registry};

use crate::tool::{Lab, image};

#[test]
fn an_interrupt_leaves_no_half_image_and_says_so() {
    let lab = Lab::new();
    lab.key("key");
    let image = image(Format::Oci, Packing::Gzip);
    let registry = Registry::start(Options::default());
    image.push(&registry, "app", "v1");
    let slowly = Effect::Trickle {
        bytes: 200,
        pause: Duration::from_millis(50),
    };
    let big = image.layer_digest(1);
    for command in [&["encrypt", "-r", "key.pub.pem"][..], &["copy"]] {
        registry.clear_log();
        registry.set_fault(Fault::on(Operation::GetBlob, slowly.clone()).path_contains(&big));
        let source = format!("docker://{}/app:v1", registry.host());
        let arguments: Vec<&str> = command
            .iter()
            .copied()
            .chain([source.as_str(), "oci:out:v1"])
            .collect();
        let child = lab
            .command(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The last blob has been asked for, so the transfer is under way.
        while registry.pending_faults() > 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        interrupt(&child);
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), output.stdout.len()),
            (Some(1), 0),
            "{stderr}"
        );
        assert!(
            stderr.contains("error: interrupted\ncause: nothing was published"),
            "{stderr}"
        );
        let left = lab.files("out");
        assert!(!left.contains(&"/index.json".to_owned()), "{left:?}");
        // What is copied can be continued, what is sealed cannot: each run draws new keys.
        let partial = |file: &&String| file.contains("/.");
        let kept = left.iter().filter(partial).count();
        assert!(command[0] == "copy" || kept == 0, "{left:?}");
        registry.clear_faults();
        registry.clear_log();
        lab.sealift(&arguments).succeeds();
        let log = registry.log();
        let mut pulls = log.iter().filter(|entry| entry.path.contains(&big));
        assert_eq!(pulls.any(|entry| entry.header("range").is_some()), kept > 0);
        let left = lab.files("out");
        assert!(!left.iter().any(|file| file.contains("/.")), "{left:?}");
        std::fs::remove_dir_all(lab.path("out")).unwrap();
    }
}

#[test]
fn a_second_interrupt_ends_what_hangs() {
    let lab = Lab::new();
    let image = image(Format::Oci, Packing::Gzip);
    let registry = Registry::start(Options::default());
    image.push(&registry, "app", "v1");
    registry.set_fault(
        Fault::on(Operation::GetBlob, Effect::Stall).path_contains(&image.layer_digest(1)),
    );
    let source = format!("docker://{}/app:v1", registry.host());
    let mut child = lab
        .command(&["copy", &source, "oci:out:v1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while registry.pending_faults() > 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    interrupt(&child);
    let mut stderr = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    assert!(stderr.any(|line| line == "note: ending; press Ctrl-C again to end at once"));
    interrupt(&child);
    assert!(stderr.any(|line| line == "error: interrupted before everything was cleared up"));
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(!lab.files("out").contains(&"/index.json".to_owned()));
}

fn interrupt(child: &Child) {
    let mut kill = Command::new("kill");
    assert!(
        kill.args(["-INT", &child.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
}
