//! The three suites behind one face: what a holder keeps, what it checks, what it answers, and how answers combine.
//!
//! Whoever cares which suite it is uses [`Wrap::check`], [`GroupKey::check_sss`] and [`GroupKey::check_hybrid`].

use std::fmt;

use aws_lc_rs::rand::SecureRandom;
use zeroize::Zeroizing;

use crate::{
    CheckedHybridWrap, CheckedWrap, CombineError, Combined, Combiner, ErrorId, GroupKey, HolderId,
    HpkePrivateKey, HybridAnswer, PartialDecryption, ReplyKem, Share, Suite, ThresholdError, Wrap,
    WrapShare,
    sss::{CheckedSssWrap, SssAnswer},
    wrap::sha256,
};

/// What one holder keeps of one key: its share of the scalar, its private key for sealed shares, or both.
///
/// Wiped on drop. Not `Clone`, not `Serialize`, and silent under `Debug`.
pub enum KeyShare {
    /// Of the default suite.
    Tdh2(Share),
    /// Of the suite whose wraps have a secret each.
    SssXwing {
        /// Whose it is.
        index: HolderId,
        /// The generation of the key.
        generation: u32,
        /// The X-Wing key that shares are sealed to.
        key: HpkePrivateKey,
    },
    /// Of the hybrid suite.
    Hybrid(Share, HpkePrivateKey),
}

impl KeyShare {
    /// Returns whose it is.
    pub const fn index(&self) -> HolderId {
        match self {
            Self::Tdh2(share) | Self::Hybrid(share, _) => share.index(),
            Self::SssXwing { index, .. } => *index,
        }
    }

    /// Borrows the share of the scalar, if the suite has one.
    pub const fn share(&self) -> Option<&Share> {
        match self {
            Self::Tdh2(share) | Self::Hybrid(share, _) => Some(share),
            Self::SssXwing { .. } => None,
        }
    }

    /// Borrows the private key for sealed shares, if the suite has one.
    pub const fn key(&self) -> Option<&HpkePrivateKey> {
        match self {
            Self::SssXwing { key, .. } | Self::Hybrid(_, key) => Some(key),
            Self::Tdh2(_) => None,
        }
    }

    /// Checks that this is what the descriptor says that the holder keeps.
    ///
    /// # Errors
    /// `holder_unknown`, `generation_mismatch`, `share_invalid`.
    pub fn verify(&self, group: &GroupKey) -> Result<(), ThresholdError> {
        let (suite, generation) = match self {
            Self::Tdh2(share) => (Suite::Tdh2, share.generation()),
            Self::Hybrid(share, _) => (Suite::Hybrid, share.generation()),
            Self::SssXwing { generation, .. } => (Suite::SssXwing, *generation),
        };
        let error = |id| ThresholdError::holder(id, self.index());
        let entry = group.holder(self.index());
        let entry = entry.ok_or(error(ErrorId::HolderUnknown))?;
        if generation != group.generation() {
            return Err(error(ErrorId::GenerationMismatch));
        }
        let public = self.key().map(HpkePrivateKey::public);
        if suite != group.suite() || public != entry.kem_public_key.as_deref() {
            return Err(ThresholdError::dealer(ErrorId::ShareInvalid));
        }
        self.share().map_or(Ok(()), |share| share.verify(group))
    }

    /// Opens what a wrap holds for this holder: the last check before anybody may decide on its label.
    ///
    /// # Errors
    /// `suite_mismatch`, `share_open_failed`, `share_commitment_mismatch`.
    pub fn open_entry<'a>(
        &self,
        wrap: CheckedAnyWrap<'a>,
    ) -> Result<OpenedWrap<'a>, ThresholdError> {
        Ok(match (wrap, self.key()) {
            (CheckedAnyWrap::Tdh2(wrap), None) => OpenedWrap::Tdh2(wrap),
            (CheckedAnyWrap::SssXwing(wrap), Some(key)) => {
                OpenedWrap::SssXwing(wrap.open_share(self.index(), key)?)
            }
            (CheckedAnyWrap::Hybrid(wrap), Some(key)) => {
                let share = wrap.open_share(self.index(), key)?;
                OpenedWrap::Hybrid(wrap, share)
            }
            _ => return Err(ThresholdError::presenter(ErrorId::SuiteMismatch)),
        })
    }

    /// Answers for an opened wrap, with everything that the suite demands or not at all.
    ///
    /// # Errors
    /// As [`Share::partial`]; `suite_mismatch`.
    pub fn answer(
        &self,
        group: &GroupKey,
        wrap: OpenedWrap<'_>,
        request_hash: &[u8; 32],
        rng: &dyn SecureRandom,
    ) -> Result<Answer, ThresholdError> {
        Ok(match (self, wrap) {
            (Self::Tdh2(share), OpenedWrap::Tdh2(wrap)) => {
                Answer::Tdh2(share.partial(group, &wrap, request_hash, rng)?)
            }
            (Self::SssXwing { generation, .. }, OpenedWrap::SssXwing(share)) => {
                Answer::SssXwing(SssAnswer {
                    generation: *generation,
                    share,
                })
            }
            (Self::Hybrid(share, _), OpenedWrap::Hybrid(wrap, opened)) => {
                Answer::Hybrid(wrap.answer(group, share, opened, request_hash, rng)?)
            }
            _ => return Err(ThresholdError::presenter(ErrorId::SuiteMismatch)),
        })
    }

    /// Writes what is kept: 32 octets of the default suite, else the suite's number and 32 octets of each secret.
    pub fn to_octets(&self) -> Zeroizing<Vec<u8>> {
        let mut octets = Zeroizing::new(Vec::with_capacity(1 + 2 * SECRET_LEN));
        match self {
            Self::Tdh2(_) => {}
            Self::SssXwing { .. } => octets.push(Suite::SssXwing.number()),
            Self::Hybrid(..) => octets.push(Suite::Hybrid.number()),
        }
        octets.extend_from_slice(self.share().map_or(&[], |share| share.expose()));
        octets.extend_from_slice(self.key().map_or(&[], |key| key.expose()));
        octets
    }

    /// Reads what was kept.
    ///
    /// # Errors
    /// `scalar_invalid`, `share_invalid`.
    pub fn from_octets(
        index: HolderId,
        generation: u32,
        octets: &[u8],
    ) -> Result<Self, ThresholdError> {
        let key = |octets: &[u8; SECRET_LEN]| {
            HpkePrivateKey::from_octets(ReplyKem::XWing, Zeroizing::new(*octets))
        };
        let suite = octets.first().copied().and_then(Suite::from_number);
        let (secrets, rest) = octets
            .get(1..)
            .unwrap_or_default()
            .as_chunks::<SECRET_LEN>();
        match (suite, secrets, rest) {
            (Some(Suite::SssXwing), [kept], []) => Ok(Self::SssXwing {
                index,
                generation,
                key: key(kept)?,
            }),
            (Some(Suite::Hybrid), [share, kept], []) => {
                let share = Share::decode(index, generation, share)?;
                Ok(Self::Hybrid(share, key(kept)?))
            }
            _ => Share::decode(index, generation, octets).map(Self::Tdh2),
        }
    }
}

impl From<Share> for KeyShare {
    fn from(share: Share) -> Self {
        Self::Tdh2(share)
    }
}

impl fmt::Debug for KeyShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyShare(holder {}, ..)", self.index())
    }
}

impl GroupKey {
    /// Checks a wrap of this key as section 9 says for its suite.
    ///
    /// # Errors
    /// As [`Wrap::check`]; `key_mismatch` for a wrap of another suite than the key's.
    pub fn check<'a>(&self, wrap: &'a Wrap) -> Result<CheckedAnyWrap<'a>, ThresholdError> {
        if wrap.suite() != self.suite() {
            return Err(ThresholdError::presenter(ErrorId::KeyMismatch));
        }
        Ok(match self.suite() {
            Suite::Tdh2 => CheckedAnyWrap::Tdh2(wrap.check(self)?),
            Suite::SssXwing => CheckedAnyWrap::SssXwing(self.check_sss(wrap)?),
            Suite::Hybrid => CheckedAnyWrap::Hybrid(self.check_hybrid(wrap)?),
        })
    }
}

/// A wrap that passed the checks of its suite that need no secret.
#[derive(Clone, Debug)]
pub enum CheckedAnyWrap<'a> {
    /// Of the default suite: its label is the one it was made with.
    Tdh2(CheckedWrap<'a>),
    /// Of the suite whose wraps have a secret each: nothing vouches for its label yet.
    SssXwing(CheckedSssWrap<'a>),
    /// Of the hybrid suite: its label is the one it was made with.
    Hybrid(CheckedHybridWrap<'a>),
}

impl CheckedAnyWrap<'_> {
    /// Opens the wrap with answers of holders, and names who is proven to have answered wrongly.
    ///
    /// # Errors
    /// As [`Combiner::combine`], [`CheckedSssWrap::combine`], [`CheckedHybridWrap::combine`]; `partial_malformed` for an
    /// answer of another suite.
    pub fn combine(
        &self,
        group: &GroupKey,
        request_hash: &[u8; 32],
        answers: &[&Answer],
    ) -> Result<Combined, CombineError> {
        match self {
            Self::Tdh2(wrap) => {
                let partials: Vec<_> = of_suite(answers, Answer::partial)?;
                let partials: Vec<_> = partials.into_iter().cloned().collect();
                Combiner::new(group, wrap.clone(), *request_hash).combine(&partials)
            }
            Self::SssXwing(wrap) => wrap.combine(&of_suite(answers, |answer| match answer {
                Answer::SssXwing(answer) => Some(answer),
                _ => None,
            })?),
            Self::Hybrid(wrap) => {
                let answers = of_suite(answers, |answer| match answer {
                    Answer::Hybrid(answer) => Some(answer),
                    _ => None,
                })?;
                wrap.combine(group, request_hash, &answers)
            }
        }
    }
}

/// A checked wrap, and the share that was sealed to one holder in it. Shares are wiped on drop.
#[derive(Debug)]
pub enum OpenedWrap<'a> {
    /// Of the default suite: nothing is sealed to single holders.
    Tdh2(CheckedWrap<'a>),
    /// Of the suite whose wraps have a secret each.
    SssXwing(WrapShare),
    /// Of the hybrid suite.
    Hybrid(CheckedHybridWrap<'a>, WrapShare),
}

/// What one holder answers for one wrap. Shares in it are wiped on drop.
#[derive(Debug)]
pub enum Answer {
    /// Of the default suite, and for unlabelled wraps.
    Tdh2(PartialDecryption),
    /// Of the suite whose wraps have a secret each.
    SssXwing(SssAnswer),
    /// Of the hybrid suite.
    Hybrid(HybridAnswer),
}

impl Answer {
    /// Reads what a holder sealed to the node.
    ///
    /// # Errors
    /// `partial_malformed`, `holder_unknown`.
    pub fn parse(suite: Suite, octets: &[u8]) -> Result<Self, ThresholdError> {
        Ok(match suite {
            Suite::Tdh2 => Self::Tdh2(PartialDecryption::parse(octets)?),
            Suite::SssXwing => Self::SssXwing(SssAnswer::parse(octets)?),
            Suite::Hybrid => Self::Hybrid(HybridAnswer::parse(octets)?),
        })
    }

    /// Writes what a holder seals to the node.
    pub fn write(&self) -> Zeroizing<Vec<u8>> {
        match self {
            Self::Tdh2(partial) => Zeroizing::new(partial.as_bytes().to_vec()),
            Self::SssXwing(answer) => answer.write(),
            Self::Hybrid(answer) => answer.write(),
        }
    }

    /// Returns the SHA-256 of what is sealed to the node, which release receipts carry.
    ///
    /// A share in it has 256 random bits, so its hash says nothing about it.
    pub fn digest(&self) -> [u8; 32] {
        sha256(&self.write())
    }

    /// Returns who says it answered.
    pub const fn holder(&self) -> HolderId {
        match self {
            Self::Tdh2(partial) => partial.holder(),
            Self::SssXwing(answer) => answer.share.holder(),
            Self::Hybrid(answer) => answer.partial.holder(),
        }
    }

    /// Returns the generation of the key that it says it used.
    pub const fn generation(&self) -> u32 {
        match self {
            Self::Tdh2(partial) => partial.generation(),
            Self::SssXwing(answer) => answer.generation,
            Self::Hybrid(answer) => answer.partial.generation(),
        }
    }

    /// Borrows the answer of the default suite.
    pub const fn partial(&self) -> Option<&PartialDecryption> {
        match self {
            Self::Tdh2(partial) => Some(partial),
            _ => None,
        }
    }
}

/// Takes the answers of one suite out of their cover; one of another suite is its holder's doing.
fn of_suite<'a, T>(
    answers: &[&'a Answer],
    inner: impl Fn(&'a Answer) -> Option<&'a T>,
) -> Result<Vec<&'a T>, ThresholdError> {
    let inner = |answer: &&'a Answer| {
        inner(answer).ok_or(ThresholdError::holder(
            ErrorId::PartialMalformed,
            answer.holder(),
        ))
    };
    answers.iter().map(inner).collect()
}

/// Octets of a scalar, and of the private key of X-Wing.
const SECRET_LEN: usize = 32;
