//! How a master with an empty folder finds its cluster: it asks all that are configured. If one has a cluster, it joins
//! that. Only if all of them answer, and none has one, does the one in the lowest slot form it. Until one or the other
//! has happened it waits, and says for whom.

use std::time::Duration;

use forebay_metadata::FEATURE_LEVEL;
use forebay_proto::{WireError, v1};
use forebay_raft::ClusterMark;
use forebay_types::ErrorKind;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::StartError;
use super::member::Member;
use crate::door::Door;
use crate::hello::{self, Greeting};
use crate::limits::{COMPARE_PATIENCE, HELLO_INTERVAL, MEMBERSHIP_DEADLINE};
use crate::sealing::SEALING_SECRET_LENGTH;

/// What the others say.
#[derive(Debug)]
pub(super) enum Finding {
    /// Nobody has a cluster, and this master is to form it.
    Form,
    /// It was taken in.
    Joined(Member, [u8; SEALING_SECRET_LENGTH]),
}

/// Asks until it is known.
///
/// # Errors
/// [`StartError`] when the configuration of the masters is at fault, or on `cancelled`.
pub(super) async fn find(door: &Door, cancelled: &CancellationToken) -> Result<Finding, StartError> {
    let mut said = String::new();
    loop {
        let waits_for = match look(door).await? {
            Look::Form => return Ok(Finding::Form),
            Look::Joined(member, secret) => return Ok(Finding::Joined(member, secret)),
            Look::Wait(reason) => reason,
        };
        if said != waits_for {
            tracing::info!(reason = waits_for, "this master has no cluster yet");
            said = waits_for;
        }
        tokio::select! {
            () = cancelled.cancelled() => return Err(StartError::Stopping),
            () = tokio::time::sleep(HELLO_INTERVAL) => {}
        }
    }
}

/// Looks whether the others belong to the cluster of this master's folder. They may not know it yet, or not be there.
///
/// # Errors
/// [`StartError::OtherCluster`] when most of them belong to another one: this folder is at a wrong place.
pub(super) async fn compare(door: &Door, ours: ClusterMark) -> Result<(), StartError> {
    let others: Vec<_> = door.peers.iter().filter(|(slot, _)| *slot != door.slot).collect();
    let end = Instant::now() + COMPARE_PATIENCE;
    loop {
        let asked = others.iter().map(|(_, address)| hello::greet(address, door.slot, &door.peers));
        let answers = futures::future::join_all(asked).await;
        let marks = answers.iter().flatten().filter_map(|greeting| greeting.membership.as_ref());
        let foreign: Vec<_> = marks.map(|theirs| theirs.mark).filter(|theirs| *theirs != ours).collect();
        if let Some(theirs) = foreign.first() {
            if foreign.len() * 2 > others.len() {
                return Err(StartError::OtherCluster { ours, theirs: *theirs });
            }
            tracing::warn!(ours = %ours.cluster, theirs = %theirs.cluster, "a master of --peers belongs to another cluster");
        }
        // Those that start at the same time know soon.
        if answers.iter().all(Result::is_ok) || foreign.is_empty() || Instant::now() >= end {
            return Ok(());
        }
        tokio::time::sleep(HELLO_INTERVAL).await;
    }
}

enum Look {
    Form,
    Joined(Member, [u8; SEALING_SECRET_LENGTH]),
    Wait(String),
}

async fn look(door: &Door) -> Result<Look, StartError> {
    let others: Vec<_> = door.peers.iter().filter(|(slot, _)| *slot != door.slot).collect();
    let asked = others.iter().map(|(_, address)| hello::greet(address, door.slot, &door.peers));
    let answers = futures::future::join_all(asked).await;
    let mut silent = Vec::new();
    for ((slot, address), answer) in others.iter().zip(answers) {
        let greeting = match answer {
            Ok(greeting) => greeting,
            Err(error) => {
                silent.push(format!("slot {slot} at {address} ({error})"));
                continue;
            }
        };
        check(door, *slot, address, &greeting)?;
        if let Some(hello::Membership { leader, .. }) = greeting.membership {
            let at = if leader.is_empty() { (*address).to_owned() } else { leader };
            return join(door, &at).await;
        }
    }
    if !silent.is_empty() {
        return Ok(Look::Wait(format!("waits for {}", silent.join(", "))));
    }
    match door.peers.first() {
        Some(first) if first != door.slot => {
            Ok(Look::Wait(format!("waits for the master in slot {first} to form the cluster")))
        }
        _ => Ok(Look::Form),
    }
}

/// Whether the answer is that of the master which is configured there, and it has the same configuration.
fn check(door: &Door, slot: u32, address: &str, greeting: &Greeting) -> Result<(), StartError> {
    let (address, is_itself) = (address.to_owned(), greeting.process == door.process);
    if is_itself || greeting.slot != slot {
        return Err(StartError::OtherSlot { slot, address, found: greeting.slot, is_itself });
    }
    // Within a cluster the log says who belongs to it; lists may then differ while one is changed.
    if greeting.membership.is_none() && greeting.peers != door.peers {
        return Err(StartError::OtherPeers {
            slot,
            address,
            theirs: greeting.peers.clone(),
            ours: door.peers.clone(),
        });
    }
    Ok(())
}

/// Whether asking again would be answered with the same refusal.
const fn is_final(kind: ErrorKind) -> bool {
    // The last one is what a version is told that is too old.
    matches!(kind, ErrorKind::InvalidArgument | ErrorKind::AlreadyExists | ErrorKind::Unsupported)
}

async fn join(door: &Door, leader: &str) -> Result<Look, StartError> {
    let asked = async {
        let mut client = hello::client(leader)?;
        let mut request = tonic::Request::new(v1::JoinRequest {
            slot: door.slot,
            address: door.address.clone(),
            peers: door.peers.to_wire(),
            feature_level_known: FEATURE_LEVEL,
        });
        request.set_timeout(MEMBERSHIP_DEADLINE);
        let asked = tokio::time::timeout(MEMBERSHIP_DEADLINE + Duration::from_secs(1), client.join(request));
        let late = |_| WireError::new(ErrorKind::TimedOut, "no answer in time");
        let answer = asked.await.map_err(late)??.into_inner();
        let mark = hello::mark(&answer.cluster_id, answer.incarnation)?;
        let no_key = |_| WireError::new(ErrorKind::Internal, "the answer has no key");
        let secret = <[u8; SEALING_SECRET_LENGTH]>::try_from(&answer.sealing_key[..]).map_err(no_key)?;
        Ok::<_, WireError>((Member { mark, node: answer.node }, secret))
    };
    match asked.await {
        Ok((member, secret)) => Ok(Look::Joined(member, secret)),
        Err(error) if is_final(error.kind) => {
            Err(StartError::NotTakenIn { leader: leader.to_owned(), reason: error.message })
        }
        Err(error) => Ok(Look::Wait(format!("the master at {leader} does not take it in yet: {error}"))),
    }
}
