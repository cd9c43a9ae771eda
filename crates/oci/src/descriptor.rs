use indexmap::IndexMap;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::digest::Digest;
use crate::document::DocumentError;
use crate::json::{Object, raw};
use crate::media_type::MediaType;
use crate::platform::Platform;

/// A typed pointer to a blob (image-spec, `descriptor.md`). Unknown members are kept as they were written.
#[derive(Clone, Debug)]
pub struct Descriptor {
    members: Object,
    media_type: MediaType,
    digest: Digest,
    size: u64,
    annotations: IndexMap<String, String>,
    urls: Vec<String>,
    platform: Option<Platform>,
}

impl Descriptor {
    /// Points to a blob.
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        let mut members = Object::new();
        members.insert("mediaType".into(), raw(&media_type.as_str()));
        members.insert("digest".into(), raw(&digest.to_string()));
        members.insert("size".into(), raw(&size));
        Self {
            members,
            media_type,
            digest,
            size,
            annotations: IndexMap::new(),
            urls: Vec::new(),
            platform: None,
        }
    }

    /// Reads a descriptor that stands at `place` in a document.
    ///
    /// # Errors
    /// [`DocumentError::Member`], naming the place and the member.
    pub fn from_raw(text: &RawValue, place: &str) -> Result<Self, DocumentError> {
        let bad = |member: &str, reason: &str| DocumentError::Member {
            place: format!("{place}{member}").into(),
            reason: reason.into(),
        };
        let members: Object =
            serde_json::from_str(text.get()).map_err(|_| bad("", "is not an object"))?;
        let string = |member: &str| -> Result<String, DocumentError> {
            let value = members
                .get(member)
                .ok_or_else(|| bad(&format!(".{member}"), "is missing"))?;
            serde_json::from_str(value.get())
                .map_err(|_| bad(&format!(".{member}"), "is not a string"))
        };
        let media_type = string("mediaType")?
            .parse()
            .map_err(|error| bad(".mediaType", &format!("{error}")))?;
        let digest = string("digest")?
            .parse()
            .map_err(|error| bad(".digest", &format!("{error}")))?;
        let size = members
            .get("size")
            .ok_or_else(|| bad(".size", "is missing"))?;
        let size = serde_json::from_str::<u64>(size.get())
            .ok()
            .filter(|size| *size <= Self::MAX_SIZE)
            .ok_or_else(|| bad(".size", "is not a size in octets"))?;
        let annotations = optional(&members, "annotations")
            .map_err(|()| bad(".annotations", "is not a map of strings"))?;
        let urls =
            optional(&members, "urls").map_err(|()| bad(".urls", "is not a list of strings"))?;
        let platform =
            optional(&members, "platform").map_err(|()| bad(".platform", "is not a platform"))?;
        Ok(Self {
            media_type,
            digest,
            size,
            annotations: annotations.unwrap_or_default(),
            urls: urls.unwrap_or_default(),
            platform,
            members,
        })
    }

    /// Returns what kind of blob it is.
    pub fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// Returns the digest of the blob.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns the length of the blob in octets.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the annotations in their order.
    pub fn annotations(&self) -> &IndexMap<String, String> {
        &self.annotations
    }

    /// Returns one annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).map(String::as_str)
    }

    /// Returns other places to fetch the blob from.
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Returns the platform, in an index.
    pub fn platform(&self) -> Option<&Platform> {
        self.platform.as_ref()
    }

    /// Returns the type of the artifact that the blob describes, if given.
    pub fn artifact_type(&self) -> Option<String> {
        optional(&self.members, "artifactType").ok().flatten()
    }

    /// Returns the same descriptor pointing to other content. An inlined `data` member would be stale and goes.
    #[must_use]
    pub fn with_content(mut self, media_type: MediaType, digest: Digest, size: u64) -> Self {
        if digest != self.digest {
            self.members.shift_remove("data");
        }
        self.members
            .insert("mediaType".into(), raw(&media_type.as_str()));
        self.members
            .insert("digest".into(), raw(&digest.to_string()));
        self.members.insert("size".into(), raw(&size));
        Self {
            media_type,
            digest,
            size,
            ..self
        }
    }

    /// Returns the same descriptor with other annotations; none removes the member.
    #[must_use]
    pub fn with_annotations(mut self, annotations: IndexMap<String, String>) -> Self {
        if annotations.is_empty() {
            self.members.shift_remove("annotations");
        } else if annotations != self.annotations {
            self.members.insert("annotations".into(), raw(&annotations));
        }
        Self {
            annotations,
            ..self
        }
    }

    /// Returns the same descriptor without `urls`.
    #[must_use]
    pub fn without_urls(mut self) -> Self {
        self.members.shift_remove("urls");
        Self {
            urls: Vec::new(),
            ..self
        }
    }

    /// Returns the same descriptor with a platform.
    #[must_use]
    pub fn with_platform(mut self, platform: Platform) -> Self {
        self.members.insert("platform".into(), raw(&platform));
        Self {
            platform: Some(platform),
            ..self
        }
    }

    /// Renders the descriptor as JSON; members that were not edited keep their text.
    pub fn to_raw(&self) -> Box<RawValue> {
        raw(&self.members)
    }

    /// Largest size a descriptor may claim: what a signed 64-bit integer holds, as in every Go implementation.
    pub const MAX_SIZE: u64 = i64::MAX as u64;
}

impl PartialEq for Descriptor {
    fn eq(&self, other: &Self) -> bool {
        self.to_raw().get() == other.to_raw().get()
    }
}

impl Eq for Descriptor {}

/// Reads a member that may be absent or null.
pub(crate) fn optional<T: DeserializeOwned>(members: &Object, name: &str) -> Result<Option<T>, ()> {
    match members.get(name) {
        None => Ok(None),
        Some(value) => serde_json::from_str(value.get()).map_err(|_| ()),
    }
}
