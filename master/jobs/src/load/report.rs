//! What a load has done and given up, and when that is written down.
//!
//! A file may be replaced between two walks, so while they go on the totals are what is known by then. At the end of a
//! pass they are what that pass came by: each file once, with the bytes of the version that was loaded.

use std::collections::BTreeSet;
use std::time::Duration;

use forebay_types::limits::JOB_FAILURES_KEPT_MAX;
use forebay_types::{ByteCount, JobFailure, JobProgress, JobState, NamespacePath};

use crate::event::{Action, Fault};
use crate::limits::{PERSIST_FAILURES, PERSIST_FILES, PERSIST_INTERVAL};

/// The counts, and what of them is durable.
#[derive(Debug, Default)]
pub(super) struct Report {
    progress: JobProgress,
    /// What an earlier master wrote down of this job, which is shown until this one has done as much.
    before: JobProgress,
    pass: Pass,
    /// Paths that cannot be gone through, the first of them: each is told once.
    paths: BTreeSet<NamespacePath>,
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

/// What the pass that goes on has come by and done.
#[derive(Debug, Default)]
struct Pass {
    files: u64,
    bytes: u64,
    files_done: u64,
    bytes_done: u64,
}

impl Report {
    /// Goes on from what was written down of the job before.
    pub(super) fn resuming(before: JobProgress) -> Self {
        let progress = JobProgress { under_store_bytes: before.under_store_bytes, ..JobProgress::default() };
        Self { progress, before, ..Self::default() }
    }

    /// A walk found a file that none had found before.
    pub(super) const fn found(&mut self, length: ByteCount) {
        self.progress.files_total += 1;
        self.progress.add_total(length);
    }

    /// This pass came by a file.
    pub(super) const fn met(&mut self, length: ByteCount) {
        self.pass.files += 1;
        self.pass.bytes = self.pass.bytes.saturating_add(length.get());
    }

    /// This pass saw a file in its place.
    pub(super) const fn done(&mut self, length: ByteCount, is_first_time: bool) {
        self.pass.files_done += 1;
        self.pass.bytes_done = self.pass.bytes_done.saturating_add(length.get());
        if is_first_time {
            self.progress.files_done += 1;
            self.progress.bytes_done = self.progress.bytes_done.saturating_add(length.get());
        }
    }

    /// What an earlier pass had done was lost again.
    pub(super) const fn undone(&mut self, length: ByteCount) {
        self.progress.files_done = self.progress.files_done.saturating_sub(1);
        self.progress.bytes_done = self.progress.bytes_done.saturating_sub(length.get());
    }

    /// A file has another version than when it was counted.
    pub(super) const fn replaced(&mut self) {
        self.progress.files_changed += 1;
    }

    /// A file that this pass came by has another version now.
    pub(super) const fn changed(&mut self, before: ByteCount, after: ByteCount) {
        self.progress.files_changed += 1;
        self.progress.bytes_total = self.progress.bytes_total.saturating_sub(before.get());
        self.progress.add_total(after);
        self.pass.bytes = self.pass.bytes.saturating_sub(before.get()).saturating_add(after.get());
    }

    /// Another pass begins.
    pub(super) fn begin_pass(&mut self) {
        self.pass = Pass::default();
    }

    /// A pass is over, so it is known what there is and what of it is done.
    pub(super) fn settle(&mut self) {
        let Pass { files, bytes, files_done, bytes_done } = self.pass;
        self.progress =
            JobProgress { files_total: files, bytes_total: bytes, files_done, bytes_done, ..self.progress };
        self.before = JobProgress::default();
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

    /// A path or directory cannot be gone through.
    pub(super) fn path_failed(&mut self, path: NamespacePath, fault: &Fault) {
        if self.paths.contains(&path) {
            return;
        }
        if self.paths.len() < JOB_FAILURES_KEPT_MAX {
            self.paths.insert(path.clone());
        }
        self.failed(path, fault);
    }

    pub(super) const fn has_failures(&self) -> bool {
        self.progress.files_failed > 0
    }

    pub(super) const fn bytes_total(&self) -> u64 {
        self.progress.bytes_total
    }

    /// The counts, with what is `under_way` of files that are not done.
    pub(super) fn progress(&self, under_way: u64) -> JobProgress {
        let mut progress = self.progress;
        progress.bytes_done = progress.bytes_done.saturating_add(under_way);
        if progress.bytes_done > progress.bytes_total {
            progress.bytes_done = progress.bytes_total;
        }
        let before = self.before;
        JobProgress {
            files_total: progress.files_total.max(before.files_total),
            files_done: progress.files_done.max(before.files_done),
            files_changed: progress.files_changed.max(before.files_changed),
            bytes_total: progress.bytes_total.max(before.bytes_total),
            bytes_done: progress.bytes_done.max(before.bytes_done),
            ..progress
        }
    }

    /// What is to be written down now.
    pub(super) fn due(&mut self, now: Duration) -> Option<Action> {
        if self.is_sending {
            return None;
        }
        let (begins, progress) = (!self.has_begun, self.progress(0));
        if let Some((at, sent)) = &self.sent {
            let is_news = begins || progress != *sent || !self.failures.is_empty();
            let is_time = now.saturating_sub(*at) >= PERSIST_INTERVAL;
            let is_much = progress.files_done.abs_diff(sent.files_done) >= PERSIST_FILES
                || self.failures.len() >= PERSIST_FAILURES;
            if !(is_news && is_time || is_much) {
                return None;
            }
        }
        self.is_sending = true;
        self.sent = Some((now, progress));
        self.failures_sent = self.failures.len().min(PERSIST_FAILURES);
        let failures = self.failures[..self.failures_sent].to_vec();
        Some(Action::Persist { begins, progress, failures })
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
