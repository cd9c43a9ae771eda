//! Parts of blobs: out of registries, layouts and archives.

use std::fs;

use sealift_oci::{Descriptor, Digest};
use sealift_registry::{Error, MAX_PART_LEN, Mismatch, RegistriesConf, Routes, Transport};
use sealift_testkit::image::{ArchiveKind, Format, ImageBuilder, Layer, Packing, Tar};
use sealift_testkit::noise;
use sealift_testkit::registry::{
    Auth, Bearer, Effect, Fault, Operation, Options as Serving, Registry, Support,
};

use crate::lab::{descriptor, options, source, told, transport};
use crate::pull::reference;

fn blob() -> Vec<u8> {
    noise(7, 300_000)
}

fn get(effect: Effect) -> Fault {
    Fault::on(Operation::GetBlob, effect)
}

/// Fetches a part under faults; returns it, or what was said, and how many requests and octets it took.
fn fetch(serving: Serving, faults: &[Fault]) -> (Result<Option<Vec<u8>>, String>, usize, u64) {
    let registry = Registry::start(serving);
    registry.put_blob("demo/app", &blob());
    for fault in faults {
        registry.set_fault(fault.clone());
    }
    let transport = transport();
    let source = source(&transport, &reference(&registry));
    let part = source.blob_part(&descriptor(&blob()), 1000..3000);
    assert_eq!(registry.pending_faults(), 0);
    let part = part
        .map(|part| part.map(Vec::from))
        .map_err(|error| told(&error, &registry.host()));
    let count = registry.count(Operation::GetBlob);
    (part, count, transport.client().traffic().received)
}

fn wanted() -> Result<Option<Vec<u8>>, String> {
    Ok(Some(blob()[1000..3000].to_vec()))
}

#[test]
fn exactly_the_part_is_fetched() {
    assert_eq!(fetch(Serving::default(), &[]), (wanted(), 1, 2000));
    // After a setback it is asked for again.
    for effect in [
        Effect::HangUp,
        Effect::CutBody(1500),
        Effect::status(503),
        Effect::ResetAfter(1000),
    ] {
        let (part, requests, _) = fetch(Serving::default(), &[get(effect)]);
        assert_eq!((part, requests), (wanted(), 2));
    }
    let tokens = Serving {
        auth: Auth::Bearer(Bearer {
            uses: 1,
            ..Bearer::default()
        }),
        ..Serving::default()
    };
    let (part, ..) = fetch(tokens, &[]);
    assert_eq!(part, wanted());
}

#[test]
fn a_registry_without_ranges_gives_no_part_and_is_not_read() {
    let serving = Serving {
        ranges: Support::No,
        ..Serving::default()
    };
    assert_eq!(fetch(serving, &[]), (Ok(None), 1, 0));
    let whole = [get(Effect::WholeBody)];
    assert_eq!(fetch(Serving::default(), &whole), (Ok(None), 1, 0));
}

#[test]
fn another_part_than_that_asked_for_is_refused() {
    let range = |text: &str| Effect::SetHeader("Content-Range".into(), text.into());
    for text in [
        "bytes 0-1999/300000",
        "bytes 1000-2998/300000",
        "bytes 1000-3000/300000",
        "bytes 1000-2999/300001",
        "1000-2999/300000",
        "",
    ] {
        let (part, ..) = fetch(Serving::default(), &[get(range(text))]);
        let said = part.unwrap_err();
        assert!(said.ends_with("it is not 1000 to 3000 of 300000"), "{said}");
    }
    // A part of another length is never taken, however often it comes.
    let (part, requests, _) = fetch(
        Serving::default(),
        &[get(Effect::Body(vec![1; 1999])).always()],
    );
    let said = part.unwrap_err();
    assert!(said.contains("the part has another length"), "{said}");
    assert_eq!(requests, 4);
}

#[test]
fn a_blob_that_is_shorter_or_not_there_is_told() {
    let registry = Registry::start(Serving::default());
    let blob = blob();
    let described = descriptor(&blob);
    registry.put_blob_as("demo/app", &described.digest().to_string(), &blob[..900]);
    let transport = transport();
    let source = source(&transport, &reference(&registry));
    let error = source.blob_part(&described, 1000..3000).unwrap_err();
    let Error::Mismatch { mismatch, .. } = error else {
        panic!("{error}");
    };
    let expected = Mismatch::Truncated {
        expected: 300_000,
        actual: 1000,
    };
    assert_eq!(mismatch, expected);
    let error = source.blob_part(&descriptor(b"other"), 0..3).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}

#[test]
fn a_part_must_lie_within_the_blob_and_be_short_enough() {
    let registry = Registry::start(Serving::default());
    let transport = transport();
    let source = source(&transport, &reference(&registry));
    let media_type = "application/vnd.oci.image.layer.v1.tar".parse().unwrap();
    let long = Descriptor::new(media_type, Digest::sha256(b""), 1 << 40);
    for range in [
        (1 << 40) - 1..(1 << 40) + 1,
        0..MAX_PART_LEN + 1,
        #[expect(clippy::reversed_empty_ranges, reason = "that is the mistake")]
        (5..4),
    ] {
        let error = source.blob_part(&long, range).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error}");
    }
    assert_eq!(source.blob_part(&long, 7..7).unwrap().unwrap().len(), 0);
    assert_eq!(registry.log().len(), 0);
}

#[test]
fn redirects_are_followed_for_each_part() {
    let elsewhere = Registry::start(Serving::default());
    let blob = blob();
    let digest = elsewhere.put_blob("demo/app", &blob);
    let url = format!("{}/v2/demo/app/blobs/{digest}", elsewhere.url());
    let (part, requests, received) = fetch(Serving::default(), &[get(Effect::Redirect(url))]);
    assert_eq!((part, requests, received), (wanted(), 1, 2000));
    assert_eq!(elsewhere.count(Operation::GetBlob), 1);
}

#[test]
fn a_mirror_is_asked_first_and_the_registry_where_it_fails_or_has_no_parts() {
    let blob = blob();
    for (ranges, effect) in [
        (Support::Yes, None),
        (Support::No, None),
        (Support::Yes, Some(Effect::status(404))),
    ] {
        let [origin, mirror] = [Support::Yes, ranges].map(|ranges| {
            Registry::start(Serving {
                ranges,
                ..Serving::default()
            })
        });
        origin.put_blob("demo/app", &blob);
        mirror.put_blob("hub/demo/app", &blob);
        let serves = ranges == Support::Yes && effect.is_none();
        if let Some(effect) = effect {
            mirror.set_fault(get(effect));
        }
        let text = format!(
            "[[registry]]\nlocation = \"{}\"\n[[registry.mirror]]\nlocation = \"{}/hub\"\n",
            origin.host(),
            mirror.host()
        );
        let mut options = options();
        options.routes = Routes {
            registries: RegistriesConf::parse(&text).unwrap(),
            ..Routes::default()
        };
        let transport = Transport::new(options).unwrap();
        let source = source(&transport, &reference(&origin));
        let part = source.blob_part(&descriptor(&blob), 1000..3000).unwrap();
        assert_eq!(part.map(Vec::from), Some(blob[1000..3000].to_vec()));
        assert_eq!(mirror.count(Operation::GetBlob), 1);
        assert_eq!(origin.count(Operation::GetBlob), usize::from(!serves));
    }
}

#[test]
fn layouts_and_archives_give_parts() {
    let folder = tempfile::tempdir().unwrap();
    let content = noise(3, 50_000);
    let layer = Layer::new(Tar::new().file("a", &content), Packing::Plain);
    let octets = layer.octets().to_vec();
    let image = ImageBuilder::new(Format::Docker).layer(layer).build();
    image.write_layout(&folder.path().join("layout"), "v1");
    fs::write(folder.path().join("oci.tar"), image.oci_archive("v1")).unwrap();
    let docker = image.docker_archive(ArchiveKind::Classic, "demo/app:v1");
    fs::write(folder.path().join("docker.tar"), docker).unwrap();
    let transport = transport();
    for place in [
        "oci:F/layout:v1",
        "oci-archive:F/oci.tar:v1",
        "docker-archive:F/docker.tar",
    ] {
        let place = place.replace('F', &folder.path().display().to_string());
        let source = source(&transport, &place);
        for range in [0..1, 512..50_512, 0..octets.len(), 9..9] {
            let part = range.start as u64..range.end as u64;
            let part = source.blob_part(&descriptor(&octets), part);
            let expected = &octets[range];
            assert_eq!(part.unwrap().unwrap(), expected, "{place}");
        }
        let error = source.blob_part(&descriptor(b"other"), 0..3).unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{error}");
    }
    // A file that was cut.
    let name = image.layer_digest(0).replace(':', "/");
    let path = folder.path().join("layout/blobs").join(name);
    fs::write(path, &octets[..1000]).unwrap();
    let place = format!("oci:{}/layout:v1", folder.path().display());
    let error = source(&transport, &place)
        .blob_part(&descriptor(&octets), 0..10)
        .unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
}
