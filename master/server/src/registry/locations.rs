//! Which worker reports to hold how much of which version. Soft: rebuilt from the workers' reports.

use std::collections::{BTreeMap, HashMap};

use forebay_types::{ByteCount, FileId, WorkerId};

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
}

impl Locations {
    /// Takes one report. Nothing cached and not complete: the worker holds it no more. (A version of no bytes is
    /// complete with nothing cached.)
    pub(crate) fn record(&mut self, worker: WorkerId, file: FileId, holding: Holding) {
        if holding.cached == ByteCount::ZERO && !holding.complete {
            if let Some(workers) = self.by_file.get_mut(&file) {
                workers.remove(&worker);
                if workers.is_empty() {
                    self.by_file.remove(&file);
                }
            }
            return;
        }
        self.by_file.entry(file).or_default().insert(worker, holding);
    }

    /// Voids all that a worker reported.
    pub(crate) fn forget_worker(&mut self, worker: WorkerId) {
        self.by_file.retain(|_, workers| {
            workers.remove(&worker);
            !workers.is_empty()
        });
    }

    /// Who holds what of a version.
    pub(crate) fn of(&self, file: FileId) -> impl Iterator<Item = (WorkerId, Holding)> + '_ {
        self.by_file.get(&file).into_iter().flatten().map(|(worker, holding)| (*worker, *holding))
    }

    /// The most that one worker holds of a version: what is cached at least once.
    pub(crate) fn cached(&self, file: FileId) -> ByteCount {
        self.of(file).map(|(_, holding)| holding.cached).max().unwrap_or_default()
    }
}
