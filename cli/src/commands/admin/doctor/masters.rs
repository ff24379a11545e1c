//! Judges the masters: their quorum, their logs, their releases, and all clocks.

use std::collections::BTreeSet;
use std::time::Duration;

use forebay_client::{ClockReading, ClusterExamination, ExaminedMaster, MasterPresence, Told};
use forebay_proto::v1;
use forebay_types::ErrorKind;

use super::bounds::{BEHIND_WARN, CLOCK_ERROR, CLOCK_WARN};
use super::{Check, Finding, State};

/// What all masters told, put together.
pub(super) struct Standing<'a> {
    /// Those that answered.
    pub(super) told: Vec<&'a Told>,
    /// The one that leads.
    pub(super) leader: Option<&'a Told>,
    /// The masters of the cluster, as the one that leads has them, else the one whose log goes furthest.
    pub(super) members: &'a [v1::MasterReport],
    /// The last entry of the log of whoever told of them.
    last_log: u64,
}

impl<'a> Standing<'a> {
    pub(super) fn of(examined: &'a ClusterExamination) -> Self {
        let told = examined.masters.iter().filter_map(|master| match &master.presence {
            MasterPresence::There(told) => Some(&**told),
            MasterPresence::Silent(_) | MasterPresence::Starting(_) => None,
        });
        let told: Vec<&Told> = told.collect();
        // One that was cut off may still take itself for the leader, of an earlier term.
        let leader = told.iter().copied().filter(|told| leads(told)).max_by_key(|told| term(told));
        let furthest = told.iter().filter_map(|told| told.examination.as_ref().ok());
        let furthest = furthest.max_by_key(|said| said.last_log);
        let by_leader = leader.and_then(|leader| leader.examination.as_ref().ok());
        let told_by = by_leader.or(furthest);
        Self {
            told,
            leader,
            members: told_by.map_or(&[], |said| &said.members),
            last_log: told_by.map_or(0, |said| said.last_log),
        }
    }

    /// What this member told.
    fn told_by(&self, member: &v1::MasterReport) -> Option<&'a Told> {
        let is_it = |told: &&Told| {
            told.hello.membership.as_ref().is_some_and(|of| of.node == member.node_id && self.is_of_here(of))
        };
        self.told.iter().copied().find(is_it)
    }

    /// Whether a master is of the same cluster as most that is judged here: that of the leader, else of whoever is first.
    fn is_of_here(&self, membership: &v1::Membership) -> bool {
        let here =
            self.leader.or_else(|| self.told.iter().copied().find(|told| told.hello.membership.is_some()));
        let here = here.and_then(|told| told.hello.membership.as_ref());
        here.is_some_and(|here| {
            (&here.cluster_id, here.incarnation) == (&membership.cluster_id, membership.incarnation)
        })
    }
}

/// How a master is called.
pub(super) fn name(told: &Told) -> String {
    named(told.hello.slot, &told.hello.address)
}

fn named(slot: u32, address: &str) -> String {
    format!("master {slot} ({address})")
}

fn leads(told: &Told) -> bool {
    told.hello.membership.as_ref().is_some_and(|membership| membership.role == "LEADER")
}

fn term(told: &Told) -> u64 {
    told.hello.membership.as_ref().map_or(0, |membership| membership.term)
}

/// Whether a majority is there and somebody leads it.
pub(super) fn quorum(standing: &Standing<'_>) -> Finding {
    let voters: Vec<_> = standing.members.iter().filter(|member| member.votes).collect();
    let alive = voters.iter().filter(|member| standing.told_by(member).is_some()).count();
    let all = voters.len();
    let check = Check::Quorum;
    if all == 0 {
        return check.error(
            "cluster",
            "no master told who the masters are",
            "see what is said of each master",
        );
    }
    let has_majority = alive * 2 > all;
    let counted = format!("{alive} of {all} masters that vote answer");
    match standing.leader {
        Some(leader) if has_majority => {
            let said = format!("{counted}; {} leads in term {}", name(leader), term(leader));
            if alive == all {
                return check.ok("cluster", said);
            }
            let spare = alive - (all / 2 + 1);
            let advice = match spare {
                0 => "none more may fail: bring back those that do not answer".to_owned(),
                more => format!("{more} more may fail: bring back those that do not answer"),
            };
            check.warn("cluster", said, advice)
        }
        None if has_majority => check.error(
            "cluster",
            format!("{counted}, and none of them leads"),
            "an election takes a second or two: ask again; if it stays so, see whether they reach each other",
        ),
        _ => check.error(
            "cluster",
            format!("{counted}, which is no majority: nothing is acknowledged"),
            "start those that do not answer; if they are lost for good, restore a backup",
        ),
    }
}

/// Each master, and each address where none is.
pub(super) fn each(examined: &ClusterExamination, standing: &Standing<'_>) -> Vec<Finding> {
    let mut findings: Vec<_> =
        standing.members.iter().map(|member| of_member(member, standing, examined)).collect();
    let members: BTreeSet<&str> = standing.members.iter().map(|member| &member.address[..]).collect();
    let others = examined.masters.iter().filter_map(|master| match &master.presence {
        _ if members.contains(&master.address[..]) => foreign(master, standing),
        MasterPresence::Silent(error) => Some(Check::Master.warn(
            &master.address,
            format!("nobody answers there ({})", error.message),
            "no master of the cluster has this address: correct --masters, or start the one that is meant",
        )),
        MasterPresence::Starting(error) => Some(starting(&master.address, &error.message)),
        MasterPresence::There(_) => foreign(master, standing),
    });
    findings.extend(others);
    findings
}

fn starting(subject: &str, reason: &str) -> Finding {
    let advice = "wait until it has started; its log says what it waits for";
    Check::Master.error(subject, format!("it answers and is not ready: {reason}"), advice)
}

fn of_member(member: &v1::MasterReport, standing: &Standing<'_>, examined: &ClusterExamination) -> Finding {
    let (check, subject) = (Check::Master, named(member.slot, &member.address));
    let Some(told) = standing.told_by(member) else {
        let at = examined.masters.iter().find(|master| master.address == member.address);
        return match at.map(|master| &master.presence) {
            Some(MasterPresence::Starting(error)) => starting(&subject, &error.message),
            Some(MasterPresence::There(_)) => check.error(
                subject,
                "a master without this one's folder answers at its address",
                "if the folder was lost, wait: it joins under a new node id and gets the vote; else give each master a folder \
                 and an address of its own",
            ),
            Some(MasterPresence::Silent(error)) => silent(member, subject, &error.message),
            None => silent(member, subject, "it was not asked any more"),
        };
    };
    let role = told.hello.membership.as_ref().map_or("", |membership| &membership.role[..]);
    let said = match &told.examination {
        Ok(said) => said,
        Err(error) if error.kind == ErrorKind::Unsupported => {
            let message = format!("{role}; its release does not say how it is");
            return check.warn(subject, message, "give it the release of this command");
        }
        Err(error) => {
            let message = format!("{role}, and did not say how it is: {}", error.message);
            return check.error(
                subject,
                message,
                "look at its log and at its disk; if the disk was lost, start it with an empty --dir",
            );
        }
    };
    let behind = match leads(told) {
        true => said.last_log.saturating_sub(said.last_applied),
        false => standing.last_log.saturating_sub(said.last_applied),
    };
    let state = if behind > BEHIND_WARN { State::Warn } else { State::Ok };
    let message = format!("{role}, applied {} ({behind} behind)", said.last_applied);
    let advice = "it catches up by itself; if it does not, see its DISK and its log";
    check.finding(state, subject, message, advice)
}

fn silent(member: &v1::MasterReport, subject: String, reason: &str) -> Finding {
    let message = format!("it does not answer ({reason})");
    let advice = format!(
        "start it again, or see whether its machine and network are well; if it is gone for good, `forebay admin masters \
         remove {}`",
        member.slot
    );
    let state = if member.votes { State::Error } else { State::Warn };
    Check::Master.finding(state, subject, message, advice)
}

/// What is said of a master that is none of the cluster's; `None` of one that is.
fn foreign(master: &ExaminedMaster, standing: &Standing<'_>) -> Option<Finding> {
    let MasterPresence::There(told) = &master.presence else { return None };
    let (check, subject) = (Check::Master, name(told));
    let Some(membership) = &told.hello.membership else {
        let message =
            "it belongs to no cluster yet: it waits for the other masters of --peers, or to be taken in";
        return Some(check.error(
            subject,
            message,
            "its log says which; start the others, with the same --peers",
        ));
    };
    if !standing.is_of_here(membership) {
        let message = "it belongs to another cluster, or to another incarnation of this one";
        return Some(check.error(
            subject,
            message,
            "correct --masters, or give it the folder of this cluster",
        ));
    }
    let is_member = standing.members.iter().any(|member| member.node_id == membership.node);
    let unknown = !is_member && !standing.members.is_empty();
    unknown.then(|| {
        let advice = "it was taken out, or lost its place: stop it; with an empty --dir it joins anew";
        check.warn(subject, "the cluster does not know it any more", advice)
    })
}

/// Whether all run one release and know what the cluster may use.
pub(super) fn versions(standing: &Standing<'_>) -> Vec<Finding> {
    let releases: BTreeSet<&str> = standing
        .told
        .iter()
        .map(|told| &told.hello.version[..])
        .filter(|version| !version.is_empty())
        .collect();
    if releases.is_empty() {
        return Vec::new();
    }
    let check = Check::Version;
    let known: BTreeSet<u32> = standing.told.iter().map(|told| told.hello.feature_level_known).collect();
    let levels = standing.told.iter().filter_map(|told| told.examination.as_ref().ok());
    let level = levels.map(|said| said.feature_level).max();
    let level_said = level.map_or_else(String::new, |level| format!(", feature level {level}"));
    let listed = releases.iter().copied().collect::<Vec<_>>().join(", ");
    if releases.len() > 1 {
        let each: Vec<_> =
            standing.told.iter().map(|told| format!("{} has {}", name(told), told.hello.version)).collect();
        let message = format!("releases differ: {}{level_said}", each.join(", "));
        return vec![check.warn("masters", message, "end the upgrade: give all masters the same release")];
    }
    match (known.first(), level) {
        (Some(known), Some(level)) if *known > level => vec![check.warn(
            "masters",
            format!("release {listed}{level_said}; all that answer know {known}"),
            "once nobody is to go back, `forebay admin masters level --raise`",
        )],
        _ => vec![check.ok("masters", format!("release {listed}{level_said}"))],
    }
}

/// Whether all wait equally long for a leader: a leader counts on the lease that those who vote keep.
pub(super) fn timeouts(standing: &Standing<'_>) -> Option<Finding> {
    let said = |told: &'_ &Told| {
        let said = told.examination.as_ref().ok()?;
        (said.election_timeout_nanos > 0).then_some((said.election_timeout_nanos, said.reads_by_lease))
    };
    let timeouts: BTreeSet<u64> = standing.told.iter().filter_map(said).map(|(timeout, _)| timeout).collect();
    if timeouts.len() < 2 {
        return None;
    }
    let each = standing.told.iter().filter_map(|told| {
        said(told).map(|(timeout, _)| format!("{} has {:?}", name(told), Duration::from_nanos(timeout)))
    });
    let message = format!("--election-timeout differs: {}", each.collect::<Vec<_>>().join(", "));
    if standing.told.iter().filter_map(said).any(|(_, by_lease)| by_lease) {
        let advice =
            "give all the same, or leave --reads lease away: a leader may answer what is no longer so";
        return Some(Check::Master.error("masters", message, advice));
    }
    Some(Check::Master.warn(
        "masters",
        message,
        "give all the same: the shortest one decides when the leader is gone",
    ))
}

/// The clocks of masters and workers beside this machine's.
pub(super) fn clocks(standing: &Standing<'_>) -> Vec<Finding> {
    let mut findings: Vec<_> =
        standing.told.iter().filter_map(|told| Some(clock(name(told), told.clock?, ""))).collect();
    // Those that the leader hears of, else whoever hears of any.
    let told_by = standing.leader.or_else(|| {
        standing
            .told
            .iter()
            .copied()
            .find(|told| told.examination.as_ref().is_ok_and(|said| !said.worker_clocks.is_empty()))
    });
    let workers = told_by.and_then(|told| Some((told.clock?, told.examination.as_ref().ok()?)));
    for (by, said) in
        workers.into_iter().flat_map(|(by, said)| said.worker_clocks.iter().map(move |of| (by, of)))
    {
        let subject = format!("worker {} ({})", said.worker, said.address);
        let ahead_nanos = by.ahead_nanos.saturating_add(said.ahead_nanos);
        findings.push(clock(subject, ClockReading { ahead_nanos, ..by }, ", by its last heartbeat"));
    }
    findings
}

fn clock(subject: String, reading: ClockReading, how: &str) -> Finding {
    let off = Duration::from_nanos(reading.ahead_nanos.unsigned_abs());
    let certain = off.saturating_sub(reading.within);
    let state = match certain {
        off if off > CLOCK_ERROR => State::Error,
        off if off > CLOCK_WARN => State::Warn,
        _ => State::Ok,
    };
    let side = if reading.ahead_nanos < 0 { "behind" } else { "ahead of" };
    let message = format!(
        "{:.3} s {side} this machine's clock, within {:.3} s{how}",
        off.as_secs_f64(),
        reading.within.as_secs_f64()
    );
    let advice = "have chrony or NTP set it; if all differ alike, it is this machine's clock that is wrong";
    Check::Clock.finding(state, subject, message, advice)
}
