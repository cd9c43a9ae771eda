//! Following what holders apply, so that revocations are known here as soon as there.

use std::sync::Arc;

use sealift_holder::command::Command;
use sealift_holder::deployment::DeploymentId;
use sealift_holder::descriptor::{Administrator, approvers};
use sealift_holder::dsse;
use sealift_holder::statement::COMMAND;
use thiserror::Error;
use tokio::time::sleep;

use super::holders::Connections;
use super::renewal::Retries;
use super::resident::Resident;

/// Why a command from a feed is passed over.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum CommandError {
    /// Its envelope is not one, or nobody known signed.
    #[error("command is not signed by an administrator")]
    Signature,
    /// Too few people signed.
    #[error("command is signed by {found} administrators, {needed} are needed")]
    Approvals {
        /// How many did.
        found: usize,
        /// How many must.
        needed: usize,
    },
    /// Signed for another deployment.
    #[error("command is for another deployment")]
    OtherDeployment,
    /// Signed, and no command of this version.
    #[error("command is malformed")]
    Malformed,
}

/// Reads a command that enough administrators signed for this deployment. A holder alone can neither revoke a node nor take that back.
///
/// # Errors
/// [`CommandError`]
pub fn read_command(
    envelope: &[u8],
    deployment: DeploymentId,
    administrators: &[Administrator],
) -> Result<Command, CommandError> {
    let keys = administrators
        .iter()
        .map(|administrator| &administrator.key);
    let verified = dsse::verify(envelope, COMMAND, keys).map_err(|_| CommandError::Signature)?;
    let command: Command =
        serde_json::from_slice(&verified.payload).map_err(|_| CommandError::Malformed)?;
    let (found, needed) = (
        approvers(administrators, &verified.signers).len(),
        command.order.approvals(),
    );
    if command.v != 1 {
        return Err(CommandError::Malformed);
    }
    if command.deployment != deployment {
        return Err(CommandError::OtherDeployment);
    }
    if found < needed {
        return Err(CommandError::Approvals { found, needed });
    }
    Ok(command)
}

/// Follows the feed of one holder for ever, from its first command on.
pub(super) async fn follow(
    holder: String,
    connections: Arc<Connections>,
    deployment: DeploymentId,
    administrators: Arc<[Administrator]>,
    resident: Arc<Resident>,
) {
    let mut retries = Retries::default();
    let mut last = 0;
    loop {
        let clients = connections.clients();
        let Some(client) = clients.client(&holder) else {
            return;
        };
        match client.events(Some(last)).await {
            Ok(mut feed) => {
                retries.reset();
                loop {
                    match feed.next_until(&mut || resident.heard(&holder)).await {
                        Ok(event) => {
                            last = event.id;
                            match read_command(&event.command.0, deployment, &administrators) {
                                Ok(command) => resident.apply(&command, &holder),
                                Err(error) => tracing::warn!(%holder, %error, "passed over"),
                            }
                        }
                        Err(error) => {
                            tracing::warn!(%error, "feed ended");
                            break;
                        }
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "no feed"),
        }
        sleep(retries.next_wait().min(MAX_WAIT)).await;
    }
}

/// Longest time without an attempt: far below any lease.
const MAX_WAIT: std::time::Duration = std::time::Duration::from_secs(16);
