//! What services have to say: one JSON object a line on standard error, as collectors of logs read it.

use std::fmt::Debug;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::now_ms;

/// Begins to write; `SEALIFT_LOG` chooses how much: `off`, `error`, `warn`, `info` (the default), `debug` or `trace`.
pub(super) fn begin() {
    let chosen = std::env::var("SEALIFT_LOG")
        .ok()
        .and_then(|text| text.parse().ok());
    let log = Log {
        level: chosen.unwrap_or(LevelFilter::INFO),
        spans: AtomicU64::new(1),
    };
    // One is set already only in a process that has begun a service before.
    let _ = tracing::subscriber::set_global_default(log);
}

/// Writes events. Spans group them for those who trace; here they are passed over.
struct Log {
    level: LevelFilter,
    spans: AtomicU64,
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Of other people's crates only trouble is worth a line.
        let ours = metadata.target().starts_with("sealift");
        let level = if ours {
            self.level
        } else {
            self.level.min(LevelFilter::WARN)
        };
        *metadata.level() <= level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        // Never zero in the lifetime of a process.
        Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed).max(1))
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut line = Line(Map::new());
        line.set("time_ms", now_ms().into());
        line.set("level", metadata.level().as_str().into());
        line.set("target", metadata.target().into());
        event.record(&mut line);
        let text = format!("{}\n", Value::Object(line.0));
        // There is nobody left to tell when standard error is gone.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line(Map<String, Value>);

impl Line {
    fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.set(field.name(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let chain = std::iter::successors(Some(value), |error| error.source());
        let causes: Vec<String> = chain.map(ToString::to_string).collect();
        self.set(field.name(), causes.join(": ").into());
    }
}
