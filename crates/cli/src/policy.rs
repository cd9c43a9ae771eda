//! `sealift policy`: what can be known about a policy set before it is in force.

use std::fmt::Write as _;
use std::path::Path;

use sealift_holder::command::Order;
use sealift_policy::{
    Access, Cases, PolicySet, PostureService, diff, explain, run_cases, validate,
};
use serde_json::{Value, json};

use crate::args::{
    PolicyDiffArgs, PolicyExplainArgs, PolicyNewArgs, PolicyPushArgs, PolicyTestArgs,
    PolicyValidateArgs,
};
use crate::console::{Console, Form};
use crate::exit::{Code, Failure};
use crate::files::read_limited;
use crate::keyholders::change::{Approval, speaker};
use crate::keyholders::operator;
use crate::keyholders::session::Session;
use crate::report::SCHEMA_VERSION;

pub(crate) fn new(args: &PolicyNewArgs, console: &Console) -> Result<(), Failure> {
    let mut services = Vec::new();
    for path in &args.posture_keys {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        services.push(PostureService {
            name: name
                .trim_end_matches(".pem")
                .trim_end_matches(".pub")
                .to_owned(),
            public_key: operator::public_key(path)?.spki().to_vec(),
        });
    }
    let set = PolicySet::starting_point(args.jurisdictions.clone(), services)
        .map_err(|error| Failure::of(Code::Usage, &error))?;
    // The document, laid out for people to change it.
    let document: Value =
        serde_json::from_slice(set.as_bytes()).map_err(|error| Failure::of(Code::Other, &error))?;
    console.result(format!("{document:#}\n").as_bytes())
}

pub(crate) fn check(args: &PolicyValidateArgs, console: &Console) -> Result<(), Failure> {
    let report = validate(&read_limited(&args.file, MAX_LEN)?);
    if console.form == Form::Json {
        let mut value =
            json!({"schemaVersion": SCHEMA_VERSION, "valid": report.findings.is_empty()});
        merge(&mut value, &report);
        console.result_json(&value)?;
    }
    match &report.hash {
        Some(hash) if report.findings.is_empty() => {
            if console.form == Form::Text {
                let name = report.name.as_deref().unwrap_or_default();
                let line = format!("{hash}  {name}, {} policies\n", report.policies);
                console.result(line.as_bytes())?;
            }
            Ok(())
        }
        _ => {
            let what = format!(
                "`{}` is not a policy set that a holder takes",
                args.file.display()
            );
            let mut failure = Failure::new(Code::Other, what);
            failure.causes = report.findings.iter().map(ToString::to_string).collect();
            Err(failure)
        }
    }
}

pub(crate) fn push(args: &PolicyPushArgs, console: &Console) -> Result<(), Failure> {
    let approval = Approval::read(&args.change)?;
    let set = read_set(&args.file)?;
    let operator = speaker(args.identity.operator.as_ref(), &args.change);
    let session = Session::open(args.deployment.file.as_deref(), operator)?;
    let order = Order::Policy {
        set: set.as_bytes().into(),
    };
    session.submit("policy", order, &approval)?.show(console)
}

pub(crate) fn test(args: &PolicyTestArgs, console: &Console) -> Result<(), Failure> {
    let set = read_set(&args.file)?;
    let cases = read_limited(&args.cases, MAX_LEN)?;
    let results = run_cases(&set, &cases).map_err(|error| bad_cases(&args.cases, &error))?;
    let failed = results.iter().filter(|result| !result.passed).count();
    match console.form {
        Form::Json => console.result_json(&json!({
            "schemaVersion": SCHEMA_VERSION,
            "cases": results,
            "failed": failed,
        }))?,
        Form::Text => {
            let mut text = String::new();
            for result in &results {
                let mark = if result.passed { "ok    " } else { "FAILED" };
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{mark}  {}", result.name);
                if !result.passed {
                    let _ = writeln!(text, "        {}", result.decision.reason());
                }
            }
            let _ = writeln!(text, "{} cases, {failed} failed", results.len());
            console.result(text.as_bytes())?;
        }
    }
    if failed == 0 {
        return Ok(());
    }
    Err(Failure::new(
        Code::Denied,
        format!(
            "{failed} of {} cases are decided otherwise than expected",
            results.len()
        ),
    )
    .hint("`sealift policy explain FILE CASES --case NAME` says by which policies"))
}

pub(crate) fn explain_cases(args: &PolicyExplainArgs, console: &Console) -> Result<(), Failure> {
    let set = read_set(&args.file)?;
    let cases = read_cases(&args.cases)?;
    let mut text = String::new();
    let mut values = Vec::new();
    for case in cases.as_slice() {
        if args.case.as_ref().is_some_and(|name| *name != case.name) {
            continue;
        }
        let explanation =
            explain(&set, &case.facts).map_err(|error| bad_cases(&args.cases, &error))?;
        let _ = writeln!(text, "{}: {}", case.name, explanation.decision.reason());
        for policy in &explanation.policies {
            let kind = if policy.permits { "permit" } else { "forbid" };
            let _ = writeln!(text, "\n  {kind} `{}`", policy.id);
            for line in policy.text.lines() {
                let _ = writeln!(text, "    {line}");
            }
        }
        let mut value = json!({"name": case.name});
        merge(&mut value, &explanation);
        values.push(value);
    }
    if values.is_empty() {
        return Err(Failure::new(Code::NotFound, "there is no such case")
            .hint("`sealift policy test FILE CASES` lists the cases"));
    }
    match console.form {
        Form::Json => {
            console.result_json(&json!({"schemaVersion": SCHEMA_VERSION, "cases": values}))
        }
        Form::Text => console.result(text.as_bytes()),
    }
}

pub(crate) fn compare(args: &PolicyDiffArgs, console: &Console) -> Result<(), Failure> {
    let (old, new) = (read_set(&args.old)?, read_set(&args.new)?);
    let (file, cases) = match &args.cases {
        Some(file) => (file.as_path(), read_cases(file)?),
        None => (Path::new(""), no_cases()?),
    };
    let differences = diff(&old, &new, &cases).map_err(|error| bad_cases(file, &error))?;
    if console.form == Form::Json {
        let mut value = json!({"schemaVersion": SCHEMA_VERSION});
        merge(&mut value, &differences);
        return console.result_json(&value);
    }
    let mut text = String::new();
    for id in &differences.removed {
        let _ = writeln!(text, "- {id}");
    }
    for id in &differences.added {
        let _ = writeln!(text, "+ {id}");
    }
    for change in &differences.changed {
        let _ = writeln!(text, "~ {}", change.id);
        for line in change.old.lines() {
            let _ = writeln!(text, "    - {line}");
        }
        for line in change.new.lines() {
            let _ = writeln!(text, "    + {line}");
        }
    }
    if differences.settings_changed {
        text.push_str("~ settings\n");
    }
    for case in &differences.cases {
        let change = match case.access {
            Access::Same => continue,
            Access::Widened => "WIDENED ",
            Access::Narrowed => "narrowed",
        };
        let _ = writeln!(text, "{change}  {}: now {}", case.name, case.new.reason());
    }
    console.result(text.as_bytes())
}

/// Reads a policy set as a holder would.
pub(crate) fn read_set(path: &Path) -> Result<PolicySet, Failure> {
    PolicySet::from_json(&read_limited(path, MAX_LEN)?).map_err(|error| {
        let what = format!(
            "`{}` is not a policy set that a holder takes",
            path.display()
        );
        Failure::new(Code::Other, what)
            .because(&error)
            .hint(format!("sealift policy validate {}", path.display()))
    })
}

fn read_cases(path: &Path) -> Result<Cases, Failure> {
    Cases::from_json(&read_limited(path, MAX_LEN)?).map_err(|error| bad_cases(path, &error))
}

fn no_cases() -> Result<Cases, Failure> {
    Cases::from_json(br#"{"v":1,"cases":[]}"#).map_err(|error| Failure::of(Code::Other, &error))
}

fn bad_cases(path: &Path, error: &sealift_policy::CaseError) -> Failure {
    Failure::new(
        Code::Other,
        format!("cannot use the cases in `{}`", path.display()),
    )
    .because(error)
}

/// Adds the members of a report.
fn merge(value: &mut Value, report: &impl serde::Serialize) {
    if let (Value::Object(members), Ok(Value::Object(more))) = (value, serde_json::to_value(report))
    {
        members.extend(more);
    }
}

/// Longest file of policies or cases.
const MAX_LEN: usize = 8 * 1024 * 1024;
