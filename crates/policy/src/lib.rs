//! May this node have this key now, may this person do this to it?
//!
//! A [`PolicySet`] is what administrators sign and holders distribute: Cedar policies with the settings they need. Reading
//! one validates it strictly against the one schema of this crate. An [`Engine`] decides with it, on facts that the holder
//! has verified: allowed means that Cedar allows **and** that no policy errored, because Cedar skips a policy that errors,
//! and a skipped `forbid` would open what it guards.
//!
//! [`state_allows`] is the other half of an answer: what each state of a key allows at all.
//!
//! Everything here is synchronous and does no input or output. The clock is an argument.

mod action;
mod case;
mod decision;
mod engine;
mod error;
mod facts;
mod model;
mod policy_set;
mod review;
mod settings;
mod state;
mod time;

pub use action::{Action, HolderAction, KeyAction, OperatorRelease};
pub use case::{Case, CaseError, CaseResult, Cases, Facts, Verdict, run_cases};
pub use decision::Decision;
pub use engine::Engine;
pub use error::{Finding, PolicyError};
pub use facts::{
    Circumstances, KeyFacts, NodeFacts, OperatorFacts, Residency, Role, Score, WrapFacts,
};
pub use policy_set::{MAX_POLICIES, MAX_SET_LEN, PolicySet};
pub use review::{
    Access, CaseChange, Diff, Explanation, PolicyChange, PolicyText, Report, diff, explain,
    validate,
};
pub use settings::{MinScore, PostureService, Settings};
pub use state::{KeyState, Operation, StateCode, StateError, state_allows};
