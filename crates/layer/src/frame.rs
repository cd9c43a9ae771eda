//! The frame in front of a layer of the default format: magic, length, header (`SPEC.md`, section 1).

use indexmap::IndexMap;
use sealift_oci::MediaType;
use sealift_oci::json::{JsonError, Limits, Object, object};
use serde_json::value::RawValue;

use crate::annotations::Wraps;
use crate::error::{FirstOctets, FormatError, OpenError, Place, SealError};
use crate::options::PublicOptions;

/// ASCII `SEALIFT` and the format's version.
pub const MAGIC: &[u8; 8] = b"SEALIFT\x01";

/// Octets before the header: magic and the header's length.
pub const PREAMBLE_LEN: usize = MAGIC.len() + 4;

/// What the blob tells about itself: public, and not authenticated as a whole.
///
/// Changing a wrapped key only makes unwrapping or the commitment fail.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Header {
    /// The wrapped keys, as in the descriptor's annotations.
    pub wraps: Wraps,
    /// The public options.
    pub public: PublicOptions,
    /// The layer's media type without seal.
    pub media_type: MediaType,
}

impl Header {
    /// Renders magic, length and header.
    ///
    /// # Errors
    /// [`SealError::HeaderTooLong`] over [`MAX_LEN`](Self::MAX_LEN).
    pub fn to_frame(&self) -> Result<Vec<u8>, SealError> {
        let json = self.to_json();
        if json.len() > Self::MAX_LEN {
            return Err(SealError::HeaderTooLong {
                limit: Self::MAX_LEN,
            });
        }
        let len = u32::try_from(json.len()).map_err(|_| SealError::HeaderTooLong {
            limit: Self::MAX_LEN,
        })?;
        let mut frame = Vec::with_capacity(PREAMBLE_LEN + json.len());
        frame.extend_from_slice(MAGIC);
        frame.extend_from_slice(&len.to_be_bytes());
        frame.extend_from_slice(json.as_bytes());
        Ok(frame)
    }

    /// Renders the header alone.
    pub fn to_json(&self) -> String {
        let mut wraps = String::from("{");
        for (index, (key, value)) in self.wraps.to_annotations().iter().enumerate() {
            if index > 0 {
                wraps.push(',');
            }
            wraps.push_str(&text(key));
            wraps.push(':');
            wraps.push_str(&text(value));
        }
        wraps.push('}');
        format!(
            r#"{{"wraps":{wraps},"pubopts":{},"mediaType":{}}}"#,
            self.public.to_json(),
            text(self.media_type.as_str())
        )
    }

    /// Parses the header alone. Unknown members are ignored.
    ///
    /// # Errors
    /// [`OpenError::Malformed`] for anything ambiguous, [`OpenError::UnsupportedCipher`] with the cipher's name.
    pub fn from_json(json: &[u8]) -> Result<Self, OpenError> {
        let members = object(json, LIMITS).map_err(malformed)?;
        let public = member(&members, "pubopts")?;
        let public = PublicOptions::from_json(public.get().as_bytes())?;
        let PublicOptions::Chunked { .. } = public else {
            return Err(OpenError::Disagreement {
                what: crate::error::Fact::Cipher,
                one: Place::Header,
                other: Place::Message,
            });
        };
        let media_type: String = serde_json::from_str(member(&members, "mediaType")?.get())
            .map_err(|_| {
                malformed(FormatError::WrongType {
                    member: "mediaType",
                })
            })?;
        let wraps: IndexMap<String, String> = match members.get("wraps") {
            None => IndexMap::new(),
            Some(raw) => serde_json::from_str(raw.get())
                .map_err(|_| malformed(FormatError::WrongType { member: "wraps" }))?,
        };
        let wraps = wraps
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()));
        Ok(Self {
            wraps: Wraps::from_annotations(wraps).map_err(malformed)?,
            public,
            media_type: media_type
                .parse()
                .map_err(|error| malformed(FormatError::MediaType(error)))?,
        })
    }

    /// Reads the header's length out of magic and length.
    ///
    /// # Errors
    /// [`OpenError::NotSealed`] without the magic; [`OpenError::Malformed`] over [`MAX_LEN`](Self::MAX_LEN).
    pub fn len_in(preamble: &[u8; PREAMBLE_LEN]) -> Result<usize, OpenError> {
        if !preamble.starts_with(MAGIC) {
            return Err(OpenError::NotSealed {
                first: FirstOctets::of(preamble),
            });
        }
        header_len(preamble)
    }

    /// Most octets of the header.
    pub const MAX_LEN: usize = 1_048_576;
    /// Most objects and arrays within each other.
    pub const MAX_DEPTH: usize = 8;
}

/// Reads the header's length; `preamble` begins with the magic.
pub(crate) fn header_len(preamble: &[u8; PREAMBLE_LEN]) -> Result<usize, OpenError> {
    let [.., a, b, c, d] = *preamble;
    usize::try_from(u32::from_be_bytes([a, b, c, d]))
        .ok()
        .filter(|len| *len <= Header::MAX_LEN)
        .ok_or_else(|| {
            malformed(JsonError::TooLong {
                limit: Header::MAX_LEN,
            })
        })
}

fn member<'a>(members: &'a Object, name: &'static str) -> Result<&'a RawValue, OpenError> {
    match members.get(name) {
        Some(value) if value.get() != "null" => Ok(value),
        _ => Err(malformed(FormatError::Missing { member: name })),
    }
}

fn malformed(source: impl Into<FormatError>) -> OpenError {
    OpenError::Malformed {
        place: Place::Header,
        source: source.into(),
    }
}

fn text(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

const LIMITS: Limits = Limits {
    len: Header::MAX_LEN,
    depth: Header::MAX_DEPTH,
};
