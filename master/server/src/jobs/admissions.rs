//! What the mounts want cached, as a load asks it for each of its files.

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_metadata::query;
use forebay_types::{Admission, MountId, NotAdmitted, VersionDescriptor};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::MasterError;
use crate::limits::ADMISSIONS_VALIDITY;
use crate::shared::Shared;

/// The admissions of all mounts, as they were known last.
#[derive(Debug, Default)]
pub(super) struct Admissions {
    known: Mutex<Option<(Instant, Known)>>,
}

/// By the mounts.
#[derive(Clone, Debug)]
pub(super) struct Known(Arc<BTreeMap<MountId, Admission>>);

impl Admissions {
    /// The admissions now, or as they were a moment ago.
    pub(super) async fn now(&self, shared: &Shared) -> Result<Known, MasterError> {
        let recent = self.known.lock().clone().filter(|(at, _)| at.elapsed() < ADMISSIONS_VALIDITY);
        if let Some((_, known)) = recent {
            return Ok(known);
        }
        let begun = Instant::now();
        let mounts = shared.query(|state| Ok(query::mounts(state)?)).await?;
        let known = mounts.into_iter().map(|mount| (mount.id, mount.options.admission)).collect();
        let known = Known(Arc::new(known));
        *self.known.lock() = Some((begun, known.clone()));
        Ok(known)
    }
}

impl Known {
    /// Why the version's mount does not want it cached.
    pub(super) fn refusal(&self, version: &VersionDescriptor) -> Option<NotAdmitted> {
        let admission = self.0.get(&version.mount)?;
        admission.judge(version.key.as_bytes(), version.fingerprint.length).err()
    }
}
