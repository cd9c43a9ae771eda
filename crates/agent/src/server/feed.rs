//! Following what holders apply, so that revocations are known here as soon as there.

use std::sync::Arc;

use sealift_holder::client::commands::Roster;
use sealift_holder::client::release::Releaser;
use sealift_holder::command::Family;
use tokio::time::sleep;

use super::holders::Connections;
use super::renewal::Retries;
use super::resident::Resident;

/// Follows the feed of one holder for ever, from its first command on; `roster` knows no command yet.
pub(super) async fn follow(
    holder: String,
    connections: Arc<Connections>,
    mut roster: Roster,
    releaser: Arc<Releaser>,
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
                            match roster.read(&event.command.0) {
                                Ok(command) => {
                                    if command.order.family() == Family::Role {
                                        releaser.believe(roster.ever());
                                    }
                                    resident.apply(&command, &holder);
                                }
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
