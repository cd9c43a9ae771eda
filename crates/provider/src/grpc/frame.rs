//! Octets around octets: a frame of gRPC around a protobuf message with one `bytes` field, number 1.

use zeroize::Zeroizing;

/// Puts the value of field 1 into a message, and the message into a frame that is not compressed.
pub fn write(value: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut length = Vec::with_capacity(MAX_VARINT_LEN);
    write_varint(&mut length, value.len() as u64);
    let message_len = 1 + length.len() + value.len();
    let mut frame = Zeroizing::new(Vec::with_capacity(HEAD_LEN + message_len));
    frame.push(0);
    // INVARIANT: messages are made of requests and answers, whose limits are far below.
    let message_len = u32::try_from(message_len).unwrap_or(u32::MAX);
    frame.extend(message_len.to_be_bytes());
    frame.push(FIELD_1);
    frame.extend(&length);
    frame.extend(value);
    frame
}

/// Takes exactly one frame apart, and field 1 out of the message in it; of several the last counts, none is empty.
///
/// # Errors
/// [`FrameError`]
pub fn read(frame: &[u8]) -> Result<&[u8], FrameError> {
    let ([compressed, length @ ..], message) = frame
        .split_first_chunk::<HEAD_LEN>()
        .ok_or(FrameError("no whole message"))?;
    if *compressed != 0 {
        return Err(FrameError("a compressed message"));
    }
    if u32::from_be_bytes(*length) as usize != message.len() {
        return Err(FrameError("not exactly one message"));
    }
    field_1(message).ok_or(FrameError("not protobuf"))
}

/// Why a frame cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FrameError(pub &'static str);

fn field_1(mut message: &[u8]) -> Option<&[u8]> {
    let mut found: &[u8] = &[];
    while !message.is_empty() {
        let tag = read_varint(&mut message)?;
        let (number, kind) = (tag >> 3, tag & 7);
        let value = match kind {
            0 => {
                read_varint(&mut message)?;
                None
            }
            1 => message.split_off(..8).map(|_| None)?,
            2 => {
                let length = usize::try_from(read_varint(&mut message)?).ok()?;
                Some(message.split_off(..length)?)
            }
            5 => message.split_off(..4).map(|_| None)?,
            _ => return None,
        };
        match (number, value) {
            (0, _) | (1, None) => return None,
            (1, Some(value)) => found = value,
            _ => {}
        }
    }
    Some(found)
}

fn write_varint(target: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        // The low seven bits and the mark that more follow.
        target.push(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
        value >>= 7;
    }
    target.push(u8::try_from(value).unwrap_or(0));
}

fn read_varint(source: &mut &[u8]) -> Option<u64> {
    let mut value: u64 = 0;
    for position in 0..MAX_VARINT_LEN {
        let octet = *source.split_off_first()?;
        let bits = u64::from(octet & 0x7f);
        let shift = 7 * position;
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if octet & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Octets before a message: whether it is compressed, and its length.
const HEAD_LEN: usize = 5;
/// What a frame adds to a value, at most.
pub const OVERHEAD: usize = HEAD_LEN + 1 + MAX_VARINT_LEN;
const MAX_VARINT_LEN: usize = 10;
/// Field 1, of a length that follows.
const FIELD_1: u8 = 0x0a;

#[cfg(test)]
mod tests {
    use super::*;

    /// `protoc --encode` of a message with field 1 = "abc", in a frame.
    #[test]
    fn a_frame_is_five_octets_and_a_message_of_one_field() {
        assert_eq!(*write(b"abc"), b"\0\0\0\0\x05\x0a\x03abc");
        let long = write(&[7; 300]);
        assert_eq!(long[..8], *b"\0\0\0\x01\x2f\x0a\xac\x02");
        assert_eq!(read(&long), Ok(&[7; 300][..]));
    }

    #[test]
    fn unknown_fields_are_passed_over_and_the_last_of_several_counts() {
        for (message, expected) in [
            (&b""[..], &b""[..]),
            (b"\x0a\x00", b""),
            (b"\x0a\x01a\x0a\x01b", b"b"),
            (b"\x10\xff\x01\x0a\x01a\x1a\x01x\x25abcd\x29abcdefgh", b"a"),
        ] {
            let mut frame = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
            frame.extend(message);
            assert_eq!(read(&frame), Ok(expected));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let whole = write(b"abc");
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "{length}");
        }
        let mut twice = whole.to_vec();
        twice.extend(whole.iter());
        let not_one = FrameError("not exactly one message");
        assert_eq!(read(&twice), Err(not_one));
        let mut compressed = whole.to_vec();
        compressed[0] = 1;
        assert_eq!(read(&compressed), Err(FrameError("a compressed message")));
        for message in [
            &b"\x08\x01"[..],
            b"\x02\x00",
            b"\x0b",
            b"\x0a\x02a",
            b"\x0a",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ] {
            let mut frame = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
            frame.extend(message);
            assert_eq!(
                read(&frame),
                Err(FrameError("not protobuf")),
                "{message:x?}"
            );
        }
    }
}
