//! What mounts were like before they had an `on_outage` and a mode: in the log as commands of their own, in the state as
//! rows of format 1. Read for ever, written never again. What they were like after that is in `without_admission`.

mod without_admission;

use std::collections::BTreeMap;

use forebay_types::{ByteCount, InodeId, LogIndex, MountId, NamespacePath, Timestamp, UnderStoreUri};
use serde::{Deserialize, Serialize};

use crate::command::{ChangeMount, Mount};
use crate::mount::{Coherence, Freshness, MountOptions, OptionValue};
use crate::state::MountRecord;

pub(crate) use without_admission::RecordWithoutAdmission;
pub use without_admission::{ChangeMountWithoutAdmission, MountWithoutAdmission};

/// How a mount behaved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountOptionsBefore {
    read_only: bool,
    freshness: Freshness,
    coherence: Coherence,
    block_length: ByteCount,
    options: BTreeMap<String, OptionValue>,
}

/// Number 1 of the commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountBefore {
    path: NamespacePath,
    uri: UnderStoreUri,
    options: MountOptionsBefore,
}

/// Number 13 of the commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeMountBefore {
    path: NamespacePath,
    freshness: Option<Freshness>,
    coherence: Option<Coherence>,
}

/// A row of format 1.
#[derive(Serialize, Deserialize)]
pub(crate) struct MountRecordBefore {
    id: MountId,
    path: NamespacePath,
    uri: UnderStoreUri,
    options: MountOptionsBefore,
    root: InodeId,
    mounted_at: LogIndex,
    mounted_time: Timestamp,
}

impl From<MountOptionsBefore> for MountOptions {
    fn from(before: MountOptionsBefore) -> Self {
        let MountOptionsBefore { read_only, freshness, coherence, block_length, options } = before;
        Self { read_only, freshness, coherence, block_length, options, ..Self::default() }
    }
}

impl From<MountBefore> for Mount {
    fn from(MountBefore { path, uri, options }: MountBefore) -> Self {
        Self { path, uri, options: options.into() }
    }
}

impl From<ChangeMountBefore> for ChangeMount {
    fn from(ChangeMountBefore { path, freshness, coherence }: ChangeMountBefore) -> Self {
        Self { freshness, coherence, ..Self::of(path) }
    }
}

impl From<MountRecordBefore> for MountRecord {
    fn from(before: MountRecordBefore) -> Self {
        let MountRecordBefore { id, path, uri, options, root, mounted_at, mounted_time } = before;
        let options = options.into();
        Self { id, path, uri, options, root, mounted_at, mounted_time, changed_at: mounted_at }
    }
}

#[cfg(test)]
mod tests;
