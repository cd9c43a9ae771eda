use base64::{Engine, engine::general_purpose::STANDARD};

use super::{MAX_DEPTH, MAX_RECIPIENTS};
use crate::{
    LayerSecret, MAX_ELEMENT_LEN, OaepDecryption, UnwrapError,
    error::printable,
    jwe::{OaepHash, more_telling},
    keys::MAX_RSA_BITS,
    strict_json::{Object, Value},
};

/// What stands in an `org.opencontainers.image.enc.keys.pkcs11` annotation, after base64.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Element {
    recipients: Vec<RecipientPart>,
}

/// The layer key as encrypted for one recipient.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RecipientPart {
    blob: Vec<u8>,
    hash: Result<OaepHash, Box<str>>,
}

impl RecipientPart {
    /// Returns the algorithm as JWE names it, or what stands there instead of a known one.
    pub fn algorithm(&self) -> Box<str> {
        match &self.hash {
            Ok(OaepHash::Sha1) => "RSA-OAEP".into(),
            Ok(OaepHash::Sha256) => "RSA-OAEP-256".into(),
            Err(name) => name.clone(),
        }
    }

    /// Borrows the ciphertext.
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }
}

impl Element {
    /// Makes an element of one recipient.
    pub(super) fn new(blob: Vec<u8>, hash: OaepHash) -> Self {
        Self {
            recipients: vec![RecipientPart {
                blob,
                hash: Ok(hash),
            }],
        }
    }

    /// Reads an element.
    ///
    /// # Errors
    /// [`UnwrapError::Malformed`], [`UnwrapError::UnsupportedAlgorithm`] for another version of the whole.
    pub fn parse(octets: &[u8]) -> Result<Self, UnwrapError> {
        if octets.len() > MAX_ELEMENT_LEN {
            return Err(UnwrapError::malformed("longer than any wrapped key"));
        }
        let value = Value::parse(octets, MAX_DEPTH)
            .map_err(|error| UnwrapError::malformed(error.reason()))?;
        let members = value
            .as_object()
            .ok_or(UnwrapError::malformed("not a JSON object"))?;
        if let Some(version) = foreign_version(members)? {
            return Err(UnwrapError::UnsupportedAlgorithm {
                name: format!("pkcs11 version {version}").into(),
            });
        }
        let Some(Value::Array(recipients)) = members.get("recipients") else {
            return Err(UnwrapError::malformed("no list of recipients"));
        };
        if recipients.is_empty() {
            return Err(UnwrapError::malformed("no recipients"));
        }
        if recipients.len() > MAX_RECIPIENTS {
            return Err(UnwrapError::malformed("too many recipients"));
        }
        let recipients = recipients.iter().map(recipient).collect::<Result<_, _>>()?;
        Ok(Self { recipients })
    }

    /// Iterates over the recipients.
    pub fn recipients(&self) -> impl Iterator<Item = &RecipientPart> {
        self.recipients.iter()
    }

    /// Opens the element with an RSA key, wherever that key lives.
    ///
    /// # Errors
    /// [`UnwrapError::NotForThisKey`] for everything that depends on the private key;
    /// [`UnwrapError::UnsupportedAlgorithm`] if no recipient could be tried.
    pub fn open_with_oaep(&self, key: &dyn OaepDecryption) -> Result<LayerSecret, UnwrapError> {
        let mut worst = None;
        for recipient in &self.recipients {
            let error = match &recipient.hash {
                Err(name) => UnwrapError::UnsupportedAlgorithm { name: name.clone() },
                // Public knowledge: a ciphertext for this modulus has its length.
                Ok(_) if recipient.blob.len() != key.modulus_len() => UnwrapError::NotForThisKey,
                Ok(hash) => match key.decrypt_oaep(*hash, &recipient.blob) {
                    Some(secret) => return Ok(LayerSecret::new(secret)),
                    None => UnwrapError::NotForThisKey,
                },
            };
            worst = Some(more_telling(worst, error));
        }
        Err(worst.unwrap_or(UnwrapError::NotForThisKey))
    }

    /// Writes the element, member for member as ocicrypt does.
    pub fn to_octets(&self) -> Vec<u8> {
        let mut text = String::from(r#"{"version":0,"recipients":["#);
        for (index, recipient) in self.recipients.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            text.push_str(r#"{"version":0,"blob":""#);
            STANDARD.encode_string(&recipient.blob, &mut text);
            let hash = match &recipient.hash {
                Ok(OaepHash::Sha1) => "sha1".into(),
                Ok(OaepHash::Sha256) => "sha256".into(),
                Err(name) => name.clone(),
            };
            text.push_str(r#"","hash":"#);
            text.push_str(&serde_json::Value::from(&*hash).to_string());
            text.push('}');
        }
        text.push_str("]}");
        text.into_bytes()
    }
}

/// Returns a version that is not ours; missing and null are version 0, as Go reads them.
fn foreign_version(members: &Object) -> Result<Option<u64>, UnwrapError> {
    match members.get("version") {
        None | Some(Value::Null | Value::Unsigned(0)) => Ok(None),
        Some(Value::Unsigned(version)) => Ok(Some(*version)),
        Some(_) => Err(UnwrapError::malformed("version is no number")),
    }
}

fn recipient(value: &Value) -> Result<RecipientPart, UnwrapError> {
    let members = value
        .as_object()
        .ok_or(UnwrapError::malformed("recipient is not a JSON object"))?;
    let blob = members
        .get("blob")
        .and_then(Value::as_str)
        .ok_or(UnwrapError::malformed("recipient without blob"))?;
    let blob = STANDARD
        .decode(blob)
        .map_err(|_| UnwrapError::malformed("blob is not base64"))?;
    if blob.is_empty() || blob.len() > MAX_RSA_BITS / 8 {
        return Err(UnwrapError::malformed("blob is not as long as an RSA key"));
    }
    let hash = match members.get("hash") {
        None | Some(Value::Null) => "",
        Some(Value::String(name)) => name,
        Some(_) => return Err(UnwrapError::malformed("hash is no text")),
    };
    let hash = match (foreign_version(members)?, hash) {
        (Some(version), _) => Err(format!("pkcs11 version {version}").into()),
        (None, "" | "sha1") => Ok(OaepHash::Sha1),
        (None, "sha256") => Ok(OaepHash::Sha256),
        (None, other) => Err(printable(other)),
    };
    Ok(RecipientPart { blob, hash })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn malformed(text: &str) -> &'static str {
        match Element::parse(text.as_bytes()) {
            Err(UnwrapError::Malformed { reason }) => reason,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn refuses_what_is_no_element() {
        for (text, reason) in [
            ("", "not JSON"),
            ("[]", "not a JSON object"),
            ("{}", "no list of recipients"),
            (r#"{"recipients":{}}"#, "no list of recipients"),
            (r#"{"recipients":null}"#, "no list of recipients"),
            (r#"{"recipients":[]}"#, "no recipients"),
            (r#"{"recipients":[1]}"#, "recipient is not a JSON object"),
            (r#"{"recipients":[{}]}"#, "recipient without blob"),
            (r#"{"recipients":[{"blob":1}]}"#, "recipient without blob"),
            (r#"{"recipients":[{"blob":"%"}]}"#, "blob is not base64"),
            (r#"{"recipients":[{"blob":"YQ"}]}"#, "blob is not base64"),
            (r#"{"recipients":[{"blob":"YR=="}]}"#, "blob is not base64"),
            (
                r#"{"recipients":[{"blob":""}]}"#,
                "blob is not as long as an RSA key",
            ),
            (
                r#"{"recipients":[{"blob":"YQ==","hash":1}]}"#,
                "hash is no text",
            ),
            (r#"{"version":"0","recipients":[]}"#, "version is no number"),
            (r#"{"version":-1,"recipients":[]}"#, "version is no number"),
            (
                r#"{"recipients":[{"blob":"YQ==","version":true}]}"#,
                "version is no number",
            ),
            (
                r#"{"recipients":[],"recipients":[]}"#,
                "duplicate JSON member",
            ),
            (r#"{"recipients":[{"blob":"YQ=="}]} x"#, "not JSON"),
            (
                r#"{"x":[[[[[[[[1]]]]]]]],"recipients":[{"blob":"YQ=="}]}"#,
                "JSON nested too deeply",
            ),
        ] {
            assert_eq!(malformed(text), reason, "{text}");
        }
        let long = format!(
            r#"{{"recipients":[{{"blob":"{}"}}]}}"#,
            STANDARD.encode(vec![1; 1025])
        );
        assert_eq!(malformed(&long), "blob is not as long as an RSA key");
        let one = r#"{"blob":"YQ=="}"#;
        let many = vec![one; MAX_RECIPIENTS + 1].join(",");
        assert_eq!(
            malformed(&format!(r#"{{"recipients":[{many}]}}"#)),
            "too many recipients"
        );
        let padded = format!(r#"{{"x":"{}"}}"#, "x".repeat(MAX_ELEMENT_LEN));
        assert_eq!(malformed(&padded), "longer than any wrapped key");
    }

    #[test]
    fn a_version_to_come_is_named() {
        let error = Element::parse(br#"{"version":1,"recipients":[{"blob":"YQ=="}]}"#).unwrap_err();
        let name = "pkcs11 version 1".into();
        assert_eq!(error, UnwrapError::UnsupportedAlgorithm { name });
    }

    #[test]
    fn a_hash_that_is_missing_is_sha1_and_an_unknown_one_stops_only_its_recipient() {
        let text = r#"{"recipients":[{"blob":"YQ=="},{"blob":"YQ==","hash":""},{"blob":"YQ==","hash":null},
            {"blob":"YQ==","hash":"sha1"},{"blob":"YQ==","hash":"sha256","more":[]},{"blob":"YQ==","hash":"SHA1"},
            {"blob":"YQ==","hash":"sha256","version":2}]}"#;
        let element = Element::parse(text.as_bytes()).unwrap();
        let names: Vec<_> = element.recipients().map(RecipientPart::algorithm).collect();
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        assert_eq!(
            names,
            [
                "RSA-OAEP",
                "RSA-OAEP",
                "RSA-OAEP",
                "RSA-OAEP",
                "RSA-OAEP-256",
                "SHA1",
                "pkcs11 version 2"
            ]
        );
    }

    #[test]
    fn what_ocicrypt_wrote_is_written_alike() {
        let text = r#"{"version":0,"recipients":[{"version":0,"blob":"YWI=","hash":"sha1"},{"version":0,"blob":"YWI=","hash":"sha256"}]}"#;
        let element = Element::parse(text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(element.to_octets()).unwrap(), text);
    }
}
