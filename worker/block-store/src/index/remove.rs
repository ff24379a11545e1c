//! How units leave: detached at once, deleted by the shell, and given back when nobody uses them any more.

use std::ops::Bound;

use forebay_types::FileId;

use super::entry::{Detached, Entry};
use super::{Action, Index, Reason, TierIndex};
use crate::layout::GenerationKey;
use crate::page::PageIndex;
use crate::source::IdentityDigest;
use crate::unit::UnitId;

impl Index {
    /// Lets all of `file` go. Whoever holds it or was lent it keeps what it has; the room is given back when the last of
    /// them is done.
    pub fn detach(&mut self, file: FileId, reason: Reason) -> Vec<Action> {
        let units: Vec<_> = self.units_of(self.names.kept(file)).map(|(unit, _)| unit).collect();
        units.into_iter().filter_map(|unit| self.detach_unit(unit, reason)).collect()
    }

    /// As [`Index::detach`], for one unit of a version.
    pub(super) fn detach_unit(&mut self, unit: UnitId, reason: Reason) -> Option<Action> {
        let mut entry = self.units.remove(&unit)?;
        self.moves.call_off(unit);
        let (file, location) = (unit.file(), entry.location(unit));
        self.changes.record(self.names.shown(file));
        if !self.has_units(file) {
            self.names.left(file, entry.identity());
        }
        let tier = &mut self.tiers[location.tier.0];
        tier.detached(unit, &mut entry);
        if entry.is_unused() {
            tier.leaves(entry.charge());
        }
        if entry.lends() > 0 {
            tier.awaits(entry.charge());
        }
        self.wants_back |= entry.holds() > 0 || entry.lends() > 0;
        self.detached.insert(location.key, Detached { entry, removals: 1 });
        Some(Action::Remove(location, reason))
    }

    /// As [`Index::detach_unit`], but only if `key` is what the unit consists of now.
    pub fn detach_generation(&mut self, key: GenerationKey, reason: Reason) -> Option<Action> {
        if self.is_current(key) { self.detach_unit(key.unit, reason) } else { None }
    }

    /// Lets `file` go if it is another content than the one meant: the id was given anew.
    pub(crate) fn refuse_other(&mut self, file: FileId, identity: IdentityDigest) -> Vec<Action> {
        // All units of a version have one identity.
        let found = self.units_of(self.names.kept(file)).next();
        match found.is_some_and(|(_, entry)| !entry.has_identity(identity)) {
            true => self.detach(file, Reason::Replaced),
            false => Vec::new(),
        }
    }

    /// Lets go what lies on `tier` of the next `max` units after `after`. Where to go on; `None`: those were all.
    pub(crate) fn empty(
        &mut self,
        tier: TierIndex,
        after: Option<UnitId>,
        max: usize,
    ) -> (Vec<Action>, Option<UnitId>) {
        self.moves.call_off_to(tier);
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let looked_at = self.units.range((begin, Bound::Unbounded)).take(max);
        let looked_at: Vec<_> = looked_at.map(|(unit, entry)| (*unit, entry.tier() == tier)).collect();
        let next = looked_at.last().map(|(unit, _)| *unit);
        let there = looked_at.into_iter().filter(|(_, is_there)| *is_there);
        (there.filter_map(|(unit, _)| self.detach_unit(unit, Reason::Disk)).collect(), next)
    }

    /// Evicts until each tier is within its capacity: it may have been made smaller between two lives of the store.
    pub fn shrink(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        for position in 0..self.tiers.len() {
            loop {
                let tier = &mut self.tiers[position];
                let Some(victim) = tier.victim() else { break };
                if tier.used() - tier.leaving() <= tier.limits().capacity.get() {
                    break;
                }
                actions.extend(self.detach_unit(victim, Reason::Evicted));
            }
        }
        actions
    }

    /// The shell has deleted the files of `key`, or they were not there.
    pub fn removed(&mut self, key: GenerationKey) {
        if let Some(detached) = self.detached.get_mut(&key) {
            detached.removals = detached.removals.saturating_sub(1);
            self.settle(key);
        }
    }

    /// The last hold or lend of a detached generation ended.
    pub(super) fn detached_use_ended(&mut self, key: GenerationKey) {
        if let Some(detached) = self.detached.get(&key)
            && detached.entry.is_unused()
        {
            self.tiers[detached.entry.tier().0].leaves(detached.entry.charge());
            self.settle(key);
        }
    }

    /// A fill of a detached generation ended. It may have made the files again.
    pub(super) fn end_detached_fill(&mut self, key: GenerationKey, page: PageIndex) -> Vec<Action> {
        let Some(detached) = self.detached.get_mut(&key) else { return Vec::new() };
        let tier = &mut self.tiers[detached.entry.tier().0];
        tier.landed(detached.entry.end_fill(page));
        if detached.entry.fills() > 0 {
            return Vec::new();
        }
        detached.removals += 1;
        if detached.entry.is_unused() {
            tier.leaves(detached.entry.charge());
        }
        vec![Action::Remove(detached.entry.location(key.unit), Reason::LateWriter)]
    }

    fn settle(&mut self, key: GenerationKey) {
        let is_over = |detached: &Detached| detached.removals == 0 && Entry::is_unused(&detached.entry);
        if self.detached.get(&key).is_some_and(is_over)
            && let Some(Detached { entry, .. }) = self.detached.remove(&key)
        {
            let tier = &mut self.tiers[entry.tier().0];
            tier.stays(entry.charge());
            tier.left(entry.charge());
        }
    }
}
