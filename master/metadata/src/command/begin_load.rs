//! Asks for a load. A list of paths that is too long for one entry is sent in several; see `extend_load`.

use forebay_types::limits::{LOAD_PATH_BYTES_PER_MESSAGE_MAX, LOAD_PATHS_PER_MESSAGE_MAX};
use forebay_types::{JobProgress, JobState, NamespacePath};
use serde::{Deserialize, Serialize};

use crate::limits::JOBS_ACTIVE_MAX;
use crate::reply::{Rejection, Reply, Success};
use crate::state::{JobCounts, JobKind, JobPaths, JobRecord, Transition, job_key, job_row_key};
use crate::store::StoreError;

/// Makes a job that brings what lies at and below some paths into the cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeginLoad {
    /// The paths, in the order in which they are wanted.
    pub paths: Vec<NamespacePath>,
    /// Whether these are all.
    pub last: bool,
}

impl BeginLoad {
    pub(crate) fn apply(&self, state: &mut Transition<'_, '_>) -> Result<Reply, StoreError> {
        self.apply_as(JobKind::Load, state)
    }

    pub(super) fn apply_as(
        &self,
        kind: JobKind,
        state: &mut Transition<'_, '_>,
    ) -> Result<Reply, StoreError> {
        if let Some(rejection) = too_many(&self.paths) {
            return Ok(Err(rejection));
        }
        let mut counts = JobCounts::read(state.reader())?;
        if counts.active >= JOBS_ACTIVE_MAX {
            let (what, max) = ("jobs that are not over".to_owned(), JOBS_ACTIVE_MAX);
            return Ok(Err(Rejection::TooMany { what, count: counts.active + 1, max }));
        }
        let id = counts.next;
        (counts.next, counts.active) = (id.next(), counts.active + 1);
        let record = JobRecord {
            id,
            kind,
            state: JobState::Pending,
            paths_total: self.paths.len() as u64,
            path_rows: 1,
            is_listed: self.last,
            submitted_at: state.now(),
            touched_at: state.now(),
            started_at: None,
            ended_at: None,
            progress: JobProgress::default(),
            failures_kept: 0,
            reason: None,
        };
        state.write(JobCounts::KEY.to_vec(), &counts);
        state.write(job_key(id), &record);
        state.write(job_row_key(id, 0), &JobPaths { paths: self.paths.clone() });
        state.jobs_changed();
        Ok(Ok(Success::LoadBegun { job: id }))
    }
}

/// Why these are more paths than one entry may carry.
pub(super) fn too_many(paths: &[NamespacePath]) -> Option<Rejection> {
    let bytes: usize = paths
        .iter()
        .map(|path| path.names().iter().map(|name| name.as_bytes().len() + 1).sum::<usize>())
        .sum();
    let over = |what: &str, count: usize, max: usize| {
        (count > max).then(|| Rejection::TooMany {
            what: what.to_owned(),
            count: count as u64,
            max: max as u64,
        })
    };
    over("paths", paths.len(), LOAD_PATHS_PER_MESSAGE_MAX)
        .or_else(|| over("bytes of paths", bytes, LOAD_PATH_BYTES_PER_MESSAGE_MAX))
}
