//! Signed descriptors: of keys, by administrators; of holders, by themselves.

use std::collections::BTreeSet;

use aws_lc_rs::rand::SecureRandom;
use thiserror::Error;

use crate::certificate;
use crate::dsse::{self, DsseError, Unverified};
use crate::keys::{PublicKey, SigningKey};
use crate::names;
use crate::statement::{HOLDER_DESCRIPTOR, HolderDescriptor, KEY_DESCRIPTOR};

/// An administrator: who may sign commands and descriptors.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Administrator {
    /// Short name; two keys under one name are one person.
    pub name: String,
    /// The signing key.
    pub key: PublicKey,
}

/// Returns the names of those among `administrators` whose keys are in `signers`: people, not keys.
pub fn approvers<'a>(
    administrators: &'a [Administrator],
    signers: &BTreeSet<PublicKey>,
) -> BTreeSet<&'a str> {
    let signed = administrators
        .iter()
        .filter(|admin| signers.contains(&admin.key));
    signed.map(|admin| admin.name.as_str()).collect()
}

/// Verifies the envelope of a key descriptor and returns the descriptor's octets.
///
/// # Errors
/// [`DescriptorError::Envelope`], and [`DescriptorError::Approvals`] unless [`APPROVALS`] distinct people signed.
pub fn verify_key_descriptor(
    envelope: &[u8],
    administrators: &[Administrator],
) -> Result<Vec<u8>, DescriptorError> {
    let verified = dsse::verify(
        envelope,
        KEY_DESCRIPTOR,
        administrators.iter().map(|admin| &admin.key),
    )?;
    let approvals = approvers(administrators, &verified.signers).len();
    if approvals < APPROVALS {
        return Err(DescriptorError::Approvals { found: approvals });
    }
    Ok(verified.payload)
}

/// Signs a holder's own descriptor.
///
/// # Errors
/// [`DescriptorError::Envelope`] when the key cannot be used.
pub fn sign_holder_descriptor(
    descriptor: &HolderDescriptor,
    key: &SigningKey,
    rng: &dyn SecureRandom,
) -> Result<Vec<u8>, DescriptorError> {
    let payload = serde_json::to_vec(descriptor).map_err(|_| DescriptorError::Malformed)?;
    Ok(dsse::sign(HOLDER_DESCRIPTOR, &payload, &[key], rng)?)
}

/// Reads the descriptor a holder has signed with the key in it.
///
/// This shows possession of the key and nothing else: that the file came from that holder is for people to see to.
///
/// # Errors
/// [`DescriptorError::Envelope`] and [`DescriptorError::Malformed`].
pub fn read_holder_descriptor(envelope: &[u8]) -> Result<HolderDescriptor, DescriptorError> {
    let unverified = Unverified::parse(envelope)?;
    let claimed: HolderDescriptor = serde_json::from_slice(unverified.unverified_payload())
        .map_err(|_| DescriptorError::Malformed)?;
    let key =
        PublicKey::from_spki(&claimed.signing_key.0).map_err(|_| DescriptorError::Malformed)?;
    let verified = unverified.verify(HOLDER_DESCRIPTOR, [&key])?;
    let descriptor: HolderDescriptor =
        serde_json::from_slice(&verified.payload).map_err(|_| DescriptorError::Malformed)?;
    let fits = descriptor.v == 1
        && names::is_name(&descriptor.name)
        && names::is_jurisdiction(&descriptor.jurisdiction)
        && descriptor.index > 0
        && descriptor.hpke_key.0.len() == HPKE_KEY_LEN
        && is_url(&descriptor.url)
        && certificate::chain_from_pem(&descriptor.ca).is_ok();
    if fits {
        Ok(descriptor)
    } else {
        Err(DescriptorError::Malformed)
    }
}

/// Returns whether `url` is `https://host:port` or `https://host` and nothing more.
pub(crate) fn is_url(url: &str) -> bool {
    url.parse::<http::Uri>().is_ok_and(|uri| {
        uri.scheme_str() == Some("https")
            && uri
                .authority()
                .is_some_and(|authority| !authority.as_str().contains('@'))
            && uri.path_and_query().is_none_or(|path| path == "/")
    })
}

/// Why a descriptor was not believed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum DescriptorError {
    /// Its envelope does not verify.
    #[error("descriptor is not signed as it must be")]
    Envelope {
        /// Why.
        #[from]
        source: DsseError,
    },
    /// Too few people signed.
    #[error("descriptor is signed by {found} administrators, not by {APPROVALS}")]
    Approvals {
        /// How many did.
        found: usize,
    },
    /// The payload is not a descriptor.
    #[error("malformed descriptor")]
    Malformed,
}

/// How many administrators sign a key descriptor.
pub const APPROVALS: usize = 2;

const HPKE_KEY_LEN: usize = 65;

#[cfg(test)]
pub(crate) mod tests {
    use aws_lc_rs::rand::SystemRandom;

    use super::*;
    use crate::certificate::{Authority, Validity};
    use crate::deployment::DeploymentId;
    use crate::octets::Octets;

    pub(crate) fn holder_descriptor(name: &str, index: u8, key: &SigningKey) -> HolderDescriptor {
        HolderDescriptor {
            v: 1,
            deployment: DeploymentId([7; 16]),
            name: name.to_owned(),
            index,
            jurisdiction: "DE".to_owned(),
            url: "https://127.0.0.1:7101".to_owned(),
            ca: Authority::certificate(name, key, Validity::from(1_800_000_000, 60)).unwrap(),
            signing_key: Octets(key.spki().to_vec()),
            hpke_key: Octets(vec![4; 65]),
        }
    }

    #[test]
    fn one_person_with_two_keys_is_one_person() {
        let keys: Vec<_> = (0..3).map(|_| SigningKey::generate().unwrap()).collect();
        let admin = |name: &str, i: usize| Administrator {
            name: name.to_owned(),
            key: keys[i].public().clone(),
        };
        let admins = [admin("alice", 0), admin("alice", 1), admin("bob", 2)];
        let rng = SystemRandom::new();
        let by =
            |signers: &[&SigningKey]| dsse::sign(KEY_DESCRIPTOR, b"{}", signers, &rng).unwrap();
        assert_eq!(
            verify_key_descriptor(&by(&[&keys[0], &keys[1]]), &admins),
            Err(DescriptorError::Approvals { found: 1 })
        );
        assert_eq!(
            verify_key_descriptor(&by(&[&keys[1], &keys[2]]), &admins),
            Ok(b"{}".to_vec())
        );
        let command = dsse::sign(
            crate::statement::COMMAND,
            b"{}",
            &[&keys[1], &keys[2]],
            &rng,
        )
        .unwrap();
        assert_eq!(
            verify_key_descriptor(&command, &admins),
            Err(DescriptorError::Envelope {
                source: DsseError::PayloadType
            })
        );
    }

    #[test]
    fn a_holder_descriptor_is_signed_by_the_key_in_it() {
        let rng = SystemRandom::new();
        let (key, other) = (
            SigningKey::generate().unwrap(),
            SigningKey::generate().unwrap(),
        );
        let descriptor = holder_descriptor("fra", 1, &key);
        let envelope = sign_holder_descriptor(&descriptor, &key, &rng).unwrap();
        assert_eq!(read_holder_descriptor(&envelope), Ok(descriptor.clone()));
        let envelope = sign_holder_descriptor(&descriptor, &other, &rng).unwrap();
        assert_eq!(
            read_holder_descriptor(&envelope),
            Err(DescriptorError::Envelope {
                source: DsseError::NoKnownSigner
            })
        );
        let changes: [fn(&mut HolderDescriptor); 5] = [
            |d| d.url = "http://127.0.0.1".to_owned(),
            |d| d.url = "https://127.0.0.1/path".to_owned(),
            |d| d.index = 0,
            |d| d.name = "FRA".to_owned(),
            |d| d.ca = String::new(),
        ];
        for change in changes {
            let mut changed = descriptor.clone();
            change(&mut changed);
            let envelope = sign_holder_descriptor(&changed, &key, &rng).unwrap();
            assert_eq!(
                read_holder_descriptor(&envelope),
                Err(DescriptorError::Malformed)
            );
        }
    }
}
