//! `index.json` of an OCI layout (image-spec, `image-layout.md`): choosing an image, and giving one a name.
//!
//! Pure. Entries that are not ours keep their text.

use std::collections::HashMap;

use indexmap::IndexMap;
use sealift_oci::json::{self, Limits, Object};
use sealift_oci::{Descriptor, MediaType};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::image_ref::LayoutName;
use crate::manifest::RawManifest;
use crate::referrers::{entry_of, is_attachment_tag};

/// The entries of an `index.json`.
#[derive(Debug)]
pub(crate) struct LayoutIndex {
    members: Object,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    text: Box<RawValue>,
    name: Option<String>,
    digest: Option<String>,
    /// Whether it belongs to another entry, as far as this can be told from here.
    is_attachment: bool,
}

/// Why no image was chosen.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Choice {
    NotFound(String),
    Malformed(String),
}

impl LayoutIndex {
    /// Starts a layout without images.
    pub(crate) fn empty() -> Self {
        let mut members = Object::new();
        members.insert("schemaVersion".into(), raw(&2));
        members.insert("mediaType".into(), raw(&MediaType::OCI_INDEX));
        Self {
            members,
            entries: Vec::new(),
        }
    }

    pub(crate) fn parse(octets: &[u8]) -> Result<Self, String> {
        let members = json::object(octets, LIMITS).map_err(|error| error.to_string())?;
        let list = members.get("manifests").map_or("null", |list| list.get());
        let list: Option<Vec<Box<RawValue>>> =
            serde_json::from_str(list).map_err(|_| "its `manifests` is not a list".to_owned())?;
        let list = list.ok_or("it has no `manifests`")?;
        if list.len() > MAX_ENTRIES {
            return Err(format!("it lists more than {MAX_ENTRIES} images"));
        }
        let entries = list.into_iter().map(Entry::new).collect::<Result<_, _>>()?;
        Ok(Self { members, entries })
    }

    /// Returns the descriptor of the image that is meant.
    pub(crate) fn choose(&self, name: Option<&LayoutName>) -> Result<Descriptor, Choice> {
        let wanted = |entry: &&Entry| match name {
            None => true,
            Some(name) => match name.digest() {
                Some(digest) => entry.digest.as_deref() == Some(&digest.to_string()),
                None => entry.name.as_deref() == Some(name.as_str()),
            },
        };
        let mut found: Vec<_> = self.entries.iter().filter(wanted).collect();
        // What belongs to the image does not make it ambiguous; but somebody may have put only such things here.
        if name.is_none() && found.iter().any(|entry| !entry.is_attachment) {
            found.retain(|entry| !entry.is_attachment);
        }
        let first = match (found.first(), name) {
            (Some(first), _) => first,
            (None, Some(name)) => {
                let what = format!("image `{}` (there are: {})", name.as_str(), self.names());
                return Err(Choice::NotFound(what));
            }
            (None, None) => return Err(Choice::NotFound("an image".into())),
        };
        // The same image under several names is still one image.
        if found.iter().any(|other| other.digest != first.digest) {
            return Err(match name {
                None => Choice::NotFound(format!("a single image (name one of: {})", self.names())),
                Some(name) => Choice::Malformed(format!("it names two images `{}`", name.as_str())),
            });
        }
        first.descriptor().map_err(Choice::Malformed)
    }

    /// Returns whether it holds an image of another name.
    pub(crate) fn holds_others(&self, name: Option<&LayoutName>) -> bool {
        let own = name
            .filter(|name| name.digest().is_none())
            .map(LayoutName::as_str);
        self.entries
            .iter()
            .any(|entry| !entry.is_attachment && entry.name.as_deref() != own)
    }

    /// Returns every entry.
    pub(crate) fn manifests(&self) -> impl Iterator<Item = Result<Descriptor, String>> + '_ {
        self.entries.iter().map(Entry::descriptor)
    }

    /// Returns the entry with exactly this name.
    pub(crate) fn named(&self, name: &str) -> Result<Option<Descriptor>, String> {
        let mut entries = self.entries.iter();
        let found = entries.find(|entry| entry.name.as_deref() == Some(name));
        found.map(Entry::descriptor).transpose()
    }

    /// Returns the names that lead to a manifest.
    pub(crate) fn names_of(&self, digest: &sealift_oci::Digest) -> Vec<String> {
        let digest = digest.to_string();
        self.entries
            .iter()
            .filter(|entry| entry.digest.as_deref() == Some(&digest))
            .filter_map(|entry| entry.name.clone())
            .collect()
    }

    /// Enters what belongs to an image: under a tag in the place of what had it, or without a name.
    pub(crate) fn attach(&mut self, attachment: &Attachment) {
        let mut entry = Entry {
            text: attachment.entry.to_raw(),
            name: attachment.tag.clone(),
            digest: Some(attachment.entry.digest().to_string()),
            is_attachment: true,
        };
        if let Some(tag) = &attachment.tag {
            let mut annotations = attachment.entry.annotations().clone();
            annotations.insert(REF_NAME.to_owned(), tag.clone());
            entry.text = attachment
                .entry
                .clone()
                .with_annotations(annotations)
                .to_raw();
        }
        self.entries.retain(|old| {
            old.name != entry.name || entry.name.is_none() && old.digest != entry.digest
        });
        self.entries.push(entry);
    }

    /// Enters an image, in the place of the one that had its name.
    ///
    /// Without a name it takes the place of the only image without one, if there is exactly one; a digest as a name
    /// enters without a name too.
    pub(crate) fn enter(&mut self, manifest: &RawManifest, name: Option<&LayoutName>) {
        let name = name
            .filter(|name| name.digest().is_none())
            .map(LayoutName::as_str);
        let mut descriptor = manifest.descriptor();
        if let Some(name) = name {
            descriptor = descriptor
                .with_annotations(IndexMap::from([(REF_NAME.to_owned(), name.to_owned())]));
        }
        let entry = Entry {
            text: descriptor.to_raw(),
            name: name.map(str::to_owned),
            digest: Some(manifest.digest.to_string()),
            is_attachment: false,
        };
        let unnamed = self
            .entries
            .iter()
            .filter(|entry| entry.name.is_none() && !entry.is_attachment)
            .count();
        let replaced = |old: &Entry| match name {
            Some(_) => old.name == entry.name,
            None => {
                let is_alone = unnamed == 1 && !old.is_attachment;
                old.name.is_none() && (is_alone || old.digest == entry.digest)
            }
        };
        let place = self
            .entries
            .iter()
            .position(replaced)
            .unwrap_or(self.entries.len());
        self.entries.retain(|old| !replaced(old));
        self.entries.insert(place.min(self.entries.len()), entry);
    }

    pub(crate) fn render(&self) -> Vec<u8> {
        let mut members = self.members.clone();
        let list: Vec<_> = self.entries.iter().map(|entry| &entry.text).collect();
        members.insert("manifests".into(), raw(&list));
        raw(&members).get().as_bytes().to_vec()
    }

    fn names(&self) -> String {
        let name = |entry: &Entry| match (&entry.name, &entry.digest) {
            (Some(name), _) => json::excerpt(name).into_string(),
            (None, Some(digest)) => format!("@{}", json::excerpt(digest)),
            (None, None) => "?".into(),
        };
        let mut names: Vec<_> = self.entries.iter().take(MAX_NAMES).map(name).collect();
        if self.entries.len() > MAX_NAMES {
            names.push("…".into());
        }
        if names.is_empty() {
            names.push("none".into());
        }
        names.join(", ")
    }
}

impl Entry {
    fn new(text: Box<RawValue>) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct View {
            digest: Option<String>,
            #[serde(rename = "artifactType")]
            artifact_type: Option<String>,
            annotations: Option<HashMap<String, String>>,
        }
        let view: View = serde_json::from_str(text.get())
            .map_err(|_| "an entry is not a descriptor".to_owned())?;
        let name = view
            .annotations
            .and_then(|mut annotations| annotations.remove(REF_NAME));
        let is_attachment =
            view.artifact_type.is_some() || name.as_deref().is_some_and(is_attachment_tag);
        Ok(Self {
            text,
            name,
            digest: view.digest,
            is_attachment,
        })
    }

    fn descriptor(&self) -> Result<Descriptor, String> {
        Descriptor::from_raw(&self.text, "manifests[]").map_err(|error| error.to_string())
    }
}

/// What belongs to an image without being part of it.
#[derive(Clone, Debug)]
pub(crate) struct Attachment {
    pub(crate) entry: Descriptor,
    pub(crate) tag: Option<String>,
}

impl Attachment {
    pub(crate) fn of(manifest: &RawManifest, tag: Option<&str>) -> Self {
        Self {
            entry: entry_of(manifest).unwrap_or_else(|| manifest.descriptor()),
            tag: tag.map(str::to_owned),
        }
    }
}

/// Most octets of an `index.json`.
pub(crate) const MAX_LEN: usize = 4 * 1024 * 1024;

const LIMITS: Limits = Limits {
    len: MAX_LEN,
    depth: 32,
};
const MAX_ENTRIES: usize = 10_000;
/// Most names that an error lists.
const MAX_NAMES: usize = 10;
const REF_NAME: &str = "org.opencontainers.image.ref.name";

fn raw(value: &impl serde::Serialize) -> Box<RawValue> {
    // INVARIANT: strings, numbers and maps with string keys always serialise; `null` stands in for the impossible rest.
    serde_json::value::to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn manifest(content: &'static str) -> RawManifest {
        RawManifest::new(
            Bytes::from_static(content.as_bytes()),
            MediaType::OCI_MANIFEST.parse().unwrap(),
        )
    }

    fn name(text: &str) -> Option<LayoutName> {
        Some(text.parse().unwrap())
    }

    fn chosen(index: &LayoutIndex, name: Option<LayoutName>) -> Result<String, Choice> {
        index
            .choose(name.as_ref())
            .map(|descriptor| descriptor.digest().to_string())
    }

    #[test]
    fn chooses_by_name_by_digest_or_the_only_one() {
        let mut index = LayoutIndex::empty();
        assert_eq!(
            chosen(&index, None),
            Err(Choice::NotFound("an image".into()))
        );
        let (a, b) = (manifest("a"), manifest("b"));
        index.enter(&a, name("v1").as_ref());
        assert_eq!(chosen(&index, None), Ok(a.digest.to_string()));
        index.enter(&a, name("latest").as_ref());
        assert_eq!(chosen(&index, None), Ok(a.digest.to_string()));
        index.enter(&b, name("v2").as_ref());
        assert_eq!(chosen(&index, name("v2")), Ok(b.digest.to_string()));
        assert_eq!(
            chosen(&index, name(&format!("@{}", a.digest))),
            Ok(a.digest.to_string())
        );
        assert_eq!(
            chosen(&index, None),
            Err(Choice::NotFound(
                "a single image (name one of: v1, latest, v2)".into()
            ))
        );
        assert_eq!(
            chosen(&index, name("v3")),
            Err(Choice::NotFound(
                "image `v3` (there are: v1, latest, v2)".into()
            ))
        );
    }

    #[test]
    fn replaces_in_place_and_keeps_what_is_not_ours() {
        let text = r#"{"manifests":[{"x":1.50,"digest":"sha256:aa","annotations":{"org.opencontainers.image.ref.name":"a"}},{"digest":"sha256:bb"}],"schemaVersion":2,"x-own":[1]}"#;
        let mut index = LayoutIndex::parse(text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(index.render()).unwrap(), text);
        let (new, entry) = (manifest("n"), |name: &str, digest: &str| {
            format!(
                r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":1{name}}}"#
            )
        });
        index.enter(&new, name("a").as_ref());
        index.enter(&new, None);
        let digest = new.digest.to_string();
        let named = entry(
            r#","annotations":{"org.opencontainers.image.ref.name":"a"}"#,
            &digest,
        );
        let expected = format!(
            r#"{{"manifests":[{named},{}],"schemaVersion":2,"x-own":[1]}}"#,
            entry("", &digest)
        );
        assert_eq!(String::from_utf8(index.render()).unwrap(), expected);
    }

    #[test]
    fn an_image_without_name_replaces_only_an_unmistakable_one() {
        let text =
            r#"{"schemaVersion":2,"manifests":[{"digest":"sha256:aa"},{"digest":"sha256:bb"}]}"#;
        let mut index = LayoutIndex::parse(text.as_bytes()).unwrap();
        index.enter(&manifest("n"), None);
        assert_eq!(index.entries.len(), 3);
        index.enter(&manifest("n"), None);
        assert_eq!(index.entries.len(), 3);
    }

    #[test]
    fn refuses_ambiguous_and_broken_indexes() {
        let two = r#"{"manifests":[{"digest":"sha256:aa","annotations":{"org.opencontainers.image.ref.name":"a"}},{"digest":"sha256:bb","annotations":{"org.opencontainers.image.ref.name":"a"}}]}"#;
        let index = LayoutIndex::parse(two.as_bytes()).unwrap();
        assert_eq!(
            chosen(&index, name("a")),
            Err(Choice::Malformed("it names two images `a`".into()))
        );
        for (text, reason) in [
            ("{}", "it has no `manifests`"),
            (r#"{"manifests":1}"#, "its `manifests` is not a list"),
            (r#"{"manifests":[1]}"#, "an entry is not a descriptor"),
            (
                r#"{"manifests":[],"manifests":[]}"#,
                "JSON member `manifests` is given twice",
            ),
        ] {
            assert_eq!(
                LayoutIndex::parse(text.as_bytes()).unwrap_err(),
                reason,
                "{text}"
            );
        }
    }
}
