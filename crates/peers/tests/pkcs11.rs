//! PKCS #11: keys in tokens of SoftHSM open what skopeo, Python and we sealed for them, and modules that misbehave do no harm.
#![cfg(target_os = "linux")]
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "test support: a panic is how a test fails"
)]

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use sealift_peers::command::{call, run};
use sealift_peers::keys::{KeyPair, KeyType};
use sealift_peers::lab::{digest_of, workspace};
use sealift_peers::{Lab, Layout, Outcome};
use serde_json::Value;

#[test]
fn sealift_opens_what_skopeo_sealed_through_a_token() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    // Sealed by skopeo 1.14.4 with the key in this very token.
    let (fixture, sealed) = (Fixture::new(&lab), testdata("pkcs11-uri-rsa2048-sha1"));
    let opened = lab.layout("opened");
    let key = format!("pkcs11:{}", fixture.yaml);
    fixture.opens(&lab, &sealed, &opened, &key);
    opened.assert_same_content(&testdata("plain"));
    let expected = fs::read(workspace().join("testdata/ocicrypt/expected.json")).unwrap();
    let expected: Value = serde_json::from_slice(&expected).unwrap();
    let layers = &expected["pkcs11-uri-rsa2048-sha1"]["layers"];
    let plain: Vec<&str> = layers
        .as_array()
        .unwrap()
        .iter()
        .map(plain_digest)
        .collect();
    assert_eq!(opened.image("tiny").layers(), plain);
}

fn plain_digest(layer: &Value) -> &str {
    layer["plain_digest"].as_str().unwrap()
}

#[test]
fn sealift_opens_what_it_sealed_with_the_key_in_the_token() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let token = Token::new(&lab);
    token.make_key("rsa:2048", "small", "01");
    token.make_key("rsa:3072", "large", "02");
    token.make_key("EC:prime256v1", "p256", "03");
    token.make_key("EC:secp384r1", "p384", "04");
    token.make_key("EC:secp521r1", "p521", "05");
    let source = testdata("plain");
    for (name, options, scheme) in [
        (
            "small",
            vec!["--cipher=ocicrypt", "--oaep-hash=sha1"],
            "pkcs11",
        ),
        // Short enough for 190 octets.
        ("small", vec!["--cipher=chunked"], "pkcs11"),
        // SoftHSM cannot unpad SHA-256 and does the raw operation.
        ("large", vec!["--cipher=ocicrypt"], "pkcs11"),
        ("large", vec!["--cipher=chunked"], "pkcs11"),
        ("p256", vec!["--cipher=ocicrypt"], "jwe"),
        ("p384", vec!["--cipher=chunked"], "jwe"),
        ("p521", vec!["--cipher=ocicrypt"], "jwe"),
    ] {
        let key = format!("pkcs11:{}", token.yaml(&lab, name, ""));
        let (sealed, opened) = (lab.layout("sealed"), lab.layout("opened"));
        let layouts = [source.reference("tiny"), sealed.reference("tiny")];
        let mut arguments = vec!["encrypt", &layouts[0], &layouts[1], "-r", &key];
        arguments.extend(options);
        token.sealift(&lab, &arguments).succeeded();
        let annotations = &sealed.image("tiny").manifest["layers"][0]["annotations"];
        let annotation = format!("org.opencontainers.image.enc.keys.{scheme}");
        assert!(
            annotations[&annotation].is_string(),
            "{name}: {annotations}"
        );
        token.opens(&lab, &sealed, &opened, &key);
        opened.assert_same_content(&source);
        fs::remove_dir_all(sealed.path()).unwrap();
        fs::remove_dir_all(opened.path()).unwrap();
    }
}

#[test]
fn jwes_made_for_a_public_key_file_open_with_the_token() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let token = Token::new(&lab);
    token.make_key("rsa:2048", "rsa", "01");
    token.make_key("EC:prime256v1", "p256", "02");
    // OpenSC 0.23 cannot write P-384 public keys to files: this one comes from outside, and without its public half.
    let p384 = KeyPair::generate(&lab, "p384", KeyType::P384);
    let file = p384.identity();
    token.tool(&[
        "--login",
        "--pin",
        PIN,
        "--write-object",
        &file,
        "--type",
        "privkey",
        "--label",
        "p384",
        "--id",
        "03",
        "--usage-derive",
    ]);
    let source = testdata("plain");
    for name in ["rsa", "p256", "p384"] {
        let public = match name {
            "p384" => p384.public.display().to_string(),
            _ => token.public_key(name),
        };
        let (sealed, opened) = (lab.layout("sealed"), lab.layout("opened"));
        lab.skopeo_seals(&source, &sealed, &[format!("jwe:{public}")]);
        let key = format!("pkcs11:{}", token.yaml(&lab, name, ""));
        token.opens(&lab, &sealed, &opened, &key);
        opened.assert_same_content(&source);
        // Another key of the same token opens nothing.
        let other = if name == "rsa" { "p256" } else { "rsa" };
        let other = format!("pkcs11:{}", token.yaml(&lab, other, ""));
        let refused = lab.layout("refused");
        token
            .decrypts(&lab, &sealed, &refused, &other)
            .exited(3)
            .complained(&["wrapped for another key"]);
        fs::remove_dir_all(sealed.path()).unwrap();
        fs::remove_dir_all(opened.path()).unwrap();
    }
    // SoftHSM's own import makes keys that sign, and do nothing else.
    let mut import = Command::new("softhsm2-util");
    import
        .env("SOFTHSM2_CONF", &token.conf)
        .args(["--import", &file]);
    import.args([
        "--token", "peers", "--label", "signs", "--id", "04", "--pin", PIN,
    ]);
    run(&mut import).succeeded();
    let key = format!("pkcs11:{}", token.yaml(&lab, "signs", ""));
    token
        .decrypts(&lab, &testdata("jwe-ec384"), &lab.layout("opened"), &key)
        .exited(1)
        .complained(&["may not derive keys (CKA_DERIVE)"]);
}

#[test]
fn pkcs11_tool_opens_what_sealift_sealed_for_a_public_key_file() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let token = Token::new(&lab);
    token.make_key("rsa:2048", "key", "01");
    let recipient = format!("pkcs11:{}", token.public_key("key"));
    let (source, sealed) = (testdata("plain"), lab.layout("sealed"));
    let layouts = [source.reference("tiny"), sealed.reference("tiny")];
    let mut arguments = vec!["encrypt", &layouts[0], &layouts[1], "-r", &recipient];
    arguments.push("--cipher=ocicrypt");
    // The default hash does not fit, and the message says what does.
    token.sealift(&lab, &arguments).exited(2).complained(&[
        "2048 bits holds 190 octets",
        "takes 193",
        "--oaep-hash sha1",
    ]);
    run(token
        .command(&lab, &arguments)
        .env("OCICRYPT_OAEP_HASHALG", "sha1"))
    .succeeded();

    let annotations = &sealed.image("tiny").manifest["layers"][0]["annotations"];
    let element = annotations["org.opencontainers.image.enc.keys.pkcs11"].as_str();
    let element: Value = serde_json::from_slice(&base64(element.unwrap())).unwrap();
    assert_eq!(element["recipients"][0]["hash"], "sha1");
    let blob = base64(element["recipients"][0]["blob"].as_str().unwrap());
    let (input, output) = (lab.text("blob"), lab.text("secret"));
    fs::write(&input, blob).unwrap();
    token.tool(&[
        "--login",
        "--pin",
        PIN,
        "--decrypt",
        "--id",
        "01",
        "-m",
        "RSA-PKCS-OAEP",
        "--hash-algorithm",
        "SHA-1",
        "--mgf",
        "MGF1-SHA1",
        "-i",
        &input,
        "-o",
        &output,
    ]);
    let secret = fs::read(&output).unwrap();
    assert_eq!(secret.len(), 193);
    let secret: Value = serde_json::from_slice(&secret).unwrap();
    assert_eq!(base64(secret["symkey"].as_str().unwrap()).len(), 32);
    assert_eq!(secret["digest"], source.image("tiny").layers()[0]);
}

#[test]
fn sealift_opens_what_python_wrapped() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let token = Token::new(&lab);
    token.make_key("rsa:3072", "key", "0a");
    let public = token.public_key("key");
    let key = format!("pkcs11:{}", token.yaml(&lab, "key", ""));
    // What skopeo sealed, its keys known from the vectors, wrapped anew; a stranger's recipient comes first.
    for hash in ["sha1", "sha256", ""] {
        let sealed = lab.layout("sealed");
        let fixture = workspace().join("testdata/ocicrypt");
        call(
            "cp",
            &[
                "-R",
                fixture.join("pkcs11-uri-rsa2048-sha1").to_str().unwrap(),
                &lab.text("sealed"),
            ],
        );
        let expected = fixture.join("expected.json");
        call(
            "python3",
            &[
                "-c",
                REWRAP,
                &lab.text("sealed"),
                expected.to_str().unwrap(),
                &public,
                hash,
            ],
        );
        let opened = lab.layout("opened");
        token.opens(&lab, &sealed, &opened, &key);
        opened.assert_same_content(&testdata("plain"));
        fs::remove_dir_all(sealed.path()).unwrap();
        fs::remove_dir_all(opened.path()).unwrap();
    }
}

#[test]
fn a_uri_on_the_command_line_does_what_a_key_file_does() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let fixture = Fixture::new(&lab);
    let sealed = testdata("pkcs11-uri-rsa2048-sha1");
    fs::write(lab.path("pin"), "1234\n").unwrap();
    fs::set_permissions(lab.path("pin"), fs::Permissions::from_mode(0o600)).unwrap();
    let file = format!("pin-source={}", lab.text("pin"));
    for (number, (name, pin, warned)) in [
        ("pkcs11:pkcs11:token=ocicrypt;object=layerkey?module-path=/usr/lib/softhsm/libsofthsm2.so", &file[..], false),
        ("pkcs11:token=ocicrypt;id=%01?module-name=softhsm2", &file, false),
        ("pkcs11:serial=a87a480c41a49bb6?module-name=libsofthsm2", "pin-value=1234", true),
    ]
    .into_iter()
    .enumerate()
    {
        let opened = lab.layout(&format!("opened-{number}"));
        let key = format!("{name}&{pin}");
        let layouts = [sealed.reference("tiny"), opened.reference("tiny")];
        let arguments = ["decrypt", &layouts[0], &layouts[1], "-k", &key];
        // Here the module's configuration comes with the environment of the command.
        let mut command = fixture.command(&lab, &arguments);
        let outcome = run(command.env("SOFTHSM2_CONF", &fixture.conf)).succeeded();
        assert_eq!(outcome.stderr.contains("visible in the process list"), warned, "{outcome}");
        opened.assert_same_content(&testdata("plain"));
    }
    // A PIN that others can read is no secret.
    fs::set_permissions(lab.path("pin"), fs::Permissions::from_mode(0o644)).unwrap();
    let key = format!("pkcs11:token=ocicrypt;id=%01?module-name=softhsm2&{file}");
    fixture
        .decrypts(&lab, &sealed, &lab.layout("refused"), &key)
        .exited(1)
        .complained(&["can be read by other users"]);
}

#[test]
fn a_wrong_pin_is_tried_once() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let fixture = Fixture::new(&lab);
    let sealed = testdata("pkcs11-uri-rsa2048-sha1");
    assert!(!fixture.remembers_a_wrong_pin());
    let spied = fixture.spied(&lab, "9999");
    // Twice the same key and three layers, and one question to the token.
    let opened = lab.layout("opened");
    let layouts = [sealed.reference("tiny"), opened.reference("tiny")];
    let key = format!("pkcs11:{}", spied.yaml);
    fixture
        .sealift(
            &lab,
            &["decrypt", &layouts[0], &layouts[1], "-k", &key, "-k", &key],
        )
        .exited(6)
        .complained(&["wrong PIN", "spied.yaml", "hint:"]);
    assert_eq!(spied.calls("C_Login"), 1);
    assert!(fixture.remembers_a_wrong_pin());
    assert!(!opened.path().join("index.json").exists());
    // The decoder runs once per layer and would lock the token in the end: it does not try while one is remembered.
    let folder = lab.path("keys-dir");
    fs::create_dir(&folder).unwrap();
    fs::copy(&spied.yaml, folder.join("key.yaml")).unwrap();
    let blob = fixture.sealed_layer(&lab);
    let (outcome, _) = fixture.decodes(&lab, &blob, &folder);
    outcome.exited(3).complained(&["remembers a wrong PIN"]);
    assert_eq!(spied.calls("C_Login"), 1);
    // Whoever knows the right one is let in, and that is remembered too.
    let key = format!("pkcs11:{}", fixture.yaml);
    fixture.opens(&lab, &sealed, &lab.layout("opened-after"), &key);
    assert!(!fixture.remembers_a_wrong_pin());
    let (outcome, _) = fixture.decodes(&lab, &blob, &folder);
    outcome.exited(3).complained(&["wrong PIN"]);
    assert_eq!(spied.calls("C_Login"), 2);
}

#[test]
fn decoders_that_start_together_try_a_pin_one_after_the_other() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let fixture = Fixture::new(&lab);
    let spied = fixture.spied(&lab, "9999");
    let folder = lab.path("keys-dir");
    fs::create_dir(&folder).unwrap();
    fs::copy(&spied.yaml, folder.join("key.yaml")).unwrap();
    let blob = fixture.sealed_layer(&lab);
    // It is another's turn, who has a wrong PIN, too.
    let turn = File::open(fs::canonicalize(SPY).unwrap()).unwrap();
    turn.lock().unwrap();
    let mut command = fixture.decoder(&lab, &blob, &folder);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let decoder = command.spawn().unwrap();
    while spied.calls("C_OpenSession") == 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut other = Command::new("pkcs11-tool");
    other.env("SOFTHSM2_CONF", &fixture.conf).args([
        "--module",
        MODULE,
        "--token-label",
        "ocicrypt",
        "--login",
        "--pin",
        "9999",
        "-O",
    ]);
    run(&mut other).exited(1);
    assert!(fixture.remembers_a_wrong_pin());
    drop(turn);
    let output = decoder.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("remembers a wrong PIN"), "{said}");
    assert_eq!(spied.calls("C_Login"), 0);
}

#[test]
fn twenty_layers_take_one_login() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let fixture = Fixture::new(&lab);
    let source = layers(&lab, 20);
    let sealed = lab.layout("sealed");
    let key = format!("pkcs11:{}", fixture.yaml);
    let layouts = [source.reference("tiny"), sealed.reference("tiny")];
    fixture
        .sealift(
            &lab,
            &[
                "encrypt",
                &layouts[0],
                &layouts[1],
                "-r",
                &key,
                "--no-embedded-keys",
            ],
        )
        .succeeded();
    let spied = fixture.spied(&lab, "1234");
    let opened = lab.layout("opened");
    fixture.opens(&lab, &sealed, &opened, &format!("pkcs11:{}", spied.yaml));
    assert_eq!(opened.image("tiny").layers(), source.image("tiny").layers());
    assert_eq!(spied.calls("C_Login"), 1);
    assert_eq!(spied.calls("C_Initialize"), 1);
    assert!(spied.calls("C_Decrypt") >= 20);
}

#[test]
fn what_is_not_there_is_said_with_what_is() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let token = Token::new(&lab);
    token.make_key("rsa:2048", "one", "01");
    token.make_key("rsa:2048", "two", "02");
    let sealed = testdata("pkcs11-uri-rsa2048-sha1");
    let pin = format!("pin-value={PIN}");
    let query = format!("module-path={MODULE}&{pin}");
    for (uri, code, words) in [
        (
            format!("token=elsewhere;object=one?{query}"),
            7,
            ["no token fits", "`peers`"],
        ),
        (
            format!("token=peers;serial=1;object=one?{query}"),
            7,
            ["no token fits", "`peers`"],
        ),
        (
            format!("slot-id=77;object=one?{query}"),
            7,
            ["no token fits", "`peers`"],
        ),
        (
            format!("token=peers;object=three?{query}"),
            7,
            ["no private key fits", "`one` (id=%01)"],
        ),
        (
            format!("token=peers;object=one;id=%02?{query}"),
            7,
            ["no private key fits", "`two` (id=%02)"],
        ),
        (
            format!("token=peers?{query}"),
            2,
            ["several private keys fit", "`two` (id=%02)"],
        ),
        (
            format!("token=peers;object=one?module-path={MODULE}"),
            2,
            ["wants a PIN", "pin-source="],
        ),
        (
            format!("token=peers;object=one?{pin}"),
            2,
            ["names no PKCS #11 module", "hint:"],
        ),
        (
            format!("token=peers;object=one?module-name=nohsm&{pin}"),
            7,
            ["`nohsm` was not found", "/usr/lib/softhsm/"],
        ),
        (
            format!("token=peers;object=one?module-path=/no/such.so&{pin}"),
            7,
            ["`/no/such.so` was not found", "hint:"],
        ),
        (
            format!("token=peers;object=one;pin-value=1?{query}"),
            2,
            ["`pin-value` belongs behind", "cannot use the URI"],
        ),
    ] {
        let key = format!("pkcs11:{uri}");
        let outcome = token.decrypts(&lab, &sealed, &lab.layout("opened"), &key);
        outcome.exited(code).complained(&words);
    }
    assert!(!lab.path("opened/index.json").exists());
    // The key is another one: nothing opens, and it is not the token's fault.
    let key = format!("pkcs11:{}", token.yaml(&lab, "one", ""));
    token
        .decrypts(&lab, &sealed, &lab.layout("opened"), &key)
        .exited(3)
        .complained(&["wrapped for another key"]);
}

#[test]
fn only_modules_on_the_list_are_loaded() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let fixture = Fixture::new(&lab);
    let sealed = testdata("pkcs11-uri-rsa2048-sha1");
    // A module that leaves a trace when it is loaded.
    let trace = lab.text("trace");
    let code = format!(
        "#include <stdio.h>\n__attribute__((constructor)) static void loaded(void) {{ fclose(fopen(\"{trace}\", \"w\")); }}"
    );
    fs::create_dir_all(lab.path("listed")).unwrap();
    let module = compile(&lab, "outside.so", &code);
    let link = lab.text("listed/linked.so");
    symlink(&module, &link).unwrap();
    let listed = format!("{}/", lab.text("listed"));
    let policy = |name: &str, allowed: &str| {
        let text = format!(
            "pkcs11:\n  module-directories: [{listed}]\n  allowed-module-paths: [{allowed}]\n"
        );
        fs::write(lab.path(name), text).unwrap();
        lab.text(name)
    };
    let strict = policy("strict.conf", &listed);
    let open = policy("open.conf", &module);
    let path = |path: &str| format!("pkcs11:token=ocicrypt?pin-value=1234&module-path={path}");
    let refused = lab.layout("refused");
    let layouts = [sealed.reference("tiny"), refused.reference("tiny")];
    let decrypts = |config: Option<&str>, key: &str| {
        let mut command = lab.sealift_command(&["decrypt", &layouts[0], &layouts[1], "-k", key]);
        command
            .env_remove("OCICRYPT_CONFIG")
            .env("SOFTHSM2_CONF", &fixture.conf);
        if let Some(config) = config {
            command.env("OCICRYPT_CONFIG", config);
        }
        run(&mut command)
    };
    for (config, key, code, words) in [
        (
            Some(&strict[..]),
            path(&module),
            6,
            ["not among those that may be loaded", "allowed-module-paths"],
        ),
        (
            Some(&strict),
            path(&link),
            6,
            ["outside.so` is not among those", "hint:"],
        ),
        (
            Some(&strict),
            path(&format!("{listed}../outside.so")),
            6,
            ["not among those", "hint:"],
        ),
        (
            Some(&strict),
            "pkcs11:token=x?module-name=linked".into(),
            6,
            ["outside.so` is not among", "hint:"],
        ),
        (
            Some("internal"),
            path(&module),
            6,
            ["not among those that may be loaded", "hint:"],
        ),
        (
            None,
            path(MODULE),
            2,
            ["nothing says which PKCS #11 modules", "/etc/ocicrypt.conf"],
        ),
        (
            Some("/no/such.conf"),
            path(MODULE),
            1,
            ["`/no/such.conf`", "there is no such file"],
        ),
    ] {
        decrypts(config, &key).exited(code).complained(&words);
        assert!(!Path::new(&trace).exists(), "{key} was loaded");
    }
    // A file below the working directory is not the system's, whatever ocicrypt thinks.
    fs::create_dir(lab.path("etc")).unwrap();
    fs::copy(&open, lab.path("etc/ocicrypt.conf")).unwrap();
    decrypts(None, &path(&module))
        .exited(2)
        .complained(&["nothing says which"]);
    assert!(!Path::new(&trace).exists());
    // On the list it is loaded, and turns out to be no module.
    decrypts(Some(&open), &path(&module))
        .exited(1)
        .complained(&["cannot be loaded"]);
    assert!(Path::new(&trace).exists());
    // The built-in list has SoftHSM's own folder.
    let opened = lab.layout("opened");
    let layouts = [sealed.reference("tiny"), opened.reference("tiny")];
    let key = format!("pkcs11:{}", fixture.yaml);
    let mut command = lab.sealift_command(&["decrypt", &layouts[0], &layouts[1], "-k", &key]);
    run(command.env("OCICRYPT_CONFIG", "internal")).succeeded();
    opened.assert_same_content(&testdata("plain"));
}

#[test]
fn a_module_that_crashes_hangs_or_prints_costs_an_error() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let sealed = testdata("pkcs11-uri-rsa2048-sha1");
    let cases = [
        (
            "crash",
            "*(volatile int *)0 = 1;",
            vec!["crashed", "SIGSEGV"],
        ),
        ("exit", "exit(7);", vec!["crashed", "exit status: 7"]),
        (
            "hang",
            "for (;;) pause();",
            vec!["did not answer within 30 s"],
        ),
        (
            "print",
            "puts(\"\\0\\0\\0\\1\\1\"); fflush(stdout); return 5;",
            vec!["cannot be loaded", "GetFunctionList"],
        ),
    ];
    for (name, body, words) in cases {
        let code = format!(
            "#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\nunsigned long C_GetFunctionList(void **list) {{ {body} return 0; }}"
        );
        let module = compile(&lab, &format!("{name}.so"), &code);
        let policy = lab.text("faults.conf");
        fs::write(
            &policy,
            format!("pkcs11: {{allowed-module-paths: [{module}]}}"),
        )
        .unwrap();
        let opened = lab.layout("opened");
        let layouts = [sealed.reference("tiny"), opened.reference("tiny")];
        let key = format!("pkcs11:token=x;object=y?module-path={module}&pin-value=1");
        let mut command = lab.sealift_command(&["decrypt", &layouts[0], &layouts[1], "-k", &key]);
        let outcome = run(command.env("OCICRYPT_CONFIG", &policy));
        outcome.exited(1).complained(&words);
        assert!(!opened.path().join("index.json").exists());
    }
}

#[test]
fn the_decoder_takes_key_files_from_its_folder() {
    let Some(lab) = Lab::needing(PEERS) else {
        return;
    };
    let fixture = Fixture::new(&lab);
    let folder = lab.path("keys-dir");
    fs::create_dir(&folder).unwrap();
    fs::copy(&fixture.yaml, folder.join("a.yaml")).unwrap();
    let blob = fixture.sealed_layer(&lab);
    let (outcome, plain) = fixture.decodes(&lab, &blob, &folder);
    outcome.exited(0);
    assert_eq!(
        digest_of(&plain),
        testdata("plain").image("tiny").layers()[0]
    );
    // Without a list of modules none is loaded.
    let mut command = fixture.decoder(&lab, &blob, &folder);
    let outcome = run(command.env_remove("OCICRYPT_CONFIG"));
    outcome
        .exited(3)
        .complained(&["nothing says which PKCS #11 modules"]);
}

/// SoftHSM with one token of the test's own.
struct Token {
    conf: String,
    policy: String,
    folder: PathBuf,
}

impl Token {
    #[track_caller]
    fn new(lab: &Lab) -> Self {
        let conf = lab.text("softhsm2.conf");
        let tokens = lab.path("tokens");
        fs::create_dir(&tokens).unwrap();
        let text = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\n",
            tokens.display()
        );
        fs::write(&conf, text).unwrap();
        let token = Self {
            conf,
            policy: policy(lab),
            folder: lab.path(""),
        };
        run(Command::new("softhsm2-util")
            .env("SOFTHSM2_CONF", &token.conf)
            .args([
                "--init-token",
                "--free",
                "--label",
                "peers",
                "--so-pin",
                "56785678",
                "--pin",
                PIN,
            ]))
        .succeeded();
        token
    }

    #[track_caller]
    fn tool(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("pkcs11-tool");
        command.env("SOFTHSM2_CONF", &self.conf);
        command.args(["--module", MODULE, "--token-label", "peers"]);
        run(command.args(arguments)).succeeded().stdout
    }

    #[track_caller]
    fn make_key(&self, kind: &str, label: &str, id: &str) {
        let usage = if kind.starts_with("rsa") {
            "--usage-decrypt"
        } else {
            "--usage-derive"
        };
        self.tool(&[
            "--login",
            "--pin",
            PIN,
            "--keypairgen",
            "--key-type",
            kind,
            "--label",
            label,
            "--id",
            id,
            usage,
        ]);
    }

    /// Writes a public key as PEM and returns the file's name.
    #[track_caller]
    fn public_key(&self, label: &str) -> String {
        let path = |suffix: &str| {
            let path = self.folder.join(format!("{label}.pub.{suffix}"));
            path.to_str().unwrap().to_owned()
        };
        let (der, pem) = (path("der"), path("pem"));
        self.tool(&[
            "--read-object",
            "--type",
            "pubkey",
            "--label",
            label,
            "-o",
            &der,
        ]);
        call(
            "openssl",
            &[
                "pkey", "-pubin", "-inform", "DER", "-in", &der, "-out", &pem,
            ],
        );
        pem
    }

    /// Writes a key file as ocicrypt has them.
    fn yaml(&self, lab: &Lab, label: &str, more: &str) -> String {
        let uri =
            format!("pkcs11:token=peers;object={label}?module-path={MODULE}&pin-value={PIN}{more}");
        key_file(
            lab,
            &format!("{label}.yaml"),
            &uri,
            &[("SOFTHSM2_CONF", &self.conf)],
        )
    }

    fn command(&self, lab: &Lab, arguments: &[&str]) -> Command {
        let mut command = lab.sealift_command(arguments);
        command
            .env("OCICRYPT_CONFIG", &self.policy)
            .env("SOFTHSM2_CONF", &self.conf);
        command
    }

    #[track_caller]
    fn sealift(&self, lab: &Lab, arguments: &[&str]) -> Outcome {
        run(&mut self.command(lab, arguments))
    }

    #[track_caller]
    fn decrypts(&self, lab: &Lab, sealed: &Layout, opened: &Layout, key: &str) -> Outcome {
        let layouts = [sealed.reference("tiny"), opened.reference("tiny")];
        self.sealift(lab, &["decrypt", &layouts[0], &layouts[1], "-k", key])
    }

    #[track_caller]
    fn opens(&self, lab: &Lab, sealed: &Layout, opened: &Layout, key: &str) {
        self.decrypts(lab, sealed, opened, key).succeeded();
    }
}

/// The token that the fixture was sealed with, in a copy: SoftHSM writes into its folder.
struct Fixture {
    conf: String,
    policy: String,
    yaml: String,
}

impl Fixture {
    #[track_caller]
    fn new(lab: &Lab) -> Self {
        let script = workspace().join("testdata/ocicrypt/instantiate.sh");
        call("sh", &[script.to_str().unwrap(), &lab.text("keys")]);
        let yaml = lab.text("keys/pkcs11/key.yaml");
        fs::set_permissions(&yaml, fs::Permissions::from_mode(0o600)).unwrap();
        Self {
            conf: lab.text("keys/pkcs11/softhsm2.conf"),
            policy: policy(lab),
            yaml,
        }
    }

    fn command(&self, lab: &Lab, arguments: &[&str]) -> Command {
        let mut command = lab.sealift_command(arguments);
        command
            .env("PKCS11SPY", MODULE)
            .env("PKCS11SPY_OUTPUT", lab.text("spy.log"))
            .env("OCICRYPT_CONFIG", &self.policy)
            .env_remove("SOFTHSM2_CONF");
        command
    }

    #[track_caller]
    fn sealift(&self, lab: &Lab, arguments: &[&str]) -> Outcome {
        run(&mut self.command(lab, arguments))
    }

    #[track_caller]
    fn decrypts(&self, lab: &Lab, sealed: &Layout, opened: &Layout, key: &str) -> Outcome {
        let layouts = [sealed.reference("tiny"), opened.reference("tiny")];
        self.sealift(lab, &["decrypt", &layouts[0], &layouts[1], "-k", key])
    }

    #[track_caller]
    fn opens(&self, lab: &Lab, sealed: &Layout, opened: &Layout, key: &str) {
        self.decrypts(lab, sealed, opened, key).succeeded();
    }

    /// Puts OpenSC's spy between us and SoftHSM, which writes down every call.
    fn spied(&self, lab: &Lab, pin: &str) -> Spied {
        let log = lab.text("spy.log");
        fs::write(&log, "").unwrap();
        let uri =
            format!("pkcs11:token=ocicrypt;object=layerkey?module-path={SPY}&pin-value={pin}");
        // The spy is told what to do in our own environment: a key file may not name other modules.
        let variables = [("SOFTHSM2_CONF", &self.conf[..])];
        let yaml = key_file(lab, "spied.yaml", &uri, &variables);
        Spied { yaml, log }
    }

    #[track_caller]
    fn remembers_a_wrong_pin(&self) -> bool {
        let mut command = Command::new("pkcs11-tool");
        command
            .env("SOFTHSM2_CONF", &self.conf)
            .args(["--module", MODULE, "-L"]);
        let outcome = run(&mut command).succeeded();
        let (_, token) = outcome
            .stdout
            .split_once("token label        : ocicrypt")
            .unwrap();
        let flags = token
            .lines()
            .find(|line| line.contains("token flags"))
            .unwrap();
        flags.contains("user PIN count low")
    }

    /// The first layer of the tiny image, sealed for the key in the token so that it describes itself.
    #[track_caller]
    fn sealed_layer(&self, lab: &Lab) -> PathBuf {
        let (source, sealed) = (testdata("plain"), lab.layout("sealed-for-decoder"));
        let layouts = [source.reference("tiny"), sealed.reference("tiny")];
        let public = format!("pkcs11:{}", lab.text("keys/pkcs11/pub.pem"));
        self.sealift(lab, &["encrypt", &layouts[0], &layouts[1], "-r", &public])
            .succeeded();
        sealed.blob(&sealed.image("tiny").layers()[0])
    }

    fn decoder(&self, lab: &Lab, blob: &Path, folder: &Path) -> Command {
        let mut command = Command::new(lab.binary("sealift-decoder"));
        command
            .arg("--keys-dir")
            .arg(folder)
            .env("OCICRYPT_CONFIG", &self.policy)
            .env("PKCS11SPY", MODULE)
            .env("PKCS11SPY_OUTPUT", lab.text("spy.log"))
            .env("HOME", lab.path("nobody"))
            .env_remove("XDG_CONFIG_HOME")
            .env(
                "STREAM_PROCESSOR_MEDIATYPE",
                "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
            )
            .stdin(File::open(blob).unwrap());
        command
    }

    #[track_caller]
    fn decodes(&self, lab: &Lab, blob: &Path, folder: &Path) -> (Outcome, PathBuf) {
        let plain = lab.path("decoded");
        let mut command = self.decoder(lab, blob, folder);
        command
            .stdout(File::create(&plain).unwrap())
            .stderr(Stdio::piped());
        let output = command.spawn().unwrap().wait_with_output().unwrap();
        let outcome = Outcome {
            command: "sealift-decoder".into(),
            code: output.status.code(),
            stdout: String::new(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        (outcome, plain)
    }
}

/// A key file whose module writes down its calls.
struct Spied {
    yaml: String,
    log: String,
}

impl Spied {
    #[track_caller]
    fn calls(&self, function: &str) -> usize {
        let log = fs::read_to_string(&self.log).unwrap();
        let calls = log.lines().filter_map(|line| line.split_once(": "));
        calls
            .filter(|(number, name)| number.parse::<u32>().is_ok() && *name == function)
            .count()
    }
}

fn policy(lab: &Lab) -> String {
    let path = lab.text("ocicrypt.conf");
    let text = format!(
        "pkcs11:\n  module-directories:\n  - /usr/lib/softhsm/\n  allowed-module-paths:\n  - {MODULE}\n  - {SPY}\n"
    );
    fs::write(&path, text).unwrap();
    path
}

fn key_file(lab: &Lab, name: &str, uri: &str, variables: &[(&str, &str)]) -> String {
    let path = lab.text(name);
    let mut text = format!("pkcs11:\n  uri: {uri}\nmodule:\n  env:\n");
    for (name, value) in variables {
        text.push_str(&format!("    {name}: {value}\n"));
    }
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

#[track_caller]
fn compile(lab: &Lab, name: &str, code: &str) -> String {
    let (source, module) = (lab.text(format!("{name}.c")), lab.text(name));
    fs::write(&source, code).unwrap();
    call("gcc", &["-shared", "-fPIC", "-o", &module, &source]);
    module
}

fn testdata(name: &str) -> Layout {
    Layout::at(workspace().join("testdata/ocicrypt").join(name))
}

/// An image of plain tar layers, each with one file.
#[track_caller]
fn layers(lab: &Lab, count: usize) -> Layout {
    call(
        "python3",
        &["-c", LAYERS, &lab.text("many"), &count.to_string()],
    );
    lab.layout("many")
}

fn base64(text: &str) -> Vec<u8> {
    let script = "import base64,sys; print(base64.b64decode(sys.argv[1], validate=True).hex())";
    let hex = call("python3", &["-c", script, text]);
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

const PIN: &str = "12345678";
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const SPY: &str = "/usr/lib/x86_64-linux-gnu/pkcs11-spy.so";
const PEERS: &[&str] = &[
    "skopeo",
    "softhsm2-util",
    "pkcs11-tool",
    "openssl",
    "gcc",
    "python3",
];

/// Wraps the known secrets of a sealed image for another public key, behind a stranger's.
const REWRAP: &str = r#"
import base64, hashlib, json, sys
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
layout, expected, public, name = sys.argv[1:]
key = serialization.load_pem_public_key(open(public, "rb").read())
stranger = rsa.generate_private_key(65537, 3072).public_key()
hash = {"sha1": hashes.SHA1, "sha256": hashes.SHA256, "": hashes.SHA1}[name]()
b64 = lambda octets: base64.b64encode(octets).decode()
index = json.load(open(layout + "/index.json"))
entry = index["manifests"][0]
path = lambda digest: f"{layout}/blobs/sha256/{digest.split(':')[1]}"
manifest = json.load(open(path(entry["digest"])))
known = json.load(open(expected))["pkcs11-uri-rsa2048-sha1"]["layers"]
for layer, facts in zip(manifest["layers"], known, strict=True):
    assert layer["digest"] == facts["digest"]
    secret = json.dumps({"symkey": b64(bytes.fromhex(facts["symkey"])), "digest": facts["plain_digest"],
        "cipheroptions": {"nonce": b64(bytes.fromhex(facts["nonce"]))}}, separators=(",", ":")).encode()
    wrap = lambda key: {"version": 0, "blob": b64(key.encrypt(secret, padding.OAEP(padding.MGF1(hash), hash, None))),
        **({"hash": name} if name else {})}
    element = {"version": 0, "recipients": [wrap(stranger), wrap(key)]}
    layer["annotations"]["org.opencontainers.image.enc.keys.pkcs11"] = b64(json.dumps(element).encode())
octets = json.dumps(manifest).encode()
entry["digest"], entry["size"] = "sha256:" + hashlib.sha256(octets).hexdigest(), len(octets)
open(path(entry["digest"]), "wb").write(octets)
json.dump(index, open(layout + "/index.json", "w"))
"#;

/// Writes a layout of one image with as many layers as asked for.
const LAYERS: &str = r#"
import hashlib, io, json, os, sys, tarfile
layout, count = sys.argv[1], int(sys.argv[2])
os.makedirs(layout + "/blobs/sha256")
def put(octets, kind):
    digest = hashlib.sha256(octets).hexdigest()
    open(f"{layout}/blobs/sha256/{digest}", "wb").write(octets)
    return {"mediaType": kind, "digest": "sha256:" + digest, "size": len(octets)}
layers = []
for number in range(count):
    octets = io.BytesIO()
    with tarfile.open(fileobj=octets, mode="w") as tar:
        entry = tarfile.TarInfo(f"file-{number}")
        entry.size = 4
        tar.addfile(entry, io.BytesIO(b"%04d" % number))
    layers.append(put(octets.getvalue(), "application/vnd.oci.image.layer.v1.tar"))
config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [l["digest"] for l in layers]}}
config = put(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json")
manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": layers}
entry = put(json.dumps(manifest).encode(), manifest["mediaType"])
entry["annotations"] = {"org.opencontainers.image.ref.name": "tiny"}
json.dump({"schemaVersion": 2, "manifests": [entry]}, open(layout + "/index.json", "w"))
json.dump({"imageLayoutVersion": "1.0.0"}, open(layout + "/oci-layout", "w"))
"#;
