//! GnuPG with a keyring of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::command::{Outcome, run};
use crate::lab::Lab;

/// A keyring, and the agent that gpg starts for it, which ends with it.
///
/// Its folder has a short name and is private: gpg insists on both.
#[derive(Debug)]
pub struct Gpg {
    home: TempDir,
}

impl Gpg {
    /// Makes an empty keyring.
    #[track_caller]
    pub fn new() -> Self {
        let home = tempfile::Builder::new()
            .prefix("g")
            .tempdir_in("/tmp")
            .unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Self { home }
    }

    /// Lets a command find the keyring.
    pub fn serve<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("GNUPGHOME", self.home.path())
    }

    /// Runs gpg without questions.
    #[track_caller]
    pub fn run(&self, passphrase: &str, arguments: &[&str]) -> Outcome {
        let mut gpg = Command::new("gpg");
        gpg.args([
            "--batch",
            "--yes",
            "--no-tty",
            "--pinentry-mode",
            "loopback",
        ]);
        gpg.args(["--trust-model", "always", "--passphrase", passphrase]);
        run(self.serve(gpg.args(arguments).stdin(Stdio::null())))
    }

    /// Makes `NAME@peers.test`: a key that signs, of algorithm `primary`, with a subkey that encrypts.
    #[track_caller]
    pub fn generate(&self, name: &str, primary: &str, subkey: &str, passphrase: &str) {
        let user = format!("{name} <{}>", address(name));
        let arguments = ["--quick-generate-key", &user, primary, "sign,cert", "never"];
        self.run(passphrase, &arguments).succeeded();
        let listed = self.run("", &["--with-colons", "--list-keys", &address(name)]);
        let listed = listed.succeeded();
        let line = listed.stdout.lines().find(|line| line.starts_with("fpr:"));
        let fingerprint = line.unwrap().split(':').nth(9).unwrap();
        self.run(
            passphrase,
            &["--quick-add-key", fingerprint, subkey, "encr", "never"],
        )
        .succeeded();
    }

    /// Exports the secret key, binary, into a file of the laboratory that only its owner can read.
    #[track_caller]
    pub fn secret_key(&self, lab: &Lab, name: &str, passphrase: &str) -> String {
        self.export(lab, name, passphrase, &["--export-secret-keys"], "sec.gpg")
    }

    /// The same in ASCII armour.
    #[track_caller]
    pub fn armoured_secret_key(&self, lab: &Lab, name: &str, passphrase: &str) -> String {
        self.export(
            lab,
            name,
            passphrase,
            &["--armor", "--export-secret-keys"],
            "sec.asc",
        )
    }

    /// Exports the public key, binary, into a file of the laboratory.
    #[track_caller]
    pub fn public_key(&self, lab: &Lab, name: &str) -> String {
        self.export(lab, name, "", &["--export"], "pub.gpg")
    }

    fn export(
        &self,
        lab: &Lab,
        name: &str,
        passphrase: &str,
        how: &[&str],
        suffix: &str,
    ) -> String {
        let file: PathBuf = lab.path(format!("{name}.{suffix}"));
        let (text, address) = (file.to_str().unwrap().to_owned(), address(name));
        let mut arguments = vec!["--output", &text];
        arguments.extend(how);
        arguments.push(&address);
        self.run(passphrase, &arguments).succeeded();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        text
    }

    /// Runs a line of bash that finds the keyring; `$0` is `argument`.
    #[track_caller]
    pub fn bash(&self, line: &str, argument: &str) -> Outcome {
        let mut bash = Command::new("bash");
        bash.args(["-c", &format!("set -euo pipefail; {line}"), argument]);
        run(self.serve(bash.stdin(Stdio::null())))
    }
}

impl Default for Gpg {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let mut gpgconf = Command::new("gpgconf");
        gpgconf.args(["--kill", "all"]).stdin(Stdio::null());
        // It ends by itself, too, when its folder is gone.
        let _ = self.serve(&mut gpgconf).output();
    }
}

/// The address of a key that [`Gpg::generate`] made.
pub fn address(name: &str) -> String {
    format!("{name}@peers.test")
}
