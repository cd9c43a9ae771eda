//! Suite `SSS-HPKE-XWING`: a secret per wrap, each share sealed to one holder's own key (`SPEC.md`, section 16).
//!
//! Post-quantum and without a master key; who changes the holders has to wrap every image anew. X-Wing is a draft, so
//! nothing uses this suite unless it is asked to.

use std::borrow::Borrow;

use aws_lc_rs::rand::SecureRandom;
use sealift_keywrap::LayerSecret;
use zeroize::Zeroizing;

use crate::{
    CombineError, Combined, Culprit, ErrorId, GroupKey, HolderId, HpkePrivateKey, Label, Suite,
    ThresholdError, Wrap,
    dem::WrapKey,
    group::{domain, length_prefixed},
    randomness,
    share_list::{Binding, ShareList, WrapShare},
    wrap::{compact, sha256},
};

impl GroupKey {
    /// Wraps for this suite; everything about the arguments has been checked.
    pub(crate) fn wrap_sss(
        &self,
        label: &Label,
        octets: &[u8],
        plaintext: &[u8],
        rng: &dyn SecureRandom,
    ) -> Result<Wrap, ThresholdError> {
        let secret = randomness::octets(rng)?;
        let binding = Binding::new(label, octets);
        let list = ShareList::seal(&secret, self.receivers()?, &binding, rng)?.encode();
        let c = wrap_key(&secret[..], octets, &list).seal(octets, plaintext);
        let compact = compact(Suite::SssXwing, octets, &[&list], &c)
            .ok_or(ThresholdError::encryptor(ErrorId::ArgumentInvalid))?;
        Wrap::parse(&compact)
    }

    /// Checks that a wrap is of this suite and for this key, as section 9 does in its first four steps.
    ///
    /// Nothing vouches for the label yet: a share that opens does.
    ///
    /// # Errors
    /// `suite_mismatch`, `key_mismatch`, `wrap_malformed`.
    pub fn check_sss<'a>(&self, wrap: &'a Wrap) -> Result<CheckedSssWrap<'a>, ThresholdError> {
        if wrap.suite() != Suite::SssXwing {
            return Err(ThresholdError::presenter(ErrorId::SuiteMismatch));
        }
        if self.suite() != Suite::SssXwing {
            return Err(ThresholdError::presenter(ErrorId::KeyMismatch));
        }
        wrap.is_for(self)?;
        Ok(CheckedSssWrap {
            wrap,
            list: ShareList::parse(wrap.list())?,
            t: self.receivers()?.t,
            generation: self.generation(),
        })
    }
}

/// A wrap of this suite, for a known key.
#[derive(Clone, Debug)]
pub struct CheckedSssWrap<'a> {
    wrap: &'a Wrap,
    list: ShareList,
    t: u8,
    generation: u32,
}

impl CheckedSssWrap<'_> {
    /// Opens the share of one holder, which vouches for the label.
    ///
    /// # Errors
    /// `share_open_failed`, `share_commitment_mismatch`.
    pub fn open_share(
        &self,
        holder: HolderId,
        key: &HpkePrivateKey,
    ) -> Result<WrapShare, ThresholdError> {
        self.list.open(holder, key, &self.binding())
    }

    /// Opens the wrap with the shares that holders answered with, and names who answered wrongly.
    ///
    /// # Errors
    /// `generation_mismatch`, `holder_unknown`, `holder_duplicate`, `partials_insufficient`,
    /// `share_commitment_mismatch`, `combine_mismatch`, `aead_failed`.
    pub fn combine<A: Borrow<SssAnswer>>(&self, answers: &[A]) -> Result<Combined, CombineError> {
        let mut shares: Vec<&WrapShare> = Vec::with_capacity(answers.len());
        for answer in answers.iter().map(Borrow::borrow) {
            if answer.generation != self.generation {
                let holder = answer.share.holder();
                return Err(ThresholdError::holder(ErrorId::GenerationMismatch, holder).into());
            }
            shares.push(&answer.share);
        }
        let (secret, culprits) = self.list.combine(self.t, &shares, &self.binding())?;
        let label = self.wrap.label_octets();
        let key = wrap_key(&secret[..], label, self.wrap.list());
        // Every share used is the one that its encryptor committed to: what does not fit now is the encryptor's doing.
        let opened = if key.confirms(self.wrap.c()) {
            key.open(label, self.wrap.c()).ok_or(ErrorId::AeadFailed)
        } else {
            Err(ErrorId::CombineMismatch)
        };
        match opened {
            Ok(secret) => Ok(Combined {
                secret: LayerSecret::new(secret),
                culprits,
            }),
            Err(id) => Err(CombineError {
                error: ThresholdError::encryptor(id),
                culprits,
            }),
        }
    }

    fn binding(&self) -> Binding<'_> {
        Binding::new(self.wrap.label(), self.wrap.label_octets())
    }
}

/// Derives the key of a wrap.
fn wrap_key(secret: &[u8], label: &[u8], list: &[u8]) -> WrapKey {
    WrapKey::derive(b"", secret, &kek_info(label, list))
}

pub(crate) fn kek_info(label: &[u8], list: &[u8]) -> Vec<u8> {
    length_prefixed(&[
        domain::SSS_KEK.as_bytes(),
        Suite::SssXwing.as_str().as_bytes(),
        &sha256(label),
        &sha256(list),
    ])
}

/// What one holder answers (section 16.3). The share is wiped on drop.
#[derive(Debug)]
pub struct SssAnswer {
    /// The generation of the key that the holder knows.
    pub generation: u32,
    /// The share.
    pub share: WrapShare,
}

impl SssAnswer {
    /// Writes what a holder seals to the node: 39 octets.
    pub fn write(&self) -> Zeroizing<Vec<u8>> {
        let mut reply = Zeroizing::new(Vec::with_capacity(REPLY_LEN));
        reply.push(VERSION);
        reply.extend(self.share.holder().octets());
        reply.extend(self.generation.to_be_bytes());
        reply.extend_from_slice(self.share.expose());
        reply
    }

    /// Reads what a holder sealed to the node.
    ///
    /// # Errors
    /// `partial_malformed`, `holder_unknown`.
    pub fn parse(reply: &[u8]) -> Result<Self, ThresholdError> {
        let malformed = || ThresholdError::new(ErrorId::PartialMalformed, Culprit::Holder(None));
        let (&[version, high, low, g1, g2, g3, g4], share) =
            reply.split_first_chunk().ok_or_else(malformed)?;
        let share: [u8; 32] = share.try_into().map_err(|_| malformed())?;
        let share = Zeroizing::new(share);
        if version != VERSION {
            return Err(malformed());
        }
        let index = u16::from_be_bytes([high, low]);
        let holder = u8::try_from(index).ok().and_then(HolderId::new);
        let holder = holder.ok_or(ThresholdError::new(
            ErrorId::HolderUnknown,
            Culprit::NotAHolder(index),
        ))?;
        Ok(Self {
            generation: u32::from_be_bytes([g1, g2, g3, g4]),
            share: WrapShare::new(holder, share),
        })
    }
}

const VERSION: u8 = 1;
/// Octets of a holder's answer.
const REPLY_LEN: usize = 39;
