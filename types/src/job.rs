//! Jobs: long work that the cluster does by itself, such as loading a tree, as those who ask for it see it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::admission::NotAdmitted;
use crate::path::NamespacePath;
use crate::unit::ByteCount;

/// How far a job is. **The order is a format.**
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum JobState {
    /// It is known, and nothing of it is done yet.
    Pending,
    /// It is being worked on.
    Running,
    /// It waits until somebody lets it go on.
    Paused,
    /// All of it was done and verified.
    Succeeded,
    /// A part of it could not be done.
    Failed,
    /// Somebody ended it; what was done stays.
    Cancelled,
}

/// What was done of a job so far. A job that is resumed after a restart goes on from what was written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobProgress {
    /// Files found so far, each counted once however often it is named.
    pub files_total: u64,
    /// Files that are done and verified.
    pub files_done: u64,
    /// Files and paths that were given up.
    pub files_failed: u64,
    /// Files whose content was replaced after they were listed; they were done in their new version.
    pub files_changed: u64,
    /// Length of all files found so far.
    pub bytes_total: u64,
    /// Bytes that are done and verified.
    pub bytes_done: u64,
    /// Bytes that had to come from under-stores.
    pub under_store_bytes: u64,
}

/// One file or path that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFailure {
    /// Which.
    pub path: NamespacePath,
    /// Why, as a sentence for a person; at most [`REASON_LENGTH_MAX`](crate::limits::REASON_LENGTH_MAX) bytes.
    pub reason: String,
}

impl JobState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Running, Self::Paused, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// Whether nothing more will happen.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// Its name in JSON documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Paused => "PAUSED",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

/// How the reason of a file begins that was left out.
const SKIPPED: &str = "skipped: ";

impl JobFailure {
    /// A file that was left out since its mount does not want it cached: it is kept among the failures, whose format has no
    /// place for more, and told from them by how its reason begins.
    #[must_use]
    pub fn skipped(path: NamespacePath, reason: &NotAdmitted) -> Self {
        Self::new(path, format!("{SKIPPED}{reason}"))
    }

    /// Why the file was left out; `None` of one that failed.
    #[must_use]
    pub fn skip_reason(&self) -> Option<&str> {
        self.reason.strip_prefix(SKIPPED)
    }

    /// A failure whose reason is cut to what may be kept.
    #[must_use]
    pub fn new(path: NamespacePath, reason: impl Into<String>) -> Self {
        Self { path, reason: short_reason(reason) }
    }
}

impl JobProgress {
    /// Adds bytes to a length without ever wrapping: sparse files can be long enough.
    pub const fn add_total(&mut self, length: ByteCount) {
        self.bytes_total = self.bytes_total.saturating_add(length.get());
    }
}

/// A reason, cut to what may be kept of one.
#[must_use]
pub fn short_reason(reason: impl Into<String>) -> String {
    let mut reason = reason.into();
    let mut end = crate::limits::REASON_LENGTH_MAX.min(reason.len());
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
    reason
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_left_out_is_told_from_one_that_failed() {
        let skipped = JobFailure::skipped(NamespacePath::root(), &NotAdmitted::None);
        assert_eq!(skipped.skip_reason(), Some("the mount caches nothing (--cache none)"));
        assert_eq!(JobFailure::new(NamespacePath::root(), "it is gone").skip_reason(), None);
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let long = "ä".repeat(crate::limits::REASON_LENGTH_MAX);
        let failure = JobFailure::new(NamespacePath::root(), long);
        assert!(failure.reason.len() <= crate::limits::REASON_LENGTH_MAX);
        assert!(failure.reason.chars().all(|character| character == 'ä'));
        assert_eq!(JobFailure::new(NamespacePath::root(), "short").reason, "short");
    }

    #[test]
    fn three_states_are_the_end() {
        let over: Vec<_> =
            JobState::ALL.into_iter().filter(|state| state.is_over()).map(JobState::name).collect();
        assert_eq!(over, ["SUCCEEDED", "FAILED", "CANCELLED"]);
    }
}
