//! When the digest of a sealed blob is compared, and that no other blob passes where it is not.

use std::io::Cursor;

use sealift_image::{ImageError, Kind};
use sealift_keywrap::customer_key::CustomerKey;
use sealift_layer::{Cipher, Embedding, MAGIC, PUBLIC_OPTIONS, Plan};
use sealift_oci::{Descriptor, Digest};
use sealift_registry::{BlobReader, Error, Source};
use sealift_testkit::noise;

use crate::lab::{Changed, Lab, PIECE};
use crate::workshop::Sealed;

/// One way to seal a layer, and whether opening it proves the blob without its digest.
struct Case {
    name: &'static str,
    sealed: Sealed,
    is_local: bool,
    is_proven: bool,
}

/// One piece and a part of another.
const LEN: usize = PIECE + 40_000;

fn cases(lab: &Lab) -> Vec<Case> {
    let plain = noise(1, LEN);
    let sealed = |adjust: fn(&mut Plan)| Sealed::new(lab, &plain, adjust);
    let as_usual = || sealed(|_| {});
    let mut cases = Vec::new();
    let mut case = |name, sealed, is_local, is_proven| {
        cases.push(Case {
            name,
            sealed,
            is_local,
            is_proven,
        });
    };
    case("as usual", as_usual(), true, true);
    let short = |plan: &mut Plan| plan.embedding = Embedding::AnnotationsOnly;
    case("no wrapped keys in the header", sealed(short), true, true);
    case("two schemes", of_two_schemes(lab), true, true);
    case("remote", as_usual(), false, false);
    let stream = |plan: &mut Plan| plan.plain_digest = None;
    case("no plain digest", sealed(stream), true, false);
    let bare = as_usual().without_annotation(PUBLIC_OPTIONS);
    case("no commitment named", bare, true, false);
    let spaced = as_usual().with_header(|json| json.replacen(':', ": ", 1));
    case("header written otherwise", spaced, true, false);
    let more = as_usual().with_header(|json| json.replacen('{', r#"{"x":1,"#, 1));
    case("header says more", more, true, false);
    let keys = "org.opencontainers.image.enc.keys.jwe";
    let bare = as_usual().without_annotation(keys);
    case("wrapped keys in the header alone", bare, true, false);
    let ocicrypt = |plan: &mut Plan| plan.cipher = Cipher::CtrHmac;
    case("ocicrypt", sealed(ocicrypt), true, false);
    cases
}

fn of_two_schemes(lab: &Lab) -> Sealed {
    let mut recipients = lab.recipients();
    recipients.push(Box::new(CustomerKey::generate().unwrap()));
    Sealed::new(lab, &noise(1, LEN), |plan| {
        plan.recipients = recipients.into();
    })
}

/// A source that gives `blob` for every layer, and says that it should have been `promised`.
fn gives(lab: &Lab, is_local: bool, blob: Vec<u8>, promised: Option<Digest>) -> impl Source {
    Changed::new(lab.source("sealed"), is_local, move |_, descriptor| {
        let digest = promised.clone();
        let digest = digest.unwrap_or_else(|| descriptor.digest().clone());
        let media_type = descriptor.media_type().clone();
        let descriptor = Descriptor::new(media_type, digest, descriptor.size());
        BlobReader::new(Box::new(Cursor::new(blob.clone())), &descriptor, "here")
    })
}

fn is_mismatch(outcome: &Result<(), ImageError>) -> bool {
    matches!(outcome, Err(ImageError::Registry(Error::Mismatch { .. })))
}

#[test]
fn it_is_left_out_only_where_the_plaintext_proves_the_blob() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::at(folder.path());
    for case in cases(&lab) {
        let Sealed { blob, .. } = &case.sealed;
        case.sealed.write(&lab, "sealed");
        for jobs in [1, 2, 8] {
            let right = gives(&lab, case.is_local, blob.clone(), None);
            lab.open(&right, "opened", jobs).unwrap();
            let plain = Digest::sha256(&noise(1, LEN));
            let opened = lab.folder.join("opened/blobs/sha256").join(plain.hex());
            assert!(std::fs::read(opened).unwrap() == noise(1, LEN));
            lab.verify(&right).unwrap();
            lab.empty("opened");

            // The blob is right and the promise is not: whoever compares, complains.
            let promised = Some(Digest::sha256(b"another blob"));
            let unfitting = gives(&lab, case.is_local, blob.clone(), promised);
            let outcome = lab.open(&unfitting, "opened", jobs).map(drop);
            assert_eq!(outcome.is_ok(), case.is_proven, "{}", case.name);
            assert_eq!(is_mismatch(&outcome), !case.is_proven, "{}", case.name);
            if !case.is_proven {
                assert!(lab.holds_nothing("opened"), "{}", case.name);
            }
            lab.empty("opened");
            assert!(is_mismatch(&lab.verify(&unfitting)), "{}", case.name);
        }
        lab.empty("sealed");
    }
}

/// Blobs that are not the one, each of its own kind.
fn forgeries(lab: &Lab, sealed: &Sealed) -> Vec<(String, Vec<u8>)> {
    let mut forged = Vec::new();
    let mut forge = |name: String, blob: Vec<u8>| forged.push((name, blob));
    let blob = &sealed.blob;
    let chunked = blob.starts_with(MAGIC);
    let frame = if chunked { sealed.first_chunk() } else { 64 };
    let chunk = 16_400;
    let body = (frame..blob.len()).step_by(chunk).chain([blob.len()]);
    let near = body.flat_map(|at| [at - 1, at, at + 16]);
    for at in (0..frame).chain(near).filter(|at| *at < blob.len()) {
        let mut blob = blob.clone();
        blob[at] ^= 1 << (at % 8);
        forge(format!("bit flipped at {at}"), blob);
    }
    for len in [0, 1, frame, PIECE, blob.len() - 1] {
        forge(format!("cut at {len}"), blob[..len].to_vec());
    }
    for more in [1, chunk, PIECE] {
        forge(
            format!("{more} more"),
            [&blob[..], &noise(2, more)].concat(),
        );
    }
    for at in [frame, frame + chunk, PIECE] {
        let mut blob = blob.clone();
        let len = chunk.min(blob.len() - at - chunk);
        let (one, other) = blob[at..].split_at_mut(chunk);
        one[..len].swap_with_slice(&mut other[..len]);
        forge(format!("chunks swapped at {at}"), blob);
    }
    // Sealed for the same recipient, by somebody who has nothing but the public key.
    for plain in [noise(1, LEN), noise(3, LEN)] {
        let cipher = if chunked {
            Cipher::Chunked
        } else {
            Cipher::CtrHmac
        };
        for embedding in [Embedding::AnnotationsAndHeader, Embedding::AnnotationsOnly] {
            let other = Sealed::under(8, lab, &plain, |plan| {
                plan.cipher = cipher;
                plan.embedding = embedding;
            });
            forge(format!("with keys of its own, {embedding:?}"), other.blob);
        }
    }
    // Sealed by somebody who can open the layer, with everything that the commitment binds.
    for plain_digest in [Some(Digest::sha256(&noise(1, LEN))), None] {
        let other = Sealed::new(lab, &noise(3, LEN), |plan| plan.plain_digest = plain_digest);
        if chunked {
            let mut whole = blob[..frame].to_vec();
            whole.extend_from_slice(&other.blob[other.first_chunk()..]);
            forge("by another recipient, with the same header".into(), whole);
        }
        forge("by another recipient".into(), other.blob);
    }
    forged.retain(|(_, forged)| forged != blob);
    forged
}

#[test]
fn no_other_blob_passes_whether_it_is_compared_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::at(folder.path());
    for case in cases(&lab) {
        case.sealed.write(&lab, "sealed");
        for (number, (name, blob)) in forgeries(&lab, &case.sealed).into_iter().enumerate() {
            let what = format!("{}: {name}", case.name);
            // Every bit that is flipped is tried once; otherwise some of many will do.
            if case.name != "as usual" && name.starts_with("bit") && number % 16 != 0 {
                continue;
            }
            let source = gives(&lab, case.is_local, blob, None);
            let outcome = lab.open(&source, "opened", 1 + number % 2).map(drop);
            // Where no key is left in the header the reading ends; all else is read to its end, and its digest or length is
            // what is told.
            match outcome {
                Err(error) if error.kind() == Kind::NoKeyFits => {
                    assert_eq!(case.name, "wrapped keys in the header alone", "{what}");
                }
                outcome => assert!(is_mismatch(&outcome), "{what}: {outcome:?}"),
            }
            assert!(lab.holds_nothing("opened"), "{what}");
        }
        lab.empty("sealed");
    }
}

#[test]
fn wrapped_keys_in_another_order_are_another_blob() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::at(folder.path());
    let sealed = of_two_schemes(&lab);
    sealed.write(&lab, "sealed");
    let turned = sealed.clone().with_header(|json| {
        let (wraps, rest) = json.split_once("},\"pubopts\"").unwrap();
        let wraps = wraps.strip_prefix("{\"wraps\":{").unwrap();
        let (one, other) = wraps.split_once("\",\"").unwrap();
        format!("{{\"wraps\":{{\"{other},{one}\"}},\"pubopts\"{rest}")
    });
    assert_eq!(turned.blob.len(), sealed.blob.len());
    assert!(turned.blob != sealed.blob);
    let source = gives(&lab, true, turned.blob, None);
    let outcome = lab.open(&source, "opened", 2).map(drop);
    assert!(is_mismatch(&outcome), "{outcome:?}");
    assert!(lab.holds_nothing("opened"));
}

#[test]
fn a_blob_that_is_the_promised_one_but_was_sealed_wrong_is_not_called_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::at(folder.path());
    let wrong = Sealed::new(&lab, &noise(3, LEN), |plan| {
        plan.plain_digest = Some(Digest::sha256(&noise(1, LEN)));
    });
    wrong.write(&lab, "sealed");
    for is_local in [true, false] {
        let source = gives(&lab, is_local, wrong.blob.clone(), None);
        let error = lab.open(&source, "opened", 2).unwrap_err();
        assert!(matches!(error, ImageError::Open { .. }), "{error:?}");
        assert_eq!(error.kind(), Kind::Integrity);
        assert!(lab.holds_nothing("opened"));
    }
}
