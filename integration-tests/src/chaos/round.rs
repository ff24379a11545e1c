//! One round: a fresh cluster, clients, trouble, peace, and the verdict on what the clients were told.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_history::{Checked, ClientId, Counts, History, Operation, Outcome, check};

use super::clients::{Clients, Patience};
use super::plan::{Kind, Plan};
use super::recorder::Recorder;
use super::trouble::{self, Trouble};
use crate::masters::{Clocks, Masters};

/// Clients that wait for an answer as long as it takes.
const PATIENT: ClientId = 5;
/// Clients that give up.
const IMPATIENT: ClientId = 1;
/// The client that waits for peace, and the one that reads all in the end.
const PEACE: ClientId = 100;
const READER: ClientId = 101;
/// A round has at least so many operations.
const OPERATIONS_MIN: usize = 500;
/// How long it may take for them once the trouble is over.
const OPERATIONS_WITHIN: Duration = Duration::from_secs(60);
/// Within this time after the last trouble writes are answered again, on a busy machine.
const WRITABLE_WITHIN: Duration = Duration::from_secs(30);
/// How often it is looked at what is under way.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// What a run of rounds is like.
#[derive(Clone, Debug)]
pub struct RoundSettings {
    /// How many masters.
    pub masters: usize,
    /// Where the history of a round goes that is not in order.
    pub histories: PathBuf,
}

/// How a round ended.
#[derive(Clone, Debug)]
pub enum Ended {
    /// What clients were told makes sense.
    InOrder,
    /// It does not, or something else happened that must not.
    NotInOrder(String),
    /// The check met a bound.
    NotDecided(String),
}

/// One round.
#[derive(Debug)]
pub struct Round {
    /// What was planned.
    pub plan: Plan,
    /// What clients asked and were told.
    pub history: History,
    /// How the operations ended.
    pub counts: Counts,
    /// What the check said.
    pub checked: Checked,
    /// How it ended.
    pub ended: Ended,
    /// Where the history is, if it was kept.
    pub file: Option<PathBuf>,
    /// How long it took.
    pub took: Duration,
}

/// Plays the round of a seed.
///
/// # Panics
/// When the machine cannot do what a round needs, or a master does not come up where nothing is wrong.
#[must_use]
pub fn run_round(seed: u64, settings: &RoundSettings) -> Round {
    let begun = Instant::now();
    let plan = Plan::new(seed, settings.masters);
    let clocks = if plan.clocks { Clocks::Settable } else { Clocks::Real };
    let mut masters = Masters::start(settings.masters, clocks);
    let recorder = Arc::new(Recorder::new(seed));
    let mut clients = Clients::new(&masters, Arc::clone(&recorder));
    for client in 0..PATIENT + IMPATIENT {
        let patience = if client < PATIENT { Patience::Patient } else { Patience::Impatient };
        clients.begin(client, seed.wrapping_mul(1000).wrapping_add(u64::from(client)), patience);
    }
    make_trouble(&plan, &mut masters, &recorder);
    let mut wrong = wait_for_peace(&clients, &recorder);
    clients.stop();
    clients.read_all(READER);
    for master in (0..masters.count()).filter(|master| !masters.is_running(*master)) {
        wrong.push(format!("master {} has ended by itself", master + 1));
    }
    let history = recorder.history();
    wrong.extend(odd_outcomes(&history.operations));
    wrong.extend(masters.panics());
    let checked = check(&history);
    let ended = match &checked {
        Checked::Violated(violation) => Ended::NotInOrder(violation.to_string()),
        _ if !wrong.is_empty() => Ended::NotInOrder(wrong.join("\n")),
        Checked::NotDecided { .. } => Ended::NotDecided(checked.to_string()),
        Checked::Linearizable(_) => Ended::InOrder,
    };
    let file = (!matches!(ended, Ended::InOrder)).then(|| {
        let file = settings.histories.join(format!("chaos-{seed}.history"));
        keep(&file, &history.to_string());
        keep(&file.with_extension("log"), &masters.logs());
        file
    });
    let counts = history.counts();
    Round { plan, history, counts, checked, ended, file, took: begun.elapsed() }
}

fn make_trouble(plan: &Plan, masters: &mut Masters, recorder: &Recorder) {
    let mut there = Vec::new();
    for planned in &plan.troubles {
        there.push(trouble::begin(planned, masters, recorder));
        if planned.peace.is_zero() && there.len() == 1 {
            continue;
        }
        mend(&mut there, masters, recorder);
        std::thread::sleep(planned.peace);
    }
    mend(&mut there, masters, recorder);
    recorder.note("all is mended");
}

/// Ends each trouble when its time is over.
fn mend(there: &mut Vec<Trouble>, masters: &mut Masters, recorder: &Recorder) {
    // Whoever is to be taken in again needs the others.
    let is_vote_lost = there.iter().any(Trouble::cost_a_vote);
    for trouble in there.drain(..) {
        while !trouble.is_over() {
            std::thread::sleep(LOOK_INTERVAL);
        }
        trouble.mend(masters, recorder);
    }
    if is_vote_lost {
        masters.wait_for_voters(masters.count());
    }
}

/// Waits until writes are answered, and until enough was asked. What is wrong with that.
fn wait_for_peace(clients: &Clients, recorder: &Recorder) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mended, mode) = (Instant::now(), clients.new_mode());
    let asker = clients.connect_to_all(PEACE);
    let write = || asker.ask(Operation::SetMode { path: "/a".into(), mode });
    while write().is_unknown() && mended.elapsed() < WRITABLE_WITHIN {}
    if mended.elapsed() > WRITABLE_WITHIN {
        wrong.push(format!("no write was answered within {WRITABLE_WITHIN:?} after the last trouble"));
    }
    let end = Instant::now() + OPERATIONS_WITHIN;
    while recorder.count() < OPERATIONS_MIN && Instant::now() < end {
        std::thread::sleep(LOOK_INTERVAL);
    }
    if recorder.count() < OPERATIONS_MIN {
        wrong.push(format!("only {} of {OPERATIONS_MIN} operations were answered", recorder.count()));
    }
    wrong
}

/// Answers that no trouble explains.
fn odd_outcomes(operations: &[forebay_history::Recorded]) -> Vec<String> {
    const OF_TROUBLE: [&str; 7] =
        ["UNAVAILABLE", "TIMED_OUT", "SESSION_EXPIRED", "NOT_LEADER", "NO_SPACE", "IO", "given"];
    let is_odd = |outcome: &Outcome| match outcome {
        Outcome::Unknown(why) => !OF_TROUBLE.iter().any(|kind| why.split(' ').next() == Some(kind)),
        _ => false,
    };
    operations.iter().filter(|of| is_odd(&of.outcome)).map(|of| format!("odd answer: {of}")).collect()
}

fn keep(file: &Path, text: &str) {
    std::fs::write(file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, counts, checked, took, .. } = self;
        let kills = plan.count(|kind| matches!(kind, Kind::Kill | Kind::KillMost | Kind::Wipe));
        let cuts = plan.count(|kind| matches!(kind, Kind::CutOff(..)));
        let pauses = plan.count(|kind| matches!(kind, Kind::Pause));
        let others = plan.troubles.len() - kills - cuts - pauses;
        let operations = counts.ok + counts.refused + counts.unknown + counts.unanswered_reads;
        write!(
            f,
            "seed {}: {kills} kills, {cuts} partitions, {pauses} pauses, {others} other troubles; ",
            plan.seed
        )?;
        write!(f, "{operations} operations: {} ok, {} refused, ", counts.ok, counts.refused)?;
        write!(f, "{} unknown, {} reads unanswered; ", counts.unknown, counts.unanswered_reads)?;
        let without = Duration::from_nanos(counts.longest_without_write_nanos);
        write!(
            f,
            "no write for {:.1} s at most; {:.0} s; {checked}",
            without.as_secs_f64(),
            took.as_secs_f64()
        )
    }
}
