//! One holder's answer twice: under its own name, under another's, or from another day. It never counts as two.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures_util::future::{BoxFuture, join_all};
use sealift_holder::Octets;
use sealift_holder::client::http::{Clients, HttpError};
use sealift_holder::client::release::{
    Element, Options, ReleaseError, Released, Releaser, Transport,
};
use sealift_holder::deployment::{Deployment, Holder, Key};
use sealift_holder::dsse::Unverified;
use sealift_holder::identity::HolderIdentity;
use sealift_holder::keys::SigningKey;
use sealift_holder::request::{read_key_request, read_receipt, sign_receipt};
use sealift_holder::server::release::leaf_hash;
use sealift_holder::server::{Running, audit};
use sealift_holder::statement::Release;
use sealift_holder::tls::Credential;
use sealift_holder::wire::{KeyAnswer, PartialsAnswer, PartialsRequest, WireWrap, WrapAnswer};
use sealift_keywrap::{Identity, LayerSecret, Recipient, WrapContext, WrappedKey};
use sealift_threshold::{
    Combiner, ErrorId, GroupKey, GroupRecipient, HolderId, PartialDecryption, ReplyContext,
    ReplyKem, Residency, Share, Wrap, seal_reply,
};
use tokio::runtime::Handle;
use zeroize::Zeroizing;

use crate::rig::{Rig, rng};

/// What stands between the node and `gru`. Everybody else is asked as usual; nobody hears of `nrt`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Trick {
    None,
    /// `gru` passes on what `fra` answers to the same request.
    PassesOn,
    /// `gru` has the partial of `fra`, and seals and vouches for it as its own.
    Adopts,
    /// `gru` has the share of `fra`, and says that it is its own.
    Relabels,
    /// `gru` answers what it answered before.
    Replays,
    /// The same, said to be for this request.
    ReplaysAnew,
    /// `gru` answers the first wrap twice.
    Stutters,
}

#[derive(Debug)]
struct Net {
    clients: Clients,
    trick: Trick,
    /// What `gru` answered before.
    before: Mutex<Option<PartialsAnswer>>,
    forger: Forger,
}

/// What a dishonest `gru` has in hand: its own signing key, and the share of `fra`.
#[derive(Debug)]
struct Forger {
    group: GroupKey,
    signer: Arc<SigningKey>,
    stolen: Zeroizing<[u8; 32]>,
}

/// The holders, and the trick among them.
#[derive(Debug)]
struct Wire(Arc<Net>);

impl Transport for Wire {
    fn partials(
        &self,
        holder: &str,
        key_id: &str,
        request: Arc<PartialsRequest>,
    ) -> BoxFuture<'static, Result<PartialsAnswer, HttpError>> {
        let (net, asked, key_id) = (Arc::clone(&self.0), holder.to_owned(), key_id.to_owned());
        Box::pin(async move {
            let asked = match (&*asked, net.trick) {
                ("gru", Trick::PassesOn) => "fra",
                (asked, _) => asked,
            };
            let honest = net
                .clients
                .partials(asked, &key_id, Arc::clone(&request))
                .await?;
            if asked != "gru" {
                return Ok(honest);
            }
            let before = net.before.lock().unwrap().replace(honest.clone());
            // The first time there is nothing to replay.
            let before = before.unwrap_or_else(|| honest.clone());
            let answer = match net.trick {
                Trick::None | Trick::PassesOn => honest,
                Trick::Adopts => net.forger.answer(&request, honest, 1, 2),
                Trick::Relabels => net.forger.answer(&request, honest, 2, 2),
                Trick::Replays => before,
                Trick::ReplaysAnew => PartialsAnswer {
                    request_hash: honest.request_hash,
                    receipt: honest.receipt,
                    ..before
                },
                Trick::Stutters => PartialsAnswer {
                    answers: vec![honest.answers[0].clone(), honest.answers[0].clone()],
                    ..honest
                },
            };
            Ok(answer)
        })
    }

    fn key(&self, holder: &str, key_id: &str) -> BoxFuture<'static, Result<KeyAnswer, HttpError>> {
        self.0.clients.key(holder, key_id)
    }
}

impl Forger {
    /// Replaces partials by such as are computed with the stolen share and say that they are by the holder `says`; the
    /// envelope is addressed as from the holder `from`.
    fn answer(
        &self,
        request: &PartialsRequest,
        honest: PartialsAnswer,
        says: u8,
        from: u8,
    ) -> PartialsAnswer {
        let hash = leaf_hash(&request.request.0);
        let envelope = Unverified::parse(&request.request.0).unwrap();
        let (asked, _) = read_key_request(envelope.unverified_payload()).unwrap();
        let share = Share::from_octets(
            HolderId::new(says).unwrap(),
            self.group.generation(),
            self.stolen.clone(),
        )
        .unwrap();
        let mut receipt = read_receipt(&honest.receipt.0, self.signer.public()).unwrap();
        let mut answers = Vec::new();
        receipt.releases.clear();
        for wrap in &request.wraps {
            let WireWrap::Compact(octets) = wrap else {
                panic!("not labelled")
            };
            let wrap = Wrap::parse(&octets.0).unwrap();
            let checked = wrap.check(&self.group).unwrap();
            let partial = share.partial(&self.group, &checked, &hash, &rng()).unwrap();
            let context = ReplyContext {
                request_hash: hash,
                wrap_digest: wrap.digest(),
                holder: HolderId::new(from).unwrap(),
                epoch: self.group.epoch(),
            };
            let sealed = seal_reply(
                ReplyKem::P256,
                &asked.ephemeral_key.0,
                &context,
                partial.as_bytes(),
                &rng(),
            )
            .unwrap();
            let wrap_digest = Octets::from(wrap.digest().as_slice());
            answers.push(WrapAnswer::Sealed {
                wrap_digest: wrap_digest.clone(),
                enc: sealed.enc.into(),
                ct: sealed.ct.into(),
            });
            receipt.releases.push(Release {
                wrap_digest,
                partial_digest: Some(partial.digest().as_slice().into()),
                decision: "allow".to_owned(),
            });
        }
        let receipt = sign_receipt(&receipt, 0, &self.signer, &rng()).unwrap();
        PartialsAnswer {
            answers,
            receipt: receipt.into(),
            ..honest
        }
    }
}

struct Site {
    rig: Rig,
    group: GroupKey,
    running: Vec<Running>,
}

impl Site {
    /// Three holders of which two open; `nrt` is not there.
    async fn new() -> Self {
        let rig = Rig::new(3, 2);
        let group = rig.deal("default", false);
        let mut running = Vec::new();
        for at in 0..2 {
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
        self.group.wrap(&label, b"key", &rng()).unwrap()
    }

    fn share(&self, at: usize) -> Zeroizing<[u8; 32]> {
        let dealt = self.rig.holders[at].vault.dealt.lock().unwrap();
        let octets = &dealt.values().next().unwrap().1;
        Zeroizing::new(octets.as_slice().try_into().unwrap())
    }

    fn releaser(&self, trick: Trick) -> Releaser {
        let rig = &self.rig;
        let known = rig.holders.iter().map(|holder| Holder {
            name: holder.descriptor.name.clone(),
            url: holder.descriptor.url.clone(),
            jurisdiction: holder.descriptor.jurisdiction.clone(),
            ca: holder.descriptor.ca.clone(),
            descriptor: Some(holder.descriptor.clone()),
        });
        let deployment = Deployment {
            id: None,
            default_key: None,
            administrators: rig.deployment(0).administrators,
            holders: known.collect(),
            keys: vec![Key {
                id: "default".to_owned(),
                descriptor: self.group.to_json(),
            }],
            client: None,
        };
        let credential = Credential::new(&rig.node_chain(), &rig.node.key).unwrap();
        let clients = Clients::new(&deployment.holders, Some(&credential), &rig.clock.clock());
        let net = Net {
            clients: clients.unwrap(),
            trick,
            before: Mutex::default(),
            forger: Forger {
                group: self.group.clone(),
                signer: Arc::clone(&rig.holders[1].signer),
                stolen: self.share(0),
            },
        };
        let key = SigningKey::from_pkcs8(rig.node.key.expose_pkcs8()).unwrap();
        let options = Options {
            kem: ReplyKem::P256,
            ..Options::default()
        };
        let transport: Arc<dyn Transport> = Arc::new(Wire(Arc::new(net)));
        let clock = rig.clock.clock();
        let releaser = Releaser::new(transport, &deployment, Arc::new(key), options, clock);
        let releaser = releaser.unwrap();
        releaser.set_posture(Some(rig.signed_posture(&rig.posture())));
        releaser
    }

    async fn open(&self, releaser: &Releaser, wraps: &[&Wrap]) -> Released {
        let elements = wraps
            .iter()
            .map(|wrap| Element::Wrap(Box::new((*wrap).clone())))
            .collect();
        releaser.open(&self.group, elements).await
    }

    async fn end(self) {
        for running in self.running {
            running.shutdown().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_holders_answer_is_never_two_and_who_brought_it_is_named() {
    let site = Site::new().await;
    let (first, second) = (site.wrap(), site.wrap());
    let honest = site.releaser(Trick::None);
    for secret in site.open(&honest, &[&first, &second]).await.secrets {
        assert_eq!(secret.unwrap().expose(), b"key");
    }
    let tricks = BTreeMap::from([
        (
            "gru: answer does not open",
            vec![Trick::PassesOn, Trick::ReplaysAnew],
        ),
        ("gru: answered as somebody else", vec![Trick::Adopts]),
        ("gru: gave a false answer", vec![Trick::Relabels]),
        (
            "gru: answered something else",
            vec![Trick::Replays, Trick::Stutters],
        ),
    ]);
    for (named, tricks) in tricks {
        for trick in tricks {
            let releaser = site.releaser(trick);
            if matches!(trick, Trick::Replays | Trick::ReplaysAnew) {
                for secret in site.open(&releaser, &[&first, &second]).await.secrets {
                    assert_eq!(secret.unwrap().expose(), b"key");
                }
            }
            let released = site.open(&releaser, &[&first, &second]).await;
            for secret in &released.secrets {
                let Err(ReleaseError::QuorumUnavailable {
                    reached,
                    needed,
                    reason,
                }) = secret
                else {
                    panic!("{trick:?}: {secret:?}")
                };
                assert_eq!((*reached, *needed), (1, 2), "{trick:?}");
                assert!(reason.contains(named), "{trick:?}: {reason}");
                assert!(reason.contains("nrt: not reachable"), "{trick:?}: {reason}");
            }
            let accused: Vec<&str> = released
                .accusations
                .iter()
                .map(|accusation| &*accusation.holder)
                .collect();
            // Only what others can check as well is a proof.
            let expected: &[&str] = if trick == Trick::Relabels {
                &["gru", "gru"]
            } else {
                &[]
            };
            assert_eq!(accused, expected, "{trick:?}");
        }
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_that_are_opened_at_the_same_time_are_asked_for_once() {
    let site = Site::new().await;
    let recipient = GroupRecipient {
        group: site.group.clone(),
        residency: Residency::Any,
        policy: "default".into(),
        repo: Some("registry.example/app".into()),
    };
    let subject = "ab".repeat(32);
    let context = WrapContext {
        subject: Some(&subject),
        ..WrapContext::default()
    };
    let secret = LayerSecret::new(Zeroizing::new(b"key".to_vec()));
    let wraps: Vec<WrappedKey> = (0..8)
        .map(|_| recipient.wrap_key(&secret, &context).unwrap())
        .collect();
    let identity = Arc::new(HolderIdentity::new(
        Arc::new(site.releaser(Trick::None)),
        site.group.clone(),
        Handle::current(),
    ));
    identity.prepare(&wraps);
    let layers = wraps.into_iter().map(|wrapped| {
        let (identity, subject) = (Arc::clone(&identity), subject.clone());
        tokio::task::spawn_blocking(move || {
            let context = WrapContext {
                subject: Some(&subject),
                ..WrapContext::default()
            };
            let secret = identity.unwrap_key(&wrapped, &context).unwrap();
            assert_eq!(secret.expose(), b"key");
        })
    });
    for layer in join_all(layers).await {
        layer.unwrap();
    }
    for running in &site.running {
        let rows = audit::rows(&*running.service().store, 0, usize::MAX).unwrap();
        let releases = rows.iter().filter(|row| row.event == "release");
        assert_eq!(releases.count(), 8);
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_and_the_same_once_more_do_not_combine() {
    let site = Site::new().await;
    let wrap = site.wrap();
    let checked = || wrap.check(&site.group).unwrap();
    let partial = |at: usize, says: usize| -> PartialDecryption {
        let index = HolderId::new(site.rig.holders[says].descriptor.index).unwrap();
        let share = Share::from_octets(index, 1, site.share(at)).unwrap();
        share
            .partial(&site.group, &checked(), &[5; 32], &rng())
            .unwrap()
    };
    let combine = |partials: &[PartialDecryption]| {
        let combiner = Combiner::new(&site.group, checked(), [5; 32]);
        combiner
            .combine(partials)
            .map(|combined| combined.secret.expose().to_vec())
            .map_err(|error| error.error.id)
    };
    let (fra, gru) = (partial(0, 0), partial(1, 1));
    assert_eq!(combine(&[fra.clone(), gru]), Ok(b"key".to_vec()));
    // Twice the same octets; made twice, with other nonces; under another name.
    for second in [fra.clone(), partial(0, 0)] {
        assert_eq!(
            combine(&[fra.clone(), second]),
            Err(ErrorId::HolderDuplicate)
        );
    }
    let relabelled = combine(&[fra, partial(0, 1)]).unwrap_err();
    assert_eq!(relabelled, ErrorId::PartialProofInvalid);
    site.end().await;
}
