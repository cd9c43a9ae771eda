//! Commands: who may order what, which of two wins, and who has to know.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use sealift_holder::Octets;
use sealift_holder::certificate::{self, Validity};
use sealift_holder::command::{KeyPlan, Order};
use sealift_holder::deployment::DeploymentId;
use sealift_holder::keys::SigningKey;
use sealift_holder::server::commands::{Refusal, apply, check};
use sealift_holder::server::gossip::{HttpLink, Link, LinkError};
use sealift_holder::server::state::Applied;
use sealift_holder::server::{Running, Server};
use sealift_holder::wire::{
    Code, CommandStatus, CommandsAnswer, CommandsPage, CommandsRequest, ErrorBody, KeyAnswer,
};
use sealift_policy::{KeyFacts, KeyState};

use crate::rig::{NOW, Rig, rng};

const APPLIED: Result<Applied, Refusal> = Ok(Applied::Applied { instead_of: None });
const NODE: &str = "node:tokyo-7";

async fn one() -> (Rig, Running) {
    let rig = Rig::new(3, 2);
    let group = rig.deal("default", false);
    let running = rig.start(0, &group).await;
    (rig, running)
}

fn code(result: Result<Applied, Refusal>) -> Code {
    result.unwrap_err().code
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_needs_the_approvals_of_its_order() {
    let (rig, running) = one().await;
    let writer = &running.service().writer;
    let (alice, bob, stranger) = (
        &rig.alice.key,
        &rig.bob.key,
        SigningKey::generate().unwrap(),
    );
    let one = rig.command_by(NODE, 1, Order::RevokeNode {}, &[alice]);
    assert_eq!(rig.apply(writer, &one, 0).await, APPLIED);
    assert!(writer.state().is_revoked("tokyo-7"));
    for by in [&[alice][..], &[bob, bob], &[alice, &stranger]] {
        let lift = rig.command_by(NODE, 2, Order::UnrevokeNode {}, by);
        assert_eq!(code(rig.apply(writer, &lift, 0).await), Code::Forbidden);
    }
    let lift = rig.command_by(NODE, 2, Order::UnrevokeNode {}, &[&stranger]);
    assert_eq!(code(rig.apply(writer, &lift, 0).await), Code::Forbidden);
    assert!(writer.state().is_revoked("tokyo-7"));
    assert_eq!(
        rig.apply(writer, &rig.command(NODE, 2, Order::UnrevokeNode {}), 0)
            .await,
        APPLIED
    );
    assert!(!writer.state().is_revoked("tokyo-7"));
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_cannot_forge_a_command() {
    let (rig, running) = one().await;
    let writer = &running.service().writer;
    assert_eq!(
        rig.apply(writer, &rig.command(NODE, 1, Order::RevokeNode {}), 0)
            .await,
        APPLIED
    );
    let forged = rig.command_by(
        NODE,
        2,
        Order::UnrevokeNode {},
        &[&rig.holders[1].signer, &rig.holders[2].signer],
    );
    assert_eq!(code(rig.apply(writer, &forged, 0).await), Code::Forbidden);
    let mut altered = rig.command(NODE, 3, Order::UnrevokeNode {});
    let text = String::from_utf8(altered.0.clone()).unwrap();
    altered.0 = text
        .replacen("\"sig\":\"", "\"sig\":\"AAAA", 1)
        .into_bytes();
    assert_eq!(
        code(rig.apply(writer, &altered, 0).await),
        Code::ProofInvalid
    );
    assert!(writer.state().is_revoked("tokyo-7"));
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_another_deployment_of_the_same_people_is_refused() {
    let (rig, running) = one().await;
    let writer = &running.service().writer;
    let by = [&rig.alice.key, &rig.bob.key];
    let other = DeploymentId([8; 16]);
    let elsewhere = rig.command_of(other, NODE, 1, Order::RevokeNode {}, &by);
    let refusal = rig.apply(writer, &elsewhere, 0).await.unwrap_err();
    assert_eq!(
        (refusal.code, refusal.reason.as_str()),
        (
            Code::OtherDeployment,
            "the command is for the deployment 08080808080808080808080808080808"
        )
    );
    assert!(!writer.state().is_revoked("tokyo-7"));
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_version_is_in_force_and_known_commands_change_nothing() {
    let (rig, running) = one().await;
    let writer = &running.service().writer;
    let (first, third) = (
        rig.command(NODE, 1, Order::RevokeNode {}),
        rig.command(NODE, 3, Order::UnrevokeNode {}),
    );
    assert_eq!(rig.apply(writer, &third, 0).await, APPLIED);
    assert_eq!(rig.apply(writer, &first, 0).await, Ok(Applied::Older));
    assert_eq!(rig.apply(writer, &third, 0).await, Ok(Applied::Known));
    assert!(!writer.state().is_revoked("tokyo-7"));
    let fourth = rig.command(NODE, 4, Order::RevokeNode {});
    assert_eq!(rig.apply(writer, &fourth, 0).await, APPLIED);
    // It is known, but it is no longer in force: whoever sends it again must not hear that it is.
    assert_eq!(rig.apply(writer, &third, 0).await, Ok(Applied::Older));
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_equal_versions_the_more_restrictive_wins_in_either_order() {
    let pairs = [
        ("node:tokyo-7", Order::RevokeNode {}, Order::UnrevokeNode {}),
        ("key:default", Order::DisableKey {}, Order::EnableKey {}),
        (
            "key:default",
            Order::ScheduleDeletion { days: 7 },
            Order::DisableKey {},
        ),
        (
            "key:default",
            Order::SetMinEpoch { epoch: 3 },
            Order::SetMinEpoch { epoch: 2 },
        ),
    ];
    for (subject, hard, soft) in pairs {
        for hard_first in [true, false] {
            let (rig, running) = one().await;
            let writer = &running.service().writer;
            let hard = rig.command(subject, 5, hard.clone());
            let soft = rig.command(subject, 5, soft.clone());
            let digest = |envelope: &Octets| check(&writer.state(), &envelope.0).unwrap().digest;
            let (hard_digest, soft_digest) = (digest(&hard), digest(&soft));
            let (first, second) = if hard_first {
                (&hard, &soft)
            } else {
                (&soft, &hard)
            };
            assert_eq!(rig.apply(writer, first, 0).await, APPLIED);
            let expected = if hard_first {
                Applied::Lost { to: hard_digest }
            } else {
                Applied::Applied {
                    instead_of: Some(soft_digest),
                }
            };
            assert_eq!(rig.apply(writer, second, 0).await, Ok(expected));
            let rows =
                sealift_holder::server::audit::rows(&*running.service().store, 0, 100).unwrap();
            assert_eq!(rows.iter().filter(|row| row.event == "conflict").count(), 1);
            running.shutdown().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_names_for_one_key_are_not_two_people() {
    let (rig, running) = one().await;
    let writer = &running.service().writer;
    let role = Order::Role {
        spki: rig.alice.key.spki().into(),
        role: Some("SecurityAdmin".to_owned()),
    };
    assert_eq!(
        code(
            rig.apply(writer, &rig.command("operator:carol", 1, role), 0)
                .await
        ),
        Code::BadRequest
    );
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_gives_and_takes_the_right_to_approve() {
    let (rig, running) = one().await;
    let writer = &running.service().writer;
    let carol = SigningKey::generate().unwrap();
    let role = |role: Option<&str>| Order::Role {
        spki: carol.spki().into(),
        role: role.map(str::to_owned),
    };
    let revoke = |version| rig.command_by(NODE, version, Order::RevokeNode {}, &[&carol]);
    assert_eq!(
        code(rig.apply(writer, &revoke(1), 0).await),
        Code::Forbidden
    );
    assert_eq!(
        rig.apply(
            writer,
            &rig.command("operator:carol", 1, role(Some("Auditor"))),
            0
        )
        .await,
        APPLIED
    );
    assert_eq!(
        code(rig.apply(writer, &revoke(1), 0).await),
        Code::Forbidden
    );
    assert_eq!(
        rig.apply(
            writer,
            &rig.command("operator:carol", 2, role(Some("SecurityAdmin"))),
            0
        )
        .await,
        APPLIED
    );
    assert_eq!(rig.apply(writer, &revoke(1), 0).await, APPLIED);
    assert_eq!(
        rig.apply(writer, &rig.command("operator:carol", 3, role(None)), 0)
            .await,
        APPLIED
    );
    assert_eq!(
        code(rig.apply(writer, &revoke(2), 0).await),
        Code::Forbidden
    );
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minimum_epoch_is_lowered_by_two_only() {
    let (rig, running) = one().await;
    let writer = &running.service().writer;
    let order = |version, epoch, by: &[&SigningKey]| {
        rig.command_by("key:default", version, Order::SetMinEpoch { epoch }, by)
    };
    let (alice, bob) = (&rig.alice.key, &rig.bob.key);
    assert_eq!(rig.apply(writer, &order(1, 3, &[alice]), 0).await, APPLIED);
    assert_eq!(
        code(rig.apply(writer, &order(2, 2, &[alice]), 0).await),
        Code::Forbidden
    );
    assert_eq!(
        rig.apply(writer, &order(2, 2, &[alice, bob]), 0).await,
        APPLIED
    );
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_descriptor_needs_two_administrators_and_every_holder() {
    let rig = Rig::new(3, 2);
    let group = rig.deal("default", false);
    let running = Server::start(rig.config(0, rig.open_store(0)))
        .await
        .unwrap();
    let writer = &running.service().writer;
    let put = async |order: Order| {
        let envelope = rig.command("key:default", 1, order);
        rig.apply(writer, &envelope, 0)
            .await
            .map_err(|refusal| refusal.code)
    };
    let Order::Descriptor {
        descriptor,
        acceptances,
    } = rig.descriptor(&group)
    else {
        unreachable!()
    };
    let lacking = acceptances[..2].to_vec();
    let twice = [lacking.clone(), vec![acceptances[1].clone()]].concat();
    for acceptances in [Vec::new(), lacking, twice] {
        let order = Order::Descriptor {
            descriptor: descriptor.clone(),
            acceptances,
        };
        assert_eq!(put(order).await, Err(Code::ProofInvalid));
    }
    let other = rig.deal("default", false);
    let order = Order::Descriptor {
        descriptor: descriptor.clone(),
        acceptances: (0..3).map(|at| rig.acceptance(at, &other)).collect(),
    };
    assert_eq!(put(order).await, Err(Code::ProofInvalid));
    let by_one = sealift_holder::dsse::sign(
        sealift_holder::statement::KEY_DESCRIPTOR,
        &group.to_json(),
        &[&rig.alice.key],
        &rng(),
    );
    let order = Order::Descriptor {
        descriptor: by_one.unwrap().into(),
        acceptances: acceptances.clone(),
    };
    assert_eq!(put(order).await, Err(Code::Forbidden));
    assert!(
        writer
            .state()
            .keys()
            .get("default")
            .is_none_or(|key| key.epochs.is_empty())
    );
    assert_eq!(
        put(Order::Descriptor {
            descriptor,
            acceptances
        })
        .await,
        Ok(Applied::Applied { instead_of: None })
    );
    assert_eq!(writer.state().keys()["default"].state(0), KeyState::Enabled);
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_descriptor_cannot_replace_the_key_it_continues() {
    let (rig, running) = one().await;
    let writer = &running.service().writer;
    let before = writer.state().keys()["default"].epochs[&1]
        .group
        .public_key();
    let other = rig.deal("default", false);
    let replaced = rig
        .apply(
            writer,
            &rig.command("key:default", 2, rig.descriptor(&other)),
            0,
        )
        .await;
    assert_eq!(code(replaced), Code::ProofInvalid);
    assert_eq!(
        writer.state().keys()["default"].epochs[&1]
            .group
            .public_key(),
        before
    );
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_commands_are_refused() {
    let (rig, running) = one().await;
    let writer = &running.service().writer;
    let mut plan = rig.plan(false);
    plan.threshold = 4;
    let mut strangers = rig.plan(false);
    strangers.holders.push("nowhere".to_owned());
    let mut admission = rig.admission();
    admission.home = "nowhere".to_owned();
    let wrong = [
        ("key:default", Order::RevokeNode {}),
        ("node:tokyo-7", Order::DisableKey {}),
        ("node:TOKYO", Order::RevokeNode {}),
        ("policy", Order::EnableKey {}),
        ("key:default", Order::Policy { set: rig.policy() }),
        (
            "policy",
            Order::Policy {
                set: Octets(b"{}".to_vec()),
            },
        ),
        ("key:", Order::DisableKey {}),
        ("key:a b", Order::DisableKey {}),
        ("key:default", Order::ScheduleDeletion { days: 6 }),
        ("key:other", Order::CreateKey(plan)),
        ("key:other", Order::CreateKey(strangers)),
        ("node:other", Order::AdmitNode(admission)),
        (
            "operator:carol",
            Order::Role {
                spki: Octets(vec![1]),
                role: None,
            },
        ),
        (
            "operator:carol",
            Order::Role {
                spki: SigningKey::generate().unwrap().spki().into(),
                role: Some("Root".to_owned()),
            },
        ),
    ];
    for (subject, order) in wrong {
        let envelope = rig.command(subject, 1, order);
        assert_eq!(
            code(rig.apply(writer, &envelope, 0).await),
            Code::BadRequest,
            "{subject}"
        );
    }
    running.shutdown().await;
}

/// Three holders that know each other.
async fn three() -> (Rig, Vec<Running>) {
    let rig = Rig::new(3, 2);
    let group = rig.deal("default", false);
    let mut all = Vec::new();
    for at in 0..3 {
        let mut config = rig.config(at, rig.open_store(at));
        config.links = None;
        all.push(Server::start(config).await.unwrap());
    }
    for envelope in rig.founding(&group) {
        let (status, answer) = order(&rig, 0, &envelope).await;
        let answer: CommandsAnswer = serde_json::from_slice(&answer).unwrap();
        assert_eq!((status, answer.status), (200, CommandStatus::Effective));
    }
    (rig, all)
}

async fn order(rig: &Rig, at: usize, envelope: &Octets) -> (u16, Vec<u8>) {
    let body = serde_json::to_vec(&CommandsRequest {
        commands: vec![envelope.clone()],
    })
    .unwrap();
    let client = rig.operator_http(at, &rig.alice);
    let answer = client
        .post(rig.url(at, "/v1/commands"))
        .body(body)
        .send()
        .await
        .unwrap();
    (
        answer.status().as_u16(),
        answer.bytes().await.unwrap().to_vec(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_is_effective_at_a_quorum_and_reaches_everybody() {
    let (rig, mut all) = three().await;
    all.remove(2).shutdown().await;
    let (status, answer) = order(&rig, 0, &rig.command(NODE, 1, Order::RevokeNode {})).await;
    let answer: CommandsAnswer = serde_json::from_slice(&answer).unwrap();
    assert_eq!(
        (status, answer.status, answer.applied, answer.needed),
        (200, CommandStatus::Effective, 2, 2)
    );
    assert_eq!(answer.holders, ["fra", "gru"]);
    assert!(all[1].service().writer.state().is_revoked("tokyo-7"));
    // The third comes back and hears of it without being told.
    let mut config = rig.config(2, rig.open_store(2));
    config.links = None;
    let third = Server::start(config).await.unwrap();
    let mut changes = third.service().writer.changes();
    while !third.service().writer.state().is_revoked("tokyo-7") {
        changes.changed().await.unwrap();
    }
    for running in all.into_iter().chain([third]) {
        running.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_a_revocation_is_pending_and_in_force_here() {
    let (rig, mut all) = three().await;
    all.remove(2).shutdown().await;
    all.remove(1).shutdown().await;
    let envelope = rig.command(NODE, 1, Order::RevokeNode {});
    let (status, answer) = order(&rig, 0, &envelope).await;
    let answer: CommandsAnswer = serde_json::from_slice(&answer).unwrap();
    assert_eq!(
        (status, answer.status, answer.applied, answer.needed),
        (202, CommandStatus::Pending, 1, 2)
    );
    assert!(all[0].service().writer.state().is_revoked("tokyo-7"));
    // Sent again when a peer is back, it becomes effective.
    let mut config = rig.config(1, rig.open_store(1));
    config.links = None;
    all.push(Server::start(config).await.unwrap());
    let (status, answer) = order(&rig, 0, &envelope).await;
    let answer: CommandsAnswer = serde_json::from_slice(&answer).unwrap();
    assert_eq!((status, answer.status), (200, CommandStatus::Effective));
    assert_eq!(answer.holders, ["fra", "gru"]);
    for running in all {
        running.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_peers_have_in_force_is_taken_from_a_removed_administrator() {
    let rig = Rig::new(3, 2);
    let group = rig.deal("default", false);
    let late = "node:late";
    let admit = rig.command_by(
        late,
        1,
        Order::AdmitNode(rig.admission()),
        &[&rig.alice.key],
    );
    let (spki, role) = (rig.alice.key.spki().into(), None);
    let removal = rig.command("operator:alice", 1, Order::Role { spki, role });
    // Nobody hears of the others at first.
    for (at, envelope) in [&removal, &admit, &admit].into_iter().enumerate() {
        let running = rig.start(at, &group).await;
        let writer = &running.service().writer;
        assert_eq!(rig.apply(writer, envelope, at).await, APPLIED);
        running.shutdown().await;
    }
    let mut all = Vec::new();
    for at in 0..3 {
        let mut config = rig.config(at, rig.open_store(at));
        config.links = None;
        all.push(Server::start(config).await.unwrap());
    }
    for running in &all {
        let mut changes = running.service().writer.changes();
        let is_level = || {
            let state = running.service().writer.state();
            state.nodes().contains_key("late") && !state.operators().contains_key("alice")
        };
        while !is_level() {
            changes.changed().await.unwrap();
        }
    }
    for running in all {
        running.shutdown().await;
    }
    // What was taken verifies again.
    let again = Server::start(rig.config(0, rig.open_store(0)))
        .await
        .unwrap();
    let state = again.service().writer.state();
    assert!(state.nodes().contains_key("late"));
    again.shutdown().await;
}

/// A way on which commands go out and none come in.
#[derive(Debug)]
struct Outward(HttpLink);

impl Link for Outward {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn push<'a>(
        &'a self,
        request: &'a CommandsRequest,
    ) -> BoxFuture<'a, Result<CommandsAnswer, LinkError>> {
        self.0.push(request)
    }

    fn pull(&self, _: u64) -> BoxFuture<'_, Result<CommandsPage, LinkError>> {
        Box::pin(async { Err(LinkError::Malformed) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_lags_behind_waits_for_those_whom_its_peers_know_to_be_needed() {
    // One holder is enough to open: a revocation is in force when all four have it.
    let rig = Rig::new(4, 1);
    let group = rig.deal("default", false);
    let mut config = rig.config(0, rig.open_store(0));
    let links = rig.holders.iter().skip(1).map(|peer| {
        let credential = config.credential.clone();
        let link = HttpLink::new(&peer.descriptor, credential, rig.clock.clock()).unwrap();
        Arc::new(Outward(link)) as Arc<dyn Link>
    });
    config.links = Some(links.collect());
    let lagging = Server::start(config).await.unwrap();
    let first = rig.start(1, &group).await;
    let revoke = rig.command_by(NODE, 1, Order::RevokeNode {}, &[&rig.alice.key]);
    let (status, body) = order(&rig, 0, &revoke).await;
    let answer: CommandsAnswer = serde_json::from_slice(&body).unwrap();
    // It knows of no key itself, and without one two of four would do.
    assert!(lagging.service().writer.state().keys().is_empty());
    assert_eq!(
        (status, answer.status, answer.applied, answer.needed),
        (202, CommandStatus::Pending, 2, 4)
    );
    let others = [rig.start(2, &group).await, rig.start(3, &group).await];
    let (status, body) = order(&rig, 0, &revoke).await;
    let answer: CommandsAnswer = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, answer.applied, answer.needed), (200, 4, 4));
    for running in [lagging, first].into_iter().chain(others) {
        running.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protected_key_is_disabled_and_never_deleted_whoever_brings_the_order() {
    let rig = Rig::new(3, 2);
    let group = rig.deal("default", false);
    let running = rig.start(0, &group).await;
    let writer = &running.service().writer;
    let group = rig.deal("kept", false);
    let plan = KeyPlan {
        deletion_protection: true,
        ..rig.plan(false)
    };
    let deletion = Order::ScheduleDeletion { days: 7 };
    for (version, order) in [
        (1, Order::CreateKey(plan)),
        (1, rig.descriptor(&group)),
        (1, deletion),
        // A plan that leaves epochs out begins no rotation.
        (
            1,
            Order::CreateKey(KeyPlan {
                epoch: 7,
                ..rig.plan(false)
            }),
        ),
    ] {
        let envelope = rig.command("key:kept", version, order);
        assert_eq!(rig.apply(writer, &envelope, 0).await, APPLIED);
    }
    let state = writer.state();
    let later = NOW + 40 * 24 * 60 * 60 * 1000;
    for now_ms in [NOW, later] {
        assert_eq!(state.keys()["kept"].state(now_ms), KeyState::Disabled);
    }
    let enable = rig.command("key:kept", 2, Order::EnableKey {});
    rig.clock.set(later);
    assert_eq!(rig.apply(writer, &enable, 0).await, APPLIED);
    assert_eq!(
        writer.state().keys()["kept"].state(later),
        KeyState::Enabled
    );
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_an_administrator_for_a_while_is_still_known_after_a_restart() {
    let (rig, running) = one().await;
    let carol = SigningKey::generate().unwrap();
    let role = |version, role: Option<&str>| {
        let spki = carol.spki().into();
        let role = role.map(str::to_owned);
        rig.command("operator:carol", version, Order::Role { spki, role })
    };
    let writer = &running.service().writer;
    // The removal is heard of first.
    assert_eq!(rig.apply(writer, &role(2, None), 0).await, APPLIED);
    let appointed = role(1, Some("SecurityAdmin"));
    let before = writer.state().commands().len();
    for _ in 0..2 {
        assert_eq!(rig.apply(writer, &appointed, 0).await, Ok(Applied::Older));
        assert_eq!(writer.state().commands().len(), before + 1);
    }
    assert!(writer.state().operators().get("carol").is_none());
    running.shutdown().await;
    let running = Server::start(rig.config(0, rig.open_store(0)))
        .await
        .unwrap();
    let state = running.service().writer.state();
    assert_eq!(state.commands().len(), before + 1);
    assert!(state.operators().get("carol").is_none());
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_are_told_what_is_wrong_and_no_more() {
    let (rig, running) = one().await;
    let refused = async |envelope: Octets| {
        let (status, body) = order(&rig, 0, &envelope).await;
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let members: BTreeSet<&String> = body.as_object().unwrap().keys().collect();
        assert_eq!(
            members,
            BTreeSet::from([&"code".to_owned(), &"request_id".to_owned()])
        );
        (
            status,
            serde_json::from_value::<ErrorBody>(body).unwrap().code,
        )
    };
    let alone = rig.command_by(
        "policy",
        2,
        Order::Policy { set: rig.policy() },
        &[&rig.alice.key],
    );
    assert_eq!(refused(alone).await, (403, Code::Forbidden));
    let newer = rig.command("policy", 2, Order::Policy { set: rig.policy() });
    assert_eq!(order(&rig, 0, &newer).await.0, 202);
    let stale = rig.command("policy", 1, Order::Policy { set: rig.policy() });
    assert_eq!(refused(stale).await, (409, Code::VersionConflict));
    let missing = rig.command("key:nothing", 1, Order::DisableKey {});
    assert_eq!(refused(missing).await, (404, Code::KeyNotFound));
    let cancel = rig.command("key:default", 9, Order::CancelDeletion {});
    assert_eq!(refused(cancel).await, (409, Code::InvalidState));
    assert_eq!(
        refused(Octets(b"{}".to_vec())).await,
        (400, Code::BadRequest)
    );
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn states_of_a_key_follow_its_commands() {
    let (rig, running) = one().await;
    let client = rig.operator_http(0, &rig.alice);
    let state = async || {
        let answer = client
            .get(rig.url(0, "/v1/keys/default"))
            .send()
            .await
            .unwrap();
        let answer: KeyAnswer = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        answer.state
    };
    assert_eq!(state().await, "Enabled");
    let steps = [
        (Order::DisableKey {}, "Disabled"),
        (Order::EnableKey {}, "Enabled"),
        (Order::ScheduleDeletion { days: 7 }, "PendingDeletion"),
        (Order::CancelDeletion {}, "Disabled"),
        (Order::ScheduleDeletion { days: 7 }, "PendingDeletion"),
    ];
    for ((step, expected), version) in steps.into_iter().zip(1..) {
        // No peer is there: whatever it is, it is in force here at once.
        let (status, _) = order(&rig, 0, &rig.command("key:default", version, step)).await;
        assert_eq!(status, 202);
        assert_eq!(state().await, expected);
    }
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_read_by_holders_and_operators_in_order() {
    let (rig, running) = one().await;
    let client = rig.operator_http(0, &rig.bob);
    let page = async |since: u64, limit: usize| {
        let url = rig.url(0, &format!("/v1/commands?since={since}&limit={limit}"));
        let answer = client.get(url).send().await.unwrap();
        serde_json::from_slice::<CommandsPage>(&answer.bytes().await.unwrap()).unwrap()
    };
    let all = page(0, 100).await;
    assert_eq!((all.next, all.commands.len()), (4, 4));
    let some = page(1, 2).await;
    assert_eq!((some.next, &some.commands[..]), (3, &all.commands[1..3]));
    let none = page(4, 100).await;
    assert_eq!((none.next, none.commands.len()), (4, 0));
    let beyond = page(99, 100).await;
    assert_eq!((beyond.next, beyond.commands.len()), (4, 0));
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_is_known_by_the_registered_key_alone() {
    let (rig, running) = one().await;
    let mallory = SigningKey::generate().unwrap();
    let chain = certificate::operator(
        "alice",
        &mallory,
        Validity::from(rig.clock.now() / 1000, 3600),
    )
    .unwrap();
    let client = rig.http(0, &chain, &mallory);
    let failed = client
        .get(rig.url(0, "/v1/commands"))
        .send()
        .await
        .unwrap_err();
    assert!(failed.is_connect() || failed.is_request());
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_brings_the_same_refused_command_again_fills_no_record() {
    let (rig, running) = one().await;
    let writer = &running.service().writer;
    let revoke = rig.command(NODE, 2, Order::RevokeNode {});
    assert_eq!(rig.apply(writer, &revoke, 0).await, APPLIED);
    let rows = || rig.open_store(0).audit_len().unwrap();
    let before = rows();
    let older = rig.command(NODE, 1, Order::UnrevokeNode {});
    let unapproved = rig.command_by(NODE, 3, Order::UnrevokeNode {}, &[&rig.alice.key]);
    for _ in 0..3 {
        for envelope in [&older, &unapproved] {
            let checked = check(&writer.state(), &envelope.0).unwrap();
            let vault = Arc::clone(&rig.holders[0].vault);
            let refused = writer
                .transact(move |transaction| apply(transaction, &checked, &*vault, "holder:gru"))
                .await
                .unwrap();
            assert_ne!(refused, APPLIED);
        }
    }
    assert_eq!(rows(), before + 2);
    assert!(writer.state().is_revoked("tokyo-7"));
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_administrator_changes_no_plan_that_is_in_force() {
    let (rig, running) = one().await;
    let writer = &running.service().writer;
    let facts =
        |epoch| writer.state().keys()["default"].facts_of("default", epoch, rig.clock.now());
    let before = facts(1);
    let anew = |version, epoch| {
        let plan = KeyPlan {
            epoch,
            unbound: true,
            residency: vec!["BR".to_owned()],
            ..rig.plan(false)
        };
        rig.command_by(
            "key:default",
            version,
            Order::CreateKey(plan),
            &[&rig.alice.key],
        )
    };
    assert_eq!(rig.apply(writer, &anew(2, 1), 0).await, APPLIED);
    assert_eq!(facts(1), before);
    assert_eq!(rig.apply(writer, &anew(1, 2), 0).await, APPLIED);
    assert_eq!(
        KeyFacts {
            state: KeyState::Enabled,
            ..facts(1)
        },
        before
    );
    assert_eq!(facts(2).residency, ["BR"]);
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_uses_up_the_versions_of_a_register() {
    let (rig, running) = one().await;
    let writer = &running.service().writer;
    let last = rig.command_by(NODE, u64::MAX, Order::RevokeNode {}, &[&rig.alice.key]);
    assert_eq!(
        code(rig.apply(writer, &last, 0).await),
        Code::VersionConflict
    );
    assert!(!writer.state().is_revoked("tokyo-7"));
    assert_eq!(
        rig.apply(writer, &rig.command(NODE, 1 << 32, Order::RevokeNode {}), 0)
            .await,
        APPLIED
    );
    assert_eq!(
        rig.apply(
            writer,
            &rig.command(NODE, (1 << 32) + 1, Order::UnrevokeNode {}),
            0
        )
        .await,
        APPLIED
    );
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_checked_before_a_role_changed_is_checked_again() {
    let (rig, running) = one().await;
    let writer = &running.service().writer;
    let carol = SigningKey::generate().unwrap();
    let role = |name: &str| {
        let role = Order::Role {
            spki: carol.spki().into(),
            role: Some("SecurityAdmin".to_owned()),
        };
        rig.command(&format!("operator:{name}"), 1, role)
    };
    // Both were checked when nobody had the key: one of them only may have it.
    let (first, second) = (role("carol"), role("dave"));
    let vault = Arc::clone(&rig.holders[0].vault);
    let checked = [&first, &second].map(|envelope| check(&writer.state(), &envelope.0).unwrap());
    let applied = writer.transact(move |transaction| {
        checked.map(|checked| apply(transaction, &checked, &*vault, "operator:alice"))
    });
    let [first, second] = applied.await.unwrap();
    assert_eq!(first, APPLIED);
    assert_eq!(code(second), Code::BadRequest);
    running.shutdown().await;
}
