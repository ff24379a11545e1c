//! What changed in the namespace lately, for clients that go on using what they were told. Soft and bounded.
//!
//! One list serves all clients, whatever each was told: a client names the place up to which it knows the changes and
//! gets those that follow. What the list has forgotten is told as "everything". Nobody who changes something waits for
//! a client. A change is here a moment after it can be read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use forebay_metadata::{ChangedNames, Effect};
use forebay_proto::{ChangedName, DirectoryChange, FeedPosition, Followed, News};
use forebay_types::{Incarnation, InodeId, LogIndex};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::limits;

/// The changes of one master's state.
#[derive(Debug)]
pub struct Feed {
    /// Held for a few steps only.
    ring: Mutex<Ring>,
    /// Told of each change; those who wait look then.
    head: watch::Sender<LogIndex>,
    waiting: AtomicUsize,
}

/// The last changes, in the order of the log.
#[derive(Debug)]
struct Ring {
    incarnation: Incarnation,
    /// Changes up to here are forgotten.
    floor: LogIndex,
    /// Changes up to here are known.
    head: LogIndex,
    changes: VecDeque<Item>,
    /// Of all changes together, as [`Change::cost`] reckons.
    cost: usize,
}

#[derive(Debug)]
struct Item {
    index: LogIndex,
    came: Instant,
    change: Change,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    /// What lies in a mount, or what mounts there are.
    Everything,
    Directory(InodeId, ChangedNames),
}

impl Feed {
    /// Knows nothing of what was before the entry at `applied`.
    pub fn new(incarnation: Incarnation, applied: LogIndex) -> Self {
        let ring = Ring { incarnation, floor: applied, head: applied, changes: VecDeque::new(), cost: 0 };
        Self { ring: Mutex::new(ring), head: watch::channel(applied).0, waiting: AtomicUsize::new(0) }
    }

    /// Takes what the entries up to `index` changed, all at once: whoever knows the index knows all of it.
    pub fn note(&self, index: LogIndex, effects: &[Effect]) {
        let changes = effects.iter().flat_map(changes).collect::<Vec<_>>();
        if !changes.is_empty() {
            self.ring.lock().add(index, changes);
            self.head.send_replace(index);
        }
    }

    /// Effects were lost, of entries up to this one: of changes after the last that was taken some may be missing.
    pub fn lost(&self, up_to: LogIndex) {
        let head = self.ring.lock().forget(up_to);
        self.head.send_replace(head);
    }

    /// What changed after `after`, as soon as there is something, or nothing at `deadline` at the latest. Without
    /// `after` only the place to begin at.
    ///
    /// Cancel safe.
    pub(crate) async fn follow(&self, after: Option<FeedPosition>, deadline: Instant) -> Followed {
        let mut head = self.head.subscribe();
        head.borrow_and_update();
        let seen = self.since(after);
        let Some(after) = after else { return seen };
        if seen.news != News::Changes(Vec::new()) {
            return seen;
        }
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _left = Waiting(&self.waiting);
        if tokio::time::timeout_at(deadline, head.changed()).await.is_ok_and(|changed| changed.is_ok()) {
            // All who wait are woken at once and come back at once: the more there are, the more is told at a time.
            tokio::time::sleep(pause(waiting)).await;
        }
        self.since(Some(after))
    }

    /// What changed after `after`, as far as it is known now.
    pub fn since(&self, after: Option<FeedPosition>) -> Followed {
        let ring = self.ring.lock();
        let position = FeedPosition { incarnation: ring.incarnation, index: ring.head };
        let (news, age) = match after {
            None => (News::Changes(Vec::new()), Duration::ZERO),
            Some(after) => ring.since(after),
        };
        Followed { position, news, age }
    }
}

fn changes(effect: &Effect) -> Vec<Change> {
    match effect {
        Effect::DirectoriesChanged(directories) => {
            directories.iter().map(|(id, names)| Change::Directory(*id, names.clone())).collect()
        }
        Effect::MountsChanged => vec![Change::Everything],
        Effect::ForgetVersions(_) | Effect::DisownVersions(_) | Effect::ReapNeeded | Effect::JobsChanged => {
            Vec::new()
        }
    }
}

/// One who waits, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long changes are gathered while so many others wait for them.
fn pause(waiting: usize) -> Duration {
    let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
    limits::FEED_PAUSE_PER_CLIENT.saturating_mul(waiting).min(limits::FEED_PAUSE_MAX)
}

impl Ring {
    fn add(&mut self, index: LogIndex, changes: impl IntoIterator<Item = Change>) {
        let came = Instant::now();
        for change in changes {
            self.cost += change.cost();
            self.changes.push_back(Item { index, came, change });
        }
        self.head = self.head.max(index);
        while self.cost > limits::FEED_COST_MAX
            && let Some(item) = self.changes.pop_front()
        {
            self.cost -= item.change.cost();
            // What else the same entry changed is not the whole of it any more.
            self.floor = item.index;
        }
    }

    /// What is lost came with entries after `head` and up to `up_to`. A client may know the changes up to any place between
    /// from another master, and those beyond it from nobody: so none of these places is one to go on from.
    fn forget(&mut self, up_to: LogIndex) -> LogIndex {
        self.changes.clear();
        self.cost = 0;
        self.head = self.head.next().max(up_to);
        self.floor = self.head;
        self.head
    }

    /// What came after a place that was given before, and how long ago the first of it came.
    fn since(&self, after: FeedPosition) -> (News, Duration) {
        let is_known = after.incarnation == self.incarnation && after.index >= self.floor;
        if !is_known || after.index > self.head {
            return (News::Everything, Duration::ZERO);
        }
        let first = self.changes.partition_point(|item| item.index <= after.index);
        let age = self.changes.get(first).map_or(Duration::ZERO, |item| item.came.elapsed());
        let mut directories = BTreeMap::new();
        for item in self.changes.range(first..) {
            match &item.change {
                Change::Everything => return (News::Everything, age),
                Change::Directory(directory, names) => merge(&mut directories, *directory, names),
            }
        }
        let changes = directories.into_iter().map(|(directory, names)| DirectoryChange { directory, names });
        (News::Changes(changes.collect()), age)
    }
}

impl Change {
    /// About what it takes in memory and in a message, in bytes.
    fn cost(&self) -> usize {
        const EACH: usize = 64;
        match self {
            Self::Directory(_, ChangedNames::These(names)) => {
                EACH + names.iter().map(|changed| EACH + changed.name.as_bytes().len()).sum::<usize>()
            }
            Self::Everything | Self::Directory(_, ChangedNames::All) => EACH,
        }
    }
}

/// Adds what else changed about a directory.
fn merge(
    directories: &mut BTreeMap<InodeId, forebay_proto::ChangedNames>,
    directory: InodeId,
    names: &ChangedNames,
) {
    use forebay_proto::ChangedNames as Told;
    let told = directories.entry(directory).or_insert_with(|| Told::These(Vec::new()));
    match (told, names) {
        (Told::All, _) => {}
        (told, ChangedNames::All) => *told = Told::All,
        (Told::These(told), ChangedNames::These(names)) => {
            told.extend(names.iter().map(|of| ChangedName { name: of.name.clone(), before: of.before }));
        }
    }
}

#[cfg(test)]
mod tests;
