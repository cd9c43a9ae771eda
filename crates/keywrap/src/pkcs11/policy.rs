use thiserror::Error;

use super::{YamlError, uri::is_absolute, yaml::Node};
use crate::error::printable;

/// Which PKCS #11 modules may be loaded: the content of `ocicrypt.conf`, or ocicrypt's built-in list.
///
/// A module is code of somebody else that runs with our rights, and key files name it; hence nothing is allowed that is
/// not listed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ModulePolicy {
    directories: Vec<Box<str>>,
    allowed: Vec<Box<str>>,
}

/// Why a file is no list of modules.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum PolicyError {
    /// Not YAML as it is read here.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// YAML of something else.
    #[error("no `pkcs11:` with `module-directories:` and `allowed-module-paths:` in it")]
    NoLists,
    /// A member that is not understood, or not a list of text.
    #[error("`{name}` is not understood")]
    Member {
        /// The member, with what it stands in.
        name: Box<str>,
    },
    /// A path that means another file in another folder.
    #[error("`{path}` is not an absolute path")]
    Relative {
        /// The path.
        path: Box<str>,
    },
    /// More paths than such a list has.
    #[error("more than {limit} paths")]
    TooMany {
        /// The limit.
        limit: usize,
    },
}

impl ModulePolicy {
    /// Returns ocicrypt's built-in list (`OCICRYPT_CONFIG=internal`): every module in the folders of the distributions.
    pub fn internal(architecture: &str) -> Self {
        let folders = [
            "/usr/lib64/pkcs11/".to_owned(),
            "/usr/lib/pkcs11/".into(),
            "/usr/local/lib/pkcs11/".into(),
            "/usr/lib/softhsm/".into(),
            format!("/usr/lib/{architecture}-linux-gnu/"),
            // Where links in the folders above lead on Debian.
            format!("/usr/lib/{architecture}-linux-gnu/pkcs11/"),
            format!("/usr/lib/{architecture}-linux-gnu/softhsm/"),
        ];
        let folders: Vec<Box<str>> = folders.into_iter().map(Into::into).collect();
        Self {
            directories: folders.clone(),
            allowed: folders,
        }
    }

    /// Reads the content of a policy file.
    ///
    /// Other sections than `pkcs11` are none of this crate's concern and are passed over.
    ///
    /// # Errors
    /// [`PolicyError`]
    pub fn parse(file: &[u8]) -> Result<Self, PolicyError> {
        let root = Node::parse(file)?;
        let section = root.as_map().and_then(|members| members.get("pkcs11"));
        let section = section.and_then(Node::as_map);
        let mut policy = Self {
            directories: Vec::new(),
            allowed: Vec::new(),
        };
        for (name, node) in section.ok_or(PolicyError::NoLists)? {
            match name.as_str() {
                "module-directories" => policy.directories = paths(name, node)?,
                "allowed-module-paths" => policy.allowed = paths(name, node)?,
                other => return Err(member(other)),
            }
        }
        Ok(policy)
    }

    /// Folders that are searched for modules given by name.
    pub fn directories(&self) -> impl Iterator<Item = &str> {
        self.directories.iter().map(|path| &**path)
    }

    /// Modules that may be loaded; a path that ends with `/` is that of a folder, for the modules directly in it.
    pub fn allowed(&self) -> impl Iterator<Item = &str> {
        self.allowed.iter().map(|path| &**path)
    }
}

fn member(name: &str) -> PolicyError {
    PolicyError::Member {
        name: printable(&format!("pkcs11.{name}")),
    }
}

fn paths(name: &str, node: &Node) -> Result<Vec<Box<str>>, PolicyError> {
    if node.is_nothing() {
        return Ok(Vec::new());
    }
    let Node::List(items) = node else {
        return Err(member(name));
    };
    if items.len() > MAX_PATHS {
        return Err(PolicyError::TooMany { limit: MAX_PATHS });
    }
    items
        .iter()
        .map(|item| match item.as_text() {
            Some(path) if is_absolute(path) => Ok(path.into()),
            Some(path) => Err(PolicyError::Relative {
                path: printable(path),
            }),
            None => Err(member(name)),
        })
        .collect()
}

/// Most paths in one list.
const MAX_PATHS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_policy_of_the_fixture() {
        let file = include_bytes!("../../../../testdata/ocicrypt/keys/pkcs11/ocicrypt.conf");
        let policy = ModulePolicy::parse(file).unwrap();
        assert_eq!(
            policy.directories().collect::<Vec<_>>(),
            ["/usr/lib/softhsm/"]
        );
        assert_eq!(policy.allowed().collect::<Vec<_>>(), ["/usr/lib/softhsm/"]);
    }

    #[test]
    fn what_is_not_listed_is_not_allowed() {
        let policy = ModulePolicy::parse(b"pkcs11: {module-directories: ~}\nother: [1]\n").unwrap();
        assert_eq!(policy.allowed().count(), 0);
    }

    #[test]
    fn refuses_what_is_not_understood() {
        let member = |name: &str| PolicyError::Member { name: name.into() };
        let relative = |path: &str| PolicyError::Relative { path: path.into() };
        for (text, expected) in [
            ("a", PolicyError::NoLists),
            ("module-directories: [/x]", PolicyError::NoLists),
            ("pkcs11: []", PolicyError::NoLists),
            ("pkcs11:", PolicyError::NoLists),
            (
                "pkcs11: {allowed-modules: []}",
                member("pkcs11.allowed-modules"),
            ),
            (
                "pkcs11: {allowed-module-paths: /x}",
                member("pkcs11.allowed-module-paths"),
            ),
            (
                "pkcs11: {allowed-module-paths: [[]]}",
                member("pkcs11.allowed-module-paths"),
            ),
            (
                "pkcs11: {allowed-module-paths: [lib/x.so]}",
                relative("lib/x.so"),
            ),
            ("pkcs11: {allowed-module-paths: ['']}", relative("")),
            ("pkcs11: {module-directories: [./]}", relative("./")),
        ] {
            assert_eq!(
                ModulePolicy::parse(text.as_bytes()).unwrap_err(),
                expected,
                "{text}"
            );
        }
        let many = vec!["/x"; MAX_PATHS + 1].join(",");
        let text = format!("pkcs11: {{module-directories: [{many}]}}");
        let limit = MAX_PATHS;
        assert_eq!(
            ModulePolicy::parse(text.as_bytes()).unwrap_err(),
            PolicyError::TooMany { limit }
        );
    }
}
