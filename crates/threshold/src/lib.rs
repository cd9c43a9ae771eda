//! How k of n key holders unwrap one key that never exists as a whole.
//!
//! Each holder keeps one share of a P-256 scalar. A key is wrapped with the public key alone; each holder that agrees
//! answers with a partial decryption of that one wrap; enough partials open it. `SPEC.md` beside this crate is the
//! normative description; section numbers in these pages are its.
//!
//! Everything here is pure: octets in, octets out. Randomness and time are arguments.

mod any_suite;
mod cbor;
mod combine;
mod contribution;
mod deal;
mod dem;
mod dhkem;
pub mod dkg;
mod error;
pub mod gf256;
mod group;
mod group_key;
mod holder_id;
mod hybrid;
mod label;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod life_vectors;
mod multiply;
mod object;
mod partial;
mod purpose;
mod randomness;
mod recipient;
mod repair;
mod reply;
mod sealed;
mod share;
mod share_list;
pub mod sss;
mod suite;
mod unlabelled;
#[cfg(test)]
mod vectors;
mod wrap;
pub mod x_only;

pub use any_suite::{Answer, CheckedAnyWrap, KeyShare, OpenedWrap};
pub use combine::{CombineError, Combined, Combiner};
pub use contribution::{
    CheckedRefresh, CheckedReshare, Contribution, Received, Reshare, apply_refresh, apply_reshare,
    check_refresh, check_reshare, public_share, refresh_contribution, refreshed_commitments,
    reshare_contribution, reshared_commitments,
};
pub use deal::{Dealt, deal, deal_key};
pub use error::{Culprit, ErrorId, ThresholdError};
pub use group_key::{DescriptorParts, GroupKey, HolderEntry, Part, ProofKind};
pub use holder_id::HolderId;
pub use hybrid::{CheckedHybridWrap, HybridAnswer};
pub use label::{Label, Residency, Subject, SubjectKind};
pub use partial::PartialDecryption;
pub use purpose::{KeyRef, Purpose};
pub use recipient::GroupRecipient;
pub use repair::{Repair, RepairScalar};
pub use reply::{ReplyContext, ReplyKey, request_hash, seal_reply};
pub use sealed::{HpkePrivateKey, ReplyKem, SealedReply, hpke_open, hpke_seal};
pub use share::Share;
pub use share_list::WrapShare;
pub use suite::Suite;
pub use unlabelled::{UnlabelledWrap, combine_unlabelled};
pub use wrap::{CheckedWrap, Wrap};
