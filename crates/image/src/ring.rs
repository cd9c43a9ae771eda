//! A bounded number of buffers that are used again and again.

use std::sync::{Arc, Condvar, Mutex};

use sealift_sys::Buffer;

use crate::crew::{Lanes, lock, wait};

/// Length of the pieces that travel between threads: a whole number of 16 KiB chunks that fits the L2 cache.
pub(crate) const PIECE_LEN: usize = 256 * 1024;

/// By how much a piece grows when it is sealed (tags, and a header in front of the first) or opened (two chunks that were waiting): with
/// room for that no buffer doubles, and all are alike.
const GROWTH: usize = 48 * 1024;

/// Pieces in flight per layer and direction.
pub(crate) const RING: usize = 4;

/// Buffers that layers are done with, for those that come after. Without it, many small layers wear holes into the heap.
#[derive(Default)]
pub(crate) struct Spares(Mutex<Vec<Buffer>>);

/// The buffers of one direction of one layer.
pub(crate) struct Ring {
    spares: Option<Arc<Spares>>,
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
    /// Begins with what earlier layers left, and leaves its buffers to later ones.
    pub(crate) fn of(lanes: &Lanes<'_>) -> Arc<Self> {
        Self::with(lanes.spares())
    }

    #[cfg(test)]
    pub(crate) fn new() -> Arc<Self> {
        Self::with(None)
    }

    fn with(spares: Option<Arc<Spares>>) -> Arc<Self> {
        Arc::new(Self {
            spares,
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
        lock(&self.state).take(self.spares.as_deref())
    }

    /// Waits for a buffer; none once the ring is closed.
    pub(crate) fn take(&self) -> Option<Buffer> {
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                return None;
            }
            if let Some(buffer) = state.take(self.spares.as_deref()) {
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
    fn take(&mut self, spares: Option<&Spares>) -> Option<Buffer> {
        self.free.pop().or_else(|| {
            self.unmade = self.unmade.checked_sub(1)?;
            let spare = spares.and_then(|spares| lock(&spares.0).pop());
            Some(spare.unwrap_or_else(|| Buffer::zeroed(PIECE_LEN + GROWTH)))
        })
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if let Some(spares) = &self.spares {
            lock(&spares.0).append(&mut lock(&self.state).free);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crew::Crew;

    #[test]
    fn a_layer_gets_the_buffers_of_those_before_it() {
        let crew = Crew::new(1, 1);
        let place = {
            let lanes = Lanes::of(&crew);
            let ring = Ring::of(&lanes);
            let buffer = ring.next(&lanes).resized(PIECE_LEN);
            let place = buffer.as_ptr();
            let piece = Piece::new(buffer, &ring);
            drop(ring);
            drop(piece);
            place
        };
        let lanes = Lanes::of(&crew);
        let ring = Ring::of(&lanes);
        let again = ring.next(&lanes).resized(PIECE_LEN);
        assert_eq!(again.as_ptr(), place);
        let other = ring.next(&lanes).resized(PIECE_LEN);
        assert_ne!(other.as_ptr(), place);
    }
}
