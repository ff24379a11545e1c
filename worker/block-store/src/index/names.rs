//! Names of versions: a version is kept under the id that its files bear, and may be asked for under another one.
//!
//! After a restore or a new format of the master the same content has another id, and so has what the master forgot
//! and sees again. A version of another life, or one that was disowned, is found by its identity and then answers to the
//! new id as well; its files stay as they are. It is reported under one id only, the last that it was given. All units
//! of a version share its names, which last for as long as one of them is here.

use std::collections::{BTreeMap, BTreeSet};

use forebay_types::{FileId, Incarnation};

use super::{Index, Location};
use crate::layout::GenerationKey;
use crate::source::IdentityDigest;

#[derive(Debug, Default)]
pub(super) struct Names {
    /// The life whose ids are asked for; `None` until it is known.
    life: Option<Incarnation>,
    /// Versions under ids of other lives, and those that were disowned.
    foreign: BTreeSet<(IdentityDigest, FileId)>,
    /// From the ids that versions were given to those that they are kept under.
    kept: BTreeMap<FileId, FileId>,
    /// The ids that a version was given, the last one last.
    given: BTreeMap<FileId, Vec<FileId>>,
}

impl Names {
    /// What the version `file` is kept under.
    pub(super) fn kept(&self, file: FileId) -> FileId {
        self.kept.get(&file).copied().unwrap_or(file)
    }

    /// What the version kept under `file` is reported as.
    pub(super) fn shown(&self, file: FileId) -> FileId {
        self.given.get(&file).and_then(|given| given.last()).copied().unwrap_or(file)
    }

    /// Whether something is reported as `file`.
    pub(super) fn is_shown(&self, file: FileId) -> bool {
        self.shown(self.kept(file)) == file
    }

    /// The ids that versions were given, after `after`.
    pub(super) fn given_after(&self, after: std::ops::Bound<FileId>) -> impl Iterator<Item = FileId> + '_ {
        self.kept.range((after, std::ops::Bound::Unbounded)).map(|(given, _)| *given)
    }

    /// The last unit of what is kept under `file` has left.
    pub(super) fn left(&mut self, file: FileId, identity: IdentityDigest) {
        self.foreign.remove(&(identity, file));
        for name in self.given.remove(&file).unwrap_or_default() {
            self.kept.remove(&name);
        }
    }

    /// A unit came that is kept under `file`.
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
        let of_others = self.units.iter().filter(|(unit, _)| unit.file().incarnation != life);
        self.names.foreign = of_others.map(|(unit, entry)| (entry.identity(), unit.file())).collect();
    }

    /// The version `file` is not asked for under its id any more: it is found by its content as those of other lives are.
    /// Whether there is one.
    pub(crate) fn disown(&mut self, file: FileId) -> bool {
        let kept = self.names.kept(file);
        let Some(identity) = self.units_of(kept).next().map(|(_, entry)| entry.identity()) else {
            return false;
        };
        self.names.foreign.insert((identity, kept));
        true
    }

    /// A unit of another life, or a disowned one, that may be of the content asked for as `file`, if there is none for `file` itself. Whoever
    /// asks compares the identities in full.
    pub(crate) fn candidate(&self, file: FileId, identity: IdentityDigest) -> Option<Location> {
        if self.names.foreign.is_empty() || self.has_units(self.names.kept(file)) {
            return None;
        }
        let lowest = FileId { incarnation: Incarnation::new(0), counter: 0 };
        let found = self.names.foreign.range((identity, lowest)..).take_while(|(of, _)| *of == identity);
        let mut units = found.flat_map(|(_, file)| self.units_of(*file));
        // Its files must be there to be looked at.
        units.find_map(|(unit, entry)| entry.records().map(|_| entry.location(unit)))
    }

    /// Gives the version of `key` the id `file`, unless that unit left or there is one for `file` by now. Whether it was given.
    pub(crate) fn adopt(&mut self, key: GenerationKey, file: FileId) -> bool {
        if !self.is_current(key) || self.has_units(self.names.kept(file)) {
            return false;
        }
        let kept = key.unit.file();
        let before = self.names.shown(kept);
        self.names.kept.insert(file, kept);
        self.names.given.entry(kept).or_default().push(file);
        self.changes.record(before);
        self.changes.record(file);
        true
    }
}
