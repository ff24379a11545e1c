//! What a job has done and given up, and when that is written down.
//!
//! A file may be replaced between two walks, so while they go on the totals are what is known by then. At the end of a
//! pass they are what that pass came by: each file once, with the bytes of the version that was loaded.

use std::collections::BTreeSet;
use std::time::Duration;

use forebay_types::limits::JOB_FAILURES_KEPT_MAX;
use forebay_types::{ByteCount, JobFailure, JobProgress, JobState, NamespacePath, NotAdmitted};

use crate::event::{Action, Fault};
use crate::limits::{PERSIST_FAILURES, PERSIST_FILES, PERSIST_INTERVAL};

/// The counts, and what of them is durable.
#[derive(Debug, Default)]
pub(crate) struct Report {
    progress: JobProgress,
    /// Directories that were gone through, where they are counted.
    directories: u64,
    /// What an earlier master wrote down of this job, which is shown until this one has done as much.
    before: JobProgress,
    directories_before: u64,
    pass: Pass,
    /// Paths that cannot be gone through, the first of them: each is told once.
    paths: BTreeSet<NamespacePath>,
    /// Failures that were not written down, oldest first.
    failures: Vec<JobFailure>,
    /// How many of them are on their way.
    failures_sent: usize,
    /// Failures that are kept, written down or not.
    failures_kept: usize,
    /// Files that were left out since their mounts do not want them cached.
    skipped: u64,
    /// What was last sent, and when.
    sent: Option<(Duration, JobProgress, u64)>,
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
    pub(crate) fn resuming(before: JobProgress, directories_before: u64) -> Self {
        let progress = JobProgress { under_store_bytes: before.under_store_bytes, ..JobProgress::default() };
        Self { progress, before, directories_before, ..Self::default() }
    }

    /// A walk found a file that none had found before.
    pub(crate) const fn found(&mut self, length: ByteCount) {
        self.progress.files_total += 1;
        self.progress.add_total(length);
    }

    /// This pass came by a file.
    pub(crate) const fn met(&mut self, length: ByteCount) {
        self.pass.files += 1;
        self.pass.bytes = self.pass.bytes.saturating_add(length.get());
    }

    /// This pass saw a file in its place.
    pub(crate) const fn done(&mut self, length: ByteCount, is_first_time: bool) {
        self.pass.files_done += 1;
        self.pass.bytes_done = self.pass.bytes_done.saturating_add(length.get());
        if is_first_time {
            self.progress.files_done += 1;
            self.progress.bytes_done = self.progress.bytes_done.saturating_add(length.get());
        }
    }

    /// What an earlier pass had done was lost again.
    pub(crate) const fn undone(&mut self, length: ByteCount) {
        self.progress.files_done = self.progress.files_done.saturating_sub(1);
        self.progress.bytes_done = self.progress.bytes_done.saturating_sub(length.get());
    }

    /// A file has another version than when it was counted.
    pub(crate) const fn replaced(&mut self) {
        self.progress.files_changed += 1;
    }

    /// A file that this pass came by has another version now.
    pub(crate) const fn changed(&mut self, before: ByteCount, after: ByteCount) {
        self.progress.files_changed += 1;
        self.progress.bytes_total = self.progress.bytes_total.saturating_sub(before.get());
        self.progress.add_total(after);
        self.pass.bytes = self.pass.bytes.saturating_sub(before.get()).saturating_add(after.get());
    }

    /// Another pass begins.
    pub(crate) fn begin_pass(&mut self) {
        self.pass = Pass::default();
    }

    /// A pass is over, so it is known what there is and what of it is done.
    pub(crate) fn settle(&mut self) {
        let Pass { files, bytes, files_done, bytes_done } = self.pass;
        self.progress =
            JobProgress { files_total: files, bytes_total: bytes, files_done, bytes_done, ..self.progress };
        self.before = JobProgress::default();
    }

    pub(crate) const fn fetched(&mut self, bytes: u64) {
        self.progress.under_store_bytes = self.progress.under_store_bytes.saturating_add(bytes);
    }

    pub(crate) fn failed(&mut self, path: NamespacePath, fault: &Fault) {
        self.progress.files_failed += 1;
        if self.failures_kept < JOB_FAILURES_KEPT_MAX {
            self.failures_kept += 1;
            self.failures.push(JobFailure::new(path, fault.reason.clone()));
        }
    }

    /// A file is left out. Some of these are kept beside the failures, for which there must be room.
    pub(crate) fn skipped(&mut self, path: NamespacePath, reason: &NotAdmitted) {
        self.skipped += 1;
        if self.failures_kept < JOB_FAILURES_KEPT_MAX / 2 {
            self.failures_kept += 1;
            self.failures.push(JobFailure::skipped(path, reason));
        }
    }

    /// What is said at the end of files that were left out.
    pub(crate) fn skipped_reason(&self) -> Option<String> {
        let skipped = self.skipped;
        (skipped > 0).then(|| {
            format!("{skipped} files were skipped, since their mounts do not cache them; `forebay mounts` shows what \
                     is cached")
        })
    }

    /// A path or directory cannot be gone through.
    pub(crate) fn path_failed(&mut self, path: NamespacePath, fault: &Fault) {
        if self.paths.contains(&path) {
            return;
        }
        if self.paths.len() < JOB_FAILURES_KEPT_MAX {
            self.paths.insert(path.clone());
        }
        self.failed(path, fault);
    }

    /// A directory was gone through.
    pub(crate) const fn directory_done(&mut self) {
        self.directories += 1;
    }

    /// How many directories were, or were before an earlier master stopped.
    pub(crate) fn directories(&self) -> u64 {
        self.directories.max(self.directories_before)
    }

    pub(crate) const fn has_failures(&self) -> bool {
        self.progress.files_failed > 0
    }

    pub(crate) const fn bytes_total(&self) -> u64 {
        self.progress.bytes_total
    }

    /// The counts, with what is `under_way` of files that are not done.
    pub(crate) fn progress(&self, under_way: u64) -> JobProgress {
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
    pub(crate) fn due(&mut self, now: Duration) -> Option<Action> {
        if self.is_sending {
            return None;
        }
        let (begins, progress, directories_done) = (!self.has_begun, self.progress(0), self.directories());
        if let Some((at, sent, sent_directories)) = &self.sent {
            let is_more = progress != *sent || directories_done != *sent_directories;
            let is_news = begins || is_more || !self.failures.is_empty();
            let is_time = now.saturating_sub(*at) >= PERSIST_INTERVAL;
            let is_much = progress.files_done.abs_diff(sent.files_done) >= PERSIST_FILES
                || self.failures.len() >= PERSIST_FAILURES;
            if !(is_news && is_time || is_much) {
                return None;
            }
        }
        self.is_sending = true;
        self.sent = Some((now, progress, directories_done));
        self.failures_sent = self.failures.len().min(PERSIST_FAILURES);
        let failures = self.failures[..self.failures_sent].to_vec();
        Some(Action::Persist { begins, progress, directories_done, failures })
    }

    /// What was to be written down is, or is not.
    pub(crate) fn persisted(&mut self, is_durable: bool) {
        self.is_sending = false;
        if is_durable {
            self.has_begun = true;
            self.failures.drain(..self.failures_sent);
        }
        self.failures_sent = 0;
    }

    /// The end, once nothing is on its way and the failures that are left fit one entry.
    pub(crate) fn end(&mut self, state: JobState, reason: Option<String>) -> Option<Action> {
        if self.is_sending || !self.has_begun || self.failures.len() > PERSIST_FAILURES {
            return None;
        }
        let mut progress = self.progress;
        progress.files_total = progress.files_total.max(progress.files_done + progress.files_failed);
        let (directories_done, failures) = (self.directories, std::mem::take(&mut self.failures));
        Some(Action::End { state, progress, directories_done, failures, reason })
    }
}
