//! Who made an image: signatures are checked before any key is touched, by every command that opens or moves one.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{DerSignature, SigningKey};
use sealift_testkit::image::{Format, Packing};
use sealift_testkit::registry::{Operation, Options, Registry, RunningRegistry};
use serde_json::{Value, json};

use crate::tool::{Lab, Run, image};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

/// Somebody who signs with a key on P-256.
struct Publisher(SigningKey);

impl Publisher {
    /// Makes a key, and writes its public half.
    fn new(lab: &Lab, file: &str, seed: u8) -> Self {
        let key = SigningKey::from_slice(&[seed; 32]).unwrap();
        // SubjectPublicKeyInfo of a point on P-256 (RFC 5480, section 2), up to the point.
        let mut der = hex::decode("3059301306072a8648ce3d020106082a8648ce3d030107034200").unwrap();
        der.extend_from_slice(key.verifying_key().to_sec1_point(false).as_bytes());
        let text = STANDARD.encode(der);
        let (first, second) = text.split_at(64);
        let pem =
            format!("-----BEGIN PUBLIC KEY-----\n{first}\n{second}\n-----END PUBLIC KEY-----\n");
        lab.write(file, pem.as_bytes());
        Self(key)
    }

    fn sign(&self, message: &[u8]) -> String {
        let signature: DerSignature = self.0.sign(message);
        STANDARD.encode(signature.as_bytes())
    }

    /// What `cosign sign` keeps under a tag up to version 2.
    fn simple(&self, registry: &RunningRegistry, repo: &str, digest: &str) {
        let payload = json!({
            "critical": {
                "identity": {"docker-reference": "elsewhere.example/team/app"},
                "image": {"docker-manifest-digest": digest},
                "type": "cosign container image signature",
            },
            "optional": null,
        });
        let payload = payload.to_string();
        let signature = self.sign(payload.as_bytes());
        put_simple(registry, repo, digest, &payload, &signature);
    }

    /// What `cosign sign` attaches since version 3, or another statement.
    fn bundle(&self, predicate: &str, digest: &str) -> Value {
        let hex = digest.trim_start_matches("sha256:");
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"digest": {"sha256": hex}}],
            "predicateType": predicate,
            "predicate": {},
        });
        let (kind, payload) = ("application/vnd.in-toto+json", statement.to_string());
        let message = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
        json!({
            "mediaType": BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": "key"}},
            "dsseEnvelope": {
                "payloadType": kind,
                "payload": STANDARD.encode(&payload),
                "signatures": [{"sig": self.sign(message.as_bytes())}],
            },
        })
    }
}

fn put_simple(
    registry: &RunningRegistry,
    repo: &str,
    digest: &str,
    payload: &str,
    signature: &str,
) {
    // As cosign writes it.
    let config = json!({
        "architecture": "",
        "created": "0001-01-01T00:00:00Z",
        "history": [{"created": "0001-01-01T00:00:00Z"}],
        "os": "",
        "rootfs": {"type": "layers", "diff_ids": [sealift_testkit::sha256(payload.as_bytes())]},
        "config": {},
    });
    let config = config.to_string();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": registry.put_blob(repo, config.as_bytes()),
            "size": config.len(),
        },
        "layers": [{
            "mediaType": SIMPLE,
            "digest": registry.put_blob(repo, payload.as_bytes()),
            "size": payload.len(),
            "annotations": {"dev.cosignproject.cosign/signature": signature},
        }],
    });
    let tag = format!("{}.sig", digest.replace(':', "-"));
    registry.put_manifest(repo, &tag, MANIFEST, manifest.to_string().as_bytes());
}

/// Attaches a bundle, or what pretends to be one.
fn attach(registry: &RunningRegistry, repo: &str, subject: &str, bundle: &[u8]) {
    let subject_len = registry.manifest(repo, subject).unwrap().1.len();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": BUNDLE,
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": registry.put_blob(repo, b"{}"),
            "size": 2,
        },
        "layers": [{
            "mediaType": BUNDLE,
            "digest": registry.put_blob(repo, bundle),
            "size": bundle.len(),
        }],
        "subject": {"mediaType": MANIFEST, "digest": subject, "size": subject_len},
    });
    let bytes = manifest.to_string().into_bytes();
    let digest = sealift_testkit::sha256(&bytes);
    registry.put_manifest(repo, &digest, MANIFEST, &bytes);
}

/// A registry with a sealed image.
struct Place {
    lab: Lab,
    registry: RunningRegistry,
    reference: String,
    digest: String,
    plain: String,
}

fn place() -> Place {
    let lab = Lab::new();
    lab.key("key");
    let image = image(Format::Oci, Packing::Gzip);
    image.write_layout(&lab.path("plain"), "v1");
    let registry = Registry::start(Options::default());
    let reference = format!("{}/team/app:v1", registry.host());
    let digest = lab
        .sealift(&[
            "encrypt",
            "-q",
            "oci:plain:v1",
            &reference,
            "-r",
            "key.pub.pem",
        ])
        .succeeds();
    Place {
        lab,
        registry,
        reference,
        digest,
        plain: image.digest(),
    }
}

impl Place {
    fn decrypt(&self, options: &[&str]) -> Run {
        let _ = fs::remove_dir_all(self.lab.path("opened"));
        let fixed = ["decrypt", &self.reference, "oci:opened:v1", "-k", "key.pem"];
        self.lab.sealift(&[&fixed[..], options].concat())
    }

    #[track_caller]
    fn refuses(&self, options: &[&str], why: &str) {
        let run = self
            .decrypt(options)
            .fails(4, "error: the image is not to be used");
        assert!(
            run.stderr.contains(why),
            "{why:?} is not in\n{}",
            run.stderr
        );
        assert_eq!(self.lab.files("opened"), [""; 0]);
    }
}

#[test]
fn what_a_trusted_key_signed_is_opened_and_nothing_else() {
    let place = place();
    let publisher = Publisher::new(&place.lab, "publisher.pem", 1);
    let stranger = Publisher::new(&place.lab, "stranger.pem", 2);
    let trusted = ["--verify-key", "publisher.pem"];
    place.refuses(&trusted, "it has no signature");
    stranger.simple(&place.registry, "team/app", &place.digest);
    place.refuses(&trusted, "none of the trusted keys made it");
    publisher.simple(&place.registry, "team/app", &place.digest);
    let run = place.decrypt(&trusted);
    assert!(run.stderr.contains("signed by key sha256:"), "{run:?}");
    assert_eq!(run.succeeds(), place.plain);
    place.refuses(
        &["--verify-key", "stranger.pem"],
        "none of the trusted keys made it",
    );
    // Either of them.
    let both = [
        "--verify-key",
        "stranger.pem",
        "--verify-key",
        "publisher.pem",
    ];
    assert_eq!(place.decrypt(&both).succeeds(), place.plain);
    // Without being asked, as ever.
    assert_eq!(place.decrypt(&[]).succeeds(), place.plain);
}

#[test]
fn bundles_are_found_among_whatever_else_refers_to_the_image() {
    let place = place();
    let publisher = Publisher::new(&place.lab, "publisher.pem", 1);
    let stranger = Publisher::new(&place.lab, "stranger.pem", 2);
    let trusted = ["--verify-key", "publisher.pem"];
    let attach = |octets: &[u8]| attach(&place.registry, "team/app", &place.digest, octets);
    for octets in [&b""[..], b"{}", b"[", b"\xff\xfe", b"{\"mediaType\":1}"] {
        attach(octets);
    }
    place.refuses(&trusted, "it cannot be read");
    attach(stranger.bundle(SIGN, &place.digest).to_string().as_bytes());
    attach(publisher.bundle(SIGN, &place.plain).to_string().as_bytes());
    place.refuses(&trusted, "it is about another image");
    attach(
        publisher
            .bundle("https://slsa.dev/provenance/v1", &place.digest)
            .to_string()
            .as_bytes(),
    );
    let statement = "it is no signature but a statement of type `https://slsa.dev/provenance/v1`";
    place.refuses(&trusted, statement);
    let mut changed = publisher.bundle(SIGN, &place.digest);
    changed["dsseEnvelope"]["payload"] =
        publisher.bundle(SIGN, &place.plain)["dsseEnvelope"]["payload"].clone();
    attach(changed.to_string().as_bytes());
    let good = publisher.bundle(SIGN, &place.digest);
    let mut none = good.clone();
    none["dsseEnvelope"]["signatures"] = json!([]);
    attach(none.to_string().as_bytes());
    place.refuses(&trusted, "none of its 10 signatures is by whom it must be");
    attach(good.to_string().as_bytes());
    assert_eq!(place.decrypt(&trusted).succeeds(), place.plain);
    let log = [
        "--verify-key",
        "publisher.pem",
        "--require-transparency-log",
    ];
    place.refuses(&log, "no trusted transparency log proves to have it");
}

#[test]
fn a_signature_of_another_image_does_not_serve_for_this_one() {
    let place = place();
    let publisher = Publisher::new(&place.lab, "publisher.pem", 1);
    // Somebody seals an image of their own for the same key, and shows it under the tag with the old signature.
    publisher.simple(&place.registry, "team/app", &place.digest);
    let signature = format!("{}.sig", place.digest.replace(':', "-"));
    let (_, signature) = place.registry.manifest("team/app", &signature).unwrap();
    let other = place
        .lab
        .sealift(&[
            "encrypt",
            "-q",
            "oci:plain:v1",
            &place.reference,
            "-r",
            "key.pub.pem",
        ])
        .succeeds();
    assert_ne!(other, place.digest);
    let tag = format!("{}.sig", other.replace(':', "-"));
    place
        .registry
        .put_manifest("team/app", &tag, MANIFEST, &signature);
    let about = format!("it is about another image, {}", place.digest);
    place.refuses(&["--verify-key", "publisher.pem"], &about);
}

#[test]
fn payloads_that_say_something_else_are_refused() {
    let place = place();
    let publisher = Publisher::new(&place.lab, "publisher.pem", 1);
    let image = json!({"docker-manifest-digest": place.digest});
    let identity = json!({"docker-reference": "a.example/b"});
    let kind = "cosign container image signature";
    for (payload, why) in [
        (
            json!({"critical": {"identity": identity, "image": image, "type": "atomic container signature"}})
                .to_string(),
            "payload of type `atomic container signature`",
        ),
        (
            json!({"critical": {"identity": identity, "image": {}, "type": kind}}).to_string(),
            "missing field",
        ),
        (
            json!({"critical": {"identity": identity, "image": image, "type": kind, "until": 1}})
                .to_string(),
            "unknown field `until`",
        ),
        (
            format!(
                r#"{{"critical":{{"identity":{identity},"image":{{"docker-manifest-digest":"sha256:00","docker-manifest-digest":"{}"}},"type":"{kind}"}}}}"#,
                place.digest
            ),
            "duplicate field",
        ),
    ] {
        let signature = publisher.sign(payload.as_bytes());
        put_simple(&place.registry, "team/app", &place.digest, &payload, &signature);
        place.refuses(&["--verify-key", "publisher.pem"], why);
    }
}

#[test]
fn nothing_is_read_of_keys_before_the_signature_is_checked() {
    let place = place();
    Publisher::new(&place.lab, "publisher.pem", 1);
    for command in [
        &["decrypt", &place.reference, "oci:opened"][..],
        &["verify", &place.reference],
        &["cat", &place.reference, "data"],
        &["ls", &place.reference],
    ] {
        let run = |trust: &[&str]| {
            let key = ["-k", "missing.pem"];
            place.lab.sealift(&[command, &key, trust].concat())
        };
        run(&["--verify-key", "publisher.pem"]).fails(4, "the image is not to be used");
        run(&[]).fails(7, "missing.pem");
    }
    let copy = [
        "copy",
        &place.reference,
        "oci:copied",
        "--verify-key",
        "publisher.pem",
    ];
    place
        .lab
        .sealift(&copy)
        .fails(4, "the image is not to be used");
    assert_eq!(place.lab.files("copied"), [""; 0]);
    let before = place.registry.count(Operation::PutManifest);
    let change = [
        "-k",
        "key.pem",
        "-r",
        "publisher.pem",
        "--verify-key",
        "publisher.pem",
    ];
    for command in ["add", "rotate"] {
        let add = [&["recipients", command, &place.reference][..], &change].concat();
        place
            .lab
            .sealift(&add)
            .fails(4, "the image is not to be used");
    }
    assert_eq!(place.registry.count(Operation::PutManifest), before);
}

#[test]
fn what_is_opened_is_what_was_proven_even_if_the_tag_moves() {
    let place = place();
    let publisher = Publisher::new(&place.lab, "publisher.pem", 1);
    publisher.simple(&place.registry, "team/app", &place.digest);
    place.registry.clear_log();
    place.decrypt(&["--verify-key", "publisher.pem"]).succeeds();
    let asked = place.registry.log();
    let by_tag = asked
        .iter()
        .filter(|entry| entry.operation == Operation::GetManifest && entry.path.ends_with("/v1"));
    assert_eq!(by_tag.count(), 1);
}

#[test]
fn signatures_come_along_in_layouts_and_archives() {
    let place = place();
    let publisher = Publisher::new(&place.lab, "publisher.pem", 1);
    let trusted = ["--verify-key", "publisher.pem"];
    publisher.simple(&place.registry, "team/app", &place.digest);
    let bundle = publisher.bundle(SIGN, &place.digest).to_string();
    attach(
        &place.registry,
        "team/app",
        &place.digest,
        bundle.as_bytes(),
    );
    for (choice, there) in [
        ("--signatures", "oci:a:v1"),
        ("--referrers", "oci-archive:b.tar:v1"),
    ] {
        let copy = ["copy", "-q", &place.reference, there, choice, "keep"];
        place
            .lab
            .sealift(&[&copy[..], &trusted].concat())
            .succeeds();
        let verify = ["verify", there, "--json"];
        let told = place.lab.sealift(&[&verify[..], &trusted].concat()).json();
        let key = told["signers"][0]["key"].as_str().unwrap();
        assert!(key.starts_with("sha256:"), "{told}");
        assert_eq!(told["signers"].as_array().unwrap().len(), 1);
    }
    let told = place.lab.sealift(&["verify", "oci:a:v1", "--json"]).json();
    assert_eq!(told["signers"], json!([]));
}

#[test]
fn a_policy_holds_for_every_command_that_uses_an_image() {
    let place = place();
    let publisher = Publisher::new(&place.lab, "publisher.pem", 1);
    let host = place.registry.host();
    fs::create_dir(place.lab.path("policy")).unwrap();
    fs::rename(
        place.lab.path("publisher.pem"),
        place.lab.path("policy/publisher.pem"),
    )
    .unwrap();
    let policy = format!(
        "version = 1\n[[rule]]\nimages = [\"{host}/team/*\"]\nkeys = [\"publisher.pem\"]\n"
    );
    place.lab.write("policy/trust.toml", policy.as_bytes());
    let run = |arguments: &[&str]| {
        let mut command = place.lab.command(arguments);
        Run::of(command.env("SEALIFT_TRUST_POLICY", "policy/trust.toml"))
    };
    let reference = place.reference.as_str();
    let commands: [&[&str]; 5] = [
        &["decrypt", "-q", reference, "oci:opened:v1", "-k", "key.pem"],
        &["copy", "-q", reference, "oci:copied:v1"],
        &["verify", "-q", reference],
        &["ls", "-q", reference, "--platform", "linux/amd64"],
        &[
            "recipients",
            "add",
            "-q",
            reference,
            "oci:more:v1",
            "-k",
            "key.pem",
            "-r",
            "other.pub.pem",
        ],
    ];
    place.lab.key("other");
    for command in commands {
        let key: &[&str] = match command[0] {
            "ls" => &["-k", "key.pem"],
            _ => &[],
        };
        run(&[command, key].concat()).fails(4, "it has no signature");
    }
    publisher.simple(&place.registry, "team/app", &place.digest);
    for command in commands {
        let key: &[&str] = match command[0] {
            "ls" => &["-k", "key.pem"],
            _ => &[],
        };
        run(&[command, key].concat()).succeeds();
    }
    // What no rule is for: another repository, and what lies in files.
    for reference in ["oci:copied:v1".to_owned(), format!("{host}/other/app:v1")] {
        run(&["verify", &reference]).fails(6, "has no rule for");
    }
    // Looking is free.
    run(&["inspect", "oci:copied:v1"]).succeeds();
    run(&["recipients", "list", "oci:copied:v1"]).succeeds();
    // An option asks for more, not for less.
    Publisher::new(&place.lab, "stranger.pem", 2);
    run(&["verify", reference, "--verify-key", "stranger.pem"])
        .fails(4, "none of the trusted keys");
}

#[test]
fn a_policy_that_is_not_understood_lets_nothing_pass() {
    let place = place();
    let check = |text: &str, code: i32, why: &str| {
        place.lab.write("trust.toml", text.as_bytes());
        let run = ["verify", &place.reference, "--trust-policy", "trust.toml"];
        place.lab.sealift(&run).fails(code, why);
    };
    check("", 1, "is not a trust policy");
    check("version = 1\nimages = 1", 1, "unknown field `images`");
    check("version = 1", 6, "has no rule for");
    let rule = "version = 1\n[[rule]]\nimages = [\"*\"]\n";
    check(&format!("{rule}keys = [\"missing.pem\"]"), 7, "missing.pem");
    check(
        &format!("{rule}keys = [\"key.pem\"]"),
        2,
        "it holds a private key",
    );
    check(
        &format!("{rule}keys = [\"trust.toml\"]"),
        2,
        "is not a key that signs images",
    );
    Publisher::new(&place.lab, "a.pem", 1);
    Publisher::new(&place.lab, "b.pem", 1);
    check(
        &format!("{rule}keys = [\"a.pem\", \"b.pem\"]\nsigners = 2"),
        1,
        "names the same key twice",
    );
    let missing = ["verify", &place.reference, "--trust-policy", "nowhere.toml"];
    place.lab.sealift(&missing).fails(7, "nowhere.toml");

    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        place
            .lab
            .write("trust.toml", format!("{rule}unsigned = true").as_bytes());
        let run = [
            "verify",
            "-q",
            &place.reference,
            "--trust-policy",
            "trust.toml",
        ];
        place.lab.sealift(&run).succeeds();
        let open = fs::Permissions::from_mode(0o666);
        fs::set_permissions(place.lab.path("trust.toml"), open).unwrap();
        place
            .lab
            .sealift(&run)
            .fails(1, "anybody could have written");
    }
}

#[test]
fn as_many_different_signers_as_a_policy_asks_for() {
    let place = place();
    let (first, second) = (
        Publisher::new(&place.lab, "a.pem", 1),
        Publisher::new(&place.lab, "b.pem", 2),
    );
    let policy =
        "version = 1\n[[rule]]\nimages = [\"*\"]\nkeys = [\"a.pem\", \"b.pem\"]\nsigners = 2\n";
    place.lab.write("trust.toml", policy.as_bytes());
    let verify = || {
        let run = [
            "verify",
            &place.reference,
            "--trust-policy",
            "trust.toml",
            "--json",
        ];
        place.lab.sealift(&run)
    };
    let bundle = |who: &Publisher| who.bundle(SIGN, &place.digest).to_string();
    attach(
        &place.registry,
        "team/app",
        &place.digest,
        bundle(&first).as_bytes(),
    );
    // Twice the same one is one.
    first.simple(&place.registry, "team/app", &place.digest);
    verify().exits_with(4, "1 of the 2 signers asked for");
    second.simple(&place.registry, "team/app", &place.digest);
    assert_eq!(verify().json()["signers"].as_array().unwrap().len(), 2);
}

#[test]
fn options_that_would_ask_for_nobody_are_refused() {
    let place = place();
    let reference = place.reference.as_str();
    for options in [
        &["--require-transparency-log"][..],
        &["--certificate-identity", "a@b.example"],
        &["--certificate-identity-regexp", ".*"],
        &["--certificate-oidc-issuer", "https://issuer.example"],
        &[
            "--certificate-identity-regexp",
            "(",
            "--certificate-oidc-issuer",
            "https://issuer.example",
        ],
        &["--verify-key", "key.pem"],
    ] {
        let run = place
            .lab
            .sealift(&[&["verify", reference][..], options].concat());
        assert_eq!(run.code, 2, "{options:?}: {}", run.stderr);
    }
}

#[cfg(unix)]
mod image_verifier {
    use std::io::Write as _;
    use std::process::Stdio;

    use super::*;

    /// Runs the program as containerd does: by its name in a folder, with a descriptor on standard input.
    fn verifier(place: &Place, arguments: &[&str], input: &[u8]) -> Run {
        let link = place.lab.path("sealift-image-verifier");
        if !link.exists() {
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_sealift"), &link).unwrap();
        }
        let mut command = std::process::Command::new(&link);
        command
            .args(arguments)
            .env_clear()
            .env("SEALIFT_TRUST_POLICY", place.lab.path("trust.toml"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        Run {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[test]
    fn containerd_is_told_what_the_policy_says() {
        let place = place();
        let publisher = Publisher::new(&place.lab, "publisher.pem", 1);
        let descriptor =
            |digest: &str| json!({"mediaType": MANIFEST, "digest": digest, "size": 1}).to_string();
        let ask = |name: &str, digest: &str, input: &str| {
            let arguments = [
                "-name",
                name,
                "-digest",
                digest,
                "-stdin-media-type",
                "application/vnd.oci.descriptor.v1+json",
            ];
            verifier(&place, &arguments, input.as_bytes())
        };
        let (name, digest) = (place.reference.as_str(), place.digest.as_str());
        let pulled = descriptor(digest);
        let refused = |run: Run, code: i32, why: &str| {
            assert_eq!(run.code, code, "{run:?}");
            assert!(run.stdout.contains(why), "{run:?}");
            assert!(!run.stdout.contains("signed by"), "{run:?}");
        };
        refused(ask(name, digest, &pulled), 7, "cannot read");
        let policy = "version = 1\n[[rule]]\nimages = [\"*\"]\nkeys = [\"publisher.pem\"]\n";
        place.lab.write("trust.toml", policy.as_bytes());
        refused(ask(name, digest, &pulled), 4, "it has no signature");
        publisher.simple(&place.registry, "team/app", digest);
        let run = ask(name, digest, &pulled);
        assert_eq!(run.code, 0, "{run:?}");
        assert!(run.stdout.starts_with("signed by key sha256:"), "{run:?}");
        // The digest decides, whatever the tag leads to by now.
        let gone = name.replace(":v1", ":gone");
        assert_eq!(ask(&gone, digest, "").code, 0);
        let pinned = format!("{}@{digest}", name.trim_end_matches(":v1"));
        assert_eq!(ask(&pinned, digest, &pulled).code, 0);
        let other = place.plain.as_str();
        refused(ask(&pinned, other, ""), 4, "was resolved to");
        refused(ask(name, digest, &descriptor(other)), 4, "it is about");
        refused(ask(name, digest, "{"), 4, "cannot be used");
        refused(ask(name, digest, &"x".repeat(5 << 20)), 4, "it is too long");
        refused(ask(name, other, ""), 7, "");
        // Before it runs one, containerd says more on standard input.
        let more = [
            "-name",
            name,
            "-digest",
            digest,
            "-stdin-media-type",
            "application/vnd.containerd.image-verifier.input.v1+json",
            "-operation",
            "run",
        ];
        assert_eq!(verifier(&place, &more, b"{\"operation\":\"run\"}").code, 0);
        // What this program cannot use is told where containerd looks; what it need not know is let go.
        refused(verifier(&place, &["-name", name], b""), 2, "--digest");
        refused(
            verifier(&place, &["-name", name, "-digest", "x"], b""),
            2,
            "invalid value 'x'",
        );
        let newer = ["-name", name, "-digest", digest, "-later", "x", "-even=y"];
        assert_eq!(verifier(&place, &newer, b"").code, 0);
    }

    #[test]
    fn containerd_is_told_that_the_registry_does_not_answer() {
        let place = place();
        let policy = "version = 1\n[[rule]]\nimages = [\"*\"]\nkeys = [\"publisher.pem\"]\n";
        place.lab.write("trust.toml", policy.as_bytes());
        Publisher::new(&place.lab, "publisher.pem", 1);
        // It takes connections and says nothing.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let name = format!("{}/team/app:v1", silent.local_addr().unwrap());
        let digest = place.digest.as_str();
        let run = verifier(
            &place,
            &["-name", &name, "-digest", digest, "--timeout", "1"],
            b"",
        );
        assert_eq!(run.code, 5, "{run:?}");
        assert!(run.stdout.contains("within 1 s nobody told"), "{run:?}");
    }
}
