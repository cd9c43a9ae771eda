//! `sealift-decoder`: started by containerd for every sealed layer. What it does is in the library; here it meets the process.

mod afterlife;
mod args;
#[cfg(windows)]
mod named_pipe;
mod payload_source;

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use sealift_provider::CallOptions;
use sealift_stream_processor::{ContentStore, DecodeError, Horizon, Job, Keys, Payload, decode};
use sealift_token::{Caution, Surroundings, Tokens, WorkerCommand};

use crate::args::Args;

fn main() -> ExitCode {
    if afterlife::is_over() {
        return ExitCode::SUCCESS;
    }
    if is_worker() {
        // The parent learns of an error by the end of the pipe.
        let worked = sealift_token::work();
        return ExitCode::from(u8::from(worked.is_err()));
    }
    let args = match Args::try_parse() {
        Ok(args) => args,
        // Help and version.
        Err(asked) if !asked.use_stderr() => asked.exit(),
        Err(error) => {
            say(&usage(&error));
            return ExitCode::from(USAGE);
        }
    };
    let media_type = std::env::var("STREAM_PROCESSOR_MEDIATYPE").ok();
    let mut keys = Keys::default().with_tokens(tokens());
    let outcome = run(&args, media_type.as_deref(), &mut keys);
    let (code, line) = match &outcome {
        Ok(octets) => (0, format!("{octets} octets")),
        Err(error) => (error.exit_code(), message(error, &keys)),
    };
    if let Some(log) = &args.log {
        // The layer's fate does not depend on whether it could be noted.
        let _ = note(log, media_type.as_deref(), code, &line);
    }
    if outcome.is_err_and(|error| !error.is_quiet()) {
        say(&line);
    }
    // Standard output stays open until the process is gone: a runtime that sees its end may not wait for the exit status.
    ExitCode::from(code)
}

/// Returns whether this process was started to load a PKCS #11 module.
fn is_worker() -> bool {
    let mut arguments = std::env::args_os().skip(1);
    arguments.next().is_some_and(|argument| argument == WORKER) && arguments.next().is_none()
}

/// Returns the tokens of this run; nothing is started before one is wanted.
fn tokens() -> Arc<Tokens> {
    let command = WorkerCommand {
        // A process that cannot find itself gets a name that does not exist, and the error that says so.
        program: std::env::current_exe().unwrap_or_default(),
        arguments: vec![WORKER.into()],
        timeout: WorkerCommand::TIMEOUT,
        hidden: std::env::vars_os()
            .map(|(name, _)| name)
            .filter(|name| name.as_encoded_bytes().starts_with(b"SEALIFT_"))
            .collect(),
    };
    let surroundings = Surroundings {
        ocicrypt_config: std::env::var_os("OCICRYPT_CONFIG"),
        xdg_config_home: std::env::var_os("XDG_CONFIG_HOME"),
        home: std::env::var_os("HOME"),
    };
    Tokens::new(command, surroundings, Caution::Unattended)
}

/// What makes a process of ours a worker.
const WORKER: &str = "--pkcs11-worker";

fn say(line: &str) {
    // containerd puts its own text right behind ours, hence no line break.
    let _ = write!(io::stderr(), "sealift-decoder: {line}");
    afterlife::begin();
}

/// Renders the first paragraph of a usage error as one line.
fn usage(error: &clap::Error) -> String {
    let text = error.to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let paragraph = paragraph.strip_prefix("error: ").unwrap_or(paragraph);
    let words: Vec<&str> = paragraph.split_whitespace().collect();
    format!("{}; hint: sealift-decoder --help", words.join(" "))
}

fn run(args: &Args, media_type: Option<&str>, keys: &mut Keys) -> Result<u64, DecodeError> {
    let payload = match payload_source::read().map_err(DecodeError::PayloadSource)? {
        Some(octets) => Payload::parse(&octets)?,
        None => Payload::default(),
    };
    keys.add_payload(&payload);
    for folder in args.key_folders() {
        keys.add_folder(&folder);
    }
    if let Some(config) = args.keyprovider_config() {
        let options = CallOptions {
            timeout: Duration::from_secs(args.provider_timeout.into()),
            hidden: our_variables(),
        };
        keys.add_providers(config, options);
    }
    if let Some(socket) = &args.agent {
        keys.add_agent(socket);
    }
    let (mut source, mut sink) = standard_streams()?;
    let job = Job {
        media_type,
        descriptor: payload.descriptor.as_ref(),
        keys: &keys.ring,
        store: &ContentStore::new(&args.containerd_root),
        horizon: match args.agent {
            Some(_) => Horizon::Image,
            None => Horizon::Layer,
        },
        spool: &args.spool_dir(),
    };
    decode(&job, &mut source, &mut sink)
}

/// Returns the environment variables that are none of a key provider's business.
fn our_variables() -> Vec<OsString> {
    std::env::vars_os()
        .map(|(name, _)| name)
        .filter(|name| name.as_encoded_bytes().starts_with(b"SEALIFT_"))
        .collect()
}

/// Standard input and output without the buffers that `std` puts around them.
fn standard_streams() -> Result<(File, File), DecodeError> {
    #[cfg(unix)]
    use std::os::fd::AsFd as As;
    #[cfg(windows)]
    use std::os::windows::io::AsHandle as As;

    #[cfg(unix)]
    let (source, sink) = (
        io::stdin().as_fd().try_clone_to_owned(),
        io::stdout().as_fd().try_clone_to_owned(),
    );
    #[cfg(windows)]
    let (source, sink) = (
        io::stdin().as_handle().try_clone_to_owned(),
        io::stdout().as_handle().try_clone_to_owned(),
    );
    Ok((
        source.map_err(DecodeError::Read)?.into(),
        sink.map_err(DecodeError::Write)?.into(),
    ))
}

/// Renders an error, its causes, and what was passed over, as one line.
fn message(error: &DecodeError, keys: &Keys) -> String {
    let mut line = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let text = error.to_string();
        // Wrappers repeat what they wrap.
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    if error.is_no_key() {
        line.push_str("; keys at hand: ");
        line.push_str(&keys.ring.len().to_string());
        for note in keys.notes.iter().take(MAX_NOTES) {
            line.push_str("; ");
            line.push_str(note);
        }
        if let Some(more @ 1..) = keys.notes.len().checked_sub(MAX_NOTES) {
            line.push_str(&format!("; {more} more notes on keys"));
        }
    }
    if let Some(hint) = error.hint() {
        line.push_str("; hint: ");
        line.push_str(hint);
    }
    line.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Most notes on keys in one message.
const MAX_NOTES: usize = 16;

/// Exit code of usage errors.
const USAGE: u8 = 2;

/// Appends one line of JSON to the log file.
fn note(log: &Path, media_type: Option<&str>, code: u8, line: &str) -> io::Result<()> {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let entry = serde_json::json!({
        "time": seconds,
        "pid": std::process::id(),
        "mediaType": media_type,
        "exit": code,
        "outcome": line,
    });
    let mut file = OpenOptions::new().create(true).append(true).open(log)?;
    file.write_all(format!("{entry}\n").as_bytes())
}
