//! Suite `SSS-HPKE-XWING`: a secret per wrap, each share sealed to one holder's own key (`SPEC.md`, section 16).
//!
//! Post-quantum and without a master key; who changes the holders has to wrap every image anew. X-Wing is a draft, so
//! nothing uses this suite unless it is asked to.

use std::{collections::BTreeMap, fmt};

use aws_lc_rs::rand::SecureRandom;
use sealift_keywrap::LayerSecret;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    CombineError, Combined, Culprit, ErrorId, HolderId, HpkePrivateKey, Label, Suite,
    ThresholdError, Wrap,
    dem::{PLAINTEXT_LEN, WrapKey},
    group::{domain, length_prefixed},
    label::is_name,
    object::{self, Object},
    randomness,
    share_list::{Binding, Receivers, ShareList},
    wrap::{compact, sha256},
};

pub use crate::share_list::WrapShare;

/// The holders of a key of this suite: a key descriptor that passed its checks.
///
/// There is no public key of the whole: each wrap has a secret of its own.
#[derive(Clone, Eq, PartialEq)]
pub struct SssKey {
    parts: SssParts,
    receivers: Receivers,
}

/// The members of a descriptor of this suite that nobody has checked yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SssParts {
    /// The key's name, by the rule of [`Label::key_id`].
    pub key_id: Box<str>,
    /// From 1; grows with every change of the holders' keys.
    pub epoch: u32,
    /// From 1.
    pub generation: u32,
    /// How many holders must answer.
    pub t: u8,
    /// The holders, ascending.
    pub holders: Vec<SssHolder>,
}

/// What the descriptor says about one holder.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SssHolder {
    /// Its index, the abscissa of its shares.
    pub index: HolderId,
    /// Its name.
    pub id: Box<str>,
    /// Where it stands.
    pub jurisdiction: Box<str>,
    /// Its X-Wing public key.
    pub kem_public_key: Box<[u8]>,
}

impl SssKey {
    /// Checks the members of a descriptor.
    ///
    /// # Errors
    /// `descriptor_invalid`.
    pub fn from_parts(parts: SssParts) -> Result<Self, ThresholdError> {
        let ascending = parts
            .holders
            .is_sorted_by(|one, next| one.index < next.index);
        let keys: BTreeMap<_, _> = parts
            .holders
            .iter()
            .map(|holder| (holder.index, holder.kem_public_key.clone()))
            .collect();
        let fits = is_name(&parts.key_id) && parts.epoch > 0 && parts.generation > 0 && ascending;
        let receivers = Receivers::new(parts.t, keys).filter(|_| fits);
        Ok(Self {
            receivers: receivers.ok_or(ThresholdError::dealer(ErrorId::DescriptorInvalid))?,
            parts,
        })
    }

    /// Reads and checks a descriptor.
    ///
    /// # Errors
    /// `descriptor_invalid`.
    pub fn from_json(json: &[u8]) -> Result<Self, ThresholdError> {
        let invalid = || ThresholdError::dealer(ErrorId::DescriptorInvalid);
        if json.len() > MAX_DESCRIPTOR_LEN {
            return Err(invalid());
        }
        let Object(view): Object<View> = serde_json::from_slice(json).map_err(|_| invalid())?;
        Self::from_parts(view.into_parts().ok_or_else(invalid)?)
    }

    /// Writes the descriptor.
    #[expect(
        clippy::expect_used,
        reason = "texts, numbers and lists of them always have a JSON form"
    )]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&View::from_parts(&self.parts)).expect("a JSON form")
    }

    /// Borrows the members of the descriptor.
    pub const fn parts(&self) -> &SssParts {
        &self.parts
    }

    /// Wraps `plaintext`, 1 to 4096 octets, for the holders of this key.
    ///
    /// # Errors
    /// `label_invalid`, `label_malformed`; `suite_mismatch` or `key_mismatch` if the label is not for this suite and
    /// key; `argument_invalid` for the length of the plaintext; `randomness`.
    pub fn wrap(
        &self,
        label: &Label,
        plaintext: &[u8],
        rng: &dyn SecureRandom,
    ) -> Result<Wrap, ThresholdError> {
        if label.suite != Suite::SssXwing {
            return Err(ThresholdError::encryptor(ErrorId::SuiteMismatch));
        }
        if !self.is_of(label) {
            return Err(ThresholdError::encryptor(ErrorId::KeyMismatch));
        }
        if !PLAINTEXT_LEN.contains(&plaintext.len()) {
            return Err(ThresholdError::encryptor(ErrorId::ArgumentInvalid));
        }
        let octets = label.encode()?;
        let secret = randomness::octets(rng)?;
        let binding = Binding::new(label, &octets);
        let list = ShareList::seal(&secret, &self.receivers, &binding, rng)?.encode();
        let c = wrap_key(&secret[..], &octets, &list).seal(&octets, plaintext);
        let compact = compact(Suite::SssXwing, &octets, &[&list], &c)
            .ok_or(ThresholdError::encryptor(ErrorId::ArgumentInvalid))?;
        Wrap::parse(&compact)
    }

    /// Checks that a wrap is of this suite and for this key, as section 9 does in its first four steps.
    ///
    /// Nothing vouches for the label yet: a share that opens does.
    ///
    /// # Errors
    /// `suite_mismatch`, `key_mismatch`, `wrap_malformed`.
    pub fn check<'a>(&self, wrap: &'a Wrap) -> Result<CheckedSssWrap<'a>, ThresholdError> {
        if wrap.suite() != Suite::SssXwing {
            return Err(ThresholdError::presenter(ErrorId::SuiteMismatch));
        }
        if !self.is_of(wrap.label()) {
            return Err(ThresholdError::presenter(ErrorId::KeyMismatch));
        }
        Ok(CheckedSssWrap {
            wrap,
            list: ShareList::parse(wrap.list())?,
            t: self.parts.t,
            generation: self.parts.generation,
        })
    }

    fn is_of(&self, label: &Label) -> bool {
        label.key_id == self.parts.key_id && label.epoch == self.parts.epoch
    }
}

impl fmt::Debug for SssKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SssParts {
            key_id,
            epoch,
            generation,
            ..
        } = &self.parts;
        write!(
            f,
            "SssKey({key_id}, epoch {epoch}, generation {generation})"
        )
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

    /// Writes what a holder seals to the node (section 16.3): 39 octets.
    pub fn write_reply(&self, share: &WrapShare) -> Zeroizing<Vec<u8>> {
        let mut reply = Zeroizing::new(Vec::with_capacity(REPLY_LEN));
        reply.push(VERSION);
        reply.extend(share.holder().octets());
        reply.extend(self.generation.to_be_bytes());
        reply.extend_from_slice(share.expose());
        reply
    }

    /// Reads what a holder sealed to the node.
    ///
    /// # Errors
    /// `partial_malformed`, `holder_unknown`, `generation_mismatch`.
    pub fn read_reply(&self, reply: &[u8]) -> Result<WrapShare, ThresholdError> {
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
        if u32::from_be_bytes([g1, g2, g3, g4]) != self.generation {
            return Err(ThresholdError::holder(ErrorId::GenerationMismatch, holder));
        }
        Ok(WrapShare::new(holder, share))
    }

    /// Opens the wrap with the shares that holders answered with, and names who answered wrongly.
    ///
    /// # Errors
    /// `holder_unknown`, `holder_duplicate`, `partials_insufficient`, `share_commitment_mismatch`, `combine_mismatch`,
    /// `aead_failed`.
    pub fn combine(&self, shares: &[WrapShare]) -> Result<Combined, CombineError> {
        let shares: Vec<&WrapShare> = shares.iter().collect();
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

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct View {
    v: u64,
    suite: Box<str>,
    key_id: Box<str>,
    epoch: u32,
    generation: u32,
    access: Object<AccessView>,
    holders: Vec<Object<HolderView>>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct AccessView {
    parts: [Object<PartView>; 1],
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PartView {
    t: u8,
    holders: Vec<HolderId>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct HolderView {
    index: HolderId,
    id: Box<str>,
    jurisdiction: Box<str>,
    kem: Box<str>,
    kem_public_key: Box<str>,
}

impl View {
    fn into_parts(self) -> Option<SssParts> {
        let [Object(part)] = self.access.0.parts;
        let mut holders = self
            .holders
            .into_iter()
            .map(|Object(holder)| {
                let kem_public_key = object::decode(&holder.kem_public_key)?.into();
                (&*holder.kem == KEM).then_some(SssHolder {
                    index: holder.index,
                    id: holder.id,
                    jurisdiction: holder.jurisdiction,
                    kem_public_key,
                })
            })
            .collect::<Option<Vec<_>>>()?;
        holders.sort_by_key(|holder| holder.index);
        let named = part.holders.iter();
        let fits = self.v == 1
            && &*self.suite == Suite::SssXwing.as_str()
            && holders.iter().map(|holder| &holder.index).eq(named);
        fits.then_some(SssParts {
            key_id: self.key_id,
            epoch: self.epoch,
            generation: self.generation,
            t: part.t,
            holders,
        })
    }

    fn from_parts(parts: &SssParts) -> Self {
        let holders = parts.holders.iter().map(|holder| {
            Object(HolderView {
                index: holder.index,
                id: holder.id.clone(),
                jurisdiction: holder.jurisdiction.clone(),
                kem: KEM.into(),
                kem_public_key: object::encode(&holder.kem_public_key),
            })
        });
        let part = PartView {
            t: parts.t,
            holders: parts.holders.iter().map(|holder| holder.index).collect(),
        };
        Self {
            v: 1,
            suite: Suite::SssXwing.as_str().into(),
            key_id: parts.key_id.clone(),
            epoch: parts.epoch,
            generation: parts.generation,
            access: Object(AccessView {
                parts: [Object(part)],
            }),
            holders: holders.collect(),
        }
    }
}

const KEM: &str = "X-Wing";
/// 255 holders with an X-Wing key each fit.
const MAX_DESCRIPTOR_LEN: usize = 1 << 20;
const VERSION: u8 = 1;
/// Octets of a holder's answer.
const REPLY_LEN: usize = 39;
