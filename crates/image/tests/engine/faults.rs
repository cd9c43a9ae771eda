use std::io::{self, Read};
use std::path::Path;

use sealift_image::{ImageError, SourceCheck};
use sealift_layer::Cipher;
use sealift_registry::{BlobReader, Error};
use sealift_testkit::image::{Format, ImageBuilder, Layer, Packing};
use sealift_testkit::noise;

use crate::lab::{Changed, Lab, PIECE};

const PIECES: usize = 6;
/// Longer than what fits one KiB after the last whole piece.
const LEN: usize = PIECES * PIECE + 2017;

/// Makes `plain`, and `chunked` and `ocicrypt`, which are sealed from it.
fn lab(folder: &Path) -> Lab {
    let lab = Lab::at(folder);
    let layer = Layer::of(noise(1, LEN), Packing::Plain);
    let image = ImageBuilder::new(Format::Oci).layer(layer).build();
    image.write_layout(&lab.folder.join("plain"), "t");
    for (layout, cipher) in SEALED {
        let source = lab.source("plain");
        lab.seal(&*source, layout, cipher, SourceCheck::Verify, 2)
            .unwrap();
    }
    lab
}

const SEALED: [(&str, Cipher); 2] = [("chunked", Cipher::Chunked), ("ocicrypt", Cipher::CtrHmac)];

/// Seals and opens in every way to `out`, with layers read through `change`, and hands over what came of it.
fn everything(
    lab: &Lab,
    jobs: usize,
    change: impl Fn(BlobReader) -> BlobReader + Clone + Send + Sync + 'static,
    mut outcome: impl FnMut(&str, Result<(), ImageError>),
) {
    let source = |layout: &str| {
        let change = change.clone();
        Changed::new(lab.source(layout), true, move |reader, _| change(reader))
    };
    for (layout, cipher) in SEALED {
        for check in [SourceCheck::Verify, SourceCheck::Trust] {
            let sealed = lab.seal(&source("plain"), "out", cipher, check, jobs);
            outcome(&format!("seal {layout} {check:?}"), sealed.map(drop));
        }
        let opened = lab.open(&source(layout), "out", jobs);
        outcome(&format!("open {layout}"), opened.map(drop));
    }
}

/// Breaks off after some octets.
struct BreaksOff(Box<dyn Read + Send>, u64);

impl Read for BreaksOff {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.1 == 0 {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let read = self.0.by_ref().take(self.1).read(buffer)?;
        self.1 -= read as u64;
        Ok(read)
    }
}

#[test]
fn a_source_that_breaks_off_at_any_piece_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let lab = lab(folder.path());
    for jobs in [1, 2, 8] {
        for piece in 0..=PIECES {
            for at in [piece * PIECE, piece * PIECE + 5] {
                let broken = move |reader: BlobReader| {
                    reader.through(|inner| Box::new(BreaksOff(inner, at as u64)))
                };
                everything(&lab, jobs, broken, |what, outcome| {
                    let error = format!("{:?}", outcome.unwrap_err());
                    assert!(error.contains("ConnectionReset"), "{what} {at}: {error}");
                    assert!(lab.holds_nothing("out"), "{what} {at}");
                });
            }
        }
    }
}

/// Gives another last octet than there is.
struct OtherEnd(Box<dyn Read + Send>, usize);

impl Read for OtherEnd {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        self.1 -= read;
        if self.1 == 0
            && let Some(last) = buffer[..read].last_mut()
        {
            *last ^= 1;
        }
        Ok(read)
    }
}

#[test]
fn one_bit_in_the_last_octet_of_a_source_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let lab = lab(folder.path());
    for jobs in [1, 2, 8] {
        for check in [SourceCheck::Verify, SourceCheck::Trust] {
            for (layout, cipher) in SEALED {
                let source = Changed::new(lab.source("plain"), true, |reader, _| {
                    reader.through(|inner| Box::new(OtherEnd(inner, LEN)))
                });
                match lab.seal(&source, "out", cipher, check, jobs) {
                    Ok(_) => assert_eq!(check, SourceCheck::Trust),
                    Err(ImageError::Registry(Error::Mismatch { .. })) => {
                        assert_eq!(check, SourceCheck::Verify);
                        assert!(lab.holds_nothing("out"));
                    }
                    Err(error) => panic!("{layout} {error:?}"),
                }
                lab.empty("out");

                let source = Changed::new(lab.source(layout), true, |reader, descriptor| {
                    let len = usize::try_from(descriptor.size()).unwrap();
                    reader.through(move |inner| Box::new(OtherEnd(inner, len)))
                });
                let error = lab.open(&source, "out", jobs).unwrap_err();
                assert!(
                    matches!(error, ImageError::Registry(Error::Mismatch { .. })),
                    "{layout} {error:?}"
                );
                assert!(lab.holds_nothing("out"));
            }
        }
    }
}

/// Runs one test again in a process that may not write files longer than `room` KiB, which is what a full disk is like.
#[cfg(target_os = "linux")]
fn with_little_room(test: &str, room: usize, folder: &Path) {
    let script = "trap '' XFSZ; ulimit -f \"$0\"; exec \"$1\" --exact \"$2\" --nocapture";
    let output = std::process::Command::new("/bin/bash")
        .args(["-c", script, &room.to_string()])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(LITTLE_ROOM, folder)
        .output()
        .unwrap();
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    assert!(output.status.success(), "{room} KiB: {told}");
    assert!(told.contains("1 passed"), "{told}");
}

#[cfg(target_os = "linux")]
const LITTLE_ROOM: &str = "SEALIFT_TEST_LITTLE_ROOM";

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_full_after_any_piece_holds_nothing_and_nobody_waits() {
    if let Some(folder) = std::env::var_os(LITTLE_ROOM) {
        let lab = Lab::at(Path::new(&folder));
        for jobs in [1, 2, 8] {
            everything(
                &lab,
                jobs,
                |reader| reader,
                |what, outcome| {
                    let error = format!("{:?}", outcome.unwrap_err());
                    assert!(error.contains("code: 27"), "{what}: {error}");
                    assert!(lab.holds_nothing("out"), "{what}");
                },
            );
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    lab(folder.path());
    let test = "faults::a_disk_that_is_full_after_any_piece_holds_nothing_and_nobody_waits";
    for piece in 0..=PIECES {
        let room = piece * PIECE / 1024;
        with_little_room(test, room, folder.path());
        with_little_room(test, room + 1, folder.path());
    }
}
