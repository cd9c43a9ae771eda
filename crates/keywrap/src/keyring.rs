//! Many identities, one layer.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use thiserror::Error;

use crate::{
    Certificate, Identity, KeySet, LayerSecret, RecipientInfo, Scheme, UnwrapError, WrapContext,
    WrappedKey, describe, jwe::more_telling,
};

/// The private keys a caller holds, in the order it gave them.
///
/// Keys that an element names are tried first, by look-up; an element that names its key by fingerprint is tried
/// with no other. The order is the same in every run.
#[derive(Debug, Default)]
pub struct Keyring {
    identities: Vec<Box<dyn Identity>>,
    /// Fingerprints and key ids, to positions in `identities`.
    names: BTreeMap<String, Vec<usize>>,
}

impl Keyring {
    /// Creates an empty ring.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an identity; one with the fingerprint of an earlier one counts once.
    ///
    /// # Errors
    /// [`KeyringError::Full`] beyond [`Self::MAX_IDENTITIES`].
    pub fn push(&mut self, identity: Box<dyn Identity>) -> Result<(), KeyringError> {
        let fingerprint = identity.fingerprint();
        if self
            .identities
            .iter()
            .any(|known| known.fingerprint() == fingerprint)
        {
            return Ok(());
        }
        if self.identities.len() >= Self::MAX_IDENTITIES {
            return Err(KeyringError::Full {
                limit: Self::MAX_IDENTITIES,
            });
        }
        let position = self.identities.len();
        if let Some(key_id) = identity.key_id().filter(|key_id| *key_id != fingerprint) {
            let named = self.names.entry(key_id.to_owned()).or_default();
            named.push(position);
        }
        self.names.entry(fingerprint).or_default().push(position);
        self.identities.push(identity);
        Ok(())
    }

    /// Gives a certificate to the identities it belongs to; returns whether there is one.
    pub fn add_certificate(&mut self, certificate: &Certificate) -> bool {
        let mut fits = false;
        for identity in &mut self.identities {
            fits |= identity.add_certificate(certificate);
        }
        fits
    }

    /// Tells every identity which elements of its schemes will probably be asked for soon.
    pub fn prepare(&self, wraps: &[WrappedKey]) {
        let within: Vec<_> = wraps.iter().flat_map(keys_within).collect();
        for identity in &self.identities {
            let understood = wraps
                .iter()
                .chain(&within)
                .filter(|wrapped| identity.opens(&wrapped.scheme));
            let understood: Vec<_> = understood.cloned().collect();
            if !understood.is_empty() {
                identity.prepare(&understood);
            }
        }
    }

    /// Returns how many identities the ring holds.
    pub fn len(&self) -> usize {
        self.identities.len()
    }

    /// Returns whether the ring is empty.
    pub fn is_empty(&self) -> bool {
        self.identities.is_empty()
    }

    /// Unwraps the elements of a layer, one secret after another.
    ///
    /// The caller takes the first secret that matches its layer, and asks for the next otherwise. Nothing is tried
    /// before it is asked for.
    pub fn unwrap_keys<'a>(
        &'a self,
        elements: &'a [WrappedKey],
        context: WrapContext<'a>,
    ) -> Candidates<'a> {
        let reports: Vec<ElementReport> = elements
            .iter()
            .map(|wrapped| ElementReport {
                scheme: wrapped.scheme.clone(),
                recipients: describe(wrapped),
                outcome: match KeySet::of(wrapped) {
                    Some(Err(error)) => Outcome::Failed(error),
                    _ => Outcome::NoIdentity,
                },
            })
            .collect();
        let parts: Vec<Part> = elements
            .iter()
            .enumerate()
            .flat_map(|(element, wrapped)| Part::all(element, wrapped))
            .collect();
        let mut trials = Vec::new();
        for (part, tried) in parts.iter().enumerate() {
            let named = self.named_by(&tried.recipients);
            trials.extend(named.map(|identity| Trial { part, identity }));
        }
        let named: BTreeSet<Trial> = trials.iter().copied().collect();
        for (part, tried) in parts.iter().enumerate() {
            if names_its_keys(&tried.recipients) {
                continue;
            }
            for identity in 0..self.identities.len() {
                let trial = Trial { part, identity };
                if !named.contains(&trial) {
                    trials.push(trial);
                }
            }
        }
        Candidates {
            keyring: self,
            elements,
            parts,
            context,
            reports,
            trials: trials.into_iter(),
            operations_left: Self::MAX_OPERATIONS,
        }
    }

    /// Returns the identities that an element names, in the order of its recipients.
    fn named_by<'a>(&'a self, recipients: &'a [RecipientInfo]) -> impl Iterator<Item = usize> + 'a {
        let mut seen = Vec::new();
        recipients
            .iter()
            .flat_map(|info| [info.fingerprint.as_deref(), info.key_id.as_deref()])
            .flatten()
            .filter_map(|name| self.names.get(name))
            .flatten()
            .copied()
            .filter(move |position| {
                let new = !seen.contains(position);
                seen.push(*position);
                new
            })
    }

    /// Most identities in one ring.
    pub const MAX_IDENTITIES: usize = 100;

    /// Most private-key operations for one layer, counted by recipients.
    ///
    /// A hostile manifest can list 256 elements of some forty recipients; without a limit a hundred keys would be
    /// busy with it for the better part of an hour.
    pub const MAX_OPERATIONS: usize = 16_384;
}

/// Why an identity could not be added.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum KeyringError {
    /// The ring holds as many as it may.
    #[error("more than {limit} private keys")]
    Full {
        /// [`Keyring::MAX_IDENTITIES`].
        limit: usize,
    },
}

/// One secret that an identity unwrapped. It may still belong to another layer.
#[derive(Debug)]
pub struct Unwrapped {
    /// Position of the element among those given.
    pub element: usize,
    /// Fingerprint of the identity.
    pub fingerprint: String,
    /// What was wrapped.
    pub secret: LayerSecret,
}

/// The secrets of a layer, unwrapped as they are asked for.
pub struct Candidates<'a> {
    keyring: &'a Keyring,
    elements: &'a [WrappedKey],
    parts: Vec<Part>,
    context: WrapContext<'a>,
    reports: Vec<ElementReport>,
    trials: std::vec::IntoIter<Trial>,
    operations_left: usize,
}

impl Candidates<'_> {
    /// Ends the search and says, for each element in order, what became of it so far.
    pub fn into_report(self) -> Vec<ElementReport> {
        self.reports
    }

    fn attempt(&mut self, trial: Trial) -> Option<Unwrapped> {
        let part = self.parts.get(trial.part)?;
        let wrapped = match &part.within {
            Some(wrapped) => wrapped,
            None => self.elements.get(part.element)?,
        };
        let identity = self.keyring.identities.get(trial.identity)?;
        let report = self.reports.get_mut(part.element)?;
        if !identity.opens(&wrapped.scheme) {
            return None;
        }
        let cost = part.recipients.len().saturating_mul(identity.cost());
        let Some(left) = self.operations_left.checked_sub(cost) else {
            report.outcome.note_limit();
            return None;
        };
        self.operations_left = left;
        match identity.unwrap_key(wrapped, &self.context) {
            Ok(secret) => {
                let fingerprint = identity.fingerprint();
                report.outcome.note_opened(&fingerprint);
                Some(Unwrapped {
                    element: part.element,
                    fingerprint,
                    secret,
                })
            }
            Err(error) => {
                report.outcome.note_failure(error);
                None
            }
        }
    }
}

impl Iterator for Candidates<'_> {
    type Item = Unwrapped;

    fn next(&mut self) -> Option<Unwrapped> {
        loop {
            let trial = self.trials.next()?;
            if let Some(unwrapped) = self.attempt(trial) {
                return Some(unwrapped);
            }
        }
    }
}

impl fmt::Debug for Candidates<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidates")
            .field("reports", &self.reports)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
struct Trial {
    part: usize,
    identity: usize,
}

/// Something that is tried on its own: an element as it is, or one of the keys in it.
struct Part {
    element: usize,
    /// The key, unless this is the element itself.
    within: Option<WrappedKey>,
    recipients: Vec<RecipientInfo>,
}

impl Part {
    /// Returns an element as it is, for whoever understands its scheme, and the keys in it.
    fn all(element: usize, wrapped: &WrappedKey) -> Vec<Self> {
        let within = keys_within(wrapped);
        let recipients = match within.as_slice() {
            [] => describe(wrapped),
            // Those of its keys do not open the element itself.
            _ => vec![RecipientInfo::unknown(wrapped.scheme.clone())],
        };
        let mut parts = vec![Self {
            element,
            within: None,
            recipients,
        }];
        parts.extend(within.into_iter().map(|key| Self {
            element,
            recipients: describe(&key),
            within: Some(key),
        }));
        parts
    }
}

/// Returns the keys of a set; none for all other elements, and for a set that cannot be read.
fn keys_within(wrapped: &WrappedKey) -> Vec<WrappedKey> {
    match KeySet::of(wrapped) {
        Some(Ok(set)) => set.into_keys(),
        _ => Vec::new(),
    }
}

fn names_its_keys(recipients: &[RecipientInfo]) -> bool {
    recipients.iter().all(|info| info.fingerprint.is_some())
}

/// What became of one element.
#[derive(Debug, Eq, PartialEq)]
pub struct ElementReport {
    /// The annotation it stands in.
    pub scheme: Scheme,
    /// Whom it is for, as far as it says.
    pub recipients: Vec<RecipientInfo>,
    /// Why it did not open, or that it did.
    pub outcome: Outcome,
}

impl fmt::Display for ElementReport {
    /// Writes one line: scheme, recipients, and what became of the element.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.scheme)?;
        for (index, info) in self.recipients.iter().enumerate() {
            let algorithm = info.algorithm.as_deref().unwrap_or_default();
            if !algorithm.is_empty() {
                write!(f, "{}{algorithm}", if index == 0 { " " } else { ", " })?;
            }
            if let Some(key_id) = &info.key_id {
                write!(f, " kid `{}`", crate::error::printable(key_id))?;
            }
            if let Some(certificate) = &info.certificate {
                write!(f, " for `{certificate}`")?;
            }
        }
        write!(f, ": {}", self.outcome)
    }
}

/// How far the keys at hand got with one element.
#[derive(Debug, Eq, PartialEq)]
pub enum Outcome {
    /// No key at hand understands this kind of element, or none has the name it gives.
    NoIdentity,
    /// Keys were tried and none opened it; the error is the one that says most.
    Failed(UnwrapError),
    /// The limit on private-key operations was reached before any key opened it.
    NotTried,
    /// Opened by these fingerprints, though the caller may have found the secret not to match.
    Opened(Vec<String>),
}

impl Outcome {
    fn note_opened(&mut self, fingerprint: &str) {
        if let Self::Opened(by) = self {
            by.push(fingerprint.to_owned());
        } else {
            *self = Self::Opened(vec![fingerprint.to_owned()]);
        }
    }

    fn note_failure(&mut self, error: UnwrapError) {
        let seen = match std::mem::replace(self, Self::NoIdentity) {
            Self::NoIdentity => None,
            Self::Failed(seen) => Some(seen),
            settled @ (Self::Opened(_) | Self::NotTried) => {
                *self = settled;
                return;
            }
        };
        *self = Self::Failed(more_telling(seen, error));
    }

    fn note_limit(&mut self) {
        if !matches!(self, Self::Opened(_)) {
            *self = Self::NotTried;
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoIdentity => f.write_str("no key for it"),
            Self::Failed(error) => error.fmt(f),
            Self::NotTried => f.write_str("not tried, too many recipients"),
            Self::Opened(_) => f.write_str("opened, but its secret is not this layer's"),
        }
    }
}
