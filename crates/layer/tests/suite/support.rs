//! What the integration tests share: an envelope without secrets, a vector reader, and a driver for both formats.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sealift_keywrap::{
    Identity, Keyring, LayerSecret, Recipient, Scheme, UnwrapError, WrapContext, WrapError,
    WrappedKey,
};
use sealift_layer::chunked::Commitment;
use sealift_layer::{
    Claims, CtrHmacLayer, Fact, FormatError, Intake, LayerId, LayerKey, OpenError, OriginalKey,
    Place, Release, SecretSource, Start,
};
use sealift_oci::json::JsonError;
use sealift_oci::{Algorithm, Hasher};

/// The envelope of the vectors: private options in clear, under `provider.plain`.
#[derive(Debug)]
pub(crate) struct Clear;

fn scheme() -> Scheme {
    Scheme::Provider("plain".into())
}

impl Recipient for Clear {
    fn scheme(&self) -> Scheme {
        scheme()
    }

    fn fingerprint(&self) -> String {
        "c1ea5".into()
    }

    fn wrap_key(&self, secret: &LayerSecret, _: &WrapContext<'_>) -> Result<WrappedKey, WrapError> {
        Ok(WrappedKey {
            scheme: scheme(),
            element: secret.expose().to_vec(),
        })
    }
}

impl Identity for Clear {
    fn opens(&self, other: &Scheme) -> bool {
        *other == scheme()
    }

    fn fingerprint(&self) -> String {
        "c1ea5".into()
    }

    fn unwrap_key(
        &self,
        wrapped: &WrappedKey,
        _: &WrapContext<'_>,
    ) -> Result<LayerSecret, UnwrapError> {
        Ok(LayerSecret::new(wrapped.element.clone().into()))
    }
}

/// Everybody who can open vectors.
pub(crate) fn keys() -> Keyring {
    let mut keys = Keyring::new();
    keys.push(Box::new(Clear)).unwrap();
    keys
}

/// A vector: header lines, an empty line, octets.
pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) fields: HashMap<String, Vec<String>>,
    pub(crate) body: Vec<u8>,
}

impl Vector {
    pub(crate) fn field(&self, name: &str) -> &str {
        self.optional(name)
            .unwrap_or_else(|| panic!("{}: no `{name}`", self.name))
    }

    pub(crate) fn optional(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(|values| values[0].as_str())
    }

    pub(crate) fn claims(&self) -> Result<Claims, OpenError> {
        let media_type = self.field("media-type").parse().unwrap();
        let annotations = self.fields.get("annotation").map_or(&[][..], Vec::as_slice);
        Claims::new(
            &media_type,
            annotations.iter().map(|line| line.split_once('=').unwrap()),
        )
    }
}

/// Reads all vectors of a folder below `testdata/layer`.
pub(crate) fn vectors(folder: &str) -> Vec<Vector> {
    let folder = testdata().join("layer").join(folder);
    let mut vectors: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| vector(&entry.unwrap().path()))
        .collect();
    vectors.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(!vectors.is_empty());
    vectors
}

pub(crate) fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata")
}

fn vector(path: &Path) -> Vector {
    let octets = std::fs::read(path).unwrap();
    let end = octets.windows(2).position(|pair| pair == b"\n\n").unwrap();
    let mut fields = HashMap::<String, Vec<String>>::new();
    for line in std::str::from_utf8(&octets[..end]).unwrap().lines() {
        let (name, value) = line
            .split_once(": ")
            .unwrap_or((line.trim_end_matches(':'), ""));
        fields.entry(name.into()).or_default().push(value.into());
    }
    Vector {
        name: path.file_stem().unwrap().to_str().unwrap().into(),
        fields,
        body: octets[end + 2..].to_vec(),
    }
}

/// The key that a vector of `original/` is to be opened with.
pub(crate) fn original_key(vector: &Vector) -> OriginalKey {
    let key = LayerKey::from_octets(&hex::decode(vector.field("layer-key")).unwrap()).unwrap();
    let id = vector.field("id");
    let id = match id.parse() {
        Ok(digest) => LayerId::Ciphertext(digest),
        Err(_) => LayerId::Commitment(Commitment(hex::decode(id).unwrap().try_into().unwrap())),
    };
    OriginalKey::new(key, &id)
}

/// How the end of a layer is released.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    Digest,
    Stream,
}

/// Opens a blob fed in pieces of `piece` octets; returns what was released, and the outcome.
pub(crate) fn open(
    claims: Result<Claims, OpenError>,
    blob: &[u8],
    piece: usize,
    end: End,
    keys: &impl SecretSource,
) -> (Vec<u8>, Result<(), OpenError>) {
    let mut out = Vec::new();
    let outcome = claims.and_then(|claims| open_into(&claims, blob, piece, end, keys, &mut out));
    (out, outcome)
}

fn open_into(
    claims: &Claims,
    blob: &[u8],
    piece: usize,
    end: End,
    keys: &impl SecretSource,
    out: &mut Vec<u8>,
) -> Result<(), OpenError> {
    let context = WrapContext::default();
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
    match start {
        Start::Chunked(mut layer) => {
            let mut opener = layer.unlock(claims, keys, &context)?;
            // What came with the beginning is released before the next piece.
            for piece in std::iter::once(&[][..]).chain(pieces) {
                if let Err(error) = opener.update(piece, out) {
                    let released = out.len();
                    assert_eq!(opener.update(b"more", out), Err(error));
                    assert_eq!(out.len(), released, "an error is sticky");
                    return opener.finish(Release::AfterLastChunk, out).map(drop);
                }
            }
            let release = match end {
                End::Stream => Release::AfterLastChunk,
                End::Digest => {
                    let mut hasher = Hasher::new(
                        opener
                            .plain_digest()
                            .map_or(Algorithm::Sha256, |digest| digest.algorithm()),
                    );
                    hasher.update(out);
                    Release::AfterDigest(hasher)
                }
            };
            opener.finish(release, out).map(drop)
        }
        Start::CtrHmac(mut spool) => {
            for piece in pieces {
                spool.extend_from_slice(piece);
            }
            let mut layer = CtrHmacLayer::new(claims, &spool)?;
            let checked = loop {
                let mut unchecked = layer.unlock(keys, &context)?;
                for piece in spool.chunks(piece) {
                    unchecked.update(piece);
                }
                match unchecked.finish() {
                    Ok(checked) => break checked,
                    Err(OpenError::Authentication) => {}
                    Err(error) => return Err(error),
                }
            };
            let mut decryptor = checked.decrypt_from(0)?;
            for piece in spool.chunks(piece) {
                decryptor.update(piece, out)?;
            }
            decryptor.finish()
        }
    }
}

/// Says an outcome in the words of the vectors.
pub(crate) fn describe(outcome: &Result<(), OpenError>) -> String {
    let error = match outcome {
        Ok(()) => return "success".into(),
        Err(error) => error,
    };
    match error {
        OpenError::NoKey { .. } => "no-key".into(),
        OpenError::Authentication => "authentication".into(),
        OpenError::Truncated { after: None } => "truncated none".into(),
        OpenError::Truncated { after: Some(chunk) } => format!("truncated {chunk}"),
        OpenError::UnsupportedCipher { name } => format!("unsupported-cipher {name}"),
        OpenError::NotSealed { first } => format!("not-sealed {}", hex::encode(first.as_slice())),
        OpenError::Disagreement { what, one, other } => {
            let what: &str = match what {
                Fact::Cipher => "cipher",
                Fact::Commitment => "commitment",
                Fact::MediaType => "media type",
                Fact::Nonce => "nonce",
                _ => panic!("{what:?}"),
            };
            format!("disagreement {what} {} {}", place(*one), place(*other))
        }
        OpenError::MissingOptions => "missing-options".into(),
        OpenError::Malformed { place: at, source } => {
            format!("malformed {} {}", place(*at), fault(source))
        }
        other => panic!("{other:?}"),
    }
}

fn place(place: Place) -> &'static str {
    match place {
        Place::Descriptor => "descriptor",
        Place::Header => "header",
        Place::Message => "message",
        Place::PublicOptions => "public-options",
        Place::PrivateOptions => "private-options",
        Place::Original => "original",
        other => panic!("{other:?}"),
    }
}

fn fault(fault: &FormatError) -> String {
    match fault {
        FormatError::Json(JsonError::TooLong { .. }) => "too-long".into(),
        FormatError::Json(JsonError::TooDeep) => "too-deep".into(),
        FormatError::Json(JsonError::Duplicate { .. }) => "duplicate".into(),
        FormatError::Json(JsonError::Syntax { .. }) => "syntax".into(),
        FormatError::Json(JsonError::NotAnObject) => "not-an-object".into(),
        FormatError::Missing { member } => format!("missing {member}"),
        FormatError::WrongType { member } => format!("wrong-type {member}"),
        FormatError::Base64 { member } if member.contains('.') => "base64".into(),
        FormatError::Base64 { member } => format!("base64 {member}"),
        FormatError::Length { member, .. } => format!("length {member}"),
        FormatError::TooMuch { .. } => "too-much".into(),
        FormatError::MediaType(_) => "media-type".into(),
        FormatError::Digest => "digest".into(),
        FormatError::OriginalForm => "form".into(),
        other => panic!("{other:?}"),
    }
}
