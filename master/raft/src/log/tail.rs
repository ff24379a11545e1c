//! The end of the log in memory: what is not synced yet, and as much of the rest as the limits allow.
//!
//! Knows where the log begins and ends, so nobody asks the disk for that. Invariant: the entries follow each other.

use std::collections::VecDeque;
use std::ops::Range;

use crate::error::RaftError;
use crate::limits::{TAIL_ENTRIES_MAX, TAIL_LENGTH_MAX};
use crate::types::{LogId, RaftEntry};
use openraft::EntryPayload;

#[derive(Debug)]
pub(super) struct Tail {
    /// The first index of the log, in the store or in memory.
    first: u64,
    purged: Option<LogId>,
    last: Option<LogId>,
    entries: VecDeque<RaftEntry>,
    /// Bytes of the proposals of `entries`.
    length: usize,
    /// Entries before this index are synced.
    synced: u64,
}

/// What a read finds in memory, and what it must look for in the store, which comes before it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) stored: Range<u64>,
    pub(super) entries: Vec<RaftEntry>,
}

impl Tail {
    /// Of a log in which nothing is in memory yet.
    pub(super) fn new(purged: Option<LogId>, first: u64, last: Option<LogId>) -> Self {
        let synced = next(last);
        Self { first, purged, last, entries: VecDeque::new(), length: 0, synced }
    }

    /// The first index of the log.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The last log id that was forgotten.
    pub(super) fn purged(&self) -> Option<LogId> {
        self.purged
    }

    /// The last log id.
    pub(super) fn last(&self) -> Option<LogId> {
        self.last
    }

    /// Takes entries that are being written.
    pub(super) fn push_all(&mut self, entries: &[RaftEntry]) -> Result<(), RaftError> {
        for entry in entries {
            match self.last {
                Some(last) if entry.log_id.index != last.index + 1 => {
                    let problem =
                        format_args!("the entry {} was to follow {}", entry.log_id.index, last.index);
                    return Err(RaftError::corrupt("the log", problem));
                }
                Some(_) => {}
                // The very first entry of a log may have any index.
                None => self.first = entry.log_id.index,
            }
            self.last = Some(entry.log_id);
            self.length += length(entry);
            self.entries.push_back(entry.clone());
        }
        Ok(())
    }

    /// Entries up to `last` are synced, so memory may forget them.
    pub(super) fn synced(&mut self, last: u64) {
        self.synced = self.synced.max(last + 1);
        while self.entries.len() > TAIL_ENTRIES_MAX || self.length > TAIL_LENGTH_MAX {
            match self.entries.front() {
                Some(entry) if entry.log_id.index < self.synced => self.pop_front(),
                _ => break,
            }
        }
    }

    /// Forgets what comes after `last`.
    pub(super) fn truncate(&mut self, last: Option<LogId>) {
        let end = next(last);
        if next(self.last) <= end {
            return;
        }
        while let Some(entry) = self.entries.back()
            && entry.log_id.index >= end
        {
            self.length -= length(entry);
            self.entries.pop_back();
        }
        self.synced = self.synced.min(end);
        self.last = last.or(self.purged);
    }

    /// Forgets what comes before `upto`, and that itself.
    pub(super) fn purge(&mut self, upto: LogId) {
        while let Some(entry) = self.entries.front()
            && entry.log_id.index <= upto.index
        {
            self.pop_front();
        }
        self.first = self.first.max(upto.index + 1);
        self.purged = self.purged.max(Some(upto));
        self.last = self.last.max(Some(upto));
        self.synced = self.synced.max(upto.index + 1);
    }

    /// Where the entries of `range` are, of which at most `entries_max` and, but for the first, `bytes_max` are wanted.
    pub(super) fn read(&self, range: Range<u64>, entries_max: u64, bytes_max: usize) -> Found {
        let start = range.start.max(self.first);
        let end = range.end.min(next(self.last)).min(start.saturating_add(entries_max));
        if start >= end {
            return Found { stored: 0..0, entries: Vec::new() };
        }
        let first = self.entries.front().map_or(end, |entry| entry.log_id.index);
        let (mut entries, mut bytes) = (Vec::new(), 0_usize);
        let skipped = usize::try_from(start.saturating_sub(first)).unwrap_or(usize::MAX);
        for entry in self.entries.iter().skip(skipped).take_while(|entry| entry.log_id.index < end) {
            bytes = bytes.saturating_add(length(entry));
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        Found { stored: start..end.min(first).max(start), entries }
    }

    fn pop_front(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.length -= length(&entry);
        }
    }
}

fn next(id: Option<LogId>) -> u64 {
    id.map_or(0, |id| id.index + 1)
}

fn length(entry: &RaftEntry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(batch) => batch.length(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}
