//! Progress events on standard error.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use sealift_image::{Action, Event, Progress};
use sealift_oci::Digest;
use serde_json::json;

use crate::console::{Console, Shown};
use crate::image_files::whole_note;
use crate::text::{human, short};

/// Shows the events of one operation as the user asked for.
#[derive(Debug)]
pub(crate) struct Reporter<'a> {
    console: &'a Console,
    blobs: Mutex<HashMap<Digest, Blob>>,
}

#[derive(Debug)]
struct Blob {
    action: Action,
    size: u64,
    done: u64,
    began: Instant,
    told: Instant,
    bar: Option<ProgressBar>,
}

impl<'a> Reporter<'a> {
    pub(crate) fn new(console: &'a Console) -> Self {
        Self {
            console,
            blobs: Mutex::default(),
        }
    }

    /// Returns how many blobs were finished and how many octets they hold.
    pub(crate) fn finished(&self) -> (usize, u64) {
        let blobs = self.blobs();
        let finished = blobs.values().filter(|blob| blob.done == u64::MAX);
        finished.fold((0, 0), |(count, octets), blob| {
            (count + 1, octets + blob.size)
        })
    }

    fn started(&self, digest: &Digest, size: u64, action: Action) {
        let now = Instant::now();
        let bar = (self.console.progress == Shown::Bars).then(|| {
            let bar = self.console.bars().add(ProgressBar::new(size));
            bar.set_style(bar_style());
            bar.set_prefix(format!("{:<7} {}", doing(action), short(digest)));
            bar
        });
        match self.console.progress {
            Shown::Json => self.console.line(
                &json!({"event": "started", "digest": digest.to_string(), "size": size, "action": name(action)}).to_string(),
            ),
            _ => self.console.detail(&format!("{} {digest} ({})", doing(action), human(size))),
        }
        let blob = Blob {
            action,
            size,
            done: 0,
            began: now,
            told: now,
            bar,
        };
        self.blobs().insert(digest.clone(), blob);
    }

    fn advanced(&self, digest: &Digest, bytes: u64) {
        let mut blobs = self.blobs();
        let Some(blob) = blobs.get_mut(digest) else {
            return;
        };
        blob.done = blob.done.saturating_add(bytes);
        if let Some(bar) = &blob.bar {
            bar.inc(bytes);
        }
        if self.console.progress == Shown::Json && blob.told.elapsed() >= JSON_PACE {
            blob.told = Instant::now();
            let line = json!({"event": "advanced", "digest": digest.to_string(), "done": blob.done, "size": blob.size});
            drop(blobs);
            self.console.line(&line.to_string());
        }
    }

    fn finish(&self, digest: &Digest) {
        let mut blobs = self.blobs();
        let Some(blob) = blobs.get_mut(digest) else {
            return;
        };
        blob.done = u64::MAX;
        let (action, size, took) = (blob.action, blob.size, blob.began.elapsed());
        let bar = blob.bar.take();
        drop(blobs);
        if let Some(bar) = bar {
            bar.finish_and_clear();
            self.console.bars().remove(&bar);
        }
        match self.console.progress {
            Shown::Bars | Shown::Plain => {
                let seconds = took.as_secs_f64();
                self.console.line(&format!("{} {digest} {} {seconds:.1} s", done(action), human(size)));
            }
            Shown::Json => self.console.line(
                &json!({"event": "finished", "digest": digest.to_string(), "size": size, "action": name(action)}).to_string(),
            ),
            Shown::Nothing => {}
        }
    }

    fn blobs(&self) -> MutexGuard<'_, HashMap<Digest, Blob>> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Reporter<'_> {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Notice { text } => self.console.note(text),
            Event::WholeLayer {
                index,
                size,
                reason,
                ..
            } => self.console.note(&whole_note(index, size, reason)),
            Event::LayerAbsent { index, digest } => self.console.note(&format!(
                "layer {index} ({digest}) must not be stored in registries, and is not here: its files are left out"
            )),
            Event::Started {
                digest,
                size,
                action,
            } => self.started(digest, size, action),
            Event::Advanced { digest, bytes } => self.advanced(digest, bytes),
            Event::Finished { digest } => self.finish(digest),
            _ => {}
        }
    }
}

impl Drop for Reporter<'_> {
    /// Bars of blobs that were not finished go away, so that the error stands alone.
    fn drop(&mut self) {
        for blob in self.blobs().values_mut() {
            if let Some(bar) = blob.bar.take() {
                bar.finish_and_clear();
            }
        }
    }
}

/// Returns the word of an action in JSON and in plans.
pub(crate) fn name(action: Action) -> &'static str {
    match action {
        Action::Seal => "seal",
        Action::Open => "open",
        Action::Copy => "copy",
        Action::KeepSealed => "keep-sealed",
        Action::LeaveClear => "leave-clear",
        Action::SkipNondistributable => "skip-nondistributable",
        Action::Verify => "verify",
        Action::Read => "read",
        Action::Rewrap => "rewrap",
        Action::RewriteHeader => "rewrite-header",
        _ => "other",
    }
}

fn doing(action: Action) -> &'static str {
    match action {
        Action::Seal => "sealing",
        Action::Open => "opening",
        Action::Verify | Action::Read => "reading",
        Action::RewriteHeader => "rewriting",
        _ => "copying",
    }
}

fn done(action: Action) -> &'static str {
    match action {
        Action::Seal => "sealed",
        Action::Open => "opened",
        Action::Verify => "verified",
        Action::Read => "read",
        Action::RewriteHeader => "rewrote",
        _ => "copied",
    }
}

fn bar_style() -> ProgressStyle {
    // The template is a constant of this file; one that does not parse falls back to the library's own.
    let fill = if std::io::stderr().is_terminal() {
        "━╸─"
    } else {
        "#>-"
    };
    ProgressStyle::with_template("{prefix} {bar:30} {binary_bytes:>11}/{binary_total_bytes:<11} {binary_bytes_per_sec:>13} {eta:>4}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars(fill)
}

/// Shortest time between two `advanced` objects of one blob.
const JSON_PACE: Duration = Duration::from_secs(1);
