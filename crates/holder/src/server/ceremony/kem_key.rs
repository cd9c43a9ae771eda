//! Keys for sealed shares: each holder makes its own, and no other holder nor the coordinator ever has it.
//!
//! It is made once for an epoch of a key and outlives every refresh: images hold shares that are sealed to it.

use std::collections::BTreeMap;

use sealift_threshold::{GroupKey, HolderId, HpkePrivateKey, KeyShare, ReplyKem, Share, Suite};
use zeroize::Zeroizing;

use super::plan::Kind;
use super::taking::Taking;
use super::{CeremonyError, Fault, Outcome};
use crate::statement::CeremonyMessage;

impl Taking<'_> {
    /// Makes the candidate of the suite without a shared scalar.
    pub(super) fn kem_key(&self) -> Result<Outcome, CeremonyError> {
        self.receives()?;
        if !self.plan.is_without_scalar() {
            return Err(CeremonyError::Step);
        }
        // Asked again, it is the same key: an acceptance may have been signed for it.
        let before = self
            .shares
            .candidate(&self.id(), &self.request.ceremony)?
            .map(|candidate| candidate.share(self.me, self.plan.generation))
            .transpose()?;
        let share = match before {
            Some(share) => share,
            None => KeyShare::SssXwing {
                index: self.me,
                generation: self.plan.generation,
                key: self.draw_kem_key()?,
            },
        };
        self.keep(self.situation.command, &share, &[])
    }

    /// Adds to a share of the scalar what else the suite has a holder keep.
    pub(super) fn complete(&self, share: Share) -> Result<KeyShare, CeremonyError> {
        if self.plan.suite != Suite::Hybrid {
            return Ok(share.into());
        }
        let key = if self.plan.kind == Kind::Create {
            self.draw_kem_key()?
        } else {
            let kept = self.kept()?.key().ok_or(CeremonyError::KemKeyLost)?;
            HpkePrivateKey::from_octets(ReplyKem::XWing, Zeroizing::new(*kept.expose()))
                .map_err(|error| self.blame(error))?
        };
        Ok(KeyShare::Hybrid(share, key))
    }

    /// Refuses a candidate descriptor with other keys for sealed shares than their holders signed.
    pub(super) fn same_kem_keys(
        &self,
        descriptor: &GroupKey,
        outcomes: &BTreeMap<HolderId, CeremonyMessage>,
    ) -> Result<(), CeremonyError> {
        for (holder, message) in outcomes {
            let said = message.kem_public_key.as_ref().map(|key| &key.0[..]);
            if self.plan.suite.has_sealed_shares() != said.is_some() {
                return Err(self.fault(*holder, Fault::Malformed));
            }
            let entry = descriptor.holder(*holder);
            if entry.is_none_or(|entry| entry.kem_public_key.as_deref() != said) {
                return Err(CeremonyError::Descriptor {
                    why: "a key for sealed shares in it is not the one that its holder made",
                });
            }
        }
        Ok(())
    }

    fn draw_kem_key(&self) -> Result<HpkePrivateKey, CeremonyError> {
        HpkePrivateKey::generate(ReplyKem::XWing, self.rng).map_err(|error| self.blame(error))
    }
}
