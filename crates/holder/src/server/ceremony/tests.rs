//! Whole ceremonies between in-process holders with stores of their own, through the coordinator.

mod suites;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use sealift_keywrap::LayerSecret;
use sealift_threshold::{
    Answer, HolderId, KeyShare, Label, Residency, Subject, SubjectKind, Suite, Wrap, deal_key,
};
use tempfile::TempDir;

use super::messages::parse;
use super::*;
use crate::certificate;
use crate::client::ceremony::{CeremonyFailure, Coordinator, Prepared, Transport};
use crate::command::{Admission, Command, KeyPlan};
use crate::deployment::DeploymentId;
use crate::descriptor::Administrator;
use crate::dsse::{self, Unverified};
use crate::keys::SigningKey;
use crate::server::authority::RegionalAuthority;
use crate::server::enrol::{self, EnrolError};
use crate::server::rollback;
use crate::server::sealing::{Cost, SealingError};
use crate::server::secrets::SecretsError;
use crate::server::shares::id_of;
use crate::server::state::{Applied, Deployment, State};
use crate::server::store::{Change, SqliteStore, Store};
use crate::server::writer::Writer;
use crate::server::{audit, commands};
use crate::setup::{self, Init, Opened, SealSource, SetupError};
use crate::statement::{CEREMONY, COMMAND, ENROLMENT, Enrolment};
use crate::wire::{CeremonyAnswer, CertificateRequest, EnrolRequest};

const NOW: u64 = 1_800_000_000_000;
const NAMES: [(&str, &str); 5] = [
    ("fra", "DE"),
    ("gru", "BR"),
    ("nrt", "JP"),
    ("osl", "NO"),
    ("yul", "CA"),
];
const DEPLOYMENT: DeploymentId = DeploymentId([7; 16]);
const PASSPHRASE: &[u8] = b"correct horse";

/// One holder in this process.
struct Member {
    holder: Holder,
    ceremonies: Arc<Ceremonies>,
    writer: Writer,
    store: Arc<dyn Store>,
    authority: RegionalAuthority,
}

/// Changes what is asked of a holder on its way.
type Tamper = Box<dyn Fn(&str, &mut CeremonyRequest) + Send>;

/// A whole deployment.
struct Hall {
    dir: TempDir,
    members: BTreeMap<String, Member>,
    descriptors: Vec<HolderDescriptor>,
    administrators: Vec<SigningKey>,
    time: Arc<AtomicU64>,
    tamper: Mutex<Option<Tamper>>,
    /// Everything that was asked.
    seen: Mutex<Vec<CeremonyRequest>>,
}

impl Transport for Hall {
    async fn step(
        &self,
        holder: &str,
        key_id: &str,
        request: &CeremonyRequest,
    ) -> Result<CeremonyAnswer, Box<dyn Error + Send + Sync>> {
        let mut request = request.clone();
        self.seen.lock().unwrap().push(request.clone());
        if let Some(tamper) = &*self.tamper.lock().unwrap() {
            tamper(holder, &mut request);
        }
        let member = &self.members[holder];
        let now = self.time.load(Ordering::Relaxed);
        let serve = serve(
            &member.ceremonies,
            key_id,
            request,
            "operator:alice",
            &member.holder,
            &member.writer,
            now,
        );
        Ok(serve.await?)
    }
}

impl Hall {
    fn new(n: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let rng = SystemRandom::new();
        let administrators = vec![
            SigningKey::generate().unwrap(),
            SigningKey::generate().unwrap(),
        ];
        let known: Vec<_> = ["alice", "bob"]
            .iter()
            .zip(&administrators)
            .map(|(name, key)| Administrator {
                name: (*name).to_owned(),
                key: key.public().clone(),
            })
            .collect();
        let mut envelopes = Vec::new();
        for (index, (name, jurisdiction)) in (1..).zip(NAMES).take(n) {
            let init = Init {
                deployment: Some(DEPLOYMENT),
                name,
                index: HolderId::new(index).unwrap(),
                jurisdiction,
                listen: "127.0.0.1:0",
                url: "https://127.0.0.1:7101",
                seal: &SealSource::Passphrase,
                administrators: &known,
            };
            envelopes.push(
                setup::init(
                    &dir.path().join(name),
                    &init,
                    PASSPHRASE,
                    Cost::LOWEST,
                    NOW,
                    &rng,
                )
                .unwrap(),
            );
        }
        let all: Vec<&[u8]> = envelopes.iter().map(Vec::as_slice).collect();
        let mut hall = Self {
            dir,
            members: BTreeMap::new(),
            descriptors: Vec::new(),
            administrators,
            time: Arc::new(AtomicU64::new(NOW)),
            tamper: Mutex::new(None),
            seen: Mutex::default(),
        };
        for (name, _) in NAMES.iter().take(n) {
            setup::join(&hall.path(name), &all).unwrap();
            hall.open(name);
        }
        hall
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts a holder from its directory, again if need be.
    fn open(&mut self, name: &str) {
        self.members.remove(name);
        let Opened {
            config,
            store,
            secrets,
            ..
        } = setup::open(&self.path(name), PASSPHRASE).unwrap();
        let (store, secrets): (Arc<dyn Store>, _) = (Arc::new(store), Arc::new(secrets));
        let shares = SealedShares::new(Arc::clone(&secrets), Arc::clone(&store));
        self.descriptors.retain(|other| other.name != name);
        self.descriptors.push(config.me.clone());
        let deployment = Arc::new(Deployment {
            me: config.me,
            peers: config.peers,
            administrators: config.administrators,
        });
        let vault = shares.clone();
        let rebuild = move |store: &dyn Store| {
            commands::rebuild(State::new(Arc::clone(&deployment)), store, &vault)
        };
        let state = rebuild(&*store).unwrap();
        let time = Arc::clone(&self.time);
        let clock: crate::Clock = Arc::new(move || time.load(Ordering::Relaxed));
        let (writer, _) =
            Writer::start(Arc::clone(&store), state, Box::new(rebuild), clock).unwrap();
        let authority =
            RegionalAuthority::start(Arc::clone(&secrets), "127.0.0.1", NOW, &SystemRandom::new())
                .unwrap();
        let holder = Holder { secrets, shares };
        let ceremonies = Arc::new(Ceremonies::new());
        self.members.insert(
            name.to_owned(),
            Member {
                holder,
                ceremonies,
                writer,
                store,
                authority,
            },
        );
    }

    fn admins(&self) -> Vec<&SigningKey> {
        self.administrators.iter().collect()
    }

    fn command(&self, subject: &str, version: u64, order: Order) -> Vec<u8> {
        let command = Command {
            v: 1,
            deployment: DEPLOYMENT,
            subject: subject.to_owned(),
            version,
            issued_at: NOW,
            reason: "test".to_owned(),
            order,
        };
        let payload = serde_json::to_vec(&command).unwrap();
        dsse::sign(COMMAND, &payload, &self.admins(), &SystemRandom::new()).unwrap()
    }

    async fn apply_at(&self, name: &str, envelope: &[u8]) -> Applied {
        let member = &self.members[name];
        let (vault, envelope) = (member.holder.shares.clone(), envelope.to_vec());
        let applied = member.writer.transact(move |transaction| {
            let checked = commands::check(transaction.state(), &envelope)?;
            commands::apply(transaction, &checked, &vault, "operator:alice")
        });
        applied.await.unwrap().unwrap()
    }

    async fn apply(&self, envelope: &[u8]) {
        for name in self.members.keys() {
            let applied = self.apply_at(name, envelope).await;
            assert_eq!(applied, Applied::Applied { instead_of: None }, "{name}");
        }
    }

    fn coordinator<'a>(&'a self, command: &[u8]) -> Coordinator<'a, Self> {
        Coordinator::new(
            self,
            &self.descriptors,
            "default",
            command,
            &SystemRandom::new(),
        )
        .unwrap()
    }

    /// Brings a prepared descriptor into force at all holders.
    async fn announce(&self, prepared: &Prepared, version: u64) {
        let rng = SystemRandom::new();
        let signed = prepared.sign(&self.admins(), &rng).unwrap();
        let command = prepared
            .announce(&signed, version, NOW, "test", &self.admins(), &rng)
            .unwrap();
        self.apply(&command).await;
    }

    async fn create(&self, t: u8, names: &[&str]) -> GroupKey {
        self.create_as(&plan(t, names)).await
    }

    async fn create_as(&self, plan: &KeyPlan) -> GroupKey {
        let command = self.command("key:default", 1, Order::CreateKey(plan.clone()));
        self.apply(&command).await;
        let prepared = self.coordinator(&command).create(plan).await.unwrap();
        self.announce(&prepared, 1).await;
        GroupKey::from_json(&prepared.descriptor.0).unwrap()
    }

    fn share(&self, name: &str) -> Option<Arc<KeyShare>> {
        let state = self.members[name].writer.state();
        state
            .keys()
            .get("default")?
            .epochs
            .last_key_value()?
            .1
            .share
            .clone()
    }

    fn group(&self, name: &str) -> Arc<GroupKey> {
        let state = self.members[name].writer.state();
        Arc::clone(
            &state.keys()["default"]
                .epochs
                .last_key_value()
                .unwrap()
                .1
                .group,
        )
    }

    /// Opens `wrap` with every subset of `t` of the holders of the descriptor in force.
    fn assert_every_quorum_opens(&self, wrap: &Wrap) {
        let group = self.group("fra");
        let names: Vec<&str> = group.holders().iter().map(|holder| &*holder.id).collect();
        let t = group.parts()[0].t as u32;
        let mut opened = 0;
        for mask in 0u32..1 << names.len() {
            if mask.count_ones() == t {
                let set: Vec<_> = names
                    .iter()
                    .enumerate()
                    .filter(|(at, _)| mask >> at & 1 == 1)
                    .map(|(_, n)| *n)
                    .collect();
                assert_eq!(
                    self.open_with(&group, wrap, &set).unwrap().expose(),
                    SECRET,
                    "{set:?}"
                );
                opened += 1;
            } else if mask.count_ones() + 1 == t {
                let set: Vec<_> = names
                    .iter()
                    .enumerate()
                    .filter(|(at, _)| mask >> at & 1 == 1)
                    .map(|(_, n)| *n)
                    .collect();
                assert_eq!(
                    self.open_with(&group, wrap, &set).unwrap_err(),
                    "partials_insufficient"
                );
            }
        }
        assert!(opened > 0);
    }

    fn open_with(
        &self,
        group: &GroupKey,
        wrap: &Wrap,
        names: &[&str],
    ) -> Result<LayerSecret, &'static str> {
        let rng = SystemRandom::new();
        let answers: Vec<Answer> = names
            .iter()
            .map(|name| {
                let share = self.share(name).unwrap();
                let opened = share.open_entry(group.check(wrap).unwrap()).unwrap();
                share.answer(group, opened, &[7; 32], &rng).unwrap()
            })
            .collect();
        let answers: Vec<&Answer> = answers.iter().collect();
        let checked = group.check(wrap).unwrap();
        let combined = checked.combine(group, &[7; 32], &answers);
        combined
            .map(|combined| combined.secret)
            .map_err(|error| error.error.id.as_str())
    }

    fn record(&self, name: &str, event: &str) -> Vec<crate::audit_row::AuditRow> {
        let rows = audit::rows(&*self.members[name].store, 0, usize::MAX).unwrap();
        rows.into_iter().filter(|row| row.event == event).collect()
    }

    fn tamper(&self, tamper: impl Fn(&str, &mut CeremonyRequest) + Send + 'static) {
        *self.tamper.lock().unwrap() = Some(Box::new(tamper));
    }
}

const SECRET: &[u8] = b"the secret of a layer, 32 octets";

fn plan(t: u8, names: &[&str]) -> KeyPlan {
    KeyPlan {
        epoch: 1,
        threshold: t,
        holders: strings(names),
        unbound: false,
        suite: Suite::Tdh2,
        residency: Vec::new(),
        deletion_protection: false,
    }
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn wrap(group: &GroupKey) -> Wrap {
    let label = Label {
        suite: group.suite(),
        key_id: group.key_id().into(),
        epoch: group.epoch(),
        repo: "registry.example/app".into(),
        subject: Subject {
            kind: SubjectKind::Commitment,
            value: [1; 32],
        },
        platform: "linux/amd64".into(),
        residency: Residency::Any,
        policy: "standard".into(),
        created_at: NOW / 1000,
    };
    group.wrap(&label, SECRET, &SystemRandom::new()).unwrap()
}

#[track_caller]
fn blamed(failure: CeremonyFailure) -> (String, Vec<String>, String) {
    match failure {
        CeremonyFailure::Refused {
            holder,
            culprits,
            reason,
            ..
        } => (holder.into(), culprits, reason.into()),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn every_quorum_of_a_generated_key_opens_and_fewer_do_not() {
    for (t, n) in [(2, 2), (2, 3), (3, 5)] {
        let hall = Hall::new(n);
        let names: Vec<&str> = NAMES.iter().take(n).map(|(name, _)| *name).collect();
        let group = hall.create(t, &names).await;
        hall.assert_every_quorum_opens(&wrap(&group));
    }
}

#[tokio::test]
async fn a_key_that_one_holder_opens_is_not_generated() {
    let hall = Hall::new(2);
    let plan = plan(1, &["fra", "gru"]);
    let command = hall.command("key:default", 1, Order::CreateKey(plan.clone()));
    hall.apply(&command).await;
    let (_, culprits, reason) = blamed(hall.coordinator(&command).create(&plan).await.unwrap_err());
    assert_eq!(
        reason,
        "threshold, holders or dealers of the command do not fit together or the key"
    );
    assert!(culprits.is_empty(), "{culprits:?}");
}

#[tokio::test]
async fn a_refresh_keeps_the_key_and_destroys_the_old_shares() {
    let hall = Hall::new(3);
    let old = hall.create(2, &["fra", "gru", "nrt"]).await;
    let sealed = wrap(&old);
    let before = hall.share("fra").unwrap();
    let command = hall.command("key:default", 1, Order::RefreshKey { generation: 2 });
    // Its version is of another register than that of the creation.
    hall.apply(&command).await;
    let prepared = hall.coordinator(&command).refresh(&old).await.unwrap();
    hall.announce(&prepared, 2).await;
    let new = hall.group("gru");
    assert_eq!((new.public_key(), new.generation()), (old.public_key(), 2));
    assert_ne!(hall.share("fra").unwrap().to_octets(), before.to_octets());
    for member in hall.members.values() {
        let left: Vec<u32> = member
            .store
            .shares()
            .unwrap()
            .iter()
            .map(|id| id.generation)
            .collect();
        assert_eq!(left, [2]);
        assert_eq!(member.store.candidates(&id_of(&new)).unwrap(), []);
    }
    hall.assert_every_quorum_opens(&sealed);
}

#[tokio::test]
async fn a_reshare_moves_the_key_to_other_holders() {
    let mut hall = Hall::new(5);
    let old = hall.create(2, &["fra", "gru", "nrt"]).await;
    let sealed = wrap(&old);
    let order = Order::ReshareKey {
        generation: 2,
        threshold: 3,
        holders: strings(&["fra", "nrt", "osl", "yul"]),
        dealers: strings(&["gru", "nrt"]),
    };
    let command = hall.command("key:default", 1, order);
    hall.apply(&command).await;
    let (to, from) = (
        strings(&["fra", "nrt", "osl", "yul"]),
        strings(&["gru", "nrt"]),
    );
    let prepared = hall
        .coordinator(&command)
        .reshare(&old, 3, &to, &from)
        .await
        .unwrap();
    hall.announce(&prepared, 2).await;
    assert_eq!(hall.group("gru").public_key(), old.public_key());
    assert!(hall.share("gru").is_none());
    assert_eq!(hall.members["gru"].store.shares().unwrap(), []);
    hall.assert_every_quorum_opens(&sealed);
    // Everything is there again after a restart.
    for (name, _) in NAMES {
        hall.open(name);
    }
    hall.assert_every_quorum_opens(&sealed);
}

#[tokio::test]
async fn a_reshare_gives_no_single_holder_the_key() {
    let hall = Hall::new(3);
    let old = hall.create(2, &["fra", "gru"]).await;
    let (to, from) = (strings(&["nrt"]), strings(&["fra", "gru"]));
    let order = Order::ReshareKey {
        generation: 2,
        threshold: 1,
        holders: to.clone(),
        dealers: from.clone(),
    };
    assert_eq!(order.approvals(), 2);
    let command = hall.command("key:default", 1, order);
    hall.apply(&command).await;
    let (holder, ..) = blamed(
        hall.coordinator(&command)
            .reshare(&old, 1, &to, &from)
            .await
            .unwrap_err(),
    );
    assert!(from.contains(&holder), "{holder}");
    assert!(
        hall.seen
            .lock()
            .unwrap()
            .iter()
            .all(|asked| asked.step != Step::Collect)
    );
}

#[tokio::test]
async fn a_lost_share_is_noticed_and_made_again() {
    let mut hall = Hall::new(3);
    let group = hall.create(2, &["fra", "gru", "nrt"]).await;
    let sealed = wrap(&group);
    let lost = hall.share("gru").unwrap();
    let id = id_of(&group);
    hall.members["gru"]
        .store
        .commit(&[Change::DeleteShare { id: id.clone() }])
        .unwrap();
    hall.open("gru");
    let watch = rollback::Watch::default();
    for _ in 0..2 {
        assert_eq!(
            watch.look(&hall.members["gru"].writer).await.unwrap(),
            BTreeSet::from([id.clone()])
        );
    }
    assert_eq!(hall.record("gru", "rollback").len(), 1);

    let helpers = strings(&["fra", "nrt"]);
    let order = Order::RepairKey {
        lost: "gru".to_owned(),
        helpers: helpers.clone(),
    };
    let command = hall.command("key:default", 1, order);
    hall.apply(&command).await;
    hall.coordinator(&command)
        .repair("gru", &helpers)
        .await
        .unwrap();
    assert_eq!(hall.share("gru").unwrap().to_octets(), lost.to_octets());
    assert_eq!(
        watch.look(&hall.members["gru"].writer).await.unwrap(),
        BTreeSet::new()
    );
    hall.open("gru");
    hall.assert_every_quorum_opens(&sealed);
}

#[tokio::test]
async fn a_repair_after_a_missed_refresh_destroys_the_share_before_it() {
    let hall = Hall::new(3);
    let old = hall.create(2, &["fra", "gru", "nrt"]).await;
    let command = hall.command("key:default", 1, Order::RefreshKey { generation: 2 });
    hall.apply(&command).await;
    let prepared = hall.coordinator(&command).refresh(&old).await.unwrap();
    let store = &hall.members["gru"].store;
    let id = ShareId {
        generation: 2,
        ..id_of(&old)
    };
    store
        .commit(&[Change::DeleteCandidates {
            id: id.clone(),
            ceremony: None,
        }])
        .unwrap();
    hall.announce(&prepared, 2).await;
    assert!(hall.share("gru").is_none());
    assert_eq!(store.shares().unwrap(), [id_of(&old)]);

    let helpers = strings(&["fra", "nrt"]);
    let repair = Order::RepairKey {
        lost: "gru".to_owned(),
        helpers: helpers.clone(),
    };
    let command = hall.command("key:default", 2, repair);
    hall.apply(&command).await;
    hall.coordinator(&command)
        .repair("gru", &helpers)
        .await
        .unwrap();
    assert!(hall.share("gru").is_some());
    assert_eq!(store.shares().unwrap(), [id]);
}

#[tokio::test]
async fn the_shares_of_a_deleted_key_are_destroyed_and_no_command_brings_it_back() {
    let hall = Hall::new(3);
    hall.create(2, &["fra", "gru", "nrt"]).await;
    hall.apply(&hall.command("key:default", 1, Order::ScheduleDeletion { days: 7 }))
        .await;
    let member = &hall.members["fra"];
    let shares = member.holder.shares.clone();
    let days = |days: u64| NOW + days * 86_400_000;
    hall.time.store(days(6), Ordering::Relaxed);
    shares
        .destroy_deleted(&member.writer, days(6))
        .await
        .unwrap();
    assert!(hall.share("fra").is_some());
    hall.time.store(days(7), Ordering::Relaxed);
    shares
        .destroy_deleted(&member.writer, days(7))
        .await
        .unwrap();
    assert!(hall.share("fra").is_none());
    assert_eq!(member.store.shares().unwrap(), []);
    assert_eq!(hall.record("fra", "deleted").len(), 1);
    assert_eq!(
        rollback::Watch::default()
            .look(&member.writer)
            .await
            .unwrap(),
        BTreeSet::new()
    );

    for order in [
        Order::CancelDeletion {},
        Order::EnableKey {},
        Order::ScheduleDeletion { days: 30 },
    ] {
        let envelope = hall.command("key:default", 2, order);
        let vault = shares.clone();
        let applied = member.writer.transact(move |transaction| {
            let checked = commands::check(transaction.state(), &envelope)?;
            commands::apply(transaction, &checked, &vault, "holder:gru")
        });
        assert_eq!(
            applied.await.unwrap().unwrap_err().code,
            crate::wire::Code::KeyNotFound
        );
    }
}

#[tokio::test]
async fn a_repair_with_a_false_sum_changes_nothing_and_names_the_helpers() {
    let hall = Hall::new(3);
    hall.create(2, &["fra", "gru", "nrt"]).await;
    let helpers = strings(&["fra", "nrt"]);
    let order = Order::RepairKey {
        lost: "gru".to_owned(),
        helpers: helpers.clone(),
    };
    let command = hall.command("key:default", 1, order);
    hall.apply(&command).await;
    // A helper whose share is false: it holds the one of another key.
    let state_share = KeyShare::from_octets(HolderId::new(1).unwrap(), 1, &[5; 32]).unwrap();
    let set = hall.members["fra"]
        .writer
        .transact(move |t| t.state_mut().set_share("default", 1, Some(state_share)));
    set.await.unwrap();
    let (holder, culprits, _) = blamed(
        hall.coordinator(&command)
            .repair("gru", &helpers)
            .await
            .unwrap_err(),
    );
    assert_eq!((holder.as_str(), culprits), ("gru", helpers));
}

#[tokio::test]
async fn a_key_that_its_owner_dealt_is_imported() {
    let hall = Hall::new(3);
    let plan = plan(2, &["fra", "gru", "nrt"]);
    let command = hall.command("key:default", 1, Order::ImportKey(plan.clone()));
    hall.apply(&command).await;
    let indices = (1..=3).map(|index| HolderId::new(index).unwrap()).collect();
    let rng = SystemRandom::new();
    let dealt = deal_key(&[9; 32], 2, &indices, &rng).unwrap();
    let coordinator = hall.coordinator(&command);
    let stranger = SigningKey::generate().unwrap();
    let (_, culprits, _) = blamed(
        coordinator
            .import(&plan, &dealt, &stranger, &rng)
            .await
            .unwrap_err(),
    );
    assert_eq!(culprits, ["dealer"]);
    let prepared = coordinator
        .import(&plan, &dealt, &hall.administrators[0], &rng)
        .await
        .unwrap();
    hall.announce(&prepared, 1).await;
    let group = hall.group("fra");
    assert_eq!(group.public_key(), Some(dealt.commitments[0]));
    hall.assert_every_quorum_opens(&wrap(&group));
}

#[tokio::test]
async fn a_message_that_was_changed_on_its_way_names_its_sender() {
    let hall = Hall::new(3);
    let plan = plan(2, &["fra", "gru", "nrt"]);
    let command = hall.command("key:default", 1, Order::CreateKey(plan.clone()));
    hall.apply(&command).await;
    hall.tamper(|holder, request| {
        if holder == "nrt" && request.step == Step::DkgRound2 {
            let mut envelope: serde_json::Value =
                serde_json::from_slice(&request.messages[1].0).unwrap();
            let other: serde_json::Value = serde_json::from_slice(&request.messages[0].0).unwrap();
            envelope["signatures"][0]["sig"] = other["signatures"][0]["sig"].clone();
            request.messages[1] = serde_json::to_vec(&envelope).unwrap().into();
        }
    });
    let (holder, culprits, reason) =
        blamed(hall.coordinator(&command).create(&plan).await.unwrap_err());
    assert_eq!((holder.as_str(), culprits), ("nrt", strings(&["gru"])));
    assert_eq!(reason, "the message of holder `gru` has a false signature");
    let row = hall.record("nrt", "ceremony").pop().unwrap();
    assert_eq!(
        (row.decision.as_str(), row.reason.as_str()),
        ("deny", reason.as_str())
    );
    assert_eq!(row.detail["culprits"], serde_json::json!(["gru"]));
}

#[tokio::test]
async fn messages_that_are_missing_doubled_replayed_or_foreign_are_refused() {
    let hall = Hall::new(3);
    let plan = plan(2, &["fra", "gru", "nrt"]);
    let command = hall.command("key:default", 1, Order::CreateKey(plan.clone()));
    hall.apply(&command).await;
    // A first attempt, whose messages are then replayed into others.
    hall.coordinator(&command).create(&plan).await.unwrap();
    let old: Vec<CeremonyRequest> = std::mem::take(&mut *hall.seen.lock().unwrap());
    let of = |step: Step| {
        old.iter()
            .find(|request| request.step == step)
            .unwrap()
            .messages
            .clone()
    };
    let (round1, outcomes) = (of(Step::DkgRound2), of(Step::Accept));
    let replayed = round1.clone();
    let cases: Vec<(Tamper, &str, &str)> = vec![
        (
            Box::new(|_, request| {
                request.messages.remove(1);
            }),
            "gru",
            "is missing",
        ),
        (
            Box::new(|_, request| request.messages.push(request.messages[1].clone())),
            "gru",
            "is there twice",
        ),
        (
            Box::new(move |_, request| request.messages[1] = replayed[1].clone()),
            "gru",
            "is of another ceremony",
        ),
        (
            Box::new(move |_, request| request.messages[2] = outcomes[2].clone()),
            "nrt",
            "is of another ceremony",
        ),
    ];
    for (tamper, culprit, fault) in cases {
        hall.tamper(move |holder, request| {
            if holder == "fra" && request.step == Step::DkgRound2 {
                tamper(holder, request);
            }
        });
        let (holder, culprits, reason) =
            blamed(hall.coordinator(&command).create(&plan).await.unwrap_err());
        assert_eq!(
            (holder.as_str(), culprits),
            ("fra", strings(&[culprit])),
            "{reason}"
        );
        assert_eq!(reason, format!("the message of holder `{culprit}` {fault}"));
    }
}

#[tokio::test]
async fn a_candidate_that_was_accepted_gives_way_to_no_other_of_its_ceremony() {
    let hall = Hall::new(3);
    let old = hall.create(2, &["fra", "gru", "nrt"]).await;
    let sealed = wrap(&old);
    let command = hall.command("key:default", 1, Order::RefreshKey { generation: 2 });
    hall.apply(&command).await;
    let prepared = hall.coordinator(&command).refresh(&old).await.unwrap();
    let receiver = |envelope: &Octets| {
        parse(Unverified::parse(&envelope.0).unwrap().unverified_payload())
            .unwrap()
            .to
    };
    let mut collect = {
        let seen = hall.seen.lock().unwrap();
        let mut collects = seen.iter().filter(|request| request.step == Step::Collect);
        collects
            .find(|request| receiver(&request.messages[0]) == 3)
            .unwrap()
            .clone()
    };
    // `gru` deals another polynomial, and the coordinator shows it to `nrt` alone.
    let deal = CeremonyRequest {
        step: Step::Deal,
        messages: Vec::new(),
        ..collect.clone()
    };
    let dealt = hall.step("gru", "default", &deal).await.unwrap();
    collect.messages[1] = dealt
        .messages
        .into_iter()
        .find(|envelope| receiver(envelope) == 3)
        .unwrap();
    let refusal = hall
        .step("nrt", "default", &collect)
        .await
        .unwrap()
        .refusal
        .unwrap();
    assert_eq!(
        refusal.reason,
        "the step does not follow here; begin the ceremony anew"
    );
    hall.announce(&prepared, 2).await;
    hall.assert_every_quorum_opens(&sealed);
}

#[tokio::test]
async fn holders_that_saw_different_outcomes_are_named_before_anything_is_accepted() {
    let hall = Hall::new(3);
    let plan = plan(2, &["fra", "gru", "nrt"]);
    let command = hall.command("key:default", 1, Order::CreateKey(plan.clone()));
    hall.apply(&command).await;
    let gru = Arc::clone(&hall.members["gru"].holder.secrets);
    hall.tamper(move |holder, request| {
        if holder == "fra" && request.step == Step::Accept {
            // `gru` itself says that it saw something else.
            let payload = Unverified::parse(&request.messages[1].0)
                .unwrap()
                .unverified_payload()
                .to_vec();
            let mut message = parse(&payload).unwrap();
            message.view = [0; 32][..].into();
            let payload = serde_json::to_vec(&message).unwrap();
            request.messages[1] =
                dsse::sign(CEREMONY, &payload, &[gru.signing()], &SystemRandom::new())
                    .unwrap()
                    .into();
        }
    });
    let (holder, culprits, reason) =
        blamed(hall.coordinator(&command).create(&plan).await.unwrap_err());
    assert_eq!((holder.as_str(), culprits), ("fra", strings(&["gru"])));
    assert_eq!(reason, "what was seen differs at holder `gru`");
}

#[tokio::test]
async fn only_what_a_command_orders_is_done() {
    let hall = Hall::new(3);
    let plan = plan(2, &["fra", "gru"]);
    let unapplied = hall.command("key:default", 1, Order::CreateKey(plan.clone()));
    let (_, _, reason) = blamed(
        hall.coordinator(&unapplied)
            .create(&plan)
            .await
            .unwrap_err(),
    );
    assert_eq!(reason, "no command in force orders this ceremony");
    hall.apply(&unapplied).await;
    // A holder that the command does not name gives nothing.
    let wider = KeyPlan {
        holders: strings(&["fra", "gru", "nrt"]),
        ..plan.clone()
    };
    let (holder, _, reason) = blamed(
        hall.coordinator(&unapplied)
            .create(&wider)
            .await
            .unwrap_err(),
    );
    assert_eq!(
        (holder.as_str(), reason.as_str()),
        ("nrt", "this holder has no such part in the ceremony")
    );
    // A descriptor with another threshold is not accepted.
    let lower = KeyPlan {
        unbound: true,
        ..plan.clone()
    };
    let (_, _, reason) = blamed(
        hall.coordinator(&unapplied)
            .create(&lower)
            .await
            .unwrap_err(),
    );
    assert_eq!(
        reason,
        "the candidate descriptor is refused: it is unbound where the command is not, or the other way round"
    );
    // Once the key is there, it is not made again.
    let prepared = hall.coordinator(&unapplied).create(&plan).await.unwrap();
    hall.announce(&prepared, 1).await;
    let (_, _, reason) = blamed(
        hall.coordinator(&unapplied)
            .create(&plan)
            .await
            .unwrap_err(),
    );
    assert_eq!(
        reason,
        "the key has gone beyond the epoch or generation that the command orders"
    );
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_is_forgotten_and_a_later_one_succeeds() {
    let hall = Hall::new(2);
    let plan = plan(2, &["fra", "gru"]);
    let command = hall.command("key:default", 1, Order::CreateKey(plan.clone()));
    hall.apply(&command).await;
    let time = Arc::clone(&hall.time);
    hall.tamper(move |holder, request| {
        if holder == "fra" && request.step == Step::DkgFinish {
            time.fetch_add(run::MAX_AGE_MS + 1, Ordering::Relaxed);
        }
    });
    // The tampering happens before the clock is read.
    let (_, _, reason) = blamed(hall.coordinator(&command).create(&plan).await.unwrap_err());
    assert_eq!(
        reason,
        "the step does not follow here; begin the ceremony anew"
    );
    hall.tamper(|_, _| {});
    let prepared = hall.coordinator(&command).create(&plan).await.unwrap();
    hall.announce(&prepared, 1).await;
    hall.assert_every_quorum_opens(&wrap(&hall.group("fra")));
}

#[test]
fn a_wrong_passphrase_and_a_damaged_secret_are_told_apart() {
    let hall = Hall::new(1);
    let wrong = setup::open(&hall.path("fra"), b"incorrect horse").unwrap_err();
    assert!(
        matches!(
            wrong,
            SetupError::Secrets(SecretsError::Sealing(SealingError::WrongPassphrase))
        ),
        "{wrong}"
    );
    let store = &hall.members["fra"].store;
    let mut blob = store.secret("signing-key", "").unwrap().unwrap();
    *blob.last_mut().unwrap() ^= 1;
    let kind = "signing-key".to_owned();
    store
        .commit(&[Change::PutSecret {
            kind,
            name: String::new(),
            blob,
        }])
        .unwrap();
    let damaged = setup::open(&hall.path("fra"), PASSPHRASE).unwrap_err();
    assert_eq!(
        damaged.to_string(),
        "the sealed signing-key is damaged or does not belong here"
    );
}

#[test]
fn a_holder_is_not_made_over_another_one() {
    let hall = Hall::new(2);
    let keys: Vec<_> = hall.administrators.iter().zip(["alice", "bob"]).collect();
    let administrators: Vec<_> = keys
        .iter()
        .map(|(key, name)| Administrator {
            name: (*name).to_owned(),
            key: key.public().clone(),
        })
        .collect();
    let again = Init {
        deployment: Some(DEPLOYMENT),
        name: "fra",
        index: HolderId::new(1).unwrap(),
        jurisdiction: "DE",
        listen: "127.0.0.1:0",
        url: "https://127.0.0.1:7101",
        seal: &SealSource::Passphrase,
        administrators: &administrators,
    };
    let rng = SystemRandom::new();
    let error = setup::init(
        &hall.path("fra"),
        &again,
        PASSPHRASE,
        Cost::LOWEST,
        NOW,
        &rng,
    )
    .unwrap_err();
    assert!(matches!(error, SetupError::Exists { .. }), "{error}");
    assert_eq!(setup::load(&hall.path("fra")).unwrap().peers.len(), 1);
    // An impostor with a known name does not replace a peer.
    let elsewhere = hall.dir.path().join("impostor");
    let impostor = setup::init(
        &elsewhere,
        &Init {
            name: "gru",
            ..again
        },
        PASSPHRASE,
        Cost::LOWEST,
        NOW,
        &rng,
    )
    .unwrap();
    let error = setup::join(&hall.path("fra"), &[&impostor]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "holder `gru` has a name or index that belongs to somebody else here"
    );
    // Nor does a holder of another deployment become one.
    let stranger = Init {
        deployment: None,
        name: "nrt",
        index: HolderId::new(3).unwrap(),
        ..again
    };
    let elsewhere = hall.dir.path().join("stranger");
    let stranger = setup::init(&elsewhere, &stranger, PASSPHRASE, Cost::LOWEST, NOW, &rng).unwrap();
    let error = setup::join(&hall.path("fra"), &[&stranger]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "holder `nrt` belongs to another deployment"
    );
    // An empty passphrase leaves nothing behind.
    let none = hall.dir.path().join("none");
    let error = setup::init(&none, &again, b"", Cost::LOWEST, NOW, &rng).unwrap_err();
    assert_eq!(error.to_string(), "the passphrase is empty");
    assert!(!none.exists());
}

#[cfg(unix)]
#[test]
fn only_the_owner_reads_what_a_holder_writes() {
    use std::os::unix::fs::PermissionsExt;
    let hall = Hall::new(2);
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let dir = hall.path("fra");
    assert_eq!((mode(dir.clone()), mode(dir.join("peers"))), (0o700, 0o700));
    for file in [
        "holder.toml",
        "descriptor.dsse.json",
        "store.sqlite",
        "store.sqlite-wal",
        "peers/gru.dsse.json",
    ] {
        assert_eq!(mode(dir.join(file)), 0o600, "{file}");
    }
}

#[test]
fn one_process_serves_from_a_folder_and_others_may_back_it_up() {
    let hall = Hall::new(2);
    let fra = hall.path("fra");
    let serving = setup::open(&fra, PASSPHRASE).unwrap();
    let error = setup::open(&fra, PASSPHRASE).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("`{}` is in use: a holder serves from it", fra.display())
    );
    let file = hall.dir.path().join("backup");
    setup::backup(&fra, &file).unwrap();
    let error = setup::restore(&fra, &file).unwrap_err();
    assert!(matches!(error, SetupError::Exists { .. }), "{error}");
    drop(serving);
    drop(setup::open(&fra, PASSPHRASE).unwrap());
}

#[test]
fn a_restore_that_fails_leaves_nothing_behind() {
    let hall = Hall::new(2);
    let file = hall.dir.path().join("backup");
    setup::backup(&hall.path("fra"), &file).unwrap();
    // A sound store, and a configuration in it that is none.
    SqliteStore::open(&file)
        .unwrap()
        .commit(&[Change::Meta {
            name: "holder.toml".to_owned(),
            value: b"version = 2".to_vec(),
        }])
        .unwrap();
    let again = hall.dir.path().join("again");
    let error = setup::restore(&again, &file).unwrap_err();
    assert!(matches!(error, SetupError::Config { .. }), "{error}");
    assert!(!again.exists());
    std::fs::create_dir(&again).unwrap();
    setup::restore(&again, &file).unwrap_err();
    assert_eq!(std::fs::read_dir(&again).unwrap().count(), 0);
}

#[tokio::test]
async fn a_restored_backup_that_is_too_old_is_noticed() {
    let mut hall = Hall::new(2);
    let old = hall.create(2, &["fra", "gru"]).await;
    let file = hall.dir.path().join("backup");
    setup::backup(&hall.path("fra"), &file).unwrap();
    assert!(matches!(
        setup::backup(&hall.path("fra"), &file),
        Err(SetupError::Exists { .. })
    ));
    let command = hall.command("key:default", 1, Order::RefreshKey { generation: 2 });
    hall.apply(&command).await;
    let prepared = hall.coordinator(&command).refresh(&old).await.unwrap();
    hall.announce(&prepared, 2).await;

    hall.members.remove("fra");
    std::fs::remove_dir_all(hall.path("fra")).unwrap();
    setup::restore(&hall.path("fra"), &file).unwrap();
    let restored = SqliteStore::open(&hall.path("fra").join("store.sqlite")).unwrap();
    assert_eq!(restored.meta(rollback::RESTORED).unwrap(), Some(vec![1]));
    drop(restored);
    hall.open("fra");
    let watch = rollback::Watch::default();
    let writer = hall.members["fra"].writer.clone();
    assert_eq!(watch.look(&writer).await.unwrap(), BTreeSet::new());
    // What the peer knows comes with the next round.
    let known: Vec<Vec<u8>> = hall.members["gru"]
        .writer
        .state()
        .commands()
        .iter()
        .map(|command| command.envelope.clone())
        .collect();
    for envelope in known {
        hall.apply_at("fra", &envelope).await;
    }
    assert_eq!(
        watch.look(&writer).await.unwrap(),
        BTreeSet::from([id_of(&hall.group("gru"))])
    );
    assert!(hall.share("fra").is_none());
    assert_eq!(hall.record("fra", "rollback").len(), 1);
}

/// A node that wants to join.
struct Joiner {
    join: SigningKey,
    key: SigningKey,
}

impl Joiner {
    fn new() -> Self {
        Self {
            join: SigningKey::generate().unwrap(),
            key: SigningKey::generate().unwrap(),
        }
    }

    async fn admit(&self, hall: &Hall, version: u64) {
        let admission = Admission {
            home: "fra".to_owned(),
            region: "eu-central-1".to_owned(),
            zone: "prod".to_owned(),
            jurisdiction: "DE".to_owned(),
            join_key: self.join.spki().into(),
            join_until: NOW + 900_000,
        };
        hall.apply(&hall.command("node:worker-1", version, Order::AdmitNode(admission)))
            .await;
    }

    fn request(&self, key: &SigningKey, csr: &SigningKey, signer: &SigningKey) -> EnrolRequest {
        let enrolment = Enrolment {
            node: "worker-1".to_owned(),
            spki: key.spki().into(),
            issued_at: NOW,
        };
        let payload = serde_json::to_vec(&enrolment).unwrap();
        EnrolRequest {
            enrolment: dsse::sign(ENROLMENT, &payload, &[signer], &SystemRandom::new())
                .unwrap()
                .into(),
            csr: certificate::request(csr).unwrap().into(),
        }
    }

    fn honest(&self) -> EnrolRequest {
        self.request(&self.key, &self.key, &self.join)
    }
}

async fn enrol_at(
    hall: &Hall,
    name: &str,
    request: &EnrolRequest,
) -> Result<crate::wire::CertificateAnswer, EnrolError> {
    let member = &hall.members[name];
    enrol::enrol(request, &member.authority, &member.writer).await
}

#[tokio::test]
async fn a_node_is_pinned_everywhere_and_certified_at_home_only() {
    let hall = Hall::new(2);
    let joiner = Joiner::new();
    joiner.admit(&hall, 1).await;
    let home = enrol_at(&hall, "fra", &joiner.honest()).await.unwrap();
    let leaf = certificate::Certificate::from_pem(&home.certificate).unwrap();
    assert_eq!(
        leaf.name.to_string(),
        "spiffe://sealift/node/worker-1/region/eu-central-1/zone/prod/jurisdiction/DE"
    );
    assert_eq!(
        (leaf.key, home.not_after),
        (joiner.key.public().clone(), NOW / 1000 + 3600)
    );
    assert_eq!(certificate::chain_from_pem(&home.bundle).unwrap().len(), 2);
    let foreign = enrol_at(&hall, "gru", &joiner.honest()).await.unwrap();
    assert_eq!(foreign.certificate, "");
    for member in hall.members.values() {
        assert_eq!(
            member.writer.state().pin("worker-1"),
            Some(joiner.key.public())
        );
    }
    // The answer may have been lost.
    enrol_at(&hall, "fra", &joiner.honest()).await.unwrap();
    assert_eq!(hall.record("fra", "enrolment").len(), 2);
}

#[tokio::test]
async fn an_enrolment_that_is_late_forged_or_for_another_key_is_refused() {
    let hall = Hall::new(2);
    let joiner = Joiner::new();
    let other = SigningKey::generate().unwrap();
    assert!(matches!(
        enrol_at(&hall, "fra", &joiner.honest()).await,
        Err(EnrolError::NotAdmitted)
    ));
    joiner.admit(&hall, 1).await;
    let forged = joiner.request(&joiner.key, &joiner.key, &other);
    assert!(matches!(
        enrol_at(&hall, "fra", &forged).await,
        Err(EnrolError::JoinKey)
    ));
    let mismatch = joiner.request(&joiner.key, &other, &joiner.join);
    assert!(matches!(
        enrol_at(&hall, "fra", &mismatch).await,
        Err(EnrolError::OtherKey)
    ));
    let reused = joiner.request(&joiner.join, &joiner.join, &joiner.join);
    assert!(matches!(
        enrol_at(&hall, "fra", &reused).await,
        Err(EnrolError::JoinKey)
    ));
    assert_eq!(hall.members["fra"].writer.state().pin("worker-1"), None);
    enrol_at(&hall, "fra", &joiner.honest()).await.unwrap();
    let second = joiner.request(&other, &other, &joiner.join);
    assert!(matches!(
        enrol_at(&hall, "fra", &second).await,
        Err(EnrolError::Pinned)
    ));
    hall.time.store(NOW + 900_001, Ordering::Relaxed);
    assert!(matches!(
        enrol_at(&hall, "gru", &joiner.honest()).await,
        Err(EnrolError::Late)
    ));
    // What only admitted nodes can cause is on record; what anybody can send costs no row.
    let denied = hall
        .record("fra", "enrolment")
        .iter()
        .filter(|row| row.decision == "deny")
        .count();
    assert_eq!(denied, 3);
}

#[tokio::test]
async fn a_node_renews_for_its_own_key_at_home_until_it_is_revoked() {
    let hall = Hall::new(2);
    let joiner = Joiner::new();
    joiner.admit(&hall, 1).await;
    for name in ["fra", "gru"] {
        enrol_at(&hall, name, &joiner.honest()).await.unwrap();
    }
    let node = crate::names::NodeName::new("worker-1", "eu-central-1", "prod", "DE").unwrap();
    let moved = crate::names::NodeName::new("worker-1", "eu-central-1", "test", "DE").unwrap();
    let other = SigningKey::generate().unwrap();
    let renew = async |holder: &str, node, key: &SigningKey, csr: &SigningKey| {
        let member = &hall.members[holder];
        let request = CertificateRequest {
            csr: certificate::request(csr).unwrap().into(),
        };
        enrol::renew(
            &request,
            node,
            key.public(),
            &member.authority,
            &member.writer,
        )
        .await
    };
    hall.time.store(NOW + 2_400_000, Ordering::Relaxed);
    let renewed = renew("fra", &node, &joiner.key, &joiner.key).await.unwrap();
    assert_eq!(renewed.not_after, NOW / 1000 + 2400 + 3600);
    assert!(matches!(
        renew("gru", &node, &joiner.key, &joiner.key).await,
        Err(EnrolError::NotHome)
    ));
    assert!(matches!(
        renew("fra", &node, &joiner.key, &other).await,
        Err(EnrolError::OtherKey)
    ));
    assert!(matches!(
        renew("fra", &node, &other, &other).await,
        Err(EnrolError::Pinned)
    ));
    assert!(matches!(
        renew("fra", &moved, &joiner.key, &joiner.key).await,
        Err(EnrolError::Moved)
    ));
    hall.apply(&hall.command("node:worker-1", 1, Order::RevokeNode {}))
        .await;
    assert!(matches!(
        renew("fra", &node, &joiner.key, &joiner.key).await,
        Err(EnrolError::Revoked)
    ));
    assert!(matches!(
        enrol_at(&hall, "fra", &joiner.honest()).await,
        Err(EnrolError::Revoked)
    ));
}
