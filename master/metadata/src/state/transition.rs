//! One entry of the log on its way into the state: typed writes, new ids, totals and effects.
//!
//! Invariant: totals change with each inode that is written or deleted here, and nowhere else.

use std::collections::BTreeMap;

use forebay_types::{EntryName, FileId, Incarnation, InodeId, LogIndex, MountId, Timestamp, WorkerId};

use super::counters::{NextIds, Totals, TotalsScope};
use super::edge::{Edge, edge_key};
use super::identity::ClusterIdentity;
use super::inode::{Inode, inode_key};
use super::pin::Pin;
use super::record::{Record, encode_record, read, read_page};
use crate::effect::{ChangedName, ChangedNames, Effect};
use crate::store::{Overlay, StateReader, StoreError, Table};
use crate::tree;

/// The state while one command is applied. Reads see what was written.
pub(crate) struct Transition<'o, 'r> {
    rows: &'o mut Overlay<'r>,
    index: LogIndex,
    now: Timestamp,
    ids: Option<NextIds>,
    incarnation: Incarnation,
    totals: BTreeMap<TotalsScope, Totals>,
    forgotten: Vec<FileId>,
    disowned: Vec<FileId>,
    changed: BTreeMap<InodeId, ChangedNames>,
    mounts_changed: bool,
    reap_needed: bool,
    jobs_changed: bool,
    has_pins: Option<bool>,
}

impl<'o, 'r> Transition<'o, 'r> {
    /// Begins to apply the entry at `index`.
    pub(crate) const fn new(
        rows: &'o mut Overlay<'r>,
        index: LogIndex,
        now: Timestamp,
        identity: Option<&ClusterIdentity>,
    ) -> Self {
        let incarnation = match identity {
            Some(identity) => identity.incarnation,
            None => Incarnation::new(0),
        };
        Self {
            rows,
            index,
            now,
            ids: None,
            incarnation,
            totals: BTreeMap::new(),
            forgotten: Vec::new(),
            disowned: Vec::new(),
            changed: BTreeMap::new(),
            mounts_changed: false,
            reap_needed: false,
            jobs_changed: false,
            has_pins: None,
        }
    }

    /// The entry's place in the log.
    pub(crate) const fn index(&self) -> LogIndex {
        self.index
    }

    /// The state's clock.
    pub(crate) const fn now(&self) -> Timestamp {
        self.now
    }

    /// The state, with all that was written so far.
    pub(crate) fn reader(&self) -> &dyn StateReader {
        self.rows
    }

    /// The row at `key`.
    pub(crate) fn read<R: Record>(&self, key: &[u8]) -> Result<Option<R>, StoreError> {
        read(self.rows, key)
    }

    /// Writes a row that is neither an inode nor a row of totals.
    pub(crate) fn write<R: Record>(&mut self, key: Vec<u8>, row: &R) {
        self.rows.set(R::TABLE, key, Some(encode_record(row)));
    }

    /// Deletes a row that is neither an inode nor a row of totals.
    pub(crate) fn delete(&mut self, table: Table, key: Vec<u8>) {
        self.rows.set(table, key, None);
    }

    /// The inode `id`, which a row of ours names.
    pub(crate) fn inode_that_exists(&self, id: InodeId) -> Result<Inode, StoreError> {
        tree::existing(self.rows, id)
    }

    /// The name `name` of `directory`.
    pub(crate) fn edge(&self, directory: InodeId, name: &EntryName) -> Result<Option<Edge>, StoreError> {
        self.read(&edge_key(directory, name))
    }

    /// Adds an inode that was not there.
    pub(crate) fn insert_inode(&mut self, inode: &Inode) -> Result<(), StoreError> {
        self.count(inode, Totals::add)?;
        self.write(inode_key(inode.id), inode);
        Ok(())
    }

    /// Changes an inode from what it is to what it is to be.
    pub(crate) fn replace_inode(&mut self, before: &Inode, after: &Inode) -> Result<(), StoreError> {
        self.count(before, Totals::subtract)?;
        self.insert_inode(after)
    }

    /// Deletes an inode, and the pin on it.
    pub(crate) fn delete_inode(&mut self, inode: &Inode) -> Result<(), StoreError> {
        self.count(inode, Totals::subtract)?;
        if self.has_pins()? {
            self.delete(Table::Pins, inode_key(inode.id));
        }
        self.delete(Table::Inodes, inode_key(inode.id));
        Ok(())
    }

    /// A new inode's id.
    pub(crate) fn next_inode(&mut self) -> Result<InodeId, StoreError> {
        self.next_entry().map(InodeId::new)
    }

    /// A new version's id.
    pub(crate) fn next_file(&mut self) -> Result<FileId, StoreError> {
        Ok(FileId { incarnation: self.incarnation, counter: self.next_entry()? })
    }

    /// A new mount's id.
    pub(crate) fn next_mount(&mut self) -> Result<MountId, StoreError> {
        let ids = self.ids()?;
        let mount = MountId::new(ids.mount);
        ids.mount = mount.next().get();
        Ok(mount)
    }

    /// A new worker's id.
    pub(crate) fn next_worker(&mut self) -> Result<WorkerId, StoreError> {
        let ids = self.ids()?;
        let worker = WorkerId::new(ids.worker);
        ids.worker = worker.next().get();
        Ok(worker)
    }

    /// Says that nothing refers to a version any more: a row of the outbox has it freed.
    pub(crate) fn forget_version(&mut self, file: FileId) {
        self.forgotten.push(file);
    }

    /// Says that a version is no longer known, though it may still be some file's. What becomes of it is told once and not
    /// written down: whoever misses that keeps what may be of use.
    pub(crate) fn disown_version(&mut self, file: FileId) {
        self.disowned.push(file);
    }

    /// Says that all answers about a directory are void.
    pub(crate) fn directory_changed(&mut self, directory: InodeId) {
        self.changed.insert(directory, ChangedNames::All);
    }

    /// Says that answers about a name of a directory are void; it led to `before`.
    pub(crate) fn name_changed(&mut self, directory: InodeId, name: &EntryName, before: Option<InodeId>) {
        let changed = ChangedName { name: name.clone(), before };
        self.changed.entry(directory).or_insert(ChangedNames::NONE).add(changed);
    }

    /// Says that the list of mounts is another one.
    pub(crate) const fn mounts_changed(&mut self) {
        self.mounts_changed = true;
    }

    /// Says that something waits for the reaper.
    pub(crate) const fn reap_needed(&mut self) {
        self.reap_needed = true;
    }

    /// Says that jobs were asked for or ended.
    pub(crate) const fn jobs_changed(&mut self) {
        self.jobs_changed = true;
    }

    /// Writes counters, totals and what the world must do, and lists the wake-ups for it.
    pub(crate) fn finish(mut self) -> Result<Vec<Effect>, StoreError> {
        if let Some(ids) = self.ids {
            self.write(NextIds::KEY.to_vec(), &ids);
        }
        for (scope, totals) in std::mem::take(&mut self.totals) {
            if totals == Totals::default() {
                self.delete(Table::Counters, scope.key());
            } else {
                self.write(scope.key(), &totals);
            }
        }
        let forgotten = std::mem::take(&mut self.forgotten);
        self.have_freed(&forgotten)?;
        let mut effects = Vec::new();
        if !forgotten.is_empty() {
            effects.push(Effect::ForgetVersions(forgotten));
        }
        if !self.disowned.is_empty() {
            effects.push(Effect::DisownVersions(self.disowned));
        }
        if self.mounts_changed {
            effects.push(Effect::MountsChanged);
        }
        if !self.changed.is_empty() {
            effects.push(Effect::DirectoriesChanged(self.changed));
        }
        if self.reap_needed {
            effects.push(Effect::ReapNeeded);
        }
        if self.jobs_changed {
            effects.push(Effect::JobsChanged);
        }
        Ok(effects)
    }

    /// Whether anything was pinned before this entry; none of those that pin delete an inode. Most states have no pin, and then
    /// none is deleted for any of the many inodes that an entry may delete.
    fn has_pins(&mut self) -> Result<bool, StoreError> {
        let has_pins = match self.has_pins {
            Some(has_pins) => has_pins,
            None => !read_page::<Pin>(self.rows, &[], None, 1)?.is_empty(),
        };
        Ok(*self.has_pins.insert(has_pins))
    }

    fn ids(&mut self) -> Result<&mut NextIds, StoreError> {
        let ids = match self.ids {
            Some(ids) => ids,
            None => NextIds::read(self.rows)?,
        };
        Ok(self.ids.insert(ids))
    }

    fn next_entry(&mut self) -> Result<u64, StoreError> {
        let ids = self.ids()?;
        let entry = ids.entry;
        ids.entry = InodeId::new(entry).next().get();
        Ok(entry)
    }

    fn count(&mut self, inode: &Inode, change: fn(&mut Totals, &Inode)) -> Result<(), StoreError> {
        let scopes = [Some(TotalsScope::Namespace), inode.mount.map(TotalsScope::Mount)];
        for scope in scopes.into_iter().flatten() {
            let mut totals = match self.totals.get(&scope) {
                Some(totals) => *totals,
                None => Totals::read(self.rows, scope)?,
            };
            change(&mut totals, inode);
            self.totals.insert(scope, totals);
        }
        Ok(())
    }
}
