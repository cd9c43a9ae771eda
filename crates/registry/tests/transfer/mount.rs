//! Blobs that another repository of the registry holds.

use sealift_registry::{Credential, Options, RegistriesConf, Routes, Secret, Transport};
use sealift_testkit::noise;
use sealift_testkit::registry::{
    Auth, Bearer, Effect, Fault, Operation, Options as Serving, Registry, RunningRegistry, Support,
};

use crate::lab::{Unread, descriptor, options, sink, source, transport};

const LONG: usize = 300_000;

/// Copies a blob from `demo/base` to `demo/app`; returns the requests that were made.
fn copy_within(registry: &RunningRegistry, transport: &Transport) -> Vec<Operation> {
    let octets = noise(1, LONG);
    let digest = registry.put_blob("demo/base", &octets);
    registry.clear_log();
    let name = |repository: &str| format!("docker://{}/{repository}:v1", registry.host());
    let from = source(transport, &name("demo/base"));
    let blob = descriptor(&octets);
    sink(transport, &name("demo/app"))
        .copy_blob(&blob, &*from)
        .unwrap();
    assert_eq!(registry.blob("demo/app", &digest), Some(octets));
    assert_eq!(registry.open_uploads(), 0);
    registry.log().iter().map(|entry| entry.operation).collect()
}

#[test]
fn a_blob_of_the_same_registry_is_shown_without_moving_an_octet() {
    let registry = Registry::start(Serving::default());
    let requests = copy_within(&registry, &transport());
    assert_eq!(requests, [Operation::HeadBlob, Operation::Mount]);
    assert!(registry.log().iter().all(|entry| entry.received == 0));
}

#[test]
fn the_session_that_comes_instead_of_a_mount_is_used() {
    use Operation::{GetBlob, HeadBlob, Mount, PatchUpload, PutUpload};
    let registry = Registry::start(Serving {
        mounts: Support::No,
        ..Serving::default()
    });
    let mut requests = copy_within(&registry, &transport());
    requests.dedup();
    assert_eq!(requests, [HeadBlob, Mount, GetBlob, PatchUpload, PutUpload]);
}

#[test]
fn a_mount_that_fails_leaves_the_upload() {
    for effect in [
        Effect::status(400),
        Effect::status(403),
        Effect::status(404),
        Effect::status(405),
        Effect::status(500),
        Effect::HangUp,
        Effect::SetHeader(
            "Docker-Content-Digest".into(),
            format!("sha256:{}", "0".repeat(64)),
        ),
        Effect::RefuseMount,
    ] {
        let registry = Registry::start(Serving::default());
        registry.set_fault(Fault::on(Operation::Mount, effect.clone()).always());
        let requests = copy_within(&registry, &transport());
        assert!(requests.contains(&Operation::PutUpload), "{effect:?}");
    }
}

#[test]
fn the_login_of_a_mount_covers_both_repositories_and_no_other_does() {
    let registry = Registry::start(Serving {
        auth: Auth::Bearer(Bearer {
            credentials: Some(("me".into(), "pw".into())),
            ..Bearer::default()
        }),
        ..Serving::default()
    });
    let mut options = options();
    options.credentials.explicit = Some(Credential::new("me".into(), Secret::new("pw".into())));
    let requests = copy_within(&registry, &Transport::new(options).unwrap());
    assert!(!requests.contains(&Operation::GetBlob));
    assert!(!requests.contains(&Operation::StartUpload));
    let log = registry.log();
    let tokens: Vec<&str> = log
        .iter()
        .filter(|entry| entry.operation == Operation::Token)
        .map(|entry| entry.query.as_str())
        .collect();
    let own = "service=testkit&scope=repository%3Ademo%2Fapp%3Apull%2Cpush";
    let both = format!("{own}&scope=repository%3Ademo%2Fbase%3Apull");
    assert_eq!(
        tokens,
        [format!("{own}&account=me"), format!("{both}&account=me")]
    );
}

#[test]
fn only_another_repository_of_the_same_registry_is_asked_for() {
    let octets = noise(1, LONG);
    let (here, there) = (
        Registry::start(Serving::default()),
        Registry::start(Serving::default()),
    );
    there.put_blob("demo/base", &octets);
    let transport = transport();
    let from = source(
        &transport,
        &format!("docker://{}/demo/base:v1", there.host()),
    );
    let to = sink(&transport, &format!("docker://{}/demo/app:v1", here.host()));
    assert!(to.copy_blob(&descriptor(&octets), &*from).unwrap());
    assert_eq!(here.count(Operation::Mount), 0);
    // What is there is not mounted either.
    let unread = Unread(from);
    assert!(!to.copy_blob(&descriptor(&octets), &unread).unwrap());
    assert_eq!(here.count(Operation::Mount), 0);
}

#[test]
fn the_source_of_a_mount_is_named_as_its_registry_was_moved() {
    let octets = noise(1, LONG);
    let blob = descriptor(&octets);
    // Who is named by the source and by the destination, and whether a file sends them to one registry.
    for (from, to, is_one) in [
        ("old.example/demo/base", "HERE/demo/app", true),
        ("old.example/demo/base", "old.example/demo/app", true),
        ("HERE/gone/base", "HERE/demo/app", false),
    ] {
        let (here, there) = (
            Registry::start(Serving::default()),
            Registry::start(Serving::default()),
        );
        let conf = format!(
            "[[registry]]\nprefix = \"old.example\"\nlocation = \"{0}/new\"\n\
             [[registry]]\nprefix = \"{0}/gone\"\nlocation = \"{1}/new/demo\"\n",
            here.host(),
            there.host()
        );
        let transport = Transport::new(Options {
            routes: Routes {
                registries: RegistriesConf::parse(&conf).unwrap(),
                ..Routes::default()
            },
            ..options()
        })
        .unwrap();
        let place = if is_one { &here } else { &there };
        place.put_blob("new/demo/base", &octets);
        let name = |name: &str| format!("docker://{}:v1", name.replace("HERE", &here.host()));
        let from = source(&transport, &name(from));
        let to = sink(&transport, &name(to));
        let is_moved = to.copy_blob(&blob, &*from).unwrap();
        let mounts: Vec<_> = here
            .log()
            .into_iter()
            .filter(|entry| entry.operation == Operation::Mount)
            .map(|entry| entry.query)
            .collect();
        let query = format!("mount={}&from=new%2Fdemo%2Fbase", blob.digest());
        let expected = if is_one {
            vec![query.replace(':', "%3A")]
        } else {
            Vec::new()
        };
        assert_eq!((is_moved, mounts), (!is_one, expected));
    }
}
