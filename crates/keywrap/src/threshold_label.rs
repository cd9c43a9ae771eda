//! A look at the label of a threshold wrap in compact form (`SPEC.md` of the threshold crate, sections 5 and 8).
//!
//! Only a look: whoever opens such a wrap checks all of it. What is read here serves people, the order of trials, and to keep
//! a wrap that was made for another layer from being asked for.

use crate::{RecipientInfo, Scheme, UnwrapError, WrappedKey};

/// What the label of a threshold wrap says first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ThresholdLabel {
    /// The key that opens it.
    pub key_id: Box<str>,
    /// The key's epoch.
    pub epoch: u32,
    /// The name of what was sealed, as a [`WrapContext`](crate::WrapContext) has it; `None` for what is no layer.
    pub subject: Option<Box<str>>,
}

impl ThresholdLabel {
    /// Reads the label of a threshold wrap; `None` for all other elements.
    ///
    /// # Errors
    /// [`UnwrapError::Malformed`] where it does not begin as deterministic encoding has it.
    pub fn of(wrapped: &WrappedKey) -> Option<Result<Self, UnwrapError>> {
        if wrapped.scheme != Scheme::sealift() {
            return None;
        }
        let (_, rest) = split(&wrapped.element)?;
        Some(Self::parse(rest).ok_or(UnwrapError::malformed("unreadable label")))
    }

    /// Returns the label if it names the layer called `subject`.
    ///
    /// # Errors
    /// [`UnwrapError::Malformed`] otherwise: such a wrap was put where it does not belong.
    pub fn naming(self, subject: Option<&str>) -> Result<Self, UnwrapError> {
        match (&self.subject, subject) {
            (Some(own), Some(wanted)) if **own == *wanted => Ok(self),
            (_, None) => Err(UnwrapError::malformed(
                "its label cannot be compared with a layer whose name is not known",
            )),
            _ => Err(UnwrapError::malformed("its label names something else")),
        }
    }

    fn parse(octets: &[u8]) -> Option<Self> {
        let mut label = label(octets)?;
        let key_id = key_id(&mut label)?;
        label = label.strip_prefix(&[4])?;
        let epoch = unsigned(&mut label)?;
        label = label.strip_prefix(&[5])?;
        text(&mut label)?;
        // An array of the kind and 32 octets.
        label = label.strip_prefix(&[6, 0x82])?;
        let kind = label.split_off_first()?;
        let value = hex::encode(label.strip_prefix(&[0x58, 32])?.get(..32)?);
        Some(Self {
            key_id: key_id.into(),
            epoch,
            subject: match kind {
                1 => Some(format!("sha256:{value}").into()),
                4 => Some(value.into()),
                _ => None,
            },
        })
    }
}

/// Names suite and key of a threshold wrap, as far as they can be read.
pub(crate) fn describe(element: &[u8]) -> Option<RecipientInfo> {
    let (suite, rest) = split(element)?;
    let key_id = label(rest).and_then(|mut label| key_id(&mut label));
    Some(RecipientInfo {
        scheme: Scheme::sealift(),
        algorithm: match suite {
            1 => Some("P256-TDH2-HKDF-SHA256-A256GCM".into()),
            2 => Some("SSS-HPKE-XWING".into()),
            3 => Some("P256-TDH2+SSS-HPKE-XWING".into()),
            _ => None,
        },
        key_id: key_id.map(Into::into),
        fingerprint: None,
        certificate: None,
    })
}

/// Splits a compact wrap into the suite's number and what follows it.
fn split(element: &[u8]) -> Option<(u8, &[u8])> {
    let (suite, rest) = element.strip_prefix(MAGIC)?.split_first()?;
    Some((*suite, rest))
}

/// Takes the label behind its length.
fn label(octets: &[u8]) -> Option<&[u8]> {
    let (len, rest) = octets.split_first_chunk::<2>()?;
    rest.get(..usize::from(u16::from_be_bytes(*len)))
}

/// Reads members 1 to 3 of a label.
fn key_id<'a>(label: &mut &'a [u8]) -> Option<&'a str> {
    // A map of ten pairs, 1 => 1, and 2 => the suite.
    *label = label.strip_prefix(&[0xaa, 1, 1, 2])?;
    text(label)?;
    *label = label.strip_prefix(&[3])?;
    let sound = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    text(label).filter(|key_id| key_id.bytes().all(sound))
}

/// Takes a CBOR text string of less than 256 octets.
fn text<'a>(octets: &mut &'a [u8]) -> Option<&'a str> {
    let len = match *octets.split_off_first()? {
        short @ 0x60..=0x77 => short - 0x60,
        0x78 => *octets.split_off_first()?,
        _ => return None,
    };
    str::from_utf8(octets.split_off(..usize::from(len))?).ok()
}

/// Takes a CBOR unsigned integer of at most 32 bits.
fn unsigned(octets: &mut &[u8]) -> Option<u32> {
    let width = match *octets.split_off_first()? {
        small @ 0..=0x17 => return Some(u32::from(small)),
        0x18 => 1,
        0x19 => 2,
        0x1a => 4,
        _ => return None,
    };
    let digits = octets.split_off(..width)?.iter();
    Some(digits.fold(0, |value, digit| value << 8 | u32::from(*digit)))
}

/// How a threshold wrap in compact form begins.
const MAGIC: &[u8] = b"SLW1";
