//! Lending the files of a version, whole or not, to somebody who verifies what it reads of them.
//!
//! Both files go: the index file says which pages are in the data file and what their checksums are. It is written
//! after the data and cleared before a page is written anew, and its records carry checksums of their own, so whoever
//! verifies a granule by them has the version's bytes, whatever happens to the files meanwhile.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use forebay_types::RecordSeed;

use super::Inner;
use super::hold::HoldId;
use super::open_versions::OpenVersion;
use crate::error::StoreError;
use crate::index::Location;
use crate::source::VersionSource;

/// The files of a version, lent. They change while this lives: pages come and go.
#[derive(Debug)]
pub struct Lend {
    id: HoldId,
    records: u64,
    files: Arc<OpenVersion>,
    given: RestingLend,
}

/// A lend without the descriptors, for whom somebody else has the files open. The room that they take is given back
/// when this is dropped, if the version left meanwhile.
#[derive(Debug)]
pub struct RestingLend {
    inner: Arc<Inner>,
    location: Location,
}

impl Lend {
    /// The lend's name, never used twice in one process, nor for a hold.
    #[must_use]
    pub const fn id(&self) -> HoldId {
        self.id
    }

    /// The data file, opened for reading only. Its file position is shared: use positioned reads.
    #[must_use]
    pub fn data(&self) -> BorrowedFd<'_> {
        self.files.data.as_fd()
    }

    /// The index file, opened for reading only.
    #[must_use]
    pub fn index(&self) -> BorrowedFd<'_> {
        self.files.index.as_fd()
    }

    /// Where the records of the pages begin in the index file.
    #[must_use]
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// What their checksums begin with.
    #[must_use]
    pub fn seed(&self) -> RecordSeed {
        self.given.location.key.seed()
    }

    /// Goes on lending without the descriptors.
    #[must_use]
    pub fn rest(self) -> RestingLend {
        self.given
    }
}

impl RestingLend {
    /// Whether the files are still what the version consists of. When not, they are to be closed and given back: they
    /// take room that others need.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.inner.state.lock().index.is_current(self.location.key)
    }
}

impl Drop for RestingLend {
    fn drop(&mut self) {
        self.inner.state.lock().index.give_back(self.location.key);
        self.inner.changed.notify_all();
    }
}

pub(super) fn lend(inner: &Arc<Inner>, source: &VersionSource<'_>) -> Result<Option<Lend>, StoreError> {
    inner.refuse_other(source);
    let Some(lent) = inner.state.lock().index.lend(source.file()) else { return Ok(None) };
    let given = RestingLend { inner: Arc::clone(inner), location: lent.location };
    let Some(files) = inner.open_or_let_go(lent.location)? else { return Ok(None) };
    inner.statistics.lends_granted.add(1);
    let id = HoldId::next(&inner.holds);
    Ok(Some(Lend { id, records: lent.records, files, given }))
}
