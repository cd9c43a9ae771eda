//! ocicrypt's cipher: AES-256-CTR and HMAC-SHA-256 over the ciphertext, both under the layer key (`SPEC.md`, section 2).

use aws_lc_rs::cipher::{AES_256, EncryptionContext, StreamingEncryptingKey, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;

use crate::chunked::extend;
use crate::key::LayerKey;
use crate::options::{CounterBlock, PublicOptions};

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
    pub(crate) fn apply(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), CipherFault> {
        let before = out.len();
        let written = self
            .cipher
            .update(input, extend(out, input.len() + SLACK))
            .map(|update| update.written().len());
        out.truncate(before + input.len());
        if written == Ok(input.len()) {
            return Ok(());
        }
        out.truncate(before);
        Err(CipherFault)
    }
}

/// The HMAC of a ciphertext in the making.
#[derive(Clone)]
pub(crate) struct Tagger(hmac::Context);

impl Tagger {
    pub(crate) fn new(key: &LayerKey) -> Self {
        Self(hmac::Context::with_key(&hmac::Key::new(
            hmac::HMAC_SHA256,
            key.expose(),
        )))
    }

    pub(crate) fn update(&mut self, ciphertext: &[u8]) {
        self.0.update(ciphertext);
    }

    pub(crate) fn finish(self) -> [u8; PublicOptions::TAG_LEN] {
        let mut tag = [0; PublicOptions::TAG_LEN];
        tag.copy_from_slice(self.0.sign().as_ref());
        tag
    }

    /// Compares with each of `expected` in constant time; `None` is all a forger learns.
    pub(crate) fn verify(self, expected: &[[u8; PublicOptions::TAG_LEN]]) -> Option<()> {
        let tag = self.finish();
        expected
            .iter()
            .find_map(|expected| verify_slices_are_equal(&tag, expected).ok())
    }
}

/// Octets of an AES block.
const BLOCK: usize = 16;

/// The library wants room for a started block, which CTR never writes.
const SLACK: usize = BLOCK - 1;
