//! This process and those that talk to it.

use std::io;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::{os::unix::net::UnixStream, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Sees to it that this process leaves no core dump, neither now nor in children.
///
/// On Linux it also becomes "not dumpable": other processes of the same user can neither trace it nor read its memory, and
/// a handler in `core_pattern`, for which the size limit does not count, gets nothing.
///
/// # Errors
/// Whatever the system says.
pub fn no_core_dumps() -> io::Result<()> {
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Lets this process have as many files and sockets open as the system permits; returns how many, `None` for no limit.
///
/// The limit that processes begin with (1024) is for programs that use `select`; services are expected to raise it.
///
/// # Errors
/// Whatever the system says.
pub fn raise_open_files() -> io::Result<Option<u64>> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        setrlimit(
            Resource::Nofile,
            Rlimit {
                current: limit.maximum,
                maximum: limit.maximum,
            },
        )?;
    }
    Ok(limit.maximum)
}

/// Who is at the other end of a Unix socket, as the kernel saw it when the connection was made.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PeerCredentials {
    /// The user.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// The process. It may be gone, and its number may be another's by now: for messages, not for decisions.
    pub pid: i32,
}

/// Returns who is at the other end of a Unix socket.
///
/// # Errors
/// Whatever the system says.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn peer_credentials(stream: &UnixStream) -> io::Result<PeerCredentials> {
    let peer = rustix::net::sockopt::socket_peercred(stream)?;
    Ok(PeerCredentials {
        uid: peer.uid.as_raw(),
        gid: peer.gid.as_raw(),
        pid: peer.pid.as_raw_nonzero().get(),
    })
}

/// Returns the time since the machine started, including the time it slept (`CLOCK_BOOTTIME`; elsewhere than on Linux
/// `CLOCK_MONOTONIC`, which some systems stop while they sleep).
///
/// Nobody can set this clock, and it does not stop when a virtual machine is suspended: what a lease needs.
pub fn boottime() -> Duration {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Monotonic;
    let now = rustix::time::clock_gettime(CLOCK);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// Takes standard output for the caller alone: whatever else in this process writes there, writes into nothing.
///
/// # Errors
/// Whatever the system says.
pub fn take_standard_output() -> io::Result<std::fs::File> {
    // Programs that something in this process starts do not get it.
    let own = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    let nothing = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&nothing)?;
    Ok(own.into())
}
