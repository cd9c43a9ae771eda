//! Images are what their builder was told: right by default, wrong on request, the same on every run.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::io::Read;

use sealift_testkit::image::{
    ArchiveKind, Format, Image, ImageBuilder, IndexBuilder, Layer, Packing, Tar, bare, deep,
    many_layers,
};
use sealift_testkit::registry::{Options, Registry};
use sealift_testkit::{noise, sha256};
use serde_json::{Value, json};

/// Path, link target and content of each entry of a tar.
fn entries(tar: &[u8]) -> Vec<(String, String, Vec<u8>)> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let target = entry.link_name().unwrap().unwrap_or_default();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        (path, target.to_str().unwrap().to_owned(), content)
    });
    entries.collect()
}

fn files(tar: &[u8]) -> BTreeMap<String, Vec<u8>> {
    entries(tar)
        .into_iter()
        .map(|(path, _, content)| (path, content))
        .collect()
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn three_layers(format: Format) -> Image {
    ImageBuilder::new(format)
        .layer(Layer::new(Tar::new().file("a", b"A"), Packing::Plain))
        .layer(Layer::new(Tar::new().file("b", b"B"), Packing::Gzip))
        .layer(Layer::new(Tar::new().whiteout("a"), Packing::Zstd).annotation("k", "v"))
        .build()
}

#[test]
fn a_tar_holds_what_was_added() {
    let tar = Tar::new()
        .folder("etc")
        .file("etc/motd", b"hi")
        .link("etc/link", "motd")
        .whiteout("etc/old")
        .whiteout("top")
        .opaque("var")
        .build();
    let found: Vec<_> = entries(&tar)
        .into_iter()
        .map(|(path, target, content)| {
            format!("{path} {target} {}", String::from_utf8(content).unwrap())
        })
        .collect();
    let expected = [
        "etc  ",
        "etc/motd  hi",
        "etc/link motd ",
        "etc/.wh.old  ",
        ".wh.top  ",
        "var/.wh..wh..opq  ",
    ];
    assert_eq!(found, expected);
}

#[test]
fn packing_can_be_undone_by_others() {
    let octets = noise(1, 100_000);
    assert_eq!(Packing::Plain.pack(&octets), octets);
    let mut unpacked = Vec::new();
    let packed = Packing::Gzip.pack(&octets);
    flate2::read::GzDecoder::new(&*packed)
        .read_to_end(&mut unpacked)
        .unwrap();
    assert_eq!(unpacked, octets);
    assert_eq!(
        zstd::decode_all(&*Packing::Zstd.pack(&octets)).unwrap(),
        octets
    );
}

#[test]
fn an_image_names_its_blobs_by_their_digests() {
    let image = three_layers(Format::Oci);
    for (digest, bytes) in image.blobs() {
        assert_eq!(*digest, sha256(bytes));
    }
    let manifest = image.json();
    let blob = |descriptor: &Value| {
        let bytes = &image.blobs()[descriptor["digest"].as_str().unwrap()];
        assert_eq!(descriptor["size"], bytes.len());
        bytes.clone()
    };
    let config = json(&blob(&manifest["config"]));
    let tars: Vec<_> = [("a", "A"), ("b", "B")]
        .map(|(path, content)| Tar::new().file(path, content.as_bytes()).build())
        .into_iter()
        .chain([Tar::new().whiteout("a").build()])
        .collect();
    let diff_ids: Vec<_> = tars.iter().map(|tar| sha256(tar)).collect();
    assert_eq!(
        config["rootfs"],
        json!({"type": "layers", "diff_ids": diff_ids})
    );
    assert_eq!(
        (&config["os"], &config["architecture"]),
        (&json!("linux"), &json!("amd64"))
    );
    assert_eq!(blob(&manifest["layers"][0]), tars[0]);
    assert_eq!(image.layer_digest(1), sha256(&Packing::Gzip.pack(&tars[1])));
    assert_eq!(manifest["layers"][2]["annotations"], json!({"k": "v"}));
}

#[test]
fn types_follow_format_packing_and_place() {
    let types = |format| {
        let plain = |packing| Layer::of(vec![0], packing);
        let foreign = |packing| plain(packing).foreign("https://example.com/layer");
        let image = ImageBuilder::new(format)
            .layers([Packing::Plain, Packing::Gzip, Packing::Zstd].map(plain))
            .layers([Packing::Plain, Packing::Gzip].map(foreign))
            .build();
        let manifest = image.json();
        let layers = manifest["layers"].as_array().unwrap();
        let types = layers
            .iter()
            .map(|l| l["mediaType"].as_str().unwrap().to_owned());
        (image.media_type().to_owned(), types.collect::<Vec<_>>())
    };
    let (manifest, layers) = types(Format::Oci);
    assert_eq!(manifest, "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(
        layers,
        [
            "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "application/vnd.oci.image.layer.v1.tar+zstd",
            "application/vnd.oci.image.layer.nondistributable.v1.tar",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        ]
    );
    let (manifest, layers) = types(Format::Docker);
    assert_eq!(
        manifest,
        "application/vnd.docker.distribution.manifest.v2+json"
    );
    assert_eq!(
        layers,
        [
            "application/vnd.docker.image.rootfs.diff.tar",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
            "application/vnd.docker.image.rootfs.diff.tar.zstd",
            "application/vnd.docker.image.rootfs.foreign.diff.tar",
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        ]
    );
}

#[test]
fn the_same_calls_make_the_same_image() {
    assert_eq!(
        three_layers(Format::Oci).digest(),
        three_layers(Format::Oci).digest()
    );
    assert_ne!(
        three_layers(Format::Oci).digest(),
        three_layers(Format::Docker).digest()
    );
}

#[test]
fn an_index_describes_its_platforms() {
    let child = |platform: &str| ImageBuilder::new(Format::Oci).platform(platform).build();
    let windows = child("windows/amd64:10.0.20348.1");
    let index = IndexBuilder::new(Format::Oci)
        .child(child("linux/arm/v7"))
        .child(windows.clone())
        .annotation("k", "v")
        .build();
    let document = index.json();
    assert_eq!(document["annotations"], json!({"k": "v"}));
    assert_eq!(
        document["manifests"][0]["platform"],
        json!({"os": "linux", "architecture": "arm", "variant": "v7"})
    );
    assert_eq!(
        document["manifests"][1],
        json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": windows.digest(),
            "size": windows.bytes().len(),
            "platform": {"os": "windows", "architecture": "amd64", "os.version": "10.0.20348.1"},
        })
    );
    assert_eq!(index.documents().last(), Some(&index.digest()));
}

#[test]
fn an_attestation_points_to_its_image() {
    let image = many_layers(1);
    let index = IndexBuilder::new(Format::Oci)
        .attested(image.clone())
        .build();
    let second = &index.json()["manifests"][1];
    assert_eq!(
        second["platform"],
        json!({"os": "unknown", "architecture": "unknown"})
    );
    assert_eq!(
        second["annotations"],
        json!({
            "vnd.docker.reference.digest": image.digest(),
            "vnd.docker.reference.type": "attestation-manifest",
        })
    );
}

#[test]
fn lies_change_only_what_they_name() {
    let image = three_layers(Format::Docker);
    let layer = image.layer_digest(1);
    let size = image.clone().edited(|m| m["layers"][1]["size"] = 7.into());
    assert_eq!(
        (
            size.json()["layers"][1]["size"].clone(),
            size.layer_digest(1)
        ),
        (json!(7), layer.clone())
    );
    assert_eq!(size.blobs(), image.blobs());
    assert_eq!(
        size.edited(|m| m["layers"][1]["size"] = image.json()["layers"][1]["size"].clone())
            .digest(),
        image.digest()
    );
    let short = image.clone().with_blob(&layer, b"short");
    assert_eq!(
        (short.digest(), &short.blobs()[&layer][..]),
        (image.digest(), b"short".as_slice())
    );
    let gone = image.clone().without_blob(&layer);
    assert_eq!(
        (gone.digest(), gone.blobs().get(&layer)),
        (image.digest(), None)
    );
    let other = image.replaced(b"{\"a\":1,\"a\":2}");
    assert_eq!(
        (other.bytes(), other.digest()),
        (b"{\"a\":1,\"a\":2}".as_slice(), sha256(other.bytes()))
    );
}

#[test]
fn absurd_images_are_as_absurd_as_asked() {
    assert_eq!(
        many_layers(5000).json()["layers"].as_array().unwrap().len(),
        5000
    );
    let deep = deep(12);
    assert_eq!(deep.documents().len(), 13);
    let mut documents = deep.documents().into_iter().rev();
    assert_eq!(documents.next(), Some(deep.digest()));
    assert_eq!(
        deep.json()["manifests"][0]["digest"].as_str(),
        documents.next().as_deref()
    );
    let bare = bare("text/plain", b"hello");
    assert_eq!(
        (bare.media_type(), bare.bytes()),
        ("text/plain", b"hello".as_slice())
    );
    let empty = ImageBuilder::new(Format::Oci)
        .layer(Layer::of(Vec::new(), Packing::Plain))
        .build();
    assert_eq!(empty.json()["layers"][0]["size"], 0);
}

#[test]
fn a_pushed_image_is_what_the_registry_shows() {
    let registry = Registry::start(Options::default());
    let image = three_layers(Format::Oci);
    let foreign = ImageBuilder::new(Format::Docker)
        .layer(Layer::of(vec![1], Packing::Gzip).foreign("https://example.com/layer"))
        .build();
    let index = IndexBuilder::new(Format::Oci)
        .child(image.clone())
        .child(foreign.clone())
        .build();
    index.push(&registry, "demo/app", "v1");
    assert_eq!(
        registry.manifest("demo/app", "v1"),
        Some((Format::Oci.index().into(), index.bytes().to_vec()))
    );
    assert_eq!(
        registry.manifest("demo/app", &foreign.digest()),
        Some((Format::Docker.manifest().into(), foreign.bytes().to_vec()))
    );
    let mut expected: Vec<_> = index.blobs().keys().cloned().collect();
    expected.retain(|digest| *digest != foreign.layer_digest(0));
    assert_eq!(registry.blobs("demo/app"), expected);
}

#[test]
fn a_layout_takes_several_images() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (three_layers(Format::Oci), many_layers(2));
    one.write_layout(folder.path(), "one");
    two.write_layout(folder.path(), "two");
    let read = |path: &str| std::fs::read(folder.path().join(path)).unwrap();
    assert_eq!(read("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#);
    let index = json(&read("index.json"));
    for (entry, (image, name)) in [(&one, "one"), (&two, "two")].into_iter().enumerate() {
        let entry = &index["manifests"][entry];
        assert_eq!(entry["digest"], image.digest());
        assert_eq!(
            entry["annotations"],
            json!({"org.opencontainers.image.ref.name": name})
        );
        let hex = image.digest().replace("sha256:", "");
        assert_eq!(read(&format!("blobs/sha256/{hex}")), image.bytes());
        for (digest, bytes) in image.blobs() {
            assert_eq!(read(&format!("blobs/{}", digest.replace(':', "/"))), *bytes);
        }
    }
}

#[test]
fn an_oci_archive_is_a_layout_in_a_tar() {
    let image = three_layers(Format::Oci);
    let files = files(&image.oci_archive("v1"));
    assert_eq!(
        json(&files["index.json"])["manifests"][0]["digest"],
        image.digest()
    );
    let hex = image.digest().replace("sha256:", "");
    assert_eq!(files[&format!("blobs/sha256/{hex}")], image.bytes());
    assert_eq!(files.len(), 2 + 1 + image.blobs().len());
}

#[test]
fn a_classic_docker_archive_holds_tars_and_links_what_repeats() {
    let repeated = Layer::new(Tar::new().file("a", b"A"), Packing::Gzip);
    let other = Layer::new(Tar::new().file("b", b"B"), Packing::Zstd);
    let image = ImageBuilder::new(Format::Docker)
        .layers([repeated.clone(), other, repeated])
        .build();
    let archive = image.docker_archive(ArchiveKind::Classic, "demo/app:v1");
    let files = files(&archive);
    let list = json(&files["manifest.json"]);
    assert_eq!(list[0]["RepoTags"], json!(["demo/app:v1"]));
    let config = list[0]["Config"].as_str().unwrap();
    let digest = image.json()["config"]["digest"].clone();
    assert_eq!(json!(sha256(&files[config])), digest);
    assert_eq!(
        config.replace(".json", ""),
        digest.as_str().unwrap().replace("sha256:", "")
    );
    let paths: Vec<_> = (0..3)
        .map(|n| list[0]["Layers"][n].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(entries(&files[&paths[0]])[0].2, b"A");
    assert_eq!(entries(&files[&paths[1]])[0].2, b"B");
    let link = entries(&archive)
        .into_iter()
        .find(|(path, ..)| *path == paths[2])
        .unwrap();
    assert_eq!(link.1, format!("../{}", paths[0]));
}

#[test]
fn a_docker_archive_of_today_is_a_layout_too() {
    let image = three_layers(Format::Oci);
    let files = files(&image.docker_archive(ArchiveKind::Layout, "demo/app:v1"));
    let list = json(&files["manifest.json"]);
    assert_eq!(
        json(&files["index.json"])["manifests"][0]["digest"],
        image.digest()
    );
    let layer = list[0]["Layers"][1].as_str().unwrap();
    assert_eq!(sha256(&files[layer]), image.layer_digest(1));
    assert_eq!(
        json(&files[list[0]["Config"].as_str().unwrap()])["os"],
        "linux"
    );
}
