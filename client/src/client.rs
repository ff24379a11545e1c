//! The client itself: its parts put together, its begin and its end.

use std::sync::Arc;

use forebay_proto::v1::cluster_client::ClusterClient;
use forebay_proto::{Stamp, header, v1};
use forebay_types::{BlockCapability, Epoch, VersionDescriptor};
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::cache::{Directories, Grants, PackedEntry};
use crate::counters::{Counters, CountersSnapshot};
use crate::error::ClientError;
use crate::hold::{AtHand, Hold, LocalWorkers, Readable};
use crate::limits::{CLOSE_DEADLINE, REMEMBERED_AGE_MAX, REPORT_DEADLINE, REPORT_INTERVAL};
use crate::look_ahead::LookAhead;
use crate::master_channel::MasterChannel;
use crate::outages::Outages;
use crate::route::Route;
use crate::session::{Session, random_number};
use crate::settings::ClientSettings;
use crate::stale::StaleVersions;
use crate::worker_channels::WorkerChannels;

/// A client of one cluster. Cheap to clone; clones share connections, counters and the memory for readahead.
///
/// All of its functions may be called from many tasks at once. A dropped call leaves the client usable; what a dropped
/// mutation did is unknown. The last clone's end stops its tasks; [`close`](Self::close) also waits for them.
#[derive(Clone, Debug)]
pub struct Client(pub(crate) Arc<Inner>);

/// What the clones of a client share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) settings: ClientSettings,
    pub(crate) master: Arc<MasterChannel>,
    pub(crate) session: Session,
    pub(crate) route: Arc<Route>,
    pub(crate) workers: Arc<WorkerChannels>,
    pub(crate) local: LocalWorkers,
    pub(crate) counters: Arc<Counters>,
    pub(crate) grants: Arc<Grants>,
    pub(crate) directories: Directories<PackedEntry>,
    pub(crate) outages: Outages,
    pub(crate) stale: StaleVersions,
    pub(crate) look_ahead: LookAhead,
    /// A permit is a byte that is read ahead.
    pub(crate) readahead: Arc<Semaphore>,
    pub(crate) tracker: TaskTracker,
    pub(crate) token: CancellationToken,
    _stop: DropGuard,
}

impl Client {
    /// Connects to the cluster: waits up to the settings' timeout for a master that answers, and learns the workers.
    /// Cancel safe.
    ///
    /// # Errors
    /// [`ClientError::NoMaster`] when none answers in time; an address that is none.
    pub async fn connect(settings: ClientSettings) -> Result<Self, ClientError> {
        let master = Arc::new(MasterChannel::new(settings.masters.clone(), settings.timeout)?);
        let workers = Arc::new(WorkerChannels::default());
        let (principal, host) = (settings.principal.clone(), settings.host.clone());
        let route = Arc::new(Route::new(Arc::clone(&master), Arc::clone(&workers), principal, host));
        route.refresh(Instant::now()).await?;
        let (token, tracker) = (CancellationToken::new(), TaskTracker::new());
        let counters = Arc::new(Counters::default());
        let report = Report {
            master: Arc::clone(&master),
            counters: Arc::clone(&counters),
            header: header(&settings.principal, Epoch::default(), None),
            client: random_number(),
        };
        tracker.spawn(report.run(token.clone()));
        let memory = usize::try_from(settings.directory_memory.get()).unwrap_or(usize::MAX);
        let grants = Arc::<Grants>::default();
        let age_max = settings.directory_age_max.min(REMEMBERED_AGE_MAX);
        let directories = Directories::new(Arc::clone(&grants), memory, age_max);
        let readahead = usize::try_from(settings.readahead_memory.get()).unwrap_or(usize::MAX);
        let look_ahead = LookAhead::new(settings.look_ahead);
        Ok(Self(Arc::new(Inner {
            settings,
            master,
            session: Session::new(),
            route,
            workers,
            local: LocalWorkers::new(tracker.clone(), token.clone()),
            counters,
            grants,
            directories,
            outages: Outages::default(),
            stale: StaleVersions::default(),
            look_ahead,
            readahead: Arc::new(Semaphore::new(readahead.min(Semaphore::MAX_PERMITS))),
            tracker,
            _stop: token.clone().drop_guard(),
            token,
        })))
    }

    /// The local file of a version that lies complete on this machine, protected from eviction until the hold is
    /// dropped. `None` when there is no worker here, it has not all of the version, or it holds as much as it may.
    /// Cancel safe.
    ///
    /// # Errors
    /// The worker's refusal: a capability that is over ([`ErrorKind::Unauthenticated`](forebay_types::ErrorKind)).
    pub async fn hold(
        &self,
        version: &VersionDescriptor,
        capability: &BlockCapability,
    ) -> Result<Option<Hold>, ClientError> {
        self.refresh_in_background();
        match self.0.route.local() {
            Some(worker) if !worker.local_socket.is_empty() => {
                self.0.local.hold(worker.local_socket.as_ref(), Readable { version, capability }).await
            }
            _ => Ok(None),
        }
    }

    /// What this machine has of a version: a [`hold`](Self::hold) where there can be one, or else the local files as far as
    /// it is cached. Asks the worker once. Cancel safe.
    ///
    /// # Errors
    /// As [`hold`](Self::hold).
    pub async fn at_hand(
        &self,
        version: &VersionDescriptor,
        capability: &BlockCapability,
    ) -> Result<AtHand, ClientError> {
        self.refresh_in_background();
        match self.0.route.local() {
            Some(worker) if !worker.local_socket.is_empty() => {
                self.0.local.at_hand(worker.local_socket.as_ref(), Readable { version, capability }).await
            }
            _ => Ok(AtHand::Nothing),
        }
    }

    /// Waits until [`RestingHold::may_rest`](crate::RestingHold::may_rest) has become false for some. Cancel safe; for one
    /// caller at a time.
    pub async fn resting_wanted_back(&self) {
        self.0.local.wanted_back().await;
    }

    /// Counts of reads that no worker sees. Whoever serves reads from a [`Hold`] adds to them.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// The settings that the client was made with.
    #[must_use]
    pub fn settings(&self) -> &ClientSettings {
        &self.0.settings
    }

    /// Ends the client and all its clones: background tasks stop, the last counters are reported. Reads that come
    /// later fail. Holds stay valid. Waits for a few seconds at most; a call that was dropped has ended it all the same.
    pub async fn close(self) {
        self.0.token.cancel();
        self.0.tracker.close();
        if tokio::time::timeout(CLOSE_DEADLINE, self.0.tracker.wait()).await.is_err() {
            tracing::warn!(tasks = self.0.tracker.len(), "tasks of the client did not stop in time");
        }
    }

    /// The header of a request that is routed by no map.
    pub(crate) fn header(&self, stamp: Option<Stamp>) -> v1::RequestHeader {
        header(&self.0.settings.principal, Epoch::default(), stamp)
    }

    /// The header of a request to a worker.
    pub(crate) fn routed_header(&self) -> v1::RequestHeader {
        header(&self.0.settings.principal, self.0.route.epoch(), None)
    }

    /// Sees to it that the map in use is a recent one, without waiting for it.
    pub(crate) fn refresh_in_background(&self) {
        if self.0.route.is_old() {
            self.0.route.refresh_in_background(&self.0.tracker, &self.0.token);
        }
    }
}

/// Tells the master the counters while they change, and another master once: one that leads knows what it was told itself.
#[derive(Debug)]
struct Report {
    master: Arc<MasterChannel>,
    counters: Arc<Counters>,
    header: v1::RequestHeader,
    /// Names this process to the master, which adds up the newest report of each client.
    client: u64,
}

impl Report {
    async fn run(self, token: CancellationToken) {
        let nothing = CountersSnapshot::default();
        let (mut reported, mut told) = (CountersSnapshot::default(), String::new());
        let mut ticks = tokio::time::interval(REPORT_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let stopping = tokio::select! {
                () = token.cancelled() => true,
                _ = ticks.tick() => false,
            };
            let now = self.counters.snapshot();
            let is_told = told == self.master.address() || !now.is_news_after(&nothing);
            if now.is_news_after(&reported) || !is_told {
                let send = self.send(&now);
                match tokio::time::timeout(REPORT_DEADLINE, send).await {
                    Ok(Ok(())) => (reported, told) = (now, self.master.address()),
                    Ok(Err(error)) => tracing::debug!(%error, "counters could not be reported"),
                    Err(_) => tracing::debug!("counters could not be reported in time"),
                }
            }
            if stopping {
                return;
            }
        }
    }

    async fn send(&self, counters: &CountersSnapshot) -> Result<(), ClientError> {
        let request = counters.report(self.client, self.header.clone());
        let called =
            self.master.call("ReportClient", REPORT_DEADLINE, request, |channel, request| async move {
                ClusterClient::new(channel).report_client(request).await
            });
        called.await.outcome().map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use forebay_types::ErrorKind;

    use super::*;
    use crate::doubles::{
        Answer, Master, Worker, capability, connect, serve_half_an_answer, settings, version,
    };

    #[tokio::test]
    async fn the_end_of_the_last_clone_stops_all_tasks() {
        let master = Arc::new(Master::default());
        let serving = master.serve();
        let client = connect(&[serving.address]).await;
        let (tracker, clone) = (client.0.tracker.clone(), client.clone());
        drop(client);
        assert!(!clone.0.token.is_cancelled());
        drop(clone);
        tracker.close();
        tracker.wait().await;
    }

    #[tokio::test]
    async fn counters_are_reported_while_they_change() {
        let master = Arc::new(Master::default());
        let serving = master.serve();
        let client = connect(&[serving.address]).await;
        client.counters().add_passthrough_open(forebay_types::ByteCount::new(10));
        while master.reports.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        client.close().await;
        assert_eq!(master.reports.lock().len(), 1, "nothing changed since");
    }

    #[tokio::test]
    async fn presence_is_asked_of_the_worker_of_this_machine() {
        let workers = [Worker::new([Answer::Good]), Worker::new([Answer::Good])];
        let serving = workers.each_ref().map(Worker::serve);
        let there = (1, "there", serving[0].address);
        let master = Master::with_workers(&[there, (2, "here", serving[1].address)]);
        let at_master = master.serve();
        let client = connect(&[at_master.address]).await;
        let presence = client.presence(&version(100), &capability()).await.unwrap();
        assert_eq!((presence.worker.get(), presence.local, presence.cached.get()), (2, true, 10));
        let master = Master::with_workers(&[there]);
        let at_master = master.serve();
        let client = connect(&[at_master.address]).await;
        let presence = client.presence(&version(100), &capability()).await.unwrap();
        assert_eq!((presence.worker.get(), presence.local), (1, false));
    }

    #[tokio::test]
    async fn a_worker_that_stops_in_the_middle_of_its_answer_is_not_waited_for_for_ever() {
        let worker = serve_half_an_answer().await;
        let master = Master::with_workers(&[(1, "here", worker)]);
        let at_master = master.serve();
        let settings = ClientSettings { timeout: Duration::from_secs(1), ..settings(&[at_master.address]) };
        let client = Client::connect(settings).await.unwrap();
        let error = client.presence(&version(100), &capability()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        assert!(error.to_string().contains("no answer within 1s"), "{error}");
    }
}
