//! Tags, and the end of manifests (distribution-spec, "Listing Tags" and "Deleting Manifests").

use std::collections::BTreeSet;

use reqwest::Method;
use reqwest::header::{ACCEPT, HeaderValue};
use sealift_oci::{Digest, Reference};
use serde::Deserialize;

use crate::answer::Complaint;
use crate::client::{ACCEPTED, Client, digest_header, endpoint, manifest_what};
use crate::error::Error;
use crate::http::Call;
use crate::login::Access;
use crate::manifest::RawManifest;
use crate::pages::{MAX_PAGES, Page};
use crate::referrers::Referrer;

impl Client {
    /// Lists the tags of a repository, sorted.
    ///
    /// # Errors
    /// Any [`Error`]; [`Error::NotFound`] where there is no such repository.
    pub async fn tags(&self, reference: &Reference) -> Result<Vec<String>, Error> {
        let repository = self.repository(reference, Access::Pull).await?;
        let what = format!("list of tags of `{repository}`");
        let first = endpoint(&repository, &["tags", "list"])?;
        let mut url = first.clone();
        url.set_query(Some(&format!("n={PAGE}")));
        let mut tags = BTreeSet::new();
        for _ in 0..MAX_PAGES {
            let call = Call::new(Method::GET, url);
            let (octets, next) = match self.page(&repository, &call, &what).await? {
                Page::Content { octets, next } => (octets, next),
                Page::Other(mut answer) => {
                    return Err(self.refusal(&repository, &call, &mut answer, &what).await);
                }
            };
            let list: TagList = serde_json::from_slice(&octets)
                .map_err(|_| Error::malformed(what.as_str(), "it is not a list of tags"))?;
            let page = list.tags.unwrap_or_default();
            let (len, last) = (page.len(), page.last().cloned());
            let before = tags.len();
            for tag in page {
                if !is_tag(&tag) {
                    let tag = sealift_oci::json::excerpt(&tag);
                    return Err(Error::malformed(what, format!("`{tag}` is not a tag")));
                }
                tags.insert(tag);
            }
            if tags.len() > MAX_TAGS {
                let reason = format!("it has more than {MAX_TAGS} entries");
                return Err(Error::malformed(what, reason));
            }
            url = match (next, last) {
                (Some(next), _) => next,
                // A full page without a link comes from a registry that only counts, or from one that knows no pages.
                (None, Some(last)) if len == PAGE && tags.len() > before => {
                    let mut url = first.clone();
                    url.query_pairs_mut()
                        .append_pair("n", &PAGE.to_string())
                        .append_pair("last", &last);
                    url
                }
                _ => return Ok(tags.into_iter().collect()),
            };
        }
        Err(Error::malformed(
            what,
            format!("it has more than {MAX_PAGES} pages"),
        ))
    }

    /// Returns the digest of what a reference names, without reading it where the registry says so by itself.
    ///
    /// # Errors
    /// Any [`Error`]
    pub async fn digest(&self, reference: &Reference) -> Result<Digest, Error> {
        let repository = self.repository(reference, Access::Pull).await?;
        let name = reference.manifest_name();
        let call = Call::new(Method::HEAD, endpoint(&repository, &["manifests", &name])?)
            .header(ACCEPT, HeaderValue::from_static(ACCEPTED));
        let mut answer = self.call(&repository, &call).await?;
        let own = reference.digest();
        match (answer.status(), digest_header(&answer)) {
            (200, Some(digest)) if own.is_none_or(|own| *own == digest) => Ok(digest),
            // Of the registry, never of a mirror: what is deleted is looked up here.
            (200 | 405, _) => {
                let read = self.fetch_manifest(&repository, &name, own, None).await?;
                Ok(read.digest)
            }
            _ => {
                let what = manifest_what(&name);
                Err(self.refusal(&repository, &call, &mut answer, &what).await)
            }
        }
    }

    /// Fetches what a tag of the same repository names, if there is such a tag.
    ///
    /// # Errors
    /// Any [`Error`] but [`Error::NotFound`].
    pub async fn tagged(
        &self,
        reference: &Reference,
        tag: &str,
    ) -> Result<Option<RawManifest>, Error> {
        let repository = self.repository(reference, Access::Pull).await?;
        match self.fetch_manifest(&repository, tag, None, None).await {
            Ok(manifest) => Ok(Some(manifest)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes a manifest, and with it every tag that names it, and its entry in the list of referrers that clients keep.
    ///
    /// # Errors
    /// Any [`Error`]; [`Error::Unsupported`] where the registry lets nothing be deleted.
    pub async fn delete_manifest(
        &self,
        reference: &Reference,
        digest: &Digest,
    ) -> Result<(), Error> {
        let repository = self.repository(reference, Access::PullDelete).await?;
        let name = digest.to_string();
        // What it refers to cannot be read any more once it is gone.
        let manifest = self
            .fetch_manifest(&repository, &name, Some(digest), None)
            .await?;
        let call = Call::new(
            Method::DELETE,
            endpoint(&repository, &["manifests", &name])?,
        );
        let mut answer = self.call(&repository, &call).await?;
        let status = answer.status();
        match status {
            200 | 202 | 204 => match Referrer::of(&manifest) {
                Some(referrer) => self.forget_referrer(reference, &referrer).await,
                None => Ok(()),
            },
            404 => Err(Error::NotFound {
                what: manifest_what(&name).into(),
                place: repository.to_string().into(),
            }),
            // Registries refuse with all of these what they do not do, or were set up not to do.
            400 | 405 | 501 => {
                let complaint = Complaint::read(&mut answer).await;
                let separator = if complaint.text.is_empty() { "" } else { ": " };
                Err(Error::unsupported(format!(
                    "{} does not let manifests be deleted (it answered {status}{separator}{})",
                    repository.registry, complaint.text
                )))
            }
            _ => {
                let what = manifest_what(&name);
                Err(self.refusal(&repository, &call, &mut answer, &what).await)
            }
        }
    }
}

#[derive(Deserialize)]
struct TagList {
    /// `null` where a repository has lost its last tag.
    tags: Option<Vec<String>>,
}

/// Returns whether a text is a tag (distribution-spec, "Pulling manifests").
fn is_tag(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    !text.is_empty()
        && text.len() <= Reference::MAX_TAG_LEN
        && !text.starts_with(['.', '-'])
        && text.bytes().all(good)
}

/// Tags that are asked for at once.
const PAGE: usize = 1000;
const MAX_TAGS: usize = 1_000_000;
