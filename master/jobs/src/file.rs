//! One file of a job: the blocks that are to be loaded, and what became of those that were.

use forebay_types::{
    ClusterMap, Epoch, FileOffset, InodeId, NamespacePath, VersionDescriptor, WorkerId, WorkerState,
};

use crate::event::Fault;
use crate::limits::PART_LENGTH_MAX;
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
    /// Why this attempt failed.
    pub(crate) fault: Option<Fault>,
    /// Bytes that were not there when this attempt asked.
    pub(crate) missing: u64,
    /// Bytes that this attempt has verified.
    pub(crate) loaded: u64,
    pub(crate) retry: Retry,
    pub(crate) renewals: u32,
}

/// A range of a file, and who is to load it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) worker: WorkerId,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

impl FileWork {
    pub(crate) fn new(path: NamespacePath, inode: InodeId, version: VersionDescriptor) -> Self {
        Self {
            path,
            inode,
            version,
            next: 0,
            is_asked_whole: false,
            target: None,
            tasks: 0,
            fault: None,
            missing: 0,
            loaded: 0,
            retry: Retry::default(),
            renewals: 0,
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
        let owner = map.owners(block).first().filter(|worker| worker.state == WorkerState::Live)?.id;
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
        (self.missing, self.loaded) = (0, 0);
    }
}
