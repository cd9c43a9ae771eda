//! `sealift image-verifier`, and the same under the name by which containerd starts it (containerd 2,
//! `docs/image-verification.md`).

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use clap::CommandFactory;
use sealift_oci::{Descriptor, json};
use sealift_registry::ImageRef;

use crate::args::{Cli, ImageVerifierArgs};
use crate::console::Console;
use crate::exit::{Code, Failure};
use crate::places::{parse, transport};
use crate::text::printable;
use crate::trust::{Policy, Trust};

/// Turns the arguments that containerd gives into ours, if it was containerd that started this program.
///
/// Go's flags, which have one dash, are left out with their values where this program does not know them: a containerd that
/// says more than those before it still gets an answer. With two dashes people write, and are told what they mistyped.
pub(crate) fn arguments(given: impl Iterator<Item = OsString>) -> Option<Vec<OsString>> {
    let mut given = given.peekable();
    let program = given.next()?;
    let name = Path::new(&program).file_stem()?;
    if name != NAME {
        return None;
    }
    let known = known_options();
    let mut ours = vec![program, COMMAND.into()];
    while let Some(argument) = given.next() {
        let flag = argument
            .to_str()
            .and_then(|text| text.strip_prefix('-'))
            .filter(|flag| !flag.starts_with('-') && flag.len() > 1);
        let Some(flag) = flag else {
            ours.push(argument);
            continue;
        };
        let (name, has_value) = match flag.split_once('=') {
            Some((name, _)) => (name, true),
            None => (flag, false),
        };
        if known.iter().any(|one| one == name) {
            ours.push(format!("--{flag}").into());
        } else if !has_value {
            given.next_if(|next| !next.as_encoded_bytes().starts_with(b"-"));
        }
    }
    Some(ours)
}

/// Lists the options of this command by their long names, those of every command among them.
fn known_options() -> Vec<String> {
    let mut program = Cli::command();
    program.build();
    let command = program.find_subcommand(COMMAND);
    let options = command.into_iter().flat_map(clap::Command::get_arguments);
    options
        .filter_map(|option| option.get_long().map(str::to_owned))
        .collect()
}

/// Says to containerd, which shows standard output alone, why it gets no answer.
pub(crate) fn refuse(error: &clap::Error) {
    let text = error.render().to_string();
    let reason = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = reason
        .split_whitespace()
        .skip_while(|word| *word == "error:")
        .collect();
    let reason = words.join(" ");
    let _ = writeln!(io::stdout().lock(), "{}", printable(&reason));
}

pub(crate) fn run(args: &ImageVerifierArgs, console: &Console) -> Result<(), Failure> {
    let verdict = judge_in_time(args);
    // containerd shows what is on standard output, and what is on standard error only in its log.
    let text = match &verdict {
        Ok(text) => text.clone(),
        Err(failure) => failure.in_one_line(),
    };
    console.result(format!("{text}\n").as_bytes())?;
    verdict.map(|_| ())
}

/// Gives up while containerd still listens.
fn judge_in_time(args: &ImageVerifierArgs) -> Result<String, Failure> {
    let mut own = args.clone();
    // What a registry that fails says is told, instead of that it took too long.
    own.registry.retry.get_or_insert(RETRIES);
    let (sender, verdict) = mpsc::sync_channel(1);
    // It may hang, and ends with the process. Where nobody listens any more its answer is of no use.
    thread::spawn(move || sender.send(judge(&own)));
    verdict
        .recv_timeout(args.timeout())
        .unwrap_or_else(|error| {
            let what = match error {
                RecvTimeoutError::Timeout => format!(
                    "within {} s nobody told who signed the image",
                    args.timeout().as_secs()
                ),
                RecvTimeoutError::Disconnected => "the check broke off".to_owned(),
            };
            Err(Failure::new(Code::Network, what))
        })
}

fn judge(args: &ImageVerifierArgs) -> Result<String, Failure> {
    check_input(args)?;
    let ImageRef::Registry(reference) = parse(&args.name)? else {
        let what = format!("`{}` is in no registry", args.name);
        return Err(Failure::new(Code::Usage, what));
    };
    if let Some(digest) = reference.digest().filter(|digest| **digest != args.digest) {
        let what = format!(
            "the image is named {digest}, and was resolved to {}",
            args.digest
        );
        return Err(Failure::new(Code::Integrity, what));
    }
    let Some(policy) = Policy::find(args.policy.trust_policy.as_deref())? else {
        let what = "there is no trust policy, so no image is taken";
        return Err(Failure::new(Code::Denied, what)
            .hint("write /etc/sealift/trust.toml, or set SEALIFT_TRUST_POLICY"));
    };
    let reference = ImageRef::Registry(reference.with_digest(args.digest.clone()));
    let Some(demand) = policy.demand(&reference)? else {
        return Ok("the trust policy asks for no signature".to_owned());
    };
    let trust = Trust::from(demand);
    let transport = transport(&args.registry, None)?;
    let source = transport.source(&reference)?;
    let signed = trust.prove(&*source)?;
    let signers: Vec<String> = signed.signers().iter().map(ToString::to_string).collect();
    Ok(format!("signed by {}", signers.join(" and ")))
}

/// Reads the descriptor on standard input, where there is one, to its end: who writes it would else wait, or meet an error.
fn check_input(args: &ImageVerifierArgs) -> Result<(), Failure> {
    // By hand nobody writes one, and nobody closes a terminal.
    let Some(kind) = &args.stdin_media_type else {
        return Ok(());
    };
    let cannot = |error: &io::Error| {
        Failure::new(Code::Other, "cannot read the descriptor on standard input").because(error)
    };
    let mut octets = Vec::new();
    let mut input = io::stdin().lock();
    input
        .by_ref()
        .take(MAX_INPUT_LEN + 1)
        .read_to_end(&mut octets)
        .map_err(|error| cannot(&error))?;
    io::copy(&mut input, &mut io::sink()).map_err(|error| cannot(&error))?;
    // Another type says more, and nothing that decides: the digest is what counts.
    if kind != DESCRIPTOR || octets.is_empty() {
        return Ok(());
    }
    let wrong = |reason: String| {
        let what = format!("what containerd says of the image cannot be used: {reason}");
        Failure::new(Code::Integrity, what)
    };
    if octets.len() as u64 > MAX_INPUT_LEN {
        return Err(wrong("it is too long".to_owned()));
    }
    let text: Box<serde_json::value::RawValue> =
        serde_json::from_slice(&octets).map_err(|error| wrong(error.to_string()))?;
    let descriptor =
        Descriptor::from_raw(&text, "descriptor").map_err(|error| wrong(error.to_string()))?;
    if *descriptor.digest() == args.digest {
        return Ok(());
    }
    Err(wrong(format!(
        "it is about {}, and not about {}",
        descriptor.digest(),
        json::excerpt(&args.digest.to_string())
    )))
}

/// The name under which containerd finds this program in its folder.
pub(crate) const NAME: &str = "sealift-image-verifier";
/// The command that it stands for.
const COMMAND: &str = "image-verifier";
/// How long the answer may take, unless somebody says otherwise; containerd waits two seconds longer.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(8);
/// How often a request that failed is made again.
const RETRIES: u32 = 2;
/// What containerd says that standard input has.
const DESCRIPTOR: &str = "application/vnd.oci.descriptor.v1+json";
/// Longest descriptor: as long as a manifest may be.
const MAX_INPUT_LEN: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn turned(given: &[&str]) -> Option<Vec<String>> {
        let turned = arguments(given.iter().map(OsString::from))?;
        Some(
            turned
                .into_iter()
                .map(|one| one.into_string().unwrap())
                .collect(),
        )
    }

    #[test]
    fn what_containerd_gives_becomes_ours() {
        let given = [
            "/opt/bin/sealift-image-verifier",
            "-name",
            "registry.example/app:1",
            "-digest",
            "sha256:00",
            "-stdin-media-type=application/vnd.oci.descriptor.v1+json",
        ];
        assert_eq!(
            turned(&given).unwrap()[1..],
            [
                "image-verifier",
                "--name",
                "registry.example/app:1",
                "--digest",
                "sha256:00",
                "--stdin-media-type=application/vnd.oci.descriptor.v1+json",
            ]
        );
        let unknown = [
            "sealift-image-verifier",
            "-snapshotter=overlayfs",
            "-namespace",
            "k8s.io",
            "--name=a",
            "-quick",
            "-digest",
            "sha256:00",
            "-json",
            "-q",
            "-last",
        ];
        let rest = ["--name=a", "--digest", "sha256:00", "--json", "-q"];
        assert_eq!(
            turned(&unknown).unwrap()[1..],
            [&["image-verifier"], &rest[..]].concat()
        );
        // Who mistypes the name of a policy is not to be judged by another.
        let mistyped = turned(&["sealift-image-verifier", "--trust-policies", "a"]).unwrap();
        assert_eq!(mistyped[2..], ["--trust-policies", "a"]);
        assert!(turned(&["sealift-image-verifier.exe", "-name", "a"]).is_some());
        assert_eq!(turned(&["/usr/bin/sealift", "-name", "a"]), None);
        assert_eq!(turned(&[]), None);
    }
}
