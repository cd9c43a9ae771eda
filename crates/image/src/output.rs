use std::sync::Arc;

use sealift_oci::{Algorithm, Digest, Hasher};
use sealift_sys::Buffer;

use crate::crew::{Lane, Lanes};
use crate::error::ImageError;
use crate::ring::{Piece, Ring};

/// What is made of a layer, piece by piece: counted, and hashed on a lane while somebody takes it.
pub(crate) struct Output<'l> {
    /// The next piece in the making.
    pub(crate) buffer: Buffer,
    ring: Arc<Ring>,
    digest: Lane<'l, Hasher>,
    size: u64,
    lanes: &'l Lanes<'l>,
}

impl<'l> Output<'l> {
    /// Starts with no octets, to be hashed with SHA-256.
    pub(crate) fn new(lanes: &'l Lanes<'l>) -> Self {
        let ring = Ring::of(lanes);
        Self {
            buffer: ring.next(lanes),
            ring,
            digest: lanes.begin(Hasher::new(Algorithm::Sha256)),
            size: 0,
            lanes,
        }
    }

    /// Chooses the algorithm of the digest, before the first piece.
    pub(crate) fn hash_with(&mut self, algorithm: Algorithm) {
        self.digest = self.lanes.begin(Hasher::new(algorithm));
    }

    /// Gives what is in the buffer to `take`, and replaces it by an empty buffer.
    pub(crate) fn flush(
        &mut self,
        take: impl FnOnce(&Arc<Piece>) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = Piece::new(std::mem::take(&mut self.buffer), &self.ring);
        self.digest.push(&piece);
        self.size += piece.octets().len() as u64;
        take(&piece)?;
        drop(piece);
        self.buffer = self.ring.next(self.lanes);
        Ok(())
    }

    /// Returns the digest in the making of every piece so far.
    pub(crate) fn hashed(&mut self) -> Result<Hasher, ImageError> {
        let unused = self.lanes.begin(Hasher::new(Algorithm::Sha256));
        let hasher = std::mem::replace(&mut self.digest, unused).finish()?;
        self.digest = self.lanes.begin(hasher.clone());
        Ok(hasher)
    }

    /// Returns digest and size of every piece.
    pub(crate) fn finish(self) -> Result<(Digest, u64), ImageError> {
        // Nothing is in the making any more; its buffer goes home.
        drop(Piece::new(self.buffer, &self.ring));
        Ok((self.digest.finish()?.finish(), self.size))
    }
}
