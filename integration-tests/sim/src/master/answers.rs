//! Answers about the namespace, as master/server/src/tree.rs gives them.

mod single;

use std::rc::Rc;
use std::time::Duration;

use forebay_master::{Verdict, validity};
use forebay_metadata::{Edge, Freshness, Inode, query};
use forebay_proto::Validity;
use forebay_types::limits::LISTING_PAGE_MAX;
use forebay_types::{EntryKind, ErrorKind, InodeId, ListingPosition, VersionDescriptor};

use self::single::Name;
use super::Master;
use super::listing::{
    Covered, Goal, Part, Place, compare, ensure, ensure_current, list_now, position, renew_in_background,
};
use crate::limits::{FORGOTTEN_ATTEMPTS_MAX, MAINTENANCE_VALIDITY};
use crate::plan::Planted;
use crate::store::{Seen, entry_name};
use crate::world::World;

/// What an inode is.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The inode.
    pub(crate) inode: InodeId,
    /// The directory that it lies in.
    pub(crate) directory: InodeId,
    /// What it is.
    pub(crate) seen: Seen,
    /// The version of a file.
    pub(crate) version: Option<VersionDescriptor>,
}

/// An answer, for how long it may be used, and whether it is excused by an outage.
#[derive(Clone, Debug)]
pub(crate) struct Answer<T> {
    /// What was asked for.
    pub(crate) of: T,
    /// For how long it may be used.
    pub(crate) validity: Validity,
    /// It may be older than the freshness, since the under-store is away.
    pub(crate) is_outage: bool,
}

impl Entry {
    fn new(inode: &Inode) -> Self {
        let seen = Seen::of(inode);
        Self { inode: inode.id, directory: inode.parent, seen, version: inode.version() }
    }

    /// What kind of entry it is.
    pub(crate) const fn kind(&self) -> EntryKind {
        if matches!(self.seen, Seen::Directory) { EntryKind::Directory } else { EntryKind::File }
    }
}

impl Master {
    /// What a name is in a directory. Of one that is being listed only what is asked for must have been seen.
    pub(crate) async fn lookup(
        self: &Rc<Self>,
        world: &Rc<World>,
        parent: InodeId,
        name: &str,
    ) -> Result<Answer<Option<Entry>>, ErrorKind> {
        while_forgotten(|| self.lookup_once(world, parent, name)).await
    }

    async fn lookup_once(
        self: &Rc<Self>,
        world: &Rc<World>,
        parent: InodeId,
        name: &str,
    ) -> Result<Answer<Option<Entry>>, ErrorKind> {
        let question = || known_as(self, parent, name);
        self.confirm(world).await?;
        let place = Place::of(world, existing(self, parent)?)?;
        let of = Name { name, inode: None, position: Some(&position(name)) };
        let fresh = match self.fresh_for(world, &place) {
            None => self.fresh_for_single(world, &place, of)?,
            fresh => fresh,
        };
        if let Some(validity) = fresh {
            let of = question().map(|(entry, _)| entry);
            return Ok(Answer { of, validity, is_outage: false });
        }
        if self.is_in_maintenance(world, place.mount)
            && let Some((entry, _)) = question()
        {
            return Ok(in_maintenance(world, &place, Some(entry)));
        }
        let told = || Ok(question().map(|(entry, _)| entry));
        if let Some(answer) = self.answer_single(world, &place, of, told).await? {
            return Ok(answer);
        }
        let covered = ensure(world, self, &place, Goal::UpTo(&position(name))).await?;
        self.confirm(world).await?;
        let of = question();
        check_known(world, self, &place, &covered)?;
        Ok(match covered {
            Covered::Part(part) => {
                let name = entry_name(name);
                let of = of.filter(|(_, edge)| !part.is_gone(&name, edge)).map(|(entry, _)| entry);
                // What is missing was missing from the earlier of two places.
                let kind = of.as_ref().map_or(EntryKind::File, Entry::kind);
                let remaining = part.remaining(&ListingPosition::of(&name, kind), self.now(world));
                let validity = Validity { granted: Duration::ZERO, ..valid(world, &place, remaining) };
                Answer { of, validity, is_outage: false }
            }
            whole => {
                let is_outage = whole.is_excused();
                let of = of.map(|(entry, _)| entry);
                Answer { of, validity: valid(world, &place, whole.whole()), is_outage }
            }
        })
    }

    /// What of a directory follows a place, as far as it was seen, and whether that is all of it.
    pub(crate) async fn list_page(
        self: &Rc<Self>,
        world: &Rc<World>,
        directory: InodeId,
        after: Option<&ListingPosition>,
    ) -> Result<Answer<(Named, bool)>, ErrorKind> {
        while_forgotten(|| self.list_page_once(world, directory, after)).await
    }

    async fn list_page_once(
        self: &Rc<Self>,
        world: &Rc<World>,
        directory: InodeId,
        after: Option<&ListingPosition>,
    ) -> Result<Answer<(Named, bool)>, ErrorKind> {
        let mut goal = after.cloned();
        loop {
            self.confirm(world).await?;
            let place = Place::of(world, existing(self, directory)?)?;
            if let Some(validity) = self.fresh_for(world, &place) {
                let of = (page(self, directory, after, None), true);
                return Ok(Answer { of, validity, is_outage: false });
            }
            let is_loaded = query::is_loaded(&*self.store.borrow(), directory);
            let may_be_old = after.is_some() && world.plan.planted == Some(Planted::LaterPartsAreOld);
            if may_be_old && is_loaded.expect("memory can be read") {
                let of = (page(self, directory, after, None), true);
                return Ok(Answer { of, validity: Validity::default(), is_outage: false });
            }
            let covered = ensure(world, self, &place, Goal::Beyond(goal.as_ref())).await?;
            self.confirm(world).await?;
            check_known(world, self, &place, &covered)?;
            let Covered::Part(part) = covered else {
                let is_outage = covered.is_excused();
                let of = (page(self, directory, after, None), true);
                return Ok(Answer { of, validity: valid(world, &place, covered.whole()), is_outage });
            };
            let named = page(self, directory, after, Some(&part));
            if let Some((name, entry)) = named.last() {
                let remaining = part.remaining(&stands(name, entry), self.now(world));
                let validity = Validity { granted: Duration::ZERO, ..valid(world, &place, remaining) };
                return Ok(Answer { of: (named, false), validity, is_outage: false });
            }
            // All that was seen is gone, or nothing: what follows is waited for.
            goal = Some(part.passed);
        }
    }

    /// All entries of a directory.
    pub(crate) async fn list(
        self: &Rc<Self>,
        world: &Rc<World>,
        directory: InodeId,
    ) -> Result<Answer<Vec<(String, Entry)>>, ErrorKind> {
        let question = || {
            let page = query::list(&*self.store.borrow(), directory, None, LISTING_PAGE_MAX);
            let named = |inode: &Inode| inode.name.as_ref().map(|name| (name.to_string(), Entry::new(inode)));
            Ok(page.expect("memory can be read").iter().filter_map(named).collect())
        };
        self.within_freshness(world, directory, question).await
    }

    /// The entry of a file that is about to be read.
    pub(crate) async fn open(
        self: &Rc<Self>,
        world: &Rc<World>,
        inode: InodeId,
    ) -> Result<Answer<Entry>, ErrorKind> {
        let leave = self.confirm(world).await?;
        let file = existing(self, inode)?;
        if file.kind() != EntryKind::File {
            return Err(ErrorKind::IsADirectory);
        }
        let mount = world.mount_of(&file).ok_or(ErrorKind::NotFound)?;
        let is_at_once = world.mounts[mount].freshness() == Freshness::Bound(Duration::ZERO);
        if is_at_once && !self.is_in_maintenance(world, mount) {
            let is_outage = match ensure_current(world, self, &file, leave).await {
                Err(ErrorKind::Maintenance) => true,
                outcome => outcome?,
            };
            self.confirm(world).await?;
            let of = Entry::new(&existing(self, inode)?);
            return Ok(Answer { of, validity: Validity::default(), is_outage });
        }
        while_forgotten(|| self.open_once(world, &file)).await
    }

    async fn open_once(self: &Rc<Self>, world: &Rc<World>, file: &Inode) -> Result<Answer<Entry>, ErrorKind> {
        let place = Place::of(world, existing(self, file.parent)?)?;
        let name = file.name.as_ref().ok_or(ErrorKind::NotFound)?.to_string();
        let of = Name { name: &name, inode: Some(file.id), position: None };
        let described = || Ok(Entry::new(&existing(self, file.id)?));
        let fresh = match self.fresh_for(world, &place) {
            None => self.fresh_for_single(world, &place, of)?,
            fresh => fresh,
        };
        if let Some(validity) = fresh {
            return Ok(Answer { of: described()?, validity, is_outage: false });
        }
        if self.is_in_maintenance(world, place.mount) {
            return Ok(in_maintenance(world, &place, described()?));
        }
        match self.answer_single(world, &place, of, described).await? {
            Some(answer) => Ok(answer),
            None => self.answered_once(world, &place, &described).await,
        }
    }

    /// The entry of a file, after it was compared with its under-store just now.
    pub(crate) async fn renew_file(
        self: &Rc<Self>,
        world: &Rc<World>,
        inode: InodeId,
    ) -> Result<Entry, ErrorKind> {
        let leave = self.confirm(world).await?;
        ensure_current(world, self, &existing(self, inode)?, leave).await?;
        self.confirm(world).await?;
        Ok(Entry::new(&existing(self, inode)?))
    }

    /// Compares a directory or a file with its under-store, whatever its freshness.
    pub(crate) async fn refresh(self: &Rc<Self>, world: &Rc<World>, inode: InodeId) -> Result<(), ErrorKind> {
        let leave = self.confirm(world).await?;
        let inode = existing(self, inode)?;
        match inode.kind() {
            EntryKind::Directory => list_now(world, self, &Place::of(world, inode)?).await,
            EntryKind::File | EntryKind::Symlink => compare(world, self, &inode, leave).await,
        }
    }

    async fn within_freshness<T>(
        self: &Rc<Self>,
        world: &Rc<World>,
        directory: InodeId,
        question: impl Fn() -> Result<T, ErrorKind>,
    ) -> Result<Answer<T>, ErrorKind> {
        self.confirm(world).await?;
        let place = Place::of(world, existing(self, directory)?)?;
        self.answered(world, &place, question).await
    }

    /// Answers at once where what is known is fresh, else after a listing.
    async fn answered<T>(
        self: &Rc<Self>,
        world: &Rc<World>,
        place: &Place,
        question: impl Fn() -> Result<T, ErrorKind>,
    ) -> Result<Answer<T>, ErrorKind> {
        while_forgotten(|| self.answered_once(world, place, &question)).await
    }

    async fn answered_once<T>(
        self: &Rc<Self>,
        world: &Rc<World>,
        place: &Place,
        question: impl Fn() -> Result<T, ErrorKind>,
    ) -> Result<Answer<T>, ErrorKind> {
        if let Some(validity) = self.fresh_for(world, place) {
            return Ok(Answer { of: question()?, validity, is_outage: false });
        }
        let covered = ensure(world, self, place, Goal::All).await?;
        self.confirm(world).await?;
        check_known(world, self, place, &covered)?;
        let (validity, is_outage) = (valid(world, place, covered.whole()), covered.is_excused());
        Ok(Answer { of: question()?, validity, is_outage })
    }

    /// For how long a client may use what is known of a directory; `None` if it must be listed first.
    fn fresh_for(self: &Rc<Self>, world: &Rc<World>, place: &Place) -> Option<Validity> {
        let (freshness, now) = (world.mounts[place.mount].freshness(), self.now(world));
        let verdict = self.checks.borrow_mut().verdict(place.directory.id, freshness, now);
        let remaining = match verdict {
            Verdict::Fresh(remaining) | Verdict::Aging(remaining) => remaining,
            Verdict::Over | Verdict::OverAndFailing => return None,
        };
        if !is_listed(world, self, place) {
            self.checks.borrow_mut().forgot(place.directory.id);
            return None;
        }
        if matches!(verdict, Verdict::Aging(_)) {
            renew_in_background(world, self, place);
        }
        Some(valid(world, place, remaining))
    }
}

/// Asks again if the directory was forgotten between its listing and the answer.
async fn while_forgotten<T, F>(ask: impl Fn() -> F) -> Result<T, ErrorKind>
where
    F: Future<Output = Result<T, ErrorKind>>,
{
    for _ in 1..FORGOTTEN_ATTEMPTS_MAX {
        match ask().await {
            Err(FORGOTTEN) => {}
            outcome => return outcome,
        }
    }
    ask().await
}

/// What was listed of a directory was dropped before it could be answered from.
const FORGOTTEN: ErrorKind = ErrorKind::Busy;

/// Whether what was listed of a directory, all or a part, is still known.
fn check_known(world: &World, master: &Master, place: &Place, covered: &Covered) -> Result<(), ErrorKind> {
    let is_known = match covered {
        Covered::Part(part) => {
            let known = query::listing(&*master.store.borrow(), place.directory.id);
            part.is_of(&known.expect("memory can be read"))
        }
        Covered::Whole(_) | Covered::Outage | Covered::Maintenance => is_listed(world, master, place),
    };
    if is_known { Ok(()) } else { Err(FORGOTTEN) }
}

fn is_listed(world: &World, master: &Master, place: &Place) -> bool {
    let listed = query::is_listed(&*master.store.borrow(), place.directory.id);
    listed.expect("memory can be read") || world.plan.planted == Some(Planted::ForgottenIsMissing)
}

/// Entries with their names.
pub(crate) type Named = Vec<(String, Entry)>;

fn valid(world: &World, place: &Place, remaining: Duration) -> Validity {
    let mount = &world.mounts[place.mount];
    validity(remaining, mount.freshness(), mount.options.coherence)
}

/// What is known, of a mount whose under-store nobody may ask.
fn in_maintenance<T>(world: &World, place: &Place, of: T) -> Answer<T> {
    Answer { of, validity: valid(world, place, MAINTENANCE_VALIDITY), is_outage: true }
}

/// Where an entry stands in a listing.
pub(crate) fn stands(name: &str, entry: &Entry) -> ListingPosition {
    ListingPosition::of(&entry_name(name), entry.kind())
}

/// What is known of a directory after a place, in the order of keys; of one that is being listed, what was seen.
fn page(master: &Master, directory: InodeId, after: Option<&ListingPosition>, part: Option<&Part>) -> Named {
    let state = master.store.borrow();
    let up_to = part.map(|part| &part.passed);
    let edges = query::list_edges_by_key(&*state, directory, after, up_to, LISTING_PAGE_MAX);
    let edges = edges.expect("memory can be read").into_iter();
    let shown = edges.filter(|(name, edge)| part.is_none_or(|part| !part.is_gone(name, edge)));
    shown.filter_map(|(name, edge)| Some((name.to_string(), entry_at(master, &edge)?))).collect()
}

/// What a name is known as, and how that came to be.
fn known_as(master: &Master, directory: InodeId, name: &str) -> Option<(Entry, Edge)> {
    let name = entry_name(name);
    let edges = query::list_edges(&*master.store.borrow(), directory, None, LISTING_PAGE_MAX);
    let mut edges = edges.expect("memory can be read").into_iter();
    let (_, edge) = edges.find(|(other, _)| *other == name)?;
    Some((entry_at(master, &edge)?, edge))
}

fn entry_at(master: &Master, edge: &Edge) -> Option<Entry> {
    let inode = query::attributes(&*master.store.borrow(), edge.target).expect("memory can be read");
    inode.as_ref().map(Entry::new)
}

/// An inode that is there.
pub(crate) fn existing(master: &Master, inode: InodeId) -> Result<Inode, ErrorKind> {
    let found = query::attributes(&*master.store.borrow(), inode).expect("memory can be read");
    found.ok_or(ErrorKind::NotFound)
}
