//! How far workers are with the rows of the outbox: what each still holds of them it is told to forget, and a row is done
//! once no worker is left that may hold any of it.
//!
//! Most of what a row names was told by the effect that woke us when the row was written. What is here finds the rest:
//! what was not reported yet at that time, what was told by a master that is no more, and what workers have that were
//! away. It compares a row with what a worker holds only after the worker has reported all that it had when the row was
//! written.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use forebay_metadata::{OutboxRow, Task};
use forebay_runtime::BootInstant;
use forebay_types::{OutboxSequence, WorkerId, WorkerState};

use super::{Registered, Registry};
use crate::limits;

/// So many heartbeats after a look a worker has told all that it had then.
const BEATS_TO_SETTLE: u64 = 3;

/// How far one life of a worker is. Invariant: `done <= read <= settled`.
#[derive(Clone, Debug, Default)]
pub struct OutboxProgress {
    /// Heartbeats after which it had nothing more to report.
    beats: u64,
    /// The last row that was there at some look, and the heartbeats until then.
    mark: Option<(OutboxSequence, u64)>,
    /// Of rows up to this one it is known what the worker holds.
    settled: OutboxSequence,
    /// Rows up to this one were compared with that.
    read: OutboxSequence,
    /// What it was told and has not taken: the places in its list, and up to which row they go.
    told: VecDeque<(u64, OutboxSequence)>,
    /// Of rows up to this one it holds nothing that it had.
    done: OutboxSequence,
}

impl OutboxProgress {
    /// A heartbeat came. `is_caught_up`: it had all that was left to report.
    pub fn heard(&mut self, is_caught_up: bool) {
        self.beats += u64::from(is_caught_up);
    }

    /// Once in a while; `last` is the last row that is there. The first of the heartbeats after it may have been made before.
    /// A new life tells the end of its list, then that nothing follows, and then what came meanwhile.
    pub fn look(&mut self, last: OutboxSequence) {
        if let Some((seen, beats)) = self.mark {
            if self.beats < beats + BEATS_TO_SETTLE {
                return;
            }
            self.settled = seen;
        }
        self.mark = Some((last, self.beats));
    }

    /// After which row the worker is to be told more; `None` where nothing more is known to concern it.
    #[must_use]
    pub fn wants_after(&self) -> Option<OutboxSequence> {
        (self.read < self.settled).then_some(self.read)
    }

    /// Whether a row is still to be compared with what the worker holds, and can be.
    #[must_use]
    pub fn awaits(&self, row: OutboxSequence) -> bool {
        self.read < row && row <= self.settled
    }

    /// All rows up to `through` were compared. `place`: the last place in the worker's list that they took, if any.
    pub fn compared(&mut self, through: OutboxSequence, place: Option<u64>) {
        let through = through.min(self.settled);
        if through <= self.read {
            return;
        }
        self.read = through;
        match (place, self.told.back_mut()) {
            (Some(place), _) => self.told.push_back((place, through)),
            (None, Some((_, last))) => *last = through,
            (None, None) => self.done = through,
        }
    }

    /// The worker has taken its list up to this place.
    pub fn took(&mut self, place: u64) {
        while let Some((_, through)) = self.told.pop_front_if(|(told, _)| *told <= place) {
            self.done = through;
        }
    }

    /// Rows up to this one are done as far as this worker goes.
    #[must_use]
    pub const fn done(&self) -> OutboxSequence {
        self.done
    }
}

impl Registered {
    /// Where this worker is to be told on, unless it is lost or has enough to do.
    fn wants_rows_after(&self) -> Option<OutboxSequence> {
        let can_be_told =
            self.entry.state == WorkerState::Live && self.forgetting.len() < limits::FORGET_AHEAD_MAX;
        self.outbox.wants_after().filter(|_| can_be_told)
    }
}

impl Registry {
    /// Once in a while, with the last row that is there.
    pub(crate) fn look_at_outbox(&mut self, last: OutboxSequence) {
        self.workers.values_mut().for_each(|worker| worker.outbox.look(last));
    }

    /// Notes which row is the oldest that waits, at `now`. Those that are done go from `due` on.
    pub(crate) fn note_oldest_row(
        &mut self,
        oldest: Option<OutboxSequence>,
        now: BootInstant,
        due: BootInstant,
    ) {
        let is_known = |(known, _): &(OutboxSequence, BootInstant)| Some(*known) == oldest;
        let known = self.outbox_oldest.filter(is_known);
        self.outbox_oldest = known.or_else(|| oldest.map(|oldest| (oldest, now.max(due))));
    }

    /// For how long the oldest row waits that could have been done.
    pub(crate) fn outbox_overdue(&self, now: BootInstant) -> Duration {
        self.outbox_oldest.map_or(Duration::ZERO, |(_, since)| now.saturating_duration_since(since))
    }

    /// After which row somebody is to be told more.
    pub(crate) fn outbox_wanted(&self) -> Option<OutboxSequence> {
        self.workers.values().filter_map(Registered::wants_rows_after).min()
    }

    /// Tells workers what they hold of `rows`, which are all that there are after `after` and up to `through`.
    pub(crate) fn tell_outbox(
        &mut self,
        after: OutboxSequence,
        rows: &[(OutboxSequence, OutboxRow)],
        through: OutboxSequence,
    ) {
        // One that is to be told of rows before these, since a moment ago, is told when they are read.
        let is_concerned =
            |worker: &Registered| worker.wants_rows_after().is_some_and(|wanted| wanted >= after);
        let concerned = self.workers.iter().filter(|(_, worker)| is_concerned(worker));
        let concerned: BTreeSet<WorkerId> = concerned.map(|(id, _)| *id).collect();
        let mut told = BTreeSet::new();
        for (sequence, row) in rows {
            let Task::FreeVersions(files) = &row.task;
            for file in files {
                for id in self.locations.holders(*file).filter(|id| concerned.contains(id)) {
                    if let Some(worker) = self.workers.get_mut(&id)
                        && worker.outbox.awaits(*sequence)
                    {
                        worker.forgetting.add(*file);
                        told.insert(id);
                    }
                }
            }
        }
        for id in concerned {
            if let Some(worker) = self.workers.get_mut(&id) {
                let place = told.contains(&id).then(|| worker.forgetting.last_place());
                worker.outbox.compared(through, place);
            }
        }
    }

    /// Up to which row all are done of those up to `last`: each worker that is remembered has taken what concerned it, also
    /// one that is lost.
    pub(crate) fn outbox_done(&self, last: OutboxSequence) -> OutboxSequence {
        self.workers.values().map(|worker| worker.outbox.done()).fold(last, OutboxSequence::min)
    }
}

#[cfg(test)]
mod tests;
