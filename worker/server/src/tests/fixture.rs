//! A worker over a folder as under-store, and a client that checks every piece it gets.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use forebay_block_store::FreeFloor;
use forebay_proto::v1::blocks_client::BlocksClient;
use forebay_proto::{WireError, v1};
use forebay_runtime::{Readiness, Shutdown};
use forebay_types::{
    BLOCK_LENGTH_DEFAULT, BlockCapability, ByteCount, FileId, HostId, Incarnation, MountId, Rights,
    Timestamp, UnderStoreKey, VersionDescriptor, crc32c,
};
use prometheus::Registry;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use super::master::{TestMaster, key};
use crate::{RunningWorker, TierKind, TierSettings, Worker, WorkerError, WorkerSettings};

pub(super) const MIB: u64 = 1 << 20;
pub(super) const MOUNT: u32 = 4;

/// The folders and the master, which outlive a worker.
pub(super) struct House {
    pub(super) source: TempDir,
    pub(super) folder: TempDir,
    pub(super) master: TestMaster,
    pub(super) capacity: u64,
}

/// A worker in the house.
pub(super) struct Started {
    pub(super) worker: RunningWorker,
    pub(super) registry: Registry,
    pub(super) readiness: Readiness,
    pub(super) client: BlocksClient<Channel>,
    shutdown: Shutdown,
}

impl House {
    pub(super) async fn new() -> Self {
        let source = tempfile::tempdir().expect("a folder");
        let mount = v1::MountCredentials {
            mount: MOUNT,
            uri: format!("file://{}", source.path().display()),
            ..Default::default()
        };
        let master = TestMaster::start(vec![mount]).await;
        Self { source, folder: tempfile::tempdir().expect("a folder"), master, capacity: 256 * MIB }
    }

    pub(super) fn settings(&self, shutdown: &Shutdown) -> WorkerSettings {
        let masters = vec![self.master.address.to_string()];
        let directory = self.folder.path().join("worker");
        let mut settings = WorkerSettings::new(directory, masters, HostId::new("test"), shutdown);
        let capacity = ByteCount::new(self.capacity);
        let mut tier = TierSettings::new("disk", self.folder.path().join("cache"), TierKind::Disk, capacity);
        tier.free_floor = FreeFloor::NOTHING;
        settings.tiers = vec![tier];
        settings
    }

    pub(super) async fn start(&self) -> Started {
        let shutdown = Shutdown::new();
        let started = Started::with(self.settings(&shutdown), shutdown).await.expect("starts");
        started.worker.ready().await.expect("serves");
        started
    }

    /// Puts bytes at a name of the under-store, as a new file.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) {
        let new = self.source.path().join(format!("{name}.new"));
        fs::write(&new, bytes).expect("written");
        fs::rename(new, self.source.path().join(name)).expect("renamed");
    }

    /// The version that is at a name of the under-store now, as the master would give it.
    pub(super) async fn version(&self, name: &str, counter: u64) -> VersionDescriptor {
        Self::version_at(self.source.path(), name, counter).await
    }

    /// The same of a name in another folder.
    pub(super) async fn version_at(folder: &Path, name: &str, counter: u64) -> VersionDescriptor {
        let uri = format!("file://{}", folder.display()).parse().expect("a URI");
        let store = forebay_under_store::connect(&uri, &BTreeMap::new(), &BTreeMap::new()).expect("connects");
        let key = UnderStoreKey::new(name.as_bytes()).expect("short");
        let fingerprint = store.fingerprint(&key).await.expect("asked").expect("a file");
        VersionDescriptor {
            file: FileId { incarnation: Incarnation::new(1), counter },
            mount: MountId::new(MOUNT),
            key,
            fingerprint,
            block_length: ByteCount::new(BLOCK_LENGTH_DEFAULT),
        }
    }

    /// The data files of the cache.
    pub(super) fn cache_files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        collect_files(&self.folder.path().join("cache"), &mut files);
        files
    }
}

fn collect_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        // A version's files have endings; locks and catalogues have none.
        match path.extension() {
            _ if path.is_dir() => collect_files(&path, files),
            Some(_) => files.push(path),
            None => {}
        }
    }
}

/// Asks for all of a version to be brought.
pub(super) fn load_request(version: &VersionDescriptor) -> v1::LoadRequest {
    v1::LoadRequest {
        header: None,
        version: Some(version.into()),
        capability: Some((&capability(version)).into()),
        offset: 0,
        length: u64::MAX,
        guess: false,
    }
}

impl Started {
    pub(super) async fn with(settings: WorkerSettings, shutdown: Shutdown) -> Result<Self, WorkerError> {
        let (registry, readiness) = (settings.registry.clone(), settings.readiness.clone());
        let worker = Worker::start(settings).await?;
        let endpoint = Endpoint::from_shared(format!("http://{}", worker.address())).expect("an address");
        let client = BlocksClient::new(endpoint.connect_lazy()).max_decoding_message_size(2 << 20);
        Ok(Self { worker, registry, readiness, client, shutdown })
    }

    pub(super) async fn stop(self) {
        drop(self.client);
        self.shutdown.finish(Duration::from_secs(20)).await.expect("stops in time");
        self.worker.ended().await.expect("a clean end");
    }

    /// The bytes of a range, as far as they came, and the error that ended them.
    pub(super) async fn read_as(
        &self,
        version: &VersionDescriptor,
        capability: &BlockCapability,
        offset: u64,
        length: u64,
        opened_at_fill: u64,
    ) -> (Vec<u8>, u64, Option<WireError>) {
        let request = v1::ReadRequest {
            header: None,
            version: Some(version.into()),
            capability: Some(capability.into()),
            offset,
            length,
            opened_at_fill,
        };
        let mut bytes = Vec::new();
        let mut fill_sequence = 0;
        let mut stream = match self.client.clone().read(request).await {
            Ok(stream) => stream.into_inner(),
            Err(status) => return (bytes, 0, Some(status.into())),
        };
        loop {
            match stream.message().await {
                Ok(Some(chunk)) => {
                    assert_eq!(chunk.offset, offset + bytes.len() as u64, "pieces follow each other");
                    assert!(chunk.data.len() as u64 <= MIB && !chunk.data.is_empty());
                    assert_eq!(chunk.crc32c, crc32c::crc32c(&chunk.data), "each piece has its checksum");
                    bytes.extend_from_slice(&chunk.data);
                    fill_sequence = chunk.fill_sequence;
                }
                Ok(None) => return (bytes, fill_sequence, None),
                Err(status) => return (bytes, fill_sequence, Some(status.into())),
            }
        }
    }

    /// The bytes of a range, read by a handle of its own.
    pub(super) async fn read(
        &self,
        version: &VersionDescriptor,
        offset: u64,
        length: u64,
    ) -> Result<Vec<u8>, WireError> {
        let (bytes, _, error) = self.read_as(version, &capability(version), offset, length, 0).await;
        error.map_or(Ok(bytes), Err)
    }

    /// The sum of a metric over its labels, or of those rows that have one of this value.
    pub(super) fn metric(&self, name: &str, label: Option<&str>) -> u64 {
        let families = self.registry.gather();
        let family =
            families.iter().find(|family| family.name() == name).unwrap_or_else(|| panic!("no {name}"));
        let has_label = |metric: &&prometheus::proto::Metric| {
            label.is_none_or(|label| metric.get_label().iter().any(|pair| pair.value() == label))
        };
        let value = |metric: &prometheus::proto::Metric| {
            metric.get_counter().get_value() + metric.get_gauge().get_value()
        };
        #[allow(clippy::cast_possible_truncation, reason = "counters of a test are small whole numbers")]
        family.get_metric().iter().filter(has_label).map(|metric| value(metric) as u64).sum()
    }

    /// How often the under-store was asked.
    pub(super) fn requests(&self) -> u64 {
        self.metric("forebay_worker_under_store_requests_total", None)
    }
}

/// The right to read a version for the next hour.
pub(super) fn capability(version: &VersionDescriptor) -> BlockCapability {
    key().sign(version, Rights::Read, Timestamp::from_nanos(i64::MAX))
}

/// Bytes that differ from page to page and from seed to seed.
pub(super) fn content(length: u64, seed: u8) -> Vec<u8> {
    let word = |n: u64| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(seed)).to_le_bytes();
    let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(word).collect();
    bytes.truncate(usize::try_from(length).expect("a test's file"));
    bytes
}

/// Waits until a condition holds.
pub(super) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}
