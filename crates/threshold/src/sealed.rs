//! HPKE in base mode, for answers to nodes and for shares on their way to holders (RFC 9180).

use std::fmt;

use aws_lc_rs::rand::SecureRandom;
use hpke::{
    Deserializable, Kem, OpModeR, OpModeS, Serializable,
    aead::AesGcm256,
    kdf::HkdfSha256,
    kem::{DhP256HkdfSha256, XWing},
};
use zeroize::Zeroizing;

use crate::{Culprit, ErrorId, ThresholdError, dhkem, randomness};

/// The key encapsulation of a sealed message.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ReplyKem {
    /// DHKEM(P-256, HKDF-SHA256), 0x0010.
    P256,
    /// X-Wing, 0x647A: also safe against quantum computers.
    XWing,
}

impl ReplyKem {
    /// Returns the number in the IANA registry.
    pub const fn number(self) -> u16 {
        match self {
            Self::P256 => 0x0010,
            Self::XWing => 0x647a,
        }
    }

    /// Finds a KEM by its number.
    pub fn from_number(number: u16) -> Option<Self> {
        [Self::P256, Self::XWing]
            .into_iter()
            .find(|kem| kem.number() == number)
    }
}

/// A private key that messages are sealed to, of either KEM.
///
/// Wiped on drop. Not `Clone`, not `Serialize`, and silent under `Debug`.
pub struct HpkePrivateKey {
    kem: ReplyKem,
    octets: Zeroizing<[u8; 32]>,
    public: Vec<u8>,
}

impl HpkePrivateKey {
    /// Draws a key.
    ///
    /// # Errors
    /// `randomness`.
    pub fn generate(kem: ReplyKem, rng: &dyn SecureRandom) -> Result<Self, ThresholdError> {
        let seed = randomness::octets::<32>(rng)?;
        match kem {
            ReplyKem::P256 => Self::derive::<DhP256HkdfSha256>(kem, &seed),
            ReplyKem::XWing => Self::derive::<XWing>(kem, &seed),
        }
    }

    /// Takes the octets of a key that was kept.
    ///
    /// # Errors
    /// `scalar_invalid`.
    pub fn from_octets(kem: ReplyKem, octets: Zeroizing<[u8; 32]>) -> Result<Self, ThresholdError> {
        let public = match kem {
            ReplyKem::P256 => public_of::<DhP256HkdfSha256>(&octets),
            ReplyKem::XWing => public_of::<XWing>(&octets),
        };
        Ok(Self {
            kem,
            octets,
            public: public.ok_or(ThresholdError::new(ErrorId::ScalarInvalid, Culprit::None))?,
        })
    }

    /// Returns the KEM.
    pub const fn kem(&self) -> ReplyKem {
        self.kem
    }

    /// Borrows the public key: 65 octets for P-256, 1216 for X-Wing.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// Borrows the secret octets.
    pub fn expose(&self) -> &[u8; 32] {
        &self.octets
    }

    fn derive<K: Kem>(kem: ReplyKem, seed: &[u8; 32]) -> Result<Self, ThresholdError> {
        let (private, public) = K::derive_keypair(seed);
        let mut octets = Zeroizing::new([0; 32]);
        let encoded = Zeroizing::new(private.to_bytes().to_vec());
        if encoded.len() != octets.len() {
            return Err(ThresholdError::randomness());
        }
        octets.copy_from_slice(&encoded);
        Ok(Self {
            kem,
            octets,
            public: public.to_bytes().to_vec(),
        })
    }
}

impl fmt::Debug for HpkePrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HpkePrivateKey({:?}, ..)", self.kem)
    }
}

/// A sealed message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SealedReply {
    /// The encapsulated key.
    pub enc: Vec<u8>,
    /// The ciphertext with its tag.
    pub ct: Vec<u8>,
}

/// Seals one message with HPKE: base mode, HKDF-SHA256, AES-256-GCM, no additional data.
///
/// # Errors
/// `point_invalid` for a public key that is none; `randomness`.
pub fn hpke_seal(
    kem: ReplyKem,
    public: &[u8],
    info: &[u8],
    plaintext: &[u8],
    rng: &dyn SecureRandom,
) -> Result<SealedReply, ThresholdError> {
    match kem {
        ReplyKem::P256 => dhkem::seal(public, info, plaintext, rng),
        ReplyKem::XWing => seal_xwing(public, info, plaintext, rng),
    }
}

/// Opens one message.
///
/// # Errors
/// `share_open_failed`: sealed to another key, with another `info`, or altered.
pub fn hpke_open(
    private: &HpkePrivateKey,
    info: &[u8],
    sealed: &SealedReply,
) -> Result<Zeroizing<Vec<u8>>, ThresholdError> {
    let opened = match private.kem {
        ReplyKem::P256 => open::<DhP256HkdfSha256>(private, info, sealed),
        ReplyKem::XWing => open::<XWing>(private, info, sealed),
    };
    opened.ok_or(ThresholdError::presenter(ErrorId::ShareOpenFailed))
}

fn public_of<K: Kem>(octets: &[u8; 32]) -> Option<Vec<u8>> {
    let private = K::PrivateKey::from_bytes(octets).ok()?;
    Some(K::sk_to_pk(&private).to_bytes().to_vec())
}

fn seal_xwing(
    public: &[u8],
    info: &[u8],
    plaintext: &[u8],
    rng: &dyn SecureRandom,
) -> Result<SealedReply, ThresholdError> {
    let invalid = || ThresholdError::presenter(ErrorId::PointInvalid);
    let public = <XWing as Kem>::PublicKey::from_bytes(public).map_err(|_| invalid())?;
    let (enc, ct) = randomness::lend(rng, |rng| {
        hpke::single_shot_seal_with_rng::<AesGcm256, HkdfSha256, XWing>(
            &OpModeS::Base,
            &public,
            info,
            plaintext,
            &[],
            rng,
        )
    })?
    .map_err(|_| invalid())?;
    Ok(SealedReply {
        enc: enc.to_bytes().to_vec(),
        ct,
    })
}

fn open<K: Kem>(
    private: &HpkePrivateKey,
    info: &[u8],
    sealed: &SealedReply,
) -> Option<Zeroizing<Vec<u8>>> {
    let private = K::PrivateKey::from_bytes(&private.octets[..]).ok()?;
    let enc = K::EncappedKey::from_bytes(&sealed.enc).ok()?;
    hpke::single_shot_open::<AesGcm256, HkdfSha256, K>(
        &OpModeR::Base,
        &private,
        &enc,
        info,
        &sealed.ct,
        &[],
    )
    .map(Zeroizing::new)
    .ok()
}
