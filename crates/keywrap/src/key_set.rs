//! Several wrapped keys in one element: what `sealift` answers where another tool asks it as an ocicrypt key provider
//! (`SPEC.md` of the provider crate, section 2).
//!
//! The name of the annotation is then up to that tool, so a set is recognised in any `provider.` annotation, by its own type.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    MAX_ELEMENT_LEN, Scheme, UnwrapError, WrapError, WrappedKey,
    strict_json::{Object, Value},
};

/// Wrapped keys of any scheme, each of which gives the same layer key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeySet(Vec<WrappedKey>);

impl KeySet {
    /// Takes wrapped keys, at least one.
    ///
    /// # Errors
    /// [`WrapError::Refused`] if there is none, more than [`Self::MAX_KEYS`], or a set among them; [`WrapError::TooLong`] if
    /// they do not fit into one element.
    pub fn new(keys: Vec<WrappedKey>) -> Result<Self, WrapError> {
        if keys.is_empty() || keys.len() > Self::MAX_KEYS || keys.iter().any(is_set) {
            return Err(WrapError::Refused);
        }
        let set = Self(keys);
        if set.to_element().len() > MAX_ELEMENT_LEN {
            return Err(WrapError::TooLong {
                limit: MAX_ELEMENT_LEN,
            });
        }
        Ok(set)
    }

    /// Reads the set in an element; `None` for elements that are no sets.
    ///
    /// # Errors
    /// [`UnwrapError`] for a set that cannot be read.
    pub fn of(wrapped: &WrappedKey) -> Option<Result<Self, UnwrapError>> {
        match wrapped.scheme {
            Scheme::Provider(_) => Self::parse(&wrapped.element),
            _ => None,
        }
    }

    /// Reads the set in octets of an element.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn parse(element: &[u8]) -> Option<Result<Self, UnwrapError>> {
        if element.first() != Some(&b'{') || element.len() > MAX_ELEMENT_LEN {
            return None;
        }
        let value = Value::parse(element, MAX_DEPTH).ok()?;
        let object = value.as_object()?;
        if object.get("type")?.as_str()? != TYPE {
            return None;
        }
        Some(Self::read(object))
    }

    /// Borrows the keys.
    pub fn keys(&self) -> &[WrappedKey] {
        &self.0
    }

    /// Takes the keys.
    pub fn into_keys(self) -> Vec<WrappedKey> {
        self.0
    }

    /// Renders the set as an element.
    pub fn to_element(&self) -> Vec<u8> {
        let keys: Vec<String> = self.0.iter().map(render).collect();
        format!(r#"{{"v":1,"type":"{TYPE}","keys":[{}]}}"#, keys.join(",")).into_bytes()
    }

    fn read(object: &Object) -> Result<Self, UnwrapError> {
        match object.get("v") {
            Some(Value::Unsigned(1)) => {}
            Some(Value::Unsigned(version)) => {
                return Err(UnwrapError::unsupported(&format!("{TYPE} v{version}")));
            }
            _ => return Err(UnwrapError::malformed("no version")),
        }
        let Some(Value::Array(items)) = object.get("keys") else {
            return Err(MISTYPED);
        };
        if items.is_empty() || items.len() > Self::MAX_KEYS {
            return Err(UnwrapError::malformed("no keys, or too many"));
        }
        let keys: Result<Vec<_>, _> = items.iter().map(key).collect();
        let keys = keys?;
        if keys.iter().any(is_set) {
            return Err(UnwrapError::malformed("a set of keys within another"));
        }
        Ok(Self(keys))
    }

    /// Most keys in one set.
    pub const MAX_KEYS: usize = 64;
}

fn is_set(wrapped: &WrappedKey) -> bool {
    KeySet::of(wrapped).is_some()
}

fn render(wrapped: &WrappedKey) -> String {
    // INVARIANT: schemes are words, and the names of providers that we wrap for are checked where they come in.
    let scheme = serde_json::Value::from(wrapped.scheme.to_string());
    let key = STANDARD.encode(&wrapped.element);
    format!(r#"{{"scheme":{scheme},"key":"{key}"}}"#)
}

fn key(value: &Value) -> Result<WrappedKey, UnwrapError> {
    let object = value.as_object().ok_or(MISTYPED)?;
    let text = |name: &str| object.get(name).and_then(Value::as_str).ok_or(MISTYPED);
    let annotation = format!("{}{}", Scheme::ANNOTATION_PREFIX, text("scheme")?);
    Ok(WrappedKey {
        scheme: Scheme::from_annotation_key(&annotation)
            .ok_or_else(|| UnwrapError::unsupported(text("scheme").unwrap_or_default()))?,
        element: STANDARD
            .decode(text("key")?)
            .map_err(|_| UnwrapError::malformed("not canonical base64"))?,
    })
}

const TYPE: &str = "sealift.keys";
const MISTYPED: UnwrapError = UnwrapError::malformed("missing or mistyped member");
const MAX_DEPTH: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(scheme: Scheme, element: &[u8]) -> WrappedKey {
        WrappedKey {
            scheme,
            element: element.to_vec(),
        }
    }

    fn any(element: &[u8]) -> WrappedKey {
        wrapped(Scheme::Provider("any".into()), element)
    }

    const EXAMPLE: &str = r#"{"v":1,"type":"sealift.keys","keys":[{"scheme":"jwe","key":"e30="},{"scheme":"provider.sealift","key":"U0xXMQ=="}]}"#;

    #[test]
    fn a_set_is_written_and_read_as_the_specification_shows() {
        let keys = vec![
            wrapped(Scheme::Jwe, b"{}"),
            wrapped(Scheme::sealift(), b"SLW1"),
        ];
        let set = KeySet::new(keys.clone()).unwrap();
        assert_eq!(str::from_utf8(&set.to_element()), Ok(EXAMPLE));
        for name in ["any", "sealift", "attestation-agent"] {
            let element = wrapped(Scheme::Provider(name.into()), EXAMPLE.as_bytes());
            let read = KeySet::of(&element).unwrap().unwrap();
            assert_eq!(read.keys(), keys);
        }
        let in_another = wrapped(Scheme::Jwe, EXAMPLE.as_bytes());
        assert_eq!(KeySet::of(&in_another), None);
    }

    #[test]
    fn what_does_not_say_that_it_is_a_set_is_none() {
        for element in [
            "",
            "SLW1",
            "{}",
            "[]",
            r#"{"type":1}"#,
            r#"{"v":1,"type":"aes256"}"#,
            r#"{"kid":"k1","wrapped":"sealift.keys"}"#,
            &EXAMPLE[..EXAMPLE.len() - 1],
            &format!(" {EXAMPLE}"),
            &format!("{EXAMPLE}x"),
            &EXAMPLE.replace(r#""v":1,"#, r#""v":1,"v":1,"#),
        ] {
            assert_eq!(KeySet::of(&any(element.as_bytes())), None, "{element}");
        }
    }

    #[test]
    fn a_set_that_cannot_be_read_is_refused() {
        let malformed = |reason| UnwrapError::Malformed { reason };
        let unsupported = |name: &str| UnwrapError::UnsupportedAlgorithm { name: name.into() };
        let nested = STANDARD.encode(EXAMPLE);
        let many = vec![r#"{"scheme":"jwe","key":"e30="}"#; KeySet::MAX_KEYS + 1].join(",");
        for (rest, expected) in [
            (r#""keys":[]"#.to_owned(), malformed("no version")),
            (r#""v":"1","keys":[]"#.to_owned(), malformed("no version")),
            (
                r#""v":2,"keys":[]"#.to_owned(),
                unsupported("sealift.keys v2"),
            ),
            (r#""v":1"#.to_owned(), MISTYPED),
            (r#""v":1,"keys":{}"#.to_owned(), MISTYPED),
            (r#""v":1,"keys":[1]"#.to_owned(), MISTYPED),
            (r#""v":1,"keys":[{"key":""}]"#.to_owned(), MISTYPED),
            (r#""v":1,"keys":[{"scheme":"jwe"}]"#.to_owned(), MISTYPED),
            (
                r#""v":1,"keys":[]"#.to_owned(),
                malformed("no keys, or too many"),
            ),
            (
                format!(r#""v":1,"keys":[{many}]"#),
                malformed("no keys, or too many"),
            ),
            (
                r#""v":1,"keys":[{"scheme":"rot13","key":""}]"#.to_owned(),
                unsupported("rot13"),
            ),
            (
                r#""v":1,"keys":[{"scheme":"jwe","key":"e30"}]"#.to_owned(),
                malformed("not canonical base64"),
            ),
            (
                format!(r#""v":1,"keys":[{{"scheme":"provider.x","key":"{nested}"}}]"#),
                malformed("a set of keys within another"),
            ),
        ] {
            let element = format!(r#"{{"type":"sealift.keys",{rest}}}"#);
            let read = KeySet::of(&any(element.as_bytes()));
            assert_eq!(read, Some(Err(expected)), "{element}");
        }
    }

    #[test]
    fn no_set_is_made_that_nobody_reads() {
        let new = |keys| KeySet::new(keys).map(|_| ());
        assert_eq!(new(Vec::new()), Err(WrapError::Refused));
        let many = vec![wrapped(Scheme::Jwe, b"{}"); KeySet::MAX_KEYS + 1];
        assert_eq!(new(many), Err(WrapError::Refused));
        assert_eq!(new(vec![any(EXAMPLE.as_bytes())]), Err(WrapError::Refused));
        let limit = MAX_ELEMENT_LEN;
        let long = wrapped(Scheme::Jwe, &vec![b' '; limit * 3 / 4]);
        assert_eq!(new(vec![long]), Err(WrapError::TooLong { limit }));
    }
}
