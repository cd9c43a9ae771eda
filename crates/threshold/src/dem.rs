//! From a shared secret to a key confirmation and a ciphertext (`SPEC.md`, section 8, steps 2 to 4).

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    constant_time, hkdf,
};
use zeroize::Zeroizing;

/// The key of one wrap, and the confirmation that goes before its ciphertext.
pub(crate) struct WrapKey {
    // KEK and key confirmation, one after the other.
    octets: Zeroizing<[u8; 2 * HALF]>,
}

impl WrapKey {
    /// HKDF with SHA-256, to 64 octets.
    #[expect(
        clippy::expect_used,
        reason = "64 octets are far below what HKDF can give"
    )]
    pub(crate) fn derive(salt: &[u8], secret: &[u8], info: &[u8]) -> Self {
        let mut octets = Zeroizing::new([0; 2 * HALF]);
        hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
            .extract(secret)
            .expand(&[info], Length)
            .and_then(|okm| okm.fill(&mut octets[..]))
            .expect("a legal length");
        Self { octets }
    }

    /// Returns `kc || AES-256-GCM(m)`.
    #[expect(
        clippy::expect_used,
        reason = "AES-GCM takes 64 GiB, far above the 4096 octets of a plaintext"
    )]
    pub(crate) fn seal(&self, label: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let mut sealed = Zeroizing::new(plaintext.to_vec());
        let tag = self
            .aead()
            .seal_in_place_separate_tag(nonce(), Aad::from(label), &mut sealed)
            .expect("a legal length");
        [self.confirmation(), &sealed, tag.as_ref()].concat()
    }

    /// Returns whether `c` was sealed with this key, without touching the cipher.
    pub(crate) fn confirms(&self, c: &[u8]) -> bool {
        c.get(..HALF).is_some_and(|confirmation| {
            constant_time::verify_slices_are_equal(confirmation, self.confirmation()).is_ok()
        })
    }

    /// Opens `c`, whose key confirmation was compared before.
    pub(crate) fn open(&self, label: &[u8], c: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut opened = Zeroizing::new(c.get(HALF..)?.to_vec());
        let len = self
            .aead()
            .open_in_place(nonce(), Aad::from(label), &mut opened)
            .ok()?
            .len();
        opened.truncate(len);
        Some(opened)
    }

    fn kek(&self) -> &[u8] {
        self.octets.split_at(HALF).0
    }

    fn confirmation(&self) -> &[u8] {
        self.octets.split_at(HALF).1
    }

    #[expect(clippy::expect_used, reason = "the key has the length of the cipher")]
    fn aead(&self) -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, self.kek()).expect("32 octets"))
    }
}

/// Constant, because every key seals once.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

struct Length;

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        2 * HALF
    }
}

/// Octets of the KEK, and of the key confirmation.
const HALF: usize = 32;

/// Least and most octets of `c`: key confirmation, 1 to 4096 octets, tag.
pub(crate) const C_LEN: std::ops::RangeInclusive<usize> = 49..=4144;
/// Least and most octets that can be wrapped.
pub(crate) const PLAINTEXT_LEN: std::ops::RangeInclusive<usize> = 1..=4096;

#[cfg(test)]
impl WrapKey {
    pub(crate) fn expose(&self) -> (&[u8], &[u8]) {
        self.octets.split_at(HALF)
    }
}
