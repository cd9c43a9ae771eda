//! Who keeps the shares of one key: the key descriptor (`SPEC.md`, section 6).

use std::{collections::BTreeSet, fmt, sync::Arc};

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::STANDARD};
use p256::elliptic_curve::sec1::ToSec1Point;
use serde::{Deserialize, Serialize};

use crate::{
    ErrorId, HolderId, Suite, ThresholdError,
    group::{self, EncodedPoint, Point},
    label::is_name,
    object::{self, Object},
};

/// The public half of a key whose private half is shared: a key descriptor that passed its checks.
///
/// It says nothing about who published it: obtain descriptors from a signed envelope.
#[derive(Clone)]
pub struct GroupKey(Arc<Inner>);

struct Inner {
    parts: DescriptorParts,
    y: Point,
    gamma: Point,
    gamma_encoded: EncodedPoint,
    // In the order of `parts.holders`.
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

    /// Returns the suite of the descriptor; the hybrid suite uses the same for its P-256 half.
    pub fn suite(&self) -> Suite {
        Suite::Tdh2
    }

    /// Returns the public key, compressed.
    pub fn public_key(&self) -> [u8; 33] {
        self.0.parts.public_key
    }

    /// Returns the public key as stock tools read it: PEM of a `SubjectPublicKeyInfo`.
    pub fn public_key_pem(&self) -> String {
        let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
        let mut text = &*STANDARD.encode(self.spki());
        while let Some((line, rest)) = text.split_at_checked(64) {
            pem.push_str(line);
            pem.push('\n');
            text = rest;
        }
        pem.push_str(text);
        pem.push_str("\n-----END PUBLIC KEY-----\n");
        pem
    }

    /// Returns the hex SHA-256 of the DER `SubjectPublicKeyInfo`.
    pub fn fingerprint(&self) -> String {
        hex::encode(digest::digest(&digest::SHA256, &self.spki()))
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

    pub(crate) fn y(&self) -> &Point {
        &self.0.y
    }

    pub(crate) fn gamma(&self) -> &Point {
        &self.0.gamma
    }

    pub(crate) fn gamma_encoded(&self) -> &EncodedPoint {
        &self.0.gamma_encoded
    }

    /// Finds a holder and its decoded public share.
    pub(crate) fn holder_point(&self, index: HolderId) -> Option<(&HolderEntry, &Point)> {
        self.holders()
            .iter()
            .zip(&self.0.public_shares)
            .find(|(holder, _)| holder.index == index)
    }

    /// Returns the DER `SubjectPublicKeyInfo` (RFC 5480), uncompressed as every reader takes it.
    fn spki(&self) -> Vec<u8> {
        [
            &SPKI_PREFIX,
            self.0.y.to_affine().to_sec1_point(false).as_bytes(),
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
    /// The public key, compressed.
    pub public_key: [u8; 33],
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
    /// The `t` commitments to the polynomial, constant term first.
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
    /// Its share times the generator.
    pub public_share: [u8; 33],
    /// Whether it can prove its answers.
    pub proof: ProofKind,
    /// Its X-Wing key, for the hybrid suite.
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
        let y = group::decode_point(&parts.public_key)?;
        let mut constant_terms = Point::IDENTITY;
        let mut expected: Vec<(HolderId, Point)> = Vec::new();
        for part in &parts.parts {
            let ascending = part.holders.is_sorted_by(|one, next| one < next);
            let t = usize::from(part.t);
            if t == 0 || t > part.holders.len() || t != part.commitments.len() || !ascending {
                return None;
            }
            let commitments = part
                .commitments
                .iter()
                .map(|commitment| group::decode_point(commitment))
                .collect::<Option<Vec<_>>>()?;
            constant_terms += commitments.first()?;
            for holder in &part.holders {
                expected.push((*holder, group::evaluate_commitments(&commitments, *holder)));
            }
        }
        // Equal numbers of distinct indices and every entry found in a part: each holder is in exactly one.
        let distinct: BTreeSet<HolderId> = expected.iter().map(|(holder, _)| *holder).collect();
        let entries: BTreeSet<HolderId> = parts.holders.iter().map(|entry| entry.index).collect();
        if constant_terms != y
            || distinct.len() != expected.len()
            || entries.len() != parts.holders.len()
            || entries != distinct
        {
            return None;
        }
        let mut public_shares = Vec::with_capacity(parts.holders.len());
        for entry in &parts.holders {
            let public_share = group::decode_point(&entry.public_share)?;
            let (_, evaluated) = expected.iter().find(|(holder, _)| *holder == entry.index)?;
            if public_share != *evaluated {
                return None;
            }
            public_shares.push(public_share);
        }
        let gamma = group::gamma(Suite::Tdh2.as_str(), &parts.public_key, &parts.key_id);
        Some(Self {
            y,
            gamma,
            gamma_encoded: group::encode(&gamma)?,
            public_shares,
            parts,
        })
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct View {
    v: u64,
    suite: Box<str>,
    key_id: Box<str>,
    epoch: u32,
    generation: u32,
    public_key: Box<str>,
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
    commitments: Vec<Box<str>>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct HolderView {
    index: HolderId,
    id: Box<str>,
    jurisdiction: Box<str>,
    public_share: Box<str>,
    proof: ProofKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kem: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kem_public_key: Option<Box<str>>,
}

impl View {
    fn into_parts(self) -> Option<DescriptorParts> {
        if self.v != 1 || &*self.suite != Suite::Tdh2.as_str() {
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
                public_share: object::decode_exactly(&holder.public_share)?,
                proof: holder.proof,
                kem_public_key: match (holder.kem.as_deref(), holder.kem_public_key) {
                    (None, None) => None,
                    (Some(KEM), Some(key)) => Some(object::decode(&key)?.into()),
                    _ => return None,
                },
            })
        });
        Some(DescriptorParts {
            public_key: object::decode_exactly(&self.public_key)?,
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
                public_share: object::encode(holder.public_share),
                proof: holder.proof,
                kem: holder.kem_public_key.as_ref().map(|_| KEM.into()),
                kem_public_key: holder.kem_public_key.as_ref().map(object::encode),
            })
        });
        Self {
            v: 1,
            suite: Suite::Tdh2.as_str().into(),
            key_id: parts.key_id.clone(),
            epoch: parts.epoch,
            generation: parts.generation,
            public_key: object::encode(parts.public_key),
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
