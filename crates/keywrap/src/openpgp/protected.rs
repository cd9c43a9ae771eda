//! Integrity-protected data of version 1 (RFC 9580, section 5.13.1): cipher feedback mode around SHA-1.

use aws_lc_rs::{
    digest::{SHA1_FOR_LEGACY_USE_ONLY, digest},
    rand,
};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::algorithm::{BLOCK_LEN, Cipher};

/// Decrypts, and returns the packets inside if the modification detection code is theirs.
///
/// The repeated octets behind the random block are not looked at: to tell them apart is an oracle (section 13.4).
pub(super) fn open(cipher: Cipher, key: &[u8], ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut octets = Zeroizing::new(ciphertext.to_vec());
    cipher.decrypt(key, [0; BLOCK_LEN], &mut octets)?;
    let hashed = octets.len().checked_sub(SHA1_LEN)?;
    let content = hashed.checked_sub(MDC_HEADER.len())?;
    let inner = octets.get(PREFIX_LEN..content)?;
    let (covered, code) = octets.split_at_checked(hashed)?;
    let expected = digest(&SHA1_FOR_LEGACY_USE_ONLY, covered);
    let is_whole = expected.as_ref().ct_eq(code) & covered.get(content..)?.ct_eq(&MDC_HEADER);
    bool::from(is_whole).then(|| Zeroizing::new(inner.to_vec()))
}

/// Encrypts packets with their modification detection code; `None` without randomness.
pub(super) fn seal(cipher: Cipher, key: &[u8], packets: &[u8]) -> Option<Vec<u8>> {
    let mut octets = Zeroizing::new(Vec::with_capacity(
        PREFIX_LEN + packets.len() + MDC_HEADER.len() + SHA1_LEN,
    ));
    let mut prefix = [0; BLOCK_LEN];
    rand::fill(&mut prefix).ok()?;
    let [.., before_last, last] = prefix;
    octets.extend_from_slice(&prefix);
    octets.extend([before_last, last]);
    octets.extend_from_slice(packets);
    octets.extend(MDC_HEADER);
    let code = digest(&SHA1_FOR_LEGACY_USE_ONLY, &octets);
    octets.extend_from_slice(code.as_ref());
    cipher.encrypt(key, [0; BLOCK_LEN], &mut octets)?;
    Some(std::mem::take(&mut *octets))
}

/// A random block, and its last two octets again.
const PREFIX_LEN: usize = BLOCK_LEN + 2;
/// Tag and length of the packet with the code.
const MDC_HEADER: [u8; 2] = [0xd3, 20];
const SHA1_LEN: usize = 20;
