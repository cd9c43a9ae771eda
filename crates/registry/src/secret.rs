use std::fmt;

use zeroize::Zeroizing;

/// A password or token: wiped on drop, silent under `Debug`.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes over the text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Borrows the text.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Makes another copy, for a connection that outlives its origin.
    pub(crate) fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
