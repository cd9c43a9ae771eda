//! Who gets a partial, who does not, and what is on record.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use sealift_holder::Octets;
use sealift_holder::audit_row::AuditRow;
use sealift_holder::certificate::Validity;
use sealift_holder::command::Order;
use sealift_holder::keys::SigningKey;
use sealift_holder::request::read_receipt;
use sealift_holder::server::decision::Caller;
use sealift_holder::server::quota::Quota;
use sealift_holder::server::release::{Denied, leaf_hash, release};
use sealift_holder::server::state::Applied;
use sealift_holder::server::{Running, Server, audit};
use sealift_holder::statement::KeyRequest;
use sealift_holder::wire::{
    Code, ErrorBody, PartialsAnswer, PartialsRequest, WireWrap, WrapAnswer,
};
use sealift_policy::Role;
use sealift_threshold::{GroupKey, ReplyKem, ReplyKey, Wrap};

use crate::rig::{NOW, Rig, combine, node, nonce, open, rng};

const SRC: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

struct Site {
    rig: Rig,
    group: GroupKey,
    running: Running,
}

impl Site {
    async fn new() -> Self {
        Self::with(false).await
    }

    async fn with(unbound: bool) -> Self {
        let rig = Rig::new(3, 2);
        let group = rig.deal("default", unbound);
        let running = rig.start(0, &group).await;
        Self {
            rig,
            group,
            running,
        }
    }

    fn wrap(&self) -> Wrap {
        self.group
            .wrap(
                &self.rig.label(&self.group),
                b"the key of one layer",
                &rng(),
            )
            .unwrap()
    }

    /// Asks as a request over the network does, past TLS.
    async fn ask_as(
        &self,
        caller: Caller,
        key_id: &str,
        body: PartialsRequest,
    ) -> Result<PartialsAnswer, Code> {
        let (service, key_id) = (Arc::clone(self.running.service()), key_id.to_owned());
        let asked =
            tokio::task::spawn_blocking(move || release(&service, &caller, SRC, &key_id, &body));
        asked.await.unwrap().map_err(|denied: Denied| denied.code)
    }

    async fn ask(&self, body: PartialsRequest) -> Result<PartialsAnswer, Code> {
        self.ask_as(self.rig.caller(), "default", body).await
    }

    async fn apply(&self, subject: &str, version: u64, order: Order) {
        let envelope = self.rig.command(subject, version, order);
        let applied = self
            .rig
            .apply(&self.running.service().writer, &envelope, 0)
            .await;
        assert_eq!(applied, Ok(Applied::Applied { instead_of: None }));
    }

    fn rows(&self) -> Vec<AuditRow> {
        audit::rows(&*self.running.service().store, 0, usize::MAX).unwrap()
    }

    fn last(&self) -> AuditRow {
        self.rows().pop().unwrap()
    }

    fn released(&self) -> usize {
        self.rows()
            .iter()
            .filter(|row| row.event == "release")
            .count()
    }

    fn request(&self, wraps: &[[u8; 32]]) -> KeyRequest {
        KeyRequest {
            key_id: "default".to_owned(),
            epoch: 1,
            wraps: wraps
                .iter()
                .map(|digest| digest.as_slice().into())
                .collect(),
            wrap_commitments: Vec::new(),
            ephemeral_key: ReplyKey::generate(ReplyKem::P256, &rng())
                .unwrap()
                .public()
                .into(),
            kem: 0x10,
            nonce: nonce(),
            lease_seconds: 60,
            justification: String::new(),
        }
    }
}

fn compact(wrap: &Wrap) -> WireWrap {
    WireWrap::Compact(wrap.as_bytes().into())
}

fn only(answer: &PartialsAnswer) -> Result<(&Octets, &Octets), Code> {
    match &answer.answers[..] {
        [WrapAnswer::Sealed { enc, ct, .. }] => Ok((enc, ct)),
        [WrapAnswer::Refused { error, .. }] => Err(*error),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_holders_open_a_wrap_over_the_network() {
    let rig = Rig::new(3, 2);
    let group = rig.deal("default", false);
    let wrap = group
        .wrap(&rig.label(&group), b"the key of one layer", &rng())
        .unwrap();
    let (body, reply) = rig.ask(&group, &[&wrap]);
    let hash = leaf_hash(&body.request.0);
    let mut partials = Vec::new();
    for at in 0..2 {
        let running = rig.start(at, &group).await;
        let sent = rig
            .node_http(at)
            .post(rig.url(at, "/v1/keys/default/partials"));
        let answer = sent
            .body(serde_json::to_vec(&body).unwrap())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.version(), reqwest::Version::HTTP_2);
        assert!(answer.headers().contains_key("request-id"));
        let answer: PartialsAnswer =
            serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(answer.request_hash.0, hash);
        let (enc, ct) = only(&answer).unwrap();
        let holder = &rig.holders[at];
        let partial = open(&reply, hash, &wrap, holder.descriptor.index, enc, ct);
        let receipt = read_receipt(&answer.receipt.0, holder.signer.public()).unwrap();
        assert_eq!(
            (receipt.holder, receipt.generation),
            (holder.descriptor.name.clone(), 1)
        );
        assert_eq!(receipt.request_leaf.0, hash);
        assert_eq!(
            receipt.releases[0].partial_digest,
            Some(partial.digest().as_slice().into())
        );
        assert_eq!(receipt.lease_until, NOW + 60_000);
        partials.push(partial);
        let row = audit::rows(&*running.service().store, 0, 100)
            .unwrap()
            .pop()
            .unwrap();
        assert_eq!(
            (row.event.as_str(), row.decision.as_str()),
            ("release", "allow")
        );
        assert_eq!(
            (row.actor.as_str(), row.subject.as_str()),
            ("node:tokyo-7", "key:default")
        );
        assert_eq!(
            (row.request_hash, row.wrap_digest),
            (hex::encode(hash), hex::encode(wrap.digest()))
        );
        assert_eq!(row.detail["label"]["repo"], "registry.example/app");
        running.shutdown().await;
    }
    assert_eq!(
        combine(&group, &wrap, hash, &partials),
        b"the key of one layer"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refusal_does_not_fail_the_others() {
    let site = Site::new().await;
    let (good, other) = (site.wrap(), site.wrap());
    let request = site.request(&[good.digest(), [9; 32], other.digest()]);
    let bad = site.wrap();
    let body = site.rig.body(
        &request,
        vec![compact(&good), compact(&bad), compact(&other)],
    );
    let answer = site.ask(body).await.unwrap();
    let codes: Vec<Option<Code>> = answer
        .answers
        .iter()
        .map(|answer| match answer {
            WrapAnswer::Sealed { .. } => None,
            WrapAnswer::Refused { error, .. } => Some(*error),
        })
        .collect();
    assert_eq!(codes, [None, Some(Code::LabelMismatch), None]);
    let receipt = read_receipt(&answer.receipt.0, site.rig.holders[0].signer.public()).unwrap();
    let decisions: Vec<&str> = receipt
        .releases
        .iter()
        .map(|release| release.decision.as_str())
        .collect();
    assert_eq!(decisions, ["allow", "deny", "allow"]);
    assert_eq!(site.released(), 2);
    site.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_relabelled_and_rerandomised_wraps_are_refused() {
    let site = Site::new().await;
    let good = site.wrap();
    let octets = good.as_bytes().to_vec();
    let find = |needle: &[u8]| {
        octets
            .windows(needle.len())
            .position(|window| window == needle)
            .unwrap()
    };
    let relabelled = {
        let mut octets = octets.clone();
        let at = find(b"registry.example/app");
        octets[at..at + 3].copy_from_slice(b"rig");
        octets
    };
    let other_key = {
        let other = site.rig.deal("other", false);
        other
            .wrap(&site.rig.label(&other), b"the key of one layer", &rng())
            .unwrap()
            .as_bytes()
            .to_vec()
    };
    // The points of another wrap under this one's label: what a re-randomiser without the proof's secret can do.
    let rerandomised = {
        let other = site.wrap().as_bytes().to_vec();
        let mut octets = octets.clone();
        let differs = |at: &usize| octets[*at] != other[*at];
        let first = (0..octets.len()).find(differs).unwrap();
        let point = first..first + 33;
        octets[point.clone()].copy_from_slice(&other[point]);
        octets
    };
    let truncated = octets[..octets.len() - 1].to_vec();
    let cases: [(&str, Vec<u8>, &[Code]); 6] = [
        ("relabelled", relabelled, &[Code::ProofInvalid]),
        ("another key's", other_key, &[Code::LabelMismatch]),
        (
            "re-randomised",
            rerandomised,
            &[Code::ProofInvalid, Code::BadRequest],
        ),
        ("truncated", truncated, &[Code::BadRequest]),
        ("empty", Vec::new(), &[Code::BadRequest]),
        ("noise", vec![0xFF; 300], &[Code::BadRequest]),
    ];
    for (name, octets, expected) in cases {
        let digest = Wrap::parse(&octets).map_or([1; 32], |wrap| wrap.digest());
        let body = site.rig.body(
            &site.request(&[digest]),
            vec![WireWrap::Compact(octets.into())],
        );
        let code = site.ask(body).await.unwrap_err();
        assert!(expected.contains(&code), "{name}: {code}");
        assert_eq!(site.last().event, "refusal");
    }
    assert_eq!(site.released(), 0);
    site.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_points_are_refused_and_unlabelled_wraps_open_under_unbound_keys_only() {
    let unbound = Site::with(true).await;
    let epk = {
        let key = SigningKey::generate().unwrap();
        let point = &key.spki()[26..];
        [&[2 + (point[64] & 1)], &point[1..33]].concat()
    };
    let digest = |epk: &[u8], group: &GroupKey| {
        sealift_threshold::UnlabelledWrap::from_epk(epk).map_or([1; 32], |wrap| wrap.digest(group))
    };
    let ask = async |site: &Site, epk: Vec<u8>| {
        let request = site.request(&[digest(&epk, &site.group)]);
        let body = site
            .rig
            .body(&request, vec![WireWrap::Unlabelled { epk: epk.into() }]);
        site.ask(body).await
    };
    let answer = ask(&unbound, epk.clone()).await.unwrap();
    assert!(
        matches!(answer.answers[..], [WrapAnswer::Sealed { .. }]),
        "{answer:?}"
    );
    let mut off_curve = epk.clone();
    off_curve[1..].fill(0xFF);
    for bad in [
        vec![0],
        vec![0; 33],
        off_curve,
        epk[..32].to_vec(),
        Vec::new(),
    ] {
        assert_eq!(ask(&unbound, bad).await.unwrap_err(), Code::BadRequest);
    }
    let labelled = Site::new().await;
    assert_eq!(ask(&labelled, epk).await.unwrap_err(), Code::LabelMismatch);
    let wrap = labelled.wrap();
    let body = unbound
        .rig
        .body(&unbound.request(&[wrap.digest()]), vec![compact(&wrap)]);
    assert_eq!(unbound.ask(body).await.unwrap_err(), Code::LabelMismatch);
    unbound.running.shutdown().await;
    labelled.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_counts_when_the_node_signed_it_as_it_must_be() {
    let site = Site::new().await;
    let wrap = site.wrap();
    let request = site.request(&[wrap.digest()]);
    let stranger = SigningKey::generate().unwrap();
    let body = site
        .rig
        .body_by(&request, vec![compact(&wrap)], &stranger, NOW);
    assert_eq!(site.ask(body).await.unwrap_err(), Code::ProofInvalid);
    type Change = (fn(&mut KeyRequest), Code);
    let changes: [Change; 8] = [
        (|r| r.key_id = "other".to_owned(), Code::LabelMismatch),
        (|r| r.kem = 0x20, Code::BadRequest),
        (|r| r.ephemeral_key = Octets(vec![4; 64]), Code::BadRequest),
        (|r| r.ephemeral_key = Octets(vec![4; 65]), Code::BadRequest),
        (|r| r.lease_seconds = 86_401, Code::BadRequest),
        (|r| r.wraps = vec![Octets(vec![0; 32])], Code::LabelMismatch),
        (|r| r.wraps.push(Octets(vec![0; 32])), Code::LabelMismatch),
        (|r| r.epoch = 2, Code::Forbidden),
    ];
    for (change, expected) in changes {
        let mut request = request.clone();
        change(&mut request);
        let outcome = site
            .ask(site.rig.body(&request, vec![compact(&wrap)]))
            .await;
        let code = match &outcome {
            Ok(answer) => only(answer).unwrap_err(),
            Err(code) => *code,
        };
        assert_eq!(code, expected);
    }
    for wraps in [Vec::new(), vec![compact(&wrap); 129]] {
        let mut request = request.clone();
        request.wraps = vec![wrap.digest().as_slice().into(); wraps.len().max(1)];
        assert_eq!(
            site.ask(site.rig.body(&request, wraps)).await.unwrap_err(),
            Code::BadRequest
        );
    }
    let mut body = site.rig.body(&request, vec![compact(&wrap)]);
    body.request = Octets(b"{}".to_vec());
    assert_eq!(site.ask(body).await.unwrap_err(), Code::BadRequest);
    site.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn salted_commitments_hide_the_wraps_and_bind_them_all_the_same() {
    let site = Site::new().await;
    let wrap = site.wrap();
    let salt = [5; 16];
    let mut request = site.request(&[]);
    request.wrap_commitments = vec![sealift_holder::request::salted(&salt, &wrap.digest())];
    let ask = async |salts: Option<Vec<Octets>>| {
        let mut body = site.rig.body(&request, vec![compact(&wrap)]);
        body.salts = salts;
        site.ask(body).await.map(|answer| only(&answer).is_ok())
    };
    assert_eq!(ask(Some(vec![salt.as_slice().into()])).await, Ok(true));
    for salts in [
        None,
        Some(Vec::new()),
        Some(vec![Octets(vec![6; 16])]),
        Some(vec![Octets(vec![5; 15])]),
    ] {
        assert_eq!(ask(salts).await, Err(Code::LabelMismatch));
    }
    site.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_good_near_its_time_and_again_within_its_lease() {
    let site = Site::new().await;
    let wrap = site.wrap();
    let body = site
        .rig
        .body(&site.request(&[wrap.digest()]), vec![compact(&wrap)]);
    for (now, expected) in [
        (NOW, Ok(())),
        (NOW + 59_000, Ok(())),
        (NOW + 60_000, Ok(())),
        (NOW + 60_001, Err(Code::ReplayDetected)),
        (NOW + 5 * 60_000, Err(Code::ReplayDetected)),
        (NOW + 5 * 60_000 + 1, Err(Code::ReplayDetected)),
        (NOW - 1, Err(Code::ReplayDetected)),
    ] {
        site.rig.clock.set(now);
        assert_eq!(site.ask(body.clone()).await.map(|_| ()), expected, "{now}");
    }
    assert_eq!(site.released(), 3);
    for (at, expected) in [
        (NOW - 300_000, Ok(())),
        (NOW - 300_001, Err(Code::ReplayDetected)),
        (NOW + 300_001, Err(Code::ReplayDetected)),
    ] {
        site.rig.clock.set(NOW);
        let request = site.request(&[wrap.digest()]);
        let body = site
            .rig
            .body_by(&request, vec![compact(&wrap)], &site.rig.node.key, at);
        assert_eq!(site.ask(body).await.map(|_| ()), expected, "{at}");
    }
    site.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_noticed_after_a_restart_and_after_the_clock_went_back() {
    let site = Site::new().await;
    let wrap = site.wrap();
    let mut request = site.request(&[wrap.digest()]);
    request.lease_seconds = 0;
    let body = site.rig.body(&request, vec![compact(&wrap)]);
    assert_eq!(site.ask(body.clone()).await.map(|_| ()), Ok(()));
    let Site {
        rig,
        group,
        running,
    } = site;
    running.shutdown().await;
    let running = Server::start(rig.config(0, rig.open_store(0)))
        .await
        .unwrap();
    let site = Site {
        rig,
        group,
        running,
    };
    site.rig.clock.set(NOW + 1);
    assert_eq!(
        site.ask(body.clone()).await.map(|_| ()),
        Err(Code::ReplayDetected)
    );
    // Much later the request is forgotten; a clock set back does not make it good again.
    site.rig.clock.set(NOW + 3_600_000);
    for _ in 0..2 {
        let later = site
            .rig
            .body(&site.request(&[wrap.digest()]), vec![compact(&wrap)]);
        assert_eq!(site.ask(later).await.map(|_| ()), Ok(()));
    }
    assert_eq!(site.running.service().store.answered().unwrap().len(), 2);
    site.rig.clock.set(NOW);
    assert_eq!(site.ask(body).await.map(|_| ()), Err(Code::ReplayDetected));
    site.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn states_and_epochs_of_a_key_refuse_with_their_codes() {
    let site = Site::new().await;
    let wrap = site.wrap();
    let ask = async || {
        let body = site
            .rig
            .body(&site.request(&[wrap.digest()]), vec![compact(&wrap)]);
        site.ask(body).await.map(|_| ())
    };
    let steps = [
        (1, Order::DisableKey {}, Err(Code::KeyDisabled)),
        (2, Order::EnableKey {}, Ok(())),
        (
            3,
            Order::ScheduleDeletion { days: 7 },
            Err(Code::KeyPendingDeletion),
        ),
        (4, Order::CancelDeletion {}, Err(Code::KeyDisabled)),
        (5, Order::EnableKey {}, Ok(())),
        (1, Order::SetMinEpoch { epoch: 2 }, Err(Code::Forbidden)),
        (2, Order::SetMinEpoch { epoch: 1 }, Ok(())),
        (
            6,
            Order::ScheduleDeletion { days: 7 },
            Err(Code::KeyPendingDeletion),
        ),
    ];
    for (version, order, expected) in steps {
        site.apply("key:default", version, order).await;
        assert_eq!(ask().await, expected);
    }
    // Deleted: as if it had never been there.
    site.rig.clock.set(NOW + 8 * 24 * 3_600_000);
    assert_eq!(ask().await, Err(Code::Forbidden));
    site.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_without_shares_refuse_with_their_states() {
    let site = Site::new().await;
    site.apply("key:coming", 1, Order::CreateKey(site.rig.plan(false)))
        .await;
    site.apply("key:brought", 1, Order::ImportKey(site.rig.plan(false)))
        .await;
    for (key_id, expected) in [
        ("coming", Code::InvalidState),
        ("brought", Code::KeyPendingImport),
        ("nothing", Code::Forbidden),
    ] {
        let wrap = site.wrap();
        let mut request = site.request(&[wrap.digest()]);
        request.key_id = key_id.to_owned();
        let body = site.rig.body(&request, vec![compact(&wrap)]);
        assert_eq!(
            site.ask_as(site.rig.caller(), key_id, body)
                .await
                .unwrap_err(),
            expected
        );
    }
    site.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_sees_verified_posture_only() {
    let site = Site::new().await;
    let wrap = site.wrap();
    let posture = site.rig.posture();
    let sign = |change: fn(&mut sealift_holder::statement::Posture)| {
        let mut posture = posture.clone();
        change(&mut posture);
        Some(site.rig.signed_posture(&posture))
    };
    let forged = {
        let payload = serde_json::to_vec(&posture).unwrap();
        let key = &site.rig.node.key;
        Some(
            sealift_holder::dsse::sign(
                sealift_holder::statement::POSTURE,
                &payload,
                &[key],
                &rng(),
            )
            .unwrap()
            .into(),
        )
    };
    let cases: [(&str, Option<Octets>, Result<(), Code>); 7] = [
        ("good", sign(|_| ()), Ok(())),
        ("none", None, Err(Code::Forbidden)),
        (
            "low",
            sign(|posture| posture.score = 79),
            Err(Code::Forbidden),
        ),
        (
            "stale",
            sign(|posture| posture.observed_at -= 300_001),
            Err(Code::Forbidden),
        ),
        (
            "another node's",
            sign(|posture| posture.node = "tokyo-8".to_owned()),
            Err(Code::Forbidden),
        ),
        (
            "another service's",
            sign(|posture| posture.source = "other".to_owned()),
            Err(Code::Forbidden),
        ),
        ("the node's own", forged, Err(Code::Forbidden)),
    ];
    for (name, posture, expected) in cases {
        let mut body = site
            .rig
            .body(&site.request(&[wrap.digest()]), vec![compact(&wrap)]);
        body.evidence = posture.map(|posture| sealift_holder::wire::Evidence {
            posture: Some(posture),
        });
        assert_eq!(site.ask(body).await.map(|_| ()), expected, "{name}");
    }
    site.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_node_gets_nothing_whatever_it_asks() {
    let site = Site::new().await;
    let wrap = site.wrap();
    let good = || {
        site.rig
            .body(&site.request(&[wrap.digest()]), vec![compact(&wrap)])
    };
    let answered = good();
    assert_eq!(site.ask(answered.clone()).await.map(|_| ()), Ok(()));
    site.apply("node:tokyo-7", 1, Order::RevokeNode {}).await;
    assert_eq!(site.ask(good()).await.unwrap_err(), Code::Forbidden);
    // Not even what it was given before, within the lease.
    assert_eq!(site.ask(answered).await.unwrap_err(), Code::Forbidden);
    assert_eq!(site.last().reason, "Forbidden: the node is revoked");
    assert_eq!(site.released(), 1);
    // Another node still works.
    let other = node("tokyo-8");
    site.apply("node:tokyo-8", 1, Order::AdmitNode(site.rig.admission()))
        .await;
    let caller = Caller::Node {
        name: other.name.clone(),
        key: other.key.public().clone(),
        validity: Validity::from(NOW / 1000, 3600),
    };
    let spki = other.key.spki().to_vec();
    let writer = &site.running.service().writer;
    writer
        .transact(move |transaction| transaction.put_pin("tokyo-8", &spki))
        .await
        .unwrap();
    let mut body = site.rig.body_by(
        &site.request(&[wrap.digest()]),
        vec![compact(&wrap)],
        &other.key,
        NOW,
    );
    let mut posture = site.rig.posture();
    posture.node = "tokyo-8".to_owned();
    body.evidence.as_mut().unwrap().posture = Some(site.rig.signed_posture(&posture));
    assert_eq!(
        site.ask_as(caller, "default", body).await.map(|_| ()),
        Ok(())
    );
    site.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_served_by_their_role() {
    let site = Site::new().await;
    let wrap = site.wrap();
    for (name, role, expected) in [
        ("carol", Role::CryptoUser, Ok(())),
        ("dave", Role::SecurityAdmin, Err(Code::Forbidden)),
        ("erin", Role::Auditor, Err(Code::Forbidden)),
    ] {
        let key = SigningKey::generate().unwrap();
        let order = Order::Role {
            spki: key.spki().into(),
            role: Some(role.as_str().to_owned()),
        };
        site.apply(&format!("operator:{name}"), 1, order).await;
        let validity = Validity::from(NOW / 1000, 3600);
        let caller = Caller::Operator {
            name: name.to_owned(),
            key: key.public().clone(),
            role,
            validity,
        };
        let body = site.rig.body_by(
            &site.request(&[wrap.digest()]),
            vec![compact(&wrap)],
            &key,
            NOW,
        );
        assert_eq!(
            site.ask_as(caller, "default", body).await.map(|_| ()),
            expected,
            "{name}"
        );
    }
    let holder = Caller::Holder {
        name: "gru".to_owned(),
        key: site.rig.holders[1].service.public().clone(),
    };
    let key = &site.rig.holders[1].service;
    let body = site.rig.body_by(
        &site.request(&[wrap.digest()]),
        vec![compact(&wrap)],
        key,
        NOW,
    );
    assert_eq!(
        site.ask_as(holder, "default", body).await.unwrap_err(),
        Code::Forbidden
    );
    site.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_policy_or_a_share_nothing_is_released() {
    let rig = Rig::new(3, 2);
    let group = rig.deal("default", false);
    let running = Server::start(rig.config(0, rig.open_store(0)))
        .await
        .unwrap();
    let site = Site {
        rig,
        group,
        running,
    };
    let wrap = site.wrap();
    let ask = async || {
        let body = site
            .rig
            .body(&site.request(&[wrap.digest()]), vec![compact(&wrap)]);
        site.ask(body).await.map(|_| ())
    };
    assert_eq!(ask().await, Err(Code::PolicyStale));
    site.rig.holders[0].vault.dealt.lock().unwrap().clear();
    site.rig.found(&site.running, &site.group).await;
    assert_eq!(ask().await, Err(Code::StoreUnavailable));
    assert_eq!(site.released(), 0);
    site.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_count_wraps_for_each_node_and_key() {
    let rig = Rig::new(1, 1);
    let group = rig.deal("default", false);
    let mut config = rig.config(0, rig.open_store(0));
    config.quota = Quota {
        burst: 3,
        per_minute: 60,
    };
    let running = Server::start(config).await.unwrap();
    rig.found(&running, &group).await;
    let site = Site {
        rig,
        group,
        running,
    };
    let (one, two) = (site.wrap(), site.wrap());
    let ask = async || {
        let body = site.rig.body(
            &site.request(&[one.digest(), two.digest()]),
            vec![compact(&one), compact(&two)],
        );
        site.ask(body).await.map(|_| ())
    };
    assert_eq!(ask().await, Ok(()));
    let sent = site
        .rig
        .node_http(0)
        .post(site.rig.url(0, "/v1/keys/default/partials"));
    let body = site.rig.body(
        &site.request(&[one.digest(), two.digest()]),
        vec![compact(&one), compact(&two)],
    );
    let answer = sent
        .body(serde_json::to_vec(&body).unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            answer.status().as_u16(),
            answer.headers()["retry-after"].to_str().unwrap()
        ),
        (429, "1")
    );
    assert_eq!(
        site.last().reason,
        "QuotaExceeded: 2 wraps are over the quota"
    );
    site.rig.clock.set(NOW + 1000);
    assert_eq!(ask().await, Ok(()));
    site.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_key_looks_like_a_denied_one() {
    let site = Site::new().await;
    let client = site.rig.node_http(0);
    let ask = async |key_id: &str| {
        let wrap = site.wrap();
        let mut request = site.request(&[wrap.digest()]);
        request.key_id = key_id.to_owned();
        let mut body = site.rig.body(&request, vec![compact(&wrap)]);
        body.evidence = None;
        let sent = client.post(site.rig.url(0, &format!("/v1/keys/{key_id}/partials")));
        let answer = sent
            .body(serde_json::to_vec(&body).unwrap())
            .send()
            .await
            .unwrap();
        let status = answer.status();
        let mut headers = answer.headers().clone();
        let id = headers
            .remove("request-id")
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let body = answer.text().await.unwrap();
        assert_eq!(
            serde_json::from_str::<ErrorBody>(&body).unwrap().request_id,
            id
        );
        headers.remove("date");
        (status, headers, body.replace(&id, ""))
    };
    let (denied, unknown) = (ask("default").await, ask("nothing").await);
    assert_eq!(denied, unknown);
    assert_eq!(denied.0, 403);
    let refusals: Vec<String> = site
        .rows()
        .into_iter()
        .filter(|row| row.event == "refusal")
        .map(|r| r.reason)
        .collect();
    assert_eq!(refusals.len(), 2);
    assert!(refusals[0].starts_with("Forbidden: denied"), "{refusals:?}");
    assert_eq!(refusals[1], "Forbidden: no such key");
    site.running.shutdown().await;
}
