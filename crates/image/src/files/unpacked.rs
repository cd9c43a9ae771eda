//! A packed layer as one stream: what is not needed has to be unpacked all the same.

use std::io::{self, Read};

use flate2::bufread::MultiGzDecoder;
use sealift_files::tar::Tape;
use sealift_files::zstd_chunked::MAX_WINDOW_LOG;
use sealift_oci::Compression;

use crate::error::ImageError;
use crate::files::plain::PlainLayer;
use crate::files::reader::PlainReader;

/// Begins to unpack a layer from its start. Memory is bounded by the window of the compression.
pub(crate) fn unpack<'p>(
    plain: &'p mut PlainLayer<'_>,
    compression: Compression,
) -> Result<Box<dyn Tape + 'p>, ImageError> {
    let range = 0..plain.len();
    let reader = PlainReader::of(plain, range);
    let failed = |error| ImageError::from_io("start unpacking", error);
    Ok(match compression {
        Compression::None => Box::new(reader),
        Compression::Gzip => Box::new(Stream(MultiGzDecoder::new(reader))),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(reader).map_err(failed)?;
            decoder.window_log_max(MAX_WINDOW_LOG).map_err(failed)?;
            Box::new(Stream(decoder))
        }
    })
}

/// Something that can be skipped only by reading it.
struct Stream<R>(R);

impl<R: Read> Read for Stream<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl<R: Read> Tape for Stream<R> {
    fn skip(&mut self, octets: u64) -> io::Result<()> {
        match io::copy(&mut (&mut self.0).take(octets), &mut io::sink())? {
            skipped if skipped == octets => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
