//! buildah builds an image and pushes it encrypted; we open it.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "test support: a panic is how a test fails"
)]

use std::fs;
use std::process::{Command, Stdio};

use sealift_peers::Lab;
use sealift_peers::command::run;
use sealift_peers::keys::{KeyPair, KeyType};
use sealift_peers::registry::{Access, Registry};

#[test]
fn sealift_opens_what_buildah_pushed_for_rsa() {
    opens_what_buildah_pushed(KeyType::Rsa2048);
}

#[test]
fn sealift_opens_what_buildah_pushed_for_p384() {
    opens_what_buildah_pushed(KeyType::P384);
}

#[test]
fn buildah_pulls_what_sealift_sealed() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let registry = Registry::start(&lab, Access::Open);
    let key = KeyPair::generate(&lab, "key", KeyType::P256);
    let source = lab.tiny_image();
    let sealed = registry.reference("sealed/tiny:1");
    lab.sealift(&[
        "encrypt",
        "--cipher=ocicrypt",
        &source.reference("tiny"),
        &sealed,
        "-r",
        &key.recipient(),
    ])
    .succeeded();
    let buildah = Buildah::new(&lab);
    buildah.call(&[
        "pull",
        "-q",
        "--tls-verify=false",
        "--decryption-key",
        &key.identity(),
        &sealed,
    ]);
    let container = buildah.call(&["from", sealed.strip_prefix("docker://").unwrap()]);
    let mounted = buildah.call(&["mount", &container]);
    let message = fs::read_to_string(format!("{mounted}/data/message.txt")).unwrap();
    assert!(message.starts_with("secret payload line: "), "{message}");
}

#[test]
fn podman_runs_what_buildah_pulled_of_an_image_whose_configuration_is_sealed() {
    let Some(lab) = Lab::needing(&[PEERS, &["podman", "runc"]].concat()) else {
        return;
    };
    let registry = Registry::start(&lab, Access::Open);
    let key = KeyPair::generate(&lab, "key", KeyType::Rsa2048);
    let sealed = registry.reference("quiet/tiny:1");
    let source = lab.tiny_image().reference("tiny");
    let recipient = key.recipient();
    let seal = [
        "encrypt",
        "--cipher=ocicrypt",
        "--seal-config",
        &source,
        &sealed,
        "-r",
        &recipient,
    ];
    lab.sealift(&seal).succeeded();
    let buildah = Buildah::new(&lab);
    let identity = key.identity();
    buildah.call(&[
        "pull",
        "-q",
        "--tls-verify=false",
        "--decryption-key",
        &identity,
        &sealed,
    ]);
    let image = sealed.strip_prefix("docker://").unwrap();
    let podman = |arguments: &[&str]| {
        let mut podman = Command::new("podman");
        run(buildah.serve(podman.args(arguments)))
    };
    // Its configuration names no command, so whoever runs it does.
    let shown = podman(&["image", "inspect", "--format", "{{json .Config}}", image]);
    assert!(!shown.succeeded().stdout.contains("hello"));
    let without = podman(&["run", "--rm", "--network=host", image]);
    assert_ne!(without.code, Some(0), "{without}");
    let run = ["run", "--rm", "--network=host", image, "/bin/hello"];
    let printed = podman(&run).succeeded().stdout;
    assert!(printed.contains("hello from decrypted layer"), "{printed}");
    assert!(printed.contains("secret payload line: "), "{printed}");
}

#[track_caller]
fn opens_what_buildah_pushed(key_type: KeyType) {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let registry = Registry::start(&lab, Access::Open);
    let key = KeyPair::generate(&lab, "key", key_type);
    let buildah = Buildah::new(&lab);
    fs::write(lab.path("note"), "written for buildah").unwrap();
    let container = buildah.call(&["from", "scratch"]);
    buildah.call(&["copy", "-q", &container, &lab.text("note"), "/note"]);
    let image = buildah.call(&["commit", "-q", &container, "built"]);
    let reference = registry.reference("built:1");
    buildah.call(&[
        "push",
        "-q",
        "--tls-verify=false",
        "--encryption-key",
        &key.recipient(),
        &image,
        &reference,
    ]);
    let raw = lab.skopeo(&["inspect", "--raw", "--tls-verify=false", &reference]);
    assert!(raw.contains("+encrypted"), "{raw}");

    let opened = lab.layout("opened");
    lab.sealift(&[
        "decrypt",
        &reference,
        &opened.reference("built"),
        "-k",
        &key.identity(),
    ])
    .succeeded();
    assert_eq!(opened.image("built").sealed(), [false]);
    opened.assert_intact("built");
    // buildah knows an image by the digest of its config.
    assert_eq!(opened.image("built").config(), format!("sha256:{image}"));
}

/// buildah with a storage of its own, without overlayfs, systemd or limits that need more than root.
struct Buildah<'lab>(&'lab Lab);

impl<'lab> Buildah<'lab> {
    fn new(lab: &'lab Lab) -> Self {
        let storage = format!(
            "[storage]\ndriver = \"vfs\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n",
            lab.text("graph"),
            lab.text("run")
        );
        let containers = "[containers]\nnetns = \"host\"\ndefault_ulimits = [\"nofile=1024:2048\", \"nproc=4096:8192\"]\n[engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\n\
                          events_logger = \"none\"\n";
        fs::write(lab.path("storage.conf"), storage).unwrap();
        fs::write(lab.path("containers.conf"), containers).unwrap();
        fs::write(
            lab.path("policy.json"),
            r#"{"default":[{"type":"insecureAcceptAnything"}]}"#,
        )
        .unwrap();
        Self(lab)
    }

    #[track_caller]
    fn call(&self, arguments: &[&str]) -> String {
        let (command, rest) = arguments.split_first().unwrap();
        let mut buildah = Command::new("buildah");
        buildah.arg(command);
        if ["from", "pull", "push", "commit"].contains(command) {
            buildah
                .arg("--signature-policy")
                .arg(self.0.path("policy.json"));
        }
        run(self.serve(buildah.args(rest)))
            .succeeded()
            .answer()
            .to_owned()
    }

    /// Lets a program work on the storage.
    fn serve<'a>(&self, program: &'a mut Command) -> &'a mut Command {
        program
            .env("CONTAINERS_STORAGE_CONF", self.0.path("storage.conf"))
            .env("CONTAINERS_CONF", self.0.path("containers.conf"))
            .stdin(Stdio::null())
    }
}

const PEERS: &[&str] = &[
    "root",
    "buildah",
    "skopeo",
    "docker-registry",
    "umoci",
    "gcc",
    "openssl",
];
