//! X-Wing recipients: the `xwing` element of the sealift annotation (`SPEC.md` of the layer crate, section 3).
//!
//! **Pre-standard.** HPKE (RFC 9180) in base mode with KEM 0x647A, which is X25519 and ML-KEM-768 in one
//! (draft-connolly-cfrg-xwing-kem-10, draft-ietf-hpke-pq-04), HKDF-SHA-256 and AES-256-GCM, info `sealift/v1/xwing`, no
//! additional data. Safe against quantum computers as long as one of the two parts is. A later release may not open what
//! this one seals.
//!
//! A key is named by the hex SHA-256 of its 1216 public octets and is used only for elements that carry its name.

use std::{convert::Infallible, fmt};

use aws_lc_rs::{digest, rand};
use base64::{Engine, engine::general_purpose::STANDARD};
use hpke::{
    Deserializable, Kem, OpModeR, OpModeS, Serializable, aead::AesGcm256, kdf::HkdfSha256,
    kem::XWing,
};
use zeroize::Zeroizing;

use crate::{
    Identity, KeyError, LayerSecret, MAX_ELEMENT_LEN, Recipient, RecipientInfo, Scheme,
    UnwrapError, WrapContext, WrapError, WrappedKey,
    keys::{
        MAX_FILE_LEN, MAX_KEYS,
        pem::{self, Block},
    },
    sealift_element::Members,
};

/// A public key that layer keys are wrapped for.
pub struct XWingPublicKey {
    key: <XWing as Kem>::PublicKey,
    octets: Vec<u8>,
    key_id: String,
}

/// A private key. Wiped on drop, silent under `Debug`.
pub struct XWingPrivateKey {
    seed: Zeroizing<[u8; Self::LEN]>,
    public: XWingPublicKey,
}

impl XWingPublicKey {
    /// Takes the octets of a key; `None` unless there are [`Self::LEN`] and they encode one.
    pub fn from_octets(octets: &[u8]) -> Option<Self> {
        Some(Self {
            key: <XWing as Kem>::PublicKey::from_bytes(octets).ok()?,
            octets: octets.to_vec(),
            key_id: hex::encode(digest::digest(&digest::SHA256, octets)),
        })
    }

    /// Renders the key as a PEM file.
    pub fn to_pem(&self) -> String {
        String::clone(&pem::render(PUBLIC_LABEL, &self.octets))
    }

    /// Returns the name of the key.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Length in octets.
    pub const LEN: usize = 1216;
}

impl XWingPrivateKey {
    /// Draws a fresh key from the system's randomness.
    ///
    /// # Errors
    /// [`WrapError::Randomness`] if there is none.
    pub fn generate() -> Result<Self, WrapError> {
        let mut seed = Zeroizing::new([0; Self::LEN]);
        rand::fill(&mut *seed).map_err(|_| WrapError::Randomness)?;
        Self::from_seed(seed).ok_or(WrapError::Refused)
    }

    /// Takes the seed that a private key is kept as.
    pub fn from_seed(seed: Zeroizing<[u8; Self::LEN]>) -> Option<Self> {
        let private = <XWing as Kem>::PrivateKey::from_bytes(&*seed).ok()?;
        let public = XWing::sk_to_pk(&private).to_bytes();
        Some(Self {
            seed,
            public: XWingPublicKey::from_octets(&public)?,
        })
    }

    /// Renders the key as a PEM file.
    pub fn to_pem(&self) -> Zeroizing<String> {
        pem::render(PRIVATE_LABEL, &*self.seed)
    }

    /// Borrows the public key.
    pub const fn public(&self) -> &XWingPublicKey {
        &self.public
    }

    /// Length of the seed in octets.
    pub const LEN: usize = 32;
}

/// Reads the public keys of a file of nothing else; `None` if it does not begin with an X-Wing key of either kind.
///
/// # Errors
/// As [`parse_public`](crate::keys::parse_public).
pub fn parse_public(file: &[u8]) -> Option<Result<Vec<XWingPublicKey>, KeyError>> {
    let blocks = blocks(file)?;
    Some(blocks.and_then(|blocks| blocks.iter().map(public_key).collect()))
}

/// Reads the private keys of a file of nothing else; `None` if it does not begin with an X-Wing key of either kind.
///
/// # Errors
/// As [`parse_private`](crate::keys::parse_private).
pub fn parse_private(file: &[u8]) -> Option<Result<Vec<XWingPrivateKey>, KeyError>> {
    let blocks = blocks(file)?;
    Some(blocks.and_then(|blocks| blocks.iter().map(private_key).collect()))
}

fn blocks(file: &[u8]) -> Option<Result<Vec<Block>, KeyError>> {
    if file.len() > MAX_FILE_LEN || !pem::looks_like(file) {
        return None;
    }
    let blocks = pem::blocks(file).ok()?;
    let first = blocks.first()?.label();
    if first != PUBLIC_LABEL && first != PRIVATE_LABEL {
        return None;
    }
    if blocks.len() > MAX_KEYS {
        return Some(Err(KeyError::TooMany { limit: MAX_KEYS }));
    }
    Some(Ok(blocks))
}

fn public_key(block: &Block) -> Result<XWingPublicKey, KeyError> {
    match block.label() {
        PUBLIC_LABEL => XWingPublicKey::from_octets(block.octets())
            .ok_or(KeyError::malformed("X-Wing public key")),
        PRIVATE_LABEL => Err(KeyError::PublicExpected),
        label => Err(KeyError::unsupported_type(label)),
    }
}

fn private_key(block: &Block) -> Result<XWingPrivateKey, KeyError> {
    match block.label() {
        PRIVATE_LABEL => <[u8; XWingPrivateKey::LEN]>::try_from(block.octets())
            .ok()
            .map(Zeroizing::new)
            .and_then(XWingPrivateKey::from_seed)
            .ok_or(KeyError::malformed("X-Wing private key")),
        PUBLIC_LABEL => Err(KeyError::PrivateExpected),
        label => Err(KeyError::unsupported_type(label)),
    }
}

impl Recipient for XWingPublicKey {
    fn scheme(&self) -> Scheme {
        Scheme::sealift()
    }

    fn fingerprint(&self) -> String {
        self.key_id.clone()
    }

    fn wrap_key(&self, secret: &LayerSecret, _: &WrapContext<'_>) -> Result<WrappedKey, WrapError> {
        let mut rng = SystemRandom { failed: false };
        let sealed = hpke::single_shot_seal_with_rng::<AesGcm256, HkdfSha256, XWing>(
            &OpModeS::Base,
            &self.key,
            INFO,
            secret.expose(),
            &[],
            &mut rng,
        );
        // What was made of octets that are not random is thrown away.
        if rng.failed {
            return Err(WrapError::Randomness);
        }
        let (enc, ciphertext) = sealed.map_err(|_| WrapError::Refused)?;
        let json = format!(
            r#"{{"v":1,"type":"{TYPE}","kid":"{}","enc":"{}","ct":"{}"}}"#,
            self.key_id,
            STANDARD.encode(enc.to_bytes()),
            STANDARD.encode(ciphertext),
        );
        if json.len() > MAX_ELEMENT_LEN {
            return Err(WrapError::TooLong {
                limit: MAX_ELEMENT_LEN,
            });
        }
        Ok(WrappedKey {
            scheme: Scheme::sealift(),
            element: json.into_bytes(),
        })
    }
}

impl Identity for XWingPrivateKey {
    fn opens(&self, scheme: &Scheme) -> bool {
        *scheme == Scheme::sealift()
    }

    fn fingerprint(&self) -> String {
        self.public.key_id.clone()
    }

    fn key_id(&self) -> Option<&str> {
        Some(&self.public.key_id)
    }

    fn unwrap_key(
        &self,
        wrapped: &WrappedKey,
        _: &WrapContext<'_>,
    ) -> Result<LayerSecret, UnwrapError> {
        if !self.opens(&wrapped.scheme) {
            return Err(UnwrapError::NotForThisKey);
        }
        let element = Element::parse(&wrapped.element)?;
        if element.key_id != self.public.key_id {
            return Err(UnwrapError::NotForThisKey);
        }
        // INVARIANT: `from_seed` has read the same octets.
        let private = <XWing as Kem>::PrivateKey::from_bytes(&*self.seed)
            .map_err(|_| UnwrapError::NotForThisKey)?;
        hpke::single_shot_open::<AesGcm256, HkdfSha256, XWing>(
            &OpModeR::Base,
            &private,
            &element.enc,
            INFO,
            &element.ciphertext,
            &[],
        )
        .map(|opened| LayerSecret::new(Zeroizing::new(opened)))
        .map_err(|_| UnwrapError::Authentication)
    }
}

impl fmt::Debug for XWingPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "XWingPublicKey({})", self.key_id)
    }
}

impl fmt::Debug for XWingPrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "XWingPrivateKey({})", self.public.key_id)
    }
}

/// Describes the recipient of an `xwing` element; `None` if it is no such element.
pub(crate) fn describe(element: &[u8]) -> Option<RecipientInfo> {
    let element = Element::parse(element).ok()?;
    Some(RecipientInfo {
        scheme: Scheme::sealift(),
        algorithm: Some(TYPE.into()),
        key_id: Some(element.key_id.as_str().into()),
        fingerprint: Some(element.key_id.into()),
        certificate: None,
    })
}

/// An `xwing` element whose form has been checked.
struct Element {
    key_id: String,
    enc: <XWing as Kem>::EncappedKey,
    ciphertext: Vec<u8>,
}

impl Element {
    fn parse(element: &[u8]) -> Result<Self, UnwrapError> {
        let members = Members::parse(element, TYPE)?;
        let enc = members.base64("enc")?;
        let ciphertext = members.base64("ct")?;
        if ciphertext.len() < TAG_LEN {
            return Err(UnwrapError::malformed("`ct` shorter than its tag"));
        }
        Ok(Self {
            key_id: members.key_id()?.to_owned(),
            enc: <XWing as Kem>::EncappedKey::from_bytes(&enc)
                .map_err(|_| UnwrapError::malformed("`enc` of the wrong length"))?,
            ciphertext,
        })
    }
}

/// The system's randomness for a library that wants a generator which cannot fail.
struct SystemRandom {
    failed: bool,
}

impl SystemRandom {
    fn word<const N: usize>(&mut self) -> [u8; N] {
        let mut word = [0; N];
        self.failed |= rand::fill(&mut word).is_err();
        word
    }
}

impl rand_core::TryRng for SystemRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.word()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.word()))
    }

    fn try_fill_bytes(&mut self, octets: &mut [u8]) -> Result<(), Infallible> {
        self.failed |= rand::fill(octets).is_err();
        Ok(())
    }
}

impl rand_core::TryCryptoRng for SystemRandom {}

const TYPE: &str = "xwing";
const INFO: &[u8] = b"sealift/v1/xwing";
const TAG_LEN: usize = 16;
const PUBLIC_LABEL: &str = "SEALIFT X-WING PUBLIC KEY";
const PRIVATE_LABEL: &str = "SEALIFT X-WING PRIVATE KEY";
