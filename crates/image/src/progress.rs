use sealift_oci::Digest;

use crate::files::WholeReason;

/// Receives what happens during an operation; called from several threads at once.
pub trait Progress: Sync {
    /// Takes one event. Must not block for long: the transfer waits.
    fn event(&self, event: Event<'_>);
}

/// Something worth showing.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A decision the user should know of, in one sentence.
    Notice {
        /// The sentence.
        text: &'a str,
    },
    /// All of a layer is read although a part was asked for.
    WholeLayer {
        /// Place in the image, 0 is the base.
        index: usize,
        /// The blob as the source names it.
        digest: &'a Digest,
        /// Its length in octets.
        size: u64,
        /// Why.
        reason: WholeReason,
    },
    /// A layer that registries must not store is not there, and is passed over.
    LayerAbsent {
        /// Place in the image, 0 is the base.
        index: usize,
        /// The blob as the source names it.
        digest: &'a Digest,
    },
    /// Work on one blob begins.
    Started {
        /// The blob as the source names it.
        digest: &'a Digest,
        /// Its length in octets.
        size: u64,
        /// What is done with it.
        action: Action,
    },
    /// More of the blob has been read.
    Advanced {
        /// The blob as the source names it.
        digest: &'a Digest,
        /// Octets since the last event.
        bytes: u64,
    },
    /// The blob is at its destination.
    Finished {
        /// The blob as the source names it.
        digest: &'a Digest,
    },
}

/// What an operation does with one blob.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// Seals it.
    Seal,
    /// Opens it.
    Open,
    /// Copies it unchanged.
    Copy,
    /// Copies it unchanged because it is sealed already.
    KeepSealed,
    /// Copies it unchanged, in clear, because the layer was not selected.
    LeaveClear,
    /// Wraps its key for others; the layer stays as it is.
    Rewrap,
    /// Copies its message behind a new header.
    RewriteHeader,
    /// Leaves it where it is: a layer that registries must not store.
    SkipNondistributable,
    /// Reads and checks it.
    Verify,
    /// Reads it to look for a file in it.
    Read,
}

/// Shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _: Event<'_>) {}
}
