//! `sealift holder status`

use serde_json::{Value, json};

use super::session::{Session, failure_of};
use crate::args::HolderStatusArgs;
use crate::console::{Console, Form};
use crate::exit::{Code, Failure};
use crate::report::{SCHEMA_VERSION, Table};

pub(crate) fn run(args: &HolderStatusArgs, console: &Console) -> Result<(), Failure> {
    let session = Session::open(
        args.deployment.file.as_deref(),
        args.identity.operator.as_deref(),
    )?;
    let keys: Vec<&str> = session.descriptors().into_keys().collect();
    let mut table = Table::new(&["HOLDER", "JURISDICTION", "URL", "ANSWERS", "KEYS"]);
    let mut holders = Vec::new();
    let mut silent = Vec::new();
    for (name, client) in session.clients() {
        let mut states = Vec::new();
        let mut trouble = None;
        // Without a key in the file there is still one question that every holder answers in some way.
        for key in if keys.is_empty() { &["-"][..] } else { &keys } {
            match session.runtime.block_on(client.key(key)) {
                Ok(answer) => states.push((*key, answer.state)),
                Err(error) if error.code().is_some() => {}
                Err(error) => {
                    trouble = Some(failure_of(name, &error));
                    break;
                }
            }
        }
        let known = session.deployment.holder(name);
        let (url, jurisdiction) = known
            .map(|known| (known.url.as_str(), known.jurisdiction.as_str()))
            .unwrap_or_default();
        if trouble.is_some() {
            silent.push(name);
        }
        table.row(vec![
            name.to_owned(),
            jurisdiction.to_owned(),
            url.to_owned(),
            if trouble.is_none() { "yes" } else { "NO" }.to_owned(),
            states
                .iter()
                .map(|(key, state)| format!("{key} {state}"))
                .collect::<Vec<_>>()
                .join(", "),
        ]);
        holders.push(json!({
            "name": name,
            "url": url,
            "jurisdiction": jurisdiction,
            "reachable": trouble.is_none(),
            "error": trouble.as_ref().map(|failure| failure.causes.join(": ")),
            "keys": states.iter().map(|(key, state)| json!({"id": key, "state": state})).collect::<Vec<Value>>(),
        }));
    }
    match console.form {
        Form::Json => {
            console.result_json(&json!({"schemaVersion": SCHEMA_VERSION, "holders": holders}))?
        }
        Form::Text => console.result(table.render().as_bytes())?,
    }
    if silent.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        Code::Network,
        format!(
            "{} of {} holders do not answer: {}",
            silent.len(),
            holders.len(),
            silent.join(", ")
        ),
    )
    .hint("start them again with `sealift holder serve --dir DIR`; their logs say why they ended"))
}
