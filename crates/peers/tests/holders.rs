//! Key holders with other people's programs: containerd on nodes that have nothing but a certificate, a registry, skopeo.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "test support: a panic is how a test fails"
)]

use std::fs;
use std::path::Path;

use sealift_peers::containerd::Containerd;
use sealift_peers::holders::KeyHolders;
use sealift_peers::registry::{Access, Registry};
use sealift_peers::{Lab, Layout};
use serde_json::Value;

/// The story that the demonstration tells.
#[test]
fn containerd_pulls_through_holders_until_the_node_is_revoked() {
    let Some(lab) = Lab::needing(CONTAINERD) else {
        return;
    };
    let place = Place::new(&lab);
    let mut holders = KeyHolders::start(
        &lab,
        &["--holders", "4", "--sharing", "3", "--unbound", "stock"],
    );
    let images = ["one", "two", "three", "four"].map(|name| place.publish(&holders, name));
    let second = holders.add_node("tokyo-7", &[]);

    let node = place.node(&holders.path("agent.sock"));
    pulls_and_runs(&node, &images[0]);
    let revoke = [
        "node",
        "revoke",
        "dev-1",
        "--reason",
        "stolen from the rack",
    ];
    holders.as_admin(&revoke).succeeded();
    let denied = node.pull(namespace(&images[1]), &images[1]);
    assert_ne!(denied.code, Some(0), "{denied}");
    denied.complained(&["denied"]);
    assert_ne!(node.run(namespace(&images[1]), &images[1]).code, Some(0));
    let decrypt = [
        "decrypt",
        &place.source(&images[1]),
        &lab.layout("stolen").reference("x"),
        "-k",
        "holders:default",
    ];
    holders.as_node("kh/holders.toml", &decrypt).exited(6);
    assert!(!lab.path("stolen/index.json").exists());
    let record = holders.as_auditor(&[
        "audit",
        "show",
        "--event",
        "refusal",
        "--about",
        "node:dev-1",
    ]);
    assert!(record.succeeded().stdout.contains("revoked"));
    drop(node);

    let node = place.node(&second);
    pulls_and_runs(&node, &images[1]);
    let heads = holders.as_auditor(&["audit", "verify"]).succeeded().stdout;
    holders.kill("gru");
    pulls_and_runs(&node, &images[2]);
    holders.serve_again("gru");
    let contains: Vec<&str> = heads
        .lines()
        .flat_map(|head| ["--contains", head])
        .collect();
    holders
        .as_auditor(&[&["audit", "verify"][..], &contains].concat())
        .succeeded();

    let reshare = [
        "key",
        "reshare",
        "default",
        "-t",
        "2",
        "--holders",
        "gru,nrt,syd",
        "--reason",
        "fra is closing",
    ];
    holders.as_admin(&reshare).succeeded();
    pulls_and_runs(&node, &images[3]);
    // By nobody's help from the holder that left.
    holders.kill("fra");
    let opened = lab.layout("opened");
    let decrypt = [
        "decrypt",
        &place.source(&images[0]),
        &opened.reference("x"),
        "-k",
        "holders:default",
    ];
    holders
        .as_node("tokyo-7/holders.toml", &decrypt)
        .succeeded();
}

#[test]
fn containerd_needs_no_holders_when_the_keys_were_fetched_ahead() {
    let Some(lab) = Lab::needing(CONTAINERD) else {
        return;
    };
    let place = Place::new(&lab);
    let mut holders = KeyHolders::start(&lab, &[]);
    let images = ["one", "two"].map(|name| place.publish(&holders, name));
    let agent = holders.path("agent.sock");
    let node = place.node(&agent);
    let prefetch = [
        "agent",
        "prefetch",
        &place.source(&images[0]),
        "--json",
        "--socket",
        agent.to_str().unwrap(),
    ];
    let answer = holders.as_node("kh/holders.toml", &prefetch).succeeded();
    let answer: Value = serde_json::from_str(&answer.stdout).unwrap();
    let count = answer["wrappedKeys"].as_u64().unwrap();
    assert_eq!((count > 1, &answer["fetching"]), (true, &count.into()));
    holders.wait_for_keys(&agent, count);
    holders.kill("gru");
    holders.kill("nrt");
    pulls_and_runs(&node, &images[0]);
    holders.serve_again("gru");
    holders.serve_again("nrt");

    // The same without anybody asking: containerd fetches an image and unpacks nothing, so no decoder runs.
    let root = Containerd::root(&lab).display().to_string();
    let watching = holders.add_node("tokyo-7", &["--prefetch-from", &root]);
    let fetch = ["content", "fetch", "--plain-http", &images[1]];
    node.ctr("fetched", &fetch).succeeded();
    holders.wait_for_keys(&watching, count);
}

#[test]
fn containerd_runs_what_skopeo_sealed_for_the_public_key_of_holders() {
    let Some(lab) = Lab::needing(CONTAINERD) else {
        return;
    };
    let place = Place::new(&lab);
    let holders = KeyHolders::start(&lab, &["--unbound", "stock"]);
    let exported = holders.as_admin(&["key", "export", "stock"]).succeeded();
    fs::write(lab.path("group.pem"), exported.stdout).unwrap();
    let reference = format!("{}/skopeo:1", place.registry.address());
    lab.skopeo(&[
        "copy",
        "-q",
        "--dest-tls-verify=false",
        "--encryption-key",
        &format!("jwe:{}", lab.text("group.pem")),
        &place.image.reference("tiny"),
        &format!("docker://{reference}"),
    ]);
    let decrypt = [
        "decrypt",
        &place.source(&reference),
        &lab.layout("opened").reference("x"),
        "-k",
        "holders:stock",
    ];
    holders.as_node("kh/holders.toml", &decrypt).succeeded();
    // containerd's own client hands no keys over, so they come from the manifest, as a kubelet's request brings them.
    let node = place.node(&holders.path("agent.sock"));
    let mut cri = node.cri();
    cri.pull(&reference).unwrap();
    let (code, log) = cri.run(&reference);
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("secret payload line: "), "{log}");
}

/// A registry with the sandbox image, and an image to seal.
struct Place<'lab> {
    lab: &'lab Lab,
    image: Layout,
    registry: Registry,
}

impl<'lab> Place<'lab> {
    #[track_caller]
    fn new(lab: &'lab Lab) -> Self {
        let image = lab.tiny_image();
        let registry = Registry::start(lab, Access::Open);
        lab.skopeo(&[
            "copy",
            "-q",
            "--dest-tls-verify=false",
            &image.reference("pause"),
            &format!("docker://{}/pause:1", registry.address()),
        ]);
        Self {
            lab,
            image,
            registry,
        }
    }

    /// Seals the image for the holders under this tag; returns the reference for containerd.
    #[track_caller]
    fn publish(&self, holders: &KeyHolders<'_>, tag: &str) -> String {
        let name = format!("tiny:{tag}");
        let encrypt = [
            "encrypt",
            &self.image.reference("tiny"),
            &self.registry.reference(&name),
            "-r",
            "holders:default",
        ];
        holders.as_node("kh/holders.toml", &encrypt).succeeded();
        format!("{}/{name}", self.registry.address())
    }

    fn source(&self, reference: &str) -> String {
        format!("docker://{reference}")
    }

    /// A containerd whose decoder has no key, only the socket of an agent.
    #[track_caller]
    fn node(&self, agent: &Path) -> Containerd {
        let keys = self.lab.path("no-keys");
        fs::create_dir_all(&keys).unwrap();
        let pause = format!("{}/pause:1", self.registry.address());
        let agent = format!("SEALIFT_AGENT={}", agent.display());
        let decoder = self.lab.binary("sealift-decoder");
        Containerd::start(
            self.lab,
            &decoder,
            &keys,
            &["--sandbox-image", &pause, "--env", &agent],
        )
    }
}

/// A namespace of the tag's own: all tags have the same layers, and containerd would take what another tag left unpacked,
/// without asking anybody for a key.
fn namespace(reference: &str) -> &str {
    reference.rsplit(':').next().unwrap()
}

#[track_caller]
fn pulls_and_runs(node: &Containerd, reference: &str) {
    let namespace = namespace(reference);
    node.pull(namespace, reference).succeeded();
    let printed = node.run(namespace, reference).succeeded().stdout;
    assert!(printed.contains("hello from decrypted layer"), "{printed}");
    assert!(printed.contains("secret payload line: "), "{printed}");
    // What is unpacked is not opened again, whoever sealed it: the next pull shall find nothing.
    node.ctr("t", &["images", "rm", "--sync", reference])
        .succeeded();
    assert_eq!(node.snapshots("t"), [""; 0]);
}

const CONTAINERD: &[&str] = &[
    "root",
    "containerd",
    "ctr",
    "runc",
    "docker-registry",
    "skopeo",
    "umoci",
    "gcc",
];
