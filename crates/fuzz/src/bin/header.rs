//! A header that is accepted is written so that it reads the same, alone and in front of a message.
// libfuzzer: -max_len=16384
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_layer::{Header, Intake, PublicOptions, Start};

fuzz_target!(|json: &[u8]| {
    // As a blob: whatever follows the magic, in two pieces.
    let len = u32::try_from(json.len()).unwrap();
    let mut blob = sealift_layer::MAGIC.to_vec();
    blob.extend(len.to_be_bytes());
    blob.extend(json);
    blob.extend([0; 80]);
    let whole = Intake::default().update(&blob);
    let mut intake = Intake::default();
    let (first, second) = blob.split_at(blob.len() / 2);
    let in_pieces = match intake.update(first) {
        Ok(None) => intake.update(second),
        other => other,
    };
    assert_eq!(format!("{whole:?}"), format!("{in_pieces:?}"));

    let header = match Header::from_json(json) {
        Ok(header) => header,
        Err(error) => {
            assert_eq!(whole.unwrap_err(), error);
            return;
        }
    };
    let printed = header.to_json();
    let again = Header::from_json(printed.as_bytes()).unwrap();
    assert_eq!(again.wraps.as_slice(), header.wraps.as_slice());
    assert_eq!(
        (&again.public, &again.media_type),
        (&header.public, &header.media_type)
    );
    assert_eq!(again.to_json(), printed);

    let PublicOptions::Chunked { commitment } = header.public else {
        panic!("the header of another cipher");
    };
    let mut blob = header.to_frame().unwrap();
    let head = blob.len() as u64;
    blob.extend([1; 24]);
    blob.extend(commitment.0);
    blob.extend([2; 16]);
    let Ok(Some(Start::Chunked(layer))) = Intake::default().update(&blob) else {
        panic!("a blob with this header is refused");
    };
    assert_eq!(
        layer.extent(blob.len() as u64).unwrap().last_chunk(),
        head + 56..head + 72
    );
});
