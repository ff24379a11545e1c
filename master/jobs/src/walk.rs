//! Goes through a job's paths in the order of the list, and below directories depth first and in the order of keys, a
//! page at a time: so a large directory is gone through while it is being listed.
//!
//! Paths are looked up ahead of their turn, but are gone through in their turn. Symbolic links below a directory are
//! passed over: what they point to is gone through under its own name or lies outside.

use std::collections::VecDeque;
use std::time::Duration;

use forebay_types::{EntryKind, ErrorKind, InodeId, ListingPosition, NamespacePath, VersionDescriptor};

use crate::event::{Action, Fault, Found, NamedFound, Page, RequestId};
use crate::limits::{LISTING_LIMIT, PATHS_AHEAD_MAX};
use crate::retry::Retry;

/// Numbers for requests and tasks.
#[derive(Debug, Default)]
pub(crate) struct Ids(u64);

/// One way through all paths.
#[derive(Debug)]
pub(crate) struct Walk {
    next_row: u32,
    /// How the next row of paths is asked for; `None` after the last.
    row: Option<Asking>,
    /// Paths of the current row that were not looked up yet.
    rest: std::vec::IntoIter<NamespacePath>,
    /// Paths that are looked up, in their order.
    ahead: VecDeque<Wanted>,
    /// The directories that are open, the deepest last.
    open: Vec<OpenDirectory>,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A file.
    File { path: NamespacePath, inode: InodeId, version: VersionDescriptor },
    /// Something that cannot be gone through.
    Failed { path: NamespacePath, fault: Fault },
    /// An answer must come first, or time must pass.
    Wait,
    /// There is no more.
    End,
}

/// A question that is asked, or will be.
#[derive(Debug, Default)]
struct Asking {
    request: Option<RequestId>,
    retry: Retry,
    not_before: Duration,
}

#[derive(Debug)]
struct Wanted {
    path: NamespacePath,
    asking: Asking,
    found: Option<Result<Found, Fault>>,
}

#[derive(Debug)]
struct OpenDirectory {
    path: NamespacePath,
    inode: InodeId,
    entries: VecDeque<NamedFound>,
    after: Option<ListingPosition>,
    /// When the first part was asked for.
    begun: Option<Duration>,
    is_last: bool,
    asking: Asking,
    fault: Option<Fault>,
}

impl Ids {
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

impl Asking {
    /// The number to ask under, if it is time and nobody has asked.
    fn begin(&mut self, now: Duration, ids: &mut Ids) -> Option<RequestId> {
        if self.request.is_some() || now < self.not_before {
            return None;
        }
        let request = RequestId(ids.next());
        self.request = Some(request);
        Some(request)
    }

    /// The question failed: whether it will be asked again.
    fn failed(&mut self, now: Duration, kind: ErrorKind) -> bool {
        self.request = None;
        match self.retry.again(now, kind) {
            Some(not_before) => {
                self.not_before = not_before;
                true
            }
            None => false,
        }
    }
}

impl Walk {
    pub(crate) fn new() -> Self {
        Self {
            next_row: 0,
            row: Some(Asking::default()),
            rest: Vec::new().into_iter(),
            ahead: VecDeque::new(),
            open: Vec::new(),
        }
    }

    /// The next step; what must be asked for it is added to `actions`.
    pub(crate) fn next(&mut self, now: Duration, ids: &mut Ids, actions: &mut Vec<Action>) -> Step {
        loop {
            if self.open.is_empty() {
                self.look_ahead(now, ids, actions);
            }
            if let Some(step) = self.next_below(now, ids, actions) {
                return step;
            }
            let Some(front) = self.ahead.front() else {
                return if self.row.is_none() { Step::End } else { Step::Wait };
            };
            if front.found.is_none() {
                return Step::Wait;
            }
            let Some(Wanted { path, found: Some(found), .. }) = self.ahead.pop_front() else {
                return Step::Wait;
            };
            match found {
                Err(fault) => return Step::Failed { path, fault },
                Ok(Found { kind: EntryKind::Directory, inode, .. }) => {
                    self.open.push(OpenDirectory::new(path, inode))
                }
                Ok(Found { inode, version: Some(version), .. }) => {
                    return Step::File { path, inode, version };
                }
                Ok(_) => {
                    let reason = "is a symbolic link; name what it points to";
                    return Step::Failed { path, fault: Fault::new(ErrorKind::InvalidArgument, reason) };
                }
            }
        }
    }

    /// The next step below the directories that are open; `None` when none is.
    fn next_below(&mut self, now: Duration, ids: &mut Ids, actions: &mut Vec<Action>) -> Option<Step> {
        while let Some(directory) = self.open.last_mut() {
            directory.ask(now, ids, actions);
            if let Some(NamedFound { name, found }) = directory.entries.pop_front() {
                let path = directory.path.join(name);
                match found {
                    Found { kind: EntryKind::Directory, inode, .. } => {
                        self.open.push(OpenDirectory::new(path, inode));
                    }
                    Found { inode, version: Some(version), .. } => {
                        return Some(Step::File { path, inode, version });
                    }
                    Found { .. } => {}
                }
                continue;
            }
            if let Some(fault) = directory.fault.take() {
                let path = self.open.pop().map_or_else(NamespacePath::root, |directory| directory.path);
                return Some(Step::Failed { path, fault });
            }
            if !directory.is_last {
                return Some(Step::Wait);
            }
            self.open.pop();
        }
        None
    }

    fn look_ahead(&mut self, now: Duration, ids: &mut Ids, actions: &mut Vec<Action>) {
        while self.ahead.len() < PATHS_AHEAD_MAX
            && let Some(path) = self.rest.next()
        {
            self.ahead.push_back(Wanted { path, asking: Asking::default(), found: None });
        }
        for wanted in &mut self.ahead {
            if wanted.found.is_none()
                && let Some(request) = wanted.asking.begin(now, ids)
            {
                actions.push(Action::Resolve { request, path: wanted.path.clone() });
            }
        }
        if self.rest.as_slice().is_empty()
            && let Some(asking) = &mut self.row
            && let Some(request) = asking.begin(now, ids)
        {
            actions.push(Action::ReadPaths { request, row: self.next_row });
        }
    }

    /// Takes a row of paths, if it was asked for here.
    pub(crate) fn paths(
        &mut self,
        now: Duration,
        request: RequestId,
        paths: &Result<Option<Vec<NamespacePath>>, Fault>,
    ) {
        let Some(asking) = self.row.as_mut().filter(|asking| asking.request == Some(request)) else { return };
        match paths {
            Ok(Some(paths)) => {
                self.rest = paths.clone().into_iter();
                self.next_row += 1;
                self.row = Some(Asking::default());
            }
            Ok(None) => self.row = None,
            // The job's own rows: whoever keeps them is away for a moment, or the job ends with it.
            Err(fault) => {
                if !asking.failed(now, fault.kind) {
                    *asking = Asking { not_before: now + crate::limits::BACKOFF.1, ..Asking::default() };
                }
            }
        }
    }

    /// Takes what a path leads to, if it was asked for here.
    pub(crate) fn found(&mut self, now: Duration, request: RequestId, found: &Result<Found, Fault>) {
        let wanted = self.ahead.iter_mut().find(|wanted| wanted.asking.request == Some(request));
        let Some(wanted) = wanted else { return };
        match found {
            Err(fault) if wanted.asking.failed(now, fault.kind) => {}
            found => {
                wanted.asking.request = None;
                wanted.found = Some(found.clone());
            }
        }
    }

    /// Takes a part of a directory, if it was asked for here.
    pub(crate) fn listed(&mut self, now: Duration, request: RequestId, page: &Result<Page, Fault>) {
        let directory = self.open.iter_mut().find(|directory| directory.asking.request == Some(request));
        let Some(directory) = directory else { return };
        match page {
            Ok(page) => {
                directory.asking = Asking::default();
                directory.is_last = page.is_last || page.entries.is_empty();
                directory.after = page.entries.last().map(NamedFound::position).or(directory.after.take());
                directory.entries.extend(page.entries.iter().cloned());
            }
            Err(fault) if directory.asking.failed(now, fault.kind) => {}
            Err(fault) => {
                directory.is_last = true;
                directory.fault = Some(fault.clone());
            }
        }
    }
}

impl OpenDirectory {
    fn new(path: NamespacePath, inode: InodeId) -> Self {
        Self {
            path,
            inode,
            entries: VecDeque::new(),
            after: None,
            begun: None,
            is_last: false,
            asking: Asking::default(),
            fault: None,
        }
    }

    /// Asks for the next part a little before it is needed.
    fn ask(&mut self, now: Duration, ids: &mut Ids, actions: &mut Vec<Action>) {
        if !self.is_last
            && self.entries.len() <= LISTING_LIMIT / 4
            && let Some(request) = self.asking.begin(now, ids)
        {
            // While nothing of it was read, a later moment is as good as the first.
            let begun = *self.begun.insert(self.begun.filter(|_| self.after.is_some()).unwrap_or(now));
            let (directory, after) = (self.inode, self.after.clone());
            actions.push(Action::List { request, directory, after, begun, limit: LISTING_LIMIT });
        }
    }
}
