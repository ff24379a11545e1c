//! The worker's life with its master: it registers, and from then on says each second what it has and takes what it is
//! told.
//!
//! Everything is tried again until the process ends: a worker without a master still serves what it may.

use std::sync::Arc;
use std::time::Duration;

use forebay_block_store::{Health, TierUsage};
use forebay_proto::{WireError, header, v1};
use forebay_runtime::Condition;
use forebay_types::{CapabilityKey, ClusterId, Epoch, ErrorKind, Incarnation, Principal, WorkerId};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::contents::Contents;
use crate::core::WorkerCore;
use crate::error::WorkerError;
use crate::forgetting::{ForgetList, Forgetting};
use crate::identity::{Identity, WorkerFolder};
use crate::limits::{BACKOFF, HEARTBEAT_INTERVAL_MAX, HEARTBEAT_INTERVAL_MIN};
use crate::master_link::MasterLink;
use crate::mount_intake::{Answered, Asked, MountIntake};
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
    registration: u64,
    interval: Duration,
}

/// Sends the heartbeats of a registered worker.
pub(crate) struct Reporter<F> {
    link: MasterLink,
    core: Arc<WorkerCore>,
    presentation: Presentation,
    /// Locked for as long as the worker reports.
    folder: WorkerFolder,
    identity: Identity,
    registered: Registered,
    contents: Contents,
    forgetting: Forgetting,
    mounts: MountIntake,
    /// Met once the master's keys and mounts are known.
    condition: Condition,
    /// Called at that moment.
    announce: Option<F>,
    is_reached: bool,
    free_space: FreeSpaceLook,
}

/// Has the store look now and then at what its file systems have free, beside the heartbeats, so that a disk that does
/// not answer holds up none.
#[derive(Default)]
struct FreeSpaceLook(Option<BoxFuture<'static, ()>>);

impl FreeSpaceLook {
    /// Begins a look unless one goes on.
    fn go_on(&mut self, core: &Arc<WorkerCore>) {
        let look = self.0.get_or_insert_with(|| {
            let core = Arc::clone(core);
            async move {
                let store = core.path.cache.store().clone();
                // A process that is stopping reports no more.
                let _ = core.disk.run(move || store.look_at_free_space()).await;
            }
            .boxed()
        });
        if look.now_or_never().is_some() {
            self.0 = None;
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

/// Registers with the first master that takes the worker. Tries until it does, or until `cancel`.
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
        let request = v1::RegisterRequest {
            header: Some(request_header()),
            worker: kept.map_or(0, |kept| kept.worker.get()),
            cluster_id: kept.map_or_else(Vec::new, |kept| kept.cluster.bytes().to_vec()).into(),
            address: presentation.address.clone(),
            host: presentation.host.clone(),
            local_socket: presentation.local_socket.clone(),
            group: presentation.group.clone(),
            tiers: presentation.tiers.clone(),
            to_any_master: false,
        };
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

fn understood(answer: &v1::RegisterResponse) -> Result<Registered, WireError> {
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
const fn is_final(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::InvalidArgument
            | ErrorKind::PermissionDenied
            | ErrorKind::Unauthenticated
            | ErrorKind::Unsupported
            | ErrorKind::AlreadyExists
    )
}

fn request_header() -> v1::RequestHeader {
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

impl<F: FnOnce() + Send> Reporter<F> {
    /// A reporter of a worker that has just registered.
    pub(crate) fn new(
        link: MasterLink,
        core: Arc<WorkerCore>,
        presentation: Presentation,
        (folder, identity): (WorkerFolder, Identity),
        registered: Registered,
        condition: Condition,
        announce: F,
    ) -> Self {
        let contents = Contents::new(&core);
        Self {
            link,
            core,
            presentation,
            folder,
            identity,
            registered,
            contents,
            forgetting: Forgetting::new(),
            mounts: MountIntake::new(),
            condition,
            announce: Some(announce),
            is_reached: true,
            free_space: FreeSpaceLook::default(),
        }
    }

    /// Sends heartbeats until `cancel`.
    ///
    /// # Errors
    /// [`WorkerError::Refused`] when the worker may not come back, [`WorkerError::Folder`] when who it is now cannot be
    /// kept.
    pub(crate) async fn run(mut self, cancel: &CancellationToken) -> Result<(), WorkerError> {
        let mut backoff = Backoff::new(BACKOFF);
        loop {
            let pause = match self.beat().await {
                Ok(Some(pause)) => {
                    backoff.reset();
                    pause
                }
                Ok(None) => {
                    self.register_again(cancel).await?;
                    Duration::ZERO
                }
                Err(error) => {
                    self.not_reached(&error);
                    backoff.pause()
                }
            };
            tokio::select! {
                // In this order, so that heartbeats that follow each other at once hold up nothing.
                biased;
                () = cancel.cancelled() => return Ok(()),
                () = self.forgetting.taken_in() => {}
                () = self.mounts.taken_in(&self.core) => self.announce(),
                () = tokio::time::sleep(pause) => {}
                // A master that is not reached has no mounts to give.
                () = self.core.mounts.is_wanted(), if self.is_reached => {}
            }
        }
    }

    /// One heartbeat. The pause before the next, or `None` when the master does not know this life of the worker.
    async fn beat(&mut self) -> Result<Option<Duration>, WireError> {
        let core = &self.core;
        let (versions, mark) = self.contents.next(core);
        let mounts: Vec<_> =
            core.mounts.connected().iter().map(|mount| mount.report(core.shares.cached(mount.id))).collect();
        let under_store_bytes = mounts.iter().map(|mount| mount.under_store_read_bytes).sum();
        let asked = self.mounts.ask(core.clock.boot_instant());
        let tiers = core.path.cache.store().usage();
        self.free_space.go_on(core);
        let usable_bytes = tiers.iter().map(|tier| tier.usable().get()).collect();
        let request = v1::HeartbeatRequest {
            header: Some(request_header()),
            worker: self.registered.worker.get(),
            registration: self.registered.registration,
            tiers: tiers.iter().map(tier_message).collect(),
            versions,
            reads: Some(core.path.counts.report(under_store_bytes)),
            mounts,
            mounts_revision: asked.known,
            forget_taken: Some(self.forgetting.taken()),
            mounts_place: asked.place,
            usable_bytes,
            to_any_master: false,
        };
        let answer =
            self.link.call(request, async |mut client, request| client.heartbeat(request).await).await?;
        core.metrics.heartbeat(true);
        if !std::mem::replace(&mut self.is_reached, true) {
            tracing::info!(master = self.link.address(), "the master is reached again");
        }
        if answer.register_again {
            return Ok(None);
        }
        self.contents.acknowledged(core, mark);
        self.take(answer, asked).await;
        let goes_on = self.contents.has_more(&self.core) || self.mounts.has_begun();
        Ok(Some(if goes_on { Duration::ZERO } else { self.registered.interval }))
    }

    /// Does what a master told.
    async fn take(&mut self, answer: v1::HeartbeatResponse, asked: Asked) {
        let mut keys = Vec::with_capacity(answer.keys.len());
        for key in answer.keys {
            match CapabilityKey::try_from(key) {
                Ok(key) => keys.push(key),
                Err(error) => tracing::warn!(%error, "the master sent a key that cannot be used"),
            }
        }
        self.core.keys.replace(keys);
        let answered = Answered {
            revision: answer.mounts_revision,
            mounts: answer.mounts,
            end_at: answer.mounts_end_at,
        };
        self.mounts.take(&self.core, asked, answered).await;
        let list = ForgetList {
            sequence: answer.forget_sequence,
            files: answer.forget.into_iter().map(Into::into).collect(),
            disowned: answer.disown.into_iter().map(Into::into).collect(),
        };
        self.forgetting.begin(&self.core, list);
        self.announce();
    }

    /// Says once that the worker can serve: keys came with the first answer, and mounts when they were taken in.
    fn announce(&mut self) {
        if self.mounts.has_any()
            && let Some(announce) = self.announce.take()
        {
            self.condition.set(true);
            announce();
        }
    }

    async fn register_again(&mut self, cancel: &CancellationToken) -> Result<(), WorkerError> {
        self.presentation.tiers = self.core.path.cache.store().usage().iter().map(tier_message).collect();
        let (kept, before) = (self.identity, self.registered);
        self.registered = register(&mut self.link, &self.presentation, Some(kept), cancel).await?;
        let Registered { worker, incarnation, .. } = self.registered;
        self.identity = self.registered.identity(Some(kept));
        if self.identity != kept {
            say_moved(kept, self.identity);
            self.folder.keep(self.identity)?;
        }
        if (self.identity, incarnation) != (kept, before.incarnation) {
            tracing::info!(%worker, %incarnation, "another life of the master's state has begun");
            self.core.begin_life(worker, incarnation);
            self.mounts = MountIntake::new();
        }
        tracing::info!(%worker, master = self.link.address(), "registered again");
        self.contents = Contents::new(&self.core);
        self.forgetting.begin_anew();
        Ok(())
    }

    fn not_reached(&mut self, error: &WireError) {
        self.core.metrics.heartbeat(false);
        if std::mem::replace(&mut self.is_reached, false) {
            tracing::warn!(%error, "the master is not reached; cached data is served on");
        }
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
