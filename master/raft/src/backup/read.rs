//! Reads a backup, block by block; each byte is checked before it is believed.

use std::io::{self, Read};

use forebay_metadata::Table;
use forebay_metadata::snapshot::{DumpedRow, check_row};
use forebay_types::crc32c;
use serde::de::DeserializeOwned;

use super::{
    BLOCK_HEADER_LENGTH, BackupDescription, BackupError, BackupPlace, BlockKind, EndBody, MAGIC,
    PREFIX_LENGTH, RowsBody, VERSION, checksum,
};
use crate::limits::BACKUP_BLOCK_LENGTH_MAX;

/// A backup that is being read.
#[derive(Debug)]
pub struct BackupReader<R> {
    source: R,
    description: BackupDescription,
    number: u64,
    offset: u64,
    rows: u64,
    is_over: bool,
}

/// What a backup turned out to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupSummary {
    /// What it is of.
    pub description: BackupDescription,
    /// Its rows.
    pub rows: u64,
    /// Its length in bytes.
    pub length: u64,
}

impl<R: Read> BackupReader<R> {
    /// Reads the beginning.
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn open(mut source: R) -> Result<Self, BackupError> {
        let mut prefix = [0; PREFIX_LENGTH];
        match source.read_exact(&mut prefix) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(BackupError::Foreign),
            other => other?,
        }
        if !prefix.starts_with(&MAGIC) {
            return Err(BackupError::Foreign);
        }
        let number = |at: usize| prefix[at..].first_chunk().copied().map(u32::from_le_bytes);
        let place = BackupPlace { block: 0, offset: 0 };
        if number(12) != Some(crc32c::crc32c(&prefix[..12])) {
            let problem = "its first bytes do not have their checksum".to_owned();
            return Err(BackupError::Damaged { place, problem });
        }
        match number(8) {
            Some(VERSION) => {}
            found => return Err(BackupError::Newer { found: found.unwrap_or(0) }),
        }
        let mut reader = Blocks { source, number: 0, offset: PREFIX_LENGTH as u64 };
        let (kind, body, place) = reader.next()?;
        if kind != BlockKind::Description {
            return Err(damaged(place, "the description is missing"));
        }
        let description = decode(&body, place)?;
        let Blocks { source, number, offset } = reader;
        Ok(Self { source, description, number, offset, rows: 0, is_over: false })
    }

    /// What it is of.
    pub const fn description(&self) -> &BackupDescription {
        &self.description
    }

    /// The next rows, none at the end, which is only told of a backup that is whole. Each is one that this version can
    /// read.
    ///
    /// # Errors
    /// [`BackupError`]; the backup is then of no use.
    pub fn next_rows(&mut self) -> Result<Vec<DumpedRow>, BackupError> {
        if self.is_over {
            return Ok(Vec::new());
        }
        let mut blocks = Blocks { source: &mut self.source, number: self.number, offset: self.offset };
        let (kind, body, place) = blocks.next()?;
        (self.number, self.offset) = (blocks.number, blocks.offset);
        match kind {
            BlockKind::Description => Err(damaged(place, "a second description")),
            BlockKind::Rows => {
                let RowsBody { table, rows } = decode(&body, place.clone())?;
                let known = Table::ALL.into_iter().find(|known| known.name() == table);
                let Some(table) = known else {
                    return Err(damaged(
                        place,
                        &format!("nothing is known of the table `{}`", table.escape_debug()),
                    ));
                };
                self.rows += rows.len() as u64;
                let rows = rows.into_iter().map(|(key, value)| {
                    let row = DumpedRow { table, key, value };
                    check_row(&row).map_err(|source| BackupError::Row { place: place.clone(), source })?;
                    Ok(row)
                });
                let rows: Vec<_> = rows.collect::<Result<_, BackupError>>()?;
                if rows.is_empty() { Err(damaged(place, "a block without rows")) } else { Ok(rows) }
            }
            BlockKind::End => {
                let EndBody { rows } = decode(&body, place.clone())?;
                if rows != self.rows {
                    return Err(damaged(place, &format!("it should have {rows} rows and has {}", self.rows)));
                }
                if self.source.read(&mut [0])? != 0 {
                    let place = BackupPlace { block: self.number, offset: self.offset };
                    return Err(damaged(place, "bytes follow its end"));
                }
                self.is_over = true;
                Ok(Vec::new())
            }
        }
    }

    /// Reads all of it, and says what it has.
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn check(mut self) -> Result<BackupSummary, BackupError> {
        while !self.next_rows()?.is_empty() {}
        Ok(BackupSummary { description: self.description, rows: self.rows, length: self.offset })
    }
}

/// Where reading has come to.
struct Blocks<R> {
    source: R,
    number: u64,
    offset: u64,
}

impl<R: Read> Blocks<R> {
    fn next(&mut self) -> Result<(BlockKind, Vec<u8>, BackupPlace), BackupError> {
        let place = BackupPlace { block: self.number, offset: self.offset };
        let mut header = [0; BLOCK_HEADER_LENGTH];
        self.fill(&mut header, &place)?;
        let [kind, length @ ..] = header;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        let Some(kind) = BlockKind::of(kind).filter(|_| length <= BACKUP_BLOCK_LENGTH_MAX) else {
            return Err(damaged(place, "no block begins here"));
        };
        let mut body = vec![0; length];
        self.fill(&mut body, &place)?;
        let mut sum = [0; 4];
        self.fill(&mut sum, &place)?;
        if u32::from_le_bytes(sum) != checksum(self.number, &header, &body) {
            return Err(damaged(place, "it does not have its checksum"));
        }
        self.number += 1;
        self.offset += (header.len() + body.len() + sum.len()) as u64;
        Ok((kind, body, place))
    }

    fn fill(&mut self, buffer: &mut [u8], place: &BackupPlace) -> Result<(), BackupError> {
        match self.source.read_exact(buffer) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(damaged(place.clone(), "it ends too early"))
            }
            other => Ok(other?),
        }
    }
}

fn decode<T: DeserializeOwned>(body: &[u8], place: BackupPlace) -> Result<T, BackupError> {
    postcard::from_bytes(body).map_err(|error| damaged(place, &format!("it makes no sense: {error}")))
}

fn damaged(place: BackupPlace, problem: &str) -> BackupError {
    BackupError::Damaged { place, problem: problem.to_owned() }
}
