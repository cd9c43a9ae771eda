//! Holders that refuse or are not there, as the agent sees them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sealift_agent::protocol::Refusal;
use sealift_agent::server::{Holders, KeySource};
use sealift_holder::client::http::{Cause, HttpError};
use sealift_holder::client::release::{Options, Releaser, Transport};
use sealift_holder::deployment::{Deployment, Holder};
use sealift_holder::keys::SigningKey;
use sealift_holder::wire::{Code, KeyAnswer, PartialsAnswer, PartialsRequest};
use sealift_keywrap::{Scheme, WrappedKey};

use crate::support::wrap;

/// Refuses everything, and notes which keys it was asked about.
#[derive(Debug, Default)]
struct Refusing(Mutex<Vec<String>>);

fn refused(holder: &str) -> HttpError {
    HttpError {
        holder: holder.into(),
        request_id: None,
        cause: Cause::Refused {
            code: Code::Forbidden,
            retry_after: None,
        },
    }
}

impl Transport for Refusing {
    fn partials(
        &self,
        holder: &str,
        _: &str,
        _: Arc<PartialsRequest>,
    ) -> BoxFuture<'static, Result<PartialsAnswer, HttpError>> {
        let error = refused(holder);
        Box::pin(async { Err(error) })
    }

    fn key(&self, holder: &str, key_id: &str) -> BoxFuture<'static, Result<KeyAnswer, HttpError>> {
        self.0.lock().unwrap().push(format!("{key_id} at {holder}"));
        let error = refused(holder);
        Box::pin(async { Err(error) })
    }
}

fn deployment() -> Deployment {
    let holder = |name: &str| Holder {
        name: name.into(),
        url: "https://127.0.0.1:1".into(),
        jurisdiction: "DE".into(),
        ca: String::new(),
        descriptor: None,
    };
    Deployment {
        id: None,
        default_key: None,
        administrators: Vec::new(),
        holders: vec![holder("fra")],
        keys: Vec::new(),
        client: None,
    }
}

#[tokio::test]
async fn each_element_gets_its_own_answer_in_order_and_each_key_is_looked_up_once() {
    let transport = Arc::new(Refusing::default());
    let releaser = Releaser::new(
        Arc::clone(&transport) as _,
        &deployment(),
        Arc::new(SigningKey::generate().unwrap()),
        Options::default(),
        Arc::new(|| 1_763_750_000_000),
    );
    let holders = Holders::new(Arc::new(releaser.unwrap()), None, Duration::from_secs(60));
    let mut cut = wrap("k", 1);
    cut.element.truncate(20);
    let jwe = WrappedKey {
        scheme: Scheme::Jwe,
        element: b"{}".to_vec(),
    };
    let wraps = [jwe, wrap("k", 1), cut, wrap("other", 1), wrap("k", 2)];
    let outcomes = holders.release(&wraps).await;
    let outcomes: Vec<Refusal> = outcomes
        .into_iter()
        .map(|outcome| outcome.unwrap_err())
        .collect();
    let [jwe, first, cut, other, second] = outcomes.try_into().unwrap();
    assert_eq!(jwe, Refusal::NotForTheseKeys {});
    let reason = "unreadable label".into();
    assert_eq!(cut, Refusal::Malformed { reason });
    let reason = "0 of 1 key holders answered: fra: Forbidden".into();
    assert_eq!(first, Refusal::Unavailable { reason });
    assert_eq!((&other, &second), (&first, &first));
    let mut asked = transport.0.lock().unwrap().clone();
    asked.sort();
    assert_eq!(asked, ["k at fra", "other at fra"]);
}
