//! Opening a layer in steps: what the blob is, which key opens it, its octets, its end.
//!
//! ```text
//! Intake ──► Start::Chunked(ChunkedLayer) ──unlock──► LayerOpener ──finish──► released
//!       └──► Start::CtrHmac(CtrHmacLayer) ──unlock──► Unchecked ──finish──► Checked ──► Decryptor
//! ```

mod chunked;
mod ctr_hmac;

use std::fmt;

use crate::chunked::{AeadLibrary, Commitment, PREFIX_LEN, Salt};
use crate::error::OpenError;
use crate::frame::{MAGIC, PREAMBLE_LEN, header_len};

pub use chunked::{ChunkedLayer, LayerOpener, Release};
pub use ctr_hmac::{Checked, CtrHmacLayer, Decryptor, Unchecked};

/// Reads the beginning of a blob until its format is known.
#[derive(Debug, Default)]
pub struct Intake {
    buffer: Vec<u8>,
    aead: AeadLibrary,
}

impl Intake {
    /// Starts; chunks will be opened by the library given here, by [`default`](Self::default) by aws-lc.
    pub fn opening_with(aead: AeadLibrary) -> Self {
        Self {
            buffer: Vec::new(),
            aead,
        }
    }

    /// Takes octets in pieces of any size; returns what the blob is as soon as that is known.
    ///
    /// Once it has returned a [`Start`] or an error, an intake is empty again.
    ///
    /// # Errors
    /// [`OpenError::Malformed`] for a header that is too long or ambiguous, and the other errors of
    /// [`Header::from_json`](crate::Header::from_json).
    pub fn update(&mut self, blob: &[u8]) -> Result<Option<Start>, OpenError> {
        self.buffer.extend_from_slice(blob);
        let known = MAGIC.len().min(self.buffer.len());
        if self.buffer.get(..known) != MAGIC.get(..known) {
            return Ok(Some(Start::CtrHmac(std::mem::take(&mut self.buffer))));
        }
        let parsed = self.chunked();
        if !matches!(parsed, Ok(None)) {
            self.buffer = Vec::new();
        }
        parsed
    }

    /// Ends a blob that was too short for [`update`](Self::update) to recognise.
    ///
    /// # Errors
    /// [`OpenError::Truncated`] when it began as a layer of the default format.
    pub fn finish(self) -> Result<Start, OpenError> {
        if self.buffer.len() >= MAGIC.len() {
            return Err(OpenError::Truncated { after: None });
        }
        Ok(Start::CtrHmac(self.buffer))
    }

    fn chunked(&self) -> Result<Option<Start>, OpenError> {
        let Some((preamble, rest)) = self.buffer.split_first_chunk::<PREAMBLE_LEN>() else {
            return Ok(None);
        };
        let header_len = header_len(preamble)?;
        let Some((header, rest)) = rest.split_at_checked(header_len) else {
            return Ok(None);
        };
        let Some((salt, rest)) = rest.split_first_chunk::<{ Salt::LEN }>() else {
            return Ok(None);
        };
        let Some((commitment, rest)) = rest.split_first_chunk::<{ Commitment::LEN }>() else {
            return Ok(None);
        };
        Ok(Some(Start::Chunked(ChunkedLayer::new(
            header,
            Salt(*salt),
            Commitment(*commitment),
            (PREAMBLE_LEN + header_len + PREFIX_LEN) as u64,
            rest.to_vec(),
            self.aead,
        )?)))
    }
}

/// What a blob begins as.
pub enum Start {
    /// A layer of the default format, with everything before its first chunk.
    Chunked(ChunkedLayer),
    /// Anything else, which is ocicrypt's format or none: all octets read so far.
    CtrHmac(Vec<u8>),
}

impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chunked(layer) => f.debug_tuple("Chunked").field(layer).finish(),
            Self::CtrHmac(octets) => write!(f, "CtrHmac({} octets)", octets.len()),
        }
    }
}
