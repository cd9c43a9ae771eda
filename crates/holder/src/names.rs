//! Who somebody is: SPIFFE IDs as they stand in certificates.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The subject of a certificate.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Name {
    /// `spiffe://sealift/holder/<name>`.
    Holder(String),
    /// `spiffe://sealift/operator/<name>`.
    Operator(String),
    /// `spiffe://sealift/node/<name>/region/<region>/zone/<zone>/jurisdiction/<JJ>`.
    Node(NodeName),
}

/// A node with the place it was admitted for.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NodeName {
    /// Short name.
    pub name: String,
    /// Cloud or site region.
    pub region: String,
    /// Network zone.
    pub zone: String,
    /// ISO 3166 code.
    pub jurisdiction: String,
}

impl NodeName {
    /// Puts a name together.
    ///
    /// # Errors
    /// [`NameError`] when a part is not what [`is_name`], [`is_place`] and [`is_jurisdiction`] allow.
    pub fn new(
        name: &str,
        region: &str,
        zone: &str,
        jurisdiction: &str,
    ) -> Result<Self, NameError> {
        let fits =
            is_name(name) && is_place(region) && is_place(zone) && is_jurisdiction(jurisdiction);
        fits.then(|| Self {
            name: name.to_owned(),
            region: region.to_owned(),
            zone: zone.to_owned(),
            jurisdiction: jurisdiction.to_owned(),
        })
        .ok_or(NameError)
    }
}

impl Name {
    /// Names a holder.
    ///
    /// # Errors
    /// [`NameError`] unless [`is_name`].
    pub fn holder(name: &str) -> Result<Self, NameError> {
        is_name(name)
            .then(|| Self::Holder(name.to_owned()))
            .ok_or(NameError)
    }

    /// Names an operator.
    ///
    /// # Errors
    /// [`NameError`] unless [`is_name`].
    pub fn operator(name: &str) -> Result<Self, NameError> {
        is_name(name)
            .then(|| Self::Operator(name.to_owned()))
            .ok_or(NameError)
    }

    /// Returns the short name.
    pub fn short(&self) -> &str {
        match self {
            Self::Holder(name) | Self::Operator(name) => name,
            Self::Node(node) => &node.name,
        }
    }

    /// Returns `holder:NAME`, `operator:NAME` or `node:NAME`, as audit rows and subjects of commands have it.
    pub fn subject(&self) -> String {
        let kind = match self {
            Self::Holder(_) => "holder",
            Self::Operator(_) => "operator",
            Self::Node(_) => "node",
        };
        format!("{kind}:{}", self.short())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Holder(name) => write!(f, "{PREFIX}holder/{name}"),
            Self::Operator(name) => write!(f, "{PREFIX}operator/{name}"),
            Self::Node(NodeName {
                name,
                region,
                zone,
                jurisdiction,
            }) => {
                write!(
                    f,
                    "{PREFIX}node/{name}/region/{region}/zone/{zone}/jurisdiction/{jurisdiction}"
                )
            }
        }
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(uri: &str) -> Result<Self, NameError> {
        let path = uri.strip_prefix(PREFIX).ok_or(NameError)?;
        match *path.split('/').collect::<Vec<_>>() {
            ["holder", name] => Self::holder(name),
            ["operator", name] => Self::operator(name),
            [
                "node",
                name,
                "region",
                region,
                "zone",
                zone,
                "jurisdiction",
                jurisdiction,
            ] => NodeName::new(name, region, zone, jurisdiction).map(Self::Node),
            _ => Err(NameError),
        }
    }
}

/// Returns whether `text` names a holder, an operator or a node: `[a-z0-9][a-z0-9-]{0,30}`.
pub fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME_LEN
        && !text.starts_with('-')
        && !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Returns whether `text` names a region or a zone: `[A-Za-z0-9._-]{1,64}`, not `.` or `..`.
pub fn is_place(text: &str) -> bool {
    (1..=MAX_PLACE_LEN).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && text != "."
        && text != ".."
}

/// Returns whether `text` can be a repository of a label, `host[:port]/path` (`SPEC.md` of the threshold crate, section 5).
pub fn is_repository(text: &str) -> bool {
    let is_part = |octet: u8| {
        octet.is_ascii_lowercase() || octet.is_ascii_digit() || b"._-:/[]".contains(&octet)
    };
    text.len() <= 255
        && text.bytes().all(is_part)
        && text.split('/').all(|segment| !segment.is_empty())
}

/// Returns whether `text` has the form of an ISO 3166-1 alpha-2 code.
pub fn is_jurisdiction(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase())
}

/// Not a name of this trust domain.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("not a SPIFFE ID of a holder, node or operator")]
pub struct NameError;

const PREFIX: &str = "spiffe://sealift/";
const MAX_NAME_LEN: usize = 31;
const MAX_PLACE_LEN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_printing() {
        for uri in [
            "spiffe://sealift/holder/fra",
            "spiffe://sealift/operator/alice",
            "spiffe://sealift/node/tokyo-7/region/ap-northeast-1/zone/prod/jurisdiction/JP",
        ] {
            assert_eq!(uri.parse::<Name>().unwrap().to_string(), uri);
        }
        let node: Name = "spiffe://sealift/node/tokyo-7/region/r/zone/z/jurisdiction/JP"
            .parse()
            .unwrap();
        assert_eq!(node.subject(), "node:tokyo-7");
    }

    #[test]
    fn refuses_everything_else() {
        for uri in [
            "",
            "spiffe://sealift/holder/",
            "spiffe://sealift/holder/fra/",
            "spiffe://sealift/holder/Fra",
            "spiffe://sealift/holder/-fra",
            "spiffe://sealift/holder/a23456789012345678901234567890123",
            "spiffe://sealift/holder/fr%61",
            "spiffe://other/holder/fra",
            "SPIFFE://sealift/holder/fra",
            "spiffe://sealift//holder/fra",
            "spiffe://sealift/node/tokyo-7",
            "spiffe://sealift/node/tokyo-7/region/../zone/z/jurisdiction/JP",
            "spiffe://sealift/node/tokyo-7/region//zone/z/jurisdiction/JP",
            "spiffe://sealift/node/tokyo-7/region/r/zone/z/jurisdiction/jp",
            "spiffe://sealift/node/tokyo-7/region/r/zone/z/jurisdiction/JP/x",
            "spiffe://sealift/operator/alice?x",
        ] {
            assert_eq!(uri.parse::<Name>(), Err(NameError), "{uri}");
        }
    }
}
