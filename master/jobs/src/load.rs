//! The load: brings all files at and below some paths into the cache, and says so only when it was seen.
//!
//! Two walks go through the paths at once. One counts, so that the total is known and a job that cannot fit is refused
//! early; the other hands out work in the order of the list. When all work is done the second one goes again, until a
//! pass finds every byte in its place: only such a pass lets the job succeed.
//!
//! Where that cannot be (something is evicted each time, or a worker went and took its room along), the walk goes a last
//! time and only looks what workers hold: what is whole is done, and the rest is named.

mod look;
mod workers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use forebay_types::{
    ByteCount, ErrorKind, InodeId, JobProgress, JobState, NamespacePath, VersionDescriptor, WorkerId,
};

use crate::asking::Ids;
use crate::event::{Action, Event, Fault, Found, Loaded, RequestId, TaskId};
use crate::file::{FileWork, Met, Part};
use crate::limits::{FILES_MAX, PASSES_MAX, PATIENCE, RENEWALS_MAX, ROOM_PATIENCE, TASKS_MAX};
use crate::report::Report;
use crate::visited::Visited;
use crate::walk::{Step, Walk};
use look::Look;
use workers::Workers;

/// The number of a file that is worked on; grows with the order of the list.
type FileKey = u64;

/// One load, from its begin to its end.
#[derive(Debug)]
pub struct LoadJob {
    ids: Ids,
    workers: Workers,
    /// `None` when all was counted.
    counting: Option<Walk>,
    /// Files that either walk has found.
    known: Visited,
    /// Their versions, as they were counted or handed out.
    counted: Visited,
    /// `None` when this pass has handed out all.
    walk: Option<Walk>,
    /// Files that this pass has come by.
    seen: Visited,
    /// Files that were given up.
    given_up: Visited,
    /// Files that their mounts do not want cached. They are no part of what is to be loaded.
    skipped: Visited,
    pass: u32,
    /// Bytes that this pass did not find in their place.
    pass_missing: u64,
    files: BTreeMap<FileKey, FileWork>,
    /// Files with parts that nobody was asked for.
    ready: VecDeque<FileKey>,
    waiting: BTreeSet<(Duration, FileKey)>,
    /// Which, and at which worker it failed.
    renewing: BTreeMap<RequestId, (FileKey, WorkerId)>,
    tasks: BTreeMap<TaskId, Task>,
    /// Whether a worker was ever asked for anything.
    has_asked: bool,
    look: Option<Look>,
    report: Report,
    too_large_since: Option<Duration>,
    is_over: bool,
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
            known: Visited::default(),
            counted: Visited::default(),
            walk: Some(Walk::new()),
            seen: Visited::default(),
            given_up: Visited::default(),
            skipped: Visited::default(),
            pass: 1,
            pass_missing: 0,
            files: BTreeMap::new(),
            ready: VecDeque::new(),
            waiting: BTreeSet::new(),
            renewing: BTreeMap::new(),
            tasks: BTreeMap::new(),
            has_asked: false,
            look: None,
            report: Report::default(),
            too_large_since: None,
            is_over: false,
        }
    }

    /// A load that goes on after `before` was written down of it. What is in the cache is seen at once, not fetched.
    #[must_use]
    pub fn resuming(before: JobProgress) -> Self {
        Self { report: Report::resuming(before, 0), ..Self::new() }
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
    pub fn progress(&self) -> JobProgress {
        let parts =
            self.tasks.values().map(|task| task.cached).chain(self.files.values().map(|file| file.loaded));
        self.report.progress(if self.pass == 1 { parts.sum() } else { 0 })
    }

    fn take(&mut self, now: Duration, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Tick => {}
            Event::Workers { map, is_settled, room_bytes } => {
                self.workers.learn(map, is_settled, room_bytes);
            }
            Event::Room { room_bytes } => self.workers.room = room_bytes,
            Event::Paths { request, paths } => self.each_walk(|walk| walk.paths(now, request, &paths)),
            Event::Listed { request, page } => self.each_walk(|walk| walk.listed(now, request, &page)),
            Event::Found { request, found } => match self.renewing.remove(&request) {
                Some(asked) => self.renewed(now, asked, found),
                None => self.each_walk(|walk| walk.found(now, request, &found)),
            },
            Event::Loading { task, cached_bytes } => {
                if let Some(task) = self.tasks.get_mut(&task) {
                    task.cached = cached_bytes.min(task.part.length);
                }
            }
            Event::Loaded { task, outcome } => self.task_ended(now, task, outcome, actions),
            // Nobody asked for it here.
            Event::ListedWhole { .. } => {}
            Event::Looked { request, is_whole } => self.looked(request, is_whole),
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
                Step::File { inode, version, .. } => {
                    if self.known.insert(inode) {
                        self.counted.insert(version.file);
                        self.report.found(version.length());
                    }
                }
                // The other walk meets it too, and tells.
                Step::Failed { .. } | Step::Refused { .. } => {}
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
        if self.look.as_ref().is_some_and(|look| !look.may_ask(now)) {
            return;
        }
        while self.files.len() < FILES_MAX
            && !self.is_too_large()
            && let Some(walk) = &mut self.walk
        {
            match walk.next(now, &mut self.ids, actions) {
                Step::File { path, inode, version } => {
                    if self.seen.insert(inode) {
                        self.add_file(path, inode, version, actions);
                    }
                }
                Step::Refused { path, inode, reason } => {
                    if self.skipped.insert(inode) {
                        self.report.skipped(path, &reason);
                    }
                }
                Step::Failed { path, fault } => self.report.path_failed(path, &fault),
                Step::Wait => return,
                Step::End => self.walk = None,
            }
        }
    }

    fn add_file(
        &mut self,
        path: NamespacePath,
        inode: InodeId,
        version: VersionDescriptor,
        actions: &mut Vec<Action>,
    ) {
        let (is_new, is_uncounted) = (self.known.insert(inode), self.counted.insert(version.file));
        let met = match (is_new, is_uncounted) {
            (true, _) => Met::New,
            (false, true) => Met::Replaced,
            (false, false) => Met::Known,
        };
        match met {
            Met::New => self.report.found(version.length()),
            Met::Replaced => self.report.replaced(),
            Met::Known => {}
        }
        self.report.met(version.length());
        let key = self.ids.next();
        match &mut self.look {
            None => self.ready.push_back(key),
            Some(look) => actions.push(look.ask(RequestId(self.ids.next()), key, version.clone())),
        }
        self.files.insert(key, FileWork::new(path, inode, version, met));
    }

    /// Asks workers to load what is ready, in the order of the list, as far as they may be asked.
    fn hand_out(&mut self, actions: &mut Vec<Action>) {
        if self.is_too_large() || self.look.is_some() {
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
                self.has_asked = true;
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
                self.pass_missing = self.pass_missing.saturating_add(loaded.missing_bytes);
                self.report.fetched(loaded.under_store_bytes);
            }
            // The first fault of an attempt is told; those that follow often follow from it.
            Err(fault) => file.fault = file.fault.take().or(Some((part.worker, fault))),
        }
        if !file.is_over() {
            return;
        }
        match file.fault.take() {
            None => self.file_done(key),
            Some((worker, fault)) => self.file_faulted(now, key, worker, fault, actions),
        }
    }

    fn file_done(&mut self, key: FileKey) {
        let Some(file) = self.files.remove(&key) else { return };
        let is_first_time = self.pass == 1 || file.met == Met::New;
        self.report.done(file.version.length(), is_first_time);
    }

    /// Another attempt, a look for the file's new version, or the end of it.
    fn file_faulted(
        &mut self,
        now: Duration,
        key: FileKey,
        worker: WorkerId,
        fault: Fault,
        actions: &mut Vec<Action>,
    ) {
        let Some(file) = self.files.get_mut(&key) else { return };
        if matches!(fault.kind, ErrorKind::Stale | ErrorKind::NotFound) && file.renewals < RENEWALS_MAX {
            file.renewals += 1;
            let request = RequestId(self.ids.next());
            actions.push(Action::Renew { request, inode: file.inode });
            self.renewing.insert(request, (key, worker));
            return;
        }
        // It may be this worker alone that lacks the key or the folder.
        if matches!(fault.kind, ErrorKind::InvalidArgument | ErrorKind::PermissionDenied)
            && file.avoid(worker, &fault, &self.workers.map)
        {
            file.begin_anew();
            self.ready.push_front(key);
            return;
        }
        match file.retry.again(now, fault.kind) {
            Some(at) => {
                self.waiting.insert((at, key));
            }
            None => self.give_up(key, &fault),
        }
    }

    /// What a file is now that its version could not be read any more.
    fn renewed(&mut self, now: Duration, (key, worker): (FileKey, WorkerId), found: Result<Found, Fault>) {
        let Some(file) = self.files.get_mut(&key) else { return };
        let fault = match found {
            Ok(Found { version: Some(version), .. }) if version.file != file.version.file => {
                self.counted.insert(version.file);
                self.report.changed(file.version.length(), version.length());
                file.version = version;
                file.begin_anew();
                self.ready.push_front(key);
                return;
            }
            Ok(Found { version: Some(_), .. }) => {
                let reason = "cannot be read: the under-store says that it has changed and that it has not";
                let fault = Fault::new(ErrorKind::UnderStore, reason);
                // It may be this worker alone that sees another folder; where there is no other it is asked again.
                file.avoid(worker, &fault, &self.workers.map);
                fault
            }
            Ok(_) => Fault::new(ErrorKind::NotFound, "is no file any more"),
            Err(fault) => fault,
        };
        match file.retry.again(now, fault.kind) {
            Some(at) => {
                self.waiting.insert((at, key));
            }
            None => self.give_up(key, &fault),
        }
    }

    fn give_up(&mut self, key: FileKey, fault: &Fault) {
        let Some(file) = self.files.remove(&key) else { return };
        if self.pass > 1 && file.met != Met::New {
            self.report.undone(file.version.length());
        }
        if self.given_up.insert(file.inode) {
            self.report.failed(file.path.clone(), file.most_telling(fault));
        }
    }

    /// Whether what was counted is more than the workers can hold, as far as they are known.
    fn is_too_large(&self) -> bool {
        self.look.is_none() && self.report.bytes_total() > self.workers.room
    }

    /// Why no more can be loaded, once that is certain.
    fn obstacle(&mut self, now: Duration) -> Option<String> {
        if self.workers.is_missing_since(now) > PATIENCE && self.has_work() {
            return Some("no worker is there to load anything; start one".to_owned());
        }
        if !self.is_too_large() {
            self.too_large_since = None;
            return None;
        }
        // A worker that fell silent may be on its way back, and a file system may be full for a moment.
        let since = *self.too_large_since.get_or_insert(now);
        let may_pass = self.workers.has_lost() || self.report.bytes_total() <= self.workers.quota;
        let is_final = !may_pass || now.saturating_sub(since) >= ROOM_PATIENCE;
        let is_known = self.workers.is_settled && self.workers.live > 0 && self.counting.is_none();
        (is_known && is_final).then(|| self.missing_room())
    }

    /// Whether and how the load ends now.
    fn verdict(&mut self, now: Duration) -> Option<(JobState, Option<String>)> {
        if self.look.is_none()
            && let Some(reason) = self.obstacle(now)
        {
            if !self.has_asked {
                return Some((JobState::Failed, Some(reason)));
            }
            self.begin_look(now, Some(reason));
        }
        if self.has_work() || self.counting.is_some() || self.is_too_large() {
            return None;
        }
        self.report.settle();
        if self.report.has_failures() {
            let reason = self.look.as_ref().and_then(Look::reason);
            return Some((JobState::Failed, reason));
        }
        if self.pass_missing == 0 {
            return Some((JobState::Succeeded, self.report.skipped_reason()));
        }
        if self.pass < PASSES_MAX {
            self.begin_pass();
        } else {
            self.begin_look(now, None);
        }
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
        self.report.begin_pass();
    }

    fn missing_room(&self) -> String {
        let (needed, room) = (self.report.bytes_total(), self.workers.room);
        let missing = needed.saturating_sub(room);
        let holding = if room < self.workers.quota { "have room on their file systems for" } else { "hold" };
        format!(
            "the files have {} and all tiers together {holding} {}: {missing} bytes ({}) are missing; add a tier or a \
             worker, or load less",
            ByteCount::new(needed),
            ByteCount::new(room),
            ByteCount::new(missing),
        )
    }
}

impl Default for LoadJob {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
