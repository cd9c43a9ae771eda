//! Keys of people: making, reading, and what is signed with them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sealift_holder::certificate::{self, Validity};
use sealift_holder::command::Order;
use sealift_holder::keys::{PublicKey, SigningKey};
use sealift_holder::tls::Credential;
use serde_json::json;

use super::change::{Approval, Submitted, speaker};
use super::now_ms;
use super::session::Session;
use crate::args::{OperatorGrantArgs, OperatorNewArgs, OperatorWithdrawArgs, RoleName};
use crate::console::{Console, Form};
use crate::exit::{Code, Failure};
use crate::files::{NewFile, Readers, check_free, publish, read_limited};
use crate::keys::read_secret;
use crate::report::SCHEMA_VERSION;

pub(crate) fn new(args: &OperatorNewArgs, console: &Console) -> Result<(), Failure> {
    let (fingerprint, paths) = make(&args.output, &args.name)?;
    let paths: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    console.note(&format!("wrote {}", paths.join(", ")));
    match console.form {
        Form::Json => console.result_json(&json!({
            "schemaVersion": SCHEMA_VERSION,
            "fingerprint": fingerprint,
            "privateKey": paths.first(),
            "publicKey": paths.get(1),
            "certificate": paths.get(2),
        })),
        Form::Text => console.result(format!("{fingerprint}\n").as_bytes()),
    }
}

/// Makes key, public key and certificate of an operator; returns the fingerprint and the files.
pub(crate) fn make(folder: &Path, name: &str) -> Result<(String, Vec<PathBuf>), Failure> {
    if !sealift_holder::names::is_name(name) {
        return Err(
            Failure::new(Code::Usage, format!("`{name}` cannot name an operator"))
                .hint("use small letters, digits and hyphens, at most 31"),
        );
    }
    let path = |ending: &str| folder.join(format!("{name}.{ending}"));
    let paths = [path("pem"), path("pub.pem"), path("crt")];
    paths.iter().try_for_each(|path| check_free(path))?;
    let key = SigningKey::generate().map_err(|error| Failure::of(Code::Other, &error))?;
    let validity = Validity::from(now_ms() / 1000, certificate::AUTHORITY_LIFETIME);
    let certificate = certificate::operator(name, &key, validity)
        .map_err(|error| Failure::of(Code::Other, &error))?;
    std::fs::create_dir_all(folder).map_err(|error| crate::files::cannot_write(folder, &error))?;
    let [private, public, chain] = paths;
    let files = publish(vec![
        NewFile::prepare(private, key.expose_pem().as_bytes(), Readers::Owner)?,
        NewFile::prepare(public, key.public().to_pem().as_bytes(), Readers::Everybody)?,
        NewFile::prepare(chain, certificate.as_bytes(), Readers::Everybody)?,
    ])?;
    Ok((key.fingerprint(), files))
}

/// Reads a private key that signs.
pub(crate) fn signing_key(path: &Path) -> Result<SigningKey, Failure> {
    let octets = read_secret(path)?;
    let text = std::str::from_utf8(&octets).unwrap_or_default();
    SigningKey::from_pem(text).map_err(|error| {
        Failure::new(Code::Usage, format!("cannot sign with `{}`", path.display()))
            .because(&error)
            .hint("`sealift operator new NAME` makes a key, NAME.pem; it must be P-256 and without passphrase")
    })
}

/// Reads a public key that others sign with.
pub(crate) fn public_key(path: &Path) -> Result<PublicKey, Failure> {
    let octets = read_limited(path, MAX_LEN)?;
    let text = std::str::from_utf8(&octets).unwrap_or_default();
    PublicKey::from_pem(text).map_err(|error| {
        Failure::new(
            Code::Usage,
            format!("cannot use the public key in `{}`", path.display()),
        )
        .because(&error)
        .hint("give NAME.pub.pem of `sealift operator new NAME`")
    })
}

/// Certificate, as PEM, and private key with which somebody speaks to holders.
pub(crate) struct Credentials {
    pub(crate) certificate: String,
    pub(crate) key: SigningKey,
}

impl Credentials {
    /// What connections show.
    pub(crate) fn shown(&self) -> Result<Arc<Credential>, Failure> {
        Credential::new(&self.certificate, &self.key).map_err(|error| {
            Failure::of(Code::Other, &error)
                .hint("certificate and private key must belong together")
        })
    }
}

/// Reads the private key of an operator, and the certificate beside it.
pub(crate) fn credentials(key: &Path) -> Result<Credentials, Failure> {
    let certificate = read_limited(&key.with_extension("crt"), MAX_LEN).map_err(|failure| {
        failure.or_hint(Some(
            "NAME.crt of `sealift operator new NAME` must stand beside NAME.pem",
        ))
    })?;
    Ok(Credentials {
        certificate: String::from_utf8_lossy(&certificate).into_owned(),
        key: signing_key(key)?,
    })
}

/// `operator grant` and `operator withdraw`: what an operator may do.
pub(crate) fn grant(args: &OperatorGrantArgs, console: &Console) -> Result<(), Failure> {
    let approval = Approval::read(&args.change)?;
    let speaker = speaker(args.identity.operator.as_ref(), &args.change);
    let session = Session::open(args.deployment.file.as_deref(), speaker)?;
    let key = public_key(&args.key)?;
    assign(&session, &args.name, &key, Some(args.role), &approval)?.show(console)
}

pub(crate) fn withdraw(args: &OperatorWithdrawArgs, console: &Console) -> Result<(), Failure> {
    let approval = Approval::read(&args.change)?;
    let speaker = speaker(args.identity.operator.as_ref(), &args.change);
    let session = Session::open(args.deployment.file.as_deref(), speaker)?;
    let key = public_key(&args.key)?;
    assign(&session, &args.name, &key, None, &approval)?.show(console)
}

/// Gives an operator a role, or takes it away.
pub(crate) fn assign(
    session: &Session,
    name: &str,
    key: &PublicKey,
    role: Option<RoleName>,
    approval: &Approval,
) -> Result<Submitted, Failure> {
    let order = Order::Role {
        spki: key.spki().into(),
        role: role.map(|role| role.as_str().to_owned()),
    };
    session.submit(&format!("operator:{name}"), order, approval)
}

/// Longest file with a public key or certificates.
const MAX_LEN: usize = 64 * 1024;
