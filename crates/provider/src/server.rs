//! Being a key provider: what is wrapped for whom, and opened with what, is decided here and not by who asks.

use std::fmt;

use sealift_keywrap::{
    ElementReport, KeySet, Keyring, LayerSecret, Recipient, Scheme, WrapContext, WrapError,
    WrappedKey,
};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::GrpcCode;
use crate::message::{self, MessageError, Request};

/// Recipients and identities behind the key-provider protocol.
///
/// Layer keys are wrapped for all recipients, into one [`KeySet`]. Opened are such sets, and packets of Confidential Containers.
/// Parameters of a request select nothing, and keys in it are not used.
#[derive(Debug)]
pub struct KeyServer {
    recipients: Vec<Box<dyn Recipient>>,
    keyring: Keyring,
}

impl KeyServer {
    /// Takes whom to wrap for and what to open with; each may be empty, and is then refused when it is asked for.
    pub fn new(recipients: Vec<Box<dyn Recipient>>, keyring: Keyring) -> Self {
        Self {
            recipients,
            keyring,
        }
    }

    /// Answers one request.
    ///
    /// # Errors
    /// [`ServeError`]
    pub fn answer(&self, request: &[u8]) -> Result<Zeroizing<Vec<u8>>, ServeError> {
        match Request::parse(request)? {
            Request::Wrap(secret) => Ok(message::wrapped(&self.wrap(&secret)?)),
            Request::Unwrap(element) => Ok(message::unwrapped(&self.unwrap(element)?)),
        }
    }

    fn wrap(&self, secret: &LayerSecret) -> Result<Vec<u8>, ServeError> {
        if self.recipients.is_empty() {
            return Err(ServeError::NoRecipients);
        }
        // What is no layer key is not sealed, lest somebody uses us to seal what we later refuse to give out.
        if !secret.is_private_options() {
            return Err(ServeError::NotALayerKey);
        }
        // A layer that is known would have a name; nobody tells it.
        let context = WrapContext::default();
        let mut keys = Vec::with_capacity(self.recipients.len());
        for recipient in &self.recipients {
            let wrapped = recipient.wrap_key(secret, &context).map_err(|source| {
                let recipient = format!("{} {}", recipient.scheme(), recipient.fingerprint());
                ServeError::Wrap { recipient, source }
            })?;
            keys.push(wrapped);
        }
        Ok(KeySet::new(keys).map_err(ServeError::Set)?.to_element())
    }

    fn unwrap(&self, element: Vec<u8>) -> Result<LayerSecret, ServeError> {
        if self.keyring.is_empty() {
            return Err(ServeError::NoKeys);
        }
        // The name of the annotation is not told. Sets are recognised under every name, and so are packets.
        let wrapped = [WrappedKey {
            scheme: Scheme::Provider(COCO.into()),
            element,
        }];
        let mut candidates = self.keyring.unwrap_keys(&wrapped, WrapContext::default());
        let found = candidates
            .by_ref()
            .map(|unwrapped| unwrapped.secret)
            .find(LayerSecret::is_private_options);
        found.ok_or_else(|| ServeError::NotOpened {
            report: candidates.into_report(),
        })
    }
}

/// The annotation of Confidential Containers, whose elements are no sets.
const COCO: &str = "attestation-agent";

/// Why there is no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The request is none.
    #[error("malformed request: {0}")]
    Request(#[from] MessageError),

    /// Asked to wrap, and there is nobody to wrap for.
    #[error("no recipients are configured: this key provider only opens")]
    NoRecipients,

    /// Asked to open, and there are no keys.
    #[error("no keys are configured: this key provider only wraps")]
    NoKeys,

    /// What is to be wrapped is no layer key.
    #[error("what was sent to be wrapped is no layer key")]
    NotALayerKey,

    /// A recipient cannot have it.
    #[error("cannot wrap the layer key for {recipient}")]
    Wrap {
        /// Which one.
        recipient: String,
        /// Why.
        #[source]
        source: WrapError,
    },

    /// There are too many recipients for one annotation.
    #[error("cannot put all wrapped keys into one annotation")]
    Set(#[source] WrapError),

    /// No key opens it.
    #[error("no key fits: {}", Reports(.report))]
    NotOpened {
        /// What became of the element.
        report: Vec<ElementReport>,
    },
}

impl ServeError {
    /// Returns the status with which gRPC tells this.
    pub fn code(&self) -> GrpcCode {
        match self {
            Self::Request(_) | Self::NotALayerKey => GrpcCode::INVALID_ARGUMENT,
            Self::NoRecipients | Self::NoKeys => GrpcCode::FAILED_PRECONDITION,
            Self::Wrap { .. } | Self::Set(_) => GrpcCode::INTERNAL,
            Self::NotOpened { .. } => GrpcCode::PERMISSION_DENIED,
        }
    }

    /// Returns the message with those of all causes, on one line.
    pub(crate) fn whole(&self) -> String {
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(&error.to_string());
            cause = error.source();
        }
        line
    }
}

struct Reports<'a>(&'a [ElementReport]);

impl fmt::Display for Reports<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for report in self.0 {
            // The scheme is the one that we assume.
            for info in &report.recipients {
                let name = info.key_id.as_deref().or(info.fingerprint.as_deref());
                let algorithm = info.algorithm.as_deref().unwrap_or("unknown");
                write!(f, "{} {algorithm} {}, ", info.scheme, name.unwrap_or("-"))?;
            }
            write!(f, "{}", report.outcome)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sealift_keywrap::customer_key::CustomerKey;

    use super::*;
    use crate::ProviderName;

    const SECRET: &[u8] = br#"{"symkey":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","digest":"","cipheroptions":{}}"#;

    fn key(octet: u8) -> CustomerKey {
        CustomerKey::new(Zeroizing::new([octet; 32]))
    }

    fn server(recipients: &[u8], keys: &[u8]) -> KeyServer {
        let recipients = recipients.iter().map(|octet| Box::new(key(*octet)) as _);
        let mut ring = Keyring::new();
        for octet in keys {
            ring.push(Box::new(key(*octet))).unwrap();
        }
        KeyServer::new(recipients.collect(), ring)
    }

    fn name() -> ProviderName {
        ProviderName::parse("demo").unwrap()
    }

    fn secret(octets: &[u8]) -> LayerSecret {
        LayerSecret::new(Zeroizing::new(octets.to_vec()))
    }

    fn wrap(server: &KeyServer) -> Vec<u8> {
        let request = message::wrap_request(&name(), b"Enabled", &secret(SECRET));
        message::wrap_answer(&server.answer(&request).unwrap()).unwrap()
    }

    fn unwrap(server: &KeyServer, element: &[u8]) -> Result<LayerSecret, ServeError> {
        let answer = server.answer(&message::unwrap_request(&name(), b"Enabled", element))?;
        Ok(message::unwrap_answer(&answer).unwrap())
    }

    #[test]
    fn every_recipient_opens_alone_what_was_wrapped_for_all() {
        let element = wrap(&server(&[1, 2, 3], &[]));
        for octet in 1..=3 {
            let opened = unwrap(&server(&[], &[9, octet]), &element).unwrap();
            assert_eq!(opened.expose(), SECRET);
        }
        let error = unwrap(&server(&[], &[9]), &element).unwrap_err();
        assert_eq!(error.code(), GrpcCode::PERMISSION_DENIED);
        let text = error.to_string();
        assert!(
            text.starts_with("no key fits: provider.sealift aes256 "),
            "{text}"
        );
        assert!(text.ends_with(", wrapped for another key"), "{text}");
    }

    #[test]
    fn keys_and_parameters_in_a_request_select_nothing() {
        let element = wrap(&server(&[1], &[]));
        // The key that would open it, as other tools send keys along.
        let fitting = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, [1; 32]);
        let request = serde_json::json!({
            "op": "keyunwrap",
            "keywrapparams": null,
            "keyunwrapparams": {
                "dc": {"Parameters": {"demo": [fitting], "privkeys": [fitting], "privkeys-passwords": [null]}},
                "annotation": element,
            },
        });
        let error = server(&[], &[9]).answer(request.to_string().as_bytes());
        assert!(matches!(error, Err(ServeError::NotOpened { .. })));
    }

    #[test]
    fn what_is_not_configured_is_refused() {
        let element = wrap(&server(&[1], &[]));
        let error = unwrap(&server(&[1], &[]), &element).unwrap_err();
        assert!(matches!(error, ServeError::NoKeys));
        let request = message::wrap_request(&name(), b"Enabled", &secret(SECRET));
        let error = server(&[], &[1]).answer(&request).unwrap_err();
        assert!(matches!(error, ServeError::NoRecipients));
        assert_eq!(error.code(), GrpcCode::FAILED_PRECONDITION);
    }

    #[test]
    fn only_layer_keys_are_wrapped_and_given_out() {
        let other = message::wrap_request(&name(), b"Enabled", &secret(b"{}"));
        let error = server(&[1], &[1]).answer(&other).unwrap_err();
        assert!(matches!(error, ServeError::NotALayerKey));
        let wrapped = key(1)
            .wrap_key(&secret(b"{}"), &WrapContext::default())
            .unwrap();
        let element = KeySet::new(vec![wrapped]).unwrap().to_element();
        let error = unwrap(&server(&[1], &[1]), &element).unwrap_err();
        assert!(matches!(error, ServeError::NotOpened { .. }));
        for element in [&b"{}"[..], b"x", br#"{"v":9,"type":"sealift.keys"}"#] {
            let error = unwrap(&server(&[1], &[1]), element).unwrap_err();
            assert!(matches!(error, ServeError::NotOpened { .. }));
        }
    }
}
