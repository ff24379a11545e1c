//! Who works for the cluster now: workers by their heartbeats, and the cluster map made from them. Soft and pure.
//!
//! Nothing here is replicated: workers tell it to all masters, so that one that follows has it when it takes over, and a
//! new one learns it from the next heartbeats. What workers are told is the business of the one that leads. Time comes
//! as an argument, so tests move it. Invariant: the map's epoch grows with each change of an owner, an address or a state.

mod counters;
mod forgetting;
mod locations;
mod outbox;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use forebay_proto::v1;
use forebay_runtime::BootInstant;
use forebay_types::{
    ByteCount, ClusterMap, Epoch, FileId, HostId, OutboxSequence, WorkerEntry, WorkerId, WorkerState,
    limits::WORKERS_MAX,
};

pub(crate) use counters::{ClientCounters, Sums};
pub use forgetting::{ForgetList, Forgetting};
pub(crate) use locations::{Holding, Locations};
pub use outbox::OutboxProgress;

use crate::limits;

/// What a worker says of itself when it begins a life.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(crate) address: String,
    pub(crate) host: HostId,
    pub(crate) local_socket: String,
    pub(crate) group: String,
    pub(crate) tiers: Vec<v1::TierUsage>,
}

/// What a worker says each second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heartbeat {
    pub(crate) tiers: Vec<v1::TierUsage>,
    /// What each of them can hold as its file system is; empty where the worker does not say.
    pub(crate) usable: Vec<u64>,
    pub(crate) reads: v1::ReadCounters,
    /// Shared, so that a report can sum them up after it let the registry go.
    pub(crate) mounts: Arc<Vec<v1::MountCounters>>,
    /// The table of mounts that it has; 0 where it does not say.
    pub(crate) mounts_revision: u64,
    /// How far its clock was ahead of this master's, less the time that the heartbeat took; `None` where it does not say.
    pub(crate) clock_ahead_nanos: Option<i64>,
    /// It came with many versions, of which most were taken before it.
    pub(crate) had_many_versions: bool,
}

/// Why a worker cannot be taken in now. It may ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// As many workers as a cluster can have are alive.
    Workers,
    /// The live workers say so much of themselves that one more would not fit.
    Text,
}

/// One worker that registered with this master.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    pub(crate) entry: WorkerEntry,
    pub(crate) registration: u64,
    pub(crate) last_contact: BootInstant,
    pub(crate) latest: Heartbeat,
    /// The table of mounts that it said to have last.
    mounts_revision: u64,
    /// What its entry and tiers take in a message, at most.
    text: usize,
    forgetting: Forgetting,
    outbox: OutboxProgress,
    /// Numbers its heartbeats, of which one with many versions is taken in a piece at a time.
    heartbeats: u64,
}

/// Whether a leader has the workers that it knows of. One that was silent for too long is lost and not expected any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SafeMode {
    /// Those that are not lost, and one at least: without any no byte can be read.
    pub(crate) workers_expected: usize,
    /// Those of them that were heard of since this master leads.
    pub(crate) workers_live: usize,
}

/// All workers, and where what is cached.
#[derive(Debug)]
pub(crate) struct Registry {
    epoch: Epoch,
    /// Since when this master leads; `None` while it follows.
    leads_since: Option<BootInstant>,
    next_registration: u64,
    workers: BTreeMap<WorkerId, Registered>,
    /// The oldest row of the outbox at the last look, and since when it could have been done.
    outbox_oldest: Option<(OutboxSequence, BootInstant)>,
    pub(crate) locations: Locations,
    pub(crate) clients: ClientCounters,
}

impl Registry {
    /// An empty registry. `seed` is above that of each earlier master, such as its start in milliseconds, so that
    /// neither an epoch nor a registration is given twice.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            epoch: Epoch::new(seed << 12),
            leads_since: None,
            next_registration: seed << 12,
            workers: BTreeMap::new(),
            outbox_oldest: None,
            locations: Locations::default(),
            clients: ClientCounters::default(),
        }
    }

    /// This master leads from now on. `seed` is above that of each earlier leader: the map of before may have been another
    /// master's, and whoever has that must see that this one is newer.
    ///
    /// What an earlier leader told workers to forget is not known here, so all of them are compared with the whole outbox
    /// anew, and none of its rows is done before that.
    pub(crate) fn lead(&mut self, now: BootInstant, seed: u64) {
        self.epoch = self.epoch.next().max(Epoch::new(seed << 12));
        self.leads_since = Some(now);
        self.workers.values_mut().for_each(Registered::tell_anew);
    }

    /// This master does not lead any more: another one tells workers what to forget.
    pub(crate) fn follow(&mut self) {
        self.leads_since = None;
        self.outbox_oldest = None;
        self.workers.values_mut().for_each(Registered::tell_anew);
    }

    /// Whether this master has taken over.
    pub(crate) const fn leads(&self) -> bool {
        self.leads_since.is_some()
    }

    /// How far workers have made themselves known to this master since it leads.
    pub(crate) fn safe_mode(&self) -> SafeMode {
        let live = || self.workers.values().filter(|worker| worker.entry.state == WorkerState::Live);
        let is_heard =
            |worker: &&Registered| self.leads_since.is_some_and(|since| worker.last_contact >= since);
        SafeMode { workers_expected: live().count().max(1), workers_live: live().filter(is_heard).count() }
    }

    /// Makes sure that a worker can be taken in, `None` for one without an id yet. Lost ones make room where that is
    /// needed, the longest lost first.
    pub(crate) fn make_room(
        &mut self,
        id: Option<WorkerId>,
        registration: &Registration,
    ) -> Result<(), Full> {
        let others = || self.workers.iter().filter(|(known, _)| Some(**known) != id);
        let mut count = others().count();
        let mut text = others().map(|(_, worker)| worker.text).sum::<usize>() + registration.text();
        let mut lost: Vec<_> = others()
            .filter(|(_, worker)| worker.entry.state == WorkerState::Lost)
            .map(|(id, worker)| (worker.last_contact, *id, worker.text))
            .collect();
        lost.sort_unstable_by(|a, b| b.cmp(a));
        let mut dropped = BTreeSet::new();
        while count >= WORKERS_MAX || text > limits::WORKERS_TEXT_MAX {
            let Some((_, longest, freed)) = lost.pop() else {
                return Err(if count >= WORKERS_MAX { Full::Workers } else { Full::Text });
            };
            (count, text) = (count - 1, text - freed);
            dropped.insert(longest);
        }
        self.drop_workers(&dropped);
        Ok(())
    }

    /// A worker begins a life; what an earlier life reported is void, what it was to forget is not.
    pub(crate) fn register(
        &mut self,
        now: BootInstant,
        id: WorkerId,
        registration: Registration,
    ) -> Result<u64, Full> {
        self.make_room(Some(id), &registration)?;
        self.next_registration += 1;
        self.locations.forget_workers(&BTreeSet::from([id]));
        let text = registration.text();
        let capacity = registration.tiers.iter().map(|tier| tier.capacity_bytes).fold(0, u64::saturating_add);
        let entry = WorkerEntry {
            id,
            address: registration.address,
            host: registration.host,
            local_socket: registration.local_socket,
            group: registration.group,
            capacity: ByteCount::new(capacity),
            state: WorkerState::Live,
        };
        if self.workers.get(&id).is_none_or(|known| known.entry != entry) {
            self.epoch = self.epoch.next();
        }
        let latest = Heartbeat { tiers: registration.tiers, ..Heartbeat::default() };
        let registration = self.next_registration;
        let forgetting = self.workers.remove(&id).map(|known| known.forgetting).unwrap_or_default();
        let registered = Registered {
            entry,
            registration,
            last_contact: now,
            latest,
            mounts_revision: 0,
            text,
            forgetting,
            // A new life may have on its disk what the last one let go, so it is compared with all rows anew.
            outbox: OutboxProgress::default(),
            heartbeats: 0,
        };
        self.workers.insert(id, registered);
        Ok(registration)
    }

    fn drop_workers(&mut self, gone: &BTreeSet<WorkerId>) {
        if !gone.is_empty() {
            self.workers.retain(|id, _| !gone.contains(id));
            self.locations.forget_workers(gone);
            self.epoch = self.epoch.next();
        }
    }

    /// Begins to take a heartbeat, and ends all before it: a worker that sends another one has given up waiting, and what the
    /// one before says of a version may be older. Gives its number; 0 for a worker that is not known.
    pub(crate) fn begin_heartbeat(&mut self, id: WorkerId) -> u64 {
        let Some(worker) = self.workers.get_mut(&id) else { return 0 };
        worker.heartbeats += 1;
        worker.heartbeats
    }

    /// Whether no other heartbeat of this worker has begun since that one.
    pub(crate) fn is_newest(&self, id: WorkerId, heartbeat: u64) -> bool {
        self.workers.get(&id).is_some_and(|worker| worker.heartbeats == heartbeat)
    }

    /// Takes some of the versions of a heartbeat that has many, before the heartbeat itself. `false`: this life of the worker
    /// is not known.
    pub(crate) fn report(&mut self, id: WorkerId, registration: u64, versions: &[(FileId, Holding)]) -> bool {
        if self.workers.get(&id).is_none_or(|worker| worker.registration != registration) {
            return false;
        }
        for (file, holding) in versions {
            self.locations.record(id, *file, *holding);
        }
        true
    }

    /// Takes a heartbeat, with those of its versions that were not taken before. `false`: this life of the worker is not
    /// known, or it has other tiers now; it must register again.
    pub(crate) fn heartbeat(
        &mut self,
        now: BootInstant,
        id: WorkerId,
        registration: u64,
        beat: Heartbeat,
        versions: &[(FileId, Holding)],
    ) -> bool {
        let Some(worker) = self.workers.get_mut(&id).filter(|worker| worker.registration == registration)
        else {
            return false;
        };
        if tiers_text(&beat.tiers) > worker.text {
            return false;
        }
        worker.last_contact = now;
        let is_caught_up = !beat.had_many_versions && versions.len() < limits::REPORTS_CAUGHT_UP_BELOW;
        worker.outbox.heard(is_caught_up);
        if beat.mounts_revision != 0 {
            worker.mounts_revision = beat.mounts_revision;
        }
        worker.latest = beat;
        if worker.entry.state == WorkerState::Lost {
            worker.entry.state = WorkerState::Live;
            self.locations.set_lost(id, false);
            self.epoch = self.epoch.next();
        }
        for (file, holding) in versions {
            self.locations.record(id, *file, *holding);
        }
        true
    }

    /// The versions that a worker must forget, as many as fit one answer. `taken` names the list that it took last;
    /// `None`: it does not say.
    pub(crate) fn forget_list(&mut self, id: WorkerId, taken: Option<u64>) -> ForgetList {
        let Some(worker) = self.workers.get_mut(&id) else { return ForgetList::default() };
        let list = worker.forgetting.next(taken);
        worker.outbox.took(worker.forgetting.taken_place());
        list
    }

    /// Tells the workers that hold one of `files` to forget it, if this master leads: nobody asks one that follows, and
    /// when it takes over it finds in the outbox what is left.
    pub(crate) fn forget(&mut self, files: &[FileId]) {
        if self.leads_since.is_none() {
            return;
        }
        for file in files {
            for id in self.locations.holders(*file) {
                if let Some(worker) = self.workers.get_mut(&id) {
                    worker.forgetting.add(*file);
                }
            }
        }
    }

    /// Tells the workers that hold one of `files` that it is not known under this id any more, if this master leads.
    pub(crate) fn disown(&mut self, files: &[FileId]) {
        if self.leads_since.is_none() {
            return;
        }
        for file in files {
            for id in self.locations.holders(*file) {
                if let Some(worker) = self.workers.get_mut(&id) {
                    worker.forgetting.add_disowned(*file);
                }
            }
        }
    }

    /// Marks workers that were not heard of for `lost_after`, and gives their ids.
    pub(crate) fn tick(&mut self, now: BootInstant, lost_after: Duration) -> Vec<WorkerId> {
        let mut lost = Vec::new();
        for (id, worker) in &mut self.workers {
            let silent = now.saturating_duration_since(worker.last_contact) > lost_after;
            if silent && worker.entry.state == WorkerState::Live {
                worker.entry.state = WorkerState::Lost;
                self.locations.set_lost(*id, true);
                lost.push(*id);
            }
        }
        if !lost.is_empty() {
            self.epoch = self.epoch.next();
        }
        self.clients.tick(now);
        self.locations.sweep();
        self.drop_long_lost(now);
        lost
    }

    /// Drops workers that are lost for long: a new worker in their place has a new id, and they would stay for ever.
    fn drop_long_lost(&mut self, now: BootInstant) {
        let is_long_lost = |id: WorkerId, worker: &Registered| {
            let after = match self.locations.holds_any(id) {
                true => limits::WORKER_DROPPED_AFTER,
                false => limits::EMPTY_WORKER_DROPPED_AFTER,
            };
            let silent = now.saturating_duration_since(worker.last_contact);
            worker.entry.state == WorkerState::Lost && silent > after
        };
        let gone = self.workers.iter().filter(|(id, worker)| is_long_lost(**id, worker));
        let gone = gone.map(|(id, _)| *id).collect();
        self.drop_workers(&gone);
    }

    /// The map that clients route by.
    pub(crate) fn map(&self) -> ClusterMap {
        let workers = self.workers.values().map(|worker| worker.entry.clone()).collect();
        ClusterMap { epoch: self.epoch, workers }
    }

    /// The map's epoch.
    pub(crate) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The workers by rising id.
    pub(crate) fn workers(&self) -> impl Iterator<Item = &Registered> {
        self.workers.values()
    }

    /// How many workers that live have another table of mounts than this.
    pub(crate) fn count_behind(&self, mounts_revision: u64) -> usize {
        let live = self.workers.values().filter(|worker| worker.entry.state == WorkerState::Live);
        live.filter(|worker| worker.mounts_revision != mounts_revision).count()
    }

    /// What all workers that live can hold: their quotas, or less where they say that file systems have less.
    pub(crate) fn room(&self) -> u64 {
        let live = self.workers.values().filter(|worker| worker.entry.state == WorkerState::Live);
        let tiers = live.flat_map(|worker| {
            let usable = worker.latest.usable.iter().copied().map(Some).chain(std::iter::repeat(None));
            worker.latest.tiers.iter().zip(usable)
        });
        tiers
            .map(|(tier, usable)| tier.capacity_bytes.min(usable.unwrap_or(u64::MAX)))
            .fold(0, u64::saturating_add)
    }

    /// Room and what is used of it, over all workers that live.
    pub(crate) fn capacity(&self) -> (u64, u64) {
        self.workers
            .values()
            .filter(|worker| worker.entry.state == WorkerState::Live)
            .flat_map(|worker| &worker.latest.tiers)
            .fold((0_u64, 0_u64), |(total, used), tier| {
                (total.saturating_add(tier.capacity_bytes), used.saturating_add(tier.used_bytes))
            })
    }
}

impl Registered {
    /// What is left of what it was told is void; what it holds is not.
    fn tell_anew(&mut self) {
        self.forgetting.clear();
        self.outbox = OutboxProgress::default();
    }
}

impl SafeMode {
    /// Whether it lacks some of them.
    pub(crate) const fn is_active(&self) -> bool {
        self.workers_live < self.workers_expected
    }
}

impl Registration {
    /// What the worker's entry and tiers take in a message, at most.
    fn text(&self) -> usize {
        let strings = [&self.address, &self.local_socket, &self.group].map(String::len);
        ENTRY_FIELDS_LENGTH_MAX
            + strings.iter().sum::<usize>()
            + self.host.as_str().len()
            + tiers_text(&self.tiers)
    }
}

fn tiers_text(tiers: &[v1::TierUsage]) -> usize {
    tiers.iter().map(|tier| TIER_FIELDS_LENGTH_MAX + tier.name.len() + tier.directory.len()).sum()
}

/// Most bytes of a worker's entry in a report but its strings and tiers.
const ENTRY_FIELDS_LENGTH_MAX: usize = 64;
/// Most bytes of a tier in a report but its strings.
const TIER_FIELDS_LENGTH_MAX: usize = 44;

#[cfg(test)]
mod tests;
