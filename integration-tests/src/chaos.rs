//! Clients that change one small tree while masters meet with trouble, and the question whether what they were told makes sense.
//!
//! [`Plan`] decides from a seed what happens to which master and for how long, `trouble` does it, [`Clients`] ask and note what
//! they are told, and forebay-history judges that. The order in which clients are answered is the machine's, so a seed repeats the
//! trouble and the questions, and not each answer.

mod clients;
mod plan;
mod question;
mod recorder;
mod round;
mod trouble;
mod watched;
mod workload;

pub use clients::{Asker, Clients, Patience};
pub use plan::{Kind, Plan, Planned, Target};
pub use recorder::Recorder;
pub use round::{Ended, Round, RoundSettings, run_round};
pub use watched::Watched;
