//! What several descriptors say about one layer, and how often keys are asked for (`SPEC.md`, sections 1.4 and 2).

use std::cell::RefCell;
use std::ops::ControlFlow;

use aws_lc_rs::rand::SystemRandom;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sealift_keywrap::{
    ElementReport, LayerSecret, Recipient, Scheme, WrapContext, WrapError, WrappedKey,
};
use sealift_layer::{
    AeadLibrary, Binding, Checked, Cipher, Claims, CtrHmacLayer, Embedding, Fact, Intake,
    OpenError, Place, Plan, SealedLayer, Sealer, SecretSource, Start, Wraps,
};
use sealift_oci::Digest;

use crate::support::{Clear, End, keys, open};

const PLAIN: &str = "org.opencontainers.image.enc.keys.provider.plain";
const VAULT: &str = "org.opencontainers.image.enc.keys.provider.vault";
const PUBLIC: &str = "org.opencontainers.image.enc.pubopts";

/// Notes which wrapped keys it is asked for.
#[derive(Default)]
struct Asked(RefCell<Vec<Vec<WrappedKey>>>);

impl SecretSource for Asked {
    fn offer(
        &self,
        wraps: &[WrappedKey],
        context: &WrapContext<'_>,
        accept: &mut dyn FnMut(LayerSecret) -> ControlFlow<()>,
    ) -> Vec<ElementReport> {
        self.0.borrow_mut().push(wraps.to_vec());
        keys().offer(wraps, context, accept)
    }
}

/// Wraps nothing that anybody could open.
#[derive(Debug)]
struct Stranger(Scheme, usize);

impl Recipient for Stranger {
    fn scheme(&self) -> Scheme {
        self.0.clone()
    }

    fn fingerprint(&self) -> String {
        format!("stranger {}", self.1)
    }

    fn wrap_key(&self, _: &LayerSecret, _: &WrapContext<'_>) -> Result<WrappedKey, WrapError> {
        Ok(WrappedKey {
            scheme: self.0.clone(),
            element: format!("stranger {}", self.1).into_bytes(),
        })
    }
}

fn plain() -> Scheme {
    Scheme::Provider("plain".into())
}

fn vault() -> Scheme {
    Scheme::Provider("vault".into())
}

fn strangers(scheme: &Scheme, count: usize) -> Vec<Box<dyn Recipient>> {
    (0..count)
        .map(|name| Box::new(Stranger(scheme.clone(), name)) as _)
        .collect()
}

fn seal(
    cipher: Cipher,
    embedding: Embedding,
    recipients: Vec<Box<dyn Recipient>>,
) -> (Vec<u8>, SealedLayer) {
    let plan = Plan {
        cipher,
        aead: AeadLibrary::default(),
        media_type: "application/vnd.oci.image.layer.v1.tar".parse().unwrap(),
        plain_digest: None,
        recipients: recipients.into(),
        embedding,
        binding: Binding::default(),
    };
    let mut blob = Vec::new();
    let mut sealer = Sealer::new(plan, &SystemRandom::new()).unwrap();
    sealer.update(b"plain", &mut blob).unwrap();
    let finished = sealer.finish(&mut blob).unwrap();
    let layer = finished.describe(&Digest::sha256(&blob)).unwrap();
    (blob, layer)
}

/// The claims of a descriptor with these wrapped keys only, each list in base64.
fn claims(layer: &SealedLayer, public: &str, lists: &[(&str, &str)]) -> Claims {
    let annotations = lists.iter().copied().chain([(PUBLIC, public)]);
    Claims::new(&layer.media_type, annotations).unwrap()
}

fn others(count: usize) -> String {
    let texts = (0..count).map(|name| STANDARD.encode(format!("another {name}")));
    texts.collect::<Vec<_>>().join(",")
}

fn chunked(blob: &[u8]) -> sealift_layer::ChunkedLayer {
    match Intake::default().update(blob).unwrap() {
        Some(Start::Chunked(layer)) => layer,
        other => panic!("{other:?}"),
    }
}

#[test]
fn lists_within_limits_open_a_layer_even_if_their_union_is_not() {
    let mut recipients = strangers(&plain(), 40);
    recipients[0] = Box::new(Clear);
    let (blob, layer) = seal(Cipher::Chunked, Embedding::AnnotationsAndHeader, recipients);
    let public = &layer.annotations[PUBLIC];
    // Among the first of the header.
    let described = claims(&layer, public, &[(PLAIN, &others(40))]);
    let (out, outcome) = open(Ok(described), &blob, 4096, End::Stream, &keys());
    assert_eq!((&*out, outcome), (&b"plain"[..], Ok(())));

    let mut recipients = strangers(&plain(), 40);
    recipients[39] = Box::new(Clear);
    let (blob, layer) = seal(Cipher::Chunked, Embedding::AnnotationsAndHeader, recipients);
    let public = &layer.annotations[PUBLIC];
    let own = layer.annotations[PLAIN].rsplit(',').next().unwrap();
    // The last of the header is beyond the limit; in the annotations it is not.
    let described = claims(&layer, public, &[(PLAIN, &others(40))]);
    let (_, outcome) = open(Ok(described), &blob, 4096, End::Stream, &keys());
    assert!(matches!(
        outcome,
        Err(OpenError::Malformed {
            place: Place::PrivateOptions,
            ..
        })
    ));
    let described = claims(&layer, public, &[(PLAIN, &format!("{},{own}", others(39)))]);
    let (out, outcome) = open(Ok(described), &blob, 4096, End::Stream, &keys());
    assert_eq!((&*out, outcome), (&b"plain"[..], Ok(())));
}

#[test]
fn further_claims_bring_no_wrapped_key_to_a_second_trial() {
    let context = WrapContext::default();
    let (blob, layer) = seal(
        Cipher::Chunked,
        Embedding::AnnotationsOnly,
        vec![Box::new(Clear)],
    );
    let (public, own) = (&layer.annotations[PUBLIC], &layer.annotations[PLAIN]);
    let mut sealed = chunked(&blob);
    let asked = Asked::default();
    let first = claims(&layer, public, &[(VAULT, &others(3))]);
    let error = sealed.unlock(&first, &asked, &context).unwrap_err();
    assert!(matches!(error, OpenError::NoKey { report, .. } if report.seen.len() == 3));
    let further = claims(&layer, public, &[(VAULT, &others(4)), (PLAIN, own)]);
    sealed.unlock(&further, &asked, &context).unwrap();
    let lens: Vec<usize> = asked.0.borrow().iter().map(Vec::len).collect();
    assert_eq!(lens, [3, 2]);

    // Nor do those of the header come again, which leaves room for as many others.
    let (blob, layer) = seal(
        Cipher::Chunked,
        Embedding::AnnotationsAndHeader,
        strangers(&vault(), 64),
    );
    let public = &layer.annotations[PUBLIC];
    let mut sealed = chunked(&blob);
    let asked = Asked::default();
    let none = claims(&layer, public, &[]);
    for expected in [64, 0] {
        let error = sealed.unlock(&none, &asked, &context).unwrap_err();
        let OpenError::NoKey { report, .. } = error else {
            panic!("{error}");
        };
        assert_eq!((report.seen.len(), &*report.faults), (expected, &[][..]));
    }
    let further = claims(&layer, public, &[(VAULT, &others(64))]);
    sealed.unlock(&further, &asked, &context).unwrap_err();
    let lens: Vec<usize> = asked.0.borrow().iter().map(Vec::len).collect();
    assert_eq!(lens, [64, 0, 64]);
}

fn public(tag: [u8; 32], nonce: Option<u8>) -> String {
    let nonce = nonce.map_or_else(
        || "{}".into(),
        |nonce| format!(r#"{{"nonce":"{}"}}"#, STANDARD.encode([nonce; 16])),
    );
    STANDARD.encode(format!(
        r#"{{"cipher":"AES_256_CTR_HMAC_SHA256","hmac":"{}","cipheroptions":{nonce}}}"#,
        STANDARD.encode(tag)
    ))
}

/// Private options that differ from others in their text only by `blanks`.
fn private(key: u8, nonce: u8, blanks: usize) -> String {
    STANDARD.encode(format!(
        r#"{{"symkey":"{}",{}"digest":"","cipheroptions":{{"nonce":"{}"}}}}"#,
        STANDARD.encode([key; 32]),
        " ".repeat(blanks),
        STANDARD.encode([nonce; 16])
    ))
}

fn ctr_hmac(tag: [u8; 32], nonce: Option<u8>, wraps: &[String]) -> CtrHmacLayer {
    let media_type = "application/vnd.oci.image.layer.v1.tar+encrypted"
        .parse()
        .unwrap();
    let annotations = [(PLAIN, &*wraps.join(",")), (PUBLIC, &*public(tag, nonce))]
        .map(|(key, value)| (key, value.to_owned()));
    let annotations = annotations
        .iter()
        .map(|(key, value)| (*key, value.as_str()));
    CtrHmacLayer::new(&Claims::new(&media_type, annotations).unwrap(), b"").unwrap()
}

/// Tries keys on `ciphertext` to the end; returns how many.
fn attempts(
    layer: &mut CtrHmacLayer,
    source: &impl SecretSource,
    ciphertext: &[u8],
) -> (usize, Result<Checked, OpenError>) {
    for count in 0.. {
        let mut unchecked = match layer.unlock(source, &WrapContext::default()) {
            Ok(unchecked) => unchecked,
            Err(error) => return (count, Err(error)),
        };
        unchecked.update(ciphertext);
        match unchecked.finish() {
            Err(OpenError::Authentication) => {}
            other => return (count + 1, other),
        }
    }
    unreachable!()
}

#[test]
fn sources_are_asked_twice_at_most_and_texts_of_one_key_count_once() {
    let wraps: Vec<_> = (0..6).map(|i| private(i / 2, 0, i.into())).collect();
    let asked = Asked::default();
    let (count, error) = attempts(&mut ctr_hmac([0; 32], None, &wraps), &asked, b"");
    assert_eq!((count, error.unwrap_err()), (3, OpenError::Authentication));
    assert_eq!(asked.0.borrow().len(), 2);

    let wraps: Vec<_> = (0..60).map(|i| private(i, 0, 0)).collect();
    let asked = Asked::default();
    let mut layer = ctr_hmac([0; 32], None, &wraps);
    let (count, _) = attempts(&mut layer, &asked, b"");
    assert_eq!((count, asked.0.borrow().len()), (16, 2));
    let error = layer.unlock(&asked, &WrapContext::default()).unwrap_err();
    assert_eq!(
        (error, asked.0.borrow().len()),
        (OpenError::Authentication, 2)
    );
}

#[test]
fn a_nonce_that_contradicts_does_not_hide_the_key_that_fits() {
    let layer = |wraps: &[String]| ctr_hmac([0; 32], Some(1), wraps);
    let mut both = layer(&[private(7, 2, 0), private(7, 1, 0)]);
    both.unlock(&keys(), &WrapContext::default()).unwrap();
    let error = layer(&[private(7, 2, 0)])
        .unlock(&keys(), &WrapContext::default())
        .unwrap_err();
    let expected = OpenError::Disagreement {
        what: Fact::Nonce,
        one: Place::PublicOptions,
        other: Place::PrivateOptions,
    };
    assert_eq!(error, expected);
}

#[test]
fn joined_claims_share_one_budget_and_each_may_be_the_right_one() {
    let (ciphertext, sealed) = seal(
        Cipher::CtrHmac,
        Embedding::AnnotationsOnly,
        vec![Box::new(Clear)],
    );
    let right = claims(
        &sealed,
        &sealed.annotations[PUBLIC],
        &[(PLAIN, &sealed.annotations[PLAIN])],
    );
    let right = CtrHmacLayer::new(&right, &ciphertext).unwrap();
    let wrong = |tag: u8| ctr_hmac([tag; 32], None, &[private(tag, 0, 0)]);

    let mut layer = wrong(1);
    layer.join(&wrong(2));
    layer.join(&right);
    layer.join(&wrong(3));
    let asked = Asked::default();
    let (count, checked) = attempts(&mut layer, &asked, &ciphertext);
    assert_eq!((count, asked.0.borrow().len()), (3, 2));
    let mut out = Vec::new();
    let mut decryptor = checked.unwrap().decrypt_from(0).unwrap();
    decryptor.update(&ciphertext, &mut out).unwrap();
    assert_eq!((&*out, decryptor.finish()), (&b"plain"[..], Ok(())));

    let mut layer = wrong(0);
    for tag in 1..200 {
        layer.join(&wrong(tag));
    }
    let asked = Asked::default();
    let (count, error) = attempts(&mut layer, &asked, &ciphertext);
    assert_eq!((count, error.unwrap_err()), (16, OpenError::Authentication));
    let lens: Vec<usize> = asked.0.borrow().iter().map(Vec::len).collect();
    assert_eq!(lens, [Wraps::MAX_PER_SCHEME; 2]);
}

#[test]
fn errors_of_a_decryptor_last() {
    let (ciphertext, sealed) = seal(
        Cipher::CtrHmac,
        Embedding::AnnotationsOnly,
        vec![Box::new(Clear)],
    );
    let annotations = sealed.annotations.iter();
    let annotations = annotations.map(|(key, value)| (key.as_str(), value.as_str()));
    let claims = Claims::new(&sealed.media_type, annotations).unwrap();
    let mut layer = CtrHmacLayer::new(&claims, &ciphertext).unwrap();
    let (_, checked) = attempts(&mut layer, &keys(), &ciphertext);
    let mut decryptor = checked.unwrap().decrypt_from(0).unwrap();
    let mut out = Vec::new();
    let too_long = [&ciphertext[..], b"!"].concat();
    for input in [&too_long, &ciphertext, &[][..]] {
        assert_eq!(
            decryptor.update(input, &mut out),
            Err(OpenError::Authentication)
        );
    }
    assert_eq!(
        (&*out, decryptor.finish()),
        (&[][..], Err(OpenError::Authentication))
    );
}
