//! A deployment in one process: holders with real stores and dealt shares, administrators, a posture service, nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use sealift_holder::certificate::{self, Authority, Validity};
use sealift_holder::command::{Admission, Command, KeyPlan, Order};
use sealift_holder::deployment::DeploymentId;
use sealift_holder::descriptor::Administrator;
use sealift_holder::keys::SigningKey;
use sealift_holder::names::NodeName;
use sealift_holder::request::sign_key_request;
use sealift_holder::server::commands::{self, Checked, Refusal};
use sealift_holder::server::decision::Caller;
use sealift_holder::server::quota::Quota;
use sealift_holder::server::state::{Applied, Deployment, State};
use sealift_holder::server::store::{ShareId, SqliteStore, Store};
use sealift_holder::server::vault::{ShareVault, VaultError};
use sealift_holder::server::writer::{Transaction, Writer};
use sealift_holder::server::{Config, Limits, Running, Server};
use sealift_holder::statement::{
    CEREMONY, COMMAND, CeremonyMessage, HolderDescriptor, KEY_DESCRIPTOR, KeyRequest, POSTURE,
    Posture,
};
use sealift_holder::tls::{self, Credential};
use sealift_holder::wire::{Evidence, PartialsRequest, Step, WireWrap};
use sealift_holder::{Clock, Octets, dsse};
use sealift_policy::{PolicySet, PostureService};
use sealift_threshold::{
    Combiner, DescriptorParts, GroupKey, HolderEntry, HolderId, HpkePrivateKey, KeyShare, Label,
    Part, PartialDecryption, ProofKind, ReplyContext, ReplyKem, ReplyKey, Residency, SealedReply,
    Share, Subject, SubjectKind, Suite, Wrap, deal,
};
use tempfile::TempDir;
use tokio::net::TcpSocket;
use zeroize::Zeroizing;

pub(crate) const NOW: u64 = 1_800_000_000_000;
pub(crate) const DEPLOYMENT: DeploymentId = DeploymentId([7; 16]);
pub(crate) const NAMES: [&str; 5] = ["fra", "gru", "nrt", "syd", "bom"];

/// A clock that only tests move.
#[derive(Clone)]
pub(crate) struct TestClock(Arc<AtomicU64>);

impl TestClock {
    pub(crate) fn at(now_ms: u64) -> Self {
        Self(Arc::new(AtomicU64::new(now_ms)))
    }

    pub(crate) fn set(&self, now_ms: u64) {
        self.0.store(now_ms, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn clock(&self) -> Clock {
        let this = self.clone();
        Arc::new(move || this.now())
    }
}

/// Whose share, and its octets.
type DealtShare = (HolderId, Zeroizing<Vec<u8>>);

/// Shares in memory. What is promoted is what was dealt for that generation.
#[derive(Debug, Default)]
pub(crate) struct TestVault {
    pub(crate) dealt: Mutex<BTreeMap<ShareId, DealtShare>>,
    pub(crate) destroyed: Mutex<Vec<ShareId>>,
}

impl ShareVault for TestVault {
    fn get(&self, id: &ShareId) -> Result<Option<KeyShare>, VaultError> {
        let dealt = self.dealt.lock().unwrap();
        Ok(dealt
            .get(id)
            .map(|(index, octets)| KeyShare::from_octets(*index, id.generation, octets).unwrap()))
    }

    fn promote(
        &self,
        group: &GroupKey,
        _: &mut Transaction<'_>,
    ) -> Result<Option<KeyShare>, VaultError> {
        self.get(&commands::share_id(group))
    }

    fn destroy(&self, id: &ShareId, _: &mut Transaction<'_>) -> Result<(), VaultError> {
        self.destroyed.lock().unwrap().push(id.clone());
        Ok(())
    }
}

pub(crate) struct Person {
    pub(crate) name: &'static str,
    pub(crate) key: SigningKey,
}

pub(crate) struct HolderKeys {
    pub(crate) descriptor: HolderDescriptor,
    pub(crate) authority: SigningKey,
    pub(crate) service: SigningKey,
    pub(crate) signer: Arc<SigningKey>,
    pub(crate) vault: Arc<TestVault>,
    pub(crate) dir: TempDir,
    pub(crate) addr: SocketAddr,
    _reserved: Option<TcpSocket>,
}

/// An address on loopback, and a socket that is bound to it and never listens. While that is there, the kernel gives the port to
/// nobody who takes any port, so that a holder can begin there, end, and begin again; connections are refused between. Linux lets
/// one more socket be bound beside it; elsewhere the port is only likely to stay free.
fn reserve_address() -> (SocketAddr, Option<TcpSocket>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let addr = socket.local_addr().unwrap();
    (addr, cfg!(target_os = "linux").then_some(socket))
}

impl HolderKeys {
    pub(crate) fn store_path(&self) -> std::path::PathBuf {
        self.dir.path().join("store.sqlite")
    }
}

pub(crate) struct Node {
    pub(crate) name: NodeName,
    pub(crate) key: SigningKey,
}

pub(crate) struct Rig {
    pub(crate) clock: TestClock,
    pub(crate) alice: Person,
    pub(crate) bob: Person,
    pub(crate) posture_service: SigningKey,
    pub(crate) holders: Vec<HolderKeys>,
    pub(crate) node: Node,
    pub(crate) t: u8,
}

pub(crate) fn rng() -> SystemRandom {
    SystemRandom::new()
}

fn person(name: &'static str) -> Person {
    Person {
        name,
        key: SigningKey::generate().unwrap(),
    }
}

pub(crate) fn node(name: &str) -> Node {
    Node {
        name: NodeName::new(name, "ap-northeast-1", "prod", "JP").unwrap(),
        key: SigningKey::generate().unwrap(),
    }
}

impl Rig {
    pub(crate) fn new(n: usize, t: u8) -> Self {
        let holders = NAMES.iter().take(n).zip(1u8..).map(|(name, index)| {
            let (addr, reserved) = reserve_address();
            let (authority, service, signer) = (
                SigningKey::generate().unwrap(),
                SigningKey::generate().unwrap(),
                SigningKey::generate().unwrap(),
            );
            let validity = Validity::from(NOW / 1000, certificate::AUTHORITY_LIFETIME);
            let descriptor = HolderDescriptor {
                v: 1,
                deployment: DEPLOYMENT,
                name: (*name).to_owned(),
                index,
                jurisdiction: "DE".to_owned(),
                url: format!("https://{addr}"),
                ca: Authority::certificate(name, &authority, validity).unwrap(),
                signing_key: signer.spki().into(),
                hpke_key: Octets(vec![4; 65]),
            };
            let dir = TempDir::new().unwrap();
            SqliteStore::create(&dir.path().join("store.sqlite")).unwrap();
            let vault = Arc::default();
            HolderKeys {
                descriptor,
                authority,
                service,
                signer: Arc::new(signer),
                vault,
                dir,
                addr,
                _reserved: reserved,
            }
        });
        Self {
            clock: TestClock::at(NOW),
            alice: person("alice"),
            bob: person("bob"),
            posture_service: SigningKey::generate().unwrap(),
            holders: holders.collect(),
            node: node("tokyo-7"),
            t,
        }
    }

    pub(crate) fn deployment(&self, at: usize) -> Deployment {
        let all = self.holders.iter().map(|holder| holder.descriptor.clone());
        let administrators = [&self.alice, &self.bob];
        Deployment {
            me: self.holders[at].descriptor.clone(),
            peers: all
                .enumerate()
                .filter(|(index, _)| *index != at)
                .map(|(_, descriptor)| descriptor)
                .collect(),
            administrators: administrators
                .map(|person| Administrator {
                    name: person.name.to_owned(),
                    key: person.key.public().clone(),
                })
                .to_vec(),
        }
    }

    pub(crate) fn state(&self, at: usize) -> State {
        State::new(Arc::new(self.deployment(at)))
    }

    pub(crate) fn open_store(&self, at: usize) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(&self.holders[at].store_path()).unwrap())
    }

    /// Signs a command by both administrators.
    pub(crate) fn command(&self, subject: &str, version: u64, order: Order) -> Octets {
        self.command_by(subject, version, order, &[&self.alice.key, &self.bob.key])
    }

    pub(crate) fn command_by(
        &self,
        subject: &str,
        version: u64,
        order: Order,
        by: &[&SigningKey],
    ) -> Octets {
        self.command_of(DEPLOYMENT, subject, version, order, by)
    }

    pub(crate) fn command_of(
        &self,
        deployment: DeploymentId,
        subject: &str,
        version: u64,
        order: Order,
        by: &[&SigningKey],
    ) -> Octets {
        let command = Command {
            v: 1,
            deployment,
            subject: subject.to_owned(),
            version,
            issued_at: self.clock.now(),
            reason: "test".to_owned(),
            order,
        };
        dsse::sign(COMMAND, &serde_json::to_vec(&command).unwrap(), by, &rng())
            .unwrap()
            .into()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.holders
            .iter()
            .map(|holder| holder.descriptor.name.clone())
            .collect()
    }

    pub(crate) fn plan(&self, unbound: bool) -> KeyPlan {
        KeyPlan {
            epoch: 1,
            threshold: self.t,
            holders: self.names(),
            unbound,
            residency: Vec::new(),
            suite: Suite::Tdh2,
            deletion_protection: false,
        }
    }

    pub(crate) fn admission(&self) -> Admission {
        Admission {
            home: self.names()[0].clone(),
            region: self.node.name.region.clone(),
            zone: self.node.name.zone.clone(),
            jurisdiction: self.node.name.jurisdiction.clone(),
            join_key: SigningKey::generate().unwrap().spki().into(),
            join_until: NOW + 1000,
        }
    }

    pub(crate) fn policy(&self) -> Octets {
        let service = PostureService {
            name: "scanner".to_owned(),
            public_key: self.posture_service.spki().to_vec(),
        };
        let jurisdictions = ["DE", "BR", "JP"].map(str::to_owned).to_vec();
        PolicySet::starting_point(jurisdictions, vec![service])
            .unwrap()
            .to_json()
            .into()
    }

    /// Deals a key to all holders and returns it.
    pub(crate) fn deal(&self, key_id: &str, unbound: bool) -> GroupKey {
        self.deal_as(key_id, Suite::Tdh2, unbound)
    }

    /// Deals a key of any suite.
    pub(crate) fn deal_as(&self, key_id: &str, suite: Suite, unbound: bool) -> GroupKey {
        let indices: BTreeSet<HolderId> = self
            .holders
            .iter()
            .map(|holder| HolderId::new(holder.descriptor.index).unwrap())
            .collect();
        let dealt = deal(self.t, &indices, &rng()).unwrap();
        let mut keys: BTreeMap<HolderId, HpkePrivateKey> = BTreeMap::new();
        if suite.has_sealed_shares() {
            for index in &indices {
                let key = HpkePrivateKey::generate(ReplyKem::XWing, &rng()).unwrap();
                keys.insert(*index, key);
            }
        }
        let has_scalar = suite != Suite::SssXwing;
        let public = |share: &Share| {
            let key = p256_public(share.expose());
            <[u8; 33]>::try_from(key.as_slice()).unwrap()
        };
        let group = GroupKey::from_parts(DescriptorParts {
            key_id: key_id.into(),
            epoch: 1,
            generation: 1,
            public_key: has_scalar.then(|| dealt.commitments[0]),
            unbound,
            parts: vec![Part {
                t: self.t,
                holders: indices.iter().copied().collect(),
                commitments: if has_scalar {
                    dealt.commitments.clone()
                } else {
                    Vec::new()
                },
            }],
            holders: self
                .holders
                .iter()
                .map(|holder| {
                    let index = HolderId::new(holder.descriptor.index).unwrap();
                    HolderEntry {
                        index,
                        id: holder.descriptor.name.as_str().into(),
                        jurisdiction: holder.descriptor.jurisdiction.as_str().into(),
                        public_share: has_scalar.then(|| public(&dealt.shares[&index])),
                        proof: ProofKind::Dleq,
                        kem_public_key: keys.get(&index).map(|key| key.public().into()),
                    }
                })
                .collect(),
        })
        .unwrap();
        for holder in &self.holders {
            let index = HolderId::new(holder.descriptor.index).unwrap();
            let octets = dealt.shares[&index].expose();
            let share = Share::decode(index, 1, octets).unwrap();
            let share = match (suite, keys.remove(&index)) {
                (Suite::SssXwing, Some(key)) => KeyShare::SssXwing {
                    index,
                    generation: 1,
                    key,
                },
                (Suite::Hybrid, Some(key)) => KeyShare::Hybrid(share, key),
                _ => share.into(),
            };
            let octets = share.to_octets();
            holder
                .vault
                .dealt
                .lock()
                .unwrap()
                .insert(commands::share_id(&group), (index, octets));
        }
        group
    }

    pub(crate) fn acceptance(&self, at: usize, group: &GroupKey) -> Octets {
        let holder = &self.holders[at];
        let message = CeremonyMessage {
            ceremony: "00".repeat(16),
            key_id: group.key_id().to_owned(),
            epoch: group.epoch(),
            generation: group.generation(),
            step: Step::Accept,
            from: holder.descriptor.index,
            to: 0,
            view: digest(&SHA256, &group.to_json()).as_ref().into(),
            public: Octets::default(),
            enc: Octets::default(),
            ct: Octets::default(),
            kem_public_key: None,
        };
        dsse::sign(
            CEREMONY,
            &serde_json::to_vec(&message).unwrap(),
            &[&holder.signer],
            &rng(),
        )
        .unwrap()
        .into()
    }

    pub(crate) fn descriptor(&self, group: &GroupKey) -> Order {
        let by = [&self.alice.key, &self.bob.key];
        Order::Descriptor {
            descriptor: dsse::sign(KEY_DESCRIPTOR, &group.to_json(), &by, &rng())
                .unwrap()
                .into(),
            acceptances: (0..self.holders.len())
                .map(|at| self.acceptance(at, group))
                .collect(),
        }
    }

    /// Everything up to a usable key and an admitted node.
    pub(crate) fn founding(&self, group: &GroupKey) -> Vec<Octets> {
        let key = format!("key:{}", group.key_id());
        vec![
            self.command("policy", 1, Order::Policy { set: self.policy() }),
            self.command(
                &format!("node:{}", self.node.name.name),
                1,
                Order::AdmitNode(self.admission()),
            ),
            self.command(
                &key,
                1,
                Order::CreateKey(KeyPlan {
                    suite: group.suite(),
                    ..self.plan(group.unbound())
                }),
            ),
            self.command(&key, 1, self.descriptor(group)),
        ]
    }

    pub(crate) fn config(&self, at: usize, store: Arc<dyn Store>) -> Config {
        let holder = &self.holders[at];
        let authority = Authority::new(&holder.descriptor.name, &holder.authority).unwrap();
        let validity = Validity::from(self.clock.now() / 1000, certificate::SERVICE_LIFETIME);
        let leaf = authority
            .service(
                &holder.descriptor.name,
                &["127.0.0.1"],
                holder.service.public(),
                validity,
            )
            .unwrap();
        Config {
            deployment: self.deployment(at),
            listen: holder.addr,
            local: Some((Ipv4Addr::LOCALHOST, 0).into()),
            store,
            vault: holder.vault.clone(),
            signer: Arc::clone(&holder.signer),
            credential: Credential::new(&leaf, &holder.service).unwrap(),
            clock: self.clock.clock(),
            rng: Arc::new(rng()),
            quota: Quota::default(),
            ntp: Vec::new(),
            limits: Limits {
                pull_every: std::time::Duration::from_millis(50),
                ..Limits::default()
            },
            links: Some(Vec::new()),
            routes: axum::Router::new(),
        }
    }

    /// Starts one holder with a usable key; nobody else is there.
    pub(crate) async fn start(&self, at: usize, group: &GroupKey) -> Running {
        let running = Server::start(self.config(at, self.open_store(at)))
            .await
            .unwrap();
        self.found(&running, group).await;
        running
    }

    pub(crate) async fn found(&self, running: &Running, group: &GroupKey) {
        let service = running.service();
        let at = self
            .names()
            .iter()
            .position(|name| *name == service.name)
            .unwrap();
        for envelope in self.founding(group) {
            let applied = self.apply(&service.writer, &envelope, at).await;
            assert_eq!(applied, Ok(Applied::Applied { instead_of: None }));
        }
        let (name, spki) = (self.node.name.name.clone(), self.node.key.spki().to_vec());
        service
            .writer
            .transact(move |transaction| transaction.put_pin(&name, &spki))
            .await
            .unwrap();
    }

    /// Applies a command as the service does, at the holder `at`.
    pub(crate) async fn apply(
        &self,
        writer: &Writer,
        envelope: &Octets,
        at: usize,
    ) -> Result<Applied, Refusal> {
        let checked: Checked = commands::check(&writer.state(), &envelope.0)?;
        let vault = Arc::clone(&self.holders[at].vault);
        let apply = move |transaction: &mut Transaction<'_>| {
            commands::apply(transaction, &checked, &*vault, "operator:alice")
        };
        writer.transact(apply).await.unwrap()
    }

    pub(crate) fn node_chain(&self) -> String {
        self.node_chain_of(
            &self.node,
            0,
            Validity::from(self.clock.now() / 1000, certificate::NODE_LIFETIME),
        )
    }

    pub(crate) fn node_chain_of(&self, node: &Node, home: usize, validity: Validity) -> String {
        let holder = &self.holders[home];
        let authority = Authority::new(&holder.descriptor.name, &holder.authority).unwrap();
        authority
            .node(&node.name, node.key.public(), validity)
            .unwrap()
    }

    pub(crate) fn http(&self, at: usize, chain: &str, key: &SigningKey) -> reqwest::Client {
        self.http_with(at, Credential::new(chain, key).unwrap())
    }

    pub(crate) fn http_with(&self, at: usize, credential: Arc<Credential>) -> reqwest::Client {
        let holder = &self.holders[at].descriptor;
        let tls =
            tls::client_config(&holder.name, &holder.ca, credential, self.clock.clock()).unwrap();
        reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .build()
            .unwrap()
    }

    pub(crate) fn node_http(&self, at: usize) -> reqwest::Client {
        self.http(at, &self.node_chain(), &self.node.key)
    }

    pub(crate) fn operator_http(&self, at: usize, person: &Person) -> reqwest::Client {
        let validity = Validity::from(self.clock.now() / 1000, 3600);
        self.http(
            at,
            &certificate::operator(person.name, &person.key, validity).unwrap(),
            &person.key,
        )
    }

    pub(crate) fn url(&self, at: usize, path: &str) -> String {
        format!("{}{path}", self.holders[at].descriptor.url)
    }

    pub(crate) fn caller(&self) -> Caller {
        Caller::Node {
            name: self.node.name.clone(),
            key: self.node.key.public().clone(),
            validity: Validity::from(self.clock.now() / 1000, certificate::NODE_LIFETIME),
        }
    }

    pub(crate) fn label(&self, group: &GroupKey) -> Label {
        Label {
            suite: group.suite(),
            key_id: group.key_id().into(),
            epoch: group.epoch(),
            repo: "registry.example/app".into(),
            subject: Subject {
                kind: SubjectKind::Layer,
                value: [7; 32],
            },
            platform: "linux/amd64".into(),
            residency: Residency::Any,
            policy: "default".into(),
            created_at: NOW / 1000,
        }
    }

    pub(crate) fn posture(&self) -> Posture {
        Posture {
            node: self.node.name.name.clone(),
            score: 90,
            zone: "prod".to_owned(),
            disk_encrypted: Some(true),
            observed_at: self.clock.now(),
            source: "scanner".to_owned(),
        }
    }

    pub(crate) fn signed_posture(&self, posture: &Posture) -> Octets {
        let payload = serde_json::to_vec(posture).unwrap();
        dsse::sign(POSTURE, &payload, &[&self.posture_service], &rng())
            .unwrap()
            .into()
    }

    /// A request for some wraps by the node, and the key that opens the answers.
    pub(crate) fn ask(&self, group: &GroupKey, wraps: &[&Wrap]) -> (PartialsRequest, ReplyKey) {
        let reply = ReplyKey::generate(ReplyKem::P256, &rng()).unwrap();
        let request = KeyRequest {
            key_id: group.key_id().to_owned(),
            epoch: group.epoch(),
            wraps: wraps
                .iter()
                .map(|wrap| wrap.digest().as_slice().into())
                .collect(),
            wrap_commitments: Vec::new(),
            ephemeral_key: reply.public().into(),
            kem: 0x0010,
            nonce: nonce(),
            lease_seconds: 60,
            justification: String::new(),
        };
        let wraps = wraps
            .iter()
            .map(|wrap| WireWrap::Compact(wrap.as_bytes().into()))
            .collect();
        (self.body(&request, wraps), reply)
    }

    pub(crate) fn body(&self, request: &KeyRequest, wraps: Vec<WireWrap>) -> PartialsRequest {
        self.body_by(request, wraps, &self.node.key, self.clock.now())
    }

    pub(crate) fn body_by(
        &self,
        request: &KeyRequest,
        wraps: Vec<WireWrap>,
        key: &SigningKey,
        now_ms: u64,
    ) -> PartialsRequest {
        PartialsRequest {
            request: sign_key_request(request, now_ms, key, &rng())
                .unwrap()
                .into(),
            wraps,
            salts: None,
            proof: None,
            evidence: Some(Evidence {
                posture: Some(self.signed_posture(&self.posture())),
            }),
        }
    }
}

pub(crate) fn nonce() -> Octets {
    let mut nonce = vec![0; 32];
    aws_lc_rs::rand::SecureRandom::fill(&rng(), &mut nonce).unwrap();
    nonce.into()
}

/// Opens a sealed answer of a holder.
pub(crate) fn open(
    reply: &ReplyKey,
    request_hash: [u8; 32],
    wrap: &Wrap,
    holder: u8,
    enc: &Octets,
    ct: &Octets,
) -> PartialDecryption {
    let context = ReplyContext {
        request_hash,
        wrap_digest: wrap.digest(),
        holder: HolderId::new(holder).unwrap(),
        epoch: wrap.label().epoch,
    };
    let sealed = SealedReply {
        enc: enc.0.clone(),
        ct: ct.0.clone(),
    };
    PartialDecryption::parse(&reply.open(&sealed, &context).unwrap()).unwrap()
}

pub(crate) fn combine(
    group: &GroupKey,
    wrap: &Wrap,
    request_hash: [u8; 32],
    partials: &[PartialDecryption],
) -> Vec<u8> {
    let checked = wrap.check(group).unwrap();
    Combiner::new(group, checked, request_hash)
        .combine(partials)
        .unwrap()
        .secret
        .expose()
        .to_vec()
}

fn p256_public(scalar: &[u8; 32]) -> Vec<u8> {
    use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
    let key = PrivateKey::from_private_key(&ECDH_P256, scalar).unwrap();
    let public = key.compute_public_key().unwrap();
    let octets: &[u8] = public.as_ref();
    let mut compressed = vec![if octets[64] & 1 == 0 { 2 } else { 3 }];
    compressed.extend_from_slice(&octets[1..33]);
    compressed
}

pub(crate) fn sqlite(path: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(path).unwrap()
}
