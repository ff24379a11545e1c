//! What the worker has, as somebody is told of it: everything once, then what changed. Each master has a place of its
//! own in this, and so has the worker's own account of its mounts.
//!
//! A message that was not acknowledged is made again from the state at that time, so nothing is lost and the master
//! may hear the same twice.

use forebay_block_store::{BlockStore, CachedVersion, ChangeCursor, Changes};
use forebay_proto::v1;
use forebay_types::FileId;

use crate::accounting::MountShares;
use crate::limits::REPORTS_PER_HEARTBEAT_MAX;

/// How far somebody was told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contents(Place);

/// Where they will be once they acknowledge a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    place: Place,
    /// What they were told before is void: changes that they were not told of are forgotten.
    begins_anew: bool,
}

/// Keeps the mounts' shares in what is cached: follows the contents as a master does.
#[derive(Debug)]
pub(crate) struct ShareIntake {
    contents: Contents,
    /// Whether not all versions have been listed yet.
    is_listing: bool,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// Versions up to this one were listed; from the cursor on, changes follow.
    Listing(Option<FileId>, ChangeCursor),
    /// All changes up to the cursor were told.
    Following(ChangeCursor),
}

impl Contents {
    /// Nothing was told yet.
    pub(crate) fn new(store: &BlockStore) -> Self {
        // Taken before the listing, so that what changes meanwhile is told again and not missed.
        Self(Place::Listing(None, store.cursor()))
    }

    /// The next versions to tell of, at most [`REPORTS_PER_HEARTBEAT_MAX`].
    pub(crate) fn next(&self, store: &BlockStore) -> (Vec<CachedVersion>, Mark) {
        let mut versions = Vec::new();
        let (mut place, mut begins_anew) = (self.0, false);
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
                    (place, begins_anew) = (Self::new(store).0, true);
                    versions.clear();
                }
            }
        }
        if let Place::Listing(after, cursor) = place {
            versions = list(store, after);
            place = match versions.last() {
                Some(last) => Place::Listing(Some(last.file), cursor),
                None => Place::Following(cursor),
            };
        }
        (versions, Mark { place, begins_anew })
    }

    /// Whoever is told has taken the message that came with `mark`.
    pub(crate) const fn acknowledged(&mut self, mark: Mark) {
        self.0 = mark.place;
    }

    /// Whether the next message should follow at once.
    pub(crate) fn has_more(&self, store: &BlockStore) -> bool {
        match self.0 {
            Place::Listing(..) => true,
            Place::Following(cursor) => {
                matches!(store.changes_since(cursor), Changes::Since { more: true, .. })
            }
        }
    }
}

impl ShareIntake {
    /// Nothing was taken in yet.
    pub(crate) fn new(store: &BlockStore) -> Self {
        Self { contents: Contents::new(store), is_listing: true }
    }

    /// Takes in as much as one heartbeat tells of.
    pub(crate) fn go_on(&mut self, store: &BlockStore, shares: &MountShares) {
        let (versions, mark) = self.contents.next(store);
        if mark.begins_anew {
            shares.begin_anew();
            self.is_listing = true;
        }
        for version in &versions {
            shares.changed(version.file, version.cached.get(), is_gone(version));
        }
        if matches!(mark.place, Place::Following(_)) && std::mem::take(&mut self.is_listing) {
            shares.end_anew();
        }
        self.contents.acknowledged(mark);
    }
}

fn list(store: &BlockStore, mut after: Option<FileId>) -> Vec<CachedVersion> {
    let mut versions = Vec::new();
    loop {
        let listed = store.list(after, REPORTS_PER_HEARTBEAT_MAX - versions.len());
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

/// What a master is told of a version.
pub(crate) fn report(version: &CachedVersion) -> v1::VersionReport {
    v1::VersionReport {
        file: Some(version.file.into()),
        cached_bytes: version.cached.get(),
        complete: version.is_complete,
    }
}
