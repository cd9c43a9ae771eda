//! Whether containerd asks our image verifier, and what it answers.

use super::facts::{Facts, PolicyState, is_executable};
use super::node::{Finding, Severity};
use crate::containerd::ConfigFile;
use crate::image_verifier;

/// Says whether the trust policy decides what is pulled.
pub(super) fn verifiers(facts: &Facts, say: &mut impl FnMut(Finding)) {
    let unasked = why_unasked(facts);
    let Some(verifier) = &facts.verifier else {
        if facts.policy != PolicyState::Absent {
            let folder = facts.verifiers.display();
            let link = facts.verifiers.join(image_verifier::NAME);
            say(match unasked {
                None => Finding::new(
                    Severity::Warning,
                    format!("the trust policy does not decide what containerd pulls: `{folder}` has no {}", image_verifier::NAME),
                )
                .hint(format!("ln -s /usr/local/bin/sealift {}", link.display())),
                Some((reason, _)) => Finding::new(
                    Severity::Note,
                    format!("the trust policy decides for sealift alone: {reason}"),
                ),
            });
        }
        return;
    };
    let path = verifier.display();
    if let Some((reason, hint)) = unasked {
        let what = format!("image verifier `{path}` is not asked by Kubernetes: {reason}");
        say(Finding::new(Severity::Warning, what).hint(hint));
        return;
    }
    if !is_executable(verifier) {
        let what =
            format!("image verifier `{path}` cannot be executed, so containerd pulls nothing");
        say(Finding::new(Severity::Problem, what).hint("let it be a link to `sealift`"));
        return;
    }
    say(match &facts.policy {
        PolicyState::Absent => Finding::new(
            Severity::Problem,
            format!("image verifier `{path}` takes no image: there is no trust policy"),
        )
        .hint("write /etc/sealift/trust.toml"),
        PolicyState::Broken(reason) => Finding::new(
            Severity::Problem,
            format!("image verifier `{path}` takes no image: {reason}"),
        ),
        PolicyState::Lacking(reason) => Finding::new(
            Severity::Warning,
            format!(
                "image verifier `{path}` takes no image of one rule of the trust policy: {reason}"
            ),
        ),
        PolicyState::Usable => Finding::new(
            Severity::Good,
            format!("image verifier `{path}` decides by the trust policy what is pulled"),
        ),
    });
    let patience = facts
        .config
        .as_ref()
        .and_then(|config| config.verifier_timeout);
    if let Some(patience) = patience.filter(|patience| *patience <= image_verifier::TIMEOUT) {
        say(Finding::new(
            Severity::Warning,
            format!(
                "containerd waits {patience:?} for image verifier `{path}`, which takes up to {:?} where a registry is slow: nobody learns why an image was refused",
                image_verifier::TIMEOUT
            ),
        )
        .hint("raise per_verifier_timeout to its default, 10s; or set SEALIFT_IMAGE_VERIFIER_TIMEOUT in containerd's environment to less"));
    }
    if let Some(named) = &facts.named_policy {
        let named = named.display();
        say(Finding::new(
            Severity::Note,
            format!(
                "image verifiers read `{named}` only if containerd's own environment has SEALIFT_TRUST_POLICY={named}"
            ),
        ));
    }
}

/// Says why Kubernetes' pulls do not ask our image verifier, and what to do about it.
fn why_unasked(facts: &Facts) -> Option<(String, &'static str)> {
    let config = facts.config.as_ref();
    if facts
        .version
        .is_some_and(|version| !version.asks_image_verifiers())
    {
        let reason = "pulls by Kubernetes ask image verifiers since containerd 2.1";
        return Some((reason.to_owned(), "update containerd"));
    }
    if config.is_some_and(|config| config.has_no_verifiers) {
        let reason = "the plug-in that asks them is among `disabled_plugins`";
        return Some((reason.to_owned(), "take it out of that list"));
    }
    if facts.is_beyond_limit {
        let reason = "`max_verifiers` ends the list of those that are asked before it";
        return Some((reason.to_owned(), "raise max_verifiers, or remove others"));
    }
    let name = config.and_then(ConfigFile::local_pull)?;
    let reason = format!("with the setting `{name}` pulls by Kubernetes ask no image verifier");
    Some((reason, "leave that out of containerd's configuration"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::super::node::diagnose;
    use super::super::node::tests::{config, good, worst};
    use super::*;
    use crate::containerd::Version;

    #[test]
    fn an_image_verifier_that_decides_nothing_is_found() {
        // A program that is there, and executable.
        let program = std::env::current_exe().unwrap();
        let node = |version: &'static str, there: bool, policy: PolicyState| {
            let program = program.clone();
            move |facts: &mut Facts| {
                facts.version = Version::parse(version);
                facts.verifiers = "/verifiers".into();
                facts.verifier = there.then_some(program);
                facts.policy = policy;
            }
        };
        let usable = || PolicyState::Usable;
        assert_eq!(
            worst(
                node("2.3.0", true, usable()),
                "decides by the trust policy",
                ""
            ),
            Severity::Note
        );
        assert_eq!(
            worst(node("2.0.4", true, usable()), "not asked by Kubernetes", ""),
            Severity::Warning
        );
        assert_eq!(
            worst(
                |facts| {
                    node("2.3.0", true, usable())(facts);
                    config(facts).local_pull.insert("mirrors", true);
                },
                "with the setting `mirrors`",
                ""
            ),
            Severity::Warning
        );
        assert_eq!(
            worst(
                |facts| {
                    node("2.3.0", true, usable())(facts);
                    facts.is_beyond_limit = true;
                },
                "`max_verifiers`",
                "raise max_verifiers"
            ),
            Severity::Warning
        );
        assert_eq!(
            worst(
                node("2.3.0", true, PolicyState::Absent),
                "there is no trust policy",
                "trust.toml"
            ),
            Severity::Problem
        );
        assert_eq!(
            worst(
                node("2.3.0", true, PolicyState::Broken("why".into())),
                "takes no image: why",
                ""
            ),
            Severity::Problem
        );
        assert_eq!(
            worst(
                |facts| {
                    node("2.3.0", true, usable())(facts);
                    facts.verifier = Some("/nowhere/sealift-image-verifier".into());
                },
                "cannot be executed",
                "link"
            ),
            Severity::Problem
        );
        assert_eq!(
            worst(
                node("2.3.0", true, PolicyState::Lacking("why".into())),
                "no image of one rule of the trust policy: why",
                ""
            ),
            Severity::Warning
        );
        assert_eq!(
            worst(
                |facts| {
                    node("2.3.0", true, usable())(facts);
                    config(facts).has_no_verifiers = true;
                },
                "among `disabled_plugins`",
                "take it out"
            ),
            Severity::Warning
        );
        assert_eq!(
            worst(
                |facts| {
                    node("2.3.0", true, usable())(facts);
                    facts.named_policy = Some("/t.toml".into());
                },
                "has SEALIFT_TRUST_POLICY=/t.toml",
                ""
            ),
            Severity::Note
        );
        for (seconds, expected) in [(8, Severity::Warning), (9, Severity::Note)] {
            let mut facts = good();
            node("2.3.0", true, usable())(&mut facts);
            config(&mut facts).verifier_timeout = Some(Duration::from_secs(seconds));
            let findings = diagnose(&facts);
            assert_eq!(findings.last().unwrap().severity, expected, "{findings:#?}");
        }
        // Where nobody asks it, nothing is refused by what it lacks.
        assert_eq!(
            worst(
                node("1.7.2", true, PolicyState::Absent),
                "not asked by Kubernetes",
                "update"
            ),
            Severity::Warning
        );
        let link = Path::new("/verifiers").join(image_verifier::NAME);
        let link = &format!("ln -s /usr/local/bin/sealift {}", link.display());
        assert_eq!(
            worst(
                node("2.3.0", false, usable()),
                "does not decide what containerd pulls",
                link
            ),
            Severity::Warning
        );
        assert_eq!(
            worst(
                node("1.7.0", false, usable()),
                "decides for sealift alone",
                ""
            ),
            Severity::Note
        );
        let silent = diagnose(&{
            let mut facts = good();
            node("2.3.0", false, PolicyState::Absent)(&mut facts);
            facts
        });
        assert!(
            !silent
                .iter()
                .any(|finding| finding.what.contains("trust policy"))
        );
    }
}
