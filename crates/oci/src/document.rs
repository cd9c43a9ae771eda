use indexmap::IndexMap;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::descriptor::{Descriptor, optional};
use crate::digest::Digest;
use crate::json::{self, JsonError, Limits, Object, raw};
use crate::media_type::MediaType;

/// What a reference can name: an image manifest or an index of them.
#[derive(Clone, Debug)]
pub enum Document {
    /// One image.
    Manifest(Box<Manifest>),
    /// Several.
    Index(Box<Index>),
}

impl Document {
    /// Reads a manifest or an index.
    ///
    /// `declared` is what the registry or the parent descriptor said; the document may leave its own `mediaType` out
    /// but must not contradict. A document that could be read as both kinds is refused (CVE-2021-41190).
    ///
    /// # Errors
    /// [`DocumentError`], naming the first fault.
    pub fn parse(octets: &[u8], declared: Option<&MediaType>) -> Result<Self, DocumentError> {
        let members = json::object(octets, LIMITS)?;
        match optional::<u32>(&members, "schemaVersion") {
            Ok(Some(2)) => {}
            Ok(Some(1)) => return Err(DocumentError::Schema1),
            _ => return Err(DocumentError::NotAManifest),
        }
        let own: Option<String> = optional(&members, "mediaType")
            .map_err(|()| DocumentError::member("mediaType", "is not a string"))?;
        let own = own
            .filter(|own| !own.is_empty())
            .map(|own| own.parse::<MediaType>());
        let own = own
            .transpose()
            .map_err(|error| DocumentError::member("mediaType", &format!("{error}")))?;
        // Registries answer with generic types for documents they do not look into; those declare nothing.
        let declared = declared.filter(|declared| declared.is_manifest() || declared.is_index());
        let media_type = match (own, declared) {
            (Some(own), Some(declared)) if own != *declared => {
                return Err(DocumentError::TypeMismatch {
                    own: own.as_str().into(),
                    declared: declared.as_str().into(),
                });
            }
            (Some(own), _) => own,
            (None, Some(declared)) => declared.clone(),
            (None, None) => {
                let guess = if members.contains_key("manifests") {
                    MediaType::OCI_INDEX
                } else {
                    MediaType::OCI_MANIFEST
                };
                guess.parse().map_err(|_| DocumentError::NotAManifest)?
            }
        };
        let ambiguous = members.contains_key("manifests")
            && (members.contains_key("layers") || members.contains_key("config"));
        if ambiguous {
            return Err(DocumentError::Ambiguous);
        }
        if media_type.is_index() {
            Ok(Self::Index(Box::new(Index::from_members(
                octets, media_type, members,
            )?)))
        } else if media_type.is_manifest() {
            Ok(Self::Manifest(Box::new(Manifest::from_members(
                octets, media_type, members,
            )?)))
        } else {
            Err(DocumentError::UnsupportedType {
                text: media_type.as_str().into(),
            })
        }
    }

    /// Returns the exact octets.
    pub fn octets(&self) -> &[u8] {
        match self {
            Self::Manifest(manifest) => manifest.octets(),
            Self::Index(index) => index.octets(),
        }
    }

    /// Returns the document's type, its own or the declared one.
    pub fn media_type(&self) -> &MediaType {
        match self {
            Self::Manifest(manifest) => manifest.media_type(),
            Self::Index(index) => index.media_type(),
        }
    }
}

/// An image manifest, with its exact octets.
#[derive(Clone, Debug)]
pub struct Manifest {
    octets: Box<[u8]>,
    members: Object,
    media_type: MediaType,
    config: Descriptor,
    layers: Vec<Descriptor>,
    annotations: IndexMap<String, String>,
    subject: Option<Descriptor>,
}

impl Manifest {
    fn from_members(
        octets: &[u8],
        media_type: MediaType,
        members: Object,
    ) -> Result<Self, DocumentError> {
        let config = members
            .get("config")
            .ok_or_else(|| DocumentError::member("config", "is missing"))?;
        let config = Descriptor::from_raw(config, "config")?;
        let layers = entries(&members, "layers")?;
        let annotations = annotations(&members)?;
        let subject = subject(&members)?;
        Ok(Self {
            octets: octets.into(),
            members,
            media_type,
            config,
            layers,
            annotations,
            subject,
        })
    }

    /// Returns the exact octets.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Returns the digest of the octets.
    pub fn digest(&self) -> Digest {
        Digest::sha256(&self.octets)
    }

    /// Returns its type, its own or the declared one.
    pub fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// Returns the configuration's descriptor.
    pub fn config(&self) -> &Descriptor {
        &self.config
    }

    /// Returns the layers, base first.
    pub fn layers(&self) -> &[Descriptor] {
        &self.layers
    }

    /// Returns the manifest's annotations in their order.
    pub fn annotations(&self) -> &IndexMap<String, String> {
        &self.annotations
    }

    /// Returns what the manifest is attached to.
    pub fn subject(&self) -> Option<&Descriptor> {
        self.subject.as_ref()
    }

    /// Returns the type of the artifact, if this is one.
    pub fn artifact_type(&self) -> Option<String> {
        optional(&self.members, "artifactType").ok().flatten()
    }

    /// Renders this manifest with other layers and annotations, as an OCI manifest; all else keeps its text.
    ///
    /// Docker types of manifest, configuration and layers become their OCI twins, because sealed layers exist only in
    /// OCI manifests.
    #[must_use]
    pub fn rewritten(
        &self,
        layers: Vec<Descriptor>,
        annotations: IndexMap<String, String>,
    ) -> Self {
        let as_oci = |descriptor: Descriptor| {
            let twin = descriptor.media_type().to_oci();
            let (digest, size) = (descriptor.digest().clone(), descriptor.size());
            if twin == *descriptor.media_type() {
                descriptor
            } else {
                descriptor.with_content(twin, digest, size)
            }
        };
        let media_type = self.media_type.to_oci();
        let config = as_oci(self.config.clone());
        let layers: Vec<_> = layers.into_iter().map(as_oci).collect();
        let mut members = self.members.clone();
        set_media_type(&mut members, &media_type);
        members.insert("config".into(), config.to_raw());
        members.insert(
            "layers".into(),
            raw(&layers.iter().map(Descriptor::to_raw).collect::<Vec<_>>()),
        );
        set_annotations(&mut members, &annotations);
        let octets = raw(&members).get().as_bytes().into();
        Self {
            octets,
            members,
            media_type,
            config,
            layers,
            annotations,
            subject: self.subject.clone(),
        }
    }

    /// Renders this manifest with another subject; all else keeps its text.
    #[must_use]
    pub fn with_subject(&self, subject: Descriptor) -> Self {
        let mut members = self.members.clone();
        members.insert("subject".into(), subject.to_raw());
        Self {
            octets: raw(&members).get().as_bytes().into(),
            members,
            subject: Some(subject),
            ..self.clone()
        }
    }

    /// Renders this manifest with another configuration; all else keeps its text.
    #[must_use]
    pub fn with_config(&self, config: Descriptor) -> Self {
        let mut members = self.members.clone();
        members.insert("config".into(), config.to_raw());
        Self {
            octets: raw(&members).get().as_bytes().into(),
            members,
            config,
            ..self.clone()
        }
    }
}

/// An image index or manifest list, with its exact octets.
#[derive(Clone, Debug)]
pub struct Index {
    octets: Box<[u8]>,
    members: Object,
    media_type: MediaType,
    manifests: Vec<Descriptor>,
    annotations: IndexMap<String, String>,
    subject: Option<Descriptor>,
}

impl Index {
    fn from_members(
        octets: &[u8],
        media_type: MediaType,
        members: Object,
    ) -> Result<Self, DocumentError> {
        let manifests = entries(&members, "manifests")?;
        let annotations = annotations(&members)?;
        let subject = subject(&members)?;
        Ok(Self {
            octets: octets.into(),
            members,
            media_type,
            manifests,
            annotations,
            subject,
        })
    }

    /// Returns the exact octets.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Returns the digest of the octets.
    pub fn digest(&self) -> Digest {
        Digest::sha256(&self.octets)
    }

    /// Returns its type, its own or the declared one.
    pub fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// Returns the manifests in their order.
    pub fn manifests(&self) -> &[Descriptor] {
        &self.manifests
    }

    /// Returns the index' annotations in their order.
    pub fn annotations(&self) -> &IndexMap<String, String> {
        &self.annotations
    }

    /// Returns the type of the artifact, if this is one.
    pub fn artifact_type(&self) -> Option<String> {
        optional(&self.members, "artifactType").ok().flatten()
    }

    /// Returns what the index is attached to.
    pub fn subject(&self) -> Option<&Descriptor> {
        self.subject.as_ref()
    }

    /// Renders this index with other manifests and annotations, as an OCI index; all else keeps its text.
    #[must_use]
    pub fn rewritten(
        &self,
        manifests: Vec<Descriptor>,
        annotations: IndexMap<String, String>,
    ) -> Self {
        let media_type = self.media_type.to_oci();
        let mut members = self.members.clone();
        set_media_type(&mut members, &media_type);
        members.insert(
            "manifests".into(),
            raw(&manifests.iter().map(Descriptor::to_raw).collect::<Vec<_>>()),
        );
        set_annotations(&mut members, &annotations);
        let octets = raw(&members).get().as_bytes().into();
        Self {
            octets,
            members,
            media_type,
            manifests,
            annotations,
            subject: self.subject.clone(),
        }
    }

    /// Renders this index with another subject; all else keeps its text.
    #[must_use]
    pub fn with_subject(&self, subject: Descriptor) -> Self {
        let mut members = self.members.clone();
        members.insert("subject".into(), subject.to_raw());
        Self {
            octets: raw(&members).get().as_bytes().into(),
            members,
            subject: Some(subject),
            ..self.clone()
        }
    }
}

/// Why a document was refused.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum DocumentError {
    /// Not JSON as we accept it.
    #[error(transparent)]
    Json(#[from] JsonError),

    /// JSON, but neither manifest nor index.
    #[error("not an image manifest or index")]
    NotAManifest,

    /// The format Docker gave up in 2017.
    #[error(
        "image manifest schema 1 is not supported; pull and push the image with a current tool first"
    )]
    Schema1,

    /// Members of both kinds.
    #[error("document is a manifest and an index at once")]
    Ambiguous,

    /// Some other kind of document.
    #[error("`{text}` is neither an image manifest nor an index")]
    UnsupportedType {
        /// Its media type.
        text: Box<str>,
    },

    /// The document and its descriptor disagree.
    #[error("document says it is `{own}`, but was announced as `{declared}`")]
    TypeMismatch {
        /// What the document says.
        own: Box<str>,
        /// What was announced.
        declared: Box<str>,
    },

    /// More layers, manifests or diff IDs than any image has.
    #[error("document lists more than {limit} entries")]
    TooManyEntries {
        /// The limit.
        limit: usize,
    },

    /// A member is missing or of another kind.
    #[error("{place} {reason}")]
    Member {
        /// Where, such as `layers[3].digest`.
        place: Box<str>,
        /// What is wrong.
        reason: Box<str>,
    },
}

impl DocumentError {
    fn member(place: &str, reason: &str) -> Self {
        Self::Member {
            place: place.into(),
            reason: reason.into(),
        }
    }
}

/// Most octets of a manifest or index, the limit that registries and other tools have too.
pub const MAX_DOCUMENT_LEN: usize = 4 * 1024 * 1024;

/// Most layers of a manifest, manifests of an index, diff IDs of a configuration.
pub const MAX_ENTRIES: usize = 10_000;

/// Most indexes within each other.
pub const MAX_INDEX_NESTING: usize = 8;

/// What any document may cost; descriptors nest four deep, extensions get some more.
pub(crate) const LIMITS: Limits = Limits {
    len: MAX_DOCUMENT_LEN,
    depth: 32,
};

fn entries(members: &Object, name: &str) -> Result<Vec<Descriptor>, DocumentError> {
    let Some(list) = members.get(name) else {
        return Err(DocumentError::member(name, "is missing"));
    };
    let list: Option<Vec<Box<RawValue>>> = serde_json::from_str(list.get())
        .map_err(|_| DocumentError::member(name, "is not a list"))?;
    let list = list.unwrap_or_default();
    if list.len() > MAX_ENTRIES {
        return Err(DocumentError::TooManyEntries { limit: MAX_ENTRIES });
    }
    list.iter()
        .enumerate()
        .map(|(index, text)| Descriptor::from_raw(text, &format!("{name}[{index}]")))
        .collect()
}

fn annotations(members: &Object) -> Result<IndexMap<String, String>, DocumentError> {
    optional(members, "annotations")
        .map(Option::unwrap_or_default)
        .map_err(|()| DocumentError::member("annotations", "is not a map of strings"))
}

fn subject(members: &Object) -> Result<Option<Descriptor>, DocumentError> {
    match members.get("subject").filter(|text| text.get() != "null") {
        None => Ok(None),
        Some(text) => Descriptor::from_raw(text, "subject").map(Some),
    }
}

/// Writes the type into the document: second place when it had none, as Docker and BuildKit do.
fn set_media_type(members: &mut Object, media_type: &MediaType) {
    let value = raw(&media_type.as_str());
    match members.get_mut("mediaType") {
        Some(text) => *text = value,
        None => {
            let place = members
                .get_index_of("schemaVersion")
                .map_or(0, |place| place + 1);
            members.shift_insert(place, "mediaType".into(), value);
        }
    }
}

fn set_annotations(members: &mut Object, annotations: &IndexMap<String, String>) {
    if annotations.is_empty() {
        members.shift_remove("annotations");
    } else {
        members.insert("annotations".into(), raw(annotations));
    }
}

#[cfg(test)]
mod tests;
