//! `-r holders:KEYID` and `-k holders:KEYID`: layers that key holders open.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use sealift_holder::Octets;
use sealift_holder::client::http::Clients;
use sealift_holder::client::release::{Options, Releaser};
use sealift_holder::identity::{Accusations, HolderIdentity};
use sealift_keywrap::{Identity, Recipient};
use sealift_threshold::{GroupRecipient, Residency};
use tokio::runtime::Runtime;

use super::group_keys::{group, unknown_key};
use super::{clock, runtime, session};
use crate::args::{HoldersIdentityArgs, HoldersRecipientArgs};
use crate::console::Console;
use crate::exit::{Code, Failure};
use crate::files::read_limited;

/// Takes the signed descriptor of a key out of the holders file; no holder is asked.
pub(crate) fn recipient(
    id: &str,
    args: &HoldersRecipientArgs,
    repository: Option<&str>,
) -> Result<Box<dyn Recipient>, Failure> {
    let deployment = session::load(&session::path(args.file.as_deref())?)?;
    let key = deployment.key(Some(id)).ok_or_else(|| unknown_key(id))?;
    let group = group(id, &key.descriptor)?;
    if repository.is_none() && !group.unbound() {
        return Err(Failure::new(
            Code::Usage,
            "layers for key holders are bound to a repository, and the destination names none",
        )
        .hint("give --label-repo HOST/PATH, the repository from which the image will be pulled"));
    }
    let residency = match args.residency.as_slice() {
        [any] if any == "*" => Residency::Any,
        codes => Residency::Codes(codes.iter().map(|code| code.as_str().into()).collect()),
    };
    Ok(Box::new(GroupRecipient {
        group,
        residency,
        policy: args.policy.as_str().into(),
        repo: repository.map(Into::into),
    }))
}

/// Keeps the connections to holders while layers are opened.
#[derive(Debug, Default)]
pub(crate) struct Asking {
    runtime: Option<Runtime>,
    accusations: Vec<Accusations>,
}

impl Asking {
    /// Prepares to ask the holders of a key, as the operator or node that the arguments name.
    pub(crate) fn identity(
        &mut self,
        id: &str,
        args: &HoldersIdentityArgs,
    ) -> Result<Box<dyn Identity>, Failure> {
        let deployment = session::load(&session::path(args.file.as_deref())?)?;
        let key = deployment.key(Some(id)).ok_or_else(|| unknown_key(id))?;
        let group = group(id, &key.descriptor)?;
        let credentials = session::credentials(&deployment, args.operator.as_deref())?;
        let runtime = match self.runtime.take() {
            Some(runtime) => runtime,
            None => runtime()?,
        };
        let guard = runtime.enter();
        let clients = Clients::new(&deployment.holders, Some(&credentials.shown()?), &clock())
            .map_err(|error| Failure::of(Code::Other, &error))?;
        drop(guard);
        let options = Options {
            justification: args.justification.clone(),
            ..Options::default()
        };
        let releaser = Releaser::new(
            Arc::new(clients),
            &deployment,
            Arc::new(credentials.key),
            options,
            clock(),
        )
        .map_err(|error| Failure::of(Code::Integrity, &error))?;
        let posture = deployment
            .client
            .as_ref()
            .and_then(|client| client.posture.as_deref());
        if let (Some(path), None) = (posture, &args.operator) {
            releaser.set_posture(posture_statement(path)?);
        }
        let identity = HolderIdentity::new(Arc::new(releaser), group, runtime.handle().clone());
        self.runtime = Some(runtime);
        self.accusations.push(identity.accusations());
        Ok(Box::new(identity))
    }

    /// Names the holders that lied, whether or not others made up for it.
    pub(crate) fn accuse(&self, console: &Console) {
        let lies = self.accusations.iter().flat_map(Accusations::take);
        let liars: BTreeSet<String> = lies.map(|lie| lie.holder).collect();
        for liar in liars {
            console.warn(&format!(
                "key holder `{liar}` is proven to have given a false answer; tell its operators"
            ));
        }
    }
}

/// Reads the node's current posture statement; a node whose state nobody has looked at yet has none.
fn posture_statement(path: &Path) -> Result<Option<Octets>, Failure> {
    if !path.exists() {
        return Ok(None);
    }
    let octets = read_limited(path, MAX_LEN)?;
    Ok(Some(Octets(octets.to_vec())))
}

/// Longest posture statement.
const MAX_LEN: usize = 64 * 1024;
