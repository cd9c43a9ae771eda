use sealift_threshold::{Suite, ThresholdError};
use thiserror::Error;

use crate::dsse::DsseError;
use crate::server::shares::SharesError;
use crate::wire::{Code, Refusal};

/// Why a step was not taken.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CeremonyError {
    /// The name of the ceremony is not 16 octets in lower-case hex.
    #[error("the name of the ceremony is not 16 octets in hex")]
    Name,
    /// The command is not the one in force for the key, or it orders no ceremony.
    #[error("no command in force orders this ceremony")]
    NotOrdered,
    /// The key is deleted, or about to be.
    #[error("the key is deleted or about to be")]
    Closed,
    /// The key has a newer epoch or generation already.
    #[error("the key has gone beyond the epoch or generation that the command orders")]
    Superseded,
    /// What the command orders cannot be done: threshold, holders or dealers do not fit.
    #[error("threshold, holders or dealers of the command do not fit together or the key")]
    Plan,
    /// A holder is not known here.
    #[error("holder `{name}` is not known here")]
    UnknownHolder {
        /// Its name.
        name: Box<str>,
    },
    /// There is no descriptor in force yet.
    #[error("the key has no descriptor in force")]
    NoKey,
    /// The step does not belong to this ceremony, comes out of order, or was asked with other messages before.
    #[error("the step does not follow here; begin the ceremony anew")]
    Step,
    /// This holder has no such part in the ceremony.
    #[error("this holder has no such part in the ceremony")]
    NotAskedFor,
    /// Too many ceremonies are under way.
    #[error("too many ceremonies are under way")]
    TooMany,
    /// A message that cannot even be attributed.
    #[error("a message {fault}")]
    Message {
        /// What is wrong with it.
        fault: Fault,
    },
    /// A holder's message cannot be used.
    #[error("the message of holder `{name}` {fault}")]
    Holder {
        /// Who sent it, or who claims to have sent it.
        name: Box<str>,
        /// What is wrong with it.
        fault: Fault,
    },
    /// The dealer's message cannot be used.
    #[error("the message of the dealer {fault}")]
    Dealer {
        /// What is wrong with it.
        fault: Fault,
    },
    /// Some holders saw other messages than this one did.
    #[error("what was seen differs at {}", names(culprits))]
    Views {
        /// Their names.
        culprits: Vec<Box<str>>,
    },
    /// The arithmetic refused.
    #[error("{}{source}", prefix(culprit))]
    Arithmetic {
        /// Name of the holder that caused it.
        culprit: Option<Box<str>>,
        /// What it says.
        #[source]
        source: ThresholdError,
    },
    /// The repaired share does not belong to the key; one of the helpers lied, and it cannot be told which.
    #[error(
        "the repaired share does not belong to the key: one of {} sent something false",
        names(helpers)
    )]
    Repair {
        /// All helpers.
        helpers: Vec<Box<str>>,
    },
    /// The candidate descriptor is not what was ordered.
    #[error("the candidate descriptor is refused: {why}")]
    Descriptor {
        /// Why.
        why: &'static str,
    },
    /// Images of the key hold shares that are sealed to its present holders.
    #[error(
        "images of a key of suite {suite} hold shares sealed to each of its holders: seal them for a new key instead"
    )]
    SealedShares {
        /// The key's suite.
        suite: Suite,
    },
    /// The holder's own key for sealed shares is gone, and nobody else has it.
    #[error(
        "this holder's key for sealed shares is lost as well, and nobody else has it: seal the images for a new key"
    )]
    KemKeyLost,
    /// There is no candidate share of this ceremony.
    #[error("there is no candidate share of this ceremony")]
    NoCandidate,
    /// A share could not be read or written.
    #[error(transparent)]
    Shares(#[from] SharesError),
    /// An envelope could not be signed.
    #[error("a message could not be signed")]
    Signing(#[from] DsseError),
    /// The step was cut off.
    #[error("the step was cut off")]
    Interrupted,
}

impl CeremonyError {
    /// Returns the code that callers see.
    pub const fn code(&self) -> Code {
        match self {
            Self::Name | Self::Plan | Self::Message { .. } | Self::Descriptor { .. } => {
                Code::BadRequest
            }
            Self::Holder { .. }
            | Self::Dealer { .. }
            | Self::Views { .. }
            | Self::Arithmetic { .. }
            | Self::Repair { .. } => Code::ProofInvalid,
            Self::TooMany => Code::QuotaExceeded,
            Self::Superseded => Code::VersionConflict,
            Self::Shares(SharesError::Store(_)) | Self::Signing(_) | Self::Interrupted => {
                Code::StoreUnavailable
            }
            _ => Code::InvalidState,
        }
    }

    /// Returns what the coordinator is told.
    pub fn refusal(&self) -> Refusal {
        let culprits = self.culprits().into_iter().map(str::to_owned).collect();
        Refusal {
            code: self.code(),
            reason: self.to_string(),
            culprits,
        }
    }

    /// Returns the names of those who caused it.
    pub fn culprits(&self) -> Vec<&str> {
        match self {
            Self::Holder { name, .. } | Self::UnknownHolder { name } => vec![name],
            Self::Dealer { .. } => vec!["dealer"],
            Self::Views { culprits: names } | Self::Repair { helpers: names } => {
                names.iter().map(AsRef::as_ref).collect()
            }
            Self::Arithmetic {
                culprit: Some(name),
                ..
            } => vec![name],
            _ => Vec::new(),
        }
    }
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// It is not there.
    #[error("is missing")]
    Missing,
    /// It is there twice.
    #[error("is there twice")]
    Repeated,
    /// It is not a signed ceremony message.
    #[error("is malformed")]
    Malformed,
    /// It is not signed by its sender.
    #[error("has a false signature")]
    Signature,
    /// Its sender has no part in this step.
    #[error("is from somebody who has no part in this step")]
    Sender,
    /// It is for somebody else.
    #[error("is for another receiver")]
    Receiver,
    /// It is of another ceremony: a replay.
    #[error("is of another ceremony")]
    Ceremony,
    /// It is about another key, epoch or generation.
    #[error("is about another key, epoch or generation")]
    Key,
    /// It is of another step.
    #[error("is of another step")]
    Step,
    /// It relies on something else than what was seen here.
    #[error("relies on something else than what was seen here")]
    View,
    /// What is sealed in it does not open.
    #[error("does not open")]
    Sealed,
    /// The share in it does not belong to the descriptor.
    #[error("has a share that does not belong to the descriptor")]
    Share,
}

fn names(names: &[Box<str>]) -> String {
    let quoted: Vec<_> = names
        .iter()
        .map(|name| format!("holder `{name}`"))
        .collect();
    quoted.join(", ")
}

fn prefix(culprit: &Option<Box<str>>) -> String {
    culprit
        .as_ref()
        .map_or_else(String::new, |name| format!("holder `{name}`: "))
}
