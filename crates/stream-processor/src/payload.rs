//! What containerd sends beside the layer: a protobuf `Any` around JSON.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use indexmap::IndexMap;
use sealift_keywrap::Password;
use sealift_oci::json::{JsonError, Limits, check, excerpt};
use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use thiserror::Error;
use zeroize::Zeroizing;

/// The descriptor of the layer and, from clients that keep the keys themselves, private keys.
///
/// Nothing in it is authenticated.
#[derive(Debug, Default)]
pub struct Payload {
    /// The layer, with the annotations that carry its wrapped keys.
    pub descriptor: Option<LayerDescriptor>,
    /// Private keys, each with its password.
    pub keys: Vec<PayloadKey>,
    /// Files of certificates, which belong to some of the keys.
    pub certificates: Vec<Vec<u8>>,
    /// Files that name keys in PKCS #11 tokens (`pkcs11-yamls`). Which modules may be loaded is never taken from a payload.
    pub token_keys: Vec<Zeroizing<Vec<u8>>>,
    /// Names of parameters that this build does not read, keys of other kinds among them; some of many.
    pub ignored: Vec<Box<str>>,
}

/// As much of a layer's descriptor as opening it needs.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
pub struct LayerDescriptor {
    /// The sealed media type.
    #[serde(default, rename = "mediaType")]
    pub media_type: Option<String>,
    /// The digest of the ciphertext.
    #[serde(default)]
    pub digest: Option<String>,
    /// The annotations.
    #[serde(default)]
    pub annotations: Option<IndexMap<String, String>>,
}

/// A private key that came with the payload; silent under `Debug`.
pub struct PayloadKey {
    /// The key file's octets.
    pub file: Zeroizing<Vec<u8>>,
    /// The password that opens it.
    pub password: Option<Password>,
}

impl PayloadKey {
    /// Copies the password.
    pub(crate) fn password(&self) -> Option<Password> {
        let password = self.password.as_ref()?;
        Some(Password::new(password.expose().to_vec().into()))
    }
}

impl fmt::Debug for PayloadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PayloadKey(..)")
    }
}

impl Payload {
    /// Parses the octets of a payload.
    ///
    /// Lenient where containerd or its clients may change: unknown fields and members are skipped, null and missing
    /// members are alike.
    ///
    /// # Errors
    /// [`PayloadError`] for octets that are not protobuf, another message type, or JSON that is ambiguous.
    pub fn parse(octets: &[u8]) -> Result<Self, PayloadError> {
        if octets.len() > Self::MAX_LEN {
            return Err(PayloadError::TooLong {
                limit: Self::MAX_LEN,
            });
        }
        let any = Any::parse(octets).ok_or(PayloadError::Protobuf)?;
        let name = any.type_url.rsplit('/').next().unwrap_or_default();
        if name != Self::TYPE_URL {
            return Err(PayloadError::Type {
                name: excerpt(&any.type_url),
            });
        }
        let limits = Limits {
            len: Self::MAX_LEN,
            depth: MAX_DEPTH,
        };
        check(any.value, limits)?;
        let raw: RawPayload =
            serde_json::from_slice(any.value).map_err(|_| PayloadError::Members)?;
        let parameters = raw
            .decrypt_config
            .and_then(|config| config.parameters)
            .unwrap_or_default();
        let mut keys = Vec::new();
        for (files, passwords) in [
            (parameters.keys, parameters.passwords),
            (parameters.pgp_keys, parameters.pgp_passwords),
        ] {
            let passwords = passwords.unwrap_or_default();
            for (index, key) in files.unwrap_or_default().into_iter().enumerate() {
                if keys.len() >= Self::MAX_KEYS {
                    return Err(PayloadError::TooManyKeys {
                        limit: Self::MAX_KEYS,
                    });
                }
                let Some(Secret(file)) = key else { continue };
                let password = passwords.get(index).and_then(Option::as_ref);
                keys.push(PayloadKey {
                    file,
                    password: password
                        .filter(|Secret(password)| !password.is_empty())
                        .map(|Secret(password)| Password::new(password.clone())),
                });
            }
        }
        let certificates = parameters.certificates.unwrap_or_default();
        if certificates.len() > Self::MAX_KEYS {
            return Err(PayloadError::TooManyCertificates {
                limit: Self::MAX_KEYS,
            });
        }
        let certificates = certificates.into_iter().flatten();
        let token_keys = parameters.token_keys.unwrap_or_default();
        if token_keys.len() > Self::MAX_KEYS {
            return Err(PayloadError::TooManyKeys {
                limit: Self::MAX_KEYS,
            });
        }
        let token_keys = token_keys.into_iter().flatten();
        Ok(Self {
            descriptor: raw.descriptor,
            keys,
            certificates: certificates.map(|Secret(file)| file.to_vec()).collect(),
            token_keys: token_keys.map(|Secret(file)| file).collect(),
            ignored: parameters.ignored,
        })
    }

    /// The message type.
    pub const TYPE_URL: &'static str = "io.containerd.ocicrypt.v1.Payload";
    /// Most octets.
    pub const MAX_LEN: usize = 8 * 1024 * 1024;
    /// Most private keys, and most certificates.
    pub const MAX_KEYS: usize = 100;
    /// Most names that are kept of parameters that are not read.
    pub const MAX_IGNORED: usize = 8;
}

/// Why a payload was refused.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum PayloadError {
    /// Longer than any payload.
    #[error("payload is longer than {limit} octets")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// Not a protobuf `Any`.
    #[error("payload is not a protobuf message")]
    Protobuf,
    /// Another message.
    #[error("payload is of type `{name}`, not of ocicrypt's")]
    Type {
        /// The type's URL.
        name: Box<str>,
    },
    /// Not JSON as it is asked for here.
    #[error("payload does not hold a JSON object")]
    Json(#[from] JsonError),
    /// A member of another JSON type, or a key that is not base64.
    #[error("payload has a member of the wrong type")]
    Members,
    /// More private keys than a ring takes.
    #[error("payload has more than {limit} private keys")]
    TooManyKeys {
        /// The limit.
        limit: usize,
    },
    /// More certificates than there are keys for.
    #[error("payload has more than {limit} certificates")]
    TooManyCertificates {
        /// The limit.
        limit: usize,
    },
}

#[derive(Deserialize)]
struct RawPayload {
    #[serde(default, rename = "DecryptConfig")]
    decrypt_config: Option<RawConfig>,
    #[serde(default, rename = "Descriptor")]
    descriptor: Option<LayerDescriptor>,
}

#[derive(Deserialize)]
struct RawConfig {
    #[serde(default, rename = "Parameters")]
    parameters: Option<RawParameters>,
}

#[derive(Default)]
struct RawParameters {
    keys: Option<Vec<Option<Secret>>>,
    passwords: Option<Vec<Option<Secret>>>,
    pgp_keys: Option<Vec<Option<Secret>>>,
    pgp_passwords: Option<Vec<Option<Secret>>>,
    certificates: Option<Vec<Option<Secret>>>,
    token_keys: Option<Vec<Option<Secret>>>,
    ignored: Vec<Box<str>>,
}

// By hand, since serde's way to collect unknown members copies their values, which may be secrets.
impl<'de> Deserialize<'de> for RawParameters {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ParametersVisitor)
    }
}

struct ParametersVisitor;

impl<'de> Visitor<'de> for ParametersVisitor {
    type Value = RawParameters;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawParameters, A::Error> {
        let mut parameters = RawParameters::default();
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "privkeys" => parameters.keys = map.next_value()?,
                "privkeys-passwords" => parameters.passwords = map.next_value()?,
                "gpg-privatekeys" => parameters.pgp_keys = map.next_value()?,
                "gpg-privatekeys-passwords" => parameters.pgp_passwords = map.next_value()?,
                "x509s" => parameters.certificates = map.next_value()?,
                "pkcs11-yamls" => parameters.token_keys = map.next_value()?,
                _ => {
                    let value = map.next_value::<Option<IgnoredAny>>()?;
                    if value.is_some() && parameters.ignored.len() < Payload::MAX_IGNORED {
                        parameters.ignored.push(excerpt(&name));
                    }
                }
            }
        }
        Ok(parameters)
    }
}

/// Base64 of something that must be wiped.
struct Secret(Zeroizing<Vec<u8>>);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let mut octets = Zeroizing::new(Vec::with_capacity(text.len()));
        match STANDARD.decode_vec(text.as_bytes(), &mut octets) {
            Ok(()) => Ok(Self(octets)),
            Err(_) => Err(serde::de::Error::custom("not base64")),
        }
    }
}

/// `google.protobuf.Any`: a type URL and a value.
struct Any<'a> {
    type_url: String,
    value: &'a [u8],
}

impl<'a> Any<'a> {
    /// Reads the two fields and skips all others; of a repeated field the last counts, as protobuf has it.
    fn parse(mut octets: &'a [u8]) -> Option<Self> {
        let mut type_url = String::new();
        let mut value: &[u8] = &[];
        while !octets.is_empty() {
            let key = varint(&mut octets)?;
            match (key >> 3, key & 7) {
                (0, _) => return None,
                (1, 2) => type_url = std::str::from_utf8(field(&mut octets)?).ok()?.to_owned(),
                (2, 2) => value = field(&mut octets)?,
                (_, 0) => drop(varint(&mut octets)?),
                (_, 1) => drop(octets.split_off(..8)?),
                (_, 2) => drop(field(&mut octets)?),
                (_, 5) => drop(octets.split_off(..4)?),
                _ => return None,
            }
        }
        Some(Self { type_url, value })
    }
}

fn field<'a>(octets: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(varint(octets)?).ok()?;
    octets.split_off(..len)
}

fn varint(octets: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let octet = *octets.split_off_first()?;
        let bits = u64::from(octet & 0x7f);
        // The tenth octet has room for one bit.
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if octet & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Most objects and arrays within each other.
const MAX_DEPTH: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn any(type_url: &str, value: &[u8]) -> Vec<u8> {
        let mut octets = vec![0x0a, u8::try_from(type_url.len()).unwrap()];
        octets.extend(type_url.as_bytes());
        octets.push(0x12);
        let mut len = value.len();
        while len > 0x7f {
            octets.push(u8::try_from(len & 0x7f).unwrap() | 0x80);
            len >>= 7;
        }
        octets.push(u8::try_from(len).unwrap());
        octets.extend(value);
        octets
    }

    fn parse(json: &str) -> Result<Payload, PayloadError> {
        Payload::parse(&any(Payload::TYPE_URL, json.as_bytes()))
    }

    #[test]
    fn reads_what_kubernetes_sends() {
        let payload = parse(
            r#"{"DecryptConfig":{"Parameters":null},"Descriptor":{"mediaType":"a/b+encrypted","digest":"sha256:00","size":5,"annotations":{"k":"\u003cv"}}}"#,
        )
        .unwrap();
        let descriptor = payload.descriptor.unwrap();
        assert_eq!(descriptor.media_type.as_deref(), Some("a/b+encrypted"));
        assert_eq!(descriptor.digest.as_deref(), Some("sha256:00"));
        assert_eq!(descriptor.annotations.unwrap()["k"], "<v");
        assert_eq!(payload.keys.len(), 0);
    }

    #[test]
    fn reads_the_keys_of_clients_that_bring_their_own() {
        let payload = parse(
            r#"{"DecryptConfig":{"Parameters":{"privkeys":["YQ==","Yg==",null],"privkeys-passwords":[null,"cHc="],"gpg-privatekeys":null,"gpg-pubkeyringfile":["AA=="],"x509s":["Yw==",null]}}}"#,
        )
        .unwrap();
        assert_eq!(payload.ignored, ["gpg-pubkeyringfile".into()]);
        assert_eq!(payload.certificates, [b"c".to_vec()]);
        let keys: Vec<_> = payload
            .keys
            .iter()
            .map(|key| {
                (
                    key.file.to_vec(),
                    key.password
                        .as_ref()
                        .map(|password| password.expose().to_vec()),
                )
            })
            .collect();
        assert_eq!(
            keys,
            [(b"a".to_vec(), None), (b"b".to_vec(), Some(b"pw".to_vec()))]
        );
        assert_eq!(payload.descriptor, None);
    }

    #[test]
    fn openpgp_keys_follow_the_others_each_with_its_password() {
        let payload = parse(
            r#"{"DecryptConfig":{"Parameters":{"gpg-privatekeys":["Yw==","ZA=="],"gpg-privatekeys-passwords":["cA==",null],"privkeys":["YQ=="]}}}"#,
        )
        .unwrap();
        let password = |key: &PayloadKey| key.password().map(|it| it.expose().to_vec());
        let keys = payload.keys.iter();
        let keys: Vec<_> = keys.map(|key| (key.file.to_vec(), password(key))).collect();
        assert_eq!(
            keys,
            [
                (b"a".to_vec(), None),
                (b"c".to_vec(), Some(b"p".to_vec())),
                (b"d".to_vec(), None)
            ]
        );
        assert!(payload.ignored.is_empty());
    }

    #[test]
    fn keeps_few_names_of_what_it_does_not_read_and_shortens_them() {
        let members: Vec<_> = (0..20).map(|i| format!(r#""k{i}":[]"#)).collect();
        let json = |members: &str| format!(r#"{{"DecryptConfig":{{"Parameters":{{{members}}}}}}}"#);
        let payload = parse(&json(&members.join(","))).unwrap();
        assert_eq!(
            payload.ignored,
            ["k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"].map(Into::into)
        );
        let long = "k".repeat(5000);
        let payload = parse(&json(&format!(r#""{long}":[]"#))).unwrap();
        assert_eq!(payload.ignored, [excerpt(&long)]);
        assert_eq!(
            parse(r#"{"DecryptConfig":{"Parameters":[]}}"#).unwrap_err(),
            PayloadError::Members
        );
    }

    #[test]
    fn skips_fields_of_the_future() {
        let mut octets = vec![
            0x18, 0x96, 0x01, 0x21, 1, 2, 3, 4, 5, 6, 7, 8, 0x2d, 1, 2, 3, 4, 0x32, 1, 0xff,
        ];
        octets.extend(any(
            &format!("type.googleapis.com/{}", Payload::TYPE_URL),
            b"{\"Future\":[1]}",
        ));
        assert_eq!(Payload::parse(&octets).unwrap().descriptor, None);
    }

    #[test]
    fn takes_key_files_for_tokens_and_no_list_of_modules() {
        let payload = parse(
            r#"{"DecryptConfig":{"Parameters":{"pkcs11-yamls":["YTogYg==",null],"pkcs11-config":["YTogYg=="]}}}"#,
        )
        .unwrap();
        assert_eq!(payload.token_keys.len(), 1);
        assert_eq!(*payload.token_keys[0], b"a: b");
        assert_eq!(payload.ignored, ["pkcs11-config".into()]);
        let many = vec!["\"YQ==\""; Payload::MAX_KEYS + 1].join(",");
        let json = format!(r#"{{"DecryptConfig":{{"Parameters":{{"pkcs11-yamls":[{many}]}}}}}}"#);
        let limit = Payload::MAX_KEYS;
        assert_eq!(
            parse(&json).unwrap_err(),
            PayloadError::TooManyKeys { limit }
        );
    }

    #[test]
    fn refuses_what_is_not_a_payload() {
        let url = Payload::TYPE_URL;
        let cut = |octets: &[u8]| octets[..octets.len() - 1].to_vec();
        let table: &[(&str, Vec<u8>, PayloadError)] = &[
            ("nothing", vec![], PayloadError::Type { name: "".into() }),
            ("cut", cut(&any(url, b"{}")), PayloadError::Protobuf),
            ("field 0", vec![0x02, 0], PayloadError::Protobuf),
            ("group", vec![0x0b], PayloadError::Protobuf),
            ("endless varint", vec![0x80; 20], PayloadError::Protobuf),
            (
                "65 bits",
                vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
                PayloadError::Protobuf,
            ),
            (
                "huge length",
                vec![0x12, 0xff, 0xff, 0xff, 0xff, 0x0f],
                PayloadError::Protobuf,
            ),
            (
                "another type",
                any("x.y/z", b"{}"),
                PayloadError::Type {
                    name: "x.y/z".into(),
                },
            ),
            (
                "no JSON",
                any(url, b""),
                PayloadError::Json(JsonError::Syntax { line: 1, column: 0 }),
            ),
            (
                "twice",
                any(url, br#"{"Descriptor":{"digest":"a","digest":"b"}}"#),
                PayloadError::Json(JsonError::Duplicate {
                    name: "digest".into(),
                }),
            ),
            (
                "a number",
                any(url, br#"{"Descriptor":{"digest":1}}"#),
                PayloadError::Members,
            ),
            (
                "a key that is not base64",
                any(
                    url,
                    br#"{"DecryptConfig":{"Parameters":{"privkeys":["%"]}}}"#,
                ),
                PayloadError::Members,
            ),
            (
                "too long",
                vec![0; Payload::MAX_LEN + 1],
                PayloadError::TooLong {
                    limit: Payload::MAX_LEN,
                },
            ),
        ];
        for (name, octets, expected) in table {
            assert_eq!(Payload::parse(octets).unwrap_err(), *expected, "{name}");
        }
        let keys = vec!["\"YQ==\""; Payload::MAX_KEYS + 1].join(",");
        let json = format!(r#"{{"DecryptConfig":{{"Parameters":{{"privkeys":[{keys}]}}}}}}"#);
        assert_eq!(
            parse(&json).unwrap_err(),
            PayloadError::TooManyKeys {
                limit: Payload::MAX_KEYS
            }
        );
    }
}
