//! The octets of one file.

use std::io::{self, Read};
use std::ops::Range;

use flate2::bufread::MultiGzDecoder;
use sealift_files::tar::Tape;
use sealift_files::{
    Chunk, Content, File, FilePath, ListError, Packed, Piece, estargz, zstd_chunked,
};
use sealift_oci::{Compression, Hasher};

use crate::error::ImageError;
use crate::files::listing::{Form, unlisted};
use crate::files::plain::PlainLayer;
use crate::files::reader::{MOST_AHEAD, PlainReader};
use crate::files::unpacked::unpack;
use crate::ring::PIECE_LEN;

/// Whoever gets the octets.
type Out<'o> = &'o mut dyn FnMut(&[u8]) -> Result<(), ImageError>;

/// Hands the octets of a file to `out`, in order, and only authentic ones.
pub(crate) fn read(
    plain: &mut PlainLayer<'_>,
    form: Form,
    path: &FilePath,
    file: &File,
    out: Out<'_>,
) -> Result<(), ImageError> {
    let all = |at| {
        [Piece {
            offset: 0,
            len: file.size,
            at,
        }]
    };
    match &file.content {
        Content::Tar(at) => pieces(plain, form, &all(*at), file.size, out),
        Content::Sparse(map) => pieces(plain, form, map, file.size, out),
        Content::Chunks(table) => chunks(plain, form, table, out),
        Content::Unsupported(form) => Err(ImageError::FileForm {
            path: path.clone(),
            form,
        }),
    }
}

/// Hands out pieces of the unpacked layer, and zeros between them.
fn pieces(
    plain: &mut PlainLayer<'_>,
    form: Form,
    map: &[Piece],
    size: u64,
    out: Out<'_>,
) -> Result<(), ImageError> {
    let (Some(first), Some(last)) = (map.first(), map.last()) else {
        return zeros(size, out);
    };
    let mut tape: Box<dyn Tape + '_> = match form {
        Form::Stream(compression) => unpack(plain, compression)?,
        Form::Tar | Form::Table(_) => {
            let range = first.at..last.at.saturating_add(last.len);
            Box::new(PlainReader::of(plain, range))
        }
    };
    let mut at = match form {
        Form::Stream(_) => 0,
        Form::Tar | Form::Table(_) => first.at,
    };
    let mut failed = None;
    let mut written = 0;
    for piece in map {
        zeros(piece.offset - written, out)?;
        let copied = tape
            .skip(piece.at - at)
            .map_err(Stopped::Read)
            .and_then(|()| copy(&mut *tape, piece.len, out));
        if let Err(stopped) = copied {
            failed = Some(stopped);
            break;
        }
        at = piece.at + piece.len;
        written = piece.offset + piece.len;
    }
    drop(tape);
    match failed {
        None => zeros(size - written, out),
        Some(Stopped::Out(error)) => Err(error),
        Some(Stopped::Read(error)) => Err(unlisted(plain, ListError::Read(error))),
    }
}

/// Why copying ended before its time.
enum Stopped {
    Read(io::Error),
    Out(ImageError),
}

fn copy(tape: &mut dyn Read, len: u64, out: Out<'_>) -> Result<(), Stopped> {
    let mut piece = vec![0; PIECE_LEN];
    let mut left = len;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_LEN);
        let octets = piece.get_mut(..most).unwrap_or_default();
        let read = match tape.read(octets) {
            Ok(0) => return Err(Stopped::Read(io::ErrorKind::UnexpectedEof.into())),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other.map_err(Stopped::Read)?,
        };
        out(octets.get(..read).unwrap_or_default()).map_err(Stopped::Out)?;
        left -= read as u64;
    }
    Ok(())
}

fn zeros(mut len: u64, out: Out<'_>) -> Result<(), ImageError> {
    let piece = vec![0; usize::try_from(len).unwrap_or(usize::MAX).min(PIECE_LEN)];
    while let Some(octets) = usize::try_from(len.min(PIECE_LEN as u64))
        .ok()
        .and_then(|most| piece.get(..most))
        .filter(|octets| !octets.is_empty())
    {
        out(octets)?;
        len -= octets.len() as u64;
    }
    Ok(())
}

/// Hands out chunks, each after its digest was compared. Those that lie beside each other are fetched together.
fn chunks(
    plain: &mut PlainLayer<'_>,
    form: Form,
    table: &[Chunk],
    out: Out<'_>,
) -> Result<(), ImageError> {
    let compression = match form {
        Form::Table(compression) | Form::Stream(compression) => compression,
        Form::Tar => Compression::None,
    };
    // Of a layer in clear only its digests are authentic.
    let is_known = |chunk: &Chunk| chunk.packed == Packed::Zeros || chunk.digest.is_some();
    if !table.iter().all(|chunk| is_known(chunk) && is_small(chunk)) {
        plain.authenticate()?;
    }
    let mut rest = table;
    while let Some(chunk) = rest.first() {
        let Packed::Octets { range, .. } = &chunk.packed else {
            zeros(chunk.len, out)?;
            rest = rest.get(1..).unwrap_or_default();
            continue;
        };
        if !is_small(chunk) {
            long_chunk(plain, compression, chunk, range, out)?;
            rest = rest.get(1..).unwrap_or_default();
            continue;
        }
        let (count, together) = together(rest, range);
        let octets = plain.read(together.clone())?;
        for chunk in rest.iter().take(count) {
            let Packed::Octets { range, .. } = &chunk.packed else {
                continue;
            };
            let packed = part_of(&octets, together.start, range);
            let unpacked = match compression {
                Compression::Zstd => zstd_chunked::unpack_chunk(chunk, packed),
                _ => estargz::unpack_chunk(chunk, packed),
            };
            out(&unpacked.map_err(|error| unlisted(plain, error))?)?;
        }
        rest = rest.get(count..).unwrap_or_default();
    }
    Ok(())
}

/// Returns how many chunks are fetched with the first of them, and where they all lie.
fn together(chunks: &[Chunk], first: &Range<u64>) -> (usize, Range<u64>) {
    let mut all = first.clone();
    let mut count = 1;
    for chunk in chunks.iter().skip(1).take_while(|chunk| is_small(chunk)) {
        match &chunk.packed {
            Packed::Octets { range, .. }
                if (all.start..=all.end).contains(&range.start)
                    && range.end.max(all.end) - all.start <= MOST_AHEAD =>
            {
                all.end = all.end.max(range.end);
                count += 1;
            }
            _ => break,
        }
    }
    (count, all)
}

fn part_of<'o>(octets: &'o [u8], at: u64, range: &Range<u64>) -> &'o [u8] {
    let index = |place: u64| usize::try_from(place.saturating_sub(at)).unwrap_or(usize::MAX);
    octets
        .get(index(range.start)..index(range.end))
        .unwrap_or_default()
}

/// Returns whether a chunk is held in memory until its digest was compared.
fn is_small(chunk: &Chunk) -> bool {
    let packed = match &chunk.packed {
        Packed::Octets { range, .. } => range.end - range.start,
        Packed::Zeros => 0,
    };
    chunk.len <= MAX_HELD && packed <= MAX_HELD
}

/// Hands out a chunk that is too long to be held; it is authentic already, and its digest shows only whether the table is
/// right.
fn long_chunk(
    plain: &mut PlainLayer<'_>,
    compression: Compression,
    chunk: &Chunk,
    range: &Range<u64>,
    out: Out<'_>,
) -> Result<(), ImageError> {
    let skip = match chunk.packed {
        Packed::Octets { skip, .. } => skip,
        Packed::Zeros => 0,
    };
    let mut hasher = chunk
        .digest
        .as_ref()
        .map(|digest| Hasher::new(digest.algorithm()));
    let reader = PlainReader::of(plain, range.clone());
    let mut unpacked: Box<dyn Read + '_> = match compression {
        Compression::Zstd => Box::new(
            zstd::stream::read::Decoder::with_buffer(reader)
                .map_err(|error| ImageError::from_io("start unpacking", error))?,
        ),
        _ => Box::new(MultiGzDecoder::new(reader)),
    };
    let skipped = io::copy(&mut (&mut unpacked).take(skip), &mut io::sink());
    let copied = skipped.map_err(Stopped::Read).and_then(|_| {
        copy(&mut *unpacked, chunk.len, &mut |octets| {
            if let Some(hasher) = &mut hasher {
                hasher.update(octets);
            }
            out(octets)
        })
    });
    drop(unpacked);
    match copied {
        Err(Stopped::Out(error)) => return Err(error),
        Err(Stopped::Read(error)) => return Err(unlisted(plain, ListError::Read(error))),
        Ok(()) => {}
    }
    match (&chunk.digest, hasher.map(Hasher::finish)) {
        (Some(expected), Some(actual)) if *expected != actual => Err(unlisted(
            plain,
            ListError::Toc {
                reason: "a piece has another digest than it says",
            },
        )),
        _ => Ok(()),
    }
}

/// Most octets of a chunk, packed and unpacked, that is held in memory.
const MAX_HELD: u64 = 16 * 1024 * 1024;
