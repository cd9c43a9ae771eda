//! Uploads of blobs (distribution-spec, "Pushing blobs").

use std::io;

use super::auth::Need;
use super::fault::Effect;
use super::http::Reply;
use super::options::{Chunks, Support, UploadState, UploadUrl};
use super::serve::Exchange;
use crate::digest;

impl Exchange<'_> {
    pub(super) fn start_upload(&mut self, repo: &str) -> io::Result<Reply> {
        let bytes = self.drain()?;
        let id = self.shared.store.lock().unwrap().start_upload(repo);
        let digest = self.head.parameter("digest");
        match digest.filter(|_| self.shared.options.single_post == Support::Yes) {
            Some(digest) => {
                self.append(repo, &id, &bytes);
                Ok(self.complete(repo, &id, &digest))
            }
            None => Ok(self.upload_reply(repo, &id, 202)),
        }
    }

    pub(super) fn mount(&self, repo: &str) -> Reply {
        let digest = self.head.parameter("mount").unwrap_or_default();
        let from = self.head.parameter("from").unwrap_or_default();
        let is_refused = self.shared.options.mounts == Support::No
            || self
                .effects
                .iter()
                .any(|e| matches!(e, Effect::RefuseMount));
        let source = Need {
            repo: Some(&from),
            action: "pull",
        };
        let tokens = self.shared.tokens.lock().unwrap();
        let is_readable = tokens.covers(&self.shared.options.auth, &self.head, source);
        drop(tokens);
        let mut store = self.shared.store.lock().unwrap();
        if !is_refused && is_readable && store.mount(repo, &from, &digest) {
            return self.created(repo, "blobs", &digest);
        }
        let id = store.start_upload(repo);
        drop(store);
        self.upload_reply(repo, &id, 202)
    }

    pub(super) fn patch_upload(&mut self, repo: &str, id: &str) -> io::Result<Reply> {
        if let Some(refusal) = self.refuse_upload(repo, id) {
            self.drain()?;
            return Ok(refusal);
        }
        let before = self.held(repo, id);
        self.take_chunk(repo, id)?;
        let is_repeated = |e: &Effect| matches!(e, Effect::RepeatChunk);
        if self.effects.iter().any(is_repeated) {
            let mut store = self.shared.store.lock().unwrap();
            if let Some(upload) = store.upload(repo, id) {
                upload.bytes.extend_from_within(before..);
            }
        }
        Ok(self.upload_reply(repo, id, 202))
    }

    pub(super) fn put_upload(&mut self, repo: &str, id: &str) -> io::Result<Reply> {
        if let Some(refusal) = self.refuse_upload(repo, id) {
            self.drain()?;
            return Ok(refusal);
        }
        self.take_chunk(repo, id)?;
        match self.head.parameter("digest") {
            Some(digest) => Ok(self.complete(repo, id, &digest)),
            None => Ok(Reply::error(400, "DIGEST_INVALID")),
        }
    }

    /// Returns why a chunk cannot be taken, before its body is read.
    fn refuse_upload(&self, repo: &str, id: &str) -> Option<Reply> {
        let mut store = self.shared.store.lock().unwrap();
        let Some(upload) = store.upload(repo, id) else {
            return Some(Reply::error(404, "BLOB_UPLOAD_UNKNOWN"));
        };
        let is_stale = self.head.parameter("_state") != Some(upload.state.to_string());
        if self.shared.options.upload_state == UploadState::Rotating && is_stale {
            return Some(Reply::error(404, "BLOB_UPLOAD_UNKNOWN"));
        }
        let held = upload.bytes.len();
        let start = self.head.header("content-range").map(|value| {
            let value = value.strip_prefix("bytes ").unwrap_or(value);
            value
                .split('-')
                .next()
                .and_then(|first| first.parse::<usize>().ok())
        });
        drop(store);
        let is_gap = start.is_some_and(|start| start != Some(held));
        if is_gap && self.shared.options.chunks == Chunks::InOrder {
            return Some(self.upload_reply(repo, id, 416));
        }
        let length = self
            .head
            .header("content-length")
            .and_then(|v| v.parse::<u64>().ok());
        if self.shared.options.max_chunk < length && self.shared.options.max_chunk.is_some() {
            return Some(Reply::error(413, "SIZE_INVALID"));
        }
        None
    }

    /// Appends the request body as it comes, so that what a broken connection brought stays.
    fn take_chunk(&mut self, repo: &str, id: &str) -> io::Result<()> {
        let mut left = u64::MAX;
        let mut hang_up_at = u64::MAX;
        let mut is_reset = false;
        for effect in &self.effects {
            match effect {
                Effect::KeepOnly(bytes) => left = *bytes,
                Effect::HangUpAfter(bytes) => hang_up_at = *bytes,
                Effect::ResetAfter(bytes) => (hang_up_at, is_reset) = (*bytes, true),
                _ => {}
            }
        }
        loop {
            let limit = usize::try_from(hang_up_at - self.received).unwrap();
            if limit == 0 && is_reset {
                return Err(self.connection.reset());
            }
            if limit == 0 {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            let piece = self.connection.piece(limit)?;
            if piece.is_empty() {
                return Ok(());
            }
            self.received += piece.len() as u64;
            let kept = piece.len().min(usize::try_from(left).unwrap());
            self.append(repo, id, &piece[..kept]);
            left -= kept as u64;
        }
    }

    fn held(&self, repo: &str, id: &str) -> usize {
        let mut store = self.shared.store.lock().unwrap();
        store
            .upload(repo, id)
            .map_or(0, |upload| upload.bytes.len())
    }

    fn append(&self, repo: &str, id: &str, bytes: &[u8]) {
        let mut store = self.shared.store.lock().unwrap();
        if let Some(upload) = store.upload(repo, id) {
            upload.bytes.extend_from_slice(bytes);
        }
    }

    /// Ends an upload: the blob is shown if it has the digest.
    fn complete(&self, repo: &str, id: &str, digest: &str) -> Reply {
        let mut store = self.shared.store.lock().unwrap();
        let Some(upload) = store.end_upload(id) else {
            return Reply::error(404, "BLOB_UPLOAD_UNKNOWN");
        };
        if digest::same_algorithm(digest, &upload.bytes).as_deref() != Some(digest) {
            return Reply::error(400, "DIGEST_INVALID");
        }
        store.add_blob(repo, digest, upload.bytes);
        self.created(repo, "blobs", digest)
    }

    /// Tells where an upload stands.
    pub(super) fn upload_reply(&self, repo: &str, id: &str, status: u16) -> Reply {
        let mut store = self.shared.store.lock().unwrap();
        let Some(upload) = store.upload(repo, id) else {
            return Reply::error(404, "BLOB_UPLOAD_UNKNOWN");
        };
        let is_stale = |e: &Effect| matches!(e, Effect::StaleLocation);
        let told = match self.effects.iter().any(is_stale) {
            true => upload.state,
            false => upload.state + 1,
        };
        upload.state += 1;
        let path = format!("/v2/{repo}/blobs/uploads/{id}");
        let location = match self.shared.options.upload_url {
            UploadUrl::Absolute => format!("{}{path}?_state={told}", self.shared.url),
            UploadUrl::Relative => format!("{path}?_state={told}"),
            UploadUrl::Bare => path,
        };
        let mut reply = Reply::new(status)
            .with("Location", location)
            .with(
                "Range",
                format!("0-{}", upload.bytes.len().saturating_sub(1)),
            )
            .with("Docker-Upload-UUID", id);
        if let Some(length) = self.shared.options.min_chunk {
            reply.set("OCI-Chunk-Min-Length", length.to_string());
        }
        reply
    }
}
