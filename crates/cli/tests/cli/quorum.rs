//! Holders that are down, frozen or lying: through the tool, and through the agent and the decoder of containerd.
//!
//! One of three stops nothing; two of three are told apart from a refusal, and nothing is written.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use sealift_holder::command::{Command as Ordered, Order};
use sealift_holder::dsse::Unverified;
use sealift_holder::server::authority::RegionalAuthority;
use sealift_holder::server::shares::SealedShares;
use sealift_holder::server::state::Deployment as Site;
use sealift_holder::server::store::{
    Answered, Change, Named, Pin, Registration, ShareId, SqliteStore, Store, StoreError,
    StoredCommand,
};
use sealift_holder::server::vault::{ShareVault, VaultError};
use sealift_holder::server::writer::Transaction;
use sealift_holder::server::{Config, Limits, Running, Server};
use sealift_holder::{Clock, setup};
use sealift_testkit::image::{Format, Packing};
use sealift_threshold::{GroupKey, KeyShare, Share};
use serde_json::Value;
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

use crate::deployment::Deployment;
use crate::tool::{Lab, Run, image};

#[test]
fn one_holder_that_is_down_or_frozen_stops_nothing() {
    let lab = lab();
    let mut deployment = Deployment::start(&lab, &[]);
    for name in ["down", "frozen"] {
        seal(&deployment, name);
    }
    deployment.kill("fra");
    assert!(!opens(&deployment, "down").contains("warning"));
    deployment.serve_again("fra");

    let frozen = deployment.freeze("gru");
    assert!(!opens(&deployment, "frozen").contains("warning"));
    drop(frozen);
    deployment.stop();
}

#[test]
fn a_liar_is_named_and_others_open() {
    let lab = lab();
    let deployment = Deployment::start(&lab, &[]);
    seal(&deployment, "lying");
    let liar = Liar::start(&deployment, "fra");
    // The first that is asked where nothing is known of distances; unless this machine is so busy that it is late, and
    // the other two are enough.
    let mut told = String::new();
    while !told.contains("warning") {
        told = opens(&deployment, "lying");
    }
    assert_named(&told, "fra");
    drop(liar);
    deployment.stop();
}

#[test]
fn two_holders_that_are_down_open_nothing_and_it_is_said_which() {
    let lab = lab();
    let deployment = Deployment::start(&lab, &[]);
    seal(&deployment, "sealed");
    deployment.kill("gru");
    deployment.kill("nrt");
    let why = "1 of 2 key holders answered: gru: not reachable; nrt: not reachable";
    opens_not(&deployment, "sealed", &[why]);
    deployment.stop();
}

#[test]
fn a_liar_and_one_that_is_down_open_nothing_and_both_are_named() {
    let lab = lab();
    let deployment = Deployment::start(&lab, &[]);
    seal(&deployment, "sealed");
    let liar = Liar::start(&deployment, "fra");
    deployment.kill("gru");
    let why = [
        "1 of 2 key holders answered",
        "fra: gave a false answer",
        "gru: not reachable",
    ];
    opens_not(&deployment, "sealed", &why);
    let log = fs::read_to_string(deployment.path("agent.log")).unwrap();
    assert!(
        log.contains("proven to have given a false answer") && log.contains("\"holder\":\"fra\""),
        "{log}"
    );
    drop(liar);
    deployment.stop();
}

#[test]
fn two_liars_open_nothing_and_both_are_named() {
    let lab = lab();
    let deployment = Deployment::start(&lab, &[]);
    seal(&deployment, "sealed");
    let liars = ["fra", "gru"].map(|name| Liar::start(&deployment, name));
    let why = [
        "1 of 2 key holders answered",
        "fra: gave a false answer",
        "gru: gave a false answer",
    ];
    opens_not(&deployment, "sealed", &why);
    drop(liars);
    deployment.stop();
}

fn lab() -> Lab {
    let lab = Lab::new();
    image(Format::Oci, Packing::Gzip).write_layout(&lab.path("plain"), "v1");
    lab
}

#[track_caller]
fn seal(deployment: &Deployment<'_>, name: &str) {
    let destination = format!("oci:{name}:v1");
    let label = ["--label-repo", "registry.example/app"];
    let encrypt = [
        "encrypt",
        "oci:plain:v1",
        &destination,
        "-r",
        "holders:default",
    ];
    deployment
        .as_node(&[&encrypt[..], &label].concat())
        .succeeds();
}

fn decrypt(deployment: &Deployment<'_>, name: &str) -> Run {
    let (source, destination) = (format!("oci:{name}:v1"), format!("oci:opened-{name}:v1"));
    deployment.as_node(&["decrypt", &source, &destination, "-k", "holders:default"])
}

/// Opens the image with the tool, and a layer with the decoder; returns what the tool said about it.
#[track_caller]
fn opens(deployment: &Deployment<'_>, name: &str) -> String {
    let lab = deployment.lab;
    let run = decrypt(deployment, name);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let opened = format!("opened-{name}");
    assert_eq!(
        lab.digest_in_layout(&opened, "v1"),
        lab.digest_in_layout("plain", "v1")
    );
    fs::remove_dir_all(lab.path(&opened)).unwrap();
    let output = decode(deployment, name);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(output.stdout, layer(lab, "plain"));
    run.stderr
}

/// Neither the tool nor the decoder opens anything or leaves anything, and both say why.
#[track_caller]
fn opens_not(deployment: &Deployment<'_>, name: &str, why: &[&str]) {
    let lab = deployment.lab;
    let run = decrypt(deployment, name);
    assert_eq!(run.code, 5, "{}", run.stderr);
    assert_eq!(run.stdout, "");
    // The marker of a layout says nothing; no index and no blob is there.
    assert_eq!(lab.files(&format!("opened-{name}")), ["/oci-layout"]);
    let output = decode(deployment, name);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert_eq!(output.stdout, b"");
    for why in why {
        assert!(
            run.stderr.contains(why),
            "{why:?} is not in\n{}",
            run.stderr
        );
        assert!(said.contains(why), "{why:?} is not in\n{said}");
    }
}

#[track_caller]
fn assert_named(text: &str, holder: &str) {
    let named = format!("key holder `{holder}` is proven to have given a false answer");
    assert!(text.contains(&named), "{text}");
}

/// Runs the decoder on a layer as containerd would, with no key but what the agent gets.
#[track_caller]
fn decode(deployment: &Deployment<'_>, name: &str) -> Output {
    let lab = deployment.lab;
    let tool = Path::new(env!("CARGO_BIN_EXE_sealift"));
    // Built beside the tool whenever the workspace is.
    let decoder = tool.with_file_name("sealift-decoder");
    assert!(
        decoder.exists(),
        "build the workspace: no {}",
        decoder.display()
    );
    let empty = lab.path("no-keys");
    fs::create_dir_all(&empty).unwrap();
    let mut child = Command::new(decoder)
        .arg("--keys-dir")
        .arg(&empty)
        .arg("--containerd-root")
        .arg(&empty)
        .arg("--agent")
        .arg(deployment.path("agent.sock"))
        .env(
            "STREAM_PROCESSOR_MEDIATYPE",
            "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let blob = layer(lab, name);
    std::thread::scope(|scope| {
        // One that refuses early does not read to the end.
        scope.spawn(move || drop(stdin.write_all(&blob)));
        child.wait_with_output().unwrap()
    })
}

/// The blob of the second layer of an image.
fn layer(lab: &Lab, layout: &str) -> Vec<u8> {
    let blob = |digest: &str| {
        let path = digest.replace(':', "/");
        fs::read(lab.path(layout).join("blobs").join(path)).unwrap()
    };
    let manifest: Value =
        serde_json::from_slice(&blob(&lab.digest_in_layout(layout, "v1"))).unwrap();
    blob(manifest["layers"][1]["digest"].as_str().unwrap())
}

/// A holder with all keys and certificates of a real one, which computes with another share.
///
/// A holder checks its share when it starts, so this one pretends not to have heard of the key, and hears of it from its
/// peers: at least one of them must be up.
struct Liar {
    runtime: Runtime,
    running: Option<Running>,
    /// On the folder of the holder it stands for.
    _lock: setup::Lock,
}

impl Liar {
    /// Takes the place of a holder, which is killed.
    fn start(deployment: &Deployment<'_>, name: &str) -> Self {
        deployment.kill(name);
        let folder = deployment.path(name);
        let passphrase = fs::read(folder.join("passphrase")).unwrap();
        let setup::Opened {
            config,
            store,
            secrets,
            lock,
        } = setup::open(&folder, &passphrase).unwrap();
        let listen: SocketAddr = config.listen.parse().unwrap();
        let clock: Clock = Arc::new(|| {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            u64::try_from(since.unwrap().as_millis()).unwrap()
        });
        let (secrets, rng) = (Arc::new(secrets), SystemRandom::new());
        let authority =
            RegionalAuthority::start(Arc::clone(&secrets), "127.0.0.1", clock(), &rng).unwrap();
        let store: Arc<dyn Store> = Arc::new(Forgetful(store));
        let shares = SealedShares::new(Arc::clone(&secrets), Arc::clone(&store));
        let runtime = Runtime::new().unwrap();
        let started = Server::start(Config {
            deployment: Site {
                me: config.me,
                peers: config.peers,
                administrators: config.administrators,
            },
            listen,
            local: None,
            vault: Arc::new(FalseShares(shares)),
            store,
            signer: Arc::clone(secrets.signing()),
            credential: authority.credential(),
            clock,
            rng: Arc::new(rng),
            quota: config.quota,
            ntp: config.ntp,
            limits: Limits {
                pull_every: Duration::from_millis(20),
                ..Limits::default()
            },
            links: None,
            routes: Default::default(),
        });
        let running = runtime.block_on(started).unwrap();
        let knows = || {
            let state = running.service().writer.state();
            state.keys()["default"].epochs.contains_key(&1)
        };
        while !knows() {
            std::thread::sleep(Duration::from_millis(5));
        }
        Self {
            runtime,
            running: Some(running),
            _lock: lock,
        }
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.shutdown());
        }
    }
}

/// Shares that are no longer those of the key.
#[derive(Debug)]
struct FalseShares(SealedShares);

impl ShareVault for FalseShares {
    fn get(&self, id: &ShareId) -> Result<Option<KeyShare>, VaultError> {
        self.0.get(id)
    }

    fn promote(
        &self,
        group: &GroupKey,
        transaction: &mut Transaction<'_>,
    ) -> Result<Option<KeyShare>, VaultError> {
        let promoted = self.0.promote(group, transaction)?;
        Ok(promoted.map(|share| match share {
            KeyShare::Tdh2(share) => {
                let mut octets = Zeroizing::new(*share.expose());
                octets[31] ^= 1;
                let share = Share::from_octets(share.index(), group.generation(), octets);
                share.unwrap().into()
            }
            other => other,
        }))
    }

    fn destroy(&self, id: &ShareId, transaction: &mut Transaction<'_>) -> Result<(), VaultError> {
        self.0.destroy(id, transaction)
    }
}

/// The store of a holder, without what it heard of keys; keeps nothing new.
#[derive(Debug)]
struct Forgetful(SqliteStore);

impl Store for Forgetful {
    fn commit(&self, _: &[Change]) -> Result<(), StoreError> {
        Ok(())
    }
    fn commands(&self) -> Result<Vec<StoredCommand>, StoreError> {
        let is_remembered = |command: &StoredCommand| {
            let envelope = Unverified::parse(&command.envelope).unwrap();
            let command: Ordered = serde_json::from_slice(envelope.unverified_payload()).unwrap();
            !matches!(command.order, Order::Descriptor { .. })
        };
        let mut commands = self.0.commands()?;
        commands.retain(is_remembered);
        for (command, seq) in commands.iter_mut().zip(1..) {
            command.seq = seq;
        }
        Ok(commands)
    }
    fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.meta(name)
    }
    fn pins(&self) -> Result<Vec<Pin>, StoreError> {
        self.0.pins()
    }
    fn answered(&self) -> Result<Vec<Answered>, StoreError> {
        self.0.answered()
    }
    fn audit(&self, since: u64, limit: usize) -> Result<Vec<String>, StoreError> {
        self.0.audit(since, limit)
    }
    fn audit_len(&self) -> Result<u64, StoreError> {
        self.0.audit_len()
    }
    fn registrations(&self) -> Result<Vec<Registration>, StoreError> {
        self.0.registrations()
    }
    fn segments(&self) -> Result<Vec<[u8; 32]>, StoreError> {
        self.0.segments()
    }
    fn secret(&self, kind: &str, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.secret(kind, name)
    }
    fn secrets(&self, kind: &str) -> Result<Vec<Named>, StoreError> {
        self.0.secrets(kind)
    }
    fn share(&self, id: &ShareId) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.share(id)
    }
    fn shares(&self) -> Result<Vec<ShareId>, StoreError> {
        self.0.shares()
    }
    fn candidate(&self, id: &ShareId, ceremony: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.candidate(id, ceremony)
    }
    fn candidates(&self, id: &ShareId) -> Result<Vec<Named>, StoreError> {
        self.0.candidates(id)
    }
    fn backup(&self, path: &Path) -> Result<(), StoreError> {
        self.0.backup(path)
    }
}
