//! The PKCS #11 URI scheme (RFC 7512), as far as it names a token, a key in it, a module and a PIN.

use std::fmt;

use thiserror::Error;
use zeroize::Zeroizing;

/// Longest URI, in octets.
pub const MAX_URI_LEN: usize = 4096;

/// Longest PIN, in octets; tokens tell shorter limits of their own.
pub const MAX_PIN_LEN: usize = 255;

/// Names a key in a token.
///
/// Attributes that would narrow the choice and are not understood are refused, since the key found might be another; an
/// unknown attribute behind `?` is passed over, as RFC 7512 has it (section 2.4). Known attributes on the wrong side of
/// `?` are refused: a PIN there would be no PIN.
#[derive(Debug, Default)]
pub struct TokenUri {
    texts: [Option<Box<str>>; TEXTS.len()],
    slot_id: Option<u64>,
    id: Option<Box<[u8]>>,
    module_path: Option<Box<str>>,
    module_name: Option<Box<str>>,
    pin: Option<PinSource>,
}

/// Where the PIN of a token comes from.
#[derive(Debug)]
pub enum PinSource {
    /// It stands in the URI.
    Value(Pin),
    /// It is the content of this file, an absolute path.
    File(Box<str>),
}

/// A PIN. Wiped on drop, silent under `Debug`.
pub struct Pin(Zeroizing<Vec<u8>>);

impl Pin {
    /// Takes the octets of a PIN, exactly.
    ///
    /// # Errors
    /// [`UriError::Pin`] for an empty one and beyond [`MAX_PIN_LEN`].
    pub fn new(octets: Zeroizing<Vec<u8>>) -> Result<Self, UriError> {
        if octets.is_empty() || octets.len() > MAX_PIN_LEN {
            return Err(UriError::Pin { limit: MAX_PIN_LEN });
        }
        Ok(Self(octets))
    }

    /// Borrows the PIN.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin(..)")
    }
}

/// Why a text is no URI of a key. No message repeats a value.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum UriError {
    /// Another scheme, or none.
    #[error("does not begin with `pkcs11:`")]
    Scheme,
    /// Longer than any URI.
    #[error("URI is longer than {limit} octets")]
    TooLong {
        /// [`MAX_URI_LEN`].
        limit: usize,
    },
    /// Something between separators that is no `name=value`.
    #[error("attribute {number} of the URI is not of the form name=value")]
    Attribute {
        /// Its position, from 1.
        number: usize,
    },
    /// An attribute that would narrow the choice, and is not understood.
    #[error("attribute `{name}` is not supported")]
    Unknown {
        /// Its name.
        name: Box<str>,
    },
    /// An attribute on the wrong side of the `?`.
    #[error("attribute `{name}` belongs {} the `?`", if *.behind { "behind" } else { "before" })]
    Misplaced {
        /// Its name.
        name: Box<str>,
        /// Whether it belongs behind the `?`.
        behind: bool,
    },
    /// The same attribute twice.
    #[error("attribute `{name}` is given twice")]
    Duplicate {
        /// Its name.
        name: Box<str>,
    },
    /// A value that is no percent-encoding, or not of its attribute's form.
    #[error("value of attribute `{name}` is not valid: {reason}")]
    Value {
        /// The attribute's name.
        name: Box<str>,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Two PINs.
    #[error("pin-value and pin-source are both given")]
    TwoPins,
    /// A PIN of a length that none has.
    #[error("PIN is empty or longer than {limit} octets")]
    Pin {
        /// [`MAX_PIN_LEN`].
        limit: usize,
    },
}

impl TokenUri {
    /// Returns whether a text is meant as a URI, with or without its scheme, and not as the name of a file.
    pub fn looks_like(text: &str) -> bool {
        let bare = text.strip_prefix('?').unwrap_or(text);
        // Those that belong behind the question mark, too: a PIN in the wrong place must not pass for a file's name.
        text.starts_with(SCHEME)
            || bare.split_once('=').is_some_and(|(name, _)| {
                TEXTS.contains(&name)
                    || ["id", "slot-id", "type"].contains(&name)
                    || name.starts_with("pin-")
                    || name.starts_with("module-")
            })
    }

    /// Reads a URI; `pkcs11:` must stand before it.
    ///
    /// # Errors
    /// [`UriError`]
    pub fn parse(text: &str) -> Result<Self, UriError> {
        if text.len() > MAX_URI_LEN {
            return Err(UriError::TooLong { limit: MAX_URI_LEN });
        }
        let rest = text.strip_prefix(SCHEME).ok_or(UriError::Scheme)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self::default();
        let mut has_type = false;
        for attribute in attributes(path, ';') {
            let (name, value) = attribute?;
            if let Some(slot) = text_slot(&mut uri.texts, name) {
                once(name, slot.is_none())?;
                *slot = Some(decoded_text(name, value)?);
                continue;
            }
            match name {
                "id" => {
                    once(name, uri.id.is_none())?;
                    let id = decoded(name, value)?;
                    if id.is_empty() || id.len() > MAX_ID_LEN {
                        return Err(value_error(name, "empty, or longer than any"));
                    }
                    uri.id = Some(id.as_slice().into());
                }
                "slot-id" => {
                    once(name, uri.slot_id.is_none())?;
                    let digits = decoded_text(name, value)?;
                    let number = Some(&*digits).filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
                    let number = number.and_then(|text| text.parse().ok());
                    uri.slot_id = Some(number.ok_or_else(|| value_error(name, "not a number"))?);
                }
                // Which of the two is wanted follows from what is done.
                "type" => {
                    once(name, !has_type)?;
                    has_type = true;
                    if !matches!(&*decoded_text(name, value)?, "private" | "public") {
                        return Err(value_error(name, "neither private nor public"));
                    }
                }
                _ => return Err(misplaced_or_unknown(name, &QUERY, true)),
            }
        }
        for attribute in attributes(query, '&') {
            let (name, value) = attribute?;
            match name {
                "module-path" => {
                    once(name, uri.module_path.is_none())?;
                    let path = decoded_text(name, value)?;
                    if !is_absolute(&path) {
                        return Err(value_error(name, "not an absolute path"));
                    }
                    uri.module_path = Some(path);
                }
                "module-name" => {
                    once(name, uri.module_name.is_none())?;
                    let file = decoded_text(name, value)?;
                    if file.is_empty() || file.contains(['/', '\\']) {
                        return Err(value_error(name, "not the name of a file"));
                    }
                    uri.module_name = Some(file);
                }
                "pin-value" => {
                    uri.only_pin(matches!(uri.pin, Some(PinSource::Value(_))), name)?;
                    uri.pin = Some(PinSource::Value(Pin::new(decoded(name, value)?)?));
                }
                "pin-source" => {
                    uri.only_pin(matches!(uri.pin, Some(PinSource::File(_))), name)?;
                    uri.pin = Some(PinSource::File(pin_file(name, value)?));
                }
                _ if TEXTS.contains(&name) || ["id", "slot-id", "type"].contains(&name) => {
                    return Err(misplaced_or_unknown(name, &[name], false));
                }
                _ => {}
            }
        }
        Ok(uri)
    }

    fn only_pin(&self, same: bool, name: &str) -> Result<(), UriError> {
        match (&self.pin, same) {
            (None, _) => Ok(()),
            (Some(_), true) => once(name, false),
            (Some(_), false) => Err(UriError::TwoPins),
        }
    }

    /// Returns the label of the token (`token`).
    pub fn token(&self) -> Option<&str> {
        self.text("token")
    }

    /// Returns a text attribute before the `?` by its name.
    pub fn text(&self, name: &str) -> Option<&str> {
        let position = TEXTS.iter().position(|known| *known == name)?;
        self.texts.get(position)?.as_deref()
    }

    /// Returns the number of the slot (`slot-id`).
    pub const fn slot_id(&self) -> Option<u64> {
        self.slot_id
    }

    /// Returns the label of the key (`object`).
    pub fn object(&self) -> Option<&str> {
        self.text("object")
    }

    /// Returns the identifier of the key (`id`).
    pub fn id(&self) -> Option<&[u8]> {
        self.id.as_deref()
    }

    /// Returns the module's file, or the folder it is in (`module-path`).
    pub fn module_path(&self) -> Option<&str> {
        self.module_path.as_deref()
    }

    /// Returns the module's name (`module-name`).
    pub fn module_name(&self) -> Option<&str> {
        self.module_name.as_deref()
    }

    /// Returns where the PIN comes from.
    pub const fn pin(&self) -> Option<&PinSource> {
        self.pin.as_ref()
    }

    /// Takes the PIN out.
    pub const fn take_pin(&mut self) -> Option<PinSource> {
        self.pin.take()
    }
}

/// Writes what stands before the `?`, in one spelling: names the key, tells no PIN, and reads as a URI again.
impl fmt::Display for TokenUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SCHEME)?;
        let mut separator = "";
        for (name, value) in TEXTS.iter().zip(&self.texts) {
            if let Some(value) = value {
                write!(f, "{separator}{name}=")?;
                encode(value.as_bytes(), f)?;
                separator = ";";
            }
        }
        if let Some(number) = self.slot_id {
            write!(f, "{separator}slot-id={number}")?;
            separator = ";";
        }
        if let Some(id) = &self.id {
            write!(f, "{separator}id=")?;
            for octet in id {
                write!(f, "%{octet:02X}")?;
            }
        }
        Ok(())
    }
}

/// Reads `name=value` between separators; a separator at the end, or nothing at all, is no attribute.
fn attributes(text: &str, separator: char) -> impl Iterator<Item = Result<(&str, &str), UriError>> {
    let text = text.strip_suffix(separator).unwrap_or(text);
    let parts = (!text.is_empty()).then(|| text.split(separator));
    (1..)
        .zip(parts.into_iter().flatten())
        .map(|(number, part)| match part.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name, value)),
            _ => Err(UriError::Attribute { number }),
        })
}

fn text_slot<'a>(
    texts: &'a mut [Option<Box<str>>; TEXTS.len()],
    name: &str,
) -> Option<&'a mut Option<Box<str>>> {
    let position = TEXTS.iter().position(|known| *known == name)?;
    texts.get_mut(position)
}

fn once(name: &str, first: bool) -> Result<(), UriError> {
    if first {
        return Ok(());
    }
    Err(UriError::Duplicate { name: name.into() })
}

fn misplaced_or_unknown(name: &str, known: &[&str], behind: bool) -> UriError {
    let printed = crate::error::printable(name);
    if known.contains(&name) {
        UriError::Misplaced {
            name: printed,
            behind,
        }
    } else {
        UriError::Unknown { name: printed }
    }
}

fn value_error(name: &str, reason: &'static str) -> UriError {
    UriError::Value {
        name: name.into(),
        reason,
    }
}

/// Undoes percent-encoding (RFC 3986, section 2.1).
fn decoded(name: &str, value: &str) -> Result<Zeroizing<Vec<u8>>, UriError> {
    let mut octets = Zeroizing::new(Vec::with_capacity(value.len()));
    let mut rest = value.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        match first {
            b'%' => {
                let (digits, behind) = rest
                    .split_at_checked(2)
                    .ok_or_else(|| value_error(name, "an incomplete percent-encoding"))?;
                let digit = |octet: u8| char::from(octet).to_digit(16);
                let octet = match digits {
                    [high, low] => digit(*high).zip(digit(*low)),
                    _ => None,
                };
                let octet = octet
                    .and_then(|(high, low)| u8::try_from(high * 16 + low).ok())
                    .ok_or_else(|| value_error(name, "an incomplete percent-encoding"))?;
                octets.push(octet);
                rest = behind;
            }
            b'!'..=b'~' if !br##""#<>\^`{}"##.contains(first) => octets.push(*first),
            _ => {
                return Err(value_error(
                    name,
                    "a character that must be percent-encoded",
                ));
            }
        }
    }
    Ok(octets)
}

fn decoded_text(name: &str, value: &str) -> Result<Box<str>, UriError> {
    let octets = decoded(name, value)?;
    let text = str::from_utf8(&octets).map_err(|_| value_error(name, "not UTF-8"))?;
    if text.chars().any(char::is_control) {
        return Err(value_error(name, "a control character"));
    }
    Ok(text.into())
}

/// Reads `pin-source`: an absolute path, plain or as `file:` URI. Commands (`|program`) are not started.
fn pin_file(name: &str, value: &str) -> Result<Box<str>, UriError> {
    let text = decoded_text(name, value)?;
    let path = match text.strip_prefix("file:") {
        Some(rest) => match rest.strip_prefix("//") {
            // An authority that names no other machine.
            Some(behind) => behind.strip_prefix("localhost").unwrap_or(behind),
            None => rest,
        },
        None => &*text,
    };
    if !is_absolute(path) {
        return Err(value_error(
            name,
            "neither an absolute path nor a file: URI of this machine",
        ));
    }
    Ok(path.into())
}

/// Whether a path is absolute on Unix, or on Windows with its drive.
pub(super) fn is_absolute(path: &str) -> bool {
    let drive =
        matches!(path.as_bytes(), [letter, b':', b'\\' | b'/', ..] if letter.is_ascii_alphabetic());
    path.starts_with('/') || drive
}

fn encode(octets: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for octet in octets {
        match octet {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                write!(f, "{}", char::from(*octet))?;
            }
            _ => write!(f, "%{octet:02X}")?,
        }
    }
    Ok(())
}

const SCHEME: &str = "pkcs11:";

/// Attributes before the `?` whose values are text; a token that has another value is another token.
const TEXTS: [&str; 7] = [
    "token",
    "manufacturer",
    "serial",
    "model",
    "slot-description",
    "slot-manufacturer",
    "object",
];

/// Attributes behind the `?`.
const QUERY: [&str; 4] = ["module-path", "module-name", "pin-value", "pin-source"];

/// Longest identifier of a key, in octets.
const MAX_ID_LEN: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> TokenUri {
        TokenUri::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn reads_what_rfc_7512_shows() {
        // Section 3 of RFC 7512, as far as keys are concerned.
        let uri = parse("pkcs11:object=my-pubkey;type=public");
        assert_eq!(uri.object(), Some("my-pubkey"));
        let uri = parse("pkcs11:object=my-key;type=private?pin-source=file:/etc/token");
        assert!(matches!(uri.pin(), Some(PinSource::File(path)) if &**path == "/etc/token"));
        let uri = parse(
            "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;\
             model=1.0;object=my-certificate;type=public;id=%69%95%3E%5C%F4%BD%EC%91;serial=?pin-source=file:/etc/token_pin",
        );
        assert_eq!(uri.token(), Some("The Software PKCS#11 Softtoken"));
        assert_eq!(uri.text("manufacturer"), Some("Snake Oil, Inc."));
        assert_eq!(uri.text("serial"), Some(""));
        assert_eq!(uri.id(), Some(&b"\x69\x95\x3e\x5c\xf4\xbd\xec\x91"[..]));
        let uri = parse("pkcs11:object=my-sign-key;type=private?module-name=mypkcs11");
        assert_eq!(uri.module_name(), Some("mypkcs11"));
        let uri = parse("pkcs11:object=my-sign-key;type=private?module-path=/mnt/libmypkcs11.so.1");
        assert_eq!(uri.module_path(), Some("/mnt/libmypkcs11.so.1"));
        let uri = parse(
            "pkcs11:token=Software%20PKCS%2311%20softtoken;manufacturer=Snake%20Oil,%20Inc.?pin-value=the-pin",
        );
        assert!(matches!(uri.pin(), Some(PinSource::Value(pin)) if pin.expose() == b"the-pin"));
        parse("pkcs11:");
        parse("pkcs11:slot-id=327;token=x?vendor-thing=1&pin-value=1");
    }

    #[test]
    fn refuses_what_names_something_else() {
        let unknown = |name: &str| UriError::Unknown { name: name.into() };
        let twice = |name: &str| UriError::Duplicate { name: name.into() };
        let before = |name: &str| UriError::Misplaced {
            name: name.into(),
            behind: false,
        };
        let behind = |name: &str| UriError::Misplaced {
            name: name.into(),
            behind: true,
        };
        for (text, expected) in [
            ("", UriError::Scheme),
            ("token=x", UriError::Scheme),
            ("PKCS11:token=x", UriError::Scheme),
            ("pkcs11:token", UriError::Attribute { number: 1 }),
            (
                "pkcs11:token=x;;object=y",
                UriError::Attribute { number: 2 },
            ),
            ("pkcs11:=x", UriError::Attribute { number: 1 }),
            ("pkcs11:token=x?pin", UriError::Attribute { number: 1 }),
            ("pkcs11:tokem=x", unknown("tokem")),
            ("pkcs11:library-version=3", unknown("library-version")),
            ("pkcs11:x-vendor=3", unknown("x-vendor")),
            ("pkcs11:token=x;pin-value=1", behind("pin-value")),
            ("pkcs11:token=x;module-name=m", behind("module-name")),
            ("pkcs11:?token=x", before("token")),
            ("pkcs11:token=x?id=%01", before("id")),
            ("pkcs11:token=x;token=x", twice("token")),
            ("pkcs11:id=1;id=1", twice("id")),
            ("pkcs11:type=public;type=public", twice("type")),
            ("pkcs11:?pin-value=1&pin-value=1", twice("pin-value")),
            ("pkcs11:?pin-source=/a&pin-source=/a", twice("pin-source")),
            ("pkcs11:?pin-value=1&pin-source=/p", UriError::TwoPins),
            ("pkcs11:?pin-source=/p&pin-value=1", UriError::TwoPins),
            ("pkcs11:?pin-value=", UriError::Pin { limit: 255 }),
        ] {
            assert_eq!(TokenUri::parse(text).unwrap_err(), expected, "{text}");
        }
        let long = format!("pkcs11:token={}", "x".repeat(MAX_URI_LEN));
        let limit = MAX_URI_LEN;
        assert_eq!(
            TokenUri::parse(&long).unwrap_err(),
            UriError::TooLong { limit }
        );
        let long = format!("pkcs11:?pin-value={}", "1".repeat(256));
        assert_eq!(
            TokenUri::parse(&long).unwrap_err(),
            UriError::Pin { limit: 255 }
        );
    }

    #[test]
    fn refuses_values_that_are_none() {
        for text in [
            "pkcs11:token=%",
            "pkcs11:token=%4",
            "pkcs11:token=%4g",
            "pkcs11:token=%+4",
            "pkcs11:token=a b",
            "pkcs11:token=a#b",
            "pkcs11:token=\u{e9}",
            "pkcs11:token=%ff",
            "pkcs11:token=%00",
            "pkcs11:object=%0a",
            "pkcs11:id=",
            "pkcs11:slot-id=",
            "pkcs11:slot-id=-1",
            "pkcs11:slot-id=+1",
            "pkcs11:slot-id=18446744073709551616",
            "pkcs11:type=cert",
            "pkcs11:?module-path=libx.so",
            "pkcs11:?module-name=",
            "pkcs11:?module-name=../x",
            "pkcs11:?module-name=..%2fx",
            "pkcs11:?pin-source=pin.txt",
            "pkcs11:?pin-source=%7Cprogram",
            "pkcs11:?pin-source=http://x/y",
            "pkcs11:?pin-source=file://elsewhere/y",
        ] {
            let error = TokenUri::parse(text).unwrap_err();
            assert!(matches!(error, UriError::Value { .. }), "{text}: {error}");
        }
    }

    #[test]
    fn pin_files_are_absolute_paths() {
        for (source, path) in [
            ("/etc/pin", "/etc/pin"),
            ("file:/etc/pin", "/etc/pin"),
            ("file:///etc/pin", "/etc/pin"),
            ("file://localhost/etc/pin", "/etc/pin"),
            ("/etc/%70in%20x", "/etc/pin x"),
            ("C:%5Cpin", r"C:\pin"),
        ] {
            let uri = parse(&format!("pkcs11:token=x?pin-source={source}"));
            assert!(
                matches!(uri.pin(), Some(PinSource::File(found)) if &**found == path),
                "{source}"
            );
        }
    }

    #[test]
    fn prints_what_it_read_without_the_pin() {
        for (text, printed) in [
            ("pkcs11:", "pkcs11:"),
            (
                "pkcs11:id=%01a;object=my%20key;token=T?pin-value=1234&module-name=m",
                "pkcs11:token=T;object=my%20key;id=%01%61",
            ),
            ("pkcs11:slot-id=007;type=private", "pkcs11:slot-id=7"),
            ("pkcs11:object=a,b", "pkcs11:object=a%2Cb"),
        ] {
            let uri = parse(text);
            assert_eq!(uri.to_string(), printed);
            assert_eq!(parse(printed).to_string(), printed);
            assert!(!format!("{uri:?}").contains("1234"));
        }
    }

    #[test]
    fn a_file_name_is_not_taken_for_a_uri() {
        for (text, expected) in [
            ("pkcs11:token=x", true),
            ("token=x", true),
            ("id=%01", true),
            ("slot-id=1;object=x", true),
            ("pin-value=1234;token=x", true),
            ("?pin-value=1234&module-name=m", true),
            ("module-path=/m.so", true),
            ("key.yaml", false),
            ("./token=x", false),
            ("a=b", false),
            ("token", false),
        ] {
            assert_eq!(TokenUri::looks_like(text), expected, "{text}");
        }
    }
}
