//! `sealift cat` and `sealift ls`

use std::fmt::Write as _;
use std::time::Instant;

use sealift_image::{
    Depth, FileEntry, Files, Identities, ImageError, LayerUse, OnePlatform, SourceCheck,
    WholeReason,
};
use sealift_registry::{Traffic, Transport};
use serde_json::{Value, json};

use crate::args::{CatArgs, ImageFilesArgs, LsArgs};
use crate::console::{Console, Form};
use crate::exit::Failure;
use crate::interrupt::Interrupt;
use crate::keys;
use crate::machine;
use crate::output::Output;
use crate::places::{parse, tell_routes, transport};
use crate::progress::Reporter;
use crate::report::{SCHEMA_VERSION, network_json};
use crate::text::{file_name, human, short};
use crate::trust::Trust;

/// Writes one file.
pub(crate) fn cat(args: &CatArgs, console: &Console, interrupt: &Interrupt) -> Result<(), Failure> {
    let began = Instant::now();
    with_files(
        &args.reference,
        &args.way,
        console,
        interrupt,
        |files, output, way| {
            let entry = files.read(args.path.as_bytes(), &mut |octets| output.write(octets))?;
            if console.form == Form::Json {
                // Standard output has the file, and nothing else.
                let mut told = entry_json(&entry);
                if let Some(members) = told.as_object_mut() {
                    members.insert("schemaVersion".to_owned(), json!(SCHEMA_VERSION));
                    members.insert("seconds".to_owned(), json!(began.elapsed().as_secs_f64()));
                    members.extend(way.json(files));
                }
                console.line(&told.to_string());
            }
            Ok(())
        },
    )
}

/// Lists one directory, or all below it.
pub(crate) fn ls(args: &LsArgs, console: &Console, interrupt: &Interrupt) -> Result<(), Failure> {
    let depth = match args.recursive {
        true => Depth::All,
        false => Depth::One,
    };
    with_files(
        &args.reference,
        &args.way,
        console,
        interrupt,
        |files, output, way| {
            let mut count = 0_u64;
            files.list(args.path.as_bytes(), depth, &mut |entry| {
                count += 1;
                match console.form {
                    Form::Json => {
                        let before = match count {
                            1 => list_begins(&args.path),
                            _ => ",".to_owned(),
                        };
                        output.write(format!("{before}{}", entry_json(&entry)).as_bytes())
                    }
                    Form::Text => output.write(line(&entry, args.long, depth).as_bytes()),
                }
            })?;
            if console.form == Form::Json {
                let before = match count {
                    0 => list_begins(&args.path),
                    _ => String::new(),
                };
                let rest = Value::Object(way.json(files)).to_string();
                let rest = rest.trim_start_matches('{');
                output.write(format!("{before}],{rest}\n").as_bytes())?;
            }
            Ok(())
        },
    )
}

/// What the first octets of a list are; its entries follow while they are found.
fn list_begins(path: &str) -> String {
    format!(
        r#"{{"schemaVersion":{SCHEMA_VERSION},"path":{},"entries":["#,
        json!(path)
    )
}

/// Opens the image, has its files looked at, and tells what that took.
fn with_files(
    reference: &str,
    args: &ImageFilesArgs,
    console: &Console,
    interrupt: &Interrupt,
    look: impl FnOnce(&mut Files<'_>, &mut Output<'_>, &Way<'_>) -> Result<(), ImageError>,
) -> Result<(), Failure> {
    keys::check_identities(&args.keys.keys, &args.holders)?;
    let reference = parse(reference)?;
    let trust = Trust::prepare(&args.trust, &reference)?;
    let transport = transport(&args.registry, None)?;
    let watched = interrupt.watch(transport.source(&reference)?, SourceCheck::Verify);
    let source = trust.check(&watched, interrupt, console)?;
    let (identities, asking) = keys::identities(
        &args.keys.keys,
        &args.holders,
        Some(&args.providers),
        console,
    )?;
    let progress = Reporter::new(console);
    let machine = machine::platform();
    let platform = match &args.platform {
        Some(asked) => OnePlatform::Asked(asked),
        None => OnePlatform::Machine(&machine),
    };
    let way = Way {
        reference: reference.to_string(),
        transport: &transport,
    };
    let mut output = Output::new(console);
    let looked = Files::open(&source, platform, &identities as Identities<'_>, &progress).and_then(
        |mut files| {
            let looked = look(&mut files, &mut output, &way).and_then(|()| output.flush());
            way.tell(&files, console);
            looked
        },
    );
    let looked = interrupt.explain_reading(looked);
    tell_routes(&transport, console);
    drop(progress);
    asking.accuse(console);
    output.settle(looked)
}

/// What was fetched on the way to an answer.
struct Way<'t> {
    reference: String,
    transport: &'t Transport,
}

impl Way<'_> {
    fn traffic(&self) -> Traffic {
        self.transport.client().traffic()
    }

    fn json(&self, files: &Files<'_>) -> serde_json::Map<String, Value> {
        let layers: Vec<Value> = files.layers().iter().map(layer_json).collect();
        let mut members = serde_json::Map::new();
        members.insert("reference".to_owned(), json!(self.reference));
        members.insert("digest".to_owned(), json!(files.digest().to_string()));
        members.insert("layers".to_owned(), json!(layers));
        members.insert("network".to_owned(), network_json(self.traffic()));
        members
    }

    /// Tells who wants to know everything.
    fn tell(&self, files: &Files<'_>, console: &Console) {
        for layer in files.layers() {
            console.detail(&format!(
                "layer {} ({}): {} of {} read",
                layer.index,
                short(&layer.digest),
                human(layer.fetched),
                human(layer.size)
            ));
        }
        let traffic = self.traffic();
        if traffic.requests > 0 {
            console.detail(&format!(
                "{} requests, {} retries; {} received",
                traffic.requests,
                traffic.retries,
                human(traffic.received)
            ));
        }
    }
}

fn layer_json(layer: &LayerUse) -> Value {
    json!({
        "index": layer.index,
        "digest": layer.digest.to_string(),
        "size": layer.size,
        "bytesRead": layer.fetched,
        "whole": layer.whole.map(word),
    })
}

/// Says why all of a layer is read.
pub(crate) fn whole_note(index: usize, size: u64, reason: WholeReason) -> String {
    let why = match reason {
        WholeReason::NoTable => "has no table of contents",
        WholeReason::TagAtEnd => "is of a cipher that authenticates it only as a whole",
        WholeReason::Clear => "is in clear, and only its own digest tells whether it is authentic",
        WholeReason::NoParts => "is in a registry that serves no parts of it",
        _ => "cannot be read in parts",
    };
    format!("layer {index} {why}: all of it is read ({})", human(size))
}

fn word(reason: WholeReason) -> &'static str {
    match reason {
        WholeReason::NoTable => "no-table",
        WholeReason::TagAtEnd => "tag-at-end",
        WholeReason::Clear => "clear",
        WholeReason::NoParts => "no-parts",
        _ => "other",
    }
}

fn entry_json(entry: &FileEntry) -> Value {
    let octets = entry.path.as_octets();
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let mut value = json!({
        "path": format!("/{}", text(octets)),
        "type": entry.kind,
        "mode": entry.mode.map(|mode| format!("{mode:04o}")),
        "uid": entry.uid,
        "gid": entry.gid,
        "size": entry.size,
        "modified": entry.modified.to_string(),
        "target": entry.target.as_deref().map(text),
        "layer": entry.layer,
    });
    if let Some(members) = value.as_object_mut() {
        if std::str::from_utf8(octets).is_err() {
            // Names are octets; this is what they are.
            let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
            members.insert("pathHex".to_owned(), json!(hex));
        }
        if let Some(device) = entry.device {
            members.insert("device".to_owned(), json!([device.major, device.minor]));
        }
    }
    value
}

/// One entry for people: its name, and what it leads to.
fn line(entry: &FileEntry, is_long: bool, depth: Depth) -> String {
    let mut line = String::new();
    if is_long {
        let size = match entry.device {
            Some(device) => format!("{}, {}", device.major, device.minor),
            None => entry.size.to_string(),
        };
        // Writing to a string cannot fail.
        let _ = write!(
            line,
            "{} {:>5} {:>5} {size:>10} {} ",
            mode_text(entry),
            entry.uid,
            entry.gid,
            entry.modified
        );
    }
    line.push_str(&match depth {
        Depth::One => file_name(entry.path.name()),
        Depth::All => format!("/{}", file_name(entry.path.as_octets())),
    });
    if entry.kind == "directory" {
        line.push('/');
    }
    if let Some(target) = &entry.target {
        line.push_str(" -> ");
        line.push_str(&file_name(target));
    }
    line.push('\n');
    line
}

/// Kind and permissions as `ls` shows them.
fn mode_text(entry: &FileEntry) -> String {
    let kind = match entry.kind {
        "directory" => 'd',
        "symlink" => 'l',
        "char" => 'c',
        "block" => 'b',
        "fifo" => 'p',
        _ => '-',
    };
    let Some(mode) = entry.mode else {
        return format!("{kind}?????????");
    };
    let mut text = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: &'static str, mode: Option<u32>) -> FileEntry {
        FileEntry {
            path: sealift_files::FilePath::of_entry(b"usr/bin/x\n\x1b[2J").unwrap(),
            kind,
            mode,
            uid: 0,
            gid: 1000,
            size: 12,
            modified: sealift_files::Timestamp {
                seconds: 784_111_777,
            },
            target: None,
            device: None,
            layer: 0,
        }
    }

    #[test]
    fn permissions_are_shown_as_ls_shows_them() {
        for (kind, mode, expected) in [
            ("file", Some(0o644), "-rw-r--r--"),
            ("file", Some(0o4755), "-rwsr-xr-x"),
            ("file", Some(0o2644), "-rw-r-Sr--"),
            ("directory", Some(0o1777), "drwxrwxrwt"),
            ("symlink", Some(0o777), "lrwxrwxrwx"),
            ("directory", None, "d?????????"),
        ] {
            assert_eq!(mode_text(&entry(kind, mode)), expected);
        }
    }

    #[test]
    fn names_cannot_move_the_cursor_or_begin_a_line() {
        let file = entry("file", Some(0o644));
        assert_eq!(line(&file, false, Depth::One), "x\\n\\u{1b}[2J\n");
        assert_eq!(
            line(&file, true, Depth::All),
            "-rw-r--r--     0  1000         12 1994-11-06T08:49:37Z /usr/bin/x\\n\\u{1b}[2J\n"
        );
    }
}
