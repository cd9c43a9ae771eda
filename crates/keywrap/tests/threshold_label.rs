//! A look at the labels of threshold wraps.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use sealift_keywrap::{Scheme, ThresholdLabel, UnwrapError, WrappedKey, describe};

/// A compact wrap up to the end of its label's subject.
fn wrap(suite: u8, key_id: &str, kind: u8) -> WrappedKey {
    let text = |text: &str| {
        let len = u8::try_from(text.len()).unwrap();
        let mut octets = if len < 24 {
            vec![0x60 + len]
        } else {
            vec![0x78, len]
        };
        octets.extend(text.as_bytes());
        octets
    };
    let mut label = vec![0xaa, 1, 1, 2];
    label.extend(text("P256-TDH2-HKDF-SHA256-A256GCM"));
    label.push(3);
    label.extend(text(key_id));
    label.extend([4, 0x19, 0x01, 0x02, 5]);
    label.extend(text("registry.example/payments/api"));
    label.extend([6, 0x82, kind, 0x58, 32]);
    label.extend([0xab; 32]);
    let mut element = b"SLW1".to_vec();
    element.push(suite);
    element.extend(u16::try_from(label.len()).unwrap().to_be_bytes());
    element.extend(label);
    WrappedKey {
        scheme: Scheme::sealift(),
        element,
    }
}

fn described(wrapped: &WrappedKey) -> (Option<Box<str>>, Option<Box<str>>) {
    let mut infos = describe(wrapped);
    assert_eq!(infos.len(), 1);
    let info = infos.remove(0);
    assert_eq!(info.fingerprint, None);
    (info.algorithm, info.key_id)
}

#[test]
fn a_threshold_wrap_tells_its_suite_and_its_key() {
    for (suite, name) in [
        (1, "P256-TDH2-HKDF-SHA256-A256GCM"),
        (2, "SSS-HPKE-XWING"),
        (3, "P256-TDH2+SSS-HPKE-XWING"),
    ] {
        let expected = (Some(name.into()), Some("k-eu-prod".into()));
        assert_eq!(described(&wrap(suite, "k-eu-prod", 4)), expected);
    }
    assert_eq!(described(&wrap(9, "k", 4)), (None, Some("k".into())));
}

#[test]
fn a_label_tells_key_epoch_and_subject() {
    let hex = "ab".repeat(32);
    for (kind, subject) in [
        (1, Some(format!("sha256:{hex}"))),
        (2, None),
        (3, None),
        (4, Some(hex.clone())),
    ] {
        let expected = ThresholdLabel {
            key_id: "k".into(),
            epoch: 258,
            subject: subject.map(Into::into),
        };
        let label = ThresholdLabel::of(&wrap(1, "k", kind)).unwrap().unwrap();
        assert_eq!(label, expected);
        let foreign = Err(UnwrapError::Malformed {
            reason: "its label names something else",
        });
        assert_eq!(label.clone().naming(Some(&"ac".repeat(32))), foreign);
        let own = expected.subject.as_deref();
        assert_eq!(label.naming(own).is_ok(), own.is_some());
    }
}

#[test]
fn what_is_no_threshold_wrap_has_no_label() {
    let mut wrapped = wrap(1, "k", 4);
    wrapped.scheme = Scheme::Jwe;
    assert_eq!(ThresholdLabel::of(&wrapped), None);
    for element in ["", "S", "SLW1", "SLW2\u{1}", r#"{"v":1}"#] {
        let wrapped = WrappedKey {
            scheme: Scheme::sealift(),
            element: element.into(),
        };
        assert_eq!(ThresholdLabel::of(&wrapped), None, "{element}");
    }
}

#[test]
fn a_threshold_wrap_cut_anywhere_or_altered_tells_less() {
    let whole = wrap(1, "k-eu-prod", 4);
    let changed = |element: Vec<u8>| WrappedKey {
        scheme: Scheme::sealift(),
        element,
    };
    for len in 5..whole.element.len() {
        // What is left of the label is shorter than it says.
        let cut = changed(whole.element[..len].to_vec());
        assert_eq!(described(&cut).1, None, "{len}");
        let unreadable = UnwrapError::Malformed {
            reason: "unreadable label",
        };
        assert_eq!(ThresholdLabel::of(&cut), Some(Err(unreadable)), "{len}");
    }
    assert_eq!(described(&wrap(1, "k\n", 4)).1, None);
    for index in 7..whole.element.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut altered = whole.element.clone();
            altered[index] ^= flip;
            let key_id = described(&changed(altered)).1.unwrap_or_default();
            assert!(key_id.bytes().all(|b| b.is_ascii_graphic()), "{index}");
        }
    }
}
