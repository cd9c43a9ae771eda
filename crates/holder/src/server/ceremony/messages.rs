//! Signed messages: written for others, read from exactly those who have to speak.

use std::collections::BTreeMap;

use sealift_threshold::{HolderId, Purpose, ReplyKem, SealedReply, hpke_open, hpke_seal};
use zeroize::Zeroizing;

use super::taking::Taking;
use super::{CeremonyError, Fault};
use crate::dsse::{self, DsseError, Unverified};
use crate::keys::PublicKey;
use crate::octets::Octets;
use crate::statement::{CEREMONY, CeremonyMessage};
use crate::wire::Step;

impl Taking<'_> {
    /// Reads the messages of `step`: exactly one from each of `senders`, to `to` or to everybody.
    pub(super) fn messages(
        &self,
        step: Step,
        to: Option<HolderId>,
        senders: impl Iterator<Item = HolderId>,
    ) -> Result<BTreeMap<HolderId, CeremonyMessage>, CeremonyError> {
        self.takes_part()?;
        let mut missing: BTreeMap<HolderId, PublicKey> = BTreeMap::new();
        for sender in senders {
            missing.insert(sender, self.signing_key(sender)?);
        }
        let mut messages = BTreeMap::new();
        for envelope in &self.request.messages {
            let unverified =
                Unverified::parse(&envelope.0).map_err(|_| CeremonyError::Message {
                    fault: Fault::Malformed,
                })?;
            let claimed = parse(unverified.unverified_payload()).ok_or(CeremonyError::Message {
                fault: Fault::Malformed,
            })?;
            let from = HolderId::new(claimed.from).ok_or(CeremonyError::Message {
                fault: Fault::Sender,
            })?;
            if messages.contains_key(&from) {
                return Err(self.fault(from, Fault::Repeated));
            }
            let key = missing
                .remove(&from)
                .ok_or_else(|| self.fault(from, Fault::Sender))?;
            let verified = unverified.verify(CEREMONY, [&key]).map_err(|error| {
                self.fault(
                    from,
                    match error {
                        DsseError::PayloadType => Fault::Malformed,
                        _ => Fault::Signature,
                    },
                )
            })?;
            let message =
                parse(&verified.payload).ok_or_else(|| self.fault(from, Fault::Malformed))?;
            self.check(&message, step, from.get(), to.map_or(0, HolderId::get))
                .map_err(|fault| self.fault(from, fault))?;
            messages.insert(from, message);
        }
        match missing.into_keys().next() {
            Some(silent) => Err(self.fault(silent, Fault::Missing)),
            None => Ok(messages),
        }
    }

    /// Refuses a message that was made for something else.
    pub(super) fn check(
        &self,
        message: &CeremonyMessage,
        step: Step,
        from: u8,
        to: u8,
    ) -> Result<(), Fault> {
        let plan = self.plan;
        if message.ceremony != self.request.ceremony {
            Err(Fault::Ceremony)
        } else if (message.key_id.as_str(), message.epoch, message.generation)
            != (plan.key_id.as_str(), plan.epoch, plan.generation)
        {
            Err(Fault::Key)
        } else if message.step != step {
            Err(Fault::Step)
        } else if message.from != from {
            Err(Fault::Sender)
        } else if message.to != to {
            Err(Fault::Receiver)
        } else {
            Ok(())
        }
    }

    /// Names everybody whose view is not `view`.
    pub(super) fn same_view(
        &self,
        messages: &BTreeMap<HolderId, CeremonyMessage>,
        view: &[u8; 32],
    ) -> Result<(), CeremonyError> {
        let culprits: Vec<_> = messages
            .iter()
            .filter(|(_, message)| message.view.0 != view)
            .map(|(from, _)| self.name(*from))
            .collect();
        if culprits.is_empty() {
            Ok(())
        } else {
            Err(CeremonyError::Views { culprits })
        }
    }

    pub(super) fn open_scalar(
        &self,
        from: HolderId,
        purpose: &Purpose<'_>,
        message: CeremonyMessage,
    ) -> Result<Zeroizing<[u8; 32]>, CeremonyError> {
        let sealed = SealedReply {
            enc: message.enc.0,
            ct: message.ct.0,
        };
        hpke_open(self.secrets.hpke(), &purpose.info(), &sealed)
            .ok()
            .and_then(|octets| scalar(&octets))
            .ok_or_else(|| self.fault(from, Fault::Sealed))
    }

    pub(super) fn seal(
        &self,
        to: HolderId,
        purpose: &Purpose<'_>,
        secret: &[u8],
    ) -> Result<SealedReply, CeremonyError> {
        let holder = self.holder(to)?;
        hpke_seal(
            ReplyKem::P256,
            &holder.hpke_key.0,
            &purpose.info(),
            secret,
            self.rng,
        )
        .map_err(|e| self.blame(e))
    }

    pub(super) fn sign(&self, message: Message) -> Result<Octets, CeremonyError> {
        let message = CeremonyMessage {
            ceremony: self.request.ceremony.clone(),
            key_id: self.plan.key_id.clone(),
            epoch: self.plan.epoch,
            generation: self.plan.generation,
            step: self.request.step,
            from: self.me.get(),
            to: message.to.map_or(0, HolderId::get),
            view: message.view[..].into(),
            public: message.public.into(),
            enc: message.sealed.enc.into(),
            ct: message.sealed.ct.into(),
            kem_public_key: message.kem_public_key,
        };
        let payload = serde_json::to_vec(&message).map_err(|_| CeremonyError::Message {
            fault: Fault::Malformed,
        })?;
        let envelope = dsse::sign(CEREMONY, &payload, &[self.secrets.signing()], self.rng)?;
        Ok(envelope.into())
    }
}

/// The parts of a message that differ from step to step.
pub(super) struct Message {
    pub(super) to: Option<HolderId>,
    pub(super) view: [u8; 32],
    pub(super) public: Vec<u8>,
    pub(super) sealed: SealedReply,
    pub(super) kem_public_key: Option<Octets>,
}

impl Default for Message {
    fn default() -> Self {
        Self {
            to: None,
            view: [0; 32],
            public: Vec::new(),
            sealed: SealedReply {
                enc: Vec::new(),
                ct: Vec::new(),
            },
            kem_public_key: None,
        }
    }
}

pub(super) fn parse(payload: &[u8]) -> Option<CeremonyMessage> {
    serde_json::from_slice(payload).ok()
}

pub(super) fn scalar(octets: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    octets.try_into().ok().map(Zeroizing::new)
}
