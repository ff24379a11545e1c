//! The change log: which versions changed since a reader last looked, so that a heartbeat need not list everything.
//!
//! Each version stands in it once, at its latest change, so filling a large file page by page costs one place.

use std::collections::BTreeMap;

use forebay_types::{ByteCount, FileId};

use crate::limits::CHANGES_MAX;

/// The state of one version, as a listing or a change shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachedVersion {
    /// The version.
    pub file: FileId,
    /// How many of its bytes are here.
    pub cached: ByteCount,
    /// Whether all of it is here.
    pub is_complete: bool,
}

/// How far a reader has read. Valid within one life of the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangeCursor(u64);

/// What changed after a cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    /// The state that these versions are in now, and where to go on. No bytes: the version left. When `more` is set,
    /// ask again at once.
    Since {
        /// The versions, the earliest change first.
        versions: Vec<CachedVersion>,
        /// Where to go on.
        next: ChangeCursor,
        /// Whether there was more than fits one answer.
        more: bool,
    },
    /// The log no longer reaches back to the cursor: take a new cursor, list everything, go on from the cursor.
    TooOld,
}

#[derive(Debug, Default)]
pub(super) struct ChangeLog {
    last: u64,
    /// Changes up to this one are forgotten.
    forgotten: u64,
    by_sequence: BTreeMap<u64, FileId>,
    latest: BTreeMap<FileId, u64>,
}

impl ChangeLog {
    pub(super) fn record(&mut self, file: FileId) {
        self.last += 1;
        if let Some(earlier) = self.latest.insert(file, self.last) {
            self.by_sequence.remove(&earlier);
        }
        self.by_sequence.insert(self.last, file);
        if self.by_sequence.len() > CHANGES_MAX
            && let Some((sequence, oldest)) = self.by_sequence.pop_first()
        {
            self.latest.remove(&oldest);
            self.forgotten = sequence;
        }
    }

    pub(super) const fn cursor(&self) -> ChangeCursor {
        ChangeCursor(self.last)
    }

    /// The files changed after `cursor`, at most `max`, each with where to go on; `None` when it is too old.
    pub(super) fn since(&self, cursor: ChangeCursor, max: usize) -> Option<Vec<(FileId, ChangeCursor)>> {
        if cursor.0 < self.forgotten {
            return None;
        }
        let later = self.by_sequence.range(cursor.0.saturating_add(1)..);
        Some(later.take(max).map(|(sequence, file)| (*file, ChangeCursor(*sequence))).collect())
    }
}

#[cfg(test)]
mod tests {
    use forebay_types::Incarnation;

    use super::*;

    fn file(counter: u64) -> FileId {
        FileId { incarnation: Incarnation::new(1), counter }
    }

    #[test]
    fn a_version_stands_in_the_log_once_at_its_latest_change() {
        let mut log = ChangeLog::default();
        let begin = log.cursor();
        [1, 2, 1].into_iter().for_each(|counter| log.record(file(counter)));
        let files = |cursor| {
            log.since(cursor, 10).map(|all| all.into_iter().map(|(file, _)| file).collect::<Vec<_>>())
        };
        assert_eq!(files(begin), Some(vec![file(2), file(1)]));
        assert_eq!(files(log.cursor()), Some(vec![]));
    }

    #[test]
    fn who_fell_too_far_behind_is_told_so() {
        let mut log = ChangeLog::default();
        let begin = log.cursor();
        (0..=CHANGES_MAX as u64).for_each(|counter| log.record(file(counter)));
        assert_eq!(log.since(begin, 1), None);
        assert_eq!(log.since(ChangeCursor(1), 1), Some(vec![(file(1), ChangeCursor(2))]));
    }
}
