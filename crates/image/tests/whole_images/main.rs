//! Whole images, sealed and opened between OCI layouts.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bench;
mod originals;

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::Mutex;

use sealift_image::{
    Action, Attached, Attestations, Copy, ImageError, Kind, Open, Selection, Verify, inspect,
};
use sealift_keywrap::{
    ElementReport, Identity, Keyring, LayerSecret, Scheme, UnwrapError, WrapContext, WrappedKey,
};
use sealift_layer::{AeadLibrary, SecretSource};
use sealift_testkit::image::{Format, ImageBuilder, IndexBuilder, Layer, Packing};

use crate::bench::{
    Bench, both_ciphers, holds_nothing, image, layer, names_nothing, replace_sealed_manifest,
};

#[test]
fn opening_what_was_sealed_gives_back_the_original_octets() {
    both_ciphers(|cipher| {
        for format in [Format::Oci, Format::Docker] {
            for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
                if format == Format::Docker && packing == Packing::Zstd {
                    continue;
                }
                let original = image(format, packing);
                let bench = Bench::with(&original);
                let sealed = bench.seal(|seal| seal.cipher = cipher).unwrap();
                assert_ne!(sealed.digest.to_string(), original.digest());
                assert_eq!(sealed.layers_changed, 2);
                let inspection = inspect(&*bench.source("sealed"), &[]).unwrap();
                for layer in &inspection.manifests[0].layers {
                    assert_eq!(layer.cipher.as_deref(), Some(cipher.name()));
                    assert_eq!(layer.recipients.len(), 1);
                    assert_eq!(
                        layer.recipients[0].fingerprint.as_deref(),
                        Some(&*bench.recipients[0].fingerprint())
                    );
                }
                assert_eq!(bench.verify("sealed").unwrap(), [Some(true), Some(true)]);
                let opened = bench.open(Selection::default()).unwrap();
                assert_eq!(opened.digest.to_string(), original.digest());
                assert_eq!(bench.root("opened"), original.bytes());
                assert_eq!(bench.verify("opened").unwrap(), [None, None]);
            }
        }
    });
}

#[test]
fn an_index_comes_back_whole_and_an_attested_one_rebuilt() {
    both_ciphers(|cipher| {
        let arm = ImageBuilder::new(Format::Oci)
            .layer(layer("arm", Packing::Gzip))
            .platform("linux/arm64")
            .build();
        let amd = ImageBuilder::new(Format::Oci)
            .layer(layer("amd", Packing::Zstd))
            .platform("linux/amd64")
            .build();
        let index = IndexBuilder::new(Format::Oci)
            .child(arm.clone())
            .child(amd.clone())
            .annotation("k", "v")
            .build();
        let bench = Bench::with(&index);
        bench.seal(|seal| seal.cipher = cipher).unwrap();
        assert_eq!(bench.opens_as("sealed").unwrap(), Some(index.digest()));
        assert_eq!(
            bench.open(Selection::default()).unwrap().digest.to_string(),
            index.digest()
        );

        let one = Selection {
            platforms: vec!["linux/arm64".parse().unwrap()],
            ..Selection::default()
        };
        assert_eq!(bench.open(one).unwrap().digest.to_string(), arm.digest());

        let attested = IndexBuilder::new(Format::Oci).attested(amd.clone()).build();
        let bench = Bench::with(&attested);
        bench.seal(|seal| seal.cipher = cipher).unwrap();
        let sealed = String::from_utf8(bench.root("sealed")).unwrap();
        assert!(!sealed.contains("attestation-manifest"), "{sealed}");
        assert!(
            bench
                .notices
                .0
                .lock()
                .unwrap()
                .iter()
                .any(|text| text.contains("attestation manifest"))
        );
        bench.open(Selection::default()).unwrap();
        assert!(
            String::from_utf8(bench.root("opened"))
                .unwrap()
                .contains(&amd.digest())
        );

        let bench = Bench::with(&attested);
        bench
            .seal(|seal| {
                seal.cipher = cipher;
                seal.attestations = Attestations::Keep;
            })
            .unwrap();
        assert_eq!(
            bench.open(Selection::default()).unwrap().digest.to_string(),
            attested.digest()
        );
    });
}

#[test]
fn only_selected_layers_are_sealed_and_the_rest_stays() {
    let original = image(Format::Oci, Packing::Gzip);
    let bench = Bench::with(&original);
    let outcome = bench.seal(|seal| seal.selection.layers = vec![-1]).unwrap();
    assert_eq!((outcome.layers, outcome.layers_changed), (2, 1));
    let layers = inspect(&*bench.source("sealed"), &[])
        .unwrap()
        .manifests
        .remove(0)
        .layers;
    assert_eq!(
        layers.iter().map(|layer| layer.sealed).collect::<Vec<_>>(),
        [false, true]
    );
    assert_eq!(layers[0].digest.to_string(), original.layer_digest(0));
    assert_eq!(
        bench.open(Selection::default()).unwrap().digest.to_string(),
        original.digest()
    );
}

#[test]
fn nothing_to_do_and_impossible_wishes_are_errors_before_anything_is_written() {
    let original = image(Format::Oci, Packing::Gzip);
    let bench = Bench::with(&original);
    let error = bench
        .seal(|seal| seal.selection.layers = vec![2])
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    let error = bench
        .seal(|seal| seal.selection.platforms = vec!["linux/s390x".parse().unwrap()])
        .unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(holds_nothing(&bench.folder.path().join("sealed")));

    let none = Bench::with(&ImageBuilder::new(Format::Oci).build());
    assert_eq!(none.seal(|_| {}).unwrap_err().kind(), Kind::NothingToDo);

    let artifact = ImageBuilder::new(Format::Oci).layer(Layer::blob(
        "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
        b"x",
    ));
    let bench = Bench::with(&artifact.build());
    let error = bench.seal(|_| {}).unwrap_err();
    assert!(matches!(error, ImageError::NotSealable { .. }), "{error:?}");
    assert!(holds_nothing(&bench.folder.path().join("sealed")));
}

#[test]
fn a_wrong_key_and_a_damaged_layer_are_told_apart_and_publish_nothing() {
    both_ciphers(|cipher| {
        let bench = Bench::with(&image(Format::Oci, Packing::Gzip));
        bench.seal(|seal| seal.cipher = cipher).unwrap();
        let stranger = Bench {
            keyring: Bench::new().keyring,
            ..Bench::new()
        };
        let open = |keyring: &Keyring| {
            Open {
                source: &*bench.source("sealed"),
                sink: &*bench.sink("opened"),
                identities: keyring,
                selection: Selection::default(),
                aead: AeadLibrary::default(),
                jobs: NonZeroUsize::MIN,
                progress: &bench.notices,
            }
            .run()
        };
        assert_eq!(open(&stranger.keyring).unwrap_err().kind(), Kind::NoKeyFits);
        // Same digest and size promised, other octets: the layout was damaged after it was written.
        let blobs = bench.folder.path().join("sealed/blobs/sha256");
        let layers = inspect(&*bench.source("sealed"), &[])
            .unwrap()
            .manifests
            .remove(0)
            .layers;
        let path = blobs.join(layers[0].digest.hex());
        let mut octets = std::fs::read(&path).unwrap();
        let last = octets.len() - 1;
        octets[last] ^= 1;
        std::fs::write(&path, octets).unwrap();
        assert_eq!(open(&bench.keyring).unwrap_err().kind(), Kind::Integrity);
        assert_eq!(bench.verify("sealed").unwrap_err().kind(), Kind::Integrity);
        assert!(names_nothing(&bench.folder.path().join("opened")));
    });
}

#[test]
fn a_damaged_source_is_never_published_sealed() {
    let original = image(Format::Oci, Packing::Gzip);
    let bench = Bench::with(&original);
    let digest = original.layer_digest(1);
    let path = bench
        .folder
        .path()
        .join("plain/blobs/sha256")
        .join(digest.trim_start_matches("sha256:"));
    let mut octets = std::fs::read(&path).unwrap();
    octets[20] ^= 1;
    std::fs::write(&path, octets).unwrap();
    assert_eq!(bench.seal(|_| {}).unwrap_err().kind(), Kind::Integrity);
    assert!(names_nothing(&bench.folder.path().join("sealed")));
}

#[test]
fn foreign_layers_stay_unless_they_are_asked_for() {
    let base = layer("base", Packing::Gzip);
    let original = ImageBuilder::new(Format::Oci)
        .layer(base.clone().foreign("https://example.invalid/base"))
        .layer(layer("top", Packing::Gzip))
        .build();
    let bench = Bench::with(&original);
    let outcome = bench.seal(|_| {}).unwrap();
    assert_eq!(outcome.layers_changed, 1);
    assert!(
        String::from_utf8(bench.root("sealed"))
            .unwrap()
            .contains("example.invalid")
    );
    let error = bench
        .seal(|seal| seal.selection.layers = vec![0])
        .unwrap_err();
    assert!(matches!(error, ImageError::NotSealable { .. }), "{error:?}");
    // As in the layout of a publisher who built the base.
    let hex = base.digest().replace("sha256:", "");
    let path = bench.folder.path().join("plain/blobs/sha256").join(hex);
    std::fs::write(path, Packing::Gzip.pack(base.unpacked())).unwrap();
    let outcome = bench
        .seal(|seal| seal.selection.include_nondistributable = true)
        .unwrap();
    assert_eq!(outcome.layers_changed, 2);
    let sealed = String::from_utf8(bench.root("sealed")).unwrap();
    assert!(
        !sealed.contains("example.invalid") && !sealed.contains("nondistributable"),
        "{sealed}"
    );
    assert_eq!(
        bench.open(Selection::default()).unwrap().digest.to_string(),
        original.digest()
    );
}

#[test]
fn sealing_again_has_nothing_to_do_and_copying_changes_nothing() {
    let bench = Bench::with(&image(Format::Oci, Packing::Gzip));
    let sealed = bench.seal(|_| {}).unwrap();
    let copy = Copy {
        source: &*bench.source("sealed"),
        sink: &*bench.sink("copy"),
        platforms: Vec::new(),
        referrers: Attached::Drop,
        signatures: Attached::Drop,
        jobs: NonZeroUsize::MIN,
        progress: &bench.notices,
    };
    assert_eq!(copy.run().unwrap().digest, sealed.digest);
    assert_eq!(bench.root("copy"), bench.root("sealed"));
    let again = bench.seal(|_| {}).unwrap();
    assert_ne!(again.digest, sealed.digest, "a fresh key for every run");
    let plan = copy.plan().unwrap();
    assert!(plan.layers.iter().all(|layer| layer.action == Action::Copy));
    std::fs::rename(
        bench.folder.path().join("copy"),
        bench.folder.path().join("moved"),
    )
    .unwrap();
    std::fs::remove_dir_all(bench.folder.path().join("plain")).unwrap();
    std::fs::rename(
        bench.folder.path().join("moved"),
        bench.folder.path().join("plain"),
    )
    .unwrap();
    assert_eq!(bench.seal(|_| {}).unwrap_err().kind(), Kind::NothingToDo);
}

#[test]
fn a_layer_that_stands_twice_is_sealed_where_it_was_chosen_and_only_there() {
    both_ciphers(|cipher| {
        for (chosen, expected) in [(0, [true, false, false]), (-1, [false, false, true])] {
            let twice = layer("same", Packing::Gzip);
            let original = ImageBuilder::new(Format::Oci)
                .layers([twice.clone(), layer("other", Packing::Gzip), twice])
                .build();
            let bench = Bench::with(&original);
            bench
                .seal(|seal| {
                    seal.cipher = cipher;
                    seal.selection.layers = vec![chosen];
                })
                .unwrap();
            let sealed = |layout: &str| -> Vec<bool> {
                let layers = inspect(&*bench.source(layout), &[])
                    .unwrap()
                    .manifests
                    .remove(0)
                    .layers;
                layers.iter().map(|layer| layer.sealed).collect()
            };
            assert_eq!(sealed("sealed"), expected);
            assert_eq!(
                bench
                    .verify("sealed")
                    .unwrap()
                    .iter()
                    .filter(|verdict| verdict.is_some())
                    .count(),
                1
            );
            let opened = bench.open(Selection::default()).unwrap();
            assert_eq!(opened.digest.to_string(), original.digest());
        }
        // Both sealed as one blob, opened one by one.
        let twice = layer("same", Packing::Gzip);
        let original = ImageBuilder::new(Format::Oci)
            .layers([twice.clone(), twice])
            .build();
        let bench = Bench::with(&original);
        bench.seal(|seal| seal.cipher = cipher).unwrap();
        let outcome = bench
            .open(Selection {
                layers: vec![-1],
                ..Selection::default()
            })
            .unwrap();
        assert_eq!(outcome.layers_changed, 1);
        let layers = inspect(&*bench.source("opened"), &[])
            .unwrap()
            .manifests
            .remove(0)
            .layers;
        assert_eq!(
            layers.iter().map(|layer| layer.sealed).collect::<Vec<_>>(),
            [true, false]
        );
        std::fs::remove_dir_all(bench.folder.path().join("sealed")).unwrap();
        std::fs::rename(
            bench.folder.path().join("opened"),
            bench.folder.path().join("sealed"),
        )
        .unwrap();
        assert_eq!(
            bench.open(Selection::default()).unwrap().digest.to_string(),
            original.digest()
        );
    });
}

#[test]
fn of_the_windows_builds_that_a_host_runs_the_highest_is_taken() {
    let of = |version: &str| {
        let platform = format!("windows/amd64:{version}");
        ImageBuilder::new(Format::Oci)
            .layer(layer(version, Packing::Gzip))
            .platform(&platform)
            .build()
    };
    let [old, middle, new] = ["10.0.17763.1", "10.0.20348.5", "10.0.26100.3"].map(of);
    let index = IndexBuilder::new(Format::Oci)
        .child(new.clone())
        .child(middle.clone())
        .child(old.clone());
    let bench = Bench::with(&index.build());
    for (host, expected) in [
        ("10.0.26200.9", &new),
        ("10.0.26100.1", &new),
        ("10.0.25398.1", &middle),
        ("10.0.17763.7", &old),
    ] {
        let copy = Copy {
            source: &*bench.source("plain"),
            sink: &*bench.sink(host),
            platforms: vec![format!("windows/amd64:{host}").parse().unwrap()],
            referrers: Attached::Drop,
            signatures: Attached::Drop,
            jobs: NonZeroUsize::MIN,
            progress: &bench.notices,
        };
        assert_eq!(
            copy.run().unwrap().digest.to_string(),
            expected.digest(),
            "{host}"
        );
    }
}

#[test]
fn a_nested_index_that_is_narrowed_names_what_is_there() {
    let of = |platform: &str| {
        ImageBuilder::new(Format::Oci)
            .layer(layer(platform, Packing::Gzip))
            .platform(platform)
            .build()
    };
    let inner = IndexBuilder::new(Format::Oci)
        .child(of("linux/amd64"))
        .child(of("linux/arm64"))
        .child(of("linux/s390x"))
        .build();
    let bench = Bench::with(&IndexBuilder::new(Format::Oci).child(inner).build());
    let platforms = vec![
        "linux/amd64".parse().unwrap(),
        "linux/arm64".parse().unwrap(),
    ];
    let copy = Copy {
        source: &*bench.source("plain"),
        sink: &*bench.sink("sealed"),
        platforms: platforms.clone(),
        referrers: Attached::Drop,
        signatures: Attached::Drop,
        jobs: NonZeroUsize::MIN,
        progress: &bench.notices,
    };
    copy.run().unwrap();
    assert_eq!(bench.verify("sealed").unwrap(), [None, None]);
    std::fs::remove_dir_all(bench.folder.path().join("sealed")).unwrap();
    bench
        .seal(|seal| seal.selection.platforms = platforms)
        .unwrap();
    bench.open(Selection::default()).unwrap();
    assert_eq!(bench.verify("opened").unwrap(), [None, None]);
}

#[test]
fn an_image_does_not_pass_for_an_attestation() {
    let unknown = serde_json::json!({"os": "unknown", "architecture": "unknown"});
    let linux = serde_json::json!({"os": "linux", "architecture": "amd64"});
    for platform in [unknown, linux] {
        let real = ImageBuilder::new(Format::Oci)
            .layer(layer("root", Packing::Gzip))
            .platform("linux/amd64")
            .build();
        let index = IndexBuilder::new(Format::Oci)
            .child(real)
            .build()
            .edited(|index| {
                index["manifests"][0]["platform"] = platform;
                index["manifests"][0]["annotations"] =
                    serde_json::json!({"vnd.docker.reference.type": "attestation-manifest"});
            });
        let bench = Bench::with(&index);
        let outcome = bench.seal(|seal| seal.attestations = Attestations::Keep);
        assert_eq!(outcome.unwrap().layers_changed, 1);
        assert_eq!(bench.verify("sealed").unwrap(), [Some(true)]);
    }
}

#[test]
fn a_key_that_unwraps_but_is_another_layers_does_not_stop_the_right_one() {
    both_ciphers(|cipher| {
        let original = image(Format::Oci, Packing::Gzip);
        let bench = Bench::with(&original);
        bench.seal(|seal| seal.cipher = cipher).unwrap();
        let mut manifest: serde_json::Value =
            serde_json::from_slice(&bench.root("sealed")).unwrap();
        let jwe = "org.opencontainers.image.enc.keys.jwe";
        let wrap = |manifest: &serde_json::Value, layer: usize| {
            manifest["layers"][layer]["annotations"][jwe]
                .as_str()
                .unwrap()
                .to_owned()
        };
        let both = format!("{},{}", wrap(&manifest, 1), wrap(&manifest, 0));
        manifest["layers"][0]["annotations"][jwe] = both.into();
        replace_sealed_manifest(&bench, &manifest);
        let opened = bench.open(Selection::default()).unwrap();
        assert_eq!(opened.digest.to_string(), original.digest());
    });
}

#[test]
fn a_layer_whose_tar_is_not_the_one_the_configuration_lists_is_found() {
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
        let original = image(Format::Oci, packing)
            .edited(|manifest| manifest["layers"].as_array_mut().unwrap().swap(0, 1));
        let bench = Bench::with(&original);
        bench.seal(|_| {}).unwrap();
        for layout in ["plain", "sealed"] {
            let error = bench.verify(layout).unwrap_err();
            assert!(
                matches!(
                    error,
                    ImageError::Mismatch {
                        what: "diff ID",
                        ..
                    }
                ),
                "{error:?}"
            );
        }
    }
}

/// A ring that notes what it hears, in order.
struct Noting<'a> {
    ring: &'a Keyring,
    heard: Mutex<Vec<String>>,
}

impl SecretSource for Noting<'_> {
    fn prepare(&self, wraps: &[WrappedKey]) {
        self.heard
            .lock()
            .unwrap()
            .push(format!("prepare {}", wraps.len()));
        SecretSource::prepare(self.ring, wraps);
    }

    fn offer(
        &self,
        wraps: &[WrappedKey],
        context: &WrapContext<'_>,
        accept: &mut dyn FnMut(LayerSecret) -> ControlFlow<()>,
    ) -> Vec<ElementReport> {
        self.heard.lock().unwrap().push("offer".to_owned());
        self.ring.offer(wraps, context, accept)
    }
}

#[test]
fn whoever_opens_layers_hears_once_of_all_wrapped_keys_before_the_first_is_wanted() {
    let open = |bench: &Bench, layers: &[i64]| {
        let noting = Noting {
            ring: &bench.keyring,
            heard: Mutex::default(),
        };
        let open = Open {
            source: &*bench.source("sealed"),
            sink: &*bench.sink("opened"),
            identities: &noting,
            selection: Selection {
                layers: layers.to_vec(),
                ..Selection::default()
            },
            aead: AeadLibrary::default(),
            jobs: NonZeroUsize::new(2).unwrap(),
            progress: &bench.notices,
        };
        open.run().unwrap();
        noting.heard.into_inner().unwrap()
    };
    both_ciphers(|cipher| {
        let bench = Bench::with(&image(Format::Oci, Packing::Gzip));
        bench.seal(|seal| seal.cipher = cipher).unwrap();
        assert_eq!(open(&bench, &[]), ["prepare 2", "offer", "offer"]);
        // Keys of layers that stay sealed are nobody's business.
        assert_eq!(open(&bench, &[0]), ["prepare 1", "offer"]);
        let noting = Noting {
            ring: &bench.keyring,
            heard: Mutex::default(),
        };
        let verify = Verify {
            source: &*bench.source("sealed"),
            identities: Some(&noting),
            platforms: Vec::new(),
            aead: AeadLibrary::default(),
            jobs: NonZeroUsize::MIN,
            progress: &bench.notices,
        };
        verify.run().unwrap();
        let heard = noting.heard.into_inner().unwrap();
        assert_eq!(heard, ["prepare 2", "offer", "offer"]);
    });
}

/// An identity for everything, whose keeper never gives anything.
#[derive(Debug)]
struct Refusing(fn() -> UnwrapError);

impl Identity for Refusing {
    fn opens(&self, _: &Scheme) -> bool {
        true
    }

    fn fingerprint(&self) -> String {
        format!("{:?}", self.0())
    }

    fn unwrap_key(&self, _: &WrappedKey, _: &WrapContext<'_>) -> Result<LayerSecret, UnwrapError> {
        Err(self.0())
    }
}

#[test]
fn a_denial_is_told_from_an_outage_and_both_from_a_missing_key() {
    let denied = || UnwrapError::Denied {
        by: "fra".into(),
        code: "Forbidden".into(),
    };
    let unavailable = || UnwrapError::Unavailable {
        reason: "no agent".into(),
    };
    let foreign = || UnwrapError::NotForThisKey;
    type Errors<'a> = &'a [fn() -> UnwrapError];
    let table: [(Errors<'_>, Kind); 4] = [
        (&[foreign], Kind::NoKeyFits),
        (&[foreign, unavailable], Kind::Network),
        (&[denied, foreign], Kind::Denied),
        (&[unavailable, denied, foreign], Kind::Denied),
    ];
    let mut bench = Bench::with(&image(Format::Oci, Packing::Gzip));
    bench.seal(|_| ()).unwrap();
    for (errors, kind) in table {
        bench.keyring = Keyring::new();
        for error in errors {
            bench.keyring.push(Box::new(Refusing(*error))).unwrap();
        }
        let error = bench.open(Selection::default()).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
}
