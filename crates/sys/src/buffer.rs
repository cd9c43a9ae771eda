//! Memory to read into.

use std::ops::{Deref, DerefMut};

/// A buffer for [`Read`](std::io::Read) that begins at a multiple of [`ALIGNMENT`](Self::ALIGNMENT).
///
/// The allocator hands out large memory 16 octets behind the beginning of a page. What a file or a pipe holds gets into memory by
/// one string instruction of the processor, which takes three to four times as long to such a place on some (AMD EPYC, 256 KiB at
/// once: 1.2 instead of 4.3 GiB/s from a file in memory, 0.95 instead of 2.5 from a pipe).
///
/// A buffer that goes back and forth keeps its memory, and nobody fills that with zeros a second time.
#[derive(Debug, Default)]
pub struct Buffer {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl Buffer {
    /// What the address of the first octet is a multiple of: the length of a cache line.
    pub const ALIGNMENT: usize = 64;

    /// Makes a buffer of `len` octets, all zero.
    pub fn zeroed(len: usize) -> Self {
        Self::default().resized(len)
    }

    /// Makes a buffer of `len` octets out of this one's memory. What is in it is unspecified.
    pub fn resized(self, len: usize) -> Self {
        let mut memory = self.memory;
        let room = len.saturating_add(Self::ALIGNMENT - 1);
        if memory.len() < room {
            memory.resize(room, 0);
        }
        let start = memory.as_ptr().align_offset(Self::ALIGNMENT);
        Self {
            start: start.min(room - len),
            memory,
            len,
        }
    }

    /// Appends `len` octets and lends them to be overwritten: what is in them is unspecified.
    ///
    /// May move what is there to memory where it is not aligned; once it is [`resized`](Self::resized), it is again.
    pub fn lengthen(&mut self, len: usize) -> &mut [u8] {
        let before = self.len;
        self.len += len;
        let end = self.start + self.len;
        if self.memory.len() < end {
            let twice = self.memory.len().saturating_mul(2);
            self.memory.resize(end.max(twice), 0);
        }
        self.split_at_mut(before).1
    }

    /// Leaves no more than the first `len` octets.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let octets = self.memory.get(self.start..).unwrap_or_default();
        octets.get(..self.len).unwrap_or_default()
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        let octets = self.memory.get_mut(self.start..).unwrap_or_default();
        octets.get_mut(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_aligned(buffer: &Buffer, len: usize) {
        assert_eq!(buffer.len(), len);
        assert_eq!(buffer.as_ptr().addr() % Buffer::ALIGNMENT, 0, "{len}");
    }

    #[test]
    fn begins_at_a_cache_line_whatever_its_length_and_however_often_it_is_used_again() {
        let mut buffer = Buffer::default();
        assert!(buffer.is_empty());
        for len in [
            1, 0, 63, 64, 65, 4096, 262_144, 1, 16_400, 1_048_577, 262_144,
        ] {
            assert_aligned(&Buffer::zeroed(len), len);
            assert!(Buffer::zeroed(len).iter().all(|octet| *octet == 0));
            buffer = buffer.resized(len);
            assert_aligned(&buffer, len);
            buffer.fill(0xa5);
            assert!(buffer.iter().all(|octet| *octet == 0xa5));
        }
    }

    #[test]
    fn is_as_long_as_was_read() {
        let mut buffer = Buffer::zeroed(100);
        buffer.fill(7);
        buffer.truncate(60);
        assert_aligned(&buffer, 60);
        buffer.truncate(80);
        assert_eq!(buffer.len(), 60);
        assert_eq!(*buffer, [7; 60]);
    }

    #[test]
    fn grows_at_its_end_and_is_aligned_again_when_it_begins_anew() {
        let mut buffer = Buffer::default();
        let mut expected = Vec::new();
        for round in 0..3 {
            buffer = buffer.resized(0);
            expected.clear();
            for len in [1, 0, 16_400, 17, 300_000] {
                let octet = u8::try_from((len + round) % 251).unwrap();
                let lent = buffer.lengthen(len);
                assert_eq!(lent.len(), len);
                lent.fill(octet);
                expected.resize(expected.len() + len, octet);
                assert!(*buffer == *expected);
            }
            buffer.truncate(16_401);
            expected.truncate(16_401);
            buffer.lengthen(5).fill(round.to_le_bytes()[0]);
            expected.extend([round.to_le_bytes()[0]; 5]);
            assert!(*buffer == *expected);
        }
        assert_aligned(&buffer, 16_406);
    }

    #[test]
    fn keeps_its_memory() {
        let buffer = Buffer::zeroed(1000);
        let place = buffer.as_ptr();
        let buffer = buffer.resized(10).resized(0).resized(1000);
        assert_eq!(buffer.as_ptr(), place);
    }
}
