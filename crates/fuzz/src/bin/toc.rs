//! Whatever a table of contents says, accepted pieces lie in the layer, follow each other, and are as long as their file.
// libfuzzer: -max_len=4096
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_files::{Content, Kind, LayerFiles, Packed, Toc};

const DATA_LEN: u64 = 100_000;

fuzz_target!(|json: &[u8]| {
    let Ok(toc) = Toc::parse(json, DATA_LEN) else {
        return;
    };
    let mut files = LayerFiles::default();
    for member in toc.members {
        assert!(member.path.names().all(|name| name != b".." && name != b"."));
        if let Kind::File(file) = &member.kind {
            let Content::Chunks(chunks) = &file.content else {
                panic!("{file:?}");
            };
            let mut end = 0;
            for chunk in chunks {
                assert_eq!(chunk.offset, end);
                end += chunk.len;
                if let Packed::Octets { range, .. } = &chunk.packed {
                    assert!(range.start < range.end && range.end <= DATA_LEN);
                }
            }
            assert_eq!(end, file.size);
        }
        let _ = files.add(member);
    }
});
