use std::ops::ControlFlow;

use sealift_keywrap::{ElementReport, Keyring, LayerSecret, Outcome, WrapContext, WrappedKey};

use crate::annotations::{Recipients, Wraps};
use crate::error::{FormatError, KeyReport, OpenError, Place, SeenElement};

/// Whoever can turn wrapped keys into secrets: a keyring, or something that asks others.
pub trait SecretSource {
    /// Takes note of all wrapped keys that will probably be offered soon, before the first [`offer`](Self::offer) of an image.
    fn prepare(&self, wraps: &[WrappedKey]) {
        let _ = wraps;
    }

    /// Offers the secrets that `wraps` yield to `accept`, one by one, until it breaks.
    ///
    /// Returns, for each element in order, what became of it.
    fn offer(
        &self,
        wraps: &[WrappedKey],
        context: &WrapContext<'_>,
        accept: &mut dyn FnMut(LayerSecret) -> ControlFlow<()>,
    ) -> Vec<ElementReport>;
}

impl SecretSource for Keyring {
    fn prepare(&self, wraps: &[WrappedKey]) {
        self.prepare(wraps);
    }

    fn offer(
        &self,
        wraps: &[WrappedKey],
        context: &WrapContext<'_>,
        accept: &mut dyn FnMut(LayerSecret) -> ControlFlow<()>,
    ) -> Vec<ElementReport> {
        let mut candidates = self.unwrap_keys(wraps, *context);
        for unwrapped in candidates.by_ref() {
            if accept(unwrapped.secret).is_break() {
                break;
            }
        }
        candidates.into_report()
    }
}

/// Why a secret that was offered is not the layer's.
pub(crate) enum Trial {
    /// The secret does not belong to the layer; the next may.
    Foreign,
    /// What was unwrapped is not well formed; the next may be.
    Malformed(FormatError),
}

/// Tries secrets until `fits` makes something of one.
pub(crate) fn unlock<T>(
    source: &(impl SecretSource + ?Sized),
    wraps: &Wraps,
    recipients: &Recipients,
    layer: Option<&str>,
    context: &WrapContext<'_>,
    mut fits: impl FnMut(LayerSecret) -> Result<T, Trial>,
) -> Result<T, OpenError> {
    let mut found = None;
    search(source, wraps, recipients, layer, context, |secret| {
        found = Some(fits(secret)?);
        Ok(ControlFlow::Break(()))
    })?;
    found.ok_or(OpenError::Authentication)
}

/// Tries the secrets of all elements; returns the elements that gave some.
///
/// # Errors
/// As if one were sought, if none is taken.
pub(crate) fn unlock_all(
    source: &(impl SecretSource + ?Sized),
    wraps: &Wraps,
    recipients: &Recipients,
    layer: Option<&str>,
    context: &WrapContext<'_>,
    mut take: impl FnMut(LayerSecret) -> Result<(), Trial>,
) -> Result<Vec<WrappedKey>, OpenError> {
    let reports = search(source, wraps, recipients, layer, context, |secret| {
        take(secret).map(ControlFlow::Continue)
    })?;
    let opened = wraps.as_slice().iter().zip(reports);
    Ok(opened
        .filter(|(_, report)| matches!(report.outcome, Outcome::Opened(_)))
        .map(|(wrap, _)| wrap.clone())
        .collect())
}

/// Offers secrets until `take` has had enough; fails if it took none.
fn search(
    source: &(impl SecretSource + ?Sized),
    wraps: &Wraps,
    recipients: &Recipients,
    layer: Option<&str>,
    context: &WrapContext<'_>,
    mut take: impl FnMut(LayerSecret) -> Result<ControlFlow<()>, Trial>,
) -> Result<Vec<ElementReport>, OpenError> {
    let context = WrapContext {
        subject: layer.or(context.subject),
        ..*context
    };
    let mut taken = false;
    let mut foreign = false;
    let mut malformed = None;
    let reports = source.offer(
        wraps.as_slice(),
        &context,
        &mut |secret| match take(secret) {
            Ok(flow) => {
                taken = true;
                flow
            }
            Err(Trial::Foreign) => {
                foreign = true;
                ControlFlow::Continue(())
            }
            Err(Trial::Malformed(error)) => {
                malformed.get_or_insert(error);
                ControlFlow::Continue(())
            }
        },
    );
    if taken {
        return Ok(reports);
    }
    if foreign {
        return Err(OpenError::Authentication);
    }
    Err(match malformed {
        Some(source) => OpenError::Malformed {
            place: Place::PrivateOptions,
            source,
        },
        None => OpenError::NoKey {
            layer: context.subject.unwrap_or("(unknown)").into(),
            report: report(wraps, recipients, reports),
        },
    })
}

fn report(wraps: &Wraps, recipients: &Recipients, reports: Vec<ElementReport>) -> KeyReport {
    let seen = wraps
        .as_slice()
        .iter()
        .zip(reports)
        .map(|(wrap, report)| SeenElement {
            told: recipients
                .of(wrap)
                .map(|note| note.fingerprint.as_str())
                .filter(|fingerprint| !fingerprint.is_empty())
                .map(sealift_oci::json::excerpt),
            report,
        });
    KeyReport {
        seen: seen.collect(),
        faults: wraps.faults().to_vec(),
    }
}
