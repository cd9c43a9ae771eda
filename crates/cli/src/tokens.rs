//! `pkcs11:`: keys in PKCS #11 tokens, named by a URI or a key file, and the process that their modules run in.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use sealift_keywrap::keys::parse_public;
use sealift_keywrap::pkcs11::{KeyFile, Pin, PinSource, Recipient, TokenUri};
use sealift_keywrap::{PublicKey, jwe::OaepHash};
use sealift_token::{Caution, Surroundings, TokenError, TokenIdentity, Tokens, WorkerCommand};

use crate::args::OaepHashName;
use crate::console::Console;
use crate::exit::{Code, Failure};
use crate::keys::{Permissions, bad_key, password_file, read_private};

/// Serves our own process, if that is what this one was started for.
pub(crate) fn worker() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let only = arguments.next().is_some_and(|argument| argument == WORKER);
    if !only || arguments.next().is_some() {
        return None;
    }
    // The parent learns of an error by the end of the pipe.
    Some(match sealift_token::work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

/// How layers are encrypted for keys in tokens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wrapping {
    pub(crate) hash: OaepHashName,
    /// Octets of the secret that is wrapped, as far as known beforehand.
    pub(crate) secret_len: usize,
}

/// The tokens of this run. Nothing is started before one is wanted.
pub(crate) struct TokenKeys(Arc<Tokens>);

impl TokenKeys {
    /// Prepares for tokens; `hidden` are variables that modules do not get to see.
    pub(crate) fn new(caution: Caution, hidden: Vec<OsString>) -> Self {
        let command = WorkerCommand {
            // A process that cannot find itself gets a name that does not exist, and the error that says so.
            program: std::env::current_exe().unwrap_or_default(),
            arguments: vec![WORKER.into()],
            timeout: WorkerCommand::TIMEOUT,
            hidden,
        };
        let surroundings = Surroundings {
            ocicrypt_config: std::env::var_os("OCICRYPT_CONFIG"),
            xdg_config_home: std::env::var_os("XDG_CONFIG_HOME"),
            home: std::env::var_os("HOME"),
        };
        Self(Tokens::new(command, surroundings, caution))
    }
}

impl TokenKeys {
    /// Reads the keys behind `-r pkcs11:VALUE`: a URI, a key file, or a file of RSA public keys.
    ///
    /// # Errors
    /// [`Failure`]
    pub(crate) fn recipients(
        &self,
        value: &str,
        wrapping: Wrapping,
        console: &Console,
    ) -> Result<Vec<Box<dyn sealift_keywrap::Recipient>>, Failure> {
        let keys = match named(value)? {
            Named::Uri(uri) => {
                vec![self.public_key(value, uri.into(), Origin::Argument, console)?]
            }
            Named::File(octets, _) if KeyFile::looks_like(&octets) => {
                let file = key_file(value, &octets)?;
                vec![self.public_key(value, file, Origin::File, console)?]
            }
            Named::File(octets, _) => {
                let path = Path::new(value);
                parse_public(&octets).map_err(|error| bad_key(path, &error))?
            }
        };
        let mut recipients: Vec<Box<dyn sealift_keywrap::Recipient>> = Vec::new();
        let from_token = TokenUri::looks_like(value) || keys.len() == 1;
        for key in keys {
            let hash = match wrapping.hash {
                OaepHashName::Sha1 => OaepHash::Sha1,
                OaepHashName::Sha256 => OaepHash::Sha256,
            };
            match Recipient::new(&key, hash) {
                Ok(recipient) => {
                    recipient
                        .check_capacity(wrapping.secret_len)
                        .map_err(|error| {
                            Failure::new(Code::Usage, format!("cannot seal for `pkcs11:{}`", shown(value)))
                                .because(&error)
                                .hint("--oaep-hash sha1, or OCICRYPT_OAEP_HASHALG=sha1, makes it fit; so does a key of 3072 bits")
                        })?;
                    recipients.push(Box::new(recipient));
                }
                // ocicrypt's PKCS #11 elements are for RSA; a JWE opens with the same token.
                Err(_) if from_token && key.curve().is_some() => {
                    console.detail("elliptic-curve key: sealed as jwe, which its token opens, too");
                    recipients.push(Box::new(key));
                }
                Err(error) => {
                    let what = format!("cannot seal for `pkcs11:{}`", shown(value));
                    return Err(Failure::new(Code::Usage, what)
                        .because(&error)
                        .hint("give it as jwe:FILE"));
                }
            }
        }
        Ok(recipients)
    }

    /// Finds the private key behind `-k pkcs11:VALUE`, and logs in.
    ///
    /// # Errors
    /// [`Failure`]
    pub(crate) fn identity(
        &self,
        value: &str,
        console: &Console,
    ) -> Result<Box<TokenIdentity>, Failure> {
        let (mut file, origin) = match named(value)? {
            Named::Uri(uri) => (KeyFile::from(uri), Origin::Argument),
            Named::File(octets, permissions) => {
                let file = key_file(value, &octets)?;
                // Without a PIN in it there is nothing to hide.
                if matches!(file.uri.pin(), Some(PinSource::Value(_))) {
                    permissions?;
                }
                (file, Origin::File)
            }
        };
        let pin = pin_of(&mut file, origin, console)?;
        let identity = TokenIdentity::new(&self.0, file, pin);
        identity.connect().map_err(|error| failed(value, &error))?;
        Ok(Box::new(identity))
    }

    fn public_key(
        &self,
        value: &str,
        mut file: KeyFile,
        origin: Origin,
        console: &Console,
    ) -> Result<PublicKey, Failure> {
        let pin = pin_of(&mut file, origin, console)?;
        self.0
            .public_key(&file, pin)
            .map_err(|error| failed(value, &error))
    }
}

enum Named {
    Uri(TokenUri),
    File(zeroize::Zeroizing<Vec<u8>>, Permissions),
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Origin {
    Argument,
    File,
}

/// Tells a URI, with or without its scheme, from the name of a file.
fn named(value: &str) -> Result<Named, Failure> {
    if !TokenUri::looks_like(value) {
        let (octets, permissions) = read_private(Path::new(value))?;
        return Ok(Named::File(octets, permissions));
    }
    let bare = value.strip_prefix("pkcs11:").unwrap_or(value);
    match TokenUri::parse(&format!("pkcs11:{bare}")) {
        Ok(uri) => Ok(Named::Uri(uri)),
        // A PIN may stand anywhere in it.
        Err(error) => {
            Err(Failure::new(Code::Usage, "cannot use the URI behind `pkcs11:`").because(&error))
        }
    }
}

fn key_file(value: &str, octets: &[u8]) -> Result<KeyFile, Failure> {
    KeyFile::parse(octets).map_err(|error| {
        Failure::new(Code::Other, format!("cannot use key file `{value}`"))
            .because(&error)
            .hint("a key file is YAML: `pkcs11: {uri: 'pkcs11:token=…;object=…?module-path=…&pin-source=…'}`")
    })
}

fn pin_of(file: &mut KeyFile, origin: Origin, console: &Console) -> Result<Option<Pin>, Failure> {
    match file.uri.take_pin() {
        None => Ok(None),
        Some(PinSource::Value(pin)) => {
            if origin == Origin::Argument {
                console
                    .warn("the PIN in pin-value= is visible in the process list; use pin-source=");
            }
            Ok(Some(pin))
        }
        Some(PinSource::File(path)) => {
            let octets = password_file(Path::new(&*path))?.expose().to_vec();
            Pin::new(octets.into()).map(Some).map_err(|error| {
                Failure::new(Code::Other, format!("cannot use `{path}`")).because(&error)
            })
        }
    }
}

fn failed(value: &str, error: &TokenError) -> Failure {
    let code = match error {
        TokenError::NoPolicy
        | TokenError::NoModule
        | TokenError::PinMissing
        | TokenError::SeveralTokens { .. }
        | TokenError::SeveralKeys { .. } => Code::Usage,
        TokenError::ModuleNotFound { .. }
        | TokenError::NoSuchToken { .. }
        | TokenError::NoSuchKey { .. } => Code::NotFound,
        TokenError::ModuleNotAllowed { .. }
        | TokenError::Writable { .. }
        | TokenError::PinWrong
        | TokenError::PinLocked
        | TokenError::PinAtRisk => Code::Denied,
        _ => Code::Other,
    };
    let value = value.strip_prefix("pkcs11:").unwrap_or(value);
    Failure::new(code, format!("cannot use key `pkcs11:{}`", shown(value)))
        .because(error)
        .or_hint(error.hint())
}

/// Returns what may be repeated: in a URI a PIN may stand behind the `?`.
fn shown(value: &str) -> &str {
    value.split('?').next().unwrap_or_default()
}

/// What makes a process of ours a worker.
const WORKER: &str = "--pkcs11-worker";
