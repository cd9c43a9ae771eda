//! Secrets on their way to one receiver, carried by somebody who is not trusted (`SPEC.md`, sections 3 and 14).
//!
//! They are sealed with [`hpke_seal`](crate::hpke_seal) to a P-256 key. What a message is for stands in the HPKE `info`, so
//! one that was meant for another receiver, key, generation or purpose does not open. HPKE in base mode does not say
//! who sealed: the sender signs what carries the message.

use crate::{
    HolderId,
    group::{domain, length_prefixed},
    wrap::sha256,
};

/// What a sealed message is for. Each gives another HPKE `info`.
#[derive(Clone, Copy, Debug)]
pub enum Purpose<'a> {
    /// A share from the dealer of a key (section 14.2).
    Import {
        /// The key that the share is of.
        key: KeyRef<'a>,
        /// Its receiver.
        to: HolderId,
        /// The descriptor that the dealer published.
        descriptor: &'a [u8],
    },
    /// A scalar of the second round of a distributed generation (section 14.1).
    Generation {
        /// The key that is to be.
        key: KeyRef<'a>,
        /// Who computed the scalar.
        from: HolderId,
        /// Its receiver.
        to: HolderId,
        /// [`round1_digest`](crate::dkg::round1_digest): a message of another view of round 1 does not open.
        round1_digest: &'a [u8; 32],
    },
    /// A message of a refresh, a reshare or a repair (sections 14.3 to 14.5).
    Contribution {
        /// The key, with its generation before the change.
        key: KeyRef<'a>,
        /// Who computed the message.
        from: HolderId,
        /// Its receiver.
        to: HolderId,
    },
    /// A share for a custodian (section 14.7).
    Escrow {
        /// The key that the share is of.
        key: KeyRef<'a>,
        /// Whose share it is.
        from: HolderId,
    },
}

/// One generation of one key.
#[derive(Clone, Copy, Debug)]
pub struct KeyRef<'a> {
    /// As in the descriptor.
    pub key_id: &'a str,
    /// As in the descriptor.
    pub epoch: u32,
    /// As in the descriptor.
    pub generation: u32,
}

impl Purpose<'_> {
    /// Returns the `info` that binds a message to its purpose.
    pub fn info(&self) -> Vec<u8> {
        match *self {
            Self::Import {
                key,
                to,
                descriptor,
            } => key.info(domain::IMPORT, &[&to.octets(), &sha256(descriptor)]),
            Self::Generation {
                key,
                from,
                to,
                round1_digest,
            } => key.info(
                domain::IMPORT,
                &[&to.octets(), round1_digest, &from.octets()],
            ),
            Self::Contribution { key, from, to } => {
                key.info(domain::RESHARE, &[&from.octets(), &to.octets()])
            }
            Self::Escrow { key, from } => key.info(domain::ESCROW, &[&from.octets()]),
        }
    }
}

impl KeyRef<'_> {
    fn info(&self, domain: &str, rest: &[&[u8]]) -> Vec<u8> {
        let (epoch, generation) = (self.epoch.to_be_bytes(), self.generation.to_be_bytes());
        let mut parts = vec![
            domain.as_bytes(),
            self.key_id.as_bytes(),
            &epoch,
            &generation,
        ];
        parts.extend(rest);
        length_prefixed(&parts)
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;

    use super::*;
    use crate::{ErrorId, HpkePrivateKey, ReplyKem, ThresholdError, hpke_open, hpke_seal};

    #[test]
    fn a_message_opens_for_its_receiver_and_its_purpose_only() {
        let rng = SystemRandom::new();
        let [mine, other] =
            [(); 2].map(|()| HpkePrivateKey::generate(ReplyKem::P256, &rng).unwrap());
        let purposes = purposes();
        for (position, purpose) in purposes.iter().enumerate() {
            let sealed = hpke_seal(
                ReplyKem::P256,
                mine.public(),
                &purpose.info(),
                b"share",
                &rng,
            )
            .unwrap();
            for (tried, wrong) in purposes.iter().enumerate() {
                let opened = hpke_open(&mine, &wrong.info(), &sealed).map(|plain| plain.to_vec());
                let expected = if tried == position {
                    Ok(b"share".to_vec())
                } else {
                    Err(ThresholdError::presenter(ErrorId::ShareOpenFailed))
                };
                assert_eq!(opened, expected, "{purpose:?} as {wrong:?}");
            }
            assert_eq!(
                hpke_open(&other, &purpose.info(), &sealed).unwrap_err(),
                ThresholdError::presenter(ErrorId::ShareOpenFailed)
            );
        }
    }

    #[test]
    fn a_message_with_any_bit_changed_does_not_open() {
        let rng = SystemRandom::new();
        let key = HpkePrivateKey::generate(ReplyKem::P256, &rng).unwrap();
        let [purpose, ..] = purposes();
        let sealed = hpke_seal(
            ReplyKem::P256,
            key.public(),
            &purpose.info(),
            b"share",
            &rng,
        )
        .unwrap();
        for bit in 0..8 * (sealed.enc.len() + sealed.ct.len()) {
            let mut changed = sealed.clone();
            let (octet, bit) = (bit / 8, bit % 8);
            match octet.checked_sub(sealed.enc.len()) {
                None => changed.enc[octet] ^= 1 << bit,
                Some(octet) => changed.ct[octet] ^= 1 << bit,
            }
            assert_eq!(
                hpke_open(&key, &purpose.info(), &changed).unwrap_err().id,
                ErrorId::ShareOpenFailed
            );
        }
    }

    #[test]
    fn the_info_of_an_import_is_that_of_the_specification() {
        let [import, ..] = purposes();
        let mut expected = Vec::new();
        for part in [
            &b"sealift/v1/share-import"[..],
            b"k-eu",
            &[0, 0, 0, 7],
            &[0, 0, 0, 9],
            &[0, 3],
            &sha256(b"descriptor"),
        ] {
            expected.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
            expected.extend(part);
        }
        assert_eq!(import.info(), expected);
    }

    fn purposes() -> [Purpose<'static>; 6] {
        let key = KeyRef {
            key_id: "k-eu",
            epoch: 7,
            generation: 9,
        };
        let next = KeyRef {
            generation: 10,
            ..key
        };
        let [from, to] = [2, 3].map(|index| HolderId::new(index).unwrap());
        [
            Purpose::Import {
                key,
                to,
                descriptor: b"descriptor",
            },
            Purpose::Generation {
                key,
                from,
                to,
                round1_digest: &[5; 32],
            },
            Purpose::Contribution { key, from, to },
            Purpose::Contribution {
                key,
                from: to,
                to: from,
            },
            Purpose::Contribution {
                key: next,
                from,
                to,
            },
            Purpose::Escrow { key, from },
        ]
    }
}
