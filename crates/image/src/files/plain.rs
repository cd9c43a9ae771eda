//! The authentic octets of a plain layer, anywhere in it.

use std::ops::Range;

use sealift_keywrap::WrapContext;
use sealift_layer::chunked::AuthenticatedExtent;
use sealift_layer::{
    Checked, ChunkedLayer, Cipher as CipherName, Claims, CtrHmacLayer, Intake, OpenError,
    PublicOptions, Start, Unchecked,
};
use sealift_oci::{Descriptor, Digest, MediaType};
use sealift_registry::Source;

use crate::error::ImageError;
use crate::files::WholeReason;
use crate::files::blob::Blob;
use crate::opening::{Identities, claims_of, refused};
use crate::progress::Progress;
use crate::ring::PIECE_LEN;

/// A layer, opened for reading at any place.
pub(crate) struct PlainLayer<'a> {
    blob: Blob<'a>,
    cipher: Cipher,
    media_type: MediaType,
    len: u64,
    /// The last octets of the plain layer, which are read in any case.
    tail: Vec<u8>,
}

enum Cipher {
    /// None: octets are authentic if all of the blob was read, or if a table of contents says so.
    Clear,
    Chunked(Box<AuthenticatedExtent>),
    CtrHmac(Box<Checked>),
}

impl<'a> PlainLayer<'a> {
    /// Finds the key of a sealed layer. Of one in clear nothing is read yet.
    pub(crate) fn open(
        index: usize,
        layer: &Descriptor,
        source: &'a dyn Source,
        identities: Identities<'a>,
        progress: &'a dyn Progress,
    ) -> Result<Self, ImageError> {
        let mut blob = Blob::new(index, layer, source, progress);
        if !layer.media_type().is_sealed() {
            return Ok(Self {
                blob,
                cipher: Cipher::Clear,
                media_type: layer.media_type().clone(),
                len: layer.size(),
                tail: Vec::new(),
            });
        }
        let digest = layer.digest();
        let claims = claims_of(layer)?;
        let subject = digest.to_string();
        let key = Key {
            digest,
            claims: &claims,
            identities,
            context: WrapContext {
                subject: Some(&subject),
                ..WrapContext::default()
            },
        };
        let is_ctr = claims.public.as_ref().map(PublicOptions::cipher) == Some(CipherName::CtrHmac);
        if is_ctr {
            // Nothing of it is authentic before all of it was read.
            blob.keep(WholeReason::TagAtEnd)?;
        }
        let (cipher, len, tail) = match key.beginning(&mut blob)? {
            Begun::Chunked(layer, first) => key.chunked(&mut blob, &layer, &first)?,
            Begun::CtrHmac(first) => {
                blob.keep(WholeReason::TagAtEnd)?;
                let checked = key.ctr_hmac(&mut blob, &first)?;
                let len = checked.len();
                (Cipher::CtrHmac(Box::new(checked)), len, Vec::new())
            }
        };
        Ok(Self {
            blob,
            cipher,
            media_type: claims.plain_type.clone(),
            len,
            tail,
        })
    }

    pub(crate) fn descriptor(&self) -> &Descriptor {
        self.blob.descriptor()
    }

    /// Returns the type of the plain layer.
    pub(crate) fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// Returns the length of the plain layer.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn fetched(&self) -> u64 {
        self.blob.fetched()
    }

    pub(crate) fn whole(&self) -> Option<WholeReason> {
        self.blob.whole()
    }

    /// Returns whether what is read is authentic because it was sealed.
    pub(crate) fn is_sealed(&self) -> bool {
        !matches!(self.cipher, Cipher::Clear)
    }

    /// Makes whatever is read from now on authentic: of a layer in clear, by its digest.
    pub(crate) fn authenticate(&mut self) -> Result<(), ImageError> {
        match self.cipher {
            Cipher::Clear => self.blob.verify(WholeReason::Clear),
            Cipher::Chunked(_) | Cipher::CtrHmac(_) => Ok(()),
        }
    }

    /// Has all of the layer here, which is going to be read from its start to its end, perhaps twice.
    pub(crate) fn keep_for_stream(&mut self) -> Result<(), ImageError> {
        match self.cipher {
            Cipher::Clear => self.blob.verify(WholeReason::NoTable),
            Cipher::Chunked(_) if self.blob.is_local() => {
                self.blob.tell_whole(WholeReason::NoTable);
                Ok(())
            }
            Cipher::Chunked(_) => self.blob.keep(WholeReason::NoTable),
            Cipher::CtrHmac(_) => Ok(()),
        }
    }

    /// Reads the octets of a range; what lies behind the end is left out.
    ///
    /// Of a sealed layer they are authentic, of one in clear only after [`authenticate`](Self::authenticate).
    pub(crate) fn read(&mut self, range: Range<u64>) -> Result<Vec<u8>, ImageError> {
        let end = range.end.min(self.len);
        let start = range.start.min(end);
        let tail_at = self.len - self.tail.len() as u64;
        if start >= tail_at
            && let Ok(skip) = usize::try_from(start - tail_at)
            && let Ok(len) = usize::try_from(end - start)
            && let Some(octets) = self.tail.get(skip..).and_then(|tail| tail.get(..len))
        {
            return Ok(octets.to_vec());
        }
        let digest = self.blob.descriptor().digest().clone();
        let refused = |source| refused(&digest, source);
        let mut plain = Vec::new();
        match &self.cipher {
            Cipher::Clear => return Ok(self.blob.part(start..end)?.into()),
            Cipher::Chunked(extent) => {
                let chunks = extent.extent().chunks(start..end);
                let sealed = self.blob.part(chunks.sealed.clone())?;
                extent.open(&chunks, &sealed, &mut plain).map_err(refused)?;
            }
            Cipher::CtrHmac(checked) => {
                let sealed = self.blob.part(start..end)?;
                let mut decryptor = checked.decrypt_from(start).map_err(refused)?;
                decryptor.update(&sealed, &mut plain).map_err(refused)?;
            }
        }
        Ok(plain)
    }
}

/// What is needed to find the key of a layer.
struct Key<'k> {
    digest: &'k Digest,
    claims: &'k Claims,
    identities: Identities<'k>,
    context: WrapContext<'k>,
}

enum Begun {
    Chunked(Box<ChunkedLayer>, Vec<u8>),
    CtrHmac(Vec<u8>),
}

impl Key<'_> {
    fn refused(&self, source: OpenError) -> ImageError {
        refused(self.digest, source)
    }

    /// Reads as much from the start as tells what the blob is. Returns that too.
    fn beginning(&self, blob: &mut Blob<'_>) -> Result<Begun, ImageError> {
        let size = blob.descriptor().size();
        let mut intake = Intake::default();
        let mut first = Vec::new();
        let mut ahead = FIRST_READ;
        let start = loop {
            let at = first.len() as u64;
            if at == size {
                break intake.finish().map_err(|error| self.refused(error))?;
            }
            let piece = blob.part(at..size.min(at + ahead))?;
            first.extend_from_slice(&piece);
            if let Some(start) = intake.update(&piece).map_err(|error| self.refused(error))? {
                break start;
            }
            ahead *= 4;
        };
        Ok(match start {
            Start::Chunked(layer) => Begun::Chunked(Box::new(layer), first),
            Start::CtrHmac(_) => Begun::CtrHmac(first),
        })
    }

    /// Unlocks a layer of the default format by its last chunk, which makes its length authentic.
    fn chunked(
        &self,
        blob: &mut Blob<'_>,
        layer: &ChunkedLayer,
        first: &[u8],
    ) -> Result<(Cipher, u64, Vec<u8>), ImageError> {
        let size = blob.descriptor().size();
        let extent = layer.extent(size).map_err(|error| self.refused(error))?;
        let len = extent.plain_len();
        // Tables of contents are found by what stands at the very end, perhaps on both sides of a chunk's border.
        let chunks = extent.chunks(len.saturating_sub(TAIL)..len);
        let last = extent.last_chunk();
        let from = chunks.sealed.start.min(last.start);
        let sealed = match slice(first, from..size) {
            Some(sealed) => sealed.to_vec(),
            None => blob.part(from..size)?.into(),
        };
        let last_chunk = slice(&sealed, last.start - from..size - from).unwrap_or_default();
        let opened = layer
            .unlock_ranges(
                self.claims,
                self.identities,
                &self.context,
                extent,
                last_chunk,
            )
            .map_err(|error| self.refused(error))?;
        // All of these chunks, not only what was asked for.
        let chunks = opened.extent().chunks(chunks.first * CHUNK..len);
        let sealed_tail = chunks.sealed.start - from..chunks.sealed.end - from;
        let mut tail = Vec::new();
        opened
            .open(
                &chunks,
                slice(&sealed, sealed_tail).unwrap_or_default(),
                &mut tail,
            )
            .map_err(|error| self.refused(error))?;
        Ok((Cipher::Chunked(Box::new(opened)), len, tail))
    }

    /// Compares the tag of a layer of ocicrypt's format, all of which is kept; tries other keys where it is another.
    fn ctr_hmac(&self, blob: &mut Blob<'_>, first: &[u8]) -> Result<Checked, ImageError> {
        let mut layer =
            CtrHmacLayer::new(self.claims, first).map_err(|error| self.refused(error))?;
        loop {
            let unchecked = layer
                .unlock(self.identities, &self.context)
                .map_err(|error| self.refused(error))?;
            if let Ok(checked) = tagged(blob, unchecked)?.finish() {
                return Ok(checked);
            }
        }
    }
}

/// Takes all of a blob into a tag.
fn tagged(blob: &mut Blob<'_>, mut unchecked: Unchecked) -> Result<Unchecked, ImageError> {
    let size = blob.descriptor().size();
    let mut at = 0;
    while at < size {
        let end = size.min(at + PIECE_LEN as u64);
        unchecked.update(&blob.part(at..end)?);
        at = end;
    }
    Ok(unchecked)
}

fn slice(octets: &[u8], range: Range<u64>) -> Option<&[u8]> {
    octets.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
}

/// Octets that are read first: most headers fit.
const FIRST_READ: u64 = 8 * 1024;
/// Plain octets at the end that are read together with the last chunk: the longest footer.
const TAIL: u64 = sealift_files::zstd_chunked::FOOTER_LEN;
const CHUNK: u64 = sealift_layer::chunked::CHUNK_LEN as u64;
