//! A load of names alone, with no data: asked for, written down and ended as any load, with a count of directories.
//!
//! The commands of other loads lie in logs and have no room for that count, so these wrap them.

use serde::{Deserialize, Serialize};

use super::{AdvanceJob, BeginLoad, EndJob};
use crate::reply::Reply;
use crate::state::{JobKind, JobRecord, Transition};
use crate::store::StoreError;

/// Makes a job that has all names and attributes at and below some paths known. Further paths come as for any load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeginMetadataLoad {
    /// The paths.
    pub load: BeginLoad,
}

/// Progress of such a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdvanceMetadataLoad {
    /// What any job has.
    pub advance: AdvanceJob,
    /// Directories that were gone through.
    pub directories_done: u64,
}

/// The end of such a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndMetadataLoad {
    /// What any job has.
    pub end: EndJob,
    /// Directories that were gone through.
    pub directories_done: u64,
}

impl BeginMetadataLoad {
    pub(crate) fn apply(&self, state: &mut Transition<'_, '_>) -> Result<Reply, StoreError> {
        self.load.apply_as(JobKind::MetadataLoad { directories_done: 0 }, state)
    }
}

impl AdvanceMetadataLoad {
    pub(crate) fn apply(&self, state: &mut Transition<'_, '_>) -> Result<Reply, StoreError> {
        self.advance.apply_counting(Some(self.directories_done), state)
    }
}

impl EndMetadataLoad {
    pub(crate) fn apply(&self, state: &mut Transition<'_, '_>) -> Result<Reply, StoreError> {
        self.end.apply_counting(Some(self.directories_done), state)
    }
}

/// Takes over a count of directories where a job has one.
pub(super) const fn count_directories(record: &mut JobRecord, counted: Option<u64>) {
    if let (JobKind::MetadataLoad { directories_done }, Some(counted)) = (&mut record.kind, counted) {
        *directories_done = counted;
    }
}
