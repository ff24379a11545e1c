//! How this master is, as far as it alone knows: its log, its disk, what waits in its outbox, and the clocks of workers.
//!
//! Answered by every master, also without a leader: it reads the state as this master has applied it. What only the one that
//! leads knows of the cluster is in the report (`report.rs`).

use forebay_metadata::query;
use forebay_proto::v1;
use forebay_raft::{Member, Reads};
use forebay_types::LogIndex;

use crate::disk_probe::DiskProbe;
use crate::error::MasterError;
use crate::membership;
use crate::shared::Shared;

/// All of it, which takes as long as the look at the disk. Changes nothing.
pub(crate) async fn examine(shared: &Shared, disk: &DiskProbe) -> Result<v1::ExamineResponse, MasterError> {
    let disk = disk.look(shared.background.tracker()).await;
    let status = shared.raft.status();
    let (feature_level, waiting) = {
        let view = shared.raft.local_view()?;
        let moment = view.moment();
        (query::feature_level(&moment)?, query::outbox_counts(&moment)?)
    };
    let (overdue, worker_clocks) = {
        let now = shared.clock.boot_instant();
        let registry = shared.registry.lock();
        let overdue = registry.leads().then(|| registry.outbox_overdue(now));
        let clock = |worker: &crate::registry::Registered| {
            Some(v1::WorkerClock {
                worker: worker.entry.id.get(),
                address: worker.entry.address.clone(),
                ahead_nanos: worker.latest.clock_ahead_nanos?,
            })
        };
        (overdue, registry.workers().filter_map(clock).collect())
    };
    Ok(v1::ExamineResponse {
        slot: shared.door.slot,
        node_id: status.node,
        role: membership::role(status.role).to_owned(),
        members: shared.raft.members().into_iter().map(member).collect(),
        last_log: status.last_log.map_or(0, LogIndex::get),
        last_applied: status.last_applied.map_or(0, LogIndex::get),
        feature_level,
        disk: Some(disk),
        outbox: overdue.map(|overdue| v1::OutboxExamination {
            rows: waiting.rows,
            overdue_nanos: u64::try_from(overdue.as_nanos()).unwrap_or(u64::MAX),
        }),
        worker_clocks,
        election_timeout_nanos: u64::try_from(shared.raft.election_timeout().as_nanos()).unwrap_or(u64::MAX),
        reads_by_lease: shared.raft.how_it_reads() == Reads::Lease,
    })
}

fn member(member: Member) -> v1::MasterReport {
    v1::MasterReport {
        slot: member.slot,
        node_id: member.node,
        address: member.address,
        votes: member.votes,
        matched: member.matched.map_or(0, LogIndex::get),
        ..Default::default()
    }
}
