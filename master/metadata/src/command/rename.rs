//! Gives a directory outside of mounts another name or place, with all that is below it, mounts included.

use std::collections::BTreeMap;

use forebay_types::limits::PATH_LENGTH_MAX;
use forebay_types::{InodeId, MountId, NamespacePath};
use serde::{Deserialize, Serialize};

use super::remove_directory::remove;
use crate::limits::{DEPTH_MAX, RENAMED_DEEPER_MAX};
use crate::mount::OptionValue;
use crate::query;
use crate::reply::{Rejection, Reply, Success};
use crate::state::{EdgeOrigin, Inode, MountRecord, Transition, edge_key, mount_key};
use crate::store::{StateReader, StoreError, Table};
use crate::tree::own::{self, OwnWalk};
use crate::tree::{self, count_mount_point};

/// Moves a directory, as `rename(2)` does: an empty directory at the new place is replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rename {
    /// Where it is.
    pub from: NamespacePath,
    /// Where it is to be.
    pub to: NamespacePath,
    /// For each mount below it that has sealed options: those, sealed anew for its new path.
    pub resealed: Vec<ResealedMount>,
}

/// The sealed options of a mount that gets another path, to which they are bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResealedMount {
    /// The mount.
    pub mount: MountId,
    /// The path that they were sealed for.
    pub path: NamespacePath,
    /// The sealed values, by the options' names.
    pub options: BTreeMap<String, OptionValue>,
}

/// What a rename that can be done has to do.
struct Plan {
    from: OwnWalk,
    to: OwnWalk,
    /// An empty directory that is replaced.
    replaced: Option<Inode>,
    /// The mounts below as they will be.
    mounts: Vec<MountRecord>,
}

impl Rename {
    pub(crate) fn apply(&self, state: &mut Transition<'_, '_>) -> Result<Reply, StoreError> {
        let plan = match self.plan(state)? {
            Ok(Some(plan)) => plan,
            Ok(None) => return Ok(Ok(Success::Renamed { mounts: 0 })),
            Err(rejection) => return Ok(Err(rejection)),
        };
        let Plan { from, to, replaced, mounts } = plan;
        let moved = from.last();
        let target = if replaced.is_some() { &to.lineage[..to.found()] } else { &to.lineage[..] };
        let parent = target.last().expect("at least the root is above any name").id;
        let (Some(old_name), Some(new_name)) = (&moved.name, self.to.names().last()) else {
            return Ok(Err(Rejection::RootStays));
        };
        own::keep(state, &from.lineage[..from.found()])?;
        own::keep(state, target)?;
        match &replaced {
            Some(replaced) => remove(state, replaced)?,
            None => state.name_changed(parent, new_name, None),
        }
        state.delete(Table::Children, edge_key(moved.parent, old_name));
        state.name_changed(moved.parent, old_name, Some(moved.id));
        let after = Inode { parent, name: Some(new_name.clone()), ..moved.clone() };
        state.replace_inode(moved, &after)?;
        own::name_made(state, parent, new_name, moved.id);
        let below = moved.mounts_below();
        count_mount_point(state, moved.parent, |count| count.checked_sub(below))?;
        count_mount_point(state, parent, |count| count.checked_add(below))?;
        own::touch(state, moved.parent)?;
        own::touch(state, parent)?;
        for mount in &mounts {
            state.write(mount_key(mount.id), mount);
            state.mounts_changed();
        }
        let mounts = u32::try_from(mounts.len()).unwrap_or(u32::MAX);
        Ok(Ok(Success::Renamed { mounts }))
    }

    /// What there is to do; `None` where the directory has that path already.
    fn plan(&self, state: &Transition<'_, '_>) -> Result<Result<Option<Plan>, Rejection>, StoreError> {
        let reader = state.reader();
        if self.from.is_root() || self.to.is_root() {
            return Ok(Err(Rejection::RootStays));
        }
        let from = match own::existing(reader, &self.from)? {
            Ok(walk) if walk.is_mount_point => {
                return Ok(Err(Rejection::MountPoint { path: self.from.clone() }));
            }
            Ok(walk) => walk,
            Err(rejection) => return Ok(Err(rejection)),
        };
        if self.from == self.to {
            return Ok(Ok(None));
        }
        if self.to.starts_with(&self.from) {
            return Ok(Err(Rejection::IntoItself { from: self.from.clone(), to: self.to.clone() }));
        }
        let to = match own::walk(reader, &self.to)? {
            Ok(walk) => walk,
            Err(rejection) => return Ok(Err(rejection)),
        };
        let above = self.to.names().len() - 1;
        let replaced = match to.found() {
            found if found < above => {
                return Ok(Err(Rejection::NoDirectory { path: own::first_names(&self.to, above) }));
            }
            found if found == above => None,
            _ => Some(to.last().clone()),
        };
        if to.is_mount_point {
            return Ok(Err(Rejection::MountPoint { path: self.to.clone() }));
        }
        if let Some(replaced) = &replaced
            && tree::has_children(reader, replaced.id)?
        {
            return Ok(Err(Rejection::DirectoryNotEmpty { path: self.to.clone() }));
        }
        if let Err(rejection) = self.check_depth(reader, from.last().id)? {
            return Ok(Err(rejection));
        }
        let mounts = self.moved_mounts(state)?;
        Ok(mounts.map(|mounts| Some(Plan { from, to, replaced, mounts })))
    }

    /// A directory that gets deeper may take others below it out of all paths' reach. How deep they are is seen by going
    /// through them, which has a limit.
    fn check_depth(
        &self,
        reader: &dyn StateReader,
        moved: InodeId,
    ) -> Result<Result<(), Rejection>, StoreError> {
        let (before, mut depth) = (self.from.names().len(), self.to.names().len());
        if depth <= before {
            return Ok(Ok(()));
        }
        let (mut level, mut seen) = (vec![moved], 0);
        while !level.is_empty() {
            if depth >= DEPTH_MAX {
                return Ok(Err(Rejection::PathTooLong { path: self.to.clone() }));
            }
            let mut next = Vec::new();
            for directory in level {
                let left = RENAMED_DEEPER_MAX - seen;
                let page = query::list_edges(reader, directory, None, left + 1)?;
                if page.len() > left {
                    let max = u32::try_from(RENAMED_DEEPER_MAX).unwrap_or(u32::MAX);
                    return Ok(Err(Rejection::TooManyBelow { path: self.from.clone(), max }));
                }
                seen += page.len();
                // What is in a mount is counted from where that is listed.
                let own = page.into_iter().filter(|(_, edge)| edge.origin != EdgeOrigin::MountPoint);
                next.extend(own.map(|(_, edge)| edge.target));
            }
            (level, depth) = (next, depth + 1);
        }
        Ok(Ok(()))
    }

    /// The mounts below as they will be.
    fn moved_mounts(
        &self,
        state: &Transition<'_, '_>,
    ) -> Result<Result<Vec<MountRecord>, Rejection>, StoreError> {
        let mounts = query::mounts(state.reader())?;
        let below = mounts.into_iter().filter(|mount| mount.path.starts_with(&self.from));
        let moved = below.map(|mut mount| {
            let path = mount.path.moved(&self.from, &self.to).expect("it lies below what moves");
            if path.to_bytes().len() > PATH_LENGTH_MAX {
                return Err(Rejection::PathTooLong { path });
            }
            self.reseal(&mut mount, &path)?;
            (mount.path, mount.changed_at) = (path, state.index());
            Ok(mount)
        });
        Ok(moved.collect())
    }

    /// Takes over the options that were sealed anew. Without them nobody could open those of before.
    fn reseal(&self, mount: &mut MountRecord, path: &NamespacePath) -> Result<(), Rejection> {
        let resealed = self.resealed.iter().find(|resealed| resealed.mount == mount.id);
        for (name, value) in &mut mount.options.options {
            if let OptionValue::Sealed(_) = value {
                let anew = resealed.filter(|resealed| resealed.path == *path);
                match anew.and_then(|resealed| resealed.options.get(name)) {
                    Some(anew @ OptionValue::Sealed(_)) => *value = anew.clone(),
                    _ => return Err(Rejection::MountsChangedMeanwhile { path: self.from.clone() }),
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
