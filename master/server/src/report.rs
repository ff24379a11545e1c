//! The figures that people see: what workers and clients reported last, summed and put beside the namespace's counts.

use std::sync::Arc;

use forebay_metadata::{FEATURE_LEVEL, StateReader, query};
use forebay_proto::v1;
use forebay_raft::Role;
use forebay_types::WorkerState;

use crate::error::MasterError;
use crate::registry::Sums;
use crate::service::mount_entry;
use crate::shared::Shared;

/// All of it. Changes nothing.
pub(crate) async fn report(shared: &Arc<Shared>) -> Result<v1::GetReportResponse, MasterError> {
    let status = shared.raft.status();
    let (sums, workers) = soft_state(shared);
    let replicated = |state: &dyn StateReader| {
        let mounts = query::mounts(state)?.into_iter().map(|mount| {
            let mut own = sums.of_mount(mount.id.get());
            own.under_store_requests =
                own.under_store_requests.saturating_add(shared.under_stores.requests(mount.id));
            Ok(v1::MountReport { mount: Some(mount_entry(shared, state, &mount)?), counters: Some(own) })
        });
        let mounts = mounts.collect::<Result<_, MasterError>>()?;
        Ok((query::identity(state)?, query::totals(state)?, mounts, query::job_counts(state)?))
    };
    let (identity, totals, mounts, jobs) = shared.query(replicated).await?;
    Ok(v1::GetReportResponse {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cluster_id: identity.map(|identity| identity.cluster.bytes().to_vec()).unwrap_or_default().into(),
        leader: status.leader.map(|leader| leader.address).unwrap_or_default(),
        files: totals.files,
        directories: totals.directories,
        reads: Some(sums.reads()),
        workers,
        masters: vec![v1::MasterReport {
            slot: shared.slot,
            node_id: status.node,
            address: shared.address.clone(),
            role: role(status.role).to_owned(),
            term: status.term,
            last_applied: status.last_applied.map_or(0, forebay_types::LogIndex::get),
            feature_level_known: FEATURE_LEVEL,
        }],
        mounts,
        jobs_running: jobs.active,
        jobs_succeeded: jobs.succeeded,
        jobs_failed: jobs.failed,
    })
}

/// What workers and clients say, in one look at the registry. The sums are made after that look.
fn soft_state(shared: &Shared) -> (Sums, Vec<v1::WorkerReport>) {
    let now = shared.clock.boot_instant();
    let registry = shared.registry.lock();
    let mut sums = registry.clients.sums();
    let (mut reported, mut workers) = (Vec::new(), Vec::new());
    for worker in registry.workers() {
        let is_lost = worker.entry.state == WorkerState::Lost;
        reported.push((worker.latest.reads, Arc::clone(&worker.latest.mounts), is_lost));
        let silent = now.saturating_duration_since(worker.last_contact);
        workers.push(v1::WorkerReport {
            worker: Some((&worker.entry).into()),
            last_contact_nanos: u64::try_from(silent.as_nanos()).unwrap_or(u64::MAX),
            tiers: worker.latest.tiers.clone(),
        });
    }
    drop(registry);
    for (reads, mounts, is_lost) in reported {
        if is_lost {
            // What it served was served; what it holds is out of reach.
            let without_cached = |of: &v1::MountCounters| v1::MountCounters { cached_bytes: 0, ..*of };
            sums.add(&reads, &mounts.iter().map(without_cached).collect::<Vec<_>>());
        } else {
            sums.add(&reads, &mounts);
        }
    }
    (sums, workers)
}

const fn role(role: Role) -> &'static str {
    match role {
        Role::Leader => "LEADER",
        Role::Follower | Role::Candidate => "FOLLOWER",
        Role::Learner => "LEARNER",
        Role::Stopped => "UNREACHABLE",
    }
}
