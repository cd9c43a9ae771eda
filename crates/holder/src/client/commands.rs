//! Commands as clients see them: handing them in, and believing those that holders show.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{SHA256, digest};
use thiserror::Error;

use super::http::{HolderClient, HttpError};
use crate::command::{Command, Order};
use crate::deployment::DeploymentId;
use crate::descriptor::{Administrator, approvers};
use crate::dsse;
use crate::keys::PublicKey;
use crate::octets::Octets;
use crate::statement::COMMAND;
use crate::wire::CommandsAnswer;
/// Hands a signed command to the first of `holders` that answers, and returns what it says.
///
/// A refusal is an answer. A holder that breaks off may have applied the command; commands are idempotent, so the next
/// one is asked all the same.
///
/// # Errors
/// The refusal, or what happened at the last holder when none answered; `None` when there are no holders.
pub async fn send<'a>(
    holders: impl IntoIterator<Item = &'a HolderClient>,
    envelope: &Octets,
) -> Result<CommandsAnswer, Option<HttpError>> {
    let mut failed = None;
    for holder in holders {
        match holder.command(envelope).await {
            Ok(answer) => return Ok(answer),
            Err(error) if error.code().is_some() => return Err(Some(error)),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed)
}

/// Who the administrators of a deployment are: those of the holders file, and what role commands have made of them.
///
/// It reads the log of one holder in its order, from the first command on, and judges each command by the administrators of
/// that place, as the holder did. So it can be made anew at every start, and needs nothing on disk: nobody becomes an
/// administrator but by the signatures of two who are, and a holder that leaves out a removal shows only what it could
/// show before. Give each holder a roster of its own: what one leaves out, the others tell.
#[derive(Clone, Debug)]
pub struct Roster {
    deployment: DeploymentId,
    present: Vec<Administrator>,
    ever: Vec<Administrator>,
    /// Version, whether it takes the role away, and digest of the newest role command for each name.
    roles: BTreeMap<String, (u64, bool, Vec<u8>)>,
}

impl Roster {
    /// Starts with the administrators of the holders file.
    pub fn new(deployment: DeploymentId, administrators: &[Administrator]) -> Self {
        Self {
            deployment,
            present: administrators.to_vec(),
            ever: administrators.to_vec(),
            roles: BTreeMap::new(),
        }
    }

    /// Reads the next command of the holder's log, which enough administrators must have signed for this deployment. A holder
    /// alone can neither revoke a node nor take that back.
    ///
    /// # Errors
    /// [`CommandError`]; the command is to be passed over.
    pub fn read(&mut self, envelope: &[u8]) -> Result<Command, CommandError> {
        let (command, signers, payload) = self.verified(envelope)?;
        let (found, needed) = (
            approvers(&self.present, &signers).len(),
            command.order.approvals(),
        );
        if found < needed {
            return Err(CommandError::Approvals { found, needed });
        }
        self.learn(&command, &payload);
        Ok(command)
    }

    /// Reads a command that anybody signed who is or was an administrator: to see what there is, not to believe it.
    ///
    /// # Errors
    /// [`CommandError`]
    pub fn peruse(&self, envelope: &[u8]) -> Result<Command, CommandError> {
        self.verified(envelope).map(|(command, ..)| command)
    }

    /// Returns everybody who is an administrator or was one: signed descriptors outlive the office of their signers.
    pub fn ever(&self) -> &[Administrator] {
        &self.ever
    }

    /// Returns the administrators.
    pub fn present(&self) -> &[Administrator] {
        &self.present
    }

    fn verified(
        &self,
        envelope: &[u8],
    ) -> Result<(Command, BTreeSet<PublicKey>, Vec<u8>), CommandError> {
        let keys = self.ever.iter().map(|administrator| &administrator.key);
        let verified =
            dsse::verify(envelope, COMMAND, keys).map_err(|_| CommandError::Signature)?;
        let command: Command =
            serde_json::from_slice(&verified.payload).map_err(|_| CommandError::Malformed)?;
        if command.v != 1 {
            return Err(CommandError::Malformed);
        }
        if command.deployment != self.deployment {
            return Err(CommandError::OtherDeployment);
        }
        Ok((command, verified.signers, verified.payload))
    }

    /// Takes what a believed command says about a person; of one register the same wins as at holders.
    fn learn(&mut self, command: &Command, payload: &[u8]) {
        let (Some(("operator", name)), Order::Role { spki, role }) =
            (command.subject.split_once(':'), &command.order)
        else {
            return;
        };
        let administrator = match role.as_deref() {
            Some("SecurityAdmin") => PublicKey::from_spki(&spki.0).ok().map(|key| Administrator {
                name: name.to_owned(),
                key,
            }),
            _ => None,
        };
        if let Some(one) = &administrator
            && !self.ever.contains(one)
        {
            self.ever.push(one.clone());
        }
        let rank = (
            command.version,
            role.is_none(),
            digest(&SHA256, payload).as_ref().to_vec(),
        );
        if self.roles.get(name).is_some_and(|held| *held >= rank) {
            return;
        }
        self.roles.insert(name.to_owned(), rank);
        self.present.retain(|one| one.name != name);
        self.present.extend(administrator);
    }
}

/// Why a command that a holder shows is passed over.
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

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;

    use super::*;
    use crate::keys::SigningKey;
    use crate::statement::POSTURE;

    const DEPLOYMENT: DeploymentId = DeploymentId([7; 16]);
    const ONE_OF_TWO: CommandError = CommandError::Approvals {
        found: 1,
        needed: 2,
    };

    fn command(subject: &str, version: u64, order: Order) -> Command {
        Command {
            v: 1,
            deployment: DEPLOYMENT,
            subject: subject.to_owned(),
            version,
            issued_at: 0,
            reason: "test".to_owned(),
            order,
        }
    }

    fn signed(command: &Command, kind: &str, keys: &[&SigningKey]) -> Vec<u8> {
        let payload = serde_json::to_vec(command).unwrap();
        dsse::sign(kind, &payload, keys, &SystemRandom::new()).unwrap()
    }

    fn roster(people: &[(&str, &SigningKey)]) -> Roster {
        let people = people.iter().map(|(name, key)| Administrator {
            name: (*name).to_owned(),
            key: key.public().clone(),
        });
        Roster::new(DEPLOYMENT, &people.collect::<Vec<_>>())
    }

    #[test]
    fn commands_count_with_the_signatures_of_enough_people() {
        let [alice, bob, alice_too, eve] = [(); 4].map(|()| SigningKey::generate().unwrap());
        let mut roster = roster(&[("alice", &alice), ("bob", &bob), ("alice", &alice_too)]);
        let mut read = |envelope: &[u8]| roster.read(envelope);
        let revoke = command("node:n", 1, Order::RevokeNode {});
        let unrevoke = command("node:n", 2, Order::UnrevokeNode {});

        assert_eq!(
            read(&signed(&revoke, COMMAND, &[&alice])),
            Ok(revoke.clone())
        );
        assert_eq!(
            read(&signed(&unrevoke, COMMAND, &[&alice, &bob])),
            Ok(unrevoke.clone())
        );
        // Two keys of one person, and one of nobody.
        for second in [&alice, &alice_too, &eve] {
            let envelope = signed(&unrevoke, COMMAND, &[&alice, second]);
            assert_eq!(read(&envelope), Err(ONE_OF_TWO));
        }
        for (kind, key) in [(COMMAND, &eve), (POSTURE, &alice)] {
            let envelope = signed(&revoke, kind, &[key]);
            assert_eq!(read(&envelope), Err(CommandError::Signature));
        }
        assert_eq!(read(b"{}"), Err(CommandError::Signature));
        // Signed by the right people, and for another deployment of theirs.
        let elsewhere = Command {
            deployment: DeploymentId([8; 16]),
            ..revoke.clone()
        };
        assert_eq!(
            read(&signed(&elsewhere, COMMAND, &[&alice, &bob])),
            Err(CommandError::OtherDeployment)
        );
        let future = Command { v: 2, ..revoke };
        assert_eq!(
            read(&signed(&future, COMMAND, &[&alice])),
            Err(CommandError::Malformed)
        );
    }

    #[test]
    fn role_commands_make_and_unmake_administrators() {
        let [alice, bob, carol, eve] = [(); 4].map(|()| SigningKey::generate().unwrap());
        let mut roster = roster(&[("alice", &alice), ("bob", &bob)]);
        let role = |name: &str, key: &SigningKey, version, role: Option<&str>| {
            let spki = key.spki().into();
            let role = role.map(str::to_owned);
            command(
                &format!("operator:{name}"),
                version,
                Order::Role { spki, role },
            )
        };
        let admin = Some("SecurityAdmin");
        let names = |roster: &Roster| {
            let names = roster.present().iter().map(|one| one.name.clone());
            names.collect::<Vec<_>>().join(" ")
        };
        let revoke =
            |by: &[&SigningKey]| signed(&command("node:n", 1, Order::RevokeNode {}), COMMAND, by);

        // One alone, or with somebody who is nobody, appoints nobody.
        let appointed = role("carol", &carol, 1, admin);
        for by in [&[&alice][..], &[&alice, &eve], &[&alice, &carol]] {
            let envelope = signed(&appointed, COMMAND, by);
            assert_eq!(roster.read(&envelope), Err(ONE_OF_TWO));
        }
        assert_eq!(
            roster.read(&revoke(&[&carol])),
            Err(CommandError::Signature)
        );
        let envelope = signed(&appointed, COMMAND, &[&alice, &bob]);
        assert_eq!(roster.read(&envelope), Ok(appointed));
        assert_eq!(names(&roster), "alice bob carol");
        assert_eq!(roster.read(&revoke(&[&carol])).unwrap().subject, "node:n");
        // A removed one is not believed any more, wherever the name came from; what there is can still be seen.
        let removed = role("alice", &alice, 1, None);
        roster
            .read(&signed(&removed, COMMAND, &[&bob, &carol]))
            .unwrap();
        assert_eq!(names(&roster), "bob carol");
        let late = revoke(&[&alice]);
        let none = CommandError::Approvals {
            found: 0,
            needed: 1,
        };
        assert_eq!(roster.read(&late), Err(none));
        assert_eq!(roster.peruse(&late).unwrap().subject, "node:n");
        assert_eq!(roster.ever().len(), 3);
        // Neither an old command nor another role brings her back.
        for again in [
            role("alice", &alice, 1, admin),
            role("alice", &alice, 2, Some("Auditor")),
        ] {
            roster
                .read(&signed(&again, COMMAND, &[&bob, &carol]))
                .unwrap();
            assert_eq!(names(&roster), "bob carol");
        }
    }
}
