//! Sending what is written to the disk while more of it is made.
//!
//! The kernel keeps what is written until it has much of it or is asked. Who asks only at the end waits there for the disk, which had
//! nothing to do before.

use std::fs::File;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

/// A thread that flushes one file whenever there is enough to flush.
///
/// It is joined when this is dropped: whoever sees the file closed sees its lock gone.
#[derive(Debug, Default)]
pub(crate) struct Flusher {
    running: Option<Running>,
    /// Octets since it was last told.
    pending: u64,
}

#[derive(Debug)]
struct Running {
    more: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl Flusher {
    /// Tells of `octets` more in the file. Never waits.
    pub(crate) fn written(&mut self, octets: u64, file: &File) {
        self.pending += octets;
        if self.pending < ENOUGH {
            return;
        }
        self.pending = 0;
        if self.running.is_none() {
            // Without it, everything is flushed at the end.
            self.running = start(file).ok();
        }
        if let Some(running) = &self.running {
            // While it flushes it need not be told: it is told again after as much.
            let _ = running.more.try_send(());
        }
    }

    /// Waits until it is at rest.
    ///
    /// # Errors
    /// What it met: the kernel tells a failed write only once, to whoever flushes first.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        let Some(Running { more, thread }) = self.running.take() else {
            return Ok(());
        };
        drop(more);
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("a thread has panicked")))
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        // What it met is of interest to nobody who did not ask.
        let _ = self.finish();
    }
}

fn start(file: &File) -> io::Result<Running> {
    let file = file.try_clone()?;
    let (more, told) = sync_channel(1);
    let flush = move || told.iter().try_for_each(|()| file.sync_data());
    let thread = Builder::new().name("flush".to_owned()).spawn(flush)?;
    Ok(Running { more, thread })
}

/// Octets that are worth a flush, which makes the file system write down where they are, too.
const ENOUGH: u64 = 32 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flushes_nothing_of_a_small_file_and_holds_a_large_one_until_the_end() {
        let file = tempfile::tempfile().unwrap();
        let mut flusher = Flusher::default();
        flusher.written(ENOUGH - 1, &file);
        assert!(flusher.running.is_none());
        for _ in 0..10 {
            flusher.written(ENOUGH, &file);
        }
        assert!(flusher.running.is_some());
        flusher.finish().unwrap();
        assert!(flusher.running.is_none());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn tells_what_it_met() {
        // Nothing can be flushed there.
        let file = File::open("/proc/self/maps").unwrap();
        let mut flusher = Flusher::default();
        flusher.written(ENOUGH, &file);
        flusher.finish().unwrap_err();
    }
}
