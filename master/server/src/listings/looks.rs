//! Looks at single entries of a directory, beside its listings: which are under way.
//!
//! What one of them saw may come into the state after a listing has begun, which then leaves it alone as newer news. So a
//! listing waits for the looks that are older than it, and what it says of a page is as old as the oldest look that
//! began since.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use forebay_runtime::BootInstant;
use forebay_types::InodeId;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// The looks under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Looks(Arc<State>);

#[derive(Debug, Default)]
struct State {
    under_way: Mutex<UnderWay>,
    ended: Notify,
}

#[derive(Debug, Default)]
struct UnderWay {
    /// Of each directory, when they began, with a number that tells them apart.
    of: HashMap<InodeId, BTreeSet<(BootInstant, u64)>>,
    next: u64,
}

/// A look at an entry. It ends when this is dropped, once what it saw is in the state, or the log has not taken it within its
/// deadline.
#[derive(Debug)]
pub struct Look {
    looks: Looks,
    directory: InodeId,
    of: (BootInstant, u64),
}

impl Looks {
    pub(super) fn begin(&self, directory: InodeId, at: BootInstant) -> Look {
        let mut under_way = self.0.under_way.lock();
        let of = (at, under_way.next);
        under_way.next += 1;
        under_way.of.entry(directory).or_default().insert(of);
        Look { looks: self.clone(), directory, of }
    }

    /// The begin of the oldest one that began before `at`.
    pub(super) fn oldest(&self, directory: InodeId, at: BootInstant) -> Option<BootInstant> {
        let under_way = self.0.under_way.lock();
        let first = under_way.of.get(&directory)?.first()?.0;
        (first < at).then_some(first)
    }

    /// Waits until those that began before `at` have ended. Cancel safe.
    pub(super) async fn older_ended(&self, directory: InodeId, at: BootInstant) {
        loop {
            let ended = self.0.ended.notified();
            tokio::pin!(ended);
            // Else an end between the look and the wait would not be noticed.
            ended.as_mut().enable();
            if self.oldest(directory, at).is_none() {
                return;
            }
            ended.await;
        }
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        let mut under_way = self.looks.0.under_way.lock();
        if let Some(of) = under_way.of.get_mut(&self.directory) {
            of.remove(&self.of);
            if of.is_empty() {
                under_way.of.remove(&self.directory);
            }
        }
        drop(under_way);
        self.looks.0.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HERE: InodeId = InodeId::new(7);
    const ELSEWHERE: InodeId = InodeId::new(8);

    const fn at(seconds: u64) -> BootInstant {
        BootInstant::from_boot(Duration::from_secs(seconds))
    }

    #[tokio::test]
    async fn older_looks_at_the_same_directory_are_waited_for_and_no_others() {
        let looks = Looks::default();
        let [_elsewhere, _later] = [looks.begin(ELSEWHERE, at(1)), looks.begin(HERE, at(5))];
        looks.older_ended(HERE, at(5)).await;
        let [first, second] = [looks.begin(HERE, at(2)), looks.begin(HERE, at(2))];
        assert_eq!((looks.oldest(HERE, at(5)), looks.oldest(HERE, at(2))), (Some(at(2)), None));
        let wait = looks.older_ended(HERE, at(5));
        tokio::pin!(wait);
        assert!(futures::poll!(&mut wait).is_pending());
        drop(first);
        assert!(futures::poll!(&mut wait).is_pending());
        drop(second);
        assert!(futures::poll!(&mut wait).is_ready());
    }

    #[test]
    fn nothing_is_kept_of_looks_that_ended() {
        let looks = Looks::default();
        drop([looks.begin(HERE, at(1)), looks.begin(HERE, at(1)), looks.begin(ELSEWHERE, at(1))]);
        assert!(looks.0.under_way.lock().of.is_empty());
    }
}
