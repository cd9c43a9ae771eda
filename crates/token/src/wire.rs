//! What goes through the pipe: messages of a tag and a few fields, each with its length before it.

use std::io::{self, Read, Write};

use zeroize::Zeroizing;

/// One message. Its fields are wiped on drop: PINs and layer keys come this way.
#[derive(Default)]
pub(crate) struct Message {
    pub(crate) tag: u8,
    fields: Vec<Zeroizing<Vec<u8>>>,
}

impl Message {
    pub(crate) const fn new(tag: u8) -> Self {
        Self {
            tag,
            fields: Vec::new(),
        }
    }

    #[must_use]
    pub(crate) fn with(mut self, field: &[u8]) -> Self {
        self.fields.push(Zeroizing::new(field.to_vec()));
        self
    }

    pub(crate) fn field(&self, number: usize) -> Option<&[u8]> {
        self.fields.get(number).map(|field| field.as_slice())
    }

    pub(crate) fn text(&self, number: usize) -> Option<&str> {
        str::from_utf8(self.field(number)?).ok()
    }

    /// Returns a field of one octet.
    pub(crate) fn octet(&self, number: usize) -> Option<u8> {
        match self.field(number)? {
            [octet] => Some(*octet),
            _ => None,
        }
    }

    /// Returns a field of four octets.
    pub(crate) fn number(&self, number: usize) -> Option<u32> {
        Some(u32::from_be_bytes(self.field(number)?.try_into().ok()?))
    }

    pub(crate) fn write(&self, sink: &mut impl Write) -> io::Result<()> {
        let too_long = || io::Error::from(io::ErrorKind::InvalidData);
        let len: usize = self.fields.iter().map(|field| 4 + field.len()).sum();
        if len + 1 > MAX_LEN || self.fields.len() > MAX_FIELDS {
            return Err(too_long());
        }
        let mut octets = Zeroizing::new(Vec::with_capacity(5 + len));
        let prefix = |len: usize| u32::try_from(len).map(u32::to_be_bytes);
        octets.extend(prefix(len + 1).map_err(|_| too_long())?);
        octets.push(self.tag);
        for field in &self.fields {
            octets.extend(prefix(field.len()).map_err(|_| too_long())?);
            octets.extend(field.as_slice());
        }
        sink.write_all(&octets)?;
        sink.flush()
    }

    /// Reads a message; `None` at the end of the pipe.
    pub(crate) fn read(source: &mut impl Read) -> io::Result<Option<Self>> {
        let mut prefix = [0; 4];
        let mut got = 0;
        while let Some(free) = prefix.get_mut(got..).filter(|free| !free.is_empty()) {
            match source.read(free) {
                Ok(0) if got == 0 => return Ok(None),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => got += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let len = usize::try_from(u32::from_be_bytes(prefix)).unwrap_or(usize::MAX);
        if len == 0 || len > MAX_LEN {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut octets = Zeroizing::new(vec![0; len]);
        source.read_exact(&mut octets)?;
        match Self::parse(&octets) {
            Some(message) => Ok(Some(message)),
            None => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn parse(octets: &[u8]) -> Option<Self> {
        let (tag, mut rest) = octets.split_first()?;
        let mut message = Self::new(*tag);
        while !rest.is_empty() {
            let (prefix, behind) = rest.split_first_chunk::<4>()?;
            let len = usize::try_from(u32::from_be_bytes(*prefix)).ok()?;
            let (field, behind) = behind.split_at_checked(len)?;
            if message.fields.len() >= MAX_FIELDS {
                return None;
            }
            message = message.with(field);
            rest = behind;
        }
        Some(message)
    }
}

/// Longest message, in octets.
const MAX_LEN: usize = 64 * 1024;

/// Most fields of one message.
const MAX_FIELDS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn octets(message: &Message) -> Vec<u8> {
        let mut octets = Vec::new();
        message.write(&mut octets).unwrap();
        octets
    }

    #[test]
    fn what_is_written_is_read() {
        let message = Message::new(7)
            .with(b"")
            .with(b"abc")
            .with(&5_u32.to_be_bytes());
        let whole = octets(&message);
        let read = Message::read(&mut whole.as_slice()).unwrap().unwrap();
        assert_eq!(read.tag, 7);
        assert_eq!(read.field(0), Some(&b""[..]));
        assert_eq!(read.text(1), Some("abc"));
        assert_eq!(read.number(2), Some(5));
        assert_eq!(read.number(1), None);
        assert_eq!(read.octet(1), None);
        assert_eq!(read.field(3), None);
        assert!(Message::read(&mut [].as_slice()).unwrap().is_none());
        for cut in 1..whole.len() {
            let error = Message::read(&mut &whole[..cut]).err().map(|e| e.kind());
            assert_eq!(error, Some(io::ErrorKind::UnexpectedEof), "{cut}");
        }
    }

    #[test]
    fn refuses_what_is_no_message() {
        for octets in [
            &[0, 0, 0, 0][..],
            &[0xff, 0xff, 0xff, 0xff, 1],
            &[0, 1, 0, 1, 1],
            &[0, 0, 0, 2, 1, 0],
            &[0, 0, 0, 6, 1, 0, 0, 0, 2, 9],
            &[0, 0, 0, 5, 1, 0xff, 0xff, 0xff, 0xff],
            &[&[0, 0, 0, 37, 1][..], &[0; 36]].concat(),
        ] {
            let error = Message::read(&mut &octets[..]).err().map(|e| e.kind());
            assert_eq!(error, Some(io::ErrorKind::InvalidData), "{octets:?}");
        }
        let long = Message::new(1).with(&vec![0; MAX_LEN]);
        long.write(&mut Vec::new()).unwrap_err();
    }
}
