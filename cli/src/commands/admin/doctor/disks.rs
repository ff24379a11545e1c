//! Judges the disks of masters' folders: how long syncs take, and how much room is left.

use std::time::Duration;

use forebay_proto::v1;
use forebay_types::ByteCount;

use super::bounds::{
    FREE_ENOUGH, FREE_ERROR_PART, FREE_WARN_PART, SYNC_MAX_WARN, SYNC_MEDIAN_ERROR, SYNC_MEDIAN_WARN,
};
use super::masters::{Standing, name};
use super::{Check, Finding, State};

pub(super) fn all(standing: &Standing<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for told in &standing.told {
        let Some(disk) = told.examination.as_ref().ok().and_then(|said| said.disk.as_ref()) else { continue };
        findings.push(syncs(name(told), disk));
        if disk.total_bytes > 0 {
            findings.push(space(name(told), disk));
        }
    }
    findings
}

/// Of `sorted`, which has some, the one that so many hundredths are not above.
fn percentile(sorted: &[Duration], hundredths: usize) -> Duration {
    let rank = (sorted.len() * hundredths).div_ceil(100);
    sorted[rank.clamp(1, sorted.len()) - 1]
}

fn syncs(subject: String, disk: &v1::DiskExamination) -> Finding {
    let (check, dir) = (Check::Disk, &disk.directory);
    let mut took: Vec<_> = disk.sync_nanos.iter().map(|nanos| Duration::from_nanos(*nanos)).collect();
    took.sort_unstable();
    if !disk.failure.is_empty() || took.is_empty() {
        let reason = if disk.failure.is_empty() { "it made no syncs" } else { &disk.failure };
        let message = format!("{dir} cannot be written and synced: {reason}");
        return check.error(
            subject,
            message,
            "look at the disk and at the kernel's log; make room if it is full",
        );
    }
    let [median, high, longest] = [50, 99, 100].map(|hundredths| percentile(&took, hundredths));
    let state = if median > SYNC_MEDIAN_ERROR {
        State::Error
    } else if median > SYNC_MEDIAN_WARN || longest > SYNC_MAX_WARN {
        State::Warn
    } else {
        State::Ok
    };
    let millis = |took: Duration| format!("{:.1} ms", took.as_secs_f64() * 1e3);
    let message = format!(
        "{dir}: fsync p50 {}, p99 {}, max {} ({} made)",
        millis(median),
        millis(high),
        millis(longest),
        took.len()
    );
    let advice =
        "each change waits for such a sync: give the master a faster disk, or one that others do not use";
    check.finding(state, subject, message, advice)
}

fn space(subject: String, disk: &v1::DiskExamination) -> Finding {
    let part = |free: u64, total: u64| match (free, total) {
        // The file system does not count them.
        (_, 0) => State::Ok,
        (free, total) if free < total / FREE_ERROR_PART => State::Error,
        (free, total) if free < total / FREE_WARN_PART => State::Warn,
        _ => State::Ok,
    };
    let bytes = match part(disk.free_bytes, disk.total_bytes) {
        _ if disk.free_bytes >= FREE_ENOUGH => State::Ok,
        state => state,
    };
    let state = bytes.max(part(disk.free_inodes, disk.total_inodes));
    let inodes = match disk.total_inodes {
        0 => String::new(),
        total => format!(", {} of {total} inodes", disk.free_inodes),
    };
    let message = format!(
        "{}: {} of {} free{inodes}",
        disk.directory,
        ByteCount::new(disk.free_bytes),
        ByteCount::new(disk.total_bytes)
    );
    let advice = "make room: a master whose disk is full ends";
    Check::Space.finding(state, subject, message, advice)
}
