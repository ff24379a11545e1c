//! Names of versions: an entry is kept under the id that its files bear, and may be asked for under another one.
//!
//! After a restore or a new format of the master the same content has another id, and so has what the master forgot
//! and sees again. An entry of another life, or one that was disowned, is found by its identity and then answers to the
//! new id as well; its files stay as they are. It is reported under one id only, the last that it was given.

use std::collections::{BTreeMap, BTreeSet};

use forebay_types::{FileId, Incarnation};

use super::{Index, Location};
use crate::layout::GenerationKey;
use crate::source::IdentityDigest;

#[derive(Debug, Default)]
pub(super) struct Names {
    /// The life whose ids are asked for; `None` until it is known.
    life: Option<Incarnation>,
    /// Entries under ids of other lives, and those that were disowned.
    foreign: BTreeSet<(IdentityDigest, FileId)>,
    /// From the ids that entries were given to those that they are kept under.
    kept: BTreeMap<FileId, FileId>,
    /// The ids that an entry was given, the last one last.
    given: BTreeMap<FileId, Vec<FileId>>,
}

impl Names {
    /// What the entry for `file` is kept under.
    pub(super) fn kept(&self, file: FileId) -> FileId {
        self.kept.get(&file).copied().unwrap_or(file)
    }

    /// What the entry kept under `file` is reported as.
    pub(super) fn shown(&self, file: FileId) -> FileId {
        self.given.get(&file).and_then(|given| given.last()).copied().unwrap_or(file)
    }

    /// Whether something is reported as `file`.
    pub(super) fn is_shown(&self, file: FileId) -> bool {
        self.shown(self.kept(file)) == file
    }

    /// The ids that entries were given, after `after`.
    pub(super) fn given_after(&self, after: std::ops::Bound<FileId>) -> impl Iterator<Item = FileId> + '_ {
        self.kept.range((after, std::ops::Bound::Unbounded)).map(|(given, _)| *given)
    }

    /// The entry kept under `file` has left. The ids that it was given.
    pub(super) fn left(&mut self, file: FileId, identity: IdentityDigest) -> Vec<FileId> {
        self.foreign.remove(&(identity, file));
        let given = self.given.remove(&file).unwrap_or_default();
        for name in &given {
            self.kept.remove(name);
        }
        given
    }

    /// An entry came that is kept under `file`.
    pub(super) fn came(&mut self, file: FileId, identity: IdentityDigest) {
        if self.life.is_some_and(|life| life != file.incarnation) {
            self.foreign.insert((identity, file));
        }
    }
}

impl Index {
    /// From now on ids of this life are asked for.
    pub(crate) fn begin_life(&mut self, life: Incarnation) {
        if self.names.life.replace(life) == Some(life) {
            return;
        }
        let of_others = self.versions.iter().filter(|(file, _)| file.incarnation != life);
        self.names.foreign = of_others.map(|(file, entry)| (entry.identity(), *file)).collect();
    }

    /// The entry for `file` is not asked for under its id any more: it is found by its content as those of other lives are.
    /// Whether there is one.
    pub(crate) fn disown(&mut self, file: FileId) -> bool {
        let kept = self.names.kept(file);
        let Some(entry) = self.versions.get(&kept) else { return false };
        self.names.foreign.insert((entry.identity(), kept));
        true
    }

    /// An entry of another life, or a disowned one, that may be the content asked for as `file`, if there is none for `file` itself. Whoever
    /// asks compares the identities in full.
    pub(crate) fn candidate(&self, file: FileId, identity: IdentityDigest) -> Option<Location> {
        if self.names.foreign.is_empty() || self.versions.contains_key(&self.names.kept(file)) {
            return None;
        }
        let lowest = FileId { incarnation: Incarnation::new(0), counter: 0 };
        let found = self.names.foreign.range((identity, lowest)..).take_while(|(of, _)| *of == identity);
        let mut entries = found.filter_map(|(_, file)| Some((*file, self.versions.get(file)?)));
        // Its files must be there to be looked at.
        entries.find_map(|(file, entry)| entry.records().map(|_| entry.location(file)))
    }

    /// Gives the entry of `key` the id `file`, unless it left or there is one for `file` by now. Whether it was given.
    pub(crate) fn adopt(&mut self, key: GenerationKey, file: FileId) -> bool {
        if !self.is_current(key) || self.versions.contains_key(&self.names.kept(file)) {
            return false;
        }
        let before = self.names.shown(key.file);
        self.names.kept.insert(file, key.file);
        self.names.given.entry(key.file).or_default().push(file);
        self.changes.record(before);
        self.changes.record(file);
        true
    }
}
