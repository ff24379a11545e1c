//! Judges what the master that leads says of the rest of the cluster: workers, the outbox, mounts.

use std::time::Duration;

use forebay_proto::v1;

use super::bounds::OUTBOX_OVERDUE_WARN;
use super::masters::{Standing, name};
use super::{Check, Finding};
use crate::output::shown;

/// Nothing where nobody leads: that is said of the quorum.
pub(super) fn all(standing: &Standing<'_>) -> Vec<Finding> {
    let Some(leader) = standing.leader else { return Vec::new() };
    let mut findings = Vec::new();
    match &leader.report {
        Some(Ok(report)) => {
            findings.extend(workers(report));
            findings.extend(safe_mode(report));
            findings.extend(report.mounts.iter().filter_map(|of| of.mount.as_ref()).map(mount));
        }
        Some(Err(error)) => {
            let message = format!("it did not say how workers and mounts are: {}", error.message);
            findings.push(Check::Worker.error(
                name(leader),
                message,
                "ask again, and see what is said of the quorum",
            ));
        }
        None => {}
    }
    let said = leader.examination.as_ref().ok();
    findings.extend(said.and_then(|said| said.outbox.as_ref()).map(outbox));
    findings
}

fn workers(report: &v1::GetReportResponse) -> Vec<Finding> {
    let is_live = |of: &&v1::WorkerReport| {
        of.worker.as_ref().is_some_and(|worker| worker.state() == v1::WorkerState::Live)
    };
    let live = report.workers.iter().filter(is_live).count();
    let mut findings: Vec<_> = report.workers.iter().map(worker).collect();
    if live == 0 && !report.mounts.is_empty() {
        let advice = "start one: `forebay worker --masters ...`";
        findings.push(Check::Worker.error("cluster", "no worker lives: no file can be read", advice));
    } else if report.workers.is_empty() {
        let advice = "start one before anything is to be read: `forebay worker --masters ...`";
        findings.push(Check::Worker.warn("cluster", "there is no worker", advice));
    }
    findings
}

fn worker(report: &v1::WorkerReport) -> Finding {
    let (check, worker) = (Check::Worker, report.worker.clone().unwrap_or_default());
    let subject = format!("worker {} ({})", worker.id, worker.address);
    if worker.state() != v1::WorkerState::Live {
        let silent = Duration::from_nanos(report.last_contact_nanos).as_secs();
        return check.warn(
            subject,
            format!("lost: it was not heard of for {silent} s"),
            "start it again; if it is gone for good, it is forgotten by itself after a week, or an hour if it held nothing",
        );
    }
    let of = |health| report.tiers.iter().filter(move |tier| tier.health() == health);
    let listed = |health| of(health).map(|tier| tier.directory.clone()).collect::<Vec<_>>().join(", ");
    let advice = "see docs/operations.md, \"A disk of a worker fails\"";
    if of(v1::TierHealth::Down).next().is_some() {
        let message = format!("live; DOWN: {}", listed(v1::TierHealth::Down));
        return check.error(subject, message, advice);
    }
    if of(v1::TierHealth::Unstable).next().is_some() {
        let message = format!("live; UNSTABLE: {}", listed(v1::TierHealth::Unstable));
        return check.warn(subject, message, advice);
    }
    let count = report.tiers.len();
    check.ok(subject, format!("live; {count} {}", if count == 1 { "tier" } else { "tiers" }))
}

fn safe_mode(report: &v1::GetReportResponse) -> Option<Finding> {
    // Without any worker that is said already.
    let mode = report.safe_mode.as_ref().filter(|mode| mode.active && !report.workers.is_empty())?;
    let message =
        format!("{} of {} workers have reported to the leader", mode.workers_live, mode.workers_expected);
    Some(Check::SafeMode.warn("cluster", message, "it ends when they have, or count as lost, after 10 s"))
}

fn outbox(outbox: &v1::OutboxExamination) -> Finding {
    let overdue = Duration::from_nanos(outbox.overdue_nanos);
    let rows = outbox.rows;
    if overdue > OUTBOX_OVERDUE_WARN {
        let message =
            format!("the oldest of {rows} rows could have been done for {} s and is not", overdue.as_secs());
        let advice = "a worker that is lost may hold what is to be freed: start it again, or wait until it is forgotten";
        return Check::Outbox.warn("cluster", message, advice);
    }
    Check::Outbox.ok("cluster", format!("{rows} rows wait"))
}

fn mount(mount: &v1::MountEntry) -> Finding {
    let (check, subject) = (Check::Mount, shown(&mount.path));
    match &mount.state[..] {
        "UNREACHABLE" => {
            let message = format!("{} is away: {}", mount.uri, mount.reason);
            check.error(subject, message, "bring it back; what is known and cached is served meanwhile")
        }
        "MAINTENANCE" => {
            let advice = format!(
                "when it is over, `forebay mount {} {} --mode normal`",
                mount.uri,
                shown(&mount.path)
            );
            check.warn(subject, format!("{} is in maintenance", mount.uri), advice)
        }
        _ => check.ok(subject, mount.uri.clone()),
    }
}
