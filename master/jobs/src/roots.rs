//! A job's paths in the order of the list. They are looked up ahead of their turn, and come in their turn.

use std::collections::VecDeque;
use std::time::Duration;

use forebay_types::{EntryKind, ErrorKind, InodeId, NamespacePath, NotAdmitted, VersionDescriptor};

use crate::asking::{Asking, Ids};
use crate::event::{Action, Fault, Found, RequestId};
use crate::limits::{BACKOFF, PATHS_AHEAD_MAX};

/// The paths that are to come.
#[derive(Debug)]
pub(crate) struct Roots {
    next_row: u32,
    /// How the next row of paths is asked for; `None` after the last.
    row: Option<Asking>,
    /// Paths of the current row that were not looked up yet.
    rest: std::vec::IntoIter<NamespacePath>,
    /// Paths that are looked up, in their order.
    ahead: VecDeque<Wanted>,
}

/// The next path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// A directory.
    Directory { path: NamespacePath, inode: InodeId },
    /// A file.
    File { path: NamespacePath, inode: InodeId, version: VersionDescriptor, refused: Option<NotAdmitted> },
    /// Something that cannot be gone through.
    Failed { path: NamespacePath, fault: Fault },
    /// An answer must come first, or time must pass.
    Wait,
    /// There is no more.
    End,
}

#[derive(Debug)]
struct Wanted {
    path: NamespacePath,
    asking: Asking,
    found: Option<Result<Found, Fault>>,
}

impl Roots {
    pub(crate) fn new() -> Self {
        Self {
            next_row: 0,
            row: Some(Asking::default()),
            rest: Vec::new().into_iter(),
            ahead: VecDeque::new(),
        }
    }

    /// Takes the next path.
    pub(crate) fn next(&mut self) -> Root {
        let Some(front) = self.ahead.front() else {
            return if self.row.is_none() { Root::End } else { Root::Wait };
        };
        if front.found.is_none() {
            return Root::Wait;
        }
        let Some(Wanted { path, found: Some(found), .. }) = self.ahead.pop_front() else {
            return Root::Wait;
        };
        match found {
            Err(fault) => Root::Failed { path, fault },
            Ok(Found { kind: EntryKind::Directory, inode, .. }) => Root::Directory { path, inode },
            Ok(Found { inode, version: Some(version), refused, .. }) => {
                Root::File { path, inode, version, refused }
            }
            Ok(_) => {
                let reason = "is a symbolic link; name what it points to";
                Root::Failed { path, fault: Fault::new(ErrorKind::InvalidArgument, reason) }
            }
        }
    }

    /// Asks for what is to come; what must be asked is added to `actions`.
    pub(crate) fn look_ahead(&mut self, now: Duration, ids: &mut Ids, actions: &mut Vec<Action>) {
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
                    *asking = Asking::not_before(now + BACKOFF.1);
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
}
