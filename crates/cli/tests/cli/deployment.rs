//! A deployment of key holders on loopback: `sealift holder dev`, with everything that belongs to it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Stdio};
use std::time::Duration;

use crate::tool::{Lab, Run};

/// Runs until it is dropped; all its processes end with it.
pub(crate) struct Deployment<'a> {
    pub(crate) lab: &'a Lab,
    child: Child,
    lifeline: Option<ChildStdin>,
    /// Holders that a test started again.
    others: Vec<(Child, Option<ChildStdin>)>,
}

impl<'a> Deployment<'a> {
    /// Starts one in the folder `kh` of the lab, and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(lab: &'a Lab, options: &[&str]) -> Self {
        let arguments = [
            &["holder", "dev", "--dir", "kh", "--ends-with-stdin", "-v"][..],
            options,
        ]
        .concat();
        let (child, lifeline) = begin(lab, &arguments, "ready");
        Self {
            lab,
            child,
            lifeline: Some(lifeline),
            others: Vec::new(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.lab.path("kh").join(name)
    }

    /// Runs the tool as the node of the deployment.
    pub(crate) fn as_node(&self, arguments: &[&str]) -> Run {
        Run::of(
            self.lab
                .command(arguments)
                .env("SEALIFT_HOLDERS", self.path("holders.toml")),
        )
    }

    /// Runs the tool as the administrators.
    pub(crate) fn as_admin(&self, arguments: &[&str]) -> Run {
        Run::of(
            self.lab
                .command(arguments)
                .env("SEALIFT_HOLDERS", self.path("admin.toml"))
                .env(
                    "SEALIFT_SIGN_WITH",
                    format!(
                        "{},{}",
                        self.path("alice.pem").display(),
                        self.path("bob.pem").display()
                    ),
                ),
        )
    }

    /// Runs the tool as the auditor.
    pub(crate) fn as_auditor(&self, arguments: &[&str]) -> Run {
        Run::of(
            self.lab
                .command(arguments)
                .env("SEALIFT_HOLDERS", self.path("holders.toml"))
                .env("SEALIFT_OPERATOR", self.path("auditor.pem")),
        )
    }

    /// The process of a holder, or of the agent.
    pub(crate) fn pid(&self, name: &str) -> u32 {
        let text = fs::read_to_string(self.path(&format!("{name}.pid"))).unwrap();
        text.trim().parse().unwrap()
    }

    /// The process that coordinates.
    pub(crate) fn own_pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills a holder as a failing machine would.
    pub(crate) fn kill(&self, name: &str) {
        let pid = self.pid(name);
        signal("-9", pid);
        // The signal is on its way; the port is free once the process is gone.
        while fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z "))
        {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops the process of a holder for as long as the guard lives: it neither answers nor closes a connection.
    pub(crate) fn freeze(&self, name: &str) -> Frozen {
        let pid = self.pid(name);
        signal("-STOP", pid);
        Frozen(pid)
    }

    /// Starts a holder that was killed.
    pub(crate) fn serve_again(&mut self, name: &str) {
        let folder = self.path(name);
        let folder = folder.to_str().unwrap();
        let arguments = ["holder", "serve", "--dir", folder, "--ends-with-stdin"];
        let (child, lifeline) = begin(self.lab, &arguments, "listening");
        self.others.push((child, Some(lifeline)));
    }

    /// Lets everything end, and waits for it.
    pub(crate) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        for (child, lifeline) in &mut self.others {
            lifeline.take();
            let _ = child.wait();
        }
        self.lifeline.take();
        let _ = self.child.wait();
    }
}

impl Drop for Deployment<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in ["fra", "gru", "nrt", "syd", "agent"] {
                if let Ok(log) = fs::read_to_string(self.path(&format!("{name}.log"))) {
                    let lines: Vec<&str> = log.lines().rev().take(8).collect();
                    for line in lines.iter().rev() {
                        eprintln!("{name}: {line}");
                    }
                }
            }
        }
        self.end();
    }
}

/// A process that does nothing.
pub(crate) struct Frozen(u32);

impl Drop for Frozen {
    fn drop(&mut self) {
        signal("-CONT", self.0);
    }
}

fn signal(which: &str, pid: u32) {
    let sent = std::process::Command::new("kill")
        .args([which, &pid.to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// Starts the tool and waits until it prints a line with `word`.
#[track_caller]
pub(crate) fn begin(lab: &Lab, arguments: &[&str], word: &str) -> (Child, ChildStdin) {
    let mut command = lab.command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lifeline = child.stdin.take().unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut said)
        .unwrap();
    assert!(said.contains(word), "{arguments:?} said {said:?}");
    (child, lifeline)
}
