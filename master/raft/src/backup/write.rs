//! Makes a backup's blocks from a moment of the state.

use std::iter::Peekable;

use forebay_metadata::snapshot::{DumpedRow, backup_rows};
use forebay_metadata::{StateReader, StoreError, Table, query};
use forebay_types::{Timestamp, crc32c};
use serde::Serialize;

use super::{BackupDescription, BlockKind, EndBody, MAGIC, RowsBody, VERSION, checksum};
use crate::error::RaftError;
use crate::limits::BACKUP_BLOCK_LENGTH;
use crate::state::StateMoment;

type Rows<'m> = Box<dyn Iterator<Item = Result<DumpedRow, StoreError>> + 'm>;

/// The bytes of a backup, in pieces of about [`BACKUP_BLOCK_LENGTH`].
pub struct BackupBlocks<'m> {
    description: BackupDescription,
    rows: Peekable<Rows<'m>>,
    next: Next,
    number: u64,
    count: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Begin,
    Rows,
    Nothing,
}

impl<'m> BackupBlocks<'m> {
    /// A backup of this moment, taken at `now` by this release.
    ///
    /// # Errors
    /// [`RaftError`] when the state cannot be read or was never formatted.
    pub fn new(moment: &'m StateMoment<'_>, now: Timestamp, release: &str) -> Result<Self, RaftError> {
        let identity = query::identity(moment)?.ok_or_else(|| RaftError::Unavailable {
            reason: "this master has no namespace yet".to_owned(),
        })?;
        let description = BackupDescription {
            cluster: identity.cluster,
            incarnation: identity.incarnation,
            index: moment.last_applied()?,
            taken_at: now,
            release: release.to_owned(),
        };
        Ok(Self::of(description, moment))
    }

    pub(super) fn of(description: BackupDescription, reader: &'m dyn StateReader) -> Self {
        let rows: Rows<'m> = Box::new(backup_rows(reader));
        Self { description, rows: rows.peekable(), next: Next::Begin, number: 0, count: 0 }
    }

    fn begin(&mut self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        let description = self.description.clone();
        bytes.extend(self.block(BlockKind::Description, &description));
        bytes
    }

    /// The next rows of one table, or the end.
    fn go_on(&mut self) -> Result<Vec<u8>, StoreError> {
        let mut table: Option<Table> = None;
        let (mut rows, mut length) = (Vec::new(), 0);
        while length < BACKUP_BLOCK_LENGTH {
            let is_next = |row: &Result<DumpedRow, _>| {
                row.as_ref().map_or(true, |row| table.is_none_or(|of| of == row.table))
            };
            let Some(row) = self.rows.next_if(is_next) else { break };
            let row = row?;
            table = Some(row.table);
            length += row.key.len() + row.value.len();
            rows.push((row.key, row.value));
        }
        self.count += rows.len() as u64;
        if let Some(table) = table {
            return Ok(self.block(BlockKind::Rows, &RowsBody { table: table.name().to_owned(), rows }));
        }
        self.next = Next::Nothing;
        Ok(self.block(BlockKind::End, &EndBody { rows: self.count }))
    }

    fn block(&mut self, kind: BlockKind, body: &impl Serialize) -> Vec<u8> {
        let body = postcard::to_stdvec(body).expect("bodies are plain data, and a vector has room for them");
        let length = u32::try_from(body.len()).expect("a block has few rows, each shorter than a proposal");
        let mut bytes = vec![kind as u8];
        bytes.extend_from_slice(&length.to_le_bytes());
        let sum = checksum(self.number, &bytes, &body);
        bytes.extend_from_slice(&body);
        bytes.extend_from_slice(&sum.to_le_bytes());
        self.number += 1;
        bytes
    }
}

impl Iterator for BackupBlocks<'_> {
    type Item = Result<Vec<u8>, StoreError>;

    /// Ends after the first error.
    fn next(&mut self) -> Option<Self::Item> {
        match self.next {
            Next::Begin => {
                self.next = Next::Rows;
                Some(Ok(self.begin()))
            }
            Next::Rows => {
                let block = self.go_on();
                if block.is_err() {
                    self.next = Next::Nothing;
                }
                Some(block)
            }
            Next::Nothing => None,
        }
    }
}

impl std::fmt::Debug for BackupBlocks<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackupBlocks").field("number", &self.number).finish_non_exhaustive()
    }
}
