//! Which directories are being compared with their under-stores now, and who waits for it. State only.
//!
//! Of each directory one listing is under way. Whoever needs a younger one waits for the next, which begins when that
//! one ends, and is one for all who wait.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use forebay_runtime::BootInstant;
use forebay_types::{ErrorKind, InodeId};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};

use crate::limits;

/// The listings under way.
#[derive(Debug)]
pub(crate) struct Listings {
    /// Held only to look up, insert or remove.
    under_way: Mutex<HashMap<InodeId, UnderWay>>,
    pub(crate) places: Semaphore,
    pub(crate) reaper: Notify,
}

/// What goes on at one directory.
#[derive(Debug)]
struct UnderWay {
    now: watch::Sender<Course>,
    /// The one after it, for those who asked when it had begun already.
    next: Option<watch::Sender<Course>>,
}

/// Tells those who wait how a listing goes.
pub(crate) type Waiting = watch::Receiver<Course>;

/// How a listing ended; an error is told to many, so it is kept as kind and sentence.
pub(crate) type Ended = Result<(), (ErrorKind, String)>;

/// How a listing goes.
#[derive(Debug, Default)]
pub(crate) struct Course {
    /// Before the under-store was asked for anything; `None` until then.
    pub(crate) began: Option<BootInstant>,
    /// Pages that came so far, those of the listing that this one waits for included.
    pub(crate) pages: u64,
    /// `None` while it goes on.
    pub(crate) ended: Option<Ended>,
}

/// What became of a wish for a listing.
#[derive(Debug)]
pub(crate) enum Joined {
    /// Somebody runs it.
    UnderWay(Waiting),
    /// It is the first one: who asked has to run it.
    ToBegin(Waiting),
}

impl Default for Listings {
    fn default() -> Self {
        Self {
            under_way: Mutex::default(),
            places: Semaphore::new(limits::LISTINGS_IN_FLIGHT_MAX),
            reaper: Notify::new(),
        }
    }
}

impl Listings {
    /// Joins the listing of a directory that has not begun yet, or whose begin `is_young_enough`.
    pub(crate) fn join(
        &self,
        directory: InodeId,
        is_young_enough: impl FnOnce(BootInstant) -> bool,
    ) -> Joined {
        match self.under_way.lock().entry(directory) {
            Entry::Vacant(vacant) => {
                let (now, waiting) = watch::channel(Course::default());
                vacant.insert(UnderWay { now, next: None });
                Joined::ToBegin(waiting)
            }
            Entry::Occupied(mut occupied) => {
                let UnderWay { now, next } = occupied.get_mut();
                let began = now.borrow().began;
                let course = match began.is_none_or(is_young_enough) {
                    true => now,
                    false => next.get_or_insert_with(|| watch::channel(Course::default()).0),
                };
                Joined::UnderWay(course.subscribe())
            }
        }
    }

    /// The listing asks its under-store from now on, so whoever comes later must look at its age.
    pub(crate) fn began(&self, directory: InodeId, at: BootInstant) {
        if let Some(UnderWay { now, .. }) = self.under_way.lock().get(&directory) {
            now.send_modify(|course| course.began = Some(at));
        }
    }

    /// A page of the listing came: it goes on, and so does the wait for the next one.
    pub(crate) fn page_came(&self, directory: InodeId) {
        if let Some(UnderWay { now, next }) = self.under_way.lock().get(&directory) {
            for course in [Some(now), next.as_ref()].into_iter().flatten() {
                course.send_modify(|course| course.pages += 1);
            }
        }
    }

    /// The listing has ended; whether the next one is to be run now. With `for_all` there is none: those who wait for
    /// it are told the same.
    pub(crate) fn ended(&self, directory: InodeId, ended: Ended, for_all: bool) -> bool {
        let mut under_way = self.under_way.lock();
        let Some(UnderWay { now, next }) = under_way.remove(&directory) else { return false };
        let goes_on = match next {
            Some(next) if for_all => {
                next.send_modify(|course| course.ended = Some(ended.clone()));
                false
            }
            Some(next) => {
                next.send_modify(|course| course.pages += 1);
                under_way.insert(directory, UnderWay { now: next, next: None });
                true
            }
            None => false,
        };
        now.send_modify(|course| course.ended = Some(ended));
        goes_on
    }

    /// Whoever ran the listings of a directory gives up; those who wait learn that nobody does.
    pub(crate) fn given_up(&self, directory: InodeId) {
        self.under_way.lock().remove(&directory);
    }

    pub(crate) fn wake_reaper(&self) {
        self.reaper.notify_one();
    }

    /// How many wait for a directory's listing under way, and for the one after it.
    #[cfg(test)]
    pub(crate) fn waiting(&self, directory: InodeId) -> (usize, usize) {
        let under_way = self.under_way.lock();
        let waiting = |course: &watch::Sender<Course>| course.receiver_count();
        under_way
            .get(&directory)
            .map_or((0, 0), |UnderWay { now, next }| (waiting(now), next.as_ref().map_or(0, waiting)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const DIRECTORY: InodeId = InodeId::new(7);
    const BEGAN: BootInstant = BootInstant::from_boot(Duration::from_secs(5));

    fn begun() -> (Listings, Waiting) {
        let listings = Listings::default();
        let Joined::ToBegin(first) = listings.join(DIRECTORY, |_| false) else { panic!("nobody runs one") };
        (listings, first)
    }

    fn join(listings: &Listings, is_young_enough: bool) -> Waiting {
        match listings.join(DIRECTORY, |_| is_young_enough) {
            Joined::UnderWay(waiting) => waiting,
            Joined::ToBegin(_) => panic!("one is under way"),
        }
    }

    #[test]
    fn who_asks_before_a_listing_has_begun_shares_it_whatever_age_is_allowed() {
        let (listings, first) = begun();
        assert!(join(&listings, false).same_channel(&first));
        listings.began(DIRECTORY, BEGAN);
        assert!(join(&listings, true).same_channel(&first));
        let next = join(&listings, false);
        assert!(!next.same_channel(&first) && join(&listings, false).same_channel(&next));
    }

    #[test]
    fn the_next_listing_follows_and_its_wait_sees_the_pages_of_the_one_before() {
        let (listings, first) = begun();
        listings.began(DIRECTORY, BEGAN);
        let next = join(&listings, false);
        listings.page_came(DIRECTORY);
        assert_eq!((first.borrow().pages, next.borrow().pages), (1, 1));
        assert!(listings.ended(DIRECTORY, Ok(()), false));
        assert!(first.borrow().ended.is_some() && next.borrow().ended.is_none());
        assert!(next.borrow().began.is_none() && join(&listings, false).same_channel(&next));
        assert!(!listings.ended(DIRECTORY, Ok(()), false));
        assert!(next.borrow().ended.is_some());
    }

    #[test]
    fn an_outage_ends_the_next_listing_too() {
        let (listings, _first) = begun();
        listings.began(DIRECTORY, BEGAN);
        let next = join(&listings, false);
        assert!(!listings.ended(DIRECTORY, Err((ErrorKind::UnderStore, "down".to_owned())), true));
        assert!(matches!(next.borrow().ended, Some(Err((ErrorKind::UnderStore, _)))));
        assert!(matches!(listings.join(DIRECTORY, |_| true), Joined::ToBegin(_)));
    }
}
