use std::fmt;

use sealift_agent::protocol::{
    Answer, Ask, Element, MAX_ANSWER_LEN, MAX_ELEMENTS, MAX_QUESTION_LEN, ProtocolError, Question,
    Refusal, Reply, Secret, Unwrap, frame, read_frame,
};
use sealift_keywrap::{MAX_ELEMENT_LEN, Scheme, WrappedKey};
use zeroize::Zeroizing;

fn wrapped(len: usize) -> Element {
    Element(WrappedKey {
        scheme: Scheme::sealift(),
        element: vec![b'x'; len],
    })
}

fn unwrap(wanted: Element, siblings: Vec<Element>) -> Question {
    Question::new(Ask::Unwrap(Unwrap {
        wanted,
        subject: Some("ab".into()),
        siblings,
    }))
}

fn reread(question: &Question) -> Result<Question, ProtocolError> {
    let framed = frame(question, MAX_QUESTION_LEN)?;
    Question::parse(&read_frame(&mut framed.as_slice(), MAX_QUESTION_LEN)?)
}

fn kind<T: fmt::Debug>(result: Result<T, ProtocolError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn the_json_is_as_documented() {
    let question = unwrap(wrapped(2), vec![]);
    assert_eq!(
        serde_json::to_string(&question).unwrap(),
        r#"{"v":1,"ask":{"unwrap":{"wanted":{"scheme":"provider.sealift","element":"eHg="},"subject":"ab","siblings":[]}}}"#
    );
    let answer = Answer {
        v: 1,
        node: "tokyo-7".into(),
        reply: Reply::Refused(Refusal::Denied {
            by: "fra".into(),
            code: "Forbidden".into(),
        }),
    };
    let json = serde_json::to_string(&answer).unwrap();
    assert_eq!(
        json,
        r#"{"v":1,"node":"tokyo-7","reply":{"refused":{"kind":"denied","by":"fra","code":"Forbidden"}}}"#
    );
    let Reply::Refused(refusal) = Answer::parse(json.as_bytes()).unwrap().reply else {
        panic!("not refused");
    };
    assert_eq!(refusal.to_string(), "denied by key holder `fra`: Forbidden");
}

#[test]
fn a_secret_comes_through_and_is_never_shown() {
    let secret = Secret(Zeroizing::new(vec![0xfb; 159]));
    assert_eq!(format!("{secret:?}"), "Secret(..)");
    let answer = Answer {
        v: 1,
        node: "n".into(),
        reply: Reply::Secret(secret),
    };
    let framed = frame(&answer, MAX_ANSWER_LEN).unwrap();
    // Neither too small, which would have been grown, nor larger than needed.
    assert_eq!(framed.capacity(), framed.len());
    let json = read_frame(&mut framed.as_slice(), MAX_ANSWER_LEN).unwrap();
    let Reply::Secret(secret) = Answer::parse(&json).unwrap().reply else {
        panic!("no secret");
    };
    assert_eq!(*secret.0, vec![0xfb; 159]);
}

#[test]
fn limits_are_kept() {
    let most = |count| unwrap(wrapped(1), (0..count).map(|_| wrapped(1)).collect());
    let siblings = |request: Result<Question, ProtocolError>| {
        request.map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(siblings(reread(&most(MAX_ELEMENTS - 1))), Ok(()));
    let too_much = "too many elements, or too long ones";
    assert_eq!(kind(reread(&most(MAX_ELEMENTS))), too_much);
    let long = |count| {
        unwrap(
            wrapped(1),
            (0..count).map(|_| wrapped(MAX_ELEMENT_LEN)).collect(),
        )
    };
    assert_eq!(siblings(reread(&long(31))), Ok(()));
    assert_eq!(kind(reread(&long(32))), too_much);
    let too_long = unwrap(wrapped(MAX_ELEMENT_LEN + 1), vec![]);
    assert_eq!(kind(reread(&too_long)), "malformed message");
    assert_eq!(
        kind(frame(&wrapped(3000), 100)),
        "message of 4042 octets, at most 100 are allowed"
    );
    // Refused by its announcement, before memory is set aside.
    assert_eq!(
        kind(read_frame(&mut [0xff; 4].as_slice(), MAX_QUESTION_LEN)),
        "message of 4294967295 octets, at most 1048576 are allowed"
    );
}

#[test]
fn garbage_is_refused_by_kind() {
    for (json, expected) in [
        ("", "malformed message"),
        ("{}", "malformed message"),
        (r#"{"v":1}"#, "malformed message"),
        (r#"{"v":2,"ask":"dance"}"#, "messages of version 2, not 1"),
        (r#"{"v":1,"ask":"dance"}"#, "malformed message"),
        (r#"{"v":1,"ask":"status","more":1}"#, "malformed message"),
        (r#"{"v":1,"v":1,"ask":"status"}"#, "malformed message"),
        (
            r#"{"v":1,"ask":{"unwrap":{"wanted":{"scheme":"none","element":""},"subject":null}}}"#,
            "malformed message",
        ),
        (
            r#"{"v":1,"ask":{"unwrap":{"wanted":{"scheme":"jwe","element":"%"},"subject":null}}}"#,
            "malformed message",
        ),
    ] {
        assert_eq!(kind(Question::parse(json.as_bytes())), expected, "{json}");
    }
    let whole = frame(&Question::new(Ask::Status), 100).unwrap();
    for len in 0..whole.len() {
        let cut = kind(read_frame(&mut &whole[..len], 100));
        assert_eq!(cut, "connection ended within a message", "{len}");
    }
}
