use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest as sha2;
use sealift_sha256::Sha256;
use thiserror::Error;

/// The digest of a stored blob: `algorithm:hex` (image-spec, `descriptor.md`, "Digests").
///
/// Only the registered SHA-2 algorithms are known; the hex is lower case and of the right length.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Digest {
    algorithm: Algorithm,
    hex: Box<str>,
}

impl Digest {
    /// Hashes octets that are already in memory with SHA-256.
    pub fn sha256(octets: &[u8]) -> Self {
        Self::of(Algorithm::Sha256, octets)
    }

    /// Hashes octets that are already in memory.
    pub fn of(algorithm: Algorithm, octets: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(octets);
        hasher.finish()
    }

    /// Returns which hash function made it.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the hash value in lower-case hex; safe as a file name on every system.
    pub fn hex(&self) -> &str {
        &self.hex
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let malformed = || DigestError::Malformed {
            text: crate::json::excerpt(text),
        };
        let (name, hex) = text.split_once(':').ok_or_else(malformed)?;
        if name.is_empty()
            || !name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+._-".contains(&b))
        {
            return Err(malformed());
        }
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => {
                return Err(DigestError::UnknownAlgorithm {
                    name: crate::json::excerpt(name),
                });
            }
        };
        let lower_hex = hex
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if hex.len() != algorithm.hex_len() || !lower_hex {
            return Err(malformed());
        }
        Ok(Self {
            algorithm,
            hex: hex.into(),
        })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, self.hex)
    }
}

/// The digest of an uncompressed layer tar, as listed in the image configuration.
///
/// Never the digest of a stored blob, hence a type of its own.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DiffId(pub Digest);

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A digest algorithm that a blob can be verified with.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Algorithm {
    /// SHA-256, the one every registry knows.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        })
    }
}

/// A digest in the making.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha256(Box<Sha256>),
    Sha512(sha2::Context),
}

impl Hasher {
    /// Starts with no octets.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(Box::default()),
            Algorithm::Sha512 => State::Sha512(sha2::Context::new(&sha2::SHA512)),
        })
    }

    /// Returns which hash function it is.
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            State::Sha256(_) => Algorithm::Sha256,
            State::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Appends octets.
    pub fn update(&mut self, octets: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(octets),
            State::Sha512(state) => state.update(octets),
        }
    }

    /// Borrows the SHA-256, if it is one, to feed it together with another.
    pub fn as_sha256(&mut self) -> Option<&mut Sha256> {
        match &mut self.0 {
            State::Sha256(state) => Some(state),
            State::Sha512(_) => None,
        }
    }

    /// Returns the digest of everything appended.
    pub fn finish(self) -> Digest {
        let algorithm = self.algorithm();
        let hex = match self.0 {
            State::Sha256(state) => hex::encode(state.finish()),
            State::Sha512(state) => hex::encode(state.finish()),
        };
        Digest {
            algorithm,
            hex: hex.into(),
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hasher({})", self.algorithm())
    }
}

/// Why a text is not a digest.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum DigestError {
    /// Not `algorithm:hex` with lower-case hex of the right length.
    #[error("`{text}` is not a digest such as sha256:<64 hex digits>")]
    Malformed {
        /// The beginning of what was given.
        text: Box<str>,
    },

    /// An algorithm that this build cannot verify.
    #[error("unknown digest algorithm `{name}`")]
    UnknownAlgorithm {
        /// The algorithm's name.
        name: Box<str>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_the_examples_of_fips_180() {
        assert_eq!(
            Digest::sha256(b"abc").to_string(),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            Digest::of(Algorithm::Sha512, b"abc").to_string(),
            "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        );
    }

    #[test]
    fn only_a_sha256_can_be_fed_as_one() {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(b"a");
        hasher.as_sha256().unwrap().update(b"bc");
        assert_eq!(hasher.finish(), Digest::sha256(b"abc"));
        assert!(Hasher::new(Algorithm::Sha512).as_sha256().is_none());
    }

    #[test]
    fn refuses_what_is_not_exactly_a_digest() {
        let good = Digest::sha256(b"").to_string();
        for bad in [
            "",
            "sha256",
            "sha256:",
            ":e3b0",
            &good.to_uppercase(),
            &good[..good.len() - 1],
            &format!("{good}0"),
            &format!(" {good}"),
            &good.replace("sha256", "sha512"),
            &good.replace("e3b0", "E3B0"),
            "sha256:../../../../etc/passwd",
        ] {
            assert_eq!(
                bad.parse::<Digest>(),
                Err(DigestError::Malformed {
                    text: bad.chars().take(80).collect::<String>().into()
                }),
                "{bad}"
            );
        }
        assert_eq!(
            "md5:d41d8cd98f00b204e9800998ecf8427e".parse::<Digest>(),
            Err(DigestError::UnknownAlgorithm { name: "md5".into() })
        );
    }
}
