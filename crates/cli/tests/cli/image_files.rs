//! `cat` and `ls`: single files out of images, and how much of them is fetched for it.

use sealift_testkit::image::{
    ArchiveKind, Format, Image, ImageBuilder, IndexBuilder, Layer, Packing, Tar,
};
use sealift_testkit::noise;
use sealift_testkit::registry::{
    Effect, Fault, Operation, Options, Registry, RunningRegistry, Support,
};
use serde_json::Value;

use crate::tool::{Lab, Run};

/// Seals an image into a registry; returns its reference.
fn sealed(lab: &Lab, image: &Image, registry: &RunningRegistry, options: &[&str]) -> String {
    lab.key("key");
    image.write_layout(&lab.path("plain"), "v1");
    let reference = format!("{}/team/app:sealed", registry.host());
    let mut arguments = vec![
        "encrypt",
        "-q",
        "oci:plain:v1",
        &reference,
        "-r",
        "key.pub.pem",
    ];
    arguments.extend_from_slice(options);
    lab.sealift(&arguments).succeeds();
    registry.clear_log();
    reference
}

/// Pushes an image as it is; returns its reference.
fn clear(image: &Image, registry: &RunningRegistry) -> String {
    image.push(registry, "team/app", "clear");
    format!("{}/team/app:clear", registry.host())
}

fn one(layers: impl IntoIterator<Item = Layer>) -> Image {
    ImageBuilder::new(Format::Oci).layers(layers).build()
}

/// A tar of many files, and the content of one of them, which is 10 KiB long.
fn many(count: u64, len: usize) -> (Tar, Vec<u8>) {
    let wanted = noise(4711, 10 * 1024);
    let tar = (0..count).fold(Tar::new(), |tar, n| match n == count / 2 {
        true => tar.file("app/wanted", &wanted),
        false => tar.file(&format!("app/{:02}/file-{n}", n % 50), &noise(n, len)),
    });
    (tar, wanted)
}

/// Reads a file; returns its octets, what was told besides, and what else stood on standard error.
fn cat(lab: &Lab, arguments: &[&str]) -> (Vec<u8>, Value, String) {
    let mut all = vec!["cat", "--json"];
    all.extend_from_slice(arguments);
    let output = lab.command(&all).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let told = stderr.lines().find(|line| line.contains("schemaVersion"));
    let told = serde_json::from_str(told.unwrap()).unwrap();
    (output.stdout, told, stderr)
}

/// Octets of layer blobs that the registry was asked for in parts.
fn in_parts(registry: &RunningRegistry) -> u64 {
    let log = registry.log();
    let ranges = log.iter().filter_map(|entry| entry.header("range"));
    ranges
        .map(|range| {
            let (start, end) = range.trim_start_matches("bytes=").split_once('-').unwrap();
            end.parse::<u64>().unwrap() + 1 - start.parse::<u64>().unwrap()
        })
        .sum()
}

fn received(told: &Value) -> u64 {
    told["network"]["bytesReceived"].as_u64().unwrap()
}

#[test]
fn one_file_of_thousands_takes_less_than_a_hundredth_of_a_sealed_layer() {
    let (tar, wanted) = many(2000, 20 * 1024);
    let (zstd_tar, _) = many(2000, 20 * 1024);
    for layer in [
        Layer::estargz(tar, 4 << 20),
        Layer::zstd_chunked(zstd_tar, 64 << 10),
    ] {
        let lab = Lab::new();
        let registry = Registry::start(Options::default());
        let size = layer.octets().len() as u64;
        let reference = sealed(&lab, &one([layer]), &registry, &[]);
        let (content, told, stderr) = cat(&lab, &[&reference, "app/wanted", "-k", "key.pem"]);
        assert!(content == wanted);
        assert!(!stderr.contains("note"), "{stderr}");
        assert_eq!(told["size"], 10 * 1024);
        let layer = &told["layers"][0];
        assert_eq!(layer["whole"], Value::Null);
        assert!(received(&told) < size / 100, "{told} of {size}");
        assert_eq!(in_parts(&registry), layer["bytesRead"].as_u64().unwrap());
        // The beginning, the end, the table, the file.
        assert_eq!(registry.count(Operation::GetBlob), 1 + 4);

        let listed = lab
            .sealift(&["ls", "-R", &reference, "-k", "key.pem", "--json"])
            .json();
        assert_eq!(listed["entries"].as_array().unwrap().len(), 2000 + 50 + 1);
        assert!(received(&listed) < size / 100, "{}", listed["network"]);
    }
}

#[test]
fn a_tar_of_long_files_is_walked_by_its_headers() {
    let content = noise(1, 3 << 20);
    let tar = Tar::new()
        .file("a", &content)
        .file("b", &noise(2, 3 << 20))
        .file("c", b"end");
    let lab = Lab::new();
    let registry = Registry::start(Options::default());
    let image = one([Layer::new(tar, Packing::Plain)]);
    let reference = sealed(&lab, &image, &registry, &[]);
    let (end, told, _) = cat(&lab, &[&reference, "c", "-k", "key.pem"]);
    assert_eq!(end, b"end");
    assert!(received(&told) < 1 << 20, "{told}");
    let (first, ..) = cat(&lab, &[&reference, "a", "-k", "key.pem"]);
    assert!(first == content);
}

#[test]
fn a_tar_of_short_files_takes_few_requests() {
    let (tar, wanted) = many(2000, 2000);
    let lab = Lab::new();
    let registry = Registry::start(Options::default());
    let image = one([Layer::new(tar, Packing::Plain)]);
    let reference = sealed(&lab, &image, &registry, &[]);
    let (content, ..) = cat(&lab, &[&reference, "app/wanted", "-k", "key.pem"]);
    assert!(content == wanted);
    let requests = registry.count(Operation::GetBlob);
    assert!(requests < 20, "{requests}");
}

#[test]
fn packed_layers_without_a_table_are_read_whole_and_that_is_said() {
    for packing in [Packing::Gzip, Packing::Zstd] {
        let tar = Tar::new()
            .file("a", &noise(1, 200_000))
            .file("b", b"content");
        let lab = Lab::new();
        let registry = Registry::start(Options::default());
        let reference = sealed(&lab, &one([Layer::new(tar, packing)]), &registry, &[]);
        let run = lab.sealift(&["cat", &reference, "b", "-k", "key.pem"]);
        assert!(
            run.stderr
                .contains("note: layer 0 has no table of contents: all of it is read (19"),
            "{}",
            run.stderr
        );
        assert_eq!(run.succeeds(), "content");
    }
}

#[test]
fn a_layer_of_ocicrypt_is_read_whole_before_anything_is_shown() {
    let tar = Tar::new()
        .file("a", &noise(1, 100_000))
        .file("b", b"content");
    let lab = Lab::new();
    let registry = Registry::start(Options::default());
    let image = one([Layer::estargz(tar, 1000)]);
    let reference = sealed(&lab, &image, &registry, &["--cipher", "ocicrypt"]);
    let run = lab.sealift(&["cat", &reference, "b", "-k", "key.pem"]);
    let note =
        "note: layer 0 is of a cipher that authenticates it only as a whole: all of it is read";
    assert!(run.stderr.contains(note), "{}", run.stderr);
    assert_eq!(run.succeeds(), "content");
    assert_eq!(in_parts(&registry), 0);

    let layer = blob_of_layer(&registry, 0);
    alter(&registry, &layer, 50_000);
    lab.sealift(&["cat", &reference, "b", "-k", "key.pem"])
        .fails(4, "has digest");
}

#[test]
fn a_registry_without_parts_is_read_whole_and_that_is_said() {
    let tar = Tar::new()
        .file("a", &noise(1, 100_000))
        .file("b", b"content");
    let lab = Lab::new();
    let registry = Registry::start(Options {
        ranges: Support::No,
        ..Options::default()
    });
    let image = one([Layer::estargz(tar, 1000)]);
    let reference = sealed(&lab, &image, &registry, &[]);
    let run = lab.sealift(&["cat", &reference, "b", "-k", "key.pem"]);
    let note = "note: layer 0 is in a registry that serves no parts of it: all of it is read";
    assert!(run.stderr.contains(note), "{}", run.stderr);
    assert_eq!(run.succeeds(), "content");
    // One that gives the whole although a part was asked for, in the middle of it all.
    let lab = Lab::new();
    let registry = Registry::start(Options::default());
    let reference = sealed(&lab, &image, &registry, &[]);
    registry.set_fault(Fault::on(Operation::GetBlob, Effect::WholeBody).after(2));
    let run = lab.sealift(&["cat", &reference, "b", "-k", "key.pem"]);
    assert!(run.stderr.contains("no parts"), "{}", run.stderr);
    assert_eq!(run.succeeds(), "content");
}

#[test]
fn of_a_layer_in_clear_parts_are_read_only_if_the_manifest_vouches_for_them() {
    let tar = || {
        Tar::new()
            .file("a", &noise(1, 300_000))
            .file("b", b"content")
    };
    let lab = Lab::new();
    for layer in [
        Layer::estargz(tar(), 10_000),
        Layer::zstd_chunked(tar(), 10_000),
    ] {
        let registry = Registry::start(Options::default());
        let reference = clear(&one([layer.clone()]), &registry);
        let (content, told, stderr) = cat(&lab, &[&reference, "b"]);
        assert_eq!(content, b"content");
        assert!(!stderr.contains("note"), "{stderr}");
        assert!(received(&told) < 30_000, "{told}");
        // What is not what the manifest says never comes out, neither table nor content.
        let blob = blob_of_layer(&registry, 0);
        let len = layer.octets().len();
        for at in [len - 200, len - 600] {
            alter(&registry, &blob, at);
            lab.sealift(&["cat", &reference, "b"])
                .fails(4, "cannot read the files of layer");
            alter(&registry, &blob, at);
        }
        alter(&registry, &blob, 100_000);
        let output = lab.command(&["cat", &reference, "a"]).output().unwrap();
        assert_eq!(output.status.code(), Some(4));
        assert!(noise(1, 300_000).starts_with(&output.stdout));
        assert!(output.stdout.len() < 100_000);
        assert_eq!(lab.sealift(&["cat", &reference, "b"]).succeeds(), "content");
    }
    // Nor a piece without a digest of its own: then the whole must have its digest, and nothing unpacks wrong by chance.
    let registry = Registry::start(Options::default());
    let layer = Layer::zstd_chunked_without_digests(tar(), 10_000);
    let reference = clear(&one([layer]), &registry);
    let (content, _, stderr) = cat(&lab, &[&reference, "a"]);
    assert!(content == noise(1, 300_000));
    assert!(stderr.contains("layer 0 is in clear"), "{stderr}");
    alter(&registry, &blob_of_layer(&registry, 0), 100_000);
    let run = lab.sealift(&["cat", &reference, "a"]);
    assert_eq!((run.code, run.stdout.as_str()), (4, ""), "{}", run.stderr);
    // Without the digest of a table the whole must have its digest.
    let registry = Registry::start(Options::default());
    let reference = clear(&one([Layer::new(tar(), Packing::Plain)]), &registry);
    let run = lab.sealift(&["cat", &reference, "b"]);
    assert!(run.stderr.contains("layer 0 is in clear"), "{}", run.stderr);
    assert_eq!(run.succeeds(), "content");
    alter(&registry, &blob_of_layer(&registry, 0), 10);
    lab.sealift(&["cat", &reference, "b"])
        .fails(4, "has digest");
}

/// Returns the digest of a layer of the image that was pushed last.
fn blob_of_layer(registry: &RunningRegistry, index: usize) -> String {
    let tag = registry.tags("team/app")[0].clone();
    let (_, manifest) = registry.manifest("team/app", &tag).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    manifest["layers"][index]["digest"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// Turns an octet of a blob around, which keeps its digest.
fn alter(registry: &RunningRegistry, digest: &str, at: usize) {
    let mut octets = registry.blob("team/app", digest).unwrap();
    octets[at] ^= 0x10;
    registry.put_blob_as("team/app", digest, &octets);
}

#[test]
fn altered_and_cut_layers_show_nothing_that_is_not_authentic() {
    let content = noise(1, 300_000);
    let tar = Tar::new().file("a", &content).file("b", b"content");
    let lab = Lab::new();
    let registry = Registry::start(Options::default());
    let image = one([Layer::new(tar, Packing::Plain)]);
    let reference = sealed(&lab, &image, &registry, &[]);
    let digest = blob_of_layer(&registry, 0);
    let sound = registry.blob("team/app", &digest).unwrap();
    let header = u32::from_be_bytes(sound[8..12].try_into().unwrap()) as usize;
    let chunk = |index: usize| 12 + header + 56 + index * 16_400;
    // The fifth chunk: what is in front of it may have been written, nothing behind.
    alter(&registry, &digest, chunk(5));
    let output = lab
        .command(&["cat", &reference, "a", "-k", "key.pem"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(content.starts_with(&output.stdout));
    assert!(output.stdout.len() <= 5 * 16_384);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("cause: layer failed authentication"),
        "{stderr}"
    );
    alter(&registry, &digest, chunk(5));
    // The salt, the first header, the last chunk.
    for at in [chunk(0) - 56, chunk(0), sound.len() - 1] {
        alter(&registry, &digest, at);
        lab.sealift(&["cat", &reference, "b", "-k", "key.pem"])
            .fails(4, "cannot open layer");
        alter(&registry, &digest, at);
    }
    for len in [chunk(3), 100, 0] {
        registry.put_blob_as("team/app", &digest, &sound[..len]);
        let run = lab.sealift(&["cat", &reference, "b", "-k", "key.pem"]);
        assert_eq!((run.code, run.stdout.as_str()), (4, ""), "{}", run.stderr);
    }
    // Another whole sealed layer in its place.
    registry.put_blob_as("team/app", &digest, &sound);
    lab.sealift(&["cat", &reference, "b", "-k", "key.pem"])
        .succeeds();
}

#[test]
fn keys_that_do_not_fit_and_files_that_are_not_there_have_exit_codes_of_their_own() {
    let tar = Tar::new()
        .file("etc/a", b"a")
        .link("loop", "loop")
        .link("dangling", "nowhere");
    let lab = Lab::new();
    let registry = Registry::start(Options::default());
    let reference = sealed(
        &lab,
        &one([Layer::new(tar, Packing::Plain)]),
        &registry,
        &[],
    );
    lab.key("other");
    let cat = |path: &str, key: &str| lab.sealift(&["cat", &reference, path, "-k", key]);
    cat("etc/a", "other.pem").fails(3, "no key fits layer");
    lab.sealift(&["cat", &reference, "etc/a"])
        .fails(3, "no key fits layer");
    cat("etc/b", "key.pem").fails(7, "there is no `/etc/b` in image sha256:");
    cat("etc/a/b", "key.pem").fails(7, "there is no `/etc/a/b`");
    cat("dangling", "key.pem").fails(7, "there is no `/nowhere`");
    cat("etc", "key.pem").fails(1, "`/etc` is a directory, not a file");
    cat("loop", "key.pem").fails(1, "`/loop` leads through too many links");
    assert_eq!(cat("../../etc/./a", "key.pem").succeeds(), "a");
    let ls = |path: &str| lab.sealift(&["ls", &reference, path, "-k", "key.pem"]);
    ls("none").fails(7, "there is no `/none`");
    assert_eq!(
        ls("/").succeeds(),
        "dangling -> nowhere\netc/\nloop -> loop"
    );
    assert_eq!(ls("etc/a").succeeds(), "a");
    assert_eq!(ls("dangling").succeeds(), "dangling -> nowhere");
}

fn layered() -> Image {
    one([
        Layer::new(
            Tar::new()
                .folder("etc")
                .file("etc/old", b"old")
                .file("etc/keep", b"keep")
                .file("usr/bin/sh", b"#!")
                .link("bin", "usr/bin")
                .file("opt/a/b", b"b"),
            Packing::Plain,
        ),
        Layer::estargz(
            Tar::new()
                .whiteout("etc/old")
                .hard_link("etc/kept", "etc/keep")
                .opaque("opt")
                .file("opt/new", b"new"),
            1000,
        ),
        Layer::zstd_chunked(
            Tar::new()
                .file("etc/top", b"top")
                .file("etc/line\n\u{1b}[2J", b"x"),
            1000,
        ),
    ])
}

#[test]
fn layers_show_together_what_they_show_when_unpacked() {
    let lab = Lab::new();
    let registry = Registry::start(Options::default());
    let reference = sealed(&lab, &layered(), &registry, &[]);
    let cat = |path: &str| lab.sealift(&["cat", &reference, path, "-k", "key.pem"]);
    for (path, content) in [
        ("etc/top", "top"),
        ("/etc/kept", "keep"),
        ("bin/sh", "#!"),
        ("opt/new", "new"),
    ] {
        assert_eq!(cat(path).succeeds(), content, "{path}");
    }
    for path in ["etc/old", "opt/a/b"] {
        cat(path).fails(7, "there is no");
    }
    let ls = |arguments: &[&str]| {
        let mut all = vec!["ls", &reference, "-k", "key.pem"];
        all.extend_from_slice(arguments);
        lab.sealift(&all).succeeds()
    };
    assert_eq!(ls(&[]), "bin -> usr/bin\netc/\nopt/\nusr/");
    assert_eq!(ls(&["etc"]), "keep\nkept\nline\\n\\u{1b}[2J\ntop");
    assert_eq!(ls(&["bin"]), "sh");
    let expected = "\
/bin -> usr/bin
/etc/
/opt/
/usr/
/etc/keep
/etc/kept
/etc/line\\n\\u{1b}[2J
/etc/top
/opt/new
/usr/bin/
/usr/bin/sh";
    assert_eq!(ls(&["-R"]), expected);
    let expected = "\
lrwxrwxrwx     0     0          0 1970-01-01T00:00:00Z bin -> usr/bin
drwxr-xr-x     0     0          0 1970-01-01T00:00:00Z etc/
d?????????     0     0          0 1970-01-01T00:00:00Z opt/
d?????????     0     0          0 1970-01-01T00:00:00Z usr/";
    assert_eq!(ls(&["-l"]), expected);
    let json: Value = serde_json::from_str(&ls(&["etc", "--json"])).unwrap();
    assert_eq!(json["schemaVersion"], 1);
    assert_eq!(json["path"], "etc");
    let kept = &json["entries"][1];
    let expected = serde_json::json!({
        "path": "/etc/kept", "type": "file", "mode": "0755", "uid": 0, "gid": 0, "size": 4,
        "modified": "1970-01-01T00:00:00Z", "target": null, "layer": 1,
    });
    assert_eq!(*kept, expected);
    let empty: Value = serde_json::from_str(&ls(&["--json", "opt"])).unwrap();
    assert_eq!(empty["entries"].as_array().unwrap().len(), 1);
}

#[test]
fn no_layer_below_the_one_that_decides_is_fetched() {
    let lab = Lab::new();
    let registry = Registry::start(Options::default());
    let reference = sealed(&lab, &layered(), &registry, &[]);
    let base = blob_of_layer(&registry, 0);
    let (.., told, _) = cat(&lab, &[&reference, "etc/top", "-k", "key.pem"]);
    assert_eq!(told["layers"].as_array().unwrap().len(), 1);
    lab.sealift(&["cat", &reference, "etc/old", "-k", "key.pem"])
        .fails(7, "there is no `/etc/old`");
    let asked = registry
        .log()
        .iter()
        .any(|entry| entry.path.ends_with(&base));
    assert!(!asked);
}

#[test]
fn one_image_of_an_index_is_chosen() {
    let child = |platform: &str| {
        ImageBuilder::new(Format::Oci)
            .layer(Layer::new(
                Tar::new().file("which", platform.as_bytes()),
                Packing::Plain,
            ))
            .platform(platform)
            .build()
    };
    let lab = Lab::new();
    let registry = Registry::start(Options::default());
    let index = [
        "linux/amd64",
        "linux/arm64/v8",
        "linux/arm/v6",
        "linux/arm/v7",
    ]
    .into_iter()
    .fold(IndexBuilder::new(Format::Oci), |index, platform| {
        index.child(child(platform))
    })
    .build();
    let reference = clear(&index, &registry);
    let cat = |options: &[&str]| {
        let mut all = vec!["cat", "-q", &reference, "which"];
        all.extend_from_slice(options);
        lab.sealift(&all)
    };
    let here = match std::env::consts::ARCH {
        "x86_64" => Some("linux/amd64"),
        "aarch64" => Some("linux/arm64/v8"),
        _ => None,
    };
    if let (Some(here), false) = (here, cfg!(windows)) {
        assert_eq!(cat(&[]).succeeds(), here);
    }
    let of = |platform: &str| cat(&["--platform", platform]);
    assert_eq!(of("linux/arm64").succeeds(), "linux/arm64/v8");
    assert_eq!(of("linux/arm/v6").succeeds(), "linux/arm/v6");
    of("linux/arm").fails(
        2,
        "2 images suit platform linux/arm; there are linux/amd64,",
    );
    of("windows/amd64").fails(7, "no image for platform windows/amd64; there are");
    // An image that is in no index is looked at whatever it is of, unless another one is asked for.
    let registry = Registry::start(Options::default());
    let reference = clear(&child("linux/s390x"), &registry);
    let run = lab.sealift(&["cat", "-q", &reference, "which"]);
    assert_eq!(run.succeeds(), "linux/s390x");
    lab.sealift(&[
        "cat",
        "-q",
        &reference,
        "which",
        "--platform",
        "linux/amd64",
    ])
    .fails(7, "no image for platform linux/amd64");
}

#[test]
fn files_come_out_of_layouts_and_archives_too() {
    let lab = Lab::new();
    lab.key("key");
    let image = layered();
    image.write_layout(&lab.path("plain"), "v1");
    lab.sealift(&[
        "encrypt",
        "-q",
        "oci:plain:v1",
        "oci:sealed:v1",
        "-r",
        "key.pub.pem",
    ])
    .succeeds();
    lab.sealift(&["copy", "-q", "oci:sealed:v1", "oci-archive:sealed.tar:v1"])
        .succeeds();
    let docker = ImageBuilder::new(Format::Docker)
        .layer(Layer::new(
            Tar::new().file("etc/top", b"top"),
            Packing::Plain,
        ))
        .build()
        .docker_archive(ArchiveKind::Classic, "demo/app:v1");
    lab.write("docker.tar", &docker);
    for place in [
        "oci:sealed:v1",
        "oci-archive:sealed.tar:v1",
        "oci:plain:v1",
        "docker-archive:docker.tar",
    ] {
        let run = lab.sealift(&["cat", place, "etc/top", "-k", "key.pem"]);
        assert_eq!(run.succeeds(), "top", "{place}");
    }
}

#[test]
fn windows_layers_that_registries_must_not_store_are_left_out_with_a_note() {
    let base = Layer::new(Tar::new().file("Files/base", b"base"), Packing::Gzip)
        .foreign("https://example.invalid/base");
    let top = Layer::new(
        Tar::new()
            .file("Files/app/a.txt", b"app")
            .file("Hives/x", b"x"),
        Packing::Gzip,
    );
    let image = ImageBuilder::new(Format::Oci)
        .layers([base, top])
        .platform("windows/amd64:10.0.20348.1")
        .build();
    let lab = Lab::new();
    let registry = Registry::start(Options::default());
    let reference = clear(&image, &registry);
    let run = lab.sealift(&["ls", "-R", &reference]);
    assert!(
        run.stderr.contains("its files are left out"),
        "{}",
        run.stderr
    );
    assert_eq!(
        run.succeeds(),
        "/Files/\n/Hives/\n/Files/app/\n/Files/app/a.txt\n/Hives/x"
    );
    let run: Run = lab.sealift(&["cat", "-q", &reference, "Files/app/a.txt"]);
    assert_eq!(run.succeeds(), "app");
}
