//! A version as everyone who serves or reads it must know it: which bytes, where they come from, how they are cut.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fingerprint::Fingerprint;
use crate::id::{BlockId, BlockIndex, FileId, MountId};
use crate::unit::{ByteCount, FileOffset};
use crate::uri::UnderStoreKey;

/// What a directory entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
}

/// One immutable content: what a worker needs to find it in its cache or to fetch it, and a client to ask for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VersionDescriptor {
    /// The version's id.
    pub file: FileId,
    /// The mount it was found under, which leads to the under-store and its credentials.
    pub mount: MountId,
    /// Its key, relative to the mount's URI.
    pub key: UnderStoreKey,
    /// What the under-store said of it. Its length is the version's length.
    pub fingerprint: Fingerprint,
    /// Length of a block; a power of two and a multiple of the page.
    pub block_length: ByteCount,
}

impl VersionDescriptor {
    /// Length of the content.
    #[must_use]
    pub const fn length(&self) -> ByteCount {
        self.fingerprint.length
    }

    /// How many blocks the content is cut into; 1 for an empty one, so that each version has a place.
    #[must_use]
    pub fn block_count(&self) -> u64 {
        self.length().get().div_ceil(self.block_length.get()).max(1)
    }

    /// The block that holds the byte at `offset`; `None` beyond what 32 bits can number.
    #[must_use]
    pub fn block_at(&self, offset: FileOffset) -> Option<BlockId> {
        let index = u32::try_from(offset.get() / self.block_length.get()).ok()?;
        Some(BlockId { file: self.file, index: BlockIndex::new(index) })
    }
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "FILE",
            Self::Directory => "DIRECTORY",
            Self::Symlink => "SYMLINK",
        })
    }
}
