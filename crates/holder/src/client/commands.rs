//! Handing in signed commands: one holder is enough, it tells the others.

use super::http::{HolderClient, HttpError};
use crate::octets::Octets;
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
