//! One signed question, the same for every holder, and the reading of what they answer.

use std::sync::Arc;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use sealift_threshold::{
    Answer, GroupKey, HolderId, ReplyContext, ReplyKey, SealedReply, request_hash,
};

use super::element::Element;
use super::outcome::ReleaseError;
use super::{Commitments, Options};
use crate::keys::{PublicKey, SigningKey};
use crate::octets::Octets;
use crate::request::{self, NONCE_LEN, RequestError, SALT_LEN};
use crate::statement::KeyRequest;
use crate::wire::{Code, Evidence, PartialsAnswer, PartialsRequest, WrapAnswer};

/// A request that is the same for every holder.
pub(super) struct Question {
    pub(super) reply_key: ReplyKey,
    pub(super) request_hash: [u8; 32],
    pub(super) digests: Vec<[u8; 32]>,
    pub(super) body: Arc<PartialsRequest>,
}

impl Question {
    pub(super) fn sign(
        group: &GroupKey,
        elements: &[(&Element, [u8; 32])],
        options: &Options,
        key: &SigningKey,
        now_ms: u64,
        posture: Option<&Octets>,
    ) -> Result<Self, ReleaseError> {
        let rng = SystemRandom::new();
        let reply_key = ReplyKey::generate(options.kem, &rng)?;
        let digests: Vec<[u8; 32]> = elements.iter().map(|(_, digest)| *digest).collect();
        let mut nonce = vec![0; NONCE_LEN];
        rng.fill(&mut nonce).map_err(|_| RequestError::Randomness)?;
        let (mut wraps, mut wrap_commitments, mut salts) = (Vec::new(), Vec::new(), None);
        match options.commitments {
            Commitments::Plain => {
                wraps = digests
                    .iter()
                    .map(|digest| digest.as_slice().into())
                    .collect()
            }
            Commitments::Salted => {
                let mut drawn = Vec::new();
                for digest in &digests {
                    let mut salt = [0; SALT_LEN];
                    rng.fill(&mut salt).map_err(|_| RequestError::Randomness)?;
                    wrap_commitments.push(request::salted(&salt, digest));
                    drawn.push(salt.as_slice().into());
                }
                salts = Some(drawn);
            }
        }
        let request = KeyRequest {
            key_id: group.key_id().to_owned(),
            epoch: group.epoch(),
            wraps,
            wrap_commitments,
            ephemeral_key: reply_key.public().into(),
            kem: options.kem.number(),
            nonce: nonce.into(),
            lease_seconds: options.lease_seconds,
            justification: options.justification.clone(),
        };
        let signed = request::sign_key_request(&request, now_ms, key, &rng)?;
        Ok(Self {
            reply_key,
            request_hash: request_hash(&signed),
            digests,
            body: Arc::new(PartialsRequest {
                request: signed.into(),
                wraps: elements.iter().map(|(element, _)| element.wire()).collect(),
                salts,
                proof: None,
                evidence: posture.map(|posture| Evidence {
                    posture: Some(posture.clone()),
                }),
            }),
        })
    }

    /// A question that is never asked: no element passed its checks.
    pub(super) fn empty(options: &Options) -> Result<Self, ReleaseError> {
        Ok(Self {
            reply_key: ReplyKey::generate(options.kem, &SystemRandom::new())?,
            request_hash: [0; 32],
            digests: Vec::new(),
            body: Arc::new(PartialsRequest {
                request: Octets::default(),
                wraps: Vec::new(),
                salts: None,
                proof: None,
                evidence: None,
            }),
        })
    }

    /// Opens what is sealed in an answer; says what is wrong with an answer that cannot be used at all.
    pub(super) fn unseal(
        &self,
        group: &GroupKey,
        holder: HolderId,
        answer: &PartialsAnswer,
        receipt_key: Option<&PublicKey>,
    ) -> Result<Vec<Result<Answer, Code>>, &'static str> {
        if answer.request_hash.0 != self.request_hash || answer.answers.len() != self.digests.len()
        {
            return Err("answered something else");
        }
        let opened =
            answer
                .answers
                .iter()
                .zip(&self.digests)
                .map(|(answer, digest)| match answer {
                    WrapAnswer::Refused { wrap_digest, error } if wrap_digest.0 == digest => {
                        Ok(Err(*error))
                    }
                    WrapAnswer::Sealed {
                        wrap_digest,
                        enc,
                        ct,
                    } if wrap_digest.0 == digest => {
                        let context = ReplyContext {
                            request_hash: self.request_hash,
                            wrap_digest: *digest,
                            holder,
                            epoch: group.epoch(),
                        };
                        let sealed = SealedReply {
                            enc: enc.0.clone(),
                            ct: ct.0.clone(),
                        };
                        let octets = self
                            .reply_key
                            .open(&sealed, &context)
                            .map_err(|_| "answer does not open")?;
                        let opened = Answer::parse(group.suite(), &octets)
                            .map_err(|_| "malformed partial decryption")?;
                        if opened.holder() != holder {
                            Err("answered as somebody else")
                        } else {
                            Ok(Ok(opened))
                        }
                    }
                    _ => Err("answered something else"),
                });
        let opened: Vec<_> = opened.collect::<Result<_, _>>()?;
        if let Some(key) = receipt_key {
            let receipt = request::read_receipt(&answer.receipt.0, key)
                .map_err(|_| "receipt is not its own")?;
            let vouched = receipt.releases.len() == opened.len()
                && receipt.request_leaf.0 == self.request_hash
                && receipt.releases.iter().zip(&self.digests).zip(&opened).all(
                    |((release, digest), opened)| {
                        let answer = opened
                            .as_ref()
                            .ok()
                            .map(|answer| Octets(answer.digest().to_vec()));
                        release.wrap_digest.0 == digest && release.partial_digest == answer
                    },
                );
            if !vouched {
                return Err("receipt is about something else");
            }
        }
        Ok(opened)
    }
}
