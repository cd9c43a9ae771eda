//! `sealift agent prefetch`: the keys of an image before they are asked for.

use sealift_agent::AgentIdentity;
use sealift_oci::Platform;
use serde_json::json;

use super::agent::{socket, unreachable};
use crate::args::AgentPrefetchArgs;
use crate::console::{Console, Form};
use crate::exit::{Code, Failure};
use crate::places::{parse, transport};
use crate::report::SCHEMA_VERSION;

pub(crate) fn run(args: &AgentPrefetchArgs, console: &Console) -> Result<(), Failure> {
    let socket = socket(args.socket.as_deref(), &args.deployment)?;
    let reference = parse(&args.reference)?;
    let transport = transport(&args.registry, None)?;
    let source = transport.source(&reference)?;
    let platforms = match &*args.platforms {
        [] => vec![this_platform()?],
        chosen => chosen.to_vec(),
    };
    let wraps = sealift_image::wrapped_keys(&*source, &platforms)?;
    let fetching = AgentIdentity::new(&socket)
        .prefetch(&wraps)
        .map_err(|error| unreachable(&socket, &error))?;
    match console.form {
        Form::Json => console.result_json(&json!({
            "schemaVersion": SCHEMA_VERSION, "wrappedKeys": wraps.len(), "fetching": fetching,
        })),
        Form::Text => console
            .result(format!("{} wrapped keys, {fetching} on their way\n", wraps.len()).as_bytes()),
    }
}

/// Returns what this machine runs.
fn this_platform() -> Result<Platform, Failure> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    };
    format!("{}/{architecture}", std::env::consts::OS)
        .parse()
        .map_err(|error| Failure::of(Code::Usage, &error).hint("name one with --platform"))
}
