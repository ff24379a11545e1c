//! Where the store may put bytes and how many: one directory per tier, with its quota and floors.

use std::path::PathBuf;

use forebay_types::limits::FILE_LENGTH_MAX;
use forebay_types::{ByteCount, ClusterId, PAGE_LENGTH};

use crate::error::StoreError;
use crate::eviction::Eviction;
use crate::io::FileSystemSize;
use crate::limits::{
    FREE_BYTES_FLOOR_DEFAULT, FREE_INODES_FLOOR_DEFAULT, FREE_PARTS_FLOOR, TIERS_MAX, WHOLE_FILE_MAX_DEFAULT,
};

/// What a tier's directory lies on. Ordered fastest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TierKind {
    /// A tmpfs.
    Ram,
    /// A file system on NVMe, SSD or HDD.
    Disk,
}

/// One directory of cached bytes.
#[derive(Clone, Debug)]
pub struct TierSettings {
    /// The name that reports show.
    pub name: String,
    /// The directory; it is made when it is missing.
    pub directory: PathBuf,
    /// What it lies on.
    pub kind: TierKind,
    /// The quota: file data and index files together never take more.
    pub capacity: ByteCount,
    /// Length of the largest version that is put here whole. What no tier takes whole is cut into segments, which any
    /// tier takes.
    pub whole_file_max: ByteCount,
    /// What stays free on the file system, whatever the quota says.
    pub free_floor: FreeFloor,
}

/// What a tier leaves free on its file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreeFloor {
    /// 1 GiB and 10,000 inodes, or a twentieth of a file system for which that is much.
    Usual,
    /// So much.
    Of {
        /// Bytes.
        bytes: ByteCount,
        /// Inodes.
        inodes: u64,
    },
}

/// All that the store must know to open.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// The cluster whose bytes these are; another cluster's directory is refused.
    pub cluster: ClusterId,
    /// The directories. RAM is preferred to disk, and within a kind the earlier one.
    pub tiers: Vec<TierSettings>,
    /// Who leaves when a tier is full.
    pub eviction: Eviction,
    /// Length of the segments of a version that is not kept whole: whole pages, at least one. Segments of another length
    /// that lie in the directories are dropped.
    pub segment_length: ByteCount,
    /// Deletes whatever the directories hold, another cluster's cache included.
    pub format: bool,
}

impl TierSettings {
    /// A tier with the defaults: versions up to the smaller of 64 GiB and half of `capacity`, and on a disk a floor
    /// of free space.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        directory: impl Into<PathBuf>,
        kind: TierKind,
        capacity: ByteCount,
    ) -> Self {
        let free_floor = match kind {
            TierKind::Ram => FreeFloor::NOTHING,
            TierKind::Disk => FreeFloor::Usual,
        };
        Self {
            name: name.into(),
            directory: directory.into(),
            kind,
            capacity,
            whole_file_max: WHOLE_FILE_MAX_DEFAULT.min(ByteCount::new(capacity.get() / 2)),
            free_floor,
        }
    }

    /// The same with another largest version, but never more than half of the capacity: what is kept whole must leave
    /// room for others, and be held beside them.
    #[must_use]
    pub fn with_whole_file_max(self, max: ByteCount) -> Self {
        let half = ByteCount::new(self.capacity.get() / 2);
        Self { whole_file_max: max.min(half).min(ByteCount::new(FILE_LENGTH_MAX)), ..self }
    }
}

impl FreeFloor {
    /// The file system may be filled.
    pub const NOTHING: Self = Self::Of { bytes: ByteCount::ZERO, inodes: 0 };

    /// Bytes and inodes, on a file system of this size.
    pub(crate) fn on(self, total: FileSystemSize) -> (ByteCount, u64) {
        let part = |of: u64| of / FREE_PARTS_FLOOR;
        match self {
            Self::Of { bytes, inodes } => (bytes, inodes),
            Self::Usual => (
                FREE_BYTES_FLOOR_DEFAULT.min(ByteCount::new(part(total.bytes))),
                FREE_INODES_FLOOR_DEFAULT.min(part(total.inodes)),
            ),
        }
    }
}

impl StoreSettings {
    /// Pages of a segment; `None` when segments of that length cannot be.
    pub(crate) fn segment_pages(&self) -> Option<u32> {
        let length = self.segment_length.get();
        let is_fit = length > 0 && length.is_multiple_of(PAGE_LENGTH) && length <= FILE_LENGTH_MAX;
        u32::try_from(length / PAGE_LENGTH).ok().filter(|_| is_fit)
    }

    pub(crate) fn validate(&self) -> Result<(), StoreError> {
        let wrong = |tier: &str, problem| Err(StoreError::Settings { tier: tier.to_owned(), problem });
        if self.tiers.is_empty() {
            return wrong("", "there is none; give the worker RAM or a disk directory");
        }
        if self.segment_pages().is_none() {
            return wrong(
                "",
                "segments must be a number of whole pages long, and not longer than the longest file",
            );
        }
        if self.tiers.len() > TIERS_MAX {
            return wrong("", "there are too many");
        }
        for (position, tier) in self.tiers.iter().enumerate() {
            if tier.whole_file_max.get() > FILE_LENGTH_MAX {
                return wrong(&tier.name, "whole_file_max is beyond the longest file that Forebay knows");
            }
            if self.tiers.iter().take(position).any(|other| other.directory == tier.directory) {
                return wrong(&tier.name, "its directory is another tier's as well");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_file_system_is_not_kept_free_as_a_whole() {
        let usual = |bytes, inodes| FreeFloor::Usual.on(FileSystemSize { bytes, inodes });
        assert_eq!(usual(1 << 40, 1 << 30), (ByteCount::new(1 << 30), 10_000));
        assert_eq!(usual(8 << 20, 2_000), (ByteCount::new((8 << 20) / 20), 100));
        // A file system that does not count inodes says that it has none.
        assert_eq!(usual(1 << 40, 0).1, 0);
    }
}
