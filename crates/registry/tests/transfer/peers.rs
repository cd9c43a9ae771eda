//! Registries of other people, started by the scripts of `scripts/peers`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A registry below a scratch folder; dropping it stops it.
pub(crate) struct Peer {
    script: &'static str,
    pub(crate) folder: tempfile::TempDir,
    /// `host:port`
    pub(crate) address: String,
}

impl Peer {
    /// Starts a registry, unless it is not installed here, which under `CI=true` is a failure.
    pub(crate) fn start(script: &'static str, mode: Option<&str>) -> Option<Self> {
        Self::start_with(script, mode, &[])
    }

    /// The same, with variables for its script.
    #[expect(clippy::print_stderr, reason = "says aloud what it skips")]
    pub(crate) fn start_with(
        script: &'static str,
        mode: Option<&str>,
        variables: &[(&str, &str)],
    ) -> Option<Self> {
        let missing = told(Command::new(path_of(script)).arg("missing").output());
        if !missing.is_empty() {
            let ci = std::env::var("CI");
            assert_ne!(ci.as_deref(), Ok("true"), "not installed: {missing}");
            eprintln!("SKIPPED: not installed: {missing}");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let started = Command::new(path_of(script))
            .arg("start")
            .arg(folder.path())
            .args(mode)
            .envs(variables.iter().copied())
            .output();
        Some(Self {
            script,
            address: told(started),
            folder,
        })
    }

    pub(crate) fn port(&self) -> u16 {
        let (_, port) = self.address.rsplit_once(':').unwrap();
        port.parse().unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let stopped = Command::new(path_of(self.script))
            .arg("stop")
            .arg(self.folder.path())
            .status();
        assert!(
            stopped.is_ok_and(|status| status.success()),
            "{} was not stopped",
            self.script
        );
    }
}

fn told(output: std::io::Result<Output>) -> String {
    let output = output.unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn path_of(script: &str) -> PathBuf {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/peers");
    scripts.join(script)
}
