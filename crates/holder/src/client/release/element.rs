//! What holders open, and how it is cut into requests.

use std::sync::Arc;

use sealift_keywrap::{Scheme, WrappedKey};
use sealift_threshold::{
    Answer, CombineError, Combined, Culprit, ErrorId, GroupKey, PartialDecryption, ThresholdError,
    UnlabelledWrap, Wrap, combine_unlabelled,
};

use crate::wire::{MAX_WRAPS, WireWrap};

/// Something that holders open.
#[derive(Clone, Debug)]
pub enum Element {
    /// A wrap with a label.
    Wrap(Box<Wrap>),
    /// A recipient of a stock JWE, for keys that are unbound.
    Jwe {
        /// The JWE.
        element: Vec<u8>,
        /// The recipient's ephemeral key.
        wrap: UnlabelledWrap,
    },
}

impl Element {
    /// Reads what a key annotation carries: one element, or one per recipient of a JWE that `group` may be.
    ///
    /// # Errors
    /// As the threshold crate has them; `key_mismatch` when `group` certainly does not open it.
    pub fn read(wrapped: &WrappedKey, group: &GroupKey) -> Result<Vec<Self>, ThresholdError> {
        let mismatch = ThresholdError {
            id: ErrorId::KeyMismatch,
            culprit: Culprit::Presenter,
        };
        if wrapped.scheme == Scheme::sealift() && !group.unbound() {
            let wrap = Wrap::parse(&wrapped.element)?;
            if *wrap.label().key_id != *group.key_id() || wrap.label().epoch != group.epoch() {
                return Err(mismatch);
            }
            Ok(vec![Self::Wrap(Box::new(wrap))])
        } else if wrapped.scheme == Scheme::Jwe && group.unbound() {
            let wraps = UnlabelledWrap::from_jwe(&wrapped.element)?;
            Ok(wraps
                .into_iter()
                .map(|wrap| Self::Jwe {
                    element: wrapped.element.clone(),
                    wrap,
                })
                .collect())
        } else {
            Err(mismatch)
        }
    }

    /// Makes the checks that come before any holder is asked (`SPEC.md` of the threshold crate, section 9).
    pub(super) fn check(&self, group: &GroupKey) -> Result<[u8; 32], ThresholdError> {
        match self {
            Self::Wrap(wrap) => group.check(wrap).map(|_| wrap.digest()),
            Self::Jwe { wrap, .. } => Ok(wrap.digest(group)),
        }
    }

    /// Opens with the answers of holders.
    pub(super) fn combine(
        &self,
        group: &GroupKey,
        request_hash: [u8; 32],
        answers: &[&Answer],
    ) -> Result<Combined, CombineError> {
        match self {
            Self::Wrap(wrap) => group.check(wrap)?.combine(group, &request_hash, answers),
            Self::Jwe { element, wrap } => {
                let partials: Vec<PartialDecryption> = answers
                    .iter()
                    .filter_map(|answer| answer.partial().cloned())
                    .collect();
                combine_unlabelled(group, wrap, element, &request_hash, &partials)
            }
        }
    }

    pub(super) fn wire(&self) -> WireWrap {
        match self {
            Self::Wrap(wrap) => WireWrap::Compact(wrap.as_bytes().into()),
            Self::Jwe { wrap, .. } => WireWrap::Unlabelled {
                epk: wrap.r1().as_slice().into(),
            },
        }
    }

    pub(super) fn wire_len(&self) -> usize {
        match self {
            Self::Wrap(wrap) => wrap.as_bytes().len(),
            Self::Jwe { .. } => UNLABELLED_LEN,
        }
    }
}

/// Cuts elements into requests that holders take.
pub(super) fn split(elements: Vec<Element>) -> Vec<Arc<[Element]>> {
    let mut batches = Vec::new();
    let mut batch: Vec<Element> = Vec::new();
    let mut octets = 0;
    for element in elements {
        let len = element.wire_len();
        if batch.len() == MAX_WRAPS || (!batch.is_empty() && octets + len > MAX_BATCH_LEN) {
            batches.push(std::mem::take(&mut batch).into());
            octets = 0;
        }
        octets += len;
        batch.push(element);
    }
    if !batch.is_empty() {
        batches.push(batch.into());
    }
    batches
}

/// Most octets of wraps in one request, so that its base64 stays below the limit of bodies.
pub(super) const MAX_BATCH_LEN: usize = 512 * 1024;
/// A compressed point and what stands around it.
pub(super) const UNLABELLED_LEN: usize = 64;
