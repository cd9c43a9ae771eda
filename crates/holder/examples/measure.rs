//! Measures a running deployment of key holders from where it stands: `scripts/bench holders` runs it inside the regions.
//!
//! ```text
//! measure releases --holders FILE --holder NAME [--key ID] [--seconds N] [--wraps N] [--tasks N]
//! measure unwrap   --holders FILE [--key ID] [--trials N] [--cold] [--wraps N]
//! measure revoke   --holders FILE --origin NAME --node NAME --sign-with KEY --sign-with KEY
//!                  --operator NAME.pem --auditor NAME.pem [--trials N] [--spacing MS]
//! measure zeroise  --holders FILE --origin NAME --node NAME --sign-with KEY --sign-with KEY
//!                  --operator NAME.pem --auditor NAME.pem --agent SOCKET [--trials N] [--wraps N]
//! measure oracle   --holders FILE --holder NAME [--trials N]
//! ```
//!
//! Prints one JSON object. Times are milliseconds of one monotonic clock, but for those out of the holders' records, which are
//! of the wall clock that all processes of one machine share.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    reason = "a measuring tool for developers: it stops where anything is not as it should be"
)]

use std::collections::BTreeMap;
#[cfg(unix)]
use std::io::{Read, Write};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
#[cfg(unix)]
use base64::Engine;
#[cfg(unix)]
use base64::engine::general_purpose::STANDARD;
use sealift_holder::client::http::{Clients, HolderClient};
use sealift_holder::client::release::{Element, Options, Releaser};
use sealift_holder::command::{Command, Order};
use sealift_holder::deployment::{Deployment, DeploymentId, Holder};
use sealift_holder::dsse;
use sealift_holder::keys::SigningKey;
use sealift_holder::request::sign_key_request;
use sealift_holder::statement::{COMMAND, KeyRequest};
use sealift_holder::tls::Credential;
use sealift_holder::wire::{CommandStatus, Evidence, PartialsRequest, WireWrap, WrapAnswer};
use sealift_holder::{Clock, Octets};
use sealift_threshold::{
    GroupKey, Label, ReplyKem, ReplyKey, Residency, Subject, SubjectKind, Wrap,
};
use serde_json::json;

fn main() {
    let arguments = Arguments::read();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            match arguments.mode.as_str() {
                "releases" => releases(&arguments).await,
                "unwrap" => unwrap(&arguments).await,
                "revoke" => revoke(&arguments).await,
                #[cfg(unix)]
                "zeroise" => zeroise(&arguments).await,
                "oracle" => oracle(&arguments).await,
                other => panic!("no such mode: {other}"),
            }
        });
}

/// How many releases one holder gives in a second: each is decided, recorded on disk, computed, proven and sealed.
async fn releases(arguments: &Arguments) {
    let node = Arc::new(Node::load(arguments));
    let name = arguments.text("holder");
    let wraps = Arc::new(node.wraps(1024));
    let per_request = arguments.number("wraps", 16) as usize;
    let seconds = arguments.number("seconds", 20);
    let (released, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let over = Arc::new(AtomicBool::new(false));
    let began = Instant::now();
    let tasks: Vec<_> = (0..arguments.number("tasks", 8) as usize)
        .map(|task| {
            let (node, wraps, client) = (Arc::clone(&node), Arc::clone(&wraps), node.client(&name));
            let (released, refused, over) = (
                Arc::clone(&released),
                Arc::clone(&refused),
                Arc::clone(&over),
            );
            tokio::spawn(async move {
                let mut next = task * 97;
                while !over.load(Ordering::Relaxed) {
                    let chosen: Vec<&Wrap> = (0..per_request)
                        .map(|offset| &wraps[(next + offset) % wraps.len()])
                        .collect();
                    next += per_request;
                    let (request, _) = node.request(&chosen);
                    match client.partials(node.group.key_id(), &request).await {
                        Ok(answer) => {
                            let sealed =
                                |answer: &&WrapAnswer| matches!(answer, WrapAnswer::Sealed { .. });
                            let count = answer.answers.iter().filter(sealed).count() as u64;
                            released.fetch_add(count, Ordering::Relaxed);
                            refused
                                .fetch_add(answer.answers.len() as u64 - count, Ordering::Relaxed);
                        }
                        Err(error) => {
                            eprintln!("{error}");
                            refused.fetch_add(per_request as u64, Ordering::Relaxed);
                        }
                    }
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    let elapsed = began.elapsed().as_secs_f64();
    let released = released.load(Ordering::Relaxed);
    println!(
        "{}",
        json!({"releases": released, "refused": refused.load(Ordering::Relaxed), "seconds": elapsed,
               "per_second": released as f64 / elapsed, "wraps_per_request": per_request})
    );
}

/// How long a node waits for a layer key.
async fn unwrap(arguments: &Arguments) {
    let node = Node::load(arguments);
    let trials = arguments.number("trials", 1000);
    let count = arguments.number("wraps", 1) as usize;
    let cold = arguments.flag("cold");
    let mut warm = node.releaser();
    if !cold {
        for _ in 0..3 {
            node.open(&warm, &node.wraps(count))
                .await
                .expect("a warm-up release");
        }
    }
    let mut times = Vec::new();
    let mut failures: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..trials {
        let wraps = node.wraps(count);
        if cold {
            warm = node.releaser();
        }
        let began = Instant::now();
        match node.open(&warm, &wraps).await {
            Ok(()) => times.push(milliseconds(began.elapsed())),
            Err(error) => *failures.entry(error).or_default() += 1,
        }
    }
    println!(
        "{}",
        json!({"cold": cold, "wraps": count, "ms": spread(&times), "failures": failures})
    );
}

/// Whether a refusal takes longer for a key that is there than for one that is not.
///
/// Asked in turn over one connection. A node that is revoked is the one that must not find out.
async fn oracle(arguments: &Arguments) {
    let node = Node::load(arguments);
    let client = node.client(&arguments.text("holder"));
    let wraps = node.wraps(1);
    let there = node.group.key_id().to_owned();
    let mut times: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut codes: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..arguments.number("trials", 500) {
        for (name, key_id) in [("there", &*there), ("not_there", "no-such-key")] {
            let (mut request, _) = node.request_for(key_id, &[&wraps[0]]);
            // Without a statement about the node policy denies what is there.
            request.evidence = None;
            let began = Instant::now();
            let answer = client.partials(key_id, &request).await;
            let took = milliseconds(began.elapsed());
            times.entry(name).or_default().push(took);
            let code = answer.map_or_else(
                |error| error.code().map_or("none", |code| code.as_str()).to_owned(),
                |_| "Released".to_owned(),
            );
            *codes.entry(format!("{name}: {code}")).or_default() += 1;
        }
    }
    let [there, not_there] = ["there", "not_there"].map(|name| spread(&times[name]));
    println!(
        "{}",
        json!({"codes": codes, "ms": {"there": there, "not_there": not_there}})
    );
}

/// How long after a revocation was handed in an opening could still begin, and end.
async fn revoke(arguments: &Arguments) {
    let node = Arc::new(Node::load(arguments));
    let trials = arguments.number("trials", 1000);
    let spacing = Duration::from_millis(arguments.number("spacing", 8));
    let (origin, name) = (arguments.text("origin"), arguments.text("node"));
    let signers: Vec<SigningKey> = arguments
        .all("sign-with")
        .iter()
        .map(|path| key(path))
        .collect();
    let admin = operator(&arguments.text("operator"));
    let auditor = operator(&arguments.text("auditor"));
    let at_origin = HolderClient::new(node.holder(&origin), Some(&admin), clock()).unwrap();
    let auditors = Clients::new(&node.deployment.holders, Some(&auditor), &clock()).unwrap();
    let deployment = node.deployment.id.expect("holders with descriptors");
    let mut version = latest_version(&auditors, &name).await;
    let mut runs = Vec::new();
    for _ in 0..trials {
        let over = Arc::new(AtomicBool::new(false));
        let tasks: Vec<_> = node
            .deployment
            .holders
            .iter()
            .map(|holder| {
                tokio::spawn(hammer(
                    Arc::clone(&node),
                    holder.clone(),
                    spacing,
                    Arc::clone(&over),
                ))
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(450 + u64::from(random()[0]))).await;
        version += 1;
        let order = command(deployment, &name, version, Order::RevokeNode {}, &signers);
        let (t0, wall) = (Instant::now(), unix_ms());
        let answer = at_origin.command(&order).await.expect("a revocation");
        let answered = milliseconds(t0.elapsed());
        // Long enough for what had begun before to end.
        tokio::time::sleep(Duration::from_millis(350)).await;
        over.store(true, Ordering::Relaxed);
        let mut last_begin = Vec::new();
        let mut ok = true;
        for task in tasks {
            let seen: Vec<(Instant, bool)> = task.await.unwrap();
            let last = seen
                .iter()
                .filter(|(_, released)| *released)
                .map(|(begin, _)| *begin)
                .max();
            ok &= seen
                .iter()
                .any(|(begin, released)| !released && *begin > t0);
            last_begin.push(last.map_or(f64::MIN, |begin| signed(begin, t0)));
        }
        version += 1;
        let back = command(deployment, &name, version, Order::UnrevokeNode {}, &signers);
        at_origin
            .command(&back)
            .await
            .expect("taking the revocation back");
        wait_until_allowed(&node).await;
        runs.push((
            wall,
            answered,
            answer.status,
            second_largest(&last_begin),
            ok,
        ));
    }
    let mut applied_origin = Vec::new();
    let mut applied_quorum = Vec::new();
    let mut applied_all = Vec::new();
    let mut last_release = Vec::new();
    let rows = record(&auditors, &name).await;
    for (wall, ..) in &runs {
        let mut applied: Vec<f64> = Vec::new();
        let mut released: Vec<f64> = Vec::new();
        for (holder, rows) in &rows {
            let command = rows
                .iter()
                .find(|row| row.event == "command" && row.time_ms >= *wall);
            let at = command.map_or(f64::MAX, |row| (row.time_ms - wall) as f64);
            if *holder == origin {
                applied_origin.push(at);
            }
            applied.push(at);
            // Releases of this trial end where the next permission begins.
            let until = wall + 700;
            let last = rows
                .iter()
                .rfind(|row| row.event == "release" && row.time_ms < until);
            released.push(last.map_or(f64::MIN, |row| row.time_ms as f64 - *wall as f64));
        }
        applied.sort_by(f64::total_cmp);
        applied_quorum.push(applied[1]);
        applied_all.push(*applied.last().unwrap());
        last_release.push(second_largest(&released));
    }
    let effective = runs
        .iter()
        .filter(|run| run.2 == CommandStatus::Effective)
        .count();
    let began: Vec<f64> = runs.iter().map(|run| run.3.max(0.0)).collect();
    let answered: Vec<f64> = runs.iter().map(|run| run.1).collect();
    println!(
        "{}",
        json!({
            "origin": origin, "trials": runs.len(), "effective": effective,
            "denied_everywhere_after": runs.iter().filter(|run| run.4).count(),
            "last_successful_opening_begun_ms": spread(&began),
            "last_successful_opening_recorded_ms": spread(&last_release.iter().map(|at| at.max(0.0)).collect::<Vec<_>>()),
            "applied_at_origin_ms": spread(&applied_origin),
            "applied_at_quorum_ms": spread(&applied_quorum),
            "applied_at_all_ms": spread(&applied_all),
            "answered_ms": spread(&answered),
        })
    );
}

/// Asks one holder over and over, without waiting for its answers; returns when each request began and whether it was granted.
async fn hammer(
    node: Arc<Node>,
    holder: Holder,
    spacing: Duration,
    over: Arc<AtomicBool>,
) -> Vec<(Instant, bool)> {
    let client = node.client(&holder.name);
    let wrap = Arc::new(node.wraps(1).remove(0));
    let mut pending = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let (node, client, wrap) = (Arc::clone(&node), client.clone(), Arc::clone(&wrap));
        pending.push(tokio::spawn(async move {
            let (request, _) = node.request(&[&wrap]);
            let begin = Instant::now();
            let answer = client.partials(node.group.key_id(), &request).await;
            let released = answer
                .is_ok_and(|answer| matches!(answer.answers[..], [WrapAnswer::Sealed { .. }]));
            (begin, released)
        }));
        tokio::time::sleep(spacing).await;
    }
    let mut seen = Vec::new();
    for task in pending {
        seen.push(task.await.unwrap());
    }
    seen
}

async fn wait_until_allowed(node: &Node) {
    let wraps = node.wraps(1);
    let holders = node.deployment.holders.iter();
    futures_util::future::join_all(holders.map(|holder| async {
        let client = node.client(&holder.name);
        loop {
            let (request, _) = node.request(&[&wraps[0]]);
            let answer = client.partials(node.group.key_id(), &request).await;
            if answer.is_ok_and(|answer| matches!(answer.answers[..], [WrapAnswer::Sealed { .. }]))
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }))
    .await;
}

/// How long after a revocation was handed in the node's agent has wiped the layer keys it held.
#[cfg(unix)]
async fn zeroise(arguments: &Arguments) {
    let node = Node::load(arguments);
    let trials = arguments.number("trials", 1000);
    let count = arguments.number("wraps", 12) as usize;
    let name = arguments.text("node");
    let (origin, agent) = (arguments.text("origin"), arguments.text("agent"));
    let signers: Vec<SigningKey> = arguments
        .all("sign-with")
        .iter()
        .map(|path| key(path))
        .collect();
    let admin = operator(&arguments.text("operator"));
    let auditor = operator(&arguments.text("auditor"));
    let at_origin = HolderClient::new(node.holder(&origin), Some(&admin), clock()).unwrap();
    let auditors = Clients::new(&node.deployment.holders, Some(&auditor), &clock()).unwrap();
    let deployment = node.deployment.id.expect("holders with descriptors");
    let mut version = latest_version(&auditors, &name).await;
    let mut times = Vec::new();
    let mut allowed = Instant::now();
    for _ in 0..trials {
        // A feed ends with a revocation, and is opened again a second later: all must have said something since.
        loop {
            let status = ask_agent(&agent, &json!("status"))["status"].take();
            let since = milliseconds(allowed.elapsed());
            let heard = |holder: &serde_json::Value| {
                holder["silent_for"]
                    .as_f64()
                    .is_some_and(|silent| silent < since)
            };
            if status["revoked"] == false && status["holders"].as_array().unwrap().iter().all(heard)
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let elements: Vec<_> = node
            .wraps(count)
            .iter()
            .map(|wrap| json!({"scheme": "provider.sealift", "element": STANDARD.encode(wrap.as_bytes())}))
            .collect();
        ask_agent(&agent, &json!({"prefetch": {"elements": elements}}));
        while ask_agent(&agent, &json!("status"))["status"]["leases"] != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(u64::from(random()[0]))).await;
        version += 1;
        let order = command(deployment, &name, version, Order::RevokeNode {}, &signers);
        let t0 = Instant::now();
        let wiped = {
            let agent = agent.clone();
            tokio::task::spawn_blocking(move || {
                while ask_agent(&agent, &json!("status"))["status"]["leases"] != 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Instant::now()
            })
        };
        at_origin.command(&order).await.expect("a revocation");
        times.push(milliseconds(wiped.await.unwrap() - t0));
        version += 1;
        let back = command(deployment, &name, version, Order::UnrevokeNode {}, &signers);
        at_origin
            .command(&back)
            .await
            .expect("taking the revocation back");
        wait_until_allowed(&node).await;
        allowed = Instant::now();
    }
    println!(
        "{}",
        json!({"origin": origin, "wraps": count, "ms": spread(&times)})
    );
}

/// One question to the agent, as its protocol has it: a length, then JSON.
#[cfg(unix)]
fn ask_agent(socket: &str, ask: &serde_json::Value) -> serde_json::Value {
    let question = json!({"v": 1, "ask": ask}).to_string();
    let mut stream = UnixStream::connect(socket).expect("the agent");
    let len = (question.len() as u32).to_be_bytes();
    stream.write_all(&len).unwrap();
    stream.write_all(question.as_bytes()).unwrap();
    let mut len = [0; 4];
    stream.read_exact(&mut len).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(len) as usize];
    stream.read_exact(&mut answer).unwrap();
    let mut answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    answer["reply"].take()
}

/// A node as its files make it.
struct Node {
    deployment: Deployment,
    group: GroupKey,
    credential: Arc<Credential>,
    key: Arc<SigningKey>,
    posture: Option<PathBuf>,
    clients: Clients,
    rng: SystemRandom,
}

impl Node {
    fn load(arguments: &Arguments) -> Self {
        let deployment = Deployment::load(&PathBuf::from(arguments.text("holders"))).unwrap();
        let key = arguments.all("key").pop();
        let first = deployment.key(key.as_deref()).or(deployment.keys.first());
        let group =
            GroupKey::from_json(&first.expect("a key in the holders file").descriptor).unwrap();
        let client = deployment
            .client
            .clone()
            .expect("[client] in the holders file");
        let key =
            Arc::new(SigningKey::from_pem(&std::fs::read_to_string(&client.key).unwrap()).unwrap());
        let chain = std::fs::read_to_string(&client.certificate).unwrap();
        let credential = Credential::new(&chain, &key).unwrap();
        let clients = Clients::new(&deployment.holders, Some(&credential), &clock()).unwrap();
        Self {
            group,
            credential,
            key,
            posture: client.posture,
            clients,
            rng: SystemRandom::new(),
            deployment,
        }
    }

    fn holder(&self, name: &str) -> &Holder {
        self.deployment
            .holder(name)
            .unwrap_or_else(|| panic!("no holder {name}"))
    }

    /// A releaser with connections of its own, none of them open.
    fn releaser(&self) -> Releaser {
        let clients =
            Clients::new(&self.deployment.holders, Some(&self.credential), &clock()).unwrap();
        let key = Arc::clone(&self.key);
        let releaser = Releaser::new(
            Arc::new(clients),
            &self.deployment,
            key,
            Options::default(),
            clock(),
        )
        .unwrap();
        releaser.set_posture(self.evidence().and_then(|evidence| evidence.posture));
        releaser
    }

    async fn open(&self, releaser: &Releaser, wraps: &[Wrap]) -> Result<(), String> {
        releaser.set_posture(self.evidence().and_then(|evidence| evidence.posture));
        let elements = wraps
            .iter()
            .cloned()
            .map(|wrap| Element::Wrap(Box::new(wrap)))
            .collect();
        let released = releaser.open(&self.group, elements).await;
        released
            .secrets
            .into_iter()
            .try_for_each(|secret| secret.map(|_| ()).map_err(|error| error.to_string()))
    }

    /// The one warm connection to a holder.
    fn client(&self, name: &str) -> HolderClient {
        self.clients.client(name).unwrap().clone()
    }

    fn wraps(&self, count: usize) -> Vec<Wrap> {
        (0..count)
            .map(|_| {
                let label = Label {
                    suite: self.group.suite(),
                    key_id: self.group.key_id().into(),
                    epoch: self.group.epoch(),
                    repo: "registry.example/bench/app".into(),
                    subject: Subject {
                        kind: SubjectKind::Commitment,
                        value: random(),
                    },
                    platform: "linux/amd64".into(),
                    residency: Residency::Any,
                    policy: "default".into(),
                    created_at: unix_ms() / 1000,
                };
                self.group.wrap(&label, &[7; 159], &self.rng).unwrap()
            })
            .collect()
    }

    fn evidence(&self) -> Option<Evidence> {
        let posture = std::fs::read(self.posture.as_ref()?).ok()?;
        Some(Evidence {
            posture: Some(posture.into()),
        })
    }

    fn request(&self, wraps: &[&Wrap]) -> (PartialsRequest, ReplyKey) {
        self.request_for(self.group.key_id(), wraps)
    }

    fn request_for(&self, key_id: &str, wraps: &[&Wrap]) -> (PartialsRequest, ReplyKey) {
        let ephemeral = ReplyKey::generate(ReplyKem::P256, &self.rng).unwrap();
        let request = KeyRequest {
            key_id: key_id.to_owned(),
            epoch: self.group.epoch(),
            wraps: wraps
                .iter()
                .map(|wrap| wrap.digest().as_slice().into())
                .collect(),
            wrap_commitments: Vec::new(),
            ephemeral_key: ephemeral.public().into(),
            kem: 0x0010,
            nonce: random().as_slice().into(),
            lease_seconds: 60,
            justification: String::new(),
        };
        let signed = sign_key_request(&request, unix_ms(), &self.key, &self.rng).unwrap();
        let body = PartialsRequest {
            request: signed.into(),
            wraps: wraps
                .iter()
                .map(|wrap| WireWrap::Compact(Octets::from(wrap.as_bytes())))
                .collect(),
            salts: None,
            proof: None,
            evidence: self.evidence(),
        };
        (body, ephemeral)
    }
}

fn command(
    deployment: DeploymentId,
    node: &str,
    version: u64,
    order: Order,
    signers: &[SigningKey],
) -> Octets {
    let command = Command {
        v: 1,
        deployment,
        subject: format!("node:{node}"),
        version,
        issued_at: unix_ms(),
        reason: "measuring how long it takes".into(),
        order,
    };
    let payload = serde_json::to_vec(&command).unwrap();
    let signers: Vec<&SigningKey> = signers.iter().collect();
    dsse::sign(COMMAND, &payload, &signers, &SystemRandom::new())
        .unwrap()
        .into()
}

/// The rows of every holder about one node, without gaps.
async fn record(
    auditors: &Clients,
    node: &str,
) -> BTreeMap<String, Vec<sealift_holder::audit_row::AuditRow>> {
    let mut all = BTreeMap::new();
    for client in auditors.iter() {
        let (mut since, mut rows) = (0, Vec::new());
        loop {
            let page = client.audit(since, 1000).await.unwrap();
            if page.rows.is_empty() {
                break;
            }
            since = page.next;
            let about = |row: &sealift_holder::audit_row::AuditRow| {
                row.actor == format!("node:{node}") || row.subject == format!("node:{node}")
            };
            rows.extend(page.rows.into_iter().filter(about));
        }
        all.insert(client.name().to_owned(), rows);
    }
    all
}

async fn latest_version(auditors: &Clients, node: &str) -> u64 {
    let mut latest = 0;
    for client in auditors.iter() {
        let mut since = 0;
        loop {
            let page = client.commands_since(since).await.unwrap();
            if page.commands.is_empty() {
                break;
            }
            since = page.next;
            for envelope in &page.commands {
                let envelope = dsse::Unverified::parse(&envelope.0).unwrap();
                let command: Command =
                    serde_json::from_slice(envelope.unverified_payload()).unwrap();
                let access = matches!(command.order, Order::RevokeNode {} | Order::UnrevokeNode {});
                if access && command.subject == format!("node:{node}") {
                    latest = latest.max(command.version);
                }
            }
        }
    }
    latest
}

/// An operator by the name of its key; the certificate lies beside it.
fn operator(path: &str) -> Arc<Credential> {
    let chain = std::fs::read_to_string(PathBuf::from(path).with_extension("crt")).unwrap();
    Credential::new(&chain, &key(path)).unwrap()
}

fn key(path: &str) -> SigningKey {
    SigningKey::from_pem(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn clock() -> Clock {
    Arc::new(unix_ms)
}

fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as u64
}

fn random() -> [u8; 32] {
    let mut octets = [0; 32];
    SystemRandom::new().fill(&mut octets).unwrap();
    octets
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Milliseconds from `zero` to `at`, negative before it.
fn signed(at: Instant, zero: Instant) -> f64 {
    if at >= zero {
        milliseconds(at - zero)
    } else {
        -milliseconds(zero - at)
    }
}

/// Of what three holders did last, the moment after which no two of them did it any more.
fn second_largest(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() - 2]
}

fn spread(values: &[f64]) -> serde_json::Value {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let at = |share: f64| {
        values.get(((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1)))
    };
    json!({"n": values.len(), "min": values.first(), "p50": at(0.5), "p99": at(0.99), "max": values.last()})
}

/// `--name value` and `--flag`.
struct Arguments {
    mode: String,
    options: Vec<(String, String)>,
}

impl Arguments {
    fn read() -> Self {
        let mut words = std::env::args().skip(1).peekable();
        let mode = words
            .next()
            .unwrap_or_else(|| panic!("a mode: releases, unwrap, revoke, oracle"));
        let mut options = Vec::new();
        while let Some(word) = words.next() {
            let name = word
                .strip_prefix("--")
                .unwrap_or_else(|| panic!("not an option: {word}"))
                .to_owned();
            let value = words
                .next_if(|next| !next.starts_with("--"))
                .unwrap_or_default();
            options.push((name, value));
        }
        Self { mode, options }
    }

    fn all(&self, name: &str) -> Vec<String> {
        self.options
            .iter()
            .filter(|(option, _)| option == name)
            .map(|(_, value)| value.clone())
            .collect()
    }

    fn text(&self, name: &str) -> String {
        self.all(name)
            .pop()
            .unwrap_or_else(|| panic!("--{name} is missing"))
    }

    fn number(&self, name: &str, default: u64) -> u64 {
        self.all(name)
            .pop()
            .map_or(default, |text| text.parse().unwrap())
    }

    fn flag(&self, name: &str) -> bool {
        self.options.iter().any(|(option, _)| option == name)
    }
}
