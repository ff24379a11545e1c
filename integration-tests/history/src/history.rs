//! A history: each operation with its call and its return on one clock, and notes of what was done to the cluster meanwhile.

use crate::operation::{ClientId, Operation, Outcome};

/// One operation of one client. Times are nanoseconds of one clock that never goes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Who asked.
    pub client: ClientId,
    /// When it began to ask.
    pub called: u64,
    /// When it knew the outcome; with an unknown one, when it gave up.
    pub returned: u64,
    /// What it asked.
    pub operation: Operation,
    /// How that ended.
    pub outcome: Outcome,
}

/// What was done to the cluster, for whoever reads the history; a check takes no notice of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// When, on the clock of the operations.
    pub at: u64,
    /// What.
    pub text: String,
}

/// All that the clients of one cluster did from its first moment on, in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// What the run followed from.
    pub seed: u64,
    /// The operations.
    pub operations: Vec<Recorded>,
    /// The notes.
    pub notes: Vec<Note>,
}

/// How the operations of a history ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Answered.
    pub ok: usize,
    /// Refused.
    pub refused: usize,
    /// Mutations of which nobody knows the outcome.
    pub unknown: usize,
    /// Reads without an answer, which tell nothing.
    pub unanswered_reads: usize,
    /// The longest time without the return of a mutation that was answered or refused, between two of them.
    pub longest_without_write_nanos: u64,
}

impl History {
    /// How its operations ended.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for recorded in &self.operations {
            match (&recorded.outcome, recorded.operation.is_mutation()) {
                (Outcome::Ok(_), _) => counts.ok += 1,
                (Outcome::Refused(_), _) => counts.refused += 1,
                (Outcome::Unknown(_), true) => counts.unknown += 1,
                (Outcome::Unknown(_), false) => counts.unanswered_reads += 1,
            }
        }
        let is_written = |of: &&Recorded| of.operation.is_mutation() && !of.outcome.is_unknown();
        let mut written: Vec<_> =
            self.operations.iter().filter(is_written).map(|recorded| recorded.returned).collect();
        written.sort_unstable();
        let gaps = written.windows(2).map(|pair| pair[1] - pair[0]);
        counts.longest_without_write_nanos = gaps.max().unwrap_or_default();
        counts
    }
}
