//! Goes through a job's paths in the order of the list, and below directories depth first and in the order of keys, a
//! page at a time: so a large directory is gone through while it is being listed.
//!
//! Symbolic links below a directory are passed over: what they point to is gone through under its own name or lies
//! outside.

use std::collections::VecDeque;
use std::time::Duration;

use forebay_types::{EntryKind, InodeId, ListingPosition, NamespacePath, NotAdmitted, VersionDescriptor};

use crate::asking::{Asking, Ids};
use crate::event::{Action, Fault, Found, NamedFound, Page, RequestId};
use crate::limits::LISTING_LIMIT;
use crate::roots::{Root, Roots};

/// One way through all paths.
#[derive(Debug)]
pub(crate) struct Walk {
    roots: Roots,
    /// The directories that are open, the deepest last.
    open: Vec<OpenDirectory>,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A file.
    File { path: NamespacePath, inode: InodeId, version: VersionDescriptor },
    /// A file that its mount does not want cached.
    Refused { path: NamespacePath, inode: InodeId, reason: NotAdmitted },
    /// Something that cannot be gone through.
    Failed { path: NamespacePath, fault: Fault },
    /// An answer must come first, or time must pass.
    Wait,
    /// There is no more.
    End,
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

impl Step {
    fn of_file(
        path: NamespacePath,
        inode: InodeId,
        version: VersionDescriptor,
        refused: Option<NotAdmitted>,
    ) -> Self {
        match refused {
            None => Self::File { path, inode, version },
            Some(reason) => Self::Refused { path, inode, reason },
        }
    }
}

impl Walk {
    pub(crate) fn new() -> Self {
        Self { roots: Roots::new(), open: Vec::new() }
    }

    /// The next step; what must be asked for it is added to `actions`.
    pub(crate) fn next(&mut self, now: Duration, ids: &mut Ids, actions: &mut Vec<Action>) -> Step {
        loop {
            if self.open.is_empty() {
                self.roots.look_ahead(now, ids, actions);
            }
            if let Some(step) = self.next_below(now, ids, actions) {
                return step;
            }
            match self.roots.next() {
                Root::Directory { path, inode } => self.open.push(OpenDirectory::new(path, inode)),
                Root::File { path, inode, version, refused } => {
                    return Step::of_file(path, inode, version, refused);
                }
                Root::Failed { path, fault } => return Step::Failed { path, fault },
                Root::Wait => return Step::Wait,
                Root::End => return Step::End,
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
                    Found { inode, version: Some(version), refused, .. } => {
                        return Some(Step::of_file(path, inode, version, refused));
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

    /// Takes a row of paths, if it was asked for here.
    pub(crate) fn paths(
        &mut self,
        now: Duration,
        request: RequestId,
        paths: &Result<Option<Vec<NamespacePath>>, Fault>,
    ) {
        self.roots.paths(now, request, paths);
    }

    /// Takes what a path leads to, if it was asked for here.
    pub(crate) fn found(&mut self, now: Duration, request: RequestId, found: &Result<Found, Fault>) {
        self.roots.found(now, request, found);
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
