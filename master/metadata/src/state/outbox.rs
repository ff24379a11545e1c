//! The outbox: what is still to be done to the world because of entries that were applied, oldest first.
//!
//! Rows are written by the entry that makes them necessary and deleted once they are done, in the order of their
//! sequences, which are never used again. Invariants: a row has at least one version and no more than
//! [`OUTBOX_ROW_VERSIONS_MAX`]; all rows together have no more than [`OUTBOX_VERSIONS_MAX`], beyond which the oldest go.

use forebay_types::{FileId, Incarnation, OutboxSequence};
use serde::{Deserialize, Serialize};

use super::record::{Record, read, read_page};
use super::transition::Transition;
use crate::limits::{OUTBOX_ROW_VERSIONS_MAX, OUTBOX_VERSIONS_MAX};
use crate::store::{StateReader, StoreError, Table};

/// One thing to do. Its key is its sequence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxRow {
    /// What it is.
    pub task: Task,
}

/// What is to be done. Doing it twice is as doing it once. **The order is a format.**
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// Workers are to drop what they hold of these versions, which are no file's any more.
    FreeVersions(Vec<FileId>),
}

/// How much waits in the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxCounts {
    /// No row is before this one.
    pub first: OutboxSequence,
    /// The next row's.
    pub next: OutboxSequence,
    /// Rows that wait.
    pub rows: u64,
    /// Versions in them.
    pub versions: u64,
}

impl Record for OutboxRow {
    const TABLE: Table = Table::Outbox;
}

impl Record for OutboxCounts {
    const TABLE: Table = Table::Counters;
}

impl OutboxRow {
    fn versions(&self) -> u64 {
        let Task::FreeVersions(files) = &self.task;
        files.len() as u64
    }
}

impl OutboxCounts {
    pub(crate) const KEY: &'static [u8] = b"outbox";

    /// What is written down; a state of an earlier version has no outbox yet.
    pub(crate) fn read(reader: &dyn StateReader) -> Result<Self, StoreError> {
        let first = OutboxSequence::new(1);
        Ok(read(reader, Self::KEY)?.unwrap_or(Self { first, next: first, rows: 0, versions: 0 }))
    }

    /// The same in another life, whose rows have sequences that no earlier life can have given.
    pub(crate) fn of_life(self, life: Incarnation) -> Self {
        let lowest = OutboxSequence::new(u64::from(life.get()) << SEQUENCES_PER_INCARNATION_BITS);
        Self { next: self.next.max(lowest), ..self }
    }

    /// The last sequence that was given; 0 before the first.
    #[must_use]
    pub const fn last(&self) -> OutboxSequence {
        OutboxSequence::new(self.next.get() - 1)
    }
}

/// A life that writes fewer than 65,536 rows for each second between it and the next stays below that one.
const SEQUENCES_PER_INCARNATION_BITS: u32 = 16;

impl Transition<'_, '_> {
    /// Writes the rows that have `files` freed.
    pub(super) fn have_freed(&mut self, files: &[FileId]) -> Result<(), StoreError> {
        let row = |files: &[FileId]| OutboxRow { task: Task::FreeVersions(files.to_vec()) };
        append(self, files.chunks(OUTBOX_ROW_VERSIONS_MAX).map(row))
    }
}

/// Adds rows, and drops the oldest ones where there are too many.
fn append(state: &mut Transition<'_, '_>, rows: impl Iterator<Item = OutboxRow>) -> Result<(), StoreError> {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    let mut counts = OutboxCounts::read(state.reader())?;
    for row in rows {
        counts.rows += 1;
        counts.versions += row.versions();
        state.write(outbox_key(counts.next), &row);
        counts.next = counts.next.next();
    }
    while counts.versions > OUTBOX_VERSIONS_MAX {
        drop_oldest(state, &mut counts)?;
    }
    state.write(OutboxCounts::KEY.to_vec(), &counts);
    Ok(())
}

/// Deletes rows up to `through`, `limit` at most. How many went, and whether more are left to go.
pub(crate) fn trim(
    state: &mut Transition<'_, '_>,
    through: OutboxSequence,
    limit: usize,
) -> Result<(u32, bool), StoreError> {
    let mut counts = OutboxCounts::read(state.reader())?;
    if counts.rows == 0 || through < counts.first {
        return Ok((0, false));
    }
    let end = outbox_range_after(through, counts.first);
    let page = read_page::<OutboxRow>(
        state.reader(),
        &outbox_key(counts.first),
        end.as_deref(),
        limit.saturating_add(1),
    )?;
    let more = page.len() > limit;
    let mut trimmed = 0;
    for (key, row) in page.into_iter().take(limit) {
        delete(state, &mut counts, key, &row)?;
        trimmed += 1;
    }
    if trimmed > 0 {
        state.write(OutboxCounts::KEY.to_vec(), &counts);
    }
    Ok((trimmed, more))
}

fn drop_oldest(state: &mut Transition<'_, '_>, counts: &mut OutboxCounts) -> Result<(), StoreError> {
    let start = outbox_key(counts.first);
    let page = read_page::<OutboxRow>(state.reader(), &start, None, 1)?;
    let Some((key, row)) = page.into_iter().next() else {
        return Err(StoreError::corrupt(Table::Outbox, &start, "more rows are counted than there are"));
    };
    delete(state, counts, key, &row)
}

fn delete(
    state: &mut Transition<'_, '_>,
    counts: &mut OutboxCounts,
    key: Vec<u8>,
    row: &OutboxRow,
) -> Result<(), StoreError> {
    let wrong = || StoreError::corrupt(Table::Outbox, &key, "it is not counted");
    counts.first = outbox_sequence(&key)?.next();
    counts.rows = counts.rows.checked_sub(1).ok_or_else(wrong)?;
    counts.versions = counts.versions.checked_sub(row.versions()).ok_or_else(wrong)?;
    state.delete(Table::Outbox, key);
    Ok(())
}

/// The key of a row.
pub(crate) fn outbox_key(sequence: OutboxSequence) -> Vec<u8> {
    sequence.get().to_be_bytes().to_vec()
}

/// Where the rows after `after` begin, of which none is before `first`; `None` where there can be none.
pub(crate) fn outbox_range_after(after: OutboxSequence, first: OutboxSequence) -> Option<Vec<u8>> {
    let next = after.get().checked_add(1)?;
    Some(outbox_key(first.max(OutboxSequence::new(next))))
}

/// Reads what [`outbox_key`] wrote.
pub(crate) fn outbox_sequence(key: &[u8]) -> Result<OutboxSequence, StoreError> {
    let sequence = <[u8; 8]>::try_from(key)
        .map_err(|_| StoreError::corrupt(Table::Outbox, key, "a key of other than 8 bytes"))?;
    Ok(OutboxSequence::new(u64::from_be_bytes(sequence)))
}

#[cfg(test)]
mod tests;
