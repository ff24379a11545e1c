//! How long versions wait for their next visit at most, rare cases aside: measured by a sample of all versions that are
//! asked for, whether they are stored or not.
//!
//! What is stored alone would not tell: where versions leave before they are visited again, only short waits would be
//! seen. The sample is by a hash of the version, so that each of its visits counts or none (as in Waldspurger, Park,
//! Garthwaite, Ahmad, "Efficient MRC Construction with SHARDS", FAST 2015). Waits are short at the begin of a pass and
//! long at its end, so what counts are this round and the one before, each longer than a pass: a round ends when half of
//! what was visited in it was visited in it again.

use std::collections::BTreeMap;

use crate::limits::{PACE_SAMPLE, PACE_VERSIONS_MAX};
use crate::unit::UnitId;

/// Fewer waits than that are no measure.
const WAITS_MIN: u64 = 8;
/// One in so many waits is longer than what is usual.
const LONGEST_PARTS: u64 = 100;
/// Fewer visits than that are no round.
const ROUND_MIN: u64 = 32;

/// The sample, at most [`PACE_VERSIONS_MAX`] versions; about 110 bytes for each.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// One of 2^`level` versions belongs to the sample.
    level: u32,
    last_visits: BTreeMap<UnitId, u64>,
    /// By their last visit. Times of visits are all different.
    order: BTreeMap<u64, UnitId>,
    round: Round,
    earlier: Round,
}

#[derive(Debug, Default)]
struct Round {
    began: u64,
    visits: u64,
    /// Those of versions that were visited in the round before.
    again: u64,
    /// How many waits ended, by [`class_of`] their length.
    waits: BTreeMap<u32, u64>,
}

impl Pace {
    /// A wait that all but one in [`LONGEST_PARTS`] of those that ended were not longer than, if enough was seen.
    pub(super) fn longest_usual_wait(&self) -> Option<u64> {
        let rounds = [&self.round, &self.earlier];
        let count: u64 = rounds.iter().flat_map(|round| round.waits.values()).sum();
        if count < WAITS_MIN {
            return None;
        }
        let mut longer = 0;
        let mut ended =
            [self.round.waits.iter().rev().peekable(), self.earlier.waits.iter().rev().peekable()];
        loop {
            let class = ended.iter_mut().filter_map(|waits| waits.peek().map(|(class, _)| **class)).max()?;
            for waits in &mut ended {
                longer += waits.next_if(|(of, _)| **of == class).map_or(0, |(_, count)| *count);
            }
            if longer > count / LONGEST_PARTS {
                return Some(end_of(class));
            }
        }
    }

    /// A visit of `unit` began.
    pub(super) fn visited(&mut self, unit: UnitId, began: u64) {
        if !belongs(unit, self.level) {
            return;
        }
        let earlier = self.last_visits.insert(unit, began);
        self.order.insert(began, unit);
        self.round.visits += 1;
        if let Some(earlier) = earlier {
            self.order.remove(&earlier);
            self.round.again += u64::from(earlier >= self.round.began);
            *self.round.waits.entry(class_of(began - earlier)).or_default() += 1;
        } else if self.last_visits.len() > PACE_VERSIONS_MAX
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.last_visits.remove(&oldest);
        }
        let distinct = self.round.visits - self.round.again;
        if self.round.visits >= ROUND_MIN && self.round.again >= distinct.div_ceil(2) {
            self.earlier = std::mem::replace(&mut self.round, Round { began, ..Round::default() });
        }
    }

    /// Keeps the sample in proportion to how many versions are stored.
    pub(super) fn fit(&mut self, stored: usize) {
        if stored >> self.level > 2 * PACE_SAMPLE {
            self.level += 1;
            let level = self.level;
            self.last_visits.retain(|unit, _| belongs(*unit, level));
            self.order.retain(|_, unit| belongs(*unit, level));
        } else if self.level > 0 && stored >> self.level < PACE_SAMPLE / 2 {
            self.level -= 1;
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.last_visits.len()
    }
}

/// Whether a version belongs to the sample of one in 2^`level`.
fn belongs(unit: UnitId, level: u32) -> bool {
    hash(unit) & ((1 << level) - 1) == 0
}

/// Waits are told apart to an eighth of a power of two.
const fn class_of(wait: u64) -> u32 {
    let wait = if wait < 8 { 8 } else { wait };
    let power = wait.ilog2();
    power * 8 + ((wait >> (power - 3)) & 7) as u32
}

/// No wait of this class is so long.
const fn end_of(class: u32) -> u64 {
    let (power, eighths) = (class / 8, class % 8);
    (9 + eighths as u64).saturating_mul(1 << (power - 3))
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): neighbours have unrelated values.
fn hash(unit: UnitId) -> u64 {
    let file = unit.file();
    let place = unit.segment().map_or(0, |segment| u64::from(segment) + 1).rotate_left(20);
    let mut value = file.counter ^ u64::from(file.incarnation.get()).rotate_left(40) ^ place;
    value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
