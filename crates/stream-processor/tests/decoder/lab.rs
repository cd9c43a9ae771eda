//! Sealed layers, key folders, payloads and content stores in a scratch folder, and the program among them.

use std::ffi::OsString;
use std::fs;
#[cfg(target_os = "linux")]
use std::io::Read;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use sealift_keywrap::Recipient;
use sealift_keywrap::keys::parse_public;
use sealift_layer::{AeadLibrary, Binding, Cipher, Embedding, Plan, SealedLayer, Sealer};
use sealift_oci::Digest;

pub(crate) const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A sealed layer and what it was.
pub(crate) struct Layer {
    pub(crate) blob: Vec<u8>,
    pub(crate) plain: Vec<u8>,
    pub(crate) sealed: SealedLayer,
}

impl Layer {
    /// Seals octets that do not repeat for the key in `rsa.pub.pem`.
    pub(crate) fn seal(cipher: Cipher, embedding: Embedding, media_type: &str, len: u32) -> Self {
        let key = parse_public(&fs::read(key_file("rsa.pub.pem")).unwrap())
            .unwrap()
            .remove(0);
        Self::seal_for(Box::new(key), cipher, embedding, media_type, len)
    }

    /// Seals for somebody else.
    pub(crate) fn seal_for(
        recipient: Box<dyn Recipient>,
        cipher: Cipher,
        embedding: Embedding,
        media_type: &str,
        len: u32,
    ) -> Self {
        let plain: Vec<u8> = (0..len)
            .map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0])
            .collect();
        let plan = Plan {
            cipher,
            aead: AeadLibrary::default(),
            media_type: media_type.parse().unwrap(),
            plain_digest: Some(Digest::sha256(&plain)),
            recipients: Arc::from([recipient]),
            embedding,
            binding: Binding::default(),
        };
        let mut sealer = Sealer::new(plan, &SystemRandom::new()).unwrap();
        let mut blob = Vec::new();
        sealer.update(&plain, &mut blob).unwrap();
        let finished = sealer.finish(&mut blob).unwrap();
        let sealed = finished.describe(&Digest::sha256(&blob)).unwrap();
        Self {
            blob,
            plain,
            sealed,
        }
    }

    /// A layer of the default format that describes itself.
    pub(crate) fn chunked() -> Self {
        Self::seal(Cipher::Chunked, Embedding::AnnotationsAndHeader, GZIP, LEN)
    }

    /// A layer of the default format whose wrapped keys stand in annotations only.
    pub(crate) fn not_embedded() -> Self {
        Self::seal(Cipher::Chunked, Embedding::AnnotationsOnly, GZIP, LEN)
    }

    /// A layer of ocicrypt's format.
    pub(crate) fn ocicrypt() -> Self {
        Self::seal(Cipher::CtrHmac, Embedding::AnnotationsOnly, GZIP, LEN)
    }

    pub(crate) fn descriptor(&self) -> serde_json::Value {
        serde_json::json!({
            "mediaType": self.sealed.media_type.as_str(),
            "digest": Digest::sha256(&self.blob).to_string(),
            "size": self.blob.len(),
            "annotations": self.sealed.annotations,
        })
    }
}

/// Longer than pipes, pieces and a few chunks.
pub(crate) const LEN: u32 = 700_000;

/// One of the test keys of `testdata/ocicrypt`.
pub(crate) fn key_file(name: &str) -> PathBuf {
    testdata().join("keys").join(name)
}

pub(crate) fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/ocicrypt")
}

/// A scratch folder with a key folder and an empty content store.
pub(crate) struct Lab {
    folder: tempfile::TempDir,
}

impl Lab {
    /// The key folder holds the given test keys.
    pub(crate) fn new(keys: &[&str]) -> Self {
        let lab = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(lab.path("keys")).unwrap();
        fs::create_dir_all(lab.store()).unwrap();
        for key in keys {
            fs::copy(key_file(key), lab.path("keys").join(key)).unwrap();
        }
        lab
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn store(&self) -> PathBuf {
        self.path("containerd/io.containerd.content.v1.content/blobs/sha256")
    }

    /// Puts a manifest with these layers where containerd would have put it.
    pub(crate) fn store_manifest(&self, layers: &[serde_json::Value]) {
        let empty = Digest::sha256(b"{}");
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": empty.to_string(), "size": 2},
            "layers": layers,
        });
        let octets = serde_json::to_vec(&manifest).unwrap();
        self.store_blob(&octets);
    }

    pub(crate) fn store_blob(&self, octets: &[u8]) {
        fs::write(self.store().join(Digest::sha256(octets).hex()), octets).unwrap();
    }

    /// Prepares a start of the program.
    pub(crate) fn decoder(&self) -> Decoder<'_> {
        Decoder {
            lab: self,
            program: env!("CARGO_BIN_EXE_sealift-decoder").into(),
            media_type: Some(format!("{GZIP}+encrypted")),
            payload: None,
            environment: Vec::new(),
            arguments: vec![
                "--keys-dir".into(),
                self.path("keys").into(),
                "--containerd-root".into(),
                self.path("containerd").into(),
            ],
        }
    }
}

/// The program, and what containerd would give it.
pub(crate) struct Decoder<'a> {
    lab: &'a Lab,
    pub(crate) program: OsString,
    pub(crate) media_type: Option<String>,
    payload: Option<Vec<u8>>,
    environment: Vec<(&'static str, OsString)>,
    pub(crate) arguments: Vec<OsString>,
}

impl Decoder<'_> {
    /// Sends a payload of Kubernetes: the descriptor, and no keys.
    pub(crate) fn payload(self, layer: &Layer) -> Self {
        self.payload_json(serde_json::json!({
            "DecryptConfig": {"Parameters": null},
            "Descriptor": layer.descriptor(),
        }))
    }

    pub(crate) fn payload_json(self, json: serde_json::Value) -> Self {
        self.payload_octets(any(&serde_json::to_vec(&json).unwrap()))
    }

    pub(crate) fn payload_octets(mut self, octets: Vec<u8>) -> Self {
        self.payload = Some(octets);
        self
    }

    pub(crate) fn media_type(mut self, media_type: &str) -> Self {
        self.media_type = Some(media_type.into());
        self
    }

    pub(crate) fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    pub(crate) fn environment(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    fn command(&self) -> Command {
        let mut command = match &self.payload {
            None => {
                let mut command = Command::new(&self.program);
                command.args(&self.arguments);
                command
            }
            Some(payload) => self.handing_over(payload),
        };
        command.env_remove("STREAM_PROCESSOR_MEDIATYPE");
        if let Some(media_type) = &self.media_type {
            command.env("STREAM_PROCESSOR_MEDIATYPE", media_type);
        }
        command.env("TMPDIR", self.lab.folder.path());
        command.env_remove("SEALIFT_AGENT");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn spawn(&self) -> Child {
        loop {
            match self.command().spawn() {
                Ok(child) => return child,
                // Wine 8 now and then fails to start a program (`ERROR_INTERNAL_ERROR`).
                Err(error) if cfg!(windows) && error.raw_os_error() == Some(1359) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Starts the program with a payload. A file on descriptor 3 is no pipe, so that the shell makes one.
    #[cfg(unix)]
    fn handing_over(&self, payload: &[u8]) -> Command {
        let file = self.lab.path("payload");
        fs::write(&file, payload).unwrap();
        let mut command = Command::new("sh");
        command.args([
            "-c",
            r#"payload=$1; shift; exec 4<&0; cat "$payload" | exec "$@" 3<&0 0<&4 4<&-"#,
            "sh",
        ]);
        command.arg(file).arg(&self.program).args(&self.arguments);
        command
    }

    /// The same by a pipe with a name, as containerd does it on Windows.
    #[cfg(windows)]
    fn handing_over(&self, payload: &[u8]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env(
            "STREAM_PROCESSOR_PIPE",
            crate::pipe::offer(payload.to_vec()),
        );
        command
    }

    /// Feeds a blob and collects what comes out.
    pub(crate) fn run(&self, blob: &[u8]) -> Run {
        let mut child = self.spawn();
        let mut stdin = child.stdin.take().unwrap();
        let output = std::thread::scope(|scope| {
            // A program that refuses early does not read to the end.
            scope.spawn(move || drop(stdin.write_all(blob)));
            child.wait_with_output().unwrap()
        });
        Run::new(output)
    }

    /// Feeds a blob, and returns the most memory in KiB that the program had used when it had written almost everything.
    #[cfg(target_os = "linux")]
    pub(crate) fn peak_memory(&self, blob: &[u8]) -> u64 {
        let mut child = self.spawn();
        let mut stdin = child.stdin.take().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let status = format!("/proc/{}/status", child.id());
        let peak = std::thread::scope(|scope| {
            scope.spawn(move || drop(stdin.write_all(blob)));
            // The last octets stay in the pipe, so that the program is still there to be asked.
            let mut buffer = vec![0; 64 * 1024];
            let mut left = blob.len() - 256 * 1024;
            while left > 0 {
                let most = left.min(buffer.len());
                let read = stdout.read(&mut buffer[..most]).unwrap();
                assert_ne!(read, 0);
                left -= read;
            }
            let status = fs::read_to_string(status).unwrap();
            let line = status
                .lines()
                .find(|line| line.starts_with("VmHWM:"))
                .unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        });
        std::io::copy(&mut stdout, &mut std::io::sink()).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
        peak
    }

    /// Feeds a blob to a program whose output nobody reads beyond some octets.
    pub(crate) fn run_with_broken_pipe(&self, blob: &[u8]) -> Run {
        let mut child = self.spawn();
        drop(child.stdout.take());
        let mut stdin = child.stdin.take().unwrap();
        let output = std::thread::scope(|scope| {
            scope.spawn(move || drop(stdin.write_all(blob)));
            child.wait_with_output().unwrap()
        });
        Run::new(output)
    }
}

/// What the program did.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Run {
    fn new(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The whole plain layer came out, and not a word.
    #[track_caller]
    pub(crate) fn opened(&self, plain: &[u8]) {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""));
        assert!(self.stdout == plain, "{} octets", self.stdout.len());
    }

    /// The program failed with `code` and one line that says `texts`; at most the beginning of `plain` came out.
    #[track_caller]
    pub(crate) fn refused(&self, code: i32, texts: &[&str], plain: &[u8]) {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        assert!(
            self.stderr.starts_with("sealift-decoder: "),
            "{}",
            self.stderr
        );
        assert!(!self.stderr.contains('\n'), "{}", self.stderr);
        for text in texts {
            assert!(
                self.stderr.contains(text),
                "expected {text:?}: {}",
                self.stderr
            );
        }
        assert!(self.stdout.len() < plain.len().max(1), "cut short");
        assert!(plain.starts_with(&self.stdout), "only what is authentic");
    }
}

/// Wraps JSON as containerd does.
pub(crate) fn any(json: &[u8]) -> Vec<u8> {
    let url = b"io.containerd.ocicrypt.v1.Payload";
    let mut octets = vec![0x0a, 33];
    octets.extend(url);
    octets.push(0x12);
    let mut len = json.len();
    while len > 0x7f {
        octets.push(u8::try_from(len & 0x7f).unwrap() | 0x80);
        len >>= 7;
    }
    octets.push(u8::try_from(len).unwrap());
    octets.extend(json);
    octets
}
