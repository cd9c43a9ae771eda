//! Content encryption (RFC 7518, sections 5.2 and 5.3).

use aws_lc_rs::{
    aead::{self, Aad, LessSafeKey, Nonce, UnboundKey},
    cipher::{self, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey},
    constant_time, hmac,
    iv::FixedLength,
};
use zeroize::Zeroizing;

use super::algorithm::ContentEncryption;

/// The ciphertext of an object and what belongs to it; lengths of `iv` and `tag` have been checked.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) encryption: ContentEncryption,
    pub(super) iv: Vec<u8>,
    pub(super) ciphertext: Vec<u8>,
    pub(super) tag: Vec<u8>,
    pub(super) aad: Vec<u8>,
}

impl Content {
    /// Opens the content; `None` if key and content do not belong together, whatever the reason.
    pub(super) fn open(&self, cek: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        match self.encryption {
            ContentEncryption::A128Gcm => self.open_gcm(&aead::AES_128_GCM, cek),
            ContentEncryption::A192Gcm => self.open_gcm(&aead::AES_192_GCM, cek),
            ContentEncryption::A256Gcm => self.open_gcm(&aead::AES_256_GCM, cek),
            ContentEncryption::A128CbcHs256 => {
                self.open_cbc(&cipher::AES_128, hmac::HMAC_SHA256, cek)
            }
            ContentEncryption::A192CbcHs384 => {
                self.open_cbc(&cipher::AES_192, hmac::HMAC_SHA384, cek)
            }
            ContentEncryption::A256CbcHs512 => {
                self.open_cbc(&cipher::AES_256, hmac::HMAC_SHA512, cek)
            }
        }
    }

    fn open_gcm(
        &self,
        algorithm: &'static aead::Algorithm,
        cek: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        let key = LessSafeKey::new(UnboundKey::new(algorithm, cek).ok()?);
        let nonce = Nonce::try_assume_unique_for_key(&self.iv).ok()?;
        let mut plaintext = Zeroizing::new(vec![0; self.ciphertext.len()]);
        key.open_separate_gather(
            nonce,
            Aad::from(&self.aad),
            &self.ciphertext,
            &self.tag,
            &mut plaintext,
        )
        .ok()?;
        Some(plaintext)
    }

    fn open_cbc(
        &self,
        algorithm: &'static cipher::Algorithm,
        mac: hmac::Algorithm,
        cek: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        if cek.len() != self.encryption.key_len() {
            return None;
        }
        let (mac_key, cipher_key) = cek.split_at(cek.len() / 2);
        let aad_bits = u64::try_from(self.aad.len()).ok()?.checked_mul(8)?;
        let mut authenticated = hmac::Context::with_key(&hmac::Key::new(mac, mac_key));
        authenticated.update(&self.aad);
        authenticated.update(&self.iv);
        authenticated.update(&self.ciphertext);
        authenticated.update(&aad_bits.to_be_bytes());
        let tag = authenticated.sign();
        // The tag is checked before any padding is looked at.
        let expected = tag.as_ref().get(..self.encryption.tag_len())?;
        constant_time::verify_slices_are_equal(expected, &self.tag).ok()?;

        let key = UnboundCipherKey::new(algorithm, cipher_key).ok()?;
        let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).ok()?;
        let iv = FixedLength::<16>::from(<[u8; 16]>::try_from(self.iv.as_slice()).ok()?);
        let mut plaintext = Zeroizing::new(self.ciphertext.clone());
        let length = key
            .decrypt(&mut plaintext, DecryptionContext::Iv128(iv))
            .ok()?
            .len();
        plaintext.truncate(length);
        Some(plaintext)
    }
}
