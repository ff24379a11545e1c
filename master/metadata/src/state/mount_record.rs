//! Mounts: which under-store path is attached where.

use forebay_types::{InodeId, LogIndex, MountId, NamespacePath, Timestamp, UnderStoreUri};
use serde::{Deserialize, Serialize};

use super::record::Record;
use crate::mount::MountOptions;
use crate::mount_before::{MountRecordBefore, RecordWithoutAdmission};
use crate::reply::{self, CodecError};
use crate::store::Table;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountRecord {
    /// Its id, never used again.
    pub id: MountId,
    /// Where it is attached.
    pub path: NamespacePath,
    /// What is attached.
    pub uri: UnderStoreUri,
    /// How it behaves.
    pub options: MountOptions,
    /// The directory at its path.
    pub root: InodeId,
    /// The entry of the log that mounted it.
    pub mounted_at: LogIndex,
    /// When that was.
    pub mounted_time: Timestamp,
    /// The entry that mounted it or changed its options last.
    pub changed_at: LogIndex,
}

impl Record for MountRecord {
    const TABLE: Table = Table::Mounts;
    const FORMAT: u8 = 3;

    fn decode(format: u8, content: &[u8]) -> Result<Self, CodecError> {
        match format {
            1 => reply::decode_content::<MountRecordBefore>(content).map(Self::from),
            2 => reply::decode_content::<RecordWithoutAdmission>(content).map(Self::from),
            _ => reply::decode_content(content),
        }
    }
}

/// The key of a mount's row.
pub(crate) fn mount_key(id: MountId) -> Vec<u8> {
    id.get().to_be_bytes().to_vec()
}
