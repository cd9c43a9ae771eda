use std::collections::HashMap;
use std::io;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use sealift_keywrap::{LayerSecret, WrappedKey};
use sealift_sys::LockedBytes;

/// The SHA-256 by which an element is known: of its scheme, an octet of zero, and the element.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct WrapId([u8; 32]);

impl WrapId {
    /// Names an element.
    pub fn of(wrapped: &WrappedKey) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(wrapped.scheme.to_string().as_bytes());
        context.update(&[0]);
        context.update(&wrapped.element);
        let mut id = [0; 32];
        for (to, from) in id.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        Self(id)
    }
}

/// Released secrets, each until its lease ends.
///
/// Every secret lies in pages of its own that are not swapped out, and is wiped when it goes. An ended lease gives nothing even
/// before it is swept.
#[derive(Debug, Default)]
pub struct Leases(HashMap<WrapId, Lease>);

#[derive(Debug)]
struct Lease {
    secret: LockedBytes,
    key_id: Box<str>,
    epoch: u32,
    until: Duration,
}

impl Leases {
    /// Keeps a secret `until` a time since boot. Where there is no room, the lease that ends first goes.
    ///
    /// # Errors
    /// When the system gives no memory; nothing is kept then.
    pub fn insert(
        &mut self,
        id: WrapId,
        secret: &LayerSecret,
        (key_id, epoch): (&str, u32),
        until: Duration,
    ) -> io::Result<()> {
        let mut pages = LockedBytes::zeroed(secret.expose().len())?;
        pages.expose_mut().copy_from_slice(secret.expose());
        if self.0.len() >= Self::MAX && !self.0.contains_key(&id) {
            let first = self.0.iter().min_by_key(|(_, lease)| lease.until);
            if let Some(first) = first.map(|(id, _)| *id) {
                self.0.remove(&first);
            }
        }
        let lease = Lease {
            secret: pages,
            key_id: key_id.into(),
            epoch,
            until,
        };
        self.0.insert(id, lease);
        Ok(())
    }

    /// Borrows a secret whose lease has not ended.
    pub fn get(&self, id: &WrapId, now: Duration) -> Option<&[u8]> {
        let lease = self.0.get(id).filter(|lease| now < lease.until)?;
        Some(lease.secret.expose())
    }

    /// Wipes secrets whose lease has ended.
    pub fn sweep(&mut self, now: Duration) {
        self.0.retain(|_, lease| now < lease.until);
    }

    /// Wipes what a key below an epoch released.
    pub fn forget(&mut self, key_id: &str, below: u64) {
        self.0
            .retain(|_, lease| *lease.key_id != *key_id || u64::from(lease.epoch) >= below);
    }

    /// Wipes everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns how many secrets are held.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether none is held.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether all of them are kept out of swap.
    pub fn locked(&self) -> bool {
        self.0.values().all(|lease| lease.secret.locked())
    }

    /// Most secrets held at once.
    pub const MAX: usize = 4096;
}
