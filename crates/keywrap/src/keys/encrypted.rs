//! Encrypted PKCS#8 (RFC 5958, section 3) with PBES2 (RFC 8018).

use aws_lc_rs::rand;
use der::Decode;
use pkcs8::{
    EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef, SecretDocument,
    pkcs5::{
        self,
        pbes2::{Kdf, Parameters},
    },
};

use super::{KeyError, Password};

/// Most rounds of PBKDF2 that we spend on a file.
pub(super) const MAX_PBKDF2_ITERATIONS: u32 = 10_000_000;

/// Most octets of memory that we spend on scrypt (128 · N · r).
pub(super) const MAX_SCRYPT_MEMORY: u64 = 128 * 1024 * 1024;

/// Most passes of scrypt over that memory.
pub(super) const MAX_SCRYPT_PARALLELISM: u16 = 16;

/// Rounds of PBKDF2-HMAC-SHA-256 in files we write (OWASP, 2023).
pub(super) const PBKDF2_ITERATIONS: u32 = 600_000;

/// Decrypts to a PKCS#8 document.
pub(super) fn decrypt(
    info: &EncryptedPrivateKeyInfoRef<'_>,
    password: Option<&Password>,
) -> Result<SecretDocument, KeyError> {
    check_cost(&info.encryption_algorithm)?;
    let password = password.ok_or(KeyError::PasswordMissing)?;
    info.decrypt(password.expose())
        .map_err(|error| match error {
            pkcs8::Error::EncryptedPrivateKey(
                pkcs5::Error::UnsupportedAlgorithm { oid }
                | pkcs5::Error::AlgorithmParametersInvalid { oid },
            ) => KeyError::unsupported_encryption(&oid.to_string()),
            // CBC does not authenticate: a wrong password shows as bad padding or as octets that are no key.
            _ => KeyError::PasswordWrong,
        })
}

/// Encrypts a PKCS#8 document with PBKDF2-HMAC-SHA-256 and AES-256-CBC, which every tool reads.
pub(super) fn encrypt(pkcs8: &[u8], password: &Password) -> Result<SecretDocument, KeyError> {
    let mut salt = [0; 16];
    let mut iv = [0; 16];
    rand::fill(&mut salt).map_err(|_| KeyError::Generation)?;
    rand::fill(&mut iv).map_err(|_| KeyError::Generation)?;
    let parameters = Parameters::generate_pbkdf2_sha256_aes256cbc(PBKDF2_ITERATIONS, &salt, iv)
        .map_err(|_| KeyError::Generation)?;
    PrivateKeyInfoRef::from_der(pkcs8)
        .map_err(|_| KeyError::Generation)?
        .encrypt_with_params(parameters, password.expose())
        .map_err(|_| KeyError::Generation)
}

/// Refuses what would take hours or gigabytes: the parameters come from the file.
fn check_cost(scheme: &pkcs5::EncryptionScheme) -> Result<(), KeyError> {
    let Some(parameters) = scheme.pbes2() else {
        return Err(KeyError::unsupported_encryption("not PBES2 with AES"));
    };
    let affordable = match &parameters.kdf {
        Kdf::Pbkdf2(kdf) => kdf.iteration_count <= MAX_PBKDF2_ITERATIONS,
        Kdf::Scrypt(kdf) => {
            u64::from(kdf.block_size)
                .checked_mul(128)
                .and_then(|block| block.checked_mul(kdf.cost_parameter))
                .is_some_and(|memory| memory <= MAX_SCRYPT_MEMORY)
                && kdf.parallelization <= MAX_SCRYPT_PARALLELISM
        }
        _ => return Err(KeyError::unsupported_encryption("key derivation")),
    };
    if affordable {
        Ok(())
    } else {
        Err(KeyError::unsupported_encryption(
            "key derivation beyond the cost limit",
        ))
    }
}
