//! Runs the built binary in a folder of its own, in an environment that a test chooses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use sealift_testkit::image::{Format, Image, ImageBuilder, Layer, Packing, Tar};

/// A folder with keys and images.
pub(crate) struct Lab {
    folder: tempfile::TempDir,
}

/// What a run of the binary gave.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the binary, ready to run in the folder, with nothing in its environment but a path and a home.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealift"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.folder.path());
        command.env("COLUMNS", "100");
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn sealift(&self, arguments: &[&str]) -> Run {
        Run::of(&mut self.command(arguments))
    }

    /// Writes a file that only its owner can read.
    pub(crate) fn write(&self, name: &str, octets: &[u8]) {
        fs::write(self.path(name), octets).unwrap();
        set_mode(&self.path(name), 0o600);
    }

    /// Makes a P-256 key pair: `NAME.pem` and `NAME.pub.pem`.
    pub(crate) fn key(&self, name: &str) {
        self.sealift(&["keygen", "-q", "-o", name]).succeeds();
    }

    /// Returns the digest under which a layout lists a name.
    pub(crate) fn digest_in_layout(&self, layout: &str, name: &str) -> String {
        let index: Value =
            serde_json::from_slice(&fs::read(self.path(layout).join("index.json")).unwrap())
                .unwrap();
        let entries = index["manifests"].as_array().unwrap();
        let entry = entries
            .iter()
            .find(|entry| entry["annotations"]["org.opencontainers.image.ref.name"] == name)
            .unwrap();
        entry["digest"].as_str().unwrap().to_owned()
    }

    /// Returns the names of all files below a folder, sorted; empty if there is none.
    pub(crate) fn files(&self, folder: &str) -> Vec<String> {
        fn collect(folder: &Path, names: &mut Vec<String>) {
            let Ok(entries) = fs::read_dir(folder) else {
                return;
            };
            for entry in entries {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    collect(&path, names);
                } else {
                    names.push(path.display().to_string());
                }
            }
        }
        let root = self.path(folder);
        let mut names = Vec::new();
        collect(&root, &mut names);
        for name in &mut names {
            *name = name.trim_start_matches(&*root.to_string_lossy()).to_owned();
        }
        names.sort();
        names
    }
}

impl Run {
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Expects success; returns what stands on standard output, without its last line end.
    #[track_caller]
    pub(crate) fn succeeds(self) -> String {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self.stdout.trim_end().to_owned()
    }

    /// Expects success and JSON on standard output.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.succeeds()).unwrap()
    }

    /// Expects a failure that may have an answer on standard output as well.
    #[track_caller]
    pub(crate) fn exits_with(self, code: i32, what: &str) -> Self {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        assert!(
            self.stderr.contains(what),
            "{what:?} is not in\n{}",
            self.stderr
        );
        self
    }

    /// Expects a failure with one `error:` line that contains `what`, and nothing on standard output.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, what: &str) -> Self {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        assert_eq!(self.stdout, "");
        let errors: Vec<&str> = self
            .stderr
            .lines()
            .filter(|line| line.starts_with("error: "))
            .collect();
        assert_eq!(errors.len(), 1, "{}", self.stderr);
        assert!(
            self.stderr.contains(what),
            "{what:?} is not in\n{}",
            self.stderr
        );
        self
    }
}

/// A lab with a key and an image, plain and sealed.
pub(crate) fn lab_with_sealed() -> (Lab, Image) {
    let lab = Lab::new();
    lab.key("key");
    let image = image(Format::Oci, Packing::Gzip);
    image.write_layout(&lab.path("plain"), "v1");
    lab.sealift(&[
        "encrypt",
        "-q",
        "oci:plain:v1",
        "oci:sealed:v1",
        "-r",
        "key.pub.pem",
    ])
    .succeeds();
    (lab, image)
}

/// An image of three layers.
pub(crate) fn image(format: Format, packing: Packing) -> Image {
    ImageBuilder::new(format)
        .layers(layers(packing, "amd64"))
        .build()
}

/// Layers whose content depends on `salt`.
pub(crate) fn layers(packing: Packing, salt: &str) -> Vec<Layer> {
    let noise = sealift_testkit::noise(7, 60_000);
    vec![
        Layer::new(
            Tar::new().folder("bin").file("bin/hello", salt.as_bytes()),
            packing,
        ),
        Layer::new(Tar::new().file("data", &noise), packing),
        Layer::new(Tar::new().whiteout("bin/hello"), packing),
    ]
}

/// Copies the keys of `testdata/ocicrypt` into the lab, with the mode that version control does not keep.
pub(crate) fn fixture_key(lab: &Lab, name: &str) {
    lab.write(name, &fs::read(fixtures().join("keys").join(name)).unwrap());
}

pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/ocicrypt")
}

#[cfg(unix)]
pub(crate) fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(not(unix))]
pub(crate) fn set_mode(_: &Path, _: u32) {}
