//! Sees to it that what is known of a directory is fresh: one listing at a time for each, however many wait for it.
//!
//! Nobody is answered from a listing that began too early for the mount's freshness; see [`crate::listings`]. Whoever
//! needs a part of a directory need not wait for the rest of it: a listing is compared page by page, see [`pages`].

mod checking;
mod fetching;
mod file;
mod outage;
mod pages;
mod root;
mod single;
mod vanished;
mod waiting;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use forebay_metadata::{Command, Directory, Freshness, Inode, MountRecord, Reap, Rejection, query};
use forebay_runtime::BootInstant;
use forebay_types::{EntryName, ErrorKind, ListingPosition, LogIndex};
use parking_lot::Mutex;

pub(crate) use self::checking::{Deviation, Deviations, check};
pub(crate) use self::file::{compare, ensure_current};
use self::outage::{
    is_outage, is_outage_at, is_outage_of_file, may_tell_at_once, note_outage, past_freshness, patience,
    silence, unknown_in_outage,
};
pub use self::pages::Finish;
use self::pages::Listing;
pub(crate) use self::root::{ask_root, is_root_with_owner, of as question_of_root, root_of};
pub(crate) use self::single::{Single, ask_single};
pub(crate) use self::waiting::Goal;
use self::waiting::{Waited, wait_for};
use crate::error::MasterError;
use crate::freshness::{Verdict, is_good_for, is_within};
use crate::limits;
use crate::listings::{Course, Joined, Waiting, Wanted};
use crate::request_cap::Urgency;
use crate::shared::Shared;

/// A directory, and the mount whose content it is, if any.
pub(crate) struct Place {
    pub(crate) directory: Inode,
    pub(crate) mount: Option<MountRecord>,
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

    /// Whether nothing of what it showed was forgotten since.
    pub(crate) fn is_of(&self, known: &Directory) -> bool {
        known.voided_at <= self.begun_at
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
/// time, unless the mount says otherwise. In maintenance it is served whatever its age.
///
/// Cancel safe: the listing itself goes on.
pub(crate) async fn ensure(
    shared: &Arc<Shared>,
    place: &Place,
    goal: Goal<'_>,
) -> Result<Covered, MasterError> {
    ensure_as_of(shared, place, goal, None).await
}

/// The same for a reader who began at `begun`: what was fresh then, or is younger, is good to its last part.
pub(crate) async fn ensure_as_of(
    shared: &Arc<Shared>,
    place: &Place,
    goal: Goal<'_>,
    begun: Option<BootInstant>,
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
        Verdict::Over | Verdict::OverAndFailing
            if freshness == Freshness::Immutable && is_loaded().await? =>
        {
            return Ok(Covered::Whole(limits::IMMUTABLE_VALIDITY));
        }
        _ if place.is_in_maintenance() => return in_maintenance(mount, is_loaded().await?),
        Verdict::OverAndFailing if may_tell_at_once(shared, mount) && is_loaded().await? => {
            return past_freshness(shared, mount, None);
        }
        Verdict::Over | Verdict::OverAndFailing => {}
    }
    let asked = shared.clock.boot_instant();
    let is_young_enough = |began| match begun {
        Some(begun) => is_good_for(freshness, began, begun),
        None => is_within(freshness, began, asked),
    };
    loop {
        let waiting = join_or_know(shared, &place.directory, mount, is_young_enough, goal.wanted());
        // Who goes through a directory does so for a job.
        if begun.is_none() {
            shared.listings.hurry(id);
        }
        let patience = if is_loaded().await? { Some(patience(shared, mount)) } else { None };
        let course = waiting.clone();
        let is_too_old = || course.borrow().is_too_old(is_young_enough);
        return match wait_for(waiting, patience, goal).await {
            Waited::Part(_) | Waited::Ended(Ok(())) if is_too_old() => continue,
            Waited::Part(course) => Ok(Covered::Part(part_of(course, freshness))),
            Waited::Silence => {
                note_outage(shared, mount, silence(mount));
                shared.checks.lock().failed(id, freshness, shared.clock.boot_instant());
                past_freshness(shared, mount, None)
            }
            // With a bound of zero the listing that was just made is good for this answer and no other.
            Waited::Ended(Ok(())) => Ok(Covered::Whole(match verdict() {
                Verdict::Fresh(remaining) | Verdict::Aging(remaining) => remaining,
                Verdict::Over | Verdict::OverAndFailing => Duration::ZERO,
            })),
            Waited::Ended(Err(MasterError::ListingGivenUp)) => continue,
            Waited::Ended(Err(error)) if error.kind() == ErrorKind::Maintenance => {
                in_maintenance(mount, is_loaded().await?)
            }
            Waited::Ended(Err(error)) if is_outage_at(&place.directory, error.kind()) => {
                match is_loaded().await? {
                    true => past_freshness(shared, mount, Some(error)),
                    false => Err(unknown_in_outage(shared, mount, error)),
                }
            }
            Waited::Ended(Err(error)) => Err(error),
        };
    }
}

/// What is known of a directory whose under-store nobody may ask.
fn in_maintenance(mount: &MountRecord, is_loaded: bool) -> Result<Covered, MasterError> {
    match is_loaded {
        true => Ok(Covered::Whole(limits::MAINTENANCE_VALIDITY)),
        false => Err(MasterError::in_maintenance(mount)),
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
    let asked = shared.clock.boot_instant();
    to_the_end(shared, place, Urgency::Foreground, |began| began >= asked).await
}

/// Lists a directory whose freshness is half over, so that nobody has to wait when it is over. Cancel safe: the listing
/// itself goes on.
pub(crate) async fn renew(shared: &Arc<Shared>, place: &Place) -> Result<(), MasterError> {
    to_the_end(shared, place, Urgency::Background, |_| true).await
}

/// Lists a directory unless it was listed within its freshness, for a job: few are listed for jobs at a time. An outage is
/// an error, also where older names are known. Cancel safe: the listing itself goes on.
pub(crate) async fn list_if_due(shared: &Arc<Shared>, place: &Place) -> Result<(), MasterError> {
    let Some(mount) = &place.mount else { return Ok(()) };
    let (id, freshness) = (place.directory.id, mount.options.freshness);
    let _of_jobs = shared.listings.for_jobs.acquire().await.expect("never closed");
    let asked = shared.clock.boot_instant();
    let verdict = shared.checks.lock().verdict(id, freshness, asked);
    let is_fresh = match verdict {
        Verdict::Fresh(_) | Verdict::Aging(_) => true,
        // Loaded by an earlier master: content that never changes needs no second look.
        Verdict::Over | Verdict::OverAndFailing => {
            freshness == Freshness::Immutable
                && shared.query(move |state| Ok(query::is_loaded(state, id)?)).await?
        }
    };
    if is_fresh {
        return Ok(());
    }
    let _place = shared.listings.background.acquire().await.expect("never closed");
    to_the_end(shared, place, Urgency::Background, |began| is_good_for(freshness, began, asked)).await?;
    // What it has lost was too much for one listing: the rest goes with the next.
    if !shared.checks.lock().is_good_for(id, freshness, asked) {
        let message = "more names are gone than one listing can tell; list it again".to_owned();
        return Err(MasterError::Listing { kind: ErrorKind::Busy, message });
    }
    Ok(())
}

/// The same without being waited for.
pub(crate) fn renew_in_background(shared: &Arc<Shared>, place: &Place) {
    if let Some(mount) = &place.mount
        && !place.is_in_maintenance()
    {
        drop(join(shared, &place.directory, mount, |_| true, Wanted::All));
    }
}

async fn to_the_end(
    shared: &Arc<Shared>,
    place: &Place,
    urgency: Urgency,
    is_young_enough: impl Fn(BootInstant) -> bool,
) -> Result<(), MasterError> {
    let Some(mount) = &place.mount else { return Ok(()) };
    if place.is_in_maintenance() {
        return Err(MasterError::in_maintenance(mount));
    }
    loop {
        let waiting = join(shared, &place.directory, mount, &is_young_enough, Wanted::All);
        if urgency == Urgency::Foreground {
            shared.listings.hurry(place.directory.id);
        }
        let course = waiting.clone();
        match wait_for(waiting, None, Goal::All).await {
            Waited::Ended(Err(MasterError::ListingGivenUp)) => {}
            Waited::Ended(Ok(())) if course.borrow().is_too_old(&is_young_enough) => {}
            Waited::Ended(outcome) => return outcome,
            Waited::Part(_) | Waited::Silence => unreachable!("all is waited for, with patience"),
        }
    }
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
    begin(shared, directory, mount);
    waiting
}

/// The same for an answer within the freshness. Between the look that found it over and this call a listing may have
/// ended: if that one is young enough nothing is listed.
fn join_or_know(
    shared: &Arc<Shared>,
    directory: &Inode,
    mount: &MountRecord,
    is_young_enough: impl Fn(BootInstant) -> bool,
    wanted: Wanted,
) -> Waiting {
    let waiting = match shared.listings.join(directory.id, &is_young_enough, wanted) {
        Joined::UnderWay(waiting) => return waiting,
        Joined::ToBegin(waiting) => waiting,
    };
    let is_known = shared.checks.lock().was_listed(directory.id, is_young_enough);
    // Somebody may wait for a younger one already.
    if !is_known || shared.listings.ended(directory.id, Ok(Finish::Whole), false) {
        begin(shared, directory, mount);
    }
    waiting
}

/// Begins to list a directory for those who wait.
fn begin(shared: &Arc<Shared>, directory: &Inode, mount: &MountRecord) {
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
                // What it was compared with was forgotten, or a mount went.
                Err(MasterError::Rejected(Rejection::StaleListing { .. })) => Ok(Finish::GivenUp),
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
            // It is the root that is missing, so nothing is known of the directory.
            Err(other) if is_outage_of_file(other.kind()) => {
                MasterError::Listing { kind: ErrorKind::UnderStore, message: other.to_string() }
            }
            Err(other) => {
                tracing::debug!(ino = %self.directory.id, %other, "what a directory is now could not be told");
                error
            }
        }
    }

    /// Remembers how it went; a failure is logged here, once for all who wait.
    fn note(&self, outcome: &Result<Finish, MasterError>) {
        match outcome {
            Ok(_) => self.shared.under_stores.note_well(self.mount.id),
            // The mount was put into maintenance in the midst of it.
            Err(error) if error.kind() == ErrorKind::Maintenance => {}
            // Nobody was asked, so nobody has failed.
            Err(MasterError::TooManyRequests { .. }) => {}
            Err(error) => {
                let (freshness, now) = (self.mount.options.freshness, self.shared.clock.boot_instant());
                self.shared.checks.lock().failed(self.directory.id, freshness, now);
                if is_outage_at(&self.directory, error.kind()) {
                    let (at, reason) = (self.shared.clock.now(), error.to_string());
                    self.shared.under_stores.note_failure(self.mount.id, at, reason);
                }
                if !matches!(error, MasterError::NoInode(_)) {
                    tracing::warn!(mount = %self.mount.id, ino = %self.directory.id, %error, "listing failed");
                }
            }
        }
    }
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
