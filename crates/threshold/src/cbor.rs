//! As much of deterministic CBOR as a label needs (RFC 8949, section 4.2.1).

/// Reads one item after the other; what is not the shortest spelling of what is asked for is `None`.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    /// Reads a head of `major` type and returns its argument.
    pub(crate) fn head(&mut self, major: u8) -> Option<u64> {
        let (first, rest) = self.0.split_first()?;
        if first >> 5 != major {
            return None;
        }
        let info = first & 0x1f;
        let width = match info {
            0..=23 => 0,
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            _ => return None,
        };
        let (argument, rest) = rest.split_at_checked(width)?;
        let value = match width {
            0 => u64::from(info),
            _ => argument
                .iter()
                .fold(0, |value, octet| value << 8 | u64::from(*octet)),
        };
        self.0 = rest;
        // Anything that fits a narrower head must stand in one.
        (width_of(value) == width).then_some(value)
    }

    /// Reads a head with this very argument.
    pub(crate) fn exactly(&mut self, major: u8, argument: u64) -> Option<()> {
        (self.head(major)? == argument).then_some(())
    }

    /// Reads the key of a map's next member.
    pub(crate) fn member(&mut self, key: u64) -> Option<&mut Self> {
        self.exactly(UNSIGNED, key)?;
        Some(self)
    }

    pub(crate) fn unsigned(&mut self) -> Option<u64> {
        self.head(UNSIGNED)
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.head(BYTES)?;
        self.take(len)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let len = self.head(TEXT)?;
        str::from_utf8(self.take(len)?).ok()
    }

    fn take(&mut self, len: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(len).ok()?)?;
        self.0 = rest;
        Some(taken)
    }
}

/// Writes the shortest head.
pub(crate) fn write_head(octets: &mut Vec<u8>, major: u8, argument: u64) {
    let width = width_of(argument);
    let [.., low] = argument.to_be_bytes();
    let info = match width {
        0 => low,
        1 => 24,
        2 => 25,
        4 => 26,
        _ => 27,
    };
    octets.push(major << 5 | info);
    octets.extend(argument.to_be_bytes().iter().skip(8 - width));
}

/// Writes a text string.
pub(crate) fn write_text(octets: &mut Vec<u8>, text: &str) {
    write_head(octets, TEXT, text.len() as u64);
    octets.extend_from_slice(text.as_bytes());
}

/// Octets that follow the first one of a head with this argument.
const fn width_of(argument: u64) -> usize {
    match argument {
        0..=23 => 0,
        24..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 4,
        _ => 8,
    }
}

pub(crate) const UNSIGNED: u8 = 0;
pub(crate) const BYTES: u8 = 2;
pub(crate) const TEXT: u8 = 3;
pub(crate) const ARRAY: u8 = 4;
pub(crate) const MAP: u8 = 5;
