use std::io::Read;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use crate::error::{ImageError, Kind};

/// Tells the workers of one operation that it has failed.
#[derive(Debug, Default)]
pub(crate) struct Stop(AtomicBool);

impl Stop {
    /// Returns [`ImageError::Stopped`] once another worker has failed.
    pub(crate) fn check(&self) -> Result<(), ImageError> {
        if self.0.load(Ordering::Relaxed) {
            Err(ImageError::Stopped)
        } else {
            Ok(())
        }
    }
}

/// Runs `task` on every item, on up to `jobs` threads, heaviest item first; results come back in the items' order.
///
/// The first failure stops the others at their next piece of work, and is what is returned.
pub(crate) fn in_parallel<T: Sync, R: Send>(
    jobs: NonZeroUsize,
    items: &[T],
    weight: impl Fn(&T) -> u64,
    task: impl Fn(&T, &Stop) -> Result<R, ImageError> + Sync,
) -> Result<Vec<R>, ImageError> {
    let mut order: Vec<(usize, &T)> = items.iter().enumerate().collect();
    order.sort_by_key(|(_, item)| std::cmp::Reverse(weight(item)));
    let workers = jobs.get().min(order.len());
    let queue = Mutex::new(order.into_iter());
    let results = Mutex::new(Vec::with_capacity(items.len()));
    let failure = Mutex::new(None);
    let stop = Stop::default();
    let work = || {
        while stop.check().is_ok() {
            let next = lock(&queue).next();
            let Some((index, item)) = next else { return };
            match task(item, &stop) {
                Ok(result) => lock(&results).push((index, result)),
                Err(error) => {
                    lock(&failure).get_or_insert(error);
                    stop.0.store(true, Ordering::Relaxed);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(work);
        }
        work();
    });
    if let Some(error) = lock(&failure).take() {
        return Err(error);
    }
    let mut results = std::mem::take(&mut *lock(&results));
    results.sort_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

/// Reads everything on a thread of its own and hands it to `consume`, in order, piece by piece.
///
/// Memory is bounded by [`RING`] pieces of [`PIECE_LEN`] octets, whatever the length of the input.
///
/// What `consume` finds wrong is read to its end all the same: if it is not what was asked for, that is the error, because
/// then the fault is not the image's but its way's, and it may be had elsewhere.
pub(crate) fn pump(
    reader: &mut (impl Read + Send),
    mut consume: impl FnMut(&[u8]) -> Result<(), ImageError>,
) -> Result<(), ImageError> {
    let (filled_in, filled_out) = mpsc::sync_channel::<std::io::Result<Vec<u8>>>(RING);
    let (empty_in, empty_out) = mpsc::channel();
    for _ in 0..RING {
        // The receiver is alive: it is a local of this function.
        let _ = empty_in.send(vec![0; PIECE_LEN]);
    }
    // Both of the consumer's ends belong to the closure: whichever way it is left, they close and the reader wakes up.
    thread::scope(move |scope| {
        scope.spawn(move || {
            // Either channel closes when the consumer has failed and gone; there is nothing left to read for.
            while let Ok(mut piece) = empty_out.recv() {
                piece.resize(PIECE_LEN, 0);
                let read = fill(reader, &mut piece);
                let last = !matches!(&read, Ok(read) if *read == PIECE_LEN);
                let sent = filled_in.send(read.map(|read| {
                    piece.truncate(read);
                    piece
                }));
                if last || sent.is_err() {
                    return;
                }
            }
        });
        let mut pieces = filled_out.into_iter();
        while let Some(piece) = pieces.next() {
            let piece = piece.map_err(ImageError::from_read)?;
            let outcome = consume(&piece);
            let _ = empty_in.send(piece);
            match outcome {
                Ok(()) => {}
                Err(error) if error.kind() == Kind::Integrity => {
                    return Err(verdict(pieces, &empty_in).unwrap_or(error));
                }
                other => return other,
            }
        }
        Ok(())
    })
}

/// Reads everything on this thread and hands it to `take`, in order, piece by piece. Holds one piece.
pub(crate) fn pass(
    reader: &mut impl Read,
    mut take: impl FnMut(&[u8]) -> Result<(), ImageError>,
) -> Result<(), ImageError> {
    let mut piece = vec![0; PIECE_LEN];
    loop {
        match reader.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(read) => take(piece.get(..read).unwrap_or_default())?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ImageError::from_read(error)),
        }
    }
}

/// Reads on to the end, where a reader says whether this is what was asked for; returns what it says if it is not.
fn verdict(
    pieces: impl Iterator<Item = std::io::Result<Vec<u8>>>,
    empty: &mpsc::Sender<Vec<u8>>,
) -> Option<ImageError> {
    for piece in pieces {
        match piece.map_err(ImageError::from_read) {
            Ok(piece) => {
                let _ = empty.send(piece);
            }
            Err(error) => return (error.kind() == Kind::Integrity).then_some(error),
        }
    }
    None
}

/// Length of the pieces that travel between threads: a whole number of 16 KiB chunks that fits the L2 cache.
pub(crate) const PIECE_LEN: usize = 256 * 1024;

/// Pieces in flight per layer.
const RING: usize = 4;

/// Reads until the buffer is full or the input ends.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// A panicking worker takes the whole scope down with it, so a poisoned lock is never met.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use sealift_registry::{Error, Mismatch};

    use super::*;

    const TWO: NonZeroUsize = NonZeroUsize::new(2).unwrap();

    #[test]
    fn results_keep_the_order_of_the_items() {
        let doubled = in_parallel(TWO, &[1_u64, 5, 3, 4], |n| *n, |n, _| Ok(n * 2)).unwrap();
        assert_eq!(doubled, [2, 10, 6, 8]);
        let none = in_parallel(TWO, &[] as &[u64], |n| *n, |n, _| Ok(*n)).unwrap();
        assert_eq!(none, Vec::<u64>::new());
    }

    #[test]
    fn the_first_failure_stops_what_has_not_begun() {
        let one = NonZeroUsize::MIN;
        let begun = Mutex::new(Vec::new());
        let outcome = in_parallel(
            one,
            &[1_u64, 3, 2],
            |n| *n,
            |n, _| {
                begun.lock().unwrap().push(*n);
                if *n == 2 {
                    Err(ImageError::LayerOutOfRange {
                        layer: 9,
                        layers: 1,
                    })
                } else {
                    Ok(())
                }
            },
        );
        assert_eq!(
            outcome.unwrap_err().to_string(),
            ImageError::LayerOutOfRange {
                layer: 9,
                layers: 1
            }
            .to_string()
        );
        assert_eq!(*begun.lock().unwrap(), [3, 2]);
    }

    #[test]
    fn pumps_every_octet_in_order_and_passes_on_a_read_error() {
        let octets: Vec<u8> = (0..3 * PIECE_LEN + 17)
            .map(|n| u8::try_from(n % 251).unwrap())
            .collect();
        let mut seen = Vec::new();
        pump(&mut octets.as_slice(), |piece| {
            seen.extend_from_slice(piece);
            Ok(())
        })
        .unwrap();
        assert!(seen == octets);

        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::Error::other("cable cut"))
            }
        }
        let error = pump(&mut Broken, |_| Ok(())).unwrap_err();
        assert!(matches!(error, ImageError::Io { .. }), "{error:?}");
    }

    #[test]
    fn the_reader_has_the_last_word_on_what_the_consumer_finds_wrong() {
        struct Then(Option<Error>);
        impl Read for Then {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                self.0.take().map_or(Ok(0), |error| Err(error.into_io()))
            }
        }
        let found = || ImageError::NestedTooDeeply { limit: 1 };
        let pumped = |last: Option<Error>| {
            let octets = std::io::repeat(1).take(3 * PIECE_LEN as u64);
            pump(&mut octets.chain(Then(last)), |_| Err(found())).unwrap_err()
        };
        let other = Error::FalseMirror {
            what: "blob".into(),
            place: "mirror".into(),
            mismatch: Mismatch::TooLong { expected: 1 },
        };
        let broken = Error::Unsupported {
            what: "interrupted".into(),
        };
        let is_finding = |error: &ImageError| matches!(error, ImageError::NestedTooDeeply { .. });
        assert!(is_finding(&pumped(None)));
        assert!(is_finding(&pumped(Some(broken))));
        let error = pumped(Some(other));
        assert!(
            matches!(error, ImageError::Registry(Error::FalseMirror { .. })),
            "{error:?}"
        );
    }

    #[test]
    fn a_failing_consumer_ends_the_reader_too() {
        let error = pump(&mut std::io::repeat(1), |_| Err(ImageError::Stopped)).unwrap_err();
        assert!(matches!(error, ImageError::Stopped), "{error:?}");
    }
}
