//! What is sealed besides layers: original manifests and configurations.

use sealift_image::{Kind, Metadata, OriginalManifest, Seal, Selection};
use sealift_testkit::image::{Format, ImageBuilder, Packing};

use crate::bench::{Bench, both_ciphers, image, layer, names_nothing, replace_sealed_manifest};

#[test]
fn an_original_that_names_other_layers_is_refused() {
    // The sealed manifest of one image gets the layers of another: whoever has no key cannot make the originals fit.
    let bench = Bench::with(&image(Format::Oci, Packing::Gzip));
    bench.seal(|_| {}).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_slice(&bench.root("sealed")).unwrap();
    let layers = manifest["layers"].as_array_mut().unwrap();
    layers.swap(0, 1);
    replace_sealed_manifest(&bench, &manifest);
    assert_eq!(
        bench.open(Selection::default()).unwrap_err().kind(),
        Kind::Integrity
    );
    assert!(names_nothing(&bench.folder.path().join("opened")));
}

#[test]
fn an_image_that_lost_a_layer_is_not_restored() {
    both_ciphers(|cipher| {
        for lost in [0, 1] {
            let original = image(Format::Oci, Packing::Gzip);
            let bench = Bench::with(&original);
            bench.seal(|seal| seal.cipher = cipher).unwrap();
            let mut manifest: serde_json::Value =
                serde_json::from_slice(&bench.root("sealed")).unwrap();
            manifest["layers"].as_array_mut().unwrap().remove(lost);
            replace_sealed_manifest(&bench, &manifest);
            match bench.open(Selection::default()) {
                Err(error) => assert_eq!(error.kind(), Kind::Integrity, "{error}"),
                // The key of the original went with the layer.
                Ok(outcome) => {
                    assert_ne!(outcome.digest.to_string(), original.digest());
                    let notices = bench.notices.0.lock().unwrap();
                    assert!(
                        notices.iter().any(|text| text.contains("another digest")),
                        "{notices:?}"
                    );
                }
            }
            assert_eq!(
                bench.verified("sealed").unwrap_err().kind(),
                Kind::Integrity
            );
        }
    });
}

#[test]
fn a_configuration_that_lists_other_layers_than_the_sealed_one_is_refused() {
    // What is readable of it can be replaced without any key.
    let bench = Bench::with(&image(Format::Oci, Packing::Gzip));
    let seal = |seal: &mut Seal<'_>| seal.metadata = Metadata::Sealed { keep: Vec::new() };
    bench.seal(seal).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_slice(&bench.root("sealed")).unwrap();
    let blobs = bench.folder.path().join("sealed/blobs/sha256");
    let digest = manifest["config"]["digest"].as_str().unwrap();
    let octets = std::fs::read(blobs.join(digest.trim_start_matches("sha256:"))).unwrap();
    let mut config: serde_json::Value = serde_json::from_slice(&octets).unwrap();
    let diff_ids = &mut config["rootfs"]["diff_ids"];
    diff_ids.as_array_mut().unwrap().swap(0, 1);
    let forged = serde_json::to_vec(&config).unwrap();
    let digest = sealift_oci::Digest::sha256(&forged);
    std::fs::write(blobs.join(digest.hex()), &forged).unwrap();
    manifest["config"]["digest"] = digest.to_string().into();
    manifest["config"]["size"] = forged.len().into();
    replace_sealed_manifest(&bench, &manifest);
    let error = bench.open(Selection::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Integrity, "{error}");
    assert!(names_nothing(&bench.folder.path().join("opened")));
}

#[test]
fn a_changed_original_or_configuration_is_found_by_whoever_opens_or_verifies() {
    both_ciphers(|cipher| {
        let original = ImageBuilder::new(Format::Oci)
            .layer(layer("etc/a", Packing::Gzip))
            .annotation("org.example.note", "in the original alone")
            .build();
        let bench = Bench::with(&original);
        let seal = |seal: &mut Seal<'_>| {
            seal.cipher = cipher;
            seal.metadata = Metadata::Sealed { keep: Vec::new() };
        };
        bench.seal(seal).unwrap();
        assert_eq!(bench.opens_as("sealed").unwrap(), Some(original.digest()));
        let sealed: serde_json::Value = serde_json::from_slice(&bench.root("sealed")).unwrap();
        for name in ["dev.sealift.original", "dev.sealift.config"] {
            let mut forged = sealed.clone();
            let text = sealed["annotations"][name].as_str().unwrap();
            // An octet in the middle of the ciphertext, still base64.
            let at = text.len() * 2 / 3;
            let other = if text[at..].starts_with('A') {
                "B"
            } else {
                "A"
            };
            forged["annotations"][name] =
                format!("{}{other}{}", &text[..at], &text[at + 1..]).into();
            replace_sealed_manifest(&bench, &forged);
            let opened = bench.open(Selection::default()).unwrap_err();
            let verified = bench.opens_as("sealed").unwrap_err();
            assert_eq!(
                (opened.kind(), verified.kind()),
                (Kind::Integrity, Kind::Integrity),
                "{name}: {opened}, {verified}"
            );
            assert!(names_nothing(&bench.folder.path().join("opened")));
        }
        // Without the original it opens as something else, and that is what is told.
        let mut rebuilt = sealed.clone();
        rebuilt["annotations"]
            .as_object_mut()
            .unwrap()
            .remove("dev.sealift.original");
        replace_sealed_manifest(&bench, &rebuilt);
        let told = bench.opens_as("sealed").unwrap().unwrap();
        assert_ne!(told, original.digest());
        assert_eq!(
            bench.open(Selection::default()).unwrap().digest.to_string(),
            told
        );
    });
}

#[test]
fn an_image_sealed_in_two_runs_opens_whatever_the_first_run_kept() {
    for original_of_first in [OriginalManifest::Keep, OriginalManifest::Omit] {
        let original = image(Format::Oci, Packing::Gzip);
        let bench = Bench::with(&original);
        bench
            .seal(|seal| {
                seal.selection.layers = vec![0];
                seal.original = original_of_first;
            })
            .unwrap();
        std::fs::remove_dir_all(bench.folder.path().join("plain")).unwrap();
        std::fs::rename(
            bench.folder.path().join("sealed"),
            bench.folder.path().join("plain"),
        )
        .unwrap();
        bench.seal(|_| {}).unwrap();
        let opened = bench.open(Selection::default()).unwrap();
        if original_of_first == OriginalManifest::Keep {
            assert_eq!(opened.digest.to_string(), original.digest());
        }
        assert_eq!(bench.verify("opened").unwrap(), [None, None]);
    }
}

#[test]
fn annotations_that_tell_files_are_dropped_with_a_notice_and_come_back() {
    let toc = "containerd.io/snapshot/stargz/toc.digest";
    let original = ImageBuilder::new(Format::Oci).layer(
        layer("a", Packing::Gzip)
            .annotation(toc, "sha256:00")
            .annotation("mine", "1"),
    );
    let original = original
        .annotation("org.opencontainers.image.title", "x")
        .build();
    let bench = Bench::with(&original);
    bench.seal(|_| {}).unwrap();
    let sealed = String::from_utf8(bench.root("sealed")).unwrap();
    assert!(
        !sealed.contains(toc) && sealed.contains(r#""mine":"1""#),
        "{sealed}"
    );
    assert!(
        bench
            .notices
            .0
            .lock()
            .unwrap()
            .iter()
            .any(|text| text.contains("lazy pulling"))
    );
    assert_eq!(
        bench.open(Selection::default()).unwrap().digest.to_string(),
        original.digest()
    );
}
