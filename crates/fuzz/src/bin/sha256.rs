//! However octets are cut and hashed, alone or beside another stream, the digest is that of aws-lc.
#![no_main]

use aws_lc_rs::digest::{SHA256, digest};
use libfuzzer_sys::fuzz_target;
use sealift_sha256::Sha256;

fuzz_target!(|input: (Vec<(u8, u8)>, Vec<u8>)| {
    let (cuts, octets) = input;
    let mut hashers = [Sha256::new(), Sha256::new()];
    let mut streams = [Vec::new(), Vec::new()];
    for (first, second) in cuts {
        let pieces = [first, second].map(|len| &octets[..octets.len().min(usize::from(len))]);
        for (stream, piece) in streams.iter_mut().zip(pieces) {
            stream.extend_from_slice(piece);
        }
        let [one, two] = &mut hashers;
        one.update_both(pieces[0], two, pieces[1]);
    }
    for (hasher, stream) in hashers.into_iter().zip(streams) {
        assert_eq!(hasher.taken(), stream.len() as u64);
        assert_eq!(hasher.finish(), digest(&SHA256, &stream).as_ref());
    }
});
