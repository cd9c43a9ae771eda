//! `sealift verify`

use sealift_image::{Identities, SourceCheck, Verify};

use crate::args::VerifyArgs;
use crate::console::{Console, Form};
use crate::exit::Failure;
use crate::interrupt::Interrupt;
use crate::keys;
use crate::places::{parse, tell_routes, transport};
use crate::progress::Reporter;
use crate::report::{Purpose, inspection_json, inspection_text};
use crate::transfer::jobs_between;
use crate::trust::{Trust, signers_json};

pub(crate) fn run(
    args: &VerifyArgs,
    console: &Console,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    keys::check_identities(&args.keys.keys, &args.holders)?;
    let reference = parse(&args.source.reference)?;
    let trust = Trust::prepare(&args.trust, &reference)?;
    let transport = transport(&args.source.registry, None)?;
    let watched = interrupt.watch(transport.source(&reference)?, SourceCheck::Verify);
    let source = trust.check(&watched, interrupt, console)?;
    let identities = match args.keys.keys.as_slice() {
        [] => None,
        specs => Some(keys::identities(
            specs,
            &args.holders,
            Some(&args.providers),
            console,
        )?),
    };
    let progress = Reporter::new(console);
    let verify = Verify {
        source: &source,
        identities: identities
            .as_ref()
            .map(|(keyring, _)| keyring as Identities<'_>),
        platforms: args.source.platforms.platforms.clone(),
        aead: args.aead.library(),
        jobs: jobs_between(args.jobs, &[&reference]),
        progress: &progress,
    };
    let inspection = interrupt.explain(verify.run(), &progress);
    tell_routes(&transport, console);
    let inspection = inspection?;
    drop(progress);
    let sealed = inspection
        .manifests
        .iter()
        .flat_map(|manifest| &manifest.layers)
        .filter(|layer| layer.sealed)
        .count();
    if identities.is_none() && sealed > 0 {
        console.note(&format!(
            "{sealed} sealed layers were re-hashed but not authenticated: give a key with -k"
        ));
    }
    let reference = reference.to_string();
    match console.form {
        Form::Json => {
            let mut value = inspection_json(&reference, &inspection, Purpose::Verify);
            if let Some(members) = value.as_object_mut() {
                members.insert("signers".to_owned(), signers_json(source.signers()));
            }
            console.result_json(&value)
        }
        Form::Text => {
            console.result(inspection_text(&reference, &inspection, Purpose::Verify).as_bytes())
        }
    }
}
