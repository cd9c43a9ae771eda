//! A bounded number of buffers that are used again and again.

use std::sync::{Arc, Condvar, Mutex};

use sealift_sys::Buffer;

use crate::crew::{Lanes, lock, wait};

/// Length of the pieces that travel between threads: a whole number of 16 KiB chunks that fits the L2 cache.
pub(crate) const PIECE_LEN: usize = 256 * 1024;

/// Pieces in flight per layer and direction.
pub(crate) const RING: usize = 4;

/// The buffers of one direction of one layer.
pub(crate) struct Ring {
    state: Mutex<RingState>,
    changed: Condvar,
}

struct RingState {
    free: Vec<Buffer>,
    /// Buffers that have not been needed yet.
    unmade: usize,
    closed: bool,
}

impl Ring {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(RingState {
                free: Vec::with_capacity(RING),
                unmade: RING,
                closed: false,
            }),
            changed: Condvar::new(),
        })
    }

    /// Returns a buffer with whatever is in it, if one is free.
    pub(crate) fn try_take(&self) -> Option<Buffer> {
        lock(&self.state).take()
    }

    /// Waits for a buffer; none once the ring is closed.
    pub(crate) fn take(&self) -> Option<Buffer> {
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                return None;
            }
            if let Some(buffer) = state.take() {
                return Some(buffer);
            }
            state = wait(&self.changed, state);
        }
    }

    /// Returns an empty buffer, and works on the lanes until there is one. Not for a ring that is closed.
    pub(crate) fn next(&self, lanes: &Lanes<'_>) -> Buffer {
        let buffer = lanes.wait(|| self.try_take().map(Some), || self.take());
        buffer.unwrap_or_default().resized(0)
    }

    /// Sends away whoever waits.
    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_all();
    }
}

impl RingState {
    fn take(&mut self) -> Option<Buffer> {
        self.free.pop().or_else(|| {
            self.unmade = self.unmade.checked_sub(1)?;
            Some(Buffer::default())
        })
    }
}

/// A full buffer, shared by whoever looks at it; the last one to let go sends it home.
pub(crate) struct Piece {
    octets: Buffer,
    ring: Arc<Ring>,
}

impl Piece {
    pub(crate) fn new(octets: Buffer, ring: &Arc<Ring>) -> Arc<Self> {
        Arc::new(Self {
            octets,
            ring: Arc::clone(ring),
        })
    }

    pub(crate) fn octets(&self) -> &[u8] {
        &self.octets
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let octets = std::mem::take(&mut self.octets);
        lock(&self.ring.state).free.push(octets);
        self.ring.changed.notify_one();
    }
}
