//! One file of a job: the blocks that are to be loaded, and what became of those that were.

use forebay_types::{
    ClusterMap, Epoch, FileOffset, InodeId, NamespacePath, VersionDescriptor, WorkerEntry, WorkerId,
    WorkerState,
};

use crate::event::Fault;
use crate::limits::{PART_LENGTH_MAX, REFUSALS_MAX};
use crate::retry::Retry;

/// A file that is being loaded, or waits for it.
#[derive(Debug)]
pub(crate) struct FileWork {
    pub(crate) path: NamespacePath,
    pub(crate) inode: InodeId,
    pub(crate) version: VersionDescriptor,
    /// The first byte that nobody was asked for in this attempt.
    next: u64,
    is_asked_whole: bool,
    /// Whom to ask next, by the map of this epoch.
    target: Option<(Epoch, WorkerId)>,
    /// Loads under way.
    pub(crate) tasks: usize,
    /// Why this attempt failed, and at whom.
    pub(crate) fault: Option<(WorkerId, Fault)>,
    /// Workers that are asked no more: what they said will not pass, but others may do better.
    avoided: Vec<WorkerId>,
    /// What says most of what they said.
    refusal: Option<Fault>,
    /// Bytes that this attempt has verified.
    pub(crate) loaded: u64,
    pub(crate) retry: Retry,
    pub(crate) renewals: u32,
    /// How the pass came by it.
    pub(crate) met: Met,
}

/// What was known of a file when a pass came by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Met {
    /// Nothing: it was not there before.
    New,
    /// It is as it was counted, or as it was loaded in an earlier pass.
    Known,
    /// It was counted or loaded in an earlier version.
    Replaced,
}

/// A range of a file, and who is to load it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) worker: WorkerId,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

impl FileWork {
    pub(crate) fn new(path: NamespacePath, inode: InodeId, version: VersionDescriptor, met: Met) -> Self {
        Self {
            path,
            inode,
            version,
            next: 0,
            is_asked_whole: false,
            target: None,
            tasks: 0,
            fault: None,
            avoided: Vec::new(),
            refusal: None,
            loaded: 0,
            retry: Retry::default(),
            renewals: 0,
            met,
        }
    }

    /// The worker that the next part would go to; `None` when all parts were asked for, one failed, or nobody lives.
    pub(crate) fn target(&mut self, map: &ClusterMap) -> Option<WorkerId> {
        if self.is_asked_whole || self.fault.is_some() {
            return None;
        }
        if let Some((epoch, worker)) = self.target
            && epoch == map.epoch
        {
            return Some(worker);
        }
        let block = self.version.block_at(FileOffset::new(self.next))?;
        let owners = map.owners(block);
        let owner = owners.into_iter().find(|worker| self.may_ask(worker))?.id;
        self.target = Some((map.epoch, owner));
        Some(owner)
    }

    /// Takes the next part: a block, or several where one worker has all of them.
    pub(crate) fn take(&mut self, worker: WorkerId, live_workers: usize) -> Part {
        let (offset, length) = (self.next, self.version.length().get());
        let block = self.version.block_length.get();
        let blocks = if live_workers == 1 { (PART_LENGTH_MAX / block).max(1) } else { 1 };
        let end = offset.saturating_add(blocks.saturating_mul(block)).min(length);
        self.next = end;
        self.is_asked_whole = end >= length;
        self.target = None;
        self.tasks += 1;
        Part { worker, offset, length: end - offset }
    }

    /// Whether there are parts that nobody was asked for.
    pub(crate) const fn has_more(&self) -> bool {
        !self.is_asked_whole && self.fault.is_none()
    }

    /// Whether this attempt is over.
    pub(crate) const fn is_over(&self) -> bool {
        self.tasks == 0 && (self.is_asked_whole || self.fault.is_some())
    }

    /// Begins the next attempt, from the first byte: what is there already is verified at once.
    pub(crate) fn begin_anew(&mut self) {
        (self.next, self.is_asked_whole, self.target, self.fault) = (0, false, None, None);
        self.loaded = 0;
    }

    fn may_ask(&self, worker: &WorkerEntry) -> bool {
        worker.state == WorkerState::Live && !self.avoided.contains(&worker.id)
    }

    /// Asks a worker no more that refused the file, if others are left; whether that is so.
    pub(crate) fn avoid(&mut self, worker: WorkerId, fault: &Fault, map: &ClusterMap) -> bool {
        if self.refusal.as_ref().is_none_or(|known| fault.kind.telling() > known.kind.telling()) {
            self.refusal = Some(fault.clone());
        }
        let is_left = map.workers.iter().any(|other| other.id != worker && self.may_ask(other));
        let may_avoid = is_left && self.avoided.len() + 1 < REFUSALS_MAX;
        if may_avoid {
            self.avoided.push(worker);
        }
        may_avoid
    }

    /// What is told of a file that is given up for `fault`: what a worker refused it for says more than who was away.
    pub(crate) fn most_telling<'a>(&'a self, fault: &'a Fault) -> &'a Fault {
        self.refusal.as_ref().filter(|known| known.kind.telling() >= fault.kind.telling()).unwrap_or(fault)
    }
}
