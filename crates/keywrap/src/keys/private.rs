use std::fmt;

use aws_lc_rs::rsa::PrivateDecryptingKey;

use super::Certificate;
use super::public::{ec_spki, fingerprint, rsa_spki};
use crate::{
    EcPoint, Identity, LayerSecret, Scheme, UnwrapError, WrapContext, WrappedKey,
    agreement::LocalAgreement,
    jwe::Jwe,
    pkcs7::{Envelope, IssuerAndSerial, RsaPair},
    pkcs11::Element,
};

/// A private key in this process.
///
/// Not `Clone`, not `Serialize`, and silent under `Debug`; the library wipes it when it is dropped.
pub struct PrivateKey {
    material: Material,
    fingerprint: String,
    key_id: Option<Box<str>>,
    /// Under which names PKCS #7 envelopes are made for this key.
    certificates: Vec<IssuerAndSerial>,
}

enum Material {
    Rsa(RsaPair),
    Ec(LocalAgreement),
}

impl PrivateKey {
    pub(super) fn from_rsa(key: PrivateDecryptingKey) -> Option<Self> {
        let fingerprint = fingerprint(&rsa_spki(&key.public_key())?);
        Some(Self {
            material: Material::Rsa(RsaPair::new(key)?),
            fingerprint,
            key_id: None,
            certificates: Vec::new(),
        })
    }

    pub(super) fn from_agreement(key: LocalAgreement, public: EcPoint) -> Self {
        Self {
            fingerprint: fingerprint(&ec_spki(&public)),
            material: Material::Ec(key),
            key_id: None,
            certificates: Vec::new(),
        }
    }

    pub(super) fn with_key_id(mut self, key_id: Option<&str>) -> Self {
        self.key_id = key_id.map(Into::into);
        self
    }
}

impl Identity for PrivateKey {
    fn opens(&self, scheme: &Scheme) -> bool {
        match scheme {
            Scheme::Jwe => true,
            Scheme::Pkcs7 | Scheme::Pkcs11 => matches!(self.material, Material::Rsa(_)),
            _ => false,
        }
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    fn add_certificate(&mut self, certificate: &Certificate) -> bool {
        let fits = certificate.key_fingerprint() == self.fingerprint;
        if fits && !self.certificates.contains(certificate.name()) {
            self.certificates.push(certificate.name().clone());
        }
        fits
    }

    fn unwrap_key(
        &self,
        wrapped: &WrappedKey,
        _: &WrapContext<'_>,
    ) -> Result<LayerSecret, UnwrapError> {
        match (&wrapped.scheme, &self.material) {
            (Scheme::Pkcs7, Material::Rsa(key)) => {
                Envelope::parse(&wrapped.element)?.open_with_rsa(key, &self.certificates)
            }
            (Scheme::Pkcs11, Material::Rsa(key)) => {
                Element::parse(&wrapped.element)?.open_with_oaep(key.oaep())
            }
            (Scheme::Jwe, Material::Rsa(key)) => {
                Jwe::parse(&wrapped.element)?.open_with_oaep(key.oaep())
            }
            (Scheme::Jwe, Material::Ec(key)) => {
                Jwe::parse(&wrapped.element)?.open_with_agreement(key)
            }
            _ => Err(UnwrapError::NotForThisKey),
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.fingerprint)
    }
}
