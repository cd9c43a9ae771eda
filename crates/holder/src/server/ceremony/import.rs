//! Import: a key that its owner dealt.

use sealift_threshold::{Purpose, SealedReply, Share, hpke_open};

use super::messages::{parse, scalar};
use super::taking::Taking;
use super::{CeremonyError, Fault, Outcome, sha256};
use crate::dsse;
use crate::statement::CEREMONY;
use crate::wire::Step;

impl Taking<'_> {
    pub(super) fn import(&self) -> Result<Outcome, CeremonyError> {
        self.receives()?;
        let descriptor = self.descriptor()?;
        let [envelope] = self.request.messages.as_slice() else {
            return Err(CeremonyError::Dealer {
                fault: Fault::Missing,
            });
        };
        let message = dsse::verify(&envelope.0, CEREMONY, self.situation.administrators)
            .map_err(|_| CeremonyError::Dealer {
                fault: Fault::Signature,
            })
            .and_then(|verified| {
                parse(&verified.payload).ok_or(CeremonyError::Dealer {
                    fault: Fault::Malformed,
                })
            })?;
        let view = sha256(&descriptor.octets);
        self.check(&message, Step::Import, 0, self.me.get())
            .map_err(|fault| CeremonyError::Dealer { fault })?;
        if message.view.0 != view {
            return Err(CeremonyError::Dealer { fault: Fault::View });
        }
        let purpose = Purpose::Import {
            key: self.key(),
            to: self.me,
            descriptor: &descriptor.octets,
        };
        let sealed = SealedReply {
            enc: message.enc.0,
            ct: message.ct.0,
        };
        let octets = hpke_open(self.secrets.hpke(), &purpose.info(), &sealed)
            .ok()
            .and_then(|octets| scalar(&octets))
            .ok_or(CeremonyError::Dealer {
                fault: Fault::Sealed,
            })?;
        let share = Share::from_octets(self.me, self.plan.generation, octets).map_err(|_| {
            CeremonyError::Dealer {
                fault: Fault::Share,
            }
        })?;
        share
            .verify(&descriptor.key)
            .map_err(|_| CeremonyError::Dealer {
                fault: Fault::Share,
            })?;
        self.keep(view, &self.complete(share)?, &descriptor.commitments)
    }
}
