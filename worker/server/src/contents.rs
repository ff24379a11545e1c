//! What the worker has, as the master is told of it: everything once, then what changed.
//!
//! A message that was not acknowledged is made again from the state at that time, so nothing is lost and the master
//! may hear the same twice.

use forebay_block_store::{CachedVersion, ChangeCursor, Changes};
use forebay_proto::v1;
use forebay_types::FileId;

use crate::core::WorkerCore;
use crate::limits::REPORTS_PER_HEARTBEAT_MAX;

/// How far the master was told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contents(Place);

/// Where the master will be once it acknowledges a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark(Place);

#[derive(Clone, Copy, Debug)]
enum Place {
    /// Versions up to this one were listed; from the cursor on, changes follow.
    Listing(Option<FileId>, ChangeCursor),
    /// All changes up to the cursor were told.
    Following(ChangeCursor),
}

impl Contents {
    /// Nothing was told yet.
    pub(crate) fn new(core: &WorkerCore) -> Self {
        core.shares.begin_anew();
        // Taken before the listing, so that what changes meanwhile is told again and not missed.
        Self(Place::Listing(None, core.path.cache.store().cursor()))
    }

    /// The next reports, at most [`REPORTS_PER_HEARTBEAT_MAX`].
    pub(crate) fn next(&mut self, core: &WorkerCore) -> (Vec<v1::VersionReport>, Mark) {
        let store = core.path.cache.store();
        let mut versions = Vec::new();
        let mut place = self.0;
        while let Place::Following(cursor) = place {
            match store.changes_since(cursor) {
                Changes::Since { versions: changed, next, more } => {
                    if versions.len() + changed.len() > REPORTS_PER_HEARTBEAT_MAX {
                        break;
                    }
                    versions.extend(changed);
                    place = Place::Following(next);
                    if !more {
                        break;
                    }
                }
                Changes::TooOld => {
                    *self = Self::new(core);
                    place = self.0;
                    versions.clear();
                }
            }
        }
        if let Place::Listing(after, cursor) = place {
            versions = list(core, after);
            place = match versions.last() {
                Some(last) => Place::Listing(Some(last.file), cursor),
                None => Place::Following(cursor),
            };
        }
        for version in &versions {
            core.shares.changed(version.file, version.cached.get(), is_gone(version));
        }
        (versions.iter().map(report).collect(), Mark(place))
    }

    /// The master has taken the message that came with `mark`.
    pub(crate) fn acknowledged(&mut self, core: &WorkerCore, mark: Mark) {
        if let (Place::Listing(..), Place::Following(_)) = (self.0, mark.0) {
            core.shares.end_anew();
        }
        self.0 = mark.0;
    }

    /// Whether the next message should follow at once.
    pub(crate) fn has_more(&self, core: &WorkerCore) -> bool {
        match self.0 {
            Place::Listing(..) => true,
            Place::Following(cursor) => {
                matches!(core.path.cache.store().changes_since(cursor), Changes::Since { more: true, .. })
            }
        }
    }
}

fn list(core: &WorkerCore, mut after: Option<FileId>) -> Vec<CachedVersion> {
    let mut versions = Vec::new();
    loop {
        let listed = core.path.cache.store().list(after, REPORTS_PER_HEARTBEAT_MAX - versions.len());
        let Some(last) = listed.last() else { return versions };
        after = Some(last.file);
        versions.extend(listed);
        if versions.len() >= REPORTS_PER_HEARTBEAT_MAX {
            return versions;
        }
    }
}

const fn is_gone(version: &CachedVersion) -> bool {
    version.cached.get() == 0 && !version.is_complete
}

fn report(version: &CachedVersion) -> v1::VersionReport {
    v1::VersionReport {
        file: Some(version.file.into()),
        cached_bytes: version.cached.get(),
        complete: version.is_complete,
    }
}
