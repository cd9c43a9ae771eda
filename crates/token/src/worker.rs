//! The child process: loads one module and does with it what the parent asks for.
//!
//! A module is code of somebody else. Here it finds no key of ours, no image and no terminal; if it crashes or hangs,
//! only this process does.

use std::io::{Read, Write};
use std::process;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::TokenError;
use crate::module::Module;
use crate::protocol::{Request, Response};
use crate::wire::Message;

/// Serves the parent at the other end of standard input and output until it goes away.
///
/// What the module itself prints to standard output is thrown away. The process leaves no core dump.
///
/// # Errors
/// A line for standard error, if the process cannot be set up or the parent says something that is no request.
pub fn work() -> Result<(), String> {
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
    #[cfg(unix)]
    sealift_sys::no_core_dumps().map_err(|error| failed("cannot prevent core dumps", &error))?;
    let answers = own_output().map_err(|error| failed("cannot take standard output", &error))?;
    serve(std::io::stdin(), answers).map_err(|error| failed("the parent", &error))
}

/// Takes standard output away from whatever else is in this process.
#[cfg(unix)]
fn own_output() -> std::io::Result<std::fs::File> {
    sealift_sys::take_standard_output()
}

#[cfg(not(unix))]
fn own_output() -> std::io::Result<std::io::Stdout> {
    Ok(std::io::stdout())
}

fn serve(
    mut questions: impl Read + Send + 'static,
    mut answers: impl Write,
) -> std::io::Result<()> {
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::spawn(move || {
        while let Ok(Some(message)) = Message::read(&mut questions) {
            if sender.send(message).is_err() {
                return;
            }
        }
        drop(sender);
        // The parent is gone. A module that hangs must not outlive it.
        thread::sleep(GRACE);
        process::exit(0);
    });
    let mut module = None;
    while let Ok(message) = receiver.recv() {
        let Some(request) = Request::from_message(&message) else {
            return Err(std::io::ErrorKind::InvalidData.into());
        };
        drop(message);
        let response = answer(&mut module, request);
        response.to_message().write(&mut answers)?;
    }
    if let Some(module) = module {
        module.finish();
    }
    Ok(())
}

fn answer(module: &mut Option<Module>, request: Request) -> Response {
    let result = match (request, module.as_mut()) {
        (Request::Load { module: path }, None) => Module::load(&path).map(|loaded| {
            *module = Some(loaded);
            Response::Done
        }),
        (
            Request::Find {
                uri,
                class,
                caution,
                pin,
            },
            Some(module),
        ) => module.find(&uri, class, caution, pin).map(Response::Found),
        (
            Request::Decrypt {
                key,
                hash,
                ciphertext,
            },
            Some(module),
        ) => module
            .decrypt(key, hash, &ciphertext)
            .map(|secret| secret.map_or(Response::NotForThisKey, Response::Secret)),
        (Request::Agree { key, point }, Some(module)) => {
            module.agree(key, &point).map(Response::Secret)
        }
        (Request::Load { .. }, Some(_)) | (_, None) => Err(TokenError::Protocol),
    };
    result.unwrap_or_else(Response::Failed)
}

/// How long a module has to end by itself.
const GRACE: Duration = Duration::from_secs(2);
