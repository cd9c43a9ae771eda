//! `sealift delete`

use std::io::{self, IsTerminal as _, Write as _};

use sealift_oci::{Digest, Reference};
use sealift_registry::{Error, Transport};
use serde_json::json;

use crate::args::DeleteArgs;
use crate::console::{Console, Form};
use crate::exit::{Code, Failure};
use crate::places::transport;
use crate::report::SCHEMA_VERSION;
use crate::tags::in_registry;

pub(crate) fn run(args: &DeleteArgs, console: &Console) -> Result<(), Failure> {
    let reference = in_registry(&args.reference)?;
    if reference.tag().is_none() && reference.digest().is_none() {
        let what = format!("`{}` names a repository, not an image", args.reference);
        return Err(Failure::new(Code::Usage, what).hint("add :TAG or @DIGEST"));
    }
    let transport = transport(&args.registry, None)?;
    let client = transport.client();
    // Also by digest, so that what is not there is not asked about.
    let digest = transport.runtime().block_on(client.digest(&reference))?;
    if reference.digest().is_none() && !args.force {
        refuse_shared(&transport, &reference, &digest)?;
    }
    let place = format!("{}/{}", reference.registry(), reference.repository());
    confirm(args, &format!("{place}@{digest}"))?;
    transport
        .runtime()
        .block_on(client.delete_manifest(&reference, &digest))?;
    match console.form {
        Form::Json => console.result_json(&json!({
            "schemaVersion": SCHEMA_VERSION,
            "reference": reference.to_string(),
            "digest": digest.to_string(),
        })),
        Form::Text => console.result(format!("{digest}\n").as_bytes()),
    }
}

/// Registries delete manifests, not tags: every other tag of the manifest would go too.
fn refuse_shared(
    transport: &Transport,
    reference: &Reference,
    digest: &Digest,
) -> Result<(), Failure> {
    let client = transport.client();
    let place = format!("{}/{}", reference.registry(), reference.repository());
    let hint = "--force deletes it all the same";
    let tags = transport.runtime().block_on(client.tags(reference));
    let tags = match tags {
        Ok(tags) => tags,
        Err(error @ Error::NotFound { .. }) => {
            let what = format!("cannot tell which other tags of {place} name {digest}");
            return Err(Failure::new(Code::Other, what).because(&error).hint(hint));
        }
        Err(error) => return Err(error.into()),
    };
    let mut sharing = Vec::new();
    for tag in tags.iter().filter(|tag| Some(&***tag) != reference.tag()) {
        let other: Reference = match format!("{place}:{tag}").parse() {
            Ok(other) => other,
            Err(error) => return Err(Failure::of(Code::Other, &error)),
        };
        match transport.runtime().block_on(client.digest(&other)) {
            Ok(named) if named == *digest => sharing.push(tag.as_str()),
            // Deleted since it was listed, or never whole.
            Ok(_) | Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if sharing.is_empty() {
        return Ok(());
    }
    let what = format!(
        "{digest} has other tags, which would go too: {}",
        sharing.join(", ")
    );
    Err(Failure::new(Code::Usage, what).hint(hint))
}

/// Asks, where somebody can answer.
fn confirm(args: &DeleteArgs, what: &str) -> Result<(), Failure> {
    if args.yes {
        return Ok(());
    }
    let cannot_ask = || {
        Failure::new(Code::Usage, format!("deleting {what} must be confirmed")).hint("add --yes")
    };
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(cannot_ask());
    }
    let _ = write!(io::stderr().lock(), "delete {what}? [y/N] ");
    let mut answer = String::new();
    io::stdin()
        .read_line(&mut answer)
        .map_err(|error| cannot_ask().because(&error))?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::new(Code::Other, "nothing was deleted")),
    }
}
