//! Private keys out of folders, as Kubernetes mounts them and as ctd-decoder reads them, and the certificates beside them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sealift_agent::AgentIdentity;
use sealift_keywrap::customer_key::CustomerKey;
use sealift_keywrap::keys::{
    Certificate, MAX_FILE_LEN, certificates_beside, parse_certificates, parse_private,
};
use sealift_keywrap::pkcs11::{self, Pin, PinSource};
use sealift_keywrap::{Identity, KeyError, Keyring, Password, openpgp, xwing};
use sealift_provider::{CallOptions, Config, Providers};
use sealift_token::{TokenIdentity, Tokens};
use zeroize::Zeroizing;

use crate::payload::Payload;
use crate::wiped::read_wiped;

/// A ring of keys, and notes on everything that was passed over while it was filled.
///
/// Notes matter only when no key fits: then they say where a key was looked for, and why a file gave none.
#[derive(Debug, Default)]
pub struct Keys {
    /// The keys that could be read, in the order of their sources and names.
    pub ring: Keyring,
    /// One line each.
    pub notes: Vec<String>,
    /// Waiting for their keys, which may come after them.
    certificates: Vec<Certificate>,
    tokens: Option<Arc<Tokens>>,
    /// Waiting for all other keys of their source: whatever they are asked may cost a login.
    token_keys: Vec<(String, TokenIdentity)>,
    full: bool,
    entries: usize,
}

impl Keys {
    /// Says who looks for keys in PKCS #11 tokens. Without, they are noted and passed over.
    #[must_use]
    pub fn with_tokens(self, tokens: Arc<Tokens>) -> Self {
        Self {
            tokens: Some(tokens),
            ..self
        }
    }

    /// Adds the keys of a payload.
    pub fn add_payload(&mut self, payload: &Payload) {
        if !payload.ignored.is_empty() {
            let names = payload.ignored.join("`, `");
            self.notes
                .push(format!("not read in the payload: `{names}`"));
        }
        for (index, key) in payload.keys.iter().enumerate() {
            let place = format!("key {index} of the payload");
            self.add_file(&place, &key.file, || key.password());
        }
        for (index, file) in payload.certificates.iter().enumerate() {
            match parse_certificates(file) {
                Ok(certificates) => self.add_certificates(certificates),
                Err(error) => {
                    let place = format!("certificate {index} of the payload");
                    self.notes.push(format!("{place}: {error}"));
                }
            }
        }
        for (index, file) in payload.token_keys.iter().enumerate() {
            let place = format!("PKCS #11 key {index} of the payload");
            self.add_token_key(&place, file, Source::Payload);
        }
        self.push_token_keys();
        self.give_certificates();
    }

    /// Adds every key file below a folder; symbolic links are followed.
    ///
    /// Names that begin with two dots are the machinery of Kubernetes' volumes, where the same keys stand again. A key that
    /// is encrypted takes its password from the file of the same name with the suffix `.password`.
    pub fn add_folder(&mut self, folder: &Path) {
        let before = self.ring.len();
        let passed_over = self.notes.len();
        self.walk(folder, MAX_FOLDER_DEPTH);
        self.push_token_keys();
        self.give_certificates();
        let found = self.ring.len() - before;
        if found == 0 && self.notes.len() == passed_over {
            self.notes.push(format!("no key in {}", folder.display()));
        } else {
            let said = format!("{found} of them in {}", folder.display());
            self.notes.insert(passed_over, said);
        }
    }

    /// Adds this node's agent, behind all keys that are here: whatever it is asked may go on record at the key holders.
    pub fn add_agent(&mut self, socket: &Path) {
        self.notes.push(format!("agent at {}", socket.display()));
        if let Err(error) = self.ring.push(Box::new(AgentIdentity::new(socket))) {
            self.notes.push(format!("agent: {error}"));
        }
    }

    /// Adds the key providers of a configuration file, behind the keys that are here: each opens what stands under its name.
    pub fn add_providers(&mut self, file: &Path, options: CallOptions) {
        let place = file.display();
        let octets = match fs::File::open(file) {
            Ok(file) => read_wiped(file, Config::MAX_LEN),
            Err(error) => Err(error),
        };
        let config = match octets {
            Ok(octets) => Config::parse(&octets),
            Err(error) => {
                return self
                    .notes
                    .push(format!("no key providers: {place}: {error}"));
            }
        };
        let providers = match config {
            Ok(config) => Providers::new(config, options),
            Err(error) => {
                return self
                    .notes
                    .push(format!("no key providers: {place}: {error}"));
            }
        };
        for name in providers.names() {
            let pushed = match providers.identity(name, None) {
                Ok(identity) => self
                    .ring
                    .push(Box::new(identity))
                    .err()
                    .map(|error| error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            match pushed {
                None => self.notes.push(format!("key provider `{name}`")),
                Some(error) => self.notes.push(format!("key provider `{name}`: {error}")),
            }
        }
    }

    fn walk(&mut self, folder: &Path, depth: usize) {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.notes.push(format!("{}: {error}", folder.display())),
        };
        // The first by name, one more than are looked at: that one is noted.
        let mut paths = BTreeSet::new();
        for entry in entries {
            match entry {
                Ok(entry) if is_candidate(&entry.path()) => drop(paths.insert(entry.path())),
                Ok(_) => {}
                Err(error) => self.notes.push(format!("{}: {error}", folder.display())),
            }
            if paths.len() > MAX_FOLDER_ENTRIES + 1 {
                paths.pop_last();
            }
        }
        for path in paths {
            if self.full {
                return;
            }
            self.entries += 1;
            if self.entries > MAX_FOLDER_ENTRIES {
                self.full = true;
                return self.notes.push(format!(
                    "more than {MAX_FOLDER_ENTRIES} files: the rest was not read"
                ));
            }
            // Follows symbolic links, unlike the directory entry.
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => match depth.checked_sub(1) {
                    Some(depth) => self.walk(&path, depth),
                    None => self
                        .notes
                        .push(format!("{}: nested too deeply", path.display())),
                },
                Ok(metadata) if metadata.is_file() => match read(&path) {
                    Ok(file) => self.add_file(&path.display().to_string(), &file, || {
                        password_beside(&path)
                    }),
                    Err(error) => self.notes.push(format!("{}: {error}", path.display())),
                },
                Ok(_) => self.notes.push(format!("{}: not a file", path.display())),
                Err(error) => self.notes.push(format!("{}: {error}", path.display())),
            }
        }
    }

    /// Takes the name of a key in a token. The token is not asked before the key is wanted.
    fn add_token_key(&mut self, place: &str, file: &[u8], source: Source) {
        let Some(tokens) = self.tokens.clone() else {
            return self
                .notes
                .push(format!("{place}: PKCS #11 tokens are not used here"));
        };
        let named = pkcs11::KeyFile::parse(file)
            .map_err(|error| error.to_string())
            .and_then(|mut key| {
                // Nothing in a payload is authenticated: it does not set the environment of modules.
                if source == Source::Payload && !key.environment.is_empty() {
                    return Err("variables for a module are not taken from payloads".to_owned());
                }
                Ok((pin_of(&mut key, source)?, key))
            });
        match named {
            Ok((pin, key)) => {
                let identity = TokenIdentity::new(&tokens, key, pin);
                self.token_keys.push((place.to_owned(), identity));
            }
            Err(error) => self.notes.push(format!("{place}: {error}")),
        }
    }

    fn push_token_keys(&mut self) {
        for (place, identity) in std::mem::take(&mut self.token_keys) {
            if let Err(error) = self.ring.push(Box::new(identity)) {
                self.full = true;
                self.notes.push(format!("{place}: {error}"));
            }
        }
    }

    fn add_file(&mut self, place: &str, file: &[u8], password: impl FnOnce() -> Option<Password>) {
        if pkcs11::KeyFile::looks_like(file) {
            return self.add_token_key(place, file, Source::Folder);
        }
        if let Some(keys) = xwing::parse_private(file) {
            match keys {
                Ok(keys) => self.push(place, keys.into_iter().map(|key| Box::new(key) as _)),
                Err(error) => self.notes.push(format!("{place}: {error}")),
            }
            return;
        }
        if openpgp::is_key_file(file) {
            return match unlocked(file, password, openpgp::parse_secret) {
                Ok(keys) => self.push(place, keys.into_iter().map(|key| Box::new(key) as _)),
                Err(error) => self.notes.push(format!("{place}: {error}")),
            };
        }
        let parsed = unlocked(file, password, parse_private);
        let identities: Vec<Box<dyn Identity>> = match (parsed, CustomerKey::from_file(file)) {
            (Ok(keys), _) => {
                self.add_certificates(certificates_beside(file));
                keys.into_iter().map(|key| Box::new(key) as _).collect()
            }
            (Err(_), Ok(key)) => vec![Box::new(key)],
            (Err(KeyError::PrivateExpected), Err(_)) => match parse_certificates(file) {
                Ok(certificates) => return self.add_certificates(certificates),
                // A public key, or a certificate for another use.
                Err(_) => {
                    let error = KeyError::PrivateExpected;
                    return self.notes.push(format!("{place}: {error}"));
                }
            },
            (Err(error), Err(_)) => return self.notes.push(format!("{place}: {error}")),
        };
        self.push(place, identities.into_iter());
    }

    fn push(&mut self, place: &str, identities: impl Iterator<Item = Box<dyn Identity>>) {
        for identity in identities {
            if let Err(error) = self.ring.push(identity) {
                self.full = true;
                self.notes.push(format!("{place}: {error}"));
            }
        }
    }

    fn add_certificates(&mut self, certificates: Vec<Certificate>) {
        let room = MAX_CERTIFICATES.saturating_sub(self.certificates.len());
        if certificates.len() > room {
            let note = format!("more than {MAX_CERTIFICATES} certificates: the rest was not read");
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
        self.certificates
            .extend(certificates.into_iter().take(room));
    }

    /// Gives all certificates so far to all keys so far. Those of nobody are kept and say nothing: folders hold many.
    fn give_certificates(&mut self) {
        for certificate in &self.certificates {
            self.ring.add_certificate(certificate);
        }
    }
}

/// Reads a file without a password first, so that none is looked for where none is needed.
fn unlocked<T>(
    file: &[u8],
    password: impl FnOnce() -> Option<Password>,
    read: impl Fn(&[u8], Option<&Password>) -> Result<T, KeyError>,
) -> Result<T, KeyError> {
    match read(file, None) {
        Err(KeyError::PasswordMissing) => match password() {
            Some(password) => read(file, Some(&password)),
            None => Err(KeyError::PasswordMissing),
        },
        other => other,
    }
}

/// Most folders within each other.
pub const MAX_FOLDER_DEPTH: usize = 8;
/// Most certificates that are given to keys.
pub const MAX_CERTIFICATES: usize = 1000;
/// Most files and folders that are looked at.
pub const MAX_FOLDER_ENTRIES: usize = 1000;

/// Tells what may be a key from the machinery of Kubernetes' volumes and from passwords.
fn is_candidate(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b".."));
    let password = path.extension().is_some_and(|suffix| suffix == "password");
    !hidden && !password
}

fn read(path: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    read_wiped(fs::File::open(path)?, MAX_FILE_LEN)
}

fn password_beside(path: &Path) -> Option<Password> {
    let mut name = path.as_os_str().to_owned();
    name.push(".password");
    let text = read(&PathBuf::from(name)).ok()?;
    Some(Password::new(without_line_break(text)))
}

/// One line break at the end belongs to the editor, not to the password.
fn without_line_break(mut text: Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>> {
    for line_break in [b'\n', b'\r'] {
        if text.last() == Some(&line_break) {
            text.pop();
        }
    }
    text
}

/// Where the name of a key in a token came from.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Source {
    Folder,
    /// Nothing in it is authenticated: it does not choose files of this machine.
    Payload,
}

fn pin_of(key: &mut pkcs11::KeyFile, source: Source) -> Result<Option<Pin>, String> {
    match key.uri.take_pin() {
        None => Ok(None),
        Some(PinSource::Value(pin)) => Ok(Some(pin)),
        Some(PinSource::File(_)) if source == Source::Payload => {
            Err("pin-source= is not read for a payload".into())
        }
        Some(PinSource::File(path)) => {
            let named = |error: &dyn std::fmt::Display| format!("{path}: {error}");
            let octets = read(Path::new(&*path)).map_err(|error| named(&error))?;
            Pin::new(without_line_break(octets))
                .map(Some)
                .map_err(|error| named(&error))
        }
    }
}

#[cfg(test)]
mod tests {
    use sealift_token::{Caution, Surroundings, WorkerCommand};

    use super::*;

    /// A folder with one key, `name`, and `count` files that are none.
    fn folder(name: &str, prefix: &str, count: usize) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let key =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/ocicrypt/keys/ec384.pem");
        for index in 0..count {
            fs::write(folder.path().join(format!("{prefix}{index:04}")), "").unwrap();
        }
        fs::copy(key, folder.path().join(name)).unwrap();
        folder
    }

    fn keys(folder: &tempfile::TempDir) -> (usize, bool) {
        let mut keys = Keys::default();
        keys.add_folder(folder.path());
        let limit = "more than 1000 files: the rest was not read".to_owned();
        (keys.ring.len(), keys.notes.contains(&limit))
    }

    #[test]
    fn a_folder_is_read_in_the_order_of_names_up_to_its_limit_and_says_so() {
        assert_eq!(keys(&folder("key", "a", 999)), (1, false));
        assert_eq!(keys(&folder("key", "x", 1500)), (1, true));
        assert_eq!(keys(&folder("key", "a", 1000)), (0, true));
    }

    #[test]
    fn names_that_are_passed_over_do_not_count() {
        assert_eq!(keys(&folder("key", "..", 1500)), (1, false));
    }

    #[test]
    fn a_payload_names_keys_in_tokens_and_no_files_of_this_machine() {
        let key = |query: &str| {
            let text = format!("pkcs11: {{uri: 'pkcs11:token=x?{query}'}}");
            Zeroizing::new(text.into_bytes())
        };
        let payload = Payload {
            token_keys: vec![
                key("pin-value=1"),
                key("pin-source=/etc/passwd"),
                Zeroizing::new(
                    b"{pkcs11: {uri: 'pkcs11:token=x'}, module: {env: {A: b}}}".to_vec(),
                ),
            ],
            ..Payload::default()
        };
        let command = WorkerCommand {
            program: "/no/such/program".into(),
            arguments: Vec::new(),
            timeout: WorkerCommand::TIMEOUT,
            hidden: Vec::new(),
        };
        let tokens = Tokens::new(command, Surroundings::default(), Caution::Unattended);
        let mut keys = Keys::default().with_tokens(tokens);
        keys.add_payload(&payload);
        assert_eq!(keys.ring.len(), 1);
        let expected = [
            "PKCS #11 key 1 of the payload: pin-source= is not read for a payload",
            "PKCS #11 key 2 of the payload: variables for a module are not taken from payloads",
        ];
        assert_eq!(keys.notes, expected);

        let mut keys = Keys::default();
        keys.add_payload(&payload);
        assert_eq!((keys.ring.len(), keys.notes.len()), (0, 3));
    }

    #[test]
    fn says_which_parts_of_a_payload_were_not_read() {
        let payload = Payload {
            ignored: vec!["gpg-privatekeys".into(), "pkcs11-config".into()],
            ..Payload::default()
        };
        let mut keys = Keys::default();
        keys.add_payload(&payload);
        let expected = "not read in the payload: `gpg-privatekeys`, `pkcs11-config`";
        assert_eq!(keys.notes, [expected]);
    }
}
