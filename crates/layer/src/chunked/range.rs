use std::ops::Range;

use super::{CHUNK_LEN, MAX_CHUNKS, MessageKey, SEALED_CHUNK_LEN, TAG_LEN};
use crate::error::OpenError;

/// Where the chunks of a message lie in its blob, as far as the blob's length tells.
///
/// A length is a claim until the last chunk has been opened: [`AuthenticatedExtent`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Extent {
    first_chunk: u64,
    last_index: u64,
    last_len: u64,
}

impl Extent {
    /// Computes the chunks of a blob of `blob_len` octets whose first chunk begins at `first_chunk`.
    ///
    /// # Errors
    /// [`OpenError::Truncated`] for lengths that no message has, [`OpenError::TooLong`] beyond [`MAX_CHUNKS`].
    pub fn new(first_chunk: u64, blob_len: u64) -> Result<Self, OpenError> {
        let chunks_len = blob_len
            .checked_sub(first_chunk)
            .ok_or(OpenError::Truncated { after: None })?;
        let last_index = chunks_len / SEALED;
        let last_len = chunks_len % SEALED;
        if last_index >= MAX_CHUNKS {
            return Err(OpenError::TooLong);
        }
        if last_len < TAG {
            return Err(OpenError::Truncated {
                after: last_index.checked_sub(1),
            });
        }
        Ok(Self {
            first_chunk,
            last_index,
            last_len,
        })
    }

    /// Returns the plaintext's length, if the blob's length is true.
    pub fn plain_len(&self) -> u64 {
        self.last_index * CHUNK + self.last_len - TAG
    }

    /// Returns where the last chunk lies in the blob.
    pub fn last_chunk(&self) -> Range<u64> {
        let start = self.first_chunk + self.last_index * SEALED;
        start..start + self.last_len
    }

    /// Returns which whole chunks must be fetched to read `plain`, cut to the plaintext's end.
    pub fn chunks(&self, plain: Range<u64>) -> ChunkRange {
        let end = plain.end.min(self.plain_len());
        let start = plain.start.min(end);
        let first = (start / CHUNK).min(self.last_index);
        // An empty range needs no chunk at all.
        let after = if start == end {
            first
        } else {
            (end - 1) / CHUNK + 1
        };
        let sealed_end = if after > self.last_index && start != end {
            self.last_chunk().end
        } else {
            self.first_chunk + after * SEALED
        };
        ChunkRange {
            first,
            sealed: self.first_chunk + first * SEALED..sealed_end,
            plain: start..end,
        }
    }

    pub(crate) fn authenticate(
        self,
        key: MessageKey,
        last_chunk: &[u8],
    ) -> Result<AuthenticatedExtent, OpenError> {
        if last_chunk.len() as u64 != self.last_len {
            return Err(OpenError::Authentication);
        }
        let mut plain = Vec::new();
        key.open_chunk(self.last_index, last_chunk, &mut plain)
            .map_err(|_| OpenError::Authentication)?;
        Ok(AuthenticatedExtent { extent: self, key })
    }
}

/// Which octets of the blob hold a range of the plaintext.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChunkRange {
    /// Index of the first chunk.
    pub first: u64,
    /// The chunks' octets in the blob.
    pub sealed: Range<u64>,
    /// The plaintext asked for, after cutting to the plaintext's end.
    pub plain: Range<u64>,
}

/// A message whose length has been authenticated by opening its last chunk; the only thing that opens ranges.
///
/// Whoever else holds the layer key could have made single chunks: range reads do not compare the digest of the whole.
#[derive(Debug)]
pub struct AuthenticatedExtent {
    extent: Extent,
    key: MessageKey,
}

impl AuthenticatedExtent {
    /// Returns the extent, now true.
    pub fn extent(&self) -> &Extent {
        &self.extent
    }

    /// Appends the plaintext of `range` to `out`; `sealed` are the octets [`ChunkRange::sealed`] names.
    ///
    /// # Errors
    /// [`OpenError::Authentication`] when a chunk was altered or `sealed` has another length; `out` stays as it was.
    pub fn open(
        &self,
        range: &ChunkRange,
        sealed: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), OpenError> {
        let before = out.len();
        self.open_chunks(range, sealed, out).map_err(|()| {
            out.truncate(before);
            OpenError::Authentication
        })
    }

    fn open_chunks(&self, range: &ChunkRange, sealed: &[u8], out: &mut Vec<u8>) -> Result<(), ()> {
        if self.extent.chunks(range.plain.clone()) != *range
            || sealed.len() as u64 != range.sealed.end - range.sealed.start
        {
            return Err(());
        }
        let before = out.len();
        for (index, chunk) in (range.first..).zip(sealed.chunks(SEALED_CHUNK_LEN)) {
            self.key.open_chunk(index, chunk, out).map_err(|_| ())?;
        }
        let skip = usize::try_from(range.plain.start - range.first * CHUNK).map_err(|_| ())?;
        let wanted = usize::try_from(range.plain.end - range.plain.start).map_err(|_| ())?;
        if range.plain.is_empty() {
            return Ok(());
        }
        out.drain(before..before + skip);
        out.truncate(before + wanted);
        Ok(())
    }
}

const CHUNK: u64 = CHUNK_LEN as u64;
const SEALED: u64 = SEALED_CHUNK_LEN as u64;
const TAG: u64 = TAG_LEN as u64;
