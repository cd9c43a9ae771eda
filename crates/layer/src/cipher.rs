use std::fmt;

/// How a layer is sealed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Cipher {
    /// C2SP chunked encryption with AES-256-GCM, the default (`SPEC.md`, section 1).
    Chunked,
    /// AES-256-CTR and HMAC-SHA-256 as ocicrypt has them (`SPEC.md`, section 2).
    CtrHmac,
}

impl Cipher {
    /// Returns the name in public options.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chunked => "C2SP_CHUNKED_AES_256_GCM",
            Self::CtrHmac => "AES_256_CTR_HMAC_SHA256",
        }
    }

    /// Recognises a name; `None` for ciphers this build does not implement.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Chunked, Self::CtrHmac]
            .into_iter()
            .find(|cipher| cipher.name() == name)
    }
}

impl fmt::Display for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
