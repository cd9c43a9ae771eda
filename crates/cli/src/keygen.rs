//! `sealift keygen`

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use sealift_keywrap::customer_key::CustomerKey;
use sealift_keywrap::keys::{KeyType, generate};
use sealift_keywrap::xwing::XWingPrivateKey;
use serde_json::json;

use crate::args::{KeyKind, KeygenArgs};
use crate::console::{Console, Form};
use crate::exit::{Code, Failure};
use crate::files::{NewFile, Readers, check_free, publish};
use crate::keys::password_file;
use crate::report::SCHEMA_VERSION;

pub(crate) fn run(args: &KeygenArgs, console: &Console) -> Result<(), Failure> {
    let made = match args.kind {
        KeyKind::P256 => pair(args, KeyType::P256),
        KeyKind::P384 => pair(args, KeyType::P384),
        KeyKind::P521 => pair(args, KeyType::P521),
        KeyKind::Rsa3072 => pair(args, KeyType::Rsa3072),
        KeyKind::Rsa4096 => pair(args, KeyType::Rsa4096),
        KeyKind::Xwing => hybrid(args, console),
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

/// Makes an X-Wing pair; there is no standard form for encrypting one.
fn hybrid(args: &KeygenArgs, console: &Console) -> Result<Made, Failure> {
    if args.passphrase_file.is_some() {
        return Err(Failure::new(
            Code::Usage,
            "--passphrase-file does not work with --type xwing",
        )
        .hint("keep the key file where only you can read it"));
    }
    let private = with_ending(&args.output, ".pem");
    let public = with_ending(&args.output, ".pub.pem");
    check_free(&private)?;
    check_free(&public)?;
    let key = XWingPrivateKey::generate().map_err(|error| Failure::of(Code::Other, &error))?;
    let fingerprint = key.public().key_id().to_owned();
    let paths = publish(vec![
        NewFile::prepare(private, key.to_pem().as_bytes(), Readers::Owner)?,
        NewFile::prepare(public, key.public().to_pem().as_bytes(), Readers::Everybody)?,
    ])?;
    console.note("X-Wing is a draft: a later release may not open what is sealed for this key, and no other tool does; seal for a second recipient, too");
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

fn with_ending(name: &Path, ending: &str) -> PathBuf {
    let mut path = OsString::from(name);
    path.push(ending);
    path.into()
}
