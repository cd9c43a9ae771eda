//! containerd pulls what we sealed through `sealift-decoder`, by `ctr` (which sends no payload) and by CRI (which does), and runs
//! it; or does not, and says why.
#![cfg(target_os = "linux")]
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "test support: a panic is how a test fails"
)]

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use sealift_peers::containerd::Containerd;
use sealift_peers::keys::{KeyPair, KeyType};
use sealift_peers::registry::{Access, Registry};
use sealift_peers::{Lab, Layout};

#[test]
fn containerd_runs_the_default_cipher_by_ctr() {
    runs(Cipher::Chunked, Puller::Ctr, "gzip");
}

#[test]
fn containerd_runs_the_default_cipher_by_cri() {
    runs(Cipher::Chunked, Puller::Cri, "gzip");
}

#[test]
fn containerd_runs_the_ocicrypt_cipher_by_ctr_with_the_content_store() {
    runs(Cipher::Ocicrypt, Puller::Ctr, "gzip");
}

#[test]
fn containerd_runs_the_ocicrypt_cipher_by_cri() {
    runs(Cipher::Ocicrypt, Puller::Cri, "gzip");
}

#[test]
fn containerd_runs_sealed_zstd_layers() {
    runs(Cipher::Chunked, Puller::Ctr, "zstd");
}

#[test]
fn containerd_runs_sealed_zstd_layers_by_cri() {
    runs(Cipher::Ocicrypt, Puller::Cri, "zstd");
}

#[test]
fn containerd_runs_sealed_layers_that_were_not_compressed() {
    runs(Cipher::Chunked, Puller::Ctr, "tar");
}

#[test]
fn containerd_refuses_the_default_cipher_with_another_key() {
    refuses_with_another_key(Cipher::Chunked);
}

#[test]
fn containerd_refuses_the_ocicrypt_cipher_with_another_key() {
    refuses_with_another_key(Cipher::Ocicrypt);
}

#[test]
fn containerd_refuses_the_default_cipher_without_a_key() {
    refuses_without_a_key(Cipher::Chunked);
}

#[test]
fn containerd_refuses_the_ocicrypt_cipher_without_a_key() {
    refuses_without_a_key(Cipher::Ocicrypt);
}

#[test]
fn containerd_refuses_a_bit_flipped_in_the_default_cipher() {
    refuses_damage(Cipher::Chunked, &["failed authentication"], |octets| {
        let middle = octets.len() / 2;
        octets[middle] ^= 1;
    });
}

#[test]
fn containerd_refuses_a_bit_flipped_in_the_ocicrypt_cipher() {
    refuses_damage(Cipher::Ocicrypt, &["failed authentication"], |octets| {
        let middle = octets.len() / 2;
        octets[middle] ^= 1;
    });
}

#[test]
fn containerd_refuses_a_blob_of_the_default_cipher_cut_inside_a_chunk() {
    refuses_damage(Cipher::Chunked, &["failed authentication"], |octets| {
        octets.truncate(octets.len() - 100);
    });
}

#[test]
fn containerd_refuses_a_blob_of_the_default_cipher_cut_between_chunks() {
    refuses_damage(Cipher::Chunked, &["truncated"], |octets| {
        octets.truncate(message_start(octets) + 56 + 16_400);
    });
}

#[test]
fn containerd_refuses_a_blob_of_the_ocicrypt_cipher_that_was_cut() {
    refuses_damage(Cipher::Ocicrypt, &["failed authentication"], |octets| {
        octets.truncate(octets.len() - 100);
    });
}

#[test]
fn containerd_refuses_octets_added_to_the_default_cipher() {
    refuses_damage(Cipher::Chunked, &["failed authentication"], |octets| {
        octets.extend([0; 100]);
    });
}

#[test]
fn containerd_takes_its_platform_from_a_sealed_index() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let node = Node::new(&lab, "gzip", &[]);
    node.source
        .add_index("both", &[("pause", "arm64"), ("tiny", "amd64")]);
    lab.sealift(&[
        "encrypt",
        &node.source.reference("both"),
        &node.registry.reference("both:sealed"),
        "-r",
        &node.key.recipient(),
    ])
    .succeeded();
    let reference = format!("{}/both:sealed", node.registry.address());
    node.assert_runs(Puller::Ctr, &reference);
    node.assert_runs(Puller::Cri, &reference);
}

/// Without a payload and without the content store nobody can tell a decoder whose layer it is; the message says what to change.
#[test]
fn containerd_by_ctr_says_what_the_ocicrypt_cipher_lacks_without_the_content_store() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let node = Node::new(&lab, "gzip", &[]);
    let reference = node.publish(Cipher::Ocicrypt, "tiny:lost", |_| ());
    let outcome = node.containerd.pull("lost", &reference);
    assert_ne!(outcome.code, Some(0), "{outcome}");
    assert_eq!(node.containerd.snapshots("lost"), [""; 0]);
    outcome.complained(&["use_local_image_pull"]);
}

#[test]
fn containerd_runs_what_skopeo_sealed() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let node = Node::new(&lab, "gzip", &[]);
    let reference = format!("{}/skopeo:1", node.registry.address());
    lab.skopeo(&[
        "copy",
        "-q",
        "--dest-tls-verify=false",
        "--encryption-key",
        &node.key.recipient(),
        &node.source.reference("tiny"),
        &format!("docker://{reference}"),
    ]);
    node.assert_runs(Puller::Cri, &reference);
}

#[test]
fn containerd_runs_what_was_sealed_before_the_node_became_a_recipient() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let node = Node::with_content_store(&lab);
    let first = KeyPair::generate(&lab, "first", KeyType::P256);
    for (cipher, puller) in [
        (Cipher::Chunked, Puller::Ctr),
        (Cipher::Chunked, Puller::Cri),
        (Cipher::Ocicrypt, Puller::Ctr),
        (Cipher::Ocicrypt, Puller::Cri),
    ] {
        let name = format!("{cipher:?}-{puller:?}/tiny:1").to_lowercase();
        let pushed = node.registry.reference(&name);
        let mut seal = vec!["encrypt".to_owned(), node.source.reference("tiny")];
        seal.extend([pushed.clone(), "-r".to_owned(), first.recipient()]);
        if cipher == Cipher::Ocicrypt {
            seal.push("--cipher=ocicrypt".to_owned());
        }
        lab.sealift(&seal).succeeded();
        // The layers carry the first recipient's wrapped keys alone; the node finds its own beside the manifest's.
        let add = ["recipients", "add", &pushed, "-k", &first.identity(), "-r"];
        lab.sealift(&[&add[..], &[&node.key.recipient()]].concat())
            .succeeded();
        let reference = format!("{}/{name}", node.registry.address());
        node.assert_runs(puller, &reference);
    }
}

#[test]
fn containerd_runs_images_whose_configuration_is_sealed() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let node = Node::with_content_store(&lab);
    for (cipher, puller) in [
        (Cipher::Chunked, Puller::Ctr),
        (Cipher::Chunked, Puller::Cri),
        (Cipher::Ocicrypt, Puller::Ctr),
        (Cipher::Ocicrypt, Puller::Cri),
    ] {
        let name = format!("{cipher:?}-{puller:?}/quiet:1").to_lowercase();
        let pushed = node.registry.reference(&name);
        let source = node.source.reference("tiny");
        let mut seal = vec!["encrypt", &source, &pushed, "--seal-config"];
        // A pod would name a command; `ctr run` and our pod name none.
        seal.extend(["--keep-config", "Entrypoint"]);
        let recipient = node.key.recipient();
        seal.extend(["-r", &recipient]);
        if cipher == Cipher::Ocicrypt {
            seal.push("--cipher=ocicrypt");
        }
        lab.sealift(&seal).succeeded();
        let shown = lab.skopeo(&["inspect", "--config", "--tls-verify=false", &pushed]);
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let members: Vec<&str> = shown
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert!(!members.contains(&"history"), "{shown}");
        assert_eq!(shown["config"], json!({"Entrypoint": ["/bin/hello"]}));
        node.assert_runs(puller, &format!("{}/{name}", node.registry.address()));

        let opened = lab.layout(&format!("opened-{cipher:?}-{puller:?}"));
        let opened_as = opened.reference("tiny");
        let identity = node.key.identity();
        lab.sealift(&["decrypt", &pushed, &opened_as, "-k", &identity])
            .succeeded();
        let config = |layout: &Layout| layout.image("tiny").config();
        assert_eq!(config(&opened), config(&node.source));
    }
}

/// Which cipher to seal with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Cipher {
    Chunked,
    Ocicrypt,
}

/// Who asks containerd to pull.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Puller {
    Ctr,
    Cri,
}

/// A registry, and a node with containerd that holds the key.
struct Node<'lab> {
    lab: &'lab Lab,
    source: Layout,
    key: KeyPair,
    keys: PathBuf,
    // The order matters: containerd goes before the registry.
    containerd: Containerd,
    registry: Registry,
}

impl<'lab> Node<'lab> {
    /// `decoder_options` are given to `sealift-decoder` beside the key folder.
    #[track_caller]
    fn new(lab: &'lab Lab, compression: &str, decoder_options: &[&str]) -> Self {
        let plain = lab.tiny_image();
        let registry = Registry::start(lab, Access::Open);
        let pause = format!("{}/pause:1", registry.address());
        lab.skopeo(&[
            "copy",
            "-q",
            "--dest-tls-verify=false",
            &plain.reference("pause"),
            &format!("docker://{pause}"),
        ]);
        let source = match compression {
            "gzip" => plain,
            other => lab.recompressed(&plain, other),
        };
        let key = KeyPair::generate(lab, "key", KeyType::P256);
        let keys = lab.path("keys");
        fs::create_dir(&keys).unwrap();
        fs::copy(&key.private, keys.join("key.pem")).unwrap();
        let mut options = vec!["--sandbox-image", &pause];
        for option in decoder_options {
            options.extend(["--arg", option]);
        }
        let decoder = lab.binary("sealift-decoder");
        let containerd = Containerd::start(lab, &decoder, &keys, &options);
        Self {
            lab,
            source,
            key,
            keys,
            containerd,
            registry,
        }
    }

    /// A node whose decoder may look into the content store, as `ctr` requires for the ocicrypt cipher.
    #[track_caller]
    fn with_content_store(lab: &'lab Lab) -> Self {
        let store = format!("--containerd-root={}", Containerd::root(lab).display());
        Self::new(lab, "gzip", &[&store])
    }

    /// Seals the image, lets `damage` at the layout, and pushes it as it then is. Returns the reference for containerd.
    #[track_caller]
    fn publish(&self, cipher: Cipher, name: &str, damage: impl FnOnce(&Layout)) -> String {
        let sealed = self.lab.layout("sealed");
        let mut arguments = vec!["encrypt".to_owned()];
        if cipher == Cipher::Ocicrypt {
            arguments.push("--cipher=ocicrypt".to_owned());
        }
        arguments.extend([
            self.source.reference("tiny"),
            sealed.reference("tiny"),
            "-r".to_owned(),
            self.key.recipient(),
        ]);
        self.lab.sealift(&arguments).succeeded();
        assert_eq!(sealed.image("tiny").sealed(), [true; 3]);
        damage(&sealed);
        self.lab.skopeo(&[
            "copy",
            "-q",
            "--dest-tls-verify=false",
            &sealed.reference("tiny"),
            &self.registry.reference(name),
        ]);
        format!("{}/{name}", self.registry.address())
    }

    /// Pulls and runs, and looks for the greeting of the base layer and the secret of the next.
    #[track_caller]
    fn assert_runs(&self, puller: Puller, reference: &str) {
        let printed = match puller {
            Puller::Ctr => {
                self.containerd.pull("t", reference).succeeded();
                self.containerd.run("t", reference).succeeded().stdout
            }
            Puller::Cri => {
                let mut cri = self.containerd.cri();
                cri.pull(reference).unwrap();
                let (code, log) = cri.run(reference);
                assert_eq!(code, 0, "{log}");
                log
            }
        };
        assert!(printed.contains("hello from decrypted layer"), "{printed}");
        assert!(printed.contains("secret payload line: "), "{printed}");
    }

    /// Tries to pull by both ways. Neither may succeed; each must say all of `texts`, and leave no snapshots but those of the
    /// `good` layers below the one that cannot be opened, which containerd may have collected already.
    #[track_caller]
    fn assert_refuses(&self, reference: &str, texts: &[&str], good: usize) {
        let outcome = self.containerd.pull("t", reference);
        assert_ne!(outcome.code, Some(0), "{outcome}");
        outcome.complained(texts);
        self.assert_at_most(good, "t");
        assert_ne!(self.containerd.run("t", reference).code, Some(0));

        let said = self.containerd.cri().pull(reference).unwrap_err();
        for text in texts {
            assert!(said.contains(text), "expected {text:?}: {said}");
        }
        self.assert_at_most(good, "k8s.io");
    }

    #[track_caller]
    fn assert_at_most(&self, good: usize, namespace: &str) {
        let snapshots = self.containerd.snapshots(namespace);
        assert!(snapshots.len() <= good, "{snapshots:?}");
        assert!(
            snapshots.iter().all(|key| key.starts_with("sha256:")),
            "{snapshots:?}"
        );
    }
}

#[track_caller]
fn runs(cipher: Cipher, puller: Puller, compression: &str) {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let store = format!("--containerd-root={}", Containerd::root(&lab).display());
    let options = match cipher {
        Cipher::Chunked => &[][..],
        Cipher::Ocicrypt => &[store.as_str()],
    };
    let node = Node::new(&lab, compression, options);
    let reference = node.publish(cipher, "tiny:sealed", |_| ());
    node.assert_runs(puller, &reference);
}

#[track_caller]
fn refuses_with_another_key(cipher: Cipher) {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let node = Node::with_content_store(&lab);
    let other = KeyPair::generate(&lab, "other", KeyType::P256);
    fs::copy(&other.private, node.keys.join("key.pem")).unwrap();
    let reference = node.publish(cipher, "tiny:sealed", |_| ());
    node.assert_refuses(&reference, &["no key", "ECDH-ES+A256KW"], 0);
}

#[track_caller]
fn refuses_without_a_key(cipher: Cipher) {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let node = Node::with_content_store(&lab);
    fs::remove_file(node.keys.join("key.pem")).unwrap();
    let reference = node.publish(cipher, "tiny:sealed", |_| ());
    let keys = node.keys.display().to_string();
    node.assert_refuses(&reference, &["no key", &keys], 0);
}

/// Damages the second layer, which is longer than one chunk, and mends the manifest, as somebody who controls the registry would.
#[track_caller]
fn refuses_damage(cipher: Cipher, texts: &[&str], damage: impl FnOnce(&mut Vec<u8>)) {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let node = Node::with_content_store(&lab);
    let reference = node.publish(cipher, "tiny:sealed", |sealed| {
        sealed.replace_layer("tiny", 1, damage);
    });
    node.assert_refuses(&reference, texts, 1);
}

/// Where the chunked message begins in a blob of the default format: after magic, length and header.
fn message_start(blob: &[u8]) -> usize {
    let length = u32::from_be_bytes(blob[8..12].try_into().unwrap());
    12 + usize::try_from(length).unwrap()
}

const PEERS: &[&str] = &[
    "root",
    "containerd",
    "ctr",
    "runc",
    "docker-registry",
    "skopeo",
    "umoci",
    "gcc",
    "openssl",
];
