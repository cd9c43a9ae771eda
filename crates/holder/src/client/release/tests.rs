use std::collections::BTreeSet;

use aws_lc_rs::rand::SystemRandom;
use sealift_keywrap::{Recipient, Scheme, WrapContext};
use sealift_threshold::{
    Answer, DescriptorParts, ErrorId, GroupRecipient, HolderEntry, HolderId, HpkePrivateKey,
    KeyShare, Part, PartialDecryption, ProofKind, ReplyContext, Residency, Share, Suite,
    UnlabelledWrap, Wrap, deal_key, public_share, request_hash, seal_reply,
};
use zeroize::Zeroizing;

use super::super::http::Cause;
use super::*;
use crate::deployment::{Holder, Key};
use crate::dsse;
use crate::request;
use crate::statement::{KEY_DESCRIPTOR, KeyRelease, Release, STATEMENT};
use crate::wire::{Code, MAX_WRAPS, WireWrap, WrapAnswer};

const NAMES: [&str; 5] = ["fra", "gru", "nrt", "sin", "yul"];
const NOW_MS: u64 = 1_800_000_000_000;
const PLAINTEXT: &[u8] = b"private options of a layer";

/// What a holder of the tests does when it is asked for partials.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Conduct {
    Honest,
    Down,
    /// Never answers.
    Silent,
    /// Answers with a partial for another request, which its own proof refutes.
    Lies,
    Refuses(Code),
    /// Refuses the wrap at this position.
    RefusesOne(usize),
    /// Answers for another request hash.
    Confused,
    /// Signs receipts with another key.
    Forges,
    /// Says that it is the first holder.
    Impersonates,
}

#[derive(Debug)]
struct Peer {
    conduct: Conduct,
    delay: Duration,
    group: GroupKey,
    share: Arc<KeyShare>,
    signing: Arc<SigningKey>,
    descriptor: Octets,
}

#[derive(Debug)]
struct Net {
    node: PublicKey,
    peers: Mutex<BTreeMap<String, Peer>>,
    log: Mutex<Vec<String>>,
    /// Octets of the longest body so far.
    longest: std::sync::atomic::AtomicUsize,
}

impl Net {
    fn set(&self, name: &str, conduct: Conduct) {
        lock(&self.peers).get_mut(name).unwrap().conduct = conduct;
    }

    fn delay(&self, name: &str, millis: u64) {
        lock(&self.peers).get_mut(name).unwrap().delay = Duration::from_millis(millis);
    }

    /// Takes the names of those that were asked, in order.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.log))
    }
}

impl Peer {
    fn answer(&self, node: &PublicKey, request: &PartialsRequest) -> PartialsAnswer {
        let rng = SystemRandom::new();
        let verified = dsse::verify(&request.request.0, STATEMENT, [node]).unwrap();
        let (asked, time) = request::read_key_request(&verified.payload).unwrap();
        assert_eq!(time, NOW_MS);
        assert!(request.wraps.len() <= MAX_WRAPS);
        let hash = match self.conduct {
            Conduct::Confused => [1; 32],
            _ => request_hash(&request.request.0),
        };
        let proven = if self.conduct == Conduct::Lies {
            [2; 32]
        } else {
            hash
        };
        let mut answers = Vec::new();
        let mut releases = Vec::new();
        for (position, wire) in request.wraps.iter().enumerate() {
            let (digest, answer) = match wire {
                WireWrap::Compact(octets) => {
                    let wrap = Wrap::parse(&octets.0).unwrap();
                    let checked = self.group.check(&wrap).unwrap();
                    let opened = self.share.open_entry(checked).unwrap();
                    // A lie that also spoils the combination: the point of another wrap would do; a false proof alone
                    // would not be noticed.
                    let answer = self
                        .share
                        .answer(&self.group, opened, &proven, &rng)
                        .unwrap();
                    (wrap.digest(), self.spoil(answer))
                }
                WireWrap::Unlabelled { epk } => {
                    let wrap = UnlabelledWrap::from_epk(&epk.0).unwrap();
                    let partial = self
                        .share
                        .share()
                        .unwrap()
                        .partial_unlabelled(&self.group, &wrap, &proven, &rng)
                        .unwrap();
                    (wrap.digest(&self.group), Answer::Tdh2(partial))
                }
            };
            match (&request.salts, asked.wrap_commitments.get(position)) {
                (Some(salts), Some(commitment)) => {
                    let salt = salts[position].0.as_slice().try_into().unwrap();
                    assert_eq!(request::salted(salt, &digest), *commitment);
                }
                _ => assert_eq!(asked.wraps[position].0, digest),
            }
            let wrap_digest = Octets(digest.to_vec());
            if self.conduct == Conduct::RefusesOne(position) {
                answers.push(WrapAnswer::Refused {
                    wrap_digest: wrap_digest.clone(),
                    error: Code::Forbidden,
                });
                releases.push(Release {
                    wrap_digest,
                    partial_digest: None,
                    decision: "deny".to_owned(),
                });
                continue;
            }
            let holder = match self.conduct {
                Conduct::Impersonates => HolderId::new(1).unwrap(),
                _ => answer.holder(),
            };
            let context = ReplyContext {
                request_hash: hash,
                wrap_digest: digest,
                holder,
                epoch: self.group.epoch(),
            };
            let kem = ReplyKem::from_number(asked.kem).unwrap();
            let sealed =
                seal_reply(kem, &asked.ephemeral_key.0, &context, &answer.write(), &rng).unwrap();
            let partial_digest = Some(Octets(answer.digest().to_vec()));
            answers.push(WrapAnswer::Sealed {
                wrap_digest: wrap_digest.clone(),
                enc: sealed.enc.into(),
                ct: sealed.ct.into(),
            });
            releases.push(Release {
                wrap_digest,
                partial_digest,
                decision: "allow".to_owned(),
            });
        }
        let receipt = KeyRelease {
            request_leaf: hash.as_slice().into(),
            holder: "unused".to_owned(),
            generation: self.group.generation(),
            releases,
            policy_hash: Octets(vec![0; 32]),
            lease_until: NOW_MS + 600_000,
        };
        let forger = SigningKey::generate().unwrap();
        let signer = if self.conduct == Conduct::Forges {
            &forger
        } else {
            &self.signing
        };
        let receipt = request::sign_receipt(&receipt, NOW_MS, signer, &rng).unwrap();
        PartialsAnswer {
            request_hash: hash.as_slice().into(),
            answers,
            receipt: receipt.into(),
        }
    }

    /// Puts the generator in the place of the point, and another share in the place of a share.
    fn spoil(&self, answer: Answer) -> Answer {
        if self.conduct != Conduct::Lies {
            return answer;
        }
        let mut octets = answer.write().to_vec();
        match self.group.suite() {
            Suite::Tdh2 => octets[7..40].copy_from_slice(
                &hex::decode("036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296")
                    .unwrap(),
            ),
            Suite::SssXwing | Suite::Hybrid => *octets.last_mut().unwrap() ^= 1,
        }
        Answer::parse(self.group.suite(), &octets).unwrap()
    }
}

fn broken(holder: &str, cause: Cause) -> HttpError {
    HttpError {
        holder: holder.into(),
        request_id: Some("r-1".into()),
        cause,
    }
}

impl Transport for Arc<Net> {
    fn partials(
        &self,
        holder: &str,
        _: &str,
        request: Arc<PartialsRequest>,
    ) -> BoxFuture<'static, Result<PartialsAnswer, HttpError>> {
        lock(&self.log).push(holder.to_owned());
        let len = serde_json::to_vec(&*request).unwrap().len();
        self.longest
            .fetch_max(len, std::sync::atomic::Ordering::Relaxed);
        let (net, holder) = (Self::clone(self), holder.to_owned());
        Box::pin(async move {
            let (delay, conduct) = {
                let peers = lock(&net.peers);
                (peers[&holder].delay, peers[&holder].conduct)
            };
            tokio::time::sleep(delay).await;
            match conduct {
                Conduct::Down => Err(broken(&holder, Cause::Timeout)),
                Conduct::Silent => std::future::pending().await,
                Conduct::Refuses(code) => Err(broken(
                    &holder,
                    Cause::Refused {
                        code,
                        retry_after: None,
                    },
                )),
                _ => Ok(lock(&net.peers)[&holder].answer(&net.node, &request)),
            }
        })
    }

    fn key(&self, holder: &str, _: &str) -> BoxFuture<'static, Result<KeyAnswer, HttpError>> {
        lock(&self.log).push(format!("key at {holder}"));
        let peers = lock(&self.peers);
        let (delay, conduct) = (peers[holder].delay, peers[holder].conduct);
        let (descriptor, holder) = (peers[holder].descriptor.clone(), holder.to_owned());
        Box::pin(async move {
            tokio::time::sleep(delay).await;
            match conduct {
                Conduct::Down => Err(broken(&holder, Cause::Timeout)),
                _ => Ok(KeyAnswer {
                    descriptor: Some(descriptor),
                    state: "Enabled".to_owned(),
                    min_unwrap_epoch: 1,
                }),
            }
        })
    }
}

/// A deployment whose key has `n` holders, `t` of which open.
struct Site {
    net: Arc<Net>,
    admins: [SigningKey; 2],
    group: GroupKey,
    releaser: Releaser,
    unbound: bool,
    suite: Suite,
    t: u8,
    n: usize,
}

impl Site {
    fn new(t: u8, n: usize, unbound: bool, options: Options) -> Self {
        Self::of_suite(Suite::Tdh2, t, n, unbound, options)
    }

    fn of_suite(suite: Suite, t: u8, n: usize, unbound: bool, options: Options) -> Self {
        let admins = [
            SigningKey::generate().unwrap(),
            SigningKey::generate().unwrap(),
        ];
        let node = Arc::new(SigningKey::generate().unwrap());
        let (group, shares) = sharing(suite, t, n, 1, unbound);
        let descriptor = signed(&group, &admins);
        let mut peers = BTreeMap::new();
        let mut holders = Vec::new();
        for (at, share) in shares.into_iter().enumerate() {
            let signing = Arc::new(SigningKey::generate().unwrap());
            let mut own = descriptor::tests::holder_descriptor(NAMES[at], index(at), &signing);
            own.url = format!("https://127.0.0.1:{}", 7101 + at);
            holders.push(Holder {
                name: NAMES[at].to_owned(),
                url: own.url.clone(),
                jurisdiction: own.jurisdiction.clone(),
                ca: own.ca.clone(),
                descriptor: Some(own),
            });
            let peer = Peer {
                conduct: Conduct::Honest,
                delay: Duration::from_millis(100 * (at as u64 + 1)),
                group: group.clone(),
                share: Arc::new(share),
                signing,
                descriptor: descriptor.clone(),
            };
            peers.insert(NAMES[at].to_owned(), peer);
        }
        let net = Arc::new(Net {
            node: node.public().clone(),
            peers: Mutex::new(peers),
            log: Mutex::default(),
            longest: Default::default(),
        });
        let deployment = Deployment {
            id: None,
            default_key: None,
            administrators: ["alice", "bob"]
                .iter()
                .zip(&admins)
                .map(|(name, key)| Administrator {
                    name: (*name).to_owned(),
                    key: key.public().clone(),
                })
                .collect(),
            holders,
            keys: vec![Key {
                id: group.key_id().to_owned(),
                descriptor: group.to_json(),
            }],
            client: None,
        };
        let transport: Arc<dyn Transport> = Arc::new(Arc::clone(&net));
        let releaser =
            Releaser::new(transport, &deployment, node, options, Arc::new(|| NOW_MS)).unwrap();
        Self {
            net,
            admins,
            group,
            releaser,
            unbound,
            suite,
            t,
            n,
        }
    }

    fn two_of_three() -> Self {
        Self::new(2, 3, false, quick())
    }

    fn elements(&self, count: usize) -> Vec<Element> {
        let recipient = GroupRecipient {
            group: self.group.clone(),
            residency: Residency::Any,
            policy: "default".into(),
            repo: Some("registry.example/app".into()),
        };
        let subject = "ab".repeat(32);
        let context = WrapContext {
            subject: Some(&subject),
            ..WrapContext::default()
        };
        let secret = LayerSecret::new(Zeroizing::new(PLAINTEXT.to_vec()));
        let wrap = || recipient.wrap_key(&secret, &context).unwrap();
        (0..count)
            .flat_map(|_| Element::read(&wrap(), &self.group).unwrap())
            .collect()
    }

    async fn open(&self, count: usize) -> Released {
        self.releaser.open(&self.group, self.elements(count)).await
    }

    /// Gives some holders new shares of the same key.
    fn refresh(&mut self, names: &[&str], generation: u32, admins: &[&SigningKey]) {
        let (group, shares) = sharing(self.suite, self.t, self.n, generation, self.unbound);
        let envelope = dsse::sign(
            KEY_DESCRIPTOR,
            &group.to_json(),
            admins,
            &SystemRandom::new(),
        )
        .unwrap();
        let mut peers = lock(&self.net.peers);
        for (at, share) in shares.into_iter().enumerate() {
            if names.contains(&NAMES[at]) {
                let peer = peers.get_mut(NAMES[at]).unwrap();
                peer.group = group.clone();
                peer.share = Arc::new(share);
                peer.descriptor = envelope.clone().into();
            }
        }
    }
}

fn quick() -> Options {
    Options {
        kem: ReplyKem::P256,
        ..Options::default()
    }
}

fn signed(group: &GroupKey, admins: &[SigningKey; 2]) -> Octets {
    let keys: Vec<&SigningKey> = admins.iter().collect();
    dsse::sign(
        KEY_DESCRIPTOR,
        &group.to_json(),
        &keys,
        &SystemRandom::new(),
    )
    .unwrap()
    .into()
}

fn index(at: usize) -> u8 {
    u8::try_from(at).unwrap() + 1
}

/// Shares the one key of these tests anew.
fn sharing(
    suite: Suite,
    t: u8,
    n: usize,
    generation: u32,
    unbound: bool,
) -> (GroupKey, Vec<KeyShare>) {
    let holders: BTreeSet<HolderId> = (0..n).map(|at| HolderId::new(index(at)).unwrap()).collect();
    let mut dealt = deal_key(&[7; 32], t, &holders, &SystemRandom::new()).unwrap();
    let key = |holder: HolderId| {
        HpkePrivateKey::from_octets(ReplyKem::XWing, Zeroizing::new([holder.get(); 32])).unwrap()
    };
    let has_scalar = suite != Suite::SssXwing;
    let entry = |holder: &HolderId| HolderEntry {
        index: *holder,
        id: NAMES[usize::from(holder.get()) - 1].into(),
        jurisdiction: "DE".into(),
        public_share: has_scalar.then(|| public_share(&dealt.commitments, *holder).unwrap()),
        proof: ProofKind::Dleq,
        kem_public_key: suite
            .has_sealed_shares()
            .then(|| key(*holder).public().into()),
    };
    let group = GroupKey::from_parts(DescriptorParts {
        key_id: "default".into(),
        epoch: 1,
        generation,
        public_key: has_scalar.then(|| dealt.commitments[0]),
        unbound,
        parts: vec![Part {
            t,
            holders: holders.iter().copied().collect(),
            commitments: if has_scalar {
                dealt.commitments.clone()
            } else {
                Vec::new()
            },
        }],
        holders: holders.iter().map(entry).collect(),
    })
    .unwrap();
    let shares = holders.iter().map(|holder| {
        let octets = Zeroizing::new(*dealt.shares.remove(holder).unwrap().expose());
        let share = Share::from_octets(*holder, generation, octets).unwrap();
        match suite {
            Suite::Tdh2 => share.into(),
            Suite::Hybrid => KeyShare::Hybrid(share, key(*holder)),
            Suite::SssXwing => KeyShare::SssXwing {
                index: *holder,
                generation,
                key: key(*holder),
            },
        }
    });
    let shares = shares.collect();
    (group, shares)
}

/// Demands that everything opened, and returns who was accused.
fn opened(released: &Released) -> Vec<&str> {
    for secret in &released.secrets {
        assert_eq!(secret.as_ref().map(LayerSecret::expose), Ok(PLAINTEXT));
    }
    released
        .accusations
        .iter()
        .map(|accusation| accusation.holder.as_str())
        .collect()
}

fn error(released: &Released) -> &ReleaseError {
    released.secrets[0].as_ref().unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn asks_no_more_holders_than_open() {
    let site = Site::two_of_three();
    assert!(opened(&site.open(3).await).is_empty());
    assert_eq!(site.net.asked(), ["fra", "gru"]);
}

#[tokio::test(start_paused = true)]
async fn asks_the_nearest() {
    let site = Site::two_of_three();
    site.net.delay("fra", 250);
    site.releaser.warm().await;
    assert_eq!(site.net.asked(), ["key at fra", "key at gru", "key at nrt"]);
    opened(&site.open(1).await);
    assert_eq!(site.net.asked(), ["gru", "fra"]);
}

#[tokio::test(start_paused = true)]
async fn asks_another_when_one_is_down_and_remembers_it() {
    let site = Site::two_of_three();
    site.net.set("fra", Conduct::Down);
    assert!(opened(&site.open(1).await).is_empty());
    assert_eq!(site.net.asked(), ["fra", "gru", "nrt"]);
    opened(&site.open(1).await);
    assert_eq!(site.net.asked(), ["gru", "nrt"]);
}

#[tokio::test(start_paused = true)]
async fn asks_another_when_one_is_late() {
    let site = Site::two_of_three();
    site.releaser.warm().await;
    site.net.asked();
    site.net.set("gru", Conduct::Silent);
    let started = Instant::now();
    opened(&site.open(1).await);
    assert_eq!(site.net.asked(), ["fra", "gru", "nrt"]);
    // gru is late after its own 95th percentile (200 ms and twice half of it), nrt needs 300 ms.
    assert!(
        started.elapsed() < Duration::from_millis(800),
        "{:?}",
        started.elapsed()
    );
    // And it is known to be slow now.
    opened(&site.open(1).await);
    assert_eq!(site.net.asked().first().map(String::as_str), Some("fra"));
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_still_counts() {
    let site = Site::two_of_three();
    site.releaser.warm().await;
    site.net.asked();
    site.net.delay("gru", 5_000);
    site.net.set("nrt", Conduct::Down);
    opened(&site.open(1).await);
    assert_eq!(site.net.asked(), ["fra", "gru", "nrt"]);
}

#[tokio::test(start_paused = true)]
async fn names_a_liar_and_opens_all_the_same() {
    let site = Site::two_of_three();
    site.net.set("fra", Conduct::Lies);
    let released = site.open(2).await;
    assert_eq!(opened(&released), ["fra", "fra"]);
    assert_eq!(site.net.asked(), ["fra", "gru", "nrt"]);
    // The pair of partial and receipt convinces others.
    let accusation = &released.accusations[0];
    let key = lock(&site.net.peers)["fra"].signing.public().clone();
    let receipt = request::read_receipt(&accusation.receipt.0, &key).unwrap();
    let partial = PartialDecryption::parse(&accusation.partial).unwrap();
    assert_eq!(receipt.request_leaf.0, accusation.request_hash);
    assert_eq!(
        receipt.releases[0].partial_digest,
        Some(Octets(partial.digest().to_vec()))
    );
    assert_eq!(receipt.releases[0].wrap_digest.0, accusation.wrap_digest);
}

#[tokio::test(start_paused = true)]
async fn answers_that_cannot_be_used_are_passed_over() {
    for conduct in [Conduct::Confused, Conduct::Forges, Conduct::Impersonates] {
        let site = Site::two_of_three();
        site.net.set("gru", conduct);
        assert!(opened(&site.open(1).await).is_empty(), "{conduct:?}");
        assert_eq!(site.net.asked(), ["fra", "gru", "nrt"], "{conduct:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_refusal_stops_nothing() {
    let site = Site::two_of_three();
    site.net.set("fra", Conduct::Refuses(Code::Forbidden));
    opened(&site.open(1).await);
    site.net.set("fra", Conduct::RefusesOne(1));
    site.net.asked();
    opened(&site.open(3).await);
    assert_eq!(site.net.asked(), ["fra", "gru", "nrt"]);
}

#[tokio::test(start_paused = true)]
async fn enough_refusals_are_a_denial_and_nobody_else_is_waited_for() {
    let site = Site::two_of_three();
    site.net.set("fra", Conduct::Refuses(Code::Forbidden));
    site.net.set("gru", Conduct::Refuses(Code::KeyDisabled));
    site.net.set("nrt", Conduct::Silent);
    let released = site.open(2).await;
    let denied = ReleaseError::Denied {
        by: "fra".into(),
        code: Code::Forbidden,
        request_id: Some("r-1".into()),
    };
    assert_eq!(error(&released), &denied);
    assert_eq!(released.secrets[1].as_ref().unwrap_err(), &denied);
    assert_eq!(site.net.asked(), ["fra", "gru", "nrt"]);
    assert_eq!(
        denied.to_string(),
        "denied by key holder `fra`: Forbidden (request r-1)"
    );
}

#[tokio::test(start_paused = true)]
async fn trouble_of_a_holder_is_no_denial() {
    let site = Site::two_of_three();
    site.net
        .set("fra", Conduct::Refuses(Code::AuditUnavailable));
    site.net
        .set("gru", Conduct::Refuses(Code::StoreUnavailable));
    assert_eq!(
        error(&site.open(1).await),
        &ReleaseError::QuorumUnavailable {
            reached: 1,
            needed: 2,
            reason: "fra: AuditUnavailable; gru: StoreUnavailable".into()
        }
    );
}

#[tokio::test(start_paused = true)]
async fn two_down_are_too_many() {
    let site = Site::two_of_three();
    site.net.set("fra", Conduct::Down);
    site.net.set("nrt", Conduct::Down);
    assert_eq!(
        error(&site.open(1).await).to_string(),
        "1 of 2 key holders answered: fra: no answer in time; nrt: no answer in time"
    );
}

#[tokio::test(start_paused = true)]
async fn gives_up_in_time() {
    let site = Site::two_of_three();
    site.net.set("gru", Conduct::Silent);
    site.net.set("nrt", Conduct::Silent);
    let started = Instant::now();
    let released = site.open(1).await;
    assert!(matches!(
        error(&released),
        ReleaseError::QuorumUnavailable {
            reached: 1,
            needed: 2,
            ..
        }
    ));
    assert_eq!(started.elapsed().as_secs(), quick().timeout.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_newer_sharing_is_fetched_and_used() {
    let mut site = Site::two_of_three();
    let admins = [site.admins[0].expose_pem(), site.admins[1].expose_pem()];
    let admins = admins.map(|pem| SigningKey::from_pem(&pem).unwrap());
    site.refresh(&["fra", "gru", "nrt"], 2, &[&admins[0], &admins[1]]);
    opened(&site.open(1).await);
    assert_eq!(site.releaser.group("default", 1).unwrap().generation(), 2);
    let asked = site.net.asked();
    assert_eq!(
        asked
            .iter()
            .filter(|entry| entry.starts_with("key at "))
            .count(),
        1,
        "{asked:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_lags_behind_is_passed_over() {
    let mut site = Site::two_of_three();
    let admins = [site.admins[0].expose_pem(), site.admins[1].expose_pem()];
    let admins = admins.map(|pem| SigningKey::from_pem(&pem).unwrap());
    site.refresh(&["gru", "nrt"], 2, &[&admins[0], &admins[1]]);
    assert!(opened(&site.open(1).await).is_empty());
    assert_eq!(site.releaser.group("default", 1).unwrap().generation(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_descriptor_that_one_administrator_signed_is_not_believed() {
    let mut site = Site::two_of_three();
    let admin = SigningKey::from_pem(&site.admins[0].expose_pem()).unwrap();
    site.refresh(&["fra", "gru", "nrt"], 2, &[&admin]);
    let released = site.open(1).await;
    assert!(
        matches!(error(&released), ReleaseError::QuorumUnavailable { .. }),
        "{:?}",
        error(&released)
    );
    assert_eq!(site.releaser.group("default", 1).unwrap().generation(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_pretends_a_newer_sharing_is_passed_over() {
    let mut site = Site::two_of_three();
    let admin = SigningKey::from_pem(&site.admins[0].expose_pem()).unwrap();
    site.refresh(&["fra"], 2, &[&admin]);
    assert!(opened(&site.open(1).await).is_empty());
    assert_eq!(site.releaser.group("default", 1).unwrap().generation(), 1);
}

#[tokio::test(start_paused = true)]
async fn three_of_five_survive_a_liar_and_a_dead_holder() {
    let site = Site::new(3, 5, false, quick());
    site.net.set("fra", Conduct::Lies);
    site.net.set("gru", Conduct::Down);
    assert_eq!(opened(&site.open(1).await), ["fra"]);
    assert_eq!(site.net.asked(), NAMES);
}

#[tokio::test(start_paused = true)]
async fn wraps_of_other_keys_are_never_taken_to_a_holder() {
    let site = Site::two_of_three();
    let mut elements = site.elements(1);
    let Element::Wrap(wrap) = &elements[0] else {
        panic!("not labelled")
    };
    let mut octets = wrap.as_bytes().to_vec();
    let last = octets.len() - 1;
    octets[last] ^= 1;
    elements.insert(0, Element::Wrap(Box::new(Wrap::parse(&octets).unwrap())));
    let released = site.releaser.open(&site.group, elements).await;
    let ReleaseError::Element { source } = error(&released) else {
        panic!("{:?}", error(&released))
    };
    assert_eq!(source.id, ErrorId::WrapProofInvalid);
    assert_eq!(
        released.secrets[1].as_ref().map(LayerSecret::expose),
        Ok(PLAINTEXT)
    );

    site.net.asked();
    let released = site
        .releaser
        .open(
            &site.group,
            vec![Element::Wrap(Box::new(Wrap::parse(&octets).unwrap()))],
        )
        .await;
    assert!(matches!(error(&released), ReleaseError::Element { .. }));
    assert!(site.net.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn more_wraps_than_a_request_takes_are_split() {
    let site = Site::two_of_three();
    let released = site.open(MAX_WRAPS + 1).await;
    assert_eq!(released.secrets.len(), MAX_WRAPS + 1);
    opened(&released);
    assert_eq!(site.net.asked().len(), 4);
}

/// Each way to fail once for each suite: suites differ in what answers are, not in whom to ask.
#[tokio::test(start_paused = true)]
async fn sealed_shares_open_past_a_liar_and_a_dead_holder() {
    for suite in [Suite::Hybrid, Suite::SssXwing] {
        let site = || Site::of_suite(suite, 2, 3, false, quick());
        let well = site();
        assert_eq!(opened(&well.open(3).await), [""; 0]);
        assert_eq!(well.net.asked(), ["fra", "gru"]);

        let lies = site();
        lies.net.set("fra", Conduct::Lies);
        let released = lies.open(1).await;
        assert_eq!(opened(&released), ["fra"]);
        let lie = Answer::parse(suite, &released.accusations[0].partial).unwrap();
        assert_eq!(lie.holder().get(), 1);
        assert_eq!(lies.net.asked(), ["fra", "gru", "nrt"]);

        let down = site();
        down.net.set("gru", Conduct::Down);
        assert_eq!(opened(&down.open(1).await), [""; 0]);
        down.net.set("nrt", Conduct::Down);
        assert!(matches!(
            error(&down.open(1).await),
            ReleaseError::QuorumUnavailable {
                reached: 1,
                needed: 2,
                ..
            }
        ));

        let all_lie = site();
        all_lie.net.set("fra", Conduct::Lies);
        all_lie.net.set("gru", Conduct::Lies);
        let released = all_lie.open(1).await;
        let ReleaseError::QuorumUnavailable { reason, .. } = error(&released) else {
            panic!("{:?}", error(&released));
        };
        assert!(reason.contains("fra: gave a false answer"), "{reason}");
        assert!(reason.contains("gru: gave a false answer"), "{reason}");
        let mut named: Vec<&str> = released
            .accusations
            .iter()
            .map(|accusation| accusation.holder.as_str())
            .collect();
        named.sort_unstable();
        assert_eq!(named, ["fra", "gru"]);
    }
}

/// 4 kB each at three holders, 6 kB at five: what holders take in one body must not depend on luck.
#[tokio::test(start_paused = true)]
async fn large_wraps_are_split_so_that_every_body_fits() {
    for (n, requests) in [(3, 1), (5, 2)] {
        let site = Site::of_suite(
            Suite::Hybrid,
            2,
            n,
            false,
            Options {
                commitments: Commitments::Salted,
                kem: ReplyKem::XWing,
                ..Options::default()
            },
        );
        let elements = site.elements(MAX_WRAPS);
        let batches = split(elements.clone());
        assert_eq!(batches.len(), requests);
        assert_eq!(
            batches.iter().map(|batch| batch.len()).sum::<usize>(),
            MAX_WRAPS
        );
        let released = site.releaser.open(&site.group, elements).await;
        assert_eq!(opened(&released), [""; 0]);
        let longest = site.net.longest.load(std::sync::atomic::Ordering::Relaxed);
        // Room for a posture statement, which is not part of the question.
        assert!(
            longest > 0 && longest < crate::wire::MAX_BODY_LEN - 64 * 1024,
            "{longest}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn salted_requests_and_hybrid_answers_open_too() {
    let site = Site::new(
        2,
        3,
        false,
        Options {
            kem: ReplyKem::XWing,
            commitments: Commitments::Salted,
            ..Options::default()
        },
    );
    opened(&site.open(2).await);
}

#[tokio::test(start_paused = true)]
async fn a_stock_jwe_opens_under_an_unbound_key() {
    let site = Site::new(2, 3, true, quick());
    assert!(matches!(site.elements(1)[..], [Element::Jwe { .. }]));
    opened(&site.open(2).await);
    site.net.set("fra", Conduct::Lies);
    assert_eq!(opened(&site.open(1).await), ["fra"]);
}

#[test]
fn a_key_ring_opens_through_holders() {
    use crate::identity::HolderIdentity;
    use sealift_keywrap::{Identity, UnwrapError, WrappedKey};

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let site = Site::two_of_three();
    for name in ["fra", "gru", "nrt"] {
        site.net.delay(name, 0);
    }
    let subject = "ab".repeat(32);
    let wrapped: Vec<WrappedKey> = site
        .elements(3)
        .iter()
        .map(|element| {
            let Element::Wrap(wrap) = element else {
                panic!("not labelled")
            };
            WrappedKey {
                scheme: Scheme::sealift(),
                element: wrap.as_bytes().to_vec(),
            }
        })
        .collect();
    let net = Arc::clone(&site.net);
    let identity = HolderIdentity::new(
        Arc::new(site.releaser),
        site.group.clone(),
        runtime.handle().clone(),
    );
    assert_eq!(identity.fingerprint(), site.group.fingerprint());

    // A label that names another layer is not taken to the holders.
    let other = "cd".repeat(32);
    let context = WrapContext {
        subject: Some(&other),
        ..WrapContext::default()
    };
    assert!(matches!(
        identity.unwrap_key(&wrapped[0], &context),
        Err(UnwrapError::Malformed { .. })
    ));
    assert!(net.asked().is_empty());

    identity.prepare(&wrapped);
    let context = WrapContext {
        subject: Some(&subject),
        ..WrapContext::default()
    };
    for wrapped in &wrapped {
        assert_eq!(
            identity.unwrap_key(wrapped, &context).unwrap().expose(),
            PLAINTEXT
        );
    }
    // One request for the whole image: nobody was asked twice.
    let asked = net.asked();
    assert_eq!(
        asked.iter().collect::<BTreeSet<_>>().len(),
        asked.len(),
        "{asked:?}"
    );

    for name in ["fra", "gru", "nrt"] {
        net.set(name, Conduct::Refuses(Code::Forbidden));
    }
    let UnwrapError::Denied { code, .. } = identity.unwrap_key(&wrapped[0], &context).unwrap_err()
    else {
        panic!("not denied")
    };
    assert_eq!(&*code, "Forbidden (request r-1)");
}
