//! Debian's docker-registry on a free loopback port.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::command::{call, run};
use crate::lab::{Lab, script};

/// Who may use the registry. The account is `alice` with the password `s3cret`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Everybody, plain HTTP.
    Open,
    /// The account, by HTTP Basic over TLS.
    Basic,
    /// The account, by bearer token; `pub/…` may be pulled by everybody. Plain HTTP.
    Token,
}

/// A running registry; dropping it stops it.
#[derive(Debug)]
pub struct Registry {
    folder: PathBuf,
    address: String,
}

impl Registry {
    /// Starts a registry with its files below `registry` in the laboratory.
    #[track_caller]
    pub fn start(lab: &Lab, access: Access) -> Self {
        let mode = match access {
            Access::Open => "none",
            Access::Basic => "basic",
            Access::Token => "token",
        };
        Self::launch(lab, mode, &[])
    }

    /// Starts a registry behind [`Access::Token`] that takes no token for longer than four seconds, and lets clients believe that
    /// it takes them for 300.
    #[track_caller]
    pub fn start_with_dying_tokens(lab: &Lab) -> Self {
        // The registry is lenient by a minute.
        Self::launch(lab, "token", &[("TOKEN_TTL", "-56")])
    }

    #[track_caller]
    fn launch(lab: &Lab, mode: &str, variables: &[(&str, &str)]) -> Self {
        let folder = lab.path("registry");
        let mut command = Command::new(script("docker-registry"));
        command.arg("start").arg(&folder).arg(mode);
        command.envs(variables.iter().copied()).stdin(Stdio::null());
        let address = run(&mut command).succeeded().answer().to_owned();
        Self { folder, address }
    }

    /// How many tokens were issued so far.
    #[track_caller]
    pub fn tokens(&self) -> usize {
        let issued = fs::read_to_string(self.folder.join("tokens.jsonl")).unwrap();
        issued.lines().count()
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `docker://HOST:PORT/NAME`.
    pub fn reference(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.address)
    }

    /// The certificate of the authority behind [`Access::Basic`].
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// The file of a blob, for those who want to meddle with it.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        self.folder
            .join("store/docker/registry/v2/blobs/sha256")
            .join(&hex[..2])
            .join(hex)
            .join("data")
    }

    /// Where the registry keeps everything.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        call(
            script("docker-registry"),
            &["stop".as_ref(), self.folder.as_os_str()],
        );
    }
}
