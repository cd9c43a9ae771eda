//! The annotation packets of Confidential Containers, read only: what `coco_keyprovider` puts into
//! `keys.provider.attestation-agent` (guest-components, `annotation_packet` v1 and v2).
//!
//! A packet is JSON: the private options under a key-encryption key of 32 octets, which is a resource of the key broker that
//! `kid` names. Here the key comes from a file, as a [`CustomerKey`](crate::customer_key::CustomerKey) does. `kid` says
//! nothing about its octets, so a packet that does not open may be another key's.
//!
//! `A256GCM` authenticates. `A256CTR` does not: what it yields counts only if it is private options, and then the layer's own
//! authentication is all that there is, which covers the layer and not who sealed it.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    cipher::{self, DecryptingKey, DecryptionContext, UnboundCipherKey},
    iv::FixedLength,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::{
    KeySet, LayerSecret, MAX_ELEMENT_LEN, RecipientInfo, Scheme, UnwrapError,
    error::printable,
    strict_json::{Object, Value},
};

/// Returns the scheme of the annotation in which these packets stand.
pub(crate) fn scheme() -> Scheme {
    Scheme::Provider("attestation-agent".into())
}

/// Opens a packet with a key-encryption key.
pub(crate) fn open(key: &[u8; 32], element: &[u8]) -> Result<LayerSecret, UnwrapError> {
    if KeySet::parse(element).is_some() {
        return Err(UnwrapError::NotForThisKey);
    }
    let packet = Packet::parse(element)?;
    let opened = match packet.cipher {
        Cipher::Gcm { nonce } => open_gcm(key, nonce, packet.data),
        Cipher::Ctr { counter } => open_ctr(key, counter, packet.data),
    };
    // Which key it is for it does not say.
    opened.ok_or(UnwrapError::NotForThisKey)
}

/// Names the key that a packet asks the broker for; empty if it cannot be read.
pub(crate) fn describe(element: &[u8]) -> Vec<RecipientInfo> {
    let Ok(packet) = Packet::parse(element) else {
        return Vec::new();
    };
    vec![RecipientInfo {
        scheme: scheme(),
        algorithm: Some(packet.cipher.name().into()),
        key_id: Some(packet.key_id),
        fingerprint: None,
        certificate: None,
    }]
}

/// A packet whose form has been checked.
struct Packet {
    key_id: Box<str>,
    cipher: Cipher,
    data: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Cipher {
    Gcm { nonce: [u8; NONCE_LEN] },
    Ctr { counter: [u8; COUNTER_LEN] },
}

impl Cipher {
    const fn name(self) -> &'static str {
        match self {
            Self::Gcm { .. } => "A256GCM",
            Self::Ctr { .. } => "A256CTR",
        }
    }
}

impl Packet {
    fn parse(element: &[u8]) -> Result<Self, UnwrapError> {
        if element.len() > MAX_ELEMENT_LEN {
            return Err(UnwrapError::malformed("element too long"));
        }
        let value = Value::parse(element, MAX_DEPTH)
            .map_err(|error| UnwrapError::malformed(error.reason()))?;
        let object = value
            .as_object()
            .ok_or(UnwrapError::malformed("not a JSON object"))?;
        // The first version of the format has neither of the two.
        for (name, known) in [("version", "0.1.0"), ("provider", "kbs")] {
            match object.get(name).map(|value| value.as_str()) {
                None => {}
                Some(Some(text)) if text == known => {}
                Some(Some(text)) => {
                    return Err(UnwrapError::unsupported(&format!("{name} {text}")));
                }
                Some(None) => return Err(MISTYPED),
            }
        }
        let wrong_length = UnwrapError::malformed("`iv` of the wrong length");
        let cipher = match text(object, "wrap_type")? {
            "A256GCM" => Cipher::Gcm {
                nonce: base64(object, "iv")?.try_into().map_err(|_| wrong_length)?,
            },
            "A256CTR" => Cipher::Ctr {
                counter: base64(object, "iv")?.try_into().map_err(|_| wrong_length)?,
            },
            other => return Err(UnwrapError::unsupported(other)),
        };
        Ok(Self {
            key_id: printable(text(object, "kid")?),
            cipher,
            data: base64(object, "wrapped_data")?,
        })
    }
}

fn open_gcm(key: &[u8; 32], nonce: [u8; NONCE_LEN], data: Vec<u8>) -> Option<LayerSecret> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?);
    let mut opened = Zeroizing::new(data);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let length = key
        .open_in_place(nonce, Aad::empty(), &mut opened)
        .ok()?
        .len();
    opened.truncate(length);
    Some(LayerSecret::new(opened))
}

fn open_ctr(key: &[u8; 32], counter: [u8; COUNTER_LEN], data: Vec<u8>) -> Option<LayerSecret> {
    let key = UnboundCipherKey::new(&cipher::AES_256, key).ok()?;
    let context = DecryptionContext::Iv128(FixedLength::from(counter));
    let mut opened = Zeroizing::new(data);
    DecryptingKey::ctr(key)
        .ok()?
        .decrypt(&mut opened, context)
        .ok()?;
    Some(LayerSecret::new(opened)).filter(LayerSecret::is_private_options)
}

fn text<'a>(object: &'a Object, name: &str) -> Result<&'a str, UnwrapError> {
    object.get(name).and_then(Value::as_str).ok_or(MISTYPED)
}

fn base64(object: &Object, name: &str) -> Result<Vec<u8>, UnwrapError> {
    STANDARD
        .decode(text(object, name)?)
        .map_err(|_| UnwrapError::malformed("not canonical base64"))
}

const MISTYPED: UnwrapError = UnwrapError::malformed("missing or mistyped member");
const COUNTER_LEN: usize = 16;
const MAX_DEPTH: usize = 8;
