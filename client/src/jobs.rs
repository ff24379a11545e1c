//! Jobs: long work that the cluster does by itself, asked for, looked at and ended.

#[cfg(test)]
mod tests;

use std::time::Duration;

use forebay_proto::v1::jobs_client::JobsClient;
use forebay_proto::{WireDefect, v1};
use forebay_types::limits::{JOB_FAILURES_KEPT_MAX, LOAD_PATH_BYTES_PER_MESSAGE_MAX, RPC_LENGTH_MAX};
use forebay_types::{ErrorKind, JobFailure, JobId, JobProgress, JobState, NamespacePath, Timestamp};

use crate::answer::defect;
use crate::client::Client;
use crate::error::ClientError;
use crate::limits::LOAD_PATHS_PER_REQUEST;

/// A job as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// How far it is.
    pub state: JobState,
    /// The first of its paths.
    pub paths: Vec<NamespacePath>,
    /// How many it has.
    pub paths_total: u64,
    /// What was done.
    pub progress: JobProgress,
    /// Of a load of metadata alone: directories that were listed, with all that they have.
    pub directories_done: Option<u64>,
    /// From its begin to now or to its end.
    pub duration: Duration,
    /// When it was asked for.
    pub submitted_at: Timestamp,
    /// The first of what was given up.
    pub failures: Vec<JobFailure>,
    /// Why the job as a whole ended as it did, where the failures do not say it.
    pub reason: Option<String>,
}

/// What became of a wish for a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// It is a job.
    Begun(JobId),
    /// Nothing was begun, because of these paths.
    Refused(Vec<PathDefect>),
}

/// A path that cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathDefect {
    /// Its place in the list, from 0.
    pub index: usize,
    /// What kind of thing is wrong.
    pub kind: ErrorKind,
    /// The sentence for a person, with the path.
    pub reason: String,
}

impl TryFrom<v1::Job> for Job {
    type Error = WireDefect;

    fn try_from(job: v1::Job) -> Result<Self, WireDefect> {
        let invalid = |error: forebay_types::PathError| WireDefect::Invalid {
            field: "paths",
            reason: error.to_string(),
        };
        let state = job.state().try_into()?;
        Ok(Self {
            id: JobId::new(job.id),
            state,
            paths: job
                .paths
                .iter()
                .map(|path| NamespacePath::parse(path).map_err(invalid))
                .collect::<Result<_, _>>()?,
            paths_total: job.paths_total,
            progress: JobProgress {
                files_total: job.files_total,
                files_done: job.files_done,
                files_failed: job.files_failed,
                files_changed: job.files_changed,
                bytes_total: job.bytes_total,
                bytes_done: job.bytes_done,
                under_store_bytes: job.under_store_bytes,
            },
            directories_done: job.metadata_only.then_some(job.directories_done),
            duration: Duration::from_nanos(job.duration_nanos),
            submitted_at: Timestamp::from_nanos(job.submitted_at_nanos),
            failures: job.failures.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            reason: (!job.reason.is_empty()).then_some(job.reason),
        })
    }
}

impl Client {
    /// Asks for all files at and below `paths` to be brought into the cache, in this order. Nothing is begun when one
    /// of the paths does not exist. A call that was dropped may still be carried out.
    ///
    /// # Errors
    /// The master's refusal; [`ClientError::OutcomeUnknown`] when nobody can tell any more.
    pub async fn submit_load(&self, paths: &[NamespacePath]) -> Result<Submitted, ClientError> {
        self.submit(paths, false).await
    }

    /// The same for names and attributes alone: directories are listed, and no data is loaded.
    ///
    /// # Errors
    /// As [`submit_load`](Self::submit_load); [`ErrorKind::Unsupported`] from a master of an earlier release.
    pub async fn submit_metadata_load(&self, paths: &[NamespacePath]) -> Result<Submitted, ClientError> {
        self.submit(paths, true).await
    }

    async fn submit(&self, paths: &[NamespacePath], metadata_only: bool) -> Result<Submitted, ClientError> {
        let parts = parts(paths);
        if let [part] = parts[..] {
            let request = v1::SubmitLoadRequest { last: true, ..wire(0, 0, part) };
            return Ok(outcome(0, self.send_load(request, metadata_only).await?));
        }
        let mut before = 0;
        for part in &parts {
            let look = v1::SubmitLoadRequest { check_only: true, ..wire(0, 0, part) };
            if let Submitted::Refused(defects) = outcome(before, self.send_load(look, metadata_only).await?) {
                return Ok(Submitted::Refused(defects));
            }
            before += part.len();
        }
        let (mut job, mut before) = (0, 0);
        for (number, part) in parts.iter().enumerate() {
            let request =
                v1::SubmitLoadRequest { last: number + 1 == parts.len(), ..wire(job, before, part) };
            match self.send_load(request, metadata_only).await {
                Ok(answer) => job = answer.job,
                Err(error) => {
                    // Half a list is of no use to anybody; the master ends it later if this fails too.
                    if job != 0 && self.cancel_job(JobId::new(job)).await.is_err() {
                        tracing::debug!(job, "a load whose list was not finished could not be cancelled");
                    }
                    return Err(error);
                }
            }
            before += part.len();
        }
        Ok(Submitted::Begun(JobId::new(job)))
    }

    /// A job. Cancel safe.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such job (any more).
    pub async fn job(&self, id: JobId) -> Result<Job, ClientError> {
        let (job, more) = self.job_from(id, 0).await?;
        self.with_failures(job, more).await
    }

    /// All jobs that are not over and the last ones that are, the newest first; without failures, and with a few of
    /// their paths. Cancel safe.
    ///
    /// # Errors
    /// Those of reaching a master.
    pub async fn jobs(&self) -> Result<Vec<Job>, ClientError> {
        let (mut jobs, mut more) = self.jobs_before(None).await?;
        while let (true, Some(last)) = (more, jobs.last().map(|job| job.id)) {
            let (page, follow) = self.jobs_before(Some(last)).await?;
            if page.first().is_some_and(|job| job.id >= last) {
                let reason = "a page of jobs repeats the one before".to_owned();
                return Err(defect("ListJobs")(WireDefect::Invalid { field: "jobs", reason }));
            }
            more = follow && !page.is_empty();
            jobs.extend(page);
        }
        Ok(jobs)
    }

    /// The newest job, if there is one. Cancel safe.
    ///
    /// # Errors
    /// Those of reaching a master.
    pub async fn newest_job(&self) -> Result<Option<JobId>, ClientError> {
        Ok(self.jobs_before(None).await?.0.first().map(|job| job.id))
    }

    /// Ends a job; what it has done stays. One that was cancelled before is no error. A call that was dropped may still
    /// be carried out.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::InvalidArgument`] when it is over by itself.
    pub async fn cancel_job(&self, id: JobId) -> Result<Job, ClientError> {
        let stamped = |stamp| v1::CancelJobRequest { header: Some(self.header(Some(stamp))), job: id.get() };
        let answer = self
            .mutate("CancelJob", stamped, |channel, request| async move {
                JobsClient::new(channel).max_decoding_message_size(RPC_LENGTH_MAX).cancel_job(request).await
            })
            .await?;
        self.with_failures(decode("CancelJob", answer.job)?, answer.more_failures).await
    }

    /// A job with the failures that one message has room for, after the first `failures_before` of them; whether there
    /// are more.
    async fn job_from(&self, id: JobId, failures_before: u32) -> Result<(Job, bool), ClientError> {
        let request = v1::GetJobRequest { header: Some(self.header(None)), job: id.get(), failures_before };
        let answer = self
            .0
            .master
            .call("GetJob", Duration::ZERO, request, |channel, request| async move {
                JobsClient::new(channel).max_decoding_message_size(RPC_LENGTH_MAX).get_job(request).await
            })
            .await
            .outcome()?;
        Ok((decode("GetJob", answer.job)?, answer.more_failures))
    }

    /// A job with the failures that its first answer had no room for.
    async fn with_failures(&self, mut job: Job, mut more: bool) -> Result<Job, ClientError> {
        while more && job.failures.len() < JOB_FAILURES_KEPT_MAX {
            let before = u32::try_from(job.failures.len()).unwrap_or(u32::MAX);
            let (rest, follow) = self.job_from(job.id, before).await?;
            more = follow && !rest.failures.is_empty();
            job.failures.extend(rest.failures);
        }
        Ok(job)
    }

    /// A page of the jobs that are older than one, or of the newest; whether there are more.
    async fn jobs_before(&self, before: Option<JobId>) -> Result<(Vec<Job>, bool), ClientError> {
        let before = before.map_or(0, JobId::get);
        let request = v1::ListJobsRequest { header: Some(self.header(None)), before };
        let answer = self
            .0
            .master
            .call("ListJobs", Duration::ZERO, request, |channel, request| async move {
                JobsClient::new(channel).max_decoding_message_size(RPC_LENGTH_MAX).list_jobs(request).await
            })
            .await
            .outcome()?;
        let jobs: Result<_, _> = answer.jobs.into_iter().map(|job| decode("ListJobs", Some(job))).collect();
        Ok((jobs?, answer.more))
    }

    async fn send_load(
        &self,
        message: v1::SubmitLoadRequest,
        metadata_only: bool,
    ) -> Result<v1::SubmitLoadResponse, ClientError> {
        let stamped =
            |stamp| v1::SubmitLoadRequest { header: Some(self.header(Some(stamp))), ..message.clone() };
        if metadata_only {
            let send = |channel, request| async move {
                JobsClient::new(channel).submit_metadata_load(request).await
            };
            return self.mutate("SubmitMetadataLoad", stamped, send).await;
        }
        self.mutate("SubmitLoad", stamped, |channel, request| async move {
            JobsClient::new(channel).submit_load(request).await
        })
        .await
    }
}

fn decode(rpc: &'static str, job: Option<v1::Job>) -> Result<Job, ClientError> {
    job.ok_or(WireDefect::Missing("job")).and_then(TryInto::try_into).map_err(defect(rpc))
}

fn wire(job: u64, before: usize, paths: &[NamespacePath]) -> v1::SubmitLoadRequest {
    v1::SubmitLoadRequest {
        job,
        paths_before: before as u64,
        paths: paths.iter().map(|path| path.to_bytes().into()).collect(),
        ..v1::SubmitLoadRequest::default()
    }
}

fn outcome(before: usize, answer: v1::SubmitLoadResponse) -> Submitted {
    if answer.defects.is_empty() {
        return Submitted::Begun(JobId::new(answer.job));
    }
    let defect = |defect: v1::PathDefect| PathDefect {
        index: before + usize::try_from(defect.index).unwrap_or(usize::MAX - before),
        kind: ErrorKind::from_name(&defect.kind).unwrap_or(ErrorKind::InvalidArgument),
        reason: defect.reason,
    };
    Submitted::Refused(answer.defects.into_iter().map(defect).collect())
}

/// Cuts a list into what one request may carry; an empty list is one part.
fn parts(paths: &[NamespacePath]) -> Vec<&[NamespacePath]> {
    let (mut parts, mut begin, mut bytes) = (Vec::new(), 0, 0);
    for (index, path) in paths.iter().enumerate() {
        let length = path.names().iter().map(|name| name.as_bytes().len() + 1).sum::<usize>();
        if index - begin >= LOAD_PATHS_PER_REQUEST || bytes + length > LOAD_PATH_BYTES_PER_MESSAGE_MAX {
            parts.push(&paths[begin..index]);
            (begin, bytes) = (index, 0);
        }
        bytes += length;
    }
    parts.push(&paths[begin..]);
    parts
}
