//! A scratch folder and the programs that work in it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::command::{Outcome, call, run};
use crate::layout::Layout;

/// Where one test works. Everything in it disappears with it.
#[derive(Debug)]
pub struct Lab {
    folder: TempDir,
    binaries: PathBuf,
}

impl Lab {
    /// Sets up a laboratory for a test that needs these programs (`root` stands for being root,
    /// `python3-MODULE` for a module of Debian's Python), or `None` where one is missing.
    ///
    /// # Panics
    ///
    /// Under `CI=true` when something is missing: a test never passes there by being skipped.
    #[track_caller]
    pub fn needing(programs: &[&str]) -> Option<Self> {
        let binaries = std::env::var_os("SEALIFT_BIN_DIR")
            .map_or_else(|| workspace().join("target/debug"), PathBuf::from);
        let mut missing: Vec<&str> = ["sealift", "sealift-decoder"]
            .into_iter()
            .filter(|binary| !binaries.join(binary).is_file())
            .collect();
        missing.extend(programs.iter().filter(|program| !is_there(program)));
        if missing.is_empty() {
            let folder = tempfile::Builder::new().prefix("sl").tempdir().unwrap();
            return Some(Self { folder, binaries });
        }
        skip(&format!("missing {missing:?}; try scripts/test"));
        None
    }

    /// The path of a file or folder of the laboratory.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as text.
    pub fn text(&self, name: impl AsRef<Path>) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// A layout of the laboratory, which need not exist yet.
    pub fn layout(&self, name: &str) -> Layout {
        Layout::at(self.path(name))
    }

    /// Makes the tiny image: `tiny` with three gzip layers, and the sandbox image `pause`.
    #[track_caller]
    pub fn tiny_image(&self) -> Layout {
        let layout = self.layout("source");
        call(script("tiny-image"), &[layout.path()]);
        layout
    }

    /// The first image of a layout with its layers recompressed as `zstd` or not at all (`tar`).
    #[track_caller]
    pub fn recompressed(&self, gzip: &Layout, compression: &str) -> Layout {
        let layout = self.layout(&format!("source-{compression}"));
        let arguments = [
            gzip.path().as_os_str(),
            layout.path().as_os_str(),
            compression.as_ref(),
        ];
        call(script("mkraw.py"), &arguments);
        layout
    }

    /// A binary of ours.
    pub fn binary(&self, name: &str) -> PathBuf {
        self.binaries.join(name)
    }

    /// Runs one of the project's scripts that measure our binaries; returns the JSON it writes.
    ///
    /// # Panics
    ///
    /// If it fails.
    #[track_caller]
    pub fn measured(&self, script: &str, arguments: &[&str]) -> Value {
        let result = self.path("result.json");
        let mut command = Command::new(workspace().join("scripts").join(script));
        command.args(arguments).arg("--output").arg(&result);
        command.env("SEALIFT_BIN_DIR", &self.binaries);
        run(&mut command).succeeded();
        serde_json::from_slice(&fs::read(&result).unwrap()).unwrap()
    }

    /// Runs `sealift` in the laboratory, far from the configuration of whoever runs the tests.
    #[track_caller]
    pub fn sealift<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Outcome {
        run(&mut self.sealift_command(arguments))
    }

    /// The same, not yet started.
    pub fn sealift_command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = Command::new(self.binary("sealift"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path())
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env_remove("XDG_RUNTIME_DIR")
            .env_remove("DOCKER_CONFIG")
            .env_remove("REGISTRY_AUTH_FILE")
            .stdin(Stdio::null());
        command
    }

    /// Runs `skopeo`, which must succeed, and returns what it printed.
    #[track_caller]
    pub fn skopeo<A: AsRef<OsStr>>(&self, arguments: &[A]) -> String {
        self.try_skopeo(arguments).succeeded().answer().to_owned()
    }

    /// Fetches a manifest from a registry without TLS, exactly as it is served, into a file of the laboratory.
    #[track_caller]
    pub fn skopeo_raw(&self, reference: &str) -> PathBuf {
        let file = self.path("raw.json");
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["inspect", "--raw", "--tls-verify=false", reference]);
        let output = skopeo.stdin(Stdio::null()).output().unwrap();
        assert!(
            output.status.success(),
            "skopeo inspect --raw {reference}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        fs::write(&file, output.stdout).unwrap();
        file
    }

    /// Runs `skopeo`.
    #[track_caller]
    pub fn try_skopeo<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Outcome {
        run(Command::new("skopeo")
            .arg("--insecure-policy")
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null()))
    }
}

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A program of `scripts/peers`.
pub fn script(name: &str) -> PathBuf {
    workspace().join("scripts/peers").join(name)
}

/// SHA-256 of a file, as a digest.
#[track_caller]
pub fn digest_of(file: &Path) -> String {
    let line = call("sha256sum", &[file]);
    format!("sha256:{}", line.split(' ').next().unwrap())
}

fn is_there(program: &str) -> bool {
    if program == "root" {
        return call("id", &["-u"]) == "0";
    }
    if let Some(module) = program.strip_prefix("python3-") {
        let import = format!("import {module}");
        return run(Command::new("/usr/bin/python3").args(["-c", &import])).code == Some(0);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|folder| folder.join(program).is_file())
}

/// Says loudly that a test tests nothing; under `CI=true` it fails instead.
#[track_caller]
#[expect(
    clippy::print_stderr,
    reason = "what a test did not do must be seen by whoever runs it"
)]
pub(crate) fn skip(why: &str) {
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "under CI=true: {why}"
    );
    eprintln!("!! SKIPPED, nothing was tested: {why}");
}
