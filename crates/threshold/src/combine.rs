//! From enough partials to the plaintext, naming those that lied (`SPEC.md`, section 11).

use sealift_keywrap::LayerSecret;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    CheckedWrap, Culprit, ErrorId, GroupKey, HolderId, PartialDecryption, ThresholdError,
    group::{self, Point, Scalar},
    partial::{Admitted, Question},
};

/// Combines the partials of one wrap, asked for in one request.
#[derive(Debug)]
pub struct Combiner<'a> {
    group: &'a GroupKey,
    wrap: CheckedWrap<'a>,
    request_hash: [u8; 32],
}

impl<'a> Combiner<'a> {
    /// Prepares to combine.
    pub const fn new(group: &'a GroupKey, wrap: CheckedWrap<'a>, request_hash: [u8; 32]) -> Self {
        Self {
            group,
            wrap,
            request_hash,
        }
    }

    /// Opens the wrap.
    ///
    /// Proofs are only looked at when the first attempt fails, so a partial that was not needed may be false without
    /// being named.
    ///
    /// # Errors
    /// [`CombineError`]; after an error that names one holder before anything was combined (`holder_unknown`,
    /// `holder_duplicate`, `generation_mismatch`, `partial_proof_missing`, `point_invalid`), drop that partial and try again.
    pub fn combine(&self, partials: &[PartialDecryption]) -> Result<Combined, CombineError> {
        let ((_, plaintext), culprits) = self.open(partials)?;
        Ok(Combined {
            secret: LayerSecret::new(plaintext),
            culprits,
        })
    }

    /// Opens the wrap and returns the shared point too.
    pub(crate) fn open(
        &self,
        partials: &[PartialDecryption],
    ) -> Result<(Opened, Vec<HolderId>), CombineError> {
        self.wrap.belongs_to(self.group)?;
        let question = Question::of_wrap(&self.wrap, &self.request_hash);
        combine(
            self.group,
            &question,
            partials,
            Proofs::WhenNeeded,
            &|z: &Point| {
                let c = self.wrap.wrap().c();
                let Some(key) = self.wrap.key(z).filter(|key| key.confirms(c)) else {
                    return Attempt::WrongPoint;
                };
                match key.open(self.wrap.wrap().label_octets(), c) {
                    Some(plaintext) => Attempt::Opened((*z, plaintext)),
                    None => Attempt::Broken(ThresholdError::encryptor(ErrorId::AeadFailed)),
                }
            },
        )
    }
}

/// The shared point, and what it opened.
pub(crate) type Opened = (Point, Zeroizing<Vec<u8>>);

/// What partials opened.
#[derive(Debug)]
pub struct Combined {
    /// What was wrapped.
    pub secret: LayerSecret,
    /// Holders whose partials are proven to be false; not every false one need be among them.
    pub culprits: Vec<HolderId>,
}

/// Why partials opened nothing.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{error}")]
pub struct CombineError {
    /// What is wrong.
    pub error: ThresholdError,
    /// Holders whose partials are proven to be false.
    pub culprits: Vec<HolderId>,
}

impl From<ThresholdError> for CombineError {
    fn from(error: ThresholdError) -> Self {
        Self {
            error,
            culprits: Vec::new(),
        }
    }
}

/// When the proofs of partials are checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Proofs {
    /// Only after an attempt without them failed: a key confirmation tells.
    WhenNeeded,
    /// Before anything else: there is no key confirmation.
    First,
}

/// What became of one attempt to open.
pub(crate) enum Attempt<T> {
    Opened(T),
    /// The point is not the one that was used to seal.
    WrongPoint,
    /// The point is the right one, and what it should open is broken.
    Broken(ThresholdError),
}

/// Combines partials and opens with `open`; on success returns who is proven to have lied.
pub(crate) fn combine<T>(
    group: &GroupKey,
    question: &Question<'_>,
    partials: &[PartialDecryption],
    proofs: Proofs,
    open: &dyn Fn(&Point) -> Attempt<T>,
) -> Result<(T, Vec<HolderId>), CombineError> {
    let mut admitted: Vec<Admitted<'_>> = Vec::with_capacity(partials.len());
    for partial in partials {
        let holder = partial.holder();
        // A holder that is not known is not known to be there twice either.
        if group.holder(holder).is_some() && admitted.iter().any(|one| one.holder() == holder) {
            return Err(ThresholdError::holder(ErrorId::HolderDuplicate, holder).into());
        }
        admitted.push(partial.admit(group)?);
    }
    admitted.sort_by_key(Admitted::holder);

    let lowest = Choice::lowest(group, &admitted)
        .ok_or_else(|| ThresholdError::new(ErrorId::PartialsInsufficient, Culprit::None))?;
    if proofs == Proofs::WhenNeeded {
        match open(&lowest.point()) {
            Attempt::Opened(opened) => return Ok((opened, Vec::new())),
            Attempt::Broken(error) => return Err(error.into()),
            Attempt::WrongPoint => {}
        }
    }

    let (honest, liars): (Vec<_>, Vec<_>) = admitted
        .into_iter()
        .partition(|one| one.verify(question).is_ok());
    let mut culprits: Vec<HolderId> = liars.iter().map(Admitted::holder).collect();
    let failed = |error| CombineError {
        error,
        culprits: culprits.clone(),
    };
    for choice in Choice::all(group, &honest).take(MAX_ATTEMPTS) {
        match open(&choice.point()) {
            Attempt::Opened(opened) => {
                culprits.extend(choice.off_the_line(group, &honest));
                culprits.sort_unstable();
                return Ok((opened, culprits));
            }
            Attempt::Broken(error) => return Err(failed(error)),
            Attempt::WrongPoint => {}
        }
    }

    if !culprits.is_empty() {
        let culprit = Culprit::holders(&culprits);
        return Err(failed(ThresholdError::new(
            ErrorId::PartialProofInvalid,
            culprit,
        )));
    }
    let proven: Vec<_> = honest
        .iter()
        .filter(|one| one.is_proven())
        .cloned()
        .collect();
    let culprit = if Choice::lowest(group, &proven).is_some() {
        Culprit::Encryptor
    } else {
        let unproven = honest.iter().filter(|one| !one.is_proven());
        Culprit::Many(
            unproven
                .map(|one| Culprit::Holder(Some(one.holder())))
                .chain([Culprit::Encryptor])
                .collect(),
        )
    };
    Err(failed(ThresholdError::new(
        ErrorId::CombineMismatch,
        culprit,
    )))
}

/// As many partials of each part as its threshold demands.
struct Choice<'a> {
    parts: Vec<Vec<&'a Admitted<'a>>>,
}

impl<'a> Choice<'a> {
    /// Takes the lowest indices of every part; `None` if a part falls short.
    fn lowest(group: &GroupKey, partials: &'a [Admitted<'a>]) -> Option<Self> {
        let parts = group.parts().iter().map(|part| {
            let chosen: Vec<_> = partials
                .iter()
                .filter(|one| part.holders.contains(&one.holder()))
                .take(part.t.into())
                .collect();
            (chosen.len() == usize::from(part.t)).then_some(chosen)
        });
        Some(Self {
            parts: parts.collect::<Option<_>>()?,
        })
    }

    /// Enumerates the choices worth an attempt: proven partials wherever there are enough of them, and otherwise all of
    /// them with every subset of the unproven ones that fills the rest.
    fn all(group: &GroupKey, partials: &'a [Admitted<'a>]) -> Box<dyn Iterator<Item = Self> + 'a> {
        let start: Box<dyn Iterator<Item = Self> + 'a> =
            Box::new(std::iter::once(Self { parts: Vec::new() }));
        group.parts().iter().fold(start, |choices, part| {
            let t = usize::from(part.t);
            let (mut proven, unproven): (Vec<_>, Vec<_>) = partials
                .iter()
                .filter(|one| part.holders.contains(&one.holder()))
                .partition(|one| one.is_proven());
            proven.truncate(t);
            let missing = t - proven.len();
            Box::new(choices.flat_map(move |choice| {
                let proven = proven.clone();
                subsets(unproven.clone(), missing).map(move |filling| {
                    let mut parts = choice.parts.clone();
                    parts.push(proven.iter().copied().chain(filling).collect());
                    Self { parts }
                })
            }))
        })
    }

    /// Returns `Z`, as far as these partials tell.
    fn point(&self) -> Point {
        let mut terms = Vec::new();
        for part in &self.parts {
            terms.extend(interpolation(part, 0));
        }
        group::multi_multiply_vartime(&terms)
    }

    /// Names those unproven partials that are not on the polynomial through the chosen ones of their part.
    fn off_the_line(&self, group: &GroupKey, partials: &[Admitted<'_>]) -> Vec<HolderId> {
        let mut culprits = Vec::new();
        for (part, chosen) in group.parts().iter().zip(&self.parts) {
            for one in partials.iter().filter(|one| !one.is_proven()) {
                let holder = one.holder();
                let is_used = chosen.iter().any(|used| used.holder() == holder);
                if part.holders.contains(&holder)
                    && !is_used
                    && group::multi_multiply_vartime(&interpolation(chosen, holder.get()))
                        != *one.d()
                {
                    culprits.push(holder);
                }
            }
        }
        culprits
    }
}

/// Returns the partials, each with its Lagrange coefficient for the abscissa `at`.
fn interpolation(chosen: &[&Admitted<'_>], at: u8) -> Vec<(Point, Scalar)> {
    let set: Vec<HolderId> = chosen.iter().map(|one| one.holder()).collect();
    chosen
        .iter()
        .filter_map(|one| Some((*one.d(), group::lagrange(&set, one.holder(), at)?)))
        .collect()
}

/// Enumerates the subsets of `size` elements, those of low positions first.
fn subsets<T: Copy>(elements: Vec<T>, size: usize) -> impl Iterator<Item = Vec<T>> {
    let count = elements.len();
    let first = (size <= count).then(|| (0..size).collect::<Vec<usize>>());
    std::iter::successors(first, move |positions| {
        // The last position that can still move up moves up; those after it follow closely.
        let moving = (0..size).rfind(|at| positions.get(*at) < Some(&(count - size + at)))?;
        let start = positions.get(moving)? + 1;
        let kept = positions.iter().copied().take(moving);
        Some(kept.chain(start..start + size - moving).collect())
    })
    .map(move |positions| {
        positions
            .iter()
            .filter_map(|position| elements.get(*position).copied())
            .collect()
    })
}

/// After this many wrong guesses about unproven partials there are too many liars to find.
const MAX_ATTEMPTS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::subsets;

    #[test]
    fn subsets_are_enumerated_once_each_from_low_to_high() {
        let all: Vec<Vec<u8>> = subsets(vec![1u8, 2, 3, 4], 2).collect();
        let expected = [[1, 2], [1, 3], [1, 4], [2, 3], [2, 4], [3, 4]];
        assert_eq!(all, expected);
        assert_eq!(
            subsets(vec![1, 2], 0).collect::<Vec<_>>(),
            [Vec::<u8>::new()]
        );
        assert_eq!(subsets(vec![1, 2], 2).collect::<Vec<_>>(), [vec![1, 2]]);
        assert_eq!(subsets(vec![1, 2], 3).count(), 0);
    }
}
