//! Content encryption: AES-GCM, with two encodings of its parameters.

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::{
    algorithm::ContentEncryption,
    der::{Element, INTEGER, OCTET_STRING, Reader, SEQUENCE},
};
use crate::UnwrapError;

/// An encrypted content and what belongs to it.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) encryption: ContentEncryption,
    pub(super) nonce: [u8; NONCE_LEN],
    pub(super) ciphertext: Vec<u8>,
    pub(super) tag: [u8; TAG_LEN],
}

impl Content {
    /// Opens the content; `None` if key and content do not belong together, whatever the reason.
    pub(super) fn open(&self, cek: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let key = LessSafeKey::new(UnboundKey::new(self.encryption.algorithm(), cek).ok()?);
        let mut plaintext = Zeroizing::new(vec![0; self.ciphertext.len()]);
        key.open_separate_gather(
            Nonce::assume_unique_for_key(self.nonce),
            Aad::empty(),
            &self.ciphertext,
            &self.tag,
            &mut plaintext,
        )
        .ok()?;
        Some(plaintext)
    }
}

/// Returns the nonce of a parameters element that asks for a whole tag.
///
/// RFC 5084 has `SEQUENCE { OCTET STRING, INTEGER DEFAULT 12 }`. Go's libraries put a sequence with a context tag into
/// a *primitive* SEQUENCE, and read nothing else.
pub(super) fn gcm_nonce(parameters: &Element<'_>) -> Result<[u8; NONCE_LEN], UnwrapError> {
    let (mut members, nonce_tag) = match parameters.tag {
        SEQUENCE => (Reader::new(parameters.contents), OCTET_STRING),
        GO_SEQUENCE => (
            Reader::whole(parameters.contents, SEQUENCE, GCM_PARAMETERS)?,
            GO_NONCE,
        ),
        _ => return Err(UnwrapError::malformed(GCM_PARAMETERS)),
    };
    let nonce = members.read(nonce_tag, GCM_PARAMETERS)?.contents;
    let tag_len: &[u8] = match members.peek() {
        None => &[12],
        Some(INTEGER) => members.integer(GCM_PARAMETERS)?,
        Some(_) => return Err(UnwrapError::malformed(GCM_PARAMETERS)),
    };
    members.end()?;
    // A shorter tag is easier to forge, and nobody writes one.
    if tag_len != [16] {
        return Err(UnwrapError::malformed("GCM tag is not of 16 octets"));
    }
    nonce
        .try_into()
        .map_err(|_| UnwrapError::malformed("GCM nonce is not of 12 octets"))
}

const GCM_PARAMETERS: &str = "GCM parameters";
pub(super) const NONCE_LEN: usize = 12;
pub(super) const TAG_LEN: usize = 16;
/// SEQUENCE without the bit that says it is constructed.
pub(super) const GO_SEQUENCE: u8 = 0x10;
/// `[4]` in place of OCTET STRING.
pub(super) const GO_NONCE: u8 = 0x84;
