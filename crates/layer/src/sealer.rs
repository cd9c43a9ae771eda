use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rand::SecureRandom;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use indexmap::IndexMap;
use sealift_keywrap::{LayerSecret, Recipient, WrapContext};
use sealift_oci::{Digest, MediaType};
use sealift_sha256::Sha256;

use crate::annotations::{PUBLIC_OPTIONS, RECIPIENTS, Recipients, Wraps};
use crate::chunked::{AeadLibrary, ChunkError, Commitment, MessageKey, MessageSealer, Salt};
use crate::cipher::Cipher;
use crate::ctr_hmac::{CipherFault, Keystream, Tagger};
use crate::error::SealError;
use crate::frame::Header;
use crate::key::LayerKey;
use crate::layer_id::LayerId;
use crate::options::{CounterBlock, PrivateOptions, PublicOptions};
use crate::original::OriginalKey;
use crate::room::Room;

/// What a layer is sealed as, and for whom.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The cipher.
    pub cipher: Cipher,
    /// What seals chunks; no difference to whoever opens them.
    pub aead: AeadLibrary,
    /// The plain layer's media type; Docker types are sealed as their OCI twins.
    pub media_type: MediaType,
    /// The plain blob's digest; `None` for a stream whose digest nobody knows yet.
    ///
    /// The caller makes sure that what it feeds has this digest before it lets the sealed blob be used.
    pub plain_digest: Option<Digest>,
    /// Who may open the layer.
    pub recipients: Arc<[Box<dyn Recipient>]>,
    /// Whether the blob carries its wrapped keys itself.
    pub embedding: Embedding,
    /// What the layer belongs to, for envelopes that bind it.
    pub binding: Binding,
}

/// Whether the wrapped keys stand in the blob's header too. ocicrypt's format has no header.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Embedding {
    /// In annotations and header, so that a runtime without annotations can open the layer.
    #[default]
    AnnotationsAndHeader,
    /// In annotations only.
    AnnotationsOnly,
}

/// What a layer belongs to, as far as the caller knows: the owned form of a [`WrapContext`] without its subject.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Binding {
    /// The repository the image is meant for.
    pub repo: Option<Box<str>>,
    /// `os/arch[/variant[/osversion]]`.
    pub platform: Option<Box<str>>,
    /// Seconds since the Unix epoch.
    pub created_at: Option<u64>,
}

/// Secret and public random octets of one layer, given from outside.
///
/// For test vectors. Material that has sealed one layer must never be used again.
#[derive(Debug)]
pub enum Material {
    /// For the default cipher.
    Chunked {
        /// The layer key.
        key: LayerKey,
        /// The message's salt.
        salt: Salt,
    },
    /// For ocicrypt's cipher.
    CtrHmac {
        /// The layer key.
        key: LayerKey,
        /// The initial counter block.
        nonce: CounterBlock,
    },
}

/// Seals one layer, once.
///
/// Whoever must read the source again starts with a new sealer, that is with a new key; sealed octets may be sent
/// again as often as needed. After an error a sealer seals nothing more.
#[derive(Debug)]
pub struct Sealer {
    /// Frame, salt and commitment, until they have been written.
    prefix: Vec<u8>,
    suite: Suite,
    sealed_type: MediaType,
    private: PrivateOptions,
    plan: Plan,
    wraps: Wrapped,
    failed: bool,
}

impl Sealer {
    /// Draws a fresh key and wraps it for every recipient.
    ///
    /// # Errors
    /// [`SealError`]; nothing has been sealed then.
    pub fn new(plan: Plan, rng: &dyn SecureRandom) -> Result<Self, SealError> {
        let key = LayerKey::generate(rng)?;
        let material = match plan.cipher {
            Cipher::Chunked => {
                let mut salt = [0; Salt::LEN];
                rng.fill(&mut salt).map_err(|_| SealError::Randomness)?;
                Material::Chunked {
                    key,
                    salt: Salt(salt),
                }
            }
            Cipher::CtrHmac => {
                let mut nonce = [0; CounterBlock::LEN];
                rng.fill(&mut nonce).map_err(|_| SealError::Randomness)?;
                Material::CtrHmac {
                    key,
                    nonce: CounterBlock(nonce),
                }
            }
        };
        Self::with_material(plan, material)
    }

    /// Seals with given material, which decides the cipher. For test vectors: see [`Material`].
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_material(plan: Plan, material: Material) -> Result<Self, SealError> {
        if plan.recipients.is_empty() {
            return Err(SealError::NoRecipients);
        }
        let sealed_type = plan.media_type.sealed()?;
        let plain_type = sealed_type.plain()?;
        let digest: Box<str> = plan
            .plain_digest
            .as_ref()
            .map(Digest::to_string)
            .unwrap_or_default()
            .into();
        match material {
            Material::Chunked { key, salt } => {
                let context = context(&plain_type, &digest);
                let (message, commitment) =
                    MessageKey::derive(plan.aead, &key, &salt, context.as_bytes())?;
                let private = PrivateOptions {
                    key,
                    digest,
                    nonce: None,
                };
                let wraps = Wrapped::wrap(
                    &plan,
                    &private.to_secret(),
                    &LayerId::Commitment(commitment),
                )?;
                let header = Header {
                    wraps: match plan.embedding {
                        Embedding::AnnotationsAndHeader => wraps.wraps.clone(),
                        Embedding::AnnotationsOnly => Wraps::default(),
                    },
                    public: PublicOptions::Chunked { commitment },
                    media_type: plain_type,
                };
                let mut prefix = header.to_frame()?;
                prefix.extend_from_slice(&salt.0);
                prefix.extend_from_slice(&commitment.0);
                Ok(Self {
                    prefix,
                    suite: Suite::Chunked {
                        message: MessageSealer::new(message),
                        commitment,
                    },
                    sealed_type,
                    private,
                    plan,
                    wraps,
                    failed: false,
                })
            }
            Material::CtrHmac { key, nonce } => Ok(Self {
                prefix: Vec::new(),
                suite: Suite::CtrHmac {
                    keystream: Keystream::new(&key, &nonce, 0)?,
                    tagger: Some(Box::new(Tagger::new(&key))),
                },
                sealed_type,
                private: PrivateOptions {
                    key,
                    digest,
                    nonce: Some(nonce),
                },
                plan,
                wraps: Wrapped::default(),
                failed: false,
            }),
        }
    }

    /// Leaves an ocicrypt layer's tag to the caller, who feeds it with everything that the sealer appends, and gives it
    /// [back](Self::take_back) before the end. Comes before the first octet.
    pub fn leaving_tag(mut self) -> (Self, Option<Tagging>) {
        let tagger = match &mut self.suite {
            Suite::CtrHmac { tagger, .. } => tagger.take(),
            Suite::Chunked { .. } => None,
        };
        (self, tagger.map(Tagging))
    }

    /// Takes back what [`leaving_tag`](Self::leaving_tag) gave away; another layer's tag makes this one impossible to open.
    pub fn take_back(&mut self, tagging: Tagging) {
        if let Suite::CtrHmac { tagger, .. } = &mut self.suite {
            *tagger = Some(tagging.0);
        }
    }

    /// Takes plaintext in pieces of any size and appends sealed octets.
    ///
    /// # Errors
    /// [`SealError::TooLong`] or [`SealError::Internal`]; the layer cannot be finished afterwards.
    pub fn update(&mut self, plain: &[u8], out: &mut impl Room) -> Result<(), SealError> {
        if self.failed {
            return Err(SealError::Internal);
        }
        out.append(&std::mem::take(&mut self.prefix));
        let sealed = match &mut self.suite {
            Suite::Chunked { message, .. } => message.update(plain, out).map_err(SealError::from),
            Suite::CtrHmac { keystream, tagger } => {
                // In steps that stay in the cache between cipher and MAC.
                plain.chunks(STEP).try_for_each(|step| {
                    let start = out.octets().len();
                    keystream.apply(step, out)?;
                    if let Some(tagger) = tagger {
                        tagger.inner().update(out.octets().split_at(start).1);
                    }
                    Ok(())
                })
            }
        };
        self.failed = sealed.is_err();
        sealed
    }

    /// Appends the last sealed octets.
    ///
    /// # Errors
    /// As [`update`](Self::update), also when that had failed before, or when the tag was not given back.
    pub fn finish(mut self, out: &mut impl Room) -> Result<Finished, SealError> {
        if self.failed {
            return Err(SealError::Internal);
        }
        out.append(&std::mem::take(&mut self.prefix));
        let public = match self.suite {
            Suite::Chunked {
                message,
                commitment,
            } => {
                message.finish(out)?;
                PublicOptions::Chunked { commitment }
            }
            Suite::CtrHmac { tagger, .. } => PublicOptions::CtrHmac {
                tag: tagger.ok_or(SealError::Internal)?.finish(),
                nonce: None,
            },
        };
        Ok(Finished {
            public,
            sealed_type: self.sealed_type,
            private: self.private,
            plan: self.plan,
            wraps: self.wraps,
        })
    }
}

/// The tag of an ocicrypt layer in the making, apart from its [`Sealer`], so that it can be computed on another thread.
#[must_use]
pub struct Tagging(Box<Tagger>);

impl Tagging {
    /// Takes the sealed octets that come next.
    pub fn update(&mut self, sealed: &[u8]) {
        self.sha256().update(sealed);
    }

    /// Borrows what [`update`](Self::update) feeds, to feed it together with another SHA-256.
    pub fn sha256(&mut self) -> &mut Sha256 {
        self.0.inner()
    }
}

impl fmt::Debug for Tagging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tagging(..)")
    }
}

/// A layer whose octets are all sealed; what remains is to describe it.
#[derive(Debug)]
pub struct Finished {
    public: PublicOptions,
    sealed_type: MediaType,
    private: PrivateOptions,
    plan: Plan,
    wraps: Wrapped,
}

impl Finished {
    /// Makes the descriptor's parts; `ciphertext` is the digest of everything the sealer wrote.
    ///
    /// An ocicrypt layer's key is wrapped here, since its envelopes may bind the ciphertext's digest.
    ///
    /// # Errors
    /// [`SealError::Wrap`] or [`SealError::TooManyRecipients`], for ocicrypt layers only.
    pub fn describe(self, ciphertext: &Digest) -> Result<SealedLayer, SealError> {
        let (id, wraps) = match &self.public {
            PublicOptions::Chunked { commitment } => (LayerId::Commitment(*commitment), self.wraps),
            PublicOptions::CtrHmac { .. } => {
                let id = LayerId::Ciphertext(ciphertext.clone());
                let wraps = Wrapped::wrap(&self.plan, &self.private.to_secret(), &id)?;
                (id, wraps)
            }
        };
        let mut annotations = wraps.wraps.to_annotations();
        annotations.insert(
            PUBLIC_OPTIONS.into(),
            STANDARD.encode(self.public.to_json()),
        );
        annotations.insert(RECIPIENTS.into(), wraps.recipients.to_json());
        Ok(SealedLayer {
            media_type: self.sealed_type,
            annotations,
            original: OriginalKey::new(self.private.key, &id),
            id,
        })
    }
}

/// What a descriptor says about a sealed layer, beside digest and size.
#[derive(Debug)]
pub struct SealedLayer {
    /// The sealed media type.
    pub media_type: MediaType,
    /// The annotations to add: wrapped keys, public options, recipients.
    pub annotations: IndexMap<String, String>,
    /// What names the layer.
    pub id: LayerId,
    /// Seals the original manifest, index or config under this layer's key.
    pub original: OriginalKey,
}

/// Returns the derivation context of the default format (`SPEC.md`, section 1).
///
/// Neither part can hold a line feed or control octet: both are parsed types when sealing, and checked when opening.
pub(crate) fn context(plain_type: &MediaType, digest: &str) -> String {
    format!("sealift layer v1\n{plain_type}\n{digest}\n")
}

enum Suite {
    Chunked {
        message: MessageSealer,
        commitment: Commitment,
    },
    CtrHmac {
        keystream: Keystream,
        /// Nothing while it is with the caller. Boxed for its size.
        tagger: Option<Box<Tagger>>,
    },
}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chunked { .. } => "Chunked(..)",
            Self::CtrHmac { .. } => "CtrHmac(..)",
        })
    }
}

#[derive(Debug, Default)]
struct Wrapped {
    wraps: Wraps,
    recipients: Recipients,
}

impl Wrapped {
    fn wrap(plan: &Plan, secret: &LayerSecret, id: &LayerId) -> Result<Self, SealError> {
        let subject = id.to_string();
        let context = WrapContext {
            subject: Some(&subject),
            repo: plan.binding.repo.as_deref(),
            platform: plan.binding.platform.as_deref(),
            created_at: plan.binding.created_at,
        };
        let mut wrapped = Self::default();
        for recipient in plan.recipients.iter() {
            let wrap = recipient
                .wrap_key(secret, &context)
                .map_err(|source| SealError::Wrap {
                    scheme: recipient.scheme(),
                    fingerprint: recipient.fingerprint().into(),
                    source,
                })?;
            wrapped
                .recipients
                .note(&wrap, recipient.fingerprint(), String::new());
            wrapped
                .wraps
                .push(wrap)
                .map_err(SealError::TooManyRecipients)?;
        }
        Ok(wrapped)
    }
}

impl From<ChunkError> for SealError {
    fn from(error: ChunkError) -> Self {
        match error {
            ChunkError::TooLong => Self::TooLong,
            ChunkError::Refused => Self::Internal,
        }
    }
}

impl From<CipherFault> for SealError {
    fn from(CipherFault: CipherFault) -> Self {
        Self::Internal
    }
}

/// Octets that pass cipher and MAC before the next are touched.
const STEP: usize = 32 * 1024;
