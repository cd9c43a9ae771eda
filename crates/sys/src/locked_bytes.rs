//! Secrets in pages of their own.

use std::fmt;
use std::io;

use memmap2::MmapMut;
use zeroize::Zeroize;

/// A secret of fixed length in pages of its own.
///
/// The pages are never swapped out where the system allows it ([`locked`](Self::locked)) and are left out of core dumps on
/// Linux. They are wiped before they go back. Not `Clone`, and silent under `Debug`, so every use of the octets is a call to
/// [`expose`](Self::expose) that a reviewer can grep.
pub struct LockedBytes {
    /// At least one octet, as no system maps none.
    pages: MmapMut,
    len: usize,
    locked: bool,
}

impl LockedBytes {
    /// Makes room for a secret of `len` octets, all zero.
    ///
    /// # Errors
    /// Whatever the system says when it has no memory left. Pages that cannot be locked are no error, as `RLIMIT_MEMLOCK`
    /// may forbid it: whoever insists asks [`locked`](Self::locked).
    pub fn zeroed(len: usize) -> io::Result<Self> {
        let pages = MmapMut::map_anon(len.max(1))?;
        let locked = keep_out_of_swap_and_dumps(&pages);
        Ok(Self { pages, len, locked })
    }

    /// Takes a secret over and wipes where it came from.
    ///
    /// # Errors
    /// As [`zeroed`](Self::zeroed). The source is wiped even then.
    pub fn take(source: &mut [u8]) -> io::Result<Self> {
        let mut taken = Self::zeroed(source.len());
        if let Ok(secret) = &mut taken {
            secret.expose_mut().copy_from_slice(source);
        }
        source.zeroize();
        taken
    }

    /// Borrows the secret.
    pub fn expose(&self) -> &[u8] {
        self.pages.get(..self.len).unwrap_or_default()
    }

    /// Borrows the secret to write it.
    pub fn expose_mut(&mut self) -> &mut [u8] {
        self.pages.get_mut(..self.len).unwrap_or_default()
    }

    /// Returns whether the system keeps the pages out of swap.
    pub fn locked(&self) -> bool {
        self.locked
    }

    /// Returns how many octets there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Drop for LockedBytes {
    fn drop(&mut self) {
        // Unmapping, which follows, also unlocks.
        self.pages.as_mut().zeroize();
    }
}

impl fmt::Debug for LockedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockedBytes").finish_non_exhaustive()
    }
}

#[cfg(unix)]
fn keep_out_of_swap_and_dumps(pages: &MmapMut) -> bool {
    // A core dump is also prevented for the whole process (`no_core_dumps`), so that a refusal here is no loss.
    #[cfg(target_os = "linux")]
    let _ = pages.advise(memmap2::Advice::DontDump);
    pages.lock().is_ok()
}

#[cfg(not(unix))]
fn keep_out_of_swap_and_dumps(_pages: &MmapMut) -> bool {
    false
}
