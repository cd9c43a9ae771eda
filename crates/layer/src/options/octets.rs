use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use crate::error::FormatError;

/// A member that holds base64, decoded without leaving a copy of the text behind.
#[derive(Default)]
pub(super) enum Octets {
    /// Not there, or null.
    #[default]
    Absent,
    /// Decoded.
    Present(Zeroizing<Vec<u8>>),
    /// A string that is not base64.
    NotBase64,
    /// Not a string.
    WrongType,
}

impl Octets {
    /// Returns the octets, of which there must be some.
    pub(super) fn required(&self, member: &'static str) -> Result<Zeroizing<Vec<u8>>, FormatError> {
        self.optional(member)?
            .ok_or(FormatError::Missing { member })
    }

    /// Returns the octets; `None` if the member is absent, null or empty, which ocicrypt's readers treat alike.
    pub(super) fn optional(
        &self,
        member: &'static str,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, FormatError> {
        match self {
            Self::Absent => Ok(None),
            Self::Present(octets) if octets.is_empty() => Ok(None),
            Self::Present(octets) => Ok(Some(octets.clone())),
            Self::NotBase64 => Err(FormatError::Base64 {
                member: member.into(),
            }),
            Self::WrongType => Err(FormatError::WrongType { member }),
        }
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OctetsVisitor)
    }
}

struct OctetsVisitor;

impl<'de> Visitor<'de> for OctetsVisitor {
    type Value = Octets;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("base64")
    }

    fn visit_str<E>(self, text: &str) -> Result<Octets, E> {
        let mut octets = Zeroizing::new(Vec::with_capacity(text.len()));
        Ok(match STANDARD.decode_vec(text, &mut octets) {
            Ok(()) => Octets::Present(octets),
            Err(_) => Octets::NotBase64,
        })
    }

    fn visit_unit<E>(self) -> Result<Octets, E> {
        Ok(Octets::Absent)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Octets, E> {
        Ok(Octets::WrongType)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Octets, E> {
        Ok(Octets::WrongType)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Octets, E> {
        Ok(Octets::WrongType)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Octets, E> {
        Ok(Octets::WrongType)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Octets, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Octets::WrongType)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Octets, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Octets::WrongType)
    }
}
