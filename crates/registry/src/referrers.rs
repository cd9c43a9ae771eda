//! What refers to a manifest (distribution-spec, "Listing Referrers"): by the registry's own list, or where it keeps
//! none, by the list that clients keep under a tag ("Referrers Tag Schema").

use std::collections::HashSet;

use indexmap::IndexMap;
use reqwest::Method;
use reqwest::header::{ACCEPT, HeaderValue};
use sealift_oci::{Descriptor, Digest, Document, MAX_ENTRIES, MediaType, Reference};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::client::{Client, endpoint};
use crate::error::{Error, Failure};
use crate::http::Call;
use crate::login::{Access, Repository};
use crate::manifest::RawManifest;
use crate::pages::{MAX_PAGES, Page};

impl Client {
    /// Lists the manifests whose `subject` is `subject`, of one type or of all.
    ///
    /// What registries list is their word: whether a manifest refers to the subject is for who fetches it to check.
    ///
    /// # Errors
    /// Any [`Error`]; a subject that nobody knows has no referrers.
    pub async fn referrers(
        &self,
        reference: &Reference,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, Error> {
        let repository = self.repository(reference, Access::Pull).await?;
        let mut listed = match self.by_api(&repository, subject, artifact_type).await? {
            Some(listed) => listed,
            None => self.by_tag(&repository, &fallback_tag(subject)).await?,
        };
        let mut seen = HashSet::new();
        listed.retain(|entry| {
            // Registries need not filter, and some that say they did have not.
            artifact_type.is_none_or(|wanted| entry.artifact_type().as_deref() == Some(wanted))
                && seen.insert(entry.digest().clone())
        });
        Ok(listed)
    }

    /// Asks the registry; nothing where it has no such list.
    async fn by_api(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Option<Vec<Descriptor>>, Error> {
        let what = format!("list of referrers of `{subject}`");
        let mut url = endpoint(repository, &["referrers", &subject.to_string()])?;
        if let Some(artifact_type) = artifact_type {
            url.query_pairs_mut()
                .append_pair("artifactType", artifact_type);
        }
        let mut listed = Vec::new();
        for _ in 0..MAX_PAGES {
            let call = Call::new(Method::GET, url)
                .header(ACCEPT, HeaderValue::from_static(MediaType::OCI_INDEX));
            match self.page(repository, &call, &what).await? {
                Page::Content { octets, next } => {
                    listed.extend(entries(&octets, &what)?);
                    if listed.len() > MAX_ENTRIES {
                        let reason = format!("it has more than {MAX_ENTRIES} entries");
                        return Err(Error::malformed(what, reason));
                    }
                    match next {
                        Some(next) => url = next,
                        None => return Ok(Some(listed)),
                    }
                }
                Page::Other(answer) if answer.status() == 404 && listed.is_empty() => {
                    return Ok(None);
                }
                Page::Other(mut answer) => {
                    return Err(self.refusal(repository, &call, &mut answer, &what).await);
                }
            }
        }
        Err(Error::malformed(
            what,
            format!("it has more than {MAX_PAGES} pages"),
        ))
    }

    /// Reads the list that clients keep; empty where there is none.
    async fn by_tag(&self, repository: &Repository, tag: &str) -> Result<Vec<Descriptor>, Error> {
        match self.fetch_manifest(repository, tag, None, None).await {
            Ok(index) => entries(&index.bytes, &format!("list of referrers `{tag}`")),
            Err(Error::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Enters a manifest into the list that clients keep.
    ///
    /// No registry lets a tag be moved only if it has not been moved meanwhile. So the list is read again after it was
    /// written, twice with a pause: whoever wrote over us has done so by then, and we write both together.
    pub(crate) async fn enter_referrer(
        &self,
        repository: &Repository,
        referrer: &Referrer,
    ) -> Result<(), Error> {
        let tag = fallback_tag(referrer.subject.digest());
        // Those of this process need not race.
        let _turn = self.turn().await;
        let own = &referrer.entry;
        let mut known = IndexMap::from([(own.digest().clone(), own.clone())]);
        let mut calm = CALM - 1;
        for _ in 0..MAX_ROUNDS {
            let current = self.by_tag(repository, &tag).await?;
            let there: HashSet<_> = current.iter().map(|e| e.digest().clone()).collect();
            let is_whole = known.keys().all(|digest| there.contains(digest));
            for entry in current {
                known.entry(entry.digest().clone()).or_insert(entry);
            }
            if is_whole {
                calm += 1;
                if calm >= CALM {
                    return Ok(());
                }
            } else {
                calm = 0;
                let index = index_of(known.values(), &tag)?;
                self.store(repository, &tag, &index).await?;
            }
            tokio::time::sleep(self.pace().mul_f64(fastrand::f64())).await;
        }
        Err(overwritten(repository, &tag))
    }

    /// Takes a manifest that was deleted out of the list that clients keep, if they do.
    pub(crate) async fn forget_referrer(
        &self,
        reference: &Reference,
        referrer: &Referrer,
    ) -> Result<(), Error> {
        let subject = referrer.subject.digest();
        let repository = self.repository(reference, Access::PullPush).await?;
        if self.by_api(&repository, subject, None).await?.is_some() {
            return Ok(());
        }
        let tag = fallback_tag(subject);
        let _turn = self.turn().await;
        let mut calm = CALM - 1;
        for _ in 0..MAX_ROUNDS {
            let current = self.by_tag(&repository, &tag).await?;
            let own = referrer.entry.digest();
            let is_other = |entry: &&Descriptor| entry.digest() != own;
            if current.iter().all(|entry| is_other(&entry)) {
                calm += 1;
                if calm >= CALM {
                    return Ok(());
                }
            } else {
                calm = 0;
                let index = index_of(current.iter().filter(is_other), &tag)?;
                self.store(&repository, &tag, &index).await?;
            }
            tokio::time::sleep(self.pace().mul_f64(fastrand::f64())).await;
        }
        Err(overwritten(&repository, &tag))
    }
}

fn overwritten(repository: &Repository, tag: &str) -> Error {
    Error::Network {
        request: format!("PUT {repository}:{tag}").into(),
        attempts: MAX_ROUNDS,
        failure: Failure::Overwritten,
    }
}

/// A manifest that refers to another.
#[derive(Clone, Debug)]
pub(crate) struct Referrer {
    pub(crate) subject: Descriptor,
    /// How lists of referrers show it.
    pub(crate) entry: Descriptor,
}

impl Referrer {
    /// Returns what a manifest refers to, if it does.
    pub(crate) fn of(manifest: &RawManifest) -> Option<Self> {
        let document = Document::parse(&manifest.bytes, Some(&manifest.media_type)).ok()?;
        let subject = match &document {
            Document::Manifest(manifest) => manifest.subject(),
            Document::Index(index) => index.subject(),
        }?;
        Some(Self {
            subject: subject.clone(),
            entry: entry_of(manifest)?,
        })
    }
}

/// Describes a manifest as lists of referrers do: with its artifact type, and its annotations.
pub(crate) fn entry_of(manifest: &RawManifest) -> Option<Descriptor> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Entry<'a> {
        media_type: &'a str,
        digest: String,
        size: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        artifact_type: Option<String>,
    }
    let document = Document::parse(&manifest.bytes, Some(&manifest.media_type)).ok()?;
    let (artifact_type, annotations) = match &document {
        Document::Manifest(manifest) => {
            let config = manifest.config().media_type().as_str();
            let own = manifest.artifact_type().filter(|own| !own.is_empty());
            (
                Some(own.unwrap_or_else(|| config.to_owned())),
                manifest.annotations(),
            )
        }
        Document::Index(index) => (index.artifact_type(), index.annotations()),
    };
    let entry = Entry {
        media_type: manifest.media_type.as_str(),
        digest: manifest.digest.to_string(),
        size: manifest.bytes.len(),
        artifact_type,
    };
    let text = serde_json::value::to_raw_value(&entry).ok()?;
    let entry = Descriptor::from_raw(&text, "referrer").ok()?;
    Some(entry.with_annotations(annotations.clone()))
}

/// The tag under which clients keep the list of what refers to a manifest (distribution-spec, "Referrers Tag Schema").
pub(crate) fn fallback_tag(subject: &Digest) -> String {
    let hex = subject.hex();
    format!("{}-{}", subject.algorithm(), hex.get(..64).unwrap_or(hex))
}

/// Returns whether a name is one that belongs to another image: a list of referrers, or a signature.
pub(crate) fn is_attachment_tag(name: &str) -> bool {
    let Some((algorithm, rest)) = name.split_once('-') else {
        return false;
    };
    let hex = rest.split('.').next().unwrap_or_default();
    matches!(algorithm, "sha256" | "sha384" | "sha512")
        && hex.len() == 64
        && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Reads an index of referrers.
pub(crate) fn entries(octets: &[u8], what: &str) -> Result<Vec<Descriptor>, Error> {
    let refuse = |reason: String| Error::malformed(what, reason);
    let declared: MediaType = MediaType::OCI_INDEX
        .parse()
        .map_err(|_| refuse("its type is unknown".into()))?;
    match Document::parse(octets, Some(&declared)).map_err(|error| refuse(error.to_string()))? {
        Document::Index(index) => Ok(index.manifests().to_vec()),
        Document::Manifest(_) => Err(refuse("it is not an index".into())),
    }
}

fn index_of<'a>(
    entries: impl Iterator<Item = &'a Descriptor>,
    tag: &str,
) -> Result<RawManifest, Error> {
    let what = || format!("list of referrers `{tag}`");
    let media_type: MediaType = MediaType::OCI_INDEX
        .parse()
        .map_err(|_| Error::malformed(what(), "its type is unknown"))?;
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct List {
        schema_version: u32,
        media_type: &'static str,
        manifests: Vec<Box<RawValue>>,
    }
    let entries: Vec<_> = entries.map(Descriptor::to_raw).collect();
    if entries.len() > MAX_ENTRIES {
        let reason = format!("it has more than {MAX_ENTRIES} entries");
        return Err(Error::malformed(what(), reason));
    }
    let list = List {
        schema_version: 2,
        media_type: MediaType::OCI_INDEX,
        manifests: entries,
    };
    let octets = serde_json::to_vec(&list)
        .map_err(|_| Error::malformed(what(), "an entry cannot be written"))?;
    Ok(RawManifest::new(octets.into(), media_type))
}

/// How often in a row the list must be found whole. The first time it is read, once is enough: nothing was written.
const CALM: u32 = 2;
/// How often the list is read before we give up against others.
const MAX_ROUNDS: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_lists_and_signatures_are_recognised() {
        let digest = Digest::sha256(b"");
        let list = fallback_tag(&digest);
        assert_eq!(list, format!("sha256-{}", digest.hex()));
        let longer = Digest::of(sealift_oci::Algorithm::Sha512, b"");
        assert_eq!(fallback_tag(&longer).len(), "sha512-".len() + 64);
        for (name, expected) in [
            (list.clone(), true),
            (format!("{list}.sig"), true),
            ("v1".into(), false),
            ("sha256-abc".into(), false),
            (format!("x-{}", digest.hex()), false),
        ] {
            assert_eq!(is_attachment_tag(&name), expected, "{name}");
        }
    }
}
