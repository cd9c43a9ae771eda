//! A manifest or index keeps its octets; rewritten with what it had, it says the same.
// libfuzzer: -max_len=16384
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_oci::{Document, MediaType};

fuzz_target!(|octets: &[u8]| {
    for declared in [
        None,
        Some(MediaType::OCI_MANIFEST),
        Some(MediaType::DOCKER_LIST),
    ] {
        let declared = declared.map(|name| name.parse::<MediaType>().unwrap());
        let Ok(document) = Document::parse(octets, declared.as_ref()) else {
            continue;
        };
        assert_eq!(document.octets(), octets);
        check(document);
    }
});

fn check(document: Document) {
    match document {
        Document::Manifest(manifest) => {
            assert!(manifest.media_type().is_manifest());
            let layers = manifest.layers().to_vec();
            let first = manifest.rewritten(layers, manifest.annotations().clone());
            let again = Document::parse(first.octets(), Some(first.media_type()));
            let Ok(Document::Manifest(again)) = again else {
                panic!("a rewritten manifest is none: {again:?}");
            };
            assert_eq!(again.annotations(), manifest.annotations());
            assert_eq!(again.subject(), manifest.subject());
            assert_eq!(again.artifact_type(), manifest.artifact_type());
            assert_eq!(again.config().digest(), manifest.config().digest());
            assert_eq!(again.layers().len(), manifest.layers().len());
            for (now, then) in again.layers().iter().zip(manifest.layers()) {
                assert_eq!(now.media_type(), &then.media_type().to_oci());
                assert_eq!((now.digest(), now.size()), (then.digest(), then.size()));
                assert_eq!(now.annotations(), then.annotations());
            }
            let second = again.rewritten(again.layers().to_vec(), again.annotations().clone());
            assert_eq!(second.octets(), first.octets());
        }
        Document::Index(index) => {
            assert!(index.media_type().is_index());
            let manifests = index.manifests().to_vec();
            let first = index.rewritten(manifests, index.annotations().clone());
            let again = Document::parse(first.octets(), Some(first.media_type()));
            let Ok(Document::Index(again)) = again else {
                panic!("a rewritten index is none: {again:?}");
            };
            assert_eq!(again.manifests(), index.manifests());
            assert_eq!(again.annotations(), index.annotations());
            assert_eq!(again.subject(), index.subject());
            let second = again.rewritten(again.manifests().to_vec(), again.annotations().clone());
            assert_eq!(second.octets(), first.octets());
        }
    }
}
