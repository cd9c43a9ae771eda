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

/// A blob that mirrors have damaged, each at this octet, and with it the registry, if told so. Returns what became of a
/// copy into a layout, who was asked for the blob and how often, and the notes.
fn copy_past_damage(
    damage: &[Option<usize>],
    faults: &[Effect],
) -> (Result<bool, Error>, Vec<usize>, Vec<String>) {
    let blob = noise(7, 300_000);
    let places: Vec<_> = damage
        .iter()
        .enumerate()
        .map(|(n, damaged)| {
            let registry = Registry::start(Serving::default());
            let is_origin = n + 1 == damage.len();
            let repository = if is_origin {
                REPOSITORY
            } else {
                "hub/demo/app"
            };
            registry.put_blob(repository, &blob);
            if let Some(at) = damaged {
                let fault = Fault::on(Operation::GetBlob, Effect::FlipBit(*at));
                let fault = faults.iter().cloned().fold(fault, Fault::and);
                registry.set_fault(fault.always());
            }
            registry
        })
        .collect();
    let (origin, mirrors) = places.split_last().unwrap();
    let lines: String = mirrors.iter().map(|one| mirror(one, "")).collect();
    let transport = transport(conf(origin, "", &lines));
    let folder = tempfile::tempdir().unwrap();
    let to = sink(&transport, &format!("oci:{}:v1", folder.path().display()));
    let from = source(&transport, &name(origin));
    let outcome = to.copy_blob(&descriptor(&blob), &*from);
    if outcome.is_ok() {
        let hex = descriptor(&blob).digest().hex().to_owned();
        let written = folder.path().join("blobs/sha256").join(hex);
        assert!(fs::read(written).unwrap() == blob);
    }
    let asked = places.iter().map(|one| one.count(Operation::GetBlob));
    let asked = asked.collect();
    let hosts: Vec<_> = places.iter().map(RunningRegistry::host).collect();
    let notes = transport.client().take_notes().into_iter().map(|note| {
        let named = hosts.iter().enumerate();
        named.fold(note, |note, (n, host)| note.replace(host, &format!("#{n}")))
    });
    (outcome, asked, notes.collect())
}

#[test]
fn a_mirror_that_gave_other_content_is_left_for_the_next() {
    let last = Some(299_999);
    let (outcome, asked, notes) = copy_past_damage(&[last, None, None], &[]);
    assert!(outcome.unwrap());
    assert_eq!(asked, [1, 1, 0]);
    let digest = descriptor(&noise(7, 300_000)).digest().to_string();
    assert_eq!(notes.len(), 3, "{notes:?}");
    assert_eq!(notes[0], format!("blob `{digest}` comes from mirror #0"));
    let passed_over = format!(
        "mirror #0 was passed over: blob `{digest}` at mirror #0/hub/demo/app has digest sha256:"
    );
    assert!(notes[1].starts_with(&passed_over), "{}", notes[1]);
    assert_eq!(notes[2], format!("blob `{digest}` comes from mirror #1"));

    // However many they are, the registry is asked last.
    let (outcome, asked, _) = copy_past_damage(&[last, Some(0), Some(5), Some(7), None], &[]);
    assert!(outcome.unwrap());
    assert_eq!(asked, [1, 1, 1, 1, 1]);
}

#[test]
fn who_mixed_a_blob_with_the_registry_is_not_asked_again() {
    // What comes of it is damaged, and then it breaks off; the registry has the rest.
    let (outcome, asked, notes) = copy_past_damage(&[Some(5), None], &[Effect::CutBody(100_000)]);
    assert!(outcome.unwrap());
    // Twice the mirror, which goes on behind its damage, then the registry with the rest and with the whole.
    assert_eq!(asked, [2, 2]);
    assert!(notes.iter().any(|note| note.contains("has digest")));

    // Two mirrors that each gave a part: nobody can tell which was wrong, so neither is asked again.
    let (outcome, asked, _) =
        copy_past_damage(&[Some(5), Some(5), None], &[Effect::CutBody(100_000)]);
    assert!(outcome.unwrap());
    assert_eq!(asked, [2, 1, 1]);
}

#[test]
fn a_registry_that_gives_other_content_than_its_mirror_too_has_the_last_word() {
    let (outcome, asked, _) = copy_past_damage(&[Some(0), Some(1)], &[]);
    match outcome {
        Err(Error::Mismatch { place, .. }) => assert!(place.ends_with("/demo/app"), "{place}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(asked, [1, 1]);
}
