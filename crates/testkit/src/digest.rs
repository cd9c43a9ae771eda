use aws_lc_rs::digest;

/// Returns `sha256:` and the hex digest of `bytes`.
pub fn sha256(bytes: &[u8]) -> String {
    format!(
        "sha256:{}",
        hex::encode(digest::digest(&digest::SHA256, bytes))
    )
}

/// Returns `sha512:` and the hex digest of `bytes`.
pub fn sha512(bytes: &[u8]) -> String {
    format!(
        "sha512:{}",
        hex::encode(digest::digest(&digest::SHA512, bytes))
    )
}

/// Returns the digest of `bytes` in the algorithm that `like` names; `None` for algorithms other than SHA-256 and SHA-512.
pub(crate) fn same_algorithm(like: &str, bytes: &[u8]) -> Option<String> {
    match like.split_once(':')?.0 {
        "sha256" => Some(sha256(bytes)),
        "sha512" => Some(sha512(bytes)),
        _ => None,
    }
}
