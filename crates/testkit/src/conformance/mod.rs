//! Checks of the [distribution specification], for any registry that answers by plain HTTP.
//!
//! They look at what the specification's own conformance tests look at (`conformance/` of the same repository, as they stood on
//! 16 July 2026, with the settings of version 1.1), grouped by the section that demands it. A check panics where the registry
//! does something else. What a registry is known not to do is declared as a [`Departure`], and then the check wants to see what
//! it does instead: a declaration that is no longer true fails like a broken promise.
//!
//! [`conformance_tests!`](crate::conformance_tests) makes a test of each check.
//!
//! [distribution specification]: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md

mod discovery;
mod management;
mod pull;
mod push_blob;
mod push_manifest;
mod repository;
mod wire;

pub use discovery::{
    lists_no_referrers_of_what_has_none, lists_no_tags_of_what_has_none, lists_referrers,
    lists_referrers_of_one_type, lists_tags, lists_tags_after_another,
};
pub use management::{deletes_a_blob, deletes_a_manifest, deletes_a_tag};
pub use pull::{
    answers_the_version_check, finds_nothing_where_nothing_is, serves_a_blob, serves_a_manifest,
    serves_parts_of_a_blob,
};
pub use push_blob::{
    cancels_an_upload, mounts_a_blob, mounts_a_blob_from_anywhere, mounts_nothing_that_is_missing,
    refuses_a_blob_with_another_digest, refuses_chunks_out_of_order, takes_a_blob_as_a_stream,
    takes_a_blob_by_post_alone, takes_a_blob_by_post_and_put, takes_a_blob_in_chunks,
    takes_blobs_named_by_sha512, takes_the_smallest_blobs,
};
pub use push_manifest::{
    refuses_a_manifest_with_another_digest, takes_a_large_manifest, takes_artifacts, takes_images,
    takes_indexes, takes_layers_that_others_serve, takes_manifests_named_by_sha512,
    takes_manifests_with_a_subject,
};

/// Makes a test of every check. It is given a function that starts a registry and hands it to a check: `fn(fn(&Subject))`.
#[macro_export]
macro_rules! conformance_tests {
    ($on_a_registry:path) => {
        $crate::conformance_tests! { $on_a_registry =>
            lists_no_referrers_of_what_has_none lists_no_tags_of_what_has_none lists_referrers
            lists_referrers_of_one_type lists_tags lists_tags_after_another
            deletes_a_blob deletes_a_manifest deletes_a_tag
            answers_the_version_check finds_nothing_where_nothing_is serves_a_blob serves_a_manifest
            serves_parts_of_a_blob
            cancels_an_upload mounts_a_blob mounts_a_blob_from_anywhere mounts_nothing_that_is_missing
            refuses_a_blob_with_another_digest refuses_chunks_out_of_order takes_a_blob_as_a_stream
            takes_a_blob_by_post_and_put takes_a_blob_by_post_alone takes_a_blob_in_chunks
            takes_blobs_named_by_sha512 takes_the_smallest_blobs
            refuses_a_manifest_with_another_digest takes_a_large_manifest takes_artifacts takes_images
            takes_indexes takes_layers_that_others_serve takes_manifests_named_by_sha512
            takes_manifests_with_a_subject
        }
    };
    ($on_a_registry:path => $($check:ident)+) => {
        $(
            #[test]
            fn $check() {
                $on_a_registry($crate::conformance::$check);
            }
        )+
    };
}

/// A registry that is looked at, empty at first.
#[derive(Debug)]
pub struct Subject {
    address: String,
    departures: Vec<Departure>,
}

impl Subject {
    /// Looks at the registry at `HOST:PORT`, which departs from the specification or from its optional parts in these ways only.
    pub fn new(address: &str, departures: &[Departure]) -> Self {
        Self {
            address: address.to_owned(),
            departures: departures.to_vec(),
        }
    }

    fn departs(&self, departure: Departure) -> bool {
        self.departures.contains(&departure)
    }
}

/// What a registry does not do, and what it does instead.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Departure {
    /// `POST ?digest=` answers 202 and wants a `PUT`; the specification provides for that.
    NoSinglePost,
    /// A mount answers 202 and wants the blob; provided for.
    NoMount,
    /// A mount without `from` does; provided for.
    NoAnonymousMount,
    /// `Range` is ignored and the whole blob served, as RFC 9110 allows.
    NoRanges,
    /// There is no referrers API, which is 404, and no `OCI-Subject`; provided for.
    NoReferrers,
    /// Deleting a tag is refused with 400 or 405; provided for.
    NoTagDeletion,
    /// A chunk at the wrong place is appended with 202. The specification demands 416.
    BlindAppend,
    /// A manifest with layers that others serve is refused. They are not missing from the registry, since they need not be in
    /// it, so the specification gives no reason to.
    NoForeignLayers,
    /// A blob that was pushed under a SHA-512 digest is served with its SHA-256 digest in `Docker-Content-Digest`.
    Sha256Header,
    /// Manifests are named by SHA-256 only; another digest gets 400.
    Sha256Manifests,
    /// A malformed digest gets 500. The specification wants 400.
    NoDigestCheck,
    /// All tags are listed, in no order, whatever `n` and `last` say. The specification demands pages in lexical order.
    WholeTagList,
}
