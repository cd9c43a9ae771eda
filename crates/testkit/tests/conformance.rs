//! The registry keeps the distribution specification, complete and with what its options take away.

/// As it is without options.
mod complete {
    use sealift_testkit::conformance::{Departure, Subject};
    use sealift_testkit::conformance_tests;
    use sealift_testkit::registry::{Options, Registry};

    conformance_tests!(on_a_registry);

    fn on_a_registry(check: fn(&Subject)) {
        let registry = Registry::start(Options::default());
        check(&Subject::new(
            &registry.host(),
            &[Departure::NoAnonymousMount],
        ));
    }
}

/// As registries behind a load balancer are: relative locations that change with every answer.
mod with_rotating_locations {
    use sealift_testkit::conformance::{Departure, Subject};
    use sealift_testkit::conformance_tests;
    use sealift_testkit::registry::{Options, Registry, UploadState, UploadUrl};

    conformance_tests!(on_a_registry);

    fn on_a_registry(check: fn(&Subject)) {
        let registry = Registry::start(Options {
            upload_url: UploadUrl::Relative,
            upload_state: UploadState::Rotating,
            ..Options::default()
        });
        check(&Subject::new(
            &registry.host(),
            &[Departure::NoAnonymousMount],
        ));
    }
}

/// As docker-registry 2.8 is, and without ranges and mounts on top.
mod with_less {
    use sealift_testkit::conformance::{Departure, Subject};
    use sealift_testkit::conformance_tests;
    use sealift_testkit::registry::{Chunks, Options, Registry, Support, UploadUrl};

    conformance_tests!(on_a_registry);

    fn on_a_registry(check: fn(&Subject)) {
        let registry = Registry::start(Options {
            upload_url: UploadUrl::Bare,
            chunks: Chunks::Appended,
            mounts: Support::No,
            ranges: Support::No,
            single_post: Support::No,
            referrers: Support::No,
            min_chunk: Some(1200),
            ..Options::default()
        });
        let departures = [
            Departure::BlindAppend,
            Departure::NoMount,
            Departure::NoRanges,
            Departure::NoReferrers,
            Departure::NoSinglePost,
        ];
        check(&Subject::new(&registry.host(), &departures));
    }
}
