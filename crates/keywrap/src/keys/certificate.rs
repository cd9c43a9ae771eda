use std::fmt;

use aws_lc_rs::rsa::PublicEncryptingKey;
use der::Decode;

use super::{KeyError, der_keys};
use crate::{
    LayerSecret, Recipient, Scheme, WrapContext, WrapError, WrappedKey,
    pkcs7::{self, IssuerAndSerial},
};

/// An X.509 certificate for an RSA key: what names a recipient in PKCS #7 envelopes.
///
/// It is a name and a key. Nobody has checked who signed it, when it ends or what it allows.
pub struct Certificate {
    name: IssuerAndSerial,
    key: PublicEncryptingKey,
    fingerprint: String,
}

impl Certificate {
    /// Reads a DER certificate (RFC 5280).
    ///
    /// # Errors
    /// [`KeyError::CertificateExpected`] for anything else, [`KeyError::NotForRsa`] for other keys, and whatever is wrong with an
    /// RSA key.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        x509_cert::Certificate::from_der(der).map_err(|_| KeyError::CertificateExpected)?;
        let public = match der_keys::certificate(der) {
            Err(KeyError::UnsupportedType { .. } | KeyError::UnsupportedCurve { .. }) => {
                return Err(KeyError::NotForRsa);
            }
            public => public?,
        };
        let key = public.rsa().ok_or(KeyError::NotForRsa)?.clone();
        Ok(Self {
            name: IssuerAndSerial::of_certificate(der)
                .map_err(|_| KeyError::malformed("certificate"))?,
            key,
            fingerprint: public.fingerprint(),
        })
    }

    /// Returns what envelopes call it.
    pub const fn name(&self) -> &IssuerAndSerial {
        &self.name
    }

    /// Returns the hex SHA-256 of the `SubjectPublicKeyInfo`: the fingerprint of the private key it belongs to.
    pub fn key_fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

impl Recipient for Certificate {
    fn scheme(&self) -> Scheme {
        Scheme::Pkcs7
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn wrap_key(&self, secret: &LayerSecret, _: &WrapContext<'_>) -> Result<WrappedKey, WrapError> {
        Ok(WrappedKey {
            scheme: Scheme::Pkcs7,
            element: pkcs7::wrap_for_rsa(&self.key, &self.name, secret)?,
        })
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({}, {})", self.name, self.fingerprint)
    }
}
