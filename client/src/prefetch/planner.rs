//! Decides what to read ahead: pure, driven by the reads it is told of.
//!
//! A stream is a run of reads of which each begins where the one before ended; a reader may have several. Its second
//! read begins readahead; the window doubles with each window that was read, from 1 MiB to 16 MiB. Law: a stream's
//! readahead never fetches more than was read of it and one window, and reads that follow nothing fetch nothing.

use std::collections::VecDeque;
use std::ops::Range;

use forebay_types::{GRANULE_LENGTH, PAGE_LENGTH};

use crate::limits::{BEHIND_KEPT, PART_LENGTH_MAX, STREAM_IDLE_READS, STREAMS_MAX, WINDOW_MAX, WINDOW_MIN};

/// Names one part within its planner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PartId(u64);

/// A range to be fetched ahead. It lies inside one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlannedPart {
    pub(super) id: PartId,
    pub(super) range: Range<u64>,
}

/// What to do about one read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Parts to begin with now; each was admitted.
    pub(super) fetch: Vec<PlannedPart>,
    /// Parts of no more use.
    pub(super) forget: Vec<PartId>,
    /// The parts that the read is in, without a gap; empty: fetch it by itself.
    pub(super) serve: Vec<PlannedPart>,
}

/// The streams of one reader.
#[derive(Debug)]
pub(super) struct Planner {
    file_length: u64,
    block_length: u64,
    streams: Vec<Stream>,
    next_part: u64,
    reads: u64,
}

#[derive(Debug)]
struct Stream {
    /// Where the farthest read ended.
    position: u64,
    /// 0: a first read that nothing followed yet.
    window: u64,
    /// Bytes read since the window last doubled.
    read_in_window: u64,
    /// Bytes read and fetched since readahead began.
    read: u64,
    fetched: u64,
    /// The number of the last read, for the choice of a stream to forget.
    last_read: u64,
    /// Without gaps between them.
    parts: VecDeque<PlannedPart>,
}

impl Planner {
    /// Knows no stream yet of a file of `file_length` bytes in blocks of `block_length`.
    pub(super) const fn new(file_length: u64, block_length: u64) -> Self {
        Self { file_length, block_length, streams: Vec::new(), next_part: 0, reads: 0 }
    }

    /// Takes note of a read and says what to do. `admit` is asked for room for each part, in order; the first refusal
    /// ends the planning.
    pub(super) fn on_read(
        &mut self,
        range: &Range<u64>,
        mut admit: impl FnMut(&PlannedPart) -> bool,
    ) -> Plan {
        let mut plan = Plan::default();
        self.reads += 1;
        if range.is_empty() || range.end > self.file_length || range.end - range.start > WINDOW_MAX {
            return plan;
        }
        self.forget_idle(&mut plan);
        let Some(at) = self.streams.iter().position(|stream| stream.is_continued_by(range)) else {
            self.begin(range, &mut plan);
            return plan;
        };
        let stream = &mut self.streams[at];
        stream.last_read = self.reads;
        stream.advance(range);
        if stream.planned() < range.start {
            // There was no room for what was read meanwhile.
            plan.forget.extend(stream.parts.drain(..).map(|part| part.id));
        }
        let whole_file = self.file_length;
        while let Some(next) = stream.next_part(range, whole_file, self.block_length) {
            let part = PlannedPart { id: PartId(self.next_part), range: next };
            if !admit(&part) {
                break;
            }
            self.next_part += 1;
            stream.fetched += part.range.end - part.range.start;
            stream.parts.push_back(part.clone());
            plan.fetch.push(part);
        }
        plan.serve = stream.covering(range);
        while let Some(oldest) = stream.parts.front()
            && oldest.range.end + BEHIND_KEPT <= stream.position
            && oldest.range.end <= range.start
        {
            plan.forget.push(oldest.id);
            stream.parts.pop_front();
        }
        plan
    }

    /// Whether the parts of a stream cover a read.
    pub(super) fn covers(&self, range: &Range<u64>) -> bool {
        self.streams.iter().any(|stream| {
            let first = stream.parts.front().map_or(u64::MAX, |part| part.range.start);
            first <= range.start && range.end <= stream.planned()
        })
    }

    /// A part could not be fetched: its stream begins anew. Gives the parts of no more use.
    pub(super) fn on_failure(&mut self, part: PartId) -> Vec<PartId> {
        let has_part = |stream: &Stream| stream.parts.iter().any(|known| known.id == part);
        let Some(at) = self.streams.iter().position(has_part) else { return Vec::new() };
        self.streams.swap_remove(at).parts.into_iter().map(|part| part.id).collect()
    }

    /// Gives back the memory of streams that the reader has left.
    fn forget_idle(&mut self, plan: &mut Plan) {
        let reads = self.reads;
        self.streams.retain_mut(|stream| {
            let is_idle = stream.last_read + STREAM_IDLE_READS < reads;
            if is_idle {
                plan.forget.extend(stream.parts.drain(..).map(|part| part.id));
            }
            !is_idle
        });
    }

    /// A read that follows none: a stream may begin here. The one that was not read for the longest time makes room.
    fn begin(&mut self, range: &Range<u64>, plan: &mut Plan) {
        if self.streams.len() >= STREAMS_MAX {
            let oldest = self.streams.iter().enumerate().min_by_key(|(_, stream)| stream.last_read);
            let (oldest, _) = oldest.expect("the list is full, so it is not empty");
            let forgotten = self.streams.swap_remove(oldest);
            plan.forget.extend(forgotten.parts.into_iter().map(|part| part.id));
        }
        self.streams.push(Stream::first(range, self.reads));
    }
}

impl Stream {
    const fn first(range: &Range<u64>, number: u64) -> Self {
        Self {
            position: range.end,
            window: 0,
            read_in_window: 0,
            read: 0,
            fetched: 0,
            last_read: number,
            parts: VecDeque::new(),
        }
    }

    /// Whether a read begins where the last one ended, or in what is kept of the stream: reads of several threads
    /// overtake each other.
    fn is_continued_by(&self, range: &Range<u64>) -> bool {
        let kept = self.parts.front().map_or(self.position, |part| part.range.start);
        range.start == self.position || (kept <= range.start && range.start < self.planned())
    }

    /// The end of what is fetched, or will be.
    fn planned(&self) -> u64 {
        self.parts.back().map_or(self.position, |part| part.range.end)
    }

    fn advance(&mut self, range: &Range<u64>) {
        let length = range.end - range.start;
        self.position = self.position.max(range.end);
        self.window = self.window.max(WINDOW_MIN);
        self.read += length;
        self.read_in_window += length;
        while self.read_in_window >= self.window {
            self.read_in_window -= self.window;
            self.window = (self.window * 2).min(WINDOW_MAX);
        }
    }

    /// The next range to fetch after a read, if it is time for one.
    fn next_part(&self, range: &Range<u64>, file_length: u64, block_length: u64) -> Option<Range<u64>> {
        // Nothing is kept: begin with the read itself, which is not there yet.
        let begin = if self.parts.is_empty() { range.start } else { self.planned() };
        // What was fetched and not read counts against the window, so that skips slow the stream down.
        let room = (self.read + self.window).saturating_sub(self.fetched);
        let target = (self.position + self.window).min(begin + room).min(file_length).max(range.end);
        let length = (self.window / 4).max(range.end - range.start).clamp(PAGE_LENGTH, PART_LENGTH_MAX);
        let is_needed = begin < range.end;
        let is_worth_it = target.saturating_sub(begin) >= length / 2 || target == file_length;
        if begin >= target || !(is_needed || is_worth_it) {
            return None;
        }
        let block_end = (begin - begin % block_length).saturating_add(block_length);
        let end = (begin + length).min(target).min(block_end);
        let even = end - end % GRANULE_LENGTH;
        // A part that ends with a granule spares the worker a checksum of its own.
        Some(begin..if even > begin && end != file_length { even } else { end })
    }

    /// The parts that a read is in; none if there is a gap.
    fn covering(&self, range: &Range<u64>) -> Vec<PlannedPart> {
        let first = self.parts.front().map_or(u64::MAX, |part| part.range.start);
        if first > range.start || self.planned() < range.end {
            return Vec::new();
        }
        let overlaps = |part: &&PlannedPart| part.range.start < range.end && range.start < part.range.end;
        self.parts.iter().filter(overlaps).cloned().collect()
    }
}

#[cfg(test)]
mod tests;
