//! RSAES-OAEP decryption, wherever the private key lives (RFC 8017, section 7.1.2).

use std::fmt;

use zeroize::Zeroizing;

use crate::jwe::{OaepHash, RsaKey, decrypt_oaep};

/// An RSA private key that decrypts RSAES-OAEP with an empty label.
///
/// Implemented by local keys here, and elsewhere by tokens.
pub trait OaepDecryption: fmt::Debug + Send + Sync {
    /// Returns the length of the modulus in octets, which is that of every ciphertext.
    fn modulus_len(&self) -> usize;

    /// Decrypts `ciphertext`; `None` for every reason there can be, so that nobody learns which it was.
    fn decrypt_oaep(&self, hash: OaepHash, ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>>;
}

impl OaepDecryption for RsaKey {
    fn modulus_len(&self) -> usize {
        self.key_size_bytes()
    }

    fn decrypt_oaep(&self, hash: OaepHash, ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        decrypt_oaep(self, hash, ciphertext)
    }
}
