//! Lists that come in pages (distribution-spec, "Listing Tags" and "Listing Referrers").

use bytes::Bytes;
use reqwest::Url;
use reqwest::header::LINK;

use crate::client::Client;
use crate::error::Error;
use crate::http::{Answer, Call, Setback, resolve, same_origin};
use crate::link::next_link;
use crate::login::Repository;

/// One page of a list, or the answer that is none.
#[derive(Debug)]
pub(crate) enum Page {
    Content { octets: Bytes, next: Option<Url> },
    Other(Answer),
}

impl Client {
    /// Fetches one page, whole, however often its connection breaks within the budget of attempts.
    pub(crate) async fn page(
        &self,
        repository: &Repository,
        call: &Call,
        what: &str,
    ) -> Result<Page, Error> {
        let mut attempts = self.attempts_at(repository);
        loop {
            let mut answer = match self.attempt(repository, call).await {
                Ok(answer) => answer,
                Err(setback) => {
                    self.pause(&mut attempts, setback, call).await?;
                    continue;
                }
            };
            if answer.status() != 200 {
                return Ok(Page::Other(answer));
            }
            let next = next_page(repository, &answer)?;
            match answer.body(MAX_PAGE_LEN).await {
                Ok(Some(octets)) => return Ok(Page::Content { octets, next }),
                Ok(None) => {
                    let reason = format!("a page of it is longer than {MAX_PAGE_LEN} octets");
                    return Err(Error::malformed(what, reason));
                }
                Err(failure) => {
                    self.pause(&mut attempts, Setback::transient(failure), call)
                        .await?
                }
            }
        }
    }
}

/// Where the next page is. Only the registry itself may have it: the request carries a login.
fn next_page(repository: &Repository, answer: &Answer) -> Result<Option<Url>, Error> {
    let Some(link) = answer.headers(LINK.as_str()).find_map(next_link) else {
        return Ok(None);
    };
    let url = resolve(answer.url(), link)?;
    if !same_origin(&url, &repository.base) {
        return Err(Error::malformed(
            format!("`Link` from {}", repository.registry),
            "it leads to another host",
        ));
    }
    Ok(Some(url))
}

/// Most pages that are followed: a registry must not keep us forever.
pub(crate) const MAX_PAGES: usize = 10_000;
/// Longest page. Registries that know no pages send everything at once.
const MAX_PAGE_LEN: usize = 32 * 1024 * 1024;
