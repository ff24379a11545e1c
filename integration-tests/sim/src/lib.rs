//! A seeded simulation of a whole cluster in one thread: the real pure parts of it in shells that only know simulated
//! time, networks, disks and under-stores, checked at each answer against a model of what was allowed.
//!
//! A seed repeats its run exactly. docs/adr/0008-a-simulator-around-the-real-cores.md says what is real and what is not.

mod client;
mod executor;
mod history;
mod job;
mod limits;
mod master;
mod network;
mod oracle;
mod plan;
mod random;
mod registry;
mod run;
mod store;
mod trace;
mod trouble;
mod worker;
mod world;

pub use oracle::{Counts, Violation};
pub use plan::{Fault, Plan, Planted};
pub use run::{Outcome, run, run_with_lines, shrink};
