use std::collections::BTreeMap;

/// Something that lies beside an image and claims to be a signature of it.
#[derive(Clone, Copy, Debug)]
pub enum Claim<'a> {
    /// A sigstore bundle.
    Bundle {
        /// The JSON document.
        json: &'a [u8],
    },
    /// A layer of an image that cosign keeps under the tag `sha256-….sig`.
    Simple {
        /// What was signed.
        payload: &'a [u8],
        /// The annotations of the layer's descriptor, the signature among them.
        annotations: &'a BTreeMap<String, String>,
    },
}

impl Claim<'_> {
    /// Media type of a sigstore bundle: what a referrer that is one has as its artifact type.
    pub const BUNDLE: &'static str = "application/vnd.dev.sigstore.bundle.v0.3+json";
    /// Media type of a payload in cosign's simple signing.
    pub const SIMPLE: &'static str = "application/vnd.dev.cosign.simplesigning.v1+json";
    /// Longest bundle or payload, in octets.
    pub const MAX_LEN: usize = 1 << 20;
    /// Most claims that are looked at for one image.
    pub const MAX_COUNT: usize = 1024;
}
