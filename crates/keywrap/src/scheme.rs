use std::fmt;

/// The envelope of a wrapped key, named as in the annotation that carries it.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Scheme {
    /// JSON Web Encryption, RFC 7516.
    Jwe,
    /// PKCS #7 `EnvelopedData`, RFC 5652.
    Pkcs7,
    /// OpenPGP, RFC 9580.
    Pgp,
    /// RSA-OAEP through a PKCS #11 token.
    Pkcs11,
    /// An ocicrypt key provider, by name; `sealift` is our own (`SPEC.md` of the layer crate, section 3).
    Provider(Box<str>),
}

impl Scheme {
    /// Returns our own scheme: customer keys, X-Wing, key holders.
    pub fn sealift() -> Self {
        Self::Provider("sealift".into())
    }

    /// Returns the annotation key that carries elements of this scheme.
    pub fn annotation_key(&self) -> String {
        format!("{}{self}", Self::ANNOTATION_PREFIX)
    }

    /// Recognises an annotation key; `None` for annotations that carry no wrapped keys.
    pub fn from_annotation_key(key: &str) -> Option<Self> {
        match key.strip_prefix(Self::ANNOTATION_PREFIX)? {
            "jwe" => Some(Self::Jwe),
            "pkcs7" => Some(Self::Pkcs7),
            "pgp" => Some(Self::Pgp),
            "pkcs11" => Some(Self::Pkcs11),
            other => match other.strip_prefix("provider.") {
                Some(name) if !name.is_empty() => Some(Self::Provider(name.into())),
                _ => None,
            },
        }
    }

    /// Prefix of every annotation that carries wrapped keys.
    pub const ANNOTATION_PREFIX: &'static str = "org.opencontainers.image.enc.keys.";
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jwe => f.write_str("jwe"),
            Self::Pkcs7 => f.write_str("pkcs7"),
            Self::Pgp => f.write_str("pgp"),
            Self::Pkcs11 => f.write_str("pkcs11"),
            Self::Provider(name) => write!(f, "provider.{name}"),
        }
    }
}

/// One element of a key annotation, after base64.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct WrappedKey {
    /// Which annotation it stands in.
    pub scheme: Scheme,
    /// The envelope.
    pub element: Vec<u8>,
}
