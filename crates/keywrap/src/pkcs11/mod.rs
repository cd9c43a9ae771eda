//! PKCS #11 as ocicrypt has it: layer keys under RSA-OAEP, private keys in tokens.
//!
//! An element is `{"version":0,"recipients":[{"version":0,"blob":"…","hash":"sha256"}]}`; each blob is the RSA-OAEP
//! encryption (empty label, mask generation with the same hash) of the private options themselves. A `hash` that is
//! missing or empty is SHA-1, as in images of ocicrypt before 1.1.4. A recipient of another hash or version never stops
//! the one beside it.
//!
//! Also here: how a key in a token is named ([`TokenUri`], RFC 7512), the files that name one ([`KeyFile`]), and the
//! list of modules that may be loaded ([`ModulePolicy`]). All of it is text that is parsed; modules are loaded by
//! `sealift-token`.
//!
//! Refused as a whole: duplicate members, base64 that is not canonical, and whatever exceeds [`MAX_RECIPIENTS`],
//! [`MAX_DEPTH`] or [`MAX_ELEMENT_LEN`](crate::MAX_ELEMENT_LEN).

mod element;
mod key_file;
pub mod oaep;
mod policy;
mod recipient;
mod uri;
mod yaml;

#[cfg(test)]
mod wycheproof_tests;

use crate::{RecipientInfo, Scheme};

pub use element::{Element, RecipientPart};
pub use key_file::{KeyFile, KeyFileError, MAX_VARIABLES};
pub use policy::{ModulePolicy, PolicyError};
pub use recipient::{NotRsa, Recipient};
pub use uri::{MAX_PIN_LEN, MAX_URI_LEN, Pin, PinSource, TokenUri, UriError};
pub use yaml::YamlError;

/// Most recipients in one element.
pub const MAX_RECIPIENTS: usize = 64;

/// Deepest nesting of the JSON: object, `recipients`, recipient, and some to spare.
pub const MAX_DEPTH: usize = 8;

/// Largest key file or module policy.
pub const MAX_YAML_LEN: usize = 64 * 1024;

/// Lists the recipients; empty if the element cannot be read.
pub(crate) fn describe(element: &[u8]) -> Vec<RecipientInfo> {
    let Ok(element) = Element::parse(element) else {
        return Vec::new();
    };
    element
        .recipients()
        .map(|recipient| RecipientInfo {
            scheme: Scheme::Pkcs11,
            algorithm: Some(recipient.algorithm()),
            key_id: None,
            fingerprint: None,
            certificate: None,
        })
        .collect()
}
