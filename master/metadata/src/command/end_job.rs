//! Ends a job: it succeeded, failed, or somebody cancelled it. Of the jobs that are over, the last ones are kept.

use forebay_types::limits::JOB_PATHS_KEPT_MAX;
use forebay_types::{JobFailure, JobId, JobProgress, JobState, short_reason};
use serde::{Deserialize, Serialize};

use super::advance_job::{drop_failures, keep_failures};
use super::metadata_load::count_directories;
use crate::limits::JOBS_KEPT_MAX;
use crate::reply::{Rejection, Reply, Success};
use crate::state::{JobCounts, JobPaths, JobRecord, Transition, job_key, job_row_key, read_page};
use crate::store::{StoreError, Table};

/// The end of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndJob {
    /// The job.
    pub job: JobId,
    /// One of the states in which a job is over.
    pub state: JobState,
    /// All that was done; `None`: what is written down already.
    pub progress: Option<JobProgress>,
    /// Failures since the last entry.
    pub failures: Vec<JobFailure>,
    /// Why it ended so, where the failures do not say it.
    pub reason: Option<String>,
}

impl EndJob {
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
        if record.state == self.state {
            return Ok(Ok(Success::JobEnded { job }));
        }
        if record.state.is_over() || !self.state.is_over() {
            return Ok(Err(Rejection::JobNotOpen { job, state: record.state }));
        }
        record.state = self.state;
        record.ended_at = Some(state.now());
        record.touched_at = state.now();
        record.progress = self.progress.unwrap_or(record.progress);
        count_directories(&mut record, directories);
        record.reason = self.reason.clone().map(short_reason);
        keep_failures(state, &mut record, &self.failures);
        shorten_paths(state, &mut record)?;
        state.write(job_key(job), &record);
        let mut counts = JobCounts::read(state.reader())?;
        counts.active = counts.active.checked_sub(1).expect("each job that is not over is counted once");
        counts.kept += 1;
        match self.state {
            JobState::Succeeded => counts.succeeded += 1,
            JobState::Failed => counts.failed += 1,
            _ => counts.cancelled += 1,
        }
        if counts.kept > JOBS_KEPT_MAX {
            forget_oldest(state, &mut counts)?;
        }
        state.write(JobCounts::KEY.to_vec(), &counts);
        state.jobs_changed();
        Ok(Ok(Success::JobEnded { job }))
    }
}

/// What a job was to do is kept in short once it is over.
fn shorten_paths(state: &mut Transition<'_, '_>, record: &mut JobRecord) -> Result<(), StoreError> {
    for number in 1..record.path_rows {
        state.delete(Table::JobPaths, job_row_key(record.id, number));
    }
    record.path_rows = 1;
    let key = job_row_key(record.id, 0);
    let mut first: JobPaths = state.read(&key)?.unwrap_or_default();
    if first.paths.len() > JOB_PATHS_KEPT_MAX {
        first.paths.truncate(JOB_PATHS_KEPT_MAX);
        state.write(key, &first);
    }
    Ok(())
}

/// Deletes the job that is over and has the lowest id. Few are not over, so few rows are read.
fn forget_oldest(state: &mut Transition<'_, '_>, counts: &mut JobCounts) -> Result<(), StoreError> {
    let most = usize::try_from(counts.active).unwrap_or(usize::MAX).saturating_add(1);
    let page = read_page::<JobRecord>(state.reader(), &[], None, most)?;
    let Some((key, mut oldest)) = page.into_iter().find(|(_, record)| record.state.is_over()) else {
        return Ok(());
    };
    drop_failures(state, &mut oldest);
    for number in 0..oldest.path_rows {
        state.delete(Table::JobPaths, job_row_key(oldest.id, number));
    }
    state.delete(Table::Jobs, key);
    counts.kept -= 1;
    Ok(())
}
