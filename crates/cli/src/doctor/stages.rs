//! Measuring what each stage costs, with the code that does it in earnest.

use std::error::Error;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use sealift_keywrap::keys::{KeyType, generate, parse_private, parse_public};
use sealift_keywrap::{Keyring, Recipient, WrapContext};
use sealift_layer::{
    AeadLibrary, Binding, Cipher, Claims, Embedding, Intake, Plan, SealedLayer, Sealer, Start,
};
use sealift_oci::{Algorithm, Digest, Hasher, MediaType};
use sealift_sys::Buffer;

use super::limit::{Costs, Stage};
use crate::exit::{Code, Failure};

/// Measures every stage for about as long as told. A file in `folder` has no name and goes with the process.
pub(crate) fn measure(folder: &Path, aead: AeadLibrary, time: Duration) -> Result<Costs, Failure> {
    let mut file = tempfile::tempfile_in(folder)
        .map_err(|error| failed(&format!("files in `{}`", folder.display()), &error))?;
    let sample = Sample::new(aead).map_err(|error| failed("sealing", &*error))?;
    let sha256 = || {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        sample.pieces().for_each(|piece| hasher.update(piece));
        std::hint::black_box(hasher.finish());
        Ok(())
    };
    let pair = || {
        let [mut one, mut other] = [(); 2].map(|()| Hasher::new(Algorithm::Sha256));
        let (first, second) = sample.plain.split_at(SAMPLE / 2);
        for (piece, others) in first.chunks(PIECE).zip(second.chunks(PIECE)) {
            if let (Some(one), Some(other)) = (one.as_sha256(), other.as_sha256()) {
                one.update_both(piece, other, others);
            }
        }
        std::hint::black_box((one.finish(), other.finish()));
        Ok(())
    };
    let sealed = sample
        .sealed()
        .map_err(|error| failed("sealing", &*error))?;
    let mut costs = Costs([0.0; Stage::ALL.len()]);
    // Writing comes before reading: what is read was written.
    let order = [
        Stage::Sha256,
        Stage::Sha256Pair,
        Stage::SealChunks,
        Stage::OpenChunks,
        Stage::Ctr,
        Stage::Write,
        Stage::Read,
    ];
    for stage in order {
        let seconds = match stage {
            Stage::Sha256 => repeated(time, sha256),
            Stage::Sha256Pair => repeated(time, pair),
            Stage::SealChunks => repeated(time, || sample.seal(|_| ()).map(drop)),
            Stage::Ctr => repeated(time, || sample.encipher()),
            Stage::OpenChunks => repeated(time, || sample.open(&sealed)),
            Stage::Write => repeated(time, || {
                // Into a file that has nothing yet, as layers are written.
                file.set_len(0)?;
                file.rewind()?;
                for piece in sample.pieces() {
                    file.write_all(piece)?;
                }
                Ok(file.sync_data()?)
            }),
            Stage::Read => repeated(time, || {
                file.rewind()?;
                let mut buffer = Buffer::zeroed(PIECE);
                while file.read(&mut buffer)? > 0 {}
                Ok(())
            }),
        };
        let seconds = seconds.map_err(|error| failed(stage.name(), &*error))?;
        costs.set(stage, seconds);
    }
    Ok(costs)
}

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Octets to work on, and a key pair to seal them for.
struct Sample {
    aead: AeadLibrary,
    plain: Vec<u8>,
    media_type: MediaType,
    recipients: Arc<[Box<dyn Recipient>]>,
    identities: Keyring,
}

/// A sealed sample and what its descriptor says.
struct Sealed {
    blob: Vec<u8>,
    claims: Claims,
    subject: String,
}

impl Sample {
    fn new(aead: AeadLibrary) -> Outcome<Self> {
        let mut plain = vec![0; SAMPLE];
        SystemRandom::new().fill(&mut plain)?;
        let pair = generate(KeyType::P256, None)?;
        let recipients = parse_public(pair.public_pem.as_bytes())?
            .into_iter()
            .map(|key| Box::new(key) as Box<dyn Recipient>);
        let mut identities = Keyring::new();
        for key in parse_private(pair.private_pem.as_bytes(), None)? {
            identities.push(Box::new(key))?;
        }
        Ok(Self {
            aead,
            plain,
            media_type: "application/vnd.oci.image.layer.v1.tar".parse()?,
            recipients: recipients.collect(),
            identities,
        })
    }

    /// The pieces that travel through a job.
    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.plain.chunks(PIECE)
    }

    fn sealer(&self, cipher: Cipher) -> Outcome<Sealer> {
        let plan = Plan {
            cipher,
            aead: self.aead,
            media_type: self.media_type.clone(),
            plain_digest: None,
            recipients: Arc::clone(&self.recipients),
            embedding: Embedding::AnnotationsAndHeader,
            binding: Binding::default(),
        };
        Ok(Sealer::new(plan, &SystemRandom::new())?)
    }

    /// Enciphers it as ocicrypt does, without the tag.
    fn encipher(&self) -> Outcome<()> {
        let (mut sealer, _tag) = self.sealer(Cipher::CtrHmac)?.leaving_tag();
        let mut out = Buffer::default();
        for piece in self.pieces() {
            out = out.resized(0);
            sealer.update(piece, &mut out)?;
        }
        Ok(())
    }

    /// Seals it, and shows what comes out to `look`.
    fn seal(&self, mut look: impl FnMut(&[u8])) -> Outcome<SealedLayer> {
        let mut sealer = self.sealer(Cipher::Chunked)?;
        let mut out = Buffer::default();
        for piece in self.pieces() {
            out = out.resized(0);
            sealer.update(piece, &mut out)?;
            look(&out);
        }
        out = out.resized(0);
        let finished = sealer.finish(&mut out)?;
        look(&out);
        // Nobody looks for it by its digest.
        Ok(finished.describe(&Digest::sha256(b""))?)
    }

    fn sealed(&self) -> Outcome<Sealed> {
        let mut blob = Vec::with_capacity(SAMPLE + SAMPLE / 64);
        let layer = self.seal(|octets| blob.extend_from_slice(octets))?;
        let annotations = layer.annotations.iter();
        let claims = Claims::new(
            &layer.media_type,
            annotations.map(|(key, value)| (key.as_str(), value.as_str())),
        )?;
        Ok(Sealed {
            blob,
            claims,
            subject: layer.id.to_string(),
        })
    }

    fn open(&self, sealed: &Sealed) -> Outcome<()> {
        let context = WrapContext {
            subject: Some(&sealed.subject),
            ..WrapContext::default()
        };
        let mut pieces = sealed.blob.chunks(PIECE);
        let first = pieces.next().unwrap_or_default();
        let Some(Start::Chunked(mut layer)) = Intake::opening_with(self.aead).update(first)? else {
            return Err("a sealed sample is no sealed layer".into());
        };
        let mut opener = layer.unlock(&sealed.claims, &self.identities, &context)?;
        let mut plain = Buffer::default();
        for piece in pieces {
            plain = plain.resized(0);
            opener.update(piece, &mut plain)?;
        }
        Ok(())
    }
}

/// Repeats work on a whole sample until the time is over; returns what the fastest turn took, in seconds per GiB: others on
/// the machine can only make it slower.
fn repeated(time: Duration, mut work: impl FnMut() -> Outcome<()>) -> Outcome<f64> {
    let begun = Instant::now();
    let mut fastest = f64::INFINITY;
    loop {
        let turn = Instant::now();
        work()?;
        fastest = fastest.min(turn.elapsed().as_secs_f64());
        if begun.elapsed() >= time {
            return Ok(fastest * f64::from(SAMPLES_PER_GIB));
        }
    }
}

fn failed(what: &str, error: &(dyn Error + 'static)) -> Failure {
    Failure::new(Code::Other, format!("cannot measure {what}")).because(error)
}

const SAMPLE: usize = 32 << 20;
const SAMPLES_PER_GIB: u32 = 32;
const PIECE: usize = 256 << 10;
