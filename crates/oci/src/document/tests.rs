use super::*;

const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn manifest(extra: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"x-first":[1, 2.50],"config":{{"mediaType":"{}","digest":"{D}","size":2,"x":null}},"layers":[{{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","digest":"{D}","size":7,"annotations":{{"b":"1","a":"2"}},"y":{{ "z":1 }}}}]{extra}}}"#,
        MediaType::DOCKER_CONFIG
    )
}

fn parse(text: &str) -> Result<Document, DocumentError> {
    Document::parse(text.as_bytes(), None)
}

fn parse_manifest(text: &str) -> Manifest {
    match parse(text).unwrap() {
        Document::Manifest(manifest) => *manifest,
        Document::Index(_) => panic!("is an index"),
    }
}

#[test]
fn a_rewrite_changes_only_what_it_must() {
    let text = manifest(r#","subject":null,"artifactType":"a/b","x-last":"\u00e9""#);
    let before = parse_manifest(&text);
    assert_eq!(before.octets(), text.as_bytes());
    let layer = before.layers()[0].clone();
    let sealed = layer.media_type().sealed().unwrap();
    let layer = layer.with_content(sealed, Digest::sha256(b"new"), 9);
    let after = before.rewritten(vec![layer], before.annotations().clone());
    let expected = text
        .replace(r#"{"schemaVersion":2,"#, r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","#)
        .replace(MediaType::DOCKER_CONFIG, MediaType::OCI_CONFIG)
        .replace(
            &format!(r#""mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","digest":"{D}","size":7"#),
            &format!(
                r#""mediaType":"application/vnd.oci.image.layer.v1.tar+gzip+encrypted","digest":"{}","size":9"#,
                Digest::sha256(b"new")
            ),
        );
    assert_eq!(std::str::from_utf8(after.octets()).unwrap(), expected);
    assert_eq!(parse_manifest(&expected).layers(), after.layers());
}

#[test]
fn an_inlined_copy_of_replaced_content_goes() {
    let text = manifest("").replace(r#""size":7,"#, r#""size":7,"data":"AAAA","#);
    let layer = parse_manifest(&text).layers()[0].clone();
    let same = layer.clone().with_content(
        layer.media_type().clone(),
        layer.digest().clone(),
        layer.size(),
    );
    assert_eq!(same, layer);
    let other = layer
        .clone()
        .with_content(layer.media_type().clone(), Digest::sha256(b"x"), 1);
    assert!(!other.to_raw().get().contains("data"));
}

#[test]
fn refuses_what_is_no_manifest() {
    let member = |place: &str, reason: &str| DocumentError::Member {
        place: place.into(),
        reason: reason.into(),
    };
    let good = manifest("");
    let table: Vec<(String, DocumentError)> = vec![
        ("{}".into(), DocumentError::NotAManifest),
        ("[]".into(), DocumentError::Json(JsonError::NotAnObject)),
        ("<html>".into(), DocumentError::Json(JsonError::Syntax { line: 1, column: 1 })),
        (r#"{"schemaVersion":1}"#.into(), DocumentError::Schema1),
        (manifest(r#","manifests":[]"#), DocumentError::Ambiguous),
        (manifest(r#","layers":[]"#), DocumentError::Json(JsonError::Duplicate { name: "layers".into() })),
        (
            manifest(r#","mediaType":"application/x""#),
            DocumentError::UnsupportedType { text: "application/x".into() },
        ),
        (manifest(r#","mediaType":5"#), member("mediaType", "is not a string")),
        (manifest(r#","annotations":{"a":1}"#), member("annotations", "is not a map of strings")),
        (manifest(r#","subject":3"#), member("subject", "is not an object")),
        (good.replace(r#""size":7"#, r#""size":-7"#), member("layers[0].size", "is not a size in octets")),
        (good.replace(r#""size":7"#, r#""size":9223372036854775808"#), member("layers[0].size", "is not a size in octets")),
        (good.replace(r#""size":7,"#, ""), member("layers[0].size", "is missing")),
        (
            good.replace(r#""x-first""#, r#""x":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]],"x-first""#),
            DocumentError::Json(JsonError::TooDeep),
        ),
        (r#"{"schemaVersion":2,"layers":[]}"#.into(), member("config", "is missing")),
        (r#"{"schemaVersion":2,"manifests":{}}"#.into(), member("manifests", "is not a list")),
    ];
    for (text, expected) in table {
        assert_eq!(parse(&text).unwrap_err(), expected, "{text}");
    }
}

#[test]
fn refuses_absurd_numbers_of_layers() {
    let layer = format!(r#"{{"mediaType":"a/b","digest":"{D}","size":0}}"#);
    let layers = vec![layer; MAX_ENTRIES + 1].join(",");
    let text = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"a/b","digest":"{D}","size":0}},"layers":[{layers}]}}"#
    );
    assert_eq!(
        parse(&text).unwrap_err(),
        DocumentError::TooManyEntries { limit: MAX_ENTRIES }
    );
}

#[test]
fn refuses_a_document_that_contradicts_its_announcement() {
    let index: MediaType = MediaType::OCI_INDEX.parse().unwrap();
    let text = manifest(&format!(r#","mediaType":"{}""#, MediaType::OCI_MANIFEST));
    assert_eq!(
        Document::parse(text.as_bytes(), Some(&index)).unwrap_err(),
        DocumentError::TypeMismatch {
            own: MediaType::OCI_MANIFEST.into(),
            declared: MediaType::OCI_INDEX.into()
        }
    );
}

#[test]
fn an_index_keeps_members_it_does_not_know() {
    let text = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{}","digest":"{D}","size":3,"platform":{{"architecture":"amd64","os":"windows","os.version":"10.0.1","odd":true}}}}],"z":0}}"#,
        MediaType::OCI_MANIFEST
    );
    let Document::Index(index) = parse(&text).unwrap() else {
        panic!("is a manifest")
    };
    assert_eq!(
        index.manifests()[0].platform().unwrap().to_string(),
        "windows/amd64:10.0.1"
    );
    let entry = index.manifests()[0].clone();
    let entry = entry
        .clone()
        .with_content(entry.media_type().clone(), Digest::sha256(b"n"), 4);
    let annotations = IndexMap::from([("k".to_owned(), "v".to_owned())]);
    let after = index.rewritten(vec![entry], annotations);
    let after = std::str::from_utf8(after.octets()).unwrap();
    assert!(
        after.contains(r#""os.version":"10.0.1","odd":true"#),
        "{after}"
    );
    assert!(
        after.ends_with(r#""z":0,"annotations":{"k":"v"}}"#),
        "{after}"
    );
}
