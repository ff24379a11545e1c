//! Inodes: what a directory, file or symbolic link is, whatever its name.
//!
//! A file keeps its inode when its content changes, and gets a new [`FileId`]. Each inode knows its one parent and
//! its name there, so that a path can be told without a search.

use forebay_types::{
    ByteCount, EntryKind, EntryName, FileId, Fingerprint, InodeId, MountId, Timestamp, UnderStoreKey,
    VersionDescriptor,
};
use serde::{Deserialize, Serialize};

use super::record::Record;
use crate::store::{StoreError, Table};

/// The parent of a subtree that was detached and waits to be reaped. No directory has this id.
pub(crate) const NOWHERE: InodeId = InodeId::new(0);

/// One directory, file or symbolic link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inode {
    /// Its id, for life.
    pub id: InodeId,
    /// The directory that holds it; the root's is the root.
    pub parent: InodeId,
    /// Its name there; `None` for the root and for what is detached.
    pub name: Option<EntryName>,
    /// The mount whose content it is; `None` for the directories that only lead to mount points.
    pub mount: Option<MountId>,
    /// Where the under-store has it, relative to the mount's URI; empty for mount points and where there is no mount.
    pub key: UnderStoreKey,
    /// Permission bits, where the under-store has some.
    pub mode: Option<u32>,
    /// Owner, where the under-store has one.
    pub uid: Option<u32>,
    /// Group, where the under-store has one.
    pub gid: Option<u32>,
    /// Last modification: the under-store's, or of a directory without one the time when it came to be here.
    pub modified: Timestamp,
    /// What it is.
    pub body: InodeBody,
}

/// What an inode is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InodeBody {
    /// A regular file.
    File(Version),
    /// A directory.
    Directory {
        /// How many mount points lie below it, at any depth, itself not counted.
        mounts_below: u32,
    },
    /// A symbolic link.
    Symlink {
        /// What it points to, as the under-store has it.
        target: Vec<u8>,
    },
}

/// The content that a file has now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its id.
    pub file: FileId,
    /// What the under-store said of it when it was found.
    pub fingerprint: Fingerprint,
    /// Length of a block, as the mount had it then.
    pub block_length: ByteCount,
}

impl Record for Inode {
    const TABLE: Table = Table::Inodes;
}

impl Inode {
    /// What it is, in one word.
    #[must_use]
    pub const fn kind(&self) -> EntryKind {
        match self.body {
            InodeBody::File(_) => EntryKind::File,
            InodeBody::Directory { .. } => EntryKind::Directory,
            InodeBody::Symlink { .. } => EntryKind::Symlink,
        }
    }

    /// What workers and clients need to read a file's content; `None` for what is no file.
    #[must_use]
    pub fn version(&self) -> Option<VersionDescriptor> {
        let (InodeBody::File(version), Some(mount)) = (&self.body, self.mount) else {
            return None;
        };
        Some(VersionDescriptor {
            file: version.file,
            mount,
            key: self.key.clone(),
            fingerprint: version.fingerprint.clone(),
            block_length: version.block_length,
        })
    }

    /// What a symbolic link points to; `None` for what is none.
    #[must_use]
    pub fn symlink_target(&self) -> Option<&[u8]> {
        match &self.body {
            InodeBody::Symlink { target } => Some(target),
            _ => None,
        }
    }

    /// How many mount points lie below a directory; 0 for what is none.
    #[must_use]
    pub const fn mounts_below(&self) -> u32 {
        match self.body {
            InodeBody::Directory { mounts_below } => mounts_below,
            _ => 0,
        }
    }

    /// Length of a file's content; 0 for what is none.
    #[must_use]
    pub const fn length(&self) -> ByteCount {
        match &self.body {
            InodeBody::File(version) => version.fingerprint.length,
            _ => ByteCount::ZERO,
        }
    }
}

/// The key of an inode's row, and of its row in the tables of directories and orphans.
pub(crate) fn inode_key(id: InodeId) -> Vec<u8> {
    id.get().to_be_bytes().to_vec()
}

/// Reads the inode that [`inode_key`] wrote.
pub(crate) fn inode_id(table: Table, key: &[u8]) -> Result<InodeId, StoreError> {
    let id = <[u8; 8]>::try_from(key)
        .map_err(|_| StoreError::corrupt(table, key, "a key of other than 8 bytes"))?;
    Ok(InodeId::new(u64::from_be_bytes(id)))
}
