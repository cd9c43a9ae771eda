//! Making sure that containerd sees why a layer was refused.
//!
//! containerd reads standard output to its end and only then asks, without waiting, whether the processor failed. For every layer
//! but the base it gets there faster than it learns of the exit, so that a refusal before the first octet comes out as `wrong diff
//! id calculated on extraction "sha256:e3b0c442…"`: nothing is let in, but nobody can act on it. No process can exit before its own
//! standard output ends; so a child holds that open, and nothing else, for a moment longer.

use std::process::{Command, Stdio};
use std::time::Duration;

/// Starts the child that outlives this process. Where that fails the refusal stands all the same, only less well explained.
pub(crate) fn begin() {
    // Standard error must not be held: containerd takes note of an exit only when that has ended. Windows has nobody who asks.
    if cfg!(unix)
        && let Ok(program) = std::env::current_exe()
    {
        let _ = Command::new(program)
            .arg(FLAG)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
    }
}

/// Returns whether this process is that child; if so, its time has passed.
pub(crate) fn is_over() -> bool {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|argument| argument != FLAG) || arguments.next().is_some() {
        return false;
    }
    std::thread::sleep(DURATION);
    true
}

const FLAG: &str = "--hold-standard-output";
const DURATION: Duration = Duration::from_millis(250);
