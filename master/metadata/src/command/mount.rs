//! Attaches an under-store path to a namespace path. Whatever it would hide or show twice is refused with the reason.
//!
//! Directories on the way that do not exist are made, in no mount. They go with the last mount below them, unless the
//! under-store of the mount around them turns out to have them too.

use forebay_types::limits::MOUNTS_MAX;
use forebay_types::{EntryKind, EntryName, InodeId, MountId, NamespacePath, UnderStoreKey, UnderStoreUri};
use serde::{Deserialize, Serialize};

use crate::limits::{BLOCK_LENGTH_MAX, BLOCK_LENGTH_MIN, MOUNT_OPTION_LENGTH_MAX, MOUNT_OPTIONS_MAX};
use crate::mount::{MountOptions, OptionValue};
use crate::query;
use crate::reply::{Rejection, Reply, Success};
use crate::state::{
    Edge, EdgeOrigin, Inode, InodeBody, MountRecord, Tombstone, Transition, edge_key, mount_key,
    tombstone_key,
};
use crate::store::{StateReader, StoreError, Table};
use crate::tree::{self, Walk};

/// Attaches an under-store. The same URI at the same path again is no error and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where.
    pub path: NamespacePath,
    /// What.
    pub uri: UnderStoreUri,
    /// How it is to behave.
    pub options: MountOptions,
}

/// What a look at a mount found.
enum Found {
    /// The very mount is there.
    Already(MountRecord),
    /// It can be made, from where the path leads to now.
    Free(Walk),
}

/// Tells without a change what the command would be answered: `Ok(None)` when the mount could be made, the mount when
/// it is there already.
///
/// # Errors
/// [`StoreError`] when the state cannot be read.
pub fn check_mount(
    reader: &dyn StateReader,
    mount: &Mount,
) -> Result<Result<Option<MountId>, Rejection>, StoreError> {
    Ok(mount.look(reader)?.map(|found| match found {
        Found::Already(record) => Some(record.id),
        Found::Free(_) => None,
    }))
}

impl Mount {
    pub(crate) fn apply(&self, state: &mut Transition<'_, '_>) -> Result<Reply, StoreError> {
        let walk = match self.look(state.reader())? {
            Err(rejection) => return Ok(Err(rejection)),
            Ok(Found::Already(record)) => {
                let options_differ = record.options != self.options;
                return Ok(Ok(Success::Mounted { mount: record.id, already: true, options_differ }));
            }
            Ok(Found::Free(walk)) => walk,
        };
        let mount = state.next_mount()?;
        let missing = &self.path.names()[walk.found..];
        let (last, between) =
            missing.split_last().expect("a free path has at least one name that is missing");
        let mut directory = walk.inode.id;
        state.directory_changed(directory);
        for name in between {
            directory = add_directory(state, directory, name, None)?;
        }
        let root = add_directory(state, directory, last, Some(mount))?;
        tree::count_mount_point(state, directory, |count| count.checked_add(1))?;
        let record = MountRecord {
            id: mount,
            path: self.path.clone(),
            uri: self.uri.clone(),
            options: self.options.clone(),
            root,
            mounted_at: state.index(),
            mounted_time: state.now(),
            changed_at: state.index(),
        };
        state.write(mount_key(mount), &record);
        state.mounts_changed();
        Ok(Ok(Success::Mounted { mount, already: false, options_differ: false }))
    }

    fn look(&self, reader: &dyn StateReader) -> Result<Result<Found, Rejection>, StoreError> {
        let mounts = query::mounts(reader)?;
        if let Some(there) = mounts.iter().find(|mount| mount.path == self.path) {
            if there.uri == self.uri {
                return Ok(Ok(Found::Already(there.clone())));
            }
            return Ok(Err(Rejection::MountPointTaken {
                path: self.path.clone(),
                uri: Box::new(self.uri.clone()),
                mounted: Box::new(there.uri.clone()),
            }));
        }
        if let Err(rejection) = self.check_alone().and_then(|()| self.check_beside(&mounts)) {
            return Ok(Err(rejection));
        }
        let walk = tree::walk(reader, &self.path)?;
        Ok(self.check_place(&walk, &mounts).map(|()| Found::Free(walk)))
    }

    /// What can be said of the command without the state.
    fn check_alone(&self) -> Result<(), Rejection> {
        if self.path.is_root() {
            return Err(Rejection::MountAtRoot { uri: Box::new(self.uri.clone()) });
        }
        let invalid = |option: &str, problem: String| {
            let option = option.chars().take(NAME_SHOWN_MAX).collect();
            Err(Rejection::InvalidOption { path: self.path.clone(), option, problem })
        };
        let block_length = self.options.block_length.get();
        if !block_length.is_power_of_two() || !(BLOCK_LENGTH_MIN..=BLOCK_LENGTH_MAX).contains(&block_length) {
            return invalid(
                "block_length",
                format!("is {block_length}; it must be a power of two from 1MiB to 1GiB"),
            );
        }
        if self.options.options.len() > MOUNT_OPTIONS_MAX {
            let count = self.options.options.len() as u64;
            return Err(Rejection::TooMany {
                what: "options".to_owned(),
                count,
                max: MOUNT_OPTIONS_MAX as u64,
            });
        }
        for (name, value) in &self.options.options {
            let length = match value {
                OptionValue::Plain(text) | OptionValue::Reference(text) => text.len(),
                OptionValue::Sealed(bytes) => bytes.len(),
            };
            if name.is_empty() || name.len() > MOUNT_OPTION_LENGTH_MAX || length > MOUNT_OPTION_LENGTH_MAX {
                return invalid(
                    name,
                    format!("has no name or is longer than {MOUNT_OPTION_LENGTH_MAX} bytes"),
                );
            }
            if let OptionValue::Reference(text) = value
                && !["env:", "file:"].iter().any(|kind| text.len() > kind.len() && text.starts_with(kind))
            {
                return invalid(name, "refers to nothing; write env:NAME or file:PATH".to_owned());
            }
        }
        Ok(())
    }

    /// What the other mounts say.
    fn check_beside(&self, mounts: &[MountRecord]) -> Result<(), Rejection> {
        if mounts.len() >= MOUNTS_MAX {
            return Err(Rejection::TooManyMounts {
                path: self.path.clone(),
                max: u32::try_from(MOUNTS_MAX).unwrap_or(u32::MAX),
            });
        }
        match mounts.iter().find(|mount| mount.uri.overlaps(&self.uri)) {
            None => Ok(()),
            Some(other) => Err(Rejection::MountOverlaps {
                path: self.path.clone(),
                uri: Box::new(self.uri.clone()),
                other: Box::new(other.uri.clone()),
                other_path: other.path.clone(),
            }),
        }
    }

    /// What stands at the path and on the way to it.
    fn check_place(&self, walk: &Walk, mounts: &[MountRecord]) -> Result<(), Rejection> {
        let reached_end = walk.found == self.path.names().len();
        if !reached_end {
            if walk.inode.kind() == EntryKind::Directory {
                return Ok(());
            }
            let names = self.path.names()[..walk.found].iter().cloned();
            let path = names.fold(NamespacePath::root(), |path, name| path.join(name));
            return Err(Rejection::PathNotADirectory { path });
        }
        if let Some(hidden) = mounts.iter().find(|mount| mount.path.starts_with(&self.path)) {
            return Err(Rejection::MountHidesMount {
                path: self.path.clone(),
                uri: Box::new(self.uri.clone()),
                hidden: hidden.path.clone(),
            });
        }
        let around = mounts.iter().find(|mount| Some(mount.id) == walk.inode.mount);
        Err(Rejection::MountHidesContent {
            path: self.path.clone(),
            uri: Box::new(self.uri.clone()),
            mounted: Box::new(around.map_or_else(|| self.uri.clone(), |mount| mount.uri.clone())),
        })
    }
}

/// How much of an option's name a message repeats.
const NAME_SHOWN_MAX: usize = 64;

/// Makes a directory: the root of `mount`, or one in no mount that leads to it.
fn add_directory(
    state: &mut Transition<'_, '_>,
    parent: InodeId,
    name: &EntryName,
    mount: Option<MountId>,
) -> Result<InodeId, StoreError> {
    let id = state.next_inode()?;
    state.insert_inode(&Inode {
        id,
        parent,
        name: Some(name.clone()),
        mount,
        key: UnderStoreKey::default(),
        mode: None,
        uid: None,
        gid: None,
        modified: state.now(),
        body: InodeBody::Directory { mounts_below: 0 },
    })?;
    let origin = if mount.is_some() { EdgeOrigin::MountPoint } else { EdgeOrigin::Synthetic };
    let edge = Edge { target: id, kind: EntryKind::Directory, origin, changed_at: state.index() };
    state.write(edge_key(parent, name), &edge);
    let gone = tombstone_key(parent, name);
    if state.read::<Tombstone>(&gone)?.is_some() {
        state.delete(Table::Tombstones, gone);
    }
    Ok(id)
}

#[cfg(test)]
mod tests;
