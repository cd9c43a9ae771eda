//! Text that comes from outside made fit to be shown.

use std::borrow::Cow;

/// Replaces control and formatting characters, which could rewrite what stands on a terminal, by their escapes.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push(' '),
            c if c.is_control() || is_invisible(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

/// Shows the name of a file, which is octets: what is not UTF-8 and what could rewrite the terminal as escapes, also line ends.
pub(crate) fn file_name(name: &[u8]) -> String {
    let mut shown = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => shown.push_str("\\n"),
                c if c.is_control() || is_invisible(c) => shown.extend(c.escape_unicode()),
                c => shown.push(c),
            }
        }
        for octet in chunk.invalid() {
            shown.push_str(&format!("\\x{octet:02x}"));
        }
    }
    shown
}

/// Removes user names and passwords and queries from URLs, and what follows an authentication scheme.
pub(crate) fn redacted(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut after_scheme = false;
    for piece in text.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end();
        if after_scheme && word.len() >= MIN_TOKEN_LEN {
            shown.push('…');
            shown.push_str(piece.get(word.len()..).unwrap_or_default());
        } else {
            shown.push_str(&without_secrets(piece));
        }
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        after_scheme = bare.eq_ignore_ascii_case("bearer") || bare.eq_ignore_ascii_case("basic");
    }
    shown
}

/// Returns an octet count as people say it.
pub(crate) fn human(octets: u64) -> String {
    const UNITS: [(&str, u64); 4] = [
        ("TiB", 1 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
    ];
    for (unit, size) in UNITS {
        if octets >= size {
            let tenths = u128::from(octets) * 10 / u128::from(size);
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{octets} B")
}

/// Shortens a digest to what tells it from its neighbours.
pub(crate) fn short(digest: &sealift_oci::Digest) -> String {
    digest.hex().chars().take(12).collect()
}

/// A word with a URL in it loses what stands before `@` in the authority, and everything from `?` on.
fn without_secrets(word: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = word.split_once("://") else {
        return Cow::Borrowed(word);
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path, None),
    };
    if host.len() == authority.len() && query.is_none() {
        return Cow::Borrowed(word);
    }
    // What closes the word (a quote, a bracket, white space) belongs to the sentence, not to the query.
    let closing = query.map_or("", |query| {
        let kept = query.trim_end_matches(|c: char| c.is_whitespace() || "`'\"),;:".contains(c));
        query.get(kept.len()..).unwrap_or_default()
    });
    let ellipsis = if query.is_some() { "?…" } else { "" };
    Cow::Owned(format!("{scheme}://{host}{path}{ellipsis}{closing}"))
}

/// Characters without a shape that change the order or the look of others (Unicode Cf and the separators).
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

/// Words shorter than this that follow "basic" or "bearer" are English.
const MIN_TOKEN_LEN: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_credentials_and_queries_from_urls() {
        let table = [
            (
                "GET https://r.example/v2/?token=abc failed",
                "GET https://r.example/v2/?… failed",
            ),
            (
                "see `https://u:p@r.example/a?b=c`",
                "see `https://r.example/a?…`",
            ),
            (
                "https://u:p@ss@r.example:5000/v2/",
                "https://r.example:5000/v2/",
            ),
            ("https://r.example/v2/", "https://r.example/v2/"),
            (
                "Authorization: Bearer eyJhbGciOiJub25lIn0.e30. end",
                "Authorization: Bearer … end",
            ),
            (
                "authorization: \"Basic dXNlcjpwYXNzd29yZA==\"",
                "authorization: \"Basic …",
            ),
            ("basic checks failed", "basic checks failed"),
            ("docker://host/a@sha256:00", "docker://host/a@sha256:00"),
        ];
        for (text, expected) in table {
            assert_eq!(redacted(text), expected);
        }
    }

    #[test]
    fn escapes_what_could_move_the_cursor() {
        assert_eq!(printable("a\u{1b}[2Jb\r\nc"), "a\\u{1b}[2Jb\\u{d} c");
        assert_eq!(printable("x\u{202e}y"), "x\\u{202e}y");
        assert_eq!(printable("grün … ok"), "grün … ok");
    }

    #[test]
    fn names_of_files_are_shown_on_one_line() {
        for (name, expected) in [
            (&b"gr\xc3\xbcn"[..], "grün"),
            (b"a\nb\x1b[2J", "a\\nb\\u{1b}[2J"),
            (b"a\xff\xfeb", "a\\xff\\xfeb"),
            ("x\u{202e}y".as_bytes(), "x\\u{202e}y"),
        ] {
            assert_eq!(file_name(name), expected);
        }
    }

    #[test]
    fn sizes_are_never_rounded_up() {
        let table = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (20_386, "19.9 KiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "16777215.9 TiB"),
        ];
        for (octets, expected) in table {
            assert_eq!(human(octets), expected);
        }
    }
}
