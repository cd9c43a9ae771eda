use std::fmt;

use serde::{Deserialize, Serialize};

/// An algorithm suite of a wrap.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Suite {
    /// Shoup and Gennaro's TDH2 on P-256 (`SPEC.md`, section 8): the default.
    #[default]
    #[serde(rename = "P256-TDH2-HKDF-SHA256-A256GCM")]
    Tdh2,
    /// A secret per wrap, shared over GF(256), each share sealed with X-Wing (section 16).
    #[serde(rename = "SSS-HPKE-XWING")]
    SssXwing,
    /// Both, and both are needed (section 17).
    #[serde(rename = "P256-TDH2+SSS-HPKE-XWING")]
    Hybrid,
}

impl Suite {
    /// Returns the name that labels and descriptors carry.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tdh2 => "P256-TDH2-HKDF-SHA256-A256GCM",
            Self::SssXwing => "SSS-HPKE-XWING",
            Self::Hybrid => "P256-TDH2+SSS-HPKE-XWING",
        }
    }

    /// Returns the octet that stands for the suite in compact forms.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tdh2 => 1,
            Self::SssXwing => 2,
            Self::Hybrid => 3,
        }
    }

    /// Returns whether wraps of the suite hold a share sealed to each holder.
    pub const fn has_sealed_shares(self) -> bool {
        matches!(self, Self::SssXwing | Self::Hybrid)
    }

    /// Finds a suite by its octet.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.number() == number)
    }

    /// Finds a suite by its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.as_str() == name)
    }

    const ALL: [Self; 3] = [Self::Tdh2, Self::SssXwing, Self::Hybrid];
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
