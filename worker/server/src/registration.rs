//! How a worker registers with a master: what it says of itself and what it is answered. What it reports from then on
//! is in `reports`.
//!
//! Everything is tried again until the process ends: a worker without a master still serves what it may.

use std::time::Duration;

use forebay_block_store::{Health, TierUsage};
use forebay_proto::{WireError, header, v1};
use forebay_types::{ClusterId, Epoch, ErrorKind, Incarnation, Principal, WorkerId};
use tokio_util::sync::CancellationToken;

use crate::error::WorkerError;
use crate::identity::Identity;
use crate::limits::{BACKOFF, HEARTBEAT_INTERVAL_MAX, HEARTBEAT_INTERVAL_MIN};
use crate::master_link::MasterLink;
use crate::retry::Backoff;

/// What the worker says of itself when it registers.
#[derive(Clone, Debug)]
pub(crate) struct Presentation {
    pub(crate) address: String,
    pub(crate) host: String,
    pub(crate) local_socket: String,
    pub(crate) group: String,
    pub(crate) tiers: Vec<v1::TierUsage>,
}

/// What the master answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registered {
    pub(crate) worker: WorkerId,
    pub(crate) cluster: ClusterId,
    /// The life of the master's state.
    pub(crate) incarnation: Incarnation,
    /// Names this life of the worker to that master.
    pub(crate) registration: u64,
    pub(crate) interval: Duration,
}

impl Presentation {
    /// The request of a worker that was `kept` before. `to_any_master`: also one that follows takes it in.
    pub(crate) fn request(&self, kept: Option<Identity>, to_any_master: bool) -> v1::RegisterRequest {
        v1::RegisterRequest {
            header: Some(request_header()),
            worker: kept.map_or(0, |kept| kept.worker.get()),
            cluster_id: kept.map_or_else(Vec::new, |kept| kept.cluster.bytes().to_vec()).into(),
            address: self.address.clone(),
            host: self.host.clone(),
            local_socket: self.local_socket.clone(),
            group: self.group.clone(),
            tiers: self.tiers.clone(),
            to_any_master,
        }
    }
}

impl Registered {
    /// Who the worker is now, if it was `kept` before.
    pub(crate) fn identity(&self, kept: Option<Identity>) -> Identity {
        let Self { worker, cluster, .. } = *self;
        Identity { worker, cluster, cache: kept.map_or(cluster, |kept| kept.cache) }
    }
}

/// Registers with the master that leads. Tries until it does, or until `cancel`.
///
/// # Errors
/// [`WorkerError::Refused`] when a master says no for good, [`WorkerError::Stopping`] on `cancel`.
pub(crate) async fn register(
    link: &mut MasterLink,
    presentation: &Presentation,
    kept: Option<Identity>,
    cancel: &CancellationToken,
) -> Result<Registered, WorkerError> {
    let mut backoff = Backoff::new(BACKOFF);
    let mut last_kind = None;
    loop {
        let request = presentation.request(kept, false);
        let master = link.address().to_owned();
        let asked = link.call(request, async |mut client, request| client.register(request).await);
        let answer = tokio::select! {
            answer = asked => answer.and_then(|answer| understood(&answer)),
            () = cancel.cancelled() => return Err(WorkerError::Stopping),
        };
        let error = match answer {
            Ok(registered) => return Ok(registered),
            Err(error) => error,
        };
        if is_final(error.kind) {
            return Err(WorkerError::Refused { master, kind: error.kind, message: error.message });
        }
        // Once for each kind of trouble; a master that is not up yet is no news.
        if last_kind.replace(error.kind) != Some(error.kind) {
            tracing::warn!(%master, %error, "cannot register yet");
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.pause()) => {}
            () = cancel.cancelled() => return Err(WorkerError::Stopping),
        }
    }
}

/// What a master's answer says.
pub(crate) fn understood(answer: &v1::RegisterResponse) -> Result<Registered, WireError> {
    let cluster =
        answer.cluster().map_err(|defect| WireError::new(ErrorKind::Internal, defect.to_string()))?;
    if answer.worker == 0 || answer.registration == 0 {
        return Err(WireError::new(ErrorKind::Internal, "the master gave no worker id"));
    }
    let interval = Duration::from_nanos(answer.heartbeat_interval_nanos);
    Ok(Registered {
        worker: WorkerId::new(answer.worker),
        cluster,
        incarnation: Incarnation::new(answer.incarnation),
        registration: answer.registration,
        interval: interval.clamp(HEARTBEAT_INTERVAL_MIN, HEARTBEAT_INTERVAL_MAX),
    })
}

/// Whether asking again cannot help.
pub(crate) const fn is_final(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::InvalidArgument
            | ErrorKind::PermissionDenied
            | ErrorKind::Unauthenticated
            | ErrorKind::Unsupported
            | ErrorKind::AlreadyExists
    )
}

/// The header of each request to a master.
pub(crate) fn request_header() -> v1::RequestHeader {
    let principal = Principal { name: "worker".to_owned(), ..Principal::default() };
    header(&principal, Epoch::default(), None)
}

pub(crate) fn tier_message(tier: &TierUsage) -> v1::TierUsage {
    v1::TierUsage {
        name: tier.name.clone(),
        directory: tier.directory.display().to_string(),
        capacity_bytes: tier.capacity.get(),
        used_bytes: tier.used.get(),
        health: match tier.health {
            Health::Up => v1::TierHealth::Up,
            Health::Unstable => v1::TierHealth::Unstable,
            Health::Down => v1::TierHealth::Down,
        }
        .into(),
    }
}

/// Says that the worker follows its master to another cluster, where that is so. What it holds stays: it is told apart
/// by its identity, and goes by eviction where nobody asks for it.
pub(crate) fn say_moved(kept: Identity, now: Identity) {
    if kept.cluster != now.cluster {
        tracing::warn!(
            worker = %now.worker, was = %kept.worker, before = %kept.cluster, cluster = %now.cluster,
            "the master is of another cluster; the worker joins it with what it holds"
        );
    }
}
