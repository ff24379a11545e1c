//! Drives an index along a trace as a worker does: each reading is a hold, where the version is complete, or the pages
//! one after the other, in several ranges.

use std::collections::VecDeque;

use forebay_types::{ByteCount, FileId, Incarnation, PAGE_LENGTH, Timestamp};

use super::work::Trace;
use crate::eviction::EvictionPolicy;
use crate::index::{
    Action, Committed, Copied, Demand, HoldDecision, Index, NextMove, Reservation, Slot, TierIndex,
    TierLimits, Wanted,
};
use crate::layout::GenerationKey;
use crate::page::{PageIndex, PageRange};
use crate::settings::TierKind;
use crate::source::IdentityDigest;
use crate::unit::UnitId;

/// Ranges in which a page is read.
const RANGES: u32 = 4;
const HEADER_LENGTH: u64 = 64;
/// What the index file of a version takes, which has few pages.
const INDEX_LENGTH: u64 = 4096;

/// What came of a trace.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    pub(super) read_bytes: u64,
    pub(super) hit_bytes: u64,
    /// The part of them that lay in memory.
    pub(super) memory_bytes: u64,
    /// What was written into the cache, over the whole trace.
    pub(super) filled_bytes: u64,
    /// What was moved to memory and to the disk, over the whole trace, and what was read.
    pub(super) promoted_bytes: u64,
    pub(super) demoted_bytes: u64,
    pub(super) all_read_bytes: u64,
    /// Readings of versions that were complete when they began.
    pub(super) complete: u32,
    pub(super) readings: u32,
}

impl Outcome {
    /// Hits among all bytes that were read.
    #[allow(clippy::cast_precision_loss, reason = "a ratio of two numbers far below 2^52")]
    pub(super) fn ratio(&self) -> f64 {
        self.hit_bytes as f64 / self.read_bytes as f64
    }

    /// Hits in memory among all bytes that were read.
    #[allow(clippy::cast_precision_loss, reason = "a ratio of two numbers far below 2^52")]
    pub(super) fn memory_ratio(&self) -> f64 {
        self.memory_bytes as f64 / self.read_bytes as f64
    }

    /// What was promoted, of all that was read.
    #[allow(clippy::cast_precision_loss, reason = "a ratio of two numbers far below 2^52")]
    pub(super) fn promoted_ratio(&self) -> f64 {
        self.promoted_bytes as f64 / self.all_read_bytes as f64
    }

    /// What was demoted, of all that was read.
    #[allow(clippy::cast_precision_loss, reason = "a ratio of two numbers far below 2^52")]
    pub(super) fn demoted_ratio(&self) -> f64 {
        self.demoted_bytes as f64 / self.all_read_bytes as f64
    }

    /// Readings that the kernel can do by passthrough.
    pub(super) fn complete_ratio(&self) -> f64 {
        f64::from(self.complete) / f64::from(self.readings)
    }
}

/// One reading under way.
struct Reading {
    file: usize,
    next_page: u32,
    held: Option<GenerationKey>,
    is_measured: bool,
}

struct Drive<'a> {
    trace: &'a Trace,
    index: Index,
    outcome: Outcome,
    next: usize,
}

/// What the cache has room for.
pub(super) fn capacity(trace: &Trace) -> u64 {
    let all: u64 = trace.lengths.iter().map(|length| charge(*length)).sum();
    all * trace.cache_percent / 100
}

/// What a whole version takes.
pub(super) fn charge(length: u64) -> u64 {
    length.next_multiple_of(4096) + INDEX_LENGTH
}

/// Reads all of a trace; with `moves`, what the index moves between the tiers is moved at once.
pub(super) fn drive(
    trace: &Trace,
    moves: bool,
    policy: impl Fn(ByteCount) -> Box<dyn EvictionPolicy>,
) -> Outcome {
    let limits = |kind, capacity| TierLimits {
        kind,
        capacity: ByteCount::new(capacity),
        whole_file_max: ByteCount::new(capacity),
        free_bytes_floor: ByteCount::ZERO,
        free_inodes_floor: 0,
    };
    let ram = capacity(trace) * trace.ram_percent / 100;
    let tiers = vec![limits(TierKind::Ram, ram), limits(TierKind::Disk, capacity(trace) - ram)];
    let mut index = Index::with_policies(tiers, u32::MAX, |limits| policy(limits.capacity));
    if moves {
        index.watch_moves();
    }
    let mut drive = Drive { trace, index, outcome: Outcome::default(), next: 0 };
    let mut readings: VecDeque<Reading> = VecDeque::new();
    loop {
        while readings.len() < trace.readers && drive.next < trace.reads.len() {
            let reading = drive.begin();
            readings.push_back(reading);
        }
        let Some(mut reading) = readings.pop_front() else { break };
        if drive.read_page(&mut reading) {
            readings.push_back(reading);
        }
        drive.move_all();
    }
    let used = [0, 1].map(|tier| drive.index.tier_counts(TierIndex(tier)).used);
    assert!(used.iter().sum::<u64>() <= capacity(trace));
    drive.outcome
}

impl Drive<'_> {
    fn begin(&mut self) -> Reading {
        let file = self.trace.reads[self.next];
        let is_measured = self.trace.measured.contains(&self.next);
        self.next += 1;
        let held = match self.index.hold(id(file)) {
            HoldDecision::Granted(held) => Some(held.location.key),
            HoldDecision::Incomplete | HoldDecision::TooMuchHeld => None,
        };
        let is_complete = self.index.presence(id(file)).is_some_and(|presence| presence.is_complete);
        if is_measured {
            self.outcome.readings += 1;
            self.outcome.complete += u32::from(is_complete);
        }
        Reading { file, next_page: 0, held, is_measured }
    }

    /// Whether there are more.
    fn read_page(&mut self, reading: &mut Reading) -> bool {
        let length = self.trace.lengths[reading.file] * self.trace.read_percent / 100;
        let begin = u64::from(reading.next_page) * PAGE_LENGTH;
        let bytes = (length - begin).min(PAGE_LENGTH);
        let page = PageIndex::new(reading.next_page);
        let is_hit = reading.held.is_some() || self.read_ranges(reading.file, page);
        self.outcome.all_read_bytes += bytes;
        if reading.is_measured {
            self.outcome.read_bytes += bytes;
            self.outcome.hit_bytes += if is_hit { bytes } else { 0 };
            let pages = PageRange { first: page, count: 1 };
            let length = ByteCount::new(self.trace.lengths[reading.file]);
            let is_in_memory =
                is_hit && self.index.kind_of(id(reading.file), length, pages) == Some(TierKind::Ram);
            self.outcome.memory_bytes += if is_in_memory { bytes } else { 0 };
        }
        if !is_hit && self.fill(reading.file, page) {
            self.outcome.filled_bytes += bytes;
        }
        reading.next_page += 1;
        let is_over = begin + PAGE_LENGTH >= length;
        if let Some(key) = reading.held.take_if(|_| is_over) {
            self.index.release(key);
        }
        !is_over
    }

    /// Whether the page was here when it was asked for.
    fn read_ranges(&mut self, file: usize, page: PageIndex) -> bool {
        let pages = PageRange { first: page, count: 1 };
        let is_here =
            self.index.lookup(UnitId::whole(id(file)), pages).is_some_and(|found| found.readable == 1);
        if is_here {
            (0..RANGES).for_each(|_| self.index.touch(UnitId::whole(id(file)), page));
        }
        is_here
    }

    /// Whether the page was stored. If so the rest of its ranges is read from the cache, else each of them asks again.
    fn fill(&mut self, file: usize, page: PageIndex) -> bool {
        for range in 0..RANGES {
            let Some(slot) = self.reserve(file, page) else { continue };
            if slot.records.is_none() {
                self.index.created(slot.location.key, 64);
            }
            let committed = self.index.commit(slot.location.key, page, Timestamp::from_nanos(1));
            assert_eq!(committed, Committed::Published);
            (range + 1..RANGES).for_each(|_| self.index.touch(UnitId::whole(id(file)), page));
            return true;
        }
        false
    }

    fn move_all(&mut self) {
        loop {
            match self.index.next_move() {
                NextMove::Copy(of) => {
                    let copied = Copied { records: 64, changed: Timestamp::from_nanos(1) };
                    let (is_moved, action) = self.index.end_move(&of, Some(copied));
                    assert!(is_moved, "nobody is in the way");
                    self.delete(action);
                    let bytes =
                        of.pages.iter().map(|page| (of.length.get() - page.offset().get()).min(PAGE_LENGTH));
                    let bytes: u64 = bytes.sum();
                    self.outcome.promoted_bytes += if of.is_up { bytes } else { 0 };
                    self.outcome.demoted_bytes += if of.is_up { 0 } else { bytes };
                }
                NextMove::First(actions) => self.delete(actions),
                NextMove::Nothing => return,
            }
        }
    }

    fn delete(&mut self, actions: impl IntoIterator<Item = Action>) {
        for action in actions {
            let Action::Remove(location, _) = action else { panic!("nothing is corrupt") };
            self.index.removed(location.key);
        }
    }

    fn reserve(&mut self, file: usize, page: PageIndex) -> Option<Slot> {
        let wanted = Wanted {
            file: id(file),
            identity: IdentityDigest::from_number(0),
            length: ByteCount::new(self.trace.lengths[file]),
            header_length: HEADER_LENGTH,
            demand: Demand::Read,
        };
        loop {
            match self.index.reserve(&wanted, page) {
                Reservation::Granted(slot) => return Some(slot),
                Reservation::First(actions) => self.delete(actions),
                _ => return None,
            }
        }
    }
}

fn id(file: usize) -> FileId {
    FileId { incarnation: Incarnation::new(1), counter: file as u64 }
}
