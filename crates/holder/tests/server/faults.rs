//! Full disks, crashes, races: nothing unrecorded leaves, nothing acknowledged is lost.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use futures_util::future::poll_immediate;
use sealift_holder::Octets;
use sealift_holder::command::Order;
use sealift_holder::server::gossip::{Link, LinkError, catch_up};
use sealift_holder::server::release::release;
use sealift_holder::server::rollback::RESTORED;
use sealift_holder::server::state::Applied;
use sealift_holder::server::store::{
    Answered, Change, Named, Pin, Registration, ShareId, Store, StoreError, StoredCommand,
};
use sealift_holder::server::{Running, Server, audit};
use sealift_holder::wire::{
    Code, CommandsAnswer, CommandsPage, CommandsRequest, PartialsAnswer, PartialsRequest,
};
use sealift_threshold::GroupKey;

use crate::rig::{Rig, rng};

/// A store that fails when it is told to.
#[derive(Debug)]
struct Faulty {
    inner: Arc<dyn Store>,
    fault: AtomicU8,
    /// Changes of the last batch that was written.
    last: Mutex<Vec<Change>>,
}

const NONE: u8 = 0;
/// The disk is full.
const FULL: u8 = 1;
/// The batch is durable, and then the process dies: nobody hears of it.
const CRASH_AFTER: u8 = 2;
/// The disk does not answer; whether the batch is durable nobody knows.
const BROKEN: u8 = 3;

fn code(code: i32) -> StoreError {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None).into()
}

impl Store for Faulty {
    fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        match self.fault.load(Ordering::SeqCst) {
            FULL => return Err(code(rusqlite::ffi::SQLITE_FULL)),
            BROKEN => return Err(code(rusqlite::ffi::SQLITE_IOERR_FSYNC)),
            _ => {}
        }
        self.inner.commit(changes)?;
        *self.last.lock().unwrap() = changes.to_vec();
        if self.fault.load(Ordering::SeqCst) == CRASH_AFTER {
            Err(StoreError::Closed)
        } else {
            Ok(())
        }
    }
    fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.meta(name)
    }
    fn commands(&self) -> Result<Vec<StoredCommand>, StoreError> {
        self.inner.commands()
    }
    fn pins(&self) -> Result<Vec<Pin>, StoreError> {
        self.inner.pins()
    }
    fn answered(&self) -> Result<Vec<Answered>, StoreError> {
        self.inner.answered()
    }
    fn audit(&self, since: u64, limit: usize) -> Result<Vec<String>, StoreError> {
        self.inner.audit(since, limit)
    }
    fn audit_len(&self) -> Result<u64, StoreError> {
        self.inner.audit_len()
    }
    fn registrations(&self) -> Result<Vec<Registration>, StoreError> {
        self.inner.registrations()
    }
    fn segments(&self) -> Result<Vec<[u8; 32]>, StoreError> {
        self.inner.segments()
    }
    fn secret(&self, kind: &str, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.secret(kind, name)
    }
    fn secrets(&self, kind: &str) -> Result<Vec<Named>, StoreError> {
        self.inner.secrets(kind)
    }
    fn share(&self, id: &ShareId) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.share(id)
    }
    fn shares(&self) -> Result<Vec<ShareId>, StoreError> {
        self.inner.shares()
    }
    fn candidate(&self, id: &ShareId, ceremony: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.candidate(id, ceremony)
    }
    fn candidates(&self, id: &ShareId) -> Result<Vec<Named>, StoreError> {
        self.inner.candidates(id)
    }
    fn backup(&self, path: &Path) -> Result<(), StoreError> {
        self.inner.backup(path)
    }
}

struct Site {
    rig: Rig,
    group: GroupKey,
    store: Arc<Faulty>,
    running: Running,
}

impl Site {
    async fn new() -> Self {
        let rig = Rig::new(1, 1);
        let group = rig.deal("default", false);
        let (store, running) = Self::run(&rig).await;
        rig.found(&running, &group).await;
        Self {
            rig,
            group,
            store,
            running,
        }
    }

    async fn run(rig: &Rig) -> (Arc<Faulty>, Running) {
        let store = Arc::new(Faulty {
            inner: rig.open_store(0),
            fault: AtomicU8::new(NONE),
            last: Mutex::default(),
        });
        let running = Server::start(rig.config(0, Arc::<Faulty>::clone(&store)))
            .await
            .unwrap();
        (store, running)
    }

    /// The process dies and is started again.
    async fn restart(self) -> Self {
        let Self {
            rig,
            group,
            store,
            running,
        } = self;
        running.shutdown().await;
        drop(store);
        let (store, running) = Self::run(&rig).await;
        Self {
            rig,
            group,
            store,
            running,
        }
    }

    fn fail(&self, fault: u8) {
        self.store.fault.store(fault, Ordering::SeqCst);
    }

    fn body(&self) -> PartialsRequest {
        let wrap = self
            .group
            .wrap(&self.rig.label(&self.group), b"key", &rng())
            .unwrap();
        self.rig.ask(&self.group, &[&wrap]).0
    }

    async fn ask(&self, body: &PartialsRequest) -> Result<PartialsAnswer, Code> {
        let (service, caller, body) = (
            Arc::clone(self.running.service()),
            self.rig.caller(),
            body.clone(),
        );
        let src = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let asked =
            tokio::task::spawn_blocking(move || release(&service, &caller, src, "default", &body));
        asked.await.unwrap().map_err(|denied| denied.code)
    }

    async fn asked(&self, body: &PartialsRequest) -> Result<(), Code> {
        self.ask(body).await.map(|_| ())
    }

    fn releases(&self) -> usize {
        let rows = audit::rows(&*self.store.inner, 0, usize::MAX).unwrap();
        rows.iter().filter(|row| row.event == "release").count()
    }

    async fn health(&self) -> u16 {
        let url = format!("http://{}/healthz", self.running.local_addr().unwrap());
        reqwest::get(url).await.unwrap().status().as_u16()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_releases_nothing_and_is_got_over() {
    let site = Site::new().await;
    let body = site.body();
    assert_eq!(site.health().await, 200);
    site.fail(FULL);
    assert_eq!(site.asked(&body).await, Err(Code::AuditUnavailable));
    assert_eq!(site.health().await, 503);
    let envelope = site.rig.command("node:tokyo-7", 1, Order::RevokeNode {});
    let sent = site
        .rig
        .operator_http(0, &site.rig.alice)
        .post(site.rig.url(0, "/v1/commands"));
    let commands = CommandsRequest {
        commands: vec![envelope.clone()],
    };
    let answer = sent
        .body(serde_json::to_vec(&commands).unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 503);
    assert!(!site.running.service().writer.state().is_revoked("tokyo-7"));
    assert_eq!(site.releases(), 0);
    site.fail(NONE);
    assert_eq!(site.asked(&body).await, Ok(()));
    assert_eq!(site.health().await, 200);
    let applied = site
        .rig
        .apply(&site.running.service().writer, &envelope, 0)
        .await;
    assert_eq!(applied, Ok(Applied::Applied { instead_of: None }));
    assert_eq!(
        audit::verify(&*site.store.inner).unwrap().len(),
        site.store.inner.audit_len().unwrap()
    );
    site.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_record_and_answer_leaves_the_record_and_no_answer() {
    let site = Site::new().await;
    let body = site.body();
    site.fail(CRASH_AFTER);
    assert_eq!(site.asked(&body).await, Err(Code::AuditUnavailable));
    // Nothing more, until somebody has looked at what is durable.
    assert_eq!(site.asked(&site.body()).await, Err(Code::StoreUnavailable));
    let site = site.restart().await;
    assert_eq!(site.releases(), 1);
    // The node asks again, within its lease, and is answered.
    assert_eq!(site.asked(&body).await, Ok(()));
    assert_eq!(site.releases(), 2);
    site.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_flush_nothing_is_trusted_until_a_restart() {
    let site = Site::new().await;
    let body = site.body();
    site.fail(BROKEN);
    assert_eq!(site.asked(&body).await, Err(Code::AuditUnavailable));
    site.fail(NONE);
    assert_eq!(site.asked(&body).await, Err(Code::StoreUnavailable));
    assert_eq!(site.health().await, 503);
    let site = site.restart().await;
    assert_eq!(site.asked(&body).await, Ok(()));
    site.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_revocation_is_there_after_the_process_was_killed() {
    let site = Site::new().await;
    let envelope = site.rig.command("node:tokyo-7", 1, Order::RevokeNode {});
    site.rig
        .apply(&site.running.service().writer, &envelope, 0)
        .await
        .unwrap();
    // What is in the file now is all that a kill leaves; the log is part of it.
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(site.rig.holders[0].dir.path()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let store = sealift_holder::server::store::SqliteStore::open(&copy.path().join("store.sqlite"))
        .unwrap();
    let vault = &*site.rig.holders[0].vault;
    let state =
        sealift_holder::server::commands::rebuild(site.rig.state(0), &store, vault).unwrap();
    assert!(state.is_revoked("tokyo-7"));
    assert_eq!(audit::verify(&store).unwrap().len(), 5);
    site.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_between_decision_and_commit_stops_the_release() {
    let site = Site::new().await;
    let body = site.body();
    // The writer is held while the release is decided on the state before the revocation; then both wait for it.
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let (holding, is_holding) = tokio::sync::oneshot::channel();
    let writer = site.running.service().writer.clone();
    let blocked = tokio::spawn(async move {
        let hold = move |_: &mut sealift_holder::server::writer::Transaction<'_>| {
            holding.send(()).unwrap();
            held.recv().unwrap();
        };
        writer.transact(hold).await
    });
    is_holding.await.unwrap();
    {
        let rig = &site.rig;
        let envelope = rig.command("node:tokyo-7", 1, Order::RevokeNode {});
        let revoke = rig.apply(&site.running.service().writer, &envelope, 0);
        tokio::pin!(revoke);
        // The revocation is queued first, then the release, both judged on a state that knows no revocation.
        assert!(poll_immediate(revoke.as_mut()).await.is_none());
        let asked = site.ask(&body);
        tokio::pin!(asked);
        assert!(poll_immediate(asked.as_mut()).await.is_none());
        assert!(!site.running.service().writer.state().is_revoked("tokyo-7"));
        // Queued means: the release's thread waits for the writer.
        while site.running.service().writer.waiting() < 2 {
            tokio::task::yield_now().await;
        }
        hold.send(()).unwrap();
        let (revoked, asked) = tokio::join!(revoke, asked);
        assert_eq!(revoked, Ok(Applied::Applied { instead_of: None }));
        assert_eq!(asked.map(|_| ()), Err(Code::Forbidden));
    }
    blocked.await.unwrap().unwrap();
    assert_eq!(site.releases(), 0);
    site.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_its_row_whatever_the_disk_does() {
    let site = Site::new().await;
    let bodies: Vec<PartialsRequest> = (0..40).map(|_| site.body()).collect();
    let asks = bodies.iter().enumerate().map(async |(index, body)| {
        if index % 7 == 3 {
            site.fail(if index % 2 == 0 { FULL } else { NONE });
        }
        site.asked(body).await
    });
    let answered = futures_util::future::join_all(asks)
        .await
        .into_iter()
        .filter(|answer| *answer == Ok(()))
        .count();
    site.fail(NONE);
    assert_eq!(site.asked(&site.body()).await, Ok(()));
    assert_eq!(site.releases(), answered + 1);
    assert_eq!(
        audit::verify(&*site.store.inner).unwrap().len(),
        site.store.inner.audit_len().unwrap()
    );
    site.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_died_is_seen_and_hangs_nobody() {
    let site = Site::new().await;
    assert_eq!(site.health().await, 200);
    let broken: Result<(), _> = site
        .running
        .service()
        .writer
        .transact(|_| panic!("a defect of a job, for this test"))
        .await;
    assert!(matches!(broken, Err(StoreError::Closed)));
    assert_eq!(site.asked(&site.body()).await, Err(Code::StoreUnavailable));
    assert_eq!(site.health().await, 503);
    assert_eq!(site.releases(), 0);
    site.running.shutdown().await;
}

/// A peer that knows commands, and is cut off at first.
#[derive(Debug, Default)]
struct Peer {
    up: AtomicBool,
    commands: Vec<Octets>,
}

impl Link for Peer {
    fn name(&self) -> &str {
        "gru"
    }
    fn push<'a>(
        &'a self,
        _: &'a CommandsRequest,
    ) -> BoxFuture<'a, Result<CommandsAnswer, LinkError>> {
        Box::pin(async { Err(LinkError::Malformed) })
    }
    fn pull(&self, since: u64) -> BoxFuture<'_, Result<CommandsPage, LinkError>> {
        Box::pin(async move {
            if !self.up.load(Ordering::SeqCst) {
                return Err(LinkError::Malformed);
            }
            let commands = self.commands.iter().skip(usize::try_from(since).unwrap());
            Ok(CommandsPage {
                next: self.commands.len() as u64,
                commands: commands.cloned().collect(),
            })
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_store_releases_nothing_before_all_peers_were_heard() {
    let site = Site::new().await;
    assert_eq!(site.asked(&site.body()).await, Ok(()));
    let Site {
        rig,
        group,
        store,
        running,
    } = site;
    running.shutdown().await;
    let mark = Change::Meta {
        name: RESTORED.to_owned(),
        value: vec![1],
    };
    store.inner.commit(&[mark]).unwrap();
    // What happened after the backup.
    let peer = Arc::new(Peer {
        up: AtomicBool::new(false),
        commands: vec![rig.command("node:tokyo-7", 1, Order::RevokeNode {})],
    });
    let mut config = rig.config(0, Arc::<Faulty>::clone(&store));
    config.links = Some(vec![Arc::<Peer>::clone(&peer)]);
    let running = Server::start(config).await.unwrap();
    let site = Site {
        rig,
        group,
        store,
        running,
    };
    assert_eq!(site.asked(&site.body()).await, Err(Code::StoreUnavailable));
    peer.up.store(true, Ordering::SeqCst);
    while site.running.service().is_behind() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(site.asked(&site.body()).await, Err(Code::Forbidden));
    assert_eq!(site.releases(), 1);
    let site = site.restart().await;
    assert!(!site.running.service().is_behind());
    site.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_hears_the_dealers_out_before_it_accepts_a_share() {
    let rig = Rig::new(3, 2);
    let group = rig.deal("default", false);
    rig.start(0, &group).await.shutdown().await;
    let peer = Arc::new(Peer {
        up: AtomicBool::new(false),
        commands: vec![rig.command("node:tokyo-7", 1, Order::RevokeNode {})],
    });
    let mut config = rig.config(0, rig.open_store(0));
    config.links = Some(vec![Arc::<Peer>::clone(&peer)]);
    // The regular pull comes once, while the peer is cut off, and not again.
    config.limits.pull_every = std::time::Duration::from_secs(3600);
    let running = Server::start(config).await.unwrap();
    let service = running.service();
    let dealers = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        catch_up(service, &dealers(&["fra", "gru"])).await,
        Err("gru".to_owned())
    );
    assert_eq!(
        catch_up(service, &dealers(&["nrt"])).await,
        Err("nrt".to_owned())
    );
    assert!(!service.writer.state().is_revoked("tokyo-7"));
    peer.up.store(true, Ordering::SeqCst);
    assert_eq!(catch_up(service, &dealers(&["fra", "gru"])).await, Ok(()));
    assert!(service.writer.state().is_revoked("tokyo-7"));
    running.shutdown().await;
}
