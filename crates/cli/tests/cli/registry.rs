//! Registries that want to know who asks, and tags that must not move too early.

use std::fs;

use sealift_testkit::image::{Format, Image, Packing};
use sealift_testkit::registry::{
    Auth, Effect, Fault, Operation, Options, Registry, RunningRegistry, Tls, tls,
};

use crate::tool::{Lab, Run, image};

fn serve(options: Options) -> (Lab, Image, RunningRegistry) {
    let lab = Lab::new();
    lab.key("key");
    let image = image(Format::Oci, Packing::Gzip);
    let registry = Registry::start(options);
    image.push(&registry, "team/app", "v1");
    (lab, image, registry)
}

#[test]
fn credentials_come_from_options_variables_and_auth_files() {
    let (lab, image, registry) = serve(Options {
        auth: Auth::Basic {
            user: "robot".to_owned(),
            password: "hunter2".to_owned(),
        },
        ..Options::default()
    });
    let source = format!("docker://{}/team/app:v1", registry.host());
    // base64 of robot:hunter2
    let file = format!(
        r#"{{"auths":{{"{}":{{"auth":"cm9ib3Q6aHVudGVyMg=="}}}}}}"#,
        registry.host()
    );
    lab.write("auth.json", file.as_bytes());
    fs::create_dir(lab.path(".docker")).unwrap();

    let inspect = |arguments: &[&str], variables: &[(&str, &str)]| {
        let arguments: Vec<&str> = ["inspect", "--raw", &source]
            .iter()
            .chain(arguments)
            .copied()
            .collect();
        Run::of(lab.command(&arguments).envs(variables.iter().copied()))
    };
    let refused = inspect(&[], &[]).fails(5, "needs credentials");
    assert!(
        refused.stderr.contains("hint: log in with `podman login`"),
        "{}",
        refused.stderr
    );
    let refused = inspect(&["--creds", "robot:hunter3"], &[]).fails(5, "needs credentials");
    assert!(!refused.stderr.contains("hunter3"), "{}", refused.stderr);

    for (arguments, variables) in [
        (&["--creds", "robot:hunter2"][..], &[][..]),
        (&["--authfile", "auth.json"], &[]),
        (&[], &[("SEALIFT_CREDS", "robot:hunter2")]),
        (&[], &[("SEALIFT_AUTHFILE", "auth.json")]),
        (&[], &[("REGISTRY_AUTH_FILE", "auth.json")]),
        (&[], &[("DOCKER_AUTH_CONFIG", file.as_str())]),
    ] {
        let found = inspect(arguments, variables).succeeds();
        assert_eq!(
            found.as_bytes(),
            image.bytes(),
            "{arguments:?} {variables:?}"
        );
    }
    fs::copy(lab.path("auth.json"), lab.path(".docker/config.json")).unwrap();
    assert_eq!(inspect(&[], &[]).succeeds().as_bytes(), image.bytes());
    inspect(&["--authfile", "absent.json"], &[]).fails(7, "absent.json");
}

#[test]
fn source_and_destination_can_have_their_own_credentials() {
    let basic = |user: &str| Options {
        auth: Auth::Basic {
            user: user.to_owned(),
            password: "pw".to_owned(),
        },
        ..Options::default()
    };
    let (lab, image, from) = serve(basic("reader"));
    let to = Registry::start(basic("writer"));
    let source = format!("{}/team/app:v1", from.host());
    let destination = format!("{}/mirror:v1", to.host());
    let copy = [
        "copy",
        "-q",
        "--src-creds",
        "reader:pw",
        &source,
        &destination,
    ];
    let copied = Run::of(lab.command(&copy).env("SEALIFT_DEST_CREDS", "writer:pw"));
    assert_eq!(copied.succeeds(), image.digest());
    assert_eq!(to.tags("mirror"), ["v1"]);
    Run::of(lab.command(&copy).env("SEALIFT_DEST_CREDS", "reader:pw"))
        .fails(5, "needs credentials");
}

#[test]
fn a_private_authority_and_a_client_certificate_are_used_when_given() {
    let (lab, image, registry) = serve(Options {
        tls: Tls::Mutual,
        ..Options::default()
    });
    for (name, pem) in [
        ("ca.crt", tls::CA),
        ("client.crt", tls::CLIENT),
        ("client.key", tls::CLIENT_KEY),
    ] {
        lab.write(name, pem.as_bytes());
    }
    let source = format!("docker://{}/team/app:v1", registry.host());
    let inspect = ["inspect", "--raw", "--retry", "0", source.as_str()];
    let certificates = [
        "--tls-ca",
        "ca.crt",
        "--client-cert",
        "client.crt",
        "--client-key",
        "client.key",
    ];
    let arguments: Vec<&str> = inspect.iter().chain(&certificates).copied().collect();
    assert_eq!(lab.sealift(&arguments).succeeds().as_bytes(), image.bytes());
    let arguments: Vec<&str> = inspect.iter().chain(&certificates[..2]).copied().collect();
    lab.sealift(&arguments).fails(5, "failed");
}

#[test]
fn a_failed_run_leaves_the_old_image_under_its_tag() {
    let (lab, image, registry) = serve(Options::default());
    let old = registry.manifest("team/app", "v1").unwrap();
    let reference = format!("docker://{}/team/app:v1", registry.host());
    // In place, and the source turns out to be another one while it is sealed.
    let layer = image.layer_digest(2);
    registry.set_fault(
        Fault::on(Operation::GetBlob, Effect::FlipBit(11))
            .path_contains(&layer)
            .always(),
    );
    lab.sealift(&["encrypt", "-q", &reference, &reference, "-r", "key.pub.pem"])
        .fails(4, "has digest");
    assert_eq!(registry.manifest("team/app", "v1").unwrap(), old);
    assert_eq!(registry.count(Operation::PutManifest), 0);
    registry.clear_faults();
    let digest = lab
        .sealift(&["encrypt", "-q", &reference, &reference, "-r", "key.pub.pem"])
        .succeeds();
    assert_eq!(
        sealift_testkit::sha256(&registry.manifest("team/app", "v1").unwrap().1),
        digest
    );
    assert_eq!(registry.tags("team/app"), ["v1"]);
}

#[test]
fn a_dry_run_asks_a_registry_for_nothing_but_documents() {
    let (lab, _, registry) = serve(Options::default());
    let source = format!("{}/team/app:v1", registry.host());
    let destination = format!("{}/team/sealed:v1", registry.host());
    lab.sealift(&[
        "encrypt",
        &source,
        &destination,
        "-r",
        "key.pub.pem",
        "--dry-run",
    ])
    .succeeds();
    for operation in [
        Operation::StartUpload,
        Operation::PutUpload,
        Operation::PutManifest,
        Operation::Mount,
    ] {
        assert_eq!(registry.count(operation), 0, "{operation:?}");
    }
    // The configuration is the one blob that is read.
    assert_eq!(registry.count(Operation::GetBlob), 1);
}

#[test]
fn between_repositories_of_a_registry_no_layer_that_stays_as_it_is_moves() {
    let (lab, image, registry) = serve(Options::default());
    let name = |repository: &str| format!("docker://{}/team/{repository}:v1", registry.host());
    let received = || -> u64 {
        let log = registry.log();
        let uploads = log.iter().filter(|e| e.operation != Operation::PutManifest);
        uploads.map(|entry| entry.received).sum()
    };
    registry.clear_log();
    lab.sealift(&["copy", &name("app"), &name("copy")])
        .succeeds();
    assert_eq!(received(), 0);
    let is_pulled = |layer| {
        let digest = image.layer_digest(layer);
        let log = registry.log();
        let mut pulls = log.iter().filter(|e| e.operation == Operation::GetBlob);
        pulls.any(|entry| entry.path.contains(&digest))
    };
    assert!(![0, 1, 2].into_iter().any(is_pulled));
    for (digest, content) in image.blobs() {
        assert_eq!(registry.blob("team/copy", digest).as_ref(), Some(content));
    }
    // The layers that are not sealed are mounted as well.
    registry.clear_log();
    lab.sealift(&[
        "encrypt",
        "-r",
        "key.pub.pem",
        "--layer",
        "0",
        &name("app"),
        &name("sealed"),
    ])
    .succeeds();
    assert_eq!(registry.count(Operation::Mount), 2);
    for layer in [1, 2] {
        let digest = image.layer_digest(layer);
        assert!(registry.blob("team/sealed", &digest).is_some());
        assert!(!is_pulled(layer), "{layer}");
    }
    assert!(is_pulled(0));
}

#[test]
fn the_result_tells_what_a_transfer_cost_on_the_wire() {
    let (lab, image, registry) = serve(Options::default());
    let source = format!("docker://{}/team/app:v1", registry.host());
    registry.set_fault(Fault::on(Operation::GetBlob, Effect::status(503)).times(1));
    registry.clear_log();
    let pulled = lab
        .sealift(&["copy", "--json", &source, "oci:copy:v1"])
        .json();
    let network = &pulled["network"];
    assert_eq!(network["requests"], registry.log().len());
    assert_eq!(network["retries"], 1);
    assert_eq!(network["bytesSent"], 0);
    // Every blob and the manifest, and what the refusal said.
    let (_, manifest) = registry.manifest("team/app", "v1").unwrap();
    let blobs = registry.blobs("team/app");
    let stored: usize = blobs
        .iter()
        .map(|digest| registry.blob("team/app", digest).unwrap().len())
        .sum();
    let received = network["bytesReceived"].as_u64().unwrap();
    let least = (stored + manifest.len()) as u64;
    assert!((least..least + 1000).contains(&received), "{pulled}");

    let elsewhere = Registry::start(Options::default());
    let target = format!("docker://{}/team/app:v1", elsewhere.host());
    elsewhere.set_fault(Fault::on(Operation::PutManifest, Effect::LoseReply).times(1));
    let pushed = lab
        .sealift(&["copy", "--json", "oci:copy:v1", &target])
        .json();
    let network = &pushed["network"];
    assert_eq!(network["requests"], elsewhere.log().len());
    assert_eq!(network["retries"], 1);
    // The manifest went under its digest and under the tag, and once more because an answer was lost.
    // The manifest went twice, because an answer was lost.
    assert_eq!(network["bytesSent"], stored + 2 * manifest.len());
    assert_eq!(pushed["digest"], image.digest());
}
