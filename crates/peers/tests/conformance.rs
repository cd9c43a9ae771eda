//! Debian's docker-registry under the checks that our own registry passes: what they demand, a real one does.
#![cfg(target_os = "linux")]

use sealift_peers::Lab;
use sealift_peers::registry::{Access, Registry};
use sealift_testkit::conformance::{Departure, Subject};
use sealift_testkit::conformance_tests;

conformance_tests!(on_a_registry);

fn on_a_registry(check: fn(&Subject)) {
    let Some(lab) = Lab::needing(&["docker-registry"]) else {
        return;
    };
    let registry = Registry::start(&lab, Access::Open);
    check(&Subject::new(registry.address(), DEPARTURES));
}

/// Of docker-registry 2.8.
const DEPARTURES: &[Departure] = &[
    Departure::BlindAppend,
    Departure::NoAnonymousMount,
    Departure::NoDigestCheck,
    Departure::NoForeignLayers,
    Departure::NoReferrers,
    Departure::NoSinglePost,
    Departure::NoTagDeletion,
    Departure::Sha256Header,
    Departure::Sha256Manifests,
    Departure::WholeTagList,
];
