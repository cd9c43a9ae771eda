//! `kill -9` of a holder, again and again, while a node asks it and an administrator revokes.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use sealift_holder::audit_row::{AuditRow, Chain};
use sealift_holder::client::http::HolderClient;
use sealift_holder::command::{Command, Order};
use sealift_holder::deployment::{Deployment as Known, DeploymentId};
use sealift_holder::dsse::{self, Unverified};
use sealift_holder::keys::SigningKey;
use sealift_holder::request::sign_key_request;
use sealift_holder::statement::{COMMAND, KeyRequest};
use sealift_holder::tls::Credential;
use sealift_holder::wire::{Code, Evidence, PartialsRequest, WireWrap, WrapAnswer};
use sealift_holder::{Clock, Octets};
use sealift_threshold::{
    GroupKey, Label, ReplyKem, ReplyKey, Residency, Subject, SubjectKind, Suite,
};

use crate::deployment::{Deployment, begin};
use crate::tool::Lab;

const KILLS: u64 = 20;

#[test]
fn what_a_holder_answered_before_kill_9_is_on_its_record_and_in_force() {
    let lab = Lab::new();
    let deployment = Deployment::start(&lab, &[]);
    let folder = deployment.path("");
    deployment.stop();
    // The other holders stay away: nobody can tell this one what it has lost.
    let serve = [
        "holder",
        "serve",
        "--dir",
        "kh/fra",
        "--ends-with-stdin",
        "-q",
    ];
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    let seen = Arc::new(Seen::default());
    let mut tasks = Vec::new();
    for _ in 0..3 {
        let (asker, seen) = (Asker::new(&folder), Arc::clone(&seen));
        tasks.push(runtime.spawn(async move { asker.ask_until_told(&seen).await }));
    }
    let (revoker, also_seen) = (Revoker::new(&folder), Arc::clone(&seen));
    tasks.push(runtime.spawn(async move { revoker.revoke_until_told(&also_seen).await }));

    let asker = Asker::new(&folder);
    for round in 0..KILLS {
        let before = seen.last();
        let (mut child, _lifeline) = begin(&lab, &serve, "listening");
        let (answered, revoked) = seen.counts();
        // What was answered before the last kill is not answered again: its lease of 0 seconds is over.
        if let Some(before) = before {
            let again = runtime.block_on(asker.client.partials("default", &before.request));
            assert_eq!(again.unwrap_err().code(), Some(Code::ReplayDetected));
        }
        while seen.counts().0 == answered || seen.counts().1 == revoked {
            assert_eq!(
                child.try_wait().unwrap(),
                None,
                "the holder ended by itself"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        let moment = u64::from(sealift_testkit::noise(round, 1)[0]) / 8;
        std::thread::sleep(Duration::from_millis(moment));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    seen.over.store(true, Ordering::SeqCst);
    for task in tasks {
        runtime.block_on(task).unwrap();
    }

    let (mut child, lifeline) = begin(&lab, &serve, "listening");
    let auditor = client(&folder, "auditor.crt", "auditor.pem").0;
    let rows = runtime.block_on(record(&auditor));
    let (answered, revoked) = seen.counts();
    assert!(answered >= usize::try_from(KILLS).unwrap());
    assert!(revoked >= usize::try_from(KILLS).unwrap());
    for one in &*seen.answered.lock().unwrap() {
        let is_its_row = |row: &&AuditRow| {
            row.event == "release"
                && row.request_hash == one.request_hash
                && row.wrap_digest == one.wrap_digest
        };
        // On record once: what a client did not hear of, it asked anew with another request.
        assert_eq!(rows.iter().filter(is_its_row).count(), 1);
    }
    let applied = runtime.block_on(subjects(&auditor));
    for subject in &*seen.revoked.lock().unwrap() {
        assert!(
            applied.contains(subject),
            "{subject} is not revoked any more"
        );
        assert!(
            rows.iter()
                .any(|row| row.event == "command" && row.subject == *subject),
            "{subject} was revoked without a row"
        );
    }
    drop(lifeline);
    child.wait().unwrap();

    // With all its peers, as people would look at it.
    let deployment = Deployment::start(&lab, &[]);
    let head = rows.last().unwrap();
    let head = format!("fra:{}:{}", head.seq, head.hash.to_text());
    deployment
        .as_auditor(&["audit", "verify", "--contains", &head])
        .succeeds();
    deployment.stop();
}

#[test]
fn a_store_in_which_a_row_was_altered_or_a_page_is_broken_is_not_served() {
    let lab = Lab::new();
    let deployment = Deployment::start(&lab, &[]);
    deployment.stop();
    // A backup is one file: nothing in a log beside it is newer.
    lab.sealift(&["holder", "backup", "--dir", "kh/fra", "backup"])
        .succeeds();
    let make = |alter: fn(&mut Vec<u8>)| {
        let _none_yet = fs::remove_dir_all(lab.path("again"));
        lab.sealift(&["holder", "restore", "--dir", "again", "backup"])
            .succeeds();
        let mut store = fs::read(lab.path("again/store.sqlite")).unwrap();
        alter(&mut store);
        lab.write("again/store.sqlite", &store);
        lab.write(
            "again/passphrase",
            &fs::read(lab.path("kh/fra/passphrase")).unwrap(),
        );
    };
    let serve = ["holder", "serve", "--dir", "again", "--ends-with-stdin"];
    make(|store| {
        let row = br#""event":"command""#;
        let at = store.windows(row.len()).position(|text| text == row);
        store[at.unwrap() + 9..][..7].copy_from_slice(b"refusal");
    });
    lab.sealift(&serve)
        .fails(1, "the store is corrupt: audit row");
    make(|store| store[4096..8192].fill(0xa5));
    lab.sealift(&serve).fails(1, "the store is corrupt");
    // Without either it is served.
    make(|_| ());
    let (mut child, lifeline) = begin(&lab, &serve, "listening");
    drop(lifeline);
    assert!(child.wait().unwrap().success());
}

/// What holders said to somebody.
#[derive(Default)]
struct Seen {
    answered: Mutex<Vec<Answered>>,
    /// Subjects of revocations that the holder says it has.
    revoked: Mutex<Vec<String>>,
    over: AtomicBool,
}

impl Seen {
    fn counts(&self) -> (usize, usize) {
        let answered = self.answered.lock().unwrap().len();
        (answered, self.revoked.lock().unwrap().len())
    }

    fn last(&self) -> Option<Answered> {
        self.answered.lock().unwrap().last().cloned()
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

/// A partial decryption that arrived.
#[derive(Clone)]
struct Answered {
    request: PartialsRequest,
    request_hash: String,
    wrap_digest: String,
}

/// The node, asking one holder as fast as it answers.
struct Asker {
    client: HolderClient,
    key: SigningKey,
    group: GroupKey,
    posture: Octets,
}

impl Asker {
    fn new(folder: &Path) -> Self {
        let (client, known) = client(folder, "node/node.pem", "node/node.key");
        Self {
            client,
            key: key(&folder.join("node/node.key")),
            group: GroupKey::from_json(&known.keys[0].descriptor).unwrap(),
            posture: fs::read(folder.join("posture.dsse.json"))
                .unwrap()
                .as_slice()
                .into(),
        }
    }

    async fn ask_until_told(&self, seen: &Seen) {
        while !seen.is_over() {
            let (request, wrap_digest) = self.request();
            // While the holder is dead nothing answers, and that is no answer.
            let Ok(answer) = self.client.partials("default", &request).await else {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            assert!(matches!(answer.answers[..], [WrapAnswer::Sealed { .. }]));
            seen.answered.lock().unwrap().push(Answered {
                request_hash: hex(&answer.request_hash.0),
                wrap_digest,
                request,
            });
        }
    }

    /// A request for a wrap that was never asked for, and the digest of that wrap.
    fn request(&self) -> (PartialsRequest, String) {
        let rng = SystemRandom::new();
        let label = Label {
            suite: Suite::Tdh2,
            key_id: self.group.key_id().into(),
            epoch: self.group.epoch(),
            repo: "registry.example/app".into(),
            subject: Subject {
                kind: SubjectKind::Layer,
                value: [7; 32],
            },
            platform: "linux/amd64".into(),
            residency: Residency::Any,
            policy: "default".into(),
            created_at: now_ms() / 1000,
        };
        let wrap = self.group.wrap(&label, b"key", &rng).unwrap();
        let mut nonce = vec![0; 32];
        rng.fill(&mut nonce).unwrap();
        let request = KeyRequest {
            key_id: self.group.key_id().to_owned(),
            epoch: self.group.epoch(),
            wraps: vec![wrap.digest().as_slice().into()],
            wrap_commitments: Vec::new(),
            ephemeral_key: ReplyKey::generate(ReplyKem::P256, &rng)
                .unwrap()
                .public()
                .into(),
            kem: ReplyKem::P256.number(),
            nonce: nonce.into(),
            lease_seconds: 0,
            justification: String::new(),
        };
        let signed = sign_key_request(&request, now_ms(), &self.key, &rng).unwrap();
        let request = PartialsRequest {
            request: signed.into(),
            wraps: vec![WireWrap::Compact(wrap.as_bytes().into())],
            salts: None,
            proof: None,
            evidence: Some(Evidence {
                posture: Some(self.posture.clone()),
            }),
        };
        (request, hex(&wrap.digest()))
    }
}

/// An administrator who revokes one node after the other.
struct Revoker {
    client: HolderClient,
    deployment: DeploymentId,
    key: SigningKey,
}

impl Revoker {
    fn new(folder: &Path) -> Self {
        let (client, known) = client(folder, "alice.crt", "alice.pem");
        Self {
            client,
            deployment: known.id.unwrap(),
            key: key(&folder.join("alice.pem")),
        }
    }

    async fn revoke_until_told(&self, seen: &Seen) {
        for number in 0.. {
            let subject = format!("node:stolen-{number}");
            let command = Command {
                v: 1,
                deployment: self.deployment,
                subject: subject.clone(),
                version: 1,
                issued_at: now_ms(),
                reason: "stolen".to_owned(),
                order: Order::RevokeNode {},
            };
            let payload = serde_json::to_vec(&command).unwrap();
            let envelope = dsse::sign(COMMAND, &payload, &[&self.key], &SystemRandom::new());
            let answer = self.client.command(&envelope.unwrap().into()).await;
            if let Ok(answer) = answer {
                assert_eq!(answer.holders, ["fra"]);
                seen.revoked.lock().unwrap().push(subject);
            }
            if seen.is_over() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A way to the holder `fra`, as the owner of these files.
fn client(folder: &Path, certificate: &str, private: &str) -> (HolderClient, Known) {
    let known = Known::load(&folder.join("holders.toml")).unwrap();
    let chain = fs::read_to_string(folder.join(certificate)).unwrap();
    let credential = Credential::new(&chain, &key(&folder.join(private))).unwrap();
    let clock: Clock = Arc::new(now_ms);
    let fra = known.holder("fra").unwrap();
    let client = HolderClient::new(fra, Some(&credential), clock).unwrap();
    (client, known)
}

/// The whole record of the holder; its chain holds.
async fn record(auditor: &HolderClient) -> Vec<AuditRow> {
    let (mut rows, mut chain) = (Vec::<AuditRow>::new(), Chain::new());
    loop {
        let page = auditor.audit(rows.len() as u64, 1000).await.unwrap();
        if page.rows.is_empty() {
            return rows;
        }
        for row in &page.rows {
            chain.check(row).unwrap();
        }
        rows.extend(page.rows);
    }
}

/// What the commands that the holder has applied are about.
async fn subjects(operator: &HolderClient) -> Vec<String> {
    let (mut subjects, mut since) = (Vec::new(), 0);
    loop {
        let page = operator.commands_since(since).await.unwrap();
        if page.commands.is_empty() {
            return subjects;
        }
        since = page.next;
        for envelope in &page.commands {
            let envelope = Unverified::parse(&envelope.0).unwrap();
            let command: Command = serde_json::from_slice(envelope.unverified_payload()).unwrap();
            subjects.push(command.subject);
        }
    }
}

fn key(path: &Path) -> SigningKey {
    SigningKey::from_pem(&fs::read_to_string(path).unwrap()).unwrap()
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap().as_millis()).unwrap()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
