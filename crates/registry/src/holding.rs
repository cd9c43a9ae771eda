use std::sync::Arc;

/// Counts the uploads that hold octets until they have arrived: the client has one, and each of them a clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holding(Arc<()>);

impl Holding {
    /// Returns the length of the next chunk: with many uploads at a time they are short, so that all of them together take
    /// little more than two of full length, but not as short as some registries refuse.
    pub(crate) fn chunk_size(&self, full: usize) -> usize {
        // The client has one, too.
        let uploads = Arc::strong_count(&self.0) - 1;
        (full.saturating_mul(2) / uploads.max(1)).clamp(full.min(LEAST_SHARED_CHUNK), full)
    }
}

/// Length under which chunks are not shortened; what is stored at S3 comes in parts of at least 5 MiB.
const LEAST_SHARED_CHUNK: usize = 5 * 1024 * 1024;
