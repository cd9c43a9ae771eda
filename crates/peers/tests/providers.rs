//! ocicrypt's key-provider protocol with programs that are not ours on the other side: Python's gRPC library as provider and as
//! the one who asks, and a provider that the Go library was tested with.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use sealift_peers::command::call;
use sealift_peers::keys::{KeyPair, KeyType};
use sealift_peers::lab::script;
use sealift_peers::{Lab, Layout};
use serde_json::{Value, json};

const PEERS: &[&str] = &[
    "openssl",
    "umoci",
    "python3",
    "python3-grpc",
    "python3-cryptography",
];

/// A program that says its address on its first line and is ended with the test.
struct Service {
    child: Child,
    address: String,
}

impl Service {
    #[track_caller]
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.split_whitespace().next_back().unwrap_or_default();
        let address = address.to_owned();
        assert!(!address.is_empty(), "{command:?} did not start");
        Self { child, address }
    }

    /// Python's provider.
    #[track_caller]
    fn python(lab: &Lab, address: &str, arguments: &[&str]) -> Self {
        let kek = lab.path("kek");
        fs::write(&kek, [7; 32]).unwrap();
        let mut command = Command::new(script("keyproviders.py"));
        command.arg("serve").arg(address).arg(kek).args(arguments);
        Self::start(&mut command)
    }

    /// Ours, with one key for both directions.
    #[track_caller]
    fn sealift(lab: &Lab, key: &KeyPair, arguments: &[&str]) -> Self {
        let (recipient, identity) = (key.recipient(), key.identity());
        let mut all = vec!["keyprovider", "serve", "-r", &recipient, "-k", &identity];
        all.extend(arguments);
        Self::start(&mut lab.sealift_command(&all))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Configures the provider `peer`.
fn configure(lab: &Lab, entry: &Value) {
    let config = json!({"key-providers": {"peer": entry}});
    fs::write(lab.path("providers.json"), config.to_string()).unwrap();
}

const CONFIG: [&str; 2] = ["--keyprovider-config", "providers.json"];

/// Seals the tiny image for `peer` and opens it again, through the provider both times.
#[track_caller]
fn there_and_back(lab: &Lab, source: &Layout, name: &str) {
    let (sealed, opened) = (
        lab.layout(&format!("sealed-{name}")),
        lab.layout(&format!("opened-{name}")),
    );
    let from = source.reference("tiny");
    let middle = sealed.reference("tiny");
    let mut seal = vec!["encrypt", "--cipher=ocicrypt", &from, &middle];
    seal.extend(["-r", "provider:peer:some:extra"]);
    seal.extend(CONFIG);
    lab.sealift(&seal).succeeded();
    let mut open = vec!["-k", "provider:peer"];
    open.extend(CONFIG);
    lab.opens(&sealed, &opened, &open);
    opened.assert_same_content(source);
}

/// An authority and certificates of it, made by OpenSSL: `NAME.crt` and `NAME.key`.
fn certificates(lab: &Lab, authority: &str, names: &[&str]) {
    let openssl = |arguments: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(arguments).current_dir(lab.path(""));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    let file = |name: &str, ending: &str| format!("{name}.{ending}");
    let new_key = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ];
    let (key, crt) = (file(authority, "key"), file(authority, "crt"));
    let subject = format!("/CN={authority}");
    let mut arguments = vec!["req", "-x509"];
    arguments.extend(new_key);
    arguments.extend([
        "-keyout", &key, "-out", &crt, "-subj", &subject, "-days", "2",
    ]);
    openssl(&arguments);
    for name in names {
        let (own_key, own_crt, csr) = (file(name, "key"), file(name, "crt"), file(name, "csr"));
        let subject = format!("/CN={name}");
        let mut arguments = vec!["req", "-new"];
        arguments.extend(new_key);
        arguments.extend(["-keyout", &own_key, "-out", &csr, "-subj", &subject]);
        openssl(&arguments);
        let extensions = lab.text(file(name, "ext"));
        fs::write(&extensions, format!("subjectAltName=DNS:{name}.test\n")).unwrap();
        openssl(&[
            "x509",
            "-req",
            "-in",
            &csr,
            "-CA",
            &crt,
            "-CAkey",
            &key,
            "-CAcreateserial",
            "-out",
            &own_crt,
            "-days",
            "2",
            "-extfile",
            &extensions,
        ]);
        call("chmod", &["600", &lab.text(file(name, "key"))]);
    }
}

#[test]
fn images_are_sealed_and_opened_through_a_provider_on_pythons_grpc() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let source = lab.tiny_image();
    let socket = format!("unix://{}", lab.text("peer.sock"));
    for (number, (address, mode)) in [
        ("127.0.0.1:0", "base64"),
        ("127.0.0.1:0", "arrays"),
        (&socket, "arrays"),
    ]
    .into_iter()
    .enumerate()
    {
        // It refuses requests with parameters of anybody else.
        let service = Service::python(&lab, address, &["--mode", mode]);
        configure(&lab, &json!({"grpc": service.address}));
        there_and_back(&lab, &source, &number.to_string());
    }
}

#[test]
fn tls_with_pythons_grpc_authenticates_both_sides() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let source = lab.tiny_image();
    certificates(&lab, "ca", &["server", "client"]);
    certificates(&lab, "other-ca", &["stranger"]);
    let file = |name: &str| lab.text(name);
    let tls = [
        "--tls",
        &file("server.crt"),
        &file("server.key"),
        &file("ca.crt"),
    ];
    let service = Service::python(&lab, "127.0.0.1:0", &tls);
    let entry = |authority: &str, own: &str, name: &str| {
        json!({"grpc": service.address, "grpc-tls": {
            "root-ca-file": file(authority),
            "cert-file": file(&format!("{own}.crt")),
            "key-file": file(&format!("{own}.key")),
            "server-name": name,
        }})
    };
    configure(&lab, &entry("ca.crt", "client", "server.test"));
    there_and_back(&lab, &source, "tls");

    let refused = |entry: &Value| {
        configure(&lab, entry);
        let (from, to) = (
            source.reference("tiny"),
            lab.layout("never").reference("tiny"),
        );
        let mut seal = vec!["encrypt", &from, &to, "-r", "provider:peer"];
        seal.extend(CONFIG);
        seal.extend(["--provider-timeout", "10"]);
        lab.sealift(&seal)
            .exited(1)
            .complained(&["key provider `peer`: cannot reach"]);
    };
    refused(&entry("other-ca.crt", "client", "server.test"));
    refused(&entry("ca.crt", "client", "other.test"));
    refused(&entry("ca.crt", "stranger", "server.test"));
    refused(
        &json!({"grpc": service.address, "grpc-tls": {"root-ca-file": file("ca.crt"), "server-name": "server.test"}}),
    );
    refused(&json!({"grpc": service.address}));
}

#[test]
fn what_goes_wrong_with_pythons_grpc_is_told() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let source = lab.tiny_image();
    let (from, to) = (
        source.reference("tiny"),
        lab.layout("never").reference("tiny"),
    );
    for (mode, text) in [
        ("hang", "no answer within 2 s"),
        ("garbage", "malformed answer: not JSON"),
        ("huge", "answer longer than 262144 octets"),
        (
            "other-half",
            "malformed answer: nothing in `keywrapresults.annotation`",
        ),
        (
            "refuse",
            "gRPC status PERMISSION_DENIED; it says: the vault is sealed 100 % ünlikely",
        ),
    ] {
        let service = Service::python(&lab, "127.0.0.1:0", &["--mode", mode]);
        configure(&lab, &json!({"grpc": service.address}));
        let mut seal = vec!["encrypt", &from, &to, "-r", "provider:peer"];
        seal.extend(CONFIG);
        seal.extend(["--provider-timeout", "2"]);
        lab.sealift(&seal).exited(1).complained(&[text]);
    }
}

/// Lets Python ask as programs with ocicrypt do.
fn ask(transport: &str, what: &str, octets: &[u8], arguments: &[&str]) -> Output {
    let mut command = Command::new(script("keyproviders.py"));
    command.args(["ask", transport, what]).args(arguments);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(octets).unwrap();
    child.wait_with_output().unwrap()
}

#[track_caller]
fn answered(output: Output) -> Vec<u8> {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    output.stdout
}

const OPTIONS: &[u8] = br#"{"symkey":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","digest":"","cipheroptions":{"nonce":"AAAAAAAAAAAAAAAAAAAAAA=="}}"#;

#[test]
fn sealift_is_a_provider_for_programs_with_ocicrypt() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let key = KeyPair::generate(&lab, "node", KeyType::P256);
    let other = KeyPair::generate(&lab, "other", KeyType::P256);
    let socket = format!("unix://{}", lab.text("ours.sock"));
    let (recipient, identity) = (key.recipient(), key.identity());
    let program = lab.binary("sealift").display().to_string();
    let command = json!([program, "keyprovider", "-r", recipient, "-k", identity]);
    let on_socket = Service::sealift(&lab, &key, &["--listen", &socket]);
    let on_loopback = Service::sealift(&lab, &key, &["--listen", "127.0.0.1:0"]);
    let transports = [
        format!("cmd:{command}"),
        format!("grpc:{}", on_socket.address),
        format!("grpc:{}", on_loopback.address),
    ];
    // What one wraps the others open: it is the same key.
    for wraps in &transports {
        let element = answered(ask(wraps, "wrap", OPTIONS, &[]));
        assert!(element.starts_with(br#"{"v":1,"type":"sealift.keys","keys":[{"scheme":"jwe""#));
        for opens in &transports {
            let opened = answered(ask(opens, "unwrap", &element, &["--params", "x"]));
            assert_eq!(opened, OPTIONS);
        }
    }
    // And who has another key is told so in his own words.
    let strange = Service::sealift(&lab, &other, &["--listen", "127.0.0.1:0"]);
    let element = answered(ask(&transports[0], "wrap", OPTIONS, &[]));
    let refused = ask(
        &format!("grpc:{}", strange.address),
        "unwrap",
        &element,
        &[],
    );
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        said.starts_with("PERMISSION_DENIED: no key fits: jwe ECDH-ES+A256KW"),
        "{said}"
    );
    let command = json!([program, "keyprovider", "-k", other.identity()]);
    let refused = ask(&format!("cmd:{command}"), "unwrap", &element, &[]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("no key fits"), "{said}");
}

#[test]
fn the_service_asks_python_for_a_certificate() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    certificates(&lab, "ca", &["server", "client"]);
    certificates(&lab, "other-ca", &["stranger"]);
    let key = KeyPair::generate(&lab, "node", KeyType::P256);
    let tls = [
        "--listen",
        "127.0.0.1:0",
        "--tls-cert",
        "server.crt",
        "--tls-key",
        "server.key",
        "--client-ca",
        "ca.crt",
    ];
    let service = Service::sealift(&lab, &key, &tls);
    let transport = format!("grpc:{}", service.address);
    let with = |own: &str| {
        let files = [
            "ca.crt".to_owned(),
            format!("{own}.crt"),
            format!("{own}.key"),
        ];
        let files: Vec<String> = files.iter().map(|name| lab.text(name)).collect();
        let mut arguments: Vec<&str> = vec!["--tls"];
        arguments.extend(files.iter().map(String::as_str));
        arguments.extend(["--server-name", "server.test"]);
        ask(&transport, "wrap", OPTIONS, &arguments)
    };
    answered(with("client"));
    for output in [with("stranger"), ask(&transport, "wrap", OPTIONS, &[])] {
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("UNAVAILABLE: failed to connect"), "{said}");
    }
}

#[test]
fn the_provider_of_the_go_librarys_fixture_works_in_both_directions() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let source = lab.tiny_image();
    let testdata = sealift_peers::lab::workspace().join("testdata/ocicrypt/keys/provider");
    let program: PathBuf = testdata.join("keyprovider.py");
    configure(
        &lab,
        &json!({"cmd": {"path": program, "args": ["--a", "b"]}}),
    );
    there_and_back(&lab, &source, "cmd");
}
