//! Distinguished encoding (X.690), as much of it as an envelope needs: definite lengths in their shortest form.
//!
//! Nothing here recurses, so depth has no limit of its own: whoever reads steps into each structure by hand.

use crate::UnwrapError;

/// What is left of the contents of one structure.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

/// One element: its identifier octet and its contents.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) contents: &'a [u8],
    /// All octets, identifier and length included.
    pub(crate) encoding: &'a [u8],
}

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
/// Context tags, primitive and constructed.
pub(crate) const PRIMITIVE_0: u8 = 0x80;
pub(crate) const CONSTRUCTED_0: u8 = 0xa0;
pub(crate) const CONSTRUCTED_1: u8 = 0xa1;
pub(crate) const CONSTRUCTED_2: u8 = 0xa2;

impl<'a> Reader<'a> {
    pub(crate) const fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    /// Reads a structure that fills `octets` to the last one, and steps into it.
    pub(crate) fn whole(
        octets: &'a [u8],
        tag: u8,
        what: &'static str,
    ) -> Result<Self, UnwrapError> {
        let mut reader = Self::new(octets);
        let inner = reader.enter(tag, what)?;
        reader.end()?;
        Ok(inner)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the identifier octet of the next element.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// Reads the next element, whatever it is.
    pub(crate) fn next(&mut self) -> Result<Element<'a>, UnwrapError> {
        let all = self.0;
        let mut rest = all;
        let tag = octet(&mut rest)?;
        if tag & 0x1f == 0x1f {
            return Err(UnwrapError::malformed("tag number above 30"));
        }
        let length = length(&mut rest)?;
        let contents = rest
            .split_off(..length)
            .ok_or(UnwrapError::malformed(ENDS_EARLY))?;
        self.0 = rest;
        let encoding = all
            .get(..all.len() - rest.len())
            .ok_or(UnwrapError::malformed(ENDS_EARLY))?;
        Ok(Element {
            tag,
            contents,
            encoding,
        })
    }

    /// Reads the next element, which must bear `tag`; `what` says so where it does not.
    pub(crate) fn read(&mut self, tag: u8, what: &'static str) -> Result<Element<'a>, UnwrapError> {
        if self.peek().is_some_and(|found| found != tag) {
            return Err(UnwrapError::malformed(what));
        }
        self.next()
    }

    /// Steps into the next element, which must bear `tag`.
    pub(crate) fn enter(&mut self, tag: u8, what: &'static str) -> Result<Self, UnwrapError> {
        self.read(tag, what).map(|found| Self(found.contents))
    }

    /// Reads an INTEGER in its shortest form; what it means is for the caller.
    pub(crate) fn integer(&mut self, what: &'static str) -> Result<&'a [u8], UnwrapError> {
        let contents = self.read(INTEGER, what)?.contents;
        match contents {
            [] => Err(UnwrapError::malformed("INTEGER without octets")),
            [0x00, next, ..] if next & 0x80 == 0 => Err(UnwrapError::malformed(LONG_INTEGER)),
            [0xff, next, ..] if next & 0x80 != 0 => Err(UnwrapError::malformed(LONG_INTEGER)),
            _ => Ok(contents),
        }
    }

    /// Refuses anything that is left.
    pub(crate) fn end(&self) -> Result<(), UnwrapError> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(UnwrapError::malformed("octets left over"))
        }
    }
}

fn octet(rest: &mut &[u8]) -> Result<u8, UnwrapError> {
    rest.split_off_first()
        .copied()
        .ok_or(UnwrapError::malformed(ENDS_EARLY))
}

/// Reads a length (X.690, section 8.1.3), in its shortest form (section 10.1).
fn length(rest: &mut &[u8]) -> Result<usize, UnwrapError> {
    let first = octet(rest)?;
    match first {
        0x00..=0x7f => Ok(first.into()),
        // What `openssl cms -stream` writes, and what octet strings in pieces need.
        0x80 => Err(UnwrapError::malformed("indefinite length: BER, not DER")),
        _ => {
            let mut length = 0_usize;
            for _ in 0..first & 0x7f {
                length = match length.checked_mul(0x100) {
                    Some(shifted) if shifted <= MAX_LENGTH => shifted | usize::from(octet(rest)?),
                    _ => return Err(UnwrapError::malformed(ENDS_EARLY)),
                };
                if length == 0 {
                    return Err(UnwrapError::malformed(LONG_LENGTH));
                }
            }
            if length < 0x80 {
                return Err(UnwrapError::malformed(LONG_LENGTH));
            }
            Ok(length)
        }
    }
}

const ENDS_EARLY: &str = "DER ends early";
const LONG_LENGTH: &str = "length not in its shortest form";
const LONG_INTEGER: &str = "INTEGER not in its shortest form";
/// Beyond every file and element that is read.
const MAX_LENGTH: usize = 0x0fff_ffff;

/// Writes one element around `contents`, which are shorter than 64 KiB.
pub(crate) fn element(tag: u8, contents: &[&[u8]]) -> Vec<u8> {
    let length: usize = contents.iter().map(|part| part.len()).sum();
    let [.., high, low] = length.to_be_bytes();
    let mut octets = Vec::with_capacity(length + 4);
    octets.push(tag);
    match length {
        0x00..=0x7f => octets.push(low),
        0x80..=0xff => octets.extend([0x81, low]),
        _ => octets.extend([0x82, high, low]),
    }
    contents.iter().for_each(|part| octets.extend(*part));
    octets
}
