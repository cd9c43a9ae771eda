//! Who keeps the shares of one key: the key descriptor (`SPEC.md`, section 6).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::STANDARD};
use p256::elliptic_curve::sec1::ToSec1Point;
use serde::{Deserialize, Serialize};

use crate::{
    ErrorId, HolderId, Suite, ThresholdError,
    group::{self, EncodedPoint, Point},
    label::is_name,
    object::{self, Object},
    share_list::Receivers,
};

/// The public half of a key that holders share: a key descriptor that passed its checks, of any suite.
///
/// A key has one suite, and its wraps are of that suite. It says nothing about who published it: obtain descriptors from a signed envelope.
#[derive(Clone)]
pub struct GroupKey(Arc<Inner>);

struct Inner {
    parts: DescriptorParts,
    suite: Suite,
    // Of the suites with a P-256 half.
    curve: Option<Curve>,
    // Of the suites with sealed shares.
    receivers: Option<Receivers>,
}

/// The P-256 half of a key.
pub(crate) struct Curve {
    pub(crate) public_key: EncodedPoint,
    pub(crate) y: Point,
    pub(crate) gamma: Point,
    pub(crate) gamma_encoded: EncodedPoint,
    // In the order of the descriptor's holders.
    public_shares: Vec<Point>,
}

impl GroupKey {
    /// Reads and checks a descriptor.
    ///
    /// # Errors
    /// `descriptor_invalid`.
    pub fn from_json(json: &[u8]) -> Result<Self, ThresholdError> {
        if json.len() > MAX_DESCRIPTOR_LEN {
            return Err(invalid());
        }
        let view: Object<View> = serde_json::from_slice(json).map_err(|_| invalid())?;
        Self::from_parts(view.0.into_parts().ok_or_else(invalid)?)
    }

    /// Checks what a ceremony produced.
    ///
    /// # Errors
    /// `descriptor_invalid`.
    pub fn from_parts(parts: DescriptorParts) -> Result<Self, ThresholdError> {
        Inner::check(parts)
            .map(|inner| Self(Arc::new(inner)))
            .ok_or_else(invalid)
    }

    /// Writes the descriptor.
    #[expect(
        clippy::expect_used,
        reason = "texts, numbers and lists of them always have a JSON form"
    )]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&View::from_parts(&self.0.parts)).expect("a JSON form")
    }

    /// Returns the key's name.
    pub fn key_id(&self) -> &str {
        &self.0.parts.key_id
    }

    /// Returns the number of the public key under this name.
    pub fn epoch(&self) -> u32 {
        self.0.parts.epoch
    }

    /// Returns the number of the sharing; it grows while the public key stays.
    pub fn generation(&self) -> u32 {
        self.0.parts.generation
    }

    /// Returns the suite of the key and of its wraps.
    ///
    /// In JSON a key of the hybrid suite has the name of the default suite, and X-Wing keys of all its holders.
    pub fn suite(&self) -> Suite {
        self.0.suite
    }

    /// Returns the public key, compressed; `None` for the suite that has none.
    pub fn public_key(&self) -> Option<[u8; 33]> {
        self.0.parts.public_key
    }

    /// Returns the public key as stock tools read it: PEM of a `SubjectPublicKeyInfo`.
    pub fn public_key_pem(&self) -> Option<String> {
        let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
        let mut text = &*STANDARD.encode(self.0.curve.as_ref()?.spki());
        while let Some((line, rest)) = text.split_at_checked(64) {
            pem.push_str(line);
            pem.push('\n');
            text = rest;
        }
        pem.push_str(text);
        pem.push_str("\n-----END PUBLIC KEY-----\n");
        Some(pem)
    }

    /// Returns the hex SHA-256 of the DER `SubjectPublicKeyInfo`; of the holders' keys for the suite without one.
    pub fn fingerprint(&self) -> String {
        let identity = match &self.0.curve {
            Some(curve) => curve.spki(),
            None => {
                let holders = self.holders().iter();
                let keys = holders.map(|holder| holder.kem_public_key.as_deref());
                group::length_prefixed(&keys.map(Option::unwrap_or_default).collect::<Vec<_>>())
            }
        };
        hex::encode(digest::digest(&digest::SHA256, &identity))
    }

    /// Returns whether `other` describes the same key, perhaps in another sharing: what opens under one opens under the
    /// other.
    pub fn is_same_key(&self, other: &Self) -> bool {
        let identity = |key: &Self| {
            let parts = &key.0.parts;
            (
                parts.key_id.clone(),
                parts.epoch,
                parts.public_key,
                parts.unbound,
            )
        };
        identity(self) == identity(other) && self.0.receivers == other.0.receivers
    }

    /// Returns whether the key serves unlabelled JWEs, and only those (section 13.1).
    pub fn unbound(&self) -> bool {
        self.0.parts.unbound
    }

    /// Returns the parts of the access structure; every one must reach its threshold.
    pub fn parts(&self) -> &[Part] {
        &self.0.parts.parts
    }

    /// Returns all holders.
    pub fn holders(&self) -> &[HolderEntry] {
        &self.0.parts.holders
    }

    /// Finds a holder.
    pub fn holder(&self, index: HolderId) -> Option<&HolderEntry> {
        self.holders().iter().find(|holder| holder.index == index)
    }

    /// Returns how many holders must refuse, at least, so that nobody can open anything: the smallest `n - t + 1`.
    pub fn threshold_w(&self) -> usize {
        self.parts()
            .iter()
            .map(|part| part.holders.len() + 1 - usize::from(part.t))
            .min()
            .unwrap_or_default()
    }

    /// Borrows the P-256 half.
    ///
    /// # Errors
    /// `key_mismatch` for the suite that has none.
    pub(crate) fn curve(&self) -> Result<&Curve, ThresholdError> {
        let curve = self.0.curve.as_ref();
        curve.ok_or(ThresholdError::presenter(ErrorId::KeyMismatch))
    }

    /// Returns whom shares are sealed to.
    ///
    /// # Errors
    /// `key_mismatch` for the suite without sealed shares.
    pub(crate) fn receivers(&self) -> Result<&Receivers, ThresholdError> {
        let receivers = self.0.receivers.as_ref();
        receivers.ok_or(ThresholdError::presenter(ErrorId::KeyMismatch))
    }

    /// Finds a holder and its decoded public share.
    pub(crate) fn holder_point(&self, index: HolderId) -> Option<(&HolderEntry, &Point)> {
        self.holders()
            .iter()
            .zip(&self.0.curve.as_ref()?.public_shares)
            .find(|(holder, _)| holder.index == index)
    }
}

impl Curve {
    /// Returns the DER `SubjectPublicKeyInfo` (RFC 5480), uncompressed as every reader takes it.
    fn spki(&self) -> Vec<u8> {
        [
            &SPKI_PREFIX,
            self.y.to_affine().to_sec1_point(false).as_bytes(),
        ]
        .concat()
    }
}

impl fmt::Debug for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "GroupKey({}, epoch {}, generation {}, {})",
            self.key_id(),
            self.epoch(),
            self.generation(),
            self.fingerprint()
        )
    }
}

/// The members of a descriptor that nobody has checked yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DescriptorParts {
    /// The key's name, by the rule of [`Label::key_id`](crate::Label::key_id).
    pub key_id: Box<str>,
    /// From 1; grows with every new public key.
    pub epoch: u32,
    /// From 1; grows with every refresh and reshare.
    pub generation: u32,
    /// The public key, compressed; none in the suite whose wraps have a secret each.
    pub public_key: Option<[u8; 33]>,
    /// Whether the key serves unlabelled JWEs, and only those.
    pub unbound: bool,
    /// 1 to 8 thresholds, all of which must be reached.
    pub parts: Vec<Part>,
    /// Each holder of a part once.
    pub holders: Vec<HolderEntry>,
}

/// One threshold of an access structure.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Part {
    /// How many of the holders must answer.
    pub t: u8,
    /// The holders, ascending.
    pub holders: Vec<HolderId>,
    /// The `t` commitments to the polynomial, constant term first; none without a public key.
    pub commitments: Vec<[u8; 33]>,
}

/// What the descriptor says about one holder.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HolderEntry {
    /// Its index, the abscissa of its share.
    pub index: HolderId,
    /// Its name.
    pub id: Box<str>,
    /// Where it stands.
    pub jurisdiction: Box<str>,
    /// Its share times the generator; none without a public key.
    pub public_share: Option<[u8; 33]>,
    /// Whether it can prove its answers with that share.
    pub proof: ProofKind,
    /// Its X-Wing key, to which shares of single wraps are sealed: of all holders, or of none.
    pub kem_public_key: Option<Box<[u8]>>,
}

/// Whether a holder can prove its answers.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProofKind {
    /// It proves the equality of two discrete logarithms.
    Dleq,
    /// Its share sits behind an interface that cannot (section 13.2).
    Unproven,
}

impl Inner {
    /// The checks of section 6.
    fn check(parts: DescriptorParts) -> Option<Self> {
        if !is_name(&parts.key_id)
            || parts.epoch == 0
            || parts.generation == 0
            || !(1..=MAX_PARTS).contains(&parts.parts.len())
        {
            return None;
        }
        // Equal numbers of distinct indices and every entry found in a part: each holder is in exactly one.
        let named = parts.parts.iter().flat_map(|part| &part.holders);
        let distinct: BTreeSet<HolderId> = named.clone().copied().collect();
        let entries: BTreeSet<HolderId> = parts.holders.iter().map(|entry| entry.index).collect();
        let possible = parts.parts.iter().all(|part| {
            let ascending = part.holders.is_sorted_by(|one, next| one < next);
            ascending && part.t > 0 && usize::from(part.t) <= part.holders.len()
        });
        if !possible
            || distinct.len() != named.count()
            || entries.len() != parts.holders.len()
            || entries != distinct
        {
            return None;
        }
        let receivers = receivers(&parts)?;
        let suite = match (&parts.public_key, &receivers) {
            (Some(_), None) => Suite::Tdh2,
            (Some(_), Some(_)) => Suite::Hybrid,
            (None, Some(_)) => Suite::SssXwing,
            (None, None) => return None,
        };
        Some(Self {
            curve: match parts.public_key {
                Some(public_key) => Some(Curve::check(&parts, public_key, suite)?),
                None if has_points(&parts) => return None,
                None => None,
            },
            receivers,
            suite,
            parts,
        })
    }
}

impl Curve {
    /// The checks of section 6 on points.
    fn check(parts: &DescriptorParts, public_key: EncodedPoint, suite: Suite) -> Option<Self> {
        let y = group::decode_point(&public_key)?;
        let mut constant_terms = Point::IDENTITY;
        let mut expected: BTreeMap<HolderId, Point> = BTreeMap::new();
        for part in &parts.parts {
            if part.commitments.len() != usize::from(part.t) {
                return None;
            }
            let commitments = part
                .commitments
                .iter()
                .map(|commitment| group::decode_point(commitment))
                .collect::<Option<Vec<_>>>()?;
            constant_terms += commitments.first()?;
            for holder in &part.holders {
                expected.insert(*holder, group::evaluate_commitments(&commitments, *holder));
            }
        }
        if constant_terms != y {
            return None;
        }
        let mut public_shares = Vec::with_capacity(parts.holders.len());
        for entry in &parts.holders {
            let public_share = group::decode_point(&entry.public_share?)?;
            if public_share != *expected.get(&entry.index)? {
                return None;
            }
            public_shares.push(public_share);
        }
        let gamma = group::gamma(suite.as_str(), &public_key, &parts.key_id);
        Some(Self {
            public_key,
            y,
            gamma,
            gamma_encoded: group::encode(&gamma)?,
            public_shares,
        })
    }
}

/// Finds whom shares are sealed to: nobody, or all holders of the one part; `None` for anything else.
fn receivers(parts: &DescriptorParts) -> Option<Option<Receivers>> {
    let keys = parts.holders.iter().filter_map(|holder| {
        let key = holder.kem_public_key.clone()?;
        Some((holder.index, key))
    });
    let keys: BTreeMap<HolderId, Box<[u8]>> = keys.collect();
    if keys.is_empty() {
        return Some(None);
    }
    match parts.parts.as_slice() {
        [part] if keys.len() == parts.holders.len() && !parts.unbound => {
            Receivers::new(part.t, keys).map(Some)
        }
        _ => None,
    }
}

fn has_points(parts: &DescriptorParts) -> bool {
    let committed = parts.parts.iter().any(|part| !part.commitments.is_empty());
    let shared = parts
        .holders
        .iter()
        .any(|entry| entry.public_share.is_some());
    committed || shared
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct View {
    v: u64,
    suite: Box<str>,
    key_id: Box<str>,
    epoch: u32,
    generation: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    public_key: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unbound: bool,
    access: Object<AccessView>,
    holders: Vec<Object<HolderView>>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct AccessView {
    parts: Vec<Object<PartView>>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PartView {
    t: u8,
    holders: Vec<HolderId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    commitments: Vec<Box<str>>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct HolderView {
    index: HolderId,
    id: Box<str>,
    jurisdiction: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    public_share: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proof: Option<ProofKind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kem: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kem_public_key: Option<Box<str>>,
}

impl View {
    fn into_parts(self) -> Option<DescriptorParts> {
        // The members say which suite it is; the name must fit them.
        let suite = if self.public_key.is_some() {
            Suite::Tdh2
        } else {
            Suite::SssXwing
        };
        if self.v != 1 || *self.suite != *suite.as_str() {
            return None;
        }
        let parts = self.access.0.parts.into_iter().map(|part| {
            let commitments = part.0.commitments.iter();
            Some(Part {
                t: part.0.t,
                holders: part.0.holders,
                commitments: commitments
                    .map(|commitment| object::decode_exactly(commitment))
                    .collect::<Option<_>>()?,
            })
        });
        let holders = self.holders.into_iter().map(|Object(holder)| {
            Some(HolderEntry {
                index: holder.index,
                id: holder.id,
                jurisdiction: holder.jurisdiction,
                proof: match (&holder.public_share, holder.proof) {
                    (Some(_), Some(proof)) => proof,
                    (None, None) => ProofKind::Dleq,
                    _ => return None,
                },
                public_share: match holder.public_share {
                    Some(point) => Some(object::decode_exactly(&point)?),
                    None => None,
                },
                kem_public_key: match (holder.kem.as_deref(), holder.kem_public_key) {
                    (None, None) => None,
                    (Some(KEM), Some(key)) => Some(object::decode(&key)?.into()),
                    _ => return None,
                },
            })
        });
        Some(DescriptorParts {
            public_key: match self.public_key {
                Some(point) => Some(object::decode_exactly(&point)?),
                None => None,
            },
            parts: parts.collect::<Option<_>>()?,
            holders: holders.collect::<Option<_>>()?,
            key_id: self.key_id,
            epoch: self.epoch,
            generation: self.generation,
            unbound: self.unbound,
        })
    }

    fn from_parts(parts: &DescriptorParts) -> Self {
        let access = parts.parts.iter().map(|part| {
            Object(PartView {
                t: part.t,
                holders: part.holders.clone(),
                commitments: part.commitments.iter().map(object::encode).collect(),
            })
        });
        let holders = parts.holders.iter().map(|holder| {
            Object(HolderView {
                index: holder.index,
                id: holder.id.clone(),
                jurisdiction: holder.jurisdiction.clone(),
                public_share: holder.public_share.map(object::encode),
                proof: holder.public_share.map(|_| holder.proof),
                kem: holder.kem_public_key.as_ref().map(|_| KEM.into()),
                kem_public_key: holder.kem_public_key.as_ref().map(object::encode),
            })
        });
        Self {
            v: 1,
            suite: match parts.public_key {
                Some(_) => Suite::Tdh2.as_str().into(),
                None => Suite::SssXwing.as_str().into(),
            },
            key_id: parts.key_id.clone(),
            epoch: parts.epoch,
            generation: parts.generation,
            public_key: parts.public_key.map(object::encode),
            unbound: parts.unbound,
            access: Object(AccessView {
                parts: access.collect(),
            }),
            holders: holders.collect(),
        }
    }
}

fn invalid() -> ThresholdError {
    ThresholdError::dealer(ErrorId::DescriptorInvalid)
}

const KEM: &str = "X-Wing";
const MAX_PARTS: usize = 8;
/// 255 holders with an X-Wing key each fit.
const MAX_DESCRIPTOR_LEN: usize = 1 << 20;
/// id-ecPublicKey, secp256r1, and the head of the bit string.
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
