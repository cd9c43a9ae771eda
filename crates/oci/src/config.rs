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

/// What nobody can unpack an image without (image-spec, `config.md`).
const NEEDED: [&str; 6] = [
    "architecture",
    "os",
    "os.version",
    "os.features",
    "variant",
    "rootfs",
];

impl Config {
    /// Renders the least of a configuration that runtimes unpack an image by: platform and `rootfs`, and of its `config` the
    /// members in `keep`. What stays keeps its text.
    ///
    /// # Errors
    /// [`DocumentError`] when it is no image configuration.
    pub fn minimal(octets: &[u8], keep: &[&str]) -> Result<Vec<u8>, DocumentError> {
        let mut members = json::object(octets, LIMITS)?;
        members.retain(|name, _| NEEDED.contains(&name.as_str()) || name == "config");
        let kept = match members.get("config") {
            Some(config) if config.get() != "null" => {
                let mut kept = json::object(config.get().as_bytes(), LIMITS)?;
                kept.retain(|name, _| keep.contains(&name.as_str()));
                kept
            }
            _ => json::Object::new(),
        };
        if kept.is_empty() {
            members.shift_remove("config");
        } else {
            members.insert("config".into(), json::raw(&kept));
        }
        let minimal = json::raw(&members).get().as_bytes().to_vec();
        Self::parse(&minimal)?;
        Ok(minimal)
    }

    /// Lists the names of the environment variables that a configuration sets; none if there is nothing to be read.
    pub fn variables(octets: &[u8]) -> Vec<String> {
        #[derive(Deserialize)]
        struct Wire {
            config: Option<Run>,
        }
        #[derive(Deserialize)]
        struct Run {
            #[serde(rename = "Env")]
            env: Option<Vec<String>>,
        }
        let wire: Option<Wire> = serde_json::from_slice(octets).ok();
        let set = wire.and_then(|wire| wire.config?.env).unwrap_or_default();
        let name = |text: &String| Some(text.split_once('=')?.0.to_owned());
        set.iter().filter_map(name).collect()
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"{ "created":"2026-01-01T00:00:00Z","architecture":"arm64","variant" : "v8","os":"linux","config":{"Env":["TOKEN=hush"],"Cmd":[ "a" ],"Labels":{"who":"me"}},"rootfs":{"type":"layers","diff_ids":["sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]},"history":[{"created_by":"RUN hush"}],"author":"me","org.example":1}"#;

    fn minimal(octets: &str, keep: &[&str]) -> Result<String, DocumentError> {
        Config::minimal(octets.as_bytes(), keep).map(|octets| String::from_utf8(octets).unwrap())
    }

    #[test]
    fn the_least_of_a_configuration_tells_platform_and_layers_alone() {
        let expected = r#"{"architecture":"arm64","variant":"v8","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]}}"#;
        assert_eq!(minimal(FULL, &[]).as_deref(), Ok(expected));
        assert_eq!(minimal(FULL, &["User"]).as_deref(), Ok(expected));
        let with_command =
            expected.replace(r#","rootfs""#, r#","config":{"Cmd":[ "a" ]},"rootfs""#);
        assert_eq!(minimal(FULL, &["Cmd", "User"]), Ok(with_command));
        let full = Config::parse(FULL.as_bytes()).unwrap();
        assert_eq!(Config::parse(expected.as_bytes()), Ok(full));
        assert_eq!(
            minimal(&FULL.replace("{\"Env", "null,\"x\":{\"Env"), &["Env"]).as_deref(),
            Ok(expected)
        );
    }

    #[test]
    fn variables_are_listed_without_their_values() {
        assert_eq!(Config::variables(FULL.as_bytes()), ["TOKEN"]);
        for octets in [
            "",
            "{}",
            r#"{"config":null}"#,
            r#"{"config":{"Env":null}}"#,
            r#"{"config":{"Env":["x"]}}"#,
        ] {
            assert_eq!(Config::variables(octets.as_bytes()), [""; 0], "{octets}");
        }
    }

    #[test]
    fn what_is_no_configuration_of_an_image_has_no_least() {
        for octets in [
            "",
            "[]",
            "{}",
            r#"{"os":"linux"}"#,
            r#"{"config":[],"os":"linux"}"#,
        ] {
            assert!(minimal(octets, &[]).is_err(), "{octets}");
        }
    }
}
