//! Descriptors of the versions that were read last, so that a read need not open their files.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::io::open_for_reading;
use crate::layout::{FileKind, GenerationKey, relative_path};
use crate::limits::OPEN_VERSIONS_MAX;

/// Both files of a generation, open for reading only.
#[derive(Debug)]
pub(super) struct OpenVersion {
    pub(super) data: OwnedFd,
    pub(super) index: OwnedFd,
}

impl OpenVersion {
    pub(super) fn open(root: BorrowedFd<'_>, key: GenerationKey) -> io::Result<Self> {
        let open = |kind| open_for_reading(root, &relative_path(key, kind));
        Ok(Self { data: open(FileKind::Data)?, index: open(FileKind::Index)? })
    }
}

/// The open versions; the one not used for longest is closed first.
#[derive(Debug, Default)]
pub(super) struct OpenVersions {
    clock: u64,
    versions: BTreeMap<GenerationKey, (u64, Arc<OpenVersion>)>,
    by_use: BTreeMap<u64, GenerationKey>,
}

impl OpenVersions {
    pub(super) fn get(&mut self, key: GenerationKey) -> Option<Arc<OpenVersion>> {
        let (last_use, open) = self.versions.get_mut(&key)?;
        if *last_use != self.clock {
            self.by_use.remove(last_use);
            self.clock += 1;
            *last_use = self.clock;
            self.by_use.insert(self.clock, key);
        }
        Some(Arc::clone(open))
    }

    /// Keeps `open`. What is returned is to be dropped without the lock, since that closes files.
    #[must_use]
    pub(super) fn insert(&mut self, key: GenerationKey, open: Arc<OpenVersion>) -> Option<Arc<OpenVersion>> {
        if self.versions.contains_key(&key) {
            return Some(open);
        }
        self.clock += 1;
        self.versions.insert(key, (self.clock, open));
        self.by_use.insert(self.clock, key);
        if self.versions.len() <= OPEN_VERSIONS_MAX {
            return None;
        }
        let (_, oldest) = self.by_use.pop_first()?;
        self.versions.remove(&oldest).map(|(_, open)| open)
    }

    /// Forgets `key`; to be dropped without the lock.
    #[must_use]
    pub(super) fn remove(&mut self, key: GenerationKey) -> Option<Arc<OpenVersion>> {
        let (last_use, open) = self.versions.remove(&key)?;
        self.by_use.remove(&last_use);
        Some(open)
    }
}
