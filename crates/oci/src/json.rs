//! JSON as a signed or hashed document needs it: members keep their order and their text, duplicates are errors.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use indexmap::IndexMap;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use thiserror::Error;

/// A JSON object whose members keep their order and their exact text.
pub type Object = IndexMap<String, Box<RawValue>>;

/// What a document may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most octets.
    pub len: usize,
    /// Most objects and arrays within each other.
    pub depth: usize,
}

/// Checks a whole document: one value, UTF-8, no duplicate member names, within `limits`.
///
/// # Errors
/// [`JsonError`], naming the first fault met.
pub fn check(octets: &[u8], limits: Limits) -> Result<(), JsonError> {
    if octets.len() > limits.len {
        return Err(JsonError::TooLong { limit: limits.len });
    }
    let fault = Cell::new(None);
    let mut deserializer = serde_json::Deserializer::from_slice(octets);
    let walked = Walk {
        depth: limits.depth,
        fault: &fault,
    }
    .deserialize(&mut deserializer)
    .and_then(|()| deserializer.end());
    match (walked, fault.take()) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(fault)) => Err(fault),
        (Err(error), None) => Err(JsonError::Syntax {
            line: error.line(),
            column: error.column(),
        }),
    }
}

/// Parses a document that must be an object, after [`check`]ing it.
///
/// # Errors
/// [`JsonError`], also when the document is no object.
pub fn object(octets: &[u8], limits: Limits) -> Result<Object, JsonError> {
    check(octets, limits)?;
    serde_json::from_slice(octets).map_err(|_| JsonError::NotAnObject)
}

/// Renders any value that cannot fail to serialise as raw JSON text.
pub(crate) fn raw(value: &impl serde::Serialize) -> Box<RawValue> {
    // INVARIANT: strings, numbers and maps with string keys always serialise; `null` stands in for the impossible rest.
    serde_json::value::to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// Returns the beginning of a text from outside, fit for an error message: short, and without control characters.
pub fn excerpt(text: &str) -> Box<str> {
    text.chars()
        .take(80)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect::<String>()
        .into()
}

/// Why a document was refused before its meaning was looked at.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum JsonError {
    /// More octets than allowed.
    #[error("JSON document is longer than {limit} octets")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// Deeper than allowed.
    #[error("JSON document is nested too deeply")]
    TooDeep,
    /// A member name stands twice in one object.
    #[error("JSON member `{name}` is given twice")]
    Duplicate {
        /// The name.
        name: Box<str>,
    },
    /// Not JSON, or more than one value.
    #[error("not valid JSON at line {line} column {column}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// A value of another kind.
    #[error("JSON document is not an object")]
    NotAnObject,
}

#[derive(Clone, Copy)]
struct Walk<'a> {
    depth: usize,
    fault: &'a Cell<Option<JsonError>>,
}

impl Walk<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth, ..self }),
            None => Err(self.stop(JsonError::TooDeep)),
        }
    }

    fn stop<E: serde::de::Error>(self, fault: JsonError) -> E {
        self.fault.set(Some(fault));
        E::custom("refused")
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if seen.contains(&name) {
                return Err(self.stop(JsonError::Duplicate {
                    name: excerpt(&name),
                }));
            }
            seen.insert(name);
            map.next_value_seed(inner)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while seq.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { len: 200, depth: 3 };

    #[test]
    fn refuses_what_a_lenient_parser_would_guess_at() {
        let table: &[(&str, JsonError)] = &[
            (
                r#"{"a":1,"a":2}"#,
                JsonError::Duplicate { name: "a".into() },
            ),
            (
                r#"{"x":[{"a":1,"\u0061":2}]}"#,
                JsonError::Duplicate { name: "a".into() },
            ),
            ("[[[[]]]]", JsonError::TooDeep),
            (r#"{"a":{"b":{"c":{}}}}"#, JsonError::TooDeep),
            ("{} {}", JsonError::Syntax { line: 1, column: 4 }),
            ("{,}", JsonError::Syntax { line: 1, column: 2 }),
            ("", JsonError::Syntax { line: 1, column: 0 }),
        ];
        for (text, expected) in table {
            assert_eq!(
                check(text.as_bytes(), LIMITS),
                Err(expected.clone()),
                "{text}"
            );
        }
        assert_eq!(
            check(b"{\"\xff\":1}", LIMITS).unwrap_err(),
            JsonError::Syntax { line: 1, column: 3 }
        );
        assert_eq!(
            check(&[b' '; 201], LIMITS),
            Err(JsonError::TooLong { limit: 200 })
        );
        assert_eq!(object(b"[]", LIMITS).unwrap_err(), JsonError::NotAnObject);
    }

    #[test]
    fn keeps_order_and_text_of_members() {
        let text = r#"{"b":1.50e3,"a":[ 1 ],"c":"\u00e9"}"#;
        let object = object(text.as_bytes(), LIMITS).unwrap();
        assert_eq!(serde_json::to_string(&object).unwrap(), text);
    }
}
