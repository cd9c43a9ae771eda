//! `sealift delete`

use std::io::{self, BufRead, IsTerminal as _, Write};

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
    let (answers, questions) = (io::stdin(), io::stderr());
    if !answers.is_terminal() || !questions.is_terminal() {
        return Err(unconfirmed(what));
    }
    ask(what, &mut answers.lock(), &mut questions.lock())
}

/// Asks, and takes nothing but a yes for one.
fn ask(what: &str, answers: &mut impl BufRead, questions: &mut impl Write) -> Result<(), Failure> {
    let mut answer = String::new();
    write!(questions, "delete {what}? [y/N] ")
        .and_then(|()| answers.read_line(&mut answer))
        .map_err(|error| unconfirmed(what).because(&error))?;
    let answer = answer.trim();
    if ["y", "yes"]
        .iter()
        .any(|yes| answer.eq_ignore_ascii_case(yes))
    {
        return Ok(());
    }
    Err(Failure::new(Code::Other, "nothing was deleted"))
}

fn unconfirmed(what: &str) -> Failure {
    Failure::new(Code::Usage, format!("deleting {what} must be confirmed")).hint("add --yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_yes_is_one() {
        let asked = |mut answers: &[u8]| {
            let mut questions = Vec::new();
            let outcome = ask("a/b@d", &mut answers, &mut questions);
            assert_eq!(questions, b"delete a/b@d? [y/N] ");
            outcome.map_err(|failure| (failure.code, failure.what))
        };
        for yes in ["y\n", "Y\n", "yes\n", "YES\r\n", " y \n", "y"] {
            assert_eq!(asked(yes.as_bytes()), Ok(()), "{yes:?}");
        }
        let kept = Err((Code::Other, "nothing was deleted".to_owned()));
        for no in ["", "\n", "n\n", "no\n", "yes please\n", "yn\n", "\ny\n"] {
            assert_eq!(asked(no.as_bytes()), kept, "{no:?}");
        }
        let unreadable = Err((Code::Usage, "deleting a/b@d must be confirmed".to_owned()));
        assert_eq!(asked(b"y\xff\n"), unreadable);
    }
}
