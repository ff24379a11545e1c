//! Sends more paths of a load that has not begun.

use forebay_types::limits::LOAD_PATHS_MAX;
use forebay_types::{JobId, NamespacePath};
use serde::{Deserialize, Serialize};

use super::begin_load::too_many;
use crate::reply::{Rejection, Reply, Success};
use crate::state::{JobPaths, JobRecord, Transition, job_key, job_row_key};
use crate::store::StoreError;

/// Adds paths at the end of a load's list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtendLoad {
    /// The job.
    pub job: JobId,
    /// How many paths it has without these: a list with a gap would be loaded in part and said to be whole.
    pub paths_before: u64,
    /// The paths, in the order in which they are wanted.
    pub paths: Vec<NamespacePath>,
    /// Whether these are the last ones.
    pub last: bool,
}

impl ExtendLoad {
    pub(crate) fn apply(&self, state: &mut Transition<'_, '_>) -> Result<Reply, StoreError> {
        let job = self.job;
        let Some(mut record) = state.read::<JobRecord>(&job_key(job))? else {
            return Ok(Err(Rejection::JobMissing { job }));
        };
        if record.state.is_over() || record.is_listed {
            return Ok(Err(Rejection::JobNotOpen { job, state: record.state }));
        }
        if record.paths_total != self.paths_before {
            let (expected, found) = (record.paths_total, self.paths_before);
            return Ok(Err(Rejection::PathsOutOfOrder { job, expected, found }));
        }
        let total = record.paths_total + self.paths.len() as u64;
        if total > LOAD_PATHS_MAX {
            let what = "paths of one load".to_owned();
            return Ok(Err(Rejection::TooMany { what, count: total, max: LOAD_PATHS_MAX }));
        }
        if let Some(rejection) = too_many(&self.paths) {
            return Ok(Err(rejection));
        }
        state.write(job_row_key(job, record.path_rows), &JobPaths { paths: self.paths.clone() });
        record.path_rows =
            record.path_rows.checked_add(1).expect("fewer rows than paths, and those are limited");
        record.paths_total = total;
        record.is_listed = self.last;
        record.touched_at = state.now();
        state.write(job_key(job), &record);
        state.jobs_changed();
        Ok(Ok(Success::LoadBegun { job }))
    }
}
