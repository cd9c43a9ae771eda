//! Writing: one recipient, AES-128-GCM, octet for octet the structure that ocicrypt writes.

use aws_lc_rs::{
    aead::{Aad, LessSafeKey, Nonce, UnboundKey},
    rand,
    rsa::{Pkcs1PublicEncryptingKey, PublicEncryptingKey},
};
use der::asn1::ObjectIdentifier;
use zeroize::Zeroizing;

use super::{
    IssuerAndSerial,
    algorithm::{ContentEncryption, DATA, ENVELOPED_DATA},
    content::{GO_NONCE, GO_SEQUENCE, NONCE_LEN, TAG_LEN},
    der::{
        CONSTRUCTED_0, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, PRIMITIVE_0, SEQUENCE, SET,
        element,
    },
};
use crate::{LayerSecret, MAX_ELEMENT_LEN, WrapError};

/// Wraps `secret` for the RSA key of the certificate named `name`.
pub(crate) fn wrap_for_rsa(
    key: &PublicEncryptingKey,
    name: &IssuerAndSerial,
    secret: &LayerSecret,
) -> Result<Vec<u8>, WrapError> {
    let too_long = WrapError::TooLong {
        limit: MAX_ELEMENT_LEN,
    };
    // Before encoding: the encoder knows lengths of two octets.
    if secret.expose().len() + name.issuer_der().len() > MAX_ELEMENT_LEN {
        return Err(too_long);
    }
    let mut cek = Zeroizing::new([0; CONTENT_ENCRYPTION.key_len()]);
    let mut nonce = [0; NONCE_LEN];
    rand::fill(&mut *cek).map_err(|_| WrapError::Randomness)?;
    rand::fill(&mut nonce).map_err(|_| WrapError::Randomness)?;
    let encrypted_key = encrypt_key(key, &*cek)?;
    let content = seal(&*cek, nonce, secret)?;
    let octets = encode(name, &encrypted_key, nonce, &content);
    if octets.len() > MAX_ELEMENT_LEN {
        return Err(too_long);
    }
    Ok(octets)
}

fn encrypt_key(key: &PublicEncryptingKey, cek: &[u8]) -> Result<Vec<u8>, WrapError> {
    let key = Pkcs1PublicEncryptingKey::new(key.clone()).map_err(|_| WrapError::Refused)?;
    let mut encrypted_key = vec![0; key.ciphertext_size()];
    let length = key
        .encrypt(cek, &mut encrypted_key)
        .map_err(|_| WrapError::Refused)?
        .len();
    encrypted_key.truncate(length);
    Ok(encrypted_key)
}

/// Returns the ciphertext with its tag behind it.
fn seal(cek: &[u8], nonce: [u8; NONCE_LEN], secret: &LayerSecret) -> Result<Vec<u8>, WrapError> {
    let key =
        UnboundKey::new(CONTENT_ENCRYPTION.algorithm(), cek).map_err(|_| WrapError::Refused)?;
    let mut content = Zeroizing::new(secret.expose().to_vec());
    let tag = LessSafeKey::new(key)
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::empty(),
            &mut content,
        )
        .map_err(|_| WrapError::Refused)?;
    Ok([&content, tag.as_ref()].concat())
}

/// Renders a `ContentInfo` with one recipient.
///
/// The RSA algorithm has no parameters, the GCM algorithm has Go's; the content is `[0]` primitive, as ocicrypt writes it
/// since 1.2.1 and reads it in all releases.
fn encode(
    name: &IssuerAndSerial,
    encrypted_key: &[u8],
    nonce: [u8; NONCE_LEN],
    content: &[u8],
) -> Vec<u8> {
    let version = element(INTEGER, &[&[0]]);
    let id = element(
        SEQUENCE,
        &[
            name.issuer_der(),
            &element(INTEGER, &[name.serial_octets()]),
        ],
    );
    let recipient = element(
        SEQUENCE,
        &[
            &version,
            &id,
            &element(SEQUENCE, &[&oid(&pkcs1::ALGORITHM_OID)]),
            &element(OCTET_STRING, &[encrypted_key]),
        ],
    );
    let tag_len = u8::try_from(TAG_LEN).unwrap_or_default();
    let parameters = element(
        SEQUENCE,
        &[
            &element(GO_NONCE, &[&nonce]),
            &element(INTEGER, &[&[tag_len]]),
        ],
    );
    let algorithm = element(
        SEQUENCE,
        &[
            &oid(&CONTENT_ENCRYPTION.oid()),
            &element(GO_SEQUENCE, &[&parameters]),
        ],
    );
    let encrypted = element(
        SEQUENCE,
        &[&oid(&DATA), &algorithm, &element(PRIMITIVE_0, &[content])],
    );
    let data = element(
        SEQUENCE,
        &[&version, &element(SET, &[&recipient]), &encrypted],
    );
    element(
        SEQUENCE,
        &[&oid(&ENVELOPED_DATA), &element(CONSTRUCTED_0, &[&data])],
    )
}

fn oid(oid: &ObjectIdentifier) -> Vec<u8> {
    element(OBJECT_IDENTIFIER, &[oid.as_bytes()])
}

/// What ocicrypt writes.
const CONTENT_ENCRYPTION: ContentEncryption = ContentEncryption::A128;

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::*;
    use crate::pkcs7::Envelope;

    #[test]
    fn what_was_read_is_written_alike() {
        let vector = include_str!("../../../../testdata/keywrap/pkcs7/valid_primitive.json");
        let vector: serde_json::Value = serde_json::from_str(vector).expect("JSON");
        let encoded = vector["element_base64"].as_str().expect("an element");
        let element = STANDARD.decode(encoded).expect("base64");
        let envelope = Envelope::parse(&element).expect("an envelope");
        let content = envelope.content.expect("a known algorithm");
        let [recipient] = &envelope.recipients[..] else {
            panic!("not one recipient");
        };
        let written = encode(
            recipient.certificate().expect("a certificate"),
            &recipient.encrypted_key,
            content.nonce,
            &[&content.ciphertext[..], &content.tag].concat(),
        );
        assert_eq!(hex::encode(written), hex::encode(element));
    }
}
