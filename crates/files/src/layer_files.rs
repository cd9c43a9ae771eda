use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::MAX_NAMES_LEN;
use crate::error::ListError;
use crate::member::{Kind, Member};
use crate::path::FilePath;

/// The files of one layer as a tree, and what it hides of the layers below (image-spec, `layer.md`, "Whiteouts").
#[derive(Debug)]
pub struct LayerFiles {
    members: Vec<Member>,
    folders: HashMap<FilePath, Folder>,
    names_len: usize,
}

impl Default for LayerFiles {
    fn default() -> Self {
        Self {
            members: Vec::new(),
            folders: HashMap::from([(FilePath::root(), Folder::default())]),
            names_len: 0,
        }
    }
}

/// What one layer has in a folder.
#[derive(Debug, Default)]
pub struct Folder {
    /// Names, and the index of the member behind them; none for folders that exist only because something lies below.
    children: BTreeMap<Box<[u8]>, Option<usize>>,
    /// Names of the layers below that are gone.
    hidden: BTreeSet<Box<[u8]>>,
    /// Whether everything of the layers below is gone.
    is_opaque: bool,
}

/// What one layer says about a path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Says<'f> {
    /// It has this member there.
    Member(&'f Member),
    /// Something lies below it, so it is a folder unless a layer below has a link there.
    Folder,
    /// It leads through a symbolic link: the link, and what of the path follows.
    Through(&'f Member, Vec<&'f [u8]>),
    /// Nothing.
    Nothing,
}

impl LayerFiles {
    /// Adds a member; a later one of the same path replaces an earlier one.
    ///
    /// # Errors
    /// [`ListError::TooMuch`] beyond [`MAX_NAMES_LEN`].
    pub fn add(&mut self, member: Member) -> Result<(), ListError> {
        if member.path.names().any(is_bookkeeping) {
            return Ok(());
        }
        let Some((folder, name)) = member.path.split() else {
            // The root itself: there is nothing to know but its mode.
            return Ok(());
        };
        let index = self.members.len();
        let mut len = name.len();
        if member.kind != Kind::Folder {
            self.folders.remove(member.path.as_octets());
        }
        let folder = self.folder_at(folder)?;
        if name == OPAQUE {
            folder.is_opaque = true;
        } else if let Some(gone) = name.strip_prefix(WHITEOUT) {
            folder.hidden.insert(gone.into());
        } else {
            folder.children.insert(name.into(), Some(index));
            len += member.path.as_octets().len();
            self.members.push(member);
        }
        self.count(len)
    }

    /// Returns what the layer has in a folder.
    pub fn folder(&self, path: &FilePath) -> Option<&Folder> {
        self.folders.get(path)
    }

    /// Returns how many members there are, those that were replaced included.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Returns a member.
    pub fn member(&self, index: usize) -> Option<&Member> {
        self.members.get(index)
    }

    /// Returns which member lies at a path, if one does.
    pub fn index_of(&self, path: &FilePath) -> Option<usize> {
        let (folder, name) = path.split()?;
        *self.folders.get(folder)?.children.get(name)?
    }

    /// Returns what the layer says about a path, and whether it hides there what the layers below say.
    ///
    /// `firm` has an entry for each name of the path: whether a layer above has a folder there that is more than implied. A
    /// link of this layer in such a place is gone. The entries of this layer are added.
    pub fn says<'f>(&'f self, path: &'f FilePath, firm: &mut Vec<bool>) -> (Says<'f>, bool) {
        let names: Vec<&[u8]> = path.names().collect();
        firm.resize(names.len(), false);
        let mut hides = false;
        let mut at = FilePath::root();
        let mut says = Says::Folder;
        for (depth, (name, firm)) in names.iter().zip(firm).enumerate() {
            let Some(folder) = self.folders.get(&at) else {
                return (Says::Nothing, hides);
            };
            hides |= folder.is_opaque || folder.hidden.contains(*name);
            let is_last = depth + 1 == names.len();
            let Some(child) = folder.children.get(*name) else {
                return (Says::Nothing, hides);
            };
            at = at.join(name);
            says = match child.and_then(|index| self.members.get(index)) {
                None => Says::Folder,
                Some(member) if is_last => Says::Member(member),
                Some(member) => match &member.kind {
                    Kind::Folder => {
                        *firm = true;
                        continue;
                    }
                    Kind::Symlink(_) if !*firm => {
                        let rest = names.get(depth + 1..).unwrap_or_default();
                        return (Says::Through(member, rest.to_vec()), true);
                    }
                    _ => return (Says::Nothing, true),
                },
            };
        }
        (says, hides)
    }

    /// Returns the folder of that path, which exists from now on.
    fn folder_at(&mut self, path: &[u8]) -> Result<&mut Folder, ListError> {
        if !self.folders.contains_key(path) {
            let mut at = FilePath::root();
            let mut cost = 0;
            for name in crate::path::parts(path) {
                let below = at.join(name);
                let folder = self.folders.entry(at).or_default();
                if !folder.children.contains_key(name) {
                    folder.children.insert(name.into(), None);
                    cost += name.len();
                }
                if !self.folders.contains_key(&below) {
                    self.folders.insert(below.clone(), Folder::default());
                    cost += below.as_octets().len();
                }
                at = below;
            }
            self.count(cost)?;
        }
        let path = FilePath::of_entry(path)?;
        Ok(self.folders.entry(path).or_default())
    }

    fn count(&mut self, octets: usize) -> Result<(), ListError> {
        self.names_len = self.names_len.saturating_add(octets);
        if self.names_len > MAX_NAMES_LEN {
            return Err(ListError::TooMuch {
                what: "octets of names",
                limit: MAX_NAMES_LEN as u64,
            });
        }
        Ok(())
    }
}

impl Folder {
    /// Returns the names in it, and for each the index of the member; none for folders that are implied.
    pub fn children(&self) -> impl Iterator<Item = (&[u8], Option<usize>)> {
        self.children.iter().map(|(name, index)| (&**name, *index))
    }

    /// Returns the names that are gone of the layers below.
    pub fn hidden(&self) -> impl Iterator<Item = &[u8]> {
        self.hidden.iter().map(|name| &**name)
    }

    /// Returns whether everything of the layers below is gone.
    pub fn is_opaque(&self) -> bool {
        self.is_opaque
    }
}

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Returns whether a name is one of those that AUFS keeps for itself.
fn is_bookkeeping(name: &[u8]) -> bool {
    name.starts_with(b".wh..wh.") && name != OPAQUE
}
