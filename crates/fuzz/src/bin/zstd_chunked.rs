//! The end of a zstd:chunked blob, footer and table, and the annotation that says where the table is.
// libfuzzer: -max_len=4096
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_files::zstd_chunked::{FOOTER_LEN, Position, toc};

fuzz_target!(|blob: &[u8]| {
    if let Some(position) = std::str::from_utf8(blob).ok().and_then(Position::of_annotation) {
        assert!(position.packed.start < position.packed.end);
    }
    let tail = &blob[blob.len().saturating_sub(FOOTER_LEN as usize)..];
    let Some(position) = Position::of_footer(tail) else {
        return;
    };
    assert!(position.packed.start < position.packed.end);
    let (Ok(start), Ok(end)) = (
        usize::try_from(position.packed.start),
        usize::try_from(position.packed.end),
    ) else {
        return;
    };
    if let Some(packed) = blob.get(start..end) {
        let _ = toc(&position, packed, None);
    }
});
