//! Who has which block: the cluster map as last heard, refreshed while it is in use, and whom to ask later rather
//! than now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use forebay_proto::v1::cluster_client::ClusterClient;
use forebay_proto::{WireDefect, header, v1};
use forebay_types::{BlockId, ClusterMap, Epoch, HostId, Principal, WorkerEntry, WorkerId, WorkerState};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::ClientError;
use crate::limits::{MAP_AGE_MAX, SUSPICION};
use crate::master_channel::MasterChannel;
use crate::worker_channels::WorkerChannels;

/// The client's view of the workers.
#[derive(Debug)]
pub(crate) struct Route {
    master: Arc<MasterChannel>,
    channels: Arc<WorkerChannels>,
    principal: Principal,
    host: HostId,
    state: Mutex<State>,
    /// Held while a map is fetched, so that many readers that miss it fetch one.
    fetching: tokio::sync::Mutex<()>,
    /// Somebody refreshes the map without being waited for.
    is_in_background: AtomicBool,
}

#[derive(Debug)]
struct State {
    /// The same `Arc` as long as the map says the same, so that what was computed from it can be kept.
    map: Arc<ClusterMap>,
    fetched: Option<Instant>,
    /// Workers that failed lately, until when they are asked last. At most one entry for each worker of the map.
    suspects: BTreeMap<WorkerId, Instant>,
}

impl Route {
    /// Knows no worker yet.
    pub(crate) fn new(
        master: Arc<MasterChannel>,
        channels: Arc<WorkerChannels>,
        principal: Principal,
        host: HostId,
    ) -> Self {
        let state = State { map: Arc::default(), fetched: None, suspects: BTreeMap::new() };
        Self {
            master,
            channels,
            principal,
            host,
            state: Mutex::new(state),
            fetching: tokio::sync::Mutex::default(),
            is_in_background: AtomicBool::new(false),
        }
    }

    /// The map as last heard.
    pub(crate) fn map(&self) -> Arc<ClusterMap> {
        Arc::clone(&self.state.lock().map)
    }

    /// Whether the map is so old that it should be refreshed.
    pub(crate) fn is_old(&self) -> bool {
        self.state.lock().fetched.is_none_or(|fetched| fetched.elapsed() > MAP_AGE_MAX)
    }

    /// Refreshes the map without being waited for, unless somebody does. The task ends with `token`.
    pub(crate) fn refresh_in_background(self: &Arc<Self>, tracker: &TaskTracker, token: &CancellationToken) {
        if token.is_cancelled() || self.is_in_background.swap(true, Ordering::Relaxed) {
            return;
        }
        let (route, token, seen) = (Arc::clone(self), token.clone(), Instant::now());
        tracker.spawn(async move {
            let outcome = tokio::select! {
                () = token.cancelled() => Ok(()),
                outcome = route.refresh(seen) => outcome,
            };
            if let Err(error) = outcome {
                tracing::warn!(%error, "the list of workers could not be refreshed");
            }
            route.is_in_background.store(false, Ordering::Relaxed);
        });
    }

    /// Fetches the map, unless somebody did after `seen`. Cancel safe.
    pub(crate) async fn refresh(&self, seen: Instant) -> Result<(), ClientError> {
        let _fetching = self.fetching.lock().await;
        if self.state.lock().fetched.is_some_and(|fetched| fetched > seen) {
            return Ok(());
        }
        let request =
            v1::GetClusterMapRequest { header: Some(header(&self.principal, self.map().epoch, None)) };
        // Taken before the request: what happens after it may be missing in the answer.
        let asked = Instant::now();
        let answer = self
            .master
            .call("GetClusterMap", Duration::ZERO, request, |channel, request| async move {
                ClusterClient::new(channel).get_cluster_map(request).await
            })
            .await
            .outcome()?;
        let map: ClusterMap = answer
            .map
            .ok_or(WireDefect::Missing("map"))
            .and_then(TryInto::try_into)
            .map_err(|source| ClientError::Wire { rpc: "GetClusterMap", source })?;
        self.channels.retain(&map);
        let mut state = self.state.lock();
        state.fetched = Some(asked);
        // Also a lower epoch is taken: whoever leads now is right, and epochs may begin anew with it.
        if *state.map != map {
            state.suspects.retain(|worker, _| map.worker(*worker).is_some());
            state.map = Arc::new(map);
        }
        Ok(())
    }

    /// The workers to ask for a block in their order: the owner first, lost ones last; `map` must be [`Self::map`]'s.
    pub(crate) fn owners(map: &ClusterMap, block: BlockId) -> Arc<[WorkerEntry]> {
        map.owners(block).into_iter().cloned().collect()
    }

    /// Puts workers that failed lately behind the others.
    pub(crate) fn by_trust<'a>(&self, owners: &'a [WorkerEntry]) -> Vec<&'a WorkerEntry> {
        let state = self.state.lock();
        let now = Instant::now();
        let suspect = |worker: &WorkerEntry| state.suspects.get(&worker.id).is_some_and(|until| *until > now);
        let mut ordered: Vec<_> = owners.iter().collect();
        if !state.suspects.is_empty() {
            ordered.sort_by_key(|worker| suspect(worker));
        }
        ordered
    }

    /// The worker failed in a way that it may fail in again at once.
    pub(crate) fn suspect(&self, worker: WorkerId) {
        let mut state = self.state.lock();
        if state.map.worker(worker).is_some() {
            state.suspects.insert(worker, Instant::now() + SUSPICION);
        }
    }

    /// The worker answered.
    pub(crate) fn trust(&self, worker: WorkerId) {
        let mut state = self.state.lock();
        if !state.suspects.is_empty() {
            state.suspects.remove(&worker);
        }
    }

    /// The live worker on this machine.
    pub(crate) fn local(&self) -> Option<WorkerEntry> {
        let map = self.map();
        let local = |worker: &&WorkerEntry| worker.state == WorkerState::Live && worker.host == self.host;
        map.workers.iter().find(local).cloned()
    }

    /// The epoch of the map.
    pub(crate) fn epoch(&self) -> Epoch {
        self.state.lock().map.epoch
    }
}
