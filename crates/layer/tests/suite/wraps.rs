//! Annotations and the choice among wrapped keys (`SPEC.md`, sections 1.4, 2 and 3).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sealift_keywrap::{Outcome, Scheme, WrapContext, WrappedKey};
use sealift_layer::{
    Claims, CounterBlock, CtrHmacLayer, FormatError, LayerKey, OpenError, PrivateOptions,
    Recipients, Wraps,
};

use crate::support::keys;

const JWE: &str = "org.opencontainers.image.enc.keys.jwe";
const PGP: &str = "org.opencontainers.image.enc.keys.pgp";

fn wrap(scheme: Scheme, element: &[u8]) -> WrappedKey {
    WrappedKey {
        scheme,
        element: element.to_vec(),
    }
}

#[test]
fn reads_comma_lists_in_order_and_equal_elements_once() {
    let wraps = Wraps::from_annotations([
        (PGP, "Yg=="),
        ("org.opencontainers.image.enc.pubopts", "e30="),
        ("org.opencontainers.image.title", "x"),
        (JWE, "YQ==,Yg==,YQ==,Y2\r\nM="),
        ("org.opencontainers.image.enc.keys.pkcs7", ""),
    ])
    .unwrap();
    let expected = [
        wrap(Scheme::Pgp, b"b"),
        wrap(Scheme::Jwe, b"a"),
        wrap(Scheme::Jwe, b"b"),
        wrap(Scheme::Jwe, b"cc"),
    ];
    assert_eq!(wraps.as_slice(), expected);
    assert_eq!(wraps.faults(), []);
    let printed: Vec<_> = wraps.to_annotations().into_iter().collect();
    assert_eq!(
        printed,
        [
            (PGP.into(), "Yg==".into()),
            (JWE.into(), "YQ==,Yg==,Y2M=".into())
        ]
    );
}

#[test]
fn keeps_good_elements_and_reports_bad_ones() {
    let long = STANDARD.encode(vec![0; Wraps::MAX_ELEMENT_LEN + 1]);
    let longest = STANDARD.encode(vec![0; Wraps::MAX_ELEMENT_LEN]);
    let huge = "A".repeat(1 << 20);
    let list = format!("%,YQ==,YQ,,Y Q==,{long},{huge},{longest}");
    let wraps = Wraps::from_annotations([(JWE, list.as_str())]).unwrap();
    let elements: Vec<usize> = wraps
        .as_slice()
        .iter()
        .map(|wrap| wrap.element.len())
        .collect();
    assert_eq!(elements, [1, Wraps::MAX_ELEMENT_LEN]);
    let base64 = FormatError::Base64 { member: JWE.into() };
    let long = FormatError::TooMuch {
        what: "octets in one wrapped key",
        limit: 16_384,
    };
    let faults = [
        base64.clone(),
        base64.clone(),
        base64.clone(),
        base64,
        long.clone(),
        long,
    ];
    assert_eq!(wraps.faults(), faults);
}

#[test]
fn counts_elements_per_scheme_and_in_all() {
    let list = |count: usize| {
        let elements: Vec<_> = (0..count).map(|i| STANDARD.encode(i.to_string())).collect();
        elements.join(",")
    };
    let one = "wrapped keys of one scheme";
    let too_many = |what| {
        Err(FormatError::TooMuch {
            what,
            limit: if what == one { 64 } else { 256 },
        })
    };
    assert_eq!(
        Wraps::from_annotations([(JWE, list(64).as_str())])
            .unwrap()
            .as_slice()
            .len(),
        64
    );
    assert_eq!(
        Wraps::from_annotations([(JWE, list(65).as_str())]),
        too_many(one)
    );
    // Elements that are no base64 count too.
    assert_eq!(
        Wraps::from_annotations([(JWE, "%,".repeat(65).as_str())]),
        too_many(one)
    );
    let keys: Vec<_> = (0..5)
        .map(|i| format!("org.opencontainers.image.enc.keys.provider.p{i}"))
        .collect();
    let lists: Vec<_> = keys
        .iter()
        .map(|key| (key.as_str(), list(if key.ends_with('4') { 1 } else { 64 })))
        .collect();
    let annotations = lists.iter().map(|(key, list)| (*key, list.as_str()));
    assert_eq!(
        Wraps::from_annotations(annotations.clone().take(4))
            .unwrap()
            .as_slice()
            .len(),
        256
    );
    assert_eq!(
        Wraps::from_annotations(annotations),
        too_many("wrapped keys")
    );
    let faults = ["%"; 64].join(",");
    let annotations = keys.iter().map(|key| (key.as_str(), faults.as_str()));
    assert_eq!(
        Wraps::from_annotations(annotations),
        too_many("wrapped keys"),
        "faults count too"
    );

    let mut full = Wraps::from_annotations([(JWE, list(64).as_str())]).unwrap();
    assert_eq!(full.push(wrap(Scheme::Jwe, b"0")), Ok(()), "there already");
    assert_eq!(
        full.push(wrap(Scheme::Jwe, b"new")),
        too_many(one).map(drop)
    );
    assert_eq!(full.push(wrap(Scheme::Pgp, b"new")), Ok(()));

    // Both lists are sound; the end of the second does not fit any more.
    let others = Wraps::from_annotations([(JWE, "MA==,bmV3,bmV3ZXI=,%"), (PGP, "eA==")]).unwrap();
    assert_eq!(full.clone().merge(&others), too_many(one).map(drop));
    full.append_what_fits(&others);
    assert_eq!(full.as_slice().len(), 66);
    assert_eq!(full.as_slice().last(), Some(&wrap(Scheme::Pgp, b"x")));
    let base64 = FormatError::Base64 { member: JWE.into() };
    assert_eq!(
        full.faults(),
        [
            base64,
            FormatError::TooMuch {
                what: one,
                limit: 64
            }
        ]
    );
}

#[test]
fn recipient_notes_follow_their_elements() {
    let (one, two) = (wrap(Scheme::Jwe, b"one"), wrap(Scheme::Pgp, b"two"));
    let mut notes = Recipients::default();
    notes.note(&one, "aa".into(), "build farm".into());
    notes.note(&two, "bb".into(), String::new());
    let mut read = Recipients::from_json(&notes.to_json()).unwrap();
    assert_eq!(read, notes);
    assert_eq!(read.of(&one).unwrap().comment, "build farm");
    read.forget(&one);
    assert_eq!(read.of(&one), None);
    assert_eq!(read.of(&two).unwrap().scheme, "pgp");
    for bad in [
        "",
        "[]",
        "{\"a\":1}",
        "{\"a\":{},\"a\":{}}",
        "{\"a\":{\"scheme\":1}}",
    ] {
        assert!(
            matches!(
                Recipients::from_json(bad),
                Err(FormatError::Json(_) | FormatError::WrongType { .. })
            ),
            "{bad}"
        );
    }
}

fn ctr_hmac(wraps: &[String]) -> Claims {
    let public = format!(
        r#"{{"cipher":"AES_256_CTR_HMAC_SHA256","hmac":"{}","cipheroptions":{{}}}}"#,
        STANDARD.encode([0; 32])
    );
    let public = STANDARD.encode(public);
    let media_type = "application/vnd.oci.image.layer.v1.tar+encrypted"
        .parse()
        .unwrap();
    let wraps = wraps.join(",");
    Claims::new(
        &media_type,
        [
            (
                "org.opencontainers.image.enc.keys.provider.plain",
                wraps.as_str(),
            ),
            ("org.opencontainers.image.enc.pubopts", public.as_str()),
        ],
    )
    .unwrap()
}

fn secret(key: u8) -> String {
    let options = PrivateOptions {
        key: LayerKey::from_octets(&[key; 32]).unwrap(),
        digest: "".into(),
        nonce: Some(CounterBlock([0; 16])),
    };
    STANDARD.encode(options.to_secret().expose())
}

#[test]
fn tries_every_different_key_once_and_not_for_ever() {
    let attempts = |wraps: &[String]| {
        let mut layer = CtrHmacLayer::new(&ctr_hmac(wraps), b"").unwrap();
        let mut count = 0;
        loop {
            match layer.unlock(&keys(), &WrapContext::default()) {
                Ok(unchecked) => {
                    assert_eq!(unchecked.finish().unwrap_err(), OpenError::Authentication)
                }
                Err(error) => {
                    assert_eq!(error, OpenError::Authentication);
                    return count;
                }
            }
            count += 1;
        }
    };
    assert_eq!(attempts(&[secret(1)]), 1);
    assert_eq!(attempts(&[secret(1), secret(2), secret(1), secret(3)]), 3);
    let many: Vec<_> = (0..40).map(secret).collect();
    assert_eq!(attempts(&many), CtrHmacLayer::MAX_ATTEMPTS);
}

#[test]
fn says_which_recipients_a_layer_has_when_no_key_fits() {
    let media_type = "application/vnd.oci.image.layer.v1.tar+encrypted"
        .parse()
        .unwrap();
    let element = b"sealed for a stranger";
    let mut notes = Recipients::default();
    let stranger = wrap(Scheme::Provider("vault".into()), element);
    notes.note(&stranger, "abc123".into(), String::new());
    let list = format!("{},%", STANDARD.encode(element));
    let public = STANDARD.encode(format!(
        r#"{{"cipher":"AES_256_CTR_HMAC_SHA256","hmac":"{}"}}"#,
        STANDARD.encode([0; 32])
    ));
    let claims = Claims::new(
        &media_type,
        [
            (
                "org.opencontainers.image.enc.keys.provider.vault",
                list.as_str(),
            ),
            ("org.opencontainers.image.enc.pubopts", public.as_str()),
            ("dev.sealift.recipients", notes.to_json().as_str()),
        ],
    )
    .unwrap();
    let context = WrapContext {
        subject: Some("sha256:77"),
        ..WrapContext::default()
    };
    let error = CtrHmacLayer::new(&claims, b"")
        .unwrap()
        .unlock(&keys(), &context)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "no key fits layer sha256:77: provider.vault: no key for it (for key abc123); \
         `org.opencontainers.image.enc.keys.provider.vault` is not standard base64"
    );
    let OpenError::NoKey { report, .. } = error else {
        panic!();
    };
    assert_eq!(report.seen[0].report.outcome, Outcome::NoIdentity);
    assert_eq!(report.seen[0].told.as_deref(), Some("abc123"));
}
