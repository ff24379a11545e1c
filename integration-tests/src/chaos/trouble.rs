//! Makes what is planned happen, and mends it.

use std::time::Instant;

use rustix::process::Signal;

use super::plan::{Kind, Planned, Target};
use super::recorder::Recorder;
use crate::masters::Masters;

/// A trouble that is there.
#[derive(Debug)]
pub(super) struct Trouble {
    kind: Kind,
    masters: Vec<usize>,
    until: Instant,
}

/// Makes trouble, and notes it. It lasts until it is [mended](Trouble::mend).
pub(super) fn begin(planned: &Planned, masters: &mut Masters, recorder: &Recorder) -> Trouble {
    let target = match planned.target {
        Target::Master(master) => master,
        Target::Leader => masters.leader().unwrap_or_default(),
    };
    let count = masters.count();
    let met = match planned.kind {
        Kind::KillMost if count > 1 => (target..target + count - 1).map(|master| master % count).collect(),
        _ => vec![target],
    };
    let slots: Vec<_> = met.iter().map(|master| (master + 1).to_string()).collect();
    recorder.note(format!("master {}: {}", slots.join(" and "), planned.kind));
    met.iter().for_each(|master| strike(planned.kind, *master, masters));
    Trouble { kind: planned.kind, masters: met, until: Instant::now() + planned.lasts }
}

fn strike(kind: Kind, master: usize, masters: &mut Masters) {
    match kind {
        Kind::Kill | Kind::KillMost => {
            masters.kill(master);
        }
        Kind::Restart => masters.end(master),
        Kind::Pause => masters.signal(master, Signal::STOP),
        Kind::Wipe => masters.wipe(master),
        Kind::FullDisk => masters.fill_disk(master),
        Kind::SlowSyncs(by) => masters.make_syncs_slow(master, by),
        Kind::CutOff(from, direction) => masters.cut_off(master, from, direction),
        Kind::Clock(seconds) => masters.set_clock(master, seconds),
    }
}

impl Trouble {
    /// Whether it lasts no longer.
    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Whether a master has to be taken in again.
    pub(super) fn cost_a_vote(&self) -> bool {
        self.kind == Kind::Wipe
    }

    /// Mends it, and notes that.
    pub(super) fn mend(self, masters: &mut Masters, recorder: &Recorder) {
        for master in self.masters {
            recorder.note(format!("master {}: {} is over", master + 1, self.kind));
            match self.kind {
                Kind::Kill | Kind::KillMost | Kind::Restart | Kind::Wipe => start(masters, master),
                Kind::Pause => masters.signal(master, Signal::CONT),
                Kind::FullDisk => {
                    masters.make_room(master);
                    // It may have ended rather than go on without its disk.
                    if !masters.is_running(master) {
                        recorder.note(format!("master {}: had ended", master + 1));
                        masters.kill(master);
                        masters.spawn(master);
                    }
                }
                Kind::SlowSyncs(_) => masters.make_syncs_fast(master),
                Kind::CutOff(from, direction) => masters.mend(master, from, direction),
                // A clock that was set stays so.
                Kind::Clock(_) => {}
            }
        }
    }
}

/// Two troubles may have ended one master.
fn start(masters: &mut Masters, master: usize) {
    if !masters.is_started(master) {
        masters.spawn(master);
    }
}
