//! Sees to it that what is known of a directory is fresh: one listing at a time for each, however many wait for it.
//!
//! Nobody is answered from a listing that began too early for the mount's freshness; see [`crate::listings`]. Whoever
//! needs a part of a directory need not wait for the rest of it: a listing is compared page by page, see [`pages`].

mod pages;
mod vanished;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use forebay_metadata::{Command, Freshness, Inode, MountRecord, Reap, SupersedeVersion, query};
use forebay_runtime::BootInstant;
use forebay_types::{EntryKind, EntryName, ErrorKind, ListingPosition, LogIndex};
use parking_lot::Mutex;

pub use self::pages::Finish;
use self::pages::Listing;
use crate::error::MasterError;
use crate::freshness::Verdict;
use crate::limits;
use crate::listings::{Course, Joined, Waiting, Wanted};
use crate::shared::Shared;

/// A directory, and the mount whose content it is, if any.
pub(crate) struct Place {
    pub(crate) directory: Inode,
    pub(crate) mount: Option<MountRecord>,
}

/// What of a directory somebody needs to know.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal<'a> {
    All,
    /// Whatever follows this place, or comes first.
    Beyond(Option<&'a ListingPosition>),
    /// What stands here and before.
    UpTo(&'a ListingPosition),
}

/// What of a directory is known within its freshness.
#[derive(Debug)]
pub(crate) enum Covered {
    /// All of it, for so long.
    Whole(Duration),
    /// What a listing under way has shown so far.
    Part(Part),
}

/// The part of a directory that a listing under way has shown.
#[derive(Debug)]
pub(crate) struct Part {
    /// Entries up to here are in the state.
    pub(crate) passed: ListingPosition,
    /// All but these, which the under-store has no more.
    gone: Arc<Mutex<BTreeSet<EntryName>>>,
    begun_at: LogIndex,
    /// When the listing began.
    began: BootInstant,
    /// When the last pages were asked for, and up to where they reached.
    recent: VecDeque<(ListingPosition, BootInstant)>,
    freshness: Freshness,
}

impl Part {
    /// Whether a name that was last changed by the entry at `changed_at` is not there any more. Of what changed since
    /// its begin the listing says nothing.
    pub(crate) fn is_gone(&self, name: &EntryName, changed_at: LogIndex) -> bool {
        changed_at <= self.begun_at && self.gone.lock().contains(name)
    }

    /// For how long what stands at a place may be used.
    pub(crate) fn remaining(&self, at: &ListingPosition, now: BootInstant) -> Duration {
        let Freshness::Bound(bound) = self.freshness else { return limits::IMMUTABLE_VALIDITY };
        let page = self.recent.iter().find(|(passed, _)| at <= passed);
        // A page that is not remembered is not older than the listing.
        let asked = match page {
            Some((_, asked)) if self.recent.front().is_none_or(|(first, _)| at > first) => *asked,
            _ => self.began,
        };
        bound.saturating_sub(now.saturating_duration_since(asked))
    }
}

impl Goal<'_> {
    fn is_met(self, course: &Course) -> bool {
        match (self, &course.passed) {
            (Self::All, _) | (_, None) => false,
            (Self::Beyond(after), Some(passed)) => after.is_none_or(|after| after < passed),
            (Self::UpTo(place), Some(passed)) => place <= passed,
        }
    }

    fn wanted(self) -> Wanted {
        match self {
            // Who looks one name up is about to look up others.
            Self::All | Self::UpTo(_) => Wanted::All,
            Self::Beyond(after) => Wanted::Beyond(after.cloned()),
        }
    }
}

/// Makes sure that all of what is known of a directory is within its mount's freshness; gives how long it stays so.
/// Otherwise as [`ensure`].
pub(crate) async fn ensure_fresh(shared: &Arc<Shared>, place: &Place) -> Result<Duration, MasterError> {
    match ensure(shared, place, Goal::All).await? {
        Covered::Whole(remaining) => Ok(remaining),
        Covered::Part(_) => unreachable!("no part is all"),
    }
}

/// Makes sure that what is known of a directory is within its mount's freshness as far as `goal` goes. While the
/// under-store is down, or silent for longer than somebody can wait, what was known before is served, for a moment at a
/// time.
///
/// Cancel safe: the listing itself goes on.
pub(crate) async fn ensure(
    shared: &Arc<Shared>,
    place: &Place,
    goal: Goal<'_>,
) -> Result<Covered, MasterError> {
    let Some(mount) = &place.mount else {
        return Ok(Covered::Whole(limits::SYNTHETIC_VALIDITY));
    };
    let (id, freshness) = (place.directory.id, mount.options.freshness);
    let verdict = || shared.checks.lock().verdict(id, freshness, shared.clock.boot_instant());
    let is_loaded = || shared.query(move |state| Ok(query::is_loaded(state, id)?));
    match verdict() {
        Verdict::Fresh(remaining) | Verdict::Aging(remaining) => return Ok(Covered::Whole(remaining)),
        // Loaded by an earlier master: content that never changes needs no second look.
        Verdict::Over if freshness == Freshness::Immutable && is_loaded().await? => {
            return Ok(Covered::Whole(limits::IMMUTABLE_VALIDITY));
        }
        Verdict::OverAndFailing if is_loaded().await? => {
            return Ok(Covered::Whole(limits::OUTAGE_VALIDITY));
        }
        Verdict::Over | Verdict::OverAndFailing => {}
    }
    let asked = shared.clock.boot_instant();
    let is_young_enough = |began| match freshness {
        Freshness::Bound(bound) => asked.saturating_duration_since(began) < bound,
        Freshness::Immutable => true,
    };
    loop {
        let waiting = join(shared, &place.directory, mount, is_young_enough, goal.wanted());
        let patience = if is_loaded().await? { Some(patience(shared, mount)) } else { None };
        return match wait_for(waiting, patience, goal).await {
            Waited::Part(course) => Ok(Covered::Part(part_of(course, freshness))),
            Waited::Silence => {
                note_outage(shared, mount, silence(mount));
                shared.checks.lock().failed(id, freshness, shared.clock.boot_instant());
                Ok(Covered::Whole(limits::OUTAGE_VALIDITY))
            }
            // With a bound of zero the listing that was just made is good for this answer and no other.
            Waited::Ended(Ok(())) => Ok(Covered::Whole(match verdict() {
                Verdict::Fresh(remaining) | Verdict::Aging(remaining) => remaining,
                Verdict::Over | Verdict::OverAndFailing => Duration::ZERO,
            })),
            Waited::Ended(Err(MasterError::ListingGivenUp)) => continue,
            Waited::Ended(Err(error))
                if is_outage_at(&place.directory, error.kind()) && is_loaded().await? =>
            {
                Ok(Covered::Whole(limits::OUTAGE_VALIDITY))
            }
            Waited::Ended(Err(error)) => Err(error),
        };
    }
}

fn part_of(course: Course, freshness: Freshness) -> Part {
    Part {
        passed: course.passed.expect("a part ends somewhere"),
        gone: course.gone,
        begun_at: course.begun_at,
        began: course.began.expect("a listing that has shown something has begun"),
        recent: course.recent,
        freshness,
    }
}

/// Lists a directory in any case, by a listing that begins after this call or is about to. Cancel safe: the listing
/// itself goes on.
pub(crate) async fn list_now(shared: &Arc<Shared>, place: &Place) -> Result<(), MasterError> {
    to_the_end(shared, place, |_| false).await
}

/// Lists a directory whose freshness is half over, so that nobody has to wait when it is over. Cancel safe: the listing
/// itself goes on.
pub(crate) async fn renew(shared: &Arc<Shared>, place: &Place) -> Result<(), MasterError> {
    to_the_end(shared, place, |_| true).await
}

/// The same without being waited for.
pub(crate) fn renew_in_background(shared: &Arc<Shared>, place: &Place) {
    if let Some(mount) = &place.mount {
        drop(join(shared, &place.directory, mount, |_| true, Wanted::All));
    }
}

async fn to_the_end(
    shared: &Arc<Shared>,
    place: &Place,
    is_young_enough: impl Fn(BootInstant) -> bool,
) -> Result<(), MasterError> {
    let Some(mount) = &place.mount else { return Ok(()) };
    loop {
        let waiting = join(shared, &place.directory, mount, &is_young_enough, Wanted::All);
        match wait_for(waiting, None, Goal::All).await {
            Waited::Ended(Err(MasterError::ListingGivenUp)) => {}
            Waited::Ended(outcome) => return outcome,
            Waited::Part(_) | Waited::Silence => unreachable!("all is waited for, with patience"),
        }
    }
}

/// Whether a failure to list a directory is the under-store's. A mount's own root that is gone is an outage as well:
/// somebody took a disk away or mistyped a rename, and nobody deletes a data set so.
fn is_outage_at(directory: &Inode, kind: ErrorKind) -> bool {
    is_outage(kind) || directory.key.as_bytes().is_empty()
}

const fn is_outage(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::UnderStore | ErrorKind::TimedOut | ErrorKind::Unavailable)
}

/// The same for a request for one file. A file that is gone is no error, so what is said to be missing is the root.
const fn is_outage_of_file(kind: ErrorKind) -> bool {
    is_outage(kind) || matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Joins a listing of a directory that has not begun or is young enough, or sees to it that there is one.
fn join(
    shared: &Arc<Shared>,
    directory: &Inode,
    mount: &MountRecord,
    is_young_enough: impl FnOnce(BootInstant) -> bool,
    wanted: Wanted,
) -> Waiting {
    let waiting = match shared.listings.join(directory.id, is_young_enough, wanted) {
        Joined::UnderWay(waiting) => return waiting,
        Joined::ToBegin(waiting) => waiting,
    };
    let (directory, mount) = (directory.clone(), mount.clone());
    let mut lister = Lister { shared: Arc::clone(shared), directory, mount, is_over: false };
    let cancelled = shared.background.token();
    shared.background.spawn(async move {
        tokio::select! {
            biased;
            () = cancelled.cancelled() => {}
            () = lister.run() => {}
        }
    });
    waiting
}

/// Runs the listings of one directory for as long as somebody waits for one. Those who wait when it is dropped before,
/// as at the end of the process, learn of that.
struct Lister {
    shared: Arc<Shared>,
    directory: Inode,
    mount: MountRecord,
    is_over: bool,
}

impl Drop for Lister {
    fn drop(&mut self) {
        // Once it is over another one may be at work for the same directory.
        if !self.is_over {
            self.shared.listings.given_up(self.directory.id);
        }
    }
}

impl Lister {
    async fn run(&mut self) {
        let listing = Listing { shared: &self.shared, directory: &self.directory, mount: &self.mount };
        loop {
            let outcome = match listing.run().await {
                Err(error) if vanished::is_told_by(&error, &self.directory) => {
                    Err(self.vanished(error).await)
                }
                outcome => outcome,
            };
            self.note(&outcome);
            // News of an outage are as young as this moment, and nobody needs to wait for them twice.
            let is_for_all = outcome.as_ref().is_err_and(|error| is_outage(error.kind()));
            let ended = outcome.map_err(|error| (error.kind(), error.to_string()));
            if !self.shared.listings.ended(self.directory.id, ended, is_for_all) {
                self.is_over = true;
                return;
            }
        }
    }

    /// What those who wait are told of a directory that is not there any more.
    async fn vanished(&self, error: MasterError) -> MasterError {
        match vanished::correct(&self.shared, &self.directory, &self.mount).await {
            Ok(()) => MasterError::NoInode(self.directory.id),
            Err(other) => {
                tracing::debug!(ino = %self.directory.id, %other, "what a directory is now could not be told");
                error
            }
        }
    }

    /// Remembers how it went; a failure is logged here, once for all who wait.
    fn note(&self, outcome: &Result<Finish, MasterError>) {
        match outcome {
            Ok(_) => self.shared.under_stores.note(self.mount.id, None),
            Err(error) => {
                let (freshness, now) = (self.mount.options.freshness, self.shared.clock.boot_instant());
                self.shared.checks.lock().failed(self.directory.id, freshness, now);
                if is_outage_at(&self.directory, error.kind()) {
                    self.shared.under_stores.note(self.mount.id, Some(error.to_string()));
                }
                if !matches!(error, MasterError::NoInode(_)) {
                    tracing::warn!(mount = %self.mount.id, ino = %self.directory.id, %error, "listing failed");
                }
            }
        }
    }
}

/// How a wait for a listing ended.
enum Waited {
    /// The goal was met before the end.
    Part(Course),
    Ended(Result<(), MasterError>),
    /// No page came for as long as there is patience. The listing goes on.
    Silence,
}

/// Waits until a listing has met the goal or ends, for as long as pages of it come when it asks for them.
async fn wait_for(mut waiting: Waiting, patience: Option<Duration>, goal: Goal<'_>) -> Waited {
    let state_of = |course: &Course| (course.pages, course.is_asking);
    let mut seen = state_of(&waiting.borrow());
    loop {
        let is_news =
            |course: &Course| course.ended.is_some() || goal.is_met(course) || state_of(course) != seen;
        let course = match patience {
            None => wait_until(&mut waiting, is_news).await,
            Some(patience) => match tokio::time::timeout(patience, wait_until(&mut waiting, is_news)).await {
                Ok(course) => course,
                Err(_) if waiting.borrow().is_asking => return Waited::Silence,
                // What takes long is the log and not the under-store.
                Err(_) => continue,
            },
        };
        let Some(course) = course else {
            return Waited::Ended(Err(MasterError::Listing {
                kind: ErrorKind::Unavailable,
                message: "the master is shutting down; try again".to_owned(),
            }));
        };
        match &course.ended {
            Some(Ok(Finish::Whole)) => return Waited::Ended(Ok(())),
            Some(Ok(Finish::GivenUp)) => return Waited::Ended(Err(MasterError::ListingGivenUp)),
            Some(Err((kind, message))) => {
                let (kind, message) = (*kind, message.clone());
                return Waited::Ended(Err(MasterError::Listing { kind, message }));
            }
            None if goal.is_met(&course) => return Waited::Part(course),
            None => seen = state_of(&course),
        }
    }
}

/// The course of a listing once it is so; `None` when nobody lists any more.
async fn wait_until(waiting: &mut Waiting, is_so: impl Fn(&Course) -> bool) -> Option<Course> {
    loop {
        let course = waiting.borrow_and_update().clone();
        if is_so(&course) {
            return Some(course);
        }
        waiting.changed().await.ok()?;
    }
}

/// How long an under-store may be silent before what was known is served: less once it was down.
fn patience(shared: &Shared, mount: &MountRecord) -> Duration {
    match shared.under_stores.failure(mount.id) {
        Some(_) => limits::OUTAGE_PATIENCE,
        None => limits::SILENCE_PATIENCE,
    }
}

fn silence(mount: &MountRecord) -> String {
    format!("{} is silent", mount.uri)
}

/// Remembers that an under-store is away while what is known is served; logged when it begins.
fn note_outage(shared: &Shared, mount: &MountRecord, reason: String) {
    if shared.under_stores.failure(mount.id).is_none() {
        tracing::warn!(mount = %mount.id, reason, "an under-store is away, serving what is known");
        shared.under_stores.note(mount.id, Some(reason));
    }
}

/// Compares one file with its under-store by one request, and gives it a new version if it is another. For mounts
/// whose freshness is zero, where listing the whole directory at each open would cost more. An outage is not the file's:
/// what is known is served, as for a listing.
pub(crate) async fn ensure_current(
    shared: &Arc<Shared>,
    mount: &MountRecord,
    file: &Inode,
) -> Result<(), MasterError> {
    match compare(shared, mount, file).await {
        Err(error) if is_outage_of_file(error.kind()) => {
            note_outage(shared, mount, error.to_string());
            Ok(())
        }
        outcome => outcome,
    }
}

/// The same; an outage is an error.
pub(crate) async fn compare(
    shared: &Arc<Shared>,
    mount: &MountRecord,
    file: &Inode,
) -> Result<(), MasterError> {
    let Some(version) = file.version() else {
        return Ok(());
    };
    let store = shared.under_store(mount)?;
    let asked = tokio::time::timeout(patience(shared, mount), store.fingerprint(&version.key)).await;
    let found = asked.map_err(|_| MasterError::Silent { uri: mount.uri.to_string() })??;
    shared.under_stores.note(mount.id, None);
    if found.as_ref().is_some_and(|found| version.fingerprint.is_same_content(found)) {
        return Ok(());
    }
    // What was asked tells of files only; something else may have taken this one's place, or hides it.
    let asked = tokio::time::timeout(patience(shared, mount), store.stat(&version.key)).await;
    let stands = asked.map_err(|_| MasterError::Silent { uri: mount.uri.to_string() })??;
    if stands.as_ref().is_some_and(|stands| stands.kind != EntryKind::File) {
        return vanished::correct(shared, file, mount).await;
    }
    let fingerprint = stands.and_then(|stands| stands.fingerprint);
    let command = SupersedeVersion { inode: file.id, seen: version.file, fingerprint };
    shared.propose(None, Command::SupersedeVersion(command)).await.map(drop)
}

/// Deletes what was detached, a bounded part at a time, until `cancelled`.
pub(crate) async fn reap(shared: Arc<Shared>, cancelled: tokio_util::sync::CancellationToken) {
    loop {
        let mut more = true;
        while more {
            let command = Command::Reap(Reap { limit: limits::REAP_PER_ENTRY });
            let reaped = tokio::select! {
                () = cancelled.cancelled() => return,
                reaped = shared.propose(None, command) => reaped,
            };
            more = match reaped {
                Ok(forebay_metadata::Success::Reaped { more, .. }) => more,
                Ok(_) => false,
                Err(error) => {
                    tracing::warn!(%error, "reaping failed; it is tried again with the next removal");
                    false
                }
            };
        }
        tokio::select! {
            () = cancelled.cancelled() => return,
            () = shared.listings.reaper.notified() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::watch;

    const PATIENCE: Duration = Duration::from_secs(3);

    #[tokio::test(start_paused = true)]
    async fn silence_ends_the_wait_of_whoever_has_an_older_answer() {
        let mut asking = Course::default();
        asking.is_asking = true;
        let (_course, waiting) = watch::channel(asking);
        let begun = tokio::time::Instant::now();
        let waited = wait_for(waiting, Some(PATIENCE), Goal::All).await;
        assert!(matches!(waited, Waited::Silence));
        assert_eq!(begun.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_takes_its_time_is_no_silence_of_the_under_store() {
        let (course, waiting) = watch::channel(Course::default());
        let listing = async {
            tokio::time::sleep(PATIENCE * 3).await;
            course.send_modify(|course| course.ended = Some(Ok(Finish::Whole)));
        };
        let (waited, ()) = tokio::join!(wait_for(waiting, Some(PATIENCE), Goal::All), listing);
        assert!(matches!(waited, Waited::Ended(Ok(()))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_listing_whose_pages_come_is_waited_for_and_its_end_is_told() {
        for ended in [Ok(Finish::Whole), Err((ErrorKind::UnderStore, "down".to_owned()))] {
            let (course, waiting) = watch::channel(Course::default());
            let listing = async {
                for _ in 0..10 {
                    tokio::time::sleep(PATIENCE / 2).await;
                    course.send_modify(|course| course.pages += 1);
                }
                tokio::time::sleep(PATIENCE / 2).await;
                course.send_modify(|course| course.ended = Some(ended.clone()));
            };
            let (waited, ()) = tokio::join!(wait_for(waiting, Some(PATIENCE), Goal::All), listing);
            let Waited::Ended(outcome) = waited else { panic!("it went on to its end") };
            assert_eq!(outcome.is_ok(), ended.is_ok());
        }
    }
}
