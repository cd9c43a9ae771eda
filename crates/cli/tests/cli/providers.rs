//! `provider:NAME`: key providers of ocicrypt, asked by the command line.

use std::fs;
use std::path::{Path, PathBuf};

use sealift_testkit::image::{Format, Packing};
use serde_json::{Value, json};

use crate::tool::{Lab, image, set_mode};

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata/ocicrypt")
        .join(name)
}

/// A folder with the provider that ocicrypt's fixture was made with, under its name there and under another, and with images.
fn lab() -> Lab {
    let lab = Lab::new();
    let provider = lab.path("keyprovider.py");
    fs::copy(testdata("keys/provider/keyprovider.py"), &provider).unwrap();
    set_mode(&provider, 0o755);
    fs::copy(testdata("keys/provider/kek.bin"), lab.path("kek.bin")).unwrap();
    let command = json!({"cmd": {"path": provider, "args": ["--a", "b"]}});
    let config = json!({"key-providers": {
        "demo": command,
        "other": command,
        "absent": {"cmd": {"path": "/does/not/exist"}},
        "coco": {"ttrpc": "unix:///run/cdh.sock"},
        "far": {"grpc": "kms.example:50000"},
        "sealift": command,
    }});
    lab.write("providers.json", config.to_string().as_bytes());
    image(Format::Oci, Packing::Gzip).write_layout(&lab.path("plain"), "v1");
    lab
}

const CONFIG: [&str; 2] = ["--keyprovider-config", "providers.json"];

/// Returns what the provider was told, call by call.
fn told(lab: &Lab) -> Vec<Value> {
    let text = fs::read_to_string(lab.path("log")).unwrap_or_default();
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

#[test]
fn what_ocicrypt_sealed_through_a_provider_opens_through_it() {
    let lab = lab();
    let sealed = format!("oci:{}:tiny", testdata("provider-cmd").display());
    for (number, (key, arrays)) in [
        ("provider:demo", false),
        ("provider:demo:some:extra", false),
        ("provider:demo", true),
    ]
    .into_iter()
    .enumerate()
    {
        let opened = format!("opened-{number}");
        let destination = format!("oci:{opened}:tiny");
        let mut command = lab.command(&["decrypt", "-q", &sealed, &destination, "-k", key]);
        command.args(CONFIG);
        if arrays {
            command.env("KP_ARRAYS", "1");
        }
        crate::tool::Run::of(&mut command).succeeds();
        // Layers and diff IDs are those of the image before ocicrypt sealed it.
        let expected: Value =
            serde_json::from_slice(&fs::read(testdata("expected.json")).unwrap()).unwrap();
        let expected = &expected["provider-cmd"]["layers"];
        let manifest = lab.digest_in_layout(&opened, "tiny");
        let blob = lab
            .path(&opened)
            .join("blobs")
            .join(manifest.replace(':', "/"));
        let manifest: Value = serde_json::from_slice(&fs::read(blob).unwrap()).unwrap();
        let layers = manifest["layers"].as_array().unwrap();
        assert_eq!(layers.len(), 3);
        for (position, layer) in layers.iter().enumerate() {
            assert_eq!(layer["digest"], expected[position]["plain_digest"]);
        }
    }
}

#[test]
fn both_ciphers_seal_and_open_through_a_provider() {
    for cipher in ["chunked", "ocicrypt"] {
        let lab = lab();
        lab.key("also");
        let mut seal = vec!["encrypt", "-q", "oci:plain:v1", "oci:sealed:v1"];
        seal.extend(["--cipher", cipher, "-r", "provider:demo:some:extra"]);
        seal.extend(["-r", "also.pub.pem"]);
        seal.extend(CONFIG);
        lab.sealift(&seal).succeeds();
        let shown = lab.sealift(&["inspect", "oci:sealed:v1"]).succeeds();
        assert!(shown.contains("provider.demo"), "{shown}");
        assert!(!shown.contains("extra"), "{shown}");
        for (opened, keys) in [
            ("one", vec!["-k", "provider:demo"]),
            ("two", vec!["-k", "also.pem"]),
            (
                "three",
                vec!["-k", "provider:other", "-k", "provider:demo:x"],
            ),
        ] {
            let destination = format!("oci:{opened}:v1");
            let mut open = vec!["decrypt", "-q", "oci:sealed:v1", &destination];
            open.extend(keys);
            open.extend(CONFIG);
            lab.sealift(&open).succeeds();
            assert_eq!(
                lab.digest_in_layout(opened, "v1"),
                lab.digest_in_layout("plain", "v1")
            );
        }
        let mut verify = vec!["verify", "-q", "oci:sealed:v1", "-k", "provider:demo"];
        verify.extend(CONFIG);
        lab.sealift(&verify).succeeds();
    }
}

/// Weakness of ocicrypt: every provider gets every private key and password. Ours get their own parameters.
#[test]
fn a_provider_is_told_nothing_about_the_keys_and_secrets_of_others() {
    let lab = lab();
    lab.key("secret");
    lab.write("pass", b"hunter2-passphrase\n");
    lab.sealift(&["keygen", "-q", "-o", "locked", "--passphrase-file", "pass"])
        .succeeds();
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    // A wrapper that keeps all that the provider could see: arguments, input, environment.
    let recorder =
        "#!/bin/sh\ntee -a seen | ./keyprovider.py \"$@\"; { echo \"$0 $@\"; env; } >>seen\n";
    lab.write("recorder", recorder.as_bytes());
    set_mode(&lab.path("recorder"), 0o755);
    let config = json!({"key-providers": {"demo": {"cmd": {"path": "./recorder"}}}});
    lab.write("recorder.json", config.to_string().as_bytes());
    let run = |variable: (&str, &str), arguments: &[&str]| {
        let mut command = lab.command(arguments);
        command.args(["--keyprovider-config", "recorder.json"]);
        command.env(variable.0, variable.1);
        command.env("SEALIFT_CREDS", "user:hunter3-password");
        command.env("UNRELATED", "is inherited");
        crate::tool::Run::of(&mut command).succeeds();
    };
    run(
        ("LAYER_KEY", key),
        &[
            "encrypt",
            "-q",
            "oci:plain:v1",
            "oci:sealed:v1",
            "-r",
            "secret.pub.pem",
            "-r",
            "aes256:env:LAYER_KEY",
            "-r",
            "provider:demo:mine",
        ],
    );
    // A key that does not fit comes first, so that all are at hand when the provider is asked.
    run(
        ("PASSPHRASE", "hunter2-passphrase"),
        &[
            "decrypt",
            "-q",
            "oci:sealed:v1",
            "oci:opened:v1",
            "-k",
            "provider:demo:mine",
            "-k",
            "locked.pem:env=PASSPHRASE",
        ],
    );
    let seen = fs::read_to_string(lab.path("seen")).unwrap();
    assert!(seen.contains(r#""op":"keywrap""#) && seen.contains(r#""op":"keyunwrap""#));
    assert!(seen.contains("UNRELATED=is inherited"));
    for secret in [
        key,
        "hunter2",
        "hunter3",
        "SEALIFT_",
        "PRIVATE",
        "privkeys",
        "secret.pem",
        "locked.pem",
        "PASSPHRASE",
        "LAYER_KEY",
    ] {
        assert!(!seen.contains(secret), "{secret} is in {seen}");
    }
    let pem = fs::read_to_string(lab.path("secret.pem")).unwrap();
    let line = pem.lines().nth(1).unwrap();
    assert!(!seen.contains(line));
    // Every request has the parameters of this provider and no others.
    let requests = seen.split("{\"op\":").skip(1);
    for request in requests {
        assert_eq!(
            request.matches("\"Parameters\":{").count()
                - request.matches("\"Parameters\":{}").count(),
            1
        );
        assert!(
            request.contains(r#""Parameters":{"demo":["bWluZQ=="]}"#),
            "{request}"
        );
    }
}

#[test]
fn a_provider_is_asked_only_if_it_was_named() {
    let lab = lab();
    let sealed = format!("oci:{}:tiny", testdata("provider-cmd").display());
    lab.key("other");
    for keys in [["-k", "other.pem"], ["-k", "provider:other"]] {
        let mut open = vec!["decrypt", "-q", &sealed, "oci:opened:v1"];
        open.extend(keys);
        open.extend(CONFIG);
        let mut command = lab.command(&open);
        command.env("KP_LOG", lab.path("log"));
        let run = crate::tool::Run::of(&mut command);
        assert_eq!(run.code, 3, "{run:?}");
        assert!(run.stderr.contains("provider.demo"), "{run:?}");
        assert_eq!(told(&lab), Vec::<Value>::new());
    }
}

#[test]
fn what_keeps_a_provider_from_opening_is_told() {
    let lab = lab();
    let sealed = format!("oci:{}:tiny", testdata("provider-cmd").display());
    let open = [
        "decrypt",
        "-q",
        &sealed,
        "oci:opened:v1",
        "-k",
        "provider:demo",
    ];
    let mut command = lab.command(&open);
    command.args(CONFIG).env("KP_FAIL", "the vault is sealed");
    let run = crate::tool::Run::of(&mut command);
    assert_eq!(run.code, 3, "{run:?}");
    let text = "key provider `demo`: exit status: 3; it says: the vault is sealed";
    assert!(run.stderr.contains(text), "{run:?}");

    let slow = json!({"key-providers": {"demo": {"cmd": {"path": "sleep", "args": ["60"]}}}});
    lab.write("slow.json", slow.to_string().as_bytes());
    let mut command = lab.command(&open);
    command.args([
        "--keyprovider-config",
        "slow.json",
        "--provider-timeout",
        "1",
    ]);
    let run = crate::tool::Run::of(&mut command);
    assert_eq!(run.code, 5, "{run:?}");
    let text = "key provider `demo` unavailable: no answer within 1 s";
    assert!(run.stderr.contains(text), "{run:?}");

    // The wrong key: what it returns is private options of something else.
    let secret = r#"{"symkey":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","digest":"","cipheroptions":{"nonce":"AAAAAAAAAAAAAAAAAAAAAA=="}}"#;
    let answer = json!({"keyunwrapresults": {"optsdata": secret.as_bytes()}});
    let wrong =
        json!({"key-providers": {"demo": {"cmd": {"path": "echo", "args": [answer.to_string()]}}}});
    lab.write("wrong.json", wrong.to_string().as_bytes());
    let mut command = lab.command(&open);
    command.args(["--keyprovider-config", "wrong.json"]);
    let run = crate::tool::Run::of(&mut command);
    assert_eq!(run.code, 4, "{run:?}");
    assert!(!lab.path("opened").join("index.json").exists());
}

#[test]
fn a_provider_that_fails_to_wrap_stops_the_job() {
    let lab = lab();
    let mut command = lab.command(&[
        "encrypt",
        "-q",
        "oci:plain:v1",
        "oci:sealed:v1",
        "-r",
        "provider:demo",
    ]);
    command.args(CONFIG).env("KP_FAIL", "quota");
    let run = crate::tool::Run::of(&mut command);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("it says: quota"), "{run:?}");
    assert!(!lab.path("sealed").join("index.json").exists());
}

#[test]
fn configurations_are_refused_with_a_reason_before_anything_is_done() {
    let lab = lab();
    lab.write("broken.json", b"{\"key-providers\":\n[]}");
    for (config, name, code, text) in [
        (Some("providers.json"), "nobody", 2, "not configured"),
        (
            Some("providers.json"),
            "sealift",
            2,
            "this name is reserved",
        ),
        (
            Some("providers.json"),
            "a b",
            2,
            "names of key providers are",
        ),
        (
            Some("providers.json"),
            "coco",
            2,
            "`ttrpc` is not supported",
        ),
        (Some("providers.json"), "far", 2, "would travel in clear"),
        (
            Some("broken.json"),
            "demo",
            2,
            "malformed key-provider configuration at line 2",
        ),
        (
            Some("missing.json"),
            "demo",
            7,
            "cannot read `missing.json`",
        ),
        (Some(""), "demo", 2, "no key providers are configured"),
        (None, "demo", 2, "no key providers are configured"),
    ] {
        let spec = format!("provider:{name}");
        for arguments in [
            ["encrypt", "oci:plain:v1", "oci:sealed:v1", "-r", &spec],
            ["decrypt", "oci:plain:v1", "oci:opened:v1", "-k", &spec],
        ] {
            let mut command = lab.command(&arguments);
            if let Some(config) = config {
                command.env("OCICRYPT_KEYPROVIDER_CONFIG", config);
            }
            let run = crate::tool::Run::of(&mut command);
            assert_eq!(run.code, code, "{run:?}");
            assert!(run.stderr.contains(text), "{run:?}");
        }
    }
    // Who asks for no provider is not bothered with what is wrong with them.
    let mut command = lab.command(&["copy", "-q", "oci:plain:v1", "oci:copied:v1"]);
    command.env("OCICRYPT_KEYPROVIDER_CONFIG", "broken.json");
    crate::tool::Run::of(&mut command).succeeds();
}

/// A folder with keys, and `vault`, which is this program as a key provider.
fn vault() -> Lab {
    let lab = Lab::new();
    for name in ["also", "foreign"] {
        lab.key(name);
    }
    lab.sealift(&["keygen", "-q", "-t", "aes256", "-o", "vault"])
        .succeeds();
    lab.sealift(&["keygen", "-q", "-t", "aes256", "-o", "foreign-secret"])
        .succeeds();
    let config = json!({"key-providers": {"vault": {"cmd": {
        "path": env!("CARGO_BIN_EXE_sealift"),
        "args": ["keyprovider", "-r", "aes256:vault.key", "-r", "also.pub.pem", "-k", "aes256:vault.key"],
    }}}});
    lab.write("providers.json", config.to_string().as_bytes());
    image(Format::Oci, Packing::Gzip).write_layout(&lab.path("plain"), "v1");
    lab
}

#[test]
fn what_was_sealed_through_our_own_provider_opens_with_its_keys_and_without_it() {
    for cipher in ["chunked", "ocicrypt"] {
        let lab = vault();
        let mut seal = vec!["encrypt", "-q", "oci:plain:v1", "oci:sealed:v1"];
        seal.extend(["--cipher", cipher, "-r", "provider:vault"]);
        seal.extend(CONFIG);
        lab.sealift(&seal).succeeds();
        let shown = lab.sealift(&["inspect", "oci:sealed:v1"]).succeeds();
        for text in ["provider.sealift:", "jwe:ECDH-ES+A256KW"] {
            assert!(shown.contains(text), "{shown}");
        }
        for (opened, keys) in [
            ("provider", ["-k", "provider:vault"]),
            ("secret", ["-k", "aes256:vault.key"]),
            ("public", ["-k", "also.pem"]),
        ] {
            let destination = format!("oci:{opened}:v1");
            let mut open = vec!["decrypt", "-q", "oci:sealed:v1", &destination];
            open.extend(keys);
            if opened == "provider" {
                open.extend(CONFIG);
            }
            lab.sealift(&open).succeeds();
            assert_eq!(
                lab.digest_in_layout(opened, "v1"),
                lab.digest_in_layout("plain", "v1")
            );
        }
        for key in ["foreign.pem", "aes256:foreign-secret.key"] {
            let open = ["decrypt", "-q", "oci:sealed:v1", "oci:no:v1", "-k", key];
            assert_eq!(lab.sealift(&open).code, 3);
        }
    }
}

#[test]
fn what_config_prints_lets_programs_ask_us() {
    let lab = vault();
    let program = env!("CARGO_BIN_EXE_sealift");
    let arguments = [
        "config",
        "keyprovider",
        "--name",
        "node",
        "--program",
        program,
    ];
    let keys = [
        "-r",
        "aes256:vault.key",
        "-k",
        "aes256:vault.key",
        "-k",
        "also.pem",
    ];
    let printed = lab.sealift(&[&arguments[..], &keys].concat());
    let printed = printed.succeeds();
    lab.write("printed.json", printed.as_bytes());
    let asked = ["--keyprovider-config", "printed.json"];
    let seal = [
        "encrypt",
        "-q",
        "oci:plain:v1",
        "oci:sealed:v1",
        "-r",
        "provider:node",
    ];
    lab.sealift(&[&seal[..], &asked].concat()).succeeds();
    let open = [
        "decrypt",
        "-q",
        "oci:sealed:v1",
        "oci:opened:v1",
        "-k",
        "provider:node",
    ];
    let opened = lab.sealift(&[&open[..], &asked].concat()).succeeds();
    assert_eq!(opened, lab.digest_in_layout("plain", "v1"));

    let served = [
        "config",
        "keyprovider",
        "--grpc",
        "keys.example:50000",
        "--root-ca",
        "ca.crt",
    ];
    assert_eq!(
        lab.sealift(&served).json(),
        json!({"key-providers": {"sealift": {
            "grpc": "keys.example:50000", "grpc-tls": {"root-ca-file": "ca.crt"}
        }}})
    );
    for wrong in [
        &["config", "keyprovider"][..],
        &["config", "keyprovider", "--grpc", "a:1", "-k", "also.pem"],
        &["config", "keyprovider", "-k", "also.pem", "--name", "a:b"],
        &[
            "config",
            "keyprovider",
            "-k",
            "also.pem",
            "--root-ca",
            "ca.crt",
        ],
    ] {
        assert_eq!(lab.sealift(wrong).code, 2, "{wrong:?}");
    }
}

/// Sends a request to `sealift keyprovider`.
fn ask(lab: &Lab, arguments: &[&str], request: &[u8]) -> std::process::Output {
    use std::io::Write as _;
    let mut command = lab.command(&[&["keyprovider"][..], arguments].concat());
    command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Who refuses early does not read to the end.
    let _ = stdin.write_all(request);
    drop(stdin);
    child.wait_with_output().unwrap()
}

const OPTIONS: &str = r#"{"symkey":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","digest":"","cipheroptions":{"nonce":"AAAAAAAAAAAAAAAAAAAAAA=="}}"#;

#[test]
fn the_provider_writes_one_answer_or_nothing_to_standard_output() {
    let lab = vault();
    let keys = ["-r", "also.pub.pem", "-k", "also.pem"];
    let wrap = json!({"op": "keywrap", "keywrapparams": {"ec": null, "optsdata": OPTIONS.as_bytes()}, "keyunwrapparams": null});
    let output = ask(&lab, &keys, wrap.to_string().as_bytes());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(output.stderr, b"");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let annotation = answer["keywrapresults"]["annotation"].as_array().unwrap();
    let unwrap = json!({"op": "keyunwrap", "keywrapparams": null, "keyunwrapparams": {"dc": null, "annotation": annotation}});
    let output = ask(&lab, &keys, unwrap.to_string().as_bytes());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = json!({"keyunwrapresults": {"optsdata": OPTIONS.as_bytes()}});
    assert_eq!(answer, expected);

    for (arguments, request, code, text) in [
        (
            &["-k", "foreign.pem"][..],
            unwrap.to_string(),
            3,
            "no key fits",
        ),
        (
            &["-r", "also.pub.pem"][..],
            unwrap.to_string(),
            2,
            "no keys are configured",
        ),
        (
            &["-k", "also.pem"][..],
            wrap.to_string(),
            2,
            "no recipients are configured",
        ),
        (&keys[..], String::new(), 2, "malformed request"),
        (
            &keys[..],
            r#"{"op":"sign"}"#.to_owned(),
            2,
            "`op` is neither",
        ),
        (
            &keys[..],
            " ".repeat(4 * 1024 * 1024 + 1),
            2,
            "longer than 4194304 octets",
        ),
        (
            &[][..],
            wrap.to_string(),
            2,
            "neither recipients nor keys are given",
        ),
        (
            &["-k", "missing.pem"][..],
            unwrap.to_string(),
            7,
            "does not exist",
        ),
        (
            &["-r", "provider:vault"][..],
            wrap.to_string(),
            2,
            "does not ask other key providers",
        ),
        (
            &["-k", "provider:vault"][..],
            unwrap.to_string(),
            2,
            "does not ask other key providers",
        ),
    ] {
        let output = ask(&lab, arguments, request.as_bytes());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(text), "{said}");
        assert_eq!(output.stdout, b"", "{said}");
    }
}

/// A service that is ended with the test.
struct Service(std::process::Child, String);

impl Service {
    fn start(lab: &Lab, arguments: &[&str]) -> Self {
        use std::io::BufRead as _;
        let mut command = lab.command(&[&["keyprovider", "serve"][..], arguments].concat());
        let mut child = command
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim_end().strip_prefix("key provider listening on ");
        Self(child, address.unwrap().to_owned())
    }

    fn end(&mut self) {
        let pid = self.0.id().to_string();
        let kill = std::process::Command::new("kill").arg(&pid).status();
        assert!(kill.unwrap().success());
        assert_eq!(self.0.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_service_answers_on_a_unix_socket_and_on_loopback() {
    use std::os::unix::fs::PermissionsExt as _;
    let lab = vault();
    let socket = lab.path("keys.sock");
    let listen = format!("unix://{}", socket.display());
    for listen in [listen.as_str(), "127.0.0.1:0"] {
        let arguments = [
            "--listen",
            listen,
            "-r",
            "aes256:vault.key",
            "-k",
            "aes256:vault.key",
        ];
        let mut service = Service::start(&lab, &arguments);
        if listen.starts_with("unix:") {
            let mode = fs::metadata(&socket).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let config = json!({"key-providers": {"vault": {"grpc": service.1}}});
        lab.write("grpc.json", config.to_string().as_bytes());
        let config = ["--keyprovider-config", "grpc.json"];
        let _ = fs::remove_dir_all(lab.path("sealed"));
        let mut seal = vec!["encrypt", "-q", "oci:plain:v1", "oci:sealed:v1"];
        seal.extend(["-r", "provider:vault"]);
        seal.extend(config);
        lab.sealift(&seal).succeeds();
        let mut verify = vec!["verify", "-q", "oci:sealed:v1", "-k", "provider:vault"];
        verify.extend(config);
        lab.sealift(&verify).succeeds();
        lab.sealift(&["verify", "-q", "oci:sealed:v1", "-k", "aes256:vault.key"])
            .succeeds();
        service.end();
        let run = lab.sealift(&verify);
        assert_eq!(run.code, 5, "{run:?}");
        assert!(
            run.stderr
                .contains("key provider `vault` unavailable: cannot reach"),
            "{run:?}"
        );
    }
    assert!(!socket.exists());
}

#[test]
fn the_service_does_not_listen_where_keys_would_travel_in_clear() {
    let lab = vault();
    let serve = |arguments: &[&str]| {
        let begin = ["keyprovider", "serve", "-k", "also.pem"];
        lab.sealift(&[&begin[..], arguments].concat())
    };
    for (arguments, code, text) in [
        (&["--listen", "0.0.0.0:0"][..], 2, "not a loopback address"),
        (&["--listen", "[::]:0"][..], 2, "not a loopback address"),
        (&["--listen", "127.0.0.1"][..], 2, "is no address"),
        (&["--listen", "unix:relative"][..], 1, "cannot listen"),
        (
            &["--listen", "unix:///does/not/exist/s"][..],
            1,
            "cannot listen",
        ),
        (&[][..], 2, "--listen"),
        (
            &["--listen", "0.0.0.0:0", "--tls-cert", "also.pem"][..],
            2,
            "--client-ca",
        ),
    ] {
        let run = serve(arguments);
        assert_eq!(run.code, code, "{run:?}");
        assert!(run.stderr.contains(text), "{run:?}");
    }
    // What stands before the verb would be lost.
    let run = lab.sealift(&[
        "keyprovider",
        "-r",
        "also.pub.pem",
        "serve",
        "--listen",
        "127.0.0.1:0",
        "-k",
        "also.pem",
    ]);
    assert_eq!(run.code, 2, "{run:?}");
}
