//! What a sealer promises beside its octets, and what it refuses.

use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sealift_keywrap::{LayerSecret, Recipient, Scheme, WrapContext, WrapError, WrappedKey};
use sealift_layer::{
    AeadLibrary, Binding, Cipher, Claims, CounterBlock, Embedding, FormatError, LayerId, LayerKey,
    Material, ORIGINAL, Original, OriginalKind, PUBLIC_OPTIONS, Plan, RECIPIENTS, SealError,
    SealedLayer, Sealer, elements,
};
use sealift_oci::{Digest, MediaType, MediaTypeError};

use crate::support::{Clear, End, keys, open};

const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

fn plan(cipher: Cipher, recipients: Vec<Box<dyn Recipient>>) -> Plan {
    Plan {
        cipher,
        aead: AeadLibrary::default(),
        media_type: TAR.parse().unwrap(),
        plain_digest: Some(Digest::sha256(b"plain")),
        recipients: recipients.into(),
        embedding: Embedding::AnnotationsAndHeader,
        binding: Binding {
            repo: Some("registry.test/app".into()),
            platform: Some("linux/amd64".into()),
            created_at: Some(7),
        },
    }
}

fn seal(plan: Plan) -> Result<(Vec<u8>, SealedLayer), SealError> {
    let mut blob = Vec::new();
    let mut sealer = Sealer::new(plan, &SystemRandom::new())?;
    sealer.update(b"plain", &mut blob)?;
    let finished = sealer.finish(&mut blob)?;
    let layer = finished.describe(&Digest::sha256(&blob))?;
    Ok((blob, layer))
}

fn with_given_key(cut: usize, beside: bool) -> Result<(Vec<u8>, SealedLayer), SealError> {
    let material = Material::CtrHmac {
        key: LayerKey::from_octets(&[7; LayerKey::LEN]).unwrap(),
        nonce: CounterBlock([9; CounterBlock::LEN]),
    };
    let mut sealer = Sealer::with_material(plan(Cipher::CtrHmac, vec![Box::new(Clear)]), material)?;
    let mut tagging = None;
    if beside {
        (sealer, tagging) = sealer.leaving_tag();
        assert!(tagging.is_some());
    }
    let mut blob = Vec::new();
    for piece in b"plain".repeat(20_000).chunks(cut) {
        let before = blob.len();
        sealer.update(piece, &mut blob)?;
        if let Some(tagging) = &mut tagging {
            tagging.update(&blob[before..]);
        }
    }
    if let Some(tagging) = tagging {
        sealer.take_back(tagging);
    }
    let layer = sealer.finish(&mut blob)?;
    let layer = layer.describe(&Digest::sha256(&blob))?;
    Ok((blob, layer))
}

#[test]
fn a_tag_computed_beside_the_sealer_is_the_same() {
    let (blob, layer) = with_given_key(100_000, false).unwrap();
    for cut in [1000, 32_768, 100_000] {
        let (other, beside) = with_given_key(cut, true).unwrap();
        assert!(blob == other);
        assert_eq!(
            layer.annotations[PUBLIC_OPTIONS],
            beside.annotations[PUBLIC_OPTIONS]
        );
    }
}

#[test]
fn a_layer_whose_tag_is_not_given_back_has_no_end() {
    let sealer = Sealer::new(
        plan(Cipher::CtrHmac, vec![Box::new(Clear)]),
        &SystemRandom::new(),
    )
    .unwrap();
    let (mut sealer, tagging) = sealer.leaving_tag();
    sealer.update(b"plain", &mut Vec::new()).unwrap();
    assert_eq!(
        sealer.finish(&mut Vec::new()).unwrap_err(),
        SealError::Internal
    );
    drop(tagging);
    let sealer = Sealer::new(
        plan(Cipher::Chunked, vec![Box::new(Clear)]),
        &SystemRandom::new(),
    )
    .unwrap();
    assert!(sealer.leaving_tag().1.is_none());
}

/// Makes elements of a wanted length, and remembers for what.
#[derive(Debug, Default)]
struct Recorder {
    name: usize,
    len: usize,
    subjects: Arc<Mutex<Vec<String>>>,
}

impl Recipient for Recorder {
    fn scheme(&self) -> Scheme {
        Scheme::Jwe
    }

    fn fingerprint(&self) -> String {
        format!("recorder {}", self.name)
    }

    fn wrap_key(
        &self,
        _: &LayerSecret,
        context: &WrapContext<'_>,
    ) -> Result<WrappedKey, WrapError> {
        assert_eq!(context.repo, Some("registry.test/app"));
        assert_eq!(context.platform, Some("linux/amd64"));
        assert_eq!(context.created_at, Some(7));
        self.subjects
            .lock()
            .unwrap()
            .push(context.subject.unwrap().into());
        let mut element = self.name.to_string().into_bytes();
        element.resize(self.len.max(element.len()), b'.');
        Ok(WrappedKey {
            scheme: Scheme::Jwe,
            element,
        })
    }
}

/// Cannot wrap anything.
#[derive(Debug)]
struct Refusing;

impl Recipient for Refusing {
    fn scheme(&self) -> Scheme {
        Scheme::Pkcs7
    }

    fn fingerprint(&self) -> String {
        "f00".into()
    }

    fn wrap_key(&self, _: &LayerSecret, _: &WrapContext<'_>) -> Result<WrappedKey, WrapError> {
        Err(WrapError::Refused)
    }
}

fn recorders(count: usize, len: usize) -> Vec<Box<dyn Recipient>> {
    (0..count)
        .map(|name| {
            Box::new(Recorder {
                name,
                len,
                ..Recorder::default()
            }) as _
        })
        .collect()
}

#[test]
fn recipients_are_told_which_layer_they_wrap_for() {
    for cipher in [Cipher::Chunked, Cipher::CtrHmac] {
        let recorder = Recorder::default();
        let subjects = recorder.subjects.clone();
        let (blob, layer) = seal(plan(cipher, vec![Box::new(recorder)])).unwrap();
        assert_eq!(*subjects.lock().unwrap(), [layer.id.to_string()]);
        if cipher == Cipher::CtrHmac {
            assert_eq!(layer.id, LayerId::Ciphertext(Digest::sha256(&blob)));
        }
    }
}

#[test]
fn annotations_say_whom_each_element_is_for() {
    let (_, layer) = seal(plan(Cipher::Chunked, recorders(2, 0))).unwrap();
    assert_eq!(layer.media_type.as_str(), format!("{TAR}+encrypted"));
    assert_eq!(
        layer.annotations["org.opencontainers.image.enc.keys.jwe"],
        "MA==,MQ=="
    );
    let notes: serde_json::Value = serde_json::from_str(&layer.annotations[RECIPIENTS]).unwrap();
    // The first 16 hex digits of the SHA-256 of "0" and "1".
    assert_eq!(
        notes,
        serde_json::json!({
            "5feceb66ffc86f38": {"scheme": "jwe", "fingerprint": "recorder 0", "comment": ""},
            "6b86b273ff34fce1": {"scheme": "jwe", "fingerprint": "recorder 1", "comment": ""},
        })
    );
    let annotations = layer
        .annotations
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()));
    let claims = Claims::new(&layer.media_type, annotations).unwrap();
    let second = &claims.wraps.as_slice()[1];
    assert_eq!(
        claims.recipients.of(second).unwrap().fingerprint,
        "recorder 1"
    );
}

#[test]
fn no_two_layers_share_key_salt_or_nonce() {
    for cipher in [Cipher::Chunked, Cipher::CtrHmac] {
        let (one, first) = seal(plan(cipher, vec![Box::new(Clear)])).unwrap();
        let (two, second) = seal(plan(cipher, vec![Box::new(Clear)])).unwrap();
        assert_ne!(one, two);
        assert_ne!(first.id, second.id);
        let key = |layer: &SealedLayer| {
            let element = &layer.annotations["org.opencontainers.image.enc.keys.provider.plain"];
            String::from_utf8(STANDARD.decode(element).unwrap()).unwrap()
        };
        assert_ne!(key(&first), key(&second));
    }
}

#[test]
fn docker_types_are_sealed_as_their_oci_twins() {
    let mut docker = plan(Cipher::Chunked, vec![Box::new(Clear)]);
    docker.media_type = "application/vnd.docker.image.rootfs.diff.tar.gzip"
        .parse()
        .unwrap();
    let (blob, layer) = seal(docker).unwrap();
    assert_eq!(
        layer.media_type.as_str(),
        "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"
    );
    let (plain, outcome) = open(
        Claims::new(&layer.media_type, []),
        &blob,
        usize::MAX,
        End::Digest,
        &keys(),
    );
    assert_eq!((plain.as_slice(), outcome), (&b"plain"[..], Ok(())));
}

#[test]
fn refuses_plans_that_nobody_could_open() {
    for cipher in [Cipher::Chunked, Cipher::CtrHmac] {
        assert_eq!(
            seal(plan(cipher, vec![])).unwrap_err(),
            SealError::NoRecipients
        );
        let mut sealed = plan(cipher, vec![Box::new(Clear)]);
        let media_type: MediaType = format!("{TAR}+encrypted").parse().unwrap();
        sealed.media_type = media_type.clone();
        let already = MediaTypeError::AlreadySealed {
            text: media_type.as_str().into(),
        };
        assert_eq!(seal(sealed).unwrap_err(), SealError::MediaType(already));
        let refused = SealError::Wrap {
            scheme: Scheme::Pkcs7,
            fingerprint: "f00".into(),
            source: WrapError::Refused,
        };
        assert_eq!(
            seal(plan(cipher, vec![Box::new(Clear), Box::new(Refusing)])).unwrap_err(),
            refused
        );
        let many = FormatError::TooMuch {
            what: "wrapped keys of one scheme",
            limit: 64,
        };
        assert_eq!(
            seal(plan(cipher, recorders(65, 0))).unwrap_err(),
            SealError::TooManyRecipients(many)
        );
        let long = FormatError::TooMuch {
            what: "octets in one wrapped key",
            limit: 16_384,
        };
        assert_eq!(
            seal(plan(cipher, recorders(1, 16_385))).unwrap_err(),
            SealError::TooManyRecipients(long)
        );
    }
}

#[test]
fn keys_that_do_not_fit_into_the_header_can_stay_out_of_it() {
    let mut many = plan(Cipher::Chunked, recorders(64, 16_000));
    assert_eq!(
        seal(many.clone()).unwrap_err(),
        SealError::HeaderTooLong { limit: 1_048_576 }
    );
    many.embedding = Embedding::AnnotationsOnly;
    let (blob, layer) = seal(many).unwrap();
    assert_eq!(
        layer.annotations["org.opencontainers.image.enc.keys.jwe"]
            .split(',')
            .count(),
        64
    );
    assert!(blob.len() < 1000);
}

#[test]
fn nothing_secret_shows_under_debug() {
    let sealer = Sealer::new(
        plan(Cipher::CtrHmac, vec![Box::new(Clear)]),
        &SystemRandom::new(),
    )
    .unwrap();
    let shown = format!("{sealer:?}");
    let (_, layer) = seal(plan(Cipher::Chunked, vec![Box::new(Clear)])).unwrap();
    let secret = STANDARD
        .decode(&layer.annotations["org.opencontainers.image.enc.keys.provider.plain"])
        .unwrap();
    let secret: serde_json::Value = serde_json::from_slice(&secret).unwrap();
    let key = STANDARD.decode(secret["symkey"].as_str().unwrap()).unwrap();
    let shown_key = format!("{:?}", layer.original);
    for shown in [shown, shown_key] {
        assert!(
            shown.contains("LayerKey(..)") || shown.contains("PrivateOptions"),
            "{shown}"
        );
        assert!(!shown.contains(&format!("{key:?}")[1..20]), "{shown}");
        assert!(!shown.contains("symkey"), "{shown}");
    }
}

#[test]
fn originals_come_back_octet_for_octet_and_only_under_their_layers_key() {
    let (_, first) = seal(plan(Cipher::Chunked, vec![Box::new(Clear)])).unwrap();
    let (_, second) = seal(plan(Cipher::CtrHmac, vec![Box::new(Clear)])).unwrap();
    let original = Original {
        media_type: MediaType::OCI_INDEX.parse().unwrap(),
        octets: b"{ \"odd\" :\t1 }\n\n".to_vec(),
    };
    let rng = SystemRandom::new();
    let one = first
        .original
        .seal(OriginalKind::Index, &original, &rng)
        .unwrap();
    let two = second
        .original
        .seal(OriginalKind::Index, &original, &rng)
        .unwrap();
    let list = format!("{one},{two}");
    let listed = elements(&list).unwrap();
    assert_eq!(
        listed,
        [
            (first.original.id(), one.as_str()),
            (second.original.id(), two.as_str())
        ]
    );
    assert_eq!(
        first.original.open(OriginalKind::Index, &one),
        Ok(original.clone())
    );
    assert_eq!(
        second.original.open(OriginalKind::Index, &two),
        Ok(original.clone())
    );
    let foreign = first.original.open(OriginalKind::Index, &two);
    assert_eq!(foreign, Err(sealift_layer::OpenError::Authentication));
    assert_ne!(
        one,
        first
            .original
            .seal(OriginalKind::Index, &original, &rng)
            .unwrap(),
        "fresh salt"
    );
}

#[test]
fn originals_are_at_most_four_mebibytes() {
    let (_, layer) = seal(plan(Cipher::Chunked, vec![Box::new(Clear)])).unwrap();
    let rng = SystemRandom::new();
    let mut original = Original {
        media_type: MediaType::OCI_MANIFEST.parse().unwrap(),
        octets: vec![b' '; Original::MAX_LEN],
    };
    let sealed = layer
        .original
        .seal(OriginalKind::Manifest, &original, &rng)
        .unwrap();
    assert_eq!(
        layer.original.open(OriginalKind::Manifest, &sealed),
        Ok(original.clone())
    );
    original.octets.push(b' ');
    assert_eq!(
        layer
            .original
            .seal(OriginalKind::Manifest, &original, &rng)
            .unwrap_err(),
        SealError::OriginalTooLong { limit: 4_194_304 }
    );
    assert_eq!(ORIGINAL, "dev.sealift.original");
}
