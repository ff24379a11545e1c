//! Any job: what its shell drives, whichever kind it is.

use std::time::Duration;

use forebay_types::JobProgress;

use crate::event::{Action, Event};
use crate::load::LoadJob;
use crate::metadata_load::MetadataLoadJob;

/// A job of one of the kinds that there are.
#[derive(Debug)]
pub enum Job {
    /// Brings files into the cache.
    Load(Box<LoadJob>),
    /// Has names and attributes known.
    MetadataLoad(Box<MetadataLoadJob>),
}

impl Job {
    /// Takes what happened at `now`, which is counted from any fixed moment, and gives what is to be done.
    pub fn handle(&mut self, now: Duration, event: Event) -> Vec<Action> {
        match self {
            Self::Load(job) => job.handle(now, event),
            Self::MetadataLoad(job) => job.handle(now, event),
        }
    }

    /// How far it is now.
    #[must_use]
    pub fn progress(&self) -> JobProgress {
        match self {
            Self::Load(job) => job.progress(),
            Self::MetadataLoad(job) => job.progress(),
        }
    }

    /// How many directories were gone through, by a job that counts them.
    #[must_use]
    pub fn directories_done(&self) -> Option<u64> {
        match self {
            Self::Load(_) => None,
            Self::MetadataLoad(job) => Some(job.directories_done()),
        }
    }
}
