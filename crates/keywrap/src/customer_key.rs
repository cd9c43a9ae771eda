//! Customer-supplied AES-256 keys: the `aes256` element of the sealift annotation (`SPEC.md` of the layer crate,
//! section 3).
//!
//! KEK = HKDF-SHA-256(salt, key, info `sealift/v1/aes256`, 32); AES-256-GCM with nonce zero, which the fresh salt
//! makes safe; additional data `sealift/v1/aes256\n` and the key's name. A key is named by the hex SHA-256 of its
//! octets and is used only for elements that carry its name.
//!
//! As a key-encryption key, without any derivation, it also opens the packets of Confidential Containers (module `coco`).

use std::{collections::BTreeMap, fmt};

use aws_lc_rs::{
    aead::{self, Aad, LessSafeKey, Nonce, UnboundKey},
    digest, hkdf, rand,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    Identity, LayerSecret, MAX_ELEMENT_LEN, Recipient, RecipientInfo, Scheme, UnwrapError,
    WrapContext, WrapError, WrappedKey, coco, sealift_element::Members,
};

/// A key that a customer keeps. Wiped on drop, silent under `Debug`.
pub struct CustomerKey {
    octets: Zeroizing<[u8; Self::LEN]>,
    key_id: String,
}

impl CustomerKey {
    /// Takes the key itself.
    pub fn new(octets: Zeroizing<[u8; Self::LEN]>) -> Self {
        Self {
            key_id: hex::encode(digest::digest(&digest::SHA256, &*octets)),
            octets,
        }
    }

    /// Reads a key file: exactly 32 octets, or their base64 with at most one newline after it.
    ///
    /// # Errors
    /// [`CustomerKeyError`] for everything else; a key is never cut, padded or hashed into shape.
    pub fn from_file(file: &[u8]) -> Result<Self, CustomerKeyError> {
        match <[u8; Self::LEN]>::try_from(file) {
            Ok(octets) => Ok(Self::new(Zeroizing::new(octets))),
            Err(_) => Self::from_base64(file),
        }
    }

    /// Reads the base64 of a key, as an environment variable holds it.
    ///
    /// # Errors
    /// [`CustomerKeyError`] unless it is the canonical base64 of 32 octets, with at most one newline after it.
    pub fn from_base64(text: &[u8]) -> Result<Self, CustomerKeyError> {
        let text = text
            .strip_suffix(b"\r\n")
            .or_else(|| text.strip_suffix(b"\n"))
            .unwrap_or(text);
        let decoded = STANDARD
            .decode(text)
            .map(Zeroizing::new)
            .map_err(|_| CustomerKeyError)?;
        let mut octets = Zeroizing::new([0; Self::LEN]);
        if decoded.len() != octets.len() {
            return Err(CustomerKeyError);
        }
        octets.copy_from_slice(&decoded);
        Ok(Self::new(octets))
    }

    /// Draws a fresh key from the system's randomness.
    ///
    /// # Errors
    /// [`WrapError::Randomness`] if there is none.
    pub fn generate() -> Result<Self, WrapError> {
        let mut octets = Zeroizing::new([0; Self::LEN]);
        rand::fill(&mut *octets).map_err(|_| WrapError::Randomness)?;
        Ok(Self::new(octets))
    }

    /// Renders the key as a key file: base64 and a newline.
    pub fn to_file(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(Self::BASE64_LEN + 1));
        STANDARD.encode_string(*self.octets, &mut text);
        text.push('\n');
        text
    }

    /// Returns the hex SHA-256 of the key, by which elements name it.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    fn seal(&self, salt: &[u8; SALT_LEN], secret: &LayerSecret) -> Result<Vec<u8>, WrapError> {
        let mut sealed = Zeroizing::new(secret.expose().to_vec());
        self.key_encryption_key(salt)
            .and_then(|key| {
                key.seal_in_place_append_tag(zero_nonce(), self.aad(), &mut *sealed)
                    .ok()
            })
            .ok_or(WrapError::Refused)?;
        let json = format!(
            r#"{{"v":1,"type":"aes256","kid":"{}","salt":"{}","ct":"{}"}}"#,
            self.key_id,
            STANDARD.encode(salt),
            STANDARD.encode(&*sealed),
        );
        if json.len() > MAX_ELEMENT_LEN {
            return Err(WrapError::TooLong {
                limit: MAX_ELEMENT_LEN,
            });
        }
        Ok(json.into_bytes())
    }

    fn open(&self, element: &Element) -> Result<LayerSecret, UnwrapError> {
        if element.key_id != self.key_id {
            return Err(UnwrapError::NotForThisKey);
        }
        let key = self
            .key_encryption_key(&element.salt)
            .ok_or(UnwrapError::Authentication)?;
        let mut opened = Zeroizing::new(element.ciphertext.clone());
        let length = key
            .open_in_place(zero_nonce(), self.aad(), &mut opened)
            .map_err(|_| UnwrapError::Authentication)?
            .len();
        opened.truncate(length);
        Ok(LayerSecret::new(opened))
    }

    fn key_encryption_key(&self, salt: &[u8; SALT_LEN]) -> Option<LessSafeKey> {
        let pseudorandom = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(&*self.octets);
        let info = [INFO.as_bytes()];
        let output = pseudorandom.expand(&info, &aead::AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(output)))
    }

    fn aad(&self) -> Aad<Vec<u8>> {
        Aad::from(format!("{INFO}\n{}", self.key_id).into_bytes())
    }

    /// Length of a key in octets.
    pub const LEN: usize = 32;

    const BASE64_LEN: usize = 44;
}

/// A key file or variable does not hold exactly 32 octets, raw or in base64.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("an AES-256 key is 32 octets, raw or in base64, and nothing else")]
pub struct CustomerKeyError;

impl Recipient for CustomerKey {
    fn scheme(&self) -> Scheme {
        Scheme::sealift()
    }

    fn fingerprint(&self) -> String {
        self.key_id.clone()
    }

    fn wrap_key(&self, secret: &LayerSecret, _: &WrapContext<'_>) -> Result<WrappedKey, WrapError> {
        let mut salt = [0; SALT_LEN];
        rand::fill(&mut salt).map_err(|_| WrapError::Randomness)?;
        Ok(WrappedKey {
            scheme: Scheme::sealift(),
            element: self.seal(&salt, secret)?,
        })
    }
}

impl Identity for CustomerKey {
    fn opens(&self, scheme: &Scheme) -> bool {
        *scheme == Scheme::sealift() || *scheme == coco::scheme()
    }

    fn fingerprint(&self) -> String {
        self.key_id.clone()
    }

    fn key_id(&self) -> Option<&str> {
        Some(&self.key_id)
    }

    fn unwrap_key(
        &self,
        wrapped: &WrappedKey,
        _: &WrapContext<'_>,
    ) -> Result<LayerSecret, UnwrapError> {
        if wrapped.scheme == coco::scheme() {
            return coco::open(&self.octets, &wrapped.element);
        }
        if !self.opens(&wrapped.scheme) {
            return Err(UnwrapError::NotForThisKey);
        }
        self.open(&Element::parse(&wrapped.element)?)
    }
}

impl fmt::Debug for CustomerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CustomerKey({})", self.key_id)
    }
}

/// Many customer keys, found by name: an element costs one look-up, however many keys there are.
#[derive(Debug, Default)]
pub struct CustomerKeys(BTreeMap<String, CustomerKey>);

impl CustomerKeys {
    /// Adds a key; the same key twice counts once. Hands it back when there are [`Self::MAX`] already.
    pub fn insert(&mut self, key: CustomerKey) -> Result<(), CustomerKey> {
        if self.0.len() >= Self::MAX && !self.0.contains_key(&key.key_id) {
            return Err(key);
        }
        self.0.insert(key.key_id.clone(), key);
        Ok(())
    }

    /// Unwraps an element with the key it names.
    ///
    /// # Errors
    /// [`UnwrapError::NotForThisKey`] if that key is not here; otherwise as [`Identity::unwrap_key`].
    pub fn unwrap_key(&self, wrapped: &WrappedKey) -> Result<LayerSecret, UnwrapError> {
        if wrapped.scheme != Scheme::sealift() {
            return Err(UnwrapError::NotForThisKey);
        }
        let element = Element::parse(&wrapped.element)?;
        self.0
            .get(&element.key_id)
            .ok_or(UnwrapError::NotForThisKey)?
            .open(&element)
    }

    /// Most keys tried for one layer.
    pub const MAX: usize = 100;
}

/// Lists the one recipient of a sealift element; empty if it cannot be read.
pub(crate) fn describe(element: &[u8]) -> Vec<RecipientInfo> {
    let (algorithm, key_id) = match Element::parse(element) {
        Ok(element) => ("aes256".into(), Some(element.key_id.into_boxed_str())),
        Err(UnwrapError::UnsupportedAlgorithm { name }) => (name, None),
        Err(_) => return Vec::new(),
    };
    vec![RecipientInfo {
        scheme: Scheme::sealift(),
        algorithm: Some(algorithm),
        fingerprint: key_id.clone(),
        key_id,
        certificate: None,
    }]
}

/// An `aes256` element whose form has been checked.
struct Element {
    key_id: String,
    salt: [u8; SALT_LEN],
    ciphertext: Vec<u8>,
}

impl Element {
    fn parse(element: &[u8]) -> Result<Self, UnwrapError> {
        let members = Members::parse(element, "aes256")?;
        let key_id = members.key_id()?.to_owned();
        let salt = members
            .base64("salt")?
            .try_into()
            .map_err(|_| UnwrapError::malformed("`salt` of the wrong length"))?;
        let ciphertext = members.base64("ct")?;
        if ciphertext.len() < aead::MAX_TAG_LEN {
            return Err(UnwrapError::malformed("`ct` shorter than its tag"));
        }
        Ok(Self {
            key_id,
            salt,
            ciphertext,
        })
    }
}

fn zero_nonce() -> Nonce {
    // INVARIANT: the key is derived from a fresh salt and seals once.
    Nonce::assume_unique_for_key([0; aead::NONCE_LEN])
}

const INFO: &str = "sealift/v1/aes256";
const SALT_LEN: usize = 32;
#[cfg(test)]
mod tests {
    use super::*;

    const BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    /// `sha256sum` of the octets 0 to 31.
    const KEY_ID: &str = "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd";

    fn key_id(file: &[u8]) -> Result<String, CustomerKeyError> {
        CustomerKey::from_file(file).map(|key| key.key_id)
    }

    #[test]
    fn a_key_file_is_32_octets_or_their_base64() {
        let octets: Vec<u8> = (0..32).collect();
        assert_eq!(key_id(&octets), Ok(KEY_ID.into()));
        for newline in ["", "\n", "\r\n"] {
            let text = format!("{BASE64}{newline}");
            assert_eq!(key_id(text.as_bytes()), Ok(KEY_ID.into()), "{newline:?}");
        }
        let key = CustomerKey::from_file(&octets).expect("a key");
        assert_eq!(*key.to_file(), format!("{BASE64}\n"));
    }

    #[test]
    fn anything_else_is_no_key() {
        let octets: Vec<u8> = (0..64).collect();
        for length in [0, 16, 24, 31, 33, 64] {
            assert_eq!(key_id(&octets[..length]), Err(CustomerKeyError), "{length}");
        }
        for text in [
            format!("{BASE64}\n\n"),
            format!("\n{BASE64}"),
            format!(" {BASE64}"),
            format!("{BASE64} "),
            BASE64.trim_end_matches('=').to_owned(),
            BASE64.replace("8=", "9="),
            STANDARD.encode(&octets[..31]),
            STANDARD.encode(&octets[..33]),
            KEY_ID.to_owned(),
        ] {
            assert_eq!(key_id(text.as_bytes()), Err(CustomerKeyError), "{text:?}");
        }
        // A variable holds text only.
        let raw = CustomerKey::from_base64(&octets[..32]).map(|key| key.key_id);
        assert_eq!(raw, Err(CustomerKeyError));
    }

    /// Key and salt are those of `testdata/keywrap/generate.py`.
    #[test]
    fn an_element_is_octet_for_octet_what_the_generator_writes() {
        let fixed = |text: &str| {
            let mut octets = [0; 32];
            hex::decode_to_slice(text, &mut octets).expect("hex");
            octets
        };
        let key = CustomerKey::new(Zeroizing::new(fixed(
            "30da14806b35e59279c6db4ce3de4649fbb3f6da6fa99e3dda3622a2e9d59ce6",
        )));
        let salt = fixed("705e8e3b291ff31e2197f324a2c0e42f9a792413d0e9ac791ce03887b367f11c");
        let secret = include_bytes!("../../../testdata/keywrap/skopeo/jwe-ec256.secret.json");
        let secret = LayerSecret::new(Zeroizing::new(secret.to_vec()));
        let vector = include_str!("../../../testdata/keywrap/customer_key/valid.json");
        let vector: serde_json::Value = serde_json::from_str(vector).expect("JSON");
        let element = key.seal(&salt, &secret).expect("seals");
        assert_eq!(str::from_utf8(&element).ok(), vector["element"].as_str());
    }

    #[test]
    fn a_map_of_keys_has_an_end_and_opens_by_name() {
        let key = |octet| CustomerKey::new(Zeroizing::new([octet; 32]));
        let mut keys = CustomerKeys::default();
        for _ in 0..2 {
            for octet in 0..100 {
                keys.insert(key(octet)).expect("room");
            }
        }
        let rejected = keys.insert(key(100)).map_err(|key| key.key_id);
        assert_eq!(rejected, Err(key(100).key_id));

        let secret = LayerSecret::new(Zeroizing::new(b"secret".to_vec()));
        let wrap = |octet| {
            key(octet)
                .wrap_key(&secret, &WrapContext::default())
                .expect("wraps")
        };
        let opened = keys.unwrap_key(&wrap(99)).expect("opens");
        assert_eq!(opened.expose(), b"secret");
        assert_eq!(
            keys.unwrap_key(&wrap(100)).map(|_| ()),
            Err(UnwrapError::NotForThisKey)
        );
    }
}
