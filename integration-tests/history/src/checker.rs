//! Whether a history is linearizable: whether there is an order of its operations that keeps to their times, and in which one
//! tree gives each answer.
//!
//! The events are taken in the order of time, and with them goes a *frontier*: every way in which what has returned so far can
//! be explained, as the tree that it leads to and those of the operations under way that it has carried out already. An
//! operation is carried out no earlier than an explanation of a return needs it (the just-in-time search of G. Lowe, Testing
//! for linearizability, 2017; after J. Wing and C. Gong, 1993), and what cannot matter to that return waits. Where nothing is under way the frontier is a set of trees, so
//! quiet points cut the work without being looked for.
//!
//! Invariants: a verdict follows from the history alone, since what bounds a check is counted and not timed; when a bound is
//! met, the check says so and judges nothing.

mod conflicts;
mod events;
mod frontier;
mod trees;

#[cfg(test)]
mod tests;

use std::fmt;

use crate::history::{History, Recorded};
use events::{Event, events};
use frontier::{Bounds, Frontier};

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// One order explains all of it.
    Linearizable(Effort),
    /// Nothing does.
    Violated(Box<Violation>),
    /// It would have taken more memory or time than a check may have: nothing is known of what follows.
    NotDecided {
        /// The bound that was met.
        bound: &'static str,
        /// How many operations had returned by then.
        returned: usize,
    },
}

/// How hard it was to decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Moments at which nothing was under way but what was given up with an unknown outcome.
    pub quiet_points: usize,
    /// The most ways of the past that were told apart at one moment.
    pub configurations_most: usize,
    /// Mutations with an unknown outcome that later answers show to have been carried out.
    pub unknown_found_done: usize,
    /// Operations that were tried.
    pub steps: u64,
}

/// The first return that no way of the past explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The operation that returned.
    pub recorded: Recorded,
    /// What the tree may have been before anything that is under way; some of it if there are many.
    pub trees: Vec<String>,
    /// How many there are.
    pub trees_count: usize,
    /// What else was under way, or had an unknown outcome.
    pub under_way: Vec<Recorded>,
}

/// Checks a history of a cluster that was empty at its begin.
#[must_use]
pub fn check(history: &History) -> Checked {
    check_within(history, Bounds::default())
}

fn check_within(history: &History, bounds: Bounds) -> Checked {
    let mut frontier = Frontier::new(&history.operations, bounds);
    let mut returned = 0;
    for event in events(&history.operations) {
        let taken = match event {
            Event::Called(operation) => frontier.call(operation),
            Event::Returned(operation) => {
                let before = frontier.before();
                let taken = frontier.take_return(operation);
                if taken.is_ok() && frontier.is_empty() {
                    return Checked::Violated(Box::new(frontier.violation(before, operation)));
                }
                returned += 1;
                taken
            }
        };
        if let Err(bound) = taken {
            return Checked::NotDecided { bound: bound.0, returned };
        }
    }
    Checked::Linearizable(frontier.effort())
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linearizable(effort) => write!(
                f,
                "linearizable ({} quiet points, at most {} ways of the past, {} unknown outcomes found done)",
                effort.quiet_points, effort.configurations_most, effort.unknown_found_done
            ),
            Self::Violated(violation) => write!(f, "not linearizable: {violation}"),
            Self::NotDecided { bound, returned } => {
                write!(f, "not decided: {bound} reached after {returned} operations had returned")
            }
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "nothing explains `{}`", self.recorded)?;
        writeln!(f, "  {} trees were possible before, among them:", self.trees_count)?;
        self.trees.iter().try_for_each(|tree| writeln!(f, "    {tree}"))?;
        write!(f, "  under way, or given up with an unknown outcome: {}", self.under_way.len())?;
        self.under_way.iter().try_for_each(|recorded| write!(f, "\n    {recorded}"))
    }
}
