use std::fmt;

/// A version of containerd.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Version {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) patch: u32,
}

/// Whether pulls by Kubernetes tell the stream processor whose layer it gets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum KubernetesPayload {
    /// Yes, unless the key model is switched off.
    Always,
    /// When `key_model` is set to `node`.
    OptIn,
    /// When `use_local_image_pull` is set to `true`.
    WithLocalPull,
    /// No.
    Never,
}

impl Version {
    /// Reads what `containerd --version` prints, or a version alone.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        text.split_whitespace().find_map(Self::of_word)
    }

    fn of_word(word: &str) -> Option<Self> {
        let word = word.strip_prefix('v').unwrap_or(word);
        let mut parts = word.splitn(3, '.');
        let mut number = || {
            let part = parts.next()?;
            let digits = part
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(part.len());
            part.get(..digits)?.parse().ok()
        };
        let (major, minor) = (number()?, number()?);
        Some(Self {
            major,
            minor,
            patch: number().unwrap_or(0),
        })
    }

    /// Returns whether stanzas for stream processors are built in, which need a program called `ctd-decoder` alone.
    pub(crate) fn has_built_in_stanzas(self) -> bool {
        (self.major, self.minor) >= (1, 5)
    }

    /// Returns whether pulls by Kubernetes can ask image verifiers: where they go through the transfer service, which is so unless
    /// `use_local_image_pull` is `true`.
    pub(crate) fn asks_image_verifiers(self) -> bool {
        (self.major, self.minor) >= (2, 1)
    }

    /// Returns what pulls by Kubernetes tell the stream processor.
    pub(crate) fn kubernetes_payload(self) -> KubernetesPayload {
        match (self.major, self.minor, self.patch) {
            (0, ..) | (1, 0..=3, _) => KubernetesPayload::Never,
            (1, 4, _) => KubernetesPayload::OptIn,
            (1, ..) => KubernetesPayload::Always,
            (2, 0, _) | (2, 1, 0..=6) | (2, 2, 0..=1) => KubernetesPayload::Never,
            _ => KubernetesPayload::WithLocalPull,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_containerd_prints() {
        for (text, expected) in [
            (
                "containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u2",
                "1.6.20",
            ),
            (
                "containerd containerd.io 1.7.27 05044ec0a9a75232cad458027ca83437aae3f4da",
                "1.7.27",
            ),
            (
                "containerd github.com/containerd/containerd/v2 v2.1.4 75cb2b7193e4e490e9fbdc236c0e811ccaba3376",
                "2.1.4",
            ),
            ("v2.4.0-beta.0", "2.4.0"),
            ("2.3", "2.3.0"),
        ] {
            let found = Version::parse(text).map(|version| version.to_string());
            assert_eq!(found.as_deref(), Some(expected), "{text}");
        }
        for text in ["", "containerd", "v2", "a.b.c", "99999999999.1.1"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }

    /// The table in containerd's history: see `KubernetesPayload`.
    #[test]
    fn every_version_tells_what_it_tells() {
        use KubernetesPayload::{Always, Never, OptIn, WithLocalPull};
        for (text, expected) in [
            ("1.3.9", Never),
            ("1.4.13", OptIn),
            ("1.5.0", Always),
            ("1.6.20", Always),
            ("1.7.27", Always),
            ("2.0.0", Never),
            ("2.0.11", Never),
            ("2.1.0", Never),
            ("2.1.6", Never),
            ("2.1.7", WithLocalPull),
            ("2.2.1", Never),
            ("2.2.2", WithLocalPull),
            ("2.3.0", WithLocalPull),
            ("3.0.0", WithLocalPull),
        ] {
            let version = Version::parse(text).unwrap();
            assert_eq!(version.kubernetes_payload(), expected, "{text}");
        }
    }
}
