//! Works on the cluster's jobs while this master leads: one driver for each job, which is a shell around a pure engine.
//!
//! What must last is in replicated state; what is here is begun anew by whichever master leads next.

mod admissions;
mod driver;
mod load;
mod paths;

use std::collections::BTreeSet;
use std::sync::Arc;

use forebay_metadata::{Command, EndJob, JobRecord, query};
use forebay_raft::Role;
use forebay_types::JobState;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::error::MasterError;
use crate::limits;
use crate::live_jobs::LiveJob;
use crate::shared::Shared;

pub(crate) use driver::end_command;
pub(crate) use paths::PathLookup;

/// Begins to work on jobs as they come, until `cancelled`.
pub(crate) async fn work(shared: Arc<Shared>, cancelled: CancellationToken) {
    loop {
        if let Err(error) = look(&shared, &cancelled).await {
            tracing::debug!(%error, "jobs could not be looked at; this is tried again");
        }
        tokio::select! {
            () = cancelled.cancelled() => return,
            () = shared.jobs.wake.notified() => {}
            () = tokio::time::sleep(limits::JOBS_LOOK_INTERVAL) => {}
        }
    }
}

/// One look: drivers of jobs that are over stop, jobs without a driver get one.
async fn look(shared: &Arc<Shared>, cancelled: &CancellationToken) -> Result<(), MasterError> {
    let jobs = &shared.jobs;
    if shared.raft.status().role != Role::Leader {
        jobs.stop_all();
        return Ok(());
    }
    jobs.leads_since.lock().get_or_insert(shared.clock.boot_instant());
    let active = shared.query(|state| {
        if query::job_counts(state)?.active == 0 {
            return Ok(Vec::new());
        }
        Ok(query::jobs(state)?.into_iter().filter(|job| !job.state.is_over()).collect())
    });
    let active: Vec<JobRecord> = active.await?;
    shared.metrics.jobs_running.set(i64::try_from(active.len()).unwrap_or(i64::MAX));
    let ids: BTreeSet<_> = active.iter().map(|job| job.id).collect();
    jobs.live.lock().iter().filter(|(id, _)| !ids.contains(id)).for_each(|(_, live)| live.token.cancel());
    for job in active {
        if job.is_listed {
            begin(shared, &job, cancelled);
        } else {
            end_if_abandoned(shared, &job).await?;
        }
    }
    Ok(())
}

/// Begins to work on a job, unless it is worked on or as many as may be are.
fn begin(shared: &Arc<Shared>, record: &JobRecord, cancelled: &CancellationToken) {
    let (job, record) = (record.id, record.clone());
    let live = Arc::new(LiveJob { figures: Mutex::default(), token: cancelled.child_token() });
    let mut all = shared.jobs.live.lock();
    if all.contains_key(&job) || all.len() >= limits::JOBS_RUNNING_MAX {
        return;
    }
    all.insert(job, Arc::clone(&live));
    drop(all);
    tracing::info!(%job, "job begins");
    let worker = Arc::clone(shared);
    shared.background.spawn(async move {
        driver::drive(&worker, &record, &live).await;
        worker.jobs.live.lock().remove(&job);
        worker.jobs.wake();
    });
}

/// Whoever sends a list of paths in parts and stops in the midst leaves a job that can never begin.
async fn end_if_abandoned(shared: &Shared, job: &JobRecord) -> Result<(), MasterError> {
    let now = shared.clock.now().nanos();
    let silent = now.saturating_sub(job.touched_at.nanos());
    if u128::try_from(silent).unwrap_or(0) < limits::JOB_ABANDONED_AFTER.as_nanos() {
        return Ok(());
    }
    let reason = Some("its list of paths was never finished; load again".to_owned());
    let end = EndJob { job: job.id, state: JobState::Failed, progress: None, failures: Vec::new(), reason };
    shared.propose(None, Command::EndJob(end)).await.map(drop)
}
