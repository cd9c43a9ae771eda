//! Showing a blob that another repository of the same registry holds (distribution-spec, "Mounting a blob from another
//! repository").

use bytes::Bytes;
use reqwest::Method;
use sealift_oci::{Digest, Reference};

use crate::client::{Client, digest_header};
use crate::http::Call;
use crate::login::Repository;
use crate::routes::Wanted;
use crate::upload::Upload;

impl Client {
    /// Returns what the registry of `target` calls the repository of `source`, if it has it and it is another one.
    pub(crate) fn mountable(&self, source: &Reference, target: &Repository) -> Option<Box<str>> {
        // Its own place, not a mirror: files that move images move what can be mounted with them.
        let place = self.routes(source, Wanted::Digest).ok()?.pop()?.reference;
        let is_there = place.registry() == &*target.registry;
        let is_other = place.repository() != &*target.name;
        (is_there && is_other).then(|| place.repository().into())
    }
}

impl Upload {
    /// Asks the registry to show a blob of `from` here; returns whether it does.
    ///
    /// A mount saves octets and nothing depends on it, so whatever else comes of it is no failure. A registry that
    /// cannot mount offers a session instead, which the upload then uses.
    pub(crate) async fn mount(&mut self, from: &str, digest: &Digest) -> bool {
        let Ok(mut url) = self.uploads() else {
            return false;
        };
        url.query_pairs_mut()
            .append_pair("mount", &digest.to_string())
            .append_pair("from", from);
        let call = Call::new(Method::POST, url).body(Bytes::new());
        // Its login covers both repositories. Where that is refused, the login for the upload alone may still be given.
        let both = Repository {
            mounts_from: Some(from.into()),
            ..self.repository.clone()
        };
        match self.client.call(&both, &call).await {
            Ok(answer) if answer.status() == 201 => {
                digest_header(&answer).is_none_or(|shown| shown == *digest)
            }
            Ok(answer) if answer.status() == 202 => {
                let _ = self.adopt(&call, &answer);
                false
            }
            _ => false,
        }
    }
}
