//! What the services of one master share: the log, the soft state, the under-stores and the clocks.

use std::sync::Arc;

use forebay_metadata::{Command, Effect, MountRecord, SessionStamp, StateReader, Success, query};
use forebay_raft::{RaftNode, Role};
use forebay_runtime::{Clock, Stage};
use forebay_types::{InodeId, LogIndex, MountId};
use forebay_under_store::UnderStore;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::capabilities::Capabilities;
use crate::door::Door;
use crate::error::MasterError;
use crate::feed::Feed;
use crate::freshness::Checks;
use crate::limits;
use crate::listings::Listings;
use crate::live_jobs::Jobs;
use crate::metrics::Metrics;
use crate::registry::Registry;
use crate::request_cap::Urgency;
use crate::single_names::SingleNames;
use crate::under_stores::{TooLate, UnderStores};

/// The parts of one master. Locks are short, never held over an await, and never taken inside one another.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) raft: Arc<RaftNode>,
    pub(crate) door: Arc<Door>,
    pub(crate) under_stores: UnderStores,
    pub(crate) capabilities: Capabilities,
    pub(crate) registry: Mutex<Registry>,
    pub(crate) checks: Mutex<Checks>,
    pub(crate) listings: Listings,
    pub(crate) single_names: SingleNames,
    /// The directories of mounts, by themselves and their names.
    pub(crate) roots: SingleNames,
    pub(crate) feed: Feed,
    pub(crate) jobs: Jobs,
    pub(crate) clock: Arc<dyn Clock>,
    /// Of each mount; 0: as many as there are.
    pub(crate) loaded_entries_max: u64,
    pub(crate) metrics: Metrics,
    /// Where listings run that nobody may wait for any more.
    pub(crate) background: Stage,
}

impl Shared {
    /// Answers a question from a state that has all that was acknowledged before the call. The question does no IO
    /// but reading rows.
    pub(crate) async fn query<T>(
        &self,
        question: impl FnOnce(&dyn StateReader) -> Result<T, MasterError>,
    ) -> Result<T, MasterError> {
        let view = self.raft.read(Instant::now() + limits::READ_DEADLINE).await?;
        question(&view.moment())
    }

    /// Like [`query`](Self::query), with an index whose entry, and all before it, the answer knows.
    pub(crate) async fn begin<T>(
        &self,
        question: impl FnOnce(&dyn StateReader) -> Result<T, MasterError>,
    ) -> Result<(LogIndex, T), MasterError> {
        let view = self.raft.read(Instant::now() + limits::READ_DEADLINE).await?;
        let moment = view.moment();
        Ok((moment.applied(), question(&moment)?))
    }

    /// Whether this master leads, as far as it knows.
    pub(crate) fn leads(&self) -> bool {
        self.raft.status().role == Role::Leader
    }

    /// Changes the namespace. Ends by a deadline; then the outcome is unknown.
    pub(crate) async fn propose(
        &self,
        stamp: Option<SessionStamp>,
        command: Command,
    ) -> Result<Success, MasterError> {
        let name = command.name();
        let outcome = self.raft.propose(stamp, command, Instant::now() + limits::PROPOSE_DEADLINE).await;
        self.metrics.count_proposal(name, outcome.is_ok());
        Ok(outcome?.reply?)
    }

    /// The connected under-store of a mount, unless nobody may ask it.
    pub(crate) fn under_store(&self, mount: &MountRecord) -> Result<Arc<dyn UnderStore>, MasterError> {
        if mount.options.is_in_maintenance() {
            return Err(MasterError::in_maintenance(mount));
        }
        Ok(self.under_stores.of_mount(mount.id, &mount.path, &mount.uri, &mount.options)?)
    }

    /// Looks whether the under-store of a mount may still be asked, for whoever asks it for long. A mode that another master
    /// has answered for is known, too: one that has lost the lead and goes on with a listing has not applied it.
    pub(crate) async fn may_ask_on(&self, mount: MountId) -> Result<(), MasterError> {
        match self.query(|state| Ok(query::mount(state, mount)?)).await? {
            Some(mount) if mount.options.is_in_maintenance() => Err(MasterError::in_maintenance(&mount)),
            _ => Ok(()),
        }
    }

    /// Waits until a mount's under-store, which is connected, may be asked for so many requests more. Cancel safe.
    ///
    /// # Errors
    /// `Busy`, at once, where somebody would have to wait too long.
    pub(crate) async fn turn(
        &self,
        mount: MountId,
        urgency: Urgency,
        requests: u32,
    ) -> Result<(), MasterError> {
        let Some(turns) = self.under_stores.turns(mount) else { return Ok(()) };
        let came = turns.come(urgency, requests).await;
        self.metrics.count_turn(urgency, came);
        match came {
            Ok(_) => Ok(()),
            Err(TooLate { wait }) => Err(MasterError::TooManyRequests { mount, seconds: wait.as_secs() }),
        }
    }

    /// The same for the next page of a listing under way: once somebody waits for it, it goes before those for which nobody
    /// does.
    pub(crate) async fn turn_of_listing(
        &self,
        mount: MountId,
        directory: InodeId,
    ) -> Result<(), MasterError> {
        tokio::select! {
            biased;
            () = self.listings.urgent(directory) => {}
            came = self.turn(mount, Urgency::Background, 1) => return came,
        }
        self.turn(mount, Urgency::Foreground, 1).await
    }

    /// Does what the state machine asks of the outside. Only wake-ups: one that is lost costs room or time.
    pub(crate) fn work_effects(&self, index: LogIndex, effects: &[Effect]) {
        self.feed.note(index, effects);
        effects.iter().for_each(|effect| self.work_effect(effect));
    }

    /// The same after some were lost of entries up to this one: looks for whatever there is to do. The outbox is looked at
    /// anyway.
    pub(crate) fn look_for_work(&self, up_to: LogIndex) {
        self.feed.lost(up_to);
        self.listings.wake_reaper();
        self.jobs.wake();
    }

    fn work_effect(&self, effect: &Effect) {
        match effect {
            // What this does not reach is found in the outbox.
            Effect::ForgetVersions(files) => self.registry.lock().forget(files),
            Effect::DisownVersions(files) => self.registry.lock().disown(files),
            // Clients are told by the feed; workers compare revisions in each heartbeat, a second later at most.
            Effect::DirectoriesChanged(_) | Effect::MountsChanged => {}
            Effect::ReapNeeded => self.listings.wake_reaper(),
            Effect::JobsChanged => self.jobs.wake(),
        }
    }
}
