//! Histories of the namespace: what clients asked, when, and what they were told; and whether one tree, changed in one order
//! that keeps to the times, explains all of it.
//!
//! Nothing here knows a process, a network or a clock: whoever runs clients records them, and a history that was written to a
//! file is checked again from there. docs/adr/0029-how-histories-are-checked.md says why it is done this way.

mod checker;
mod history;
mod limits;
mod operation;
mod planted;
mod text;
mod tree;

pub use checker::{Checked, Effort, Violation, check};
pub use history::{Counts, History, Note, Recorded};
pub use operation::{Answer, ClientId, Inode, Mode, Operation, Outcome, ROOT, Refusal};
pub use planted::{Fault, Twin, plant};
pub use text::DefectiveLine;
pub use tree::Tree;
