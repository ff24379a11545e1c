//! Applies committed entries to the state, on a thread of its own, and answers who proposed them.
//!
//! Invariants: the rows that entries wrote, the last log id and the membership are committed as one; nobody is answered
//! before that; effects go out after it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;

use forebay_metadata::{Proposal, apply_all};
use forebay_types::LogIndex;
use futures::{Stream, StreamExt};
use openraft::EntryPayload;
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use tokio::sync::{mpsc, oneshot};

use crate::effects::EffectSender;
use crate::error::{FirstFailure, RaftError};
use crate::limits::{APPLY_ENTRIES_MAX, QUEUED_APPLIES_MAX};
use crate::snapshot::{SnapshotShelf, SnapshotSource, archive};
use crate::state::NodeState;
use crate::types::{BatchReply, LogId, RaftEntry, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};

#[cfg(test)]
mod equality;
#[cfg(test)]
mod tests;

type Job = Box<dyn FnOnce(&mut Applier) + Send>;
type Answer = Option<ApplyResponder<TypeConfig>>;

/// The state machine as openraft wants it: hands everything to the thread.
#[derive(Clone)]
pub(crate) struct Machine {
    jobs: mpsc::Sender<Job>,
    /// Only to be written through to the disk before a snapshot; all else is the thread's.
    state: Arc<NodeState>,
    shelf: Arc<SnapshotShelf>,
    failure: FirstFailure,
}

/// What the thread owns.
struct Applier {
    state: Arc<NodeState>,
    last: Option<LogId>,
    membership: StoredMembership,
    effects: EffectSender,
}

impl Machine {
    /// Starts the thread that applies. It ends when nobody can send jobs any more.
    pub(crate) fn start(
        state: Arc<NodeState>,
        shelf: Arc<SnapshotShelf>,
        effects: EffectSender,
        failure: FirstFailure,
    ) -> Result<(Self, thread::JoinHandle<()>), RaftError> {
        let generation = state.current()?;
        let (last, membership) = (generation.applied()?, generation.membership()?);
        drop(generation);
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUED_APPLIES_MAX);
        let mut applier = Applier { state: Arc::clone(&state), last, membership, effects };
        let run = move || {
            while let Some(job) = queue.blocking_recv() {
                job(&mut applier);
            }
        };
        let thread = thread::Builder::new().name("raft-apply".to_owned()).spawn(run);
        let thread =
            thread.map_err(|error| RaftError::io("start", "the thread that applies entries", error))?;
        Ok((Self { jobs, state, shelf, failure }, thread))
    }

    /// Has `job` done by the thread.
    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Applier) -> Result<T, RaftError> + Send + 'static,
    ) -> io::Result<T> {
        let (done, wait) = oneshot::channel();
        let job: Job = Box::new(move |applier| {
            // Whoever waited may be gone; what was applied stays.
            let _ = done.send(job(applier));
        });
        let done = match self.jobs.send(job).await {
            Ok(()) => wait.await.unwrap_or_else(|_| Err(applier_is_gone())),
            Err(_) => Err(applier_is_gone()),
        };
        done.map_err(|error| self.failure.note(&error))
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Machine")
    }
}

fn applier_is_gone() -> RaftError {
    RaftError::Unavailable { reason: "the thread that applies entries has stopped".to_owned() }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = SnapshotSource;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        self.run(|applier| Ok((applier.last, applier.membership.clone()))).await
    }

    async fn apply<S>(&mut self, entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + Send,
    {
        let mut batches = entries.ready_chunks(APPLY_ENTRIES_MAX);
        while let Some(batch) = batches.next().await {
            let batch: Vec<_> = batch.into_iter().collect::<io::Result<_>>()?;
            self.run(move |applier| applier.apply(batch)).await?;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotSource) -> io::Result<()> {
        let (shelf, meta) = (Arc::clone(&self.shelf), meta.clone());
        self.run(move |applier| applier.install(&shelf, &meta, snapshot)).await
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot<SnapshotSource>>> {
        let newest = self.shelf.newest().map(|newest| newest.to_openraft());
        newest.transpose().map_err(|error| self.failure.note(&error))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Machine {
    type SnapshotData = SnapshotSource;

    /// Done by the thread that applies, so that the checkpoint has exactly what its description says. Entries wait for
    /// the flush that a checkpoint takes; what is there before is flushed beside them, so that it is a short one.
    async fn build_snapshot(&mut self) -> io::Result<Snapshot<SnapshotSource>> {
        let state = Arc::clone(&self.state);
        let flushed = tokio::task::spawn_blocking(move || state.flush())
            .await
            .unwrap_or_else(|_| Err(applier_is_gone()));
        flushed.map_err(|error| self.failure.note(&error))?;
        let shelf = Arc::clone(&self.shelf);
        self.run(move |applier| applier.build(&shelf)).await
    }
}

impl Applier {
    fn apply(&mut self, batch: Vec<(RaftEntry, Answer)>) -> Result<(), RaftError> {
        let Some(last) = batch.last().map(|(entry, _)| entry.log_id) else { return Ok(()) };
        let mut membership = None;
        let mut proposals: Vec<(LogIndex, &Proposal)> = Vec::new();
        for (entry, _) in &batch {
            match &entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(encoded) => {
                    let index = LogIndex::new(entry.log_id.index);
                    proposals.extend(encoded.0.iter().map(|encoded| (index, &encoded.proposal)));
                }
                EntryPayload::Membership(changed) => {
                    membership = Some(StoredMembership::new(Some(entry.log_id), changed.clone()));
                }
            }
        }
        let generation = self.state.current()?;
        let applied = apply_all(generation.store(), proposals)?;
        if applied.outcomes.iter().any(|outcome| !outcome.effects.is_empty()) {
            self.effects.announce(LogIndex::new(last.index));
        }
        generation.commit(applied.mutations, &last, membership.as_ref())?;
        self.last = Some(last);
        if let Some(membership) = membership {
            self.membership = membership;
        }
        let mut outcomes = applied.outcomes.into_iter();
        let mut effects = Vec::new();
        for (entry, answer) in batch {
            let count = match &entry.payload {
                EntryPayload::Normal(encoded) => encoded.0.len(),
                EntryPayload::Blank | EntryPayload::Membership(_) => 0,
            };
            let mut replies = Vec::with_capacity(count);
            for outcome in outcomes.by_ref().take(count) {
                replies.push(outcome.reply);
                effects.extend(outcome.effects);
            }
            if let Some(answer) = answer {
                answer.send(BatchReply(replies));
            }
        }
        if !effects.is_empty() {
            self.effects.send(LogIndex::new(last.index), effects);
        }
        Ok(())
    }

    fn build(&self, shelf: &SnapshotShelf) -> Result<Snapshot<SnapshotSource>, RaftError> {
        let generation = self.state.current()?;
        // The log is purged up to what a snapshot has, so the state itself must then be on the disk, too.
        generation.store().sync()?;
        let made = shelf.make(|dir| {
            generation.store().checkpoint(dir)?;
            Ok(SnapshotMeta { last_log_id: self.last, last_membership: self.membership.clone() })
        })?;
        made.to_openraft()
    }

    fn install(
        &mut self,
        shelf: &SnapshotShelf,
        meta: &SnapshotMeta,
        snapshot: SnapshotSource,
    ) -> Result<(), RaftError> {
        let other = || RaftError::corrupt("a snapshot", "it is not the one that was announced");
        let kept = match snapshot {
            SnapshotSource::Received(received) if received.meta() == meta => shelf.adopt(&received)?,
            SnapshotSource::Received(_) => return Err(other()),
            SnapshotSource::Stream(stream) => shelf.make(|dir| {
                let found = archive::unpack(stream, dir)?;
                if found == *meta { Ok(found) } else { Err(other()) }
            })?,
        };
        let last = LogIndex::new(meta.last_log_id.map_or(0, |last| last.index));
        self.effects.announce(last);
        self.state.replace(&kept.state(), meta)?;
        self.last = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        // What the installed entries did is only in the rows now.
        self.effects.rescan(last);
        Ok(())
    }
}
