//! AES-256-GCM, by one of two libraries.

use std::fmt;

use aws_lc_rs::aead as aws_lc;
use ring::aead as ring;

use super::TAG_LEN;

/// Which library seals and opens chunks. Both do the same; what one has sealed the other opens.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum AeadLibrary {
    /// [aws-lc](https://github.com/aws/aws-lc), which does everything else too. It wipes its keys.
    #[default]
    AwsLc,
    /// [ring](https://github.com/briansmith/ring). Its keys stay in memory until that is used again, so it is
    /// used only where somebody asks for it.
    Ring,
}

/// What of a processor decides which library is faster.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a processor has a feature or not"
)]
pub struct ProcessorFeatures {
    /// 256-bit integer vectors.
    pub avx2: bool,
    /// AES on vectors.
    pub vaes: bool,
    /// Carry-less multiplication on vectors.
    pub vpclmulqdq: bool,
    /// 512-bit vectors: AVX-512 F, BW, DQ and VL.
    pub avx512: bool,
}

impl ProcessorFeatures {
    /// Describes the processor this runs on; other architectures than x86-64 have none of these.
    pub fn here() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            Self {
                avx2: is_x86_feature_detected!("avx2"),
                vaes: is_x86_feature_detected!("vaes"),
                vpclmulqdq: is_x86_feature_detected!("vpclmulqdq"),
                avx512: is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl"),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            Self {
                avx2: false,
                vaes: false,
                vpclmulqdq: false,
                avx512: false,
            }
        }
    }
}

impl AeadLibrary {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::AwsLc, Self::Ring];

    /// Returns the faster one on a processor: aws-lc unless the processor has AES on 256-bit vectors but not on 512-bit ones (AMD Zen 3, Intel
    /// Alder Lake and later ones without AVX-512). For these aws-lc falls back to AES on single blocks; ring does not.
    pub fn faster_on(features: ProcessorFeatures) -> Self {
        match features {
            ProcessorFeatures {
                avx2: true,
                vaes: true,
                vpclmulqdq: true,
                avx512: false,
            } => Self::Ring,
            _ => Self::AwsLc,
        }
    }

    /// Returns the name.
    pub fn name(self) -> &'static str {
        match self {
            Self::AwsLc => "aws-lc",
            Self::Ring => "ring",
        }
    }
}

impl fmt::Display for AeadLibrary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A key. Calls fail where the library refuses, which it does for a wrong tag.
#[derive(Debug)]
pub(super) enum Key {
    AwsLc(aws_lc::LessSafeKey),
    /// Boxed for its size, and so that moving it leaves no copies behind.
    Ring(Box<ring::LessSafeKey>),
}

pub(super) const NONCE_LEN: usize = aws_lc::NONCE_LEN;

impl Key {
    pub(super) fn new(library: AeadLibrary, key: &[u8]) -> Option<Self> {
        Some(match library {
            AeadLibrary::AwsLc => Self::AwsLc(aws_lc::LessSafeKey::new(
                aws_lc::UnboundKey::new(&aws_lc::AES_256_GCM, key).ok()?,
            )),
            AeadLibrary::Ring => Self::Ring(Box::new(ring::LessSafeKey::new(
                ring::UnboundKey::new(&ring::AES_256_GCM, key).ok()?,
            ))),
        })
    }

    /// Seals `plain` into `sealed`, which is as long.
    pub(super) fn seal(
        &self,
        nonce: [u8; NONCE_LEN],
        plain: &[u8],
        sealed: &mut [u8],
        tag: &mut [u8],
    ) -> Option<()> {
        if sealed.len() != plain.len() || tag.len() != TAG_LEN {
            return None;
        }
        match self {
            Self::AwsLc(key) => key
                .seal_out_of_place_scatter(
                    aws_lc::Nonce::assume_unique_for_key(nonce),
                    aws_lc::Aad::empty(),
                    plain,
                    sealed,
                    &[],
                    tag,
                )
                .ok(),
            Self::Ring(key) => {
                sealed.copy_from_slice(plain);
                let nonce = ring::Nonce::assume_unique_for_key(nonce);
                let made = key.seal_in_place_separate_tag(nonce, ring::Aad::empty(), sealed);
                tag.copy_from_slice(made.ok()?.as_ref());
                Some(())
            }
        }
    }

    /// Opens `sealed` into `plain`, which is as long, and undefined where this fails.
    pub(super) fn open(
        &self,
        nonce: [u8; NONCE_LEN],
        sealed: &[u8],
        tag: &[u8],
        plain: &mut [u8],
    ) -> Option<()> {
        if plain.len() != sealed.len() {
            return None;
        }
        match self {
            Self::AwsLc(key) => key
                .open_separate_gather(
                    aws_lc::Nonce::assume_unique_for_key(nonce),
                    aws_lc::Aad::empty(),
                    sealed,
                    tag,
                    plain,
                )
                .ok(),
            Self::Ring(key) => {
                let tag: [u8; TAG_LEN] = tag.try_into().ok()?;
                plain.copy_from_slice(sealed);
                let nonce = ring::Nonce::assume_unique_for_key(nonce);
                let opened = key.open_in_place_separate_tag(
                    nonce,
                    ring::Aad::empty(),
                    tag.into(),
                    plain,
                    0..,
                );
                opened.ok().map(drop)
            }
        }
    }
}
