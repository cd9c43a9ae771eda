//! The end of an eStargz blob, footer and table, whatever it is.
// libfuzzer: -max_len=4096
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_files::estargz::{FOOTER_LEN, toc, toc_offset};
use sealift_files::{Content, Kind, Packed};

fuzz_target!(|blob: &[u8]| {
    let tail = &blob[blob.len().saturating_sub(FOOTER_LEN as usize)..];
    let Some(offset) = toc_offset(tail) else {
        return;
    };
    let Some(packed) = usize::try_from(offset).ok().and_then(|at| blob.get(at..)) else {
        return;
    };
    let Ok(toc) = toc(packed, offset, None) else {
        return;
    };
    for member in toc.members {
        let Kind::File(file) = member.kind else {
            continue;
        };
        if let Content::Chunks(chunks) = file.content {
            for chunk in chunks.iter().filter(|chunk| chunk.len <= 1 << 16) {
                if let Packed::Octets { range, .. } = &chunk.packed {
                    let packed = &blob[range.start as usize..range.end as usize];
                    if let Ok(octets) = sealift_files::estargz::unpack_chunk(chunk, packed) {
                        assert_eq!(octets.len() as u64, chunk.len);
                    }
                }
            }
        }
    }
});
