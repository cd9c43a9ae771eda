//! Reading a layer: on a thread that only reads, or on that of the layer's owner, who takes the pieces in order.

use std::cell::RefCell;
use std::io::Read;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;

use sealift_registry::BlobCheck;
use sealift_sys::Buffer;

use crate::crew::{Lane, Lanes};
use crate::error::{ImageError, Kind};
use crate::ring::{PIECE_LEN, Piece, RING, Ring};

/// Reads everything on a thread of its own and hands it to `consume`, in order, piece by piece.
///
/// For readers that check what they read; see [`pump_checked`].
pub(crate) fn pump(
    reader: &mut (impl Read + Send),
    mut consume: impl FnMut(&[u8]) -> Result<(), ImageError>,
) -> Result<(), ImageError> {
    let lanes = Lanes::alone();
    let digest = SourceDigest::new(&lanes, None);
    pump_checked(&lanes, Reading::Ahead, reader, &digest, |piece| {
        consume(piece.octets())
    })
}

/// Who reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reading {
    /// A thread that does nothing else, ahead of the owner.
    Ahead,
    /// The owner.
    Here,
}

/// Reads everything and hands it to `consume`, in order, piece by piece; `digest` is fed on a lane and has been compared
/// when this returns `Ok`, unless it was waived.
///
/// Memory is bounded by [`RING`] pieces of [`PIECE_LEN`] octets, whatever the length of the input.
///
/// What `consume` finds wrong is read to its end all the same: if it is not what was asked for, that is the error, because
/// then the fault is not the image's but its way's, and it may be had elsewhere.
pub(crate) fn pump_checked(
    lanes: &Lanes<'_>,
    reading: Reading,
    reader: &mut (impl Read + Send),
    digest: &SourceDigest<'_>,
    consume: impl FnMut(&Arc<Piece>) -> Result<(), ImageError>,
) -> Result<(), ImageError> {
    let ring = Ring::of(lanes);
    if reading == Reading::Here {
        let feed = Feed::Here {
            reader,
            ended: false,
        };
        return Pieces::new(feed, ring, lanes, digest).drive(consume);
    }
    // The consumer's ends belong to the closure: whichever way it is left, they close and the reader wakes up.
    thread::scope(move |scope| {
        let (filled_in, filled_out) = mpsc::sync_channel(RING);
        let home = Arc::clone(&ring);
        scope.spawn(move || {
            while let Some(buffer) = home.take() {
                let (piece, last) = read_piece(reader, buffer, &home);
                if filled_in.send(piece).is_err() || last {
                    return;
                }
            }
        });
        Pieces::new(Feed::Ahead(filled_out), ring, lanes, digest).drive(consume)
    })
}

/// Reads everything on this thread and hands it to `take`, in order, piece by piece. Holds one piece.
pub(crate) fn pass(
    reader: &mut impl Read,
    mut take: impl FnMut(&[u8]) -> Result<(), ImageError>,
) -> Result<(), ImageError> {
    let mut piece = Buffer::zeroed(PIECE_LEN);
    loop {
        match reader.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(read) => take(piece.get(..read).unwrap_or_default())?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ImageError::from_read(error)),
        }
    }
}

/// Full buffers as they come.
struct Pieces<'p, 'l> {
    feed: Feed<'p>,
    ring: Arc<Ring>,
    lanes: &'p Lanes<'p>,
    digest: &'p SourceDigest<'l>,
}

/// Where full buffers come from.
enum Feed<'p> {
    Ahead(Receiver<std::io::Result<Arc<Piece>>>),
    Here {
        reader: &'p mut dyn Read,
        ended: bool,
    },
}

impl<'p, 'l> Pieces<'p, 'l> {
    fn new(
        feed: Feed<'p>,
        ring: Arc<Ring>,
        lanes: &'p Lanes<'p>,
        digest: &'p SourceDigest<'l>,
    ) -> Self {
        Self {
            feed,
            ring,
            lanes,
            digest,
        }
    }

    /// Hands every piece to `consume`.
    fn drive(
        mut self,
        mut consume: impl FnMut(&Arc<Piece>) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        while let Some(piece) = self.next() {
            let piece = piece.map_err(ImageError::from_read)?;
            match consume(&piece) {
                Ok(()) => {}
                Err(error) if error.kind() == Kind::Integrity => {
                    drop(piece);
                    return Err(self.verdict().unwrap_or(error));
                }
                other => return other,
            }
        }
        self.digest.compare()
    }

    /// Reads on to the end, where it shows whether this is what was asked for; returns the error if it is not.
    fn verdict(mut self) -> Option<ImageError> {
        let read = self.try_for_each(|piece| piece.map(drop).map_err(ImageError::from_read));
        let outcome = read.and_then(|()| self.digest.compare());
        outcome
            .err()
            .filter(|error| error.kind() == Kind::Integrity)
    }
}

impl Iterator for Pieces<'_, '_> {
    type Item = std::io::Result<Arc<Piece>>;

    fn next(&mut self) -> Option<Self::Item> {
        let piece = match &mut self.feed {
            Feed::Ahead(filled) => self.lanes.wait(
                || match filled.try_recv() {
                    Ok(piece) => Some(Some(piece)),
                    Err(TryRecvError::Empty) => None,
                    Err(TryRecvError::Disconnected) => Some(None),
                },
                || filled.recv().ok(),
            )?,
            Feed::Here { ended: true, .. } => return None,
            Feed::Here { reader, ended } => {
                let buffer = self.ring.next(self.lanes);
                let (piece, last) = read_piece(reader, buffer, &self.ring);
                *ended = last;
                piece
            }
        };
        if let Ok(piece) = &piece {
            self.digest.feed(piece);
        }
        Some(piece)
    }
}

impl Drop for Pieces<'_, '_> {
    fn drop(&mut self) {
        self.ring.close();
    }
}

/// The digest of what is read, where it is to be compared.
pub(crate) struct SourceDigest<'l> {
    lane: RefCell<Option<Lane<'l, BlobCheck>>>,
}

impl<'l> SourceDigest<'l> {
    pub(crate) fn new(lanes: &'l Lanes<'l>, check: Option<BlobCheck>) -> Self {
        Self {
            lane: RefCell::new(check.map(|check| lanes.begin(check))),
        }
    }

    fn feed(&self, piece: &Arc<Piece>) {
        if let Some(lane) = &*self.lane.borrow() {
            lane.push(piece);
        }
    }

    /// Leaves it out from now on: what is made of the octets proves them in another way.
    pub(crate) fn waive(&self) {
        self.lane.take();
    }

    fn compare(&self) -> Result<(), ImageError> {
        match self.lane.take() {
            Some(lane) => Ok(lane.finish()?.finish()?),
            None => Ok(()),
        }
    }
}

/// Reads the next piece; returns also whether it is the last.
fn read_piece(
    reader: &mut (impl Read + ?Sized),
    buffer: Buffer,
    ring: &Arc<Ring>,
) -> (std::io::Result<Arc<Piece>>, bool) {
    let mut buffer = buffer.resized(PIECE_LEN);
    let read = fill(reader, &mut buffer);
    let last = !matches!(&read, Ok(read) if *read == PIECE_LEN);
    let piece = read.map(|read| {
        buffer.truncate(read);
        Piece::new(buffer, ring)
    });
    (piece, last)
}

/// Reads until the buffer is full or the input ends.
fn fill(reader: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests;
