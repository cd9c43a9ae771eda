use std::fmt;

use zeroize::Zeroizing;

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
}

impl fmt::Debug for LayerSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LayerSecret(..)")
    }
}
