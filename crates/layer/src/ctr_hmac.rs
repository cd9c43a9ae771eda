//! ocicrypt's cipher: AES-256-CTR and HMAC-SHA-256 over the ciphertext, both under the layer key (`SPEC.md`, section 2).

use aws_lc_rs::cipher::{AES_256, EncryptionContext, StreamingEncryptingKey, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::iv::FixedLength;
use sealift_sha256::Sha256;
use zeroize::Zeroizing;

use crate::key::LayerKey;
use crate::options::{CounterBlock, PublicOptions};
use crate::room::Room;

/// The library refused, which it does only when memory is gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct CipherFault;

/// AES-256-CTR from any offset; sealing and opening are the same.
pub(crate) struct Keystream {
    cipher: StreamingEncryptingKey,
}

impl Keystream {
    /// Starts at octet `offset` of the layer.
    pub(crate) fn new(
        key: &LayerKey,
        nonce: &CounterBlock,
        offset: u64,
    ) -> Result<Self, CipherFault> {
        let block = u128::from_be_bytes(nonce.0).wrapping_add(u128::from(offset / BLOCK as u64));
        let context = EncryptionContext::Iv128(FixedLength::from(block.to_be_bytes()));
        let key = UnboundCipherKey::new(&AES_256, key.expose()).map_err(|_| CipherFault)?;
        let cipher =
            StreamingEncryptingKey::less_safe_ctr(key, context).map_err(|_| CipherFault)?;
        let mut keystream = Self { cipher };
        let skipped = usize::try_from(offset % BLOCK as u64).map_err(|_| CipherFault)?;
        keystream.apply([0; BLOCK].split_at(skipped).0, &mut Vec::new())?;
        Ok(keystream)
    }

    /// Appends `input` combined with the keystream.
    pub(crate) fn apply(&mut self, input: &[u8], out: &mut impl Room) -> Result<(), CipherFault> {
        let before = out.octets().len();
        let written = self
            .cipher
            .update(input, out.lengthen(input.len() + SLACK))
            .map(|update| update.written().len());
        out.truncate(before + input.len());
        if written == Ok(input.len()) {
            return Ok(());
        }
        out.truncate(before);
        Err(CipherFault)
    }
}

/// The HMAC-SHA256 of a ciphertext in the making (RFC 2104, section 2). Written out, and not the library's, because its inner hash
/// is to go along with others.
#[derive(Clone)]
pub(crate) struct Tagger {
    inner: Sha256,
    outer: Sha256,
}

impl Tagger {
    pub(crate) fn new(key: &LayerKey) -> Self {
        let padded = |pad: u8| {
            let mut block = Zeroizing::new([pad; HASH_BLOCK]);
            for (octet, key) in block.iter_mut().zip(key.expose()) {
                *octet ^= key;
            }
            let mut hash = Sha256::new();
            hash.update(&*block);
            hash
        };
        Self {
            inner: padded(0x36),
            outer: padded(0x5c),
        }
    }

    /// Borrows what takes the ciphertext.
    pub(crate) fn inner(&mut self) -> &mut Sha256 {
        &mut self.inner
    }

    /// Returns how many octets the ciphertext has so far.
    pub(crate) fn len(&self) -> u64 {
        self.inner.taken().saturating_sub(HASH_BLOCK as u64)
    }

    pub(crate) fn finish(mut self) -> [u8; PublicOptions::TAG_LEN] {
        self.outer.update(&self.inner.finish());
        self.outer.finish()
    }

    /// Compares with each of `expected` in constant time; `None` is all a forger learns.
    pub(crate) fn verify(self, expected: &[[u8; PublicOptions::TAG_LEN]]) -> Option<()> {
        let tag = self.finish();
        expected
            .iter()
            .find_map(|expected| verify_slices_are_equal(&tag, expected).ok())
    }
}

/// Octets of a block of SHA-256, which is longer than the key.
const HASH_BLOCK: usize = 64;

/// Octets of an AES block.
const BLOCK: usize = 16;

/// The library wants room for a started block, which CTR never writes.
const SLACK: usize = BLOCK - 1;
