//! Makes a directory outside of mounts.

use forebay_types::NamespacePath;
use serde::{Deserialize, Serialize};

use super::set_attributes::check_access;
use crate::limits::DEPTH_MAX;
use crate::reply::{Rejection, Reply, Success};
use crate::state::Transition;
use crate::store::StoreError;
use crate::tree::own::{self, Access, OwnWalk};

/// Makes a directory, which stays until it is removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MakeDirectory {
    /// Where.
    pub path: NamespacePath,
    /// Make what is missing above it too; that the directory is there already is no error then.
    pub parents: bool,
    /// Permission bits of each directory that is made.
    pub mode: Option<u32>,
    /// Its owner.
    pub uid: Option<u32>,
    /// Its group.
    pub gid: Option<u32>,
}

impl MakeDirectory {
    pub(crate) fn apply(&self, state: &mut Transition<'_, '_>) -> Result<Reply, StoreError> {
        let Self { mode, uid, gid, .. } = *self;
        let walk = match own::walk(state.reader(), &self.path)? {
            Ok(walk) => walk,
            Err(rejection) => return Ok(Err(rejection)),
        };
        let names = self.path.names();
        let missing = &names[walk.found()..];
        let Some((first, deeper)) = missing.split_first() else {
            return self.take_as_it_is(state, &walk);
        };
        let refused = match check_access(&self.path, mode, uid, gid) {
            Err(rejection) => Some(rejection),
            Ok(()) if !deeper.is_empty() && !self.parents => {
                Some(Rejection::NoDirectory { path: own::first_names(&self.path, names.len() - 1) })
            }
            Ok(()) if names.len() >= DEPTH_MAX => Some(Rejection::PathTooLong { path: self.path.clone() }),
            Ok(()) => None,
        };
        if let Some(rejection) = refused {
            return Ok(Err(rejection));
        }
        own::keep(state, &walk.lineage)?;
        let parent = walk.last().id;
        let access = Access { mode, uid, gid };
        let mut inode = own::add(state, parent, first, access)?;
        for name in deeper {
            inode = own::add(state, inode, name, access)?;
        }
        state.name_changed(parent, first, None);
        own::touch(state, parent)?;
        Ok(Ok(Success::DirectoryMade { inode, already: false }))
    }

    /// The path exists. Who asks for a directory to be there means it to stay.
    fn take_as_it_is(&self, state: &mut Transition<'_, '_>, walk: &OwnWalk) -> Result<Reply, StoreError> {
        if !self.parents {
            return Ok(Err(Rejection::EntryExists { path: self.path.clone() }));
        }
        let own = if walk.is_mount_point { &walk.lineage[..walk.found()] } else { &walk.lineage[..] };
        own::keep(state, own)?;
        Ok(Ok(Success::DirectoryMade { inode: walk.last().id, already: true }))
    }
}

#[cfg(test)]
mod tests;
