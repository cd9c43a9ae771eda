//! The distribution specification, request by request.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::auth::{Need, Tokens};
use super::fault::{Effect, Operation, Script};
use super::http::{Body, Connection, Delivery, Framing, Head, Next, Reply};
use super::log::Entry;
use super::options::{Options, Support, UploadUrl};
use super::route::Target;
use super::store::{Manifest, Store};
use crate::digest;

/// What all connections of one registry share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: Options,
    /// `http://127.0.0.1:PORT`
    pub(super) url: String,
    pub(super) store: Mutex<Store>,
    pub(super) script: Mutex<Script>,
    pub(super) log: Mutex<Vec<Entry>>,
    pub(super) tokens: Mutex<Tokens>,
    pub(super) is_closing: AtomicBool,
}

/// One request in the making: what was read, and what it met.
pub(super) struct Exchange<'a> {
    pub(super) shared: &'a Shared,
    pub(super) connection: &'a mut Connection,
    pub(super) head: Head,
    operation: Operation,
    pub(super) effects: Vec<Effect>,
    /// Octets of request body read so far.
    pub(super) received: u64,
}

impl Shared {
    /// Serves one connection until one side has had enough.
    pub(super) fn serve(&self, mut connection: Connection) {
        while let Ok(Some(head)) = connection.head() {
            let target = Target::of(&head.path);
            let operation = match target.operation(&head) {
                Operation::Other if self.has_file(&head) => Operation::File,
                other => other,
            };
            let effects = self.script.lock().unwrap().meet(operation, &head.path);
            let exchange = Exchange {
                shared: self,
                connection: &mut connection,
                head,
                operation,
                effects,
                received: 0,
            };
            match exchange.run(&target) {
                Ok(Next::Keep) => {}
                Ok(Next::Close) | Err(_) => break,
            }
        }
    }

    fn wait_for_the_end(&self) {
        while !self.is_closing.load(SeqCst) {
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn has_file(&self, head: &Head) -> bool {
        let is_read = matches!(head.method.as_str(), "GET" | "HEAD");
        is_read && self.store.lock().unwrap().file(&head.path).is_some()
    }
}

impl Exchange<'_> {
    fn run(mut self, target: &Target) -> io::Result<Next> {
        let begun = match self.before(target) {
            Ok(Before::Proceed) => self.respond(target).map(Before::Answer),
            other => other,
        };
        match begun {
            Ok(Before::Answer(reply)) => self.after(target, reply),
            Ok(Before::Recorded) => Ok(Next::Close),
            Ok(Before::Proceed | Before::Close) | Err(_) => {
                self.record(None);
                Ok(Next::Close)
            }
        }
    }

    /// Applies the effects that come before the request is obeyed.
    fn before(&mut self, target: &Target) -> io::Result<Before> {
        for effect in self.effects.clone() {
            match effect {
                Effect::Answer {
                    status,
                    headers,
                    body,
                } => {
                    self.drain()?;
                    let mut reply = Reply::new(status).body(body);
                    reply.headers = headers;
                    return Ok(Before::Answer(reply));
                }
                Effect::Redirect(url) => {
                    self.drain()?;
                    return Ok(Before::Answer(Reply::new(307).with("Location", url)));
                }
                Effect::HangUp => return Ok(Before::Close),
                Effect::Stall => {
                    self.record(None);
                    self.shared.wait_for_the_end();
                    return Ok(Before::Recorded);
                }
                Effect::ExpireToken => self.shared.tokens.lock().unwrap().expire(&self.head),
                Effect::ForgetUpload => {
                    if let Target::Upload { id, .. } = target {
                        self.shared.store.lock().unwrap().end_upload(id);
                    }
                }
                _ => {}
            }
        }
        Ok(Before::Proceed)
    }

    /// Applies the effects that change the reply, and sends it.
    fn after(mut self, target: &Target, mut reply: Reply) -> io::Result<Next> {
        let mut delivery = Delivery {
            no_body: self.head.method == "HEAD",
            ..Delivery::default()
        };
        for effect in self.effects.clone() {
            match effect {
                Effect::LoseReply => {
                    self.record(None);
                    return Ok(Next::Close);
                }
                Effect::CutHeader => delivery.cut_header = true,
                Effect::CutBody(after) | Effect::StallAfter(after) => {
                    delivery.cut_body = Some(after);
                }
                Effect::ResetAfter(octets) => delivery.reset_after = Some(octets),
                Effect::DeclareLength(length) => delivery.declared_length = Some(length),
                Effect::NoLength => delivery.framing = Framing::Close,
                Effect::Chunked => delivery.framing = Framing::Chunked,
                Effect::Trickle { bytes, pause } => delivery.trickle = Some((bytes, pause)),
                Effect::FlipBit(at) => flip_bit(&mut reply.body, at),
                Effect::Body(bytes) => reply.body = bytes.into(),
                Effect::Blanks(length) => reply.body = Body::Blanks(length),
                Effect::SetHeader(name, value) => reply.set(&name, value),
                Effect::DropHeader(name) => reply.remove(&name),
                Effect::Vanish => self.remove(target),
                _ => {}
            }
        }
        self.record(Some(reply.status));
        let next = self.connection.answer(&reply, &delivery)?;
        let is_stalled = |e: &Effect| matches!(e, Effect::StallAfter(_));
        if self.effects.iter().any(is_stalled) {
            self.shared.wait_for_the_end();
        }
        Ok(next)
    }

    fn respond(&mut self, target: &Target) -> io::Result<Reply> {
        if let Err(refusal) = self.authorize(target) {
            self.drain()?;
            return Ok(refusal);
        }
        match (self.operation, target.clone()) {
            (Operation::PatchUpload, Target::Upload { repo, id }) => {
                return self.patch_upload(&repo, &id);
            }
            (Operation::PutUpload, Target::Upload { repo, id }) => {
                return self.put_upload(&repo, &id);
            }
            (Operation::StartUpload, Target::Uploads { repo }) => return self.start_upload(&repo),
            (Operation::PutManifest, Target::Manifest { repo, reference }) => {
                return self.put_manifest(&repo, &reference);
            }
            (Operation::Token, _) => {
                let form = self.drain()?;
                let mut tokens = self.shared.tokens.lock().unwrap();
                return Ok(tokens.issue(&self.shared.options.auth, &self.head, &form));
            }
            _ => {}
        }
        self.drain()?;
        Ok(match (self.operation, target.clone()) {
            (Operation::Ping, _) => Reply::new(200).body(b"{}".to_vec()),
            (Operation::HeadBlob | Operation::GetBlob, Target::Blob { repo, digest }) => {
                self.blob(&repo, &digest)
            }
            (Operation::DeleteBlob, Target::Blob { repo, digest }) => {
                match self
                    .shared
                    .store
                    .lock()
                    .unwrap()
                    .remove_blob(&repo, &digest)
                {
                    true => Reply::new(202),
                    false => Reply::error(404, "BLOB_UNKNOWN"),
                }
            }
            (Operation::Mount, Target::Uploads { repo }) => self.mount(&repo),
            (Operation::UploadStatus, Target::Upload { repo, id }) => {
                self.upload_reply(&repo, &id, 204)
            }
            (Operation::CancelUpload, Target::Upload { repo, id }) => {
                let mut store = self.shared.store.lock().unwrap();
                match store.upload(&repo, &id).is_some() && store.end_upload(&id).is_some() {
                    true => Reply::new(204),
                    false => Reply::error(404, "BLOB_UPLOAD_UNKNOWN"),
                }
            }
            (
                Operation::HeadManifest | Operation::GetManifest,
                Target::Manifest { repo, reference },
            ) => self.manifest(&repo, &reference),
            (Operation::DeleteManifest, Target::Manifest { repo, reference }) => {
                match self
                    .shared
                    .store
                    .lock()
                    .unwrap()
                    .remove_manifest(&repo, &reference)
                {
                    true => Reply::new(202),
                    false => Reply::error(404, "MANIFEST_UNKNOWN"),
                }
            }
            (Operation::ListTags, Target::Tags { repo }) => self.tags(&repo),
            (Operation::ListReferrers, Target::Referrers { repo, digest }) => {
                self.referrers(&repo, &digest)
            }
            (Operation::File, _) => {
                let file = self.shared.store.lock().unwrap().file(&self.head.path);
                self.ranged(file.unwrap_or_default().into())
            }
            _ => Reply::error(404, "UNSUPPORTED"),
        })
    }

    fn authorize(&self, target: &Target) -> Result<(), Reply> {
        let action = match self.operation {
            Operation::Token | Operation::File => return Ok(()),
            Operation::DeleteBlob | Operation::DeleteManifest => "delete",
            Operation::PutManifest
            | Operation::StartUpload
            | Operation::Mount
            | Operation::PatchUpload
            | Operation::PutUpload
            | Operation::UploadStatus
            | Operation::CancelUpload => "push",
            _ => "pull",
        };
        let repo = match target {
            Target::Blob { repo, .. }
            | Target::Uploads { repo }
            | Target::Upload { repo, .. }
            | Target::Manifest { repo, .. }
            | Target::Tags { repo }
            | Target::Referrers { repo, .. } => Some(repo.as_str()),
            Target::Ping | Target::Token | Target::Other => None,
        };
        let mut tokens = self.shared.tokens.lock().unwrap();
        let need = Need { repo, action };
        tokens.check(
            &self.shared.options.auth,
            &self.head,
            need,
            &self.shared.url,
        )
    }

    fn blob(&self, repo: &str, digest: &str) -> Reply {
        let blob = self.shared.store.lock().unwrap().blob(repo, digest);
        match blob {
            Some(blob) => self
                .ranged(blob.into())
                .with("Content-Type", "application/octet-stream")
                .with("Docker-Content-Digest", digest),
            None => Reply::error(404, "BLOB_UNKNOWN"),
        }
    }

    /// Serves the part that `Range` asks for, if it does (RFC 9110, section 14).
    fn ranged(&self, body: Body) -> Reply {
        let is_ignored = self.shared.options.ranges == Support::No
            || self.effects.iter().any(|e| matches!(e, Effect::WholeBody));
        let asked = self.head.header("range").filter(|_| !is_ignored);
        let Body::Part { whole, .. } = &body else {
            return Reply::new(200).body(body);
        };
        let Some((first, last)) = asked.and_then(|value| parse_range(value, whole.len())) else {
            return Reply::new(200).with("Accept-Ranges", "bytes").body(body);
        };
        // The conformance tests of the specification want 416 also for a range that ends before it begins.
        if first >= whole.len() || last < first {
            return Reply::error(416, "RANGE_INVALID")
                .with("Content-Range", format!("bytes */{}", whole.len()));
        }
        let shift = self.effects.iter().find_map(|e| match e {
            Effect::ShiftRange(by) => Some(*by),
            _ => None,
        });
        let content_range = format!("bytes {first}-{last}/{}", whole.len());
        let part = match shift {
            Some(by) => {
                let octets = (first..=last).map(|i| whole[(i + by) % whole.len()]);
                Body::from(octets.collect::<Vec<_>>())
            }
            None => Body::Part {
                whole: whole.clone(),
                start: first,
                length: last - first + 1,
            },
        };
        Reply::new(206)
            .with("Content-Range", content_range)
            .body(part)
    }

    /// Tells where something new is to be had.
    pub(super) fn created(&self, repo: &str, kind: &str, digest: &str) -> Reply {
        let path = format!("/v2/{repo}/{kind}/{digest}");
        let location = match self.shared.options.upload_url {
            UploadUrl::Absolute => format!("{}{path}", self.shared.url),
            UploadUrl::Relative | UploadUrl::Bare => path,
        };
        Reply::new(201)
            .with("Location", location)
            .with("Docker-Content-Digest", digest)
    }

    fn manifest(&self, repo: &str, reference: &str) -> Reply {
        match self.shared.store.lock().unwrap().manifest(repo, reference) {
            Some(manifest) => Reply::new(200)
                .with("Content-Type", &manifest.media_type)
                .with("Docker-Content-Digest", &manifest.digest)
                .body(manifest.bytes.clone()),
            None => Reply::error(404, "MANIFEST_UNKNOWN"),
        }
    }

    fn put_manifest(&mut self, repo: &str, reference: &str) -> io::Result<Reply> {
        let length = self
            .head
            .header("content-length")
            .and_then(|v| v.parse().ok());
        let bytes = self.drain()?;
        if length.unwrap_or(bytes.len() as u64) > self.shared.options.max_manifest {
            return Ok(Reply::error(413, "SIZE_INVALID"));
        }
        let Ok(document) = serde_json::from_slice::<Value>(&bytes) else {
            return Ok(Reply::error(400, "MANIFEST_INVALID"));
        };
        let media_type = self
            .head
            .header("content-type")
            .unwrap_or_default()
            .to_owned();
        if document["mediaType"]
            .as_str()
            .is_some_and(|own| own != media_type)
        {
            return Ok(Reply::error(400, "MANIFEST_INVALID"));
        }
        let mut manifest = Manifest::new(&media_type, bytes);
        if reference.contains(':') {
            let digest = digest::same_algorithm(reference, &manifest.bytes);
            if digest.as_deref() != Some(reference) {
                return Ok(Reply::error(400, "DIGEST_INVALID"));
            }
            reference.clone_into(&mut manifest.digest);
        }
        let digest = manifest.digest.clone();
        let mut store = self.shared.store.lock().unwrap();
        if self.shared.options.checked_references == Support::Yes
            && store.missing_reference(repo, &document).is_some()
        {
            return Ok(Reply::error(404, "MANIFEST_BLOB_UNKNOWN"));
        }
        store.add_manifest(repo, reference, manifest);
        let mut reply = self.created(repo, "manifests", &digest);
        let subject = document["subject"]["digest"].as_str();
        if let (Some(subject), Support::Yes) = (subject, self.shared.options.referrers) {
            reply.set("OCI-Subject", subject);
        }
        Ok(reply)
    }

    fn tags(&self, repo: &str) -> Reply {
        let all = self.shared.store.lock().unwrap().tags(repo);
        let after = self.head.parameter("last").unwrap_or_default();
        let asked = self.head.parameter("n").and_then(|n| n.parse().ok());
        let page = asked
            .unwrap_or(self.shared.options.page)
            .min(self.shared.options.page);
        let rest: Vec<_> = all.into_iter().filter(|tag| *tag > after).collect();
        let tags = &rest[..page.min(rest.len())];
        let mut reply = Reply::new(200).with("Content-Type", "application/json");
        if let (Some(last), true) = (tags.last(), rest.len() > page) {
            let next = format!("</v2/{repo}/tags/list?n={page}&last={last}>; rel=\"next\"");
            reply.set("Link", next);
        }
        reply.body(json!({"name": repo, "tags": tags}).to_string().into_bytes())
    }

    fn referrers(&self, repo: &str, digest: &str) -> Reply {
        if self.shared.options.referrers == Support::No {
            return Reply::error(404, "NOT_FOUND");
        }
        let mut found = self.shared.store.lock().unwrap().referrers(repo, digest);
        let mut reply = Reply::new(200).with("Content-Type", INDEX);
        let filter = self.head.parameter("artifactType");
        if let Some(wanted) = &filter {
            found.retain(|descriptor| descriptor["artifactType"] == **wanted);
            reply.set("OCI-Filters-Applied", "artifactType");
        }
        let page = self.shared.options.page;
        let skip = self
            .head
            .parameter("skip")
            .and_then(|n| n.parse().ok())
            .unwrap_or(0);
        if found.len() > skip + page {
            let filter = filter.map_or_else(String::new, |f| format!("&artifactType={f}"));
            let next = format!(
                "</v2/{repo}/referrers/{digest}?skip={}{filter}>; rel=\"next\"",
                skip + page
            );
            reply.set("Link", next);
        }
        let manifests: Vec<_> = found.into_iter().skip(skip).take(page).collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        reply.body(index.to_string().into_bytes())
    }

    fn remove(&self, target: &Target) {
        let mut store = self.shared.store.lock().unwrap();
        match target {
            Target::Blob { repo, digest } => drop(store.remove_blob(repo, digest)),
            Target::Manifest { repo, reference } => drop(store.remove_manifest(repo, reference)),
            _ => {}
        }
    }

    /// Reads the rest of the request body.
    pub(super) fn drain(&mut self) -> io::Result<Vec<u8>> {
        let hang_up_at = self.effects.iter().find_map(|e| match e {
            Effect::HangUpAfter(bytes) => Some(*bytes),
            _ => None,
        });
        let mut body = Vec::new();
        loop {
            let limit = hang_up_at.unwrap_or(u64::MAX) - self.received;
            if limit == 0 {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            let piece = self.connection.piece(usize::try_from(limit).unwrap())?;
            if piece.is_empty() {
                return Ok(body);
            }
            self.received += piece.len() as u64;
            body.extend_from_slice(&piece);
        }
    }

    /// Writes the log before the answer, so that whoever has the answer finds the entry.
    fn record(&mut self, status: Option<u16>) {
        self.shared.log.lock().unwrap().push(Entry {
            operation: self.operation,
            method: self.head.method.clone(),
            path: self.head.path.clone(),
            query: self.head.query.clone(),
            headers: self.head.headers.clone(),
            received: self.received,
            status,
        });
    }
}

/// What the effects before the answer decided.
enum Before {
    Proceed,
    Answer(Reply),
    Close,
    Recorded,
}

/// Returns the first and the last octet of `bytes=A-B`, `bytes=A-` or `bytes=-N`; `None` for anything else.
fn parse_range(value: &str, length: usize) -> Option<(usize, usize)> {
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    let end = length.saturating_sub(1);
    if first.is_empty() {
        let suffix: usize = last.parse().ok()?;
        return Some((length.saturating_sub(suffix), end));
    }
    let first = first.parse().ok()?;
    let last = if last.is_empty() {
        end.max(first)
    } else {
        last.parse().ok()?
    };
    Some((first, last.min(end)))
}

fn flip_bit(body: &mut Body, at: usize) {
    if let Body::Part {
        whole,
        start,
        length,
    } = body
    {
        let mut bytes = whole[*start..*start + *length].to_vec();
        assert!(at < bytes.len(), "the body ends before octet {at}");
        bytes[at] ^= 1;
        *body = bytes.into();
    }
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
