//! Numbers of algorithms (RFC 9580, section 9), and what stands behind those we use.

use aws_lc_rs::{
    cipher::{
        self, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext, UnboundCipherKey,
    },
    digest,
};

use crate::jwe::WrapWidth;

/// RSA for both uses, for encryption alone, for signatures alone.
pub(super) const RSA: [u8; 3] = [1, 2, 3];
pub(super) const RSA_SIGN_ONLY: u8 = 3;
pub(super) const ELGAMAL: u8 = 16;
pub(super) const DSA: u8 = 17;
pub(super) const ECDH: u8 = 18;
pub(super) const ECDSA: u8 = 19;
pub(super) const EDDSA_LEGACY: u8 = 22;
pub(super) const ED25519: u8 = 27;

/// Returns the name of a public-key algorithm.
pub(super) fn public_key_name(number: u8) -> Box<str> {
    match number {
        1..=3 => "RSA".into(),
        16 | 20 => "Elgamal".into(),
        17 => "DSA".into(),
        18 => "ECDH".into(),
        19 => "ECDSA".into(),
        22 => "EdDSALegacy".into(),
        25 => "X25519".into(),
        26 => "X448".into(),
        27 => "Ed25519".into(),
        28 => "Ed448".into(),
        other => format!("public-key algorithm {other}").into(),
    }
}

/// The block ciphers that are used; those with blocks of 64 bits are not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Cipher {
    Aes128,
    Aes192,
    Aes256,
}

impl Cipher {
    pub(super) fn from_number(number: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|cipher| cipher.number() == number)
    }

    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Aes128 => 7,
            Self::Aes192 => 8,
            Self::Aes256 => 9,
        }
    }

    pub(super) const fn key_len(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes192 => 24,
            Self::Aes256 => 32,
        }
    }

    /// Returns the AES key wrap of the same width.
    pub(super) const fn wrap_width(self) -> WrapWidth {
        match self {
            Self::Aes128 => WrapWidth::A128,
            Self::Aes192 => WrapWidth::A192,
            Self::Aes256 => WrapWidth::A256,
        }
    }

    /// Encrypts in cipher feedback mode (section 12.9), in place; `None` if the key is not of its length.
    pub(super) fn encrypt(self, key: &[u8], iv: [u8; BLOCK_LEN], octets: &mut [u8]) -> Option<()> {
        let key = EncryptingKey::cfb128(self.key(key)?).ok()?;
        key.less_safe_encrypt(octets, EncryptionContext::Iv128(iv.into()))
            .ok()?;
        Some(())
    }

    /// Decrypts in cipher feedback mode, in place; `None` if the key is not of its length.
    pub(super) fn decrypt(self, key: &[u8], iv: [u8; BLOCK_LEN], octets: &mut [u8]) -> Option<()> {
        let key = DecryptingKey::cfb128(self.key(key)?).ok()?;
        key.decrypt(octets, DecryptionContext::Iv128(iv.into()))
            .ok()?;
        Some(())
    }

    fn key(self, key: &[u8]) -> Option<UnboundCipherKey> {
        let algorithm = match self {
            Self::Aes128 => &cipher::AES_128,
            Self::Aes192 => &cipher::AES_192,
            Self::Aes256 => &cipher::AES_256,
        };
        UnboundCipherKey::new(algorithm, key).ok()
    }

    pub(super) const ALL: [Self; 3] = [Self::Aes128, Self::Aes192, Self::Aes256];
}

/// Octets in one block of AES.
pub(super) const BLOCK_LEN: usize = 16;

/// Returns the name of a symmetric algorithm.
pub(super) fn cipher_name(number: u8) -> Box<str> {
    match number {
        0 => "plaintext".into(),
        1 => "IDEA".into(),
        2 => "TripleDES".into(),
        3 => "CAST5".into(),
        4 => "Blowfish".into(),
        7 => "AES-128".into(),
        8 => "AES-192".into(),
        9 => "AES-256".into(),
        10 => "Twofish".into(),
        11..=13 => "Camellia".into(),
        other => format!("symmetric algorithm {other}").into(),
    }
}

/// The hash functions that are used for signatures and for deriving keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    pub(super) fn from_number(number: u8) -> Option<Self> {
        let all = [Self::Sha256, Self::Sha384, Self::Sha512];
        all.into_iter().find(|hash| hash.number() == number)
    }

    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Sha256 => 8,
            Self::Sha384 => 9,
            Self::Sha512 => 10,
        }
    }

    pub(super) const fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }
}

/// Returns the name of a hash algorithm.
pub(super) fn hash_name(number: u8) -> Box<str> {
    match number {
        1 => "MD5".into(),
        2 => "SHA-1".into(),
        3 => "RIPEMD-160".into(),
        8 => "SHA2-256".into(),
        9 => "SHA2-384".into(),
        10 => "SHA2-512".into(),
        11 => "SHA2-224".into(),
        12 => "SHA3-256".into(),
        14 => "SHA3-512".into(),
        other => format!("hash algorithm {other}").into(),
    }
}
