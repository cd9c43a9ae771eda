//! `pgp:`: from names, addresses, fingerprints and files to OpenPGP keys. Whom nobody knows is an error, never left out.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sealift_keywrap::openpgp::{
    Certificate, DecryptionKey, EncryptionKey, MAX_RING_LEN, UnusableKey, parse_certificates,
    parse_secret,
};
use sealift_keywrap::{KeyError, Password};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use crate::console::Console;
use crate::exit::{Code, Failure};
use crate::providers::secret_variables;

/// Where recipients are looked up. The ring is read when it is first needed.
pub(crate) struct Directory<'a> {
    keyring: Option<&'a Path>,
    ring: Option<Ring>,
    now: u64,
    console: &'a Console,
}

/// Certificates, and where they came from.
struct Ring {
    certificates: Vec<Certificate>,
    place: String,
    /// How many could not be read.
    unreadable: usize,
}

impl<'a> Directory<'a> {
    /// Looks in `keyring`, or asks gpg.
    pub(crate) fn new(keyring: Option<&'a Path>, console: &'a Console) -> Self {
        let age = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            keyring,
            ring: None,
            now: age.map_or(0, |age| age.as_secs()),
            console,
        }
    }

    /// Returns the keys that `value` names: all of a file, or one of the ring.
    pub(crate) fn recipients(&mut self, value: &str) -> Result<Vec<EncryptionKey>, Failure> {
        match Name::of(value) {
            Name::File(path) => self.all_of(&path),
            Name::TooShort => {
                let what = format!(
                    "`{value}` is too short to name an OpenPGP key: 8 digits are forged easily"
                );
                Err(Failure::new(Code::Usage, what).hint("give the whole fingerprint"))
            }
            Name::Fingerprint(digits) => self
                .find(value, |certificate, _| certificate.has_fingerprint(&digits))
                .map(|key| vec![key]),
            Name::User => self
                .find(value, |certificate, now| certificate.has_user(value, now))
                .map(|key| vec![key]),
        }
    }

    fn all_of(&self, path: &Path) -> Result<Vec<EncryptionKey>, Failure> {
        let octets = crate::keys::read_public(path)?;
        let bad = |error: &KeyError| {
            let failure = Failure::new(
                Code::Other,
                format!("cannot use key file `{}`", path.display()),
            );
            let hint = match error {
                KeyError::PublicExpected => "give the public key: gpg --export NAME",
                _ => "a binary or armoured OpenPGP public key is expected: gpg --export NAME",
            };
            failure.because(error).hint(hint)
        };
        let certificates = parse_certificates(&octets).map_err(|error| bad(&error))?;
        certificates
            .into_iter()
            .map(|certificate| {
                let certificate = certificate.map_err(|error| bad(&error))?;
                let key = certificate.encryption_key(self.now);
                key.map_err(|error| unusable(&certificate, &error))
            })
            .collect()
    }

    /// Returns the one key in the ring that fits.
    fn find(
        &mut self,
        value: &str,
        fits: impl Fn(&Certificate, u64) -> bool,
    ) -> Result<EncryptionKey, Failure> {
        let ring = match self.ring.take() {
            Some(ring) => ring,
            None => Ring::read(self.keyring)?,
        };
        let ring = self.ring.insert(ring);
        let found = ring.certificates.iter();
        let found: Vec<&Certificate> = found.filter(|one| fits(one, self.now)).collect();
        let mut usable = Vec::new();
        let mut refused = Vec::new();
        for certificate in &found {
            match certificate.encryption_key(self.now) {
                Ok(key) => usable.push((*certificate, key)),
                Err(error) => refused.push((*certificate, error)),
            }
        }
        if usable.len() > 1 {
            let names: Vec<_> = usable.iter().map(|(one, _)| told(one)).collect();
            let shown = names.get(..MAX_TOLD).unwrap_or(&names).join("; ");
            let what = format!("`{value}` names {} OpenPGP keys: {shown}", names.len());
            return Err(Failure::new(Code::Usage, what).hint("give the fingerprint of the one"));
        }
        for (certificate, error) in &refused {
            let told = told(certificate);
            self.console
                .detail(&format!("OpenPGP key {told} is not used: {error}"));
        }
        match (usable.pop(), refused.first()) {
            (Some((_, key)), _) => Ok(key),
            (None, Some((certificate, error))) => Err(unusable(certificate, error)),
            (None, None) => {
                let mut what = format!("no OpenPGP key for `{value}` in {}", ring.place);
                if ring.unreadable > 0 {
                    what += &format!(", where {} keys could not be read", ring.unreadable);
                }
                Err(Failure::new(Code::NotFound, what).hint(
                    "import the key with `gpg --import`, or name its file: -r pgp:FILE, --pgp-keyring FILE",
                ))
            }
        }
    }
}

/// Reads the secret keys in a file that can decrypt.
pub(crate) fn decryption_keys(
    path: &Path,
    octets: &[u8],
    password: Option<&Password>,
) -> Result<Vec<DecryptionKey>, Failure> {
    parse_secret(octets, password).map_err(|error| {
        let (code, hint) = match error {
            KeyError::PrivateExpected => (
                Code::Usage,
                Some("give the secret key: gpg --export-secret-keys NAME"),
            ),
            KeyError::PasswordMissing => (
                Code::Usage,
                Some("append :file=PASSWORDFILE to the name of the key file"),
            ),
            KeyError::NotForDecryption => (
                Code::Usage,
                Some("the subkey for encryption is needed: gpg --export-secret-subkeys NAME"),
            ),
            KeyError::NotAKey => (
                Code::Other,
                Some("a binary or armoured OpenPGP secret key is expected: gpg --export-secret-keys NAME"),
            ),
            _ => (Code::Other, None),
        };
        let what = format!("cannot use key file `{}`", path.display());
        Failure::new(code, what).because(&error).or_hint(hint)
    })
}

/// What a value stands for.
enum Name {
    File(PathBuf),
    /// Of a key or subkey, or a long key id, in hexadecimal digits.
    Fingerprint(String),
    TooShort,
    /// A name or an e-mail address.
    User,
}

impl Name {
    /// A fingerprint is never a file, an address only with a slash in it; any other word is a file if there is one.
    fn of(value: &str) -> Self {
        let digits: String = value
            .strip_prefix("0x")
            .unwrap_or(value)
            .split(' ')
            .collect();
        let is_hex = digits.bytes().all(|octet| octet.is_ascii_hexdigit());
        let path = Path::new(value);
        let has_folder = path.components().count() > 1 || value.starts_with("./");
        match digits.len() {
            16 | 40 | 64 if is_hex => Self::Fingerprint(digits),
            _ if has_folder || (!value.contains('@') && path.is_file()) => Self::File(path.into()),
            8 if is_hex => Self::TooShort,
            _ => Self::User,
        }
    }
}

impl Ring {
    fn read(keyring: Option<&Path>) -> Result<Self, Failure> {
        let (octets, place) = match keyring {
            Some(path) => (read_ring(path)?, format!("`{}`", path.display())),
            None => (exported()?, "gpg's keyring".to_owned()),
        };
        let mut ring = Self {
            certificates: Vec::new(),
            place,
            unreadable: 0,
        };
        if octets.is_empty() {
            return Ok(ring);
        }
        let found = parse_certificates(&octets).map_err(|error| {
            let what = format!("cannot read the OpenPGP keys in {}", ring.place);
            Failure::new(Code::Other, what).because(&error)
        })?;
        for certificate in found {
            match certificate {
                Ok(certificate) => ring.certificates.push(certificate),
                Err(_) => ring.unreadable += 1,
            }
        }
        Ok(ring)
    }
}

fn read_ring(path: &Path) -> Result<Vec<u8>, Failure> {
    let cannot = |error: &io::Error| {
        let missing = error.kind() == io::ErrorKind::NotFound;
        let code = if missing { Code::NotFound } else { Code::Other };
        Failure::new(code, format!("cannot read keyring `{}`", path.display())).because(error)
    };
    let mut octets = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_RING_LEN as u64 + 1).read_to_end(&mut octets))
        .map_err(|error| cannot(&error))?;
    Ok(octets)
}

/// Lets gpg export its public keys.
fn exported() -> Result<Vec<u8>, Failure> {
    let program = std::env::var_os("SEALIFT_GPG").unwrap_or_else(|| "gpg".into());
    let name = Path::new(&program).display().to_string();
    let failed = |error: &io::Error| {
        let missing = error.kind() == io::ErrorKind::NotFound;
        let code = if missing { Code::NotFound } else { Code::Other };
        Failure::new(
            code,
            format!("cannot run `{name}` to look for OpenPGP keys"),
        )
        .because(error)
        .hint("install GnuPG, or name a file of public keys: -r pgp:FILE or --pgp-keyring FILE")
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(&error))?;
    runtime.block_on(async {
        let mut command = Command::new(&program);
        // It exports public keys, and needs none of ours.
        for name in secret_variables(&[]) {
            command.env_remove(name);
        }
        let mut child = command
            .args(["--batch", "--no-tty", "--export"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(&error))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let talk = async {
            let both = tokio::join!(
                up_to(stdout, MAX_RING_LEN),
                up_to(stderr, MAX_COMPLAINT_LEN)
            );
            Ok::<_, io::Error>((both.0?, both.1?, child.wait().await?))
        };
        let (keys, complaint, status) = match tokio::time::timeout(PATIENCE, talk).await {
            Ok(ended) => ended.map_err(|error| failed(&error))?,
            Err(_) => {
                let what = format!(
                    "`{name} --export` did not end within {} s",
                    PATIENCE.as_secs()
                );
                return Err(Failure::new(Code::Other, what)
                    .hint("name a file of public keys: -r pgp:FILE or --pgp-keyring FILE"));
            }
        };
        // An empty ring is a failure to some releases.
        if !status.success() && !keys.is_empty() {
            let complaint = String::from_utf8_lossy(&complaint);
            let last = complaint.lines().last().unwrap_or_default();
            let what = format!("`{name} --export` failed: {last}");
            return Err(Failure::new(Code::Other, what));
        }
        Ok(keys)
    })
}

/// Reads at most one octet more than `limit`, by which the parser sees that it is too long; the rest is thrown away.
async fn up_to(from: Option<impl AsyncRead + Unpin>, limit: usize) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    if let Some(mut from) = from {
        let mut limited = (&mut from).take(limit as u64 + 1);
        limited.read_to_end(&mut octets).await?;
        tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    }
    Ok(octets)
}

fn unusable(certificate: &Certificate, error: &UnusableKey) -> Failure {
    let what = format!("cannot encrypt for OpenPGP key {}", told(certificate));
    Failure::new(Code::Other, what).because(error)
}

/// Names a certificate for people.
fn told(certificate: &Certificate) -> String {
    let fingerprint = certificate.fingerprint();
    match certificate.user_ids().next() {
        Some(user) => format!("{fingerprint} ({user})"),
        None => fingerprint,
    }
}

/// How long gpg may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most octets that gpg's complaint is looked for in.
const MAX_COMPLAINT_LEN: usize = 64 * 1024;
/// Most candidates that an error names.
const MAX_TOLD: usize = 8;
