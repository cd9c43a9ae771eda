//! Reading secrets without leaving copies behind.

use std::io::{self, Read};

use zeroize::Zeroizing;

/// Reads to the end, or one octet more than `limit`, which lets a parser say that there are too many.
///
/// Unlike [`Read::read_to_end`], which hands outgrown buffers back as they are, every buffer is wiped.
///
/// # Errors
/// Those of `source`, but for [`io::ErrorKind::Interrupted`].
pub fn read_wiped(source: impl Read, limit: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut source = source.take(limit as u64 + 1);
    let mut buffer = Zeroizing::new(vec![0; FIRST]);
    let mut len = 0;
    loop {
        let free = buffer.split_at_mut(len).1;
        if free.is_empty() {
            buffer = twice(&buffer);
            continue;
        }
        match source.read(free) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(len);
    Ok(buffer)
}

/// Copies `octets` into a buffer of twice their length.
fn twice(octets: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut larger = Zeroizing::new(vec![0; octets.len() * 2]);
    larger.split_at_mut(octets.len()).0.copy_from_slice(octets);
    larger
}

/// As long as most key files are at most.
const FIRST: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few octets at a time, notes where they are wanted, and is interrupted now and then.
    struct Slow<'a> {
        octets: &'a [u8],
        piece: usize,
        wanted: Vec<usize>,
    }

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.wanted.push(buffer.len());
            if self.wanted.len() % 3 == 1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let most = self.piece.min(buffer.len());
            (&self.octets[..self.octets.len().min(most)])
                .read(buffer)
                .inspect(|read| self.octets = &self.octets[*read..])
        }
    }

    #[test]
    fn reads_all_octets_of_every_length_and_one_over_the_limit() {
        let all: Vec<u8> = (0..20_000_u32).map(|i| i.to_le_bytes()[0] ^ 0x5a).collect();
        for len in [0, 1, 4095, 4096, 4097, 8192, 10_000, 10_001, 20_000] {
            for piece in [700, 5000, 50_000] {
                let mut source = Slow {
                    octets: &all[..len],
                    piece,
                    wanted: Vec::new(),
                };
                let octets = read_wiped(&mut source, 10_000).unwrap();
                assert_eq!(*octets, all[..len.min(10_001)], "{len} by {piece}");
                // The buffer never grows by itself: it is replaced when it is full, and not before.
                assert!(source.wanted.iter().all(|wanted| *wanted <= 8192));
                assert!([4096, 8192, 16_384].contains(&octets.capacity()));
            }
        }
    }

    #[test]
    fn passes_errors_on() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::PermissionDenied.into())
            }
        }
        let error = read_wiped(Broken, 10).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }
}
