use std::io::Read;

use sealift_keywrap::{WrappedKey, describe};
use sealift_layer::{Cipher, Header, Intake, PublicOptions, Start, Wraps, element_id};
use sealift_oci::{Descriptor, Digest, MediaType, Platform};
use sealift_registry::Source;

use crate::error::ImageError;
use crate::opening::claims_of;
use crate::tree::{Image, Tree};

/// What can be told of an image without any key.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Digest of what the reference names.
    pub digest: Digest,
    /// Its type.
    pub media_type: MediaType,
    /// Its exact octets.
    pub octets: Vec<u8>,
    /// Every manifest, in order; attestations are not among them.
    pub manifests: Vec<InspectedManifest>,
    /// Digest of what it becomes when it is opened; `None` when nobody opened a layer of it.
    pub opened: Option<Digest>,
}

/// One image of an index, or the only one.
#[derive(Clone, Debug)]
pub struct InspectedManifest {
    /// Digest of the manifest.
    pub digest: Digest,
    /// Its type.
    pub media_type: MediaType,
    /// What it runs on.
    pub platform: Option<Platform>,
    /// Whether the configuration was replaced by a minimal one.
    pub config_sealed: bool,
    /// Its layers, base first.
    pub layers: Vec<InspectedLayer>,
}

/// One layer.
#[derive(Clone, Debug)]
pub struct InspectedLayer {
    /// Place in the image, 0 is the base.
    pub index: usize,
    /// Digest of the blob as it is stored.
    pub digest: Digest,
    /// Its length in octets.
    pub size: u64,
    /// Its type as it stands in the manifest.
    pub media_type: MediaType,
    /// Whether it is sealed.
    pub sealed: bool,
    /// Name of the cipher, where it can be read.
    pub cipher: Option<String>,
    /// Who may open it.
    pub recipients: Vec<InspectedRecipient>,
    /// The wrapped keys behind these recipients, as they were found.
    pub wraps: Vec<WrappedKey>,
    /// Whether it authenticated; `None` when nobody tried.
    pub authenticated: Option<bool>,
}

/// One recipient of a layer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InspectedRecipient {
    /// What names the wrapped key, in its layer.
    pub element: String,
    /// The envelope, such as `jwe`.
    pub scheme: String,
    /// The key-wrapping algorithm, where the envelope tells.
    pub algorithm: Option<String>,
    /// The key ID, where the envelope tells.
    pub key_id: Option<String>,
    /// Hex SHA-256 of the public key, where the writer told.
    pub fingerprint: Option<String>,
    /// The recipient's certificate, where the envelope names one.
    pub certificate: Option<InspectedCertificate>,
    /// Whether the wrap stands in the descriptor's annotations.
    pub in_annotation: bool,
    /// Whether the wrap stands in the blob's header.
    pub in_header: bool,
}

/// How an envelope names a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InspectedCertificate {
    /// The issuer, as RFC 4514 writes names.
    pub issuer: String,
    /// The serial number, in hex.
    pub serial: String,
}

/// Describes an image; of sealed layers the first octets are read, nothing else.
///
/// # Errors
/// [`ImageError`] when a document or a layer's description cannot be read.
pub fn inspect(source: &dyn Source, platforms: &[Platform]) -> Result<Inspection, ImageError> {
    let tree = Tree::load(source, platforms)?;
    let images = tree.images().into_iter().filter(|image| !image.attestation);
    let manifests = images
        .map(|image| inspect_image(source, image))
        .collect::<Result<_, _>>()?;
    let raw = tree.root.raw();
    Ok(Inspection {
        digest: raw.digest.clone(),
        media_type: raw.media_type.clone(),
        octets: raw.bytes.to_vec(),
        manifests,
        opened: None,
    })
}

pub(crate) fn inspect_image(
    source: &dyn Source,
    image: &Image,
) -> Result<InspectedManifest, ImageError> {
    let layers = image.manifest.layers().iter().enumerate();
    Ok(InspectedManifest {
        digest: image.raw.digest.clone(),
        media_type: image.raw.media_type.clone(),
        platform: image.platform.clone(),
        config_sealed: image
            .manifest
            .annotations()
            .contains_key(sealift_layer::ORIGINAL_CONFIG),
        layers: layers
            .map(|(index, layer)| inspect_layer(source, index, layer))
            .collect::<Result<_, _>>()?,
    })
}

fn inspect_layer(
    source: &dyn Source,
    index: usize,
    layer: &Descriptor,
) -> Result<InspectedLayer, ImageError> {
    let mut inspected = InspectedLayer {
        index,
        digest: layer.digest().clone(),
        size: layer.size(),
        media_type: layer.media_type().clone(),
        sealed: layer.media_type().is_sealed(),
        cipher: None,
        recipients: Vec::new(),
        wraps: Vec::new(),
        authenticated: None,
    };
    if !inspected.sealed {
        return Ok(inspected);
    }
    let claims = claims_of(layer)?;
    let cipher = claims.public.as_ref().map(PublicOptions::cipher);
    // Only the default format has a header; without options nobody knows before looking.
    let header = match cipher {
        Some(Cipher::CtrHmac) => None,
        _ => read_header(source, layer)?,
    };
    let cipher = cipher.or_else(|| header.as_ref().map(|header| header.public.cipher()));
    inspected.cipher = cipher.map(|cipher| cipher.name().to_owned());
    let in_header = header.map(|header| header.wraps).unwrap_or_default();
    let mut all: Wraps = claims.wraps.clone();
    all.merge(&in_header).map_err(|source| ImageError::Open {
        digest: layer.digest().clone(),
        source: sealift_layer::OpenError::Malformed {
            place: sealift_layer::Place::Header,
            source,
        },
    })?;
    inspected.wraps = all.as_slice().to_vec();
    for wrap in all.as_slice() {
        let noted = claims
            .recipients
            .of(wrap)
            .map(|note| note.fingerprint.clone())
            .filter(|text| !text.is_empty());
        let holds = |wraps: &Wraps| wraps.as_slice().contains(wrap);
        inspected.recipients.extend(recipients_of(
            wrap,
            noted.as_deref(),
            holds(&claims.wraps),
            holds(&in_header),
        ));
    }
    Ok(inspected)
}

fn recipients_of(
    wrap: &WrappedKey,
    noted: Option<&str>,
    in_annotation: bool,
    in_header: bool,
) -> Vec<InspectedRecipient> {
    let described = describe(wrap);
    // A note belongs to an element; it names the key only where the element has a single recipient.
    let noted = noted.filter(|_| described.len() == 1);
    let text = |text: Option<Box<str>>| text.map(String::from);
    described
        .into_iter()
        .map(|info| InspectedRecipient {
            element: element_id(wrap),
            scheme: info.scheme.to_string(),
            algorithm: text(info.algorithm),
            key_id: text(info.key_id),
            fingerprint: text(info.fingerprint).or_else(|| noted.map(str::to_owned)),
            certificate: info.certificate.map(|name| InspectedCertificate {
                issuer: name.issuer().into(),
                serial: name.serial().into(),
            }),
            in_annotation,
            in_header,
        })
        .collect()
}

/// Reads the header in front of a layer; `None` for a blob of the other format.
pub(crate) fn read_header(
    source: &dyn Source,
    layer: &Descriptor,
) -> Result<Option<Header>, ImageError> {
    let refused = |source| ImageError::Open {
        digest: layer.digest().clone(),
        source,
    };
    let mut reader = source.blob(layer)?;
    let mut intake = Intake::default();
    let mut piece = vec![0; 16 * 1024];
    let start = loop {
        let read = reader.read(&mut piece).map_err(ImageError::from_read)?;
        let Some(octets) = piece.get(..read).filter(|octets| !octets.is_empty()) else {
            break intake.finish().map_err(refused)?;
        };
        if let Some(start) = intake.update(octets).map_err(refused)? {
            break start;
        }
    };
    Ok(match start {
        Start::Chunked(layer) => Some(layer.header().clone()),
        Start::CtrHmac(_) => None,
    })
}
