//! What of this machine decides how work is laid out. The choice depends on nothing else.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

/// A machine, as far as it matters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Machine {
    /// Processors that this process may use.
    pub(crate) processors: NonZeroUsize,
}

impl Machine {
    /// Describes this one.
    pub(crate) fn here() -> Self {
        Self {
            processors: available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
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
            };
            let jobs = [false, true].map(|is_far| machine.jobs(is_far).get());
            assert_eq!(jobs, [near, far], "{processors} processors");
        }
    }
}
