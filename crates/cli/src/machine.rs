//! What of this machine decides how work is laid out. The choice depends on nothing else.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use sealift_layer::{AeadLibrary, ProcessorFeatures};
use sealift_oci::Platform;

/// A machine, as far as it matters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Machine {
    /// Processors that this process may use.
    pub(crate) processors: NonZeroUsize,
    /// What they can do.
    pub(crate) features: ProcessorFeatures,
}

impl Machine {
    /// Describes this one.
    pub(crate) fn here() -> Self {
        Self {
            processors: available_parallelism().unwrap_or(NonZeroUsize::MIN),
            features: ProcessorFeatures::here(),
        }
    }

    /// Returns the library that would be faster at sealing and opening chunks.
    pub(crate) fn faster_aead(self) -> AeadLibrary {
        AeadLibrary::faster_on(self.features)
    }

    /// Returns how many layers are on their way at the same time, where nobody said (`--jobs`): with a registry at an end
    /// waiting takes longer than working.
    pub(crate) fn jobs(self, is_far: bool) -> NonZeroUsize {
        let near = self.processors.min(MAX_JOBS);
        match is_far {
            true => near.max(FAR_JOBS),
            false => near,
        }
    }
}

/// Returns which images this machine runs, as manifests write it. Where there are no containers but in a virtual machine,
/// those of Linux.
pub(crate) fn platform() -> Platform {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    };
    Platform {
        os: if cfg!(windows) { "windows" } else { "linux" }.to_owned(),
        architecture: architecture.to_owned(),
        ..Platform::default()
    }
}

/// What containers' tools move at the same time, too.
const FAR_JOBS: NonZeroUsize = match NonZeroUsize::new(6) {
    Some(jobs) => jobs,
    None => NonZeroUsize::MIN,
};

/// More layers at once only help where the registry is far away; then `--jobs` says so.
const MAX_JOBS: NonZeroUsize = match NonZeroUsize::new(8) {
    Some(jobs) => jobs,
    None => NonZeroUsize::MIN,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_follow_from_the_processors() {
        for (processors, near, far) in [(1, 1, 6), (2, 2, 6), (6, 6, 6), (7, 7, 7), (64, 8, 8)] {
            let machine = Machine {
                processors: NonZeroUsize::new(processors).unwrap(),
                features: ProcessorFeatures::here(),
            };
            let jobs = [false, true].map(|is_far| machine.jobs(is_far).get());
            assert_eq!(jobs, [near, far], "{processors} processors");
        }
    }
}
