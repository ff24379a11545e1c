//! An under-store that plays tricks, waits where it is told to and says what it was asked for, and the rooms of a worker
//! over it without a network.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use forebay_block_store::limits::SEGMENT_LENGTH_DEFAULT;
use forebay_block_store::{
    BlockStore, Demand, Eviction, FreeFloor, PageIndex, StoreSettings, TierKind, TierSettings,
};
use forebay_runtime::Shutdown;
use forebay_types::{
    BLOCK_LENGTH_DEFAULT, ByteCount, ClusterId, FileId, FileOffset, Fingerprint, Incarnation, MountId,
    Timestamp, UnderStoreKey, UnderStoreUri, VersionDescriptor,
};
use forebay_under_store::{
    ListedPage, ObjectStatus, PageToken, ReadStream, UnderStore, UnderStoreError, UnderStoreStatistics,
};
use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::sync::Semaphore;

use super::fixture::MIB;
use crate::accounting::{FillLog, MountShares, ReadCounts};
use crate::cache::Cache;
use crate::disk::DiskPool;
use crate::error::ReadError;
use crate::fetches::Fetches;
use crate::limits::WORKING_MEMORY_MIN;
use crate::load::{Loaded, Loads};
use crate::metrics::Metrics;
use crate::mounts::ConnectedMount;
use crate::past_cache::PastCache;
use crate::read_path::ReadPath;
use crate::reading_order::ReadingOrder;
use crate::version::Version;
use crate::working_memory::WorkingMemory;

/// What one read does wrong.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trick {
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
pub(super) struct Trickster {
    uri: UnderStoreUri,
    statistics: Arc<UnderStoreStatistics>,
    content: Bytes,
    /// For each read in turn; afterwards reads are honest.
    pub(super) tricks: Mutex<VecDeque<Trick>>,
    pub(super) reads: Mutex<Vec<Range<u64>>>,
    /// A read begins when it gets a permit, and does not give it back.
    pub(super) gate: Semaphore,
    /// Chunks that somebody keeps a part of.
    pub(super) kept: Arc<AtomicUsize>,
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
        self.gate.acquire().await.expect("never closed").forget();
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

pub(super) struct Room {
    pub(super) path: Arc<ReadPath>,
    pub(super) version: Arc<Version>,
    pub(super) under_store: Arc<Trickster>,
    _folder: TempDir,
    _shutdown: Shutdown,
}

impl Room {
    pub(super) fn new(content: Vec<u8>, tricks: &[Trick]) -> Self {
        Self::with(FreeFloor::NOTHING, WORKING_MEMORY_MIN, content, tricks)
    }

    /// One whose cache has room for nothing.
    pub(super) fn without_cache(memory: ByteCount, content: Vec<u8>, tricks: &[Trick]) -> Self {
        let all = FreeFloor::Of { bytes: ByteCount::new(u64::MAX), inodes: 0 };
        Self::with(all, memory, content, tricks)
    }

    fn with(free_floor: FreeFloor, memory: ByteCount, content: Vec<u8>, tricks: &[Trick]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let shutdown = Shutdown::new();
        let stage = shutdown.stage("test");
        let mut tier = TierSettings::new("disk", folder.path(), TierKind::Disk, ByteCount::new(64 * MIB));
        tier.free_floor = free_floor;
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
        let memory = WorkingMemory::new(memory);
        let fetches = Fetches::new(
            cache.clone(),
            Arc::clone(&fills),
            Arc::<MountShares>::default(),
            Arc::clone(&metrics),
            memory.fetches(),
            stage,
        );
        let counts = Arc::<ReadCounts>::default();
        let order = ReadingOrder::default();
        let past_cache = PastCache::new(Arc::clone(&fetches), memory.clone());
        let path = Arc::new(ReadPath { cache, fetches, past_cache, fills, order, counts, memory, metrics });
        let under_store = Arc::new(Trickster {
            uri: "s3://bucket/trick".parse().expect("a URI"),
            statistics: Arc::default(),
            content: content.into(),
            tricks: Mutex::new(tricks.iter().copied().collect()),
            reads: Mutex::default(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS >> 1),
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
    pub(super) async fn read(&self) -> (Vec<u8>, Option<ReadError>) {
        self.read_of(&self.version, 0..u64::MAX).await
    }

    /// The same of a range of a version.
    pub(super) async fn read_of(
        &self,
        version: &Arc<Version>,
        range: Range<u64>,
    ) -> (Vec<u8>, Option<ReadError>) {
        let mut bytes = Vec::new();
        let mut pieces = Box::pin(Arc::clone(&self.path).read(Arc::clone(version), range, 0));
        loop {
            match pieces.try_next().await {
                Ok(Some(piece)) => bytes.extend_from_slice(&piece.data),
                Ok(None) => return (bytes, None),
                Err(error) => return (bytes, Some(error)),
            }
        }
    }

    /// The last word of a load and the error that ended it.
    pub(super) async fn load(&self) -> (Loaded, Option<ReadError>) {
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

    /// Another version of the same content.
    pub(super) fn another(&self, counter: u64) -> Arc<Version> {
        let mut descriptor = self.version.descriptor.clone();
        descriptor.file.counter = counter;
        Arc::new(Version { descriptor, mount: Arc::clone(&self.version.mount) })
    }

    /// From now on so many reads of the under-store begin, and the others wait.
    pub(super) fn let_begin(&self, reads: usize) {
        self.under_store.gate.forget_permits(Semaphore::MAX_PERMITS);
        self.under_store.gate.add_permits(reads);
    }

    pub(super) fn reads(&self) -> usize {
        self.under_store.reads.lock().len()
    }

    /// Whether a page is on its way.
    pub(super) fn is_coming(&self, page: u32) -> bool {
        self.path.fetches.coming(self.version.file(), PageIndex::new(page)).is_some()
    }
}
