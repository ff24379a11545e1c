//! Keeps what is known of directories fresh, as master/server/src/listing.rs does, over the real table of listings.

mod pages;
mod single;

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use forebay_master::{Course, Finish, Joined, Verdict, Waiting, Wanted};
use forebay_metadata::{Command, Directory, Edge, Freshness, Inode, SupersedeVersion, query};
use forebay_runtime::BootInstant;
use forebay_types::{EntryKind, EntryName, ErrorKind, InodeId, ListingPosition, LogIndex};
use futures::channel::oneshot;

use self::pages::Listing;
pub(crate) use self::single::{Single, ask_single};
use super::Master;
use super::state::Evidence;
use crate::limits::{
    MAINTENANCE_VALIDITY, OUTAGE_PATIENCE, OUTAGE_VALIDITY, SILENCE_PATIENCE, SILENCE_PATIENCE_FAIL,
};
use crate::plan::Planted;
use crate::store::{Content, Seen, StoreFault, entry_name, join};
use crate::world::World;

/// A directory of a mount.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) directory: Inode,
    /// The number of the mount.
    pub(crate) mount: usize,
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
    /// All that is known, for want of an under-store.
    Outage,
    /// All that is known, since nobody may ask.
    Maintenance,
}

/// The part of a directory that a listing under way has shown.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) passed: ListingPosition,
    gone: BTreeSet<EntryName>,
    /// The listing says nothing about what changed since.
    begun_at: LogIndex,
    began: BootInstant,
    recent: VecDeque<(ListingPosition, BootInstant)>,
    freshness: Freshness,
}

impl Part {
    /// Whether nothing of what it showed was forgotten since.
    pub(crate) fn is_of(&self, known: &Directory) -> bool {
        known.voided_at <= self.begun_at
    }

    /// Whether a name that is known as this edge says is missing in the under-store.
    pub(crate) fn is_gone(&self, name: &EntryName, edge: &Edge) -> bool {
        edge.changed_at <= self.begun_at && self.gone.contains(name)
    }

    /// For how long what stands at a place may be used.
    pub(crate) fn remaining(&self, at: &ListingPosition, now: BootInstant) -> Duration {
        let Freshness::Bound(bound) = self.freshness else { return Duration::MAX };
        let page = self.recent.iter().find(|(passed, _)| at <= passed);
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
            Self::All | Self::UpTo(_) => Wanted::All,
            Self::Beyond(after) => Wanted::Beyond(after.cloned()),
        }
    }
}

impl Place {
    /// The place of a directory.
    pub(crate) fn of(world: &World, directory: Inode) -> Result<Self, ErrorKind> {
        if directory.kind() != EntryKind::Directory {
            return Err(ErrorKind::NotADirectory);
        }
        let mount = world.mount_of(&directory).ok_or(ErrorKind::NotFound)?;
        Ok(Self { directory, mount })
    }

    fn path(&self) -> String {
        String::from_utf8_lossy(self.directory.key.as_bytes()).into_owned()
    }

    /// What a name was in the directory, as was seen in the under-store.
    fn evidence(&self, name: &str, at: Duration) -> Evidence {
        let (mount, directory) = (self.mount, self.directory.id);
        Evidence { mount, path: join(&self.path(), name), directory, name: name.to_owned(), at }
    }
}

/// Makes sure that what is known of a directory is within its mount's freshness as far as `goal` goes.
pub(crate) async fn ensure(
    world: &Rc<World>,
    master: &Rc<Master>,
    place: &Place,
    goal: Goal<'_>,
) -> Result<Covered, ErrorKind> {
    let (id, freshness) = (place.directory.id, world.mounts[place.mount].freshness());
    let verdict = || master.checks.borrow_mut().verdict(id, freshness, master.now(world));
    match verdict() {
        Verdict::Fresh(remaining) | Verdict::Aging(remaining) => return Ok(Covered::Whole(remaining)),
        _ if master.is_in_maintenance(world, place.mount) => return in_maintenance(world, master, id).await,
        Verdict::OverAndFailing
            if may_tell_at_once(world, master, place.mount) && is_loaded(world, master, id).await? =>
        {
            return past_freshness(world, place.mount);
        }
        Verdict::Over | Verdict::OverAndFailing => {}
    }
    let asked = master.now(world);
    let is_young_enough = |began: BootInstant| match freshness {
        Freshness::Bound(bound) => asked.saturating_duration_since(began) < bound,
        Freshness::Immutable => true,
    };
    loop {
        let waiting = joined(world, master, place, is_young_enough, goal.wanted());
        let patience = if is_loaded(world, master, id).await? {
            Some(patience(world, master, place.mount))
        } else {
            None
        };
        let course = waiting.clone();
        let is_too_old = || course.borrow().is_too_old(is_young_enough);
        return match wait_for(world, waiting, patience, goal).await {
            Waited::Part(_) | Waited::Ended(Ok(Finish::Whole)) if is_too_old() => continue,
            Waited::Part(course) => {
                let begun_at = master.begun.borrow().get(&id).copied().unwrap_or_default();
                Ok(Covered::Part(part_of(&course, begun_at, freshness)))
            }
            Waited::Silence => {
                master.is_away[place.mount].set(true);
                master.checks.borrow_mut().failed(id, freshness, master.now(world));
                past_freshness(world, place.mount)
            }
            Waited::Ended(Ok(Finish::Whole)) => Ok(Covered::Whole(match verdict() {
                Verdict::Fresh(remaining) | Verdict::Aging(remaining) => remaining,
                Verdict::Over | Verdict::OverAndFailing => Duration::ZERO,
            })),
            Waited::Ended(Ok(Finish::GivenUp)) => continue,
            Waited::Ended(Err(ErrorKind::Maintenance)) => in_maintenance(world, master, id).await,
            Waited::Ended(Err(kind)) if is_outage(kind) && is_loaded(world, master, id).await? => {
                past_freshness(world, place.mount)
            }
            Waited::Ended(Err(kind)) => Err(kind),
        };
    }
}

fn part_of(course: &Course, begun_at: LogIndex, freshness: Freshness) -> Part {
    Part {
        passed: course.passed.clone().expect("a part ends somewhere"),
        gone: course.gone.lock().clone(),
        begun_at,
        began: course.began.expect("a listing that has shown something has begun"),
        recent: course.recent.clone(),
        freshness,
    }
}

impl Covered {
    /// Whether it may be older than the freshness.
    pub(crate) const fn is_excused(&self) -> bool {
        matches!(self, Self::Outage | Self::Maintenance)
    }

    /// For how long all of it may be used; a part is no answer to a question for all.
    pub(crate) fn whole(&self) -> Duration {
        match self {
            Self::Whole(remaining) => *remaining,
            Self::Outage => OUTAGE_VALIDITY,
            Self::Maintenance => MAINTENANCE_VALIDITY,
            Self::Part(_) => Duration::ZERO,
        }
    }
}

/// Whether a mount's under-store may be asked.
fn may_ask(world: &World, master: &Master, mount: usize) -> Result<(), ErrorKind> {
    if master.is_in_maintenance(world, mount) { Err(ErrorKind::Maintenance) } else { Ok(()) }
}

/// The same for whoever has asked it for long. Gives a moment at which it could be so.
async fn may_ask_on(world: &Rc<World>, master: &Rc<Master>, mount: usize) -> Result<Duration, ErrorKind> {
    let leave = match world.plan.planted {
        Some(Planted::ModeIsLocal) => world.now(),
        _ => master.confirm(world).await?,
    };
    may_ask(world, master, mount).map(|()| leave)
}

/// What is known of a directory whose under-store nobody may ask.
async fn in_maintenance(
    world: &Rc<World>,
    master: &Rc<Master>,
    directory: InodeId,
) -> Result<Covered, ErrorKind> {
    match is_loaded(world, master, directory).await? {
        true => Ok(Covered::Maintenance),
        false => Err(ErrorKind::Maintenance),
    }
}

async fn is_loaded(world: &Rc<World>, master: &Rc<Master>, directory: InodeId) -> Result<bool, ErrorKind> {
    master.confirm(world).await?;
    Ok(query::is_loaded(&*master.store.borrow(), directory).expect("memory can be read"))
}

/// Lists a directory in any case.
pub(crate) async fn list_now(world: &Rc<World>, master: &Rc<Master>, place: &Place) -> Result<(), ErrorKind> {
    let asked = master.now(world);
    to_the_end(world, master, place, |began| began >= asked).await
}

/// Lists a directory whose freshness is half over.
pub(crate) async fn renew(
    world: &Rc<World>,
    master: &Rc<Master>,
    directory: InodeId,
) -> Result<(), ErrorKind> {
    master.confirm(world).await?;
    let found = query::attributes(&*master.store.borrow(), directory).expect("memory can be read");
    let Some(inode) = found else { return Ok(()) };
    to_the_end(world, master, &Place::of(world, inode)?, |_| true).await
}

/// The same without being waited for.
pub(crate) fn renew_in_background(world: &Rc<World>, master: &Rc<Master>, place: &Place) {
    if !master.is_in_maintenance(world, place.mount) {
        drop(joined(world, master, place, |_| true, Wanted::All));
    }
}

async fn to_the_end(
    world: &Rc<World>,
    master: &Rc<Master>,
    place: &Place,
    is_young_enough: impl Fn(BootInstant) -> bool,
) -> Result<(), ErrorKind> {
    may_ask(world, master, place.mount)?;
    loop {
        let waiting = joined(world, master, place, &is_young_enough, Wanted::All);
        let course = waiting.clone();
        let is_too_old = || course.borrow().is_too_old(&is_young_enough);
        if let Waited::Ended(ended) = wait_for(world, waiting, None, Goal::All).await
            && ended != Ok(Finish::GivenUp)
            && !(ended.is_ok() && is_too_old())
        {
            return ended.map(drop);
        }
    }
}

pub(crate) const fn is_outage(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::UnderStore | ErrorKind::TimedOut | ErrorKind::Unavailable)
}

/// What is told of something that is known: itself, for a moment, or an error, as the mount wants it.
fn past_freshness(world: &World, mount: usize) -> Result<Covered, ErrorKind> {
    let is_served =
        !world.mounts[mount].fails_in_outage() || world.plan.planted == Some(Planted::OutageIsServed);
    if is_served { Ok(Covered::Outage) } else { Err(ErrorKind::UnderStore) }
}

/// Whether that can be told without asking again, when a listing failed a moment ago.
fn may_tell_at_once(world: &World, master: &Master, mount: usize) -> bool {
    !world.mounts[mount].fails_in_outage() || master.is_away[mount].get()
}

fn patience(world: &World, master: &Master, mount: usize) -> Duration {
    match (master.is_away[mount].get(), world.mounts[mount].fails_in_outage()) {
        (true, _) => OUTAGE_PATIENCE,
        (false, false) => SILENCE_PATIENCE,
        (false, true) => SILENCE_PATIENCE_FAIL,
    }
}

fn joined(
    world: &Rc<World>,
    master: &Rc<Master>,
    place: &Place,
    is_young_enough: impl FnOnce(BootInstant) -> bool,
    wanted: Wanted,
) -> Waiting {
    let waiting = match master.listings.join(place.directory.id, is_young_enough, wanted) {
        Joined::UnderWay(waiting) => return waiting,
        Joined::ToBegin(waiting) => waiting,
    };
    let (of, master, place) = (Rc::clone(world), Rc::clone(master), place.clone());
    world.executor.spawn(master.node(), async move { run_listings(&of, &master, &place).await });
    waiting
}

async fn run_listings(world: &Rc<World>, master: &Rc<Master>, place: &Place) {
    let listing = Listing { world, master, place };
    loop {
        let outcome = match listing.run().await {
            // What it was compared with was forgotten.
            Err(ErrorKind::Stale) => Ok(Finish::GivenUp),
            outcome => outcome,
        };
        note(world, master, place, outcome);
        let is_for_all = outcome.is_err_and(is_outage);
        let ended = outcome.map_err(|kind| (kind, String::new()));
        if !master.listings.ended(place.directory.id, ended, is_for_all) {
            return;
        }
    }
}

fn note(world: &World, master: &Master, place: &Place, outcome: Result<Finish, ErrorKind>) {
    let (id, away) = (place.directory.id, &master.is_away[place.mount]);
    world.note(format_args!("listing of {}:{:?} {id} ended: {outcome:?}", place.mount, place.path()));
    match outcome {
        Ok(_) => away.set(false),
        // The mount was put into maintenance in the midst of it.
        Err(ErrorKind::Maintenance) => {}
        Err(kind) => {
            // Also of a directory that is gone, what was known is served until the reaper comes to it.
            world.mounts[place.mount].store.note_trouble(world.now());
            let freshness = world.mounts[place.mount].freshness();
            master.checks.borrow_mut().failed(id, freshness, master.now(world));
            if is_outage(kind) {
                away.set(true);
            }
        }
    }
}

/// How a wait for a listing ended.
enum Waited {
    Part(Course),
    Ended(Result<Finish, ErrorKind>),
    Silence,
}

/// Waits until a listing has met the goal or ends, for as long as pages of it come.
async fn wait_for(world: &World, mut waiting: Waiting, patience: Option<Duration>, goal: Goal<'_>) -> Waited {
    let mut pages = waiting.borrow().pages;
    loop {
        let is_news = |course: &Course| course.ended.is_some() || goal.is_met(course) || course.pages > pages;
        let news = waiting.wait_for(is_news);
        let news = match patience {
            None => Some(news.await),
            Some(patience) => world.executor.within(patience, news).await,
        };
        let course = match news {
            None => return Waited::Silence,
            Some(Err(_)) => return Waited::Ended(Err(ErrorKind::Unavailable)),
            Some(Ok(course)) => course,
        };
        match &course.ended {
            Some(ended) => return Waited::Ended(ended.clone().map_err(|(kind, _)| kind)),
            None if goal.is_met(&course) => return Waited::Part(course.clone()),
            None => pages = course.pages,
        }
    }
}

/// Compares one file with its under-store by one request. Gives whether what is known is served for want of it.
pub(crate) async fn ensure_current(
    world: &Rc<World>,
    master: &Rc<Master>,
    file: &Inode,
    leave: Duration,
) -> Result<bool, ErrorKind> {
    match compare(world, master, file, leave).await {
        Err(kind) if is_outage(kind) || matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            let mount = world.mount_of(file).ok_or(ErrorKind::NotFound)?;
            past_freshness(world, mount).map(|_| true)
        }
        outcome => outcome.map(|()| false),
    }
}

/// The same; an outage is an error.
pub(crate) async fn compare(
    world: &Rc<World>,
    master: &Rc<Master>,
    file: &Inode,
    leave: Duration,
) -> Result<(), ErrorKind> {
    let Some(version) = file.version() else { return Ok(()) };
    let mount = world.mount_of(file).ok_or(ErrorKind::NotFound)?;
    let path = String::from_utf8_lossy(version.key.as_bytes()).into_owned();
    may_ask(world, master, mount)?;
    let look = master.listings.look(file.parent, master.now(world));
    let asked = look_at((world, master), mount, &path, Content::of(&version.fingerprint), leave);
    let (found, at) = match world.executor.within(patience(world, master, mount), asked).await {
        Some(Ok(looked)) => looked,
        Some(Err(ErrorKind::Maintenance)) => return Err(ErrorKind::Maintenance),
        Some(Err(_)) | None => {
            master.is_away[mount].set(true);
            return Err(ErrorKind::UnderStore);
        }
    };
    master.is_away[mount].set(false);
    world.note(format_args!("{mount}:{path:?} was {found:?} at {at:?}, by itself"));
    let fingerprint = match found {
        Seen::File(content) => Some(content.fingerprint()),
        Seen::Absent => None,
        Seen::Directory => {
            // What has its place only a listing can show, which would wait for this look.
            drop(look);
            let parent = query::attributes(&*master.store.borrow(), file.parent);
            let parent = parent.expect("memory can be read").ok_or(ErrorKind::NotFound)?;
            return list_now(world, master, &Place::of(world, parent)?).await;
        }
    };
    if fingerprint.as_ref().is_some_and(|found| version.fingerprint.is_same_content(found)) {
        return Ok(());
    }
    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
    let evidence = Evidence { mount, path, directory: file.parent, name, at };
    let command =
        Command::SupersedeVersion(SupersedeVersion { inode: file.id, seen: version.file, fingerprint });
    let (of, proposer) = (Rc::clone(world), Rc::clone(master));
    let (sender, proposed) = oneshot::channel();
    // Whoever asked may go away meanwhile; the look ends when the log has it all the same.
    world.executor.spawn(master.node(), async move {
        let proposed = proposer.propose(&of, command, vec![evidence]).await;
        drop(look);
        let _ = sender.send(proposed.map(drop));
    });
    proposed.await.unwrap_or(Err(ErrorKind::Unavailable))
}

/// What the place of a file is: one request where the file is as it was, and another where it is not.
async fn look_at(
    (world, master): (&Rc<World>, &Rc<Master>),
    mount: usize,
    path: &str,
    known: Content,
    leave: Duration,
) -> Result<(Seen, Duration), ErrorKind> {
    let (store, failed) = (&world.mounts[mount].store, |_: StoreFault| ErrorKind::UnderStore);
    let (found, at) = store.head(world, leave, path).await.map_err(failed)?;
    if found == Some(known) || world.plan.planted == Some(Planted::KeyIsName) {
        return Ok((found.map_or(Seen::Absent, Seen::File), at));
    }
    let leave = may_ask_on(world, master, mount).await?;
    store.stat(world, leave, path).await.map_err(failed)
}

/// Where a name stands in a listing if it is a directory; as a file it would stand before.
pub(crate) fn position(name: &str) -> ListingPosition {
    ListingPosition::of(&entry_name(name), EntryKind::Directory)
}
