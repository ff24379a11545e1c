//! Jobs are below their counter and counted as what they are; each row of paths or failures belongs to a job.

use super::Facts;
use crate::limits::JOBS_KEPT_MAX;

pub(super) const ID: &str = "jobs-are-counted";

pub(super) fn check(facts: &Facts) -> Vec<String> {
    let mut problems = Vec::new();
    let counts = &facts.job_counts;
    let over = facts.jobs.values().filter(|job| job.state.is_over()).count() as u64;
    let active = facts.jobs.len() as u64 - over;
    if (active, over) != (counts.active, counts.kept) {
        problems.push(format!(
            "{active} jobs are under way and {over} over, counted are {} and {}",
            counts.active, counts.kept
        ));
    }
    if over > JOBS_KEPT_MAX {
        problems.push(format!("{over} jobs that are over are kept"));
    }
    let early = facts.jobs.keys().filter(|id| **id >= counts.next);
    problems.extend(early.map(|id| format!("{id} is not below the counter, {}", counts.next)));
    let rows =
        |(job, number): &(forebay_types::JobId, u32), have: fn(&crate::JobRecord) -> u32, what: &str| {
            let known = facts.jobs.get(job).is_some_and(|record| *number < have(record));
            (!known).then(|| format!("row {number} of the {what} of {job} belongs to nothing"))
        };
    problems.extend(facts.job_paths.iter().filter_map(|key| rows(key, |job| job.path_rows, "paths")));
    problems
        .extend(facts.job_failures.iter().filter_map(|key| rows(key, |job| job.failures_kept, "failures")));
    let expected = |count: fn(&crate::JobRecord) -> u32| {
        facts.jobs.values().map(|job| u64::from(count(job))).sum::<u64>()
    };
    let found = (facts.job_paths.len() as u64, facts.job_failures.len() as u64);
    if found != (expected(|job| job.path_rows), expected(|job| job.failures_kept)) {
        problems.push(format!(
            "jobs have {} rows of paths and {} of failures, which is not what they say",
            found.0, found.1
        ));
    }
    problems
}
