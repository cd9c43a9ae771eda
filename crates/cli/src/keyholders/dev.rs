//! `sealift holder dev`: a whole deployment on loopback. Nothing here is a shortcut: it says to real holders, each a
//! process of its own, what people would say, and does for them what people would do.

use std::fs;
use std::net::TcpListener;
use std::ops::Range;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use sealift_holder::command::{KeyPlan, Order};
use sealift_holder::descriptor::{Administrator, read_holder_descriptor};
use sealift_holder::setup::{Init, SealSource};
use sealift_holder::statement::Posture;
use sealift_policy::{PolicySet, PostureService};
use sealift_threshold::{HolderId, Suite};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

use super::change::Approval;
use super::holders_file::{
    AdministratorEntry, ClientEntry, HolderEntry, HoldersFile, keep_descriptor, private_folder,
};
use super::nodes::{self, Place};
use super::session::{self, Session};
use super::{group_keys, hex, lifetime, now_ms, operator, posture, runtime, server};
use crate::args::{HolderDevArgs, RoleName};
use crate::console::{Console, Form};
use crate::exit::{Code, Failure};
use crate::files::{Readers, cannot_write, replace, write_new};
use crate::report::SCHEMA_VERSION;

pub(crate) fn run(args: &HolderDevArgs, console: &Console) -> Result<(), Failure> {
    let names: Vec<&str> = PLACES
        .iter()
        .map(|(name, _)| *name)
        .take(args.holders.into())
        .collect();
    let sharing = args.sharing.unwrap_or(args.holders);
    if args.threshold > sharing || sharing > args.holders {
        return Err(Failure::new(
            Code::Usage,
            "--threshold, --sharing and --holders must not decrease in this order",
        ));
    }
    private_folder(&args.dir)?;
    let dir = fs::canonicalize(&args.dir).map_err(|error| {
        Failure::new(Code::Other, format!("cannot use `{}`", args.dir.display())).because(&error)
    })?;
    let deployment = Dev { dir, console };
    let is_new = !deployment.path(READY).exists();
    if is_new {
        deployment.make(&names)?;
    }
    let runtime = runtime()?;
    let mut children = Vec::new();
    // Begun before the first child, so that Ctrl-C always finds somebody.
    let mut end = runtime.block_on(async { lifetime::End::listen(args.ends_with_stdin) })?;
    for holder in &session::load(&deployment.path(ADMIN))?.holders {
        let folder = deployment.path(&holder.name);
        let arguments = ["holder", "serve", "--dir", &folder.to_string_lossy()];
        children.push(deployment.start(&runtime, &holder.name, &arguments)?);
    }
    if is_new {
        deployment.set_up(args, names.get(..sharing.into()).unwrap_or_default())?;
    }
    deployment.enrol_node()?;
    deployment.sign_posture()?;
    let socket = deployment.path(SOCKET);
    let arguments = [
        "agent",
        "serve",
        "--dir",
        &deployment.dir.to_string_lossy(),
        "--socket",
        &socket.to_string_lossy(),
    ];
    children.push(deployment.start(&runtime, "agent", &arguments)?);
    if is_new {
        write_new(&deployment.path(READY), b"", Readers::Owner)?;
    }
    deployment.say_ready()?;
    runtime.block_on(deployment.attend(&mut children, &mut end));
    runtime.block_on(stop(children));
    Ok(())
}

/// A deployment in a folder.
struct Dev<'a> {
    dir: PathBuf,
    console: &'a Console,
}

impl Dev<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Makes people and holders, and files that name them. None of them runs yet.
    fn make(&self, names: &[&str]) -> Result<(), Failure> {
        let empty = fs::read_dir(&self.dir)
            .map_err(|error| cannot_write(&self.dir, &error))?
            .next()
            .is_none();
        if !empty {
            return Err(Failure::new(
                Code::Usage,
                format!(
                    "`{}` is neither empty nor a complete deployment",
                    self.dir.display()
                ),
            )
            .hint("give a new folder, or remove that one: it protects nothing"));
        }
        for person in PEOPLE {
            operator::make(&self.dir, person)?;
        }
        let mut administrators = Vec::new();
        for name in ADMINISTRATORS {
            administrators.push(Administrator {
                name: name.to_owned(),
                key: operator::public_key(&self.path(&format!("{name}.pub.pem")))?,
            });
        }
        let mut file = HoldersFile {
            version: 1,
            administrator: ADMINISTRATORS
                .iter()
                .map(|name| AdministratorEntry {
                    name: (*name).to_owned(),
                    public_key: format!("{name}.pub.pem").into(),
                })
                .collect(),
            ..HoldersFile::default()
        };
        // Held until all are chosen, lest two holders have the same.
        let mut ports = Vec::new();
        let mut envelopes = Vec::new();
        for ((name, jurisdiction), index) in PLACES.iter().zip(1_u8..).take(names.len()) {
            let (listener, listen) = free_port()?;
            ports.push(listener);
            let url = format!("https://{listen}");
            let mut passphrase = Zeroizing::new([0; 32]);
            SystemRandom::new()
                .fill(&mut *passphrase)
                .map_err(|_| Failure::new(Code::Other, "the system gives no random octets"))?;
            let passphrase = Zeroizing::new(hex(&*passphrase));
            let folder = self.path(name);
            let init = Init {
                deployment: file.deployment,
                name,
                index: HolderId::new(index)
                    .ok_or_else(|| Failure::new(Code::Usage, "too many holders"))?,
                jurisdiction,
                listen: &listen,
                url: &url,
                seal: &SealSource::Passphrase,
                administrators: &administrators,
            };
            let envelope = server::make(&folder, &init, passphrase.as_bytes())?;
            write_new(
                &folder.join(server::PASSPHRASE),
                passphrase.as_bytes(),
                Readers::Owner,
            )?;
            let descriptor = read_holder_descriptor(&envelope)
                .map_err(|error| Failure::of(Code::Other, &error))?;
            file.deployment = Some(descriptor.deployment);
            replace(
                self.path(&format!("{name}.dsse.json")),
                &envelope,
                Readers::Everybody,
            )?;
            replace(
                self.path(&format!("{name}-ca.pem")),
                descriptor.ca.as_bytes(),
                Readers::Everybody,
            )?;
            file.holder.push(HolderEntry {
                name: (*name).to_owned(),
                url,
                jurisdiction: (*jurisdiction).to_owned(),
                ca: format!("{name}-ca.pem").into(),
                descriptor: Some(format!("{name}.dsse.json").into()),
            });
            envelopes.push(envelope);
        }
        let envelopes: Vec<&[u8]> = envelopes.iter().map(Vec::as_slice).collect();
        for name in names {
            server::introduce(&self.path(name), &envelopes)?;
        }
        file.client = Some(ClientEntry {
            certificate: "alice.crt".into(),
            key: "alice.pem".into(),
            agent: None,
            posture: None,
        });
        file.write(&self.path(ADMIN))?;
        file.client = Some(ClientEntry {
            certificate: "node/node.pem".into(),
            key: "node/node.key".into(),
            agent: Some(SOCKET.into()),
            posture: Some(POSTURE.into()),
        });
        file.write(&self.path(HOLDERS))
    }

    /// Says to the holders, as two administrators, what a new deployment needs.
    fn set_up(&self, args: &HolderDevArgs, sharing: &[&str]) -> Result<(), Failure> {
        let session = self.session()?;
        let approval = self.approval("a deployment for trials")?;
        let jurisdictions = session.deployment.holders.iter();
        let jurisdictions = jurisdictions
            .map(|holder| holder.jurisdiction.clone())
            .collect();
        let services = vec![PostureService {
            name: SERVICE.to_owned(),
            public_key: operator::public_key(&self.path("posture.pub.pem"))?
                .spki()
                .to_vec(),
        }];
        let set = PolicySet::starting_point(jurisdictions, services)
            .map_err(|error| Failure::of(Code::Other, &error))?;
        replace(self.path("policy.json"), set.as_bytes(), Readers::Everybody)?;
        let order = Order::Policy {
            set: set.as_bytes().into(),
        };
        self.report("policy", &session.submit("policy", order, &approval)?)?;
        for (person, role) in [
            ("carol", RoleName::CryptoUser),
            ("auditor", RoleName::Auditor),
        ] {
            let key = operator::public_key(&self.path(&format!("{person}.pub.pem")))?;
            let submitted = operator::assign(&session, person, &key, Some(role), &approval)?;
            self.report(person, &submitted)?;
        }
        let keys = [(Some(&args.key), false), (args.unbound.as_ref(), true)];
        for (id, unbound) in keys {
            let Some(id) = id else { continue };
            let plan = KeyPlan {
                epoch: 1,
                threshold: args.threshold,
                holders: sharing.iter().map(|name| (*name).to_owned()).collect(),
                unbound,
                suite: Suite::default(),
                residency: Vec::new(),
                deletion_protection: false,
            };
            let submitted = group_keys::generate(&session, id, &plan, &approval)?;
            self.report(id, &submitted)?;
            let descriptor = self.path(&format!("key-{id}.dsse.json"));
            let envelope =
                fs::read(&descriptor).map_err(|error| cannot_write(&descriptor, &error))?;
            keep_descriptor(&self.path(HOLDERS), id, &envelope)?;
        }
        Ok(())
    }

    /// Admits the node and lets it enrol; again each time, since a node's certificate lives for an hour.
    fn enrol_node(&self) -> Result<(), Failure> {
        let session = self.session()?;
        let approval = self.approval("the node of a deployment for trials")?;
        let home = session.deployment.holders.first();
        let place = Place {
            name: NODE,
            region: "local",
            zone: ZONE,
            jurisdiction: home.map_or("DE", |home| home.jurisdiction.as_str()),
            home: home.map(|home| home.name.as_str()),
        };
        let (submitted, token) =
            nodes::admit(&session, &place, Duration::from_secs(300), &approval)?;
        self.report(NODE, &submitted)?;
        let known = session::load(&self.path(HOLDERS))?;
        nodes::join(&known, &token, &self.path("node")).map(|_| ())
    }

    /// Says how the node is, as a posture service would that watches it.
    fn sign_posture(&self) -> Result<(), Failure> {
        let statement = Posture {
            node: NODE.to_owned(),
            score: 90,
            zone: ZONE.to_owned(),
            disk_encrypted: Some(true),
            observed_at: now_ms(),
            source: SERVICE.to_owned(),
        };
        let key = operator::signing_key(&self.path("posture.pem"))?;
        let envelope = posture::statement(&statement, &key)?;
        replace(self.path(POSTURE), &envelope, Readers::Everybody)
    }

    fn session(&self) -> Result<Session, Failure> {
        Session::open(Some(&self.path(ADMIN)), None)
    }

    fn approval(&self, reason: &str) -> Result<Approval, Failure> {
        let signers = ADMINISTRATORS
            .iter()
            .map(|name| operator::signing_key(&self.path(&format!("{name}.pem"))))
            .collect::<Result<_, _>>()?;
        Ok(Approval {
            reason: reason.to_owned(),
            signers,
        })
    }

    fn report(&self, what: &str, submitted: &super::change::Submitted) -> Result<(), Failure> {
        submitted.in_force()?;
        self.console.detail(&format!(
            "{what}: {} version {} sha256:{}",
            submitted.kind, submitted.version, submitted.digest
        ));
        Ok(())
    }

    /// Starts one of our own programs, and waits until it says that it listens.
    fn start(&self, runtime: &Runtime, name: &str, arguments: &[&str]) -> Result<Running, Failure> {
        let cannot = |error: &std::io::Error| {
            Failure::new(Code::Other, format!("cannot start {name}")).because(error)
        };
        let program = std::env::current_exe().map_err(|error| cannot(&error))?;
        let log = self.path(&format!("{name}.log"));
        let log_file = fs::OpenOptions::new().create(true).append(true).open(&log);
        let log_file = log_file.map_err(|error| cannot(&error))?;
        runtime.block_on(async {
            let mut child = Command::new(program)
                .args(arguments)
                .arg("--ends-with-stdin")
                .env_remove("SEALIFT_JSON")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(log_file)
                .kill_on_drop(true)
                .spawn()
                .map_err(|error| cannot(&error))?;
            let mut line = String::new();
            if let Some(stdout) = child.stdout.take() {
                let mut lines = BufReader::new(stdout);
                let said = tokio::time::timeout(PATIENCE, lines.read_line(&mut line)).await;
                if !matches!(said, Ok(Ok(1..))) {
                    let what = format!("{name} did not start");
                    return Err(Failure::new(Code::Other, what)
                        .hint(format!("its log is {}", log.display())));
                }
            }
            let pid = child.id().unwrap_or_default();
            replace(
                self.path(&format!("{name}.pid")),
                format!("{pid}\n").as_bytes(),
                Readers::Everybody,
            )?;
            self.console.detail(line.trim_end());
            Ok(Running {
                name: name.to_owned(),
                lifeline: child.stdin.take(),
                child,
            })
        })
    }

    fn say_ready(&self) -> Result<(), Failure> {
        let shown = |name: &str| self.path(name).display().to_string();
        self.console.note(&format!(
            "export SEALIFT_HOLDERS={} SEALIFT_AGENT={}",
            shown(HOLDERS),
            shown(SOCKET)
        ));
        match self.console.form {
            Form::Json => self.console.result_json(&json!({
                "schemaVersion": SCHEMA_VERSION,
                "ready": true,
                "holders": shown(HOLDERS),
                "admin": shown(ADMIN),
                "agent": shown(SOCKET),
            })),
            Form::Text => self.console.result(b"ready\n"),
        }
    }

    /// Watches over the processes until it is told to end.
    async fn attend(&self, children: &mut Vec<Running>, end: &mut lifetime::End) {
        let mut minute = tokio::time::interval(POSTURE_EVERY);
        let mut glance = tokio::time::interval(Duration::from_millis(500));
        loop {
            tokio::select! {
                () = end.wait() => return,
                _ = minute.tick() => {
                    if let Err(failure) = self.sign_posture() {
                        self.console.warn(&format!("no posture statement: {}", failure.what));
                    }
                }
                _ = glance.tick() => children.retain_mut(|running| {
                    let Ok(Some(status)) = running.child.try_wait() else { return true };
                    let verb = if running.name == "agent" {
                        format!("agent serve --dir {}", self.dir.display())
                    } else {
                        format!("holder serve --dir {}", self.path(&running.name).display())
                    };
                    self.console.warn(&format!(
                        "{} has ended ({status}); `sealift {verb}` starts it again", running.name
                    ));
                    false
                }),
            }
        }
    }
}

/// A process of ours. It ends when its lifeline is dropped, and so when we die.
struct Running {
    name: String,
    lifeline: Option<ChildStdin>,
    child: Child,
}

/// Lets all processes end, and waits for them.
async fn stop(mut children: Vec<Running>) {
    for running in &mut children {
        running.lifeline = None;
    }
    for mut running in children {
        if tokio::time::timeout(PATIENCE, running.child.wait())
            .await
            .is_err()
        {
            // It is past persuading; the child is ours, so this cannot hit another process.
            let _ = running.child.kill().await;
        }
    }
}

/// Listens on loopback. The port is below those that systems give to connections (Linux: from 32768, others: from 49152), so that
/// none has it when a holder starts there, now or tomorrow.
fn free_port() -> Result<(TcpListener, String), Failure> {
    let mut failure = Failure::new(Code::Network, "no port on loopback is free");
    for _ in 0..ATTEMPTS {
        let mut octets = [0; 2];
        SystemRandom::new()
            .fill(&mut octets)
            .map_err(|_| Failure::new(Code::Other, "the system gives no random octets"))?;
        let port = PORTS.start + u16::from_be_bytes(octets) % (PORTS.end - PORTS.start);
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(listener) => return Ok((listener, format!("127.0.0.1:{port}"))),
            Err(error) => failure = failure.because(&error),
        }
    }
    Err(failure)
}

/// Where holders stand.
const PLACES: [(&str, &str); 5] = [
    ("fra", "DE"),
    ("gru", "BR"),
    ("nrt", "JP"),
    ("syd", "AU"),
    ("iad", "US"),
];
const ADMINISTRATORS: [&str; 2] = ["alice", "bob"];
/// Everybody who has a key, the posture service among them.
const PEOPLE: [&str; 5] = ["alice", "bob", "carol", "auditor", "posture"];
const NODE: &str = "dev-1";
const ZONE: &str = "prod";
const SERVICE: &str = "posture";
const HOLDERS: &str = "holders.toml";
const ADMIN: &str = "admin.toml";
const SOCKET: &str = "agent.sock";
const POSTURE: &str = "posture.dsse.json";
/// Says that a deployment is complete.
const READY: &str = ".complete";
/// Where holders listen.
const PORTS: Range<u16> = 20_000..30_000;
/// How many ports are tried.
const ATTEMPTS: usize = 100;
/// How long a process may take to start, or to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// Holders believe a posture statement for five minutes.
const POSTURE_EVERY: Duration = Duration::from_secs(60);
