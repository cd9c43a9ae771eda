use thiserror::Error;

/// Why a file gave no key.
#[derive(Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum KeyError {
    /// The file is none of the encodings we read.
    #[error("not a key in PEM, DER or JWK form")]
    NotAKey,

    /// The file claims to be a key and is not well-formed.
    #[error("malformed key: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: &'static str,
    },

    /// A private key stands where a public key belongs.
    #[error("this is a private key; a recipient is named by its public key")]
    PublicExpected,

    /// A public key or certificate stands where a private key belongs.
    #[error("this is a public key; a private key is needed here")]
    PrivateExpected,

    /// A certificate stands beside its issuer's, whose key would become a recipient too.
    #[error("the file holds a certificate and its issuer; give the certificate alone")]
    CertificateChain,

    /// A certificate names a key that PKCS #7 envelopes cannot be made for.
    #[error("the certificate is not for an RSA key, and PKCS #7 envelopes are for RSA alone")]
    NotForRsa,

    /// Something that is no certificate stands where one belongs.
    #[error("this is no certificate; a PKCS #7 recipient is named by its certificate")]
    CertificateExpected,

    /// The key is encrypted and no password was given.
    #[error("key is encrypted and no password was given")]
    PasswordMissing,

    /// The key does not decrypt with this password.
    #[error("wrong password for this key")]
    PasswordWrong,

    /// An OpenPGP key that is not meant for this.
    #[error("it holds no key for decryption")]
    NotForDecryption,

    /// gpg exported the key without its secret, or keeps it on a card.
    #[error("the secret is not in the file: it was left out, or is on a card")]
    SecretElsewhere,

    /// The key lies on a curve we do not implement.
    #[error("unsupported curve `{name}`")]
    UnsupportedCurve {
        /// Name or object identifier.
        name: Box<str>,
    },

    /// The key is of a type, or for a use, we do not implement.
    #[error("unsupported key type `{name}`")]
    UnsupportedType {
        /// Name, PEM label or object identifier.
        name: Box<str>,
    },

    /// The key is encrypted in a way we do not implement, or at a cost beyond our limits.
    #[error("unsupported key encryption `{name}`")]
    UnsupportedEncryption {
        /// Name of the algorithm.
        name: Box<str>,
    },

    /// An RSA key is too short to protect anything.
    #[error("RSA key of {bits} bits is too weak; at least 2048 are needed")]
    TooWeak {
        /// Its length.
        bits: usize,
    },

    /// The file is longer than any key file.
    #[error("key file is larger than {limit} octets")]
    TooLarge {
        /// [`MAX_FILE_LEN`](super::MAX_FILE_LEN).
        limit: usize,
    },

    /// The file holds more keys than we read.
    #[error("more than {limit} keys in one file")]
    TooMany {
        /// [`MAX_KEYS`](super::MAX_KEYS).
        limit: usize,
    },

    /// The library could not generate or encode a key.
    #[error("key generation failed")]
    Generation,
}

impl KeyError {
    pub(crate) const fn malformed(reason: &'static str) -> Self {
        Self::Malformed { reason }
    }

    pub(crate) fn unsupported_type(name: &str) -> Self {
        Self::UnsupportedType {
            name: crate::error::printable(name),
        }
    }

    pub(super) fn unsupported_curve(name: &str) -> Self {
        Self::UnsupportedCurve {
            name: crate::error::printable(name),
        }
    }

    pub(crate) fn unsupported_encryption(name: &str) -> Self {
        Self::UnsupportedEncryption {
            name: crate::error::printable(name),
        }
    }
}
