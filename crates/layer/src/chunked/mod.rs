//! [C2SP chunked encryption](https://c2sp.org/chunked-encryption) with SHA-512 and `AEAD_AES_256_GCM`: Cobblestone-256.
//!
//! A message is `salt(24) commitment(32) chunk*`. Every chunk but the last carries 16 KiB of plaintext; the last is
//! shorter, possibly empty, which is how the end of a message is told from a cut.

mod aead;
mod range;
mod stream;
#[cfg(test)]
mod tests;

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use zeroize::Zeroize;

use crate::key::{LayerKey, expand};
use crate::room::Room;

use aead::{Key, NONCE_LEN};

pub use aead::{AeadLibrary, ProcessorFeatures};
pub use range::{AuthenticatedExtent, ChunkRange, Extent};
pub(crate) use stream::{MessageFault, MessageOpener, MessageSealer};

/// Plaintext octets in every chunk but the last.
pub const CHUNK_LEN: usize = 16 * 1024;
/// Octets of the authentication tag that follows every chunk.
pub const TAG_LEN: usize = 16;
/// Octets of a sealed chunk that is not the last.
pub const SEALED_CHUNK_LEN: usize = CHUNK_LEN + TAG_LEN;
/// Octets before the first chunk: salt and commitment.
pub const PREFIX_LEN: usize = Salt::LEN + Commitment::LEN;
/// Most chunks of a message; a counter that reaches it stops the work.
pub const MAX_CHUNKS: u64 = 1 << 38;

/// The public random octets that make every derivation of one input key different.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Salt(pub [u8; Self::LEN]);

impl Salt {
    /// Length in octets.
    pub const LEN: usize = 24;
}

/// Names the key, salt and context of a message without revealing the key.
///
/// It does not authenticate the chunks against somebody who has the key.
#[derive(Clone, Copy)]
pub struct Commitment(pub [u8; Self::LEN]);

impl Commitment {
    /// Length in octets.
    pub const LEN: usize = 32;
}

impl PartialEq for Commitment {
    fn eq(&self, other: &Self) -> bool {
        // A commitment derived from a wrong key is compared with one that an attacker chose.
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for Commitment {}

impl fmt::Display for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Commitment({self})")
    }
}

/// Seals and opens the chunks of one message, in any order and from any thread.
#[derive(Debug)]
pub(crate) struct MessageKey {
    aead: Key,
    base_nonce: [u8; NONCE_LEN],
}

impl MessageKey {
    /// Derives the message key; a reader compares the commitment with the one it read before it opens any chunk.
    pub(crate) fn derive(
        library: AeadLibrary,
        input_key: &LayerKey,
        salt: &Salt,
        context: &[u8],
    ) -> Result<(Self, Commitment), ChunkError> {
        let mut okm = [0; LayerKey::LEN + NONCE_LEN + Commitment::LEN];
        expand(input_key.expose(), &[INFO, &salt.0, context], &mut okm);
        let (key, rest) = okm.split_at(LayerKey::LEN);
        let (nonce, commitment) = rest.split_at(NONCE_LEN);
        let derived = (|| {
            let aead = Key::new(library, key)?;
            let base_nonce = nonce.try_into().ok()?;
            Some((
                Self { aead, base_nonce },
                Commitment(commitment.try_into().ok()?),
            ))
        })();
        okm.zeroize();
        derived.ok_or(ChunkError::Refused)
    }

    /// Appends chunk `index`, sealed, to `out`.
    ///
    /// The caller answers for one plaintext per index: a nonce must never be used twice.
    pub(crate) fn seal_chunk(
        &self,
        index: u64,
        plain: &[u8],
        out: &mut impl Room,
    ) -> Result<(), ChunkError> {
        let nonce = self.nonce(index)?;
        let before = out.octets().len();
        let (body, tag) = out
            .lengthen(plain.len() + TAG_LEN)
            .split_at_mut(plain.len());
        let sealed = self.aead.seal(nonce, plain, body, tag);
        if sealed.is_none() {
            out.truncate(before);
        }
        sealed.ok_or(ChunkError::Refused)
    }

    /// Appends the plaintext of chunk `index` to `out`, or leaves `out` as it was.
    pub(crate) fn open_chunk(
        &self,
        index: u64,
        sealed: &[u8],
        out: &mut impl Room,
    ) -> Result<(), ChunkError> {
        let before = out.octets().len();
        let plain_len = sealed
            .len()
            .checked_sub(TAG_LEN)
            .ok_or(ChunkError::Refused)?;
        let opened = self.open_chunk_into(index, sealed, out.lengthen(plain_len));
        if opened.is_err() {
            out.truncate(before);
        }
        opened
    }

    /// Opens chunk `index` into `plain`, which must be as long as the plaintext; its content is undefined after an error.
    pub(crate) fn open_chunk_into(
        &self,
        index: u64,
        sealed: &[u8],
        plain: &mut [u8],
    ) -> Result<(), ChunkError> {
        let nonce = self.nonce(index)?;
        let (body, tag) = sealed
            .len()
            .checked_sub(TAG_LEN)
            .and_then(|body_len| sealed.split_at_checked(body_len))
            .ok_or(ChunkError::Refused)?;
        self.aead
            .open(nonce, body, tag, plain)
            .ok_or(ChunkError::Refused)
    }

    fn nonce(&self, index: u64) -> Result<[u8; NONCE_LEN], ChunkError> {
        if index >= MAX_CHUNKS {
            return Err(ChunkError::TooLong);
        }
        let mut nonce = self.base_nonce;
        for (octet, counter) in nonce.iter_mut().rev().zip(index.to_le_bytes()) {
            *octet ^= counter;
        }
        Ok(nonce)
    }
}

/// Why a chunk was not sealed or opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ChunkError {
    /// The chunk counter is used up.
    TooLong,
    /// The library refused: a wrong tag, when opening.
    Refused,
}

const INFO: &[u8] = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0";
