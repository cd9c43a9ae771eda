//! The suites whose wraps hold a share for each holder: what a holder refuses, and what opens over the network.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use sealift_holder::client::http::Clients;
use sealift_holder::client::release::{Element, Options, ReleaseError, Released, Releaser};
use sealift_holder::command::Order;
use sealift_holder::deployment::{self, Holder, Key};
use sealift_holder::keys::SigningKey;
use sealift_holder::request::read_receipt;
use sealift_holder::server::release::{leaf_hash, release};
use sealift_holder::server::state::Applied;
use sealift_holder::server::{Running, audit, commands};
use sealift_holder::tls::Credential;
use sealift_holder::wire::{Code, PartialsAnswer, WrapAnswer};
use sealift_threshold::{
    Answer, GroupKey, HolderId, ReplyContext, SealedReply, Suite, Wrap, WrapShare,
};

use crate::rig::{Rig, rng};

const SUITES: [Suite; 2] = [Suite::Hybrid, Suite::SssXwing];
const SECRET: &[u8] = b"the key of one layer";

struct Site {
    rig: Rig,
    group: GroupKey,
    running: Vec<Running>,
}

impl Site {
    /// Starts the first `count` of three holders, two of which open.
    async fn new(suite: Suite, count: usize) -> Self {
        let rig = Rig::new(3, 2);
        let group = rig.deal_as("default", suite, false);
        Self::start(rig, group, count).await
    }

    async fn start(rig: Rig, group: GroupKey, count: usize) -> Self {
        let mut running = Vec::new();
        for at in 0..count {
            running.push(rig.start(at, &group).await);
        }
        Self {
            rig,
            group,
            running,
        }
    }

    fn wrap(&self) -> Wrap {
        let label = self.rig.label(&self.group);
        self.group.wrap(&label, SECRET, &rng()).unwrap()
    }

    /// Asks the holder at `at` as a request over the network does, past TLS.
    async fn ask(&self, at: usize, wrap: &Wrap) -> Result<PartialsAnswer, Code> {
        let (body, _) = self.rig.ask(&self.group, &[wrap]);
        let (service, caller) = (Arc::clone(self.running[at].service()), self.rig.caller());
        let src = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let asked =
            tokio::task::spawn_blocking(move || release(&service, &caller, src, "default", &body));
        asked.await.unwrap().map_err(|denied| denied.code)
    }

    /// The reason in the newest audit row of a holder, with the event.
    fn last(&self, at: usize) -> (String, String) {
        let rows = audit::rows(&*self.running[at].service().store, 0, usize::MAX).unwrap();
        let row = rows.into_iter().next_back().unwrap();
        (row.event, row.reason)
    }

    fn released(&self) -> usize {
        let rows = |running: &Running| {
            let rows = audit::rows(&*running.service().store, 0, usize::MAX).unwrap();
            rows.iter().filter(|row| row.event == "release").count()
        };
        self.running.iter().map(rows).sum()
    }

    /// Opens over the network, as a node does.
    async fn open(&self, wrap: &Wrap) -> Released {
        let holders = self.rig.holders.iter().map(|holder| Holder {
            name: holder.descriptor.name.clone(),
            url: holder.descriptor.url.clone(),
            jurisdiction: holder.descriptor.jurisdiction.clone(),
            ca: holder.descriptor.ca.clone(),
            descriptor: Some(holder.descriptor.clone()),
        });
        let deployment = deployment::Deployment {
            id: None,
            default_key: None,
            administrators: self.rig.deployment(0).administrators,
            holders: holders.collect(),
            keys: vec![Key {
                id: "default".to_owned(),
                descriptor: self.group.to_json(),
            }],
            client: None,
        };
        let credential = Credential::new(&self.rig.node_chain(), &self.rig.node.key).unwrap();
        let clock = self.rig.clock.clock();
        let clients = Clients::new(&deployment.holders, Some(&credential), &clock).unwrap();
        let key = SigningKey::from_pkcs8(self.rig.node.key.expose_pkcs8()).unwrap();
        let releaser = Releaser::new(
            Arc::new(clients),
            &deployment,
            Arc::new(key),
            Options::default(),
            clock,
        )
        .unwrap();
        releaser.set_posture(Some(self.rig.signed_posture(&self.rig.posture())));
        let element = Element::Wrap(Box::new(wrap.clone()));
        releaser.open(&self.group, vec![element]).await
    }

    async fn stop(self) {
        for running in self.running {
            running.shutdown().await;
        }
    }
}

/// Changes octets of a wrap that still is one.
fn altered(wrap: &Wrap, alter: impl FnOnce(&mut Vec<u8>)) -> Wrap {
    let mut octets = wrap.as_bytes().to_vec();
    alter(&mut octets);
    Wrap::parse(&octets).unwrap()
}

/// Where the first entry of the share list begins.
fn entries(wrap: &Wrap) -> usize {
    let octets = wrap.as_bytes();
    let label = usize::from(u16::from_be_bytes([octets[5], octets[6]]));
    let elements = if wrap.suite() == Suite::Hybrid {
        2 * 33 + 2 * 32
    } else {
        0
    };
    7 + label + elements + 1
}

const ENTRY_LEN: usize = 1206;

#[tokio::test(flavor = "multi_thread")]
async fn two_of_three_open_over_the_network_and_one_may_be_down() {
    for suite in SUITES {
        let site = Site::new(suite, 3).await;
        let wrap = site.wrap();
        let released = site.open(&wrap).await;
        assert_eq!(released.secrets[0].as_ref().unwrap().expose(), SECRET);
        assert_eq!(released.accusations, []);
        assert_eq!(site.released(), 2);
        site.stop().await;

        let site = Site::new(suite, 2).await;
        let released = site.open(&site.wrap()).await;
        assert_eq!(released.secrets[0].as_ref().unwrap().expose(), SECRET);
        site.stop().await;

        let site = Site::new(suite, 1).await;
        let released = site.open(&site.wrap()).await;
        assert!(matches!(
            released.secrets[0],
            Err(ReleaseError::QuorumUnavailable {
                reached: 1,
                needed: 2,
                ..
            })
        ));
        site.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_holds_all_that_the_suite_demands_and_the_receipt_vouches_for_it() {
    for (suite, len) in [(Suite::Hybrid, 105 + 32), (Suite::SssXwing, 39)] {
        let site = Site::new(suite, 1).await;
        let wrap = site.wrap();
        let (body, reply) = site.rig.ask(&site.group, &[&wrap]);
        let hash = leaf_hash(&body.request.0);
        let sent = site.rig.node_http(0);
        let sent = sent.post(site.rig.url(0, "/v1/keys/default/partials"));
        let sent = sent.body(serde_json::to_vec(&body).unwrap());
        let octets = sent.send().await.unwrap().bytes().await.unwrap();
        let answer: PartialsAnswer = serde_json::from_slice(&octets).unwrap();
        let [WrapAnswer::Sealed { enc, ct, .. }] = &answer.answers[..] else {
            panic!("{answer:?}");
        };
        let context = ReplyContext {
            request_hash: hash,
            wrap_digest: wrap.digest(),
            holder: HolderId::new(1).unwrap(),
            epoch: 1,
        };
        let sealed = SealedReply {
            enc: enc.0.clone(),
            ct: ct.0.clone(),
        };
        let opened = reply.open(&sealed, &context).unwrap();
        assert_eq!(opened.len(), len);
        let opened = Answer::parse(suite, &opened).unwrap();
        let receipt = read_receipt(&answer.receipt.0, site.rig.holders[0].signer.public());
        assert_eq!(
            receipt.unwrap().releases[0].partial_digest,
            Some(opened.digest().as_slice().into())
        );
        site.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrap_under_another_label_or_with_swapped_entries_is_refused() {
    for suite in SUITES {
        let site = Site::new(suite, 1).await;
        let wrap = site.wrap();
        let relabelled = altered(&wrap, |octets| {
            let repo = b"registry.example/app";
            let mut windows = octets.windows(repo.len());
            let at = windows.position(|window| window == repo).unwrap();
            octets[at] = b's';
        });
        // The sealed share of the second holder in the place of the first one's.
        let swapped = altered(&wrap, |octets| {
            let first = entries(&wrap) + 34;
            let (low, high) = octets.split_at_mut(first + ENTRY_LEN - 34);
            low[first..].swap_with_slice(&mut high[34..ENTRY_LEN]);
        });
        let expected = match suite {
            Suite::Hybrid => "wrap_proof_invalid",
            _ => "share_open_failed",
        };
        for wrong in [relabelled, swapped] {
            assert_eq!(site.ask(0, &wrong).await.unwrap_err(), Code::ProofInvalid);
            let (event, reason) = site.last(0);
            assert_eq!(event, "refusal");
            assert!(reason.contains(expected), "{reason}");
        }
        assert_eq!(site.released(), 0);
        site.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_that_its_encryptor_did_not_commit_to_names_the_encryptor() {
    let site = Site::new(Suite::SssXwing, 1).await;
    let wrap = site.wrap();
    let wrong = altered(&wrap, |octets| octets[entries(&wrap) + 2] ^= 1);
    assert_eq!(site.ask(0, &wrong).await.unwrap_err(), Code::ProofInvalid);
    let (_, reason) = site.last(0);
    assert!(reason.contains("share_commitment_mismatch"), "{reason}");
    assert!(reason.contains("encryptor"), "{reason}");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wraps_of_another_suite_or_key_are_refused() {
    for suite in SUITES {
        let site = Site::new(suite, 1).await;
        for other in [Suite::Tdh2, Suite::Hybrid, Suite::SssXwing] {
            // Under the same name and epoch: the suite, or the holders' keys, tell them apart.
            let foreign = Rig::new(3, 2).deal_as("default", other, false);
            let label = site.rig.label(&foreign);
            let wrap = foreign.wrap(&label, SECRET, &rng()).unwrap();
            let expected = if other == suite {
                Code::ProofInvalid
            } else {
                Code::LabelMismatch
            };
            assert_eq!(site.ask(0, &wrap).await.unwrap_err(), expected, "{other}");
        }
        assert_eq!(site.released(), 0);
        site.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_and_key_state_decide_on_these_wraps_too() {
    for suite in SUITES {
        let site = Site::new(suite, 1).await;
        let wrap = site.wrap();
        let apply = async |subject: &str, version, order| {
            let envelope = site.rig.command(subject, version, order);
            let writer = &site.running[0].service().writer;
            let applied = site.rig.apply(writer, &envelope, 0).await;
            assert_eq!(applied, Ok(Applied::Applied { instead_of: None }));
        };
        apply("key:default", 1, Order::DisableKey {}).await;
        assert_eq!(site.ask(0, &wrap).await.unwrap_err(), Code::KeyDisabled);
        apply("key:default", 2, Order::EnableKey {}).await;
        site.ask(0, &wrap).await.unwrap();
        apply("node:tokyo-7", 1, Order::RevokeNode {}).await;
        assert_eq!(site.ask(0, &wrap).await.unwrap_err(), Code::Forbidden);
        assert_eq!(site.released(), 1);
        site.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_lost_what_it_kept_says_so() {
    for suite in SUITES {
        let rig = Rig::new(3, 2);
        let group = rig.deal_as("default", suite, false);
        rig.holders[0].vault.dealt.lock().unwrap().clear();
        let site = Site::start(rig, group, 1).await;
        let wrap = site.wrap();
        assert_eq!(
            site.ask(0, &wrap).await.unwrap_err(),
            Code::StoreUnavailable
        );
        site.stop().await;
    }
}

/// A holder whose half of the scalar is false answers with a proof that fails, and is named; the others open.
#[tokio::test(flavor = "multi_thread")]
async fn a_holder_with_a_false_half_is_named_and_the_others_open() {
    let rig = Rig::new(3, 2);
    let group = rig.deal_as("default", Suite::Hybrid, false);
    {
        let mut dealt = rig.holders[0].vault.dealt.lock().unwrap();
        let (_, octets) = dealt.get_mut(&commands::share_id(&group)).unwrap();
        octets[32] ^= 1;
    }
    let site = Site::start(rig, group, 3).await;
    let wrap = site.wrap();
    let mut named = 0;
    for _ in 0..8 {
        let released = site.open(&wrap).await;
        assert_eq!(released.secrets[0].as_ref().unwrap().expose(), SECRET);
        for accusation in &released.accusations {
            assert_eq!(accusation.holder, "fra");
            assert_eq!(accusation.wrap_digest, wrap.digest());
            let receipt = read_receipt(&accusation.receipt.0, site.rig.holders[0].signer.public());
            let lie = Answer::parse(Suite::Hybrid, &accusation.partial).unwrap();
            assert_eq!(
                receipt.unwrap().releases[0].partial_digest,
                Some(lie.digest().as_slice().into())
            );
            named += 1;
        }
    }
    // Nobody knows distances at first, so the first holder of the descriptor is asked each time.
    assert_eq!(named, 8);
    site.stop().await;
}

/// Otherwise two administrators alone could have images of the future sealed to keys that no holder of the present has.
#[tokio::test(flavor = "multi_thread")]
async fn a_descriptor_with_other_keys_of_holders_does_not_continue_the_one_in_force() {
    let site = Site::new(Suite::SssXwing, 1).await;
    let other = site.rig.deal_as("default", Suite::SssXwing, false);
    let envelope = site
        .rig
        .command("key:default", 2, site.rig.descriptor(&other));
    let writer = &site.running[0].service().writer;
    let refused = site.rig.apply(writer, &envelope, 0).await.unwrap_err();
    assert_eq!(refused.code, Code::ProofInvalid);
    assert!(refused.reason.contains("does not continue"), "{refused:?}");
    site.stop().await;
}

/// An opened share is as silent as other secrets.
#[test]
fn shares_do_not_show_in_debug_output() {
    let rig = Rig::new(3, 2);
    let group = rig.deal_as("default", Suite::SssXwing, false);
    let kept = sealift_holder::server::vault::ShareVault::get(
        &*rig.holders[0].vault,
        &commands::share_id(&group),
    )
    .unwrap()
    .unwrap();
    assert_eq!(format!("{kept:?}"), "KeyShare(holder 1, ..)");
    let wrap = group.wrap(&rig.label(&group), SECRET, &rng()).unwrap();
    let checked = group.check_sss(&wrap).unwrap();
    let share: WrapShare = checked
        .open_share(kept.index(), kept.key().unwrap())
        .unwrap();
    assert_eq!(format!("{share:?}"), "WrapShare(holder 1, ..)");
}
