use sealift_oci::{Descriptor, Digest};
use sealift_registry::{BlobReader, Error, Mismatch};

use super::*;
use crate::crew::Crew;

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

/// Reads `octets`, then whatever `end` says.
struct Until(Vec<u8>, usize, Option<std::io::ErrorKind>);

impl Read for Until {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let rest = &self.0[self.1..];
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        self.1 += len;
        match self.2 {
            Some(kind) if len == 0 => Err(kind.into()),
            _ => Ok(len),
        }
    }
}

/// Runs `owner` with as many threads in all as a run with `jobs` has for one layer.
fn with_crew<R>(jobs: usize, owner: impl FnOnce(&Crew) -> R) -> R {
    let crew = Crew::new(1, 1);
    thread::scope(|scope| {
        for _ in 1..jobs {
            scope.spawn(|| crew.help());
        }
        let _owner = crew.owner();
        owner(&crew)
    })
}

/// Numbers of threads, and who reads.
const WAYS: [(usize, Reading); 6] = [
    (1, Reading::Ahead),
    (2, Reading::Ahead),
    (8, Reading::Ahead),
    (1, Reading::Here),
    (2, Reading::Here),
    (8, Reading::Here),
];

fn blob(pieces: usize) -> Vec<u8> {
    (0..pieces * PIECE_LEN + 17)
        .map(|n| u8::try_from(n % 251).unwrap())
        .collect()
}

/// A reader of `octets` that should be `promised`, and what is left of its check.
fn checked_reader(octets: Vec<u8>, promised: &[u8]) -> (BlobReader, Option<BlobCheck>) {
    let media_type = "application/octet-stream".parse().unwrap();
    let size = promised.len() as u64;
    let descriptor = Descriptor::new(media_type, Digest::sha256(promised), size);
    let inner = Box::new(Until(octets, 0, None));
    BlobReader::new(inner, &descriptor, "here").leaving_digest()
}

#[test]
fn a_digest_on_a_lane_is_compared_before_the_end_whatever_the_number_of_threads() {
    let octets = blob(9);
    let mut damaged = octets.clone();
    damaged[PIECE_LEN] ^= 1;
    for (jobs, reading) in WAYS {
        for (given, sound) in [(&octets, true), (&damaged, false)] {
            let outcome = with_crew(jobs, |crew| {
                let lanes = Lanes::of(crew);
                let (mut reader, check) = checked_reader(given.clone(), &octets);
                let digest = SourceDigest::new(&lanes, check);
                let mut taken = 0;
                let pumped = pump_checked(&lanes, reading, &mut reader, &digest, |piece| {
                    taken += piece.octets().len();
                    Ok(())
                });
                assert_eq!(taken, octets.len());
                pumped
            });
            match outcome {
                Ok(()) => assert!(sound),
                Err(ImageError::Registry(Error::Mismatch { .. })) => assert!(!sound),
                Err(error) => panic!("{error:?}"),
            }
        }
    }
}

#[test]
fn a_digest_that_was_waived_is_not_compared() {
    let octets = blob(6);
    let mut damaged = octets.clone();
    damaged[0] ^= 1;
    for (jobs, reading) in WAYS {
        with_crew(jobs, |crew| {
            let lanes = Lanes::of(crew);
            let (mut reader, check) = checked_reader(damaged.clone(), &octets);
            let digest = SourceDigest::new(&lanes, check);
            let mut pieces = 0;
            let mut taken = 0;
            pump_checked(&lanes, reading, &mut reader, &digest, |piece| {
                taken += piece.octets().len();
                pieces += 1;
                if pieces == 3 {
                    digest.waive();
                }
                Ok(())
            })
            .unwrap();
            assert_eq!(taken, octets.len());
        });
    }
}

#[test]
fn what_the_consumer_finds_wrong_is_the_digests_to_explain() {
    let octets = blob(6);
    let mut damaged = octets.clone();
    damaged[5 * PIECE_LEN] ^= 1;
    for (jobs, reading) in WAYS {
        let finding = |given: &Vec<u8>| {
            with_crew(jobs, |crew| {
                let lanes = Lanes::of(crew);
                let (mut reader, check) = checked_reader(given.clone(), &octets);
                let digest = SourceDigest::new(&lanes, check);
                pump_checked(&lanes, reading, &mut reader, &digest, |_| {
                    Err(ImageError::NestedTooDeeply { limit: 1 })
                })
                .unwrap_err()
            })
        };
        let error = finding(&octets);
        assert!(
            matches!(error, ImageError::NestedTooDeeply { .. }),
            "{error:?}"
        );
        let error = finding(&damaged);
        assert!(
            matches!(error, ImageError::Registry(Error::Mismatch { .. })),
            "{error:?}"
        );
    }
}

#[test]
fn whoever_fails_at_any_piece_ends_everybody() {
    for (jobs, reading) in WAYS {
        for at in 0..12 {
            with_crew(jobs, |crew| {
                let lanes = Lanes::of(crew);
                let octets = blob(12);
                let (mut reader, check) = checked_reader(octets.clone(), &octets);
                let digest = SourceDigest::new(&lanes, check);
                let mut pieces = 0;
                let error = pump_checked(&lanes, reading, &mut reader, &digest, |_| {
                    pieces += 1;
                    if pieces > at {
                        return Err(ImageError::Stopped);
                    }
                    Ok(())
                })
                .unwrap_err();
                assert!(matches!(error, ImageError::Stopped), "{error:?}");
                assert_eq!(pieces, at + 1);

                let broken = Some(std::io::ErrorKind::ConnectionReset);
                let mut broken = Until(blob(at), 0, broken);
                let (_, check) = checked_reader(Vec::new(), b"");
                let digest = SourceDigest::new(&lanes, check);
                let error =
                    pump_checked(&lanes, reading, &mut broken, &digest, |_| Ok(())).unwrap_err();
                assert!(matches!(error, ImageError::Io { .. }), "{error:?}");
            });
        }
    }
}
