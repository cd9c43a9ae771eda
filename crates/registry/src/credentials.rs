//! Who logs in: explicit credentials, auth files in their order, credential helpers.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use zeroize::{Zeroize as _, Zeroizing};

use crate::auth_file::{AuthFile, AuthFileError, Place};
use crate::error::Error;
use crate::http::Proxies;
use crate::secret::Secret;

/// What proves to a registry, or to its token service, who asks.
#[derive(Debug)]
pub enum Credential {
    /// User name and password.
    Basic {
        /// The user.
        username: Box<str>,
        /// The password.
        password: Secret,
    },
    /// An OAuth2 refresh token, exchanged at the token service.
    IdentityToken(Secret),
    /// A bearer token for the registry itself, used as it is.
    RegistryToken(Secret),
}

impl Credential {
    /// Takes a user name and a password; the user `<token>` marks the password as an identity token.
    pub fn new(username: String, password: Secret) -> Self {
        if username == "<token>" {
            Self::IdentityToken(password)
        } else {
            Self::Basic {
                username: username.into(),
                password,
            }
        }
    }

    fn duplicate(&self) -> Self {
        match self {
            Self::Basic { username, password } => Self::Basic {
                username: username.clone(),
                password: password.duplicate(),
            },
            Self::IdentityToken(token) => Self::IdentityToken(token.duplicate()),
            Self::RegistryToken(token) => Self::RegistryToken(token.duplicate()),
        }
    }
}

/// The part of the process environment that logins depend on. This crate never reads the environment itself.
///
/// Silent under `Debug`: the variables hold everything.
#[derive(Clone, Default)]
pub struct Environment {
    /// The user's home directory (`%USERPROFILE%` on Windows).
    pub home: Option<PathBuf>,
    /// The environment variables; credential helpers get exactly these.
    pub variables: HashMap<OsString, OsString>,
}

impl Environment {
    /// Reads `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, or the same in lower case.
    pub fn proxies(&self) -> Proxies {
        let read = |name: &str| {
            let value = self
                .text(name)
                .or_else(|| self.text(&name.to_lowercase()))?;
            value.to_str().map(Box::<str>::from)
        };
        let proxy = |name| read(name).or_else(|| read("ALL_PROXY"));
        Proxies {
            http: proxy("HTTP_PROXY"),
            https: proxy("HTTPS_PROXY"),
            except: read("NO_PROXY").unwrap_or_default(),
        }
    }

    fn text(&self, name: &str) -> Option<&OsStr> {
        // Windows does not tell `Path` from `PATH`.
        let same = |other: &OsString| cfg!(windows) && other.eq_ignore_ascii_case(name);
        let exact = self.variables.get(OsStr::new(name));
        exact
            .or_else(|| {
                self.variables
                    .iter()
                    .find(|(other, _)| same(other))
                    .map(|(_, value)| value)
            })
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}

/// Where credentials come from, in this order: the explicit ones; else the explicit auth file, or the one that
/// `REGISTRY_AUTH_FILE` names, alone; else Podman's and Docker's files; else `DOCKER_AUTH_CONFIG`; else nobody logs in.
#[derive(Debug, Default)]
pub struct Credentials {
    /// Used for every registry.
    pub explicit: Option<Credential>,
    /// Must exist when given.
    pub auth_file: Option<PathBuf>,
    /// The home directory and the environment.
    pub environment: Environment,
}

impl Credentials {
    /// Finds who logs in to a repository, and where that was found; `None` for nobody.
    pub(crate) async fn find(
        &self,
        registry: &str,
        repository: &str,
    ) -> Result<Option<(Credential, Box<str>)>, Error> {
        if let Some(explicit) = &self.explicit {
            return Ok(Some((explicit.duplicate(), "the given credentials".into())));
        }
        self.find_stored(registry, repository).await
    }

    /// Finds who logs in, leaving aside what was given for one registry and would be wrong for its mirrors.
    pub(crate) async fn find_stored(
        &self,
        registry: &str,
        repository: &str,
    ) -> Result<Option<(Credential, Box<str>)>, Error> {
        for (path, form) in self.files() {
            let Some(file) = read(&path, form).await? else {
                continue;
            };
            if let Some(found) = self.ask(&file, &path, registry, repository).await? {
                return Ok(Some(found));
            }
        }
        if self.exclusive_file().is_none()
            && let Some(text) = self.environment.text("DOCKER_AUTH_CONFIG")
        {
            let place = Path::new("DOCKER_AUTH_CONFIG");
            let file = AuthFile::parse(text.as_encoded_bytes()).map_err(broken(place))?;
            return self.ask(&file, place, registry, repository).await;
        }
        Ok(None)
    }

    async fn ask(
        &self,
        file: &AuthFile,
        path: &Path,
        registry: &str,
        repository: &str,
    ) -> Result<Option<(Credential, Box<str>)>, Error> {
        for place in file.places(registry, repository) {
            match place {
                Place::Inline(credential) => {
                    return Ok(Some((
                        credential.duplicate(),
                        path.to_string_lossy().into(),
                    )));
                }
                Place::Helper { helper, server } => {
                    if let Some(credential) = helper.ask(&server, &self.environment).await? {
                        return Ok(Some((credential, helper.program().into())));
                    }
                }
            }
        }
        Ok(None)
    }

    fn exclusive_file(&self) -> Option<PathBuf> {
        self.auth_file
            .clone()
            .or_else(|| self.environment.path("REGISTRY_AUTH_FILE"))
    }

    /// The files in their order.
    fn files(&self) -> Vec<(PathBuf, Form)> {
        if let Some(path) = self.exclusive_file() {
            return vec![(path, Form::Required)];
        }
        let environment = &self.environment;
        let home = environment.home.as_deref();
        let mut files = Vec::new();
        if let Some(folder) = environment.path("XDG_RUNTIME_DIR") {
            files.push((folder.join("containers/auth.json"), Form::Optional));
        }
        let config = environment
            .path("XDG_CONFIG_HOME")
            .or_else(|| home.map(|home| home.join(".config")));
        if let Some(folder) = config {
            files.push((folder.join("containers/auth.json"), Form::Optional));
        }
        let docker = environment
            .path("DOCKER_CONFIG")
            .or_else(|| home.map(|home| home.join(".docker")));
        if let Some(folder) = docker {
            files.push((folder.join("config.json"), Form::Optional));
        }
        if let Some(home) = home {
            files.push((home.join(".dockercfg"), Form::Legacy));
        }
        files
    }
}

/// The name of a credential helper, checked to be a name and not a path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HelperName(Box<str>);

impl HelperName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`AuthFileError::HelperName`], for anything but letters, digits, `.`, `_` and `-`.
    pub fn new(name: &str) -> Result<Self, AuthFileError> {
        let good = name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if good && !name.is_empty() && name.len() <= Self::MAX_LEN {
            Ok(Self(name.into()))
        } else {
            Err(AuthFileError::HelperName {
                name: sealift_oci::json::excerpt(name),
            })
        }
    }

    /// Borrows the name, without the prefix of the program.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Most octets of a name.
    pub const MAX_LEN: usize = 64;

    fn program(&self) -> String {
        format!("docker-credential-{}", self.0)
    }

    /// Asks the helper; `None` if it knows nobody.
    async fn ask(
        &self,
        server: &str,
        environment: &Environment,
    ) -> Result<Option<Credential>, Error> {
        let program = self.program();
        let failed = |reason: &str| {
            Error::malformed(format!("answer of credential helper `{program}`"), reason)
        };
        let path = search(&program, environment).ok_or_else(|| Error::NotFound {
            what: format!("credential helper `{program}`").into(),
            place: "PATH".into(),
        })?;
        let mut child = tokio::process::Command::new(&path)
            .arg("get")
            .env_clear()
            .envs(&environment.variables)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(Error::io("run", &path))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take();
        let talk = async {
            if let Some(mut stdin) = stdin {
                // A helper that never reads its input still may answer.
                let _ = stdin.write_all(server.as_bytes()).await;
            }
            let mut answer = Zeroizing::new(Vec::new());
            if let Some(stdout) = stdout {
                stdout
                    .take(MAX_ANSWER_LEN + 1)
                    .read_to_end(&mut answer)
                    .await?;
            }
            Ok((answer, child.wait().await?))
        };
        let (answer, status) = match tokio::time::timeout(HELPER_TIMEOUT, talk).await {
            Err(_) => return Err(failed("it did not answer in time")),
            Ok(talked) => talked.map_err(Error::io("talk to", &path))?,
        };
        if answer.len() as u64 > MAX_ANSWER_LEN {
            return Err(failed("it is too long"));
        }
        if !status.success() {
            // The wording is part of the helpers' protocol (docker-credential-helpers, `credentials/error.go`).
            let text = String::from_utf8_lossy(&answer);
            let nobody = [
                "credentials not found",
                "no usernames for",
                "no credentials server URL",
            ];
            if nobody.iter().any(|phrase| text.contains(phrase)) {
                return Ok(None);
            }
            return Err(failed("it failed"));
        }
        let mut answer: Answer = serde_json::from_slice(&answer)
            .map_err(|_| failed("it is not JSON of the helpers' protocol"))?;
        if answer.secret.is_empty() {
            return Ok(None);
        }
        let secret = Secret::new(std::mem::take(&mut answer.secret));
        Ok(Some(Credential::new(
            std::mem::take(&mut answer.username),
            secret,
        )))
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username", default)]
    username: String,
    #[serde(rename = "Secret", default)]
    secret: String,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

#[derive(Clone, Copy)]
enum Form {
    Required,
    Optional,
    Legacy,
}

const HELPER_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_ANSWER_LEN: u64 = 64 * 1024;

async fn read(path: &Path, form: Form) -> Result<Option<AuthFile>, Error> {
    let file = match tokio::fs::File::open(path).await {
        Ok(file) => file,
        Err(error)
            if error.kind() == std::io::ErrorKind::NotFound && !matches!(form, Form::Required) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let mut octets = Zeroizing::new(Vec::new());
    file.take(AuthFile::MAX_LEN as u64 + 1)
        .read_to_end(&mut octets)
        .await
        .map_err(Error::io("read", path))?;
    let parsed = match form {
        Form::Legacy => AuthFile::parse_legacy(&octets),
        // `podman logout` and systemd units may leave an empty file behind.
        Form::Required | Form::Optional if octets.trim_ascii().is_empty() => {
            Ok(AuthFile::default())
        }
        Form::Required | Form::Optional => AuthFile::parse(&octets),
    };
    parsed.map(Some).map_err(broken(path))
}

fn broken(path: &Path) -> impl FnOnce(AuthFileError) -> Error {
    move |error| Error::malformed(format!("auth file `{}`", path.display()), error.to_string())
}

fn search(program: &str, environment: &Environment) -> Option<PathBuf> {
    let name = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(environment.text("PATH")?)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(&name))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(folder: &Path) -> Credentials {
        let mut credentials = Credentials::default();
        credentials.environment.home = Some(folder.to_owned());
        credentials
            .environment
            .variables
            .insert("PATH".into(), folder.join("bin").into());
        credentials
    }

    fn write(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn auth(user: &str) -> String {
        format!(r#"{{"auths":{{"r.io":{{"username":"{user}","password":"p"}}}}}}"#)
    }

    async fn user(credentials: &Credentials) -> Option<String> {
        match credentials.find("r.io", "a/b").await.unwrap() {
            Some((Credential::Basic { username, .. }, _)) => Some(username.into()),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn files_are_asked_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path();
        let mut credentials = credentials(home);
        assert_eq!(user(&credentials).await, None);
        let variables = &mut credentials.environment.variables;
        variables.insert("DOCKER_AUTH_CONFIG".into(), auth("variable").into());
        assert_eq!(user(&credentials).await.as_deref(), Some("variable"));
        write(
            &home.join(".dockercfg"),
            r#"{"r.io":{"username":"legacy","password":"p"}}"#,
        );
        assert_eq!(user(&credentials).await.as_deref(), Some("legacy"));
        write(&home.join(".docker/config.json"), &auth("docker"));
        assert_eq!(user(&credentials).await.as_deref(), Some("docker"));
        write(&home.join(".config/containers/auth.json"), &auth("podman"));
        assert_eq!(user(&credentials).await.as_deref(), Some("podman"));
        write(&home.join("run/containers/auth.json"), &auth("runtime"));
        let variables = &mut credentials.environment.variables;
        variables.insert("XDG_RUNTIME_DIR".into(), home.join("run").into());
        assert_eq!(user(&credentials).await.as_deref(), Some("runtime"));
        write(&home.join("env.json"), &auth("named"));
        let variables = &mut credentials.environment.variables;
        variables.insert("REGISTRY_AUTH_FILE".into(), home.join("env.json").into());
        assert_eq!(user(&credentials).await.as_deref(), Some("named"));
        write(&home.join("given.json"), "{}");
        credentials.auth_file = Some(home.join("given.json"));
        assert_eq!(user(&credentials).await, None);
        credentials.explicit = Some(Credential::new("me".into(), Secret::new("p".into())));
        assert_eq!(user(&credentials).await.as_deref(), Some("me"));
    }

    #[tokio::test]
    async fn a_named_file_must_exist_and_any_file_must_parse() {
        let folder = tempfile::tempdir().unwrap();
        let mut credentials = credentials(folder.path());
        credentials.auth_file = Some(folder.path().join("none.json"));
        let error = credentials.find("r.io", "a").await.unwrap_err();
        assert!(matches!(error, Error::Io { action: "read", .. }), "{error}");
        credentials.auth_file = None;
        write(
            &folder.path().join(".docker/config.json"),
            "{\"auths\":{\"r.io\":{\"auth\":\"hunter2\"}}",
        );
        let error = credentials.find("r.io", "a").await.unwrap_err().to_string();
        assert!(
            error.ends_with("config.json` is malformed: not an auth file"),
            "{error}"
        );
    }

    #[cfg(unix)]
    async fn with_helper(script: &str) -> Result<Option<(Credential, Box<str>)>, Error> {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("bin/docker-credential-test");
        write(&program, script);
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        write(
            &folder.path().join(".docker/config.json"),
            r#"{"credsStore":"test","auths":{"r.io":{}}}"#,
        );
        // Another test may fork while this one still holds the script open for writing; the kernel then says "busy".
        for _ in 0..50 {
            match credentials(folder.path()).find("r.io", "a").await {
                Err(Error::Io { source, .. })
                    if source.kind() == std::io::ErrorKind::ExecutableFileBusy =>
                {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                other => return other,
            }
        }
        panic!("helper stays busy");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_helper_is_asked_for_the_host() {
        let script = "#!/bin/sh\nread host\n[ \"$1\" = get ] && echo '{\"ServerURL\":\"x\",\"Username\":\"'$host'\",\"Secret\":\"s\"}'\n";
        let (credential, place) = with_helper(script).await.unwrap().unwrap();
        assert_eq!(&*place, "docker-credential-test");
        let Credential::Basic { username, password } = credential else {
            panic!("not basic");
        };
        assert_eq!((&*username, password.expose()), ("r.io", "s"));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_helper_gets_the_given_environment_only() {
        // Cargo sets this one for tests.
        let script = "#!/bin/sh\necho \"{\\\"Username\\\":\\\"[$CARGO_PKG_NAME]\\\",\\\"Secret\\\":\\\"s\\\"}\"\n";
        let (credential, _) = with_helper(script).await.unwrap().unwrap();
        let Credential::Basic { username, .. } = credential else {
            panic!("not basic");
        };
        assert_eq!(&*username, "[]");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_helper_may_know_nobody_but_must_not_fail() {
        let nobody = "#!/bin/sh\necho credentials not found in native keychain\nexit 1\n";
        assert!(with_helper(nobody).await.unwrap().is_none());
        let error = with_helper("#!/bin/sh\necho secret\nexit 1\n")
            .await
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "answer of credential helper `docker-credential-test` is malformed: it failed"
        );
        let error = with_helper("#!/bin/sh\necho secret\n")
            .await
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "answer of credential helper `docker-credential-test` is malformed: it is not JSON of the helpers' protocol"
        );
    }

    #[test]
    fn proxies_are_read_in_both_spellings() {
        let mut environment = Environment::default();
        let mut set =
            |name: &str, value: &str| environment.variables.insert(name.into(), value.into());
        set("https_proxy", "http://lower:1");
        set("ALL_PROXY", "http://all:2");
        set("HTTP_PROXY", "");
        set("NO_PROXY", "a.io,10.0.0.0/8");
        let proxies = environment.proxies();
        assert_eq!(proxies.https.as_deref(), Some("http://lower:1"));
        assert_eq!(proxies.http.as_deref(), Some("http://all:2"));
        assert_eq!(&*proxies.except, "a.io,10.0.0.0/8");
    }

    #[test]
    fn nothing_secret_is_shown_by_debug() {
        let mut credentials = Credentials::default();
        let variables = &mut credentials.environment.variables;
        variables.insert("HTTPS_PROXY".into(), "http://u:hunter2@p".into());
        credentials.explicit = Some(Credential::new("me".into(), Secret::new("hunter2".into())));
        let proxies = credentials.environment.proxies();
        let options = crate::Options {
            credentials,
            proxies,
            ..crate::Options::default()
        };
        let shown = format!("{options:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[tokio::test]
    async fn a_helper_that_is_not_installed_is_named() {
        let folder = tempfile::tempdir().unwrap();
        write(
            &folder.path().join(".docker/config.json"),
            r#"{"credsStore":"nowhere"}"#,
        );
        let error = credentials(folder.path())
            .find("r.io", "a")
            .await
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "credential helper `docker-credential-nowhere` was not found at PATH"
        );
    }
}
