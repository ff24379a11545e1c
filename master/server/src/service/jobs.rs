//! `forebay.v1.Jobs`: loads are asked for, looked at and ended.

use std::sync::Arc;

use forebay_jobs::limits::PATHS_AHEAD_MAX;
use forebay_metadata::{
    BeginLoad, BeginMetadataLoad, Command, EndJob, ExtendLoad, JobKind, JobRecord, Rejection, StateReader,
    Success, query,
};
use forebay_proto::v1;
use forebay_types::limits::{JOB_PATHS_KEPT_MAX, LISTING_PAGE_MAX, LOAD_PATHS_PER_MESSAGE_MAX};
use forebay_types::{EntryKind, ErrorKind, JobId, JobState, NamespacePath};
use futures::{StreamExt, TryStreamExt, stream};
use tonic::{Request, Response, Status};

use super::{path, stamp};
use crate::answer_room::{AnswerRoom, failure_length, job_length};
use crate::error::MasterError;
use crate::jobs::{PathLookup, end_command};
use crate::limits;
use crate::shared::Shared;

/// The service.
#[derive(Debug)]
pub(crate) struct JobsService(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl v1::jobs_server::Jobs for JobsService {
    async fn submit_load(
        &self,
        request: Request<v1::SubmitLoadRequest>,
    ) -> Result<Response<v1::SubmitLoadResponse>, Status> {
        self.submit(request.into_inner(), Command::BeginLoad).await
    }

    async fn submit_metadata_load(
        &self,
        request: Request<v1::SubmitLoadRequest>,
    ) -> Result<Response<v1::SubmitLoadResponse>, Status> {
        let begin = |load| Command::BeginMetadataLoad(BeginMetadataLoad { load });
        self.submit(request.into_inner(), begin).await
    }

    async fn get_job(
        &self,
        request: Request<v1::GetJobRequest>,
    ) -> Result<Response<v1::GetJobResponse>, Status> {
        let v1::GetJobRequest { job, failures_before, .. } = request.into_inner();
        let (job, more_failures) = self.job(JobId::new(job), failures_before).await?;
        Ok(Response::new(v1::GetJobResponse { job: Some(job), more_failures }))
    }

    async fn list_jobs(
        &self,
        request: Request<v1::ListJobsRequest>,
    ) -> Result<Response<v1::ListJobsResponse>, Status> {
        let before = match request.into_inner().before {
            0 => u64::MAX,
            before => before,
        };
        let page = |state: &dyn StateReader| {
            let (mut jobs, mut room) = (Vec::new(), AnswerRoom::new());
            let records = query::jobs(state)?.into_iter().rev();
            for record in records.filter(|record| record.id.get() < before) {
                let mut paths = query::job_paths(state, record.id, 0)?.unwrap_or_default();
                paths.truncate(limits::JOB_PATHS_LISTED_MAX);
                let job = self.describe(record, &paths);
                if jobs.len() >= LISTING_PAGE_MAX || !room.admits(job_length(&job)) {
                    return Ok((jobs, true));
                }
                jobs.push(job);
            }
            Ok((jobs, false))
        };
        let (jobs, more) = self.0.query(page).await?;
        Ok(Response::new(v1::ListJobsResponse { jobs, more }))
    }

    async fn cancel_job(
        &self,
        request: Request<v1::CancelJobRequest>,
    ) -> Result<Response<v1::CancelJobResponse>, Status> {
        let request = request.into_inner();
        let (job, stamp) = (JobId::new(request.job), stamp(request.header)?);
        let figures = self.0.jobs.figures(job);
        let progress = figures.map(|figures| figures.progress);
        let end = EndJob { job, state: JobState::Cancelled, progress, failures: Vec::new(), reason: None };
        let command = end_command(end, figures.and_then(|figures| figures.directories_done));
        self.0.propose(Some(stamp), command).await?;
        self.0.jobs.stop(job);
        let (job, more_failures) = self.job(job, 0).await?;
        Ok(Response::new(v1::CancelJobResponse { job: Some(job), more_failures }))
    }
}

impl JobsService {
    /// Begins a load, or goes on with the list of its paths, or only looks at them.
    async fn submit(
        &self,
        request: v1::SubmitLoadRequest,
        begin: impl Fn(BeginLoad) -> Command + Send,
    ) -> Result<Response<v1::SubmitLoadResponse>, Status> {
        let v1::SubmitLoadRequest { header, job, paths_before, paths, last, check_only } = request;
        if paths.len() > LOAD_PATHS_PER_MESSAGE_MAX {
            let message = format!("one request has at most {LOAD_PATHS_PER_MESSAGE_MAX} paths; send several");
            return Err(MasterError::Invalid(message).into());
        }
        let paths = paths.iter().map(|bytes| path(bytes)).collect::<Result<Vec<_>, _>>()?;
        if check_only || job == 0 && last {
            let defects = self.defects(&paths).await?;
            if check_only || !defects.is_empty() {
                return Ok(Response::new(v1::SubmitLoadResponse { job: 0, defects }));
            }
        }
        let command = match job {
            0 => begin(BeginLoad { paths, last }),
            job => Command::ExtendLoad(ExtendLoad { job: JobId::new(job), paths_before, paths, last }),
        };
        match self.0.propose(Some(stamp(header)?), command).await? {
            Success::LoadBegun { job } => {
                Ok(Response::new(v1::SubmitLoadResponse { job: job.get(), defects: Vec::new() }))
            }
            _ => Err(MasterError::WrongAnswer("load").into()),
        }
    }

    /// The first of the paths that cannot be loaded. An under-store that is down is no defect of a path.
    async fn defects(&self, paths: &[NamespacePath]) -> Result<Vec<v1::PathDefect>, MasterError> {
        let lookup = PathLookup::default();
        let look = |(index, path): (usize, &NamespacePath)| {
            let (lookup, path) = (&lookup, path.clone());
            async move {
                let (kind, reason) = match lookup.find(&self.0, &path).await {
                    Ok(entry) if entry.kind == EntryKind::Symlink => {
                        let reason = format!("{path} is a symbolic link; name what it points to");
                        (ErrorKind::InvalidArgument, reason)
                    }
                    Ok(_) => return Ok(None),
                    Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                        (error.kind(), error.to_string())
                    }
                    Err(error) => return Err(error),
                };
                let index = u32::try_from(index).unwrap_or(u32::MAX);
                Ok(Some(v1::PathDefect { index, kind: kind.name().to_owned(), reason }))
            }
        };
        let looked: Vec<_> = paths.iter().enumerate().map(look).collect();
        let found =
            stream::iter(looked).buffered(PATHS_AHEAD_MAX).try_filter_map(|defect| async { Ok(defect) });
        found.take(limits::DEFECTS_MAX).try_collect().await
    }

    /// A job with its failures but for the first `failures_before`, as many as one message has room for; whether there
    /// are more.
    async fn job(&self, id: JobId, failures_before: u32) -> Result<(v1::Job, bool), MasterError> {
        let before = usize::try_from(failures_before).unwrap_or(usize::MAX);
        self.0
            .query(|state| {
                let record = query::job(state, id)?.ok_or(Rejection::JobMissing { job: id })?;
                let mut paths = query::job_paths(state, id, 0)?.unwrap_or_default();
                paths.truncate(JOB_PATHS_KEPT_MAX);
                let mut job = self.describe(record, &paths);
                let mut room = AnswerRoom::without(job_length(&job));
                for failure in query::job_failures(state, id)?.into_iter().skip(before) {
                    if !room.admits(failure_length(&failure)) {
                        return Ok((job, true));
                    }
                    job.failures.push(failure.into());
                }
                Ok((job, false))
            })
            .await
    }

    /// A job as people see it, without its failures; while it is worked on, with what was not written down yet.
    fn describe(&self, record: JobRecord, paths: &[NamespacePath]) -> v1::Job {
        let live = (!record.state.is_over()).then(|| self.0.jobs.figures(record.id)).flatten();
        let progress = live.map_or(record.progress, |live| live.progress);
        let counted = match record.kind {
            JobKind::Load => None,
            JobKind::MetadataLoad { directories_done } => Some(directories_done),
        };
        let directories_done = live.and_then(|live| live.directories_done).or(counted).unwrap_or(0);
        let end = record.ended_at.unwrap_or_else(|| self.0.clock.now());
        let duration = record.started_at.map_or(0, |begin| end.nanos().saturating_sub(begin.nanos()));
        v1::Job {
            id: record.id.get(),
            state: v1::JobState::from(record.state).into(),
            paths: paths.iter().map(|path| path.to_bytes().into()).collect(),
            paths_total: record.paths_total,
            files_total: progress.files_total,
            files_done: progress.files_done,
            files_failed: progress.files_failed,
            files_changed: progress.files_changed,
            bytes_total: progress.bytes_total,
            bytes_done: progress.bytes_done,
            under_store_bytes: progress.under_store_bytes,
            duration_nanos: u64::try_from(duration).unwrap_or(0),
            submitted_at_nanos: record.submitted_at.nanos(),
            failures: Vec::new(),
            reason: record.reason.unwrap_or_default(),
            metadata_only: counted.is_some(),
            directories_done,
        }
    }
}
