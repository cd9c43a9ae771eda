//! Images encrypted by other programs: `testdata/ocicrypt`. Their layer keys are listed there, so that no envelope is needed.

use std::ops::ControlFlow;
use std::path::Path;

use crate::support::{End, open, testdata};
use sealift_keywrap::keys::{parse_certificates, parse_private};
use sealift_keywrap::{
    ElementReport, Keyring, LayerSecret, Outcome, UnwrapError, WrapContext, WrappedKey, openpgp,
};
use sealift_layer::{
    Claims, CounterBlock, LayerKey, OpenError, PrivateOptions, PublicOptions, SecretSource,
};
use sealift_oci::Digest;
use serde_json::Value;

/// Knows the layer key of every layer, without unwrapping anything.
#[derive(Debug)]
struct Listed {
    symkey: String,
    nonce: String,
}

impl SecretSource for Listed {
    fn offer(
        &self,
        wraps: &[WrappedKey],
        _: &WrapContext<'_>,
        accept: &mut dyn FnMut(LayerSecret) -> ControlFlow<()>,
    ) -> Vec<ElementReport> {
        assert_eq!(wraps.len(), 1, "one recipient");
        let options = PrivateOptions {
            key: LayerKey::from_octets(&hex::decode(&self.symkey).unwrap()).unwrap(),
            digest: "".into(),
            nonce: Some(CounterBlock(
                hex::decode(&self.nonce).unwrap().try_into().unwrap(),
            )),
        };
        let _ = accept(options.to_secret());
        Vec::new()
    }
}

#[test]
fn opens_every_layer_that_other_programs_sealed() {
    let root = testdata().join("ocicrypt");
    let expected: Value = json(&root.join("expected.json"));
    let mut opened = 0;
    for (layout, image) in expected.as_object().unwrap() {
        let blobs = root.join(layout).join("blobs/sha256");
        let manifest = json(&blobs.join(&text(&image["manifest"])[7..]));
        for (layer, facts) in manifest["layers"]
            .as_array()
            .unwrap()
            .iter()
            .zip(image["layers"].as_array().unwrap())
        {
            assert_eq!(layer["digest"], facts["digest"]);
            let keys = Listed {
                symkey: text(&facts["symkey"]).into(),
                nonce: text(&facts["nonce"]).into(),
            };
            let blob = std::fs::read(blobs.join(&text(&layer["digest"])[7..])).unwrap();
            let (plain, outcome) = open(claims(layer), &blob, 4096, End::Digest, &keys);
            assert_eq!(outcome, Ok(()), "{layout}");
            assert_eq!(
                Digest::sha256(&plain).to_string(),
                text(&facts["plain_digest"]),
                "{layout}"
            );

            let mut spoilt = blob.clone();
            *spoilt.last_mut().unwrap() ^= 0x80;
            let (plain, outcome) = open(claims(layer), &spoilt, 4096, End::Digest, &keys);
            assert_eq!(
                (plain.len(), outcome),
                (0, Err(OpenError::Authentication)),
                "{layout}"
            );
            opened += 1;
        }
    }
    assert_eq!(opened, 21);
}

#[test]
fn opens_layers_of_skopeo_with_the_recipients_private_key_and_no_other() {
    let root = testdata().join("ocicrypt");
    for (layout, key, other) in [
        ("jwe-rsa2048", "rsa.pem", "ec384.pem"),
        ("jwe-rsa2048-zstd", "rsa.pem", "ec384.pem"),
        ("jwe-ec384", "ec384.pem", "rsa.pem"),
        ("pkcs7", "x509.key.pem", "ec384.pem"),
        ("pkcs7", "x509.key.pem", "rsa.pem"),
        ("pgp", "pgp2.sec.gpg", "rsa.pem"),
        ("jwe-ec384", "ec384.pem", "pgp2.sec.gpg"),
    ] {
        let image = &json(&root.join("expected.json"))[layout];
        let blobs = root.join(layout).join("blobs/sha256");
        let manifest = json(&blobs.join(&text(&image["manifest"])[7..]));
        let layer = &manifest["layers"][1];
        let blob = std::fs::read(blobs.join(&text(&layer["digest"])[7..])).unwrap();
        let (plain, outcome) = open(
            claims(layer),
            &blob,
            4096,
            End::Digest,
            &keyring(&root, key),
        );
        assert_eq!(outcome, Ok(()), "{layout}");
        assert_eq!(
            Digest::sha256(&plain).to_string(),
            text(&image["layers"][1]["plain_digest"]),
            "{layout}"
        );

        let (plain, outcome) = open(
            claims(layer),
            &blob,
            4096,
            End::Digest,
            &keyring(&root, other),
        );
        assert!(plain.is_empty(), "{layout}");
        let Err(OpenError::NoKey { report, .. }) = outcome else {
            panic!("{layout}: {outcome:?}");
        };
        assert_eq!(report.seen.len(), 1);
        let expected = match (layout, other) {
            ("pkcs7", "ec384.pem") | ("pgp", _) | (_, "pgp2.sec.gpg") => Outcome::NoIdentity,
            ("pkcs7", _) => Outcome::Failed(UnwrapError::NoCertificate),
            _ => Outcome::Failed(UnwrapError::NotForThisKey),
        };
        assert_eq!(report.seen[0].report.outcome, expected, "{layout}");
    }
}

fn keyring(root: &Path, file: &str) -> Keyring {
    let mut keyring = Keyring::new();
    let file = std::fs::read(root.join("keys").join(file)).unwrap();
    if openpgp::is_key_file(&file) {
        for key in openpgp::parse_secret(&file, None).unwrap() {
            keyring.push(Box::new(key)).unwrap();
        }
        return keyring;
    }
    for key in parse_private(&file, None).unwrap() {
        keyring.push(Box::new(key)).unwrap();
    }
    let certificates = std::fs::read(root.join("keys/x509.cert.pem")).unwrap();
    for certificate in parse_certificates(&certificates).unwrap() {
        keyring.add_certificate(&certificate);
    }
    keyring
}

#[test]
fn writes_options_as_skopeo_does() {
    let private = PrivateOptions {
        key: LayerKey::from_octets(
            &hex::decode("cdc6fe76f5f0ddf4aa2cae899faff3338c618c6ba53d984a9b9632fb6ec7a4b0")
                .unwrap(),
        )
        .unwrap(),
        digest: "sha256:634728755369ecea3d694bb70406677050f7f334105c29c382f9a205d2673984".into(),
        nonce: Some(CounterBlock(
            hex::decode("077f113b2ea1fb7007f4611d103cc484")
                .unwrap()
                .try_into()
                .unwrap(),
        )),
    };
    let json = concat!(
        r#"{"symkey":"zcb+dvXw3fSqLK6Jn6/zM4xhjGulPZhKm5Yy+27HpLA=","digest":"sha256:634728755369ecea3d694bb704066770"#,
        r#"50f7f334105c29c382f9a205d2673984","cipheroptions":{"nonce":"B38ROy6h+3AH9GEdEDzEhA=="}}"#
    );
    assert_eq!(json.len(), 193);
    assert_eq!(std::str::from_utf8(private.to_secret().expose()), Ok(json));

    let json = r#"{"cipher":"AES_256_CTR_HMAC_SHA256","hmac":"CB1mZQemDyhkiveUjMX3CX7IDuuVXOmKhmzdz4Qhrgo=","cipheroptions":{}}"#;
    assert_eq!(json.len(), 109);
    let public = PublicOptions::from_json(json.as_bytes()).unwrap();
    assert_eq!(public.to_json(), json);
}

fn claims(layer: &Value) -> Result<Claims, OpenError> {
    let annotations = layer["annotations"].as_object().unwrap();
    Claims::new(
        &text(&layer["mediaType"]).parse().unwrap(),
        annotations
            .iter()
            .map(|(key, value)| (key.as_str(), text(value))),
    )
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}
