//! Takes over what a listing of an under-store's directory showed to be different.
//!
//! A listing takes time, and names change while it runs: it carries the log index at which it began, and says nothing
//! about a name that changed since. Names that lead to mounts are not the under-store's to change.

use std::collections::BTreeSet;

use forebay_types::{ByteCount, EntryKind, EntryName, Fingerprint, InodeId, LogIndex, UnderStoreKey};
use serde::{Deserialize, Serialize};

use crate::limits::{DEPTH_MAX, LISTING_ENTRIES_MAX, TOMBSTONES_CLEARED_MAX};
use crate::query;
use crate::reply::{Rejection, Reply, Success};
use crate::state::{
    Directory, Edge, EdgeOrigin, Inode, InodeBody, Tombstone, Transition, Version, edge_key, inode_key,
    mount_key, range_end, read_page, tombstone_key,
};
use crate::store::{StoreError, Table};
use crate::tree;

mod check;

/// Differences between a directory of an under-store and what is known of it. A large listing takes several commands
/// with the same `begun_at`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplyListing {
    /// The directory. It lies in a mount.
    pub directory: InodeId,
    /// The last entry of the log that was applied when the listing began.
    pub begun_at: LogIndex,
    /// New and changed names.
    pub upserts: Vec<ListedEntry>,
    /// Names that are gone. To be sent when the whole listing was seen, or when just these names were asked for.
    pub removals: Vec<EntryName>,
    /// The whole listing was seen, and this is the last command about it: the directory is loaded.
    pub complete: bool,
}

/// One name as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedEntry {
    /// The name in the namespace.
    pub name: EntryName,
    /// What it is.
    pub kind: EntryKind,
    /// Its key, where that is not the directory's key and the name.
    pub key: Option<UnderStoreKey>,
    /// Of a file: the identity of its content. Of anything else only the modification time counts.
    pub fingerprint: Fingerprint,
    /// Permission bits, where the under-store has some.
    pub mode: Option<u32>,
    /// Owner, where the under-store has one.
    pub uid: Option<u32>,
    /// Group, where the under-store has one.
    pub gid: Option<u32>,
    /// What a symbolic link points to; `None` for what is none.
    pub symlink_target: Option<Vec<u8>>,
}

/// What was done so far, for the reply.
#[derive(Default)]
struct Counts {
    created: u32,
    changed: u32,
    removed: u32,
    newer: u32,
    mounts: u32,
}

impl ListedEntry {
    /// Whether the command would take the entry over. The leader leaves out those that it would not, since one of them
    /// has the whole command refused.
    ///
    /// # Errors
    /// What is wrong with it, to be read after its name.
    pub fn check(&self) -> Result<(), String> {
        check::check_entry(self)
    }
}

impl ApplyListing {
    pub(crate) fn apply(&self, state: &mut Transition<'_, '_>) -> Result<Reply, StoreError> {
        let count = (self.upserts.len() + self.removals.len()) as u64;
        if count > LISTING_ENTRIES_MAX as u64 {
            let what = "entries of a listing".to_owned();
            return Ok(Err(Rejection::TooMany { what, count, max: LISTING_ENTRIES_MAX as u64 }));
        }
        let Some(lineage) = tree::lineage(state.reader(), self.directory)? else {
            return Ok(Err(Rejection::InodeMissing { inode: self.directory }));
        };
        let known: Directory = state.read(&inode_key(self.directory))?.unwrap_or_default();
        if let Err(rejection) = self.check(&lineage, &known) {
            return Ok(Err(rejection));
        }
        let mut step = Step::begin(self, state, &lineage[0], known.loaded_at.is_some())?;
        for entry in &self.upserts {
            step.upsert(entry)?;
        }
        for name in &self.removals {
            step.remove(name)?;
        }
        if self.complete {
            step.complete(&known)?;
        }
        let Counts { created, changed, removed, newer, mounts } = step.counts;
        Ok(Ok(Success::Listed { created, changed, removed, newer, mounts }))
    }

    fn check(&self, lineage: &[Inode], known: &Directory) -> Result<(), Rejection> {
        let directory = self.directory;
        if lineage[0].kind() != EntryKind::Directory {
            return Err(Rejection::NotADirectory { inode: directory });
        }
        if lineage[0].mount.is_none() {
            return Err(Rejection::NotInAMount { directory });
        }
        if self.begun_at < known.voided_at {
            return Err(Rejection::StaleListing { directory, begun_at: self.begun_at });
        }
        if lineage.len() > DEPTH_MAX {
            return Err(Rejection::TooDeep { directory });
        }
        for entry in &self.upserts {
            check::check_entry(entry).map_err(|problem| Rejection::InvalidEntry {
                directory,
                name: entry.name.clone(),
                problem,
            })?;
        }
        Ok(())
    }
}

/// One listing on its way into one directory.
struct Step<'s, 'o, 'r> {
    command: &'s ApplyListing,
    state: &'s mut Transition<'o, 'r>,
    directory: &'s Inode,
    block_length: ByteCount,
    /// It was loaded before.
    is_known: bool,
    /// Most directories have no tombstones; then none is looked for.
    has_tombstones: bool,
    /// Names of the command that are not known and did not come yet: a large directory has almost no others when it is
    /// first seen.
    unknown: BTreeSet<&'s EntryName>,
    counts: Counts,
}

impl<'s, 'o, 'r> Step<'s, 'o, 'r> {
    fn begin(
        command: &'s ApplyListing,
        state: &'s mut Transition<'o, 'r>,
        directory: &'s Inode,
        is_known: bool,
    ) -> Result<Self, StoreError> {
        let mount = directory.mount.map(|id| query::mount(state.reader(), id)).transpose()?.flatten();
        let Some(mount) = mount else {
            let key = directory.mount.map(mount_key).unwrap_or_default();
            return Err(StoreError::corrupt(
                Table::Mounts,
                &key,
                "a directory names this mount, and it is missing",
            ));
        };
        let prefix = inode_key(directory.id);
        let end = range_end(&prefix);
        let has_tombstones = !read_page::<Tombstone>(state.reader(), &prefix, end.as_deref(), 1)?.is_empty();
        let mut unknown: BTreeSet<_> = command.upserts.iter().map(|entry| &entry.name).collect();
        for name in query::edges_of(state.reader(), directory.id, &unknown)?.into_keys() {
            unknown.remove(name);
        }
        let block_length = mount.options.block_length;
        let counts = Counts::default();
        Ok(Self { command, state, directory, block_length, is_known, has_tombstones, unknown, counts })
    }

    fn upsert(&mut self, entry: &'s ListedEntry) -> Result<(), StoreError> {
        if self.unknown.remove(&entry.name) {
            return self.create_unless_gone(entry);
        }
        let Some(edge) = self.state.edge(self.directory.id, &entry.name)? else {
            return self.create_unless_gone(entry);
        };
        if edge.changed_at > self.command.begun_at {
            self.counts.newer += 1;
            return Ok(());
        }
        let directory_listed = entry.kind == EntryKind::Directory;
        match edge.origin {
            EdgeOrigin::Synthetic if directory_listed => return self.adopt(entry, edge),
            EdgeOrigin::Synthetic | EdgeOrigin::MountPoint | EdgeOrigin::Made => {
                self.counts.mounts += 1;
                return Ok(());
            }
            EdgeOrigin::Loaded => {}
        }
        let before = self.state.inode_that_exists(edge.target)?;
        if edge.kind == entry.kind {
            return self.change(entry, edge, &before);
        }
        if before.mounts_below() > 0 {
            self.counts.mounts += 1;
            return Ok(());
        }
        tree::cut(self.state, self.directory.id, &entry.name, &edge)?;
        self.changed(&entry.name, Some(edge.target));
        self.counts.changed += 1;
        self.insert(entry)
    }

    /// The under-store has a directory where one of ours only led to mount points: it becomes content like any other.
    fn adopt(&mut self, entry: &ListedEntry, edge: Edge) -> Result<(), StoreError> {
        let before = self.state.inode_that_exists(edge.target)?;
        let after = Inode { mount: self.directory.mount, ..self.described(entry, &before) };
        self.state.replace_inode(&before, &after)?;
        self.counts.created += 1;
        self.changed(&entry.name, Some(before.id));
        self.touch(entry, Edge { origin: EdgeOrigin::Loaded, ..edge });
        Ok(())
    }

    /// The name leads to the same kind of thing as before.
    fn change(&mut self, entry: &ListedEntry, edge: Edge, before: &Inode) -> Result<(), StoreError> {
        let mut after = self.described(entry, before);
        match (&before.body, &mut after.body) {
            (InodeBody::File(known), InodeBody::File(new)) => {
                // A version has one key and one content for ever; an equal content's newer dress does not count.
                if known.fingerprint.is_same_content(&entry.fingerprint) && before.key == after.key {
                    after.modified = before.modified;
                } else {
                    new.file = self.state.next_file()?;
                    new.fingerprint = entry.fingerprint.clone();
                    self.state.forget_version(known.file);
                }
            }
            (InodeBody::Symlink { .. }, InodeBody::Symlink { target }) => {
                *target = entry.symlink_target.clone().unwrap_or_default();
            }
            _ => {}
        }
        if after != *before {
            self.state.replace_inode(before, &after)?;
            self.counts.changed += 1;
            self.changed(&entry.name, Some(before.id));
            self.touch(entry, edge);
        }
        Ok(())
    }

    fn create_unless_gone(&mut self, entry: &ListedEntry) -> Result<(), StoreError> {
        if self.has_tombstones {
            let key = tombstone_key(self.directory.id, &entry.name);
            if let Some(tombstone) = self.state.read::<Tombstone>(&key)? {
                if tombstone.gone_at > self.command.begun_at {
                    self.counts.newer += 1;
                    return Ok(());
                }
                self.state.delete(Table::Tombstones, key);
            }
        }
        self.counts.created += 1;
        self.insert(entry)
    }

    fn insert(&mut self, entry: &ListedEntry) -> Result<(), StoreError> {
        let id = self.state.next_inode()?;
        let body = match entry.kind {
            EntryKind::Directory => InodeBody::Directory { mounts_below: 0 },
            EntryKind::Symlink => {
                InodeBody::Symlink { target: entry.symlink_target.clone().unwrap_or_default() }
            }
            EntryKind::File => InodeBody::File(Version {
                file: self.state.next_file()?,
                fingerprint: entry.fingerprint.clone(),
                block_length: self.block_length,
            }),
        };
        let bare = Inode {
            id,
            parent: self.directory.id,
            name: Some(entry.name.clone()),
            mount: self.directory.mount,
            key: UnderStoreKey::default(),
            mode: None,
            uid: None,
            gid: None,
            modified: entry.fingerprint.modified,
            body,
        };
        let inode = self.described(entry, &bare);
        self.state.insert_inode(&inode)?;
        let edge =
            Edge { target: id, kind: entry.kind, origin: EdgeOrigin::Loaded, changed_at: self.state.index() };
        self.changed(&entry.name, None);
        self.touch(entry, edge);
        Ok(())
    }

    /// The inode with the key and attributes that the listing shows.
    fn described(&self, entry: &ListedEntry, inode: &Inode) -> Inode {
        let key = entry.key.clone().unwrap_or_else(|| self.directory.key.join(entry.name.as_bytes()));
        let modified = entry.fingerprint.modified;
        Inode { key, mode: entry.mode, uid: entry.uid, gid: entry.gid, modified, ..inode.clone() }
    }

    fn remove(&mut self, name: &EntryName) -> Result<(), StoreError> {
        let Some(edge) = self.state.edge(self.directory.id, name)? else {
            return Ok(());
        };
        if edge.changed_at > self.command.begun_at {
            self.counts.newer += 1;
            return Ok(());
        }
        let loaded = edge.origin == EdgeOrigin::Loaded;
        if !loaded || self.state.inode_that_exists(edge.target)?.mounts_below() > 0 {
            self.counts.mounts += 1;
            return Ok(());
        }
        tree::cut(self.state, self.directory.id, name, &edge)?;
        if !self.command.complete {
            // Who asked for single names did not wait for a listing that runs, which may still show them.
            let gone_at = self.state.index();
            self.state.write(tombstone_key(self.directory.id, name), &Tombstone { gone_at });
        }
        self.changed(name, Some(edge.target));
        self.counts.removed += 1;
        Ok(())
    }

    /// Marks the directory as loaded. No older listing of it runs, since the leader runs one at a time, so removals
    /// from before this one began need not be remembered any longer.
    fn complete(&mut self, known: &Directory) -> Result<(), StoreError> {
        let prefix = inode_key(self.directory.id);
        let loaded_at = Some(self.state.index());
        self.state
            .write(prefix.clone(), &Directory { loaded_at, voided_at: known.voided_at, forget_cursor: None });
        if self.has_tombstones {
            let end = range_end(&prefix);
            let page =
                read_page::<Tombstone>(self.state.reader(), &prefix, end.as_deref(), TOMBSTONES_CLEARED_MAX)?;
            for (key, _) in
                page.into_iter().filter(|(_, tombstone)| tombstone.gone_at <= self.command.begun_at)
            {
                self.state.delete(Table::Tombstones, key);
            }
        }
        Ok(())
    }

    /// Writes the name as changed by this entry of the log.
    fn touch(&mut self, entry: &ListedEntry, edge: Edge) {
        let edge = Edge { changed_at: self.state.index(), ..edge };
        self.state.write(edge_key(self.directory.id, &entry.name), &edge);
    }

    /// Voids what was told of a name, which led to `before`. Of a directory that is loaded for the first time only what
    /// was there before can have been told: it is shown in parts.
    fn changed(&mut self, name: &EntryName, before: Option<InodeId>) {
        if self.is_known || before.is_some() {
            self.state.name_changed(self.directory.id, name, before);
        }
    }
}

#[cfg(test)]
mod tests;
