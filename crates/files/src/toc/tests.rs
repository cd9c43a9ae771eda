use super::*;

fn parsed(entries: &str) -> Result<Toc, ListError> {
    Toc::parse(
        format!(r#"{{"version":1,"entries":[{entries}]}}"#).as_bytes(),
        1000,
    )
}

fn reason(entries: &str) -> &'static str {
    match parsed(entries) {
        Err(ListError::Toc { reason } | ListError::Name { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn refuses_what_contradicts_itself() {
    for (entries, expected) in [
        (
            r#"{"name":"a","type":"chunk"}"#,
            "a piece belongs to no file",
        ),
        (
            r#"{"name":"a","type":"dir"},{"name":"a","type":"chunk"}"#,
            "a piece belongs to no file",
        ),
        (
            r#"{"name":"a","type":"door"}"#,
            "an entry is of an unknown kind",
        ),
        // Outside, or empty.
        (
            r#"{"name":"a","type":"reg","size":5,"offset":1000}"#,
            "a piece lies outside of the layer",
        ),
        (
            r#"{"name":"a","type":"reg","size":5,"offset":18446744073709551615}"#,
            "a piece lies outside of the layer",
        ),
        (
            r#"{"name":"a","type":"reg","size":5}"#,
            "a piece lies outside of the layer",
        ),
        (
            r#"{"name":"a","type":"reg","size":5,"offset":10,"endOffset":1001}"#,
            "a piece lies outside of the layer",
        ),
        (
            r#"{"name":"a","type":"reg","size":5,"offset":10,"endOffset":10}"#,
            "a piece lies outside of the layer",
        ),
        (
            r#"{"name":"a","type":"reg","size":5,"offset":10,"innerOffset":99999999999}"#,
            "a piece lies too deep in what is packed together",
        ),
        // Pieces that overlap, leave holes, are too long or too short together.
        (
            r#"{"name":"a","type":"reg","size":10,"offset":10,"chunkSize":5},
               {"name":"a","type":"chunk","offset":20,"chunkOffset":4,"chunkSize":6}"#,
            "the pieces of a file do not follow each other",
        ),
        (
            r#"{"name":"a","type":"reg","size":10,"offset":10,"chunkSize":5},
               {"name":"a","type":"chunk","offset":20,"chunkOffset":6,"chunkSize":4}"#,
            "the pieces of a file do not follow each other",
        ),
        (
            r#"{"name":"a","type":"reg","size":10,"offset":10,"chunkSize":5},
               {"name":"a","type":"chunk","offset":20,"chunkOffset":5,"chunkSize":6}"#,
            "the pieces of a file are longer than the file",
        ),
        (
            r#"{"name":"a","type":"reg","size":10,"offset":10,"chunkSize":5}"#,
            "the pieces of a file are shorter than the file",
        ),
        (
            r#"{"name":"a","type":"reg","size":10,"offset":10},
               {"name":"a","type":"chunk","offset":20,"chunkOffset":5}"#,
            "a piece has no length",
        ),
        (
            r#"{"name":"a","type":"reg","size":10,"offset":10,"chunkSize":18446744073709551615}"#,
            "the pieces of a file are longer than the file",
        ),
        (
            r#"{"name":"a","type":"reg","size":5,"offset":10,"chunkDigest":"sha256:12"}"#,
            "a digest is none",
        ),
        (
            r#"{"name":"../a","type":"dir"}"#,
            "lies outside of the root",
        ),
        (
            r#"{"name":"a","type":"hardlink","linkName":"../../etc"}"#,
            "lies outside of the root",
        ),
    ] {
        assert_eq!(reason(entries), expected, "{entries}");
    }
}

#[test]
fn refuses_what_is_no_table() {
    for json in [
        &b""[..],
        b"{",
        b"[]",
        b"{}",
        br#"{"version":2,"entries":[]}"#,
        br#"{"version":1,"entries":{}}"#,
        br#"{"version":1,"entries":[{"name":"a"}]}"#,
        br#"{"version":1,"entries":[{"name":"a","type":"reg","size":-1}]}"#,
        b"{\"version\":1,\"entries\":[{\"name\":\"\xff\",\"type\":\"dir\"}]}",
    ] {
        let refused = Toc::parse(json, 1000);
        assert!(matches!(refused, Err(ListError::Toc { .. })), "{refused:?}");
    }
}

#[test]
fn refuses_more_entries_than_there_is_memory_for() {
    let entry = r#"{"type":"dir"}"#;
    let entries = vec![entry; MAX_ENTRIES + 1].join(",");
    let refused = parsed(&entries);
    assert!(
        matches!(refused, Err(ListError::TooMuch { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_piece_ends_where_the_next_begins() {
    let toc = parsed(
        r#"{"name":"a","type":"reg","size":10,"offset":10,"chunkSize":5},
           {"name":"a","type":"chunk","offset":300,"chunkOffset":5},
           {"name":"b","type":"reg","size":1,"offset":200}"#,
    )
    .unwrap();
    let ranges: Vec<Packed> = toc
        .members
        .iter()
        .flat_map(|member| match &member.kind {
            Kind::File(File {
                content: Content::Chunks(chunks),
                ..
            }) => chunks.to_vec(),
            other => panic!("{other:?}"),
        })
        .map(|chunk| chunk.packed)
        .collect();
    let octets = |range| Packed::Octets { range, skip: 0 };
    assert_eq!(
        ranges,
        [octets(10..200), octets(300..1000), octets(200..300)]
    );
}
