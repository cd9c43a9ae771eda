//! All parts of the agent put together, for `sealift agent serve`.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use sealift_holder::certificate::{self, Certificate, CertificateError};
use sealift_holder::client::commands::Roster;
use sealift_holder::client::http::{Clients, HttpError};
use sealift_holder::client::release::{Options, ReleaseError, Releaser};
use sealift_holder::deployment::{Deployment, DeploymentId};
use sealift_holder::keys::SigningKey;
use sealift_holder::names::Name;
use sealift_holder::tls::{Credential, TlsConfigError};
use sealift_holder::wire::CertificateRequest;
use sealift_holder::{Clock, Octets};
use thiserror::Error;
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use super::feed::follow;
use super::holders::{Connections, Holders};
use super::posture::PostureFile;
use super::renewal::{Renewal, Retries};
use super::resident::{BootClock, Resident, Settings};
use super::socket::{Access, Limits, serve};
use super::standing::Standing;

/// Keeps a renewed certificate chain (PEM) for the next start.
pub type KeepCertificate = Arc<dyn Fn(&str) -> io::Result<()> + Send + Sync>;

/// What an agent is made of; programs read it from files.
pub struct Parts {
    /// Who the holders are, and the keys.
    pub deployment: Deployment,
    /// The node's certificate chain, PEM, leaf first.
    pub chain: String,
    /// The node's key.
    pub key: SigningKey,
    /// Longest lease.
    pub lease: Duration,
    /// Unix milliseconds now.
    pub clock: Clock,
    /// Time since boot.
    pub boot: BootClock,
    /// Uniform over all values: spreads renewals.
    pub jitter: Arc<dyn Fn() -> u32 + Send + Sync>,
    /// Called with each new certificate chain.
    pub keep: KeepCertificate,
}

/// A node's agent, ready to serve.
pub struct Agent {
    resident: Arc<Resident>,
    releaser: Arc<Releaser>,
    connections: Arc<Connections>,
    credential: Arc<Credential>,
    key: Arc<SigningKey>,
    certificate: Certificate,
    parts: Shared,
}

/// What is needed as long as the agent lives.
#[derive(Clone)]
struct Shared {
    deployment_id: DeploymentId,
    deployment: Arc<Deployment>,
    clock: Clock,
    jitter: Arc<dyn Fn() -> u32 + Send + Sync>,
    keep: KeepCertificate,
}

/// Why there is no agent.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The certificate is unreadable.
    #[error("cannot read the node's certificate")]
    Certificate(#[from] CertificateError),
    /// The certificate is not a node's.
    #[error("certificate is not that of a node")]
    NotANode,
    /// Certificate and key do not belong together.
    #[error("cannot use the node's certificate with its key")]
    Credential(#[from] TlsConfigError),
    /// Nobody could tell this deployment's commands from another's.
    #[error("the holders file does not say which deployment it describes")]
    Deployment,
    /// Connections cannot be prepared.
    #[error("cannot prepare connections to the holders")]
    Connections(#[from] HttpError),
    /// A key of the deployment contradicts itself.
    #[error("cannot use the keys of the deployment")]
    Keys(#[from] ReleaseError),
    /// No new certificate.
    #[error("no holder renewed the certificate")]
    NotRenewed,
}

impl Agent {
    /// Puts an agent together. Nobody is asked yet.
    ///
    /// # Errors
    /// [`AgentError`]
    pub fn new(parts: Parts) -> Result<Self, AgentError> {
        let certificate = Certificate::from_pem(&parts.chain)?;
        let Name::Node(name) = &certificate.name else {
            return Err(AgentError::NotANode);
        };
        let deployment_id = parts.deployment.id.ok_or(AgentError::Deployment)?;
        let credential = Credential::new(&parts.chain, &parts.key)?;
        let key = Arc::new(parts.key);
        let clients = Clients::new(&parts.deployment.holders, Some(&credential), &parts.clock)?;
        let connections = Arc::new(Connections::new(clients));
        let options = Options {
            lease_seconds: u32::try_from(parts.lease.as_secs()).unwrap_or(u32::MAX),
            ..Options::default()
        };
        let releaser = Arc::new(Releaser::new(
            Arc::clone(&connections) as _,
            &parts.deployment,
            Arc::clone(&key),
            options,
            Arc::clone(&parts.clock),
        )?);
        let client = parts.deployment.client.as_ref();
        let posture = client
            .and_then(|client| client.posture.clone())
            .map(PostureFile::new);
        let holders = Holders::new(Arc::clone(&releaser), posture, parts.lease);
        let names = parts
            .deployment
            .holders
            .iter()
            .map(|holder| holder.name.as_str());
        let standing = Standing::new(&name.name, names, feeds_needed(&releaser), (parts.boot)());
        let settings = Settings {
            node: name.name.as_str().into(),
            lease: parts.lease,
            clock: parts.boot,
        };
        let resident = Resident::new(settings, standing, Arc::new(holders));
        resident.certificate_until(certificate.validity.not_after);
        Ok(Self {
            resident: Arc::new(resident),
            releaser,
            connections,
            credential,
            key,
            certificate,
            parts: Shared {
                deployment_id,
                deployment: Arc::new(parts.deployment),
                clock: parts.clock,
                jitter: parts.jitter,
                keep: parts.keep,
            },
        })
    }

    /// Borrows what answers, for whoever knows what will be asked.
    pub fn resident(&self) -> &Arc<Resident> {
        &self.resident
    }

    /// Answers callers, follows the holders, renews the certificate; until it is dropped, which wipes all keys.
    pub async fn serve(self, listener: UnixListener, access: Access, limits: Limits) {
        let mut tasks = JoinSet::new();
        let roster = Roster::new(
            self.parts.deployment_id,
            &self.parts.deployment.administrators,
        );
        for holder in &self.parts.deployment.holders {
            tasks.spawn(follow(
                holder.name.clone(),
                Arc::clone(&self.connections),
                roster.clone(),
                Arc::clone(&self.releaser),
                Arc::clone(&self.resident),
            ));
        }
        tasks.spawn(tend(Arc::clone(&self.resident)));
        tasks.spawn(refresh(
            Arc::clone(&self.releaser),
            Arc::clone(&self.resident),
        ));
        let resident = Arc::clone(&self.resident);
        tasks.spawn(self.keep_renewed());
        serve(listener, access, limits, resident).await;
    }

    /// Renews the certificate again and again.
    async fn keep_renewed(self) {
        let mut validity = self.certificate.validity;
        let mut jitter = (self.parts.jitter)();
        let mut retries = Retries::default();
        loop {
            let renewal = Renewal {
                not_before: validity.not_before.saturating_mul(1000),
                not_after: validity.not_after.saturating_mul(1000),
            };
            match renewal.wait((self.parts.clock)(), jitter) {
                None => {
                    tracing::error!(
                        "the node's certificate has ended; `sealift agent enrol` makes a new one"
                    );
                    return;
                }
                Some(Duration::ZERO) => match self.renew().await {
                    Ok(renewed) => {
                        validity = renewed.validity;
                        self.resident.certificate_until(validity.not_after);
                        jitter = (self.parts.jitter)();
                        retries.reset();
                        // A holder whose clock is far off must not keep us busy.
                        sleep(MAX_SLEEP).await;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the node's certificate is not renewed");
                        sleep(retries.next_wait()).await;
                    }
                },
                // Timers stand still while the machine sleeps; the clock does not.
                Some(wait) => sleep(wait.min(MAX_SLEEP)).await,
            }
        }
    }

    /// Asks for the next certificate and shows it from then on. Only the home holder gives one.
    async fn renew(&self) -> Result<Certificate, AgentError> {
        let csr = Octets(certificate::request(&self.key)?);
        let mut answer = Err(AgentError::NotRenewed);
        for client in self.connections.clients().iter() {
            let request = CertificateRequest { csr: csr.clone() };
            match client.renew(&request).await {
                Ok(renewed) if !renewed.certificate.is_empty() => {
                    answer = Ok(renewed.certificate);
                    break;
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "no certificate here"),
            }
        }
        let chain = answer?;
        let renewed = Certificate::from_pem(&chain)?;
        if renewed.name != self.certificate.name {
            return Err(AgentError::NotANode);
        }
        self.credential.replace(&chain, &self.key)?;
        let clients = Clients::new(
            &self.parts.deployment.holders,
            Some(&self.credential),
            &self.parts.clock,
        )?;
        self.connections.replace(clients);
        // In use already; a file that cannot be written only costs an enrolment after a restart.
        if let Err(error) = (self.parts.keep)(&chain) {
            tracing::error!(%error, "cannot keep the new certificate");
        }
        self.releaser.warm().await;
        Ok(renewed)
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Agent({})", self.resident.node())
    }
}

/// Returns how many feeds meet every revocation in force: the largest threshold of any part of any key.
fn feeds_needed(releaser: &Releaser) -> usize {
    let groups = releaser.groups();
    let parts = groups.iter().flat_map(|group| group.parts());
    parts.map(|part| usize::from(part.t)).max().unwrap_or(1)
}

async fn tend(resident: Arc<Resident>) {
    let mut ticks = interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        resident.tend();
    }
}

/// Keeps connections warm and distances known, and learns of new generations of keys.
async fn refresh(releaser: Arc<Releaser>, resident: Arc<Resident>) {
    let mut ticks = interval(REFRESH);
    loop {
        ticks.tick().await;
        releaser.warm().await;
        for group in releaser.groups() {
            if let Err(error) = releaser.fetch(group.key_id()).await {
                tracing::debug!(%error, "descriptor not refreshed");
            }
        }
        resident.need_feeds(feeds_needed(&releaser));
    }
}

/// Longest time without a look at the clock.
const MAX_SLEEP: Duration = Duration::from_secs(30);

const REFRESH: Duration = Duration::from_secs(60);
