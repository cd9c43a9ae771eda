//! JSON Web Encryption (RFC 7516, RFC 7518) as ocicrypt uses it.
//!
//! Reads compact, flattened and general serialisation, with the stray top-level `encrypted_key` that go-jose adds
//! to general objects; writes flattened JSON with one recipient, member for member as go-jose does.
//!
//! Key management: `RSA-OAEP`, `RSA-OAEP-256`, `ECDH-ES+A128KW`, `ECDH-ES+A192KW`, `ECDH-ES+A256KW`. Content
//! encryption: `A128GCM`, `A192GCM`, `A256GCM`, `A128CBC-HS256`, `A192CBC-HS384`, `A256CBC-HS512`; written is
//! `A256GCM` only. A recipient of any other algorithm never stops the one beside it.
//!
//! Refused as a whole: duplicate members, a header name in two places, `crit` (no extension is understood), `zip`,
//! base64url that is not canonical, and whatever exceeds [`MAX_RECIPIENTS`], [`MAX_HEADER_LEN`], [`MAX_DEPTH`] or
//! [`MAX_ELEMENT_LEN`](crate::MAX_ELEMENT_LEN).

mod algorithm;
mod concat_kdf;
mod content;
mod header;
pub(crate) mod key_wrap;
mod object;
mod open;
mod write;

#[cfg(test)]
mod wycheproof_tests;

use crate::{RecipientInfo, Scheme};

pub use algorithm::{KeyManagement, OaepHash, WrapWidth};
pub use object::{Jwe, RecipientPart};
pub(crate) use open::{RsaKey, decrypt_oaep, more_telling};
pub(crate) use write::{wrap_for_ec, wrap_for_rsa};

/// Most recipients in one object.
pub const MAX_RECIPIENTS: usize = 64;

/// Most octets of a protected header after base64url.
pub const MAX_HEADER_LEN: usize = 4 * 1024;

/// Deepest nesting of the JSON: object, `recipients`, recipient, `header`, `epk`, and some to spare.
pub const MAX_DEPTH: usize = 8;

/// Lists the recipients; empty if the element is no JWE.
pub(crate) fn describe(element: &[u8]) -> Vec<RecipientInfo> {
    let Ok(jwe) = Jwe::parse(element) else {
        return Vec::new();
    };
    jwe.recipients()
        .map(|recipient| RecipientInfo {
            scheme: Scheme::Jwe,
            algorithm: Some(crate::error::printable(recipient.algorithm())),
            key_id: recipient.key_id().map(Into::into),
            fingerprint: None,
            certificate: None,
        })
        .collect()
}
