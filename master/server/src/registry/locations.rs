//! Which worker reports to hold how much of which version. Soft: rebuilt from the workers' reports.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use forebay_types::{ByteCount, FileId, VersionDescriptor, WorkerId};

/// What one worker holds of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holding {
    /// Bytes in its cache.
    pub(crate) cached: ByteCount,
    /// Whether these are all bytes of the version.
    pub(crate) complete: bool,
}

/// All reports, by version.
#[derive(Debug, Default)]
pub(crate) struct Locations {
    by_file: HashMap<FileId, BTreeMap<WorkerId, Holding>>,
    /// How many versions each worker holds something of.
    held: HashMap<WorkerId, u64>,
    /// Workers that are lost: what they held counts again when they come back, and not before.
    lost: BTreeSet<WorkerId>,
}

impl Locations {
    /// Takes one report. Nothing cached and not complete: the worker holds it no more. (A version of no bytes is
    /// complete with nothing cached.)
    pub(crate) fn record(&mut self, worker: WorkerId, file: FileId, holding: Holding) {
        if holding.cached == ByteCount::ZERO && !holding.complete {
            let Some(workers) = self.by_file.get_mut(&file) else { return };
            if workers.remove(&worker).is_some() {
                self.held.entry(worker).and_modify(|held| *held -= 1);
            }
            if workers.is_empty() {
                self.by_file.remove(&file);
            }
            return;
        }
        if self.by_file.entry(file).or_default().insert(worker, holding).is_none() {
            *self.held.entry(worker).or_default() += 1;
        }
    }

    /// A worker is lost, or is heard of again.
    pub(crate) fn set_lost(&mut self, worker: WorkerId, is_lost: bool) {
        if is_lost {
            self.lost.insert(worker);
        } else {
            self.lost.remove(&worker);
        }
    }

    /// Voids all that workers reported, who are lost no more either.
    pub(crate) fn forget_workers(&mut self, gone: &BTreeSet<WorkerId>) {
        self.lost.retain(|worker| !gone.contains(worker));
        self.held.retain(|worker, _| !gone.contains(worker));
        self.by_file.retain(|_, workers| {
            workers.retain(|worker, _| !gone.contains(worker));
            !workers.is_empty()
        });
    }

    /// Who holds what of a version and can give it.
    pub(crate) fn of(&self, file: FileId) -> impl Iterator<Item = (WorkerId, Holding)> + '_ {
        let known = self.by_file.get(&file).into_iter().flatten();
        known.map(|(worker, holding)| (*worker, *holding)).filter(|(worker, _)| !self.lost.contains(worker))
    }

    /// Who holds something of a version, lost workers too.
    pub(crate) fn holders(&self, file: FileId) -> impl Iterator<Item = WorkerId> + '_ {
        self.by_file.get(&file).into_iter().flatten().map(|(worker, _)| *worker)
    }

    /// Whether a worker holds something.
    pub(crate) fn holds_any(&self, worker: WorkerId) -> bool {
        self.held.get(&worker).is_some_and(|held| *held > 0)
    }

    /// Whether one worker told that it has all of a version. Of one that is spread over several it cannot be told, since
    /// they say how much they hold and not which part: two may hold the same.
    pub(crate) fn is_whole(&self, version: &VersionDescriptor) -> bool {
        version.length() == ByteCount::ZERO || self.of(version.file).any(|(_, holding)| holding.complete)
    }

    /// The most that one worker holds of a version: what is cached at least once.
    pub(crate) fn cached(&self, file: FileId) -> ByteCount {
        self.of(file).map(|(_, holding)| holding.cached).max().unwrap_or_default()
    }
}
