//! `sealift version`

use serde_json::json;

use crate::console::{Console, Form};
use crate::exit::Failure;
use crate::report::SCHEMA_VERSION;

pub(crate) fn run(console: &Console) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    match console.form {
        Form::Json => console.result_json(
            &json!({"schemaVersion": SCHEMA_VERSION, "name": "sealift", "version": version}),
        ),
        Form::Text => console.result(format!("sealift {version}\n").as_bytes()),
    }
}
