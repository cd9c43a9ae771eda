//! Private options, which recipients unwrap, and public options, which everybody reads.
//!
//! Written exactly as ocicrypt writes them; read as liberally as readers in the wild do, as long as nothing is
//! ambiguous.

mod octets;

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sealift_keywrap::LayerSecret;
use sealift_oci::json::{JsonError, Limits, check};
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use self::octets::Octets;
use crate::chunked::Commitment;
use crate::cipher::Cipher;
use crate::error::{FormatError, OpenError, Place};
use crate::key::LayerKey;

/// The initial counter block of an ocicrypt layer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CounterBlock(pub [u8; Self::LEN]);

impl CounterBlock {
    /// Length in octets.
    pub const LEN: usize = 16;
}

/// What recipients unwrap: `{"symkey":…,"digest":…,"cipheroptions":{…}}`.
pub struct PrivateOptions {
    /// The layer key.
    pub key: LayerKey,
    /// The plain blob's digest as it stands there; empty when unknown to the writer.
    pub digest: Box<str>,
    /// The initial counter block; only ocicrypt's cipher has one.
    pub nonce: Option<CounterBlock>,
}

impl PrivateOptions {
    /// Renders the secret that is wrapped, in ocicrypt's member order.
    pub fn to_secret(&self) -> LayerSecret {
        // Sized beforehand, so that growing leaves no copy of the key behind.
        let mut text = Zeroizing::new(String::with_capacity(256 + self.digest.len() * 6));
        text.push_str(r#"{"symkey":""#);
        STANDARD.encode_string(self.key.expose(), &mut text);
        text.push_str(r#"","digest":"#);
        text.push_str(&Value::from(&*self.digest).to_string());
        text.push_str(r#","cipheroptions":{"#);
        if let Some(nonce) = &self.nonce {
            text.push_str(r#""nonce":""#);
            STANDARD.encode_string(nonce.0, &mut text);
            text.push('"');
        }
        text.push_str("}}");
        LayerSecret::new(Zeroizing::new(text.as_bytes().to_vec()))
    }

    /// Parses what an envelope held.
    ///
    /// Members may be null or missing where ocicrypt's readers allow it; unknown members are ignored.
    ///
    /// # Errors
    /// [`FormatError`] for a key that is not 32 octets or a nonce that is not 16, JSON that is ambiguous or over 64 KiB.
    pub fn from_secret(secret: &LayerSecret) -> Result<Self, FormatError> {
        let raw: RawPrivate = parse(secret.expose())?;
        let key = raw.symkey.required("symkey")?;
        let nonce = nonce(&raw.cipheroptions.unwrap_or_default())?;
        Ok(Self {
            key: LayerKey::from_octets(&key).ok_or(FormatError::Length {
                member: "symkey",
                expected: LayerKey::LEN,
            })?,
            digest: text(raw.digest, "digest")?.unwrap_or_default(),
            nonce,
        })
    }
}

impl fmt::Debug for PrivateOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateOptions")
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

/// What everybody may read about a sealed layer: `{"cipher":…,"hmac":…,"cipheroptions":{…}}`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PublicOptions {
    /// The default cipher.
    Chunked {
        /// Names key, salt and context.
        commitment: Commitment,
    },
    /// ocicrypt's cipher.
    CtrHmac {
        /// HMAC-SHA-256 of the ciphertext.
        tag: [u8; Self::TAG_LEN],
        /// A nonce beside the private one, which must be equal to it. Never written.
        nonce: Option<CounterBlock>,
    },
}

impl PublicOptions {
    /// Returns the cipher.
    pub fn cipher(&self) -> Cipher {
        match self {
            Self::Chunked { .. } => Cipher::Chunked,
            Self::CtrHmac { .. } => Cipher::CtrHmac,
        }
    }

    /// Renders the JSON, in ocicrypt's member order.
    pub fn to_json(&self) -> String {
        let (hmac, options) = match self {
            Self::Chunked { commitment } => (
                String::new(),
                format!(r#""commitment":"{}""#, STANDARD.encode(commitment.0)),
            ),
            Self::CtrHmac { tag, nonce } => (
                STANDARD.encode(tag),
                nonce.map_or_else(String::new, |nonce| {
                    format!(r#""nonce":"{}""#, STANDARD.encode(nonce.0))
                }),
            ),
        };
        format!(
            r#"{{"cipher":"{}","hmac":"{hmac}","cipheroptions":{{{options}}}}}"#,
            self.cipher()
        )
    }

    /// Parses the JSON.
    ///
    /// # Errors
    /// [`OpenError::UnsupportedCipher`] with the cipher's name, [`OpenError::Malformed`] for everything else.
    pub fn from_json(json: &[u8]) -> Result<Self, OpenError> {
        let malformed = |source| OpenError::Malformed {
            place: Place::PublicOptions,
            source,
        };
        let raw: RawPublic = parse(json).map_err(malformed)?;
        let name = text(raw.cipher, "cipher")
            .map_err(malformed)?
            .ok_or(malformed(FormatError::Missing { member: "cipher" }))?;
        let cipher = Cipher::from_name(&name).ok_or_else(|| OpenError::UnsupportedCipher {
            name: sealift_oci::json::excerpt(&name),
        })?;
        let options = raw.cipheroptions.unwrap_or_default();
        (match cipher {
            Cipher::Chunked => Self::chunked(&options),
            Cipher::CtrHmac => Self::ctr_hmac(&raw.hmac, &options),
        })
        .map_err(malformed)
    }

    fn chunked(options: &CipherOptions) -> Result<Self, FormatError> {
        let commitment = options
            .get("commitment")
            .unwrap_or(&Octets::Absent)
            .required("commitment")?;
        let commitment = commitment
            .as_slice()
            .try_into()
            .map_err(|_| FormatError::Length {
                member: "commitment",
                expected: Commitment::LEN,
            })?;
        Ok(Self::Chunked {
            commitment: Commitment(commitment),
        })
    }

    fn ctr_hmac(hmac: &Octets, options: &CipherOptions) -> Result<Self, FormatError> {
        let tag = hmac.required("hmac")?;
        Ok(Self::CtrHmac {
            tag: tag.as_slice().try_into().map_err(|_| FormatError::Length {
                member: "hmac",
                expected: Self::TAG_LEN,
            })?,
            nonce: nonce(options)?,
        })
    }

    /// Length of the HMAC in octets.
    pub const TAG_LEN: usize = 32;
}

#[derive(Deserialize)]
struct RawPrivate {
    #[serde(default)]
    symkey: Octets,
    #[serde(default)]
    digest: Value,
    #[serde(default)]
    cipheroptions: Option<CipherOptions>,
}

#[derive(Deserialize)]
struct RawPublic {
    #[serde(default)]
    cipher: Value,
    #[serde(default)]
    hmac: Octets,
    #[serde(default)]
    cipheroptions: Option<CipherOptions>,
}

/// An object, never an array; members that this build does not know may hold anything.
type CipherOptions = BTreeMap<String, Octets>;

fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, FormatError> {
    check(json, LIMITS)?;
    // Without this, an array would be taken for the members in order.
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(JsonError::NotAnObject.into());
    }
    // INVARIANT: the other members take any JSON, so that this one is to blame.
    serde_json::from_slice(json).map_err(|_| FormatError::WrongType {
        member: "cipheroptions",
    })
}

fn text(value: Value, member: &'static str) -> Result<Option<Box<str>>, FormatError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.into())),
        _ => Err(FormatError::WrongType { member }),
    }
}

fn nonce(options: &CipherOptions) -> Result<Option<CounterBlock>, FormatError> {
    let nonce = options.get("nonce").unwrap_or(&Octets::Absent);
    let Some(octets) = nonce.optional("nonce")? else {
        return Ok(None);
    };
    match octets.as_slice().try_into() {
        Ok(octets) => Ok(Some(CounterBlock(octets))),
        Err(_) => Err(FormatError::Length {
            member: "nonce",
            expected: CounterBlock::LEN,
        }),
    }
}

/// Options are two hundred octets; a reader takes this much.
const LIMITS: Limits = Limits {
    len: 64 * 1024,
    depth: 8,
};
