//! The laws of policy sets and decisions, as the public interface shows them.
#![cfg(test)]

mod cases;
mod review;
mod sets;
mod states;

use sealift_policy::{Cases, Facts, PolicySet, Settings};

const POLICIES: &str = include_str!("../../../../testdata/policy/policy.cedar");
const SETTINGS: &str = include_str!("../../../../testdata/policy/settings.json");
const CASES: &str = include_str!("../../../../testdata/policy/cases.json");

fn settings() -> Settings {
    serde_json::from_str(SETTINGS).unwrap()
}

/// The policy set that the cases are for.
fn eu_prod() -> PolicySet {
    PolicySet::new("eu-prod", POLICIES, settings()).unwrap()
}

/// The first case: a node that gets what it asks for.
fn allowed_release() -> Facts {
    let cases = Cases::from_json(CASES.as_bytes()).unwrap();
    cases.as_slice()[0].facts.clone()
}
