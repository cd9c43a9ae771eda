//! The JSON elements of the sealift annotation (`SPEC.md` of the layer crate, section 3): what they have in common.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    MAX_ELEMENT_LEN, UnwrapError,
    strict_json::{Object, Value},
};

/// An element of version 1 whose type is the wanted one.
pub(crate) struct Members(Value);

impl Members {
    /// Reads an element.
    ///
    /// # Errors
    /// [`UnwrapError::UnsupportedAlgorithm`] with the name of another type or version; [`UnwrapError::Malformed`].
    pub(crate) fn parse(element: &[u8], wanted: &str) -> Result<Self, UnwrapError> {
        if element.len() > MAX_ELEMENT_LEN {
            return Err(UnwrapError::malformed("element too long"));
        }
        if element.first() == Some(&THRESHOLD) {
            return Err(UnwrapError::unsupported("threshold"));
        }
        let value = Value::parse(element, MAX_DEPTH)
            .map_err(|error| UnwrapError::malformed(error.reason()))?;
        let members = Self(value);
        let kind = members.text("type")?;
        match members.object()?.get("v") {
            Some(Value::Unsigned(1)) => {}
            Some(Value::Unsigned(version)) => {
                return Err(UnwrapError::unsupported(&format!("{kind} v{version}")));
            }
            _ => return Err(UnwrapError::malformed("no version")),
        }
        if kind != wanted {
            return Err(UnwrapError::unsupported(kind));
        }
        Ok(members)
    }

    /// Returns `kid`, the hex SHA-256 by which an element names its key.
    pub(crate) fn key_id(&self) -> Result<&str, UnwrapError> {
        let key_id = self.text("kid")?;
        let is_hex = key_id
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if key_id.len() != 64 || !is_hex {
            return Err(UnwrapError::malformed("`kid` is not a hex SHA-256"));
        }
        Ok(key_id)
    }

    /// Decodes a member that is base64.
    pub(crate) fn base64(&self, name: &str) -> Result<Vec<u8>, UnwrapError> {
        STANDARD
            .decode(self.text(name)?)
            .map_err(|_| UnwrapError::malformed("not canonical base64"))
    }

    fn text(&self, name: &str) -> Result<&str, UnwrapError> {
        self.object()?
            .get(name)
            .and_then(Value::as_str)
            .ok_or(UnwrapError::malformed("missing or mistyped member"))
    }

    fn object(&self) -> Result<&Object, UnwrapError> {
        self.0
            .as_object()
            .ok_or(UnwrapError::malformed("not a JSON object"))
    }
}

const MAX_DEPTH: usize = 8;

/// First octet of a threshold wrap in compact form, which shares the annotation.
const THRESHOLD: u8 = b'S';
