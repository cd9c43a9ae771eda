//! Textual encodings (RFC 7468), and the headers of RFC 1421 that old private keys carry.

use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use super::{KeyError, MAX_KEYS};

/// One `BEGIN` … `END` block. Its octets are wiped on drop.
pub(crate) struct Block {
    label: String,
    headers: Vec<(String, String)>,
    octets: Zeroizing<Vec<u8>>,
}

/// What `DEK-Info` says.
pub(super) struct DekInfo {
    pub(super) cipher: String,
    pub(super) iv: Vec<u8>,
}

impl Block {
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    pub(crate) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Returns how the octets are encrypted (RFC 1421, sections 4.6.1.1 and 4.6.1.3); `None` if they are not.
    pub(super) fn encryption(&self) -> Result<Option<DekInfo>, KeyError> {
        let find = |name: &str| {
            self.headers
                .iter()
                .find(|(header, _)| header == name)
                .map(|(_, value)| value.as_str())
        };
        match (find("Proc-Type"), find("DEK-Info")) {
            (None, None) => Ok(None),
            (Some("4,ENCRYPTED"), Some(info)) => {
                let (cipher, iv) = info
                    .split_once(',')
                    .ok_or_else(|| KeyError::unsupported_encryption(info))?;
                Ok(Some(DekInfo {
                    cipher: cipher.trim().to_owned(),
                    iv: hex::decode(iv.trim()).map_err(|_| KeyError::malformed("DEK-Info"))?,
                }))
            }
            _ => Err(KeyError::malformed(
                "Proc-Type without DEK-Info, or reverse",
            )),
        }
    }
}

/// Returns whether a file holds the start of a block.
pub(crate) fn looks_like(file: &[u8]) -> bool {
    file.windows(BEGIN.len())
        .any(|window| window == BEGIN.as_bytes())
}

/// Reads all blocks; text between them is passed over, as RFC 7468 section 2 allows.
pub(crate) fn blocks(file: &[u8]) -> Result<Vec<Block>, KeyError> {
    let text = str::from_utf8(file).map_err(|_| KeyError::malformed("PEM is not text"))?;
    let mut lines = text.lines().map(str::trim_end);
    let mut blocks = Vec::new();
    while let Some(line) = lines.next() {
        let Some(label) = boundary(line, BEGIN) else {
            continue;
        };
        // Public blocks may stand beside the keys that are counted.
        if blocks.len() == 2 * MAX_KEYS {
            return Err(KeyError::TooMany { limit: MAX_KEYS });
        }
        blocks.push(block(label, &mut lines)?);
    }
    Ok(blocks)
}

/// Writes one block, with lines of 64 characters.
pub(crate) fn render(label: &str, octets: &[u8]) -> Zeroizing<String> {
    let mut base64 = Zeroizing::new(String::with_capacity(octets.len().div_ceil(3) * 4));
    STANDARD.encode_string(octets, &mut base64);
    let len = 2 * (BEGIN.len() + label.len() + 8) + base64.len() + base64.len() / LINE_LEN + 2;
    let mut text = Zeroizing::new(String::with_capacity(len));
    for part in [BEGIN, label, "-----\n"] {
        text.push_str(part);
    }
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(LINE_LEN));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    for part in [END, label, "-----\n"] {
        text.push_str(part);
    }
    text
}

fn block<'a>(label: &str, lines: &mut impl Iterator<Item = &'a str>) -> Result<Block, KeyError> {
    let mut headers = Vec::new();
    let mut base64 = Zeroizing::new(String::new());
    for line in lines {
        if let Some(end) = boundary(line, END) {
            if end != label {
                return Err(KeyError::malformed("PEM ends with another label"));
            }
            let octets = STANDARD
                .decode(base64.as_bytes())
                .map_err(|_| KeyError::malformed("PEM is not base64"))?;
            return Ok(Block {
                label: label.to_owned(),
                headers,
                octets: Zeroizing::new(octets),
            });
        }
        match line.split_once(':') {
            Some((name, value)) if base64.is_empty() && headers.len() < MAX_HEADERS => {
                headers.push((name.trim().to_owned(), value.trim().to_owned()));
            }
            Some(_) => return Err(KeyError::malformed("PEM header out of place")),
            None => {
                // Grown by hand: `String` would leave unwiped copies behind.
                if base64.capacity() - base64.len() < line.len() {
                    let mut larger =
                        Zeroizing::new(String::with_capacity(2 * (base64.len() + line.len())));
                    larger.push_str(&base64);
                    base64 = larger;
                }
                base64.push_str(line.trim_start());
            }
        }
    }
    Err(KeyError::malformed("PEM without end"))
}

fn boundary<'a>(line: &'a str, kind: &str) -> Option<&'a str> {
    line.strip_prefix(kind)?.strip_suffix("-----")
}

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";

/// Characters of base64 in a line (RFC 7468, section 2).
const LINE_LEN: usize = 64;

/// Most header lines in one block.
const MAX_HEADERS: usize = 8;
