//! A wrapped key and the checks on it (`SPEC.md`, sections 8 and 9).

use std::{fmt, ops::Range};

use aws_lc_rs::{digest, rand::SecureRandom};
use serde::{Deserialize, Serialize};

use crate::{
    Culprit, ErrorId, GroupKey, Label, Suite, ThresholdError,
    dem::{C_LEN, PLAINTEXT_LEN, WrapKey},
    group::{self, EncodedPoint, POINT_LEN, Point, SCALAR_LEN, Scalar, domain},
    label::MAX_LABEL_LEN,
    multiply::{Base, Multiplier},
    object::{self, Object},
    randomness,
};

/// A wrapped key of any suite: well-formed, and nothing more is known of it.
#[derive(Clone, Eq, PartialEq)]
pub struct Wrap {
    octets: Vec<u8>,
    suite: Suite,
    label: Label,
    digest: [u8; 32],
    label_octets: Range<usize>,
    // Of the suites with a P-256 half; empty otherwise.
    group_elements: Range<usize>,
    // Of the suites with sealed shares; empty otherwise.
    list: Range<usize>,
    c: Range<usize>,
}

impl Wrap {
    /// Reads the compact form, of any suite.
    ///
    /// # Errors
    /// `wrap_malformed`, `suite_unknown`, `label_malformed`, `label_invalid`, `suite_mismatch`.
    pub fn parse(octets: &[u8]) -> Result<Self, ThresholdError> {
        let mut reader = Reader { octets, at: 0 };
        if reader.take(MAGIC.len()) != Some(MAGIC) {
            return Err(malformed());
        }
        let number = reader.number(1).ok_or_else(malformed)?;
        let suite = u8::try_from(number).ok().and_then(Suite::from_number);
        let suite = suite.ok_or(ThresholdError::presenter(ErrorId::SuiteUnknown))?;
        let [label_octets, group_elements, list, c] = reader.layout(suite).ok_or_else(malformed)?;

        let label = Label::parse(octets.get(label_octets.clone()).unwrap_or_default())?;
        if label.suite != suite {
            return Err(ThresholdError::presenter(ErrorId::SuiteMismatch));
        }
        Ok(Self {
            octets: octets.to_vec(),
            suite,
            label,
            digest: sha256(octets),
            label_octets,
            group_elements,
            list,
            c,
        })
    }

    /// Reads the JSON form, which only the default suite has.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn from_json(json: &[u8]) -> Result<Self, ThresholdError> {
        if json.len() > MAX_JSON_LEN {
            return Err(malformed());
        }
        let Object(view): Object<View> = serde_json::from_slice(json).map_err(|_| malformed())?;
        if &*view.suite != Suite::Tdh2.as_str() {
            return Err(ThresholdError::presenter(ErrorId::SuiteUnknown));
        }
        let octets = view.to_compact().ok_or_else(malformed)?;
        Self::parse(&octets)
    }

    /// Writes the JSON form; `None` for a suite that has none.
    pub fn to_json(&self) -> Option<Vec<u8>> {
        let [r1, r2, e, f] = self.group_elements().filter(|_| self.list.is_empty())?;
        let view = View {
            suite: self.suite.as_str().into(),
            label: object::encode(self.label_octets()),
            r1: object::encode(r1),
            r2: object::encode(r2),
            e: object::encode(e),
            f: object::encode(f),
            c: object::encode(self.c()),
        };
        serde_json::to_vec(&view).ok()
    }

    /// Borrows the compact form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.octets
    }

    /// Returns the SHA-256 of the compact form.
    pub const fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Borrows the label. Nobody vouches for it before [`check`](Self::check).
    pub const fn label(&self) -> &Label {
        &self.label
    }

    /// Returns the suite.
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// Checks that label, ciphertext and points were put together by someone who knew the exponent, for this key.
    ///
    /// # Errors
    /// `suite_mismatch` for another suite than the default, `key_mismatch`, `point_invalid`, `scalar_invalid`,
    /// `wrap_proof_invalid`.
    pub fn check(&self, group: &GroupKey) -> Result<CheckedWrap<'_>, ThresholdError> {
        if self.suite != Suite::Tdh2 || group.suite() != Suite::Tdh2 {
            return Err(ThresholdError::presenter(ErrorId::KeyMismatch));
        }
        self.check_proof(group, domain::CHALLENGE)
    }

    /// Checks the proof of a suite with a P-256 half.
    pub(crate) fn check_proof(
        &self,
        group: &GroupKey,
        challenge_domain: &str,
    ) -> Result<CheckedWrap<'_>, ThresholdError> {
        self.is_for(group)?;
        let curve = group.curve()?;
        let [r1_octets, r2_octets, e_octets, f_octets] =
            self.group_elements().ok_or_else(malformed)?;
        let point = |octets| {
            group::decode_point(octets).ok_or(ThresholdError::presenter(ErrorId::PointInvalid))
        };
        let scalar = |octets| {
            group::decode_scalar(octets).ok_or(ThresholdError::presenter(ErrorId::ScalarInvalid))
        };
        let (r1, r2) = (point(r1_octets)?, point(r2_octets)?);
        let (e, f) = (scalar(e_octets)?, scalar(f_octets)?);

        let (e_times, f_times) = (Multiplier::new(&e), Multiplier::new(&f));
        let w1 = f_times.generator() - e_times.multiply(&Base::new(&r1));
        let w2 = f_times.multiply(&Base::new(&curve.gamma)) - e_times.multiply(&Base::new(&r2));
        // The identity has no encoding, so a proof that publishes the exponent ends here.
        let proven = group::encode_all(&[w1, w2]).is_some_and(|[w1, w2]| {
            e == self.challenge(
                challenge_domain,
                &curve.public_key,
                &curve.gamma_encoded,
                [r1_octets, &w1, r2_octets, &w2],
            )
        });
        if !proven {
            return Err(ThresholdError::presenter(ErrorId::WrapProofInvalid));
        }
        Ok(CheckedWrap {
            wrap: self,
            public_key: curve.public_key,
            r1,
        })
    }

    /// Returns an error unless the label names this key.
    pub(crate) fn is_for(&self, group: &GroupKey) -> Result<(), ThresholdError> {
        if *self.label.key_id != *group.key_id() || self.label.epoch != group.epoch() {
            return Err(ThresholdError::presenter(ErrorId::KeyMismatch));
        }
        Ok(())
    }

    fn challenge(
        &self,
        challenge_domain: &str,
        y: &EncodedPoint,
        gamma: &EncodedPoint,
        points: [&[u8]; 4],
    ) -> Scalar {
        challenge(
            challenge_domain,
            [self.c(), self.label_octets()],
            y,
            gamma,
            points,
            self.list(),
        )
    }

    pub(crate) fn label_octets(&self) -> &[u8] {
        self.slice(&self.label_octets)
    }

    /// Borrows `enc(R1)`, `enc(R2)`, `e`, `f`; `None` for the suite without them.
    pub(crate) fn group_elements(&self) -> Option<[&[u8]; 4]> {
        let (r1, rest) = self
            .slice(&self.group_elements)
            .split_at_checked(POINT_LEN)?;
        let (r2, rest) = rest.split_at_checked(POINT_LEN)?;
        let (e, f) = rest.split_at_checked(SCALAR_LEN)?;
        Some([r1, r2, e, f])
    }

    /// Borrows the list of sealed shares; empty for the suite without it.
    pub(crate) fn list(&self) -> &[u8] {
        self.slice(&self.list)
    }

    /// Borrows `c`: key confirmation and ciphertext.
    pub(crate) fn c(&self) -> &[u8] {
        self.slice(&self.c)
    }

    fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.octets.get(range.clone()).unwrap_or_default()
    }
}

impl fmt::Debug for Wrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wrap")
            .field("label", &self.label)
            .field("digest", &hex::encode(self.digest))
            .finish_non_exhaustive()
    }
}

/// A wrap that passed every check of section 9: its label is the one it was made with.
#[derive(Clone, Debug)]
pub struct CheckedWrap<'a> {
    wrap: &'a Wrap,
    public_key: EncodedPoint,
    r1: Point,
}

impl<'a> CheckedWrap<'a> {
    /// Borrows the wrap.
    pub const fn wrap(&self) -> &'a Wrap {
        self.wrap
    }

    /// Borrows the label, for which the proof vouches.
    pub const fn label(&self) -> &'a Label {
        self.wrap.label()
    }

    /// Returns the encoded point that holders multiply.
    pub fn r1(&self) -> [u8; 33] {
        self.r1_octets().try_into().unwrap_or([0; POINT_LEN])
    }

    pub(crate) const fn r1_point(&self) -> &Point {
        &self.r1
    }

    pub(crate) fn r1_octets(&self) -> &'a [u8] {
        self.wrap.group_elements().map_or(&[], |[r1, ..]| r1)
    }

    /// Returns an error unless the checks were made against the same public key.
    pub(crate) fn belongs_to(&self, group: &GroupKey) -> Result<(), ThresholdError> {
        if Some(self.public_key) != group.public_key() {
            return Err(ThresholdError::presenter(ErrorId::KeyMismatch));
        }
        Ok(())
    }

    /// Derives the key from the shared point; `None` for the identity.
    pub(crate) fn key(&self, z: &Point) -> Option<WrapKey> {
        let info = kek_info(self.r1_octets(), self.wrap.label_octets());
        let x = group::x_coordinate(z)?;
        Some(WrapKey::derive(&self.public_key, &x[..], &info))
    }
}

impl GroupKey {
    /// Wraps `plaintext`, 1 to 4096 octets, for the holders of this key (sections 8, 16 and 17).
    ///
    /// # Errors
    /// `label_invalid`, `label_malformed`; `suite_mismatch` or `key_mismatch` if the label is not for this key and its
    /// suite; `mode_mismatch` if the key serves unlabelled JWEs only; `argument_invalid` for the length of the
    /// plaintext; `randomness`.
    pub fn wrap(
        &self,
        label: &Label,
        plaintext: &[u8],
        rng: &dyn SecureRandom,
    ) -> Result<Wrap, ThresholdError> {
        if label.suite != self.suite() {
            return Err(ThresholdError::encryptor(ErrorId::SuiteMismatch));
        }
        if *label.key_id != *self.key_id() || label.epoch != self.epoch() {
            return Err(ThresholdError::encryptor(ErrorId::KeyMismatch));
        }
        if self.unbound() {
            return Err(ThresholdError::encryptor(ErrorId::ModeMismatch));
        }
        if !PLAINTEXT_LEN.contains(&plaintext.len()) {
            return Err(ThresholdError::encryptor(ErrorId::ArgumentInvalid));
        }
        let label_octets = label.encode()?;
        if self.suite() == Suite::SssXwing {
            return self.wrap_sss(label, &label_octets, plaintext, rng);
        }
        let hedged = |nonce_domain| {
            randomness::non_zero(|| {
                let random = randomness::octets::<32>(rng)?;
                let parts = [&random[..], plaintext, &label_octets];
                Ok(group::hash_to_scalar(nonce_domain, &parts))
            })
        };
        let (r, s) = (hedged(domain::NONCE_R)?, hedged(domain::NONCE_S)?);
        if self.suite() == Suite::Hybrid {
            return self.wrap_hybrid_with(label, plaintext, [&r, &s], rng);
        }
        self.wrap_with(&label_octets, plaintext, &r, &s)
            .and_then(|octets| Wrap::parse(&octets))
    }

    /// Wraps for the default suite with given exponents, neither of which may be zero.
    pub(crate) fn wrap_with(
        &self,
        label: &[u8],
        plaintext: &[u8],
        r: &Scalar,
        s: &Scalar,
    ) -> Result<Vec<u8>, ThresholdError> {
        let key = |y: &EncodedPoint, x: &[u8; 32], r1: &[u8]| {
            WrapKey::derive(y, &x[..], &kek_info(r1, label))
        };
        self.prove(Suite::Tdh2, label, plaintext, [r, s], &[], key)
    }

    /// Makes a wrap of a suite with a P-256 half: `key` derives its key from `enc(Y)`, `x(Z)` and `enc(R1)`.
    pub(crate) fn prove(
        &self,
        suite: Suite,
        label: &[u8],
        plaintext: &[u8],
        [r, s]: [&Scalar; 2],
        list: &[u8],
        key: impl FnOnce(&EncodedPoint, &[u8; 32], &[u8]) -> WrapKey,
    ) -> Result<Vec<u8>, ThresholdError> {
        // No encoding means the identity, and that means an exponent of zero.
        let zero = || ThresholdError::new(ErrorId::Randomness, Culprit::None);
        let curve = self.curve()?;
        let (r_times, s_times) = (Multiplier::new(r), Multiplier::new(s));
        let gamma = Base::new(&curve.gamma);
        let [r1, r2, w1, w2] = group::encode_all(&[
            r_times.generator(),
            r_times.multiply(&gamma),
            s_times.generator(),
            s_times.multiply(&gamma),
        ])
        .ok_or_else(zero)?;
        let x = r_times
            .x_coordinate(&Base::new(&curve.y))
            .ok_or_else(zero)?;
        let c = key(&curve.public_key, &x, &r1).seal(label, plaintext);
        let challenge_domain = match suite {
            Suite::Hybrid => domain::HYBRID_CHALLENGE,
            _ => domain::CHALLENGE,
        };
        let e = challenge(
            challenge_domain,
            [&c, label],
            &curve.public_key,
            &curve.gamma_encoded,
            [&r1, &w1, &r2, &w2],
            list,
        );
        let (e_octets, f_octets) = (
            group::encode_scalar(&e),
            group::encode_scalar(&(*s + *r * e)),
        );
        let middle: [&[u8]; 5] = [&r1, &r2, &e_octets, &f_octets, list];
        compact(suite, label, &middle, &c).ok_or_else(malformed)
    }
}

/// Returns the HKDF info of the default suite.
pub(crate) fn kek_info(r1: &[u8], label: &[u8]) -> Vec<u8> {
    group::length_prefixed(&[
        domain::KEK.as_bytes(),
        Suite::Tdh2.as_str().as_bytes(),
        r1,
        &sha256(label),
    ])
}

/// Returns the challenge of a wrap's proof. `points` are `R1`, `W1`, `R2`, `W2`; a list of sealed shares goes last.
pub(crate) fn challenge(
    challenge_domain: &str,
    [c, label]: [&[u8]; 2],
    y: &EncodedPoint,
    gamma: &EncodedPoint,
    [r1, w1, r2, w2]: [&[u8]; 4],
    list: &[u8],
) -> Scalar {
    let parts = [c, label, y, gamma, r1, w1, r2, w2, list];
    let used = if list.is_empty() { 8 } else { 9 };
    group::hash_to_scalar(challenge_domain, parts.split_at(used).0)
}

/// Writes the compact form; `middle` is what stands between label and `c`. `None` if a length has no room.
pub(crate) fn compact(suite: Suite, label: &[u8], middle: &[&[u8]], c: &[u8]) -> Option<Vec<u8>> {
    let length = |octets: &[u8]| u16::try_from(octets.len()).map(u16::to_be_bytes).ok();
    let mut octets = [MAGIC, &[suite.number()], &length(label)?, label].concat();
    for part in middle {
        octets.extend_from_slice(part);
    }
    octets.extend(length(c)?);
    octets.extend_from_slice(c);
    Some(octets)
}

pub(crate) fn sha256(octets: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(digest::digest(&digest::SHA256, octets).as_ref());
    digest
}

/// Walks over a compact form.
struct Reader<'a> {
    octets: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Finds label, group elements, list and `c`.
    fn layout(&mut self, suite: Suite) -> Option<[Range<usize>; 4]> {
        let label_len = self.number(2)?;
        if label_len > MAX_LABEL_LEN {
            return None;
        }
        let label = self.skip(label_len)?;
        let group_elements = match suite {
            Suite::Tdh2 | Suite::Hybrid => self.skip(2 * POINT_LEN + 2 * SCALAR_LEN)?,
            Suite::SssXwing => self.skip(0)?,
        };
        let list = match suite {
            Suite::Tdh2 => self.skip(0)?,
            Suite::SssXwing | Suite::Hybrid => self.list()?,
        };
        let c_len = self.number(2)?;
        if !C_LEN.contains(&c_len) {
            return None;
        }
        let c = self.skip(c_len)?;
        (self.at == self.octets.len()).then_some([label, group_elements, list, c])
    }

    /// Walks over the sealed shares of section 16.2: holders ascending from 1, at least one.
    fn list(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        let count = self.number(1)?;
        let mut last = 0;
        for _ in 0..count {
            let index = self.number(2)?;
            if index <= last || index > usize::from(u8::MAX) {
                return None;
            }
            last = index;
            self.skip(32)?;
            for _ in 0..2 {
                let len = self.number(2)?;
                self.skip(len)?;
            }
        }
        (count > 0).then_some(start..self.at)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(len)?;
        let taken = self.octets.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn skip(&mut self, len: usize) -> Option<Range<usize>> {
        let start = self.at;
        self.take(len).map(|_| start..self.at)
    }

    /// Reads a big-endian number of one or two octets.
    fn number(&mut self, width: usize) -> Option<usize> {
        let octets = self.take(width)?;
        Some(
            octets
                .iter()
                .fold(0, |number, octet| number << 8 | usize::from(*octet)),
        )
    }
}

/// The JSON form.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct View {
    suite: Box<str>,
    label: Box<str>,
    r1: Box<str>,
    r2: Box<str>,
    e: Box<str>,
    f: Box<str>,
    c: Box<str>,
}

impl View {
    fn to_compact(&self) -> Option<Vec<u8>> {
        compact(
            Suite::Tdh2,
            &object::decode(&self.label)?,
            &[
                &object::decode_exactly::<POINT_LEN>(&self.r1)?,
                &object::decode_exactly::<POINT_LEN>(&self.r2)?,
                &object::decode_exactly::<SCALAR_LEN>(&self.e)?,
                &object::decode_exactly::<SCALAR_LEN>(&self.f)?,
            ],
            &object::decode(&self.c)?,
        )
    }
}

fn malformed() -> ThresholdError {
    ThresholdError::presenter(ErrorId::WrapMalformed)
}

const MAGIC: &[u8] = b"SLW1";
/// Well above the longest JSON form, which base64 makes of 5331 octets.
const MAX_JSON_LEN: usize = 16 * 1024;
