//! Who the masters of the cluster are: taken in, given a vote, replaced, taken out. Decided by the one that leads, from
//! what the log says of them and what they say of themselves.
//!
//! A slot is a name. Whoever starts with an empty folder in a slot gets a new id, follows first, and votes once it has
//! the log: in a new slot when an operator says so, in a known slot at the address of before by itself, since whoever
//! had the old id there has lost it.

use std::collections::{BTreeMap, BTreeSet};

use forebay_metadata::FEATURE_LEVEL;
use forebay_proto::v1;
use forebay_raft::{Joining, Member, RaftError, RaftNode, Role};
use forebay_types::{ErrorKind, LogIndex};
use thiserror::Error;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::MasterError;
use crate::hello::{self, Greeting};
use crate::limits::{MASTERS_MAX, MEMBERSHIP_DEADLINE, MEMBERSHIP_LOOK_INTERVAL, VOTER_BEHIND_MAX};
use crate::server::PeerList;

/// Why the masters stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MembershipError {
    /// The slot is somebody else's, who is there.
    #[error(
        "slot {slot} is in use: the master {node} at {address} answers; start this master with another --id, or stop that one first"
    )]
    InUse {
        /// The slot.
        slot: u32,
        /// Who has it.
        node: u64,
        /// Where.
        address: String,
    },
    /// There are as many masters as a cluster can have.
    #[error(
        "the cluster has {MASTERS_MAX} masters, which is the most; remove one with `forebay admin masters remove SLOT`"
    )]
    TooMany,
    /// No master has joined in the slot.
    #[error(
        "no master has joined in slot {slot}: start it first with `forebay master --id {slot} --peers ...` and an empty --dir"
    )]
    NotJoined {
        /// The slot.
        slot: u32,
    },
    /// No master has the slot.
    #[error("the cluster has no master in slot {slot}; `forebay admin masters list` shows them")]
    NoSlot {
        /// The slot.
        slot: u32,
    },
    /// Another master has the vote of this slot.
    #[error(
        "slot {slot} has a master that votes; give its vote to the one that joined with `forebay admin masters replace {slot}`"
    )]
    Occupied {
        /// The slot.
        slot: u32,
    },
    /// It does not have the log yet.
    #[error("the master in slot {slot} is {behind} entries behind; try again when it has caught up")]
    Behind {
        /// The slot.
        slot: u32,
        /// How many entries it lacks.
        behind: u64,
    },
    /// Too few of those who would be left are there.
    #[error(
        "of the {voters} masters that would vote then only {alive} answer, which is no majority: nothing would be acknowledged any more; \
         bring one back first"
    )]
    NoMajority {
        /// Who would vote.
        voters: usize,
        /// Who of them answers.
        alive: usize,
    },
    /// The last one cannot be taken out.
    #[error("the master in slot {slot} is the only one that votes")]
    Last {
        /// The slot.
        slot: u32,
    },
}

impl MembershipError {
    /// What kind of error it is for those above.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::InUse { .. } | Self::Occupied { .. } => ErrorKind::AlreadyExists,
            Self::TooMany => ErrorKind::LimitExceeded,
            Self::NotJoined { .. } | Self::NoSlot { .. } => ErrorKind::NotFound,
            Self::Behind { .. } | Self::NoMajority { .. } => ErrorKind::Busy,
            Self::Last { .. } => ErrorKind::InvalidArgument,
        }
    }
}

fn deadline() -> Instant {
    Instant::now() + MEMBERSHIP_DEADLINE
}

/// The masters of the cluster, on the one that leads.
fn members(raft: &RaftNode) -> Result<Vec<Member>, MasterError> {
    if raft.status().role == Role::Leader {
        return Ok(raft.members());
    }
    Err(RaftError::NotLeader { leader: raft.leader() }.into())
}

/// Refuses what only the one that leads may answer.
///
/// # Errors
/// [`RaftError::NotLeader`].
pub(crate) fn must_lead(raft: &RaftNode) -> Result<(), MasterError> {
    members(raft).map(drop)
}

/// Takes a master with an empty folder in, which does not vote yet. Gives the id that it votes under later.
///
/// # Errors
/// [`MasterError`], among them [`MembershipError::InUse`] and [`RaftError::JoinsTooOld`].
pub(crate) async fn take_in(
    raft: &RaftNode,
    joining: &Joining<'_>,
    peers: &PeerList,
) -> Result<u64, MasterError> {
    let members = members(raft)?;
    let Joining { slot, address, .. } = *joining;
    raft.may_join(joining, deadline()).await?;
    for member in members.iter().filter(|member| member.slot == slot || member.address == address) {
        if is_there(raft, member, peers).await {
            let (node, address) = (member.node, member.address.clone());
            return Err(MembershipError::InUse { slot: member.slot, node, address }.into());
        }
    }
    // One that joined and lost its folder before it voted has no vote to lose.
    for gone in members.iter().filter(|member| member.slot == slot && !member.votes) {
        raft.remove_learner(gone.node, deadline()).await?;
    }
    let left = members.iter().filter(|member| member.slot != slot || member.votes).count();
    if left >= MASTERS_MAX {
        return Err(MembershipError::TooMany.into());
    }
    let node = raft.add_learner(joining, deadline()).await?;
    tracing::info!(node, slot, address, "a master joined; it has no vote yet");
    Ok(node)
}

/// Whether whoever answers at a member's address is that member.
async fn is_there(raft: &RaftNode, member: &Member, peers: &PeerList) -> bool {
    let greeting = hello::greet(&member.address, 0, peers).await;
    greeting.is_ok_and(|greeting| is_member(raft, &greeting, member))
}

fn is_member(raft: &RaftNode, greeting: &Greeting, member: &Member) -> bool {
    let is_of_here =
        |theirs: &hello::Membership| Some(theirs.mark) == raft.mark() && theirs.node == member.node;
    greeting.membership.as_ref().is_some_and(is_of_here)
}

/// How many entries a member lacks.
fn behind(raft: &RaftNode, member: &Member) -> u64 {
    let last = raft.status().last_log.map_or(0, LogIndex::get);
    last.saturating_sub(member.matched.map_or(0, LogIndex::get))
}

fn voters(members: &[Member]) -> BTreeSet<u64> {
    members.iter().filter(|member| member.votes).map(|member| member.node).collect()
}

/// Gives the master that joined in a new slot a vote.
///
/// # Errors
/// [`MasterError`].
pub(crate) async fn add(raft: &RaftNode, slot: u32) -> Result<(), MasterError> {
    let members = members(raft)?;
    let of_slot = || members.iter().filter(|member| member.slot == slot);
    let Some(joined) = of_slot().find(|member| !member.votes) else {
        // It may be that an earlier answer was lost.
        return match of_slot().next() {
            Some(_) => Ok(()),
            None => Err(MembershipError::NotJoined { slot }.into()),
        };
    };
    if of_slot().any(|member| member.votes) {
        return Err(MembershipError::Occupied { slot }.into());
    }
    let mut voters = voters(&members);
    voters.insert(joined.node);
    change(raft, slot, joined, voters).await
}

/// Gives the vote of a slot's earlier master to the one that joined there.
///
/// # Errors
/// [`MasterError`].
pub(crate) async fn replace(raft: &RaftNode, slot: u32) -> Result<(), MasterError> {
    let members = members(raft)?;
    let of_slot = || members.iter().filter(|member| member.slot == slot);
    let joined = of_slot().find(|member| !member.votes).ok_or(MembershipError::NotJoined { slot })?;
    let old = of_slot().find(|member| member.votes).ok_or(MembershipError::NoSlot { slot })?;
    let mut voters = voters(&members);
    voters.remove(&old.node);
    voters.insert(joined.node);
    change(raft, slot, joined, voters).await
}

async fn change(
    raft: &RaftNode,
    slot: u32,
    joined: &Member,
    voters: BTreeSet<u64>,
) -> Result<(), MasterError> {
    let behind = behind(raft, joined);
    if behind > VOTER_BEHIND_MAX {
        return Err(MembershipError::Behind { slot, behind }.into());
    }
    raft.set_voters(voters, deadline()).await?;
    tracing::info!(node = joined.node, slot, "a master votes from now on");
    Ok(())
}

/// Takes the master of a slot out. One that leads hands the lead over first, and the answer is then that of a master that
/// does not lead.
///
/// # Errors
/// [`MasterError`].
pub(crate) async fn remove(raft: &RaftNode, slot: u32, peers: &PeerList) -> Result<(), MasterError> {
    let members = members(raft)?;
    let gone: BTreeSet<u64> =
        members.iter().filter(|member| member.slot == slot).map(|member| member.node).collect();
    if gone.is_empty() {
        return Err(MembershipError::NoSlot { slot }.into());
    }
    for learner in members.iter().filter(|member| gone.contains(&member.node) && !member.votes) {
        raft.remove_learner(learner.node, deadline()).await?;
    }
    let left: Vec<&Member> =
        members.iter().filter(|member| member.votes && !gone.contains(&member.node)).collect();
    if members.iter().all(|member| !member.votes || !gone.contains(&member.node)) {
        return Ok(());
    }
    if left.is_empty() {
        return Err(MembershipError::Last { slot }.into());
    }
    let mut alive = Vec::new();
    for member in &left {
        if member.node == raft.node() || is_there(raft, member, peers).await {
            alive.push(*member);
        }
    }
    if alive.len() * 2 <= left.len() {
        return Err(MembershipError::NoMajority { voters: left.len(), alive: alive.len() }.into());
    }
    if gone.contains(&raft.node()) {
        let nearest = alive.iter().max_by_key(|member| member.matched);
        let next = nearest.ok_or(MembershipError::Last { slot })?;
        raft.transfer_leader(next.node, deadline()).await?;
        return Err(RaftError::NotLeader { leader: raft.leader() }.into());
    }
    raft.set_voters(left.iter().map(|member| member.node).collect(), deadline()).await?;
    tracing::info!(slot, "a master was taken out of the cluster");
    Ok(())
}

/// Has the master of a slot lead.
///
/// # Errors
/// [`MasterError`].
pub(crate) async fn transfer(raft: &RaftNode, slot: u32) -> Result<(), MasterError> {
    let members = members(raft)?;
    let to = members.iter().find(|member| member.slot == slot && member.votes);
    let to = to.ok_or(MembershipError::NoSlot { slot })?;
    if to.node == raft.node() {
        return Ok(());
    }
    Ok(raft.transfer_leader(to.node, deadline()).await?)
}

/// Gives votes that need no operator, until `cancelled`: see the head of this file.
pub(crate) async fn settle(raft: &RaftNode, cancelled: CancellationToken) {
    loop {
        tokio::select! {
            () = cancelled.cancelled() => return,
            () = tokio::time::sleep(MEMBERSHIP_LOOK_INTERVAL) => {}
        }
        let Ok(members) = members(raft) else { continue };
        let is_back = |joined: &&Member| {
            let is_before =
                |old: &Member| old.votes && old.slot == joined.slot && old.address == joined.address;
            !joined.votes && members.iter().any(is_before) && behind(raft, joined) <= VOTER_BEHIND_MAX
        };
        let Some(joined) = members.iter().find(is_back) else { continue };
        if let Err(error) = replace(raft, joined.slot).await {
            tracing::debug!(%error, slot = joined.slot, "a master that came back has no vote yet; it is tried again");
        }
    }
}

/// Waits until a master of each configured slot has joined, and has all of them vote, as one change. Until then nothing
/// is acknowledged to anybody, so that nothing that was can be lost with one disk.
///
/// # Errors
/// [`MasterError`] when this master has stopped.
pub(crate) async fn form(raft: &RaftNode, peers: &PeerList) -> Result<(), MasterError> {
    let mut said = BTreeSet::new();
    loop {
        let members = raft.members();
        if members.iter().all(|member| member.votes) && members.len() > 1 {
            return Ok(());
        }
        let ready = |slot| {
            members.iter().any(|member| member.slot == slot && behind(raft, member) <= VOTER_BEHIND_MAX)
        };
        let missing: BTreeSet<u32> =
            peers.iter().map(|(slot, _)| slot).filter(|slot| !ready(*slot)).collect();
        if missing.is_empty() {
            let all = members.iter().map(|member| member.node).collect();
            if let Err(error) = raft.set_voters(all, deadline()).await {
                tracing::debug!(%error, "the masters do not vote yet; it is tried again");
            }
        } else if missing != said {
            tracing::info!(slots = ?missing, "the cluster is being formed, and waits for masters to join");
            said = missing;
        }
        if raft.status().role == Role::Stopped {
            return Err(RaftError::Unavailable { reason: "this master is stopping".to_owned() }.into());
        }
        tokio::time::sleep(MEMBERSHIP_LOOK_INTERVAL).await;
    }
}

/// By node id the feature level that each master knows. Who does not answer in time is left out, as is who answers in the
/// place of a member and is none: a master that is away may come back with an older version.
pub(crate) async fn known_levels(raft: &RaftNode, peers: &PeerList) -> BTreeMap<u64, u32> {
    let members = raft.members();
    let said = futures::future::join_all(members.iter().map(async |member| {
        if member.node == raft.node() {
            return Some((member.node, FEATURE_LEVEL));
        }
        let greeting = hello::greet(&member.address, 0, peers).await.ok()?;
        is_member(raft, &greeting, member).then_some((member.node, greeting.feature_level))
    }));
    said.await.into_iter().flatten().collect()
}

/// All masters, with what each says of itself. One that does not answer is shown as unreachable.
pub(crate) async fn report(raft: &RaftNode, peers: &PeerList) -> Vec<v1::MasterReport> {
    let (status, members) = (raft.status(), raft.members());
    let others = members.iter().map(async |member| {
        if member.node == raft.node() { None } else { hello::greet(&member.address, 0, peers).await.ok() }
    });
    let answers = futures::future::join_all(others).await;
    let described = members.iter().zip(answers).map(|(member, answer)| {
        let answer = answer.filter(|answer| is_member(raft, answer, member));
        let own_level = if member.node == raft.node() { FEATURE_LEVEL } else { 0 };
        let feature_level_known = answer.as_ref().map_or(own_level, |answer| answer.feature_level);
        let (role, term, last_applied) = match answer.and_then(|answer| answer.membership) {
            Some(membership) => (membership.role, membership.term, membership.last_applied),
            None if member.node == raft.node() => {
                let applied = status.last_applied.map_or(0, LogIndex::get);
                (role(status.role).to_owned(), status.term, applied)
            }
            None => ("UNREACHABLE".to_owned(), 0, 0),
        };
        v1::MasterReport {
            slot: member.slot,
            node_id: member.node,
            address: member.address.clone(),
            role,
            term,
            last_applied,
            votes: member.votes,
            matched: member.matched.map_or(0, LogIndex::get),
            feature_level_known,
        }
    });
    let mut described: Vec<_> = described.collect();
    described.sort_by_key(|master| (master.slot, master.node_id));
    described
}

/// The name of a role, for people and scripts.
pub(crate) const fn role(role: Role) -> &'static str {
    match role {
        Role::Leader => "LEADER",
        Role::Follower | Role::Candidate => "FOLLOWER",
        Role::Learner => "LEARNER",
        Role::Stopped => "UNREACHABLE",
    }
}
