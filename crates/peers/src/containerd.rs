//! containerd in a scratch folder, with `sealift-decoder` as its stream processor.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::command::{Outcome, call, run};
use crate::cri::Cri;
use crate::lab::{Lab, script};

/// A running containerd; dropping it stops it and what runs in it.
#[derive(Debug)]
pub struct Containerd {
    folder: PathBuf,
    socket: PathBuf,
}

impl Containerd {
    /// Starts containerd with this stream processor and key folder. Needs root.
    #[track_caller]
    pub fn start(lab: &Lab, decoder: &Path, keys: &Path, options: &[&str]) -> Self {
        let folder = lab.path("ctd");
        let socket = call(
            script("containerd"),
            &[
                &["start".as_ref(), folder.as_os_str()][..],
                &["--decoder".as_ref(), decoder.as_os_str()],
                &["--keys".as_ref(), keys.as_os_str()],
                &options.iter().map(AsRef::as_ref).collect::<Vec<_>>(),
            ]
            .concat(),
        );
        Self {
            folder,
            socket: socket.into(),
        }
    }

    /// containerd's `root`, where the content store is, for a containerd of this laboratory that may not run yet.
    pub fn root(lab: &Lab) -> PathBuf {
        lab.path("ctd/root")
    }

    /// Runs `ctr` in a namespace.
    #[track_caller]
    pub fn ctr(&self, namespace: &str, arguments: &[&str]) -> Outcome {
        run(Command::new("ctr")
            .arg("--address")
            .arg(&self.socket)
            .args(["--namespace", namespace])
            .args(arguments)
            .stdin(Stdio::null()))
    }

    /// Pulls an image, over plain HTTP, and unpacks it.
    #[track_caller]
    pub fn pull(&self, namespace: &str, reference: &str) -> Outcome {
        self.ctr(namespace, &["images", "pull", "--plain-http", reference])
    }

    /// Runs a container to its end and returns what it did.
    #[track_caller]
    pub fn run(&self, namespace: &str, reference: &str) -> Outcome {
        self.ctr(namespace, &["run", "--rm", reference, "test"])
    }

    /// The keys of the snapshots of a namespace.
    #[track_caller]
    pub fn snapshots(&self, namespace: &str) -> Vec<String> {
        let listing = self.ctr(namespace, &["snapshots", "ls"]).succeeded();
        listing
            .stdout
            .lines()
            .skip(1)
            .map(|line| {
                line.split_whitespace()
                    .next()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect()
    }

    /// A client of the CRI service, whose images are in the namespace `k8s.io`.
    #[track_caller]
    pub fn cri(&self) -> Cri {
        Cri::connect(&self.socket, &self.folder.join("pods"))
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        call(
            script("containerd"),
            &["stop".as_ref(), self.folder.as_os_str()],
        );
    }
}
