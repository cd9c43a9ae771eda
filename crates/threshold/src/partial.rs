//! One holder's answer: a partial decryption, and the proof that it is one (`SPEC.md`, section 10).

use aws_lc_rs::rand::SecureRandom;
use serde::{Serialize, Serializer};

use crate::{
    CheckedWrap, Culprit, ErrorId, GroupKey, HolderEntry, HolderId, ProofKind, Share,
    ThresholdError,
    group::{self, POINT_LEN, Point, SCALAR_LEN, Scalar, domain},
    multiply::{Base, Multiplier},
    object, randomness,
    wrap::sha256,
};

/// A partial decryption: well-formed, and nothing more is known of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PartialDecryption {
    octets: Vec<u8>,
    holder: HolderId,
    generation: u32,
}

impl PartialDecryption {
    /// Reads the compact form.
    ///
    /// # Errors
    /// `partial_malformed`; `holder_unknown` for an index that no holder can have.
    pub fn parse(octets: &[u8]) -> Result<Self, ThresholdError> {
        let malformed = || ThresholdError::new(ErrorId::PartialMalformed, Culprit::Holder(None));
        let (&[version, high, low, g1, g2, g3, g4], rest) =
            octets.split_first_chunk().ok_or_else(malformed)?;
        let proof_len = match rest.get(POINT_LEN) {
            Some(0) => 0,
            Some(1) => 2 * SCALAR_LEN,
            _ => return Err(malformed()),
        };
        if version != VERSION || rest.len() != POINT_LEN + 1 + proof_len {
            return Err(malformed());
        }
        let index = u16::from_be_bytes([high, low]);
        let holder = u8::try_from(index).ok().and_then(HolderId::new);
        Ok(Self {
            octets: octets.to_vec(),
            holder: holder.ok_or(ThresholdError::new(
                ErrorId::HolderUnknown,
                Culprit::NotAHolder(index),
            ))?,
            generation: u32::from_be_bytes([g1, g2, g3, g4]),
        })
    }

    /// Borrows the compact form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.octets
    }

    /// Returns the SHA-256 of the compact form, which release receipts carry.
    pub fn digest(&self) -> [u8; 32] {
        sha256(&self.octets)
    }

    /// Returns who says it answered.
    pub const fn holder(&self) -> HolderId {
        self.holder
    }

    /// Returns the number of the sharing that it says it used.
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// Checks that the holder multiplied `r1` with its share, for this request and this wrap.
    ///
    /// An unproven holder's partial passes without a proof: only the combination shows whether it is right.
    ///
    /// # Errors
    /// `holder_unknown`, `generation_mismatch`, `point_invalid`, `partial_proof_missing`, `scalar_invalid`,
    /// `partial_proof_invalid`.
    pub fn verify(
        &self,
        group: &GroupKey,
        r1: &[u8; 33],
        request_hash: &[u8; 32],
        wrap_digest: &[u8; 32],
    ) -> Result<(), ThresholdError> {
        let question = Question::decode(r1, request_hash, wrap_digest)?;
        self.admit(group)?.verify(&question)
    }

    /// Makes every check but that of the proof itself.
    pub(crate) fn admit<'a>(&'a self, group: &'a GroupKey) -> Result<Admitted<'a>, ThresholdError> {
        let (entry, public_share) = group
            .holder_point(self.holder)
            .ok_or(self.error(ErrorId::HolderUnknown))?;
        if self.generation != group.generation() {
            return Err(self.error(ErrorId::GenerationMismatch));
        }
        let (d_octets, proof) = self.elements();
        let d = group::decode_point(d_octets).ok_or(self.error(ErrorId::PointInvalid))?;
        if entry.proof == ProofKind::Dleq && proof.is_none() {
            return Err(self.error(ErrorId::PartialProofMissing));
        }
        Ok(Admitted {
            partial: self,
            entry,
            public_share,
            d,
        })
    }

    /// Borrows `enc(D)`, and `e` and `f` if there is a proof.
    fn elements(&self) -> (&[u8], Option<[&[u8]; 2]>) {
        let rest = self.octets.get(HEAD_LEN..).unwrap_or_default();
        let (d, rest) = rest.split_at_checked(POINT_LEN).unwrap_or_default();
        let proof = rest
            .get(1..)
            .and_then(|proof| proof.split_at_checked(SCALAR_LEN))
            .map(|(e, f)| [e, f]);
        (d, proof)
    }

    fn write(holder: HolderId, generation: u32, d: &[u8], proof: Option<[Scalar; 2]>) -> Self {
        let mut octets = vec![VERSION];
        octets.extend(holder.octets());
        octets.extend(generation.to_be_bytes());
        octets.extend_from_slice(d);
        octets.push(u8::from(proof.is_some()));
        for scalar in proof.iter().flatten() {
            octets.extend(group::encode_scalar(scalar));
        }
        Self {
            octets,
            holder,
            generation,
        }
    }

    fn error(&self, id: ErrorId) -> ThresholdError {
        ThresholdError::holder(id, self.holder)
    }
}

/// The JSON view: for logs and people, never read back.
impl Serialize for PartialDecryption {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct View {
            holder: HolderId,
            generation: u32,
            d: Box<str>,
            proof: Option<ProofView>,
        }
        #[derive(Serialize)]
        struct ProofView {
            e: Box<str>,
            f: Box<str>,
        }
        let (d, proof) = self.elements();
        View {
            holder: self.holder,
            generation: self.generation,
            d: object::encode(d),
            proof: proof.map(|[e, f]| ProofView {
                e: object::encode(e),
                f: object::encode(f),
            }),
        }
        .serialize(serializer)
    }
}

/// A partial of a known holder and the current generation, with a proof if one is due.
#[derive(Clone)]
pub(crate) struct Admitted<'a> {
    partial: &'a PartialDecryption,
    entry: &'a HolderEntry,
    public_share: &'a Point,
    d: Point,
}

impl Admitted<'_> {
    pub(crate) const fn holder(&self) -> HolderId {
        self.partial.holder
    }

    pub(crate) const fn d(&self) -> &Point {
        &self.d
    }

    pub(crate) fn is_proven(&self) -> bool {
        self.entry.proof == ProofKind::Dleq
    }

    /// Checks the proof, if this holder can prove.
    pub(crate) fn verify(&self, question: &Question<'_>) -> Result<(), ThresholdError> {
        let error = |id| self.partial.error(id);
        if !self.is_proven() {
            return Ok(());
        }
        let (d, proof) = self.partial.elements();
        let [e, f] = proof.ok_or(error(ErrorId::PartialProofMissing))?;
        let scalar = |octets| group::decode_scalar(octets).ok_or(error(ErrorId::ScalarInvalid));
        let (e, f) = (scalar(e)?, scalar(f)?);
        let (e_times, f_times) = (Multiplier::new(&e), Multiplier::new(&f));
        let a = f_times.generator() - e_times.multiply(&Base::new(self.public_share));
        let b = f_times.multiply(&question.r1) - e_times.multiply(&Base::new(&self.d));
        let proven = group::encode_all(&[a, b]).is_some_and(|[a, b]| {
            e == question.challenge(self.entry, self.partial.generation, d, [&a, &b])
        });
        if !proven {
            return Err(error(ErrorId::PartialProofInvalid));
        }
        Ok(())
    }
}

/// What holders are asked: multiply this point, for this request and this wrap.
pub(crate) struct Question<'a> {
    r1: Base,
    r1_octets: &'a [u8],
    request_hash: &'a [u8; 32],
    wrap_digest: [u8; 32],
}

impl<'a> Question<'a> {
    pub(crate) fn of_wrap(wrap: &CheckedWrap<'a>, request_hash: &'a [u8; 32]) -> Self {
        Self {
            r1: Base::new(wrap.r1_point()),
            r1_octets: wrap.r1_octets(),
            request_hash,
            wrap_digest: wrap.wrap().digest(),
        }
    }

    /// Takes an encoded point.
    ///
    /// # Errors
    /// `point_invalid`.
    pub(crate) fn decode(
        r1: &'a [u8; 33],
        request_hash: &'a [u8; 32],
        wrap_digest: &[u8; 32],
    ) -> Result<Self, ThresholdError> {
        Ok(Self {
            r1: group::decode_point(r1)
                .map(|point| Base::new(&point))
                .ok_or(ThresholdError::presenter(ErrorId::PointInvalid))?,
            r1_octets: r1,
            request_hash,
            wrap_digest: *wrap_digest,
        })
    }

    /// Returns the challenge of a holder's proof; `commitments` are `A` and `B`.
    fn challenge(
        &self,
        holder: &HolderEntry,
        generation: u32,
        d: &[u8],
        [a, b]: [&[u8]; 2],
    ) -> Scalar {
        group::hash_to_scalar(
            domain::DLEQ,
            &[
                &GENERATOR,
                holder.public_share.as_ref().map_or(&[], |point| &point[..]),
                self.r1_octets,
                d,
                a,
                b,
                &holder.index.octets(),
                &generation.to_be_bytes(),
                self.request_hash,
                &self.wrap_digest,
            ],
        )
    }
}

impl Share {
    /// Answers for a checked wrap.
    ///
    /// The nonce of the proof is hedged: it is hashed from random octets, the share and the question, so that a bad
    /// generator alone does not give the share away.
    ///
    /// # Errors
    /// `key_mismatch`, `holder_unknown`, `generation_mismatch`, `randomness`.
    pub fn partial(
        &self,
        group: &GroupKey,
        wrap: &CheckedWrap<'_>,
        request_hash: &[u8; 32],
        rng: &dyn SecureRandom,
    ) -> Result<PartialDecryption, ThresholdError> {
        wrap.belongs_to(group)?;
        self.answer(group, &Question::of_wrap(wrap, request_hash), rng)
    }

    /// Answers any question about this key.
    pub(crate) fn answer(
        &self,
        group: &GroupKey,
        question: &Question<'_>,
        rng: &dyn SecureRandom,
    ) -> Result<PartialDecryption, ThresholdError> {
        let k = randomness::non_zero(|| {
            let random = randomness::octets::<32>(rng)?;
            Ok(group::hash_to_scalar(
                domain::NONCE_DLEQ,
                &[
                    &random[..],
                    self.expose(),
                    question.r1_octets,
                    question.request_hash,
                    &question.wrap_digest,
                ],
            ))
        })?;
        self.answer_with(group, question, &k)
    }

    /// Answers with a given nonce, which may not be zero and must never be used again.
    pub(crate) fn answer_with(
        &self,
        group: &GroupKey,
        question: &Question<'_>,
        k: &Scalar,
    ) -> Result<PartialDecryption, ThresholdError> {
        let (entry, _) = group
            .holder_point(self.index())
            .ok_or(self.error(ErrorId::HolderUnknown))?;
        if self.generation() != group.generation() {
            return Err(self.error(ErrorId::GenerationMismatch));
        }
        let d = Multiplier::new(self.scalar()).multiply(&question.r1);
        let no_identity = || ThresholdError::randomness();
        if entry.proof == ProofKind::Unproven {
            let d = group::encode(&d).ok_or_else(no_identity)?;
            return Ok(PartialDecryption::write(
                self.index(),
                self.generation(),
                &d,
                None,
            ));
        }
        let k_times = Multiplier::new(k);
        let points = [d, k_times.generator(), k_times.multiply(&question.r1)];
        let [d, a, b] = group::encode_all(&points).ok_or_else(no_identity)?;
        let e = question.challenge(entry, self.generation(), &d, [&a, &b]);
        let f = *k + *self.scalar() * e;
        Ok(PartialDecryption::write(
            self.index(),
            self.generation(),
            &d,
            Some([e, f]),
        ))
    }
}

const VERSION: u8 = 1;
/// Octets before `enc(D)`.
const HEAD_LEN: usize = 7;
/// `enc(G)`.
const GENERATOR: [u8; POINT_LEN] = [
    0x03, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40,
    0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2,
    0x96,
];
