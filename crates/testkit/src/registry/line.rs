//! One client's TCP connection, which can be made to break.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use socket2::SockRef;

/// The only handle of a connection: when it is dropped the connection ends, with a farewell unless it was reset.
#[derive(Debug)]
pub(super) struct Line {
    stream: TcpStream,
    /// Octets that are still written, whatever they mean, before the connection is reset.
    left: AtomicU64,
}

impl Line {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            left: AtomicU64::new(u64::MAX),
        }
    }

    /// Ends the connection for whoever reads or writes it.
    pub(super) fn shut_down(&self) {
        drop(self.stream.shutdown(Shutdown::Both));
    }

    /// Lets this many octets pass, then resets the connection.
    pub(super) fn reset_after(&self, octets: u64) {
        self.left.store(octets, SeqCst);
    }

    /// Lets the end of the connection be a reset; returns the error that ends it.
    pub(super) fn reset(&self) -> io::Error {
        self.left.store(0, SeqCst);
        match SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)) {
            Ok(()) => io::ErrorKind::ConnectionReset.into(),
            Err(error) => error,
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // A farewell before the reset would look like an orderly end.
        if self.left.load(SeqCst) != 0 {
            self.shut_down();
        }
    }
}

/// Reads and writes a [`Line`].
#[derive(Debug)]
pub(super) struct Wire(pub(super) Arc<Line>);

impl Read for Wire {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&self.0.stream).read(buf)
    }
}

impl Write for Wire {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let left = self.0.left.load(SeqCst);
        let most = octets.len().min(usize::try_from(left).unwrap());
        if most == 0 && !octets.is_empty() {
            return Err(self.0.reset());
        }
        let written = (&self.0.stream).write(&octets[..most])?;
        if left != u64::MAX {
            self.0.left.store(left - written as u64, SeqCst);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&self.0.stream).flush()
    }
}
