//! Changes of what all holders share: a command is signed, handed to one holder, and in force once enough have it.

use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use sealift_holder::client::http::HolderClient;
use sealift_holder::command::{Command, Order};
use sealift_holder::keys::SigningKey;
use sealift_holder::statement::COMMAND;
use sealift_holder::wire::{CommandStatus, CommandsAnswer};
use sealift_holder::{Octets, dsse};
use serde_json::{Value, json};

use super::session::{Session, latest};
use super::{hex, now_ms, operator};
use crate::args::ChangeArgs;
use crate::console::{Console, Form};
use crate::exit::{Code, Failure};
use crate::report::SCHEMA_VERSION;

/// Who approves a change, and why.
pub(crate) struct Approval {
    pub(crate) reason: String,
    pub(crate) signers: Vec<SigningKey>,
}

impl Approval {
    pub(crate) fn read(args: &ChangeArgs) -> Result<Self, Failure> {
        if args.reason.trim().is_empty() || args.reason.len() > MAX_REASON_LEN {
            return Err(Failure::new(
                Code::Usage,
                format!("--reason needs 1 to {MAX_REASON_LEN} octets"),
            ));
        }
        let signers = args
            .sign_with
            .iter()
            .map(|path| operator::signing_key(path));
        Ok(Self {
            reason: args.reason.clone(),
            signers: signers.collect::<Result<_, _>>()?,
        })
    }

    pub(crate) fn keys(&self) -> Vec<&SigningKey> {
        self.signers.iter().collect()
    }
}

/// What became of a command.
#[derive(Debug)]
pub(crate) struct Submitted {
    pub(crate) digest: String,
    pub(crate) version: u64,
    pub(crate) kind: String,
    pub(crate) subject: String,
    pub(crate) envelope: Vec<u8>,
    pub(crate) answer: CommandsAnswer,
}

/// As whom changes are handed in: who was named, else the first who signs.
pub(crate) fn speaker<'a>(
    operator: Option<&'a PathBuf>,
    change: &'a ChangeArgs,
) -> Option<&'a Path> {
    operator.or(change.sign_with.first()).map(PathBuf::as_path)
}

impl Session {
    /// Signs an order as the next of its register and hands it in.
    pub(crate) fn submit(
        &self,
        subject: &str,
        order: Order,
        approval: &Approval,
    ) -> Result<Submitted, Failure> {
        let needed = order.approvals();
        if approval.signers.len() < needed {
            let what = format!(
                "this needs {needed} administrators, and {} signed",
                approval.signers.len()
            );
            return Err(
                Failure::new(Code::Usage, what).hint("give --sign-with once for each of them")
            );
        }
        let deployment = self.deployment_id()?;
        let known = self.commands()?;
        let before = latest(&known, order.family(), subject);
        let command = Command {
            v: 1,
            deployment,
            subject: subject.to_owned(),
            version: before
                .map_or(0, |known| known.command.version)
                .saturating_add(1),
            issued_at: now_ms(),
            reason: approval.reason.clone(),
            order,
        };
        let payload =
            serde_json::to_vec(&command).map_err(|error| Failure::of(Code::Other, &error))?;
        let envelope = dsse::sign(COMMAND, &payload, &approval.keys(), &SystemRandom::new())
            .map_err(|error| Failure::of(Code::Other, &error))?;
        let answer = self
            .first(async |client: &HolderClient| client.command(&Octets(envelope.clone())).await)?;
        let kind = serde_json::to_value(&command.order).ok();
        let kind = kind
            .as_ref()
            .and_then(|value| value.get("kind"))
            .and_then(Value::as_str);
        Ok(Submitted {
            digest: hex(digest(&SHA256, &payload).as_ref()),
            version: command.version,
            kind: kind.unwrap_or_default().to_owned(),
            subject: command.subject,
            envelope,
            answer,
        })
    }
}

impl Submitted {
    /// Fails unless the command is in force.
    pub(crate) fn in_force(&self) -> Result<(), Failure> {
        let answer = &self.answer;
        let confirmed = match answer.holders.as_slice() {
            [] => "none".to_owned(),
            holders => holders.join(", "),
        };
        match answer.status {
            CommandStatus::Effective => Ok(()),
            CommandStatus::Pending => Err(Failure::new(
                Code::Denied,
                format!(
                    "PENDING: {} of {} holders have confirmed {} {} ({confirmed}); it is not in force",
                    answer.applied, answer.needed, self.kind, self.subject
                ),
            )
            .hint("the holders go on telling each other; run the same command again to see whether it is in force")),
            CommandStatus::Refused => Err(Failure::new(
                Code::Denied,
                format!("the holders refuse {} {}", self.kind, self.subject),
            )
            .hint("the reason stands in the holders' record: `sealift audit show --event command`")),
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "schemaVersion": SCHEMA_VERSION,
            "command": {
                "digest": format!("sha256:{}", self.digest),
                "version": self.version,
                "kind": self.kind,
                "subject": self.subject,
            },
            "status": self.answer.status,
            "applied": self.answer.applied,
            "needed": self.answer.needed,
            "holders": self.answer.holders,
        })
    }

    /// Prints digest and version, and fails unless the command is in force.
    pub(crate) fn show(&self, console: &Console) -> Result<(), Failure> {
        match console.form {
            Form::Json => console.result_json(&self.to_json())?,
            Form::Text => {
                let line = format!("sha256:{} version {}\n", self.digest, self.version);
                console.result(line.as_bytes())?;
                console.note(&format!(
                    "{} {} is confirmed by {} of {} holders needed: {}",
                    self.kind,
                    self.subject,
                    self.answer.applied,
                    self.answer.needed,
                    self.answer.holders.join(", "),
                ));
            }
        }
        self.in_force()
    }
}

/// Longest reason.
const MAX_REASON_LEN: usize = 1024;
