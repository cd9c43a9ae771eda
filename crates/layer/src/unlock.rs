use std::ops::ControlFlow;

use sealift_keywrap::{Identity, LayerSecret, UnwrapError, WrapContext, WrappedKey};

use crate::annotations::{Recipients, Wraps};
use crate::error::{FormatError, KeyReport, OpenError, Place, SeenRecipient};

/// Whoever can turn wrapped keys into secrets: a list of identities, or a keyring.
pub trait SecretSource {
    /// Offers every secret that `wraps` yield to `accept`, best first, until it breaks.
    ///
    /// Returns why each element was refused, by its place in `wraps`; an element without entry was not understood by
    /// anybody, or yielded a secret.
    fn offer(
        &self,
        wraps: &[WrappedKey],
        context: &WrapContext<'_>,
        accept: &mut dyn FnMut(LayerSecret) -> ControlFlow<()>,
    ) -> Vec<Refusal>;
}

/// Why one wrapped key yielded no secret.
#[derive(Debug, Eq, PartialEq)]
pub struct Refusal {
    /// Its place in the list.
    pub index: usize,
    /// The reason.
    pub error: UnwrapError,
}

impl SecretSource for [Box<dyn Identity>] {
    fn offer(
        &self,
        wraps: &[WrappedKey],
        context: &WrapContext<'_>,
        accept: &mut dyn FnMut(LayerSecret) -> ControlFlow<()>,
    ) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        for (index, wrap) in wraps.iter().enumerate() {
            for identity in self.iter().filter(|identity| identity.opens(&wrap.scheme)) {
                match identity.unwrap_key(wrap, context) {
                    Ok(secret) => {
                        if accept(secret).is_break() {
                            return refusals;
                        }
                    }
                    Err(error) => refusals.push(Refusal { index, error }),
                }
            }
        }
        refusals
    }
}

impl SecretSource for Vec<Box<dyn Identity>> {
    fn offer(
        &self,
        wraps: &[WrappedKey],
        context: &WrapContext<'_>,
        accept: &mut dyn FnMut(LayerSecret) -> ControlFlow<()>,
    ) -> Vec<Refusal> {
        self.as_slice().offer(wraps, context, accept)
    }
}

/// What became of the secrets that were offered.
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
    let context = WrapContext {
        subject: layer.or(context.subject),
        ..*context
    };
    let mut found = None;
    let mut foreign = false;
    let mut malformed = None;
    let refusals = source.offer(
        wraps.as_slice(),
        &context,
        &mut |secret| match fits(secret) {
            Ok(fitting) => {
                found = Some(fitting);
                ControlFlow::Break(())
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
    if let Some(fitting) = found {
        return Ok(fitting);
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
            report: report(wraps, recipients, refusals),
        },
    })
}

fn report(wraps: &Wraps, recipients: &Recipients, refusals: Vec<Refusal>) -> KeyReport {
    let mut refusals_of: Vec<Option<UnwrapError>> = wraps.as_slice().iter().map(|_| None).collect();
    for Refusal { index, error } in refusals {
        // A reason that is not just "another key" says more about an element.
        if let Some(slot @ (None | Some(UnwrapError::NotForThisKey))) = refusals_of.get_mut(index) {
            *slot = Some(error);
        }
    }
    let seen = wraps
        .as_slice()
        .iter()
        .zip(refusals_of)
        .map(|(wrap, refusal)| SeenRecipient {
            scheme: wrap.scheme.clone(),
            fingerprint: recipients
                .of(wrap)
                .map(|note| note.fingerprint.as_str())
                .filter(|fingerprint| !fingerprint.is_empty())
                .map(sealift_oci::json::excerpt),
            refusal,
        });
    KeyReport {
        seen: seen.collect(),
    }
}
