//! `sealift doctor`

mod facts;
mod limit;
mod node;
mod stages;
mod verifiers;

use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::time::Duration;

use sealift_layer::AeadLibrary;
use serde_json::json;

use self::limit::{Costs, Job, Limit, Stage};
use crate::args::DoctorArgs;
use crate::console::{Console, Form};
use crate::containerd::default_config;
use crate::exit::{Code, Failure};
use crate::machine::Machine;
use crate::report::SCHEMA_VERSION;

pub(crate) fn run(args: &DoctorArgs, console: &Console) -> Result<(), Failure> {
    match args.bench {
        true => bench(args, console),
        false => check(args, console),
    }
}

/// Looks at this node, and fails if it opens no sealed image.
fn check(args: &DoctorArgs, console: &Console) -> Result<(), Failure> {
    let path = args
        .containerd_config
        .clone()
        .unwrap_or_else(default_config);
    if args.containerd_config.is_some() && !path.exists() {
        let what = format!("configuration `{}` does not exist", path.display());
        return Err(Failure::new(Code::NotFound, what));
    }
    let seen = facts::gather(&args.containerd, &path, args.policy.trust_policy.as_deref())
        .map_err(|error| Failure::of(Code::Other, &error))?;
    let findings = node::diagnose(&seen);
    match console.form {
        Form::Json => console.result_json(&node::as_json(&findings))?,
        Form::Text => console.result(node::as_text(&findings).as_bytes())?,
    }
    let problems = findings
        .iter()
        .filter(|finding| finding.severity == node::Severity::Problem)
        .count();
    match problems {
        0 => Ok(()),
        count => Err(Failure::new(
            Code::Other,
            format!("{count} problems: this node opens no sealed image"),
        )),
    }
}

fn bench(args: &DoctorArgs, console: &Console) -> Result<(), Failure> {
    let machine = Machine::here();
    console.detail(&format!("measuring in `{}`", args.folder.display()));
    let aead = args.aead.library();
    let costs = stages::measure(&args.folder, aead, TIME)?;
    match console.form {
        Form::Json => console.result_json(&as_json(machine, aead, &costs)),
        Form::Text => console.result(as_text(machine, aead, &costs).as_bytes()),
    }
}

/// How long each stage is measured.
const TIME: Duration = Duration::from_millis(300);

fn as_json(machine: Machine, aead: AeadLibrary, costs: &Costs) -> serde_json::Value {
    let stages: serde_json::Map<_, _> = Stage::ALL
        .iter()
        .map(|stage| (stage.key().to_owned(), json!(rate(costs.of(*stage)))))
        .collect();
    let jobs: serde_json::Map<_, _> = Job::ALL
        .iter()
        .map(|job| {
            let limits = [false, true].map(|many| job.limit(costs, machine.processors, many));
            let value = |limit: &Limit| {
                json!({
                    "gibPerSecond": rate(limit.seconds),
                    "boundBy": limit.stage.map_or("processors", Stage::key),
                })
            };
            let [one, many] = &limits;
            let value = json!({"oneLayer": value(one), "manyLayers": value(many)});
            (job.key().to_owned(), value)
        })
        .collect();
    json!({
        "schemaVersion": SCHEMA_VERSION,
        "machine": {"processors": machine.processors, "architecture": std::env::consts::ARCH,
            "features": {
                "avx2": machine.features.avx2,
                "vaes": machine.features.vaes,
                "vpclmulqdq": machine.features.vpclmulqdq,
                "avx512": machine.features.avx512,
            }},
        "aead": {"used": aead.name(), "faster": machine.faster_aead().name()},
        "jobs": {"local": machine.jobs(false), "registry": machine.jobs(true)},
        "stagesGibPerSecond": stages,
        "limits": jobs,
    })
}

fn as_text(machine: Machine, aead: AeadLibrary, costs: &Costs) -> String {
    let mut text = String::new();
    let processors = machine.processors;
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "{processors} {} ({}); layers at the same time: {}, with a registry {} (change with --jobs)",
        if processors == NonZeroUsize::MIN {
            "processor"
        } else {
            "processors"
        },
        std::env::consts::ARCH,
        machine.jobs(false),
        machine.jobs(true),
    );
    let faster = match (aead, machine.faster_aead()) {
        (AeadLibrary::AwsLc, AeadLibrary::Ring) => {
            "; ring is faster on this processor, but does not wipe its keys: --aead auto takes it"
        }
        (AeadLibrary::Ring, AeadLibrary::AwsLc) => "; aws-lc is faster on this processor",
        _ => "",
    };
    let _ = writeln!(text, "AES-256-GCM: {aead} (change with --aead){faster}");
    let _ = writeln!(text, "\nSTAGE, one thread                GiB/s");
    for stage in Stage::ALL {
        let _ = writeln!(text, "{:<32} {:>5.2}", stage.name(), rate(costs.of(stage)));
    }
    let _ = writeln!(
        text,
        "\nAT MOST                          one layer                        many layers"
    );
    for job in Job::ALL {
        let _ = write!(text, "{:<32}", job.name());
        for many in [false, true] {
            let limit = job.limit(costs, processors, many);
            let by = limit.stage.map_or("all processors", Stage::name);
            let cell = format!("{:>5.2} ({by})", rate(limit.seconds));
            let _ = write!(text, " {cell:<32}");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

/// GiB per second for seconds per GiB.
fn rate(seconds: f64) -> f64 {
    (100.0 / seconds).round() / 100.0
}
