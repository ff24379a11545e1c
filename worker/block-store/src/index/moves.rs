//! Moves between tiers: what leaves memory while a disk has room goes there (*demotion*), and what is visited again on a
//! disk comes to memory (*promotion*).
//!
//! A move is a copy: room for all of the copy is charged to the target tier, the shell copies, and at the end the copy
//! takes the unit's place, if nobody held, lent, filled or changed the unit meanwhile and it did not leave; else the copy
//! is deleted. Until then the unit is where it was, for all who ask, and may leave as ever.
//!
//! Which unit moves is said in `moves/choice.rs`, and what is remembered for it in `moves/watch.rs`.

mod choice;
mod watch;

use std::collections::BTreeMap;

use forebay_types::{ByteCount, Timestamp};

use self::watch::Watch;
use super::entry::{Detached, Entry};
use super::{Action, Index, Location, Reason, TierIndex};
use crate::layout::Generation;
use crate::limits::UNFINISHED_PATIENCE;
use crate::page::PageSet;
use crate::settings::TierKind;
use crate::unit::UnitId;

/// A copy that the shell is to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) source: Location,
    pub(crate) target: Location,
    /// Length of the unit.
    pub(crate) length: ByteCount,
    /// Where the records begin in the source's index file.
    pub(crate) records: u64,
    /// The pages to copy.
    pub(crate) pages: PageSet,
    /// Whether it goes to memory.
    pub(crate) is_up: bool,
}

/// A copy whose files are complete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copied {
    /// Where the records begin in its index file.
    pub(crate) records: u64,
    /// Change time of its data file.
    pub(crate) changed: Timestamp,
}

/// What the index says to somebody who moves units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NextMove {
    /// Make this copy, then call [`Index::end_move`].
    Copy(Move),
    /// Do this, then ask again.
    First(Vec<Action>),
    /// There is nothing to move for now.
    Nothing,
}

/// What is being copied, what may be promoted, and what was visited.
#[derive(Debug, Default)]
pub(super) struct Moves {
    /// Since somebody moves units; `None`: nobody does, and nothing is remembered for it.
    watch: Option<Watch>,
    under_way: BTreeMap<UnitId, Moving>,
}

#[derive(Debug)]
struct Moving {
    /// Of the source.
    source: Generation,
    /// What will be in its place.
    entry: Entry,
    is_called_off: bool,
}

impl Moves {
    /// The time of visits.
    pub(super) fn now(&self) -> u64 {
        self.watch.as_ref().map_or(0, Watch::now)
    }

    /// The copy of `unit`, if one is under way, will not take its place.
    pub(super) fn call_off(&mut self, unit: UnitId) {
        if let Some(moving) = self.under_way.get_mut(&unit) {
            moving.is_called_off = true;
        }
    }

    /// The same for all copies to a tier.
    pub(super) fn call_off_to(&mut self, tier: TierIndex) {
        let to = self.under_way.values_mut().filter(|moving| moving.entry.tier() == tier);
        to.for_each(|moving| moving.is_called_off = true);
    }

    /// The copy that `of` is, unless its end was told.
    fn moving(&self, of: &Move) -> Option<&Moving> {
        let moving = self.under_way.get(&of.source.key.unit)?;
        (moving.entry.generation() == of.target.key.generation).then_some(moving)
    }

    #[cfg(test)]
    pub(super) fn under_way(&self) -> impl Iterator<Item = &Entry> {
        self.under_way.values().map(|moving| &moving.entry)
    }
}

impl Index {
    /// Whether a copy that is being made may still take the unit's place.
    pub(crate) fn move_goes_on(&self, of: &Move) -> bool {
        let is_open = self.tiers[of.target.tier.0].is_open();
        self.moves.moving(of).is_some_and(|moving| !moving.is_called_off && is_open)
    }

    /// A copy was made, or came to nothing. Whether it took the unit's place, and what to delete.
    pub(crate) fn end_move(&mut self, of: &Move, copied: Option<Copied>) -> (bool, Option<Action>) {
        let unit = of.source.key.unit;
        let goes_on = self.move_goes_on(of);
        if self.moves.moving(of).is_none() {
            return (false, None);
        }
        let moving = self.moves.under_way.remove(&unit).expect("it was looked at");
        let Moving { source, mut entry, .. } = moving;
        self.tiers[entry.tier().0].landed(entry.charge());
        let is_as_it_was =
            self.units.get(&unit).is_some_and(|now| now.generation() == source && now.is_unused());
        let Some(copied) = copied.filter(|_| goes_on && is_as_it_was) else {
            return (false, Some(self.leave(unit, entry, Reason::CalledOff)));
        };
        let mut earlier = self.units.remove(&unit).expect("it was looked at");
        self.tiers[earlier.tier().0].detached(unit, &mut earlier);
        entry.take_over(&earlier, copied.records, copied.changed);
        let tier = &mut self.tiers[entry.tier().0];
        tier.arrived(unit, of.length);
        if of.is_up {
            // It was visited again and again where the policy did not see it.
            tier.rested(unit);
        }
        tier.reshelve(unit, &mut entry);
        self.units.insert(unit, entry);
        if let Some(watch) = self.moves.watch.as_mut().filter(|_| of.is_up) {
            watch.forget(unit);
        }
        (true, Some(self.leave(unit, earlier, Reason::Moved)))
    }

    /// What `of` was to copy cannot be copied, though nothing is wrong with it as far as it is known: it is not tried again.
    pub(crate) fn cannot_move(&mut self, of: &Move) {
        if let Some(entry) = self.current(of.source.key) {
            entry.set_stays();
        }
    }

    /// One of two generations of a unit is to be deleted; nobody uses it.
    fn leave(&mut self, unit: UnitId, entry: Entry, reason: Reason) -> Action {
        let location = entry.location(unit);
        self.tiers[location.tier.0].leaves(entry.charge());
        self.detached.insert(location.key, Detached { entry, removals: 1 });
        Action::Remove(location, reason)
    }

    /// Whether nothing keeps a unit from being copied.
    fn may_move(&self, unit: UnitId) -> bool {
        self.units.get(&unit).is_some_and(|entry| {
            // Of what is still coming the next page would call the move off.
            let is_settled = entry.is_complete() || self.clock - entry.last_used() > UNFINISHED_PATIENCE;
            is_settled
                && entry.is_unused()
                && !entry.stays()
                && !entry.present().is_empty()
                && !self.moves.under_way.contains_key(&unit)
                && self.tiers[entry.tier().0].is_open()
        })
    }

    /// Begins to move a unit to a tier, if `spare` bytes are free there beside it.
    pub(crate) fn begin_move(&mut self, unit: UnitId, to: TierIndex, spare: u64) -> Option<Move> {
        let entry = self.units.get(&unit).filter(|entry| self.may_move(unit) && entry.tier() != to)?;
        let tier = &self.tiers[to.0];
        let kind = tier.limits().kind;
        let twin = entry.twin(Generation::new(self.generation_next), to, kind)?;
        let (length, need) = (ByteCount::new(entry.geometry().length()), twin.charge());
        let has_room =
            tier.has_inodes() && tier.missing_beside_promises(unit, need.saturating_add(spare)) == 0;
        if !tier.takes(unit, length, need) || !has_room {
            return None;
        }
        let planned = Move {
            source: entry.location(unit),
            target: twin.location(unit),
            length,
            records: entry.records()?,
            pages: entry.present().clone(),
            is_up: kind == TierKind::Ram,
        };
        let source = entry.generation();
        self.next_generation();
        self.tiers[to.0].charge_in_flight(need);
        self.tiers[to.0].awaits_copy();
        self.moves.under_way.insert(unit, Moving { source, entry: twin, is_called_off: false });
        Some(planned)
    }
}
