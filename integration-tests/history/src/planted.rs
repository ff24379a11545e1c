//! Faults put into a history that has none, so that whoever checks it can show that they are found.
//!
//! A further client does a few things, one right after the other, at one moment of the history, with a directory that nobody else
//! touches. What it is told is what a cluster with the fault would tell, or, as the twin, one without.

use crate::history::{History, Recorded};
use crate::operation::{Answer, ClientId, Inode, Mode, Operation, Outcome, Refusal};

/// The client of what is planted.
const CLIENT: ClientId = ClientId::MAX;
/// The directory of it; no other operation may name it.
const PATH: &str = "/planted";
const INODE: Inode = Inode::MAX;

/// What a broken cluster does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A read tells what was before a write that was acknowledged before the read began.
    StaleRead,
    /// A write is acknowledged, and nothing is left of it.
    LostWrite,
    /// A mutation is carried out, and later once more, as for a retry that nobody knew to be one.
    DoubleExecution,
    /// Of two writes, one after the other, the first one wins.
    Inversion,
}

/// What the planted client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twin {
    /// As by a cluster with the fault.
    Faulty,
    /// As by one without: a control.
    Right,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::StaleRead, Self::LostWrite, Self::DoubleExecution, Self::Inversion];

    fn told(self, twin: Twin) -> Vec<(Operation, Outcome)> {
        let done = || Outcome::Ok(Answer::Done);
        let path = || PATH.to_owned();
        let make = |mode| (Operation::MakeDirectory { path: path(), mode }, Outcome::Ok(Answer::Made(INODE)));
        let set = |mode| (Operation::SetMode { path: path(), mode }, done());
        let remove = |outcome| (Operation::RemoveDirectory { path: path() }, outcome);
        let stat =
            |mode: Mode| (Operation::Stat { path: path() }, Outcome::Ok(Answer::Seen { inode: INODE, mode }));
        let missing = Outcome::Refused(Refusal::NotFound);
        match (self, twin) {
            (Self::StaleRead, Twin::Faulty) => vec![make(1), set(2), stat(1), remove(done())],
            (Self::StaleRead, Twin::Right) => vec![make(1), set(2), stat(2), remove(done())],
            (Self::LostWrite, Twin::Faulty) => vec![make(1), remove(missing)],
            (Self::LostWrite, Twin::Right) => vec![make(1), remove(done())],
            (Self::DoubleExecution, Twin::Faulty) => vec![make(1), remove(done()), stat(1), remove(done())],
            (Self::DoubleExecution, Twin::Right) => {
                vec![make(1), remove(done()), (Operation::Stat { path: path() }, missing)]
            }
            (Self::Inversion, Twin::Faulty) => vec![make(1), set(2), set(3), stat(2), remove(done())],
            (Self::Inversion, Twin::Right) => vec![make(1), set(2), set(3), stat(3), remove(done())],
        }
    }
}

/// The history with what is planted right after `at`, each operation a nanosecond after the one before.
#[must_use]
pub fn plant(history: &History, at: u64, fault: Fault, twin: Twin) -> History {
    let mut planted = history.clone();
    let moments = at..;
    let further = fault.told(twin).into_iter().zip(moments).map(|((operation, outcome), moment)| Recorded {
        client: CLIENT,
        called: moment,
        returned: moment,
        operation,
        outcome,
    });
    planted.operations.extend(further);
    planted
}
