//! What the agent keeps, and when it lets go.

use std::sync::Arc;
use std::time::Duration;

use sealift_agent::protocol::{Refusal, Secret};
use sealift_agent::server::{Leases, Resident, Standing, WrapId};
use sealift_holder::command::Order;
use sealift_keywrap::LayerSecret;
use tokio::sync::Notify;
use zeroize::Zeroizing;

use crate::support::{Clock, Holders, command, denied, resident, subject, wrap};

async fn ask(agent: &Arc<Resident>, key_id: &str, layer: u8) -> Result<String, Refusal> {
    let secret = agent
        .unwrap(wrap(key_id, layer), Some(&subject(layer)), vec![])
        .await;
    text(secret)
}

fn text(secret: Result<Secret, Refusal>) -> Result<String, Refusal> {
    secret.map(|secret| String::from_utf8(secret.0.to_vec()).unwrap())
}

#[tokio::test]
async fn an_image_is_asked_for_once() {
    let (holders, clock) = (Arc::new(Holders::default()), Clock::default());
    let agent = resident(&holders, &clock, 600);
    let siblings = vec![wrap("k", 2), wrap("k", 3), wrap("k", 2), wrap("k", 1)];
    let secret = agent
        .unwrap(wrap("k", 1), Some(&subject(1)), siblings)
        .await;
    assert_eq!(text(secret), Ok("secret 1".into()));
    for layer in [1, 2, 3, 2] {
        assert_eq!(ask(&agent, "k", layer).await, Ok(format!("secret {layer}")));
    }
    assert_eq!(holders.asked(), [3]);
    assert_eq!(agent.status().leases, 3);
}

#[tokio::test]
async fn those_who_come_meanwhile_wait_for_the_same_answer() {
    let gate = Arc::new(Notify::new());
    let holders = Arc::new(Holders {
        gate: Some(Arc::clone(&gate)),
        ..Holders::default()
    });
    let agent = resident(&holders, &Clock::default(), 600);
    let first = tokio::spawn({
        let agent = Arc::clone(&agent);
        async move {
            text(
                agent
                    .unwrap(wrap("k", 1), Some(&subject(1)), vec![wrap("k", 2)])
                    .await,
            )
        }
    });
    holders.came.notified().await;
    let second = ask(&agent, "k", 2);
    let open = async {
        gate.notify_one();
        first.await.unwrap()
    };
    let (second, first) = tokio::join!(second, open);
    assert_eq!(
        (first, second),
        (Ok("secret 1".into()), Ok("secret 2".into()))
    );
    assert_eq!(holders.asked(), [2]);
}

#[tokio::test]
async fn a_refusal_of_one_element_does_not_fail_the_others() {
    let holders = Arc::new(Holders::default());
    holders.refusals.lock().unwrap().push_back(denied());
    let agent = resident(&holders, &Clock::default(), 600);
    let refused = agent
        .unwrap(wrap("k", 1), Some(&subject(1)), vec![wrap("k", 2)])
        .await;
    assert_eq!(text(refused), Err(denied()));
    assert_eq!(ask(&agent, "k", 2).await, Ok("secret 2".into()));
    assert_eq!(holders.asked(), [2]);
    // A refusal is not remembered: policy may have changed.
    assert_eq!(ask(&agent, "k", 1).await, Ok("secret 1".into()));
}

#[tokio::test]
async fn a_lease_ends_by_the_shorter_of_both_limits_counted_from_the_request() {
    for (configured, granted) in [(600, 60), (60, 600)] {
        let gate = Arc::new(Notify::new());
        let holders = Arc::new(Holders {
            lease: Some(Duration::from_secs(granted)),
            gate: Some(Arc::clone(&gate)),
            ..Holders::default()
        });
        let clock = Clock::default();
        clock.set(100);
        let agent = resident(&holders, &clock, configured);
        let late = async {
            holders.came.notified().await;
            clock.set(110);
            gate.notify_one();
        };
        let (first, ()) = tokio::join!(ask(&agent, "k", 1), late);
        assert_eq!(first, Ok("secret 1".into()));
        clock.set(159);
        assert_eq!(ask(&agent, "k", 1).await, Ok("secret 1".into()));
        assert_eq!((holders.asked().len(), agent.status().leases), (1, 1));
        clock.set(160);
        agent.tend();
        assert_eq!(agent.status().leases, 0);
        gate.notify_one();
        assert_eq!(ask(&agent, "k", 1).await, Ok("secret 1".into()));
        assert_eq!(holders.asked().len(), 2);
    }
}

#[tokio::test]
async fn an_answer_that_outlives_its_lease_is_not_used() {
    let gate = Arc::new(Notify::new());
    let holders = Arc::new(Holders {
        gate: Some(Arc::clone(&gate)),
        ..Holders::default()
    });
    let clock = Clock::default();
    let agent = resident(&holders, &clock, 60);
    let late = async {
        holders.came.notified().await;
        clock.set(60);
        gate.notify_one();
    };
    let (refused, ()) = tokio::join!(ask(&agent, "k", 1), late);
    let reason = "the lease ended before the answer came".into();
    assert_eq!(refused, Err(Refusal::Unavailable { reason }));
    assert_eq!(agent.status().leases, 0);
}

#[tokio::test]
async fn without_leases_nothing_is_kept_and_nothing_fetched_ahead() {
    let holders = Arc::new(Holders::default());
    let agent = resident(&holders, &Clock::default(), 0);
    assert_eq!(agent.prefetch(vec![wrap("k", 1)]), 0);
    for _ in 0..2 {
        let secret = agent
            .unwrap(wrap("k", 1), Some(&subject(1)), vec![wrap("k", 2)])
            .await;
        assert_eq!(text(secret), Ok("secret 1".into()));
    }
    assert_eq!(holders.asked(), [1, 1]);
    assert_eq!(agent.status().leases, 0);
}

#[tokio::test]
async fn a_label_must_name_the_layer_before_anybody_is_asked() {
    let holders = Arc::new(Holders::default());
    let agent = resident(&holders, &Clock::default(), 600);
    for wrong in [None, Some(subject(2))] {
        let refused = agent.unwrap(wrap("k", 1), wrong.as_deref(), vec![]).await;
        let Err(Refusal::Malformed { reason }) = text(refused) else {
            panic!("not refused");
        };
        assert!(reason.contains("label"), "{reason}");
    }
    assert_eq!(holders.asked(), [0; 0]);
}

#[tokio::test]
async fn a_revoked_node_has_nothing_and_gets_nothing_until_the_revocation_is_taken_back() {
    let holders = Arc::new(Holders::default());
    let agent = resident(&holders, &Clock::default(), 600);
    assert_eq!(ask(&agent, "k", 1).await, Ok("secret 1".into()));
    agent.apply(&command("node:tokyo-8", 9, Order::RevokeNode {}), "fra");
    assert_eq!(agent.status().leases, 1);
    agent.apply(&command("node:tokyo-7", 3, Order::RevokeNode {}), "fra");
    let status = agent.status();
    assert_eq!((status.leases, status.revoked), (0, true));
    assert_eq!(ask(&agent, "k", 1).await, Err(denied()));
    assert_eq!(holders.asked(), [1]);
    // Older, or as old: the more restrictive stands.
    for version in [2, 3] {
        agent.apply(
            &command("node:tokyo-7", version, Order::UnrevokeNode {}),
            "gru",
        );
        assert_eq!(ask(&agent, "k", 1).await, Err(denied()));
    }
    agent.apply(&command("node:tokyo-7", 4, Order::UnrevokeNode {}), "gru");
    assert_eq!(ask(&agent, "k", 1).await, Ok("secret 1".into()));
}

#[tokio::test]
async fn a_revocation_reaches_an_answer_under_way() {
    let gate = Arc::new(Notify::new());
    let holders = Arc::new(Holders {
        gate: Some(Arc::clone(&gate)),
        ..Holders::default()
    });
    let agent = resident(&holders, &Clock::default(), 600);
    let revoke = async {
        holders.came.notified().await;
        agent.apply(&command("node:tokyo-7", 1, Order::RevokeNode {}), "fra");
        gate.notify_one();
    };
    let (refused, ()) = tokio::join!(ask(&agent, "k", 1), revoke);
    assert_eq!(refused, Err(denied()));
    assert_eq!(agent.status().leases, 0);
}

#[tokio::test]
async fn a_closed_key_is_wiped_and_the_others_stay() {
    let by_gru = |code: &str| {
        Err(Refusal::Denied {
            by: "gru".into(),
            code: code.into(),
        })
    };
    for (order, code, reopened) in [
        (
            Order::DisableKey {},
            "KeyDisabled",
            Some(Order::EnableKey {}),
        ),
        (Order::ScheduleDeletion { days: 7 }, "KeyDisabled", None),
        (Order::SetMinEpoch { epoch: 2 }, "InvalidState", None),
    ] {
        let holders = Arc::new(Holders::default());
        let agent = resident(&holders, &Clock::default(), 600);
        for key_id in ["k", "other"] {
            assert_eq!(ask(&agent, key_id, 1).await, Ok("secret 1".into()));
        }
        agent.apply(&command("key:k", 1, order), "gru");
        assert_eq!(agent.status().leases, 1);
        assert_eq!(ask(&agent, "k", 1).await, by_gru(code));
        assert_eq!(ask(&agent, "other", 1).await, Ok("secret 1".into()));
        assert_eq!(holders.asked(), [1, 1]);
        // A cancelled deletion leaves it closed.
        agent.apply(&command("key:k", 2, Order::CancelDeletion {}), "gru");
        assert_eq!(agent.status().disabled_keys, ["k"]);
        if let Some(order) = reopened {
            agent.apply(&command("key:k", 3, order), "gru");
            assert_eq!(ask(&agent, "k", 1).await, Ok("secret 1".into()));
        }
    }
}

#[tokio::test]
async fn without_enough_feeds_for_longer_than_the_lease_everything_is_wiped() {
    let (holders, clock) = (Arc::new(Holders::default()), Clock::default());
    let agent = resident(&holders, &clock, 600);
    clock.set(1000);
    agent.heard("fra");
    agent.heard("gru");
    clock.set(1500);
    assert_eq!(ask(&agent, "k", 1).await, Ok("secret 1".into()));
    // One feed is not enough, whoever else claims to be one.
    agent.heard("fra");
    agent.heard("xyz");
    clock.set(1600);
    agent.tend();
    assert_eq!(agent.status().leases, 1);
    clock.set(1601);
    agent.tend();
    assert_eq!(agent.status().leases, 0);
    // The holders still decide; but nothing is kept.
    assert_eq!(ask(&agent, "k", 1).await, Ok("secret 1".into()));
    assert_eq!(agent.status().leases, 0);
    agent.heard("nrt");
    assert_eq!(ask(&agent, "k", 1).await, Ok("secret 1".into()));
    assert_eq!(agent.status().leases, 1);
}

#[tokio::test]
async fn holders_that_answer_less_than_was_asked_are_unavailable() {
    struct Silent;
    impl sealift_agent::server::KeySource for Silent {
        fn release<'a>(
            &'a self,
            _: &'a [sealift_keywrap::WrappedKey],
        ) -> futures_util::future::BoxFuture<
            'a,
            Vec<Result<sealift_agent::server::Released, Refusal>>,
        > {
            Box::pin(async { Vec::new() })
        }
    }
    let clock = Clock::default();
    let settings = sealift_agent::server::Settings {
        node: "n".into(),
        lease: Duration::from_secs(60),
        clock: Arc::new(move || clock.now()),
    };
    let standing = Standing::new("n", ["fra"], 1, Duration::ZERO);
    let agent = Arc::new(Resident::new(settings, standing, Arc::new(Silent)));
    for _ in 0..2 {
        let refused = ask(&agent, "k", 1).await;
        let reason = "the agent could not finish the request".into();
        assert_eq!(refused, Err(Refusal::Unavailable { reason }));
    }
}

#[test]
fn leases_have_an_end_and_make_room() {
    let mut leases = Leases::default();
    let secret = LayerSecret::new(Zeroizing::new(b"secret".to_vec()));
    let id = |number: u32| {
        let mut wrapped = wrap("k", 1);
        wrapped.element.extend(number.to_be_bytes());
        WrapId::of(&wrapped)
    };
    let most = u32::try_from(Leases::MAX).unwrap();
    for number in 0..=most {
        let until = Duration::from_secs(10 + u64::from(number));
        leases.insert(id(number), &secret, ("k", 1), until).unwrap();
    }
    assert_eq!(leases.len(), Leases::MAX);
    let at = Duration::from_secs;
    assert_eq!(leases.get(&id(0), at(0)), None);
    assert_eq!(leases.get(&id(1), at(10)), Some(b"secret".as_slice()));
    // Ended, though not yet swept.
    assert_eq!(leases.get(&id(1), at(11)), None);
    leases.sweep(at(11));
    assert_eq!(leases.len(), Leases::MAX - 1);
    leases.clear();
    assert!(leases.is_empty());
}

#[test]
fn the_same_octets_in_another_scheme_are_another_element() {
    let mut jwe = wrap("k", 1);
    let id = WrapId::of(&jwe);
    jwe.scheme = sealift_keywrap::Scheme::Jwe;
    assert_ne!(WrapId::of(&jwe), id);
}
