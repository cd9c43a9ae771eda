//! `sealift keygen`

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sealift_keywrap::customer_key::CustomerKey;
use sealift_keywrap::keys::{KeyType, generate};
use serde_json::json;
use tempfile::{Builder, NamedTempFile};

use crate::args::{KeyKind, KeygenArgs};
use crate::console::{Console, Form};
use crate::exit::{Code, Failure};
use crate::keys::password_file;
use crate::report::SCHEMA_VERSION;

pub(crate) fn run(args: &KeygenArgs, console: &Console) -> Result<(), Failure> {
    let made = match args.kind {
        KeyKind::P256 => pair(args, KeyType::P256),
        KeyKind::P384 => pair(args, KeyType::P384),
        KeyKind::P521 => pair(args, KeyType::P521),
        KeyKind::Rsa3072 => pair(args, KeyType::Rsa3072),
        KeyKind::Rsa4096 => pair(args, KeyType::Rsa4096),
        KeyKind::Aes256 => secret(args),
    }?;
    let paths: Vec<String> = made
        .paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    console.note(&format!("wrote {}", paths.join(" and ")));
    match console.form {
        Form::Json => console.result_json(&json!({
            "schemaVersion": SCHEMA_VERSION,
            "fingerprint": made.fingerprint,
            "privateKey": paths.first(),
            "publicKey": paths.get(1),
        })),
        Form::Text => console.result(format!("{}\n", made.fingerprint).as_bytes()),
    }
}

/// A new key whose files have been written, the private one first.
struct Made {
    fingerprint: String,
    paths: Vec<PathBuf>,
}

fn pair(args: &KeygenArgs, kind: KeyType) -> Result<Made, Failure> {
    let password = args
        .passphrase_file
        .as_deref()
        .map(password_file)
        .transpose()?;
    let private = with_ending(&args.output, ".pem");
    let public = with_ending(&args.output, ".pub.pem");
    check_free(&private)?;
    check_free(&public)?;
    let key =
        generate(kind, password.as_ref()).map_err(|error| Failure::of(Code::Other, &error))?;
    let fingerprint = key.fingerprint.clone();
    let paths = publish(vec![
        NewFile::prepare(private, key.private_pem.as_bytes(), Readers::Owner)?,
        NewFile::prepare(public, key.public_pem.as_bytes(), Readers::Everybody)?,
    ])?;
    Ok(Made { fingerprint, paths })
}

fn secret(args: &KeygenArgs) -> Result<Made, Failure> {
    if args.passphrase_file.is_some() {
        return Err(Failure::new(
            Code::Usage,
            "--passphrase-file does not work with --type aes256",
        )
        .hint("the key file holds the key itself; keep it where only you can read it"));
    }
    let path = with_ending(&args.output, ".key");
    check_free(&path)?;
    let key = CustomerKey::generate().map_err(|error| Failure::of(Code::Other, &error))?;
    let paths = publish(vec![NewFile::prepare(
        path,
        key.to_file().as_bytes(),
        Readers::Owner,
    )?])?;
    Ok(Made {
        fingerprint: key.key_id().to_owned(),
        paths,
    })
}

/// A complete file beside its place. It vanishes unless it is published.
struct NewFile {
    path: PathBuf,
    content: NamedTempFile,
}

/// Who may read a new file.
#[derive(Clone, Copy)]
enum Readers {
    Owner,
    Everybody,
}

impl NewFile {
    fn prepare(path: PathBuf, octets: &[u8], readers: Readers) -> Result<Self, Failure> {
        let write = || -> io::Result<NamedTempFile> {
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            // Temporary files are made with mode 0600 and O_EXCL.
            let mut file = Builder::new()
                .prefix(".sealift-")
                .tempfile_in(folder.unwrap_or(Path::new(".")))?;
            file.write_all(octets)?;
            #[cfg(unix)]
            if let Readers::Everybody = readers {
                use std::os::unix::fs::PermissionsExt;
                file.as_file()
                    .set_permissions(fs::Permissions::from_mode(0o644))?;
            }
            #[cfg(not(unix))]
            let _ = readers;
            file.as_file().sync_all()?;
            Ok(file)
        };
        let content = write().map_err(|error| cannot_write(&path, &error))?;
        Ok(Self { path, content })
    }
}

/// Gives the files their names: all, or none. A name that is taken by now is not overwritten.
fn publish(files: Vec<NewFile>) -> Result<Vec<PathBuf>, Failure> {
    let mut published: Vec<PathBuf> = Vec::new();
    for file in files {
        if let Err(error) = file.content.persist_noclobber(&file.path) {
            for path in &published {
                // These are ours: no other program could have had the name.
                let _ = fs::remove_file(path);
            }
            return Err(match error.error.kind() {
                io::ErrorKind::AlreadyExists => taken(&file.path),
                _ => cannot_write(&file.path, &error.error),
            });
        }
        published.push(file.path);
    }
    Ok(published)
}

fn check_free(path: &Path) -> Result<(), Failure> {
    match path.symlink_metadata() {
        Ok(_) => Err(taken(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(cannot_write(path, &error)),
    }
}

fn taken(path: &Path) -> Failure {
    Failure::new(
        Code::Other,
        format!(
            "`{}` exists, and keys are never overwritten",
            path.display()
        ),
    )
    .hint("choose another name with -o NAME")
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Code::Other, format!("cannot write `{}`", path.display())).because(error)
}

fn with_ending(name: &Path, ending: &str) -> PathBuf {
    let mut path = OsString::from(name);
    path.push(ending);
    path.into()
}
