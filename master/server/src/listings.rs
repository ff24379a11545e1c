//! Which directories are being compared with their under-stores now, and who waits for it. State only.
//!
//! Of each directory one listing is under way. Whoever needs a younger one waits for the next, which begins when that
//! one ends, and is one for all who wait. A listing goes on only as far as somebody wants it to.

mod looks;

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use forebay_runtime::BootInstant;
use forebay_types::{EntryName, ErrorKind, InodeId, ListingPosition, LogIndex};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};

use crate::limits;
use crate::listing::Finish;
pub(crate) use looks::Look;
use looks::Looks;

/// The listings under way.
#[derive(Debug)]
pub struct Listings {
    /// Held only to look up, insert or remove.
    under_way: Mutex<HashMap<InodeId, UnderWay>>,
    looks: Looks,
    pub(crate) places: Semaphore,
    /// How many listings for which nobody waits may be under way.
    pub(crate) background: Arc<Semaphore>,
    /// How many of these jobs may have, so that what is in use is kept fresh beside them.
    pub(crate) for_jobs: Semaphore,
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
pub type Waiting = watch::Receiver<Course>;

/// How a listing ended; an error is told to many, so it is kept as kind and sentence.
pub(crate) type Ended = Result<Finish, (ErrorKind, String)>;

/// How much of a listing somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    All,
    /// Some pages beyond this place, or the first ones.
    Beyond(Option<ListingPosition>),
}

/// How a listing goes.
#[derive(Clone, Debug, Default)]
pub struct Course {
    /// Before the under-store was asked for anything; `None` until then.
    pub began: Option<BootInstant>,
    /// Pages that came so far, those of the listing that this one waits for included.
    pub pages: u64,
    /// Entries up to here are in the state as the under-store has them, save those that are `gone`.
    pub passed: Option<ListingPosition>,
    pub gone: Arc<Mutex<BTreeSet<EntryName>>>,
    /// The last entry of the log when it began: of names that changed since it says nothing.
    pub begun_at: LogIndex,
    /// The under-store was asked and has not answered.
    pub is_asking: bool,
    /// Up to where each of the last pages reached, and when it was asked for, or an older look began of which something
    /// may be left.
    pub recent: VecDeque<(ListingPosition, BootInstant)>,
    /// It goes on beside a look that is older than it is, so it did not begin when those thought who joined it before.
    is_beside_looks: bool,
    /// Begin of the oldest look at one of its entries that began since.
    oldest_look: Option<BootInstant>,
    /// `None` while it goes on.
    pub ended: Option<Ended>,
    /// Somebody waits for it, or for the one after it, who is no job and no renewal.
    is_urgent: bool,
    wants: Wants,
}

/// All that is wanted of a listing.
#[derive(Clone, Debug, Default)]
struct Wants {
    all: bool,
    /// So many pages of it.
    pages: u64,
    beyond: Option<ListingPosition>,
    /// Whatever comes first. Of a source in no order that is not known before its end.
    first: bool,
    /// Pages of this listing itself that came, and that were passed.
    came: u64,
    passed: u64,
    /// Somebody waits for the end of it, to get a younger one.
    end: bool,
}

impl Course {
    fn want(&mut self, wanted: Wanted) {
        match wanted {
            Wanted::All => self.wants.all = true,
            Wanted::Beyond(place) => {
                self.wants.pages = self.wants.passed + 1 + limits::LISTING_PAGES_AHEAD;
                self.wants.first |= place.is_none();
                self.wants.beyond = self.wants.beyond.take().max(place);
            }
        }
    }

    /// Whether it turned out to be older than those may use who joined it before it had begun.
    pub fn is_too_old(&self, is_young_enough: impl FnOnce(BootInstant) -> bool) -> bool {
        self.is_beside_looks && self.began.is_some_and(|began| !is_young_enough(began))
    }

    /// Whether it is to go on.
    fn is_more_wanted(&self) -> bool {
        let wants = &self.wants;
        let is_on_the_way = match self.passed {
            None => wants.first || wants.beyond.is_some(),
            Some(_) => self.passed <= wants.beyond,
        };
        wants.all || wants.came < wants.pages || is_on_the_way
    }
}

/// What became of a wish for a listing.
#[derive(Debug)]
pub enum Joined {
    /// Somebody runs it.
    UnderWay(Waiting),
    /// It is the first one: who asked has to run it.
    ToBegin(Waiting),
}

impl Default for Listings {
    fn default() -> Self {
        Self {
            under_way: Mutex::default(),
            looks: Looks::default(),
            places: Semaphore::new(limits::LISTINGS_IN_FLIGHT_MAX),
            background: Arc::new(Semaphore::new(limits::BACKGROUND_LISTINGS_MAX)),
            for_jobs: Semaphore::new(limits::JOB_LISTINGS_MAX),
            reaper: Notify::new(),
        }
    }
}

impl Listings {
    /// Joins the listing of a directory that has not begun yet, or whose begin `is_young_enough`.
    pub fn join(
        &self,
        directory: InodeId,
        is_young_enough: impl FnOnce(BootInstant) -> bool,
        wanted: Wanted,
    ) -> Joined {
        match self.under_way.lock().entry(directory) {
            Entry::Vacant(vacant) => {
                let (now, waiting) = watch::channel(Course::default());
                now.send_modify(|course| course.want(wanted));
                vacant.insert(UnderWay { now, next: None });
                Joined::ToBegin(waiting)
            }
            Entry::Occupied(mut occupied) => {
                let UnderWay { now, next } = occupied.get_mut();
                let began = now.borrow().began;
                let course = match began.is_none_or(is_young_enough) {
                    true => now,
                    false => next.get_or_insert_with(|| {
                        now.send_modify(|course| course.wants.end = true);
                        // Whoever waits for the next one waits for this one's under-store, too.
                        let is_asking = now.borrow().is_asking;
                        watch::channel(Course { is_asking, ..Course::default() }).0
                    }),
                };
                course.send_modify(|course| course.want(wanted));
                Joined::UnderWay(course.subscribe())
            }
        }
    }

    /// Somebody waits for the listing of a directory: from now on it goes before those for which nobody does.
    pub(crate) fn hurry(&self, directory: InodeId) {
        self.note(directory, |course| course.is_urgent = true);
    }

    /// Waits until somebody waits for the listing under way. Cancel safe.
    pub(crate) async fn urgent(&self, directory: InodeId) {
        let waiting = self.under_way.lock().get(&directory).map(|UnderWay { now, .. }| now.subscribe());
        let Some(mut waiting) = waiting else { return };
        // Its sender lives as long as the listing that asks.
        drop(waiting.wait_for(|course| course.is_urgent).await);
    }

    /// The listing asks its under-store from now on, so whoever comes later must look at its age. Gives where to note
    /// the names that it misses.
    pub fn began(&self, directory: InodeId, at: BootInstant) -> Arc<Mutex<BTreeSet<EntryName>>> {
        let gone = Arc::<Mutex<BTreeSet<EntryName>>>::default();
        if let Some(UnderWay { now, .. }) = self.under_way.lock().get(&directory) {
            now.send_modify(|course| {
                course.began = Some(at);
                course.gone = Arc::clone(&gone);
                // The listing waits for those from before.
                course.oldest_look = None;
            });
        }
        gone
    }

    /// Somebody looks at an entry of a directory from `at` on, and will bring what was seen into the state before that is
    /// dropped.
    pub fn look(&self, directory: InodeId, at: BootInstant) -> Look {
        let under_way = self.under_way.lock();
        if let Some(UnderWay { now, .. }) = under_way.get(&directory) {
            now.send_modify(|course| {
                course.oldest_look = Some(course.oldest_look.map_or(at, |old| old.min(at)))
            });
        }
        // While the table is locked no listing begins that would miss it.
        self.looks.begin(directory, at)
    }

    /// Waits until all looks at a directory's entries have ended that are older than a listing that began at `at`, before
    /// that one notes how far the log is. Cancel safe.
    pub async fn older_looks_ended(&self, directory: InodeId, at: BootInstant) {
        self.looks.older_ended(directory, at).await;
    }

    /// The listing goes on beside looks that are older than its begin at `at`: what it says is as old as they are. Gives
    /// how old that is.
    pub fn goes_on_beside_looks(&self, directory: InodeId, at: BootInstant) -> BootInstant {
        let Some(oldest) = self.looks.oldest(directory, at) else { return at };
        if let Some(UnderWay { now, .. }) = self.under_way.lock().get(&directory) {
            now.send_modify(|course| {
                course.began = Some(oldest);
                course.is_beside_looks = true;
                course.oldest_look = Some(oldest);
            });
        }
        oldest
    }

    /// A page that was asked for at `asked` is in the state, and with it all that stands up to `passed`.
    pub fn passed(&self, directory: InodeId, passed: Option<ListingPosition>, asked: BootInstant) {
        if let Some(UnderWay { now, .. }) = self.under_way.lock().get(&directory) {
            now.send_modify(|course| {
                course.wants.passed += 1;
                let Some(passed) = passed else { return };
                let asked = course.oldest_look.map_or(asked, |look| look.min(asked));
                course.recent.push_back((passed.clone(), asked));
                if course.recent.len() > limits::LISTING_PAGES_REMEMBERED {
                    course.recent.pop_front();
                }
                course.passed = Some(passed);
            });
        }
    }

    /// Whether a listing under way whose begin `is_young_enough` has shown what stands at a place.
    pub fn has_passed(
        &self,
        directory: InodeId,
        place: &ListingPosition,
        is_young_enough: impl FnOnce(BootInstant) -> bool,
    ) -> bool {
        let under_way = self.under_way.lock();
        under_way.get(&directory).is_some_and(|UnderWay { now, .. }| {
            let course = now.borrow();
            course.passed.as_ref().is_some_and(|passed| place <= passed)
                && course.began.is_some_and(is_young_enough)
        })
    }

    /// Whether a directory is being listed, or about to be.
    pub fn is_under_way(&self, directory: InodeId) -> bool {
        self.under_way.lock().contains_key(&directory)
    }

    /// Waits until it is known whether the listing under way is to go on: not if nobody wants more of it while somebody
    /// waits for the next one. Cancel safe.
    pub async fn more_wanted(&self, directory: InodeId) -> bool {
        let waiting = self.under_way.lock().get(&directory).map(|UnderWay { now, .. }| now.subscribe());
        let Some(mut waiting) = waiting else { return false };
        // Its sender lives as long as the listing that asks.
        let course = waiting.wait_for(|course| course.is_more_wanted() || course.wants.end).await;
        course.is_ok_and(|course| course.is_more_wanted())
    }

    /// The listing compares with the state as the entry at `begun_at` left it.
    pub(crate) fn compares_since(&self, directory: InodeId, begun_at: LogIndex) {
        if let Some(UnderWay { now, .. }) = self.under_way.lock().get(&directory) {
            now.send_modify(|course| course.begun_at = begun_at);
        }
    }

    /// The listing asks the under-store for a page: from now on its silence counts.
    pub(crate) fn asks(&self, directory: InodeId) {
        self.note(directory, |course| course.is_asking = true);
    }

    /// A page of the listing came: it goes on, and so does the wait for the next one.
    pub fn page_came(&self, directory: InodeId) {
        if let Some(UnderWay { now, .. }) = self.under_way.lock().get(&directory) {
            now.send_modify(|course| course.wants.came += 1);
        }
        self.note(directory, |course| {
            course.is_asking = false;
            course.pages += 1;
        });
    }

    /// Tells all who wait, also for the next one.
    fn note(&self, directory: InodeId, news: impl Fn(&mut Course)) {
        if let Some(UnderWay { now, next }) = self.under_way.lock().get(&directory) {
            for course in [Some(now), next.as_ref()].into_iter().flatten() {
                course.send_modify(&news);
            }
        }
    }

    /// The listing has ended; whether the next one is to be run now. With `for_all` there is none: those who wait for
    /// it are told the same.
    pub fn ended(&self, directory: InodeId, ended: Ended, for_all: bool) -> bool {
        let mut under_way = self.under_way.lock();
        let Some(UnderWay { now, next }) = under_way.remove(&directory) else { return false };
        let goes_on = match next {
            Some(next) if for_all => {
                next.send_modify(|course| course.ended = Some(ended.clone()));
                false
            }
            Some(next) => {
                next.send_modify(|course| {
                    course.pages += 1;
                    course.is_asking = false;
                });
                under_way.insert(directory, UnderWay { now: next, next: None });
                true
            }
            None => false,
        };
        now.send_modify(|course| course.ended = Some(ended));
        goes_on
    }

    /// Whoever ran the listings of a directory gives up; those who wait learn that nobody does.
    pub fn given_up(&self, directory: InodeId) {
        self.under_way.lock().remove(&directory);
    }

    pub(crate) fn wake_reaper(&self) {
        self.reaper.notify_one();
    }

    #[cfg(test)]
    pub(crate) fn has_begun(&self, directory: InodeId) -> bool {
        self.under_way.lock().get(&directory).is_some_and(|UnderWay { now, .. }| now.borrow().began.is_some())
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
mod tests;
