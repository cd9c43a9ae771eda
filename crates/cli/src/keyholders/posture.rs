//! `sealift posture sign`

use aws_lc_rs::rand::SystemRandom;
use sealift_holder::dsse;
use sealift_holder::keys::SigningKey;
use sealift_holder::statement::{POSTURE, Posture};

use super::{now_ms, operator};
use crate::args::PostureSignArgs;
use crate::console::Console;
use crate::exit::{Code, Failure};
use crate::files::{Readers, replace};

pub(crate) fn sign(args: &PostureSignArgs, console: &Console) -> Result<(), Failure> {
    let posture = Posture {
        node: args.node.clone(),
        score: args.score,
        zone: args.zone.clone(),
        disk_encrypted: args.disk_encrypted,
        observed_at: now_ms(),
        source: args.source.clone(),
    };
    let envelope = statement(&posture, &operator::signing_key(&args.key)?)?;
    match &args.output {
        Some(path) => replace(path.clone(), &envelope, Readers::Everybody),
        None => console.result(&[&envelope, &b"\n"[..]].concat()),
    }
}

/// Signs a statement.
pub(crate) fn statement(posture: &Posture, key: &SigningKey) -> Result<Vec<u8>, Failure> {
    let payload = serde_json::to_vec(posture).map_err(|error| Failure::of(Code::Other, &error))?;
    dsse::sign(POSTURE, &payload, &[key], &SystemRandom::new())
        .map_err(|error| Failure::of(Code::Other, &error))
}
