//! What a registry says when it refuses (distribution-spec, "Error Codes").

use serde::Deserialize;

use crate::error::Failure;
use crate::http::Answer;

/// The error codes and messages in the body of an answer.
#[derive(Debug, Default)]
pub(crate) struct Complaint {
    pub(crate) codes: Vec<String>,
    pub(crate) text: String,
}

impl Complaint {
    /// Reads what can be read; a body that is too long, late or not JSON counts as silence.
    pub(crate) async fn read(answer: &mut Answer) -> Self {
        match answer.body(MAX_LEN).await {
            Ok(Some(body)) => Self::parse(&body),
            Ok(None) | Err(_) => Self::default(),
        }
    }

    fn parse(body: &[u8]) -> Self {
        let Ok(document) = serde_json::from_slice::<Document>(body) else {
            return Self::default();
        };
        let mut complaint = Self::default();
        for Entry { code, message } in document.errors.into_iter().take(MAX_ENTRIES) {
            let separator = if complaint.text.is_empty() { "" } else { "; " };
            let colon = if code.is_empty() || message.is_empty() {
                ""
            } else {
                ": "
            };
            complaint.text += &format!(
                "{separator}{}{colon}{}",
                printable(&code),
                printable(&message)
            );
            complaint.codes.push(code);
        }
        complaint
    }

    /// Returns whether the registry gave this code.
    pub(crate) fn has(&self, code: &str) -> bool {
        self.codes.iter().any(|own| own == code)
    }
}

/// Makes a failure of an answer that was not the one asked for.
pub(crate) async fn failure(answer: &mut Answer) -> Failure {
    Failure::Status {
        status: answer.status(),
        detail: Complaint::read(answer).await.text.into(),
    }
}

#[derive(Deserialize)]
struct Document {
    errors: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

const MAX_LEN: usize = 64 * 1024;
const MAX_ENTRIES: usize = 4;
const MAX_TEXT_LEN: usize = 200;

/// Cuts a text from outside, and drops control characters and the queries of URLs, which may hold signatures.
fn printable(text: &str) -> String {
    let mut printed = String::new();
    let mut in_query = false;
    for c in text.chars().take(MAX_TEXT_LEN) {
        if c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ')') {
            in_query = false;
        }
        if !in_query {
            printed.push(if c.is_control() { ' ' } else { c });
        }
        if c == '?' {
            in_query = true;
        }
    }
    printed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_code_and_message_without_queries_and_control_characters() {
        let complaint = Complaint::parse(
            br#"{"errors":[{"code":"DENIED","message":"see https://x/y?sig=abc for\u001b[31m more"},{"code":"X"}]}"#,
        );
        assert_eq!(complaint.text, "DENIED: see https://x/y? for [31m more; X");
        assert!(complaint.has("X"));
        assert!(!complaint.has("Y"));
    }

    #[test]
    fn other_bodies_are_silence() {
        for body in [&b"<html>"[..], b"", b"{}", br#"{"errors":1}"#] {
            assert_eq!(Complaint::parse(body).text, "");
        }
    }
}
