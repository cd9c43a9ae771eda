//! Who signed an image, and whether that is enough.
//!
//! A [`Demand`] says whose signatures count: public keys, and identities of certificates (sigstore's Fulcio). A [`Judge`] is
//! shown what lies beside an image, one [`Claim`] at a time, and says when the demand is met. A [`TrustPolicy`] says which
//! demand holds for which repository.
//!
//! Two forms are read, both of cosign: the sigstore bundle (sigstore/protobuf-specs, `sigstore_bundle.proto`, with an in-toto
//! statement of predicate type `https://sigstore.dev/cosign/sign/v1`), and simple signing (sigstore/cosign,
//! `specs/SIGNATURE_SPEC.md`).
//!
//! Nothing here reads files or asks a network. What certificates, logs and time stamps are worth is checked by
//! `sigstore-verify`, which compares a log's times with the clock.

mod bundle;
mod claim;
mod demand;
mod error;
mod judge;
mod key;
mod policy;
mod roots;
mod simple;

pub use claim::Claim;
pub use demand::{CertificateIdentity, Demand, Pattern, PatternError, Signer, TransparencyLog};
pub use error::{Refusal, Unproven};
pub use judge::Judge;
pub use key::{KeyError, PublicKey};
pub use policy::{Decision, Rule, TrustPolicy, TrustPolicyError};
pub use roots::{RootsError, TrustedRoots};
