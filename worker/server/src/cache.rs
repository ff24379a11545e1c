//! The block store as the async side uses it: which calls may be made at once, and which go to the disk pool.

use std::sync::Arc;

use bytes::Bytes;
use forebay_block_store::{
    BlockStore, Demand, Fill, FillOutcome, FillStart, PageIndex, PageRange, ReadOutcome, StoreError,
};
use forebay_types::{ByteCount, FileOffset, GRANULE_LENGTH};

use crate::checksum::CrcJoin;
use crate::disk::DiskPool;
use crate::error::ReadError;
use crate::version::Version;

/// The open store. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    store: BlockStore,
    disk: DiskPool,
    join: Arc<CrcJoin>,
}

/// A place for a page that is on its way.
#[derive(Debug)]
pub(crate) enum Room {
    /// Write it here.
    Reserved(Fill),
    /// It is here, or somebody else brings it: nothing to store.
    Taken,
    /// There is none.
    None,
}

/// What a read found.
#[derive(Debug)]
pub(crate) enum CacheRead {
    /// Bytes, and their checksum made from the stored ones.
    Bytes { data: Bytes, crc32c: u32 },
    /// The first byte is not here.
    Missing,
}

impl Cache {
    pub(crate) fn new(store: BlockStore, disk: DiskPool) -> Self {
        Self { store, disk, join: Arc::new(CrcJoin::new()) }
    }

    /// Where blocking work is done.
    pub(crate) const fn disk(&self) -> &DiskPool {
        &self.disk
    }

    pub(crate) const fn store(&self) -> &BlockStore {
        &self.store
    }

    /// Which of some pages are not here.
    pub(crate) fn missing(&self, version: &Version, pages: PageRange) -> Vec<PageIndex> {
        self.store.missing(&version.source(), pages)
    }

    /// Whether what is here of some pages lies in memory, so that reading a piece of it does not wait for a disk.
    pub(crate) fn is_in_memory(&self, version: &Version, pages: PageRange) -> bool {
        self.store.is_in_memory(&version.source(), pages)
    }

    /// Reads up to a piece. A disk that fails counts as "not here".
    pub(crate) async fn read(
        &self,
        version: &Arc<Version>,
        is_in_memory: bool,
        offset: u64,
        length: u64,
    ) -> Result<CacheRead, ReadError> {
        let read = move |store: &BlockStore, version: &Version| {
            store.read(&version.source(), FileOffset::new(offset), ByteCount::new(length))
        };
        let outcome = if is_in_memory {
            read(&self.store, version)
        } else {
            let (store, of) = (self.store.clone(), Arc::clone(version));
            self.disk.run(move || read(&store, &of)).await?
        };
        Ok(outcome.map_or_else(
            |error| {
                let (block, mount) = (version.block_at(offset), version.mount.id);
                tracing::warn!(block, %mount, %error, "a cached page cannot be read and is fetched again");
                CacheRead::Missing
            },
            |outcome| self.joined(offset, outcome),
        ))
    }

    fn joined(&self, offset: u64, outcome: ReadOutcome) -> CacheRead {
        let ReadOutcome { bytes: data, checksums, .. } = outcome;
        if data.is_empty() {
            return CacheRead::Missing;
        }
        let end = offset + data.len() as u64;
        let mut position = offset;
        let mut joined = 0;
        for (number, checksum) in checksums.iter().enumerate() {
            let next = ((position / GRANULE_LENGTH + 1) * GRANULE_LENGTH).min(end);
            joined = if number == 0 { *checksum } else { self.join.join(joined, *checksum, next - position) };
            position = next;
        }
        CacheRead::Bytes { data, crc32c: joined }
    }

    /// Makes room for a page.
    pub(crate) async fn reserve(
        &self,
        version: &Arc<Version>,
        page: PageIndex,
        demand: Demand,
    ) -> Result<Room, ReadError> {
        let (store, version) = (self.store.clone(), Arc::clone(version));
        self.disk.run(move || room(&store, &version, page, demand)).await
    }

    /// Stores a page where there is room for it, and makes room for the next one in the same visit to the disk pool.
    pub(crate) async fn store_page(
        &self,
        version: &Arc<Version>,
        reserved: Room,
        bytes: Bytes,
        next: Option<(PageIndex, Demand)>,
    ) -> Result<Room, ReadError> {
        let (store, version) = (self.store.clone(), Arc::clone(version));
        let work = move || {
            if let Room::Reserved(mut fill) = reserved {
                let page = fill.page();
                if let Err(error) = fill.write(&bytes).and_then(|()| fill.commit()) {
                    log_not_stored(&version, page, &error);
                }
            }
            next.map_or(Room::Taken, |(page, demand)| room(&store, &version, page, demand))
        };
        self.disk.run(work).await
    }

    /// An empty version is complete as soon as the store knows it; there is nothing to fetch.
    pub(crate) async fn store_empty(&self, version: &Arc<Version>) -> Result<(), ReadError> {
        let (store, version) = (self.store.clone(), Arc::clone(version));
        let of = Arc::clone(&version);
        let put = move || store.put_page(&of.source(), PageIndex::new(0), &[]);
        match self.disk.run(put).await? {
            Ok(FillOutcome::Stored | FillOutcome::AlreadyPresent) => {}
            Ok(FillOutcome::InProgress | FillOutcome::Superseded) => {}
            Err(error) => log_not_stored(&version, PageIndex::new(0), &error),
        }
        Ok(())
    }
}

fn room(store: &BlockStore, version: &Version, page: PageIndex, demand: Demand) -> Room {
    match store.begin_fill(&version.source(), page, demand) {
        Ok(FillStart::Writing(fill)) => Room::Reserved(fill),
        Ok(FillStart::Present | FillStart::InProgress) => Room::Taken,
        Err(error) => {
            log_not_stored(version, page, &error);
            Room::None
        }
    }
}

/// A full cache is no news; a disk that fails is.
fn log_not_stored(version: &Version, page: PageIndex, error: &StoreError) {
    let (block, mount) = (version.block_at(page.offset().get()), version.mount.id);
    match error {
        StoreError::Io { .. } => {
            tracing::warn!(block, %mount, %error, "a page cannot be stored; it is served without");
        }
        _ => tracing::debug!(block, %mount, %error, "a page is not stored"),
    }
}
