//! The regional authority: the holder's own service certificate, and the certificates of the nodes at home here.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::rand::SecureRandom;
use thiserror::Error;

use super::secrets::Secrets;
use crate::certificate::{Authority, CertificateError, NODE_LIFETIME, SERVICE_LIFETIME, Validity};
use crate::keys::PublicKey;
use crate::names::NodeName;
use crate::tls::{Credential, TlsConfigError};

/// Issues certificates and keeps the holder's own one fresh.
#[derive(Debug)]
pub struct RegionalAuthority {
    secrets: Arc<Secrets>,
    host: String,
    credential: Arc<Credential>,
    renewal: Mutex<Renewal>,
}

impl RegionalAuthority {
    /// Issues the first service certificate for `host`, the host of the holder's URL.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`].
    pub fn start(
        secrets: Arc<Secrets>,
        host: &str,
        now_ms: u64,
        rng: &dyn SecureRandom,
    ) -> Result<Self, AuthorityError> {
        let authority = Self {
            secrets,
            host: host.to_owned(),
            credential: Credential::none(),
            renewal: Mutex::new(Renewal {
                issued_ms: 0,
                due_ms: 0,
            }),
        };
        authority.renew(now_ms, rng)?;
        Ok(authority)
    }

    /// Returns the credential that TLS shows; it changes with every renewal.
    pub fn credential(&self) -> Arc<Credential> {
        Arc::clone(&self.credential)
    }

    /// Issues a new service certificate when the time has come; returns when to ask again, Unix milliseconds.
    ///
    /// Ask at least once a minute: the clock may jump, and a certificate from the future is as useless as an old one.
    /// New connections see the new certificate at once; those that are open are not disturbed.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`]; the old certificate stays, and it has a third of its life left to try again.
    pub fn renew_when_due(
        &self,
        now_ms: u64,
        rng: &dyn SecureRandom,
    ) -> Result<u64, AuthorityError> {
        let Renewal { issued_ms, due_ms } =
            *self.renewal.lock().unwrap_or_else(PoisonError::into_inner);
        if (issued_ms..due_ms).contains(&now_ms) {
            Ok(due_ms)
        } else {
            self.renew(now_ms, rng)
        }
    }

    /// Issues a node's certificate; returns it with its last second.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`].
    pub fn node(
        &self,
        node: &NodeName,
        key: &PublicKey,
        now_ms: u64,
    ) -> Result<(String, u64), AuthorityError> {
        let validity = Validity::from(now_ms / 1000, NODE_LIFETIME);
        let pem = self.authority()?.node(node, key, validity)?;
        Ok((pem, validity.not_after))
    }

    fn renew(&self, now_ms: u64, rng: &dyn SecureRandom) -> Result<u64, AuthorityError> {
        let validity = Validity::from(now_ms / 1000, SERVICE_LIFETIME);
        let key = self.secrets.service();
        let pem = self.authority()?.service(
            self.secrets.name(),
            &[&self.host],
            key.public(),
            validity,
        )?;
        self.credential.replace(&pem, key)?;
        let due_ms = now_ms.saturating_add(renew_after_ms(SERVICE_LIFETIME, rng)?);
        *self.renewal.lock().unwrap_or_else(PoisonError::into_inner) = Renewal {
            issued_ms: now_ms,
            due_ms,
        };
        Ok(due_ms)
    }

    fn authority(&self) -> Result<Authority<'_>, CertificateError> {
        Authority::new(self.secrets.name(), self.secrets.authority())
    }
}

#[derive(Clone, Copy, Debug)]
struct Renewal {
    issued_ms: u64,
    due_ms: u64,
}

/// Returns when to renew a certificate of `lifetime` seconds: at two thirds, less up to a tenth, drawn each time so that
/// what started together does not renew together.
fn renew_after_ms(lifetime: u64, rng: &dyn SecureRandom) -> Result<u64, AuthorityError> {
    let mut drawn = [0; 8];
    rng.fill(&mut drawn)
        .map_err(|_| AuthorityError::Randomness)?;
    let life_ms = lifetime.saturating_mul(1000);
    let jitter = u64::from_be_bytes(drawn) % (life_ms / 10).max(1);
    Ok((life_ms / 3 * 2).saturating_sub(jitter))
}

/// Why a certificate was not issued.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// It could not be made.
    #[error("a certificate could not be issued")]
    Certificate(#[from] CertificateError),
    /// TLS does not take it.
    #[error("the service certificate cannot be used")]
    Credential(#[from] TlsConfigError),
    /// The system gave no randomness.
    #[error("no randomness")]
    Randomness,
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use sealift_threshold::HolderId;

    use super::*;
    use crate::certificate::{AUTHORITY_LIFETIME, Certificate};
    use crate::server::sealing::Cost;
    use crate::tls::Trust;

    const NOW: u64 = 1_800_000_000;

    fn secrets() -> Arc<Secrets> {
        let index = HolderId::new(1).unwrap();
        let (secrets, _) =
            Secrets::create("fra", index, b"x", Cost::LOWEST, &SystemRandom::new()).unwrap();
        Arc::new(secrets)
    }

    fn authority() -> RegionalAuthority {
        RegionalAuthority::start(secrets(), "127.0.0.1", NOW * 1000, &SystemRandom::new()).unwrap()
    }

    #[test]
    fn a_nodes_certificate_lives_an_hour_and_begins_five_minutes_ago() {
        let authority = authority();
        let node = NodeName::new("tokyo-7", "ap-northeast-1", "prod", "JP").unwrap();
        let key = crate::keys::SigningKey::generate().unwrap();
        let (pem, not_after) = authority.node(&node, key.public(), NOW * 1000).unwrap();
        let certificate = Certificate::from_pem(&pem).unwrap();
        assert_eq!(
            certificate.validity,
            Validity {
                not_before: NOW - 300,
                not_after: NOW + 3600
            }
        );
        assert_eq!(not_after, NOW + 3600);
        assert_eq!(certificate.key, *key.public());
    }

    #[test]
    fn a_nodes_certificate_is_believed_under_its_home_only() {
        let authority = authority();
        let node = NodeName::new("tokyo-7", "ap-northeast-1", "prod", "JP").unwrap();
        let key = crate::keys::SigningKey::generate().unwrap();
        let (pem, _) = authority.node(&node, key.public(), NOW * 1000).unwrap();
        let chain = crate::certificate::chain_from_pem(&pem).unwrap();
        let ca = Authority::certificate(
            "fra",
            authority.secrets.authority(),
            Validity::from(NOW, AUTHORITY_LIFETIME),
        )
        .unwrap();
        let mut trust = Trust::default();
        trust.add_authority("fra", &ca).unwrap();
        trust.set_home("tokyo-7", "gru");
        assert!(matches!(
            trust.identify(&chain[0], &[], NOW),
            Err(rustls::Error::InvalidCertificate(_))
        ));
        trust.set_home("tokyo-7", "fra");
        assert_eq!(
            trust.identify(&chain[0], &[], NOW).unwrap().key,
            *key.public()
        );
        assert!(matches!(
            trust.identify(&chain[0], &[], NOW + 3601),
            Err(rustls::Error::InvalidCertificate(_))
        ));
    }

    #[test]
    fn the_service_certificate_is_renewed_before_two_thirds_of_its_life_and_not_before_half() {
        let authority = authority();
        let rng = SystemRandom::new();
        let (mut now, mut due) = (
            NOW * 1000,
            authority.renew_when_due(NOW * 1000, &rng).unwrap(),
        );
        let life = SERVICE_LIFETIME * 1000;
        for _ in 0..90 {
            assert!(
                (now + life / 2..=now + life / 3 * 2).contains(&due),
                "{now} {due}"
            );
            assert_eq!(authority.renew_when_due(due - 1, &rng).unwrap(), due);
            now = due;
            due = authority.renew_when_due(now, &rng).unwrap();
            assert!(due > now);
        }
    }

    #[test]
    fn a_clock_that_jumps_back_gets_a_certificate_of_its_own_time() {
        let authority = authority();
        let rng = SystemRandom::new();
        let earlier = (NOW - 7 * 86_400) * 1000;
        let due = authority.renew_when_due(earlier, &rng).unwrap();
        assert!(due < NOW * 1000, "{due}");
    }
}
