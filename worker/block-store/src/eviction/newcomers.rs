//! What was asked for last and is not in a tier: when each was visited, so that one that is asked for again and again is
//! told from one that has its turn once an epoch.

use std::collections::BTreeMap;

use super::Newcomer;
use super::visit::{Visit, VisitClock};
use crate::limits::NEWCOMERS_MAX;
use crate::unit::UnitId;

/// The visits of versions that are not here, of at most [`NEWCOMERS_MAX`]; about 200 bytes for each.
#[derive(Debug, Default)]
pub(crate) struct Newcomers {
    next_place: u64,
    visits: BTreeMap<UnitId, Visits>,
    /// The one that came longest ago first.
    order: BTreeMap<u64, UnitId>,
}

#[derive(Debug)]
struct Visits {
    last: Visit,
    /// When the two before the last began.
    before: [Option<u64>; 2],
    place: u64,
    /// There were others before all of these.
    were_others: bool,
}

impl Newcomers {
    /// A version was asked for and is not in. When its visit began, if this is another one.
    pub(crate) fn came(&mut self, clock: &mut VisitClock, newcomer: &Newcomer) -> Option<u64> {
        let (unit, page, length) = (newcomer.unit, newcomer.page, newcomer.length.get());
        self.next_place += 1;
        let place = self.next_place;
        self.order.insert(place, unit);
        let Some(visits) = self.visits.get_mut(&unit) else {
            let last = clock.begin(page, length);
            self.visits.insert(unit, Visits { last, before: [None, None], place, were_others: false });
            self.cut();
            return Some(last.began);
        };
        self.order.remove(&visits.place);
        visits.place = place;
        if !clock.is_another(&visits.last, page) {
            clock.go_on(&mut visits.last, page);
            return None;
        }
        visits.before = [Some(visits.last.began), visits.before[0]];
        visits.last = clock.begin(page, length);
        Some(visits.last.began)
    }

    /// Whether it was asked for before, in another visit than this one.
    pub(super) fn is_another_visit(&self, clock: &VisitClock, newcomer: &Newcomer) -> bool {
        let visits = self.visits.get(&newcomer.unit);
        visits
            .is_some_and(|visits| visits.before[0].is_some() || clock.is_another(&visits.last, newcomer.page))
    }

    /// How long ago the earliest of the last three visits began, this one included; `None` when there were fewer.
    pub(super) fn three_visits_took(&self, clock: &VisitClock, newcomer: &Newcomer) -> Option<u64> {
        let visits = self.visits.get(&newcomer.unit)?;
        let is_another = clock.is_another(&visits.last, newcomer.page);
        let earliest = if is_another { visits.before[0] } else { visits.before[1] };
        earliest.map(|began| clock.now() - began)
    }

    /// Whether any visit of it is known.
    pub(crate) fn knows(&self, unit: UnitId) -> bool {
        self.visits.contains_key(&unit)
    }

    /// Whether it was visited more than once.
    pub(crate) fn came_again(&self, unit: UnitId) -> bool {
        self.visits.get(&unit).is_some_and(|visits| visits.were_others || visits.before[0].is_some())
    }

    /// It was visited before it was known.
    pub(crate) fn was_there(&mut self, unit: UnitId) {
        if let Some(visits) = self.visits.get_mut(&unit) {
            visits.were_others = true;
        }
    }

    /// What was visited from the begin of the last visit but two to that of the last one; `None` when there were fewer.
    pub(crate) fn span_of_three_visits(&self, unit: UnitId) -> Option<u64> {
        let visits = self.visits.get(&unit)?;
        visits.before[1].map(|earliest| visits.last.began - earliest)
    }

    /// It is let in, or of no interest any more. Its last visit.
    pub(crate) fn remove(&mut self, unit: UnitId) -> Option<Visit> {
        let visits = self.visits.remove(&unit)?;
        self.order.remove(&visits.place);
        Some(visits.last)
    }

    fn cut(&mut self) {
        if self.visits.len() > NEWCOMERS_MAX
            && let Some((_, unit)) = self.order.pop_first()
        {
            self.visits.remove(&unit);
        }
    }
}
