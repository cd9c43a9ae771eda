//! Certificates: a public key, its names and its subkeys (RFC 9580, section 10.1.1), and what may be encrypted for.

use std::fmt;

use thiserror::Error;

use super::{
    EncryptionKey, MAX_CERTIFICATES, MAX_RING_LEN, MAX_SIGNATURES,
    algorithm::Cipher,
    armor,
    key::{Fingerprint, Key, Material},
    packet::{
        PUBLIC_KEY, PUBLIC_SUBKEY, Packet, Packets, SECRET_KEY, SIGNATURE, USER_ATTRIBUTE, USER_ID,
    },
    signature::{
        CERTIFICATION_REVOCATION, CERTIFICATIONS, DIRECT_KEY, KEY_REVOCATION, SUBKEY_BINDING,
        SUBKEY_REVOCATION, Signature, Unverified,
    },
};
use crate::{KeyError, error::printable_up_to};

/// A certificate whose structure has been checked. Signatures are verified when they are asked about.
pub struct Certificate {
    primary: Key,
    direct: Vec<Signature>,
    users: Vec<User>,
    subkeys: Vec<Subkey>,
}

struct User {
    id: Vec<u8>,
    signatures: Vec<Signature>,
}

struct Subkey {
    key: Key,
    signatures: Vec<Signature>,
}

/// Why nothing can be encrypted for a certificate.
#[derive(Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum UnusableKey {
    /// It has no key for this use.
    #[error("it has no key for encryption")]
    NoEncryptionKey,
    /// A key, or what binds it, is of a kind that is not implemented.
    #[error("unsupported algorithm `{name}`")]
    Unsupported {
        /// The standard's name.
        name: Box<str>,
    },
    /// Its owner has not signed it.
    #[error("no signature of its owner is valid")]
    Unsigned,
    /// It begins in the future.
    #[error("it is not valid yet")]
    NotYetValid,
    /// It has ended.
    #[error("it has expired")]
    Expired,
    /// It was revoked, or a revocation cannot be checked.
    #[error("it is revoked")]
    Revoked,
    /// The key itself is unfit.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Reads every certificate in a binary or armoured file. One that cannot be read stands in its place as an error.
///
/// # Errors
/// [`KeyError`] if the file is none of certificates, or not even framed as one.
pub fn parse_certificates(file: &[u8]) -> Result<Vec<Result<Certificate, KeyError>>, KeyError> {
    if file.len() > MAX_RING_LEN {
        return Err(KeyError::TooLarge {
            limit: MAX_RING_LEN,
        });
    }
    let octets = armor::decode(file, armor::Kind::PublicKeys)?;
    let mut certificates = Vec::new();
    let mut current: Vec<Packet> = Vec::new();
    for packet in Packets::new(&octets) {
        let packet = packet?;
        match packet.tag {
            PUBLIC_KEY => {
                if certificates.len() == MAX_CERTIFICATES {
                    return Err(KeyError::TooMany {
                        limit: MAX_CERTIFICATES,
                    });
                }
                if !current.is_empty() {
                    certificates.push(Certificate::read(&current));
                }
                current = vec![packet];
            }
            SECRET_KEY => return Err(KeyError::PublicExpected),
            _ if current.is_empty() => return Err(KeyError::NotAKey),
            _ => current.push(packet),
        }
    }
    if !current.is_empty() {
        certificates.push(Certificate::read(&current));
    }
    if certificates.is_empty() {
        return Err(KeyError::NotAKey);
    }
    Ok(certificates)
}

impl Certificate {
    fn read(packets: &[Packet]) -> Result<Self, KeyError> {
        let (first, packets) = packets.split_first().ok_or(KeyError::NotAKey)?;
        let mut certificate = Self {
            primary: whole_key(&first.body)?,
            direct: Vec::new(),
            users: Vec::new(),
            subkeys: Vec::new(),
        };
        let mut target = Target::Primary;
        let mut signatures = 0;
        for packet in packets {
            match packet.tag {
                USER_ID => {
                    certificate.users.push(User {
                        id: packet.body.to_vec(),
                        signatures: Vec::new(),
                    });
                    target = Target::User;
                }
                PUBLIC_SUBKEY => match whole_key(&packet.body) {
                    Ok(key) => {
                        certificate.subkeys.push(Subkey {
                            key,
                            signatures: Vec::new(),
                        });
                        target = Target::Subkey;
                    }
                    // Of another version, say: the others may do.
                    Err(KeyError::UnsupportedType { .. }) => target = Target::Ignored,
                    Err(error) => return Err(error),
                },
                USER_ATTRIBUTE => target = Target::Ignored,
                SIGNATURE => {
                    let Some(signature) = Signature::read(&packet.body)? else {
                        continue;
                    };
                    let issuer = signature.claims.issuer;
                    if issuer
                        .is_some_and(|issuer| issuer != certificate.primary.fingerprint.key_id())
                    {
                        continue;
                    }
                    signatures += 1;
                    if signatures > MAX_SIGNATURES {
                        return Err(KeyError::malformed("too many signatures on one key"));
                    }
                    let place = match target {
                        Target::Primary => Some(&mut certificate.direct),
                        Target::User => certificate
                            .users
                            .last_mut()
                            .map(|user| &mut user.signatures),
                        Target::Subkey => certificate
                            .subkeys
                            .last_mut()
                            .map(|subkey| &mut subkey.signatures),
                        Target::Ignored => None,
                    };
                    if let Some(place) = place {
                        place.push(signature);
                    }
                }
                // Trust packets, and whatever is to come.
                _ => {}
            }
        }
        Ok(certificate)
    }

    /// Returns the fingerprint in hex.
    pub fn fingerprint(&self) -> String {
        hex::encode(self.primary.fingerprint.0)
    }

    /// Returns the names, safe to print, whether anybody has signed them or not.
    pub fn user_ids(&self) -> impl Iterator<Item = Box<str>> {
        self.users
            .iter()
            .map(|user| printable_up_to(&String::from_utf8_lossy(&user.id), MAX_USER_ID_CHARS))
    }

    /// Returns whether the certificate, or one of its subkeys, has the fingerprint or key id `name`, in hex.
    ///
    /// Less than 16 digits name nothing: short key ids are forged easily.
    pub fn has_fingerprint(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let has = |Fingerprint(octets): &Fingerprint| {
            let digits = hex::encode(octets);
            name.len() >= KEY_ID_DIGITS && (digits == name || digits.get(24..) == Some(&*name))
        };
        has(&self.primary.fingerprint)
            || self
                .subkeys
                .iter()
                .any(|subkey| has(&subkey.key.fingerprint))
    }

    /// Returns whether the owner of the key has signed the name or e-mail address `name` at `now`, and not revoked it.
    ///
    /// Addresses are compared without regard to the case of ASCII letters, names exactly, with and without their comment.
    pub fn has_user(&self, name: &str, now: u64) -> bool {
        self.users
            .iter()
            .filter(|user| user.matches(name))
            .any(|user| self.certification(user, now).is_some())
    }

    /// Returns the key that secrets are encrypted for at `now`, in seconds since the Unix epoch.
    ///
    /// The newest subkey for encryption that is bound by a valid signature, not revoked and not expired; without any subkey for
    /// encryption the primary key, if it is RSA and its flags say so.
    ///
    /// # Errors
    /// [`UnusableKey`]: of several keys the reason that says most.
    pub fn encryption_key(&self, now: u64) -> Result<EncryptionKey, UnusableKey> {
        let (cipher, primary_encrypts) = self.check_primary(now)?;
        let mut best: Option<&Key> = None;
        let mut worst = None;
        for subkey in &self.subkeys {
            match self.check_subkey(subkey, now) {
                Ok(()) if best.is_none_or(|best| best.created <= subkey.key.created) => {
                    best = Some(&subkey.key);
                }
                Ok(()) => {}
                Err(error) => worst = Some(more_telling(worst, error)),
            }
        }
        let none = UnusableKey::NoEncryptionKey;
        match (best, worst) {
            (Some(key), _) => Ok(EncryptionKey::new(key, cipher)?),
            // A subkey for encryption that ended is no reason to fall back.
            (None, Some(error)) if error != none => Err(error),
            (None, _) if primary_encrypts && self.primary.can_encrypt() => {
                Ok(EncryptionKey::new(&self.primary, cipher)?)
            }
            (None, _) => Err(none),
        }
    }

    /// Checks the primary key; returns the cipher it prefers, and whether it may encrypt itself.
    fn check_primary(&self, now: u64) -> Result<(Cipher, bool), UnusableKey> {
        let primary = self.primary.signed();
        let data = [&primary[..]];
        if is_revoked(&self.direct, KEY_REVOCATION, &self.primary, &data) {
            return Err(UnusableKey::Revoked);
        }
        let mut unsupported = None;
        let direct = self.newest(
            &self.direct,
            |kind| kind == DIRECT_KEY,
            &data,
            now,
            &mut unsupported,
        );
        let users: Vec<&Signature> = self
            .users
            .iter()
            .filter_map(|user| self.certification_noting(user, now, &mut unsupported))
            .collect();
        let newest = users.iter().copied().max_by_key(|one| one.claims.created);
        let chosen = users
            .iter()
            .copied()
            .max_by_key(|one| (one.claims.is_primary_user, one.claims.created));
        if direct.is_none() && chosen.is_none() {
            return Err(match unsupported {
                Some(name) => UnusableKey::Unsupported { name },
                None => UnusableKey::Unsigned,
            });
        }
        let seconds = direct
            .and_then(|one| one.claims.key_expires)
            .or_else(|| newest.and_then(|one| one.claims.key_expires));
        check_time(&self.primary, seconds, now)?;
        let both = [chosen, direct];
        let ciphers = both
            .iter()
            .flatten()
            .find_map(|one| one.claims.ciphers.as_deref());
        let flags = both.iter().flatten().find_map(|one| one.claims.flags);
        let encrypts = flags.is_some_and(|flags| flags & MAY_ENCRYPT != 0);
        Ok((preferred(ciphers), encrypts))
    }

    fn check_subkey(&self, subkey: &Subkey, now: u64) -> Result<(), UnusableKey> {
        let (primary, key) = (self.primary.signed(), subkey.key.signed());
        let data = [&primary[..], &key];
        let mut unsupported = None;
        let binding = self.newest(
            &subkey.signatures,
            |kind| kind == SUBKEY_BINDING,
            &data,
            now,
            &mut unsupported,
        );
        let claimed = subkey.signatures.iter().filter_map(|one| one.claims.flags);
        let encrypts = |flags: u8| flags & MAY_ENCRYPT != 0;
        let Some(binding) = binding else {
            // Of a subkey for another use nobody wants to hear.
            return Err(match unsupported {
                _ if !claimed.clone().any(encrypts) => UnusableKey::NoEncryptionKey,
                Some(name) => UnusableKey::Unsupported { name },
                None if subkey
                    .signatures
                    .iter()
                    .any(|one| one.claims.created > Some(now)) =>
                {
                    UnusableKey::NotYetValid
                }
                None => UnusableKey::Unsigned,
            });
        };
        if !binding.claims.flags.is_some_and(encrypts) {
            return Err(UnusableKey::NoEncryptionKey);
        }
        if is_revoked(&subkey.signatures, SUBKEY_REVOCATION, &self.primary, &data) {
            return Err(UnusableKey::Revoked);
        }
        check_time(&subkey.key, binding.claims.key_expires, now)?;
        match &subkey.key.material {
            Material::Other(name) => Err(UnusableKey::Unsupported { name: name.clone() }),
            _ if !subkey.key.can_encrypt() => Err(UnusableKey::NoEncryptionKey),
            _ => Ok(()),
        }
    }

    fn certification<'a>(&'a self, user: &'a User, now: u64) -> Option<&'a Signature> {
        self.certification_noting(user, now, &mut None)
    }

    /// Returns the newest signature of the owner on a name, unless the name was revoked since.
    fn certification_noting<'a>(
        &'a self,
        user: &'a User,
        now: u64,
        unsupported: &mut Option<Box<str>>,
    ) -> Option<&'a Signature> {
        let [.., b3, b2, b1, b0] = user.id.len().to_be_bytes();
        let primary = self.primary.signed();
        let data = [&primary[..], &[0xb4, b3, b2, b1, b0], &user.id];
        let is_certification = |kind| CERTIFICATIONS.contains(&kind);
        let newest = self.newest(&user.signatures, is_certification, &data, now, unsupported)?;
        let revoked = user
            .signatures
            .iter()
            .filter(|one| one.kind == CERTIFICATION_REVOCATION)
            .filter(|one| one.claims.created >= newest.claims.created)
            .any(|one| one.verify(&self.primary, &data) != Err(Unverified::Wrong));
        (!revoked).then_some(newest)
    }

    /// Returns the newest of the signatures that verifies and is in force at `now`.
    fn newest<'a>(
        &self,
        signatures: &'a [Signature],
        is_kind: impl Fn(u8) -> bool,
        data: &[&[u8]],
        now: u64,
        unsupported: &mut Option<Box<str>>,
    ) -> Option<&'a Signature> {
        let mut candidates: Vec<&Signature> = signatures
            .iter()
            .filter(|one| is_kind(one.kind) && one.is_in_force(now))
            .collect();
        candidates.sort_by_key(|one| std::cmp::Reverse(one.claims.created));
        candidates
            .into_iter()
            .find(|one| match one.verify(&self.primary, data) {
                Ok(()) => true,
                Err(Unverified::Wrong) => false,
                Err(Unverified::Unsupported(name)) => {
                    *unsupported = Some(name);
                    false
                }
            })
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.fingerprint())
    }
}

impl User {
    fn matches(&self, wanted: &str) -> bool {
        let Ok(id) = str::from_utf8(&self.id) else {
            return false;
        };
        if id == wanted {
            return true;
        }
        let Some((name, address)) = id.strip_suffix('>').and_then(|id| id.rsplit_once('<')) else {
            return id.contains('@') && id.eq_ignore_ascii_case(wanted);
        };
        let name = name.trim_end();
        let bare = match name
            .strip_suffix(')')
            .and_then(|name| name.rsplit_once('('))
        {
            Some((bare, _comment)) => bare.trim_end(),
            None => name,
        };
        address.eq_ignore_ascii_case(wanted)
            || (!wanted.is_empty() && (name == wanted || bare == wanted))
    }
}

/// What the signatures that follow are about.
enum Target {
    Primary,
    User,
    Subkey,
    Ignored,
}

fn whole_key(packet: &[u8]) -> Result<Key, KeyError> {
    let (key, rest) = Key::read(packet)?;
    rest.end()?;
    Ok(key)
}

/// Returns whether a revocation is valid, or cannot be checked.
fn is_revoked(signatures: &[Signature], kind: u8, primary: &Key, data: &[&[u8]]) -> bool {
    signatures
        .iter()
        .filter(|one| one.kind == kind)
        .any(|one| one.verify(primary, data) != Err(Unverified::Wrong))
}

fn check_time(key: &Key, seconds: Option<u64>, now: u64) -> Result<(), UnusableKey> {
    if key.created > now {
        return Err(UnusableKey::NotYetValid);
    }
    match seconds {
        Some(seconds) if seconds > 0 && key.created.saturating_add(seconds) <= now => {
            Err(UnusableKey::Expired)
        }
        _ => Ok(()),
    }
}

/// AES-256, and AES-128 where the owner's preferences name it and not the other (as ocicrypt chooses).
fn preferred(ciphers: Option<&[u8]>) -> Cipher {
    let names = |cipher: Cipher| ciphers.is_some_and(|list| list.contains(&cipher.number()));
    if names(Cipher::Aes128) && !names(Cipher::Aes256) {
        Cipher::Aes128
    } else {
        Cipher::Aes256
    }
}

fn more_telling(seen: Option<UnusableKey>, new: UnusableKey) -> UnusableKey {
    let rank = |error: &UnusableKey| match error {
        UnusableKey::NoEncryptionKey => 0,
        UnusableKey::Unsupported { .. } => 1,
        UnusableKey::Unsigned => 2,
        UnusableKey::NotYetValid => 3,
        UnusableKey::Expired => 4,
        UnusableKey::Revoked => 5,
        UnusableKey::Key(_) => 6,
    };
    match seen {
        Some(seen) if rank(&seen) >= rank(&new) => seen,
        _ => new,
    }
}

/// Encrypt communications, encrypt storage (section 5.2.3.29).
pub(super) const MAY_ENCRYPT: u8 = 0x04 | 0x08;
const KEY_ID_DIGITS: usize = 16;
/// Most characters of a name that are repeated.
const MAX_USER_ID_CHARS: usize = 128;
