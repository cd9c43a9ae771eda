//! Mirrors, and whom to trust where, as the files of other tools have it.

use std::fs;
use std::path::Path;

use sealift_oci::Digest;
use sealift_registry::{Credential, Error, Options, RegistriesConf, Routes, Secret, Transport};
use sealift_testkit::noise;
use sealift_testkit::registry::{
    Auth, Effect, Fault, Operation, Options as Serving, Registry, RunningRegistry,
    Tls as ServedTls, tls,
};

use crate::lab::{copy, descriptor, options, read, sink, source};
use crate::pull::image;

const REPOSITORY: &str = "demo/app";

fn registry(serving: Serving, repository: &str) -> RunningRegistry {
    let registry = Registry::start(serving);
    image().push(&registry, repository, "v1");
    registry
}

/// A `registries.conf` for one registry, with lines of its own and of its one mirror.
fn conf(origin: &RunningRegistry, own: &str, mirror: &str) -> Routes {
    let text = format!(
        "[[registry]]\nlocation = \"{}\"\n{own}\n{mirror}",
        origin.host()
    );
    Routes {
        registries: RegistriesConf::parse(&text).unwrap(),
        ..Routes::default()
    }
}

fn mirror(mirror: &RunningRegistry, rest: &str) -> String {
    format!(
        "[[registry.mirror]]\nlocation = \"{}/hub\"\n{rest}",
        mirror.host()
    )
}

fn transport(routes: Routes) -> Transport {
    Transport::new(Options {
        routes,
        ..options()
    })
    .unwrap()
}

fn name(origin: &RunningRegistry) -> String {
    format!("docker://{}/{REPOSITORY}:v1", origin.host())
}

/// Pulls the whole image into a layout; returns its digest.
fn pull(transport: &Transport, origin: &RunningRegistry) -> Result<Digest, Error> {
    let folder = tempfile::tempdir().unwrap();
    let layout = format!("oci:{}/out", folder.path().display());
    copy(
        &*source(transport, &name(origin)),
        &*sink(transport, &layout),
    )
}

#[test]
fn what_a_mirror_has_is_not_asked_of_the_registry() {
    let origin = registry(Serving::default(), REPOSITORY);
    let copy = registry(Serving::default(), "hub/demo/app");
    let transport = transport(conf(&origin, "", &mirror(&copy, "")));
    assert_eq!(
        pull(&transport, &origin).unwrap().to_string(),
        image().digest()
    );
    assert_eq!(origin.log().len(), 0);
    let notes = transport.client().take_notes();
    let expected = format!("manifest `v1` comes from mirror {}", copy.host());
    assert_eq!(notes.first(), Some(&expected));
}

#[test]
fn what_a_mirror_lacks_or_garbles_comes_from_the_registry() {
    for effect in [
        Effect::status(404),
        Effect::status(403),
        Effect::status(503),
        Effect::HangUp,
        Effect::Body(b"{}".to_vec()),
    ] {
        let origin = registry(Serving::default(), REPOSITORY);
        let copy = registry(Serving::default(), "hub/demo/app");
        copy.set_fault(Fault::new(effect.clone()).always());
        let transport = transport(conf(&origin, "", &mirror(&copy, "")));
        assert_eq!(
            pull(&transport, &origin).unwrap().to_string(),
            image().digest(),
            "{effect:?}"
        );
        let notes = transport.client().take_notes();
        let begin = format!("mirror {} was passed over: ", copy.host());
        assert!(
            notes.iter().all(|note| note.starts_with(&begin)),
            "{notes:?}"
        );
        assert!(!notes.is_empty());
    }
}

#[test]
fn a_blob_that_breaks_off_at_a_mirror_is_continued_at_the_registry() {
    let origin = Registry::start(Serving::default());
    let copy = Registry::start(Serving::default());
    let blob = noise(7, 300_000);
    origin.put_blob(REPOSITORY, &blob);
    copy.put_blob("hub/demo/app", &blob);
    copy.set_fault(Fault::on(Operation::GetBlob, Effect::CutBody(100_000)).always());
    let transport = transport(conf(&origin, "", &mirror(&copy, "")));
    let octets = read(&*source(&transport, &name(&origin)), &descriptor(&blob));
    assert_eq!(octets.unwrap(), blob);
    let ranges: Vec<_> = origin
        .log()
        .iter()
        .map(|entry| entry.header("range").unwrap_or_default().to_owned())
        .collect();
    assert_eq!(ranges, ["bytes=200000-"]);
}

#[test]
fn a_push_knows_no_mirror() {
    let origin = Registry::start(Serving::default());
    let copied = registry(Serving::default(), "hub/demo/app");
    let folder = tempfile::tempdir().unwrap();
    image().write_layout(&folder.path().join("in"), "v1");
    let transport = transport(conf(&origin, "", &mirror(&copied, "")));
    let layout = format!("oci:{}/in:v1", folder.path().display());
    copy(
        &*source(&transport, &layout),
        &*sink(&transport, &name(&origin)),
    )
    .unwrap();
    assert_eq!(copied.log().len(), 0);
    assert_eq!(origin.tags(REPOSITORY), ["v1"]);
}

#[test]
fn a_mirror_for_digests_is_asked_only_where_the_reference_has_one() {
    for (own, of_mirror) in [
        ("mirror-by-digest-only = true", ""),
        ("", "pull-from-mirror = \"digest-only\""),
    ] {
        let origin = registry(Serving::default(), REPOSITORY);
        let copy = registry(Serving::default(), "hub/demo/app");
        let transport = transport(conf(&origin, own, &mirror(&copy, of_mirror)));
        pull(&transport, &origin).unwrap();
        assert_eq!(copy.log().len(), 0);
        origin.clear_log();
        let by_digest = format!(
            "docker://{}/{REPOSITORY}@{}",
            origin.host(),
            image().digest()
        );
        source(&transport, &by_digest).root().unwrap();
        assert_eq!(origin.log().len(), 0);
    }
}

#[test]
fn what_is_blocked_is_neither_pulled_nor_pushed() {
    let origin = registry(Serving::default(), REPOSITORY);
    let transport = transport(conf(&origin, "blocked = true", ""));
    let host = origin.host();
    let message =
        format!("cannot use `{host}/demo/app:v1`: `{host}` is blocked in registries.conf");
    let error = pull(&transport, &origin).unwrap_err();
    assert_eq!(error.to_string(), message);
    let error = crate::lab::write(&*sink(&transport, &name(&origin)), b"x").unwrap_err();
    assert_eq!(error.to_string(), message);
    assert_eq!(origin.log().len(), 0);
}

#[test]
fn an_image_is_pushed_to_and_pulled_from_where_its_registry_was_moved() {
    let named = registry(Serving::default(), REPOSITORY);
    let moved = registry(Serving::default(), "new/demo/app");
    let text = format!(
        "[[registry]]\nprefix = \"{}\"\nlocation = \"{}/new\"",
        named.host(),
        moved.host()
    );
    let transport = transport(Routes {
        registries: RegistriesConf::parse(&text).unwrap(),
        ..Routes::default()
    });
    pull(&transport, &named).unwrap();
    crate::lab::write(&*sink(&transport, &name(&named)), b"x").unwrap();
    assert_eq!(named.log().len(), 0);
}

#[test]
fn a_mirror_never_sees_the_password_for_the_registry() {
    let basic = || Auth::Basic {
        user: "me".into(),
        password: "secret".into(),
    };
    let serving = || Serving {
        auth: basic(),
        ..Serving::default()
    };
    let origin = registry(serving(), REPOSITORY);
    let copy = registry(serving(), "hub/demo/app");
    let mut options = Options {
        routes: conf(&origin, "", &mirror(&copy, "")),
        ..options()
    };
    options.credentials.explicit = Some(Credential::new("me".into(), Secret::new("secret".into())));
    let transport = Transport::new(options).unwrap();
    pull(&transport, &origin).unwrap();
    assert!(copy.log().iter().all(|entry| !entry.is_authorized()));
    assert!(!copy.log().is_empty());
}

fn write(folder: &Path, name: &str, content: &str) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(name), content).unwrap();
}

#[test]
fn a_hosts_file_says_who_is_asked_and_for_what() {
    let origin = registry(Serving::default(), REPOSITORY);
    let first = registry(Serving::default(), REPOSITORY);
    let second = registry(Serving::default(), REPOSITORY);
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join(origin.host().replace(':', "_") + "_");
    let text = format!(
        "server = \"{}\"\n[host.\"{}\"]\ncapabilities = [\"pull\"]\n[host.\"{}/v2\"]\noverride_path = true\n",
        origin.url(),
        second.url(),
        first.url()
    );
    write(&own, "hosts.toml", &text);
    let transport = transport(Routes {
        hosts_dirs: vec![folder.path().to_owned()],
        ..Routes::default()
    });
    assert_eq!(
        pull(&transport, &origin).unwrap().to_string(),
        image().digest()
    );
    // The one that cannot resolve tags gave the blobs, the other the manifest.
    assert_eq!(first.count(Operation::GetBlob), 0);
    assert_eq!(first.count(Operation::GetManifest), 1);
    assert_eq!(second.count(Operation::GetManifest), 0);
    assert!(second.count(Operation::GetBlob) > 0);
    assert_eq!(origin.log().len(), 0);
    let asked = first.log().remove(0).query.replace("%3A", ":");
    assert_eq!(asked, format!("ns={}", origin.host()));
    let pushed = crate::lab::write(&*sink(&transport, &name(&origin)), b"x").unwrap();
    assert!(origin.blob(REPOSITORY, &pushed.to_string()).is_some());
}

#[test]
fn a_broken_hosts_file_stops_the_work() {
    let origin = registry(Serving::default(), REPOSITORY);
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("_default");
    write(&own, "hosts.toml", "server = 1");
    let transport = transport(Routes {
        hosts_dirs: vec![folder.path().to_owned()],
        ..Routes::default()
    });
    let error = pull(&transport, &origin).unwrap_err().to_string();
    let begin = format!("`{}` is malformed: ", own.join("hosts.toml").display());
    assert!(error.starts_with(&begin), "{error}");
}

#[test]
fn certificates_are_found_under_the_name_of_the_host() {
    let mutual = || Serving {
        tls: ServedTls::Mutual,
        ..Serving::default()
    };
    let origin = registry(mutual(), REPOSITORY);
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join(origin.host());
    write(&own, "ca.crt", tls::CA);
    let routes = || Routes {
        certs_dirs: vec![folder.path().to_owned()],
        ..Routes::default()
    };
    let error = pull(&transport(routes()), &origin).unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error}");
    write(&own, "client.cert", tls::CLIENT);
    let error = pull(&transport(routes()), &origin).unwrap_err();
    let message = format!(
        "`{}` is malformed: there is no `.key` beside it",
        own.join("client.cert").display()
    );
    assert_eq!(error.to_string(), message);
    write(&own, "client.key", tls::CLIENT_KEY);
    pull(&transport(routes()), &origin).unwrap();
    // Another host has none of it.
    let other = registry(mutual(), REPOSITORY);
    let error = pull(&transport(routes()), &other).unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error}");
}

#[test]
fn a_hosts_file_brings_its_own_trust() {
    let origin = registry(Serving::default(), REPOSITORY);
    let serving = |tls| Serving {
        tls,
        ..Serving::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join(origin.host());
    write(&own, "ca.pem", tls::CA);
    write(&own, "client.pem", tls::CLIENT);
    write(&own, "client.key", tls::CLIENT_KEY);
    for (served, lines, is_used) in [
        (ServedTls::On, "", false),
        (ServedTls::On, "ca = \"ca.pem\"", true),
        (ServedTls::On, "skip_verify = true", true),
        (ServedTls::Mutual, "ca = \"ca.pem\"", false),
        (
            ServedTls::Mutual,
            "ca = \"ca.pem\"\nclient = [[\"client.pem\", \"client.key\"]]",
            true,
        ),
    ] {
        let copy = registry(serving(served), REPOSITORY);
        let text = format!("[host.\"{}\"]\n{lines}\n", copy.url());
        write(&own, "hosts.toml", &text);
        let transport = transport(Routes {
            hosts_dirs: vec![folder.path().to_owned()],
            ..Routes::default()
        });
        origin.clear_log();
        pull(&transport, &origin).unwrap();
        assert_eq!(origin.log().is_empty(), is_used, "{served:?} {lines}");
    }
}
