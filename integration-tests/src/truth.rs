//! Whether what a mount shows is what its bucket held, within a bound, while the bucket is changed at random.
//!
//! [`Workload`] decides from a seed what is changed, [`Writer`] does it, and [`Reader`]s look at it by every path.
//! [`Witness`] notes each change with its moments and has each observation judged at once by [`History`], which is pure
//! and whose memory grows with the changes only.

mod checker;
mod contents;
mod names;
mod reader;
mod requests;
mod witness;
mod workload;
mod writer;

pub use checker::{History, Moment, Observation, Seen, State, Wrong};
pub use contents::{Contents, TornAt, contents_of, numbered};
pub use names::{Key, Names};
pub use reader::{Place, Reader, Way};
pub use requests::Requests;
pub use witness::{Violation, Witness};
pub use workload::{Operation, Workload};
pub use writer::Writer;
