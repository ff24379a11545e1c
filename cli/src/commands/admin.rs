//! `forebay admin`: what the cluster is and does, for people and scripts, whether it is well, and backups of it.

mod backup;
mod doctor;
mod journal;
mod masters;

use forebay_client::MountEntry;
use forebay_proto::{Freshness, v1};
use forebay_types::ByteCount;
use serde_json::{Value, json};

use super::mount::{add_state, freshness_document, show_freshness};
use super::session::Session;
use crate::args::{AdminCommand, GlobalArguments, JournalCommand, OutputFormat, ReportSection};
use crate::failure::Failure;
use crate::output::{self, hex, named, print_line, print_table, shown};

/// Runs one of the admin commands.
pub(crate) async fn run(global: &GlobalArguments, command: AdminCommand) -> Result<(), Failure> {
    let arguments = match command {
        AdminCommand::Report(arguments) => arguments,
        AdminCommand::Masters(command) => return masters::run(global, command).await,
        AdminCommand::Backup(arguments) => return backup::run(global, arguments).await,
        AdminCommand::Doctor => return doctor::run(global).await,
        AdminCommand::Journal(JournalCommand::Inspect(arguments)) => return journal::run(global, &arguments),
    };
    let session = Session::begin(global).await?;
    let report = session.client.report().await.map_err(|error| Failure::client("get the report", &error))?;
    match global.output {
        OutputFormat::Json => output::print_json(&document(&report)),
        OutputFormat::Text => print(&report, arguments.section),
    }
}

fn capacity(report: &v1::GetReportResponse) -> (u64, u64) {
    let tiers = report.workers.iter().flat_map(|worker| &worker.tiers);
    tiers.fold((0, 0), |(total, used), tier| (total + tier.capacity_bytes, used + tier.used_bytes))
}

/// Hit bytes over all bytes that were served and can be told apart; passthrough reads are not seen.
fn hit_ratio(reads: &v1::ReadCounters) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a ratio for people")]
    match reads.hit_bytes + reads.miss_bytes {
        0 => 0.0,
        all => reads.hit_bytes as f64 / all as f64,
    }
}

fn document(report: &v1::GetReportResponse) -> Value {
    let (total, used) = capacity(report);
    let reads = report.reads.unwrap_or_default();
    json!({
        "version": report.version,
        "cluster_id": hex(&report.cluster_id),
        "leader": report.leader,
        "capacity": {"total_bytes": total, "used_bytes": used, "free_bytes": total.saturating_sub(used)},
        "namespace": {"files": report.files, "directories": report.directories},
        "reads": {
            "passthrough_opens": reads.passthrough_opens,
            "passthrough_open_bytes": reads.passthrough_open_bytes,
            "short_circuit_bytes": reads.short_circuit_bytes,
            "remote_bytes": reads.remote_bytes,
            "under_store_bytes": reads.under_store_bytes,
            "hit_bytes": reads.hit_bytes,
            "miss_bytes": reads.miss_bytes,
            "hit_ratio": hit_ratio(&reads),
        },
        "safe_mode": safe_mode_document(report.safe_mode.unwrap_or_default()),
        "workers": report.workers.iter().map(worker_document).collect::<Vec<_>>(),
        "masters": masters::document(&report.masters),
        "mounts": report.mounts.iter().map(mount_document).collect::<Vec<_>>(),
        "jobs": {
            "running": report.jobs_running,
            "succeeded": report.jobs_succeeded,
            "failed": report.jobs_failed,
        },
    })
}

fn safe_mode_document(safe_mode: v1::SafeMode) -> Value {
    json!({
        "active": safe_mode.active,
        "workers_expected": safe_mode.workers_expected,
        "workers_live": safe_mode.workers_live,
    })
}

fn worker_document(report: &v1::WorkerReport) -> Value {
    let worker = report.worker.clone().unwrap_or_default();
    #[allow(clippy::cast_precision_loss, reason = "seconds for people")]
    let last_contact_seconds = report.last_contact_nanos as f64 / 1e9;
    json!({
        "id": worker.id,
        "address": worker.address,
        "group": worker.group,
        "state": state(&worker),
        "last_contact_seconds": last_contact_seconds,
        "tiers": report.tiers.iter().map(|tier| json!({
            "name": tier.name,
            "directory": tier.directory,
            "capacity_bytes": tier.capacity_bytes,
            "used_bytes": tier.used_bytes,
            "health": health(tier),
        })).collect::<Vec<_>>(),
    })
}

fn mount_document(report: &v1::MountReport) -> Value {
    let mount = report.mount.clone().unwrap_or_default();
    let counters = report.counters.unwrap_or_default();
    let mut document = json!({
        "uri": mount.uri,
        "read_only": mount.read_only,
        "freshness": mount.freshness.and_then(|freshness| Freshness::try_from(freshness).ok()).map(freshness_document),
        "files": mount.files,
        "cached_bytes": counters.cached_bytes,
        "hit_bytes": counters.hit_bytes,
        "miss_bytes": counters.miss_bytes,
        "under_store_read_bytes": counters.under_store_read_bytes,
        "under_store_requests": counters.under_store_requests,
    });
    let path = mount.path.clone();
    if let Ok(mount) = MountEntry::try_from(mount) {
        add_state(&mut document, &mount);
    }
    named("path", &path, document)
}

fn print(report: &v1::GetReportResponse, section: ReportSection) -> Result<(), Failure> {
    match section {
        ReportSection::Summary => {
            print_summary(report)?;
            print_line("")?;
            print_workers(report)?;
            print_line("")?;
            print_mounts(report)
        }
        ReportSection::Capacity => print_capacity(report),
        ReportSection::Workers => print_workers(report),
        ReportSection::Masters => masters::print(&report.masters),
        ReportSection::Mounts => print_mounts(report),
        ReportSection::Jobs => print_jobs(report),
        ReportSection::Metrics => print_reads(report),
    }
}

fn print_summary(report: &v1::GetReportResponse) -> Result<(), Failure> {
    print_line(&format!("cluster    {} (forebay {})", hex(&report.cluster_id), report.version))?;
    print_line(&format!("leader     {}", report.leader))?;
    if let Some(v1::SafeMode { active: true, workers_expected, workers_live }) = report.safe_mode {
        let lacks = format!("{workers_live} of {workers_expected} workers have reported to this leader");
        print_line(&format!("safe mode  {lacks}; reads that need another one wait for it"))?;
    }
    print_line(&format!("namespace  {} files, {} directories", report.files, report.directories))?;
    print_capacity(report)?;
    print_jobs(report)?;
    print_reads(report)
}

fn print_jobs(report: &v1::GetReportResponse) -> Result<(), Failure> {
    let (running, succeeded, failed) = (report.jobs_running, report.jobs_succeeded, report.jobs_failed);
    print_line(&format!("jobs       {running} running, {succeeded} succeeded, {failed} failed"))
}

fn print_reads(report: &v1::GetReportResponse) -> Result<(), Failure> {
    let reads = report.reads.unwrap_or_default();
    let bytes = |count| ByteCount::new(count).to_string();
    print_line(&format!(
        "opened     {} files of {} by passthrough, whose reads only the kernel sees",
        reads.passthrough_opens,
        bytes(reads.passthrough_open_bytes)
    ))?;
    print_line(&format!(
        "served     {} by short circuit, {} over the network",
        bytes(reads.short_circuit_bytes),
        bytes(reads.remote_bytes)
    ))?;
    print_line(&format!("fetched    {} from under-stores", bytes(reads.under_store_bytes)))?;
    print_line(&format!(
        "hits       {:.1} % ({} hit, {} missed)",
        hit_ratio(&reads) * 100.0,
        bytes(reads.hit_bytes),
        bytes(reads.miss_bytes)
    ))
}

fn print_capacity(report: &v1::GetReportResponse) -> Result<(), Failure> {
    let (total, used) = capacity(report);
    let free = ByteCount::new(total.saturating_sub(used));
    print_line(&format!("capacity   {} used of {}, {free} free", ByteCount::new(used), ByteCount::new(total)))
}

fn print_workers(report: &v1::GetReportResponse) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for report in &report.workers {
        let worker = report.worker.clone().unwrap_or_default();
        for tier in &report.tiers {
            rows.push(vec![
                worker.id.to_string(),
                worker.address.clone(),
                state(&worker).to_owned(),
                tier.name.clone(),
                health(tier).to_owned(),
                ByteCount::new(tier.used_bytes).to_string(),
                ByteCount::new(tier.capacity_bytes).to_string(),
                tier.directory.clone(),
            ]);
        }
    }
    print_table(&["WORKER", "ADDRESS", "STATE", "TIER", "HEALTH", "USED", "CAPACITY", "DIRECTORY"], &rows)
}

fn print_mounts(report: &v1::GetReportResponse) -> Result<(), Failure> {
    let row = |report: &v1::MountReport| {
        let mount = report.mount.clone().unwrap_or_default();
        let counters = report.counters.unwrap_or_default();
        let freshness = mount.freshness.and_then(|freshness| Freshness::try_from(freshness).ok());
        vec![
            shown(&mount.path),
            mount.uri.clone(),
            freshness.map_or_else(String::new, show_freshness),
            mount.files.to_string(),
            ByteCount::new(counters.cached_bytes).to_string(),
            ByteCount::new(counters.under_store_read_bytes).to_string(),
            counters.under_store_requests.to_string(),
            mount.state,
        ]
    };
    let rows: Vec<_> = report.mounts.iter().map(row).collect();
    print_table(&["PATH", "URI", "FRESHNESS", "FILES", "CACHED", "FETCHED", "REQUESTS", "STATE"], &rows)
}

fn state(worker: &v1::WorkerEntry) -> &'static str {
    match worker.state() {
        v1::WorkerState::Live => "LIVE",
        v1::WorkerState::Lost | v1::WorkerState::Unspecified => "LOST",
    }
}

fn health(tier: &v1::TierUsage) -> &'static str {
    match tier.health() {
        v1::TierHealth::Up => "UP",
        v1::TierHealth::Unstable => "UNSTABLE",
        v1::TierHealth::Down => "DOWN",
        v1::TierHealth::Unspecified => "UNKNOWN",
    }
}
