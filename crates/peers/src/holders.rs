//! Key holders on loopback: `sealift holder dev`, and what belongs to it.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::command::{Outcome, call, run};
use crate::lab::Lab;

/// A deployment; dropping it ends all its processes.
#[derive(Debug)]
pub struct KeyHolders<'lab> {
    lab: &'lab Lab,
    processes: Vec<(Child, Option<ChildStdin>)>,
}

impl<'lab> KeyHolders<'lab> {
    /// Starts a deployment in the folder `kh` of the laboratory, and waits until it is ready.
    #[track_caller]
    pub fn start(lab: &'lab Lab, options: &[&str]) -> Self {
        let folder = lab.text("kh");
        let mut this = Self {
            lab,
            processes: Vec::new(),
        };
        this.begin(
            &[&["holder", "dev", "--dir", &folder][..], options].concat(),
            "ready",
        );
        this
    }

    /// The path of one of its files.
    pub fn path(&self, name: &str) -> PathBuf {
        self.lab.path("kh").join(name)
    }

    /// Runs `sealift` as the node with this holders file.
    #[track_caller]
    pub fn as_node<A: AsRef<OsStr>>(&self, holders: &str, arguments: &[A]) -> Outcome {
        run(self
            .lab
            .sealift_command(arguments)
            .env("SEALIFT_HOLDERS", self.lab.path(holders)))
    }

    /// Runs `sealift` as the two administrators.
    #[track_caller]
    pub fn as_admin<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Outcome {
        let signers = ["alice.pem", "bob.pem"].map(|name| self.path(name).display().to_string());
        run(self
            .lab
            .sealift_command(arguments)
            .env("SEALIFT_HOLDERS", self.path("admin.toml"))
            .env("SEALIFT_SIGN_WITH", signers.join(",")))
    }

    /// Runs `sealift` as the auditor.
    #[track_caller]
    pub fn as_auditor<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Outcome {
        run(self
            .lab
            .sealift_command(arguments)
            .env("SEALIFT_HOLDERS", self.path("admin.toml"))
            .env("SEALIFT_OPERATOR", self.path("auditor.pem")))
    }

    /// Admits a second node, lets it enrol in the folder of its name, says that it is well, and starts its agent.
    ///
    /// Returns the agent's socket.
    #[track_caller]
    pub fn add_node(&mut self, name: &str, agent: &[&str]) -> PathBuf {
        let token = self.as_admin(&[
            "node",
            "token",
            "--name",
            name,
            "--region",
            "ap-northeast-1",
            "--zone",
            "prod",
            "--jurisdiction",
            "JP",
            "--home",
            "nrt",
            "--reason",
            "test",
        ]);
        let token = token.succeeded().answer().to_owned();
        let dir = self.lab.text(name);
        self.as_node(
            "kh/holders.toml",
            &["agent", "enrol", "--token", &token, "--dir", &dir],
        )
        .succeeded();
        let key = self.path("posture.pem").display().to_string();
        let statement = format!("{dir}/posture.dsse.json");
        let sign = [
            "posture", "sign", "--node", name, "--score", "90", "--zone", "prod",
        ];
        let with = ["--source", "posture", "--key", &key, "-o", &statement];
        self.lab
            .sealift(&[sign.as_slice(), &with].concat())
            .succeeded();
        let serve = ["agent", "serve", "--dir", &dir];
        self.begin(&[&serve[..], agent].concat(), "listening");
        self.lab.path(name).join("agent.sock")
    }

    /// Waits until an agent holds so many keys.
    #[track_caller]
    pub fn wait_for_keys(&self, agent: &Path, count: u64) {
        let status = ["agent", "status", "--json", "--socket"].map(OsStr::new);
        let status = [&status[..], &[agent.as_os_str()]].concat();
        for _ in 0..200 {
            let answer = run(&mut self.lab.sealift_command(&status)).succeeded();
            let answer: Value = serde_json::from_str(&answer.stdout).unwrap();
            if answer["leases"] == count {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("{} does not hold {count} keys", agent.display());
    }

    /// Kills a holder as a failing machine would.
    #[track_caller]
    pub fn kill(&self, name: &str) {
        let pid = fs::read_to_string(self.path(&format!("{name}.pid"))).unwrap();
        call("kill", &["-9", pid.trim()]);
    }

    /// Starts a holder that was killed.
    #[track_caller]
    pub fn serve_again(&mut self, name: &str) {
        let folder = self.path(name).display().to_string();
        self.begin(&["holder", "serve", "--dir", &folder], "listening");
    }

    /// Starts a holder whose folder was taken elsewhere.
    #[track_caller]
    pub fn serve_from(&mut self, folder: &Path) {
        let folder = folder.display().to_string();
        self.begin(&["holder", "serve", "--dir", &folder], "listening");
    }

    /// Ends everything that was started; the files stay.
    pub fn end(&mut self) {
        for (mut child, lifeline) in self.processes.drain(..).rev() {
            drop(lifeline);
            let _ = child.wait();
        }
    }

    /// Starts a service that ends with us, and waits until it prints a line with `word`.
    #[track_caller]
    fn begin(&mut self, arguments: &[&str], word: &str) {
        let mut child = self
            .lab
            .sealift_command(&[arguments, &["--ends-with-stdin"]].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lifeline = child.stdin.take();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut said)
            .unwrap();
        self.processes.push((child, lifeline));
        assert!(said.contains(word), "{arguments:?} said {said:?}");
    }
}

impl Drop for KeyHolders<'_> {
    fn drop(&mut self) {
        self.end();
    }
}
