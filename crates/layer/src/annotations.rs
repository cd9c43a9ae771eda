//! The `org.opencontainers.image.enc.*` annotations of a layer descriptor, and the recipients' list of ours.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use indexmap::IndexMap;
use sealift_keywrap::{Scheme, WrappedKey};
use sealift_oci::json::{Limits, check};
use serde::{Deserialize, Serialize};

use crate::error::FormatError;

/// Public options, base64 of their JSON.
pub const PUBLIC_OPTIONS: &str = "org.opencontainers.image.enc.pubopts";
/// Who the wrapped keys are for: our own, ignored by other tools.
pub const RECIPIENTS: &str = "dev.sealift.recipients";

/// The wrapped keys of one layer, in the order in which they are tried; equal ones are kept once.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Wraps {
    elements: Vec<WrappedKey>,
    faults: Vec<FormatError>,
}

impl Wraps {
    /// Reads the comma lists of all key annotations.
    ///
    /// An element that is not base64 or too long does not stop the others: it is kept as a [fault](Self::faults).
    ///
    /// # Errors
    /// [`FormatError::TooMuch`] over [`MAX_PER_SCHEME`](Self::MAX_PER_SCHEME) or [`MAX`](Self::MAX) elements.
    pub fn from_annotations<'a>(
        annotations: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, FormatError> {
        let mut wraps = Self::default();
        for (key, value) in annotations {
            let Some(scheme) = Scheme::from_annotation_key(key) else {
                continue;
            };
            // An empty value counts as absent, as ocicrypt has it.
            let texts = value.split(',').filter(|_| !value.is_empty());
            for (count, text) in texts.enumerate() {
                if count >= Self::MAX_PER_SCHEME {
                    return Err(FormatError::TooMuch {
                        what: "wrapped keys of one scheme",
                        limit: Self::MAX_PER_SCHEME,
                    });
                }
                match element(key, text) {
                    Ok(element) => wraps.push(WrappedKey {
                        scheme: scheme.clone(),
                        element,
                    })?,
                    // Faults take memory too, and there is no end of provider names.
                    Err(_) if wraps.elements.len() + wraps.faults.len() >= Self::MAX => {
                        return Err(FormatError::TooMuch {
                            what: "wrapped keys",
                            limit: Self::MAX,
                        });
                    }
                    Err(fault) => wraps.faults.push(fault),
                }
            }
        }
        Ok(wraps)
    }

    /// Appends an element unless it is there already.
    ///
    /// # Errors
    /// [`FormatError::TooMuch`] when a limit would be exceeded; nothing is appended then.
    pub fn push(&mut self, wrap: WrappedKey) -> Result<(), FormatError> {
        if self.elements.contains(&wrap) {
            return Ok(());
        }
        if wrap.element.len() > Self::MAX_ELEMENT_LEN {
            return Err(TOO_LONG);
        }
        let of_scheme = self
            .elements
            .iter()
            .filter(|other| other.scheme == wrap.scheme)
            .count();
        if of_scheme >= Self::MAX_PER_SCHEME {
            return Err(FormatError::TooMuch {
                what: "wrapped keys of one scheme",
                limit: Self::MAX_PER_SCHEME,
            });
        }
        if self.elements.len() + self.faults.len() >= Self::MAX {
            return Err(FormatError::TooMuch {
                what: "wrapped keys",
                limit: Self::MAX,
            });
        }
        self.elements.push(wrap);
        Ok(())
    }

    /// Appends the elements of `others` that are not there already.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn merge(&mut self, others: &Self) -> Result<(), FormatError> {
        for wrap in &others.elements {
            self.push(wrap.clone())?;
        }
        self.faults.extend(others.faults.iter().cloned());
        self.faults.truncate(Self::MAX);
        Ok(())
    }

    /// Appends the elements of `others` that are not there already, and their faults.
    ///
    /// Elements beyond a limit are left out and become a fault: both lists may be within limits, and belong to one layer
    /// whose recipients have changed.
    pub fn append_what_fits(&mut self, others: &Self) {
        let mut faults = others.faults.clone();
        for wrap in &others.elements {
            if let Err(fault) = self.push(wrap.clone())
                && !faults.contains(&fault)
            {
                faults.push(fault);
            }
        }
        self.faults.extend(faults);
        self.faults.truncate(Self::MAX);
    }

    /// Copies all elements but those in `others`, and the faults.
    #[must_use]
    pub fn without(&self, others: &[WrappedKey]) -> Self {
        Self {
            elements: self
                .elements
                .iter()
                .filter(|wrap| !others.contains(wrap))
                .cloned()
                .collect(),
            faults: self.faults.clone(),
        }
    }

    /// Borrows the elements in order.
    pub fn as_slice(&self) -> &[WrappedKey] {
        &self.elements
    }

    /// Returns what was wrong with elements that had to be left out.
    pub fn faults(&self) -> &[FormatError] {
        &self.faults
    }

    /// Returns whether there is no element at all.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// Renders one comma list per scheme, in the order in which schemes first appear.
    pub fn to_annotations(&self) -> IndexMap<String, String> {
        let mut lists = IndexMap::<String, String>::new();
        for wrap in &self.elements {
            let list = lists.entry(wrap.scheme.annotation_key()).or_default();
            if !list.is_empty() {
                list.push(',');
            }
            STANDARD.encode_string(&wrap.element, list);
        }
        lists
    }

    /// Most elements of one scheme.
    pub const MAX_PER_SCHEME: usize = 64;
    /// Most elements of all schemes together.
    pub const MAX: usize = 256;
    /// Most octets of one element, after base64.
    pub const MAX_ELEMENT_LEN: usize = 16 * 1024;
}

/// Who the elements of a layer are for: `dev.sealift.recipients`.
///
/// A hint for people and for removing recipients. Nothing is trusted because it stands here.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Recipients(IndexMap<String, RecipientNote>);

/// What is told about one recipient.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RecipientNote {
    /// The envelope's name, as in the annotation key.
    #[serde(default)]
    pub scheme: String,
    /// Hex SHA-256 of the recipient's public key.
    #[serde(default)]
    pub fingerprint: String,
    /// Free text of whoever added the recipient.
    #[serde(default)]
    pub comment: String,
}

impl Recipients {
    /// Notes whom `wrap` is for.
    pub fn note(&mut self, wrap: &WrappedKey, fingerprint: String, comment: String) {
        let note = RecipientNote {
            scheme: wrap.scheme.to_string(),
            fingerprint,
            comment,
        };
        // More than there can be wrapped keys are not read; the oldest may be of some that are gone.
        while self.0.len() >= Wraps::MAX {
            self.0.shift_remove_index(0);
        }
        self.0.insert(element_id(wrap), note);
    }

    /// Forgets whom `wrap` was for.
    pub fn forget(&mut self, wrap: &WrappedKey) {
        self.0.shift_remove(&element_id(wrap));
    }

    /// Appends what `others` tell about recipients of whom nothing is told yet, up to [`Wraps::MAX`] in all.
    pub fn append_what_fits(&mut self, others: &Self) {
        for (id, note) in &others.0 {
            if self.0.len() >= Wraps::MAX {
                return;
            }
            self.0.entry(id.clone()).or_insert_with(|| note.clone());
        }
    }

    /// Returns what is told about the recipient of `wrap`.
    pub fn of(&self, wrap: &WrappedKey) -> Option<&RecipientNote> {
        self.0.get(&element_id(wrap))
    }

    /// Returns whether nothing is told.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Renders the annotation.
    pub fn to_json(&self) -> String {
        // INVARIANT: a map of strings always serialises.
        serde_json::to_string(&self.0).unwrap_or_default()
    }

    /// Parses the annotation.
    ///
    /// # Errors
    /// [`FormatError`]; callers that only want hints may go on without.
    pub fn from_json(json: &str) -> Result<Self, FormatError> {
        check(json.as_bytes(), RECIPIENT_LIMITS)?;
        let notes: IndexMap<String, RecipientNote> = serde_json::from_str(json)
            .map_err(|_| FormatError::WrongType { member: RECIPIENTS })?;
        if notes.len() > Wraps::MAX {
            return Err(FormatError::TooMuch {
                what: "recipients",
                limit: Wraps::MAX,
            });
        }
        Ok(Self(notes))
    }
}

/// Decodes one value that is base64, skipping line breaks as Go's decoder does.
pub(crate) fn element(annotation: &str, text: &str) -> Result<Vec<u8>, FormatError> {
    if text.len() / 4 * 3 > Wraps::MAX_ELEMENT_LEN + LINE_BREAKS {
        return Err(TOO_LONG);
    }
    let unbroken: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    match STANDARD.decode(unbroken) {
        Ok(element) if element.len() > Wraps::MAX_ELEMENT_LEN => Err(TOO_LONG),
        Ok(element) if !element.is_empty() => Ok(element),
        _ => Err(FormatError::Base64 {
            member: sealift_oci::json::excerpt(annotation),
        }),
    }
}

/// Returns what names an element in [`RECIPIENTS`]: the first 16 hex digits of the SHA-256 of its octets.
pub fn element_id(wrap: &WrappedKey) -> String {
    let mut hex = hex::encode(digest(&SHA256, &wrap.element));
    hex.truncate(16);
    hex
}

const TOO_LONG: FormatError = FormatError::TooMuch {
    what: "octets in one wrapped key",
    limit: Wraps::MAX_ELEMENT_LEN,
};

/// How much longer line breaks may make a base64 text.
const LINE_BREAKS: usize = 1024;

const RECIPIENT_LIMITS: Limits = Limits {
    len: 256 * 1024,
    depth: 4,
};
