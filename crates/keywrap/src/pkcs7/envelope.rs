//! `EnvelopedData` (RFC 5652, section 6) and `AuthEnvelopedData` (RFC 5083), down to what opening one needs.

use super::{
    MAX_RECIPIENTS,
    algorithm::{
        AUTH_ENVELOPED_DATA, ContentEncryption, DATA, ENVELOPED_DATA, KeyTransport, name, oid,
    },
    content::{Content, TAG_LEN, gcm_nonce},
    der::{
        CONSTRUCTED_0, CONSTRUCTED_1, CONSTRUCTED_2, Element, OCTET_STRING, PRIMITIVE_0, Reader,
        SEQUENCE, SET,
    },
    name::IssuerAndSerial,
};
use crate::{MAX_ELEMENT_LEN, UnwrapError};

/// An envelope whose structure has been checked, and nothing else.
#[derive(Debug)]
pub struct Envelope {
    /// The name of the content encryption where it is none of ours: nobody can open the envelope then.
    pub(super) content: Result<Content, Box<str>>,
    pub(super) recipients: Vec<RecipientPart>,
}

/// What an envelope holds for one recipient.
#[derive(Debug)]
pub struct RecipientPart {
    pub(super) id: RecipientId,
    /// The name of the algorithm where it is none of ours.
    pub(super) transport: Result<KeyTransport, Box<str>>,
    pub(super) encrypted_key: Vec<u8>,
}

/// How a recipient is named.
#[derive(Debug)]
pub(super) enum RecipientId {
    Certificate(IssuerAndSerial),
    /// A kind of `RecipientInfo` or of name that we do not implement.
    Other(&'static str),
}

impl RecipientPart {
    /// Returns the name of the key-encryption algorithm, or of the kind of recipient we do not implement.
    pub fn algorithm(&self) -> &str {
        match (&self.id, &self.transport) {
            (RecipientId::Other(kind), _) => kind,
            (_, Ok(transport)) => transport.name(),
            (_, Err(name)) => name,
        }
    }

    /// Returns issuer and serial number of the recipient's certificate.
    pub const fn certificate(&self) -> Option<&IssuerAndSerial> {
        match &self.id {
            RecipientId::Certificate(name) => Some(name),
            RecipientId::Other(_) => None,
        }
    }
}

impl Envelope {
    /// Reads a DER `ContentInfo`.
    ///
    /// # Errors
    /// [`UnwrapError::Malformed`], also for BER that is not DER; [`UnwrapError::UnsupportedAlgorithm`] for another type
    /// of content, and for attributes. Algorithms that are unknown are an error of opening, each of its recipient or of all.
    pub fn parse(element: &[u8]) -> Result<Self, UnwrapError> {
        if element.len() > MAX_ELEMENT_LEN {
            return Err(UnwrapError::malformed("element too long"));
        }
        let mut info = Reader::whole(element, SEQUENCE, "not a ContentInfo")?;
        let kind = oid(&mut info, "not a ContentInfo")?;
        let explicit = info.enter(CONSTRUCTED_0, "content of a ContentInfo")?;
        info.end()?;
        match kind {
            ENVELOPED_DATA => Self::enveloped(explicit),
            AUTH_ENVELOPED_DATA => Self::auth_enveloped(explicit),
            other => Err(UnwrapError::unsupported(&name(&other))),
        }
    }

    /// Returns what the envelope says about each recipient.
    pub fn recipients(&self) -> impl Iterator<Item = &RecipientPart> {
        self.recipients.iter()
    }

    fn enveloped(mut explicit: Reader<'_>) -> Result<Self, UnwrapError> {
        let mut data = explicit.enter(SEQUENCE, "not an EnvelopedData")?;
        explicit.end()?;
        version(&mut data, &[0, 2, 3, 4])?;
        let recipients = recipients(&mut data)?;
        let encrypted = EncryptedContentInfo::read(&mut data)?;
        if data.peek() == Some(CONSTRUCTED_1) {
            return Err(UnwrapError::unsupported("unprotectedAttrs"));
        }
        data.end()?;
        let content = encrypted.split(|octets| {
            let (ciphertext, tag) = octets
                .split_last_chunk::<TAG_LEN>()
                .ok_or(UnwrapError::malformed("content is shorter than its tag"))?;
            Ok((ciphertext, *tag))
        })?;
        Ok(Self {
            content,
            recipients,
        })
    }

    fn auth_enveloped(mut explicit: Reader<'_>) -> Result<Self, UnwrapError> {
        let mut data = explicit.enter(SEQUENCE, "not an AuthEnvelopedData")?;
        explicit.end()?;
        version(&mut data, &[0])?;
        let recipients = recipients(&mut data)?;
        let encrypted = EncryptedContentInfo::read(&mut data)?;
        if data.peek() == Some(CONSTRUCTED_1) {
            return Err(UnwrapError::unsupported("authAttrs"));
        }
        let mac = data.read(OCTET_STRING, "mac")?.contents;
        if data.peek() == Some(CONSTRUCTED_2) {
            return Err(UnwrapError::unsupported("unauthAttrs"));
        }
        data.end()?;
        let content = encrypted.split(|octets| {
            let tag = mac
                .try_into()
                .map_err(|_| UnwrapError::malformed("mac is not of 16 octets"))?;
            Ok((octets, tag))
        })?;
        Ok(Self {
            content,
            recipients,
        })
    }
}

/// Reads a version that is one of `known`.
fn version(data: &mut Reader<'_>, known: &[u8]) -> Result<u8, UnwrapError> {
    match data.integer("version")? {
        [version] if known.contains(version) => Ok(*version),
        _ => Err(UnwrapError::malformed("version that does not exist")),
    }
}

fn recipients(data: &mut Reader<'_>) -> Result<Vec<RecipientPart>, UnwrapError> {
    // Certificates that a sender adds (`originatorInfo`) matter to nobody here.
    if data.peek() == Some(CONSTRUCTED_0) {
        data.next()?;
    }
    let mut set = data.enter(SET, "recipients")?;
    let mut recipients = Vec::new();
    while !set.is_empty() {
        if recipients.len() == MAX_RECIPIENTS {
            return Err(UnwrapError::malformed("too many recipients"));
        }
        recipients.push(recipient(&set.next()?)?);
    }
    if recipients.is_empty() {
        return Err(UnwrapError::malformed("no recipient"));
    }
    Ok(recipients)
}

/// Reads a `RecipientInfo` (RFC 5652, section 6.2): of five kinds we open one, and pass over the others.
fn recipient(info: &Element<'_>) -> Result<RecipientPart, UnwrapError> {
    let other = |kind: &'static str| {
        Ok(RecipientPart {
            id: RecipientId::Other(kind),
            transport: Err(kind.into()),
            encrypted_key: Vec::new(),
        })
    };
    match info.tag {
        SEQUENCE => key_transport(Reader::new(info.contents)),
        CONSTRUCTED_1 => other("KeyAgreeRecipientInfo"),
        CONSTRUCTED_2 => other("KEKRecipientInfo"),
        0xa3 => other("PasswordRecipientInfo"),
        0xa4 => other("OtherRecipientInfo"),
        _ => Err(UnwrapError::malformed("recipient")),
    }
}

fn key_transport(mut members: Reader<'_>) -> Result<RecipientPart, UnwrapError> {
    let version = version(&mut members, &[0, 2])?;
    let id = match (version, members.peek()) {
        (0, _) => {
            let name = members.enter(SEQUENCE, "issuer and serial number")?;
            RecipientId::Certificate(IssuerAndSerial::read(name)?)
        }
        (_, Some(PRIMITIVE_0)) => {
            members.next()?;
            RecipientId::Other("subjectKeyIdentifier")
        }
        _ => return Err(UnwrapError::malformed("recipient's name")),
    };
    let algorithm = members.read(SEQUENCE, "key encryption algorithm")?;
    let encrypted_key = members.read(OCTET_STRING, "encrypted key")?.contents;
    members.end()?;
    Ok(RecipientPart {
        id,
        transport: KeyTransport::recognise(algorithm.encoding)?,
        encrypted_key: encrypted_key.to_vec(),
    })
}

struct EncryptedContentInfo<'a> {
    algorithm: Reader<'a>,
    content: &'a [u8],
}

impl<'a> EncryptedContentInfo<'a> {
    fn read(data: &mut Reader<'a>) -> Result<Self, UnwrapError> {
        let mut info = data.enter(SEQUENCE, "encrypted content")?;
        let kind = oid(&mut info, "type of the encrypted content")?;
        if kind != DATA {
            return Err(UnwrapError::unsupported(&name(&kind)));
        }
        let algorithm = info.enter(SEQUENCE, "content encryption algorithm")?;
        let content = info.next()?;
        info.end()?;
        let content = match content.tag {
            PRIMITIVE_0 => content.contents,
            // Go's older library puts an OCTET STRING inside, where `[0]` should stand in its place.
            CONSTRUCTED_0 => {
                let mut pieces = Reader::new(content.contents);
                let piece = pieces.read(OCTET_STRING, "encrypted content")?.contents;
                pieces.end()?;
                piece
            }
            _ => return Err(UnwrapError::malformed("encrypted content")),
        };
        Ok(Self { algorithm, content })
    }

    /// Recognises the algorithm, and takes ciphertext and tag as `parts` finds them.
    fn split(
        mut self,
        parts: impl FnOnce(&'a [u8]) -> Result<(&'a [u8], [u8; TAG_LEN]), UnwrapError>,
    ) -> Result<Result<Content, Box<str>>, UnwrapError> {
        let kind = oid(&mut self.algorithm, "content encryption algorithm")?;
        let Some(encryption) = ContentEncryption::from_oid(&kind) else {
            return Ok(Err(name(&kind)));
        };
        let nonce = gcm_nonce(&self.algorithm.next()?)?;
        self.algorithm.end()?;
        let (ciphertext, tag) = parts(self.content)?;
        Ok(Ok(Content {
            encryption,
            nonce,
            ciphertext: ciphertext.to_vec(),
            tag,
        }))
    }
}
