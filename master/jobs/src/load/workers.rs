//! The workers as a load knows them: who can be asked for more now, and how much all of them can hold.

use std::collections::BTreeMap;
use std::time::Duration;

use forebay_types::{ClusterMap, WorkerId, WorkerState};

use crate::limits::TASKS_PER_WORKER_MAX;

/// Who can be asked.
#[derive(Debug, Default)]
pub(super) struct Workers {
    pub(super) map: ClusterMap,
    pub(super) live: usize,
    pub(super) is_settled: bool,
    /// What the quotas of those who live allow.
    pub(super) quota: u64,
    /// What they can hold: the quotas, or less where file systems have less.
    pub(super) room: u64,
    busy: BTreeMap<WorkerId, usize>,
    nobody_since: Option<Duration>,
}

impl Workers {
    pub(super) fn learn(&mut self, map: ClusterMap, is_settled: bool, room: u64) {
        let live = || map.workers.iter().filter(|worker| worker.state == WorkerState::Live);
        self.live = live().count();
        self.quota = live().fold(0, |sum, worker| sum.saturating_add(worker.capacity.get()));
        self.is_settled = is_settled;
        self.map = map;
        self.room = room;
    }

    /// How long nobody could be asked.
    pub(super) fn is_missing_since(&mut self, now: Duration) -> Duration {
        if self.live > 0 {
            self.nobody_since = None;
            return Duration::ZERO;
        }
        now.saturating_sub(*self.nobody_since.get_or_insert(now))
    }

    pub(super) fn has_lost(&self) -> bool {
        self.live < self.map.workers.len()
    }

    /// Whether somebody can be asked for more.
    pub(super) fn has_place(&self) -> bool {
        self.busy.values().filter(|busy| **busy >= TASKS_PER_WORKER_MAX).count() < self.live
    }

    pub(super) fn take_place(&mut self, worker: WorkerId) -> bool {
        let busy = self.busy.entry(worker).or_default();
        let is_free = *busy < TASKS_PER_WORKER_MAX;
        *busy += usize::from(is_free);
        is_free
    }

    pub(super) fn give_place(&mut self, worker: WorkerId) {
        if let Some(busy) = self.busy.get_mut(&worker) {
            *busy = busy.saturating_sub(1);
            if *busy == 0 {
                self.busy.remove(&worker);
            }
        }
    }
}
