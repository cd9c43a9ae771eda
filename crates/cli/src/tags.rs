//! `sealift tags`

use sealift_oci::Reference;
use sealift_registry::ImageRef;
use serde_json::json;

use crate::args::TagsArgs;
use crate::console::{Console, Form};
use crate::exit::{Code, Failure};
use crate::places::{parse, transport};
use crate::report::SCHEMA_VERSION;

pub(crate) fn run(args: &TagsArgs, console: &Console) -> Result<(), Failure> {
    let reference = in_registry(&args.repository)?;
    if reference.tag().is_some() || reference.digest().is_some() {
        let what = format!("`{}` names an image, not a repository", args.repository);
        return Err(Failure::new(Code::Usage, what).hint("leave out what follows the repository"));
    }
    let transport = transport(&args.registry, None)?;
    let tags = transport
        .runtime()
        .block_on(transport.client().tags(&reference))?;
    match console.form {
        Form::Json => console.result_json(&json!({
            "schemaVersion": SCHEMA_VERSION,
            "repository": format!("{}/{}", reference.registry(), reference.repository()),
            "tags": tags,
        })),
        Form::Text => {
            let lines: String = tags.iter().map(|tag| format!("{tag}\n")).collect();
            console.result(lines.as_bytes())
        }
    }
}

/// Parses a reference that must lead to a registry.
pub(crate) fn in_registry(text: &str) -> Result<Reference, Failure> {
    match parse(text)? {
        ImageRef::Registry(reference) => Ok(reference),
        other => {
            let what = format!("`{other}` is not in a registry");
            Err(Failure::new(Code::Usage, what).hint("write HOST/REPO"))
        }
    }
}
