use std::fmt;

use aws_lc_rs::rsa::PrivateDecryptingKey;

use super::public::{ec_spki, fingerprint, rsa_spki};
use crate::{
    EcPoint, Identity, LayerSecret, Scheme, UnwrapError, WrapContext, WrappedKey,
    agreement::LocalAgreement,
    jwe::{Jwe, RsaKey},
};

/// A private key in this process.
///
/// Not `Clone`, not `Serialize`, and silent under `Debug`; the library wipes it when it is dropped.
pub struct PrivateKey {
    material: Material,
    fingerprint: String,
    key_id: Option<Box<str>>,
}

enum Material {
    Rsa(RsaKey),
    Ec(LocalAgreement),
}

impl PrivateKey {
    pub(super) fn from_rsa(key: PrivateDecryptingKey) -> Option<Self> {
        let fingerprint = fingerprint(&rsa_spki(&key.public_key())?);
        Some(Self {
            material: Material::Rsa(RsaKey::new(key).ok()?),
            fingerprint,
            key_id: None,
        })
    }

    pub(super) fn from_agreement(key: LocalAgreement, public: EcPoint) -> Self {
        Self {
            fingerprint: fingerprint(&ec_spki(&public)),
            material: Material::Ec(key),
            key_id: None,
        }
    }

    pub(super) fn with_key_id(mut self, key_id: Option<&str>) -> Self {
        self.key_id = key_id.map(Into::into);
        self
    }
}

impl Identity for PrivateKey {
    fn opens(&self, scheme: &Scheme) -> bool {
        *scheme == Scheme::Jwe
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    fn unwrap_key(
        &self,
        wrapped: &WrappedKey,
        _: &WrapContext<'_>,
    ) -> Result<LayerSecret, UnwrapError> {
        if !self.opens(&wrapped.scheme) {
            return Err(UnwrapError::NotForThisKey);
        }
        let jwe = Jwe::parse(&wrapped.element)?;
        match &self.material {
            Material::Rsa(key) => jwe.open_with_rsa(key),
            Material::Ec(key) => jwe.open_with_agreement(key),
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.fingerprint)
    }
}
