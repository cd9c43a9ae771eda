//! Who may not know which keys there are does not find out: by the answer, by the work it makes, or by its quota.

use http::{HeaderMap, StatusCode};
use sealift_holder::command::Order;
use sealift_holder::server::quota::Quota;
use sealift_holder::server::{Running, Server, audit};
use sealift_holder::statement::KeyRequest;
use sealift_holder::wire::{ErrorBody, WireWrap};
use sealift_threshold::{GroupKey, ReplyKem, ReplyKey};

use crate::rig::{Rig, nonce, rng};

const THERE: &str = "default";
const NOT_THERE: &str = "nothing";

struct Site {
    rig: Rig,
    group: GroupKey,
    running: Running,
    client: reqwest::Client,
}

/// All of an answer, but what names the request or its time.
type Seen = (StatusCode, HeaderMap, String);

/// What a request made the holder do.
#[derive(Debug, Eq, PartialEq)]
struct Work {
    transactions: u64,
    /// Reasons of the rows that were written.
    rows: Vec<String>,
}

impl Site {
    async fn new(quota: Quota) -> Self {
        let rig = Rig::new(1, 1);
        let group = rig.deal(THERE, false);
        let mut config = rig.config(0, rig.open_store(0));
        config.quota = quota;
        let running = Server::start(config).await.unwrap();
        rig.found(&running, &group).await;
        let client = rig.node_http(0);
        Self {
            rig,
            group,
            running,
            client,
        }
    }

    async fn revoke(&self) {
        let envelope = self.rig.command("node:tokyo-7", 1, Order::RevokeNode {});
        let writer = &self.running.service().writer;
        self.rig.apply(writer, &envelope, 0).await.unwrap();
    }

    fn transactions(&self) -> u64 {
        let text = self.running.service().metrics.encode().unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("sealift_holder_audit_lag_seconds_count "));
        line.unwrap().parse().unwrap()
    }

    /// A good request for a key; but for the posture of the node, which is not told.
    async fn ask(&self, key_id: &str) -> (Seen, Work) {
        let (before, rows) = (self.transactions(), self.rows().len());
        let label = self.rig.label(&self.group);
        let wrap = self.group.wrap(&label, b"key", &rng()).unwrap();
        let request = KeyRequest {
            key_id: key_id.to_owned(),
            epoch: 1,
            wraps: vec![wrap.digest().as_slice().into()],
            wrap_commitments: Vec::new(),
            ephemeral_key: ReplyKey::generate(ReplyKem::P256, &rng())
                .unwrap()
                .public()
                .into(),
            kem: 0x10,
            nonce: nonce(),
            lease_seconds: 60,
            justification: String::new(),
        };
        let wraps = vec![WireWrap::Compact(wrap.as_bytes().into())];
        let mut body = self.rig.body(&request, wraps);
        body.evidence = None;
        let url = self.rig.url(0, &format!("/v1/keys/{key_id}/partials"));
        let sent = self
            .client
            .post(url)
            .body(serde_json::to_vec(&body).unwrap());
        let seen = seen(sent.send().await.unwrap()).await;
        let work = Work {
            transactions: self.transactions() - before,
            rows: self.rows().split_off(rows),
        };
        (seen, work)
    }

    async fn describe(&self, key_id: &str) -> Seen {
        let url = self.rig.url(0, &format!("/v1/keys/{key_id}"));
        seen(self.client.get(url).send().await.unwrap()).await
    }

    fn rows(&self) -> Vec<String> {
        let rows = audit::rows(&*self.running.service().store, 0, usize::MAX).unwrap();
        rows.into_iter().map(|row| row.reason).collect()
    }
}

async fn seen(answer: reqwest::Response) -> Seen {
    let status = answer.status();
    let mut headers = answer.headers().clone();
    headers.remove("date");
    let id = headers.remove("request-id").unwrap();
    let body = answer.text().await.unwrap();
    let error: ErrorBody = serde_json::from_str(&body).unwrap();
    assert_eq!(error.request_id, id.to_str().unwrap());
    (status, headers, body.replace(&error.request_id, ""))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_node_is_refused_before_anybody_looks_for_the_key() {
    let site = Site::new(Quota::default()).await;
    // A connection that is open already is closed by the revocation; this one comes afterwards.
    site.revoke().await;
    let (there, work) = site.ask(THERE).await;
    let (not_there, same_work) = site.ask(NOT_THERE).await;
    assert_eq!(there, not_there);
    assert_eq!(there.0, 403);
    assert_eq!(work, same_work);
    // One reason, one row, one flush: nothing that differs has been looked at.
    assert_eq!(
        work,
        Work {
            transactions: 1,
            rows: vec!["Forbidden: the node is revoked".to_owned()]
        }
    );
    assert_eq!(site.describe(THERE).await, site.describe(NOT_THERE).await);
    site.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_node_makes_as_many_rows_and_flushes_as_one_that_asks_for_nothing() {
    let site = Site::new(Quota::default()).await;
    let (denied, work) = site.ask(THERE).await;
    let (unknown, other) = site.ask(NOT_THERE).await;
    assert_eq!(denied, unknown);
    assert_eq!((work.transactions, other.transactions), (1, 1));
    assert_eq!((work.rows.len(), other.rows.len()), (1, 1));
    site.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quota_of_a_revoked_node_does_not_tell_its_keys_apart() {
    let quota = Quota {
        burst: 3,
        per_minute: 1,
    };
    for (first, second) in [(NOT_THERE, THERE), (THERE, NOT_THERE)] {
        let site = Site::new(quota).await;
        site.revoke().await;
        for _ in 0..quota.burst {
            assert_eq!(site.ask(first).await.0.0, 403);
        }
        let (over, _) = site.ask(first).await;
        assert_eq!(over.0, 429);
        // What was used up for one is used up for the other.
        assert_eq!(site.ask(second).await.0, over);
        site.running.shutdown().await;
    }
}
