use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A media type as descriptors carry it: `type/subtype`, RFC 6838, section 4.2, without parameters.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MediaType(Box<str>);

impl MediaType {
    /// Borrows the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether this is the type of a sealed layer.
    pub fn is_sealed(&self) -> bool {
        self.0.ends_with(Self::SEALED_SUFFIX)
    }

    /// Returns whether this is a layer that can be sealed, or has been.
    pub fn is_layer(&self) -> bool {
        self.layer().is_some()
    }

    /// Returns whether this is a layer that registries must not be asked to store (image-spec, "Non-Distributable Layers").
    pub fn is_nondistributable(&self) -> bool {
        self.layer()
            .is_some_and(|(oci, _)| oci.starts_with(OCI_NONDISTRIBUTABLE))
    }

    /// Returns how the layer is compressed under the seal; `None` for other types.
    pub fn compression(&self) -> Option<Compression> {
        self.layer().map(|(_, compression)| compression)
    }

    /// Returns the type of this layer once sealed. Docker types become their OCI twins.
    ///
    /// # Errors
    /// [`MediaTypeError::AlreadySealed`], or [`MediaTypeError::NotALayer`] for types no reader would accept sealed.
    pub fn sealed(&self) -> Result<Self, MediaTypeError> {
        if self.is_sealed() {
            return Err(MediaTypeError::AlreadySealed {
                text: self.0.clone(),
            });
        }
        let (oci, _) = self.layer().ok_or_else(|| self.not_a_layer())?;
        Ok(Self(format!("{oci}{}", Self::SEALED_SUFFIX).into()))
    }

    /// Returns the type of this sealed layer once opened. Docker types, which some writers seal, become their OCI twins.
    ///
    /// # Errors
    /// [`MediaTypeError::NotSealed`], or [`MediaTypeError::NotALayer`] for an unknown type under the suffix.
    pub fn plain(&self) -> Result<Self, MediaTypeError> {
        if !self.is_sealed() {
            return Err(MediaTypeError::NotSealed {
                text: self.0.clone(),
            });
        }
        let (oci, _) = self.layer().ok_or_else(|| self.not_a_layer())?;
        Ok(Self(oci.into()))
    }

    /// Returns the OCI twin of a Docker schema 2 type, and every other type as it is.
    #[must_use]
    pub fn to_oci(&self) -> Self {
        let twin = match &*self.0 {
            Self::DOCKER_MANIFEST => Self::OCI_MANIFEST,
            Self::DOCKER_LIST => Self::OCI_INDEX,
            Self::DOCKER_CONFIG => Self::OCI_CONFIG,
            _ => match self.layer() {
                Some((oci, _)) if !self.is_sealed() => oci,
                _ => return self.clone(),
            },
        };
        Self(twin.into())
    }

    /// Returns the type that the same layer has once it may be stored in any registry; every other type as it is.
    #[must_use]
    pub fn to_distributable(&self) -> Self {
        let oci = self.to_oci();
        if oci.is_nondistributable() {
            Self(oci.0.replace(".nondistributable.", ".").into())
        } else {
            self.clone()
        }
    }

    /// Returns whether this is an image manifest, OCI or Docker schema 2.
    pub fn is_manifest(&self) -> bool {
        matches!(&*self.0, Self::OCI_MANIFEST | Self::DOCKER_MANIFEST)
    }

    /// Returns whether this is an image index or manifest list.
    pub fn is_index(&self) -> bool {
        matches!(&*self.0, Self::OCI_INDEX | Self::DOCKER_LIST)
    }

    /// Returns whether this is one of Docker's own types.
    pub fn is_docker(&self) -> bool {
        self.0.starts_with("application/vnd.docker.")
    }

    /// `application/vnd.oci.image.manifest.v1+json`
    pub const OCI_MANIFEST: &'static str = "application/vnd.oci.image.manifest.v1+json";
    /// `application/vnd.oci.image.index.v1+json`
    pub const OCI_INDEX: &'static str = "application/vnd.oci.image.index.v1+json";
    /// `application/vnd.oci.image.config.v1+json`
    pub const OCI_CONFIG: &'static str = "application/vnd.oci.image.config.v1+json";
    /// `application/vnd.docker.distribution.manifest.v2+json`
    pub const DOCKER_MANIFEST: &'static str =
        "application/vnd.docker.distribution.manifest.v2+json";
    /// `application/vnd.docker.distribution.manifest.list.v2+json`
    pub const DOCKER_LIST: &'static str =
        "application/vnd.docker.distribution.manifest.list.v2+json";
    /// `application/vnd.docker.container.image.v1+json`
    pub const DOCKER_CONFIG: &'static str = "application/vnd.docker.container.image.v1+json";
    /// What a sealed layer's type ends with.
    pub const SEALED_SUFFIX: &'static str = "+encrypted";
    /// Most octets of a media type: two restricted names of 127 and the slash (RFC 6838, section 4.2).
    pub const MAX_LEN: usize = 255;

    fn not_a_layer(&self) -> MediaTypeError {
        MediaTypeError::NotALayer {
            text: self.0.clone(),
        }
    }

    /// The OCI type without seal, and the compression, of every layer type that is known.
    fn layer(&self) -> Option<(&'static str, Compression)> {
        let plain = self.0.strip_suffix(Self::SEALED_SUFFIX).unwrap_or(&self.0);
        LAYERS
            .iter()
            .find(|(oci, docker, _)| plain == *oci || docker.contains(&plain))
            .map(|(oci, _, compression)| (*oci, *compression))
    }
}

/// How the octets under a layer's seal are compressed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl FromStr for MediaType {
    type Err = MediaTypeError;

    fn from_str(text: &str) -> Result<Self, MediaTypeError> {
        let name = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphanumeric())
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
        };
        match text.split_once('/') {
            Some((kind, subtype)) if text.len() <= Self::MAX_LEN && name(kind) && name(subtype) => {
                Ok(Self(text.into()))
            }
            _ => Err(MediaTypeError::Malformed {
                text: crate::json::excerpt(text),
            }),
        }
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a media type cannot be used.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum MediaTypeError {
    /// Not `type/subtype`.
    #[error("`{text}` is not a media type")]
    Malformed {
        /// The beginning of what was given.
        text: Box<str>,
    },
    /// Sealing what is sealed.
    #[error("media type `{text}` is sealed already")]
    AlreadySealed {
        /// The type.
        text: Box<str>,
    },
    /// Opening what is not sealed.
    #[error("media type `{text}` is not that of a sealed layer")]
    NotSealed {
        /// The type.
        text: Box<str>,
    },
    /// Not a layer type that any runtime opens sealed.
    #[error("media type `{text}` is not a layer that can be sealed")]
    NotALayer {
        /// The type.
        text: Box<str>,
    },
}

const OCI_NONDISTRIBUTABLE: &str = "application/vnd.oci.image.layer.nondistributable.";

/// OCI layer types, the Docker types that mean the same, and their compression.
const LAYERS: &[(&str, &[&str], Compression)] = &[
    (
        "application/vnd.oci.image.layer.v1.tar",
        &["application/vnd.docker.image.rootfs.diff.tar"],
        Compression::None,
    ),
    (
        "application/vnd.oci.image.layer.v1.tar+gzip",
        &["application/vnd.docker.image.rootfs.diff.tar.gzip"],
        Compression::Gzip,
    ),
    (
        "application/vnd.oci.image.layer.v1.tar+zstd",
        &["application/vnd.docker.image.rootfs.diff.tar.zstd"],
        Compression::Zstd,
    ),
    (
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        &["application/vnd.docker.image.rootfs.foreign.diff.tar"],
        Compression::None,
    ),
    (
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        &["application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"],
        Compression::Gzip,
    ),
    (
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        &[],
        Compression::Zstd,
    ),
    (
        "application/vnd.wasm.content.layer.v1+wasm",
        &[],
        Compression::None,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> MediaType {
        text.parse().unwrap()
    }

    #[test]
    fn seals_and_opens_every_oci_layer_type_reversibly() {
        for (oci, docker, _) in LAYERS {
            let sealed = parse(oci).sealed().unwrap();
            assert_eq!(sealed.as_str(), format!("{oci}+encrypted"));
            assert_eq!(sealed.plain().unwrap().as_str(), *oci);
            for docker in *docker {
                assert_eq!(parse(docker).sealed().unwrap(), sealed);
                assert_eq!(
                    parse(&format!("{docker}+encrypted"))
                        .plain()
                        .unwrap()
                        .as_str(),
                    *oci
                );
                assert_eq!(parse(docker).to_oci().as_str(), *oci);
            }
        }
    }

    #[test]
    fn a_nondistributable_layer_has_a_distributable_twin() {
        let foreign = parse("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
        assert_eq!(
            foreign.to_distributable().as_str(),
            "application/vnd.oci.image.layer.v1.tar+gzip"
        );
        assert!(foreign.is_nondistributable());
        let docker = parse("application/vnd.docker.image.rootfs.diff.tar");
        assert_eq!(docker.to_distributable(), docker);
    }

    #[test]
    fn refuses_to_seal_what_is_no_layer_or_sealed_already() {
        let config = MediaType::OCI_CONFIG;
        assert_eq!(
            parse(config).sealed(),
            Err(MediaTypeError::NotALayer {
                text: config.into()
            })
        );
        let sealed = "application/vnd.oci.image.layer.v1.tar+encrypted";
        assert_eq!(
            parse(sealed).sealed(),
            Err(MediaTypeError::AlreadySealed {
                text: sealed.into()
            })
        );
        let plain = "application/vnd.oci.image.layer.v1.tar";
        assert_eq!(
            parse(plain).plain(),
            Err(MediaTypeError::NotSealed { text: plain.into() })
        );
        let odd = "application/json+encrypted";
        assert_eq!(
            parse(odd).plain(),
            Err(MediaTypeError::NotALayer { text: odd.into() })
        );
    }

    #[test]
    fn refuses_texts_that_are_not_media_types() {
        for bad in [
            "",
            "tar",
            "a/",
            "/b",
            "a b/c",
            "a/b\n",
            "a/b;c=d",
            "application/{}",
            &format!("a/{}", "b".repeat(300)),
        ] {
            assert_eq!(
                bad.parse::<MediaType>(),
                Err(MediaTypeError::Malformed {
                    text: crate::json::excerpt(bad)
                }),
                "{bad}"
            );
        }
    }
}
