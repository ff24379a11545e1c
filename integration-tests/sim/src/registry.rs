//! What the master knows of the workers, from their heartbeats. Soft.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use forebay_types::{ByteCount, ClusterMap, Epoch, FileId, HostId, WorkerEntry, WorkerId, WorkerState};

use crate::limits::WORKER_LOST_AFTER;

/// The workers that were heard of.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    epoch: u64,
    workers: BTreeMap<WorkerId, Known>,
}

#[derive(Debug)]
struct Known {
    capacity: ByteCount,
    heard_at: Duration,
    is_lost: bool,
    whole: BTreeSet<FileId>,
    to_forget: BTreeSet<FileId>,
}

impl Registry {
    /// Takes a heartbeat: what changed since the last one, or all. Gives what the worker is to forget.
    pub(crate) fn heard(
        &mut self,
        worker: WorkerId,
        capacity: ByteCount,
        (now, is_all): (Duration, bool),
        versions: &[(FileId, bool)],
    ) -> Vec<FileId> {
        let epoch = &mut self.epoch;
        let known = self.workers.entry(worker).or_insert_with(|| {
            *epoch += 1;
            let (whole, to_forget) = (BTreeSet::new(), BTreeSet::new());
            Known { capacity, heard_at: now, is_lost: false, whole, to_forget }
        });
        if std::mem::take(&mut known.is_lost) {
            *epoch += 1;
        }
        known.heard_at = now;
        if is_all {
            known.whole.clear();
        }
        for (file, is_whole) in versions {
            if *is_whole {
                known.whole.insert(*file);
            } else {
                known.whole.remove(file);
            }
        }
        std::mem::take(&mut known.to_forget).into_iter().collect()
    }

    /// Whether the master knows the worker: if not, it must hear of all that the worker has.
    pub(crate) fn knows(&self, worker: WorkerId) -> bool {
        self.workers.contains_key(&worker)
    }

    /// Workers that were not heard of are lost.
    pub(crate) fn look(&mut self, now: Duration) {
        for known in self.workers.values_mut() {
            if !known.is_lost && now.saturating_sub(known.heard_at) >= WORKER_LOST_AFTER {
                known.is_lost = true;
                self.epoch += 1;
            }
        }
    }

    /// Versions are no file's any more.
    pub(crate) fn forget(&mut self, files: &[FileId]) {
        for known in self.workers.values_mut() {
            known.to_forget.extend(files);
        }
    }

    /// Whether a worker that lives told that it has all of a version.
    pub(crate) fn is_whole(&self, file: FileId) -> bool {
        self.workers.values().any(|known| !known.is_lost && known.whole.contains(&file))
    }

    /// The map to place blocks by.
    pub(crate) fn map(&self) -> ClusterMap {
        let entry = |(id, known): (&WorkerId, &Known)| WorkerEntry {
            id: *id,
            address: format!("{id}:1"),
            host: HostId::new(format!("host-{id}")),
            local_socket: String::new(),
            group: String::new(),
            capacity: known.capacity,
            state: if known.is_lost { WorkerState::Lost } else { WorkerState::Live },
        };
        ClusterMap { epoch: Epoch::new(self.epoch), workers: self.workers.iter().map(entry).collect() }
    }

    /// Bytes that those who live can hold.
    pub(crate) fn room(&self) -> u64 {
        self.workers.values().filter(|known| !known.is_lost).map(|known| known.capacity.get()).sum()
    }

    /// Changes with the map.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }
}
