//! What leaves: granted partials, computed, sealed, and vouched for by a receipt.

use sealift_threshold::{
    Answer, Culprit, ErrorId, HolderId, ReplyContext, ReplyKem, SealedReply, ThresholdError,
    seal_reply,
};

use super::decide::Granted;
use super::presented::Opened;
use super::{Denied, KEM_XWING, Question, Refused};
use crate::octets::Octets;
use crate::request;
use crate::server::state::PolicyInForce;
use crate::statement::{KeyRelease, KeyRequest, Release};
use crate::wire::{Code, PartialsAnswer, WrapAnswer};

impl Question<'_> {
    /// Computes what was granted, seals it, and signs the receipt.
    pub(super) fn make_answer(
        &self,
        request: &KeyRequest,
        policy: &PolicyInForce,
        digests: &[[u8; 32]],
        opened: Vec<Option<Opened<'_>>>,
        outcomes: &[Result<Granted, Refused>],
    ) -> Result<PartialsAnswer, Denied> {
        let mut answers = Vec::with_capacity(digests.len());
        let mut releases = Vec::with_capacity(digests.len());
        let mut answered_at = self.now_ms;
        let mut generation = 0;
        for ((digest, opened), outcome) in digests.iter().zip(opened).zip(outcomes) {
            let sealed = match (outcome, opened) {
                (Ok(granted), Some(opened)) => {
                    answered_at = answered_at.min(granted.answered_at);
                    generation = granted.group.generation();
                    self.seal(request, granted, opened, digest)
                        .map_err(|error| {
                            tracing::error!(%error, "a granted partial could not be made");
                            match error.id {
                                ErrorId::PointInvalid | ErrorId::ArgumentInvalid => {
                                    Code::BadRequest
                                }
                                _ => Code::StoreUnavailable,
                            }
                        })
                }
                (Err((code, _)), _) => Err(*code),
                (Ok(_), None) => Err(Code::BadRequest),
            };
            let wrap_digest = Octets::from(digest.as_slice());
            let (partial_digest, decision) = match &sealed {
                Ok((answer, _)) => (Some(answer.digest().as_slice().into()), "allow"),
                Err(_) => (None, "deny"),
            };
            releases.push(Release {
                wrap_digest: wrap_digest.clone(),
                partial_digest,
                decision: decision.to_owned(),
            });
            answers.push(match sealed {
                Ok((_, sealed)) => WrapAnswer::Sealed {
                    wrap_digest,
                    enc: sealed.enc.into(),
                    ct: sealed.ct.into(),
                },
                Err(error) => WrapAnswer::Refused { wrap_digest, error },
            });
        }
        let receipt = KeyRelease {
            request_leaf: self.request_hash.as_slice().into(),
            holder: self.service.name.clone(),
            generation,
            releases,
            policy_hash: policy.hash.as_slice().into(),
            lease_until: answered_at
                .saturating_add(u64::from(request.lease_seconds).saturating_mul(1000)),
        };
        let rng = &*self.service.rng;
        let receipt = request::sign_receipt(&receipt, self.now_ms, &self.service.signer, rng)
            .map_err(|error| {
                tracing::error!(%error, "a receipt could not be signed");
                Denied::from(Code::StoreUnavailable)
            })?;
        Ok(PartialsAnswer {
            request_hash: self.request_hash.as_slice().into(),
            answers,
            receipt: receipt.into(),
        })
    }

    pub(super) fn seal(
        &self,
        request: &KeyRequest,
        granted: &Granted,
        opened: Opened<'_>,
        digest: &[u8; 32],
    ) -> Result<(Answer, SealedReply), ThresholdError> {
        let Granted { group, share, .. } = granted;
        let rng = &*self.service.rng;
        let answer = match opened {
            Opened::Labelled(wrap) => share.answer(group, *wrap, &self.request_hash, rng)?,
            Opened::Unlabelled(wrap) => {
                let mismatch = ThresholdError {
                    id: ErrorId::ModeMismatch,
                    culprit: Culprit::Presenter,
                };
                let scalar = share.share().ok_or(mismatch)?;
                Answer::Tdh2(scalar.partial_unlabelled(group, wrap, &self.request_hash, rng)?)
            }
        };
        let kem = if request.kem == KEM_XWING {
            ReplyKem::XWing
        } else {
            ReplyKem::P256
        };
        let holder: HolderId = share.index();
        let context = ReplyContext {
            request_hash: self.request_hash,
            wrap_digest: *digest,
            holder,
            epoch: group.epoch(),
        };
        let sealed = seal_reply(
            kem,
            &request.ephemeral_key.0,
            &context,
            &answer.write(),
            rng,
        )?;
        Ok((answer, sealed))
    }
}
