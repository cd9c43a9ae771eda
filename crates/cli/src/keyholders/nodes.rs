//! `sealift node …`, and `agent enrol`: who a node is, and how it comes to its certificate.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use sealift_holder::client::http::HolderClient;
use sealift_holder::command::{Admission, Family, Order};
use sealift_holder::deployment::Deployment;
use sealift_holder::keys::SigningKey;
use sealift_holder::statement::{ENROLMENT, Enrolment};
use sealift_holder::wire::EnrolRequest;
use sealift_holder::{Octets, certificate, dsse};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::{Zeroize, Zeroizing};

use super::change::{Approval, Submitted, speaker};
use super::holders_file::{
    AdministratorEntry, ClientEntry, HolderEntry, HoldersFile, KeyEntry, private_folder,
};
use super::session::{self, Known, Session, failure_of, latest, patiently};
use super::{clock, now_ms, runtime};
use crate::args::{
    AgentEnrolArgs, NodeListArgs, NodeRevokeArgs, NodeShowArgs, NodeTokenArgs, NodeUnrevokeArgs,
};
use crate::console::{Console, Form};
use crate::exit::{Code, Failure};
use crate::files::{Readers, check_free, read_limited, replace, write_new};
use crate::keys::read_secret;
use crate::report::{SCHEMA_VERSION, Table};

/// What a join token says. It holds a private key that serves for one enrolment.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Token {
    v: u8,
    node: String,
    home: String,
    /// PKCS #8 of the join key.
    join_key: Octets,
    /// Unix milliseconds.
    until: u64,
}

impl Drop for Token {
    fn drop(&mut self) {
        self.join_key.0.zeroize();
    }
}

/// Who a node is to be.
pub(crate) struct Place<'a> {
    pub(crate) name: &'a str,
    pub(crate) region: &'a str,
    pub(crate) zone: &'a str,
    pub(crate) jurisdiction: &'a str,
    pub(crate) home: Option<&'a str>,
}

pub(crate) fn token(args: &NodeTokenArgs, console: &Console) -> Result<(), Failure> {
    let approval = Approval::read(&args.change)?;
    let operator = speaker(args.identity.operator.as_ref(), &args.change);
    let session = Session::open(args.deployment.file.as_deref(), operator)?;
    args.output.as_deref().map_or(Ok(()), check_free)?;
    let place = Place {
        name: &args.name,
        region: &args.region,
        zone: &args.zone,
        jurisdiction: &args.jurisdiction,
        home: args.home.as_deref(),
    };
    let (submitted, token) = admit(&session, &place, args.ttl, &approval)?;
    submitted.in_force()?;
    if let Some(path) = &args.output {
        write_new(
            path,
            format!("{}\n", token.as_str()).as_bytes(),
            Readers::Owner,
        )?;
        return submitted.show(console);
    }
    match console.form {
        Form::Json => {
            let mut value = submitted.to_json();
            if let Some(members) = value.as_object_mut() {
                members.insert("token".to_owned(), json!(token.as_str()));
            }
            console.result_json(&value)
        }
        Form::Text => {
            console.note(&format!(
                "admit-node {} is in force: sha256:{} version {}",
                args.name, submitted.digest, submitted.version
            ));
            console.result(format!("{}\n", token.as_str()).as_bytes())
        }
    }
}

/// Admits a node; returns its join token.
pub(crate) fn admit(
    session: &Session,
    place: &Place<'_>,
    ttl: Duration,
    approval: &Approval,
) -> Result<(Submitted, Zeroizing<String>), Failure> {
    sealift_holder::names::NodeName::new(place.name, place.region, place.zone, place.jurisdiction)
        .map_err(|_| {
            Failure::new(
                Code::Usage,
                "name, region, zone or jurisdiction of the node cannot be used",
            )
            .hint("a name has small letters, digits and hyphens; a jurisdiction two capitals")
        })?;
    let home = match place.home {
        Some(home) => session.client(home)?.name().to_owned(),
        None => home_of(&session.deployment, place.jurisdiction)?,
    };
    let join = SigningKey::generate().map_err(|error| Failure::of(Code::Other, &error))?;
    let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    let until = now_ms().saturating_add(ttl);
    let admission = Admission {
        home: home.clone(),
        region: place.region.to_owned(),
        zone: place.zone.to_owned(),
        jurisdiction: place.jurisdiction.to_owned(),
        join_key: join.spki().into(),
        join_until: until,
    };
    let submitted = session.submit(&subject(place.name), Order::AdmitNode(admission), approval)?;
    let token = Token {
        v: 1,
        node: place.name.to_owned(),
        home,
        join_key: join.expose_pkcs8().into(),
        until,
    };
    let json = Zeroizing::new(
        serde_json::to_vec(&token).map_err(|error| Failure::of(Code::Other, &error))?,
    );
    let mut octets = Octets(json.to_vec());
    let text = Zeroizing::new(octets.to_text());
    octets.0.zeroize();
    Ok((submitted, text))
}

/// The holder whose authority signs for a node when nobody says which.
fn home_of(deployment: &Deployment, jurisdiction: &str) -> Result<String, Failure> {
    let holders = &deployment.holders;
    let near = holders
        .iter()
        .find(|holder| holder.jurisdiction == jurisdiction);
    let home = near.or(holders.first());
    let home = home.map(|holder| holder.name.clone());
    home.ok_or_else(|| Failure::new(Code::Usage, "the holders file names no holders"))
}

pub(crate) fn revoke(args: &NodeRevokeArgs, console: &Console) -> Result<(), Failure> {
    let approval = Approval::read(&args.change)?;
    let operator = speaker(args.identity.operator.as_ref(), &args.change);
    let session = Session::open(args.deployment.file.as_deref(), operator)?;
    session
        .submit(&subject(&args.name), Order::RevokeNode {}, &approval)?
        .show(console)
}

pub(crate) fn unrevoke(args: &NodeUnrevokeArgs, console: &Console) -> Result<(), Failure> {
    let approval = Approval::read(&args.change)?;
    let operator = speaker(args.identity.operator.as_ref(), &args.change);
    let session = Session::open(args.deployment.file.as_deref(), operator)?;
    session
        .submit(&subject(&args.name), Order::UnrevokeNode {}, &approval)?
        .show(console)
}

pub(crate) fn list(args: &NodeListArgs, console: &Console) -> Result<(), Failure> {
    let session = Session::open(
        args.deployment.file.as_deref(),
        args.identity.operator.as_deref(),
    )?;
    let known = session.commands()?;
    let nodes = nodes(&known);
    if console.form == Form::Json {
        let nodes: Vec<Value> = nodes
            .iter()
            .map(|(name, node)| node_json(name, node))
            .collect();
        return console.result_json(&json!({"schemaVersion": SCHEMA_VERSION, "nodes": nodes}));
    }
    let mut table = Table::new(&["NODE", "STATE", "JURISDICTION", "REGION", "ZONE", "HOME"]);
    for (name, node) in &nodes {
        let admission = node.admission.as_ref();
        let of = |part: fn(&Admission) -> &String| {
            admission.map_or_else(|| "-".to_owned(), |(admission, _)| part(admission).clone())
        };
        table.row(vec![
            name.clone(),
            node.state().to_owned(),
            of(|admission| &admission.jurisdiction),
            of(|admission| &admission.region),
            of(|admission| &admission.zone),
            of(|admission| &admission.home),
        ]);
    }
    console.result(table.render().as_bytes())
}

pub(crate) fn show(args: &NodeShowArgs, console: &Console) -> Result<(), Failure> {
    let session = Session::open(
        args.deployment.file.as_deref(),
        args.identity.operator.as_deref(),
    )?;
    let known = session.commands()?;
    let nodes = nodes(&known);
    let node = nodes.get(&args.name).ok_or_else(|| {
        Failure::new(
            Code::NotFound,
            format!("the holders know no node `{}`", args.name),
        )
        .hint("`sealift node list` shows the nodes")
    })?;
    if console.form == Form::Json {
        let mut value = node_json(&args.name, node);
        if let Some(members) = value.as_object_mut() {
            members.insert("schemaVersion".to_owned(), json!(SCHEMA_VERSION));
        }
        return console.result_json(&value);
    }
    let mut text = format!(
        "node          {}\nstate         {}\n",
        args.name,
        node.state()
    );
    if let Some((admission, reason)) = &node.admission {
        text.push_str(&format!(
            "jurisdiction  {}\nregion        {}\nzone          {}\nhome          {}\nadmitted      {}\n",
            admission.jurisdiction,
            admission.region,
            admission.zone,
            admission.home,
            crate::text::printable(reason),
        ));
    }
    if let Some((revoked, version, reason)) = &node.access {
        text.push_str(&format!(
            "{}       version {version}: {}\n",
            if *revoked { "revoked" } else { "allowed" },
            crate::text::printable(reason),
        ));
    }
    console.result(text.as_bytes())
}

/// What commands say of a node.
#[derive(Default)]
struct Node {
    /// Who it is, and why it was admitted.
    admission: Option<(Admission, String)>,
    /// Whether it is revoked, by which version, and why.
    access: Option<(bool, u64, String)>,
}

impl Node {
    fn state(&self) -> &'static str {
        match (&self.access, &self.admission) {
            (Some((true, ..)), _) => "revoked",
            (_, Some(_)) => "admitted",
            _ => "unknown",
        }
    }
}

fn nodes(known: &[Known]) -> BTreeMap<String, Node> {
    let names = known
        .iter()
        .filter_map(|known| known.command.subject.strip_prefix("node:"));
    let mut nodes = BTreeMap::new();
    for name in names {
        nodes.entry(name.to_owned()).or_insert_with(|| {
            let mut node = Node::default();
            let subject = subject(name);
            if let Some(known) = latest(known, Family::NodeAdmission, &subject)
                && let Order::AdmitNode(admission) = &known.command.order
            {
                node.admission = Some((admission.clone(), known.command.reason.clone()));
            }
            node.access = latest(known, Family::NodeAccess, &subject).map(|known| {
                let revoked = matches!(known.command.order, Order::RevokeNode {});
                (revoked, known.command.version, known.command.reason.clone())
            });
            node
        });
    }
    nodes
}

fn node_json(name: &str, node: &Node) -> Value {
    let admission = node.admission.as_ref().map(|(admission, reason)| {
        json!({
            "jurisdiction": admission.jurisdiction,
            "region": admission.region,
            "zone": admission.zone,
            "home": admission.home,
            "joinUntil": admission.join_until,
            "reason": reason,
        })
    });
    let access = node.access.as_ref().map(|(revoked, version, reason)| {
        json!({"revoked": revoked, "version": version, "reason": reason})
    });
    json!({"name": name, "state": node.state(), "admission": admission, "access": access})
}

pub(crate) fn enrol(args: &AgentEnrolArgs, console: &Console) -> Result<(), Failure> {
    let path = session::path(args.deployment.file.as_deref())?;
    let deployment = session::load(&path)?;
    let token = read_token(&args.token)?;
    let enrolled = join(&deployment, &token, &args.dir)?;
    let file = args.dir.join("holders.toml");
    copy_of(&deployment, &path, &args.dir, "agent.sock".into())?.write(&file)?;
    console.note(&format!(
        "wrote {}; next: sealift agent serve --dir {}",
        file.display(),
        args.dir.display()
    ));
    match console.form {
        Form::Json => console.result_json(&json!({
            "schemaVersion": SCHEMA_VERSION,
            "node": enrolled.node,
            "fingerprint": enrolled.fingerprint,
            "notAfter": enrolled.not_after,
            "holders": file.display().to_string(),
        })),
        Form::Text => console.result(format!("{}\n", enrolled.node).as_bytes()),
    }
}

/// A node that has its first certificate.
pub(crate) struct Enrolled {
    pub(crate) node: String,
    pub(crate) fingerprint: String,
    /// Unix seconds.
    pub(crate) not_after: u64,
}

/// Makes the key of a node, shows it to every holder, and keeps key and certificate as `node.key` and `node.pem`.
pub(crate) fn join(
    deployment: &Deployment,
    token: &Zeroizing<String>,
    dir: &Path,
) -> Result<Enrolled, Failure> {
    let not_a_token = || {
        Failure::new(Code::Usage, "this is not a join token")
            .hint("`sealift node token` prints one; it is a single long word")
    };
    let mut octets = Octets::from_text(token.trim()).ok_or_else(not_a_token)?;
    let parsed = serde_json::from_slice::<Token>(&octets.0);
    octets.0.zeroize();
    let token = parsed.map_err(|_| not_a_token())?;
    if token.until < now_ms() {
        return Err(Failure::new(Code::Denied, "the join token has expired")
            .hint("ask an administrator for another one (`sealift node token`)"));
    }
    let join = SigningKey::from_pkcs8(&token.join_key.0).map_err(|_| not_a_token())?;
    private_folder(dir)?;
    let key = node_key(&dir.join("node.key"))?;
    let rng = SystemRandom::new();
    let other = |error: &(dyn std::error::Error + 'static)| Failure::of(Code::Other, error);
    let enrolment = Enrolment {
        node: token.node.clone(),
        spki: key.spki().into(),
        issued_at: now_ms(),
    };
    let payload = serde_json::to_vec(&enrolment).map_err(|error| other(&error))?;
    let request = EnrolRequest {
        enrolment: dsse::sign(ENROLMENT, &payload, &[&join], &rng)
            .map_err(|error| other(&error))?
            .into(),
        csr: certificate::request(&key)
            .map_err(|error| other(&error))?
            .into(),
    };
    let runtime = runtime()?;
    let mut own = None;
    // Every holder, so that none of them alone can make a twin of the node; the home last, which alone makes it usable.
    let (home, others): (Vec<_>, Vec<_>) = deployment
        .holders
        .iter()
        .partition(|holder| holder.name == token.home);
    if home.is_empty() {
        return Err(Failure::new(
            Code::NotFound,
            format!(
                "the holders file has no holder `{}`, which is the node's home",
                token.home
            ),
        ));
    }
    for holder in others.into_iter().chain(home) {
        let answer = runtime.block_on(async {
            let client = HolderClient::new(holder, None, Arc::clone(&clock()))?;
            // The admission may still be on its way to this holder.
            patiently(async || client.enrol(&request).await).await
        });
        let answer = answer.map_err(|error| {
            failure_of(&holder.name, &error)
                .hint("every holder must know the node; run the same command again when all of them answer")
        })?;
        if !answer.certificate.is_empty() {
            own = Some(answer);
        }
    }
    let answer =
        own.ok_or_else(|| Failure::new(Code::Other, "no holder answered with a certificate"))?;
    replace(
        dir.join("node.pem"),
        answer.certificate.as_bytes(),
        Readers::Everybody,
    )?;
    Ok(Enrolled {
        node: token.node.clone(),
        fingerprint: key.fingerprint(),
        not_after: answer.not_after,
    })
}

/// Reads the node's key, or makes it: an enrolment that broke off goes on with the key that holders know already.
fn node_key(path: &Path) -> Result<SigningKey, Failure> {
    if path.exists() {
        return super::operator::signing_key(path);
    }
    let key = SigningKey::generate().map_err(|error| Failure::of(Code::Other, &error))?;
    write_new(path, key.expose_pem().as_bytes(), Readers::Owner)?;
    Ok(key)
}

/// A join token, or the content of the file of that name.
fn read_token(given: &str) -> Result<Zeroizing<String>, Failure> {
    let path = Path::new(given);
    if path.is_file() {
        // Whoever redirected it into a file did so with the shell's permissions.
        let octets = match read_secret(path) {
            Ok(octets) => octets,
            Err(_) => read_limited(path, MAX_TOKEN_LEN)?,
        };
        return Ok(Zeroizing::new(
            String::from_utf8_lossy(&octets).into_owned(),
        ));
    }
    Ok(Zeroizing::new(given.to_owned()))
}

/// Copies a deployment's public files beside the node's own, so that the node's folder is complete.
fn copy_of(
    deployment: &Deployment,
    path: &Path,
    dir: &Path,
    agent: PathBuf,
) -> Result<HoldersFile, Failure> {
    let base = path.parent().unwrap_or(Path::new(""));
    let mut file = HoldersFile {
        version: 1,
        deployment: deployment.id,
        default_key: deployment.default_key.clone(),
        client: Some(ClientEntry {
            certificate: "node.pem".into(),
            key: "node.key".into(),
            agent: Some(agent),
            posture: Some("posture.dsse.json".into()),
        }),
        ..HoldersFile::default()
    };
    for administrator in &deployment.administrators {
        let name = PathBuf::from(format!("{}.pub.pem", administrator.name));
        replace(
            dir.join(&name),
            administrator.key.to_pem().as_bytes(),
            Readers::Everybody,
        )?;
        file.administrator.push(AdministratorEntry {
            name: administrator.name.clone(),
            public_key: name,
        });
    }
    for holder in &deployment.holders {
        let ca = PathBuf::from(format!("{}-ca.pem", holder.name));
        replace(dir.join(&ca), holder.ca.as_bytes(), Readers::Everybody)?;
        file.holder.push(HolderEntry {
            name: holder.name.clone(),
            url: holder.url.clone(),
            jurisdiction: holder.jurisdiction.clone(),
            ca,
            descriptor: None,
        });
    }
    for (id, source) in super::holders_file::descriptor_files(path)? {
        let name = PathBuf::from(format!("key-{id}.dsse.json"));
        let octets = fs::read(base.join(&source)).map_err(|error| {
            Failure::new(Code::Other, format!("cannot read `{}`", source.display())).because(&error)
        })?;
        replace(dir.join(&name), &octets, Readers::Everybody)?;
        file.key.push(KeyEntry {
            id,
            descriptor: name,
        });
    }
    Ok(file)
}

fn subject(name: &str) -> String {
    format!("node:{name}")
}

/// Longest token.
const MAX_TOKEN_LEN: usize = 16 * 1024;
