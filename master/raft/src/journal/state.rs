//! The rows of a master's state in one order, so that two masters can be compared line by line.

use std::path::Path;

use forebay_metadata::StoreError;
use forebay_metadata::snapshot::{DumpedRow, describe_row, dump};
use forebay_storage::StateView;
use forebay_types::crc32c;

use super::members;
use crate::codec;
use crate::error::RaftError;
use crate::restore::{STATE, newest_state};
use crate::state::{APPLIED_KEY, MEMBERSHIP_KEY};

/// A state that is looked at.
#[derive(Debug)]
pub struct StateJournal {
    state: StateView,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateLine {
    /// Its table.
    pub table: &'static str,
    /// Its key, in hex.
    pub key: String,
    /// The checksum of its value, secrets included, as far as those of rows are.
    pub checksum: u32,
    /// What it says, without secrets; or why it cannot be read.
    pub value: Result<String, String>,
}

impl StateJournal {
    /// Opens the state in a master's folder.
    ///
    /// # Errors
    /// [`RaftError`] when there is none, or none of which anything can be read.
    pub fn open(dir: &Path) -> Result<Self, RaftError> {
        let newest = newest_state(dir)?.unwrap_or_else(|| dir.join(STATE).join("1"));
        Ok(Self { state: StateView::open(&newest)? })
    }

    /// What of it is damaged, where that was seen when it was opened.
    #[must_use]
    pub fn damage(&self) -> Option<String> {
        self.state.damage().map(ToString::to_string)
    }

    /// The last entry that it has, in words.
    ///
    /// # Errors
    /// [`RaftError`] when it cannot be read.
    pub fn applied(&self) -> Result<String, RaftError> {
        let Some(bytes) = self.state.applied(APPLIED_KEY)? else { return Ok("nothing".to_owned()) };
        let id = codec::decode_log_id("the last applied log id", &bytes)?;
        Ok(format!("{} of term {}", id.index, id.leader_id.term))
    }

    /// The membership that was applied last, in words.
    ///
    /// # Errors
    /// [`RaftError`] when it cannot be read.
    pub fn members(&self) -> Result<String, RaftError> {
        let Some(bytes) = self.state.applied(MEMBERSHIP_KEY)? else { return Ok("none".to_owned()) };
        Ok(members(codec::decode_membership(&bytes)?.membership()))
    }

    /// The rows by table and key. A table that cannot be read is an error in its place, and the next one follows.
    pub fn rows(&self) -> impl Iterator<Item = Result<StateLine, StoreError>> + '_ {
        dump(&self.state).map(|row| row.map(|row| line(&row)))
    }
}

fn line(row: &DumpedRow) -> StateLine {
    StateLine {
        table: row.table.name(),
        key: row.key.iter().map(|byte| format!("{byte:02x}")).collect(),
        checksum: crc32c::crc32c(&row.value),
        value: describe_row(row).map_err(|error| error.to_string()),
    }
}
