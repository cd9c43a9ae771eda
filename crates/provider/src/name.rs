use std::fmt;

use crate::ProviderError;

/// The name of a key provider: what it is called in the configuration, in the annotation and among the parameters.
///
/// ASCII letters, digits, `.`, `_` and `-`, beginning with a letter or a digit. Names that mean something else there are none:
/// `sealift` is our own annotation, and the others are parameters of ocicrypt's built-in schemes.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ProviderName(Box<str>);

impl ProviderName {
    /// Takes a name.
    ///
    /// # Errors
    /// [`ProviderError::BadName`], [`ProviderError::ReservedName`]
    pub fn parse(name: &str) -> Result<Self, ProviderError> {
        let sound = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let begins = name
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric());
        if !begins || name.len() > Self::MAX_LEN || !name.bytes().all(sound) {
            return Err(ProviderError::BadName);
        }
        if RESERVED.contains(&name) {
            return Err(ProviderError::ReservedName);
        }
        Ok(Self(name.into()))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Most octets of a name.
    pub const MAX_LEN: usize = 64;
}

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Our own annotation, and the parameters that ocicrypt's own schemes have.
const RESERVED: &[&str] = &[
    "sealift",
    "gpg-pubkeyringfile",
    "gpg-privatekeys",
    "gpg-privatekeys-passwords",
    "gpg-recipients",
    "pkcs11-config",
    "pkcs11-pubkeys",
    "pkcs11-yamls",
    "privkeys",
    "privkeys-passwords",
    "pubkeys",
    "x509s",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        for name in ["demo", "attestation-agent", "a.b_c", "7", &"a".repeat(64)] {
            let parsed = ProviderName::parse(name).map(|name| name.to_string());
            assert_eq!(parsed.ok().as_deref(), Some(name));
        }
        for name in [
            "",
            ".",
            "-a",
            "a b",
            "a/b",
            "a\"b",
            "a,b",
            "ä",
            "a\n",
            &"a".repeat(65),
        ] {
            let error = ProviderName::parse(name).err();
            assert!(matches!(error, Some(ProviderError::BadName)), "{name:?}");
        }
    }

    #[test]
    fn names_that_mean_something_else_are_refused() {
        for name in RESERVED {
            let error = ProviderName::parse(name).err();
            assert!(matches!(error, Some(ProviderError::ReservedName)), "{name}");
        }
    }
}
