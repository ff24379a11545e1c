//! Starts a worker and keeps it going: listen, register, open the cache, serve, report.
//!
//! The port answers from the start, so that health pages do; reads are refused as "starting" until the cache is open.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use forebay_local::LocalSocket;
use forebay_proto::v1::blocks_server::BlocksServer;
use forebay_types::WorkerId;
use forebay_types::limits::RPC_LENGTH_MAX;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::service::Routes;

use crate::carried::Carried;
use crate::error::WorkerError;
use crate::identity::WorkerFolder;
use crate::life::{Life, Progress};
use crate::metrics::Metrics;
use crate::service::BlocksService;
use crate::settings::WorkerSettings;

/// How a worker is started.
#[derive(Debug)]
pub struct Worker;

/// A worker that was started. Its tasks belong to its stages; dropping this does not stop them.
#[derive(Clone, Debug)]
pub struct RunningWorker {
    address: SocketAddr,
    progress: watch::Receiver<Progress>,
    pub(crate) blocks: BlocksService,
}

impl Worker {
    /// Starts a worker: when this returns, its port answers and the rest is under way. See [`RunningWorker::ready`].
    ///
    /// # Errors
    /// [`WorkerError`] for settings that cannot work, a folder that is in use, and an address that is.
    pub async fn start(mut settings: WorkerSettings) -> Result<RunningWorker, WorkerError> {
        settings.validate()?;
        let folder = WorkerFolder::open(&settings.directory)?;
        // Before anything else is done: a second worker in this folder's place must be noticed at once.
        let local = LocalSocket::listen(&folder.local_socket())?;
        let failed =
            |address: SocketAddr| move |source| WorkerError::Listen { address: address.to_string(), source };
        let listener = match (settings.shared_port, settings.listener.take()) {
            (Some(_), _) => None,
            (None, Some(listener)) => Some(listener),
            (None, None) => Some(TcpListener::bind(settings.listen).await.map_err(failed(settings.listen))?),
        };
        let own =
            listener.as_ref().map(TcpListener::local_addr).transpose().map_err(failed(settings.listen))?;
        let address = own.or(settings.shared_port).expect("a worker without a shared port has a listener");
        let metrics = Arc::new(Metrics::new(&settings.registry)?);
        let core = Arc::new(OnceLock::new());
        settings.registry.register(Box::new(Carried::new(Arc::clone(&core))?))?;
        let (sender, progress) = watch::channel(Progress::Starting);
        let conditions = (settings.readiness.add("cache"), settings.readiness.add("master"));
        let blocks = BlocksService { core: Arc::clone(&core), metrics: Arc::clone(&metrics) };
        if let Some(listener) = listener {
            serve(&settings, listener, blocks.clone());
        }

        let (stages, shutdown) = (settings.stages.clone(), settings.shutdown.clone());
        let opened = Arc::clone(&core);
        let life = Life { settings, folder, address, core, metrics, conditions, progress: sender.clone() };
        stages.storing.spawn(async move {
            let ended = life.run(local).await.map_err(Arc::new);
            if let Err(error) = &ended
                && !matches!(**error, WorkerError::Stopping)
            {
                let worker = opened.get().map(|core| tracing::field::display(core.worker()));
                tracing::error!(worker, %error, "the worker cannot go on");
                shutdown.request();
            }
            sender.send_replace(Progress::Ended(ended));
        });
        Ok(RunningWorker { address, progress, blocks })
    }
}

/// Serves gRPC and the pages for machines on one port.
fn serve(settings: &WorkerSettings, listener: TcpListener, blocks: BlocksService) {
    let pages = forebay_runtime::router(settings.registry.clone(), settings.readiness.clone());
    let routes = Routes::from(pages).add_service(service(blocks));
    let stage = &settings.stages.serving;
    let server = forebay_proto::transport::serve(listener, routes, stage.token());
    let shutdown = settings.shutdown.clone();
    stage.spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "the worker's port cannot be served any more");
            shutdown.request();
        }
    });
}

/// The gRPC service with its bounds.
fn service(blocks: BlocksService) -> BlocksServer<BlocksService> {
    BlocksServer::new(blocks)
        .max_decoding_message_size(RPC_LENGTH_MAX)
        .max_encoding_message_size(RPC_LENGTH_MAX)
}

impl RunningWorker {
    /// Adds the worker's services to those of its process, for a worker that shares a port.
    #[must_use]
    pub fn add_routes(&self, routes: Routes) -> Routes {
        routes.add_service(service(self.blocks.clone()))
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the worker serves: it is registered, its cache is open and it has the master's keys and mounts.
    /// Cancel safe.
    ///
    /// # Errors
    /// Why it ended before.
    pub async fn ready(&self) -> Result<WorkerId, Arc<WorkerError>> {
        let mut progress = self.progress.clone();
        let reached = progress.wait_for(|progress| !matches!(progress, Progress::Starting)).await;
        match reached.as_deref() {
            Ok(Progress::Serving(worker)) => Ok(*worker),
            Ok(Progress::Ended(Err(error))) => Err(Arc::clone(error)),
            Ok(Progress::Starting | Progress::Ended(Ok(()))) | Err(_) => Err(Arc::new(WorkerError::Stopping)),
        }
    }

    /// Waits until the worker is over. Cancel safe.
    ///
    /// # Errors
    /// Why it could not go on; a stop that was asked for is none.
    pub async fn ended(&self) -> Result<(), Arc<WorkerError>> {
        let mut progress = self.progress.clone();
        let reached = progress.wait_for(|progress| matches!(progress, Progress::Ended(_))).await;
        match reached.as_deref() {
            Ok(Progress::Ended(Err(error))) if !matches!(**error, WorkerError::Stopping) => {
                Err(Arc::clone(error))
            }
            _ => Ok(()),
        }
    }
}
