use serde::Deserialize;

use crate::digest::DiffId;
use crate::document::{DocumentError, LIMITS, MAX_ENTRIES};
use crate::json;
use crate::platform::Platform;

/// What sealing needs to know of an image configuration (image-spec, `config.md`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// What the image runs on.
    pub platform: Platform,
    /// Digests of the uncompressed layers, base first.
    pub diff_ids: Vec<DiffId>,
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// [`DocumentError`] when it is no image configuration, for example that of an artifact.
    pub fn parse(octets: &[u8]) -> Result<Self, DocumentError> {
        #[derive(Deserialize)]
        struct Wire {
            #[serde(flatten)]
            platform: Platform,
            rootfs: Rootfs,
        }
        #[derive(Deserialize)]
        struct Rootfs {
            diff_ids: Option<Vec<String>>,
        }
        json::check(octets, LIMITS)?;
        let wire: Wire = serde_json::from_slice(octets).map_err(|_| DocumentError::Member {
            place: "config".into(),
            reason: "is not an image configuration".into(),
        })?;
        let diff_ids = wire.rootfs.diff_ids.unwrap_or_default();
        if diff_ids.len() > MAX_ENTRIES {
            return Err(DocumentError::TooManyEntries { limit: MAX_ENTRIES });
        }
        let parse = |(index, text): (usize, &String)| {
            text.parse()
                .map(DiffId)
                .map_err(|error| DocumentError::Member {
                    place: format!("rootfs.diff_ids[{index}]").into(),
                    reason: format!("{error}").into(),
                })
        };
        Ok(Self {
            platform: wire.platform,
            diff_ids: diff_ids
                .iter()
                .enumerate()
                .map(parse)
                .collect::<Result<_, _>>()?,
        })
    }
}
