//! `sealift`: seals container images before they are pushed, and opens them.
//!
//! This crate is the edge: it alone reads the command line, the environment, key files and the clock, and it alone
//! writes to the terminal. What happens to an image is decided below, in `sealift-image`.

mod args;
mod completion;
mod config;
mod console;
mod containerd;
mod copy;
mod decrypt;
mod delete;
mod deliver;
mod doctor;
mod encrypt;
mod exit;
mod files;
mod image_files;
mod image_verifier;
mod inspect;
mod interrupt;
mod keygen;
mod keyholders;
mod keyprovider;
mod keys;
mod machine;
mod output;
mod pgp;
mod places;
#[cfg(feature = "server")]
mod policy;
mod progress;
mod providers;
mod recipients;
mod report;
mod routes;
mod shamir;
mod statement;
mod tags;
mod text;
mod tokens;
mod transfer;
mod trust;
mod verify;
mod version;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use clap::error::ErrorKind;

use crate::args::{Cli, Command};
use crate::console::Console;
use crate::exit::{Code, Failure};
use crate::interrupt::Interrupt;

fn main() -> ExitCode {
    if let Some(code) = tokens::worker() {
        return code;
    }
    let asked = image_verifier::arguments(std::env::args_os());
    let is_asked = asked.is_some();
    let cli = match asked {
        Some(arguments) => Cli::try_parse_from(arguments),
        None => Cli::try_parse(),
    };
    let cli = match cli {
        Ok(cli) => cli,
        Err(error) => {
            if is_asked && error.use_stderr() {
                image_verifier::refuse(&error);
            }
            return refuse(&error);
        }
    };
    let console = Arc::new(Console::new(&cli.global));
    match run(&cli.command, &console) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            console.failure(&failure);
            ExitCode::from(failure.code as u8)
        }
    }
}

fn run(command: &Command, console: &Arc<Console>) -> Result<(), Failure> {
    match command {
        Command::Keygen(args) => return keygen::run(args, console),
        Command::Completion(args) => return completion::run(args, console),
        Command::Version => return version::run(console),
        Command::Doctor(args) => return doctor::run(args, console),
        Command::Config(args) => return config::run(args, console),
        Command::Tags(args) => return tags::run(args, console),
        Command::Delete(args) => return delete::run(args, console),
        Command::Keyprovider(args) => return keyprovider::run(args, console),
        Command::ImageVerifier(args) => return image_verifier::run(args, console),
        Command::Encrypt(_)
        | Command::Decrypt(_)
        | Command::Copy(_)
        | Command::Inspect(_)
        | Command::Verify(_)
        | Command::Recipients(_)
        | Command::Cat(_)
        | Command::Ls(_) => {}
        other => return keyholders::run(other, console),
    }
    let interrupt = Interrupt::install(Arc::clone(console))?;
    match command {
        Command::Encrypt(args) => encrypt::run(args, console, &interrupt),
        Command::Decrypt(args) => decrypt::run(args, console, &interrupt),
        Command::Copy(args) => copy::run(args, console, &interrupt),
        Command::Inspect(args) => inspect::run(args, console),
        Command::Verify(args) => verify::run(args, console, &interrupt),
        Command::Recipients(args) => recipients::run(args, console, &interrupt),
        Command::Cat(args) => image_files::cat(args, console, &interrupt),
        Command::Ls(args) => image_files::ls(args, console, &interrupt),
        _ => Ok(()),
    }
}

/// Ends a run whose command line makes no sense, or only asks for help.
fn refuse(error: &clap::Error) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let json = std::env::args_os().any(|argument| argument == "--json");
    if json {
        let text = error.to_string();
        let what = text
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("error: ");
        let value = serde_json::json!({
            "error": what,
            "causes": [],
            "hint": "`sealift --help` shows the commands",
            "exit": Code::Usage as u8,
        });
        let _ = writeln!(std::io::stderr().lock(), "{value}");
    } else {
        let _ = error.print();
    }
    ExitCode::from(Code::Usage as u8)
}
