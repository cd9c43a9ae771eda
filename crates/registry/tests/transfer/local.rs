//! Layouts and archives, alone and to and from a registry.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;

use crate::lab::{copy, descriptor, read, sink, source, told, transport, write};
use sealift_oci::Digest;
use sealift_registry::{Error, RawManifest};
use sealift_testkit::image::{
    ArchiveKind, Format, Image, ImageBuilder, IndexBuilder, Layer, Packing, Tar,
};
use sealift_testkit::noise;
use sealift_testkit::registry::{Options as Serving, Registry};

fn image(seed: u64) -> Image {
    ImageBuilder::new(Format::Oci)
        .layer(Layer::new(
            Tar::new().file("a", &noise(seed, 5000)),
            Packing::Gzip,
        ))
        .layer(Layer::new(
            Tar::new().file("b", &noise(seed + 1, 70_000)),
            Packing::Zstd,
        ))
        .build()
}

fn index() -> Image {
    IndexBuilder::new(Format::Oci)
        .child(image(1))
        .attested(image(10))
        .build()
}

fn hidden(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            names.extend(hidden(&entry.path()));
        } else if name.starts_with('.') {
            names.push(name);
        }
    }
    names
}

#[test]
fn an_image_survives_every_kind_of_place() {
    let folder = tempfile::tempdir().unwrap();
    let at = |kind: &str, name: &str| format!("{kind}:{}/{name}:v1", folder.path().display());
    let registry = Registry::start(Serving::default());
    for (number, image) in [image(1), index()].iter().enumerate() {
        image.write_layout(&folder.path().join(format!("start{number}")), "v1");
        let transport = transport();
        let stations = [
            at("oci", &format!("start{number}")),
            at("oci", &format!("layout{number}")),
            at("oci-archive", &format!("archive{number}.tar")),
            format!("docker://{}/demo/app:v{number}", registry.host()),
            at("oci", &format!("end{number}")),
        ];
        for pair in stations.windows(2) {
            let source = source(&transport, &pair[0]);
            let digest = copy(&*source, &*sink(&transport, &pair[1])).unwrap();
            assert_eq!(digest.to_string(), image.digest(), "{pair:?}");
            assert_eq!(source.is_local(), !pair[0].starts_with("docker:"));
        }
        let end = source(&transport, &stations[4]);
        assert_eq!(end.root().unwrap().bytes, image.bytes());
    }
    assert_eq!(hidden(folder.path()), Vec::<String>::new());
}

#[test]
fn an_archive_of_ours_is_the_same_every_time() {
    let folder = tempfile::tempdir().unwrap();
    image(1).write_layout(&folder.path().join("in"), "v1");
    let transport = transport();
    let from = source(&transport, &format!("oci:{}/in", folder.path().display()));
    let archive = |name: &str| {
        copy(
            &*from,
            &*sink(
                &transport,
                &format!("oci-archive:{}/{name}:v1", folder.path().display()),
            ),
        )
        .unwrap();
        fs::read(folder.path().join(name)).unwrap()
    };
    assert_eq!(archive("a.tar"), archive("b.tar"));
}

#[test]
fn other_images_of_a_layout_stay_and_the_same_name_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    image(1).write_layout(&from, "v1");
    image(5).write_layout(&from, "v2");
    image(3).write_layout(&to, "keep");
    image(4).write_layout(&to, "v1");
    let transport = transport();
    let run = |from_name: &str, to_name: &str| {
        let source = source(&transport, &format!("oci:{}:{from_name}", from.display()));
        copy(
            &*source,
            &*sink(&transport, &format!("oci:{}{to_name}", to.display())),
        )
        .unwrap()
    };
    run("v1", ":v1");
    run("v2", "");
    run("v1", "");
    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(to.join("index.json")).unwrap()).unwrap();
    let entries: Vec<_> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            let name = entry["annotations"]["org.opencontainers.image.ref.name"].as_str();
            (
                name.unwrap_or("-").to_owned(),
                entry["digest"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    let named = |name: &str, image: &Image| (name.to_owned(), image.digest());
    assert_eq!(
        entries,
        [
            named("keep", &image(3)),
            named("v1", &image(1)),
            named("-", &image(1))
        ]
    );
}

#[test]
fn nothing_is_visible_before_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let transport = transport();
    for place in ["oci:layout:v1", "oci-archive:archive.tar:v1"] {
        let (kind, rest) = place.split_once(':').unwrap();
        let place = format!("{kind}:{}/{rest}", folder.path().display());
        let sink = sink(&transport, &place);
        write(&*sink, b"some layer").unwrap();
        let mut writer = sink.blob(None).unwrap();
        writer.write_all(b"half a layer").unwrap();
        assert!(!folder.path().join("layout/index.json").exists());
        assert!(!folder.path().join("archive.tar").exists());
        drop(writer);
        drop(sink);
        assert_eq!(hidden(folder.path()), Vec::<String>::new(), "{place}");
    }
}

#[test]
fn what_a_killed_writer_left_is_removed_after_a_day() {
    let folder = tempfile::tempdir().unwrap();
    image(1).write_layout(folder.path(), "v1");
    let partial = |name: &str, hours: u64| {
        let path = folder.path().join("blobs").join(name);
        let file = fs::File::create(&path).unwrap();
        let age = std::time::Duration::from_secs(hours * 3600);
        file.set_modified(std::time::SystemTime::now() - age)
            .unwrap();
        path
    };
    let old = partial(".sealift-partial-old", 25);
    let young = partial(".sealift-partial-young", 23);
    let foreign = partial("foreign", 25);
    let transport = transport();
    let sink = sink(&transport, &format!("oci:{}:v1", folder.path().display()));
    write(&*sink, b"x").unwrap();
    assert_eq!(
        (old.exists(), young.exists(), foreign.exists()),
        (false, true, true)
    );
}

#[test]
fn what_is_written_must_be_what_is_committed() {
    let folder = tempfile::tempdir().unwrap();
    let transport = transport();
    for place in ["oci:{}/layout:v1", "oci-archive:{}/archive.tar:v1"] {
        let sink = sink(
            &transport,
            &place.replace("{}", &folder.path().display().to_string()),
        );
        let (written, other) = (Digest::sha256(b"written"), Digest::sha256(b"another"));
        let mut writer = sink.blob(None).unwrap();
        writer.write_all(b"written").unwrap();
        let message = writer.commit(&other, 7).unwrap_err().to_string();
        assert!(
            message.ends_with(&format!("has digest {written}, not {other}")),
            "{message}"
        );
        let mut writer = sink.blob(None).unwrap();
        writer.write_all(b"written").unwrap();
        let message = writer.commit(&written, 8).unwrap_err().to_string();
        assert!(
            message.ends_with("is announced with 7 octets, not 8"),
            "{message}"
        );
        assert!(!sink.has_blob(&written, 7).unwrap());
        assert!(!sink.has_blob(&other, 7).unwrap());
        write(&*sink, b"written").unwrap();
        assert!(sink.has_blob(&written, 7).unwrap());
    }
}

#[test]
fn many_writers_add_their_images_to_one_layout() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("to");
    let transport = transport();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let from = folder.path().join(format!("from{number}"));
            let (to, transport) = (&to, &transport);
            scope.spawn(move || {
                image(number).write_layout(&from, "x");
                let source = source(transport, &format!("oci:{}", from.display()));
                copy(
                    &*source,
                    &*sink(transport, &format!("oci:{}:v{number}", to.display())),
                )
                .unwrap();
            });
        }
    });
    for number in 0..8 {
        let root = source(&transport, &format!("oci:{}:v{number}", to.display()))
            .root()
            .unwrap();
        assert_eq!(root.digest.to_string(), image(number).digest());
    }
}

#[test]
fn damage_is_found_when_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let transport = transport();
    let content = noise(1, 5000);
    let digest = Digest::sha256(&content);
    let place = folder.path().display().to_string();
    for (damage, message) in [
        (
            &noise(2, 5000)[..],
            format!(
                "has digest {}, not {digest}",
                Digest::sha256(&noise(2, 5000))
            ),
        ),
        (
            &noise(1, 4999)[..],
            "is announced with 4999 octets, not 5000".into(),
        ),
        (
            &noise(1, 5001)[..],
            "is announced with 5001 octets, not 5000".into(),
        ),
    ] {
        image(1).write_layout(folder.path(), "v1");
        fs::write(
            folder.path().join("blobs/sha256").join(digest.hex()),
            damage,
        )
        .unwrap();
        let source = source(&transport, &format!("oci:{place}:v1"));
        let error = read(&*source, &descriptor(&content)).unwrap_err();
        assert_eq!(
            told(&error, &place),
            format!("blob `{digest}` at HOST {message}")
        );
        // The index may name the image several times; only its content counts here.
        fs::remove_file(folder.path().join("index.json")).unwrap();
    }
}

#[test]
fn places_that_are_not_what_they_should_be_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().display().to_string();
    let file = |name: &str, content: &[u8]| fs::write(folder.path().join(name), content).unwrap();
    file("text", b"not a tar");
    fs::create_dir(folder.path().join("docs")).unwrap();
    file("docs/letter", b"x");
    fs::create_dir(folder.path().join("future")).unwrap();
    file("future/oci-layout", br#"{"imageLayoutVersion":"2.0.0"}"#);
    fs::create_dir(folder.path().join("void")).unwrap();
    file("void/oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    let mut gzip = vec![0x1f, 0x8b];
    gzip.resize(1024, 1);
    file("gzip.tar", &gzip);
    file("images.tar", &image(1).oci_archive("other"));
    let transport = transport();
    let open = |text: &str| {
        let reference = text.replace("{}", &place).parse().unwrap();
        transport
            .source(&reference)
            .and_then(|source| source.root())
    };
    for (text, message) in [
        ("oci:{}/none", "OCI layout was not found at HOST/none"),
        (
            "oci:{}/docs",
            "OCI layout `HOST/docs` is malformed: it has no `oci-layout`",
        ),
        (
            "oci:{}/future",
            "OCI layout `HOST/future` is malformed: its version is `2.0.0`, and only `1.0.0` is known",
        ),
        (
            "oci:{}/void",
            "OCI layout `HOST/void` is malformed: it has no `index.json`",
        ),
        ("oci-archive:{}/none", "archive was not found at HOST/none"),
        (
            "oci-archive:{}/docs",
            "archive `HOST/docs` is malformed: it is not a regular file",
        ),
        (
            "oci-archive:{}/text",
            "archive `HOST/text` is malformed: it ends early",
        ),
        (
            "oci-archive:{}/gzip.tar",
            "archive `HOST/gzip.tar` is compressed; decompress it with gunzip first",
        ),
        (
            "oci-archive:{}/images.tar:v9",
            "image `v9` (there are: other) was not found at HOST/images.tar",
        ),
        (
            "docker-archive:{}/images.tar",
            "docker archive `HOST/images.tar` is malformed: it has no `manifest.json`",
        ),
    ] {
        assert_eq!(told(&open(text).unwrap_err(), &place), message, "{text}");
    }
    let open = |text: &str| transport.sink(&text.replace("{}", &place).parse().unwrap());
    for (text, message) in [
        (
            "oci:{}/docs",
            "`HOST/docs` holds files but is not an OCI layout; choose an empty or new directory",
        ),
        (
            "oci:{}/future",
            "OCI layout `HOST/future` is malformed: its version is `2.0.0`, and only `1.0.0` is known",
        ),
        (
            "oci:{}/text",
            "cannot open `HOST/text`: Not a directory (os error 20)",
        ),
        (
            "oci-archive:{}/text",
            "archive `HOST/text` is malformed: it ends early",
        ),
        (
            "oci-archive:{}/images.tar:v1",
            "`HOST/images.tar` holds other images, and archives are written whole; choose another file",
        ),
        (
            "docker-archive:{}/new.tar",
            "docker-archive: can only be read, it has no place for annotations; write oci-archive: or oci: instead",
        ),
    ] {
        assert_eq!(told(&open(text).unwrap_err(), &place), message, "{text}");
    }
    assert_eq!(hidden(folder.path()), Vec::<String>::new());
}

#[test]
fn an_archive_of_the_same_name_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().display();
    fs::write(folder.path().join("a.tar"), image(1).oci_archive("v1")).unwrap();
    image(2).write_layout(&folder.path().join("in"), "x");
    let transport = transport();
    let from = source(&transport, &format!("oci:{place}/in"));
    copy(
        &*from,
        &*sink(&transport, &format!("oci-archive:{place}/a.tar:v1")),
    )
    .unwrap();
    let root = source(&transport, &format!("oci-archive:{place}/a.tar:v1"))
        .root()
        .unwrap();
    assert_eq!(root.digest.to_string(), image(2).digest());
}

#[test]
fn a_docker_archive_becomes_a_docker_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let base = Layer::new(Tar::new().file("a", b"first"), Packing::Plain);
    let docker = ImageBuilder::new(Format::Docker)
        .layer(base.clone())
        .layer(Layer::new(Tar::new().file("b", b"second"), Packing::Plain))
        .layer(base)
        .build();
    let transport = transport();
    let registry = Registry::start(Serving::default());
    let mut manifests: Vec<RawManifest> = Vec::new();
    for kind in [ArchiveKind::Classic, ArchiveKind::Layout] {
        let file = folder.path().join(format!("{kind:?}.tar"));
        fs::write(&file, docker.docker_archive(kind, "demo/app:v1")).unwrap();
        for name in ["", ":demo/app:v1", ":docker.io/demo/app:v1"] {
            let from = source(
                &transport,
                &format!("docker-archive:{}{name}", file.display()),
            );
            manifests.push(from.root().unwrap());
            copy(
                &*from,
                &*sink(
                    &transport,
                    &format!("docker://{}/demo/app:v1", registry.host()),
                ),
            )
            .unwrap();
        }
        let missing = transport.source(
            &format!("docker-archive:{}:demo/app:v2", file.display())
                .parse()
                .unwrap(),
        );
        let message = missing.unwrap_err().to_string();
        assert!(
            message.starts_with("image `demo/app:v2` (there are: demo/app:v1) was not found at "),
            "{message}"
        );
    }
    let first = &manifests[0];
    assert!(manifests.iter().all(|manifest| manifest == first));
    let ours: serde_json::Value = serde_json::from_slice(&first.bytes).unwrap();
    assert_eq!(ours, docker.json());
    for layer in ours["layers"].as_array().unwrap() {
        let digest = layer["digest"].as_str().unwrap();
        assert_eq!(
            registry.blob("demo/app", digest).as_ref(),
            docker.blobs().get(digest)
        );
    }
}

#[test]
fn a_compressed_layer_of_a_docker_archive_has_its_own_digest() {
    let folder = tempfile::tempdir().unwrap();
    let docker = ImageBuilder::new(Format::Docker)
        .layer(Layer::new(Tar::new().file("a", b"first"), Packing::Gzip))
        .build();
    let file = folder.path().join("a.tar");
    fs::write(
        &file,
        docker.docker_archive(ArchiveKind::Layout, "demo/app:v1"),
    )
    .unwrap();
    let transport = transport();
    let root = source(&transport, &format!("docker-archive:{}", file.display()))
        .root()
        .unwrap();
    let ours: serde_json::Value = serde_json::from_slice(&root.bytes).unwrap();
    assert_eq!(ours["layers"], docker.json()["layers"]);
}

#[test]
fn a_docker_archive_with_another_layer_than_it_says_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let layer = Layer::new(Tar::new().file("a", b"first"), Packing::Plain);
    let docker = ImageBuilder::new(Format::Docker).layer(layer).build();
    let archive = docker.docker_archive(ArchiveKind::Classic, "demo/app:v1");
    let at = archive
        .windows(5)
        .position(|window| window == b"first")
        .unwrap();
    let mut archive = archive;
    archive[at] ^= 1;
    let file = folder.path().join("a.tar");
    fs::write(&file, archive).unwrap();
    let transport = transport();
    let from = source(&transport, &format!("docker-archive:{}", file.display()));
    let error = copy(
        &*from,
        &*sink(&transport, &format!("oci:{}/out", folder.path().display())),
    )
    .unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
    assert!(!folder.path().join("out/index.json").exists());
}

/// Runs one test again in a process that may not write files longer than 64 KiB, which is what a full disk is like.
#[cfg(target_os = "linux")]
fn with_little_room(test: &str) {
    let script = "trap '' XFSZ; ulimit -f 64; exec \"$0\" --exact \"$1\" --nocapture";
    let output = std::process::Command::new("/bin/bash")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(LITTLE_ROOM, "yes")
        .output()
        .unwrap();
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("1 passed"), "{told}");
}

#[cfg(target_os = "linux")]
const LITTLE_ROOM: &str = "SEALIFT_TEST_LITTLE_ROOM";

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_nothing_visible() {
    if std::env::var_os(LITTLE_ROOM).is_none() {
        return with_little_room("local::a_full_disk_leaves_nothing_visible");
    }
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().display().to_string();
    let transport = transport();
    for kind in ["oci:{}/layout", "oci-archive:{}/archive.tar"] {
        let sink = sink(&transport, &kind.replace("{}", &place));
        // Short enough for the last part to be written when the blob is committed.
        for len in [70_000, 1_000_000] {
            let error = write(&*sink, &noise(1, len)).unwrap_err();
            let message = told(&error, &place);
            assert!(
                message.starts_with("cannot write to `HOST"),
                "{kind} {len} {message}"
            );
            assert!(
                message.contains("File too large (os error 27)"),
                "{kind} {len} {message}"
            );
        }
        // What fits goes in, until the archive itself is full.
        write(&*sink, &noise(2, 40_000)).unwrap();
        let more = write(&*sink, &noise(3, 40_000)).map_err(|error| told(&error, &place));
        if kind.starts_with("oci:") {
            assert_eq!(more.map(|_| ()), Ok(()));
        } else {
            let full = "cannot write `HOST/archive.tar`: File too large (os error 27)";
            assert!(more.as_ref().unwrap_err().starts_with(full), "{more:?}");
            let closed = write(&*sink, b"x").unwrap_err();
            assert_eq!(
                told(&closed, &place),
                "archive `HOST/archive.tar` is malformed: writing it failed before"
            );
        }
        drop(sink);
        assert_eq!(hidden(folder.path()), Vec::<String>::new(), "{kind}");
    }
    assert!(!folder.path().join("layout/index.json").exists());
    assert!(!folder.path().join("archive.tar").exists());
}

#[test]
fn a_damaged_blob_of_the_right_length_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("layout");
    let transport = transport();
    let digest = Digest::sha256(b"content");
    let reference = format!("oci:{}:v1", place.display());
    let sink = sink(&transport, &reference);
    write(&*sink, b"content").unwrap();
    fs::write(place.join("blobs/sha256").join(digest.hex()), b"zeroes!").unwrap();
    assert!(!sink.has_blob(&digest, 7).unwrap());
    write(&*sink, b"content").unwrap();
    assert!(sink.has_blob(&digest, 7).unwrap());
}

#[test]
fn what_a_blob_begins_with_is_not_read_by_whoever_has_it() {
    let whole = ImageBuilder::new(Format::Docker)
        .layer(Layer::new(
            Tar::new().file("a", &noise(1, 5000)),
            Packing::Plain,
        ))
        .build();
    let digest = whole.layer_digest(0);
    let octets = whole.blobs().get(&digest).unwrap().clone();
    let mut damaged = octets.clone();
    damaged[9] ^= 1;
    let image = whole.with_blob(&digest, &damaged);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    image.write_layout(&path("layout"), "v1");
    fs::write(path("oci.tar"), image.oci_archive("v1")).unwrap();
    let docker = image.docker_archive(ArchiveKind::Classic, "demo/app:v1");
    fs::write(path("docker.tar"), docker).unwrap();
    let transport = transport();
    for place in [
        "oci:{}/layout:v1",
        "oci-archive:{}/oci.tar:v1",
        "docker-archive:{}/docker.tar",
    ] {
        let place = place.replace("{}", &folder.path().display().to_string());
        let source = source(&transport, &place);
        let blob = descriptor(&octets);
        for offset in [9, 10, octets.len() - 1, octets.len()] {
            let mut rest = Vec::new();
            let mut reader = source.blob_from(&blob, offset as u64).unwrap();
            reader.read_to_end(&mut rest).unwrap();
            assert!(rest == damaged[offset..], "{place} from {offset}");
        }
        let error = read(&*source, &blob).unwrap_err();
        assert!(matches!(error, Error::Mismatch { .. }), "{error}");
    }
}
