//! OpenPGP messages: what gpg and skopeo wrote, in `testdata/keywrap/openpgp`, then laws of reading, then what we write.
#![expect(clippy::panic, reason = "helpers of tests fail as tests do")]

use std::{fs, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use sealift_keywrap::{
    Identity, KeyError, Keyring, LayerSecret, MAX_ELEMENT_LEN, Password, Recipient, Scheme,
    UnwrapError, WrapContext, WrapError, WrappedKey, describe,
    openpgp::{
        Certificate, DecryptionKey, UnusableKey, is_key_file, parse_certificates, parse_secret,
    },
};
use serde_json::Value;
use zeroize::Zeroizing;

fn read(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/keywrap/openpgp");
    let path = folder.join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn secret() -> LayerSecret {
    LayerSecret::new(Zeroizing::new(read("secret.json")))
}

fn password() -> Password {
    "correct".into()
}

fn keys(name: &str) -> Vec<DecryptionKey> {
    parse_secret(&read(name), Some(&password())).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn key(name: &str) -> DecryptionKey {
    let mut keys = keys(&format!("{name}.sec.gpg"));
    assert_eq!(keys.len(), 1, "{name}");
    keys.remove(0)
}

fn certificate(name: &str) -> Certificate {
    let mut found = parse_certificates(&read(&format!("{name}.pub.gpg")))
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(found.len(), 1, "{name}");
    found
        .remove(0)
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn wrapped(element: Vec<u8>) -> WrappedKey {
    WrappedKey {
        scheme: Scheme::Pgp,
        element,
    }
}

/// Says how unwrapping ended.
fn outcome(identity: &DecryptionKey, element: Vec<u8>) -> String {
    match identity.unwrap_key(&wrapped(element), &WrapContext::default()) {
        Ok(secret) if secret.expose() == read("secret.json") => "opened".into(),
        Ok(_) => "opened to something else".into(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn every_element_of_skopeo_opens_to_its_private_options() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/ocicrypt");
    let json = |path: PathBuf| -> Value {
        serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON")
    };
    let file = fs::read(root.join("keys/pgp2.sec.gpg")).expect("a file");
    // The primary key may decrypt, too, and is not the one that skopeo chose.
    let keys = parse_secret(&file, None).expect("keys");
    assert_eq!(keys.len(), 2);
    let expected = &json(root.join("expected.json"))["pgp"];
    let name = expected["manifest"].as_str().expect("a digest");
    let manifest = json(root.join("pgp/blobs/sha256").join(&name[7..]));
    let layers = manifest["layers"].as_array().expect("layers");
    assert_eq!(layers.len(), 3);
    for (layer, facts) in layers
        .iter()
        .zip(expected["layers"].as_array().expect("layers"))
    {
        let element = &layer["annotations"]["org.opencontainers.image.enc.keys.pgp"];
        let element = STANDARD
            .decode(element.as_str().expect("text"))
            .expect("base64");
        // One RSA recipient, data in pieces.
        assert_eq!(element.len(), 527);
        let [primary, subkey] = &keys[..] else {
            panic!("not two keys");
        };
        let result = primary.unwrap_key(&wrapped(element.clone()), &WrapContext::default());
        assert_eq!(result.err(), Some(UnwrapError::NotForThisKey));
        let secret = subkey
            .unwrap_key(&wrapped(element), &WrapContext::default())
            .expect("a secret");
        assert_eq!(secret.expose().len(), 193);
        let options: Value = serde_json::from_slice(secret.expose()).expect("JSON");
        let octets = |value: &Value| {
            hex::encode(
                STANDARD
                    .decode(value.as_str().unwrap_or_default())
                    .expect("base64"),
            )
        };
        assert_eq!(octets(&options["symkey"]), facts["symkey"]);
        assert_eq!(octets(&options["cipheroptions"]["nonce"]), facts["nonce"]);
    }
}

#[test]
fn what_gpg_encrypted_opens_with_the_key_it_is_for_and_no_other() {
    let names = ["rsa2048", "cv25519", "p256", "p384", "p521", "primary-only"];
    for name in names {
        let element = read(&format!("for-{name}.gpg"));
        for other in names {
            let expected = if name == other {
                "opened"
            } else {
                "wrapped for another key"
            };
            assert_eq!(
                outcome(&key(other), element.clone()),
                expected,
                "{name} {other}"
            );
        }
    }
}

#[test]
fn every_form_of_message_ends_as_expected() {
    for (message, key_of, expected) in [
        ("aes128", "cv25519", "opened"),
        ("aes192", "cv25519", "opened"),
        ("password-beside", "cv25519", "opened"),
        ("for-several", "cv25519", "opened"),
        ("for-several", "p384", "opened"),
        ("for-several", "rsa2048", "opened"),
        ("for-several", "p256", "wrapped for another key"),
        // Whose recipients are kept secret.
        ("for-hidden", "cv25519", "opened"),
        ("for-hidden", "p384", "opened"),
        ("for-hidden", "p256", "wrapped for another key"),
        ("for-hidden", "rsa2048", "wrapped for another key"),
        ("partial", "cv25519", "opened to something else"),
        (
            "cast5",
            "cv25519",
            "unsupported key-wrapping algorithm `CAST5`",
        ),
        // Of an RSA session key nothing is told but that it does not fit.
        ("rsa-cast5", "rsa2048", "wrapped for another key"),
        (
            "compressed",
            "cv25519",
            "unsupported key-wrapping algorithm `compressed data`",
        ),
        (
            "signed",
            "cv25519",
            "unsupported key-wrapping algorithm `signed data`",
        ),
        (
            "password",
            "cv25519",
            "unsupported key-wrapping algorithm `password`",
        ),
    ] {
        let element = read(&format!("{message}.gpg"));
        assert_eq!(
            outcome(&key(key_of), element),
            expected,
            "{message} {key_of}"
        );
    }
}

#[test]
fn data_in_pieces_is_joined() {
    let opened = key("cv25519")
        .unwrap_key(&wrapped(read("partial.gpg")), &WrapContext::default())
        .expect("a secret");
    assert_eq!(
        opened.expose(),
        [read("secret.json"), vec![b' '; 9000]].concat()
    );
}

#[test]
fn data_without_integrity_protection_is_refused_by_name() {
    let element = read("for-cv25519.gpg");
    let at = 2 + usize::from(element[1]);
    assert_eq!(element[at], 0xd2);
    for (tag, version, reason) in [
        (0xc9, 1, "encrypted data without integrity protection"),
        (0xd4, 1, "AEAD encrypted data of GnuPG"),
        (0xd2, 2, "encrypted data of version 2"),
        (0xd2, 3, "encrypted data of another version"),
    ] {
        let mut element = element.clone();
        element[at] = tag;
        element[at + 3] = version;
        let expected = format!("unsupported key-wrapping algorithm `{reason}`");
        assert_eq!(outcome(&key("cv25519"), element), expected);
    }
}

#[test]
fn the_recipients_are_told_without_a_key() {
    let told = |name: &str| -> Vec<String> {
        describe(&wrapped(read(name)))
            .iter()
            .map(|info| {
                let algorithm = info.algorithm.as_deref().unwrap_or("unknown");
                format!("{algorithm} {}", info.key_id.as_deref().unwrap_or("hidden"))
            })
            .collect()
    };
    let id = |name: &str| key(name).key_id().expect("a key id").to_owned();
    assert_eq!(
        told("for-several.gpg"),
        [
            format!("RSA {}", id("rsa2048")),
            format!("ECDH {}", id("p384")),
            format!("ECDH {}", id("cv25519")),
        ]
    );
    assert_eq!(told("for-hidden.gpg"), ["ECDH hidden", "ECDH hidden"]);
    assert_eq!(told("password.gpg"), ["password hidden"]);
    assert_eq!(told("secret.json"), ["unknown hidden"]);
    assert!(key("cv25519").fingerprint().ends_with(&id("cv25519")));
}

#[test]
fn a_message_that_was_cut_opens_nothing() {
    for name in ["rsa2048", "cv25519"] {
        let (element, key) = (read(&format!("for-{name}.gpg")), key(name));
        for length in 0..element.len() {
            let result = key.unwrap_key(
                &wrapped(element[..length].to_vec()),
                &WrapContext::default(),
            );
            assert!(
                matches!(result, Err(UnwrapError::Malformed { .. })),
                "{name} {length}"
            );
        }
        let longer = [&element[..], &[0xca, 3, b'P', b'G', b'P']].concat();
        let expected = "malformed wrapped key: packets behind the encrypted data";
        assert_eq!(outcome(&key, longer), expected);
    }
}

#[test]
fn a_message_with_an_octet_changed_opens_nothing() {
    for (name, step) in [("rsa2048", 3), ("cv25519", 1), ("p384", 2)] {
        let (element, key) = (read(&format!("for-{name}.gpg")), key(name));
        for at in (0..element.len()).step_by(step) {
            let mut element = element.clone();
            element[at] ^= 0x01;
            // Only the reserved bit count in front of an integer says nothing.
            let outcome = outcome(&key, element);
            let is_bit_count = outcome == "opened" && at < 16;
            assert!(
                outcome != "opened" || is_bit_count,
                "{name} {at}: {outcome}"
            );
            assert_ne!(outcome, "opened to something else");
        }
    }
}

#[test]
fn a_changed_rsa_session_key_and_changed_data_look_alike() {
    let (element, key) = (read("for-rsa2048.gpg"), key("rsa2048"));
    let data = element.len() - 100;
    for at in [20, 100, 250, data, element.len() - 1] {
        let mut element = element.clone();
        element[at] ^= 0x40;
        let result = key.unwrap_key(&wrapped(element), &WrapContext::default());
        assert_eq!(result.err(), Some(UnwrapError::NotForThisKey), "{at}");
    }
    // For ECDH the session key is authenticated, and so the data is known to be altered.
    let mut element = read("for-cv25519.gpg");
    *element.last_mut().expect("an octet") ^= 1;
    let result = super_key().unwrap_key(&wrapped(element), &WrapContext::default());
    assert_eq!(result.err(), Some(UnwrapError::Authentication));
}

fn super_key() -> DecryptionKey {
    key("cv25519")
}

#[test]
fn an_element_beyond_the_limits_is_refused() {
    let element = read("for-cv25519.gpg");
    let at = 2 + usize::from(element[1]);
    let (recipient, data) = element.split_at(at);
    let many = |count| [&recipient.repeat(count), data].concat();
    assert_eq!(outcome(&key("cv25519"), many(64)), "opened");
    let expected = "malformed wrapped key: too many recipients";
    assert_eq!(outcome(&key("cv25519"), many(65)), expected);
    let long = vec![0xd2; MAX_ELEMENT_LEN + 1];
    assert_eq!(
        outcome(&key("cv25519"), long),
        "malformed wrapped key: element too long"
    );
}

#[test]
fn secret_keys_are_read_armoured_and_with_their_passphrase_alone() {
    let result = |name: &str, password: Option<&str>| {
        let password = password.map(Password::from);
        parse_secret(&read(name), password.as_ref()).map(|keys| keys.len())
    };
    assert_eq!(result("rsa2048.sec.gpg", Some("correct")), Ok(1));
    assert_eq!(result("rsa2048.sec.asc", Some("correct")), Ok(1));
    assert_eq!(result("cv25519.sec.asc", None), Ok(1));
    // A primary key without its secret, as `gpg --export-secret-subkeys` leaves it.
    assert_eq!(result("rsa2048-stub.sec.gpg", Some("correct")), Ok(1));
    assert_eq!(result("ring.sec.gpg", None), Ok(2));
    assert_eq!(result("twice.sec.gpg", None), Ok(2));
    for name in ["rsa2048.sec.gpg", "rsa2048.sec.asc", "rsa2048-stub.sec.gpg"] {
        assert_eq!(result(name, None), Err(KeyError::PasswordMissing), "{name}");
        assert_eq!(
            result(name, Some("wrong")),
            Err(KeyError::PasswordWrong),
            "{name}"
        );
        assert_eq!(
            result(name, Some("")),
            Err(KeyError::PasswordWrong),
            "{name}"
        );
    }
    assert_eq!(
        result("sign-only.sec.gpg", None),
        Err(KeyError::NotForDecryption)
    );
    assert_eq!(
        result("cv25519.pub.gpg", None),
        Err(KeyError::PrivateExpected)
    );
    assert_eq!(
        result("rsa2048.pub.asc", None),
        Err(KeyError::PrivateExpected)
    );
    assert_eq!(result("for-cv25519.gpg", None), Err(KeyError::NotAKey));
    assert_eq!(
        result("secret.json", None),
        Err(KeyError::Malformed {
            reason: "not an OpenPGP packet"
        })
    );
    // Of keys that have ended, what was sealed is opened still.
    for name in ["expired", "revoked", "subkey-revoked"] {
        assert_eq!(result(&format!("{name}.sec.gpg"), None), Ok(1), "{name}");
    }
}

#[test]
fn a_secret_that_is_elsewhere_or_protected_in_another_way_is_named() {
    // The certificate of `cv25519` as a secret key, with `protection` in place of its secrets.
    let with = |protection: &[u8]| {
        let mut file = Vec::new();
        let mut rest = &read("cv25519.pub.gpg")[..];
        while let [tag, length, ..] = *rest {
            let (packet, behind) = rest.split_at(2 + usize::from(length));
            let secret = match tag {
                0x98 => Some(0x94),
                0xb8 => Some(0x9c),
                _ => None,
            };
            match secret {
                Some(tag) => {
                    let body = [&packet[2..], protection].concat();
                    file.extend([tag, u8::try_from(body.len()).expect("short")]);
                    file.extend(body);
                }
                None => file.extend(packet),
            }
            rest = behind;
        }
        parse_secret(&file, Some(&password()))
            .err()
            .map(|error| error.to_string())
    };
    let elsewhere = "the secret is not in the file: it was left out, or is on a card";
    let unsupported = |name: &str| Some(format!("unsupported key encryption `{name}`"));
    let salt = [1_u8; 8];
    let s2k = |head: &[u8], count: &[u8]| [head, &salt, count, &[0; 16 + 60]].concat();
    for (protection, expected) in [
        (b"\xff\0\x65\0GNU\x01".to_vec(), Some(elsewhere.to_owned())),
        (
            b"\xfe\0\x65\0GNU\x02\x01\x07".to_vec(),
            Some(elsewhere.to_owned()),
        ),
        (
            b"\xff\0\x65\0GNU\x03".to_vec(),
            unsupported("extension of GnuPG"),
        ),
        (
            s2k(&[255, 7, 3, 2], &[96]),
            unsupported("secret key with a sum of 16 bits"),
        ),
        (s2k(&[254, 3, 3, 2], &[96]), unsupported("CAST5")),
        (s2k(&[254, 7, 3, 1], &[96]), unsupported("MD5")),
        (s2k(&[254, 7, 0, 2], &[]), unsupported("S2K without salt")),
        (s2k(&[254, 7, 4, 2], &[]), unsupported("Argon2")),
        (s2k(&[253, 9, 3, 8], &[96]), unsupported("AEAD")),
        (s2k(&[7, 0], &[]), unsupported("AES-128")),
        (
            s2k(&[254, 7, 3, 2], &[0xff]),
            Some("wrong password for this key".into()),
        ),
        (
            s2k(&[254, 7, 1, 2], &[]),
            Some("wrong password for this key".into()),
        ),
        (
            vec![0, 0, 1, 1, 0, 2],
            Some("malformed key: ECDH secret key".into()),
        ),
        (
            vec![0, 0, 1, 1, 0, 3],
            Some("malformed key: secret key and its sum differ".into()),
        ),
        (
            vec![254, 7],
            Some("malformed key: OpenPGP packet ends early".into()),
        ),
        (
            vec![],
            Some("malformed key: OpenPGP packet ends early".into()),
        ),
    ] {
        assert_eq!(with(&protection), expected, "{protection:x?}");
    }
}

#[test]
fn a_secret_key_that_was_cut_or_changed_is_not_read_as_another() {
    for (name, password) in [
        ("rsa2048.sec.gpg", Some(password())),
        ("cv25519.sec.gpg", None),
    ] {
        let file = read(name);
        let [expected] = &parse_secret(&file, password.as_ref()).expect("a key")[..] else {
            panic!("not one key");
        };
        let expected = expected.fingerprint();
        let step = if password.is_some() { 61 } else { 1 };
        for at in (0..file.len()).step_by(step) {
            let cut = parse_secret(&file[..at], password.as_ref());
            for key in cut.unwrap_or_default() {
                assert_eq!(key.fingerprint(), expected, "{name} {at}");
            }
            let mut changed = file.clone();
            changed[at] ^= 1;
            for key in parse_secret(&changed, password.as_ref()).unwrap_or_default() {
                // What is not in its fingerprint is not a matter of the key, and what is makes another.
                let opens = outcome(&key, read(&format!("for-{}", name.replace(".sec", ""))));
                assert!(
                    key.fingerprint() == expected || opens != "opened",
                    "{name} {at}"
                );
            }
        }
    }
}

#[test]
fn files_of_keys_are_told_from_everything_else() {
    for name in [
        "rsa2048.sec.gpg",
        "rsa2048.sec.asc",
        "cv25519.pub.gpg",
        "rsa2048.pub.asc",
    ] {
        assert!(is_key_file(&read(name)), "{name}");
    }
    for name in ["for-cv25519.gpg", "secret.json", "generate.sh"] {
        assert!(!is_key_file(&read(name)), "{name}");
    }
    for first in 0..=255 {
        assert!(!is_key_file(&[first; 32]));
    }
}

#[test]
fn a_certificate_encrypts_with_the_key_that_is_fit_for_it() {
    for (name, expected) in [
        ("rsa2048", Ok("RSA")),
        ("cv25519", Ok("ECDH")),
        ("p256", Ok("ECDH")),
        ("p384", Ok("ECDH")),
        ("p521", Ok("ECDH")),
        ("primary-only", Ok("RSA")),
        ("two", Ok("ECDH")),
        // Its newer subkey.
        ("twice", Ok("RSA")),
        ("expired", Err(UnusableKey::Expired)),
        ("revoked", Err(UnusableKey::Revoked)),
        ("subkey-revoked", Err(UnusableKey::Revoked)),
        ("sign-only", Err(UnusableKey::NoEncryptionKey)),
        (
            "weak",
            Err(UnusableKey::Unsupported {
                name: "SHA-1".into(),
            }),
        ),
    ] {
        let found = certificate(name).encryption_key(NOW);
        assert_eq!(
            found.as_ref().map(|key| key.algorithm()),
            expected.as_ref().copied(),
            "{name}"
        );
    }
}

#[test]
fn time_decides_which_key_is_fit() {
    let at = |name: &str, now| {
        certificate(name)
            .encryption_key(now)
            .map(|key| key.algorithm())
    };
    assert_eq!(at("expired", CREATED + 10), Ok("ECDH"));
    assert_eq!(at("expired", CREATED + 86_399), Ok("ECDH"));
    assert_eq!(at("expired", CREATED + 86_400), Err(UnusableKey::Expired));
    assert_eq!(at("twice", CREATED + 10), Ok("ECDH"));
    assert_eq!(at("cv25519", CREATED + 1), Ok("ECDH"));
    assert_eq!(at("cv25519", CREATED), Err(UnusableKey::NotYetValid));
    assert_eq!(at("cv25519", CREATED - 1), Err(UnusableKey::Unsigned));
    // What was revoked is revoked, whenever that was.
    assert_eq!(at("revoked", CREATED + 10), Err(UnusableKey::Revoked));
}

#[test]
fn a_revocation_that_cannot_be_understood_revokes() {
    let good = read("cv25519.pub.gpg");
    // The primary key: an old header with one octet of length.
    assert_eq!(good[0], 0x98);
    let end = 2 + usize::from(good[1]);
    let revoked_by = |subpackets: &[u8], hash: u8| {
        let length = u8::try_from(subpackets.len()).expect("few octets");
        let head = [4, 0x20, 22, hash, 0, length];
        // No unhashed subpackets, two octets of the hash, and the values r and s.
        let tail = [0, 0, 0, 0, 0, 1, 1, 0, 1, 1];
        let body = [&head[..], subpackets, &tail].concat();
        let length = u8::try_from(body.len()).expect("few octets");
        let packet = [&[0x88, length][..], &body].concat();
        let whole = [&good[..end], &packet, &good[end..]].concat();
        let found = parse_certificates(&whole).expect("packets");
        let [Ok(certificate)] = &found[..] else {
            panic!("not one certificate");
        };
        certificate.encryption_key(NOW).err()
    };
    let created = [5, 2, 0x69, 0x55, 0xb9, 0];
    let critical = [&created[..], &[2, 0x80 | 100, 0]].concat();
    assert_eq!(revoked_by(&critical, 8), Some(UnusableKey::Revoked));
    // Of an unknown hash, and without a time.
    assert_eq!(revoked_by(&created, 99), Some(UnusableKey::Revoked));
    assert_eq!(revoked_by(&[], 8), Some(UnusableKey::Revoked));
    // What is understood and not signed by the owner revokes nothing.
    assert_eq!(revoked_by(&created, 8), None);
}

#[test]
fn a_certificate_with_an_octet_changed_gives_its_own_key_or_none() {
    for name in ["cv25519", "p256"] {
        let file = read(&format!("{name}.pub.gpg"));
        let expected = certificate(name)
            .encryption_key(NOW)
            .expect("a key")
            .fingerprint();
        let mut refused = 0;
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            let found: Vec<_> = parse_certificates(&changed)
                .unwrap_or_default()
                .into_iter()
                .flatten()
                .filter_map(|certificate| certificate.encryption_key(NOW).ok())
                .map(|key| key.fingerprint())
                .collect();
            assert!(
                found.is_empty() || found == [expected.clone()],
                "{name} {at}"
            );
            refused += usize::from(found.is_empty());
        }
        // All but hints and names that nothing depends on.
        assert!(
            refused > file.len() * 9 / 10 - 40,
            "{name} {refused} of {}",
            file.len()
        );
    }
}

#[test]
fn a_subkey_of_somebody_else_is_no_key_of_this_certificate() {
    // The subkey of `p256`, with its own binding, behind the primary key of `sign-only`.
    let (victim, stranger) = (read("sign-only.pub.gpg"), read("p256.pub.gpg"));
    let subkey = stranger
        .windows(2)
        .rposition(|octets| octets[0] == 0xb8)
        .expect("a subkey");
    let found =
        parse_certificates(&[victim, stranger[subkey..].to_vec()].concat()).expect("packets");
    let [Ok(certificate)] = &found[..] else {
        panic!("not one certificate");
    };
    // Its binding names another issuer, and is not even looked at.
    assert_eq!(
        certificate.encryption_key(NOW).err(),
        Some(UnusableKey::NoEncryptionKey)
    );
    // And where it names this one it is not signed by it.
    let own = hex::decode(certificate.fingerprint()).expect("hex");
    let other = hex::decode(self::certificate("p256").fingerprint()).expect("hex");
    let mut forged = stranger[subkey..].to_vec();
    for (other, own) in [(&other[..], &own[..]), (&other[12..], &own[12..])] {
        while let Some(at) = forged
            .windows(other.len())
            .position(|octets| octets == other)
        {
            forged[at..at + own.len()].copy_from_slice(own);
        }
    }
    let found = parse_certificates(&[read("sign-only.pub.gpg"), forged].concat()).expect("packets");
    let [Ok(certificate)] = &found[..] else {
        panic!("not one certificate");
    };
    assert_eq!(
        certificate.encryption_key(NOW).err(),
        Some(UnusableKey::Unsigned)
    );
}

#[test]
fn names_find_the_certificates_whose_owner_signed_them() {
    let two = certificate("two");
    for name in [
        "two",
        "two <two@example.test>",
        "two@example.test",
        "Second@Example.test",
        "Second Name",
        "Second Name (comment)",
        "Second Name (comment) <second@example.test>",
    ] {
        assert!(two.has_user(name, u64::from(u32::MAX)), "{name}");
    }
    for name in [
        "",
        "Two",
        "example.test",
        "two@example",
        "Second",
        "(comment)",
        "comment",
        "<two@example.test>",
    ] {
        assert!(!two.has_user(name, u64::from(u32::MAX)), "{name}");
    }
    assert!(!two.has_user("two", CREATED - 1));
    // Not of a key whose signatures cannot be checked.
    assert!(!certificate("weak").has_user("weak", NOW));
    let names: Vec<_> = two.user_ids().collect();
    assert_eq!(names.len(), 2);
}

#[test]
fn fingerprints_and_long_key_ids_find_a_certificate_and_short_ones_never() {
    let certificate = certificate("cv25519");
    let primary = certificate.fingerprint();
    let subkey = certificate
        .encryption_key(NOW)
        .expect("a key")
        .fingerprint();
    assert_ne!(primary, subkey);
    for name in [&primary, &subkey] {
        assert_eq!(name.len(), 40);
        assert!(certificate.has_fingerprint(name));
        assert!(certificate.has_fingerprint(&name.to_uppercase()));
        assert!(certificate.has_fingerprint(&name[24..]));
        for short in [&name[32..], &name[25..], &name[1..], ""] {
            assert!(!certificate.has_fingerprint(short), "{short}");
        }
    }
}

#[test]
fn a_certificate_that_cannot_be_read_leaves_the_others() {
    let mut ring = read("ring.pub.gpg");
    let of = |ring: &[u8]| -> Vec<bool> {
        let found = parse_certificates(ring).expect("a ring");
        found.iter().map(Result::is_ok).collect()
    };
    assert_eq!(of(&ring), [true; 4]);
    // The version of the first key.
    assert_eq!(ring[3], 4);
    ring[3] = 3;
    assert_eq!(of(&ring), [false, true, true, true]);
    assert_eq!(
        parse_certificates(&read("cv25519.sec.gpg")).err(),
        Some(KeyError::PublicExpected)
    );
    assert_eq!(
        parse_certificates(&read("rsa2048.sec.asc")).err(),
        Some(KeyError::PublicExpected)
    );
    assert_eq!(parse_certificates(b"").err(), Some(KeyError::NotAKey));
    assert_eq!(
        parse_certificates(&read("for-cv25519.gpg")).err(),
        Some(KeyError::NotAKey)
    );
}

#[test]
fn what_we_write_is_opened_by_the_key_it_is_for() {
    let names = ["rsa2048", "cv25519", "p256", "p384", "p521", "primary-only"];
    for name in names {
        let recipient = certificate(name).encryption_key(NOW).expect("a key");
        let wrapped = recipient
            .wrap_key(&secret(), &WrapContext::default())
            .expect("an element");
        assert_eq!(wrapped.scheme, Scheme::Pgp);
        assert_eq!(recipient.fingerprint(), key(name).fingerprint());
        let [info] = &describe(&wrapped)[..] else {
            panic!("not one recipient");
        };
        assert_eq!(info.key_id.as_deref(), key(name).key_id());
        assert_eq!(info.algorithm.as_deref(), Some(recipient.algorithm()));
        for other in names {
            let expected = if name == other {
                "opened"
            } else {
                "wrapped for another key"
            };
            assert_eq!(outcome(&key(other), wrapped.element.clone()), expected);
        }
    }
    let recipient = certificate("cv25519").encryption_key(NOW).expect("a key");
    let long = LayerSecret::new(Zeroizing::new(vec![b'x'; MAX_ELEMENT_LEN]));
    assert_eq!(
        recipient.wrap_key(&long, &WrapContext::default()),
        Err(WrapError::TooLong {
            limit: MAX_ELEMENT_LEN
        })
    );
}

#[test]
fn a_ring_tries_the_named_key_first_and_hidden_recipients_with_all() {
    let mut ring = Keyring::new();
    for name in ["p256", "rsa2048", "cv25519"] {
        ring.push(Box::new(key(name))).expect("room");
    }
    for (message, expected) in [
        ("for-cv25519", true),
        ("for-hidden", true),
        ("for-p521", false),
    ] {
        let elements = [wrapped(read(&format!("{message}.gpg")))];
        let mut candidates = ring.unwrap_keys(&elements, WrapContext::default());
        let found = candidates.next().map(|unwrapped| unwrapped.fingerprint);
        assert_eq!(
            found,
            expected.then(|| key("cv25519").fingerprint()),
            "{message}"
        );
    }
}

#[test]
fn debug_output_holds_no_secret() {
    assert_eq!(
        format!("{:?}", key("cv25519")),
        format!(
            "DecryptionKey({})",
            key("cv25519").key_id().expect("a key id")
        )
    );
}

/// When most keys of the test were made: 2026-01-01.
const CREATED: u64 = 1_767_225_600;
/// A while later.
const NOW: u64 = CREATED + 100 * 86_400;
