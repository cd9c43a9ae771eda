//! `sealift key split` and `sealift key combine`: a file in shares, some of which bring it back. No holder is involved.
//!
//! What is shared is the length of the file in four octets, the file, its SHA-256, and zeros up to a multiple of 32
//! octets: the digest tells wrong shares from right ones, and being shared itself it tells nobody anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use sealift_holder::Octets;
use sealift_threshold::{HolderId, gf256};
use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::Zeroizing;

use crate::args::{KeyCombineArgs, KeySplitArgs};
use crate::console::{Console, Form};
use crate::exit::{Code, Failure};
use crate::files::{NewFile, Readers, check_free, publish, read_limited, write_new};
use crate::report::SCHEMA_VERSION;

/// One share, as it stands in its file.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ShareFile {
    v: u8,
    scheme: String,
    /// Sixteen random octets: which shares belong together.
    set: Octets,
    index: HolderId,
    threshold: u8,
    shares: u8,
    share: Octets,
}

pub(crate) fn split(args: &KeySplitArgs, console: &Console) -> Result<(), Failure> {
    if args.threshold > args.shares {
        return Err(Failure::new(
            Code::Usage,
            "more shares are demanded (-t) than there are (-n)",
        ));
    }
    let name = args
        .file
        .file_name()
        .ok_or_else(|| {
            Failure::new(
                Code::Usage,
                format!("`{}` is not a file", args.file.display()),
            )
        })?
        .to_string_lossy()
        .into_owned();
    let content = read_limited(&args.file, MAX_FILE_LEN)?;
    let rng = SystemRandom::new();
    let mut set = vec![0; SET_LEN];
    rng.fill(&mut set)
        .map_err(|_| Failure::new(Code::Other, "the system gives no random octets"))?;
    let shares = shares_of(&content, args.threshold, args.shares, &rng)?;
    fs::create_dir_all(&args.output)
        .map_err(|error| crate::files::cannot_write(&args.output, &error))?;
    let mut files = Vec::new();
    for (index, share) in shares {
        let path = args.output.join(format!("{name}.{index}.share"));
        check_free(&path)?;
        let mut file = ShareFile {
            v: 1,
            scheme: SCHEME.to_owned(),
            set: Octets(set.clone()),
            index,
            threshold: args.threshold,
            shares: args.shares,
            share: Octets(share.to_vec()),
        };
        let text = serde_json::to_vec(&file).map(Zeroizing::new);
        zeroize::Zeroize::zeroize(&mut file.share.0);
        let mut text = text.map_err(|error| Failure::of(Code::Other, &error))?;
        text.push(b'\n');
        files.push(NewFile::prepare(path, &text, Readers::Owner)?);
    }
    let paths: Vec<String> = publish(files)?
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    console.note(&format!(
        "any {} of these bring the file back; bring them to different places",
        args.threshold
    ));
    match console.form {
        Form::Json => console.result_json(&json!({
            "schemaVersion": SCHEMA_VERSION,
            "threshold": args.threshold,
            "shares": paths,
        })),
        Form::Text => console.result(format!("{}\n", paths.join("\n")).as_bytes()),
    }
}

pub(crate) fn combine(args: &KeyCombineArgs, console: &Console) -> Result<(), Failure> {
    check_free(&args.output)?;
    let mut read: Vec<(PathBuf, ShareFile)> = Vec::new();
    for path in share_files(&args.shares)? {
        let text = read_limited(&path, MAX_SHARE_LEN)?;
        let file: ShareFile =
            serde_json::from_slice(&text).map_err(|error| not_a_share(&path).because(&error))?;
        if file.v != 1
            || file.scheme != SCHEME
            || !file.share.0.len().is_multiple_of(gf256::SECRET_LEN)
        {
            return Err(not_a_share(&path));
        }
        read.push((path, file));
    }
    let Some((first_path, first)) = read.first() else {
        return Err(Failure::new(
            Code::NotFound,
            "there are no shares in what was given",
        ));
    };
    let mut chosen: BTreeMap<HolderId, &ShareFile> = BTreeMap::new();
    for (path, file) in &read {
        let same = (&file.set, file.threshold, file.share.0.len())
            == (&first.set, first.threshold, first.share.0.len());
        if !same {
            let what = format!(
                "`{}` and `{}` are shares of different files",
                first_path.display(),
                path.display()
            );
            return Err(Failure::new(Code::Usage, what)
                .hint("give the shares of one run of `sealift key split` only"));
        }
        if let Some(other) = chosen.insert(file.index, file)
            && other.share != file.share
        {
            let what = format!("there are two different shares number {}", file.index);
            return Err(
                Failure::new(Code::Integrity, what).hint("one of them is damaged; leave one out")
            );
        }
    }
    if chosen.len() < usize::from(first.threshold) {
        let what = format!(
            "{} different shares are here, and {} bring the file back",
            chosen.len(),
            first.threshold
        );
        return Err(Failure::new(Code::Usage, what));
    }
    let content = content_of(&chosen)?;
    write_new(&args.output, &content, Readers::Owner)?;
    console.note(&format!("wrote {}", args.output.display()));
    match console.form {
        Form::Json => console.result_json(&json!({
            "schemaVersion": SCHEMA_VERSION,
            "file": args.output.display().to_string(),
            "used": chosen.keys().collect::<Vec<_>>(),
        })),
        Form::Text => Ok(()),
    }
}

/// Shares the file block by block.
fn shares_of(
    content: &[u8],
    threshold: u8,
    count: u8,
    rng: &dyn SecureRandom,
) -> Result<BTreeMap<HolderId, Zeroizing<Vec<u8>>>, Failure> {
    let holders: BTreeSet<HolderId> = (1..=count).filter_map(HolderId::new).collect();
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let framed_len = LENGTH_LEN + content.len() + DIGEST_LEN;
    let padded_len = framed_len.next_multiple_of(gf256::SECRET_LEN);
    let mut framed = Zeroizing::new(Vec::with_capacity(padded_len));
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(content);
    framed.extend_from_slice(digest(&SHA256, content).as_ref());
    framed.resize(padded_len, 0);
    let mut shares: BTreeMap<HolderId, Zeroizing<Vec<u8>>> = holders
        .iter()
        .map(|&holder| (holder, Zeroizing::new(Vec::with_capacity(padded_len))))
        .collect();
    for block in framed.as_chunks::<{ gf256::SECRET_LEN }>().0 {
        let parts = gf256::split(block, threshold, &holders, rng)
            .map_err(|error| Failure::of(Code::Other, &error))?;
        for (holder, part) in parts {
            if let Some(share) = shares.get_mut(&holder) {
                share.extend_from_slice(&*part);
            }
        }
    }
    Ok(shares)
}

/// Brings the file back, if these are its shares.
fn content_of(shares: &BTreeMap<HolderId, &ShareFile>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let length = shares
        .values()
        .map(|file| file.share.0.len())
        .min()
        .unwrap_or_default();
    let mut framed = Zeroizing::new(Vec::with_capacity(length));
    for block in 0..length / gf256::SECRET_LEN {
        let parts: BTreeMap<HolderId, gf256::Octets> = shares
            .iter()
            .filter_map(|(&holder, file)| {
                let part = file
                    .share
                    .0
                    .as_chunks::<{ gf256::SECRET_LEN }>()
                    .0
                    .get(block)?;
                Some((holder, Zeroizing::new(*part)))
            })
            .collect();
        framed.extend_from_slice(&*gf256::combine(&parts));
    }
    let damaged = || {
        Failure::new(
            Code::Integrity,
            "the shares do not fit together: at least one is damaged",
        )
        .hint("leave one share after the other out, as far as there are enough")
    };
    let (length, rest) = framed
        .split_first_chunk::<LENGTH_LEN>()
        .ok_or_else(damaged)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| damaged())?;
    let (content, rest) = rest.split_at_checked(length).ok_or_else(damaged)?;
    let expected = rest.get(..DIGEST_LEN).ok_or_else(damaged)?;
    if digest(&SHA256, content).as_ref() != expected {
        return Err(damaged());
    }
    Ok(Zeroizing::new(content.to_vec()))
}

/// The files that were named, and those with the ending of shares in folders that were named.
fn share_files(given: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in given {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let cannot = |error: &std::io::Error| {
            Failure::new(Code::Other, format!("cannot read `{}`", path.display())).because(error)
        };
        let mut found = Vec::new();
        for entry in fs::read_dir(path).map_err(|error| cannot(&error))? {
            let path = entry.map_err(|error| cannot(&error))?.path();
            if path.extension().is_some_and(|ending| ending == "share") {
                found.push(path);
            }
        }
        found.sort();
        files.append(&mut found);
    }
    Ok(files)
}

fn not_a_share(path: &Path) -> Failure {
    Failure::new(
        Code::Other,
        format!("`{}` is not a share of `sealift key split`", path.display()),
    )
}

const SCHEME: &str = "shamir-gf256";
const SET_LEN: usize = 16;
const LENGTH_LEN: usize = 4;
const DIGEST_LEN: usize = 32;
/// Longest file that is split.
const MAX_FILE_LEN: usize = 1024 * 1024;
/// Longest file that can be a share: base64 and a little around it.
const MAX_SHARE_LEN: usize = 2 * MAX_FILE_LEN;
