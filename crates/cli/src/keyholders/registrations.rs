//! `sealift key register`

use std::path::Path;

use sealift_holder::Octets;
use sealift_holder::wire::{MAX_WRAPS, RegistrationRequest};
use sealift_keywrap::Scheme;
use sealift_threshold::UnlabelledWrap;
use serde_json::json;

use super::group_keys::current;
use super::session::{Session, failure_of};
use crate::args::{KeyRegisterArgs, RegistryArgs};
use crate::console::{Console, Form};
use crate::exit::{Code, Failure};
use crate::files::read_limited;
use crate::places::{parse, transport};
use crate::report::SCHEMA_VERSION;

pub(crate) fn register(args: &KeyRegisterArgs, console: &Console) -> Result<(), Failure> {
    let mut epks = Vec::new();
    for what in &args.what {
        epks.extend(ephemeral_keys(what, &args.registry)?);
    }
    let operator = args.identity.operator.as_deref();
    let session = Session::open(args.deployment.file.as_deref(), operator)?;
    let epoch = match args.epoch {
        Some(epoch) => epoch,
        None => current(&session, &args.id)?.epoch(),
    };
    let mut wraps: Vec<String> = Vec::new();
    let (mut told, mut failed) = (Vec::new(), None);
    for (name, client) in session.clients() {
        wraps.clear();
        let mut missed = None;
        // What one request cannot carry is in several; a holder that knows a part takes the rest the next time.
        for epks in epks.chunks(MAX_WRAPS) {
            let request = RegistrationRequest {
                epoch,
                repo: args.repo.clone(),
                epks: epks.to_vec(),
            };
            match session
                .runtime
                .block_on(client.register(&args.id, &request))
            {
                Ok(answer) => {
                    let digests = answer.wrap_digests.iter();
                    wraps.extend(digests.map(|digest| super::hex(&digest.0)));
                }
                Err(error) => {
                    missed = Some(failure_of(name, &error));
                    break;
                }
            }
        }
        match missed {
            None => told.push(name),
            Some(failure) => failed = Some(failure),
        }
    }
    if let Some(failure) = failed {
        let holders = match told.as_slice() {
            [] => "no holder".to_owned(),
            told => told.join(", "),
        };
        console.note(&format!("registered at {holders} only"));
        return Err(failure.or_hint(Some("run the same command again when all holders answer")));
    }
    match console.form {
        Form::Json => console.result_json(&json!({
            "schemaVersion": SCHEMA_VERSION,
            "key": args.id,
            "epoch": epoch,
            "repo": args.repo,
            "wraps": wraps,
            "holders": told,
        })),
        Form::Text => {
            console.note(&format!("registered at {}", told.join(", ")));
            let lines: Vec<String> = wraps.iter().map(|wrap| format!("{wrap}\n")).collect();
            console.result(lines.concat().as_bytes())
        }
    }
}

/// The ephemeral keys of a file with a JWE, or of all sealed layers of an image.
fn ephemeral_keys(what: &str, registry: &RegistryArgs) -> Result<Vec<Octets>, Failure> {
    let path = Path::new(what);
    let elements = if path.is_file() {
        vec![read_limited(path, MAX_LEN)?.to_vec()]
    } else {
        let reference = parse(what)?;
        let source = transport(registry, None)?.source(&reference)?;
        let inspection = sealift_image::inspect(&*source, &[])?;
        let layers = inspection
            .manifests
            .into_iter()
            .flat_map(|image| image.layers);
        let wraps = layers.flat_map(|layer| layer.wraps);
        wraps
            .filter(|wrap| wrap.scheme == Scheme::Jwe)
            .map(|wrap| wrap.element)
            .collect()
    };
    let mut keys = Vec::new();
    for element in &elements {
        let wraps = UnlabelledWrap::from_jwe(element).map_err(|error| {
            Failure::new(
                Code::Usage,
                format!("`{what}` has a wrapped key that cannot be registered"),
            )
            .because(&error)
        })?;
        keys.extend(wraps.iter().map(|wrap| Octets(wrap.r1().to_vec())));
    }
    if keys.is_empty() {
        let what = format!("`{what}` has no layer that a stock tool sealed");
        return Err(Failure::new(Code::Usage, what));
    }
    Ok(keys)
}

/// Longest JWE.
const MAX_LEN: usize = 1024 * 1024;
