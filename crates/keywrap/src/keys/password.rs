use std::fmt;

use zeroize::Zeroizing;

/// The password of an encrypted key file. Wiped on drop, silent under `Debug`.
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// Takes the octets of a password, exactly.
    pub fn new(octets: Zeroizing<Vec<u8>>) -> Self {
        Self(octets)
    }

    /// Borrows the password.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Password {
    fn from(text: &str) -> Self {
        Self(Zeroizing::new(text.as_bytes().to_vec()))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}
