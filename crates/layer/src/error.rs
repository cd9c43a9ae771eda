use std::fmt;

use sealift_keywrap::{ElementReport, Outcome, Scheme, UnwrapError, WrapError};
use sealift_oci::MediaTypeError;
use sealift_oci::json::JsonError;
use thiserror::Error;

use crate::chunked::MessageFault;

/// Why a layer could not be sealed.
#[derive(Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum SealError {
    /// Nobody could ever open the layer.
    #[error("a layer needs at least one recipient")]
    NoRecipients,

    /// The media type is not that of a plain layer.
    #[error("cannot seal this media type")]
    MediaType(#[from] MediaTypeError),

    /// A recipient's key cannot carry the layer key.
    #[error("cannot wrap the layer key for {scheme} recipient `{fingerprint}`")]
    Wrap {
        /// The recipient's envelope.
        scheme: Scheme,
        /// The recipient's key.
        fingerprint: Box<str>,
        /// What the envelope said.
        #[source]
        source: WrapError,
    },

    /// More wrapped keys, or longer ones, than a reader accepts.
    #[error("too many recipients for one layer")]
    TooManyRecipients(#[source] FormatError),

    /// The wrapped keys do not fit into the blob's header; they can stay out of it.
    #[error("the wrapped keys do not fit into the layer's header of {limit} octets")]
    HeaderTooLong {
        /// The limit.
        limit: usize,
    },

    /// The layer has more octets than the cipher can seal.
    #[error("layer is longer than the cipher allows")]
    TooLong,

    /// The original is larger than readers unpack.
    #[error("original document is longer than {limit} octets")]
    OriginalTooLong {
        /// The limit.
        limit: usize,
    },

    /// The random number generator failed.
    #[error("no random numbers to be had")]
    Randomness,

    /// The cryptographic library or the compressor refused sound input.
    #[error("sealing failed inside a library")]
    Internal,
}

/// Why a layer could not be opened.
#[derive(Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum OpenError {
    /// None of the wrapped keys could be unwrapped.
    #[error("no key fits layer {layer}: {report}")]
    NoKey {
        /// The layer's commitment or ciphertext digest; `(unknown)` where neither is known yet.
        layer: Box<str>,
        /// Which wrapped keys were seen, and why each was refused.
        report: KeyReport,
    },

    /// Key, parameters and ciphertext do not belong together.
    ///
    /// Carries no detail on purpose: the expected tag is what a forger wants to read.
    #[error("layer failed authentication")]
    Authentication,

    /// The input ended at a length that no sealed layer has.
    #[error("layer is truncated {}", After(*.after))]
    Truncated {
        /// Index of the last chunk that opened; `None` when none had.
        after: Option<u64>,
    },

    /// The options name a cipher this build does not implement.
    #[error("layer cipher `{name}` is not implemented by this build")]
    UnsupportedCipher {
        /// The name as it stands in the options.
        name: Box<str>,
    },

    /// The blob is not of the format that its descriptor claims.
    #[error("layer is not sealed as its descriptor says: it begins with {first}")]
    NotSealed {
        /// What it begins with.
        first: FirstOctets,
    },

    /// Two places that describe the layer contradict each other.
    #[error("{what} differs between {one} and {other}")]
    Disagreement {
        /// The fact in question.
        what: Fact,
        /// Where one value stands.
        one: Place,
        /// Where the other stands.
        other: Place,
    },

    /// The blob carries no options, and nothing else describes it.
    #[error("layer has no public options: its descriptor's annotations are needed to open it")]
    MissingOptions,

    /// Something that describes the layer is not well formed.
    #[error("malformed {place}")]
    Malformed {
        /// What is malformed.
        place: Place,
        /// What is wrong with it.
        #[source]
        source: FormatError,
    },

    /// The layer has more chunks than the cipher allows.
    #[error("layer is longer than its cipher allows")]
    TooLong,
}

impl From<MessageFault> for OpenError {
    fn from(fault: MessageFault) -> Self {
        match fault {
            MessageFault::Refused => Self::Authentication,
            MessageFault::Truncated { after } => Self::Truncated { after },
            MessageFault::TooLong => Self::TooLong,
        }
    }
}

/// A fact about a layer that is told in several places.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fact {
    /// The cipher's name.
    Cipher,
    /// The commitment to key, salt and context.
    Commitment,
    /// The plain media type.
    MediaType,
    /// The nonce of an ocicrypt layer.
    Nonce,
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cipher => "cipher",
            Self::Commitment => "commitment",
            Self::MediaType => "media type",
            Self::Nonce => "nonce",
        })
    }
}

/// A place where something about a layer stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Place {
    /// The descriptor and its annotations.
    Descriptor,
    /// What the runtime told apart from the descriptor.
    Runtime,
    /// The header in front of the blob.
    Header,
    /// The sealed octets themselves.
    Message,
    /// The public options, wherever they stand.
    PublicOptions,
    /// The private options that were unwrapped.
    PrivateOptions,
    /// The annotation that holds a sealed original.
    Original,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Descriptor => "descriptor",
            Self::Runtime => "runtime",
            Self::Header => "layer header",
            Self::Message => "layer blob",
            Self::PublicOptions => "public options",
            Self::PrivateOptions => "private options",
            Self::Original => "sealed original",
        })
    }
}

/// Why a header, an annotation or options were refused.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum FormatError {
    /// Not JSON as it is asked for here.
    #[error(transparent)]
    Json(#[from] JsonError),

    /// A member that is needed is absent or null.
    #[error("member `{member}` is missing")]
    Missing {
        /// The member.
        member: &'static str,
    },

    /// A member is of another JSON type.
    #[error("member `{member}` has the wrong type")]
    WrongType {
        /// The member.
        member: &'static str,
    },

    /// A value is not standard base64.
    #[error("`{member}` is not standard base64")]
    Base64 {
        /// The member or annotation.
        member: Box<str>,
    },

    /// A value has another length.
    #[error("`{member}` is not {expected} octets long")]
    Length {
        /// The member.
        member: &'static str,
        /// The only length accepted.
        expected: usize,
    },

    /// More than a reader is willing to take.
    #[error("more than {limit} {what}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },

    /// Not a media type, or not that of a layer.
    #[error(transparent)]
    MediaType(#[from] MediaTypeError),

    /// The digest in the private options cannot be compared with anything.
    #[error("plaintext digest is not one this build can verify")]
    Digest,

    /// Not `v1.<id>.<base64>`.
    #[error("not of the form v1.<id>.<base64>")]
    OriginalForm,
}

/// Which recipients a layer has, and why none of them could be used.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct KeyReport {
    /// One entry per wrapped key, in the order in which they stand.
    pub seen: Vec<SeenElement>,
    /// What was wrong with elements that had to be left out.
    pub faults: Vec<FormatError>,
}

impl fmt::Display for KeyReport {
    /// Writes one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.seen.is_empty() && self.faults.is_empty() {
            return f.write_str("it names no recipients");
        }
        let mut separator = "";
        for seen in self.seen.iter().take(Self::SHOWN) {
            write!(f, "{separator}{seen}")?;
            separator = "; ";
        }
        if let Some(more) = self
            .seen
            .len()
            .checked_sub(Self::SHOWN)
            .filter(|more| *more > 0)
        {
            write!(f, "{separator}{more} more")?;
        }
        for fault in self.faults.iter().take(Self::SHOWN) {
            write!(f, "{separator}{fault}")?;
            separator = "; ";
        }
        Ok(())
    }
}

impl KeyReport {
    /// Returns the failure that decides what the caller can do: a refusal before an outage, none if only keys are missing.
    pub fn decisive(&self) -> Option<&UnwrapError> {
        let failures = || {
            self.seen
                .iter()
                .filter_map(|seen| match &seen.report.outcome {
                    Outcome::Failed(error) => Some(error),
                    _ => None,
                })
        };
        failures()
            .find(|error| matches!(error, UnwrapError::Denied { .. }))
            .or_else(|| failures().find(|error| matches!(error, UnwrapError::Unavailable { .. })))
            .or_else(|| {
                failures().find(|error| matches!(error, UnwrapError::ProviderUnavailable { .. }))
            })
    }

    /// How many elements a message lists.
    const SHOWN: usize = 8;
}

/// One wrapped key that a layer carries.
#[derive(Debug, Eq, PartialEq)]
pub struct SeenElement {
    /// The recipient's fingerprint, where the writer of the layer told it. Nobody vouches for it.
    pub told: Option<Box<str>>,
    /// What the envelope itself says, and what became of it.
    pub report: ElementReport,
}

impl fmt::Display for SeenElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.report.fmt(f)?;
        match &self.told {
            Some(fingerprint) => write!(f, " (for key {fingerprint})"),
            None => Ok(()),
        }
    }
}

/// The beginning of a blob, described for people.
#[derive(Clone, Eq, PartialEq)]
pub struct FirstOctets(Box<[u8]>);

impl FirstOctets {
    /// Keeps the first octets of `blob`.
    pub fn of(blob: &[u8]) -> Self {
        Self(blob.iter().take(Self::KEPT).copied().collect())
    }

    /// Borrows the octets.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// Names a format that begins so; ciphertext hardly ever does.
    pub fn format(&self) -> Option<&'static str> {
        match &*self.0 {
            [0x1f, 0x8b, 0x08, ..] => Some("gzip"),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zstd"),
            [b'{', b'"' | b'\n' | b'\r', ..] => Some("JSON"),
            [b'<', b'!' | b'h' | b'H' | b'?', ..] => Some("markup"),
            _ => None,
        }
    }

    const KEPT: usize = 8;
}

impl fmt::Display for FirstOctets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        f.write_str(&hex::encode(&self.0))?;
        match self.format() {
            Some(format) => write!(f, " ({format})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for FirstOctets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FirstOctets({self})")
    }
}

struct After(Option<u64>);

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(chunk) => write!(f, "after chunk {chunk}"),
            None => f.write_str("before its first chunk"),
        }
    }
}
