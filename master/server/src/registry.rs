//! Who works for the cluster now: workers by their heartbeats, and the cluster map made from them. Soft and pure.
//!
//! Nothing here is replicated: a new master learns it from the next heartbeats. Time comes as an argument, so tests
//! move it. Invariant: the map's epoch grows with each change of an owner, an address or a state.

mod counters;
mod forgetting;
mod locations;

use std::collections::BTreeMap;
use std::time::Duration;

use forebay_proto::v1;
use forebay_runtime::BootInstant;
use forebay_types::{ByteCount, ClusterMap, Epoch, FileId, HostId, WorkerEntry, WorkerId, WorkerState};

pub(crate) use counters::ClientCounters;
pub(crate) use counters::{add_mounts, add_reads};
pub(crate) use forgetting::ForgetList;
pub(crate) use locations::{Holding, Locations};

use forgetting::Forgetting;

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
    pub(crate) reads: v1::ReadCounters,
    pub(crate) mounts: Vec<v1::MountCounters>,
}

/// One worker that registered with this master.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    pub(crate) entry: WorkerEntry,
    pub(crate) registration: u64,
    pub(crate) last_contact: BootInstant,
    pub(crate) latest: Heartbeat,
    forgetting: Forgetting,
}

/// All workers, and where what is cached.
#[derive(Debug)]
pub(crate) struct Registry {
    epoch: Epoch,
    next_registration: u64,
    workers: BTreeMap<WorkerId, Registered>,
    pub(crate) locations: Locations,
    pub(crate) clients: ClientCounters,
}

impl Registry {
    /// An empty registry. `seed` is above that of each earlier master, such as its start in milliseconds, so that
    /// neither an epoch nor a registration is given twice.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            epoch: Epoch::new(seed << 12),
            next_registration: seed << 12,
            workers: BTreeMap::new(),
            locations: Locations::default(),
            clients: ClientCounters::default(),
        }
    }

    /// A worker begins a life; what an earlier life reported is void, what it was to forget is not.
    pub(crate) fn register(&mut self, now: BootInstant, id: WorkerId, registration: Registration) -> u64 {
        self.next_registration += 1;
        self.locations.forget_worker(id);
        let capacity = registration.tiers.iter().map(|tier| tier.capacity_bytes).sum();
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
        self.workers.insert(id, Registered { entry, registration, last_contact: now, latest, forgetting });
        registration
    }

    /// Takes a heartbeat. `false`: this life of the worker is not known, it must register again.
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
        worker.last_contact = now;
        worker.latest = beat;
        if worker.entry.state == WorkerState::Lost {
            worker.entry.state = WorkerState::Live;
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
        self.workers.get_mut(&id).map(|worker| worker.forgetting.next(taken)).unwrap_or_default()
    }

    /// Tells the workers that hold one of `files` to forget it.
    pub(crate) fn forget(&mut self, files: &[FileId]) {
        for file in files {
            for (id, _) in self.locations.of(*file) {
                if let Some(worker) = self.workers.get_mut(&id) {
                    worker.forgetting.add(*file);
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
                lost.push(*id);
            }
        }
        if !lost.is_empty() {
            self.epoch = self.epoch.next();
        }
        self.clients.tick(now);
        lost
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

    /// Room and what is used of it, over all workers that live.
    pub(crate) fn capacity(&self) -> (u64, u64) {
        self.workers
            .values()
            .filter(|worker| worker.entry.state == WorkerState::Live)
            .flat_map(|worker| &worker.latest.tiers)
            .fold((0, 0), |(total, used), tier| (total + tier.capacity_bytes, used + tier.used_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_types::Incarnation;

    fn at(seconds: u64) -> BootInstant {
        BootInstant::from_boot(Duration::from_secs(seconds))
    }

    fn registration(address: &str) -> Registration {
        Registration {
            address: address.to_owned(),
            host: HostId::new("host"),
            local_socket: String::new(),
            group: String::new(),
            tiers: vec![v1::TierUsage { capacity_bytes: 10, ..v1::TierUsage::default() }],
        }
    }

    fn file(counter: u64) -> FileId {
        FileId { incarnation: Incarnation::new(1), counter }
    }

    #[test]
    fn a_silent_worker_is_lost_and_comes_back_with_a_heartbeat() {
        let mut registry = Registry::new(1);
        let id = WorkerId::new(1);
        let life = registry.register(at(0), id, registration("a:1"));
        let before = registry.epoch();
        assert!(registry.tick(at(5), Duration::from_secs(10)).is_empty());
        assert_eq!(registry.tick(at(11), Duration::from_secs(10)), [id]);
        assert!(registry.epoch() > before);
        assert!(registry.heartbeat(at(12), id, life, Heartbeat::default(), &[]));
        assert_eq!(registry.map().workers[0].state, WorkerState::Live);
    }

    #[test]
    fn an_earlier_life_is_not_heard_and_its_reports_are_void() {
        let mut registry = Registry::new(1);
        let id = WorkerId::new(1);
        let old = registry.register(at(0), id, registration("a:1"));
        let holding = Holding { cached: ByteCount::new(3), complete: true };
        assert!(registry.heartbeat(at(0), id, old, Heartbeat::default(), &[(file(1), holding)]));
        let new = registry.register(at(1), id, registration("a:1"));
        assert!(!registry.heartbeat(at(1), id, old, Heartbeat::default(), &[(file(2), holding)]));
        assert!(registry.heartbeat(at(1), id, new, Heartbeat::default(), &[]));
        assert_eq!(registry.locations.of(file(1)).count() + registry.locations.of(file(2)).count(), 0);
    }

    #[test]
    fn only_a_worker_that_holds_a_version_is_told_to_forget_it() {
        let mut registry = Registry::new(1);
        let (one, two) = (WorkerId::new(1), WorkerId::new(2));
        let life = registry.register(at(0), one, registration("a:1"));
        registry.register(at(0), two, registration("a:2"));
        let holding = Holding { cached: ByteCount::new(3), complete: true };
        assert!(registry.heartbeat(at(0), one, life, Heartbeat::default(), &[(file(1), holding)]));
        registry.forget(&[file(1), file(2)]);
        let list = registry.forget_list(one, Some(0));
        assert_eq!(list.files, [file(1)]);
        assert!(registry.forget_list(two, Some(0)).files.is_empty());
        assert!(registry.forget_list(one, Some(list.sequence)).files.is_empty());
    }

    #[test]
    fn a_worker_that_registers_again_is_still_to_forget_what_it_was_told_and_did_not_take() {
        let mut registry = Registry::new(1);
        let id = WorkerId::new(1);
        let life = registry.register(at(0), id, registration("a:1"));
        let holding = Holding { cached: ByteCount::new(3), complete: true };
        assert!(registry.heartbeat(at(0), id, life, Heartbeat::default(), &[(file(1), holding)]));
        registry.forget(&[file(1)]);
        registry.forget_list(id, Some(0));
        registry.register(at(1), id, registration("a:1"));
        assert_eq!(registry.forget_list(id, Some(0)).files, [file(1)]);
    }

    #[test]
    fn registering_again_unchanged_moves_no_block() {
        let mut registry = Registry::new(1);
        registry.register(at(0), WorkerId::new(1), registration("a:1"));
        let epoch = registry.epoch();
        registry.register(at(1), WorkerId::new(1), registration("a:1"));
        assert_eq!(registry.epoch(), epoch);
        registry.register(at(2), WorkerId::new(1), registration("a:9"));
        assert!(registry.epoch() > epoch);
    }
}
