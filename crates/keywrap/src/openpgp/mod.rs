//! OpenPGP messages (RFC 9580) as ocicrypt uses them.
//!
//! One element is one encrypted message in binary form: an encrypted session key for each recipient, then data of version 1
//! whose modification detection code is verified before anything is returned, then one literal packet in it. We write one
//! recipient per element, so that one can be taken away without the keys of the others. A recipient is a [`Certificate`], of
//! which [`encryption_key`](Certificate::encryption_key) chooses the subkey; an identity is one secret key or subkey.
//!
//! # Why this is no library
//!
//! A message and a key are a few packets, and all cryptography in them but cipher feedback mode's framing is in aws-lc. The crate
//! `pgp` (rpgp) 0.21 would bring some eighty more crates, a second generation of the ciphers among them, and the crate `rsa`,
//! whose private operations leak through timing (RUSTSEC-2023-0071): merely reading an unprotected RSA key computes with its
//! primes there, so that keeping secrets out of it would mean reading keys by hand all the same.
//!
//! # What is not read, and why
//!
//! * Data without integrity protection, ciphers with blocks of 64 bits, session keys for other ciphers than AES: unsafe.
//! * Compressed data: a few octets of it may become gigabytes, and no writer of images compresses 193 octets.
//! * Data of version 2, AEAD data of GnuPG, keys of version 6, X25519 of RFC 9580, X448, Elgamal: no writer of images uses them.
//! * Signatures around or in messages: nobody would look at them. Who sealed a layer is not told by its wrapped key.
//! * Session keys for passwords: passed over beside others.
//! * Signatures with SHA-1 on keys: they can be forged. Revocations with it count.
//!
//! Refused as a whole: what is not made of packets, packets that should not be there, octets left over, and whatever exceeds
//! [`MAX_RECIPIENTS`], [`MAX_SIGNATURES`], [`MAX_CERTIFICATES`], [`MAX_DERIVED_OCTETS`] or
//! [`MAX_ELEMENT_LEN`](crate::MAX_ELEMENT_LEN).

mod algorithm;
mod armor;
mod certificate;
mod ecdh;
mod key;
mod message;
mod open;
mod packet;
mod protected;
mod s2k;
mod secret;
mod signature;
mod write;

use crate::{RecipientInfo, Scheme};

pub use certificate::{Certificate, UnusableKey, parse_certificates};
pub use message::{Message, RecipientPart};
pub use open::DecryptionKey;
pub use secret::parse_secret;
pub use write::EncryptionKey;

use open::Secret;
use packet::{PUBLIC_KEY, Packets, SECRET_KEY};

/// Most recipients in one message.
pub const MAX_RECIPIENTS: usize = 64;

/// Largest file of certificates: everybody somebody ever heard of.
pub const MAX_RING_LEN: usize = 16 * 1024 * 1024;

/// Most certificates in one file.
pub const MAX_CERTIFICATES: usize = 10_000;

/// Most signatures of the owner on one certificate.
pub const MAX_SIGNATURES: usize = 256;

/// Most octets that are hashed to unlock the keys of one file: 32 keys at the highest cost there is.
pub const MAX_DERIVED_OCTETS: usize = 32 * 65_011_712;

/// Returns whether a file holds OpenPGP keys, secret or public, armoured or not.
pub fn is_key_file(file: &[u8]) -> bool {
    if armor::Kind::of(file).is_some() {
        return true;
    }
    // A secret AES key may begin like a packet; a key packet with its version is longer than it.
    let has_tag = matches!(file.first(), Some(0x94..=0x9a | 0xc5 | 0xc6));
    has_tag
        && file.len() > MIN_KEY_LEN
        && Packets::new(file).next().is_some_and(|packet| {
            packet.is_ok_and(|packet| {
                matches!(packet.tag, SECRET_KEY | PUBLIC_KEY)
                    && matches!(packet.body.first(), Some(2..=6))
            })
        })
}

/// Lists the recipients; empty if the element is no encrypted message.
pub(crate) fn describe(element: &[u8]) -> Vec<RecipientInfo> {
    let Ok(message) = Message::parse(element) else {
        return Vec::new();
    };
    message
        .recipients()
        .map(|recipient| RecipientInfo {
            scheme: Scheme::Pgp,
            algorithm: Some(recipient.algorithm().into()),
            key_id: recipient.key_id().map(Into::into),
            fingerprint: None,
            certificate: None,
        })
        .collect()
}

/// The smallest public key has 51 octets of body.
const MIN_KEY_LEN: usize = 48;
