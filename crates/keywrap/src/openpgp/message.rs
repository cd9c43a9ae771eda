//! Encrypted messages (RFC 9580, section 10.3.3), down to what opening one needs.

use super::{
    MAX_RECIPIENTS,
    algorithm::{ECDH, RSA, RSA_SIGN_ONLY, public_key_name},
    key::KeyId,
    packet::{
        AEAD, COMPRESSED, LITERAL, MARKER, ONE_PASS_SIGNATURE, Octets, PKESK, Packets, SED, SEIPD,
        SIGNATURE, SKESK,
    },
};
use crate::{MAX_ELEMENT_LEN, UnwrapError};

/// An encrypted message whose structure has been checked, and nothing else.
#[derive(Debug)]
pub struct Message {
    pub(super) recipients: Vec<RecipientPart>,
    /// The ciphertext, or the name of an encryption that is none of ours: nobody can open the message then.
    pub(super) data: Result<Vec<u8>, &'static str>,
}

/// What a message holds for one recipient.
#[derive(Debug)]
pub struct RecipientPart {
    /// `None` for a recipient that is kept secret.
    pub(super) key_id: Option<KeyId>,
    /// The name of the algorithm, or of the kind of recipient, where it is none of ours.
    pub(super) session_key: Result<EncryptedSessionKey, Box<str>>,
}

#[derive(Debug)]
pub(super) enum EncryptedSessionKey {
    Rsa(Vec<u8>),
    Ecdh { point: Vec<u8>, wrapped: Vec<u8> },
}

impl RecipientPart {
    /// Returns the name of the public-key algorithm, or of the kind of recipient we do not implement.
    pub fn algorithm(&self) -> &str {
        match &self.session_key {
            Ok(EncryptedSessionKey::Rsa(_)) => "RSA",
            Ok(EncryptedSessionKey::Ecdh { .. }) => "ECDH",
            Err(name) => name,
        }
    }

    /// Returns the key id in 16 hexadecimal digits; `None` if it is kept secret.
    pub fn key_id(&self) -> Option<String> {
        self.key_id.map(hex::encode)
    }

    /// Reads an encrypted session key of version 3 (section 5.1.1).
    fn read(packet: &[u8]) -> Result<Self, UnwrapError> {
        let mut rest = Octets(packet);
        match rest.octet()? {
            3 => {}
            version => {
                return Ok(Self {
                    key_id: None,
                    session_key: Err(format!("session key of version {version}").into()),
                });
            }
        }
        let key_id: KeyId = rest.array()?;
        let session_key = match rest.octet()? {
            number if RSA.contains(&number) && number != RSA_SIGN_ONLY => {
                Ok(EncryptedSessionKey::Rsa(rest.integer()?.to_vec()))
            }
            ECDH => {
                let point = rest.integer()?.to_vec();
                let length = rest.octet()?.into();
                let wrapped = rest.take(length)?.to_vec();
                Ok(EncryptedSessionKey::Ecdh { point, wrapped })
            }
            other => {
                rest.take(rest.0.len())?;
                Err(public_key_name(other))
            }
        };
        rest.end()?;
        Ok(Self {
            key_id: (key_id != KeyId::default()).then_some(key_id),
            session_key,
        })
    }
}

impl Message {
    /// Reads an encrypted message in binary form.
    ///
    /// # Errors
    /// [`UnwrapError::Malformed`] for what is no encrypted message for at least one recipient; [`UnwrapError::UnsupportedAlgorithm`]
    /// for other messages. Algorithms that are unknown are an error of opening, each of its recipient or of all.
    pub fn parse(element: &[u8]) -> Result<Self, UnwrapError> {
        if element.len() > MAX_ELEMENT_LEN {
            return Err(UnwrapError::malformed("element too long"));
        }
        let mut recipients = Vec::new();
        let mut data = None;
        for packet in Packets::new(element) {
            let packet = packet?;
            if data.is_some() {
                return Err(UnwrapError::malformed("packets behind the encrypted data"));
            }
            let recipient = match packet.tag {
                PKESK => RecipientPart::read(&packet.body)?,
                SKESK => RecipientPart {
                    key_id: None,
                    session_key: Err("password".into()),
                },
                MARKER => continue,
                SEIPD => {
                    let (version, ciphertext) = packet
                        .body
                        .split_first()
                        .ok_or(UnwrapError::malformed("encrypted data without a version"))?;
                    data = Some(match version {
                        1 => Ok(ciphertext.to_vec()),
                        2 => Err("encrypted data of version 2"),
                        _ => Err("encrypted data of another version"),
                    });
                    continue;
                }
                // Whoever changes it goes undetected.
                SED => {
                    data = Some(Err("encrypted data without integrity protection"));
                    continue;
                }
                AEAD => {
                    data = Some(Err("AEAD encrypted data of GnuPG"));
                    continue;
                }
                LITERAL | COMPRESSED | SIGNATURE | ONE_PASS_SIGNATURE => {
                    return Err(UnwrapError::malformed("message is not encrypted"));
                }
                _ => return Err(UnwrapError::malformed("not an encrypted message")),
            };
            if recipients.len() == MAX_RECIPIENTS {
                return Err(UnwrapError::malformed("too many recipients"));
            }
            recipients.push(recipient);
        }
        let data = data.ok_or(UnwrapError::malformed("message without encrypted data"))?;
        if recipients.is_empty() {
            return Err(UnwrapError::malformed("message without recipients"));
        }
        Ok(Self { recipients, data })
    }

    /// Returns what the message says about each recipient.
    pub fn recipients(&self) -> impl Iterator<Item = &RecipientPart> {
        self.recipients.iter()
    }
}

/// Returns the content of the one literal packet in decrypted data (section 5.9).
pub(super) fn literal(packets: &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>, UnwrapError> {
    let mut packets = Packets::new(packets);
    let packet = packets
        .next()
        .ok_or(UnwrapError::malformed("encrypted data is empty"))??;
    match packet.tag {
        LITERAL => {}
        COMPRESSED => return Err(UnwrapError::unsupported("compressed data")),
        SIGNATURE | ONE_PASS_SIGNATURE => return Err(UnwrapError::unsupported("signed data")),
        _ => return Err(UnwrapError::malformed("encrypted data is no literal data")),
    }
    if packets.next().is_some() {
        return Err(UnwrapError::malformed("packets behind the literal data"));
    }
    let mut rest = Octets(&packet.body);
    if !matches!(rest.octet()?, b'b' | b't' | b'u') {
        return Err(UnwrapError::malformed("format of literal data"));
    }
    let name = rest.octet()?;
    rest.take(name.into())?;
    // A date, which nobody vouches for.
    rest.take(4)?;
    Ok(zeroize::Zeroizing::new(rest.0.to_vec()))
}
