//! Sealing with HPKE for DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-256-GCM in base mode (RFC 9180).
//!
//! A holder seals every answer it gives, and the library behind [`hpke_open`](crate::hpke_open) takes several times as
//! long for this one KEM as the arithmetic of `aws-lc` does.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey},
    hmac,
    rand::SecureRandom,
};
use zeroize::Zeroizing;

use crate::{ErrorId, SealedReply, ThresholdError, group, randomness};

/// Seals one message.
///
/// # Errors
/// `point_invalid` for a public key that is none; `randomness`.
pub(crate) fn seal(
    public: &[u8],
    info: &[u8],
    plaintext: &[u8],
    rng: &dyn SecureRandom,
) -> Result<SealedReply, ThresholdError> {
    // SEC 1, uncompressed: the only encoding that HPKE has for this KEM (section 7.1.1).
    if public.len() != 65 {
        return Err(invalid());
    }
    let ephemeral = Zeroizing::new(group::encode_scalar(&*randomness::scalar(rng)?));
    encapsulate(public, &ephemeral)
        .and_then(|(enc, shared_secret)| {
            Some(SealedReply {
                ct: seal_with(&shared_secret, info, plaintext)?,
                enc,
            })
        })
        .ok_or_else(invalid)
}

/// Section 4.1, `Encap`.
fn encapsulate(public: &[u8], ephemeral: &[u8; 32]) -> Option<(Vec<u8>, Zeroizing<Vec<u8>>)> {
    let private = PrivateKey::from_private_key(&ECDH_P256, ephemeral).ok()?;
    let enc = private.compute_public_key().ok()?.as_ref().to_vec();
    let suite = &[b"KEM", &KEM.to_be_bytes()[..]].concat();
    let peer = UnparsedPublicKey::new(&ECDH_P256, public);
    let extracted = agreement::agree(&private, peer, (), |shared| {
        Ok(extract(suite, &[], b"eae_prk", shared))
    })
    .ok()?;
    let context = [&enc, public].concat();
    let secret = expand(suite, &extracted, b"shared_secret", &context, 32);
    Some((enc, secret))
}

/// Section 5.1, `KeySchedule` of the base mode, and the first message of the context.
fn seal_with(shared_secret: &[u8], info: &[u8], plaintext: &[u8]) -> Option<Vec<u8>> {
    let numbers = [KEM, KDF, AEAD].map(u16::to_be_bytes);
    let suite = &[b"HPKE", numbers.as_flattened()].concat();
    let context = [
        &[MODE_BASE],
        &extract(suite, &[], b"psk_id_hash", &[])[..],
        &extract(suite, &[], b"info_hash", info)[..],
    ]
    .concat();
    let secret = extract(suite, shared_secret, b"secret", &[]);
    let key = expand(suite, &secret, b"key", &context, 32);
    let nonce = expand(suite, &secret, b"base_nonce", &context, 12);

    let aead = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).ok()?);
    let nonce = Nonce::try_assume_unique_for_key(&nonce).ok()?;
    let mut sealed = plaintext.to_vec();
    aead.seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed)
        .ok()?;
    Some(sealed)
}

/// Section 4, `LabeledExtract`.
fn extract(suite: &[u8], salt: &[u8], label: &[u8], ikm: &[u8]) -> Zeroizing<Vec<u8>> {
    mac(salt, &[VERSION, suite, label, ikm])
}

/// Section 4, `LabeledExpand`, of at most one block.
fn expand(suite: &[u8], key: &[u8], label: &[u8], info: &[u8], len: u8) -> Zeroizing<Vec<u8>> {
    let mut block = mac(key, &[&[0, len], VERSION, suite, label, info, &[1]]);
    block.truncate(len.into());
    block
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    Zeroizing::new(context.sign().as_ref().to_vec())
}

fn invalid() -> ThresholdError {
    ThresholdError::presenter(ErrorId::PointInvalid)
}

const KEM: u16 = 0x0010;
const KDF: u16 = 0x0001;
const AEAD: u16 = 0x0002;
const MODE_BASE: u8 = 0;
const VERSION: &[u8] = b"HPKE-v1";
