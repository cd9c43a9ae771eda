//! The pipe with a name by which containerd hands a payload over on Windows (containerd, `core/diff/stream_windows.go`): it
//! accepts one client, writes, and closes. Until somebody was there it waits, so it is read even by who needs nothing of it.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use sealift_stream_processor::{Payload, read_wiped};
use zeroize::Zeroizing;

/// Reads what is written into the pipe, to its end.
///
/// # Errors
/// When it is no pipe of this machine, is not there or busy for [`CONNECTING`], or is silent for [`READING`]; when it is closed
/// without a payload.
pub(crate) fn read(name: &OsStr) -> io::Result<Zeroizing<Vec<u8>>> {
    let name = checked(name)?.to_owned();
    let (sender, payload) = mpsc::sync_channel(1);
    // A read that hangs cannot be called off; it ends with the process.
    thread::spawn(move || sender.send(connect(&name).and_then(drain)));
    let payload = payload
        .recv_timeout(CONNECTING + READING)
        .unwrap_or_else(|error| {
            Err(match error {
                RecvTimeoutError::Timeout => io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the pipe of STREAM_PROCESSOR_PIPE is open and says nothing",
                ),
                RecvTimeoutError::Disconnected => io::Error::other("reading the pipe broke off"),
            })
        })?;
    if payload.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the pipe of STREAM_PROCESSOR_PIPE was closed without a payload",
        ));
    }
    Ok(payload)
}

/// Refuses what is not a pipe of this machine: a file, or a pipe of another one, is nothing that containerd offers.
fn checked(name: &OsStr) -> io::Result<&str> {
    let name = name.to_str().filter(|name| {
        name.strip_prefix(PIPES)
            .is_some_and(|rest| !rest.is_empty() && !rest.contains(['\\', '/']))
    });
    name.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "STREAM_PROCESSOR_PIPE does not name a pipe of this machine",
        )
    })
}

/// Opens the pipe as soon as it is there and free. Whoever offers it, should it be somebody else, may not act in our name.
fn connect(name: &str) -> io::Result<File> {
    let began = Instant::now();
    loop {
        let opened = OpenOptions::new()
            .read(true)
            .security_qos_flags(SECURITY_ANONYMOUS)
            .open(name);
        let error = match opened {
            Ok(pipe) => return Ok(pipe),
            Err(error) => error,
        };
        let may_come = matches!(
            error.raw_os_error(),
            Some(ERROR_FILE_NOT_FOUND | ERROR_PIPE_BUSY)
        );
        if !may_come || began.elapsed() >= CONNECTING {
            return Err(error);
        }
        thread::sleep(PAUSE);
    }
}

/// Reads to the end, though no more is kept than a payload may have and one octet.
fn drain(mut pipe: File) -> io::Result<Zeroizing<Vec<u8>>> {
    let payload = read_wiped(&mut pipe, Payload::MAX_LEN)?;
    io::copy(&mut pipe, &mut io::sink())?;
    Ok(payload)
}

/// What names of pipes of this machine begin with.
const PIPES: &str = r"\\.\pipe\";
/// The server of the pipe learns nothing of who connects (`CreateFileW`, `SECURITY_ANONYMOUS`).
const SECURITY_ANONYMOUS: u32 = 0;
const ERROR_FILE_NOT_FOUND: i32 = 2;
const ERROR_PIPE_BUSY: i32 = 231;
/// How long the pipe is waited for.
const CONNECTING: Duration = Duration::from_secs(5);
/// How long it may be silent, which is as long as it may take in all.
const READING: Duration = Duration::from_secs(10);
/// How long to wait before the pipe is looked for again.
const PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pipes_of_this_machine_are_opened() {
        for name in [
            "",
            r"C:\Windows\win.ini",
            r"\\.\pipe\",
            r"\\.\pipe\a\b",
            r"\\.\pipe\..\C:",
            r"\\server\pipe\a",
            r"\\.\C:",
            "pipe",
        ] {
            let error = read(OsStr::new(name)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
        }
    }
}
