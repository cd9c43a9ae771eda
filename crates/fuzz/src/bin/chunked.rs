//! Whatever is done to a sealed layer, only its own plaintext comes out, in order, and all of it only if nothing was done.
// libfuzzer: -max_len=512
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use sealift_keywrap::{
    Identity, Keyring, LayerSecret, Recipient, Scheme, UnwrapError, WrapContext, WrapError,
    WrappedKey,
};
use sealift_layer::chunked::{CHUNK_LEN, Salt};
use sealift_layer::{AeadLibrary, 
    Binding, Cipher, Claims, Embedding, Intake, LayerKey, Material, OpenError, Plan, Release,
    Sealer, Start,
};

const PLAIN_LEN: usize = 2 * CHUNK_LEN + 100;

struct Sealed {
    plain: Vec<u8>,
    blob: Vec<u8>,
    claims: Claims,
    keys: Keyring,
}

static SEALED: LazyLock<Sealed> = LazyLock::new(|| {
    let plain: Vec<u8> = (0..PLAIN_LEN as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let plan = Plan {
        cipher: Cipher::Chunked,
        aead: AeadLibrary::default(),
        media_type: "application/vnd.oci.image.layer.v1.tar".parse().unwrap(),
        plain_digest: None,
        recipients: Arc::from([Box::new(Clear) as _]),
        embedding: Embedding::AnnotationsAndHeader,
        binding: Binding::default(),
    };
    let material = Material::Chunked {
        key: LayerKey::from_octets(&[3; 32]).unwrap(),
        salt: Salt([4; 24]),
    };
    let mut sealer = Sealer::with_material(plan, material).unwrap();
    let mut blob = Vec::new();
    sealer.update(&plain, &mut blob).unwrap();
    sealer.finish(&mut blob).unwrap();
    let media_type = "application/vnd.oci.image.layer.v1.tar+encrypted"
        .parse()
        .unwrap();
    let mut keys = Keyring::new();
    keys.push(Box::new(Clear)).unwrap();
    Sealed {
        plain,
        blob,
        claims: Claims::new(&media_type, []).unwrap(),
        keys,
    }
});

fuzz_target!(|orders: &[u8]| {
    let Sealed { plain, blob, .. } = &*SEALED;
    let (piece, orders) = orders
        .split_first_chunk::<2>()
        .map_or((1000, orders), |(piece, rest)| {
            (usize::from(u16::from_le_bytes(*piece)).max(1), rest)
        });
    let mut spoilt = blob.clone();
    for order in orders.chunks_exact(6) {
        let at = usize::from(u16::from_le_bytes([order[1], order[2]])) % (spoilt.len() + 1);
        let len = (usize::from(u16::from_le_bytes([order[3], order[4]]))).min(spoilt.len() - at);
        match order[0] % 6 {
            0 => spoilt.truncate(at),
            1 => spoilt[at..at + len.min(1)]
                .iter_mut()
                .for_each(|octet| *octet ^= order[5]),
            2 => drop(spoilt.drain(at..at + len)),
            3 => {
                let copy = spoilt[at..at + len].to_vec();
                spoilt.splice(at..at, copy);
            }
            4 => spoilt.extend(vec![order[5]; len]),
            _ => {
                let half = len / 2;
                let (head, tail) = spoilt[at..at + 2 * half].split_at_mut(half);
                head.swap_with_slice(tail);
            }
        }
        spoilt.truncate(4 * blob.len());
    }
    let mut out = Vec::new();
    let opened = open(&spoilt, piece, &mut out);
    assert!(plain.starts_with(&out), "octets that were never sealed");
    match opened {
        Ok(()) => assert_eq!(&out, plain),
        Err(_) => assert!(out.len() < plain.len()),
    }
    // The header in front may say other things, the message may not.
    if spoilt == *blob {
        assert_eq!(out.len(), plain.len());
    }
});

fn open(blob: &[u8], piece: usize, out: &mut Vec<u8>) -> Result<(), OpenError> {
    let mut pieces = blob.chunks(piece);
    let mut intake = Intake::default();
    let start = loop {
        match pieces.next() {
            None => break intake.finish()?,
            Some(piece) => {
                if let Some(start) = intake.update(piece)? {
                    break start;
                }
            }
        }
    };
    let Start::Chunked(mut layer) = start else {
        return Err(OpenError::Authentication);
    };
    let mut opener = layer.unlock(&SEALED.claims, &SEALED.keys, &WrapContext::default())?;
    opener.update(&[], out)?;
    for piece in pieces {
        opener.update(piece, out)?;
    }
    opener.finish(Release::AfterLastChunk, out).map(drop)
}

/// An envelope that hides nothing.
#[derive(Debug)]
struct Clear;

impl Recipient for Clear {
    fn scheme(&self) -> Scheme {
        Scheme::Provider("clear".into())
    }

    fn fingerprint(&self) -> String {
        String::new()
    }

    fn wrap_key(&self, secret: &LayerSecret, _: &WrapContext<'_>) -> Result<WrappedKey, WrapError> {
        Ok(WrappedKey {
            scheme: Recipient::scheme(self),
            element: secret.expose().to_vec(),
        })
    }
}

impl Identity for Clear {
    fn opens(&self, scheme: &Scheme) -> bool {
        *scheme == Recipient::scheme(self)
    }

    fn fingerprint(&self) -> String {
        String::new()
    }

    fn unwrap_key(
        &self,
        wrapped: &WrappedKey,
        _: &WrapContext<'_>,
    ) -> Result<LayerSecret, UnwrapError> {
        Ok(LayerSecret::new(wrapped.element.clone().into()))
    }
}
