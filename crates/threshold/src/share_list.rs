//! A secret for one wrap, shared and sealed share by share: the `list` of suites 02 and 03 (`SPEC.md`, section 16.2).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use aws_lc_rs::rand::SecureRandom;
use hpke::{Deserializable, Kem, kem::XWing};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{
    CombineError, Culprit, ErrorId, HolderId, HpkePrivateKey, Label, ReplyKem, SealedReply, Suite,
    ThresholdError, gf256,
    group::{domain, length_prefixed},
    hpke_open, hpke_seal,
    wrap::sha256,
};

/// Whom the shares of a wrap are sealed to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Receivers {
    pub(crate) t: u8,
    /// The X-Wing public key of each holder.
    pub(crate) keys: BTreeMap<HolderId, Box<[u8]>>,
}

impl Receivers {
    /// Takes a threshold and public keys; `None` unless `1 <= t <= holders` and every key is one, of one holder.
    pub(crate) fn new(t: u8, keys: BTreeMap<HolderId, Box<[u8]>>) -> Option<Self> {
        let distinct: BTreeSet<_> = keys.values().collect();
        let fits = t > 0
            && usize::from(t) <= keys.len()
            && distinct.len() == keys.len()
            && keys.values().all(|key| is_public(key));
        fits.then_some(Self { t, keys })
    }
}

/// One share of the secret of one wrap. Wiped on drop, silent under `Debug`.
pub struct WrapShare {
    holder: HolderId,
    octets: gf256::Octets,
}

impl WrapShare {
    pub(crate) const fn new(holder: HolderId, octets: gf256::Octets) -> Self {
        Self { holder, octets }
    }

    /// Returns whose share it is.
    pub const fn holder(&self) -> HolderId {
        self.holder
    }

    /// Borrows the share.
    pub fn expose(&self) -> &[u8; 32] {
        &self.octets
    }
}

impl fmt::Debug for WrapShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WrapShare(holder {}, ..)", self.holder)
    }
}

/// The sealed shares of one wrap, ascending.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ShareList(Vec<Entry>);

#[derive(Clone, Debug, Eq, PartialEq)]
struct Entry {
    holder: HolderId,
    commitment: [u8; 32],
    sealed: SealedReply,
}

/// What the entries of one wrap are bound to.
pub(crate) struct Binding<'a> {
    suite: Suite,
    key_id: &'a str,
    epoch: u32,
    label_hash: [u8; 32],
}

impl<'a> Binding<'a> {
    /// Binds to a label, given as its parsed form and its octets.
    pub(crate) fn new(label: &'a Label, octets: &[u8]) -> Self {
        Self::of(label.suite, &label.key_id, label.epoch, octets)
    }

    pub(crate) fn of(suite: Suite, key_id: &'a str, epoch: u32, label: &[u8]) -> Self {
        Self {
            suite,
            key_id,
            epoch,
            label_hash: sha256(label),
        }
    }

    pub(crate) fn info(&self, holder: HolderId) -> Vec<u8> {
        length_prefixed(&[
            domain::SSS_SHARE.as_bytes(),
            self.suite.as_str().as_bytes(),
            self.key_id.as_bytes(),
            &self.epoch.to_be_bytes(),
            &holder.octets(),
            &self.label_hash,
        ])
    }

    fn commitment(&self, holder: HolderId, share: &[u8; 32]) -> [u8; 32] {
        let prefix = length_prefixed(&[
            domain::SSS_COMMIT.as_bytes(),
            self.suite.as_str().as_bytes(),
            &self.label_hash,
            &holder.octets(),
        ]);
        let mut hash = Sha256::new();
        hash.update(prefix);
        hash.update(SHARE_LEN_PREFIX);
        hash.update(share);
        hash.finalize().into()
    }
}

impl ShareList {
    /// Shares `secret` among the receivers and seals each share.
    pub(crate) fn seal(
        secret: &gf256::Octets,
        receivers: &Receivers,
        binding: &Binding<'_>,
        rng: &dyn SecureRandom,
    ) -> Result<Self, ThresholdError> {
        let holders: BTreeSet<_> = receivers.keys.keys().copied().collect();
        let shares = gf256::split(secret, receivers.t, &holders, rng)?;
        let mut entries = Vec::with_capacity(shares.len());
        for ((&holder, public), share) in receivers.keys.iter().zip(shares.values()) {
            let info = binding.info(holder);
            entries.push(Entry {
                holder,
                commitment: binding.commitment(holder, share),
                sealed: hpke_seal(ReplyKem::XWing, public, &info, &share[..], rng)?,
            });
        }
        Ok(Self(entries))
    }

    /// Writes the list.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(1 + self.0.len() * ENTRY_LEN);
        // INVARIANT: indices are distinct and 1 to 255, so there are at most 255 of them.
        octets.push(u8::try_from(self.0.len()).unwrap_or(u8::MAX));
        for entry in &self.0 {
            octets.extend(entry.holder.octets());
            octets.extend(entry.commitment);
            octets.extend(ENC_LEN.to_be_bytes());
            octets.extend_from_slice(&entry.sealed.enc);
            octets.extend(CT_LEN.to_be_bytes());
            octets.extend_from_slice(&entry.sealed.ct);
        }
        octets
    }

    /// Reads a list; indices ascend strictly, and the lengths are those of X-Wing.
    ///
    /// # Errors
    /// `wrap_malformed`.
    pub(crate) fn parse(octets: &[u8]) -> Result<Self, ThresholdError> {
        Self::read(octets).ok_or(ThresholdError::presenter(ErrorId::WrapMalformed))
    }

    fn read(octets: &[u8]) -> Option<Self> {
        let (&n, mut rest) = octets.split_first()?;
        let mut entries: Vec<Entry> = Vec::with_capacity(n.into());
        for _ in 0..n {
            let entry;
            (entry, rest) = Entry::read(rest)?;
            if entries
                .last()
                .is_some_and(|last| last.holder >= entry.holder)
            {
                return None;
            }
            entries.push(entry);
        }
        (n > 0 && rest.is_empty()).then_some(Self(entries))
    }

    /// Opens the entry of one holder and compares it with its commitment.
    ///
    /// # Errors
    /// `share_open_failed` (presenter), also if there is no such entry; `share_commitment_mismatch` (encryptor).
    pub(crate) fn open(
        &self,
        holder: HolderId,
        key: &HpkePrivateKey,
        binding: &Binding<'_>,
    ) -> Result<WrapShare, ThresholdError> {
        let failed = || ThresholdError::presenter(ErrorId::ShareOpenFailed);
        let entry = self.entry(holder).ok_or_else(failed)?;
        let octets = hpke_open(key, &binding.info(holder), &entry.sealed)?;
        let octets = Zeroizing::new(octets.as_slice().try_into().map_err(|_| failed())?);
        if entry.commits_to(&octets, binding) {
            Ok(WrapShare { holder, octets })
        } else {
            Err(ThresholdError::encryptor(ErrorId::ShareCommitmentMismatch))
        }
    }

    /// Rebuilds the secret from the answers of `t` holders, the lowest indices first; names who answered wrongly.
    ///
    /// # Errors
    /// `holder_unknown`, `holder_duplicate`; with fewer than `t` right answers `share_commitment_mismatch` or, if
    /// nobody lied, `partials_insufficient`.
    pub(crate) fn combine(
        &self,
        t: u8,
        shares: &[&WrapShare],
        binding: &Binding<'_>,
    ) -> Result<(gf256::Octets, Vec<HolderId>), CombineError> {
        let mut good = BTreeMap::new();
        let mut culprits = BTreeSet::new();
        for share in shares {
            let holder = share.holder;
            let fail = |id| {
                Err(CombineError {
                    error: ThresholdError::holder(id, holder),
                    culprits: vec![holder],
                })
            };
            let Some(entry) = self.entry(holder) else {
                return fail(ErrorId::HolderUnknown);
            };
            if good.contains_key(&holder) || culprits.contains(&holder) {
                return fail(ErrorId::HolderDuplicate);
            }
            if entry.commits_to(&share.octets, binding) {
                good.insert(holder, share.octets.clone());
            } else {
                culprits.insert(holder);
            }
        }
        let culprits: Vec<HolderId> = culprits.into_iter().collect();
        if good.len() < usize::from(t) {
            let id = if culprits.is_empty() {
                ErrorId::PartialsInsufficient
            } else {
                ErrorId::ShareCommitmentMismatch
            };
            return Err(CombineError {
                error: ThresholdError::new(id, Culprit::holders(&culprits)),
                culprits,
            });
        }
        let chosen = good.into_iter().take(t.into()).collect();
        Ok((gf256::combine(&chosen), culprits))
    }

    fn entry(&self, holder: HolderId) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.holder == holder)
    }
}

impl Entry {
    fn read(octets: &[u8]) -> Option<(Self, &[u8])> {
        let (index, rest) = octets.split_first_chunk::<2>()?;
        let holder = HolderId::new(u8::try_from(u16::from_be_bytes(*index)).ok()?)?;
        let (commitment, rest) = rest.split_first_chunk()?;
        let (enc, rest) = field(rest, ENC_LEN)?;
        let (ct, rest) = field(rest, CT_LEN)?;
        let entry = Self {
            holder,
            commitment: *commitment,
            sealed: SealedReply {
                enc: enc.to_vec(),
                ct: ct.to_vec(),
            },
        };
        Some((entry, rest))
    }

    fn commits_to(&self, share: &[u8; 32], binding: &Binding<'_>) -> bool {
        let commitment = binding.commitment(self.holder, share);
        commitment.ct_eq(&self.commitment).into()
    }
}

fn is_public(octets: &[u8]) -> bool {
    <XWing as Kem>::PublicKey::from_bytes(octets).is_ok()
}

/// Reads a field whose length has to be `expected`.
fn field(octets: &[u8], expected: u16) -> Option<(&[u8], &[u8])> {
    let (len, rest) = octets.split_first_chunk()?;
    if u16::from_be_bytes(*len) != expected {
        return None;
    }
    rest.split_at_checked(expected.into())
}

/// Octets of an X-Wing ciphertext.
const ENC_LEN: u16 = 1120;
/// Octets of a sealed share: the share and a tag.
const CT_LEN: u16 = 48;
/// Octets of an entry.
const ENTRY_LEN: usize = 2 + 32 + 2 + 1120 + 2 + 48;
/// The length prefix of a share within its commitment.
const SHARE_LEN_PREFIX: [u8; 4] = 32_u32.to_be_bytes();
