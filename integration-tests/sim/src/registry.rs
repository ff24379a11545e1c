//! What the master knows of the workers, from their heartbeats, and what they are to forget. Soft: a shell around the lists
//! and the progress of the real registry.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use forebay_master::{ForgetList, Forgetting, OutboxProgress};
use forebay_metadata::{OutboxRow, Task};
use forebay_types::{
    ByteCount, ClusterMap, Epoch, FileId, HostId, OutboxSequence, WorkerEntry, WorkerId, WorkerState,
};

use crate::limits::WORKER_LOST_AFTER;

/// The workers that were heard of.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    epoch: u64,
    /// Whether this master has taken over.
    leads: bool,
    workers: BTreeMap<WorkerId, Known>,
}

#[derive(Debug)]
struct Known {
    capacity: ByteCount,
    heard_at: Duration,
    is_lost: bool,
    whole: BTreeSet<FileId>,
    held: BTreeSet<FileId>,
    forgetting: Forgetting,
    outbox: OutboxProgress,
    /// When its last heartbeat was made.
    beat: Duration,
}

/// What a worker says of one version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    pub(crate) file: FileId,
    /// It has something of it.
    pub(crate) is_held: bool,
    /// It has all of it.
    pub(crate) is_whole: bool,
}

/// What comes with each heartbeat beside the reports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beat {
    /// When it was made.
    pub(crate) at: Duration,
    /// The reports are all that there are to make, and not only what changed: a life of the worker begins.
    pub(crate) is_all: bool,
}

impl Known {
    fn take(&mut self, is_all: bool, reports: &[Report]) {
        if is_all {
            self.whole.clear();
            self.held.clear();
            self.outbox = OutboxProgress::default();
        }
        let set =
            |of: &mut BTreeSet<FileId>, file, is_in| if is_in { of.insert(file) } else { of.remove(&file) };
        for Report { file, is_held, is_whole } in reports {
            set(&mut self.held, *file, *is_held);
            set(&mut self.whole, *file, *is_whole);
        }
        self.outbox.heard(true);
    }
}

impl Registry {
    /// This master leads from now on, in a term, or does not any more: workers are told anew what to forget.
    pub(crate) fn set_leads(&mut self, leads: bool, term: u64) {
        self.leads = leads;
        self.epoch = (self.epoch + 1).max(term << 12);
        for known in self.workers.values_mut() {
            known.forgetting.clear();
            known.outbox = OutboxProgress::default();
        }
    }

    /// Takes a heartbeat.
    pub(crate) fn heard(
        &mut self,
        worker: WorkerId,
        capacity: ByteCount,
        now: Duration,
        beat: Beat,
        reports: &[Report],
    ) {
        let epoch = &mut self.epoch;
        let known = self.workers.entry(worker).or_insert_with(|| {
            *epoch += 1;
            Known {
                capacity,
                heard_at: now,
                is_lost: false,
                whole: BTreeSet::new(),
                held: BTreeSet::new(),
                forgetting: Forgetting::default(),
                outbox: OutboxProgress::default(),
                beat: Duration::ZERO,
            }
        });
        if std::mem::take(&mut known.is_lost) {
            *epoch += 1;
        }
        known.heard_at = now;
        // One that comes twice, or after a later one, is not heard: the real one is broken off when it is given up, and of an
        // earlier life it is refused.
        if beat.at > known.beat {
            known.beat = beat.at;
            known.take(beat.is_all, reports);
        }
    }

    /// What a worker is to forget, which took the list `taken` last.
    pub(crate) fn forget_list(&mut self, worker: WorkerId, taken: u64) -> ForgetList {
        let Some(known) = self.workers.get_mut(&worker) else { return ForgetList::default() };
        let list = known.forgetting.next(Some(taken));
        known.outbox.took(known.forgetting.taken_place());
        list
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

    /// Versions are no file's any more. Whoever follows finds in the outbox what is left, once it leads.
    pub(crate) fn forget(&mut self, files: &[FileId]) {
        if !self.leads {
            return;
        }
        for known in self.workers.values_mut() {
            let held = files.iter().filter(|file| known.held.contains(file));
            held.for_each(|file| known.forgetting.add(*file));
        }
    }

    /// Once in a while, with the last row of the outbox.
    pub(crate) fn look_at_outbox(&mut self, last: OutboxSequence) {
        self.workers.values_mut().for_each(|known| known.outbox.look(last));
    }

    /// After which row of the outbox somebody is to be told more.
    pub(crate) fn outbox_wanted(&self) -> Option<OutboxSequence> {
        let live = self.workers.values().filter(|known| !known.is_lost);
        live.filter_map(|known| known.outbox.wants_after()).min()
    }

    /// Tells workers what they hold of a page of the outbox, which is all that there is up to `through`.
    pub(crate) fn tell_outbox(&mut self, page: &[(OutboxSequence, OutboxRow)], through: OutboxSequence) {
        for known in self.workers.values_mut().filter(|known| !known.is_lost) {
            let before = known.forgetting.last_place();
            for (_, row) in page.iter().filter(|(sequence, _)| known.outbox.awaits(*sequence)) {
                let Task::FreeVersions(files) = &row.task;
                let held = files.iter().filter(|file| known.held.contains(file));
                held.for_each(|file| known.forgetting.add(*file));
            }
            let after = known.forgetting.last_place();
            known.outbox.compared(through, (after > before).then_some(after));
        }
    }

    /// Up to which row of the outbox all are done.
    pub(crate) fn outbox_done(&self, last: OutboxSequence) -> OutboxSequence {
        self.workers.values().map(|known| known.outbox.done()).fold(last, OutboxSequence::min)
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
