use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use sealift_keywrap::WrapContext;
use sealift_layer::{
    Checked, ChunkedLayer, Claims, CtrHmacLayer, Fact, FirstOctets, Intake, LayerId, LayerOpener,
    OpenError, Place, Release, SecretSource, Start, Unchecked, Wraps,
};
use sealift_oci::json::excerpt;
use sealift_oci::{Algorithm, Descriptor, Digest, Hasher, MediaType};
use sealift_sys::Buffer;

use crate::content_store::{ContentStore, Descriptions, annotations};
use crate::error::DecodeError;
use crate::outlet::Outlet;
use crate::payload::LayerDescriptor;
use crate::spool::{Spool, read};

/// What is known about the layer on standard input, and who can open it.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a, S: ?Sized> {
    /// The sealed media type, as the runtime told it apart from the descriptor.
    pub media_type: Option<&'a str>,
    /// The descriptor out of the payload.
    pub descriptor: Option<&'a LayerDescriptor>,
    /// The private keys.
    pub keys: &'a S,
    /// Where else a description may be found.
    pub store: &'a ContentStore,
    /// Whether the keys are to hear of the other layers of the image.
    pub horizon: Horizon,
    /// Where ciphertext waits that cannot be checked before its end.
    pub spool: &'a Path,
}

/// How far those who open layers look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Horizon {
    /// One layer after another.
    Layer,
    /// At the whole image, as the content store has it: they may have to go far for a key, and then fetch all at once.
    Image,
}

/// Opens the sealed layer in `source` and writes the plain layer to `sink`; returns its length.
///
/// Only authenticated plaintext is written. After an error the output always is shorter than the layer, by at least its last
/// octet, unless nothing was written at all.
///
/// # Errors
/// [`DecodeError`]; the output must not be used then.
pub fn decode(
    job: &Job<'_, impl SecretSource + ?Sized>,
    source: &mut impl Read,
    sink: &mut (impl Write + Send),
) -> Result<u64, DecodeError> {
    let told = job
        .descriptor
        .and_then(|descriptor| descriptor.digest.as_deref());
    let told = told.map_or_else(|| UNKNOWN.into(), excerpt);
    let claims = claims(job).map_err(|error| name(error, &told))?;
    let mut buffer = Buffer::zeroed(PIECE);
    match begin(source, &mut buffer).map_err(|error| name(error, &told))? {
        Start::Chunked(mut layer) => {
            let opener = unlock(job, &claims, &mut layer)?;
            Outlet::into(sink, |outlet| stream(opener, source, outlet, &mut buffer))
                .map_err(|error| name(error, layer.commitment()))
        }
        Start::CtrHmac(first) => {
            let mut spool = Spool::new(job.spool);
            let (checked, digest) = check(job, &claims, &first, source, &mut spool, &mut buffer)?;
            Outlet::into(sink, |outlet| {
                replay(&checked, &mut spool, outlet, &mut buffer)
            })
            .map_err(|error| name(error, digest))
        }
    }
}

/// Reads until it is known what the blob is.
fn begin(source: &mut impl Read, buffer: &mut [u8]) -> Result<Start, DecodeError> {
    let mut intake = Intake::default();
    loop {
        let piece = read(source, buffer).map_err(DecodeError::Read)?;
        if piece.is_empty() {
            return Ok(intake.finish()?);
        }
        if let Some(start) = intake.update(piece)? {
            return Ok(start);
        }
    }
}

/// Joins what payload and environment say.
fn claims(job: &Job<'_, impl SecretSource + ?Sized>) -> Result<Claims, DecodeError> {
    let parse = |text: &str| text.parse::<MediaType>();
    let described = job
        .descriptor
        .and_then(|descriptor| descriptor.media_type.as_deref());
    let described = described.map(parse).transpose()?;
    let told = job.media_type.map(parse).transpose()?;
    if let (Some(described), Some(told)) = (&described, &told) {
        same_type(&described.plain()?, &told.plain()?)?;
    }
    let media_type = described.or(told).ok_or(DecodeError::NoMediaType)?;
    let annotations = job
        .descriptor
        .and_then(|descriptor| descriptor.annotations.as_ref());
    let annotations = annotations
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value.as_str()));
    Ok(Claims::new(&media_type, annotations)?)
}

/// Compares the plain media type of a descriptor with what the runtime told: no cipher binds that of an ocicrypt layer.
fn same_type(described: &MediaType, told: &MediaType) -> Result<(), OpenError> {
    if described == told {
        return Ok(());
    }
    Err(OpenError::Disagreement {
        what: Fact::MediaType,
        one: Place::Descriptor,
        other: Place::Runtime,
    })
}

/// Tells those who look at whole images which keys will be wanted soon.
fn look_around(job: &Job<'_, impl SecretSource + ?Sized>, claims: &Claims, layer: &LayerId) {
    if job.horizon == Horizon::Image {
        let mut wraps = claims.wraps.as_slice().to_vec();
        wraps.extend(job.store.siblings(layer));
        job.keys.prepare(&wraps);
    }
}

/// Finds the layer key with what came along, or else with what manifests of the same layer say.
fn unlock(
    job: &Job<'_, impl SecretSource + ?Sized>,
    claims: &Claims,
    layer: &mut ChunkedLayer,
) -> Result<LayerOpener, DecodeError> {
    let context = WrapContext::default();
    let id = LayerId::Commitment(*layer.commitment());
    look_around(job, claims, &id);
    let mut refused = match layer.unlock(claims, job.keys, &context) {
        Ok(opener) => return Ok(opener),
        Err(error) if may_have_other_recipients(&error) => error,
        Err(error) => return Err(DecodeError::of_layer(id, error)),
    };
    // Recipients may have been added by a manifest that this runtime does not tell about.
    let Descriptions { entries, fault } = job.store.descriptions(&id);
    let mut further = Claims {
        wraps: Wraps::default(),
        ..claims.clone()
    };
    for description in &entries {
        let described = Claims::new(description.media_type(), annotations(description));
        if let Ok(described) = described
            && described.plain_type == claims.plain_type
        {
            further.wraps.append_what_fits(&described.wraps);
            further.recipients.append_what_fits(&described.recipients);
        }
    }
    if !further.wraps.is_empty() {
        match layer.unlock(&further, job.keys, &context) {
            Ok(opener) => return Ok(opener),
            Err(error) => refused = more_telling(refused, error),
        }
    }
    Err(match (refused, fault) {
        // A node without a content store there has nothing to be read; the keys are what is missing.
        (refused @ OpenError::NoKey { .. }, Some(fault)) if fault.kind() != ErrorKind::NotFound => {
            DecodeError::NoKeyAndStore {
                source: refused,
                fault,
            }
        }
        (refused, _) => DecodeError::of_layer(id, refused),
    })
}

/// Tells errors that are about the wrapped keys at hand from those about the layer.
fn may_have_other_recipients(error: &OpenError) -> bool {
    matches!(
        error,
        OpenError::NoKey { .. }
            | OpenError::Authentication
            | OpenError::Malformed {
                place: Place::PrivateOptions,
                ..
            }
    )
}

/// Joins what two searches among different wrapped keys ended with; other people's manifests never make it say less.
fn more_telling(one: OpenError, other: OpenError) -> OpenError {
    match (one, other) {
        (OpenError::NoKey { layer, mut report }, OpenError::NoKey { report: more, .. }) => {
            report.seen.extend(more.seen);
            report.faults.extend(more.faults);
            OpenError::NoKey { layer, report }
        }
        (OpenError::NoKey { .. }, OpenError::Authentication) => OpenError::Authentication,
        (one, _) => one,
    }
}

fn stream(
    mut opener: LayerOpener,
    source: &mut impl Read,
    outlet: &mut Outlet,
    buffer: &mut [u8],
) -> Result<(), DecodeError> {
    let mut plain = Buffer::default();
    // What came with the beginning is released before more is waited for.
    opener.update(&[], &mut plain)?;
    outlet.release(&mut plain)?;
    loop {
        let piece = read(source, buffer).map_err(DecodeError::Read)?;
        if piece.is_empty() {
            break;
        }
        opener.update(piece, &mut plain)?;
        outlet.release(&mut plain)?;
    }
    // The runtime compares the diff ID, which is closer to what it unpacks than the digest of the compressed layer.
    opener.finish(Release::AfterLastChunk, &mut plain)?;
    outlet.release(&mut plain)
}

/// Spools an ocicrypt layer and finds the key that authenticates it.
fn check(
    job: &Job<'_, impl SecretSource + ?Sized>,
    claims: &Claims,
    first: &[u8],
    source: &mut impl Read,
    spool: &mut Spool,
    buffer: &mut [u8],
) -> Result<(Checked, Box<str>), DecodeError> {
    if claims.public.is_some() {
        // Knowing how the layer is sealed, a missing key is found out before anything is spooled, and the tag is made on the way.
        let told = job
            .descriptor
            .and_then(|descriptor| descriptor.digest.as_deref());
        let subject = told.filter(|text| text.parse::<Digest>().is_ok());
        let layer = subject.unwrap_or(UNKNOWN);
        let context = WrapContext {
            subject,
            ..WrapContext::default()
        };
        let named = |error| DecodeError::of_layer(layer, error);
        let mut sealed = CtrHmacLayer::new(claims, first).map_err(named)?;
        if let Some(digest) = subject.and_then(|text| text.parse().ok()) {
            look_around(job, claims, &LayerId::Ciphertext(digest));
        }
        let mut unchecked = sealed.unlock(job.keys, &context).map_err(named)?;
        fill(spool, first, source, buffer, |piece| {
            unchecked.update(piece)
        })?;
        let checked = first_that_fits(unchecked, &mut sealed, job.keys, &context, spool, buffer);
        return checked
            .map(|checked| (checked, layer.into()))
            .map_err(|error| name(error, layer));
    }
    let mut hasher = Hasher::new(Algorithm::Sha256);
    fill(spool, first, source, buffer, |piece| hasher.update(piece))?;
    let digest = hasher.finish();
    look_around(job, claims, &LayerId::Ciphertext(digest.clone()));
    checked_by_store(job, &claims.plain_type, &digest, first, spool, buffer)
        .map(|checked| (checked, digest.to_string().into()))
}

/// Tries what the manifests in the content store say about a ciphertext.
fn checked_by_store(
    job: &Job<'_, impl SecretSource + ?Sized>,
    told: &MediaType,
    digest: &Digest,
    first: &[u8],
    spool: &mut Spool,
    buffer: &mut [u8],
) -> Result<Checked, DecodeError> {
    let subject = digest.to_string();
    let context = WrapContext {
        subject: Some(&subject),
        ..WrapContext::default()
    };
    let id = LayerId::Ciphertext(digest.clone());
    let Descriptions { entries, fault } = job.store.descriptions(&id);
    let mut sealed: Option<CtrHmacLayer> = None;
    let mut refused = None;
    for description in &entries {
        match described(description, told, first) {
            Ok(layer) => match &mut sealed {
                Some(sealed) => sealed.join(&layer),
                None => sealed = Some(layer),
            },
            Err(error) => {
                refused.get_or_insert(error);
            }
        }
    }
    if let Some(mut sealed) = sealed {
        let named = |error| name(error, digest);
        let mut unchecked = sealed
            .unlock(job.keys, &context)
            .map_err(|error| DecodeError::of_layer(digest, error))?;
        spool
            .replay(buffer, |piece| {
                unchecked.update(piece);
                Ok(())
            })
            .map_err(named)?;
        return first_that_fits(unchecked, &mut sealed, job.keys, &context, spool, buffer)
            .map_err(named);
    }
    let begins = FirstOctets::of(first);
    Err(match refused {
        Some(error) => DecodeError::of_layer(digest, error),
        None if begins.format().is_some() => {
            DecodeError::of_layer(digest, OpenError::NotSealed { first: begins })
        }
        None => DecodeError::NoDescription {
            digest: digest.clone(),
            store: job.store.root().to_owned(),
            fault,
        },
    })
}

/// Takes what a manifest says about an ocicrypt layer that the runtime said to be of type `told`.
fn described(
    description: &Descriptor,
    told: &MediaType,
    first: &[u8],
) -> Result<CtrHmacLayer, OpenError> {
    let claims = Claims::new(description.media_type(), annotations(description))?;
    same_type(&claims.plain_type, told)?;
    CtrHmacLayer::new(&claims, first)
}

/// Ends the tag of the first key; while it differs, goes on with further keys over the spooled ciphertext.
fn first_that_fits(
    mut unchecked: Unchecked,
    sealed: &mut CtrHmacLayer,
    keys: &(impl SecretSource + ?Sized),
    context: &WrapContext<'_>,
    spool: &mut Spool,
    buffer: &mut [u8],
) -> Result<Checked, DecodeError> {
    loop {
        match unchecked.finish() {
            Err(OpenError::Authentication) => {}
            other => return Ok(other?),
        }
        unchecked = sealed.unlock(keys, context)?;
        spool.replay(buffer, |piece| {
            unchecked.update(piece);
            Ok(())
        })?;
    }
}

fn fill(
    spool: &mut Spool,
    first: &[u8],
    source: &mut impl Read,
    buffer: &mut [u8],
    mut also: impl FnMut(&[u8]),
) -> Result<(), DecodeError> {
    spool.push(first)?;
    also(first);
    loop {
        let piece = read(source, buffer).map_err(DecodeError::Read)?;
        if piece.is_empty() {
            return Ok(());
        }
        spool.push(piece)?;
        also(piece);
    }
}

fn replay(
    checked: &Checked,
    spool: &mut Spool,
    outlet: &mut Outlet,
    buffer: &mut [u8],
) -> Result<(), DecodeError> {
    let mut decryptor = checked.decrypt_from(0)?;
    let mut plain = Buffer::default();
    spool.replay(buffer, |piece| {
        decryptor.update(piece, &mut plain)?;
        outlet.release(&mut plain)
    })?;
    Ok(decryptor.finish()?)
}

fn name(error: DecodeError, layer: impl ToString) -> DecodeError {
    match error {
        DecodeError::Open(source) => DecodeError::of_layer(layer, source),
        other => other,
    }
}

/// Stands where a layer cannot be named.
const UNKNOWN: &str = "(digest unknown)";

/// Octets read and written at once.
const PIECE: usize = 256 * 1024;
