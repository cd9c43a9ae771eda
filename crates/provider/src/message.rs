//! The messages of ocicrypt's key-provider protocol, as JSON: those that go out octet for octet as Go writes them, those that
//! come in as liberally as Go reads them.
//!
//! Go writes octet strings as base64 and reads base64 or arrays of numbers; the Rust implementations want arrays in answers. So
//! both are read here, and answers are written as arrays, which everybody reads. Of an encryption or decryption configuration
//! in a request nothing is looked at: who asks us has no say in which keys are used, and keys of others are none of our business.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use sealift_keywrap::{LayerSecret, MAX_ELEMENT_LEN};
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::ProviderName;

/// Renders the request to wrap a layer key.
pub fn wrap_request(
    name: &ProviderName,
    parameters: &[u8],
    secret: &LayerSecret,
) -> Zeroizing<Vec<u8>> {
    let mut text = Text::with_room_for(&[parameters, secret.expose()]);
    text.push(r#"{"op":"keywrap","keywrapparams":{"ec":{"Parameters":"#);
    text.push_parameters(name, parameters);
    text.push(r#","DecryptConfig":{"Parameters":{}}},"optsdata":""#);
    text.push_base64(secret.expose());
    text.push(r#""},"keyunwrapparams":{"dc":null,"annotation":null}}"#);
    text.into_octets()
}

/// Renders the request to unwrap an annotation.
pub fn unwrap_request(
    name: &ProviderName,
    parameters: &[u8],
    element: &[u8],
) -> Zeroizing<Vec<u8>> {
    let mut text = Text::with_room_for(&[parameters, element]);
    text.push(
        r#"{"op":"keyunwrap","keywrapparams":{"ec":null,"optsdata":null},"keyunwrapparams":{"dc":{"Parameters":"#,
    );
    text.push_parameters(name, parameters);
    text.push(r#"},"annotation":""#);
    text.push_base64(element);
    text.push(r#""}}"#);
    text.into_octets()
}

/// Reads what a provider made of a layer key: an element for an annotation.
///
/// # Errors
/// [`MessageError`]
pub fn wrap_answer(json: &[u8]) -> Result<Vec<u8>, MessageError> {
    let answer: Answer = parse(json, MAX_ANSWER_LEN)?;
    let element = answer
        .keywrapresults
        .and_then(|results| results.annotation.0)
        .ok_or(MessageError::Missing("keywrapresults.annotation"))?;
    if element.is_empty() {
        return Err(MessageError::Missing("keywrapresults.annotation"));
    }
    Ok(element.to_vec())
}

/// Reads the layer key that a provider unwrapped.
///
/// # Errors
/// [`MessageError`]
pub fn unwrap_answer(json: &[u8]) -> Result<LayerSecret, MessageError> {
    let answer: Answer = parse(json, MAX_ANSWER_LEN)?;
    let secret = answer
        .keyunwrapresults
        .and_then(|results| results.optsdata.0)
        .ok_or(MessageError::Missing("keyunwrapresults.optsdata"))?;
    if secret.is_empty() {
        return Err(MessageError::Missing("keyunwrapresults.optsdata"));
    }
    Ok(LayerSecret::new(secret))
}

/// What a provider is asked for.
#[derive(Debug)]
pub enum Request {
    /// To wrap a layer key.
    Wrap(LayerSecret),
    /// To unwrap an element of an annotation.
    Unwrap(Vec<u8>),
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    /// [`MessageError`]
    pub fn parse(json: &[u8]) -> Result<Self, MessageError> {
        let question: Question = parse(json, MAX_REQUEST_LEN)?;
        match &*question.op {
            "keywrap" => question
                .keywrapparams
                .and_then(|params| params.optsdata.0)
                .filter(|secret| !secret.is_empty())
                .map(|secret| Self::Wrap(LayerSecret::new(secret)))
                .ok_or(MessageError::Missing("keywrapparams.optsdata")),
            "keyunwrap" => question
                .keyunwrapparams
                .and_then(|params| params.annotation.0)
                .filter(|element| !element.is_empty())
                .map(|element| Self::Unwrap(element.to_vec()))
                .ok_or(MessageError::Missing("keyunwrapparams.annotation")),
            _ => Err(MessageError::Operation),
        }
    }
}

/// Renders the answer to [`Request::Wrap`].
pub fn wrapped(element: &[u8]) -> Zeroizing<Vec<u8>> {
    answer(r#"{"keywrapresults":{"annotation":["#, element)
}

/// Renders the answer to [`Request::Unwrap`].
pub fn unwrapped(secret: &LayerSecret) -> Zeroizing<Vec<u8>> {
    answer(r#"{"keyunwrapresults":{"optsdata":["#, secret.expose())
}

fn answer(head: &str, octets: &[u8]) -> Zeroizing<Vec<u8>> {
    // Four characters for each octet: three digits and a comma.
    let mut text = Text(Zeroizing::new(String::with_capacity(
        head.len() + 4 * octets.len() + 3,
    )));
    text.push(head);
    for (position, octet) in octets.iter().enumerate() {
        if position > 0 {
            text.push(",");
        }
        text.push_number(*octet);
    }
    text.push("]}}");
    text.into_octets()
}

/// Why a message is none.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum MessageError {
    /// It is too long.
    #[error("longer than {0} octets")]
    TooLong(usize),
    /// It is not JSON of the expected shape.
    #[error("not JSON as the key-provider protocol has it")]
    Shape,
    /// A member that matters is missing, null or empty.
    #[error("nothing in `{0}`")]
    Missing(&'static str),
    /// It asks for something that does not exist.
    #[error("`op` is neither `keywrap` nor `keyunwrap`")]
    Operation,
}

/// Most octets of an answer: an element as an array of numbers, generously indented.
pub const MAX_ANSWER_LEN: usize = 16 * MAX_ELEMENT_LEN;

/// Most octets of a request: other tools send all their keys along.
pub const MAX_REQUEST_LEN: usize = 4 * 1024 * 1024;

/// Most octets of an element or a layer key in a message.
pub const MAX_OCTETS: usize = MAX_ELEMENT_LEN;

fn parse<'a, T: Deserialize<'a>>(json: &'a [u8], limit: usize) -> Result<T, MessageError> {
    if json.len() > limit {
        return Err(MessageError::TooLong(limit));
    }
    // Structures would be read from arrays, too.
    let first = json.iter().find(|octet| !octet.is_ascii_whitespace());
    if first != Some(&b'{') {
        return Err(MessageError::Shape);
    }
    serde_json::from_slice(json).map_err(|_| MessageError::Shape)
}

#[derive(Deserialize)]
struct Answer {
    keywrapresults: Option<WrapResults>,
    keyunwrapresults: Option<UnwrapResults>,
}

#[derive(Deserialize)]
struct WrapResults {
    #[serde(default)]
    annotation: Octets,
}

#[derive(Deserialize)]
struct UnwrapResults {
    #[serde(default)]
    optsdata: Octets,
}

#[derive(Deserialize)]
struct Question {
    op: Box<str>,
    keywrapparams: Option<WrapParams>,
    keyunwrapparams: Option<UnwrapParams>,
}

#[derive(Deserialize)]
struct WrapParams {
    #[serde(default)]
    optsdata: Octets,
}

#[derive(Deserialize)]
struct UnwrapParams {
    #[serde(default)]
    annotation: Octets,
}

/// An octet string in any of its forms, null among them. Wiped on drop.
#[derive(Default)]
struct Octets(Option<Zeroizing<Vec<u8>>>);

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OctetsVisitor)
    }
}

struct OctetsVisitor;

impl<'de> Visitor<'de> for OctetsVisitor {
    type Value = Octets;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("base64 or an array of octets")
    }

    fn visit_unit<E>(self) -> Result<Octets, E> {
        Ok(Octets(None))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Octets, E> {
        // As Go has it, line ends within base64 are passed over.
        let mut packed = Zeroizing::new(Vec::with_capacity(text.len()));
        packed.extend(text.bytes().filter(|b| !matches!(b, b'\r' | b'\n')));
        if packed.len() > MAX_OCTETS.div_ceil(3) * 4 {
            return Err(E::custom("too long"));
        }
        let mut octets = Zeroizing::new(vec![0; packed.len() / 4 * 3]);
        let written = STANDARD
            .decode_slice(&*packed, &mut octets)
            .map_err(|_| E::custom("not base64"))?;
        octets.truncate(written);
        limited(octets)
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Octets, E> {
        self.visit_str(&Zeroizing::new(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Octets, A::Error> {
        let mut octets = Zeroizing::new(Vec::with_capacity(MAX_OCTETS));
        while let Some(octet) = items.next_element::<u8>()? {
            if octets.len() >= MAX_OCTETS {
                return Err(serde::de::Error::custom("too long"));
            }
            octets.push(octet);
        }
        Ok(Octets(Some(octets)))
    }
}

fn limited<E: serde::de::Error>(octets: Zeroizing<Vec<u8>>) -> Result<Octets, E> {
    if octets.len() > MAX_OCTETS {
        return Err(E::custom("too long"));
    }
    Ok(Octets(Some(octets)))
}

/// JSON under construction, wiped on drop. Its room is taken once, so that no copy of a key stays in freed memory.
struct Text(Zeroizing<String>);

impl Text {
    fn with_room_for(octets: &[&[u8]]) -> Self {
        let base64: usize = octets.iter().map(|part| part.len().div_ceil(3) * 4).sum();
        Self(Zeroizing::new(String::with_capacity(ENVELOPE_LEN + base64)))
    }

    fn push(&mut self, text: &str) {
        self.0.push_str(text);
    }

    /// Appends a map that holds what is meant for this provider, and nothing else.
    fn push_parameters(&mut self, name: &ProviderName, parameters: &[u8]) {
        // INVARIANT: a provider's name has no character that JSON, or Go's way of writing it, would escape.
        self.push("{\"");
        self.push(name.as_str());
        self.push("\":[\"");
        self.push_base64(parameters);
        self.push("\"]}");
    }

    fn push_base64(&mut self, octets: &[u8]) {
        STANDARD.encode_string(octets, &mut self.0);
    }

    fn push_number(&mut self, octet: u8) {
        let digit = |value: u8| char::from(b'0' + value % 10);
        if octet >= 100 {
            self.0.push(digit(octet / 100));
        }
        if octet >= 10 {
            self.0.push(digit(octet / 10));
        }
        self.0.push(digit(octet));
    }

    fn into_octets(mut self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(std::mem::take(&mut *self.0).into_bytes())
    }
}

/// Most octets of a request beside its base64: 150 and a name.
const ENVELOPE_LEN: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> ProviderName {
        ProviderName::parse("demo").unwrap()
    }

    fn secret(octets: &[u8]) -> LayerSecret {
        LayerSecret::new(Zeroizing::new(octets.to_vec()))
    }

    fn text(octets: &[u8]) -> &str {
        str::from_utf8(octets).unwrap()
    }

    /// The shapes that ocicrypt 1.1.10 writes, with a name and octets of ours in them.
    #[test]
    fn requests_are_octet_for_octet_what_go_writes() {
        let wrap = wrap_request(&name(), b"some:extra", &secret(b"\xfb\xff<>&"));
        assert_eq!(
            text(&wrap),
            r#"{"op":"keywrap","keywrapparams":{"ec":{"Parameters":{"demo":["c29tZTpleHRyYQ=="]},"DecryptConfig":{"Parameters":{}}},"optsdata":"+/88PiY="},"keyunwrapparams":{"dc":null,"annotation":null}}"#
        );
        let unwrap = unwrap_request(&name(), b"Enabled", b"blob");
        assert_eq!(
            text(&unwrap),
            r#"{"op":"keyunwrap","keywrapparams":{"ec":null,"optsdata":null},"keyunwrapparams":{"dc":{"Parameters":{"demo":["RW5hYmxlZA=="]}},"annotation":"YmxvYg=="}}"#
        );
    }

    #[test]
    fn a_request_takes_its_room_once() {
        let long = ProviderName::parse(&"a".repeat(ProviderName::MAX_LEN)).unwrap();
        let wrap = wrap_request(&long, &[7; 4096], &secret(&[7; 4096]));
        let room = ENVELOPE_LEN + 2 * 4096_usize.div_ceil(3) * 4;
        assert!(wrap.len() <= room);
        let unwrap = unwrap_request(&long, &[7; 4096], &[7; 4096]);
        assert!(unwrap.len() <= room);
    }

    #[test]
    fn answers_are_read_in_both_forms_with_the_other_half_or_without() {
        for json in [
            r#"{"keywrapresults":{"annotation":"AQL/"},"keyunwrapresults":{"optsdata":null}}"#,
            r#"{"keywrapresults":{"annotation":"AQL/"}}"#,
            r#"{"keywrapresults":{"annotation":[1,2,255]},"keyunwrapresults":null}"#,
            r#"{"keyunwrapresults":{},"keywrapresults":{"annotation":[ 1, 2, 255 ], "x":{}},"more":[]}"#,
            r#"{"keywrapresults":{"annotation":"AQ\r\nL/\n"},"keyunwrapresults":{"optsdata":""}}"#,
        ] {
            assert_eq!(wrap_answer(json.as_bytes()), Ok(vec![1, 2, 255]), "{json}");
        }
        for json in [
            r#"{"keywrapresults":{"annotation":null},"keyunwrapresults":{"optsdata":"AQL/"}}"#,
            r#"{"keyunwrapresults":{"optsdata":[1,2,255]}}"#,
        ] {
            let secret = unwrap_answer(json.as_bytes()).unwrap();
            assert_eq!(secret.expose(), [1, 2, 255], "{json}");
        }
    }

    #[test]
    fn other_answers_are_refused() {
        let long = format!(
            r#"{{"keywrapresults":{{"annotation":"{}"}}}}"#,
            "AAAA".repeat(MAX_OCTETS.div_ceil(3) + 1)
        );
        let many = format!(
            r#"{{"keywrapresults":{{"annotation":[{}1]}}}}"#,
            "1,".repeat(MAX_OCTETS)
        );
        for json in [
            "",
            "null",
            "[]",
            r#"{"keywrapresults":{"annotation":"AQL"}}"#,
            r#"{"keywrapresults":{"annotation":"AQL_"}}"#,
            r#"{"keywrapresults":{"annotation":"AR=="}}"#,
            r#"{"keywrapresults":{"annotation":[256]}}"#,
            r#"{"keywrapresults":{"annotation":[-1]}}"#,
            r#"{"keywrapresults":{"annotation":[1.5]}}"#,
            r#"{"keywrapresults":{"annotation":["1"]}}"#,
            r#"{"keywrapresults":{"annotation":{}}}"#,
            r#"{"keywrapresults":{"annotation":"AQL/","annotation":"AQL/"}}"#,
            r#"{"keywrapresults":{"annotation":"AQL/"}}{}"#,
            &long,
            &many,
        ] {
            assert_eq!(
                wrap_answer(json.as_bytes()),
                Err(MessageError::Shape),
                "{}",
                json.get(..60).unwrap_or(json)
            );
        }
        let other_half = r#"{"keyunwrapresults":{"optsdata":"AQL/"}}"#;
        for json in [
            "{}",
            r#"{"keywrapresults":null}"#,
            r#"{"keywrapresults":{}}"#,
            r#"{"keywrapresults":{"annotation":null}}"#,
            r#"{"keywrapresults":{"annotation":""}}"#,
            r#"{"keywrapresults":{"annotation":[]}}"#,
            other_half,
        ] {
            let expected = Err(MessageError::Missing("keywrapresults.annotation"));
            assert_eq!(wrap_answer(json.as_bytes()), expected, "{json}");
        }
        let padded = vec![b' '; MAX_ANSWER_LEN + 1];
        assert_eq!(
            wrap_answer(&padded),
            Err(MessageError::TooLong(MAX_ANSWER_LEN))
        );
    }

    #[test]
    fn our_answers_are_arrays_and_read_back() {
        let octets: Vec<u8> = (0..=255).collect();
        let answer = wrapped(&octets);
        let numbers: Vec<String> = octets.iter().map(ToString::to_string).collect();
        let expected = format!(
            r#"{{"keywrapresults":{{"annotation":[{}]}}}}"#,
            numbers.join(",")
        );
        assert_eq!(text(&answer), expected);
        assert_eq!(wrap_answer(&answer), Ok(octets));
        let answer = unwrapped(&secret(b"\x00\x7f\xff"));
        assert_eq!(
            text(&answer),
            r#"{"keyunwrapresults":{"optsdata":[0,127,255]}}"#
        );
    }

    #[test]
    fn requests_are_read_with_null_wherever_it_may_stand() {
        let parse = |json: &str| Request::parse(json.as_bytes());
        for json in [
            text(&wrap_request(&name(), b"x", &secret(b"key"))),
            r#"{"op":"keywrap","keywrapparams":{"ec":{"Parameters":null,"DecryptConfig":{"Parameters":null}},"optsdata":"a2V5"},"keyunwrapparams":{"dc":null,"annotation":null}}"#,
            r#"{"op":"keywrap","keywrapparams":{"ec":null,"optsdata":[107,101,121]},"keyunwrapparams":null}"#,
            r#"{"op":"keywrap","keywrapparams":{"optsdata":"a2V5"}}"#,
        ] {
            let Ok(Request::Wrap(secret)) = parse(json) else {
                panic!("{json}");
            };
            assert_eq!(secret.expose(), b"key");
        }
        for json in [
            text(&unwrap_request(&name(), b"x", b"blob")),
            r#"{"op":"keyunwrap","keywrapparams":{"ec":null,"optsdata":null},"keyunwrapparams":{"dc":{"Parameters":{"privkeys":["eA=="],"privkeys-passwords":[null]}},"annotation":"YmxvYg=="}}"#,
        ] {
            let Ok(Request::Unwrap(element)) = parse(json) else {
                panic!("{json}");
            };
            assert_eq!(element, b"blob");
        }
    }

    #[test]
    fn other_requests_are_refused() {
        let error = |json: &str| Request::parse(json.as_bytes()).err();
        assert_eq!(error(r#"{"op":"sign"}"#), Some(MessageError::Operation));
        assert_eq!(error("{}"), Some(MessageError::Shape));
        for params in [
            r#"null"#,
            "{}",
            r#"{"optsdata":null}"#,
            r#"{"optsdata":""}"#,
        ] {
            let json = format!(r#"{{"op":"keywrap","keywrapparams":{params}}}"#);
            let missing = MessageError::Missing("keywrapparams.optsdata");
            assert_eq!(error(&json), Some(missing));
        }
        let json = r#"{"op":"keyunwrap","keywrapparams":{"optsdata":"a2V5"},"keyunwrapparams":{}}"#;
        let missing = MessageError::Missing("keyunwrapparams.annotation");
        assert_eq!(error(json), Some(missing));
    }
}
