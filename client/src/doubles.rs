//! Test doubles of masters and workers: real servers on loopback that answer as a test tells them to.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use forebay_proto::v1::blocks_server::{Blocks, BlocksServer};
use forebay_proto::v1::cluster_server::{Cluster, ClusterServer};
use forebay_proto::v1::mounts_server::{Mounts, MountsServer};
use forebay_proto::v1::namespace_server::{Namespace, NamespaceServer};
use forebay_proto::{Entry, Followed, WireError, to_status, v1};
use forebay_types::{
    BlockCapability, ByteCount, ClusterMap, EntryKind, EntryName, Epoch, ErrorKind, FileId, Fingerprint,
    HostId, Incarnation, InodeId, ListingPosition, MountId, Principal, Rights, Timestamp, UnderStoreKey,
    VersionDescriptor, WorkerEntry, WorkerId, WorkerState, crc32c,
};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tonic::{Request, Response, Status};

use crate::{Client, ClientSettings};

/// A server on a runtime of its own, so that it can die with its connections as a process does.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    runtime: Option<Runtime>,
}

/// An address that is taken and where nobody listens yet.
#[derive(Debug)]
pub(crate) struct Nobody {
    pub(crate) address: SocketAddr,
    socket: TcpSocket,
}

impl Nobody {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        Self { address: socket.local_addr().unwrap(), socket }
    }

    fn serve(self, router: Router) -> Serving {
        let listener = self.socket.listen(128).unwrap().into_std().unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move {
            let incoming = TcpListenerStream::new(TcpListener::from_std(listener).unwrap());
            router.serve_with_incoming(incoming).await.unwrap();
        });
        Serving { address: self.address, runtime: Some(runtime) }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

/// The head of an answer, and nothing of what should follow it: HTTP/2 by hand, since no server would do so.
pub(crate) async fn serve_half_an_answer() -> SocketAddr {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    /// Stream 1: `:status: 200` and `content-type: application/grpc`.
    const HEADERS: [u8; 29] = *b"\0\0\x14\x01\x04\0\0\0\x01\x88\x0f\x10\x10application/grpc";
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut streams = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(&SETTINGS).await.unwrap();
            let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
            // The path of the request is text that HPACK may shorten, its frame is not: type 1, stream 1.
            while !seen.windows(6).any(|frame| frame[0] == 1 && frame[2..] == [0, 0, 0, 1]) {
                let had = stream.read(&mut buffer).await.unwrap();
                seen.extend_from_slice(&buffer[..had]);
            }
            stream.write_all(&HEADERS).await.unwrap();
            streams.push(stream);
        }
    });
    address
}

/// What a test's worker does with the requests for bytes, one after the other; the last stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Good,
    /// A bit of the second chunk, or of the only one, is not the file's.
    Damaged,
    /// The stream ends after one chunk.
    Short,
    /// One chunk, then an error.
    Breaks(ErrorKind),
    Fails(ErrorKind),
    /// No word at all.
    Silent,
}

/// A worker that serves bytes that follow from their offset.
#[derive(Debug)]
pub(crate) struct Worker {
    answers: Mutex<Vec<Answer>>,
    pub(crate) requests: Mutex<Vec<v1::ReadRequest>>,
    pub(crate) fill_sequence: AtomicU64,
}

/// Small chunks, so that a stream has several.
pub(crate) const CHUNK: usize = 64 << 10;

/// The bytes of every version of these tests.
pub(crate) fn content(offset: u64, length: usize) -> Bytes {
    let byte = |at: u64| {
        let [low, middle, high, ..] = at.to_le_bytes();
        low.wrapping_mul(31) ^ middle.rotate_left(3) ^ high
    };
    (offset..offset + length as u64).map(byte).collect::<Vec<_>>().into()
}

impl Worker {
    pub(crate) fn new(answers: impl Into<Vec<Answer>>) -> Arc<Self> {
        Arc::new(Self {
            answers: Mutex::new(answers.into()),
            requests: Mutex::default(),
            fill_sequence: AtomicU64::new(5),
        })
    }

    pub(crate) fn now_answers(&self, answers: impl Into<Vec<Answer>>) {
        *self.answers.lock() = answers.into();
    }

    pub(crate) fn serve(self: &Arc<Self>) -> Serving {
        self.serve_at(Nobody::new())
    }

    pub(crate) fn serve_at(self: &Arc<Self>, nobody: Nobody) -> Serving {
        nobody.serve(Server::builder().add_service(BlocksServer::from_arc(Arc::clone(self))))
    }

    /// How many bytes were asked for.
    pub(crate) fn asked_bytes(&self) -> u64 {
        self.requests.lock().iter().map(|request| request.length).sum()
    }
}

type Chunks = Pin<Box<dyn futures::Stream<Item = Result<v1::ReadChunk, Status>> + Send>>;

#[tonic::async_trait]
impl Blocks for Worker {
    type ReadStream = Chunks;
    type LoadStream = Pin<Box<dyn futures::Stream<Item = Result<v1::LoadProgress, Status>> + Send>>;

    async fn load(&self, _: Request<v1::LoadRequest>) -> Result<Response<Self::LoadStream>, Status> {
        unused()
    }

    async fn read(&self, request: Request<v1::ReadRequest>) -> Result<Response<Chunks>, Status> {
        let request = request.into_inner();
        let answer = {
            let mut answers = self.answers.lock();
            if answers.len() > 1 { answers.remove(0) } else { answers[0] }
        };
        self.requests.lock().push(request.clone());
        match answer {
            Answer::Fails(kind) => return Err(to_status(kind, "as the test wants it")),
            Answer::Silent => std::future::pending().await,
            Answer::Good | Answer::Damaged | Answer::Short | Answer::Breaks(_) => {}
        }
        let fill_sequence = self.fill_sequence.load(Ordering::Relaxed);
        let end = request.offset + request.length;
        let mut chunks: Vec<_> = (request.offset..end)
            .step_by(CHUNK)
            .map(|offset| {
                let data = content(offset, CHUNK.min(usize::try_from(end - offset).unwrap()));
                Ok(v1::ReadChunk { crc32c: crc32c::crc32c(&data), data, offset, fill_sequence })
            })
            .collect();
        match answer {
            Answer::Damaged => {
                let last = chunks.len() - 1;
                let chunk = chunks[last.min(1)].as_mut().unwrap();
                let mut data = chunk.data.to_vec();
                data[7] ^= 1;
                chunk.data = data.into();
            }
            Answer::Short => chunks.truncate(1),
            Answer::Breaks(kind) => {
                chunks.truncate(1);
                chunks.push(Err(to_status(kind, "as the test wants it")));
            }
            Answer::Good | Answer::Fails(_) | Answer::Silent => {}
        }
        Ok(Response::new(Box::pin(futures::stream::iter(chunks))))
    }

    async fn get_presence(
        &self,
        _request: Request<v1::GetPresenceRequest>,
    ) -> Result<Response<v1::GetPresenceResponse>, Status> {
        Ok(Response::new(v1::GetPresenceResponse { cached_bytes: 10, complete: false, in_segments: false }))
    }
}

/// What a test's master does with one request, before it answers as it should.
#[derive(Clone, Debug)]
pub(crate) enum Turn {
    Answer,
    Fail(WireError),
    /// Never answers.
    Silent,
}

/// A master that knows workers and one file.
#[derive(Debug, Default)]
pub(crate) struct Master {
    pub(crate) turns: Mutex<Vec<Turn>>,
    pub(crate) workers: Mutex<Vec<WorkerEntry>>,
    pub(crate) mounts: Mutex<Vec<v1::MountRequest>>,
    pub(crate) reports: Mutex<Vec<v1::ReportClientRequest>>,
    pub(crate) lookups: AtomicU64,
    pub(crate) opens: AtomicU64,
    pub(crate) lists: AtomicU64,
    /// Names of directories, beside the one file that is opened.
    pub(crate) entries: Mutex<BTreeMap<(InodeId, EntryName), Entry>>,
    /// Directories that are not there any more.
    pub(crate) gone: Mutex<Vec<InodeId>>,
    /// Answers to questions for changes; without one the question waits.
    news: Mutex<VecDeque<Result<Followed, WireError>>>,
    told: Notify,
    /// The places that were asked after.
    /// What was to be compared.
    pub(crate) refreshed: Mutex<Vec<(u64, Option<v1::FileId>)>>,
    pub(crate) followed_after: Mutex<Vec<Option<u64>>>,
}

impl Master {
    /// Answers the next questions for changes so.
    pub(crate) fn tell(&self, news: impl IntoIterator<Item = Followed>) {
        self.news.lock().extend(news.into_iter().map(Ok));
        self.told.notify_one();
    }

    /// Refuses the next question for changes.
    pub(crate) fn tell_error(&self, error: WireError) {
        self.news.lock().push_back(Err(error));
        self.told.notify_one();
    }

    pub(crate) fn serve(self: &Arc<Self>) -> Serving {
        self.serve_at(Nobody::new())
    }

    pub(crate) fn serve_at(self: &Arc<Self>, nobody: Nobody) -> Serving {
        let router = Server::builder()
            .add_service(NamespaceServer::from_arc(Arc::clone(self)))
            .add_service(MountsServer::from_arc(Arc::clone(self)))
            .add_service(ClusterServer::from_arc(Arc::clone(self)));
        nobody.serve(router)
    }

    pub(crate) fn with_workers(workers: &[(u32, &str, SocketAddr)]) -> Arc<Self> {
        let entry = |(id, host, address): &(u32, &str, SocketAddr)| WorkerEntry {
            id: WorkerId::new(*id),
            address: address.to_string(),
            host: HostId::new(*host),
            local_socket: String::new(),
            group: String::new(),
            capacity: ByteCount::new(1 << 30),
            state: WorkerState::Live,
        };
        let master = Self::default();
        *master.workers.lock() = workers.iter().map(entry).collect();
        Arc::new(master)
    }

    fn expect_there(&self, inode: u64) -> Result<(), Status> {
        match self.gone.lock().contains(&InodeId::new(inode)) {
            true => Err(to_status(ErrorKind::NotFound, "it is gone")),
            false => Ok(()),
        }
    }

    async fn turn(&self) -> Result<(), Status> {
        let turn = {
            let mut turns = self.turns.lock();
            if turns.is_empty() { Turn::Answer } else { turns.remove(0) }
        };
        match turn {
            Turn::Answer => Ok(()),
            Turn::Fail(error) => Err(error.into()),
            Turn::Silent => std::future::pending().await,
        }
    }
}

pub(crate) fn not_leader(leader: Option<SocketAddr>) -> Turn {
    let leader = leader.map(|address| address.to_string());
    Turn::Fail(WireError { leader, ..WireError::new(ErrorKind::NotLeader, "this master does not lead") })
}

fn unused<T>() -> Result<Response<T>, Status> {
    Err(to_status(ErrorKind::Unsupported, "no test asks for this"))
}

/// The file that is opened.
pub(crate) fn opened_file() -> Entry {
    Entry {
        inode: InodeId::new(9),
        kind: EntryKind::File,
        mode: None,
        uid: None,
        gid: None,
        modified: Timestamp::from_nanos(1),
        version: Some((version(1 << 30), renewed_capability())),
        symlink_target: Vec::new(),
        cached: ByteCount::ZERO,
        under_store_uri: String::new(),
        directory: InodeId::ROOT,
        own_grant: false,
    }
}

/// A directory of an under-store.
pub(crate) fn directory(inode: InodeId) -> Entry {
    let under_store_uri = format!("s3://bucket/{inode}");
    Entry { inode, kind: EntryKind::Directory, version: None, under_store_uri, ..opened_file() }
}

fn entry(of: Entry) -> v1::EntryResponse {
    let (valid_nanos, granted_nanos) = (5_000_000_000, 60_000_000_000);
    v1::EntryResponse { entry: Some(of.into()), valid_nanos, granted_nanos, ..Default::default() }
}

#[tonic::async_trait]
impl Namespace for Master {
    async fn lookup(
        &self,
        request: Request<v1::LookupRequest>,
    ) -> Result<Response<v1::LookupResponse>, Status> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        self.turn().await?;
        let request = request.into_inner();
        let name = EntryName::new(request.name.to_vec()).unwrap();
        self.expect_there(request.parent)?;
        let entry = self.entries.lock().get(&(InodeId::new(request.parent), name)).cloned();
        Ok(Response::new(v1::LookupResponse {
            entry: entry.map(Into::into),
            valid_nanos: 3_000_000_000,
            granted_nanos: 60_000_000_000,
        }))
    }

    async fn open(&self, _: Request<v1::OpenRequest>) -> Result<Response<v1::EntryResponse>, Status> {
        self.opens.fetch_add(1, Ordering::Relaxed);
        Ok(Response::new(entry(opened_file())))
    }

    async fn check(&self, _: Request<v1::CheckRequest>) -> Result<Response<v1::CheckResponse>, Status> {
        unused()
    }

    async fn refresh(
        &self,
        request: Request<v1::RefreshRequest>,
    ) -> Result<Response<v1::RefreshResponse>, Status> {
        let v1::RefreshRequest { inode, stale, .. } = request.into_inner();
        self.refreshed.lock().push((inode, stale));
        Ok(Response::new(v1::RefreshResponse {}))
    }

    async fn follow_changes(
        &self,
        request: Request<v1::FollowChangesRequest>,
    ) -> Result<Response<v1::FollowChangesResponse>, Status> {
        let after = request.into_inner().after.map(|position| position.index);
        self.followed_after.lock().push(after);
        loop {
            let told = self.told.notified();
            let next = self.news.lock().pop_front();
            match next {
                Some(news) => return Ok(Response::new(news?.into())),
                None => told.await,
            }
        }
    }

    async fn resolve(&self, _: Request<v1::ResolveRequest>) -> Result<Response<v1::EntryResponse>, Status> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        Ok(Response::new(entry(opened_file())))
    }

    async fn get_attributes(
        &self,
        request: Request<v1::GetAttributesRequest>,
    ) -> Result<Response<v1::EntryResponse>, Status> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        self.expect_there(request.into_inner().inode)?;
        Ok(Response::new(entry(opened_file())))
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
        self.lists.fetch_add(1, Ordering::Relaxed);
        let request = request.into_inner();
        self.expect_there(request.directory)?;
        let entries = self.entries.lock();
        let mut all: Vec<_> = entries
            .iter()
            .filter(|((parent, _), _)| parent.get() == request.directory)
            .map(|((_, name), entry)| (ListingPosition::of(name, entry.kind), name, entry))
            .filter(|(place, ..)| place.as_bytes() > &request.after[..])
            .collect();
        all.sort_by(|left, right| left.0.cmp(&right.0));
        let limit = usize::try_from(request.limit).unwrap();
        let named = |(_, name, entry): &(_, &EntryName, &Entry)| v1::NamedEntry {
            name: name.as_bytes().to_vec().into(),
            entry: Some((*entry).clone().into()),
        };
        Ok(Response::new(v1::ListResponse {
            entries: all.iter().take(limit).map(named).collect(),
            complete: all.len() <= limit,
            valid_nanos: 5_000_000_000,
            granted_nanos: 60_000_000_000,
        }))
    }

    async fn get_statistics(
        &self,
        _: Request<v1::GetStatisticsRequest>,
    ) -> Result<Response<v1::GetStatisticsResponse>, Status> {
        unused()
    }

    async fn locate(&self, _: Request<v1::LocateRequest>) -> Result<Response<v1::LocateResponse>, Status> {
        unused()
    }

    async fn free(&self, _: Request<v1::FreeRequest>) -> Result<Response<v1::FreeResponse>, Status> {
        unused()
    }

    async fn make_directory(
        &self,
        _: Request<v1::MakeDirectoryRequest>,
    ) -> Result<Response<v1::MakeDirectoryResponse>, Status> {
        unused()
    }

    async fn remove_directory(
        &self,
        _: Request<v1::RemoveDirectoryRequest>,
    ) -> Result<Response<v1::RemoveDirectoryResponse>, Status> {
        unused()
    }

    async fn rename(&self, _: Request<v1::RenameRequest>) -> Result<Response<v1::RenameResponse>, Status> {
        unused()
    }

    async fn set_attributes(
        &self,
        _: Request<v1::SetAttributesRequest>,
    ) -> Result<Response<v1::SetAttributesResponse>, Status> {
        unused()
    }

    async fn pin(&self, _: Request<v1::PinRequest>) -> Result<Response<v1::PinResponse>, Status> {
        unused()
    }

    async fn unpin(&self, _: Request<v1::UnpinRequest>) -> Result<Response<v1::UnpinResponse>, Status> {
        unused()
    }

    async fn list_pins(
        &self,
        _: Request<v1::ListPinsRequest>,
    ) -> Result<Response<v1::ListPinsResponse>, Status> {
        unused()
    }
}

#[tonic::async_trait]
impl Mounts for Master {
    async fn mount(&self, request: Request<v1::MountRequest>) -> Result<Response<v1::MountResponse>, Status> {
        self.mounts.lock().push(request.into_inner());
        self.turn().await?;
        Ok(Response::new(v1::MountResponse { mount: 3, ..v1::MountResponse::default() }))
    }

    async fn unmount(&self, _: Request<v1::UnmountRequest>) -> Result<Response<v1::UnmountResponse>, Status> {
        unused()
    }

    async fn list_mounts(
        &self,
        _: Request<v1::ListMountsRequest>,
    ) -> Result<Response<v1::ListMountsResponse>, Status> {
        unused()
    }
}

#[tonic::async_trait]
impl Cluster for Master {
    async fn register(
        &self,
        _: Request<v1::RegisterRequest>,
    ) -> Result<Response<v1::RegisterResponse>, Status> {
        unused()
    }

    async fn heartbeat(
        &self,
        _: Request<v1::HeartbeatRequest>,
    ) -> Result<Response<v1::HeartbeatResponse>, Status> {
        unused()
    }

    async fn report_client(
        &self,
        request: Request<v1::ReportClientRequest>,
    ) -> Result<Response<v1::ReportClientResponse>, Status> {
        self.reports.lock().push(request.into_inner());
        Ok(Response::new(v1::ReportClientResponse {}))
    }

    async fn get_cluster_map(
        &self,
        _: Request<v1::GetClusterMapRequest>,
    ) -> Result<Response<v1::GetClusterMapResponse>, Status> {
        let map = ClusterMap { epoch: Epoch::new(1), workers: self.workers.lock().clone() };
        Ok(Response::new(v1::GetClusterMapResponse { map: Some((&map).into()) }))
    }

    async fn get_report(
        &self,
        _: Request<v1::GetReportRequest>,
    ) -> Result<Response<v1::GetReportResponse>, Status> {
        unused()
    }
}

pub(crate) fn settings(masters: &[SocketAddr]) -> ClientSettings {
    let masters = masters.iter().map(ToString::to_string).collect();
    ClientSettings {
        timeout: Duration::from_secs(5),
        read_deadline: Duration::from_secs(20),
        ..ClientSettings::new(masters, HostId::new("here"), Principal::default())
    }
}

pub(crate) async fn connect(masters: &[SocketAddr]) -> Client {
    Client::connect(settings(masters)).await.unwrap()
}

/// A version of `length` bytes in blocks of 1 MiB.
pub(crate) fn version(length: u64) -> VersionDescriptor {
    VersionDescriptor {
        file: FileId { incarnation: Incarnation::new(1), counter: 7 },
        mount: MountId::new(3),
        key: UnderStoreKey::new(*b"a/b").unwrap(),
        fingerprint: Fingerprint {
            tag: None,
            version_id: None,
            length: ByteCount::new(length),
            modified: Timestamp::from_nanos(1),
            local: None,
        },
        block_length: ByteCount::new(1 << 20),
    }
}

pub(crate) fn capability() -> BlockCapability {
    BlockCapability { key_id: 1, rights: Rights::Read, expires_at: Timestamp::from_nanos(1), mac: [1; 32] }
}

/// What the master gives when a file is opened.
pub(crate) fn renewed_capability() -> BlockCapability {
    BlockCapability { key_id: 2, ..capability() }
}
