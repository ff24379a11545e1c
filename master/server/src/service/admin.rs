//! `forebay.v1.Admin`: backups, how a master is (`examination.rs`), and feature levels (`levels.rs`).
//!
//! A backup is made by a thread of its own that reads one moment of the state and hands over a few pieces ahead. It ends
//! with whoever asked for it, with the process, and when nobody takes a piece for long: the moment keeps old rows on
//! the disk. One that follows gives one too, once it has applied all that the one that leads had when it was asked.

use std::pin::Pin;
use std::sync::Arc;

use forebay_proto::v1;
use forebay_raft::backup::BackupBlocks;
use forebay_raft::{ClusterMark, RaftError, ReadView};
use forebay_types::LogIndex;
use futures::stream::{self, Stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::levels;
use crate::disk_probe::DiskProbe;
use crate::error::MasterError;
use crate::shared::Shared;
use crate::{examination, hello, limits, membership};

type Piece = Result<v1::BackupChunk, Status>;

/// The service.
#[derive(Debug)]
pub(crate) struct AdminService {
    shared: Arc<Shared>,
    places: Arc<Semaphore>,
    disk: DiskProbe,
}

impl AdminService {
    /// `disk` is that of the master's folder.
    pub(crate) fn new(shared: Arc<Shared>, disk: DiskProbe) -> Self {
        Self { shared, places: Arc::new(Semaphore::new(limits::BACKUPS_MAX)), disk }
    }

    /// The state with all that `since` has, whoever leads.
    async fn view_since(&self, since: &v1::BackupMoment) -> Result<ReadView, MasterError> {
        let raft = &self.shared.raft;
        let wanted = hello::mark(&since.cluster_id, since.incarnation)
            .map_err(|error| MasterError::Invalid(error.message))?;
        if let Some(ours) = raft.mark().filter(|ours| *ours != wanted) {
            let ClusterMark { cluster, incarnation } = ours;
            let message = format!(
                "this master belongs to the cluster {cluster} in its incarnation {incarnation}, not to the one asked for; correct --masters"
            );
            return Err(MasterError::Invalid(message));
        }
        let (index, deadline) = (LogIndex::new(since.index), Instant::now() + limits::BACKUP_CATCH_UP);
        let has_all = |applied: Option<LogIndex>| applied.is_some_and(|applied| applied >= index);
        match raft.wait_until(deadline, |status| has_all(status.last_applied)).await {
            Ok(_) => Ok(raft.local_view()?),
            Err(RaftError::TimedOut { .. }) => {
                let applied = raft.status().last_applied.map_or(0, LogIndex::get);
                Err(MasterError::Behind { applied, wanted: since.index })
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[tonic::async_trait]
impl v1::admin_server::Admin for AdminService {
    type BackupStream = Pin<Box<dyn Stream<Item = Piece> + Send>>;

    async fn plan_backup(
        &self,
        _request: Request<v1::PlanBackupRequest>,
    ) -> Result<Response<v1::PlanBackupResponse>, Status> {
        let raft = &self.shared.raft;
        // What this master has applied once it is sure that it leads is all that anybody was told of.
        let view = raft.read(Instant::now() + limits::READ_DEADLINE).await.map_err(MasterError::from)?;
        let index = view.moment().applied().get();
        let mark = raft.mark().ok_or_else(|| MasterError::from(RaftError::NotLeader { leader: None }))?;
        let moment = v1::BackupMoment {
            cluster_id: mark.cluster.bytes().to_vec().into(),
            incarnation: mark.incarnation.get(),
            index,
        };
        let masters = membership::report(raft, &self.shared.door.peers).await;
        Ok(Response::new(v1::PlanBackupResponse { moment: Some(moment), masters }))
    }

    async fn backup(
        &self,
        request: Request<v1::BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            let (max, what) = (limits::BACKUPS_MAX, "backups are being taken, which is the most at a time");
            MasterError::TooMany(format!("{max} {what}; try again later"))
        })?;
        let view = match request.into_inner().since {
            Some(since) => self.view_since(&since).await?,
            None => {
                let view = self.shared.raft.read(Instant::now() + limits::READ_DEADLINE).await;
                view.map_err(MasterError::from)?
            }
        };
        let (sender, receiver) = mpsc::channel(limits::BACKUP_PIECES_AHEAD_MAX);
        let taking = Taking { shared: Arc::clone(&self.shared), sender, _place: place };
        let runtime = tokio::runtime::Handle::current();
        self.shared.background.tracker().spawn_blocking(move || taking.run(&view, &runtime));
        let pieces = stream::unfold(receiver, async |mut pieces| Some((pieces.recv().await?, pieces)));
        Ok(Response::new(Box::pin(pieces)))
    }

    async fn examine(
        &self,
        _request: Request<v1::ExamineRequest>,
    ) -> Result<Response<v1::ExamineResponse>, Status> {
        Ok(Response::new(examination::examine(&self.shared, &self.disk).await?))
    }

    async fn get_feature_level(
        &self,
        _request: Request<v1::GetFeatureLevelRequest>,
    ) -> Result<Response<v1::GetFeatureLevelResponse>, Status> {
        Ok(Response::new(levels::get(&self.shared).await?))
    }

    async fn raise_feature_level(
        &self,
        _request: Request<v1::RaiseFeatureLevelRequest>,
    ) -> Result<Response<v1::RaiseFeatureLevelResponse>, Status> {
        Ok(Response::new(levels::raise(&self.shared).await?))
    }
}

/// A backup that is being taken.
struct Taking {
    shared: Arc<Shared>,
    sender: mpsc::Sender<Piece>,
    _place: OwnedSemaphorePermit,
}

impl Taking {
    fn run(self, view: &ReadView, runtime: &tokio::runtime::Handle) {
        let moment = view.moment();
        let now = self.shared.clock.now();
        let blocks = match BackupBlocks::new(&moment, now, env!("CARGO_PKG_VERSION")) {
            Ok(blocks) => blocks,
            Err(error) => {
                let _ = runtime.block_on(self.give(Err(MasterError::from(error).into())));
                return;
            }
        };
        for block in blocks {
            let piece = match block {
                Ok(data) => Ok(v1::BackupChunk { data: data.into() }),
                Err(error) => Err(MasterError::from(error).into()),
            };
            let is_last = piece.is_err();
            if !runtime.block_on(self.give(piece)) || is_last {
                return;
            }
        }
    }

    /// Whether the piece was taken.
    async fn give(&self, piece: Piece) -> bool {
        let token = self.shared.background.token();
        let given = tokio::time::timeout(limits::BACKUP_PATIENCE, self.sender.send(piece));
        match token.run_until_cancelled(given).await {
            Some(Ok(Ok(()))) => true,
            Some(Err(_)) => {
                let seconds = limits::BACKUP_PATIENCE.as_secs();
                tracing::warn!(seconds, "a backup was given up: nobody took a piece of it for so long");
                false
            }
            // Whoever asked is gone, or this master stops.
            Some(Ok(Err(_))) | None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use forebay_proto::WireError;
    use forebay_proto::v1::admin_server::Admin;
    use forebay_raft::backup::BackupReader;
    use forebay_runtime::{Shutdown, SystemClock};
    use forebay_types::ErrorKind;
    use futures::StreamExt;
    use tempfile::TempDir;

    use super::*;
    use crate::server::{Master, MasterSettings};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_backup_is_whole_and_only_so_many_are_taken_at_once() {
        let (dir, shutdown) = (TempDir::new().expect("a folder"), Shutdown::new());
        let settings = MasterSettings {
            dir: dir.path().to_owned(),
            private_folders: Vec::new(),
            slot: 1,
            address: "127.0.0.1:1".to_owned(),
            peers: crate::PeerList::default(),
            election_timeout: std::time::Duration::from_secs(1),
            reads: forebay_raft::Reads::default(),
            clock: Arc::new(SystemClock),
            environment: BTreeMap::new(),
            requests_per_second_max: 0,
            loaded_entries_max: 0,
            registry: prometheus::Registry::new(),
        };
        let master = Master::new(settings).expect("settings");
        master.start(&shutdown).await.expect("started");
        let service = AdminService::new(master.shared(), DiskProbe::new(dir.path().to_owned()));
        // What a slow taker keeps: places that are not given back before the last piece.
        let places = service.places.clone().acquire_many_owned(1).await.expect("free");
        let ask = || service.backup(Request::new(v1::BackupRequest::default()));
        let mut pieces = ask().await.expect("begun").into_inner();
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.next().await {
            bytes.extend_from_slice(&piece.expect("made").data);
        }
        let summary = BackupReader::open(&bytes[..]).and_then(BackupReader::check).expect("whole");
        assert_eq!(summary.length, bytes.len() as u64);

        let last = loop {
            // The place is given back by the thread, a moment after its last piece.
            match service.places.clone().try_acquire_many_owned(1) {
                Ok(last) => break last,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let refused = WireError::from(ask().await.err().expect("no place"));
        assert_eq!(refused.kind, ErrorKind::LimitExceeded);
        assert!(refused.message.contains("try again later"), "{}", refused.message);
        drop((places, last));
        // As one that follows is asked: for all up to a moment that the one that leads has told.
        let plan =
            service.plan_backup(Request::new(v1::PlanBackupRequest::default())).await.expect("planned");
        let moment = plan.into_inner().moment.expect("a moment");
        let since =
            |moment| service.backup(Request::new(v1::BackupRequest { since: Some(moment), header: None }));
        let mut pieces = since(moment.clone()).await.expect("begun").into_inner();
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.next().await {
            bytes.extend_from_slice(&piece.expect("made").data);
        }
        let summary = BackupReader::open(&bytes[..]).and_then(BackupReader::check).expect("whole");
        assert!(summary.description.index.get() >= moment.index);
        let later = v1::BackupMoment { index: moment.index + 1000, ..moment.clone() };
        let refused = WireError::from(since(later).await.err().expect("it lacks entries"));
        assert_eq!(refused.kind, ErrorKind::Busy, "{}", refused.message);
        let other = v1::BackupMoment { incarnation: moment.incarnation + 1, ..moment };
        let refused = WireError::from(since(other).await.err().expect("another life"));
        assert_eq!(refused.kind, ErrorKind::InvalidArgument, "{}", refused.message);
        let abandoned = ask().await.expect("begun");
        drop(abandoned);
        drop((service, master));
        shutdown.finish(std::time::Duration::from_secs(20)).await.expect("no thread is left");
    }
}
