//! The original manifest, index or config, sealed in an annotation of what replaced it (`SPEC.md`, section 4).

use std::fmt;
use std::io::{Read, Write};

use aws_lc_rs::rand::SecureRandom;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sealift_oci::MediaType;

use crate::chunked::{
    AeadLibrary, Commitment, Extent, MessageKey, MessageOpener, MessageSealer, PREFIX_LEN, Salt,
};
use crate::error::{FormatError, OpenError, Place, SealError};
use crate::key::{LayerKey, expand};
use crate::layer_id::LayerId;

/// Annotation of a manifest or index that holds its sealed original.
pub const ORIGINAL: &str = "dev.sealift.original";
/// Annotation of a manifest that holds the sealed original of its config.
pub const ORIGINAL_CONFIG: &str = "dev.sealift.config";

/// Which document an original is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OriginalKind {
    /// An image manifest.
    Manifest,
    /// An image index.
    Index,
    /// An image configuration.
    Config,
}

impl fmt::Display for OriginalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manifest => "manifest",
            Self::Index => "index",
            Self::Config => "config",
        })
    }
}

/// A document as it was before sealing, octet for octet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Original {
    /// Its media type.
    pub media_type: MediaType,
    /// Its octets.
    pub octets: Vec<u8>,
}

impl Original {
    /// Most octets of a document that is kept or unpacked.
    pub const MAX_LEN: usize = 4 * 1024 * 1024;
}

/// Seals and opens originals under the key of one layer.
#[derive(Debug)]
pub struct OriginalKey {
    layer_key: LayerKey,
    id: Box<str>,
}

impl OriginalKey {
    /// Takes a layer's key and what names the layer.
    pub fn new(layer_key: LayerKey, id: &LayerId) -> Self {
        Self {
            layer_key,
            id: id.to_string().into(),
        }
    }

    /// Returns the layer's id as it stands in sealed originals.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Seals a document; the result is the annotation's value, or one element of an index's list.
    ///
    /// # Errors
    /// [`SealError::OriginalTooLong`], or [`SealError::Randomness`].
    pub fn seal(
        &self,
        kind: OriginalKind,
        original: &Original,
        rng: &dyn SecureRandom,
    ) -> Result<String, SealError> {
        let mut salt = [0; Salt::LEN];
        rng.fill(&mut salt).map_err(|_| SealError::Randomness)?;
        self.seal_with_salt(kind, original, &Salt(salt))
    }

    /// Seals with a given salt. For test vectors: a salt must never be used twice.
    ///
    /// # Errors
    /// As [`seal`](Self::seal).
    pub fn seal_with_salt(
        &self,
        kind: OriginalKind,
        original: &Original,
        salt: &Salt,
    ) -> Result<String, SealError> {
        if original.octets.len() > Original::MAX_LEN {
            return Err(SealError::OriginalTooLong {
                limit: Original::MAX_LEN,
            });
        }
        let packed = pack(original).map_err(|_| SealError::Internal)?;
        let (key, commitment) = self.derive(kind, salt)?;
        let mut message = Vec::with_capacity(packed.len() + PREFIX_LEN + 1024);
        message.extend_from_slice(&salt.0);
        message.extend_from_slice(&commitment.0);
        let mut sealer = MessageSealer::new(key);
        sealer.update(&packed, &mut message)?;
        sealer.finish(&mut message)?;
        Ok(format!("{VERSION}{}.{}", self.id, STANDARD.encode(message)))
    }

    /// Opens one element made under this layer's key.
    ///
    /// # Errors
    /// [`OpenError::Authentication`] for another layer's element and for altered ones, [`OpenError::Malformed`] for what
    /// is not an element or unpacks to more than [`Original::MAX_LEN`].
    pub fn open(&self, kind: OriginalKind, element: &str) -> Result<Original, OpenError> {
        let element = Element::parse(element)?;
        if element.id != &*self.id {
            return Err(OpenError::Authentication);
        }
        let message = STANDARD.decode(element.message).map_err(|_| {
            malformed(FormatError::Base64 {
                member: ORIGINAL.into(),
            })
        })?;
        Extent::new(PREFIX_LEN as u64, message.len() as u64)?;
        let (prefix, chunks) = message
            .split_at_checked(PREFIX_LEN)
            .ok_or(OpenError::Truncated { after: None })?;
        let (salt, commitment) = prefix.split_at(Salt::LEN);
        let (Ok(salt), Ok(commitment)) = (salt.try_into(), commitment.try_into()) else {
            return Err(OpenError::Authentication);
        };
        let (key, expected) = self
            .derive(kind, &Salt(salt))
            .map_err(|_| OpenError::Authentication)?;
        if expected != Commitment(commitment) {
            return Err(OpenError::Authentication);
        }
        let mut packed = Vec::with_capacity(chunks.len());
        let mut opener = MessageOpener::new(key);
        opener.update(chunks, &mut packed)?;
        opener.finish(&mut packed)?;
        unpack(&packed).map_err(malformed)
    }

    fn derive(
        &self,
        kind: OriginalKind,
        salt: &Salt,
    ) -> Result<(MessageKey, Commitment), SealError> {
        let info = format!("sealift original v1\n{kind}\n{}\n", self.id);
        let mut key = zeroize::Zeroizing::new([0; LayerKey::LEN]);
        expand(self.layer_key.expose(), &[info.as_bytes()], key.as_mut());
        let key = LayerKey::from_octets(key.as_ref()).ok_or(SealError::Internal)?;
        Ok(MessageKey::derive(
            AeadLibrary::AwsLc,
            &key,
            salt,
            info.as_bytes(),
        )?)
    }
}

/// Lists the elements of an annotation with the id of the layer whose key opens each.
///
/// # Errors
/// [`OpenError::Malformed`] when any element is not of the form `v1.<id>.<base64>`, or there are more than
/// [`MAX_ELEMENTS`].
pub fn elements(annotation: &str) -> Result<Vec<(&str, &str)>, OpenError> {
    let elements: Vec<_> = annotation.split(',').take(MAX_ELEMENTS + 1).collect();
    if elements.len() > MAX_ELEMENTS {
        return Err(malformed(FormatError::TooMuch {
            what: "sealed originals",
            limit: MAX_ELEMENTS,
        }));
    }
    elements
        .into_iter()
        .map(|element| Ok((Element::parse(element)?.id, element)))
        .collect()
}

/// Most elements of one annotation.
pub const MAX_ELEMENTS: usize = 1024;

struct Element<'a> {
    id: &'a str,
    message: &'a str,
}

impl<'a> Element<'a> {
    fn parse(text: &'a str) -> Result<Self, OpenError> {
        let (id, message) = text
            .strip_prefix(VERSION)
            .and_then(|rest| rest.split_once('.'))
            .filter(|(id, _)| {
                !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b':')
            })
            .ok_or_else(|| malformed(FormatError::OriginalForm))?;
        Ok(Self { id, message })
    }
}

fn pack(original: &Original) -> std::io::Result<Vec<u8>> {
    let parts = [
        original.media_type.as_str().as_bytes(),
        b"\n",
        &original.octets,
    ];
    let mut encoder = zstd::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
    // Not knowing how little it is, zstd takes 15 MiB to work in.
    let len: usize = parts.iter().map(|part| part.len()).sum();
    encoder.set_pledged_src_size(Some(len as u64))?;
    for part in parts {
        encoder.write_all(part)?;
    }
    encoder.finish()
}

fn unpack(packed: &[u8]) -> Result<Original, FormatError> {
    const LIMIT: usize = Original::MAX_LEN + MediaType::MAX_LEN + 1;
    let no_zstd = |_| FormatError::WrongType { member: ORIGINAL };
    let mut decoder = zstd::Decoder::with_buffer(packed).map_err(no_zstd)?;
    decoder.window_log_max(MAX_WINDOW_LOG).map_err(no_zstd)?;
    let mut octets = Vec::new();
    decoder
        .take(LIMIT as u64 + 1)
        .read_to_end(&mut octets)
        .map_err(no_zstd)?;
    let end = octets
        .iter()
        .position(|octet| *octet == b'\n')
        .ok_or(FormatError::OriginalForm)?;
    let document = octets.split_off(end + 1);
    octets.truncate(end);
    if document.len() > Original::MAX_LEN {
        return Err(FormatError::TooMuch {
            what: "octets in one original",
            limit: Original::MAX_LEN,
        });
    }
    let media_type = String::from_utf8(octets).map_err(|_| FormatError::OriginalForm)?;
    Ok(Original {
        media_type: media_type.parse()?,
        octets: document,
    })
}

fn malformed(source: FormatError) -> OpenError {
    OpenError::Malformed {
        place: Place::Original,
        source,
    }
}

const VERSION: &str = "v1.";
const ZSTD_LEVEL: i32 = 9;
/// zstd level 9 on 4 MiB never needs more than 2^22.
const MAX_WINDOW_LOG: u32 = 23;
