use std::{fmt, num::NonZeroU8};

use serde::{Deserialize, Serialize};

/// The index of a key holder, 1 to 255: the abscissa of its share.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct HolderId(NonZeroU8);

impl HolderId {
    /// Takes an index; `None` for 0, where the secret itself would be.
    pub fn new(index: u8) -> Option<Self> {
        NonZeroU8::new(index).map(Self)
    }

    /// Returns the index.
    pub const fn get(self) -> u8 {
        self.0.get()
    }

    /// Returns the two octets that stand for this holder in every transcript.
    pub(crate) fn octets(self) -> [u8; 2] {
        u16::from(self.get()).to_be_bytes()
    }
}

impl fmt::Display for HolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
