//! What travels over the agent's socket.
//!
//! A message is four octets of length, big-endian, and that many octets of JSON. The client sends a [`Question`], the agent one
//! [`Answer`], as often as the client likes; after an answer that says [`Refusal::BadRequest`] the agent closes. Elements and
//! secrets are in standard base64. Unknown members and versions are refused: both ends come from one package.

use std::fmt;
use std::io::{self, Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sealift_keywrap::{MAX_ELEMENT_LEN, Scheme, WrappedKey};
use serde::de::{DeserializeOwned, Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use zeroize::Zeroizing;

/// The version of all messages.
pub const VERSION: u32 = 1;
/// Most octets of a question.
pub const MAX_QUESTION_LEN: usize = 1024 * 1024;
/// Most octets of an answer.
pub const MAX_ANSWER_LEN: usize = 64 * 1024;
/// Most elements in one question, the wanted one among them; as many as key holders take at once.
pub const MAX_ELEMENTS: usize = 128;
/// Most octets of all elements in one question, before base64.
pub const MAX_ELEMENT_OCTETS: usize = 512 * 1024;
/// Most octets of a released secret.
pub const MAX_SECRET_LEN: usize = 16 * 1024;

/// What a client sends.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// [`VERSION`].
    pub v: u32,
    /// What it wants.
    pub ask: Ask,
}

/// What a client wants.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// The secret in one element.
    Unwrap(Unwrap),
    /// That these are fetched before they are asked for.
    Prefetch(Prefetch),
    /// How the agent is.
    Status,
}

/// [`Ask::Unwrap`].
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Unwrap {
    /// The element that is wanted.
    pub wanted: Element,
    /// The layer it belongs to, as in [`WrapContext::subject`](sealift_keywrap::WrapContext::subject).
    pub subject: Option<String>,
    /// Elements of other layers of the image, which will be wanted soon.
    #[serde(default)]
    pub siblings: Vec<Element>,
}

/// [`Ask::Prefetch`].
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Prefetch {
    /// The elements.
    pub elements: Vec<Element>,
}

/// An element of a key annotation.
#[derive(Debug)]
pub struct Element(pub WrappedKey);

/// What the agent sends.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// [`VERSION`].
    pub v: u32,
    /// The node's name; it stands in the holders' records too.
    pub node: String,
    /// The answer proper.
    pub reply: Reply,
}

/// What an [`Answer`] says.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// The secret.
    Secret(Secret),
    /// So many elements are being fetched.
    Fetching(usize),
    /// How the agent is.
    Status(Status),
    /// There is no secret.
    Refused(Refusal),
}

/// The private options of a layer. Wiped on drop, silent under `Debug`.
pub struct Secret(pub Zeroizing<Vec<u8>>);

/// Why the agent gives no secret.
#[derive(Clone, Debug, Deserialize, Eq, Error, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Refusal {
    /// A holder refused, or the agent knows that all would.
    #[error("denied by key holder `{by}`: {code}")]
    Denied {
        /// The holder.
        by: String,
        /// Its code.
        code: String,
    },
    /// Too few holders could be reached.
    #[error("{reason}")]
    Unavailable {
        /// What is in the way.
        reason: String,
    },
    /// No key of the holders opens it.
    #[error("no key of the holders opens it")]
    NotForTheseKeys {},
    /// The element is malformed, or does not belong to the layer.
    #[error("malformed element: {reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
    /// The element was altered.
    #[error("element failed authentication")]
    Altered {},
    /// The agent does not understand the question.
    #[error("{reason}")]
    BadRequest {
        /// What is wrong.
        reason: String,
    },
}

/// How the agent is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// Whether this node is revoked.
    pub revoked: bool,
    /// Keys that open nothing at present.
    pub disabled_keys: Vec<String>,
    /// How many secrets are held.
    pub leases: usize,
    /// Longest lease, in seconds.
    pub lease_seconds: u64,
    /// Whether all secrets are kept out of swap.
    pub locked: bool,
    /// The holders.
    pub holders: Vec<HolderStatus>,
    /// Until when the node's certificate is valid, in Unix seconds.
    pub certificate_until: Option<u64>,
}

/// How the feed of a holder is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HolderStatus {
    /// Its name.
    pub name: String,
    /// Milliseconds since it was last heard of; `None` if never.
    pub silent_for: Option<u64>,
}

/// Why a message was not read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The other end went away within a message.
    #[error("connection ended within a message")]
    Truncated,

    /// A message is longer than allowed.
    #[error("message of {len} octets, at most {limit} are allowed")]
    TooLong {
        /// Its length.
        len: usize,
        /// The limit.
        limit: usize,
    },

    /// Another version.
    #[error("messages of version {version}, not {VERSION}")]
    Version {
        /// The version.
        version: u32,
    },

    /// Not what is expected. Carries no detail: the message may hold a secret.
    #[error("malformed message")]
    Malformed,

    /// More elements than allowed, or longer ones.
    #[error("too many elements, or too long ones")]
    TooMuch,

    /// The socket failed.
    #[error("connection failed")]
    Io(#[source] io::Error),
}

impl Question {
    /// Makes a question of this version.
    pub fn new(ask: Ask) -> Self {
        Self { v: VERSION, ask }
    }

    /// Reads the JSON of a question and checks its limits.
    ///
    /// # Errors
    /// [`ProtocolError`]
    pub fn parse(json: &[u8]) -> Result<Self, ProtocolError> {
        let question: Self = parse(json, MAX_QUESTION_LEN)?;
        let elements: Vec<&Element> = match &question.ask {
            Ask::Unwrap(unwrap) => unwrap.siblings.iter().chain([&unwrap.wanted]).collect(),
            Ask::Prefetch(prefetch) => prefetch.elements.iter().collect(),
            Ask::Status => Vec::new(),
        };
        let octets: usize = elements.iter().map(|element| element.0.element.len()).sum();
        if elements.len() > MAX_ELEMENTS || octets > MAX_ELEMENT_OCTETS {
            return Err(ProtocolError::TooMuch);
        }
        Ok(question)
    }
}

impl Answer {
    /// Reads the JSON of an answer.
    ///
    /// # Errors
    /// [`ProtocolError`]
    pub fn parse(json: &[u8]) -> Result<Self, ProtocolError> {
        parse(json, MAX_ANSWER_LEN)
    }
}

/// Tells another version from garbage before anything else is looked at.
fn parse<T: DeserializeOwned>(json: &[u8], limit: usize) -> Result<T, ProtocolError> {
    #[derive(Deserialize)]
    struct Versioned {
        v: u32,
    }
    if json.len() > limit {
        return Err(ProtocolError::TooLong {
            len: json.len(),
            limit,
        });
    }
    let Versioned { v } = serde_json::from_slice(json).map_err(|_| ProtocolError::Malformed)?;
    if v != VERSION {
        return Err(ProtocolError::Version { version: v });
    }
    serde_json::from_slice(json).map_err(|_| ProtocolError::Malformed)
}

/// Renders a message with its length in front. The buffer is wiped, and never grown, which would leave copies behind.
///
/// # Errors
/// [`ProtocolError::TooLong`] beyond `limit`.
pub fn frame(message: &impl Serialize, limit: usize) -> Result<Zeroizing<Vec<u8>>, ProtocolError> {
    let mut count = Count(0);
    serde_json::to_writer(&mut count, message).map_err(|_| ProtocolError::Malformed)?;
    let len = count.0;
    let too_long = ProtocolError::TooLong { len, limit };
    let prefix = match u32::try_from(len) {
        Ok(prefix) if len <= limit => prefix.to_be_bytes(),
        _ => return Err(too_long),
    };
    let mut frame = Zeroizing::new(Vec::with_capacity(prefix.len() + len));
    frame.extend_from_slice(&prefix);
    serde_json::to_writer(&mut *frame, message).map_err(|_| ProtocolError::Malformed)?;
    Ok(frame)
}

/// Returns the length that a prefix announces.
///
/// # Errors
/// [`ProtocolError::TooLong`] beyond `limit`, before anything is allocated.
pub fn announced(prefix: [u8; 4], limit: usize) -> Result<usize, ProtocolError> {
    let len = usize::try_from(u32::from_be_bytes(prefix)).unwrap_or(usize::MAX);
    if len > limit {
        return Err(ProtocolError::TooLong { len, limit });
    }
    Ok(len)
}

/// Reads one message.
///
/// # Errors
/// [`ProtocolError`]
pub fn read_frame(
    source: &mut impl Read,
    limit: usize,
) -> Result<Zeroizing<Vec<u8>>, ProtocolError> {
    let ended = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => ProtocolError::Truncated,
        _ => ProtocolError::Io(error),
    };
    let mut prefix = [0; 4];
    source.read_exact(&mut prefix).map_err(ended)?;
    let mut json = Zeroizing::new(vec![0; announced(prefix, limit)?]);
    source.read_exact(&mut json).map_err(ended)?;
    Ok(json)
}

/// Counts what a message would be long.
struct Count(usize);

impl Write for Count {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0 += octets.len();
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl From<WrappedKey> for Element {
    fn from(wrapped: WrappedKey) -> Self {
        Self(wrapped)
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ElementText {
    scheme: String,
    element: String,
}

impl Serialize for Element {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = ElementText {
            scheme: self.0.scheme.to_string(),
            element: STANDARD.encode(&self.0.element),
        };
        text.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = ElementText::deserialize(deserializer)?;
        let key = format!("{}{}", Scheme::ANNOTATION_PREFIX, text.scheme);
        let scheme = Scheme::from_annotation_key(&key).ok_or_else(|| D::Error::custom("scheme"))?;
        let element = STANDARD.decode(&text.element).map_err(D::Error::custom)?;
        if element.len() > MAX_ELEMENT_LEN {
            return Err(D::Error::custom("too long"));
        }
        Ok(Self(WrappedKey { scheme, element }))
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // One buffer of the right size: a growing one would leave copies behind.
        let mut text = Zeroizing::new(String::with_capacity(self.0.len().div_ceil(3) * 4));
        STANDARD.encode_string(&*self.0, &mut text);
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Secret, E> {
                let mut octets = Zeroizing::new(vec![0; text.len()]);
                let len = STANDARD
                    .decode_slice(text, &mut octets)
                    .map_err(|_| E::custom("not base64"))?;
                octets.truncate(len);
                Ok(Secret(octets))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
