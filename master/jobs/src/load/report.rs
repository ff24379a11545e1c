//! What a load has done and given up, and when that is written down.

use std::time::Duration;

use forebay_types::limits::JOB_FAILURES_KEPT_MAX;
use forebay_types::{ByteCount, JobFailure, JobProgress, JobState, NamespacePath};

use crate::event::{Action, Fault};
use crate::limits::{PERSIST_FAILURES, PERSIST_FILES, PERSIST_INTERVAL};

/// The counts, and what of them is durable.
#[derive(Debug, Default)]
pub(super) struct Report {
    progress: JobProgress,
    /// Failures that were not written down, oldest first.
    failures: Vec<JobFailure>,
    /// How many of them are on their way.
    failures_sent: usize,
    /// Failures that are kept, written down or not.
    failures_kept: usize,
    /// What was last sent, and when.
    sent: Option<(Duration, JobProgress)>,
    is_sending: bool,
    /// That the work begins, perhaps anew, is written down.
    has_begun: bool,
}

impl Report {
    pub(super) const fn found(&mut self, length: ByteCount) {
        self.progress.files_total += 1;
        self.progress.add_total(length);
    }

    pub(super) const fn done(&mut self, length: ByteCount) {
        self.progress.files_done += 1;
        self.progress.bytes_done = self.progress.bytes_done.saturating_add(length.get());
    }

    /// What was done was lost again.
    pub(super) const fn undone(&mut self, length: ByteCount) {
        self.progress.files_done = self.progress.files_done.saturating_sub(1);
        self.progress.bytes_done = self.progress.bytes_done.saturating_sub(length.get());
    }

    /// A file has another version than was listed.
    pub(super) const fn changed(&mut self, before: ByteCount, after: ByteCount, is_counted: bool) {
        self.progress.files_changed += 1;
        self.progress.bytes_total = self.progress.bytes_total.saturating_sub(before.get());
        if is_counted {
            self.progress.files_total = self.progress.files_total.saturating_sub(1);
        } else {
            self.progress.add_total(after);
        }
    }

    pub(super) const fn fetched(&mut self, bytes: u64) {
        self.progress.under_store_bytes = self.progress.under_store_bytes.saturating_add(bytes);
    }

    pub(super) fn failed(&mut self, path: NamespacePath, fault: &Fault) {
        self.progress.files_failed += 1;
        if self.failures_kept < JOB_FAILURES_KEPT_MAX {
            self.failures_kept += 1;
            self.failures.push(JobFailure::new(path, fault.reason.clone()));
        }
    }

    pub(super) const fn has_failures(&self) -> bool {
        self.progress.files_failed > 0
    }

    pub(super) const fn bytes_total(&self) -> u64 {
        self.progress.bytes_total
    }

    /// The counts, with what is `under_way` of files that are not done.
    pub(super) const fn progress(&self, under_way: u64) -> JobProgress {
        let mut progress = self.progress;
        progress.bytes_done = progress.bytes_done.saturating_add(under_way);
        if progress.bytes_done > progress.bytes_total {
            progress.bytes_done = progress.bytes_total;
        }
        progress
    }

    /// What is to be written down now.
    pub(super) fn due(&mut self, now: Duration) -> Option<Action> {
        if self.is_sending {
            return None;
        }
        let begins = !self.has_begun;
        if let Some((at, sent)) = &self.sent {
            let is_news = begins || self.progress != *sent || !self.failures.is_empty();
            let is_time = now.saturating_sub(*at) >= PERSIST_INTERVAL;
            let is_much = self.progress.files_done.abs_diff(sent.files_done) >= PERSIST_FILES
                || self.failures.len() >= PERSIST_FAILURES;
            if !(is_news && is_time || is_much) {
                return None;
            }
        }
        self.is_sending = true;
        self.sent = Some((now, self.progress));
        self.failures_sent = self.failures.len().min(PERSIST_FAILURES);
        let failures = self.failures[..self.failures_sent].to_vec();
        Some(Action::Persist { begins, progress: self.progress, failures })
    }

    /// What was to be written down is, or is not.
    pub(super) fn persisted(&mut self, is_durable: bool) {
        self.is_sending = false;
        if is_durable {
            self.has_begun = true;
            self.failures.drain(..self.failures_sent);
        }
        self.failures_sent = 0;
    }

    /// The end, once nothing is on its way and the failures that are left fit one entry.
    pub(super) fn end(&mut self, state: JobState, reason: Option<String>) -> Option<Action> {
        if self.is_sending || !self.has_begun || self.failures.len() > PERSIST_FAILURES {
            return None;
        }
        let mut progress = self.progress;
        progress.files_total = progress.files_total.max(progress.files_done + progress.files_failed);
        Some(Action::End { state, progress, failures: std::mem::take(&mut self.failures), reason })
    }
}
