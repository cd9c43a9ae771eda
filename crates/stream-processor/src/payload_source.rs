//! Where the payload comes from: a pipe that containerd leaves open beside standard input, output and error.

use std::io;

use zeroize::Zeroizing;

/// Reads the payload to its end; `None` if containerd sent none.
///
/// # Errors
/// When the pipe cannot be read, or holds more than [`Payload::MAX_LEN`](sealift_stream_processor::Payload::MAX_LEN) and one octets.
#[cfg(target_os = "linux")]
pub(crate) fn read() -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    use std::fs::{self, File};
    use std::os::unix::fs::MetadataExt;

    use sealift_stream_processor::{Payload, read_wiped};

    // Opened by name, which needs no `unsafe`. The link's text tells a pipe without a name from everything else that
    // may have been left open there (opening a named pipe could block for ever), and its mode the reading end from the
    // writing end.
    const PATH: &str = "/proc/self/fd/3";
    let Ok(target) = fs::read_link(PATH) else {
        return Ok(None);
    };
    let readable = fs::symlink_metadata(PATH)?.mode() & 0o600 == 0o400;
    if !target.as_os_str().as_encoded_bytes().starts_with(b"pipe:[") || !readable {
        return Ok(None);
    }
    let pipe = File::open(PATH)?;
    let payload = read_wiped(pipe, Payload::MAX_LEN)?;
    Ok((!payload.is_empty()).then_some(payload))
}

/// Refuses to go on without a payload that is there.
///
/// # Errors
/// When containerd offers a named pipe: this build does not read it.
#[cfg(not(target_os = "linux"))]
pub(crate) fn read() -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    match std::env::var_os("STREAM_PROCESSOR_PIPE") {
        None => Ok(None),
        Some(_) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "reading the named pipe of STREAM_PROCESSOR_PIPE is not implemented in this build",
        )),
    }
}
