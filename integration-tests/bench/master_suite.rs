//! The suite `master`: mutations and questions of the namespace, with one master and with three, how long a fail-over takes,
//! and what many files cost a master.
//!
//! Every proposal is synced before it is answered. Masters, clients and baseline share the machine. What an empty call
//! of the same client takes is the most that any call can reach.

mod load;
mod size;

use std::time::Duration;

use forebay_integration_tests::{MasterCluster, Syncs};

use self::load::{Load, Operation};
use crate::comparison::{Effort, Row, Side};

const EMPTY_CALL: &str = "an empty call of the same client";
/// Callers at once, from one that waits for each answer to as many as a busy cluster has.
const CALLERS: [usize; 3] = [1, 32, 256];
const MANY: usize = 256;
/// How long a sync takes where it is slowed down.
const SLOW_SYNC: Duration = Duration::from_millis(2);

/// What of the suite is measured where not all of it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    One,
    Three,
    Syncs,
    FailOver,
    Size,
}

impl Part {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "one" => Some(Self::One),
            "three" => Some(Self::Three),
            "syncs" => Some(Self::Syncs),
            "fail-over" => Some(Self::FailOver),
            "size" => Some(Self::Size),
            _ => None,
        }
    }
}

/// Runs the suite, or a part of it; `files` are those of `size`, `kills` those of `fail-over`.
pub(crate) fn run(effort: Effort, part: Option<Part>, files: Option<u64>, kills: Option<usize>) -> Vec<Row> {
    let is_wanted = |wanted| part.is_none_or(|part| part == wanted);
    let mut rows = Vec::new();
    for (masters, part) in [(1, Part::One), (3, Part::Three)] {
        if !is_wanted(part) {
            continue;
        }
        let cluster = MasterCluster::start(masters, Syncs::AsTheDisk);
        let load = Load::new(&cluster, effort.pick(Duration::from_secs(2), Duration::from_millis(300)));
        for callers in CALLERS {
            for operation in Operation::ALL {
                let case = format!("{operation}, {masters} masters, {callers} callers");
                rows.push(Row::measure(effort, &case, "1/s", EMPTY_CALL, |side| match side {
                    Side::Ours => load.rate(operation, callers),
                    Side::Baseline => load.rate(Operation::Empty, callers),
                }));
            }
        }
    }
    if is_wanted(Part::Three) {
        rows.push(three_beside_one(effort));
    }
    if is_wanted(Part::Syncs) {
        rows.extend(slow_syncs(effort));
    }
    if is_wanted(Part::FailOver) {
        rows.extend(fail_over(kills.unwrap_or(effort.pick(200, 10))));
    }
    if is_wanted(Part::Size) {
        rows.extend(size::rows(effort, files.unwrap_or(effort.pick(10_000_000, 100_000))));
    }
    rows
}

/// What replication costs a mutation.
fn three_beside_one(effort: Effort) -> Row {
    let clusters = [3, 1].map(|masters| MasterCluster::start(masters, Syncs::AsTheDisk));
    let duration = effort.pick(Duration::from_secs(2), Duration::from_millis(300));
    let [three, one] = [0, 1].map(|place: usize| Load::new(&clusters[place], duration));
    Row::measure(effort, "create, 3 masters, 256 callers", "1/s", "1 master", |side| match side {
        Side::Ours => three.rate(Operation::Create, MANY),
        Side::Baseline => one.rate(Operation::Create, MANY),
    })
}

/// Whether those who wait at the same time share a sync: beside one caller, and beside the syncs of a lone one.
fn slow_syncs(effort: Effort) -> Vec<Row> {
    let cluster = MasterCluster::start(1, Syncs::Longer(SLOW_SYNC));
    let load = Load::new(&cluster, effort.pick(Duration::from_secs(3), Duration::from_secs(1)));
    let many = Row::measure(effort, "create, a sync takes 2 ms, 256 callers", "1/s", "1 caller", |side| {
        load.rate(Operation::Create, if side == Side::Ours { MANY } else { 1 })
    });
    let lone =
        Row::measure(effort, "create, a sync takes 2 ms, 1 caller (median)", "1/s", "one sync", |side| {
            match side {
                Side::Ours => 1.0 / load.median(Operation::Create, 1).as_secs_f64(),
                Side::Baseline => 1.0 / SLOW_SYNC.as_secs_f64(),
            }
        });
    vec![many, lone]
}

/// For how long nothing is acknowledged after the leader was killed, as a client sees it. The killed one comes back
/// before the next goes.
fn fail_over(kills: usize) -> [Row; 2] {
    let mut cluster = MasterCluster::start(3, Syncs::AsTheDisk);
    let mut pauses: Vec<Duration> = (0..kills)
        .map(|_| {
            let load = Load::new(&cluster, Duration::ZERO);
            let pause = load.pause_while(|| {
                let leader = cluster.leader();
                cluster.kill(leader);
            });
            cluster.restart_killed();
            pause
        })
        .collect();
    pauses.sort_unstable();
    let at = |percent: usize| pauses[(pauses.len() - 1) * percent / 100];
    eprintln!(
        "fail-over, {kills} kills of the leader: median {:?}, p90 {:?}, p99 {:?}, most {:?}; no call failed",
        at(50),
        at(90),
        at(99),
        at(100)
    );
    let row = |what: &str, percent: usize, bar: Duration, bar_name| {
        let case = format!("fail-over, {what} of {kills} kills");
        Row::once(&case, "1/s", 1.0 / at(percent).as_secs_f64(), 1.0 / bar.as_secs_f64(), bar_name)
    };
    [
        row("median", 50, Duration::from_secs(2), "a pause of 2 s"),
        row("p99", 99, Duration::from_secs(3), "a pause of 3 s"),
    ]
}
