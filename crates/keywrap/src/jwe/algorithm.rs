/// How the content-encryption key reaches its recipient (RFC 7518, section 4.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyManagement {
    /// RSAES-OAEP with empty label.
    RsaOaep(OaepHash),
    /// Ephemeral-static ECDH, then AES key wrap.
    EcdhEs(WrapWidth),
}

impl KeyManagement {
    /// Recognises an `alg` value.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }

    /// Returns the `alg` value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RsaOaep(OaepHash::Sha1) => "RSA-OAEP",
            Self::RsaOaep(OaepHash::Sha256) => "RSA-OAEP-256",
            Self::EcdhEs(WrapWidth::A128) => "ECDH-ES+A128KW",
            Self::EcdhEs(WrapWidth::A192) => "ECDH-ES+A192KW",
            Self::EcdhEs(WrapWidth::A256) => "ECDH-ES+A256KW",
        }
    }

    const ALL: [Self; 5] = [
        Self::RsaOaep(OaepHash::Sha1),
        Self::RsaOaep(OaepHash::Sha256),
        Self::EcdhEs(WrapWidth::A128),
        Self::EcdhEs(WrapWidth::A192),
        Self::EcdhEs(WrapWidth::A256),
    ];
}

/// Hash of RSAES-OAEP and of its mask generation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OaepHash {
    /// What ocicrypt writes. Not broken in this use.
    Sha1,
    /// RFC 7518's `RSA-OAEP-256`.
    Sha256,
}

/// Key length of AES key wrap (RFC 3394).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WrapWidth {
    /// 128 bits.
    A128,
    /// 192 bits.
    A192,
    /// 256 bits.
    A256,
}

impl WrapWidth {
    /// Returns the key length in octets.
    pub const fn key_len(self) -> usize {
        match self {
            Self::A128 => 16,
            Self::A192 => 24,
            Self::A256 => 32,
        }
    }
}

/// How the content is encrypted (RFC 7518, section 5.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ContentEncryption {
    A128Gcm,
    A192Gcm,
    A256Gcm,
    A128CbcHs256,
    A192CbcHs384,
    A256CbcHs512,
}

impl ContentEncryption {
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "A128GCM" => Self::A128Gcm,
            "A192GCM" => Self::A192Gcm,
            "A256GCM" => Self::A256Gcm,
            "A128CBC-HS256" => Self::A128CbcHs256,
            "A192CBC-HS384" => Self::A192CbcHs384,
            "A256CBC-HS512" => Self::A256CbcHs512,
            _ => return None,
        })
    }

    pub(super) const fn key_len(self) -> usize {
        match self {
            Self::A128Gcm => 16,
            Self::A192Gcm => 24,
            Self::A256Gcm | Self::A128CbcHs256 => 32,
            Self::A192CbcHs384 => 48,
            Self::A256CbcHs512 => 64,
        }
    }

    pub(super) const fn iv_len(self) -> usize {
        match self {
            Self::A128Gcm | Self::A192Gcm | Self::A256Gcm => 12,
            Self::A128CbcHs256 | Self::A192CbcHs384 | Self::A256CbcHs512 => 16,
        }
    }

    pub(super) const fn tag_len(self) -> usize {
        match self {
            Self::A128Gcm | Self::A192Gcm | Self::A256Gcm | Self::A128CbcHs256 => 16,
            Self::A192CbcHs384 => 24,
            Self::A256CbcHs512 => 32,
        }
    }
}
