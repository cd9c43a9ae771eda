//! A wrap as it was presented, and the checks that come before anybody decides on it.

use sealift_threshold::{
    CheckedAnyWrap, ErrorId, GroupKey, KeyShare, OpenedWrap, ThresholdError, UnlabelledWrap, Wrap,
};
use serde_json::{Value, json};

use super::{Refused, sha256};
use crate::octets::Octets;
use crate::server::decision::{unlabelled_facts, wrap_facts};
use crate::statement::KeyRequest;
use crate::wire::{Code, WireWrap};

/// A wrap as it was presented.
pub(super) struct Presented {
    pub(super) digest: [u8; 32],
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    Labelled(Box<Wrap>),
    Unlabelled(Box<UnlabelledWrap>),
    Malformed(ErrorId),
}

/// A wrap that is what it claims to be.
pub(super) enum Opened<'a> {
    Labelled(Box<OpenedWrap<'a>>),
    Unlabelled(&'a UnlabelledWrap),
}

/// What the request commits to.
pub(super) struct Commitment<'a> {
    pub(super) request: &'a KeyRequest,
    pub(super) salts: Option<&'a [Octets]>,
    pub(super) index: usize,
}

impl Commitment<'_> {
    pub(super) fn covers(&self, digest: &[u8; 32]) -> bool {
        match self.salts {
            None => self
                .request
                .wraps
                .get(self.index)
                .is_some_and(|wrap| wrap.0 == digest),
            Some(salts) => {
                let salt = salts
                    .get(self.index)
                    .map(|salt| salt.0.as_slice())
                    .unwrap_or_default();
                let commitment = sha256(&[salt, digest]);
                self.request
                    .wrap_commitments
                    .get(self.index)
                    .is_some_and(|wrap| wrap.0 == commitment)
            }
        }
    }
}

impl Presented {
    pub(super) fn read(wrap: &WireWrap, group: &GroupKey) -> Self {
        match wrap {
            WireWrap::Compact(octets) => match Wrap::parse(&octets.0) {
                Ok(wrap) => Self {
                    digest: wrap.digest(),
                    kind: Kind::Labelled(Box::new(wrap)),
                },
                Err(error) => Self {
                    digest: sha256(&[&octets.0]),
                    kind: Kind::Malformed(error.id),
                },
            },
            WireWrap::Unlabelled { epk } => match UnlabelledWrap::from_epk(&epk.0) {
                Ok(wrap) => Self {
                    digest: wrap.digest(group),
                    kind: Kind::Unlabelled(Box::new(wrap)),
                },
                Err(error) => Self {
                    digest: sha256(&[&epk.0]),
                    kind: Kind::Malformed(error.id),
                },
            },
        }
    }

    /// Makes every check that comes before a decision; `kept` is what this holder keeps of the key.
    pub(super) fn check(
        &self,
        group: &GroupKey,
        kept: Option<&KeyShare>,
        commitment: &Commitment<'_>,
    ) -> Result<(sealift_policy::WrapFacts, Opened<'_>), Refused> {
        let (facts, opened) = match &self.kind {
            Kind::Malformed(id) => return Err((threshold_code(*id), id.to_string())),
            Kind::Labelled(_) if group.unbound() => {
                return Err((
                    Code::LabelMismatch,
                    "the key serves unlabelled wraps only".into(),
                ));
            }
            Kind::Unlabelled(_) if !group.unbound() => {
                return Err((
                    Code::LabelMismatch,
                    "the key serves labelled wraps only".into(),
                ));
            }
            Kind::Labelled(wrap) => {
                let refused = |error: ThresholdError| (threshold_code(error.id), error.to_string());
                // Where shares are sealed to holders, the one for this holder vouches for the label: it opens first.
                let opened = match (group.check(wrap).map_err(refused)?, kept) {
                    (checked, Some(kept)) => kept.open_entry(checked).map_err(refused)?,
                    (CheckedAnyWrap::Tdh2(checked), None) => OpenedWrap::Tdh2(checked),
                    (_, None) => {
                        let lack = "this holder has no key for sealed shares";
                        return Err((Code::StoreUnavailable, lack.to_owned()));
                    }
                };
                (
                    wrap_facts(&self.digest, wrap.label()),
                    Opened::Labelled(Box::new(opened)),
                )
            }
            Kind::Unlabelled(wrap) => (
                unlabelled_facts(&self.digest, group.epoch()),
                Opened::Unlabelled(wrap),
            ),
        };
        if !commitment.covers(&self.digest) {
            return Err((
                Code::LabelMismatch,
                "the request does not commit to this wrap".into(),
            ));
        }
        Ok((facts, opened))
    }

    pub(super) fn detail(&self) -> Value {
        match &self.kind {
            Kind::Labelled(wrap) => {
                json!({"label": serde_json::to_value(wrap.label()).unwrap_or_default()})
            }
            Kind::Unlabelled(_) => json!({"unlabelled": true}),
            Kind::Malformed(_) => json!({}),
        }
    }
}

pub(super) const fn threshold_code(id: ErrorId) -> Code {
    match id {
        ErrorId::SuiteMismatch | ErrorId::KeyMismatch | ErrorId::ModeMismatch => {
            Code::LabelMismatch
        }
        ErrorId::WrapProofInvalid | ErrorId::ShareOpenFailed | ErrorId::ShareCommitmentMismatch => {
            Code::ProofInvalid
        }
        ErrorId::Randomness => Code::StoreUnavailable,
        _ => Code::BadRequest,
    }
}
