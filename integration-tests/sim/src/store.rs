//! An under-store: objects that change behind everybody's back, and what each path was at each moment.
//!
//! Like S3 it has keys only: a directory is there as long as a key begins with its name, and hides an object of its
//! own name. Pages of a listing show different moments.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use forebay_types::{ByteCount, EntryKind, EntryName, Fingerprint, ListingPosition, PAGE_LENGTH, Timestamp};
use forebay_under_store::{ListedObject, ObjectStatus};

use crate::plan::Fault;
use crate::random::Random;
use crate::world::World;

/// A content of an object. Each has a tag of its own, whatever its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    /// What tells it from all others.
    pub(crate) tag: u64,
    /// Its length in bytes.
    pub(crate) length: u64,
}

/// What a path is at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Nothing.
    Absent,
    /// A directory.
    Directory,
    /// A file.
    File(Content),
}

/// Bytes of a page: of what content, and which of its pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageBytes {
    /// Of which content.
    pub(crate) tag: u64,
    /// The number of the page.
    pub(crate) page: u32,
}

/// A part of a directory as it was at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// The names after the page before.
    pub(crate) entries: Vec<(String, Seen)>,
    /// When that was so.
    pub(crate) at: Duration,
    /// Where the next page begins; `None` after the last.
    pub(crate) next: Option<ListingPosition>,
    /// Every entry up to here was in this page or in an earlier one, where that is known.
    pub(crate) passed: Option<ListingPosition>,
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(crate) enum StoreFault {
    /// It fails.
    Failed,
    /// The answer was broken off after this part.
    Cut(Page),
    /// The object is another one now, or gone.
    Changed,
}

/// How an under-store is for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    /// It answers.
    #[default]
    Well,
    /// Each request fails.
    Failing,
    /// It says nothing.
    Silent,
    /// Answers take seconds.
    Slow,
}

/// One under-store.
#[derive(Debug)]
pub(crate) struct UnderStore {
    /// How it is.
    mood: Cell<Mood>,
    /// Whether it sends what it has, whatever version was asked for.
    pub(crate) ignores_conditions: bool,
    /// Whether listings come in the order of keys.
    is_ordered: bool,
    /// Whether each page of a listing takes a second or two, while all else is quick: many keys lie between those shown.
    lists_slowly: Cell<bool>,
    objects: RefCell<BTreeMap<String, Content>>,
    history: RefCell<BTreeMap<String, Vec<(Duration, Seen)>>>,
    next_tag: Cell<u64>,
    /// A key that is changed and asked for more often than others, so that changes and questions meet.
    hot: RefCell<String>,
    /// Since when nobody may ask for names, and until when it was known that somebody might not.
    closed: Cell<Option<Duration>>,
    closed_until: Cell<Option<Duration>>,
    /// The end of the last request that failed, was cut short or stayed without an answer.
    trouble_at: Cell<Option<Duration>>,
}

/// As a directory `a` stands after `a-b`, whose name is the greater one.
const TOP: [&str; 5] = ["a", "a-b", "b", "c", "d"];
const BELOW: [&str; 5] = ["p", "q", "r", "s", "t"];

impl UnderStore {
    /// An under-store with some objects.
    pub(crate) fn new(random: &mut Random) -> Self {
        let store = Self {
            mood: Cell::default(),
            ignores_conditions: random.chance(1, 3),
            is_ordered: random.chance(3, 4),
            lists_slowly: Cell::default(),
            objects: RefCell::default(),
            history: RefCell::default(),
            next_tag: Cell::new(1),
            hot: RefCell::new(some_key(random)),
            closed: Cell::default(),
            closed_until: Cell::default(),
            trouble_at: Cell::default(),
        };
        for _ in 0..12 {
            let key = some_key(random);
            let content = store.new_content(random);
            store.objects.borrow_mut().insert(key.clone(), content);
            store.record(&key, Duration::ZERO);
        }
        store
    }

    /// All paths that there ever were below a directory, as names.
    pub(crate) fn names_ever(&self, directory: &str) -> Vec<String> {
        let history = self.history.borrow();
        history.keys().filter_map(|path| name_in(directory, path)).map(str::to_owned).collect()
    }

    /// The keys there are.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.objects.borrow().keys().cloned().collect()
    }

    /// What a path was at some moment between two. While it turns from a file into a directory or back it stands in two
    /// places of a listing, and a listing in parts may meet it in neither: then it may be taken for absent too.
    pub(crate) fn between(&self, path: &str, from: Duration, to: Duration) -> Vec<Seen> {
        let history = self.history.borrow();
        let changes = history.get(path).map_or(&[][..], Vec::as_slice);
        let before = changes.iter().rev().find(|(at, _)| *at <= from).map_or(Seen::Absent, |(_, seen)| *seen);
        let mut all = vec![before];
        all.extend(changes.iter().filter(|(at, _)| *at > from && *at <= to).map(|(_, seen)| *seen));
        if all.contains(&Seen::Directory) && all.iter().any(|seen| matches!(seen, Seen::File(_))) {
            all.push(Seen::Absent);
        }
        all
    }

    /// When something last went wrong with a request.
    pub(crate) fn trouble_at(&self) -> Option<Duration> {
        match self.mood.get() {
            Mood::Well => self.trouble_at.get(),
            _ => Some(Duration::MAX),
        }
    }

    /// From now on it is like this.
    pub(crate) fn set_mood(&self, mood: Mood, now: Duration) {
        self.mood.set(mood);
        self.note_trouble(now);
    }

    /// From now on listings take long.
    pub(crate) fn list_slowly(&self) {
        self.lists_slowly.set(true);
    }

    /// Its mount may be in maintenance until this moment.
    pub(crate) fn may_be_closed_until(&self, until: Duration) {
        self.closed_until.set(Some(until));
    }

    /// From now on it is known to be in maintenance, or not to be.
    pub(crate) fn set_closed(&self, since: Option<Duration>) {
        self.closed.set(since);
    }

    /// Whether it may have been in maintenance since.
    pub(crate) fn was_closed_since(&self, since: Duration) -> bool {
        self.closed_until.get().is_some_and(|until| until >= since)
    }

    /// Somebody asks for names, who may have known the mode of `leave` and nothing newer.
    fn check_open(&self, world: &World, leave: Duration, of: &str) {
        if self.closed.get().is_some_and(|since| since <= leave) {
            let what = format!("{of:?} was asked for in maintenance");
            world.oracle.report(world, "nobody-is-asked-in-maintenance", what, &["maintenance".to_owned()]);
        }
    }

    /// Something went wrong that looks as if the under-store was away.
    pub(crate) fn note_trouble(&self, now: Duration) {
        self.trouble_at.set(Some(now));
    }

    /// A path that somebody asks for.
    pub(crate) fn some_path(&self, random: &mut Random) -> String {
        if random.chance(1, 3) { self.hot.borrow().clone() } else { some_key(random) }
    }

    /// Changes something.
    pub(crate) fn mutate(&self, random: &mut Random, number: usize, now: Duration) -> String {
        let keys = self.keys();
        if random.chance(1, 12) {
            *self.hot.borrow_mut() = some_key(random);
        }
        let key = if keys.is_empty() || random.chance(1, 3) {
            self.some_path(random)
        } else {
            keys[random.index(keys.len())].clone()
        };
        let before = self.objects.borrow().get(&key).copied();
        match (random.below(10), before) {
            (0..=4, Some(before)) => {
                let mut content = self.new_content(random);
                // Same length and another tag: only the tag tells them apart.
                if random.chance(1, 2) {
                    content.length = before.length;
                }
                self.put(&key, Some(content), now);
                format!("replaced {number}:{key:?} by {content:?}")
            }
            (5..=7, Some(_)) => {
                self.put(&key, None, now);
                format!("deleted {number}:{key:?}")
            }
            (_, Some(before)) => {
                let to = some_key(random);
                self.put(&to, Some(before), now);
                self.put(&key, None, now);
                format!("renamed {number}:{key:?} to {number}:{to:?}")
            }
            (_, None) => {
                let content = self.new_content(random);
                self.put(&key, Some(content), now);
                format!("added {number}:{key:?} as {content:?}")
            }
        }
    }

    fn put(&self, key: &str, content: Option<Content>, now: Duration) {
        match content {
            Some(content) => self.objects.borrow_mut().insert(key.to_owned(), content),
            None => self.objects.borrow_mut().remove(key),
        };
        self.record(key, now);
    }

    /// Writes down what the path and the directory around it are from now on.
    fn record(&self, key: &str, now: Duration) {
        let above = key.rsplit_once('/').map(|(above, _)| above);
        for path in [Some(key), above].into_iter().flatten() {
            let seen = self.seen(path);
            let mut history = self.history.borrow_mut();
            let changes = history.entry(path.to_owned()).or_default();
            if changes.last().map_or(Seen::Absent, |(_, last)| *last) != seen {
                changes.push((now, seen));
            }
        }
    }

    fn seen(&self, path: &str) -> Seen {
        let objects = self.objects.borrow();
        let below = format!("{path}/");
        if objects.range(below.clone()..).next().is_some_and(|(key, _)| key.starts_with(&below)) {
            return Seen::Directory;
        }
        objects.get(path).map_or(Seen::Absent, |content| Seen::File(*content))
    }

    fn new_content(&self, random: &mut Random) -> Content {
        let tag = self.next_tag.get();
        self.next_tag.set(tag + 1);
        let length = [0, 1, PAGE_LENGTH, 2 * PAGE_LENGTH + 7, 3 * PAGE_LENGTH][random.index(5)];
        Content { tag, length }
    }

    fn page(&self, directory: &str, after: Option<&ListingPosition>, most: usize, at: Duration) -> Page {
        let names = self.names_ever(directory).into_iter();
        let mut all: Vec<_> = names
            .map(|name| (self.seen(&join(directory, &name)), name))
            .filter(|(seen, _)| *seen != Seen::Absent)
            .map(|(seen, name)| (position(&name, seen), name, seen))
            .collect();
        all.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        if !self.is_ordered {
            all.reverse();
        }
        let is_later = |at: &ListingPosition| {
            after.is_none_or(|after| if self.is_ordered { at > after } else { at < after })
        };
        all.retain(|(at, ..)| is_later(at));
        let next = (all.len() > most).then(|| all[most - 1].0.clone());
        all.truncate(most);
        let passed = all.last().map(|(at, ..)| at.clone()).filter(|_| self.is_ordered);
        let entries = all.into_iter().map(|(_, name, seen)| (name, seen)).collect();
        Page { entries, at, next, passed }
    }

    /// The way of a request there; what follows happens at one moment.
    async fn reach(&self, world: &Rc<World>) -> Result<(), StoreFault> {
        let latency = match self.mood.get() {
            Mood::Slow => world.dice("store", |random| random.millis(4000)),
            _ => world.dice("store", |random| random.millis(40)),
        };
        world.sleep(latency).await;
        match self.mood.get() {
            Mood::Failing => {
                self.note_trouble(world.now());
                return Err(StoreFault::Failed);
            }
            Mood::Silent => {
                // Nobody waits that long.
                world.sleep(Duration::from_secs(3600)).await;
            }
            Mood::Well | Mood::Slow => {}
        }
        if world.plan.has(Fault::StoreFails) && world.dice("store-fails", |random| random.chance(1, 25)) {
            self.note_trouble(world.now());
            return Err(StoreFault::Failed);
        }
        Ok(())
    }

    async fn answer(&self, world: &Rc<World>) {
        let latency = match self.mood.get() {
            Mood::Slow => world.dice("store", |random| random.millis(2000)),
            _ => world.dice("store", |random| random.millis(20)),
        };
        world.sleep(latency).await;
    }

    /// A page of a directory.
    pub(crate) async fn list(
        &self,
        world: &Rc<World>,
        leave: Duration,
        directory: &str,
        after: Option<&ListingPosition>,
    ) -> Result<Page, StoreFault> {
        self.check_open(world, leave, directory);
        self.reach(world).await?;
        if self.lists_slowly.get() {
            // Less than anybody's patience.
            let more = world.dice("slow-listings", |random| random.millis(2500));
            world.sleep(more).await;
        }
        let most = world.dice("store", |random| 1 + random.index(4));
        let mut page = self.page(directory, after, most, world.now());
        let is_cut =
            world.plan.has(Fault::StoreCutsShort) && world.dice("store-cuts", |random| random.chance(1, 15));
        self.answer(world).await;
        if is_cut {
            self.note_trouble(world.now());
            let left = world.dice("store-cuts", |random| random.index(page.entries.len().max(1)));
            page.entries.truncate(left);
            page.next = None;
            page.passed =
                page.entries.last().map(|(name, seen)| position(name, *seen)).filter(|_| self.is_ordered);
            return Err(StoreFault::Cut(page));
        }
        Ok(page)
    }

    /// What the object of a key is, and when that was so.
    pub(crate) async fn head(
        &self,
        world: &Rc<World>,
        leave: Duration,
        key: &str,
    ) -> Result<(Option<Content>, Duration), StoreFault> {
        self.check_open(world, leave, key);
        self.reach(world).await?;
        let found = (self.objects.borrow().get(key).copied(), world.now());
        self.answer(world).await;
        Ok(found)
    }

    /// What a path is, a directory too, and when that was so.
    pub(crate) async fn stat(
        &self,
        world: &Rc<World>,
        leave: Duration,
        path: &str,
    ) -> Result<(Seen, Duration), StoreFault> {
        self.check_open(world, leave, path);
        self.reach(world).await?;
        let found = (self.seen(path), world.now());
        self.answer(world).await;
        Ok(found)
    }

    /// A page of the version `tag` of an object, or of whatever version there is where conditions are ignored.
    pub(crate) async fn get(
        &self,
        world: &Rc<World>,
        key: &str,
        tag: u64,
        page: u32,
    ) -> Result<PageBytes, StoreFault> {
        self.reach(world).await?;
        let found = self.objects.borrow().get(key).copied();
        self.answer(world).await;
        match found {
            Some(content) if content.tag == tag || self.ignores_conditions => {
                Ok(PageBytes { tag: content.tag, page })
            }
            _ => Err(StoreFault::Changed),
        }
    }
}

impl Seen {
    /// As a listing shows it; `None` for nothing.
    pub(crate) fn listed(self, name: &str) -> Option<ListedObject> {
        let status = match self {
            Self::Absent => return None,
            Self::Directory => ObjectStatus::plain_directory(),
            Self::File(content) => ObjectStatus::plain_file(content.fingerprint()),
        };
        Some(ListedObject { name: entry_name(name), status })
    }

    /// What an inode says that it is.
    pub(crate) fn of(inode: &forebay_metadata::Inode) -> Self {
        match (inode.kind(), inode.version()) {
            (EntryKind::File, Some(version)) => Self::File(Content::of(&version.fingerprint)),
            _ => Self::Directory,
        }
    }
}

impl Content {
    /// As an under-store tells it. The time says nothing.
    pub(crate) fn fingerprint(self) -> Fingerprint {
        Fingerprint {
            tag: Some(format!("t{}", self.tag)),
            version_id: None,
            length: ByteCount::new(self.length),
            modified: Timestamp::from_nanos(5),
            local: None,
        }
    }

    /// What a fingerprint stands for.
    pub(crate) fn of(fingerprint: &Fingerprint) -> Self {
        let tag =
            fingerprint.tag.as_deref().and_then(|tag| tag.strip_prefix('t')).and_then(|tag| tag.parse().ok());
        // A tag that no object ever had is found by the oracle.
        Self { tag: tag.unwrap_or(u64::MAX), length: fingerprint.length.get() }
    }
}

/// A legal name.
pub(crate) fn entry_name(name: &str) -> EntryName {
    EntryName::new(name.as_bytes()).expect("the names of this simulation are legal")
}

/// Where an entry stands in a listing.
fn position(name: &str, seen: Seen) -> ListingPosition {
    let kind = if seen == Seen::Directory { EntryKind::Directory } else { EntryKind::File };
    ListingPosition::of(&entry_name(name), kind)
}

/// The path of a name in a directory; the root is the empty path.
pub(crate) fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// The name of a path that lies right in a directory.
fn name_in<'a>(directory: &str, path: &'a str) -> Option<&'a str> {
    let name = if directory.is_empty() { path } else { path.strip_prefix(directory)?.strip_prefix('/')? };
    (!name.contains('/')).then_some(name)
}

/// A key, most often one below a directory.
fn some_key(random: &mut Random) -> String {
    let top = TOP[random.index(TOP.len())];
    if random.chance(2, 5) { top.to_owned() } else { format!("{top}/{}", BELOW[random.index(BELOW.len())]) }
}
