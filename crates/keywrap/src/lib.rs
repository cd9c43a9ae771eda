//! Who may unwrap a layer key, and in which envelope.
//!
//! A [`Recipient`] wraps the secret of one layer so that exactly one key can unwrap it; an [`Identity`] is that
//! key. The result, a [`WrappedKey`], is one element of an `org.opencontainers.image.enc.keys.*` annotation. A
//! [`Keyring`] holds many identities and says, element by element, why none of them fits.

mod agreement;
mod coco;
pub mod customer_key;
mod decryption;
mod describe;
mod error;
pub mod jwe;
mod key_set;
mod keyring;
pub mod keys;
pub mod openpgp;
mod password_source;
pub mod pkcs11;
pub mod pkcs7;
mod scheme;
mod sealift_element;
mod secret;
mod spec;
mod strict_json;
mod threshold_label;
pub mod xwing;

pub use agreement::{AgreementError, Curve, EcPoint, KeyAgreement, SharedSecret};
pub use decryption::OaepDecryption;
pub use describe::{RecipientInfo, describe};
pub use error::{UnwrapError, WrapError};
pub use key_set::KeySet;
pub use keyring::{Candidates, ElementReport, Keyring, KeyringError, Outcome, Unwrapped};
pub use keys::{Certificate, KeyError, Password, PrivateKey, PublicKey};
pub use password_source::{KeyFile, PasswordSource};
pub use scheme::{Scheme, WrappedKey};
pub use secret::LayerSecret;
pub use spec::{IdentitySpec, KeySource, RecipientSpec, SpecError};
pub use threshold_label::ThresholdLabel;

/// A key that a layer secret can be wrapped for.
pub trait Recipient: std::fmt::Debug + Send + Sync {
    /// Returns the envelope this recipient writes.
    fn scheme(&self) -> Scheme;

    /// Returns the hex SHA-256 of the DER `SubjectPublicKeyInfo`, or of the key itself for symmetric keys; for OpenPGP the hex
    /// fingerprint of the key or subkey itself, since keys of one curve differ there by how they derive.
    fn fingerprint(&self) -> String;

    /// Wraps the private options of one layer.
    ///
    /// # Errors
    /// [`WrapError`] when this key cannot hold the secret; nothing is ever wrapped partly.
    fn wrap_key(
        &self,
        secret: &LayerSecret,
        context: &WrapContext<'_>,
    ) -> Result<WrappedKey, WrapError>;
}

/// A private key that may unwrap layer secrets.
pub trait Identity: std::fmt::Debug + Send + Sync {
    /// Returns whether this identity understands elements of `scheme` at all.
    fn opens(&self, scheme: &Scheme) -> bool;

    /// Returns the fingerprint of the matching [`Recipient`].
    fn fingerprint(&self) -> String;

    /// Returns the name its owner gave this key (`kid` of a JWK), if any.
    ///
    /// A name only decides which key is tried first; it never excludes one.
    fn key_id(&self) -> Option<&str> {
        None
    }

    /// Returns what one attempt costs beside one with an RSA key in this process; more where others are asked.
    fn cost(&self) -> usize {
        1
    }

    /// Takes note of a certificate, so that PKCS #7 envelopes for it open; returns whether it belongs to this key.
    ///
    /// Nothing else in the certificate is looked at: neither who signed it nor when it ends.
    fn add_certificate(&mut self, certificate: &Certificate) -> bool {
        let _ = certificate;
        false
    }

    /// Takes note of elements that will probably be asked for soon, all those of one image.
    ///
    /// Nobody is asked yet: whoever has to go far for a key fetches these along with the first that is wanted. The elements are
    /// of schemes that this identity [opens](Self::opens). They come from annotations that nobody vouches for, so what is
    /// fetched for one of them is given out only through [`unwrap_key`](Self::unwrap_key), whose context is checked.
    fn prepare(&self, wraps: &[WrappedKey]) {
        let _ = wraps;
    }

    /// Unwraps one annotation element.
    ///
    /// # Errors
    /// [`UnwrapError::NotForThisKey`] when another identity should be tried, anything else when the element itself is bad.
    fn unwrap_key(
        &self,
        wrapped: &WrappedKey,
        context: &WrapContext<'_>,
    ) -> Result<LayerSecret, UnwrapError>;
}

/// [`Identity::cost`] of keys for which programs are started, services asked or tokens kept busy.
pub const REMOTE_COST: usize = 256;

/// What a layer key is wrapped for, as far as the envelope can bind it.
///
/// Key holders put it into their label; the other envelopes ignore it.
#[derive(Clone, Copy, Debug, Default)]
pub struct WrapContext<'a> {
    /// The layer: its commitment (default cipher) or the digest of its ciphertext (ocicrypt).
    pub subject: Option<&'a str>,
    /// The repository the image is meant for.
    pub repo: Option<&'a str>,
    /// `os/arch[/variant[/osversion]]`.
    pub platform: Option<&'a str>,
    /// Seconds since the Unix epoch.
    pub created_at: Option<u64>,
}

/// Most octets of one element after base64, read or written (`SPEC.md` of the layer crate, section 1).
pub const MAX_ELEMENT_LEN: usize = 16 * 1024;
