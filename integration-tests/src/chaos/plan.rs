//! What happens to which master in one round, from a seed.

use std::fmt;
use std::time::Duration;

use crate::dice::Dice;
use crate::masters::{CutOff, Direction};

/// How many troubles a round has.
const TROUBLES: usize = 6;
/// How long a trouble lasts, in milliseconds.
const LASTS: std::ops::Range<usize> = 400..3000;
/// The peace after it.
const PEACE: std::ops::Range<usize> = 300..1500;
/// How far a clock is set forth or back, in seconds.
const CLOCK_JUMP_MAX: usize = 3600;
/// How much longer a sync takes, in milliseconds.
const SLOW: std::ops::Range<usize> = 20..400;
/// Of so many rounds in a hundred the masters have clocks that can be set.
const CLOCKS_PERCENT: usize = 25;

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It dies, and is started again.
    Kill,
    /// It is stopped by its operator, and started again.
    Restart,
    /// It stands still.
    Pause,
    /// All of the masters but one die at once, or the only one.
    KillMost,
    /// It dies and its disk is lost; it is started again with an empty one.
    Wipe,
    /// Its disk is full; the process may end of it.
    FullDisk,
    /// Its syncs take this much longer.
    SlowSyncs(Duration),
    /// It is cut off.
    CutOff(CutOff, Direction),
    /// Its clock jumps by so many seconds.
    Clock(i64),
}

/// To whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Whoever leads when it begins, or else master 0.
    Leader,
    /// This one.
    Master(usize),
}

/// One trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// What.
    pub kind: Kind,
    /// To whom.
    pub target: Target,
    /// For how long.
    pub lasts: Duration,
    /// How long nothing happens afterwards; with zero the next one begins before this one ends.
    pub peace: Duration,
}

/// All that happens in a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What it follows from.
    pub seed: u64,
    /// In their order.
    pub troubles: Vec<Planned>,
    /// Whether clocks can be set.
    pub clocks: bool,
}

impl Plan {
    /// What follows from a seed for so many masters.
    #[must_use]
    pub fn new(seed: u64, masters: usize) -> Self {
        let mut dice = Dice::new(seed);
        let clocks = dice.percent(CLOCKS_PERCENT);
        let mut troubles: Vec<Planned> = Vec::new();
        while troubles.len() < TROUBLES {
            let planned = planned(&mut dice, masters, clocks);
            // One disk in a round: the copies on two are what the promise stands on.
            let is_second_wipe =
                planned.kind == Kind::Wipe && troubles.iter().any(|of| of.kind == Kind::Wipe);
            if !is_second_wipe {
                troubles.push(planned);
            }
        }
        Self { seed, troubles, clocks }
    }

    /// How many troubles are of a kind.
    #[must_use]
    pub fn count(&self, is: impl Fn(Kind) -> bool) -> usize {
        self.troubles.iter().filter(|planned| is(planned.kind)).count()
    }
}

fn planned(dice: &mut Dice, masters: usize, clocks: bool) -> Planned {
    let millis = |dice: &mut Dice, range: std::ops::Range<usize>| {
        Duration::from_millis((range.start + dice.below(range.len())) as u64)
    };
    let target = if dice.percent(60) { Target::Leader } else { Target::Master(dice.below(masters)) };
    let kind = match dice.below(100) {
        0..=23 => Kind::Kill,
        24..=29 => Kind::Restart,
        30..=43 => Kind::Pause,
        44..=48 => Kind::KillMost,
        49..=56 if masters > 1 => Kind::Wipe,
        57..=62 => Kind::FullDisk,
        63..=72 => Kind::SlowSyncs(millis(dice, SLOW)),
        73..=79 if clocks => {
            let seconds = i64::try_from(1 + dice.below(CLOCK_JUMP_MAX)).expect("an hour");
            Kind::Clock(if dice.percent(50) { seconds } else { -seconds })
        }
        _ => {
            let from = [CutOff::Masters, CutOff::Masters, CutOff::All, CutOff::Clients];
            let from = if masters > 1 { *dice.one_of(&from) } else { CutOff::Clients };
            Kind::CutOff(from, *dice.one_of(&[Direction::In, Direction::Out, Direction::Both]))
        }
    };
    let lasts = millis(dice, LASTS);
    let peace = if dice.percent(25) { Duration::ZERO } else { millis(dice, PEACE) };
    Planned { kind, target, lasts, peace }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill => f.write_str("kill"),
            Self::Restart => f.write_str("restart"),
            Self::Pause => f.write_str("pause"),
            Self::KillMost => f.write_str("kill all but one"),
            Self::Wipe => f.write_str("wipe"),
            Self::FullDisk => f.write_str("full disk"),
            Self::SlowSyncs(by) => write!(f, "syncs slower by {by:?}"),
            Self::CutOff(from, direction) => write!(f, "cut off from {from:?}, {direction:?}"),
            Self::Clock(seconds) => write!(f, "clock {seconds:+} s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_plan_and_all_kinds_come_up() {
        assert_eq!(Plan::new(7, 3), Plan::new(7, 3));
        let plans: Vec<_> = (0..200).map(|seed| Plan::new(seed, 3)).collect();
        let count = |is: fn(Kind) -> bool| plans.iter().map(|plan| plan.count(is)).sum::<usize>();
        assert!(plans.iter().all(|plan| plan.count(|kind| kind == Kind::Wipe) <= 1));
        for (kind, count) in [
            ("kill", count(|kind| kind == Kind::Kill)),
            ("restart", count(|kind| kind == Kind::Restart)),
            ("pause", count(|kind| kind == Kind::Pause)),
            ("kill all but one", count(|kind| kind == Kind::KillMost)),
            ("wipe", count(|kind| kind == Kind::Wipe)),
            ("full disk", count(|kind| kind == Kind::FullDisk)),
            ("slow syncs", count(|kind| matches!(kind, Kind::SlowSyncs(_)))),
            ("one-way cut", count(|kind| matches!(kind, Kind::CutOff(_, Direction::In | Direction::Out)))),
            ("two-way cut", count(|kind| matches!(kind, Kind::CutOff(_, Direction::Both)))),
            ("clock", count(|kind| matches!(kind, Kind::Clock(_)))),
        ] {
            assert!(count >= 10, "{kind}: {count}");
        }
    }

    #[test]
    fn a_single_master_keeps_its_disk() {
        let plans = (0..200).map(|seed| Plan::new(seed, 1));
        assert_eq!(plans.map(|plan| plan.count(|kind| kind == Kind::Wipe)).sum::<usize>(), 0);
    }
}
