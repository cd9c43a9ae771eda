//! From `-r` and `-k` to recipients and identities: the one place that reads key files, passwords and key variables.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use sealift_keywrap::customer_key::CustomerKey;
use sealift_keywrap::keys::{
    Certificate, MAX_FILE_LEN, certificates_beside, parse_certificates, parse_private, parse_public,
};
use sealift_keywrap::openpgp;
use sealift_keywrap::{
    IdentitySpec, KeyError, KeyFile, KeySource, Keyring, KeyringError, Password, PasswordSource,
    Recipient, RecipientSpec, SpecError, xwing,
};
use sealift_token::Caution;
use zeroize::Zeroizing;

use crate::args::{HoldersIdentityArgs, HoldersRecipientArgs, PgpArgs, ProviderArgs};
use crate::console::Console;
use crate::exit::{Code, Failure};
use crate::keyholders::layers::{self, Asking};
use crate::keyholders::session;
use crate::pgp;
use crate::providers::{Configured, secret_variables};
use crate::tokens::{TokenKeys, Wrapping};

/// What recipients of each kind are found by.
pub(crate) struct RecipientMeans<'a> {
    pub(crate) holders: &'a HoldersRecipientArgs,
    /// Nothing where key providers are not asked.
    pub(crate) providers: Option<&'a ProviderArgs>,
    pub(crate) pgp: &'a PgpArgs,
    pub(crate) wrapping: Wrapping,
    /// The repository that wrapped keys are bound to, where the envelope can.
    pub(crate) repository: Option<&'a str>,
}

/// Reads the keys that layers are sealed for; the same key twice counts once.
///
/// # Errors
/// [`Failure`] if a single one cannot be used: a recipient is never dropped silently.
pub(crate) fn recipients(
    specs: &[String],
    means: &RecipientMeans<'_>,
    console: &Console,
) -> Result<Vec<Box<dyn Recipient>>, Failure> {
    let tokens = tokens_for(specs, means.providers);
    let mut recipients: Vec<Box<dyn Recipient>> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut directory = pgp::Directory::new(means.pgp.keyring.as_deref(), console);
    let mut providers = Configured::new(means.providers, specs);
    let mut add = |recipient: Box<dyn Recipient>, name: Option<String>| {
        let name = name.unwrap_or_else(|| recipient.fingerprint());
        if seen.insert((recipient.scheme().to_string(), name.clone())) {
            console.detail(&format!("recipient {} {name}", recipient.scheme()));
            recipients.push(recipient);
        }
    };
    for spec in specs {
        match RecipientSpec::parse(spec).map_err(|error| bad_spec(&error))? {
            RecipientSpec::Jwe(path) => {
                let octets = read(&path, |_| ())?.0;
                if let Some(keys) = xwing::parse_public(&octets) {
                    for key in keys.map_err(|error| bad_key(&path, &error))? {
                        add(Box::new(key), None);
                    }
                    continue;
                }
                let keys = parse_public(&octets).map_err(|error| bad_key(&path, &error))?;
                for key in keys {
                    add(Box::new(key), None);
                }
            }
            RecipientSpec::Pkcs7(path) => {
                for certificate in read_certificates(&path)? {
                    // Of two certificates for one key only one may be known to whoever has the key.
                    let name = certificate.name().to_string();
                    add(Box::new(certificate), Some(name));
                }
            }
            RecipientSpec::Pgp(value) => {
                for key in directory.recipients(&value)? {
                    add(Box::new(key), None);
                }
            }
            RecipientSpec::CustomerKey(source) => add(Box::new(customer_key(&source)?), None),
            RecipientSpec::Pkcs11(value) => {
                for recipient in tokens.recipients(&value, means.wrapping, console)? {
                    add(recipient, None);
                }
            }
            RecipientSpec::Holders(id) => {
                add(
                    layers::recipient(&id, means.holders, means.repository)?,
                    None,
                );
            }
            RecipientSpec::Provider { name, params } => {
                let (recipient, label) = providers.recipient(&name, params.as_deref())?;
                add(recipient, Some(label));
            }
            other => return Err(unsupported(recipient_scheme(&other))),
        }
    }
    Ok(recipients)
}

/// Refuses names of private keys that make no sense, without reading one: before the image is read, which may be before it is
/// known who made it.
pub(crate) fn check_identities(
    specs: &[String],
    holders: &HoldersIdentityArgs,
) -> Result<(), Failure> {
    for spec in specs {
        let spec = IdentitySpec::parse(spec).map_err(|error| bad_spec(&error))?;
        if let IdentitySpec::Holders(_) = spec {
            session::path(holders.file.as_deref())?;
        }
    }
    Ok(())
}

/// Reads the keys that layers are opened with.
///
/// # Errors
/// [`Failure`] if a single one cannot be used, or beyond [`Keyring::MAX_IDENTITIES`].
pub(crate) fn identities(
    specs: &[String],
    holders: &HoldersIdentityArgs,
    providers: Option<&ProviderArgs>,
    console: &Console,
) -> Result<(Keyring, Asking), Failure> {
    let mut asking = Asking::default();
    let mut keyring = Keyring::new();
    let mut certificates = Certificates::default();
    let mut passwords = Passwords::default();
    let tokens = tokens_for(specs, providers);
    let mut providers = Configured::new(providers, specs);
    let full = |error: KeyringError| Failure::of(Code::Usage, &error);
    for spec in specs {
        match IdentitySpec::parse(spec).map_err(|error| bad_spec(&error))? {
            IdentitySpec::File(file) => {
                let (octets, permissions) = read_private(&file.path)?;
                if let Some(keys) = xwing::parse_private(&octets) {
                    let keys = keys.map_err(|error| bad_key(&file.path, &error))?;
                    permissions?;
                    for key in keys {
                        keyring.push(Box::new(key)).map_err(full)?;
                    }
                    continue;
                }
                let password = passwords.of(&file, console)?;
                if openpgp::is_key_file(&octets) {
                    let keys = pgp::decryption_keys(&file.path, &octets, password.as_ref())?;
                    permissions?;
                    for key in keys {
                        keyring.push(Box::new(key)).map_err(full)?;
                    }
                    continue;
                }
                match parse_private(&octets, password.as_ref()) {
                    // What is public may well be open to everybody.
                    Err(KeyError::PrivateExpected) => {
                        certificates.among_keys(&file.path, &octets)?
                    }
                    parsed => {
                        permissions?;
                        for key in parsed.map_err(|error| bad_key(&file.path, &error))? {
                            keyring.push(Box::new(key)).map_err(full)?;
                        }
                        certificates.beside.extend(certificates_beside(&octets));
                    }
                }
            }
            IdentitySpec::Pkcs7(path) => certificates.named(&path)?,
            IdentitySpec::Pgp(file) => {
                let octets = read_secret(&file.path)?;
                let password = passwords.of(&file, console)?;
                for key in pgp::decryption_keys(&file.path, &octets, password.as_ref())? {
                    keyring.push(Box::new(key)).map_err(full)?;
                }
            }
            IdentitySpec::CustomerKey(source) => {
                let key = Box::new(customer_key(&source)?);
                keyring.push(key).map_err(full)?;
            }
            IdentitySpec::Pkcs11(value) => {
                let identity = tokens.identity(&value, console)?;
                keyring.push(identity).map_err(full)?;
            }
            IdentitySpec::Holders(id) => {
                let identity = asking.identity(&id, holders)?;
                keyring.push(identity).map_err(full)?;
            }
            IdentitySpec::Provider { name, params } => {
                let identity = providers.identity(&name, params.as_deref())?;
                keyring.push(identity).map_err(full)?;
            }
            other => return Err(unsupported(identity_scheme(&other))),
        }
    }
    certificates.give_to(&mut keyring)?;
    Ok((keyring, asking))
}

/// Prepares for tokens. Who answers as a key provider, and asks none, does so with nobody attending.
fn tokens_for(specs: &[String], providers: Option<&ProviderArgs>) -> TokenKeys {
    let caution = match providers {
        Some(_) => Caution::Attended,
        None => Caution::Unattended,
    };
    TokenKeys::new(caution, secret_variables(specs))
}

/// Certificates that came with the keys, in any order.
#[derive(Default)]
struct Certificates {
    /// Given on their own, each with its file: they must have a key.
    named: Vec<(PathBuf, Certificate)>,
    /// In the files of private keys: some may be those of issuers.
    beside: Vec<Certificate>,
}

impl Certificates {
    /// Reads `pkcs7:FILE`.
    fn named(&mut self, path: &Path) -> Result<(), Failure> {
        let found = read_certificates(path)?.into_iter();
        self.named.extend(found.map(|one| (path.to_owned(), one)));
        Ok(())
    }

    /// Takes a file that holds no private key: certificates, as users of ocicrypt give them among the keys.
    fn among_keys(&mut self, path: &Path, octets: &[u8]) -> Result<(), Failure> {
        let found = parse_certificates(octets).map_err(|error| {
            let expected = match error {
                KeyError::CertificateExpected => KeyError::PrivateExpected,
                other => other,
            };
            bad_key(path, &expected)
        })?;
        let found = found.into_iter();
        self.named.extend(found.map(|one| (path.to_owned(), one)));
        Ok(())
    }

    /// Gives every certificate to its key, and fails if one has none: a certificate alone opens nothing.
    fn give_to(self, keyring: &mut Keyring) -> Result<(), Failure> {
        for certificate in &self.beside {
            keyring.add_certificate(certificate);
        }
        for (path, certificate) in &self.named {
            if !keyring.add_certificate(certificate) {
                let path = path.display();
                let what = format!("certificate `{path}` belongs to no private key that was given");
                return Err(Failure::new(Code::Usage, what)
                    .hint("give its private key, too, with one more -k"));
            }
        }
        Ok(())
    }
}

/// Reads a file of certificates, which need not be kept from anybody.
fn read_certificates(path: &Path) -> Result<Vec<Certificate>, Failure> {
    let octets = read(path, |_| ())?.0;
    parse_certificates(&octets).map_err(|error| bad_key(path, &error))
}

/// Reads a file of public keys.
pub(crate) fn read_public(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    Ok(read(path, |_| ())?.0)
}

/// Reads a file that holds a password, less one final line end.
pub(crate) fn password_file(path: &Path) -> Result<Password, Failure> {
    let octets = read_secret(path)?;
    Ok(Password::new(without_line_end(octets)))
}

/// Passwords of key files. What comes through a pipe can be read only once, and may serve several keys.
#[derive(Default)]
struct Passwords {
    descriptors: BTreeMap<u32, Zeroizing<Vec<u8>>>,
}

impl Passwords {
    fn of(&mut self, file: &KeyFile, console: &Console) -> Result<Option<Password>, Failure> {
        let octets = match &file.password {
            None => return Ok(None),
            Some(PasswordSource::Literal(password)) => {
                console.warn("the password in :pass= is visible in the process list; use :file=, :fd= or :env=");
                Zeroizing::new(password.expose().to_vec())
            }
            Some(PasswordSource::File(path)) => return password_file(path).map(Some),
            Some(PasswordSource::Descriptor(number)) => match self.descriptors.get(number) {
                Some(octets) => octets.clone(),
                None => {
                    let octets = without_line_end(read_secret(&descriptor(*number)?)?);
                    self.descriptors.insert(*number, octets.clone());
                    octets
                }
            },
            Some(PasswordSource::Variable(name)) => variable(name)?,
        };
        Ok(Some(Password::new(octets)))
    }
}

/// Reads the secret number of a P-256 private key, for whoever splits it.
pub(crate) fn private_scalar(path: &Path) -> Result<Zeroizing<[u8; 32]>, Failure> {
    let key = crate::keyholders::operator::signing_key(path)?;
    let unusable = || {
        Failure::new(
            Code::Other,
            format!("cannot use the key in `{}`", path.display()),
        )
    };
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.expose_pkcs8())
        .map_err(|_| unusable())?;
    let octets: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().map_err(|_| unusable())?;
    let mut scalar = Zeroizing::new([0; 32]);
    let source = octets.as_ref();
    // Leading zeros may be left out.
    let start = scalar
        .len()
        .checked_sub(source.len())
        .ok_or_else(unusable)?;
    if let Some(target) = scalar.get_mut(start..) {
        target.copy_from_slice(source);
    }
    Ok(scalar)
}

fn customer_key(source: &KeySource) -> Result<CustomerKey, Failure> {
    let (key, place) = match source {
        KeySource::File(path) => (
            CustomerKey::from_file(&read_secret(path)?),
            format!("`{}`", path.display()),
        ),
        KeySource::Variable(name) => (
            CustomerKey::from_base64(&variable(name)?),
            format!("environment variable `{name}`"),
        ),
    };
    key.map_err(|error| {
        Failure::new(Code::Other, format!("cannot use the key in {place}"))
            .because(&error)
            .hint("`sealift keygen --type aes256 -o NAME` makes one")
    })
}

fn variable(name: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    match std::env::var_os(name) {
        Some(value) => Ok(Zeroizing::new(value.into_encoded_bytes())),
        None => Err(Failure::new(
            Code::Usage,
            format!("environment variable `{name}` is not set"),
        )),
    }
}

/// Reads a file of secrets, and refuses one that is open to others.
pub(crate) fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let (octets, permissions) = read_private(path)?;
    permissions?;
    Ok(octets)
}

/// Whether a file of secrets is open to others, and then the refusal.
pub(crate) type Permissions = Result<(), Failure>;

/// Reads a file of secrets; whether it is open to others is for the caller to weigh.
pub(crate) fn read_private(path: &Path) -> Result<(Zeroizing<Vec<u8>>, Permissions), Failure> {
    read(path, |file| check_private(path, file))
}

/// Reads a key file, at most [`MAX_FILE_LEN`] octets of it and one more, by which the parser sees that it is too long.
///
/// `check` is asked about the open file, not about the path, which might name another one by now.
fn read<T>(
    path: &Path,
    check: impl FnOnce(&File) -> T,
) -> Result<(Zeroizing<Vec<u8>>, T), Failure> {
    let mut file = File::open(path).map_err(|error| cannot_read(path, &error))?;
    let checked = check(&file);
    // Grown by hand a vector would leave copies of the key in freed memory.
    let mut octets = Zeroizing::new(Vec::with_capacity(MAX_FILE_LEN + 1));
    let mut limited = Read::take(&mut file, MAX_FILE_LEN as u64 + 1);
    limited
        .read_to_end(&mut octets)
        .map_err(|error| cannot_read(path, &error))?;
    Ok((octets, checked))
}

/// Refuses a file with secrets in it that other users of the machine can read or change.
///
/// Pipes have no permissions worth asking.
#[cfg(unix)]
fn check_private(path: &Path, file: &File) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;

    let metadata = file.metadata().map_err(|error| cannot_read(path, &error))?;
    let mode = metadata.permissions().mode() & 0o777;
    if metadata.is_file() && mode & FORBIDDEN_MODE != 0 {
        let what = format!(
            "`{}` can be read by other users of this machine (mode {mode:04o})",
            path.display()
        );
        return Err(Failure::new(Code::Other, what).hint(format!("chmod 600 {}", path.display())));
    }
    Ok(())
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "has a reason to fail on Unix")]
fn check_private(_: &Path, _: &File) -> Result<(), Failure> {
    Ok(())
}

/// Everything for others, and writing for the group. Reading for the group is how services share a key on purpose.
#[cfg(unix)]
const FORBIDDEN_MODE: u32 = 0o027;

#[cfg(unix)]
#[expect(
    clippy::unnecessary_wraps,
    reason = "there are no numbered descriptors on Windows"
)]
fn descriptor(number: u32) -> Result<PathBuf, Failure> {
    Ok(PathBuf::from(format!("/dev/fd/{number}")))
}

#[cfg(not(unix))]
fn descriptor(_: u32) -> Result<PathBuf, Failure> {
    Err(Failure::new(Code::Usage, ":fd= does not work on this system").hint("use :file= or :env="))
}

fn without_line_end(mut octets: Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>> {
    if octets.last() == Some(&b'\n') {
        octets.pop();
        if octets.last() == Some(&b'\r') {
            octets.pop();
        }
    }
    octets
}

fn cannot_read(path: &Path, error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::NotFound {
        return Failure::new(
            Code::NotFound,
            format!("key file `{}` does not exist", path.display()),
        )
        .hint("`sealift keygen -o NAME` makes a key");
    }
    Failure::new(
        Code::Other,
        format!("cannot read key file `{}`", path.display()),
    )
    .because(error)
}

fn bad_spec(error: &SpecError) -> Failure {
    Failure::of(Code::Usage, error)
}

pub(crate) fn bad_key(path: &Path, error: &KeyError) -> Failure {
    let code = match error {
        KeyError::PublicExpected
        | KeyError::PrivateExpected
        | KeyError::CertificateExpected
        | KeyError::NotForRsa
        | KeyError::PasswordMissing => Code::Usage,
        _ => Code::Other,
    };
    let hint = match error {
        KeyError::PublicExpected => Some("give the public key, NAME.pub.pem, or a certificate"),
        KeyError::PrivateExpected => Some("give the private key, NAME.pem"),
        KeyError::CertificateExpected => {
            Some("a public key without a certificate is given as jwe:FILE")
        }
        KeyError::NotForRsa => {
            Some("give it as jwe:FILE, which takes elliptic-curve keys and certificates")
        }
        KeyError::PasswordMissing => Some("append :file=PASSWORDFILE to the name of the key file"),
        KeyError::NotAKey => Some("a secret AES-256 key is given as aes256:FILE"),
        _ => None,
    };
    let failure =
        Failure::new(code, format!("cannot use key file `{}`", path.display())).because(error);
    failure.or_hint(hint)
}

fn unsupported(scheme: &str) -> Failure {
    Failure::new(
        Code::Usage,
        format!("`{scheme}:` is not supported by this version"),
    )
    .hint("use a public or private key file (jwe:), a certificate (pkcs7:), an OpenPGP key (pgp:), a token (pkcs11:), aes256:, holders: or provider:")
}

fn recipient_scheme(spec: &RecipientSpec) -> &'static str {
    match spec {
        RecipientSpec::Kms(_) => "kms",
        _ => "this kind",
    }
}

fn identity_scheme(spec: &IdentitySpec) -> &'static str {
    match spec {
        IdentitySpec::Kms(_) => "kms",
        _ => "this kind",
    }
}
