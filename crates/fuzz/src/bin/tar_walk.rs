//! Whatever a tar is, contents that are found lie in it, and what is found shows together only what lies below the root.
// libfuzzer: -max_len=16384
#![no_main]

use std::convert::Infallible;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use sealift_files::{Content, Follow, Kind, LayerFiles, Layers, Merged, tar};

struct Stack(Vec<Arc<LayerFiles>>);

impl Layers for Stack {
    type Error = Infallible;

    fn count(&self) -> usize {
        self.0.len()
    }

    fn files(&mut self, index: usize) -> Result<Arc<LayerFiles>, Infallible> {
        Ok(Arc::clone(&self.0[index]))
    }
}

fuzz_target!(|octets: &[u8]| {
    // Two layers of one input: the same files, cut at some block.
    let half = octets.len() / 1024 * 512;
    let mut layers = Vec::new();
    for part in [octets, &octets[half..]] {
        let mut files = LayerFiles::default();
        let mut tape = part;
        let _ = tar::walk(&mut tape, &mut |member| {
            if let Kind::File(file) = &member.kind {
                match &file.content {
                    Content::Tar(at) => assert!(at + file.size <= part.len() as u64),
                    Content::Sparse(pieces) => {
                        let mut end = 0;
                        for piece in pieces {
                            assert!(piece.offset >= end && piece.at + piece.len <= part.len() as u64);
                            end = piece.offset + piece.len;
                        }
                        assert!(end <= file.size);
                    }
                    Content::Chunks(_) => panic!("a tar has no chunks"),
                    Content::Unsupported(_) => {}
                }
            }
            files.add(member)
        });
        layers.push(Arc::new(files));
    }
    let mut merged = Merged(Stack(layers));
    let Ok(root) = merged.resolve(b"/", Follow::Yes) else {
        return;
    };
    let listed = merged.list(&root.path).unwrap_or_default();
    for entry in listed.into_iter().take(16) {
        let path = entry.found.path.clone();
        // What is listed is found, and by the same name.
        let found = merged.resolve(path.as_octets(), Follow::No).unwrap();
        assert_eq!(found.path, path);
        let _ = merged.behind_hard_links(entry.found);
        let _ = merged.resolve(path.as_octets(), Follow::Yes);
    }
});
