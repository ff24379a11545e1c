//! Writes down how far a job is, so that it can be told after a restart.

use forebay_types::limits::JOB_FAILURES_KEPT_MAX;
use forebay_types::{JobFailure, JobId, JobProgress, JobState};
use serde::{Deserialize, Serialize};

use super::metadata_load::count_directories;
use crate::reply::{Rejection, Reply, Success};
use crate::state::{JobRecord, KeptFailure, Transition, job_key, job_row_key};
use crate::store::{StoreError, Table};

/// Progress of a job that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdvanceJob {
    /// The job.
    pub job: JobId,
    /// Its work begins, or begins anew: what was counted and kept before is void.
    pub begins: bool,
    /// All that was done since.
    pub progress: JobProgress,
    /// Failures since the last entry; those beyond what is kept are dropped.
    pub failures: Vec<JobFailure>,
}

impl AdvanceJob {
    pub(crate) fn apply(&self, state: &mut Transition<'_, '_>) -> Result<Reply, StoreError> {
        self.apply_counting(None, state)
    }

    /// The same, with the directories that a load of metadata has gone through.
    pub(super) fn apply_counting(
        &self,
        directories: Option<u64>,
        state: &mut Transition<'_, '_>,
    ) -> Result<Reply, StoreError> {
        let job = self.job;
        let Some(mut record) = state.read::<JobRecord>(&job_key(job))? else {
            return Ok(Err(Rejection::JobMissing { job }));
        };
        if record.state.is_over() || !record.is_listed {
            return Ok(Err(Rejection::JobNotOpen { job, state: record.state }));
        }
        if self.begins {
            drop_failures(state, &mut record);
        }
        record.state = JobState::Running;
        record.started_at = record.started_at.or(Some(state.now()));
        record.progress = self.progress;
        count_directories(&mut record, directories);
        record.touched_at = state.now();
        keep_failures(state, &mut record, &self.failures);
        state.write(job_key(job), &record);
        Ok(Ok(Success::JobAdvanced { job }))
    }
}

/// Keeps failures as far as there is room for them; the caller writes the record.
pub(super) fn keep_failures(state: &mut Transition<'_, '_>, record: &mut JobRecord, failures: &[JobFailure]) {
    for failure in failures {
        if record.failures_kept as usize >= JOB_FAILURES_KEPT_MAX {
            return;
        }
        // What is kept of a reason is bounded, whoever sent it.
        let failure = JobFailure::new(failure.path.clone(), failure.reason.clone());
        state.write(job_row_key(record.id, record.failures_kept), &KeptFailure { failure });
        record.failures_kept += 1;
    }
}

/// Deletes what is kept of failures; the caller writes the record.
pub(super) fn drop_failures(state: &mut Transition<'_, '_>, record: &mut JobRecord) {
    for number in 0..record.failures_kept {
        state.delete(Table::JobFailures, job_row_key(record.id, number));
    }
    record.failures_kept = 0;
}
