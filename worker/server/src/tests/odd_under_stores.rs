//! Under-stores that cut streams short, send too much, change in the midst or hand out odd chunks: a reader gets right
//! bytes or an error, and nothing wrong is stored.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use forebay_block_store::limits::SEGMENT_LENGTH_DEFAULT;
use forebay_block_store::{
    BlockStore, Demand, Eviction, FreeFloor, PageIndex, PageRange, StoreSettings, TierKind, TierSettings,
};
use forebay_runtime::Shutdown;
use forebay_types::{
    BLOCK_LENGTH_DEFAULT, ByteCount, ClusterId, ErrorKind, FileId, FileOffset, Fingerprint, Incarnation,
    MountId, Timestamp, UnderStoreKey, UnderStoreUri, VersionDescriptor,
};
use forebay_under_store::{
    ListedPage, ObjectStatus, PageToken, ReadStream, UnderStore, UnderStoreError, UnderStoreStatistics,
};
use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use tempfile::TempDir;

use super::fixture::{MIB, content, eventually};
use crate::accounting::{FillLog, MountShares, ReadCounts};
use crate::cache::Cache;
use crate::disk::DiskPool;
use crate::error::ReadError;
use crate::fetches::Fetches;
use crate::limits::WORKING_MEMORY_MIN;
use crate::load::{Loaded, Loads};
use crate::metrics::Metrics;
use crate::mounts::ConnectedMount;
use crate::read_path::ReadPath;
use crate::version::Version;
use crate::working_memory::WorkingMemory;

/// What one read does wrong.
#[derive(Clone, Copy, Debug)]
enum Trick {
    /// Nothing, but its chunks have this length.
    Chunks(usize),
    /// After so many bytes it fails as a broken connection does.
    CutShort(usize),
    /// After so many bytes it just ends.
    EndsEarly(usize),
    /// A byte more than asked for.
    TooMuch,
    /// It says nothing.
    Silent,
    /// After so many bytes it turns out that the object was replaced.
    Changes(usize),
}

#[derive(Debug)]
struct Trickster {
    uri: UnderStoreUri,
    statistics: Arc<UnderStoreStatistics>,
    content: Bytes,
    /// For each read in turn; afterwards reads are honest.
    tricks: Mutex<VecDeque<Trick>>,
    reads: Mutex<Vec<Range<u64>>>,
    /// Chunks that somebody keeps a part of.
    kept: Arc<AtomicUsize>,
}

/// A chunk that says when the last part of it is let go.
struct Chunk(Vec<u8>, Arc<AtomicUsize>);

impl Chunk {
    fn of(bytes: &[u8], kept: &Arc<AtomicUsize>) -> Bytes {
        kept.fetch_add(1, Ordering::Relaxed);
        Bytes::from_owner(Self(bytes.to_vec(), Arc::clone(kept)))
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::Relaxed);
    }
}

#[async_trait::async_trait]
impl UnderStore for Trickster {
    fn uri(&self) -> &UnderStoreUri {
        &self.uri
    }

    fn statistics(&self) -> &Arc<UnderStoreStatistics> {
        &self.statistics
    }

    async fn check(&self) -> Result<(), UnderStoreError> {
        Ok(())
    }

    async fn list(&self, _: &UnderStoreKey, _: Option<PageToken>) -> Result<ListedPage, UnderStoreError> {
        Ok(ListedPage { entries: Vec::new(), next: None, passed: None, skipped: 0, directory: None })
    }

    async fn stat(&self, _: &UnderStoreKey) -> Result<Option<ObjectStatus>, UnderStoreError> {
        Ok(None)
    }

    async fn fingerprint(&self, _: &UnderStoreKey) -> Result<Option<Fingerprint>, UnderStoreError> {
        Ok(None)
    }

    async fn read(
        &self,
        _: &UnderStoreKey,
        range: Range<FileOffset>,
        expected: &Fingerprint,
    ) -> Result<ReadStream, UnderStoreError> {
        let (begin, end) = (range.start.get(), range.end.get());
        self.reads.lock().push(begin..end);
        let at = |offset: u64| usize::try_from(offset).expect("a test's file");
        let mut bytes = self.content.slice(at(begin)..at(end));
        let (object, expected) = (self.uri.to_string(), expected.clone());
        let length = ByteCount::new(end - begin);
        let received = ByteCount::ZERO;
        let reason = "reset".to_owned();
        let mut chunk = 1 << 18;
        let mut error = None;
        match self.tricks.lock().pop_front() {
            None => {}
            Some(Trick::Silent) => return Ok(stream::pending().boxed()),
            Some(Trick::Chunks(length)) => chunk = length,
            Some(Trick::CutShort(after)) => {
                bytes.truncate(after);
                error = Some(UnderStoreError::CutShort { object, expected: length, received, reason });
            }
            Some(Trick::EndsEarly(after)) => bytes.truncate(after),
            Some(Trick::TooMuch) => bytes = [&bytes[..], b"x"].concat().into(),
            Some(Trick::Changes(after)) => {
                bytes.truncate(after);
                error = Some(UnderStoreError::Changed { object, expected: Box::new(expected), found: None });
            }
        }
        let chunks: Vec<_> = bytes.chunks(chunk).map(|bytes| Ok(Chunk::of(bytes, &self.kept))).collect();
        Ok(stream::iter(chunks.into_iter().chain(error.map(Err))).boxed())
    }
}

struct Room {
    path: Arc<ReadPath>,
    version: Arc<Version>,
    under_store: Arc<Trickster>,
    _folder: TempDir,
    _shutdown: Shutdown,
}

impl Room {
    fn new(content: Vec<u8>, tricks: &[Trick]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let shutdown = Shutdown::new();
        let stage = shutdown.stage("test");
        let mut tier = TierSettings::new("disk", folder.path(), TierKind::Disk, ByteCount::new(64 * MIB));
        tier.free_floor = FreeFloor::NOTHING;
        let settings = StoreSettings {
            cluster: ClusterId::new([1; 16]),
            tiers: vec![tier],
            eviction: Eviction::default(),
            segment_length: SEGMENT_LENGTH_DEFAULT,
            format: false,
        };
        let (store, _) = BlockStore::open(settings).expect("opens");
        let cache = Cache::new(store, DiskPool::new(stage.tracker().clone()));
        let fills = Arc::new(FillLog::new(Timestamp::from_nanos(1)));
        let metrics = Arc::new(Metrics::new(&prometheus::Registry::new()).expect("legal"));
        let memory = WorkingMemory::new(WORKING_MEMORY_MIN);
        let fetches = Fetches::new(
            cache.clone(),
            Arc::clone(&fills),
            Arc::<MountShares>::default(),
            Arc::clone(&metrics),
            memory.fetches(),
            stage,
        );
        let counts = Arc::<ReadCounts>::default();
        let path = Arc::new(ReadPath { cache, fetches, fills, counts, memory, metrics });
        let under_store = Arc::new(Trickster {
            uri: "s3://bucket/trick".parse().expect("a URI"),
            statistics: Arc::default(),
            content: content.into(),
            tricks: Mutex::new(tricks.iter().copied().collect()),
            reads: Mutex::default(),
            kept: Arc::default(),
        });
        let fingerprint = Fingerprint {
            tag: Some("t".to_owned()),
            version_id: None,
            length: ByteCount::new(under_store.content.len() as u64),
            modified: Timestamp::from_nanos(1),
            local: None,
        };
        let descriptor = VersionDescriptor {
            file: FileId { incarnation: Incarnation::new(1), counter: 1 },
            mount: MountId::new(1),
            key: UnderStoreKey::new(*b"k").expect("short"),
            fingerprint,
            block_length: ByteCount::new(BLOCK_LENGTH_DEFAULT),
        };
        let mount = ConnectedMount::over(MountId::new(1), Arc::clone(&under_store) as Arc<dyn UnderStore>);
        let mount = Arc::new(mount);
        let version = Arc::new(Version { descriptor, mount });
        Self { path, version, under_store, _folder: folder, _shutdown: shutdown }
    }

    /// The bytes that came and the error that ended them.
    async fn read(&self) -> (Vec<u8>, Option<ReadError>) {
        let mut bytes = Vec::new();
        let mut pieces = Box::pin(Arc::clone(&self.path).read(Arc::clone(&self.version), 0..u64::MAX, 0));
        loop {
            match pieces.try_next().await {
                Ok(Some(piece)) => bytes.extend_from_slice(&piece.data),
                Ok(None) => return (bytes, None),
                Err(error) => return (bytes, Some(error)),
            }
        }
    }

    /// The last word of a load and the error that ended it.
    async fn load(&self) -> (Loaded, Option<ReadError>) {
        let loads = Loads::new(
            self.path.cache.clone(),
            Arc::clone(&self.path.fetches),
            Arc::clone(&self.path.metrics),
            1,
        );
        let mut parts = loads.load(Arc::clone(&self.version), 0..u64::MAX, Demand::Load);
        let mut last = Loaded::default();
        loop {
            match parts.try_next().await {
                Ok(Some(part)) => last = part,
                Ok(None) => return (last, None),
                Err(error) => return (last, Some(error)),
            }
        }
    }

    fn reads(&self) -> usize {
        self.under_store.reads.lock().len()
    }

    /// Whether a page is on its way.
    fn is_coming(&self, page: u32) -> bool {
        self.path.fetches.coming(self.version.file(), PageIndex::new(page)).is_some()
    }
}

#[tokio::test]
async fn chunks_of_any_length_make_whole_pages() {
    for length in [1 << 10, 7_777, 1 << 20, (1 << 20) + 1, 3 << 20, 16 << 20] {
        let bytes = content(5 * MIB + 3, 1);
        let room = Room::new(bytes.clone(), &[Trick::Chunks(length)]);
        for _ in 0..2 {
            let (read, error) = room.read().await;
            assert!(read == bytes && error.is_none(), "chunks of {length}: {error:?}");
        }
        assert_eq!(room.reads(), 1);
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_short_goes_on_where_it_was() {
    let bytes = content(5 * MIB, 2);
    let cut = 2 * (1 << 20) + 5;
    let room = Room::new(bytes.clone(), &[Trick::CutShort(cut), Trick::EndsEarly(10)]);
    let (read, error) = room.read().await;
    assert!(read == bytes, "{error:?}");
    assert!(error.is_none());
    let reads = room.under_store.reads.lock().clone();
    assert_eq!(reads, [0..5 * MIB, 2 * MIB..5 * MIB, 2 * MIB..5 * MIB], "whole pages are not fetched again");
}

#[tokio::test]
async fn an_under_store_that_always_cuts_is_an_error_in_the_end() {
    let room = Room::new(content(MIB, 3), &[Trick::CutShort(7); 50]);
    let (read, error) = room.read().await;
    assert_eq!((read.len(), error.expect("no bytes came").kind()), (0, ErrorKind::UnderStore));
    assert!(room.reads() < 10);
}

#[tokio::test]
async fn a_page_after_which_too_much_came_is_neither_served_nor_stored() {
    let bytes = content(2 * MIB, 4);
    let room = Room::new(bytes.clone(), &[Trick::TooMuch; 9]);
    let (read, error) = room.read().await;
    assert!(read == bytes[..1 << 20]);
    assert_eq!(error.expect("too much").kind(), ErrorKind::UnderStore);
    let all = PageRange { first: PageIndex::new(0), count: 2 };
    assert_eq!(room.path.cache.missing(&room.version, all), [PageIndex::new(1)]);
    room.under_store.tricks.lock().clear();
    assert!(room.read().await.0 == bytes, "an honest answer heals it");
}

#[tokio::test]
async fn a_change_in_the_midst_ends_the_read_after_whole_pages_of_the_old_version() {
    let bytes = content(4 * MIB, 5);
    let room = Room::new(bytes.clone(), &[Trick::Changes((1 << 20) + 1000), Trick::Changes(1000)]);
    let (read, error) = room.read().await;
    assert!(read == bytes[..1 << 20]);
    assert_eq!(error.expect("changed").kind(), ErrorKind::Stale);
}

#[tokio::test]
async fn a_fetch_that_failed_before_its_reader_looked_is_told_as_it_was() {
    let bytes = content(4 * MIB, 9);
    let room = Room::new(bytes.clone(), &[Trick::Changes((1 << 20) + 1000)]);
    let mut pieces = Box::pin(Arc::clone(&room.path).read(Arc::clone(&room.version), 0..u64::MAX, 0));
    let first = pieces.try_next().await.expect("the first page came").expect("a piece");
    assert!(first.data == bytes[..1 << 20]);
    eventually("the fetch ends", || !(0..4).any(|page| room.is_coming(page))).await;
    let error = pieces.try_next().await.expect_err("the object was replaced");
    assert_eq!((error.kind(), room.reads()), (ErrorKind::Stale, 1));
}

#[tokio::test]
async fn a_load_that_is_cut_short_goes_on_where_it_was() {
    let bytes = content(5 * MIB, 6);
    let room = Room::new(bytes.clone(), &[Trick::CutShort(2 * (1 << 20) + 5), Trick::EndsEarly(10)]);
    let (loaded, error) = room.load().await;
    assert!(loaded.is_complete && error.is_none(), "{error:?}");
    assert_eq!((loaded.cached, loaded.fetched, loaded.missing), (5 * MIB, 5 * MIB, 5 * MIB));
    assert_eq!(room.reads(), 3);
    assert!(room.read().await.0 == bytes);
    assert_eq!(room.reads(), 3, "all of it was cached");
}

#[tokio::test]
async fn a_load_keeps_no_page_that_came_while_it_waits_for_another() {
    let room = Room::new(content(8 * MIB, 11), &[Trick::Silent, Trick::Chunks(1 << 20)]);
    // A request of somebody else for the first page, which does not come.
    let first = PageRange { first: PageIndex::new(0), count: 1 };
    let _awaited = room.path.fetches.begin(&room.version, first, Demand::Read);
    eventually("it is asked for", || room.reads() == 1).await;
    let others_are_stored_and_let_go = || {
        let all = PageRange { first: PageIndex::new(0), count: 8 };
        let missing = room.path.cache.missing(&room.version, all);
        missing == [PageIndex::new(0)] && room.under_store.kept.load(Ordering::Relaxed) == 0
    };
    tokio::select! {
        ended = room.load() => panic!("the first page did not come: {ended:?}"),
        () = eventually("the others are let go", others_are_stored_and_let_go) => {}
    }
}

#[tokio::test]
async fn a_load_that_is_cut_short_each_time_is_an_error_in_the_end() {
    let room = Room::new(content(MIB, 7), &[Trick::CutShort(7); 50]);
    let (loaded, error) = room.load().await;
    assert_eq!((loaded.is_complete, error.expect("nothing came").kind()), (false, ErrorKind::UnderStore));
    assert!(room.reads() < 10);
}

#[tokio::test(start_paused = true)]
async fn a_load_that_brings_a_part_each_time_and_finds_it_evicted_is_an_error_in_the_end() {
    let room = Room::new(content(2 * MIB, 10), &[Trick::CutShort((1 << 20) + 5); 200]);
    let evicting = async {
        loop {
            // Time stands still while there is work, so the load has seen its page before it is evicted.
            tokio::time::sleep(Duration::from_millis(1)).await;
            if !room.is_coming(0) && !room.is_coming(1) {
                room.path.cache.store().drop_version(room.version.file());
            }
        }
    };
    let (loaded, error) = tokio::select! {
        ended = room.load() => ended,
        () = evicting => unreachable!("it goes on for ever"),
    };
    assert_eq!((loaded.is_complete, error.expect("never whole").kind()), (false, ErrorKind::NoSpace));
    assert!((10..100).contains(&room.reads()), "{} reads", room.reads());
}

#[tokio::test]
async fn a_change_in_the_midst_of_a_load_is_told_as_such() {
    let room = Room::new(content(4 * MIB, 8), &[Trick::Changes((1 << 20) + 1000)]);
    let (loaded, error) = room.load().await;
    assert_eq!((loaded.is_complete, error.expect("changed").kind()), (false, ErrorKind::Stale));
}
