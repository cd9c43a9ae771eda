use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use thiserror::Error;

use crate::layer_files::{LayerFiles, Says};
use crate::member::{Kind, Member};
use crate::path::{FilePath, parts};

/// The layers of an image, each listed when it is first asked for.
pub trait Layers {
    /// Why a layer could not be listed.
    type Error;

    /// Returns how many layers there are.
    fn count(&self) -> usize;

    /// Returns the files of a layer; 0 is the base.
    ///
    /// # Errors
    /// Why it could not be listed.
    fn files(&mut self, index: usize) -> Result<Arc<LayerFiles>, Self::Error>;
}

/// What the layers of an image show together.
///
/// Layers are asked from the topmost down, and no further than what decides. Where an upper layer has something below a path
/// at which a lower layer has a link, what is asked for by that very path is found, as it is when the layers are unpacked
/// one after the other; it is not found by the path that the link leads to.
#[derive(Debug)]
pub struct Merged<L>(pub L);

/// Something that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where it is, behind all links.
    pub path: FilePath,
    /// Which layer has it.
    pub layer: usize,
    files: Arc<LayerFiles>,
    member: Option<usize>,
}

impl Found {
    /// Returns the entry; nothing for a folder that is only implied by what lies in it.
    pub fn member(&self) -> Option<&Member> {
        self.files.member(self.member?)
    }

    /// Returns whether it is a folder.
    pub fn is_folder(&self) -> bool {
        self.member()
            .is_none_or(|member| member.kind == Kind::Folder)
    }

    /// Returns what it is, in one word.
    pub fn kind(&self) -> &'static str {
        self.member()
            .map_or("directory", |member| member.kind.name())
    }
}

/// One name in a folder.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The name.
    pub name: Box<[u8]>,
    /// What is behind it.
    pub found: Found,
}

/// Whether a symbolic link at the end of a path is followed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Follow {
    /// It is followed.
    Yes,
    /// It is what is asked for.
    No,
}

/// Why nothing was found.
#[derive(Debug, Error)]
pub enum ResolveError<E> {
    /// A layer could not be listed.
    #[error(transparent)]
    Layer(E),

    /// There is no such path.
    #[error("there is no `{path}`")]
    NotFound {
        /// What there is not.
        path: FilePath,
    },

    /// Links lead to links without end.
    #[error("`{path}` leads through more than {} links", MAX_LINKS)]
    TooManyLinks {
        /// The last of them.
        path: FilePath,
    },

    /// The path is longer than files have.
    #[error("the path is longer than files have")]
    TooLong,
}

/// Most links that are followed on the way to one file, as in Linux.
pub(crate) const MAX_LINKS: usize = 40;

impl<L: Layers> Merged<L> {
    /// Finds what a path names. Links are followed below the root, which `..` never leaves.
    ///
    /// # Errors
    /// Any [`ResolveError`].
    pub fn resolve(&mut self, path: &[u8], last: Follow) -> Result<Found, ResolveError<L::Error>> {
        self.walk(&FilePath::root(), path, last, &mut 0)
    }

    /// Returns the file behind a hard link, which may lie in its own layer or in one below.
    ///
    /// # Errors
    /// Any [`ResolveError`]; [`ResolveError::NotFound`] where it leads nowhere.
    pub fn behind_hard_links(&mut self, found: Found) -> Result<Found, ResolveError<L::Error>> {
        let mut found = found;
        for _ in 0..=MAX_LINKS {
            let Some(Kind::HardLink(target)) = found.member().map(|member| &member.kind) else {
                return Ok(found);
            };
            let target = target.clone();
            // A name that stands for itself means the file of that name below.
            let top = match target == found.path {
                true => found.layer.checked_sub(1),
                false => Some(found.layer),
            };
            found = match top.map(|top| self.find(&target, top)).transpose()? {
                Some(Lookup::Found(found)) => found,
                _ => return Err(ResolveError::NotFound { path: target }),
            };
        }
        Err(ResolveError::TooManyLinks { path: found.path })
    }

    /// Lists a folder; `folder` was found by [`resolve`](Self::resolve).
    ///
    /// # Errors
    /// [`ResolveError::Layer`].
    pub fn list(&mut self, folder: &FilePath) -> Result<Vec<Listed>, ResolveError<L::Error>> {
        let mut names: BTreeMap<Box<[u8]>, Found> = BTreeMap::new();
        let mut hidden: HashSet<Box<[u8]>> = HashSet::new();
        let mut firm = Vec::new();
        for layer in (0..self.0.count()).rev() {
            let files = self.0.files(layer).map_err(ResolveError::Layer)?;
            let (says, mut hides) = files.says(folder, &mut firm);
            let is_folder = match says {
                Says::Folder => true,
                Says::Member(member) if member.kind == Kind::Folder => true,
                Says::Nothing => false,
                // What is here was replaced by the folder above.
                Says::Member(_) | Says::Through(..) => break,
            };
            if let Some(own) = files.folder(folder).filter(|_| is_folder) {
                for (name, member) in own.children() {
                    if hidden.contains(name) {
                        continue;
                    }
                    let found = Found {
                        path: folder.join(name),
                        layer,
                        files: Arc::clone(&files),
                        member,
                    };
                    match names.get(name) {
                        Some(above) if !gives_way(above, &found) => {}
                        _ => drop(names.insert(name.into(), found)),
                    }
                }
                hidden.extend(own.hidden().map(Box::from));
                hides |= own.is_opaque();
            }
            if hides {
                break;
            }
        }
        let listed = names.into_iter();
        Ok(listed.map(|(name, found)| Listed { name, found }).collect())
    }

    fn walk(
        &mut self,
        from: &FilePath,
        path: &[u8],
        last: Follow,
        links: &mut usize,
    ) -> Result<Found, ResolveError<L::Error>> {
        let mut at = from.clone();
        let mut path = path.to_vec();
        loop {
            for part in parts(&path) {
                if part == b".." {
                    // What lies above is known only behind all links.
                    if !at.is_root() {
                        at = self
                            .walk(&FilePath::root(), at.as_octets(), Follow::Yes, links)?
                            .path;
                    }
                    at = at.folder();
                } else {
                    at = at.join(part);
                    if at.as_octets().len() > FilePath::MAX_LEN {
                        return Err(ResolveError::TooLong);
                    }
                }
            }
            let top = self.0.count().checked_sub(1);
            let (link, target, rest) = match top.map(|top| self.find(&at, top)).transpose()? {
                Some(Lookup::Through { link, target, rest }) => (link, target, rest),
                Some(Lookup::Found(found)) => match found.member().map(|member| &member.kind) {
                    Some(Kind::Symlink(target)) if last == Follow::Yes => {
                        (found.path.clone(), target.clone(), Vec::new())
                    }
                    _ => return Ok(found),
                },
                Some(Lookup::Absent) | None => return Err(ResolveError::NotFound { path: at }),
            };
            *links += 1;
            if *links > MAX_LINKS {
                return Err(ResolveError::TooManyLinks { path: link });
            }
            at = match target.first() {
                Some(b'/') => FilePath::root(),
                _ => link.folder(),
            };
            path = [&target, &b"/"[..], &rest].concat();
        }
    }

    /// Looks for the very path in the layers up to `top`.
    fn find(&mut self, path: &FilePath, top: usize) -> Result<Lookup, ResolveError<L::Error>> {
        let mut implied: Option<Found> = None;
        let mut firm = Vec::new();
        for layer in (0..=top).rev() {
            let files = self.0.files(layer).map_err(ResolveError::Layer)?;
            let (says, hides) = files.says(path, &mut firm);
            let found = |member| Found {
                path: path.clone(),
                layer,
                files: Arc::clone(&files),
                member,
            };
            match says {
                Says::Member(_) => {
                    let found = found(files.index_of(path));
                    return Ok(Lookup::Found(match implied {
                        Some(above) if !gives_way(&above, &found) => above,
                        _ => found,
                    }));
                }
                Says::Folder if path.is_root() => return Ok(Lookup::Found(found(None))),
                Says::Folder => {
                    implied.get_or_insert_with(|| found(None));
                }
                Says::Through(link, rest) if implied.is_none() => {
                    let Kind::Symlink(target) = &link.kind else {
                        break;
                    };
                    return Ok(Lookup::Through {
                        link: link.path.clone(),
                        target: target.clone(),
                        rest: rest.join(&b'/'),
                    });
                }
                Says::Through(..) | Says::Nothing => {}
            }
            if hides {
                break;
            }
        }
        Ok(implied.map_or(Lookup::Absent, Lookup::Found))
    }
}

/// Returns whether what an upper layer has gives way to what a lower one has: a folder that is only implied.
fn gives_way(above: &Found, below: &Found) -> bool {
    let is_explicit = |kind: &Kind| matches!(kind, Kind::Folder | Kind::Symlink(_));
    above.member.is_none()
        && below
            .member()
            .is_some_and(|member| is_explicit(&member.kind))
}

enum Lookup {
    Found(Found),
    Through {
        link: FilePath,
        target: Box<[u8]>,
        rest: Vec<u8>,
    },
    Absent,
}

#[cfg(test)]
mod tests;
