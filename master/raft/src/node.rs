//! One master's part in the replicated log: proposes, reads, says who leads.
//!
//! A proposal is answered after its entry is synced on a majority and applied here. A read sees everything that was
//! answered before it was asked. Every call has a deadline.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use forebay_metadata::{Command, Format, Proposal, SessionStamp, query};
use forebay_proto::v1::raft_server::RaftServer;
use forebay_types::{ClusterId, Incarnation, LogIndex};
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{Fatal, ForwardToLeader, InitializeError};
use openraft::{Raft, ServerState};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::effects::{self, Effects, Settling};
use crate::error::{FirstFailure, RaftError};
use crate::limits::{QUEUED_PROPOSALS_MAX, QUEUED_READS_MAX};
use crate::log::NodeLog;
use crate::machine::Machine;
use crate::node::growth::Growth;
use crate::node::lease::{Ceded, Lease};
use crate::node::proposer::{Committed, Proposer, Waiting};
use crate::node::read_rounds::{ReadAnswer, ReadRounds};
use crate::peers::service::RaftService;
use crate::peers::silence::VotingSilence;
use crate::peers::{ClusterMark, Peers};
use crate::settings::{RaftSettings, Reads};
use crate::snapshot::SnapshotShelf;
use crate::state::{NodeState, ReadView};
use crate::types::{EncodedProposal, LeaderHint, NodeInfo, TypeConfig};

pub(crate) mod growth;
mod lease;
mod levels;
pub(crate) mod membership;
pub(crate) mod proposer;
mod read_rounds;

#[cfg(test)]
mod tests;

/// What a proposal that came too late is called.
const PROPOSAL: &str = "a proposal";

pub(crate) type NodeRaft = Raft<TypeConfig, Machine>;

/// One running master. Dropping it stops it without waiting for anything, as a crash would.
#[derive(Debug)]
pub struct RaftNode {
    raft: NodeRaft,
    state: Arc<NodeState>,
    failure: FirstFailure,
    clock: Arc<dyn Clock>,
    this: NodeInfo,
    peers: Peers,
    shelf: Arc<SnapshotShelf>,
    proposals: mpsc::Sender<Waiting>,
    reads: mpsc::Sender<ReadAnswer>,
    settling: Settling,
    stop: CancellationToken,
    running: Mutex<Option<Running>>,
    /// Held while a master is taken in and while the feature level is raised, so that neither overlooks the other.
    joins_and_levels: tokio::sync::Mutex<()>,
    ceded: Ceded,
    silence: VotingSilence,
    election_timeout: Duration,
    how_it_reads: Reads,
}

/// What must have ended before the directory is free again.
#[derive(Debug)]
struct Running {
    tasks: Vec<JoinHandle<()>>,
    threads: Vec<thread::JoinHandle<()>>,
}

/// What a node is at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Follows, and does not vote.
    Learner,
    /// Follows and votes.
    Follower,
    /// Stands for election.
    Candidate,
    /// Leads.
    Leader,
    /// Has stopped.
    Stopped,
}

/// How a node is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftStatus {
    /// Its id.
    pub node: u64,
    /// What it is.
    pub role: Role,
    /// The term that it knows of. A term has one leader.
    pub term: u64,
    /// Who leads, as far as it knows.
    pub leader: Option<LeaderHint>,
    /// The last entry of its log.
    pub last_log: Option<LogIndex>,
    /// The last entry that it applied.
    pub last_applied: Option<LogIndex>,
    /// The last entry that its newest snapshot covers.
    pub snapshot: Option<LogIndex>,
    /// The last entry that is no longer in its log.
    pub purged: Option<LogIndex>,
}

impl RaftNode {
    /// Starts the node that lives in `settings.dir`, or an empty one that waits for [`RaftNode::form`]. When it returns,
    /// a node that is its cluster's only voter leads. The second value receives the effects of applied entries.
    ///
    /// Not cancel safe: a start that is dropped half-way leaves threads that end soon after.
    ///
    /// # Errors
    /// [`RaftError::OtherNode`], [`RaftError::Corrupt`] or an error of the disk; [`RaftError::TimedOut`].
    pub async fn start(settings: RaftSettings, deadline: Instant) -> Result<(Self, Effects), RaftError> {
        timeout_at(deadline, Self::start_unbounded(settings, deadline))
            .await
            .map_err(|_| timed_out("the start of this master"))?
    }

    async fn start_unbounded(
        settings: RaftSettings,
        deadline: Instant,
    ) -> Result<(Self, Effects), RaftError> {
        let mut config = settings.openraft_config()?;
        let failure = FirstFailure::default();
        let (sender, effects, settling) = effects::channel(settings.tuning.queued_effects_max);
        let growth = Growth::new(settings.tuning.snapshot_every_length);
        let opened =
            open_stores(settings.dir.clone(), settings.node, growth.clone(), failure.clone()).await?;
        let Opened { node, log, writer, state, shelf } = opened;
        let (machine, applier) =
            Machine::start(Arc::clone(&state), Arc::clone(&shelf), sender, failure.clone())?;
        let peers = Peers::new(node);
        if let Some(mark) = mark_of(&state)?.or(settings.mark) {
            peers.belongs_to(mark);
        }
        // Before it ended it may have promised a leader to vote for no other one for the time of a lease.
        let silence = VotingSilence::of(log.has_voted().then(|| settings.lease()));
        config.enable_elect = silence.is_over();
        let raft = Raft::new(node, Arc::new(config), peers.clone(), log, machine).await;
        let raft = raft.map_err(|error| failure.explain(|| fatal(&error)))?;

        let stop = CancellationToken::new();
        let (proposals, queue) = mpsc::channel(QUEUED_PROPOSALS_MAX);
        let proposer = Proposer::new(raft.clone(), queue, &settings.tuning);
        let (reads, queue) = mpsc::channel(QUEUED_READS_MAX);
        let ceded = Ceded::default();
        let lease = (settings.reads == Reads::Lease)
            .then(|| Lease::new(settings.lease(), Arc::clone(&settings.clock), ceded.clone()));
        let rounds = ReadRounds {
            raft: raft.clone(),
            state: Arc::clone(&state),
            failure: failure.clone(),
            queue,
            lease,
        };
        let tasks = vec![
            tokio::spawn(proposer.run(stop.clone())),
            tokio::spawn(rounds.run(stop.clone())),
            tokio::spawn(growth.watch(raft.clone(), stop.clone())),
            tokio::spawn(silence.end(raft.clone(), stop.clone())),
        ];
        let id = node;
        let node = Self {
            raft,
            peers,
            shelf,
            state,
            failure,
            clock: settings.clock,
            this: NodeInfo { address: settings.address, slot: settings.slot },
            proposals,
            reads,
            settling,
            stop,
            running: Mutex::new(Some(Running { tasks, threads: vec![writer, applier] })),
            joins_and_levels: tokio::sync::Mutex::default(),
            ceded,
            silence,
            election_timeout: settings.election_timeout,
            how_it_reads: settings.reads,
        };
        let voters =
            node.raft.with_raft_state(|state| state.membership_state.effective().voter_ids().collect());
        let voters: Vec<u64> = voters.await.map_err(|_| node.stopped())?;
        if voters == [id] {
            // Nobody else could have been promised anything.
            node.raft.runtime_config().elect(true);
            node.elected().await?;
            node.learn_mark(deadline).await?;
        }
        Ok((node, effects))
    }

    /// Forms a new cluster of this node alone and gives its namespace the identity, and the highest feature level that this
    /// version knows. Repeated with the same identity it changes nothing, so it can be called again when it is not known
    /// how far it came.
    ///
    /// Cancel safe in that sense.
    ///
    /// # Errors
    /// [`RaftError::AlreadyFormed`] when there is another identity; those of [`RaftNode::propose`].
    pub async fn form(
        &self,
        cluster: ClusterId,
        incarnation: Incarnation,
        capability_secret: [u8; 32],
        deadline: Instant,
    ) -> Result<(), RaftError> {
        let voter = timeout_at(deadline, async {
            let members = BTreeMap::from([(*self.raft.node_id(), self.this.clone())]);
            match self.raft.initialize(members).await {
                Ok(()) => {}
                Err(error) => match error.into_api_error() {
                    Some(InitializeError::NotAllowed(_)) => {}
                    Some(error) => return Err(RaftError::Unavailable { reason: error.to_string() }),
                    None => return Err(self.stopped()),
                },
            }
            self.elected().await
        });
        voter.await.map_err(|_| timed_out("the forming of the cluster"))??;
        self.format(Format { cluster, incarnation, capability_secret }, deadline).await?;
        self.peers.belongs_to(ClusterMark { cluster, incarnation });
        Ok(())
    }

    /// What the other masters call. To be served at the address that this node was given.
    #[must_use]
    pub fn service(&self) -> RaftServer<RaftService> {
        RaftService::new(self.raft.clone(), self.peers.clone(), Arc::clone(&self.shelf), self.silence)
    }

    /// After how long without a leader it stands for election. The same on each master.
    #[must_use]
    pub const fn election_timeout(&self) -> Duration {
        self.election_timeout
    }

    /// How it makes sure, while it leads, that what it reads is the newest.
    #[must_use]
    pub const fn how_it_reads(&self) -> Reads {
        self.how_it_reads
    }

    /// The cluster that this node belongs to; `None` before it has formed or joined one.
    #[must_use]
    pub fn mark(&self) -> Option<ClusterMark> {
        self.peers.mark()
    }

    /// Proposes `command`, stamped with the time of this master's clock, and answers when it was applied.
    ///
    /// Cancel safe in this sense: when it is dropped, or times out, the proposal may or may not be carried out. Proposed
    /// again with the same session and sequence it is carried out once.
    ///
    /// # Errors
    /// [`RaftError::NotLeader`] (nothing was done), [`RaftError::OutcomeUnknown`], [`RaftError::TimedOut`],
    /// [`RaftError::Proposal`] when it is too long, [`RaftError::LevelTooLow`] when some master may not know it,
    /// [`RaftError::Unavailable`] or [`RaftError::Failed`] when the node stops. A refusal by the state machine is no
    /// error: it is the reply.
    pub async fn propose(
        &self,
        session: Option<SessionStamp>,
        command: Command,
        deadline: Instant,
    ) -> Result<Committed, RaftError> {
        self.admit(&command, deadline).await?;
        self.submit(session, command, deadline).await
    }

    /// Proposes a command that may be logged.
    async fn submit(
        &self,
        session: Option<SessionStamp>,
        command: Command,
        deadline: Instant,
    ) -> Result<Committed, RaftError> {
        let proposal = Proposal { issued_at: self.clock.now(), session, command };
        let bytes = proposal.encode()?;
        let (answer, wait) = oneshot::channel();
        let waiting = Waiting { encoded: EncodedProposal { proposal, bytes }, deadline, answer };
        let committed = timeout_at(deadline, async {
            self.proposals.send(waiting).await.map_err(|_| self.stopped())?;
            wait.await.unwrap_or_else(|_| Err(self.stopped()))
        });
        committed.await.map_err(|_| timed_out(PROPOSAL))?
    }

    /// The state with everything that was acknowledged, by any master, before this call. Reads that wait at the same
    /// time share one confirmation that this master leads.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`RaftError::NotLeader`], [`RaftError::TimedOut`], [`RaftError::Unavailable`] or [`RaftError::Failed`].
    pub async fn read(&self, deadline: Instant) -> Result<ReadView, RaftError> {
        let (answer, wait) = oneshot::channel();
        let view = timeout_at(deadline, async {
            self.reads.send(answer).await.map_err(|_| self.stopped())?;
            wait.await.unwrap_or_else(|_| Err(self.stopped()))
        });
        view.await.map_err(|_| timed_out("a read"))?
    }

    /// Waits until whoever receives the effects has done what all entries asked for that can be read at the time of the
    /// call. Cancel safe.
    pub async fn effects_settled(&self) {
        self.settling.settled().await;
    }

    /// The state as this master has applied it. May lag behind what was acknowledged, also on a leader.
    ///
    /// # Errors
    /// [`RaftError::Unavailable`] when the node has stopped.
    pub fn local_view(&self) -> Result<ReadView, RaftError> {
        self.state.view()
    }

    /// Whether this node belongs to a cluster, or was at least about to.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`RaftError::TimedOut`], [`RaftError::Unavailable`] or [`RaftError::Failed`].
    pub async fn has_cluster(&self, deadline: Instant) -> Result<bool, RaftError> {
        let asked = timeout_at(deadline, self.raft.is_initialized()).await;
        asked.map_err(|_| timed_out("a look at the log"))?.map_err(|_| self.stopped())
    }

    /// Who leads, as far as this node knows.
    #[must_use]
    pub fn leader(&self) -> Option<LeaderHint> {
        self.status().leader
    }

    /// How this node is doing.
    #[must_use]
    pub fn status(&self) -> RaftStatus {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let membership = metrics.membership_config.membership();
        let leader = metrics.current_leader.map(|node| LeaderHint {
            node,
            address: membership.get_node(&node).map(|info| info.address.clone()).unwrap_or_default(),
        });
        RaftStatus {
            node: metrics.id,
            role: match (&metrics.running_state, metrics.state) {
                (Err(_), _) | (_, ServerState::Shutdown) => Role::Stopped,
                (_, ServerState::Learner) => Role::Learner,
                (_, ServerState::Follower) => Role::Follower,
                (_, ServerState::Candidate) => Role::Candidate,
                (_, ServerState::Leader) => Role::Leader,
            },
            term: metrics.current_term,
            leader,
            last_log: metrics.last_log_index.map(LogIndex::new),
            last_applied: metrics.last_applied.map(|id| LogIndex::new(id.index)),
            snapshot: metrics.snapshot.map(|id| LogIndex::new(id.index)),
            purged: metrics.purged.map(|id| LogIndex::new(id.index)),
        }
    }

    /// Waits until what [`RaftNode::status`] says fulfils `condition`, which is asked at each change.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`RaftError::TimedOut`]; [`RaftError::Unavailable`] or [`RaftError::Failed`] when the node stops before.
    pub async fn wait_until(
        &self,
        deadline: Instant,
        condition: impl Fn(&RaftStatus) -> bool,
    ) -> Result<RaftStatus, RaftError> {
        let mut changes = self.raft.metrics();
        let fulfilled = timeout_at(deadline, async {
            loop {
                let status = self.status();
                if condition(&status) {
                    return Ok(status);
                }
                if status.role == Role::Stopped || changes.changed().await.is_err() {
                    return Err(self.stopped());
                }
            }
        });
        fulfilled.await.map_err(|_| timed_out("a change of this master's role"))?
    }

    /// Makes a snapshot of the state as soon as possible, and purges the log as the settings say.
    ///
    /// Cancel safe: what was triggered goes on.
    ///
    /// # Errors
    /// [`RaftError::TimedOut`], [`RaftError::Unavailable`] or [`RaftError::Failed`].
    pub async fn trigger_snapshot(&self, deadline: Instant) -> Result<(), RaftError> {
        let trigger = self.raft.trigger();
        let triggered = timeout_at(deadline, trigger.snapshot()).await;
        triggered.map_err(|_| timed_out("a snapshot"))?.map_err(|_| self.stopped())
    }

    /// Why this node has stopped, for people.
    #[must_use]
    pub fn local_failure(&self) -> String {
        self.stopped().to_string()
    }

    /// Stops the node and waits until its directory is free. What was acknowledged is kept; what waits gets
    /// [`RaftError::Unavailable`]. A view that somebody still holds keeps the state open for as long.
    ///
    /// Cancel safe: the node stops all the same.
    ///
    /// # Errors
    /// [`RaftError::TimedOut`].
    pub async fn shutdown(&self, deadline: Instant) -> Result<(), RaftError> {
        self.stop.cancel();
        let running = self.running.lock().take();
        let stopped = timeout_at(deadline, async {
            // The result says only how the core ended, which is an end in any case.
            let _ = self.raft.shutdown().await;
            let Some(Running { tasks, threads }) = running else { return };
            for task in tasks {
                let _ = task.await;
            }
            let state = Arc::clone(&self.state);
            let join = move || {
                threads.into_iter().for_each(|thread| drop(thread.join()));
                state.close();
            };
            let _ = tokio::task::spawn_blocking(join).await;
        });
        stopped.await.map_err(|_| timed_out("the stop of this master"))
    }

    /// Whose cluster it is, where the state did not tell before the log was applied: a crash of the machine may have taken
    /// it, and the log has it.
    async fn learn_mark(&self, deadline: Instant) -> Result<(), RaftError> {
        if self.peers.mark().is_none() {
            self.read(deadline).await?;
            if let Some(mark) = mark_of(&self.state)? {
                self.peers.belongs_to(mark);
            }
        }
        Ok(())
    }

    /// Waits until this node leads.
    async fn elected(&self) -> Result<(), RaftError> {
        let mut changes = self.raft.metrics();
        loop {
            match self.status().role {
                Role::Leader => return Ok(()),
                Role::Stopped => return Err(self.stopped()),
                Role::Learner | Role::Follower | Role::Candidate => {}
            }
            changes.changed().await.map_err(|_| self.stopped())?;
        }
    }

    fn stopped(&self) -> RaftError {
        self.failure.explain(RaftError::stopped)
    }
}

impl Drop for RaftNode {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What a node's directory holds.
struct Opened {
    node: u64,
    log: NodeLog,
    writer: thread::JoinHandle<()>,
    state: Arc<NodeState>,
    shelf: Arc<SnapshotShelf>,
}

/// Opens what lies in `dir`, away from the async threads.
async fn open_stores(
    dir: PathBuf,
    asked: Option<u64>,
    growth: Growth,
    failure: FirstFailure,
) -> Result<Opened, RaftError> {
    let open = move |dir: &Path| {
        let (log, writer, node) = NodeLog::open(&dir.join("log"), asked, growth, failure)?;
        match open_beside(dir, &log) {
            Ok((state, shelf)) => Ok(Opened { node, log, writer, state, shelf }),
            Err(error) => {
                // A folder that was refused is free again.
                drop(log);
                let _ = writer.join();
                Err(error)
            }
        }
    };
    let opened = tokio::task::spawn_blocking(move || open(&dir)).await;
    opened.unwrap_or_else(|error| Err(RaftError::Unavailable { reason: error.to_string() }))
}

/// The cluster that the state is of.
fn mark_of(state: &NodeState) -> Result<Option<ClusterMark>, RaftError> {
    let identity = query::identity(&state.view()?.moment())?;
    Ok(identity.map(|found| ClusterMark { cluster: found.cluster, incarnation: found.incarnation }))
}

/// Opens what lies beside the log, and looks whether all of it fits and can be read to its end.
fn open_beside(dir: &Path, log: &NodeLog) -> Result<(Arc<NodeState>, Arc<SnapshotShelf>), RaftError> {
    let state = Arc::new(NodeState::open(dir.join("state"))?);
    let shelf = Arc::new(SnapshotShelf::open(dir.join("snapshots"))?);
    let snapshot = shelf.newest().and_then(|newest| newest.meta().last_log_id);
    let known = state.current()?.applied()?.max(snapshot);
    if let Some(purged) = log.purged().filter(|purged| Some(purged) > known.as_ref()) {
        let problem = "the log was purged up to it, but neither the state nor a snapshot has it";
        return Err(RaftError::corrupt(format_args!("the entry {}", purged.index), problem));
    }
    // Every entry came after a vote that was synced. A restored state alone has none, of before the first election.
    if known.is_some_and(|known| known.leader_id.term > 0) && !log.has_voted() {
        let problem =
            "the state goes on from it, and it has no vote: with its vote its entries were lost, too";
        return Err(RaftError::corrupt(format_args!("the log in {}", dir.join("log").display()), problem));
    }
    log.check_from(known.map_or(0, |known| known.index + 1))?;
    Ok((state, shelf))
}

fn fatal(error: &Fatal<TypeConfig>) -> RaftError {
    RaftError::Unavailable { reason: error.to_string() }
}

fn timed_out(operation: &'static str) -> RaftError {
    RaftError::TimedOut { operation }
}

/// Who leads, as openraft says it.
fn leader_hint(forward: &ForwardToLeader<TypeConfig>) -> Option<LeaderHint> {
    let address = forward.leader_node.as_ref().map(|info| info.address.clone()).unwrap_or_default();
    forward.leader_id.map(|node| LeaderHint { node, address })
}
