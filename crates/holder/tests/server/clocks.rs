//! Clocks that jump, of a holder and of a node: what is released meanwhile, and what when they are right again.

use std::sync::Arc;

use sealift_holder::Clock;
use sealift_holder::certificate::{self, Validity};
use sealift_holder::client::http::{Clients, HttpError};
use sealift_holder::client::release::Transport;
use sealift_holder::command::Order;
use sealift_holder::deployment::Holder;
use sealift_holder::server::{Running, Server, audit};
use sealift_holder::tls::Credential;
use sealift_holder::wire::{Code, PartialsRequest};
use sealift_threshold::GroupKey;

use crate::rig::{NOW, Rig, TestClock, rng};

const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;

/// One holder with a clock of its own; the rig's clock is the node's.
struct Site {
    rig: Rig,
    group: GroupKey,
    running: Running,
    at_holder: TestClock,
}

impl Site {
    async fn new() -> Self {
        let rig = Rig::new(1, 1);
        let group = rig.deal("default", false);
        let at_holder = TestClock::at(NOW);
        let mut config = rig.config(0, rig.open_store(0));
        config.clock = at_holder.clock();
        let running = Server::start(config).await.unwrap();
        rig.found(&running, &group).await;
        Self {
            rig,
            group,
            running,
            at_holder,
        }
    }

    fn body(&self) -> PartialsRequest {
        let label = self.rig.label(&self.group);
        let wrap = self.group.wrap(&label, b"key", &rng()).unwrap();
        self.rig.ask(&self.group, &[&wrap]).0
    }

    /// Asks over a new connection, with the certificate that the node has.
    async fn ask(&self, body: &PartialsRequest) -> Result<(), Option<Code>> {
        self.ask_at(body, self.rig.clock.clock()).await
    }

    async fn ask_at(&self, body: &PartialsRequest, clock: Clock) -> Result<(), Option<Code>> {
        let validity = Validity::from(NOW / 1000, certificate::NODE_LIFETIME);
        let chain = self.rig.node_chain_of(&self.rig.node, 0, validity);
        let credential = Credential::new(&chain, &self.rig.node.key).unwrap();
        let descriptor = &self.rig.holders[0].descriptor;
        let holder = Holder {
            name: descriptor.name.clone(),
            url: descriptor.url.clone(),
            jurisdiction: descriptor.jurisdiction.clone(),
            ca: descriptor.ca.clone(),
            descriptor: None,
        };
        let clients = Clients::new(&[holder], Some(&credential), &clock).unwrap();
        let answer = clients
            .partials("fra", "default", Arc::new(body.clone()))
            .await;
        answer.map(|_| ()).map_err(|error: HttpError| error.code())
    }

    fn releases(&self) -> usize {
        let rows = audit::verify(&*self.running.service().store).unwrap();
        let count = audit::rows(&*self.running.service().store, 0, usize::MAX).unwrap();
        assert_eq!(rows.len(), count.len() as u64);
        count.iter().filter(|row| row.event == "release").count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_whose_clock_jumps_releases_nothing_until_it_is_right_again() {
    let site = Site::new().await;
    assert_eq!(site.ask(&site.body()).await, Ok(()));
    // By minutes the request is out of its time; by more nobody's certificate is good any more, or yet.
    for (now, expected) in [
        (NOW + 6 * MINUTE, Some(Code::ReplayDetected)),
        (NOW - 6 * MINUTE, None),
        (NOW + DAY, None),
        (NOW - DAY, None),
        (0, None),
        (u64::MAX, None),
    ] {
        site.at_holder.set(now);
        assert_eq!(site.ask(&site.body()).await, Err(expected), "{now}");
        assert_eq!(site.releases(), 1, "{now}");
        site.at_holder.set(NOW);
    }
    // The record goes on, although its times went to and fro, and nobody has to start anything again.
    assert_eq!(site.ask(&site.body()).await, Ok(()));
    assert_eq!(site.releases(), 2);
    site.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holders_clock_that_went_back_makes_no_old_answer_good_again() {
    let site = Site::new().await;
    let body = site.body();
    assert_eq!(site.ask(&body).await, Ok(()));
    // Within its lease of a minute it may be asked again; before it was answered at first it may not.
    for (now, expected) in [
        (NOW + MINUTE, Ok(())),
        (NOW + MINUTE + 1, Err(Some(Code::ReplayDetected))),
        (NOW - 1, Err(Some(Code::ReplayDetected))),
        // By then even what was observed about the node lies in the future.
        (NOW - MINUTE, Err(Some(Code::Forbidden))),
    ] {
        site.at_holder.set(now);
        assert_eq!(site.ask(&body).await, expected, "{now}");
    }
    site.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jump_takes_no_revocation_back_and_brings_none() {
    let site = Site::new().await;
    let envelope = site.rig.command("node:tokyo-7", 1, Order::RevokeNode {});
    let writer = &site.running.service().writer;
    site.rig.apply(writer, &envelope, 0).await.unwrap();
    for now in [NOW, NOW + 2 * MINUTE, NOW - 2 * MINUTE] {
        site.at_holder.set(now);
        assert_eq!(
            site.ask(&site.body()).await,
            Err(Some(Code::Forbidden)),
            "{now}"
        );
    }
    assert_eq!(site.releases(), 0);
    site.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_clock_jumps_is_told_so_and_gets_nothing() {
    let site = Site::new().await;
    for (now, expected) in [
        (NOW + 5 * MINUTE, Ok(())),
        (NOW + 5 * MINUTE + 1, Err(Some(Code::ReplayDetected))),
        (NOW - 4 * MINUTE, Ok(())),
        (NOW - 5 * MINUTE - 1, Err(Some(Code::ReplayDetected))),
    ] {
        site.rig.clock.set(now);
        // What the node says of its time counts for nothing but this; its posture is dated by another machine.
        let mut body = site.body();
        site.rig.clock.set(NOW);
        body.evidence = site.body().evidence;
        let as_it_believes = TestClock::at(NOW).clock();
        assert_eq!(site.ask_at(&body, as_it_believes).await, expected, "{now}");
    }
    assert_eq!(site.releases(), 2);
    // By days it does not even believe the holder: nothing was asked, nothing is on record.
    let rows = site.running.service().store.audit_len().unwrap();
    for now in [NOW + 2 * DAY, NOW - 2 * DAY] {
        let clock = TestClock::at(now).clock();
        assert_eq!(site.ask_at(&site.body(), clock).await, Err(None), "{now}");
    }
    assert_eq!(site.running.service().store.audit_len().unwrap(), rows);
    site.running.shutdown().await;
}
