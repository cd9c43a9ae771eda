//! The key derivation of ECDH-ES (RFC 7518, section 4.6.2; NIST SP 800-56A, section 5.8.2.1).

use aws_lc_rs::digest;
use zeroize::Zeroizing;

use crate::SharedSecret;

/// Derives a key of `key_len` octets, at most one SHA-256 output, which is all that AES key wrap needs.
pub(super) fn derive(
    shared: &SharedSecret,
    algorithm: &str,
    key_len: usize,
    apu: &[u8],
    apv: &[u8],
) -> Zeroizing<Vec<u8>> {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(&1_u32.to_be_bytes());
    hash.update(shared.expose());
    for field in [algorithm.as_bytes(), apu, apv] {
        hash.update(&length_prefix(field.len()));
        hash.update(field);
    }
    hash.update(&length_prefix(key_len * 8));
    let mut key = Zeroizing::new(hash.finish().as_ref().to_vec());
    key.truncate(key_len);
    key
}

/// Returns a length as the KDF wants it; every length here is bounded by the element's.
fn length_prefix(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7518, appendix C.
    #[test]
    fn derives_the_key_of_the_rfc_7518_example() {
        let z = [
            158, 86, 217, 29, 129, 113, 53, 211, 114, 131, 66, 131, 191, 132, 38, 156, 251, 49,
            110, 163, 218, 128, 106, 72, 246, 218, 167, 121, 140, 254, 144, 196,
        ];
        let key = derive(
            &SharedSecret::new(Zeroizing::new(z.to_vec())),
            "A128GCM",
            16,
            b"Alice",
            b"Bob",
        );
        assert_eq!(
            *key,
            [
                86, 170, 141, 234, 248, 35, 109, 32, 92, 34, 40, 205, 113, 167, 16, 26
            ]
        );
    }
}
