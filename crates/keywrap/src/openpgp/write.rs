//! Writing: one recipient, data of version 1, as ocicrypt and every release of GnuPG since 2001 read it.

use std::fmt;

use aws_lc_rs::{
    rand,
    rsa::{Pkcs1PublicEncryptingKey, PublicEncryptingKey},
};
use der::{Encode, asn1::UintRef};
use zeroize::Zeroizing;

use super::{
    algorithm::{Cipher, ECDH},
    ecdh,
    key::{EcdhKey, Fingerprint, Key, Material},
    packet::{LITERAL, PKESK, SEIPD, write, write_integer},
    protected,
    secret::checksum,
};
use crate::{
    KeyError, LayerSecret, MAX_ELEMENT_LEN, Recipient, Scheme, WrapContext, WrapError, WrappedKey,
    keys::rsa_encrypting_key,
};

/// A public key or subkey that layer keys are wrapped for, as one message each.
pub struct EncryptionKey {
    fingerprint: Fingerprint,
    algorithm: u8,
    cipher: Cipher,
    material: EncryptionMaterial,
}

enum EncryptionMaterial {
    Rsa(PublicEncryptingKey),
    Ecdh(EcdhKey),
}

impl EncryptionKey {
    /// Takes a key that may encrypt, whoever has checked that.
    pub(super) fn new(key: &Key, cipher: Cipher) -> Result<Self, KeyError> {
        let material = match &key.material {
            Material::Rsa { modulus, exponent } => {
                let integer = |octets| {
                    UintRef::new(octets).map_err(|_| KeyError::malformed("RSA public key"))
                };
                let der = pkcs1::RsaPublicKeyRef {
                    modulus: integer(modulus)?,
                    public_exponent: integer(exponent)?,
                }
                .to_der()
                .map_err(|_| KeyError::malformed("RSA public key"))?;
                EncryptionMaterial::Rsa(rsa_encrypting_key(&der)?)
            }
            Material::Ecdh(key) => EncryptionMaterial::Ecdh(key.clone()),
            Material::Other(name) => return Err(KeyError::unsupported_type(name)),
            _ => return Err(KeyError::unsupported_type("a key for signatures")),
        };
        Ok(Self {
            fingerprint: key.fingerprint,
            algorithm: key.algorithm,
            cipher,
            material,
        })
    }

    /// Writes an encrypted session key of version 3 (section 5.1.1).
    fn encrypt(&self, session_key: &[u8]) -> Result<Vec<u8>, WrapError> {
        let head = [&[3], &self.fingerprint.key_id()[..], &[self.algorithm]].concat();
        Ok(match &self.material {
            EncryptionMaterial::Rsa(key) => {
                let key =
                    Pkcs1PublicEncryptingKey::new(key.clone()).map_err(|_| WrapError::Refused)?;
                let mut number = vec![0; key.ciphertext_size()];
                let number = key
                    .encrypt(session_key, &mut number)
                    .map_err(|_| WrapError::Refused)?;
                [head, write_integer(number)].concat()
            }
            EncryptionMaterial::Ecdh(key) => {
                let (point, wrapped) = ecdh::wrap(key, &self.fingerprint, session_key)?;
                let [.., length] = wrapped.len().to_be_bytes();
                [head, write_integer(&point), vec![length], wrapped].concat()
            }
        })
    }

    /// Returns the name of the algorithm.
    pub const fn algorithm(&self) -> &'static str {
        if self.algorithm == ECDH {
            "ECDH"
        } else {
            "RSA"
        }
    }
}

impl Recipient for EncryptionKey {
    fn scheme(&self) -> Scheme {
        Scheme::Pgp
    }

    /// Returns the fingerprint of the key or subkey in hex.
    fn fingerprint(&self) -> String {
        hex::encode(self.fingerprint.0)
    }

    fn wrap_key(&self, secret: &LayerSecret, _: &WrapContext<'_>) -> Result<WrappedKey, WrapError> {
        let mut session_key = Zeroizing::new(vec![0; 1 + self.cipher.key_len() + 2]);
        let [number, key @ .., _, _] = &mut session_key[..] else {
            return Err(WrapError::Refused);
        };
        *number = self.cipher.number();
        rand::fill(key).map_err(|_| WrapError::Randomness)?;
        let sum = checksum(key).to_be_bytes();
        if let [.., high, low] = &mut session_key[..] {
            [*high, *low] = sum;
        }
        // Binary, without a name, of no time.
        let mut content = Zeroizing::new(Vec::with_capacity(6 + secret.expose().len()));
        content.extend(*b"b\0\0\0\0\0");
        content.extend_from_slice(secret.expose());
        let key = session_key
            .get(1..=self.cipher.key_len())
            .ok_or(WrapError::Refused)?;
        let ciphertext = protected::seal(self.cipher, key, &write(LITERAL, &content))
            .ok_or(WrapError::Randomness)?;
        let data = [&[1], &ciphertext[..]].concat();
        let element = [
            &**write(PKESK, &self.encrypt(&session_key)?),
            &**write(SEIPD, &data),
        ]
        .concat();
        if element.len() > MAX_ELEMENT_LEN {
            return Err(WrapError::TooLong {
                limit: MAX_ELEMENT_LEN,
            });
        }
        Ok(WrappedKey {
            scheme: Scheme::Pgp,
            element,
        })
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "EncryptionKey({}, {})",
            self.algorithm(),
            self.fingerprint()
        )
    }
}
