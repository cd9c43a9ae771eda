use std::path::{Path, PathBuf};

use toml::Value;

use super::{PAYLOAD_IDS, SEALED_TYPES, VERIFIERS_PLUGIN, Version};
use crate::image_verifier;

/// What containerd must be told so that it opens sealed layers.
#[derive(Clone, Debug)]
pub(crate) struct Stanza {
    pub(crate) version: Version,
    pub(crate) decoder: PathBuf,
    pub(crate) keys: PathBuf,
    pub(crate) agent: Option<PathBuf>,
    /// containerd's root, where it is not the default.
    pub(crate) root: Option<PathBuf>,
    /// Folder of image verifiers, where it is configured.
    pub(crate) verifiers: Option<PathBuf>,
}

/// An imported file may be of an older version than the file that imports it, never of a newer one; and tables of stream
/// processors are the same in both.
const FILE_VERSION: u32 = 2;

impl Stanza {
    /// Renders the lines, ready to be put into `config.toml` or a file that it imports.
    pub(crate) fn render(&self) -> String {
        let [gzip, zstd, plain] = SEALED_TYPES;
        let [gzip_id, plain_id] = PAYLOAD_IDS;
        let mut text = format!(
            "# For containerd {}: opens sealed layers. Restart containerd afterwards.\nversion = {FILE_VERSION}\n",
            self.version
        );
        // zstd has no stanza of its own: only these two IDs are told whose layers they get.
        text.push_str(&self.processor(
            gzip_id,
            &[gzip, zstd],
            "application/vnd.oci.image.layer.v1.tar+gzip",
        ));
        text.push_str(&self.processor(
            plain_id,
            &[plain],
            "application/vnd.oci.image.layer.v1.tar",
        ));
        if let Some(folder) = &self.verifiers {
            text.push_str(&format!(
                "\n# Asked before Kubernetes pulls, and `ctr images pull` without --local: ln -s /usr/local/bin/sealift {}\n[plugins.{}]\n  bin_dir = {}\n",
                folder.join(image_verifier::NAME).display(),
                Value::from(VERIFIERS_PLUGIN),
                Value::from(self::text(folder)),
            ));
        }
        text
    }

    fn processor(&self, id: &str, accepts: &[&str], returns: &str) -> String {
        let mut args = vec!["--decryption-keys-path".to_owned(), text(&self.keys)];
        for (option, value) in [("--agent", &self.agent), ("--containerd-root", &self.root)] {
            if let Some(value) = value {
                args.extend([option.to_owned(), text(value)]);
            }
        }
        let list = |items: Vec<String>| Value::from(items).to_string();
        format!(
            "\n[stream_processors.{}]\n  accepts = {}\n  returns = {}\n  path = {}\n  args = {}\n",
            Value::from(id),
            list(accepts.iter().map(|&one| one.to_owned()).collect()),
            Value::from(returns),
            Value::from(text(&self.decoder)),
            list(args),
        )
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containerd::ConfigFile;

    #[test]
    fn the_stanza_is_read_back_as_it_was_meant() {
        for version in ["1.6.20", "2.3.0"] {
            let stanza = Stanza {
                version: Version::parse(version).unwrap(),
                decoder: r"C:\Program Files\sealift\sealift-decoder.exe".into(),
                keys: "/etc/keys with \"quotes\"".into(),
                agent: Some("/run/agent.sock".into()),
                root: Some("/data".into()),
                verifiers: Some("/opt/verifiers".into()),
            };
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(&file, stanza.render()).unwrap();
            let config = ConfigFile::read(file.path()).unwrap();
            assert!(stanza.render().contains("\nversion = 2\n"));
            assert_eq!(
                config.verifiers.as_deref(),
                Some(Path::new("/opt/verifiers"))
            );
            let accepted = config
                .processors
                .values()
                .flat_map(|one| one.accepts.clone());
            let mut accepted: Vec<_> = accepted.collect();
            accepted.sort();
            let mut expected = SEALED_TYPES.to_vec();
            expected.sort_unstable();
            assert_eq!(accepted, expected);
            for id in PAYLOAD_IDS {
                let processor = &config.processors[id];
                assert_eq!(processor.path, stanza.decoder.display().to_string());
                assert_eq!(
                    processor.args,
                    [
                        "--decryption-keys-path",
                        "/etc/keys with \"quotes\"",
                        "--agent",
                        "/run/agent.sock",
                        "--containerd-root",
                        "/data"
                    ]
                );
            }
        }
    }
}
