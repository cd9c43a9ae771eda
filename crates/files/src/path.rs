use std::borrow::Borrow;
use std::fmt;

use crate::error::ListError;

/// Where a file lies below the root: names with `/` between them, none of them empty, `.` or `..`. The root has no name.
///
/// Names are octets: what a layer holds need not be UTF-8.
#[derive(Clone, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FilePath(Box<[u8]>);

impl FilePath {
    /// Takes a name as it stands in an archive: `./` and `/` in front and `/` behind mean nothing.
    ///
    /// # Errors
    /// [`ListError::Name`] for `..`, NUL, and names longer than [`MAX_LEN`](Self::MAX_LEN).
    pub fn of_entry(name: &[u8]) -> Result<Self, ListError> {
        let refused = |reason| Err(ListError::Name { reason });
        if name.len() > Self::MAX_LEN {
            return refused("has a longer path than files have");
        }
        if name.contains(&0) {
            return refused("has NUL in its name");
        }
        let mut path = Vec::with_capacity(name.len());
        for part in parts(name) {
            if part == b".." {
                return refused("lies outside of the root");
            }
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(part);
        }
        Ok(Self(path.into()))
    }

    /// Returns the folder of everything.
    pub fn root() -> Self {
        Self::default()
    }

    /// Returns whether this is the folder of everything.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns what `name` in this folder is called.
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Self {
        if self.is_root() {
            return Self(name.into());
        }
        Self([&self.0, &b"/"[..], name].concat().into())
    }

    /// Returns the folder and the name in it; nothing for the root.
    pub fn split(&self) -> Option<(&[u8], &[u8])> {
        if self.is_root() {
            return None;
        }
        let name_at = self.0.iter().rposition(|octet| *octet == b'/');
        match name_at {
            None => Some((&[], &self.0)),
            Some(at) => Some((self.0.get(..at)?, self.0.get(at + 1..)?)),
        }
    }

    /// Returns the folder in which this is; that of the root is the root.
    #[must_use]
    pub fn folder(&self) -> Self {
        self.split()
            .map_or_else(Self::root, |(folder, _)| Self(folder.into()))
    }

    /// Returns the last name; nothing for the root.
    pub fn name(&self) -> &[u8] {
        self.split().map_or(&[], |(_, name)| name)
    }

    /// Returns the names from the root down.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        parts(&self.0)
    }

    /// Borrows the octets.
    pub fn as_octets(&self) -> &[u8] {
        &self.0
    }

    /// Longest path, in octets. Linux takes none that is longer.
    pub const MAX_LEN: usize = 4096;
}

impl Borrow<[u8]> for FilePath {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FilePath({self})")
    }
}

/// Splits a path; `.` and empty parts mean nothing.
pub(crate) fn parts(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|octet| *octet == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_archives_become_paths_below_the_root() {
        for (name, expected) in [
            (&b"etc/passwd"[..], "/etc/passwd"),
            (b"./etc/passwd", "/etc/passwd"),
            (b"/etc//./passwd/", "/etc/passwd"),
            (b"./", "/"),
            (b"", "/"),
            (b"Files/Windows/System32", "/Files/Windows/System32"),
            (b"...", "/..."),
        ] {
            assert_eq!(FilePath::of_entry(name).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn no_name_leads_outside() {
        let long = vec![b'a'; FilePath::MAX_LEN + 1];
        for name in [&b".."[..], b"../etc", b"a/../../b", b"a/..", b"a\0b", &long] {
            let refused = FilePath::of_entry(name);
            assert!(
                matches!(refused, Err(ListError::Name { .. })),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn a_path_is_a_folder_and_a_name() {
        let path = FilePath::of_entry(b"a/b/c").unwrap();
        assert_eq!(path.split(), Some((&b"a/b"[..], &b"c"[..])));
        assert_eq!(path.folder().join(b"c"), path);
        assert_eq!(FilePath::root().folder(), FilePath::root());
        assert_eq!(
            FilePath::root().join(b"a").split(),
            Some((&b""[..], &b"a"[..]))
        );
    }
}
