//! Holding a complete version while somebody reads its file past the store.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use forebay_types::{ByteCount, FileId, Timestamp};

use super::Inner;
use super::open_versions::OpenVersion;
use super::read::{Fault, Reader};
use crate::error::StoreError;
use crate::index::{Held, HoldDecision, Location};
use crate::io::state_of;
use crate::limits::VERIFY_ATTEMPTS_MAX;
use crate::page::{Geometry, PageIndex, PageRange};
use crate::source::VersionSource;

/// Names a hold or a lend within one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldId(u64);

/// A held version. Its file is neither changed nor given back before this is dropped.
#[derive(Debug)]
pub struct Hold {
    id: HoldId,
    length: ByteCount,
    changed: Timestamp,
    files: Arc<OpenVersion>,
    guard: RestingHold,
}

/// A hold without the descriptors, for whom somebody else has the file open, or does not need it now. The hold ends when
/// this is dropped.
#[derive(Debug)]
pub struct RestingHold {
    inner: Arc<Inner>,
    location: Location,
    /// It could rest when it was given.
    could_rest: bool,
}

/// Somebody to be told.
pub(super) struct Listener(pub(super) Box<dyn Fn() + Send + Sync>);

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

impl HoldId {
    /// The next one after those that `count` numbers.
    pub(super) fn next(count: &AtomicU64) -> Self {
        Self(count.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The bare number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hold:{}", self.0)
    }
}

impl Hold {
    /// The hold's name, never used twice in one process.
    #[must_use]
    pub const fn id(&self) -> HoldId {
        self.id
    }

    /// The version that is held.
    #[must_use]
    pub const fn file(&self) -> FileId {
        self.guard.location.key.unit.file()
    }

    /// Length of the file.
    #[must_use]
    pub const fn length(&self) -> ByteCount {
        self.length
    }

    /// Change time of the file when it was known to be right. While it has this one, nobody has changed it since.
    #[must_use]
    pub const fn changed(&self) -> Timestamp {
        self.changed
    }

    /// Whether the hold may stay when nobody reads the file for now. [`RestingHold::may_rest`] says later whether that
    /// still is so.
    #[must_use]
    pub fn may_rest(&self) -> bool {
        self.guard.may_rest()
    }

    /// Goes on holding without the descriptors.
    #[must_use]
    pub fn rest(self) -> RestingHold {
        self.guard
    }

    /// Ends the hold, as dropping it does.
    pub fn release(self) {
        drop(self);
    }
}

impl RestingHold {
    /// Whether the hold may stay while nobody reads the file: what it holds still is the version, and nobody else has to
    /// leave its tier.
    #[must_use]
    pub fn may_rest(&self) -> bool {
        self.could_rest && self.inner.state.lock().index.may_rest(self.location.key)
    }
}

/// The data file, opened for reading only. Its file position is shared: use positioned reads or a mapping.
impl AsFd for Hold {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.files.data.as_fd()
    }
}

impl Drop for RestingHold {
    fn drop(&mut self) {
        let mut state = self.inner.state.lock();
        if self.could_rest {
            state.index.release_rested(self.location.key);
        } else {
            state.index.release(self.location.key);
        }
        drop(state);
        self.inner.changed.notify_all();
    }
}

pub(super) fn hold(inner: &Arc<Inner>, source: &VersionSource<'_>) -> Result<Option<Hold>, StoreError> {
    inner.refuse_other(source);
    let decision = inner.state.lock().index.hold(source.file());
    let held = match decision {
        HoldDecision::Granted(held) => held,
        HoldDecision::Incomplete => return Ok(None),
        HoldDecision::TooMuchHeld => {
            inner.statistics.holds_refused.add(1);
            inner.tell_wants_back();
            return Ok(None);
        }
    };
    let guard = RestingHold { inner: Arc::clone(inner), location: held.location, could_rest: held.may_rest };
    let Some(files) = inner.open_or_let_go(held.location)? else { return Ok(None) };
    let changed = match inner.ensure_verified(&held, &files) {
        Ok(Some(changed)) => changed,
        Ok(None) => return Ok(None),
        Err(fault) => {
            // Released first: unless somebody else holds the version, only the page is lost.
            drop(guard);
            inner.lose_page(held.location, fault);
            return Ok(None);
        }
    };
    inner.statistics.holds_granted.add(1);
    let id = HoldId::next(&inner.holds);
    Ok(Some(Hold { id, length: held.length, changed, files, guard }))
}

impl Inner {
    /// Verifies a held version unless it is trusted; gives the change time that its file had when it was right. `None`
    /// when the file keeps changing under the verification.
    fn ensure_verified(&self, held: &Held, files: &OpenVersion) -> Result<Option<Timestamp>, Fault> {
        let first = PageIndex::new(0);
        let geometry = Geometry::new(held.length);
        let reader = Reader { files, location: held.location, geometry, records: held.records };
        let mut state = state_of(&files.data).map_err(|_| Fault::Io(first))?;
        if held.trusted == Some(state.changed) && state.length == held.length.get() {
            return Ok(Some(state.changed));
        }
        let pages = PageRange { first, count: geometry.page_count() };
        let mut buffer = Vec::new();
        for _ in 0..VERIFY_ATTEMPTS_MAX {
            for page in pages.iter() {
                self.statistics.verified_bytes.add(reader.verify_page(page, &mut buffer)?);
            }
            let before = state;
            state = state_of(&files.data).map_err(|_| Fault::Io(first))?;
            if state.changed == before.changed && state.length == held.length.get() {
                let index = &mut self.state.lock().index;
                index.mark_verified(held.location.key, pages.iter(), state.changed);
                index.checked(held.location.key);
                return Ok(Some(state.changed));
            }
        }
        Ok(None)
    }
}
