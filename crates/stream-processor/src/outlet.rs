//! Writing beside opening: a thread that only writes.

use std::io::Write;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;

use sealift_sys::Buffer;

use crate::error::DecodeError;

/// Where released plaintext goes.
pub(crate) struct Outlet {
    full: SyncSender<Buffer>,
    empty: Receiver<Buffer>,
    released: u64,
}

impl Outlet {
    /// Lets `work` release plaintext, which is written to `sink` in order; returns how much it was once all of it is written.
    ///
    /// What has been released is written even if the work fails later, and what has not been released never is.
    ///
    /// # Errors
    /// That of `work`, or else [`DecodeError::Write`].
    pub(crate) fn into(
        sink: &mut (impl Write + Send),
        work: impl FnOnce(&mut Self) -> Result<(), DecodeError>,
    ) -> Result<u64, DecodeError> {
        // The work's ends belong to the closure: whichever way it is left, they close and the writer comes to its end.
        thread::scope(move |scope| {
            let (full, to_write) = mpsc::sync_channel(PIECES);
            let (written, empty) = mpsc::channel();
            let writer = scope.spawn(move || write_all(sink, &to_write, &written));
            let mut outlet = Self {
                full,
                empty,
                released: 0,
            };
            let worked = work(&mut outlet);
            let released = outlet.released;
            drop(outlet);
            let wrote = writer
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            match worked {
                // The writer knows why.
                Err(DecodeError::Write(gone)) => {
                    Err(wrote.err().unwrap_or(DecodeError::Write(gone)))
                }
                Err(error) => Err(error),
                Ok(()) => wrote.map(|()| released),
            }
        })
    }

    /// Takes what is in `plain` and leaves an empty buffer; waits while [`PIECES`] are on their way.
    ///
    /// # Errors
    /// [`DecodeError::Write`] when writing has failed.
    pub(crate) fn release(&mut self, plain: &mut Buffer) -> Result<(), DecodeError> {
        if plain.is_empty() {
            return Ok(());
        }
        let empty = self.empty.try_recv().unwrap_or_default();
        let piece = std::mem::replace(plain, empty);
        self.released += piece.len() as u64;
        let sent = self.full.send(piece);
        sent.map_err(|_| DecodeError::Write(std::io::ErrorKind::BrokenPipe.into()))
    }
}

fn write_all(
    sink: &mut impl Write,
    pieces: &Receiver<Buffer>,
    written: &Sender<Buffer>,
) -> Result<(), DecodeError> {
    for piece in pieces {
        sink.write_all(&piece).map_err(DecodeError::Write)?;
        // Nobody needs it any more once everything is released.
        let _ = written.send(piece.resized(0));
    }
    Ok(())
}

/// Most pieces that wait to be written.
const PIECES: usize = 2;

#[cfg(test)]
mod tests {
    use std::io::{self, ErrorKind};

    use super::*;

    /// Takes so many octets, and then no more.
    struct Full {
        taken: Vec<u8>,
        room: usize,
    }

    impl Full {
        fn with_room(room: usize) -> Self {
            Self {
                taken: Vec::new(),
                room,
            }
        }
    }

    impl Write for Full {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            let fits = octets.len().min(self.room - self.taken.len()).min(7);
            if fits == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.taken.extend_from_slice(&octets[..fits]);
            Ok(fits)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn release(outlet: &mut Outlet, pieces: u8) -> Result<(), DecodeError> {
        let mut plain = Buffer::default();
        for n in 0..pieces {
            assert!(plain.is_empty(), "a buffer came back with something in it");
            plain.lengthen(10).fill(n);
            outlet.release(&mut plain)?;
        }
        Ok(())
    }

    fn octets(pieces: u8) -> Vec<u8> {
        (0..pieces).flat_map(|n| [n; 10]).collect()
    }

    #[test]
    fn everything_released_is_written_in_order_before_it_returns() {
        let mut sink = Full::with_room(1000);
        let written = Outlet::into(&mut sink, |outlet| release(outlet, 100)).unwrap();
        assert_eq!(written, 1000);
        assert!(sink.taken == octets(100));
    }

    #[test]
    fn what_was_released_before_an_error_is_written_and_the_error_comes_out() {
        let mut sink = Full::with_room(1000);
        let error = Outlet::into(&mut sink, |outlet| {
            release(outlet, 20)?;
            Err(DecodeError::NoMediaType)
        });
        assert!(matches!(error, Err(DecodeError::NoMediaType)), "{error:?}");
        assert!(sink.taken == octets(20));
    }

    #[test]
    fn a_sink_that_fails_stops_the_work_and_says_why() {
        let mut sink = Full::with_room(55);
        let mut stopped = false;
        let error = Outlet::into(&mut sink, |outlet| {
            let released = release(outlet, 100);
            stopped = released.is_err();
            released
        });
        let Err(DecodeError::Write(error)) = error else {
            panic!("{error:?}");
        };
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert!(stopped);
        assert!(sink.taken == octets(6)[..55]);
    }

    #[test]
    fn a_sink_that_fails_at_the_very_end_is_an_error_too() {
        let mut sink = Full::with_room(5);
        let error = Outlet::into(&mut sink, |outlet| release(outlet, 1));
        assert!(matches!(error, Err(DecodeError::Write(_))), "{error:?}");
    }
}
