//! Questions at a terminal, and at what is none.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::Stdio;

use rustix::pty;
use sealift_testkit::image::{Format, Packing};
use sealift_testkit::registry::{Operation, Options, Registry, RunningRegistry};

use crate::tool::{Lab, Run, image};

fn serve() -> (RunningRegistry, String) {
    let registry = Registry::start(Options::default());
    image(Format::Oci, Packing::Gzip).push(&registry, "team/app", "v1");
    let reference = format!("{}/team/app:v1", registry.host());
    (registry, reference)
}

/// Opens a terminal: the end of the person, and the end of the program.
fn terminal() -> (File, File) {
    let person = pty::openpt(pty::OpenptFlags::RDWR | pty::OpenptFlags::NOCTTY).unwrap();
    pty::grantpt(&person).unwrap();
    pty::unlockpt(&person).unwrap();
    let name = pty::ptsname(&person, Vec::new()).unwrap();
    let program = File::options()
        .read(true)
        .write(true)
        .open(name.to_str().unwrap())
        .unwrap();
    (File::from(person), program)
}

/// Reads what is shown until a text has come, or the program is gone.
fn shown(person: &mut File, until: &str) -> String {
    let mut shown = Vec::new();
    let mut octet = [0];
    while !String::from_utf8_lossy(&shown).contains(until) {
        match person.read(&mut octet) {
            Ok(1) => shown.push(octet[0]),
            // Linux has an error for a terminal that nobody else holds, others its end.
            _ => break,
        }
    }
    String::from_utf8_lossy(&shown).into_owned()
}

#[test]
fn an_image_is_deleted_when_the_question_is_answered_with_yes() {
    for (answer, code, deletions) in [
        (&b"yes\n"[..], 0, 1),
        (b"y\n", 0, 1),
        (b"n\n", 1, 0),
        (b"\n", 1, 0),
        // The end of the input, as Ctrl-D types it.
        (b"\x04", 1, 0),
    ] {
        let (registry, reference) = serve();
        let (mut person, program) = terminal();
        let lab = Lab::new();
        let mut command = lab.command(&["delete", &reference]);
        command
            .stdin(program.try_clone().unwrap())
            .stderr(program)
            .stdout(Stdio::piped());
        let child = command.spawn().unwrap();
        // It holds the program's end of the terminal.
        drop(command);
        let question = shown(&mut person, "[y/N] ");
        assert!(question.starts_with("delete "), "{question}");
        person.write_all(answer).unwrap();
        let rest = shown(&mut person, "never shown");
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{answer:?}: {rest}");
        assert_eq!(registry.count(Operation::DeleteManifest), deletions);
        assert_eq!(
            rest.contains("nothing was deleted"),
            deletions == 0,
            "{rest}"
        );
    }
}

#[test]
fn nobody_is_asked_where_nobody_could_see_or_answer_the_question() {
    let (registry, reference) = serve();
    let lab = Lab::new();
    let expected = "must be confirmed";
    lab.sealift(&["delete", &reference]).fails(2, expected);
    let (_person, program) = terminal();
    let mut command = lab.command(&["delete", &reference]);
    Run::of(command.stdin(program)).fails(2, expected);
    let (mut person, program) = terminal();
    let mut command = lab.command(&["delete", &reference]);
    let status = command.stderr(program).status().unwrap();
    drop(command);
    let told = shown(&mut person, "never shown");
    assert_eq!(status.code(), Some(2), "{told}");
    assert!(told.contains(expected), "{told}");
    assert_eq!(registry.count(Operation::DeleteManifest), 0);
}
