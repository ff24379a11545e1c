//! The load: brings all files at and below some paths into the cache, and says so only when it was seen.
//!
//! Two walks go through the paths at once. One counts, so that the total is known and a job that cannot fit is refused
//! early; the other hands out work in the order of the list. When all work is done the second one goes again, until a
//! pass finds every byte in its place: only such a pass lets the job succeed.

mod report;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use forebay_types::{
    ByteCount, ClusterMap, ErrorKind, InodeId, JobState, NamespacePath, VersionDescriptor, WorkerId,
    WorkerState,
};

use crate::event::{Action, Event, Fault, Found, Loaded, RequestId, TaskId};
use crate::file::{FileWork, Part};
use crate::limits::{FILES_MAX, PASSES_MAX, PATIENCE, RENEWALS_MAX, TASKS_MAX, TASKS_PER_WORKER_MAX};
use crate::visited::Visited;
use crate::walk::{Ids, Step, Walk};
use report::Report;

/// The number of a file that is worked on; grows with the order of the list.
type FileKey = u64;

/// One load, from its begin to its end.
#[derive(Debug)]
pub struct LoadJob {
    ids: Ids,
    workers: Workers,
    /// `None` when all was counted.
    counting: Option<Walk>,
    counted: Visited,
    /// `None` when this pass has handed out all.
    walk: Option<Walk>,
    /// What this pass has come by.
    seen: Visited,
    /// What was done and counted, in whichever pass.
    done: Visited,
    pass: u32,
    /// Bytes that this pass did not find in their place.
    pass_missing: u64,
    files: BTreeMap<FileKey, FileWork>,
    /// Files with parts that nobody was asked for.
    ready: VecDeque<FileKey>,
    waiting: BTreeSet<(Duration, FileKey)>,
    renewing: BTreeMap<RequestId, FileKey>,
    tasks: BTreeMap<TaskId, Task>,
    report: Report,
    too_large_since: Option<Duration>,
    is_over: bool,
}

/// Who can be asked.
#[derive(Debug, Default)]
struct Workers {
    map: ClusterMap,
    live: usize,
    capacity: u64,
    is_settled: bool,
    busy: BTreeMap<WorkerId, usize>,
    nobody_since: Option<Duration>,
}

/// A load at a worker.
#[derive(Debug)]
struct Task {
    file: FileKey,
    part: Part,
    cached: u64,
}

impl LoadJob {
    /// A load that has done nothing yet. It begins with the first event.
    #[must_use]
    pub fn new() -> Self {
        Self {
            ids: Ids::default(),
            workers: Workers::default(),
            counting: Some(Walk::new()),
            counted: Visited::default(),
            walk: Some(Walk::new()),
            seen: Visited::default(),
            done: Visited::default(),
            pass: 1,
            pass_missing: 0,
            files: BTreeMap::new(),
            ready: VecDeque::new(),
            waiting: BTreeSet::new(),
            renewing: BTreeMap::new(),
            tasks: BTreeMap::new(),
            report: Report::default(),
            too_large_since: None,
            is_over: false,
        }
    }

    /// Takes what happened at `now`, which is counted from any fixed moment, and gives what is to be done.
    pub fn handle(&mut self, now: Duration, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.is_over {
            return actions;
        }
        self.take(now, event, &mut actions);
        self.count(now, &mut actions);
        self.wake(now);
        self.fetch_work(now, &mut actions);
        self.hand_out(&mut actions);
        if let Some((state, reason)) = self.verdict(now)
            && let Some(end) = self.report.end(state, reason)
        {
            self.is_over = true;
            actions.push(end);
            return actions;
        }
        // A pass that has just begun asks at once.
        self.fetch_work(now, &mut actions);
        actions.extend(self.report.due(now));
        actions
    }

    /// How far the load is now, parts of files included.
    #[must_use]
    pub fn progress(&self) -> forebay_types::JobProgress {
        let parts =
            self.tasks.values().map(|task| task.cached).chain(self.files.values().map(|file| file.loaded));
        self.report.progress(if self.pass == 1 { parts.sum() } else { 0 })
    }

    fn take(&mut self, now: Duration, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Tick => {}
            Event::Workers { map, is_settled } => self.workers.learn(map, is_settled),
            Event::Paths { request, paths } => self.each_walk(|walk| walk.paths(now, request, &paths)),
            Event::Listed { request, page } => self.each_walk(|walk| walk.listed(now, request, &page)),
            Event::Found { request, found } => match self.renewing.remove(&request) {
                Some(key) => self.renewed(now, key, found),
                None => self.each_walk(|walk| walk.found(now, request, &found)),
            },
            Event::Loading { task, cached_bytes } => {
                if let Some(task) = self.tasks.get_mut(&task) {
                    task.cached = cached_bytes.min(task.part.length);
                }
            }
            Event::Loaded { task, outcome } => self.task_ended(now, task, outcome, actions),
            Event::Persisted { is_durable } => self.report.persisted(is_durable),
        }
    }

    fn each_walk(&mut self, take: impl Fn(&mut Walk)) {
        self.counting.iter_mut().chain(&mut self.walk).for_each(take);
    }

    /// Goes on with counting as far as answers are here.
    fn count(&mut self, now: Duration, actions: &mut Vec<Action>) {
        while let Some(walk) = &mut self.counting {
            match walk.next(now, &mut self.ids, actions) {
                Step::File { version, .. } => {
                    if self.counted.insert(version.file) {
                        self.report.found(version.length());
                    }
                }
                // The other walk meets it too, and tells.
                Step::Failed { .. } => {}
                Step::Wait => return,
                Step::End => self.counting = None,
            }
        }
    }

    /// Files whose pause is over are ready again.
    fn wake(&mut self, now: Duration) {
        while let Some((_, key)) = self.waiting.first().copied().filter(|(at, _)| *at <= now) {
            self.waiting.pop_first();
            if let Some(file) = self.files.get_mut(&key) {
                file.begin_anew();
                self.ready.push_front(key);
            }
        }
    }

    /// Takes files from the walk while there is room for more.
    fn fetch_work(&mut self, now: Duration, actions: &mut Vec<Action>) {
        while self.files.len() < FILES_MAX
            && !self.is_too_large()
            && let Some(walk) = &mut self.walk
        {
            match walk.next(now, &mut self.ids, actions) {
                Step::File { path, inode, version } => {
                    if self.seen.insert(version.file) {
                        self.add_file(path, inode, version);
                    }
                }
                Step::Failed { path, fault } => self.report.failed(path, &fault),
                Step::Wait => return,
                Step::End => self.walk = None,
            }
        }
    }

    fn add_file(&mut self, path: NamespacePath, inode: InodeId, version: VersionDescriptor) {
        if self.counted.insert(version.file) {
            self.report.found(version.length());
        }
        let key = self.ids.next();
        self.files.insert(key, FileWork::new(path, inode, version));
        self.ready.push_back(key);
    }

    /// Asks workers to load what is ready, in the order of the list, as far as they may be asked.
    fn hand_out(&mut self, actions: &mut Vec<Action>) {
        if self.is_too_large() {
            return;
        }
        let mut kept = VecDeque::new();
        while self.tasks.len() < TASKS_MAX
            && self.workers.has_place()
            && let Some(key) = self.ready.pop_front()
        {
            let Some(file) = self.files.get_mut(&key) else { continue };
            while self.tasks.len() < TASKS_MAX
                && let Some(worker) = file.target(&self.workers.map)
                && self.workers.take_place(worker)
            {
                let part = file.take(worker, self.workers.live);
                let task = TaskId(self.ids.next());
                let (version, Part { offset, length, .. }) = (file.version.clone(), part);
                actions.push(Action::Load { task, worker, version, offset, length });
                self.tasks.insert(task, Task { file: key, part, cached: 0 });
            }
            if file.has_more() {
                kept.push_back(key);
            }
        }
        kept.append(&mut self.ready);
        self.ready = kept;
    }

    fn task_ended(
        &mut self,
        now: Duration,
        task: TaskId,
        outcome: Result<Loaded, Fault>,
        actions: &mut Vec<Action>,
    ) {
        let Some(Task { file: key, part, .. }) = self.tasks.remove(&task) else { return };
        self.workers.give_place(part.worker);
        let Some(file) = self.files.get_mut(&key) else { return };
        file.tasks -= 1;
        match outcome {
            Ok(loaded) => {
                file.loaded += part.length;
                file.missing = file.missing.saturating_add(loaded.missing_bytes);
                self.pass_missing = self.pass_missing.saturating_add(loaded.missing_bytes);
                self.report.fetched(loaded.under_store_bytes);
            }
            // The first fault of an attempt is told; those that follow often follow from it.
            Err(fault) => file.fault = file.fault.take().or(Some(fault)),
        }
        if !file.is_over() {
            return;
        }
        match file.fault.take() {
            None => self.file_done(key),
            Some(fault) => self.file_faulted(now, key, fault, actions),
        }
    }

    fn file_done(&mut self, key: FileKey) {
        let Some(file) = self.files.remove(&key) else { return };
        if self.pass == PASSES_MAX && file.missing > 0 {
            let reason = "was loaded and evicted again each time: the cache has no room for all that is loaded and read";
            self.give_up(&file, &Fault::new(ErrorKind::NoSpace, reason));
        } else if self.done.insert(file.version.file) {
            self.report.done(file.version.length());
        }
    }

    /// Another attempt, a look for the file's new version, or the end of it.
    fn file_faulted(&mut self, now: Duration, key: FileKey, fault: Fault, actions: &mut Vec<Action>) {
        let Some(file) = self.files.get_mut(&key) else { return };
        if matches!(fault.kind, ErrorKind::Stale | ErrorKind::NotFound) && file.renewals < RENEWALS_MAX {
            file.renewals += 1;
            let request = RequestId(self.ids.next());
            actions.push(Action::Renew { request, inode: file.inode });
            self.renewing.insert(request, key);
            return;
        }
        match file.retry.again(now, fault.kind) {
            Some(at) => {
                self.waiting.insert((at, key));
            }
            None => {
                if let Some(file) = self.files.remove(&key) {
                    self.give_up(&file, &fault);
                }
            }
        }
    }

    /// What a file is now that its version could not be read any more.
    fn renewed(&mut self, now: Duration, key: FileKey, found: Result<Found, Fault>) {
        let Some(file) = self.files.get_mut(&key) else { return };
        let before = (file.version.file, file.version.length());
        let fault = match found {
            Ok(Found { version: Some(version), .. }) if version.file != before.0 => {
                let length = version.length();
                let (is_counted, is_seen) =
                    (!self.counted.insert(version.file), !self.seen.insert(version.file));
                file.version = version;
                file.begin_anew();
                if self.done.remove(before.0) {
                    self.report.undone(before.1);
                }
                self.report.changed(before.1, length, is_counted);
                if is_seen {
                    // Another walk came by the new version already, and it is loaded there.
                    self.files.remove(&key);
                } else {
                    self.ready.push_front(key);
                }
                return;
            }
            Ok(Found { version: Some(_), .. }) => Fault::new(
                ErrorKind::UnderStore,
                "cannot be read: the under-store says that it has changed and that it has not",
            ),
            Ok(_) => Fault::new(ErrorKind::NotFound, "is no file any more"),
            Err(fault) => fault,
        };
        match file.retry.again(now, fault.kind) {
            Some(at) => {
                self.waiting.insert((at, key));
            }
            None => {
                if let Some(file) = self.files.remove(&key) {
                    self.give_up(&file, &fault);
                }
            }
        }
    }

    fn give_up(&mut self, file: &FileWork, fault: &Fault) {
        if self.done.remove(file.version.file) {
            self.report.undone(file.version.length());
        }
        self.report.failed(file.path.clone(), fault);
    }

    /// Whether what was counted is more than the workers can hold, as far as they are known.
    fn is_too_large(&self) -> bool {
        self.report.bytes_total() > self.workers.capacity
    }

    /// Whether and how the load ends now.
    fn verdict(&mut self, now: Duration) -> Option<(JobState, Option<String>)> {
        if self.workers.is_missing_since(now) > PATIENCE && self.has_work() {
            return Some((
                JobState::Failed,
                Some("no worker is there to load anything; start one".to_owned()),
            ));
        }
        if self.is_too_large() {
            // A worker that fell silent may be on its way back.
            let since = *self.too_large_since.get_or_insert(now);
            let is_final = !self.workers.has_lost() || now.saturating_sub(since) > PATIENCE;
            let is_known = self.workers.is_settled && self.workers.live > 0 && self.counting.is_none();
            return (is_known && is_final).then(|| (JobState::Failed, Some(self.missing_room())));
        }
        self.too_large_since = None;
        if self.has_work() || self.counting.is_some() {
            return None;
        }
        if self.report.has_failures() {
            return Some((JobState::Failed, None));
        }
        if self.pass_missing == 0 {
            return Some((JobState::Succeeded, None));
        }
        assert!(self.pass < PASSES_MAX, "what is missing in the last pass is a failure");
        self.begin_pass();
        None
    }

    fn has_work(&self) -> bool {
        self.walk.is_some() || !self.files.is_empty()
    }

    fn begin_pass(&mut self) {
        self.pass += 1;
        self.pass_missing = 0;
        self.walk = Some(Walk::new());
        self.seen = Visited::default();
    }

    fn missing_room(&self) -> String {
        let (needed, capacity) = (self.report.bytes_total(), self.workers.capacity);
        let missing = needed - capacity;
        format!(
            "the files have {} and all tiers together {}: {missing} bytes ({}) are missing; add a tier or a worker, or \
             load less",
            ByteCount::new(needed),
            ByteCount::new(capacity),
            ByteCount::new(missing),
        )
    }
}

impl Default for LoadJob {
    fn default() -> Self {
        Self::new()
    }
}

impl Workers {
    fn learn(&mut self, map: ClusterMap, is_settled: bool) {
        let live = || map.workers.iter().filter(|worker| worker.state == WorkerState::Live);
        self.live = live().count();
        self.capacity = live().fold(0, |sum, worker| sum.saturating_add(worker.capacity.get()));
        self.is_settled = is_settled;
        self.map = map;
    }

    /// How long nobody could be asked.
    fn is_missing_since(&mut self, now: Duration) -> Duration {
        if self.live > 0 {
            self.nobody_since = None;
            return Duration::ZERO;
        }
        now.saturating_sub(*self.nobody_since.get_or_insert(now))
    }

    fn has_lost(&self) -> bool {
        self.live < self.map.workers.len()
    }

    /// Whether somebody can be asked for more.
    fn has_place(&self) -> bool {
        self.busy.values().filter(|busy| **busy >= TASKS_PER_WORKER_MAX).count() < self.live
    }

    fn take_place(&mut self, worker: WorkerId) -> bool {
        let busy = self.busy.entry(worker).or_default();
        let is_free = *busy < TASKS_PER_WORKER_MAX;
        *busy += usize::from(is_free);
        is_free
    }

    fn give_place(&mut self, worker: WorkerId) {
        if let Some(busy) = self.busy.get_mut(&worker) {
            *busy = busy.saturating_sub(1);
            if *busy == 0 {
                self.busy.remove(&worker);
            }
        }
    }
}

#[cfg(test)]
mod tests;
