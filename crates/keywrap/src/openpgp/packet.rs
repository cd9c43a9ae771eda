//! Packets (RFC 9580, section 4) and the numbers in them (section 3).

use zeroize::Zeroizing;

use crate::{KeyError, UnwrapError};

/// What is wrong with octets that should be packets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Malformed(pub(super) &'static str);

impl From<Malformed> for KeyError {
    fn from(Malformed(reason): Malformed) -> Self {
        Self::Malformed { reason }
    }
}

impl From<Malformed> for UnwrapError {
    fn from(Malformed(reason): Malformed) -> Self {
        Self::malformed(reason)
    }
}

/// One packet; pieces of partial length are joined. Wiped on drop, since it may be a secret.
pub(super) struct Packet {
    pub(super) tag: u8,
    pub(super) body: Zeroizing<Vec<u8>>,
}

pub(super) const PKESK: u8 = 1;
pub(super) const SIGNATURE: u8 = 2;
pub(super) const SKESK: u8 = 3;
pub(super) const ONE_PASS_SIGNATURE: u8 = 4;
pub(super) const SECRET_KEY: u8 = 5;
pub(super) const PUBLIC_KEY: u8 = 6;
pub(super) const SECRET_SUBKEY: u8 = 7;
pub(super) const COMPRESSED: u8 = 8;
pub(super) const SED: u8 = 9;
pub(super) const MARKER: u8 = 10;
pub(super) const LITERAL: u8 = 11;
pub(super) const USER_ID: u8 = 13;
pub(super) const PUBLIC_SUBKEY: u8 = 14;
pub(super) const USER_ATTRIBUTE: u8 = 17;
pub(super) const SEIPD: u8 = 18;
pub(super) const AEAD: u8 = 20;

/// Splits octets into packets, until the first that is malformed.
pub(super) struct Packets<'a>(Option<Octets<'a>>);

impl<'a> Packets<'a> {
    pub(super) const fn new(octets: &'a [u8]) -> Self {
        Self(Some(Octets(octets)))
    }
}

impl Iterator for Packets<'_> {
    type Item = Result<Packet, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0.as_mut().filter(|rest| !rest.0.is_empty())?;
        let packet = packet(rest);
        if packet.is_err() {
            self.0 = None;
        }
        Some(packet)
    }
}

fn packet(rest: &mut Octets<'_>) -> Result<Packet, Malformed> {
    let first = rest.octet()?;
    if first & 0x80 == 0 {
        return Err(Malformed("not an OpenPGP packet"));
    }
    if first & 0x40 == 0 {
        let tag = (first >> 2) & 0x0f;
        let length = match first & 3 {
            0 => rest.octet()?.into(),
            1 => rest.number(2)?,
            2 => rest.number(4)?,
            // To the end: gpg writes compressed data so.
            _ if matches!(tag, COMPRESSED | SED | LITERAL) => rest.0.len(),
            _ => return Err(Malformed("indeterminate length where none may be")),
        };
        return Ok(Packet {
            tag,
            body: Zeroizing::new(rest.take(length)?.to_vec()),
        });
    }
    let tag = first & 0x3f;
    // Never grows: that would leave copies behind.
    let mut body = Zeroizing::new(Vec::new());
    loop {
        let (length, is_last) = new_length(rest)?;
        if !is_last && !matches!(tag, COMPRESSED | SED | LITERAL | SEIPD | AEAD) {
            return Err(Malformed("partial length where none may be"));
        }
        let piece = rest.take(length)?;
        if body.capacity() == 0 {
            body.reserve_exact(if is_last {
                length
            } else {
                length + rest.0.len()
            });
        }
        body.extend_from_slice(piece);
        if is_last {
            return Ok(Packet { tag, body });
        }
    }
}

/// Reads a length of the OpenPGP format, and whether it is the last of its packet (section 4.2.1).
fn new_length(rest: &mut Octets<'_>) -> Result<(usize, bool), Malformed> {
    let first = rest.octet()?;
    Ok(match first {
        0..=191 => (first.into(), true),
        192..=223 => {
            let high = usize::from(first - 192) << 8;
            (high + usize::from(rest.octet()?) + 192, true)
        }
        224..=254 => (1 << (first & 0x1f), false),
        255 => (rest.number(4)?, true),
    })
}

/// Octets that are read from the front.
#[derive(Clone, Copy)]
pub(super) struct Octets<'a>(pub(super) &'a [u8]);

impl<'a> Octets<'a> {
    pub(super) fn octet(&mut self) -> Result<u8, Malformed> {
        self.0.split_off_first().copied().ok_or(ENDS_EARLY)
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        self.0.split_off(..length).ok_or(ENDS_EARLY)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| ENDS_EARLY)
    }

    /// Reads a number of at most four octets.
    pub(super) fn number(&mut self, octets: usize) -> Result<usize, Malformed> {
        let octets = self.take(octets)?;
        Ok(octets
            .iter()
            .fold(0, |number, octet| number << 8 | usize::from(*octet)))
    }

    /// Reads a multiprecision integer (section 3.2), without its leading zeros.
    ///
    /// The count of bits is believed as to octets only: gpg writes points, and some numbers, with zeros in front.
    pub(super) fn integer(&mut self) -> Result<&'a [u8], Malformed> {
        let bits = self.number(2)?;
        let octets = self.take(bits.div_ceil(8))?;
        let zeros = octets.iter().take_while(|octet| **octet == 0).count();
        Ok(octets.get(zeros..).unwrap_or_default())
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn end(&self) -> Result<(), Malformed> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(Malformed("octets left over in a packet"))
        }
    }
}

const ENDS_EARLY: Malformed = Malformed("OpenPGP packet ends early");

/// Writes a packet around `body`, which is shorter than 4 GiB.
pub(super) fn write(tag: u8, body: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut octets = Zeroizing::new(Vec::with_capacity(body.len() + 6));
    octets.push(0xc0 | tag);
    let [.., b3, b2, b1, b0] = body.len().to_be_bytes();
    match body.len() {
        0..=191 => octets.push(b0),
        192..=8383 => {
            let [.., high, low] = (body.len() - 192).to_be_bytes();
            octets.extend([high + 192, low]);
        }
        _ => octets.extend([255, b3, b2, b1, b0]),
    }
    octets.extend_from_slice(body);
    octets
}

/// Writes a multiprecision integer of fewer than 8192 octets.
pub(super) fn write_integer(octets: &[u8]) -> Vec<u8> {
    let zeros = octets.iter().take_while(|octet| **octet == 0).count();
    let significant = octets.get(zeros..).unwrap_or_default();
    let leading = significant.first().map_or(0, |first| first.leading_zeros());
    let bits = (significant.len() * 8).saturating_sub(leading as usize);
    let [.., high, low] = bits.to_be_bytes();
    [&[high, low], significant].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(octets: &[u8]) -> Result<(u8, Vec<u8>), &'static str> {
        let mut packets = Packets::new(octets);
        let packet = packets.next().expect("a packet").map_err(|error| error.0)?;
        assert!(packets.next().is_none());
        Ok((packet.tag, packet.body.to_vec()))
    }

    #[test]
    fn every_form_of_length_is_read() {
        let long = vec![7; 300];
        for (octets, tag, body) in [
            (vec![0xd2, 2, 7, 7], SEIPD, &long[..2]),
            ([&[0xcb, 192, 108][..], &long].concat(), LITERAL, &long[..]),
            (
                [&[0xcb, 255, 0, 0, 1, 44][..], &long].concat(),
                LITERAL,
                &long[..],
            ),
            (vec![0xd2, 0xe1, 7, 7, 0xe0, 7, 1, 7], SEIPD, &long[..4]),
            (vec![0x84, 2, 7, 7], PKESK, &long[..2]),
            (vec![0xaf, 7, 7], LITERAL, &long[..2]),
            ([&[0x85, 1, 44][..], &long].concat(), PKESK, &long[..]),
            ([&[0x86, 0, 0, 1, 44][..], &long].concat(), PKESK, &long[..]),
        ] {
            assert_eq!(only(&octets), Ok((tag, body.to_vec())));
        }
    }

    #[test]
    fn what_frames_no_packet_is_refused() {
        for (octets, reason) in [
            (&[0x30, 1, 0][..], "not an OpenPGP packet"),
            (&[0xd2], "OpenPGP packet ends early"),
            (&[0xd2, 2, 7], "OpenPGP packet ends early"),
            (&[0xd2, 0xe1, 7, 7], "OpenPGP packet ends early"),
            (&[0xd2, 0xfe, 7, 7], "OpenPGP packet ends early"),
            (
                &[0xd2, 255, 255, 255, 255, 255],
                "OpenPGP packet ends early",
            ),
            (&[0xc1, 0xe0, 7, 1, 7], "partial length where none may be"),
            (&[0x87, 7], "indeterminate length where none may be"),
        ] {
            assert_eq!(only(octets), Err(reason), "{octets:x?}");
        }
    }

    #[test]
    fn what_was_written_is_read() {
        for length in [0, 1, 191, 192, 8383, 8384, 70_000] {
            let body = vec![9; length];
            assert_eq!(only(&write(LITERAL, &body)), Ok((LITERAL, body)));
        }
        for number in [&[][..], &[1], &[0x80, 0], &[0, 0, 5]] {
            let written = write_integer(number);
            let mut octets = Octets(&written);
            let zeros = number.iter().take_while(|octet| **octet == 0).count();
            assert_eq!(octets.integer(), Ok(&number[zeros..]));
            assert!(octets.is_empty());
        }
        assert_eq!(write_integer(&[0, 5, 0]), [0, 11, 5, 0]);
    }
}
