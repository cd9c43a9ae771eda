//! ASCII armour (RFC 9580, section 6), around keys only.

use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::KeyError;

/// What an armoured file says it holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    PublicKeys,
    SecretKeys,
}

impl Kind {
    const fn label(self) -> &'static str {
        match self {
            Self::PublicKeys => "-----BEGIN PGP PUBLIC KEY BLOCK-----",
            Self::SecretKeys => "-----BEGIN PGP PRIVATE KEY BLOCK-----",
        }
    }

    const fn tail(self) -> &'static str {
        match self {
            Self::PublicKeys => "-----END PGP PUBLIC KEY BLOCK-----",
            Self::SecretKeys => "-----END PGP PRIVATE KEY BLOCK-----",
        }
    }

    /// Returns the kind of the first block of keys; `None` if there is none.
    pub(super) fn of(file: &[u8]) -> Option<Self> {
        let text = str::from_utf8(file).ok()?;
        text.lines().map(str::trim_end).find_map(|line| {
            [Self::PublicKeys, Self::SecretKeys]
                .into_iter()
                .find(|kind| kind.label() == line)
        })
    }
}

/// Returns the octets of a file of `kind`, armoured or not; text between blocks is passed over.
///
/// The checksum of old armour is not looked at (section 6.1): it says nothing that the keys do not.
pub(super) fn decode(file: &[u8], kind: Kind) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    match Kind::of(file) {
        None => return Ok(Zeroizing::new(file.to_vec())),
        Some(found) if found == kind => {}
        Some(Kind::PublicKeys) => return Err(KeyError::PrivateExpected),
        Some(Kind::SecretKeys) => return Err(KeyError::PublicExpected),
    }
    let text = str::from_utf8(file).map_err(|_| KeyError::NotAKey)?;
    // Neither grows: that would leave copies behind.
    let mut octets = Zeroizing::new(Vec::with_capacity(file.len()));
    let mut lines = text.lines().map(str::trim_end);
    while let Some(line) = lines.next() {
        if line != kind.label() {
            continue;
        }
        let mut base64 = Zeroizing::new(String::with_capacity(file.len()));
        let mut is_header = true;
        loop {
            let line = lines
                .next()
                .ok_or(KeyError::malformed("armour without end"))?;
            if line == kind.tail() {
                break;
            }
            if is_header {
                is_header = !line.is_empty();
                if is_header && !line.contains(": ") {
                    return Err(KeyError::malformed("armour without an empty line"));
                }
            } else if !line.starts_with('=') {
                base64.push_str(line);
            }
        }
        STANDARD
            .decode_vec(base64.as_bytes(), &mut octets)
            .map_err(|_| KeyError::malformed("armour is not base64"))?;
    }
    Ok(octets)
}
