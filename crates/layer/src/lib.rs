//! How one layer is sealed and opened.
//!
//! Two ciphers, one set of envelopes: the default format is authenticated chunk by chunk and describes itself, the other
//! is ocicrypt's, octet for octet. `SPEC.md` beside this crate is the normative description; section numbers in these
//! pages are its.
//!
//! Everything here is synchronous and does no input or output: octets in, octets out, in pieces of any size. Randomness
//! is an argument.

mod annotations;
pub mod chunked;
mod cipher;
mod claims;
mod ctr_hmac;
mod error;
mod frame;
mod key;
mod layer_id;
mod opener;
mod options;
mod original;
mod recipients;
mod room;
mod sealer;
mod unlock;

pub use annotations::{PUBLIC_OPTIONS, RECIPIENTS, RecipientNote, Recipients, Wraps, element_id};
pub use chunked::{AeadLibrary, ProcessorFeatures};
pub use cipher::Cipher;
pub use claims::Claims;
pub use error::{
    Fact, FirstOctets, FormatError, KeyReport, OpenError, Place, SealError, SeenElement,
};
pub use frame::{Header, MAGIC, PREAMBLE_LEN};
pub use key::LayerKey;
pub use layer_id::LayerId;
pub use opener::{
    Checked, ChunkedLayer, CtrHmacLayer, Decryptor, Intake, LayerOpener, Release, Start, Unchecked,
};
pub use options::{CounterBlock, PrivateOptions, PublicOptions};
pub use original::{
    MAX_ELEMENTS, ORIGINAL, ORIGINAL_CONFIG, Original, OriginalKey, OriginalKind, elements,
};
pub use recipients::{LayerRecipients, LayerSecrets};
pub use room::Room;
pub use sealer::{Binding, Embedding, Finished, Material, Plan, SealedLayer, Sealer, Tagging};
pub use unlock::SecretSource;
