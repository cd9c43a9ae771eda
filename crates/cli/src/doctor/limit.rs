//! How fast a job can be where each stage is as fast as it was measured, and which stage that is up to.
//!
//! A stage of one layer is one thread's work, in order; stages overlap. So one layer takes as long as its slowest stage, or as
//! all stages shared among the processors, whichever is longer; many layers take the latter. Digests that can be computed two at
//! once, those of one layer or of several, take a processor less than one after the other. Files are read and written by the
//! kernel, which needs a processor for it, too.

use std::num::NonZeroUsize;

/// Work on every octet of a layer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stage {
    Sha256,
    /// Two at once; for an octet of either.
    Sha256Pair,
    SealChunks,
    OpenChunks,
    /// ocicrypt's cipher; its HMAC is a SHA-256.
    Ctr,
    Read,
    Write,
}

impl Stage {
    pub(crate) const ALL: [Self; 7] = [
        Self::Sha256,
        Self::Sha256Pair,
        Self::SealChunks,
        Self::OpenChunks,
        Self::Ctr,
        Self::Read,
        Self::Write,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Sha256Pair => "SHA-256, two at once",
            Self::SealChunks => "sealing chunks (AES-256-GCM)",
            Self::OpenChunks => "opening chunks (AES-256-GCM)",
            Self::Ctr => "ocicrypt's cipher (AES-256-CTR)",
            Self::Read => "reading files, from memory",
            Self::Write => "writing files",
        }
    }

    /// Its name in JSON.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha256Pair => "sha256Pair",
            Self::SealChunks => "sealChunks",
            Self::OpenChunks => "openChunks",
            Self::Ctr => "ctr",
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
    EncryptOcicryptTrusted,
    Decrypt,
}

impl Job {
    pub(crate) const ALL: [Self; 5] = [
        Self::Encrypt,
        Self::EncryptTrusted,
        Self::EncryptOcicrypt,
        Self::EncryptOcicryptTrusted,
        Self::Decrypt,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Encrypt => "encrypt",
            Self::EncryptTrusted => "encrypt --no-verify-source",
            Self::EncryptOcicrypt => "encrypt --cipher ocicrypt",
            Self::EncryptOcicryptTrusted => "the same, --no-verify-source",
            Self::Decrypt => "decrypt",
        }
    }

    /// Its name in JSON.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Encrypt => "encrypt",
            Self::EncryptTrusted => "encryptNoVerifySource",
            Self::EncryptOcicrypt => "encryptOcicrypt",
            Self::EncryptOcicryptTrusted => "encryptOcicryptNoVerifySource",
            Self::Decrypt => "decrypt",
        }
    }

    /// Its stages but for digests, and how many of these there are: of what is read, of what is written, and ocicrypt's HMAC.
    fn stages(self) -> ([Stage; 3], u8) {
        use Stage::{Ctr, OpenChunks, Read, SealChunks, Write};
        match self {
            Self::Encrypt => ([Read, SealChunks, Write], 2),
            Self::EncryptTrusted => ([Read, SealChunks, Write], 1),
            Self::EncryptOcicrypt => ([Read, Ctr, Write], 3),
            Self::EncryptOcicryptTrusted => ([Read, Ctr, Write], 2),
            // Of a layout: the plaintext proves the sealed blob.
            Self::Decrypt => ([Read, OpenChunks, Write], 1),
        }
    }

    /// Returns the limit for one layer, or for as many as there are processors.
    pub(crate) fn limit(self, costs: &Costs, processors: NonZeroUsize, many: bool) -> Limit {
        let (stages, digests) = self.stages();
        let alone = costs.of(Stage::Sha256);
        let beside = alone.min(costs.of(Stage::Sha256Pair));
        let digest = if many || digests > 1 { beside } else { alone };
        let others: f64 = stages.iter().map(|stage| costs.of(*stage)).sum();
        let all = others + f64::from(digests) * digest;
        #[expect(clippy::cast_precision_loss, reason = "no machine has 2^52 processors")]
        let shared = all / processors.get() as f64;
        let slowest = stages
            .into_iter()
            .chain([Stage::Sha256])
            .map(|stage| (stage, costs.of(stage)))
            .max_by(|(_, a), (_, b)| a.total_cmp(b));
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

    // SHA-256, two at once, sealing, opening, CTR, reading, writing.
    const COSTS: Costs = Costs([0.8, 0.5, 0.1, 0.2, 0.3, 0.15, 0.25]);

    fn limit(job: Job, processors: usize, many: bool) -> (f64, Option<Stage>) {
        let limit = job.limit(&COSTS, NonZeroUsize::new(processors).unwrap(), many);
        ((limit.seconds * 1e4).round() / 1e4, limit.stage)
    }

    #[test]
    fn one_layer_is_bound_by_its_slowest_stage_or_by_all_processors() {
        let sha256 = Some(Stage::Sha256);
        assert_eq!(limit(Job::Encrypt, 1, false), (1.5, None));
        assert_eq!(limit(Job::Encrypt, 2, false), (0.8, sha256));
        // One digest has nothing to be computed beside.
        assert_eq!(limit(Job::EncryptTrusted, 1, false), (1.3, None));
        assert_eq!(limit(Job::EncryptTrusted, 2, false), (0.8, sha256));
        assert_eq!(limit(Job::EncryptOcicrypt, 2, false), (1.1, None));
        assert_eq!(limit(Job::EncryptOcicrypt, 8, false), (0.8, sha256));
        assert_eq!(limit(Job::EncryptOcicryptTrusted, 2, false), (0.85, None));
        assert_eq!(limit(Job::Decrypt, 1, false), (1.4, None));
        assert_eq!(limit(Job::Decrypt, 2, false), (0.8, sha256));
    }

    #[test]
    fn many_layers_are_bound_by_all_processors() {
        assert_eq!(limit(Job::Encrypt, 8, true), (0.1875, None));
        assert_eq!(limit(Job::EncryptTrusted, 2, true), (0.5, None));
    }

    #[test]
    fn where_two_digests_at_once_are_no_faster_they_are_computed_in_turns() {
        let mut costs = COSTS;
        costs.set(Stage::Sha256Pair, 0.9);
        let limit = Job::Encrypt.limit(&costs, NonZeroUsize::MIN, false);
        assert!((limit.seconds - 2.1).abs() < 1e-9);
    }
}
