//! AES key wrap (RFC 3394).

use aes_kw::{KeyInit, KwAes192};
use aws_lc_rs::key_wrap::{AES_128, AES_256, AesKek, KeyWrap};
use zeroize::Zeroizing;

use super::WrapWidth;

/// Unwraps a key; `None` if the integrity check fails or the length is none of a wrapped key.
pub(crate) fn unwrap(width: WrapWidth, kek: &[u8], wrapped: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    // The smallest wrapped key is two blocks of eight octets and the integrity block.
    if wrapped.len() < 24 || !wrapped.len().is_multiple_of(8) {
        return None;
    }
    let mut key = Zeroizing::new(vec![0; wrapped.len().checked_sub(8)?]);
    match width {
        WrapWidth::A128 => {
            let kek = AesKek::new(&AES_128, kek).ok()?;
            kek.unwrap(wrapped, &mut key).ok()?;
        }
        WrapWidth::A192 => {
            let kek = KwAes192::new_from_slice(kek).ok()?;
            kek.unwrap_key(wrapped, &mut key).ok()?;
        }
        WrapWidth::A256 => {
            let kek = AesKek::new(&AES_256, kek).ok()?;
            kek.unwrap(wrapped, &mut key).ok()?;
        }
    }
    Some(key)
}

/// Wraps a key; `None` if its length is not a multiple of eight octets, or shorter than sixteen.
pub(crate) fn wrap(width: WrapWidth, kek: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    if key.len() < 16 || !key.len().is_multiple_of(8) {
        return None;
    }
    let mut wrapped = vec![0; key.len() + 8];
    match width {
        WrapWidth::A128 => {
            let kek = AesKek::new(&AES_128, kek).ok()?;
            kek.wrap(key, &mut wrapped).ok()?;
        }
        WrapWidth::A192 => {
            let kek = KwAes192::new_from_slice(kek).ok()?;
            kek.wrap_key(key, &mut wrapped).ok()?;
        }
        WrapWidth::A256 => {
            let kek = AesKek::new(&AES_256, kek).ok()?;
            kek.wrap(key, &mut wrapped).ok()?;
        }
    }
    Some(wrapped)
}
