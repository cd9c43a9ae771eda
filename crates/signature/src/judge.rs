use std::collections::BTreeSet;

use sealift_oci::Digest;
use sigstore_verify::types::SignatureBytes;

use crate::claim::Claim;
use crate::demand::{Demand, Signer};
use crate::error::{Refusal, Unproven};
use crate::{bundle, simple};

/// Hears what lies beside an image until a demand is met.
#[derive(Debug)]
pub struct Judge<'a> {
    demand: &'a Demand,
    image: Image<'a>,
    /// Which of the demand's keys and identities were found, so that one who signs twice counts once, and so does one whose
    /// certificates name several workflows.
    met: BTreeSet<Entry>,
    found: Vec<Signer>,
    refused: Vec<(Box<str>, Refusal)>,
    claims: usize,
}

/// The image in question, of which the octets are known to have the digest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Image<'a> {
    pub(crate) digest: &'a Digest,
    pub(crate) octets: &'a [u8],
}

/// One of a demand's keys or identities.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Entry {
    Key(usize),
    Identity(usize),
}

/// Somebody whose signature is good.
pub(crate) type Found = (Entry, Signer);

impl<'a> Judge<'a> {
    /// Begins for a manifest or index; the caller has compared its octets with its digest.
    pub fn new(demand: &'a Demand, digest: &'a Digest, octets: &'a [u8]) -> Self {
        Self {
            demand,
            image: Image { digest, octets },
            met: BTreeSet::new(),
            found: Vec::new(),
            refused: Vec::new(),
            claims: 0,
        }
    }

    /// Looks at a claim; `place` says where it lies, for people.
    pub fn hear(&mut self, place: &str, claim: Claim<'_>) {
        self.claims += 1;
        let heard = match claim {
            Claim::Bundle { json } => bundle::check(json, self.demand, self.image),
            Claim::Simple {
                payload,
                annotations,
            } => simple::check(payload, annotations, self.demand, self.image),
        };
        match heard {
            Ok((entry, signer)) => {
                if self.met.insert(entry) {
                    self.found.push(signer);
                }
            }
            Err(refusal) => self.refuse(place, refusal),
        }
    }

    /// Counts a claim that could not even be shown.
    pub fn refuse_unread(&mut self, place: &str, reason: &str) {
        self.claims += 1;
        self.refuse(place, Refusal::form(reason));
    }

    fn refuse(&mut self, place: &str, refusal: Refusal) {
        self.refused.push((place.into(), refusal));
    }

    /// Returns whether the demand is met, so that nothing more need be heard.
    pub fn is_satisfied(&self) -> bool {
        self.met.len() >= self.demand.signers.max(1)
    }

    /// Returns whether as many claims were heard as are looked at for one image.
    pub fn is_tired(&self) -> bool {
        self.claims >= Claim::MAX_COUNT
    }

    /// Returns who signed.
    ///
    /// # Errors
    /// [`Unproven`], when that is not enough
    pub fn verdict(mut self) -> Result<Vec<Signer>, Unproven> {
        if self.is_satisfied() {
            return Ok(self.found);
        }
        self.refused.sort_by_key(|(_, refusal)| refusal.distance());
        Err(Unproven {
            image: self.image.digest.clone(),
            wanted: self.demand.signers.max(1),
            found: self.found,
            refused: self.refused,
            claims: self.claims,
        })
    }
}

/// Finds the key that signed a message.
pub(crate) fn key_of(
    demand: &Demand,
    message: &[u8],
    signature: &SignatureBytes,
) -> Option<(usize, Signer)> {
    let at = demand
        .keys
        .iter()
        .position(|key| key.signed(message, signature))?;
    let key = demand.keys.get(at)?;
    // The same key in two files is one signer.
    let first = demand
        .keys
        .iter()
        .position(|other| other.fingerprint() == key.fingerprint())?;
    Some((first, Signer::Key(key.fingerprint().into())))
}

/// Finds the identity that a verified certificate has.
pub(crate) fn identity_of(
    demand: &Demand,
    verified: &sigstore_verify::VerificationResult,
) -> Result<Found, Refusal> {
    if !(verified.certificate_verified() && verified.sct_verified())
        || verified.verified_timestamps().is_empty()
    {
        return Err(Refusal::invalid("its certificate was not checked"));
    }
    let identity = verified.identity().map_or("", |identity| identity.as_str());
    let issuer = verified.issuer().unwrap_or_default();
    let signer = Signer::Identity {
        identity: identity.into(),
        issuer: issuer.into(),
    };
    let known = |text: &str| !text.is_empty();
    let at = demand.identities.iter().position(|wanted| {
        known(identity)
            && known(issuer)
            && wanted.identity.matches(identity)
            && wanted.issuer.matches(issuer)
    });
    match at {
        Some(at) => Ok((Entry::Identity(at), signer)),
        None => Err(Refusal::OtherIdentity { found: signer }),
    }
}
