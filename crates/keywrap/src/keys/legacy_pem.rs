//! The `DEK-Info` encryption of PEM files before PKCS#8.
//!
//! Weak by design (one MD5 per guess); read because keys in use still have it, never written.

use aws_lc_rs::{
    cipher::{self, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey},
    iv::FixedLength,
};
use md5::{Digest, Md5};
use zeroize::Zeroizing;

use super::{KeyError, Password, pem::DekInfo};

/// Decrypts a block; AES-CBC only.
pub(super) fn decrypt(
    info: &DekInfo,
    ciphertext: &[u8],
    password: &Password,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let (algorithm, key_len) = match info.cipher.as_str() {
        "AES-128-CBC" => (&cipher::AES_128, 16),
        "AES-192-CBC" => (&cipher::AES_192, 24),
        "AES-256-CBC" => (&cipher::AES_256, 32),
        other => return Err(KeyError::unsupported_encryption(other)),
    };
    let iv =
        <[u8; 16]>::try_from(info.iv.as_slice()).map_err(|_| KeyError::malformed("DEK-Info"))?;
    let key = derive(password, &iv, key_len);
    let mut plaintext = Zeroizing::new(ciphertext.to_vec());
    let length = UnboundCipherKey::new(algorithm, &key)
        .and_then(PaddedBlockDecryptingKey::cbc_pkcs7)
        .and_then(|key| {
            let context = DecryptionContext::Iv128(FixedLength::from(iv));
            key.decrypt(&mut plaintext, context).map(|open| open.len())
        })
        .map_err(|_| KeyError::PasswordWrong)?;
    plaintext.truncate(length);
    Ok(plaintext)
}

/// `EVP_BytesToKey` with MD5, one round; the salt is the first half of the IV.
fn derive(password: &Password, iv: &[u8; 16], key_len: usize) -> Zeroizing<Vec<u8>> {
    let salt = iv.first_chunk::<8>().map_or(&[][..], |salt| salt);
    let mut key = Zeroizing::new(Vec::with_capacity(key_len + 16));
    let mut previous = Zeroizing::new(Vec::new());
    while key.len() < key_len {
        let digest = Md5::new()
            .chain_update(&*previous)
            .chain_update(password.expose())
            .chain_update(salt)
            .finalize();
        previous = Zeroizing::new(digest.to_vec());
        key.extend_from_slice(&previous);
    }
    key.truncate(key_len);
    key
}
