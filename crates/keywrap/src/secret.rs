use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::strict_json::Value;

/// The private options of one layer (`{"symkey":…,"digest":…,"cipheroptions":{…}}`): what recipients unwrap.
///
/// Wiped on drop. Not `Clone`, not `Serialize`, and silent under `Debug`.
pub struct LayerSecret(Zeroizing<Vec<u8>>);

impl LayerSecret {
    /// Takes the octets of a secret.
    pub fn new(octets: Zeroizing<Vec<u8>>) -> Self {
        Self(octets)
    }

    /// Borrows the secret octets.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Returns whether these are private options at all: an object with a `symkey` of 32 octets.
    ///
    /// Whoever has nothing to hold a secret against asks this; a layer asks more.
    pub fn is_private_options(&self) -> bool {
        let Ok(value) = Value::parse(&self.0, MAX_DEPTH) else {
            return false;
        };
        let key = value.as_object().and_then(|options| options.get("symkey"));
        let mut octets = Zeroizing::new([0; KEY_LEN + 1]);
        key.and_then(Value::as_str)
            .is_some_and(|text| STANDARD.decode_slice(text, &mut *octets) == Ok(KEY_LEN))
    }
}

/// Octets of a layer key.
const KEY_LEN: usize = 32;
const MAX_DEPTH: usize = 4;

impl fmt::Debug for LayerSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LayerSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_options_have_a_key_of_32_octets() {
        let is = |text: &str| {
            LayerSecret::new(Zeroizing::new(text.as_bytes().to_vec())).is_private_options()
        };
        let key = STANDARD.encode([7; 32]);
        assert!(is(&format!(r#"{{"symkey":"{key}"}}"#)));
        assert!(is(&format!(
            r#"{{"symkey":"{key}","digest":"","cipheroptions":{{"nonce":"AA=="}}}}"#
        )));
        for text in [
            "",
            "{}",
            "[]",
            r#"{"symkey":null}"#,
            r#"{"symkey":""}"#,
            &format!(r#"{{"symkey":"{}"}}"#, STANDARD.encode([7; 31])),
            &format!(r#"{{"symkey":"{}"}}"#, STANDARD.encode([7; 33])),
            &format!(r#"{{"symkey":"{key}"}}x"#),
            &format!(r#"{{"symkey":"{key}","symkey":"{key}"}}"#),
        ] {
            assert!(!is(text), "{text}");
        }
    }
}
