//! Session keys by ECDH (RFC 9580, sections 11.4 and 11.5).

use aws_lc_rs::{
    agreement::{self, PrivateKey, UnparsedPublicKey, X25519},
    digest,
};
use zeroize::Zeroizing;

use super::algorithm::ECDH;
use super::key::{EcdhCurve, EcdhKey, Fingerprint, NATIVE_POINT};
use crate::{
    EcPoint, KeyAgreement, SharedSecret, UnwrapError, WrapError, agreement::LocalAgreement,
    jwe::key_wrap,
};

/// A private key in this process.
pub(super) enum Agreement {
    Curve25519(PrivateKey),
    Nist(LocalAgreement),
}

impl Agreement {
    /// Takes the secret number of `public`, most significant octet first; `None` unless the two belong together.
    pub(super) fn new(public: &EcdhKey, secret: &[u8]) -> Option<Self> {
        let (key, point) = match public.curve {
            EcdhCurve::Curve25519 => {
                let mut octets = Zeroizing::new([0; X25519_LEN]);
                for (octet, given) in octets.iter_mut().zip(secret.iter().rev()) {
                    *octet = *given;
                }
                if secret.len() > X25519_LEN {
                    return None;
                }
                let key = PrivateKey::from_private_key(&X25519, &*octets).ok()?;
                let point = native_point(&key)?;
                (Self::Curve25519(key), point)
            }
            EcdhCurve::Nist(curve) => {
                let key = LocalAgreement::from_scalar(curve, secret)?;
                let point = key.public()?.as_uncompressed().to_vec();
                (Self::Nist(key), point)
            }
        };
        (point == public.point).then_some(key)
    }

    /// Draws an ephemeral key on the curve of `public`, and returns its point, too.
    fn ephemeral(public: &EcdhKey) -> Option<(Self, Vec<u8>)> {
        match public.curve {
            EcdhCurve::Curve25519 => {
                let key = PrivateKey::generate(&X25519).ok()?;
                let point = native_point(&key)?;
                Some((Self::Curve25519(key), point))
            }
            EcdhCurve::Nist(curve) => {
                let key = LocalAgreement::generate(curve)?;
                let point = key.public()?.as_uncompressed().to_vec();
                Some((Self::Nist(key), point))
            }
        }
    }

    /// Agrees with `point`; `None` unless it is one of the curve and no other.
    fn agree(&self, point: &[u8]) -> Option<SharedSecret> {
        match self {
            Self::Curve25519(key) => {
                let (&NATIVE_POINT, point) = point.split_first()? else {
                    return None;
                };
                // The library refuses a shared secret of zeros alone.
                agreement::agree(key, UnparsedPublicKey::new(&X25519, point), (), |shared| {
                    Ok(SharedSecret::new(Zeroizing::new(shared.to_vec())))
                })
                .ok()
            }
            Self::Nist(key) => {
                let point = EcPoint::from_uncompressed(key.curve(), point)?;
                key.agree(&point).ok()
            }
        }
    }
}

fn native_point(key: &PrivateKey) -> Option<Vec<u8>> {
    let public = key.compute_public_key().ok()?;
    Some([&[NATIVE_POINT], public.as_ref()].concat())
}

/// Unwraps a session key with its algorithm in front and its sum behind; padding is cut off.
pub(super) fn unwrap(
    key: &Agreement,
    public: &EcdhKey,
    fingerprint: &Fingerprint,
    point: &[u8],
    wrapped: &[u8],
) -> Result<Zeroizing<Vec<u8>>, UnwrapError> {
    let shared = key.agree(point).ok_or(UnwrapError::NotForThisKey)?;
    let kek = derive(&shared, public, fingerprint);
    let mut session_key = key_wrap::unwrap(public.cipher.wrap_width(), &kek, wrapped)
        .ok_or(UnwrapError::NotForThisKey)?;
    // Authenticated by the wrap, so that nothing can be learned from the padding.
    let padding = session_key.last().copied().unwrap_or_default();
    let length = session_key.len().saturating_sub(padding.into());
    let is_padded = session_key
        .get(length..)
        .is_some_and(|octets| !octets.is_empty() && octets.iter().all(|octet| *octet == padding));
    if !is_padded {
        return Err(UnwrapError::malformed("padding of a session key"));
    }
    session_key.truncate(length);
    Ok(session_key)
}

/// Wraps a session key; returns the ephemeral point and the wrapped key.
pub(super) fn wrap(
    public: &EcdhKey,
    fingerprint: &Fingerprint,
    session_key: &[u8],
) -> Result<(Vec<u8>, Vec<u8>), WrapError> {
    let (key, point) = Agreement::ephemeral(public).ok_or(WrapError::Randomness)?;
    let shared = key.agree(&public.point).ok_or(WrapError::Refused)?;
    let kek = derive(&shared, public, fingerprint);
    // Up to a multiple of eight, and beyond the longest session key, so that its length does not show.
    let mut padded = Zeroizing::new(vec![0; PADDED_LEN]);
    let padding = PADDED_LEN
        .checked_sub(session_key.len())
        .and_then(|length| u8::try_from(length).ok())
        .ok_or(WrapError::Refused)?;
    padded.fill(padding);
    for (octet, given) in padded.iter_mut().zip(session_key) {
        *octet = *given;
    }
    let wrapped =
        key_wrap::wrap(public.cipher.wrap_width(), &kek, &padded).ok_or(WrapError::Refused)?;
    Ok((point, wrapped))
}

/// Derives the key-encryption key from what was agreed on (section 11.5).
fn derive(
    shared: &SharedSecret,
    public: &EcdhKey,
    fingerprint: &Fingerprint,
) -> Zeroizing<Vec<u8>> {
    let oid = public.curve.oid();
    let [.., oid_len] = oid.len().to_be_bytes();
    let mut context = digest::Context::new(public.hash.algorithm());
    context.update(&[0, 0, 0, 1]);
    context.update(shared.expose());
    context.update(&[oid_len]);
    context.update(oid);
    context.update(&[ECDH, 3, 1, public.hash.number(), public.cipher.number()]);
    context.update(b"Anonymous Sender    ");
    context.update(&fingerprint.0);
    let mut kek = Zeroizing::new(context.finish().as_ref().to_vec());
    kek.truncate(public.cipher.key_len());
    kek
}

const X25519_LEN: usize = 32;
const PADDED_LEN: usize = 40;
