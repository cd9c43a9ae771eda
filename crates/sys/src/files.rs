//! What the system is told about files.

use std::fs::File;

/// Tells the system that a file will be read from here to its end, so that it reads further ahead. A hint: where there is no way to
/// give it, nothing happens.
pub fn will_read_in_order(file: &File) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use rustix::fs::{Advice, fadvise};
        let _ = fadvise(file, 0, None, Advice::Sequential);
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = file;
    }
}
