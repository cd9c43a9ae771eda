//! Where an image is: `docker://…`, `oci:…`, `oci-archive:…`, `docker-archive:…`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use sealift_oci::{Digest, Reference, ReferenceError, json};
use thiserror::Error;

/// A place that holds an image, and which of its images is meant.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ImageRef {
    /// `docker://host/repository:tag`, or the same without prefix.
    Registry(Reference),
    /// `oci:DIR[:name]`: an OCI layout directory.
    Layout {
        /// The directory.
        dir: PathBuf,
        /// Which of the images; needless if there is one.
        name: Option<LayoutName>,
    },
    /// `oci-archive:FILE[:name]`: an OCI layout in a tar file.
    OciArchive {
        /// The file.
        file: PathBuf,
        /// Which of the images; needless if there is one.
        name: Option<LayoutName>,
    },
    /// `docker-archive:FILE[:name:tag]`: what `docker save` writes. Can only be read.
    DockerArchive {
        /// The file.
        file: PathBuf,
        /// Which of the images; needless if there is one.
        name: Option<Box<str>>,
    },
}

impl FromStr for ImageRef {
    type Err = ImageRefError;

    fn from_str(text: &str) -> Result<Self, ImageRefError> {
        if let Some(reference) = text.strip_prefix("docker://") {
            return Ok(Self::Registry(reference.parse()?));
        }
        if let Some(rest) = text.strip_prefix("oci:") {
            let (dir, name) = path_and_name(rest, text)?;
            let name = name.map(str::parse).transpose()?;
            return Ok(Self::Layout { dir, name });
        }
        if let Some(rest) = text.strip_prefix("oci-archive:") {
            let (file, name) = path_and_name(rest, text)?;
            let name = name.map(str::parse).transpose()?;
            return Ok(Self::OciArchive { file, name });
        }
        if let Some(rest) = text.strip_prefix("docker-archive:") {
            let (file, name) = path_and_name(rest, text)?;
            let name = name.map(Into::into);
            return Ok(Self::DockerArchive { file, name });
        }
        for (prefix, export) in EXPORTS {
            if let Some(rest) = text.strip_prefix(prefix) {
                return Err(ImageRefError::Foreign {
                    transport: prefix,
                    export: export.replace("{}", &json::excerpt(rest)).into(),
                });
            }
        }
        // A repository has no `//`, so this is a transport nobody here knows, or a pasted URL.
        if let Some((transport, _)) = text.split_once("://") {
            return Err(ImageRefError::UnknownTransport {
                text: json::excerpt(transport),
            });
        }
        Ok(Self::Registry(text.parse()?))
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transport, path, name) = match self {
            Self::Registry(reference) => return write!(f, "docker://{reference}"),
            Self::Layout { dir, name } => ("oci", dir, name.as_ref().map(LayoutName::as_str)),
            Self::OciArchive { file, name } => {
                ("oci-archive", file, name.as_ref().map(LayoutName::as_str))
            }
            Self::DockerArchive { file, name } => ("docker-archive", file, name.as_deref()),
        };
        write!(f, "{transport}:{}", path.display())?;
        match name {
            Some(name) => write!(f, ":{name}"),
            None => Ok(()),
        }
    }
}

/// The name of an image in an OCI layout, or its digest (image-spec, `org.opencontainers.image.ref.name`).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct LayoutName(Box<str>);

impl LayoutName {
    /// Borrows the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the digest, if the name is one.
    pub fn digest(&self) -> Option<Digest> {
        self.0.strip_prefix('@').unwrap_or(&self.0).parse().ok()
    }

    /// Most octets of a name.
    pub const MAX_LEN: usize = 512;
}

impl FromStr for LayoutName {
    type Err = ImageRefError;

    fn from_str(text: &str) -> Result<Self, ImageRefError> {
        let good = |b: u8| b.is_ascii_alphanumeric() || b"-._:@/+".contains(&b);
        let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        let is_digest = text
            .strip_prefix('@')
            .is_some_and(|digest| digest.parse::<Digest>().is_ok());
        if text.len() <= Self::MAX_LEN && (is_digest || starts && text.bytes().all(good)) {
            Ok(Self(text.into()))
        } else {
            Err(ImageRefError::Name {
                text: json::excerpt(text),
            })
        }
    }
}

/// Why a text names no place for images.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ImageRefError {
    /// Not a registry reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// Not a name as layouts use it.
    #[error("`{text}` is not an image name in a layout")]
    Name {
        /// The beginning of what was given.
        text: Box<str>,
    },
    /// The path is missing.
    #[error("`{text}` names no file or directory")]
    NoPath {
        /// The beginning of what was given.
        text: Box<str>,
    },
    /// A store of another program, which that program must export from.
    #[error("`{transport}` is not supported; export the image first: {export}")]
    Foreign {
        /// The transport.
        transport: &'static str,
        /// The command.
        export: Box<str>,
    },
    /// Something else before `://`.
    #[error("`{text}://` is not supported; use docker://, oci:, oci-archive: or docker-archive:")]
    UnknownTransport {
        /// The beginning of what was given.
        text: Box<str>,
    },
}

const EXPORTS: &[(&str, &str)] = &[
    ("docker-daemon:", "docker save -o image.tar {}"),
    (
        "containers-storage:",
        "skopeo copy containers-storage:{} oci:image",
    ),
];

/// Splits at the first colon that is not that of a Windows drive.
fn path_and_name<'a>(
    rest: &'a str,
    whole: &str,
) -> Result<(PathBuf, Option<&'a str>), ImageRefError> {
    let skip = drive_len(rest);
    let (path, name) = match rest.get(skip..).and_then(|tail| tail.find(':')) {
        Some(colon) => (
            rest.get(..skip + colon).unwrap_or_default(),
            rest.get(skip + colon + 1..),
        ),
        None => (rest, None),
    };
    if path.is_empty() {
        return Err(ImageRefError::NoPath {
            text: json::excerpt(whole),
        });
    }
    match name {
        Some("") => Err(ImageRefError::Name { text: "".into() }),
        name => Ok((path.into(), name)),
    }
}

/// Returns the length of `C:` in `C:\…`, `C:/…` and `\\?\C:\…`. No name begins with a slash, so nothing else looks like it.
fn drive_len(path: &str) -> usize {
    let verbatim = path.strip_prefix(r"\\?\").map_or(0, |_| 4);
    match path.as_bytes().get(verbatim..) {
        Some([letter, b':', b'/' | b'\\', ..]) if letter.is_ascii_alphabetic() => verbatim + 2,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Option<LayoutName> {
        Some(LayoutName(text.into()))
    }

    #[test]
    fn refuses_what_is_no_place() {
        let foreign = |transport, export: &str| ImageRefError::Foreign {
            transport,
            export: export.into(),
        };
        for (text, expected) in [
            (
                "oci:",
                ImageRefError::NoPath {
                    text: "oci:".into(),
                },
            ),
            (
                "oci::v1",
                ImageRefError::NoPath {
                    text: "oci::v1".into(),
                },
            ),
            ("oci:dir:", ImageRefError::Name { text: "".into() }),
            ("oci:dir:/x", ImageRefError::Name { text: "/x".into() }),
            ("oci:dir:a b", ImageRefError::Name { text: "a b".into() }),
            (
                "oci:dir:@sha256:00",
                ImageRefError::Name {
                    text: "@sha256:00".into(),
                },
            ),
            (
                "docker-daemon:x:1",
                foreign("docker-daemon:", "docker save -o image.tar x:1"),
            ),
            (
                "containers-storage:x:1",
                foreign(
                    "containers-storage:",
                    "skopeo copy containers-storage:x:1 oci:image",
                ),
            ),
            (
                "https://r.io/a",
                ImageRefError::UnknownTransport {
                    text: "https".into(),
                },
            ),
            (
                "s3://bucket/x",
                ImageRefError::UnknownTransport { text: "s3".into() },
            ),
        ] {
            assert_eq!(text.parse::<ImageRef>(), Err(expected), "{text}");
        }
    }

    #[test]
    fn a_drive_letter_is_part_of_the_path() {
        for (text, dir, expected) in [
            ("oci:C:\\img:v1", "C:\\img", name("v1")),
            ("oci:c:/img", "c:/img", None),
            (r"oci:\\?\C:\img:v1", r"\\?\C:\img", name("v1")),
            ("oci:c:v1", "c", name("v1")),
            ("oci:/a/b:r.io/x:1@y", "/a/b", name("r.io/x:1@y")),
        ] {
            let dir = dir.into();
            assert_eq!(
                text.parse(),
                Ok(ImageRef::Layout {
                    dir,
                    name: expected
                }),
                "{text}"
            );
        }
    }

    #[test]
    fn printing_and_parsing_again_changes_nothing() {
        let digest = format!("oci:d:@{}", Digest::sha256(b""));
        for text in [
            "docker://r.io/a:1",
            "debian",
            "oci:d:v1",
            "oci-archive:f.tar",
            "docker-archive:f.tar:a/b:1",
            &digest,
        ] {
            let parsed: ImageRef = text.parse().unwrap();
            assert_eq!(parsed.to_string().parse(), Ok(parsed), "{text}");
        }
    }

    #[test]
    fn a_name_can_be_a_digest() {
        let digest = Digest::sha256(b"");
        assert_eq!(
            name(&format!("@{digest}")).unwrap().digest(),
            Some(digest.clone())
        );
        assert_eq!(name(&digest.to_string()).unwrap().digest(), Some(digest));
        assert_eq!(name("v1").unwrap().digest(), None);
    }
}
