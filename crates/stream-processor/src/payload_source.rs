//! Where the payload comes from: a pipe that containerd leaves open beside standard input, output and error, or on Windows one
//! with a name.

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

/// Reads the payload to its end; `None` if containerd offers none.
///
/// # Errors
/// When containerd offers a pipe that cannot be read, or has nothing to say.
#[cfg(windows)]
pub(crate) fn read() -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let pipe = std::env::var_os("STREAM_PROCESSOR_PIPE");
    pipe.map(|name| crate::named_pipe::read(&name)).transpose()
}

/// Returns nothing: there is no containerd elsewhere.
///
/// # Errors
/// None.
#[cfg(not(any(target_os = "linux", windows)))]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
pub(crate) fn read() -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    Ok(None)
}
