//! `sealift doctor`: whether this node will open sealed images, and what to change.

use serde_json::{Value, json};

use super::facts::{Facts, Program, values};
use super::verifiers::verifiers;
use crate::containerd::{KubernetesPayload, PAYLOAD_IDS, Processor, SEALED_TYPES};
use crate::report::SCHEMA_VERSION;
use crate::text::printable;

/// How bad something is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Severity {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// Some images will not open.
    Warning,
    /// No image will open.
    Problem,
}

/// One thing that was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    pub(super) what: String,
    pub(super) hint: Option<String>,
}

impl Finding {
    pub(super) fn new(severity: Severity, what: impl Into<String>) -> Self {
        Self {
            severity,
            what: what.into(),
            hint: None,
        }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Says what to make of the facts, worst things last.
pub(super) fn diagnose(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut say = |finding: Finding| findings.push(finding);
    match facts.version {
        Some(version) => say(Finding::new(
            Severity::Good,
            format!("containerd {version}"),
        )),
        None => say(Finding::new(
            Severity::Problem,
            "containerd was not found, or did not say its version",
        )
        .hint("name it with --containerd PROGRAM")),
    }
    let path = facts.config_path.display();
    match &facts.config {
        Some(config) if config.files.len() > 1 => say(Finding::new(
            Severity::Good,
            format!(
                "configuration `{path}` and {} that it imports",
                config.files.len() - 1
            ),
        )),
        Some(_) => say(Finding::new(
            Severity::Good,
            format!("configuration `{path}`"),
        )),
        None => say(Finding::new(
            Severity::Note,
            format!("no configuration `{path}`: what is built in counts"),
        )),
    }
    let processors = facts.processors();
    stanzas(facts, &processors, &mut say);
    programs(facts, &mut say);
    keys(facts, &processors, &mut say);
    payloads(facts, &processors, &mut say);
    verifiers(facts, &mut say);
    if facts.now < EARLIEST {
        say(Finding::new(
            Severity::Warning,
            "this machine's clock is wrong: certificates and leases will look as if they were not valid yet",
        )
        .hint("set the clock, for example with chrony or systemd-timesyncd"));
    }
    say(Finding::new(
        Severity::Note,
        "a pull that succeeds proves nothing where the same layers were unpacked before: containerd reuses snapshots by their chain of diff IDs, sealed or not",
    ));
    findings.sort_by_key(|finding| finding.severity);
    findings
}

fn stanzas(facts: &Facts, processors: &[(String, Processor)], say: &mut impl FnMut(Finding)) {
    for kind in SEALED_TYPES {
        let short = kind.trim_start_matches("application/vnd.oci.image.layer.v1.");
        let taker = processors
            .iter()
            .find(|(_, processor)| processor.accepts.iter().any(|one| one == kind));
        match taker {
            None => say(Finding::new(
                Severity::Warning,
                format!("no stream processor accepts `{short}`: such layers end as `invalid tar header`"),
            )
            .hint("`sealift config containerd` prints the stanzas; zstd goes into `accepts` of …decoder.v1.tar.gzip")),
            Some((id, _)) if !PAYLOAD_IDS.contains(&id.as_str()) => say(Finding::new(
                Severity::Warning,
                format!("`{short}` goes to `{}`, which containerd never tells whose layer it gets", printable(id)),
            )
            .hint(format!("give the stanza the ID {}", PAYLOAD_IDS.join(" or ")))),
            Some((id, processor)) if processor.returns.is_empty() => say(Finding::new(
                Severity::Problem,
                format!("`{}` has no `returns`", printable(id)),
            )
            .hint("`sealift config containerd` prints the stanzas")),
            Some(_) => say(Finding::new(
                Severity::Good,
                format!("`{short}` goes to a stream processor"),
            )),
        }
    }
    let model = facts
        .config
        .as_ref()
        .and_then(|config| config.key_model.as_deref());
    if model == Some("") {
        say(Finding::new(
            Severity::Warning,
            "`key_model` is empty: pulls by Kubernetes open no sealed layer whose keys stand in the manifest alone",
        )
        .hint("set image_decryption.key_model to \"node\", or leave it out"));
    }
}

fn programs(facts: &Facts, say: &mut impl FnMut(Finding)) {
    for (name, program) in &facts.programs {
        let name = printable(name);
        match program {
            Program::Sealift(path) => say(Finding::new(
                Severity::Good,
                format!("`{name}` is sealift-decoder (`{}`)", path.display()),
            )),
            Program::Missing => say(Finding::new(
                Severity::Problem,
                format!("stream processor `{name}` is not there"),
            )
            .hint("install sealift-decoder there, or under that name in containerd's PATH, which begins with /opt/containerd/bin")),
            Program::NotExecutable(path) => say(Finding::new(
                Severity::Problem,
                format!("stream processor `{}` cannot be executed", path.display()),
            )
            .hint(format!("chmod 755 {}", path.display()))),
            Program::Other(path) => say(Finding::new(
                Severity::Warning,
                format!("`{}` is not sealift-decoder: it opens ocicrypt's format at most", path.display()),
            )
            .hint("put sealift-decoder in its place; it takes the same arguments")),
        }
    }
}

fn keys(facts: &Facts, processors: &[(String, Processor)], say: &mut impl FnMut(Finding)) {
    for (folder, found) in &facts.folders {
        let path = folder.display();
        if let Some(reason) = &found.unreadable {
            say(
                Finding::new(Severity::Warning, format!("key folder `{path}`: {reason}"))
                    .hint("make it, readable for containerd alone, and put private keys there"),
            );
            continue;
        }
        for key in &found.open {
            say(Finding::new(
                Severity::Warning,
                format!(
                    "other users of this machine can read the key `{}`",
                    key.display()
                ),
            )
            .hint(format!("chmod 600 {}", key.display())));
        }
        if found.locked > 0 {
            say(Finding::new(
                Severity::Warning,
                format!(
                    "{} encrypted keys in `{path}` have no password beside them",
                    found.locked
                ),
            )
            .hint("the password of NAME is the content of NAME.password"));
        }
        let severity = if found.keys > 0 {
            Severity::Good
        } else {
            Severity::Warning
        };
        say(Finding::new(
            severity,
            format!(
                "{} private keys in `{path}`, {} other files",
                found.keys, found.others
            ),
        ));
    }
    for (socket, is_up) in &facts.agents {
        let socket = socket.display();
        match is_up {
            true => say(Finding::new(Severity::Good, format!("agent at `{socket}`"))),
            false => say(Finding::new(
                Severity::Warning,
                format!("no agent answers at `{socket}`"),
            )
            .hint("start it: sealift agent serve")),
        }
    }
    let has_keys = facts.folders.iter().any(|(_, found)| found.keys > 0);
    let has_agent = facts.agents.iter().any(|(_, is_up)| *is_up);
    let has_providers = processors
        .iter()
        .any(|(_, processor)| !values(&processor.args, &["--keyprovider-config"]).is_empty());
    if !processors.is_empty() && !has_keys && !has_agent && !has_providers {
        say(Finding::new(
            Severity::Problem,
            "neither a private key nor an agent is at hand: no sealed layer will open",
        )
        .hint("put keys into the folder, or run an agent and add --agent SOCKET to `args`"));
    }
}

fn payloads(facts: &Facts, processors: &[(String, Processor)], say: &mut impl FnMut(Finding)) {
    let Some(version) = facts.version else { return };
    let config = facts.config.clone().unwrap_or_default();
    let is_told = match version.kubernetes_payload() {
        KubernetesPayload::Always => config.key_model.as_deref() != Some(""),
        KubernetesPayload::OptIn => config.key_model.as_deref() == Some("node"),
        KubernetesPayload::WithLocalPull => config.local_pull().is_some(),
        KubernetesPayload::Never => false,
    };
    if is_told {
        say(Finding::new(
            Severity::Good,
            "pulls by Kubernetes tell the stream processor whose layer it gets",
        ));
        return;
    }
    let root = config.root.unwrap_or_else(|| "/var/lib/containerd".into());
    let looks_elsewhere = processors.iter().find_map(|(_, processor)| {
        let given = values(&processor.args, &["--containerd-root"]).pop();
        let given = given.unwrap_or_else(|| "/var/lib/containerd".into());
        (given != root).then_some(given)
    });
    match looks_elsewhere {
        Some(given) => say(Finding::new(
            Severity::Warning,
            format!(
                "pulls do not tell the stream processor whose layer it gets, and it looks for that in `{}`, not in containerd's root `{}`",
                given.display(),
                root.display()
            ),
        )
        .hint(format!("add --containerd-root {} to `args`", root.display()))),
        None => say(Finding::new(
            Severity::Note,
            "pulls do not tell the stream processor whose layer it gets; sealift-decoder finds it in the layer itself or in containerd's content store",
        )),
    }
    match version.kubernetes_payload() {
        KubernetesPayload::WithLocalPull => say(Finding::new(
            Severity::Note,
            "other decoders open images only with `use_local_image_pull = true` in [plugins.'io.containerd.cri.v1.images'], with which no image verifier is asked",
        )),
        KubernetesPayload::OptIn => say(Finding::new(
            Severity::Note,
            "set image_decryption.key_model to \"node\" for other decoders",
        )),
        _ => {}
    }
}

/// Answer for people.
pub(super) fn as_text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let word = word(finding.severity);
        text.push_str(&format!("{word:<8} {}\n", printable(&finding.what)));
        if let Some(hint) = &finding.hint {
            text.push_str(&format!("{:<8} hint: {}\n", "", printable(hint)));
        }
    }
    text
}

/// Answer for programs.
pub(super) fn as_json(findings: &[Finding]) -> Value {
    let list = findings.iter().map(|finding| {
        json!({
            "severity": word(finding.severity),
            "what": finding.what,
            "hint": finding.hint,
        })
    });
    json!({ "schemaVersion": SCHEMA_VERSION, "findings": list.collect::<Vec<_>>() })
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Good => "good",
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Problem => "problem",
    }
}

/// 2026-01-01: no clock that is right shows less.
const EARLIEST: u64 = 1_767_225_600;

#[cfg(test)]
pub(super) mod tests {
    use std::path::PathBuf;

    use super::super::facts::{Folder, key_folders};
    use super::*;
    use crate::containerd::{ConfigFile, Version, default_keys};

    /// A node on which all is well.
    pub(in crate::doctor) fn good() -> Facts {
        let stanza = |accepts: &[&str], returns: &str| Processor {
            accepts: accepts.iter().map(|&one| one.to_owned()).collect(),
            returns: returns.to_owned(),
            path: "/bin/sealift-decoder".to_owned(),
            args: vec!["--keys-dir=/keys".to_owned()],
        };
        let [gzip, zstd, plain] = SEALED_TYPES;
        let [gzip_id, plain_id] = PAYLOAD_IDS.map(str::to_owned);
        let processors = [
            (gzip_id, stanza(&[gzip, zstd], "x")),
            (plain_id, stanza(&[plain], "y")),
        ];
        Facts {
            version: Version::parse("1.7.0"),
            config_path: "/etc/containerd/config.toml".into(),
            config: Some(ConfigFile {
                files: vec!["/etc/containerd/config.toml".into()],
                processors: processors.into(),
                ..ConfigFile::default()
            }),
            programs: vec![(
                "/bin/sealift-decoder".to_owned(),
                Program::Sealift("/bin/sealift-decoder".into()),
            )],
            folders: vec![(
                "/keys".into(),
                Folder {
                    keys: 1,
                    ..Folder::default()
                },
            )],
            now: EARLIEST,
            ..Facts::default()
        }
    }

    /// Returns the worst severity, and whether a finding has both texts, in `what` and in `hint`.
    pub(in crate::doctor) fn worst(
        change: impl FnOnce(&mut Facts),
        what: &str,
        hint: &str,
    ) -> Severity {
        let mut facts = good();
        change(&mut facts);
        let findings = diagnose(&facts);
        let found = findings.iter().any(|finding| {
            finding.what.contains(what)
                && finding.hint.as_deref().unwrap_or_default().contains(hint)
        });
        assert!(found, "{what}, {hint}: {findings:#?}");
        findings.last().unwrap().severity
    }

    pub(in crate::doctor) fn config(facts: &mut Facts) -> &mut ConfigFile {
        facts.config.as_mut().unwrap()
    }

    #[test]
    fn a_good_node_is_called_good() {
        assert_eq!(worst(|_| (), "whose layer it gets", ""), Severity::Note);
        let notes = diagnose(&good())
            .into_iter()
            .filter(|finding| finding.severity == Severity::Note);
        assert_eq!(notes.count(), 1);
    }

    #[test]
    fn usual_mistakes_are_found() {
        let [gzip_id, _] = PAYLOAD_IDS;
        assert_eq!(
            worst(
                |facts| {
                    let stanza = config(facts).processors.get_mut(gzip_id).unwrap();
                    stanza.accepts.truncate(1);
                },
                "no stream processor accepts `tar+zstd+encrypted`",
                "…decoder.v1.tar.gzip"
            ),
            Severity::Warning
        );
        assert_eq!(
            worst(
                |facts| {
                    let stanza = config(facts).processors.remove(gzip_id).unwrap();
                    config(facts).processors.insert("mine".to_owned(), stanza);
                    facts.version = Version::parse("1.4.0");
                },
                "goes to `mine`",
                gzip_id
            ),
            Severity::Warning
        );
        assert_eq!(
            worst(
                |facts| {
                    config(facts)
                        .processors
                        .get_mut(gzip_id)
                        .unwrap()
                        .returns
                        .clear();
                },
                "has no `returns`",
                "sealift config containerd"
            ),
            Severity::Problem
        );
        for (program, what, hint, severity) in [
            (
                Program::Missing,
                "is not there",
                "/opt/containerd/bin",
                Severity::Problem,
            ),
            (
                Program::NotExecutable("/x".into()),
                "cannot be executed",
                "chmod 755 /x",
                Severity::Problem,
            ),
            (
                Program::Other("/x".into()),
                "is not sealift-decoder",
                "in its place",
                Severity::Warning,
            ),
        ] {
            let found = worst(|facts| facts.programs[0].1 = program, what, hint);
            assert_eq!(found, severity, "{what}");
        }
        assert_eq!(
            worst(
                |facts| facts.version = None,
                "containerd was not found",
                "--containerd"
            ),
            Severity::Problem
        );
        assert_eq!(
            worst(|facts| facts.now -= 1, "clock is wrong", "set the clock"),
            Severity::Warning
        );
        assert_eq!(
            worst(
                |facts| config(facts).key_model = Some(String::new()),
                "`key_model` is empty",
                "node"
            ),
            Severity::Warning
        );
    }

    #[test]
    fn keys_that_are_missing_locked_or_open_are_told() {
        let folder =
            |change: fn(&mut Folder)| move |facts: &mut Facts| change(&mut facts.folders[0].1);
        for (change, what, hint, severity) in [
            (
                folder(|found| found.keys = 0),
                "neither a private key nor an agent",
                "--agent",
                Severity::Problem,
            ),
            (
                folder(|found| {
                    found.keys = 0;
                    found.unreadable = Some("no such file".into());
                }),
                "no such file",
                "make it",
                Severity::Problem,
            ),
            (
                folder(|found| found.locked = 2),
                "2 encrypted keys",
                "NAME.password",
                Severity::Warning,
            ),
            (
                folder(|found| found.open.push("/keys/a".into())),
                "can read the key `/keys/a`",
                "chmod 600",
                Severity::Warning,
            ),
        ] {
            assert_eq!(worst(change, what, hint), severity, "{what}");
        }
        let with_agent = |is_up: bool| {
            move |facts: &mut Facts| {
                facts.folders.clear();
                facts.agents.push(("/run/a".into(), is_up));
            }
        };
        assert_eq!(
            worst(with_agent(true), "agent at `/run/a`", ""),
            Severity::Note
        );
        assert_eq!(
            worst(with_agent(false), "no agent answers", "agent serve"),
            Severity::Problem
        );
    }

    #[test]
    fn versions_that_tell_nothing_are_no_trouble_where_the_content_store_is_found() {
        let version =
            |text: &'static str| move |facts: &mut Facts| facts.version = Version::parse(text);
        assert_eq!(
            worst(version("2.3.0"), "use_local_image_pull", ""),
            Severity::Note
        );
        assert_eq!(
            worst(version("2.0.0"), "finds it in the layer itself", ""),
            Severity::Note
        );
        assert_eq!(
            worst(
                |facts| {
                    facts.version = Version::parse("2.1.0");
                    config(facts).root = Some("/data".into());
                },
                "not in containerd's root `/data`",
                "--containerd-root /data"
            ),
            Severity::Warning
        );
        assert_eq!(
            worst(
                |facts| {
                    facts.version = Version::parse("2.3.0");
                    config(facts)
                        .local_pull
                        .insert("use_local_image_pull", true);
                },
                "tell the stream processor whose layer it gets",
                ""
            ),
            Severity::Note
        );
    }

    #[test]
    fn without_configuration_what_is_built_in_counts() {
        let facts = Facts {
            config: None,
            ..good()
        };
        let processors = facts.processors();
        assert_eq!(processors.len(), 2);
        assert_eq!(key_folders(&processors[0].1), [default_keys()]);
        let findings = diagnose(&facts);
        assert!(
            findings
                .iter()
                .any(|finding| finding.what.contains("tar+zstd+encrypted`: such layers"))
        );
        let old = Facts {
            version: Version::parse("1.4.0"),
            ..facts
        };
        assert_eq!(old.processors(), []);
    }

    #[test]
    fn options_are_read_in_both_forms() {
        let args = [
            "--agent",
            "/a",
            "--keys-dir=/k",
            "--agent=/b",
            "--other",
            "--agent",
        ];
        let args = args.map(str::to_owned);
        assert_eq!(
            values(&args, &["--agent"]),
            [PathBuf::from("/a"), "/b".into()]
        );
        assert_eq!(values(&args, &["--keys-dir", "--x"]), [PathBuf::from("/k")]);
    }
}
