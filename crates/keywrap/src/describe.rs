use crate::{
    KeySet, Scheme, WrappedKey, coco, customer_key, jwe, openpgp, pkcs7, pkcs7::IssuerAndSerial,
    pkcs11, threshold_label, xwing,
};

/// What an element says about one of its recipients, without any key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RecipientInfo {
    /// The envelope.
    pub scheme: Scheme,
    /// The key-wrapping algorithm as it stands in the element; `None` if the element could not be read that far.
    pub algorithm: Option<Box<str>>,
    /// The `kid` as it stands in the element.
    pub key_id: Option<Box<str>>,
    /// The fingerprint, where the envelope carries one: then no other key can open the element.
    pub fingerprint: Option<Box<str>>,
    /// The recipient's certificate, where the envelope names one.
    pub certificate: Option<IssuerAndSerial>,
}

impl RecipientInfo {
    /// Returns all that is known of an element that does not name its recipients.
    pub(crate) fn unknown(scheme: Scheme) -> Self {
        Self {
            scheme,
            algorithm: None,
            key_id: None,
            fingerprint: None,
            certificate: None,
        }
    }
}

/// Lists the recipients of an element as far as its envelope names them.
///
/// Of a [set of keys](KeySet) those of all its keys. Never empty: an element that cannot be read still has one recipient, of unknown algorithm.
pub fn describe(wrapped: &WrappedKey) -> Vec<RecipientInfo> {
    if let Some(Ok(set)) = KeySet::of(wrapped) {
        return set.keys().iter().flat_map(describe).collect();
    }
    let recipients = match &wrapped.scheme {
        Scheme::Jwe => jwe::describe(&wrapped.element),
        Scheme::Pkcs7 => pkcs7::describe(&wrapped.element),
        Scheme::Pgp => openpgp::describe(&wrapped.element),
        Scheme::Pkcs11 => pkcs11::describe(&wrapped.element),
        sealift if *sealift == Scheme::sealift() => {
            let named = threshold_label::describe(&wrapped.element)
                .or_else(|| xwing::describe(&wrapped.element));
            match named {
                Some(info) => vec![info],
                None => customer_key::describe(&wrapped.element),
            }
        }
        packet if *packet == coco::scheme() => coco::describe(&wrapped.element),
        _ => Vec::new(),
    };
    if recipients.is_empty() {
        vec![RecipientInfo::unknown(wrapped.scheme.clone())]
    } else {
        recipients
    }
}
