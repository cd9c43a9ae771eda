//! A conversation with the holders of a deployment, as somebody.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sealift_holder::client::commands::Roster;
use sealift_holder::client::http::{HolderClient, HttpError};
use sealift_holder::command::{Command, Family};
use sealift_holder::deployment::{Deployment, DeploymentError, DeploymentId};
use sealift_holder::descriptor::Administrator;
use sealift_holder::wire::CommandsPage;
use tokio::runtime::Runtime;

use super::operator::{self, Credentials};
use super::{clock, runtime};
use crate::exit::{Code, Failure};
use crate::files::read_limited;

/// Holders that can be asked.
pub(crate) struct Session {
    /// The holders file.
    pub(crate) path: PathBuf,
    pub(crate) deployment: Deployment,
    pub(crate) runtime: Runtime,
    clients: Vec<(String, HolderClient)>,
}

/// A command that holders have applied.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) command: Command,
}

impl Session {
    /// Reads the holders file and takes up the role of `operator`, or that of the file's `[client]`.
    pub(crate) fn open(file: Option<&Path>, operator: Option<&Path>) -> Result<Self, Failure> {
        let path = path(file)?;
        let deployment = load(&path)?;
        let credentials = credentials(&deployment, operator)?;
        let credential = credentials.shown()?;
        let runtime = runtime()?;
        let guard = runtime.enter();
        let clients = deployment
            .holders
            .iter()
            .map(|holder| {
                let client = HolderClient::new(holder, Some(&credential), clock())
                    .map_err(|error| Failure::of(Code::Other, &error))?;
                Ok((holder.name.clone(), client))
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        drop(guard);
        Ok(Self {
            path,
            deployment,
            runtime,
            clients,
        })
    }

    /// The holders in the order of the file.
    pub(crate) fn clients(&self) -> impl Iterator<Item = (&str, &HolderClient)> {
        self.clients
            .iter()
            .map(|(name, client)| (name.as_str(), client))
    }

    /// The holder of that name.
    pub(crate) fn client(&self, name: &str) -> Result<&HolderClient, Failure> {
        let found = self.clients.iter().find(|(other, _)| other == name);
        found.map(|(_, client)| client).ok_or_else(|| {
            Failure::new(
                Code::NotFound,
                format!("`{}` has no holder `{name}`", self.path.display()),
            )
        })
    }

    /// Asks one holder after the other until one answers.
    ///
    /// A refusal is an answer: the next holder is not asked to say it again.
    pub(crate) fn first<T>(
        &self,
        ask: impl AsyncFn(&HolderClient) -> Result<T, HttpError>,
    ) -> Result<T, Failure> {
        let mut failure = Failure::new(Code::Usage, "the holders file names no holders");
        for (name, client) in self.clients() {
            match self.runtime.block_on(ask(client)) {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    let answered = error.code().is_some();
                    failure = failure_of(name, &error);
                    if answered {
                        break;
                    }
                }
            }
        }
        Err(failure)
    }

    /// Which deployment it is.
    pub(crate) fn deployment_id(&self) -> Result<DeploymentId, Failure> {
        self.deployment.id.ok_or_else(|| {
            let file = self.path.display();
            Failure::new(
                Code::Usage,
                format!("`{file}` does not say which deployment it describes"),
            )
            .hint("name the descriptor that `sealift holder init` printed for each [[holder]]: descriptor = \"NAME.json\"")
        })
    }

    /// All commands that the first holder to answer has applied, in its order.
    ///
    /// Only those are taken that somebody signed who is or was an administrator.
    pub(crate) fn commands(&self) -> Result<Vec<Known>, Failure> {
        self.log().map(|(known, _)| known)
    }

    /// Everybody who is or was an administrator, by the file and by the log of the first holder to answer.
    pub(crate) fn administrators(&self) -> Result<Vec<Administrator>, Failure> {
        self.log().map(|(_, roster)| roster.ever().to_vec())
    }

    fn log(&self) -> Result<(Vec<Known>, Roster), Failure> {
        let deployment = self.deployment_id()?;
        let envelopes = self.first(async |client: &HolderClient| {
            let mut envelopes = Vec::new();
            let mut since = 0;
            loop {
                let CommandsPage { next, commands } = client.commands_since(since).await?;
                if commands.is_empty() || next <= since {
                    return Ok(envelopes);
                }
                since = next;
                envelopes.extend(commands);
            }
        })?;
        let mut roster = Roster::new(deployment, &self.deployment.administrators);
        let mut known = Vec::new();
        for envelope in envelopes {
            // Whether it was believed is a matter of its place in the log; that it is there counts for the next version.
            let read = roster
                .read(&envelope.0)
                .or_else(|_| roster.peruse(&envelope.0));
            known.extend(read.map(|command| Known { command }));
        }
        Ok((known, roster))
    }

    /// Signed descriptors that the file has, by key.
    pub(crate) fn descriptors(&self) -> BTreeMap<&str, &[u8]> {
        let keys = self.deployment.keys.iter();
        keys.map(|key| (key.id.as_str(), key.descriptor.as_slice()))
            .collect()
    }
}

/// Repeats a question that a holder may refuse only because it has not yet heard what others know.
pub(crate) async fn patiently<T>(
    ask: impl AsyncFn() -> Result<T, HttpError>,
) -> Result<T, HttpError> {
    let deadline = Instant::now() + GOSSIP;
    loop {
        match ask().await {
            Err(error) if error.code().is_some() && Instant::now() < deadline => {
                tokio::time::sleep(PAUSE).await;
            }
            answer => return answer,
        }
    }
}

/// Returns the latest of the commands that replace each other in one register.
pub(crate) fn latest<'a>(
    commands: &'a [Known],
    family: Family,
    subject: &str,
) -> Option<&'a Known> {
    let register = commands
        .iter()
        .filter(|known| known.command.order.family() == family && known.command.subject == subject);
    register.max_by_key(|known| known.command.version)
}

/// Reads a holders file.
pub(crate) fn load(path: &Path) -> Result<Deployment, Failure> {
    Deployment::load(path).map_err(|error| {
        let code = match &error {
            DeploymentError::File { source, .. }
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                Code::NotFound
            }
            DeploymentError::Descriptor { .. } | DeploymentError::Other { .. } => Code::Integrity,
            _ => Code::Usage,
        };
        let what = format!("cannot use the holders file `{}`", path.display());
        let failure = Failure::new(code, what).because(&error);
        match error {
            DeploymentError::Descriptor { .. } => failure
                .hint("do not seal for this key; ask two administrators for the signed descriptor"),
            _ => failure,
        }
    })
}

/// The holders file that was named.
pub(crate) fn path(file: Option<&Path>) -> Result<PathBuf, Failure> {
    file.map(Path::to_owned).ok_or_else(|| {
        Failure::new(Code::Usage, "no holders file was named")
            .hint("set SEALIFT_HOLDERS to it, or give --holders FILE (--deployment FILE where --holders names holders)")
    })
}

/// Certificate and key of who speaks.
pub(crate) fn credentials(
    deployment: &Deployment,
    operator: Option<&Path>,
) -> Result<Credentials, Failure> {
    if let Some(key) = operator {
        return operator::credentials(key);
    }
    let Some(client) = &deployment.client else {
        return Err(
            Failure::new(Code::Usage, "nothing says as whom the holders are asked")
                .hint("give --as NAME.pem, or a holders file with a [client] section"),
        );
    };
    let certificate = read_limited(&client.certificate, MAX_LEN)?;
    Ok(Credentials {
        certificate: String::from_utf8_lossy(&certificate).into_owned(),
        key: operator::signing_key(&client.key)?,
    })
}

/// Explains why a holder could not be asked, or what it refused.
pub(crate) fn failure_of(holder: &str, error: &HttpError) -> Failure {
    use sealift_holder::wire::Code as Wire;
    let (code, hint) = match error.code() {
        None => (
            Code::Network,
            Some("`sealift holder status` asks all holders how they are"),
        ),
        Some(Wire::Forbidden | Wire::Unauthenticated) => (
            Code::Denied,
            Some("the reason stands in the holders' record: `sealift audit show --event refusal`"),
        ),
        Some(Wire::KeyNotFound | Wire::NotFound) => {
            (Code::NotFound, Some("`sealift key list` shows the keys"))
        }
        Some(
            Wire::KeyDisabled
            | Wire::KeyPendingDeletion
            | Wire::KeyPendingImport
            | Wire::DeletionProtected
            | Wire::InvalidState,
        ) => (
            Code::Denied,
            Some("`sealift key show ID` shows the state of the key"),
        ),
        Some(
            Wire::StoreUnavailable
            | Wire::AuditUnavailable
            | Wire::LogUnavailable
            | Wire::QuorumUnavailable,
        ) => (
            Code::Network,
            Some("`sealift holder status` asks all holders how they are"),
        ),
        Some(Wire::AlreadyRegistered) => (
            Code::Denied,
            Some("a registration is for good; only a wrap sealed anew can belong elsewhere"),
        ),
        Some(Wire::OtherDeployment) => (
            Code::Integrity,
            Some("the holders file describes another deployment than these holders are of"),
        ),
        Some(Wire::VersionConflict) => (
            Code::Other,
            Some("somebody else changed the same thing; run the command again"),
        ),
        Some(_) => (Code::Other, None),
    };
    Failure::new(code, format!("key holder `{holder}` did not do it"))
        .because(error)
        .or_hint(hint)
}

const MAX_LEN: usize = 64 * 1024;
/// Holders ask each other every five seconds for what they have missed.
const GOSSIP: Duration = Duration::from_secs(7);
const PAUSE: Duration = Duration::from_millis(200);
