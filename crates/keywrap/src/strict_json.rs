//! JSON as we read it from strangers: no duplicate members, no trailing octets, bounded depth.

use std::{cell::Cell, collections::BTreeMap, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

/// A JSON value. Strings are wiped on drop, since private keys come this way.
pub(crate) enum Value {
    Null,
    Unsigned(u64),
    String(Zeroizing<String>),
    Array(Vec<Self>),
    Object(Object),
    /// A boolean, a fraction or a negative number: nothing we read holds one.
    Other,
}

/// The members of an object, each name once.
pub(crate) type Object = BTreeMap<String, Value>;

/// Why a text was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum JsonError {
    Syntax,
    DuplicateMember,
    TooDeep,
}

impl JsonError {
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Syntax => "not JSON",
            Self::DuplicateMember => "duplicate JSON member",
            Self::TooDeep => "JSON nested too deeply",
        }
    }
}

impl Value {
    /// Reads exactly one value from `text`, nested at most `max_depth` deep.
    pub(crate) fn parse(text: &[u8], max_depth: usize) -> Result<Self, JsonError> {
        let cause = Cell::new(JsonError::Syntax);
        let seed = Seed {
            depth_left: max_depth,
            cause: &cause,
        };
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        let value = seed
            .deserialize(&mut deserializer)
            .map_err(|_| cause.get())?;
        deserializer.end().map_err(|_| JsonError::Syntax)?;
        Ok(value)
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) const fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }
}

#[derive(Clone, Copy)]
struct Seed<'a> {
    depth_left: usize,
    cause: &'a Cell<JsonError>,
}

impl Seed<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        let Some(depth_left) = self.depth_left.checked_sub(1) else {
            self.cause.set(JsonError::TooDeep);
            return Err(E::custom(JsonError::TooDeep.reason()));
        };
        Ok(Self { depth_left, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Unsigned(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(Zeroizing::new(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(Zeroizing::new(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Object::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                self.cause.set(JsonError::DuplicateMember);
                return Err(A::Error::custom(JsonError::DuplicateMember.reason()));
            }
            object.insert(name, members.next_value_seed(inner)?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(text: &str) -> Option<JsonError> {
        Value::parse(text.as_bytes(), 3).err()
    }

    #[test]
    fn refuses_duplicate_members_however_they_are_spelt() {
        assert_eq!(
            error_of(r#"{"a":1,"a":1}"#),
            Some(JsonError::DuplicateMember)
        );
        assert_eq!(
            error_of(r#"{"b":[{"a":1,"\u0061":1}]}"#),
            Some(JsonError::DuplicateMember)
        );
    }

    #[test]
    fn refuses_depth_beyond_the_limit() {
        assert_eq!(error_of("[[[1]]]"), None);
        assert_eq!(error_of("[[[[1]]]]"), Some(JsonError::TooDeep));
        assert_eq!(error_of(&"[".repeat(100_000)), Some(JsonError::TooDeep));
    }

    #[test]
    fn refuses_what_is_not_exactly_one_value() {
        for text in ["", "{} {}", "{}x", "\u{feff}{}", "{'a':1}", "{\"a\":1,}"] {
            assert_eq!(error_of(text), Some(JsonError::Syntax), "{text}");
        }
    }
}
