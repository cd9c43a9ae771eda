//! Every bit and every length of a small layer, in both formats.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sealift_keywrap::WrapContext;
use sealift_layer::{Claims, CtrHmacLayer, OpenError, PUBLIC_OPTIONS};

use crate::support::{End, Vector, keys, open, vectors};

fn vector(folder: &str, name: &str) -> Vector {
    vectors(folder)
        .into_iter()
        .find(|vector| vector.name == name)
        .unwrap()
}

fn opens(claims: Result<Claims, OpenError>, blob: &[u8]) -> (Vec<u8>, Result<(), OpenError>) {
    open(claims, blob, 1000, End::Stream, &keys())
}

#[test]
fn no_bit_of_a_chunked_message_can_be_flipped() {
    let vector = vector("chunked", "plain_tar");
    let header = 12 + usize::from(u16::from_be_bytes([vector.body[10], vector.body[11]]));
    for bit in header * 8..vector.body.len() * 8 {
        let mut blob = vector.body.clone();
        blob[bit / 8] ^= 1 << (bit % 8);
        let (plain, outcome) = opens(vector.claims(), &blob);
        assert!(plain.is_empty(), "bit {bit}");
        assert!(
            matches!(
                outcome,
                Err(OpenError::Authentication | OpenError::Disagreement { .. })
            ),
            "bit {bit}: {outcome:?}"
        );
    }
}

#[test]
fn a_bit_flipped_in_the_frame_changes_nothing_or_refuses_the_layer() {
    let vector = vector("chunked", "plain_tar");
    let (whole, outcome) = opens(vector.claims(), &vector.body);
    assert_eq!(outcome, Ok(()));
    let header = 12 + usize::from(u16::from_be_bytes([vector.body[10], vector.body[11]]));
    let mut refused = 0;
    for bit in 0..header * 8 {
        let mut blob = vector.body.clone();
        blob[bit / 8] ^= 1 << (bit % 8);
        let (plain, outcome) = opens(vector.claims(), &blob);
        if outcome.is_err() {
            assert!(plain.is_empty(), "bit {bit}");
            refused += 1;
        } else {
            // A wrapped key may be spoilt as long as the descriptor has it too.
            assert_eq!(plain, whole, "bit {bit}");
        }
    }
    assert!(refused > 12 * 8, "{refused}");
}

#[test]
fn no_length_but_its_own_opens_a_layer() {
    for (folder, name) in [("chunked", "plain_tar"), ("ctr-hmac", "one_block")] {
        let vector = vector(folder, name);
        for len in (0..vector.body.len()).chain([vector.body.len() + 1, vector.body.len() + 16]) {
            let mut blob = vector.body.clone();
            blob.resize(len, 0);
            let (plain, outcome) = opens(vector.claims(), &blob);
            assert!(plain.is_empty(), "{folder}: {len} octets");
            assert!(
                matches!(
                    outcome,
                    Err(OpenError::Authentication | OpenError::Truncated { .. })
                ),
                "{folder}: {len} octets: {outcome:?}"
            );
        }
    }
}

#[test]
fn no_bit_of_an_ocicrypt_layer_or_its_tag_can_be_flipped() {
    let vector = vector("ctr-hmac", "odd");
    for bit in 0..vector.body.len() * 8 {
        let mut blob = vector.body.clone();
        blob[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            opens(vector.claims(), &blob),
            (vec![], Err(OpenError::Authentication)),
            "bit {bit}"
        );
    }
    let lines = &vector.fields["annotation"];
    let public = lines
        .iter()
        .find_map(|line| line.strip_prefix(&format!("{PUBLIC_OPTIONS}=")))
        .unwrap();
    let public = STANDARD.decode(public).unwrap();
    let media_type = vector.field("media-type").parse().unwrap();
    let others: Vec<_> = lines
        .iter()
        .filter_map(|line| line.split_once('='))
        .filter(|(key, _)| *key != PUBLIC_OPTIONS)
        .collect();
    let (whole, _) = opens(vector.claims(), &vector.body);
    for bit in 0..public.len() * 8 {
        let mut public = public.clone();
        public[bit / 8] ^= 1 << (bit % 8);
        let public = STANDARD.encode(public);
        let annotations = others
            .iter()
            .copied()
            .chain([(PUBLIC_OPTIONS, public.as_str())]);
        let (plain, outcome) = opens(Claims::new(&media_type, annotations), &vector.body);
        match outcome {
            // The name of a member that nobody needs.
            Ok(()) => assert_eq!(plain, whole, "bit {bit}"),
            Err(_) => assert!(plain.is_empty(), "bit {bit}"),
        }
    }
}

#[test]
fn a_checked_layer_can_be_read_from_any_offset_and_not_beyond_its_end() {
    for name in ["odd", "counter_carries", "counter_wraps", "large"] {
        let vector = vector("ctr-hmac", name);
        let (whole, outcome) = opens(vector.claims(), &vector.body);
        assert_eq!(outcome, Ok(()));
        let claims = vector.claims().unwrap();
        let mut unchecked = CtrHmacLayer::new(&claims, &vector.body)
            .unwrap()
            .unlock(&keys(), &WrapContext::default())
            .unwrap();
        unchecked.update(&vector.body);
        let checked = unchecked.finish().unwrap();
        assert_eq!(checked.len(), vector.body.len() as u64);
        let end = vector.body.len();
        for offset in [0, 1, 15, 16, 17, 31, 32, 33, end - 1, end] {
            let mut decryptor = checked.decrypt_from(offset as u64).unwrap();
            let mut out = Vec::new();
            for piece in vector.body[offset..].chunks(7) {
                decryptor.update(piece, &mut out).unwrap();
            }
            assert_eq!(out, &whole[offset..], "{name} from {offset}");
            assert_eq!(
                decryptor.update(b"x", &mut out),
                Err(OpenError::Authentication)
            );
            assert_eq!(out, &whole[offset..], "{name} from {offset}");
        }
        assert_eq!(
            checked.decrypt_from(end as u64 + 1).unwrap_err(),
            OpenError::Authentication
        );
        assert_eq!(
            checked.decrypt_from(0).unwrap().finish(),
            Err(OpenError::Truncated { after: None })
        );
        assert_eq!(checked.decrypt_from(end as u64).unwrap().finish(), Ok(()));
    }
}
