//! `encrypt --statement-out`: which sealed image was made of which original, as an in-toto statement.
//!
//! [Statement v1](https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md). Its subject is the sealed image. Its
//! predicate, of type [`PREDICATE_TYPE`], names the original: as `digest`, or as `commitment`, the SHA-256 of a salt of 32 octets
//! and the digest's text, both named in the opening that is written beside it for whoever may know.

use std::path::{Path, PathBuf};

use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sealift_image::Outcome;
use sealift_registry::ImageRef;
use serde_json::{Value, json};

use crate::args::StatementDigests;
use crate::console::Console;
use crate::deliver::folder;
use crate::exit::{Code, Failure};
use crate::files::{NewFile, Readers, check_free, publish};

/// A statement that will be made; its files do not exist yet.
pub(crate) struct Statement {
    file: PathBuf,
    opening: Option<PathBuf>,
}

impl Statement {
    /// Makes sure, before anything is sealed, that the files can be written.
    pub(crate) fn prepare(file: &Path, digests: StatementDigests) -> Result<Self, Failure> {
        let opening = (digests == StatementDigests::Committed).then(|| {
            let mut name = file.as_os_str().to_owned();
            name.push(".opening");
            PathBuf::from(name)
        });
        if !folder(file).is_dir() {
            let what = format!("cannot write `{}`", file.display());
            return Err(
                Failure::new(Code::Usage, what).hint("name a file in an existing directory")
            );
        }
        check_free(file)?;
        opening.as_deref().map(check_free).transpose()?;
        Ok(Self {
            file: file.to_owned(),
            opening,
        })
    }

    /// Writes the statement, and its opening.
    pub(crate) fn write(
        self,
        destination: &ImageRef,
        outcome: &Outcome,
        console: &Console,
    ) -> Result<(), Failure> {
        let original = outcome.source_digest.to_string();
        let (named, opening) = match self.opening {
            None => (digest_json(&original), None),
            Some(path) => {
                let mut salt = [0; SALT_LEN];
                rand::fill(&mut salt)
                    .map_err(|_| Failure::new(Code::Other, "no random numbers to be had"))?;
                let opening = json!({ "salt": STANDARD.encode(salt), "digest": original });
                let named = json!({ "commitment": { "sha256": commitment(&salt, &original) } });
                (named, Some((path, opening)))
            }
        };
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "name": name(destination), "digest": hash_json(&outcome.digest.to_string()) }],
            "predicateType": PREDICATE_TYPE,
            "predicate": { "original": named },
        });
        let mut files = Vec::new();
        if let Some((path, opening)) = opening {
            let text = format!("{opening}\n");
            files.push(NewFile::prepare(path, text.as_bytes(), Readers::Owner)?);
        }
        let text = format!("{statement}\n");
        files.push(NewFile::prepare(
            self.file,
            text.as_bytes(),
            Readers::Everybody,
        )?);
        let paths: Vec<String> = publish(files)?
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        console.note(&format!("wrote {}", paths.join(" and ")));
        Ok(())
    }
}

/// The hex SHA-256 of a salt and a digest's text.
fn commitment(salt: &[u8; SALT_LEN], digest_text: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(salt);
    context.update(digest_text.as_bytes());
    hex::encode(context.finish())
}

fn digest_json(digest_text: &str) -> Value {
    json!({ "digest": hash_json(digest_text) })
}

/// A digest as in-toto writes one: algorithm to hex.
fn hash_json(digest_text: &str) -> Value {
    match digest_text.split_once(':') {
        Some((algorithm, hex)) => json!({ algorithm: hex }),
        None => Value::Null,
    }
}

/// Names an image without tag, as cosign does.
fn name(destination: &ImageRef) -> String {
    match destination {
        ImageRef::Registry(reference) => {
            format!("{}/{}", reference.registry(), reference.repository())
        }
        other => other.to_string(),
    }
}

/// Type of the predicate.
const PREDICATE_TYPE: &str = "https://sealift.dev/predicates/sealed/v1";

/// Octets of salt, as many as SHA-256 gives.
const SALT_LEN: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    /// `(head -c 32 /dev/zero; printf sha256:00) | sha256sum`
    #[test]
    fn a_commitment_is_what_sha256sum_says() {
        let expected = "fad8bde8e5f6ccd502409da35fc312f1302d66f8fcd4a622d30d46585ff7b5a5";
        assert_eq!(commitment(&[0; 32], "sha256:00"), expected);
    }
}
