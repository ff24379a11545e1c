//! The load of metadata: has all directories at and below some paths listed, so that nobody who looks a name up, stats
//! or lists has to wait for an under-store. No byte of a file is loaded.
//!
//! Several directories are listed at a time, the deepest known ones first, so that as few as may be wait. A directory
//! counts as done once it was listed to its end and all that it has was seen. Nothing is remembered for a job that goes
//! on after a restart: what is fresh then is not listed again, and what is not must be.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use forebay_types::{
    ByteCount, EntryKind, ErrorKind, InodeId, JobProgress, JobState, ListingPosition, NamespacePath,
};

use crate::asking::{Asking, Ids};
use crate::event::{Action, Event, Fault, Found, NamedFound, Page, RequestId};
use crate::limits::{DIRECTORIES_AT_ONCE_MAX, LISTING_LIMIT};
use crate::report::Report;
use crate::roots::{Root, Roots};
use crate::visited::Visited;

/// One load of metadata, from its begin to its end.
#[derive(Debug)]
pub struct MetadataLoadJob {
    ids: Ids,
    roots: Roots,
    /// Whether all paths were taken.
    is_rooted: bool,
    /// Directories that are not done, or have some that are not begun, the deepest last.
    open: Vec<Directory>,
    /// Files and directories that were come by.
    visited: Visited,
    report: Report,
    is_over: bool,
}

/// A directory that is worked on.
#[derive(Debug)]
struct Directory {
    path: NamespacePath,
    inode: InodeId,
    /// The job's path that it lies at or below.
    root: Arc<(NamespacePath, InodeId)>,
    stage: Stage,
    asking: Asking,
    /// Those of it that were not begun, in their order.
    below: VecDeque<(NamespacePath, InodeId)>,
}

/// How far a directory is.
#[derive(Clone, Debug)]
enum Stage {
    /// It is being listed.
    Listing,
    /// What it has is read, as of the moment at which it was asked for.
    Reading { after: Option<ListingPosition>, begun: Duration },
    /// It is not there any more. Where its root still is, it went with its name, and there is nothing to be known of it.
    Gone,
    /// Nothing of itself is left to do.
    Done,
}

impl MetadataLoadJob {
    /// A load that has done nothing yet. It begins with the first event.
    #[must_use]
    pub fn new() -> Self {
        Self::resuming(JobProgress::default(), 0)
    }

    /// A load that goes on after `before` and `directories_before` were written down of it.
    #[must_use]
    pub fn resuming(before: JobProgress, directories_before: u64) -> Self {
        Self {
            ids: Ids::default(),
            roots: Roots::new(),
            is_rooted: false,
            open: Vec::new(),
            visited: Visited::default(),
            report: Report::resuming(before, directories_before),
            is_over: false,
        }
    }

    /// Takes what happened at `now`, which is counted from any fixed moment, and gives what is to be done.
    pub fn handle(&mut self, now: Duration, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.is_over {
            return actions;
        }
        self.take(now, event);
        self.go_on(now, &mut actions);
        if self.is_rooted && self.open.is_empty() {
            let state = if self.report.has_failures() { JobState::Failed } else { JobState::Succeeded };
            if let Some(end) = self.report.end(state, None) {
                self.is_over = true;
                actions.push(end);
                return actions;
            }
        }
        actions.extend(self.report.due(now));
        actions
    }

    /// How far the load is now. Files count as done once they were seen; bytes there are none.
    #[must_use]
    pub fn progress(&self) -> JobProgress {
        self.report.progress(0)
    }

    /// How many directories were gone through.
    #[must_use]
    pub fn directories_done(&self) -> u64 {
        self.report.directories()
    }

    fn take(&mut self, now: Duration, event: Event) {
        match event {
            Event::Paths { request, paths } => self.roots.paths(now, request, &paths),
            Event::Found { request, found } => match self.asked(request) {
                Some(place) => self.root_found(now, place, &found),
                None => self.roots.found(now, request, &found),
            },
            Event::ListedWhole { request, outcome } => {
                if let Some(place) = self.asked(request) {
                    self.listed_whole(now, place, outcome);
                }
            }
            Event::Listed { request, page } => {
                if let Some(place) = self.asked(request) {
                    self.read(now, place, page);
                }
            }
            Event::Persisted { is_durable } => self.report.persisted(is_durable),
            // Time passes, and workers have nothing to do here.
            Event::Tick
            | Event::Workers { .. }
            | Event::Room { .. }
            | Event::Loading { .. }
            | Event::Loaded { .. }
            | Event::Looked { .. } => {}
        }
    }

    /// The place of the directory about which this was asked.
    fn asked(&self, request: RequestId) -> Option<usize> {
        self.open.iter().position(|directory| directory.asking.request == Some(request))
    }

    fn listed_whole(&mut self, now: Duration, place: usize, outcome: Result<(), Fault>) {
        let directory = &mut self.open[place];
        match outcome {
            Ok(()) => {
                let begun = directory.asking.asked_at();
                directory.asking = Asking::default();
                directory.stage = Stage::Reading { after: None, begun };
            }
            Err(fault) => self.faulted(now, place, fault),
        }
    }

    fn read(&mut self, now: Duration, place: usize, page: Result<Page, Fault>) {
        let page = match page {
            Ok(page) => page,
            Err(fault) => return self.faulted(now, place, fault),
        };
        let directory = &mut self.open[place];
        directory.asking = Asking::default();
        for NamedFound { name, found } in &page.entries {
            match found {
                Found { kind: EntryKind::Directory, inode, .. } => {
                    directory.below.push_back((directory.path.join(name.clone()), *inode));
                }
                Found { kind: EntryKind::File, inode, .. } => {
                    if self.visited.insert(*inode) {
                        file_done(&mut self.report);
                    }
                }
                Found { .. } => {}
            }
        }
        if let (false, Some(last), Stage::Reading { after, .. }) =
            (page.is_last, page.entries.last(), &mut directory.stage)
        {
            *after = Some(last.position());
            return;
        }
        directory.stage = Stage::Done;
        self.report.directory_done();
    }

    /// A question about a directory failed: it is asked again, or the directory is given up.
    fn faulted(&mut self, now: Duration, place: usize, fault: Fault) {
        let directory = &mut self.open[place];
        let is_gone = matches!(fault.kind, ErrorKind::NotFound | ErrorKind::NotADirectory);
        if is_gone && directory.inode != directory.root.1 {
            (directory.stage, directory.asking) = (Stage::Gone, Asking::default());
        } else if !directory.asking.failed(now, fault.kind) {
            self.report.path_failed(directory.path.clone(), &fault);
            directory.give_up();
        }
    }

    /// Whether the root of a directory that is gone is still what it was: else all of it may be gone, as after an
    /// unmount, and that is no success.
    fn root_found(&mut self, now: Duration, place: usize, found: &Result<Found, Fault>) {
        let directory = &mut self.open[place];
        let fault = match found {
            Ok(Found { inode, .. }) if *inode == directory.root.1 => return directory.give_up(),
            Ok(_) => Fault::new(ErrorKind::NotFound, "was replaced while it was gone through; load it again"),
            Err(fault) if directory.asking.failed(now, fault.kind) => return,
            Err(fault) => fault.clone(),
        };
        self.report.path_failed(directory.root.0.clone(), &fault);
        directory.give_up();
    }

    /// Begins with directories while there is room for more, and asks for whatever can be asked.
    fn go_on(&mut self, now: Duration, actions: &mut Vec<Action>) {
        loop {
            self.open.retain(|directory| !directory.is_over());
            while self.open.iter().filter(|directory| directory.has_question()).count()
                < DIRECTORIES_AT_ONCE_MAX
                && self.begin_next(now, actions)
            {}
            // A directory may have been done before it was begun.
            if self.open.iter().all(|directory| !directory.is_over()) {
                break;
            }
        }
        for directory in &mut self.open {
            directory.ask(now, &mut self.ids, actions);
        }
    }

    /// Begins with the next directory; whether there was one.
    fn begin_next(&mut self, now: Duration, actions: &mut Vec<Action>) -> bool {
        let above = self.open.iter_mut().rev().find(|directory| !directory.below.is_empty());
        if let Some(above) = above
            && let Some((path, inode)) = above.below.pop_front()
        {
            let root = Arc::clone(&above.root);
            self.begin(path, inode, root);
            return true;
        }
        self.roots.look_ahead(now, &mut self.ids, actions);
        match self.roots.next() {
            Root::Directory { path, inode } => {
                let root = Arc::new((path.clone(), inode));
                self.begin(path, inode, root);
            }
            Root::File { inode, .. } => {
                if self.visited.insert(inode) {
                    file_done(&mut self.report);
                }
            }
            Root::Failed { path, fault } => self.report.path_failed(path, &fault),
            Root::Wait => return false,
            Root::End => {
                self.is_rooted = true;
                return false;
            }
        }
        true
    }

    fn begin(&mut self, path: NamespacePath, inode: InodeId, root: Arc<(NamespacePath, InodeId)>) {
        if self.visited.insert(inode) {
            let (stage, asking, below) = (Stage::Listing, Asking::default(), VecDeque::new());
            self.open.push(Directory { path, inode, root, stage, asking, below });
        }
    }
}

impl Default for MetadataLoadJob {
    fn default() -> Self {
        Self::new()
    }
}

impl Directory {
    /// Whether something is asked of it, or is to be.
    fn has_question(&self) -> bool {
        match self.stage {
            Stage::Listing | Stage::Gone => true,
            // Where it has many directories, they come first.
            Stage::Reading { .. } => self.asking.request.is_some() || self.below.len() <= LISTING_LIMIT / 4,
            Stage::Done => false,
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Done) && self.below.is_empty()
    }

    fn give_up(&mut self) {
        (self.stage, self.asking) = (Stage::Done, Asking::default());
    }

    fn ask(&mut self, now: Duration, ids: &mut Ids, actions: &mut Vec<Action>) {
        if !self.has_question() {
            return;
        }
        let Some(request) = self.asking.begin(now, ids) else { return };
        let directory = self.inode;
        actions.push(match &self.stage {
            Stage::Listing => Action::ListWhole { request, directory },
            Stage::Reading { after, begun } => {
                Action::List { request, directory, after: after.clone(), begun: *begun, limit: LISTING_LIMIT }
            }
            Stage::Gone => Action::Resolve { request, path: self.root.0.clone() },
            Stage::Done => unreachable!("what is done has no question"),
        });
    }
}

/// A file was seen: that is all there is to do with it.
fn file_done(report: &mut Report) {
    report.found(ByteCount::ZERO);
    report.done(ByteCount::ZERO, true);
}

#[cfg(test)]
mod tests;
