use sealift_sys::Buffer;

/// Where sealed or opened octets are appended.
///
/// A [`Buffer`] that goes round is faster than a vector, which is filled with zeros before it is filled.
pub trait Room {
    /// Borrows everything that was appended.
    fn octets(&self) -> &[u8];

    /// Appends `len` octets of any content and lends them to be overwritten.
    fn lengthen(&mut self, len: usize) -> &mut [u8];

    /// Leaves no more than the first `len` octets.
    fn truncate(&mut self, len: usize);

    /// Appends octets.
    fn append(&mut self, octets: &[u8]) {
        self.lengthen(octets.len()).copy_from_slice(octets);
    }
}

impl Room for Vec<u8> {
    fn octets(&self) -> &[u8] {
        self
    }

    fn lengthen(&mut self, len: usize) -> &mut [u8] {
        let before = self.len();
        self.resize(before + len, 0);
        self.split_at_mut(before).1
    }

    fn truncate(&mut self, len: usize) {
        self.truncate(len);
    }
}

impl Room for Buffer {
    fn octets(&self) -> &[u8] {
        self
    }

    fn lengthen(&mut self, len: usize) -> &mut [u8] {
        self.lengthen(len)
    }

    fn truncate(&mut self, len: usize) {
        self.truncate(len);
    }
}
