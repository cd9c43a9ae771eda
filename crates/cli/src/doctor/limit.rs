//! How fast a job can be where each stage is as fast as it was measured, and which stage that is up to.
//!
//! A stage of one layer is one thread's work, in order; stages overlap. So one layer takes as long as its slowest stage, or as
//! all stages shared among the processors, whichever is longer; many layers take the latter. Files are read and written by
//! the kernel, which needs a processor for it, too.

use std::num::NonZeroUsize;

/// Work on every octet of a layer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stage {
    Sha256,
    SealChunks,
    OpenChunks,
    SealOcicrypt,
    Read,
    Write,
}

impl Stage {
    pub(crate) const ALL: [Self; 6] = [
        Self::Sha256,
        Self::SealChunks,
        Self::OpenChunks,
        Self::SealOcicrypt,
        Self::Read,
        Self::Write,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::SealChunks => "sealing chunks (AES-256-GCM)",
            Self::OpenChunks => "opening chunks (AES-256-GCM)",
            Self::SealOcicrypt => "ocicrypt (AES-256-CTR, HMAC)",
            Self::Read => "reading files, from memory",
            Self::Write => "writing files",
        }
    }

    /// Its name in JSON.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::SealChunks => "sealChunks",
            Self::OpenChunks => "openChunks",
            Self::SealOcicrypt => "sealOcicrypt",
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// Seconds per GiB of each stage, on one thread, in the order of [`Stage::ALL`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs(pub(crate) [f64; Stage::ALL.len()]);

impl Costs {
    pub(crate) fn of(&self, stage: Stage) -> f64 {
        self.0.get(stage as usize).copied().unwrap_or_default()
    }

    pub(crate) fn set(&mut self, stage: Stage, seconds: f64) {
        if let Some(cost) = self.0.get_mut(stage as usize) {
            *cost = seconds;
        }
    }
}

/// What is done with layers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Job {
    Encrypt,
    EncryptTrusted,
    EncryptOcicrypt,
    Decrypt,
}

impl Job {
    pub(crate) const ALL: [Self; 4] = [
        Self::Encrypt,
        Self::EncryptTrusted,
        Self::EncryptOcicrypt,
        Self::Decrypt,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Encrypt => "encrypt",
            Self::EncryptTrusted => "encrypt --no-verify-source",
            Self::EncryptOcicrypt => "encrypt --cipher ocicrypt",
            Self::Decrypt => "decrypt",
        }
    }

    /// Its name in JSON.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Encrypt => "encrypt",
            Self::EncryptTrusted => "encryptNoVerifySource",
            Self::EncryptOcicrypt => "encryptOcicrypt",
            Self::Decrypt => "decrypt",
        }
    }

    /// Its stages; a digest of what is read and one of what is written are two.
    fn stages(self) -> &'static [Stage] {
        use Stage::{OpenChunks, Read, SealChunks, SealOcicrypt, Sha256, Write};
        match self {
            Self::Encrypt => &[Read, Sha256, SealChunks, Sha256, Write],
            Self::EncryptTrusted => &[Read, SealChunks, Sha256, Write],
            Self::EncryptOcicrypt => &[Read, Sha256, SealOcicrypt, Sha256, Write],
            // Of a layout: the plaintext proves the sealed blob.
            Self::Decrypt => &[Read, OpenChunks, Sha256, Write],
        }
    }

    /// Returns the limit for one layer, or for as many as there are processors.
    pub(crate) fn limit(self, costs: &Costs, processors: NonZeroUsize, many: bool) -> Limit {
        let stages = || self.stages().iter().map(|stage| (*stage, costs.of(*stage)));
        let all: f64 = stages().map(|(_, seconds)| seconds).sum();
        #[expect(clippy::cast_precision_loss, reason = "no machine has 2^52 processors")]
        let shared = all / processors.get() as f64;
        let slowest = stages().max_by(|(_, a), (_, b)| a.total_cmp(b));
        match slowest {
            Some((stage, seconds)) if !many && seconds >= shared => Limit {
                seconds,
                stage: Some(stage),
            },
            _ => Limit {
                seconds: shared,
                stage: None,
            },
        }
    }
}

/// The best that can be had.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limit {
    /// For a GiB.
    pub(crate) seconds: f64,
    /// What it is up to; nothing: all processors are busy.
    pub(crate) stage: Option<Stage>,
}

#[cfg(test)]
mod tests {
    use super::*;

    // SHA-256, sealing, opening, ocicrypt, reading, writing.
    const COSTS: Costs = Costs([0.8, 0.1, 0.2, 0.9, 0.15, 0.25]);

    fn limit(job: Job, processors: usize, many: bool) -> (f64, Option<Stage>) {
        let limit = job.limit(&COSTS, NonZeroUsize::new(processors).unwrap(), many);
        ((limit.seconds * 1e4).round() / 1e4, limit.stage)
    }

    #[test]
    fn one_layer_is_bound_by_its_slowest_stage_or_by_all_processors() {
        assert_eq!(limit(Job::Encrypt, 1, false), (2.1, None));
        assert_eq!(limit(Job::Encrypt, 2, false), (1.05, None));
        assert_eq!(limit(Job::Encrypt, 4, false), (0.8, Some(Stage::Sha256)));
        assert_eq!(limit(Job::EncryptTrusted, 1, false), (1.3, None));
        assert_eq!(
            limit(Job::EncryptTrusted, 2, false),
            (0.8, Some(Stage::Sha256))
        );
        assert_eq!(
            limit(Job::EncryptOcicrypt, 8, false),
            (0.9, Some(Stage::SealOcicrypt))
        );
        assert_eq!(limit(Job::Decrypt, 1, false), (1.4, None));
        assert_eq!(limit(Job::Decrypt, 2, false), (0.8, Some(Stage::Sha256)));
    }

    #[test]
    fn many_layers_are_bound_by_all_processors() {
        assert_eq!(limit(Job::Encrypt, 8, true), (0.2625, None));
        assert_eq!(limit(Job::EncryptTrusted, 2, true), (0.65, None));
    }
}
