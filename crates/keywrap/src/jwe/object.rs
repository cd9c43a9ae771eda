//! The three serialisations (RFC 7516, section 7).

use super::{
    MAX_DEPTH, MAX_RECIPIENTS,
    content::Content,
    header::{Header, base64url, decode_protected},
};
use crate::{
    EcPoint, MAX_ELEMENT_LEN, UnwrapError,
    strict_json::{Object, Value},
};

/// A JWE whose structure has been checked, and nothing else.
#[derive(Debug)]
pub struct Jwe {
    pub(super) content: Content,
    pub(super) recipients: Vec<RecipientPart>,
}

/// What an object holds for one recipient.
#[derive(Debug)]
pub struct RecipientPart {
    pub(super) header: Header,
    pub(super) encrypted_key: Vec<u8>,
}

impl RecipientPart {
    /// Returns `alg` as it stands in the header.
    pub fn algorithm(&self) -> &str {
        &self.header.algorithm
    }

    /// Returns the sender's ephemeral key (`epk`), which lies on its curve.
    ///
    /// # Errors
    /// [`UnwrapError::Malformed`] if there is none or it is no such point, [`UnwrapError::UnsupportedAlgorithm`] for
    /// another kind of key.
    pub fn ephemeral_key(&self) -> Result<&EcPoint, UnwrapError> {
        let ephemeral = self.header.ephemeral.as_ref();
        ephemeral.map_err(|defect| defect.clone().into())
    }

    /// Returns `kid`.
    pub fn key_id(&self) -> Option<&str> {
        self.header.key_id.as_deref()
    }
}

impl Jwe {
    /// Reads a compact, flattened or general serialisation.
    ///
    /// # Errors
    /// [`UnwrapError::Malformed`] or, for `enc`, `zip` and `crit`, [`UnwrapError::UnsupportedAlgorithm`].
    /// An unknown `alg` or a bad `epk` is an error of its recipient only, reported when that one is opened.
    pub fn parse(element: &[u8]) -> Result<Self, UnwrapError> {
        if element.len() > MAX_ELEMENT_LEN {
            return Err(UnwrapError::malformed("element too long"));
        }
        let text = element.trim_ascii();
        if text.first() == Some(&b'{') {
            match Value::parse(text, MAX_DEPTH) {
                Ok(Value::Object(object)) => Self::from_json(&object),
                Ok(_) => Err(UnwrapError::malformed("not a JSON object")),
                Err(error) => Err(UnwrapError::malformed(error.reason())),
            }
        } else {
            let text = str::from_utf8(text).map_err(|_| UnwrapError::malformed("not a JWE"))?;
            Self::from_compact(text)
        }
    }

    /// Returns what the object says about each recipient.
    pub fn recipients(&self) -> impl Iterator<Item = &RecipientPart> {
        self.recipients.iter()
    }

    fn from_compact(text: &str) -> Result<Self, UnwrapError> {
        let mut parts = text.split('.');
        let (Some(protected), Some(key), Some(iv), Some(ciphertext), Some(tag), None) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return Err(UnwrapError::malformed("not a JWE"));
        };
        let header = Header::join(&[&decode_protected(protected)?])?;
        let recipient = RecipientPart {
            header,
            encrypted_key: member_octets(key)?,
        };
        Self::assemble(
            vec![recipient],
            [iv, ciphertext, tag],
            protected.as_bytes().to_vec(),
        )
    }

    fn from_json(object: &Object) -> Result<Self, UnwrapError> {
        let encoded = text(object, "protected")?.unwrap_or_default();
        let protected = if encoded.is_empty() {
            Object::new()
        } else {
            decode_protected(encoded)?
        };
        let shared = headers(object, "unprotected")?;
        let recipients = match object.get("recipients") {
            None => vec![recipient(object, &protected, shared)?],
            Some(Value::Array(list)) => general(object, list, &protected, shared)?,
            Some(_) => return Err(UnwrapError::malformed("`recipients` is not an array")),
        };
        let mut aad = encoded.as_bytes().to_vec();
        if let Some(additional) = text(object, "aad")? {
            member_octets(additional)?;
            aad.push(b'.');
            aad.extend_from_slice(additional.as_bytes());
        }
        let part = |name| Ok::<_, UnwrapError>(text(object, name)?.unwrap_or_default());
        Self::assemble(
            recipients,
            [part("iv")?, part("ciphertext")?, part("tag")?],
            aad,
        )
    }

    fn assemble(
        recipients: Vec<RecipientPart>,
        [iv, ciphertext, tag]: [&str; 3],
        aad: Vec<u8>,
    ) -> Result<Self, UnwrapError> {
        let first = recipients
            .first()
            .ok_or(UnwrapError::malformed("no recipient"))?;
        let encryption = first.header.content_encryption()?;
        if recipients
            .iter()
            .any(|other| other.header.encryption != first.header.encryption)
        {
            return Err(UnwrapError::malformed("recipients differ in `enc`"));
        }
        let content = Content {
            encryption,
            iv: member_octets(iv)?,
            ciphertext: member_octets(ciphertext)?,
            tag: member_octets(tag)?,
            aad,
        };
        if content.iv.len() != encryption.iv_len() {
            return Err(UnwrapError::malformed("`iv` of the wrong length"));
        }
        if content.tag.len() != encryption.tag_len() {
            return Err(UnwrapError::malformed("`tag` of the wrong length"));
        }
        Ok(Self {
            content,
            recipients,
        })
    }
}

fn general(
    object: &Object,
    list: &[Value],
    protected: &Object,
    shared: Option<&Object>,
) -> Result<Vec<RecipientPart>, UnwrapError> {
    if list.len() > MAX_RECIPIENTS {
        return Err(UnwrapError::malformed("too many recipients"));
    }
    if object.contains_key("header") {
        return Err(UnwrapError::malformed("`header` beside `recipients`"));
    }
    let members: Vec<&Object> = list
        .iter()
        .map(|entry| {
            entry
                .as_object()
                .ok_or(UnwrapError::malformed("recipient is not an object"))
        })
        .collect::<Result<_, _>>()?;
    // go-jose repeats the first recipient's key at the top (ocicrypt writes all its images so). A different value
    // there would be a second message for readers that prefer it.
    if let Some(stray) = text(object, "encrypted_key")? {
        let first = members.first().map(|first| text(first, "encrypted_key"));
        if first.transpose()?.flatten() != Some(stray) {
            return Err(UnwrapError::malformed(
                "top-level `encrypted_key` contradicts `recipients`",
            ));
        }
    }
    members
        .into_iter()
        .map(|entry| recipient(entry, protected, shared))
        .collect()
}

fn recipient(
    entry: &Object,
    protected: &Object,
    shared: Option<&Object>,
) -> Result<RecipientPart, UnwrapError> {
    let own = headers(entry, "header")?;
    let places: Vec<&Object> = [Some(protected), shared, own]
        .into_iter()
        .flatten()
        .collect();
    Ok(RecipientPart {
        header: Header::join(&places)?,
        encrypted_key: member_octets(text(entry, "encrypted_key")?.unwrap_or_default())?,
    })
}

fn headers<'a>(object: &'a Object, name: &str) -> Result<Option<&'a Object>, UnwrapError> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_object()
            .map(Some)
            .ok_or(UnwrapError::malformed("header is not an object")),
    }
}

fn text<'a>(object: &'a Object, name: &str) -> Result<Option<&'a str>, UnwrapError> {
    match object.get(name) {
        None => Ok(None),
        Some(value) => value
            .as_str()
            .map(Some)
            .ok_or(UnwrapError::malformed("member of the wrong type")),
    }
}

fn member_octets(encoded: &str) -> Result<Vec<u8>, UnwrapError> {
    base64url(encoded).ok_or(UnwrapError::malformed("not canonical base64url"))
}
