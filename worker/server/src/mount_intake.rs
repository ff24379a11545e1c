//! Takes in the master's lists of mounts. One that takes long is taken in beside the heartbeats: a reference may name a
//! file on a file system that hangs.
//!
//! One list at a time. The master sends the list with each answer until the worker asks with its revision; a long list
//! comes in pages, which are asked for one after the other and taken in as a whole.

use std::sync::Arc;

use forebay_proto::v1;
use forebay_runtime::BootInstant;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::core::WorkerCore;
use crate::error::ReadError;
use crate::limits::{MOUNT_RETRY_AFTER, MOUNTS_PATIENCE};

/// How far the worker's mounts follow the master's.
pub(crate) struct MountIntake {
    /// The list that was taken in last; 0 before the first.
    revision: u64,
    /// When the mounts that cannot be set up are tried again.
    retry_at: Option<BootInstant>,
    /// The pages of a list that came so far, and where it goes on.
    begun: Option<(v1::MountsPlace, Vec<v1::MountCredentials>)>,
    /// The list that is being taken in; whether all of its mounts could be set up.
    under_way: Option<(u64, BoxFuture<'static, Result<bool, ReadError>>)>,
}

/// What is asked for with a heartbeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The list that need not be sent; 0 asks for the whole list, also where a mount is to be tried again.
    pub(crate) known: u64,
    /// Where a list that came in part goes on.
    pub(crate) place: Option<v1::MountsPlace>,
}

/// What the master answered.
#[derive(Debug, Default)]
pub(crate) struct Answered {
    pub(crate) revision: u64,
    pub(crate) mounts: Vec<v1::MountCredentials>,
    /// The last one of `mounts` if more follow, else 0.
    pub(crate) end_at: u32,
}

impl MountIntake {
    pub(crate) fn new() -> Self {
        Self { revision: 0, retry_at: None, begun: None, under_way: None }
    }

    /// What to ask for.
    pub(crate) fn ask(&self, now: BootInstant) -> Asked {
        let is_due = self.retry_at.is_some_and(|at| at <= now) || self.begun.is_some();
        let place = self.begun.as_ref().map(|(place, _)| *place);
        Asked { known: if is_due { 0 } else { self.revision }, place }
    }

    /// Whether a list was taken in ever.
    pub(crate) const fn has_any(&self) -> bool {
        self.revision != 0
    }

    /// Whether the rest of a list is to be asked for at once.
    pub(crate) const fn has_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// Takes in the list that came as an answer to `asked` if it is whole now, and waits for that, but not for long.
    pub(crate) async fn take(&mut self, core: &Arc<WorkerCore>, asked: Asked, answered: Answered) {
        let revision = answered.revision;
        if revision == asked.known || self.under_way.is_some() {
            self.begun = None;
            return;
        }
        let Some(mounts) = self.whole(asked, answered) else { return };
        let (disk, table, life) = (core.disk.clone(), Arc::clone(core), core.mounts.life());
        // Connecting needs the runtime, which a blocking thread of it has.
        let taking = async move { disk.run(move || table.mounts.replace(life, mounts)).await };
        self.under_way = Some((revision, taking.boxed()));
        if tokio::time::timeout(MOUNTS_PATIENCE, self.taken_in(core)).await.is_err() {
            tracing::warn!(
                seconds = MOUNTS_PATIENCE.as_secs(),
                "the list of mounts is not taken in yet; a file that an option refers to cannot be read for so long"
            );
        }
    }

    /// Puts a page to those before it. The list, once it is whole.
    fn whole(&mut self, asked: Asked, answered: Answered) -> Option<Vec<v1::MountCredentials>> {
        let Answered { revision, mounts: mut page, end_at } = answered;
        let (place, mut mounts) = match (self.begun.take(), asked.place) {
            (Some((place, mounts)), Some(asked)) if place == asked && place.revision == revision => {
                (place, mounts)
            }
            // Another list than the one that was begun, which the master sends from its first mount on.
            _ => (v1::MountsPlace { revision, after: 0 }, Vec::new()),
        };
        mounts.append(&mut page);
        if end_at == 0 {
            return Some(mounts);
        }
        if end_at > place.after {
            self.begun = Some((v1::MountsPlace { revision, after: end_at }, mounts));
        } else {
            tracing::warn!(revision, end_at, "the master sends a list of mounts that does not go on");
        }
        None
    }

    /// Ends when the list under way is taken in; never when there is none. Cancel safe.
    pub(crate) async fn taken_in(&mut self, core: &WorkerCore) {
        let Some((revision, taking)) = &mut self.under_way else { return std::future::pending().await };
        let all_work = taking.await.unwrap_or(false);
        self.revision = *revision;
        self.retry_at = (!all_work).then(|| core.clock.boot_instant().saturating_add(MOUNT_RETRY_AFTER));
        self.under_way = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(revision: u64, ids: std::ops::RangeInclusive<u32>, end_at: u32) -> Answered {
        let mounts = ids.map(|mount| v1::MountCredentials { mount, ..Default::default() }).collect();
        Answered { revision, mounts, end_at }
    }

    fn whole(intake: &mut MountIntake, answered: Answered) -> Option<Vec<u32>> {
        let asked = intake.ask(BootInstant::default());
        let whole = intake.whole(asked, answered)?;
        Some(whole.iter().map(|mount| mount.mount).collect())
    }

    #[test]
    fn pages_of_one_list_make_it_whole() {
        let mut intake = MountIntake::new();
        assert_eq!(whole(&mut intake, page(7, 1..=2, 2)), None);
        let place = Some(v1::MountsPlace { revision: 7, after: 2 });
        assert_eq!(intake.ask(BootInstant::default()), Asked { known: 0, place });
        assert_eq!(whole(&mut intake, page(7, 3..=3, 3)), None);
        assert!(intake.has_begun());
        assert_eq!(whole(&mut intake, page(7, 4..=5, 0)), Some(vec![1, 2, 3, 4, 5]));
        assert!(!intake.has_begun());
    }

    #[test]
    fn a_list_that_changed_between_two_pages_begins_anew() {
        let mut intake = MountIntake::new();
        assert_eq!(whole(&mut intake, page(7, 1..=2, 2)), None);
        assert_eq!(whole(&mut intake, page(8, 1..=1, 1)), None);
        assert_eq!(whole(&mut intake, page(8, 3..=4, 0)), Some(vec![1, 3, 4]));
    }

    #[test]
    fn a_list_that_does_not_go_on_is_given_up() {
        let mut intake = MountIntake::new();
        assert_eq!(whole(&mut intake, page(7, 1..=2, 2)), None);
        assert_eq!(whole(&mut intake, page(7, 1..=2, 2)), None);
        assert!(!intake.has_begun());
    }
}
