//! Which key is tried on what, and what is said when none fits.
#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::sync::{Arc, Mutex};

use sealift_keywrap::{
    Identity, KeySet, Keyring, KeyringError, LayerSecret, Outcome, REMOTE_COST, Recipient, Scheme,
    UnwrapError, WrapContext, WrappedKey, customer_key::CustomerKey, keys,
};
use zeroize::Zeroizing;

/// An identity that opens elements of its own text, and writes down what it was asked.
#[derive(Debug)]
struct Recorder {
    name: &'static str,
    key_id: Option<&'static str>,
    opens: bool,
    log: Log,
}

type Log = Arc<Mutex<Vec<String>>>;

impl Identity for Recorder {
    fn opens(&self, scheme: &Scheme) -> bool {
        *scheme == Scheme::Jwe || *scheme == Scheme::sealift()
    }

    fn fingerprint(&self) -> String {
        self.name.repeat(64)
    }

    fn key_id(&self) -> Option<&str> {
        self.key_id
    }

    fn unwrap_key(
        &self,
        wrapped: &WrappedKey,
        _: &WrapContext<'_>,
    ) -> Result<LayerSecret, UnwrapError> {
        let element = String::from_utf8_lossy(&wrapped.element);
        let mark = element.rsplit('"').nth(1).unwrap_or_default();
        self.log
            .lock()
            .expect("a log")
            .push(format!("{}:{mark}", self.name));
        if self.opens {
            Ok(LayerSecret::new(Zeroizing::new(self.name.into())))
        } else {
            Err(UnwrapError::NotForThisKey)
        }
    }
}

fn ring(log: &Log, identities: &[(&'static str, Option<&'static str>, bool)]) -> Keyring {
    let mut ring = Keyring::new();
    for &(name, key_id, opens) in identities {
        let log = Arc::clone(log);
        ring.push(Box::new(Recorder {
            name,
            key_id,
            opens,
            log,
        }))
        .expect("room");
    }
    ring
}

/// A JWE that parses, for whoever `header` names; `mark` tells elements apart in the log.
fn jwe(header: &str, mark: &str) -> WrappedKey {
    let element = format!(
        r#"{{"protected":"eyJlbmMiOiJBMjU2R0NNIn0","header":{{"alg":"RSA-OAEP"{header}}},"iv":"AAAAAAAAAAAAAAAA","tag":"AAAAAAAAAAAAAAAAAAAAAA","mark":"{mark}"}}"#
    );
    WrappedKey {
        scheme: Scheme::Jwe,
        element: element.into_bytes(),
    }
}

fn aes256(key_id: &str, mark: &str) -> WrappedKey {
    let salt = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let element = format!(
        r#"{{"v":1,"type":"aes256","kid":"{key_id}","salt":"{salt}","ct":"AAAAAAAAAAAAAAAAAAAAAA==","mark":"{mark}"}}"#
    );
    WrappedKey {
        scheme: Scheme::sealift(),
        element: element.into_bytes(),
    }
}

fn taken(log: &Log) -> Vec<String> {
    std::mem::take(&mut log.lock().expect("a log"))
}

#[test]
fn named_keys_come_first_then_all_in_the_order_given() {
    let log = Log::default();
    let ring = ring(
        &log,
        &[
            ("a", None, false),
            ("b", None, false),
            ("c", Some("node"), false),
        ],
    );
    let by_fingerprint = format!(r#","kid":"{}""#, "b".repeat(64));
    let elements = [
        jwe("", "1"),
        jwe(r#","kid":"node""#, "2"),
        jwe(&by_fingerprint, "3"),
    ];
    let expected = [
        "c:2", "b:3", "a:1", "b:1", "c:1", "a:2", "b:2", "a:3", "c:3",
    ];
    for _ in 0..3 {
        assert!(
            ring.unwrap_keys(&elements, WrapContext::default())
                .next()
                .is_none()
        );
        assert_eq!(taken(&log), expected);
    }
}

#[test]
fn an_element_with_a_fingerprint_is_tried_with_no_other_key() {
    let log = Log::default();
    let ring = ring(&log, &[("a", None, false), ("b", None, false)]);
    let elements = [aes256(&"b".repeat(64), "1"), aes256(&"c".repeat(64), "2")];
    let mut candidates = ring.unwrap_keys(&elements, WrapContext::default());
    assert!(candidates.next().is_none());
    assert_eq!(taken(&log), ["b:1"]);
    let outcomes: Vec<Outcome> = candidates
        .into_report()
        .into_iter()
        .map(|report| report.outcome)
        .collect();
    assert_eq!(
        outcomes,
        [
            Outcome::Failed(UnwrapError::NotForThisKey),
            Outcome::NoIdentity
        ]
    );
}

#[test]
fn the_next_secret_is_unwrapped_only_when_asked_for() {
    let log = Log::default();
    let ring = ring(&log, &[("a", None, true), ("b", None, true)]);
    let elements = [jwe("", "1"), jwe("", "2")];
    let mut candidates = ring.unwrap_keys(&elements, WrapContext::default());
    let mut seen = Vec::new();
    for expected in [1, 2, 3, 4] {
        let unwrapped = candidates.next().expect("a secret");
        assert_eq!(log.lock().expect("a log").len(), expected);
        seen.push((
            unwrapped.element,
            unwrapped.fingerprint[..1].to_owned(),
            unwrapped.secret.expose().to_vec(),
        ));
    }
    assert!(candidates.next().is_none());
    let of = |element, name: &str| (element, name.to_owned(), name.as_bytes().to_vec());
    assert_eq!(seen, [of(0, "a"), of(0, "b"), of(1, "a"), of(1, "b")]);
}

#[test]
fn the_report_says_for_each_element_why_it_did_not_open() {
    let file = include_bytes!("../../../testdata/keywrap/keys/p256.pem");
    let mut ring = Keyring::new();
    for key in keys::parse_private(file, None).expect("a key") {
        ring.push(Box::new(key)).expect("room");
    }
    let customer = CustomerKey::new(Zeroizing::new([1; 32]));
    let secret = LayerSecret::new(Zeroizing::new(b"x".to_vec()));
    let named = customer
        .wrap_key(&secret, &WrapContext::default())
        .expect("wraps");
    let mut altered = named.clone();
    let text = String::from_utf8_lossy(&altered.element);
    let first = text.find("\"ct\":\"").expect("a ciphertext") + 6;
    altered.element[first] = if altered.element[first] == b'A' {
        b'B'
    } else {
        b'A'
    };
    let sealift = |text: &str| WrappedKey {
        scheme: Scheme::sealift(),
        element: text.into(),
    };
    let unknown = |element: &str| WrappedKey {
        scheme: Scheme::Jwe,
        element: element.into(),
    };
    let elements = [
        jwe(r#","kid":"someone""#, "1"),
        unknown("what"),
        sealift("SLW1"),
        named,
        WrappedKey {
            scheme: Scheme::Pgp,
            element: vec![0x85],
        },
    ];
    let lines = |ring: &Keyring, elements: &[WrappedKey]| {
        let mut candidates = ring.unwrap_keys(elements, WrapContext::default());
        while candidates.next().is_some() {}
        candidates
            .into_report()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let name = customer.key_id().to_owned();
    assert_eq!(
        lines(&ring, &elements),
        [
            "jwe RSA-OAEP kid `someone`: wrapped for another key".to_owned(),
            "jwe: malformed wrapped key: not a JWE".to_owned(),
            "provider.sealift threshold: no key for it".to_owned(),
            format!("provider.sealift aes256 kid `{name}`: no key for it"),
            "pgp: no key for it".to_owned(),
        ]
    );
    ring.push(Box::new(customer)).expect("room");
    assert_eq!(
        lines(&ring, &[sealift("SLW1"), altered]),
        [
            "provider.sealift threshold: unsupported key-wrapping algorithm `threshold`".to_owned(),
            format!("provider.sealift aes256 kid `{name}`: wrapped key failed authentication"),
        ]
    );
}

#[test]
fn a_ring_counts_a_key_once_and_has_an_end() {
    let mut ring = Keyring::new();
    for _ in 0..2 {
        for number in 0..Keyring::MAX_IDENTITIES {
            let octet = u8::try_from(number).expect("small");
            let key = CustomerKey::new(Zeroizing::new([octet; 32]));
            ring.push(Box::new(key)).expect("room");
        }
    }
    assert_eq!(ring.len(), Keyring::MAX_IDENTITIES);
    let one_more = CustomerKey::new(Zeroizing::new([255; 32]));
    assert_eq!(
        ring.push(Box::new(one_more)),
        Err(KeyringError::Full {
            limit: Keyring::MAX_IDENTITIES
        })
    );
}

#[test]
fn a_hostile_list_of_recipients_does_not_keep_keys_busy_forever() {
    let log = Log::default();
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let ring = ring(&log, &names.map(|name| (name, None, false)));
    let recipient = r#"{"header":{"alg":"RSA-OAEP"},"encrypted_key":"AA"}"#;
    let element = format!(
        r#"{{"protected":"eyJlbmMiOiJBMjU2R0NNIn0","recipients":[{}],"iv":"AAAAAAAAAAAAAAAA","tag":"AAAAAAAAAAAAAAAAAAAAAA"}}"#,
        [recipient; 64].join(",")
    );
    let elements: Vec<WrappedKey> = (0..64)
        .map(|_| WrappedKey {
            scheme: Scheme::Jwe,
            element: element.clone().into_bytes(),
        })
        .collect();
    let mut candidates = ring.unwrap_keys(&elements, WrapContext::default());
    assert!(candidates.next().is_none());
    assert_eq!(taken(&log).len() * 64, Keyring::MAX_OPERATIONS);
    let report = candidates.into_report();
    assert_eq!(
        report[0].outcome,
        Outcome::Failed(UnwrapError::NotForThisKey)
    );
    assert_eq!(report[63].outcome, Outcome::NotTried);
}

fn under(name: &str, element: Vec<u8>) -> WrappedKey {
    WrappedKey {
        scheme: Scheme::Provider(name.into()),
        element,
    }
}

#[test]
fn the_keys_of_a_set_are_tried_one_by_one_whatever_its_annotation_is_called() {
    for name in ["vault", "attestation-agent", "sealift"] {
        let log = Log::default();
        let ring = ring(&log, &[("a", None, false), ("b", Some("kid-b"), true)]);
        let keys = vec![jwe("", "first"), jwe(r#","kid":"kid-b""#, "last")];
        let set = KeySet::new(keys).expect("a set");
        let elements = [under(name, set.to_element())];
        let mut candidates = ring.unwrap_keys(&elements, WrapContext::default());
        let opened = candidates.next().expect("opens");
        assert_eq!((opened.element, opened.secret.expose()), (0, &b"b"[..]));
        // The one that is named comes first.
        assert_eq!(
            log.lock().expect("a log").first(),
            Some(&"b:last".to_owned())
        );
        let report = candidates.into_report();
        assert_eq!(report.len(), 1);
        assert_eq!(report[0].recipients.len(), 2);
        assert_eq!(report[0].recipients[1].key_id.as_deref(), Some("kid-b"));
        assert_eq!(report[0].recipients[1].scheme, Scheme::Jwe);
    }
}

#[test]
fn a_set_is_looked_into_before_keys_are_asked_for() {
    /// Notes what it is told to prepare for.
    #[derive(Debug)]
    struct Far(Arc<Mutex<Vec<WrappedKey>>>);

    impl Identity for Far {
        fn opens(&self, scheme: &Scheme) -> bool {
            *scheme == Scheme::Jwe
        }

        fn fingerprint(&self) -> String {
            "far".into()
        }

        fn prepare(&self, wraps: &[WrappedKey]) {
            self.0.lock().expect("a list").extend(wraps.to_vec());
        }

        fn unwrap_key(
            &self,
            _: &WrappedKey,
            _: &WrapContext<'_>,
        ) -> Result<LayerSecret, UnwrapError> {
            Err(UnwrapError::NotForThisKey)
        }
    }

    let told = Arc::default();
    let mut ring = Keyring::new();
    ring.push(Box::new(Far(Arc::clone(&told)))).expect("room");
    let set = KeySet::new(vec![jwe("", "within")]).expect("a set");
    ring.prepare(&[jwe("", "beside"), under("vault", set.to_element())]);
    let told = told.lock().expect("a list");
    assert_eq!(*told, [jwe("", "beside"), jwe("", "within")]);
}

#[test]
fn a_set_that_cannot_be_read_says_so() {
    let ring = ring(&Log::default(), &[("a", None, true)]);
    let element = br#"{"v":2,"type":"sealift.keys","keys":[]}"#.to_vec();
    let elements = [under("vault", element)];
    let report = ring
        .unwrap_keys(&elements, WrapContext::default())
        .into_report();
    let name = "sealift.keys v2".into();
    let expected = Outcome::Failed(UnwrapError::UnsupportedAlgorithm { name });
    assert_eq!(report[0].outcome, expected);
}

/// A set of many keys costs what its keys cost, and hostile sets end at the ring's limit.
#[test]
fn sets_count_towards_the_limit_of_operations() {
    let log = Log::default();
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let identities: Vec<_> = names.iter().map(|name| (*name, None, false)).collect();
    let ring = ring(&log, &identities);
    let keys = (0..48).map(|n| jwe("", &n.to_string()));
    let set = KeySet::new(keys.collect()).expect("a set");
    let elements = vec![under("vault", set.to_element()); 64];
    let mut candidates = ring.unwrap_keys(&elements, WrapContext::default());
    assert!(candidates.next().is_none());
    let report = candidates.into_report();
    assert_eq!(log.lock().expect("a log").len(), Keyring::MAX_OPERATIONS);
    assert_eq!(
        report.last().map(|last| &last.outcome),
        Some(&Outcome::NotTried)
    );
}

/// A key that others are asked for.
#[derive(Debug)]
struct Remote(Recorder);

impl Identity for Remote {
    fn opens(&self, scheme: &Scheme) -> bool {
        self.0.opens(scheme)
    }

    fn cost(&self) -> usize {
        REMOTE_COST
    }

    fn fingerprint(&self) -> String {
        self.0.fingerprint()
    }

    fn unwrap_key(
        &self,
        wrapped: &WrappedKey,
        context: &WrapContext<'_>,
    ) -> Result<LayerSecret, UnwrapError> {
        self.0.unwrap_key(wrapped, context)
    }
}

#[test]
fn others_are_asked_less_often_than_keys_at_hand() {
    let log = Log::default();
    let mut ring = Keyring::new();
    ring.push(Box::new(Remote(Recorder {
        name: "a",
        key_id: None,
        opens: false,
        log: Arc::clone(&log),
    })))
    .expect("room");
    let elements: Vec<_> = (0..100).map(|mark| jwe("", &mark.to_string())).collect();
    let mut candidates = ring.unwrap_keys(&elements, WrapContext::default());
    assert!(candidates.next().is_none());
    let report = candidates.into_report();
    assert_eq!(log.lock().expect("a log").len(), 64);
    assert_eq!(
        (&report[63].outcome, &report[64].outcome),
        (
            &Outcome::Failed(UnwrapError::NotForThisKey),
            &Outcome::NotTried
        )
    );
}
