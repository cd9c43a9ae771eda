//! Single files out of docker-registry, from layers that other programs packed: `testdata/files/README.md`.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use sealift_peers::Lab;
use sealift_peers::keys::{KeyPair, KeyType};
use sealift_peers::lab::workspace;
use sealift_peers::registry::{Access, Registry};
use sealift_testkit::image::{Format, ImageBuilder, Layer, Packing};

/// Returns an image with a layer that was packed elsewhere, with the annotations that its packer told.
fn image(name: &str, annotations: &str, packing: Packing) -> sealift_testkit::image::Image {
    let folder = workspace().join("testdata/files");
    let blob = fs::read(folder.join(name)).unwrap();
    let mut layer = Layer::packed(blob, Vec::new(), packing);
    for line in fs::read_to_string(folder.join(annotations))
        .unwrap()
        .lines()
    {
        let (key, value) = line.split_once('=').unwrap();
        layer = layer.annotation(key, value);
    }
    ImageBuilder::new(Format::Oci).layer(layer).build()
}

#[test]
fn files_of_layers_that_others_packed_come_out_of_docker_registry() {
    let Some(lab) = Lab::needing(&["docker-registry", "htpasswd", "openssl"]) else {
        return;
    };
    let registry = Registry::start(&lab, Access::Open);
    let key = KeyPair::generate(&lab, "key", KeyType::P256);
    let identity = key.identity();
    for (name, annotations, packing) in [
        ("estargz.tar.gz", "estargz.annotations", Packing::Gzip),
        (
            "zstd-chunked.tar.zst",
            "zstd-chunked.annotations",
            Packing::Zstd,
        ),
    ] {
        let folder = lab.path(name);
        image(name, annotations, packing).write_layout(&folder, "v1");
        let plain = format!("oci:{}:v1", folder.display());
        let clear = format!("docker://{}/files/clear:v1", registry.address());
        let sealed = format!("docker://{}/files/sealed:v1", registry.address());
        lab.sealift(&["copy", "-q", &plain, &clear]).succeeded();
        lab.sealift(&["encrypt", "-q", &plain, &sealed, "-r", &key.recipient()])
            .succeeded();
        for reference in [&clear, &sealed] {
            let cat = |path: &str| {
                let run = lab.sealift(&["cat", reference, path, "-k", &identity]);
                run.succeeded().answer().to_owned()
            };
            assert_eq!(cat("etc/link"), "root:x:0:0::/root:/bin/sh", "{reference}");
            assert_eq!(cat(&format!("{}/grün", "long".repeat(40))), "grün");
            let listed = lab.sealift(&["ls", "-l", reference, "etc", "-k", &identity]);
            let listed = listed.succeeded().answer().to_owned();
            let expected = "\
-rw-r--r--     7     8          0 1994-11-06T08:49:37Z empty
-rw-r--r--     7     8         26 1994-11-06T08:49:37Z hard
lrwxrwxrwx     7     8          0 1994-11-06T08:49:37Z link -> ../etc/passwd
-rw-r--r--     7     8       2500 1994-11-06T08:49:37Z long
-rw-r--r--     7     8     200000 1994-11-06T08:49:37Z noise
-rw-r--r--     7     8         26 1994-11-06T08:49:37Z passwd
prw-r--r--     7     8          0 1994-11-06T08:49:37Z pipe";
            // GNU tar gives links the mode that it was told.
            assert_eq!(
                listed.replace("lrwxr-xr-x", "lrwxrwxrwx"),
                expected,
                "{reference}"
            );
            // Nothing had to be read whole.
            let run = lab.sealift(&["cat", reference, "etc/long", "-k", &identity, "--json"]);
            let told = run.succeeded();
            assert!(told.stderr.contains(r#""whole":null"#), "{}", told.stderr);
        }
    }
}
