//! How a master comes to its log: it opens the one of its folder, forms a cluster, or joins the one that the other
//! masters have.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use forebay_metadata::ClusterIdentity;
use forebay_metadata::query;
use forebay_metadata::snapshot::next_incarnation;
use forebay_proto::v1::raft_server::RaftServer;
use forebay_raft::{Effects, RaftNode, RaftService, RaftSettings, Role, has_state};
use forebay_runtime::{Clock, Shutdown};
use forebay_types::{ClusterId, LogIndex};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::joining::Finding;
use super::member::Member;
use super::{KEY_FILE, MasterSettings, StartError, joining, member};
use crate::door::{Door, Late, Standing};
use crate::error::MasterError;
use crate::limits::ROLE_WAIT;
use crate::membership;
use crate::sealing::SealingKey;

/// Lies in the folder of the master that forms a cluster of several, until all of them vote.
const FORMING_FILE: &str = "forming";
/// How long opening the folder, electing and forming may take together: a long log is replayed in this time.
const START_DEADLINE: Duration = Duration::from_secs(120);
/// How long the log may take to close.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// A log that is open, and the cluster's key.
pub(super) struct Begun {
    pub(super) raft: Arc<RaftNode>,
    pub(super) effects: Effects,
    pub(super) sealing: Arc<SealingKey>,
}

/// Opens the log, forms the cluster or joins it.
///
/// # Errors
/// [`StartError`].
pub(super) async fn begin(
    settings: &MasterSettings,
    door: &Door,
    service: &Late<RaftServer<RaftService>>,
    cancelled: &CancellationToken,
    shutdown: &Shutdown,
) -> Result<Begun, StartError> {
    let dir = &settings.dir;
    let failed = |source| StartError::Dir { path: dir.clone(), source };
    let (key_file, forming) = (dir.join(KEY_FILE), dir.join(FORMING_FILE));
    let mut kept = member::kept(dir)?;
    let mut forms = forming.try_exists().map_err(failed)?;
    if !has_state(dir)? {
        let lost = kept.take();
        if let (Some(lost), true) = (lost, settings.peers.is_one()) {
            return Err(StartError::LostLog { path: dir.clone(), mark: lost.mark });
        }
        if settings.peers.is_one() {
            forms = true;
        } else if !forms {
            door.stands(Standing::Empty);
            match joining::find(door, cancelled).await? {
                Finding::Form => {
                    begin_forming(dir).map_err(failed)?;
                    forms = true;
                }
                Finding::Joined(member, secret) => {
                    SealingKey::keep(&key_file, &secret)?;
                    member::keep(dir, member).map_err(failed)?;
                    kept = Some(member);
                }
            }
        }
    }
    let sealing = Arc::new(SealingKey::open_or_create(&key_file)?);
    let (raft, effects) = open(settings, kept).await?;
    close_last(&raft, shutdown);
    if let (Some(mark), false) = (raft.mark(), settings.peers.is_one()) {
        joining::compare(door, mark).await?;
    }
    service.set(raft.service());
    // A folder of before several masters could be formed, or whose forming was cut off, has a log and no cluster.
    if forms || (settings.peers.is_one() && kept.is_none()) {
        form(&raft, settings).await?;
    }
    // From here on a state that loses its last rows with the machine's power does not keep it out of its own cluster.
    if let (Some(mark), false) = (raft.mark(), settings.peers.is_one()) {
        let member = Member { mark, node: raft.node() };
        if kept != Some(member) {
            member::keep(dir, member).map_err(failed)?;
        }
    }
    door.stands(Standing::Member(Arc::clone(&raft), Arc::clone(&sealing)));
    if forms && !settings.peers.is_one() {
        tokio::select! {
            () = cancelled.cancelled() => return Err(StartError::Stopping),
            formed = membership::form(&raft, &settings.peers) => formed?,
        }
        fs::remove_file(&forming).map_err(failed)?;
    }
    Ok(Begun { raft, effects, sealing })
}

async fn open(
    settings: &MasterSettings,
    kept: Option<Member>,
) -> Result<(Arc<RaftNode>, Effects), StartError> {
    let mut raft = RaftSettings::new(&settings.dir, &settings.address);
    raft.slot = settings.slot;
    raft.clock = Arc::new(LeaderClock(Arc::clone(&settings.clock)));
    raft.election_timeout = settings.election_timeout;
    raft.reads = settings.reads;
    raft.node = kept.map(|member| member.node);
    raft.mark = kept.map(|member| member.mark);
    let (raft, effects) = RaftNode::start(raft, Instant::now() + START_DEADLINE).await?;
    Ok((Arc::new(raft), effects))
}

/// Forms a cluster of this master, unless it has one.
async fn form(raft: &RaftNode, settings: &MasterSettings) -> Result<(), StartError> {
    let deadline = Instant::now() + START_DEADLINE;
    if raft.mark().is_some() {
        return Ok(());
    }
    let (mut cluster, mut secret) = ([0; 16], [0; 32]);
    getrandom::fill(&mut cluster).map_err(StartError::Random)?;
    getrandom::fill(&mut secret).map_err(StartError::Random)?;
    let incarnation = next_incarnation(settings.clock.now(), None);
    Ok(raft.form(ClusterId::new(cluster), incarnation, secret, deadline).await?)
}

/// Whose state it is, once this master has it, and how far the state is at least. A master that is alone has all of it.
///
/// # Errors
/// [`StartError`] when the state cannot be read, or on `cancelled`.
pub(super) async fn identity(
    raft: &RaftNode,
    cancelled: &CancellationToken,
) -> Result<(LogIndex, ClusterIdentity), StartError> {
    if raft.members().len() == 1 && raft.status().role == Role::Leader {
        raft.read(Instant::now() + START_DEADLINE).await?;
    }
    loop {
        let before = raft.status().last_applied;
        let found = {
            let view = raft.local_view()?;
            let moment = view.moment();
            (moment.applied(), query::identity(&moment).map_err(MasterError::from)?)
        };
        if let (applied, Some(identity)) = found {
            return Ok((applied, identity));
        }
        let deadline = Instant::now() + ROLE_WAIT;
        tokio::select! {
            () = cancelled.cancelled() => return Err(StartError::Stopping),
            // Whether it came or the time is over: it is looked again.
            changed = raft.wait_until(deadline, |status| status.last_applied != before) => drop(changed),
        }
        if raft.status().role == Role::Stopped {
            return Err(StartError::Stopping);
        }
    }
}

/// Removes what the folder of a master without a state still says of a cluster.
pub(super) fn forget_cluster(dir: &Path) -> io::Result<()> {
    member::forget(dir)?;
    match fs::remove_file(dir.join(FORMING_FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Notes that the master in `dir` forms a cluster of several: nothing is acknowledged until all of them vote.
pub(super) fn begin_forming(dir: &Path) -> io::Result<()> {
    File::create(dir.join(FORMING_FILE))?.sync_all()?;
    File::open(dir)?.sync_all()
}

/// The log's clock is the process's.
#[derive(Debug)]
struct LeaderClock(Arc<dyn Clock>);

impl forebay_raft::Clock for LeaderClock {
    fn now(&self) -> forebay_types::Timestamp {
        self.0.now()
    }

    fn suspended(&self) -> std::time::Duration {
        forebay_raft::SystemClock.suspended()
    }
}

/// The log closes after all who use it have ended.
fn close_last(raft: &Arc<RaftNode>, shutdown: &Shutdown) {
    let log = shutdown.stage("log");
    let (raft, token) = (Arc::clone(raft), log.token());
    log.spawn(async move {
        token.cancelled().await;
        if let Err(error) = raft.shutdown(Instant::now() + STOP_DEADLINE).await {
            tracing::warn!(%error, "the log did not close in time; it is recovered at the next start");
        }
    });
}
