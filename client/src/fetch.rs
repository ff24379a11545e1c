//! Gets verified bytes of one version: those that were lent, then from workers, the owner first, then whoever else can
//! serve them.
//!
//! What was verified is kept when a worker fails in mid-stream; the next one is asked for the rest. The reader sees an
//! error only when it is final or the time is over.

mod failures;
mod lent;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use forebay_proto::{WireError, v1};
use forebay_types::{
    BlockCapability, BlockId, ClusterMap, ErrorKind, FileOffset, InodeId, VersionDescriptor, WorkerEntry,
    WorkerId,
};
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::{Request, Status};

use crate::answer::error_of;
use crate::client::Client;
use crate::counters::MountCounters;
use crate::error::ClientError;
use crate::limits::{BLOCKS_IN_FLIGHT_MAX, CHUNK_DEADLINE, RETRY_PAUSE_MAX};
use crate::outages::Patience;
use crate::retry::{Asked, Attempts, Policy};
use crate::route::Route;
use crate::verify::Verified;
use failures::{Failed, Failures};
use lent::Lent;

/// Where one reader's bytes come from.
#[derive(Debug)]
pub(crate) struct Fetch {
    client: Client,
    version: VersionDescriptor,
    message: v1::VersionDescriptor,
    capability: Mutex<v1::BlockCapability>,
    /// The inode to open again when the capability is over.
    renewed_by: OnceLock<InodeId>,
    /// Each worker's count of fills when it first answered, by which it tells hits from misses.
    opened_at_fill: Mutex<BTreeMap<WorkerId, u64>>,
    /// The owners of the block that was read last, since a reader stays in a block for a while.
    last_owners: Mutex<Option<OwnersOf>>,
    /// The version's files on this machine.
    lent: Mutex<Option<Lent>>,
    mount: Arc<MountCounters>,
}

/// When the workers are asked again.
const POLICY: Policy = Policy { eager_attempts: 1, asked: Asked::Workers };

/// The owners of a block under a map, in their order.
type OwnersOf = (Arc<ClusterMap>, BlockId, Arc<[WorkerEntry]>);

/// What a worker's failure means for the read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Another worker may do better.
    Elsewhere,
    /// No worker will.
    GiveUp,
}

impl Fetch {
    pub(crate) fn new(client: Client, version: VersionDescriptor, capability: &BlockCapability) -> Self {
        Self {
            message: (&version).into(),
            capability: Mutex::new(capability.into()),
            mount: client.0.counters.mount(version.mount),
            client,
            version,
            renewed_by: OnceLock::new(),
            opened_at_fill: Mutex::default(),
            last_owners: Mutex::default(),
            lent: Mutex::default(),
        }
    }

    pub(crate) const fn version(&self) -> &VersionDescriptor {
        &self.version
    }

    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    /// Names the inode to open again when the capability is over.
    pub(crate) fn renew_by(&self, inode: InodeId) {
        // The first one stays: a reader has one inode.
        let _ = self.renewed_by.set(inode);
    }

    /// The inode to open again when the capability is over.
    pub(crate) fn renewed_by(&self) -> Option<InodeId> {
        self.renewed_by.get().copied()
    }

    /// The counters of the version's mount.
    pub(crate) fn mount(&self) -> &MountCounters {
        &self.mount
    }

    /// The capability in use.
    pub(crate) fn capability(&self) -> Option<BlockCapability> {
        self.capability.lock().clone().try_into().ok()
    }

    /// All bytes of a range inside the file. Blocks are fetched side by side.
    pub(crate) async fn bytes(&self, range: Range<u64>, deadline: Instant) -> Result<Bytes, ClientError> {
        let mut pieces = self.split(range);
        if pieces.len() == 1 {
            return self.block_bytes(pieces.remove(0), deadline).await.map(join);
        }
        let fetches = futures::stream::iter(pieces).map(|piece| self.block_bytes(piece, deadline));
        let blocks: Vec<_> = fetches.buffered(BLOCKS_IN_FLIGHT_MAX).try_collect().await?;
        Ok(join(blocks.concat()))
    }

    async fn block_bytes(&self, range: Range<u64>, deadline: Instant) -> Result<Vec<Bytes>, ClientError> {
        let mut chunks = Vec::new();
        self.block(range, deadline, |chunk| chunks.push(chunk)).await?;
        Ok(chunks)
    }

    /// Gives the bytes of a range inside one block to `sink`, chunk by chunk in their order. Cancel safe: what the sink
    /// got is verified.
    pub(crate) async fn block(
        &self,
        range: Range<u64>,
        deadline: Instant,
        mut sink: impl FnMut(Bytes) + Send,
    ) -> Result<(), ClientError> {
        let begun = Instant::now();
        let (mount, outages) = (self.version.mount, &self.client.0.outages);
        let mut patience = outages.patience(mount, self.client.settings().read_deadline);
        let mut verified = Verified::new(range.start, range.end);
        while let Some(bytes) = self.lent_piece(verified.at()..range.end).await {
            verified.skip(bytes.len() as u64);
            sink(bytes);
            if verified.is_complete() {
                return Ok(());
            }
            // Others want the thread too: what is in memory was read at once.
            tokio::task::yield_now().await;
        }
        let (mut attempts, mut renewed) = (Attempts::new(POLICY, deadline), false);
        let mut last = None;
        loop {
            if self.client.0.token.is_cancelled() {
                return Err(ClientError::Closed);
            }
            let (seen, before) = (Instant::now(), verified.at());
            let failed = self.pass(&mut verified, deadline, &mut patience, &mut sink).await;
            let Err(Failed { error, kind }) = failed else {
                outages.over(mount, &patience);
                return Ok(());
            };
            if kind == ErrorKind::Unauthenticated && !renewed && self.renewed_by.get().is_some() {
                renewed = true;
                self.renew(deadline).await?;
                continue;
            }
            if verified.at() > before {
                attempts.begin_anew();
            }
            let is_futile = kind.is_retryable() && patience.is_over();
            if is_futile {
                outages.note(mount, &patience);
            }
            if is_futile || !attempts.again(kind).await {
                // An attempt that the end of the time cut off says less than the one before.
                let cut_off = kind == ErrorKind::TimedOut && Instant::now() >= deadline;
                let (telling, kind) = if cut_off { last.unwrap_or((error, kind)) } else { (error, kind) };
                // Workers that were not reached beside one that asked the under-store are not what was missing.
                if kind.is_retryable()
                    && let Some(word) = patience.word()
                {
                    return Err(word);
                }
                return Err(self.give_up(telling, kind, verified.at(), begun));
            }
            last = Some((error, kind));
            // A map that cannot be had now is no reason to stop: the workers may come back first.
            let limit = deadline.min(Instant::now() + RETRY_PAUSE_MAX);
            let _ = tokio::time::timeout_at(limit, self.client.0.route.refresh(seen)).await;
        }
    }

    /// Asks the workers of the range's block in their order, each for what is still missing.
    async fn pass(
        &self,
        verified: &mut Verified,
        deadline: Instant,
        patience: &mut Patience,
        sink: &mut (impl FnMut(Bytes) + Send),
    ) -> Result<(), Failed> {
        self.client.refresh_in_background();
        let owners = self.owners(verified.at())?;
        let route = &self.client.0.route;
        let mut failures = Failures::default();
        for worker in route.by_trust(&owners) {
            let (before, limit) = (verified.at(), patience.limit(deadline));
            let error = match self.stream(worker, verified, (limit, deadline), sink).await {
                Ok(()) => {
                    route.trust(worker.id);
                    return Ok(());
                }
                Err(error) => error,
            };
            if verified.at() > before {
                patience.begin_anew();
            }
            if error.kind() == ErrorKind::UnderStore {
                patience.hear(&error);
            }
            match next(error.kind()) {
                Next::GiveUp => return Err(error.into()),
                Next::Elsewhere => {
                    tracing::debug!(worker = %worker.id, file = %self.version.file, %error, "asking another worker");
                    self.client.0.counters.add_failed_read();
                    if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::TimedOut) {
                        route.suspect(worker.id);
                    }
                    failures.add(worker, error);
                }
            }
            if failures.are_enough() || patience.is_over() || Instant::now() >= deadline {
                break;
            }
        }
        Err(failures.most_telling())
    }

    /// Reads what is missing from one worker, which must begin and end by `limit` and `deadline`.
    async fn stream(
        &self,
        worker: &WorkerEntry,
        verified: &mut Verified,
        (mut limit, deadline): (Instant, Instant),
        sink: &mut (impl FnMut(Bytes) + Send),
    ) -> Result<(), ClientError> {
        let mut blocks = self.client.0.workers.blocks(&worker.address)?;
        let opened_at_fill = self.opened_at_fill.lock().get(&worker.id).copied();
        let message = v1::ReadRequest {
            header: Some(self.client.routed_header()),
            version: Some(self.message.clone()),
            capability: Some(self.capability.lock().clone()),
            offset: verified.at(),
            length: verified.missing(),
            opened_at_fill: opened_at_fill.unwrap_or_default(),
        };
        let mut request = Request::new(message);
        request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        let mut stream = within(worker, limit, blocks.read(request)).await?.into_inner();
        let mut is_first = opened_at_fill.is_none();
        loop {
            let chunk = match within(worker, limit, stream.message()).await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                // All is here and verified: what the worker says afterwards changes nothing.
                Err(_) if verified.is_complete() => break,
                Err(error) => return Err(error),
            };
            limit = deadline;
            if std::mem::take(&mut is_first) {
                self.opened_at_fill.lock().entry(worker.id).or_insert(chunk.fill_sequence);
            }
            sink(verified.take(chunk).map_err(|defect| self.damaged(worker, &defect))?);
        }
        verified.finish().map_err(|defect| self.damaged(worker, &defect))
    }

    fn damaged(&self, worker: &WorkerEntry, defect: &crate::verify::Defect) -> ClientError {
        self.client.0.counters.add_damaged_chunk();
        let error = ClientError::Damaged {
            worker: format!("{} at {}", worker.id, worker.address),
            key: self.version.key.clone(),
            file: self.version.file,
            defect: defect.to_string(),
        };
        let (key, file) = (&self.version.key, self.version.file);
        tracing::warn!(worker = %worker.id, %key, %file, %defect, "damaged bytes, asking again");
        error
    }

    /// The workers to ask for the block of a byte.
    fn owners(&self, offset: u64) -> Result<Arc<[WorkerEntry]>, ClientError> {
        let block = self.version.block_at(FileOffset::new(offset)).ok_or(ClientError::LimitExceeded {
            what: "the number of blocks of a file",
            max: u64::from(u32::MAX),
        })?;
        let map = self.client.0.route.map();
        let mut last = self.last_owners.lock();
        if let Some((known, of, owners)) = &*last
            && Arc::ptr_eq(known, &map)
            && *of == block
        {
            return Ok(Arc::clone(owners));
        }
        let owners = Route::owners(&map, block);
        *last = Some((map, block, Arc::clone(&owners)));
        Ok(owners)
    }

    /// Opens the inode again for a new capability of the same version.
    async fn renew(&self, deadline: Instant) -> Result<(), ClientError> {
        let Some(inode) = self.renewed_by.get() else { return Ok(()) };
        let opened = tokio::time::timeout_at(deadline, self.client.open(*inode)).await;
        let (entry, _) = opened.unwrap_or_else(|_| {
            let late = format!("{} ({inode}) could not be opened again in time", self.version.key);
            Err(WireError::new(ErrorKind::TimedOut, late).into())
        })?;
        match entry.version {
            Some((version, capability)) if version.file == self.version.file => {
                *self.capability.lock() = (&capability).into();
                Ok(())
            }
            _ => Err(ClientError::Stale { key: self.version.key.clone(), file: self.version.file }),
        }
    }

    fn give_up(&self, error: ClientError, kind: ErrorKind, offset: u64, begun: Instant) -> ClientError {
        let (key, file) = (self.version.key.clone(), self.version.file);
        match kind {
            ErrorKind::Stale => {
                if let Some(inode) = self.renewed_by.get() {
                    self.client.found_stale(*inode, file);
                }
                ClientError::Stale { key, file }
            }
            _ if kind.is_retryable() => {
                let (waited, last) = (begun.elapsed(), error.to_string());
                ClientError::NoWorker { key, file, offset, waited, last, kind }
            }
            _ => error,
        }
    }

    /// Cuts a range at the borders of blocks.
    fn split(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let block = self.version.block_length.get();
        let mut pieces = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let end = (at - at % block).saturating_add(block).min(range.end);
            pieces.push(at..end);
            at = end;
        }
        pieces
    }
}

/// Waits for a worker's next word, not longer than one may take and not beyond the deadline.
async fn within<T>(
    worker: &WorkerEntry,
    deadline: Instant,
    answer: impl Future<Output = Result<T, Status>>,
) -> Result<T, ClientError> {
    let limit = deadline.min(Instant::now() + CHUNK_DEADLINE);
    match tokio::time::timeout_at(limit, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(status)) => {
            let mut error = error_of(status);
            error.message = match error.kind {
                // The worker only passes it on.
                ErrorKind::UnderStore => format!("{} (asked by {})", error.message, worker.id),
                _ => format!("{} at {}: {}", worker.id, worker.address, error.message),
            };
            Err(error.into())
        }
        Err(_) => {
            let silent = format!("{} at {} was silent for too long", worker.id, worker.address);
            Err(WireError::new(ErrorKind::TimedOut, silent).into())
        }
    }
}

/// A worker may be set up badly, lack the rights to its under-store or not reach it, where others do not: whatever is
/// not said of the version or the capability itself, which are the same for all, is asked for elsewhere.
const fn next(kind: ErrorKind) -> Next {
    match kind {
        ErrorKind::Stale | ErrorKind::Unauthenticated => Next::GiveUp,
        ErrorKind::Busy
        | ErrorKind::NoSpace
        | ErrorKind::LimitExceeded
        | ErrorKind::NotLeader
        | ErrorKind::SessionExpired
        | ErrorKind::StaleEpoch
        | ErrorKind::Unavailable
        | ErrorKind::TimedOut
        | ErrorKind::UnderStore
        | ErrorKind::Corrupt
        | ErrorKind::Io
        | ErrorKind::Internal
        | ErrorKind::NotFound
        | ErrorKind::AlreadyExists
        | ErrorKind::NotEmpty
        | ErrorKind::InvalidArgument
        | ErrorKind::NotADirectory
        | ErrorKind::IsADirectory
        | ErrorKind::ReadOnly
        | ErrorKind::PermissionDenied
        | ErrorKind::Unsupported
        // Another one may have the bytes in its cache.
        | ErrorKind::Maintenance => Next::Elsewhere,
    }
}

/// One piece of memory with all chunks; a single chunk is not copied.
pub(crate) fn join(mut chunks: Vec<Bytes>) -> Bytes {
    if chunks.len() == 1 {
        return chunks.remove(0);
    }
    let mut joined = BytesMut::with_capacity(chunks.iter().map(Bytes::len).sum());
    for chunk in chunks {
        joined.extend_from_slice(&chunk);
    }
    joined.freeze()
}

#[cfg(test)]
mod tests;
