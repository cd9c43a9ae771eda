//! A group of key holders as one more recipient of a layer key.

use aws_lc_rs::rand::SystemRandom;
use sealift_keywrap::{
    LayerSecret, PublicKey, Recipient, Scheme, WrapContext, WrapError, WrappedKey, keys,
};

use crate::{ErrorId, GroupKey, Label, Residency, Subject, SubjectKind, ThresholdError};

/// Wraps layer keys for the holders of one group key.
///
/// For an `unbound` key it writes the JWE that any stock tool could write (`SPEC.md`, section 13.1).
#[derive(Clone, Debug)]
pub struct GroupRecipient {
    /// The key.
    pub group: GroupKey,
    /// Where the layer key may be used.
    pub residency: Residency,
    /// The name of the policy.
    pub policy: Box<str>,
    /// The repository, where the context does not know it.
    pub repo: Option<Box<str>>,
}

impl GroupRecipient {
    /// Returns the label of a layer.
    ///
    /// # Errors
    /// `label_invalid` if the context lacks the layer, or neither it nor this recipient knows the repository.
    pub fn label(&self, context: &WrapContext<'_>) -> Result<Label, ThresholdError> {
        let missing = || ThresholdError::encryptor(ErrorId::LabelInvalid);
        let repo = context.repo.or(self.repo.as_deref());
        Ok(Label {
            suite: self.group.suite(),
            key_id: self.group.key_id().into(),
            epoch: self.group.epoch(),
            repo: repo.ok_or_else(missing)?.into(),
            subject: context.subject.and_then(subject).ok_or_else(missing)?,
            platform: context.platform.unwrap_or_default().into(),
            residency: self.residency.clone(),
            policy: self.policy.clone(),
            created_at: context.created_at.unwrap_or_default(),
        })
    }

    /// Returns the group's key as stock tools see it.
    fn stock_key(&self) -> Result<PublicKey, WrapError> {
        let pem = self.group.public_key_pem().ok_or(WrapError::Refused)?;
        keys::parse_public(pem.as_bytes())
            .ok()
            .and_then(|keys| keys.into_iter().next())
            .ok_or(WrapError::Refused)
    }
}

impl Recipient for GroupRecipient {
    fn scheme(&self) -> Scheme {
        if self.group.unbound() {
            Scheme::Jwe
        } else {
            Scheme::sealift()
        }
    }

    fn fingerprint(&self) -> String {
        self.group.fingerprint()
    }

    fn wrap_key(
        &self,
        secret: &LayerSecret,
        context: &WrapContext<'_>,
    ) -> Result<WrappedKey, WrapError> {
        if self.group.unbound() {
            return self.stock_key()?.wrap_key(secret, context);
        }
        let label = self.label(context).map_err(refused)?;
        let wrap = self
            .group
            .wrap(&label, secret.expose(), &SystemRandom::new())
            .map_err(refused)?;
        Ok(WrappedKey {
            scheme: self.scheme(),
            element: wrap.as_bytes().to_vec(),
        })
    }
}

/// Reads the name of a layer: a commitment in hex, or a digest.
fn subject(name: &str) -> Option<Subject> {
    let (kind, hexadecimal) = match name.strip_prefix("sha256:") {
        Some(digest) => (SubjectKind::Layer, digest),
        None => (SubjectKind::Commitment, name),
    };
    let value = hex::decode(hexadecimal).ok()?.try_into().ok()?;
    Some(Subject { kind, value })
}

fn refused(error: ThresholdError) -> WrapError {
    match error.id {
        ErrorId::Randomness => WrapError::Randomness,
        _ => WrapError::Refused,
    }
}
