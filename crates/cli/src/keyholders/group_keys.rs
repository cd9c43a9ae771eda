//! `sealift key …`, as far as holders are asked.

use aws_lc_rs::rand::SystemRandom;
use sealift_holder::Octets;
use sealift_holder::client::ceremony::{CeremonyFailure, Coordinator, Prepared, Transport};
use sealift_holder::client::http::HolderClient;
use sealift_holder::command::{KeyPlan, Order};
use sealift_holder::statement::HolderDescriptor;
use sealift_holder::wire::{CeremonyAnswer, CeremonyRequest, KeyAnswer};
use sealift_threshold::{GroupKey, Suite};
use serde_json::{Value, json};

use super::change::{Approval, Submitted, speaker};
use super::holders_file::keep_descriptor;
use super::session::{self, Session, patiently};
use crate::args::{
    KeyCancelDeletionArgs, KeyCreateArgs, KeyDisableArgs, KeyEnableArgs, KeyExportArgs,
    KeyImportArgs, KeyListArgs, KeyMinEpochArgs, KeyRefreshArgs, KeyRepairArgs, KeyReshareArgs,
    KeyScheduleDeletionArgs, KeyShowArgs, OneKeyArgs, PlanArgs, UseArgs,
};
use crate::console::{Console, Form};
use crate::exit::{Code, Failure};
use crate::keys::private_scalar;
use crate::report::{SCHEMA_VERSION, Table};

pub(crate) fn create(args: &KeyCreateArgs, console: &Console) -> Result<(), Failure> {
    let approval = Approval::read(&args.change)?;
    let operator = speaker(args.identity.operator.as_ref(), &args.change);
    let session = Session::open(args.deployment.file.as_deref(), operator)?;
    let plan = KeyPlan {
        suite: args.suite.into(),
        ..plan(&args.plan, &args.usage)
    };
    if plan.suite != Suite::default() {
        console.warn(&format!(
            "suite {} follows drafts: a later release may not open what is sealed with it",
            plan.suite
        ));
    }
    generate(&session, &args.id, &plan, &approval)?.show(console)
}

/// Lets holders generate a key, and puts it in force.
pub(crate) fn generate(
    session: &Session,
    id: &str,
    plan: &KeyPlan,
    approval: &Approval,
) -> Result<Submitted, Failure> {
    let create = Order::CreateKey(plan.clone());
    let ordered = order(session, id, create, &plan.holders, approval)?;
    let prepared = ceremony(session, id, &ordered, async |coordinator| {
        coordinator.create(plan).await
    })?;
    announce(session, &prepared, approval)
}

pub(crate) fn import(args: &KeyImportArgs, console: &Console) -> Result<(), Failure> {
    let approval = Approval::read(&args.change)?;
    let operator = speaker(args.identity.operator.as_ref(), &args.change);
    let session = Session::open(args.deployment.file.as_deref(), operator)?;
    let plan = plan(&args.plan, &args.usage);
    let secret = private_scalar(&args.from)?;
    let descriptors = holder_descriptors(&session)?;
    let indices = plan.holders.iter().map(|name| {
        let holder = descriptors.iter().find(|holder| holder.name == *name);
        holder
            .and_then(|holder| sealift_threshold::HolderId::new(holder.index))
            .ok_or_else(|| unknown_holder(&session, name))
    });
    let indices = indices.collect::<Result<_, _>>()?;
    let rng = SystemRandom::new();
    let dealt = sealift_threshold::deal_key(&secret, plan.threshold, &indices, &rng)
        .map_err(|error| Failure::of(Code::Usage, &error))?;
    drop(secret);
    let dealer = approval.signers.first().ok_or_else(nobody_signs)?;
    let ordered = order(
        &session,
        &args.id,
        Order::ImportKey(plan.clone()),
        &plan.holders,
        &approval,
    )?;
    let prepared = ceremony(&session, &args.id, &ordered, async |coordinator| {
        coordinator.import(&plan, &dealt, dealer, &rng).await
    })?;
    drop(dealt);
    console.warn(&format!(
        "`{}` still holds the whole key: destroy it, and every copy of it",
        args.from.display()
    ));
    announce(&session, &prepared, &approval)?.show(console)
}

pub(crate) fn refresh(args: &KeyRefreshArgs, console: &Console) -> Result<(), Failure> {
    let approval = Approval::read(&args.change)?;
    let operator = speaker(args.identity.operator.as_ref(), &args.change);
    let session = Session::open(args.deployment.file.as_deref(), operator)?;
    let current = current(&session, &args.id)?;
    if current.suite() == Suite::SssXwing {
        return Err(sealed_to_holders(
            &current,
            "has no shares that could be renewed",
        ));
    }
    let generation = current.generation().saturating_add(1);
    let ordered = order(
        &session,
        &args.id,
        Order::RefreshKey { generation },
        &names(&current),
        &approval,
    )?;
    let prepared = ceremony(&session, &args.id, &ordered, async |coordinator| {
        coordinator.refresh(&current).await
    })?;
    announce(&session, &prepared, &approval)?.show(console)
}

pub(crate) fn reshare(args: &KeyReshareArgs, console: &Console) -> Result<(), Failure> {
    let approval = Approval::read(&args.change)?;
    let operator = speaker(args.identity.operator.as_ref(), &args.change);
    let session = Session::open(args.deployment.file.as_deref(), operator)?;
    let current = current(&session, &args.id)?;
    if current.suite().has_sealed_shares() {
        return Err(sealed_to_holders(
            &current,
            "keeps its holders and its threshold",
        ));
    }
    let dealers = helpers(&session, &current, &args.dealers, None)?;
    let generation = current.generation().saturating_add(1);
    let PlanArgs { threshold, holders } = &args.plan;
    let reshare = Order::ReshareKey {
        generation,
        threshold: *threshold,
        holders: holders.clone(),
        dealers: dealers.clone(),
    };
    let participants = [holders.as_slice(), &dealers].concat();
    let ordered = order(&session, &args.id, reshare, &participants, &approval)?;
    let prepared = ceremony(&session, &args.id, &ordered, async |coordinator| {
        coordinator
            .reshare(&current, *threshold, holders, &dealers)
            .await
    })?;
    announce(&session, &prepared, &approval)?.show(console)
}

pub(crate) fn repair(args: &KeyRepairArgs, console: &Console) -> Result<(), Failure> {
    let approval = Approval::read(&args.change)?;
    let operator = speaker(args.identity.operator.as_ref(), &args.change);
    let session = Session::open(args.deployment.file.as_deref(), operator)?;
    let current = current(&session, &args.id)?;
    if current.suite() == Suite::SssXwing {
        return Err(sealed_to_holders(
            &current,
            "cannot be repaired: nobody but the holder had its part",
        ));
    }
    let helpers = helpers(&session, &current, &args.helpers, Some(&args.lost))?;
    let repair = Order::RepairKey {
        lost: args.lost.clone(),
        helpers: helpers.clone(),
    };
    let participants = [helpers.as_slice(), std::slice::from_ref(&args.lost)].concat();
    let ordered = order(&session, &args.id, repair, &participants, &approval)?;
    ceremony(&session, &args.id, &ordered, async |coordinator| {
        coordinator.repair(&args.lost, &helpers).await
    })?;
    ordered.show(console)
}

pub(crate) fn disable(args: &KeyDisableArgs, console: &Console) -> Result<(), Failure> {
    change(&args.one, Order::DisableKey {}, console)
}

pub(crate) fn enable(args: &KeyEnableArgs, console: &Console) -> Result<(), Failure> {
    change(&args.one, Order::EnableKey {}, console)
}

pub(crate) fn min_epoch(args: &KeyMinEpochArgs, console: &Console) -> Result<(), Failure> {
    change(&args.one, Order::SetMinEpoch { epoch: args.epoch }, console)
}

pub(crate) fn schedule_deletion(
    args: &KeyScheduleDeletionArgs,
    console: &Console,
) -> Result<(), Failure> {
    change(
        &args.one,
        Order::ScheduleDeletion { days: args.days },
        console,
    )
}

pub(crate) fn cancel_deletion(
    args: &KeyCancelDeletionArgs,
    console: &Console,
) -> Result<(), Failure> {
    change(&args.one, Order::CancelDeletion {}, console)
}

fn change(args: &OneKeyArgs, order: Order, console: &Console) -> Result<(), Failure> {
    let approval = Approval::read(&args.change)?;
    let operator = speaker(args.identity.operator.as_ref(), &args.change);
    let session = Session::open(args.deployment.file.as_deref(), operator)?;
    session
        .submit(&subject(&args.id), order, &approval)?
        .show(console)
}

pub(crate) fn list(args: &KeyListArgs, console: &Console) -> Result<(), Failure> {
    let session = Session::open(
        args.deployment.file.as_deref(),
        args.identity.operator.as_deref(),
    )?;
    let mut table = Table::new(&[
        "KEY",
        "STATE",
        "EPOCH",
        "GENERATION",
        "SHARED BY",
        "FINGERPRINT",
    ]);
    let mut keys = Vec::new();
    for (id, descriptor) in session.descriptors() {
        let group = group(id, descriptor)?;
        let states = states(&session, id);
        table.row(vec![
            id.to_owned(),
            summary(&states),
            group.epoch().to_string(),
            group.generation().to_string(),
            sharing(&group),
            group.fingerprint().chars().take(16).collect(),
        ]);
        keys.push(key_json(id, &group, &states));
    }
    match console.form {
        Form::Json => console.result_json(&json!({"schemaVersion": SCHEMA_VERSION, "keys": keys})),
        Form::Text => console.result(table.render().as_bytes()),
    }
}

pub(crate) fn show(args: &KeyShowArgs, console: &Console) -> Result<(), Failure> {
    let session = Session::open(
        args.deployment.file.as_deref(),
        args.identity.operator.as_deref(),
    )?;
    let descriptors = session.descriptors();
    let descriptor = descriptors
        .get(args.id.as_str())
        .ok_or_else(|| unknown_key(&args.id))?;
    let group = group(&args.id, descriptor)?;
    let states = states(&session, &args.id);
    if console.form == Form::Json {
        let mut value = key_json(&args.id, &group, &states);
        if let Some(members) = value.as_object_mut() {
            members.insert("schemaVersion".to_owned(), json!(SCHEMA_VERSION));
        }
        return console.result_json(&value);
    }
    let use_ = if group.unbound() {
        "images that stock tools seal for the public key"
    } else {
        "layers sealed with -r holders:"
    };
    let mut text = format!(
        "key          {}\nsuite        {}\nfingerprint  {}\nshared by    {}\nepoch        {}, generation {}\nfor          {}\n\n",
        args.id,
        group.suite(),
        group.fingerprint(),
        sharing(&group),
        group.epoch(),
        group.generation(),
        use_,
    );
    let mut table = Table::new(&["HOLDER", "JURISDICTION", "STATE", "LOWEST EPOCH"]);
    for (name, state) in &states {
        let jurisdiction = session
            .deployment
            .holder(name)
            .map(|holder| holder.jurisdiction.clone());
        table.row(vec![
            name.clone(),
            jurisdiction.unwrap_or_default(),
            state.as_ref().map_or_else(
                |failure| failure.what.clone(),
                |answer| answer.state.clone(),
            ),
            state.as_ref().map_or_else(
                |_| "-".to_owned(),
                |answer| answer.min_unwrap_epoch.to_string(),
            ),
        ]);
    }
    text.push_str(&table.render());
    console.result(text.as_bytes())
}

pub(crate) fn export(args: &KeyExportArgs, console: &Console) -> Result<(), Failure> {
    let path = session::path(args.deployment.file.as_deref())?;
    let deployment = session::load(&path)?;
    let key = deployment
        .key(Some(&args.id))
        .ok_or_else(|| unknown_key(&args.id))?;
    let group = group(&args.id, &key.descriptor)?;
    let public_key = group.public_key_pem().ok_or_else(|| {
        let what = format!(
            "key `{}` of suite {} has no public key",
            args.id,
            group.suite()
        );
        Failure::new(Code::Usage, what)
    })?;
    if !group.unbound() {
        console.note("this key was made without --unbound: holders open nothing that other tools seal for it");
    }
    match console.form {
        Form::Json => console.result_json(&json!({
            "schemaVersion": SCHEMA_VERSION,
            "id": args.id,
            "fingerprint": group.fingerprint(),
            "unbound": group.unbound(),
            "publicKey": public_key,
        })),
        Form::Text => console.result(public_key.as_bytes()),
    }
}

/// Reads a descriptor whose signatures have been verified.
pub(crate) fn group(id: &str, descriptor: &[u8]) -> Result<GroupKey, Failure> {
    let group = GroupKey::from_json(descriptor).map_err(|error| {
        Failure::new(
            Code::Integrity,
            format!("the descriptor of key `{id}` is not sound"),
        )
        .because(&error)
    })?;
    if group.key_id() == id {
        return Ok(group);
    }
    let what = format!(
        "the descriptor of key `{id}` belongs to key `{}`",
        group.key_id()
    );
    Err(Failure::new(Code::Integrity, what))
}

/// Says why a key whose wraps hold shares for its present holders cannot be changed so.
fn sealed_to_holders(key: &GroupKey, what: &str) -> Failure {
    let what = format!("key `{}` of suite {} {what}", key.key_id(), key.suite());
    Failure::new(Code::Usage, what).hint(
        "its images hold shares that are sealed to each holder: create another key, and seal the images for that one",
    )
}

pub(crate) fn unknown_key(id: &str) -> Failure {
    Failure::new(
        Code::NotFound,
        format!("the holders file has no key `{id}`"),
    )
    .hint("`sealift key list` shows the keys")
}

fn plan(plan: &PlanArgs, usage: &UseArgs) -> KeyPlan {
    KeyPlan {
        epoch: 1,
        threshold: plan.threshold,
        holders: plan.holders.clone(),
        unbound: usage.unbound,
        suite: Suite::default(),
        residency: usage.residency.clone(),
        deletion_protection: usage.deletion_protection,
    }
}

/// Orders a ceremony; that it is in force is not enough, every holder that takes part must have heard of it.
fn order(
    session: &Session,
    id: &str,
    order: Order,
    participants: &[String],
    approval: &Approval,
) -> Result<Submitted, Failure> {
    if approval.signers.len() < sealift_holder::descriptor::APPROVALS {
        return Err(Failure::new(
            Code::Usage,
            "two administrators sign the descriptor of a key",
        )
        .hint("give --sign-with once for each of them"));
    }
    let submitted = session.submit(&subject(id), order, approval)?;
    submitted.in_force()?;
    for name in participants {
        let client = session.client(name)?;
        let envelope = Octets(submitted.envelope.clone());
        let told = session
            .runtime
            .block_on(patiently(async || client.command(&envelope).await));
        told.map_err(|error| session::failure_of(name, &error))?;
    }
    Ok(submitted)
}

/// Takes holders through a ceremony.
fn ceremony<T>(
    session: &Session,
    id: &str,
    ordered: &Submitted,
    run: impl AsyncFnOnce(&Coordinator<'_, Session>) -> Result<T, CeremonyFailure>,
) -> Result<T, Failure> {
    let holders = holder_descriptors(session)?;
    let coordinator = Coordinator::new(
        session,
        &holders,
        id,
        &ordered.envelope,
        &SystemRandom::new(),
    )
    .map_err(|error| ceremony_failure(&error))?;
    session
        .runtime
        .block_on(run(&coordinator))
        .map_err(|error| ceremony_failure(&error))
}

/// Lets administrators sign the descriptor, puts it in force, and keeps it in the holders file.
fn announce(
    session: &Session,
    prepared: &Prepared,
    approval: &Approval,
) -> Result<Submitted, Failure> {
    let signed = prepared
        .sign(&approval.keys(), &SystemRandom::new())
        .map_err(|error| ceremony_failure(&error))?;
    let order = Order::Descriptor {
        descriptor: signed.clone().into(),
        acceptances: prepared.acceptances.clone(),
    };
    let submitted = session.submit(&subject(&prepared.key_id), order, approval)?;
    keep_descriptor(&session.path, &prepared.key_id, &signed)?;
    Ok(submitted)
}

impl Transport for Session {
    async fn step(
        &self,
        holder: &str,
        key_id: &str,
        request: &CeremonyRequest,
    ) -> Result<CeremonyAnswer, Box<dyn std::error::Error + Send + Sync>> {
        let client = self
            .clients()
            .find_map(|(name, client)| (name == holder).then_some(client))
            .ok_or("the holders file does not name it")?;
        Ok(client.ceremony(key_id, request).await?)
    }
}

fn ceremony_failure(error: &CeremonyFailure) -> Failure {
    let code = match error {
        CeremonyFailure::Unreachable { .. } => Code::Network,
        CeremonyFailure::Refused { .. } => Code::Denied,
        CeremonyFailure::Answer { .. } | CeremonyFailure::Disagreement { .. } => Code::Integrity,
        CeremonyFailure::UnknownHolder { .. } | CeremonyFailure::Plan => Code::Usage,
        _ => Code::Other,
    };
    let failure = Failure::of(code, error);
    let hint = match (code, error) {
        (_, CeremonyFailure::Refused { culprits, .. }) if !culprits.is_empty() => {
            Some(format!("the holder blames {}", culprits.join(", ")))
        }
        (Code::Network | Code::Denied, _) => Some(
            "nothing is in force; when the holder is well, run the same command again".to_owned(),
        ),
        _ => None,
    };
    failure.or_hint(hint.as_deref())
}

/// What holders say of themselves; ceremonies seal to the keys in it.
pub(crate) fn holder_descriptors(session: &Session) -> Result<Vec<HolderDescriptor>, Failure> {
    let holders = session.deployment.holders.iter().map(|holder| {
        holder.descriptor.clone().ok_or_else(|| {
            let what = format!("the holders file has no descriptor of holder `{}`", holder.name);
            Failure::new(Code::Usage, what)
                .hint("name the file that its `sealift holder init` printed as `descriptor` in its [[holder]]")
        })
    });
    holders.collect()
}

/// The descriptor in force, by the first holder that answers, else by the file.
pub(crate) fn current(session: &Session, id: &str) -> Result<GroupKey, Failure> {
    let answer = session.first(async |client: &HolderClient| client.key(id).await)?;
    let envelope = answer
        .descriptor
        .ok_or_else(|| Failure::new(Code::NotFound, format!("key `{id}` has no descriptor yet")))?;
    // The file may be older than who signed: then the log tells who they are.
    let verify = sealift_holder::descriptor::verify_key_descriptor;
    let descriptor = match verify(&envelope.0, &session.deployment.administrators) {
        Ok(descriptor) => descriptor,
        Err(_) => verify(&envelope.0, &session.administrators()?)
            .map_err(|error| Failure::of(Code::Integrity, &error))?,
    };
    group(id, &descriptor)
}

/// Exactly as many of a key's holders as its threshold: those that were named, else the first that answer.
fn helpers(
    session: &Session,
    current: &GroupKey,
    named: &[String],
    except: Option<&str>,
) -> Result<Vec<String>, Failure> {
    let [part] = current.parts() else {
        return Err(Failure::new(
            Code::Usage,
            "keys with several access parts are not shared anew",
        ));
    };
    let needed = usize::from(part.t);
    let helpers: Vec<String> = if named.is_empty() {
        let id = current.key_id();
        let holders = current.holders().iter().map(|holder| holder.id.as_ref());
        holders
            .filter(|name| Some(*name) != except)
            .filter(|name| {
                let client = session.client(name);
                client.is_ok_and(|client| session.runtime.block_on(client.key(id)).is_ok())
            })
            .take(needed)
            .map(str::to_owned)
            .collect()
    } else {
        named.to_vec()
    };
    if helpers.len() == needed {
        return Ok(helpers);
    }
    let code = if named.is_empty() {
        Code::Network
    } else {
        Code::Usage
    };
    let what = format!(
        "{needed} holders of the key are needed for this, not {}",
        helpers.len()
    );
    Err(Failure::new(code, what).hint("`sealift holder status` asks all holders how they are"))
}

/// What every holder of the file says of a key.
fn states(session: &Session, id: &str) -> Vec<(String, Result<KeyAnswer, Failure>)> {
    let asked = session.clients().map(|(name, client)| {
        let answer = session.runtime.block_on(client.key(id));
        (
            name.to_owned(),
            answer.map_err(|error| session::failure_of(name, &error)),
        )
    });
    asked.collect()
}

/// One word where holders agree.
fn summary(states: &[(String, Result<KeyAnswer, Failure>)]) -> String {
    let mut said: Vec<&str> = states
        .iter()
        .filter_map(|(_, state)| Some(state.as_ref().ok()?.state.as_str()))
        .collect();
    said.sort_unstable();
    said.dedup();
    match said.as_slice() {
        [] => "unknown".to_owned(),
        said => said.join("/"),
    }
}

fn names(group: &GroupKey) -> Vec<String> {
    let holders = group.holders().iter();
    holders.map(|holder| holder.id.to_string()).collect()
}

fn sharing(group: &GroupKey) -> String {
    let threshold = group
        .parts()
        .iter()
        .map(|part| part.t.to_string())
        .collect::<Vec<_>>()
        .join("+");
    let names: Vec<&str> = group
        .holders()
        .iter()
        .map(|holder| holder.id.as_ref())
        .collect();
    format!("{threshold} of {}", names.join(", "))
}

fn key_json(id: &str, group: &GroupKey, states: &[(String, Result<KeyAnswer, Failure>)]) -> Value {
    let states: Vec<Value> = states
        .iter()
        .map(|(name, state)| match state {
            Ok(answer) => json!({
                "name": name, "state": answer.state, "minUnwrapEpoch": answer.min_unwrap_epoch,
            }),
            Err(failure) => {
                json!({"name": name, "error": failure.causes.first().unwrap_or(&failure.what)})
            }
        })
        .collect();
    json!({
        "id": id,
        "fingerprint": group.fingerprint(),
        "epoch": group.epoch(),
        "generation": group.generation(),
        "suite": group.suite().as_str(),
        "unbound": group.unbound(),
        "threshold": group.parts().iter().map(|part| part.t).collect::<Vec<_>>(),
        "sharedBy": group.holders().iter().map(|holder| holder.id.as_ref()).collect::<Vec<&str>>(),
        "holders": states,
    })
}

pub(crate) fn subject(id: &str) -> String {
    format!("key:{id}")
}

fn unknown_holder(session: &Session, name: &str) -> Failure {
    let what = format!("`{}` has no holder `{name}`", session.path.display());
    Failure::new(Code::NotFound, what)
}

fn nobody_signs() -> Failure {
    Failure::new(Code::Usage, "nobody signs")
}
