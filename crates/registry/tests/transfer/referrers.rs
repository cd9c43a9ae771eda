//! Lists at registries: what refers to a manifest, and tags.

use std::thread;

use sealift_oci::{Digest, Reference};
use sealift_registry::{Error, Failure, RawManifest, Transport};
use sealift_testkit::registry::{
    Effect, Fault, Operation, Options as Serving, Registry, RunningRegistry, Support,
};
use serde_json::json;

use crate::lab::{sink, source, told, transport};
use crate::pull::{image, reference};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// A statement of `kind` about `subject`; `salt` tells them apart. Its one blob is `{}`.
pub(crate) fn referrer(subject: &RawManifest, kind: &str, salt: &str) -> RawManifest {
    let empty = json!({"mediaType": EMPTY, "digest": Digest::sha256(b"{}").to_string(), "size": 2});
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": kind,
        "config": empty,
        "layers": [empty],
        "subject": {
            "mediaType": subject.media_type.as_str(),
            "digest": subject.digest.to_string(),
            "size": subject.bytes.len(),
        },
        "annotations": {"salt": salt},
    });
    RawManifest::new(manifest.to_string().into(), MANIFEST.parse().unwrap())
}

/// An image, as it is named at a registry.
struct Subject {
    registry: RunningRegistry,
    root: RawManifest,
    reference: Reference,
}

impl Subject {
    fn at(serving: Serving) -> Self {
        let registry = Registry::start(serving);
        image().push(&registry, "demo/app", "v1");
        registry.put_blob("demo/app", b"{}");
        let root = source(&transport(), &reference(&registry)).root().unwrap();
        let reference = format!("{}/demo/app:v1", registry.host()).parse().unwrap();
        registry.clear_log();
        Self {
            registry,
            root,
            reference,
        }
    }

    fn attach(&self, transport: &Transport, manifest: &RawManifest) -> Result<(), Error> {
        sink(transport, &reference(&self.registry)).attach(manifest, None)
    }

    fn listed(&self, kind: Option<&str>) -> Result<Vec<String>, Error> {
        let transport = transport();
        let asked = transport
            .client()
            .referrers(&self.reference, &self.root.digest, kind);
        let listed = transport.runtime().block_on(asked)?;
        let mut digests: Vec<_> = listed.iter().map(|e| e.digest().to_string()).collect();
        digests.sort();
        Ok(digests)
    }
}

fn digests<'a>(manifests: impl IntoIterator<Item = &'a RawManifest>) -> Vec<String> {
    let mut digests: Vec<_> = manifests
        .into_iter()
        .map(|one| one.digest.to_string())
        .collect();
    digests.sort();
    digests
}

#[test]
fn referrers_are_listed_over_all_pages_and_by_type() {
    for referrers in [Support::Yes, Support::No] {
        let subject = Subject::at(Serving {
            page: 2,
            referrers,
            ..Serving::default()
        });
        assert_eq!(subject.listed(None).unwrap(), [""; 0]);
        let all: Vec<_> = (0..5)
            .map(|n| referrer(&subject.root, ["a/sbom", "a/sig"][n % 2], &n.to_string()))
            .collect();
        let transport = transport();
        for one in &all {
            subject.attach(&transport, one).unwrap();
        }
        assert_eq!(subject.listed(None).unwrap(), digests(&all));
        let of_kind = digests(all.iter().skip(1).step_by(2));
        assert_eq!(subject.listed(Some("a/sig")).unwrap(), of_kind);
        let tag = subject.root.digest.to_string().replace(':', "-");
        let has_list = subject.registry.tags("demo/app").contains(&tag);
        assert_eq!(has_list, referrers == Support::No, "{referrers:?}");
    }
}

#[test]
fn what_a_registry_did_not_filter_is_filtered_here() {
    let subject = Subject::at(Serving::default());
    let entry = |kind: &str, salt: &str| {
        let manifest = referrer(&subject.root, kind, salt);
        json!({"mediaType": MANIFEST, "digest": manifest.digest.to_string(), "size": manifest.bytes.len(), "artifactType": kind})
    };
    let list = json!({"schemaVersion": 2, "manifests": [entry("a/x", "1"), entry("a/y", "2"), entry("a/x", "1")]});
    subject.registry.set_fault(Fault::on(
        Operation::ListReferrers,
        Effect::Body(list.to_string().into_bytes()),
    ));
    let wanted = referrer(&subject.root, "a/x", "1");
    assert_eq!(subject.listed(Some("a/x")).unwrap(), digests([&wanted]));
}

#[test]
fn a_list_that_is_none_or_leads_elsewhere_is_refused() {
    let subject = Subject::at(Serving::default());
    let fault = |effect| {
        subject
            .registry
            .set_fault(Fault::on(Operation::ListReferrers, effect))
    };
    let list = format!("list of referrers of `{}`", subject.root.digest);
    let host = subject.registry.host();
    fault(Effect::Body(b"<html>".to_vec()));
    let told_of = |error: Error| told(&error, &host);
    let message = told_of(subject.listed(None).unwrap_err());
    assert!(
        message.starts_with(&format!("{list} is malformed")),
        "{message}"
    );
    let next = "<http://elsewhere.example/v2/>; rel=\"next\"";
    fault(Effect::SetHeader("Link".into(), next.into()));
    assert_eq!(
        told_of(subject.listed(None).unwrap_err()),
        "`Link` from HOST is malformed: it leads to another host"
    );
    fault(Effect::status(403));
    let error = subject.listed(None).unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error}");
}

#[test]
fn an_entry_that_another_client_wrote_over_is_written_again() {
    let subject = Subject::at(Serving {
        referrers: Support::No,
        ..Serving::default()
    });
    let transport = transport();
    let first = referrer(&subject.root, "a/sig", "1");
    subject.attach(&transport, &first).unwrap();
    // Taken, and then gone: as if somebody had put the old list back.
    let lost = Fault::on(Operation::PutManifest, Effect::status(201)).path_contains("/sha256-");
    subject.registry.set_fault(lost.clone().times(2));
    let second = referrer(&subject.root, "a/sig", "2");
    subject.attach(&transport, &second).unwrap();
    assert_eq!(subject.registry.pending_faults(), 0);
    assert_eq!(subject.listed(None).unwrap(), digests([&first, &second]));
    subject.registry.set_fault(lost.always());
    let third = referrer(&subject.root, "a/sig", "3");
    match subject.attach(&transport, &third) {
        Err(Error::Network {
            failure: Failure::Overwritten,
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_list_that_is_whole_is_not_written_again() {
    let subject = Subject::at(Serving {
        referrers: Support::No,
        ..Serving::default()
    });
    let transport = transport();
    let one = referrer(&subject.root, "a/sig", "1");
    subject.attach(&transport, &one).unwrap();
    subject.registry.clear_log();
    subject.attach(&transport, &one).unwrap();
    assert_eq!(subject.registry.count(Operation::PutManifest), 1);
    assert_eq!(subject.registry.count(Operation::GetManifest), 1);
}

#[test]
fn referrers_pushed_together_by_one_client_are_all_listed() {
    let subject = Subject::at(Serving {
        referrers: Support::No,
        ..Serving::default()
    });
    let all: Vec<_> = (0..8)
        .map(|n| referrer(&subject.root, "a/sig", &n.to_string()))
        .collect();
    let transport = transport();
    thread::scope(|scope| {
        for one in &all {
            scope.spawn(|| subject.attach(&transport, one).unwrap());
        }
    });
    assert_eq!(subject.listed(None).unwrap(), digests(&all));
}

#[test]
fn a_digest_is_read_where_the_registry_does_not_say_it_or_says_another() {
    let subject = Subject::at(Serving::default());
    let transport = transport();
    let by_digest = subject.reference.with_digest(subject.root.digest.clone());
    let other = Digest::sha256(b"other").to_string();
    for (reference, effect) in [
        (
            &subject.reference,
            Effect::DropHeader("Docker-Content-Digest".into()),
        ),
        (&subject.reference, Effect::status(405)),
        (
            &by_digest,
            Effect::SetHeader("Docker-Content-Digest".into(), other),
        ),
    ] {
        subject
            .registry
            .set_fault(Fault::on(Operation::HeadManifest, effect));
        let digest = transport.client().digest(reference);
        let digest = transport.runtime().block_on(digest).unwrap();
        assert_eq!(digest, subject.root.digest);
    }
    assert_eq!(subject.registry.count(Operation::GetManifest), 3);
    assert_eq!(subject.registry.pending_faults(), 0);
}

#[test]
fn a_referrer_that_is_deleted_leaves_the_list_that_clients_keep() {
    let subject = Subject::at(Serving {
        referrers: Support::No,
        ..Serving::default()
    });
    let transport = transport();
    let [first, second] = ["1", "2"].map(|salt| referrer(&subject.root, "a/sig", salt));
    for one in [&first, &second] {
        subject.attach(&transport, one).unwrap();
    }
    // Taken, and then gone: as if somebody had put the old list back.
    let lost = Fault::on(Operation::PutManifest, Effect::status(201)).path_contains("/sha256-");
    subject.registry.set_fault(lost);
    let client = transport.client();
    let delete = client.delete_manifest(&subject.reference, &first.digest);
    transport.runtime().block_on(delete).unwrap();
    assert_eq!(subject.listed(None).unwrap(), digests([&second]));
    assert_eq!(subject.registry.pending_faults(), 0);
}

fn tags(registry: &RunningRegistry) -> Result<Vec<String>, Error> {
    let transport = transport();
    let reference = format!("{}/demo/app", registry.host()).parse().unwrap();
    let asked = transport.client().tags(&reference);
    transport.runtime().block_on(asked)
}

#[test]
fn tags_are_listed_over_all_pages() {
    let registry = Registry::start(Serving {
        page: 2,
        ..Serving::default()
    });
    for tag in ["b", "a", "d", "e", "c"] {
        image().push(&registry, "demo/app", tag);
    }
    assert_eq!(tags(&registry).unwrap(), ["a", "b", "c", "d", "e"]);
    assert_eq!(registry.count(Operation::ListTags), 3);
}

#[test]
fn pages_are_asked_for_also_where_no_link_leads_to_them() {
    let registry = Registry::start(Serving {
        page: 1000,
        ..Serving::default()
    });
    let (kind, manifest) = (image().media_type().to_owned(), image());
    let mut all: Vec<_> = (0..2001).map(|n| format!("v{n}")).collect();
    for tag in &all {
        registry.put_manifest("demo/app", tag, &kind, manifest.bytes());
    }
    all.sort();
    let silent = Effect::DropHeader("Link".into());
    registry.set_fault(Fault::on(Operation::ListTags, silent).always());
    assert_eq!(tags(&registry).unwrap(), all);
}

#[test]
fn a_registry_that_lists_no_tags_says_so() {
    let registry = Registry::start(Serving::default());
    let answer = |body: &str| {
        registry.set_fault(Fault::on(
            Operation::ListTags,
            Effect::Body(body.as_bytes().to_vec()),
        ));
    };
    answer(r#"{"name":"demo/app","tags":null}"#);
    assert_eq!(tags(&registry).unwrap(), [""; 0]);
    answer(r#"{"name":"demo/app","tags":["a b"]}"#);
    let error = told(&tags(&registry).unwrap_err(), &registry.host());
    assert_eq!(
        error,
        "list of tags of `HOST/demo/app` is malformed: `a b` is not a tag"
    );
    registry.set_fault(Fault::on(Operation::ListTags, Effect::status(404)));
    let error = tags(&registry).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}

#[test]
fn a_manifest_is_deleted_or_the_registry_says_that_it_deletes_none() {
    let subject = Subject::at(Serving::default());
    let transport = transport();
    let client = transport.client();
    let delete = || {
        let done = client.delete_manifest(&subject.reference, &subject.root.digest);
        transport.runtime().block_on(done)
    };
    for status in [400, 405, 501] {
        subject
            .registry
            .set_fault(Fault::on(Operation::DeleteManifest, Effect::status(status)));
        let error = delete().unwrap_err();
        assert_eq!(
            told(&error, &subject.registry.host()),
            format!(
                "HOST does not let manifests be deleted (it answered {status}: UNKNOWN: scripted)"
            )
        );
    }
    let digest = transport
        .runtime()
        .block_on(client.digest(&subject.reference));
    assert_eq!(digest.unwrap(), subject.root.digest);
    delete().unwrap();
    assert_eq!(subject.registry.tags("demo/app"), [""; 0]);
    let error = delete().unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}
