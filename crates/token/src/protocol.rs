//! What parent and worker say to each other.

use sealift_keywrap::Curve;
use sealift_keywrap::jwe::OaepHash;
use sealift_keywrap::pkcs11::Pin;
use zeroize::Zeroizing;

use crate::TokenError;
use crate::wire::Message;

/// What the parent asks for.
pub(crate) enum Request {
    /// Load a module, once.
    Load { module: String },
    /// Find a key and, if it is private, log in.
    Find {
        uri: String,
        class: Class,
        caution: Caution,
        pin: Option<Pin>,
    },
    /// Decrypt RSAES-OAEP with a key that was found.
    Decrypt {
        key: u32,
        hash: OaepHash,
        ciphertext: Vec<u8>,
    },
    /// Agree on a shared secret with a key that was found.
    Agree { key: u32, point: Vec<u8> },
}

/// Which half of a key pair is looked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Class {
    Private,
    Public,
}

/// How many wrong PINs a run may cost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Caution {
    /// Somebody is there to correct a wrong PIN: it is tried unless it is the last try before the token locks.
    Attended,
    /// The same files are tried again and again (one process per layer): a PIN is not tried while the token remembers a
    /// wrong one.
    Unattended,
}

/// What the worker answers.
pub(crate) enum Response {
    Done,
    Found(Found),
    /// A plaintext or a shared secret.
    Secret(Zeroizing<Vec<u8>>),
    /// The ciphertext is not for this key; nobody learns more.
    NotForThisKey,
    Failed(TokenError),
}

/// A key in a token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Found {
    pub(crate) key: u32,
    pub(crate) numbers: Numbers,
}

/// The public half of a key, as far as the token tells it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Numbers {
    Rsa {
        modulus: Vec<u8>,
        /// Empty if the token does not tell it.
        exponent: Vec<u8>,
    },
    Ec {
        curve: Curve,
        /// `04 ‖ x ‖ y`; empty if the token does not tell it.
        point: Vec<u8>,
    },
}

impl Request {
    pub(crate) fn to_message(&self) -> Message {
        match self {
            Self::Load { module } => Message::new(1).with(module.as_bytes()),
            Self::Find {
                uri,
                class,
                caution,
                pin,
            } => {
                let message = Message::new(2)
                    .with(uri.as_bytes())
                    .with(&[u8::from(*class == Class::Private)])
                    .with(&[u8::from(*caution == Caution::Attended)]);
                match pin {
                    Some(pin) => message.with(pin.expose()),
                    None => message,
                }
            }
            Self::Decrypt {
                key,
                hash,
                ciphertext,
            } => Message::new(3)
                .with(&key.to_be_bytes())
                .with(&[u8::from(*hash == OaepHash::Sha256)])
                .with(ciphertext),
            Self::Agree { key, point } => Message::new(4).with(&key.to_be_bytes()).with(point),
        }
    }

    pub(crate) fn from_message(message: &Message) -> Option<Self> {
        Some(match message.tag {
            1 => Self::Load {
                module: message.text(0)?.to_owned(),
            },
            2 => Self::Find {
                uri: message.text(0)?.to_owned(),
                class: match message.octet(1)? {
                    0 => Class::Public,
                    _ => Class::Private,
                },
                caution: match message.octet(2)? {
                    0 => Caution::Unattended,
                    _ => Caution::Attended,
                },
                pin: match message.field(3) {
                    Some(pin) => Some(Pin::new(Zeroizing::new(pin.to_vec())).ok()?),
                    None => None,
                },
            },
            3 => Self::Decrypt {
                key: message.number(0)?,
                hash: match message.octet(1)? {
                    0 => OaepHash::Sha1,
                    _ => OaepHash::Sha256,
                },
                ciphertext: message.field(2)?.to_vec(),
            },
            4 => Self::Agree {
                key: message.number(0)?,
                point: message.field(1)?.to_vec(),
            },
            _ => return None,
        })
    }
}

impl Response {
    pub(crate) fn to_message(&self) -> Message {
        match self {
            Self::Done => Message::new(1),
            Self::Found(found) => {
                let message = Message::new(2).with(&found.key.to_be_bytes());
                match &found.numbers {
                    Numbers::Rsa { modulus, exponent } => {
                        message.with(b"RSA").with(modulus).with(exponent)
                    }
                    Numbers::Ec { curve, point } => {
                        message.with(curve.name().as_bytes()).with(point)
                    }
                }
            }
            Self::Secret(octets) => Message::new(3).with(octets),
            Self::NotForThisKey => Message::new(4),
            Self::Failed(error) => {
                let (tag, one, other) = error.to_wire().unwrap_or_default();
                Message::new(5)
                    .with(&[tag])
                    .with(one.as_bytes())
                    .with(other.as_bytes())
            }
        }
    }

    pub(crate) fn from_message(message: &Message) -> Option<Self> {
        Some(match message.tag {
            1 => Self::Done,
            2 => Self::Found(Found {
                key: message.number(0)?,
                numbers: match message.text(1)? {
                    "RSA" => Numbers::Rsa {
                        modulus: message.field(2)?.to_vec(),
                        exponent: message.field(3)?.to_vec(),
                    },
                    name => Numbers::Ec {
                        curve: Curve::from_name(name)?,
                        point: message.field(2)?.to_vec(),
                    },
                },
            }),
            3 => Self::Secret(Zeroizing::new(message.field(0)?.to_vec())),
            4 => Self::NotForThisKey,
            5 => Self::Failed(TokenError::from_wire(
                message.octet(0)?,
                message.text(1)?,
                message.text(2)?,
            )),
            _ => return None,
        })
    }
}
