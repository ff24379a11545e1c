//! Jobs: what each is to do, how far it is, and what it gave up.
//!
//! A job has one row of its own, one for each message of its paths, and one for each failure that is kept, so that
//! progress writes little however long the list of paths is.

use forebay_types::{JobFailure, JobId, JobProgress, JobState, NamespacePath, Timestamp};
use serde::{Deserialize, Serialize};

use super::record::{Record, read};
use crate::store::{StateReader, StoreError, Table};

/// One job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Its id, never used again.
    pub id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// How far it is.
    pub state: JobState,
    /// How many paths it has.
    pub paths_total: u64,
    /// In how many rows they lie.
    pub path_rows: u32,
    /// Whether all of its paths are here; before that it cannot begin.
    pub is_listed: bool,
    /// When it was asked for.
    pub submitted_at: Timestamp,
    /// When it last heard of whoever asked for it or works on it.
    pub touched_at: Timestamp,
    /// When work on it began for the first time.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// What was done since it was begun or begun anew.
    pub progress: JobProgress,
    /// How many failures are kept.
    pub failures_kept: u32,
    /// Why the job as a whole ended as it did, where the failures do not say it.
    pub reason: Option<String>,
}

/// What a job does. **The order is a format.**
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobKind {
    /// Brings files into the cache.
    Load,
    /// Has names and attributes known, and brings no data.
    MetadataLoad {
        /// Directories that were gone through since it was begun or begun anew.
        directories_done: u64,
    },
}

/// The paths that came in one message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobPaths {
    pub(crate) paths: Vec<NamespacePath>,
}

/// One failure that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptFailure {
    pub(crate) failure: JobFailure,
}

/// How many jobs there are and were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobCounts {
    /// The next job's id.
    pub next: JobId,
    /// Jobs that are not over.
    pub active: u64,
    /// Jobs that are over and still known.
    pub kept: u64,
    /// Jobs that ever succeeded.
    pub succeeded: u64,
    /// Jobs that ever failed.
    pub failed: u64,
    /// Jobs that were ever cancelled.
    pub cancelled: u64,
}

impl Record for JobRecord {
    const TABLE: Table = Table::Jobs;
}

impl Record for JobPaths {
    const TABLE: Table = Table::JobPaths;
}

impl Record for KeptFailure {
    const TABLE: Table = Table::JobFailures;
}

impl Record for JobCounts {
    const TABLE: Table = Table::Counters;
}

impl JobCounts {
    pub(crate) const KEY: &'static [u8] = b"jobs";

    pub(crate) fn read(reader: &dyn StateReader) -> Result<Self, StoreError> {
        Ok(read(reader, Self::KEY)?.unwrap_or(Self {
            next: JobId::new(1),
            active: 0,
            kept: 0,
            succeeded: 0,
            failed: 0,
            cancelled: 0,
        }))
    }
}

/// The key of a job's own row.
pub(crate) fn job_key(job: JobId) -> Vec<u8> {
    job.get().to_be_bytes().to_vec()
}

/// The key of one of a job's rows of paths or failures, counted from 0.
pub(crate) fn job_row_key(job: JobId, number: u32) -> Vec<u8> {
    let mut key = job_key(job);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// Reads what [`job_key`] wrote.
pub(crate) fn job_id(table: Table, key: &[u8]) -> Result<JobId, StoreError> {
    let id = <[u8; 8]>::try_from(key)
        .map_err(|_| StoreError::corrupt(table, key, "a key of other than 8 bytes"))?;
    Ok(JobId::new(u64::from_be_bytes(id)))
}

/// Reads what [`job_row_key`] wrote.
pub(crate) fn job_row(table: Table, key: &[u8]) -> Result<(JobId, u32), StoreError> {
    let wrong = || StoreError::corrupt(table, key, "a key of other than 12 bytes");
    let (job, number) = key.split_first_chunk::<8>().ok_or_else(wrong)?;
    let number = <[u8; 4]>::try_from(number).map_err(|_| wrong())?;
    Ok((JobId::new(u64::from_be_bytes(*job)), u32::from_be_bytes(number)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::record::{decode_record, encode_record};

    fn record(kind: JobKind) -> JobRecord {
        let progress = JobProgress {
            files_total: 1,
            files_done: 2,
            files_failed: 3,
            files_changed: 4,
            bytes_total: 5,
            bytes_done: 6,
            under_store_bytes: 7,
        };
        JobRecord {
            id: JobId::new(300),
            kind,
            state: JobState::Running,
            paths_total: 8,
            path_rows: 9,
            is_listed: true,
            submitted_at: Timestamp::from_nanos(1),
            touched_at: Timestamp::from_nanos(2),
            started_at: Some(Timestamp::from_nanos(3)),
            ended_at: None,
            progress,
            failures_kept: 10,
            reason: Some("r".to_owned()),
        }
    }

    #[test]
    fn the_bytes_of_a_job_are_a_format_and_never_change() {
        let pinned = [
            (JobKind::Load, "01ac0200010809010204010600010203040506070a010172"),
            (
                JobKind::MetadataLoad { directories_done: 300 },
                "01ac0201ac02010809010204010600010203040506070a010172",
            ),
        ];
        for (kind, pinned) in pinned {
            let bytes = encode_record(&record(kind));
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, pinned, "{kind:?}");
            assert_eq!(decode_record::<JobRecord>(b"", &bytes).expect("readable"), record(kind));
        }
    }
}
