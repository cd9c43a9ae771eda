use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::json::excerpt;

/// What an image runs on (image-spec, `image-index.md`, "platform").
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Platform {
    /// `GOARCH` value such as `amd64`.
    pub architecture: String,
    /// `GOOS` value such as `linux` or `windows`.
    pub os: String,
    /// Version of the operating system; of Windows `major.minor.build[.revision]`.
    #[serde(
        rename = "os.version",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
    /// Features of the operating system such as `win32k`.
    #[serde(rename = "os.features", default, skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// Variant of the processor such as `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// Returns whether an image of this platform answers a request for `wanted`.
    ///
    /// A request that names no variant or version takes any. The version of a request for Windows is that of the host,
    /// which runs the builds that containerd lets it run: its own, and from Server 2022 on those back to the long-term
    /// release before; the revision does not matter. Other versions are compared by as many numbers as are named.
    pub fn satisfies(&self, wanted: &Self) -> bool {
        let ours = self.normalised();
        let wanted = wanted.normalised();
        let version = |wanted: &String| {
            if let (Some(own), Some(host)) = (ours.windows_build(), build_of(wanted))
                && ours.os == "windows"
            {
                return own.runs_on(host);
            }
            ours.os_version.as_ref().is_some_and(|ours| {
                ours == wanted
                    || ours
                        .strip_prefix(wanted.as_str())
                        .is_some_and(|rest| rest.starts_with('.'))
            })
        };
        ours.os == wanted.os
            && ours.architecture == wanted.architecture
            && wanted
                .variant
                .as_ref()
                .is_none_or(|variant| ours.variant.as_ref() == Some(variant))
            && wanted.os_version.as_ref().is_none_or(version)
            && wanted
                .os_features
                .iter()
                .all(|feature| ours.os_features.contains(feature))
    }

    /// Returns `os/arch[/variant[/osversion]]`, empty segments kept: the form that key-holder labels carry.
    pub fn label(&self) -> String {
        let mut label = format!("{}/{}", self.os, self.architecture);
        match (&self.variant, &self.os_version) {
            (None, None) => {}
            (variant, None) => label.extend(["/", variant.as_deref().unwrap_or_default()]),
            (variant, Some(version)) => {
                label.extend(["/", variant.as_deref().unwrap_or_default(), "/", version])
            }
        }
        label
    }

    /// Returns the Windows build, where the version names one; of several that a host runs, the highest is the best.
    pub fn windows_build(&self) -> Option<WindowsBuild> {
        (self.os == "windows").then(|| build_of(self.os_version.as_deref()?))?
    }

    /// Returns whether this marks an attestation manifest rather than an image (BuildKit's `unknown/unknown`).
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" && self.architecture == "unknown"
    }

    /// The spellings containerd accepts, in the one spelling manifests use.
    fn normalised(&self) -> Self {
        let mut platform = self.clone();
        platform.os = match &*platform.os.to_ascii_lowercase() {
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let (architecture, variant) = match &*platform.architecture.to_ascii_lowercase() {
            "x86_64" | "x86-64" => ("amd64".to_owned(), None),
            "i386" => ("386".to_owned(), None),
            "aarch64" => ("arm64".to_owned(), None),
            "armhf" => ("arm".to_owned(), Some("v7")),
            "armel" => ("arm".to_owned(), Some("v6")),
            other => (other.to_owned(), None),
        };
        platform.architecture = architecture;
        if let (None, Some(variant)) = (&platform.variant, variant) {
            platform.variant = Some(variant.to_owned());
        }
        if platform.architecture == "arm64"
            && matches!(platform.variant.as_deref(), Some("v8" | "8" | ""))
        {
            platform.variant = None;
        }
        if platform.architecture == "amd64"
            && matches!(platform.variant.as_deref(), Some("v1" | ""))
        {
            platform.variant = None;
        }
        platform
    }
}

/// `major.minor.build` of a Windows version.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct WindowsBuild {
    major: u32,
    minor: u32,
    build: u32,
}

impl WindowsBuild {
    /// Returns whether a container of this build runs on a host, isolated by process.
    fn runs_on(self, host: Self) -> bool {
        if (self.major, self.minor) != (host.major, host.minor) {
            return false;
        }
        if host.build < SERVER_2022 {
            return self.build == host.build;
        }
        let oldest = LONG_TERM_RELEASES
            .iter()
            .rev()
            .find(|one| **one < host.build);
        let oldest = oldest.copied().unwrap_or(SERVER_2022);
        (oldest..=host.build).contains(&self.build)
    }
}

/// Reads `major.minor.build[.revision]`.
fn build_of(version: &str) -> Option<WindowsBuild> {
    let mut numbers = version.split('.').map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some(WindowsBuild {
        major: next()?,
        minor: next()?,
        build: next()?,
    })
}

/// The first build that runs older ones.
const SERVER_2022: u32 = 20348;
/// What later hosts go back to.
const LONG_TERM_RELEASES: [u32; 2] = [SERVER_2022, 26100];

impl FromStr for Platform {
    type Err = PlatformError;

    /// Parses `os/arch[/variant][:osversion]`.
    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let malformed = || PlatformError {
            text: excerpt(text),
        };
        let segment = |part: &str| {
            let fits = !part.is_empty()
                && part.len() <= 64
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
            fits.then(|| part.to_owned()).ok_or_else(malformed)
        };
        let (path, os_version) = match text.split_once(':') {
            Some((path, version)) => (path, Some(segment(version)?)),
            None => (text, None),
        };
        let mut parts = path.split('/');
        let os = segment(parts.next().unwrap_or_default())?;
        let architecture = segment(parts.next().unwrap_or_default())?;
        let variant = parts.next().map(segment).transpose()?;
        match parts.next() {
            Some(_) => Err(malformed()),
            None => Ok(Self {
                architecture,
                os,
                os_version,
                os_features: Vec::new(),
                variant,
            }),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if let Some(variant) = &self.variant {
            write!(f, "/{variant}")?;
        }
        if let Some(version) = &self.os_version {
            write!(f, ":{version}")?;
        }
        Ok(())
    }
}

/// A text is not a platform.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("`{text}` is not a platform such as linux/amd64, linux/arm/v7 or windows/amd64:10.0.20348")]
pub struct PlatformError {
    /// The beginning of what was given.
    pub text: Box<str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn a_request_takes_what_it_leaves_open() {
        let table = [
            ("linux/amd64", "linux/amd64", true),
            ("linux/amd64", "linux/x86_64", true),
            ("linux/arm64/v8", "linux/arm64", true),
            ("linux/arm64", "linux/arm64/v8", true),
            ("linux/arm/v6", "linux/arm/v7", false),
            ("linux/arm/v7", "linux/arm", true),
            ("linux/amd64", "windows/amd64", false),
            (
                "windows/amd64:10.0.20348.2113",
                "windows/amd64:10.0.20348",
                true,
            ),
            (
                "windows/amd64:10.0.203481",
                "windows/amd64:10.0.20348",
                false,
            ),
            (
                "windows/amd64:10.0.17763.1",
                "windows/amd64:10.0.20348",
                false,
            ),
            // The revision does not matter.
            (
                "windows/amd64:10.0.20348.1",
                "windows/amd64:10.0.20348.2113",
                true,
            ),
            // A host before Server 2022 runs its own build only.
            (
                "windows/amd64:10.0.17763.1",
                "windows/amd64:10.0.17763.9",
                true,
            ),
            (
                "windows/amd64:10.0.14393",
                "windows/amd64:10.0.17763",
                false,
            ),
            // Later ones go back to the long-term release before.
            ("windows/amd64:10.0.20348", "windows/amd64:10.0.22000", true),
            ("windows/amd64:10.0.20348", "windows/amd64:10.0.26100", true),
            ("windows/amd64:10.0.25398", "windows/amd64:10.0.26100", true),
            (
                "windows/amd64:10.0.25398",
                "windows/amd64:10.0.26200",
                false,
            ),
            ("windows/amd64:10.0.26100", "windows/amd64:10.0.26200", true),
            (
                "windows/amd64:10.0.22000",
                "windows/amd64:10.0.20348",
                false,
            ),
            (
                "windows/amd64:10.1.20348",
                "windows/amd64:10.0.20348",
                false,
            ),
            ("windows/amd64:10.0.20348.7", "windows/amd64:10.0", true),
            ("windows/amd64", "windows/amd64:10.0.20348", false),
            ("windows/amd64:10.0.17763.1", "windows/amd64", true),
        ];
        for (image, wanted, expected) in table {
            assert_eq!(
                parse(image).satisfies(&parse(wanted)),
                expected,
                "{image} for {wanted}"
            );
        }
    }

    #[test]
    fn prints_what_it_parsed() {
        for text in [
            "linux/amd64",
            "linux/arm/v7",
            "windows/amd64:10.0.20348.2113",
        ] {
            assert_eq!(parse(text).to_string(), text);
        }
        assert_eq!(
            parse("windows/amd64:10.0.1").label(),
            "windows/amd64//10.0.1"
        );
        assert_eq!(parse("linux/arm/v7").label(), "linux/arm/v7");
        for bad in [
            "", "linux", "linux/", "/amd64", "a/b/c/d", "a/b:", "a b/c", "a/b/:1",
        ] {
            assert_eq!(
                bad.parse::<Platform>(),
                Err(PlatformError { text: bad.into() }),
                "{bad}"
            );
        }
    }
}
