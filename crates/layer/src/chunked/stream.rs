use super::{CHUNK_LEN, ChunkError, MessageKey, SEALED_CHUNK_LEN, TAG_LEN};
use crate::room::Room;

/// Seals the chunks of one message from first to last.
#[derive(Debug)]
pub(crate) struct MessageSealer {
    key: MessageKey,
    next: u64,
    pending: Vec<u8>,
}

impl MessageSealer {
    /// Starts a message; salt and commitment are the caller's to write.
    pub(crate) fn new(key: MessageKey) -> Self {
        Self {
            key,
            next: 0,
            pending: Vec::with_capacity(CHUNK_LEN),
        }
    }

    /// Takes plaintext in pieces of any size and appends the chunks that are complete.
    pub(crate) fn update(
        &mut self,
        mut plain: &[u8],
        out: &mut impl Room,
    ) -> Result<(), ChunkError> {
        if !self.pending.is_empty() {
            plain = top_up(&mut self.pending, plain, CHUNK_LEN);
            if self.pending.len() < CHUNK_LEN {
                return Ok(());
            }
            self.key.seal_chunk(self.next, &self.pending, out)?;
            self.next += 1;
            self.pending.clear();
        }
        let chunks = plain.chunks_exact(CHUNK_LEN);
        self.pending.extend_from_slice(chunks.remainder());
        for chunk in chunks {
            self.key.seal_chunk(self.next, chunk, out)?;
            self.next += 1;
        }
        Ok(())
    }

    /// Appends the last chunk, which is always short.
    pub(crate) fn finish(self, out: &mut impl Room) -> Result<(), ChunkError> {
        self.key.seal_chunk(self.next, &self.pending, out)
    }
}

/// Opens the chunks of one message from first to last, each released only when its successor has authenticated.
///
/// A cut message therefore always ends short of its last whole chunk.
#[derive(Debug)]
pub(crate) struct MessageOpener {
    key: MessageKey,
    next: u64,
    pending: Vec<u8>,
    held: Vec<u8>,
    fault: Option<MessageFault>,
}

/// Why a message could not be opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum MessageFault {
    /// A chunk did not authenticate.
    Refused,
    /// The input ended at a length that no message has.
    Truncated {
        /// The last chunk that opened.
        after: Option<u64>,
    },
    /// More chunks than a message can have.
    TooLong,
}

impl From<ChunkError> for MessageFault {
    fn from(error: ChunkError) -> Self {
        match error {
            ChunkError::TooLong => Self::TooLong,
            ChunkError::Refused => Self::Refused,
        }
    }
}

impl MessageOpener {
    /// Starts at chunk 0; the commitment has been checked by the caller.
    pub(crate) fn new(key: MessageKey) -> Self {
        Self {
            key,
            next: 0,
            pending: Vec::with_capacity(SEALED_CHUNK_LEN),
            held: Vec::with_capacity(CHUNK_LEN),
            fault: None,
        }
    }

    /// Takes sealed octets in pieces of any size and appends what is released.
    ///
    /// After an error every further call fails in the same way and nothing more is released.
    pub(crate) fn update(
        &mut self,
        sealed: &[u8],
        out: &mut impl Room,
    ) -> Result<(), MessageFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let released = out.octets().len();
        let mut fresh = 0;
        let taken = self.take(sealed, out, &mut fresh);
        // What was opened last has no successor yet: it goes back into hiding, or is dropped after an error.
        let visible = out.octets().len().saturating_sub(fresh).max(released);
        if taken.is_ok() && fresh > 0 {
            self.held.clear();
            self.held
                .extend_from_slice(out.octets().split_at(visible).1);
        }
        out.truncate(visible);
        if let Err(fault) = taken {
            self.fault = Some(fault);
            self.held.clear();
        }
        taken
    }

    /// Appends what was held back and the last chunk, which must be short.
    pub(crate) fn finish(self, out: &mut impl Room) -> Result<(), MessageFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if self.pending.len() < TAG_LEN {
            return Err(MessageFault::Truncated {
                after: self.next.checked_sub(1),
            });
        }
        let before = out.octets().len();
        out.append(&self.held);
        self.key
            .open_chunk(self.next, &self.pending, out)
            .map_err(|error| {
                out.truncate(before);
                error.into()
            })
    }

    fn take(
        &mut self,
        mut sealed: &[u8],
        out: &mut impl Room,
        fresh: &mut usize,
    ) -> Result<(), MessageFault> {
        if !self.pending.is_empty() {
            sealed = top_up(&mut self.pending, sealed, SEALED_CHUNK_LEN);
            if self.pending.len() < SEALED_CHUNK_LEN {
                return Ok(());
            }
            let chunk = std::mem::take(&mut self.pending);
            self.open(&chunk, out, fresh)?;
            self.pending = chunk;
            self.pending.clear();
        }
        let chunks = sealed.chunks_exact(SEALED_CHUNK_LEN);
        self.pending.extend_from_slice(chunks.remainder());
        for chunk in chunks {
            self.open(chunk, out, fresh)?;
        }
        Ok(())
    }

    /// Opens one whole chunk behind the one that waits for it; `fresh` octets at the end of `out` now wait themselves.
    fn open(
        &mut self,
        sealed: &[u8],
        out: &mut impl Room,
        fresh: &mut usize,
    ) -> Result<(), MessageFault> {
        let held_len = self.held.len();
        let (held, plain) = out.lengthen(held_len + CHUNK_LEN).split_at_mut(held_len);
        let opened = self.key.open_chunk_into(self.next, sealed, plain);
        if opened.is_err() {
            let before = out.octets().len() - held_len - CHUNK_LEN;
            out.truncate(before);
            return opened.map_err(Into::into);
        }
        held.copy_from_slice(&self.held);
        self.held.clear();
        *fresh = CHUNK_LEN;
        self.next += 1;
        Ok(())
    }
}

/// Moves octets from the front of `input` to `buffer` until that holds `full`; returns the rest.
fn top_up<'a>(buffer: &mut Vec<u8>, input: &'a [u8], full: usize) -> &'a [u8] {
    let missing = full.saturating_sub(buffer.len()).min(input.len());
    let (taken, rest) = input.split_at(missing);
    buffer.extend_from_slice(taken);
    rest
}
