//! `sealift holder init|join|serve|backup|restore`

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use sealift_holder::descriptor::{self, Administrator};
use sealift_holder::server::Limits;
use sealift_holder::server::routes::{Options, start};
use sealift_holder::server::sealing::{Cost, SealingError};
use sealift_holder::server::secrets::SecretsError;
use sealift_holder::setup::{self, Init, SealSource, SetupError};
use sealift_holder::statement::HolderDescriptor;
use sealift_threshold::HolderId;
use serde_json::json;
use zeroize::Zeroizing;

use super::{clock, lifetime, log, now_ms, operator, runtime};
use crate::args::{
    HolderBackupArgs, HolderInitArgs, HolderJoinArgs, HolderRestoreArgs, HolderServeArgs, SealArgs,
    SealFrom,
};
use crate::console::{Console, Form};
use crate::exit::{Code, Failure};
use crate::files::read_limited;
use crate::keys::password_file;
use crate::report::SCHEMA_VERSION;

pub(crate) fn init(args: &HolderInitArgs, console: &Console) -> Result<(), Failure> {
    let passphrase = passphrase(&args.seal, &args.dir)?;
    let mut administrators = Vec::new();
    for path in &args.administrators {
        administrators.push(Administrator {
            name: name_of(path),
            key: operator::public_key(path)?,
        });
    }
    let url = args
        .url
        .clone()
        .unwrap_or_else(|| format!("https://{}", args.listen));
    let deployment = match &args.joining {
        Some(path) => Some(peer(&read_limited(path, MAX_DESCRIPTOR_LEN)?)?.deployment),
        None => None,
    };
    let envelope = make(
        &args.dir,
        &Init {
            deployment,
            name: &args.name,
            index: HolderId::new(args.index.get())
                .ok_or_else(|| Failure::new(Code::Usage, "--index is 1 to 255"))?,
            jurisdiction: &args.jurisdiction,
            listen: &args.listen.to_string(),
            url: &url,
            seal: &args.seal.source(),
            administrators: &administrators,
        },
        &passphrase,
    )?;
    let fingerprint = fingerprint(&envelope)?;
    console.note(&format!(
        "made holder `{}`, fingerprint {fingerprint}; next: sealift holder join --dir {} OTHER.json…",
        args.name,
        args.dir.display()
    ));
    match console.form {
        Form::Json => console.result_json(&json!({
            "schemaVersion": SCHEMA_VERSION,
            "name": args.name,
            "deployment": peer(&envelope)?.deployment,
            "fingerprint": fingerprint,
            "descriptor": String::from_utf8_lossy(&envelope),
        })),
        Form::Text => console.result(&[&envelope, &b"\n"[..]].concat()),
    }
}

/// Makes a holder; returns its signed descriptor.
pub(crate) fn make(dir: &Path, init: &Init<'_>, passphrase: &[u8]) -> Result<Vec<u8>, Failure> {
    setup::init(
        dir,
        init,
        passphrase,
        Cost::STANDARD,
        now_ms(),
        &SystemRandom::new(),
    )
    .map_err(|error| setup_failure(&error))
}

/// Makes a holder know others by their descriptors; its own is passed over.
pub(crate) fn introduce(dir: &Path, envelopes: &[&[u8]]) -> Result<(), Failure> {
    setup::join(dir, envelopes).map_err(|error| setup_failure(&error))
}

pub(crate) fn join(args: &HolderJoinArgs, console: &Console) -> Result<(), Failure> {
    let mut envelopes = Vec::new();
    for path in &args.descriptors {
        envelopes.push(read_limited(path, MAX_DESCRIPTOR_LEN)?);
    }
    let borrowed: Vec<&[u8]> = envelopes.iter().map(|octets| octets.as_slice()).collect();
    introduce(&args.dir, &borrowed)?;
    let config = setup::load(&args.dir).map_err(|error| setup_failure(&error))?;
    let mut peers = Vec::new();
    for (path, envelope) in args.descriptors.iter().zip(&envelopes) {
        let peer = peer(envelope)?;
        if peer.name != config.me.name {
            peers.push((
                peer.name,
                fingerprint(envelope)?,
                path.display().to_string(),
            ));
        }
    }
    match console.form {
        Form::Json => {
            let peers: Vec<_> = peers
                .iter()
                .map(|(name, fingerprint, _)| json!({"name": name, "fingerprint": fingerprint}))
                .collect();
            console.result_json(&json!({"schemaVersion": SCHEMA_VERSION, "peers": peers}))
        }
        Form::Text => {
            let lines: Vec<String> = peers
                .iter()
                .map(|(name, fingerprint, _)| format!("{name}  {fingerprint}\n"))
                .collect();
            console.note("compare these fingerprints with those that the holders' `init` printed");
            console.result(lines.concat().as_bytes())
        }
    }
}

pub(crate) fn serve(args: &HolderServeArgs, console: &Console) -> Result<(), Failure> {
    log::begin();
    let limits = prepare_process()?;
    let config = setup::load(&args.dir).map_err(|error| setup_failure(&error))?;
    let passphrase = passphrase(&args.seal, &args.dir)?;
    let listen = config.listen.parse().map_err(|_| {
        Failure::new(
            Code::Usage,
            format!("`{}` is not an address with a port", config.listen),
        )
    })?;
    let opened = setup::open(&args.dir, &passphrase).map_err(|error| setup_failure(&error))?;
    drop(passphrase);
    let options = Options {
        listen,
        local: args.local,
        clock: clock(),
        rng: Arc::new(SystemRandom::new()),
        quota: config.quota,
        ntp: config.ntp,
        limits,
    };
    let runtime = runtime()?;
    runtime.block_on(async {
        let mut end = lifetime::End::listen(args.ends_with_stdin)?;
        let launched = start(opened, options)
            .await
            .map_err(|error| Failure::of(Code::Other, &error))?;
        // Its own folder tells who it is: whoever restarts it must find the same process to stop.
        console.result(
            format!(
                "{} listening on {}\n",
                config.me.name,
                launched.running().addr()
            )
            .as_bytes(),
        )?;
        end.wait().await;
        launched.shutdown().await;
        Ok(())
    })
}

/// Sees to it that shares get into no core file, and that connections do not take the files that store and peers need.
#[cfg(unix)]
fn prepare_process() -> Result<Limits, Failure> {
    sealift_sys::no_core_dumps().map_err(|error| {
        Failure::new(Code::Other, "cannot forbid core files of this process").because(&error)
    })?;
    let files = sealift_sys::raise_open_files().map_err(|error| {
        Failure::new(Code::Other, "cannot have more files open").because(&error)
    })?;
    let limits = Limits::default();
    let room = files.map_or(usize::MAX, |files| {
        usize::try_from(files).unwrap_or(usize::MAX)
    });
    Ok(Limits {
        connections: limits
            .connections
            .min(room.saturating_sub(OTHER_FILES).max(1)),
        ..limits
    })
}

/// Elsewhere both are for the system to settle.
#[cfg(not(unix))]
fn prepare_process() -> Result<Limits, Failure> {
    Ok(Limits::default())
}

pub(crate) fn backup(args: &HolderBackupArgs, console: &Console) -> Result<(), Failure> {
    setup::backup(&args.dir, &args.file).map_err(|error| setup_failure(&error))?;
    done(console, &args.file)
}

pub(crate) fn restore(args: &HolderRestoreArgs, console: &Console) -> Result<(), Failure> {
    setup::restore(&args.dir, &args.file).map_err(|error| setup_failure(&error))?;
    done(console, &args.dir)
}

fn done(console: &Console, path: &Path) -> Result<(), Failure> {
    console.note(&format!("wrote {}", path.display()));
    match console.form {
        Form::Json => console.result_json(&json!({
            "schemaVersion": SCHEMA_VERSION,
            "path": path.display().to_string(),
        })),
        Form::Text => Ok(()),
    }
}

/// The name of a public key's owner: that of its file, `NAME.pub.pem`.
fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split('.').next().unwrap_or_default().to_owned()
}

/// What a holder's signed descriptor says.
fn peer(envelope: &[u8]) -> Result<HolderDescriptor, Failure> {
    descriptor::read_holder_descriptor(envelope)
        .map_err(|error| Failure::of(Code::Integrity, &error))
}

/// The fingerprint of the key with which a holder signs.
fn fingerprint(envelope: &[u8]) -> Result<String, Failure> {
    let descriptor = peer(envelope)?;
    let key = sealift_holder::keys::PublicKey::from_spki(&descriptor.signing_key.0)
        .map_err(|error| Failure::of(Code::Integrity, &error))?;
    Ok(key.fingerprint())
}

impl SealArgs {
    fn source(&self) -> SealSource {
        match &self.seal {
            SealFrom::Passphrase => SealSource::Passphrase,
            SealFrom::Credential(name) => SealSource::Credential(name.clone()),
        }
    }
}

/// Fetches the passphrase that everything secret of a holder is sealed under.
fn passphrase(args: &SealArgs, dir: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let path = match &args.seal {
        SealFrom::Credential(name) => {
            let folder = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                Failure::new(
                    Code::Usage,
                    "the environment variable CREDENTIALS_DIRECTORY is not set",
                )
                .hint("systemd sets it for units with LoadCredential=")
            })?;
            PathBuf::from(folder).join(name)
        }
        SealFrom::Passphrase => match &args.passphrase_file {
            Some(path) => path.clone(),
            None => dir.join(PASSPHRASE),
        },
    };
    if matches!(args.seal, SealFrom::Passphrase)
        && args.passphrase_file.is_none()
        && !fs::exists(&path).unwrap_or(false)
    {
        return Err(
            Failure::new(Code::Usage, "the passphrase of the holder is needed")
                .hint("give it as --passphrase-file FILE"),
        );
    }
    let password = password_file(&path)?;
    if password.expose().is_empty() {
        return Err(Failure::new(
            Code::Usage,
            format!("`{}` is empty", path.display()),
        ));
    }
    Ok(Zeroizing::new(password.expose().to_vec()))
}

fn setup_failure(error: &SetupError) -> Failure {
    let (code, hint) = match error {
        SetupError::Value { .. } | SetupError::Administrators | SetupError::Exists { .. } => {
            (Code::Usage, None)
        }
        SetupError::File { source, .. } if source.kind() == std::io::ErrorKind::NotFound => (
            Code::NotFound,
            Some("`sealift holder init --dir DIR …` makes a holder"),
        ),
        SetupError::Secrets(SecretsError::Sealing(SealingError::WrongPassphrase)) => (
            Code::Denied,
            Some("give the passphrase that `sealift holder init` was given"),
        ),
        SetupError::InUse { .. } => (
            Code::Usage,
            Some("stop that `sealift holder serve` first; `holder backup` works while it runs"),
        ),
        SetupError::OtherDeployment { .. } => (
            Code::Integrity,
            Some(
                "make it again with `sealift holder init --joining FIRST.json`, the descriptor of a holder of this deployment",
            ),
        ),
        SetupError::Peer { .. } | SetupError::OtherHolder | SetupError::NotABackup => {
            (Code::Integrity, None)
        }
        _ => (Code::Other, None),
    };
    Failure::of(code, error).or_hint(hint)
}

/// Where a deployment for trials keeps the passphrase of a holder, and where it is looked for.
pub(crate) const PASSPHRASE: &str = "passphrase";
/// Files and sockets that are no connections of callers: store, peers, metrics, log.
#[cfg(unix)]
const OTHER_FILES: usize = 256;
/// Longest descriptor of a holder.
const MAX_DESCRIPTOR_LEN: usize = 64 * 1024;
