//! A holder's answer, sealed to the node that asked (`SPEC.md`, section 10).

use aws_lc_rs::rand::SecureRandom;
use zeroize::Zeroizing;

use crate::{
    Culprit, HolderId, HpkePrivateKey, ReplyKem, SealedReply, ThresholdError,
    group::{self, domain},
    hpke_open, hpke_seal,
};

/// The node's ephemeral key, one per request.
#[derive(Debug)]
pub struct ReplyKey(HpkePrivateKey);

impl ReplyKey {
    /// Draws a key.
    ///
    /// # Errors
    /// `randomness`.
    pub fn generate(kem: ReplyKem, rng: &dyn SecureRandom) -> Result<Self, ThresholdError> {
        HpkePrivateKey::generate(kem, rng).map(Self)
    }

    /// Returns the KEM.
    pub const fn kem(&self) -> ReplyKem {
        self.0.kem()
    }

    /// Returns the public key that goes into the request.
    pub fn public(&self) -> Vec<u8> {
        self.0.public().to_vec()
    }

    /// Opens the answer of one holder for one wrap.
    ///
    /// # Errors
    /// `share_open_failed`, culprit the holder: altered, or made for another request, wrap, holder or epoch.
    pub fn open(
        &self,
        reply: &SealedReply,
        context: &ReplyContext,
    ) -> Result<Zeroizing<Vec<u8>>, ThresholdError> {
        hpke_open(&self.0, &context.info(), reply).map_err(|error| ThresholdError {
            culprit: Culprit::Holder(Some(context.holder)),
            ..error
        })
    }
}

/// What a sealed answer is bound to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReplyContext {
    /// The hash of the request, as in [`request_hash`].
    pub request_hash: [u8; 32],
    /// The digest of the wrap.
    pub wrap_digest: [u8; 32],
    /// Who answers.
    pub holder: HolderId,
    /// The epoch of the key.
    pub epoch: u32,
}

impl ReplyContext {
    fn info(&self) -> Vec<u8> {
        group::length_prefixed(&[
            domain::REPLY.as_bytes(),
            &self.request_hash,
            &self.wrap_digest,
            &self.holder.octets(),
            &self.epoch.to_be_bytes(),
        ])
    }
}

/// Seals an answer to the node's ephemeral key.
///
/// # Errors
/// `point_invalid`, culprit the presenter, for a key that is none; `randomness`.
pub fn seal_reply(
    kem: ReplyKem,
    public: &[u8],
    context: &ReplyContext,
    plaintext: &[u8],
    rng: &dyn SecureRandom,
) -> Result<SealedReply, ThresholdError> {
    hpke_seal(kem, public, &context.info(), plaintext, rng)
}

/// Returns the hash of a signed request, exactly as received: its RFC 6962 leaf hash.
pub fn request_hash(request: &[u8]) -> [u8; 32] {
    crate::wrap::sha256(&[&[0], request].concat())
}
